package server

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"envrun/auth/strictjson"
	"envrun/vault/guard"
	"envrun/vault/policy"
	"envrun/vault/wire"
)

// Bounds of one request. Whoever can send one may not stop the server with it.
const (
	MaxBody   = 32 << 20 // bytes, as Vault has it
	SmallBody = 64 << 10 // bytes; of larger ones only a few are held at a time
	MaxPath   = 4 << 10  // bytes, decoded
	MaxHeader = 64 << 10 // bytes of all headers
	maxDepth  = 64       // of nested JSON
	maxNodes  = 64 << 10 // names and values of a JSON body
	maxQuery  = 64       // parameters
)

// parse reads an HTTP request as the API has it (server-api §1.1): which path,
// which operation, as who, with which parameters. What it refuses has reached
// nothing: it is answered with the status of the problem.
// big is asked before a body of more than SmallBody bytes is read.
func parse(w http.ResponseWriter, r *http.Request, big func() bool) (*guard.Request, error) {
	req := &guard.Request{ID: newUUID(), Agent: cut(r.UserAgent(), 256), Match: r.Header.Get("If-None-Match"), Last: r.Header.Get("Last-Event-ID")}
	req.Addr, _ = netip.ParseAddrPort(r.RemoteAddr)

	var err error
	if req.Path, err = parsePath(r); err != nil {
		return nil, err
	}
	if ns := strings.Trim(r.Header.Get("X-Vault-Namespace"), "/"); ns != "" && ns != "root" {
		return nil, problem(http.StatusNotFound, wire.NoNamespace)
	}
	query, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	list, err := isList(r, query)
	if err != nil {
		return nil, err
	}
	switch {
	case list:
		req.Op = policy.OpList
		req.Path = strings.TrimRight(req.Path, "/") + "/"
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		req.Op = policy.OpRead
	case r.Method == http.MethodPost, r.Method == http.MethodPut:
		req.Op = policy.OpUpdate
	case r.Method == http.MethodPatch:
		req.Op = policy.OpPatch
	case r.Method == http.MethodDelete:
		req.Op = policy.OpDelete
	case r.Method == http.MethodOptions:
		return nil, errUnsupported
	default:
		return nil, problem(http.StatusMethodNotAllowed)
	}
	if req.Token = r.Header.Get("X-Vault-Token"); req.Token == "" {
		if kind, text, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(kind, "bearer") {
			req.Token = strings.TrimSpace(text)
		}
	}
	if req.Wrap, err = parseWrap(r.Header.Get("X-Vault-Wrap-TTL")); err != nil {
		return nil, err
	}
	switch req.Op {
	case policy.OpUpdate, policy.OpPatch:
		if strings.HasSuffix(req.Path, "/") {
			return nil, problem(http.StatusBadRequest, "cannot write to a path ending in '/'")
		}
		return req, parseBody(w, r, req, big)
	default:
		delete(query, "list")
		return req, takeQuery(req, query)
	}
}

// parsePath gives the path below /v1/, decoded: an encoded slash is a slash.
func parsePath(r *http.Request) (string, error) {
	p := r.URL.Path
	if err := checkRequestPath(p); err != nil {
		return "", err
	}
	if strings.Contains(p, "//") {
		clean := path.Clean(p)
		if strings.HasSuffix(p, "/") && clean != "/" {
			clean += "/"
		}
		return "", &refusal{status: http.StatusTemporaryRedirect, to: (&url.URL{Path: clean, RawQuery: r.URL.RawQuery}).String()}
	}
	below, ok := strings.CutPrefix(p, "/v1/")
	if !ok {
		return "", problem(http.StatusNotFound)
	}
	return below, nil
}

// checkRequestPath refuses what is asked for nowhere.
func checkRequestPath(p string) error {
	if len(p) > MaxPath {
		return problem(http.StatusRequestURITooLong)
	}
	if !utf8.ValidString(p) || strings.ContainsFunc(p, func(c rune) bool { return !unicode.IsPrint(c) && c != ' ' }) {
		return &refusal{status: http.StatusBadRequest, bare: true}
	}
	for seg := range strings.SplitSeq(p, "/") {
		if seg == "." || seg == ".." {
			return problem(http.StatusBadRequest, "relative paths not supported")
		}
	}
	return nil
}

func parseQuery(raw string) (url.Values, error) {
	query, err := url.ParseQuery(raw)
	if err != nil || len(query) > maxQuery || !utf8.ValidString(raw) {
		return nil, problem(http.StatusBadRequest)
	}
	return query, nil
}

func isList(r *http.Request, query url.Values) (bool, error) {
	if r.Method == "LIST" {
		return true, nil
	}
	text := query.Get("list")
	if r.Method != http.MethodGet || text == "" {
		return false, nil
	}
	is, err := strconv.ParseBool(text)
	if err != nil {
		return false, problem(http.StatusBadRequest)
	}
	return is, nil
}

func parseWrap(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	ttl, err := wire.ParseDuration(text)
	switch {
	case err != nil:
		return 0, problem(http.StatusBadRequest, "error parsing X-Vault-Wrap-TTL header: "+err.Error())
	case ttl < 0:
		return 0, problem(http.StatusBadRequest, "error parsing X-Vault-Wrap-TTL header: requested wrap ttl cannot be negative")
	}
	return ttl.Truncate(time.Second), nil
}

// takeQuery makes the parameters of a request without a body.
func takeQuery(req *guard.Request, query url.Values) error {
	if len(query) == 0 {
		return nil
	}
	req.Params = make(map[string]any, len(query))
	for name, texts := range query {
		if len(texts) == 1 {
			req.Params[name] = texts[0]
			continue
		}
		list := make([]any, len(texts))
		for i, t := range texts {
			list[i] = t
		}
		req.Params[name] = list
	}
	var err error
	req.Body, err = json.Marshal(req.Params)
	return err
}

// parseBody reads a body as JSON, whatever its type says; only what is declared a
// form and does not look like JSON is one (curl -d declares everything a form).
func parseBody(w http.ResponseWriter, r *http.Request, req *guard.Request, big func() bool) error {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if req.Op == policy.OpPatch && kind != "application/merge-patch+json" {
		return problem(http.StatusUnsupportedMediaType, "PATCH requires Content-Type of application/merge-patch+json, provided "+printable(kind))
	}
	in := http.MaxBytesReader(w, r.Body, MaxBody)
	body, err := io.ReadAll(io.LimitReader(in, SmallBody+1))
	if err == nil && len(body) > SmallBody {
		if !big() {
			return problem(http.StatusTooManyRequests, "too many large requests at a time")
		}
		var rest []byte
		rest, err = io.ReadAll(in)
		body = append(body, rest...)
	}
	if big := (*http.MaxBytesError)(nil); errors.As(err, &big) {
		return problem(http.StatusRequestEntityTooLarge, "http: request body too large")
	} else if err != nil {
		return problem(http.StatusBadRequest, "the request's body ended early")
	}
	body = bytes.TrimSpace(body)
	switch {
	case len(body) == 0:
		return nil
	case kind == "application/x-www-form-urlencoded" && body[0] != '{' && body[0] != '[':
		form, err := parseQuery(string(body))
		if err != nil {
			return problem(http.StatusBadRequest, "the form cannot be read")
		}
		return takeQuery(req, form)
	}
	if req.Params, err = decode(body); err != nil {
		return err
	}
	req.Body = body
	return nil
}

const badJSON = "failed to decode JSON input: "

// decode reads the JSON object of a body; null is as no body.
func decode(body []byte) (map[string]any, error) {
	v, err := strictjson.Decode(body, strictjson.Limits{Depth: maxDepth, Values: maxNodes})
	if err != nil {
		return nil, problem(http.StatusBadRequest, badJSON+err.Error())
	}
	m, ok := v.(map[string]any)
	if !ok && v != nil {
		return nil, problem(http.StatusBadRequest, badJSON+"json: cannot unmarshal "+kindOf(v)+" into Go value of type map[string]interface {}")
	}
	return m, nil
}

// newUUID is a random UUID, version 4.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// cut is at most n bytes of a text, printable.
func cut(s string, n int) string {
	s = printable(s)
	if len(s) > n {
		s = s[:n]
		for !utf8.ValidString(s) {
			s = s[:len(s)-1]
		}
	}
	return s
}

func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return -1
	}, strings.ToValidUTF8(s, ""))
}
