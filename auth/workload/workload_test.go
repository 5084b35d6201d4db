package workload_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"envrun/auth/oidc/oidctest"
	"envrun/auth/workload"
)

const audience = "https://secrets.example.test/ci?a=1&b=2#c"

// env is an environment of the given variables, with programs that are in the map.
func env(vars map[string]string, programs map[string]func(argv []string) (string, error)) workload.Env {
	return workload.Env{
		Getenv: func(name string) string { return vars[name] },
		Run: func(_ context.Context, argv ...string) ([]byte, error) {
			if f := programs[argv[0]]; f != nil {
				out, err := f(argv)
				return []byte(out), err
			}
			return nil, fmt.Errorf("%s cannot be run", argv[0])
		},
	}
}

// token is an identity token for some audiences.
func token(aud any) string {
	return oidctest.SignRaw("ES256", oidctest.P256, oidctest.Claims{"aud": aud, "sub": "canary"}.JSON(), nil)
}

// asked is a platform's endpoint: it checks a request and answers with JSON.
func asked(t *testing.T, check func(r *http.Request, body string) string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, check(r, string(body)))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func jsonOf(name, text string) string {
	b, _ := json.Marshal(map[string]string{name: text})
	return string(b)
}

// Each platform is found by what it sets, asked as it documents, and its token is
// for the server.
func TestPlatforms(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token([]string{"x", audience})+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := token(audience)
	githubURL := asked(t, func(r *http.Request, _ string) string {
		if r.Method != "GET" || r.Header.Get("Authorization") != "bearer req-token" || r.URL.Query().Get("audience") != audience || r.URL.Query().Get("api-version") != "2.0" {
			t.Errorf("GitHub is asked %s %s %v", r.Method, r.URL, r.Header)
		}
		return jsonOf("value", good)
	})
	buildkiteURL := asked(t, func(r *http.Request, body string) string {
		if r.Method != "POST" || r.URL.Path != "/v3/jobs/job-1/oidc/tokens" || r.Header.Get("Authorization") != "Token agent-token" || !strings.Contains(body, `"lifetime":300`) {
			t.Errorf("Buildkite is asked %s %s %s", r.Method, r.URL, body)
		}
		return jsonOf("token", good)
	})
	azureURL := asked(t, func(r *http.Request, _ string) string {
		if r.Method != "POST" || r.Header.Get("Authorization") != "Bearer job-token" || r.Header.Get("X-TFS-FedAuthRedirect") != "Suppress" || r.URL.Query().Get("serviceConnectionId") != "conn" || r.URL.Query().Get("api-version") != "7.1" {
			t.Errorf("Azure is asked %s %s %v", r.Method, r.URL, r.Header)
		}
		return jsonOf("oidcToken", good)
	})
	circle := map[string]func([]string) (string, error){"circleci": func(argv []string) (string, error) {
		var claims struct{ Aud string }
		if len(argv) != 6 || !slices.Equal(argv[:5], []string{"circleci", "run", "oidc", "get", "--claims"}) || json.Unmarshal([]byte(argv[5]), &claims) != nil || claims.Aud != audience {
			t.Errorf("CircleCI is asked %q", argv)
		}
		return good + "\n", nil
	}}
	agent := map[string]func([]string) (string, error){"buildkite-agent": func(argv []string) (string, error) {
		if len(argv) < 7 || argv[1] != "oidc" || argv[2] != "request-token" || argv[4] != audience {
			t.Errorf("Buildkite's agent is asked %q", argv)
		}
		return good, nil
	}}
	tests := []struct {
		name     string
		vars     map[string]string
		programs map[string]func([]string) (string, error)
	}{
		{"github", map[string]string{"GITHUB_ACTIONS": "true", "ACTIONS_ID_TOKEN_REQUEST_URL": githubURL + "/token?api-version=2.0", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "req-token"}, nil},
		{"gitlab", map[string]string{"GITLAB_CI": "true", "ENVRUN_ID_TOKEN": token([]string{audience})}, nil},
		{"circleci", map[string]string{"CIRCLECI": "true"}, circle},
		{"circleci", map[string]string{"CIRCLECI": "true", "CIRCLE_OIDC_TOKEN_V2": good}, nil},
		{"buildkite", map[string]string{"BUILDKITE": "true"}, agent},
		{"buildkite", map[string]string{"BUILDKITE": "true", "BUILDKITE_AGENT_ENDPOINT": buildkiteURL + "/v3", "BUILDKITE_JOB_ID": "job-1", "BUILDKITE_AGENT_ACCESS_TOKEN": "agent-token"}, nil},
		{"bitbucket", map[string]string{"BITBUCKET_BUILD_NUMBER": "7", "BITBUCKET_STEP_OIDC_TOKEN": good}, nil},
		{"azure", map[string]string{"TF_BUILD": "True", "SYSTEM_OIDCREQUESTURI": azureURL + "/x", "SYSTEM_ACCESSTOKEN": "job-token", "ENVRUN_AZURE_SERVICE_CONNECTION": "conn"}, nil},
		{"kubernetes", map[string]string{"KUBERNETES_SERVICE_HOST": "10.0.0.1", "ENVRUN_KUBERNETES_TOKEN_FILE": file}, nil},
		{"file", map[string]string{"ENVRUN_OIDC_TOKEN_FILE": file}, nil},
		{"variable", map[string]string{"ENVRUN_OIDC_TOKEN": good}, nil},
	}
	for _, test := range tests {
		e := env(test.vars, test.programs)
		p, ok := workload.Detect(e)
		if !ok || p.Name != test.name {
			t.Errorf("%s: found %q", test.name, p.Name)
			continue
		}
		got, err := p.Token(t.Context(), e, audience)
		if err != nil || !strings.Contains(got.Reveal(), ".") || strings.HasSuffix(got.Reveal(), "\n") {
			t.Errorf("%s: %v", test.name, err)
		}
		if printed := fmt.Sprintf("%v %+v %#v %s %q", got, got, got, got, &got); strings.Contains(printed, got.Reveal()) {
			t.Errorf("%s: a token is printed", test.name)
		}
		if _, err := json.Marshal(got); err == nil {
			t.Errorf("%s: a token is written as JSON", test.name)
		}
		if named, err := workload.Named(p.Name); err != nil || named.Title != p.Title {
			t.Errorf("%s: by its name %v, %v", test.name, named.Title, err)
		}
	}
	if p, ok := workload.Detect(env(map[string]string{"CI": "true", "KUBERNETES_SERVICE_HOST": "x"}, nil)); ok {
		t.Errorf("%s is found where there is none", p.Name)
	}
	if _, err := workload.Named("jenkins"); err == nil || !strings.Contains(err.Error(), "github") {
		t.Errorf("an unknown platform: %v", err)
	}
}

// A job without an identity is told what to write into its file.
func TestMissing(t *testing.T) {
	for name, test := range map[string]struct {
		vars map[string]string
		hint string
	}{
		"github":     {map[string]string{"GITHUB_ACTIONS": "true"}, "id-token: write"},
		"gitlab":     {map[string]string{"GITLAB_CI": "true"}, "aud: " + audience},
		"circleci":   {map[string]string{"CIRCLECI": "true"}, "context"},
		"buildkite":  {map[string]string{"BUILDKITE": "true"}, "buildkite-agent"},
		"bitbucket":  {map[string]string{"BITBUCKET_BUILD_NUMBER": "1"}, "oidc: true"},
		"azure":      {map[string]string{"TF_BUILD": "True"}, "System.AccessToken"},
		"kubernetes": {map[string]string{"ENVRUN_KUBERNETES_TOKEN_FILE": "/nonexistent/token"}, "serviceAccountToken"},
	} {
		p, err := workload.Named(name)
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Token(t.Context(), env(test.vars, nil), audience)
		var missing *workload.MissingError
		if !errors.As(err, &missing) || !strings.Contains(missing.Hint, test.hint) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p, _ := workload.Named("azure")
	_, err := p.Token(t.Context(), env(map[string]string{"SYSTEM_OIDCREQUESTURI": "http://127.0.0.1:1", "SYSTEM_ACCESSTOKEN": "canary"}, nil), audience)
	if missing := (*workload.MissingError)(nil); !errors.As(err, &missing) || !strings.Contains(missing.Hint, "SERVICE_CONNECTION") {
		t.Errorf("no service connection: %v", err)
	}
}

// What is no token, or one for somebody else, is not sent to the server; no error
// holds it, nor a credential or what a platform answered.
func TestBadAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		code   int
		answer string
		want   string
	}{
		"denied":            {403, `{"message":"canary"}`, "answers 403"},
		"a redirect":        {302, "", "answers 302"},
		"HTML":              {200, "<html>canary</html>", "not JSON"},
		"nothing":           {200, `{}`, "no identity token"},
		"no token":          {200, `{"value":"canary"}`, "no identity token"},
		"three parts":       {200, `{"value":"canary.canary.canary"}`, "no identity token"},
		"for somebody else": {200, jsonOf("value", token("https://github.com/acme")), "for [\"https://github.com/acme\"]"},
		"for nobody":        {200, jsonOf("value", token(nil)), "is for"},
		"a huge answer":     {200, `{"value":"` + strings.Repeat("x", 1<<20) + `"}`, "not JSON"},
	} {
		var n atomic.Int64
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			n.Add(1)
			if test.code == 302 {
				w.Header().Set("Location", "/elsewhere")
			}
			w.WriteHeader(test.code)
			_, _ = io.WriteString(w, test.answer)
		}))
		p, _ := workload.Named("github")
		_, err := p.Token(t.Context(), env(map[string]string{"ACTIONS_ID_TOKEN_REQUEST_URL": s.URL + "?sig=canary", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "canary"}, nil), audience)
		s.Close()
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "canary") || n.Load() != 1 {
			t.Errorf("%s: %v (asked %d times)", name, err, n.Load())
		}
	}
	if _, err := (workload.Platform{}).Token(t.Context(), workload.Env{}, ""); err == nil {
		t.Error("a token without an audience")
	}
}

// A platform that stumbles is asked again, and for no longer than the caller waits.
func TestRetries(t *testing.T) {
	var n atomic.Int64
	good := token(audience)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1) < 3 {
			w.WriteHeader(503)
			return
		}
		_, _ = io.WriteString(w, jsonOf("value", good))
	}))
	defer s.Close()
	e := env(map[string]string{"ACTIONS_ID_TOKEN_REQUEST_URL": s.URL, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "t"}, nil)
	p, _ := workload.Named("github")
	if _, err := p.Token(t.Context(), e, audience); err != nil || n.Load() != 3 {
		t.Errorf("%v after %d", err, n.Load())
	}
	n.Store(-1000)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := p.Token(ctx, e, audience); err == nil || n.Load() < -1000+1 {
		t.Errorf("%v after %d", err, n.Load()+1000)
	}
}

// Programs are run for real: their words are not repeated, and one that hangs ends.
func TestPrograms(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	program := filepath.Join(dir, "circleci")
	e := workload.Env{Getenv: func(string) string { return "" }}
	p, _ := workload.Named("circleci")
	_, err := p.Token(t.Context(), e, audience)
	if err == nil || !strings.Contains(err.Error(), "cannot be run") {
		t.Errorf("no program: %v", err)
	}
	write := func(text string) {
		if err := os.WriteFile(program, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write("echo canary >&2; exit 3")
	if _, err = p.Token(t.Context(), e, audience); err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("a program that fails: %v", err)
	}
	write("printf '%s' '" + token(audience) + "'")
	if _, err = p.Token(t.Context(), e, audience); err != nil {
		t.Errorf("a program that answers: %v", err)
	}
	write("exec /bin/sleep 100")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err = p.Token(ctx, e, audience); err == nil || time.Since(began) > 30*time.Second {
		t.Errorf("a program that hangs: %v after %v", err, time.Since(began))
	}
}

// What a command could get the job's identity with is named.
func TestCredentials(t *testing.T) {
	got := workload.Credentials()
	for _, want := range []string{"ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL", "BITBUCKET_STEP_OIDC_TOKEN", "BUILDKITE_AGENT_ACCESS_TOKEN", "CIRCLE_OIDC_TOKEN", "CIRCLE_OIDC_TOKEN_V2", "ENVRUN_ID_TOKEN", "SYSTEM_ACCESSTOKEN"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is not among them", want)
		}
	}
	if !slices.IsSorted(got) {
		t.Error("not sorted")
	}
}

// What is said of a token's times is never more than it says itself.
func TestTimes(t *testing.T) {
	for payload, want := range map[string][2]int64{
		`{"iat":100,"nbf":90,"exp":400}`:  {100, 400},
		`{"iat":100,"nbf":160,"exp":400}`: {160, 400},
		`{"exp":400.9}`:                   {0, 400},
		`{"iat":100}`:                     {100, 0},
		`{}`:                              {},
		`{"iat":-1,"exp":400}`:            {},
		`{"iat":1,"exp":1e300}`:           {},
		`{"iat":"100","exp":400}`:         {},
		`[]`:                              {},
	} {
		from, until := workload.Times("x." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".x")
		for i, at := range []time.Time{from, until} {
			if is := at.IsZero(); is != (want[i] == 0) || !is && at.Unix() != want[i] {
				t.Errorf("%s: %v, %v", payload, from, until)
			}
		}
	}
	for _, text := range []string{"", "hvs.abc", "a.b", "a.%.c", "a.b.c.d"} {
		if from, until := workload.Times(text); !from.IsZero() || !until.IsZero() {
			t.Errorf("%q: %v, %v", text, from, until)
		}
	}
}
