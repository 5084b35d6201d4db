//go:build unix && !linux

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// Each file is handed to the drive by itself, and the drive's cache emptied
// once after all of them, as the vault does it. Package os knows how.
func syncOne(file int) error       { return unix.Fsync(file) }
func syncWritten(folder int) error { return os.NewFile(uintptr(folder), "").Sync() }
func syncFolder(folder int) error  { return os.NewFile(uintptr(folder), "").Sync() }
