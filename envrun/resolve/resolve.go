package resolve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"envrun/envrun/environ"
	"envrun/envrun/project"
	"envrun/vault"
	"envrun/vault/near"
)

// Options are what the command line adds to a project file.
type Options struct {
	Parent *environ.Environ // what the command would inherit; nil: nothing
	GOOS   string           // whose rules names follow; empty: as FromList's
	Dotenv []Overlay        // -f FILE, in the order given
	Set    []environ.Entry  // --set NAME=VALUE, in the order given

	Keep    []string // --keep-env=NAME,…: these keep the inherited value, if there is one
	KeepAll bool     // --keep-env: all do

	// Globs over variables' names, for what rules give; dotenv files and --set
	// are not filtered. Each of Only must choose something.
	Only   []string
	Except []string
}

// Overlay is a dotenv file that was read.
type Overlay struct {
	File    string
	Entries []environ.Entry
}

// Resolve works out what a command gets in an environment. All secrets it needs
// are asked for in one GetSome or GetMany; only when one is not there does it look further.
//
// The error is a *project.EnvError if the project has no such environment, the
// vault's own if it could not answer, and a *ProblemError if the plan cannot
// be applied: then, and only then, the plan is returned beside it. A pattern in
// Only or Except that is malformed is KindInvalid.
func Resolve(ctx context.Context, p *project.Project, env vault.Env, r vault.Reader, o Options) (*Plan, error) {
	e, ok := p.Env(env)
	if !ok {
		known := p.EnvNames()
		return nil, &project.EnvError{Name: string(env), From: project.FromFlag, Nearest: string(near.Nearest(string(env), known)), Known: known, File: p.File}
	}
	if len(p.Inject)+len(p.Files) == 0 {
		return nil, &project.Error{Kind: vault.KindInvalid, Pos: project.Pos{File: p.File}, Key: "project", Detail: "names no project and has no [[inject]]: there is nothing to give a command"}
	}
	for _, glob := range slices.Concat(o.Only, o.Except) {
		if err := project.CheckGlob(glob); err != nil {
			return nil, fmt.Errorf("choosing variables: %w", err)
		}
	}
	w := &work{
		ctx: ctx, project: p, env: e, reader: r, o: o,
		plan:  &Plan{Project: p, Env: e},
		fold:  foldsCase(o.GOOS),
		slots: map[string]*slot{},
	}
	w.enter()
	w.choose()
	if err := w.fetch(); err != nil {
		return nil, fmt.Errorf("resolving %s: %w", env, err)
	}
	for _, rule := range w.rules {
		w.inject(rule)
	}
	for _, rule := range w.files {
		w.deliver(rule)
	}
	w.overlay()
	w.settle()
	w.require()
	if err := w.plan.Check(); err != nil {
		w.hint()
		return w.plan, w.plan.Check()
	}
	return w.plan, nil
}

// work is one Resolve on its way.
type work struct {
	ctx     context.Context
	project *project.Project
	env     project.Env
	reader  vault.Reader
	o       Options
	plan    *Plan
	fold    bool             // names are told apart without regard to case
	rules   []project.Inject // those for this environment of which something was chosen
	files   []project.File   // likewise
	secrets map[vault.Path]vault.Secret
	slots   map[string]*slot // by key
	listed  []vault.Info     // the environment's secrets, if they were asked for
}

// slot is one variable with all that could give it, lowest first.
type slot struct {
	name  string // as the highest spells it
	given []given
}

type given struct {
	Source
	value    vault.Value
	mask     *bool
	required bool
}

func foldsCase(goos string) bool {
	if goos == "" {
		goos = runtime.GOOS
	}
	return goos == "windows"
}

func (w *work) key(name string) string {
	if w.fold {
		return strings.ToUpper(name)
	}
	return name
}

// enter takes the parent's environment, without what an outer run gave it for
// another environment.
func (w *work) enter() {
	parent := w.o.Parent
	if parent == nil {
		parent = environ.FromList(nil, w.o.GOOS)
	}
	w.plan.parent = parent
	mark, _ := parent.Get(environ.MarkRun)
	injected, has := parent.Get(MarkInjected)
	if mark != "1" && !has {
		return
	}
	// ENVRUN_ENV also chooses an environment, so that a caller may have changed
	// it: the mark of the names says what they are of.
	outer, list, ok := strings.Cut(injected, ":")
	if !ok {
		outer, _ = parent.Get(environ.MarkEnv)
		list = ""
	}
	w.plan.Nested, w.plan.Outer = true, vault.Env(outer)
	var names []string
	for name := range strings.SplitSeq(list, ",") {
		if _, set := parent.Get(name); set && environ.CheckName(name) == nil {
			names = append(names, name)
		}
	}
	if w.plan.Outer == w.env.Name {
		w.plan.outer = names
		return
	}
	w.plan.parent = parent.Clone()
	for _, name := range names {
		w.plan.parent.Unset(name)
	}
	slices.Sort(names)
	w.plan.Dropped = names
}

// choose leaves out rules for other environments, and those of which --only
// and --except leave nothing: their secrets are not asked for.
func (w *work) choose() {
	for _, r := range w.project.Inject {
		if r.For(w.env.Name) && w.mayGive(r) {
			w.rules = append(w.rules, r)
		}
	}
	for _, r := range w.project.Files {
		if r.For(w.env.Name) && w.chosen(r.Var) {
			w.files = append(w.files, r)
		}
	}
}

// mayGive reports whether a rule can give a variable that is chosen: it is
// known before its secret is when the rule names all its fields.
func (w *work) mayGive(r project.Inject) bool {
	for _, only := range r.Only {
		if project.IsGlob(only.Name) || w.chosen(r.Variable(vault.FieldName(only.Name))) {
			return true
		}
	}
	return len(r.Only) == 0
}

// fetch gets every secret that a rule needs.
func (w *work) fetch() error {
	var paths []vault.Path
	optional := map[vault.Path]bool{}
	need := func(p vault.Path, opt bool) {
		if was, ok := optional[p]; ok {
			optional[p] = was && opt
			return
		}
		paths = append(paths, p)
		optional[p] = opt
	}
	for _, r := range w.rules {
		need(r.Path, r.Optional)
	}
	for _, r := range w.files {
		need(r.Path, r.Optional)
	}
	w.secrets = make(map[vault.Path]vault.Secret, len(paths))
	if some, ok := w.reader.(vault.SomeReader); ok {
		got, err := some.GetSome(w.ctx, w.env.Name, paths)
		for _, s := range got {
			w.secrets[s.Path] = s
		}
		return err
	}
	// Each turn but the last takes at least one path away.
	for len(paths) > 0 {
		got, err := w.reader.GetMany(w.ctx, w.env.Name, paths)
		if err == nil {
			if len(got) != len(paths) {
				return fmt.Errorf("asked for %d secrets and got %d", len(paths), len(got))
			}
			for i, s := range got {
				w.secrets[paths[i]] = s
			}
			return nil
		}
		var ve *vault.Error
		if !errors.As(err, &ve) || ve.Kind != vault.KindNotFound || !slices.Contains(paths, ve.Path) {
			return err
		}
		gone := func(p vault.Path) bool { return p == ve.Path }
		if !optional[ve.Path] {
			// The run stops here, so it may take longer: find all that is missing at once.
			there := map[vault.Path]bool{}
			for _, info := range w.list() {
				there[info.Path] = true
			}
			gone = func(p vault.Path) bool { return p == ve.Path || !there[p] }
		}
		paths = slices.DeleteFunc(paths, gone)
	}
	return nil
}

// list is what the environment holds, for messages: what cannot be read is left out.
func (w *work) list() []vault.Info {
	if w.listed == nil {
		w.listed = []vault.Info{}
		for info, err := range w.reader.List(w.ctx, w.env.Name, "") {
			if err == nil {
				w.listed = append(w.listed, info)
			}
		}
	}
	return w.listed
}

func (w *work) missing(optional bool, m Missing) {
	m.Env = w.env.Name
	if optional {
		w.plan.Absent = append(w.plan.Absent, m)
	} else {
		w.plan.Missing = append(w.plan.Missing, m)
	}
}

func (w *work) inject(r project.Inject) {
	secret, ok := w.secrets[r.Path]
	if !ok {
		w.missing(r.Optional, Missing{What: MissingSecret, Path: r.Path, Pos: r.Pos})
		return
	}
	// What the rule names must be there, if it is chosen; a pattern must take something.
	named := map[vault.FieldName]bool{}
	name := func(f vault.FieldName, pos project.Pos) {
		if _, ok := secret.Field(f); !ok && !named[f] && w.chosen(r.Variable(f)) {
			w.missing(r.Optional, Missing{What: MissingField, Path: r.Path, Field: f, Pos: pos})
		}
		named[f] = true
	}
	for _, only := range r.Only {
		if !project.IsGlob(only.Name) {
			name(vault.FieldName(only.Name), only.Pos)
			continue
		}
		if !slices.ContainsFunc(secret.Values, func(f vault.Field) bool { return project.Match(only.Name, string(f.Name)) }) {
			w.missing(r.Optional, Missing{What: MissingPattern, Path: r.Path, Name: only.Name, Pos: only.Pos})
		}
	}
	for _, re := range r.Rename {
		name(re.Field, re.Pos)
	}
	for _, f := range secret.Values {
		variable := r.Variable(f.Name)
		if !r.Takes(f.Name) || !w.chosen(variable) || !named[f.Name] && w.deliversAsFile(r.Path, f.Name) {
			continue
		}
		w.give(variable, given{
			Source:   Source{From: FromVault, Env: w.env.Name, Path: r.Path, Field: f.Name, Version: secret.Version, Pos: r.Pos},
			value:    f.Value,
			mask:     r.Mask,
			required: !r.Optional,
		})
	}
}

func (w *work) deliversAsFile(p vault.Path, f vault.FieldName) bool {
	return slices.ContainsFunc(w.project.Files, func(r project.File) bool {
		return r.Path == p && r.Field == f && r.For(w.env.Name)
	})
}

func (w *work) deliver(r project.File) {
	secret, ok := w.secrets[r.Path]
	if !ok {
		w.missing(r.Optional, Missing{What: MissingSecret, Path: r.Path, Pos: r.Pos})
		return
	}
	f, ok := secret.Field(r.Field)
	if !ok {
		w.missing(r.Optional, Missing{What: MissingField, Path: r.Path, Field: r.Field, Pos: r.Pos})
		return
	}
	w.give(r.Var, given{
		Source:   Source{From: FromVault, Env: w.env.Name, Path: r.Path, Field: f.Name, Version: secret.Version, AsFile: true, Pos: r.Pos},
		value:    f.Value,
		mask:     r.Mask,
		required: !r.Optional,
	})
}

// give adds a source to a variable, above those it has.
func (w *work) give(name string, g given) {
	if environ.CheckName(name) != nil {
		w.plan.Invalid = append(w.plan.Invalid, Invalid{Name: name, Suggest: suggest(name), Source: g.Source})
		return
	}
	s := w.slots[w.key(name)]
	if s == nil {
		s = &slot{}
		w.slots[w.key(name)] = s
	}
	s.name = name
	s.given = append(s.given, g)
}

// chosen reports whether --only and --except let a variable through.
func (w *work) chosen(name string) bool {
	return (len(w.o.Only) == 0 || w.match(w.o.Only, name)) && !w.match(w.o.Except, name)
}

func (w *work) match(globs []string, name string) bool {
	return slices.ContainsFunc(globs, func(glob string) bool { return project.Match(w.key(glob), w.key(name)) })
}

// suggest makes a variable's name of a field's.
func suggest(name string) string {
	s := strings.Map(func(c rune) rune {
		switch {
		case 'a' <= c && c <= 'z':
			return c - 'a' + 'A'
		case 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			return c
		}
		return '_'
	}, name)
	if s == "" || '0' <= s[0] && s[0] <= '9' {
		s = "_" + s
	}
	return s
}

func (w *work) overlay() {
	for _, file := range w.o.Dotenv {
		for _, e := range file.Entries {
			w.give(e.Name, given{Source: Source{From: FromDotenv, Pos: project.Pos{File: file.File, Line: e.Line}}, value: e.Value})
		}
	}
	for _, e := range w.o.Set {
		w.give(e.Name, given{Source: Source{From: FromSet}, value: e.Value})
	}
}

// settle decides who wins each variable.
func (w *work) settle() {
	for _, key := range sortedKeys(w.slots) {
		s := w.slots[key]
		top := s.given[len(s.given)-1]
		inherited, has := w.plan.parent.Get(s.name)
		if has && top.From != FromSet {
			if why, keeps := w.keeps(s.name); keeps {
				w.plan.Kept = append(w.plan.Kept, Kept{s.name, why, losers(s.given, vault.NewValueString(inherited))})
				continue
			}
		}
		lost := losers(s.given[:len(s.given)-1], top.value)
		if has {
			lost = append(lost, Source{From: FromParent, Same: top.value.Equal(vault.NewValueString(inherited))})
		}
		w.win(s.name, top, lost)
	}
}

// losers are sources with the highest first.
func losers(g []given, winner vault.Value) []Source {
	var out []Source
	for _, l := range slices.Backward(g) {
		l.Same = l.value.Equal(winner)
		out = append(out, l.Source)
	}
	return out
}

// keeps reports whether a variable keeps its inherited value, and where it is written.
func (w *work) keeps(name string) (project.Pos, bool) {
	for _, n := range w.project.InheritWins {
		if w.key(n.Name) == w.key(name) {
			return n.Pos, true
		}
	}
	return project.Pos{}, w.o.KeepAll || slices.ContainsFunc(w.o.Keep, func(n string) bool { return w.key(n) == w.key(name) })
}

func (w *work) win(name string, g given, lost []Source) {
	if reason, allowable, refused := w.refuses(name, g.From); refused {
		w.plan.Refused = append(w.plan.Refused, Refused{name, reason, allowable, g.Source})
		return
	}
	mask := g.mask
	for i := range w.project.Mask {
		if m := &w.project.Mask[i]; w.key(m.Name) == w.key(name) {
			mask = &m.Mask
		}
	}
	if g.AsFile {
		w.plan.Files = append(w.plan.Files, File{
			Var: name, Value: g.value, Env: g.Env, Path: g.Path, Field: g.Field, Version: g.Version,
			Pos: g.Pos, Mask: mask, Required: g.required, Losers: lost,
		})
		return
	}
	if bytes.IndexByte(g.value.Reveal(), 0) >= 0 {
		w.plan.Invalid = append(w.plan.Invalid, Invalid{Name: name, NUL: true, Source: g.Source})
		return
	}
	w.plan.Variables = append(w.plan.Variables, Variable{
		Name: name, Value: g.value, From: g.From, Env: g.Env, Path: g.Path, Field: g.Field, Version: g.Version,
		Pos: g.Pos, Mask: mask, Required: g.required, Losers: lost,
	})
}

// refuses says whether a variable may come from there (C4). Dotenv files and
// --set are chosen by whoever types the command and may set what they like,
// but not envrun's own settings: these would not reach the command.
func (w *work) refuses(name string, from From) (reason string, allowable, refused bool) {
	reason, refused = environ.Refused(name)
	own := len(name) >= 6 && strings.EqualFold(name[:6], "envrun") && refused
	if !refused || from != FromVault && !own {
		return "", false, false
	}
	if !own && slices.ContainsFunc(w.project.Allow, func(n project.Name) bool { return w.key(n.Name) == w.key(name) }) {
		return "", false, false
	}
	return reason, !own, true
}

// require notes the variables that must be there and are not, and patterns of
// --only that chose nothing.
func (w *work) require() {
	asked := map[string]bool{}
	for _, n := range slices.Concat(w.project.Require, w.env.Require) {
		if w.slots[w.key(n.Name)] != nil || asked[n.Name] || !w.chosen(n.Name) {
			continue
		}
		if _, keeps := w.keeps(n.Name); keeps {
			if _, has := w.plan.parent.Get(n.Name); has {
				continue
			}
		}
		asked[n.Name] = true
		w.missing(false, Missing{What: MissingVariable, Name: n.Name, Pos: n.Pos})
	}
	for _, glob := range w.o.Only {
		chose := false
		for _, s := range w.slots {
			chose = chose || w.match([]string{glob}, s.name)
		}
		if !chose {
			w.missing(false, Missing{What: MissingSelection, Name: glob})
		}
	}
}
