//go:build unix

package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"envrun/auth/oidc/oidctest"
)

// A spy stands before the server, and keeps all that must be found nowhere but between
// envrun, the server and the issuer. It can answer instead of the server, and repeat
// what it was sent.
type spy struct {
	*office
	*httptest.Server

	mu      sync.Mutex
	secrets map[string]string // what they are
	said    []string          // all that envrun said
	seen    map[string]bool   // arguments and environments of processes
	instead func(w http.ResponseWriter, r *http.Request, body string) bool
	works   bool // nobody is hostile: what is tried has to work
}

func (s *spy) keep(what, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(secret) < 8 {
		return
	}
	s.secrets[secret] = what
	if part := strings.Split(secret, "."); len(part) == 3 && strings.HasPrefix(secret, "eyJ") {
		s.secrets[part[1]], s.secrets[part[2]] = "the claims of "+what, "the signature of "+what
	}
}

// keepAll keeps the texts of these names in JSON, at any depth.
func (s *spy) keepAll(value any, names ...string) {
	switch v := value.(type) {
	case map[string]any:
		for name, of := range v {
			if text, ok := of.(string); ok && slices.Contains(names, name) {
				s.keep(name, text)
			}
			s.keepAll(of, names...)
		}
	case []any:
		for _, of := range v {
			s.keepAll(of, names...)
		}
	}
}

// answering sets what answers instead of the server.
func (s *spy) answering(h func(w http.ResponseWriter, r *http.Request, body string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.instead = h
}

func newSpy(t *testing.T) *spy {
	o := newOffice(t, map[string]any{"token_ttl": "1h"})
	// A name of its own, by which its processes are told from those of other tests.
	program := filepath.Join(t.TempDir(), "envrun")
	if err := os.Link(o.program, program); err != nil {
		t.Fatal(err)
	}
	o.program = program
	s := &spy{office: o, secrets: map[string]string{}, seen: map[string]bool{}}
	to, err := url.Parse(o.addr)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ErrorLog = log.New(io.Discard, "", 0) // who was killed is gone
	proxy.ModifyResponse = func(res *http.Response) error {
		text, err := io.ReadAll(res.Body)
		if err != nil {
			return err
		}
		res.Body = io.NopCloser(bytes.NewReader(text))
		var is any
		_ = json.Unmarshal(text, &is) // some have none
		s.keepAll(is, "client_token", "secret_id")
		return nil
	}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(text))
		s.keep("the token", r.Header.Get("X-Vault-Token"))
		var is any
		_ = json.Unmarshal(text, &is)
		s.keepAll(is, "jwt", "secret_id", "client_nonce", "token", "password")
		for _, name := range []string{"code", "client_nonce"} {
			s.keep(name, r.URL.Query().Get(name))
		}
		s.mu.Lock()
		instead := s.instead
		s.mu.Unlock()
		if instead == nil || !instead(w, r, string(text)) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	o.issuer.SetAnswer(func(a map[string]any) { s.keepAll(a, "access_token", "refresh_token", "id_token") })
	s.project(asDev)
	return s
}

const asDev = "[sign_in]\nmount = \"human\"\nrole = \"dev\"\n"

// project writes the project with a section on how one signs in.
func (s *spy) project(more string) {
	s.write("envrun.toml", fmt.Sprintf("vault = %q\nproject = \"app\"\ndefault = \"dev\"\n%s\n[env.dev]\n", s.URL, more))
}

// hear keeps what envrun said; nothing in it may be one of what follows.
func (s *spy) hear(said ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, said...)
}

// tell runs envrun and keeps what it says. It may fail, in words.
func (s *spy) tell(stdin string, args ...string) (stdout string, code int) {
	s.t.Helper()
	out, errs, code := s.pipe(stdin, args...)
	s.hear(out, errs)
	if strings.Contains(errs, "goroutine ") || strings.Contains(errs, "panic:") {
		s.t.Errorf("envrun %q panics: %s", args, errs)
	}
	return out, code
}

// listening looks at the arguments of all processes, and at the environment of those
// that came of envrun, until it is told to stop.
func (s *spy) listening() (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			case <-time.After(5 * time.Millisecond): // leave the machine to what is looked at
			}
			dirs, _ := filepath.Glob("/proc/[0-9]*")
			for _, dir := range dirs {
				args, err := os.ReadFile(dir + "/cmdline")
				if err != nil {
					continue // it ended
				}
				// What somebody gives to envrun in a variable is there. Between the two
				// looks a process may have become another one.
				env, _ := os.ReadFile(dir + "/environ")
				again, _ := os.ReadFile(dir + "/cmdline")
				if !bytes.Contains(env, []byte("HOME="+s.home+"\x00")) || bytes.HasPrefix(args, []byte(s.program)) || !bytes.Equal(args, again) {
					env = nil
				}
				s.mu.Lock()
				s.seen[string(args)], s.seen[string(env)] = true, true
				s.mu.Unlock()
			}
		}
	}()
	return func() { close(quit); <-done }
}

// searched looks for every secret so far in all that was said and seen, and in all
// files.
func (s *spy) searched(t *testing.T) {
	t.Helper()
	for _, path := range []string{oidctest.Token, oidctest.Revoke} {
		for _, form := range s.issuer.Forms(path) {
			for _, name := range []string{"code", "code_verifier", "device_code", "refresh_token", "token"} {
				s.keep(name, form.Get(name))
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.secrets) == 0 {
		t.Fatal("there is nothing to search for")
	}
	type found struct {
		name string
		text []byte
	}
	var where []found
	for _, text := range s.said {
		where = append(where, found{"what envrun said", []byte(text)})
	}
	for text := range s.seen {
		where = append(where, found{"the arguments or the environment of a process", []byte(text)})
	}
	where = append(where, found{"the server's log", []byte(s.log.String())})
	for _, dir := range []string{s.home, s.dir, s.tmp} {
		err := filepath.WalkDir(dir, func(file string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			text, err := os.ReadFile(file)
			where = append(where, found{file, text})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for secret, what := range s.secrets {
		all := forms(secret)
		if escaped := url.QueryEscape(secret); escaped != secret {
			all = append(all, []byte(escaped))
		}
		for _, w := range where {
			for _, form := range all {
				if bytes.Contains(w.text, form) {
					t.Errorf("%s has %s, as %s:\n%.2000q", w.name, what, form, w.text)
				}
			}
		}
	}
}

// The flows of signing in, each as somebody goes through it. They return whether they
// got to the end.
func (s *spy) flows() map[string]func(t *testing.T, flags ...string) {
	run := func(args []string, more ...string) *terminal {
		return s.run(append(slices.Clone(args), more...)...)
	}
	end := func(c *terminal) {
		shown, code := c.wait()
		s.hear(shown)
		if s.works && code != 0 {
			s.t.Errorf("status %d: %s", code, shown)
		}
	}
	get := func(args []string) {
		if out, code := s.tell("", append(slices.Clone(args), "get", "A")...); s.works && !strings.Contains(out, "canary-value") {
			s.t.Errorf("status %d: %s", code, out)
		}
	}
	return map[string]func(t *testing.T, flags ...string){
		"browser": func(t *testing.T, flags ...string) {
			end(run(flags, "login", "--store", "passphrase"))
			get(flags)
			s.tell("", append(slices.Clone(flags), "--", "sh", "-c", "env; tr '\\0' '\\n' < /proc/$$/environ")...)
			s.tell("", append(slices.Clone(flags), "whoami", "--verify")...)
			s.tell("", append(slices.Clone(flags), "doctor")...)
		},
		"device": func(t *testing.T, flags ...string) {
			c := run(flags, "login", "--store", "passphrase", "--flow", "device")
			c.expect("Only approve if you just ran envrun on")
			code := regexp.MustCompile(`The code is  (\S+)`).FindStringSubmatch(c.all())
			if code == nil || !s.issuer.Approve(code[1]) {
				t.Errorf("no code: %s", c.all())
			}
			end(c)
			get(flags)
		},
		"paste": func(t *testing.T, flags ...string) {
			c := run(flags, "login", "--store", "passphrase", "--flow", "paste")
			c.expect("paste all of it here.")
			once := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			resp, err := once.Get(shownAddress(t, c))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			back := resp.Header.Get("Location")
			u, _ := url.Parse(back)
			s.keep("a code", u.Query().Get("code"))
			// The code alone, and the address with another state, are not taken.
			for _, wrong := range []string{u.Query().Get("code"), strings.Replace(back, "state=", "state=x", 1), "nonsense"} {
				c.typed(wrong + "\r")
				c.expect("envrun: ")
			}
			c.typed(back + "\r")
			end(c)
			get(flags)
		},
		"refresh": func(t *testing.T, flags ...string) {
			end(run(flags, "login", "--store", "passphrase"))
			for range 3 {
				s.endAll()
				get(flags)
			}
		},
		"step-up": func(t *testing.T, flags ...string) {
			s.project("[sign_in]\nmount = \"human\"\nrole = \"prod\"\n")
			defer s.project(asDev)
			end(run(flags, "--", "sh", "-c", "env"))
			end(run(flags, "login"))
		},
		"vault-oidc": func(t *testing.T, flags ...string) {
			end(run(flags, "login", "--store", "passphrase", "--method", "vault-oidc", "--mount", "oidc"))
			get(flags)
		},
		"token": func(t *testing.T, flags ...string) {
			token := s.tokenFor("dev")
			s.tell(token+"\n", append(slices.Clone(flags), "login", "--store", "passphrase", "--method", "token")...)
			s.tell("hvs.nonsense-"+newCanary(), append(slices.Clone(flags), "login", "--store", "passphrase", "--method", "token")...)
			get(flags)
			for _, name := range []string{"VAULT_TOKEN", "ENVRUN_TOKEN"} {
				out, errs, _ := s.as(name+"="+token).pipe("", append(slices.Clone(flags), "--", "sh", "-c", "env")...)
				s.hear(out, errs)
			}
		},
		"jwt": func(t *testing.T, flags ...string) {
			file := filepath.Join(t.TempDir(), "jwt")
			for _, claims := range []oidctest.Claims{nil, {"exp": 1}, {"aud": "another"}} {
				jwt := s.issuer.Sign(s.issuer.Good(oidctest.ClientID, time.Now()).With(claims))
				if err := os.WriteFile(file, []byte(jwt), 0o600); err != nil {
					t.Fatal(err)
				}
				s.keep("an identity token", jwt)
				s.tell("", append(slices.Clone(flags), "login", "--store", "passphrase", "--method", "jwt", "--mount", "human", "--token-file", file)...)
				s.tell(jwt, append(slices.Clone(flags), "login", "--store", "passphrase", "--method", "jwt", "--mount", "human", "--role", "nobody")...)
			}
			get(flags)
		},
		"approle": func(t *testing.T, flags ...string) {
			_, is := s.answer(s.root, "GET", "auth/approle/role/app/role-id", nil)
			_, secret := s.answer(s.root, "POST", "auth/approle/role/app/secret-id", map[string]any{})
			id, _ := secret["secret_id"].(string)
			s.keep("a secret id", id)
			args := append(slices.Clone(flags), "login", "--store", "passphrase", "--method", "approle", "--role-id", fmt.Sprint(is["role_id"]))
			s.tell(id, args...)
			out, errs, _ := s.as("ENVRUN_SECRET_ID="+id).pipe("", args...)
			s.hear(out, errs)
			s.tell("wrong-"+newCanary(), args...)
			get(flags)
		},
		"CI": func(t *testing.T, flags ...string) {
			s.project("[ci]\nrole = \"dev\"\nmount = \"human\"\naudience = \"envrun-cli\"\n")
			defer s.project(asDev)
			for _, claims := range []oidctest.Claims{nil, {"aud": "another"}} {
				jwt := s.issuer.Sign(s.issuer.Good(oidctest.ClientID, time.Now()).With(claims))
				s.keep("an identity token", jwt)
				for _, how := range [][]string{{"--exec", "--mask", "never"}, {"--supervise"}} {
					out, errs, code := s.as("GITLAB_CI=true", "ENVRUN_ID_TOKEN="+jwt).pipe("", append(slices.Concat(flags, how), "--", "sh", "-c", "env")...)
					s.hear(out, errs)
					if s.works && (code == 0) != (claims == nil) {
						t.Errorf("status %d: %s", code, errs)
					}
				}
			}
		},
	}
}

// tokenFor is a new token of the server.
func (s *spy) tokenFor(policy string) string {
	s.t.Helper()
	text, _ := json.Marshal(map[string]any{"policies": []string{policy}})
	req, err := http.NewRequest("POST", s.addr+"/v1/auth/token/create", bytes.NewReader(text))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", s.root)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	var out struct {
		Auth struct {
			Token string `json:"client_token"`
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil || out.Auth.Token == "" {
		s.t.Fatalf("no token: %v, %d", err, res.StatusCode)
	}
	s.keep("a token", out.Auth.Token)
	return out.Auth.Token
}

// endAll ends the tokens of all who are signed in, if there are any.
func (s *spy) endAll() {
	_, all := s.answer(s.root, "GET", "auth/token/accessors?list=true", nil)
	for _, a := range all["keys"].([]any) {
		if _, is := s.answer(s.root, "POST", "auth/token/lookup-accessor", map[string]any{"accessor": a}); is["path"] != "auth/token/root" && is["path"] != nil {
			s.answer(s.root, "POST", "auth/token/revoke-accessor", map[string]any{"accessor": a})
		}
	}
}

// ways adds what the flows need to the server, and Vault's own method, which it has not.
func (s *spy) ways() {
	s.ask(s.root, "POST", "auth/human/role/prod", map[string]any{"role_type": "jwt", "bound_audiences": []string{oidctest.ClientID}, "user_claim": "sub", "token_policies": []string{"dev"}, "max_age": "15m", "listed": true})
	s.ask(s.root, "POST", "sys/auth/approle", map[string]any{"type": "approle"})
	s.ask(s.root, "POST", "auth/approle/role/app", map[string]any{"token_policies": []string{"dev"}})
	s.answering(s.drives)
}

// drives answers as a server with Vault's own method does.
func (s *spy) drives(w http.ResponseWriter, r *http.Request, body string) bool {
	switch r.URL.Path {
	case "/v1/auth/oidc/oidc/auth_url":
		var in struct {
			Redirect string `json:"redirect_uri"`
		}
		_ = json.Unmarshal([]byte(body), &in)
		q := url.Values{"client_id": {oidctest.ClientID}, "response_type": {"code"}, "code_challenge": {"x"}, "code_challenge_method": {"S256"}, "state": {"st_" + newCanary()}, "nonce": {"n_" + newCanary()}, "redirect_uri": {in.Redirect}, "scope": {"openid"}}
		_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"auth_url": s.issuer.URL + "/authorize?" + q.Encode()}})
	case "/v1/auth/oidc/oidc/callback":
		_ = json.NewEncoder(w).Encode(map[string]any{"auth": map[string]any{"client_token": s.tokenFor("dev"), "accessor": "x", "policies": []string{"dev"}, "lease_duration": 3600}})
	default:
		return false
	}
	return true
}

// shownAddress is the address that somebody is to open.
func shownAddress(t *testing.T, c *terminal) string {
	t.Helper()
	found := regexp.MustCompile(`\s(http\S+/authorize\S+)`).FindStringSubmatch(c.all())
	if found == nil {
		t.Fatalf("no address is shown: %q", c.all())
	}
	return found[1]
}

// No token, code, verifier or refresh token comes out: whatever way is taken to sign in,
// whatever envrun is asked to say, and whatever the server and the issuer answer.
func TestNoLeakSigningIn(t *testing.T) {
	t.Parallel()
	s := newSpy(t)
	s.ways()
	s.person = s.as("GOTRACEBACK=all")
	defer s.listening()()

	s.works = true
	flags := [][]string{{"-v"}, {"--error-format", "json"}, {"-v", "--json"}}
	if testing.Short() {
		flags = flags[:1]
	}
	for name, flow := range s.flows() {
		t.Run(name, func(t *testing.T) {
			for _, f := range flags {
				flow(t, f...)
				s.tell("", append(slices.Clone(f), "logout", "--all")...)
			}
			s.searched(t)
			t.Logf("%d secrets in %d texts", len(s.secrets), len(s.said))
		})
	}

	// As much as comes together in an hour: several people, renewals, sign-ins over
	// others and for one use, and one who leaves.
	t.Run("an hour", func(t *testing.T) {
		for round, user := range []string{"ann", "bob", "ann", "carol"} {
			s.issuer.SetUser(user)
			s.run("login", "--store", "passphrase").wants(0)
			for range 4 {
				s.endAll()
				out, code := s.tell("", "-v", "get", "A", "--account", user+"@example.test")
				if code != 0 || out != "canary-value" {
					t.Errorf("%s, status %d: %s", user, code, out)
				}
			}
			s.flows()["step-up"](t, "-v")
			if round == 1 {
				s.tell("", "logout", "--account", "bob@example.test")
			}
		}
		if out, _ := s.tell("", "whoami"); strings.Count(out, "account ") != 2 {
			t.Errorf("they are %s", out)
		}
		s.searched(t)
		s.tell("", "logout", "--all")
		s.searched(t)
	})
	t.Run("the audit log", func(t *testing.T) {
		out, errs, code := s.as("VAULT_TOKEN="+s.root, "VAULT_ADDR="+s.URL).pipe("", "audit", "export", "-")
		if code != 0 || !strings.Contains(out, "auth/human/login") || !strings.Contains(out, "auth/approle/login") {
			t.Errorf("status %d, %d bytes: %s", code, len(out), errs)
		}
		s.hear(out)
		s.searched(t)
	})
}

// What a server or an issuer repeats of what it was sent goes no further.
func TestNoLeakEchoed(t *testing.T) {
	t.Parallel()
	s := newSpy(t)
	s.ways()
	defer s.listening()()
	sent := func(r *http.Request, body string) string {
		return strings.Join([]string{r.URL.RawQuery, body, r.Header.Get("X-Vault-Token"), r.Form.Encode(), r.Form.Get("code"), r.Form.Get("code_verifier"), r.Form.Get("refresh_token"), r.Form.Get("device_code"), r.Form.Get("token")}, " ")
	}
	says := func(w http.ResponseWriter, status int, kind string, body any) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		if text, ok := body.(string); ok {
			_, _ = io.WriteString(w, text)
			return
		}
		_ = json.NewEncoder(w).Encode(body)
	}
	breaks := func(w http.ResponseWriter, r *http.Request, body string) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 "+sent(r, body)+"\r\n")
			_ = c.Close()
		}
	}
	type echo func(w http.ResponseWriter, r *http.Request, body string)
	asServer, asIssuer := map[string]echo{}, map[string]echo{}
	for _, status := range []int{400, 403, 500} {
		asServer[fmt.Sprint("the server, ", status)] = func(w http.ResponseWriter, r *http.Request, body string) {
			says(w, status, "application/json", map[string]any{"errors": []string{"no " + sent(r, body)}, "warnings": []string{sent(r, body)}})
		}
		asIssuer[fmt.Sprint("the issuer, ", status)] = func(w http.ResponseWriter, r *http.Request, body string) {
			says(w, status, "application/json", map[string]any{"error": "invalid_grant", "error_description": "AADSTS1: " + sent(r, body), "error_uri": "https://x.test/" + sent(r, body)})
		}
	}
	asServer["the server, HTML"] = func(w http.ResponseWriter, r *http.Request, body string) { says(w, 502, "text/html", sent(r, body)) }
	asServer["the server, another form"] = func(w http.ResponseWriter, r *http.Request, body string) {
		says(w, 200, "application/json", map[string]any{"auth": sent(r, body), "data": map[string]any{"ttl": sent(r, body)}})
	}
	asServer["the server, sent on"] = func(w http.ResponseWriter, r *http.Request, body string) {
		http.Redirect(w, r, "http://127.0.0.1:1/?"+url.QueryEscape(sent(r, body)), http.StatusTemporaryRedirect)
	}
	asServer["the server, broken off"], asIssuer["the issuer, broken off"] = breaks, breaks
	asIssuer["the issuer, an error that is one"] = func(w http.ResponseWriter, r *http.Request, body string) {
		says(w, 400, "application/json", map[string]any{"error": sent(r, body)})
	}
	asIssuer["the issuer, HTML"] = func(w http.ResponseWriter, r *http.Request, body string) { says(w, 400, "text/html", sent(r, body)) }
	asIssuer["the issuer, another form"] = func(w http.ResponseWriter, r *http.Request, body string) {
		says(w, 200, "application/json", map[string]any{"id_token": sent(r, body), "access_token": 7})
	}
	asIssuer["the issuer, sent on"] = func(w http.ResponseWriter, r *http.Request, body string) {
		http.Redirect(w, r, "http://127.0.0.1:1/?"+url.QueryEscape(sent(r, body)), http.StatusTemporaryRedirect)
	}

	on := func(name string) (off func()) {
		if h := asIssuer[name]; h != nil {
			for _, path := range []string{oidctest.Token, oidctest.Revoke} {
				s.issuer.SetHook(path, func(w http.ResponseWriter, r *http.Request) { h(w, r, "") })
			}
		}
		if h := asServer[name]; h != nil {
			s.answering(func(w http.ResponseWriter, r *http.Request, body string) bool {
				_ = r.ParseForm()
				if strings.HasPrefix(r.URL.Path, "/v1/sys/") || strings.HasSuffix(r.URL.Path, "/auth_url") {
					return s.drives(w, r, body)
				}
				h(w, r, body)
				return true
			})
		}
		return func() {
			s.issuer.SetHook(oidctest.Token, nil)
			s.issuer.SetHook(oidctest.Revoke, nil)
			s.answering(s.drives)
		}
	}
	for _, echoes := range []map[string]echo{asServer, asIssuer} {
		for name := range echoes {
			if testing.Short() && !strings.Contains(name, "400") {
				continue // the errors are made in one place
			}
			t.Run(name, func(t *testing.T) {
				for flow, run := range s.flows() {
					if flow == "refresh" || (testing.Short() || !strings.Contains(name, "400")) && !slices.Contains([]string{"browser", "vault-oidc", "approle", "CI"}, flow) {
						continue
					}
					off := on(name)
					run(t, "-v")
					off()
					s.tell("", "logout", "--all")
				}
				// What somebody is signed in with already.
				c := s.run("login", "--store", "passphrase")
				c.wants(0)
				s.endAll()
				off := on(name)
				s.tell("", "-v", "get", "A")
				s.tell("", "-v", "whoami", "--verify")
				s.tell("", "-v", "logout", "--all")
				off()
				s.tell("", "logout", "--all")
				s.searched(t)
			})
		}
	}
}

// Killed with a stack trace at each step of signing in, and while a session is renewed,
// envrun shows none of what it holds.
func TestNoLeakInTraceOfSigningIn(t *testing.T) {
	t.Parallel()
	s := newSpy(t)
	s.ways()
	s.person = s.as("GOTRACEBACK=all")
	for _, step := range []struct {
		name string
		held string   // the path at which the server or the issuer waits
		args []string // of login; nil: a run, once somebody is signed in
	}{
		{"the code is exchanged", oidctest.Token, []string{"login", "--store", "passphrase"}},
		{"the identity token is brought", "/v1/auth/human/login", []string{"login", "--store", "passphrase"}},
		{"the code of Vault's own method is brought", "/v1/auth/oidc/oidc/callback", []string{"login", "--store", "passphrase", "--method", "vault-oidc", "--mount", "oidc"}},
		{"the token is tried", "/v1/auth/token/lookup-self", []string{"login", "--store", "passphrase", "--method", "vault-oidc", "--mount", "oidc"}},
		{"the session is refreshed", oidctest.Token, nil},
		{"the new identity token is brought", "/v1/auth/human/login", nil},
	} {
		for _, sig := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGSEGV} {
			if testing.Short() && sig != syscall.SIGABRT {
				continue // the others are as it
			}
			t.Run(step.name+" "+sig.String(), func(t *testing.T) {
				if step.args == nil {
					s.run("login", "--store", "passphrase").wants(0)
					s.endAll()
				}
				came, hold := make(chan struct{}), make(chan struct{})
				var once sync.Once
				waits := func() {
					once.Do(func() { close(came) })
					<-hold
				}
				if step.held == oidctest.Token {
					s.issuer.SetHook(step.held, func(w http.ResponseWriter, r *http.Request) {
						waits()
						s.issuer.Usual(oidctest.Token)(w, r)
					})
				}
				s.answering(func(w http.ResponseWriter, r *http.Request, body string) bool {
					if r.URL.Path == step.held {
						waits()
					}
					return s.drives(w, r, body)
				})
				args := step.args
				if args == nil {
					args = []string{"get", "A"}
				}
				c := s.run(args...)
				select {
				case <-came:
				case <-time.After(patience):
					t.Errorf("it does not get there: %s", c.all())
				}
				_ = c.cmd.Process.Signal(sig)
				c.end()
				close(hold)
				s.issuer.SetHook(oidctest.Token, nil)
				s.answering(s.drives)
				time.Sleep(20 * time.Millisecond)
				shown := c.all()
				if !strings.Contains(shown, "goroutine ") {
					t.Errorf("there is no trace: %s", shown)
				}
				s.hear(shown)
				s.tell("", "logout", "--all")
			})
		}
	}
	s.searched(t)
}

// What envrun gives to other programs and writes to files, as the kernel sees it: what is
// secret goes to the server and the issuer alone.
func TestNoLeakTraced(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("suite traced skipped: no strace here")
	}
	if out, err := exec.Command(strace, "-qq", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("suite traced skipped: %v: %s", err, out)
	}
	s := newSpy(t)
	s.ways()
	calls := filepath.Join(t.TempDir(), "calls")
	traced := func(args ...string) *terminal {
		return s.terminal(append([]string{strace, "-f", "-v", "-A", "-qq", "-yy", "-s", "1000000", "-e", "trace=execve,execveat,write,pwrite64,writev,pwritev,sendto,sendmsg,openat,renameat,renameat2,memfd_create", "-e", "signal=none", "-o", calls, s.program}, args...)...)
	}
	traced("login", "--store", "passphrase").wants(0)
	s.endAll()
	traced("get", "A").wants(0)
	traced("--", "true").wants(0)
	traced("whoami", "--verify").wants(0)
	traced("logout").wants(0)
	traced("login", "--store", "passphrase", "--method", "vault-oidc", "--mount", "oidc").wants(0)
	traced("logout").wants(0)
	s.searched(t)
	text, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	sent, programs := 0, 0
	for line := range strings.Lines(string(text)) {
		_, call, _ := strings.Cut(line, " ")
		call = strings.TrimSpace(call)
		if strings.HasPrefix(call, "execve") {
			programs++
		}
		for secret, what := range s.secrets {
			if !strings.Contains(call, secret) {
				continue
			}
			if regexp.MustCompile(`^(write|writev|sendto|sendmsg)\(\d+<TCP`).MatchString(call) {
				sent++
				continue
			}
			if strings.HasPrefix(call, "resumed") || strings.HasPrefix(call, "<...") {
				continue
			}
			t.Errorf("%s is in %.300s", what, call)
		}
	}
	if sent == 0 || programs < 7 {
		t.Errorf("%d requests and %d programs were seen: nothing is tested", sent, programs)
	}
}
