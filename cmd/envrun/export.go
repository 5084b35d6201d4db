package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"envrun/cmd/internal/cli"
	"envrun/envrun/environ"
	"envrun/vault"

	"github.com/spf13/cobra"
)

func newExport(t *tool) *cobra.Command {
	var o exportOptions
	cmd := &cobra.Command{
		Use:   "export [PATH]",
		Short: "Print values in another tool's format",
		Long: `Prints what a run would inject, or with PATH the fields of one secret, so that
the format's own reader gets the same bytes back. What a format cannot hold is
refused with the name of the variable.

Formats: dotenv, json, yaml, shell, fish, powershell, docker (run --env-file),
compose, github (for the file that GITHUB_ENV names), k8s (a Secret manifest).

The values leave the vault in plain text: prefer envrun -- COMMAND.`,
		Example: `  eval "$(envrun export --format shell)"
  envrun export --format github >> "$GITHUB_ENV"
  envrun export -e prod --format k8s --name billing | kubectl apply -f -`,
		Args: cli.MaxArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runExport(cmd.Context(), t, o, args) },
	}
	cmd.Flags().StringVar(&o.format, "format", "", "the format (needed)")
	cmd.Flags().StringVar(&o.dialect, "dialect", "", "of dotenv: whose reader gets the values back (default: all but docker's)")
	cmd.Flags().StringVar(&o.name, "name", "", "of k8s: the Secret's name; of compose: the service's (default: the project's)")
	cmd.Flags().StringVar(&o.namespace, "namespace", "", "of k8s: the namespace")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(exportFormats, cobra.ShellCompDirectiveNoFileComp))
	addCacheFlags(cmd, t)
	cmd.ValidArgsFunction = t.completePaths
	return cmd
}

type exportOptions struct{ format, dialect, name, namespace string }

var exportFormats = []string{"dotenv", "json", "yaml", "shell", "fish", "powershell", "docker", "compose", "github", "k8s"}

func runExport(ctx context.Context, t *tool, o exportOptions, args []string) error {
	if !slices.Contains(exportFormats, o.format) {
		return cli.Usagef("envrun export", "--format is one of %s", strings.Join(exportFormats, ", "))
	}
	s, err := t.open(ctx)
	if err != nil {
		return err
	}
	if err := t.allow(ctx, s.env, "was exported"); err != nil {
		return err
	}
	var entries []environ.Entry
	if len(args) == 1 {
		path, err := vault.ParsePath(args[0])
		if err != nil {
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
		for _, f := range secret.Values {
			entries = append(entries, environ.Entry{Name: string(f.Name), Value: f.Value})
		}
	} else {
		plan, err := t.resolve(ctx, s, runOptions{})
		if err != nil {
			return err
		}
		for _, v := range plan.Variables {
			entries = append(entries, environ.Entry{Name: v.Name, Value: v.Value})
		}
		for _, f := range plan.Files {
			t.Notef("%s is delivered as a file and left out; envrun get %s/%s prints it", f.Var, f.Path, f.Field)
		}
	}
	if o.name == "" && s.Name != "" {
		o.name = strings.ReplaceAll(string(s.Name), "/", "-")
	}
	// Nothing is printed unless all of it can be.
	var out bytes.Buffer
	err = environ.Export(&out, environ.Format(o.format), entries, environ.ExportOptions{Dialect: environ.Dialect(o.dialect), Name: o.name, Namespace: o.namespace})
	if err != nil {
		return err
	}
	if _, err := t.Out.Write(out.Bytes()); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}
