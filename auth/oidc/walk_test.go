package oidc_test

import (
	"testing"
	"time"

	"envrun/auth/oidc"
	"envrun/auth/oidc/oidctest"
)

// Of every attack an explanation says what becomes of it, and the first check that
// refuses does so for the reason that a sign-in is refused for.
func TestExplain(t *testing.T) {
	i := oidctest.New(t)
	now := time.Now()
	v, role := verifier(i, now), oidctest.Role()
	for _, a := range oidctest.Attacks() {
		token := a.Token(i, i.Good(oidctest.Audience, now).With(oidctest.Bound()), now)
		claims, err := v.Verify(t.Context(), token)
		if err == nil {
			_, err = role.Match(claims, now, oidc.DefaultLeeway)
		}
		w, claims := v.Explain(t.Context(), token)
		start := w.Clone()
		var id *oidc.Identity
		if claims != nil {
			id = role.Explain(w, claims, now, oidc.DefaultLeeway)
		}
		var first error
		for _, c := range role.Checks(false) {
			made, refused := w.Went(c)
			if first == nil {
				first = refused
			}
			if last := c == oidc.CheckEntity; made == (claims == nil) && c == oidc.CheckAudience || made && last {
				t.Errorf("%s %s: %s was made: %v", a.ID, a.Name, c, made)
			}
		}
		if w.Refused() != (err != nil) || reason(first) != reason(err) || err != nil && first.Error() != err.Error() {
			t.Errorf("%s %s: explained as %v, and is %v", a.ID, a.Name, first, err)
		}
		if !w.Refused() && id.User != "alice" {
			t.Errorf("%s %s: %+v", a.ID, a.Name, id)
		}
		if made, _ := start.Went(oidc.CheckAudience); made {
			t.Errorf("%s %s: a clone goes on with the walk", a.ID, a.Name)
		}
	}
}

// Only what a role asks for is among its checks.
func TestChecks(t *testing.T) {
	bare := oidc.Role{Audiences: []string{"a"}, UserClaim: "sub"}
	all := oidc.Role{
		Audiences: []string{"a"}, UserClaim: "sub", Subject: "x", GroupsClaim: "groups", Mappings: map[string]string{"a": "b"}, MaxAge: time.Hour,
		Nonce: true, SingleUse: true,
	}
	if n := len(bare.Checks(false)); n != 14 {
		t.Errorf("%d: %v", n, bare.Checks(false))
	}
	if n := len(all.Checks(true)); n != 21 {
		t.Errorf("%d: %v", n, all.Checks(true))
	}
}
