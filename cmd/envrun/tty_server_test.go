//go:build unix

package main_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"envrun/vault/vaulttest/hashivault"
)

// A project file names a server that this machine has sent nothing to: cloning it
// must not be enough to have a token sent there.
func TestTerminalTokenGoesWhereSaid(t *testing.T) {
	s := hashivault.Start(t)
	p := newPerson(t).as("VAULT_TOKEN=" + s.Token)
	project := func(address string) {
		p.write("envrun.toml", fmt.Sprintf("vault = %q\nproject = \"app\"\ndefault = \"dev\"\n[env.dev]\n", address))
	}
	project(s.Addr)
	question := "Send it the token in VAULT_TOKEN, now and from now on?"

	// Nobody at a terminal, or somebody who says no: it stays here.
	if _, errs, code := p.pipe("", "env", "add", "dev"); code != 1 || !strings.Contains(errs, "export VAULT_ADDR="+s.Addr) {
		t.Errorf("status %d: %s", code, errs)
	}
	c := p.run("env", "add", "dev")
	c.expect("names the server " + s.Addr + ". This machine has sent no token there yet.")
	c.expect(question)
	c.typed("n\n")
	c.wants(1, "no token was sent to "+s.Addr)
	if _, err := os.Stat(filepath.Join(p.home, ".local/state/envrun/servers")); err == nil {
		t.Error("a no is kept as a yes")
	}

	// A yes is asked for once.
	c = p.run("env", "add", "dev")
	c.expect(question)
	c.typed("y\n")
	c.wants(0, "added dev on "+s.Addr)
	p.must("value", "set", "A")
	if got := p.must("", "get", "A"); got != "value" {
		t.Errorf("it is %q", got)
	}

	// It was about that server, and about no other.
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("another server was asked for %s, with the token %q", r.URL, r.Header.Get("X-Vault-Token"))
	}))
	defer other.Close()
	project(other.URL)
	if _, errs, code := p.pipe("", "get", "A"); code != 1 || !strings.Contains(errs, "is not known to be for "+other.URL) {
		t.Errorf("status %d: %s", code, errs)
	}
	// Nor does the interface ask by itself: it is asked before there is a screen.
	c = p.run("tui")
	c.expect("names the server " + other.URL)
	c.expect(question)
	c.typed("\x03")
	c.wants(130)
}

// A server is known by its authority or by its key, as the project file says; one
// that is not gets no token.
func TestServerCertificates(t *testing.T) {
	s := hashivault.Start(t)
	to, err := url.Parse(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	var asked atomic.Int64
	tls := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		proxy.ServeHTTP(w, r)
	}))
	tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	tls.StartTLS()
	defer tls.Close()
	sum := sha256.Sum256(tls.Certificate().RawSubjectPublicKeyInfo)
	pin, wrong := "sha256/"+base64.StdEncoding.EncodeToString(sum[:]), "sha256/"+base64.StdEncoding.EncodeToString(make([]byte, 32))

	p := newPerson(t).as("VAULT_ADDR="+tls.URL, "VAULT_TOKEN="+s.Token)
	p.write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: tls.Certificate().Raw})))
	project := func(known string) {
		p.write("envrun.toml", fmt.Sprintf("vault = %q\n%s\nproject = \"app\"\ndefault = \"dev\"\n[env.dev]\n", tls.URL, known))
	}
	project(`pin = "` + pin + `"`)
	p.must("", "env", "add", "dev")
	p.must("value", "set", "A")

	for _, known := range []string{`pin = ["` + wrong + `", "` + pin + `"]`, `ca = "ca.pem"`, "ca = \"ca.pem\"\npin = \"" + pin + `"`} {
		project(known)
		if got := p.must("", "get", "A"); got != "value" {
			t.Errorf("%s: %q", known, got)
		}
	}
	project("")
	if got := p.as("VAULT_CACERT="+filepath.Join(p.dir, "ca.pem")).must("", "get", "A"); got != "value" {
		t.Errorf("with VAULT_CACERT: %q", got)
	}

	asked.Store(0)
	for _, known := range []string{"", `pin = "` + wrong + `"`, "ca = \"ca.pem\"\npin = \"" + wrong + `"`} {
		project(known)
		if _, errs, code := p.pipe("", "get", "A"); code != 1 || !strings.Contains(errs, "E_TAMPERED") || !strings.Contains(errs, "no token was sent") {
			t.Errorf("%q: status %d: %s", known, code, errs)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("it was asked %d times all the same", n)
	}
	project(`ca = "missing.pem"`)
	if _, errs, code := p.pipe("", "get", "A"); code != 1 || !strings.Contains(errs, "envrun.toml:2") || !strings.Contains(errs, "missing.pem") {
		t.Errorf("status %d: %s", code, errs)
	}
}
