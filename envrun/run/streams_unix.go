//go:build !windows

package run

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"envrun/envrun/redact"
)

// grace is how long output is waited for when the program has ended and
// another process still holds the stream open.
const grace = time.Second

// streams are the three streams of the program and what stands between them and
// ours.
type streams struct {
	child [3]*os.File
	ours  []*os.File // of child, to be closed when it has been started
	pumps []*pump
	term  *terminal    // the program's own terminal
	outs  []*outputTTY // terminals that only take output

	winch chan os.Signal  // SIGWINCH, if there is a terminal to size
	gone  <-chan struct{} // closed when nobody reads our terminal any more
	drain [2]int          // a pipe; its end means that the program has ended
}

// openStreams prepares the streams that p says.
func openStreams(p *Plan, c Command) (s *streams, err error) {
	s = &streams{child: p.std, drain: [2]int{-1, -1}}
	if len(p.Masked) == 0 {
		return s, nil
	}
	masker := c.Masker()
	if masker == nil {
		return s, nil
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := pipe(&s.drain); err != nil {
		return s, err
	}
	if p.tty[0] && p.tty[1] && p.mask[1] {
		// A whole terminal (runner T4). With stdin or stdout elsewhere we leave
		// stdin alone (T5): the keys are then for the rest of a pipeline.
		if s.term, err = openTerminal(p.std[0], p.std[1]); err != nil {
			return s, err
		}
		s.child[0], s.child[1] = s.term.slave, s.term.slave
		s.ours = append(s.ours, s.term.slave)
		pump, err := s.pump(masker, s.term.output, p.std[1], true)
		if err != nil {
			return s, err
		}
		gone := make(chan struct{})
		s.gone, pump.gone = gone, func() { close(gone) }
	}
	for i := 1; i <= 2; i++ {
		switch {
		case !p.mask[i] || i == 1 && s.term != nil:
		case i == 2 && p.mask[1] && sameFile(p.std[1], p.std[2]):
			s.child[2] = s.child[1] // one pipe for both keeps their order
		case p.tty[i]:
			err = s.addOutputTTY(masker, i)
		default:
			err = s.addPipe(masker, i)
		}
		if err != nil {
			return s, err
		}
	}
	if s.term != nil || len(s.outs) > 0 {
		s.winch = make(chan os.Signal, 1)
		signal.Notify(s.winch, unix.SIGWINCH)
		s.resize(nil)
	}
	return s, nil
}

func sameFile(a, b *os.File) bool {
	x, err := a.Stat()
	if err != nil {
		return false
	}
	y, err := b.Stat()
	return err == nil && os.SameFile(x, y)
}

// addPipe puts a pipe in front of stream i.
func (s *streams) addPipe(masker *redact.Masker, i int) error {
	var p [2]int
	if err := pipe(&p); err != nil {
		return err
	}
	out := s.child[i]
	s.child[i] = os.NewFile(uintptr(p[1]), "|1")
	s.ours = append(s.ours, s.child[i])
	_, err := s.pump(masker, p[0], out, false)
	return err
}

// addOutputTTY puts a terminal that only takes output in front of stream i.
func (s *streams) addOutputTTY(masker *redact.Masker, i int) error {
	t, err := openOutputTTY(s.child[i])
	if err != nil {
		return err
	}
	s.outs = append(s.outs, t)
	out := s.child[i]
	s.child[i] = t.slave
	s.ours = append(s.ours, t.slave)
	_, err = s.pump(masker, t.output, out, true)
	return err
}

// pump makes a pump, which has from then.
func (s *streams) pump(masker *redact.Masker, from int, to *os.File, tty bool) (*pump, error) {
	out, err := dup(to)
	if err == nil {
		err = unix.SetNonblock(from, true)
	}
	if err != nil {
		unix.Close(from)
		return nil, err
	}
	p := &pump{from: from, out: out, drain: s.drain[0], done: make(chan struct{}), name: to.Name()}
	p.to = masker.NewWriter(descriptor(out), redact.WriterOptions{TTY: tty})
	s.pumps = append(s.pumps, p)
	return p, nil
}

// forChild lists the descriptors as a fork wants them.
func (s *streams) forChild() []uintptr {
	return []uintptr{s.child[0].Fd(), s.child[1].Fd(), s.child[2].Fd()}
}

// started lets go of the program's ends and starts the pumps.
func (s *streams) started() {
	s.closeOurs()
	for _, p := range s.pumps {
		p.running = true
		go p.run(func() { s.term.leave() })
	}
}

// settle returns when everything that the program has said so far is out, or a
// second has passed.
func (s *streams) settle() {
	limit := time.Now().Add(time.Second)
	for _, p := range s.pumps {
		for time.Now().Before(limit) && !p.settled() {
			time.Sleep(time.Millisecond)
		}
	}
}

// finish is called when the program has ended. It returns when what it said is
// out, or something is received from hurry or limit.
func (s *streams) finish(hurry <-chan os.Signal, limit <-chan time.Time) (warnings []error) {
	s.closeDrain()
	for _, p := range s.pumps {
		select {
		case <-p.done:
			if p.err != nil {
				warnings = append(warnings, p.err)
			}
			continue
		case <-hurry:
		case <-limit:
		}
		return append(warnings, fmt.Errorf("writing %s: not everything that the program said was taken by its reader", p.name))
	}
	return warnings
}

// resize gives the program's terminals the size of ours.
func (s *streams) resize(child child) {
	if s.term != nil {
		copySize(s.term.master, s.term.out)
	}
	for _, t := range s.outs {
		// The program's controlling terminal is ours, which has told it already,
		// but perhaps before this one had its new size.
		if copySize(t.output, t.outer) && child != nil {
			child.signal(unix.SIGWINCH)
		}
	}
}

func (s *streams) closeOurs() {
	for _, f := range s.ours {
		f.Close()
	}
	s.ours = nil
}

func (s *streams) closeDrain() {
	if s.drain[1] >= 0 {
		unix.Close(s.drain[1])
		s.drain[1] = -1
	}
}

// close gives the terminal back.
func (s *streams) close() {
	if s.term != nil {
		s.term.close()
	}
	if s.winch != nil {
		signal.Stop(s.winch)
	}
	s.closeOurs()
	s.closeDrain()
	for _, p := range s.pumps {
		if !p.running {
			unix.Close(p.from)
			unix.Close(p.out)
		}
	}
}

// A pump carries what the program says through the masker.
type pump struct {
	from    int // not blocking
	to      *redact.Writer
	out     int // where to writes
	name    string
	drain   int
	gone    func() // called when nobody reads out any more; may be nil
	running bool
	done    chan struct{}
	err     error // after done: what the user should know

	mu sync.Mutex // held while bytes are on their way
}

// run carries until the stream ends or nobody reads. When the reader goes away
// it closes its end at once, so that the program is told at its next
// write, as with a bare pipe. restore is called before a panic ends the process.
func (p *pump) run(restore func()) {
	defer close(p.done)
	defer func() {
		if r := recover(); r != nil {
			restore()
			panic(r)
		}
	}()
	err := p.carry()
	unix.Close(p.from)
	switch {
	case err == nil:
	case errors.Is(err, unix.EPIPE) || errors.Is(err, unix.EIO):
		if p.gone != nil {
			p.gone()
		}
	default:
		p.err = fmt.Errorf("writing %s: %w", p.name, err)
	}
	unix.Close(p.out)
}

func (p *pump) carry() error {
	buf := make([]byte, 32<<10)
	drain, timeout := p.drain, -1
	var left int // bytes the program has left in the stream when it ended
	var limit time.Time
	for {
		r, err := await(p.from, drain, p.out, timeout)
		switch {
		case err != nil:
			return err
		case r.gone:
			return unix.EPIPE
		case r.woken:
			drain = -1
			left, _ = unix.IoctlGetInt(p.from, bytesWaiting)
			limit = time.Now().Add(grace)
		}
		if r.readable {
			n, end, err := p.move(buf)
			if end || err != nil {
				return err
			}
			left -= n
		}
		if drain == -1 {
			timeout = int(time.Until(limit).Milliseconds())
			if timeout <= 0 && left <= 0 {
				_ = p.to.Close()
				return fmt.Errorf("a process that the program left behind still holds it open: what that says from now on is lost")
			}
			timeout = max(timeout, 0)
		}
	}
}

// move carries what is there now.
func (p *pump) move(buf []byte) (n int, end bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, err = unix.Read(p.from, buf)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return 0, false, nil
	case err == unix.EIO || err == nil && n == 0: // EIO is the end of a terminal
		return 0, true, p.to.Close()
	case err != nil:
		return 0, true, err
	}
	_, err = p.to.Write(buf[:n])
	return n, false, err
}

// settled says whether nothing is left to be carried now.
func (p *pump) settled() bool {
	if !p.mu.TryLock() {
		return false
	}
	defer p.mu.Unlock()
	select {
	case <-p.done:
		return true
	default:
	}
	r, err := await(p.from, -1, -1, 0)
	return err != nil || !r.readable
}

// A descriptor writes to a descriptor of ours. Unlike an os.File it does not
// raise SIGPIPE on standard output, and it works whether or not whoever
// started us has made the descriptor non-blocking.
type descriptor int

func (d descriptor) Write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		n, err := unix.Write(int(d), b[done:])
		switch {
		case err == unix.EAGAIN:
			awaitWrite(int(d), -1)
		case err == unix.EINTR:
		case err != nil:
			return done, err
		default:
			done += n
		}
	}
	return done, nil
}

// dup duplicates the descriptor of f, for this process only.
func dup(f *os.File) (int, error) { return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3) }

// pipe makes a pipe for this process only.
func pipe(p *[2]int) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := unix.Pipe(p[:]); err != nil {
		return err
	}
	unix.CloseOnExec(p[0])
	unix.CloseOnExec(p[1])
	return nil
}

// copySize gives the terminal to the size of from, and says whether it had another.
func copySize(to int, from *os.File) bool {
	size, err := unix.IoctlGetWinsize(int(from.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return false
	}
	was, err := unix.IoctlGetWinsize(to, unix.TIOCGWINSZ)
	if err != nil || *was == *size {
		return false
	}
	return unix.IoctlSetWinsize(to, unix.TIOCSWINSZ, size) == nil
}

// An outputTTY is a terminal that takes the program's output and nothing else:
// the program keeps ours as its controlling terminal, and the keys.
type outputTTY struct {
	slave  *os.File
	output int // what comes out of it
	outer  *os.File
}

func openOutputTTY(outer *os.File) (*outputTTY, error) {
	master, slave, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("opening a pseudo-terminal: %w", err)
	}
	defer master.Close()
	if t, err := unix.IoctlGetTermios(int(outer.Fd()), getTermios); err == nil {
		t.Oflag &^= unix.OPOST // the outer terminal does that
		_ = unix.IoctlSetTermios(int(slave.Fd()), setTermios, t)
	}
	output, err := dup(master)
	if err != nil {
		slave.Close()
		return nil, err
	}
	return &outputTTY{slave, output, outer}, nil
}
