package login

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"envrun/auth/strictjson"
)

// maxAnswer bounds what an issuer answers with, in bytes after decompression.
const maxAnswer = 1 << 20

// A badAnswer is one that is not taken, in words that hold nothing of it.
type badAnswer struct{ why string }

func (e *badAnswer) Error() string { return e.why }

// A statusError is an answer that is no document.
type statusError struct{ status int }

func (e *statusError) Error() string { return fmt.Sprintf("it answers %d", e.status) }

// checkRedirect lets a document move within its host. What is sent is not sent on.
func checkRedirect(r *http.Request, via []*http.Request) error {
	first := via[0]
	if first.Method != http.MethodGet || r.URL.Scheme != first.URL.Scheme || r.URL.Host != first.URL.Host || len(via) > 3 {
		return &badAnswer{"it sends on to another address"}
	}
	return nil
}

// A guard reads each answer whole before anybody else does: bounded, and checked for
// being JSON that reads in one way only.
type guard struct {
	p    *Provider
	json bool
}

func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	before := g.p.o.now()
	resp, err := g.p.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	after := g.p.o.now()
	if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		// Date is cut to the second. That of a document may be of the time at which
		// somebody in between kept it; what answers a request is never kept.
		g.p.learn(at.Add(500*time.Millisecond).Sub(before.Add(after.Sub(before)/2)), r.Method == http.MethodPost)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, err
	case len(body) > maxAnswer:
		return nil, &badAnswer{"its answer has more than a mebibyte"}
	case resp.StatusCode/100 == 2 && g.json:
		if err := checkJSON(resp.Header.Get("Content-Type"), body, r.Method == http.MethodPost); err != nil {
			return nil, err
		}
	case resp.StatusCode/100 != 2 && r.Method == http.MethodGet && (resp.StatusCode/100 != 3 || resp.Header.Get("Location") == ""):
		return nil, &statusError{resp.StatusCode}
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	return resp, nil
}

// checkJSON says whether a body is JSON. Documents come from servers of files too,
// which may not know their type; what answers a request does.
func checkJSON(contentType string, body []byte, answer bool) error {
	kind, _, _ := mime.ParseMediaType(contentType)
	if isJSON := kind == "application/json" || strings.HasSuffix(kind, "+json"); answer && !isJSON || strings.Contains(kind, "html") {
		return &badAnswer{"it answers with something else than JSON: is there a proxy or a sign-in page in between?"}
	}
	if _, err := strictjson.Object(body, strictjson.Limits{Depth: 8, Values: 10_000}); err != nil {
		return &badAnswer{"its answer is not JSON as it has to be: " + err.Error()}
	}
	return nil
}

// learn notes how much later the issuer's clock is. What is sure is not replaced by
// what is not.
func (p *Provider) learn(skew time.Duration, sure bool) {
	if skew.Abs() < 2*time.Second {
		skew = 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if sure || !p.skewSure {
		p.skew, p.skewSure = skew.Round(time.Second), sure
	}
}

// post sends a form and returns the object that comes back, of errors too. An
// address that answers with something else gives a nil object.
func (p *Provider) post(ctx context.Context, client *http.Client, address string, form url.Values) (int, map[string]any, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, nil, &badAnswer{"an address of it is not of its form"}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body) // bounded by guard
	if err != nil {
		return 0, nil, err
	}
	object, err := strictjson.Object(body, strictjson.Limits{Depth: 8, Values: 1000})
	if err != nil && resp.StatusCode/100 == 2 && client == p.client {
		return 0, nil, errors.Join(&badAnswer{"its answer is not of its form"})
	}
	return resp.StatusCode, object, nil
}
