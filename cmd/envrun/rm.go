package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"envrun/cmd/internal/cli"
	"envrun/vault"

	"github.com/spf13/cobra"
)

func newRm(t *tool) *cobra.Command {
	var whole bool
	cmd := &cobra.Command{
		Use:   "rm NAME…",
		Short: "Remove fields, or with --secret whole secrets",
		Long: `Removes fields. A secret whose last field goes is deleted: it leaves a mark,
so that it cannot come back unnoticed; what was committed, rollback brings back.
All names are removed or none.`,
		Example: `  envrun rm OLD_KEY
  envrun rm --secret shared/legacy`,
		Args: cli.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runRm(cmd.Context(), t, args, whole) },
	}
	cmd.Flags().BoolVar(&whole, "secret", false, "the arguments are paths of whole secrets")
	cmd.ValidArgsFunction = t.completeFields
	return cmd
}

func runRm(ctx context.Context, t *tool, args []string, whole bool) error {
	s, err := t.openToWrite(ctx)
	if err != nil {
		return err
	}
	drops := map[vault.Path][]vault.FieldName{}
	var order []vault.Path
	for _, arg := range args {
		var path vault.Path
		var name vault.FieldName
		if whole {
			path, err = vault.ParsePath(arg)
		} else {
			path, name, err = field(s.Project, arg)
		}
		if err != nil {
			return err
		}
		if _, seen := drops[path]; !seen {
			order = append(order, path)
		}
		drops[path] = append(drops[path], name)
	}
	var changes []vault.Change
	for _, path := range order {
		secret, err := s.vault.Get(ctx, s.env.Name, path)
		if err != nil {
			return t.withNear(ctx, s, err)
		}
		change := vault.Change{Path: path, Was: secret.Version}
		left := len(secret.Fields)
		for _, name := range drops[path] {
			if whole {
				break
			}
			if _, ok := secret.Field(name); !ok {
				return noField(secret, name)
			}
			if !slices.Contains(change.Drop, name) {
				change.Drop = append(change.Drop, name)
				left--
			}
		}
		if whole || left == 0 {
			change = vault.Change{Path: path, Was: secret.Version, Delete: true}
		}
		changes = append(changes, change)
	}
	if err := t.allow(ctx, s.env, "was removed"); err != nil {
		return err
	}
	if t.Interactive() && t.flags.yes == "" && !s.env.Protected {
		ok, err := t.Confirm(ctx, fmt.Sprintf("Remove %s from %s?", strings.Join(args, ", "), s.env.Name), "--yes")
		if err != nil {
			return err
		}
		if !ok {
			return cli.ErrDeclined
		}
	}
	infos, err := s.vault.Apply(ctx, s.env.Name, changes)
	if err != nil {
		return err
	}
	for i, info := range infos {
		if info.Deleted {
			t.Notef("%s %s: deleted (version %d)", s.env.Name, info.Path, info.Version)
			continue
		}
		t.Notef("%s %s: removed %s (version %d)", s.env.Name, info.Path, cli.Join(changes[i].Drop), info.Version)
	}
	return nil
}
