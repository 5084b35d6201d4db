package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"envrun/auth/approle"
	"envrun/auth/oidc"
	"envrun/auth/token"
	"envrun/vault"
	"envrun/vault/guard"
	"envrun/vault/wire"
)

// A refusal is an error that knows its status and its words.
type refusal struct {
	status int
	texts  []string // of "errors"; none makes the empty list, which clients read as "nothing there"
	bare   bool     // no body at all
	to     string   // of a redirect
	why    string   // for the audit log alone
}

func (r *refusal) Error() string {
	if len(r.texts) == 0 {
		return http.StatusText(r.status)
	}
	return strings.Join(r.texts, ", ")
}

func problem(status int, texts ...string) error { return &refusal{status: status, texts: texts} }

// bad is a request that will not get better by itself.
func bad(format string, args ...any) error {
	return problem(http.StatusBadRequest, fmt.Sprintf(format, args...))
}

// listed is the layout in which both servers send some of their errors.
func listed(text string) string { return "1 error occurred:\n\t* " + text + "\n\n" }

var (
	errNothing     = problem(http.StatusNotFound) // clients read exactly this as "there is nothing"
	errUnsupported = problem(http.StatusMethodNotAllowed, listed("unsupported operation"))
	errNoSuchPath  = problem(http.StatusNotFound, listed("unsupported path"))
	errSealed      = problem(http.StatusServiceUnavailable, wire.Sealed)
)

func noHandler(path string) error {
	return problem(http.StatusNotFound, wire.NoHandler+strconv.Quote(path)+". route entry not found.")
}

// explain is the status of an error and the words that go with it. What is not
// listed here is internal, and its words stay in the server's own log.
func explain(err error) (status int, texts []string) {
	var r *refusal
	var ve *vault.Error
	var device *guard.DeviceError
	if status, text, ok := signInRefused(err); ok {
		return status, []string{text}
	}
	switch {
	case refused(err):
		return http.StatusBadRequest, []string{"invalid role or secret ID"}
	case errors.As(err, &r):
		return r.status, r.texts
	case errors.As(err, &device):
		return http.StatusInternalServerError, []string{device.Error()} // it names the device, and holds nothing of the request
	case unwritable(err) != "":
		return http.StatusInternalServerError, []string{unwritable(err)}
	case errors.Is(err, guard.ErrUnrecorded):
		return http.StatusInternalServerError, []string{"internal error"}
	case errors.Is(err, guard.ErrDenied):
		return http.StatusForbidden, []string{listed(wire.Denied)}
	case errors.Is(err, guard.ErrNoToken), errors.Is(err, guard.ErrBadToken):
		return http.StatusForbidden, []string{wire.Denied}
	case errors.Is(err, token.ErrNotRenewable), errors.Is(err, token.ErrPastMax):
		return http.StatusBadRequest, []string{err.Error()}
	case errors.Is(err, token.ErrAccessor):
		return http.StatusBadRequest, []string{listed(err.Error())}
	case errors.As(err, &ve):
		status := wire.StatusOf(err)
		switch {
		case status == http.StatusNotFound:
			return status, nil
		case kvText(err) != "":
			return status, []string{kvText(err)}
		case strings.HasPrefix(ve.Detail, "custom_metadata "):
			return status, []string{listed(ve.Detail)}
		case status < 500 && ve.Detail != "":
			return status, []string{ve.Detail}
		case status == http.StatusServiceUnavailable:
			return status, []string{"the database does not answer"}
		}
		return status, []string{"internal error"}
	}
	return http.StatusInternalServerError, []string{"internal error"}
}

// unwritable is why the database took nothing, "" if that is not what happened.
func unwritable(err error) string {
	if device := (*guard.DeviceError)(nil); errors.As(err, &device) {
		return "" // it says itself
	}
	switch vault.KindOf(err) {
	case vault.KindFull:
		return "database: no space is left on its disk"
	case vault.KindReadOnly:
		return "database: it cannot be written"
	}
	return ""
}

// words is what the audit log says of an error.
func words(err error) string {
	if errors.Is(err, guard.ErrDenied) {
		return wire.Denied
	}
	if errors.Is(err, guard.ErrNoToken) || errors.Is(err, guard.ErrBadToken) {
		return wire.Denied + ": " + err.Error()
	}
	if refused := (*oidc.Refusal)(nil); errors.As(err, &refused) {
		return wire.Denied + ": " + refused.Error()
	}
	if refused := (*approle.Refusal)(nil); errors.As(err, &refused) {
		return wire.Denied + ": " + refused.Error()
	}
	if r := (*refusal)(nil); errors.As(err, &r) && r.why != "" {
		return wire.Denied + ": " + r.why
	}
	if ve := (*vault.Error)(nil); errors.As(err, &ve) {
		return ve.Kind.String()
	}
	status, texts := explain(err)
	if len(texts) == 0 {
		return http.StatusText(status)
	}
	return strings.TrimSpace(strings.TrimPrefix(strings.Join(texts, ", "), "1 error occurred:\n\t* "))
}

func statusOf(err error) int {
	status, _ := explain(err)
	return status
}

// A reply is what a handler answers with, before it is made JSON.
type reply struct {
	data      any // nil: null
	flat      bool
	warnings  []string
	auth      *wire.Auth
	wrap      *wire.WrapInfo
	lease     int64 // seconds; of KV version 1 a hint
	leaseID   string
	accessor  string // of what is in the data, for an answer that is wrapped
	renewable bool
	raw       any    // instead of all of it
	text      []byte // instead of JSON, of the type
	kind      string
	etag      string
	none      bool     // no body at all
	stream    *stream  // instead of an answer that ends
	cache     []string // of wire.CacheHeader
	fresh     int      // seconds for which anybody may keep the answer; 0: nobody may
}

// answered makes an answer of data.
func answered(data any) *guard.Answer {
	return &guard.Answer{Status: http.StatusOK, Body: &reply{data: data}}
}

// flat is answered for the old paths of sys, whose data stand at the top level too.
func flat(data any) *guard.Answer {
	return &guard.Answer{Status: http.StatusOK, Body: &reply{data: data, flat: true}}
}

// done is an answer without anything in it, except for warnings if there are some.
func done(warnings ...string) *guard.Answer {
	if len(warnings) == 0 {
		return &guard.Answer{Status: http.StatusNoContent}
	}
	return &guard.Answer{Status: http.StatusOK, Body: &reply{warnings: warnings}}
}

// warn adds warnings to an answer, which then has a body.
func warn(a *guard.Answer, warnings ...string) *guard.Answer {
	if len(warnings) == 0 {
		return a
	}
	body, ok := a.Body.(*reply)
	if !ok {
		body = &reply{}
		a.Body, a.Status = body, http.StatusOK
	}
	body.warnings = append(body.warnings, warnings...)
	return a
}

func (b *reply) marshal(id string) ([]byte, error) {
	if b.text != nil {
		return b.text, nil
	}
	if b.raw != nil {
		return encode(b.raw)
	}
	a := wire.Answer[any]{RequestID: id, Warnings: b.warnings, Auth: b.auth, WrapInfo: b.wrap, LeaseID: b.leaseID, LeaseDuration: b.lease, Renewable: b.renewable}
	if b.wrap != nil {
		a = wire.Answer[any]{WrapInfo: b.wrap}
	}
	if d, ok := b.data.(appender); ok {
		return spliced(a, d)
	}
	if b.data != nil {
		a.Data = &b.data
	}
	if b.flat {
		return wire.Flat(a)
	}
	return encode(a)
}

// An appender is data that holds values whose JSON was checked when they were
// written: they go into an answer as they are, and are not looked through again.
type appender interface {
	appendJSON([]byte) ([]byte, error)
}

func spliced(a wire.Answer[any], d appender) ([]byte, error) {
	envelope, err := encode(a)
	if err != nil {
		return nil, err
	}
	// What stands before the data are ids and numbers.
	before, after, _ := bytes.Cut(envelope, []byte("null"))
	text, err := d.appendJSON(append(make([]byte, 0, 2048), before...))
	return append(text, after...), err
}

// encode is JSON as clients compare it: & and < are themselves.
func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return buf.Bytes(), err
}

// common sets the headers that every answer has.
func common(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "application/json")
	h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set(wire.OwnHeader, "1")
}

func writeError(w http.ResponseWriter, r *http.Request, err error) {
	var ref *refusal
	if errors.As(err, &ref) {
		switch {
		case ref.to != "":
			w.Header().Del("Content-Type")
			http.Redirect(w, r, ref.to, ref.status)
			return
		case ref.bare:
			w.WriteHeader(ref.status)
			return
		}
	}
	status, texts := explain(err)
	if texts == nil {
		texts = []string{}
	}
	if text := challenge(err); text != "" {
		w.Header().Set("WWW-Authenticate", text)
	}
	writeJSON(w, status, wire.Errors{Errors: texts})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := encode(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"errors":["internal error"]}`)
	}
	write(w, status, body)
}

func write(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // nobody is there to be told
}

func writeAnswer(w http.ResponseWriter, id string, a *guard.Answer) {
	body, ok := a.Body.(*reply)
	if !ok {
		w.WriteHeader(a.Status)
		return
	}
	if body.etag != "" {
		w.Header().Set("ETag", body.etag)
	}
	if body.fresh > 0 {
		w.Header().Set("Cache-Control", "max-age="+strconv.Itoa(body.fresh))
	}
	for _, text := range body.cache {
		w.Header().Add(wire.CacheHeader, text)
	}
	if body.none {
		w.Header().Del("Content-Type")
		w.WriteHeader(a.Status)
		return
	}
	text, err := body.marshal(id)
	if err != nil {
		writeJSON(w, http.StatusInternalServerError, wire.Errors{Errors: []string{"internal error"}})
		return
	}
	if body.kind != "" {
		w.Header().Set("Content-Type", body.kind)
	}
	write(w, a.Status, text)
}
