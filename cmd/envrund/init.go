package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"envrun/auth/agekey"
	"envrun/cmd/internal/cli"
	"envrun/vault"
	"envrun/vault/keyring"
	"envrun/vault/server"
)

func newInit(t *tool) *cobra.Command {
	var (
		flags        configFlags
		recipients   []string
		newIdentity  string
		shares, need int
		environments []string
	)
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Set a server up: its root key, a root token",
		Long: `Set a server up, once: make its root key, sealed by at least two sealers of which
each opens it alone, and a root token. The server must not run meanwhile.

Sealers are the shares of the root key (--shares of which --threshold open it),
and age identities: --recipient of an operator, or --new-identity, which makes one
and writes it to a file. A file that lies beside the server (seal.identity in the
configuration) unseals it at each start; one that lies in a safe is for the day
when the shares are gone.

The shares and the token are printed once and kept nowhere. Give each share to
somebody else.`,
		Example: "  envrund init --new-identity /media/safe/envrund.txt\n" +
			"  envrund init --shares 5 --threshold 3 --recipient alice=age1… --env dev,staging,prod",
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.load(t.Getenv)
			if err != nil {
				return err
			}
			set := server.Setup{Environments: environments}
			if shares > 0 {
				if need < 1 || need > shares || shares > 1 && need == 1 {
					return cli.Usagef(cmd.CommandPath(), "--threshold %d: of %d shares, 2 to %d can be asked for", need, shares, shares)
				}
				set.Shares = &keyring.Shares{Shares: shares, Threshold: need}
			}
			for _, r := range recipients {
				name, recipient, ok := strings.Cut(r, "=")
				if !ok || name == "" {
					return cli.Usagef(cmd.CommandPath(), "--recipient is NAME=RECIPIENT, as alice=age1…")
				}
				set.Sealers = append(set.Sealers, keyring.AgeSealer{Name: name, Recipient: recipient})
			}
			return setup(cmd, t, c, set, newIdentity)
		},
	}
	flags.add(cmd, false)
	cmd.Flags().IntVar(&shares, "shares", 3, "shares of the root key; 0: none")
	cmd.Flags().IntVar(&need, "threshold", 2, "how many of them open it")
	cmd.Flags().StringArrayVar(&recipients, "recipient", nil, "an age recipient that opens it too, NAME=RECIPIENT (again for more)")
	cmd.Flags().StringVar(&newIdentity, "new-identity", "", "make an age identity that opens it too, and write it to this file")
	cmd.Flags().StringSliceVar(&environments, "env", nil, "environments to begin with")
	return cmd
}

func setup(cmd *cobra.Command, t *tool, c *config, set server.Setup, newIdentity string) error {
	ctx := cmd.Context()
	if n := len(set.Sealers) + len(c.sealers()); set.Shares == nil && n+one(newIdentity != "") < 2 || set.Shares != nil && n == 0 && newIdentity == "" {
		return &cli.HintError{Code: cli.CodeUsage, Err: errors.New("the root key needs two sealers: if the only one is lost, everything is"),
			Hint: "envrund init --new-identity FILE, or --recipient NAME=age1…"}
	}
	s, db, err := c.open(ctx, nil, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	if newIdentity != "" {
		id, err := agekey.Generate()
		if err != nil {
			return err
		}
		f, err := os.OpenFile(newIdentity, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("writing the identity: %w", err)
		}
		_, err = f.WriteString("# envrund: opens the root key of the server whose data is in " + c.Data + "\n# public key: " + id.Recipient() + "\n" + id.Reveal() + "\n")
		if err == nil {
			err = f.Sync()
		}
		if e := f.Close(); err == nil {
			err = e
		}
		if err != nil {
			return fmt.Errorf("writing the identity: %w", err)
		}
		set.Sealers = append(set.Sealers, keyring.AgeSealer{Name: "file", Recipient: id.Recipient()})
	}
	parts, root, err := s.Init(ctx, set)
	if err != nil {
		if newIdentity != "" {
			os.Remove(newIdentity) // nothing was sealed for it
		}
		return err
	}
	texts := make([]string, len(parts))
	for i, p := range parts {
		texts[i] = base64.StdEncoding.EncodeToString(p)
	}
	if t.json {
		return cli.WriteJSON(t.Out, map[string]any{"unseal_keys_b64": texts, "unseal_shares": len(texts), "unseal_threshold": threshold(set), "root_token": root})
	}
	for i, text := range texts {
		t.Printf("Unseal Key %d: %s\n", i+1, text)
	}
	t.Printf("\nInitial Root Token: %s\n\n", root)
	t.Sayf("the server is set up, and sealed. What is printed above is kept nowhere else.\n")
	if len(texts) > 0 {
		t.Sayf("give each key to somebody else: %d of the %d open the server\n", threshold(set), len(texts))
	}
	t.Sayf("next: envrund serve --data %s, then envrund unseal\n", cli.Quote(c.Data))
	return nil
}

func threshold(set server.Setup) int {
	if set.Shares == nil {
		return 0
	}
	return set.Shares.Threshold
}

func one(is bool) int {
	if is {
		return 1
	}
	return 0
}

// parseIdentity reads the text of an identity file.
func parseIdentity(file string, text []byte) ([]age.Identity, error) {
	id, err := agekey.Parse(string(text))
	if err != nil {
		return nil, &vault.Error{Kind: vault.KindInvalid, Op: "reading the identity", File: file, Err: err}
	}
	return id.Unwrap(), nil
}
