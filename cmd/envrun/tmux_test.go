//go:build unix

package main_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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

// A way out of the interface, and what the shell says then.
type leaving struct {
	name string
	do   func(*pane)
	says string
}

// leavings are the ways that there are wherever one is.
func leavings() []leaving {
	signal := func(sig syscall.Signal) func(*pane) {
		return func(s *pane) {
			if err := syscall.Kill(s.program(), sig); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	return []leaving{
		{"SIGTERM", signal(syscall.SIGTERM), "ended 143"},
		{"SIGHUP", signal(syscall.SIGHUP), "ended 129"},
		{"SIGINT", signal(syscall.SIGINT), "ended 130"},
		{"SIGQUIT", signal(syscall.SIGQUIT), "ended 131"},
	}
}

// A showing is something that the interface has a value for.
type showing struct {
	name string
	// begin has it so with a value, from the names of an environment on, and says
	// whether the value is then on the screen.
	begin func(s *pane, stored, typed string) (value string, seen bool)
	quit  func(*pane)
	ctrlC func(*pane)
}

// Whatever ends or stops the interface while a value is on the screen, is being
// typed, or was copied, the value is in no scrollback, no trace, no state file, and
// cannot be in a core.
func TestTmuxLeaves(t *testing.T) {
	p := newPerson(t)
	p.setup("dev")
	stored := newCanary()
	p.must(stored, "set", "SECRET")
	// An editor that shows nothing of what it is given, and waits.
	p.write("ed", "#!/bin/sh\necho in the editor >/dev/tty\nread line </dev/tty\n")
	if err := os.Chmod(filepath.Join(p.dir, "ed"), 0o755); err != nil {
		t.Fatal(err)
	}
	secret := func(s *pane) {
		s.keys("Enter")
		s.shows("v reveal")
	}
	edit := func(s *pane, text string) {
		secret(s)
		s.then("Edit app", "e")
		s.then("typing, not shown", "Enter")
		s.then("replaced", "-l", text)
	}
	quit := func(s *pane) { s.keys("q"); s.keys("q") }
	ctrlC := func(s *pane) { s.keys("C-c") }
	insist := func(s *pane) {
		s.then("Leave?", "C-c")
		s.keys("C-c")
	}
	showings := []showing{
		{"a value revealed", func(s *pane, stored, _ string) (string, bool) {
			secret(s)
			s.then(stored, "v")
			return stored, true
		}, quit, ctrlC},
		{"a value copied", func(s *pane, stored, _ string) (string, bool) {
			secret(s)
			s.then("clip 30s", "y")
			if got := s.buffer(); got != stored {
				s.t.Errorf("copied %q, want %q", got, stored)
			}
			if runtime.GOOS == "linux" && len(s.helpers()) == 0 {
				s.t.Error("nobody will clear the clipboard")
			}
			return stored, false
		}, quit, ctrlC},
		{"a value typed", func(s *pane, _, typed string) (string, bool) {
			edit(s, typed)
			return typed, false
		}, nil, insist},
		{"a value typed and shown", func(s *pane, _, typed string) (string, bool) {
			edit(s, typed)
			s.then(typed, "C-v")
			return typed, true
		}, nil, insist},
	}
	for _, alternate := range []bool{true, false} {
		for _, showing := range showings {
			typed := newCanary()
			name := func(way string) string {
				return fmt.Sprintf("%s, %s, alternate screen %v", showing.name, way, alternate)
			}
			ways := append(leavings(), leaving{"ctrl+c", showing.ctrlC, "ended 0"})
			if showing.quit != nil {
				ways = append(ways, leaving{"quit", showing.quit, "ended 0"})
			}
			for _, way := range ways {
				t.Run(name(way.name), func(t *testing.T) {
					p := p.in(t)
					trace := filepath.Join(t.TempDir(), "trace")
					p = p.as("TEA_TRACE="+trace, "TEA_DEBUG="+trace, "GOTRACEBACK=crash")
					// A core would be written into the folder where it runs.
					s := p.tmux(alternate, fmt.Sprintf("ulimit -c unlimited; %s tui; echo ended $?", p.program))
					s.shows("app/SECRET")
					value, _ := showing.begin(s, stored, typed)
					s.leavesNoCore()
					way.do(s)
					s.shows(way.says)
					s.hasNot(value)
					nowhere(t, value, p.dir, p.home, p.tmp, filepath.Dir(trace))
					if _, err := os.Stat(trace); err == nil {
						t.Error("a trace was written")
					}
				})
			}
			t.Run(name("ctrl+z"), func(t *testing.T) {
				p := p.in(t)
				s := p.tmux(alternate, "PS1='prompt: ' bash --norc --noprofile -i")
				s.shows("prompt:")
				s.keys(p.program+" tui", "Enter")
				s.shows("app/SECRET")
				value, seen := showing.begin(s, stored, typed)
				if shown := s.screen(); strings.Contains(shown, value) != seen {
					t.Errorf("the value is seen: %v\n%s", !seen, shown)
				}
				s.keys("C-z")
				s.shows("Stopped")
				s.hasNot(value)
				s.keys("fg", "Enter")
				s.shows("alice@laptop")
				s.hasNot(value)
				showing.ctrlC(s)
				s.until("the prompt", func(shown string) bool { return strings.HasSuffix(strings.TrimSpace(shown), "prompt:") })
				s.hasNot(value)
				nowhere(t, value, p.dir, p.home, p.tmp)
			})
			t.Run(name("$EDITOR"), func(t *testing.T) {
				p := p.in(t).as("EDITOR=./ed")
				s := p.tmux(alternate, p.program+" tui; echo ended $?")
				s.shows("app/SECRET")
				value, _ := showing.begin(s, stored, typed)
				if !strings.Contains(s.screen(), "Edit app") {
					s.then("Edit app", "e")
				}
				s.keys("C-e")
				s.until("the editor, or a question", func(shown string) bool {
					return strings.Contains(shown, "in the editor") || strings.Contains(shown, "Your editor")
				})
				if strings.Contains(s.screen(), "Your editor") { // is not known, or the text lies on a disk
					s.keys("j", "Enter")
					s.shows("in the editor")
				}
				s.hasNot(value)
				s.keys("Enter")
				s.shows("Edit app")
				s.hasNot(value)
				showing.ctrlC(s)
				s.shows("ended 0")
				s.hasNot(value)
				nowhere(t, value, p.dir, p.home, p.tmp)
			})
		}
	}
}

// hasNot checks that a value is neither on the screen nor in what scrolled away.
func (s *pane) hasNot(value string) {
	s.t.Helper()
	if all := s.everything(); strings.Contains(all, value) {
		s.t.Errorf("the value is there:\n%s", all)
	}
}

// leavesNoCore checks, on Linux, that neither the interface nor the helpers that
// clear the clipboard may leave a core.
func (s *pane) leavesNoCore() {
	s.t.Helper()
	for _, pid := range append(s.helpers(), strconv.Itoa(s.program())) {
		limits, err := os.ReadFile("/proc/" + pid + "/limits")
		if err == nil && !strings.Contains(strings.Join(strings.Fields(string(limits)), " "), "Max core file size 0 0") {
			s.t.Errorf("process %s may leave a core:\n%s", pid, limits)
		}
	}
}

// helpers are this person's processes that look after a clipboard; none where the
// system does not tell.
func (s *pane) helpers() (pids []string) {
	s.t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, dir := range processes {
		args, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		env, _ := os.ReadFile(filepath.Join(dir, "environ"))
		if bytes.HasPrefix(args, []byte("envrun-clipboard\x00")) && bytes.Contains(env, []byte("HOME="+s.p.home+"\x00")) {
			pids = append(pids, filepath.Base(dir))
		}
	}
	return pids
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
