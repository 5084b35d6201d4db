//go:build unix

package tui

import (
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

const hangup = syscall.SIGHUP

// stopSignals is SIGTSTP from outside.
func stopSignals() (stops <-chan os.Signal, release func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTSTP)
	return c, func() { signal.Stop(c) }
}

const canStop = true

// stopSelf stops us and whoever is in our job, as Ctrl-Z does. With SIGSTOP: Go
// keeps its handler for SIGTSTP once that was asked for, and would swallow it.
type stopSelf struct{}

// Run returns when we have been told to go on. kill may return before we stop,
// where another thread takes the signal: what came next would be done to the
// shell's terminal.
func (stopSelf) Run() error {
	goOn := make(chan os.Signal, 1)
	signal.Notify(goOn, syscall.SIGCONT)
	defer signal.Stop(goOn)
	if err := syscall.Kill(0, syscall.SIGSTOP); err != nil {
		return err
	}
	<-goOn
	return nil
}

func (stopSelf) SetStdin(io.Reader)  {}
func (stopSelf) SetStdout(io.Writer) {}
func (stopSelf) SetStderr(io.Writer) {}

// leaveNoCore: what is in memory is not written to disk when we die, and where
// the system can, no other process of this user may look into it.
func leaveNoCore() {
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	noDump()
}
