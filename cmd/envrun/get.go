package main

import (
	"context"
	"fmt"

	"envrun/cmd/internal/cli"
	"envrun/vault"
	"envrun/vault/near"

	"github.com/spf13/cobra"
)

func newGet(t *tool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get NAME",
		Short: "Print the value of one secret, and nothing else",
		Long: `Prints the value of one field, byte for byte. On a terminal a newline follows
a value that does not end with one.`,
		Example: `  envrun get STRIPE_KEY
  envrun get -e prod shared/gcp/service_account_json > key.json`,
		Args: cli.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runGet(cmd.Context(), t, args[0]) },
	}
	addCacheFlags(cmd, t)
	cmd.ValidArgsFunction = t.completeFields
	return cmd
}

func runGet(ctx context.Context, t *tool, arg string) error {
	s, err := t.open(ctx)
	if err != nil {
		return err
	}
	path, name, err := field(s.Project, arg)
	if err != nil {
		return err
	}
	if err := t.allow(ctx, s.env, "is shown"); err != nil {
		return err
	}
	r, err := t.reader(s, false)
	if err != nil {
		return err
	}
	secret, err := r.Get(ctx, s.env.Name, path)
	if err != nil {
		return t.withNear(ctx, s, err)
	}
	f, ok := secret.Field(name)
	if !ok {
		return noField(secret, name)
	}
	value := f.Value.Reveal()
	if _, err := t.Out.Write(value); err != nil {
		return fmt.Errorf("printing the value: %w", err)
	}
	if cli.IsTerminal(t.Out) && (len(value) == 0 || value[len(value)-1] != '\n') {
		t.Printf("\n")
	}
	return nil
}

// noField says that a secret has no such field, and which was perhaps meant.
func noField(s vault.Secret, name vault.FieldName) error {
	var names []vault.FieldName
	for _, f := range s.Fields {
		names = append(names, f.Name)
	}
	return cli.Near(&vault.Error{Kind: vault.KindNotFound, Env: s.Env, Path: s.Path, Field: name, Detail: "the secret has no such field"}, near.Nearest(string(name), names))
}

// withNear adds to a "not found" the path that was perhaps meant.
func (t *tool) withNear(ctx context.Context, s selected, err error) error {
	if vault.KindOf(err) != vault.KindNotFound {
		return err
	}
	path, ok := cli.PathOf(err)
	if !ok {
		return err
	}
	var paths []string
	for info, err := range s.vault.List(ctx, s.env.Name, "") {
		if err == nil {
			paths = append(paths, string(info.Path))
		}
	}
	return cli.Near(err, near.Nearest(string(path), paths))
}
