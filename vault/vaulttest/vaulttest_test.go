package vaulttest_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/vaulttest"
)

func TestMemoryVault(t *testing.T) {
	vaulttest.Run(t, func(t *testing.T) vault.Vault { return vaulttest.New(t) })
}

func TestMemoryVaultSealedOnWrite(t *testing.T) {
	vaulttest.Run(t, func(t *testing.T) vault.Vault {
		return vaulttest.New(t).Person.Engine(vaulttest.VaultID, vaulttest.SealOnWrite)
	})
}

func TestMemoryVaultWithoutHistory(t *testing.T) {
	vaulttest.Run(t, func(t *testing.T) vault.Vault {
		v := vaulttest.New(t)
		v.Memory.HeadsOnly = true
		return v
	})
}

func record(path vault.Path, version uint64) engine.Record {
	return engine.Record{Env: vaulttest.Dev, Path: path, Version: version, Gen: 1, At: time.Unix(0, 0), Raw: []byte("raw")}
}

func TestMemoryBatches(t *testing.T) {
	m := vaulttest.NewMemory()
	ctx := t.Context()
	wantKind := func(err error, kind vault.Kind) {
		t.Helper()
		if vault.KindOf(err) != kind || err == nil {
			t.Errorf("%v, want an error of kind %v", err, kind)
		}
	}
	heads := func() (paths []vault.Path) {
		for r, err := range m.Heads(ctx, vaulttest.Dev, "") {
			if err != nil {
				t.Error(err)
			}
			paths = append(paths, r.Path)
		}
		return paths
	}

	// Without an environment there is nothing.
	wantKind(m.Batch(ctx, vaulttest.Dev, func(tx engine.Tx) error { return tx.Put(record("a", 1), 0) }), vault.KindNoEnv)
	wantKind(m.Batch(ctx, vaulttest.Dev, func(tx engine.Tx) error { return tx.RemoveEnv() }), vault.KindNoEnv)

	// A batch sees what it wrote; nobody else does before its end.
	err := m.Batch(ctx, vaulttest.Dev, func(tx engine.Tx) error {
		if err := errors.Join(tx.CreateEnv(), tx.Put(record("a", 1), 0), tx.Put(record("a", 2), 1), tx.Put(record("b", 1), 0), tx.PutBlob("seal", []byte("1"))); err != nil {
			return err
		}
		wantKind(tx.CreateEnv(), vault.KindExists)
		wantKind(tx.Put(record("a", 3), 1), vault.KindConflict)
		wantKind(tx.Put(record("c", 2), 1), vault.KindConflict)
		wantKind(tx.Rewrap(record("a", 1)), vault.KindConflict)
		wantKind(tx.Rewrap(record("c", 1)), vault.KindNotFound)
		wantKind(tx.Forget("c"), vault.KindNotFound)
		wantKind(tx.DeleteBlob("none"), vault.KindNotFound)
		if r, err := tx.Head("a"); err != nil || r.Version != 2 {
			t.Errorf("%+v, %v", r, err)
		}
		_, err := m.Head(ctx, vaulttest.Dev, "a")
		wantKind(err, vault.KindNoEnv)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := heads(); !slices.Equal(got, []vault.Path{"a", "b"}) {
		t.Errorf("heads %v", got)
	}

	// One that fails, at its end even, leaves nothing.
	before := m.Snapshot()
	broken := errors.New("broken")
	change := func(tx engine.Tx) error {
		return errors.Join(tx.Put(record("a", 3), 2), tx.Forget("b"), tx.PutBlob("seal", []byte("2")), tx.Put(record("c", 1), 0))
	}
	if err := m.Batch(ctx, vaulttest.Dev, func(tx engine.Tx) error { return errors.Join(change(tx), broken) }); !errors.Is(err, broken) {
		t.Error(err)
	}
	m.FailWith(func(c vaulttest.Call) error {
		if c.Op == "commit" {
			return broken
		}
		return nil
	})
	if err := m.Batch(ctx, vaulttest.Dev, change); !errors.Is(err, broken) {
		t.Error(err)
	}
	m.FailWith(nil)
	if !m.Snapshot().Equal(before) {
		t.Error("a batch that failed wrote something")
	}
	if err := m.Batch(ctx, vaulttest.Dev, change); err != nil {
		t.Error(err)
	}
	if got := heads(); !slices.Equal(got, []vault.Path{"a", "c"}) {
		t.Errorf("heads %v", got)
	}
	after := m.Snapshot()
	m.Restore(before)
	if !m.Snapshot().Equal(before) || before.Equal(after) {
		t.Error("a snapshot is not what it was")
	}
}

func TestMemorySurprises(t *testing.T) {
	for name, misuse := range map[string]func(engine.Tx){
		"a path that is none":       func(tx engine.Tx) { _ = tx.Put(record("../a", 1), 0) },
		"a version that is not new": func(tx engine.Tx) { _ = tx.Put(record("a", 1), 1) },
		"another environment": func(tx engine.Tx) {
			r := record("a", 1)
			r.Env = vaulttest.Prod
			_ = tx.Put(r, 0)
		},
		"no bytes": func(tx engine.Tx) {
			r := record("a", 1)
			r.Raw = nil
			_ = tx.Put(r, 0)
		},
		"no generation": func(tx engine.Tx) {
			r := record("a", 1)
			r.Gen = 0
			_ = tx.Put(r, 0)
		},
		"an empty blob": func(tx engine.Tx) { _ = tx.PutBlob("seal", nil) },
	} {
		t.Run(name, func(t *testing.T) {
			v := vaulttest.New(t)
			defer func() {
				if recover() == nil {
					t.Error("it is let pass")
				}
			}()
			_ = v.Memory.Batch(t.Context(), vaulttest.Dev, func(tx engine.Tx) error { misuse(tx); return nil })
		})
	}
	t.Run("a batch that has ended", func(t *testing.T) {
		v := vaulttest.New(t)
		var kept engine.Tx
		if err := v.Memory.Batch(t.Context(), vaulttest.Dev, func(tx engine.Tx) error { kept = tx; return nil }); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if recover() == nil {
				t.Error("it is let pass")
			}
		}()
		_, _ = kept.Head("a")
	})
}
