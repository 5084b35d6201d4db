package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"envrun/cmd/internal/cli"
	"envrun/vault"

	"github.com/spf13/cobra"
)

func newList(t *tool) *cobra.Command {
	var long bool
	cmd := &cobra.Command{
		Use:     "list [PREFIX]",
		Aliases: []string{"ls"},
		Short:   "List the names of an environment's secrets, never their values",
		Long: `Lists every field as path/NAME, which is what get, set and rm take. It needs
no key: names are not secret in a file vault.`,
		Example: `  envrun list
  envrun list -e prod shared --long`,
		Args: cli.MaxArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runList(cmd.Context(), t, args, long) },
	}
	cmd.Flags().BoolVarP(&long, "long", "l", false, "also version, date, author, tags and note")
	cmd.ValidArgsFunction = t.completePaths
	return cmd
}

// secretFacts is what --json prints of a secret. It has no room for a value.
type secretFacts struct {
	Env     vault.Env    `json:"env"`
	Path    vault.Path   `json:"path"`
	Version uint64       `json:"version"`
	By      string       `json:"by,omitempty"`
	At      time.Time    `json:"at"`
	Rotate  string       `json:"rotate,omitempty"`
	Tags    []string     `json:"tags,omitempty"`
	Note    string       `json:"note,omitempty"`
	Deleted bool         `json:"deleted,omitempty"`
	Fields  []fieldFacts `json:"fields"`
}

type fieldFacts struct {
	Name  vault.FieldName `json:"name"`
	Since uint64          `json:"since"`
}

func factsOf(info vault.Info) secretFacts {
	f := secretFacts{Env: info.Env, Path: info.Path, Version: info.Version, By: info.By, At: info.At, Rotate: info.Rotate,
		Tags: info.Tags, Note: info.Note, Deleted: info.Deleted, Fields: []fieldFacts{}}
	for _, field := range info.Fields {
		f.Fields = append(f.Fields, fieldFacts{field.Name, field.Since})
	}
	return f
}

func runList(ctx context.Context, t *tool, args []string, long bool) error {
	s, err := t.open(ctx)
	if err != nil {
		return err
	}
	var prefix vault.Path
	if len(args) == 1 {
		if prefix, err = vault.ParsePath(strings.TrimSuffix(args[0], "/")); err != nil {
			return err
		}
	}
	facts := []secretFacts{}
	var bad []error
	for info, err := range s.vault.List(ctx, s.env.Name, prefix) {
		switch {
		case err != nil && (vault.KindOf(err) == vault.KindNoEnv || ctx.Err() != nil):
			return err
		case err != nil:
			bad = append(bad, err)
		default:
			facts = append(facts, factsOf(info))
		}
	}
	if t.flags.json {
		if err := cli.WriteJSON(t.Out, facts); err != nil {
			return err
		}
	} else {
		table := cli.NewTable(t.Streams)
		for _, f := range facts {
			for _, field := range f.Fields {
				name := string(f.Path) + "/" + string(field.Name)
				if !long {
					table.Row(name)
					continue
				}
				table.Row(name, fmt.Sprintf("v%d", field.Since), f.At.Format(time.DateOnly), f.By, strings.Join(f.Tags, " "), f.Note)
			}
		}
		if err := table.Flush(); err != nil {
			return err
		}
		if len(facts) == 0 && len(bad) == 0 {
			where := string(s.env.Name)
			if prefix != "" {
				where += " below " + string(prefix)
			}
			t.Notef("no secrets in %s yet", where)
		}
	}
	return cli.Several(bad)
}
