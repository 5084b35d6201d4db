package oidc_test

import (
	"compress/gzip"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"envrun/auth/oidc"
	"envrun/auth/oidc/oidctest"
)

// A clock stands until it is moved.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(time.Now().UnixNano())
	return c
}

func (c *clock) Now() time.Time       { return time.Unix(0, c.at.Load()) }
func (c *clock) move(d time.Duration) { c.at.Add(int64(d)) }

func source(i *oidctest.Issuer, c *clock) oidc.Source {
	return oidc.Source{Issuer: i.URL, AllowPrivate: true, Now: c.Now}
}

func find(t *testing.T, k *oidc.KeySet, id string) error {
	t.Helper()
	_, err := k.Find(t.Context(), id)
	return err
}

func reason(err error) oidc.Reason {
	if r := (*oidc.Refusal)(nil); errors.As(err, &r) {
		return r.Reason
	}
	return ""
}

// A22, A23: whoever sends tokens does not decide how often the issuer is asked.
func TestStormOfUnknownKeys(t *testing.T) {
	i, c := oidctest.New(t), newClock()
	k := oidc.NewKeySet(source(i, c), nil)
	if err := find(t, k, oidctest.P256); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				if _, err := k.Find(t.Context(), "unknown-"+time.Now().String()); reason(err) != oidc.ReasonKey {
					t.Errorf("an unknown key: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if n := i.Fetches.Load(); n != 1 {
		t.Errorf("%d fetches at once", n)
	}
	for range 10 {
		c.move(10 * time.Second)
		for _, id := range []string{"x", "y", "z"} {
			if err := find(t, k, id); reason(err) != oidc.ReasonKey {
				t.Errorf("an unknown key: %v", err)
			}
		}
	}
	if n := i.Fetches.Load(); n < 3 || n > 5 {
		t.Errorf("%d fetches in 100 s", n)
	}
	v := &oidc.Verifier{Issuer: i.URL, Keys: k, Now: c.Now}
	before := i.Fetches.Load()
	good := i.Sign(i.Good(oidctest.Audience, c.Now()))
	for range 100 {
		if _, err := v.Verify(t.Context(), good[:len(good)-4]+"AAAA"); reason(err) != oidc.ReasonSignature {
			t.Fatalf("a bad signature: %v", err)
		}
	}
	if i.Fetches.Load() != before {
		t.Error("a bad signature makes the server ask for keys")
	}
}

// A key that comes is found, at once if nobody asked within 30 seconds; one that is
// withdrawn is taken for as long as the set is fresh, and no longer.
func TestRotation(t *testing.T) {
	i, c := oidctest.New(t), newClock()
	i.Publish(oidctest.P256)
	k := oidc.NewKeySet(source(i, c), nil)
	if err := find(t, k, oidctest.P256); err != nil {
		t.Fatal(err)
	}
	i.Publish(oidctest.P384)
	c.move(31 * time.Second)
	if err := find(t, k, oidctest.P384); err != nil {
		t.Errorf("a new key: %v", err)
	}
	if err := find(t, k, oidctest.P256); reason(err) != oidc.ReasonKey {
		t.Errorf("a withdrawn key: %v", err)
	}
	i.Publish(oidctest.Ed)
	if err := find(t, k, oidctest.P384); err != nil {
		t.Errorf("a key that is not known to be withdrawn: %v", err)
	}
	c.move(time.Hour + time.Second)
	if err := find(t, k, oidctest.P384); reason(err) != oidc.ReasonKey {
		t.Errorf("a key that was withdrawn an hour ago: %v", err)
	}
	i.Publish(oidctest.P256)
	if err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := find(t, k, oidctest.Ed); reason(err) != oidc.ReasonKey {
		t.Errorf("a withdrawn key after a refresh: %v", err)
	}
}

// The issuer says how long its keys are fresh, within bounds of ours; towards the
// end of it they are fetched while nobody waits.
func TestFresh(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": time.Hour, "max-age=600": 10 * time.Minute, "public, max-age=1": 5 * time.Minute, "max-age=864000": time.Hour,
		"no-store": time.Hour, "max-age=x": time.Hour, "max-age=-5": time.Hour,
	} {
		i, c := oidctest.New(t), newClock()
		i.SetJWKS(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", header)
			i.JWKS(w, r)
		})
		saved := make(chan oidc.Saved, 10)
		from := source(i, c)
		from.Save = func(s oidc.Saved) { saved <- s }
		k := oidc.NewKeySet(from, nil)
		if err := find(t, k, oidctest.P256); err != nil {
			t.Fatal(err)
		}
		if got := (<-saved).Fresh; got != want {
			t.Errorf("%q: fresh for %v, want %v", header, got, want)
		}
		c.move(want*3/4 + time.Second)
		if err := find(t, k, oidctest.P256); err != nil {
			t.Fatal(err)
		}
		if got := (<-saved).Fetched; !got.Equal(c.Now()) {
			t.Errorf("%q: fetched at %v, want %v", header, got, c.Now())
		}
	}
}

// Nothing an issuer does wrong ends sign-in while its last keys are good, and
// nothing of what it sends is said back.
func TestOutage(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer elsewhere.Close()
	text := func(code int, kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(code)
			io.WriteString(w, body)
		}
	}
	many, _ := json.Marshal(oidctest.KeySet(strings.Split(strings.Repeat(oidctest.P256+",", 10_000)+oidctest.P256, ",")...))
	bad := map[string]http.HandlerFunc{
		"500":          text(500, "application/json", `{"canary":1}`),
		"HTML":         text(200, "text/html", "<html>canary</html>"),
		"empty":        text(200, "application/json", ""),
		"no keys":      text(200, "application/json", `{"keys":[]}`),
		"keys twice":   text(200, "application/json", `{"keys":[],"keys":[]}`),
		"keys no list": text(200, "application/json", `{"keys":{"canary":1}}`),
		"10,000 keys":  text(200, "application/json", string(many)),
		"only weak":    text(200, "application/json", `{"keys":[{"kty":"oct","k":"Y2FuYXJ5"},{"kty":"RSA","n":"AQAB","e":"AQ"},7]}`),
		"redirect":     func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
		"redirect here": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/other", http.StatusMovedPermanently)
		},
		"big": func(w http.ResponseWriter, _ *http.Request) {
			for range 3 << 10 {
				if _, err := w.Write(make([]byte, 1<<10)); err != nil {
					return
				}
			}
		},
		"gzip bomb": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			for range 256 {
				if _, err := z.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
			_ = z.Close()
		},
		"breaks off": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	}
	for name, h := range bad {
		t.Run(name, func(t *testing.T) {
			i, c := oidctest.New(t), newClock()
			var failed atomic.Int64
			from := source(i, c)
			from.Failed = func(error) { failed.Add(1) }
			k := oidc.NewKeySet(from, nil)
			i.SetJWKS(h)
			err := find(t, k, oidctest.P256)
			if reason(err) != oidc.ReasonIssuerOut || !oidc.Retryable(err) || strings.Contains(err.Error(), "canary") {
				t.Errorf("at the start: %v", err)
			}
			asked := i.Fetches.Load() // net/http tries again by itself when a connection breaks off
			if find(t, k, oidctest.P256); i.Fetches.Load() != asked {
				t.Errorf("%d fetches, one after the other", i.Fetches.Load())
			}
			i.SetJWKS(nil)
			c.move(time.Minute)
			if err := find(t, k, oidctest.P256); err != nil {
				t.Fatalf("the issuer is back: %v", err)
			}
			i.SetJWKS(h)
			c.move(23 * time.Hour)
			if err := find(t, k, oidctest.P256); err != nil || failed.Load() == 0 {
				t.Errorf("out for 23 hours: %v, %d failures heard of", err, failed.Load())
			}
			c.move(2 * time.Hour)
			if err := find(t, k, oidctest.P256); reason(err) != oidc.ReasonIssuerOut {
				t.Errorf("out for 25 hours: %v", err)
			}
		})
	}
	t.Run("hangs", func(t *testing.T) {
		i, c := oidctest.New(t), newClock()
		stop := make(chan struct{})
		defer close(stop)
		i.SetJWKS(func(http.ResponseWriter, *http.Request) { <-stop })
		k := oidc.NewKeySet(source(i, c), nil)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := k.Find(ctx, oidctest.P256); reason(err) != oidc.ReasonIssuerOut {
			t.Errorf("%v", err)
		}
	})
}

// A restart while the issuer is down goes on with what was saved; nobody who can
// edit what was saved makes the server take keys for longer.
func TestSaved(t *testing.T) {
	i, c := oidctest.New(t), newClock()
	var was oidc.Saved
	from := source(i, c)
	from.Save = func(s oidc.Saved) { was = s }
	if err := find(t, oidc.NewKeySet(from, nil), oidctest.P256); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(was)
	if err != nil {
		t.Fatal(err)
	}
	var again oidc.Saved
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	i.Server.Close()
	c.move(2 * time.Hour)
	if err := find(t, oidc.NewKeySet(from, &again), oidctest.P256); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	c.move(23 * time.Hour)
	if err := find(t, oidc.NewKeySet(from, &again), oidctest.P256); reason(err) != oidc.ReasonIssuerOut {
		t.Errorf("a day later: %v", err)
	}
	for _, change := range []func(*oidc.Source){
		func(s *oidc.Source) { s.JWKSURL = "https://elsewhere.test/keys" },
		func(s *oidc.Source) { s.Issuer = "https://elsewhere.test" },
	} {
		from := from
		change(&from)
		if s := oidc.NewKeySet(from, &again).Status(); len(s.Keys) != 0 {
			t.Errorf("keys of another issuer: %v", s.Keys)
		}
	}
}

// A27: a discovery document that is not the issuer's own.
func TestLyingDiscovery(t *testing.T) {
	i := oidctest.New(t)
	for name, doc := range map[string]string{
		"another issuer":        `{"issuer":"https://evil.test","jwks_uri":"URL/keys"}`,
		"a slash more":          `{"issuer":"URL/","jwks_uri":"URL/keys"}`,
		"issuer twice":          `{"issuer":"URL","issuer":"URL","jwks_uri":"URL/keys"}`,
		"keys elsewhere":        `{"issuer":"URL","jwks_uri":"https://evil.test/keys"}`,
		"keys on another port":  `{"issuer":"URL","jwks_uri":"http://127.0.0.1:1/keys"}`,
		"keys in a file":        `{"issuer":"URL","jwks_uri":"file:///etc/passwd"}`,
		"keys over plain http":  `{"issuer":"URL","jwks_uri":"http://10.0.0.1/keys"}`,
		"keys with a user":      `{"issuer":"URL","jwks_uri":"http://user@127.0.0.1/keys"}`,
		"no keys":               `{"issuer":"URL"}`,
		"keys at a place of no": `{"issuer":"URL","jwks_uri":7}`,
	} {
		i.SetDiscovery(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.ReplaceAll(doc, "URL", i.URL)) })
		if err := find(t, oidc.NewKeySet(source(i, newClock()), nil), oidctest.P256); reason(err) != oidc.ReasonIssuerOut {
			t.Errorf("%s: %v", name, err)
		}
	}
	i.SetDiscovery(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, strings.ReplaceAll(`{"issuer":"URL","jwks_uri":"https://keys.example.test/keys"}`, "URL", i.URL))
	})
	err := oidc.NewKeySet(source(i, newClock()), nil).Refresh(t.Context())
	if host := (*oidc.HostError)(nil); !errors.As(err, &host) || host.Host != "keys.example.test" {
		t.Errorf("keys on a host that nobody confirmed: %v", err)
	}
	if i.Fetches.Load() != 0 {
		t.Errorf("%d fetches", i.Fetches.Load())
	}
}

// A26: what a name resolves to is checked when it is dialled.
func TestAddressesInside(t *testing.T) {
	i, c := oidctest.New(t), newClock()
	port := i.URL[strings.LastIndexByte(i.URL, ':'):]
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1", "0.0.0.0", "[::]", "[64:ff9b::7f00:1]", "100.64.0.1", "[fd00::1]"} {
		for _, from := range []oidc.Source{{Issuer: "https://" + host + port}, {Issuer: "https://issuer.test", JWKSURL: "https://" + host + port + "/keys"}} {
			from.Now = c.Now
			err := oidc.NewKeySet(from, nil).Refresh(t.Context())
			if err == nil || !strings.Contains(err.Error(), "allow_private_issuer") {
				t.Errorf("%s: %v", host, err)
			}
		}
	}
	// Where clouds keep credentials is never asked.
	from := source(i, c)
	from.Issuer = "https://169.254.169.254"
	if err := oidc.NewKeySet(from, nil).Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), "public") {
		t.Errorf("link-local: %v", err)
	}
	if i.Discoveries.Load()+i.Fetches.Load()+i.Others.Load() != 0 {
		t.Error("it was asked")
	}
}

// An issuer inside has a certificate of its own authority.
func TestRoots(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(oidctest.KeySet(oidctest.P256))
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	from := oidc.Source{Issuer: "https://issuer.test", JWKSURL: s.URL, AllowPrivate: true, Now: time.Now}
	if err := find(t, oidc.NewKeySet(from, nil), oidctest.P256); reason(err) != oidc.ReasonIssuerOut {
		t.Errorf("a certificate that nobody vouches for: %v", err)
	}
	from.Roots = x509.NewCertPool()
	from.Roots.AddCert(s.Certificate())
	if err := find(t, oidc.NewKeySet(from, nil), oidctest.P256); err != nil {
		t.Error(err)
	}
}

// An issuer that has keys as a key set, and not as plain JSON, is asked for one.
func TestAccept(t *testing.T) {
	i := oidctest.New(t)
	i.SetJWKS(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept"), "application/jwk-set+json") {
			w.WriteHeader(http.StatusNotAcceptable)
			return
		}
		w.Header().Set("Content-Type", "application/jwk-set+json")
		_ = json.NewEncoder(w).Encode(oidctest.KeySet(oidctest.P256))
	})
	from := oidc.Source{Issuer: i.URL, AllowPrivate: true, Now: time.Now}
	if err := find(t, oidc.NewKeySet(from, nil), oidctest.P256); err != nil {
		t.Error(err)
	}
}

// Many who sign in while the first fetch is under way wait for that one.
func TestColdStart(t *testing.T) {
	i, c := oidctest.New(t), newClock()
	go_ := make(chan struct{})
	i.SetJWKS(func(w http.ResponseWriter, r *http.Request) {
		<-go_
		i.JWKS(w, r)
	})
	k := oidc.NewKeySet(source(i, c), nil)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := k.Find(t.Context(), oidctest.P256); err != nil {
				t.Error(err)
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	close(go_)
	wg.Wait()
	if i.Fetches.Load() != 1 {
		t.Errorf("%d fetches", i.Fetches.Load())
	}
}
