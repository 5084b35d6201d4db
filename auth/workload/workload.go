// Package workload finds the identity that a CI platform or a cluster gives to a
// program that runs there, and asks the platform for a token of it (study auth §3.5):
// what a pipeline signs in with instead of a secret that somebody stored.
//
// Which platform it is, is told by what it sets in the environment and by nothing
// else: no address is asked on a guess. The token is asked for with the audience of
// the server that it is for wherever the platform lets one choose.
//
// It refuses to keep a token: it is returned, and lives as long as its holder.
// Errors say what the pipeline's file lacks, and never hold a token. It knows no
// server; cmd signs in with what it returns.
package workload

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"envrun/auth"
)

// maxToken bounds what a platform answers with, in bytes.
const maxToken = 64 << 10

// An Env is where a program runs. The zero Env is this process.
type Env struct {
	Getenv func(string) string                                       // nil: os.Getenv
	Client *http.Client                                              // nil: one with a deadline that follows no redirect
	Run    func(ctx context.Context, argv ...string) ([]byte, error) // nil: runs a program, its words discarded
}

func (e Env) get(name string) string {
	if e.Getenv == nil {
		return os.Getenv(name)
	}
	return e.Getenv(name)
}

// A Platform is where a program can have an identity.
type Platform struct {
	Name  string // "github", as --ci takes it
	Title string // "GitHub Actions"

	// Chosen says whether the audience of a token can be asked for; otherwise the
	// platform or the pipeline's file fixed it.
	Chosen bool

	// Credentials are the variables with which a program can get the identity of the
	// job: a command that is run with secrets does not inherit them.
	Credentials []string

	found func(Env) bool
	token func(ctx context.Context, e Env, audience string) (string, error)
}

// Platforms are all that are known, in the order in which they are looked for.
func Platforms() []Platform {
	return []Platform{
		{
			Name: "github", Title: "GitHub Actions", Chosen: true,
			Credentials: []string{"ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"},
			found:       has("GITHUB_ACTIONS", "true"), token: github,
		},
		{
			Name: "gitlab", Title: "GitLab CI", Credentials: []string{idToken},
			found: has("GITLAB_CI", "true"), token: fromVariable(idToken, `let the job have one:
  id_tokens:
    ENVRUN_ID_TOKEN:
      aud: %s`),
		},
		{
			Name: "circleci", Title: "CircleCI", Chosen: true, Credentials: []string{"CIRCLE_OIDC_TOKEN", "CIRCLE_OIDC_TOKEN_V2"},
			found: has("CIRCLECI", "true"), token: circleci,
		},
		{
			Name: "buildkite", Title: "Buildkite", Chosen: true, Credentials: []string{"BUILDKITE_AGENT_ACCESS_TOKEN"},
			found: has("BUILDKITE", "true"), token: buildkite,
		},
		{
			Name: "bitbucket", Title: "Bitbucket Pipelines", Credentials: []string{bitbucketToken},
			found: func(e Env) bool { return e.get("BITBUCKET_BUILD_NUMBER") != "" }, token: fromVariable(bitbucketToken, `let the step have one:
  oidc: true
  # and the audience of the server: %s`),
		},
		{
			Name: "azure", Title: "Azure Pipelines", Credentials: []string{"SYSTEM_ACCESSTOKEN", "SYSTEM_OIDCREQUESTURI"},
			found: func(e Env) bool { return e.get("TF_BUILD") != "" }, token: azure,
		},
		{
			Name: "kubernetes", Title: "Kubernetes",
			found: func(e Env) bool {
				if e.get("KUBERNETES_SERVICE_HOST") == "" {
					return false
				}
				_, err := os.Stat(e.TokenFile())
				return err == nil
			}, token: kubernetes,
		},
		{
			Name: "file", Title: "the file of ENVRUN_OIDC_TOKEN_FILE", Credentials: []string{"ENVRUN_OIDC_TOKEN_FILE"},
			found: set("ENVRUN_OIDC_TOKEN_FILE"), token: func(_ context.Context, e Env, _ string) (string, error) {
				return readToken(e.get("ENVRUN_OIDC_TOKEN_FILE"))
			},
		},
		{
			Name: "variable", Title: "ENVRUN_OIDC_TOKEN", Credentials: []string{"ENVRUN_OIDC_TOKEN"},
			found: set("ENVRUN_OIDC_TOKEN"), token: func(_ context.Context, e Env, _ string) (string, error) { return e.get("ENVRUN_OIDC_TOKEN"), nil },
		},
	}
}

const (
	idToken        = "ENVRUN_ID_TOKEN" // that a GitLab job is to be given
	bitbucketToken = "BITBUCKET_STEP_OIDC_TOKEN"
)

func has(name, value string) func(Env) bool {
	return func(e Env) bool { return e.get(name) == value }
}

func set(name string) func(Env) bool { return func(e Env) bool { return e.get(name) != "" } }

// Detect is the platform that this is, and false if it is none that is known.
func Detect(e Env) (Platform, bool) {
	for _, p := range Platforms() {
		if p.found(e) {
			return p, true
		}
	}
	return Platform{}, false
}

// Named is the platform of a name.
func Named(name string) (Platform, error) {
	var names []string
	for _, p := range Platforms() {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Platform{}, fmt.Errorf("there is no platform %q; there are %s", name, strings.Join(names, ", "))
}

// Credentials are those of all platforms, sorted, each once.
func Credentials() []string {
	var all []string
	for _, p := range Platforms() {
		all = append(all, p.Credentials...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Token asks for a token with an audience. A platform that fixes the audience
// gives what it has; a token for somebody else is an error that says for whom.
func (p Platform) Token(ctx context.Context, e Env, audience string) (auth.Secret, error) {
	if audience == "" {
		return auth.Secret{}, errors.New("an identity token is asked for without an audience")
	}
	text, err := p.token(ctx, e, audience)
	if err != nil {
		return auth.Secret{}, fmt.Errorf("%s: %w", p.Title, err)
	}
	text = strings.TrimSpace(text)
	auds, err := audiences(text)
	if err != nil {
		return auth.Secret{}, fmt.Errorf("%s: %w", p.Title, err)
	}
	if !slices.Contains(auds, audience) {
		return auth.Secret{}, fmt.Errorf("%s: %w", p.Title, &AudienceError{auds, audience})
	}
	return auth.NewSecret(text), nil
}

// errNoToken is what a platform gave in the place of a token.
var errNoToken = errors.New("what it gave is no identity token")

// peek reads claims of a token without checking anything: the server does.
func peek(text string, claims any) error {
	parts := strings.Split(text, ".")
	if len(parts) != 3 || len(text) > maxToken {
		return errNoToken
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, claims) != nil {
		return errNoToken
	}
	return nil
}

// Times are those between which an identity token is good, as it says itself; zero
// where it does not. Nothing of it was checked: they are for the words about a token
// that a server has refused.
func Times(text string) (from, until time.Time) {
	var claims struct {
		Issued    float64 `json:"iat"`
		NotBefore float64 `json:"nbf"`
		Expires   float64 `json:"exp"`
	}
	const most = 1 << 40 // seconds, which is no time that anybody lives in
	if peek(text, &claims) != nil || max(claims.Issued, claims.NotBefore, claims.Expires) > most || min(claims.Issued, claims.NotBefore, claims.Expires) < 0 {
		return from, until
	}
	if at := max(claims.Issued, claims.NotBefore); at > 0 {
		from = time.Unix(int64(at), 0)
	}
	if claims.Expires > 0 {
		until = time.Unix(int64(claims.Expires), 0)
	}
	return from, until
}

// audiences reads for whom a token is.
func audiences(text string) ([]string, error) {
	var claims struct {
		Audience json.RawMessage `json:"aud"`
	}
	if err := peek(text, &claims); err != nil {
		return nil, err
	}
	var one string
	if json.Unmarshal(claims.Audience, &one) == nil {
		return []string{one}, nil
	}
	var many []string
	if json.Unmarshal(claims.Audience, &many) != nil {
		return nil, errNoToken
	}
	return many, nil
}

// fromVariable is the way of platforms that put a token into the environment.
func fromVariable(name, hint string) func(context.Context, Env, string) (string, error) {
	return func(_ context.Context, e Env, audience string) (string, error) {
		if text := e.get(name); text != "" {
			return text, nil
		}
		return "", &MissingError{name + " is not set", fmt.Sprintf(hint, audience)}
	}
}

// A MissingError is a job that has no identity, and what to write in its file.
type MissingError struct {
	What string
	Hint string // lines of the pipeline's file
}

func (e *MissingError) Error() string { return "the job has no identity: " + e.What }

// An AudienceError is an identity token that is for somebody else.
type AudienceError struct {
	For  []string
	Want string
}

func (e *AudienceError) Error() string {
	return fmt.Sprintf("the identity token is for %q and not for %q", e.For, e.Want)
}

// https://docs.github.com/actions/reference/security/oidc
func github(ctx context.Context, e Env, audience string) (string, error) {
	address, credential := e.get("ACTIONS_ID_TOKEN_REQUEST_URL"), e.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
	if address == "" || credential == "" {
		return "", &MissingError{"ACTIONS_ID_TOKEN_REQUEST_URL is not set", `let it have one:
  permissions:
    id-token: write
    contents: read
A pull request from a fork gets none.`}
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", errors.New("ACTIONS_ID_TOKEN_REQUEST_URL is not an address")
	}
	q := u.Query()
	q.Set("audience", audience)
	u.RawQuery = q.Encode()
	var out struct{ Value string }
	err = e.send(ctx, http.MethodGet, u.String(), http.Header{"Authorization": {"bearer " + credential}}, "", &out)
	return out.Value, err
}

// https://circleci.com/docs/openid-connect-tokens
func circleci(ctx context.Context, e Env, audience string) (string, error) {
	claims, err := json.Marshal(map[string]string{"aud": audience})
	if err != nil {
		return "", err
	}
	out, err := e.run(ctx, "circleci", "run", "oidc", "get", "--claims", string(claims))
	if err == nil {
		return string(out), nil
	}
	// The one that is there already has the audience of the organisation.
	for _, name := range []string{"CIRCLE_OIDC_TOKEN_V2", "CIRCLE_OIDC_TOKEN"} {
		if text := e.get(name); text != "" {
			return text, nil
		}
	}
	return "", &MissingError{"circleci run oidc get: " + err.Error(), "let the job use a context, and have the circleci program in PATH"}
}

// https://buildkite.com/docs/agent/cli/reference/oidc
func buildkite(ctx context.Context, e Env, audience string) (string, error) {
	out, err := e.run(ctx, "buildkite-agent", "oidc", "request-token", "--audience", audience, "--lifetime", "300", "--claim", "organization_id", "--claim", "pipeline_id")
	if err == nil {
		return string(out), nil
	}
	address, job, credential := e.get("BUILDKITE_AGENT_ENDPOINT"), e.get("BUILDKITE_JOB_ID"), e.get("BUILDKITE_AGENT_ACCESS_TOKEN")
	if address == "" || job == "" || credential == "" {
		return "", &MissingError{"buildkite-agent oidc request-token: " + err.Error(), "have the buildkite-agent program in PATH"}
	}
	body, err := json.Marshal(map[string]any{"audience": audience, "lifetime": 300, "claims": []string{"organization_id", "pipeline_id"}})
	if err != nil {
		return "", err
	}
	var answer struct{ Token string }
	u, err := url.Parse(address)
	if err != nil {
		return "", errors.New("BUILDKITE_AGENT_ENDPOINT is not an address")
	}
	err = e.send(ctx, http.MethodPost, u.JoinPath("jobs", job, "oidc", "tokens").String(), http.Header{"Authorization": {"Token " + credential}, "Content-Type": {"application/json"}}, string(body), &answer)
	return answer.Token, err
}

// https://learn.microsoft.com/rest/api/azure/devops/distributedtask/oidctoken
func azure(ctx context.Context, e Env, _ string) (string, error) {
	address, credential := e.get("SYSTEM_OIDCREQUESTURI"), e.get("SYSTEM_ACCESSTOKEN")
	if address == "" || credential == "" {
		return "", &MissingError{"SYSTEM_ACCESSTOKEN is not set", `let the step have it:
  env:
    SYSTEM_ACCESSTOKEN: $(System.AccessToken)`}
	}
	connection := e.get("AZURESUBSCRIPTION_SERVICE_CONNECTION_ID")
	if connection == "" {
		connection = e.get("ENVRUN_AZURE_SERVICE_CONNECTION")
	}
	if connection == "" {
		return "", &MissingError{"no service connection is named", `name one:
  env:
    ENVRUN_AZURE_SERVICE_CONNECTION: <id of the service connection>`}
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", errors.New("SYSTEM_OIDCREQUESTURI is not an address")
	}
	q := u.Query()
	q.Set("api-version", "7.1")
	q.Set("serviceConnectionId", connection)
	u.RawQuery = q.Encode()
	var out struct{ OIDCToken string }
	err = e.send(ctx, http.MethodPost, u.String(), http.Header{"Authorization": {"Bearer " + credential}, "X-Tfs-Fedauthredirect": {"Suppress"}, "Content-Type": {"application/json"}}, "", &out)
	return out.OIDCToken, err
}

// TokenFile is where a pod's token is, unless ENVRUN_KUBERNETES_TOKEN_FILE says
// otherwise: a projected one with the server's audience. The token for the API of the
// cluster is not sent to anybody else.
func (e Env) TokenFile() string {
	if file := e.get("ENVRUN_KUBERNETES_TOKEN_FILE"); file != "" {
		return file
	}
	return "/var/run/secrets/envrun/token"
}

// https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account
func kubernetes(_ context.Context, e Env, audience string) (string, error) {
	text, err := readToken(e.TokenFile())
	if err != nil {
		return "", &MissingError{err.Error(), fmt.Sprintf(`mount one:
  volumes:
    - name: envrun
      projected:
        sources:
          - serviceAccountToken: { path: token, audience: %q, expirationSeconds: 600 }`, audience)}
	}
	return text, nil
}

// readToken reads a file anew each time: a cluster replaces it.
func readToken(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	if err != nil {
		return "", err
	}
	return string(text), nil
}

func (e Env) run(ctx context.Context, argv ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if e.Run != nil {
		return e.Run(ctx, argv...)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = auth.ForOthers(os.Environ())
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return nil, errors.New(exit.ProcessState.String()) // its words may hold a token
	}
	if err != nil {
		return nil, fmt.Errorf("%s cannot be run", argv[0])
	}
	return out, nil
}

// tries is how often a platform is asked that answers with an error of its own.
const tries = 3

// send asks the platform. Nothing of the answer is in an error.
func (e Env) send(ctx context.Context, method, address string, h http.Header, body string, to any) error {
	client := e.Client
	if client == nil {
		client = &http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	var last error
	for n := range tries {
		if n > 0 {
			select {
			case <-time.After(time.Duration(n) * 500 * time.Millisecond):
			case <-ctx.Done():
				return last
			}
		}
		req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
		if err != nil {
			return errors.New("its address is not of its form")
		}
		req.Header = h
		resp, err := client.Do(req)
		if err != nil {
			if uerr := (*url.Error)(nil); errors.As(err, &uerr) {
				err = uerr.Err // the address may hold a credential
			}
			last = fmt.Errorf("it cannot be asked for a token: %w", err)
			continue
		}
		text, err := io.ReadAll(io.LimitReader(resp.Body, maxToken+1))
		resp.Body.Close()
		switch {
		case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests:
			last = fmt.Errorf("it answers %d when asked for a token", resp.StatusCode)
			continue
		case resp.StatusCode/100 != 2:
			return fmt.Errorf("it answers %d when asked for a token", resp.StatusCode)
		case err != nil || json.Unmarshal(text, to) != nil:
			return errors.New("what it answers is not JSON")
		}
		return nil
	}
	return last
}
