package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"envrun/auth/oidc/oidctest"
	"envrun/vault/vaulttest/kubernetes"
)

// Pods of a real cluster, whose API server makes their tokens and is asked of them.
func TestRealCluster(t *testing.T) {
	c := kubernetes.Start(t)
	w := newWorld(t)
	const audience = "https://secrets.example.com"
	c.Namespace(t, "payments")
	c.Namespace(t, "staging")
	uid := c.Account(t, "payments", "api")
	for _, namespace := range []string{"payments", "staging"} {
		c.Account(t, namespace, "web")
	}
	c.Account(t, "staging", "api")
	may, mayNot := c.Reviewer(t, "reviewer", true), c.Reviewer(t, "another", false)
	w.must(204, "root", "POST", "sys/auth/kubernetes", `{"type":"kubernetes"}`)
	w.kubeConfig(204, c.Host, c.CA, may)
	w.must(204, "root", "POST", "auth/kubernetes/role/api", `{"bound_service_account_names":"api","bound_service_account_namespaces":"payments","audience":"`+audience+`","token_policies":"billing","token_ttl":"20m"}`)
	token := func(namespace, account string) string { return c.Token(t, namespace, account, audience, "", "") }

	pod := c.Pod(t, "payments", "api-1", "api")
	jwt := c.Token(t, "payments", "api", audience, "api-1", pod)
	s := w.kubeLogin("api", jwt)
	if s.status != 200 {
		t.Fatal(s.status, s.raw)
	}
	info := w.must(200, s.token(), "GET", "auth/token/lookup-self", "").data()
	if got := fmt.Sprintf("%v %v %v %v", info["display_name"], info["policies"], info["ttl"], info["meta"].(map[string]any)["service_account_uid"]); got != "kubernetes-payments-api [billing default] 1200 "+uid {
		t.Error(got)
	}

	// Nobody else is let in, is told why, or stands in the log with more than the reason.
	refused := func(name, role, jwt, reason string) {
		t.Helper()
		s := w.kubeLogin(role, jwt)
		if s.status != 403 || strings.TrimSpace(s.raw) != `{"errors":["permission denied"]}` {
			t.Errorf("%s: %d %s", name, s.status, s.raw)
		}
		all := w.log.all()
		if out := all[len(all)-1]; !strings.Contains(out.Error, reason) {
			t.Errorf("%s: the audit log says %q", name, out.Error)
		}
	}
	for _, x := range []struct{ name, role, jwt, reason string }{
		{"another namespace", "api", token("staging", "api"), "not one of the role"},
		{"another account", "api", token("payments", "web"), "not one of the role"},
		{"another server's", "api", c.Token(t, "payments", "api", "https://vault.example.dev", "", ""), "vouch"},
		{"one for the cluster", "api", c.Token(t, "payments", "api", "", "", ""), "vouch"},
		{"the reviewer's", "api", may, "vouch"},
		{"expired", "api", c.Shifted(t, jwt, -time.Hour), "vouch"},
		{"not yet", "api", c.Shifted(t, jwt, time.Hour), "vouch"},
		{"another cluster's", "api", oidctest.SignRaw("ES256", oidctest.P256, kubernetes.Claims(t, jwt).JSON(), nil), "vouch"},
		{"cut", "api", jwt[:len(jwt)-2], "vouch"},
		{"no such role", "nobody", jwt, "vouch"},
	} {
		refused(x.name, x.role, x.jwt, x.reason)
	}
	if s := w.kubeLogin("api", c.Shifted(t, jwt, -time.Minute)); s.status != 200 {
		t.Errorf("signed anew, and in time: %d %s", s.status, s.raw)
	}

	// What is gone is nobody, also with a token that has minutes left: once the cluster
	// has forgotten that it vouched for that, some ten seconds later.
	gone := func(name, jwt string) {
		t.Helper()
		for deadline := time.Now().Add(2 * time.Minute); w.kubeLogin("api", jwt).status == 200; time.Sleep(500 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: it is let in still", name)
			}
		}
		refused(name, "api", jwt, "vouch")
	}
	c.DeletePod(t, "payments", "api-1")
	gone("a deleted pod", jwt)
	other := c.Pod(t, "payments", "api-1", "api")
	refused("a pod that has its name", "api", jwt, "vouch")
	if s := w.kubeLogin("api", c.Token(t, "payments", "api", audience, "api-1", other)); s.status != 200 {
		t.Errorf("that pod itself: %d %s", s.status, s.raw)
	}
	whole := token("payments", "api")
	c.DeleteAccount(t, "payments", "api")
	gone("a deleted account", whole)
	if again := c.Account(t, "payments", "api"); again == uid {
		t.Fatal("it has the same uid")
	}
	refused("an account that was made again", "api", whole, "vouch")
	was := info["entity_id"]
	whole = token("payments", "api")
	if s := w.kubeLogin("api", whole); s.status != 200 || s.body["auth"].(map[string]any)["entity_id"] == was {
		t.Errorf("that account itself: %d %s", s.status, s.raw)
	}

	// A cluster that cannot be asked is no verdict: come again.
	away := func(name, reason string) {
		t.Helper()
		s := w.kubeLogin("api", whole)
		if s.status != 503 || s.token() != "" || !strings.Contains(s.raw, "the cluster cannot be asked of the token now; try again") {
			t.Errorf("%s: %d %s", name, s.status, s.raw)
		}
		all := w.log.all()
		if out := all[len(all)-1]; !strings.Contains(out.Error, reason) {
			t.Errorf("%s: the audit log says %q", name, out.Error)
		}
	}
	w.kubeConfig(200, c.Host, c.CA, mayNot)
	away("a reviewer without rights", "system:auth-delegator")
	w.kubeConfig(200, c.Host, c.CA, c.Shifted(t, may, -time.Hour))
	away("a reviewer whose token has ended", "system:auth-delegator")
	w.kubeConfig(200, c.Host, c.CA, token("payments", "web"))
	away("a reviewer whose token is not for the cluster", "system:auth-delegator")
	w.kubeConfig(200, c.Host, newCluster(t).ca(), may)
	away("another certificate", "kubernetes_ca_cert")
	w.kubeConfig(204, c.Host, c.CA, may)
	c.Stop()
	away("a cluster that is down", "does not answer")
	w.must(200, s.token(), "GET", "auth/token/lookup-self", "")
	c.Restart(t)
	if s := w.kubeLogin("api", token("payments", "api")); s.status != 200 {
		t.Errorf("after it came back: %d %s", s.status, s.raw)
	}

	for _, text := range []string{jwt, whole, may, mayNot, strings.Split(jwt, ".")[2]} {
		if strings.Contains(w.log.text(), text) {
			t.Errorf("the audit log holds a token: %.9s…", text)
		}
	}
}

// The same pods by the cluster's keys alone, with the role of docs/ci/kubernetes.md:
// as it publishes them, from where they are copied to, and by themselves.
func TestRealClusterKeys(t *testing.T) {
	c := kubernetes.Start(t)
	w := newWorld(t)
	w.now = time.Now()
	const audience = "https://vault.example.dev"
	c.Namespace(t, "payments")
	uid := c.Account(t, "payments", "api")
	c.Account(t, "payments", "web")
	pod := c.Pod(t, "payments", "api-1", "api")
	jwt := c.Token(t, "payments", "api", audience, "api-1", pod)
	page, err := os.ReadFile("../../docs/ci/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	_, role, _ := strings.Cut(string(page), "```json\n")
	role, _, _ = strings.Cut(role, "```")
	const example = "4a1d7c1e-0000-4000-8000-000000000001"
	if !strings.Contains(role, example) {
		t.Fatal("the page has another uid")
	}
	role = strings.ReplaceAll(role, example, uid)

	// It publishes its keys to nobody who is not signed in, unless it is told to.
	discovery := map[string]any{"oidc_discovery_url": c.Issuer, "bound_issuer": c.Issuer, "oidc_discovery_ca_pem": c.CA, "allow_private_issuer": true}
	w.must(204, "root", "POST", "sys/auth/published", `{"type":"jwt"}`)
	if s := w.must(400, "root", "POST", "auth/published/config", asJSON(discovery)); !strings.Contains(s.raw, "error checking oidc discovery URL") {
		t.Errorf("a cluster that keeps its keys to itself: %s", s.raw)
	}
	c.Publish(t)
	// It has them at its address, which is another name than the issuer's.
	host := strings.TrimPrefix(c.Host, "https://")
	if s := w.must(400, "root", "POST", "auth/published/config", asJSON(discovery)); !strings.Contains(s.raw, host) || !strings.Contains(s.raw, "jwks_hosts") {
		t.Errorf("keys at another host: %s", s.raw)
	}
	discovery["jwks_hosts"] = host
	copied := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, c.Keys(t)) }))
	defer copied.Close()
	for mount, config := range map[string]map[string]any{
		"published": discovery,
		"copied":    {"jwks_url": copied.URL, "bound_issuer": c.Issuer, "allow_private_issuer": true},
		"given":     {"jwt_validation_pubkeys": c.PublicKey(t), "bound_issuer": c.Issuer},
	} {
		t.Run(mount, func(t *testing.T) {
			w := w.in(t)
			if mount != "published" {
				w.must(204, "root", "POST", "sys/auth/"+mount, `{"type":"jwt"}`)
			}
			w.must(204, "root", "POST", "auth/"+mount+"/config", asJSON(config))
			w.must(204, "root", "POST", "auth/"+mount+"/role/app", role)
			for _, x := range []struct {
				name, jwt string
				status    int
			}{
				{"the pod", jwt, 200},
				{"the account alone", c.Token(t, "payments", "api", audience, "", ""), 200},
				{"another account", c.Token(t, "payments", "web", audience, "", ""), 400},
				{"one for the cluster", c.Token(t, "payments", "api", "", "", ""), 400},
				{"expired", c.Shifted(t, jwt, -time.Hour), 400},
				{"another cluster's", oidctest.SignRaw("ES256", oidctest.P256, kubernetes.Claims(t, jwt).JSON(), nil), 400},
			} {
				if s := w.ask("", "POST", "auth/"+mount+"/login", asJSON(map[string]string{"role": "app", "jwt": x.jwt})); s.status != x.status {
					t.Errorf("%s: %d %s, want %d", x.name, s.status, s.raw, x.status)
				}
			}
		})
	}
	// The page says so: by keys alone, nobody knows that the pod is gone.
	c.DeletePod(t, "payments", "api-1")
	w.must(200, "", "POST", "auth/given/login", asJSON(map[string]string{"role": "app", "jwt": jwt}))
	c.DeleteAccount(t, "payments", "api")
	c.Account(t, "payments", "api")
	w.must(400, "", "POST", "auth/given/login", asJSON(map[string]string{"role": "app", "jwt": c.Token(t, "payments", "api", audience, "", "")}))
}

func asJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // of texts
	}
	return string(text)
}
