package server_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"envrun/vault/audit"
	"envrun/vault/server"
)

// from asks as a client at an address.
func (w *world) from(addr, token, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "/v1/"+path, nil)
	r.RemoteAddr = addr
	if token != "" {
		r.Header.Set("X-Vault-Token", token)
	}
	out := httptest.NewRecorder()
	w.ServeHTTP(out, r)
	return out
}

func TestLimits(t *testing.T) {
	w := newWorld(t)
	w.Limit(server.Limits{Rate: 2, Burst: 4, UnknownRate: 1, UnknownBurst: 3})
	const self = "auth/token/lookup-self"
	want := func(what string, have *httptest.ResponseRecorder, status int) {
		t.Helper()
		if have.Code != status {
			t.Errorf("%s: %d %s", what, have.Code, have.Body)
		}
		if again := have.Header().Get("Retry-After"); (status == http.StatusTooManyRequests) != (again != "") {
			t.Errorf("%s: Retry-After %q", what, again)
		}
	}
	for range 4 {
		want("a good token", w.from("10.0.0.1:1", "root", self), 200)
	}
	want("more than its burst", w.from("10.0.0.2:1", "root", self), 429) // wherever it comes from
	for range 3 {
		want("a bad token", w.from("10.0.0.1:1", "guess", self), 403)
	}
	want("bad tokens beyond the burst", w.from("10.0.0.1:1", "another", self), 429)
	want("no token beyond it", w.from("10.0.0.1:1", "", self), 429)
	want("from elsewhere", w.from("10.0.0.9:1", "guess", self), 403)
	want("what everybody may ask", w.from("10.0.0.1:1", "", "sys/health"), 200)
	w.now = w.now.Add(time.Second)
	want("a second later", w.from("10.0.0.1:1", "root", self), 200) // although its address has tried tokens
	want("a second later", w.from("10.0.0.1:1", "root", self), 200)
	want("two a second", w.from("10.0.0.1:1", "root", self), 429)
	want("a second later", w.from("10.0.0.1:1", "", self), 403)
	want("one a second", w.from("10.0.0.1:1", "", self), 429)

	// IPv6: whoever has a subnet is one client.
	for i := range 3 {
		want("a subnet", w.from(fmt.Sprintf("[2001:db8::%x]:1", i+1), "guess", self), 403)
	}
	want("a subnet", w.from("[2001:db8::ffff]:1", "guess", self), 429)
	want("another", w.from("[2001:db8:0:1::1]:1", "guess", self), 403)

	// A token that was good and is not any more.
	w.now = w.now.Add(time.Minute)
	gone := w.token(`path "cubbyhole/x" { capabilities = ["read"] }`)
	want("before it is revoked", w.from("10.0.0.3:1", gone, "cubbyhole/x"), 404)
	w.must(204, "root", "POST", "auth/token/revoke", fmt.Sprintf(`{"token":%q}`, gone))
	for range 3 {
		want("revoked", w.from("10.0.0.3:1", gone, self), 403)
	}
	want("revoked", w.from("10.0.0.3:1", gone, self), 429)

	// What was refused is in the log, added up.
	before := len(w.log.all())
	if err := w.RecordLimited(t.Context()); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int64{}
	for _, e := range w.log.all()[before:] {
		if e.Type != audit.Outcome || e.Status != 429 || e.Error == "" || e.Request.Data == nil {
			t.Fatalf("%+v", e)
		}
		counts[e.Request.RemoteAddress+" "+fmt.Sprint(e.Request.ClientToken != audit.Hashed{})] += e.Request.Data.Count
	}
	for from, n := range map[string]int64{"10.0.0.1 false": 3, "10.0.0.1 true": 1, "10.0.0.2 true": 1, "2001:db8::ffff false": 1, "10.0.0.3 false": 1} {
		if counts[from] != n {
			t.Errorf("%s: %d, want %d of %v", from, counts[from], n, counts)
		}
	}
	if err := w.RecordLimited(t.Context()); err != nil || len(w.log.all()) != before+len(counts) {
		t.Errorf("recorded twice: %v", err)
	}
	if log := w.log.text(); strings.Contains(log, "guess") || strings.Contains(log, gone) {
		t.Error("a token is in the log")
	}
	w.now = w.now.Add(time.Minute)
	if s := w.must(200, "root", "GET", "sys/metrics?format=prometheus", ""); !strings.Contains(s.raw, `envrun_requests_limited_total{of="token"} 2`) || !strings.Contains(s.raw, `envrun_requests_limited_total{of="address"} 5`) {
		t.Error(s.raw)
	}
}

// A token that nobody has seen comes many times at once, from one address: all are
// served if it is good, and if it is not the address waits the longer.
func TestLimitsAtOnce(t *testing.T) {
	w := newWorld(t)
	w.Limit(server.Limits{UnknownRate: 1, UnknownBurst: 2})
	const self = "auth/token/lookup-self"
	var all sync.WaitGroup
	var refused atomic.Int32
	for range 20 {
		all.Go(func() {
			if s := w.from("10.0.0.1:1", "root", self); s.Code != 200 {
				refused.Add(1)
			}
		})
	}
	all.Wait()
	if n := refused.Load(); n > 0 {
		t.Errorf("%d requests with a good token were refused", n)
	}
	tried := atomic.Int32{}
	for range 20 {
		all.Go(func() {
			if s := w.from("10.0.0.2:1", "guess", self); s.Code == 403 {
				tried.Add(1)
			}
		})
	}
	all.Wait()
	// However many were let in at once, it is one for each second in the end.
	n := time.Duration(tried.Load())
	w.now = w.now.Add((n - 2) * time.Second)
	if s := w.from("10.0.0.2:1", "guess", self); n > 2 && s.Code != 429 {
		t.Errorf("after %d at once and %d seconds: %d", n, n-2, s.Code)
	}
	w.now = w.now.Add(time.Second)
	if s := w.from("10.0.0.2:1", "guess", self); s.Code != 403 {
		t.Errorf("after %d at once and %d seconds: %d", n, n-1, s.Code)
	}
}

// A flood from many addresses: what is remembered and what is written have a bound,
// and who has a good token is served all the same.
func TestLimitsFlood(t *testing.T) {
	w := newWorld(t)
	w.Limit(server.Limits{UnknownRate: 1, UnknownBurst: 2})
	const self = "auth/token/lookup-self"
	if s := w.from("10.0.0.1:1", "root", self); s.Code != 200 {
		t.Fatal(s.Code)
	}
	before, refused := len(w.log.all()), 0
	for i := range 25_000 {
		if s := w.from(fmt.Sprintf("10.%d.%d.%d:1", 1+i>>16, i>>8&255, i&255), "guess", self); s.Code == 429 {
			refused++
		}
	}
	if clients, sources := w.Limited(); clients > 20_000 || sources > 9 {
		t.Errorf("%d clients and %d sources are remembered", clients, sources)
	}
	if s := w.from("10.1.0.1:1", "root", self); s.Code != 200 {
		t.Errorf("a good token in the flood: %d", s.Code)
	}
	if err := w.RecordLimited(t.Context()); err != nil {
		t.Fatal(err)
	}
	entries := w.log.all()[before:]
	var sum int64
	for _, e := range entries {
		if e.Status == 429 {
			sum += e.Request.Data.Count
		}
	}
	if refused < 24_000 || sum != int64(refused) || len(entries) > 200 {
		t.Errorf("%d were refused, %d are in the log, which has %d entries more", refused, sum, len(entries))
	}
}

// While the log takes nothing, what was refused is kept for later.
func TestLimitsUnrecorded(t *testing.T) {
	w := newWorld(t)
	w.Limit(server.Limits{UnknownRate: 1, UnknownBurst: 1})
	for range 3 {
		w.from("10.0.0.1:1", "guess", "auth/token/lookup-self")
	}
	w.log.fail = fmt.Errorf("no space left")
	if err := w.RecordLimited(t.Context()); err == nil {
		t.Error("recorded without a log")
	}
	w.log.fail = nil
	before := len(w.log.all())
	if err := w.RecordLimited(t.Context()); err != nil {
		t.Fatal(err)
	}
	if all := w.log.all()[before:]; len(all) != 1 || all[0].Request.Data.Count != 2 {
		t.Errorf("%+v", all)
	}
}

// Signing in is limited before anything of a token is looked at, for each address and
// each mount by itself; a pipeline behind one address is let in.
func TestLimitsOfSignIn(t *testing.T) {
	w := newSignInWorld(t)
	w.must(204, "root", "POST", "sys/auth/other", `{"type":"jwt"}`)
	w.must(204, "root", "POST", "auth/other/config", fmt.Sprintf(`{"oidc_discovery_url":%q,"allow_private_issuer":true}`, w.issuer.URL))
	login := func(addr, mount, jwt string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", "/v1/auth/"+mount+"/login", strings.NewReader(fmt.Sprintf(`{"role":"ci","jwt":%q}`, jwt)))
		r.RemoteAddr = addr + ":1"
		out := httptest.NewRecorder()
		w.ServeHTTP(out, r)
		return out
	}
	want := func(what string, have *httptest.ResponseRecorder, status int) {
		t.Helper()
		if have.Code != status {
			t.Errorf("%s: %d %s", what, have.Code, have.Body)
		}
		if again := have.Header().Get("Retry-After"); (status == http.StatusTooManyRequests) != (again != "") {
			t.Errorf("%s: Retry-After %q", what, again)
		}
	}

	// As an envrund has it by itself, with nobody waiting between.
	w.Limit(server.Limits{UnknownRate: 1, UnknownBurst: 60, LoginRate: 5, LoginBurst: 300, MountRate: 50, MountBurst: 1000})
	for i := range 200 {
		want(fmt.Sprintf("job %d", i), login("10.0.0.1", "jwt", w.issuer.Sign(w.good())), 200)
	}

	w.Limit(server.Limits{UnknownRate: 1, UnknownBurst: 3, LoginRate: 1, LoginBurst: 4, MountRate: 2, MountBurst: 10})
	good := w.issuer.Sign(w.good())
	bad := good[:len(good)-4] + "AAAA"
	want("well known", login("10.9.9.9", "jwt", good), 200)
	for range 4 {
		want("bad", login("10.0.0.1", "jwt", bad), 400)
	}
	entries := len(w.log.all())
	want("too many", login("10.0.0.1", "jwt", bad), 429)
	want("too many, good or not", login("10.0.0.1", "jwt", good), 429)
	if n := len(w.log.all()) - entries; n != 0 {
		t.Errorf("%d entries", n)
	}
	want("another mount from there", login("10.0.0.1", "other", bad), 400)
	want("anything else from there", w.from("10.0.0.1:1", "", "auth/token/lookup-self"), 403)
	for i := range 5 {
		want("others", login(fmt.Sprintf("10.0.1.%d", i), "jwt", bad), 400)
	}
	want("one too many of all", login("10.0.2.1", "jwt", good), 429)
	want("somebody signed in from there", login("10.9.9.9", "jwt", good), 200)
	want("another mount", login("10.0.2.1", "other", bad), 400)
	w.now = w.now.Add(time.Second)
	want("a second later", login("10.0.0.1", "jwt", w.issuer.Sign(w.good())), 200)
	want("one a second", login("10.0.0.1", "jwt", good), 429)

	// What is no way in, and a token that comes with it, count as before.
	for range 3 {
		want("no such mount", login("10.0.3.1", "nothing", bad), 403)
	}
	want("no such mount", login("10.0.3.1", "nothing", bad), 429)

	counts := map[string]int64{}
	before := len(w.log.all())
	if err := w.RecordLimited(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, e := range w.log.all()[before:] {
		counts[e.Request.MountPoint+" "+e.Request.RemoteAddress] += e.Request.Data.Count
	}
	if counts["auth/jwt/ 10.0.0.1"] != 3 || counts["auth/jwt/ 10.0.2.1"] != 1 || counts[" 10.0.3.1"] != 1 || len(counts) != 3 {
		t.Errorf("%v", counts)
	}
	w.now = w.now.Add(time.Minute)
	if s := w.must(200, "root", "GET", "sys/metrics?format=prometheus", ""); !strings.Contains(s.raw, `envrun_requests_limited_total{of="login"} 4`) {
		t.Error(s.raw)
	}

	// However many come from wherever, what is remembered has a bound.
	for i := range 25_000 {
		login(fmt.Sprintf("10.%d.%d.%d", 1+i>>16, i>>8&255, i&255), "jwt", "x")
	}
	if clients, sources := w.Limited(); clients > 20_000 || sources > 9 {
		t.Errorf("%d clients and %d sources are remembered", clients, sources)
	}
	want("another mount in the flood", login("10.0.2.9", "other", bad), 400)
}
