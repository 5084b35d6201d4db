package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"envrun/auth/workload"
	"envrun/cmd/internal/cli"
	"envrun/envrun/project"
	"envrun/vault"
	"envrun/vault/audit"
	"envrun/vault/remote"
)

// onServer says why a command that looks after a vault in files has nothing to do.
func onServer(address string) error {
	return &cli.HintError{
		Err:  fmt.Errorf("the vault %s is on a server, which keeps members, keys and requests by itself: this is for vaults in files", cli.Printable(address)),
		Code: cli.CodeConfig, Hint: "who may read and write there is said by its policies: ask who looks after it",
	}
}

// server opens the vault of an environment on its server, and asks it nothing.
func (t *tool) server(p *project.Project, env project.Env) (*remote.Vault, error) {
	var v *remote.Vault
	var err error
	v, err = t.serverWith(p, env,
		func(ctx context.Context) (string, error) { return t.token(ctx, env, v) },
		func(ctx context.Context, refused string) (string, error) { return t.renewed(ctx, env, refused) })
	return v, err
}

// rootNamespace is that of a session which was made without one: what VAULT_NAMESPACE
// says later is not about it.
const rootNamespace = "/"

// serverWith is server with a token, and what is done about one that is refused.
func (t *tool) serverWith(p *project.Project, env project.Env, token func(context.Context) (string, error), renewed func(context.Context, string) (string, error)) (*remote.Vault, error) {
	o := remote.Options{
		Address:   env.Vault,
		Namespace: env.Server.Namespace,
		Mounts:    map[vault.Env]string{},
		Pins:      env.Server.Pins,
		Proxy:     http.ProxyFromEnvironment,
		Plain:     t.isNoted(plainServers, env.Vault),
		Learnt:    func(plain bool) { t.learnt(env.Vault, plain) },
	}
	if state, err := t.stateDir(); err == nil {
		o.Witness = &remote.Witness{Memory: audit.Memory{Dir: filepath.Join(state, "audit")}, Now: t.now, Suspect: func(err error) { t.suspect(env.Name, err) }}
	}
	o.Token, o.Renewed = token, renewed
	ca, from := env.Server.CA, env.Server.Pos.String()
	if addr := t.Getenv("VAULT_ADDR"); addr == "" || sameServer(addr, env.Vault) {
		if o.Namespace == "" {
			o.Namespace = t.Getenv("VAULT_NAMESPACE")
		}
		if ca == "" {
			ca, from = t.Getenv("VAULT_CACERT"), "VAULT_CACERT"
		}
	}
	if o.Namespace == rootNamespace {
		o.Namespace = ""
	}
	if ca != "" {
		var err error
		if o.CA, err = readSmall(ca); err != nil {
			return nil, fmt.Errorf("the certificates of the server, from %s: %w", from, err)
		}
	}
	for _, e := range p.Envs {
		if e.Vault == env.Vault && e.Server.Namespace == env.Server.Namespace {
			o.Mounts[e.Name] = e.MountName()
		}
	}
	if _, ok := o.Mounts[env.Name]; !ok && env.Name != "" {
		o.Mounts[env.Name] = env.MountName() // one that is being made
	}
	return remote.Open(o)
}

// maxSmall is more than a token, a few certificates or a list of servers take.
const maxSmall = 1 << 20

func readSmall(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSmall+1))
	if err == nil && len(text) > maxSmall {
		err = fmt.Errorf("%s is longer than %d bytes", file, maxSmall)
	}
	return text, err
}

// tokens are the answers to which token a server is shown, by its address. The
// question is asked once: it may be put to a person, and the interface has no
// place for that.
type tokens struct {
	mu    sync.Mutex
	by    map[string]shownToken
	given map[string]string // by serverName: those that the command line is given, before all others
	said  []string          // what was suspected of a server
}

type shownToken struct {
	token   string
	err     error
	session bool      // it is that of a session, which can be renewed
	until   time.Time // then the question is asked again; zero: never
	owed    error     // why a session that has ended was not renewed: told if the server refuses the token

	once *oneUse // it is of somebody who signed in for this process alone
}

// oneUse is a sign-in that nothing is kept of. Whoever is done with it ends it.
type oneUse struct {
	signedIn
	server *remote.Vault // with its token
}

// askAgain is after how long a session is looked at again that could not be renewed for
// now: not each of the requests that the interface has under way waits for an issuer.
const askAgain = 10 * time.Second

// token is what the server v of an environment is shown.
func (t *tool) token(ctx context.Context, env project.Env, v *remote.Vault) (string, error) {
	t.shown.mu.Lock()
	defer t.shown.mu.Unlock()
	if token, ok := t.shown.given[serverName(env.Vault)]; ok {
		return token, nil
	}
	platform, pipeline := t.platform(env)
	at := shownAt(env, pipeline)
	if s, ok := t.shown.by[at]; ok && (s.until.IsZero() || t.now().Before(s.until)) {
		return s.token, s.err
	}
	var s shownToken
	if pipeline {
		s.token, s.err = t.signInAs(ctx, platform, env, v)
	} else if t.outside() == "" {
		s = t.sessionToken(ctx, env, "")
		if s.token == "" {
			s = t.orStepUp(ctx, env, s)
		}
	}
	if s.token == "" && s.err == nil && !pipeline {
		s.token, s.err = t.findToken(ctx, env)
	}
	if ctx.Err() == nil {
		if t.shown.by == nil {
			t.shown.by = map[string]shownToken{}
		}
		t.shown.by[at] = s
	}
	return s.token, s.err
}

// shownAt says which of the tokens of tokens an environment has: each role has one of
// its own.
func shownAt(env project.Env, pipeline bool) string {
	if pipeline {
		return env.Vault + "\n" + env.CI.Mount + "\n" + env.CI.Role
	}
	return env.Vault + "\n" + env.Server.Namespace + "\n" + env.SignIn.Mount + "\n" + env.SignIn.Role
}

// renewed is told of a token that the server does not take: one of a session is
// renewed once.
func (t *tool) renewed(ctx context.Context, env project.Env, refused string) (string, error) {
	t.shown.mu.Lock()
	defer t.shown.mu.Unlock()
	at := shownAt(env, false)
	s := t.shown.by[at]
	switch {
	case s.token != refused:
		return s.token, s.err // another request has renewed it already
	case s.owed != nil:
		return "", s.owed
	case !s.session:
		return "", nil
	}
	s = t.orStepUp(ctx, env, t.sessionToken(ctx, env, refused))
	s.session = false // until it is due, it is not renewed for being refused again
	if ctx.Err() == nil {
		t.shown.by[at] = s
	}
	return s.token, s.err
}

// findToken looks in ENVRUN_TOKEN, then in VAULT_TOKEN, then in ~/.vault-token.
// No token at all is "": the vault says what that means.
//
// None of them says which server it is for, and a project file that somebody else
// wrote does: cloning a repository must not be enough to give a token away. So it
// is sent where VAULT_ADDR says, or where a person on this machine has said yes.
func (t *tool) findToken(ctx context.Context, env project.Env) (string, error) {
	token, from, err := t.anyToken()
	if err != nil || token == "" {
		return "", err
	}
	addr := t.Getenv("VAULT_ADDR")
	if sameServer(addr, env.Vault) {
		return token, nil
	}
	known, err := t.noted(knownServers)
	if err != nil {
		return "", err
	}
	if slices.ContainsFunc(known, func(s string) bool { return sameServer(s, env.Vault) }) {
		return token, nil
	}
	need := "export VAULT_ADDR=" + cli.Quote(env.Vault)
	if !t.Interactive() {
		why := fmt.Errorf("the token in %s is not known to be for %s, which %s names", from, env.Vault, env.VaultPos)
		if addr != "" {
			why = fmt.Errorf("the token in %s is for %s by VAULT_ADDR, and %s names %s", from, cli.Printable(addr), env.VaultPos, env.Vault)
		}
		return "", &cli.HintError{Err: why, Code: cli.CodePolicy, Hint: "if it is: " + need}
	}
	t.Sayf("%s names the server %s. This machine has sent no token there yet.", env.VaultPos, env.Vault)
	ok, err := t.Confirm(ctx, fmt.Sprintf("Send it the token in %s, now and from now on?", from), need)
	if err != nil {
		return "", err
	}
	if !ok {
		return "", &cli.HintError{Err: fmt.Errorf("no token was sent to %s", env.Vault), Code: cli.CodePolicy, Hint: "if the project file is right: " + need}
	}
	return token, t.note(knownServers, env.Vault)
}

// anyToken is the first token there is, and where it was found.
func (t *tool) anyToken() (token, from string, err error) {
	for _, name := range []string{"ENVRUN_TOKEN", "VAULT_TOKEN"} {
		if token := strings.TrimSpace(t.Getenv(name)); token != "" {
			return token, name, nil
		}
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", "", nil
	}
	file := filepath.Join(home, ".vault-token")
	text, err := readSmall(file)
	if errors.Is(err, os.ErrNotExist) {
		return "", "", nil
	}
	return strings.TrimSpace(string(text)), "~/.vault-token", err
}

// sameServer reports whether two addresses are of one server.
func sameServer(a, b string) bool {
	u, errA := url.Parse(strings.TrimRight(a, "/"))
	v, errB := url.Parse(strings.TrimRight(b, "/"))
	return errA == nil && errB == nil && u.Host != "" && u.Scheme == v.Scheme && strings.EqualFold(u.Host, v.Host) && u.Path == v.Path
}

// Files in the state folder that hold addresses of servers, one a line.
const (
	// Those that a token may be sent to. Whoever can write it can have one sent
	// elsewhere, as who can write our pins can have another key believed.
	knownServers = "servers"
	// Those that are not envrund: what envrund alone answers is not tried there.
	plainServers = "servers-plain"
)

// noted are the addresses in one of these files.
func (t *tool) noted(name string) ([]string, error) {
	dir, err := t.stateDir()
	if err != nil {
		return nil, err
	}
	text, err := readSmall(filepath.Join(dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return strings.Fields(string(text)), err
}

func (t *tool) isNoted(name, address string) bool {
	all, _ := t.noted(name) // what cannot be read is not known
	return slices.ContainsFunc(all, func(s string) bool { return sameServer(s, address) })
}

// note adds an address to one of the files.
func (t *tool) note(name, address string) error {
	dir, err := t.stateDir()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, address)
	return errors.Join(err, f.Close())
}

// learnt keeps for the next time that a server is not envrund, or is by now. Where
// it cannot be kept it is found out again, for one request.
func (t *tool) learnt(address string, plain bool) {
	if plain {
		_ = t.note(plainServers, address)
		return
	}
	// Seldom enough to forget all of them, rather than to rewrite the file beside others.
	if dir, err := t.stateDir(); err == nil {
		_ = os.Remove(filepath.Join(dir, plainServers))
	}
}

// explainServer is about servers and the way to them.
func explainServer(err error, r *cli.Report) bool {
	var missing *workload.MissingError
	if errors.As(err, &missing) {
		r.Code = cli.CodeAuth
		for line := range strings.SplitSeq(missing.Hint, "\n") {
			r.AddHint("%s", line)
		}
		return true
	}
	var part *remote.PartialError
	if errors.As(err, &part) {
		r.Code = cli.CodeConflict
		r.AddHint("a server changes one secret at a time; try again: what is written already stays as it is")
		return true
	}
	if aud := (*workload.AudienceError)(nil); errors.As(err, &aud) {
		r.Code = cli.CodeAuth
		r.AddHint("ask the platform for one for %s, or say whom it is for: audience = \"…\" in [ci] of envrun.toml", cli.Quote(aud.Want))
		return true
	}
	var e *remote.ServerError
	if !errors.As(err, &e) {
		return false
	}
	var ve *vault.Error
	env := "ENV"
	if errors.As(err, &ve) && ve.Env != "" {
		env = string(ve.Env)
	}
	at := cli.Quote(e.Address)
	switch e.Trouble {
	case remote.Unreachable:
		r.Code = cli.CodeOffline
		r.AddHint("does it answer? curl -sS %s/v1/sys/health", at)
	case remote.Sealed:
		r.Code = cli.CodeOffline
		r.AddHint("whoever holds its key shares unseals it: VAULT_ADDR=%s vault operator unseal", at)
	case remote.Uninitialised:
		r.Code = cli.CodeOffline
		r.AddHint("it has no keys yet: VAULT_ADDR=%s vault operator init", at)
	case remote.Standby:
		r.Code = cli.CodeOffline
		if e.Active != "" {
			r.AddHint("no token goes from one host to another by itself; in envrun.toml: vault = %q", e.Active)
		} else {
			r.AddHint("try again in a moment: another server is taking over")
		}
	case remote.Overloaded:
		r.Code = cli.CodeOffline
		r.AddHint("try again in a moment")
	case remote.Untrusted:
		r.Code = cli.CodeTampered
		r.AddHint("no token was sent; ask who looks after the server which key it has")
		r.AddHint(`if its certificate is its own: ca = "FILE" or pin = "sha256/…" beside vault in envrun.toml, or export VAULT_CACERT=FILE`)
	case remote.NoToken:
		r.Code = cli.CodeAuth
		r.AddHint("sign in: envrun login %s", at)
		r.AddHint("or bring a token: export VAULT_TOKEN, or ENVRUN_TOKEN, or: VAULT_ADDR=%s vault login", at)
	case remote.BadToken:
		r.Code = cli.CodeAuth
		r.AddHint("get a new one: envrun login %s, or VAULT_ADDR=%s vault login", at, at)
		r.AddHint("looked for in this order: ENVRUN_TOKEN, VAULT_TOKEN, the session of envrun login, ~/.vault-token")
	case remote.NotSignedIn:
		r.Code = cli.CodeAuth
		explainNotTaken(err, e.Mount, r)
	case remote.NotFresh:
		r.Code = cli.CodeAuth
		r.AddHint("sign in anew, on a terminal: envrun login %s", at)
	case remote.Forbidden:
		r.Code = cli.CodeAuth
		r.AddHint("who you are there, and what you may reach: envrun whoami --verify")
		if e.Mount != "" {
			r.AddHint("what reading takes: read on %[1]s/data/*, list on %[1]s/metadata/*; writing also create and update on both", e.Mount)
		}
	case remote.NoMount:
		r.Code = cli.CodeMissing
		r.AddHint("to make it: envrun env add %s", env)
		r.AddHint(`if it has another name there: mount = "NAME" in [env.%s] of envrun.toml`, env)
	case remote.NotVault:
		r.Code = cli.CodeConfig
		r.AddHint("is the address of vault in envrun.toml right? curl -sS %s/v1/sys/health", at)
	default:
		if ve == nil || ve.Kind == vault.KindOther {
			r.Code = cli.CodeFailed
			return true
		}
		return false
	}
	return true
}
