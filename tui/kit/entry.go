package kit

import "strings"

// An Entry is a box that asks for one line. Nothing that changes anything may
// follow from it: no Consent comes out of it.
type Entry struct {
	Title string
	Text  string // what is asked for; wrapped
	Field Field

	ok bool
}

// OK reports whether it was answered when the box is done.
func (e *Entry) OK() bool { return e.ok }

// Key implements Dialog.
func (e *Entry) Key(k Key) (done bool) {
	switch k.Name {
	case "esc":
		e.Field.Wipe()
		return true
	case "enter":
		e.ok = !k.Repeat
		return e.ok
	}
	e.Field.Key(k)
	return false
}

// Paste implements Dialog.
func (e *Entry) Paste(text string) {
	e.Field.Paste(strings.TrimRight(text, "\r\n"))
}

// Hints implements Dialog.
func (e *Entry) Hints() []Hint { return []Hint{{"enter", "answer"}, {"esc", "cancel"}} }

// Draw implements Dialog.
func (e *Entry) Draw(a Area) {
	w, m := min(a.W, 76), a.Marks()
	lines := m.Wrap(e.Text, max(w-4, 1))
	if most := max(a.H-3, 0); len(lines) > most {
		lines = lines[:most]
	}
	in := Place(a, w, len(lines)+3).Box(In(Border), e.Title)
	for y, l := range lines {
		in.Text(0, y, Style{}, l)
	}
	e.Field.Draw(in.Sub(0, len(lines), in.W, 1), true)
}
