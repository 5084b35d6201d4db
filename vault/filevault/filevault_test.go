package filevault_test

import (
	"context"
	"path/filepath"
	"testing"

	"envrun/auth/agekey"
	"envrun/vault"
	"envrun/vault/filevault"
	"envrun/vault/vaulttest"
)

// options are those of alice, with a state of her own.
func options(t testing.TB, dir string) filevault.Options {
	t.Helper()
	id, err := agekey.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return filevault.Options{
		Dir: dir, StateDir: filepath.Join(t.TempDir(), "state"), Member: "alice@laptop",
		Identity: func(context.Context) (*agekey.Identity, error) { return id, nil },
		Notice:   func(line string) { t.Log("notice:", line) },
	}
}

func TestSuite(t *testing.T) {
	vaulttest.Run(t, func(t *testing.T) vault.Vault {
		o := options(t, filepath.Join(t.TempDir(), ".envrun", "vault"))
		v, err := filevault.Init(t.Context(), filevault.InitOptions{Options: o, Envs: []vault.Env{"dev", "prod"}})
		if err != nil {
			t.Fatal(err)
		}
		return v
	})
}
