package screen

import (
	"context"
	"slices"
	"sort"
	"strings"
	"time"

	"envrun/tui/draft"
	"envrun/tui/kit"
	"envrun/vault"
)

// Browse is the first screen: the names of an environment, a filter, and what
// may be said of the name under the cursor. No value is read to draw it.
type Browse struct {
	project *Project
	env     Env

	rows    entries
	list    kit.List
	filter  kit.Field
	typing  bool
	read    bool // the rows are all there
	reading bool
	stopped bool      // somebody stopped the reading: the rows are not all there
	at      time.Time // when the rows were read
	fresh   bool      // they have been read since the last picture, which says when
	broken  int       // records that could not be read
	trouble *trouble
	now     time.Time // of the last picture, for facets
}

// An entry is one row: one field of a secret.
type entry struct {
	info  *vault.Info
	field int
	name  string // path/FIELD
}

type entries []entry

// Len implements kit.Rows.
func (e entries) Len() int { return len(e) }

// Name implements kit.Rows.
func (e entries) Name(row int) string { return e[row].name }

// NewBrowse is the first screen of an environment.
func NewBrowse(p *Project, e Env) *Browse {
	b := &Browse{project: p, env: e}
	b.list.Facets = []string{"by", "tag", "rot"}
	b.list.Facet = b.facet
	return b
}

// facet: by:bob, tag:payments, rot:due.
func (b *Browse) facet(f kit.Facet, row int) bool {
	info := b.rows[row].info
	switch f.Name {
	case "by":
		return strings.Contains(strings.ToLower(info.By), strings.ToLower(f.Value))
	case "tag":
		return slices.ContainsFunc(info.Tags, func(t string) bool { return strings.HasPrefix(t, f.Value) })
	default:
		when := due(*info)
		return !when.IsZero() && b.now.After(when)
	}
}

// Names are the fields of the environment that have been read, as path/FIELD,
// with what they are found by. They do not change when others are read.
func (b *Browse) Names() (kit.Rows, kit.Index) { return b.rows, b.list.Index() }

// OpenName is what opens one of them. ok is false if it is not there any more.
func (b *Browse) OpenName(name string) (s Screen, ok bool) {
	i, ok := slices.BinarySearchFunc(b.rows, name, func(e entry, name string) int { return strings.Compare(e.name, name) })
	if !ok {
		i = slices.IndexFunc(b.rows, func(e entry) bool { return e.name == name }) // they may still be coming, by path
	}
	if i < 0 {
		return nil, false
	}
	e := b.rows[i]
	return NewSecret(b.project, b.env, *e.info, e.info.Fields[e.field].Name), true
}

// Title implements Screen.
func (b *Browse) Title() string { return "names of " + string(b.env.Name) }

// Enter implements Screen: what is there is shown, and read again beside it.
func (b *Browse) Enter() Effect { return b.load() }

// Settled reports whether the names are neither being read nor were stopped.
func (b *Browse) Settled() bool { return !b.reading && !b.stopped }

const pageOfRows = 1000

// load reads all names. The first time they come in page by page; later the old
// rows stay until the new ones are complete.
func (b *Browse) load() Effect {
	b.reading, b.stopped = true, false
	first := !b.read && len(b.rows) == 0
	env := b.env.Name
	broken := 0
	return Read{
		Lane: "list", What: "reading " + string(env), For: time.Minute,
		Do: func(ctx context.Context, r Reading, show func(func()) bool) error {
			var all entries
			shown := 0
			for info, err := range r.List(ctx, env) {
				if err != nil {
					// One record that cannot be read hides no other; what the walk
					// cannot go on from comes last.
					if info.Path == "" && len(all) == 0 || ctx.Err() != nil {
						return err
					}
					broken++
					continue
				}
				for i, f := range info.Fields {
					all = append(all, entry{&info, i, string(info.Path) + "/" + string(f.Name)})
				}
				if first && len(all)-shown >= pageOfRows {
					page := all
					shown = len(all)
					if !show(func() { b.grow(page) }) {
						return context.Canceled
					}
				}
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			byName := func(i, j int) bool { return all[i].name < all[j].name }
			if !sort.SliceIsSorted(all, byName) {
				all = slices.Clone(all) // a page of it is shown
				sort.Slice(all, byName)
			}
			index := kit.IndexOf(all)
			var search *kit.Search
			show(func() {
				b.rows, b.read = all, true
				search = b.list.SetIndexed(b.rows, index)
				b.list.Tree(b.project.Tree)
			})
			if search != nil {
				if err := search.Run(ctx); err != nil {
					return err
				}
				show(func() { b.list.Take(search) })
			}
			return nil
		},
		Done: func(err error) Effect {
			b.reading, b.broken = false, broken
			if err != nil {
				t := newTrouble(b.project, err)
				if b.read || len(b.rows) > 0 {
					t.at = b.at
				}
				b.trouble = t
				return nil
			}
			b.trouble, b.fresh = nil, true
			return nil
		},
	}
}

// grow shows the rows that have come so far. They come by path, so that a tree
// has to wait for the last.
func (b *Browse) grow(rows entries) {
	fresh := len(b.rows) == 0
	b.rows = rows
	if fresh {
		b.list.Tree(false)
		b.list.Set(&b.rows)
		return
	}
	b.list.Grew()
}

// Input implements Typist.
func (b *Browse) Input() Input {
	if !b.typing {
		return nil
	}
	return &b.filter
}

// Typed implements Typist.
func (b *Browse) Typed() Effect { return b.look() }

// Asks implements Typist.
func (b *Browse) Asks() string { return filterAsks }

// look filters by what is typed.
func (b *Browse) look() Effect {
	return filtering(&b.list, b.filter.Text())
}

// Offers implements Screen.
func (b *Browse) Offers() []kit.Offer {
	if b.typing {
		return []kit.Offer{{ID: KeepFilter}, {ID: ClearFilter}, {ID: ListDown}, {ID: ListUp}}
	}
	none := ""
	if _, ok := b.list.Selected(); !ok {
		if none = "there is no name under the cursor"; b.list.Under() != "" {
			none = "this is a folder"
		}
	}
	open := none
	if b.list.IsTree() && b.list.Under() != "" {
		open = ""
	}
	var offers []kit.Offer
	if len(b.project.Drafts.Of(b.env.Name)) > 0 {
		offers = []kit.Offer{{ID: Review}}
	}
	offers = append(offers, []kit.Offer{
		{ID: Open, Off: open}, {ID: Filter}, {ID: ShowHide, Off: none}, {ID: CopyIt, Off: none}, {ID: EditIt, Off: none}, {ID: NewIt},
		{ID: CopyPath, Off: none}, {ID: Peek, Off: none}, {ID: History, Off: none}, {ID: CopyTo, Off: b.project.alone(none)},
		{ID: ImportIt}, {ID: Delete, Off: none}, {ID: DeleteSecret, Off: none},
		{ID: Compare, Off: b.project.alone("")}, {ID: SameName, Off: b.project.alone(none)}, {ID: Tree},
	}...)
	switch {
	case b.reading && !b.read:
		offers = append([]kit.Offer{{ID: StopIt}}, offers...)
	case b.list.Query() != "":
		offers = append(offers, kit.Offer{ID: ClearFilter})
	}
	offers = append(offers, kit.Offer{ID: Reload})
	if b.list.IsTree() {
		offers = append(offers, kit.Offer{ID: Left}, kit.Offer{ID: Right})
	}
	return append(offers, moves()...)
}

// Do implements Screen.
func (b *Browse) Do(action string) Effect {
	if move(&b.list, action) {
		return nil
	}
	switch action {
	case Open:
		row, ok := b.list.Selected()
		if !ok {
			b.list.Open(true)
			return nil
		}
		e := b.rows[row]
		return Push{NewSecret(b.project, b.env, *e.info, e.info.Fields[e.field].Name)}
	case Left, Right:
		b.list.Open(action == Right)
	case Filter:
		b.typing = true
	case KeepFilter:
		b.typing = false
	case ClearFilter:
		b.typing = false
		b.filter.Wipe()
		return b.look()
	case ListDown:
		b.list.Move(1)
	case ListUp:
		b.list.Move(-1)
	case Tree:
		b.list.Tree(!b.list.IsTree())
		b.project.Tree = b.list.IsTree()
		return Remember{Tree: b.project.Tree}
	case EditIt, Delete, DeleteSecret:
		row, ok := b.list.Selected()
		if !ok {
			return nil
		}
		e := b.rows[row]
		name := e.info.Fields[e.field].Name
		if action == EditIt {
			return Push{NewEdit(b.project, b.env, *e.info, draft.Ref{Name: name})}
		}
		return removal(b.project, b.env, *e.info, name, action == DeleteSecret, func(bool) Effect { return b.load() }, b.load)
	case NewIt:
		folder := b.list.Under()
		if _, ok := b.list.Selected(); ok { // a field: beside its secret
			folder = folder[:strings.LastIndexByte(folder, '/')]
			folder = folder[:strings.LastIndexByte(folder, '/')+1]
		}
		return Push{NewPathPrompt(b.project, b.env, folder)}
	case ImportIt:
		return Push{NewImport(b.project, b.env, Source{}, b.project.Path)}
	case Review:
		return Push{NewPending(b.project, b.env)}
	case ShowHide, Peek, CopyIt:
		return ofTarget(action)
	case CopyPath:
		return CopyName{b.list.Under()}
	case Compare:
		return Push{NewComparison(b.project, b.env, "")}
	case SameName:
		return Push{NewComparison(b.project, b.env, b.list.Under())}
	case History, CopyTo:
		row, ok := b.list.Selected()
		if !ok {
			return nil
		}
		info, field := *b.rows[row].info, b.rows[row].info.Fields[b.rows[row].field].Name
		if action == History {
			return Push{NewVersions(b.project, b.env, info.Path, field)}
		}
		return askCopy(b.project, b.env, info, field, nil)
	case StopIt:
		b.reading, b.stopped = false, true
		return Stop{"list"}
	case Reload:
		return b.load()
	}
	return nil
}

// Target implements Screen.
func (b *Browse) Target() (Target, bool) {
	row, ok := b.list.Selected()
	if !ok {
		return Target{}, false
	}
	e := b.rows[row]
	return Target{Env: b.env.Name, Path: e.info.Path, Field: e.info.Fields[e.field].Name, Version: e.info.Version}, true
}

const (
	railWidth  = 16
	factsWidth = 33
)

// Draw implements Screen.
func (b *Browse) Draw(a kit.Area, s Scene) {
	b.now = s.Now
	if b.fresh {
		b.at, b.fresh = s.Now, false
	}
	switch s.Size {
	case kit.Large:
		rail, rest := a.Left(railWidth)
		b.drawRail(rail)
		mid, facts := rest.Left(rest.W - factsWidth)
		b.drawList(mid, s)
		b.drawFacts(facts, s)
	default:
		rows := 2
		if t, ok := b.Target(); s.Size == kit.Small && ok {
			if _, _, shown := s.Values.Shown(t); !shown {
				rows = 1
			}
		}
		list, foot := a.Bottom(rows)
		b.drawList(list, s)
		b.drawBrief(foot, s)
	}
}

func (b *Browse) drawRail(a kit.Area) {
	m := a.Marks()
	a.Text(0, 0, kit.In(kit.Dim), "Environments")
	for i, e := range b.project.Envs {
		mark, st := " ", kit.Style{}
		if e.Name == b.env.Name {
			mark, st = m.Cursor, kit.Style{Attr: kit.Bold}
		}
		key := " "
		if i < 9 {
			key = string(rune('1' + i))
			a.Sub(0, 1+i, a.W, 1).Press(key)
		}
		x := a.Text(0, 1+i, kit.In(kit.Dim), key+" ")
		x = a.Text(x, 1+i, st, mark)
		if e.Protected {
			st = kit.In(kit.Protected)
		}
		x = a.Fit(x, 1+i, min(a.W-x-3, m.Width(label(e))), st, label(e))
		if b.project.Shut(e.Name) {
			a.Text(x+1, 1+i, kit.In(kit.Locked), "L")
		}
	}
	for y := range a.H {
		a.Text(a.W-1, y, kit.In(kit.Border), m.Vert)
	}
}

// drawList is the filter, the titles and the rows, or why there are none.
func (b *Browse) drawList(a kit.Area, s Scene) {
	top, rest := a.Top(1)
	b.drawFilter(top, s)
	if b.trouble != nil {
		y := b.trouble.draw(rest.Inset(1, 0), b.env, s.Now)
		if len(b.rows) == 0 {
			return
		}
		_, rest = rest.Top(y)
	}
	switch {
	case len(b.rows) == 0 && !b.read:
		if busy := s.Lanes.Busy("list"); busy.Shown(s.Now) {
			rest.Text(2, 1, kit.In(kit.Dim), "Reading "+label(b.env)+" "+rest.Marks().Ellipsis)
		} else if b.stopped {
			rest.Text(2, 1, kit.In(kit.Dim), "Stopped. r reads again.")
		}
		return
	case len(b.rows) == 0:
		rest.Inset(2, 1).Paragraph(0, kit.Style{}, "No names in "+label(b.env)+" yet. n begins a secret, i takes a file in.")
		return
	case b.list.Matches() == 0 && b.list.Query() != "":
		rest.Inset(2, 1).Paragraph(0, kit.Style{}, "Nothing matches \""+b.list.Query()+"\" in "+label(b.env)+" ("+kit.Number(len(b.rows))+" names). Esc shows all again.")
		return
	}
	head, rows := rest.Top(1)
	t := kit.NewTable(rows.W-2, kit.Column{Title: "NAME", Width: 26, Grow: 1}, kit.Column{Title: "VER", Width: 4, Right: true, Drop: 3},
		kit.Column{Title: "CHG", Width: 4, Right: true, Drop: 2}, kit.Column{Title: "FLAG", Width: 5, Drop: 1})
	t.Head(head.Sub(2, 0, head.W-2, 1), 0)
	b.list.Alert = b.env.Protected
	b.list.Draw(rows, func(a kit.Area, ln kit.Line) {
		e := b.rows[ln.Row]
		// In a tree the columns keep their places, and the name gives way.
		indent := rows.W - 2 - a.W
		_, w := t.Place(0)
		a.FitEnd(0, 0, w-indent, kit.Style{}, ln.Name)
		cols := ln.Whole
		t.Cell(cols, 0, 1, kit.In(kit.Dim), kit.Number(int(e.info.Fields[e.field].Since)))
		t.Cell(cols, 0, 2, kit.In(kit.Dim), ago(s.Now, e.info.At))
		if when := due(*e.info); !when.IsZero() && s.Now.After(when) {
			t.Cell(cols, 0, 3, kit.In(kit.Danger), "rot!")
		}
		if d := b.project.Drafts.Get(b.env.Name, e.info.Path); d != nil {
			if r, ok := d.Row(draft.Ref{Name: e.info.Fields[e.field].Name}); ok && r.Change != draft.Kept {
				t.Cell(cols, 0, 3, kit.In(kit.Accent), "edit")
			}
		}
	})
}

func (b *Browse) drawFilter(a kit.Area, s Scene) {
	count := kit.Number(len(b.rows)) + " names"
	if b.list.Query() != "" {
		count = kit.Number(b.list.Matches()) + " of " + kit.Number(len(b.rows))
	}
	if !b.read {
		count += " so far"
		if len(b.rows) == 0 {
			count = ""
		}
		if b.stopped && len(b.rows) > 0 {
			count = "stopped at " + kit.Number(len(b.rows))
		}
	}
	if b.broken > 0 {
		count += ", " + kit.Number(b.broken) + " unreadable"
	}
	w := a.Marks().Width(count)
	a.Text(a.W-w-1, 0, kit.In(kit.Dim), count)
	x := a.Text(1, 0, kit.In(kit.Dim), "/")
	field := a.Sub(x, 0, max(a.W-w-4-x, 1), 1)
	drawFilter(field, &b.filter, b.typing, b.list.Query())
}

// drawFacts is what is known of the row under the cursor.
func (b *Browse) drawFacts(a kit.Area, s Scene) {
	m := a.Marks()
	for y := range a.H {
		a.Text(0, y, kit.In(kit.Border), m.Vert)
	}
	in := a.Sub(2, 0, a.W-2, a.H)
	row, ok := b.list.Selected()
	if !ok {
		return
	}
	e := b.rows[row]
	t, _ := b.Target()
	in.FitEnd(0, 0, in.W, kit.Style{Attr: kit.Bold}, e.name)
	y := 2
	line := func(head string, st kit.Style, text string) {
		if text == "" || y >= in.H {
			return
		}
		in.Text(0, y, kit.In(kit.Dim), head)
		for _, l := range m.Wrap(text, max(in.W-8, 1)) {
			in.Text(8, y, st, l)
			y++
		}
	}
	line("version", kit.Style{}, kit.Number(int(e.info.Version))+by(e.info.By)+", "+ago(s.Now, e.info.At)+" ago")
	if since := e.info.Fields[e.field].Since; since != e.info.Version {
		line("since", kit.Style{}, "version "+kit.Number(int(since)))
	}
	f, left, shown := s.Values.Shown(t)
	if shown {
		line("length", kit.Style{}, measure(f))
		in.Text(0, y, kit.Style{Role: kit.Warn, Attr: kit.Bold}, "REVEALED, hides in "+countdown(left))
		y++
	} else {
		in.Text(0, y, kit.In(kit.Dim), "value")
	}
	if shown {
		box := in.Sub(0, y, in.W, min(in.H-y, 8))
		if n := s.Values.Draw(box, t, 0); n > box.H {
			in.Text(0, y+box.H, kit.In(kit.Dim), m.Down+" "+kit.Number(n-box.H)+" more lines: enter")
			y++
		} else {
			y += n - box.H
		}
		y += box.H
	} else {
		s.Values.Draw(in.Sub(8, y, in.W-8, 1), t, 0)
		y++
	}
	if text, role := rotation(*e.info, s.Now); text != "" {
		line("rotate", kit.In(role), text)
	}
	line("tags", kit.Style{}, strings.Join(e.info.Tags, " "))
	line("note", kit.Style{}, e.info.Note)
}

// drawBrief is the same in two lines.
func (b *Browse) drawBrief(a kit.Area, s Scene) {
	t, ok := b.Target()
	if !ok {
		return
	}
	row, _ := b.list.Selected()
	f, left, shown := s.Values.Shown(t)
	if !shown {
		x := a.Text(0, 0, kit.In(kit.Dim), "value ")
		s.Values.Draw(a.Sub(x, 0, kit.MaskWidth, 1), t, 0)
		text, role := rotation(*b.rows[row].info, s.Now)
		a.Fit(x+kit.MaskWidth+2, 0, a.W-x-kit.MaskWidth-2, kit.In(role), text)
		return
	}
	more := ""
	if s.Values.Draw(a.Sub(0, 1, a.W, 1), t, 0) > 1 {
		more = "enter shows all, "
	}
	x := a.Text(0, 0, kit.Style{Role: kit.Warn, Attr: kit.Bold}, "REVEALED "+countdown(left)+"  ")
	a.Fit(x, 0, a.W-x, kit.In(kit.Dim), more+measure(f))
}

func countdown(d time.Duration) string {
	return kit.Number(int((d+time.Second-1)/time.Second)) + "s"
}
