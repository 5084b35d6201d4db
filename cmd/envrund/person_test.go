package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"envrun/auth"
	"envrun/auth/keychain"
	"envrun/auth/oidc/idp"
	"envrun/auth/oidc/login"
	"envrun/auth/session"
	vaultclient "envrun/vault/remote"
)

// A personal is one process of somebody who signs in to a server: what a program has
// to put together of auth/session, auth/oidc/login and vault/remote. It is read from
// the variable PERSON.
type personal struct {
	Do     string // login, device, token, logout
	Dir    string // where sessions are kept
	Filed  string // what keychains file the key under
	Server string
	Issuer string
	Stale  string // the fingerprint of a token that has expired
}

func fingerprint(token string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(token))) }

// personMain does what PERSON says. It prints the address to sign in at, or the code
// of a device, or the token.
func personMain() {
	var p personal
	if err := json.Unmarshal([]byte(os.Getenv("PERSON")), &p); err != nil {
		panic(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := p.run(ctx); err != nil {
		if errors.Is(err, session.ErrSignIn) {
			fmt.Println("sign in again")
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (p *personal) run(ctx context.Context) error {
	store := &session.Store{Dir: p.Dir, Keychains: keychain.Options{Service: p.Filed, MayForget: true}}
	accounts, err := store.Accounts()
	if err != nil {
		return err
	}
	switch p.Do {
	case "login", "device":
		if _, err := store.Prepare(ctx); err != nil {
			return err
		}
		lp, err := p.provider(ctx)
		if err != nil {
			return err
		}
		accept := func(ctx context.Context, tokens *login.Tokens) (login.Welcome, error) {
			r, err := p.bring(ctx, session.Record{}, tokens)
			if err != nil {
				return login.Welcome{}, err
			}
			_, err = store.Put(ctx, session.Account{Server: p.Server, Mount: "people", Role: "ci", Method: "oidc", Issuer: p.Issuer, ClientID: idp.ClientID, Subject: tokens.Subject, Label: tokens.Email}, r)
			return login.Welcome{Server: p.Server, Account: tokens.Email}, err
		}
		if p.Do == "device" {
			return lp.Device(ctx, login.Ask{}, told{}, accept)
		}
		return lp.Browser(ctx, login.Ask{}, login.BrowserOptions{}, told{}, accept)
	case "token":
		need := func(r session.Record) bool { return fingerprint(r.Token.Reveal()) == p.Stale }
		r, err := store.Fresh(ctx, accounts[0].ID, func(ctx context.Context, was session.Record, save func(session.Record) error) (session.Record, error) {
			return p.renew(ctx, accounts[0], was, save)
		}, need)
		if err != nil {
			return err
		}
		fmt.Println(r.Token.Reveal())
		return nil
	case "logout":
		_, r, err := store.Open(ctx, accounts[0].ID)
		if err != nil {
			return err
		}
		v, err := p.vault(r.Token.Reveal())
		if err != nil {
			return err
		}
		lp, err := p.provider(ctx)
		if err != nil {
			return err
		}
		return errors.Join(v.SignOut(ctx), lp.Revoke(ctx, r.RefreshToken), store.Delete(ctx, accounts[0].ID))
	}
	return errors.New("no such task")
}

func (p *personal) provider(ctx context.Context) (*login.Provider, error) {
	return login.Discover(ctx, login.Options{Issuer: p.Issuer, ClientID: idp.ClientID, Scopes: idp.Scopes})
}

func (p *personal) vault(token string) (*vaultclient.Vault, error) {
	return vaultclient.Open(vaultclient.Options{Address: p.Server, Token: func(context.Context) (string, error) { return token, nil }})
}

// bring takes tokens of the issuer to the server.
func (p *personal) bring(ctx context.Context, r session.Record, tokens *login.Tokens) (session.Record, error) {
	v, err := p.vault("")
	if err != nil {
		return r, err
	}
	a, err := v.SignIn(ctx, "people", map[string]string{"role": "ci", "jwt": tokens.ID.Reveal()})
	if err != nil {
		return r, err
	}
	if !tokens.Refresh.Empty() {
		r.RefreshToken, r.RefreshObtained = tokens.Refresh, time.Now()
	}
	r.Token, r.Accessor, r.TTL = auth.NewSecret(string(a.ClientToken)), a.Accessor, time.Duration(a.LeaseDuration)*time.Second
	r.Ends, r.AuthTime, r.Policies = time.Now().Add(r.TTL), tokens.AuthTime, a.Policies
	return r, nil
}

func (p *personal) renew(ctx context.Context, a session.Account, r session.Record, save func(session.Record) error) (session.Record, error) {
	lp, err := p.provider(ctx)
	if err != nil {
		return r, err
	}
	tokens, err := lp.Refresh(ctx, r.RefreshToken, login.Was{Subject: a.Subject, Issuer: a.Issuer, AuthTime: r.AuthTime, Save: func(refresh auth.Secret) error {
		r.RefreshToken = refresh
		return save(r)
	}})
	var refused *login.RefusedError
	if errors.As(err, &refused) && refused.Again() {
		r.Refused = refused.Code
		return r, errors.Join(save(r), &session.EndedError{Account: a, Why: refused.Code})
	}
	if err != nil {
		return r, err
	}
	return p.bring(ctx, r, tokens)
}

// told shows on standard output what a terminal would show.
type told struct{}

func (told) Visit(v login.Visit)   { fmt.Println(v.URL) }
func (told) Code(c login.Code)     { fmt.Println(c.URI, c.UserCode) }
func (told) Pasted() <-chan string { return nil }
func (told) Note(text string)      { fmt.Println(text) }
