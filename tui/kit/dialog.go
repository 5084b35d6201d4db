package kit

import (
	"context"
	"slices"
	"strings"
	"time"
)

// A Dialog is a box over a screen. It takes every key while it is there.
type Dialog interface {
	// Key reports whether the dialog is done.
	Key(k Key) (done bool)
	// Paste takes pasted text; a dialog without an input ignores it.
	Paste(text string)
	// Draw draws the box into what it may cover at most.
	Draw(a Area)
	// Hints are its keys, for the footer.
	Hints() []Hint
	// Talk is all of the dialog in lines, where nothing is drawn.
	Talk(t Talk)
}

// quiet is for how long no key must have come before a dialog that opened by
// itself takes one. Half a second was measured elsewhere to be about what it
// takes to stop typing (crush #2799, #3055).
const quiet = 425 * time.Millisecond

// A Stack is the dialogs that are open, the last on top.
type Stack struct {
	open []opened
}

type opened struct {
	dialog Dialog
	then   func()
	deaf   time.Time // until then keys are swallowed; zero: never
}

// Push opens a dialog that somebody asked for. then, which may be nil, is called
// when it is done.
func (s *Stack) Push(d Dialog, then func()) { s.open = append(s.open, opened{dialog: d, then: then}) }

// Appear opens a dialog that nobody asked for: whoever is typing must not answer
// it by accident, so keys are swallowed until none has come for a while.
func (s *Stack) Appear(d Dialog, then func(), now time.Time) {
	s.open = append(s.open, opened{dialog: d, then: then, deaf: now.Add(quiet)})
}

// Top is the dialog that takes the keys; nil if there is none.
func (s *Stack) Top() Dialog {
	if len(s.open) == 0 {
		return nil
	}
	return s.open[len(s.open)-1].dialog
}

// Len is the number of open dialogs.
func (s *Stack) Len() int { return len(s.open) }

// Key gives a key to the dialog on top, and reports whether there is one.
func (s *Stack) Key(k Key, now time.Time) bool {
	if len(s.open) == 0 {
		return false
	}
	top := &s.open[len(s.open)-1]
	if !top.deaf.IsZero() {
		if now.Before(top.deaf) {
			top.deaf = now.Add(quiet)
			return true
		}
		top.deaf = time.Time{}
	}
	if top.dialog.Key(k) {
		then := top.then
		s.open = s.open[:len(s.open)-1]
		if then != nil {
			then()
		}
	}
	return true
}

// Paste gives pasted text to the dialog on top, and reports whether there is one.
func (s *Stack) Paste(text string, now time.Time) bool {
	if len(s.open) == 0 {
		return false
	}
	if top := &s.open[len(s.open)-1]; top.deaf.IsZero() || !now.Before(top.deaf) {
		top.dialog.Paste(text)
	}
	return true
}

// Has reports whether a dialog is open.
func (s *Stack) Has(d Dialog) bool {
	return slices.ContainsFunc(s.open, func(o opened) bool { return o.dialog == d })
}

// Close closes one dialog without an answer, wherever it lies.
func (s *Stack) Close(d Dialog) {
	s.open = slices.DeleteFunc(s.open, func(o opened) bool { return o.dialog == d })
}

// Drop closes all dialogs without an answer.
func (s *Stack) Drop() { s.open = nil }

// Draw draws all dialogs, the last on top.
func (s *Stack) Draw(a Area) {
	for _, o := range s.open {
		o.dialog.Draw(a)
	}
}

// A Consent says that a person was asked and said yes. It comes out of a Confirm
// box only, drawn or talked through, and is good for one use.
type Consent struct{ given *given }

type given struct {
	typed string
	used  bool
}

// OK reports whether the consent was given and not used yet.
func (c Consent) OK() bool { return c.given != nil && !c.given.used }

// Typed is what the person had to type for it; empty if nothing.
func (c Consent) Typed() string {
	if c.given == nil {
		return ""
	}
	return c.given.typed
}

// Use uses the consent up; false if there is none to use.
func (c Consent) Use() bool {
	if !c.OK() {
		return false
	}
	c.given.used = true
	return true
}

// A Confirm box asks before something is changed. Its default is to cancel: only
// the capital letter Yes, which opens nothing and is no other action's key, says
// yes; not while it repeats; and where a name has to be typed, only after that.
type Confirm struct {
	Title string   // "Delete billing/stripe?"
	Facts []string // what will happen, to whom, until when; wrapped
	Verb  string   // "delete": press Y to delete
	Type  string   // what has to be typed; empty: nothing
	What  string   // what that is: "the environment's name"
	Role  Role     // of the box: Protected, Danger; Normal is Border

	typed  Field
	moved  bool // away from the field
	answer Consent

	// Where there is no room for all the facts they scroll, and nobody says yes to
	// what they have not seen: as they were drawn last.
	top, room, lines, seen int
}

// Consent is the answer when the box is done.
func (c *Confirm) Consent() Consent { return c.answer }

func (c *Confirm) ready() bool {
	return c.seen >= c.lines && (c.Type == "" || c.typed.Text() == c.Type)
}

// inField: what is typed goes to the field.
func (c *Confirm) inField() bool { return c.Type != "" && !c.moved }

// Key implements Dialog.
func (c *Confirm) Key(k Key) (done bool) {
	switch k.Name {
	case "esc":
		return true
	case "pgdown":
		c.top = max(min(c.top+max(c.room, 1), c.lines-c.room), 0)
		c.seen = max(c.seen, c.top+c.room)
		return false
	case "pgup":
		c.top = max(c.top-max(c.room, 1), 0)
		return false
	}
	if c.inField() {
		switch k.Name {
		case "tab", "enter", "down":
			c.moved = true
		default:
			c.typed.Key(k)
		}
		return false
	}
	switch k.Name {
	case "enter":
		return true
	case "tab", "shift+tab", "up":
		c.moved = false
	case Yes:
		if k.Repeat || !c.ready() {
			return false
		}
		c.answer = Consent{&given{typed: c.Type}}
		return true
	}
	return false
}

// Paste implements Dialog: a name that has to be typed is not pasted.
func (c *Confirm) Paste(string) {}

// Hints implements Dialog.
func (c *Confirm) Hints() []Hint {
	switch {
	case c.seen < c.lines:
		return []Hint{{"page down", "read on"}, {"esc", "cancel"}}
	case c.inField() && c.ready():
		return []Hint{{"tab", "on"}, {"esc", "cancel"}}
	case c.inField():
		return []Hint{{"esc", "cancel"}}
	case c.ready():
		return []Hint{{"esc", "cancel"}, {Yes, c.Verb}}
	}
	return []Hint{{"tab", "back to the name"}, {"esc", "cancel"}}
}

// Draw implements Dialog.
func (c *Confirm) Draw(a Area) {
	w := min(a.W, 76)
	m := a.Marks()
	facts := c.Facts
	if m.Width(c.Title) > w-5 { // more than the top of the box has room for: all of it is read first
		facts = append([]string{c.Title}, facts...)
	}
	wrap := func(w int) (lines []string) {
		for _, f := range facts {
			lines = append(lines, m.Wrap(f, max(w, 1))...)
		}
		return lines
	}
	lines := wrap(w - 4)
	others := 3 // the sides of the box and the choice
	prompt := "Type " + c.What + " (" + c.Type + "): "
	below := m.Width(prompt)+14 > w-4 // the field stands under what it asks for
	if c.Type != "" {
		if others++; below {
			others++
		}
	}
	// The facts give way before the choice does.
	if len(lines) > a.H-others {
		lines = wrap(w - 6) // beside the marks that there is more
	}
	c.lines, c.room = len(lines), max(min(len(lines), a.H-others), 0)
	c.top = max(min(c.top, c.lines-c.room), 0)
	c.seen = max(c.seen, c.top+c.room)
	h := c.room + others
	role := c.Role
	if role == Normal {
		role = Border
	}
	in := Place(a, w, h).Box(In(role), c.Title)
	y := 0
	for _, l := range lines[c.top : c.top+c.room] {
		in.Text(0, y, Style{}, l)
		y++
	}
	if c.room > 0 && c.top+c.room < c.lines {
		in.Text(in.W-1, y-1, In(Accent), m.Down)
	}
	if c.room > 0 && c.top > 0 {
		in.Text(in.W-1, 0, In(Accent), m.Up)
	}
	if c.Type != "" {
		x := in.Text(0, y, Style{}, prompt)
		if below {
			x = 0
			y++
		}
		c.typed.Draw(in.Sub(x, y, max(min(24, in.W-x), 1), 1), c.inField())
		y++
	}
	cancel := "[ Cancel ]"
	st := Style{}
	if !c.inField() {
		st.Attr = Reverse
	}
	x := in.Text(0, y, st, cancel) + 4
	switch {
	case c.seen < c.lines:
		in.Fit(x, y, in.W-x, Style{Normal, Bold}, "page down: "+itoa(c.lines-c.seen)+" more")
	case !c.ready():
		in.Fit(x, y, in.W-x, In(Dim), strings.ToUpper(c.Verb[:1])+c.Verb[1:]+" (type the name first)")
	case c.inField():
		in.Fit(x, y, in.W-x, Style{}, "press Tab, then "+Yes+" to "+c.Verb)
	default:
		in.Fit(x, y, in.W-x, Style{Normal, Bold}, "press "+Yes+" to "+c.Verb)
	}
}

// Place is a box of w by h in the lower half of an area: the facts that a
// decision is about stand above it.
func Place(a Area, w, h int) Area {
	w, h = min(w, a.W), min(h, a.H)
	y := (a.H - h) * 2 / 3
	return a.Sub((a.W-w)/2, y, w, h)
}

// A Pick box is a list to choose from, filtered by what is typed: the palette,
// the environments, where to copy to.
type Pick struct {
	Title string
	Ask   string // what to type, where nothing is typed yet; may be empty
	List  List
	Row   func(a Area, ln Line) // nil: the name

	field Field
	taken int
}

// NewPick is a box with rows to choose from.
func NewPick(title string, rows Rows, row func(a Area, ln Line)) *Pick {
	p := &Pick{Title: title, Row: row, taken: -1}
	p.List.Set(rows)
	return p
}

// NewPickOf is a Pick over many rows with their index, of which the first lead are
// shown before something is typed.
func NewPickOf(title string, rows Rows, x Index, lead int, row func(a Area, ln Line)) *Pick {
	p := &Pick{Title: title, Row: row, taken: -1}
	p.List.Lead = lead
	p.List.SetIndexed(rows, x)
	return p
}

// Taken is the row that was chosen when the box is done; ok is false if none was.
func (p *Pick) Taken() (row int, ok bool) { return p.taken, p.taken >= 0 }

// Key implements Dialog.
func (p *Pick) Key(k Key) (done bool) {
	switch k.Name {
	case "esc":
		return true
	case "enter":
		if row, ok := p.List.Selected(); ok {
			p.taken = row
			return true
		}
	case "up", "ctrl+p":
		p.List.Move(-1)
	case "down", "ctrl+n", "tab":
		p.List.Move(1)
	case "pgup":
		p.List.Page(-1)
	case "pgdown":
		p.List.Page(1)
	default:
		if p.field.Key(k) {
			p.filter()
		}
	}
	return false
}

func (p *Pick) filter() {
	// There is nowhere else to search in: more than fit in one go take a little longer.
	if s := p.List.Filter(p.field.Text()); s != nil {
		_ = s.Run(context.Background())
		p.List.Take(s)
	}
}

// Paste implements Dialog.
func (p *Pick) Paste(text string) {
	if line, _, _ := cutLine(text); p.field.Paste(line) {
		p.filter()
	}
}

// Wheel moves by so many lines.
func (p *Pick) Wheel(lines int) { p.List.Move(lines) }

// Hints implements Dialog.
func (p *Pick) Hints() []Hint {
	return []Hint{{"enter", "take"}, {"up/down", "move"}, {"esc", "close"}}
}

// Draw implements Dialog.
func (p *Pick) Draw(a Area) {
	most := p.List.Len()
	if p.List.Lead > 0 {
		most = p.List.Lead // or it would jump with what is typed
	}
	h := min(max(most, 1)+4, a.H, 20)
	in := Place(a, min(a.W, 72), h).Box(In(Border), p.Title)
	p.field.Draw(in.Sub(0, 0, in.W, 1), true)
	if p.field.Empty() {
		in.Fit(1, 0, in.W-1, Style{Dim, Underline}, p.Ask)
	}
	head := 2
	if in.H < 6 {
		head = 1
	}
	rows := in.Sub(0, head, in.W, in.H-head)
	if p.List.Matches() == 0 {
		rows.Text(0, 0, In(Dim), "nothing matches")
		return
	}
	p.List.Draw(rows, func(a Area, ln Line) {
		if p.Row != nil {
			p.Row(a, ln)
			return
		}
		a.Fit(0, 0, a.W, Style{}, ln.Name)
	})
}

// A Sheet is a text to read: the help, the details of an error.
type Sheet struct {
	Title string
	Lines []SheetLine

	top, height, length int
}

// A SheetLine is one paragraph of a sheet, with its own heading.
type SheetLine struct {
	Head  string
	Key   string // beside the text, in a column of its own
	Text  string
	Style Style
}

// Key implements Dialog.
func (s *Sheet) Key(k Key) (done bool) {
	switch k.Name {
	case "esc", "enter", "q", "?":
		return true
	case "down", "j":
		s.top++
	case "up", "k":
		s.top--
	case "pgdown", "space", "ctrl+d":
		s.top += max(s.height-1, 1)
	case "pgup", "ctrl+u":
		s.top -= max(s.height-1, 1)
	}
	s.top = max(min(s.top, s.length-s.height), 0)
	return false
}

// Paste implements Dialog.
func (s *Sheet) Paste(string) {}

// Wheel scrolls by so many lines.
func (s *Sheet) Wheel(lines int) { s.top = max(min(s.top+lines, s.length-s.height), 0) }

// Hints implements Dialog.
func (s *Sheet) Hints() []Hint { return []Hint{{"up/down", "scroll"}, {"esc", "close"}} }

// Draw implements Dialog.
func (s *Sheet) Draw(a Area) {
	m := a.Marks()
	head, key := 0, 0
	for _, l := range s.Lines {
		head, key = max(head, m.Width(l.Head)), max(key, m.Width(l.Key))
	}
	if head > 0 {
		head += 2
	}
	if key > 0 {
		key += 2
	}
	w := min(a.W, 84)
	type row struct {
		SheetLine
		text string
	}
	var rows []row
	for _, l := range s.Lines {
		for i, text := range m.Wrap(l.Text, max(w-4-head-key, 8)) {
			r := row{l, text}
			if i > 0 {
				r.Head, r.Key = "", ""
			}
			rows = append(rows, r)
		}
	}
	in := Place(a, w, len(rows)+2).Box(In(Border), s.Title)
	s.height, s.length = in.H, len(rows)
	s.top = max(min(s.top, s.length-s.height), 0)
	for y := range min(in.H, len(rows)-s.top) {
		r := rows[s.top+y]
		in.Text(0, y, In(Accent), r.Head)
		in.Text(head, y, Style{Normal, Bold}, r.Key)
		in.Text(head+key, y, r.Style, r.text)
	}
	if s.top+in.H < len(rows) {
		in.Text(in.W-1, in.H-1, In(Dim), m.Down)
	}
	if s.top > 0 {
		in.Text(in.W-1, 0, In(Dim), m.Up)
	}
}

// A Prompt asks for a form to be filled in: a reason, a note. What it is for
// happens elsewhere, with a Consent if it does harm.
type Prompt struct {
	Title string
	Form  Form
	Send  string        // "go on": what Ctrl+S does
	Check func() string // what is wrong, or ""
	Enter bool          // Enter in the last input sends too

	ok bool
}

// OK reports whether the form was sent when the box is done.
func (p *Prompt) OK() bool { return p.ok }

// Key implements Dialog.
func (p *Prompt) Key(k Key) (done bool) {
	switch k.Name {
	case "esc":
		return true
	case "ctrl+s":
		return p.send()
	}
	if !p.Form.Key(k) && k.Name == "enter" {
		if p.Enter && p.Form.last() {
			return !k.Repeat && p.send()
		}
		p.Form.step(1)
	}
	return false
}

func (p *Prompt) send() (done bool) {
	p.ok = p.Check == nil || p.Check() == ""
	return p.ok
}

// Paste implements Dialog.
func (p *Prompt) Paste(text string) { p.Form.Paste(text) }

// Hints implements Dialog.
func (p *Prompt) Hints() []Hint {
	inputs := 0
	for _, it := range p.Form.Items {
		if it.Input != nil {
			inputs++
		}
	}
	switch {
	case inputs == 1 && p.Enter:
		return []Hint{{"enter", p.Send}, {"esc", "cancel"}}
	case inputs == 1:
		return []Hint{{"ctrl+s", p.Send}, {"esc", "cancel"}}
	}
	return []Hint{{"ctrl+s", p.Send}, {"tab", "next"}, {"esc", "cancel"}}
}

// Draw implements Dialog.
func (p *Prompt) Draw(a Area) {
	wrong := ""
	if p.Check != nil {
		wrong = p.Check() // first: it may change the notes of the form
	}
	w := min(a.W, 76)
	lines := a.Marks().Wrap(wrong, max(w-4, 1))
	h := p.Form.Height(w-4) + 2 + len(lines)
	in := Place(a, w, h).Box(In(Border), p.Title)
	y := p.Form.Draw(in)
	for i, l := range lines {
		in.Text(0, y+i, In(Warn), l)
	}
}
