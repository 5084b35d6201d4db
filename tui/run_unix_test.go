//go:build unix

package tui_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"envrun/tui"
	"envrun/tui/tuitest"

	"github.com/creack/pty"
)

const patience = 30 * time.Second

// A tmux is a terminal whose scrollback can be looked at.
type tmux struct {
	t      *testing.T
	binary string
	dir    string
	pid    string // file
}

// newTmux starts a shell in a tmux of 100x30 with these settings.
func newTmux(t *testing.T, settings ...string) *tmux {
	t.Helper()
	binary, err := exec.LookPath("tmux")
	if err != nil {
		t.Skip("no tmux here (Debian: apt-get install tmux)")
	}
	dir, err := os.MkdirTemp("", "tui") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	x := &tmux{t: t, binary: binary, dir: dir, pid: filepath.Join(dir, "pid")}
	conf := append([]string{"set -g history-limit 10000", "set -g default-terminal screen-256color", "set -s focus-events on"}, settings...)
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(strings.Join(conf, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = x.try("kill-server")
		_ = os.RemoveAll(dir)
	})
	x.do("new-session", "-d", "-x", "100", "-y", "30", "env", "-i", "PATH="+os.Getenv("PATH"), "TERM=screen-256color", "LANG=C.UTF-8", "PS1=READY ", "HOME="+dir, "sh", "-i")
	x.await("READY")
	return x
}

func (x *tmux) try(args ...string) (string, error) {
	cmd := exec.Command(x.binary, append([]string{"-S", filepath.Join(x.dir, "s"), "-f", filepath.Join(x.dir, "conf")}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TERM=xterm-256color", "HOME=" + x.dir, "LANG=C.UTF-8"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (x *tmux) do(args ...string) string {
	x.t.Helper()
	out, err := x.try(args...)
	if err != nil {
		x.t.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return out
}

// all is what is on the screen and what has scrolled away.
func (x *tmux) all() string { return x.do("capture-pane", "-p", "-S", "-") }

func (x *tmux) keys(keys ...string) { x.do(append([]string{"send-keys"}, keys...)...) }

// await waits until a text is on the screen.
func (x *tmux) await(text string) {
	x.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if strings.Contains(x.do("capture-pane", "-p"), text) {
			return
		}
		if time.Now().After(end) {
			x.t.Fatalf("%q does not come:\n%s", text, x.all())
		}
	}
}

// start runs the interface from the shell.
func (x *tmux) start(env string) {
	x.t.Helper()
	self, err := os.Executable()
	if err != nil {
		x.t.Fatal(err)
	}
	x.keys("-l", fmt.Sprintf("%s TUI_TEST_PROGRAM=1 TUI_TEST_PID=%s %s", env, x.pid, self))
	x.keys("Enter")
	x.await("2 names")
}

func (x *tmux) signal(s syscall.Signal) {
	x.t.Helper()
	text, err := os.ReadFile(x.pid)
	if err != nil {
		x.t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		x.t.Fatal(err)
	}
	if err := syscall.Kill(pid, s); err != nil {
		x.t.Fatal(err)
	}
}

// crashed is what is said after a panic: its type, and nothing of what was in it.
const crashed = "ENDED by a crash: envrun has crashed: a panic of type string"

// stopped is what the shell says of a job that was stopped.
const stopped = "+ Stopped"

// awaitStopped waits until the shell has said so many times that the job was
// stopped, and asks for a command: what is typed before it throws away.
func (x *tmux) awaitStopped(times int) {
	x.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		text := strings.TrimRight(x.all(), " \n")
		if strings.Count(text, stopped) >= times && strings.HasSuffix(text, "READY") {
			return
		}
		if time.Now().After(end) {
			x.t.Fatalf("it is not stopped %d times:\n%s", times, text)
		}
	}
}

// fg goes on with what was stopped.
func (x *tmux) fg() {
	x.t.Helper()
	x.keys("-l", "fg")
	x.keys("Enter")
	x.await("2 names")
}

// A value that was shown is not left in the scrollback, however the interface is
// left, and whether or not the terminal has an alternate screen (R8).
func TestNothingIsLeftBehind(t *testing.T) {
	for _, alternate := range []string{"on", "off"} {
		for name, c := range map[string]struct {
			leave func(x *tmux)
			said  string
		}{
			"quit":      {func(x *tmux) { x.keys("q") }, "ENDED by the person"},
			"interrupt": {func(x *tmux) { x.keys("C-c") }, "ENDED by the person"},
			"SIGINT":    {func(x *tmux) { x.signal(syscall.SIGINT) }, "ENDED by interrupt"},
			"SIGTERM":   {func(x *tmux) { x.signal(syscall.SIGTERM) }, "ENDED by terminated"},
			"SIGHUP":    {func(x *tmux) { x.signal(syscall.SIGHUP) }, "ENDED by hangup"},
			"suspend":   {func(x *tmux) { x.keys("C-z") }, stopped},
			"SIGTSTP":   {func(x *tmux) { x.signal(syscall.SIGTSTP) }, stopped},

			"panic in command": {func(x *tmux) { x.keys("r") }, crashed},
			"panic in Update":  {func(x *tmux) { x.keys("r") }, crashed},
			"panic in View":    {func(x *tmux) { x.keys("r") }, crashed},
		} {
			t.Run(name+", alternate screen "+alternate, func(t *testing.T) {
				x := newTmux(t, "setw -g alternate-screen "+alternate)
				trace := filepath.Join(x.dir, "trace")
				x.keys("-l", "clear")
				x.keys("Enter")
				_, where, _ := strings.Cut(name, "panic in ")
				x.start("TEA_TRACE=" + trace + " TEA_DEBUG=1 TUI_TEST_PANIC=" + where)
				x.keys("v")
				x.await(canary[:20])
				c.leave(x)
				if c.said == stopped {
					x.awaitStopped(1)
				}
				x.await(c.said)
				if text := x.all(); tuitest.Shows(text, canary) {
					t.Errorf("the value is left behind:\n%s", text)
				}
				// And again: what stopped us must be able to do so twice.
				for stops := 1; c.said == stopped; stops++ {
					x.fg()
					if tuitest.Shows(x.all(), canary) {
						t.Error("the value is there again")
					}
					if stops == 2 {
						x.keys("q")
						x.await("ENDED by the person")
						break
					}
					c.leave(x)
					x.awaitStopped(2)
				}
				if _, err := os.Stat(trace); err == nil {
					t.Error("what was drawn is in a file")
				}
				if left, _ := filepath.Glob(filepath.Join(x.dir, "bubbletea-*")); len(left) > 0 {
					t.Errorf("it leaves %v", left)
				}
			})
		}
	}
}

// A new size has the screen cleared and drawn again; what was shown is not kept
// by a terminal without an alternate screen. (What it cuts off itself when it
// gets lower is out of our hands.)
func TestResizeLeavesNothing(t *testing.T) {
	for _, size := range [][2]string{{"110", "35"}, {"110", "30"}, {"100", "40"}} {
		x := newTmux(t, "setw -g alternate-screen off")
		x.start("")
		x.keys("v")
		x.await(canary[:20])
		x.do("resize-window", "-x", size[0], "-y", size[1])
		for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
			text := x.all()
			if !tuitest.Shows(text, canary) {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%v: the value is left behind:\n%s", size, text)
			}
		}
		x.keys("q")
		x.await("ENDED by the person")
		if text := x.all(); tuitest.Shows(text, canary) {
			t.Errorf("%v: the value is left behind:\n%s", size, text)
		}
	}
}

// What is shown in tmux is what was drawn, after moving, filtering and resizing.
func TestInTmux(t *testing.T) {
	x := newTmux(t)
	x.start("")
	x.keys("j")
	x.await("> billing/stripe/WIDE_日本語")
	x.keys("/")
	x.keys("-l", "strk")
	x.await("1 of 2")
	x.keys("Enter", "Enter")
	x.await("version 3 (current)")
	x.do("resize-window", "-x", "60", "-y", "20")
	x.await("dev  acme/payments")
	x.do("resize-window", "-x", "39", "-y", "9")
	x.await("envrun needs 40x10, this is 39x9")
	x.do("resize-window", "-x", "100", "-y", "30")
	x.await("version 3 (current)")
	x.keys("q", "q")
	x.await("ENDED by the person")
}

// console runs the interface in a pseudo-terminal and counts what it writes.
type console struct {
	pty *os.File
	cmd *exec.Cmd
	mu  sync.Mutex
	out bytes.Buffer

	deaf atomic.Bool // the next read is the last
	over chan struct{}
}

func newConsole(t *testing.T) *console {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = []string{"TUI_TEST_PROGRAM=1", "TERM=xterm-256color", "LANG=C.UTF-8", "PATH=/nowhere"}
	p, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: 100, Rows: 30})
	if err != nil {
		t.Skip("no pseudo-terminal here: ", err)
	}
	c := &console{pty: p, cmd: cmd, over: make(chan struct{})}
	go func() {
		defer close(c.over)
		buf := make([]byte, 4096)
		for {
			n, err := p.Read(buf)
			c.mu.Lock()
			c.out.Write(buf[:n])
			c.mu.Unlock()
			if err != nil || c.deaf.Load() {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = p.Close()
	})
	return c
}

func (c *console) written() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.String()
}

func (c *console) await(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(patience); !strings.Contains(c.written(), text); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%q does not come: %q", text, c.written())
		}
	}
}

// While nothing happens nothing is written, and a terminal that has gone ends it.
func TestIdleAndHangup(t *testing.T) {
	c := newConsole(t)
	c.await(t, "2 names")
	var before string
	for end := time.Now().Add(patience); ; { // until its questions have been asked
		before = c.written()
		time.Sleep(2500 * time.Millisecond)
		if c.written() == before {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("it never stops writing: %q", strings.TrimPrefix(c.written(), before))
		}
	}
	// A file that is being read is not closed: have it write once more.
	c.deaf.Store(true)
	if _, err := c.pty.Write([]byte("j")); err != nil {
		t.Fatal(err)
	}
	<-c.over
	done := make(chan error, 1)
	go func() { done <- c.cmd.Wait() }()
	_ = c.pty.Close()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("it goes on without a terminal")
	}
}

// Not on a terminal it does not even begin.
func TestNoTerminal(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, terminal := range []tui.Terminal{{}, {In: null, Out: null}} {
		if _, err := tui.Run(t.Context(), tui.Config{}, terminal); !errors.Is(err, tui.ErrNoTerminal) {
			t.Errorf("%v", err)
		}
	}
}
