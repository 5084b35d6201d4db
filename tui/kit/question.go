package kit

import "slices"

// A Question is a box with a few answers, of which one is taken. Nothing that
// changes what others have may follow from it: no Consent comes out of it, and
// its first answer is the one that does least, since Enter takes it.
type Question struct {
	Title   string
	Facts   []string // wrapped
	Answers []string
	Lose    []int // answers by which something is lost that nobody else has: Yes takes them, and not Enter
	Role    Role  // of the box; Normal is Border

	at    int
	taken bool
}

// Taken is the answer when the box is done; ok is false if it was closed
// without one.
func (q *Question) Taken() (answer int, ok bool) { return q.at, q.taken }

// Key implements Dialog.
func (q *Question) Key(k Key) (done bool) {
	switch k.Name {
	case "esc":
		return true
	case "enter", Yes:
		q.taken = !k.Repeat && q.loses() == (k.Name == Yes)
		return q.taken
	case "up", "k", "shift+tab", "ctrl+p":
		q.at = max(q.at-1, 0)
	case "down", "j", "ctrl+n":
		q.at = min(q.at+1, len(q.Answers)-1)
	case "tab":
		q.at = (q.at + 1) % len(q.Answers)
	}
	return false
}

// loses reports whether the answer that the cursor is on loses something.
func (q *Question) loses() bool { return slices.Contains(q.Lose, q.at) }

// Paste implements Dialog.
func (q *Question) Paste(string) {}

// Hints implements Dialog.
func (q *Question) Hints() []Hint {
	if q.loses() {
		return []Hint{{"up/down", "move"}, {Yes, "take"}, {"esc", "cancel"}}
	}
	return []Hint{{"up/down", "move"}, {"enter", "take"}, {"esc", "cancel"}}
}

// Draw implements Dialog.
func (q *Question) Draw(a Area) {
	w, m := min(a.W, 76), a.Marks()
	var facts []string
	for _, f := range q.Facts {
		facts = append(facts, m.Wrap(f, max(w-4, 1))...)
	}
	if room := a.H - 2 - len(q.Answers); len(facts) > room {
		// The answers stay; at least the one that Enter takes is on the screen.
		if facts = facts[:max(room-1, 0)]; room > 0 {
			facts = append(facts, m.Ellipsis)
		}
	}
	role := q.Role
	if role == Normal {
		role = Border
	}
	in := Place(a, w, len(facts)+len(q.Answers)+2).Box(In(role), q.Title)
	y := 0
	for _, f := range facts {
		in.Text(0, y, Style{}, f)
		y++
	}
	from := max(min(q.at, q.at-(in.H-y)+1), 0)
	for i := from; i < len(q.Answers) && y < in.H; i++ {
		mark, st := " ", Style{}
		if i == q.at {
			mark, st = m.Cursor, Style{Attr: Reverse}
		}
		in.Text(0, y, In(Selection), mark)
		w := in.W - 2
		if i == q.at && q.loses() {
			const press = "  press " + Yes
			w -= len(press)
			in.Text(2+min(w, m.Width(q.Answers[i])), y, Style{Attr: Bold}, press)
		}
		in.Fit(2, y, min(w, m.Width(q.Answers[i])), st, q.Answers[i])
		y++
	}
}
