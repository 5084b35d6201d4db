package device

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"envrun/vault"
	"envrun/vault/audit"
)

// HTTP is a collector that takes batches of lines in one request.
type HTTP struct {
	// URL is where to: for "splunk" and "elastic" the server, to which the path of
	// their API is added; for "json" the whole address. https, or http to this machine.
	URL string

	// Format is what a batch is:
	//
	//	"splunk"   HTTP event collector: an event for each line, time and source said
	//	"elastic"  bulk API: a document in ECS for each line, created under its leaf hash, so that none is there twice
	//	"json"     the lines as they are, newline-delimited, in a POST that is answered with 2xx
	Format string

	Token vault.Value // the credential: sent as "Splunk …", "ApiKey …" or "Bearer …"; empty: none
	Index string      // of splunk and elastic
	TLS   *tls.Config // nil trusts the system's roots
}

func (c *HTTP) sink(host string) (sink, error) {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Host == "":
		return nil, errors.New("its URL is not of its form") // the error may say it back, with a password in it
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("its URL holds a user, a query or a fragment; a credential has a setting of its own")
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		return nil, errors.New("its URL is not https, and not of this machine")
	}
	s := &collector{host: host, index: c.Index}
	switch c.Format {
	case "splunk":
		u, s.scheme, s.kind, s.body, s.answer = u.JoinPath("services/collector/event"), "Splunk", "application/json", s.splunk, splunkAnswer
	case "elastic":
		if c.Index == "" || strings.ContainsAny(c.Index, `/\?#%*, `) {
			return nil, errors.New("the name of its index is missing or not of its form")
		}
		u, s.scheme, s.kind, s.body, s.answer = u.JoinPath(c.Index, "_bulk"), "ApiKey", "application/x-ndjson", elasticBody, elasticAnswer
	case "json":
		s.scheme, s.kind, s.body, s.answer = "Bearer", "application/x-ndjson", jsonBody, func([]byte) error { return nil }
	default:
		return nil, errors.New("its format is not one of splunk, elastic and json")
	}
	s.url, s.token = u.String(), c.Token
	s.client = &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{}).DialContext,
			TLSClientConfig:     atLeast12(c.TLS),
			ForceAttemptHTTP2:   true,
			MaxIdleConns:        1,
			IdleConnTimeout:     time.Minute,
			TLSHandshakeTimeout: 10 * time.Second,
		},
		// The credential goes where it was meant to and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s, nil
}

type collector struct {
	client            *http.Client
	url, scheme, kind string
	token             vault.Value
	host, index       string
	body              func([]audit.Line) []byte
	answer            func([]byte) error // what a body with status 2xx says
}

func (s *collector) low() bool { return false }
func (s *collector) reopen()   { s.client.CloseIdleConnections() }

// open asks for a connection and no more: an empty batch is an error to some.
func (s *collector) open(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodHead, s.url, nil)
	if err != nil {
		return err
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	return resp.Body.Close()
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 4 << 20

func (s *collector) write(ctx context.Context, lines []audit.Line) (int, error) {
	body := s.body(lines)
	for pause := 50 * time.Millisecond; ; pause *= 2 {
		again, err := s.post(ctx, body, lines[0])
		if err == nil {
			return len(lines), nil
		}
		if !again {
			return 0, err
		}
		select { // it is busy: as often as its deadline allows
		case <-time.After(pause):
		case <-ctx.Done():
			return 0, err
		}
	}
}

// post sends a batch once. again means that the same may be taken in a moment.
func (s *collector) post(ctx context.Context, body []byte, first audit.Line) (again bool, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	r.Header.Set("Content-Type", s.kind)
	r.Header.Set("User-Agent", "envrun")
	// With it the client sends a batch again by itself when the connection had ended before.
	r.Header.Set("Idempotency-Key", leafID(first))
	if t := s.token.Reveal(); len(t) > 0 {
		r.Header.Set("Authorization", s.scheme+" "+string(t))
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch code := resp.StatusCode; {
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		return true, fmt.Errorf("it answered %d", code)
	case code == http.StatusBadRequest || code == http.StatusRequestEntityTooLarge:
		return false, fmt.Errorf("it answered %d: %w", code, errPermanent)
	case code < 200 || code > 299:
		return false, fmt.Errorf("it answered %d", code)
	case err != nil:
		return false, err
	}
	return false, s.answer(answer)
}

// leafID is the leaf hash as an identifier.
func leafID(l audit.Line) string {
	leaf := l.Leaf()
	return hex.EncodeToString(leaf[:])
}

func jsonBody(lines []audit.Line) []byte {
	var b bytes.Buffer
	for _, l := range lines {
		b.WriteString(l.String())
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// splunk is a batch for the HTTP event collector.
func (s *collector) splunk(lines []audit.Line) []byte {
	type fields struct {
		Entry string `json:"entry"`
	}
	type event struct {
		Time       json.Number     `json:"time"`
		Host       string          `json:"host,omitempty"`
		Source     string          `json:"source"`
		Sourcetype string          `json:"sourcetype"`
		Index      string          `json:"index,omitempty"`
		Event      json.RawMessage `json:"event"`
		Fields     fields          `json:"fields"`
	}
	var b bytes.Buffer
	for _, l := range lines {
		t := l.Entry().Time
		put(&b, event{
			Time: json.Number(fmt.Sprintf("%d.%06d", t.Unix(), t.Nanosecond()/1000)),
			Host: s.host, Source: "envrun", Sourcetype: "envrun:audit", Index: s.index,
			Event: json.RawMessage(l.String()), Fields: fields{leafID(l)},
		})
	}
	return b.Bytes()
}

func splunkAnswer(b []byte) error {
	var a struct{ Code *int }
	if json.Unmarshal(b, &a) != nil || a.Code == nil {
		return errors.New("its answer is not one of an event collector")
	}
	if *a.Code != 0 {
		return errors.New("it answered with code " + strconv.Itoa(*a.Code))
	}
	return nil
}

// put appends a value of ours and a newline. It is of plain types and cannot fail.
func put(b *bytes.Buffer, v any) {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
}

// A document is an entry in the Elastic Common Schema, with the whole line in it.
type document struct {
	Timestamp time.Time `json:"@timestamp"`
	ECS       ecs       `json:"ecs"`
	Event     event     `json:"event"`
	User      *user     `json:"user,omitempty"`
	Source    *source   `json:"source,omitempty"`
	URL       *path     `json:"url,omitempty"`
	UserAgent *agent    `json:"user_agent,omitempty"`
	Service   service   `json:"service"`

	Envrun json.RawMessage `json:"envrun"`
}

type (
	ecs struct {
		Version string `json:"version"`
	}
	event struct {
		Kind     string   `json:"kind"`
		Category []string `json:"category"`
		Type     []string `json:"type"`
		Action   string   `json:"action,omitempty"`
		Outcome  string   `json:"outcome"`
		ID       string   `json:"id"`
		Reason   string   `json:"reason,omitempty"`
	}
	user struct {
		ID   string `json:"id,omitempty"`
		Name string `json:"name,omitempty"`
	}
	source struct {
		IP   string `json:"ip"`
		Port int    `json:"port,omitempty"`
	}
	path struct {
		Path string `json:"path"`
	}
	agent struct {
		Original string `json:"original"`
	}
	service struct {
		Name string `json:"name"`
	}
)

// inECS is the document of a line.
func inECS(l audit.Line) document {
	e := l.Entry()
	d := document{
		Timestamp: e.Time, ECS: ecs{"8.17.0"}, Service: service{"envrun"}, Envrun: json.RawMessage(l.String()),
		Event: event{Kind: "event", Category: category(e.Request.Path), Type: kinds(e), Action: e.Request.Operation, Outcome: "unknown", ID: leafID(l), Reason: e.Error},
	}
	switch {
	case e.Error != "" || e.Status >= 400:
		d.Event.Outcome = "failure"
	case e.Type == audit.Outcome:
		d.Event.Outcome = "success"
	}
	if e.Auth.EntityID != "" || e.Auth.DisplayName != "" {
		d.User = &user{e.Auth.EntityID, e.Auth.DisplayName}
	}
	if ip := net.ParseIP(e.Request.RemoteAddress); ip != nil {
		d.Source = &source{ip.String(), e.Request.RemotePort}
	}
	if e.Request.Path != "" {
		d.URL = &path{"/v1/" + e.Request.Path}
	}
	if h := e.Request.Headers; h != nil && len(h.UserAgent) > 0 {
		d.UserAgent = &agent{h.UserAgent[0]}
	}
	return d
}

func category(path string) []string {
	switch top, _, _ := strings.Cut(path, "/"); top {
	case "auth":
		return []string{"authentication"}
	case "sys":
		return []string{"configuration"}
	case "access", "identity":
		return []string{"iam"}
	}
	return []string{"database"}
}

func kinds(e audit.Entry) []string {
	var all []string
	switch e.Request.Operation {
	case "create":
		all = []string{"creation"}
	case "update", "patch", "renew", "rollback":
		all = []string{"change"}
	case "delete", "revoke":
		all = []string{"deletion"}
	default:
		all = []string{"access"}
	}
	if e.Auth.PolicyResults != nil && !e.Auth.PolicyResults.Allowed || e.Status == http.StatusForbidden {
		all = append(all, "denied")
	}
	return all
}

func elasticBody(lines []audit.Line) []byte {
	type id struct {
		ID string `json:"_id"`
	}
	type action struct {
		Create id `json:"create"`
	}
	var b bytes.Buffer
	for _, l := range lines {
		put(&b, action{id{leafID(l)}})
		put(&b, inECS(l))
	}
	return b.Bytes()
}

// elasticAnswer reads the answer of the bulk API, where each document fails by itself.
func elasticAnswer(b []byte) error {
	var a struct {
		Errors *bool
		Items  []struct{ Create struct{ Status int } }
	}
	if json.Unmarshal(b, &a) != nil || a.Errors == nil {
		return errors.New("its answer is not one of the bulk API")
	}
	if !*a.Errors {
		return nil
	}
	var bad error
	for _, item := range a.Items {
		switch code := item.Create.Status; {
		case code >= 200 && code <= 299, code == http.StatusConflict: // it is there already
		case code == http.StatusBadRequest && bad == nil:
			bad = fmt.Errorf("it refused a document with %d: %w", code, errPermanent)
		case code != http.StatusBadRequest:
			return fmt.Errorf("it refused a document with %d", code)
		}
	}
	return bad
}
