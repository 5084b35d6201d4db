package tui_test

import (
	"context"
	"testing"
	"time"

	"envrun/tui"
	"envrun/tui/kit"
	"envrun/tui/screen"
	"envrun/tui/tuitest"

	tea "charm.land/bubbletea/v2"
)

// What comes late, and what nobody may lose by one key.

// A size that comes while a value is hidden for the one before is the one that
// counts: of a window that is dragged the last.
func TestNewestSizeCounts(t *testing.T) {
	d, value := revealed(t)
	d.Forbid(value)
	d.Resize(99, 30)
	d.Resize(80, 24)
	d.Resize(62, 21)
	d.Advance(time.Second)
	if w, h := d.Model.Size(); w != 62 || h != 21 {
		t.Errorf("it is drawn in %dx%d", w, h)
	}
	d.Resize(100, 30)
	if w, h := d.Model.Size(); w != 100 || h != 30 {
		t.Errorf("then in %dx%d", w, h)
	}
}

// A value that is on its way to the clipboard when the screen is locked does not
// stay there, and neither does the one before it.
func TestLockingEndsACopy(t *testing.T) {
	for name, keys := range map[string][]string{"the first": nil, "the second": {"y"}, "a path after a value": {"y", "p"}} {
		t.Run(name, func(t *testing.T) {
			d := tuitest.New(t, tuitest.NewWorld(t))
			last := "y"
			if n := len(keys); n > 0 {
				d.Press(keys[:n-1]...)
				if last = keys[n-1]; last == "y" {
					d.Press("y")
				}
			}
			d.Hold()
			d.Press(last, "ctrl+l")
			d.Deliver()
			if d.World.Board.Holds != "" || d.World.Board.Cleared == 0 {
				t.Errorf("the clipboard holds %q, and was cleared %d times", d.World.Board.Holds, d.World.Board.Cleared)
			}
			d.Has("envrun is locked")
			d.Press("enter", "y")
			if d.World.Board.Holds == "" {
				t.Error("after unlocking nothing can be copied")
			}
		})
	}
}

// A key that is held down does not answer the question that it has asked itself.
func TestHeldKeysDoNotLeave(t *testing.T) {
	held := func(d *tuitest.Driver, name string) {
		k := tuitest.Key(name)
		k.IsRepeat = true
		d.Send(k)
	}
	d := tuitest.New(t, tuitest.NewWorld(t))
	d.Press("j", "e", "enter")
	d.Type("FAKE-typed")
	d.Press("ctrl+c")
	for range 3 {
		held(d, "ctrl+c")
	}
	d.Has("1 change has not been sent")
	d.Press("esc", "ctrl+l", "q")
	for range 3 {
		held(d, "q")
	}
	if d.Quit {
		t.Fatal("a held q leaves a locked screen and loses what was typed")
	}
	d.Press("enter")
	d.Resize(30, 8)
	d.Press("esc", "esc", "q")
	for range 3 {
		held(d, "q")
	}
	if d.Quit {
		t.Fatal("a held q leaves where there is no room to ask")
	}
	d.Press("q")
	if !d.Quit {
		t.Error("pressed again it does not leave")
	}
}

// A leaver notes when it is told that it is gone.
type leaver struct {
	eager
	left int
}

func (l *leaver) Leave() { l.left++ }

// Whatever closes a screen, it is told, and can forget what it holds.
func TestEveryScreenIsTold(t *testing.T) {
	for name, close := range map[string]func(d *tuitest.Driver){
		"back":                     func(d *tuitest.Driver) { d.Press("esc") },
		"another environment":      func(d *tuitest.Driver) { d.Press("2") },
		"back to what is below it": func(d *tuitest.Driver) { d.Press("w") },
		"a request":                func(d *tuitest.Driver) { d.Press("I", ":"); d.Type("request of dave"); d.Press("enter", "w") },
	} {
		t.Run(name, func(t *testing.T) {
			w := tuitest.NewWorld(t)
			g := tuitest.NewGate(t, w)
			g.Ask(tuitest.Dev, screen.Request{Who: "dave@home", At: tuitest.Start})
			d := tuitest.New(t, w)
			d.Press("w")
			s := &leaver{}
			d.Model.Push(s)
			close(d)
			if s.left != 1 {
				t.Errorf("it was told %d times", s.left)
			}
		})
	}
}

// A box that had to be waited for is not opened over what somebody does
// meanwhile; for somebody who has waited it takes no key at first.
func TestLateBox(t *testing.T) {
	ask := func() (*eager, *kit.Confirm) {
		box := &kit.Confirm{Title: "Do it?", Verb: "do it"}
		s := &eager{}
		s.effect = screen.Read{Lane: "x", Do: func(context.Context, screen.Reading, func(func()) bool) error { return nil },
			Done: func(error) screen.Effect { return screen.Ask{Dialog: box} }}
		return s, box
	}
	for name, meanwhile := range map[string]func(d *tuitest.Driver){
		"a key":          func(d *tuitest.Driver) { d.Press("x") },
		"another box":    func(d *tuitest.Driver) { d.Press("?") },
		"another screen": func(d *tuitest.Driver) { d.Press("esc") },
		"the lock":       func(d *tuitest.Driver) { d.Press("ctrl+l") },
		"pasted text":    func(d *tuitest.Driver) { d.Send(tea.PasteMsg{Content: "Y"}) },
	} {
		t.Run(name, func(t *testing.T) {
			d := tuitest.New(t, tuitest.NewWorld(t))
			s, box := ask()
			d.Model.Push(s)
			d.Hold()
			d.Press("enter")
			meanwhile(d)
			d.Deliver()
			d.Lacks("press Y")
			d.Press("Y")
			if box.Consent().OK() {
				t.Error("it has consent")
			}
		})
	}
	d := tuitest.New(t, tuitest.NewWorld(t))
	s, box := ask()
	d.Model.Push(s)
	d.Hold()
	d.Press("enter")
	d.Advance(300 * time.Millisecond)
	d.Deliver()
	d.Has("press Y to do it")
	d.Press("Y")
	if box.Consent().OK() {
		t.Error("the first key answers a box that has just opened by itself")
	}
	d.Advance(time.Second)
	if d.Press("Y"); !box.Consent().OK() {
		t.Error("it takes no answer")
	}
}

// keptBy is an editor that leaves what cannot be read.
type keptBy struct{ left map[string]int }

func (k keptBy) Edit(_ context.Context, text []byte) ([]byte, error) {
	k.left[string(text)]++
	return append(text, "BROKEN='FAKE-half"...), nil
}

// Two texts that editors have left and that cannot be read are both kept, each
// for its secret, until they are dropped.
func TestTwoTextsAreKept(t *testing.T) {
	k := keptBy{map[string]int{}}
	d := tuitest.New(t, tuitest.NewWorld(t), func(c *tui.Config) {
		c.Editor, c.EditorLine = k, "vim"
		c.Exec = func(e tea.ExecCommand, then tea.Msg) tea.Cmd {
			return func() tea.Msg {
				if err := e.Run(); err != nil {
					t.Error(err)
				}
				return then
			}
		}
	})
	edit := func(row ...string) {
		d.Press("g")
		d.Press(row...)
		d.Press("e", "ctrl+e")
		if d.Model.Crashed() == nil && tuitest.Shows(d.Text(), "Your editor") {
			d.Press("j", "enter")
		}
		d.Has("This cannot be read")
		d.Press("esc", "esc")
	}
	edit()
	edit("j")
	d.Has("unsent 2")
	d.Press("g", "e", "ctrl+e")
	d.Press("j", "Y", "esc")
	d.Has("unsent 1")
	for text, n := range k.left {
		if n != 1 {
			t.Errorf("%q was handed out %d times", text, n)
		}
	}
	if len(k.left) != 3 { // of the first secret what was there, then what was left
		t.Errorf("the editor got %d texts, want 3", len(k.left))
	}
}
