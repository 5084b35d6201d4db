//go:build unix

package run

import (
	"os"

	"golang.org/x/sys/unix"
)

// CloseOnExec keeps the program from inheriting a file that we were given by
// number.
func CloseOnExec(f *os.File) { unix.CloseOnExec(int(f.Fd())) }
