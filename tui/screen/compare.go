package screen

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"envrun/tui/kit"
	"envrun/vault"
)

// Comparison is environments side by side: which name is where, how long its
// value is, and which values are equal. To tell that, values are opened where
// they are read, and forgotten; what is told of them holds in this session only.
type Comparison struct {
	project *Project
	env     Env // where we came from
	sets    [][]Env
	set     int // which of sets is compared
	side    int // the column that the cursor is in

	columns []*column // of sets[set]
	all     []pairing // every name, sorted
	rows    pairings  // those that are shown
	list    kit.List
	filter  kit.Field
	typing  bool
	show    showing
	read    bool // the columns are all there
	reading bool
	valued  bool // values are compared too, not names alone
	wanted  string
	doing   string // how far it is
}

// A column is one environment in a comparison.
type column struct {
	env     Env
	secrets map[vault.Path]vault.Info
	facts   map[vault.Path][]Facts // nil of a path: not known
	broken  map[vault.Path]bool    // its values could not be read
	locked  bool                   // names can be read, values cannot
	trouble *trouble               // nothing could be read
}

// showing is which names are shown.
type showing uint8

const (
	showDifferent showing = iota
	showAll
	showMissing
)

func (s showing) String() string {
	return [...]string{"differences", "all", "missing"}[s]
}

// A pairing is one name in all columns.
type pairing struct {
	name  string // path/FIELD
	path  vault.Path
	field vault.FieldName
	cells []cell
	what  string // the verdict
	kind  verdict
}

type verdict uint8

const (
	verdictSame verdict = iota
	verdictThere
	verdictUnknown
	verdictDiffer
	verdictMissing
)

// A cell is one name in one environment.
type cell struct {
	there bool
	facts *Facts // nil: not counted
	equal bool   // to another cell of its row
}

type pairings []pairing

// Len implements kit.Rows.
func (p pairings) Len() int { return len(p) }

// Name implements kit.Rows.
func (p pairings) Name(row int) string { return p[row].name }

// NewComparison compares environments, beginning with e. With a name, path/FIELD,
// it shows that one, wherever it is.
func NewComparison(p *Project, e Env, name string) *Comparison {
	c := &Comparison{project: p, env: e, sets: setsOf(p.Envs, e), valued: p.FreeFacts, wanted: name}
	if name != "" {
		c.show = showAll
		c.filter.Set("^" + name + "$")
	}
	c.choose(0)
	return c
}

// setsOf are the environments that can be compared at once: all, if they are
// three, and every pair, those with e first.
func setsOf(envs []Env, e Env) [][]Env {
	var sets, others [][]Env
	if len(envs) == 3 {
		sets = append(sets, envs)
	}
	for i, a := range envs {
		for _, b := range envs[i+1:] {
			pair := []Env{a, b}
			if a.Name == e.Name || b.Name == e.Name {
				sets = append(sets, pair)
			} else {
				others = append(others, pair)
			}
		}
	}
	return append(sets, others...)
}

// choose goes to another set. What was read of an environment is kept.
func (c *Comparison) choose(set int) {
	if len(c.sets) == 0 {
		return
	}
	had := c.columns
	c.set = (set + len(c.sets)) % len(c.sets)
	c.columns, c.read, c.side = nil, false, 0
	for i, e := range c.sets[c.set] {
		col := &column{env: e}
		if j := slices.IndexFunc(had, func(o *column) bool { return o.env.Name == e.Name }); j >= 0 {
			col = had[j]
		}
		c.columns = append(c.columns, col)
		if e.Name == c.env.Name {
			c.side = i
		}
	}
}

// Title implements Screen.
func (c *Comparison) Title() string {
	var names []string
	for _, col := range c.columns {
		names = append(names, string(col.env.Name))
	}
	return "compare " + strings.Join(names, ", ")
}

// Enter implements Screen.
func (c *Comparison) Enter() Effect { return c.load() }

// pageOfSecrets is how many secrets are opened between two pictures.
const pageOfSecrets = 100

// load reads names, then values, of each environment in turn, and shows what
// there is. A new one replaces what was there when it is complete.
func (c *Comparison) load() Effect {
	if len(c.columns) == 0 {
		return nil
	}
	c.reading = true
	first := !c.read
	columns := make([]*column, len(c.columns))
	for i, col := range c.columns {
		columns[i] = &column{env: col.env}
	}
	valued := c.valued
	return Read{
		Lane: "compare", What: "comparing", For: 5 * time.Minute,
		Do: func(ctx context.Context, r Reading, show func(func()) bool) error {
			report := func(doing string, partly bool) bool {
				var all []pairing
				var known []*column
				if partly && first {
					all = pair(columns, valued)
					for _, col := range columns {
						known = append(known, col.snapshot())
					}
				}
				return show(func() {
					c.doing = doing
					if all != nil {
						c.columns, c.all = known, all
						c.pick()
					}
				})
			}
			for _, col := range columns {
				if !report("reading the names of "+string(col.env.Name), false) {
					return context.Canceled
				}
				if err := col.readNames(ctx, r, c.project); err != nil {
					return err
				}
			}
			if valued {
				for _, col := range columns {
					if err := col.readValues(ctx, r, c.project, func(n int) bool {
						return report(kit.Number(n)+" of "+plural(len(col.secrets), "secret")+" in "+string(col.env.Name), n%1000 == 0)
					}); err != nil {
						return err
					}
				}
			}
			all := pair(columns, valued)
			show(func() { c.columns, c.all = columns, all })
			return nil
		},
		Done: func(err error) Effect {
			c.reading, c.doing = false, ""
			if err != nil {
				what, next := c.project.Explain(err)
				return Say{kit.Notice{Role: kit.Danger, Sticky: true, Text: "Not all was compared: " + what, Details: what + "\n" + next}}
			}
			c.read = true
			return c.refresh()
		},
	}
}

// snapshot is a column as it is now, for whoever draws it while it is read.
func (col *column) snapshot() *column {
	known := *col
	known.facts, known.broken = nil, maps.Clone(col.broken)
	return &known
}

// readNames reads which secrets and fields there are. What an environment cannot
// say of itself is its trouble, and no reason to show nothing of the others.
func (col *column) readNames(ctx context.Context, r Reading, p *Project) error {
	col.secrets, col.facts, col.broken = map[vault.Path]vault.Info{}, map[vault.Path][]Facts{}, map[vault.Path]bool{}
	for info, err := range r.List(ctx, col.env.Name) {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && info.Path == "":
			col.trouble = newTrouble(p, err)
			return nil
		case err != nil:
			col.broken[info.Path] = true
		default:
			col.secrets[info.Path] = info
		}
	}
	return ctx.Err()
}

// readValues opens each secret once.
func (col *column) readValues(ctx context.Context, r Reading, p *Project, step func(n int) bool) error {
	n := 0
	for path, info := range col.secrets {
		if n%pageOfSecrets == 0 && !step(n) {
			return context.Canceled
		}
		n++
		facts, err := r.Facts(ctx, col.env.Name, path, info.Version)
		switch kind := vault.KindOf(err); {
		case ctx.Err() != nil:
			return ctx.Err()
		case kind == vault.KindDenied || kind == vault.KindNoIdentity:
			col.locked = true
			return nil
		case kind == vault.KindUnavailable:
			col.trouble = newTrouble(p, err)
			return nil
		case err != nil:
			col.broken[path] = true
		default:
			col.facts[path] = facts
		}
	}
	return nil
}

// pair puts columns beside each other.
func pair(columns []*column, valued bool) []pairing {
	all := map[string]*pairing{}
	for i, col := range columns {
		for path, info := range col.secrets {
			for _, f := range info.Fields {
				name := string(path) + "/" + string(f.Name)
				p := all[name]
				if p == nil {
					p = &pairing{name: name, path: path, field: f.Name, cells: make([]cell, len(columns))}
					all[name] = p
				}
				p.cells[i].there = true
				facts := col.facts[path]
				if j := slices.IndexFunc(facts, func(o Facts) bool { return o.Name == f.Name }); j >= 0 {
					p.cells[i].facts = &facts[j]
				}
			}
		}
	}
	rows := make([]pairing, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		all[name].judge(columns, valued)
		rows = append(rows, *all[name])
	}
	return rows
}

// judge says what a row comes to. A column that could not be read counts neither
// as there nor as missing.
func (p *pairing) judge(columns []*column, valued bool) {
	var there, missing, unknown []string
	prints := map[string][]int{}
	for i, col := range columns {
		name := label(col.env)
		switch cl := p.cells[i]; {
		case col.trouble != nil, col.broken[p.path] && !cl.there:
			unknown = append(unknown, name)
		case !cl.there:
			missing = append(missing, name)
		default:
			there = append(there, name)
			if cl.facts == nil {
				unknown = append(unknown, name)
				continue
			}
			prints[cl.facts.Print] = append(prints[cl.facts.Print], i)
		}
	}
	for _, equal := range prints {
		for _, i := range equal {
			p.cells[i].equal = len(equal) > 1
		}
	}
	switch {
	case len(missing) > 0 && len(there) == 1 && len(columns) > 2:
		p.kind, p.what = verdictMissing, "only in "+there[0]
	case len(missing) > 0:
		p.kind, p.what = verdictMissing, "missing in "+strings.Join(missing, ", ")
	case len(prints) > 1:
		p.kind, p.what = verdictDiffer, "differ"
		if len(prints) == 2 && len(columns) > 2 {
			for _, equal := range prints {
				if len(equal) == 1 && len(unknown) == 0 {
					p.what = label(columns[equal[0]].env) + " differs"
				}
			}
		}
	case len(unknown) > 0 && valued:
		p.kind, p.what = verdictUnknown, strings.Join(unknown, ", ")+" cannot be read"
	case len(unknown) > 0:
		p.kind, p.what = verdictThere, "in each"
	default:
		p.kind, p.what = verdictSame, "same"
	}
}

// pick shows the rows of c.all that are asked for, at once.
func (c *Comparison) pick() *kit.Search {
	c.rows = nil
	for _, p := range c.all {
		if c.show == showAll || c.show == showMissing && p.kind == verdictMissing ||
			c.show == showDifferent && p.kind > verdictThere {
			c.rows = append(c.rows, p)
		}
	}
	return c.list.Set(c.rows)
}

// refresh shows the rows that are asked for, filtered by what is typed.
func (c *Comparison) refresh() Effect {
	c.pick()
	effect := c.look()
	if c.wanted != "" && c.list.Select(c.wanted) {
		c.wanted = ""
	}
	return effect
}

// look filters by what is typed.
func (c *Comparison) look() Effect {
	return filtering(&c.list, c.filter.Text())
}

// Input implements Typist.
func (c *Comparison) Input() Input {
	if !c.typing {
		return nil
	}
	return &c.filter
}

// Typed implements Typist.
func (c *Comparison) Typed() Effect { return c.look() }

// Asks implements Typist.
func (c *Comparison) Asks() string { return filterAsks }

// Offers implements Screen.
func (c *Comparison) Offers() []kit.Offer {
	if c.typing {
		return []kit.Offer{{ID: KeepFilter}, {ID: ClearFilter}, {ID: ListDown}, {ID: ListUp}}
	}
	var sets, none, absent string
	if len(c.sets) < 2 {
		sets = "there are no other environments to compare"
	}
	row, ok := c.list.Selected()
	switch {
	case !ok:
		none = "there is no name under the cursor"
		absent = none
	case !c.rows[row].cells[c.side].there:
		absent = "it is not in " + string(c.columns[c.side].env.Name)
	}
	offers := []kit.Offer{{ID: Next, Off: none}, {ID: CopyTo, Off: absent}, {ID: ShowRows}, {ID: NextPair, Off: sets}, {ID: PrevPair, Off: sets}, {ID: Filter}, {ID: Open, Off: absent}, {ID: CopyPath, Off: none}}
	if !c.valued {
		offers = append(offers, kit.Offer{ID: Diff})
	}
	switch {
	case c.reading:
		offers = append(offers, kit.Offer{ID: StopIt})
	case c.list.Query() != "":
		offers = append(offers, kit.Offer{ID: ClearFilter})
	}
	return append(append(offers, kit.Offer{ID: Reload}), moves()...)
}

// Do implements Screen.
func (c *Comparison) Do(action string) Effect {
	if move(&c.list, action) {
		return nil
	}
	switch action {
	case Next:
		c.side = (c.side + 1) % len(c.columns)
	case ShowRows:
		c.show = (c.show + 1) % (showMissing + 1)
		return c.refresh()
	case NextPair, PrevPair:
		by := 1
		if action == PrevPair {
			by = -1
		}
		c.choose(c.set + by)
		c.all = nil
		return All{c.refresh(), c.load()}
	case Filter:
		c.typing = true
	case KeepFilter:
		c.typing = false
	case ClearFilter:
		c.typing = false
		c.filter.Wipe()
		return c.look()
	case ListDown:
		c.list.Move(1)
	case ListUp:
		c.list.Move(-1)
	case Diff:
		c.valued = true
		return c.load()
	case StopIt:
		c.reading, c.doing = false, ""
		return Stop{"compare"}
	case Reload:
		return c.load()
	case CopyPath:
		return CopyName{c.list.Under()}
	}
	row, ok := c.list.Selected()
	if !ok {
		return nil
	}
	p, col := c.rows[row], c.columns[c.side]
	switch action {
	case Open:
		info, ok := col.secrets[p.path]
		if !ok {
			return nil
		}
		// The header is about one environment: a secret of another is looked at there.
		open := Push{NewSecret(c.project, col.env, info, p.field)}
		if col.env.Name != c.env.Name {
			return All{Switch{col.env.Name}, open}
		}
		return open
	case CopyTo:
		info := col.secrets[p.path]
		return askCopy(c.project, col.env, info, p.field, c.load)
	}
	return nil
}

// Target implements Screen: nothing is revealed here, where several values of
// one name stand beside each other.
func (c *Comparison) Target() (Target, bool) { return Target{}, false }

// Draw implements Screen.
func (c *Comparison) Draw(a kit.Area, s Scene) {
	m := a.Marks()
	c.drawTop(a, s)
	_, in := a.Top(2)
	if len(c.columns) == 0 {
		in.Inset(2, 0).Paragraph(0, kit.Style{}, "There is one environment only, and nothing to compare it with.")
		return
	}
	bad := 0
	for _, col := range c.columns {
		if col.trouble == nil {
			continue
		}
		bad++
		if s.Size == kit.Small && len(c.rows) > 0 { // the rows need the room
			in.Fit(0, 0, in.W, kit.In(kit.Danger), "! "+label(col.env)+": "+col.trouble.text)
			_, in = in.Top(1)
			continue
		}
		y := col.trouble.draw(in.Inset(1, 0), col.env, s.Now)
		_, in = in.Top(y)
	}
	for _, col := range c.columns {
		if !col.locked {
			continue
		}
		text := "L " + label(col.env) + " is locked for you: its names can be compared, its values cannot."
		if s.Size == kit.Small {
			text = "L " + label(col.env) + " is locked for you: names only"
		}
		y := in.Paragraph(0, kit.Style{Role: kit.Locked, Attr: kit.Bold}, text)
		_, in = in.Top(y)
	}
	switch {
	case len(c.rows) == 0 && !c.read:
		busy := s.Lanes.Busy("compare")
		switch {
		case busy.Shown(s.Now):
			in.Fit(2, 0, in.W-2, kit.In(kit.Dim), "Comparing "+m.Ellipsis+" "+c.doing)
		case !c.reading:
			in.Fit(2, 0, in.W-2, kit.In(kit.Dim), "Stopped. r reads again.")
		}
		return
	case len(c.all) == 0 && bad < len(c.columns):
		in.Inset(2, 0).Paragraph(0, kit.Style{}, "There are no names in any of them yet.")
		return
	case len(c.rows) == 0 && bad < len(c.columns):
		text := "Nothing differs: " + plural(len(c.all), "name") + ", the same values in each. f shows them."
		switch {
		case c.show == showMissing:
			text = "Nothing is missing: " + plural(len(c.all), "name") + " in each. f shows them."
		case !c.valued:
			text = "No name is missing: " + plural(len(c.all), "name") + " in each. D compares the values too, which is written down as reading them."
		}
		in.Inset(2, 0).Paragraph(0, kit.Style{}, text)
		return
	case len(c.rows) == 0:
		return
	case c.list.Matches() == 0 && c.list.Query() != "":
		in.Inset(2, 0).Paragraph(0, kit.Style{}, "Nothing matches \""+c.list.Query()+"\" here ("+plural(len(c.rows), "name")+"). Esc shows all again.")
		return
	}
	foot := 1
	if s.Size == kit.Large {
		foot = 2
	}
	in, below := in.Bottom(foot)
	c.drawRows(in, s)
	notes := []string{"Nothing was revealed to draw this table.", "Numbers are lengths in bytes; = marks values that are equal."}
	if !c.valued {
		notes = []string{"Names only. D compares the values too, which is written down as reading them.", ""}
	}
	if foot == 1 {
		notes = notes[:1]
		if c.valued {
			notes[0] = "Lengths only; = equal. Nothing was revealed."
		}
	}
	for y, text := range notes {
		below.Fit(1, y, below.W-1, kit.In(kit.Dim), text)
	}
}

// drawTop is which environments, which names of them, and the filter.
func (c *Comparison) drawTop(a kit.Area, s Scene) {
	m := a.Marks()
	x := 0
	if s.Size != kit.Small {
		x = a.Text(1, 0, kit.In(kit.Dim), "Compare") + 2
	}
	for i, col := range c.columns {
		if i > 0 {
			x = a.Text(x, 0, kit.In(kit.Border), " | ")
		}
		st := kit.Style{Attr: kit.Bold}
		if col.env.Protected {
			st = kit.In(kit.Protected)
		}
		x = a.Text(x, 0, st, label(col.env))
	}
	var shows string
	for _, sh := range []showing{showDifferent, showAll, showMissing} {
		switch {
		case sh == c.show:
			shows += m.BracketOn + sh.String() + m.BracketX + " "
		case s.Size == kit.Large:
			shows += " " + sh.String() + "  "
		}
	}
	shows = strings.TrimRight(shows, " ")
	w := m.Width(shows)
	if x+2+w <= a.W {
		a.Text(a.W-w, 0, kit.In(kit.Dim), shows)
	}
	count := kit.Number(len(c.rows)) + " of " + plural(len(c.all), "name")
	if c.list.Query() != "" {
		count = kit.Number(c.list.Matches()) + " of " + count
	}
	if c.reading && c.doing != "" && s.Lanes.Busy("compare").Shown(s.Now) && len(c.rows) > 0 {
		count = c.doing
	}
	w = min(m.Width(count), a.W/2)
	a.FitRight(a.W-w, 1, w, kit.In(kit.Dim), count)
	x = a.Text(1, 1, kit.In(kit.Dim), "/")
	field := a.Sub(x, 1, max(a.W-w-2-x, 1), 1)
	drawFilter(field, &c.filter, c.typing, c.list.Query())
}

func (c *Comparison) drawRows(a kit.Area, s Scene) {
	m := a.Marks()
	head, rows := a.Top(1)
	name, wide := 12, 9
	if s.Size == kit.Small {
		name, wide = 10, 7
	}
	columns := []kit.Column{{Title: "NAME", Width: name, Grow: 2}}
	for i, col := range c.columns {
		title := label(col.env)
		if i == c.side {
			title = m.BracketOn + title + m.BracketX
		}
		columns = append(columns, kit.Column{Title: title, Width: wide, Right: true})
	}
	verdictColumn := len(columns)
	columns = append(columns, kit.Column{Title: "VERDICT", Width: 12, Grow: 1, Drop: 1})
	t := kit.NewTable(rows.W-2, columns...)
	t.Head(head.Sub(2, 0, head.W-2, 1), 0)
	c.list.Alert = c.columns[c.side].env.Protected
	c.list.Draw(rows, func(a kit.Area, ln kit.Line) {
		p := c.rows[ln.Row]
		_, w := t.Place(0)
		a.FitEnd(0, 0, w, kit.Style{}, ln.Name)
		for i, cl := range p.cells {
			st, text := c.cellText(p, i, cl)
			if i == c.side && ln.Selected {
				st.Attr |= kit.Underline
			}
			t.Cell(a, 0, 1+i, st, text)
		}
		st := kit.Style{}
		switch p.kind {
		case verdictMissing:
			st = kit.Style{Role: kit.Warn, Attr: kit.Bold}
		case verdictSame, verdictThere:
			st = kit.In(kit.Dim)
		case verdictUnknown:
			st = kit.In(kit.Locked)
		}
		t.Cell(a, 0, verdictColumn, st, p.what)
	})
}

func (c *Comparison) cellText(p pairing, i int, cl cell) (kit.Style, string) {
	col := c.columns[i]
	switch {
	case col.trouble != nil, col.broken[p.path]:
		return kit.In(kit.Danger), "?"
	case !cl.there:
		return kit.Style{Role: kit.Warn, Attr: kit.Bold}, "-"
	case cl.facts == nil && col.locked:
		return kit.In(kit.Locked), "set L"
	case cl.facts == nil:
		return kit.Style{}, "set"
	}
	mark := "  "
	if cl.equal {
		mark = " ="
	}
	return kit.Style{}, length(*cl.facts) + mark
}
