package kit

import (
	"strings"
	"unicode/utf8"
)

// Marks are the characters that we draw ourselves. With ASCII, nothing but
// printable ASCII leaves a frame, whatever is written into it.
type Marks struct {
	ASCII  bool
	Veil   *Veil // what hides names; nil: nothing does
	Spoken bool  // the frame is printed, and not shown: InLines

	Ellipsis            string
	Mask                string // one of the sixteen of a hidden value
	Cursor              string // beside the selected row
	Open, Closed        string // beside a folder
	Horizontal, Vert    string // of a box
	Corners             [4]string
	Double              string // a rule that marks a protected environment
	TeeLeft, TeeRight   string // where a rule meets the sides of a box
	Up, Down            string // there is more above, below
	Spinner             []string
	Checked, Unchecked  string
	BracketOn, BracketX string // around the choice that is taken
}

// UTF8Marks are for terminals that draw Unicode. None of them is an emoji or
// wider than a cell.
func UTF8Marks() Marks {
	return Marks{
		Ellipsis: "…", Mask: "•", Cursor: ">", Open: "▾", Closed: "▸",
		Horizontal: "─", Vert: "│", Corners: [4]string{"┌", "┐", "└", "┘"}, Double: "═", TeeLeft: "├", TeeRight: "┤",
		Up: "↑", Down: "↓", Spinner: []string{"|", "/", "-", "\\"},
		Checked: "[x]", Unchecked: "[ ]", BracketOn: "[", BracketX: "]",
	}
}

// ASCIIMarks are for the others, and for who asks (ENVRUN_ASCII).
func ASCIIMarks() Marks {
	return Marks{
		ASCII: true, Ellipsis: "..", Mask: "*", Cursor: ">", Open: "-", Closed: "+",
		Horizontal: "-", Vert: "|", Corners: [4]string{"+", "+", "+", "+"}, Double: "=", TeeLeft: "+", TeeRight: "+",
		Up: "^", Down: "v", Spinner: []string{"|", "/", "-", "\\"},
		Checked: "[x]", Unchecked: "[ ]", BracketOn: "[", BracketX: "]",
	}
}

// A cell is one place of a frame.
type cell struct {
	text  string // one cluster; empty in the second half of a wide one
	width uint8  // 1 or 2; 0: the second half of a wide one
	style Style
}

var blank = cell{text: " ", width: 1}

// A Frame is one picture of the screen, made of cells. Everything that reaches
// the terminal was written into one.
type Frame struct {
	Marks
	w, h  int
	cells []cell

	cursorX, cursorY int
	cursorOn         bool

	zones []zone // that the mouse can be used on, the last on top

	// Of a frame that is printed: the rows of the list in it, by the line.
	list *List
	rows map[int]drawn

	buf []byte
}

// NewFrame is an empty frame of w by h cells.
func NewFrame(w, h int, m Marks) *Frame {
	f := &Frame{Marks: m}
	f.Reset(w, h)
	return f
}

// Reset empties the frame and gives it a size.
func (f *Frame) Reset(w, h int) {
	w, h = max(w, 0), max(h, 0)
	if n := w * h; cap(f.cells) < n {
		f.cells = make([]cell, n)
	} else {
		clear(f.cells[:cap(f.cells)]) // a smaller frame must not keep what a larger one showed
		f.cells = f.cells[:n]
	}
	for i := range f.cells {
		f.cells[i] = blank
	}
	f.w, f.h, f.cursorOn = w, h, false
	f.NoZones()
	f.list, f.rows = nil, nil
}

// Size is the number of columns and rows.
func (f *Frame) Size() (w, h int) { return f.w, f.h }

// Area is the whole frame.
func (f *Frame) Area() Area { return Area{f: f, W: f.w, H: f.h} }

// Cursor is where the terminal's own cursor belongs, if a field has the focus.
func (f *Frame) Cursor() (x, y int, on bool) { return f.cursorX, f.cursorY, f.cursorOn }

// set writes one glyph at x, y of the frame, which must lie in it. Half of a
// wide one that it hits becomes a space.
func (f *Frame) set(x, y int, text string, width int, st Style) {
	i := y*f.w + x
	f.split(i)
	f.cells[i] = cell{text: text, width: uint8(width), style: st}
	if width == 2 {
		f.split(i + 1)
		f.cells[i+1] = cell{style: st}
	}
}

// split makes spaces of a wide glyph of which cell i is a half.
func (f *Frame) split(i int) {
	switch c := f.cells[i]; {
	case c.width == 0 && i > 0:
		f.cells[i-1] = cell{text: " ", width: 1, style: f.cells[i-1].style}
		f.cells[i] = cell{text: " ", width: 1, style: c.style}
	case c.width == 2:
		f.cells[i].text, f.cells[i].width = " ", 1
		f.cells[i+1] = cell{text: " ", width: 1, style: c.style}
	}
}

// Text is the frame without styles, its lines without the spaces at their ends.
func (f *Frame) Text() string {
	var b strings.Builder
	for y := range f.h {
		var line strings.Builder
		for _, c := range f.cells[y*f.w : (y+1)*f.w] {
			line.WriteString(c.text)
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
	return b.String()
}

// Render is the frame as a terminal gets it: its lines, joined by newlines, with
// the escape sequences of the theme and no others.
func (f *Frame) Render(t *Theme) string {
	b := f.buf[:0]
	var now Style
	for y := range f.h {
		if y > 0 {
			b = append(b, '\n')
		}
		line := f.cells[y*f.w : (y+1)*f.w]
		for len(line) > 0 && line[len(line)-1] == blank {
			line = line[:len(line)-1] // the renderer clears what a line does not reach
		}
		for _, c := range line {
			if c.style != now {
				b = append(b, t.sequence(c.style)...)
				now = c.style
			}
			b = append(b, c.text...)
		}
		if now != (Style{}) {
			b = append(b, reset...)
			now = Style{}
		}
	}
	s := string(b)
	clear(b) // it may have held a value that is on the screen now and must not stay here
	f.buf = b
	return s
}

// An Area is a rectangle of a frame that something draws in: places are counted
// from its own corner, and what does not fit is cut off.
type Area struct {
	f    *Frame
	x, y int
	W, H int
	own  bool
}

// Marks are the characters that the frame draws with.
func (a Area) Marks() Marks {
	m := a.f.Marks
	if a.own {
		m.Veil = nil
	}
	return m
}

// Own is the area for words of ours alone: there is no veil before it, so that a
// word that is also somebody's name for a secret can be read.
func (a Area) Own() Area {
	a.own = true
	return a
}

// Sub is a part of the area, cut off where the area ends.
func (a Area) Sub(x, y, w, h int) Area {
	x0, y0 := min(max(x, 0), a.W), min(max(y, 0), a.H)
	x1, y1 := min(max(x+w, x0), a.W), min(max(y+h, y0), a.H)
	return Area{f: a.f, x: a.x + x0, y: a.y + y0, W: x1 - x0, H: y1 - y0, own: a.own}
}

// Top cuts the area in two, n rows above the rest.
func (a Area) Top(n int) (top, rest Area) {
	return a.Sub(0, 0, a.W, n), a.Sub(0, n, a.W, a.H-n)
}

// Bottom cuts the area in two, n rows below the rest.
func (a Area) Bottom(n int) (rest, bottom Area) {
	n = min(max(n, 0), a.H)
	return a.Sub(0, 0, a.W, a.H-n), a.Sub(0, a.H-n, a.W, n)
}

// Left cuts the area in two, n columns beside the rest.
func (a Area) Left(n int) (left, rest Area) {
	return a.Sub(0, 0, n, a.H), a.Sub(n, 0, a.W-n, a.H)
}

// Inset is the area without dx columns at each side and dy rows above and below.
func (a Area) Inset(dx, dy int) Area { return a.Sub(dx, dy, a.W-2*dx, a.H-2*dy) }

// Text writes one line from column x of row y, cut off at the end of the area, and
// returns the column after it.
func (a Area) Text(x, y int, st Style, text string) int {
	if y < 0 || y >= a.H {
		return x
	}
	if v := a.f.Veil; v != nil && !a.own {
		text = v.Hide(text, a.f.Mask)
	}
	s := scanner{rest: text, ascii: a.f.ASCII}
	for {
		g, ok := s.next()
		if !ok || x >= a.W {
			return x
		}
		x = a.put(x, y, st, g)
	}
}

// put writes one glyph, and returns the column after it. x may be left of the area.
func (a Area) put(x, y int, st Style, g glyph) int {
	if g.mark {
		st.Attr ^= Reverse
		for i := range len(g.text) {
			if x+i >= 0 && x+i < a.W {
				a.f.set(a.x+x+i, a.y+y, g.text[i:i+1], 1, st)
			}
		}
		return x + g.width
	}
	switch {
	case x >= 0 && x+g.width <= a.W:
		a.f.set(a.x+x, a.y+y, g.text, g.width, st)
	case x < a.W && x+g.width > 0: // half of a wide one
		a.f.set(a.x+min(max(x, 0), a.W-1), a.y+y, " ", 1, st)
	}
	return x + g.width
}

// Fit writes text into exactly w cells from column x: cut off with an ellipsis
// if it is longer. It returns x + w.
func (a Area) Fit(x, y, w int, st Style, text string) int {
	w = min(w, a.W-x)
	if w <= 0 || y < 0 || y >= a.H {
		return x
	}
	field := a.Sub(x, y, w, 1)
	end := field.Text(0, 0, st, text)
	if end > w || end == w && a.Marks().Width(text) > w {
		tail := a.f.Ellipsis
		n := a.Marks().Width(tail)
		if n >= w {
			return x + w
		}
		// The cell before the ellipsis may be half of a wide glyph: set splits it.
		field.Text(w-n, 0, st, tail)
	}
	return x + w
}

// FitRight is Fit with the text at the right end of its cells.
func (a Area) FitRight(x, y, w int, st Style, text string) int {
	if n := a.Marks().Width(text); n < w {
		a.Text(x+w-n, y, st, text)
		return x + w
	}
	return a.Fit(x, y, w, st, text)
}

// FitEnd is Fit with what is cut off at the beginning: the end of a path says
// more than its start.
func (a Area) FitEnd(x, y, w int, st Style, text string) int {
	over := a.Marks().Width(text) - w
	if over <= 0 {
		return a.Fit(x, y, w, st, text)
	}
	n := a.Marks().Width(a.f.Ellipsis)
	if n >= w {
		return a.Fit(x, y, w, st, text)
	}
	field := a.Sub(x, y, w, 1)
	field.Text(-over, 0, st, text)
	field.Text(0, 0, st, a.f.Ellipsis)
	return x + w
}

// Paragraph writes text in lines from row y on, wrapped, and returns the row after it.
func (a Area) Paragraph(y int, st Style, text string) int {
	for _, line := range a.Marks().Wrap(text, a.W) {
		a.Text(0, y, st, line)
		y++
	}
	return y
}

// Bytes writes b into the area, in lines of the area's width, from line skip of
// it on, and returns how many lines b has in all. It makes no string of b.
func (a Area) Bytes(st Style, b []byte, skip int) int {
	if a.W < 1 {
		return 0
	}
	x, line := lay(b, a.W, a.f.ASCII, func(x, line int, g glyph) {
		if y := line - skip; y >= 0 && y < a.H {
			a.put(x, y, st, g)
		}
	})
	if x == 0 && line > 0 {
		return line // b ends with a newline
	}
	return line + 1
}

// lay cuts b into glyphs, says of each where it stands in lines of a width, and
// returns where the next one would. It makes no string of b.
func lay(b []byte, width int, ascii bool, put func(x, line int, g glyph)) (x, line int) {
	step := func(g glyph) {
		if x+g.width > width && x > 0 {
			x, line = 0, line+1
		}
		put(x, line, g)
		x += g.width
	}
	for i := 0; i < len(b); {
		c := b[i]
		switch {
		case c == '\n':
			x, line = 0, line+1
			i++
			continue
		case c == '\r' && i+1 < len(b) && b[i+1] == '\n':
			step(markOf('\r', 1, c))
			i++
			continue
		case c >= ' ' && c < 0x7f && (i+1 == len(b) || b[i+1] < utf8.RuneSelf):
			step(glyph{text: asciiText[c-' ' : c-' '+1], width: 1})
			i++
			continue
		}
		// A cluster is short; as many bytes as the longest that is drawn.
		end := i + 1
		for runes := 0; end < len(b) && runes <= maxCombining+1 && end-i < 32 && b[end] >= utf8.RuneSelf; end++ {
			if utf8.RuneStart(b[end]) {
				runes++
			}
		}
		s := scanner{rest: string(b[i:end]), ascii: ascii}
		g, _ := s.next()
		i = end - len(s.rest)
		step(g)
		for s.marks != "" {
			g, _ := s.next()
			step(g)
		}
	}
	return x, line
}

const asciiText = " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"

// Fill writes one character into every cell of the area.
func (a Area) Fill(st Style, char string) {
	for y := range a.H {
		for x := range a.W {
			a.f.set(a.x+x, a.y+y, char, 1, st)
		}
	}
}

// Clear empties the area.
func (a Area) Clear() { a.Fill(Style{}, " ") }

// Paint gives row y the style, from one end of the area to the other, and keeps
// the text: what was reversed stays told apart.
func (a Area) Paint(y int, st Style) {
	if y < 0 || y >= a.H {
		return
	}
	i := (a.y+y)*a.f.w + a.x
	row := a.f.cells[i : i+a.W]
	for j := range row {
		reversed := row[j].style.Attr & Reverse
		if row[j].style.Role == Normal {
			row[j].style.Role = st.Role
		}
		row[j].style.Attr |= st.Attr
		row[j].style.Attr ^= reversed & st.Attr
	}
}

// Rule draws a line across row y.
func (a Area) Rule(y int, st Style) {
	if a.f.Spoken {
		return
	}
	a.Sub(0, y, a.W, 1).Fill(st, a.f.Horizontal)
}

// Box draws a frame with a title around the area and returns what is inside.
func (a Area) Box(st Style, title string) Area {
	if a.W < 2 || a.H < 2 {
		return a
	}
	m := a.f.Marks
	a.Clear()
	if m.Spoken {
		a.Text(0, 0, st, title)
		return a.Inset(2, 1)
	}
	a.Rule(0, st)
	a.Rule(a.H-1, st)
	for y := 1; y < a.H-1; y++ {
		a.Text(0, y, st, m.Vert)
		a.Text(a.W-1, y, st, m.Vert)
	}
	for i, at := range [4][2]int{{0, 0}, {a.W - 1, 0}, {0, a.H - 1}, {a.W - 1, a.H - 1}} {
		a.Text(at[0], at[1], st, m.Corners[i])
	}
	if title != "" && a.W > 6 {
		end := min(a.W-2, 3+a.Marks().Width(title))
		a.Text(2, 0, st, " ")
		a.Fit(3, 0, end-3, Style{Role: st.Role, Attr: st.Attr | Bold}, title)
		a.Text(end, 0, st, " ")
	}
	return a.Inset(2, 1)
}

// ShowCursor puts the terminal's cursor at x, y of the area, if that is in it.
func (a Area) ShowCursor(x, y int) {
	if x >= 0 && x < a.W && y >= 0 && y < a.H {
		a.f.cursorX, a.f.cursorY, a.f.cursorOn = a.x+x, a.y+y, true
	}
}
