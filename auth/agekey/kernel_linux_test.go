package agekey_test

import (
	"errors"
	"testing"

	"envrun/auth/agekey"
	"envrun/auth/keychain"
	"envrun/auth/keychain/keychaintest"
)

// The same through a real keychain, the one that needs no other program.
func TestKernelKeyring(t *testing.T) {
	service := keychaintest.Kernel(t)
	h, _ := newHome(t)
	chains := keychain.Options{Service: service}
	h.Keychains = chains

	// As the store, which has to be asked for by name.
	f := create(t, h, keychain.Kernel)
	secret := load(t, h).Reveal()
	k, err := chains.Open(keychain.Kernel)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.Get(t.Context(), f.Key); err != nil || string(got) != secret {
		t.Errorf("it holds something else, %v", err)
	}
	if !keychain.Volatile(f.Store) {
		t.Error("it is not said that it forgets")
	}

	// As the place of an unlocked copy.
	if f, err = h.Move(t.Context(), agekey.StoreFile); err != nil || f.Store != agekey.StoreFile {
		t.Fatalf("got %+v, %v", f, err)
	}
	if err := h.Protect(t.Context(), []byte("one")); err != nil {
		t.Fatal(err)
	}
	asked := 0
	h.Passphrase = passphrase("one", &asked)
	for range 2 {
		if load(t, h).Reveal() != secret {
			t.Error("it is another one")
		}
	}
	if asked != 0 {
		t.Errorf("asked %d times", asked)
	}
	if err := h.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.Passphrase = nil
	if _, err := h.Load(t.Context()); !errors.Is(err, agekey.ErrLocked) {
		t.Errorf("got %v", err)
	}
}
