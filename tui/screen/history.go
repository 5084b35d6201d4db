package screen

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"envrun/tui/kit"
	"envrun/vault"
)

// Versions is the history of one secret: its versions, newest first, with who,
// when and which fields each has changed. That is all known without a value. One
// version can be brought back, as a new one: nothing is ever rewound.
type Versions struct {
	project *Project
	env     Env
	path    vault.Path
	field   vault.FieldName // whose value v shows
	wanted  vault.FieldName // the field that we were opened on, until the versions are there

	rows    versions
	list    kit.List
	mark    int // the row that others are compared with; -1: the one before each
	read    bool
	reading bool
	broken  int // versions that could not be read
	at      time.Time
	now     time.Time
	trouble *trouble
}

// versions are those of one secret, newest first.
type versions []vault.Info

// Len implements kit.Rows.
func (v versions) Len() int { return len(v) }

// Name implements kit.Rows. Of one number there may be two, from branches.
func (v versions) Name(row int) string {
	twin := 0
	for i := row - 1; i >= 0 && v[i].Version == v[row].Version; i-- {
		twin++
	}
	return fmt.Sprintf("v%d.%d", v[row].Version, twin)
}

// twin reports whether a version has its number together with another.
func (v versions) twin(row int) bool {
	n := v[row].Version
	return row > 0 && v[row-1].Version == n || row+1 < len(v) && v[row+1].Version == n
}

// before is the version that came before the one in a row: of a lower number,
// since one of the same number is from another branch. The zero Info if there is
// none.
func (v versions) before(row int) vault.Info {
	for _, o := range v[row+1:] {
		if o.Version < v[row].Version {
			return o
		}
	}
	return vault.Info{}
}

// changed says in names what a version did to the one before it.
func (v versions) changed(row int) string {
	this, before := v[row], v.before(row)
	if this.Deleted {
		return "deleted"
	}
	var parts []string
	for _, f := range differences(before, this) {
		switch f.state {
		case added:
			parts = append(parts, "+"+string(f.name))
		case removed:
			parts = append(parts, "-"+string(f.name))
		case changed:
			parts = append(parts, string(f.name))
		}
	}
	what := strings.Join(parts, " ")
	if what == "" {
		what = "note, tags or rotation"
	}
	if before.Deleted {
		what += " (it was deleted)"
	}
	if v.twin(row) {
		what += " (merged: two branches had this number)"
	}
	if lost := this.Version - before.Version - 1; lost > 0 {
		what += fmt.Sprintf(" (%d between are not kept)", lost)
	}
	return what
}

// NewVersions is the history of a secret.
func NewVersions(p *Project, e Env, path vault.Path, field vault.FieldName) *Versions {
	return &Versions{project: p, env: e, path: path, wanted: field, mark: -1}
}

// Title implements Screen.
func (v *Versions) Title() string { return "history of " + string(v.path) }

// Enter implements Screen.
func (v *Versions) Enter() Effect { return v.load() }

func (v *Versions) load() Effect {
	env, path := v.env.Name, v.path
	v.reading = true
	var rows versions
	broken := 0
	return Read{
		Lane: "versions", What: "reading the history of " + string(path), For: time.Minute,
		Do: func(ctx context.Context, r Reading, _ func(func()) bool) error {
			for info, err := range r.Versions(ctx, env, path) {
				switch {
				case err != nil && (ctx.Err() != nil || info.Version == 0):
					return err
				case err != nil:
					broken++ // one that cannot be read hides no other
				default:
					rows = append(rows, info)
				}
			}
			return ctx.Err()
		},
		Done: func(err error) Effect {
			v.reading = false
			if err != nil && vault.KindOf(err) != vault.KindNotFound {
				v.trouble = newTrouble(v.project, err)
				if len(v.rows) > 0 {
					v.trouble.at = v.at
				}
				return nil
			}
			v.trouble, v.at, v.broken = nil, v.now, broken
			v.take(rows)
			return nil
		},
	}
}

// take shows what was read; the mark stays on its version.
func (v *Versions) take(rows versions) {
	marked := ""
	if v.mark >= 0 {
		marked = v.rows.Name(v.mark)
	}
	v.rows, v.read, v.mark = rows, true, -1
	for i := range rows {
		if marked != "" && rows.Name(i) == marked {
			v.mark = i
		}
	}
	// A history is short enough to be shown at once.
	if s := v.list.Set(v.rows); s != nil {
		_ = s.Run(context.Background())
		v.list.Take(s)
	}
	v.aim()
}

// aim keeps the field that v would show one that the version under the cursor has.
func (v *Versions) aim() {
	row, ok := v.list.Selected()
	if !ok {
		return
	}
	fields := v.rows[row].Fields
	has := func(name vault.FieldName) bool {
		return slices.ContainsFunc(fields, func(f vault.FieldInfo) bool { return f.Name == name })
	}
	switch {
	case has(v.wanted):
		v.field = v.wanted
	case len(fields) > 0 && !has(v.field):
		v.field = fields[0].Name
	case len(fields) == 0:
		v.field = ""
	}
}

// current is the newest version; the zero Info if there is none.
func (v *Versions) current() vault.Info {
	if len(v.rows) == 0 {
		return vault.Info{}
	}
	return v.rows[0]
}

// pair is what the version under the cursor is compared with, older first.
func (v *Versions) pair() (older, newer vault.Info, ok bool) {
	row, ok := v.list.Selected()
	if !ok {
		return
	}
	this := v.rows[row]
	other := v.rows.before(row)
	if v.mark >= 0 && v.mark != row {
		other = v.rows[v.mark]
	}
	if other.Version > this.Version {
		this, other = other, this
	}
	return other, this, other.Version > 0
}

// Offers implements Screen.
func (v *Versions) Offers() []kit.Offer {
	row, ok := v.list.Selected()
	var mark, diff, value, back string
	if !ok {
		none := "there is no version under the cursor"
		mark, diff, value, back = none, none, none, none
	} else {
		info := v.rows[row]
		if _, _, ok := v.pair(); !ok {
			diff = "there is no version before this one"
		}
		if info.Deleted {
			value = "there are no values in a deletion"
			back = "its deletion has no values to bring back"
		}
		if row == 0 {
			back = "this is the current version"
		}
		if v.rows.twin(row) && row > 0 {
			two := fmt.Sprintf("two branches had a version %d, and only one of them can be asked for", info.Version)
			value, diff, back = two, two, two
		}
	}
	offers := []kit.Offer{
		{ID: Diff, Off: diff}, {ID: RollBack, Off: back}, {ID: ShowHide, Off: value}, {ID: CopyIt, Off: value},
		{ID: Mark, Off: mark}, {ID: Peek, Off: value},
	}
	if ok && len(v.rows[row].Fields) > 1 {
		offers = append(offers, kit.Offer{ID: Next})
	}
	if v.reading {
		offers = append(offers, kit.Offer{ID: StopIt})
	}
	return append(append(offers, kit.Offer{ID: Reload}), moves()...)
}

// Do implements Screen.
func (v *Versions) Do(action string) Effect {
	if move(&v.list, action) {
		v.aim()
		return nil
	}
	row, ok := v.list.Selected()
	switch action {
	case Reload:
		return v.load()
	case StopIt:
		v.reading = false
		return Stop{"versions"}
	}
	if !ok {
		return nil
	}
	switch action {
	case Mark:
		if v.mark == row {
			v.mark = -1
		} else {
			v.mark = row
		}
	case Diff:
		older, newer, _ := v.pair()
		return Push{NewChanges(v.project, v.env, older, newer)}
	case ShowHide, Peek, CopyIt:
		return ofTarget(action)
	case Next:
		v.wanted = nextField(v.rows[row].Fields, v.field)
		v.aim()
	case RollBack:
		return v.askRollBack(v.rows[row])
	}
	return nil
}

func nextField(fields []vault.FieldInfo, name vault.FieldName) vault.FieldName {
	i := slices.IndexFunc(fields, func(f vault.FieldInfo) bool { return f.Name == name })
	return fields[(i+1)%len(fields)].Name
}

// askRollBack asks before a version is brought back.
func (v *Versions) askRollBack(old vault.Info) Effect {
	now, path := v.current(), v.path
	facts := []string{fmt.Sprintf("Writes version %d of %s in %s with the fields, note, tags and rotation that version %d had.", now.Version+1, path, label(v.env), old.Version)}
	if now.Deleted {
		facts = append(facts, fmt.Sprintf("It is deleted now: this brings %d fields back.", len(old.Fields)))
	} else {
		for _, s := range []struct {
			state fieldState
			text  string
		}{{changed, "gets its old value"}, {added, "comes back"}, {removed, "is removed"}} {
			var names []string
			for _, f := range differences(now, old) {
				if f.state == s.state {
					names = append(names, string(f.name))
				}
			}
			if len(names) > 0 {
				facts = append(facts, strings.Join(names, ", ")+" "+s.text+".")
			}
		}
	}
	facts = append(facts, "No version is lost: what is there now stays in the history where it is kept.")
	box := Confirmation(v.env, kit.Destroys, fmt.Sprintf("Roll %s back to version %d?", path, old.Version), "roll back", facts...)
	return Ask{Dialog: box, Then: func() Effect {
		if !box.Consent().OK() {
			return nil
		}
		var info vault.Info
		return Write{
			Consent: box.Consent(), Harm: kit.Destroys, Env: v.env.Name, What: "rolling back " + string(path),
			Do: func(ctx context.Context, w Writing) (err error) {
				info, err = w.Restore(ctx, path, old.Version, now.Version)
				return err
			},
			Done: func(err error) Effect {
				switch {
				case vault.KindOf(err) == vault.KindConflict:
					return All{Say{kit.Notice{Role: kit.Warn, Sticky: true, Text: "Not rolled back: " + string(path) + " was changed meanwhile. Look at it again."}}, v.load()}
				case err != nil:
					what, next := v.project.Explain(err)
					return Say{kit.Notice{Role: kit.Danger, Sticky: true, Text: "Not rolled back: " + what, Details: what + "\n" + next}}
				case info.Version == now.Version:
					return Say{kit.Notice{Text: fmt.Sprintf("Version %d has what version %d had: nothing to do.", now.Version, old.Version)}}
				}
				v.list.First()
				return All{v.load(), Say{kit.Notice{Role: kit.OK, Text: fmt.Sprintf("Version %d of %s is version %d again.", info.Version, path, old.Version)}}}
			},
		}
	}}
}

// Target implements Screen: one value of the version under the cursor.
func (v *Versions) Target() (Target, bool) {
	row, ok := v.list.Selected()
	if !ok || v.field == "" || v.rows[row].Deleted || v.rows.twin(row) && row > 0 {
		return Target{}, false
	}
	return Target{Env: v.env.Name, Path: v.path, Field: v.field, Version: v.rows[row].Version}, true
}

const againstWidth = 34

// Draw implements Screen.
func (v *Versions) Draw(a kit.Area, s Scene) {
	v.now = s.Now
	m := a.Marks()
	count := ""
	if v.read {
		count = plural(len(v.rows), "version")
		if v.broken > 0 {
			count += ", " + kit.Number(v.broken) + " unreadable"
		}
	}
	w := m.Width(count)
	a.FitEnd(0, 0, max(a.W-w-2, 8), kit.Style{Attr: kit.Bold}, string(v.path))
	a.FitRight(max(a.W-w, 0), 0, w, kit.In(kit.Dim), count)
	_, in := a.Top(1)
	switch {
	case v.trouble != nil:
		y := v.trouble.draw(in.Inset(1, 0), v.env, s.Now)
		if len(v.rows) == 0 {
			return
		}
		_, in = in.Top(y)
	case !v.read && !v.reading:
		in.Text(2, 1, kit.In(kit.Dim), "Stopped. r reads again.")
		return
	case !v.read:
		if s.Lanes.Busy("versions").Shown(s.Now) {
			in.Text(2, 1, kit.In(kit.Dim), "Reading the history "+m.Ellipsis)
		}
		return
	case len(v.rows) == 0:
		in.Inset(2, 1).Paragraph(0, kit.Style{}, "No versions of "+string(v.path)+" are kept in "+label(v.env)+".")
		return
	}
	switch s.Size {
	case kit.Large:
		rows, side := in.Left(in.W - againstWidth)
		v.drawRows(rows, s)
		for y := range side.H {
			side.Text(0, y, kit.In(kit.Border), m.Vert)
		}
		v.drawSide(side.Sub(2, 0, side.W-2, side.H), s)
	default:
		rows, foot := in.Bottom(3)
		v.drawRows(rows, s)
		v.drawBrief(foot, s)
	}
}

func (v *Versions) drawRows(a kit.Area, s Scene) {
	head, rows := a.Top(1)
	t := kit.NewTable(rows.W-4, kit.Column{Title: "VER", Width: 4, Right: true}, kit.Column{Title: "WHEN", Width: 5, Right: true},
		kit.Column{Title: "BY", Width: 12, Drop: 1}, kit.Column{Title: "CHANGED", Width: 12, Grow: 1})
	t.Head(head.Sub(4, 0, head.W-4, 1), 0)
	v.list.Alert = v.env.Protected
	v.list.Draw(rows, func(a kit.Area, ln kit.Line) {
		info := v.rows[ln.Row]
		mark := " "
		if ln.Row == v.mark {
			mark = "*"
		}
		a.Text(0, 0, kit.Style{Role: kit.Accent, Attr: kit.Bold}, mark)
		cells := a.Sub(2, 0, a.W-2, 1)
		t.Cell(cells, 0, 0, kit.Style{}, kit.Number(int(info.Version)))
		t.Cell(cells, 0, 1, kit.In(kit.Dim), ago(s.Now, info.At))
		t.Cell(cells, 0, 2, kit.In(kit.Dim), info.By)
		st := kit.Style{}
		if info.Deleted {
			st = kit.In(kit.Danger)
		}
		t.Cell(cells, 0, 3, st, v.rows.changed(ln.Row))
	})
}

// drawSide is what the version under the cursor has that another has not, and
// the value of one field of it.
func (v *Versions) drawSide(a kit.Area, s Scene) {
	y := 0
	if older, newer, ok := v.pair(); ok {
		a.Fit(0, y, a.W, kit.Style{Attr: kit.Bold}, fmt.Sprintf("v%d against v%d", newer.Version, older.Version))
		y += 2
		all := differences(older, newer)
		for i, f := range all {
			if y >= a.H-6 && i < len(all)-1 {
				a.Text(0, y, kit.In(kit.Dim), fmt.Sprintf("%s %d more: D", a.Marks().Ellipsis, len(all)-i))
				y++
				break
			}
			st, word := f.state.look()
			a.FitRight(a.W-8, y, 8, st, word)
			a.FitEnd(0, y, a.W-9, kit.Style{}, string(f.name))
			y++
		}
		y++
	}
	row, _ := v.list.Selected()
	info := v.rows[row]
	if info.Note != "" {
		y = a.Sub(0, y, a.W, min(a.H-y, 3)).Paragraph(0, kit.In(kit.Dim), info.Note) + y + 1
	}
	v.drawValue(a.Sub(0, y, a.W, a.H-y), s)
}

// drawBrief is the same in three lines.
func (v *Versions) drawBrief(a kit.Area, s Scene) {
	if older, newer, ok := v.pair(); ok {
		x := a.Text(0, 0, kit.In(kit.Dim), fmt.Sprintf("v%d against v%d: ", newer.Version, older.Version))
		a.Fit(x, 0, a.W-x, kit.Style{}, summary(differences(older, newer)))
	}
	v.drawValue(a.Sub(0, 1, a.W, a.H-1), s)
}

// drawValue is one field of the version under the cursor: a mask, or the value.
func (v *Versions) drawValue(a kit.Area, s Scene) {
	t, ok := v.Target()
	if !ok || a.H < 1 {
		return
	}
	drawOneValue(a, s, t, fmt.Sprintf("%s in v%d", t.Field, t.Version))
}

// drawOneValue is a head and, in the rows below it, the mask or the value; in
// one row the mask is beside the head.
func drawOneValue(a kit.Area, s Scene, t Target, head string) {
	f, left, shown := s.Values.Shown(t)
	if !shown {
		w := max(a.W-kit.MaskWidth-1, 1)
		if a.H > 2 {
			a.FitEnd(0, 0, a.W, kit.In(kit.Dim), head)
			s.Values.Draw(a.Sub(0, 1, a.W, 1), t, 0)
			return
		}
		w = min(w, a.Marks().Width(head))
		a.FitEnd(0, 0, w, kit.In(kit.Dim), head)
		s.Values.Draw(a.Sub(w+1, 0, a.W-w-1, 1), t, 0)
		return
	}
	x := a.Text(0, 0, kit.Style{Role: kit.Warn, Attr: kit.Bold}, "REVEALED "+countdown(left)) + 1
	a.FitEnd(x, 0, a.W-x, kit.In(kit.Dim), head)
	y := 1
	if a.H > 4 {
		a.Fit(0, 1, a.W, kit.In(kit.Dim), measure(f))
		y = 2
	}
	box := a.Sub(0, y, a.W, a.H-y)
	if n := s.Values.Draw(box, t, 0); n > box.H && box.H > 0 {
		more := fmt.Sprintf(" %s %d more lines", a.Marks().Down, n-box.H)
		w := a.Marks().Width(more)
		a.Text(a.W-w, a.H-1, kit.In(kit.Warn), more)
	}
}

// plural counts things: 1 version, 2 versions.
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return kit.Number(n) + " " + what + "s"
}
