package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"envrun/vault/server"
)

// Requests that no client sends: refused with a status that says so, never with a
// 500, never answered with what was asked for.
func TestHostileRequests(t *testing.T) {
	w := newWorld(t)
	w.must(204, "root", "POST", "sys/mounts/prod", `{"type":"kv-v2"}`)
	w.must(200, "root", "POST", "prod/data/a/b", `{"data":{"k":"canary"}}`)
	deep := strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200)
	many := `{"data":{"a":[` + strings.Repeat(`1,`, 100_000) + `1]}}`
	for _, c := range []struct {
		name, method, path, query, body string
		headers                         []string
		status                          int
	}{
		{"dots", "GET", "prod/data/a/../a/b", "", "", nil, 400},
		{"encoded dots", "GET", "prod/data/a/%2e%2e/a/b", "", "", nil, 400},
		{"dots behind an encoded slash", "GET", "prod/data/a%2f..%2fa/b", "", "", nil, 400},
		{"one dot", "GET", "prod/data/./a/b", "", "", nil, 400},
		{"dots to another mount", "GET", "cubbyhole/../prod/data/a/b", "", "", nil, 400},
		{"NUL", "GET", "prod/data/a%00b", "", "", nil, 400},
		{"line end", "GET", "prod/data/a%0ab", "", "", nil, 400},
		{"escape", "GET", "prod/data/a%1bb", "", "", nil, 400},
		{"no UTF-8", "GET", "prod/data/a%ff", "", "", nil, 400},
		{"direction override", "GET", "prod/data/a%e2%80%aeb", "", "", nil, 400},
		{"long path", "GET", "prod/data/" + strings.Repeat("a", 8<<10), "", "", nil, 414},
		{"two slashes", "GET", "prod//data/a/b", "", "", nil, 307},
		{"slashes first", "GET", "/prod/data/a/b", "", "", nil, 307},
		{"encoded slash is a slash", "GET", "prod/data/a%2fb", "", "", nil, 200},
		{"nothing", "GET", "", "", "", nil, 404},
		{"write to a folder", "POST", "prod/data/a/", "", `{"data":{}}`, nil, 400},
		{"list of a leaf", "LIST", "prod/metadata/a/b", "", "", nil, 404},
		{"list that is neither", "GET", "prod/metadata/", "list=perhaps", "", nil, 400},
		{"method", "TRACE", "prod/data/a/b", "", "", nil, 405},
		{"method of our own", "FROB", "prod/data/a/b", "", "", nil, 405},
		{"HEAD", "HEAD", "prod/data/a/b", "", "", nil, 405},
		{"CONNECT as a path", "PROPFIND", "prod/data/a/b", "", "", nil, 405},
		{"many parameters", "GET", "prod/data/a/b", strings.Repeat("a=1&", 10) + manyParams(100), "", nil, 400},
		{"query that is none", "GET", "prod/data/a/b", "version=%zz", "", nil, 400},
		{"version", "GET", "prod/data/a/b", "version=abc", "", nil, 400},
		{"version below", "GET", "prod/data/a/b", "version=-1", "", nil, 200},
		{"huge version", "GET", "prod/data/a/b", "version=99999999999999999999", "", nil, 400},
		{"not JSON", "POST", "prod/data/a/b", "", `{bad`, nil, 400},
		{"half", "POST", "prod/data/a/b", "", `{"data":{"a":`, nil, 400},
		{"two", "POST", "prod/data/a/b", "", `{"data":{}}{"data":{}}`, nil, 400},
		{"an array", "POST", "prod/data/a/b", "", `[1]`, nil, 400},
		{"a name twice", "POST", "prod/data/a/b", "", `{"data":{},"data":{"k":"v"}}`, nil, 400},
		{"a name twice, below", "POST", "prod/data/a/b", "", `{"data":{"k":1,"k":2}}`, nil, 400},
		{"deep", "POST", "prod/data/a/b", "", deep, nil, 400},
		{"many values", "POST", "prod/data/a/b", "", many, nil, 400},
		{"data of another kind", "POST", "prod/data/a/b", "", `{"data":"canary2"}`, nil, 400},
		{"options of another kind", "POST", "prod/data/a/b", "", `{"data":{},"options":"x"}`, nil, 400},
		{"cas of another kind", "POST", "prod/data/a/b", "", `{"data":{},"options":{"cas":"canary2"}}`, nil, 400},
		{"cas that is a fraction", "POST", "prod/data/a/b", "", `{"data":{},"options":{"cas":1.5}}`, nil, 400},
		{"versions of another kind", "POST", "prod/delete/a/b", "", `{"versions":{"a":1}}`, nil, 400},
		{"patch without its type", "PATCH", "prod/data/a/b", "", `{"data":{}}`, nil, 415},
		{"patch of another type", "PATCH", "prod/data/a/b", "", `{"data":{}}`, []string{"Content-Type: application/json-patch+json"}, 415},
		{"namespace", "GET", "prod/data/a/b", "", "", []string{"X-Vault-Namespace: other"}, 404},
		{"namespace of the root", "GET", "prod/data/a/b", "", "", []string{"X-Vault-Namespace: root/"}, 200},
		{"wrap", "GET", "prod/data/a/b", "", "", []string{"X-Vault-Wrap-TTL: soon"}, 400},
		{"wrap before now", "GET", "prod/data/a/b", "", "", []string{"X-Vault-Wrap-TTL: -1"}, 400},
		{"wrap for ever", "GET", "prod/data/a/b", "", "", []string{"X-Vault-Wrap-TTL: 99999999999999h"}, 400},
		{"mount in sys", "POST", "sys/mounts/sys/x", "", `{"type":"kv-v2"}`, nil, 400},
		{"mount with a wildcard", "POST", "sys/mounts/a*", "", `{"type":"kv-v2"}`, nil, 400},
		{"mount of nothing", "POST", "sys/mounts/", "", `{"type":"kv-v2"}`, nil, 400},
		{"unmount the system", "DELETE", "sys/mounts/sys", "", "", nil, 400},
		{"move onto the system", "POST", "sys/remount", "", `{"from":"prod","to":"sys"}`, nil, 400},
		{"policy root", "PUT", "sys/policies/acl/ROOT", "", `{"policy":"path \"*\" { capabilities = [\"read\"] }"}`, nil, 400},
		{"policy with a space", "PUT", "sys/policies/acl/a b", "", `{"policy":"path \"*\" { capabilities = [\"read\"] }"}`, nil, 400},
	} {
		got := w.send("root", c.method, strings.ReplaceAll(c.path, " ", "%20"), c.query, c.body, c.headers...)
		if got.status != c.status {
			t.Errorf("%s: %d %s, want %d", c.name, got.status, got.raw, c.status)
		}
		if got.status >= 300 && strings.Contains(got.raw, "canary") {
			t.Errorf("%s: the answer repeats a value: %s", c.name, got.raw)
		}
		if got.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: the answer may be kept", c.name)
		}
	}
}

func manyParams(n int) string {
	q := url.Values{}
	for i := range n {
		q.Set(fmt.Sprint("p", i), "1")
	}
	return q.Encode()
}

// A body over the bound ends when the bound is reached.
func TestHugeBody(t *testing.T) {
	w := newWorld(t)
	req, err := http.NewRequest("POST", w.http.URL+"/v1/cubbyhole/x", io.MultiReader(strings.NewReader(`{"a":"`), io.LimitReader(endless{}, server.MaxBody+1)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", "root")
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Skipf("the connection ended before the answer: %v", err)
	}
	defer res.Body.Close()
	if res.StatusCode != 413 {
		t.Errorf("%d", res.StatusCode)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// Shapes by which one request is smuggled behind another: the connection answers
// once at most with something good, and ends.
func TestSmuggling(t *testing.T) {
	w := newWorld(t)
	host := strings.TrimPrefix(w.http.URL, "http://")
	for name, raw := range map[string]string{
		"both lengths":        "POST /v1/cubbyhole/x HTTP/1.1\r\nHost: h\r\nX-Vault-Token: root\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/sys/mounts HTTP/1.1\r\nHost: h\r\nX-Vault-Token: root\r\n\r\n",
		"two lengths":         "POST /v1/cubbyhole/x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"odd coding":          "POST /v1/cubbyhole/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"space before colon":  "GET /v1/sys/mounts HTTP/1.1\r\nHost: h\r\nX-Vault-Token : root\r\n\r\n",
		"folded header":       "GET /v1/sys/mounts HTTP/1.1\r\nHost: h\r\nX-Vault-Token: ro\r\n ot\r\n\r\n",
		"line end in a token": "GET /v1/sys/mounts HTTP/1.1\r\nHost: h\r\nX-Vault-Token: root\rX: y\r\n\r\n",
		"absolute, another":   "GET http://other/v1/sys/mounts HTTP/1.1\r\nHost: h\r\n\r\n",
		"no host":             "GET /v1/sys/mounts HTTP/1.1\r\nX-Vault-Token: root\r\n\r\n",
		"old":                 "GET /v1/sys/mounts\r\n\r\n",
	} {
		c, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, raw); err != nil {
			t.Fatal(err)
		}
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err == nil {
			if res.StatusCode < 400 && name != "both lengths" {
				t.Errorf("%s: %d", name, res.StatusCode)
			}
			res.Body.Close()
		}
		c.Close()
	}
	if s := w.must(404, "root", "GET", "cubbyhole/x", ""); s.raw == "" {
		t.Error("something was written")
	}
}

// slow is a database whose reads wait.
type slow struct {
	database
	began chan struct{}
	hold  chan struct{}
}

func (s slow) Read(ctx context.Context, f func(server.Tx) error) error {
	s.began <- struct{}{}
	<-s.hold
	return s.database.Read(ctx, f)
}

// More requests than there is room for are told to come back, and the others go on.
func TestTooMany(t *testing.T) {
	w := newWorld(t)
	db := slow{w.db, make(chan struct{}, 8), make(chan struct{})}
	h := httptest.NewServer(server.New(server.Config{DB: db, Concurrent: 2, Now: func() time.Time { return w.now }}))
	defer h.Close()
	get := func() (status int, again string) {
		res, err := http.Get(h.URL + "/v1/sys/seal-status")
		if err != nil {
			t.Error(err)
			return 0, ""
		}
		defer res.Body.Close()
		return res.StatusCode, res.Header.Get("Retry-After")
	}
	var wait sync.WaitGroup
	for range 2 {
		wait.Go(func() {
			if status, _ := get(); status != 200 {
				t.Errorf("one that had room: %d", status)
			}
		})
		<-db.began
	}
	if status, again := get(); status != 429 || again == "" {
		t.Errorf("%d, come again %q", status, again)
	}
	close(db.hold)
	wait.Wait()
	// Those who only send slowly take no place.
	for range 4 {
		c, err := net.Dial("tcp", strings.TrimPrefix(h.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "POST /v1/sys/unseal HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n{"); err != nil {
			t.Fatal(err)
		}
	}
	if status, _ := get(); status != 200 {
		t.Errorf("after them: %d", status)
	}
}

// Every kind of wrong token is answered alike.
func TestWrongTokens(t *testing.T) {
	w := newWorld(t)
	ends := w.must(200, "root", "POST", "auth/token/create", `{"policies":["default"],"ttl":"1m"}`).body["auth"].(map[string]any)["client_token"].(string)
	gone := w.must(200, "root", "POST", "auth/token/create", `{"policies":["default"]}`).body["auth"].(map[string]any)["client_token"].(string)
	w.must(204, "root", "POST", "auth/token/revoke", fmt.Sprintf(`{"token":%q}`, gone))
	w.now = w.now.Add(2 * time.Minute)
	want := w.ask("evr_s_nothing", "GET", "auth/token/lookup-self", "")
	for _, text := range []string{ends, gone, "x", "ROOT", strings.Repeat("a", 30000), "hvs.CAESI", "é", "' OR 1=1 --"} {
		got := w.ask(text, "GET", "auth/token/lookup-self", "")
		if got.status != 403 || got.raw != want.raw {
			t.Errorf("%.20q: %d %s", text, got.status, got.raw)
		}
	}
	if s := w.ask("", "GET", "auth/token/lookup-self", "", "Authorization: Bearer root"); s.status != 200 {
		t.Errorf("bearer: %d", s.status)
	}
	if s := w.ask("", "GET", "auth/token/lookup-self", "", "Authorization: Basic cm9vdDpyb290"); s.status != 403 {
		t.Errorf("basic: %d", s.status)
	}
}

// in is the world for one test of a fuzz target.
func (w *world) in(t *testing.T) *world {
	v := *w
	v.TB = t
	return &v
}

func FuzzBody(f *testing.F) {
	for _, s := range []string{`{"data":{"a":"b"},"options":{"cas":0}}`, `{}`, `{"data":null}`, `[`, `{"data":{"a":{"b":[1,2.5,null,true]}}}`, "\x00", `{"policies":["root"]}`, `{"policy":"path \"a\" {}"}`, `{"versions":"1,2"}`, `a=b&c=d`} {
		f.Add(s, byte(0))
	}
	for i, s := range []string{
		`{"role_id":"build","secret_id":"chosen"}`, `{"secret_id_num_uses":1,"secret_id_ttl":"1h","secret_id_bound_cidrs":["10.0.0.0/8"],"token_period":"1h"}`, `{"role_id":"other"}`,
		`{"metadata":"a=b,c=d","cidr_list":"10.0.0.0/8","num_uses":1,"ttl":60}`, `{"secret_id":"chosen","metadata":{"a":"b"}}`, `{"secret_id":"chosen"}`, `{"secret_id_accessor":"x"}`,
		`{"role":"api","jwt":"good.good.good"}`, `{"kubernetes_host":"https://10.0.0.1","kubernetes_ca_cert":"x","token_reviewer_jwt":"a.b.c"}`,
		`{"bound_service_account_names":"api,web","bound_service_account_namespaces":["*"],"audience":"envrun","alias_name_source":"serviceaccount_name"}`,
		`{"role":"ci","jwt":"eyJhbGciOiJFUzI1NiJ9.e30.eA"}`, `{"jwt":"eyJhbGciOiJFUzI1NiJ9.e30.eA","address":"10.0.0.1"}`,
	} {
		f.Add(s, byte(16+i))
	}
	w := newWorld(f)
	w.must(204, "root", "POST", "sys/mounts/prod", `{"type":"kv-v2"}`)
	w.must(204, "root", "POST", "sys/auth/approle", `{"type":"approle"}`)
	w.must(204, "root", "POST", "auth/approle/role/app", `{"role_id":"build","secret_id_ttl":"1h"}`)
	signIns(f, w)
	w.addKube().accounts["good.good.good"] = account{"system:serviceaccount:payments:api", "uid-1", []string{"envrun"}}
	paths := []string{"prod/data/x", "prod/metadata/x", "prod/delete/x", "prod/config", "sys/policies/acl/x", "auth/token/create", "auth/token/roles/x", "sys/mounts/fuzz", "sys/capabilities-self", "sys/wrapping/unwrap", "auth/token/lookup", "cubbyhole/x", "sys/leases/renew", "sys/mounts/prod/tune", "sys/unseal", "sys/init",
		"auth/approle/login", "auth/approle/role/x", "auth/approle/role/app/role-id", "auth/approle/role/app/secret-id", "auth/approle/role/app/custom-secret-id", "auth/approle/role/app/secret-id/lookup",
		"auth/approle/role/app/secret-id-accessor/destroy", "auth/kubernetes/login", "auth/kubernetes/config", "auth/kubernetes/role/x",
		"auth/jwt/login", "auth/jwt/role/ci/explain"}
	f.Fuzz(func(t *testing.T, body string, which byte) {
		w := w.in(t)
		got := w.ask("root", "POST", paths[int(which)%len(paths)], body)
		if got.status >= 500 {
			t.Fatalf("%d %s", got.status, got.raw)
		}
		if got.raw != "" && !json.Valid([]byte(got.raw)) {
			t.Fatalf("%d: no JSON: %q", got.status, got.raw)
		}
	})
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{"prod/data/x", "prod/metadata/", "../x", "%2e%2e/x", "a//b", "sys/mounts/%2f", "é/ü", "prod/data/%00", "auth/token/accessors/", "sys/internal/ui/mounts/prod"} {
		f.Add(s, byte(0))
	}
	w := newWorld(f)
	w.must(204, "root", "POST", "sys/mounts/prod", `{"type":"kv-v2"}`)
	methods := []string{"GET", "LIST", "POST", "DELETE", "PATCH", "PUT"}
	f.Fuzz(func(t *testing.T, path string, which byte) {
		w := w.in(t)
		if strings.Contains(path, "sys/seal") || !utf8.ValidString(path) {
			t.Skip()
		}
		got := w.send("nobody", methods[int(which)%len(methods)], (&url.URL{Path: path}).EscapedPath(), "", "")
		if got.status >= 500 || got.status == 200 && !strings.HasPrefix(strings.TrimLeft(path, "/"), "sys/") {
			t.Fatalf("%d %s", got.status, got.raw)
		}
	})
}
