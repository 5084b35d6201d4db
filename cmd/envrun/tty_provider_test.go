//go:build unix

package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"envrun/auth/oidc/idp"
	"envrun/vault/vaulttest/hashivault"
)

// visits has somebody's browser write down where it is sent, and a person of a
// provider go there and come back.
func visits(t *testing.T, p *person, who *idp.Person) *person {
	t.Helper()
	file := filepath.Join(p.dir, "visit")
	p.write("opener", "#!/bin/sh\nprintf %s \"$1\" > "+file+".new && mv "+file+".new "+file+"\n")
	if err := os.Chmod(filepath.Join(p.dir, "opener"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	t.Cleanup(func() { stop(); <-ended })
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			text, err := os.ReadFile(file)
			if err != nil {
				time.Sleep(20 * time.Millisecond)
				continue
			}
			os.Remove(file)
			back, err := who.SignIn(ctx, string(text))
			if err != nil {
				t.Errorf("at the provider: %v", err)
				return
			}
			res, err := http.Get(back)
			if err != nil {
				t.Errorf("back here: %v", err)
				return
			}
			res.Body.Close()
		}
	}()
	return p.as("BROWSER=" + filepath.Join(p.dir, "opener"))
}

// takes has the server take people of a provider, whose group developers may read.
func (o *office) takes(p *idp.Provider) {
	o.t.Helper()
	algorithm := map[string]string{"zitadel": "ES256", "oidc-provider": "RS256"}[p.Name]
	o.ask(o.root, "POST", "sys/auth/people", map[string]any{"type": "jwt"})
	o.ask(o.root, "POST", "auth/people/config", map[string]any{"oidc_discovery_url": p.Issuer, "allow_private_issuer": true, "oidc_client_id": idp.ClientID,
		"oidc_scopes": idp.Scopes, "jwt_supported_algs": []string{algorithm}, "default_role": "all"})
	o.ask(o.root, "POST", "auth/people/role/all", map[string]any{"role_type": "jwt", "bound_audiences": []string{idp.ClientID}, "user_claim": "sub", "groups_claim": "groups", "listed": true})
	_, mounts := o.answer(o.root, "GET", "sys/auth", nil)
	accessor := mounts["people/"].(map[string]any)["accessor"]
	_, group := o.answer(o.root, "POST", "identity/group", map[string]any{"name": "developers", "type": "external", "policies": []string{"dev"}})
	o.ask(o.root, "POST", "identity/group-alias", map[string]any{"name": "developers", "mount_accessor": accessor, "canonical_id": group["id"]})
	o.write("envrun.toml", fmt.Sprintf("vault = %q\nproject = \"app\"\ndefault = \"dev\"\n[env.dev]\n[sign_in]\nmount = \"people\"\n", o.addr))
}

// The same as TestTerminalLogin at real providers, whose groups give the policies.
func TestTerminalProviders(t *testing.T) {
	idp.Each(t, func(t *testing.T, p *idp.Provider) {
		o := newOffice(t, nil)
		o.takes(p)
		o.person = visits(t, o.person, p.Person("bob"))
		c := o.run("login", "--store", "passphrase")
		c.wants(0, "is renewed by itself")
		if got := o.must("", "get", "A"); got != "canary-value" {
			t.Errorf("it is %q", got)
		}
		var is []map[string]any
		if err := json.Unmarshal([]byte(o.must("", "whoami", "--verify", "--json")), &is); err != nil || len(is) != 1 || is[0]["verified"] != true || !strings.Contains(fmt.Sprint(is[0]["policies"]), "dev") {
			t.Errorf("%v %v", err, is)
		}
		// Signed in once more, the session is the new one; the old one is over.
		o.run("login").wants(0, "is renewed by itself")
		for range 2 {
			for _, a := range tokensOf(o, "auth/people/login") {
				o.ask(o.root, "POST", "auth/token/revoke-accessor", map[string]any{"accessor": a})
			}
			if got := o.must("", "get", "A"); got != "canary-value" { // by the refresh token
				t.Errorf("it is %q", got)
			}
		}
		o.must("", "logout")
		if _, errs, code := o.pipe("", "get", "A"); code != 1 || !strings.Contains(errs, "envrun login") {
			t.Errorf("status %d: %s", code, errs)
		}
		for _, secret := range p.Secrets() {
			nowhere(t, secret, o.home, o.dir, o.tmp)
		}
		if left := tokensOf(o, "auth/people/login"); len(left) > 1 { // of the first sign-in, which ends by itself
			t.Errorf("%d tokens are left", len(left))
		}
	})
}

// tokensOf are the accessors of the tokens that somebody signed in for.
func tokensOf(o *office, path string) (of []any) {
	_, all := o.answer(o.root, "GET", "auth/token/accessors?list=true", nil)
	for _, a := range all["keys"].([]any) {
		if _, is := o.answer(o.root, "POST", "auth/token/lookup-accessor", map[string]any{"accessor": a}); is["path"] == path {
			of = append(of, a)
		}
	}
	return of
}

// Where only Vault's own method is there, envrun login takes it by itself.
func TestTerminalDriven(t *testing.T) {
	s := hashivault.Start(t)
	p := idp.Zitadel(t)
	must := func(method, path string, body map[string]any) {
		t.Helper()
		if status, out := s.DoAs(t, s.Token, method, path, body); status >= 300 {
			t.Fatalf("%s %s: %d %s", method, path, status, out)
		}
	}
	must("POST", "sys/mounts/driven", map[string]any{"type": "kv", "options": map[string]any{"version": "2"}})
	must("PUT", "sys/policies/acl/driven", map[string]any{"policy": `path "driven/*" { capabilities = ["create", "read", "update", "list"] }`})
	must("POST", "sys/auth/people-oidc", map[string]any{"type": "oidc"})
	must("POST", "auth/people-oidc/config", map[string]any{"oidc_discovery_url": p.Issuer, "oidc_client_id": idp.VaultID, "oidc_client_secret": idp.VaultSecret,
		"jwt_supported_algs": []string{"ES256"}, "default_role": "dev"})
	must("POST", "auth/people-oidc/role/dev", map[string]any{"allowed_redirect_uris": []string{"http://localhost:8250/oidc/callback"}, "user_claim": "sub",
		"oidc_scopes": []string{"profile", "email", "groups"}, "claim_mappings": map[string]string{"email": "email"}, "token_policies": []string{"driven"}, "token_ttl": "10m"})

	o := newPerson(t)
	o.write("envrun.toml", fmt.Sprintf("vault = %q\nproject = \"app\"\ndefault = \"dev\"\n[env.dev]\nmount = \"driven\"\n[sign_in]\nmount = \"people-oidc\"\n", s.Addr))
	o = visits(t, o.phrased(), p.Person("bob"))
	o.run("login", "--store", "passphrase").wants(0, "bob@example.test", "sign in again")
	o.must("canary-value", "set", "A")
	if got := o.must("", "get", "A"); got != "canary-value" {
		t.Errorf("it is %q", got)
	}
	o.must("", "logout")
	if _, errs, code := o.pipe("", "get", "A"); code != 1 || !strings.Contains(errs, "envrun login") {
		t.Errorf("status %d: %s", code, errs)
	}

	// Without a browser here the address is pasted, and there are no codes.
	o = o.headless()
	c := o.run("login", "--store", "passphrase")
	c.expect("paste all of it here.")
	back, err := p.Person("bob").SignIn(t.Context(), "http://"+after(c.all(), "    http://"))
	if err != nil {
		t.Fatal(err)
	}
	c.typed(strings.Replace(back, "state=", "state=x", 1) + "\r")
	c.expect("it belongs to another sign-in")
	c.typed(back + "\r")
	c.wants(0, "bob@example.test")
	if got := o.must("", "get", "A"); got != "canary-value" {
		t.Errorf("it is %q", got)
	}
	o.must("", "logout")
	if _, errs, code := o.pipe("", "login", "--store", "passphrase", "--device"); code != 1 || !strings.Contains(errs, "the issuer has no device codes") {
		t.Errorf("status %d: %s", code, errs)
	}
}
