package policy_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"envrun/vault/policy"
)

// law is a set of policies and what must hold under it, written as it reads.
type law struct {
	*testing.T
	acl *policy.ACL
}

func under(t *testing.T, texts ...string) law {
	t.Helper()
	return law{t, policy.Compile(parse(t, texts...), policy.Facts{})}
}

func (l law) request(op, path string, with ...any) policy.Decision {
	l.Helper()
	o, ok := policy.ParseOp(op)
	if !ok {
		l.Fatalf("operation %q", op)
	}
	req := policy.Request{Path: path, Op: o}
	for _, w := range with {
		switch w := w.(type) {
		case time.Duration:
			req.WrapTTL = w
		case map[string]any:
			req.Params = w
		case string: // as JSON
			d := json.NewDecoder(strings.NewReader(w))
			d.UseNumber()
			if err := d.Decode(&req.Params); err != nil {
				l.Fatal(err)
			}
		default:
			l.Fatalf("%T", w)
		}
	}
	return l.acl.Decide(req)
}

func (l law) allow(op, path string, with ...any) {
	l.Helper()
	if d := l.request(op, path, with...); !d.Allowed {
		l.Errorf("%s %s %v: %s", op, path, with, d)
	}
}

func (l law) deny(op, path string, with ...any) {
	l.Helper()
	if d := l.request(op, path, with...); d.Allowed {
		l.Errorf("%s %s %v: %s", op, path, with, d)
	}
}

// rule is one path block with capabilities.
func rule(pattern string, caps ...string) string {
	return fmt.Sprintf("path %q {\n  capabilities = [%s]\n}\n", pattern, quoted(caps))
}

// with is one path block that lets read and update and has more keys.
func with(pattern, keys string) string {
	return fmt.Sprintf("path %q {\n  capabilities = [\"read\", \"update\", \"list\", \"delete\"]\n  %s\n}\n", pattern, keys)
}

func TestNothingIsAllowed(t *testing.T) {
	var zero policy.ACL
	for name, acl := range map[string]*policy.ACL{
		"the zero ACL": &zero,
		"no policy":    policy.Compile(nil, policy.Facts{}),
		"nil policies": policy.Compile([]*policy.Policy{nil, nil}, policy.Facts{}),
		"empty policy": policy.Compile(parse(t, "# nothing"), policy.Facts{}),
	} {
		for op := range policy.Op(20) {
			for _, path := range []string{"", "/", "s", "s/a", "s/a/", "*", "+"} {
				if d := acl.Decide(policy.Request{Path: path, Op: op}); d.Allowed && op != policy.OpHelp {
					t.Errorf("%s: %s %q: %s", name, op, path, d)
				}
			}
		}
		if caps := acl.Capabilities("s/a"); !slices.Equal(caps, []string{"deny"}) {
			t.Errorf("%s: %v", name, caps)
		}
		if acl.Opens("s/") {
			t.Errorf("%s opens s/", name)
		}
	}
	var d policy.Decision
	if d.Allowed || d.String() != "refused: the request asks for no operation" {
		t.Errorf("the zero Decision: %s", d)
	}
	l := under(t, rule("*", "create", "read", "update", "patch", "delete", "list", "sudo"))
	if d := l.acl.Decide(policy.Request{Path: "s/a"}); d.Allowed {
		t.Errorf("no operation: %s", d)
	}
	if d := l.acl.Decide(policy.Request{Path: "s/a", Op: 200}); d.Allowed {
		t.Errorf("unknown operation: %s", d)
	}
}

func TestOperations(t *testing.T) {
	all := []string{"create", "read", "update", "patch", "delete", "list"}
	for _, given := range all {
		l := under(t, rule("s/*", given))
		for _, op := range all {
			if op == given {
				l.allow(op, "s/a/")
			} else {
				l.deny(op, "s/a/")
			}
		}
		l.allow("help", "elsewhere")
	}
	// sudo alone, and words of other servers, serve no request.
	l := under(t, rule("s/*", "sudo", "recover", "scan", "subscribe"))
	for _, op := range all {
		l.deny(op, "s/a")
	}
}

func TestSegments(t *testing.T) {
	l := under(t, rule("s/+/db", "read"), rule("t/+", "read"), rule("u/+/cfg/*", "read"), rule("+/x/+/y", "read"))
	l.allow("read", "s/a/db")
	l.allow("read", "s//db") // an empty segment is one too; the server cleans such a path away
	l.deny("read", "s/db")
	l.deny("read", "s/a/b/db")
	l.deny("read", "s/a/db/c")
	l.deny("read", "s/a/db/")
	l.deny("read", "s/a/dbx")
	l.allow("read", "t/a")
	l.deny("read", "t/a/b")
	l.allow("read", "u/a/cfg/x/y/z")
	l.allow("read", "u/a/cfg/")
	l.deny("read", "u/a/cfg")
	l.allow("read", "any/x/b/y")
	l.deny("read", "any/x/y")

	// A + in a word, and a * before the end, are characters.
	l = under(t, rule("s/a+b", "read"), rule("s/*/c", "read"), rule("s/+d", "read"), rule("s/+e*", "read"))
	l.allow("read", "s/a+b")
	l.deny("read", "s/axb")
	l.deny("read", "s/x/c")
	l.allow("read", "s/*/c")
	l.deny("read", "s/xd")
	l.allow("read", "s/+d")
	l.allow("read", "s/+exit")
	l.deny("read", "s/exit")
}

func TestStar(t *testing.T) {
	l := under(t, rule("s/app*", "read"), rule("t/app/*", "read"), rule("u/**", "read"))
	l.allow("read", "s/app")
	l.allow("read", "s/application/deep/er")
	l.allow("read", "s/app/x")
	l.deny("read", "s/ap")
	l.deny("read", "t/app")
	l.allow("read", "t/app/")
	l.allow("read", "t/app/x")
	l.allow("read", "u/*x") // the first of two is a character
	l.deny("read", "u/x")
}

// One rule decides, the closest; the rights of others do not add to it.
func TestPriority(t *testing.T) {
	for _, test := range []struct{ path, wins, loses string }{
		{"s/a", "s/a", "s/*"},                   // exact wins
		{"s/a", "s/a", "s/+"},                   // over a segment too
		{"s/ab/c", "s/ab*", "s/a*"},             // the longer beginning
		{"s/a/b", "s/a/*", "s/+/b"},             // the later first wildcard
		{"s/a/b", "s/a/+", "s/+/b"},             // also among segments
		{"s/a/b/c", "s/a*", "s/+/b/*"},          // though it says less of the rest
		{"s/x", "s/+", "s/*"},                   // at the same place, what does not end in *
		{"s/a/b/c", "s/+/b/c", "s/+/+/c"},       // fewer +
		{"s/x/data/y", "s/*", "s/+/data/*"},     // fewer +, so the broad one: a trap
		{"s/a/bcd", "s/+/bc*", "s/+/b*"},        // longer
		{"s/a/b/c", "s/+/b/+", "s/+/+/c"},       // at last, by the text
		{"s/a/b/cccc", "s/+/+/cccc", "s/+/b/+"}, // before that
		{"s/a/!/c", "s/+/+/c", "s/+/!/+"},       // + is more than !
		{"p/data/x", "*", "+/data/*"},           // hashicorp/vault#8813
		{"s/a+b/c", "s/a+b*", "s/a+b/+"},        // counted from the first + of any kind
	} {
		// Whichever denies, and in whichever order they stand.
		for _, texts := range [][]string{{rule(test.wins, "read"), rule(test.loses, "deny")}, {rule(test.loses, "deny"), rule(test.wins, "read")}} {
			l := under(t, texts...)
			l.allow("read", test.path)
			under(t, strings.Join(texts, "")).allow("read", test.path)
			if m := l.acl.Matching(test.path, policy.OpRead); len(m) != 2 || m[0].Pattern != test.wins || m[1].Pattern != test.loses {
				t.Errorf("%s: %v", test.path, m)
			}
		}
		under(t, rule(test.wins, "deny"), rule(test.loses, "read")).deny("read", test.path)
		under(t, rule(test.wins, "list"), rule(test.loses, "read")).deny("read", test.path)
		under(t, rule(test.wins), rule(test.loses, "read")).deny("read", test.path) // an empty list hides too
	}
}

func TestDenyWinsWithinARule(t *testing.T) {
	for _, texts := range [][]string{
		{rule("s/a", "read", "deny", "list")},
		{rule("s/a", "read"), rule("s/a", "deny")},
		{rule("s/a", "deny"), rule("s/a", "read", "sudo")},
		{rule("s/a", "deny") + rule("/s/a", "read")},
		{rule("s/a", "read") + rule("s/a", "list") + rule("s/a", "deny")},
		{`path "s/a" { policy = "deny" }`, rule("s/a", "read")},
		{`path "s/a" { policy = "deny" capabilities = ["read"] }`},
	} {
		l := under(t, texts...)
		l.deny("read", "s/a")
		l.deny("list", "s/a/")
		if caps := l.acl.Capabilities("s/a"); !slices.Equal(caps, []string{"deny"}) {
			t.Errorf("%v: %v", texts, caps)
		}
	}
}

func TestList(t *testing.T) {
	l := under(t, rule("s/dir", "list", "read"))
	l.allow("list", "s/dir/")
	l.allow("list", "s/dir")
	l.deny("read", "s/dir/")
	l.deny("list", "s/dir/x/")

	l = under(t, rule("s/dir/", "list", "read"))
	l.allow("list", "s/dir/")
	l.deny("list", "s/dir")
	l.deny("read", "s/dir")

	under(t, rule("s/+", "list")).allow("list", "s/a/")
	under(t, rule("s/a*", "list")).allow("list", "s/a/")

	// With the slash first, so that no rule for a shorter path gets round one for the folder
	// (GHSA-xp3c-3jw3-4vcr).
	under(t, rule("s/*", "list"), rule("s/a/*", "deny")).deny("list", "s/a/")
	under(t, rule("s/+", "list"), rule("s/+/*", "deny")).deny("list", "s/a/")
	under(t, rule("s/a", "list"), rule("s/a/*", "deny")).allow("list", "s/a/") // exact, which both servers let win
	under(t, rule("s/a/", "deny"), rule("s/a", "list")).deny("list", "s/a/")
}

func TestSlashesOfThePath(t *testing.T) {
	l := under(t, rule("/s/a", "read"), rule("//s/b", "read"))
	for _, path := range []string{"s/a", "/s/a", "///s/a"} {
		l.allow("read", path)
	}
	l.deny("read", "s/b")
	l.deny("read", "//s/b")
	l.deny("read", "S/a")
	l.deny("read", "s//a")
	l.deny("read", "s/a/")
}

func TestSudo(t *testing.T) {
	for _, path := range []string{"sys/auth/x", "/sys/auth/x", "sys/audit", "sys/audit/", "sys/seal", "sys/rotate", "sys/rotate/config",
		"auth/token/accessors/", "auth/token/accessors", "auth/token/create-orphan", "sys/leases/lookup/x/", "sys/leases"} {
		if !policy.NeedsSudo(path) {
			t.Errorf("%s needs no sudo", path)
		}
		under(t, rule("*", "create", "read", "update", "delete", "list")).deny("update", path)
		under(t, rule("*", "sudo")).deny("update", path)
		under(t, rule("*", "sudo", "update")).allow("update", path)
	}
	for _, path := range []string{"sys/auth", "sys/leases/lookup", "sys/mounts", "auth/token/create", "prod/data/sys/auth/x", "sys/policies/acl/x", "system/seal", "sys"} {
		if policy.NeedsSudo(path) {
			t.Errorf("%s needs sudo", path)
		}
		under(t, rule("*", "update")).allow("update", path)
	}
	// A handler may ask for it elsewhere.
	l := under(t, rule("access/*", "update"))
	if d := l.acl.Decide(policy.Request{Path: "access/policies/x", Op: policy.OpUpdate, Sudo: true}); d.Allowed || d.Reason != policy.ReasonNoSudo {
		t.Error(d)
	}
	under(t, rule("*", "update")).allow("help", "sys/auth/x")
}

func TestRoot(t *testing.T) {
	acl := policy.Compile([]*policy.Policy{policy.Root()}, policy.Facts{})
	d := acl.Decide(policy.Request{Path: "sys/seal", Op: policy.OpUpdate, Sudo: true})
	if !d.Allowed || d.Reason != policy.ReasonRoot || !slices.Equal(acl.Capabilities("x"), []string{"root"}) || !acl.Opens("prod/") {
		t.Error(d)
	}
	// Beside another it is none, and no text is it, whatever it is called.
	other := parse(t, rule("*", "read"))
	for name, policies := range map[string][]*policy.Policy{
		"with another": {policy.Root(), other[0]},
		"after":        {other[0], policy.Root()},
		"twice":        {policy.Root(), policy.Root()},
		"with nil":     {nil, policy.Root(), other[0]},
	} {
		acl := policy.Compile(policies, policy.Facts{})
		if d := acl.Decide(policy.Request{Path: "s/a", Op: policy.OpRead}); d.Allowed || d.Reason != policy.ReasonBroken {
			t.Errorf("%s: %s", name, d)
		}
		if caps := acl.Capabilities("s/a"); !slices.Equal(caps, []string{"deny"}) || acl.Opens("s/") {
			t.Errorf("%s: %v", name, caps)
		}
	}
	for _, name := range []string{"root", "ROOT", " root"} {
		p, err := policy.Parse(name, "name = \"root\"\n"+rule("s/a", "read"))
		if err != nil {
			t.Fatal(err)
		}
		acl := policy.Compile([]*policy.Policy{p}, policy.Facts{})
		if d := acl.Decide(policy.Request{Path: "s/b", Op: policy.OpRead}); d.Allowed {
			t.Errorf("a policy called %q: %s", name, d)
		}
	}
}

func TestNames(t *testing.T) {
	for in, want := range map[string]string{"dev": "dev", " Dev\n": "dev", "ROOT": "root", "Default ": "default", "team/api_1.x": "team/api_1.x", "ÄPFEL": "äpfel"} {
		if have, err := policy.Name(in); err != nil || have != want {
			t.Errorf("%q: %q, %v", in, have, err)
		}
	}
	for _, in := range []string{"", " ", "a b", "a,b", "ro\u200bot", "a\x00", "a\nb", "\u202eroot", strings.Repeat("x", 129), "\xff"} {
		if have, err := policy.Name(in); err == nil {
			t.Errorf("%q: %q", in, have)
		}
	}
}

func TestParameters(t *testing.T) {
	l := under(t, with("s/a", `allowed_parameters = { "env" = ["dev-*", "test", "*-x", "*mid*"], "Any" = [] }`))
	l.allow("update", "s/a")
	l.allow("update", "s/a", `{}`)
	l.allow("update", "s/a", `{"env": "dev-1"}`)
	l.allow("update", "s/a", `{"ENV": "test"}`)
	l.allow("update", "s/a", `{"env": "a-x"}`)
	l.allow("update", "s/a", `{"env": "amidst"}`)
	l.allow("update", "s/a", `{"any": {"deep": 1}, "env": "dev-"}`)
	l.deny("update", "s/a", `{"env": "prod"}`)
	l.deny("update", "s/a", `{"env": "Test"}`)
	l.deny("update", "s/a", `{"env": "test", "other": 1}`)
	l.deny("update", "s/a", `{"env": "test", "Env": "prod"}`)
	l.deny("update", "s/a", `{"env": null}`)
	l.deny("update", "s/a", `{"env": {"a": "test"}}`)
	l.deny("update", "s/a", `{"env": ""}`)
	// read looks at its query, list and delete at nothing
	l.deny("read", "s/a", `{"version": "1"}`)
	l.allow("list", "s/a/", `{"limit": "1"}`)
	l.allow("delete", "s/a", `{"x": "1"}`)

	// Several values: all must be allowed, and also the text as it stands.
	l.allow("update", "s/a", `{"env": ["test", "dev-2"]}`)
	l.deny("update", "s/a", `{"env": ["test", "prod"]}`)
	l.deny("update", "s/a", `{"env": []}`)
	l.deny("update", "s/a", `{"env": [["test"]]}`)
	l.deny("update", "s/a", `{"env": "test,dev-1"}`)
	l.deny("update", "s/a", `{"env": "dev-1,root"}`) // Vault allows it, and then reads root too
	l.allow("update", "s/a", `{"env": "dev-1, dev-2"}`)

	l = under(t, with("s/a", `denied_parameters = { "policies" = ["root", "admin-*"], "Secret" = [] }`))
	l.allow("update", "s/a", `{"policies": "dev", "x": 1}`)
	l.deny("update", "s/a", `{"policies": "root"}`)
	l.deny("update", "s/a", `{"Policies": "admin-1"}`)
	l.deny("update", "s/a", `{"policies": ["dev", "root"]}`)
	l.deny("update", "s/a", `{"policies": [["dev", ["root"]]]}`)
	l.deny("update", "s/a", `{"policies": "dev, root"}`)
	l.deny("update", "s/a", `{"policies": ["dev,root"]}`)
	l.deny("update", "s/a", `{"sECRET": null}`)
	// What decoders take for the same field.
	l.deny("update", "s/a", `{"ſecret": 1}`)
	l.deny("update", "s/a", `{"POLICIEſ": "root"}`)

	// Denied beats allowed.
	l = under(t, with("s/a", `allowed_parameters = { "*" = [] } denied_parameters = { "x" = [] }`))
	l.allow("update", "s/a", `{"y": 1}`)
	l.deny("update", "s/a", `{"x": 1}`)

	// Stars.
	under(t, with("s/a", `denied_parameters = { "*" = [] }`)).deny("update", "s/a", `{"x": 1}`)
	under(t, with("s/a", `denied_parameters = { "*" = ["only"] }`)).deny("update", "s/a", `{"x": 1}`)
	under(t, with("s/a", `denied_parameters = { "*" = [] }`)).allow("update", "s/a", `{}`)
	l = under(t, with("s/a", `allowed_parameters = { "*" = [], "env" = ["dev"] }`))
	l.allow("update", "s/a", `{"x": 1, "env": "dev"}`)
	l.deny("update", "s/a", `{"x": 1, "env": "prod"}`)
	under(t, with("s/a", `allowed_parameters = { "*" = ["dev"] }`)).allow("update", "s/a", `{"x": "prod"}`) // as in Vault

	// Empty maps and lists say nothing.
	l = under(t, with("s/a", `allowed_parameters = {} denied_parameters = {} required_parameters = []`))
	l.allow("update", "s/a", `{"x": 1}`)

	l = under(t, with("s/a", `required_parameters = ["Owner", "why"]`))
	l.deny("update", "s/a")
	l.deny("update", "s/a", `{"owner": 1}`)
	l.allow("update", "s/a", `{"owner": 1, "why": ""}`)
	l.deny("update", "s/a", `{"Owner": 1, "why": ""}`) // as it is written in the request
	l.deny("read", "s/a")
	l.allow("list", "s/a/")
}

func TestTypedParameters(t *testing.T) {
	l := under(t, with("s/a", `allowed_parameters = { "n" = [5, 1.50], "b" = [true], "s" = ["5", "true"] }`))
	l.allow("update", "s/a", `{"n": 5, "b": true, "s": "5"}`)
	l.allow("update", "s/a", `{"n": 5.0}`)
	l.allow("update", "s/a", `{"n": 1.5}`)
	l.allow("update", "s/a", map[string]any{"n": 5.0})
	l.allow("update", "s/a", map[string]any{"n": 5})
	l.deny("update", "s/a", `{"n": "5"}`)
	l.deny("update", "s/a", `{"n": 6}`)
	l.deny("update", "s/a", `{"n": 5e0}`)
	l.deny("update", "s/a", `{"n": 5.000000000000000000001}`)
	l.deny("update", "s/a", `{"b": "true"}`)
	l.deny("update", "s/a", `{"b": false}`)
	l.deny("update", "s/a", `{"s": 5}`)
	l.deny("update", "s/a", `{"s": true}`)
	l.deny("update", "s/a", map[string]any{"s": struct{}{}})

	l = under(t, with("s/a", `allowed_parameters = { "n" = [0, -1] }`))
	l.allow("update", "s/a", `{"n": -0.0}`)
	l.allow("update", "s/a", `{"n": -1.0}`)
	l.deny("update", "s/a", `{"n": 1}`)

	l = under(t, with("s/a", `denied_parameters = { "n" = [5, 1.50], "b" = [true], "s" = ["5", "true"] }`))
	for _, params := range []string{`{"n": 5}`, `{"n": "5"}`, `{"n": 5.0}`, `{"n": 5e0}`, `{"n": "1,5"}`, `{"n": [1, 5]}`, `{"n": 1.5}`,
		`{"b": true}`, `{"b": "true"}`, `{"b": "1"}`, `{"b": "T"}`, `{"s": 5}`, `{"s": true}`, `{"s": "5"}`} {
		l.deny("update", "s/a", params)
	}
	for _, params := range []string{`{"n": 6}`, `{"n": "x"}`, `{"b": false}`, `{"b": "0"}`, `{"s": "6"}`, `{"n": null}`, `{"n": {}}`, `{"n": 1e999}`} {
		l.allow("update", "s/a", params)
	}
}

func TestWrapping(t *testing.T) {
	l := under(t, with("s/a", `min_wrapping_ttl = "1m" max_wrapping_ttl = 600`))
	for ttl, want := range map[time.Duration]bool{0: false, -time.Minute: false, time.Second: false, time.Minute: true, 10 * time.Minute: true, 10*time.Minute + 1: false} {
		for _, op := range []string{"read", "update", "list", "delete"} {
			if want {
				l.allow(op, "s/a", ttl)
			} else {
				l.deny(op, "s/a", ttl)
			}
		}
	}
	under(t, with("s/a", `max_wrapping_ttl = "1d"`)).deny("read", "s/a")
	under(t, with("s/a", `max_wrapping_ttl = "1d"`)).allow("read", "s/a", 24*time.Hour)
	under(t, with("s/a", `min_wrapping_ttl = 0`)).allow("read", "s/a")
	// Merged, the smaller of each holds; if they cross nobody gets through.
	l = under(t, with("s/a", `min_wrapping_ttl = "10m"`), with("s/a", `max_wrapping_ttl = "5m"`))
	for _, ttl := range []time.Duration{0, time.Minute, 5 * time.Minute, 7 * time.Minute, 10 * time.Minute} {
		l.deny("read", "s/a", ttl)
	}
	l = under(t, with("s/a", `min_wrapping_ttl = "10m"`), with("s/a", `min_wrapping_ttl = "5m"`), rule("s/a", "read"))
	l.deny("read", "s/a")
	l.allow("read", "s/a", 6*time.Minute)
}

// What blocks with the same path say together.
func TestMerge(t *testing.T) {
	l := under(t, rule("s/a", "read"), rule("s/a", "update"))
	l.allow("read", "s/a")
	l.allow("update", "s/a")
	l.deny("list", "s/a/")

	// A second policy can narrow what a first one gives.
	l = under(t, with("s/a", ""), with("s/a", `allowed_parameters = { "env" = [] }`))
	l.deny("update", "s/a", `{"x": 1}`)
	l.allow("update", "s/a", `{"env": 1}`)
	l = under(t, with("s/a", `allowed_parameters = { "env" = ["a"], "x" = ["1"] }`), with("s/a", `allowed_parameters = { "env" = ["b"], "x" = [] }`))
	l.allow("update", "s/a", `{"env": "a", "x": 7}`)
	l.allow("update", "s/a", `{"env": "b"}`)
	l.deny("update", "s/a", `{"env": "c"}`)
	l = under(t, with("s/a", `allowed_parameters = { "env" = [] }`), with("s/a", `allowed_parameters = { "env" = ["b"] }`))
	l.allow("update", "s/a", `{"env": "c"}`)
	l = under(t, with("s/a", `denied_parameters = { "env" = ["a"] }`), with("s/a", `denied_parameters = { "env" = ["b"], "y" = [] }`))
	l.deny("update", "s/a", `{"env": "a"}`)
	l.deny("update", "s/a", `{"env": "b"}`)
	l.deny("update", "s/a", `{"y": 1}`)
	l.allow("update", "s/a", `{"env": "c"}`)
	l = under(t, with("s/a", `required_parameters = ["a"]`), with("s/a", `required_parameters = ["b", "A"]`))
	l.deny("update", "s/a", `{"a": 1}`)
	l.allow("update", "s/a", `{"a": 1, "b": 1}`)

	// Policies are shared between identities: putting them together must not change them.
	first, second := with("s/a", `allowed_parameters = { "env" = ["a"] } required_parameters = ["env"]`), with("s/a", `allowed_parameters = { "env" = ["b"] } required_parameters = ["why"]`)
	policies := parse(t, first, second)
	for range 2 {
		policy.Compile(policies, policy.Facts{})
	}
	alone := law{t, policy.Compile(policies[:1], policy.Facts{})}
	alone.allow("update", "s/a", `{"env": "a"}`)
	alone.deny("update", "s/a", `{"env": "b"}`)
	shared := parse(t, with("s/a", `allowed_parameters = { "env" = ["a", "b", "c"] }`), with("s/a", `allowed_parameters = { "env" = ["x"] }`), with("s/a", `allowed_parameters = { "env" = ["y"] }`))
	x, y := law{t, policy.Compile([]*policy.Policy{shared[0], shared[1]}, policy.Facts{})}, law{t, policy.Compile([]*policy.Policy{shared[0], shared[2]}, policy.Facts{})}
	x.allow("update", "s/a", `{"env": "x"}`)
	x.deny("update", "s/a", `{"env": "y"}`)
	y.allow("update", "s/a", `{"env": "y"}`)
	y.deny("update", "s/a", `{"env": "x"}`)
}

func TestTemplates(t *testing.T) {
	facts := policy.Facts{
		Entity: &policy.Entity{ID: "e-1", Name: "alice", Metadata: map[string]string{"team": "core", "empty": "", "plus": "+", "star": "x*", "inner": "a+b", "tab": "a\tb", "braces": "{{identity.entity.id}}", "mark": "\x01"},
			Aliases: []policy.Alias{{Accessor: "auth_1", ID: "a-1", Name: "al", Metadata: map[string]string{"m": "1"}, Custom: map[string]string{"c": "2"}}}},
		Groups: []policy.Group{{ID: "g-1", Name: "ops", Metadata: map[string]string{"area": "east"}}},
	}
	as := func(facts policy.Facts, texts ...string) law {
		t.Helper()
		return law{t, policy.Compile(parse(t, texts...), facts)}
	}
	for template, value := range map[string]string{
		"identity.entity.id":                               "e-1",
		"  identity.entity.name ":                          "alice",
		"identity.entity.metadata.team":                    "core",
		"identity.entity.aliases.auth_1.id":                "a-1",
		"identity.entity.aliases.auth_1.name":              "al",
		"identity.entity.aliases.auth_1.metadata.m":        "1",
		"identity.entity.aliases.auth_1.custom_metadata.c": "2",
		"identity.groups.ids.g-1.name":                     "ops",
		"identity.groups.names.ops.id":                     "g-1",
		"identity.groups.names.ops.metadata.area":          "east",
	} {
		l := as(facts, rule("s/{{"+template+"}}/*", "read"), rule("x-{{"+template+"}}", "read"))
		l.allow("read", "s/"+value+"/db")
		l.allow("read", "x-"+value)
		l.deny("read", "s/other/db")
		l.deny("read", "s/"+value)
	}
	// What cannot be filled drops its block and no other.
	for _, template := range []string{"identity.entity.metadata.nope", "identity.entity.metadata.empty", "identity.entity.metadata.tab", "identity.entity.aliases.other.name",
		"identity.entity.aliases.auth_1.metadata.x", "identity.groups.names.other.name", "identity.groups.ids.other.name", "identity.groups.names.ops.metadata.x"} {
		l := as(facts, rule("s/{{"+template+"}}*", "read")+rule("t/*", "read"))
		l.deny("read", "s/")
		l.deny("read", "s/{{"+template+"}}")
		l.allow("read", "t/x")
	}
	l := as(policy.Facts{}, rule("s/{{identity.entity.name}}/*", "read")+rule("t/*", "read"), rule("u/{{identity.groups.names.ops.name}}", "read"))
	l.deny("read", "s//x")
	l.deny("read", "u/ops")
	l.allow("read", "t/x")

	// A value is never a wildcard (GHSA-59w7-v8rr-pr4p) and never a template.
	l = as(facts, rule("s/{{identity.entity.metadata.plus}}/x", "read"), rule("t/{{identity.entity.metadata.star}}", "read"),
		rule("u/+/{{identity.entity.metadata.plus}}", "read"), rule("w/+/{{identity.entity.metadata.mark}}", "read"), rule("v/{{identity.entity.metadata.braces}}", "read"))
	l.deny("read", "s/any/x")
	l.allow("read", "s/+/x")
	l.deny("read", "t/xyz")
	l.allow("read", "t/x*")
	l.allow("read", "u/any/+")
	l.deny("read", "u/any/thing")
	l.deny("read", "v/e-1")
	l.deny("read", "w/any/any")
	// Nor does it count as one where the closest rule is looked for: with the + in its value counted
	// the first rule would lose.
	as(facts, rule("s/{{identity.entity.metadata.inner}}/+", "deny"), rule("s/a*", "read")).deny("read", "s/a+b/c")
	// And a + that the author wrote beside a template stays what it was.
	as(facts, rule("s/{{identity.entity.name}}+/x", "read")).deny("read", "s/alicex/x")

	// A value with a slash reaches further than meant, and leaving its block out could
	// widen what others give: nothing is allowed.
	facts.Entity.Name = "bob/private"
	text := rule("s/{{identity.entity.name}}/*", "read") + rule("t/*", "read")
	l = as(facts, text)
	l.deny("read", "s/bob/private/x")
	l.deny("read", "t/x")
	if d := l.request("read", "t/x"); d.Reason != policy.ReasonBroken || !strings.Contains(d.String(), "policy p1, line 1: {{identity.entity.name}}") || strings.Contains(d.String(), "bob") {
		t.Errorf("%s", d)
	}
	// Unless the policy lets it.
	p := parse(t, text)
	p[0].AllowSlashes = true
	l = law{t, policy.Compile(p, facts)}
	l.allow("read", "s/bob/private/x")
	l.deny("read", "s/bob/x")
	l.allow("read", "t/x")
	facts.Entity.Name = "a/+"
	l = law{t, policy.Compile(p, facts)}
	l.deny("read", "s/a/any/x")
	l.allow("read", "s/a/+/x")
}

func TestExpiration(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	policies := parse(t, with("s/a", `expiration = "2026-05-01T12:00:00Z"`)+with("s/b", `expiration = "2026-06-01T12:00:00Z"`)+rule("s/*", "list"))
	decide := func(made, now time.Time, path string) policy.Decision {
		return policy.Compile(policies, policy.Facts{Now: made}).Decide(policy.Request{Path: path, Op: policy.OpRead, Now: now})
	}
	before, after := at.Add(-time.Hour), at.Add(time.Hour)
	if d := decide(before, before, "s/a"); !d.Allowed {
		t.Error(d)
	}
	if d := decide(after, after, "s/a"); d.Allowed || d.Pattern != "s/*" {
		t.Error(d)
	}
	if d := decide(at, at, "s/a"); d.Allowed {
		t.Error(d)
	}
	if d := decide(at, at, "s/b"); !d.Allowed {
		t.Error(d)
	}
	if d := decide(after, after, "s/b"); !d.Allowed {
		t.Error(d)
	}
	// An ACL that was kept too long refuses all, and so does one that is not told the time.
	for _, now := range []time.Time{at, after, {}} {
		if d := decide(before, now, "s/b"); d.Allowed || d.Reason != policy.ReasonStale {
			t.Errorf("%v: %s", now, d)
		}
	}
	if until := policy.Compile(policies, policy.Facts{Now: before}).Until(); !until.Equal(at) {
		t.Error(until)
	}
	if until := policy.Compile(parse(t, rule("s/a", "read")), policy.Facts{}).Until(); !until.IsZero() {
		t.Error(until)
	}
}

func TestApproval(t *testing.T) {
	group := func(caps, group string, n int, more string) string {
		return fmt.Sprintf(`control_group = { %s factor "f" { controlled_capabilities = [%s] identity { group_names = [%q] approvals = %d } } }`, more, caps, group, n)
	}
	l := under(t, with("s/a", group(`"read"`, "ops", 2, `ttl = "4h"`)))
	d := l.request("read", "s/a")
	if d.Allowed || d.Reason != policy.ReasonUnapproved || d.Approval == nil || d.Approval.TTL != 4*time.Hour || d.Approval.Self ||
		len(d.Approval.Factors) != 1 || d.Approval.Factors[0].Count != 2 || d.Approval.Factors[0].Groups[0] != "ops" {
		t.Errorf("%s %+v", d, d.Approval)
	}
	l.allow("update", "s/a")
	// Without a list it is asked for whatever the rule gives.
	l2 := under(t, with("s/a", strings.Replace(group(`"read"`, "ops", 1, ""), `controlled_capabilities = ["read"]`, "", 1)))
	for _, op := range []string{"read", "update", "list", "delete"} {
		l2.deny(op, "s/a")
	}
	// A request that is refused anyway is not one to approve.
	if d := l.request("create", "s/a"); d.Approval != nil || d.Reason != policy.ReasonNoCapability {
		t.Error(d)
	}
	// Together both ask.
	l = under(t, with("s/a", group(`"read"`, "ops", 1, `self_auth_allowed = true`)), rule("s/a", "read"), with("s/a", group(`"update", "read"`, "sec", 1, `ttl = 60`)))
	if d := l.request("read", "s/a"); d.Allowed || len(d.Approval.Factors) != 2 || d.Approval.Self || d.Approval.TTL != time.Minute {
		t.Errorf("%s %+v", d, d.Approval)
	}
}

// The reason names the rule, for the audit log and for explain.
func TestReasons(t *testing.T) {
	l := under(t, "# a comment\n\n"+rule("s/*", "read", "list"), rule("t/a", "read")+rule("s/*", "update"), rule("t/a", "deny"), with("u/a", `denied_parameters = { "x" = ["hidden"] } max_wrapping_ttl = "1m"`), rule("sys/*", "read"))
	for _, test := range []struct {
		d      policy.Decision
		reason policy.Reason
		says   string
	}{
		{l.request("read", "s/x"), policy.ReasonGranted, `allowed: path "s/*" of policy p1 line 3 gives read`},
		{l.request("update", "s/x"), policy.ReasonGranted, `allowed: path "s/*" of policy p2 line 4 gives update`},
		{l.request("delete", "s/x"), policy.ReasonNoCapability, `refused: path "s/*" of policy p1 line 3, policy p2 line 4 does not give delete`},
		{l.request("read", "t/a"), policy.ReasonDenied, `refused: path "t/a" of policy p3 line 1 denies`},
		{l.request("read", "t/b"), policy.ReasonNoRule, `refused: no rule of any policy is for this path`},
		{l.request("read", "u/a"), policy.ReasonNotWrapped, `refused: path "u/a" of policy p4 line 1 asks for a wrapped answer, and for how long`},
		{l.request("read", "u/a", time.Second, `{"x": "hidden"}`), policy.ReasonDeniedParam, `refused: path "u/a" of policy p4 line 1 denies the parameter "x", or its value`},
		{l.request("read", "sys/audit"), policy.ReasonNoSudo, `refused: path "sys/*" of policy p5 line 1 does not give sudo, which this path needs too`},
		{l.request("help", "t/b"), policy.ReasonHelp, `allowed: help is always allowed`},
	} {
		if test.d.Reason != test.reason || test.d.String() != test.says {
			t.Errorf("%d %s, want %d %s", test.d.Reason, test.d, test.reason, test.says)
		}
	}
	// Of several parameters the same one is named each time.
	for range 50 {
		d := l.request("read", "u/a", time.Second, `{"X": "hidden", "x": ["hidden"], "a": 1}`)
		if d.Param != "X" {
			t.Fatalf("%q", d.Param)
		}
	}
}

func TestOpens(t *testing.T) {
	for _, test := range []struct {
		rules string
		opens string // of these mounts
	}{
		{rule("prod/data/*", "read"), "prod"},
		{rule("prod/data/a", "read"), "prod"},
		{rule("prod/*", "read"), "prod"},
		{rule("pro*", "read"), "prod"},
		{rule("*", "read"), "dev prod"},
		{rule("+/data/*", "read"), "dev prod"},
		{rule("+/*", "read"), "dev prod"},
		{rule("+", "read"), "dev prod"}, // and so
		{rule("prod", "read"), "prod"},  // LIST prod/
		{rule("prod/data/a", "deny"), ""},
		{rule("prod/data/a"), ""},
		{rule("*", "read") + rule("prod/*", "deny"), "dev"},
		{rule("*", "read") + rule("prod/*", "deny") + rule("prod/data/x", "read"), "dev prod"},
		{rule("sys/auth/x", "sudo"), ""},
	} {
		acl := policy.Compile(parse(t, test.rules), policy.Facts{})
		var open []string
		for _, mount := range []string{"dev", "prod"} {
			if acl.Opens(mount + "/") {
				open = append(open, mount)
			}
		}
		if have := strings.Join(open, " "); have != test.opens {
			t.Errorf("%sopens %q, want %q", test.rules, have, test.opens)
		}
	}
}

func TestBuiltin(t *testing.T) {
	p, err := policy.Parse(policy.DefaultName, policy.DefaultText)
	if err != nil {
		t.Fatal(err)
	}
	p.AllowSlashes = true
	l := law{t, policy.Compile([]*policy.Policy{p}, policy.Facts{Entity: &policy.Entity{ID: "e-1", Name: "org/app"}})}
	l.allow("read", "auth/token/lookup-self")
	l.allow("update", "auth/token/renew-self")
	l.allow("update", "auth/token/revoke-self")
	l.allow("update", "sys/capabilities-self")
	l.allow("create", "cubbyhole/x")
	l.allow("list", "cubbyhole/")
	l.allow("read", "identity/entity/id/e-1")
	l.allow("read", "identity/entity/name/org/app")
	l.allow("update", "sys/leases/lookup")
	l.deny("read", "identity/entity/id/e-2")
	l.deny("read", "identity/entity/name/org")
	l.deny("list", "identity/entity/id/")
	l.deny("update", "auth/token/create")
	l.deny("read", "prod/data/x")
	l.deny("list", "sys/leases/lookup/")
	if w := policy.Check(p, policy.Known{}); len(w) != 0 {
		t.Errorf("%v", w)
	}
	l = under(t, policy.WrappingText)
	l.allow("read", "cubbyhole/response")
	l.allow("update", "sys/wrapping/unwrap")
	l.deny("read", "cubbyhole/x")
	l.deny("update", "sys/wrapping/rewrap")
}
