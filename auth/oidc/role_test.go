package oidc_test

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"envrun/auth/oidc"
	"envrun/auth/oidc/oidctest"
)

const github = "https://token.actions.githubusercontent.com"

func TestCheck(t *testing.T) {
	bind := func(issuer string, pairs ...any) (string, oidc.Role) {
		r := oidc.Role{Audiences: []string{"a"}, UserClaim: "sub", BoundClaims: map[string]oidc.Values{}}
		for i := 0; i < len(pairs); i += 2 {
			r.BoundClaims[pairs[i].(string)] = oidc.Values{pairs[i+1]}
		}
		return issuer, r
	}
	in := func(kind string) func(string, oidc.Role) (string, oidc.Role) {
		return func(issuer string, r oidc.Role) (string, oidc.Role) { r.BoundType = kind; return issuer, r }
	}
	glob, globPath := in(oidc.MatchGlob), in(oidc.MatchGlobPath)
	tests := []struct {
		name      string
		role      func() (string, oidc.Role)
		err, warn string // a part of it; "" for none
	}{
		{"A10: no audience", func() (string, oidc.Role) { return "i", oidc.Role{UserClaim: "sub", Subject: "x"} }, "no audience", ""},
		{"no user claim", func() (string, oidc.Role) { return "i", oidc.Role{Audiences: []string{"a"}} }, "user claim", ""},
		{"audience alone", func() (string, oidc.Role) { return bind("https://id.example.test") }, "", "everybody"},
		{"exact", func() (string, oidc.Role) { return bind("https://id.example.test", "team", "a") }, "", ""},
		{"no value", func() (string, oidc.Role) {
			i, r := bind("i")
			r.BoundClaims["x"] = nil
			return i, r
		}, "no value", ""},
		{"half a number", func() (string, oidc.Role) { return bind("i", "n", json.Number("1.5")) }, "not whole", ""},
		{"an object", func() (string, oidc.Role) { return bind("i", "n", map[string]any{}) }, "values are", ""},
		{"unknown comparison", func() (string, oidc.Role) { return in("regexp")(bind("i", "n", "x")) }, "bound_claims_type", ""},
		{"pointer", func() (string, oidc.Role) { return bind("i", "/a~1b/c~0d", "x") }, "", ""},
		{"no pointer", func() (string, oidc.Role) { return bind("i", "/a~b", "x") }, "JSON pointer", ""},
		{"A35: begins with anything", func() (string, oidc.Role) { return glob(bind("i", "ref", "*", "id", "7")) }, "begins with anything", ""},
		{"A35: begins with anything", func() (string, oidc.Role) { return glob(bind("i", "ref", "*/main", "id", "7")) }, "begins with anything", ""},
		{"A35: a name that goes on", func() (string, oidc.Role) { return glob(bind("i", "sub", "repo:acme*", "id", "7")) }, "repo:acme-evil", ""},
		{"A35: a number that goes on", func() (string, oidc.Role) { return globPath(bind("i", "sub", "repo:acme@65*", "id", "7")) }, "end what is before", ""},
		{"a pattern that ends", func() (string, oidc.Role) { return globPath(bind("i", "ref", "refs/heads/*", "id", "7")) }, "", ""},
		{"a pattern over sub", func() (string, oidc.Role) { return glob(bind("i", "sub", "repo:acme/*", "id", "7")) }, "", "sub is bound by a pattern"},
		{"patterns alone", func() (string, oidc.Role) { return glob(bind("i", "ref", "refs/heads/*")) }, "every bound claim is a pattern", ""},
		{"a star that is no pattern", func() (string, oidc.Role) { return bind("i", "ref", "*") }, "", ""},
		{"GitHub: strangers", func() (string, oidc.Role) { return bind(github, "ref", "refs/heads/main") }, "repository_id", ""},
		{"GitHub: a name", func() (string, oidc.Role) { return bind(github, "repository", "a/b") }, "repository_id", ""},
		{"GitHub: an id, a name", func() (string, oidc.Role) {
			return bind(github, "repository", "a/b", "repository_id", "74", "event_name", "push")
		}, "", "taken by somebody else"},
		{"GitHub: no event", func() (string, oidc.Role) { return bind(github, "repository_id", "74") }, "", "event_name"},
		{"GitHub", func() (string, oidc.Role) { return bind(github, "repository_id", "74", "event_name", "push") }, "", ""},
		{"GitLab: a path", func() (string, oidc.Role) { return bind("https://gitlab.com", "project_path", "a/b") }, "project_id", ""},
		{"GitLab inside", func() (string, oidc.Role) { return bind("https://gitlab.example.test", "project_path", "a/b") }, "", ""},
		{"CircleCI: strangers", func() (string, oidc.Role) { return bind("https://oidc.circleci.com/org/1", "x", "y") }, "project-id", ""},
		{"Google: everybody", func() (string, oidc.Role) { return bind("https://accounts.google.com", "email", "a@b.test") }, "bind one of", ""},
	}
	for _, test := range tests {
		issuer, r := test.role()
		warnings, err := r.Check(issuer)
		if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: %v, want %q", test.name, err, test.err)
		}
		if (len(warnings) == 0) != (test.warn == "") || !strings.Contains(strings.Join(warnings, "\n"), test.warn) {
			t.Errorf("%s: warns %q, want %q", test.name, warnings, test.warn)
		}
	}
}

func TestMatch(t *testing.T) {
	i := oidctest.New(t)
	now := time.Now()
	v := verifier(i, now)
	role := func(change func(*oidc.Role)) *oidc.Role {
		r := &oidc.Role{Audiences: []string{oidctest.Audience}, UserClaim: "sub"}
		change(r)
		return r
	}
	fresh := role(func(r *oidc.Role) { r.MaxAge, r.ACR, r.AMR = 15*time.Minute, []string{"phr", "mfa"}, []string{"hwk"} })
	strong := oidctest.Claims{"auth_time": now.Unix() - 60, "acr": "mfa", "amr": []string{"pwd", "hwk"}}
	nested := role(func(r *oidc.Role) {
		r.BoundClaims = map[string]oidc.Values{"/kubernetes.io/namespace": {"pay"}, "/list/1": {"b"}, "/a~1b": {true}}
	})
	inside := oidctest.Claims{"kubernetes.io": map[string]any{"namespace": "pay"}, "list": []any{"a", "b"}, "a/b": true}
	email := role(func(r *oidc.Role) { r.UserClaim = "email" })
	copied := role(func(r *oidc.Role) { r.Mappings = map[string]string{"n": "number", "/o/t": "text"} })
	tests := []struct {
		name   string
		role   *oidc.Role
		claims oidctest.Claims
		reason oidc.Reason
	}{
		{"A42: fresh and strong", fresh, strong, ""},
		{"A42: signed in too long ago", fresh, strong.With(oidctest.Claims{"auth_time": now.Unix() - 16*60 - 2}), oidc.ReasonFresh},
		{"A42: not said when", fresh, strong.With(oidctest.Claims{"auth_time": nil}), oidc.ReasonFresh},
		{"A42: said in a text", fresh, strong.With(oidctest.Claims{"auth_time": "now"}), oidc.ReasonFresh},
		{"A42: in the future", fresh, strong.With(oidctest.Claims{"auth_time": now.Unix() + 120}), oidc.ReasonFresh},
		{"A42: no acr", fresh, strong.With(oidctest.Claims{"acr": nil}), oidc.ReasonFresh},
		{"A42: another acr", fresh, strong.With(oidctest.Claims{"acr": "pwd"}), oidc.ReasonFresh},
		{"A42: another amr", fresh, strong.With(oidctest.Claims{"amr": []any{"pwd", 7}}), oidc.ReasonFresh},
		{"A42: amr is a text", fresh, strong.With(oidctest.Claims{"amr": "hwk"}), oidc.ReasonFresh},
		{"pointers", nested, inside, ""},
		{"A40: another namespace", nested, inside.With(oidctest.Claims{"kubernetes.io": map[string]any{"namespace": "web"}}), oidc.ReasonClaims},
		{"A40: the name in a text", nested, inside.With(oidctest.Claims{"kubernetes.io": "namespace"}), oidc.ReasonClaims},
		{"A40: a shorter list", nested, inside.With(oidctest.Claims{"list": []any{"b"}}), oidc.ReasonClaims},
		{"A41: an address", email, oidctest.Claims{"email": "a@b.test", "email_verified": true}, ""},
		{"A41: an address that was not verified", email, oidctest.Claims{"email": "a@b.test", "email_verified": false}, oidc.ReasonClaims},
		{"A41: verified in a text", email, oidctest.Claims{"email": "a@b.test", "email_verified": "true"}, oidc.ReasonClaims},
		{"no address", email, nil, oidc.ReasonClaims},
		{"copied", copied, oidctest.Claims{"n": 7, "o": map[string]any{"t": "x"}}, ""},
		{"nothing to copy", copied, oidctest.Claims{"n": 7}, oidc.ReasonClaims},
		{"a line to copy", copied, oidctest.Claims{"n": 7, "o": map[string]any{"t": "x\ny"}}, oidc.ReasonClaims},
		{"a list to copy", copied, oidctest.Claims{"n": []any{7}, "o": map[string]any{"t": "x"}}, oidc.ReasonClaims},
		{"no nonce", role(func(r *oidc.Role) { r.Nonce = true }), nil, oidc.ReasonKind},
		{"another subject", role(func(r *oidc.Role) { r.Subject = "bob" }), nil, oidc.ReasonClaims},
	}
	for _, test := range tests {
		c, err := v.Verify(t.Context(), i.Sign(i.Good(oidctest.Audience, now).With(test.claims)))
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		id, err := test.role.Match(c, now, oidc.DefaultLeeway)
		if reason(err) != test.reason || (err == nil) != (test.reason == "") {
			t.Errorf("%s: %v, want %q", test.name, err, test.reason)
		}
		if r := (*oidc.Refusal)(nil); errors.As(err, &r) && test.role == fresh && (r.MaxAge != 900 || len(r.ACR) != 2) {
			t.Errorf("%s: the challenge is %+v", test.name, r)
		}
		if test.name == "copied" && (id.Meta["number"] != "7" || id.Meta["text"] != "x") {
			t.Errorf("copied %v", id.Meta)
		}
	}
}

// All refusals are the same to who is not entitled.
func TestPublic(t *testing.T) {
	for _, test := range []struct {
		err  *oidc.Refusal
		want string
	}{
		{&oidc.Refusal{Reason: oidc.ReasonClaims, Detail: "x", Claims: []string{"ref", "sub"}}, "permission denied"},
		{&oidc.Refusal{Reason: oidc.ReasonSignature, Detail: "x"}, "permission denied"},
		{&oidc.Refusal{Reason: oidc.ReasonRole, Detail: "x"}, "permission denied"},
		{&oidc.Refusal{Reason: oidc.ReasonFresh, Entitled: true, Detail: "sign in again"}, "permission denied: sign in again"},
		{&oidc.Refusal{Reason: oidc.ReasonIssuerOut, Detail: "x"}, "the keys of the issuer cannot be had now; try again"},
		{&oidc.Refusal{Reason: oidc.ReasonClusterOut, Detail: "x"}, "the cluster cannot be asked of the token now; try again"},
	} {
		if got := test.err.Public(); got != test.want {
			t.Errorf("%+v: %q", test.err, got)
		}
	}
}

// The patterns are the regular expressions that they look like.
func FuzzGlob(f *testing.F) {
	f.Add("repo:acme/*:ref:**", "repo:acme/api:ref:refs/heads/main", false)
	f.Add("*a*a*a*b", strings.Repeat("a", 60), true)
	f.Add("***", "a/b", true)
	f.Fuzz(func(t *testing.T, pattern, text string, path bool) {
		if len(pattern) > 40 || len(text) > 200 {
			return
		}
		expr := regexp.QuoteMeta(pattern)
		kind := oidc.MatchGlob
		if path {
			kind = oidc.MatchGlobPath
			expr = strings.ReplaceAll(strings.ReplaceAll(expr, `\*\*`, `(?s:.*)`), `\*`, `[^/:]*`)
		} else {
			expr = strings.ReplaceAll(expr, `\*`, `(?s:.*)`)
		}
		re, err := regexp.Compile(`\A(?:` + expr + `)\z`)
		if err != nil {
			return
		}
		if got := oidc.Glob(kind, pattern, text); got != re.MatchString(text) {
			t.Errorf("%s %q on %q: %v", kind, pattern, text, got)
		}
	})
}
