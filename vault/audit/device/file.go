package device

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"envrun/vault/audit"
)

// File is a file of lines. It is made with mode 0600 if it is missing; its
// folder must be there. It is opened anew when it was replaced or deleted, which
// is looked for once a second, and by Set.Reopen; lines that were written
// to a deleted file in that second are in the log only.
//
// A write is handed to the system before the line counts as taken, and is not
// waited for until it is on the disk, unless Sync is set: the log in the
// database is, and this is its copy.
type File struct {
	Path string      // absolute
	Mode fs.FileMode // of a new file; 0 is 0600. Nothing that is written here can be executed
	Sync bool        // flush each batch of lines to the disk before they count as taken

	// Reserve is the size of a file beside it, Path.reserve, which is given up when
	// the disk is full: so there is room for the entries of the requests by which
	// somebody makes room, and Health.Low tells that it is needed. 0 is
	// DefaultReserve, and -1 is none.
	Reserve int64
}

// DefaultReserve is room for a thousand requests.
const DefaultReserve = 2 << 20

// retryReserve is how often it is tried to put the reserve back.
const retryReserve = time.Minute

func (c *File) sink() (sink, error) {
	if !filepath.IsAbs(c.Path) {
		return nil, errors.New("the path of its file is not absolute")
	}
	f := &file{File: *c}
	if f.Mode == 0 {
		f.Mode = 0o600
	}
	f.Mode &= 0o666
	if f.Reserve == 0 {
		f.Reserve = DefaultReserve
	}
	return f, nil
}

type file struct {
	File
	f       *os.File
	opened  fs.FileInfo
	looked  time.Time // when it was last asked whether the path still leads to f
	torn    bool      // the last line in the file is not whole
	spent   bool      // the reserve was given up, or could not be made
	restore time.Time // when it was last tried to make it
}

func (f *file) low() bool { return f.spent }

func (f *file) reopen() {
	f.restore = time.Time{} // somebody may have made room
	if f.f != nil {
		_ = f.f.Close() // what was written was checked; nothing is lost by its error
		f.f = nil
	}
}

func (f *file) open(context.Context) error {
	now := time.Now()
	if f.f != nil && now.Sub(f.looked) >= time.Second {
		f.looked = now
		if fi, err := os.Stat(f.Path); err != nil || !os.SameFile(fi, f.opened) {
			f.reopen()
		}
	}
	if f.f != nil {
		return nil
	}
	h, err := os.OpenFile(f.Path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|nonblock, f.Mode)
	if err != nil {
		return err
	}
	fi, err := h.Stat()
	if err == nil && fi.IsDir() {
		err = &fs.PathError{Op: "open", Path: f.Path, Err: syscall.EISDIR}
	}
	if err != nil {
		_ = h.Close()
		return err
	}
	f.f, f.opened, f.looked = h, fi, now
	if fi.Mode().IsRegular() { // whoever reads a pipe has what was written before
		f.torn = fi.Size() > 0 && !endsLine(f.Path, fi.Size())
	}
	f.keepReserve(now)
	return nil
}

// endsLine reports whether a file ends with a newline; one that cannot be read
// is taken to, since what is written to it is more than what is there.
func endsLine(path string, size int64) bool {
	r, err := os.Open(path)
	if err != nil {
		return true
	}
	defer r.Close()
	var last [1]byte
	if _, err := r.ReadAt(last[:], size-1); err != nil {
		return true
	}
	return last[0] == '\n'
}

func (f *file) write(ctx context.Context, lines []audit.Line) (int, error) {
	written := 0
	for try := 0; ; try++ {
		err := f.open(ctx)
		if err == nil {
			var n int
			n, err = f.append(ctx, lines[written:])
			written += n
		}
		switch {
		case err == nil:
			if f.spent {
				f.keepReserve(time.Now())
			}
			return written, nil
		case errors.Is(err, syscall.ENOSPC) && f.giveReserve():
			try = 0
		case try > 0 || errors.Is(err, syscall.ENOSPC):
			return written, err
		default:
			f.reopen() // it may be a file that is gone: a stale handle, a pipe whose reader left
		}
	}
}

// append writes lines to the open file, and leaves no part of one behind.
func (f *file) append(ctx context.Context, lines []audit.Line) (int, error) {
	var b bytes.Buffer
	if f.torn {
		b.WriteByte('\n')
	}
	head := b.Len()
	for _, l := range lines {
		b.WriteString(l.String())
		b.WriteByte('\n')
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = f.f.SetWriteDeadline(deadline) // of a pipe; a disk knows none
	}
	n, err := f.f.Write(b.Bytes())
	if n > 0 {
		f.torn = false
	}
	if err != nil {
		whole := bytes.Count(b.Bytes()[head:max(n, head)], []byte{'\n'})
		end := bytes.LastIndexByte(b.Bytes()[:n], '\n') + 1
		if part := int64(n - end); part > 0 {
			f.torn = !f.cut(part)
		}
		return whole, err
	}
	if f.Sync {
		if err := f.f.Sync(); err != nil {
			f.reopen() // what the system holds of it now is not known
			return 0, err
		}
	}
	return len(lines), nil
}

// cut takes the last n bytes off the file.
func (f *file) cut(n int64) bool {
	if !f.opened.Mode().IsRegular() {
		return false
	}
	at, err := f.f.Seek(0, io.SeekCurrent)
	return err == nil && at >= n && f.f.Truncate(at-n) == nil
}

func (f *file) reserveFile() string { return f.Path + ".reserve" }

// keepReserve makes the reserve if it is missing.
func (f *file) keepReserve(now time.Time) {
	if f.Reserve < 0 || !f.opened.Mode().IsRegular() || f.spent && now.Sub(f.restore) < retryReserve {
		return
	}
	f.restore = now
	if fi, err := os.Stat(f.reserveFile()); err == nil && fi.Size() == f.Reserve {
		f.spent = false
		return
	}
	// Zeros are written and not skipped: a hole takes no room that could be given back.
	err := os.WriteFile(f.reserveFile(), make([]byte, f.Reserve), 0o600)
	if err != nil {
		_ = os.Remove(f.reserveFile())
	}
	f.spent = err != nil
}

// giveReserve gives the reserve up, and reports whether that made room.
func (f *file) giveReserve() bool {
	if f.f == nil || f.Reserve < 0 || !f.opened.Mode().IsRegular() || os.Remove(f.reserveFile()) != nil {
		return false
	}
	f.spent, f.restore = true, time.Now()
	return true
}
