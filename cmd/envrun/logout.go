package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"envrun/auth/oidc/login"
	"envrun/auth/session"
	"envrun/cmd/internal/cli"
	"envrun/envrun/project"
	"envrun/vault/remote"

	"github.com/spf13/cobra"
)

func newLogout(t *tool) *cobra.Command {
	all := false
	cmd := &cobra.Command{
		Use:   "logout",
		Short: "Sign out of a team server",
		Long: `Revokes the session at the server and at the identity provider, and deletes it here.
What could not be revoked is named, with how long it stays good; the session is gone
from this machine all the same. Of several sessions, -e or --account says which.`,
		Example: `  envrun logout
  envrun logout -e prod
  envrun logout --account ann@example.com
  envrun logout --all`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&all, "all", false, "sign out of all servers, as all accounts")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return runLogout(cmd.Context(), t, all) }
	return cmd
}

// signedOut is what logout --json prints of a session.
type signedOut struct {
	ID      string   `json:"id"`
	Server  string   `json:"server"`
	Account string   `json:"account"`
	Steps   []ending `json:"steps"`
}

func runLogout(ctx context.Context, t *tool, all bool) error {
	store, err := t.sessions(false)
	if err != nil {
		return err
	}
	p, _ := t.project()
	accounts, err := t.chosen(store, p)
	if err != nil {
		return err
	}
	if len(accounts) > 1 && !all {
		var here []session.Account
		for _, a := range accounts {
			if p != nil && slices.ContainsFunc(p.Envs, func(env project.Env) bool { return env.Remote() && serverName(env.Vault) == a.Server }) {
				here = append(here, a)
			}
		}
		if len(here) != 1 {
			return &session.AmbiguousError{Wanted: t.flags.account, Accounts: accounts}
		}
		accounts = here
	}
	if len(accounts) == 0 {
		t.Notef("%s", t.notSignedIn())
	}
	out := []signedOut{}
	var errs []error
	for _, a := range accounts {
		env := t.serverOf(p, a)
		steps, err := t.signOutOf(ctx, store, a, env)
		if err != nil {
			errs = append(errs, err)
		}
		out = append(out, signedOut{a.ID, a.Server, a.Label, steps})
	}
	if t.flags.json {
		return errors.Join(cli.Several(errs), cli.WriteJSON(t.Out, out))
	}
	for _, s := range out {
		here := s.Steps[len(s.Steps)-1]
		if here.Ended {
			t.Printf("signed out of %s as %s\n", cli.Printable(s.Server), cli.Printable(s.Account))
		} // else the error says so
		for _, step := range s.Steps {
			if step.Ended || step == here {
				continue
			}
			until := "until it ends by itself"
			if !step.Until.IsZero() {
				until = "until " + step.Until.Local().Format(time.DateTime)
			}
			whose := ""
			if len(out) > 1 {
				whose = fmt.Sprintf("%s as %s: ", s.Server, s.Account)
			}
			t.Notef("%s%s stays good %s: %s", whose, step.What, until, step.Why)
		}
	}
	return cli.Several(errs)
}

const revokeTime = 5 * time.Second

// An ending is what became of one part of a session.
type ending struct {
	What  string    `json:"what"` // "the token of the server", "the session at the issuer", "what is kept here"
	Ended bool      `json:"ended"`
	Why   string    `json:"why,omitempty"`  // it did not
	Until time.Time `json:"until,omitzero"` // it is good so long all the same; zero: that is not known
}

// signOutOf ends a session: at the server, at the issuer, and here. The error says
// that it is still here; the others are in the endings.
func (t *tool) signOutOf(ctx context.Context, store *session.Store, a session.Account, env project.Env) ([]ending, error) {
	var all []ending
	_, r, err := store.Open(ctx, a.ID)
	if err != nil {
		all = append(all, ending{What: "the session at the server and the issuer", Why: "it cannot be read: " + err.Error()})
	} else {
		all = append(all, t.endToken(ctx, env, r), t.endRefresh(ctx, a, r, env))
	}
	err = store.Delete(ctx, a.ID)
	if err == nil || errors.Is(err, session.ErrNoAccount) {
		return append(all, ending{What: "what was kept here", Ended: true}), nil
	}
	return append(all, ending{What: "what is kept here", Why: err.Error()}), err
}

func (t *tool) endToken(ctx context.Context, env project.Env, r session.Record) ending {
	e := ending{What: "the token of the server", Ended: true}
	if r.Token.Empty() || !r.Ends.IsZero() && r.Ends.Before(t.now()) {
		return e
	}
	ctx, cancel := context.WithTimeout(ctx, signOutTime)
	defer cancel()
	v, err := t.shownOnly(env, r.Token)
	if err == nil {
		defer v.Close()
		err = v.SignOut(ctx)
	}
	if s := (*remote.ServerError)(nil); err == nil || errors.As(err, &s) && s.Trouble == remote.BadToken {
		return e
	}
	return ending{What: e.What, Why: err.Error(), Until: r.Ends}
}

func (t *tool) endRefresh(ctx context.Context, a session.Account, r session.Record, env project.Env) ending {
	e := ending{What: "the session at the issuer", Ended: true}
	if r.RefreshToken.Empty() || r.Refused != "" {
		return e
	}
	ctx, cancel := context.WithTimeout(ctx, revokeTime)
	defer cancel()
	w := &way{issuer: a.Issuer, clientID: a.ClientID}
	var err error
	if w.hosts, w.ca, err = issuerIs(env.SignIn); err == nil {
		var lp *login.Provider
		if lp, err = w.provider(ctx, t.now); err == nil {
			err = lp.Revoke(ctx, r.RefreshToken)
		}
	}
	if err == nil {
		return e
	}
	return ending{What: e.What, Why: err.Error()}
}
