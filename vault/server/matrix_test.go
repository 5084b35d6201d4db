package server_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"envrun/vault/policy"
	"envrun/vault/server"
)

var methods = map[policy.Op]string{policy.OpRead: "GET", policy.OpList: "LIST", policy.OpUpdate: "POST", policy.OpCreate: "POST", policy.OpPatch: "PATCH", policy.OpDelete: "DELETE"}

// Every endpoint with every capability: a token does what its policy says on exactly
// that path, and nothing else.
func TestMatrix(t *testing.T) {
	w := newWorld(t)
	w.must(204, "root", "POST", "sys/mounts/prod", `{"type":"kv-v2"}`)
	w.must(204, "root", "POST", "sys/mounts/old", `{"type":"kv","options":{"version":"1"}}`)
	w.must(204, "root", "POST", "sys/auth/jwt", `{"type":"jwt"}`)
	w.must(204, "root", "POST", "sys/auth/approle", `{"type":"approle"}`)
	w.must(204, "root", "POST", "sys/auth/kubernetes", `{"type":"kubernetes"}`)
	all := w.Endpoints()
	// What mounts bring with them.
	for _, e := range []struct {
		path string
		ops  []policy.Op
	}{
		{"prod/data/x", []policy.Op{policy.OpRead, policy.OpCreate, policy.OpPatch, policy.OpDelete}},
		{"prod/data/there", []policy.Op{policy.OpUpdate}},
		{"prod/metadata/x", []policy.Op{policy.OpRead, policy.OpCreate, policy.OpPatch, policy.OpDelete}},
		{"prod/metadata/there", []policy.Op{policy.OpUpdate}},
		{"prod/metadata/x/", []policy.Op{policy.OpList}},
		{"prod/metadata/", []policy.Op{policy.OpList}},
		{"prod/delete/x", []policy.Op{policy.OpUpdate}},
		{"prod/undelete/x", []policy.Op{policy.OpUpdate}},
		{"prod/destroy/x", []policy.Op{policy.OpUpdate}},
		{"prod/subkeys/x", []policy.Op{policy.OpRead}},
		{"prod/config", []policy.Op{policy.OpRead, policy.OpUpdate}},
		{"prod/elsewhere", []policy.Op{policy.OpRead, policy.OpUpdate, policy.OpDelete}},
		{"old/x", []policy.Op{policy.OpRead, policy.OpCreate, policy.OpDelete}},
		{"old/there", []policy.Op{policy.OpUpdate}},
		{"old/x/", []policy.Op{policy.OpList}},
		{"cubbyhole/x", []policy.Op{policy.OpRead, policy.OpUpdate, policy.OpDelete}},
		{"cubbyhole/x/", []policy.Op{policy.OpList}},
		{"nowhere/x", []policy.Op{policy.OpRead, policy.OpUpdate, policy.OpDelete, policy.OpPatch}},
		{"auth/jwt/config", []policy.Op{policy.OpRead, policy.OpUpdate}},
		{"auth/jwt/role/", []policy.Op{policy.OpList}},
		{"auth/jwt/role/x", []policy.Op{policy.OpRead, policy.OpCreate, policy.OpDelete}},
		{"auth/jwt/role/x/explain", []policy.Op{policy.OpUpdate}},
		{"auth/jwt/keys", []policy.Op{policy.OpRead}},
		{"auth/jwt/keys/refresh", []policy.Op{policy.OpUpdate}},
		{"auth/jwt/elsewhere", []policy.Op{policy.OpRead, policy.OpUpdate}},
		{"auth/approle/role/", []policy.Op{policy.OpList}},
		{"auth/approle/role/x", []policy.Op{policy.OpRead, policy.OpCreate, policy.OpDelete}},
		{"auth/approle/role/x/role-id", []policy.Op{policy.OpRead, policy.OpUpdate}},
		{"auth/approle/role/x/secret-id", []policy.Op{policy.OpUpdate}},
		{"auth/approle/role/x/secret-id/", []policy.Op{policy.OpList}},
		{"auth/approle/role/x/custom-secret-id", []policy.Op{policy.OpUpdate}},
		{"auth/approle/role/x/secret-id/lookup", []policy.Op{policy.OpUpdate}},
		{"auth/approle/role/x/secret-id/destroy", []policy.Op{policy.OpUpdate, policy.OpDelete}},
		{"auth/approle/role/x/secret-id-accessor/lookup", []policy.Op{policy.OpUpdate}},
		{"auth/approle/role/x/secret-id-accessor/destroy", []policy.Op{policy.OpUpdate, policy.OpDelete}},
		{"auth/approle/tidy/secret-id", []policy.Op{policy.OpUpdate}},
		{"auth/approle/elsewhere", []policy.Op{policy.OpRead, policy.OpUpdate}},
		{"auth/kubernetes/config", []policy.Op{policy.OpRead, policy.OpUpdate}},
		{"auth/kubernetes/role/", []policy.Op{policy.OpList}},
		{"auth/kubernetes/role/x", []policy.Op{policy.OpRead, policy.OpCreate, policy.OpDelete}},
		{"auth/kubernetes/elsewhere", []policy.Op{policy.OpRead, policy.OpUpdate}},
		{"auth/nowhere/login", []policy.Op{policy.OpUpdate}},
		{"sys/nowhere", []policy.Op{policy.OpRead, policy.OpUpdate}},
		{"auth/token/nowhere", []policy.Op{policy.OpRead, policy.OpUpdate}},
	} {
		for _, op := range e.ops {
			all = append(all, server.Endpoint{Path: e.path, Op: op})
		}
	}
	if len(all) < 90 {
		t.Fatalf("there are %d endpoints only", len(all))
	}
	slices.SortFunc(all, func(a, b server.Endpoint) int { return strings.Compare(a.Path, b.Path) })

	caps := []string{"create", "read", "update", "patch", "delete", "list", "sudo", "deny"}
	asked := 0
	for _, e := range all {
		if e.Path == "sys/seal" {
			continue // TestSeal
		}
		if e.Path == "sys/events" {
			continue // which does not end: TestEventsMatrix
		}
		own := e.Op.String()
		var sets [][]string
		for _, c := range caps {
			sets = append(sets, []string{c}, []string{c, "sudo"})
		}
		var others []string
		for _, c := range caps[:6] {
			if c != own {
				others = append(others, c)
			}
		}
		if testing.Short() {
			sets = [][]string{{own}, {own, "sudo"}, {own, "deny"}}
		}
		sets = append(sets, append(others, "sudo"), nil)
		for _, set := range sets {
			w.prepare()
			may := slices.Contains(set, own) && !slices.Contains(set, "deny") && (!e.Sudo || slices.Contains(set, "sudo"))
			may = may || e.Open || e.Private
			path := e.Path
			tok := w.token(fmt.Sprintf("path %q { capabilities = [%s] }", path, quoted(set)))
			before := len(w.log.all())
			got := w.ask(tok, methods[e.Op], strings.TrimSuffix(path, "/"), "", "Content-Type: application/merge-patch+json")
			asked++
			denied := got.status == 403 && strings.Contains(got.raw, "1 error occurred:\\n\\t* permission denied\\n\\n")
			if denied == may {
				t.Errorf("%s %s with %v: %d %s", methods[e.Op], path, set, got.status, got.raw)
			}
			if got.status >= 500 {
				t.Errorf("%s %s with %v: %d", methods[e.Op], path, set, got.status)
			}
			if n := len(w.log.all()) - before; n < 2 {
				t.Errorf("%s %s with %v: %d entries", methods[e.Op], path, set, n)
			}
			// No token, or none that is good, gets nowhere that is not open.
			if set == nil && !e.Open {
				for _, bad := range []string{"", "evr_s_nope", tok + "x", strings.ToUpper(tok)} {
					if got := w.ask(bad, methods[e.Op], strings.TrimSuffix(path, "/"), "", "Content-Type: application/merge-patch+json"); got.status != 403 || !strings.Contains(got.raw, `"permission denied"`) {
						t.Errorf("%s %s with the token %q: %d %s", methods[e.Op], path, bad, got.status, got.raw)
					}
				}
			}
		}
	}
	t.Logf("%d endpoints, %d requests", len(all), asked)
}

// prepare makes what is to be there, and removes what is not.
func (w *world) prepare() {
	w.Helper()
	w.must(200, "root", "POST", "prod/data/there", `{"data":{}}`)
	w.must(204, "root", "POST", "old/there", `{"a":"b"}`)
	w.must(204, "root", "DELETE", "prod/metadata/x", ``)
	w.must(204, "root", "DELETE", "old/x", ``)
	w.must(204, "root", "DELETE", "auth/approle/role/x", ``)
}

// token makes a token with one policy alone.
func (w *world) token(text string) string {
	w.Helper()
	w.must(204, "root", "PUT", "sys/policies/acl/one", fmt.Sprintf(`{"policy":%q}`, text))
	s := w.must(200, "root", "POST", "auth/token/create-orphan", `{"policies":["one"],"no_default_policy":true}`)
	return s.body["auth"].(map[string]any)["client_token"].(string)
}

func quoted(list []string) string {
	var out []string
	for _, s := range list {
		out = append(out, fmt.Sprintf("%q", s))
	}
	return strings.Join(out, ", ")
}

func TestSeal(t *testing.T) {
	w := newWorld(t)
	for _, set := range [][]string{{"update"}, {"sudo"}, {"read", "sudo"}, nil} {
		w.must(403, w.token(fmt.Sprintf(`path "sys/seal" { capabilities = [%s] }`, quoted(set))), "PUT", "sys/seal", "")
	}
	w.must(204, w.token(`path "sys/seal" { capabilities = ["update", "sudo"] }`), "PUT", "sys/seal", "")
	for _, path := range []string{"sys/mounts", "secret/data/x", "auth/token/lookup-self", "sys/leader"} {
		if s := w.must(503, "root", "GET", path, ""); !strings.Contains(s.raw, "Vault is sealed") {
			t.Errorf("%s: %s", path, s.raw)
		}
	}
	w.must(503, "root", "GET", "sys/health", "")
	w.must(200, "", "GET", "sys/seal-status", "")
}

// A token gives no other token more than it has.
func TestNoMoreThanItsMaker(t *testing.T) {
	w := newWorld(t)
	w.must(204, "root", "PUT", "sys/policies/acl/rich", `{"policy":"path \"*\" { capabilities = [\"read\"] }"}`)
	maker := w.token(`path "auth/token/create" { capabilities = ["update"] } path "auth/token/create-orphan" { capabilities = ["update"] } path "auth/token/create/*" { capabilities = ["update"] }`)
	w.must(204, "root", "POST", "auth/token/roles/open", `{"orphan":true}`)
	for _, body := range []string{
		`{"policies":["rich"]}`, `{"policies":["root"]}`, `{"policies":["ROOT"]}`, `{"policies":[" Root "]}`, `{"policies":"root"}`,
		`{"policies":["one","rich"]}`, `{"policies":["one"],"period":"1h"}`, `{"policies":["one"],"no_parent":true}`,
		`{"policies":["response-wrapping"]}`, `{"id":"mine"}`, `{"policies":["one"],"type":"batch"}`, `{"ttl":"-1s"}`, `{"num_uses":-1}`,
	} {
		if s := w.ask(maker, "POST", "auth/token/create", body); s.status != 400 {
			t.Errorf("%s: %d %s", body, s.status, s.raw)
		}
	}
	w.must(403, maker, "POST", "auth/token/create-orphan", `{}`)
	w.must(400, maker, "POST", "auth/token/create/open", `{"policies":["rich"]}`)
	w.must(400, maker, "POST", "auth/token/create/open", `{"policies":["root"]}`)
	s := w.must(200, maker, "POST", "auth/token/create", `{}`)
	if got := fmt.Sprint(s.body["auth"].(map[string]any)["policies"]); got != "[default one]" {
		t.Errorf("a child has %s", got)
	}
	// What counts its uses makes none that does not.
	counted := w.must(200, "root", "POST", "auth/token/create", `{"num_uses":5}`).body["auth"].(map[string]any)["client_token"].(string)
	w.must(400, counted, "POST", "auth/token/create", `{}`)
}
