package remote_test

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"envrun/vault/remote"
	"envrun/vault/wire"
)

// Something that was kept may stand in for a server that is not met, and for none
// that has something to say.
func TestAway(t *testing.T) {
	open := func(address string, change ...func(*remote.Options)) *remote.Vault {
		t.Helper()
		o := remote.Options{Address: address, Token: token(canary), Pause: time.Millisecond, Timeout: 5 * time.Second}
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
	listener := func(f func(net.Conn)) string {
		t.Helper()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go f(c)
			}
		}()
		return l.Addr().String()
	}
	closed := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().String()
	}()
	secure := httptest.NewUnstartedServer(answer(200, secretAnswer))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAnyClientCert}
	secure.StartTLS()
	t.Cleanup(secure.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	proxy := func(status int) func(*remote.Options) {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) }))
		t.Cleanup(s.Close)
		return func(o *remote.Options) {
			o.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(s.URL) }
		}
	}
	says := func(status int, words string) *remote.Vault {
		return serve(t, withMounts(answer(status, `{"errors":["`+words+`"]}`)))
	}
	for name, c := range map[string]struct {
		v    *remote.Vault
		want bool
	}{
		"no such name":            {open("https://nowhere.invalid"), true},
		"nobody listens":          {open("http://" + closed), true},
		"nobody listens, TLS":     {open("https://" + closed), true},
		"hangs up":                {open("http://" + listener(func(c net.Conn) { c.Close() })), true},
		"hangs up, TLS":           {open("https://" + listener(func(c net.Conn) { c.Close() })), true},
		"says nothing":            {open("http://"+listener(func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), func(o *remote.Options) { o.Timeout = 20 * time.Millisecond }), true},
		"502 of a gateway":        {serve(t, answer(502, "<html>Bad Gateway</html>")), true},
		"503 of a gateway":        {serve(t, answer(503, "<html>no server</html>")), true},
		"504 of a gateway":        {says(504, "upstream"), true},
		"502 of a proxy":          {open("https://vault.example.dev", proxy(502)), true},
		"504 of a proxy":          {open("https://vault.example.dev", proxy(504)), true},
		"403 of a proxy":          {open("https://vault.example.dev", proxy(403)), false},
		"a proxy that wants more": {open("https://vault.example.dev", proxy(407)), false},
		"proxy is away": {open("https://vault.example.dev", func(o *remote.Options) {
			o.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse("http://" + closed) }
		}), true},
		"unknown certificate": {open(secure.URL), false},
		"another name":        {open(strings.Replace(secure.URL, "127.0.0.1", "localhost", 1), func(o *remote.Options) { o.CA = ca }), false},
		"refused by an alert": {open(secure.URL, func(o *remote.Options) { o.CA = ca }), false},
		"no TLS":              {open("https://" + listener(func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n"); c.Close() })), false},
		"sealed":              {says(503, wire.Sealed), false},
		"not initialised":     {says(501, "not initialized"), false},
		"too much":            {says(429, "rate"), false},
		"500":                 {says(500, "internal error"), false},
		"505":                 {says(505, "no"), false},
		"standby":             {says(473, "standby"), false},
		"denied":              {says(403, "permission denied"), false},
		"a page":              {serve(t, answer(404, "<html>where is it</html>")), false},
	} {
		err := get(t, c.v)
		if err == nil {
			t.Errorf("%s: it answers", name)
			continue
		}
		if got := remote.Away(err); got != c.want {
			t.Errorf("%s: away %v: %v", name, got, err)
		}
		if c.want && remote.Withdrawn(err) {
			t.Errorf("%s: withdrawn: %v", name, err)
		}
	}
}

func TestWithdrawn(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		want   bool
	}{
		"401":        {401, `{"errors":["who is it"]}`, true},
		"403":        {403, `{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`, true},
		"bad token":  {403, `{"errors":["permission denied"]}`, true},
		"404":        {404, `{"errors":[]}`, true},
		"deleted":    {404, `{"data":{"data":null,"metadata":{"created_time":"2026-11-22T10:11:12Z","deletion_time":"2026-11-22T10:11:13Z","version":3}}}`, true},
		"no mount":   {404, `{"errors":["no handler for route \"dev/data/app\". route entry not found."]}`, true},
		"410":        {410, `{"errors":["gone"]}`, true},
		"revoked":    {400, `{"errors":["the token was revoked"]}`, true},
		"400":        {400, `{"errors":["what"]}`, false},
		"a page":     {404, `<html>`, false},
		"500":        {500, `{"errors":["internal error"]}`, false},
		"sealed":     {503, `{"errors":["Vault is sealed"]}`, false},
		"not JSON":   {200, `<html>`, false},
		"a good one": {200, secretAnswer, false},
	} {
		err := get(t, serve(t, withMounts(answer(c.status, c.body))))
		if (err == nil) != (c.status == 200 && c.body == secretAnswer) {
			t.Errorf("%s: %v", name, err)
		}
		if got := remote.Withdrawn(err); got != c.want {
			t.Errorf("%s: withdrawn %v: %v", name, got, err)
		}
	}
	if remote.Withdrawn(get(t, serve(t, answer(200, secretAnswer), func(o *remote.Options) { o.Token = token("") }))) {
		t.Error("no token to show: nothing was withdrawn")
	}
}

func TestTold(t *testing.T) {
	v := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", "Mon, 23 Nov 2026 09:00:00 GMT")
		w.Header().Add(wire.CacheHeader, wire.CacheText("dev/", time.Hour))
		w.Header().Add(wire.CacheHeader, wire.CacheText("team a/prod", 0))
		answer(200, strings.Replace(secretAnswer, "{", `{"lease_id":"x",`, 1))(w, r)
	}, func(o *remote.Options) { o.Mounts = nil })
	if told := v.Told("dev"); !told.Date.IsZero() || told.Cache != nil {
		t.Errorf("before it said something: %+v", told)
	}
	s, err := v.Get(t.Context(), "dev", "app")
	if err != nil || !s.Leased {
		t.Errorf("%+v %v", s.Info, err)
	}
	told := v.Told("dev")
	if !told.Date.Equal(time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)) || told.Cache == nil || *told.Cache != time.Hour {
		t.Errorf("%+v", told)
	}
	if told := v.Told("prod"); told.Cache != nil {
		t.Errorf("of another mount: %v", *told.Cache)
	}
	for text, want := range map[string]time.Duration{"": 0, "x dev": 0, "-5 dev": 0, "99999999 dev": wire.MaxCache, "60 dev": time.Minute} {
		if _, got := wire.ReadCacheText(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if mount, _ := wire.ReadCacheText(wire.CacheText("team a/prod/", 0)); mount != "team a/prod" {
		t.Errorf("%q", mount)
	}
}
