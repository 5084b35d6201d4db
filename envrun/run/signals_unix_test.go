//go:build !windows

package run_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"envrun/envrun/environ"
	"envrun/envrun/run"
)

// noTTY makes cmd lead a session without a terminal.
func noTTY(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// onProbe starts the probe without a terminal and waits until it listens.
func onProbe(t *testing.T, m mode, args ...string) (cmd *exec.Cmd, file string) {
	t.Helper()
	program, file := probeScript(t)
	cmd = noTTY(m.command(t, append([]string{program, file}, args...)...))
	start(t, cmd)
	started(t, file)
	return cmd, file
}

// Without a terminal, each signal to the wrapper reaches the program once.
func TestSignals(t *testing.T) {
	t.Parallel()
	each(t, modes(), func(t *testing.T, m mode) {
		cmd, file := onProbe(t, m, "until=SIGTERM")
		for _, sig := range []syscall.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGINT, unix.SIGTERM} {
			before, _ := saw(t, file)
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			name := unix.SignalName(sig)
			got(t, file, name, before.Signals[name]+1)
		}
		if got := ended(t, cmd); got != "signal SIGTERM" {
			t.Errorf("%s", got)
		}
		s, _ := saw(t, file)
		want := map[string]int{"SIGHUP": 1, "SIGINT": 2, "SIGQUIT": 1, "SIGUSR1": 1, "SIGUSR2": 1, "SIGTERM": 1}
		if fmt.Sprint(s.Signals) != fmt.Sprint(want) {
			t.Errorf("signals %v, want %v", s.Signals, want)
		}
	})
}

// Without a terminal the program leads a group, and what it has started gets the
// signals too, so that nothing is left when the service is stopped (runner S5).
func TestSignalsReachTheGroup(t *testing.T) {
	t.Parallel()
	program, file := probeScript(t)
	cmd := noTTY(modes()[2].command(t, "/bin/sh", "-c", program+" "+file+" until=SIGTERM & wait"))
	start(t, cmd)
	s := started(t, file)
	if s.PGID == s.PID || s.PGID == cmd.Process.Pid {
		t.Errorf("the group is %d", s.PGID)
	}
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	got(t, file, "SIGTERM", 1)
	if got := ended(t, cmd); got != "signal SIGTERM" {
		t.Errorf("%s", got)
	}
}

// What was ignored when we were started stays so, in the program and in us (runner
// S7).
func TestNohup(t *testing.T) {
	t.Parallel()
	each(t, modes(), func(t *testing.T, m mode) {
		dir := t.TempDir()
		m.script(t, dir)
		marker := filepath.Join(dir, "started")
		cmd := noTTY(exec.Command("/bin/sh", "-c", "trap '' HUP; exec "+dir+"/w /bin/sh -c 'echo >"+marker+"; read x; exit 4'"))
		cmd.Env = environment()
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		start(t, cmd)
		eventually(t, "the program to start", func() bool { _, err := os.Stat(marker); return err == nil })
		if err := cmd.Process.Signal(unix.SIGHUP); err != nil {
			t.Fatal(err)
		}
		stdin.Close() // it would have died by now
		if got := ended(t, cmd); got != "exit 4" {
			t.Errorf("%s", got)
		}
	})
}

// When the wrapper is killed, the program is asked to end (runner S8).
func TestWrapperKilled(t *testing.T) {
	t.Parallel()
	if !hasParentDeath {
		t.Skip("this system does not tell a program of its parent's end")
	}
	cmd, file := onProbe(t, modes()[2], "until=SIGTERM")
	_ = cmd.Process.Kill()
	s := got(t, file, "SIGTERM", 1)
	eventually(t, "the program to end", func() bool { return unix.Kill(s.PID, 0) == unix.ESRCH })
}

// A time limit ends the program with TERM, and with KILL if that does not do
// (runner E4, S6).
func TestTimeout(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, program, want string
		o                   options
	}{
		{"ends", "exec sleep 1000", "exit 124", options{Timeout: 20 * time.Millisecond}},
		{"ends by itself", "trap 'exit 3' TERM; echo; while :; do sleep 1000 & wait; done", "exit 124", options{Timeout: 300 * time.Millisecond}},
		{"is stopped", "kill -STOP $$", "exit 124", options{Timeout: 300 * time.Millisecond}},
		{"stays", "trap '' TERM; while :; do sleep 1000; done", "exit 137", options{Timeout: 200 * time.Millisecond, KillAfter: 20 * time.Millisecond}},
		{"is quick enough", "exit 5", "exit 5", options{Timeout: time.Hour, KillAfter: time.Hour}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cmd := noTTY(mode{"", &test.o}.command(t, "/bin/sh", "-c", test.program))
			start(t, cmd)
			if got := ended(t, cmd); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

// KILL follows a TERM that was passed on, to the same target, and the status says
// so.
func TestKillAfter(t *testing.T) {
	t.Parallel()
	program, file := probeScript(t)
	o := &options{KillAfter: 10 * time.Millisecond}
	cmd := noTTY(mode{"", o}.command(t, "/bin/sh", "-c", program+" "+file+"& wait; wait"))
	start(t, cmd)
	s := started(t, file)
	if err := cmd.Process.Signal(unix.SIGHUP); err != nil { // which is no reason to kill: servers reload on it
		t.Fatal(err)
	}
	got(t, file, "SIGHUP", 1)

	cmd, _ = onProbe(t, mode{"", o})
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := ended(t, cmd); got != "signal SIGKILL" {
		t.Errorf("%s", got)
	}
	_ = unix.Kill(-s.PGID, unix.SIGKILL)
}

// Run itself, as a library: the context ends the program.
func TestContext(t *testing.T) {
	t.Parallel()
	env := environ.FromList(environment(), "")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	marker := filepath.Join(t.TempDir(), "started")
	status, err := run.Run(ctx, run.Command{Argv: []string{"/bin/sh", "-c", "echo >" + marker}, Env: env, ForceSupervise: true})
	if e, ok := err.(*run.Error); !ok || e.Code != run.CodeFailed || status.Code != run.CodeFailed {
		t.Errorf("started with a context that had ended: %v, %v", status, err)
	}
	ctx, cancel = context.WithCancel(context.Background())
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(marker); err == nil {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	status, err = run.Run(ctx, run.Command{Argv: []string{"/bin/sh", "-c", "echo >" + marker + "; exec sleep 1000"}, Env: env, ForceSupervise: true})
	if err != nil || status.Signal != int(unix.SIGTERM) || status.Code != 143 {
		t.Errorf("status %+v, %v", status, err)
	}
}

// Clean-up is done when the program has ended, or could not be started; a step that
// takes too long is left, and so is the rest when somebody insists.
func TestOnExit(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		program []string
		want    string
	}{
		{"exit", []string{"/bin/sh", "-c", "exit 3"}, "exit 3"},
		{"signal", []string{"/bin/sh", "-c", "kill -TERM $$"}, "signal SIGTERM"},
		{"not found", []string{"no-such-program"}, "exit 127"},
		{"not runnable", []string{"/etc/passwd"}, "exit 126"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			hook := filepath.Join(t.TempDir(), "hook")
			cmd := noTTY(mode{"", &options{Hook: hook}}.command(t, test.program...))
			start(t, cmd)
			if got := ended(t, cmd); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
			if _, err := os.Stat(hook); err != nil {
				t.Error("clean-up was not done")
			}
		})
	}
	for _, insist := range []bool{false, true} {
		t.Run(fmt.Sprintf("hangs, insist %v", insist), func(t *testing.T) {
			t.Parallel()
			hook := filepath.Join(t.TempDir(), "hook")
			cmd := noTTY(mode{"", &options{Hook: hook, HookWaits: true}}.command(t, "/bin/sh", "-c", "exit 3"))
			var errs capture
			cmd.Stderr = &errs
			start(t, cmd)
			begun := time.Now()
			eventually(t, "clean-up to begin", func() bool { _, err := os.Stat(hook); return err == nil })
			if insist {
				go func() { // the first is taken for what ended the program
					for cmd.Process.Signal(unix.SIGTERM) == nil {
						time.Sleep(20 * time.Millisecond)
					}
				}()
			} else {
				_ = cmd.Process.Signal(unix.SIGTERM)
			}
			if got := ended(t, cmd); got != "exit 3" {
				t.Errorf("%s", got)
			}
			if took := time.Since(begun); insist && took > 4*time.Second || !insist && took < 4*time.Second {
				t.Errorf("took %v", took)
			}
			if !strings.Contains(errs.String(), "cleaning up") {
				t.Errorf("warned %q", errs.String())
			}
		})
	}
}

// Nothing of ours is on standard output, whatever happens (runner O2).
func TestStdoutIsTheProgram(t *testing.T) {
	t.Parallel()
	for _, argv := range [][]string{{"no-such-program"}, {"/etc/passwd"}, {"/bin/sh", "-c", "exit 3"}, {""}, {}} {
		for _, m := range modes()[1:] {
			cmd := m.command(t, argv...)
			out, _ := cmd.Output()
			if len(out) > 0 {
				t.Errorf("%s %q: %q", m.name, argv, out)
			}
		}
	}
}
