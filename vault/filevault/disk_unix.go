//go:build unix

package filevault

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"envrun/vault"
)

// foreign says why a file or folder of a vault is not to be trusted: everybody
// can write it, or it belongs to somebody else. Root is not asked for the
// second: in a container root works on a folder that belongs to the person outside.
func foreign(fi fs.FileInfo) string {
	owner := os.Geteuid()
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		owner = int(st.Uid)
	}
	return foreignTo(fi.Mode(), owner)
}

func foreignTo(mode fs.FileMode, owner int) string {
	if perm := mode.Perm(); perm&0o002 != 0 && mode&fs.ModeSticky == 0 {
		return fmt.Sprintf("is writable by everybody (mode %04o)", perm)
	}
	if me := os.Geteuid(); me != 0 && owner != 0 && owner != me {
		return fmt.Sprintf("belongs to another user (uid %d)", owner)
	}
	return ""
}

// private says why a file or folder of ours outside the repository is not
// private to us; "" if it is.
func private(fi fs.FileInfo) string {
	if perm := fi.Mode().Perm(); perm&0o077 != 0 {
		want := 0o600
		if fi.IsDir() {
			want = 0o700
		}
		return fmt.Sprintf("is open to other users (mode %04o, must be %04o)", perm, want)
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Sprintf("belongs to another user (uid %d)", st.Uid)
	}
	return ""
}

// hasOtherNames reports whether a file stands in more than one folder.
func hasOtherNames(fi fs.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && st.Nlink > 1
}

func platformKind(err error) (vault.Kind, bool) {
	switch {
	case errors.Is(err, syscall.EDQUOT):
		return vault.KindFull, true
	case errors.Is(err, syscall.ENOLCK):
		return vault.KindUnavailable, true
	case errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.ENOSYS):
		return vault.KindUnsupported, true
	}
	return 0, false
}

// patiently is for Windows.
func patiently(f func() error) error { return f() }

// tryLock takes the lock on f, and reports whether it did; it does not wait.
func tryLock(f *os.File) (bool, error) {
	for {
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err {
		case nil:
			return true, nil
		case syscall.EWOULDBLOCK:
			return false, nil
		case syscall.EINTR:
		default:
			return false, os.NewSyscallError("flock", err)
		}
	}
}

func unlock(f *os.File) { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }

// mayWrite asks the system whether names in a folder can be changed.
func mayWrite(dir *os.File) error {
	for {
		err := unix.Faccessat(int(dir.Fd()), ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS)
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("faccessat", err)
		}
	}
}

func syncDir(f *os.File) error {
	err := f.Sync()
	// Some network file systems cannot sync a folder and say so with EINVAL.
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	return err
}
