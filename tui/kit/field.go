package kit

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// An Input is a part of a form that takes keys.
type Input interface {
	// Key reports whether the input used the key.
	Key(k Key) bool
	// Paste takes pasted text whole, or reports that it has no use for it.
	Paste(text string) bool
	// Draw draws into the area; with the focus it shows the cursor.
	Draw(a Area, focused bool)
	// Height is the number of rows that it wants in a width.
	Height(width int) int
}

// A Field is text that somebody types. Its bytes can be wiped, and lie in one
// place: whenever they move to a larger one, the smaller is overwritten.
type Field struct {
	Hidden bool // drawn as a mask, whatever its length
	Lines  int  // rows of a field of several lines; 0: one line, and Enter is not used
	Max    int  // bytes at most; 0: a MiB

	text []byte
	at   int // of the cursor, in bytes
	left int // first column that is shown
	top  int // first row that is shown
}

const maxField = 1 << 20

// Set replaces the text; the cursor goes to its end.
func (f *Field) Set(text string) {
	f.Wipe()
	f.insert(text)
}

// SetBytes replaces the text with a copy of b.
func (f *Field) SetBytes(b []byte) {
	f.Wipe()
	f.room(len(b))
	f.text = append(f.text, b...)
	f.at = len(f.text)
}

// Text is the text. It cannot be wiped: for what is secret there is Bytes.
func (f *Field) Text() string { return string(f.text) }

// Bytes is the text itself, until the next key.
func (f *Field) Bytes() []byte { return f.text }

// Empty reports whether there is no text.
func (f *Field) Empty() bool { return len(f.text) == 0 }

// Runes is the number of characters.
func (f *Field) Runes() int { return utf8.RuneCount(f.text) }

// Wipe overwrites the text and empties the field.
func (f *Field) Wipe() {
	clear(f.text[:cap(f.text)])
	f.text, f.at, f.left, f.top = f.text[:0], 0, 0, 0
}

// room makes place for n more bytes.
func (f *Field) room(n int) {
	if need := len(f.text) + n; need > cap(f.text) {
		larger := append(make([]byte, 0, max(2*need, 64)), f.text...)
		clear(f.text[:cap(f.text)])
		f.text = larger
	}
}

func (f *Field) insert(s string) bool {
	limit := f.Max
	if limit == 0 {
		limit = maxField
	}
	if len(f.text)+len(s) > limit {
		return false
	}
	f.room(len(s))
	f.text = f.text[:len(f.text)+len(s)]
	copy(f.text[f.at+len(s):], f.text[f.at:])
	copy(f.text[f.at:], s)
	f.at += len(s)
	return true
}

// cut removes from the text, and overwrites what is left over behind it.
func (f *Field) cut(from, to int) {
	n := copy(f.text[from:], f.text[to:])
	clear(f.text[from+n:])
	f.text = f.text[:from+n]
	f.at = from
}

func (f *Field) before() int {
	if f.at == 0 {
		return 0
	}
	_, n := utf8.DecodeLastRune(f.text[:f.at])
	return f.at - n
}

func (f *Field) after() int {
	_, n := utf8.DecodeRune(f.text[f.at:])
	return f.at + n
}

// word is where the word before the cursor begins.
func (f *Field) word() int {
	i := f.at
	for i > 0 && f.text[i-1] == ' ' {
		i--
	}
	for i > 0 && f.text[i-1] != ' ' && f.text[i-1] != '\n' {
		i--
	}
	return i
}

func (f *Field) lineStart() int { return bytes.LastIndexByte(f.text[:f.at], '\n') + 1 }

func (f *Field) lineEnd() int {
	if i := bytes.IndexByte(f.text[f.at:], '\n'); i >= 0 {
		return f.at + i
	}
	return len(f.text)
}

// Key implements Input.
func (f *Field) Key(k Key) bool {
	switch k.Name {
	case "left":
		f.at = f.before()
	case "right":
		f.at = f.after()
	case "home":
		f.at = f.lineStart()
	case "end":
		f.at = f.lineEnd()
	case "backspace", "ctrl+h":
		f.cut(f.before(), f.at)
	case "delete":
		f.cut(f.at, f.after())
	case "ctrl+w", "alt+backspace":
		f.cut(f.word(), f.at)
	case "ctrl+u":
		f.cut(f.lineStart(), f.at)
	case "ctrl+k":
		at := f.at
		f.cut(f.at, f.lineEnd())
		f.at = at
	case "enter":
		if f.Lines == 0 {
			return false
		}
		f.insert("\n")
	case "up", "down":
		if f.Lines == 0 {
			return false
		}
		return f.line(k.Name == "down")
	default:
		if !k.types() {
			return false
		}
		f.insert(k.Text)
	}
	return true
}

// line moves the cursor up or down; at the first and the last line it reports
// that the key is of no use here.
func (f *Field) line(down bool) bool {
	start := f.lineStart()
	column := utf8.RuneCount(f.text[start:f.at])
	if down {
		end := f.lineEnd()
		if end == len(f.text) {
			return false
		}
		f.at = end + 1
	} else {
		if start == 0 {
			return false
		}
		f.at = start - 1
		f.at = f.lineStart()
	}
	for end := f.lineEnd(); column > 0 && f.at < end; column-- {
		f.at = f.after()
	}
	return true
}

// Paste implements Input: what is pasted is text, whatever keys it looks like.
// In a field of one line only a newline at the end is left out, as it comes
// with most copies.
func (f *Field) Paste(text string) bool {
	if f.Lines == 0 {
		text = strings.TrimSuffix(text, "\n")
		text = strings.TrimSuffix(text, "\r")
	}
	return f.insert(text)
}

// Height implements Input.
func (f *Field) Height(int) int { return max(f.Lines, 1) }

// Draw implements Input.
func (f *Field) Draw(a Area, focused bool) {
	st := Style{Normal, Underline}
	for y := range min(a.H, max(f.Lines, 1)) {
		a.Sub(0, y, a.W, 1).Fill(st, " ")
	}
	if f.Hidden {
		n := 0
		if len(f.text) > 0 {
			n = a.Text(0, 0, st, strings.Repeat(a.Marks().Mask, MaskWidth))
		}
		if focused {
			a.ShowCursor(min(n, a.W-1), 0)
		}
		return
	}
	start := f.lineStart()
	row := bytes.Count(f.text[:start], []byte{'\n'})
	column := a.Marks().Width(string(f.text[start:f.at]))
	rows := max(min(f.Lines, a.H), 1)
	f.top = min(f.top, row)
	f.top = max(f.top, row-rows+1)
	f.left = min(f.left, column)
	f.left = max(f.left, column-a.W+1)
	for y, line := range bytes.Split(f.text, []byte{'\n'}) {
		if y -= f.top; y >= 0 && y < rows {
			a.Text(-f.left, y, st, string(line))
		}
	}
	if focused {
		a.ShowCursor(column-f.left, row-f.top)
	}
}

// MaskWidth is the number of marks that stand for a value, whatever its length (R1).
const MaskWidth = 16

// Mask is what stands for a value.
func (m Marks) MaskText() string {
	if m.Spoken {
		return hiddenText
	}
	return strings.Repeat(m.Mask, MaskWidth)
}

// A Choice is one of several; the one taken stands in brackets.
type Choice struct {
	Options []string
	Taken   int
}

// Key implements Input.
func (c *Choice) Key(k Key) bool {
	switch k.Name {
	case "left":
		c.Taken = max(c.Taken-1, 0)
	case "right", "space":
		c.Taken++
		if c.Taken >= len(c.Options) {
			c.Taken = 0
			if k.Name == "right" {
				c.Taken = max(len(c.Options)-1, 0)
			}
		}
	default:
		return false
	}
	return true
}

// Paste implements Input.
func (c *Choice) Paste(string) bool { return false }

// Height implements Input.
func (c *Choice) Height(int) int { return 1 }

// Draw implements Input.
func (c *Choice) Draw(a Area, focused bool) {
	m, x := a.Marks(), 0
	for i, o := range c.Options {
		st := Style{}
		if i == c.Taken {
			st.Attr = Bold
			if focused {
				st.Attr |= Reverse
				a.ShowCursor(x, 0)
			}
			x = a.Text(x, 0, st, m.BracketOn+o+m.BracketX) + 1
		} else {
			x = a.Text(x+1, 0, st, o) + 2
		}
	}
}

// Checks are several things that are each on or off.
type Checks struct {
	Options []string
	On      []bool
	at      int
}

// Key implements Input.
func (c *Checks) Key(k Key) bool {
	if len(c.On) < len(c.Options) {
		c.On = append(c.On, make([]bool, len(c.Options)-len(c.On))...)
	}
	switch k.Name {
	case "left":
		c.at = max(c.at-1, 0)
	case "right":
		c.at = max(min(c.at+1, len(c.Options)-1), 0)
	case "space":
		if c.at < len(c.On) {
			c.On[c.at] = !c.On[c.at]
		}
	default:
		return false
	}
	return true
}

// Paste implements Input.
func (c *Checks) Paste(string) bool { return false }

// Height implements Input.
func (c *Checks) Height(int) int { return 1 }

// Draw implements Input.
func (c *Checks) Draw(a Area, focused bool) {
	m, x := a.Marks(), 0
	for i, o := range c.Options {
		mark := m.Unchecked
		if i < len(c.On) && c.On[i] {
			mark = m.Checked
		}
		st := Style{}
		if focused && i == c.at {
			st.Attr = Reverse
			a.ShowCursor(x+1, 0)
		}
		x = a.Text(x, 0, st, mark+" "+o) + 2
	}
}

// An Item is one line of a form.
type Item struct {
	Label string
	Input Input  // nil: Note alone
	Note  string // beside or under the input
	Role  Role   // of the note
}

// A Form is inputs below each other, one of which has the focus.
type Form struct {
	Items []Item
	focus int
}

// Focus is the index of the item that has the focus; -1 if none can have it.
func (f *Form) Focus() int {
	for i := range f.Items {
		if at := (f.focus + i) % len(f.Items); f.Items[at].Input != nil {
			f.focus = at
			return at
		}
	}
	return -1
}

// SetFocus gives an item the focus.
func (f *Form) SetFocus(i int) { f.focus = max(min(i, len(f.Items)-1), 0) }

// step moves the focus.
func (f *Form) step(by int) {
	if f.Focus() < 0 {
		return
	}
	for i := f.focus; ; {
		i = (i + by + len(f.Items)) % len(f.Items)
		if f.Items[i].Input != nil {
			f.focus = i
			return
		}
	}
}

// last reports whether no input after the one with the focus can have it.
func (f *Form) last() bool {
	for _, it := range f.Items[f.Focus()+1:] {
		if it.Input != nil {
			return false
		}
	}
	return true
}

// Key gives a key to the input with the focus; Tab and the arrows that it has no
// use for move the focus.
func (f *Form) Key(k Key) bool {
	at := f.Focus()
	if at < 0 {
		return false
	}
	if k.Name != "tab" && k.Name != "shift+tab" && f.Items[at].Input.Key(k) {
		return true
	}
	switch k.Name {
	case "tab", "down":
		f.step(1)
	case "shift+tab", "up":
		f.step(-1)
	default:
		return false
	}
	return true
}

// Paste gives pasted text to the input with the focus.
func (f *Form) Paste(text string) bool {
	at := f.Focus()
	return at >= 0 && f.Items[at].Input.Paste(text)
}

// Height is the number of rows that the form wants in a width.
func (f *Form) Height(width int) int {
	n := 0
	for _, it := range f.Items {
		if it.Input == nil {
			n++
			continue
		}
		n += it.Input.Height(width)
	}
	return n
}

// Draw draws the form and returns the row after it. The label column is as wide
// as the widest label; a note stands where there is room for it.
func (f *Form) Draw(a Area) int {
	m, labels := a.Marks(), 0
	for _, it := range f.Items {
		labels = max(labels, m.Width(it.Label))
	}
	labels = min(labels+2, a.W/2)
	focus := f.Focus()
	y := 0
	for i, it := range f.Items {
		st := In(Dim)
		if i == focus {
			st = Style{Normal, Bold}
		}
		a.Fit(0, y, labels, st, it.Label)
		note := m.Width(it.Note)
		if it.Input == nil {
			a.Fit(labels, y, a.W-labels, In(it.Role), it.Note)
			y++
			continue
		}
		w, h := a.W-labels, it.Input.Height(a.W-labels)
		if note > 0 && note+2 < w/2 {
			a.Text(a.W-note, y, In(it.Role), it.Note)
			w -= note + 2
		}
		it.Input.Draw(a.Sub(labels, y, w, h), i == focus)
		y += h
	}
	return y
}
