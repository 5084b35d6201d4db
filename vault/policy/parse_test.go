package policy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"envrun/vault"
	"envrun/vault/policy"
)

// What is refused, where, and what is said.
func TestRefused(t *testing.T) {
	path := func(keys string) string { return "path \"s/a\" {\n" + keys + "\n}" }
	params := func(list string) string { return path("allowed_parameters = {\n" + list + "\n}") }
	group := func(factor string) string { return path("control_group = {\n" + factor + "\n}") }
	for _, test := range []struct {
		text string
		line int
		says string
	}{
		// of the text
		{"\ufeff" + path(""), 1, "byte order mark"},
		{"# \xff", 0, "UTF-8"},
		{"#\n# \x00", 2, "U+0000"},
		{"# \u202e", 1, "U+202E"},
		{"#\n# \x1b[2J", 2, "U+001B"},
		{strings.Repeat("#", policy.MaxText+1), 0, "at most 262144"},
		{"path \"s/a\" {", 1, "a } is missing"},
		{"path \"s/a\" {\n\n", 3, "a } is missing"},
		{"path \"s/a\"\n{\n capabilities = [\"read\"", 3, "a ] is missing"},
		{"path \"s/a\" {\n}\n}", 3, "} where a key belongs"},
		{"path \"s/a {\n}", 1, "no end on its line"},
		{"\n/* x", 2, "has no end"},
		{"path \"s/a\" = {}", 1, "= after path \"s/a\""},
		{"path \"a\" \"b\" {}", 1, "a { belongs there"},
		{"path {}", 1, `path "prod/data/*"`},
		{"path = \"a\"", 1, `path "prod/data/*"`},
		{"path \"a\" {}, path \"b\" {}", 1, "where a key belongs"},
		{path("comment = <<E\nx\nE"), 2, "here-documents"},
		{path(`comment = "${x}"`), 2, "interpolation"},
		{path(`comment = "\q"`), 2, "no such escape"},
		{path(`comment = "\u12"`), 2, "no such escape"},
		{path(`comment = "\501"`), 2, "no such escape"},
		{path(`comment = "\ud800"`), 2, "no such escape"},
		{path(`comment = "\xff"`), 2, "UTF-8"},
		{path(`comment = 'x'`), 2, `'\''`},
		{path("capabilities = [read]"), 2, "read stands without quotes"},
		{path("capabilities = [\"read\" \"list\"]"), 2, "a comma or ] belongs there"},
		{path("capabilities = [\"read\",,\"list\"]"), 2, ", where a value belongs"},
		{path("min_wrapping_ttl = 010"), 2, "without a leading 0"},
		{path("min_wrapping_ttl = 0x10"), 2, "decimal digits"},
		{path("min_wrapping_ttl = 1e3"), 2, "decimal digits"},
		{path("min_wrapping_ttl = 1."), 2, "decimal digits"},
		{path("min_wrapping_ttl = -"), 2, "decimal digits"},
		{path("comment = " + strings.Repeat("[", 50)), 2, "nests deeper"},
		{strings.Repeat("a {", 50), 1, "nests deeper"},

		// of the keys
		{"# x\npaths \"a\" {}", 2, `no key "paths"; did you mean "path"?`},
		{"name \"x\" {}", 1, `no key "name"`},
		{"name = 5", 1, "name is a number"},
		{path("\ncolour = \"red\""), 3, `path "s/a": there is no key "colour"; there are capabilities,`},
		{path("capabilites = []"), 2, `did you mean "capabilities"?`},
		{path("capabilities = []\ncapabilities = []"), 3, "capabilities is given twice"},
		{path("capabilities = []\n\"capabilities\" = []"), 3, "capabilities is given twice"},
		{path("capabilities = \"read\""), 2, "capabilities is a text; a list belongs there"},
		{path("capabilities = [\n\"read\",\n5]"), 4, "capabilities has a number in its list"},
		{path("capabilities = [\n\"read\",\n\"write\"]"), 4, `no capability "write"`},
		{path("capabilities = [\"raed\"]"), 2, `did you mean "read"?`},
		{path("capabilities = [\"READ\"]"), 2, `did you mean "read"?`},
		{path("capabilities = [\"root\"]"), 2, `no capability "root"`},
		{path("capabilities = [\"deny\", \"x\"]"), 2, `no capability "x"`},
		{path("capabilities \"x\" {}"), 2, "takes no name"},
		{path("capabilities {}"), 2, "a list belongs there"},
		{path("policy = \"admin\""), 2, `no policy "admin"`},
		{path("comment = 5"), 2, "comment is a number"},
		{path("mfa_methods = []"), 2, "would not enforce"},
		{path("pagination_limit = 5"), 2, "would not enforce"},
		{path("list_scan_response_keys_filter_path = \"x\""), 2, "would not enforce"},
		{path("min_wrapping_ttl = \"-1m\""), 2, "min_wrapping_ttl is seconds"},
		{path("min_wrapping_ttl = 1.5"), 2, "min_wrapping_ttl is seconds"},
		{path("min_wrapping_ttl = \"\""), 2, "min_wrapping_ttl is seconds"},
		{path("min_wrapping_ttl = \"999999999d\""), 2, "min_wrapping_ttl is seconds"},
		{path("min_wrapping_ttl = true"), 2, "min_wrapping_ttl is seconds"},
		{path("min_wrapping_ttl = \"10m\"\nmax_wrapping_ttl = \"1m\""), 1, "less than min_wrapping_ttl"},
		{path("capabilities = [\"deny\"]\nmin_wrapping_ttl = 10\nmax_wrapping_ttl = 1"), 1, "less than min_wrapping_ttl"},
		{path("expiration = \"2026-12-31\""), 2, "expiration is a time"},
		{path("expiration = 5"), 2, "expiration is a time"},

		// of parameters
		{path("allowed_parameters = [\"a\"]"), 2, "allowed_parameters is a list; a block belongs there"},
		{params(`"a" = "x"`), 3, "a is a text; a list belongs there"},
		{params(`"a" {}`), 3, "no list of values"},
		{params(`"a" "b" {}`), 3, "no list of values"},
		{params(`"a" = [["x"]]`), 3, "a list among its values"},
		{params(`"a" = [{}]`), 3, "a block among its values"},
		{params(`"a" = ["*"]`), 3, "any value is []"},
		{params("\"a\" = []\n\"A\" = []"), 2, `the parameter "a" twice`},
		{params(`"" = []`), 3, "1 to 128 bytes"},
		{params(`"` + strings.Repeat("x", 129) + `" = []`), 3, "1 to 128 bytes"},
		{params(`"a" = [` + strings.Repeat(`"x",`, 1001) + `]`), 3, "more than 1000 values"},
		{path(`required_parameters = ["*"]`), 2, "no parameter is called that"},
		{path(`required_parameters = "a"`), 2, "a list belongs there"},

		// of paths
		{"path \"s/+*\" {}", 1, "+*"},
		{"path \"s/\\u0001\" {}", 1, "control character"},
		{"path \"" + strings.Repeat("x", 1025) + "\" {}", 1, "longer than 1024"},
		{"path \"s/{{identity.entity.id\" {}", 1, "a {{ without its }}"},
		{"path \"s/identity.entity.id}}\" {}", 1, "a }} without its {{"},
		{"path \"s/{{identity.entity.id}}/}}\" {}", 1, "a }} without its {{"},
		{"path \"s/{{ {{identity.entity.id}}\" {}", 1, "a {{ without its }}"},
		{"\n\npath \"s/{{identity.entty.id}}\" {}", 3, "no template {{identity.entty.id}}"},
		{"path \"s/{{}}\" {}", 1, "no template {{}}"},
		{"path \"s/{{identity.entity.metadata}}\" {}", 1, "no template"},
		{"path \"s/{{identity.entity.custom_metadata.x}}\" {}", 1, "no template"},
		{"path \"s/{{identity.groups.names.x}}\" {}", 1, "no template"},
		{"path \"s/{{identity.entity.aliases.acc}}\" {}", 1, "no template"},
		{"path \"s/{{time.now}}\" {}", 1, "no template"},

		// of control groups
		{path("control_group = {}"), 2, "has no factor"},
		{path("control_group = \"x\""), 2, "control_group is a text"},
		{group(`factor {}`), 3, `factor "name" { … }`},
		{group(`ttl = "x" factor "f" {}`), 3, "names no group"},
		{group(`factor "f" { identity { group_ids = ["g"] approvals = 1 } } ttl = "x"`), 3, "ttl is seconds"},
		{group(`factor "f" { identity = "g" }`), 3, "identity is a text"},
		{group(`factor "f" { identity { group = "g" } }`), 3, `no key "group"`},
		{path("capabilities = [\"list\"]\ncontrol_group { factor \"f\" { controlled_capabilities = [\"read\", \"list\"] identity { group_ids = [\"g\"] approvals = 1 } } }"), 1, `factor "f" controls read, which the rule does not give`},
		{group(`factor "f" { controlled_capabilities = ["read"] identity { approvals = 1 } }`), 3, "names no group"},
		{group(`factor "f" { controlled_capabilities = ["read"] identity { group_names = ["g"] } }`), 3, "says not how many"},
		{group(`factor "f" { controlled_capabilities = ["read"] identity { group_names = ["g"] approvals = -1 } }`), 3, "whole number"},
		{group(`factor "f" { controlled_capabilities = ["sudo"] identity { group_names = ["g"] approvals = 1 } }`), 3, `no operation "sudo"`},
		{group(`factr = 1 factor "f" { controlled_capabilities = ["read"] identity { group_names = ["g"] approvals = 1 } }`), 3, `no key "factr"; did you mean "factor"?`},

		// of JSON
		{`{"path": {"a": {"capabilities": ["read"]}}} path "b" { capabilities = ["deny"] }`, 1, "goes on after the end"},
		{`{"path": {"a": {}}} {}`, 1, "goes on after the end"},
		{`{"path": {"a": {"capabilities": ["read"]}}`, 1, "ends too early"},
		{"{\"path\":\n {\"a\": {\"capabilities\":\n [\"read\",]}}}", 3, "is not JSON"},
		{`{"path": {"a": {"capabilities": ["read"], "capabilities": ["list"]}}}`, 1, "capabilities is given twice"},
		{"{\"path\": {\n\"a\": {\n\"capabilities\": [\"x\"]}}}", 3, `no capability "x"`},
		{`{"path": {"a": [{"capabilities": ["read"]}]}}`, 1, `path "a" is a list`},
		{`{"path": {"a": {"allowed_parameters": {"x": []}}}}`, 1, `path "a" says nothing but parameters`},
		{`{"path": "a"}`, 1, "path is a text"},
		{`{"path": {}}`, 1, "path is empty"},
		{`{"path": []}`, 1, "path is empty"},
		{`{"path": {"a": {"comment": null}}}`, 1, "null"},
		{`{"path": {"a": {"allowed_parameters": {"x": [true]}}}}`, 1, "write the policy in HCL"},
		{`{"path": {"a": {"allowed_parameters": {"x": [["y"]]}}}}`, 1, "write the policy in HCL"},
		{`{"path": {"a": {"min_wrapping_ttl": 1e3}}}`, 1, "decimal digits"},
		{`{"paths": {"a": {}}}`, 1, `did you mean "path"?`},
		{`{"path": ` + strings.Repeat(`[`, 50), 1, "nests deeper"},
	} {
		_, err := policy.Parse("dev", test.text)
		var e *vault.Error
		if !errors.As(err, &e) {
			t.Errorf("accepted: %.200q", test.text)
			continue
		}
		if e.Kind != vault.KindInvalid || e.File != "dev" || e.Line != test.line || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%.200q: %v, want line %d and %q", test.text, err, test.line, test.says)
		}
	}
}

// All that a rule can say.
func TestParsed(t *testing.T) {
	text := `
# of the billing team
name = "ignored"

path "/prod/data/billing/*" {
  comment              = "why \"it\" is"
  capabilities         = ["read", "update", "read"]
  allowed_parameters   = { "Options" = [], "data" = ["x*", 1, true] }
  denied_parameters    { version = ["0"] }
  required_parameters  = ["B", "a", "b"]
  min_wrapping_ttl     = 90
  max_wrapping_ttl     = "1h30m",
  expiration           = "2030-01-01T00:00:00Z"
  control_group        = {
    ttl = "7d"
    self_auth_allowed = true
    factor "ops" {
      controlled_capabilities = ["read", "update"]
      identity { group_names = ["a", "b"] group_ids = ["c"] approvals = 2 }
    }
  }
}
path "x" { policy = "write" capabilities = ["sudo"] } path "y" { capabilities = ["deny", "read"] }
`
	p := parse(t, text)[0]
	have := fmt.Sprintf("%d", len(p.Rules))
	for _, r := range p.Rules {
		have += fmt.Sprintf("\n%d %s %s %v %v %v %v %v %v %q", r.Line, r.Pattern, r.Caps, r.Allowed, r.Denied, r.Required, r.MinWrap, r.MaxWrap, r.Expires.Format(time.DateOnly), r.Comment)
		if r.Approval != nil {
			have += fmt.Sprintf("\n%+v", *r.Approval)
		}
	}
	want := `3
5 prod/data/billing/* read, update [{data [{x* 1} {1 2} {true 3}]} {options []}] [{version [{0 1}]}] [a b] 1m30s 1h30m0s 2030-01-01 "why \"it\" is"
{TTL:168h0m0s Self:true Factors:[{Name:ops Caps:read, update Groups:[a b] GroupIDs:[c] Count:2}]}
23 x create, delete, list, read, sudo, update [] [] [] 0s 0s 0001-01-01 ""
23 y deny [] [] [] 0s 0s 0001-01-01 ""`
	if have != want {
		t.Errorf("have\n%s\nwant\n%s", have, want)
	}
	json := `{"name": "x",
 "path": {"/prod/data/billing/*": {"comment": "why \"it\" is", "capabilities": ["read", "update", "read"],
  "allowed_parameters": {"Options": [], "data": ["x*", 1]}, "denied_parameters": {"version": ["0"]},
  "required_parameters": ["B", "a", "b"], "min_wrapping_ttl": 90, "max_wrapping_ttl": "1h30m", "expiration": "2030-01-01T00:00:00Z",
  "control_group": {"ttl": "7d", "self_auth_allowed": true, "factor": {"ops": {"controlled_capabilities": ["read", "update"], "identity": {"group_names": ["a", "b"], "group_ids": ["c"], "approvals": 2}}}}},
 "x": {"policy": "write", "capabilities": ["sudo"]},
 "y": {"capabilities": ["deny", "read"]}}}`
	q := parse(t, json)[0]
	// As HCL, but for the lines, and the boolean that JSON cannot have there.
	p.Rules[0].Allowed[0].Values = p.Rules[0].Allowed[0].Values[:2]
	for i := range p.Rules {
		a, b := p.Rules[i], q.Rules[i]
		a.Line, b.Line = 0, 0
		if have, want := fmt.Sprintf("%+v %+v", b, b.Approval), fmt.Sprintf("%+v %+v", a, a.Approval); strip(have) != strip(want) {
			t.Errorf("JSON\n%s\nHCL\n%s", have, want)
		}
	}
}

// strip drops addresses of memory.
func strip(s string) string {
	var b strings.Builder
	for word := range strings.FieldsSeq(s) {
		if !strings.Contains(word, "0x") {
			b.WriteString(word + " ")
		}
	}
	return b.String()
}

// Texts that are made to be dear to read, put together or ask cost what their
// length does.
func TestHostile(t *testing.T) {
	repeat := func(s string) string { return strings.Repeat(s, policy.MaxText/len(s)) }
	number := func(n int, block func(i int) string) string {
		var b strings.Builder
		for i := range n {
			if s := block(i); b.Len()+len(s) <= policy.MaxText {
				b.WriteString(s)
			}
		}
		return b.String()
	}
	long := strings.Repeat("a", 1000)
	for name, text := range map[string]string{
		"comments":      repeat("/**/"),
		"open comments": repeat("/*"),
		"quotes":        repeat(`"`),
		"open blocks":   repeat("a{"),
		"open lists":    repeat("["),
		"escapes":       `path "` + strings.Repeat(`\`, policy.MaxText-10),
		"one long word": repeat("a"),
		"numbers":       repeat("1"),
		"lines":         repeat("\n"),
		"rules":         number(policy.MaxRules+1, func(i int) string { return fmt.Sprintf("path \"%d\"{}", i) }),
		"same rules":    number(policy.MaxRules, func(i int) string { return `path "a"{policy="read"}` }),
		"segments":      number(policy.MaxRules, func(i int) string { return fmt.Sprintf("path \"+/+/+/+/%d/*\"{}", i) }),
		"plus and words": number(policy.MaxRules, func(i int) string {
			return "path \"" + strings.Join(strings.Split(fmt.Sprintf("%012b", i), ""), "/") + "\"{}"
		}),
		"beginnings":     number(1000, func(i int) string { return "path \"" + long[:i] + "*\"{}" }),
		"templates":      `path "` + strings.Repeat("{{identity.entity.id}}", 45) + `" {}`,
		"open templates": `path "` + strings.Repeat("{{", 500) + `" {}`,
		"names":          "path \"a\" { allowed_parameters = {" + number(300, func(i int) string { return fmt.Sprintf("\"p%d\" = []\n", i) }) + "}}",
		"json lists":     `{"path":` + strings.Repeat("[", policy.MaxText-10),
		"json lines":     "{" + strings.Repeat("\n", policy.MaxText-10) + "x",
		"json rules":     `{"path":{` + strings.TrimSuffix(number(policy.MaxRules, func(i int) string { return fmt.Sprintf("\"%d\":{},\n", i) }), ",\n") + "}}",
	} {
		t.Run(name, func(t *testing.T) {
			p, err := policy.Parse("p", text)
			if err != nil {
				return
			}
			policies := make([]*policy.Policy, 10)
			for i := range policies {
				policies[i] = p
			}
			acl := policy.Compile(policies, policy.Facts{Entity: &policy.Entity{ID: strings.Repeat("x", 1000)}})
			for _, path := range []string{long, strings.Repeat("a/", 5000), strings.Repeat("0/", 12), strings.Repeat("/", 10000), "0/1/0/1/0/1"} {
				acl.Decide(policy.Request{Path: path, Op: policy.OpList})
				acl.Matching(path, policy.OpList)
			}
			policy.Check(p, policy.Known{Mounts: []policy.Mount{{Path: "prod/", KV: true}, {Path: "a/"}}})
		})
	}
}
