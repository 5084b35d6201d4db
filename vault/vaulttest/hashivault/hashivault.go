// Package hashivault starts a real HashiCorp Vault, for tests that compare what
// we do with what it does.
//
// It refuses to be needed: where no Vault can be had the test is skipped, with the
// command that gets one. The server keeps everything in memory, listens on the
// loopback address alone, and ends with the test.
package hashivault

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"envrun/vault/vaulttest/child"
)

// Variable names the program in the environment of the tests. .ci/test sets it.
const Variable = "ENVRUN_TEST_VAULT"

// Server is a running Vault in development mode.
type Server struct {
	Addr  string // "http://127.0.0.1:12345"
	Token string // of root

	client http.Client
}

// Start starts a server, with more arguments than the usual ones, and ends it with the
// test. It skips the test in short mode and where there is no Vault.
func Start(t testing.TB, more ...string) *Server {
	t.Helper()
	if testing.Short() {
		t.Skip("compares with a real Vault: not in short mode")
	}
	program := os.Getenv(Variable)
	if program == "" {
		t.Skipf("no Vault to compare with: %s=$(.ci/vault) go test …", Variable)
	}
	// Between the choice of a port and its use another program may take it.
	for range 5 {
		if s := start(t, program, more); s != nil {
			return s
		}
	}
	t.Fatal("vault did not start")
	return nil
}

func start(t testing.TB, program string, more []string) *Server {
	addr := child.Address(t)
	s := &Server{Addr: "http://" + addr, Token: rand.Text()}
	args := append([]string{"server", "-dev", "-dev-no-store-token", "-dev-root-token-id=" + s.Token, "-dev-listen-address=" + addr, "-log-level=error"}, more...)
	vault := child.Start(t, t.TempDir(), program, args...)
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		select {
		case <-vault.Ended:
			return nil
		case <-time.After(50 * time.Millisecond):
		}
		// That the token is known says that it is this server.
		if status, _, err := s.call("GET", "auth/token/lookup-self", s.Token, nil); err == nil && status == http.StatusOK {
			return s
		}
	}
	t.Fatal("vault did not answer within a minute")
	return nil
}

// Do sends a request as root and returns the status and the decoded answer,
// nil if it has none.
func (s *Server) Do(t testing.TB, method, path string, body any) (int, map[string]any) {
	t.Helper()
	return s.DoAs(t, s.Token, method, path, body)
}

// DoAs is Do with another token.
func (s *Server) DoAs(t testing.TB, token, method, path string, body any) (int, map[string]any) {
	t.Helper()
	status, answer, err := s.call(method, path, token, body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return status, answer
}

func (s *Server) call(method, path, token string, body any) (int, map[string]any, error) {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return 0, nil, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.Addr+"/v1/"+strings.TrimPrefix(path, "/"), bytes.NewReader(text))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("X-Vault-Token", token)
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/merge-patch+json")
	}
	res, err := s.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil && !errors.Is(err, io.EOF) {
		return res.StatusCode, nil, err
	}
	return res.StatusCode, answer, nil
}

// TokenFor makes a token with the given policies and no others.
func (s *Server) TokenFor(t testing.TB, policies ...string) string {
	t.Helper()
	status, answer := s.Do(t, "POST", "auth/token/create", map[string]any{"policies": policies, "no_default_policy": true, "no_parent": true})
	auth, _ := answer["auth"].(map[string]any)
	token, _ := auth["client_token"].(string)
	if token == "" {
		t.Fatalf("making a token: %d %v", status, answer)
	}
	return token
}
