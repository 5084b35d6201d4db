package session_test

import (
	"errors"
	"strings"
	"testing"

	"envrun/auth/session"
)

func TestPick(t *testing.T) {
	s, _ := newStore(t)
	make := func(server, namespace, mount, role, subject, label string) session.Account {
		return put(t, s, session.Account{Server: server, Namespace: namespace, Mount: mount, Role: role, Method: "oidc", Subject: subject, Label: label}, aRecord())
	}
	const here, there = "https://here", "https://there"
	alice := make(here, "", "oidc", "dev", "1", "alice@example.com")
	aliceProd := make(here, "", "oidc", "prod", "1", "alice@example.com")
	bob := make(here, "", "oidc", "dev", "2", "bob@example.com")
	ns := make(here, "team", "oidc", "dev", "1", "alice@example.com")
	only := make(there, "", "jwt", "", "3", "")
	all := accounts(t, s)
	for _, test := range []struct {
		name                                   string
		server, namespace, mount, role, wanted string
		want                                   session.Account
		several                                int // that fit; 0 with no want: none
	}{
		{"the only one", there, "", "", "", "", only, 0},
		{"the only one of a namespace", here, "team", "", "", "", ns, 0},
		{"several", here, "", "", "", "", session.Account{}, 3},
		{"by role", here, "", "", "prod", "", aliceProd, 0},
		{"by role, several", here, "", "oidc", "dev", "", session.Account{}, 2},
		{"by label", here, "", "", "dev", "Alice@Example.com", alice, 0},
		{"by label, several", here, "", "", "", "alice@example.com", session.Account{}, 2},
		{"by subject", here, "", "", "", "2", bob, 0},
		{"by id", here, "", "", "", alice.ID, alice, 0},
		{"by the beginning of an id", here, "", "", "", strings.ToUpper(bob.ID[:8]), bob, 0},
		{"by too little of an id", here, "", "", "", bob.ID[:3], session.Account{}, 0},
		{"by the id of another server's", there, "", "", "", bob.ID, session.Account{}, 0},
		{"another mount", here, "", "ldap", "", "", session.Account{}, 0},
		{"another role", there, "", "", "dev", "", session.Account{}, 0},
		{"another server", "https://here/", "", "", "", "", session.Account{}, 0},
		{"no subject is no wish", there, "", "", "", "nobody", session.Account{}, 0},
	} {
		got, err := session.Pick(all, test.server, test.namespace, test.mount, test.role, test.wanted)
		var several *session.AmbiguousError
		var unknown *session.UnknownError
		switch {
		case test.want.ID != "":
			if err != nil || got != test.want {
				t.Errorf("%s: got %v, %v", test.name, got.Name(), err)
			}
		case test.several > 0:
			if !errors.As(err, &several) || len(several.Accounts) != test.several || got.ID != "" {
				t.Errorf("%s: got %v, %v", test.name, got.Name(), err)
			}
			for _, a := range several.Accounts {
				if !strings.Contains(err.Error(), a.Name()) {
					t.Errorf("%s: %v does not name %s", test.name, err, a.Name())
				}
			}
		case !errors.As(err, &unknown) || !errors.Is(err, session.ErrNoAccount) || got.ID != "":
			t.Errorf("%s: got %v, %v", test.name, got.Name(), err)
		}
	}
	if name := only.Name(); name != "3 ("+only.ID[:8]+")" {
		t.Errorf("it is called %s", name)
	}
	if name := aliceProd.Name(); name != "alice@example.com as prod ("+aliceProd.ID[:8]+")" {
		t.Errorf("it is called %s", name)
	}
}
