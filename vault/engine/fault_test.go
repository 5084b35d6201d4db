package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/vaulttest"
)

var errInjected = errors.New("the disk says no")

// TestFaults fails every call that an operation makes of the store, one after
// the other: the error comes out, and the store is as it was. The first time
// that nothing is left to fail, everything is done.
func TestFaults(t *testing.T) {
	writes := func(s *scene, ctx context.Context) error {
		_, err := s.Apply(ctx, dev, []vault.Change{
			{Path: "app", Was: 4, Set: []vault.Field{set("A", "5")}},
			{Path: "db", Was: 1, Delete: true},
			{Path: "gone", Was: 0, Set: []vault.Field{set("A", "1")}},
			{Path: "new", Was: 0, Set: []vault.Field{set("A", "1")}},
		})
		return err
	}
	bob := vaulttest.NewPerson(t, "bob", vaulttest.NewMemory()).Grant()
	for name, op := range map[string]func(*scene, context.Context) error{
		"Apply": writes,
		"Apply, sealed on write": func(s *scene, ctx context.Context) error {
			s.reopen(vaulttest.SealOnWrite)
			return writes(s, ctx)
		},
		"WriteSeal": func(s *scene, ctx context.Context) error {
			_, err := s.WriteSeal(ctx, dev)
			return err
		},
		"AddGrant": func(s *scene, ctx context.Context) error { return s.AddGrant(ctx, dev, bob) },
		"Rotate": func(s *scene, ctx context.Context) error {
			return s.Rotate(ctx, dev, "", []engine.GrantTo{s.Person.Grant(), bob})
		},
		"CreateEnv": func(s *scene, ctx context.Context) error {
			return s.CreateEnv(ctx, "staging", []engine.GrantTo{s.Person.Grant(), bob})
		},
		"RemoveEnv": func(s *scene, ctx context.Context) error { return s.RemoveEnv(ctx, prod) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			before := s.Memory.Snapshot()
			for n := 1; ; n++ {
				if n > 1000 {
					t.Fatal("there is no end of calls")
				}
				var failed string
				s.Memory.FailWith(func(c vaulttest.Call) error {
					if c.N != n {
						return nil
					}
					failed = fmt.Sprintf("call %d, %s %s%s", n, c.Op, c.Path, c.Blob)
					return errInjected
				})
				err := op(s, t.Context())
				s.Memory.FailWith(nil)
				after := s.Memory.Snapshot()
				if failed == "" {
					if err != nil {
						t.Fatal(err)
					}
					if after.Equal(before) {
						t.Error("nothing was written")
					}
					break
				}
				if !errors.Is(err, errInjected) {
					t.Errorf("%s failed, and the outcome is %v", failed, err)
				}
				if !after.Equal(before) {
					t.Fatalf("%s failed, and something was written", failed)
				}
			}
			for _, env := range []vault.Env{dev, "staging"} {
				for f := range s.Verify(t.Context(), env) {
					if f.Err != nil && vault.KindOf(f.Err) != vault.KindNoEnv {
						t.Error(f.Err)
					}
				}
			}
		})
	}
}

// TestFaultsOfReaders: a read that fails fails whole, with the store's error.
func TestFaultsOfReaders(t *testing.T) {
	for name, op := range map[string]func(*scene, context.Context) (any, error){
		"GetMany": func(s *scene, ctx context.Context) (any, error) {
			got, err := s.GetMany(ctx, dev, []vault.Path{"app", "db"})
			return len(got), err
		},
		"GetAll": func(s *scene, ctx context.Context) (any, error) {
			got, err := s.GetAll(ctx, dev, "")
			return len(got), err
		},
		"GetVersion": func(s *scene, ctx context.Context) (any, error) {
			got, err := s.GetVersion(ctx, dev, "app", 2)
			return len(got.Values), err
		},
		"Grants": func(s *scene, ctx context.Context) (any, error) {
			got, err := s.Grants(ctx, dev)
			return len(got), err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			for n := 1; ; n++ {
				failed := false
				s.Memory.FailWith(func(c vaulttest.Call) error {
					if c.N != n {
						return nil
					}
					failed = true
					return errInjected
				})
				got, err := op(s, t.Context())
				if !failed {
					if err != nil || got == 0 {
						t.Errorf("%v, %v", got, err)
					}
					break
				}
				if !errors.Is(err, errInjected) || got != 0 {
					t.Errorf("call %d failed, and the outcome is %v, %v", n, got, err)
				}
			}
		})
	}
}
