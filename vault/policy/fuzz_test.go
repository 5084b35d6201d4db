package policy_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"envrun/vault"
	"envrun/vault/policy"
)

func FuzzParse(f *testing.F) {
	for _, text := range texts() {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := policy.Parse("p", text)
		if err != nil {
			if vault.KindOf(err) != vault.KindInvalid {
				t.Errorf("kind %v of %v", vault.KindOf(err), err)
			}
			return
		}
		acl := policy.Compile([]*policy.Policy{p}, policy.Facts{})
		for i := range p.Rules {
			acl.Decide(policy.Request{Path: p.Rules[i].Pattern, Op: policy.OpList})
		}
		policy.Check(p, policy.Known{})
	})
}

// FuzzMatch compares what fits a path with a regular expression made of the
// pattern, and what decides with Matching.
func FuzzMatch(f *testing.F) {
	for _, seed := range [][3]string{{"s/*", "s/+/b", "s/a/b"}, {"s/+", "s/a*", "s/a/"}, {"+/x/*", "*", "a/x/"}, {"s/+a", "s/+a*", "s/+ab"}, {"/s", "s/", "s/"}, {"s/a+b/+", "s/a+b*", "s/a+b/c"}} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, a, b, path string) {
		var texts []string
		want := 0
		path = strings.TrimLeft(path, "/")
		for _, pattern := range []string{a, b} {
			text, err := json.Marshal(pattern)
			if err != nil || strings.Contains(pattern, "{{") || !utf8.ValidString(pattern) {
				return
			}
			text = fmt.Appendf(nil, `{"path":{%s:{"capabilities":["read"]}}}`, text)
			if _, err := policy.Parse("p", string(text)); err != nil {
				return
			}
			texts = append(texts, string(text))
			if regexp.MustCompile(expression(pattern)).MatchString(path) && (strings.TrimPrefix(a, "/") != strings.TrimPrefix(b, "/") || len(texts) == 1) {
				want++
			}
		}
		acl := policy.Compile(parse(t, texts...), policy.Facts{})
		matching := acl.Matching(path, policy.OpRead)
		if len(matching) != want {
			t.Fatalf("%q: %v, want %d of %q", path, matching, want, texts)
		}
		d := acl.Decide(policy.Request{Path: path, Op: policy.OpRead})
		if d.Allowed != (want > 0) || want > 0 && d.Pattern != matching[0].Pattern {
			t.Fatalf("%q: %s, want the first of %v", path, d, matching)
		}
	})
}

// expression is a pattern as a regular expression.
func expression(pattern string) string {
	pattern, star := strings.CutSuffix(strings.TrimPrefix(pattern, "/"), "*")
	var segs []string
	for seg := range strings.SplitSeq(pattern, "/") {
		if seg == "+" {
			segs = append(segs, "[^/]*")
		} else {
			segs = append(segs, regexp.QuoteMeta(seg))
		}
	}
	e := `(?s)\A` + strings.Join(segs, "/")
	if star {
		return e
	}
	return e + `\z`
}

// FuzzParameters asks the same request of a rule that allows one value alone and
// of one that denies it: what the first lets through the second does not.
func FuzzParameters(f *testing.F) {
	for _, seed := range [][2]string{{`"dev-*"`, `{"p": "dev-1,root"}`}, {`5`, `{"P": 5.0}`}, {`true`, `{"p": [true, "1"]}`}, {`"*x"`, `{"p": ["ax", ["bx"]], "q": null}`}, {`1.50`, `{"p": 15e-1}`}, {`""`, `{"p": ""}`}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, value, body string) {
		var texts []string
		for _, key := range []string{"allowed", "denied"} {
			text := fmt.Sprintf("path \"a\" {\n capabilities = [\"update\"]\n %s_parameters = { \"p\" = [%s], \"q\" = [%s] }\n}", key, value, value)
			if _, err := policy.Parse("p", text); err != nil {
				return
			}
			texts = append(texts, text)
		}
		req := policy.Request{Path: "a", Op: policy.OpUpdate}
		d := json.NewDecoder(strings.NewReader(body))
		d.UseNumber()
		if err := d.Decode(&req.Params); err != nil || len(req.Params) == 0 {
			return
		}
		allows := policy.Compile(parse(t, texts[0]), policy.Facts{}).Decide(req)
		denies := policy.Compile(parse(t, texts[1]), policy.Facts{}).Decide(req)
		if allows.Allowed && denies.Allowed {
			t.Errorf("%s is both allowed and not denied by %s", body, value)
		}
	})
}

func FuzzParseTests(f *testing.F) {
	f.Add(lines)
	f.Add("policies a b\nallow read c\n")
	f.Fuzz(func(t *testing.T, text string) {
		tests, err := policy.ParseTests("t", text)
		if err != nil {
			if vault.KindOf(err) != vault.KindInvalid {
				t.Errorf("kind %v of %v", vault.KindOf(err), err)
			}
			return
		}
		for _, r := range tests.Run(only(nil), time.Time{}) {
			if r.Decision.Allowed && r.Request.Op != policy.OpHelp {
				t.Errorf("line %d: %s", r.Line, r.Decision)
			}
		}
	})
}
