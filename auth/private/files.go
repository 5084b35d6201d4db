// Package private reads and writes files that are one person's alone: their
// identity, and what a machine keeps for them.
//
// It refuses a file or a folder that others could read or replace, as ssh does,
// and what is no regular file. It writes a file whole or not at all.
package private

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

var (
	// ErrBusy says that another process holds a lock.
	ErrBusy = errors.New("another process holds the lock")
	// ErrTooLong says that a file is longer than one of its kind can be.
	ErrTooLong = errors.New("is too long")
)

// Error is about one of our files. Err is one that the caller knows, or what the
// system said.
type Error struct {
	File string
	Err  error
}

func (e *Error) Error() string { return e.File + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// InsecureError says that others could read or replace a file or folder of
// ours. It is refused, as ssh refuses it.
type InsecureError struct {
	File  string
	Mode  fs.FileMode // its permissions
	Want  fs.FileMode // the widest that is accepted
	Owner int         // its owner
	User  int         // who we are; differs from Owner if that is what is wrong
}

func (e *InsecureError) Error() string {
	if e.Owner != e.User {
		return fmt.Sprintf("%s: belongs to user %d and not to %d", e.File, e.Owner, e.User)
	}
	return fmt.Sprintf("%s: has permissions %04o, must be %04o", e.File, e.Mode.Perm(), e.Want)
}

// MakeDir makes the folder, and those above it, for the user alone.
func MakeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return CheckDir(dir)
}

// CheckDir refuses a folder in which somebody else could put a file in place
// of ours. fs.ErrNotExist if it is not there.
func CheckDir(dir string) error {
	fi, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return &Error{dir, errors.New("is not a folder")}
	}
	return checkInfo(dir, fi, 0o700)
}

// Read reads a file of ours, at most limit bytes long, after a look at the open file: its name
// could be another file's by then. want is the widest mode that is accepted.
func Read(file string, want fs.FileMode, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, &Error{file, errors.New("is not a regular file")}
	}
	if err := checkInfo(file, fi, want); err != nil {
		return nil, err
	}
	b := make([]byte, 0, min(fi.Size(), limit)+1)
	buf := bytes.NewBuffer(b)
	if _, err := buf.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
		return nil, err
	}
	if int64(buf.Len()) > limit {
		return nil, &Error{file, ErrTooLong}
	}
	return buf.Bytes(), nil
}

// tempMark is in the name of each temporary file, for Sweep to find those of a
// process that was killed.
const tempMark = ".tmp-"

// Write writes file whole, readable for the user alone, and returns when
// it would survive a power cut. Unless replace is set, a file that is there
// already stays and the error is fs.ErrExist, whoever made it and when.
func Write(file string, data []byte, replace bool) error {
	put := link
	if replace {
		put = rename
	}
	if err := write(file, data, true, put); err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}

// WriteSoon is Write for what may be lost in a power cut: it replaces what is
// there and waits for no disk.
func WriteSoon(file string, data []byte) error { return write(file, data, false, rename) }

func write(file string, data []byte, sync bool, put func(temp, file string) error) error {
	temp := file + tempMark + rand.Text()[:10]
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(temp) // gone already when it was renamed
	if _, err = f.Write(data); err == nil && sync {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return put(temp, file)
}

// link gives temp its name if nobody has it. Where the file system has no hard
// links the caller's lock has to do.
func link(temp, file string) error {
	err := os.Link(temp, file)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	if _, e := os.Lstat(file); !errors.Is(e, fs.ErrNotExist) {
		return &os.LinkError{Op: "link", Old: temp, New: file, Err: fs.ErrExist}
	}
	return rename(temp, file)
}

// Remove removes a file for good; one that is not there is fine.
func Remove(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(filepath.Dir(file))
}

// Exists reports whether anything has that name, even a link that leads nowhere.
func Exists(file string) (bool, error) {
	_, err := os.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Sweep removes what killed processes left half written in a folder, of files
// whose names begin so. Only under the lock.
func Sweep(dir, prefix string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if name := e.Name(); strings.HasPrefix(name, prefix) && strings.Contains(name, tempMark) {
			_ = os.Remove(filepath.Join(dir, name))
		}
	}
}

// lockPatience is how long a change waits for another one.
const lockPatience = 10 * time.Second

// Lock keeps two processes from changing the same at once; ErrBusy if the other
// one takes too long. The lock is the kernel's, so it ends with its holder; the
// file stays, since removing it would let two processes lock two files of one name.
func Lock(ctx context.Context, file string) (unlock func(), err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lockPatience, ErrBusy)
	defer cancel()
	l := flock.New(file, flock.SetPermissions(0o600))
	ok, err := l.TryLockContext(ctx, 50*time.Millisecond)
	switch {
	case ok:
		return func() { _ = l.Close() }, nil
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	return nil, &Error{file, err}
}

// TryLock is Lock that does not wait.
func TryLock(file string) (unlock func(), err error) {
	l := flock.New(file, flock.SetPermissions(0o600))
	ok, err := l.TryLock()
	switch {
	case ok:
		return func() { _ = l.Close() }, nil
	case err == nil:
		err = ErrBusy
	}
	return nil, &Error{file, err}
}
