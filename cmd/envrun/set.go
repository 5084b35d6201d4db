package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"envrun/cmd/internal/cli"
	"envrun/vault"

	"github.com/spf13/cobra"
)

type setOptions struct {
	trim   bool
	note   string
	rotate string
	tags   []string
	given  struct{ note, rotate, tags bool }
}

func newSet(t *tool) *cobra.Command {
	var o setOptions
	cmd := &cobra.Command{
		Use:   "set NAME[=VALUE]…",
		Short: "Set secrets of an environment",
		Long: `Sets fields. NAME alone is a field of the project's own secret,
path/to/secret/NAME a field of another.

Without =VALUE the value is asked for, hidden, on a terminal; else stdin is
read whole, to the last byte. A value given as NAME=VALUE stays in your shell's
history and is visible to other processes for a moment: prefer the other two.`,
		Example: `  envrun set STRIPE_KEY
  openssl rand -hex 32 | envrun set --trim SESSION_SECRET
  envrun set -e prod shared/gcp/service_account_json < key.json`,
		Args: cli.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.given.note, o.given.rotate, o.given.tags = cmd.Flags().Changed("note"), cmd.Flags().Changed("rotate"), cmd.Flags().Changed("tag")
			return runSet(cmd.Context(), t, o, args)
		},
	}
	cmd.Flags().BoolVar(&o.trim, "trim", false, "drop one newline at the end of stdin")
	cmd.Flags().StringVar(&o.note, "note", "", "a note on the secret, in clear: everyone who reads the repository sees it")
	cmd.Flags().StringVar(&o.rotate, "rotate", "", "how often the value should be replaced at its source, such as 90d")
	cmd.Flags().StringSliceVar(&o.tags, "tag", nil, "tags of the secret, in clear")
	cmd.ValidArgsFunction = t.completeFields
	return cmd
}

func runSet(ctx context.Context, t *tool, o setOptions, args []string) error {
	s, err := t.openToWrite(ctx)
	if err != nil {
		return err
	}
	changes := map[vault.Path]*vault.Change{}
	var order []vault.Path
	var waiting []string // names whose value is still to be read
	add := func(arg string, value vault.Value) error {
		path, name, err := field(s.Project, arg)
		if err != nil {
			return err
		}
		c := changes[path]
		if c == nil {
			c = &vault.Change{Path: path, Was: vault.Any}
			changes[path] = c
			order = append(order, path)
		}
		for _, f := range c.Set {
			if f.Name == name {
				return cli.Usagef("envrun set", "%s is given twice", arg)
			}
		}
		c.Set = append(c.Set, vault.Field{Name: name, Value: value})
		return nil
	}
	for _, arg := range args {
		name, value, given := strings.Cut(arg, "=")
		if !given {
			waiting = append(waiting, name)
		} else if err := add(name, vault.NewValueString(value)); err != nil {
			return err
		}
	}
	if len(waiting) > 1 && !t.Interactive() {
		// What stands there may be a value in the wrong place: it is not said back.
		return cli.Usagef("envrun set", "stdin holds one value, and %d names wait for one; a value of its own is given as NAME=VALUE", len(waiting))
	}
	// Names are checked before anybody is asked to type a value for them.
	for _, name := range waiting {
		if _, _, err := field(s.Project, name); err != nil {
			return err
		}
	}
	if err := t.allow(ctx, s.env, "was changed"); err != nil {
		return err
	}
	for _, c := range changes {
		t.noteNames(c.Set)
	}
	for _, name := range waiting {
		value, err := t.readValue(ctx, name, o.trim)
		if err != nil {
			return err
		}
		if err := add(name, value); err != nil {
			return err
		}
	}

	list := make([]vault.Change, 0, len(order))
	for _, path := range order {
		c := changes[path]
		if o.given.note {
			c.Note = &o.note
		}
		if o.given.rotate {
			c.Rotate = &o.rotate
		}
		if o.given.tags {
			c.Tags = &o.tags
		}
		list = append(list, *c)
	}
	before := t.versions(ctx, s, order)
	infos, err := s.vault.Apply(ctx, s.env.Name, list)
	if err != nil {
		return err
	}
	for i, info := range infos {
		what := fmt.Sprintf("version %d", info.Version)
		if before[i] == info.Version {
			what = "unchanged"
		}
		var names []string
		for _, f := range list[i].Set {
			names = append(names, string(f.Name))
		}
		t.Notef("%s %s: %s (%s)", s.env.Name, info.Path, strings.Join(names, ", "), what)
	}
	return nil
}

// versions are the present versions of paths, 0 for one that is not there: only
// to say afterwards what was as it was, so what goes wrong is left to Apply.
func (t *tool) versions(ctx context.Context, s selected, paths []vault.Path) []uint64 {
	versions := make([]uint64, len(paths))
	for i, path := range paths {
		for info, err := range s.vault.List(ctx, s.env.Name, path) {
			if err == nil && info.Path == path {
				versions[i] = info.Version
			}
			break // the path itself comes first
		}
	}
	return versions
}

func (t *tool) readValue(ctx context.Context, name string, trim bool) (vault.Value, error) {
	if t.Interactive() {
		line, err := t.AskHidden(ctx, "Value of "+name+" (not shown): ", "VALUE | envrun set "+name)
		if err != nil {
			return vault.Value{}, err
		}
		if len(line) == 0 {
			return vault.Value{}, &cli.HintError{Err: errors.New("nothing was typed: no value for " + name), Code: cli.CodeUsage, Hint: "to set it empty on purpose: envrun set " + name + "="}
		}
		return vault.NewValue(line), nil
	}
	if cli.IsTerminal(t.In) {
		// Asking is off (CI, an agent, --no-input), and waiting for a terminal would hang.
		return vault.Value{}, &cli.NeedsAnswer{Question: "Value of " + name, Need: "envrun set " + name + " < FILE"}
	}
	value, err := io.ReadAll(io.LimitReader(t.In, vault.MaxValue+1))
	if err != nil {
		return vault.Value{}, fmt.Errorf("reading the value of %s from stdin: %w", name, err)
	}
	if len(value) > vault.MaxValue {
		return vault.Value{}, fmt.Errorf("the value of %s is longer than %d bytes", name, vault.MaxValue)
	}
	if len(value) == 0 {
		return vault.Value{}, &cli.HintError{Err: errors.New("stdin is empty: no value for " + name), Code: cli.CodeUsage, Hint: "to set it empty on purpose: envrun set " + name + "="}
	}
	if n := len(value); value[n-1] == '\n' {
		if trim {
			value = value[:n-1]
			if n > 1 && value[n-2] == '\r' {
				value = value[:n-2]
			}
		} else if strings.Count(string(value), "\n") == 1 {
			t.Notef("the value of %s ends with a newline, which is kept; --trim drops it", name)
		}
	}
	return vault.NewValue(value), nil
}
