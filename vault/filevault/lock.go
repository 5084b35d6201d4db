package filevault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"envrun/vault"
)

// lockName is the file whose lock a writer holds. Its text says who that is and
// is for people only: what counts is the operating system's lock, which ends
// with its process. The file itself stays.
const lockName = ".lock"

// defaultLockWait is how long a writer waits for another one if not told.
const defaultLockWait = 10 * time.Second

// How often a taken lock is tried again: quickly at first, since a write takes
// some milliseconds.
const (
	firstRetry = time.Millisecond
	lastRetry  = 20 * time.Millisecond
)

// A held lock. Its view is for the holder to work with.
type held struct {
	*view
	f  *os.File
	fi fs.FileInfo
}

// lock takes the writers' lock of the vault, waiting at most wait for it
// (none at all if wait is negative), sweeps what dead writers left and finishes
// the journal of one that was past its point of no return.
func (d *disk) lock(ctx context.Context, wait time.Duration, who string) (*held, error) {
	v, err := d.view()
	if err != nil {
		return nil, err
	}
	h, err := v.takeLock(ctx, wait, who)
	if err != nil {
		v.Close()
		return nil, err
	}
	if err := h.recover(); err != nil {
		h.release()
		return nil, err
	}
	return h, nil
}

func (v *view) takeLock(ctx context.Context, wait time.Duration, who string) (*held, error) {
	top, err := v.enter("")
	if err != nil {
		return nil, err
	}
	for {
		f, err := v.openLock(top)
		if err != nil {
			return nil, err
		}
		err = v.d.do(step{Op: "lock", Name: lockName}, func() error { return waitLock(ctx, f, wait) })
		if err != nil {
			defer f.Close()
			if errors.Is(err, errWaited) {
				return nil, &vault.Error{Kind: vault.KindBusy, Op: "locking", File: v.d.file(lockName), Detail: holder(f)}
			}
			err = v.d.fail("locking", lockName, err)
			var ve *vault.Error
			if errors.As(err, &ve) && (ve.Kind == vault.KindUnavailable || ve.Kind == vault.KindUnsupported) {
				ve.Detail = "this file system has no locks to give"
			}
			return nil, err
		}
		fi, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, v.d.fail("locking", lockName, err)
		}
		h := &held{view: v, f: f, fi: fi}
		if h.stillThere() {
			h.say(who)
			return h, nil
		}
		f.Close() // it was removed while we waited, and a lock on it binds nobody
	}
}

func (v *view) openLock(top *os.Root) (*os.File, error) {
	fi, err := top.Lstat(lockName)
	switch {
	case err == nil:
		if why := notPlain(fi.Mode(), false); why != "" {
			return nil, v.d.refuse(lockName, why)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, v.d.fail("locking", lockName, err)
	}
	f, err := top.OpenFile(lockName, os.O_RDWR|os.O_CREATE, filePerm)
	if err != nil {
		return nil, v.d.fail("locking", lockName, err)
	}
	// It is the one file that is written in place. Not if that is one of
	// somebody's who means it to be lost.
	if fi, err = f.Stat(); err != nil {
		f.Close()
		return nil, v.d.fail("locking", lockName, err)
	}
	if hasOtherNames(fi) {
		f.Close()
		return nil, v.d.refuse(lockName, "is also the name of another file (a hard link), which is not written to")
	}
	return f, nil
}

// stillThere reports whether the lock that is held is the one that others would
// find. It is not after a "git clean -fdX".
func (h *held) stillThere() bool {
	top, err := h.enter("")
	if err != nil {
		return false
	}
	now, err := top.Lstat(lockName)
	return err == nil && os.SameFile(now, h.fi)
}

// say writes who holds the lock. It is a courtesy to those who wait: on a full
// disk the lock holds without it.
func (h *held) say(who string) {
	host, _ := os.Hostname()
	text := fmt.Sprintf("%s, process %d on %s\n", printable(who), os.Getpid(), printable(host))
	if err := h.f.Truncate(0); err == nil {
		_, _ = h.f.WriteAt([]byte(text), 0)
	}
}

// holder is what the lock file says of who holds it.
func holder(f *os.File) string {
	buf := make([]byte, 256)
	n, err := f.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		n = 0
	}
	line, _, _ := strings.Cut(string(buf[:n]), "\n")
	if line = printable(line); line == "" {
		return "held by another process, which did not say who it is"
	}
	return "held by " + line
}

// printable is s without what could speak to a terminal. What a file says is
// anybody's word.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == ',' || r == ' ' || r == '(' || r == ')' || strconv.IsPrint(r) && r < 0x7f {
			return r
		}
		return -1
	}, s)
}

var errWaited = errors.New("waited long enough")

// waitLock takes the lock on f, waiting at most wait for it: errWaited.
func waitLock(ctx context.Context, f *os.File, wait time.Duration) error {
	timeout := time.NewTimer(max(wait, 0))
	defer timeout.Stop()
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		ok, err := tryLock(f)
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timeout.C:
			return errWaited
		case <-time.After(pause):
		}
	}
}

// release gives the lock back and closes the view.
func (h *held) release() {
	_ = h.f.Truncate(0)
	unlock(h.f)
	h.f.Close()
	h.view.Close()
}
