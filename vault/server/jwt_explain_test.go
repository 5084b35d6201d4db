package server_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"envrun/auth/oidc/oidctest"
	"envrun/vault/server"
)

// An explanation is an answer of role/NAME/explain.
type explanation struct {
	Role    string
	Allowed bool
	Why     string
	Checks  []struct {
		Check   string
		Passed  *bool
		Skipped bool
		Reason  string
		Claims  []struct {
			Claim  string
			Wanted []any
			Found  any
		}
	}
	Login map[string]any

	warnings string
}

// explain asks as root why a token does not get in, or that it does.
func (w *signInWorld) explain(role, jwt, address string) explanation {
	w.Helper()
	body, _ := json.Marshal(map[string]string{"jwt": jwt, "address": address})
	s := w.must(200, "root", "POST", "auth/jwt/role/"+role+"/explain", string(body))
	var a struct{ Data explanation }
	if err := json.Unmarshal([]byte(s.raw), &a); err != nil {
		w.Fatal(err, s.raw)
	}
	if sign := jwt[strings.LastIndexByte(jwt, '.')+1:]; len(sign) > 20 && strings.Contains(s.raw, sign) || strings.Contains(s.raw, "eyJ") {
		w.Errorf("the answer repeats the token: %s", s.raw)
	}
	for _, c := range a.Data.Checks {
		if c.Skipped == (c.Passed != nil) || (c.Reason != "") != (c.Passed != nil && !*c.Passed) {
			w.Errorf("%+v", c)
		}
	}
	a.Data.warnings = fmt.Sprint(s.body["warnings"])
	return a.Data
}

// failed are the checks that refused; reason is that of the first.
func (e explanation) failed() (checks []string, reason string) {
	for _, c := range e.Checks {
		if c.Passed != nil && !*c.Passed {
			if checks = append(checks, c.Check); len(checks) == 1 {
				reason = c.Reason
			}
		}
	}
	return checks, reason
}

func (e explanation) skipped() (checks []string) {
	for _, c := range e.Checks {
		if c.Skipped {
			checks = append(checks, c.Check)
		}
	}
	return checks
}

// refusedFor is why the last sign-in was refused, as the audit log has it.
func (w *signInWorld) refusedFor() string {
	all := w.log.all()
	return strings.TrimPrefix(all[len(all)-1].Error, "permission denied: ")
}

// roleOf writes a role with members of JSON in the place of those of role.
func (w *signInWorld) roleOf(name string, change map[string]any) {
	w.Helper()
	r := map[string]any{
		"bound_audiences": oidctest.Audience, "user_claim": "sub", "groups_claim": "groups",
		"bound_claims": map[string]any{"project_id": 74, "ref_protected": "true"}, "token_policies": "dev", "token_ttl": "10m",
	}
	maps.Copy(r, change)
	body, _ := json.Marshal(r)
	w.must(204, "root", "POST", "auth/jwt/role/"+name, string(body))
}

// Each check that refuses a sign-in is the one that an explanation names, with the
// reason that the audit log has of the sign-in.
func TestExplainChecks(t *testing.T) {
	w := newSignInWorld(t)
	now := w.now.Unix()
	claims := func(change oidctest.Claims) func() string {
		return func() string { return w.issuer.Sign(w.good().With(change)) }
	}
	text := func(jwt string) func() string { return func() string { return jwt } }
	headed := func(alg string, header map[string]any) func() string {
		return func() string { return oidctest.SignRaw(alg, oidctest.P256, w.good().JSON(), header) }
	}
	good := w.issuer.Sign(w.good())
	rest := "header algorithm key signature payload issuer time kind subject audience age claims user groups entity"
	after := func(check string) string { _, more, _ := strings.Cut(rest, check); return strings.TrimSpace(more) }
	for _, test := range []struct {
		name, check, reason string
		role                map[string]any
		token               func() string
		skipped             string // "" is the entity alone
		claims              string // what is wanted and found
	}{
		{name: "two parts", check: "form", reason: "form: it is not of three parts", token: text("eyJ.x"), skipped: rest},
		{name: "too long", check: "form", reason: "form: it is too long", token: text(good + strings.Repeat("A", 16<<10)), skipped: rest},
		{name: "a line's end", check: "form", reason: "form: it has white space in it, or at its end", token: text(good + "\n"), skipped: rest},
		{name: "crit", check: "header", reason: "header: crit is not supported", token: headed("ES256", map[string]any{"crit": []any{"b64"}}), skipped: after("header")},
		{name: "an access token", check: "header", reason: "kind: its typ is not JWT", token: headed("ES256", map[string]any{"typ": "at+jwt"}), skipped: after("header")},
		{name: "no algorithm", check: "algorithm", reason: "algorithm: the mount does not allow it", token: func() string { return "eyJhbGciOiJub25lIn0." + strings.Split(good, ".")[1] + ".eA" }, skipped: after("algorithm")},
		{name: "an unknown key", check: "key", reason: "key: the issuer has no such key", skipped: after("key"), token: func() string {
			return oidctest.SignKey("ES256", oidctest.PrivateKey(oidctest.P256), "another", w.good().JSON(), nil)
		}},
		{name: "another signature", check: "signature", reason: "signature: it is not of the issuer's key", token: text(good[:len(good)-4] + "AAAA"), skipped: after("signature")},
		{name: "no audience", check: "payload", reason: "audience: aud is not a text or a list of texts", token: claims(oidctest.Claims{"aud": nil}), skipped: after("payload")},
		{name: "another issuer", check: "issuer", reason: "issuer: it is another one's", token: claims(oidctest.Claims{"iss": "https://other.test"}), claims: `iss "https://other.test" ["` + w.issuer.URL + `"]`},
		{name: "expired", check: "time", reason: "time: it expired 1h0m0s ago", role: map[string]any{"max_token_age": "3h"}, token: claims(oidctest.Claims{"iat": now - 7200, "exp": now - 3600, "nbf": nil})},
		{name: "of tomorrow", check: "time", reason: "time: it is not valid yet, for 2h0m0s: do the clocks agree?", token: claims(oidctest.Claims{"nbf": now + 7200})},
		{name: "a logout token", check: "kind", reason: "kind: it is no identity token", token: claims(oidctest.Claims{"events": map[string]any{}})},
		{name: "a long subject", check: "subject", reason: "subject: sub is too long, or not printable", token: claims(oidctest.Claims{"sub": strings.Repeat("s", 300)}), role: map[string]any{"user_claim": "project_id"}},
		{name: "another audience", check: "audience", reason: "audience: it is for somebody else", token: claims(oidctest.Claims{"aud": "https://other.test"}), claims: `aud "https://other.test" ["` + oidctest.Audience + `"]`},
		{name: "several audiences", check: "audience", reason: "audience: it is for others too", token: claims(oidctest.Claims{"aud": []any{oidctest.Audience, "b"}}), claims: `aud ["` + oidctest.Audience + `","b"] ["` + oidctest.Audience + `"]`},
		{name: "another client", check: "audience", reason: "authorized party: it was made for another client", token: claims(oidctest.Claims{"azp": "app"}), claims: `azp "app" ["` + oidctest.Audience + `"]`},
		{name: "too old", check: "age", reason: "time: it was made 2h0m0s ago", token: claims(oidctest.Claims{"iat": now - 7200})},
		{name: "no nonce", check: "nonce", reason: "kind: it has no nonce", role: map[string]any{"require_nonce": true}, token: claims(nil)},
		{name: "another project", check: "claims", reason: "claims: claims that the role is bound to do not match: project_id", token: claims(oidctest.Claims{"project_id": "74"}), claims: `project_id "74" [74]`},
		{name: "two claims", check: "claims", reason: "claims: claims that the role is bound to do not match: project_id, ref_protected", token: claims(oidctest.Claims{"project_id": 75, "ref_protected": nil}), claims: `project_id 75 [74]; ref_protected null ["true"]`},
		{name: "another subject", check: "claims", reason: "claims: claims that the role is bound to do not match: sub", role: map[string]any{"bound_subject": "bob"}, token: claims(nil), claims: `sub "alice" ["bob"]`},
		{name: "what does not show", check: "claims", reason: "claims: claims that the role is bound to do not match: ref_protected", token: claims(oidctest.Claims{"ref_protected": "tru\u200be\x1b"}), claims: `ref_protected "tru\\u200be\\x1b" ["true"]`},
		{name: "a long text", check: "claims", reason: "claims: claims that the role is bound to do not match: ref_protected", token: claims(oidctest.Claims{"ref_protected": strings.Repeat("x", 5000)}), claims: `ref_protected "` + strings.Repeat("x", 128) + `…" ["true"]`},
		{name: "a long list", check: "claims", reason: "claims: claims that the role is bound to do not match: ref_protected", token: claims(oidctest.Claims{"ref_protected": []any{1, 2, []any{3}, map[string]any{"a": "b"}, 5, 6, 7, 8, 9, 10}}), claims: `ref_protected [1,2,"a list","an object",5,6,7,8,"and 2 more"] ["true"]`},
		{name: "an object", check: "claims", reason: "claims: claims that the role is bound to do not match: ref_protected", token: claims(oidctest.Claims{"ref_protected": map[string]any{"a": "secret"}}), claims: `ref_protected "an object" ["true"]`},
		{name: "signed in long ago", check: "freshness", reason: "freshness: the person signed in 1h0m0s ago, and the role asks for 15m0s", role: map[string]any{"max_age": "15m"}, token: claims(oidctest.Claims{"auth_time": now - 3600}), claims: fmt.Sprintf(`auth_time %d null`, now-3600)},
		{name: "signed in weakly", check: "freshness", reason: "freshness: the person did not sign in as strongly as the role asks", role: map[string]any{"acr_values": []string{"mfa"}}, token: claims(oidctest.Claims{"acr": "pwd"}), claims: `acr "pwd" ["mfa"]`},
		{name: "by another means", check: "freshness", reason: "freshness: the person did not sign in by a means that the role asks for", role: map[string]any{"amr_values": []string{"hwk"}}, token: claims(nil), claims: `amr null ["hwk"]`},
		{name: "no user", check: "user", reason: "claims: the claim login is missing or not of its form", role: map[string]any{"user_claim": "login"}, token: claims(nil), claims: `login null null`},
		{name: "an address that was not verified", check: "user", reason: "claims: the issuer did not verify the address (email_verified)", role: map[string]any{"user_claim": "email"}, token: claims(oidctest.Claims{"email": "a@b.test", "email_verified": false}), claims: `email "a@b.test" null`},
		{name: "nothing to copy", check: "metadata", reason: "claims: the claim org is missing or not of its form", role: map[string]any{"claim_mappings": map[string]string{"org": "org"}}, token: claims(nil)},
		{name: "groups in a text", check: "groups", reason: "groups: groups is not a list of at most 1000 names", token: claims(oidctest.Claims{"groups": "admins"})},
		{name: "from elsewhere", check: "network", reason: "network: the client's address is in none of the role's", role: map[string]any{"token_bound_cidrs": "203.0.113.0/24"}, token: claims(nil)},
	} {
		w.roleOf("one", test.role)
		jwt := test.token()
		e := w.explain("one", jwt, "127.0.0.1")
		checks, reason := e.failed()
		if e.Allowed || !slices.Equal(checks, []string{test.check}) || !strings.HasPrefix(reason, test.reason) || e.Login != nil {
			t.Errorf("%s: %q fails, %q; %s", test.name, checks, reason, e.Why)
		}
		if test.skipped == "" {
			test.skipped = "entity"
		}
		if got := strings.Join(e.skipped(), " "); got != test.skipped {
			t.Errorf("%s: %q were not looked at", test.name, got)
		}
		var found []string
		for _, c := range e.Checks {
			for _, d := range c.Claims {
				is, _ := json.Marshal(d.Found)
				want, _ := json.Marshal(d.Wanted)
				found = append(found, fmt.Sprintf("%s %s %s", d.Claim, is, want))
			}
		}
		if got := strings.Join(found, "; "); got != test.claims {
			t.Errorf("%s: found %s, want %s", test.name, got, test.claims)
		}
		if !strings.Contains(e.Why, "would be refused\n  FAILED         "+test.check+": ") {
			t.Errorf("%s: %s", test.name, e.Why)
		}
		if s := w.login("one", jwt); s.status == 200 || w.refusedFor() != reason {
			t.Errorf("%s: signing in is answered %d, and the audit log says %q, not %q", test.name, s.status, w.refusedFor(), reason)
		}
	}
}

// Of each token of the study's attacks an explanation says what becomes of it, and why.
func TestExplainAttacks(t *testing.T) {
	w := newSignInWorld(t)
	fetched := w.issuer.Fetches.Load()
	for _, a := range oidctest.Attacks() {
		jwt := a.Token(w.issuer, w.good(), w.now)
		if jwt == "" || len(jwt) > server.SmallBody/2 {
			continue // the request is refused
		}
		body, _ := json.Marshal(map[string]string{"jwt": jwt})
		s := w.must(200, "root", "POST", "auth/jwt/role/ci/explain", string(body))
		var e struct{ Data explanation }
		if err := json.Unmarshal([]byte(s.raw), &e); err != nil {
			t.Fatal(err)
		}
		_, reason := e.Data.failed()
		in := w.login("ci", jwt)
		if e.Data.Allowed != (in.status == 200) || e.Data.Allowed != (a.Reason == "") || in.status != 200 && reason != w.refusedFor() {
			t.Errorf("%s %s: allowed: %v, %q; signing in: %d, %q", a.ID, a.Name, e.Data.Allowed, reason, in.status, w.refusedFor())
		}
		if e.Data.Allowed && fmt.Sprint(e.Data.Login["policies"]) != fmt.Sprint(in.body["auth"].(map[string]any)["policies"]) {
			t.Errorf("%s %s: %v, but the token has %v", a.ID, a.Name, e.Data.Login, in.body["auth"])
		}
	}
	for _, canary := range []string{"mallory", "evil.test", "eyJ"} {
		if strings.Contains(w.log.text(), canary) {
			t.Errorf("the audit log holds %q", canary)
		}
	}
	if n := w.issuer.Fetches.Load() - fetched; n > 1 || w.issuer.Others.Load() != 0 {
		t.Errorf("%d fetches, %d other requests", n, w.issuer.Others.Load())
	}
}

// everything is the records of the server that a sign-in could change, as they lie there.
func (w *signInWorld) everything() string {
	w.Helper()
	var b strings.Builder
	err := w.db.Read(w.Context(), func(tx server.Tx) error {
		for _, kind := range []string{"entity", "entity-name", "entity-alias", "entity-alias-id", "group", "jwt-role", "jwks", "number", "auth"} {
			names, err := tx.BlobNames(kind)
			if err != nil {
				return err
			}
			for _, name := range names {
				raw, err := tx.Blob(kind, name)
				if err != nil {
					return err
				}
				fmt.Fprintf(&b, "%s %s %x\n", kind, name, raw)
			}
		}
		accessors, err := tx.TokenAccessors()
		if err != nil {
			return err
		}
		for _, a := range accessors {
			row, _, err := tx.TokenRowByAccessor(a)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "%s %x\n", a, row.Body)
		}
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
	return b.String()
}

// A token that is taken once is not used up by being explained, and nobody is made. What
// an explanation says is then given.
func TestExplainWritesNothing(t *testing.T) {
	w := newSignInWorld(t)
	w.external("ops", "operate", "jwt", "admins")
	w.roleOf("once", map[string]any{"single_use": true, "claim_mappings": map[string]string{"jti": "job"}, "token_num_uses": 7, "token_bound_cidrs": "127.0.0.0/8", "token_explicit_max_ttl": "5m"})
	for _, change := range []oidctest.Claims{{"groups": []any{"admins", "others"}}, {"groups": []any{"admins"}, "jti": "another"}, {"groups": []any{}, "sub": "bob"}} {
		jwt := w.issuer.Sign(w.good().With(change))
		before, had := w.everything(), len(w.log.all())
		var e explanation
		for range 3 {
			e = w.explain("ONCE", jwt, "127.0.0.1")
			if failed, _ := e.failed(); !e.Allowed || failed != nil || e.skipped() != nil || !strings.HasPrefix(e.Why, "would be let in as jwt-") {
				t.Fatalf("%v: %+v", change, e)
			}
		}
		if after := w.everything(); after != before {
			t.Errorf("%v: something was written:\n%s\n%s", change, before, after)
		}
		if n := len(w.log.all()) - had; n != 6 {
			t.Errorf("%d audit entries", n)
		}
		s := w.login("once", jwt)
		if s.status != 200 {
			t.Fatalf("%v: signing in: %d %s", change, s.status, s.raw)
		}
		auth := s.body["auth"].(map[string]any)
		info := w.must(200, "root", "POST", "auth/token/lookup", fmt.Sprintf(`{"token":%q}`, s.token())).data()
		for said, is := range map[string]any{
			"policies": auth["policies"], "token_policies": auth["token_policies"], "metadata": auth["metadata"], "num_uses": auth["num_uses"],
			"ttl": auth["lease_duration"], "display_name": info["display_name"], "token_bound_cidrs": []any{"127.0.0.0/8"}, "alias_name": w.good().With(change)["sub"],
		} {
			if fmt.Sprint(e.Login[said]) != fmt.Sprint(is) {
				t.Errorf("%v: %s was said to be %v, and is %v", change, said, e.Login[said], is)
			}
		}
		if is := auth["identity_policies"]; fmt.Sprint(e.Login["identity_policies"]) != fmt.Sprint(is) && is != nil {
			t.Errorf("%v: policies of groups: %v, and are %v", change, e.Login["identity_policies"], is)
		}
		e = w.explain("once", jwt, "127.0.0.1")
		if failed, reason := e.failed(); e.Allowed || fmt.Sprint(failed) != "[replay]" || !strings.Contains(reason, "used before") {
			t.Errorf("%v: after signing in: %+v", change, e)
		}
		again := w.explain("once", w.issuer.Sign(w.good().With(change).With(oidctest.Claims{"jti": change["sub"]})), "127.0.0.1")
		if again.Allowed && again.Login["entity_id"] != auth["entity_id"] {
			t.Errorf("%v: entity %v, then %v", change, auth["entity_id"], again.Login["entity_id"])
		}
	}
	// Who may not sign in at all is said too.
	id := w.entityOf(w.token("ci", nil))
	w.must(204, "root", "POST", "identity/entity/id/"+id, `{"disabled":true}`)
	jwt := w.issuer.Sign(w.good())
	e := w.explain("ci", jwt, "")
	if failed, reason := e.failed(); e.Allowed || fmt.Sprint(failed) != "[entity]" || reason != "the entity is disabled" {
		t.Errorf("disabled: %+v", e)
	}
	if s := w.login("ci", jwt); s.status != 403 || w.refusedFor() != "the entity is disabled" {
		t.Errorf("disabled: %d %s", s.status, w.refusedFor())
	}
}

// Several things that are wrong are all said: a token to try with has often expired.
func TestExplainSeveral(t *testing.T) {
	w := newSignInWorld(t)
	w.roleOf("net", map[string]any{"token_bound_cidrs": "203.0.113.0/24", "max_age": "15m"})
	old := w.issuer.Sign(w.good().With(oidctest.Claims{"iat": w.now.Unix() - 7200, "exp": w.now.Unix() - 7000, "nbf": nil, "project_id": 75}))
	e := w.explain("net", old, "")
	if failed, _ := e.failed(); fmt.Sprint(failed, e.skipped()) != "[time age claims freshness] [network entity]" {
		t.Errorf("%s", e.Why)
	}
	// Without a time that can be read, nothing is said of one.
	e = w.explain("net", w.issuer.Sign(w.good().With(oidctest.Claims{"iat": nil})), "203.0.113.9")
	if failed, reason := e.failed(); fmt.Sprint(failed) != "[time age freshness]" || reason != "time: iat is missing" {
		t.Errorf("%s", e.Why)
	}
	// From where the job signs in, only who asks can say.
	good := w.issuer.Sign(w.good().With(oidctest.Claims{"auth_time": w.now.Unix()}))
	if e := w.explain("net", good, ""); !e.Allowed || fmt.Sprint(e.skipped()) != "[network]" || !strings.Contains(e.warnings, "address=IP") {
		t.Errorf("%+v", e)
	}
	if e := w.explain("net", good, "203.0.113.9"); !e.Allowed || e.skipped() != nil || e.warnings != "<nil>" {
		t.Errorf("%+v", e)
	}
	w.must(400, "root", "POST", "auth/jwt/role/net/explain", `{"jwt":"x","address":"a host"}`)
}

// Errors, and what is said of a role.
func TestExplainAnswers(t *testing.T) {
	w := newSignInWorld(t)
	good, _ := json.Marshal(map[string]string{"jwt": w.issuer.Sign(w.good()), "role": "other"})
	if s := w.must(404, "root", "POST", "auth/jwt/role/nobody/explain", string(good)); s.raw != w.must(404, "root", "GET", "auth/jwt/role/nobody", "").raw {
		t.Errorf("no role: %s", s.raw)
	}
	for _, body := range []string{``, `{}`, `{"jwt":""}`} {
		if s := w.must(400, "root", "POST", "auth/jwt/role/ci/explain", body); !strings.Contains(s.raw, "missing token") {
			t.Errorf("%s: %s", body, s.raw)
		}
	}
	w.must(400, "root", "POST", "auth/jwt/role/ci/explain", `{"jwt":7}`)
	w.must(413, "root", "POST", "auth/jwt/role/ci/explain", `{"jwt":"`+strings.Repeat("x", server.MaxBody)+`"}`)
	w.must(405, "root", "GET", "auth/jwt/role/ci/explain", "")
	w.must(405, "root", "DELETE", "auth/jwt/role/ci/explain", "")
	if s := w.must(200, "root", "PUT", "auth/jwt/role/ci/explain", string(good)); !strings.Contains(s.raw, "unrecognized parameters: [role]") {
		t.Errorf("%s", s.raw)
	}
	if s := w.must(200, "root", "POST", "auth/jwt/role/ci/explain", string(good), "X-Vault-Wrap-TTL: 60"); s.body["data"] != nil || s.body["wrap_info"] == nil {
		t.Errorf("wrapped: %s", s.raw)
	} else {
		text := s.body["wrap_info"].(map[string]any)["token"].(string)
		if in := w.must(200, "", "POST", "sys/wrapping/unwrap", `{"token":"`+text+`"}`); in.data()["allowed"] != true {
			t.Errorf("unwrapped: %s", in.raw)
		}
	}
	// What a role is warned of when it is written.
	w.must(200, "root", "POST", "auth/jwt/role/wide", fmt.Sprintf(`{"bound_audiences":%q,"user_claim":"sub"}`, oidctest.Audience))
	if e := w.explain("wide", w.issuer.Sign(w.good()), ""); !e.Allowed || !strings.Contains(e.warnings, "everybody whom the issuer gives tokens") {
		t.Errorf("%+v", e)
	}
	// An issuer that cannot be asked is a check too: who asks wants to know.
	w.issuer.SetJWKS(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) })
	w.now = w.now.Add(25 * time.Hour)
	e := w.explain("ci", w.issuer.Sign(w.good()), "")
	if failed, reason := e.failed(); fmt.Sprint(failed) != "[key]" || !strings.HasPrefix(reason, "keys unavailable: ") {
		t.Errorf("%+v", e)
	}
	// A mount that is not configured.
	w.must(204, "root", "POST", "sys/auth/new", `{"type":"jwt"}`)
	w.must(400, "root", "POST", "auth/new/role/ci/explain", string(good))
}

// An entry says who asked, about which role, and as much of the token as that of a sign-in.
func TestExplainRecorded(t *testing.T) {
	w := newSignInWorld(t)
	jwt := w.issuer.Sign(w.good())
	w.explain("ci", jwt, "")
	w.token("ci", nil)
	all := w.log.all()
	in := all[len(all)-1].Response.Data
	for i, e := range all[len(all)-4 : len(all)-2] {
		if e.Request.Path != "auth/jwt/role/ci/explain" || e.Request.Operation != "update" || e.Request.Data.Role != "ci" || e.Auth.DisplayName == "" || e.Auth.Accessor.IsZero() {
			t.Errorf("%+v", e)
		}
		if i == 1 && (e.Status != 200 || e.Error != "" || e.Response.Auth != nil || e.Response.Data.Subject != in.Subject || e.Response.Data.TokenID.IsZero() || e.Response.Data.KeyID != in.KeyID || e.Response.Data.Issuer != w.issuer.URL) {
			t.Errorf("%+v", e.Response)
		}
	}
	w.explain("ci", jwt[:len(jwt)-4]+"AAAA", "") // whose words are nobody's
	all = w.log.all()
	if out := all[len(all)-1]; out.Response.Data != nil || out.Request.Data.Role != "ci" {
		t.Errorf("%+v", out)
	}
	w.explain("ci", w.issuer.Sign(w.good().With(oidctest.Claims{"iss": "https://evil.test"})), "")
	w.token("ci", oidctest.Claims{"sub": "bob"})
	if log := w.log.text(); strings.Contains(log, "eyJ") || strings.Contains(log, "evil") || strings.Count(log, "alice") != 1 { // the sign-in
		t.Error("the audit log holds the token")
	}
}

// Who may explain a role is who has a policy of exactly that path. To all others it is
// as if there were no role, and their tokens are not even looked at.
func TestExplainPolicies(t *testing.T) {
	w := newSignInWorld(t)
	w.now = w.now.Add(time.Hour) // the issuer would be asked for its keys
	body, _ := json.Marshal(map[string]string{"jwt": oidctest.SignKey("ES256", oidctest.PrivateKey(oidctest.P256), "another", w.good().JSON(), nil)})
	fetched := w.issuer.Fetches.Load()
	standard := w.must(200, "root", "POST", "auth/token/create-orphan", `{"policies":["default"]}`).token()
	refused := func(token, what string) {
		t.Helper()
		there, not := w.ask(token, "POST", "auth/jwt/role/ci/explain", string(body)), w.ask(token, "POST", "auth/jwt/role/nobody/explain", string(body))
		none := w.ask(token, "POST", "auth/nowhere/role/ci/explain", string(body))
		if there.status != 403 || there.raw != not.raw || there.raw != none.raw || not.status != 403 || none.status != 403 {
			t.Errorf("%s: %d %s; %d %s; %d %s", what, there.status, there.raw, not.status, not.raw, none.status, none.raw)
		}
	}
	refused("", "no token")
	refused("evr_s_nothing", "no good token")
	refused(standard, "the policy default")
	for _, text := range []string{
		`path "auth/jwt/role/+" { capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"] }`,
		`path "auth/jwt/role/ci" { capabilities = ["create", "read", "update", "delete"] } path "auth/jwt/role/nobody" { capabilities = ["create", "read", "update", "delete"] }`,
		`path "auth/jwt/role/*" { capabilities = ["read", "list"] }`,
		`path "auth/jwt/role/*" { capabilities = ["create", "read", "list", "delete", "patch"] }`,
		`path "auth/jwt/role/*" { capabilities = ["update"] } path "auth/jwt/role/+/explain" { capabilities = ["deny"] }`,
		`path "auth/jwt/login" { capabilities = ["update"] } path "auth/jwt/role" { capabilities = ["list"] }`,
	} {
		refused(w.world.token(text), text)
	}
	if n := w.issuer.Fetches.Load() - fetched; n != 0 {
		t.Errorf("the issuer was asked %d times for who may not", n)
	}
	for _, text := range []string{
		`path "auth/jwt/role/ci/explain" { capabilities = ["update"] }`,
		`path "auth/jwt/role/+/explain" { capabilities = ["update"] }`,
		`path "auth/jwt/role/*" { capabilities = ["update"] }`, // who may write every role
	} {
		token := w.world.token(text)
		w.must(200, token, "POST", "auth/jwt/role/ci/explain", string(body))
		if strings.Contains(text, "explain") {
			w.must(403, token, "GET", "auth/jwt/role/ci", "")
			w.must(403, token, "POST", "auth/jwt/role/ci", `{}`)
			w.must(403, token, "POST", "auth/jwt/role/ci/explain/more", string(body))
		}
	}
	// A token with a number of uses pays one, and is asked of as any other.
	counted := w.must(200, "root", "POST", "auth/token/create-orphan", `{"policies":["one"],"num_uses":2}`).token()
	w.must(200, counted, "POST", "auth/jwt/role/ci/explain", string(body))
	w.must(404, counted, "POST", "auth/jwt/role/nobody/explain", string(body))
	w.must(403, counted, "POST", "auth/jwt/role/ci/explain", string(body))
}

// Explaining is no way round what an issuer is spared.
func TestExplainStorm(t *testing.T) {
	w := newSignInWorld(t)
	w.now = w.now.Add(time.Minute)
	before := w.issuer.Fetches.Load()
	for n := range 100 {
		jwt := oidctest.SignKey("ES256", oidctest.PrivateKey(oidctest.P256), fmt.Sprint("unknown-", n), w.good().JSON(), nil)
		if e := w.explain("ci", jwt, ""); e.Allowed {
			t.Fatal("allowed")
		}
		w.login("ci", jwt)
	}
	if n := w.issuer.Fetches.Load() - before; n > 1 {
		t.Errorf("%d fetches within 30 s", n)
	}
}
