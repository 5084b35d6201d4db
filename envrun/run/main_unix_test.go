//go:build !windows

package run_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// A sighting is what the probe says of itself. It is written anew after each
// change.
type sighting struct {
	PID, PPID, PGID, SID int
	Foreground           int // the group in the foreground of the controlling terminal, 0 without one
	TTY                  [3]bool
	Args                 []string
	Env                  []string
	Dir                  string
	Rows, Cols           uint16
	Signals              map[string]int
}

// probe says how it sees the world, into the file named first, and does then what
// the other arguments say: "exit=N" ends with N at once; "wait" waits for signals;
// "until=SIG" waits until it got SIG and dies of it; "read" waits for a line of
// input; "own-group" leaves its group first. It prints "ready" when it listens.
func probe() {
	file := os.Args[1]
	if slices.Contains(os.Args, "own-group") {
		_ = unix.Setpgid(0, 0)
	}
	signals := make(chan os.Signal, 100)
	signal.Notify(signals, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2,
		unix.SIGCONT, unix.SIGWINCH, unix.SIGALRM, unix.SIGPIPE, unix.SIGTTIN, unix.SIGTTOU)
	seen := map[string]int{}
	write := func() {
		s := sighting{PID: os.Getpid(), PPID: os.Getppid(), PGID: unix.Getpgrp(), Args: os.Args[2:], Signals: seen}
		s.SID, _ = unix.Getsid(0)
		s.Dir, _ = os.Getwd()
		if raw, err := os.ReadFile("/proc/self/environ"); err == nil {
			s.Env = strings.Split(strings.TrimSuffix(string(raw), "\x00"), "\x00")
		}
		for fd := range 3 {
			s.TTY[fd] = term.IsTerminal(fd)
		}
		if tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0); err == nil {
			s.Foreground, _ = unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
			tty.Close()
		}
		if size, err := unix.IoctlGetWinsize(1, unix.TIOCGWINSZ); err == nil {
			s.Rows, s.Cols = size.Row, size.Col
		}
		text, _ := json.Marshal(s)
		if os.WriteFile(file+".new", text, 0o600) != nil || os.Rename(file+".new", file) != nil {
			os.Exit(98)
		}
	}
	write()
	fmt.Println("ready")
	until := ""
	for _, arg := range os.Args[2:] {
		var code int
		if _, err := fmt.Sscanf(arg, "exit=%d", &code); err == nil {
			os.Exit(code)
		}
		if name, ok := strings.CutPrefix(arg, "until="); ok {
			until = name
		}
		if arg == "read" {
			go func() {
				var line [100]byte
				n, _ := os.Stdin.Read(line[:])
				fmt.Printf("read %q\n", line[:n])
				os.Exit(0)
			}()
		}
	}
	for sig := range signals {
		seen[unix.SignalName(sig.(syscall.Signal))]++
		write()
		if unix.SignalName(sig.(syscall.Signal)) == until {
			signal.Reset(sig)
			_ = unix.Kill(os.Getpid(), sig.(syscall.Signal))
			time.Sleep(time.Minute) // it may reach another thread
		}
	}
}

// A mode is a way to run a program: as it is, or by a wrapper.
type mode struct {
	name string
	o    *options // nil for bare
}

// modes are the ways between which a program should see no difference.
func modes() []mode {
	return []mode{
		{"bare", nil},
		{"exec", &options{Exec: true}},
		{"supervise", &options{Supervise: true}},
	}
}

// command makes a command that runs argv in this way.
func (m mode) command(t testing.TB, argv ...string) *exec.Cmd {
	t.Helper()
	var cmd *exec.Cmd
	if m.o == nil {
		cmd = exec.Command(argv[0], argv[1:]...)
		cmd.Env = environment()
	} else {
		cmd = exec.Command(testBinary(t), argv...)
		cmd.Env = environment(wrapperEnv(t, *m.o)...)
	}
	return cmd
}

// each runs a test for several modes.
func each(t *testing.T, list []mode, f func(t *testing.T, m mode)) {
	for _, m := range list {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			f(t, m)
		})
	}
}

// probeScript makes a program that is the probe, and the file that it writes.
func probeScript(t testing.TB) (program, file string) {
	t.Helper()
	dir := t.TempDir()
	program = writeFile(t, dir, "probe", fmt.Sprintf("#!/bin/sh\n%s=probe exec '%s' \"$@\"\n", roleVar, testBinary(t)), 0o755)
	return program, filepath.Join(dir, "sighting")
}

// saw reads what the probe wrote last.
func saw(t testing.TB, file string) (s sighting, ok bool) {
	t.Helper()
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return s, false
	}
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s, true
}

// await waits until the probe has seen what ok wants.
func await(t testing.TB, file, what string, ok func(sighting) bool) (s sighting) {
	t.Helper()
	eventually(t, what, func() bool {
		var there bool
		s, there = saw(t, file)
		return there && ok(s)
	})
	return s
}

// started waits until the probe listens.
func started(t testing.TB, file string) sighting {
	t.Helper()
	return await(t, file, "the probe to start", func(sighting) bool { return true })
}

// got waits until the probe got a signal n times.
func got(t testing.TB, file, sig string, n int) sighting {
	t.Helper()
	return await(t, file, fmt.Sprintf("%s at the probe, %d times", sig, n), func(s sighting) bool { return s.Signals[sig] >= n })
}

// end is how a command ended, as a shell would say it.
func end(err error) string {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "exit 0"
	case !errors.As(err, &exit):
		return err.Error()
	}
	status := exit.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return "signal " + unix.SignalName(status.Signal())
	}
	return fmt.Sprintf("exit %d", status.ExitStatus())
}

// ended waits for the end of a command and says how it ended.
func ended(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		return end(err)
	case <-time.After(patience):
		ps, _ := exec.Command("ps", "-ejH").Output()
		_ = cmd.Process.Kill()
		<-done
		t.Fatalf("%v did not end within %v; processes:\n%s", cmd.Args, patience, ps)
		return ""
	}
}

// output runs a command and returns its standard output, or fails.
func output(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, errs.String())
	}
	return string(out)
}

// start starts a command, kept from outliving the test.
func start(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
}

// testMain runs the tests. They may have been started with signals ignored, as a
// background job is; what the tests start must not be.
func testMain(m *testing.M) int {
	for _, sig := range []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU} {
		if signal.Ignored(sig) {
			signal.Notify(make(chan os.Signal, 1), sig)
		}
	}
	return m.Run()
}

// A capture is a buffer that may be read while it is written.
type capture struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (c *capture) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf.Write(b)
}

func (c *capture) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf.String()
}
