package kit

import (
	"strconv"
	"strings"
)

// A Talk is a conversation with somebody who is read to or writes line by line:
// what a dialog and a form do where nothing is drawn.
type Talk interface {
	// Say says one line. What in it is not printable, newlines too, is said as marks
	// (Marks.Line).
	Say(text string)
	// Line asks for a line that may be seen. ok is false if they would rather go
	// back, or are gone.
	Line(question string) (answer string, ok bool)
	// Hidden asks for one that is not shown as it is typed. The caller wipes it.
	Hidden(question string) (answer []byte, ok bool)
	// Marks are what is said is drawn with.
	Marks() Marks
}

// word is an answer as it is compared with the words that are meant.
func word(answer string) string { return strings.ToLower(strings.TrimSpace(answer)) }

// sayTitle says what a box is about, and what it says.
func sayTitle(t Talk, title string, facts []string) {
	t.Say(title)
	for _, f := range facts {
		t.Say("  " + f)
	}
}

// Talk goes through the dialog on top, and reports whether there was one.
func (s *Stack) Talk(t Talk) bool {
	if len(s.open) == 0 {
		return false
	}
	top := s.open[len(s.open)-1]
	top.dialog.Talk(t)
	s.open = s.open[:len(s.open)-1]
	if top.then != nil {
		top.then()
	}
	return true
}

// Talk implements Dialog. Yes is the whole word, after everything that it is about
// was said, and after the name where one has to be typed. All else is no.
func (c *Confirm) Talk(t Talk) {
	sayTitle(t, c.Title, c.Facts)
	if c.Type != "" {
		typed, ok := t.Line("Type " + c.What + " (" + c.Type + ") to go on: ")
		if !ok || typed != c.Type {
			t.Say("Cancelled: its name was not typed.")
			return
		}
	}
	if answer, ok := t.Line("Type yes to " + c.Verb + " [no]: "); !ok || word(answer) != "yes" {
		t.Say("Cancelled.")
		return
	}
	c.answer = Consent{&given{typed: c.Type}}
}

// Talk implements Dialog. Enter takes the first answer, as a key does; each other
// takes its number, what loses something too.
func (q *Question) Talk(t Talk) {
	sayTitle(t, q.Title, q.Facts)
	for i, a := range q.Answers {
		t.Say("  " + strconv.Itoa(i+1) + "  " + a)
	}
	for {
		answer, ok := t.Line("Number [1]: ")
		if !ok {
			return
		}
		n, err := strconv.Atoi(answer)
		if answer == "" {
			n, err = 1, nil
		}
		if err == nil && n >= 1 && n <= len(q.Answers) {
			q.at, q.taken = n-1, true
			return
		}
		t.Say("A number from 1 to " + strconv.Itoa(len(q.Answers)) + ", or esc.")
	}
}

// Talk implements Dialog.
func (e *Entry) Talk(t Talk) {
	sayTitle(t, e.Title, []string{e.Text})
	if !e.Field.Hidden {
		answer, ok := t.Line("Answer: ")
		if e.ok = ok && e.Field.insert(answer); !e.ok {
			t.Say("Cancelled.")
		}
		return
	}
	answer, ok := t.Hidden("Answer, not shown: ")
	e.Field.SetBytes(answer)
	clear(answer)
	if e.ok = ok; !ok {
		t.Say("Cancelled.")
	}
}

// Talk implements Dialog: a menu with numbers, which text makes shorter.
func (p *Pick) Talk(t Talk) {
	t.Say(p.Title)
	ask := "text to find"
	if p.Ask != "" {
		ask += " (" + p.Ask + ")"
	}
	for {
		p.say(t)
		answer, ok := t.Line("Number, " + ask + ", or enter to go back: ")
		if !ok || answer == "" {
			return
		}
		n, err := strconv.Atoi(answer)
		switch {
		case err != nil:
			p.field.Set(answer)
			p.filter()
		case n < 1 || n > p.List.count():
			t.Say("There is no number " + answer + ".")
		default:
			p.List.GoTo(n - 1)
			if p.taken, ok = p.List.Selected(); !ok {
				p.taken = -1
			}
			return
		}
	}
}

// say says the rows that are left, a page of them at most.
func (p *Pick) say(t Talk) {
	if p.List.Matches() == 0 {
		t.Say("  nothing matches")
		return
	}
	f := NewFrame(printedWidth, PrintedRows, t.Marks())
	p.List.Draw(f.Area(), func(a Area, ln Line) {
		if p.Row != nil {
			p.Row(a, ln)
			return
		}
		a.Fit(0, 0, a.W, Style{}, ln.Name)
	})
	for _, l := range f.Lines() {
		t.Say("  " + strconv.Itoa(l.Row) + "  " + strings.TrimSpace(l.Text))
	}
	if n := p.List.Below(); n > 0 {
		t.Say("  and " + itoa(n) + " more: type some of its name")
	}
}

// printedWidth is the width in which a menu is laid out: no line of one is longer.
const printedWidth = 300

// Talk implements Dialog.
func (s *Sheet) Talk(t Talk) {
	t.Say(s.Title)
	for _, l := range s.Lines {
		if l.Head != "" {
			t.Say("  " + l.Head + ":")
		}
		text := "    "
		if l.Key != "" {
			text += l.Key + "  "
		}
		for i, line := range strings.Split(l.Text, "\n") {
			if i > 0 {
				text = "    "
			}
			t.Say(text + line)
		}
	}
}

// Talk implements Dialog: the form, until nothing is wrong with it.
func (p *Prompt) Talk(t Talk) {
	t.Say(p.Title)
	for {
		if p.Check != nil {
			p.Check() // it may change the notes of the form
		}
		if !p.Form.Talk(t) {
			t.Say("Cancelled.")
			return
		}
		if p.send() {
			return
		}
		t.Say("Not yet: " + p.Check() + " (esc cancels)")
	}
}

// Talk asks for each input of a form, and reports whether somebody went through
// it all.
func (f *Form) Talk(t Talk) bool {
	for _, it := range f.Items {
		if it.Input == nil && it.Note != "" {
			t.Say("  " + strings.TrimSpace(it.Label+" "+it.Note))
		}
	}
	for _, it := range f.Items {
		if it.Input == nil {
			continue
		}
		label := it.Label
		if it.Note != "" {
			label += " (" + it.Note + ")"
		}
		if !TalkInput(t, label, it.Input) {
			return false
		}
	}
	return true
}

// writing is an input of text: a Field, or what guards one.
type writing interface {
	Input
	Text() string
	Wipe()
}

// TalkInput asks for one input, and reports whether there was an answer. Enter
// keeps what is there; a dash alone empties a field.
func TalkInput(t Talk, label string, in Input) bool {
	switch in := in.(type) {
	case *Choice:
		return in.talk(t, label)
	case *Checks:
		return in.talk(t, label)
	case writing:
		question := label + ": "
		if present := in.Text(); present != "" {
			question = label + " [" + present + ", - for none]: "
		}
		answer, ok := t.Line(question)
		switch {
		case !ok:
			return false
		case answer == "":
		case answer == "-" && in.Text() != "":
			in.Wipe()
		default:
			in.Wipe()
			if !in.Paste(answer) {
				t.Say("That is too long.")
			}
		}
		return true
	}
	panic("an input that cannot be asked for in lines")
}

func (c *Choice) talk(t Talk, label string) bool {
	t.Say(label + ":")
	for i, o := range c.Options {
		t.Say("  " + strconv.Itoa(i+1) + "  " + o)
	}
	for {
		answer, ok := t.Line("Number [" + strconv.Itoa(c.Taken+1) + "]: ")
		if !ok {
			return false
		}
		if answer == "" {
			return true
		}
		for i, o := range c.Options {
			if answer == strconv.Itoa(i+1) || answer == o {
				c.Taken = i
				return true
			}
		}
		t.Say("A number from 1 to " + strconv.Itoa(len(c.Options)) + ", or esc.")
	}
}

func (c *Checks) talk(t Talk, label string) bool {
	for len(c.On) < len(c.Options) {
		c.On = append(c.On, false)
	}
	for i, o := range c.Options {
		present := "no"
		if c.On[i] {
			present = "yes"
		}
		answer, ok := t.Line(label + " " + o + ", yes or no [" + present + "]: ")
		if !ok {
			return false
		}
		switch word(answer) {
		case "":
		case "yes":
			c.On[i] = true
		default:
			c.On[i] = false
		}
	}
	return true
}
