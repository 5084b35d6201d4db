//go:build unix

package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"envrun/auth/oidc/oidctest"
)

// An office is envrund, an identity provider that it takes people of, and somebody's
// machine: what a new user meets.
type office struct {
	*person
	t      *testing.T
	issuer *oidctest.Provider
	addr   string
	root   string
	log    *words // of the server
}

// words are what a program says while a test goes on.
type words struct {
	mu   sync.Mutex
	text []byte
}

func (w *words) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, b...)
	return len(b), nil
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.text)
}

func newOffice(t *testing.T, tokens map[string]any) *office {
	t.Helper()
	o := &office{person: newPerson(t), t: t, issuer: oidctest.NewProvider(t), log: &words{}}
	server, err := daemon()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(server, "dev", "--listen", "127.0.0.1:0", "--json")
	var said words
	cmd.Stdout, cmd.Stderr = &said, o.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	var line string
	for until := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		var whole bool
		if line, _, whole = strings.Cut(said.String(), "\n"); whole {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("envrund does not start: %s", o.log)
		}
	}
	var facts struct {
		Address   string
		RootToken string `json:"root_token"`
	}
	if err := json.Unmarshal([]byte(line), &facts); err != nil {
		t.Fatal(err)
	}
	o.addr, o.root = facts.Address, facts.RootToken

	o.ask(o.root, "POST", "sys/auth/human", map[string]any{"type": "jwt"})
	o.ask(o.root, "POST", "auth/human/config", map[string]any{"oidc_discovery_url": o.issuer.URL, "allow_private_issuer": true, "oidc_client_id": oidctest.ClientID, "default_role": "dev"})
	o.roleIs(tokens)
	o.ask(o.root, "PUT", "sys/policies/acl/dev", map[string]any{"policy": `path "dev/*" { capabilities = ["create", "read", "update", "list"] } path "sys/*" { capabilities = ["read"] }`})

	o.write("envrun.toml", fmt.Sprintf("vault = %q\nproject = \"app\"\ndefault = \"dev\"\n[env.dev]\n[sign_in]\nmount = \"human\"\nrole = \"dev\"\nissuer = %q\nclient_id = %q\n", o.addr, o.issuer.URL, oidctest.ClientID))
	// A browser that does as it is told, and shows what it was given.
	opener := filepath.Join(o.dir, "opener")
	o.write("opener", "#!/bin/sh\ntr '\\0' '\\n' < /proc/$$/environ > "+o.dir+"/browser.env 2>/dev/null\ncurl -sSL -o "+o.dir+"/page \"$1\" > /dev/null 2>&1\n")
	if err := os.Chmod(opener, 0o755); err != nil {
		t.Fatal(err)
	}
	o.person = o.phrased().as("BROWSER=" + opener)
	o.as("VAULT_TOKEN="+o.root, "VAULT_ADDR="+o.addr).must("", "env", "add", "dev")
	o.as("VAULT_TOKEN="+o.root, "VAULT_ADDR="+o.addr).must("canary-value", "set", "A")
	return o
}

// roleIs makes the role of people, with more than each such role says.
func (o *office) roleIs(more map[string]any) {
	o.t.Helper()
	role := map[string]any{"role_type": "jwt", "bound_audiences": []string{oidctest.ClientID}, "user_claim": "sub", "token_policies": []string{"dev"}}
	maps.Copy(role, more)
	o.ask(o.root, "POST", "auth/human/role/dev", role)
}

// ask asks the server for something that has to work, and returns the status.
func (o *office) ask(token, method, path string, body any) {
	o.t.Helper()
	if status, _ := o.answer(token, method, path, body); status >= 300 {
		o.t.Fatalf("%s %s: status %d", method, path, status)
	}
}

func (o *office) answer(token, method, path string, body any) (status int, data map[string]any) {
	o.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		o.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(o.t.Context(), method, o.addr+"/v1/"+path, bytes.NewReader(text))
	if err != nil {
		o.t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		o.t.Fatal(err)
	}
	defer res.Body.Close()
	var out struct{ Data map[string]any }
	_ = json.NewDecoder(res.Body).Decode(&out) // some answers are empty
	return res.StatusCode, out.Data
}

// given begins to note what the issuer gives; what it returns gives that, and what the
// issuer was sent.
func (o *office) given() func() []string {
	var mu sync.Mutex
	var all []string
	o.issuer.SetAnswer(func(a map[string]any) {
		mu.Lock()
		defer mu.Unlock()
		for _, name := range []string{"access_token", "refresh_token", "id_token"} {
			if text, _ := a[name].(string); text != "" {
				all = append(all, text)
			}
		}
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		for _, form := range o.issuer.Forms(oidctest.Token) {
			for _, name := range []string{"code", "code_verifier", "device_code", "refresh_token"} {
				if text := form.Get(name); text != "" {
					all = append(all, text)
				}
			}
		}
		if len(all) == 0 {
			o.t.Error("the issuer gave nothing")
		}
		return all
	}
}

// endTokens ends the tokens of all who signed in; they stay signed in at the issuer.
func (o *office) endTokens() {
	o.t.Helper()
	_, all := o.answer(o.root, "GET", "auth/token/accessors?list=true", nil)
	ended := 0
	for _, a := range all["keys"].([]any) {
		_, is := o.answer(o.root, "POST", "auth/token/lookup-accessor", map[string]any{"accessor": a})
		if is["path"] == "auth/human/login" {
			o.ask(o.root, "POST", "auth/token/revoke-accessor", map[string]any{"accessor": a})
			ended++
		}
	}
	if ended == 0 {
		o.t.Fatal("nobody was signed in")
	}
}

// A new user signs in with a browser, runs a command, and signs out: no token is
// anywhere but in the sealed session.
func TestTerminalLogin(t *testing.T) {
	o := newOffice(t, map[string]any{"token_ttl": "1h"})

	// Nobody is signed in, and nobody is at a terminal: the command to run is named.
	for _, args := range [][]string{{"get", "A"}, {"login"}, {"whoami"}} {
		if _, errs, code := o.pipe("", args...); code != 1 || !strings.Contains(errs, "envrun login") {
			t.Errorf("%q: status %d: %s", args, code, errs)
		}
	}

	c := o.run("login", "--store", "passphrase")
	c.expect("A browser was opened to sign in to " + o.addr)
	c.wants(0, "until ")
	if page, err := os.ReadFile(filepath.Join(o.dir, "page")); err != nil || !strings.Contains(string(page), o.addr) {
		t.Errorf("the page: %v %s", err, page)
	}
	if got := o.must("", "get", "A"); got != "canary-value" {
		t.Errorf("it is %q", got)
	}
	out := o.must("", "--", "sh", "-c", `echo "$A"; env`)
	if !strings.Contains(out, "canary-value") || strings.Contains(out, "hvs.") || strings.Contains(out, "ENVRUN_STORE") {
		t.Errorf("the command got %s", out)
	}
	var is []map[string]any
	if err := json.Unmarshal([]byte(o.must("", "whoami", "--verify", "--json")), &is); err != nil || len(is) != 1 || is[0]["verified"] != true || is[0]["role"] != "dev" || is[0]["renews"] != true {
		t.Errorf("%v %v", err, is)
	}
	if at, err := time.Parse(time.RFC3339, fmt.Sprint(is[0]["auth_time"])); err != nil || time.Since(at).Abs() > patience || fmt.Sprint(is[0]["amr"]) != "[pwd]" {
		t.Errorf("%v: signed in at %v by %v", err, is[0]["auth_time"], is[0]["amr"])
	}
	if out := o.must("", "whoami"); !strings.Contains(out, "signed in at 20") || !strings.Contains(out, " by pwd\n") {
		t.Errorf("%s", out)
	}
	// What was given out stays where it belongs.
	for _, form := range o.issuer.Forms("/token") {
		for _, name := range []string{"code", "code_verifier"} {
			o.nowhere(form.Get(name))
		}
	}
	o.nowhere("hvs.")

	out = o.must("", "logout")
	if !strings.Contains(out, "signed out of "+o.addr) {
		t.Errorf("%s", out)
	}
	if n := o.issuer.Count("/revoke"); n != 1 {
		t.Errorf("the issuer was told %d times", n)
	}
	if _, errs, code := o.pipe("", "get", "A"); code != 1 || !strings.Contains(errs, "envrun login") {
		t.Errorf("status %d: %s", code, errs)
	}
}

// nowhere looks for a secret in all that is on the machine.
func (o *office) nowhere(secret string) {
	o.t.Helper()
	for _, top := range []string{o.home, o.dir, o.tmp} {
		err := filepath.WalkDir(top, func(file string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			text, err := os.ReadFile(file)
			if secret != "" && bytes.Contains(text, []byte(secret)) {
				o.t.Errorf("%.12s… is in %s", secret, file)
			}
			return err
		})
		if err != nil {
			o.t.Fatal(err)
		}
	}
}

// Ten commands with a token that has ended ask the issuer once.
func TestTerminalTenRefreshes(t *testing.T) {
	o := newOffice(t, map[string]any{"token_ttl": "1h"})
	c := o.run("login", "--store", "passphrase")
	c.wants(0, "until ")
	o.endTokens()
	if out := o.must("", "whoami", "--verify"); !strings.Contains(out, "the server does not take the token") {
		t.Errorf("%s", out)
	}
	before := o.issuer.Count("/token")
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if out, errs, code := o.pipe("", "get", "A"); code != 0 || out != "canary-value" {
				t.Errorf("status %d: %s", code, errs)
			}
		})
	}
	wg.Wait()
	if n := o.issuer.Count("/token") - before; n != 1 {
		t.Errorf("the issuer was asked %d times", n)
	}
	// One that the issuer has ended is over, and is said so.
	o.endTokens()
	// An issuer that is away is no reason to sign in again.
	o.issuer.SetHook("/token", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	if _, errs, code := o.pipe("", "get", "A"); code != 1 || strings.Contains(errs, "envrun login") {
		t.Errorf("status %d: %s", code, errs)
	}
	o.issuer.SetHook("/token", func(w http.ResponseWriter, _ *http.Request) {
		oidctest.Refuse(w, http.StatusBadRequest, "invalid_grant")
	})
	if _, errs, code := o.pipe("", "get", "A"); code != 1 || !strings.Contains(errs, "sign in again: envrun login") {
		t.Errorf("status %d: %s", code, errs)
	}
}

// A server that says by itself how people sign in is enough; one that names another
// issuer than at first is refused, until somebody says that it is right (A47).
func anotherIssuer(t *testing.T) {
	o := newOffice(t, nil)
	o.write("envrun.toml", fmt.Sprintf("vault = %q\nproject = \"app\"\ndefault = \"dev\"\n[env.dev]\n", o.addr))
	c := o.run("login", "--store", "passphrase")
	c.wants(0, "until ")
	if got := o.must("", "get", "A"); got != "canary-value" {
		t.Errorf("it is %q", got)
	}
	o.must("", "logout")
	other := oidctest.NewProvider(t)
	o.ask(o.root, "POST", "auth/human/config", map[string]any{"oidc_discovery_url": other.URL, "allow_private_issuer": true, "oidc_client_id": oidctest.ClientID, "default_role": "dev"})
	c = o.run("login", "--store", "passphrase")
	c.expect("now sends people to the issuer " + other.URL)
	c.wants(1, "it was "+o.issuer.URL, "--trust-issuer "+other.URL)
	c = o.run("login", "--store", "passphrase", "--trust-issuer", other.URL)
	c.wants(0, "until ")
	o.must("", "logout")
	// What the project file says is not for the server to change.
	o.write("envrun.toml", fmt.Sprintf("vault = %q\nproject = \"app\"\ndefault = \"dev\"\n[env.dev]\n[sign_in]\nissuer = %q\n", o.addr, o.issuer.URL))
	c = o.run("login", "--store", "passphrase")
	c.wants(1, "nobody was sent anywhere")
}

// A role that wants a fresh sign-in has the browser opened by the command that needs
// it; nothing of that is kept, and nobody who is not at a terminal is asked.
func TestTerminalStepUp(t *testing.T) {
	o := newOffice(t, map[string]any{"max_age": "15m", "listed": true})
	c := o.run("--", "sh", "-c", `echo "it is $A"`)
	c.expect("wants you to sign in for each use")
	c.wants(0, "it is canary-value")
	if forms := o.issuer.Forms("/authorize"); len(forms) != 1 || forms[0].Get("max_age") != "900" {
		t.Errorf("the issuer was asked %v", forms)
	}
	if _, err := os.Stat(filepath.Join(o.home, ".local/state/envrun/sessions")); err == nil {
		t.Error("something of it is kept")
	}
	if _, errs, code := o.pipe("", "get", "A"); code != 1 || !strings.Contains(errs, "envrun login") {
		t.Errorf("status %d: %s", code, errs)
	}
	c = o.run("login", "--store", "passphrase")
	c.wants(0, "nothing was kept")
}

// A token that somebody brings is checked, and kept sealed.
func TestLoginWithToken(t *testing.T) {
	o := newOffice(t, nil)
	if _, errs, code := o.pipe("nonsense\n", "login", "--store", "passphrase", "--method", "token"); code != 1 || !strings.Contains(errs, "does not take the token") {
		t.Errorf("status %d: %s", code, errs)
	}
	o.must(o.root+"\n", "login", "--store", "passphrase", "--method", "token")
	if got := o.must("", "get", "A"); got != "canary-value" {
		t.Errorf("it is %q", got)
	}
	o.nowhere(o.root)
	// What the shell has said of a namespace since then is not about this session.
	o.as("VAULT_NAMESPACE=team").must("", "logout")
	if status, _ := o.answer(o.root, "GET", "auth/token/lookup-self", nil); status != http.StatusForbidden {
		t.Errorf("the token is good still: %d", status)
	}
}

// Two roles at one server are two sign-ins: each is asked for by its environment, and
// is used there alone.
func TestTerminalTwoRoles(t *testing.T) {
	t.Parallel()
	o := newOffice(t, map[string]any{"token_ttl": "1h"})
	o.ask(o.root, "PUT", "sys/policies/acl/ops", map[string]any{"policy": `path "ops/*" { capabilities = ["create", "read", "update", "list"] }`})
	o.ask(o.root, "POST", "auth/human/role/ops", map[string]any{"role_type": "jwt", "bound_audiences": []string{oidctest.ClientID}, "user_claim": "sub", "token_policies": []string{"ops"}})
	text, err := os.ReadFile(filepath.Join(o.dir, "envrun.toml"))
	if err != nil {
		t.Fatal(err)
	}
	o.write("envrun.toml", string(text)+"[env.ops]\n[env.ops.sign_in]\nrole = \"ops\"\n")
	op := o.as("VAULT_TOKEN="+o.root, "VAULT_ADDR="+o.addr)
	op.must("", "env", "add", "ops")
	op.must("canary-value", "set", "-e", "ops", "A")
	if _, errs, code := o.pipe("", "login", "--store", "passphrase"); code != 1 || !strings.Contains(errs, "hint: one after the other: envrun login -e dev; envrun login -e ops") {
		t.Errorf("status %d: %s", code, errs)
	}
	for i, env := range []string{"dev", "ops"} {
		o.run("login", "--store", "passphrase", "-e", env).wants(0, "role      "+env)
		for j, other := range []string{"dev", "ops"} {
			out, errs, code := o.pipe("", "-e", other, "get", "A")
			if signed := j <= i; signed && (code != 0 || out != "canary-value") || !signed && (code != 1 || !strings.Contains(errs, "sign in: envrun login")) {
				t.Errorf("signed in to %s, and %s is read with status %d: %s%s", env, other, code, out, errs)
			}
		}
	}
	var is []map[string]any
	if err := json.Unmarshal([]byte(o.must("", "whoami", "--json")), &is); err != nil || len(is) != 2 {
		t.Errorf("%v %v", err, is)
	}
	if _, errs, code := o.pipe("", "logout"); code != 1 || !strings.Contains(errs, "alice@example.test as ops") {
		t.Errorf("status %d: %s", code, errs)
	}
	o.must("", "logout", "--all")
	if left := tokensOf(o, "auth/human/login"); len(left) != 0 {
		t.Errorf("%d tokens are left", len(left))
	}
}

// What a program brings is asked for on a terminal too: hidden, and of any length.
func TestTerminalLoginMethods(t *testing.T) {
	t.Parallel()
	o := newOffice(t, nil)
	o.ask(o.root, "POST", "sys/auth/approle", map[string]any{"type": "approle"})
	o.ask(o.root, "POST", "auth/approle/role/backup", map[string]any{"token_policies": []string{"dev"}, "secret_id_ttl": "1h"})
	_, role := o.answer(o.root, "GET", "auth/approle/role/backup/role-id", nil)
	_, secret := o.answer(o.root, "POST", "auth/approle/role/backup/secret-id", nil)
	roleID, secretID := role["role_id"].(string), secret["secret_id"].(string)
	jwt := o.issuer.Sign(o.issuer.Good(oidctest.ClientID, time.Now()).With(oidctest.Claims{"pad": strings.Repeat("long", 2000)}))
	for _, test := range []struct {
		question, text string
		args           []string
	}{
		{"Token (not shown): ", o.root, []string{"--method", "token"}},
		{"Identity token (not shown): ", jwt, []string{"--method", "jwt", "--mount", "human", "--role", "dev"}},
		{"Secret id (not shown): ", secretID, []string{"--method", "approle", "--role-id", roleID}},
	} {
		login := func(typed string) *terminal {
			c := o.run(append([]string{"login", "--store", "passphrase"}, test.args...)...)
			c.expectHidden(test.question)
			c.typed(typed)
			return c
		}
		login(test.text+"\r").wants(0, "server    "+o.addr, "!"+test.text[:16])
		if got := o.must("", "get", "A"); got != "canary-value" {
			t.Errorf("%v: it is %q", test.args, got)
		}
		o.nowhere(test.text)
		o.must("", "logout")
		login("\r").wants(2, "nothing was typed: nobody was signed in")
		login("\x03").wants(130)
		login("x.y.z\r").wants(1, "hint: ")
		if _, _, code := o.pipe("", "whoami"); code != 1 {
			t.Errorf("%v: somebody is signed in", test.args)
		}
	}
}

// A47: what a server says of a token cannot steer the terminal.
func hostileServer(t *testing.T) {
	const odd = "root\x1b[2J\x1b]0;title\a\u202e\nserver https://good.test"
	hostile := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"request_id": odd, "data": map[string]any{
			"display_name": odd, "entity_id": odd, "policies": []string{odd}, "identity_policies": []string{odd}, "ttl": 60, "path": odd, "meta": map[string]string{odd: odd},
		}})
	}))
	defer hostile.Close()
	p := newPerson(t).phrased()
	for _, args := range [][]string{{"login", "--store", "passphrase", "--method", "token", hostile.URL}, {"whoami"}, {"whoami", "--verify"}, {"doctor"}, {"logout"}} {
		out, errs, _ := p.pipe("a-token\n", args...)
		if text := out + errs; strings.ContainsAny(text, "\x1b\a\u202e") || strings.Contains(text, "\nserver https://good.test") {
			t.Errorf("%q prints %q", args, text)
		}
	}
}
