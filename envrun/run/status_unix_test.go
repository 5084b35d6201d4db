//go:build !windows

package run_test

import (
	"fmt"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// Every exit status comes through unchanged (runner E1).
func TestExitStatus(t *testing.T) {
	t.Parallel()
	each(t, modes(), func(t *testing.T, m mode) {
		for code := range 256 {
			if testing.Short() && code > 3 && code < 124 || code > 130 && code < 253 && code%16 != 0 && testing.Short() {
				continue
			}
			err := m.command(t, "/bin/sh", "-c", "exit "+strconv.Itoa(code)).Run()
			if want := fmt.Sprintf("exit %d", code); end(err) != want {
				t.Errorf("%s, want %s", end(err), want)
			}
		}
	})
}

// A program that dies of a signal makes the wrapper die of it too (runner E2).
func TestDeathBySignal(t *testing.T) {
	t.Parallel()
	each(t, modes(), func(t *testing.T, m mode) {
		for sig := unix.Signal(1); sig < 32; sig++ {
			switch sig {
			case unix.SIGCHLD, unix.SIGCONT, unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGURG, unix.SIGWINCH:
				continue
			}
			cmd := m.command(t, "/bin/sh", "-c", fmt.Sprintf("kill -%d $$", int(sig)))
			var errs capture
			cmd.Stderr = &errs
			err := cmd.Run()
			if want := "signal " + unix.SignalName(sig); end(err) != want {
				t.Errorf("%s, want %s", end(err), want)
			}
			if errs.String() != "" {
				t.Errorf("%v: said %q", sig, errs.String())
			}
		}
	})
}
