package private

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/windows"
)

// checkInfo has nothing to look at: on Windows the folder below the user's
// profile inherits an access list that lets in the user, the administrators
// and the system.
func checkInfo(string, fs.FileInfo, fs.FileMode) error { return nil }

// rename tries again while a virus scanner or an indexer has a file open.
func rename(from, to string) error {
	wait := 10 * time.Millisecond
	for try := 0; ; try++ {
		err := os.Rename(from, to)
		var code syscall.Errno
		busy := errors.As(err, &code) &&
			(code == syscall.Errno(windows.ERROR_SHARING_VIOLATION) || code == syscall.Errno(windows.ERROR_ACCESS_DENIED))
		if !busy || try == 5 {
			return err
		}
		time.Sleep(wait)
		wait *= 2
	}
}

// syncDir has no counterpart on Windows: NTFS journals names.
func syncDir(string) error { return nil }
