package server_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"envrun/auth/oidc"
	"envrun/auth/oidc/oidctest"
)

// The attacks of study auth §4.7, A01 to A48, each under its id and against the
// endpoint as it is asked over HTTP. Those of oidctest.OnClient are made on whoever
// signs in: TestAttacksOnWhoSignsIn of cmd/envrun has their lines.
func TestAttacks(t *testing.T) {
	tokens := map[string][]oidctest.Attack{}
	for _, a := range oidctest.Attacks() {
		tokens[a.ID] = append(tokens[a.ID], a)
	}
	more := map[string]struct {
		name string
		test func(*testing.T)
	}{
		"A10": {"a role without an audience is not written", noAudience},
		"A17": {"a token of the issuer of another mount is refused", anotherMount},
		"A22": {"unknown keys make one fetch", unknownKeys},
		"A23": {"bad signatures make no fetch", badSignatures},
		"A24": {"a withdrawn key is refused within the hour, and at once after a refresh", withdrawnKey},
		"A25": {"an issuer that misbehaves ends no sign-in while its keys are good, and is not repeated", badIssuer},
		"A26": {"an issuer inside is not asked", issuerInside},
		"A27": {"discovery that lies is refused", lyingDiscovery},
		"A28": {"what is huge is refused with 413 or 400", huge},
		"A36": {"of 50 with one token, at two servers, one is let in", replayed},
		"A37": {"a role that is not there is as a claim that does not match", rolesCannotBeToldApart},
		"A38": {"odd names of roles are as no role, and no path leads to another mount", func(t *testing.T) { rolesCannotBeToldApart(t); anotherMount(t) }},
		"A39": {"jobs of GitHub that the role does not mean are refused", func(t *testing.T) { takesJobsOf(t, "github") }},
		"A40": {"pods that the role does not mean are refused, by the cluster's keys and by asking it", func(t *testing.T) { takesJobsOf(t, "kubernetes"); TestKubernetes(t) }},
		"A41": {"an e-mail address makes nobody somebody else", sameAddress},
		"A42": {"who signed in too long ago or too weakly is challenged", steppedUp},
		"A43": {"nothing is renewed after its role changed, its entity was disabled or its longest time is over", func(t *testing.T) { renewedAfterChange(t); TestEntityDisabled(t); renewedTooLong(t) }},
		"A44": {"a sign-in that fails leaves a record and nothing else", nothingLeft},
		"A48": {"clocks may differ by a minute", clocks},
	}
	for n := 1; n <= oidctest.LastAttack; n++ {
		id := fmt.Sprintf("A%02d", n)
		one, all := more[id], tokens[id]
		if one.test == nil && len(all) == 0 && !slices.Contains(oidctest.OnClient, id) {
			t.Errorf("%s is tried nowhere", id)
		}
		if len(all) > 0 {
			t.Run(fmt.Sprintf("%s %d tokens, each taken or refused as it says", id, len(all)), func(t *testing.T) { brought(t, all) })
		}
		if one.test != nil {
			t.Run(id+" "+one.name, one.test)
		}
	}
	t.Run("others", func(t *testing.T) { brought(t, tokens[""]) })
}

// brought signs in with each token: it is taken, or refused with one and the same
// answer, with the reason in the audit log, no token made, and nothing of the identity
// token written down anywhere.
func brought(t *testing.T, all []oidctest.Attack) {
	w := newSignInWorld(t)
	fetched := w.issuer.Fetches.Load()
	for _, a := range all {
		t.Run(a.Name, func(t *testing.T) {
			before, had := w.accessors(), len(w.log.all())
			jwt := a.Token(w.issuer, w.good(), w.now)
			began := time.Now()
			s := w.login("ci", jwt)
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
			entries := w.log.all()[had:]
			if len(entries) != 2 {
				t.Fatalf("%d audit entries", len(entries))
			}
			out := entries[1]
			if a.Reason == "" {
				if s.status != 200 || w.accessors() != before+1 || out.Status != 200 || out.Response.Data.Issuer != w.issuer.URL || out.Response.Data.Subject.IsZero() {
					t.Errorf("%d %s, %+v", s.status, s.raw, out)
				}
				return
			}
			want := `{"errors":["permission denied"]}`
			switch {
			case jwt == "":
				want = `{"errors":["missing token"]}`
			case a.Reason == oidc.ReasonGroups:
				want = "" // whoever holds it is entitled, and told what to do
			}
			if s.status != 400 || want != "" && strings.TrimSpace(s.raw) != want {
				t.Errorf("answered %d %s", s.status, s.raw)
			}
			if jwt != "" && !strings.Contains(out.Error, "permission denied: "+string(a.Reason)+": ") || out.Status != 400 {
				t.Errorf("the audit log says %q, %d; want %q", out.Error, out.Status, a.Reason)
			}
			if w.accessors() != before {
				t.Error("a token was made")
			}
		})
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

func noAudience(t *testing.T) {
	w := newSignInWorld(t)
	for _, body := range []string{`{"user_claim":"sub","bound_subject":"x"}`, `{"user_claim":"sub","bound_audiences":[],"bound_subject":"x"}`, `{"user_claim":"sub","bound_audiences":"","bound_subject":"x"}`} {
		w.must(400, "root", "POST", "auth/jwt/role/bad", body)
	}
	w.must(404, "root", "GET", "auth/jwt/role/bad", "")
}

// refused signs in with a token that is not taken.
func (w *signInWorld) refused(status int, jwt string) said {
	w.Helper()
	s := w.login("ci", jwt)
	if s.status != status {
		w.Errorf("%d %s, want %d", s.status, s.raw, status)
	}
	return s
}

func unknownKeys(t *testing.T) {
	w := newSignInWorld(t)
	w.now = w.now.Add(time.Minute) // the keys were fetched when config was written
	before := w.issuer.Fetches.Load()
	storm := 10_000
	if testing.Short() {
		storm = 300
	}
	for n := range storm {
		w.refused(400, oidctest.SignKey("ES256", oidctest.PrivateKey(oidctest.P256), fmt.Sprint("unknown-", n), w.good().JSON(), nil))
	}
	w.token("ci", nil)
	if n := w.issuer.Fetches.Load() - before; n > 1 {
		t.Errorf("%d fetches within 30 s", n)
	}
}

func badSignatures(t *testing.T) {
	w := newSignInWorld(t)
	w.now = w.now.Add(time.Minute)
	before := w.issuer.Fetches.Load()
	storm := 1000
	if testing.Short() {
		storm = 300
	}
	for range storm {
		jwt := w.issuer.Sign(w.good())
		w.refused(400, jwt[:len(jwt)-4]+"AAAA")
	}
	if n := w.issuer.Fetches.Load() - before; n != 0 {
		t.Errorf("%d fetches", n)
	}
}

func withdrawnKey(t *testing.T) {
	w := newSignInWorld(t)
	w.issuer.Publish(oidctest.Ed)
	w.token("ci", nil) // nobody knows yet
	w.must(204, "root", "POST", "auth/jwt/keys/refresh", "")
	w.refused(400, w.issuer.Sign(w.good()))
	w.issuer.Publish(oidctest.P256)
	w.must(204, "root", "POST", "auth/jwt/keys/refresh", "")
	w.token("ci", nil)
	w.issuer.Publish(oidctest.Ed)
	w.now = w.now.Add(time.Hour + time.Second)
	w.refused(400, w.issuer.Sign(w.good()))
}

func badIssuer(t *testing.T) {
	w := newSignInWorld(t)
	for name, h := range map[string]http.HandlerFunc{
		"sent on without TLS": func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "http://issuer.test/canary", http.StatusFound)
		},
		"a gigabyte in little": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(rw)
			defer z.Close()
			for range 1024 {
				if _, err := z.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		},
		"it never answers": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"500":              func(rw http.ResponseWriter, _ *http.Request) { http.Error(rw, "canary", 500) },
		"HTML":             func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "<html>canary</html>") },
		"sent on": func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "http://169.254.169.254/canary", http.StatusFound)
		},
		"sent on to itself": func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, "/canary", http.StatusFound) },
		"a gigabyte": func(rw http.ResponseWriter, _ *http.Request) {
			for range 1024 {
				if _, err := rw.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		},
		"it breaks off": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		if name == "it never answers" && testing.Short() {
			continue // it is waited for, three times
		}
		w.issuer.SetJWKS(nil)
		w.config("")
		w.issuer.SetJWKS(h)
		w.now = w.now.Add(2 * time.Hour)
		w.token("ci", nil) // with the keys of before
		w.now = w.now.Add(25 * time.Hour)
		if s := w.refused(503, w.issuer.Sign(w.good())); strings.Contains(s.raw, "canary") || !strings.Contains(s.raw, "try again") {
			t.Errorf("%s: %s", name, s.raw)
		}
		if s := w.must(400, "root", "POST", "auth/jwt/keys/refresh", ""); strings.Contains(s.raw, "html") {
			t.Errorf("%s: %s", name, s.raw)
		}
	}
	if w.issuer.Others.Load() != 0 {
		t.Error("a redirect was followed")
	}
	if strings.Contains(w.log.text(), "<html>") {
		t.Error("the audit log repeats the issuer")
	}
}

func issuerInside(t *testing.T) {
	w := newSignInWorld(t)
	port := w.issuer.URL[strings.LastIndexByte(w.issuer.URL, ':'):]
	asked := w.issuer.Discoveries.Load()
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1", "192.168.0.1", "169.254.169.254", "0.0.0.0"} {
		s := w.must(400, "root", "POST", "auth/jwt/config", fmt.Sprintf(`{"oidc_discovery_url":"https://%s%s"}`, host, port))
		if !strings.Contains(s.raw, "allow_private_issuer") {
			t.Errorf("%s: %s", host, s.raw)
		}
	}
	w.must(400, "root", "POST", "auth/jwt/config", `{"oidc_discovery_url":"https://169.254.169.254","allow_private_issuer":true}`)
	if w.issuer.Discoveries.Load() != asked {
		t.Error("it was asked")
	}
}

func lyingDiscovery(t *testing.T) {
	w := newSignInWorld(t)
	for name, doc := range map[string]string{
		"another issuer": `{"issuer":"https://evil.test","jwks_uri":"URL/keys"}`,
		"a slash more":   `{"issuer":"URL/","jwks_uri":"URL/keys"}`,
		"keys elsewhere": `{"issuer":"URL","jwks_uri":"https://evil.test/keys"}`,
		"keys in a file": `{"issuer":"URL","jwks_uri":"file:///etc/passwd"}`,
	} {
		w.issuer.SetDiscovery(func(rw http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(rw, strings.ReplaceAll(doc, "URL", w.issuer.URL))
		})
		s := w.ask("root", "POST", "auth/jwt/config", fmt.Sprintf(`{"oidc_discovery_url":%q,"allow_private_issuer":true}`, w.issuer.URL))
		if s.status != 400 {
			t.Errorf("%s: %d %s", name, s.status, s.raw)
		}
	}
	w.token("ci", nil) // the configuration is what it was
}

func huge(t *testing.T) {
	w := newSignInWorld(t)
	before := w.accessors()
	for size, want := range map[int64]int{17 << 10: 400, 1 << 20: 400, 100 << 20: 413} {
		body := io.MultiReader(strings.NewReader(`{"role":"ci","jwt":"`), io.LimitReader(letters{}, size), strings.NewReader(`"}`))
		res, err := http.Post(w.http.URL+"/v1/auth/jwt/login", "application/json", body)
		if err != nil {
			if want != http.StatusRequestEntityTooLarge { // it need not read to the end
				t.Errorf("%d bytes: %v", size, err)
			}
			continue
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%d bytes: %d %.200s, want %d", size, res.StatusCode, text, want)
		}
	}
	if w.accessors() != before {
		t.Error("a token was made")
	}
}

// letters are as many as one reads.
type letters struct{}

func (letters) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'a'
	}
	return len(b), nil
}

func nothingLeft(t *testing.T) {
	w := newSignInWorld(t)
	w.role("net", `,"token_bound_cidrs":"203.0.113.0/24","single_use":true`)
	w.role("fresh", `,"max_age":"1m"`)
	before, had := w.accessors(), len(w.log.all())
	jwt := w.issuer.Sign(w.good())
	asked := 0
	for _, role := range []string{"net", "fresh", "nobody"} {
		for _, text := range []string{jwt, jwt[:len(jwt)-4] + "AAAA", w.issuer.Sign(w.good().With(oidctest.Claims{"project_id": 75}))} {
			if s := w.login(role, text); s.status < 400 || s.token() != "" {
				t.Errorf("%s: %d %s", role, s.status, s.raw)
			}
			asked++
		}
	}
	if w.accessors() != before {
		t.Error("a token is there")
	}
	outs := 0
	for _, e := range w.log.all()[had:] {
		if e.Request.Path == "auth/jwt/login" && e.Status >= 400 {
			outs++
		}
	}
	if outs != asked {
		t.Errorf("%d outcomes of %d", outs, asked)
	}
	if log := w.log.text(); strings.Contains(log, "eyJ") || strings.Contains(log, jwt[len(jwt)-20:]) {
		t.Error("the audit log holds a token")
	}
	// What failed after it was looked at did not use the token up.
	w.role("net", `,"single_use":true`)
	if s := w.login("net", jwt); s.status != 200 {
		t.Errorf("%d %s", s.status, s.raw)
	}
}

// sameAddress: whoever has somebody's e-mail address at the issuer is not them, and
// one that nobody verified is nobody's.
func sameAddress(t *testing.T) {
	w := newSignInWorld(t)
	address := oidctest.Claims{"email": "alice@example.test", "email_verified": true, "tid": "tenant-1"}
	alice := w.entityOf(w.token("ci", address))
	for _, other := range []oidctest.Claims{{"sub": "mallory"}, {"sub": "mallory", "tid": "tenant-2"}, {"sub": "Alice"}} {
		if got := w.entityOf(w.token("ci", address.With(other))); got == alice {
			t.Errorf("%v is alice", other)
		}
	}
	if got := w.entityOf(w.token("ci", oidctest.Claims{"email": "new@example.test"})); got != alice {
		t.Error("alice with a new address is somebody else")
	}
	for name, more := range map[string]string{"by-address": "", "by-tenant": `,"bound_claims":{"tid":"tenant-1"}`} {
		if s := w.ask("root", "POST", "auth/jwt/role/"+name, fmt.Sprintf(`{"bound_audiences":%q,"user_claim":"email","token_policies":"dev"%s}`, oidctest.Audience, more)); s.status >= 300 {
			t.Fatalf("%d %s", s.status, s.raw)
		}
	}
	if s := w.login("by-tenant", w.issuer.Sign(w.good().With(address))); s.status != 200 {
		t.Errorf("alice: %d %s", s.status, s.raw)
	}
	before := w.accessors()
	for _, change := range []oidctest.Claims{{"email_verified": false}, {"email_verified": "true"}, {"email_verified": 1}, {"email": nil}, {"email": []string{"alice@example.test"}}} {
		for _, role := range []string{"by-address", "by-tenant"} {
			if s := w.login(role, w.issuer.Sign(w.good().With(address).With(change))); s.status != 400 {
				t.Errorf("%s, %v: %d %s", role, change, s.status, s.raw)
			}
		}
	}
	if s := w.login("by-tenant", w.issuer.Sign(w.good().With(address).With(oidctest.Claims{"tid": "tenant-2"}))); s.status != 400 {
		t.Errorf("another tenant: %d %s", s.status, s.raw)
	}
	if w.accessors() != before {
		t.Error("a token was made")
	}
}

// renewedTooLong: renewing does not go past the longest time of the role.
func renewedTooLong(t *testing.T) {
	w := newSignInWorld(t)
	token := w.token("ci", nil)
	for range 2 {
		w.now = w.now.Add(9 * time.Minute)
		w.must(200, token, "POST", "auth/token/renew-self", `{"increment":"24h"}`)
	}
	w.now = w.now.Add(2*time.Minute + time.Second)
	w.must(403, token, "POST", "auth/token/renew-self", "")
	w.must(403, token, "GET", "auth/token/lookup-self", "")
}

func clocks(t *testing.T) {
	w := newSignInWorld(t)
	at := func(d time.Duration) string {
		return w.issuer.Sign(w.issuer.Good(oidctest.Audience, w.now.Add(d)).With(oidctest.Bound()))
	}
	for d, want := range map[time.Duration]int{-59 * time.Second: 200, 59 * time.Second: 200, -90 * time.Second: 200, 90 * time.Second: 400, time.Hour: 400, -time.Hour: 400} {
		if s := w.login("ci", at(d)); s.status != want {
			t.Errorf("the issuer's clock is %v from ours: %d %s, want %d", d, s.status, s.raw, want)
		}
	}
	// One that ended a minute and a half ago by our clock.
	if s := w.login("ci", at(-5*time.Minute-90*time.Second)); s.status != 400 || !strings.Contains(w.log.text(), "permission denied: time: ") {
		t.Errorf("%d %s", s.status, s.raw)
	}
}
