package clip

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// helperName is the name that the helper's process has, and is known by.
const helperName = "envrun-clipboard"

// Begin must be called first in main. In the process that Copy has started to look
// after a clipboard it does that and does not return; otherwise it costs nothing.
func Begin() {
	if len(os.Args) == 2 && os.Args[0] == helperName {
		os.Exit(help(os.Stdin, os.Stdout, os.Environ()))
	}
}

// help is the helper: it sets the clipboard, waits, and clears what is still ours.
func help(in io.Reader, out io.Writer, env []string) int {
	// Who copied may be gone when we have something to say; that is no reason to
	// leave the value behind.
	signal.Ignore(brokenPipe)
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, os.Interrupt, syscall.SIGTERM, hangup)
	say := func(s status) { _ = json.NewEncoder(out).Encode(s) }

	q, value, err := readRequest(in)
	if err != nil {
		say(status{Problem: "reading the request: " + err.Error()})
		return 1
	}
	b, err := open(q.Backend, env)
	if err != nil {
		say(status{Problem: err.Error()})
		return 1
	}
	ours := newDigest(value)
	if err := b.set(value); err != nil {
		clear(value)
		say(status{Problem: err.Error()})
		return 1
	}
	clear(value)
	s := b.status()
	if b.get != nil {
		s.Sure = !s.Blind && readBack(b, ours)
	}
	say(s)
	if q.Stay == 0 {
		return 0
	}

	orders := make(chan byte)
	go func() {
		var o [1]byte
		for {
			if _, err := in.Read(o[:]); err != nil {
				return // the one who copied has gone: the clock alone counts
			}
			orders <- o[0]
		}
	}()
	deadline := wallClock(q.Stay)
	defer deadline.stop()
	select {
	case <-deadline.c:
	case <-ends:
	case o := <-orders:
		if o == orderForget {
			return 0
		}
	}
	done := status{Via: s.Via}
	if b.get == nil {
		err = b.clear()
		done.Cleared = err == nil
	} else {
		still, readErr := holds(b, ours)
		switch {
		case still:
			err = clearAway(b, ours)
			done.Cleared = err == nil
		case readErr != nil && !s.Sure && !s.Blind:
			err = readErr // it never could be read: it may still be there
		}
	}
	if err != nil {
		done.Problem = err.Error()
	}
	say(done)
	if err != nil {
		return 1
	}
	return 0
}

// readBack reports whether the clipboard holds what was set. Some programs own it
// a moment after they have said so.
func readBack(b *backend, ours digest) bool {
	for range 10 {
		now, err := b.get()
		same := err == nil && ours.is(now)
		clear(now)
		if same {
			return true
		}
		time.Sleep(20 * time.Millisecond)
	}
	return false
}

// holds reports whether the clipboard still holds what was set. It looks three
// times before it says no: large values come in pieces, of which one is lost now
// and then (xsel).
func holds(b *backend, ours digest) (still bool, err error) {
	for range 3 {
		var now []byte
		now, err = b.get()
		still = err == nil && ours.is(now)
		clear(now)
		if still {
			return true, nil
		}
	}
	return false, err
}

// clearAway clears and looks: as with setting, some programs have said that it
// is done before it is.
func clearAway(b *backend, ours digest) error {
	for range 10 {
		if err := b.clear(); err != nil {
			return err
		}
		for range 5 {
			if still, _ := holds(b, ours); !still {
				return nil
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return errors.New("the clipboard still holds the value after it was cleared")
}

// A digest tells whether bytes are those that were copied, without keeping them.
type digest struct{ key, sum []byte }

func newDigest(value []byte) digest {
	key := make([]byte, 32)
	rand.Read(key)
	d := digest{key: key}
	d.sum = d.of(value)
	return d
}

func (d digest) of(b []byte) []byte {
	mac := hmac.New(sha256.New, d.key)
	mac.Write(b)
	return mac.Sum(nil)
}

func (d digest) is(b []byte) bool { return hmac.Equal(d.sum, d.of(b)) }

// A wall clock goes off when so much time has passed on the wall: the usual
// timers stand still while a machine sleeps.
type wall struct {
	c    chan struct{}
	stop context.CancelFunc
}

func wallClock(d time.Duration) wall {
	ctx, stop := context.WithCancel(context.Background())
	w := wall{make(chan struct{}), stop}
	end := time.Now().Round(0).Add(d)
	go func() {
		for {
			left := end.Sub(time.Now().Round(0))
			if left <= 0 || left > d { // or the clock was put back
				close(w.c)
				return
			}
			select {
			case <-time.After(min(left, time.Second)):
			case <-ctx.Done():
				return
			}
		}
	}()
	return w
}
