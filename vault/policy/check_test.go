package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"envrun/vault/policy"
)

var mounts = []policy.Mount{{Path: "dev/", KV: true}, {Path: "staging/", KV: true}, {Path: "prod/", KV: true}, {Path: "database/"}, {Path: "team/kv/", KV: true}}

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		text string
		want []string // "LINE KIND[!] PART OF DETAIL"
	}{
		// What people write every day warns about nothing.
		{rule("prod/data/billing/*", "read") + rule("prod/data/billing", "read") + rule("prod/metadata/billing/*", "list", "read") + rule("prod/data/shared/stripe", "create", "update", "patch"), nil},
		{rule("prod/delete/billing/*", "update") + rule("team/kv/data/a", "read") + rule("database/creds/x", "read") + rule("sys/mounts", "read"), nil},
		{rule("prod/data/*", "read") + rule("prod/data/root-ca/*", "deny"), nil},
		{rule("prod/data/{{identity.entity.name}}/*", "read"), nil},
		{rule("prod/+/billing/*", "read"), nil},

		// breadth
		{rule("*", "read"), []string{"1 breadth! gives read on every path of the server"}},
		{rule("+/*", "read", "sudo"), []string{"1 breadth! gives read, sudo", "1 sudo! gives sudo on all that fits", "1 escalates! reach the storage"}},
		{rule("+/+/*", "list"), []string{"1 breadth! gives list"}},
		{rule("*", "deny"), nil},
		{rule("*", "update"), []string{"1 breadth!", "1 escalates! write policies", "1 escalates! let anyone sign in", "1 escalates! make tokens with any policy", "1 escalates! put anyone into any group", "1 escalates! put anyone into a group", "1 escalates! give anyone", "1 escalates! give someone"}},
		// A closer rule can take it back.
		{rule("*", "update") + rule("sys/*", "deny") + rule("auth/*", "deny") + rule("identity/*", "deny"), []string{"1 breadth!"}},

		// environments
		{rule("+/data/billing/*", "read"), []string{"1 crosses! reaches into dev/, staging/, prod/, database/"}},
		{rule("p*", "read"), []string{"1 crosses reaches into prod/ now"}},
		{rule("dev*", "read"), []string{"1 crosses reaches into dev/ now"}},
		{rule("+/data/root-ca/*", "deny"), nil},
		{rule("{{identity.entity.metadata.env}}/data/x", "read"), []string{"1 crosses! begins with a template"}},

		// sudo
		{rule("sys/auth/x", "sudo", "update"), []string{"1 escalates! add a way to sign in", "1 sudo! on a path that only administrators use"}},
		{rule("prod/data/x", "sudo", "read"), []string{"1 sudo nothing asks for on this path"}},
		{rule("prod/data/x/*", "sudo", "read"), []string{"1 sudo! on all that fits"}},

		// what gives all rights
		{rule("sys/policies/acl/team-*", "update"), []string{"1 escalates! write policies, also their own", "1 wildcard fits every name"}},
		{rule("sys/policies/acl/team-x", "read"), nil},
		{rule("auth/token/roles/ci", "create"), []string{"1 escalates! by a role"}},
		{rule("auth/jwt/role/ci", "update"), []string{"1 escalates! let anyone sign in"}},
		{rule("auth/j*", "update"), []string{"1 escalates! let anyone sign in", "1 wildcard"}},
		{rule("identity/group/id/x", "update"), []string{"1 escalates! put anyone into a group"}},
		{rule("sys/auth/*", "update"), nil}, // without sudo it gives nothing there

		// shadowed
		{rule("prod/*", "read") + rule("prod/+/root-ca/*", "deny"), []string{`4 shadowed! never denies anything: "prod/*" in line 1 wins`}},
		{rule("*", "read") + rule("+/data/*", "deny"), []string{"1 breadth!", `4 shadowed! "*" in line 1`}},
		{rule("prod/data/*", "read", "list") + rule("prod/data/+/x/*", "read"), []string{"1 never gives list", `4 shadowed! never decides: "prod/data/*" in line 1`}},
		{rule("prod/data/*", "read") + rule("prod/data/+/x/*", "read", "update"), []string{`4 shadowed never decides`}},
		{rule("prod/data/*", "read") + rule("prod/data/+/x/*", "read"), []string{`4 shadowed never decides`}},
		{rule("prod/data/*", "read") + rule("prod/data/+/x", "deny"), nil}, // it ends in no *, so it wins
		{rule("prod/data/+/x", "read") + rule("prod/data/+/+", "deny"), nil},
		{rule("prod/data/a/*", "read") + rule("prod/data/+/x", "deny"), nil}, // fits more than the first

		// repeated
		{rule("prod/data/x", "read") + rule("/prod/data/x", "update"), []string{"4 repeated path of line 1 too: the blocks are one rule, and it gives"}},
		{rule("prod/data/x", "read") + rule("prod/data/x", "deny"), []string{"4 repeated line 1 too: the blocks are one rule, and it denies"}},

		// wildcards that are none, or more than they seem
		{rule("prod/data/*/db", "read"), []string{"1 wildcard has a * that is no wildcard"}},
		{rule("prod/data/*/db", "deny"), []string{"1 wildcard! has a * that is no wildcard"}},
		{rule("prod/data/a+b", "deny"), []string{"1 wildcard! has a + that is no wildcard"}},
		{rule("prod/data/app*", "read"), []string{`1 wildcard fits every name that begins with "app"`}},
		{rule("prod/data/app*", "deny"), nil},

		// what no request has
		{rule("prod/data//x", "deny"), []string{"1 never! two slashes"}},
		{rule("prod/data/../x", "deny"), []string{`1 never! has a segment ".."`}},
		{rule("prod/metadata/x/", "deny"), []string{"1 never! ends in a slash: only list"}},
		{rule("prod/metadata/x/", "list"), nil},
		{rule("prod/data/x", "recover"), []string{"1 never gives recover", "1 never! gives recover, and only"}},
		{rule("prod/data/x", "read", "scan"), []string{"1 never gives scan"}},
		{rule("prod/billing/x", "read"), []string{`1 never! is no path of a KV mount: the values are at "prod/data/billing/x", the names at "prod/metadata/billing/x"`}},
		{rule("team/kv/billing", "deny"), []string{`1 never! "team/kv/data/billing"`}},
		{rule("prod/data/x", "read", "list"), []string{`1 never gives list, which is asked for at "prod/metadata/x"`}},
		{rule("prod/delete/x", "delete"), []string{"1 never! gives delete, and only update is asked for there"}},
		{rule("prod/d*", "read"), []string{"1 wildcard fits every name"}},

		// mounts
		{rule("prd/data/x", "read"), []string{"1 mount! begins with prd/, which is no mount; did you mean prod/?"}},
		{rule("elsewhere/x", "read"), []string{"1 mount begins with elsewhere/"}},
		{rule("elsewhere/x", "deny"), []string{"1 mount! begins with elsewhere/"}},
		{rule("ident/x", "read"), []string{"1 mount begins with ident/"}},
		{rule("identiy/x", "read"), []string{"1 mount! did you mean identity/?"}},

		// nothing
		{rule("prod/data/x"), []string{"1 nothing! gives nothing"}},

		// templates
		{rule("prod/data/{{identity.entity.name}}/x", "deny"), []string{"1 template denies only who"}},

		// parameters
		{with("prod/data/x", `denied_parameters = { "password" = [] }`), []string{`1 never gives list`, `1 parameters! the parameter "password"`}},
		{with("prod/data/x", `allowed_parameters = { "data" = [], "options" = [], "version" = [], "*" = [] }`), []string{"1 never gives list"}},
		{with("sys/policies/acl/x", `allowed_parameters = { "policy" = [] }`), []string{"1 escalates!"}},
	} {
		p := parse(t, test.text)[0]
		var have []string
		for _, w := range policy.Check(p, policy.Known{Mounts: mounts, All: true}) {
			mark := ""
			if w.Severe {
				mark = "!"
			}
			have = append(have, fmt.Sprintf("%d %s%s %s", w.Line, w.Kind, mark, w.Detail))
		}
		if len(have) != len(test.want) {
			t.Errorf("%s%d warnings, want %d:\n%s", test.text, len(have), len(test.want), strings.Join(have, "\n"))
			continue
		}
		for _, want := range test.want {
			kind, detail, _ := strings.Cut(strings.TrimPrefix(want, ""), " ")
			word, detail, _ := strings.Cut(detail, " ")
			found := false
			for _, h := range have {
				found = found || strings.HasPrefix(h, kind+" "+word+" ") && strings.Contains(h, detail)
			}
			if !found {
				t.Errorf("%sno %q in\n%s", test.text, want, strings.Join(have, "\n"))
			}
		}
	}
}

// Without mounts only what the policy itself says is found.
func TestCheckWithoutMounts(t *testing.T) {
	p := parse(t, rule("prd/billing", "read")+rule("+/data/x", "read")+rule("s*", "read"))[0]
	w := policy.Check(p, policy.Known{})
	if len(w) != 2 || w[0].Kind != policy.WarnCrosses || w[1].Kind != policy.WarnCrosses || !w[0].Severe {
		t.Errorf("%+v", w)
	}
}

// What a warning calls shadowed never decides, whatever is asked.
func TestShadowedNeverDecides(t *testing.T) {
	r := newRandom(t)
	want := 60
	if testing.Short() {
		want = 10
	}
	for shadowed, tried := 0, 0; shadowed < want; tried++ {
		if tried == 1000*want {
			t.Fatalf("only %d of %d policies had a shadowed rule", shadowed, tried)
		}
		p := parse(t, r.policies()[0])[0]
		lines := map[string]bool{}
		for _, w := range policy.Check(p, policy.Known{}) {
			if w.Kind == policy.WarnShadowed {
				lines[w.Pattern] = true
			}
		}
		if len(lines) == 0 {
			continue
		}
		shadowed++
		acl := policy.Compile([]*policy.Policy{p}, policy.Facts{})
		for range 200 {
			path := r.path()
			for _, op := range []policy.Op{policy.OpRead, policy.OpList} {
				if d := acl.Decide(policy.Request{Path: path, Op: op}); lines[d.Pattern] {
					t.Fatalf("%s %s is decided by %q, which is called shadowed\n%s", op, path, d.Pattern, p.Text)
				}
			}
		}
	}
}
