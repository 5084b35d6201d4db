package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"envrun/auth"
	"envrun/auth/session"
	"envrun/auth/workload"
	"envrun/cmd/internal/cli"
	"envrun/envrun/project"
	"envrun/vault"
	"envrun/vault/remote"

	"github.com/spf13/cobra"
)

type loginOptions struct {
	how       signInHow
	device    bool
	method    string
	tokenFile string
	roleID    string
}

func newLogin(t *tool) *cobra.Command {
	var o loginOptions
	cmd := &cobra.Command{
		Use:   "login [ADDRESS]",
		Short: "Sign in to a team server",
		Long: `Signs you in to the server of the project, or at ADDRESS, with your organisation's
identity provider: in a browser, or with a code that you enter in a browser on
another machine. The session is kept sealed; its key is in your keychain. Where
the project's environments are on several servers, -e or ADDRESS says which.

Ways for programs read what they bring from a file, from standard input or from
a hidden prompt, and never from the command line:
  token        a token of the server: a prompt, or standard input
  jwt          an identity token: --token-file, or standard input
  kubernetes   the pod's identity token: --token-file, or where pods have it
  approle      --role-id, and the secret id: ENVRUN_SECRET_ID, a prompt, or standard input`,
		Example: `  envrun login
  envrun login --device https://vault.example.com
  envrun login --method token < token.txt`,
		Args: cobra.MaximumNArgs(1),
	}
	f := cmd.Flags()
	f.StringVar(&o.how.flow, "flow", "", "auto, browser, device or paste")
	f.BoolVar(&o.device, "device", false, "short for --flow device")
	f.IntVar(&o.how.port, "callback-port", 0, "the port of this machine that the browser comes back to; 0 is any")
	f.StringVar(&o.how.role, "role", "", "the role to sign in to")
	f.StringVar(&o.how.mount, "mount", "", "the way to sign in, below auth/ of the server")
	f.StringVar(&o.method, "method", "", "oidc, vault-oidc, token, jwt, kubernetes or approle (default: oidc, or Vault's own where that is all there is)")
	f.StringVar(&o.tokenFile, "token-file", "", "the file with the identity token of jwt or kubernetes")
	f.StringVar(&o.roleID, "role-id", "", "the role id of approle")
	f.StringVar(&o.how.store, "store", "", "where the key of sessions is kept: the name of a keychain, or passphrase")
	f.StringVar(&o.how.trust, "trust-issuer", "", "take this issuer from now on, though the server named another before")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return runLogin(cmd.Context(), t, o, args) }
	return cmd
}

func runLogin(ctx context.Context, t *tool, o loginOptions, args []string) error {
	if o.device {
		if o.how.flow != "" && o.how.flow != "device" {
			return cli.Usagef("envrun login", "--device and --flow %s do not go together", o.how.flow)
		}
		o.how.flow = "device"
	}
	switch {
	case !slices.Contains([]string{"", "auto", "browser", "device", "paste"}, o.how.flow):
		return cli.Usagef("envrun login", "--flow is auto, browser, device or paste, not %q", o.how.flow)
	case !slices.Contains([]string{"", methodOIDC, methodDriven, "token", "jwt", "kubernetes", "approle"}, o.method):
		return cli.Usagef("envrun login", "--method is oidc, vault-oidc, token, jwt, kubernetes or approle, not %q", o.method)
	case o.how.store == session.InMemory:
		return cli.Usagef("envrun login", "--store memory would keep nothing of what you sign in for; give the token to each command instead: ENVRUN_TOKEN")
	case o.how.port < 0 || o.how.port > 65535:
		return cli.Usagef("envrun login", "--callback-port is a port, not %d", o.how.port)
	}
	p, env, err := t.serverToSignIn(args, o)
	if err != nil {
		return err
	}
	var in signedIn
	if o.how.method = o.method; !slices.Contains([]string{"", methodOIDC, methodDriven}, o.method) {
		in, err = t.signInWith(ctx, p, env, o)
	} else {
		// A code asks nothing of whoever reads it here, and needs no terminal.
		read := o.how.flow == "device" && !t.NoInput && t.CI() == "" && t.Agent() == ""
		if !t.Interactive() && !read {
			return &cli.HintError{Err: fmt.Errorf("signing in to %s takes somebody at a terminal, and there is nobody", env.Vault), Code: cli.CodeAuth,
				Hint: "on a terminal: envrun login " + cli.Quote(env.Vault) + "; with a browser elsewhere: envrun login --device " + cli.Quote(env.Vault) + "; for programs: [ci] in envrun.toml, or envrun login --method"}
		}
		o.how.hint = t.flags.account
		within, person := t.atTerminal(ctx, env.Vault, o.how.flow != "device")
		in, err = t.signIn(within, p, env, o.how, person)
		err = person.why(err)
		person.done()
	}
	if err != nil {
		return err
	}
	if !in.kept { // nobody will use what the server and the issuer gave
		on := context.WithoutCancel(ctx)
		t.endToken(on, env, in.record)
		t.endRefresh(on, in.account, in.record, env)
		in.record.Ends, in.record.RefreshToken = time.Time{}, auth.Secret{}
	}
	is := t.sessionFacts(in.account, &in.record)
	if t.flags.json {
		return cli.WriteJSON(t.Out, is)
	}
	if !in.kept {
		t.Sayf("The role %s wants you to sign in anew each time: nothing was kept. Where role in [sign_in] of envrun.toml names it, envrun -- COMMAND signs you in.", in.account.Role)
		return nil
	}
	t.printSession(is)
	if in.place.Forgets {
		t.Sayf("The keychain %s forgets it when this machine is restarted.", in.account.Keychain)
	}
	return nil
}

// serverToSignIn is the server that is meant, as an environment of a project: the
// one at an address, that of -e, or the only one of the project.
func (t *tool) serverToSignIn(args []string, o loginOptions) (*project.Project, project.Env, error) {
	p, err := t.project()
	if none := (*project.NoProjectError)(nil); errors.As(err, &none) && t.flags.config == "" {
		if p, err = (&project.Project{}), nil; len(args) == 0 {
			err = &cli.HintError{Err: fmt.Errorf("no envrun.toml in %s says which server to sign in to", none.Dir), Code: cli.CodeConfig, Hint: "name it: envrun login https://vault.example.com"}
		}
	}
	if err != nil {
		return nil, project.Env{}, err
	}
	if t.flags.env != "" && len(args) == 0 {
		env, err := p.Select(t.flags.env, "")
		if err == nil && !env.Remote() {
			err = &cli.HintError{Err: fmt.Errorf("the vault of %s is in files: there is no server to sign in to", env.Name), Code: cli.CodeConfig, Hint: "envrun login ADDRESS"}
		}
		return p, env, err
	}
	address := ""
	if len(args) == 1 {
		u, err := remote.ParseAddress(args[0])
		if err != nil {
			return nil, project.Env{}, err
		}
		address = u.String()
	}
	// Environments that are signed in to in one way are one.
	var found []project.Env
	for _, env := range p.Envs {
		same := func(e project.Env) bool { return shownAt(o.as(e), false) == shownAt(o.as(env), false) }
		meant := env.Remote() && (address == "" || sameServer(env.Vault, address)) && (t.flags.env == "" || t.flags.env == string(env.Name))
		if meant && !slices.ContainsFunc(found, same) {
			found = append(found, env)
		}
	}
	switch {
	case len(found) == 1:
		return p, found[0], nil
	case len(found) == 0 && address != "":
		return &project.Project{}, project.Env{Vault: address, VaultPos: project.Pos{File: "the command line"}}, nil
	case len(found) == 0:
		return nil, project.Env{}, &cli.HintError{Err: errors.New("the vaults of this project are in files: there is no server to sign in to"), Code: cli.CodeConfig, Hint: "envrun login ADDRESS"}
	}
	var which, next []string
	for _, env := range found {
		env = o.as(env)
		at := env.Vault
		for _, part := range [...]struct{ what, name string }{{"namespace", env.Server.Namespace}, {"mount", env.SignIn.Mount}, {"role", env.SignIn.Role}} {
			if part.name != "" {
				at += ", " + part.what + " " + part.name
			}
		}
		which, next = append(which, fmt.Sprintf("%s (%s)", env.Name, at)), append(next, "envrun login -e "+string(env.Name))
	}
	return nil, project.Env{}, &cli.HintError{Err: fmt.Errorf("there are several sign-ins in this project: %s", strings.Join(which, ", ")), Code: cli.CodeConfig, Hint: "one after the other: " + strings.Join(next, "; ")}
}

// as is an environment as it is signed in to: by the role that the command line says,
// and for a program without what the project says of people.
func (o loginOptions) as(env project.Env) project.Env {
	if !slices.Contains([]string{"", methodOIDC, methodDriven}, o.method) {
		env.SignIn = project.SignIn{}
	}
	env.SignIn.Mount, env.SignIn.Role = cmp.Or(o.how.mount, env.SignIn.Mount), cmp.Or(o.how.role, env.SignIn.Role)
	return env
}

// signInWith signs in with what a program has, or with a token that there is.
func (t *tool) signInWith(ctx context.Context, p *project.Project, env project.Env, o loginOptions) (signedIn, error) {
	var in signedIn
	if job := t.CI(); job != "" && o.method == "jwt" {
		return in, &cli.HintError{Err: fmt.Errorf("this is a job of CI (%s is set): its identity is used as it is, and no session is made of it", job), Code: cli.CodePolicy,
			Hint: "say which role it is for, in [ci] of envrun.toml; then: envrun -- COMMAND"}
	}
	store, err := t.sessions(true)
	if err != nil {
		return in, err
	}
	store.Keep = o.how.store
	if in.place, err = store.Prepare(ctx); err != nil {
		return in, err
	}
	in.account = session.Account{Server: serverName(env.Vault), Method: o.method, Role: o.how.role, Mount: o.how.mount}
	if in.account.Mount == "" && o.method != "token" {
		in.account.Mount = o.method
	}
	brought, err := t.brought(ctx, o)
	if err != nil {
		return in, err
	}
	v, err := t.serverWith(p, env, func(context.Context) (string, error) { return brought, nil }, nil)
	if err != nil {
		return in, err
	}
	defer v.Close()
	in.account.Namespace = v.Namespace()
	fields := map[string]string{}
	switch o.method {
	case "jwt", "kubernetes":
		fields["jwt"] = brought
		if o.how.role != "" {
			fields["role"] = o.how.role
		}
	case "approle":
		fields["role_id"], fields["secret_id"] = o.roleID, brought
		in.account.Role = o.roleID
	}
	if o.method != "token" {
		if in.record, err = t.bring(ctx, v, o.method, in.account.Mount, in.record, fields); err != nil {
			return in, err
		}
		brought = in.record.Token.Reveal()
		again, err := t.shownOnly(env, in.record.Token)
		if err != nil {
			return in, err
		}
		defer again.Close()
		v = again
	}
	self, err := v.Self(ctx)
	if err != nil && (o.method == "token" || vault.KindOf(err) != vault.KindDenied) {
		return in, err
	}
	in.account.Subject, in.account.Label = self.EntityID, self.DisplayName
	if in.account.Subject == "" {
		in.account.Subject = self.DisplayName
	}
	if o.method == "token" {
		in.record.Token, in.record.Accessor, in.record.Renewable = auth.NewSecret(brought), self.Accessor, self.Renewable
		in.record.Policies = self.Held()
		if self.ExpireTime != nil {
			in.record.Ends, in.record.TTL = self.ExpireTime.Time, time.Duration(self.CreationTTL)*time.Second
		}
	}
	if o.method == "token" { // it was there before, and stays where nothing is kept of it
		in.account, err = store.Put(ctx, in.account, in.record)
	} else {
		in.account, err = t.keep(ctx, store, env, in.account, in.record)
	}
	in.kept = err == nil
	return in, err
}

// brought is what a way to sign in takes from whoever signs in. It is never on a
// command line.
func (t *tool) brought(ctx context.Context, o loginOptions) (string, error) {
	file, variable, what := o.tokenFile, "", "Token (not shown): "
	switch o.method {
	case "kubernetes":
		if file == "" {
			file = workload.Env{Getenv: t.Getenv}.TokenFile()
		}
	case "approle":
		if o.roleID == "" {
			return "", cli.Usagef("envrun login", "--method approle takes --role-id")
		}
		variable, what = "ENVRUN_SECRET_ID", "Secret id (not shown): "
	case "jwt":
		what = "Identity token (not shown): "
	}
	if file != "" {
		text, err := readSmall(file)
		if err == nil && len(strings.TrimSpace(string(text))) == 0 {
			err = fmt.Errorf("%s is empty", file)
		}
		if err != nil {
			err = &cli.HintError{Err: err, Code: cli.CodeIO, Hint: "the file with the identity token: envrun login --method " + o.method + " --token-file FILE"}
		}
		return strings.TrimSpace(string(text)), err
	}
	if variable != "" {
		if text := t.Getenv(variable); text != "" {
			return text, nil
		}
	}
	if cli.IsTerminal(t.In) { // where nobody is to be asked, that is said
		text, err := t.AskHidden(ctx, what, "envrun login --method "+o.method+" < FILE")
		if err == nil && len(strings.TrimSpace(string(text))) == 0 {
			err = cli.Usagef("envrun login", "nothing was typed: nobody was signed in")
		}
		return strings.TrimSpace(string(text)), err
	}
	text, err := io.ReadAll(io.LimitReader(t.In, maxSmall+1))
	if err != nil {
		return "", err
	}
	if len(text) > maxSmall || len(strings.TrimSpace(string(text))) == 0 {
		return "", cli.Usagef("envrun login", "--method %s reads what it brings from standard input, and there is nothing of use", o.method)
	}
	return strings.TrimSpace(string(text)), nil
}
