package screen

import (
	"fmt"

	"envrun/tui/draft"
	"envrun/tui/kit"
)

// A valueBox draws the one value that a screen is about: a mask, or what the
// slot shows, with the cursor where something is typed.
type valueBox struct {
	skip  int // lines that are scrolled away
	lines int // of the value, as drawn last
	room  int
}

// boxRows is how many lines of a value are shown at most where there is a list too.
const boxRows = 8

// page scrolls by so many pages.
func (v *valueBox) page(by int) {
	v.skip = max(min(v.skip+by*max(v.room-1, 1), v.lines-v.room), 0)
}

// draw draws the value at the bottom of an area, under a line that begins with
// head, and returns what is above. in is not nil while the value is typed; known
// is what may be said of it while it is hidden. With plain there is no box.
func (v *valueBox) draw(a kit.Area, s Scene, t Target, head, known string, in *draft.Input, plain bool) kit.Area {
	m := a.Marks()
	f, left, shown := s.Values.Shown(t)
	role := kit.In(kit.Dim)
	if shown {
		head = "REVEALED, hides in " + countdown(left)
		role, known = kit.Style{Role: kit.Warn, Attr: kit.Bold}, measure(f)
	} else {
		v.skip = 0
	}
	width, frame := a.W-4, 2
	if plain {
		width, frame = a.W, 0
	}
	lines := 1
	if shown {
		lines = max(s.Values.Draw(a.Sub(0, 0, width, 0), t, 0), 1)
	}
	x, y := 0, 0
	if in != nil && shown {
		x, y = in.Place(m, width)
		lines = max(lines, y+1)
	}
	h := max(min(lines, boxRows, a.H/2-1-frame), 1)
	rest, bottom := a.Bottom(1 + frame + h)
	at := bottom.Text(0, 0, role, head) + 2
	bottom.Fit(at, 0, bottom.W-at, kit.In(kit.Dim), known)
	inner := bottom.Sub(0, 1, bottom.W, h+frame)
	box := inner
	if !plain {
		border := kit.In(kit.Border)
		if shown {
			border = kit.In(kit.Warn)
		}
		inner = box.Box(border, "")
	}
	v.lines, v.room = lines, h
	if in != nil && shown {
		v.skip = min(max(v.skip, y-h+1), y)
	}
	v.skip = max(min(v.skip, lines-h), 0)
	switch {
	case in != nil && !shown && in.Empty():
		inner.ShowCursor(0, 0)
	default:
		s.Values.Draw(inner, t, v.skip)
		if in != nil && !shown {
			x, y = kit.MaskWidth, 0
		}
		if in != nil {
			inner.ShowCursor(min(x, inner.W-1), y-v.skip)
		}
	}
	if lines > h && !plain {
		box.Text(2, h+1, kit.In(kit.Dim), fmt.Sprintf(" lines %d-%d of %d ", v.skip+1, v.skip+h, lines))
	}
	return rest
}
