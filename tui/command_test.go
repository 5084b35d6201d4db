package tui_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"envrun/tui"
	"envrun/tui/tuitest"
	"envrun/vault"

	tea "charm.land/bubbletea/v2"
)

// shell is a Runner that runs nothing, and looks at what is there meanwhile.
type shell struct {
	ran  tui.Ran
	err  error
	then func() // while the command has the terminal

	env   vault.Env
	line  string
	mask  bool
	calls int
}

// Run implements tui.Runner.
func (s *shell) Run(_ context.Context, env vault.Env, line string, mask bool) (tui.Ran, error) {
	s.calls++
	s.env, s.line, s.mask = env, line, mask
	if s.then != nil {
		s.then()
	}
	return s.ran, s.err
}

// handedOver is what bubbletea leaves to a command.
type handedOver struct {
	typed io.Reader
	shown bytes.Buffer
	left  string // the last picture before
}

// withShell drives the interface with a Runner.
func withShell(t *testing.T, w *tuitest.World, s *shell) (*tuitest.Driver, *handedOver) {
	term := &handedOver{typed: strings.NewReader("\n")}
	var d *tuitest.Driver
	w.Config.Runner = s
	exec := func(c tea.ExecCommand, then tea.Msg) tea.Cmd {
		return func() tea.Msg {
			term.left = strings.TrimSpace(d.Text())
			c.SetStdin(term.typed)
			c.SetStdout(&term.shown)
			c.SetStderr(io.Discard)
			if err := c.Run(); err != nil {
				t.Error(err)
			}
			return then
		}
	}
	d = tuitest.New(t, w, func(c *tui.Config) { c.Exec = exec })
	return d, term
}

func TestRunACommand(t *testing.T) {
	w := tuitest.NewWorld(t)
	s := &shell{ran: tui.Ran{Status: 3}}
	d, term := withShell(t, w, s)
	secret := w.Value(tuitest.Dev, "SMTP_PASSWORD")
	d.Allow(secret)
	d.Press("v")
	d.Has("REVEALED")
	d.Press("$")
	d.Has("Run with dev")
	d.Press("enter") // nothing typed, nothing run
	if s.calls > 0 {
		t.Fatal("an empty line was run")
	}
	d.Type("npm test -- --quick")
	d.Forbid(secret)
	d.Press("enter")
	if s.calls != 1 || s.line != "npm test -- --quick" || s.env != tuitest.Dev || s.mask {
		t.Fatalf("%d runs, the last of %q in %s", s.calls, s.line, s.env)
	}
	if term.left != "envrun" { // as every picture is while we are away
		t.Errorf("this was on the screen when it was left:\n%s", term.left)
	}
	if got := term.shown.String(); !strings.Contains(got, "exit status 3; press enter to come back") {
		t.Errorf("the terminal says %q", got)
	}
	d.Has("The command has ended: exit status 3.", "6 names")
	d.Lacks("REVEALED")
}

func TestRunInAProtectedEnvironment(t *testing.T) {
	w := tuitest.NewWorld(t)
	s := &shell{}
	d, _ := withShell(t, w, s)
	d.Press("2", "$")
	d.Type("make deploy")
	d.Press("enter")
	d.Has("make deploy", "Type the environment's name (prod)")
	d.Press("tab", "Y", "enter")
	if s.calls > 0 {
		t.Fatal("it was run, and no name was typed")
	}
	d.Press("$")
	d.Type("make deploy")
	d.Press("enter")
	d.Type("prod")
	d.Press("tab", "Y")
	if s.calls != 1 || s.env != tuitest.Prod {
		t.Fatalf("%d runs in %s", s.calls, s.env)
	}
}

// Somebody is watching: what the command prints is masked.
func TestRunInShareMode(t *testing.T) {
	w := tuitest.NewWorld(t)
	s := &shell{}
	d, _ := withShell(t, w, s)
	d.Press("P", "$")
	d.Type("env")
	d.Press("enter")
	if !s.mask {
		t.Error("the output is not masked")
	}
}

func TestRunThatDoesNotBegin(t *testing.T) {
	w := tuitest.NewWorld(t)
	s := &shell{err: &vault.Error{Kind: vault.KindDenied, Env: tuitest.Dev}}
	d, term := withShell(t, w, s)
	d.Press("$")
	d.Type("make")
	d.Press("enter")
	if term.shown.Len() > 0 {
		t.Errorf("somebody is asked to press a key: %q", term.shown.String())
	}
	d.Has("! ")
	d.Press("j") // it goes on
	d.Has("6 names")
}

// A command that takes long is a time without a key.
func TestLockedAfterALongCommand(t *testing.T) {
	w := tuitest.NewWorld(t)
	s := &shell{ran: tui.Ran{Status: 143, Signal: 15}}
	d, term := withShell(t, w, s)
	s.then = func() { d.Sleep(4 * time.Minute) }
	d.Press("$")
	d.Type("make")
	d.Press("enter")
	d.Lacks("locked")
	d.Has("ended by signal 15")
	s.then = func() { d.Sleep(6 * time.Minute) }
	term.typed = strings.NewReader("\n")
	d.Press("$")
	d.Type("make")
	d.Press("enter")
	d.Has("envrun is locked")
	d.Press("enter")
	d.Has("6 names")
}

// What was being read for a screen is not read on behind a command.
func TestNoJobWhileACommandRuns(t *testing.T) {
	w := tuitest.NewWorld(t)
	s := &shell{}
	var ctx context.Context
	open := w.Config.Open
	w.Config.Open = func(c context.Context, env vault.Env) (vault.Vault, error) {
		ctx = c
		return open(c, env)
	}
	d, _ := withShell(t, w, s)
	s.then = func() {
		if ctx == nil || ctx.Err() == nil {
			t.Error("a job is still under way")
		}
	}
	d.Press("r", "$")
	d.Type("make")
	d.Press("enter")
}

func TestRunIsNotOfferedWithoutARunner(t *testing.T) {
	d := tuitest.New(t, tuitest.NewWorld(t))
	d.Press("$")
	d.Lacks("Run with")
}

// The framework could not give the terminal away, or not take it back.
func TestRunWithoutATerminal(t *testing.T) {
	w := tuitest.NewWorld(t)
	w.Config.Runner = &shell{}
	d := tuitest.New(t, w, func(c *tui.Config) {
		c.Exec = func(_ tea.ExecCommand, then tea.Msg) tea.Cmd { return func() tea.Msg { return then } }
	})
	d.Press("$")
	d.Type("make")
	d.Press("enter")
	d.Has("Not begun")
}
