package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"envrun/vault"
	"envrun/vault/audit"
	"envrun/vault/wire"
)

// call is one request to the server.
type call struct {
	method string
	path   []string // below /v1, in whole segments or several
	query  url.Values
	body   any
	merge  bool // body is a merge patch

	// repeat: sending it twice does no more than sending it once. Others are
	// repeated only when it is known that the server did not act on them.
	repeat bool
	// own: it is one that envrund alone answers; errPlain from any other server.
	own bool
	// secrets are values in the body: if the server's words repeat one they are left out.
	secrets []string
	// open: no token is needed, and none is sent.
	open bool
	// unseen: no look is taken at the audit log beside it; seen is what is said of the
	// log that was seen, empty for nothing.
	unseen bool
	seen   string
}

// answer is what the server said, other than an error.
type answer struct {
	status int
	body   []byte
	shown  string // of the audit log: audit.ShownHeader
}

// send sends a request, again where that is safe and of use. The error is a
// *ServerError, a *statusError or that of ctx. An answer of status 404 that has
// more to say than errors is no error.
func (v *Vault) send(ctx context.Context, c call) (answer, error) {
	if err := ctx.Err(); err != nil {
		return answer{}, err
	}
	var token string
	var err error
	if !c.open {
		if token, err = v.o.Token(ctx); err != nil {
			return answer{}, err
		}
		if err := v.checkToken(token); err != nil {
			return answer{}, err
		}
	}
	var body []byte
	if c.body != nil {
		if body, err = json.Marshal(c.body); err != nil {
			return answer{}, fmt.Errorf("writing a request: %w", err)
		}
	}
	at := v.base.JoinPath(append([]string{"v1"}, c.path...)...)
	at.RawQuery = c.query.Encode()
	look := !c.unseen && v.looking.due(v.o.Witness)
	if look {
		c.seen = v.seen(v.o.Witness.Memory)
	}
	a, err := v.often(ctx, c, at, token, body)
	if e, ok := err.(*ServerError); ok && e.Trouble == BadToken && v.o.Renewed != nil {
		if token, again := v.o.Renewed(ctx, token); again != nil {
			err = again
		} else if token != "" {
			a, err = v.often(ctx, c, at, token, body)
		}
	}
	if look {
		if err == nil {
			v.look(ctx, a.shown)
		}
		v.looking.done(v.o.Witness, err == nil)
	}
	return a, err
}

// often sends a request until there is an answer, or it is of no use.
func (v *Vault) often(ctx context.Context, c call, at *url.URL, token string, body []byte) (answer, error) {
	pause := v.o.Pause
	for attempt := 1; ; attempt++ {
		a, t, err := v.once(ctx, c, at, token, body)
		if err == nil {
			return a, nil
		}
		if attempt == attempts || t == final || t == unclear && !c.repeat {
			return a, v.afterwards(ctx, c, token, err)
		}
		wait := pause/2 + rand.N(pause/2+1)
		pause *= 2
		if after, ok := errors.AsType[*retryAfter](err); ok {
			wait = max(wait, after.wait)
		}
		select {
		case <-ctx.Done():
			return a, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// checkToken refuses what is none.
func (v *Vault) checkToken(token string) error {
	if token == "" {
		return &ServerError{Trouble: NoToken, Address: v.Address()}
	}
	for i := range len(token) {
		if token[i] <= ' ' || token[i] > '~' {
			return &ServerError{Trouble: BadToken, Address: v.Address(), Text: "it has characters that no token has"}
		}
	}
	return nil
}

// request is one with what every request has.
func (v *Vault) request(ctx context.Context, method string, at *url.URL, token string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, at.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Vault-Token", token)
	req.Header.Set("X-Vault-Request", "true")
	req.Header.Set("User-Agent", "envrun")
	if v.o.Namespace != "" {
		req.Header.Set("X-Vault-Namespace", v.o.Namespace)
	}
	return req, nil
}

// fate says what is known of a request that failed.
type fate int

const (
	final   fate = iota // it will fail again
	unclear             // the server may have acted on it
	unsent              // the server did not act on it, and may another time
)

// retryAfter is an error that says when to come again.
type retryAfter struct {
	error
	wait time.Duration
}

func (r *retryAfter) Unwrap() error { return r.error }

// afterwards is what a request that has failed for good is told as.
func (v *Vault) afterwards(ctx context.Context, c call, token string, err error) error {
	if r, ok := err.(*retryAfter); ok {
		err = r.error
	}
	e, ok := err.(*statusError)
	if !ok || e.status != http.StatusForbidden || e.policy || c.open {
		return err
	}
	// The same status says that the token may not do this and that it is none at
	// all. Vault says which; elsewhere we ask what is known of the token.
	bad := &ServerError{Trouble: BadToken, Address: v.Address(), Status: e.status}
	if slices.Contains(e.texts, "invalid token") {
		return bad
	}
	self := call{method: http.MethodGet, path: []string{"auth/token/lookup-self"}}
	if _, _, err := v.once(ctx, self, v.base.JoinPath("v1/auth/token/lookup-self"), token, nil); err != nil {
		if s, ok := err.(*statusError); ok && s.status == http.StatusForbidden && !s.policy {
			return bad
		}
	}
	return e
}

// once sends a request once, and follows redirects on the same host.
func (v *Vault) once(ctx context.Context, c call, at *url.URL, token string, body []byte) (answer, fate, error) {
	limited, cancel := context.WithTimeout(ctx, v.o.Timeout)
	defer cancel()
	for range redirects + 1 {
		req, err := http.NewRequestWithContext(limited, c.method, at.String(), bytes.NewReader(body))
		if err != nil {
			return answer{}, final, err
		}
		if token != "" {
			req.Header.Set("X-Vault-Token", token)
		}
		req.Header.Set("X-Vault-Request", "true")
		req.Header.Set("User-Agent", "envrun")
		if c.seen != "" {
			req.Header.Set(audit.SeenHeader, c.seen)
		}
		if v.o.Namespace != "" {
			req.Header.Set("X-Vault-Namespace", v.o.Namespace)
		}
		switch {
		case c.merge:
			req.Header.Set("Content-Type", "application/merge-patch+json")
		case body != nil:
			req.Header.Set("Content-Type", "application/json")
		}
		res, err := v.transport.RoundTrip(req)
		if err != nil {
			t, err := fateOf(err), v.unanswered(ctx, err)
			if e, ok := err.(*ServerError); ok && e.Trouble != Unreachable {
				t = final
			}
			return answer{}, t, err
		}
		if v.heard(res, c.own) {
			res.Body.Close()
			return answer{}, final, errPlain
		}
		v.note(res)
		raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
		res.Body.Close()
		switch {
		case err != nil:
			return answer{}, unclear, v.unanswered(ctx, err)
		case len(raw) > maxAnswer:
			return answer{}, final, &ServerError{Trouble: NotVault, Address: v.Address(), Text: fmt.Sprintf("its answer is longer than %d MiB", maxAnswer>>20)}
		}
		next, err := v.redirected(res, at)
		if err != nil {
			return answer{}, final, err
		}
		if next == nil {
			a, t, err := v.judge(c, res, token, raw)
			a.shown = res.Header.Get(audit.ShownHeader)
			return a, t, err
		}
		at = next
	}
	return answer{}, final, &ServerError{Trouble: NotVault, Address: v.Address(), Text: "it redirects in a circle"}
}

// fateOf says whether a request that got no answer can have reached the server.
func fateOf(err error) fate {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return unsent
	}
	return unclear
}

// redirected is where an answer refers to, nil for nowhere. Only the same host
// gets the token.
func (v *Vault) redirected(res *http.Response, at *url.URL) (*url.URL, error) {
	switch res.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	to, err := at.Parse(res.Header.Get("Location"))
	if err != nil {
		return nil, &ServerError{Trouble: NotVault, Address: v.Address(), Status: res.StatusCode, Text: "it redirects to nowhere"}
	}
	if to.Scheme == v.base.Scheme && to.Host == v.base.Host && to.User == nil {
		if res.StatusCode != http.StatusTemporaryRedirect && res.StatusCode != http.StatusPermanentRedirect && res.Request.Method != http.MethodGet {
			return nil, &ServerError{Trouble: NotVault, Address: v.Address(), Status: res.StatusCode, Text: "it redirects a write to a page"}
		}
		return to, nil
	}
	e := &ServerError{Trouble: Standby, Address: v.Address(), Status: res.StatusCode, Active: (&url.URL{Scheme: to.Scheme, Host: to.Host}).String()}
	if !strings.HasPrefix(to.Path, v.base.Path+"/v1/") {
		// A page to sign in at, more likely than another server.
		e.Trouble, e.Text, e.Active = NotVault, "it redirects to "+e.Active, ""
	}
	return nil, e
}

// judge reads the status and, of an error, the body.
func (v *Vault) judge(c call, res *http.Response, token string, raw []byte) (answer, fate, error) {
	status := res.StatusCode
	if status < 300 {
		return answer{status: status, body: raw}, final, nil
	}
	var body struct {
		Errors []string `json:"errors"`
	}
	isJSON := json.Unmarshal(raw, &body) == nil
	if status == http.StatusNotFound && isJSON && body.Errors == nil && len(raw) > 0 {
		return answer{status: status, body: raw}, final, nil
	}
	texts := plain(body.Errors)
	if repeats(texts, append(c.secrets, token)) {
		texts = []string{"its words repeat a value, and are left out"}
	}
	e := &ServerError{Address: v.Address(), Status: status, Text: strings.Join(texts, "; ")}
	says := func(s string) bool { return strings.Contains(e.Text, s) }
	switch {
	case status == http.StatusServiceUnavailable && says(wire.Sealed):
		e.Trouble, e.Text = Sealed, ""
		return answer{}, final, e
	case says("not initialized") || status == http.StatusNotImplemented:
		e.Trouble, e.Text = Uninitialised, ""
		return answer{}, final, e
	case status == http.StatusTooManyRequests:
		e.Trouble = Overloaded
		return answer{}, unsent, &retryAfter{e, wait(res)}
	case status == http.StatusPreconditionFailed || status == 400 && says("Upgrading from non-versioned"):
		// A replica that has not caught up; a mount that is seconds old.
		e.Trouble = Unreachable
		return answer{}, unsent, e
	case status == 472 || status == 473 || says("standby"):
		e.Trouble = Standby
		return answer{}, unsent, e
	case status >= 500:
		e.Trouble, e.away = Unreachable, isGateway(status)
		return answer{}, unclear, e
	case len(raw) > 0 && (!isJSON || body.Errors == nil):
		e.Trouble, e.Text = NotVault, fmt.Sprintf("status %d", status)
		return answer{}, final, e
	}
	return answer{}, final, &statusError{status, texts, byPolicy(body.Errors), res.Header.Get("WWW-Authenticate")}
}

// byPolicy says of the errors of a 403 that a policy refused: that has the layout
// of several errors. What is said of a token that is none has not, or it says so
// (server-api §1.1).
func byPolicy(errors []string) bool {
	return !slices.Contains(errors, wire.Denied) && !slices.ContainsFunc(errors, func(s string) bool { return strings.Contains(s, "invalid token") })
}

// note keeps what an answer says beside its body.
func (v *Vault) note(res *http.Response) {
	date, err := http.ParseTime(res.Header.Get("Date"))
	v.mu.Lock()
	defer v.mu.Unlock()
	if err == nil && date.After(v.told) {
		v.told = date
	}
	for _, text := range res.Header.Values(wire.CacheHeader) {
		mount, d := wire.ReadCacheText(text)
		if v.caches == nil {
			v.caches = map[string]time.Duration{}
		}
		v.caches[mount] = d
	}
}

// Told is what answers said beside their bodies, of an environment.
type Told struct {
	Date time.Time // the newest that an answer bore; zero if none did

	// Cache is how long what was read may be used while the server cannot be
	// reached; nil if the server has not said.
	Cache *time.Duration
}

// Told says what answers have said so far.
func (v *Vault) Told(env vault.Env) Told {
	v.mu.Lock()
	defer v.mu.Unlock()
	t := Told{Date: v.told}
	if d, ok := v.caches[v.mountPath(env)]; ok {
		t.Cache = &d
	}
	return t
}

// wait is how long the server asks to wait, five seconds at most.
func wait(res *http.Response) time.Duration {
	n, err := strconv.Atoi(res.Header.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	return min(time.Duration(n)*time.Second, 5*time.Second)
}

// repeats reports whether a text holds one of the secrets.
func repeats(texts, secrets []string) bool {
	for _, t := range texts {
		for _, s := range secrets {
			for line := range strings.Lines(s) {
				if line = strings.TrimSpace(line); len(line) > 2 && strings.Contains(t, line[:min(len(line), 16)]) {
					return true
				}
			}
		}
	}
	return false
}

// decode reads the data of an answer, and into leased, if that is not nil, whether
// they end with a lease. What a decoder complains of is not said: it may repeat a value.
func decode[T any](v *Vault, a answer, leased *bool) (T, error) {
	var e wire.Answer[T]
	if err := json.Unmarshal(a.body, &e); err != nil || e.Data == nil {
		var zero T
		return zero, &ServerError{Trouble: NotVault, Address: v.Address(), Status: a.status, Text: "its answer has not the form of one"}
	}
	if leased != nil {
		*leased = e.LeaseID != "" || e.Renewable || e.LeaseDuration != 0
	}
	return *e.Data, nil
}

// ask sends a request and reads the data of its answer.
func ask[T any](ctx context.Context, v *Vault, c call) (T, error) {
	a, err := v.send(ctx, c)
	if err != nil {
		var zero T
		return zero, err
	}
	return decode[T](v, a, nil)
}
