package main

import (
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"envrun/auth/oidc/oidctest"

	"github.com/rogpeppe/go-internal/testscript"
)

// A platform is a CI platform for scripts: an issuer, and what GitHub's runner
// offers a job, whose identity is for whom it is asked for.
type platform struct {
	*oidctest.Issuer
	github *httptest.Server
}

func newPlatform(t *testing.T) *platform {
	p := &platform{Issuer: oidctest.New(t)}
	p.github = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "bearer of-the-runner" || r.URL.Query().Get("api-version") != "2.0" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		token := p.token(r.URL.Query().Get("audience"), `"repository_id":"74"`)
		_ = json.NewEncoder(w).Encode(map[string]string{"value": token})
	}))
	t.Cleanup(p.github.Close)
	return p
}

// token is an identity token of a job, with some members of JSON as claims.
func (p *platform) token(audience, claims string) string {
	more := oidctest.Claims{}
	if err := json.Unmarshal([]byte("{"+claims+"}"), &more); err != nil {
		panic(err)
	}
	return p.Sign(p.Good(audience, time.Now()).With(more))
}

// idtoken VARIABLE AUDIENCE CLAIMS: sets a variable to an identity token.
func (p *platform) idtoken(ts *testscript.TestScript, neg bool, args []string) {
	ts.Setenv(args[0], p.token(args[1], args[2]))
}

// cluster FILE NAME NAMESPACE AUDIENCE: a cluster that vouches for the token in FILE as
// that of a service account. CLUSTER is its address, cluster.pem its certificate, and
// plain-reviewer what it is asked with.
func clusterOf(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		pod, reviewer := "pod."+rand.Text()+".token", "re."+rand.Text()+".viewer"
		s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var in struct {
				Spec struct {
					Token     string
					Audiences []string
				}
			}
			if r.Header.Get("Authorization") != "Bearer "+reviewer || json.NewDecoder(r.Body).Decode(&in) != nil {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			status := map[string]any{"authenticated": false}
			if in.Spec.Token == pod && slices.Equal(in.Spec.Audiences, args[3:]) {
				status = map[string]any{"authenticated": true, "audiences": args[3:], "user": map[string]any{"username": "system:serviceaccount:" + args[2] + ":" + args[1], "uid": "uid-1"}}
			}
			w.WriteHeader(http.StatusCreated)
			_ = json.NewEncoder(w).Encode(map[string]any{"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status})
		}))
		t.Cleanup(s.Close)
		ts.Setenv("CLUSTER", s.URL)
		for name, text := range map[string]string{args[0]: pod, "plain-reviewer": reviewer, "cluster.pem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))} {
			ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
		}
	}
}

// asked TEXT: since "requests" was said last, a request had the text in its line.
func asked(ts *testscript.TestScript, neg bool, args []string) {
	c := ts.Value("requests").(*counter)
	c.mu.Lock()
	seen := strings.Join(c.seen, "\n")
	c.mu.Unlock()
	if strings.Contains(seen, args[0]) == neg {
		ts.Fatalf("asked for:\n%s", seen)
	}
}
