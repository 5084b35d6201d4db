package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"envrun/vault/keyring"
	"envrun/vault/server"
	"envrun/vault/vaulttest/pgtest"
	"envrun/vault/wire"
)

// eventful is a server whose streams look often whether their token is still good.
func eventful(t *testing.T) *world {
	t.Helper()
	w := sealedWorld(t)
	w.Heartbeat = 20 * time.Millisecond
	if _, _, err := w.Init(t.Context(), server.Setup{Sealers: sealers(t)[1:], Token: "root", Open: true}); err != nil {
		t.Fatal(err)
	}
	w.must(204, "root", "POST", "sys/mounts/prod", `{"type":"kv-v2"}`)
	w.must(204, "root", "POST", "sys/mounts/team/dev", `{"type":"kv-v2"}`)
	return w
}

// An sse is a stream of events. After the last one events is closed.
type sse struct {
	w      *world
	events chan sseEvent
	stop   context.CancelFunc
}

type sseEvent struct{ id, name, data string }

// listen opens sys/events and waits until it is ready.
func (w *world) listen(token, query string, headers ...string) *sse {
	w.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, "GET", w.http.URL+"/v1/sys/events"+query, nil)
	if err != nil {
		w.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", token)
	for _, h := range headers {
		name, text, _ := strings.Cut(h, ": ")
		req.Header.Set(name, text)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		w.Fatal(err)
	}
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		w.Fatalf("sys/events: %d %s", res.StatusCode, res.Header)
	}
	s := &sse{w, make(chan sseEvent, 1000), cancel}
	w.Cleanup(cancel)
	go func() {
		defer res.Body.Close()
		defer close(s.events)
		var e sseEvent
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			name, text, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				e.id = text
			case "event":
				e.name = text
			case "data":
				e.data = text
			case "":
				if e.name != "" {
					s.events <- e
				}
				e = sseEvent{}
			}
		}
	}()
	if e := s.next(); e.name != wire.EventReady {
		w.Fatalf("first comes %v", e)
	}
	return s
}

// next waits for the next event; without a name it is the end of the stream.
func (s *sse) next() sseEvent {
	s.w.Helper()
	select {
	case e := <-s.events:
		return e
	case <-time.After(time.Minute):
		s.w.Fatal("no event comes")
		panic("unreachable")
	}
}

// changes are the changes until one to a path, each in short; "again" among them.
func (s *sse) changes(until string) (all []string) {
	s.w.Helper()
	for {
		e := s.next()
		if e.name == "" {
			s.w.Fatalf("the stream has ended after %q", all)
		}
		if e.name == wire.EventAgain {
			all = append(all, e.name)
			continue
		}
		var c wire.Change
		if err := json.Unmarshal([]byte(e.data), &c); err != nil || e.name != wire.EventChange || e.id == "" || c.Time.IsZero() {
			s.w.Fatalf("%v: %v", e, err)
		}
		if c.Path == until {
			return all
		}
		all = append(all, fmt.Sprint(c.What, " ", c.Mount, " ", c.Path, " ", c.Version))
	}
}

func TestEvents(t *testing.T) {
	w := eventful(t)
	s, other := w.listen("root", ""), w.listen("root", "?mount=team/dev/")
	w.must(200, "root", "POST", "prod/data/app/db", `{"data":{"A":"canary-value"}}`)
	w.must(200, "root", "POST", "prod/data/app/db", `{"data":{"A":"canary-value"}}`)
	w.must(200, "root", "PATCH", "prod/data/app/db", `{"data":{"B":"2"}}`, "Content-Type: application/merge-patch+json")
	w.must(400, "root", "POST", "prod/data/app/db", `{"data":{},"options":{"cas":1}}`)
	w.must(200, "root", "GET", "prod/data/app/db", ``)
	w.must(204, "root", "DELETE", "prod/data/app/db", ``)
	w.must(204, "root", "POST", "prod/undelete/app/db", `{"versions":[3]}`)
	w.must(204, "root", "POST", "prod/delete/app/db", `{"versions":[1]}`)
	w.must(204, "root", "POST", "prod/destroy/app/db", `{"versions":[1]}`)
	w.must(204, "root", "POST", "prod/metadata/app/db", `{"custom_metadata":{"a":"b"}}`)
	w.must(204, "root", "POST", "prod/config", `{"max_versions":3}`)
	w.must(204, "root", "DELETE", "prod/metadata/app/db", ``)
	w.must(204, "root", "PUT", "sys/policies/acl/one", `{"policy":"path \"a\" { capabilities = [\"read\"] }"}`)
	w.must(200, "root", "POST", "team/dev/data/ü \\\"<x>", `{"data":{}}`)
	w.must(200, "root", "POST", "team/dev/data/end", `{"data":{}}`)
	want := []string{
		"write prod app/db 1", "write prod app/db 2", "write prod app/db 3", "delete prod app/db 0", "undelete prod app/db 0", "delete prod app/db 0",
		"destroy prod app/db 0", "metadata prod app/db 0", "remove prod app/db 0", "again", `write team/dev ü \"<x> 1`,
	}
	if got := s.changes("end"); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := other.changes("end"); !slices.Equal(got, want[len(want)-2:]) {
		t.Errorf("of one mount %q", got)
	}
	for _, e := range w.log.all() {
		if e.Request.Path == "sys/events" && (e.Request.Operation != "read" || e.Type == "response" && e.Status != 200) {
			t.Errorf("the log says %s", e.Line())
		}
	}
}

// A stream tells what its token may read or list, and as little as that.
func TestEventsPolicies(t *testing.T) {
	w := eventful(t)
	for _, c := range []struct {
		rules string
		want  []string
	}{
		{`path "prod/data/app/*" { capabilities = ["read"] }`, []string{"write prod app/db 7", "write prod app/web/x 7"}},
		{`path "prod/subkeys/*" { capabilities = ["read"] }`, []string{"write prod app/db 7", "write prod other 7", "write prod app/web/x 7"}},
		{`path "prod/metadata/*" { capabilities = ["read"] }`, []string{"write prod app/db 7", "write prod other 7", "write prod app/web/x 7"}},
		{`path "prod/metadata/app/" { capabilities = ["list"] }`, []string{"write prod app/db 0"}},
		{`path "prod/metadata/" { capabilities = ["list"] }`, []string{"write prod other 0"}},
		{`path "*" { capabilities = ["read"] } path "prod/*" { capabilities = ["deny"] }`, []string{"write team/dev app 7"}},
		{`path "prod/data/*" { capabilities = ["create", "update", "delete", "patch", "sudo"] } path "sys/events" { capabilities = ["read"] }`, nil},
		{`path "prod/data/*" { capabilities = ["read"] min_wrapping_ttl = "1m" }`, nil},
	} {
		// Each of them has seven versions at last.
		tok := w.token(c.rules + ` path "prod/data/end" { capabilities = ["read"] }`)
		s := w.listen(tok, "")
		for _, path := range []string{"prod/data/app/db", "prod/data/other", "prod/data/app/web/x", "team/dev/data/app"} {
			w.must(204, "root", "DELETE", strings.Replace(path, "/data/", "/metadata/", 1), ``)
		}
		w.must(200, "root", "POST", "prod/data/end", `{"data":{}}`)
		s.changes("end")
		for _, path := range []string{"prod/data/app/db", "prod/data/other", "prod/data/app/web/x", "team/dev/data/app"} {
			for range 7 {
				w.must(200, "root", "POST", path, `{"data":{}}`)
			}
		}
		w.must(200, "root", "POST", "prod/data/end", `{"data":{}}`)
		var got []string
		for _, e := range s.changes("end") {
			if strings.HasSuffix(e, " 7") || strings.HasSuffix(e, " 0") && !slices.Contains(got, e) {
				got = append(got, e)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.rules, got, c.want)
		}
		s.stop()
	}
}

// What a policy takes away is not told from then on, and what it gives is.
func TestEventsDecidedAnew(t *testing.T) {
	w := eventful(t)
	const end = ` path \"prod/data/end\" { capabilities = [\"read\"] }`
	tok := w.token(`path "prod/data/a" { capabilities = ["read"] } path "prod/data/end" { capabilities = ["read"] }`)
	s := w.listen(tok, "")
	write := func() []string {
		for _, p := range []string{"a", "b", "end"} {
			w.must(200, "root", "POST", "prod/data/"+p, `{"data":{}}`)
		}
		return s.changes("end")
	}
	if got := write(); !slices.Equal(got, []string{"write prod a 1"}) {
		t.Errorf("%q", got)
	}
	w.must(204, "root", "PUT", "sys/policies/acl/one", `{"policy":"path \"prod/data/b\" { capabilities = [\"read\"] }`+end+`"}`)
	if got := write(); !slices.Equal(got, []string{"again", "write prod b 2"}) {
		t.Errorf("%q", got)
	}
}

// A stream ends with its token, with the server's keys, and with the server.
func TestEventsEnd(t *testing.T) {
	w := eventful(t)
	ended := func(say string, s *sse) {
		t.Helper()
		for e := s.next(); e.name != ""; e = s.next() {
			if strings.Contains(e.data, "after") {
				t.Errorf("%s: %v", say, e)
			}
		}
	}
	make := func(body string) string {
		return w.must(200, "root", "POST", "auth/token/create", body).body["auth"].(map[string]any)["client_token"].(string)
	}
	tok := make(`{}`)
	s := w.listen(tok, "")
	w.must(204, "root", "POST", "auth/token/revoke", `{"token":"`+tok+`"}`)
	w.must(200, "root", "POST", "prod/data/after", `{"data":{}}`)
	ended("revoked", s)

	once := w.listen(make(`{"num_uses":1}`), "")
	ended("used up", once)

	s = w.listen("root", "")
	w.EndStreams()
	ended("stopping", s)
	w.must(429, "root", "GET", "sys/events", "")

	w = eventful(t)
	s = w.listen("root", "")
	w.must(204, "root", "PUT", "sys/seal", "")
	ended("sealed", s)
}

// Somebody who comes back is told of what happened meanwhile, or to read again.
func TestEventsResume(t *testing.T) {
	w := eventful(t)
	s := w.listen("root", "")
	w.must(200, "root", "POST", "prod/data/a", `{"data":{}}`)
	last := s.next().id
	s.stop()
	for _, p := range []string{"b", "c", "end"} {
		w.must(200, "root", "POST", "prod/data/"+p, `{"data":{}}`)
	}
	if got := w.listen("root", "", "Last-Event-ID: "+last).changes("end"); !slices.Equal(got, []string{"write prod b 1", "write prod c 1"}) {
		t.Errorf("%q", got)
	}
	for _, unknown := range []string{"x", "00000000-1", last + "0", strings.Replace(last, "-", "-9", 1), "-1"} {
		s := w.listen("root", "", "Last-Event-ID: "+unknown)
		w.must(200, "root", "POST", "prod/data/end", `{"data":{}}`)
		if got := s.changes("end"); !slices.Equal(got, []string{"again"}) {
			t.Errorf("after %s: %q", unknown, got)
		}
		s.stop()
	}
	// Who has not been there for long is told to read again, not everything.
	for i := range 1100 {
		w.must(200, "root", "POST", "prod/data/many", fmt.Sprintf(`{"data":{"A":"%d"}}`, i))
	}
	s = w.listen("root", "", "Last-Event-ID: "+last)
	if e := s.next(); e.name != wire.EventAgain {
		t.Errorf("%v", e)
	}
}

// Any good token has streams, some; each is recorded before anything goes out.
func TestEventsMatrix(t *testing.T) {
	w := eventful(t)
	w.must(403, "", "GET", "sys/events", "")
	w.must(403, "nope", "GET", "sys/events", "")
	w.must(405, "root", "POST", "sys/events", "{}")
	w.must(400, "root", "GET", "sys/events", "", "X-Vault-Wrap-TTL: 60")
	tok := w.token(`path "nothing" { capabilities = ["read"] }`)
	before := len(w.log.all())
	for range 8 {
		w.listen(tok, "")
	}
	if n := len(w.log.all()) - before; n != 16 {
		t.Errorf("%d entries", n)
	}
	w.must(429, tok, "GET", "sys/events", "")
	w.listen("root", "").stop()
	w.log.fail = fmt.Errorf("full")
	w.must(500, "root", "GET", "sys/events", "")
	w.log.fail = nil
}

// What is written at one server is told at another one on the same database.
func TestEventsBetweenServers(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL: not in short mode")
	}
	address := pgtest.Database(t)
	a, b := onPostgres(t, address), onPostgres(t, address)
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	set := server.Setup{Sealers: []keyring.AgeSealer{{Name: "ops", Recipient: id.Recipient().String()}}, Token: "root", Open: true}
	if _, _, err := a.Init(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Unseal(t.Context(), []age.Identity{id}); err != nil {
		t.Fatal(err)
	}
	a.must(204, "root", "POST", "sys/mounts/prod", `{"type":"kv-v2"}`)
	s := a.listen("root", "")
	for i := 0; ; i++ { // until a hears of b at all
		b.must(200, "root", "POST", "prod/data/first", `{"data":{}}`)
		if e := s.next(); e.name == wire.EventChange {
			break
		} else if i > 1000 {
			t.Fatal(e)
		}
	}
	b.must(200, "root", "POST", "prod/data/second", `{"data":{}}`)
	a.must(200, "root", "POST", "prod/data/third", `{"data":{}}`)
	b.must(200, "root", "POST", "prod/data/end", `{"data":{}}`)
	if got := s.changes("end"); !slices.Contains(got, "write prod second 1") || !slices.Contains(got, "write prod third 1") {
		t.Errorf("%q", got)
	}
}
