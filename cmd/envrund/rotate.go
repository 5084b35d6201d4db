package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"envrun/cmd/internal/cli"
	"envrun/vault"
	api "envrun/vault/remote"
	"envrun/vault/wire"
)

func newRotate(t *tool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Renew the root key of a running server, or the key of an environment",
		Long: `Renew the root key of a running server, or the key of an environment. Reads and
writes go on meanwhile, also at other servers on the same database.

The values of secrets are not encrypted anew: their keys are. After somebody may
have had the data together with the key of its time, replace the values too.`,
		Example: "  envrund rotate root\n  envrund rotate env prod",
		Args:    cli.ExactArgs(0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRotateRoot(t), newRotateEnv(t))
	return cmd
}

// token is the token of an operator, who is told what it is for.
func (t *tool) token(command string) (string, error) {
	token := t.Getenv("VAULT_TOKEN")
	if token == "" {
		return "", &cli.HintError{Err: errors.New("this needs a token that may do it"), Code: cli.CodeAuth, Hint: "VAULT_TOKEN=… " + command}
	}
	return token, nil
}

func newRotateRoot(t *tool) *cobra.Command {
	var r remote
	cmd := &cobra.Command{
		Use:     "root",
		Short:   "Renew the root key, for the sealers that there are",
		Example: "  VAULT_TOKEN=… envrund rotate root",
		Args:    cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			token, err := t.token("envrund rotate root")
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			if err := r.ask(ctx, t.Getenv, http.MethodPut, "sys/rotate", token, nil, nil); err != nil {
				return err
			}
			var is struct {
				Data wire.KeyStatus `json:"data"`
			}
			if err := r.ask(ctx, t.Getenv, http.MethodGet, "sys/key-status", token, nil, &is); err != nil {
				return err
			}
			if t.json {
				return cli.WriteJSON(t.Out, is.Data)
			}
			t.Sayf("the root key is of generation %d now; every sealer opens it as before\n", is.Data.Term)
			return nil
		},
	}
	r.add(cmd)
	return cmd
}

func newRotateEnv(t *tool) *cobra.Command {
	var (
		r      remote
		noWait bool
	)
	cmd := &cobra.Command{
		Use:   "env NAME",
		Short: "Give an environment a new key, and seal all versions under it",
		Long: `Give an environment (a KV mount) a new key. Writes use it at once; the keys of all
stored versions are wrapped under it in the background, and then the former key is
dropped. The command waits for that and shows how far it has come; the server
goes on with it whether or not anybody waits, also after it was restarted. While a
rotation is under way the command joins it and begins no other.`,
		Example: "  VAULT_TOKEN=… envrund rotate env prod\n  VAULT_TOKEN=… envrund rotate env prod --no-wait --json",
		Args:    cli.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			token, err := t.token("envrund rotate env " + cli.Quote(args[0]))
			if err != nil {
				return err
			}
			return rotateEnv(cmd.Context(), t, &r, token, strings.Trim(args[0], "/"), noWait)
		},
	}
	r.add(cmd)
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "do not wait for the end")
	return cmd
}

func rotateEnv(ctx context.Context, t *tool, r *remote, token, name string, noWait bool) error {
	const env = "env" // it is known by its mount alone
	v, err := r.vault(t.Getenv, token, map[vault.Env]string{env: name})
	if err != nil {
		return err
	}
	defer v.Close()
	said := false
	var is wire.Rotation
	if noWait {
		is, err = v.BeginRotation(ctx, env)
	} else {
		is, err = v.RotateKey(ctx, env, func(r wire.Rotation) {
			if said = cli.IsTerminal(t.Err); said {
				t.Sayf("\r%d of %d rows", r.Rows, r.Total)
			}
		})
	}
	if said {
		t.Sayf("\n")
	}
	switch vault.KindOf(err) {
	case vault.KindNoEnv:
		return &cli.HintError{Err: fmt.Errorf("there is no environment %s", name), Hint: "vault secrets list"}
	case vault.KindTampered:
		return &cli.HintError{Err: err, Hint: "envrund verify says what else is wrong; the former key stays until every version is wrapped anew"}
	}
	if err != nil {
		return err
	}
	if t.json {
		return cli.WriteJSON(t.Out, is)
	}
	if is.Done {
		t.Sayf("%s: everything is sealed under generation %d of its key\n", name, is.Generation)
	} else {
		t.Sayf("%s: writes use generation %d of its key; %d rows follow in the background\n", name, is.Generation, is.Total)
	}
	return nil
}

// vault is a client of the server for what package remote knows to ask.
func (r *remote) vault(getenv func(string) string, token string, mounts map[vault.Env]string) (*api.Vault, error) {
	o := api.Options{
		Address: r.at(getenv), Mounts: mounts,
		Token: func(context.Context) (string, error) { return token, nil },
	}
	if file := first(r.ca, getenv("VAULT_CACERT")); file != "" {
		var err error
		if o.CA, err = os.ReadFile(file); err != nil {
			return nil, fmt.Errorf("reading the certificates: %w", err)
		}
	}
	if pin := first(r.pin, getenv("ENVRUND_PIN")); pin != "" {
		o.Pins, o.CA = []string{pin}, nil // it stands for itself
	}
	return api.Open(o)
}
