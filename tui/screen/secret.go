package screen

import (
	"context"
	"fmt"
	"strings"

	"envrun/tui/draft"
	"envrun/tui/kit"
	"envrun/vault"
)

// Secret is one secret: its fields, and what may be said of the one that the
// cursor is on. Its value is a mask until it is asked for.
type Secret struct {
	project *Project
	env     Env
	info    vault.Info
	at      int // the field that is looked at

	facts   map[vault.FieldName]Facts // of this version; nil: not counted
	injects Injections                // what commands get of it
	skip    int                       // lines of the value that are scrolled away
	lines   int                       // of the value, as drawn last
	room    int
	gone    bool   // it was deleted meanwhile
	changed string // what has changed under us
	trouble *trouble
}

// NewSecret is the screen of one secret, on one of its fields.
func NewSecret(p *Project, e Env, info vault.Info, field vault.FieldName) *Secret {
	s := &Secret{project: p, env: e, info: info}
	s.sel(field)
	return s
}

// sel goes to a field by name, if it is there.
func (s *Secret) sel(name vault.FieldName) {
	for i, f := range s.info.Fields {
		if f.Name == name {
			s.at = i
			return
		}
	}
	s.at = max(min(s.at, len(s.info.Fields)-1), 0)
}

func (s *Secret) field() vault.FieldName {
	if s.at < len(s.info.Fields) {
		return s.info.Fields[s.at].Name
	}
	return ""
}

// Title implements Screen.
func (s *Secret) Title() string { return string(s.info.Path) + "/" + string(s.field()) }

// Enter implements Screen.
func (s *Secret) Enter() Effect { return All{s.load(), s.injects.load(s.project, s.env, s.info.Path)} }

// load looks whether the secret is still what we know of it.
func (s *Secret) load() Effect {
	env, path := s.env.Name, s.info.Path
	var info vault.Info
	var facts []Facts
	return Read{
		Lane: "info", What: "reading " + string(path),
		Do: func(ctx context.Context, r Reading, _ func(func()) bool) (err error) {
			if info, err = r.Info(ctx, env, path); err != nil || !s.project.FreeFacts {
				return err
			}
			// Without a key there are no facts, and that is no reason to show none of the rest.
			facts, err = r.Facts(ctx, env, path, info.Version)
			if vault.KindOf(err) == vault.KindDenied || vault.KindOf(err) == vault.KindNoIdentity {
				err = nil
			}
			return err
		},
		Done: func(err error) Effect {
			switch {
			case vault.KindOf(err) == vault.KindNotFound:
				s.gone, s.trouble = true, nil
				return nil
			case err != nil:
				s.trouble = newTrouble(s.project, err)
				return nil
			}
			s.trouble, s.gone = nil, false
			s.take(info)
			s.facts = nil
			if facts != nil {
				s.facts = map[vault.FieldName]Facts{}
				for _, f := range facts {
					s.facts[f.Name] = f
				}
			}
			return nil
		},
	}
}

// take replaces what we know, and says so if somebody else has changed it.
func (s *Secret) take(info vault.Info) {
	if info.Version != s.info.Version {
		s.changed = fmt.Sprintf("%s changed under you: version %d%s, you had %d.", info.Path, info.Version, by(info.By), s.info.Version)
		s.skip = 0
	}
	name := s.field()
	s.info = info
	s.sel(name)
}

// Offers implements Screen.
func (s *Secret) Offers() []kit.Offer {
	none := ""
	switch {
	case s.gone:
		none = "the secret was deleted"
	case s.field() == "":
		none = "the secret has no fields"
	}
	gone := ""
	if s.gone {
		gone = none
	}
	offers := []kit.Offer{{ID: ShowHide, Off: none}, {ID: CopyIt, Off: none}, {ID: EditIt, Off: gone}, {ID: CopyPath, Off: none}, {ID: Peek, Off: none}, {ID: History},
		{ID: SameName, Off: s.project.alone(none)}, {ID: CopyTo, Off: s.project.alone(none)}, {ID: ImportIt, Off: gone},
		{ID: Delete, Off: none}, {ID: DeleteSecret, Off: gone}, {ID: Reload}}
	if len(s.project.Drafts.Of(s.env.Name)) > 0 {
		offers = append(offers, kit.Offer{ID: Review})
	}
	if len(s.info.Fields) > 1 {
		offers = append(offers, kit.Offer{ID: Next})
	}
	return append(offers, kit.Offer{ID: Down}, kit.Offer{ID: Up}, kit.Offer{ID: First}, kit.Offer{ID: Last}, kit.Offer{ID: PageDown}, kit.Offer{ID: PageUp})
}

// Do implements Screen.
func (s *Secret) Do(action string) Effect {
	n := len(s.info.Fields)
	to := func(i int) {
		if i = max(min(i, n-1), 0); i != s.at {
			s.at, s.skip = i, 0
		}
	}
	s.changed = ""
	switch action {
	case Down:
		to(s.at + 1)
	case Up:
		to(s.at - 1)
	case First:
		to(0)
	case Last:
		to(n - 1)
	case Next:
		to((s.at + 1) % max(n, 1))
	case PageDown:
		s.skip = max(min(s.skip+max(s.room-1, 1), s.lines-s.room), 0)
	case PageUp:
		s.skip = max(s.skip-max(s.room-1, 1), 0)
	case ShowHide, Peek, CopyIt:
		return ofTarget(action)
	case CopyPath:
		return CopyName{s.Title()}
	case Reload:
		return s.Enter()
	case History:
		return Push{NewVersions(s.project, s.env, s.info.Path, s.field())}
	case SameName:
		return Push{NewComparison(s.project, s.env, s.Title())}
	case CopyTo:
		return askCopy(s.project, s.env, s.info, s.field(), nil)
	case EditIt:
		return Push{NewEdit(s.project, s.env, s.info, draft.Ref{Name: s.field()})}
	case ImportIt:
		return Push{NewImport(s.project, s.env, Source{}, s.info.Path)}
	case Review:
		return Push{NewPending(s.project, s.env)}
	case Delete, DeleteSecret:
		return s.askDelete(action == DeleteSecret)
	}
	return nil
}

// askDelete asks before the field, or the secret, is deleted.
func (s *Secret) askDelete(whole bool) Effect {
	return removal(s.project, s.env, s.info, s.field(), whole, func(whole bool) Effect {
		if whole {
			s.gone = true
			return Pop{}
		}
		s.info.Version++ // ours: it did not change under us
		return s.load()
	}, s.load)
}

// Target implements Screen.
func (s *Secret) Target() (Target, bool) {
	if s.gone || s.field() == "" {
		return Target{}, false
	}
	return Target{Env: s.env.Name, Path: s.info.Path, Field: s.field(), Version: s.info.Version}, true
}

// Draw implements Screen.
func (s *Secret) Draw(a kit.Area, sc Scene) {
	m := a.Marks()
	version := fmt.Sprintf("version %d (current)", s.info.Version)
	if s.gone {
		version = "deleted"
	}
	w := m.Width(version)
	a.FitEnd(0, 0, max(a.W-w-2, 8), kit.Style{Attr: kit.Bold}, s.Title())
	a.FitRight(max(a.W-w, 0), 0, w, kit.In(kit.Dim), version)
	s.drawTabs(a.Sub(0, 1, a.W, 1))
	_, in := a.Top(2)
	if sc.Size != kit.Small {
		_, in = a.Top(3)
		in = in.Inset(2, 0)
	}
	if s.changed != "" {
		y := in.Paragraph(0, kit.Style{Role: kit.Warn, Attr: kit.Bold}, "! "+s.changed)
		_, in = in.Top(y)
	}
	if s.trouble != nil {
		y := s.trouble.draw(in, s.env, sc.Now)
		_, in = in.Top(y + 1)
	}
	if s.gone {
		in.Paragraph(0, kit.Style{}, "This secret was deleted meanwhile. Esc goes back.")
		return
	}
	t, ok := s.Target()
	if !ok {
		in.Paragraph(0, kit.Style{}, "This secret has no fields.")
		return
	}
	s.drawFacts(s.drawValue(in, sc, t), sc)
}

// drawTabs is the fields of the secret, with the one that is looked at in brackets
// and always on the line.
func (s *Secret) drawTabs(a kit.Area) {
	m := a.Marks()
	from := s.at
	for used := m.Width(string(s.field())) + 2; from > 0; from-- {
		if used += m.Width(string(s.info.Fields[from-1].Name)) + 2; used > a.W*2/3 {
			break
		}
	}
	x := 0
	if from > 0 {
		x = a.Text(0, 0, kit.In(kit.Dim), m.Ellipsis) + 1
	}
	for i := from; i < len(s.info.Fields) && x < a.W; i++ {
		name := string(s.info.Fields[i].Name)
		if i == s.at {
			x = a.Text(x, 0, kit.Style{Attr: kit.Bold}, m.BracketOn+name+m.BracketX) + 1
			continue
		}
		x = a.Text(x+1, 0, kit.In(kit.Dim), name) + 2
	}
}

// drawValue is the value in its box, or the mask, and returns what is below.
func (s *Secret) drawValue(a kit.Area, sc Scene, t Target) kit.Area {
	m := a.Marks()
	f, left, shown := sc.Values.Shown(t)
	if !shown {
		s.skip, s.lines = 0, 0
		head := "hidden"
		if known, ok := s.facts[t.Field]; ok {
			head += "   " + measure(known)
		}
		a.Fit(0, 0, a.W, kit.In(kit.Dim), head)
		sc.Values.Draw(a.Sub(0, 1, a.W, 3).Box(kit.In(kit.Border), ""), t, 0)
		_, rest := a.Top(4)
		return rest
	}
	x := a.Text(0, 0, kit.Style{Role: kit.Warn, Attr: kit.Bold}, "REVEALED, hides in "+countdown(left)) + 3
	a.Fit(x, 0, a.W-x, kit.In(kit.Dim), measure(f))
	// As high as the value, and leaving a few rows for what is below.
	probe := a.Sub(0, 0, a.W-4, 0)
	lines := sc.Values.Draw(probe, t, 0)
	h := min(lines, max(a.H-1-2-5, 1)) + 2
	box := a.Sub(0, 1, a.W, h)
	in := box.Box(kit.In(kit.Warn), "")
	s.lines, s.room = lines, in.H
	s.skip = max(min(s.skip, lines-in.H), 0)
	sc.Values.Draw(in, t, s.skip)
	if lines > in.H {
		text := fmt.Sprintf(" lines %d-%d of %d, page down ", s.skip+1, s.skip+in.H, lines)
		box.Text(2, h-1, kit.In(kit.Dim), text)
		box.Text(2+m.Width(text), h-1, kit.In(kit.Warn), m.Horizontal)
	}
	_, rest := a.Top(1 + h)
	return rest
}

func (s *Secret) drawFacts(a kit.Area, sc Scene) {
	m, y := a.Marks(), 0
	if a.H > 6 {
		y = 1
	}
	head := 11
	if sc.Size == kit.Small {
		head = 9
	}
	line := func(name string, st kit.Style, text string) {
		if text == "" {
			return
		}
		a.Text(0, y, kit.In(kit.Dim), name)
		for _, l := range m.Wrap(text, max(a.W-head, 1)) {
			a.Text(head, y, st, l)
			y++
		}
	}
	if f, ok := s.facts[s.field()]; ok {
		var same []string
		for _, other := range s.info.Fields {
			if o, ok := s.facts[other.Name]; ok && other.Name != f.Name && o.Print == f.Print {
				same = append(same, string(other.Name))
			}
		}
		if len(same) > 0 {
			line("same as", kit.In(kit.Warn), strings.Join(same, " "))
		}
	}
	for _, l := range s.injects.lines(s.field()) {
		line(l.head, kit.In(l.role), l.text)
	}
	since := ""
	if n := s.info.Fields[s.at].Since; n != s.info.Version {
		since = fmt.Sprintf(", this value since version %d", n)
	}
	line("changed", kit.Style{}, ago(sc.Now, s.info.At)+" ago"+by(s.info.By)+since)
	if text, role := rotation(s.info, sc.Now); text != "" {
		line("rotation", kit.In(role), text)
	}
	line("tags", kit.Style{}, strings.Join(s.info.Tags, " "))
	line("note", kit.Style{}, s.info.Note)
}
