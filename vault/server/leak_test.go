package server_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"envrun/vault/policy"
	"envrun/vault/server"
)

// asking is all endpoints, those of mounts too, but for what ends the server or who
// asks, and what answers for ever.
func (w *world) asking() []server.Endpoint {
	w.Helper()
	w.must(204, "root", "POST", "sys/mounts/prod", `{"type":"kv-v2"}`)
	w.must(204, "root", "POST", "sys/mounts/old", `{"type":"kv","options":{"version":"1"}}`)
	w.must(204, "root", "POST", "sys/auth/approle", `{"type":"approle"}`)
	w.addKube()
	all := slices.DeleteFunc(w.Endpoints(), func(e server.Endpoint) bool {
		return e.Path == "sys/seal" || e.Path == "auth/token/revoke-self" || strings.HasPrefix(e.Path, "sys/events")
	})
	for path, ops := range map[string][]policy.Op{
		"prod/data/x":     {policy.OpRead, policy.OpUpdate, policy.OpPatch, policy.OpDelete},
		"prod/metadata/x": {policy.OpRead, policy.OpUpdate, policy.OpPatch, policy.OpDelete, policy.OpList},
		"prod/delete/x":   {policy.OpUpdate}, "prod/undelete/x": {policy.OpUpdate}, "prod/destroy/x": {policy.OpUpdate},
		"prod/subkeys/x": {policy.OpRead}, "prod/config": {policy.OpRead, policy.OpUpdate},
		"old/x":                                          {policy.OpRead, policy.OpUpdate, policy.OpDelete, policy.OpList},
		"cubbyhole/x":                                    {policy.OpRead, policy.OpUpdate, policy.OpDelete, policy.OpList},
		"auth/approle/login":                             {policy.OpUpdate},
		"auth/approle/role/":                             {policy.OpList},
		"auth/approle/role/x":                            {policy.OpRead, policy.OpUpdate, policy.OpDelete},
		"auth/approle/role/x/role-id":                    {policy.OpRead, policy.OpUpdate},
		"auth/approle/role/x/secret-id":                  {policy.OpUpdate, policy.OpList},
		"auth/approle/role/x/custom-secret-id":           {policy.OpUpdate},
		"auth/approle/role/x/secret-id/lookup":           {policy.OpUpdate},
		"auth/approle/role/x/secret-id/destroy":          {policy.OpUpdate, policy.OpDelete},
		"auth/approle/role/x/secret-id-accessor/lookup":  {policy.OpUpdate},
		"auth/approle/role/x/secret-id-accessor/destroy": {policy.OpUpdate, policy.OpDelete},
		"auth/approle/tidy/secret-id":                    {policy.OpUpdate},
		"auth/kubernetes/login":                          {policy.OpUpdate},
		"auth/kubernetes/config":                         {policy.OpRead, policy.OpUpdate},
		"auth/kubernetes/role/":                          {policy.OpList},
		"auth/kubernetes/role/x":                         {policy.OpRead, policy.OpUpdate, policy.OpDelete},
		"nowhere/x":                                      {policy.OpRead, policy.OpUpdate, policy.OpPatch},
	} {
		for _, op := range ops {
			all = append(all, server.Endpoint{Path: path, Pattern: path, Op: op, Open: strings.HasSuffix(path, "/login")})
		}
	}
	slices.SortFunc(all, func(a, b server.Endpoint) int {
		return strings.Compare(a.Path+a.Op.String(), b.Path+b.Op.String())
	})
	return all
}

// withBody says whether a request of an operation has one.
func withBody(op policy.Op) bool { return op == policy.OpUpdate || op == policy.OpPatch }

const mergePatch = "Content-Type: application/merge-patch+json"

// secretNames are the names under which a value must never be seen again: those of
// values, tokens and keys, and one that no endpoint knows.
var secretNames = []string{"data", "token", "key", "input", "options", "custom_metadata", "meta", "increment", "ttl", "period", "cas", "bytes", "jwt", "role_id", "secret_id", "secret_id_accessor", "metadata", "token_reviewer_jwt", "kubernetes_ca_cert", "unheard_of"}

// No error repeats a value of the request, and the audit log holds none, of whatever
// kind it is and wherever it is sent. Each request is in the log twice.
func TestNoValueComesBack(t *testing.T) {
	w := newWorld(t)
	all := w.asking()
	limited := w.token(`path "*" { capabilities = ["create", "read", "update", "patch", "delete", "list"] }`)
	const text, digits = "canaryvalue", "7319731973197319731"
	shapes := []string{`"` + text + `"`, digits, `["` + text + `",` + digits + `]`, `{"k":{"` + text + `":"` + text + `","b":` + digits + `}}`}
	if testing.Short() {
		shapes = shapes[1:2]
	}
	asked := 0
	for _, e := range all {
		if !withBody(e.Op) {
			continue
		}
		for _, name := range secretNames {
			for i, shape := range shapes {
				token := []string{"root", limited}[(asked+i)%2]
				body := fmt.Sprintf(`{%q:%s}`, name, shape)
				w.log.forget()
				got := w.ask(token, methods[e.Op], e.Path, body, mergePatch)
				asked++
				at := fmt.Sprintf("%s %s with %s", methods[e.Op], e.Path, body)
				if got.status >= 500 {
					t.Errorf("%s: %d %s", at, got.status, got.raw)
				}
				if got.status >= 400 && (strings.Contains(got.raw, text) || strings.Contains(got.raw, digits)) {
					t.Errorf("%s: the error repeats the value: %s", at, got.raw)
				}
				entries := w.log.all()
				if len(entries) < 2 {
					t.Errorf("%s: %d entries", at, len(entries))
				}
				for _, entry := range entries {
					if line := entry.Line().String(); strings.Contains(line, text) || strings.Contains(line, digits) {
						t.Errorf("%s: the log holds the value: %s", at, line)
					}
				}
			}
		}
	}
	t.Logf("%d requests", asked)
}

// Tokens of every wrong kind get nowhere, at every endpoint that asks for one, and
// headers that are none change nothing.
func TestWrongTokensEverywhere(t *testing.T) {
	w := newWorld(t)
	all := w.asking()
	create := func(body string) string {
		t.Helper()
		return w.must(200, "root", "POST", "auth/token/create", body).body["auth"].(map[string]any)["client_token"].(string)
	}
	wrap := func(s said) string { return s.body["wrap_info"].(map[string]any)["token"].(string) }
	revoked, ended := create(`{"policies":["root"]}`), create(`{"policies":["default"],"ttl":"1s"}`)
	used := create(`{"num_uses":1}`)
	w.must(200, used, "GET", "auth/token/lookup-self", "")
	w.must(204, "root", "POST", "auth/token/revoke", fmt.Sprintf(`{"token":%q}`, revoked))
	w.must(200, "root", "POST", "prod/data/secret", `{"data":{"k":"canaryvalue"}}`)
	wrapping := wrap(w.must(200, "root", "GET", "prod/data/secret", "", "X-Vault-Wrap-TTL: 1h"))
	// Of a child, and of a child's child, whose maker is gone.
	maker := create(`{"policies":["root"]}`)
	child := w.must(200, maker, "POST", "auth/token/create", `{"policies":["root"]}`).body["auth"].(map[string]any)["client_token"].(string)
	w.must(204, "root", "POST", "auth/token/revoke", fmt.Sprintf(`{"token":%q}`, maker))
	accessor := w.must(200, "root", "GET", "auth/token/lookup-self", "").data()["accessor"].(string)
	w.now = w.now.Add(2e9)
	tokens := map[string]string{
		"none": "", "revoked": revoked, "ended": ended, "used up": used, "of a maker that is gone": child, "an accessor": accessor,
		"with something behind it": "root\x00", "twice": "root,root", "in quotes": `"root"`, "as JSON": `{"token":"root"}`, "long": strings.Repeat("root", 8000),
	}
	for _, e := range all {
		if e.Open {
			continue
		}
		for name, token := range tokens {
			if strings.ContainsAny(token, "\x00") {
				continue // no client can send it
			}
			got := w.ask(token, methods[e.Op], strings.TrimSuffix(e.Path, "/"), "", mergePatch)
			if got.status != 403 || strings.Contains(got.raw, "canaryvalue") {
				t.Errorf("%s %s with a token that is %s: %d %s", methods[e.Op], e.Path, name, got.status, got.raw)
			}
		}
		// A wrapping token is good for unwrapping, and shows no endpoint anything else.
		got := w.ask(wrapping, methods[e.Op], strings.TrimSuffix(e.Path, "/"), "", mergePatch)
		if strings.Contains(got.raw, "canaryvalue") || got.status >= 500 || got.status < 300 && !e.Private {
			t.Errorf("%s %s with a wrapping token: %d %s", methods[e.Op], e.Path, got.status, got.raw)
		}
		// The headers that bound, name or redirect.
		for _, h := range []string{
			"X-Vault-Wrap-TTL: -1s", "X-Vault-Wrap-TTL: 1e9h", "X-Vault-Wrap-TTL: canaryvalue", "X-Vault-Wrap-TTL: 99999999999999999999",
			"X-Vault-Namespace: canaryvalue", "X-HTTP-Method-Override: GET", "X-Forwarded-For: 127.0.0.1", "X-Vault-Token-Override: root",
			"Authorization: Bearer root, Bearer root", "Cookie: X-Vault-Token=root", "X-Vault-Forward: active-node", "X-Vault-MFA: root",
		} {
			got := w.ask("", methods[e.Op], strings.TrimSuffix(e.Path, "/"), "", h)
			if got.status < 400 || got.status >= 500 || strings.Contains(got.raw, "canaryvalue") {
				t.Errorf("%s %s with %s: %d %s", methods[e.Op], e.Path, h, got.status, got.raw)
			}
		}
	}
	if s := w.must(200, wrapping, "POST", "sys/wrapping/unwrap", ""); !strings.Contains(s.raw, "canaryvalue") {
		t.Errorf("in the end it unwraps %s", s.raw)
	}
}

// recordedBodies are the bodies that real clients sent.
func recordedBodies(f *testing.F) []string {
	f.Helper()
	seen := map[string]bool{}
	for _, pattern := range []string{"testdata/vault-1.21/*.jsonl", "../wire/testdata/vault-1.21/*.jsonl"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range files {
			file, err := os.Open(name)
			if err != nil {
				f.Fatal(err)
			}
			lines := bufio.NewScanner(file)
			lines.Buffer(nil, 1<<20)
			for lines.Scan() {
				var s step
				if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
					f.Fatal(err)
				}
				if b := string(s.Request.Body); b != "" && b != "null" && len(b) < 4096 {
					seen[b] = true
				}
			}
			if err := lines.Err(); err != nil {
				f.Fatal(err)
			}
			file.Close()
		}
	}
	var all []string
	for b := range seen {
		all = append(all, b)
	}
	slices.Sort(all)
	return all
}

// Any body at any endpoint, as root and as somebody who may do everything but what
// needs sudo: no 500, no answer that is not JSON, and always two entries.
func FuzzEndpoints(f *testing.F) {
	for i, body := range recordedBodies(f) {
		f.Add(body, uint16(i*7), false, "")
	}
	f.Add(`{"data":{"a":"b"}}`, uint16(3), true, "60")
	f.Add("a=b&c=d", uint16(9), true, "1h")
	f.Add("\x00\xff", uint16(11), false, "-1")
	w := newWorld(f)
	all := w.asking()
	limited := w.token(`path "*" { capabilities = ["create", "read", "update", "patch", "delete", "list"] }`)
	f.Fuzz(func(t *testing.T, body string, which uint16, asRoot bool, wrap string) {
		w := w.in(t)
		e := all[int(which)%len(all)]
		token, path, query := limited, strings.TrimSuffix(e.Path, "/"), ""
		if asRoot {
			token = "root"
		}
		headers := []string{mergePatch}
		if wrap = strings.Map(visible, wrap); wrap != "" {
			headers = append(headers, "X-Vault-Wrap-TTL: "+wrap)
		}
		if !withBody(e.Op) {
			// What else has parameters has them in the query.
			query, body = (url.Values{"list": nil, "version": {body}, "depth": {wrap}, body: {wrap}}).Encode(), ""
		}
		w.log.forget()
		got := w.send(token, methods[e.Op], path, query, body, headers...)
		if got.status >= 500 {
			t.Fatalf("%s %s: %d %s", methods[e.Op], path, got.status, got.raw)
		}
		if got.raw != "" && !json.Valid([]byte(got.raw)) {
			t.Fatalf("%s %s: %d: no JSON: %q", methods[e.Op], path, got.status, got.raw)
		}
		// What could not be read as a request has reached nothing, and is not recorded.
		if n := len(w.log.all()); n == 0 && got.status < 400 || n == 1 {
			t.Fatalf("%s %s: %d with %d entries", methods[e.Op], path, got.status, n)
		}
	})
}

func visible(c rune) rune {
	if c < ' ' || c > '~' {
		return -1
	}
	return c
}
