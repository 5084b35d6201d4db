package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"envrun/cmd/internal/cli"
	"envrun/vault"

	"github.com/spf13/cobra"
)

func newHistory(t *tool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "history [PATH]",
		Short: "List the versions of a secret, without values",
		Long: `Lists the versions of one secret, newest first, with the fields that changed in
each. They come from the git history of the vault, so only what was committed
is kept, and outside a repository nothing is. A server keeps as many as it is
told to.`,
		Example: `  envrun history
  envrun history -e prod shared/stripe --json`,
		Args: cli.MaxArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runHistory(cmd.Context(), t, args) },
	}
	cmd.ValidArgsFunction = t.completePaths
	return cmd
}

func runHistory(ctx context.Context, t *tool, args []string) error {
	s, err := t.open(ctx)
	if err != nil {
		return err
	}
	path, err := secretPath(s.Project, args)
	if err != nil {
		return err
	}
	versions := []secretFacts{}
	for info, err := range s.vault.Versions(ctx, s.env.Name, path) {
		switch vault.KindOf(err) {
		case vault.KindTampered, vault.KindMalformed, vault.KindVersion, vault.KindUnmerged:
			// Whoever could once commit there must not be able to hide the rest for ever.
			t.Notef("left out: %s", cli.Printable(err.Error()))
			continue
		}
		if err != nil {
			return t.withNear(ctx, s, noHistory(err))
		}
		versions = append(versions, factsOf(info))
	}
	if t.flags.json {
		return cli.WriteJSON(t.Out, versions)
	}
	table := cli.NewTable(t.Streams)
	for i, v := range versions {
		// Of one number there may be two, from branches: what came before is below both.
		var before secretFacts
		if n := slices.IndexFunc(versions[i:], func(o secretFacts) bool { return o.Version < v.Version }); n >= 0 {
			before = versions[i+n]
		}
		table.Row(fmt.Sprintf("v%d", v.Version), v.At.Format(time.DateTime), v.By, whatChanged(v, before))
	}
	return table.Flush()
}

// whatChanged says in names what a version did to the one listed before it.
func whatChanged(v, before secretFacts) string {
	if v.Deleted {
		return "deleted"
	}
	var changed []string
	for _, f := range v.Fields {
		if f.Since > before.Version {
			changed = append(changed, string(f.Name))
		}
	}
	for _, f := range before.Fields {
		if !slices.ContainsFunc(v.Fields, func(n fieldFacts) bool { return n.Name == f.Name }) {
			changed = append(changed, string(f.Name)+" (removed)")
		}
	}
	what := strings.Join(changed, " ")
	if what == "" {
		what = "note, tags or rotation"
	}
	if lost := v.Version - before.Version - 1; lost > 0 {
		what += fmt.Sprintf(" (%s between were not committed)", cli.Count(int(lost), "version"))
	}
	return what
}

// noHistory says what makes a history where there is none.
func noHistory(err error) error {
	if vault.KindOf(err) != vault.KindUnsupported {
		return err
	}
	return &cli.HintError{Err: err, Code: cli.CodeConfig, Hint: "git init, and commit .envrun"}
}

func newRollback(t *tool) *cobra.Command {
	var to uint64
	cmd := &cobra.Command{
		Use:   "rollback [PATH] --to N",
		Short: "Bring back a former version of a secret, as a new version",
		Long: `Writes the fields of version N again, as the newest version: nothing is lost, and
whoever reads the history sees what happened. It also brings back a secret that
was deleted, damaged, or set back by a git revert. Only what was committed to git
can be brought back.`,
		Example: `  envrun rollback --to 6
  envrun rollback -e prod shared/stripe --to 2 --yes=prod`,
		Args: cli.MaxArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runRollback(cmd.Context(), t, args, to) },
	}
	cmd.Flags().Uint64Var(&to, "to", 0, "the version to bring back, as history lists it")
	cmd.ValidArgsFunction = t.completePaths
	return cmd
}

func runRollback(ctx context.Context, t *tool, args []string, to uint64) error {
	if to == 0 {
		return cli.Usagef("envrun rollback", "--to N is needed: which version")
	}
	s, err := t.openToWrite(ctx)
	if err != nil {
		return err
	}
	path, err := secretPath(s.Project, args)
	if err != nil {
		return err
	}
	if err := t.allow(ctx, s.env, "was changed"); err != nil {
		return err
	}
	info, wrote, err := s.vault.Restore(ctx, s.env.Name, path, to)
	switch vault.KindOf(err) {
	case vault.KindNotFound:
		return &cli.HintError{Err: t.withNear(ctx, s, err), Code: cli.CodeMissing, Hint: fmt.Sprintf("what there is: envrun history -e %s %s", s.env.Name, path)}
	case vault.KindInvalid:
		return &cli.HintError{Err: err, Code: cli.CodeUsage, Hint: fmt.Sprintf("to delete it: envrun rm --secret %s", path)}
	}
	if err != nil {
		return noHistory(err)
	}
	if !wrote {
		t.Notef("%s %s: version %d has what version %d had; nothing to do", s.env.Name, path, info.Version, to)
		return nil
	}
	t.Notef("%s %s: version %d is version %d again", s.env.Name, path, info.Version, to)
	return nil
}

func newDiff(t *tool) *cobra.Command {
	var onlyNames bool
	cmd := &cobra.Command{
		Use:   "diff ENV ENV",
		Short: "Show what two environments have differently, never the values",
		Long: `Compares every secret of two environments: what is missing in one, what has
another value, and with --all what is the same. Exits 1 if they differ and 2 if
that cannot be told, so that a check can use it. With --names only names are
compared, which needs no key. Comparing values of a protected environment takes
its name, since a comparison can tell a value that is guessed.`,
		Example: `  envrun diff dev prod
  envrun diff staging prod --names`,
		Args: cli.ExactArgs(2),
	}
	var all bool
	cmd.Flags().BoolVar(&all, "all", false, "list what is the same too")
	cmd.Flags().BoolVar(&onlyNames, "names", false, "compare names alone; needs no key")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		err := runDiff(cmd.Context(), t, args[0], args[1], all, onlyNames)
		if err != nil && !errors.Is(err, cli.ErrShown) {
			err = &cli.StatusError{Exit: cli.ExitUsage, Err: err} // as diff: 1 is for a difference
		}
		return err
	}
	cmd.ValidArgsFunction = t.completeEnvs
	return cmd
}

type difference struct {
	Path  vault.Path      `json:"path"`
	Field vault.FieldName `json:"field"`
	State string          `json:"state"` // "only in ENV", "different", "same", "in both"
}

func runDiff(ctx context.Context, t *tool, a, b string, all, onlyNames bool) error {
	p, err := t.project()
	if err != nil {
		return err
	}
	var sides [2]map[vault.Path]map[vault.FieldName]vault.Value
	var envs [2]vault.Env
	for i, name := range []string{a, b} {
		env, err := named(p, name)
		if err != nil {
			return err
		}
		if !onlyNames {
			if err := t.allow(ctx, env, "was compared"); err != nil {
				return err
			}
		}
		envs[i] = env.Name
		v, err := t.store(ctx, p, env)
		if err != nil {
			return err
		}
		if sides[i], err = contents(ctx, v, env.Name, onlyNames); err != nil {
			return err
		}
	}
	var out []difference
	differ := false
	for i, side := range sides {
		other := sides[1-i]
		for path, fields := range side {
			for name, value := range fields {
				theirs, there := other[path][name]
				state := "same"
				switch {
				case !there:
					state = "only in " + string(envs[i])
				case i == 1:
					continue // said from the other side
				case onlyNames:
					state = "in both"
				case !value.Equal(theirs):
					state = "different"
				}
				quiet := state == "same" || state == "in both"
				differ = differ || !quiet
				if all || !quiet {
					out = append(out, difference{path, name, state})
				}
			}
		}
	}
	sort.Slice(out, func(i, j int) bool {
		return string(out[i].Path)+"/"+string(out[i].Field) < string(out[j].Path)+"/"+string(out[j].Field)
	})
	if t.flags.json {
		if out == nil {
			out = []difference{}
		}
		if err := cli.WriteJSON(t.Out, out); err != nil {
			return err
		}
	} else {
		table := cli.NewTable(t.Streams)
		for _, d := range out {
			table.Row(string(d.Path)+"/"+string(d.Field), d.State)
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	if differ {
		return cli.ErrShown
	}
	if !t.flags.json {
		t.Notef("%s and %s have the same %s", envs[0], envs[1], map[bool]string{true: "names", false: "secrets"}[onlyNames])
	}
	return nil
}

// contents reads a whole environment; with names alone the values stay empty.
func contents(ctx context.Context, v vault.Reader, env vault.Env, onlyNames bool) (map[vault.Path]map[vault.FieldName]vault.Value, error) {
	all := map[vault.Path]map[vault.FieldName]vault.Value{}
	var paths []vault.Path
	for info, err := range v.List(ctx, env, "") {
		if err != nil {
			return nil, err
		}
		all[info.Path] = map[vault.FieldName]vault.Value{}
		for _, f := range info.Fields {
			all[info.Path][f.Name] = vault.Value{}
		}
		paths = append(paths, info.Path)
	}
	if onlyNames {
		return all, nil
	}
	secrets, err := v.GetMany(ctx, env, paths)
	if err != nil {
		return nil, err
	}
	for _, s := range secrets {
		fields := map[vault.FieldName]vault.Value{}
		for _, f := range s.Values {
			fields[f.Name] = f.Value
		}
		all[s.Path] = fields
	}
	return all, nil
}

func newCopy(t *tool) *cobra.Command {
	var replace bool
	cmd := &cobra.Command{
		Use:   "copy ENV:PATH ENV:PATH",
		Short: "Copy a secret to another path or environment",
		Long: `Copies every field of one secret. PATH may be left out ("dev:") for the project's
own secret, and in the second argument for the same path as the first. Fields
that the target has under the same name with another value are not overwritten
unless you say yes.`,
		Example: `  envrun copy dev: staging:
  envrun copy staging:shared/stripe prod:shared/stripe --yes=prod`,
		Args: cli.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runCopy(cmd.Context(), t, args[0], args[1], replace)
		},
	}
	cmd.Flags().BoolVar(&replace, "replace", false, "the target has these fields afterwards and no others")
	return cmd
}

func runCopy(ctx context.Context, t *tool, from, to string, replace bool) error {
	p, err := t.project()
	if err != nil {
		return err
	}
	var ends [2]struct {
		selected
		path vault.Path
	}
	for i, arg := range []string{from, to} {
		name, rest, ok := strings.Cut(arg, ":")
		if !ok {
			return cli.Usagef("envrun copy", "%q is not ENV:PATH", arg)
		}
		e := &ends[i]
		if e.env, err = named(p, name); err != nil {
			return err
		}
		switch {
		case rest != "":
			e.path, err = vault.ParsePath(rest)
		case i == 1:
			e.path = ends[0].path
		default:
			e.path, err = secretPath(p, nil)
		}
		if err != nil {
			return err
		}
		v, err := t.store(ctx, p, e.env)
		if err != nil {
			return err
		}
		e.selected = selectIn(p, e.env, v)
		// Reading out of a protected environment is asked about like writing into it.
		if err := t.allow(ctx, e.env, "was copied"); err != nil {
			return err
		}
	}
	if ends[1].file != nil && t.Getenv("ENVRUN_KEY") != "" {
		if err := t.signAs(ctx, &ends[1].selected); err != nil {
			return err
		}
	}
	src, dst := ends[0], ends[1]
	if src.env.Name == dst.env.Name && src.path == dst.path {
		return cli.Usagef("envrun copy", "%s and %s are the same secret", from, to)
	}
	secret, err := src.vault.Get(ctx, src.env.Name, src.path)
	if err != nil {
		return t.withNear(ctx, src.selected, err)
	}
	there, err := dst.vault.Get(ctx, dst.env.Name, dst.path)
	if err != nil && vault.KindOf(err) != vault.KindNotFound {
		return err
	}
	var overwritten []string
	for _, f := range secret.Values {
		if old, ok := there.Field(f.Name); ok && !old.Value.Equal(f.Value) {
			overwritten = append(overwritten, string(f.Name))
		}
	}
	if replace {
		for _, f := range there.Values {
			if _, ok := secret.Field(f.Name); !ok {
				overwritten = append(overwritten, string(f.Name))
			}
		}
	}
	if err := t.allowOverwrite(ctx, dst.env.Name, dst.path, overwritten); err != nil {
		return err
	}
	infos, err := dst.vault.Apply(ctx, dst.env.Name, []vault.Change{{Path: dst.path, Was: there.Version, Set: secret.Values, Replace: replace}})
	if err != nil {
		return err
	}
	if infos[0].Version == there.Version {
		t.Notef("%s %s has these values already; nothing to do", dst.env.Name, dst.path)
		return nil
	}
	t.Notef("%s %s: %s from %s %s (version %d)", dst.env.Name, dst.path, cli.Count(len(secret.Values), "field"), src.env.Name, src.path, infos[0].Version)
	return nil
}

// allowOverwrite asks before values are replaced that nobody named.
func (t *tool) allowOverwrite(ctx context.Context, env vault.Env, path vault.Path, names []string) error {
	if len(names) == 0 || t.flags.yes != "" {
		return nil
	}
	slices.Sort(names)
	what := fmt.Sprintf("%s %s has other values for %s", env, path, strings.Join(names, ", "))
	if !t.Interactive() {
		return &cli.HintError{Err: errors.New(what), Code: cli.CodeConflict, Hint: "add --yes to replace them; the old ones stay in git's history if they were committed"}
	}
	ok, err := t.Confirm(ctx, what+". Replace them?", "--yes")
	if err != nil {
		return err
	}
	if !ok {
		return cli.ErrDeclined
	}
	return nil
}
