//go:build unix && !linux

package filevault

import (
	"os"
	"syscall"
)

func syncFileSystem(*os.File) (bool, error) { return false, nil }

// syncOne hands the file to the drive. It does not empty the drive's own cache
// as File.Sync does on macOS, which takes tens of milliseconds each: whoever
// syncs many files ends with a File.Sync of one, which empties it for all.
func syncOne(f *os.File) error { return syscall.Fsync(int(f.Fd())) }
