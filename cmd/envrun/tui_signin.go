package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"envrun/cmd/internal/cli"
	"envrun/envrun/project"
	"envrun/tui/screen"
	"envrun/vault"
	"envrun/vault/remote"
)

// signer is who is signed in to the servers of a project, for the interface.
type signer struct {
	t    *tool
	open *openers
}

var _ screen.SignIns = (*signer)(nil)

// Server implements screen.SignIns. A session is for a server and a namespace.
func (s *signer) Server(name vault.Env) string {
	env, ok := s.open.project.Env(name)
	if !ok || !env.Remote() {
		return ""
	}
	return strings.TrimRight(env.Vault, "/") + "\n" + env.Server.Namespace
}

// Wants implements screen.SignIns. The tokens that there are come from outside of
// envrun, and so does what is to be done about them.
func (s *signer) Wants(error) (screen.Want, bool) { return screen.Want{}, false }

// Signed implements screen.Signing.
func (s *signer) Signed(ctx context.Context, name vault.Env, ask bool) (screen.Signed, error) {
	env, ok := s.open.project.Env(name)
	if !ok || !env.Remote() {
		return screen.Signed{}, &vault.Error{Kind: vault.KindNoEnv, Env: name}
	}
	is := screen.Signed{Address: env.Vault, Namespace: env.Server.Namespace, State: screen.SignedOut}
	is.Fixed = "Get a token with: VAULT_ADDR=" + cli.Quote(env.Vault) + " vault login, or export VAULT_TOKEN, and begin again."
	if _, pipeline := s.t.platform(env); pipeline {
		is.State, is.By, is.Role = screen.SignedIn, "with the identity of the platform, for this job", env.CI.Role
		is.Fixed = "A job's identity is used as long as the job runs."
	} else if a, ok := s.t.sessionHere(env); ok {
		is.State, is.By, is.Kept = screen.SignedIn, "envrun login", a.Keychain
		is.Label, is.Subject, is.Role = a.Label, a.Subject, a.Role
		is.Fixed = "To sign out or in anew: envrun logout, envrun login."
	} else if token, from, err := s.t.anyToken(); err != nil {
		return is, err
	} else if token != "" {
		is.State, is.By = screen.SignedIn, "the token in "+from
		is.Fixed = "The token in " + from + " comes from outside of envrun, and is used as long as it is there."
	}
	if !ask || is.State == screen.SignedOut {
		return is, nil
	}
	v, err := s.open.remote(env)
	if err != nil {
		return is, err
	}
	self, err := v.Self(ctx)
	var e *remote.ServerError
	switch {
	case errors.As(err, &e) && e.Trouble == remote.NoToken:
		is.State = screen.SignedOut
		return is, nil
	case errors.As(err, &e) && e.Trouble == remote.BadToken:
		is.State = screen.Lapsed
		is.Fixed = "Get a new token with: VAULT_ADDR=" + cli.Quote(env.Vault) + " vault login, or export another VAULT_TOKEN, and begin again."
		return is, nil
	case vault.KindOf(err) == vault.KindDenied: // it is one, and may not look at itself
	case err != nil:
		return is, err
	default:
		if is.Policies = append(self.Policies, self.IdentityPolicies...); is.Kept == "" {
			is.Label, is.Role = self.DisplayName, self.Role
		}
		if self.ExpireTime != nil {
			is.Ends = self.ExpireTime.Time
		}
		if self.ExplicitMaxTTL > 0 {
			is.Limit = time.Unix(self.CreationTime+self.ExplicitMaxTTL, 0)
		}
	}
	is.Envs, err = s.reached(ctx, name, v)
	return is, err
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
func (s *signer) SignIn(_ context.Context, env vault.Env, _ screen.How, _ screen.Person) (screen.Signed, error) {
	return screen.Signed{}, s.outside(env)
}

// SignOut implements screen.SignIns.
func (s *signer) SignOut(_ context.Context, env vault.Env) ([]screen.Ending, error) {
	return nil, s.outside(env)
}

// Use implements screen.SignIns.
func (s *signer) Use(_ context.Context, env vault.Env, _ string) error { return s.outside(env) }

func (s *signer) outside(env vault.Env) error {
	return &vault.Error{Kind: vault.KindUnsupported, Env: env, Detail: "its token comes from outside of envrun"}
}
