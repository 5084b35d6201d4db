package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sort"

	"envrun/envrun/environ"
	"envrun/envrun/project"
	"envrun/envrun/resolve"
	"envrun/tui/screen"
	"envrun/vault"
)

// names are a vault of which only the names are read: every value in it is
// empty. What a command gets of which rule is the same for it, and to know that
// takes no key and is no read of a value.
type names struct{ vault.Reader }

// Get implements vault.Reader.
func (n names) Get(ctx context.Context, env vault.Env, path vault.Path) (vault.Secret, error) {
	for info, err := range n.List(ctx, env, path) {
		if err == nil && info.Path != path {
			continue
		}
		if err != nil {
			return vault.Secret{}, err
		}
		s := vault.Secret{Info: info}
		for _, f := range info.Fields {
			s.Values = append(s.Values, vault.Field{Name: f.Name, Since: f.Since})
		}
		return s, nil
	}
	return vault.Secret{}, &vault.Error{Kind: vault.KindNotFound, Env: env, Path: path}
}

// GetMany implements vault.Reader.
func (n names) GetMany(ctx context.Context, env vault.Env, paths []vault.Path) ([]vault.Secret, error) {
	all := make([]vault.Secret, 0, len(paths))
	for _, path := range paths {
		s, err := n.Get(ctx, env, path)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// where says what "envrun -- COMMAND" from here would give a command of one
// secret, and what wins where something else does.
func (t *tool) where(ctx context.Context, p *project.Project, env vault.Env, r vault.Reader, path vault.Path) ([]screen.Injection, error) {
	plan, err := resolve.Resolve(ctx, p, env, names{r}, resolve.Options{Parent: environ.FromList(t.environ(), t.goos), GOOS: t.goos})
	if problem := (*resolve.ProblemError)(nil); err != nil && !errors.As(err, &problem) {
		return nil, err
	}
	var all []screen.Injection
	add := func(o resolve.Source, name, instead, refused string, losers []resolve.Source) {
		if o.From != resolve.FromVault || o.Path != path {
			return
		}
		i := screen.Injection{Field: o.Field, Var: name, File: o.AsFile, Rule: o.Pos.Short(), Instead: instead, Refused: refused}
		for _, l := range losers {
			i.Beats = append(i.Beats, giver(l))
		}
		all = append(all, i)
	}
	given := func(name string, winner resolve.Source, losers []resolve.Source) {
		add(winner, name, "", "", losers)
		for _, l := range losers {
			add(l, name, giver(winner), "", nil)
		}
	}
	for _, v := range plan.Variables {
		given(v.Name, resolve.Source{From: v.From, Env: v.Env, Path: v.Path, Field: v.Field, Version: v.Version, Pos: v.Pos}, v.Losers)
	}
	for _, f := range plan.Files {
		given(f.Var, resolve.Source{From: resolve.FromVault, Env: f.Env, Path: f.Path, Field: f.Field, Version: f.Version, AsFile: true, Pos: f.Pos}, f.Losers)
	}
	for _, k := range plan.Kept {
		for _, l := range k.Losers {
			add(l, k.Name, "the caller's own value, by "+k.Why.Short()+",", "", nil)
		}
	}
	for _, r := range plan.Refused {
		add(r.Source, r.Name, "", "it "+r.Reason, nil)
	}
	for _, i := range plan.Invalid {
		add(i.Source, i.Name, "", "no variable can be called that; "+i.Suggest+" would do", nil)
	}
	sort.SliceStable(all, func(i, j int) bool {
		return cmp.Or(cmp.Compare(all[i].Field, all[j].Field), cmp.Compare(all[i].Var, all[j].Var)) < 0
	})
	return all, nil
}

// giver is a source in words.
func giver(o resolve.Source) string {
	switch o.From {
	case resolve.FromVault:
		return fmt.Sprintf("%s/%s by %s", o.Path, o.Field, o.Pos.Short())
	case resolve.FromParent:
		return "the caller's own value"
	}
	return string(o.From)
}
