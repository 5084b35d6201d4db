//go:build unix

package main_test

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"envrun/auth/oidc/oidctest"
)

// A gateway is a proxy by which one gets out of a network (RFC 9110 §9.3.6): names are
// known to it alone.
type gateway struct {
	*httptest.Server
	hosts map[string]string // "vault.example.com:443": where that is

	mu     sync.Mutex
	seen   []string
	status int // that it answers; 0: it connects
}

func newGateway(t *testing.T, hosts map[string]string) *gateway {
	g := &gateway{hosts: hosts}
	g.Server = httptest.NewServer(g)
	t.Cleanup(g.Close)
	return g
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	g.seen = append(g.seen, r.Method+" "+r.Host)
	status := g.status
	g.mu.Unlock()
	if status == 0 && (r.Method != http.MethodConnect || g.hosts[r.Host] == "") {
		status = http.StatusBadGateway
	}
	if status != 0 {
		w.WriteHeader(status)
		return
	}
	there, err := net.Dial("tcp", g.hosts[r.Host])
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer there.Close()
	w.WriteHeader(http.StatusOK)
	here, rest, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer here.Close()
	go func() { _, _ = io.Copy(there, rest); there.Close() }()
	_, _ = io.Copy(here, there)
}

// asked are the connections since it was asked last; from now on it answers with a
// status, or connects.
func (g *gateway) asked(status int) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	seen := strings.Join(g.seen, " ")
	g.seen, g.status = nil, status
	return seen
}

// inTLS puts a server behind TLS, with a certificate that no system knows, for
// example.com and the names below it.
func inTLS(t *testing.T, address string, settings *tls.Config) *httptest.Server {
	t.Helper()
	to, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(httputil.NewSingleHostReverseProxy(to))
	s.TLS, s.Config.ErrorLog = settings, log.New(io.Discard, "", 0) // handshakes that have to fail
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func addressOf(s *httptest.Server) string { return s.Listener.Addr().String() }

// In a company's network there is a proxy, and certificates of its own: the server and
// the issuer are reached through it, and known by what the project says of them.
func TestTerminalNetwork(t *testing.T) {
	t.Parallel()
	o := newOffice(t, map[string]any{"token_ttl": "1h"})
	issuer := oidctest.NewProvider(t)
	keys := issuer.URL + "/keys"
	front, login := inTLS(t, o.addr, nil), inTLS(t, issuer.URL, nil)
	old := inTLS(t, o.addr, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	issuer.URL = "https://login.example.com" // before anybody asks it
	g := newGateway(t, map[string]string{
		"vault.example.com:443": addressOf(front), "login.example.com:443": addressOf(login), "old.example.com:443": addressOf(old), "plain.example.com:443": addressOf(plain),
	})
	o.ask(o.root, "POST", "sys/auth/people", map[string]any{"type": "jwt"})
	o.ask(o.root, "POST", "auth/people/config", map[string]any{"jwks_url": keys, "bound_issuer": issuer.URL, "allow_private_issuer": true, "default_role": "dev"})
	o.ask(o.root, "POST", "auth/people/role/dev", map[string]any{"role_type": "jwt", "bound_audiences": []string{oidctest.ClientID}, "user_claim": "sub", "token_policies": []string{"dev"}})

	certificate := front.Certificate()
	o.write("company.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})))
	sum := sha256.Sum256(certificate.RawSubjectPublicKeyInfo)
	pin := "sha256/" + base64.StdEncoding.EncodeToString(sum[:])
	wrong := "sha256/" + base64.StdEncoding.EncodeToString(make([]byte, sha256.Size))
	// Hosts are below example.com; server and people say how they are known.
	project := func(host, server, issuer, people string) {
		o.write("envrun.toml", fmt.Sprintf("vault = \"https://%s.example.com\"\n%s\nproject = \"app\"\ndefault = \"dev\"\n[env.dev]\n[sign_in]\nmount = \"people\"\nrole = \"dev\"\nissuer = \"https://%s.example.com\"\nclient_id = %q\n%s\n",
			host, server, issuer, oidctest.ClientID, people))
	}
	const byCA = "ca = \"company.pem\""
	o.write("../home/.curlrc", "insecure\n") // for the browser
	o.person = o.as("HTTPS_PROXY="+g.URL, "NO_PROXY=intranet.test")

	for name, server := range map[string]string{"ca": byCA, "pin": fmt.Sprintf("pin = %q", pin), "one of two pins": fmt.Sprintf("pin = [%q, %q]", wrong, pin)} {
		project("vault", server, "login", byCA)
		g.asked(0)
		o.run("login", "--store", "passphrase").wants(0, "server    https://vault.example.com", "is renewed by itself")
		if seen := g.asked(0); !strings.Contains(seen, "CONNECT vault.example.com:443") || !strings.Contains(seen, "CONNECT login.example.com:443") {
			t.Errorf("%s: the proxy saw %s", name, seen)
		}
		if got := o.must("", "--mask", "never", "--", "sh", "-c", `echo "$A"`); got != "canary-value\n" {
			t.Errorf("%s: it is %q", name, got)
		}
	}
	for _, a := range tokensOf(o, "auth/people/login") {
		o.ask(o.root, "POST", "auth/token/revoke-accessor", map[string]any{"accessor": a})
	}
	o.must("", "--", "true") // renewed at the issuer
	if seen := g.asked(0); !strings.Contains(seen, "CONNECT login.example.com:443") {
		t.Errorf("the proxy saw %s", seen)
	}

	// What is wrong is said in words, at a sign-in and at a run.
	refused := func(host string, says ...string) {
		t.Helper()
		c := o.run("login", "--store", "passphrase")
		c.wants(1, append(says, "!A browser was opened")...)
		_, errs, code := o.as("VAULT_TOKEN=a-token", "VAULT_ADDR=https://"+host+".example.com").pipe("", "--", "true")
		for _, text := range says {
			if code != 125 || !strings.Contains(errs, text) {
				t.Errorf("status %d, want %q: %s", code, text, errs)
			}
		}
	}
	const own, nothing = `hint: if its certificate is its own: ca = "FILE" or pin = "sha256/…" beside vault in envrun.toml`, "hint: no token was sent"
	project("vault", "", "login", byCA)
	refused("vault", "https://vault.example.com has a certificate that is not trusted: x509: certificate signed by unknown authority", nothing, own, "E_TAMPERED")
	project("vault", fmt.Sprintf("pin = %q", wrong), "login", byCA)
	refused("vault", "has a certificate that is not trusted: the server has the key "+pin+", which is not pinned", nothing)
	project("vault", fmt.Sprintf("ca = \"company.pem\"\npin = %q", wrong), "login", byCA)
	refused("vault", "which is not pinned", nothing)
	project("vault", "ca = \"nothing.pem\"", "login", byCA)
	refused("vault", "the certificates of the server, from ", "nothing.pem: no such file")
	project("old", byCA, "login", byCA)
	refused("old", "https://old.example.com", "it speaks no TLS 1.2 or later")
	project("plain", byCA, "login", byCA)
	refused("plain", "it does not speak TLS")
	project("vault", byCA, "login", byCA)
	g.asked(http.StatusProxyAuthRequired)
	refused("vault", "https://vault.example.com does not work: status 407: the proxy says so")
	g.asked(http.StatusServiceUnavailable)
	refused("vault", "status 503: the proxy says so", "E_OFFLINE")
	g.asked(0)
	o.person = o.as("NO_PROXY=.example.com")
	refused("vault", "https://vault.example.com cannot be reached")
	if seen := g.asked(0); seen != "" {
		t.Errorf("the proxy saw %s", seen)
	}
	o.person = o.as("NO_PROXY=intranet.test")

	// A proxy that is not there; its password is nobody's business.
	o.person = o.as("HTTPS_PROXY=http://alice:proxy-password@127.0.0.1:9")
	refused("vault", "https://vault.example.com cannot be reached: there is no connection to the proxy that HTTPS_PROXY names")
	if out, errs, _ := o.pipe("", "logout", "--json"); strings.Contains(out+errs, "proxy-password") || !strings.Contains(out, "there is no connection to the proxy") {
		t.Errorf("it says %s%s", out, errs)
	}
	o.person = o.as("HTTPS_PROXY=" + g.URL)
	o.run("login", "--store", "passphrase").wants(0)

	// The same of the issuer, which is asked at a sign-in alone.
	at := func(says ...string) {
		t.Helper()
		o.run("login", "--store", "passphrase").wants(1, append(says, "!A browser was opened")...)
	}
	project("vault", byCA, "login", "")
	at("the issuer https://login.example.com cannot be reached, being asked for its endpoints: its certificate is signed by nobody known here", `hint: if its certificate is its own: ca = "FILE" in [sign_in] of envrun.toml`)
	for host, says := range map[string]string{
		"old": "it ends the TLS handshake: is it TLS 1.2 or later that it speaks?", "plain": "it does not speak TLS", "nobody": "the proxy answers 502",
	} {
		project("vault", byCA, host, byCA)
		at("the issuer https://"+host+".example.com cannot be reached", says)
	}
	project("vault", byCA, "login", byCA)
	o.must("", "--", "true") // with the session that there is
	o.must("", "logout")
	if seen := g.asked(0); !strings.Contains(seen, "CONNECT login.example.com:443") {
		t.Errorf("the proxy saw %s", seen)
	}
}
