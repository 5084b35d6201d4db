package filevault

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncFileSystem writes out all that the file system of f holds back, and
// reports whether there is such a call.
func syncFileSystem(f *os.File) (bool, error) {
	err := unix.Syncfs(int(f.Fd()))
	if errors.Is(err, unix.ENOSYS) {
		return false, nil
	}
	return true, err
}

func syncOne(f *os.File) error { return f.Sync() }
