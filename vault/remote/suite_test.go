package remote_test

import (
	"context"
	"net/http"
	"testing"

	"envrun/vault"
	"envrun/vault/remote"
	"envrun/vault/vaulttest"
	"envrun/vault/vaulttest/hashivault"
)

// token is a source of one token.
func token(s string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return s, nil }
}

// open is a client of a real Vault, as root.
func open(t testing.TB, s *hashivault.Server, change ...func(*remote.Options)) *remote.Vault {
	t.Helper()
	o := remote.Options{Address: s.Addr, Token: token(s.Token)}
	for _, f := range change {
		f(&o)
	}
	v, err := remote.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// fresh is open with the environments of the suite, empty.
func fresh(t testing.TB, s *hashivault.Server, envs ...vault.Env) *remote.Vault {
	t.Helper()
	v := open(t, s)
	if len(envs) == 0 {
		envs = []vault.Env{vaulttest.Dev, vaulttest.Prod}
	}
	for _, env := range envs {
		if status, answer := s.Do(t, http.MethodDelete, "sys/mounts/"+string(env), nil); status != http.StatusNoContent {
			t.Fatal(status, answer)
		}
		if err := v.AddEnv(t.Context(), env); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

// The one suite, against the real thing.
func TestSuite(t *testing.T) {
	s := hashivault.Start(t)
	vaulttest.Run(t, func(t *testing.T) vault.Vault { return fresh(t, s) })
}
