package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"envrun/auth"
	"envrun/auth/browser"
	"envrun/auth/oidc/login"
	"envrun/auth/session"
	"envrun/cmd/internal/cli"
	"envrun/envrun/project"
	"envrun/vault/remote"
	"envrun/vault/wire"
)

// methodOIDC is how people sign in: with an identity token that envrun gets for them.
const methodOIDC = "oidc"

// methodDriven is how people sign in where the server itself talks to the issuer:
// Vault's own method.
const methodDriven = "vault-oidc"

// signInHow is what somebody says of one sign-in.
type signInHow struct {
	method      string // methodOIDC, methodDriven; empty: what the server has
	flow        string
	port        int // of the callback; 0: any
	mount, role string
	hint        string // who it will be
	store       string // where the key of sessions is to be; empty: where it is
	trust       string // the issuer that is believed from now on, though another was before
	memory      bool   // nothing is kept
}

// signedIn is a sign-in that the server has accepted.
type signedIn struct {
	account session.Account
	record  session.Record
	place   session.Place
	kept    bool // else it is in memory alone
}

// bring takes what a way to sign in asks for to the server, and adds what the server
// gives for it to a record.
func (t *tool) bring(ctx context.Context, v *remote.Vault, method, mount string, r session.Record, fields map[string]string) (session.Record, error) {
	a, err := v.SignIn(ctx, mount, fields)
	if err != nil {
		return r, t.notTaken(err, v, method, fields["jwt"])
	}
	return t.given(r, a), nil
}

// given is a record with a token that the server gave.
func (t *tool) given(r session.Record, a wire.Auth) session.Record {
	r.Token, r.Accessor, r.Renewable = auth.NewSecret(string(a.ClientToken)), a.Accessor, a.Renewable
	r.TTL, r.Ends = time.Duration(a.LeaseDuration)*time.Second, time.Time{}
	if r.TTL > 0 {
		r.Ends = t.now().Add(r.TTL)
	}
	r.Policies = a.Held()
	return r
}

// signIn signs a person in to the server of an environment, and keeps the session
// unless it is for one use. Somebody is at a terminal or a screen: the caller has
// looked.
func (t *tool) signIn(ctx context.Context, p *project.Project, env project.Env, how signInHow, person login.Person) (signedIn, error) {
	var in signedIn
	store, err := t.sessions(true)
	if err != nil {
		return in, err
	}
	store.Keep = how.store
	if !how.memory {
		// Before anybody is sent to a browser.
		if in.place, err = store.Prepare(ctx); err != nil {
			return in, err
		}
		unlock, err := t.onlyOne(ctx, store, person)
		if err != nil {
			return in, err
		}
		defer unlock()
	}
	v, err := t.server(p, env)
	if err != nil {
		return in, err
	}
	defer v.Close()
	w, err := t.wayTo(ctx, v, env, how)
	if err != nil {
		return in, err
	}
	if told := v.Told("").Date; !told.IsZero() {
		if off := t.now().Sub(told).Round(time.Minute); off.Abs() > 5*time.Minute {
			person.Note(fmt.Sprintf("the clock of this machine is %s that of %s", apart(off), w.server))
		}
	}
	if w.driven {
		err = t.drive(ctx, v, w, env, how, store, person, &in)
		return in, err
	}
	lp, err := w.provider(ctx, t.now)
	if err != nil {
		return in, err
	}
	w.ask.Hint = how.hint
	err = t.visit(ctx, v, env, lp, w, how, store, person, &in)
	if want := (*remote.ChallengeError)(nil); errors.As(err, &want) && !w.stepUp() {
		person.Note("the role wants you to sign in anew for it")
		w.ask.MaxAge, w.ask.HasMaxAge, w.ask.ACR = want.MaxAge, want.HasAge, want.ACR
		err = t.visit(ctx, v, env, lp, w, how, store, person, &in)
	}
	if err == nil {
		err = t.believe(ctx, w)
	}
	return in, err
}

// onlyOne waits until nobody else on this machine signs in.
func (t *tool) onlyOne(ctx context.Context, store *session.Store, person login.Person) (func(), error) {
	unlock, held, err := store.LockLogin(ctx)
	if err != nil || unlock != nil {
		return unlock, err
	}
	who := "another envrun"
	if held != nil && held.PID != 0 {
		who = fmt.Sprintf("another envrun (process %d on %s, since %s)", held.PID, held.Host, held.Started.Format(time.TimeOnly))
	}
	person.Note(who + " is signing somebody in; waiting for it")
	return store.AwaitLogin(ctx)
}

// visit goes through the issuer and to the server: in the way that fits, or another
// one that the person at the terminal then turns to.
func (t *tool) visit(ctx context.Context, v *remote.Vault, env project.Env, lp *login.Provider, w *way, how signInHow, store *session.Store, person login.Person, in *signedIn) error {
	w.ask.Once = how.memory || w.stepUp()
	offer := func([]string, context.CancelCauseFunc) {}
	if p, ok := person.(*terminal); ok {
		offer = p.offer
	}
	accept := func(ctx context.Context, tokens *login.Tokens) (login.Welcome, error) {
		offer(nil, nil) // from here on the server may give something
		if err := ctx.Err(); err != nil {
			return login.Welcome{}, err
		}
		fields := map[string]string{"jwt": tokens.ID.Reveal()}
		if w.role != "" {
			fields["role"] = w.role
		}
		r, err := t.bring(ctx, v, methodOIDC, w.mount, session.Record{
			RefreshToken: tokens.Refresh, RefreshObtained: t.now(), AuthTime: tokens.AuthTime,
			ACR: tokens.ACR, AMR: tokens.AMR, Scopes: tokens.Scopes, Skew: tokens.Skew,
		}, fields)
		in.record = r
		in.account = session.Account{
			Server: w.server, Namespace: w.namespace, Mount: w.mount, Role: w.role, Method: methodOIDC,
			Issuer: w.issuer, ClientID: w.clientID, Subject: tokens.Subject, Label: cmp.Or(tokens.Email, tokens.Name, tokens.Subject),
		}
		if err == nil && !how.memory && w.stepUp() {
			t.supersede(ctx, store, env, in.account)
		}
		account := in.account
		if err == nil && !how.memory && !w.stepUp() {
			in.account, err = t.keep(ctx, store, env, account, r)
			in.kept = err == nil
		}
		if !in.kept {
			t.endGrant(context.WithoutCancel(ctx), store, env, account, &in.record)
		}
		if err != nil {
			return login.Welcome{}, err
		}
		return login.Welcome{Server: w.server, Account: in.account.Label}, nil
	}
	for flow := cmp.Or(w.flow, browser.FlowAuto); ; {
		choice, others, err := t.choose(w, flow, lp.Devices(), person)
		if err != nil {
			return err
		}
		under, turn := context.WithCancelCause(ctx)
		offer(others, turn)
		if choice.Flow == browser.FlowDevice {
			err = lp.Device(under, w.ask, person, accept)
		} else {
			err = lp.Browser(under, w.ask, login.BrowserOptions{Port: how.port, Open: choice.Flow == browser.FlowBrowser}, person, accept)
		}
		offer(nil, nil)
		turn(nil)
		to := (*turnedTo)(nil)
		if err == nil || !errors.As(context.Cause(under), &to) {
			return err
		}
		flow = to.flow
	}
}

// endGrant ends at the issuer what it gave for a sign-in of which nothing is kept. Where
// another session of the same person there is kept it is not ended, since that may be of
// the same grant.
func (t *tool) endGrant(ctx context.Context, store *session.Store, env project.Env, a session.Account, r *session.Record) {
	all, _ := store.Accounts() // what cannot be read is used by nobody
	same := func(b session.Account) bool {
		return b.Issuer == a.Issuer && b.ClientID == a.ClientID && b.Subject == a.Subject
	}
	if !slices.ContainsFunc(all, same) {
		t.endRefresh(ctx, a, *r, env)
		r.RefreshToken = auth.Secret{}
	}
}

// keep keeps a session, and then ends the server's token of the one that it takes the
// place of. What that had of the issuer is overwritten and nobody has it any more; it
// is not revoked, since for some issuers it is of one grant with the new one, which
// would end as well.
func (t *tool) keep(ctx context.Context, store *session.Store, env project.Env, a session.Account, r session.Record) (session.Account, error) {
	var old session.Record
	if before, ok := keptOf(store, a); ok {
		_, old, _ = store.Open(ctx, before.ID)
	}
	a, err := store.Put(ctx, a, r)
	if err != nil {
		old = r // nobody will use it
	}
	if !old.Token.Empty() && (err != nil || old.Token.Reveal() != r.Token.Reveal()) {
		t.endToken(context.WithoutCancel(ctx), env, old)
	}
	return a, err
}

// shownOnly is a client of a server with one token.
func (t *tool) shownOnly(env project.Env, token auth.Secret) (*remote.Vault, error) {
	return t.serverWith(&project.Project{}, env, func(context.Context) (string, error) { return token.Reveal(), nil }, nil)
}

// supersede ends what was kept of an account while its role took that: from now on
// nothing is.
func (t *tool) supersede(ctx context.Context, store *session.Store, env project.Env, a session.Account) {
	if old, ok := keptOf(store, a); ok {
		if _, err := t.signOutOf(context.WithoutCancel(ctx), store, old, env); err != nil {
			t.warn("the session of before is still here: " + err.Error())
		}
	}
}

// keptOf is the session of an account that there is.
func keptOf(store *session.Store, a session.Account) (session.Account, bool) {
	all, _ := store.Accounts() // who needs them finds out what is wrong
	for _, b := range all {
		if b.Server == a.Server && b.Namespace == a.Namespace && b.Mount == a.Mount && b.Role == a.Role && b.Issuer == a.Issuer && b.ClientID == a.ClientID && b.Subject == a.Subject {
			return b, true
		}
	}
	return session.Account{}, false
}

// explainSignIn is about signing people in at their issuer.
func explainSignIn(err error, r *cli.Report) bool {
	var clock *login.ClockError
	var away *login.UnavailableError
	var refused *login.RefusedError
	var host *login.HostError
	var mismatch *login.MismatchError
	var port *browser.PortError
	var redirect *login.RedirectError
	var address *login.AddressError
	var answer *login.ProviderError
	var token *login.TokenError
	var other *login.AccountError
	var stale *login.FreshError
	r.Code = cli.CodeAuth
	switch {
	case errors.As(err, &redirect):
		r.Code = cli.CodeConfig
		r.AddHint("whoever looks after the server allows one, in allowed_redirect_uris of the role: http://localhost:%d/oidc/callback", login.VaultPort)
		r.AddHint("or that role is none for people: envrun login --role ROLE --mount MOUNT")
	case errors.As(err, &address):
		r.Code = cli.CodeTampered
		r.AddHint("nobody was sent there; ask who looks after the server")
	case errors.As(err, &clock):
		r.AddHint("one of the two clocks is wrong; look at this machine's: date")
	case errors.As(err, &away) && away.TLS:
		r.Code = cli.CodeTampered
		r.AddHint("nothing was sent there, and nothing of a session was lost; ask who looks after the issuer")
		r.AddHint(`if its certificate is its own: ca = "FILE" in [sign_in] of envrun.toml`)
	case errors.As(err, &away):
		r.Code = cli.CodeOffline
		r.AddHint("nothing of the session was lost: try again in a moment")
	case errors.As(err, &refused) && refused.Denied():
		r.AddHint("somebody said no, or a rule of your organisation did; another account: envrun login --account EMAIL")
	case errors.As(err, &refused):
		r.AddHint("sign in again: envrun login")
	case errors.As(err, &host), errors.As(err, &mismatch):
		r.Code = cli.CodeTampered
		r.AddHint("nobody was sent there; ask who looks after the server about its issuer")
		if host != nil {
			r.AddHint("if it is a host of the issuer's: hosts = [%q] in [sign_in] of envrun.toml", host.Host)
		}
	case errors.As(err, &port):
		r.Code = cli.CodeConflict
		r.AddHint("leave out --callback-port, or name another")
	case errors.Is(err, login.ErrLate):
		r.AddHint("try again: envrun login")
	case errors.As(err, &answer):
		r.AddHint("nobody was signed in; try from another network, and ask who looks after the issuer if it says the same there")
	case errors.As(err, &token) && token.OfTime():
		r.AddHint("nobody was signed in; look at the clock of this machine: date; if it is right, the issuer's is not")
	case errors.As(err, &token):
		r.AddHint("nobody was signed in; ask who looks after the issuer how the client envrun is set up there")
	case errors.As(err, &other):
		r.AddHint("what is kept of the session is as it was; to have another one: envrun login")
	case errors.As(err, &stale):
		r.AddHint("sign out of the issuer in the browser, and sign in again: envrun login")
	case errors.Is(err, browser.ErrNoDevice):
		r.Code = cli.CodeConfig
		r.AddHint("paste the address instead: envrun login --flow paste")
	case errors.Is(err, browser.ErrNobody), errors.Is(err, browser.ErrNone):
		r.AddHint("on a terminal: envrun login")
	default:
		r.Code = cli.CodeFailed
		return false
	}
	return true
}
