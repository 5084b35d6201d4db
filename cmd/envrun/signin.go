package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"envrun/auth"
	"envrun/auth/browser"
	"envrun/auth/oidc/login"
	"envrun/auth/private"
	"envrun/auth/session"
	"envrun/cmd/internal/cli"
	"envrun/envrun/project"
	"envrun/vault"
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

// A way is how people sign in to one server: what the project says of it, and what
// the server says where that says nothing.
type way struct {
	server, namespace string
	mount, role       string
	issuer, clientID  string
	scopes            []string
	flow              string
	ca                []byte
	hosts             []string
	pinned            bool // issuer and client are of the project file
	driven            bool // the server talks to the issuer
	ask               login.Ask
}

// stepUp reports whether a sign-in is good for one use: the role wants it fresh.
func (w *way) stepUp() bool { return w.ask.HasMaxAge || len(w.ask.ACR) > 0 }

// serverName is the one spelling of a server's address.
func serverName(address string) string {
	u, err := url.Parse(strings.TrimRight(address, "/"))
	if err != nil {
		return address
	}
	u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	return u.String()
}

// wayTo finds out how people sign in to the server of an environment.
func (t *tool) wayTo(ctx context.Context, v *remote.Vault, env project.Env, how signInHow) (*way, error) {
	pins := env.SignIn
	w := &way{
		server: serverName(env.Vault), namespace: v.Namespace(), flow: cmp.Or(how.flow, pins.Flow),
		mount: cmp.Or(how.mount, pins.Mount), role: cmp.Or(how.role, pins.Role), scopes: pins.Scopes,
		issuer: pins.Issuer, clientID: pins.ClientID, pinned: pins.Issuer != "" && pins.ClientID != "",
	}
	var err error
	if w.hosts, w.ca, err = issuerIs(pins); err != nil {
		return nil, err
	}
	if how.method == methodDriven {
		w.driven, w.mount = true, cmp.Or(w.mount, "oidc")
		return w, nil
	}
	in, own, err := v.SignIns(ctx)
	if err != nil {
		return nil, err
	}
	if !own && w.issuer == "" && how.method == "" {
		// Vault and OpenBao have their own way, and where it is not there they say so.
		w.driven, w.mount = true, cmp.Or(w.mount, "oidc")
		return w, nil
	}
	var found *wire.SignInMethod
	var mounts []string
	for i, m := range in.Methods {
		mounts = append(mounts, m.Mount)
		if m.Mount == w.mount || w.mount == "" && len(in.Methods) == 1 {
			found = &in.Methods[i]
		}
	}
	if found != nil {
		for _, c := range [...]struct{ what, pin, says string }{{"issuer", w.issuer, found.Issuer}, {"client_id", w.clientID, found.ClientID}} {
			if c.pin != "" && c.pin != c.says {
				return nil, &cli.HintError{Err: fmt.Errorf("%s says %s = %q of people's sign-in, and the server %s says %q: nobody was sent anywhere", pins.Pos, c.what, c.pin, env.Vault, c.says),
					Code: cli.CodeTampered, Hint: "ask who looks after the server which of them is right, and change [sign_in] in envrun.toml if that is wrong"}
			}
		}
		w.mount, w.issuer, w.clientID = found.Mount, found.Issuer, found.ClientID
		if w.scopes == nil {
			w.scopes = found.Scopes
		}
		if w.role == "" {
			w.role = found.DefaultRole
		}
		if w.role == "" && len(found.Roles) == 1 {
			w.role = found.Roles[0].Name
		}
		for _, r := range found.Roles {
			if r.Name == w.role {
				w.ask = login.Ask{MaxAge: time.Duration(r.MaxAge), HasMaxAge: r.MaxAge > 0, ACR: r.ACR}
			}
		}
	} else if w.mount == "" && len(mounts) > 1 {
		return nil, &cli.HintError{Err: fmt.Errorf("%s has several ways to sign in: %s", env.Vault, strings.Join(mounts, ", ")), Code: cli.CodeConfig, Hint: "name one: envrun login --mount " + cli.Quote(mounts[0]) + ", or mount in [sign_in] of envrun.toml"}
	}
	if w.issuer == "" || w.clientID == "" {
		return nil, &cli.HintError{Err: fmt.Errorf("%s does not say how people sign in to it", env.Vault), Code: cli.CodeAuth,
			Hint: "if it takes identity tokens: issuer, client_id and mount in [sign_in] of envrun.toml; else VAULT_ADDR=" + cli.Quote(env.Vault) + " vault login"}
	}
	w.mount = cmp.Or(w.mount, "jwt")
	return w, t.believes(w, how.trust)
}

// A trusted is the issuer that a server named at the first sign-in.
type trusted struct{ Issuer, ClientID string }

// believes refuses an issuer other than the one that this machine signed in at
// before: a server that was taken over could send people to a page of its own. What
// the project file says goes before.
func (t *tool) believes(w *way, accept string) error {
	if w.pinned {
		return nil
	}
	known, _, err := t.issuersKnown()
	if err != nil {
		return err
	}
	was, ok := known[w.key()]
	if !ok || was == (trusted{w.issuer, w.clientID}) || accept == w.issuer {
		return nil
	}
	return &cli.HintError{
		Err: fmt.Errorf("%s now sends people to the issuer %s as %q; on this machine it was %s as %q: nobody was sent there",
			w.server, w.issuer, w.clientID, was.Issuer, was.ClientID),
		Code: cli.CodeTampered, Hint: "ask who looks after the server; if the new one is right: envrun login --trust-issuer " + cli.Quote(w.issuer) + " " + cli.Quote(w.server),
	}
}

func (w *way) key() string { return w.server + "\n" + w.namespace + "\n" + w.mount }

// issuersKnown are the issuers that servers named, by way.key. Whoever can write the
// file can have people sent elsewhere to sign in.
func (t *tool) issuersKnown() (map[string]trusted, string, error) {
	dir, err := t.stateDir()
	if err != nil {
		return nil, "", err
	}
	known, file := map[string]trusted{}, filepath.Join(dir, "issuers.json")
	text, err := readSmall(file)
	if errors.Is(err, fs.ErrNotExist) {
		return known, file, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &known)
	}
	if err != nil {
		err = fmt.Errorf("%s, which says where people sign in: %w", file, err)
	}
	return known, file, err
}

// believe keeps the issuer of a sign-in that worked.
func (t *tool) believe(ctx context.Context, w *way) error {
	known, file, err := t.issuersKnown()
	if err != nil || known[w.key()] == (trusted{w.issuer, w.clientID}) {
		return err
	}
	unlock, err := private.Lock(ctx, file+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	if known, _, err = t.issuersKnown(); err != nil {
		return err
	}
	known[w.key()] = trusted{w.issuer, w.clientID}
	text, err := json.MarshalIndent(known, "", "  ")
	if err != nil {
		return err
	}
	return private.Write(file, append(text, '\n'), true)
}

// issuerIs is how the project says that the issuer is known.
func issuerIs(s project.SignIn) (hosts []string, ca []byte, err error) {
	if s.CA != "" {
		if ca, err = readSmall(s.CA); err != nil {
			err = fmt.Errorf("the certificates of the issuer, from %s: %w", s.Pos, err)
		}
	}
	return s.Hosts, ca, err
}

// provider asks the issuer of a way where its endpoints are.
func (w *way) provider(ctx context.Context, now func() time.Time) (*login.Provider, error) {
	return login.Discover(ctx, login.Options{Issuer: w.issuer, ClientID: w.clientID, Scopes: w.scopes, CA: w.ca, Hosts: w.hosts, Proxy: http.ProxyFromEnvironment, Now: now})
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

// visit is one way through the issuer and to the server.
func (t *tool) visit(ctx context.Context, v *remote.Vault, env project.Env, lp *login.Provider, w *way, how signInHow, store *session.Store, person login.Person, in *signedIn) error {
	s := browser.Look(t.Getenv)
	s.Terminal, s.Device = true, lp.Devices() // the caller has looked
	choice, err := browser.Choose(cmp.Or(w.flow, browser.FlowAuto), s)
	if err != nil {
		return err
	}
	w.ask.Once = how.memory || w.stepUp()
	accept := func(ctx context.Context, tokens *login.Tokens) (login.Welcome, error) {
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
		if err == nil && !how.memory && !w.stepUp() {
			in.kept = true
			in.account, err = t.keep(ctx, store, env, in.account, r)
		}
		if err != nil {
			return login.Welcome{}, err
		}
		return login.Welcome{Server: w.server, Account: in.account.Label}, nil
	}
	if choice.Flow == browser.FlowDevice {
		return lp.Device(ctx, w.ask, person, accept)
	}
	return lp.Browser(ctx, w.ask, login.BrowserOptions{Port: how.port, Open: choice.Flow == browser.FlowBrowser}, person, accept)
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

const revokeTime = 5 * time.Second

// shownOnly is a client of a server with one token.
func (t *tool) shownOnly(env project.Env, token auth.Secret) (*remote.Vault, error) {
	return t.serverWith(&project.Project{}, env, func(context.Context) (string, error) { return token.Reveal(), nil }, nil)
}

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
		// What could not be renewed may be good for a while, and somebody may have
		// signed in again meanwhile.
		if _, is, e := store.Open(ctx, a.ID); e == nil && !is.Token.Empty() && is.Token.Reveal() != refused && (is.Ends.IsZero() || t.now().Before(is.Ends)) {
			r, err = is, nil
		}
	}
	if err != nil {
		s := shownToken{err: err}
		if passes(err) {
			s.until = t.now().Add(askAgain)
		}
		return s
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

// terminal is a person who reads what is written to them, and may paste something.
type terminal struct {
	t      *tool
	server string
	paste  bool // what they type may be read
	ctx    context.Context
	close  context.CancelFunc
	lines  chan string
	ended  chan struct{} // of reading; nil: nothing is read
}

var _ login.Person = (*terminal)(nil)

func (p *terminal) say(format string, args ...any) {
	text := cli.Printable(fmt.Sprintf(format, args...))
	if p.ended != nil { // the terminal is raw
		text = "\r" + text + "\r"
	}
	fmt.Fprintln(p.t.Err, text)
}

// Visit implements login.Person.
func (p *terminal) Visit(v login.Visit) {
	if p.paste && p.ended == nil {
		p.read()
	}
	switch {
	case v.Opened:
		p.say("A browser was opened to sign in to %s. If none came, open this yourself:", p.server)
	case v.OpenErr != nil:
		p.say("No browser could be opened (%v). To sign in to %s, open this:", v.OpenErr, p.server)
	default:
		p.say("To sign in to %s, open this in a browser:", p.server)
	}
	p.say("    %s", v.URL)
	if p.paste {
		p.say("Waiting until %s for the browser to come back. If it is on another machine, its last page is an address", v.Until.Format(time.TimeOnly))
		p.say("that begins with %s: paste all of it here.", v.Redirect)
	}
}

// Code implements login.Person.
func (p *terminal) Code(c login.Code) {
	host, err := os.Hostname()
	if err != nil {
		host = "this machine"
	}
	p.say("The code is  %s", c.UserCode)
	p.say("Enter it at  %s", c.URI)
	p.say("Only approve if you just ran envrun on %s. Waiting until %s.", host, c.Until.Format(time.TimeOnly))
}

// Note implements login.Person.
func (p *terminal) Note(text string) { p.say("envrun: %s", text) }

// Pasted implements login.Person.
func (p *terminal) Pasted() <-chan string {
	if !p.paste {
		return nil
	}
	return p.lines
}

// atTerminal is the person at the terminal, and what ends what they are asked. A
// Ctrl-C among what they paste ends ctx.
func (t *tool) atTerminal(ctx context.Context, server string, paste bool) (context.Context, *terminal) {
	ctx, stop := context.WithCancel(ctx)
	return ctx, &terminal{t: t, server: server, paste: paste, ctx: ctx, close: stop, lines: make(chan string)}
}

// read begins to read what is pasted. Not before there is something to paste: until
// then others may ask for a passphrase there.
func (p *terminal) read() {
	ready := make(chan struct{})
	p.ended = make(chan struct{})
	go func() {
		defer close(p.ended)
		defer p.close()
		// Not shown: a code is in it.
		_ = p.t.Pasted(p.ctx, func() { close(ready) }, func(line []byte, err error) {
			text := string(line)
			if errors.Is(err, cli.ErrLines) {
				p.Note("several lines came at once: paste the address alone")
				return
			}
			select {
			case p.lines <- text:
			case <-p.ctx.Done():
			}
		})
	}()
	select {
	case <-ready:
	case <-p.ended:
	}
}

// done puts the terminal back.
func (p *terminal) done() {
	p.close()
	if p.ended != nil {
		<-p.ended
	}
}

// orStepUp is a token of a session; or, if there is none that the role is satisfied
// with, that of somebody at a terminal who signs in to it for this process alone.
func (t *tool) orStepUp(ctx context.Context, env project.Env, s shownToken) shownToken {
	wants := (*remote.ChallengeError)(nil)
	if s.token != "" || s.err != nil && !errors.As(s.err, &wants) {
		return s
	}
	if up := t.stepUp(ctx, env, wants != nil); up.token != "" || up.err != nil {
		return up
	}
	return s
}

// stepUp signs somebody at a terminal in to a role that the project names and that
// wants them to do so each time: the server lists it as one, or has just said so. The
// token is in memory alone. It is empty if the role is none of that kind, or nobody is
// there.
func (t *tool) stepUp(ctx context.Context, env project.Env, wants bool) shownToken {
	if env.SignIn.Role == "" || t.notice != nil || !t.Interactive() {
		return shownToken{}
	}
	if !wants {
		v, err := t.shownOnly(env, auth.Secret{})
		if err != nil {
			return shownToken{err: err}
		}
		defer v.Close()
		in, own, err := v.SignIns(ctx)
		if err != nil || !own {
			return shownToken{err: err}
		}
		for _, m := range in.Methods {
			for _, r := range m.Roles {
				wants = wants || r.Name == env.SignIn.Role && (m.Mount == env.SignIn.Mount || env.SignIn.Mount == "") && (r.MaxAge > 0 || len(r.ACR) > 0)
			}
		}
	}
	if !wants {
		return shownToken{}
	}
	t.Notef("the role %s of %s wants you to sign in for each use", env.SignIn.Role, env.Vault)
	// Nothing is pasted: what the command is to read would be taken from it.
	within, person := t.atTerminal(ctx, env.Vault, false)
	defer person.done()
	got, err := t.signIn(within, &project.Project{}, env, signInHow{hint: t.flags.account, memory: true}, person)
	if err != nil {
		return shownToken{err: err}
	}
	return t.onceOnly(env, got.record.Token)
}

// onceOnly is a token that is kept nowhere.
func (t *tool) onceOnly(env project.Env, token auth.Secret) shownToken {
	once, err := t.shownOnly(env, token)
	return shownToken{token: token.Reveal(), once: once, err: err}
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
