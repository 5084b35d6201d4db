package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"envrun/vault/audit"
	"envrun/vault/keyring"
	"envrun/vault/server"
	"envrun/vault/sqlite"
	"envrun/vault/sqlstore"

	"filippo.io/age"
)

// database is a real one, in memory. lose says of writes that they are lost; nil: none
// ever is.
type database struct {
	*sqlstore.DB
	lose *atomic.Pointer[lostWrites]
}

func (d database) Read(ctx context.Context, f func(server.Tx) error) error {
	return d.DB.Read(ctx, func(tx *sqlstore.Tx) error { return f(tx) })
}

func (d database) ReadKept(ctx context.Context, f func(server.Tx) error) error {
	return d.DB.ReadKept(ctx, func(tx *sqlstore.Tx) error { return f(tx) })
}

func (d database) Write(ctx context.Context, f func(server.Tx) error) error {
	if d.lose != nil {
		if l := d.lose.Load(); l != nil {
			return l.write(ctx, d, f)
		}
	}
	return d.write(ctx, f)
}

func (d database) write(ctx context.Context, f func(server.Tx) error) error {
	return d.DB.Write(ctx, func(tx *sqlstore.Tx) error { return f(tx) })
}

// record keeps the entries in memory and refuses them when it is told to.
type record struct {
	fail error

	mu      sync.Mutex // several requests may be under way
	entries []audit.Entry
}

// all are the entries so far.
func (r *record) all() []audit.Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.entries)
}

// forget drops the entries so far, of which a long test has no room for all.
func (r *record) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries = nil
}

// text is all entries as JSON.
func (r *record) text() string {
	b, err := json.Marshal(r.all())
	if err != nil {
		panic(err) // entries can be written
	}
	return string(b)
}

func (r *record) Write(_ context.Context, lines ...audit.Line) error {
	if r.fail != nil {
		return r.fail
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range lines {
		r.entries = append(r.entries, l.Entry())
	}
	return nil
}

func (r *record) problems() []string {
	if r.fail != nil {
		return []string{r.fail.Error()}
	}
	return nil
}

// world is a server with root's token "root", and what a test asks of it.
type world struct {
	testing.TB
	*server.Server
	db   database
	log  *record
	now  time.Time
	http *httptest.Server

	shares []string // of the root key, where it was made over HTTP
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := sealedWorld(t)
	_, _, err := w.Init(t.Context(), server.Setup{Sealers: sealers(t)[1:], Token: "root", Open: true})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func sealedWorld(t testing.TB) *world {
	t.Helper()
	db, err := sqlite.OpenMemory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return worldOn(t, db)
}

// worldOn is a sealed server on a database, which it closes.
func worldOn(t testing.TB, db *sqlstore.DB) *world {
	t.Helper()
	t.Cleanup(func() { db.Close() })
	w := &world{TB: t, db: database{db, new(atomic.Pointer[lostWrites])}, log: &record{}, now: time.Date(2026, 11, 23, 12, 0, 0, 123456789, time.UTC)}
	w.Server = server.New(server.Config{
		DB: w.db, Devices: w.log, AuditProblems: w.log.problems, Version: "1.18.0", StorageType: "inmem", Sealers: sealers(t)[:1],
		Now: func() time.Time { return w.now },
	})
	w.http = httptest.NewServer(w.Server)
	t.Cleanup(w.http.Close)
	return w
}

func sealers(t testing.TB) []keyring.AgeSealer {
	t.Helper()
	var all []keyring.AgeSealer
	for _, name := range []string{"one", "two"} {
		id, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, keyring.AgeSealer{Name: name, Recipient: id.Recipient().String()})
	}
	return all
}

// said is an answer.
type said struct {
	status int
	header http.Header
	raw    string
	body   map[string]any
}

func (s said) data() map[string]any {
	d, _ := s.body["data"].(map[string]any)
	return d
}

// ask sends a request to a path below /v1/. Headers are "Name: text".
func (w *world) ask(token, method, path, body string, headers ...string) said {
	w.Helper()
	path, query, _ := strings.Cut(path, "?")
	return w.send(token, method, (&url.URL{Path: path}).EscapedPath(), query, body, headers...)
}

// send is ask for a path as it goes over the wire.
func (w *world) send(token, method, path, query, body string, headers ...string) said {
	w.Helper()
	req, err := http.NewRequest(method, w.http.URL, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	req.URL.Opaque = "//" + req.URL.Host + "/v1/" + path
	if top, ok := strings.CutPrefix(path, "../"); ok {
		req.URL.Opaque = "//" + req.URL.Host + "/" + top
	}
	req.URL.RawQuery = query
	if token != "" {
		req.Header.Set("X-Vault-Token", token)
	}
	for _, h := range headers {
		name, text, _ := strings.Cut(h, ": ")
		req.Header.Set(name, text)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		w.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		w.Fatal(err)
	}
	s := said{status: res.StatusCode, header: res.Header, raw: string(raw)}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	_ = d.Decode(&s.body) // a redirect and some errors have none
	return s
}

// must is ask for a request that has to be answered with the status.
func (w *world) must(status int, token, method, path, body string, headers ...string) said {
	w.Helper()
	s := w.ask(token, method, path, body, headers...)
	if s.status != status {
		w.Fatalf("%s %s: %d %s, want %d", method, path, s.status, s.raw, status)
	}
	return s
}

// What a client of KV does first.
func TestFirst(t *testing.T) {
	w := newWorld(t)
	w.must(204, "root", "POST", "sys/mounts/prod", `{"type":"kv-v2"}`)
	w.must(200, "root", "PUT", "prod/data/app/db", `{"data":{"user":"alice","n":9007199254740993},"options":{}}`)
	if s := w.must(200, "root", "GET", "prod/data/app/db", ""); !strings.Contains(s.raw, `"data":{"user":"alice","n":9007199254740993}`) {
		t.Errorf("read %s", s.raw)
	}
	if m := w.must(200, "root", "GET", "sys/internal/ui/mounts/prod/app/db", "").data(); m["path"] != "prod/" || m["options"].(map[string]any)["version"] != "2" {
		t.Errorf("preflight %v", m)
	}
	wrap := w.must(200, "root", "GET", "prod/data/app/db", ``, "X-Vault-Wrap-TTL: 120")
	if strings.Contains(wrap.raw, "alice") {
		t.Error("a wrapped answer holds what is wrapped")
	}
	text := wrap.body["wrap_info"].(map[string]any)["token"].(string)
	// There is no other way to what it stands for, and none of it is used up by looking.
	for _, path := range []string{"cubbyhole/response", "cubbyhole/", "prod/data/app/db", "auth/token/lookup-self"} {
		if s := w.ask(text, "GET", path, ""); s.status == 200 || strings.Contains(s.raw, "alice") {
			t.Errorf("a wrapping token reads %s: %s", path, s.raw)
		}
	}
	w.must(403, text, "POST", "cubbyhole/response", `{"a":"b"}`)
	w.must(200, "", "POST", "sys/wrapping/lookup", `{"token":"`+text+`"}`)
	if s := w.must(200, text, "POST", "sys/wrapping/unwrap", ``); !strings.Contains(s.raw, "alice") {
		t.Errorf("unwrapped %s", s.raw)
	}
	w.must(400, text, "POST", "sys/wrapping/unwrap", ``)
	for _, e := range w.log.all() {
		if line := e.Line().String(); strings.Contains(line, "alice") || strings.Contains(line, text) || strings.Contains(line, "9007199254740993") {
			t.Errorf("the log holds a value: %s", line)
		}
	}
}
