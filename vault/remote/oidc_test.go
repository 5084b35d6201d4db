package remote_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"envrun/auth"
	"envrun/auth/oidc/idp"
	"envrun/auth/oidc/login"
	"envrun/vault"
	"envrun/vault/remote"
	"envrun/vault/vaulttest/hashivault"
	"envrun/vault/wire"
)

// anybody is a client without a token.
func anybody(t *testing.T, address string) *remote.Vault {
	t.Helper()
	v, err := remote.Open(remote.Options{Address: address, Token: func(context.Context) (string, error) { return "", nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

// oidcMount gives a Vault the method that it drives itself, at auth/MOUNT, with
// people's groups, and who may come back where.
func oidcMount(t *testing.T, s *hashivault.Server, p *idp.Provider, mount string, redirects ...string) {
	t.Helper()
	algorithm := map[string]string{"zitadel": "ES256", "oidc-provider": "RS256"}[p.Name]
	must(t, s, "POST", "sys/auth/"+mount, map[string]any{"type": "oidc"})
	must(t, s, "POST", "auth/"+mount+"/config", map[string]any{"oidc_discovery_url": p.Issuer, "oidc_client_id": idp.VaultID, "oidc_client_secret": idp.VaultSecret,
		"jwt_supported_algs": []string{algorithm}, "default_role": "dev"})
	must(t, s, "POST", "auth/"+mount+"/role/dev", map[string]any{"allowed_redirect_uris": redirects, "user_claim": "sub", "groups_claim": "groups",
		"oidc_scopes": []string{"profile", "email", "groups"}, "claim_mappings": map[string]string{"email": "email"}, "token_policies": []string{"dev"}, "token_ttl": "10m"})
}

// driving is a real server that drives: what login.Driven asks of it.
type driving struct {
	v           *remote.Vault
	mount, role string
	nonce       string
	endpoint    string
	got         wire.Auth
}

func (d *driving) Start(ctx context.Context, redirect string) (string, error) {
	return d.v.StartOIDC(ctx, d.mount, d.role, redirect, d.nonce)
}

func (d *driving) Trust(endpoint, client string) error {
	d.endpoint = endpoint + " " + client
	return nil
}

func (d *driving) Finish(ctx context.Context, state, code auth.Secret) (_ login.Welcome, err error) {
	d.got, err = d.v.FinishOIDC(ctx, d.mount, state.Reveal(), code.Reveal(), d.nonce)
	return login.Welcome{}, err
}

// freePort is one that nobody listens on.
func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// signIn lets a person sign in at an address, and shows what their browser gets.
type signIn struct {
	t    *testing.T
	who  *idp.Person
	page chan int
}

func (s signIn) open(ctx context.Context, address string) error {
	go func() {
		back, err := s.who.SignIn(context.WithoutCancel(ctx), address)
		if err != nil {
			s.t.Errorf("at the provider: %v", err)
			close(s.page)
			return
		}
		res, err := http.Get(back)
		if err != nil {
			s.t.Errorf("back here: %v", err)
			close(s.page)
			return
		}
		res.Body.Close()
		s.page <- res.StatusCode
	}()
	return nil
}

type silent struct{}

func (silent) Visit(login.Visit)     {}
func (silent) Code(login.Code)       {}
func (silent) Pasted() <-chan string { return nil }
func (silent) Note(string)           {}

// A person signs in to a Vault where only its own method is there: at the place of
// the vault command, and at one of 127.0.0.1 where the role has that alone.
func TestVaultDrives(t *testing.T) {
	s := hashivault.Start(t)
	idp.Each(t, func(t *testing.T, p *idp.Provider) {
		v := anybody(t, s.Addr)
		for redirect, mount := range map[string]string{
			"http://localhost:8250/oidc/callback": "local-" + p.Name,
			"http://127.0.0.1/oidc/callback":      "number-" + p.Name,
		} {
			oidcMount(t, s, p, mount, redirect)
			d := &driving{v: v, mount: mount, nonce: "a-nonce-of-ours-" + mount}
			in := signIn{t, p.Person("bob"), make(chan int, 1)}
			if err := login.Driven(t.Context(), login.BrowserOptions{Port: freePort(t), Open: true, Opener: in.open}, silent{}, d); err != nil {
				t.Fatal(err)
			}
			if status := <-in.page; status != http.StatusOK {
				t.Errorf("the page has status %d", status)
			}
			if d.got.ClientToken == "" || !slices.Contains(d.got.Policies, "dev") || d.got.Metadata["email"] != "bob@example.test" || !strings.HasPrefix(d.endpoint, strings.TrimSuffix(p.Issuer, "/")) || !strings.HasSuffix(d.endpoint, " "+idp.VaultID) {
				t.Errorf("%s gave policies %v, metadata %v; the endpoint is %s", mount, d.got.Policies, d.got.Metadata, d.endpoint)
			}
			if status, _ := s.DoAs(t, string(d.got.ClientToken), "GET", "auth/token/lookup-self", nil); status != http.StatusOK {
				t.Errorf("the token is worth %d", status)
			}
		}
	})
}

// What Vault holds against a callback is told as it says it, without what was secret.
func TestVaultDrivesNobodyElse(t *testing.T) {
	s := hashivault.Start(t)
	p := idp.Zitadel(t)
	oidcMount(t, s, p, "oidc", "http://localhost:8250/oidc/callback")
	v := anybody(t, s.Addr)
	start := func(nonce string) (address, state string) {
		t.Helper()
		address, err := v.StartOIDC(t.Context(), "oidc", "", "http://localhost:9999/oidc/callback", nonce)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(address)
		if err != nil || u.Query().Get("code_challenge_method") != "S256" {
			t.Fatalf("Vault sends people to %s", address)
		}
		return address, u.Query().Get("state")
	}
	code := func(address string) string {
		t.Helper()
		back, err := p.Person("alice").SignIn(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		u, _ := url.Parse(back)
		return u.Query().Get("code")
	}

	if address, err := v.StartOIDC(t.Context(), "oidc", "dev", "https://evil.example.test/oidc/callback", "n"); address != "" || err != nil {
		t.Errorf("a redirect that the role has not leads to %q, %v", address, err)
	}
	address, state := start("the-nonce-4711")
	good := code(address)
	for name, try := range map[string]struct{ state, code, nonce string }{
		"another state":           {"st_another-0815", good, "the-nonce-4711"},
		"no code of the provider": {"", "the-code-0815", "the-nonce-4711"},
		"another process's nonce": {"", "", "the-nonce-0815"},
	} {
		address, fresh := start("the-nonce-4711")
		if try.state == "" {
			try.state = fresh
		}
		if try.code == "" {
			try.code = code(address)
		}
		_, err := v.FinishOIDC(t.Context(), "oidc", try.state, try.code, try.nonce)
		wantKind(t, err, vault.KindNoIdentity)
		for _, secret := range []string{try.state, try.code, try.nonce} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error repeats %q: %v", name, secret, err)
			}
		}
	}
	got, err := v.FinishOIDC(t.Context(), "oidc", state, good, "the-nonce-4711")
	if err != nil || got.ClientToken == "" {
		t.Fatalf("%v", err)
	}
	if _, err := v.FinishOIDC(t.Context(), "oidc", state, good, "the-nonce-4711"); err == nil {
		t.Error("a sign-in was finished twice")
	}
	_, err = v.StartOIDC(t.Context(), "oidc", "nope", "http://localhost:8250/oidc/callback", "n")
	wantKind(t, err, vault.KindNoIdentity)
	_, err = v.StartOIDC(t.Context(), "nowhere", "", "http://localhost:8250/oidc/callback", "n")
	wantKind(t, err, vault.KindNoIdentity)
	_, err = v.StartOIDC(t.Context(), "../sys", "", "http://localhost:8250/oidc/callback", "n")
	wantKind(t, err, vault.KindInvalid)
}

// What Vault and OpenBao answered when it was recorded is understood.
func TestOIDCRecordings(t *testing.T) {
	for _, server := range []string{"vault-1.21", "openbao-2.6"} {
		t.Run(server, func(t *testing.T) {
			file, err := os.ReadFile(filepath.Join("testdata", server, "oidc.jsonl"))
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			lines := bufio.NewScanner(bytes.NewReader(file))
			lines.Buffer(nil, 1<<22)
			for lines.Scan() {
				var r recording
				if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
					t.Fatal(err)
				}
				var asked string
				front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					asked = req.Method + " " + req.URL.Path + "?" + req.URL.RawQuery
					w.WriteHeader(r.Response.Status)
					_, _ = w.Write(r.Response.Body)
				}))
				v := anybody(t, front.URL)
				switch r.Step {
				case "auth_url", "auth_url other port", "auth_url bad redirect":
					address, err := v.StartOIDC(t.Context(), "oidc", "dev", "http://localhost:8250/oidc/callback", "n1")
					if want := r.Step != "auth_url bad redirect"; err != nil || strings.Contains(address, "&state=st_") != want {
						t.Errorf("%s: %q, %v", r.Step, address, err)
					}
				case "auth_url unknown role":
					_, err := v.StartOIDC(t.Context(), "oidc", "nope", "http://localhost:8250/oidc/callback", "n1")
					wantKind(t, err, vault.KindNoIdentity)
					if !strings.Contains(err.Error(), `role "nope" could not be found`) {
						t.Errorf("%v", err)
					}
				case "callback bad state":
					_, err := v.FinishOIDC(t.Context(), "oidc", "x", "y", "n1")
					wantKind(t, err, vault.KindNoIdentity)
					if sent := r.Request.Method + " " + r.Request.Path + "?client_nonce=n1&code=y&state=x"; asked != sent {
						t.Errorf("asked %s, not %s", asked, sent)
					}
				default:
					front.Close()
					continue
				}
				seen[r.Step] = true
				front.Close()
			}
			if len(seen) != 5 {
				t.Errorf("of the recordings only %s were met", strconv.Quote(strings.Join(slices.Sorted(maps.Keys(seen)), ", ")))
			}
		})
	}
}

// What a server gives at the end of a sign-in is a token, whichever way it was.
func TestOIDCTokenIsNone(t *testing.T) {
	for _, given := range []string{`{}`, `{"auth":{"client_token":""}}`, `{"auth":{"client_token":"a\nX-Other: b"}}`, `{"auth":{"client_token":"\u001b[2J"}}`, `nonsense`} {
		front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(given)) }))
		if a, err := anybody(t, front.URL).FinishOIDC(t.Context(), "oidc", "x", "y", "n1"); err == nil || a.ClientToken != "" {
			t.Errorf("%s: %v", given, err)
		}
		front.Close()
	}
}
