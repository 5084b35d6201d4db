package main

import (
	"cmp"
	"context"
	"errors"
	"time"

	"envrun/auth"
	"envrun/auth/oidc/login"
	"envrun/auth/session"
	"envrun/envrun/project"
	"envrun/vault"
	"envrun/vault/remote"
)

// sessionOf is the session that is used for an environment; ErrNoAccount if there is
// none.
func (t *tool) sessionOf(store *session.Store, env project.Env) (session.Account, error) {
	accounts, err := store.Accounts()
	if err != nil {
		return session.Account{}, err
	}
	namespace := env.Server.Namespace
	if addr := t.Getenv("VAULT_ADDR"); namespace == "" && (addr == "" || sameServer(addr, env.Vault)) {
		namespace = t.Getenv("VAULT_NAMESPACE")
	}
	wanted := cmp.Or(t.accounts.of(env), t.flags.account, t.Getenv("ENVRUN_ACCOUNT"))
	a, err := session.Pick(accounts, serverName(env.Vault), namespace, env.SignIn.Mount, env.SignIn.Role, wanted)
	if !errors.Is(err, session.ErrNoAccount) {
		return a, err
	}
	// What the project says of people's way says nothing of another one.
	var others []session.Account
	for _, a := range accounts {
		if a.Method != methodOIDC {
			others = append(others, a)
		}
	}
	if other, e := session.Pick(others, serverName(env.Vault), namespace, "", "", wanted); !errors.Is(e, session.ErrNoAccount) {
		return other, e
	}
	return a, err
}

// sessionToken is the token of the session for an environment, renewed if it is about
// to end, or is the one that the server refused. Empty: there is no session. It is
// sent to no server but the one that it was made with.
func (t *tool) sessionToken(ctx context.Context, env project.Env, refused string) shownToken {
	store, err := t.openSessions()
	if err != nil {
		return shownToken{} // there is no folder that could hold one
	}
	a, err := t.sessionOf(store, env)
	if errors.Is(err, session.ErrNoAccount) && t.flags.account == "" && t.Getenv("ENVRUN_ACCOUNT") == "" {
		return shownToken{}
	}
	if err != nil {
		return shownToken{err: err}
	}
	need := func(r session.Record) bool {
		if r.Token.Empty() || r.Token.Reveal() == refused {
			return true
		}
		due := dueAt(r)
		return !due.IsZero() && !t.now().Before(due)
	}
	var got session.Record
	r, err := store.Fresh(ctx, a.ID, func(ctx context.Context, was session.Record, save func(session.Record) error) (session.Record, error) {
		var err error
		got, err = t.renewSession(ctx, env, a, was, refused, save)
		return got, err
	}, need)
	switch {
	case errors.Is(err, session.ErrRetired):
		t.endRetired(context.WithoutCancel(ctx), store, env, a, got)
	case err != nil && !r.Token.Empty():
		t.warn("the session was renewed, and could not be kept: " + err.Error())
		err = nil
	}
	if err != nil {
		_, is, e := store.Open(ctx, a.ID)
		there := e == nil && !is.Token.Empty() && is.Token.Reveal() != refused
		soon := t.now().Add(askAgain)
		ended := (*session.EndedError)(nil)
		switch {
		case there && (is.Ends.IsZero() || t.now().Before(is.Ends)):
			// What could not be renewed is good for a while, or somebody has signed in
			// again meanwhile.
			r = is
		case there && (passes(err) || errors.As(err, &ended)):
			// The server says that it has ended, if it is met at all: while it is not, what
			// was read with this token may be used, and no issuer could change that.
			return shownToken{token: is.Token.Reveal(), owed: err, until: soon}
		case passes(err):
			return shownToken{err: err, until: soon}
		default:
			return shownToken{err: err}
		}
	}
	s := shownToken{token: r.Token.Reveal(), session: true, until: dueAt(r)}
	if soon := t.now().Add(askAgain); !s.until.IsZero() && s.until.Before(soon) {
		s.until = soon
	}
	return s
}

// passes reports whether an error of a session may be over in a moment, without anybody
// doing anything about it here.
func passes(err error) bool {
	var away *login.UnavailableError
	var busy *session.BusyError
	var server *remote.ServerError
	if errors.As(err, &server) {
		switch server.Trouble {
		case remote.Unreachable, remote.Sealed, remote.Uninitialised, remote.Standby, remote.Overloaded:
			return true
		}
	}
	return errors.As(err, &away) || errors.As(err, &busy)
}

// dueAt is when a session is to be renewed: before its token ends, if there is something
// to renew it with. Zero: never.
func dueAt(r session.Record) time.Time {
	if r.Ends.IsZero() || r.RefreshToken.Empty() && !r.Renewable || r.TTL <= time.Minute {
		return r.Ends // one of a minute would be due from its beginning
	}
	return r.Ends.Add(-max(time.Minute, r.TTL/10))
}

// endRetired ends what a session was renewed to while somebody signed out or in anew:
// nobody has it but this process. Of who signed in anew the issuer's part stays, as in keep.
func (t *tool) endRetired(ctx context.Context, store *session.Store, env project.Env, a session.Account, r session.Record) {
	t.endToken(ctx, env, r)
	if _, _, err := store.Open(ctx, a.ID); errors.Is(err, session.ErrNoAccount) {
		t.endRefresh(ctx, a, r, env)
	}
}

// renewSession gives a session a token that is good: new time for the one that it
// has, or a new one for a new identity token.
func (t *tool) renewSession(ctx context.Context, env project.Env, a session.Account, r session.Record, refused string, save func(session.Record) error) (session.Record, error) {
	now := t.now()
	if r.Renewable && !r.Token.Empty() && r.Token.Reveal() != refused && r.Ends.After(now) {
		v, err := t.shownOnly(env, r.Token)
		if err != nil {
			return r, err
		}
		defer v.Close()
		given, err := v.Renew(ctx)
		e := (*remote.ServerError)(nil)
		switch {
		case err == nil:
			if ttl := time.Duration(given.LeaseDuration) * time.Second; ttl > max(time.Minute, r.TTL/10) {
				r.Ends = now.Add(ttl)
				return r, nil
			} // it has come to its longest
		case errors.As(err, &e) && (e.Trouble == remote.BadToken || e.Trouble == remote.Forbidden || e.Trouble == remote.Refused):
		case vault.KindOf(err) == vault.KindDenied:
		default:
			return r, err
		}
	}
	if r.RefreshToken.Empty() {
		return r, &session.EndedError{Account: a, Why: "the token has ended, and there is nothing to renew it with"}
	}
	w := &way{issuer: a.Issuer, clientID: a.ClientID, scopes: r.Scopes}
	var err error
	if w.hosts, w.ca, err = issuerIs(env.SignIn); err != nil {
		return r, err
	}
	lp, err := w.provider(ctx, t.now)
	if err != nil {
		return r, err
	}
	tokens, err := lp.Refresh(ctx, r.RefreshToken, login.Was{Subject: a.Subject, Issuer: a.Issuer, AuthTime: r.AuthTime, Save: func(refresh auth.Secret) error {
		r.RefreshToken, r.RefreshObtained = refresh, now
		return save(r)
	}})
	if no := (*login.RefusedError)(nil); errors.As(err, &no) && no.Again() {
		r.Refused = no.Code
		if err := save(r); err != nil {
			return r, err
		}
		return r, &session.EndedError{Account: a, Why: no.Code}
	}
	if err != nil {
		return r, err
	}
	v, err := t.shownOnly(env, auth.Secret{})
	if err != nil {
		return r, err
	}
	defer v.Close()
	fields := map[string]string{"jwt": tokens.ID.Reveal()}
	if a.Role != "" {
		fields["role"] = a.Role
	}
	if r, err = t.bring(ctx, v, methodOIDC, a.Mount, r, fields); err != nil {
		return r, err
	}
	r.AuthTime, r.Skew, r.Refused = tokens.AuthTime, tokens.Skew, ""
	return r, nil
}
