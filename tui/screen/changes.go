package screen

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	"envrun/tui/kit"
	"envrun/vault"
)

// fieldState is what has become of a field from one version to a later one.
type fieldState uint8

const (
	same fieldState = iota
	changed
	added
	removed
	again // written since, with the value that it had
)

func (s fieldState) look() (kit.Style, string) {
	switch s {
	case changed:
		return kit.Style{Role: kit.Warn, Attr: kit.Bold}, "changed"
	case added:
		return kit.In(kit.Added), "added"
	case removed:
		return kit.In(kit.Removed), "removed"
	case again:
		return kit.In(kit.Dim), "as it was"
	}
	return kit.In(kit.Dim), "same"
}

// A difference is one field in two versions.
type difference struct {
	name  vault.FieldName
	state fieldState
	facts [2]*Facts // older, newer; nil: not counted, or not there
}

// differences are the fields of two versions of a secret by name, from what is
// known without a value: since which version each has its value.
func differences(from, to vault.Info) []difference {
	var all []difference
	since := map[vault.FieldName]uint64{}
	for _, f := range from.Fields {
		since[f.Name] = f.Since
	}
	for _, f := range to.Fields {
		was, ok := since[f.Name]
		delete(since, f.Name)
		d := difference{name: f.Name, state: same}
		switch {
		case !ok:
			d.state = added
		case was != f.Since:
			d.state = changed
		}
		all = append(all, d)
	}
	for name := range since {
		all = append(all, difference{name: name, state: removed})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].name < all[j].name })
	return all
}

// summary says how many fields are what.
func summary(all []difference) string {
	var n [again + 1]int
	for _, d := range all {
		n[d.state]++
	}
	var parts []string
	for _, s := range []fieldState{changed, added, removed, again, same} {
		if n[s] > 0 {
			_, word := s.look()
			parts = append(parts, fmt.Sprintf("%d %s", n[s], word))
		}
	}
	if len(parts) == 0 {
		return "no fields"
	}
	return strings.Join(parts, ", ")
}

// Changes are two versions of a secret side by side: which field is the same, and
// how long each value is. One value of one of them can be shown.
type Changes struct {
	project *Project
	env     Env
	ends    [2]vault.Info // the older, the newer
	side    int           // whose values v shows

	rows    diffRows
	list    kit.List
	counted bool
	trouble *trouble
}

type diffRows []difference

// Len implements kit.Rows.
func (d diffRows) Len() int { return len(d) }

// Name implements kit.Rows.
func (d diffRows) Name(row int) string { return string(d[row].name) }

// NewChanges compares two versions of a secret.
func NewChanges(p *Project, e Env, older, newer vault.Info) *Changes {
	c := &Changes{project: p, env: e, ends: [2]vault.Info{older, newer}, side: 1}
	c.rows = differences(older, newer)
	c.list.Set(c.rows)
	return c
}

// Title implements Screen.
func (c *Changes) Title() string {
	return fmt.Sprintf("%s, v%d against v%d", c.ends[0].Path, c.ends[1].Version, c.ends[0].Version)
}

// Enter implements Screen.
func (c *Changes) Enter() Effect {
	if c.project.FreeFacts && !c.counted {
		return c.count()
	}
	return nil
}

// count opens both versions to compare and measure, and shows neither.
func (c *Changes) count() Effect {
	env, ends := c.env.Name, c.ends
	var facts [2][]Facts
	return Read{
		Lane: "facts", What: "comparing two versions",
		Do: func(ctx context.Context, r Reading, _ func(func()) bool) (err error) {
			for i, info := range ends {
				if info.Deleted {
					continue
				}
				if facts[i], err = r.Facts(ctx, env, info.Path, info.Version); err != nil {
					return err
				}
			}
			return nil
		},
		Done: func(err error) Effect {
			if err != nil {
				c.trouble = newTrouble(c.project, err)
				return nil
			}
			c.trouble, c.counted = nil, true
			for i := range c.rows {
				d := &c.rows[i]
				for side, list := range facts {
					if j := slices.IndexFunc(list, func(f Facts) bool { return f.Name == d.name }); j >= 0 {
						d.facts[side] = &list[j]
					}
				}
				if d.state == changed && d.facts[0] != nil && d.facts[1] != nil && d.facts[0].Print == d.facts[1].Print {
					d.state = again
				}
			}
			return nil
		},
	}
}

// value says why the value under the cursor cannot be shown; empty if it can.
func (c *Changes) value() string {
	row, ok := c.list.Selected()
	switch {
	case !ok:
		return "there is no field under the cursor"
	case c.side == 0 && c.rows[row].state == added, c.side == 1 && c.rows[row].state == removed:
		return fmt.Sprintf("version %d does not have it", c.ends[c.side].Version)
	}
	return ""
}

// Offers implements Screen.
func (c *Changes) Offers() []kit.Offer {
	off := c.value()
	offers := []kit.Offer{{ID: Next}, {ID: ShowHide, Off: off}, {ID: CopyIt, Off: off}, {ID: Peek, Off: off}}
	if !c.counted {
		offers = append(offers, kit.Offer{ID: Diff})
	}
	return append(offers, moves()...)
}

// Do implements Screen.
func (c *Changes) Do(action string) Effect {
	if move(&c.list, action) {
		return nil
	}
	switch action {
	case Next:
		c.side = 1 - c.side
	case ShowHide, Peek, CopyIt:
		return ofTarget(action)
	case Diff:
		return c.count()
	}
	return nil
}

// Target implements Screen.
func (c *Changes) Target() (Target, bool) {
	row, ok := c.list.Selected()
	if !ok || c.value() != "" {
		return Target{}, false
	}
	return Target{Env: c.env.Name, Path: c.ends[0].Path, Field: c.rows[row].name, Version: c.ends[c.side].Version}, true
}

// Draw implements Screen.
func (c *Changes) Draw(a kit.Area, s Scene) {
	text := summary(c.rows)
	w := min(a.Marks().Width(text), a.W/2)
	a.FitEnd(0, 0, a.W-w-2, kit.Style{Attr: kit.Bold}, c.Title())
	a.FitRight(a.W-w, 0, w, kit.In(kit.Dim), text)
	_, in := a.Top(1)
	if c.trouble != nil {
		y := c.trouble.draw(in.Inset(1, 0), c.env, s.Now)
		_, in = in.Top(y)
	}
	if len(c.rows) == 0 {
		in.Inset(2, 1).Paragraph(0, kit.Style{}, "Neither version has a field: what differs is the note, the tags or the rotation.")
		return
	}
	foot := 3
	if s.Size == kit.Large {
		foot = 8
	}
	in, below := in.Bottom(min(foot, max(in.H-3, 0)))
	head, rows := in.Top(1)
	names := [2]string{fmt.Sprintf("v%d", c.ends[0].Version), fmt.Sprintf("v%d", c.ends[1].Version)}
	m := a.Marks()
	names[c.side] = m.BracketOn + names[c.side] + m.BracketX
	t := kit.NewTable(rows.W-2, kit.Column{Title: "FIELD", Width: 14, Grow: 1}, kit.Column{Title: names[0], Width: 9, Right: true},
		kit.Column{Title: names[1], Width: 9, Right: true}, kit.Column{Title: "IS", Width: 9, Drop: 1})
	t.Head(head.Sub(2, 0, head.W-2, 1), 0)
	c.list.Alert = c.env.Protected
	c.list.Draw(rows, func(a kit.Area, ln kit.Line) {
		d := c.rows[ln.Row]
		_, width := t.Place(0)
		a.FitEnd(0, 0, width, kit.Style{}, ln.Name)
		for side := range 2 {
			t.Cell(a, 0, 1+side, kit.In(kit.Dim), d.cell(side))
		}
		st, word := d.state.look()
		t.Cell(a, 0, 3, st, word)
	})
	switch t, ok := c.Target(); {
	case ok:
		drawOneValue(below, s, t, fmt.Sprintf("%s in v%d", t.Field, t.Version))
	default:
		below.Fit(0, 0, below.W, kit.In(kit.Dim), c.value())
	}
}

// cell is a value in a table of several: its length, or that it is there.
func (d difference) cell(side int) string {
	switch f := d.facts[side]; {
	case side == 0 && d.state == added, side == 1 && d.state == removed:
		return "-"
	case f == nil:
		return "set"
	default:
		return length(*f)
	}
}

// length is how long a value is, in a few cells (R2).
func length(f Facts) string {
	switch {
	case f.Length == 0:
		return "empty"
	case f.Length < 16:
		return "short"
	}
	return kit.Number(f.Length)
}
