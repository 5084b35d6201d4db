package kit_test

import (
	"strings"
	"testing"
	"time"

	"envrun/tui/kit"
)

// press gives keys by name to something; a single character types itself.
func press(to func(kit.Key) bool, keys ...string) (done bool) {
	for _, name := range keys {
		k := kit.Key{Name: name}
		if len([]rune(name)) == 1 {
			k.Text = name
		}
		if name == "space" {
			k.Text = " "
		}
		done = to(k)
	}
	return done
}

func TestConfirm(t *testing.T) {
	for _, c := range []struct {
		name, typed string
		keys        []string
		yes         bool
	}{
		{"capital", "", []string{"Y"}, true},
		{"small", "", []string{"y"}, false},
		{"enter", "", []string{"enter"}, false},
		{"space", "", []string{"space"}, false},
		{"escape, then capital", "", []string{"esc"}, false},
		{"tab, enter", "", []string{"tab", "enter"}, false},
		{"capital before the name", "prod", []string{"Y"}, false},
		{"the name alone", "prod", []string{"p", "r", "o", "d"}, false},
		{"the name, capital in the field", "prod", []string{"p", "r", "o", "d", "Y"}, false},
		{"the name, tab, capital", "prod", []string{"p", "r", "o", "d", "tab", "Y"}, true},
		{"the name, enter, capital", "prod", []string{"p", "r", "o", "d", "enter", "Y"}, true},
		{"the name, enter twice", "prod", []string{"p", "r", "o", "d", "enter", "enter"}, false},
		{"half the name", "prod", []string{"p", "r", "tab", "Y"}, false},
		{"corrected", "prod", []string{"p", "x", "backspace", "r", "o", "tab", "Y", "tab", "d", "tab", "Y"}, true},
		{"a name that ends with the capital", "KEY", []string{"K", "E", "Y"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			box := &kit.Confirm{Title: "Sure?", Verb: "do it", Type: c.typed, What: "the name"}
			press(box.Key, c.keys...)
			if box.Consent().OK() != c.yes {
				t.Errorf("consent is %v", !c.yes)
			}
			if c.yes && box.Consent().Typed() != c.typed {
				t.Errorf("typed for it was %q", box.Consent().Typed())
			}
		})
	}
	box := &kit.Confirm{Verb: "do it"}
	if box.Key(kit.Key{Name: "Y", Text: "Y", Repeat: true}); box.Consent().OK() {
		t.Error("a key that repeats consents")
	}
	press(box.Key, "Y")
	consent := box.Consent()
	if !consent.Use() || consent.Use() || consent.OK() || box.Consent().Use() {
		t.Error("a consent is good for more than one use")
	}
	if (kit.Consent{}).Use() || (kit.Consent{}).OK() || (kit.Consent{}).Typed() != "" {
		t.Error("nothing is a consent")
	}
}

// What the box says is what its keys do: never a default that harms.
func TestConfirmIsDrawn(t *testing.T) {
	for _, size := range [][2]int{{100, 26}, {60, 16}, {40, 6}} {
		box := &kit.Confirm{Title: "Delete?", Verb: "delete", Facts: []string{strings.Repeat("A fact that is long. ", 12)}, Type: "prod", What: "the environment's name"}
		f := kit.NewFrame(size[0], size[1], kit.ASCIIMarks())
		draw := func() string {
			f.Reset(size[0], size[1])
			box.Draw(f.Area())
			return f.Text()
		}
		if text := draw(); !strings.Contains(text, "[ Cancel ]") || !strings.Contains(text, "type the name first") && size[0] > 50 {
			t.Errorf("%v:\n%s", size, text)
		}
		for range 9 { // where there is no room for all of it, it is read first
			press(box.Key, "pgdown")
			draw()
		}
		press(box.Key, "p", "r", "o", "d")
		if text := draw(); !strings.Contains(text, "press Tab, then Y") || !strings.Contains(text, "prod") {
			t.Errorf("%v: with the name\n%s", size, text)
		}
		press(box.Key, "tab")
		if text := draw(); !strings.Contains(text, "press Y to delete") {
			t.Errorf("%v: ready\n%s", size, text)
		}
	}
}

// A box that opens by itself takes no key of somebody who is typing (crush #2799).
func TestBoxThatOpensByItself(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var s kit.Stack
	box := &kit.Confirm{Verb: "do it"}
	closed := false
	s.Appear(box, func() { closed = true }, now)
	for range 20 { // somebody types on
		now = now.Add(200 * time.Millisecond)
		s.Key(kit.Key{Name: "Y", Text: "Y"}, now)
		s.Key(kit.Key{Name: "enter"}, now)
	}
	if closed || box.Consent().OK() {
		t.Fatal("it took a key that was not meant for it")
	}
	now = now.Add(500 * time.Millisecond)
	s.Key(kit.Key{Name: "Y", Text: "Y"}, now)
	if !closed || !box.Consent().OK() {
		t.Error("after a pause it takes none either")
	}
	if s.Key(kit.Key{Name: "Y"}, now) {
		t.Error("there is still a box")
	}
}

func TestStack(t *testing.T) {
	var s kit.Stack
	var order []string
	now := time.Now()
	first, second := &kit.Confirm{Title: "first", Verb: "x"}, &kit.Confirm{Title: "second", Verb: "x"}
	s.Push(first, func() { order = append(order, "first") })
	s.Push(second, func() { order = append(order, "second") })
	if s.Top() != second || s.Len() != 2 {
		t.Fatal("the last one is not on top")
	}
	f := kit.NewFrame(60, 16, kit.ASCIIMarks())
	s.Draw(f.Area())
	if !strings.Contains(f.Text(), "second") {
		t.Errorf("drawn:\n%s", f.Text())
	}
	s.Key(kit.Key{Name: "esc"}, now)
	s.Key(kit.Key{Name: "esc"}, now)
	if strings.Join(order, " ") != "second first" {
		t.Errorf("closed in the order %v", order)
	}
	s.Push(first, func() { t.Error("a dropped box answers") })
	s.Drop()
	if s.Paste("x", now) || s.Key(kit.Key{Name: "x"}, now) {
		t.Error("there is still a box")
	}
}

func TestPick(t *testing.T) {
	p := kit.NewPick("Environment", kit.Names{"dev", "staging", "prod"}, nil)
	press(p.Key, "s", "t", "enter")
	if row, ok := p.Taken(); !ok || row != 1 {
		t.Errorf("taken %d, %v", row, ok)
	}
	p = kit.NewPick("Environment", kit.Names{"dev", "staging", "prod"}, nil)
	press(p.Key, "down", "down", "up", "down", "enter")
	if row, ok := p.Taken(); !ok || row != 2 {
		t.Errorf("taken %d, %v", row, ok)
	}
	p = kit.NewPick("Environment", kit.Names{"dev"}, nil)
	p.Paste("nothing\nlike it")
	if done := press(p.Key, "enter"); done {
		t.Error("Enter on nothing takes something")
	}
	f := kit.NewFrame(60, 16, kit.ASCIIMarks())
	p.Draw(f.Area())
	if !strings.Contains(f.Text(), "nothing matches") {
		t.Errorf("drawn:\n%s", f.Text())
	}
	if done := press(p.Key, "esc"); !done {
		t.Error("Esc does not close")
	}
	if _, ok := p.Taken(); ok {
		t.Error("closed, something is taken")
	}
}

func TestSheetScrolls(t *testing.T) {
	s := &kit.Sheet{Title: "Details"}
	for i := range 40 {
		s.Lines = append(s.Lines, kit.SheetLine{Text: "line " + string(rune('A'+i%26)) + kit.Number(i)})
	}
	f := kit.NewFrame(40, 10, kit.ASCIIMarks())
	draw := func() string {
		f.Reset(40, 10)
		s.Draw(f.Area())
		return f.Text()
	}
	draw()
	for _, k := range []string{"j", "j", "pgdown", "pgup", "k", "k", "k"} {
		s.Key(kit.Key{Name: k})
		draw()
	}
	if !strings.Contains(draw(), "line A0") {
		t.Errorf("at the top:\n%s", draw())
	}
	for range 20 {
		s.Key(kit.Key{Name: "pgdown"})
		draw()
	}
	if !strings.Contains(draw(), "39") {
		t.Errorf("at the end:\n%s", draw())
	}
	if !s.Key(kit.Key{Name: "q"}) {
		t.Error("q does not close")
	}
}

func TestPrompt(t *testing.T) {
	why, ticket := &kit.Field{}, &kit.Field{}
	p := &kit.Prompt{Title: "Why?", Send: "go on", Form: kit.Form{Items: []kit.Item{{Label: "Why", Input: why}, {Label: "Ticket", Input: ticket}}},
		Check: func() string {
			if why.Empty() {
				return "say why"
			}
			return ""
		}}
	if done := press(p.Key, "ctrl+s"); done || p.OK() {
		t.Error("it is sent with something wrong")
	}
	press(p.Key, "d", "r", "i", "l", "l", "enter", "P", "-", "1")
	if why.Text() != "drill" || ticket.Text() != "P-1" {
		t.Errorf("typed %q and %q", why.Text(), ticket.Text())
	}
	if done := press(p.Key, "ctrl+s"); !done || !p.OK() {
		t.Error("it is not sent")
	}
}
