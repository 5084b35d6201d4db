package main

import (
	"fmt"
	"net"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"envrun/cmd/internal/cli"
	"envrun/vault/keyring"
	"envrun/vault/server"
	"envrun/vault/sqlite"
)

func newDev(t *tool) *cobra.Command {
	var listen, token string
	var environments []string
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a server to try things out: all in memory, unsealed",
		Long: `Run a server to try things out. Everything is in memory and gone when it ends, it
is unsealed, its root token stands on the screen, and it speaks plain HTTP. It
listens to this machine alone.

NEVER keep a real secret in it.`,
		Example: "  envrund dev\n  envrund dev --env dev,staging,prod --root-token root",
		Args:    cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return dev(cmd, t, listen, token, environments)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8200", "host and port to listen on; of this machine only")
	cmd.Flags().StringVar(&token, "root-token", "", "text of the root token (default: a random one)")
	cmd.Flags().StringSliceVar(&environments, "env", []string{"secret"}, "environments (KV v2 mounts) to begin with")
	return cmd
}

func dev(cmd *cobra.Command, t *tool, listen, token string, environments []string) error {
	ctx := cmd.Context()
	host, _, err := net.SplitHostPort(listen)
	if err != nil || !loopback(host) {
		return cli.Usagef(cmd.CommandPath(), "--listen %s: a dev server listens to this machine alone, as 127.0.0.1:8200", listen)
	}
	db, err := sqlite.OpenMemory(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	log := logger(t)
	address := "http://" + l.Addr().String()
	s := server.New(server.Config{DB: database{db}, Version: apiVersion, StorageType: "inmem", Address: address, Logger: log})
	// Nobody keeps the two identities: what the root is sealed for ends with it.
	set := server.Setup{Token: token, Open: true, Environments: environments}
	for _, name := range []string{"one", "two"} {
		id, err := age.GenerateHybridIdentity()
		if err != nil {
			return err
		}
		set.Sealers = append(set.Sealers, keyring.AgeSealer{Name: name, Recipient: id.Recipient().String()})
	}
	_, root, err := s.Init(ctx, set)
	if err != nil {
		return err
	}
	if t.json {
		if err := cli.WriteJSONLine(t.Out, map[string]any{"address": address, "root_token": root, "environments": environments, "at": time.Now().UTC()}); err != nil {
			return err
		}
	} else {
		t.Printf("envrund DEV server: all is in memory, unsealed, and gone when this ends.\nNEVER keep a real secret in it.\n\n"+
			"  export VAULT_ADDR=%s\n  export VAULT_TOKEN=%s\n\n", cli.Quote(address), cli.Quote(root))
	}
	return run(ctx, s, l, log)
}
