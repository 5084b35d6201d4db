//go:build unix

package tui

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

const hangup = syscall.SIGHUP

// stopSignals is SIGTSTP from outside. bubbletea stops us with the same signal,
// which must not reach us then: hold and release say when it does.
func stopSignals() (stops <-chan os.Signal, hold, release func()) {
	c := make(chan os.Signal, 1)
	return c, func() { signal.Notify(c, syscall.SIGTSTP) }, func() { signal.Stop(c) }
}

// leaveNoCore: what is in memory is not written to disk when we die, and where
// the system can, no other process of this user may look into it.
func leaveNoCore() {
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	noDump()
}
