//go:build !windows

package run

import (
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// ignoredAtStart has bit n set if signal n was ignored when this process
// began. Only a program linked with -ldflags=-E=envrun_start, on Linux, knows that;
// in others it is 0.
//
// The Go runtime leaves HUP, INT, TSTP, TTIN and TTOU ignored, and catches the
// rest. After execve these have their default action, and nothing says that
// they were ignored. It matters: systemd starts services with PIPE ignored, shells
// start background jobs with QUIT ignored, and "trap ” TERM" is how a script keeps
// what it starts alive.
var ignoredAtStart uint64

// ignoreAgain ignores what was ignored at the start, in this process and so in
// the program. A supervisor cannot do without CHLD and PROF and URG.
func ignoreAgain(supervising bool) {
	for sig := syscall.Signal(1); sig < 32; sig++ {
		if ignoredAtStart&(1<<sig) == 0 || supervising && (sig == unix.SIGCHLD || sig == unix.SIGURG || sig == unix.SIGPROF) {
			continue
		}
		signal.Ignore(sig)
	}
}
