package server_test

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"envrun/auth/oidc/oidctest"
)

// The roles of docs/ci, as they stand there, take a token of their platform's form,
// and not one that differs in what matters (A39, A40).
func TestCIDocs(t *testing.T) { takesJobsOf(t, "") }

// takesJobsOf checks the page of one platform; of all of them if it is empty.
func takesJobsOf(t *testing.T, platform string) {
	var platforms map[string]struct {
		Issuer  string
		Claims  oidctest.Claims
		Refused []oidctest.Claims
	}
	text, err := os.ReadFile("testdata/ci-claims.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &platforms); err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("../../docs/ci/*.md")
	if err != nil || len(pages) != len(platforms)+1 { // and README.md
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	der, err := x509.MarshalPKIXPublicKey(oidctest.PrivateKey(oidctest.P256).(crypto.Signer).Public())
	if err != nil {
		t.Fatal(err)
	}
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	for name, p := range platforms {
		if platform != "" && name != platform {
			continue
		}
		t.Run(name, func(t *testing.T) {
			page, err := os.ReadFile("../../docs/ci/" + name + ".md")
			if err != nil {
				t.Fatal(err)
			}
			_, role, ok := strings.Cut(string(page), "```json\n")
			role, _, _ = strings.Cut(role, "```")
			if !ok || !strings.Contains(string(page), "oidc_discovery_url="+p.Issuer) {
				t.Fatal("the page has no role, or another issuer")
			}
			w := newWorld(t)
			w.must(204, "root", "PUT", "sys/policies/acl/app-dev", `{"policy":"path \"dev/data/app\" { capabilities = [\"read\"] }"}`)
			w.must(204, "root", "POST", "sys/auth/ci", `{"type":"jwt"}`)
			config, _ := json.Marshal(map[string]string{"jwt_validation_pubkeys": key, "bound_issuer": p.Issuer})
			w.must(204, "root", "POST", "auth/ci/config", string(config))
			w.must(204, "root", "POST", "auth/ci/role/app", role) // 200 would be a warning
			login := func(change oidctest.Claims) said {
				good := oidctest.Good(p.Issuer, "https://vault.example.dev", w.now).With(p.Claims)
				jwt := oidctest.SignRaw("ES256", oidctest.P256, good.With(change).JSON(), nil)
				body, _ := json.Marshal(map[string]string{"role": "app", "jwt": jwt})
				return w.ask("", "POST", "auth/ci/login", string(body))
			}
			if s := login(nil); s.status != 200 || fmt.Sprint(s.body["auth"].(map[string]any)["policies"]) != "[app-dev default]" {
				t.Errorf("a token of the job: %d %s", s.status, s.raw)
			}
			for _, change := range p.Refused {
				if s := login(change); s.status != 400 {
					t.Errorf("a token with %v: %d %s", change, s.status, s.raw)
				}
			}
		})
	}
}
