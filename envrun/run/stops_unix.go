//go:build !windows

package run

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stops keeps the job that our shell sees in step with the program. The shell waits
// for us: if the program is stopped and we are not, the terminal hangs; if we are
// stopped and it is not, the shell takes the terminal from a program that still
// uses it. So we catch TSTP and do nothing, let the program alone decide what
// Ctrl-Z means, and stop when it has stopped. (To ignore TSTP would not do: before
// the start the program would inherit it, and after the start is too late.)
//
// A program on our terminal is continued by the shell along with us. One with a
// terminal of its own is stopped by that: then we give ours back, stop our group as
// ours would have, and start over when we are continued.
type stops struct {
	s     *supervisor
	timer *time.Timer
	cont  chan os.Signal // SIGCONT, with a terminal

	by      syscall.Signal // what stopped the program
	seen    int            // how often in a row it was seen stopped
	waiting bool           // we have stopped our group and wait for SIGCONT
	caught  chan os.Signal // TSTP; nil if it is not caught
}

const (
	stopDelay      = 10 * time.Millisecond  // between two looks at a program that is stopped
	stopFailed     = 100 * time.Millisecond // after this we would have been stopped
	waitForeground = 200 * time.Millisecond // between two looks at whose the terminal is
)

// newStops is called before the start.
func newStops(s *supervisor) *stops {
	t := &stops{s: s, timer: time.NewTimer(time.Hour)}
	t.timer.Stop()
	if s.streams.term == nil && s.tty == nil {
		return t
	}
	t.cont = make(chan os.Signal, 1)
	signal.Notify(t.cont, unix.SIGCONT)
	if s.streams.term == nil && !ignored(unix.SIGTSTP) {
		t.caught = make(chan os.Signal, 1) // nobody receives
		signal.Notify(t.caught, unix.SIGTSTP)
	}
	return t
}

// started is called after the start.
func (t *stops) started() {
	if t.s.term != nil {
		t.enter()
	}
}

func (t *stops) close() {
	t.timer.Stop()
	if t.cont != nil {
		signal.Stop(t.cont)
	}
	if t.caught != nil {
		signal.Stop(t.caught)
		setDefault(unix.SIGTSTP)
	}
}

// stopped is called when the program was stopped.
func (t *stops) stopped(by syscall.Signal) {
	t.by = by
	if t.s.term == nil {
		if t.s.tty != nil {
			t.seen = 0
			t.timer.Reset(stopDelay)
		}
		return
	}
	t.s.streams.settle()
	t.s.term.leave()
	select {
	case <-t.cont:
	default:
	}
	t.waiting = true
	group := 0 // the others of a pipeline are stopped as well, as if by the terminal
	if by == unix.SIGSTOP {
		group = os.Getpid()
	}
	_ = unix.Kill(group, unix.SIGTSTP)
	t.timer.Reset(stopFailed)
}

// continued is called when we got SIGCONT.
func (t *stops) continued() {
	if t.s.term == nil {
		// A program that leads a group of its own was not continued with ours.
		if t.s.proc.isStopped() && !t.s.sameGroup() {
			t.s.proc.signalOwnGroup(unix.SIGCONT)
		}
		return
	}
	resume := t.waiting
	t.waiting = false
	t.enter()
	if resume {
		t.s.child.signal(unix.SIGCONT)
	}
}

// look is called when the timer has run out.
func (t *stops) look() {
	if t.s.term == nil {
		t.follow()
		return
	}
	notStopped := t.waiting
	t.waiting = false
	t.enter()
	if notStopped && t.by != unix.SIGSTOP {
		// The kernel does not stop a group that no shell looks after. The
		// program alone would not have been stopped either.
		t.s.child.signal(unix.SIGCONT)
	}
}

// enter takes the terminal, now or when our group comes to its foreground,
// which a shell does not always say.
func (t *stops) enter() {
	if t.s.term.enter() {
		t.timer.Stop()
	} else {
		t.timer.Reset(waitForeground)
	}
}

// follow stops us if the program is stopped, and if that was for the shell to see:
// not when somebody holds a program in the background with SIGSTOP, who will
// continue it, and not us.
//
// It looks twice. What continues us continues the program too, but perhaps not
// quite at the same time.
func (t *stops) follow() {
	if !t.s.proc.isStopped() || t.by == unix.SIGSTOP && !t.s.onTerminal() {
		return
	}
	if t.seen++; t.seen < 2 {
		t.timer.Reset(stopDelay)
		return
	}
	t.s.streams.settle()
	setDefault(unix.SIGTSTP)
	stopSelf()
	if t.caught != nil {
		// os/signal does not know that its handler is gone, but for this.
		signal.Ignore(unix.SIGTSTP)
		signal.Notify(t.caught, unix.SIGTSTP)
	}
}
