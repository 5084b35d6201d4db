package policy_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl"
	"github.com/hashicorp/hcl/hcl/ast"

	"envrun/vault/policy"
)

// What Vault reads is what github.com/hashicorp/hcl makes of a text. The
// library reads over much that is wrong, so it is not what our server reads
// with; but whatever we accept it must read as the same rules.

type hclRule struct {
	Policy       string           `hcl:"policy"`
	Capabilities []string         `hcl:"capabilities"`
	Allowed      map[string][]any `hcl:"allowed_parameters"`
	Denied       map[string][]any `hcl:"denied_parameters"`
	Required     []string         `hcl:"required_parameters"`
	MinWrap      any              `hcl:"min_wrapping_ttl"`
	MaxWrap      any              `hcl:"max_wrapping_ttl"`
	Comment      string           `hcl:"comment"`
	Expires      string           `hcl:"expiration"`
}

// asHCL compares a policy that we accepted with what the library reads.
func asHCL(p *policy.Policy) error {
	root, err := hcl.Parse(p.Text)
	if err != nil {
		return fmt.Errorf("hcl refuses it: %v", err)
	}
	items := root.Node.(*ast.ObjectList).Filter("path").Items
	if len(items) != len(p.Rules) {
		return fmt.Errorf("hcl has %d rules, we %d", len(items), len(p.Rules))
	}
	for i, item := range items {
		var theirs hclRule
		if err := hcl.DecodeObject(&theirs, item.Val); err != nil {
			return fmt.Errorf("hcl refuses rule %d: %v", i, err)
		}
		if err := sameRule(p.Rules[i], item.Keys[0].Token.Value().(string), theirs); err != nil {
			return fmt.Errorf("rule %d: %v", i, err)
		}
	}
	return nil
}

func sameRule(ours policy.Rule, pattern string, theirs hclRule) error {
	if strings.TrimPrefix(pattern, "/") != ours.Pattern {
		return fmt.Errorf("path %q, we %q", pattern, ours.Pattern)
	}
	words := slices.Clone(theirs.Capabilities)
	switch theirs.Policy {
	case "deny":
		words = append(words, "deny")
	case "read":
		words = append(words, "read", "list")
	case "write":
		words = append(words, "create", "read", "update", "delete", "list")
	case "sudo":
		words = append(words, "create", "read", "update", "delete", "list", "sudo")
	}
	if slices.Contains(words, "deny") || len(words) == 0 {
		words = []string{"deny"}
	}
	slices.Sort(words)
	if words = slices.Compact(words); !slices.Equal(words, ours.Caps.Names()) {
		return fmt.Errorf("capabilities %v, we %v", words, ours.Caps.Names())
	}
	for _, params := range []struct {
		theirs map[string][]any
		ours   []policy.Param
	}{{theirs.Allowed, ours.Allowed}, {theirs.Denied, ours.Denied}} {
		flat := map[string][]string{}
		for name, values := range params.theirs {
			list := []string{}
			for _, v := range values {
				list = append(list, number(fmt.Sprint(v)))
			}
			flat[strings.ToLower(name)] = list
		}
		have := map[string][]string{}
		for _, p := range params.ours {
			list := []string{}
			for _, v := range p.Values {
				list = append(list, number(v.Text))
			}
			have[p.Name] = list
		}
		if !reflect.DeepEqual(flat, have) {
			return fmt.Errorf("parameters %v, we %v", flat, have)
		}
	}
	var required []string
	for _, name := range theirs.Required {
		required = append(required, strings.ToLower(name))
	}
	slices.Sort(required)
	if required = slices.Compact(required); !slices.Equal(required, ours.Required) {
		return fmt.Errorf("required %v, we %v", required, ours.Required)
	}
	if (theirs.MinWrap != nil) != (ours.MinWrap != 0) && fmt.Sprint(theirs.MinWrap) != "0" && !strings.HasPrefix(fmt.Sprint(theirs.MinWrap), "0") {
		return fmt.Errorf("min_wrapping_ttl %v, we %v", theirs.MinWrap, ours.MinWrap)
	}
	if theirs.Comment != ours.Comment {
		return fmt.Errorf("comment %q, we %q", theirs.Comment, ours.Comment)
	}
	if (theirs.Expires != "") != !ours.Expires.IsZero() {
		return fmt.Errorf("expiration %q, we %v", theirs.Expires, ours.Expires)
	}
	return nil
}

// number is a text as both write it: the library makes numbers of what looks like one.
func number(text string) string {
	var f float64
	if text == "-0" {
		return "0"
	}
	if n, err := fmt.Sscan(text, &f); n == 1 && err == nil && fmt.Sprint(f) != text {
		return fmt.Sprint(f)
	}
	return text
}

func FuzzReadsAsHCL(f *testing.F) {
	for _, text := range texts() {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := policy.Parse("p", text)
		if err != nil {
			return
		}
		if err := asHCL(p); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	})
}

// TestReadsAsHCL does the same with texts that are policies with one thing wrong,
// or written in another way.
func TestReadsAsHCL(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	seeds := texts()
	pieces := []string{`"`, `\`, `\n`, "\n", "#", "//", "/*", "*/", "{", "}", "[", "]", ",", "=", `"a"`, `"deny"`, "0", "1", "-1", "1.50", "true", "<<E\n", "${", "{{", "}}", " ", "é", "\x01", "path", "name", `\u0041`, `\x41`, `\101`, ":", "null", "\r\n"}
	accepted := 0
	n := 20_000
	if testing.Short() {
		n = 3_000
	}
	for range n {
		text := seeds[r.IntN(len(seeds))]
		for range 1 + r.IntN(3) {
			at := r.IntN(len(text) + 1)
			switch r.IntN(3) {
			case 0: // drop some
				end := min(len(text), at+r.IntN(4))
				text = text[:at] + text[end:]
			case 1: // put something in
				text = text[:at] + pieces[r.IntN(len(pieces))] + text[at:]
			default: // put in a part of another
				other := seeds[r.IntN(len(seeds))]
				from := r.IntN(len(other) + 1)
				text = text[:at] + other[from:min(len(other), from+r.IntN(20))] + text[at:]
			}
		}
		p, err := policy.Parse("p", text)
		if err != nil {
			continue
		}
		accepted++
		if err := asHCL(p); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
	if accepted < n/20 {
		t.Errorf("only %d of %d texts were accepted: the test looks at little", accepted, n)
	}
}

// texts are policies that we accept, in many ways of writing.
func texts() []string {
	return []string{
		policy.DefaultText,
		policy.WrappingText,
		"",
		"# nothing\n// at all\n/* but\ncomments */",
		"path \"a\" { capabilities = [\"read\"] }\r\npath \"a\" { capabilities = [\"list\",] }\r\n",
		`"path" "a/b*" { "capabilities" = ["create", "update"], comment = "why" }`,
		`path bare-word.x { policy = "write" }`,
		`name = "x" path "/a" { policy = "sudo" capabilities = ["deny"] }`,
		"path \"s/+/x\" {\n  capabilities = [\n    \"read\", # one\n    \"list\",\n  ]\n  allowed_parameters = {\n    \"A\" = []\n    \"b\" = [\"x*\", 1, 2.5, true]\n  }\n  denied_parameters { \"*\" = [], c = [\"d\"] }\n  required_parameters = [\"A\", \"B\"]\n}\n",
		`path "s/{{identity.entity.metadata.team}}/*" { capabilities = ["patch"] min_wrapping_ttl = 60 max_wrapping_ttl = "1h" }`,
		`path "t\x41\u0042\103\"" { capabilities = [] expiration = "2030-01-01T00:00:00Z" }`,
		`{"path": {"a": {"capabilities": ["read"]}, "b/*": {"capabilities": ["update"], "allowed_parameters": {"x": ["1", 2]}}}}`,
		` {"name": "n", "path": [{"a": {"policy": "read"}}, {"b": {"capabilities": ["deny"]}}]}`,
		`path "x" { capabilities = ["recover", "read"] control_group = { ttl = "4h" factor "ops" { controlled_capabilities = ["read"] identity { group_names = ["g"] approvals = 2 } } } }`,
	}
}
