//go:build unix

package main_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A pane is envrun in a real terminal, tmux, which keeps what scrolls away: the
// place where a value would stay that was on the screen.
type pane struct {
	t      *testing.T
	p      *person
	socket string
}

// A cells is a size of a terminal.
type cells struct{ w, h int }

func (c cells) String() string { return fmt.Sprintf("%dx%d", c.w, c.h) }

// The sizes that everything must be usable at.
var large, medium = cells{100, 30}, cells{60, 20}

// tmux starts a shell command in a pane of 100 by 30. With alternate off the
// terminal has no second screen, so all that is drawn stays unless it is erased.
func (p *person) tmux(alternate bool, command string) *pane {
	p.t.Helper()
	return p.tmuxOf(large, alternate, command)
}

func (p *person) tmuxOf(size cells, alternate bool, command string) *pane {
	p.t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		p.t.Skip("suite tmux skipped: no tmux here")
	}
	// A socket's name must be short, so it is not in the test's own folder.
	dir, err := os.MkdirTemp("", "pane")
	if err != nil {
		p.t.Fatal(err)
	}
	s := &pane{t: p.t, p: p, socket: filepath.Join(dir, "s")}
	screen := "off"
	if alternate {
		screen = "on"
	}
	config := filepath.Join(dir, "conf")
	if err := os.WriteFile(config, []byte("set -g history-limit 50000\nset -wg alternate-screen "+screen+"\nset -g remain-on-exit on\nset -g default-terminal screen-256color\n"), 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		s.tmux("kill-server")
		os.RemoveAll(dir)
	})
	if out, err := s.command("-f", config, "new-session", "-d", "-x", strconv.Itoa(size.w), "-y", strconv.Itoa(size.h), command+"; exec sleep 600").CombinedOutput(); err != nil {
		p.t.Fatalf("tmux: %v: %s", err, out)
	}
	return s
}

func (s *pane) command(args ...string) *exec.Cmd {
	return s.p.command(append([]string{"tmux", "-S", s.socket}, args...)...)
}

func (s *pane) tmux(args ...string) string {
	var out bytes.Buffer
	cmd := s.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait() // it says so when there is no such thing
	if !timer.Stop() {
		s.t.Fatalf("tmux %q does not answer in %v", args, patience)
	}
	return out.String()
}

// keys types; names of keys are tmux's: Enter, Escape, C-c.
func (s *pane) keys(keys ...string) {
	s.t.Helper()
	if out := s.tmux(append([]string{"send-keys"}, keys...)...); out != "" {
		s.t.Fatalf("tmux send-keys %q: %s", keys, out)
	}
}

// everything is the screen and what has scrolled away from it.
func (s *pane) everything() string { return s.tmux("capture-pane", "-p", "-J", "-S", "-") }

func (s *pane) screen() string { return s.tmux("capture-pane", "-p", "-J") }

// shows waits until the screen shows text.
func (s *pane) shows(text string) string {
	s.t.Helper()
	return s.until(text, func(shown string) bool { return strings.Contains(shown, text) })
}

// then types and waits until the screen shows text, which it must not do before.
func (s *pane) then(text string, keys ...string) string {
	s.t.Helper()
	if shown := s.screen(); strings.Contains(shown, text) {
		s.t.Fatalf("before %q is typed the terminal shows %q already:\n%s", keys, text, shown)
	}
	s.keys(keys...)
	return s.shows(text)
}

// gone waits until the screen does not show text any more.
func (s *pane) gone(text string) string {
	s.t.Helper()
	return s.until("no "+text, func(shown string) bool { return !strings.Contains(shown, text) })
}

func (s *pane) until(what string, ok func(shown string) bool) string {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		shown := s.screen()
		if ok(shown) {
			return shown
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the terminal never shows %q; it shows\n%s", what, shown)
		}
	}
}

// pid is that of the process which the pane was started with.
func (s *pane) pid() int {
	s.t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(s.tmux("display-message", "-p", "#{pane_pid}")))
	if err != nil {
		s.t.Fatal(err)
	}
	return pid
}

// program is the process of the interface, below the pane's shell.
func (s *pane) program() int {
	s.t.Helper()
	out, err := exec.Command("pgrep", "-P", strconv.Itoa(s.pid()), "-f", "tui").Output()
	if err != nil {
		s.t.Fatalf("no interface in the pane: %v", err)
	}
	pid, err := strconv.Atoi(strings.Fields(string(out))[0])
	if err != nil {
		s.t.Fatal(err)
	}
	return pid
}

// Whatever ends or stops the interface while a value is on the screen, the
// value is in no scrollback, no trace, no state file, and cannot be in a core.
func TestTmuxLeaves(t *testing.T) {
	p := newPerson(t)
	p.setup("dev")
	value := newCanary()
	p.must(value, "set", "SECRET")
	signal := func(sig syscall.Signal) func(*pane) {
		return func(s *pane) {
			if err := syscall.Kill(s.program(), sig); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	ways := []struct {
		name  string
		leave func(*pane)
		after string // what the shell says then
	}{
		{"quit", func(s *pane) { s.keys("q"); s.keys("q") }, "ended 0"},
		{"ctrl+c", func(s *pane) { s.keys("C-c") }, "ended "},
		{"SIGTERM", signal(syscall.SIGTERM), "ended 143"},
		{"SIGHUP", signal(syscall.SIGHUP), "ended 129"},
		{"SIGINT", signal(syscall.SIGINT), "ended 130"},
		{"SIGQUIT", signal(syscall.SIGQUIT), "ended 131"},
	}
	for _, alternate := range []bool{true, false} {
		for _, way := range ways {
			t.Run(fmt.Sprintf("%s, alternate screen %v", way.name, alternate), func(t *testing.T) {
				p := p.in(t)
				trace := filepath.Join(t.TempDir(), "trace")
				p = p.as("TEA_TRACE="+trace, "TEA_DEBUG="+trace, "GOTRACEBACK=crash")
				// A core would be written into the folder where it runs.
				s := p.tmux(alternate, fmt.Sprintf("ulimit -c unlimited; %s tui; echo ended $?", p.program))
				s.shows("app/SECRET")
				s.keys("Enter")
				s.shows("v reveal")
				s.keys("v")
				s.shows(value)
				limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", s.program()))
				if err == nil && !strings.Contains(strings.Join(strings.Fields(string(limits)), " "), "Max core file size 0 0") {
					t.Errorf("it may leave a core:\n%s", limits)
				}
				way.leave(s)
				s.until(way.after, func(shown string) bool { return strings.Contains(shown, way.after) })
				if all := s.everything(); strings.Contains(all, value) {
					t.Errorf("the value is still there:\n%s", all)
				}
				nowhere(t, value, p.dir, p.home, p.tmp, filepath.Dir(trace))
				if _, err := os.Stat(trace); err == nil {
					t.Error("a trace was written")
				}
			})
		}
		t.Run(fmt.Sprintf("ctrl+z, alternate screen %v", alternate), func(t *testing.T) {
			p := p.in(t)
			s := p.tmux(alternate, "PS1='prompt: ' bash --norc --noprofile -i")
			s.shows("prompt:")
			s.keys(p.program+" tui", "Enter")
			s.shows("app/SECRET")
			s.keys("Enter")
			s.shows("v reveal")
			s.keys("v")
			s.shows(value)
			s.keys("C-z")
			s.shows("Stopped")
			if all := s.everything(); strings.Contains(all, value) {
				t.Errorf("while it is stopped the value is there:\n%s", all)
			}
			s.keys("fg", "Enter")
			back := s.shows("SECRET")
			if strings.Contains(back, value) {
				t.Errorf("it is shown again without being asked for:\n%s", back)
			}
			s.keys("C-c")
			s.shows("prompt:")
			if all := s.everything(); strings.Contains(all, value) {
				t.Errorf("the value is still there:\n%s", all)
			}
		})
	}
}

// What a value or a name could do to a terminal it does not do.
func TestTmuxHostileValue(t *testing.T) {
	p := newPerson(t)
	p.setup("dev")
	p.must("before\x1b]0;owned\x07\x1b[2J\x1b[31m\u202edesrever\u202c\u200b\x9b31mafter", "set", "SECRET")
	s := p.tmux(true, p.program+" tui; echo ended $?")
	s.shows("app/SECRET")
	s.keys("Enter")
	s.shows("v reveal")
	s.keys("v")
	s.shows("after")
	if title := s.tmux("display-message", "-p", "#{pane_title}"); strings.Contains(title, "owned") {
		t.Errorf("the title is %q", title)
	}
	if shown := s.shows("before"); !strings.Contains(shown, "after") {
		t.Errorf("the screen was cleared:\n%s", shown)
	}
	s.keys("q")
	s.keys("q")
	s.shows("ended 0")
}
