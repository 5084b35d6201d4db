package main

import (
	"cmp"
	"context"

	"envrun/auth"
	"envrun/auth/browser"
	"envrun/auth/oidc/login"
	"envrun/auth/session"
	"envrun/envrun/project"
	"envrun/vault/remote"
)

// drive signs a person in where the server itself talks to the issuer.
func (t *tool) drive(ctx context.Context, v *remote.Vault, w *way, env project.Env, how signInHow, store *session.Store, person login.Person, in *signedIn) error {
	choice, _, err := t.choose(w, cmp.Or(w.flow, browser.FlowAuto), false, person)
	if err != nil {
		return err
	}
	d := &driver{t: t, v: v, w: w, env: env, how: how, store: store, in: in, nonce: login.ClientNonce()}
	err = login.Driven(ctx, login.BrowserOptions{Port: how.port, Open: choice.Flow == browser.FlowBrowser}, person, d)
	if err == nil {
		err = t.believe(ctx, w)
	}
	return err
}

// A driver is a server that drives one sign-in.
type driver struct {
	t     *tool
	v     *remote.Vault
	w     *way
	env   project.Env
	how   signInHow
	store *session.Store
	in    *signedIn
	nonce auth.Secret
}

var _ login.Driver = (*driver)(nil)

// Start implements login.Driver.
func (d *driver) Start(ctx context.Context, redirect string) (string, error) {
	address, err := d.v.StartOIDC(ctx, d.w.mount, d.w.role, redirect, d.nonce.Reveal())
	return address, d.t.notTaken(err, d.v, methodDriven, "")
}

// Trust implements login.Driver. The endpoint takes the place of the issuer, which
// such a server does not name.
func (d *driver) Trust(endpoint, clientID string) error {
	d.w.issuer, d.w.clientID = endpoint, clientID
	return d.t.believes(d.w, d.how.trust)
}

// Finish implements login.Driver.
func (d *driver) Finish(ctx context.Context, state, code auth.Secret) (login.Welcome, error) {
	a, err := d.v.FinishOIDC(ctx, d.w.mount, state.Reveal(), code.Reveal(), d.nonce.Reveal())
	if err != nil {
		return login.Welcome{}, d.t.notTaken(err, d.v, methodDriven, "")
	}
	in := d.in
	in.record = d.t.given(session.Record{}, a)
	v, err := d.t.shownOnly(d.env, in.record.Token)
	if err != nil {
		return login.Welcome{}, err
	}
	defer v.Close()
	label := cmp.Or(a.Metadata["email"], a.Metadata["username"], a.Metadata["name"])
	if label == "" {
		if self, err := v.Self(ctx); err == nil { // else it may not look at itself
			label = self.DisplayName
		}
	}
	in.account = session.Account{
		Server: d.w.server, Namespace: d.w.namespace, Mount: d.w.mount, Role: cmp.Or(d.w.role, a.Metadata["role"]), Method: methodDriven,
		Issuer: d.w.issuer, ClientID: d.w.clientID, Subject: cmp.Or(a.EntityID, label), Label: cmp.Or(label, a.EntityID, "somebody"),
	}
	if !d.how.memory {
		if in.account, err = d.t.keep(ctx, d.store, d.env, in.account, in.record); err != nil {
			return login.Welcome{}, err
		}
		in.kept = true
	}
	return login.Welcome{Server: d.w.server, Account: in.account.Label}, nil
}
