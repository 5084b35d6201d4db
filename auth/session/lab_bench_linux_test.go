package session_test

import (
	"testing"

	"envrun/auth/keychain"
	"envrun/auth/keychain/keychaintest"
	"envrun/auth/session"
)

// What `envrun -- CMD` pays where the key is in the kernel's keyring.
func BenchmarkOpenKernel(b *testing.B) {
	s, _ := newStore(b)
	fresh := func() *session.Store {
		return &session.Store{
			Dir: s.Dir, Getenv: s.Getenv,
			Keychains: keychain.Options{Service: keychaintest.Kernel(b), MayForget: true, Getenv: s.Getenv},
		}
	}
	a := put(b, fresh(), someone, aRecord())
	b.ReportAllocs()
	for b.Loop() {
		open(b, fresh(), a.ID)
	}
}
