package remote_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"envrun/vault"
	"envrun/vault/remote"
)

// canary is the token and the value of these tests: no error may hold it.
const canary = "s3cret-canary-0123456789"

// serve is a client of a server of these tests. It is given up after a second.
func serve(t *testing.T, h http.HandlerFunc, change ...func(*remote.Options)) *remote.Vault {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	o := remote.Options{Address: s.URL, Token: token(canary), Pause: time.Millisecond, Timeout: time.Minute}
	for _, f := range change {
		f(&o)
	}
	v, err := remote.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// mountAnswer says of every mount that it is KV v2.
const mountAnswer = `{"data":{"path":"dev/","type":"kv","options":{"version":"2","envrun":"environment"}}}`

const secretAnswer = `{"data":{"data":{"A":"1"},"metadata":{"created_time":"2026-11-22T10:11:12Z","version":3}}}`

// withMounts answers the questions about mounts and passes on the others.
func withMounts(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/sys/internal/ui/mounts/") {
			answer(200, mountAnswer)(w, r)
			return
		}
		h(w, r)
	}
}

// wantTrouble checks an error of a server, and that it tells nothing.
func wantTrouble(t *testing.T, err error, trouble remote.Trouble, kind vault.Kind) *remote.ServerError {
	t.Helper()
	var e *remote.ServerError
	if !errors.As(err, &e) {
		t.Fatalf("no server's error: %v", err)
	}
	if e.Trouble != trouble || vault.KindOf(err) != kind {
		t.Errorf("trouble %d of kind %v, want %d of kind %v: %v", e.Trouble, vault.KindOf(err), trouble, kind, err)
	}
	if strings.Contains(err.Error(), canary) {
		t.Errorf("it tells: %v", err)
	}
	return e
}

// get and set are what these tests do with a server.
func get(t *testing.T, v *remote.Vault) error {
	_, err := v.Get(t.Context(), "dev", "app")
	return err
}

func set(t *testing.T, v *remote.Vault) error {
	_, err := v.Apply(t.Context(), "dev", []vault.Change{{Path: "app", Was: vault.Any, Set: []vault.Field{{Name: "A", Value: vault.NewValueString(canary)}}}})
	return err
}

func TestTroubles(t *testing.T) {
	page := "<html><title>Sign in</title></html>"
	for name, c := range map[string]struct {
		answer  http.HandlerFunc
		trouble remote.Trouble
		kind    vault.Kind
		asked   int64 // how often
	}{
		"sealed":           {answer(503, `{"errors":["Vault is sealed"]}`), remote.Sealed, vault.KindUnavailable, 1},
		"uninitialised":    {answer(501, `{"errors":["Vault is not initialized"]}`), remote.Uninitialised, vault.KindUnavailable, 1},
		"standby":          {answer(473, `{"errors":[]}`), remote.Standby, vault.KindUnavailable, 3},
		"overloaded":       {answer(429, `{"errors":["request limited"]}`), remote.Overloaded, vault.KindUnavailable, 3},
		"behind":           {answer(412, `{"errors":["required index state not present"]}`), remote.Unreachable, vault.KindUnavailable, 3},
		"internal":         {answer(500, `{"errors":["internal error"]}`), remote.Unreachable, vault.KindUnavailable, 3},
		"bad gateway":      {answer(502, page), remote.Unreachable, vault.KindUnavailable, 3},
		"unavailable":      {answer(503, page), remote.Unreachable, vault.KindUnavailable, 3},
		"a page":           {answer(200, page), remote.NotVault, vault.KindMalformed, 1},
		"a page not found": {answer(404, page), remote.NotVault, vault.KindMalformed, 1},
		"no body":          {answer(204, ""), remote.NotVault, vault.KindMalformed, 1},
		"no data":          {answer(200, `{"data":null}`), remote.NotVault, vault.KindMalformed, 1},
		"no version":       {answer(200, `{"data":{"data":{"A":"1"},"metadata":{}}}`), remote.NotVault, vault.KindMalformed, 1},
		"another form":     {answer(200, `{"data":{"data":["`+canary+`"],"metadata":{"version":1}}}`), remote.NotVault, vault.KindMalformed, 1},
		"a number":         {answer(200, `{"data":{"data":{"A":"1"},"metadata":{"version":"`+canary+`"}}}`), remote.NotVault, vault.KindMalformed, 1},
		"half of it":       {answer(200, secretAnswer[:40]), remote.NotVault, vault.KindMalformed, 1},
		"bad token":        {answer(403, `{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}`), remote.BadToken, vault.KindNoIdentity, 1},
		"no such token":    {answer(403, `{"errors":["permission denied"]}`), remote.BadToken, vault.KindNoIdentity, 2}, // it looks at itself
		"in a circle": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/v1/dev/data/app", http.StatusTemporaryRedirect)
		}, remote.NotVault, vault.KindMalformed, 4},
		"to nowhere": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://[")
			w.WriteHeader(307)
		}, remote.NotVault, vault.KindMalformed, 1},
		"cut before": {func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, remote.Unreachable, vault.KindUnavailable, 3},
		"cut in the middle": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, secretAnswer[:40])
			panic(http.ErrAbortHandler)
		}, remote.Unreachable, vault.KindUnavailable, 3},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int64
			v := serve(t, func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				c.answer(w, r)
			})
			wantTrouble(t, get(t, v), c.trouble, c.kind)
			if n := asked.Load(); n != c.asked {
				t.Errorf("asked %d times, want %d", n, c.asked)
			}
		})
	}
}

// What passes is waited for, and the answer is the good one.
func TestRepeatedUntilItPasses(t *testing.T) {
	for _, first := range []http.HandlerFunc{
		answer(500, `{"errors":["x"]}`), answer(503, ""), answer(429, ""), answer(412, ""),
		answer(400, `{"errors":["Upgrading from non-versioned to versioned data. This backend will be unavailable for a brief period and will resume service shortly."]}`),
		func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		var asked atomic.Int64
		v := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if asked.Add(1) < 3 {
				first(w, r)
				return
			}
			answer(200, secretAnswer)(w, r)
		})
		if err := get(t, v); err != nil || asked.Load() != 3 {
			t.Errorf("asked %d times: %v", asked.Load(), err)
		}
	}
}

// A write of which it is not known whether it was made is not sent again.
func TestWritesAreNotRepeated(t *testing.T) {
	for name, c := range map[string]struct {
		write http.HandlerFunc
		sent  int64
	}{
		"500":      {answer(500, `{"errors":["internal error"]}`), 1},
		"502":      {answer(502, ""), 1},
		"cut":      {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 1},
		"429":      {answer(429, ""), 3}, // known not to be made
		"412":      {answer(412, ""), 3},
		"conflict": {answer(400, `{"errors":["check-and-set parameter did not match the current version"]}`), 1},
	} {
		t.Run(name, func(t *testing.T) {
			var sent atomic.Int64
			v := serve(t, withMounts(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					answer(404, `{"errors":[]}`)(w, r)
					return
				}
				sent.Add(1)
				c.write(w, r)
			}))
			err := set(t, v)
			want := vault.KindUnavailable
			if name == "conflict" {
				want = vault.KindConflict
			}
			if vault.KindOf(err) != want || sent.Load() != c.sent {
				t.Errorf("sent %d times, want %d: %v", sent.Load(), c.sent, err)
			}
		})
	}
}

// What the server says of a write may repeat what was written.
func TestWordsOfTheServerTellNothing(t *testing.T) {
	for _, words := range []string{
		`error converting input: '` + canary + `' is no number`,
		`unexpected ` + canary + `\n\t* and more`,
		`token ` + canary + ` is not liked`,
		`about ` + canary[:16],
	} {
		v := serve(t, withMounts(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				answer(404, `{"errors":[]}`)(w, r)
				return
			}
			answer(400, `{"errors":["`+words+`"]}`)(w, r)
		}))
		err := set(t, v)
		if e := wantTrouble(t, err, remote.Refused, vault.KindInvalid); strings.Contains(e.Text, canary[:10]) {
			t.Errorf("it tells: %v", err)
		}
	}
	long := strings.Repeat("x", 5000) + "\x1b[31m"
	v := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/lookup-self") {
			answer(200, `{"data":{}}`)(w, r)
			return
		}
		said, _ := json.Marshal([]string{"1 error occurred:\n\t* permission denied\n\n", long})
		answer(403, `{"errors":`+string(said)+`}`)(w, r)
	})
	e := wantTrouble(t, get(t, v), remote.Forbidden, vault.KindDenied)
	if !strings.HasPrefix(e.Text, "xxx") || len(e.Text) > 300 || strings.Contains(e.Text, "\x1b") {
		t.Errorf("%q", e.Text)
	}
}

// The token goes to the host that the client was opened for, and to no other.
func TestRedirects(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("the other host was asked, with the token %q", r.Header.Get("X-Vault-Token"))
	}))
	defer other.Close()
	v := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
	})
	if e := wantTrouble(t, get(t, v), remote.Standby, vault.KindUnavailable); e.Active != other.URL {
		t.Errorf("it refers to %q", e.Active)
	}
	v = serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+"/signin?next=x", http.StatusFound)
	})
	wantTrouble(t, get(t, v), remote.NotVault, vault.KindMalformed)

	v = serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/here" {
			http.Redirect(w, r, "/v1/here", http.StatusTemporaryRedirect)
			return
		}
		if r.Header.Get("X-Vault-Token") != canary {
			t.Error("the token got lost on the way")
		}
		answer(200, secretAnswer)(w, r)
	})
	if err := get(t, v); err != nil {
		t.Error(err)
	}
}

func TestNoAnswerInTime(t *testing.T) {
	v := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		func(o *remote.Options) { o.Timeout = 30 * time.Millisecond })
	if e := wantTrouble(t, get(t, v), remote.Unreachable, vault.KindUnavailable); !strings.Contains(e.Text, "no answer within 30ms") {
		t.Errorf("%v", e)
	}
	ctx, cancel := context.WithCancel(t.Context())
	v = serve(t, func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
	if _, err := v.Get(ctx, "dev", "app"); !errors.Is(err, context.Canceled) {
		t.Errorf("called off: %v", err)
	}
}

func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + l.Addr().String()
	l.Close()
	v, err := remote.Open(remote.Options{Address: address, Token: token(canary), Pause: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	wantTrouble(t, get(t, v), remote.Unreachable, vault.KindUnavailable)
	wantTrouble(t, set(t, v), remote.Unreachable, vault.KindUnavailable)
	_, err = v.Envs(t.Context())
	wantTrouble(t, err, remote.Unreachable, vault.KindUnavailable)
	for _, err := range v.List(t.Context(), "dev", "") {
		wantTrouble(t, err, remote.Unreachable, vault.KindUnavailable)
	}
}

func TestTooLongAnAnswer(t *testing.T) {
	piece := strings.Repeat("x", 1<<20)
	v := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for range 80 {
			if _, err := io.WriteString(w, piece); err != nil {
				return
			}
		}
	})
	if e := wantTrouble(t, get(t, v), remote.NotVault, vault.KindMalformed); !strings.Contains(e.Text, "longer than 64 MiB") {
		t.Errorf("%v", e)
	}
}

func TestTokens(t *testing.T) {
	asked := false
	h := func(w http.ResponseWriter, r *http.Request) { asked = true; answer(200, secretAnswer)(w, r) }
	with := func(f func(context.Context) (string, error)) func(*remote.Options) {
		return func(o *remote.Options) { o.Token = f }
	}
	wantTrouble(t, get(t, serve(t, h, with(token("")))), remote.NoToken, vault.KindNoIdentity)
	for _, bad := range []string{canary + "\r\nX-Evil: 1", canary + " ", "é" + canary, canary + "\x00"} {
		wantTrouble(t, get(t, serve(t, h, with(token(bad)))), remote.BadToken, vault.KindNoIdentity)
	}
	broken := errors.New("the keychain is locked")
	if err := get(t, serve(t, h, with(func(context.Context) (string, error) { return "", broken }))); !errors.Is(err, broken) {
		t.Error(err)
	}
	if asked {
		t.Error("the server was asked without a token")
	}
}

func TestHeaders(t *testing.T) {
	v := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Vault-Token") != canary || r.Header.Get("X-Vault-Namespace") != "team" || r.Header.Get("X-Vault-Request") != "true" {
			t.Errorf("%v", r.Header)
		}
		if r.Header.Get("Accept-Encoding") != "" {
			t.Errorf("it asks for %s", r.Header.Get("Accept-Encoding"))
		}
		answer(200, secretAnswer)(w, r)
	}, func(o *remote.Options) { o.Namespace = "team"; o.Address += "/below/" })
	if v.Address()[len(v.Address())-6:] != "/below" {
		t.Errorf("address %s", v.Address())
	}
	if err := get(t, v); err != nil {
		t.Error(err)
	}
}

// http goes to this machine alone, and past every proxy.
func TestProxies(t *testing.T) {
	asked := func(o *remote.Options) {
		o.Proxy = func(*http.Request) (*url.URL, error) { return nil, errors.New("a proxy was asked for") }
	}
	if err := get(t, serve(t, answer(200, secretAnswer), asked)); err != nil {
		t.Error(err)
	}
}

func TestCertificates(t *testing.T) {
	s := httptest.NewUnstartedServer(answer(200, secretAnswer))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	sum := sha256.Sum256(s.Certificate().RawSubjectPublicKeyInfo)
	pin := "sha256/" + base64.StdEncoding.EncodeToString(sum[:])
	wrong := "sha256/" + base64.StdEncoding.EncodeToString(make([]byte, 32))
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	open := func(address string, ca []byte, pins ...string) error {
		v, err := remote.Open(remote.Options{Address: address, Token: token(canary), CA: ca, Pins: pins, Pause: time.Millisecond})
		if err != nil {
			return err
		}
		defer v.Close()
		return get(t, v)
	}
	for name, err := range map[string]error{
		"ca":           open(s.URL, ca),
		"pin":          open(s.URL, nil, pin),
		"one of pins":  open(s.URL, nil, wrong, pin),
		"ca and a pin": open(s.URL, ca, pin),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	other := strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
	for name, err := range map[string]error{
		"nobody knows it":          open(s.URL, nil),
		"another pin":              open(s.URL, nil, wrong),
		"ca, and another pin":      open(s.URL, ca, wrong),
		"ca, and not its name":     open(other, ca),
		"ca, a pin, not its name":  open(other, ca, pin),
		"another pin, not a trust": open(other, nil, wrong),
	} {
		if err == nil {
			t.Errorf("%s: it is believed", name)
			continue
		}
		wantTrouble(t, err, remote.Untrusted, vault.KindTampered)
	}
	if err := open(s.URL, nil, wrong); !strings.Contains(err.Error(), pin) {
		t.Errorf("it does not say which key there is: %v", err)
	}
	plain := httptest.NewServer(answer(200, secretAnswer))
	defer plain.Close()
	wantTrouble(t, open(strings.Replace(plain.URL, "http:", "https:", 1), nil), remote.NotVault, vault.KindMalformed)
}

func TestOptions(t *testing.T) {
	for _, address := range []string{
		"", "vault.example.dev", "ftp://vault.example.dev", "http://vault.example.dev", "http://10.0.0.1:8200", "http://127.0.0.1.example.dev",
		"https://", "https://:8200", "https://user:" + canary + "@vault.example.dev", "https://vault.example.dev?x=1", "https://vault.example.dev/#x", "https://vault.example.dev\n",
	} {
		_, err := remote.Open(remote.Options{Address: address})
		if vault.KindOf(err) != vault.KindInvalid || strings.Contains(err.Error(), canary) {
			t.Errorf("%q: %v", address, err)
		}
	}
	for _, address := range []string{"https://vault.example.dev", "https://vault.example.dev:8200/", "http://127.0.0.1:8200", "http://localhost", "http://[::1]:8200/x/"} {
		if v, err := remote.Open(remote.Options{Address: address}); err != nil || strings.HasSuffix(v.Address(), "/") {
			t.Errorf("%q: %v", address, err)
		}
	}
	for name, o := range map[string]remote.Options{
		"no certificate": {CA: []byte("-----BEGIN NOTHING-----")},
		"pin":            {Pins: []string{"sha1/AAAA"}},
		"short pin":      {Pins: []string{"sha256/AAAA"}},
		"mount":          {Mounts: map[vault.Env]string{"dev": "a/../b"}},
		"empty mount":    {Mounts: map[vault.Env]string{"dev": ""}},
		"mount with /":   {Mounts: map[vault.Env]string{"dev": "/a"}},
		"one mount":      {Mounts: map[vault.Env]string{"dev": "a", "prod": "a"}},
	} {
		o.Address = "https://vault.example.dev"
		if _, err := remote.Open(o); vault.KindOf(err) != vault.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}
