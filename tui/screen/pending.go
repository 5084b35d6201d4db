package screen

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"envrun/tui/draft"
	"envrun/tui/kit"
	"envrun/vault"
)

// Pending is the review: every change to an environment that was made and not
// sent. From here, and from nowhere else, they are sent, all or none.
type Pending struct {
	project *Project
	env     Env

	rows    pendingRows
	list    kit.List
	facts   map[vault.Path]map[vault.FieldName]Facts // of the values that are there; nil: not known
	looked  bool
	trouble *trouble
	box     valueBox
	now     time.Time
}

// A pendingRow is one draft, or one change in it.
type pendingRow struct {
	draft *draft.Draft
	head  bool
	row   draft.Row
}

type pendingRows []pendingRow

// Len implements kit.Rows.
func (r pendingRows) Len() int { return len(r) }

// Name implements kit.Rows.
func (r pendingRows) Name(i int) string {
	if r[i].head {
		return string(r[i].draft.Path())
	}
	return string(r[i].draft.Path()) + " " + refName(r[i].row.Ref)
}

// NewPending is the review of an environment.
func NewPending(p *Project, e Env) *Pending {
	s := &Pending{project: p, env: e}
	s.refresh()
	return s
}

func (p *Pending) refresh() {
	p.rows = nil
	for _, d := range p.project.Drafts.Of(p.env.Name) {
		p.rows = append(p.rows, pendingRow{draft: d, head: true})
		for _, r := range d.Changed() {
			p.rows = append(p.rows, pendingRow{draft: d, row: r})
		}
	}
	p.list.Set(p.rows)
}

// Title implements Screen.
func (p *Pending) Title() string { return "changes to " + string(p.env.Name) }

// Enter implements Screen.
func (p *Pending) Enter() Effect {
	p.refresh()
	return p.look()
}

// look compares the drafts with what is there now.
func (p *Pending) look() Effect {
	drafts := p.project.Drafts.Of(p.env.Name)
	if len(drafts) == 0 {
		return nil
	}
	bases := make([]vault.Info, len(drafts))
	for i, d := range drafts {
		bases[i] = d.Base()
	}
	theirs := make([]draft.Theirs, len(drafts))
	facts := map[vault.Path]map[vault.FieldName]Facts{}
	return Read{
		Lane: "look", What: "looking what is there now", For: time.Minute,
		Do: func(ctx context.Context, r Reading, _ func(func()) bool) (err error) {
			for i, base := range bases {
				if theirs[i], err = theirsOf(ctx, r, p.project, base); err != nil {
					return err
				}
				if p.project.FreeFacts && base.Version > 0 && theirs[i].There() {
					f, _ := r.Facts(ctx, base.Env, base.Path, theirs[i].Now.Version)
					facts[base.Path] = factsByName(f)
				}
			}
			return nil
		},
		Done: func(err error) Effect {
			if err != nil {
				p.trouble = newTrouble(p.project, err)
				return nil
			}
			p.trouble, p.looked, p.facts = nil, true, facts
			for i, d := range drafts {
				if d.Base().Version == bases[i].Version {
					d.Look(theirs[i])
				}
			}
			p.refresh()
			return nil
		},
	}
}

// at is what the cursor is on; ok is false if there is nothing.
func (p *Pending) at() (pendingRow, bool) {
	i, ok := p.list.Selected()
	if !ok {
		return pendingRow{}, false
	}
	return p.rows[i], true
}

// sending reports whether anything is on its way.
func (p *Pending) sending() bool {
	return len(p.rows) > 0 && p.rows[0].draft.Sending()
}

// hindrance is why nothing can be sent now; empty if it can.
func (p *Pending) hindrance() string {
	if len(p.rows) == 0 {
		return "there is nothing to send"
	}
	for _, r := range p.rows {
		switch {
		case !r.head:
		case r.draft.Sending():
			return "it is being sent"
		case r.draft.Theirs() != nil:
			return string(r.draft.Path()) + " was changed by somebody else; D on it compares"
		default:
			if why := bad(r.draft); why != "" {
				return string(r.draft.Path()) + ": " + why
			}
		}
	}
	return ""
}

// Offers implements Screen.
func (p *Pending) Offers() []kit.Offer {
	none, sending := "", ""
	at, ok := p.at()
	if !ok {
		none = "there is nothing here"
	}
	if sending = none; p.sending() {
		sending = "it is being sent"
	}
	offers := []kit.Offer{{ID: SendIt, Off: p.hindrance()}}
	if ok && at.draft.Theirs() != nil {
		offers = append(offers, kit.Offer{ID: Resolve, Off: sending})
	}
	value := "there is no value here"
	if _, ok := p.Target(); ok {
		value = ""
	}
	offers = append(offers, kit.Offer{ID: EditIt, Off: none}, kit.Offer{ID: Open, Off: none}, kit.Offer{ID: Undo, Off: sending},
		kit.Offer{ID: ShowHide, Off: value}, kit.Offer{ID: Peek, Off: value}, kit.Offer{ID: CopyIt, Off: value}, kit.Offer{ID: Reload})
	return append(offers, moves()...)
}

// Do implements Screen.
func (p *Pending) Do(action string) Effect {
	if move(&p.list, action) {
		return nil
	}
	at, _ := p.at()
	switch action {
	case SendIt:
		return p.send()
	case Resolve:
		return resolve(p.project, at.draft, p.now, func() Effect {
			p.refresh()
			return p.look()
		})
	case EditIt, Open:
		e := NewEdit(p.project, p.env, at.draft.Base(), at.row.Ref)
		e.above = true
		return Push{e}
	case Undo:
		return p.undo(at)
	case ShowHide, Peek, CopyIt:
		return ofTarget(action)
	case Reload:
		return p.look()
	}
	return nil
}

// undo takes one change back, or a whole draft.
func (p *Pending) undo(at pendingRow) Effect {
	if !at.head {
		return lose(at.row, func() Effect {
			at.draft.Undo(at.row.Ref)
			p.refresh()
			return nil
		})
	}
	q := &kit.Question{Title: "Drop all changes to " + string(at.draft.Path()) + "?", Role: kit.Warn, Answers: []string{"Keep them", "Drop " + changes(at.draft.Count())}, Lose: []int{1},
		Facts: []string{"What was typed is nowhere else, and cannot be brought back."}}
	return Ask{Dialog: q, Then: func() Effect {
		if answer, ok := q.Taken(); ok && answer == 1 {
			p.project.Drafts.Discard(at.draft)
			p.refresh()
		}
		return nil
	}}
}

func changes(n int) string {
	if n == 1 {
		return "1 change"
	}
	return kit.Number(n) + " changes"
}

// send asks, and sends.
func (p *Pending) send() Effect {
	drafts := p.project.Drafts.Of(p.env.Name)
	harm, count := kit.Writes, 0
	var facts []string
	var shown [][]draft.Row
	for _, d := range drafts {
		count += d.Count()
		if d.Destroys() {
			harm = kit.Destroys
		}
		var parts []string
		rows := d.Changed()
		shown = append(shown, rows)
		for _, r := range rows {
			text, _ := changeText(r)
			parts = append(parts, r.Ref.String()+" "+text)
		}
		version := fmt.Sprintf("version %d", d.Base().Version+1)
		if d.Base().Version == 0 {
			version = "new"
		}
		facts = append(facts, string(d.Path())+", "+version+": "+strings.Join(parts, ", "))
	}
	if len(drafts) > 1 {
		facts = append(facts, "All of it is written, or nothing.")
	}
	box := Confirmation(p.env, harm, "Send "+changes(count)+" to "+label(p.env)+"?", "send", facts...)
	bases := make([]uint64, len(drafts))
	for i, d := range drafts {
		bases[i] = d.Base().Version
	}
	return Ask{Dialog: box, Then: func() Effect {
		if !box.Consent().OK() {
			return nil
		}
		for i, d := range drafts { // a value that was waited for may have come into one meanwhile
			if d.Gone() || d.Base().Version != bases[i] || !slices.Equal(d.Changed(), shown[i]) {
				return Say{kit.Notice{Role: kit.Warn, Sticky: true, Text: "Not sent: " + string(d.Path()) + " is not what was shown any more. Look at it again."}}
			}
		}
		return Send{Consent: box.Consent(), Drafts: drafts, Done: func(infos []vault.Info, err error) Effect {
			p.refresh()
			if err != nil {
				return p.notSent(err)
			}
			var said []string
			for i, info := range infos {
				text := fmt.Sprintf("%s is version %d", info.Path, info.Version)
				if info.Version == bases[i] {
					text = string(info.Path) + " was so already"
				}
				said = append(said, text)
			}
			return All{Say{kit.Notice{Role: kit.OK, Text: "Sent: " + strings.Join(said, ", ") + "."}}, Pop{}}
		}}
	}}
}

// notSent says why, and that nothing is lost.
func (p *Pending) notSent(err error) Effect {
	const kept = ", and your changes are kept"
	switch vault.KindOf(err) {
	case vault.KindConflict:
		return All{Say{kit.Notice{Role: kit.Warn, Sticky: true, Text: "Not sent" + kept + ": somebody else has written meanwhile."}}, p.look()}
	case vault.KindUnavailable:
		// It may have been written all the same: what is there now tells.
		what, next := p.project.Explain(err)
		return All{Say{kit.Notice{Role: kit.Danger, Sticky: true, Text: "Not known to be sent" + kept + ": " + what, Details: what + "\n" + next}}, p.look()}
	}
	what, next := p.project.Explain(err)
	return Say{kit.Notice{Role: kit.Danger, Sticky: true, Text: "Not sent" + kept + ": " + what, Details: "Not sent" + kept + ".\n" + what + "\n" + next}}
}

// Target implements Screen.
func (p *Pending) Target() (Target, bool) {
	at, ok := p.at()
	if !ok || at.head || !at.row.Typed {
		return Target{}, false
	}
	return Target{Env: p.env.Name, Path: at.draft.Path(), Field: at.row.Name, Typed: true}, true
}

// Draw implements Screen.
func (p *Pending) Draw(a kit.Area, s Scene) {
	p.now = s.Now
	p.refresh()
	m := a.Marks()
	secrets, count := 0, 0
	for _, r := range p.rows {
		if r.head {
			secrets, count = secrets+1, count+r.draft.Count()
		}
	}
	right := "sent together, or not at all"
	if s.Size == kit.Small {
		right = ""
	}
	x := a.Text(0, 0, kit.Style{Attr: kit.Bold}, "Changes to "+label(p.env))
	if count > 0 {
		x = a.Text(x+2, 0, kit.In(kit.Dim), changes(count))
	}
	if w := m.Width(right); x+2+w <= a.W && count > 0 {
		a.FitRight(x+2, 0, a.W-x-2, kit.In(kit.Dim), right)
	}
	_, in := a.Top(1)
	if s.Size == kit.Large {
		_, in = a.Top(2)
	}
	in = drawState(in, s, p.env, p.trouble, !p.looked, "look", "Looking what is there now")
	others := 0
	for _, e := range p.project.Envs {
		if e.Name != p.env.Name {
			for _, d := range p.project.Drafts.Of(e.Name) {
				others += d.Count()
			}
		}
	}
	if others > 0 && in.H > 6 {
		rest, bottom := in.Bottom(1)
		bottom.Text(0, 0, kit.In(kit.Dim), changes(others)+" to other environments: 1-9 goes there")
		in = rest
	}
	if len(p.rows) == 0 {
		in.Paragraph(0, kit.Style{}, "Nothing waits to be sent to "+label(p.env)+".")
		return
	}
	p.drawRows(p.drawBottom(in, s), s)
}

// drawBottom is what is under the list: what keeps it from being sent, and the value.
func (p *Pending) drawBottom(a kit.Area, s Scene) kit.Area {
	at, ok := p.at()
	if !ok {
		return a
	}
	small := s.Size == kit.Small
	if t := at.draft.Theirs(); t != nil && a.H > 4 {
		text := "! " + conflictLine(at.draft, s.Now) + " D compares."
		lines := a.Marks().Wrap(text, a.W)
		if small {
			lines, text = lines[:1], conflictBrief(at.draft)
		}
		rest, bottom := a.Bottom(len(lines))
		if small {
			bottom.Fit(0, 0, bottom.W, kit.Style{Role: kit.Warn, Attr: kit.Bold}, text)
		} else {
			bottom.Paragraph(0, kit.Style{Role: kit.Warn, Attr: kit.Bold}, text)
		}
		a = rest
	} else if problems := at.draft.Problems(); len(problems) > 0 && a.H > 5 {
		most := 3
		if small {
			most = 1
		}
		rest, bottom := a.Bottom(min(len(problems), most))
		drawProblems(bottom, problems, most)
		a = rest
	}
	if t, ok := p.Target(); ok {
		return p.box.draw(a, s, t, "hidden", measure(at.row.Facts), nil, small)
	}
	return a
}

func (p *Pending) drawRows(a kit.Area, s Scene) {
	t := kit.NewTable(a.W-2, kit.Column{Width: 20, Grow: 2}, kit.Column{Width: 8}, kit.Column{Width: 22, Grow: 1, Drop: 1})
	p.list.Alert = p.env.Protected
	p.list.Draw(a, func(a kit.Area, ln kit.Line) {
		r := p.rows[ln.Row]
		if r.head {
			base := r.draft.Base().Version
			text := fmt.Sprintf("version %d to %d", base, base+1)
			if base == 0 {
				text = "new secret"
			}
			st := kit.In(kit.Dim)
			switch {
			case r.draft.Sending():
				text = "being sent"
			case r.draft.Theirs() != nil:
				text, st = "changed by "+r.draft.Theirs().Who(), kit.In(kit.Warn)
			}
			w := a.Marks().Width(text)
			a.FitRight(a.W-w-1, 0, w, st, text)
			a.FitEnd(0, 0, a.W-w-3, kit.Style{Attr: kit.Bold}, string(r.draft.Path()))
			return
		}
		mark, role := "~", kit.Accent
		switch r.row.Change {
		case draft.Added:
			mark, role = "+", kit.Added
		case draft.Removed:
			mark, role = "-", kit.Removed
		}
		_, w := t.Place(0)
		a.Text(0, 0, kit.In(role), mark)
		a.Fit(2, 0, w-2, kit.Style{}, r.row.Ref.String())
		text, role := changeText(r.row)
		t.Cell(a, 0, 1, kit.In(role), text)
		t.Cell(a, 0, 2, kit.In(kit.Dim), valueText(r.row, p.facts[r.draft.Path()]))
	})
}
