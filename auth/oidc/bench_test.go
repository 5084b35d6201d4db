package oidc_test

import (
	"testing"
	"time"

	"envrun/auth/oidc"
	"envrun/auth/oidc/oidctest"
)

// BenchmarkSignIn is what a sign-in costs before anything of it is written.
func BenchmarkSignIn(b *testing.B) {
	i := oidctest.New(b)
	now := time.Now()
	v, role := verifier(i, now), oidctest.Role()
	token := i.Sign(i.Good(oidctest.Audience, now).With(oidctest.Bound()))
	b.ReportAllocs()
	for b.Loop() {
		claims, err := v.Verify(b.Context(), token)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := role.Match(claims, now, oidc.DefaultLeeway); err != nil {
			b.Fatal(err)
		}
	}
}
