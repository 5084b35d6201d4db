package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"envrun/auth"
	"envrun/auth/oidc"
	"envrun/auth/session"
	"envrun/cmd/internal/cli"
	"envrun/envrun/project"
	"envrun/vault"
	"envrun/vault/remote"

	"github.com/spf13/cobra"
)

// sessionFacts is a session for people and programs. It holds no secret.
type sessionFacts struct {
	ID        string     `json:"id,omitempty"` // "" for a token that no session of ours has
	Server    string     `json:"server"`
	Namespace string     `json:"namespace,omitempty"`
	Account   string     `json:"account"`
	Method    string     `json:"method"`
	Mount     string     `json:"mount,omitempty"`
	Role      string     `json:"role,omitempty"`
	Issuer    string     `json:"issuer,omitempty"`
	Subject   string     `json:"subject,omitempty"`
	Kept      string     `json:"kept,omitempty"` // where its key is
	Policies  []string   `json:"policies,omitempty"`
	Ends      *time.Time `json:"ends,omitempty"`    // of the token
	Renews    bool       `json:"renews,omitempty"`  // it goes on by itself
	Refused   string     `json:"refused,omitempty"` // the issuer does not renew it any more
	Problem   string     `json:"problem,omitempty"` // why it cannot be read

	// What the issuer said of the sign-in, where it did.
	AuthTime *time.Time `json:"auth_time,omitempty"`
	ACR      string     `json:"acr,omitempty"`
	AMR      []string   `json:"amr,omitempty"`
	Clock    float64    `json:"clock_skew,omitempty"` // seconds that the issuer's is ahead of this machine's

	Verified   *bool               `json:"verified,omitempty"`   // the server takes the token
	Unverified string              `json:"unverified,omitempty"` // why the server could not be asked
	Reach      map[string][]string `json:"reach,omitempty"`      // what it may do in environments
}

// sessionFacts are those of an account; of its record too, if that was read.
func (t *tool) sessionFacts(a session.Account, r *session.Record) sessionFacts {
	is := sessionFacts{ID: a.ID, Server: a.Server, Namespace: a.Namespace, Account: a.Label, Method: a.Method, Mount: a.Mount, Role: a.Role, Issuer: a.Issuer, Subject: a.Subject, Kept: a.Keychain}
	if r == nil {
		return is
	}
	is.Policies, is.Refused = r.Policies, r.Refused
	is.Renews = r.Refused == "" && !r.RefreshToken.Empty()
	if !r.Ends.IsZero() {
		is.Ends = &r.Ends
	}
	if !r.AuthTime.IsZero() {
		is.AuthTime = &r.AuthTime
	}
	is.ACR, is.AMR, is.Clock = r.ACR, r.AMR, r.Skew.Seconds()
	return is
}

// proof is when and by what somebody showed the issuer who they are.
func (is sessionFacts) proof() string {
	var parts []string
	if is.AuthTime != nil {
		parts = append(parts, "at "+is.AuthTime.Local().Format(time.DateTime))
	}
	if len(is.AMR) > 0 {
		parts = append(parts, "by "+strings.Join(is.AMR, ", "))
	}
	if is.ACR != "" {
		parts = append(parts, "as "+is.ACR)
	}
	return strings.Join(parts, " ")
}

func (t *tool) printSession(is sessionFacts) {
	row := func(what, text string) {
		if text != "" {
			t.Printf("%-9s %s\n", what, cli.Printable(text))
		}
	}
	if is.ID == "" {
		row("token", "in "+is.Kept)
		row("account", is.Account)
	} else {
		row("account", is.Account+" ("+is.ID[:min(8, len(is.ID))]+")")
	}
	row("server", strings.TrimSpace(is.Server+" "+is.Namespace))
	row("role", is.Role)
	row("policies", strings.Join(is.Policies, ", "))
	row("signed in", is.proof())
	if off := time.Duration(-is.Clock * float64(time.Second)).Round(time.Second); off.Abs() >= oidc.DefaultLeeway/2 {
		row("clock", "this machine's is "+apart(off)+" that of the issuer")
	}
	switch {
	case is.Problem != "":
		row("session", "cannot be read: "+is.Problem)
	case is.Refused != "":
		row("session", "the issuer does not renew it any more ("+is.Refused+"): envrun login")
	case is.ID == "" && is.Ends == nil:
	case is.ID == "":
		row("ends", is.Ends.Local().Format(time.DateTime))
	case is.Ends == nil:
		row("session", "does not end by itself")
	default:
		text := "until " + is.Ends.Local().Format(time.DateTime)
		if is.Ends.Before(t.now()) {
			text = "the token ended at " + is.Ends.Local().Format(time.DateTime)
		}
		if is.Renews {
			text += ", and is renewed by itself"
		} else {
			text += "; then sign in again"
		}
		row("session", text)
	}
	if is.ID != "" {
		row("kept", is.Kept)
	}
	if is.Unverified != "" {
		row("verified", "not known: "+is.Unverified)
	}
	if is.Verified != nil {
		row("verified", map[bool]string{true: "the server takes the token", false: "the server does not take the token: envrun login"}[*is.Verified])
	}
	var envs []string
	for env := range is.Reach {
		envs = append(envs, env)
	}
	slices.Sort(envs)
	for _, env := range envs {
		may := strings.Join(is.Reach[env], ", ")
		if may == "deny" {
			may = "nothing"
		}
		row("reach", env+": "+may)
	}
}

func newWhoami(t *tool) *cobra.Command {
	verify := false
	cmd := &cobra.Command{
		Use:   "whoami",
		Short: "Say who you are signed in as, where and for how long",
		Long: `Shows the sessions on this machine, and a token in ENVRUN_TOKEN, VAULT_TOKEN or
~/.vault-token, from what is kept here: no server is asked. --verify asks each server
whether it takes the token, which policies it has, and what it may do in the
environments of the project.`,
		Example: `  envrun whoami
  envrun whoami --verify --json`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&verify, "verify", false, "ask the server")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return runWhoami(cmd.Context(), t, verify) }
	return cmd
}

func runWhoami(ctx context.Context, t *tool, verify bool) error {
	store, err := t.sessions(false)
	if err != nil {
		return err
	}
	p, _ := t.project() // outside of one there is nothing to reach
	accounts, err := t.chosen(store, p)
	if err != nil {
		return err
	}
	all := []sessionFacts{}
	var errs []error
	for _, a := range accounts {
		_, r, err := store.Open(ctx, a.ID)
		is := t.sessionFacts(a, &r)
		if err != nil {
			is = t.sessionFacts(a, nil)
			is.Problem = err.Error()
		} else if verify {
			if err := t.verify(ctx, p, t.serverOf(p, a), r.Token, &is); err != nil { // the others are told all the same
				is.Unverified = err.Error()
				errs = append(errs, err)
			}
		}
		all = append(all, is)
	}
	is, err := t.bareToken(ctx, p, verify)
	if err != nil {
		errs = append(errs, err)
		if is != nil {
			is.Unverified = err.Error()
		}
	}
	switch {
	case is == nil:
	case strings.HasPrefix(is.Kept, "~"):
		all = append(all, *is)
	default:
		if len(all) > 0 {
			t.Notef("the token in %s goes before any session", is.Kept)
		}
		all = append([]sessionFacts{*is}, all...)
	}
	if t.flags.json {
		if err := cli.WriteJSON(t.Out, all); err != nil {
			return err
		}
	} else {
		for i, is := range all {
			if i > 0 {
				t.Printf("\n")
			}
			t.printSession(is)
		}
	}
	if len(all) == 0 && len(errs) == 0 {
		hint := "envrun login"
		if t.flags.env != "" {
			hint += " -e " + cli.Quote(t.flags.env)
		}
		return &cli.HintError{Err: errors.New(t.notSignedIn()), Code: cli.CodeAuth, Hint: hint}
	}
	return cli.Several(errs)
}

func (t *tool) notSignedIn() string {
	if t.flags.env != "" {
		return "you are not signed in to the server of " + t.flags.env
	}
	return "you are not signed in to any server on this machine"
}

// chosen are the sessions for the environment of -e, if it was given, that --account or
// ENVRUN_ACCOUNT names; all, if nothing does.
func (t *tool) chosen(store *session.Store, p *project.Project) ([]session.Account, error) {
	accounts, err := store.Accounts()
	if err != nil {
		return nil, err
	}
	if t.flags.env != "" {
		if p == nil {
			_, err := t.project()
			return nil, err
		}
		env, err := p.Select(t.flags.env, "")
		if err != nil {
			return nil, err
		}
		accounts = slices.DeleteFunc(accounts, func(a session.Account) bool { return !isFor(a, env) })
	}
	wanted := cmp.Or(t.flags.account, t.Getenv("ENVRUN_ACCOUNT"))
	if wanted == "" {
		return accounts, nil
	}
	some := slices.DeleteFunc(slices.Clone(accounts), func(a session.Account) bool { return !a.Is(wanted) })
	if len(some) == 0 {
		return nil, &session.UnknownError{Wanted: wanted, Others: accounts}
	}
	return some, nil
}

// isFor reports whether a session can be used for an environment. What the project says
// of people's way in says nothing of another one.
func isFor(a session.Account, env project.Env) bool {
	return env.Remote() && a.Server == serverName(env.Vault) && (env.Server.Namespace == "" || a.Namespace == env.Server.Namespace) &&
		(a.Method != methodOIDC || (env.SignIn.Mount == "" || a.Mount == env.SignIn.Mount) && (env.SignIn.Role == "" || a.Role == env.SignIn.Role))
}

// serverOf is the environment by which the server of a session is reached: how it is
// known is said by the project, if that has it.
func (t *tool) serverOf(p *project.Project, a session.Account) project.Env {
	if p != nil {
		for _, env := range p.Envs {
			if env.Remote() && serverName(env.Vault) == a.Server && (env.Server.Namespace == "" || env.Server.Namespace == a.Namespace) {
				env.Server.Namespace = cmp.Or(a.Namespace, rootNamespace)
				return env
			}
		}
	}
	return project.Env{Vault: a.Server, Server: project.Server{Namespace: cmp.Or(a.Namespace, rootNamespace)}}
}

// bareToken is a token that somebody put here without envrun login; nil if there is
// none. Where nothing says which server it is for, none is named.
func (t *tool) bareToken(ctx context.Context, p *project.Project, verify bool) (*sessionFacts, error) {
	token, from, err := t.anyToken()
	if err != nil || token == "" {
		return nil, err
	}
	is := &sessionFacts{Method: "token", Kept: from}
	env, known := t.serverMeant(p)
	if !known {
		return is, nil
	}
	is.Server, is.Namespace = serverName(env.Vault), env.Server.Namespace
	if !verify {
		return is, nil
	}
	if token, err = t.findToken(ctx, env); err != nil {
		return nil, err
	}
	return is, t.verify(ctx, p, env, auth.NewSecret(token), is)
}

// serverMeant is the server that commands here would ask.
func (t *tool) serverMeant(p *project.Project) (env project.Env, known bool) {
	if p != nil {
		if env, err := p.Select(t.flags.env, t.Getenv("ENVRUN_ENV")); err == nil && env.Remote() {
			return env, true
		}
	}
	u, err := remote.ParseAddress(t.Getenv("VAULT_ADDR"))
	if err != nil {
		return project.Env{}, false
	}
	return project.Env{Vault: u.String(), Server: project.Server{Namespace: t.Getenv("VAULT_NAMESPACE")}}, true
}

// verify asks a server about a token.
func (t *tool) verify(ctx context.Context, p *project.Project, at project.Env, token auth.Secret, is *sessionFacts) error {
	v, err := t.shownOnly(at, token)
	if err != nil {
		return err
	}
	defer v.Close()
	self, err := v.Self(ctx)
	good := err == nil || vault.KindOf(err) == vault.KindDenied
	if e := (*remote.ServerError)(nil); err != nil && !good && !(errors.As(err, &e) && (e.Trouble == remote.BadToken || e.Trouble == remote.NoToken)) {
		return err
	}
	is.Verified = &good
	if err == nil {
		is.Policies = self.Held()
		if is.ID == "" {
			is.Account = self.DisplayName
			if self.ExpireTime != nil {
				is.Ends = &self.ExpireTime.Time
			}
		}
	}
	if !good || p == nil {
		return nil
	}
	var envs, paths []string
	for _, env := range p.Envs {
		if env.Remote() && serverName(env.Vault) == is.Server {
			path := strings.Trim(env.MountName(), "/") + "/data/" + string(p.Name)
			envs, paths = append(envs, string(env.Name)), append(paths, path)
		}
	}
	if len(paths) == 0 {
		return nil
	}
	may, err := v.Reach(ctx, paths)
	if vault.KindOf(err) == vault.KindDenied {
		return nil
	}
	is.Reach = map[string][]string{}
	for i, env := range envs {
		is.Reach[env] = may[paths[i]]
	}
	return err
}
