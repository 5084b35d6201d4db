package tui_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"envrun/tui"
	"envrun/tui/tuitest"
	"envrun/vault"

	tea "charm.land/bubbletea/v2"
)

// quietly is longer than a box that opens by itself is deaf.
const quietly = 500 * time.Millisecond

// behindABell is a world whose vaults open as ask says, which asks at the bell.
func behindABell(t *testing.T, ask func(ctx context.Context, b *tui.Bell) error) *tuitest.World {
	w := tuitest.NewWorld(t)
	b := tui.NewBell()
	w.Config.Bell = b
	w.Config.Open = func(ctx context.Context, _ vault.Env) (vault.Vault, error) {
		if err := ask(ctx, b); err != nil {
			return nil, err
		}
		return w.Vault, nil
	}
	return w
}

// pin asks for a PIN until it is right.
func pin(ctx context.Context, b *tui.Bell) error {
	text, err := b.Ask(ctx, tui.Question{From: "age-plugin-toy", Text: "PIN of the token\x1b[2J", Hidden: true})
	if err == nil && string(text) != "314159" {
		err = fmt.Errorf("the PIN is wrong")
	}
	return err
}

func TestBellAsks(t *testing.T) {
	w := behindABell(t, pin)
	w.Canary("314159")
	d := tuitest.New(t, w)
	d.Until("age-plugin-toy asks")
	d.Has("PIN of the token^[[2J", "enter answer", "esc cancel")
	// Whoever typed when it opened has answered nothing.
	d.Type("jjq")
	d.Press("enter", "esc")
	d.Has("age-plugin-toy asks")
	d.Lacks("••••")
	d.Advance(quietly)
	d.Type("31415")
	d.Press("9", "backspace", "9")
	d.Has("••••")
	d.Press("enter")
	d.Until("6 names")
	d.Lacks("asks")
}

// Whatever ends a question, the one who asked is told; nothing hangs.
func TestBellIsNotAnswered(t *testing.T) {
	for name, c := range map[string]struct {
		act  func(d *tuitest.Driver)
		want string
	}{
		"esc":      {func(d *tuitest.Driver) { d.Advance(quietly); d.Press("esc") }, "nobody answered: it was cancelled"},
		"deadline": {func(d *tuitest.Driver) { d.Advance(tui.Patience) }, "nobody answered for 2m0s"},
		"lock":     {func(d *tuitest.Driver) { d.Press("ctrl+l") }, "nobody answered: the screen was locked"},
		"wrong":    {func(d *tuitest.Driver) { d.Advance(quietly); d.Press("1", "enter") }, "the PIN is wrong"},
		"quit":     {func(d *tuitest.Driver) { d.Press("ctrl+c") }, "nobody answered: envrun has ended"},
		"nobody wants it": {func(d *tuitest.Driver) {
			d.Advance(quietly)
			d.Press("esc") // the job has ended
		}, "cancelled"},
	} {
		t.Run(name, func(t *testing.T) {
			answered := make(chan error, 10)
			d := tuitest.New(t, behindABell(t, func(ctx context.Context, b *tui.Bell) error {
				err := pin(ctx, b)
				answered <- err
				return err
			}))
			d.Until("age-plugin-toy asks")
			c.act(d)
			select {
			case err := <-answered:
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("it is told %v, not %q", err, c.want)
				}
				if c.want != "the PIN is wrong" && !errors.Is(err, tui.ErrNoAnswer) {
					t.Errorf("%v is not ErrNoAnswer", err)
				}
			case <-time.After(time.Minute):
				t.Fatal("it waits for ever")
			}
			if !d.Quit && !d.Model.Locked() {
				d.Until("Could not read")
				d.Lacks("asks")
			}
		})
	}
}

func TestBellChooses(t *testing.T) {
	var got []string
	choice := func(yes, no string) func(ctx context.Context, b *tui.Bell) error {
		return func(ctx context.Context, b *tui.Bell) error {
			ok, err := b.Choose(ctx, tui.Question{From: "toy", Text: "which slot?", Yes: yes, No: no})
			got = append(got, fmt.Sprint(ok, " ", err))
			return nil
		}
	}
	for _, c := range []struct {
		yes, no string
		keys    []string
		want    string
	}{
		{"this one", "another", []string{"enter"}, "false <nil>"},
		{"this one", "another", []string{"down", "enter"}, "true <nil>"},
		{"done", "", []string{"enter"}, "false nobody answered: it was cancelled"},
		{"done", "", []string{"tab", "enter"}, "true <nil>"},
		{"done", "", []string{"esc"}, "false nobody answered: it was cancelled"},
	} {
		got = nil
		d := tuitest.New(t, behindABell(t, choice(c.yes, c.no)))
		d.Until("toy asks")
		d.Has("which slot?", c.yes)
		d.Advance(quietly)
		d.Press(c.keys...)
		d.Until("6 names")
		if len(got) != 1 || got[0] != c.want {
			t.Errorf("%v: %q, want %q", c.keys, got, c.want)
		}
	}
}

// Questions come one after the other, wait until there is room and somebody to
// see them, and their time is not that of the job.
func TestBellQueue(t *testing.T) {
	var n atomic.Int32
	w := behindABell(t, func(ctx context.Context, b *tui.Bell) error {
		name := fmt.Sprintf("question %d", n.Add(1))
		text, err := b.Ask(ctx, tui.Question{From: "toy", Text: name})
		if err == nil && string(text) != name {
			err = fmt.Errorf("%s was answered with %q", name, text)
		}
		return err
	})
	d := tuitest.New(t, w)
	d.Resize(39, 9)
	d.Press("x") // too small
	d.Lacks("toy asks")
	d.Resize(100, 30)
	d.Until("question 1")
	d.Advance(quietly)
	d.Type("question 1")
	d.Press("enter")
	d.Until("6 names")
	// It is there again after a pause.
	d.Press("r")
	d.Until("question 2")
	d.Press("ctrl+z")
	d.Lacks("question 2")
	d.Resume()
	d.Has("question 2")
	d.Send(tea.PasteMsg{Content: "deaf"})
	d.Advance(quietly)
	d.Send(tea.PasteMsg{Content: "question 2\n"})
	d.Press("enter")
	d.Until("6 names")
	d.Lacks("toy asks", "Could not")
}

// What was cancelled is not asked again at once, by whoever needs it next.
func TestBellIsNotRungAgain(t *testing.T) {
	asked, now := 0, tuitest.Start
	w := behindABell(t, func(ctx context.Context, b *tui.Bell) error {
		asked++
		return pin(ctx, b)
	})
	w.Config.Bell.SetNow(func() time.Time { return now })
	d := tuitest.New(t, w)
	d.Until("age-plugin-toy asks")
	d.Advance(quietly)
	d.Press("esc")
	d.Until("Could not read")
	d.Press("r")
	d.Lacks("asks")
	d.Has("Could not read")
	if asked != 2 {
		t.Errorf("it was tried %d times", asked)
	}
	now = now.Add(time.Minute)
	d.Press("r")
	d.Until("asks")
}

// What a vault has to say is shown once, and kept.
func TestBellSays(t *testing.T) {
	said := "the pin of dev could not be moved\x1b[2J"
	w := behindABell(t, func(_ context.Context, b *tui.Bell) error {
		b.Say(said)
		return nil
	})
	d := tuitest.New(t, w)
	d.Until("the pin of dev could not be moved^[[2J")
	d.Press("j", "!")
	d.Has("Details", "the pin of dev could not be moved")
	d.Press("esc")
	d.Lacks("the pin of dev")
	d.Press("r")
	d.Lacks("the pin of dev") // a second time it is not shown
	d.Press("!")
	d.Has("Said before", "the pin of dev could not be moved")
}

// A notice does not push aside what must not be missed.
func TestBellDoesNotPushAside(t *testing.T) {
	w := behindABell(t, func(_ context.Context, b *tui.Bell) error { return nil })
	w.Config.Hello = "this must be read first"
	d := tuitest.New(t, w)
	w.Config.Bell.Say("something else")
	d.Press("j")
	d.Has("this must be read first")
	d.Press("!")
	d.Until("something else")
	d.Has("this must be read first")
}

// While a command has the terminal the question is not asked here.
func TestBellWhileACommandRuns(t *testing.T) {
	b := tui.NewBell()
	b.Lend(true)
	if _, err := b.Ask(t.Context(), tui.Question{}); !errors.Is(err, tui.ErrLent) {
		t.Errorf("%v", err)
	}
	b.Lend(false)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if _, err := b.Choose(ctx, tui.Question{Yes: "yes"}); err == nil || err.Error() != "enough" {
		t.Errorf("%v", err)
	}
}

// Whoever answers what a job asks still waits for that job: the box that it then
// opens is not one that comes too late.
func TestBellIsNoGoingOn(t *testing.T) {
	var asks atomic.Bool
	w := behindABell(t, func(ctx context.Context, b *tui.Bell) error {
		if asks.Swap(false) {
			return pin(ctx, b)
		}
		return nil
	})
	d := tuitest.New(t, w)
	d.Until("6 names")
	asks.Store(true)
	d.Press("c", "enter")
	d.Until("age-plugin-toy asks")
	d.Advance(quietly)
	d.Type("314159")
	d.Press("enter")
	d.Until("from dev to PROD?")
	d.Lacks("you went on meanwhile")
}
