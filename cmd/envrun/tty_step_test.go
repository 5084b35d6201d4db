//go:build unix

package main_test

import (
	"strings"
	"testing"

	"envrun/auth/oidc/oidctest"
)

// A role that begins to want a stronger sign-in: a session is not renewed, and is as good
// as it was if the role wants that no more. At a terminal a run signs in for itself, and
// nobody has its token when the command runs; signing in anew ends what was kept.
func TestTerminalStepUpReplaces(t *testing.T) {
	t.Parallel()
	o := newOffice(t, map[string]any{"token_ttl": "1h"})
	left := func(n int) {
		t.Helper()
		if all := tokensOf(o, "auth/human/login"); len(all) != n {
			t.Errorf("%d tokens are good, want %d", len(all), n)
		}
	}
	o.run("login", "--store", "passphrase").wants(0, "is renewed by itself")
	o.run("login").wants(0, "is renewed by itself")
	left(1) // the one that was replaced is not

	o.roleIs(map[string]any{"acr_values": []string{"strong"}})
	o.endTokens()
	for range 2 { // each of which uses up a refresh token
		_, errs, code := o.pipe("", "get", "A")
		for _, says := range []string{"wants you to have signed in with strong, for auth/human", "hint: sign in anew, on a terminal: envrun login"} {
			if code != 1 || !strings.Contains(errs, says) {
				t.Errorf("status %d, want %q: %s", code, says, errs)
			}
		}
	}
	o.roleIs(nil)
	if got := o.must("", "get", "A"); got != "canary-value" {
		t.Errorf("it is %q", got)
	}

	o.roleIs(map[string]any{"acr_values": []string{"strong"}})
	o.endTokens()
	c := o.run("--mask", "never", "--", "sh", "-c", `echo "it is $A"`)
	c.expect("wants you to sign in for each use")
	c.wants(0, "it is canary-value")
	left(0)
	o.must("", "whoami") // the session is kept, should the role want no more of it

	revoked := o.issuer.Count(oidctest.Revoke)
	o.run("login").wants(0, "the role wants you to sign in anew for it", "nothing was kept")
	left(0)
	if _, _, code := o.pipe("", "whoami"); code != 1 || o.issuer.Count(oidctest.Revoke) != revoked+1 {
		t.Errorf("status %d: the issuer was told %d times", code, o.issuer.Count(oidctest.Revoke)-revoked)
	}

	// One that the server lists is not asked for twice, and so is its JSON.
	o.roleIs(map[string]any{"acr_values": []string{"strong"}, "listed": true})
	before := o.issuer.Count(oidctest.Authorize)
	c = o.run("login", "--json")
	shown := c.wants(0, `"role": "dev"`, "!hvs.")
	if strings.Contains(shown, `"ends"`) || strings.Contains(shown, `"kept"`) || o.issuer.Count(oidctest.Authorize) != before+1 {
		t.Errorf("%s", shown)
	}
	left(0)
}
