package kit_test

import (
	"fmt"
	"strings"
	"testing"

	"envrun/tui/kit"
)

func pressed(name string) kit.Key {
	k := kit.Key{Name: name}
	if len([]rune(name)) == 1 {
		k.Text = name
	}
	return k
}

func TestQuestion(t *testing.T) {
	for _, c := range []struct {
		keys   string
		answer int
		ok     bool
	}{
		{"enter", 0, true},
		{"down enter", 1, true},
		{"j j j j enter", 2, true},
		{"j k k enter", 0, true},
		{"tab tab tab enter", 0, true},
		{"j esc", 0, false},
		{"Y space y esc", 0, false},
	} {
		q := &kit.Question{Title: "What?", Answers: []string{"nothing", "something", "all"}}
		done := false
		for name := range strings.FieldsSeq(c.keys) {
			if done {
				t.Fatalf("%s: it was done before the end", c.keys)
			}
			done = q.Key(pressed(name))
		}
		if answer, ok := q.Taken(); !done || ok != c.ok || ok && answer != c.answer {
			t.Errorf("%s: %d, %v; done %v", c.keys, answer, ok, done)
		}
	}
	q := &kit.Question{Answers: []string{"a"}}
	if q.Key(kit.Key{Name: "enter", Repeat: true}) {
		t.Error("a held Enter answers")
	}
	q.Paste("\n\n")
	if _, ok := q.Taken(); ok {
		t.Error("pasted text answers")
	}
}

// Whatever room there is, the answer that Enter takes is on the screen.
func TestQuestionIsSeen(t *testing.T) {
	for h := 3; h < 14; h++ {
		for at := range 4 {
			q := &kit.Question{Title: "What?", Facts: []string{"one fact", "two", "three", "four"}, Answers: []string{"ans0", "ans1", "ans2", "ans3"}}
			for range at {
				q.Key(pressed("down"))
			}
			f := kit.NewFrame(30, h, kit.UTF8Marks())
			q.Draw(f.Area())
			if want := fmt.Sprintf("> ans%d", at); !strings.Contains(f.Text(), want) {
				t.Errorf("in %d rows %q is not seen:\n%s", h, want, f.Text())
			}
		}
	}
}

// The cursor stands behind what is before it, as it is drawn.
func TestPlace(t *testing.T) {
	m := kit.UTF8Marks()
	for _, c := range []struct {
		text  string
		width int
		x, y  int
	}{
		{"", 10, 0, 0},
		{"abc", 10, 3, 0},
		{"abc\n", 10, 0, 1},
		{"abc\nde", 10, 2, 1},
		{"abcdefghij", 10, 0, 1}, // the next character begins a line
		{"abcdefghijk", 10, 1, 1},
		{"日本語日本", 9, 2, 1}, // no half of one at the end of a line
		{"\x1b\x00", 10, 4, 0},
		{"a\r\nb", 10, 1, 1},
		{"abc", 0, 0, 0},
	} {
		var f kit.Field
		f.Lines = 4
		f.SetBytes([]byte(c.text))
		if x, y := f.Place(m, c.width); x != c.x || y != c.y {
			t.Errorf("%q in %d: %d, %d, want %d, %d", c.text, c.width, x, y, c.x, c.y)
		}
		frame := kit.NewFrame(max(c.width, 1), 6, m)
		if c.width > 0 {
			lines := frame.Area().Bytes(kit.Style{}, []byte(c.text), 0)
			if c.y > lines || c.y < lines-1 {
				t.Errorf("%q in %d: line %d of %d", c.text, c.width, c.y, lines)
			}
		}
	}
}

func TestPromptEnter(t *testing.T) {
	for _, enter := range []bool{false, true} {
		a, b := &kit.Field{}, &kit.Field{}
		p := &kit.Prompt{Enter: enter, Check: func() string {
			if b.Empty() {
				return "b is empty"
			}
			return ""
		}}
		p.Form.Items = []kit.Item{{Input: a}, {Note: "between"}, {Input: b}, {Note: "after"}}
		done := p.Key(pressed("x")) || p.Key(pressed("enter")) || p.Key(pressed("enter"))
		if done || a.Text() != "x" {
			t.Errorf("it is done, or typed nowhere: %q", a.Text())
		}
		if !enter {
			p.Key(pressed("tab"))
		}
		done = p.Key(pressed("y")) || p.Key(kit.Key{Name: "enter", Repeat: true})
		if done {
			t.Error("a held Enter sends")
		}
		if done = p.Key(pressed("enter")); done != enter || p.OK() != enter {
			t.Errorf("enter %v: done %v", enter, done)
		}
	}
}

// An answer by which something is lost is taken by Y, and not by Enter, Space,
// a small letter or a key that is held down.
func TestQuestionLoses(t *testing.T) {
	ask := func() *kit.Question {
		q := &kit.Question{Title: "Drop it?", Answers: []string{"Keep it", "Drop it"}, Lose: []int{1}}
		if q.Key(pressed(kit.Yes)) {
			t.Error("Y takes an answer that loses nothing")
		}
		q.Key(pressed("down"))
		return q
	}
	q := ask()
	for _, k := range []kit.Key{pressed("enter"), {Name: "space", Text: " "}, pressed("y"), {Name: kit.Yes, Text: kit.Yes, Repeat: true}, {Name: "enter", Repeat: true}} {
		if q.Key(k) {
			t.Errorf("%q takes it", k.Name)
		}
	}
	if !q.Key(pressed(kit.Yes)) {
		t.Error("Y does not take it")
	}
	if answer, ok := q.Taken(); answer != 1 || !ok {
		t.Errorf("%d, %v", answer, ok)
	}
	f := kit.NewFrame(40, 6, kit.ASCIIMarks())
	ask().Draw(f.Area())
	if !strings.Contains(f.Text(), "> Drop it  press Y") {
		t.Errorf("it is not said what takes it:\n%s", f.Text())
	}
	if h := ask().Hints(); h[1].Key != kit.Yes {
		t.Errorf("the footer says %v", h)
	}
}
