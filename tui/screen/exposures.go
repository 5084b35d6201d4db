package screen

import (
	"context"
	"time"

	"envrun/tui/draft"
	"envrun/tui/kit"
	"envrun/vault"
)

// Exposures is what is to be replaced: the fields that former members could
// read, and that have had no new value since.
type Exposures struct {
	project *Project
	env     Env
	list    kit.List
	rows    exposed
	read    bool
	at      time.Time
	trouble *trouble
	scene   Scene // of the last picture
}

type exposed []Exposed

// Len implements kit.Rows.
func (x exposed) Len() int { return len(x) }

// Name implements kit.Rows.
func (x exposed) Name(row int) string { return string(x[row].Path) + "/" + string(x[row].Field) }

// NewExposures is what is to be replaced in an environment.
func NewExposures(p *Project, e Env) *Exposures { return &Exposures{project: p, env: e} }

// Title implements Screen.
func (x *Exposures) Title() string { return "to replace in " + string(x.env.Name) }

// Place implements Placed.
func (x *Exposures) Place() (string, vault.Env) { return GoExposed, x.env.Name }

// Enter implements Screen.
func (x *Exposures) Enter() Effect { return x.load() }

func (x *Exposures) load() Effect {
	env := x.env.Name
	var rows []Exposed
	return Read{
		Lane: "exposed", What: "reading what is to be replaced in " + string(env), For: 30 * time.Second,
		Do: func(ctx context.Context, r Reading, _ func(func()) bool) (err error) {
			rows, err = r.Access().Exposed(ctx, env)
			return err
		},
		Done: func(err error) Effect {
			if err != nil {
				t := newTrouble(x.project, err)
				if x.read {
					t.at = x.at
				}
				x.trouble = t
				return nil
			}
			x.trouble, x.rows, x.read, x.at = nil, rows, true, x.scene.Now
			x.list.Set(x.rows)
			return nil
		},
	}
}

func (x *Exposures) selected() (Exposed, bool) {
	row, ok := x.list.Selected()
	if !ok || row >= len(x.rows) {
		return Exposed{}, false
	}
	return x.rows[row], true
}

// Offers implements Screen.
func (x *Exposures) Offers() []kit.Offer {
	none := ""
	if _, ok := x.selected(); !ok {
		none = "there is nothing under the cursor"
	}
	return append([]kit.Offer{{ID: Open, Off: none, Name: "replace"}, {ID: EditIt, Off: none}, {ID: CopyPath, Off: none}, {ID: Reload}}, moves()...)
}

// Do implements Screen.
func (x *Exposures) Do(action string) Effect {
	if move(&x.list, action) {
		return nil
	}
	switch action {
	case Open, EditIt:
		if row, ok := x.selected(); ok {
			return x.open(row)
		}
	case CopyPath:
		return CopyName{Text: x.list.Under()}
	case Reload:
		return x.load()
	}
	return nil
}

// open goes to where the value gets another.
func (x *Exposures) open(row Exposed) Effect {
	var info vault.Info
	env := x.env.Name
	return Read{
		Lane: "open", What: "reading " + string(row.Path),
		Do: func(ctx context.Context, r Reading, _ func(func()) bool) (err error) {
			info, err = r.Info(ctx, env, row.Path)
			return err
		},
		Done: func(err error) Effect {
			if err != nil {
				return All{said(x.project, "Not opened", err), x.load()}
			}
			if now, ok := x.selected(); !ok || now.Path != row.Path || now.Field != row.Field {
				return nil // the cursor has moved on
			}
			return Present{Screen: NewEdit(x.project, x.env, info, draft.Ref{Name: row.Field})}
		},
	}
}

// Target implements Screen.
func (x *Exposures) Target() (Target, bool) { return Target{}, false }

// Draw implements Screen.
func (x *Exposures) Draw(a kit.Area, s Scene) {
	x.scene = s
	if x.trouble != nil {
		y := x.trouble.draw(a.Inset(1, 0), x.env, s.Now)
		_, a = a.Top(y)
	}
	switch {
	case !x.read:
		if x.trouble == nil && s.Lanes.Busy("exposed").Shown(s.Now) {
			a.Text(2, 1, kit.In(kit.Dim), "Reading what is to be replaced in "+label(x.env)+" "+a.Marks().Ellipsis)
		}
		return
	case len(x.rows) == 0:
		a.Inset(2, 1).Paragraph(0, kit.Style{}, "Nothing in "+label(x.env)+" is to be replaced: former members could read no value that is in use.")
		return
	}
	head, in := a.Top(1)
	head.Fit(0, 0, head.W, kit.Style{Role: kit.Warn, Attr: kit.Bold}, count(len(x.rows), "value")+" to replace in "+label(x.env))
	rows, foot := in.Bottom(2)
	if s.Size == kit.Large {
		rows, foot = in.Bottom(4)
	}
	t := kit.NewTable(rows.W-2, kit.Column{Title: "NAME", Width: 18, Grow: 2}, kit.Column{Title: "COULD READ IT", Width: 16, Grow: 1, Drop: 1}, kit.Column{Title: "GONE", Width: 5, Right: true, Drop: 2})
	if s.Size != kit.Small {
		var top kit.Area
		top, rows = rows.Top(1)
		t.Head(top.Sub(2, 0, top.W-2, 1), 0)
	}
	x.list.Alert = x.env.Protected
	x.list.Draw(rows, func(a kit.Area, ln kit.Line) {
		r := x.rows[ln.Row]
		_, w := t.Place(0)
		a.FitEnd(0, 0, w, kit.Style{}, ln.Name)
		t.Cell(a, 0, 1, kit.Style{}, join(r.Who, 2))
		t.Cell(a, 0, 2, kit.In(kit.Dim), ago(s.Now, r.At))
	})
	x.drawFoot(foot, s)
}

func (x *Exposures) drawFoot(a kit.Area, s Scene) {
	r, ok := x.selected()
	if !ok {
		return
	}
	if s.Size == kit.Small {
		a.Fit(0, 0, a.W, kit.In(kit.Dim), join(r.Who, 2)+" could read it, left "+ago(s.Now, r.At)+" ago")
		a.Fit(0, 1, a.W, kit.Style{}, "Replace it at its source, then here.")
		return
	}
	text := "Make a new one at its source, then type it here (enter): it leaves this list when it is sent."
	if a.H > 2 {
		text += " A value that is written again as it was is taken for a new one."
	}
	y := 0
	if a.H > 2 {
		a.Fit(0, 0, a.W, kit.In(kit.Dim), join(r.Who, 6)+" could read it until "+clock(s.Now, r.At))
		y = 1
	}
	for _, l := range a.Marks().Wrap(text, a.W) {
		a.Text(0, y, kit.In(kit.Dim), l)
		y++
	}
}
