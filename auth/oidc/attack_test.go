package oidc_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"envrun/auth/oidc"
	"envrun/auth/oidc/oidctest"
)

func verifier(i *oidctest.Issuer, now time.Time) *oidc.Verifier {
	clock := func() time.Time { return now }
	keys := oidc.NewKeySet(oidc.Source{Issuer: i.URL, AllowPrivate: true, Now: clock}, nil)
	return &oidc.Verifier{Issuer: i.URL, Keys: keys, Now: clock}
}

// Every token of the study's list is taken or refused for the reason it is there
// for, and nothing is fetched but the issuer's two documents.
func TestAttacks(t *testing.T) {
	i := oidctest.New(t)
	now := time.Now()
	v := verifier(i, now)
	role := oidctest.Role()
	for n, a := range oidctest.Attacks() {
		t.Run(fmt.Sprintf("%03d %s %s", n, a.ID, a.Name), func(t *testing.T) {
			good := i.Good(oidctest.Audience, now).With(oidctest.Bound())
			token := a.Token(i, good, now)
			claims, err := v.Verify(t.Context(), token)
			var id *oidc.Identity
			if err == nil {
				id, err = role.Match(claims, now, oidc.DefaultLeeway)
			}
			if a.Reason == "" {
				if err != nil || id.User != "alice" || !slices.Equal(id.Groups, a.Groups) {
					t.Fatalf("refused: %v, %+v", err, id)
				}
				return
			}
			r := (*oidc.Refusal)(nil)
			if !errors.As(err, &r) || r.Reason != a.Reason {
				t.Fatalf("%v, %+v; want a refusal for %q", err, id, a.Reason)
			}
			for _, secret := range []string{"mallory", "evil", token} {
				if secret != "" && (strings.Contains(r.Error(), secret) || strings.Contains(r.Public(), secret)) {
					t.Errorf("the error repeats what it read: %s", r)
				}
			}
		})
	}
	if i.Others.Load() != 0 || i.Fetches.Load() != 1 || i.Discoveries.Load() != 1 {
		t.Errorf("%d discoveries, %d fetches, %d other requests", i.Discoveries.Load(), i.Fetches.Load(), i.Others.Load())
	}
}
