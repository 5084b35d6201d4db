package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"envrun/cmd/internal/cli"
)

// errFindings ends verify when something is wrong: what it is was said.
var errFindings = errors.New("what is stored is not what was written")

func newVerify(t *tool) *cobra.Command {
	var (
		flags    configFlags
		identity string
	)
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check that nothing stored was edited, moved, removed or put back",
		Long: `Check that nothing stored was edited, moved, removed or put back: the server's own
records, every version of every secret, the tokens, and the audit log from its first
entry.
It opens the database itself, with an identity that the root key is sealed for. On
SQLite the server is stopped for it.

A mount that was put back with all its rows contradicts the audit log, in which each
change says how far it has come. What this cannot see is a database that was put back as
a whole, as from a backup: clients notice that by the audit checkpoint they remember
(envrun audit verify). Nor does it see that the row of a token which was revoked was put back.
Exit status 1 if anything is wrong.`,
		Example: "  envrund verify --config /etc/envrund.toml\n  envrund verify --identity ops.txt --json",
		Args:    cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.load(t.Getenv)
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			s, db, err := c.unsealed(ctx, t, identity, "envrund verify --identity FILE")
			if err != nil {
				return err
			}
			defer db.Close()
			v, err := s.Verify(ctx)
			if err != nil {
				return fmt.Errorf("the check did not come to its end: %w", err)
			}
			type finding struct {
				Mount string `json:"mount,omitempty"`
				Path  string `json:"path,omitempty"`
				Error string `json:"error"`
			}
			findings := []finding{}
			for _, f := range v.Findings {
				findings = append(findings, finding{string(f.Env), string(f.Path), f.Err.Error()})
			}
			if t.json {
				err = cli.WriteJSON(t.Out, map[string]any{"mounts": v.Mounts, "tokens": v.Tokens, "audit_entries": v.Entries, "findings": findings})
			} else {
				for _, f := range findings {
					where := ""
					if f.Mount != "" {
						where = f.Mount + ": "
					}
					t.Printf("%s\n", cli.Printable(where+f.Error))
				}
				if len(findings) == 0 {
					t.Printf("%d mounts, %d tokens and %d audit entries: everything is as it was written\n", v.Mounts, v.Tokens, v.Entries)
				}
			}
			if err == nil && len(findings) > 0 {
				err = errFindings
			}
			return err
		},
	}
	flags.add(cmd, false)
	cmd.Flags().StringVar(&identity, "identity", "", "file of an identity that the root key is sealed for (default: the configuration's)")
	return cmd
}
