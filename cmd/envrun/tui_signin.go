package main

import (
	"cmp"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"envrun/auth/browser"
	"envrun/auth/oidc/login"
	"envrun/auth/session"
	"envrun/cmd/internal/cli"
	"envrun/envrun/project"
	"envrun/tui/screen"
	"envrun/vault"
	"envrun/vault/remote"
)

// signer is signing in to the servers of a project, for the interface.
type signer struct {
	t    *tool
	open *openers
}

var _ screen.SignIns = (*signer)(nil)

// Server implements screen.SignIns. A session is for a server, a namespace and the
// way that the environment is signed in to.
func (s *signer) Server(name vault.Env) string {
	env, ok := s.env(name)
	if !ok {
		return ""
	}
	return shownAt(env, false)
}

func (s *signer) env(name vault.Env) (project.Env, bool) {
	env, ok := s.open.project.Env(name)
	return env, ok && env.Remote()
}

// outside is the variable whose token goes before any session, or "".
func (t *tool) outside() string {
	for _, name := range []string{"ENVRUN_TOKEN", "VAULT_TOKEN"} {
		if t.Getenv(name) != "" {
			return name
		}
	}
	return ""
}

// Wants implements screen.SignIns. Where a token comes from outside of envrun,
// signing in would change nothing.
func (s *signer) Wants(err error) (screen.Want, bool) {
	var w screen.Want
	var e *remote.ServerError
	var ended *session.EndedError
	var fresh *remote.ChallengeError
	switch {
	case err == nil || s.t.outside() != "":
		return w, false
	case errors.As(err, &fresh):
		w.State, w.Within = screen.NotFresh, fresh.MaxAge
	case errors.As(err, &ended):
		w.State = screen.Refused
	case errors.Is(err, session.ErrSignIn), errors.Is(err, session.ErrNoAccount):
		w.State = screen.SignedOut
	case errors.As(err, &e) && e.Trouble == remote.NoToken:
		w.State = screen.SignedOut
	case errors.As(err, &e) && e.Trouble == remote.BadToken:
		w.State = screen.Lapsed
	default:
		return w, false
	}
	if ve := (*vault.Error)(nil); errors.As(err, &ve) && ve.Env != "" {
		w.Env = ve.Env
	}
	for _, env := range s.open.project.Envs {
		if w.Env == "" && env.Remote() && (e == nil || sameServer(env.Vault, e.Address)) {
			w.Env = env.Name
		}
	}
	env, ok := s.env(w.Env)
	if _, pipeline := s.t.platform(env); !ok || pipeline {
		return w, false
	}
	w.Server, w.Address = s.Server(w.Env), env.Vault
	return w, true
}

// Signed implements screen.Signing.
func (s *signer) Signed(ctx context.Context, name vault.Env, ask bool) (screen.Signed, error) {
	env, ok := s.env(name)
	if !ok {
		return screen.Signed{}, &vault.Error{Kind: vault.KindNoEnv, Env: name}
	}
	is := screen.Signed{Address: env.Vault, Namespace: env.Server.Namespace, State: screen.SignedOut}
	if err := s.known(ctx, env, &is); err != nil || !ask || is.State != screen.SignedIn {
		return is, err
	}
	v, err := s.open.remote(env)
	if err != nil {
		return is, err
	}
	self, err := v.Self(ctx)
	var e *remote.ServerError
	want, wants := s.Wants(err)
	switch {
	case wants:
		is.State, is.Why = want.State, err
		return is, nil
	case errors.As(err, &e) && e.Trouble == remote.BadToken:
		is.State = screen.Lapsed
		is.Fixed = "Get a new token with: VAULT_ADDR=" + cli.Quote(env.Vault) + " vault login, or export another VAULT_TOKEN, and begin again."
		return is, nil
	case vault.KindOf(err) == vault.KindDenied: // it is one, and may not look at itself
	case err != nil:
		return is, err
	default:
		is.Label, is.Policies = cmp.Or(is.Label, self.DisplayName), self.Held()
		is.Role = cmp.Or(is.Role, self.Role)
		if self.ExpireTime != nil && is.Kept == "" {
			is.Ends = self.ExpireTime.Time
		}
		if self.ExplicitMaxTTL > 0 && !is.Renewed {
			is.Limit = time.Unix(self.CreationTime+self.ExplicitMaxTTL, 0)
		}
	}
	is.Envs, err = s.reached(ctx, name, v)
	return is, err
}

// known says what this machine knows of who is signed in to the server of an
// environment.
func (s *signer) known(ctx context.Context, env project.Env, is *screen.Signed) error {
	if _, pipeline := s.t.platform(env); pipeline {
		is.State, is.By, is.Role = screen.SignedIn, "with the identity of the platform, for this job", env.CI.Role
		is.Fixed = "A job's identity is used as long as the job runs."
		return nil
	}
	if name := s.t.outside(); name != "" {
		is.State, is.By = screen.SignedIn, "the token in "+name
		is.Fixed = "The token in " + name + " comes from outside of envrun, and is used as long as it is there."
		return nil
	}
	if o := s.t.onceAt(env); o != nil {
		is.State, is.Label, is.Subject, is.Role = screen.SignedIn, o.account.Label, o.account.Subject, o.account.Role
		is.By = "in a browser, at " + screen.Host(o.account.Issuer) + "; nothing of it is kept"
		is.Ends, is.Policies = o.record.Ends, o.record.Policies
		return nil
	}
	if err := s.session(ctx, env, is); err != nil || is.State != screen.SignedOut {
		return err
	}
	token, from, err := s.t.anyToken()
	if err == nil && token != "" {
		is.State, is.By = screen.SignedIn, "the token in "+from+"; a session of envrun would go before it"
	}
	return err
}

// session says what is known of the session for an environment.
func (s *signer) session(ctx context.Context, env project.Env, is *screen.Signed) error {
	store, err := s.t.openSessions()
	if err != nil {
		return err
	}
	used, err := s.t.sessionOf(store, env)
	var several *session.AmbiguousError
	switch {
	case errors.As(err, &several):
		is.Why = err
	case errors.Is(err, session.ErrNoAccount):
		return nil
	case err != nil:
		return err
	}
	all, err := store.Accounts()
	if err != nil {
		return err
	}
	for _, a := range all {
		if isFor(a, env) {
			is.Accounts = append(is.Accounts, screen.Account{ID: a.ID, Label: a.Label, Role: a.Role, Used: a.ID == used.ID})
		}
	}
	if several != nil {
		return nil
	}
	is.Label, is.Subject, is.Role, is.Kept = used.Label, used.Subject, used.Role, used.Keychain
	is.By = "with a token that was kept"
	if used.Issuer != "" {
		is.By = "in a browser, at " + screen.Host(used.Issuer)
	}
	_, r, err := store.Open(ctx, used.ID)
	switch {
	case errors.Is(err, session.ErrSignIn):
		is.State, is.Why = screen.Lapsed, err
	case err != nil:
		return err
	case r.Refused != "":
		is.State, is.Why = screen.Refused, &session.EndedError{Account: used, Why: r.Refused}
	case r.RefreshToken.Empty() && !r.Ends.IsZero() && r.Ends.Before(s.t.now()):
		is.State = screen.Lapsed
	default:
		is.State, is.Ends, is.Policies = screen.SignedIn, r.Ends, r.Policies
		is.Renewed = !r.RefreshToken.Empty()
	}
	return nil
}

// reached is how far the token comes into each environment of a server.
func (s *signer) reached(ctx context.Context, of vault.Env, v *remote.Vault) ([]screen.Reached, error) {
	var envs []project.Env
	var paths []string
	for _, env := range s.open.project.Envs {
		if s.Server(env.Name) == s.Server(of) {
			envs = append(envs, env)
			data, names := s.pathsOf(env)
			paths = append(paths, data, names)
		}
	}
	may, err := v.Reach(ctx, paths)
	if vault.KindOf(err) == vault.KindDenied {
		return nil, nil // it may not ask, and trying says it
	}
	if err != nil {
		return nil, err
	}
	all := make([]screen.Reached, len(envs))
	for i, env := range envs {
		data, names := s.pathsOf(env)
		has := func(path, what string) bool {
			return slices.Contains(may[path], what) || slices.Contains(may[path], "root")
		}
		r := screen.Reached{Env: env.Name}
		switch {
		case has(data, "read") && (has(data, "update") || has(data, "create")):
			r.Reach = screen.ReachWrite
		case has(data, "read"):
			r.Reach = screen.ReachRead
		default:
			r.Reach, err = s.listed(ctx, env.Name, has(names, "list"))
		}
		if err != nil {
			return nil, err
		}
		all[i] = r
	}
	return all, nil
}

// pathsOf are where the project's own secrets are in an environment, and their names.
func (s *signer) pathsOf(env project.Env) (data, names string) {
	mount := strings.Trim(env.MountName(), "/")
	own := string(s.open.project.Name)
	if own == "" {
		own = string(env.Name)
	}
	return mount + "/data/" + own, mount + "/metadata/" + own
}

// listed is how far somebody comes who may not read the project's own secrets: a
// policy may give them others, and the names say so.
func (s *signer) listed(ctx context.Context, env vault.Env, may bool) (screen.Reach, error) {
	if may {
		return screen.ReachNames, nil
	}
	v, err := s.open.vault(ctx, env)
	if err != nil {
		return screen.ReachUnknown, err
	}
	for _, err := range v.List(ctx, env, "") {
		switch vault.KindOf(err) {
		case vault.KindDenied, vault.KindNoEnv, vault.KindNotFound:
			return screen.ReachNone, nil
		}
		if err != nil {
			return screen.ReachUnknown, ctx.Err()
		}
		return screen.ReachNames, nil
	}
	return screen.ReachNone, nil
}

// SignIn implements screen.SignIns.
func (s *signer) SignIn(ctx context.Context, name vault.Env, how screen.How, p screen.Person) (screen.Signed, error) {
	env, ok := s.env(name)
	if !ok {
		return screen.Signed{}, &vault.Error{Kind: vault.KindNoEnv, Env: name}
	}
	flow := map[screen.How]string{screen.ByBrowser: browser.FlowBrowser, screen.ByDevice: browser.FlowDevice, screen.ByPaste: browser.FlowPaste}[how]
	in, err := s.t.signIn(ctx, s.open.project, env, signInHow{flow: flow}, talker{p})
	if err != nil {
		return screen.Signed{}, err
	}
	if in.kept {
		s.t.use(env, in.account.ID)
	} else {
		s.t.show(env, in)
	}
	return s.Signed(ctx, name, true)
}

// SignOut implements screen.SignIns.
func (s *signer) SignOut(ctx context.Context, name vault.Env) ([]screen.Ending, error) {
	env, ok := s.env(name)
	if !ok {
		return nil, &vault.Error{Kind: vault.KindNoEnv, Env: name}
	}
	steps, err := s.signOut(ctx, env)
	all := make([]screen.Ending, len(steps))
	for i, step := range steps {
		switch {
		case step.Ended:
			all[i].Text = step.What + " has ended"
		case step.Until.IsZero():
			all[i] = screen.Ending{Text: step.What + " is still good until it ends by itself: " + step.Why, Stays: true}
		default:
			all[i] = screen.Ending{Text: step.What + " is still good until " + step.Until.Local().Format(time.TimeOnly) + ": " + step.Why, Stays: true}
		}
	}
	return all, err
}

// signOut ends what somebody who signed in to an environment has: for this process
// alone, or the session.
func (s *signer) signOut(ctx context.Context, env project.Env) ([]ending, error) {
	if o := s.t.drop(env); o != nil {
		defer o.server.Close()
		return []ending{s.t.endToken(ctx, env, o.record)}, nil
	}
	store, err := s.t.openSessions()
	if err != nil {
		return nil, err
	}
	a, err := s.t.sessionOf(store, env)
	if err != nil {
		return nil, err
	}
	steps, err := s.t.signOutOf(ctx, store, a, env)
	s.t.use(env, "")
	return steps, err
}

// Use implements screen.SignIns.
func (s *signer) Use(_ context.Context, name vault.Env, account string) error {
	env, ok := s.env(name)
	if !ok {
		return &vault.Error{Kind: vault.KindNoEnv, Env: name}
	}
	s.t.use(env, account)
	return nil
}

// asker asks a person for something that is not shown as it is typed.
type asker = func(ctx context.Context, prompt string) ([]byte, error)

// warn says something beside what is printed, wherever there is a place for it.
func (t *tool) warn(text string) {
	if t.notice != nil {
		t.notice(cli.Printable(text))
		return
	}
	t.Notef("%s", text)
}

// accounts are those that somebody chose in the interface, by what tokens are shown
// by. They end with it.
type accounts struct {
	mu sync.Mutex
	by map[string]string
}

func (a *accounts) of(env project.Env) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.by[shownAt(env, false)]
}

// use has an account used for an environment, and what was found before forgotten;
// "" is none in particular.
func (t *tool) use(env project.Env, account string) {
	at := shownAt(env, false)
	t.accounts.mu.Lock()
	if t.accounts.by == nil {
		t.accounts.by = map[string]string{}
	}
	t.accounts.by[at] = account
	t.accounts.mu.Unlock()
	if was := t.drop(env); was != nil {
		t.endOnce(was.server)
	}
}

// drop forgets which token the server of an environment is shown. It returns the sign-in
// for this process alone that it was of, nil if it was of none.
func (t *tool) drop(env project.Env) *oneUse {
	t.shown.mu.Lock()
	defer t.shown.mu.Unlock()
	at := shownAt(env, false)
	was := t.shown.by[at].once
	delete(t.shown.by, at)
	return was
}

// onceAt is the sign-in for this process alone whose token the server of an environment
// is shown, nil if there is none.
func (t *tool) onceAt(env project.Env) *oneUse {
	t.shown.mu.Lock()
	defer t.shown.mu.Unlock()
	return t.shown.by[shownAt(env, false)].once
}

// show has the server of an environment shown the token of a sign-in that nothing is
// kept of, in the place of what it was shown.
func (t *tool) show(env project.Env, in signedIn) {
	t.use(env, "")
	t.shown.mu.Lock()
	defer t.shown.mu.Unlock()
	if t.shown.by == nil {
		t.shown.by = map[string]shownToken{}
	}
	t.shown.by[shownAt(env, false)] = t.onceOnly(env, in)
}

// talker is the interface's box for whoever signs in, as package login knows a person.
type talker struct{ screen.Person }

var _ login.Person = talker{}

// Visit implements login.Person.
func (p talker) Visit(v login.Visit) {
	off := ""
	if v.OpenErr != nil {
		off = v.OpenErr.Error()
	}
	p.Person.Visit(screen.Visit{URL: v.URL, Until: v.Until, Opened: v.Opened, Off: off})
}

// Code implements login.Person.
func (p talker) Code(c login.Code) {
	host, _ := os.Hostname()
	p.Person.Code(screen.Code{Code: c.UserCode, URL: c.URI, Host: host, Until: c.Until})
}
