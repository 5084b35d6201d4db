//go:build !windows

package run

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stops keeps the job that our shell sees in step with the program: when the program is
// stopped and we are not, the shell would wait for us for ever and the
// terminal would hang.
//
// Mostly there is nothing to do, since the terminal stops and continues our
// whole group. Two cases are left. A program may stop only itself, as node does on
// Ctrl-Z: then we stop too. And a program with a terminal of its own is stopped by that
// one: then we give the terminal back, stop our group as ours would
// have, and start over when we are continued.
type stops struct {
	s     *supervisor
	timer *time.Timer
	cont  chan os.Signal // SIGCONT, only with a terminal of its own

	seen    int            // how often in a row the program was seen stopped
	waiting bool           // we have stopped our group and wait for SIGCONT
	by      syscall.Signal // what stopped the program
}

const (
	stopDelay      = 30 * time.Millisecond  // by then, what stopped the program would have stopped us
	stopFailed     = 100 * time.Millisecond // by then, we would have been stopped
	waitForeground = 200 * time.Millisecond
)

func newStops(s *supervisor) *stops {
	t := &stops{s: s, timer: time.NewTimer(time.Hour)}
	t.timer.Stop()
	if s.term != nil {
		t.cont = make(chan os.Signal, 1)
		signal.Notify(t.cont, unix.SIGCONT)
		t.enter()
	}
	return t
}

func (t *stops) close() {
	t.timer.Stop()
	if t.cont != nil {
		signal.Stop(t.cont)
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

// follow stops us if the program is stopped, we should have been stopped with it, and were
// not. It wants to see that twice: when we are just being continued, the
// first look may come before the program is.
func (t *stops) follow() {
	if !t.s.proc.isStopped() || !t.s.foreground() || !t.s.sameGroup() {
		return
	}
	if t.seen++; t.seen < 2 {
		t.timer.Reset(stopDelay)
		return
	}
	stopSelf()
}
