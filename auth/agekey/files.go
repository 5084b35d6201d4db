package agekey

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

// makeDir makes the folder, and those above it, for the user alone.
func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return checkDir(dir)
}

// checkDir refuses a folder in which somebody else could put a file in place
// of ours. fs.ErrNotExist if it is not there.
func checkDir(dir string) error {
	fi, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return &FileError{dir, errors.New("is not a folder")}
	}
	return checkInfo(dir, fi, 0o700)
}

// readPrivate reads a file of ours, after a look at the open file: its name
// could be another file's by then. want is the widest mode that is accepted.
func readPrivate(file string, want fs.FileMode, limit int64) ([]byte, error) {
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
		return nil, &FileError{file, errors.New("is not a regular file")}
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
		return nil, &FileError{file, &ParseError{Reason: fmt.Sprintf("is longer than %d bytes", limit)}}
	}
	return buf.Bytes(), nil
}

// tempMark is in the name of each temporary file, for sweep to find those of a
// process that was killed.
const tempMark = ".tmp-"

// writePrivate writes file whole, readable for the user alone, and returns when
// it would survive a power cut. Unless replace is set, a file that is there
// already stays and the error is fs.ErrExist, whoever made it and when.
func writePrivate(file string, data []byte, replace bool) (err error) {
	temp := file + tempMark + rand.Text()[:10]
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(temp) // gone already when it was renamed
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if replace {
		err = rename(temp, file)
	} else {
		err = link(temp, file)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
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

// removeFile removes a file for good; one that is not there is fine.
func removeFile(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(filepath.Dir(file))
}

// exists reports whether anything has that name, even a link that leads nowhere.
func exists(file string) (bool, error) {
	_, err := os.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// sweep removes what killed processes left half written. Only under the lock.
func sweep(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if name := e.Name(); strings.HasPrefix(name, "identity") && strings.Contains(name, tempMark) {
			_ = os.Remove(filepath.Join(dir, name))
		}
	}
}

// lockPatience is how long a change waits for another one.
const lockPatience = 10 * time.Second

// lock keeps two processes from changing the identity at once. The lock is the
// kernel's, so it ends with its holder; the file stays, since removing it
// would let two processes lock two files of one name.
func lock(ctx context.Context, file string) (unlock func(), err error) {
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
	return nil, &FileError{file, err}
}
