package screen

import (
	"context"
	"strings"
	"time"

	"envrun/tui/kit"
)

// A page is text with headings that scrolls: what a screen says that has no rows.
// Its lines are made anew for each picture; it keeps where it was scrolled to.
type page struct {
	top, room, length int
}

// move does an action of moves, and reports whether it was one.
func (p *page) move(action string) bool {
	switch action {
	case Up:
		p.top--
	case Down:
		p.top++
	case First:
		p.top = 0
	case Last:
		p.top = p.length
	case PageUp:
		p.top -= max(p.room-1, 1)
	case PageDown:
		p.top += max(p.room-1, 1)
	case HalfUp:
		p.top -= max(p.room/2, 1)
	case HalfDown:
		p.top += max(p.room/2, 1)
	default:
		return false
	}
	p.top = max(min(p.top, p.length-p.room), 0)
	return true
}

// draw draws the lines, and returns the row after them.
func (p *page) draw(a kit.Area, lines []kit.SheetLine) int {
	m := a.Marks()
	head := 0
	for _, l := range lines {
		head = max(head, m.Width(l.Head))
	}
	if head > 0 {
		head = min(head+2, max(a.W/2, 1))
	}
	type row struct {
		head, text string
		style      kit.Style
	}
	var rows []row
	for _, l := range lines {
		indent := head
		if l.Head == "" && head > 0 && strings.HasPrefix(l.Text, whole) {
			indent = 0
			l.Text = l.Text[len(whole):]
		}
		for i, text := range m.Wrap(l.Text, max(a.W-indent-2, 1)) {
			r := row{text: text, style: l.Style}
			if indent == 0 {
				r.head = whole
			} else if i == 0 {
				r.head = l.Head
			}
			rows = append(rows, r)
		}
	}
	p.room, p.length = a.H, len(rows)
	p.top = max(min(p.top, p.length-p.room), 0)
	n := min(a.H, len(rows)-p.top)
	for y := range n {
		switch r := rows[p.top+y]; r.head {
		case whole:
			a.Fit(0, y, a.W-2, r.style, r.text)
		default:
			a.Fit(0, y, head-1, kit.In(kit.Dim), r.head)
			a.Text(head, y, r.style, r.text)
		}
	}
	if p.top+a.H < len(rows) {
		a.Text(a.W-1, a.H-1, kit.In(kit.Accent), m.Down)
	}
	if p.top > 0 {
		a.Text(a.W-1, 0, kit.In(kit.Accent), m.Up)
	}
	return n
}

// whole marks a line that begins at the left, without the column of headings.
const whole = "\x00"

// A sheetOf collects lines.
type sheetOf []kit.SheetLine

// say adds a line with a heading; without text nothing.
func (s *sheetOf) say(head, text string) { s.in(head, kit.Style{}, text) }

func (s *sheetOf) in(head string, st kit.Style, text string) {
	if text != "" {
		*s = append(*s, kit.SheetLine{Head: head, Text: text, Style: st})
	}
}

// line adds a paragraph as wide as the page.
func (s *sheetOf) line(st kit.Style, text string) {
	if text != "" {
		*s = append(*s, kit.SheetLine{Text: whole + text, Style: st})
	}
}

// gap adds an empty line.
func (s *sheetOf) gap() {
	if len(*s) > 0 {
		*s = append(*s, kit.SheetLine{Text: whole})
	}
}

// steps adds what is left to be done.
func (s *sheetOf) steps(steps []Step) {
	for _, st := range steps {
		text := st.Text
		if st.Command != "" {
			text += ":"
		}
		s.line(kit.In(kit.Dim), text)
		if st.Command != "" {
			s.line(kit.In(kit.Accent), "  "+st.Command)
		}
	}
}

// sheet is the lines in a box to read.
func (s sheetOf) sheet(title string) Effect {
	var lines []kit.SheetLine
	for _, l := range s {
		l.Text = strings.TrimPrefix(l.Text, whole)
		lines = append(lines, l)
	}
	return Ask{Dialog: &kit.Sheet{Title: title, Lines: lines}}
}

// commands are those of the steps, as they are pasted.
func commands(steps []Step) string {
	var all []string
	for _, st := range steps {
		if st.Command != "" {
			all = append(all, st.Command)
		}
	}
	return strings.Join(all, "\n")
}

// clock is a time as people agree on it, where the one who looks is.
func clock(now, t time.Time) string { return t.In(now.Location()).Format("2006-01-02 15:04 MST") }

// day is the day of a time.
func day(now, t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.In(now.Location()).Format(time.DateOnly)
}

// in is how long it is until then: the other direction of ago.
func in(now, then time.Time) string { return ago(then, now) }

// count is so many of something: "1 secret", "1,284 secrets".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return kit.Number(n) + " " + what + "s"
}

// join is names in a row: "alice, bob and 3 more".
func join(names []string, most int) string {
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most-1], ", ") + " and " + kit.Number(len(names)-most+1) + " more"
}

// span is a duration in one unit or two: 45m, 8h, 3d 4h.
func span(d time.Duration) string {
	d = d.Round(time.Minute)
	h, m := d/time.Hour, d%time.Hour/time.Minute
	switch {
	case h == 0:
		return kit.Number(int(m)) + "m"
	case h < 48 && m > 0:
		return kit.Number(int(h)) + "h " + kit.Number(int(m)) + "m"
	case h < 48:
		return kit.Number(int(h)) + "h"
	}
	return kit.Number(int(h/24)) + "d"
}

// said is how a change that was refused is told, in one line and in full.
func said(p *Project, what string, err error) Say {
	text, next := p.Explain(err)
	full := what + ": " + text
	if next != "" {
		full += "\n" + next
	}
	return Say{kit.Notice{Role: kit.Danger, Sticky: true, Text: what + ": " + text, Details: full}}
}

// filterAsks is what a filter asks for.
const filterAsks = "Filter by"

// drawFilter draws what a list is filtered by: what is being typed, what was
// kept, or that there can be something.
func drawFilter(a kit.Area, filter *kit.Field, typing bool, kept string) {
	switch {
	case typing:
		filter.Draw(a, true)
	case kept != "":
		a.Fit(0, 0, a.W, kit.In(kit.Accent), kept)
	default:
		a.Fit(0, 0, a.W, kit.In(kit.Dim), " filters")
	}
}

// filtering filters a list, which goes on showing what it has until the answer is
// there. A filter that needs no search ends the one that is under way.
func filtering(list *kit.List, text string) Effect {
	s := list.Filter(text)
	if s == nil {
		return Stop{"filter"}
	}
	return Read{
		Lane: "filter", What: "filtering",
		Do: func(ctx context.Context, _ Reading, show func(func()) bool) error {
			if err := s.Run(ctx); err != nil {
				return err
			}
			show(func() { list.Take(s) })
			return nil
		},
	}
}
