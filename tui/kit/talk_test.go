package kit_test

import (
	"slices"
	"strings"
	"testing"

	"envrun/tui/kit"
)

// told is a conversation with somebody who gives these answers and is then gone.
type told struct {
	answers []string
	said    []string
}

// Say implements kit.Talk.
func (c *told) Say(text string) { c.said = append(c.said, text) }

// Line implements kit.Talk.
func (c *told) Line(question string) (string, bool) {
	c.said = append(c.said, question)
	if len(c.answers) == 0 || c.answers[0] == "esc" {
		return "", false
	}
	a := c.answers[0]
	c.answers = c.answers[1:]
	return a, true
}

// Hidden implements kit.Talk.
func (c *told) Hidden(question string) ([]byte, bool) {
	answer, ok := c.Line(question)
	return []byte(answer), ok
}

// Marks implements kit.Talk.
func (c *told) Marks() kit.Marks { return kit.UTF8Marks().InLines() }

// A box that asks for one line is answered, with nothing too.
func TestEntryInLines(t *testing.T) {
	for _, hidden := range []bool{false, true} {
		for _, test := range []struct {
			answers []string
			want    string
			ok      bool
		}{{[]string{"314159"}, "314159", true}, {[]string{""}, "", true}, {[]string{"esc"}, "", false}, {nil, "", false}} {
			e := &kit.Entry{Title: "a token asks", Text: "PIN", Field: kit.Field{Hidden: hidden}}
			c := &told{answers: test.answers}
			e.Talk(c)
			if e.OK() != test.ok || e.Field.Text() != test.want || c.said[1] != "  PIN" {
				t.Errorf("%q: %v, %q, and it said %q", test.answers, e.OK(), e.Field.Text(), c.said)
			}
		}
	}
}

// Yes is the word, after the name where one is asked for, and nothing else is.
func TestConfirmInLines(t *testing.T) {
	for _, test := range []struct {
		name    string
		typed   string
		answers []string
		want    bool
	}{
		{"yes", "", []string{"yes"}, true}, {"Yes", "", []string{"Yes"}, true},
		{"enter", "", []string{""}, false}, {"y", "", []string{"y"}, false}, {"Y", "", []string{"Y"}, false}, {"no", "", []string{"no"}, false},
		{"gone", "", nil, false}, {"esc", "", []string{"esc"}, false}, {"space", "", []string{"ye s"}, false},
		{"the name and yes", "prod", []string{"prod", "yes"}, true}, {"the name alone", "prod", []string{"prod"}, false}, {"the name and enter", "prod", []string{"prod", ""}, false},
		{"yes alone", "prod", []string{"yes", "yes"}, false}, {"another name", "prod", []string{"Prod", "yes"}, false}, {"no name", "prod", []string{"", "yes"}, false},
	} {
		box := &kit.Confirm{Title: "Delete it?", Facts: []string{"It is gone then."}, Verb: "delete", Type: test.typed, What: "its name"}
		c := &told{answers: test.answers}
		var s kit.Stack
		then := 0
		s.Push(box, func() { then++ })
		if !s.Talk(c) || s.Len() != 0 || then != 1 {
			t.Errorf("%s: it is not over, or was told so %d times", test.name, then)
		}
		if got := box.Consent().OK(); got != test.want {
			t.Errorf("%s: consent %v\n%s", test.name, got, strings.Join(c.said, "\n"))
		}
		if test.want && (box.Consent().Typed() != test.typed || !box.Consent().Use() || box.Consent().Use()) {
			t.Errorf("%s: it is good for more than one use, or for another name", test.name)
		}
		if !slices.Contains(c.said, "  It is gone then.") {
			t.Errorf("%s: the facts were not said: %q", test.name, c.said)
		}
	}
}

// A question takes its first answer for Enter, and none for what is no number.
func TestQuestionInLines(t *testing.T) {
	for _, test := range []struct {
		answers []string
		want    int
	}{{[]string{""}, 0}, {[]string{"2"}, 1}, {[]string{"0", "3", "x", "2"}, 1}, {nil, -1}, {[]string{"7", "esc"}, -1}} {
		q := &kit.Question{Title: "What?", Answers: []string{"keep it", "drop it"}}
		q.Talk(&told{answers: test.answers})
		got, ok := q.Taken()
		if !ok {
			got = -1
		}
		if got != test.want {
			t.Errorf("%q: %d, want %d", test.answers, got, test.want)
		}
	}
}

// A menu is filtered by what is typed, and its numbers are those that were said.
func TestPickInLines(t *testing.T) {
	for _, test := range []struct {
		answers []string
		want    string
	}{{[]string{"2"}, "staging"}, {[]string{"prod", "1"}, "prod"}, {[]string{"nothing", "1", "prod", "2", "1"}, "prod"}, {[]string{""}, ""}, {nil, ""}, {[]string{"9", ""}, ""}} {
		names := kit.Names{"dev", "staging", "prod"}
		p := kit.NewPick("Where", names, nil)
		p.Talk(&told{answers: test.answers})
		got := ""
		if row, ok := p.Taken(); ok {
			got = names[row]
		}
		if got != test.want {
			t.Errorf("%q: %q, want %q", test.answers, got, test.want)
		}
	}
}

// A form keeps what Enter is typed for, empties for a dash, and is asked for again
// while something is wrong with it.
func TestPromptInLines(t *testing.T) {
	name, note := &kit.Field{Max: 8}, &kit.Field{}
	name.Set("begun")
	note.Set("old")
	format := &kit.Choice{Options: []string{"one", "two"}}
	checks := &kit.Checks{Options: []string{"a", "b"}, On: []bool{true}}
	p := &kit.Prompt{Title: "All of it", Send: "go on", Form: kit.Form{Items: []kit.Item{
		{Label: "name", Input: name}, {Label: "note", Input: note}, {Label: "format", Input: format}, {Label: "with", Input: checks}, {Note: "read this"}}}}
	p.Check = func() string {
		if format.Taken != 1 {
			return "one is wrong"
		}
		return ""
	}
	c := &told{answers: []string{"", "-", "5", "", "no", "yes", "much too long", "x", "two", "", ""}}
	p.Talk(c)
	if !p.OK() || name.Text() != "" || note.Text() != "x" || format.Taken != 1 || !slices.Equal(checks.On, []bool{false, true}) {
		t.Errorf("sent %v: %q, %q, %d, %v\n%s", p.OK(), name.Text(), note.Text(), format.Taken, checks.On, strings.Join(c.said, "\n"))
	}
	for _, want := range []string{"  read this", "Not yet: one is wrong (esc cancels)", "That is too long.", "A number from 1 to 2, or esc."} {
		if !slices.Contains(c.said, want) {
			t.Errorf("%q was not said: %q", want, c.said)
		}
	}
	p = &kit.Prompt{Title: "Half of it", Form: kit.Form{Items: []kit.Item{{Label: "name", Input: &kit.Field{}}, {Label: "note", Input: &kit.Field{}}}}}
	if p.Talk(&told{answers: []string{"x", "esc"}}); p.OK() {
		t.Error("half a form was sent")
	}
}

// What is printed has no control character in it, whatever it was; of a value the
// newlines stay, of a line none does.
func TestPrinted(t *testing.T) {
	for text, want := range map[string][2]string{
		"plain":                   {"plain", "plain"},
		"two\nlines\n":            {"two\nlines\n", "two^Jlines^J"},
		"\n\n":                    {"\n\n", "^J^J"},
		"":                        {"", ""},
		"a\x1b[2Jb\r\n\tc\x07":    {"a^[[2Jb^M\n^Ic^G", "a^[[2Jb^M^J^Ic^G"},
		"日本\u202e\u200b\xff":      {"日本<202E><200B><FF>", "日本<202E><200B><FF>"},
		strings.Repeat("x", 9000): {strings.Repeat("x", 9000), strings.Repeat("x", 9000)},
	} {
		m := kit.UTF8Marks().InLines()
		if got := string(m.Printed(nil, []byte(text))); got != want[0] {
			t.Errorf("the value %q is printed as %q, want %q", text, got, want[0])
		}
		if got := m.Line(text); got != want[1] {
			t.Errorf("the line %q is said as %q, want %q", text, got, want[1])
		}
	}
	if got := kit.ASCIIMarks().InLines().Line("é…"); strings.ContainsFunc(got, func(r rune) bool { return r > '~' }) {
		t.Errorf("with ASCII alone: %q", got)
	}
}

// A frame that is printed has numbers for its rows, closes up its columns, and
// shows a page of a list at most.
func TestLinesOfAFrame(t *testing.T) {
	var names kit.Names
	for range 100 {
		names = append(names, "row"+strings.Repeat("'", len(names)))
	}
	var l kit.List
	l.Set(names)
	f := kit.NewFrame(300, 90, kit.UTF8Marks().InLines())
	draw := func() []kit.Printed {
		f.Reset(300, 90)
		in := f.Area().Box(kit.Style{}, "Title")
		in.Rule(0, kit.Style{})
		in.Text(0, 1, kit.Style{}, "left")
		in.FitRight(0, 1, in.W, kit.Style{}, "right")
		l.Draw(in.Sub(0, 2, in.W, 80), func(a kit.Area, ln kit.Line) { a.Text(0, 0, kit.Style{}, ln.Name) })
		return f.Lines()
	}
	lines := draw()
	if len(lines) != 2+kit.PrintedRows || lines[0].Text != "Title" || lines[1].Text != "  left  right" || lines[1].Row != 0 || lines[2].Row != 1 || !lines[2].At || lines[3].At {
		t.Errorf("%d lines: %+v", len(lines), lines[:4])
	}
	l.Page(1)
	if lines = draw(); lines[2].Row != kit.PrintedRows+1 || !lines[2].At {
		t.Errorf("the next page begins with %+v", lines[2])
	}
	l.Page(1)
	l.Page(1)
	if lines = draw(); lines[2].Row != 100 || !lines[2].At {
		t.Errorf("the last page begins with %+v", lines[2])
	}
	if !l.GoTo(3) || l.GoTo(100) || l.GoTo(-1) || l.Under() != names[3] || f.List() != &l {
		t.Errorf("the cursor is on %q", l.Under())
	}
	if draw(); f.Area().Marks().MaskText() != "(hidden)" {
		t.Error("a value is not said to be hidden")
	}
}
