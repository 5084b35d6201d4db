package kit

import (
	"math"
	"strings"
)

// InLines are the marks of a frame that is not shown but printed, line by line:
// without boxes, rules and cursors, and with a word for what is hidden. The rows
// of its lists have numbers.
func (m Marks) InLines() Marks {
	m.Spoken = true
	m.Open, m.Closed, m.Mask = "open", "closed", "*"
	return m
}

// PrintedRows is how many rows of a list are printed at once.
const PrintedRows = 40

// hiddenText stands for a value in a frame that is printed.
const hiddenText = "(hidden)"

// A Printed is a line of a frame.
type Printed struct {
	Text string
	Row  int  // the number of the row of a list, from 1; 0: it is none
	At   bool // the cursor is on it
}

// drawn is where a row of a list was drawn.
type drawn struct {
	row int
	at  bool
}

// Lines are the lines of the frame that have something in them.
func (f *Frame) Lines() []Printed {
	var all []Printed
	for y, text := range strings.Split(strings.TrimSuffix(f.Text(), "\n"), "\n") {
		text = closeUp(text)
		if d, ok := f.rows[y]; ok {
			all = append(all, Printed{Text: text, Row: d.row + 1, At: d.at})
		} else if text != "" {
			all = append(all, Printed{Text: text})
		}
	}
	return all
}

// closeUp is a line whose columns stand two spaces apart.
func closeUp(line string) string {
	text := strings.TrimLeft(line, " ")
	indent := line[:len(line)-len(text)]
	for strings.Contains(text, "   ") {
		text = strings.ReplaceAll(text, "   ", "  ")
	}
	return indent + strings.TrimRight(text, " ")
}

// List is the list that was drawn; nil if there is none.
func (f *Frame) List() *List { return f.list }

// GoTo puts the cursor on a line of the list, counted from 0, and reports whether
// there is one.
func (l *List) GoTo(i int) bool {
	if i < 0 || i >= l.count() {
		return false
	}
	l.cursor = i
	l.note()
	return true
}

// Lines is the number of lines of the list: its rows and, in a tree, its folders.
func (l *List) Lines() int { return l.count() }

// Line is what a terminal may be given of one line: printable characters, and marks
// for all others and for what the veil hides. A newline is one of the others: nobody
// else begins a line.
func (m Marks) Line(text string) string {
	var b strings.Builder
	for s := (scanner{rest: m.veiled(text), ascii: m.ASCII}); ; {
		g, ok := s.next()
		if !ok {
			return b.String()
		}
		b.WriteString(g.text)
	}
}

// Printed appends to b what a terminal may be given of a value, line by line. It
// makes no string of it.
func (m Marks) Printed(b, text []byte) []byte {
	line := 0
	_, last := lay(text, math.MaxInt, m.ASCII, func(_, at int, g glyph) {
		for ; line < at; line++ {
			b = append(b, '\n')
		}
		b = append(b, g.text...)
	})
	for ; line < last; line++ {
		b = append(b, '\n')
	}
	return b
}
