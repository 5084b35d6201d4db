package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"envrun/auth/oidc/oidctest"
	"envrun/vault/vaulttest/hashivault"
)

// The commands of docs/team-sign-in.md, as they stand there, with the real vault
// command: people of each group then come in where the page says, and nowhere else.
func TestTeamSignInDocs(t *testing.T) {
	vault := os.Getenv(hashivault.Variable)
	if vault == "" {
		t.Skip("no vault command: " + hashivault.Variable + "=$(.ci/vault)")
	}
	t.Parallel()
	page, err := os.ReadFile("../../docs/team-sign-in.md")
	if err != nil {
		t.Fatal(err)
	}
	issuer := oidctest.New(t)
	script := "set -eu\nvault() { \"$VAULT\" \"$@\"; }\n"
	for i, part := range strings.Split(string(page), "```sh\n") {
		if i > 0 {
			block, _, _ := strings.Cut(part, "```")
			script += block
		}
	}
	for was, now := range map[string]string{"https://id.example.com/realms/acme": issuer.URL, `oidc_discovery_url="$ISSUER"`: `oidc_discovery_url="$ISSUER" allow_private_issuer=true`} {
		if !strings.Contains(script, was) {
			t.Fatalf("the page does not say %s", was)
		}
		script = strings.ReplaceAll(script, was, now)
	}
	own := new(hashivault.Server)
	own.Addr, own.Token = devServer(t, "--env", "dev,prod")
	cmd := exec.Command("sh", "-c", script)
	cmd.Env = append(os.Environ(), "VAULT="+vault, "VAULT_ADDR="+own.Addr, "VAULT_TOKEN="+own.Token, "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), "WARNING") {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{`"mount": "human"`, `"mount": "human-prod"`, `"default_role": "dev"`, `"client_id": "envrun-prod"`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("sys/sign-in does not say %s:\n%s", want, out)
		}
	}

	now := time.Now()
	signIn := func(mount, role, client string, groups []string, ago time.Duration) (int, string) {
		jwt := issuer.Sign(issuer.Good(client, now).With(oidctest.Claims{"groups": groups, "auth_time": now.Add(-ago).Unix()}))
		status, answer := own.Do(t, "POST", "auth/"+mount+"/login", map[string]any{"role": role, "jwt": jwt})
		text, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		var a struct {
			Auth struct {
				Token     []string `json:"token_policies"`
				Identity  []string `json:"identity_policies"`
				LeaseTime int      `json:"lease_duration"`
			}
		}
		if err := json.Unmarshal(text, &a); err != nil {
			t.Fatal(err)
		}
		return status, fmt.Sprint(a.Auth.Token, a.Auth.Identity, a.Auth.LeaseTime)
	}
	for _, c := range []struct {
		name, mount, role, client string
		groups                    []string
		ago                       time.Duration
		status                    int
		gives                     string
	}{
		{"a developer", "human", "dev", "envrun", []string{"developers"}, 5 * time.Hour, 200, "[default] [app-dev] 3600"},
		{"somebody else", "human", "dev", "envrun", []string{"on-call"}, 0, 200, "[default] [] 3600"},
		{"on call", "human-prod", "read", "envrun-prod", []string{"on-call"}, time.Minute, 200, "[] [app-prod-read] 900"},
		{"a developer at production", "human-prod", "read", "envrun-prod", []string{"developers"}, time.Minute, 200, "[] [] 900"},
		{"on call since the morning", "human-prod", "read", "envrun-prod", []string{"on-call"}, 5 * time.Hour, 401, ""},
		{"with the token for development", "human-prod", "read", "envrun", []string{"on-call"}, time.Minute, 400, ""},
		{"a group that is called as a policy", "human", "dev", "envrun", []string{"app-dev", "root"}, 0, 200, "[default] [] 3600"},
	} {
		status, gives := signIn(c.mount, c.role, c.client, c.groups, c.ago)
		if status != c.status || c.gives != "" && gives != c.gives {
			t.Errorf("%s: %d %s, want %d %s", c.name, status, gives, c.status, c.gives)
		}
	}

	// Why somebody does not get in, as the page shows it, but for the times.
	_, shown, _ := strings.Cut(string(page), "```console\n$ vault ")
	shown, _, _ = strings.Cut(shown, "\n```")
	command, want, _ := strings.Cut(shown, "\n")
	file := filepath.Join(t.TempDir(), "token.txt")
	jwt := issuer.Sign(issuer.Good("envrun-prod", now).With(oidctest.Claims{"groups": []string{"on-call"}, "auth_time": now.Add(-time.Hour).Unix()}))
	if err := os.WriteFile(file, []byte(jwt), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(vault, strings.Fields(strings.ReplaceAll(command, "token.txt", file))...)
	cmd.Env = append(os.Environ(), "VAULT_ADDR="+own.Addr, "VAULT_TOKEN="+own.Token, "HOME="+t.TempDir())
	out, err = cmd.CombinedOutput()
	times := regexp.MustCompile(`\d+h\d+m\d+s ago|\d{10}`)
	if got := times.ReplaceAllString(strings.TrimSpace(string(out)), "T"); err != nil || got != times.ReplaceAllString(want, "T") || !strings.Contains(want, "freshness") {
		t.Errorf("vault %s: %v\n%s", command, err, out)
	}
}
