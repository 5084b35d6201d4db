//go:build !windows

package run

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// A terminal is the program's own, between it and ours (runner T4). Ours is raw
// while it is in use, so that every key reaches the program's, which makes signals
// of those that are.
type terminal struct {
	in, out *os.File // our terminal
	slave   *os.File // the program's side
	output  int      // what comes out of it; a pump has it
	master  int      // the same, for writing keys and setting its size
	job     bool     // ours is our controlling terminal, so that there is a foreground

	mu    sync.Mutex
	raw   bool
	saved *unix.Termios // how ours was
	keys  *keyboard
	hung  bool
}

func openTerminal(in, out *os.File) (*terminal, error) {
	master, slave, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("opening a pseudo-terminal: %w", err)
	}
	defer master.Close()
	t := &terminal{in: in, out: out, slave: slave, output: -1, master: -1}
	_, err = unix.IoctlGetInt(int(in.Fd()), unix.TIOCGPGRP)
	t.job = err == nil
	modes, err := unix.IoctlGetTermios(int(in.Fd()), getTermios)
	if err == nil {
		err = unix.IoctlSetTermios(int(slave.Fd()), setTermios, modes)
	}
	if err == nil {
		t.output, err = dup(master)
	}
	if err == nil {
		t.master, err = dup(master)
	}
	if err != nil {
		slave.Close()
		unix.Close(t.output)
		return nil, err
	}
	copySize(t.master, out)
	return t, nil
}

// foreground says whether our group may use our terminal.
func (t *terminal) foreground() bool {
	if !t.job {
		return true
	}
	group, err := unix.IoctlGetInt(int(t.in.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// enter makes our terminal raw and passes keys on from then. It returns false if
// our group is in the background, where it may not.
func (t *terminal) enter() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.hung {
		return true
	}
	if !t.foreground() {
		return false
	}
	modes, err := unix.IoctlGetTermios(int(t.in.Fd()), getTermios)
	if err != nil {
		return true
	}
	// Whoever continued us may have changed the modes, and not said so.
	raw := makeRaw(*modes)
	if !t.raw || *modes != raw {
		t.saved = modes
	}
	t.raw = true
	_ = unix.IoctlSetTermios(int(t.in.Fd()), setTermios, &raw)
	copySize(t.master, t.out)
	if t.keys == nil {
		t.keys = startKeyboard(t)
	}
	return true
}

// leave stops taking keys and makes our terminal what it was.
func (t *terminal) leave() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.keys != nil {
		t.keys.stop()
		t.keys = nil
	}
	if t.raw && t.foreground() {
		_ = unix.IoctlSetTermios(int(t.in.Fd()), setTermios, t.saved)
	}
	t.raw = false
}

// hangUp is called when our terminal is gone: then the program's is, too.
func (t *terminal) hangUp() {
	t.leave()
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.hung {
		t.hung = true
		unix.Close(t.master)
	}
}

func (t *terminal) close() { t.hangUp() }

// makeRaw is cfmakeraw.
func makeRaw(t unix.Termios) unix.Termios {
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cflag &^= unix.CSIZE | unix.PARENB
	t.Cflag |= unix.CS8
	t.Cc[unix.VMIN] = 1
	t.Cc[unix.VTIME] = 0
	return t
}

// A keyboard passes keys on from our terminal to the program's.
type keyboard struct {
	from  int
	to    int
	wake  [2]int
	ended chan struct{}
}

// startKeyboard returns nil if it cannot: the program then gets no keys.
func startKeyboard(t *terminal) *keyboard {
	k := &keyboard{to: t.master, ended: make(chan struct{})}
	if pipe(&k.wake) != nil {
		return nil
	}
	// A description of our own can be made non-blocking without doing that to
	// everybody else.
	var err error
	if t.job {
		k.from, err = unix.Open("/dev/tty", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	}
	if !t.job || err != nil {
		k.from, err = dup(t.in)
	}
	if err != nil {
		unix.Close(k.wake[0])
		unix.Close(k.wake[1])
		return nil
	}
	go k.run()
	return k
}

func (k *keyboard) run() {
	defer close(k.ended)
	defer unix.Close(k.wake[0])
	defer unix.Close(k.from)
	buf := make([]byte, 1024)
	for {
		r, err := await(k.from, k.wake[0], -1, -1)
		if err != nil || r.woken {
			return
		}
		if !r.readable {
			continue
		}
		n, err := unix.Read(k.from, buf)
		if err == unix.EINTR || err == unix.EAGAIN {
			continue
		}
		if err != nil || n == 0 {
			return // the terminal has hung up; a signal says the rest
		}
		for keys := buf[:n]; len(keys) > 0; {
			n, err := unix.Write(k.to, keys)
			switch {
			case err == unix.EAGAIN:
				if awaitWrite(k.to, k.wake[0]) {
					return
				}
			case err == unix.EINTR:
			case err != nil:
				return
			default:
				keys = keys[n:]
			}
		}
	}
}

// stop returns when no more keys are taken.
func (k *keyboard) stop() {
	unix.Close(k.wake[1])
	select {
	case <-k.ended:
	case <-time.After(time.Second): // another process has taken the key that we saw
	}
}
