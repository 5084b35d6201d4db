package main

import (
	"context"
	"fmt"
	"time"

	"envrun/auth/workload"
	"envrun/envrun/project"
	"envrun/vault/remote"
)

// pipeline is what was done with the identity that a CI platform gives to a job.
// The tokens are in memory alone.
type pipeline struct {
	signedIn []*remote.Vault // to be signed out of
}

// Waits for others, in CI: for the platform and for signing out.
const (
	identityTime = 30 * time.Second
	signOutTime  = 3 * time.Second
)

// platform is where a pipeline's identity for an environment comes from, and false
// if there is none or a token was given that goes before it.
func (t *tool) platform(env project.Env) (workload.Platform, bool) {
	if env.CI.Role == "" || !env.Remote() || t.Getenv("ENVRUN_TOKEN") != "" || t.Getenv("VAULT_TOKEN") != "" {
		return workload.Platform{}, false
	}
	return workload.Detect(workload.Env{Getenv: t.Getenv})
}

// signInAs signs a job in with the role that envrun.toml names.
func (t *tool) signInAs(ctx context.Context, p workload.Platform, env project.Env, v *remote.Vault) (string, error) {
	audience, mount := env.CI.Audience, env.CI.Mount
	if audience == "" {
		audience = env.Vault
	}
	if mount == "" {
		mount = "jwt"
	}
	ctx, cancel := context.WithTimeout(ctx, identityTime)
	defer cancel()
	jwt, err := p.Token(ctx, workload.Env{Getenv: t.Getenv}, audience)
	if err != nil {
		return "", err
	}
	auth, err := v.SignIn(ctx, mount, map[string]string{"role": env.CI.Role, "jwt": jwt.Reveal()})
	if err != nil {
		return "", fmt.Errorf("signing in with the identity that %s gives, as the role %s: %w", p.Title, env.CI.Role, t.notTaken(err, v, "", jwt.Reveal()))
	}
	t.pipeline.signedIn = append(t.pipeline.signedIn, v)
	if t.flags.verbose {
		t.Notef("signed in to %s as the role %s with the identity that %s gives, for %v", env.Vault, env.CI.Role, p.Title, time.Duration(auth.LeaseDuration)*time.Second)
	}
	return string(auth.ClientToken), nil
}

// signOut revokes the tokens that a job's identity was given, and those of somebody who
// signed in for this process alone. It says nothing of a failure without -v: such a
// token ends by itself in minutes.
func (t *tool) signOut() {
	all := t.pipeline.signedIn
	t.pipeline.signedIn = nil
	t.shown.mu.Lock()
	for at, s := range t.shown.by {
		if s.once != nil {
			all = append(all, s.once.server)
			s.once = nil
			t.shown.by[at] = s
		}
	}
	t.shown.mu.Unlock()
	for _, v := range all {
		t.endOnce(v)
	}
}

// endOnce revokes the token that a client has.
func (t *tool) endOnce(v *remote.Vault) {
	ctx, cancel := context.WithTimeout(context.Background(), signOutTime)
	defer cancel()
	if err := v.SignOut(ctx); err != nil && t.flags.verbose {
		t.warn("the token was not revoked, and ends by itself: " + err.Error())
	}
}

// credentials are the variables with which a command could sign in as the job does.
// It does not inherit them where the job's identity is what secrets are read with.
func (t *tool) credentials(env project.Env) []string {
	if _, ok := t.platform(env); !ok {
		return nil
	}
	return workload.Credentials()
}
