package tui

import (
	"os"
	"syscall"
)

// hangup is what Windows reports when the console is closed.
const hangup = syscall.SIGTERM

// stopSignals: a console program is not stopped.
func stopSignals() (stops <-chan os.Signal, hold, release func()) {
	return nil, func() {}, func() {}
}

func leaveNoCore() {}
