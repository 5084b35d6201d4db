package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"envrun/auth/oidc/oidctest"
	"envrun/vault/sqlite"
	"envrun/vault/wire"
)

// signInWorld has a jwt mount for an issuer of its own, with the role "ci".
type signInWorld struct {
	*world
	issuer *oidctest.Issuer
}

func newSignInWorld(t testing.TB) *signInWorld { return signIns(t, newWorld(t)) }

// signIns makes the mount at a server.
func signIns(t testing.TB, at *world) *signInWorld {
	w := &signInWorld{at, oidctest.New(t)}
	w.must(204, "root", "PUT", "sys/policies/acl/dev", `{"policy":"path \"secret/data/*\" { capabilities = [\"read\"] }"}`)
	w.must(204, "root", "POST", "sys/auth/jwt", `{"type":"jwt"}`)
	w.config("")
	w.role("ci", "")
	return w
}

// config writes the configuration of the mount, with more members of JSON.
func (w *signInWorld) config(more string) {
	w.Helper()
	w.must(204, "root", "POST", "auth/jwt/config", fmt.Sprintf(`{"oidc_discovery_url":%q,"default_role":"ci","allow_private_issuer":true%s}`, w.issuer.URL, more))
}

// role writes oidctest.Role under a name, with more members of JSON.
func (w *signInWorld) role(name, more string) {
	w.Helper()
	w.must(204, "root", "POST", "auth/jwt/role/"+name, fmt.Sprintf(`{"bound_audiences":%q,"user_claim":"sub","groups_claim":"groups",
		"bound_claims":{"project_id":74,"ref_protected":"true"},"token_policies":"dev","token_ttl":"10m","token_max_ttl":"20m"%s}`, oidctest.Audience, more))
}

func (w *signInWorld) good() oidctest.Claims {
	return w.issuer.Good(oidctest.Audience, w.now).With(oidctest.Bound())
}

func (w *signInWorld) login(role, jwt string) said {
	body, _ := json.Marshal(map[string]string{"role": role, "jwt": jwt})
	return w.ask("", "POST", "auth/jwt/login", string(body))
}

// token signs in with what is good, and returns the token.
func (w *signInWorld) token(role string, change oidctest.Claims) string {
	w.Helper()
	s := w.login(role, w.issuer.Sign(w.good().With(change)))
	if s.status != 200 {
		w.Fatalf("signing in as %s: %d %s", role, s.status, s.raw)
	}
	return s.token()
}

func (s said) token() string {
	var a struct {
		Auth struct {
			Token string `json:"client_token"`
		}
	}
	_ = json.Unmarshal([]byte(s.raw), &a)
	return a.Auth.Token
}

// accessors is how many tokens there are.
func (w *signInWorld) accessors() int {
	list, _ := w.must(200, "root", "LIST", "auth/token/accessors", "").data()["keys"].([]any)
	return len(list)
}

// What a token may do is what its role says, for as long as it says.
func TestSignIn(t *testing.T) {
	w := newSignInWorld(t)
	w.role("mapped", `,"claim_mappings":{"/org/name":"org"},"token_no_default_policy":true,"token_num_uses":3`)
	s := w.login("MAPPED", w.issuer.Sign(w.good().With(oidctest.Claims{"org": map[string]any{"name": "acme"}})))
	var a struct {
		Auth struct {
			Policies  []string          `json:"policies"`
			Meta      map[string]string `json:"metadata"`
			TTL       int               `json:"lease_duration"`
			Renewable bool              `json:"renewable"`
			Orphan    bool              `json:"orphan"`
			Uses      int               `json:"num_uses"`
		}
	}
	if err := json.Unmarshal([]byte(s.raw), &a); err != nil || s.status != 200 {
		t.Fatal(s.status, s.raw)
	}
	if got := a.Auth; !slices.Equal(got.Policies, []string{"dev"}) || got.Meta["role"] != "mapped" || got.Meta["org"] != "acme" || got.TTL != 600 || !got.Renewable || !got.Orphan || got.Uses != 3 {
		t.Errorf("%+v", got)
	}
	token := w.token("", nil)
	info := w.must(200, token, "GET", "auth/token/lookup-self", "").data()
	if info["display_name"] != "jwt-alice" || info["path"] != "auth/jwt/login" || info["meta"].(map[string]any)["role"] != "ci" || fmt.Sprint(info["policies"]) != "[default dev]" {
		t.Errorf("%v", info)
	}
	w.must(404, token, "GET", "secret/data/x", "")
	w.must(403, token, "PUT", "sys/policies/acl/dev", `{"policy":"x"}`)

	// Renewing: up to the role's maximum, and only while the role is what it was.
	w.must(200, token, "POST", "auth/token/renew-self", "")
	w.now = w.now.Add(9 * time.Minute)
	w.must(200, token, "POST", "auth/token/renew-self", `{"increment":"1h"}`)
	if left := w.must(200, token, "GET", "auth/token/lookup-self", "").data()["ttl"].(json.Number).String(); left != "660" {
		t.Errorf("%s s left of 20 minutes after 9", left)
	}
}

// What a token was given for is looked at again when it is renewed.
func renewedAfterChange(t *testing.T) {
	for name, change := range map[string]func(w *signInWorld){
		"role removed":   func(w *signInWorld) { w.must(204, "root", "DELETE", "auth/jwt/role/ci", "") },
		"role changed":   func(w *signInWorld) { w.role("ci", `,"token_num_uses":100`) },
		"issuer changed": func(w *signInWorld) { w.config(`,"jwks_max_stale":"1h"`) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newSignInWorld(t)
			token := w.token("ci", nil)
			other := w.must(200, token, "GET", "auth/token/lookup-self", "").data()["accessor"].(string)
			w.must(200, token, "POST", "auth/token/renew-self", "")
			change(w)
			w.must(200, token, "GET", "auth/token/lookup-self", "")
			for _, s := range []said{
				w.ask(token, "POST", "auth/token/renew-self", ""),
				w.ask("root", "POST", "auth/token/renew", `{"token":"`+token+`"}`),
				w.ask("root", "POST", "auth/token/renew-accessor", `{"accessor":"`+other+`"}`),
			} {
				if s.status != 403 || !strings.Contains(s.raw, "sign in again") {
					t.Errorf("renewing: %d %s", s.status, s.raw)
				}
			}
		})
	}
}

// Taking a way to sign in away takes what was signed in with it, at once.
func TestDisable(t *testing.T) {
	w := newSignInWorld(t)
	token := w.token("ci", nil)
	w.must(204, "root", "PUT", "sys/policies/acl/dev", `{"policy":"path \"auth/token/create\" { capabilities = [\"update\"] }"}`)
	child := w.must(200, token, "POST", "auth/token/create", `{"policies":["dev"]}`).token()
	w.must(200, child, "GET", "auth/token/lookup-self", "")
	w.must(204, "root", "DELETE", "sys/auth/jwt", "")
	for _, text := range []string{token, child} {
		w.must(403, text, "GET", "auth/token/lookup-self", "")
	}
	if s := w.login("ci", w.issuer.Sign(w.good())); s.status != 403 {
		t.Errorf("signing in where nothing is: %d %s", s.status, s.raw)
	}
	// A new mount of the same path has nothing of the old one.
	w.must(204, "root", "POST", "sys/auth/jwt", `{"type":"jwt"}`)
	w.must(404, "root", "GET", "auth/jwt/config", "")
	w.must(404, "root", "LIST", "auth/jwt/role", "")
}

// Of many who bring the same token, to two servers of one database, one is let in.
func replayed(t *testing.T) {
	db, err := sqlite.OpenMemory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a, b := opened(t, worldOn(t, db), worldOn(t, db))
	w := signIns(t, a)
	at := []*signInWorld{w, {b, w.issuer}}
	w.role("once", `,"single_use":true`)
	for _, change := range []oidctest.Claims{nil, {"jti": nil}} {
		jwt := w.issuer.Sign(w.good().With(change))
		var in atomic.Int64
		var wg sync.WaitGroup
		for n := range 50 {
			wg.Go(func() {
				switch s := at[n%2].login("once", jwt); {
				case s.status == 200:
					in.Add(1)
				case s.status != 400 || !strings.Contains(s.raw, "used before"):
					t.Errorf("%d %s", s.status, s.raw)
				}
			})
		}
		wg.Wait()
		if in.Load() != 1 {
			t.Errorf("%d were let in", in.Load())
		}
	}
	w.token("once", nil)
	again := w.issuer.Sign(w.good())
	for range 2 {
		if s := w.login("ci", again); s.status != 200 {
			t.Errorf("a role that takes a token more than once: %d %s", s.status, s.raw)
		}
	}
}

// Roles that are not there, and odd names, are as a claim that does not match.
func rolesCannotBeToldApart(t *testing.T) {
	w := newSignInWorld(t)
	wrong := w.login("ci", w.issuer.Sign(w.good().With(oidctest.Claims{"project_id": 75})))
	for _, name := range []string{"nobody", "ci/../ci", "ci%2f", "CI\u200b", "роль", strings.Repeat("r", 4000), "ci\x00"} {
		s := w.login(name, w.issuer.Sign(w.good()))
		if s.status != wrong.status || s.raw != wrong.raw {
			t.Errorf("role %.20q: %d %s; for a wrong claim %d %s", name, s.status, s.raw, wrong.status, wrong.raw)
		}
	}
}

// A token of the issuer of another mount, and paths that lead to another one.
func anotherMount(t *testing.T) {
	w := newSignInWorld(t)
	other := oidctest.New(t)
	w.must(204, "root", "POST", "sys/auth/other", `{"type":"jwt"}`)
	w.must(204, "root", "POST", "auth/other/config", fmt.Sprintf(`{"oidc_discovery_url":%q,"allow_private_issuer":true}`, other.URL))
	w.must(204, "root", "POST", "auth/other/role/ci", fmt.Sprintf(`{"bound_audiences":%q,"user_claim":"sub","bound_subject":"alice","token_policies":"dev"}`, oidctest.Audience))
	body, _ := json.Marshal(map[string]string{"role": "ci", "jwt": other.Sign(other.Good(oidctest.Audience, w.now).With(oidctest.Bound()))})
	w.must(200, "", "POST", "auth/other/login", string(body))
	w.must(400, "", "POST", "auth/jwt/login", string(body))
	w.must(400, "", "POST", "auth/jwt/../other/login", string(body))
	w.must(403, "", "POST", "auth/nothing/login", string(body))
	for _, path := range []string{"auth/jwt/%2e%2e/other/login", "auth/jwt%2f..%2fother/login", "auth/jwt/..%2fother/login", "auth//other/login", "auth/OTHER/login", "auth/other%00/login"} {
		if s := w.send("", "POST", path, "", string(body)); s.status < 300 || s.token() != "" {
			t.Errorf("%s: %d %s", path, s.status, s.raw)
		}
	}
}

// Configurations and roles that are refused, and what is read back of good ones.
func TestJWTConfig(t *testing.T) {
	w := newSignInWorld(t)
	u := w.issuer.URL
	for body, want := range map[string]string{
		`{}`: "exactly one of",
		`{"oidc_discovery_url":"` + u + `","jwks_url":"` + u + `/keys"}`:                                      "exactly one of",
		`{"oidc_discovery_url":"` + u + `"}`:                                                                  "not https",
		`{"oidc_discovery_url":"` + u + `/","allow_private_issuer":true}`:                                     "another issuer",
		`{"oidc_discovery_url":"http://127.0.0.1:1","allow_private_issuer":true}`:                             "error checking oidc discovery URL",
		`{"oidc_discovery_url":"` + u + `","bound_issuer":"x","allow_private_issuer":true}`:                   "byte for byte",
		`{"jwks_url":"` + u + `/keys","allow_private_issuer":true}`:                                           "bound_issuer",
		`{"jwks_url":"` + u + `/nothing","bound_issuer":"x","allow_private_issuer":true}`:                     "answers 404",
		`{"jwt_validation_pubkeys":"x","bound_issuer":"x"}`:                                                   "public key",
		`{"oidc_discovery_url":"` + u + `","allow_private_issuer":true,"jwt_supported_algs":"HS256"}`:         "unsupported signing algorithm",
		`{"oidc_discovery_url":"` + u + `","allow_private_issuer":true,"oidc_client_secret":"hunter2"}`:       "public client",
		`{"oidc_discovery_url":"` + u + `","allow_private_issuer":true,"oidc_discovery_ca_pem":"-----BEGIN"}`: "no certificate",
	} {
		s := w.must(400, "root", "POST", "auth/jwt/config", body)
		if !strings.Contains(s.raw, want) || strings.Contains(s.raw, "hunter2") {
			t.Errorf("%s: %s, want %q", body, s.raw, want)
		}
	}
	conf := w.must(200, "root", "GET", "auth/jwt/config", "").data()
	if conf["oidc_discovery_url"] != u || conf["default_role"] != "ci" || fmt.Sprint(conf["jwks_pairs"]) != "[]" {
		t.Errorf("%v", conf)
	}
	for body, want := range map[string]string{
		`{"user_claim":"sub","bound_subject":"x"}`:                                                             "no audience",
		`{"bound_audiences":"x","bound_subject":"x"}`:                                                          "user claim",
		`{"bound_audiences":"x","user_claim":"sub","token_policies":"Root "}`:                                  "nobody signs in",
		`{"bound_audiences":"x","user_claim":"sub","token_type":"batch"}`:                                      "batch",
		`{"bound_audiences":"x","user_claim":"sub","role_type":"oidc"}`:                                        "role_type",
		`{"bound_audiences":"x","user_claim":"sub","bound_claims":{"a":[]}}`:                                   "no value",
		`{"bound_audiences":"x","user_claim":"sub","bound_claims":{"a":1.5}}`:                                  "not whole",
		`{"bound_audiences":"x","user_claim":"sub","bound_claims":[]}`:                                         "not a map",
		`{"bound_audiences":"x","user_claim":"sub","bound_claims":{"r":"*","i":1},"bound_claims_type":"glob"}`: "begins with anything",
		`{"bound_audiences":"x","user_claim":"sub","token_ttl":"2h","token_max_ttl":"1h"}`:                     "token_max_ttl",
		`{"bound_audiences":"x","user_claim":"sub","token_bound_cidrs":"x"}`:                                   "network",
	} {
		if s := w.must(400, "root", "POST", "auth/jwt/role/bad", body); !strings.Contains(s.raw, want) {
			t.Errorf("%s: %s, want %q", body, s.raw, want)
		}
	}
	w.must(404, "root", "GET", "auth/jwt/role/bad", "")
	if s := w.must(200, "root", "POST", "auth/jwt/role/wide", `{"bound_audiences":"x","user_claim":"sub"}`); !strings.Contains(s.raw, "everybody") {
		t.Errorf("no warning: %s", s.raw)
	}
	// Digits are kept, and nothing of an earlier role is left.
	w.must(204, "root", "POST", "auth/jwt/role/digits", `{"bound_audiences":"x","user_claim":"sub","bound_subject":"old","token_period":"1h"}`)
	w.must(204, "root", "POST", "auth/jwt/role/digits", `{"bound_audiences":"x","user_claim":"sub","bound_claims":{"id":9007199254740993,"ok":true,"ref":["a","b"]},"token_policies":["B","a"]}`)
	r := w.must(200, "root", "GET", "auth/jwt/role/digits", "")
	if !strings.Contains(r.raw, `"id":9007199254740993`) || !strings.Contains(r.raw, `"ref":["a","b"]`) || !strings.Contains(r.raw, `"ok":true`) || !strings.Contains(r.raw, `"token_policies":["a","b"]`) || !strings.Contains(r.raw, `"bound_subject":""`) || !strings.Contains(r.raw, `"token_period":0`) {
		t.Errorf("%s", r.raw)
	}
	if keys := w.must(200, "root", "LIST", "auth/jwt/role", "").data()["keys"]; fmt.Sprint(keys) != "[ci digits wide]" {
		t.Errorf("%v", keys)
	}
	w.must(204, "root", "DELETE", "auth/jwt/role/DIGITS", "")
	w.must(404, "root", "GET", "auth/jwt/role/digits", "")
	w.must(400, "root", "POST", "sys/auth/jwt", `{"type":"jwt"}`)
	w.must(400, "root", "POST", "sys/auth/jwt/below", `{"type":"jwt"}`)
	w.must(400, "root", "POST", "sys/auth/a+b", `{"type":"jwt"}`)
	w.must(400, "root", "POST", "sys/auth/ldap", `{"type":"ldap"}`)
}

// Static keys, a key set of one's own, and a set that is fetched on demand.
func TestJWTSources(t *testing.T) {
	w := newSignInWorld(t)
	w.must(204, "root", "POST", "auth/jwt/config", fmt.Sprintf(`{"jwks_url":"%[1]s/keys","bound_issuer":%[1]q,"default_role":"ci","allow_private_issuer":true}`, w.issuer.URL))
	w.token("ci", nil)
	if s := w.must(200, "root", "GET", "auth/jwt/keys", "").data(); !strings.Contains(fmt.Sprint(s["key_ids"]), oidctest.P256) {
		t.Errorf("%v", s)
	}
	w.issuer.Publish(oidctest.Ed)
	w.must(204, "root", "POST", "auth/jwt/keys/refresh", "")
	if s := w.login("ci", w.issuer.Sign(w.good())); s.status != 400 {
		t.Errorf("a withdrawn key: %d", s.status)
	}
	w.issuer.SetJWKS(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) })
	w.must(400, "root", "POST", "auth/jwt/keys/refresh", "")
	w.now = w.now.Add(25 * time.Hour)
	s := w.login("ci", w.issuer.Sign(w.good()))
	if s.status != 503 || !strings.Contains(s.raw, "try again") {
		t.Errorf("the keys cannot be had: %d %s", s.status, s.raw)
	}
}

// Step-up: who would be let in but for how and when they signed in is told what
// to bring (RFC 9470). To everybody else the role is as one that is not there.
func steppedUp(t *testing.T) {
	w := newSignInWorld(t)
	w.role("prod", `,"max_age":"15m","acr_values":["mfa","phr"]`)
	fresh := oidctest.Claims{"auth_time": w.now.Unix() - 60, "acr": "mfa"}
	w.token("prod", fresh)
	for name, change := range map[string]oidctest.Claims{
		"an hour ago":              {"auth_time": w.now.Unix() - 3600},
		"just too long ago":        {"auth_time": w.now.Unix() - 15*60 - 62},
		"nobody says when":         {"auth_time": nil},
		"a text says when":         {"auth_time": fmt.Sprint(w.now.Unix() - 60)},
		"later than now":           {"auth_time": w.now.Unix() + 120},
		"another acr":              {"acr": "pwd"},
		"no acr":                   {"acr": nil},
		"acr is a list":            {"acr": []any{"mfa"}},
		"of a refresh token":       {"auth_time": w.now.Unix() - 8*3600, "iat": w.now.Unix()},
		"acr in other letter case": {"acr": "MFA"},
	} {
		before := w.accessors()
		s := w.login("prod", w.issuer.Sign(w.good().With(fresh).With(change)))
		all := w.log.all()
		asks := s.header.Get("WWW-Authenticate")
		if s.status != 401 || !strings.HasPrefix(asks, `Bearer error="insufficient_user_authentication", error_description="`) || !strings.HasSuffix(asks, `", max_age="900", acr_values="mfa phr"`) {
			t.Errorf("%s: %d %s, %s", name, s.status, s.raw, asks)
		}
		if errs, _ := s.body["errors"].([]any); len(errs) != 1 || !strings.HasPrefix(fmt.Sprint(errs[0]), "permission denied: ") {
			t.Errorf("%s: %s", name, s.raw)
		}
		if out := all[len(all)-1]; out.Status != 401 || !strings.HasPrefix(out.Error, "permission denied: freshness: ") {
			t.Errorf("%s: the audit log says %q, %d", name, out.Error, out.Status)
		}
		if w.accessors() != before {
			t.Errorf("%s: a token was made", name)
		}
	}
	// What is wrong in anything else is told nothing: not that there is such a role,
	// nor what it wants.
	old := oidctest.Claims{"auth_time": w.now.Unix() - 3600}
	nobody := w.login("nobody", w.issuer.Sign(w.good().With(old)))
	for name, jwt := range map[string]string{
		"a claim":           w.issuer.Sign(w.good().With(old).With(oidctest.Claims{"project_id": 75})),
		"the audience":      w.issuer.Sign(w.good().With(old).With(oidctest.Claims{"aud": "another"})),
		"the party":         w.issuer.Sign(w.good().With(old).With(oidctest.Claims{"azp": "another"})),
		"too old":           w.issuer.Sign(w.good().With(old).With(oidctest.Claims{"iat": w.now.Unix() - 2*3600})),
		"expired":           w.issuer.Sign(w.good().With(old).With(oidctest.Claims{"exp": w.now.Unix() - 3600})),
		"the issuer":        w.issuer.Sign(w.good().With(old).With(oidctest.Claims{"iss": "https://evil.test"})),
		"the signature":     w.issuer.Sign(w.good().With(old)) + "AAAA",
		"of another issuer": oidctest.New(t).Sign(w.good().With(old)) + "AAAA",
	} {
		s := w.login("prod", jwt)
		if s.status != nobody.status || s.raw != nobody.raw || s.header.Get("WWW-Authenticate") != "" {
			t.Errorf("%s is wrong: %d %s %v", name, s.status, s.raw, s.header)
		}
	}
	// A means alone cannot be asked for by name.
	w.role("key", `,"amr_values":["hwk"]`)
	if s := w.login("key", w.issuer.Sign(w.good())); s.status != 401 || strings.Contains(s.header.Get("WWW-Authenticate"), "max_age") {
		t.Errorf("amr: %d %v", s.status, s.header)
	}
	w.token("key", oidctest.Claims{"amr": []any{"pwd", "hwk"}})
	w.must(400, "root", "POST", "auth/jwt/role/bad", `{"bound_audiences":"x","user_claim":"sub","acr_values":["a\"b"]}`)
}

// How people sign in, for anybody: no more than was listed, and as it is now.
func TestHowToSignIn(t *testing.T) {
	w := newSignInWorld(t)
	read := func() wire.SignIns {
		t.Helper()
		s := w.must(200, "", "GET", "sys/sign-in", "")
		if got := s.header.Get("Cache-Control"); got != "max-age=60" {
			t.Errorf("Cache-Control: %s", got)
		}
		var a wire.Answer[wire.SignIns]
		if err := json.Unmarshal([]byte(s.raw), &a); err != nil || a.Data == nil {
			t.Fatal(err, s.raw)
		}
		return *a.Data
	}
	if got := read(); got.Methods == nil || len(got.Methods) != 0 {
		t.Errorf("a way for machines alone: %+v", got)
	}
	w.config(`,"oidc_client_id":"envrun","oidc_scopes":"openid,email,groups","sign_in_flows":["browser"]`)
	w.must(204, "root", "POST", "sys/auth/jwt/tune", `{"description":"people of ACME"}`)
	want := wire.SignIns{Methods: []wire.SignInMethod{{
		Mount: "jwt", Type: "jwt", Description: "people of ACME", Issuer: w.issuer.URL, ClientID: "envrun", Scopes: []string{"email", "groups"}, Flows: []string{"browser"}, Roles: []wire.SignInRole{},
	}}}
	check := func(what string) {
		t.Helper()
		if got := read(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	check("no role is listed")
	w.role("prod", `,"listed":true,"description":"production, for an hour","max_age":"15m","acr_values":"mfa"`)
	want.Methods[0].Roles = []wire.SignInRole{{Name: "prod", Description: "production, for an hour", MaxAge: wire.Duration(15 * time.Minute), ACR: []string{"mfa"}}}
	check("one is")
	w.role("ci", `,"listed":true`)
	want.Methods[0].DefaultRole = "ci"
	want.Methods[0].Roles = slices.Insert(want.Methods[0].Roles, 0, wire.SignInRole{Name: "ci", ACR: []string{}})
	check("the default one too")
	w.must(204, "root", "DELETE", "auth/jwt/role/prod", "")
	want.Methods[0].Roles = want.Methods[0].Roles[:1]
	check("one was removed")
	w.config(`,"oidc_client_id":"envrun"`)
	want.Methods[0].Scopes, want.Methods[0].Flows = []string{}, []string{"browser", "device"}
	check("what was not said")
	conf := w.must(200, "root", "GET", "auth/jwt/config", "").data()
	if fmt.Sprint(conf["oidc_scopes"], conf["sign_in_flows"]) != "[] [browser device]" {
		t.Errorf("%v", conf)
	}
	if r := w.must(200, "root", "GET", "auth/jwt/role/ci", "").data(); r["listed"] != true || r["description"] != "" {
		t.Errorf("%v", r)
	}
	for _, more := range []string{`"oidc_client_id":"a\u001bb"`, `"sign_in_flows":"paste"`, `"sign_in_flows":"browser,browser"`, `"oidc_scopes":["a b"]`, `"oidc_scopes":["a\"b"]`} {
		w.must(400, "root", "POST", "auth/jwt/config", fmt.Sprintf(`{"oidc_discovery_url":%q,"allow_private_issuer":true,%s}`, w.issuer.URL, more))
	}
	w.must(400, "root", "POST", "auth/jwt/role/bad", `{"bound_audiences":"x","user_claim":"sub","description":"a\nb"}`)
	for body, warned := range map[string]bool{`"clock_skew_leeway":0`: false, `"clock_skew_leeway":"2m"`: true, `"expiration_leeway":-1`: true} {
		a := w.ask("root", "POST", "auth/jwt/role/slow", `{"bound_audiences":"x","user_claim":"sub","bound_subject":"y",`+body+`}`)
		if got := strings.Contains(a.raw, "clocks may be 1m0s apart, for every role"); got != warned {
			t.Errorf("%s: %s", body, a.raw)
		}
	}
	// It is decided by the guard as everything: recorded, and nothing but read.
	before := len(w.log.all())
	read()
	if n := len(w.log.all()) - before; n != 2 {
		t.Errorf("%d entries", n)
	}
	w.must(405, "root", "POST", "sys/sign-in", `{}`)
	w.must(405, "", "HEAD", "sys/sign-in", "")
	w.must(204, "root", "DELETE", "sys/auth/jwt", "")
	if got := read(); len(got.Methods) != 0 {
		t.Errorf("nothing is mounted: %+v", got)
	}
	w.must(204, "root", "PUT", "sys/seal", "")
	w.must(503, "", "GET", "sys/sign-in", "")
}
