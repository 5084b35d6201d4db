package screen

import (
	"context"
	"slices"
	"strings"
	"time"

	"envrun/tui/draft"
	"envrun/tui/kit"
	"envrun/vault"
)

// PathPrompt asks for the path of a new secret, and says while it is typed
// whether it can be one, whether it is there, and what is near to it.
type PathPrompt struct {
	project *Project
	env     Env
	field   kit.Field

	paths   []vault.Path // those that are there, sorted
	read    bool
	shown   []vault.Path // below what is typed, or near to it
	near    bool         // they are near, and not below
	pick    int          // which of them was picked with the arrows; -1: none
	trouble *trouble
}

// NewPathPrompt asks for a path, begun with folder, which may be empty.
func NewPathPrompt(p *Project, e Env, folder string) *PathPrompt {
	s := &PathPrompt{project: p, env: e, pick: -1}
	s.field.Max = vault.MaxPath
	s.field.Set(folder)
	return s
}

// Title implements Screen.
func (p *PathPrompt) Title() string { return "a new secret" }

// Enter implements Screen.
func (p *PathPrompt) Enter() Effect {
	env := p.env.Name
	var paths []vault.Path
	return Read{
		Lane: "list", What: "reading " + string(env), For: time.Minute,
		Do: func(ctx context.Context, r Reading, _ func(func()) bool) error {
			for info, err := range r.List(ctx, env) {
				if err != nil && info.Path == "" && len(paths) == 0 {
					return err
				}
				// What cannot be read is there all the same.
				if info.Path != "" {
					paths = append(paths, info.Path)
				}
			}
			slices.Sort(paths)
			return ctx.Err()
		},
		Done: func(err error) Effect {
			if err != nil {
				p.trouble = newTrouble(p.project, err)
				return nil
			}
			p.paths, p.read, p.trouble = paths, true, nil
			return p.look()
		},
	}
}

// Input implements Typist.
func (p *PathPrompt) Input() Input { return &p.field }

// Typed implements Typist.
func (p *PathPrompt) Typed() Effect {
	return All{Stop{"info"}, p.look()} // what was gone on with is not what is typed now
}

// Asks implements Typist.
func (p *PathPrompt) Asks() string { return "Path" }

const mostShown = 40

// look finds what is below what is typed, or near to it.
func (p *PathPrompt) look() Effect {
	p.pick, p.near, p.shown = -1, false, nil
	typed := p.field.Text()
	from, _ := slices.BinarySearch(p.paths, vault.Path(typed))
	for _, path := range p.paths[from:] {
		if !strings.HasPrefix(string(path), typed) || len(p.shown) == mostShown {
			break
		}
		p.shown = append(p.shown, path)
	}
	if len(p.shown) > 0 || len(p.paths) == 0 {
		return Stop{"near"}
	}
	var near []vault.Path
	paths := p.paths
	return Read{
		Lane: "near",
		Do: func(_ context.Context, r Reading, show func(func()) bool) error {
			near = r.Near(typed, paths)
			show(func() { p.shown, p.near = near, true })
			return nil
		},
	}
}

// there reports whether there is a secret of that path.
func (p *PathPrompt) there(path vault.Path) bool {
	_, ok := slices.BinarySearch(p.paths, path)
	return ok
}

// taken is the path that going on would go on with.
func (p *PathPrompt) taken() (vault.Path, string) {
	if p.pick >= 0 {
		return p.shown[p.pick], ""
	}
	if p.field.Empty() {
		return "", "no path is typed"
	}
	path, err := vault.ParsePath(p.field.Text())
	if err != nil {
		return "", detail(err)
	}
	return path, ""
}

// Offers implements Screen.
func (p *PathPrompt) Offers() []kit.Offer {
	_, off := p.taken()
	none := ""
	if len(p.shown) == 0 {
		none = "nothing begins like that"
	}
	return []kit.Offer{{ID: GoOn, Off: off}, {ID: Complete, Off: none}, {ID: ListDown, Off: none}, {ID: ListUp, Off: none}}
}

// Do implements Screen.
func (p *PathPrompt) Do(action string) Effect {
	switch action {
	case ListDown:
		p.pick = min(p.pick+1, len(p.shown)-1)
		return Stop{"info"}
	case ListUp:
		p.pick = max(p.pick-1, -1)
		return Stop{"info"}
	case Complete:
		p.field.Set(p.completed())
		return p.Typed()
	case GoOn:
		path, _ := p.taken()
		return p.goOn(path)
	}
	return nil
}

// completed is what is typed, as far as all that begin with it go on alike; if
// one was picked, that.
func (p *PathPrompt) completed() string {
	switch {
	case p.pick >= 0:
		return string(p.shown[p.pick])
	case p.near:
		return string(p.shown[0])
	}
	names := make([]string, len(p.shown))
	for i, path := range p.shown {
		names[i] = string(path)
	}
	return common(names, p.field.Text())
}

// common is how far all names go on alike; at least typed.
func common(names []string, typed string) string {
	if len(names) == 0 {
		return typed
	}
	begin := names[0]
	for _, n := range names[1:] {
		for !strings.HasPrefix(n, begin) {
			begin = begin[:len(begin)-1]
		}
	}
	if len(begin) < len(typed) {
		return typed
	}
	return begin
}

// goOn edits a secret, whether it is there or not.
func (p *PathPrompt) goOn(path vault.Path) Effect {
	env := p.env.Name
	if !p.there(path) {
		return Replace{NewEdit(p.project, p.env, vault.Info{Env: env, Path: path}, draft.Ref{})}
	}
	var info vault.Info
	return Read{
		Lane: "info", What: "reading " + string(path),
		Do: func(ctx context.Context, r Reading, _ func(func()) bool) (err error) {
			info, err = r.Info(ctx, env, path)
			return err
		},
		Done: func(err error) Effect {
			if err != nil {
				p.trouble = newTrouble(p.project, err)
				return nil
			}
			return All{Replace{NewEdit(p.project, p.env, info, draft.Ref{})}, Say{kit.Notice{Text: string(path) + " is there already: this changes it."}}}
		},
	}
}

// Target implements Screen.
func (p *PathPrompt) Target() (Target, bool) { return Target{}, false }

// Draw implements Screen.
func (p *PathPrompt) Draw(a kit.Area, s Scene) {
	a.Text(0, 0, kit.Style{Attr: kit.Bold}, "A new secret in "+label(p.env))
	_, in := a.Top(1)
	if s.Size == kit.Large {
		_, in = a.Top(2)
	}
	x := in.Text(0, 0, kit.In(kit.Dim), "path ")
	p.field.Draw(in.Sub(x, 0, min(in.W-x, 64), 1), true)
	text, role := "lower case, parts with / between, such as shop/mailer", kit.Dim
	switch path, off := p.taken(); {
	case p.field.Empty() && p.pick < 0:
	case p.pick < 0 && strings.HasSuffix(p.field.Text(), "/"):
		text = "and now its name"
	case off != "":
		text, role = off, kit.Warn
	case p.there(path):
		text, role = string(path)+" is there already: enter changes it", kit.Warn
	case p.project.Drafts.Get(p.env.Name, path) != nil:
		text, role = "it was begun and not sent: enter goes on with it", kit.OK
	case !p.read:
		text = "it is not known yet whether it is there"
	default:
		text, role = "free: enter goes on to its fields", kit.OK
	}
	y := in.Sub(0, 1, in.W, in.H).Paragraph(0, kit.In(role), text) + 1
	_, in = in.Top(y)
	if s.Size != kit.Small {
		_, in = in.Top(1)
	}
	in = drawState(in, s, p.env, p.trouble, !p.read, "list", "Reading what is there")
	if len(p.shown) == 0 {
		return
	}
	head, rows := in.Top(1)
	if p.near {
		head.Text(0, 0, kit.In(kit.Dim), "Near to it")
	} else {
		head.Text(0, 0, kit.In(kit.Dim), "There already")
	}
	first := max(min(p.pick-rows.H+1, len(p.shown)-rows.H), 0)
	for y := range min(rows.H, len(p.shown)-first) {
		mark, st := " ", kit.Style{}
		if first+y == p.pick {
			mark, st = rows.Marks().Cursor, kit.Style{Attr: kit.Reverse}
		}
		rows.Text(0, y, kit.In(kit.Selection), mark)
		path := string(p.shown[first+y])
		rows.FitEnd(2, y, min(rows.W-2, rows.Marks().Width(path)), st, path)
	}
}
