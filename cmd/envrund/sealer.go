package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"envrun/cmd/internal/cli"
	"envrun/vault/keyring"
	"envrun/vault/wire"
)

func newSealer(t *tool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sealer",
		Short: "List, add and drop what opens the root key of a running server",
		Long: `List, add and drop what opens the root key of a running server. Each of the sealers
opens it alone; there are at least two. Adding or dropping one makes a new root key,
so that whoever is dropped opens nothing that is stored from then on. What they could
read before, they may have read.

  age:NAME      an age identity, by its recipient
  shamir        shares of a key; there is one set of them
  transit:NAME  the transit engine of a Vault, by its name in the configuration`,
		Example: "  envrund sealer list\n  envrund sealer add age:bob --recipient age1…\n  envrund sealer rm age:alice",
		Args:    cli.ExactArgs(0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSealerList(t), newSealerAdd(t), newSealerRm(t))
	return cmd
}

func newSealerList(t *tool) *cobra.Command {
	var r remote
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the sealers",
		Example: "  VAULT_TOKEN=… envrund sealer list",
		Args:    cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			token, err := t.token("envrund sealer list")
			if err != nil {
				return err
			}
			var is struct {
				Data wire.Sealers `json:"data"`
			}
			if err := r.ask(cmd.Context(), t.Getenv, http.MethodGet, "sys/sealers", token, nil, &is); err != nil {
				return err
			}
			if t.json {
				return cli.WriteJSON(t.Out, is.Data)
			}
			for _, s := range is.Data.Sealers {
				what := s.Recipient
				if s.Threshold > 0 {
					what = fmt.Sprintf("%d of %d shares", s.Threshold, s.Shares)
				}
				if len(what) > 24 {
					what = what[:20] + "…"
				}
				t.Printf("%-24s  since %s  %s\n", cli.Printable(s.ID), s.Since.Format(time.DateOnly), cli.Printable(what))
			}
			for _, id := range is.Data.Available {
				t.Printf("%-24s  can be added\n", cli.Printable(id))
			}
			return nil
		},
	}
	r.add(cmd)
	return cmd
}

func newSealerAdd(t *tool) *cobra.Command {
	var (
		r            remote
		recipient    string
		shares, need int
		shareFor     []string
	)
	cmd := &cobra.Command{
		Use:   "add ID",
		Short: "Add a sealer",
		Long: `Add a sealer. New shares take the place of the present ones, which then open
nothing any more. They are printed once and kept nowhere; with --share-for each is
sealed for an operator's age recipient, who gives it with
"age -d -i KEY SHARE | envrund unseal".`,
		Example: "  envrund sealer add age:bob --recipient age1…\n  envrund sealer add shamir --shares 5 --threshold 3\n  envrund sealer add transit:main",
		Args:    cli.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id := args[0]
			token, err := t.token("envrund sealer add " + cli.Quote(id))
			if err != nil {
				return err
			}
			in := wire.SealerWrite{Recipient: recipient}
			var to []keyring.AgeSealer
			switch {
			case strings.HasPrefix(id, "age:") && recipient == "":
				return cli.Usagef(cmd.CommandPath(), "%s needs --recipient age1…", id)
			case id == "shamir":
				if to, shares, err = operators(cmd, shareFor, shares); err != nil {
					return err
				}
				if err := checkShares(cmd, shares, need); err != nil {
					return err
				}
				in.SecretShares, in.SecretThreshold = wire.Int(shares), wire.Int(need)
				for _, o := range to {
					in.Recipients = append(in.Recipients, o.Recipient)
				}
			}
			var out struct {
				Data wire.SealerKeys `json:"data"`
			}
			if err := r.ask(cmd.Context(), t.Getenv, http.MethodPut, sealerPath(id), token, in, &out); err != nil {
				return err
			}
			if t.json {
				return cli.WriteJSON(t.Out, out.Data)
			}
			var texts []string
			for _, k := range out.Data.KeysBase64 {
				texts = append(texts, string(k))
			}
			printShares(t, texts, out.Data.KeysAge, to)
			t.Sayf("%s opens the root key now\n", id)
			return nil
		},
	}
	r.add(cmd)
	cmd.Flags().StringVar(&recipient, "recipient", "", "of age:NAME: the age recipient")
	cmd.Flags().IntVar(&shares, "shares", 3, "of shamir: how many shares")
	cmd.Flags().IntVar(&need, "threshold", 2, "of shamir: how many of them open the root key")
	cmd.Flags().StringArrayVar(&shareFor, "share-for", nil, "of shamir: seal a share for this operator, NAME=RECIPIENT (once for each share)")
	return cmd
}

func newSealerRm(t *tool) *cobra.Command {
	var r remote
	cmd := &cobra.Command{
		Use:     "rm ID",
		Short:   "Drop a sealer",
		Example: "  VAULT_TOKEN=… envrund sealer rm age:alice",
		Args:    cli.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			token, err := t.token("envrund sealer rm " + cli.Quote(args[0]))
			if err != nil {
				return err
			}
			err = r.ask(cmd.Context(), t.Getenv, http.MethodDelete, sealerPath(args[0]), token, nil, nil)
			if said := (*serverSaid)(nil); errors.As(err, &said) && said.status == http.StatusNotFound {
				return &cli.HintError{Err: fmt.Errorf("there is no sealer %s", args[0]), Hint: "envrund sealer list"}
			}
			if err != nil {
				return err
			}
			t.Sayf("%s opens nothing any more that is stored from now on\n", args[0])
			return nil
		},
	}
	r.add(cmd)
	return cmd
}

func sealerPath(id string) string { return "sys/sealers/" + url.PathEscape(id) }

// checkShares refuses numbers of shares that protect nothing.
func checkShares(cmd *cobra.Command, shares, need int) error {
	if need < 1 || need > shares || shares > 1 && need == 1 {
		return cli.Usagef(cmd.CommandPath(), "--threshold %d: of %d shares, 2 to %d can be asked for", need, shares, shares)
	}
	return nil
}

// operators reads --share-for, and how many shares there are then: one each.
func operators(cmd *cobra.Command, shareFor []string, shares int) ([]keyring.AgeSealer, int, error) {
	if len(shareFor) == 0 {
		return nil, shares, nil
	}
	if cmd.Flags().Changed("shares") && shares != len(shareFor) {
		return nil, 0, cli.Usagef(cmd.CommandPath(), "--shares %d: with --share-for there is one for each of %d operators", shares, len(shareFor))
	}
	to, err := namedRecipients(cmd, "share-for", shareFor)
	return to, len(shareFor), err
}

// namedRecipients reads flags of the form NAME=RECIPIENT.
func namedRecipients(cmd *cobra.Command, flag string, texts []string) ([]keyring.AgeSealer, error) {
	var all []keyring.AgeSealer
	for _, text := range texts {
		name, recipient, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, cli.Usagef(cmd.CommandPath(), "--%s is NAME=RECIPIENT, as alice=age1…", flag)
		}
		all = append(all, keyring.AgeSealer{Name: name, Recipient: recipient})
	}
	return all, nil
}

// printShares prints shares in clear, or sealed for the operators.
func printShares(t *tool, texts, sealed []string, to []keyring.AgeSealer) {
	for i, text := range texts {
		t.Printf("Unseal Key %d: %s\n", i+1, text)
	}
	for i, text := range sealed {
		t.Printf("Unseal Key %d, for %s:\n%s\n", i+1, cli.Printable(to[i].Name), text)
	}
}
