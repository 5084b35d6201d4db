package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"

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
		shareFor     []string
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
somebody else; with --share-for each is sealed for an operator's age recipient, who
gives it with "age -d -i KEY SHARE | envrund unseal". A sealer that the configuration
names (seal.auto) is one of them too.`,
		Example: "  envrund init --new-identity /media/safe/envrund.txt\n" +
			"  envrund init --shares 5 --threshold 3 --recipient alice=age1… --env dev,staging,prod",
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := flags.load(t.Getenv)
			if err != nil {
				return err
			}
			set := server.Setup{Environments: environments}
			var to []keyring.AgeSealer // each share is for one of them
			if to, shares, err = operators(cmd, shareFor, shares); err != nil {
				return err
			}
			if shares > 0 {
				if err := checkShares(cmd, shares, need); err != nil {
					return err
				}
				set.Shares = &keyring.Shares{Shares: shares, Threshold: need}
			}
			if set.Sealers, err = namedRecipients(cmd, "recipient", recipients); err != nil {
				return err
			}
			return setup(cmd, t, c, set, newIdentity, to)
		},
	}
	flags.add(cmd, false)
	cmd.Flags().IntVar(&shares, "shares", 3, "shares of the root key; 0: none")
	cmd.Flags().IntVar(&need, "threshold", 2, "how many of them open it")
	cmd.Flags().StringArrayVar(&shareFor, "share-for", nil, "seal a share for this operator's age recipient, NAME=RECIPIENT (once for each share)")
	cmd.Flags().StringArrayVar(&recipients, "recipient", nil, "an age recipient that opens it too, NAME=RECIPIENT (again for more)")
	cmd.Flags().StringVar(&newIdentity, "new-identity", "", "make an age identity that opens it too, and write it to this file")
	cmd.Flags().StringSliceVar(&environments, "env", nil, "environments to begin with")
	return cmd
}

func setup(cmd *cobra.Command, t *tool, c *config, set server.Setup, newIdentity string, to []keyring.AgeSealer) error {
	ctx := cmd.Context()
	for _, o := range to { // before there is something that cannot be said again
		if _, err := agekey.ParseRecipient(o.Recipient); err != nil {
			return cli.Usagef(cmd.CommandPath(), "--share-for %s: %v", o.Name, err)
		}
	}
	if n := len(set.Sealers) + len(c.sealers()) + c.services(); set.Shares == nil && n+one(newIdentity != "") < 2 || set.Shares != nil && n == 0 && newIdentity == "" {
		return &cli.HintError{Code: cli.CodeUsage, Err: errors.New("the root key needs two sealers: if the only one is lost, everything is"),
			Hint: "envrund init --new-identity FILE, or --recipient NAME=age1…"}
	}
	ways, err := c.ways(t.Getenv)
	if err != nil {
		return err
	}
	s, db, err := c.open(ctx, nil, nil, &opener{ways: ways})
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
	defer func() {
		for _, p := range parts {
			clear(p)
		}
	}()
	var texts, sealed []string
	if len(to) > 0 {
		if sealed, err = keyring.ForOperators(parts, to); err != nil {
			return err
		}
	} else {
		texts = make([]string, len(parts))
		for i, p := range parts {
			texts[i] = base64.StdEncoding.EncodeToString(p)
		}
	}
	if t.json {
		out := map[string]any{"unseal_keys_b64": texts, "unseal_shares": len(parts), "unseal_threshold": threshold(set), "root_token": root}
		if len(to) > 0 {
			delete(out, "unseal_keys_b64")
			out["unseal_keys_age"] = sealed
		}
		return cli.WriteJSON(t.Out, out)
	}
	printShares(t, texts, sealed, to)
	t.Printf("\nInitial Root Token: %s\n\n", root)
	t.Sayf("the server is set up, and sealed. What is printed above is kept nowhere else.\n")
	if len(parts) > 0 {
		t.Sayf("give each key to somebody else: %d of the %d open the server\n", threshold(set), len(parts))
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
