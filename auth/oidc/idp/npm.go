package idp

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

//go:embed npm/provider.mjs
var program []byte

// NPM starts oidc-provider of npm, the one that behaves most like strict
// companies' providers: refresh tokens rotate, and one that is used twice ends the
// grant. It is installed by .ci/clients; without that the test is skipped.
func NPM(t testing.TB) *Provider {
	t.Helper()
	clients := os.Getenv("ENVRUN_TEST_CLIENTS")
	modules := filepath.Join(clients, "idp", "node_modules")
	if _, err := os.Stat(modules); clients == "" || err != nil {
		t.Skip("no oidc-provider of npm: ENVRUN_TEST_CLIENTS=$(.ci/clients -quick) go test …")
	}
	p := serve(t, "oidc-provider", map[string]string{
		"/token": token, "/auth": Authorize, "/device/auth": StartDev, "/token/revocation": Revoke, "/jwks": Keys,
		"/.well-known/openid-configuration": Discover,
	})
	// node looks for packages beside the program.
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "provider.mjs"), program, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "--no-warnings", "provider.mjs")
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	var said bytes.Buffer
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("no node: %v", err)
	}
	t.Cleanup(func() {
		in.Close() // which ends it, and would if the test were killed
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("oidc-provider said:\n%s", said.String())
		}
	})
	answers := bufio.NewScanner(out)
	var mu sync.Mutex
	ask := func(what any) map[string]int {
		mu.Lock()
		defer mu.Unlock()
		if err := json.NewEncoder(in).Encode(what); err != nil {
			panic(err)
		}
		var answer map[string]int
		for answers.Scan() {
			if json.Unmarshal(answers.Bytes(), &answer) == nil {
				return answer
			}
		}
		panic("oidc-provider ended: " + said.String())
	}
	type client map[string]any
	port := ask(map[string]any{
		"issuer": p.Issuer, "users": Users(), "idTokenTTL": int(IDTokenTTL.Seconds()),
		"clients": []client{
			{"client_id": ClientID, "application_type": "native", "token_endpoint_auth_method": "none",
				"redirect_uris": []string{"http://127.0.0.1/callback"}, "response_types": []string{"code"}, "grant_types": []string{Code, Refresh, Device}},
			{"client_id": VaultID, "client_secret": VaultSecret, "application_type": "native",
				"redirect_uris": []string{"http://127.0.0.1/oidc/callback", "http://localhost/oidc/callback"}, "response_types": []string{"code"}, "grant_types": []string{Code}},
		},
	})["port"]
	// It builds its addresses from the Host of a request, which the proxy keeps.
	p.inner = httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: fmt.Sprint("127.0.0.1:", port)})
	p.rotate = func() { ask(map[string]bool{"rotate": true}) }
	p.users = func(users map[string]User) { ask(map[string]any{"users": users}) }
	return p
}
