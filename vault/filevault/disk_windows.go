package filevault

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/windows"

	"envrun/vault"
)

// The mode that Go makes up for a file here says nothing about who may write
// it, and the folder of a project inherits its list of who may what from its parent.
func foreign(fs.FileInfo) string { return "" }
func private(fs.FileInfo) string { return "" }

// A FileInfo does not say it here; making a hard link takes rights to both folders.
func hasOtherNames(fs.FileInfo) bool { return false }

func platformKind(err error) (vault.Kind, bool) {
	switch {
	case errors.Is(err, windows.ERROR_DISK_FULL), errors.Is(err, windows.ERROR_HANDLE_DISK_FULL):
		return vault.KindFull, true
	case errors.Is(err, windows.ERROR_WRITE_PROTECT):
		return vault.KindReadOnly, true
	case errors.Is(err, windows.ERROR_NOT_SUPPORTED), errors.Is(err, windows.ERROR_INVALID_FUNCTION):
		return vault.KindUnsupported, true
	}
	return 0, false
}

// patiently tries again while a virus scanner or an indexer has the file open.
func patiently(f func() error) error {
	wait := 2 * time.Millisecond
	for {
		err := f()
		held := errors.Is(err, windows.ERROR_SHARING_VIOLATION) || errors.Is(err, windows.ERROR_ACCESS_DENIED)
		if !held || wait > time.Second/2 {
			return err
		}
		time.Sleep(wait)
		wait *= 2
	}
}

// lockAt is where the locked byte is: far behind the text, since a lock here
// keeps others from reading what it covers.
const lockAt = 1 << 30

func tryLock(f *os.File) (bool, error) {
	at := windows.Overlapped{Offset: lockAt}
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return false, nil
	}
	return err == nil, os.NewSyscallError("LockFileEx", err)
}

func unlock(f *os.File) {
	at := windows.Overlapped{Offset: lockAt}
	_ = windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, &at)
}

// mayWrite cannot be asked without trying.
func mayWrite(*os.File) error { return nil }

// NTFS logs names itself, and a folder cannot be flushed.
func syncDir(*os.File) error                { return nil }
func syncFileSystem(*os.File) (bool, error) { return false, nil }
func syncOne(f *os.File) error              { return f.Sync() }
