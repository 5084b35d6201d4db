package tui

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"envrun/tui/kit"
	"envrun/tui/screen"
	"envrun/vault"

	tea "charm.land/bubbletea/v2"
)

// Lines is the interface without a picture: the same screens, jobs, drafts and
// consents, for whoever talks with a person line by line (tui/plain). What would
// be drawn it says as text. All of it happens on the goroutine that calls it.
type Lines struct {
	m     *Model
	msgs  chan tea.Msg
	done  chan struct{} // closed when nobody listens any more
	over  bool
	frame *kit.Frame
	width int
	heard []string // what was said of what the bell has brought
	waits string   // what of it is waited for
}

// NewLines makes the interface. without says which actions make no sense in
// lines, and why. Exec of the configuration is not used: what is given the
// terminal gets it as it is.
func NewLines(ctx context.Context, c Config, width int, without map[string]string) (*Lines, error) {
	c.After = func(time.Duration, tea.Msg) tea.Cmd { return nil } // nothing moves by itself
	c.Exec = func(e tea.ExecCommand, then tea.Msg) tea.Cmd {
		return func() tea.Msg {
			// Nothing was on the screen: there is nothing to come back to, and no key
			// to wait for.
			e.SetStdin(strings.NewReader("\n"))
			e.SetStdout(io.Discard)
			_ = e.Run()
			return then
		}
	}
	m, err := New(ctx, c)
	if err != nil {
		return nil, err
	}
	m.w, m.h = width, linesHeight
	m.lines, m.without = true, without
	marks := m.marks.InLines()
	return &Lines{m: m, msgs: make(chan tea.Msg), done: make(chan struct{}), frame: kit.NewFrame(0, 0, marks), width: width}, nil
}

// linesHeight is as high as what a screen says can be; its lists are printed
// kit.PrintedRows at a time.
const linesHeight = 200

// Start begins with the first screen.
func (l *Lines) Start() {
	if bell := l.m.config.Bell; bell != nil {
		bell.Connect(func(msg tea.Msg) {
			select {
			case l.msgs <- msg:
			case <-l.done:
			}
		})
	}
	l.step(func() { l.begin(l.m.Init()) })
}

// Close ends it all, and forgets what was typed.
func (l *Lines) Close() {
	close(l.done)
	l.m.Close()
}

// Over reports whether it has ended, and End how.
func (l *Lines) Over() bool { return l.over }

// End is how it ended.
func (l *Lines) End() End { return l.m.end() }

// step does something as a key would have it done.
func (l *Lines) step(do func()) {
	defer func() {
		if c := recovered(recover()); c != nil {
			l.m.die(c)
		}
		l.begin(l.m.flush())
	}()
	do()
	l.m.keep()
}

// begin has a command done, beside us.
func (l *Lines) begin(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	go func() {
		var msg tea.Msg
		defer func() {
			if c := recovered(recover()); c != nil {
				msg = crashMsg{c}
			}
			if msg == nil {
				return
			}
			select {
			case l.msgs <- msg:
			case <-l.done:
			}
		}()
		msg = cmd()
	}()
}

func (l *Lines) take(msg tea.Msg) {
	switch msg := msg.(type) {
	case tea.BatchMsg:
		for _, c := range msg {
			l.begin(c)
		}
	case tea.QuitMsg:
		l.over = true
	default:
		_, cmd := l.m.Update(msg)
		l.begin(cmd)
	}
}

// busy reports whether there is something to wait for; with others, also that
// the requests of others have been counted.
func (l *Lines) busy(others bool) bool {
	if !l.m.left.IsZero() || l.m.blank {
		return true
	}
	for at := range l.m.lanes {
		if at.name != laneState && (others || at != laneInbox && at != laneSigned) {
			return true
		}
	}
	return false
}

// asks reports whether a box has opened by itself, for what is under way.
func (l *Lines) asks() bool {
	if s := l.m.signing; s != nil && s.box != nil && l.m.dialogs.Top() == kit.Dialog(s.box) {
		return true
	}
	return len(l.m.questions) > 0 && l.m.dialogs.Top() != nil && l.m.dialogs.Top() == l.m.questions[0].dialog
}

// ErrStopped: somebody does not want to wait, and there is nothing to be stopped.
var ErrStopped = errors.New("what is under way is not waited for")

// Wait waits until nothing is under way that was asked for, or something of it has
// a question. say is told what is waited for, after a second and then every ten, and
// at once if somebody else says so. stop ends what is being read; where nothing is,
// Wait ends with ErrStopped, while something is being written at the second time.
func (l *Lines) Wait(ctx context.Context, stop <-chan struct{}, say func(what string)) error {
	take := func(msg tea.Msg) {
		l.take(msg)
		if w := l.m.waitsFor; w != l.waits {
			if l.waits = w; w != "" {
				l.heard = append(l.heard, w)
				say(w)
			}
		}
	}
	l.step(func() { l.m.beat(l.m.now()) }) // what others do is looked at now and then
	for more := true; more; {
		select {
		case msg := <-l.msgs:
			take(msg)
		default:
			more = false
		}
	}
	next := time.NewTimer(time.Second)
	defer next.Stop()
	others, told := true, false
	for !l.over && l.busy(others) && !l.asks() {
		select {
		case msg := <-l.msgs:
			take(msg)
		case <-next.C:
			next.Reset(10 * time.Second)
			others = false // that is no reason to keep anybody waiting
			if b := l.m.busy(); b.What != "" && l.m.left.IsZero() {
				say(b.What)
			}
		case <-stop:
			write := l.m.lanes[laneWrite]
			switch {
			case l.m.signing != nil:
				l.step(func() {
					l.m.endSigning()
					l.m.notSigned(context.Canceled)
				})
			case write != nil && !told:
				told = true
				say("still " + write.what + "; ctrl+c again leaves all the same")
			case write == nil && slices.ContainsFunc(l.m.top().Offers(), func(o kit.Offer) bool { return o.ID == screen.StopIt }):
				l.Do(screen.StopIt)
			default:
				return ErrStopped
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Lent reports whether a command or an editor has the terminal.
func (l *Lines) Lent() bool { return l.m.lent.Load() }

// Offers are the actions that are there now.
func (l *Lines) Offers() []kit.Offer { return l.m.offers() }

// Actions is the table of all actions.
func (l *Lines) Actions() *kit.Actions { return l.m.actions }

// Hints are the most useful of what can be done now.
func (l *Lines) Hints() []kit.Hint { return l.m.hints() }

// Do does an action that is offered and not off.
func (l *Lines) Do(id string) {
	l.step(func() {
		if l.m.dialogs.Len() == 0 && id != screen.Quit && id != screen.Interrupt {
			l.m.asking = false
		}
		l.m.touch(l.m.now())
		l.m.do(id)
	})
}

// GoTo goes to another environment.
func (l *Lines) GoTo(env vault.Env) { l.step(func() { l.m.goTo(env) }) }

// Talk goes through the dialog on top, and reports whether there was one.
func (l *Lines) Talk(t kit.Talk) (was bool) {
	l.step(func() { was = l.m.dialogs.Talk(t) })
	return was
}

// Input is what is to be typed now, and in which words it is asked for; nil if
// nothing is. Typed is called when it was.
func (l *Lines) Input() (in screen.Input, asks string) {
	t, ok := l.m.top().(screen.Typist)
	if !ok {
		return nil, ""
	}
	if in = t.Input(); in == nil {
		return nil, ""
	}
	return in, t.Asks()
}

// Typed says that the input has taken something.
func (l *Lines) Typed() {
	l.step(func() {
		if t, ok := l.m.top().(screen.Typist); ok && t.Input() != nil {
			l.m.apply(l.m.top(), t.Typed())
		}
	})
}

// Notices are what has happened since they were asked for last, and what vaults
// have noticed.
func (l *Lines) Notices() []kit.Notice {
	var all []kit.Notice
	for _, text := range l.m.heard {
		if !slices.Contains(l.heard, text) {
			all = append(all, kit.Notice{Role: kit.Warn, Text: text, Details: text})
		}
	}
	l.heard = slices.Clone(l.m.heard)
	if n := l.m.notice; n.Text != "" && !slices.ContainsFunc(all, func(o kit.Notice) bool { return o.Text == n.Text }) {
		all = append(all, n)
	}
	l.m.notice = kit.Notice{}
	return all
}

// Place is where we are: the environment as it is written where it matters, and
// the screen, which is the same one for as long as at is.
func (l *Lines) Place() (env, title string, at screen.Screen) {
	e, _ := l.m.config.env(l.m.env)
	env = envLabel(e)
	if l.m.shut(e.Name) {
		env += " [locked]"
	}
	return env, l.m.top().Title(), l.m.top()
}

// Standing is what holds on every screen: share mode, what was not sent, who waits.
func (l *Lines) Standing() []string {
	var all []string
	switch l.m.share {
	case shareOn:
		all = append(all, "share mode: no value is printed")
	case shareNames:
		all = append(all, "share mode: no value is printed, and no name")
	}
	if n := l.m.unsent(); n > 0 {
		all = append(all, unsentText(n))
	}
	if _, text := l.m.signStatus(); text != "" {
		all = append(all, strings.TrimSuffix(text, "."))
	}
	if l.m.offline {
		all = append(all, "OFFLINE")
	}
	if n := l.m.project.Waiting; n > 0 {
		all = append(all, "requests in the inbox: "+kit.Number(n))
	}
	return all
}

// Writing is what is being written; empty if nothing is.
func (l *Lines) Writing() string {
	if j := l.m.lanes[laneWrite]; j != nil {
		return j.what
	}
	return ""
}

// Unsent is the number of changes that are lost with the end.
func (l *Lines) Unsent() int { return l.m.unsent() }

// Text is what the screen says, by the clock at a time, or, if that is zero, now;
// list is what of it has numbers, nil if nothing has.
func (l *Lines) Text(at time.Time) (lines []kit.Printed, list *kit.List, by time.Time) {
	if at.IsZero() {
		at = l.m.now()
	}
	l.step(func() {
		if l.m.share == shareNames {
			l.m.learn()
		}
		l.frame.Reset(l.width, linesHeight)
		l.m.top().Draw(l.frame.Area(), screen.Scene{Now: at, Size: kit.Medium, Share: l.m.share != shareOff, Values: masked{}, Lanes: lanesOf{l.m, l.m.top()}})
		lines, list = l.frame.Lines(), l.frame.List()
	})
	return lines, list, at
}

// masked draws no value: in lines one is handed over by Revealed, and by nothing
// else.
type masked struct{}

// Draw implements screen.Values.
func (masked) Draw(a kit.Area, _ screen.Target, _ int) int {
	a.Text(0, 0, kit.Style{}, a.Marks().MaskText())
	return 1
}

// Shown implements screen.Values.
func (masked) Shown(screen.Target) (screen.Facts, time.Duration, bool) {
	return screen.Facts{}, 0, false
}

// Envs are the environments of the project.
func (l *Lines) Envs() []screen.Env { return l.m.config.Envs }

// Row goes to a row of the list that was said last, counted from 1.
func (l *Lines) Row(n int) (name string, ok bool) {
	list := l.frame.List()
	if list == nil || n < 1 || n > list.Lines() {
		return "", false
	}
	// The screen hears of it as of a key.
	if n == 1 {
		l.Do(screen.First)
	} else {
		list.GoTo(n - 2)
		l.Do(screen.Down)
	}
	return list.Under(), true
}

// Reveal reads the value that the screen is about.
func (l *Lines) Reveal() { l.step(func() { l.m.reveal(false) }) }

// Target is the value that the screen is about.
func (l *Lines) Target() (screen.Target, bool) { return l.m.top().Target() }

// Revealed hands the value over that Reveal has read, and hides it again; false
// if there is none.
func (l *Lines) Revealed(print func(value []byte)) (was bool) {
	l.step(func() {
		if was = l.m.slot.on; was {
			b := bytes.Clone(l.m.slot.bytes())
			print(b)
			clear(b)
		}
		l.m.hide()
	})
	return was
}

// Marks are those that text is printed with.
func (l *Lines) Marks() kit.Marks { return l.m.marks.InLines() }

// About is the project and who works here; either may be empty.
func (l *Lines) About() (project, who string) { return l.m.config.Project, l.m.config.Who }

// LeaveNoCore sees to it that what is in memory is not written to disk when we die.
func LeaveNoCore() { leaveNoCore() }
