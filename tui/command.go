package tui

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"envrun/tui/kit"
	"envrun/tui/screen"
	"envrun/vault"
)

// A running command has the terminal: nothing of ours is on it, no job of a
// screen is under way, and no value is shown.
type running struct {
	ctx    context.Context
	runner Runner
	env    vault.Env
	line   string
	mask   bool

	in  io.Reader
	out io.Writer

	lent  *atomic.Bool // the terminal is not ours
	bell  *Bell        // may be nil
	begun bool
	ran   Ran
	err   error
}

// SetStdin implements tea.ExecCommand.
func (r *running) SetStdin(in io.Reader) { r.in = in }

// SetStdout implements tea.ExecCommand.
func (r *running) SetStdout(out io.Writer) { r.out = out }

// SetStderr implements tea.ExecCommand. What we say goes where the picture was.
func (r *running) SetStderr(io.Writer) {}

// Run implements tea.ExecCommand: it returns when the command has ended and
// somebody has seen that it has.
func (r *running) Run() error {
	r.begun = true
	r.lent.Store(true)
	defer r.lent.Store(false)
	r.bell.lend(true)
	defer r.bell.lend(false)
	// What ends us ends the wait for a key too.
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGTERM, hangup)
	defer signal.Stop(ends)
	r.ran, r.err = r.runner.Run(r.ctx, r.env, r.line, r.mask)
	if r.err != nil {
		return nil // nothing of it is on the screen
	}
	fmt.Fprintf(r.out, "\nenvrun: %s; press enter to come back ", r.ran.words())
	pressed := make(chan struct{})
	go func() {
		defer close(pressed)
		for b := make([]byte, 1); ; {
			if n, err := r.in.Read(b); err != nil || n == 1 && (b[0] == '\n' || b[0] == '\r') {
				return
			}
		}
	}()
	// Nothing but the end leaves the reader behind: it would take keys from us.
	select {
	case <-pressed:
	case <-ends:
	case <-r.ctx.Done():
	}
	return nil
}

func (r Ran) words() string {
	if r.Signal != 0 {
		return fmt.Sprintf("ended by signal %d", r.Signal)
	}
	return fmt.Sprintf("exit status %d", r.Status)
}

// A lineBox asks for a command line. Enter runs it, as everywhere else.
type lineBox struct{ kit.Prompt }

// Key implements kit.Dialog.
func (b *lineBox) Key(k kit.Key) (done bool) {
	if k.Name == "enter" {
		if k.Repeat {
			return false
		}
		k.Name = "ctrl+s"
	}
	return b.Prompt.Key(k)
}

// Hints implements kit.Dialog.
func (b *lineBox) Hints() []kit.Hint {
	return []kit.Hint{{Key: "enter", Name: b.Send}, {Key: "esc", Name: "cancel"}}
}

// askLine asks which command to run, and where the environment is protected for
// its name, as envrun run does.
func (m *Model) askLine() {
	env, ok := m.config.env(m.env)
	if !ok {
		return
	}
	field := &kit.Field{Max: 16 << 10}
	box := &lineBox{kit.Prompt{Title: "Run with " + envLabel(env), Send: "run"}}
	box.Form.Items = []kit.Item{
		{Label: "$", Input: field},
		{Note: "What it prints stays in the scrollback."},
	}
	box.Check = func() string {
		if strings.TrimSpace(field.Text()) == "" {
			return "Type what a shell would run."
		}
		return ""
	}
	m.dialogs.Push(box, func() {
		if !box.OK() {
			return
		}
		line := strings.TrimSpace(field.Text())
		if !env.Protected {
			m.runLine(env.Name, line)
			return
		}
		c := screen.Confirmation(env, kit.Destroys, "Run with "+envLabel(env)+"?", "run", line, "It gets the secrets of "+string(env.Name)+" and can do with them what it likes.")
		m.dialogs.Push(c, func() {
			if c.Consent().Typed() == string(env.Name) && c.Consent().Use() {
				m.runLine(env.Name, line)
			}
		})
	})
}

// runLine leaves the terminal to a command, with nothing of ours on it.
func (m *Model) runLine(env vault.Env, line string) {
	if w := m.lanes[laneWrite]; w != nil {
		m.say(kit.Notice{Role: kit.Warn, Text: "Not begun: " + w.what + " is not done yet."})
		return
	}
	m.vanish()
	for _, s := range m.screens {
		m.stopOf(s)
	}
	m.left = m.now()
	r := &running{ctx: m.ctx, runner: m.config.Runner, env: env, line: line, mask: m.share != shareOff, lent: &m.lent, bell: m.config.Bell}
	m.run(m.config.Exec(r, ranMsg{r}))
}

// ran is when the terminal is ours again. The time that the command took counts
// as time without a key: who came back after long finds the screen locked.
func (m *Model) ran(r *running) {
	idle, back := m.now().Sub(m.seen), m.now().Before(m.left)
	m.left, m.blank = time.Time{}, false
	switch {
	case !r.begun:
		m.say(kit.Notice{Role: kit.Danger, Sticky: true, Text: "Not begun: the terminal could not be left to the command."})
	case r.err != nil:
		m.fail(r.err)
	case r.ran.Status != 0:
		m.say(kit.Notice{Role: kit.Warn, Text: "The command has ended: " + r.ran.words() + "."})
	default:
		m.say(kit.Notice{Role: kit.OK, Text: "The command has ended: " + r.ran.words() + "."})
	}
	if idle >= m.config.idleFor(m.env) || back {
		m.lock(idle)
		return
	}
	m.apply(m.top(), m.top().Enter()) // it may have changed something
}
