package tui

import (
	"io"
	"os"
	"syscall"
)

// hangup is what Windows reports when the console is closed.
const hangup = syscall.SIGTERM

// stopSignals: a console program is not stopped.
func stopSignals() (stops <-chan os.Signal, release func()) { return nil, func() {} }

const canStop = false

type stopSelf struct{}

func (stopSelf) Run() error          { return nil }
func (stopSelf) SetStdin(io.Reader)  {}
func (stopSelf) SetStdout(io.Writer) {}
func (stopSelf) SetStderr(io.Writer) {}

func leaveNoCore() {}
