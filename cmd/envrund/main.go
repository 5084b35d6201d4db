// Command envrund is the team server: a vault that a team's tools and people reach
// over the HashiCorp Vault API, with policies, tokens and an audit log.
//
// It wires: the database, the server (vault/server), the listener and what unseals
// it; and it holds the operator's commands. It refuses to serve plain HTTP to
// anybody but this machine unless told so in as many words, and to make up a
// configuration: what is not said has the value that the documentation says.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"envrun/cmd/internal/cli"
	"envrun/vault"
)

// version is set by the linker: git describe of what was built.
var version = "dev"

// apiVersion is the version of the API that is spoken, as clients compare it: they
// take features from it, so it is Vault's number and not ours.
const apiVersion = "1.18.0+envrun"

func main() { os.Exit(runMain(os.Args[1:])) }

// tool is what the commands share.
type tool struct {
	cli.Streams
	json bool
}

func runMain(args []string) int {
	cli.GuardMemory(false)
	t := &tool{Streams: cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv}}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot(t)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errSealed):
		return 2
	}
	report := cli.Explainer{More: []func(error, *cli.Report) bool{explain}}.Explain(err)
	report.Program = "envrund"
	report.WriteText(t.Err)
	return report.Exit
}

func newRoot(t *tool) *cobra.Command {
	root := &cobra.Command{
		Use:   "envrund",
		Short: "The team server of envrun: a Vault-API server for a team's secrets",
		Long: `envrund keeps a team's secrets and speaks the HashiCorp Vault API, so that
envrun, the vault and bao commands and every other client of Vault work with it.

  envrund dev                                  try it: all in memory, nothing is kept
  envrund init --new-identity ops.txt          set a server up, once
  envrund serve                                run it
  envrund unseal                               give it the shares of its root key`,
		Args:          cli.ExactArgs(0),
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetIn(t.In)
	root.SetOut(t.Out)
	root.SetErr(t.Err)
	root.PersistentFlags().BoolVar(&t.json, "json", false, "print facts as JSON")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return cli.Usagef(cmd.CommandPath(), "%v", err) })
	root.AddCommand(newDev(t), newInit(t), newServe(t), newUnseal(t), newSeal(t), newStatus(t), newSealer(t), newRotate(t), newVerify(t), newVersion(t))
	return root
}

func newVersion(t *tool) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cli.ExactArgs(0),
		RunE: func(*cobra.Command, []string) error {
			if t.json {
				return cli.WriteJSON(t.Out, map[string]string{"version": version, "api": apiVersion})
			}
			t.Printf("envrund %s (Vault API %s)\n", version, apiVersion)
			return nil
		},
	}
}

// explain says the words for errors that have more than a kind.
func explain(err error, r *cli.Report) bool {
	if said := (*serverSaid)(nil); errors.As(err, &said) {
		r.Code = cli.CodeFailed
		switch {
		case said.status == 403:
			r.Code = cli.CodeAuth
			r.AddHint("VAULT_TOKEN=… must be a token that may do that")
		case said.status == 503:
			r.AddHint("envrund unseal")
		}
		return true
	}
	switch vault.KindOf(err) {
	case vault.KindNoVault:
		r.AddHint("envrund init --new-identity FILE")
		return true
	case vault.KindBusy:
		r.AddHint("stop the server that runs, or say --data for another folder")
		return true
	}
	return false
}
