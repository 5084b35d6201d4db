//go:build !windows

package run

import (
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Exit ends this process as the program ended: with its exit status, or by the
// signal that ended it, so that whoever waits for us sees no difference
// (runner E1, E2). It leaves no core file of its own.
//
// After a signal that the program could have caught or sent to itself, shells and
// make decide by its being a signal whether to go on; 128 + n alone does not tell
// them.
func (s Status) Exit() {
	if s.Signal > 0 && !s.TimedOut && canDieOf(syscall.Signal(s.Signal)) {
		dieOf(syscall.Signal(s.Signal))
	}
	os.Exit(s.Code)
}

// dieOf sends sig to this process with its default action, and returns if that did
// not end it: as process 1 of a container, or if no signal ends that way.
func dieOf(sig syscall.Signal) {
	noDump()
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	runtime.LockOSThread()
	// os/signal cannot give a signal its default action back: the runtime's own
	// handler stays, which ignores some and answers others with a stack dump.
	setDefault(sig)
	unblock(sig)
	_ = unix.Kill(os.Getpid(), sig)
	time.Sleep(100 * time.Millisecond) // it may reach another thread; without this, exit would win
}
