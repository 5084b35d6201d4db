package redact

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// WriterOptions say how a Writer treats bytes that may be the start of a value.
type WriterOptions struct {
	// TTY releases them after Hold, so that a prompt appears, unless 8 bytes or
	// more already match. Without it they wait until more bytes or Close settle
	// what they are.
	TTY bool
	// Hold is how long a terminal waits; 0 is 50 ms (runner T8).
	Hold time.Duration
	// AfterFunc starts the timer of a terminal; nil is time.AfterFunc.
	AfterFunc func(d time.Duration, f func()) Timer
}

// A Timer calls a function once, as *time.Timer made by time.AfterFunc does.
type Timer interface {
	Reset(d time.Duration) bool
	Stop() bool
}

const (
	defaultHold = 50 * time.Millisecond
	chunk       = 64 << 10 // bytes masked at a time: what a pipe holds
)

// A Writer masks what is written to it and writes the rest on. It may be used by
// several goroutines; each Write is taken as one piece. The first error of the
// writer below is returned then and by every later call.
type Writer struct {
	m *Masker
	w io.Writer
	o WriterOptions

	mu     sync.Mutex
	cur    cursor
	buf    []byte // text from cur.pos on: fewer than maxPattern bytes between calls
	out    output
	err    error
	closed bool

	timer   Timer
	waiting bool // the timer runs for the bytes held now
	stale   int  // calls of the timer that were too late to stop
}

// NewWriter returns a Writer to w. Close it to put out what it holds back; it
// does not close w.
func (m *Masker) NewWriter(w io.Writer, o WriterOptions) *Writer {
	if o.Hold <= 0 {
		o.Hold = defaultHold
	}
	if o.AfterFunc == nil {
		o.AfterFunc = func(d time.Duration, f func()) Timer { return time.AfterFunc(d, f) }
	}
	return &Writer{m: m, w: w, o: o, cur: newCursor(), out: output{tokens: m.tokens}}
}

// Write masks p. It returns len(p) unless the writer below fails: bytes that
// are held back count as written.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.usable(); err != nil {
		return 0, err
	}
	done := 0
	for done < len(p) {
		part := p[done:min(len(p), done+chunk)]
		if len(w.buf) > 0 {
			w.buf = append(w.buf, part...)
			w.process(w.buf)
		} else {
			w.process(part)
		}
		if w.err != nil {
			return done, w.err
		}
		done += len(part)
	}
	return done, nil
}

// ReadFrom masks r until its end. io.Copy uses it: the text is masked in the
// buffer it is read into, and a slow r does not keep other calls waiting.
func (w *Writer) ReadFrom(r io.Reader) (int64, error) {
	room := make([]byte, maxPattern+chunk)
	var total int64
	for {
		n, err := r.Read(room[maxPattern:])
		total += int64(n)
		if werr := w.take(room, n); werr != nil {
			return total, werr
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// take masks n bytes that lie behind maxPattern bytes of room.
func (w *Writer) take(room []byte, n int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.usable(); err != nil {
		return err
	}
	start := maxPattern - len(w.buf)
	copy(room[start:], w.buf)
	w.process(room[start : maxPattern+n])
	return w.err
}

// Close puts out what is held back, as it is: the stream has ended, so it is
// not a value. The writer below stays open.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return w.err
	}
	w.closed = true
	w.disarm()
	if w.err == nil && w.m.index != nil {
		w.cur.advance(w.m.index, w.buf, true, &w.out)
		w.flush()
	}
	w.buf = nil
	return w.err
}

// Format prints the type and nothing of the text.
func (w *Writer) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("redact.Writer")) }

func (w *Writer) usable() error {
	if w.err == nil && w.closed {
		return os.ErrClosed
	}
	return w.err
}

// process masks b, which starts with w.buf, and keeps what is not settled.
func (w *Writer) process(b []byte) {
	if w.m.index == nil {
		w.write(b)
		return
	}
	at := w.cur.pos
	w.cur.advance(w.m.index, b, false, &w.out)
	w.flush()
	moved := w.cur.pos != at
	rest := b[w.cur.pos:]
	w.buf = append(w.buf[:0], rest...) // moves down when b is w.buf
	w.cur.rebase()
	if !w.o.TTY {
		return
	}
	if moved {
		w.disarm()
	}
	if w.cur.emitted < len(w.buf) && w.err == nil {
		w.arm()
	}
}

// arm starts the timer for the bytes held now, unless it runs.
func (w *Writer) arm() {
	if w.waiting {
		return
	}
	w.waiting = true
	if w.timer == nil {
		w.timer = w.o.AfterFunc(w.o.Hold, w.expire)
	} else {
		w.timer.Reset(w.o.Hold)
	}
}

func (w *Writer) disarm() {
	if !w.waiting {
		return
	}
	w.waiting = false
	if !w.timer.Stop() {
		w.stale++ // its call waits for the lock
	}
}

// expire is called by the timer.
func (w *Writer) expire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stale > 0 {
		w.stale--
		return
	}
	w.waiting = false
	if w.closed || w.err != nil {
		return
	}
	w.release()
}

// release puts out what is held back. The text stays at hand, so that the rest
// of a value is still masked when it comes.
func (w *Writer) release() {
	x := w.m.index
	if len(w.buf)-w.cur.pos >= minPattern {
		// Most likely a value. If it is one already, and only a longer one is waited for, it is shown.
		if h := x.at(w.buf, w.cur.pos, w.cur.covered, true); w.cur.pos >= w.cur.covered && h.end > h.at {
			w.cur.mask(h, &w.out)
		}
	} else {
		pos := w.cur.pos
		w.cur.advance(x, w.buf, true, &w.out)
		w.cur.pos = pos
	}
	w.flush()
}

// flush writes what was put out.
func (w *Writer) flush() {
	o := &w.out
	if len(o.dst) == 0 {
		w.write(o.rest)
	} else {
		o.dst = append(o.dst, o.rest...)
		w.write(o.dst)
	}
	o.dst, o.rest = o.dst[:0], nil
}

// write writes b on, in several writes when the writer below takes less.
func (w *Writer) write(b []byte) {
	for len(b) > 0 && w.err == nil {
		n, err := w.w.Write(b)
		switch {
		case err != nil:
			w.err = err
		case n <= 0 || n > len(b):
			w.err = io.ErrShortWrite
		default:
			b = b[n:]
		}
	}
}
