package server_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// bundleOf is the body that asks for paths together.
func bundleOf(paths ...string) string {
	b, _ := json.Marshal(map[string]any{"paths": paths})
	return string(b)
}

// partsOf are the parts of a bundle's answer as JSON.
func partsOf(t *testing.T, s said) []map[string]any {
	t.Helper()
	list, ok := s.data()["secrets"].([]any)
	if !ok {
		t.Fatalf("%d %s", s.status, s.raw)
	}
	var parts []map[string]any
	for _, p := range list {
		parts = append(parts, p.(map[string]any))
	}
	return parts
}

// manyWays is a server with secrets in every state.
func manyWays(t *testing.T) (w *world, paths []string) {
	w = newWorld(t)
	w.must(204, "root", "POST", "sys/mounts/prod", `{"type":"kv-v2"}`)
	w.must(204, "root", "POST", "sys/mounts/team/dev", `{"type":"kv-v2"}`)
	w.must(204, "root", "POST", "sys/mounts/old", `{"type":"kv","options":{"version":"1"}}`)
	for _, p := range []string{"prod/data/app", "prod/data/app/db", "prod/data/app/web/front", "prod/data/other", "prod/data/ü b", "prod/data/gone", "prod/data/destroyed", "prod/data/hidden", "prod/data/data/x", "team/dev/data/app"} {
		w.must(200, "root", "POST", p, fmt.Sprintf(`{"data":{"N":9007199254740993,"path":%q,"deep":{"a":[1,2.50]}}}`, p))
	}
	w.must(200, "root", "POST", "prod/data/null", `{"data":null}`)
	w.must(204, "root", "POST", "old/app", `{"a":"b"}`)
	w.must(204, "root", "DELETE", "prod/data/gone", "")
	w.must(204, "root", "POST", "prod/destroy/destroyed", `{"versions":[1]}`)
	w.must(204, "root", "POST", "prod/metadata/app", `{"custom_metadata":{"note":"x"}}`)
	w.must(204, "root", "POST", "prod/metadata/empty", `{}`)
	w.must(204, "root", "POST", "prod/metadata/short", `{"delete_version_after":"1h"}`)
	w.must(200, "root", "POST", "prod/data/short", `{"data":{"A":"1"}}`)
	return w, []string{
		"prod/data/app", "prod/data/app/db", "prod/data/app/web/front", "prod/data/other", "prod/data/ü b", "prod/data/gone", "prod/data/destroyed",
		"prod/data/hidden", "prod/data/data/x", "prod/data/null", "prod/data/absent", "prod/data/empty", "prod/data/short", "team/dev/data/app", "nowhere/data/app",
		"nowhere", "prod/data/app",
	}
}

// A bundle says of each path what reading it says, whatever the policy, and no more.
func TestBundleIsReads(t *testing.T) {
	w, paths := manyWays(t)
	for _, rules := range []string{
		`path "prod/data/*" { capabilities = ["read"] }`,
		`path "*" { capabilities = ["read"] }`,
		`path "prod/data/+/db" { capabilities = ["read"] }`,
		`path "prod/data/app*" { capabilities = ["read"] } path "prod/data/app/web/*" { capabilities = ["deny"] }`,
		`path "*" { capabilities = ["read"] } path "prod/data/hidden" { capabilities = ["deny"] } path "prod/data/absent" { capabilities = ["deny"] }`,
		`path "prod/data/*" { capabilities = ["read"] min_wrapping_ttl = "1m" } path "prod/data/other" { capabilities = ["read"] }`,
		`path "prod/data/*" { capabilities = ["read"] required_parameters = ["version"] } path "team/+/data/app" { capabilities = ["read"] }`,
		`path "prod/data/*" { capabilities = ["read"] denied_parameters = { "*" = [] } }`,
		`path "prod/data/*" { capabilities = ["create", "update", "patch", "delete", "list", "sudo"] }`,
		`path "prod/data/{{identity.entity.name}}" { capabilities = ["read"] }`,
		`path "sys/bundle" { capabilities = ["update", "sudo"] }`,
		`path "sys/bundle" { capabilities = ["deny"] } path "prod/data/app" { capabilities = ["read"] }`,
		`path "nothing" { capabilities = ["read"] }`,
	} {
		tok := w.token(rules)
		before := len(w.log.all())
		parts := partsOf(t, w.must(200, tok, "POST", "sys/bundle", bundleOf(paths...)))
		entries := w.log.all()[before:]
		if len(entries) != 2 || len(parts) != len(paths) {
			t.Fatalf("%d entries, %d parts", len(entries), len(parts))
		}
		intent, outcome := entries[0], entries[1]
		if !slices.Equal(intent.Request.Data.Paths, paths) || !slices.Equal(outcome.Request.Data.Paths, paths) || len(outcome.Response.Data.Read) != len(paths) {
			t.Errorf("the log says\n%s\n%s", intent.Line(), outcome.Line())
		}
		for i, path := range paths {
			one := w.ask(tok, "GET", path, "")
			if n := parts[i]["status"].(json.Number).String(); n != strconv.Itoa(one.status) || parts[i]["path"] != path {
				t.Errorf("%s of %q: %s together, %d alone", path, rules, n, one.status)
			}
			errs, _ := parts[i]["errors"].([]any)
			alone, _ := one.body["errors"].([]any)
			if fmt.Sprint(errs) != fmt.Sprint(alone) {
				t.Errorf("%s of %q: %v together, %v alone", path, rules, errs, alone)
			}
			if !reflect.DeepEqual(parts[i]["data"], one.body["data"]) {
				t.Errorf("%s of %q: %v together, %v alone", path, rules, parts[i]["data"], one.body["data"])
			}
			want := map[int]int64{403: -1, 200: 1}[one.status]
			if got := outcome.Response.Data.Read[i]; got != want {
				t.Errorf("%s of %q: the log says %d, and the answer was %d", path, rules, got, one.status)
			}
		}
	}
	// As one day: what ends by itself ends in a bundle too.
	w.now = w.now.Add(2 * time.Hour)
	if parts := partsOf(t, w.must(200, "root", "POST", "sys/bundle", bundleOf("prod/data/short"))); parts[0]["status"].(json.Number) != "404" {
		t.Errorf("%v", parts)
	}
}

// What is not a secret of KV version 2 is in no bundle.
func TestBundleOfOthers(t *testing.T) {
	w, _ := manyWays(t)
	for _, path := range []string{"sys/mounts", "sys/bundle", "auth/token/lookup-self", "cubbyhole/x", "old/app", "prod/metadata/app", "prod/subkeys/app", "prod/config", "prod/data", "prod"} {
		if parts := partsOf(t, w.must(200, "root", "POST", "sys/bundle", bundleOf(path))); parts[0]["status"].(json.Number) < "404" || parts[0]["data"] != nil {
			t.Errorf("%s: %v", path, parts[0])
		}
		if parts := partsOf(t, w.must(200, w.token(`path "nothing" { capabilities = ["read"] }`), "POST", "sys/bundle", bundleOf(path))); parts[0]["status"].(json.Number) != "403" {
			t.Errorf("%s: %v", path, parts[0])
		}
	}
	many := make([]string, 257)
	for i := range many {
		many[i] = "a"
	}
	long := strings.Repeat("a/", 400) + "a"
	for _, c := range []struct {
		body   string
		status int
	}{
		{`{}`, 400}, {``, 400}, {`{"paths":[]}`, 400}, {`{"paths":"prod/data/app"}`, 400}, {`{"paths":[1]}`, 400}, {`{"paths":[""]}`, 400},
		{`{"paths":["prod/data/../x"]}`, 400}, {`{"paths":["prod/data/app/"]}`, 400}, {`{"paths":["prod/data/a\u0000"]}`, 400}, {`{"paths":["prod/data/\u202e"]}`, 400},
		{bundleOf(many...), 413}, {bundleOf(long, long, long, long, long, long, long, long, long), 413}, {bundleOf(many[:256]...), 200}, {bundleOf(strings.Repeat("x", 5000)), 413},
		{`{"paths":["prod/data/a//b"]}`, 200},
	} {
		if got := w.ask("root", "POST", "sys/bundle", c.body); got.status != c.status {
			t.Errorf("%.60s: %d %.200s", c.body, got.status, got.raw)
		}
	}
	w.must(403, "", "POST", "sys/bundle", bundleOf("prod/data/app"))
	w.must(403, "nope", "POST", "sys/bundle", bundleOf("prod/data/app"))
	w.must(405, "root", "GET", "sys/bundle", "")
}

// More than there is room for is refused, not cut.
func TestBundleTooLong(t *testing.T) {
	w := newWorld(t)
	w.must(204, "root", "POST", "sys/mounts/prod", `{"type":"kv-v2"}`)
	big := fmt.Sprintf(`{"data":{"A":%q}}`, strings.Repeat("x", 7<<20))
	var paths []string
	for i := range 4 {
		paths = append(paths, fmt.Sprintf("prod/data/%d", i))
		w.must(200, "root", "POST", paths[i], big)
	}
	w.must(200, "root", "POST", "sys/bundle", bundleOf(paths[:3]...))
	w.must(413, "root", "POST", "sys/bundle", bundleOf(paths...))
}

// A bundle can be wrapped, and counts as one use.
func TestBundleWrappedAndCounted(t *testing.T) {
	w, _ := manyWays(t)
	tok := w.token(`path "prod/data/*" { capabilities = ["read"] min_wrapping_ttl = "1m" max_wrapping_ttl = "5m" }`)
	for ttl, want := range map[string]string{"120": "200", "30": "403", "600": "403"} {
		wrap := w.must(200, tok, "POST", "sys/bundle", bundleOf("prod/data/app", "prod/data/other"), "X-Vault-Wrap-TTL: "+ttl)
		if strings.Contains(wrap.raw, "900719") {
			t.Error("a wrapped bundle holds what is wrapped")
		}
		text := wrap.body["wrap_info"].(map[string]any)["token"].(string)
		for _, p := range partsOf(t, w.must(200, text, "POST", "sys/wrapping/unwrap", "")) {
			if p["status"].(json.Number).String() != want {
				t.Errorf("wrapped for %s s: %v", ttl, p)
			}
		}
	}
	counted := w.must(200, "root", "POST", "auth/token/create", `{"num_uses":2}`).body["auth"].(map[string]any)["client_token"].(string)
	w.must(200, counted, "POST", "sys/bundle", bundleOf("prod/data/app", "prod/data/other"))
	w.must(200, counted, "POST", "sys/bundle", bundleOf("prod/data/app", "prod/data/other"))
	w.must(403, counted, "POST", "sys/bundle", bundleOf("prod/data/app"))
}

// An answer that the client has is not sent again, and is recorded all the same.
func TestBundleTag(t *testing.T) {
	w, paths := manyWays(t)
	rules := `path "prod/data/*" { capabilities = ["read"] }`
	tok := w.token(rules)
	body := bundleOf(paths...)
	tag := w.must(200, tok, "POST", "sys/bundle", body).header.Get("ETag")
	same := func(say string, want bool) {
		t.Helper()
		before := len(w.log.all())
		s := w.ask(tok, "POST", "sys/bundle", body, `If-None-Match: W/"x", `+tag)
		if (s.status == 304) != want || s.status == 304 && s.raw != "" {
			t.Errorf("%s: %d %s", say, s.status, s.raw)
		}
		entries := w.log.all()[before:]
		if len(entries) != 2 || !slices.Contains(entries[1].Response.Data.Read, 1) || entries[1].Status != s.status {
			t.Errorf("%s: the log says %v", say, entries)
		}
		tag = w.must(200, tok, "POST", "sys/bundle", body).header.Get("ETag")
	}
	same("nothing has changed", true)
	w.must(200, "root", "POST", "prod/data/elsewhere", `{"data":{}}`)
	w.must(200, "root", "POST", "team/dev/data/app", `{"data":{}}`)
	same("something else has changed", true)
	for _, c := range []struct{ say, method, path, body string }{
		{"a version", "POST", "prod/data/app", `{"data":{"A":"2"}}`},
		{"metadata", "POST", "prod/metadata/app", `{"custom_metadata":{"note":"y"}}`},
		{"deleted", "DELETE", "prod/data/app", ``},
		{"undeleted", "POST", "prod/undelete/app", `{"versions":[2]}`},
		{"destroyed", "POST", "prod/destroy/app", `{"versions":[2]}`},
		{"removed", "DELETE", "prod/metadata/app", ``},
		{"the same version with other data", "POST", "prod/data/app", `{"data":{"A":"2"}}`},
		{"made", "POST", "prod/data/absent", `{"data":{}}`},
		{"a policy", "PUT", "sys/policies/acl/one", `{"policy":"path \"prod/data/app\" { capabilities = [\"read\"] }"}`},
	} {
		if s := w.ask("root", c.method, c.path, c.body); s.status >= 300 {
			t.Fatal(c.say, s.status, s.raw)
		}
		same(c.say, false)
	}
	w.must(204, "root", "PUT", "sys/policies/acl/one", fmt.Sprintf(`{"policy":%q}`, rules))
	tag = w.must(200, tok, "POST", "sys/bundle", body).header.Get("ETag")
	w.now = w.now.Add(2 * time.Hour)
	same("a version has ended", false)
}

// Each secret that was read is found in the log by its path and by its environment.
func TestBundleIsFound(t *testing.T) {
	w, _ := manyWays(t)
	paths := []string{"prod/data/app", "prod/data/other", "team/dev/data/app"}
	w.must(200, "root", "POST", "sys/bundle", bundleOf(paths...))
	for _, q := range []string{"path=prod/data/app", "path=other", "path=team/dev/data/app", "path=app", "env=prod", "env=team/dev", "path=team/dev"} {
		s := w.must(200, "root", "GET", "sys/audit-log/entries?newest=true&limit=1&type=response&"+q, "")
		if !strings.Contains(s.raw, `"paths":["prod/data/app"`) {
			t.Errorf("%s: %s", q, s.raw)
		}
	}
	for _, q := range []string{"path=prod/data/ap", "path=data/app/db", "env=te", "path=prod/metadata"} {
		s := w.must(200, "root", "GET", "sys/audit-log/entries?newest=true&limit=1&type=response&"+q, "")
		if strings.Contains(s.raw, `"paths"`) {
			t.Errorf("%s: %s", q, s.raw)
		}
	}
}

// named are the answers of sys/names as a walk over lists and subkeys gives them.
func (w *world) named(tok, mount, prefix string) (secrets, refused []string) {
	w.Helper()
	after := ""
	for {
		s := w.must(200, tok, "POST", "sys/names", fmt.Sprintf(`{"mount":%q,"prefix":%q,"after":%q}`, mount, prefix, after))
		for _, v := range s.data()["secrets"].([]any) {
			n := v.(map[string]any)
			secrets = append(secrets, fmt.Sprint(n["path"], " ", n["status"], " ", n["keys"], " ", n["metadata"]))
		}
		for _, v := range s.data()["refused"].([]any) {
			refused = append(refused, v.(string))
		}
		if after = s.data()["next"].(string); after == "" {
			slices.Sort(refused)
			return secrets, refused
		}
	}
}

func (w *world) walked(tok, mount, prefix string) (secrets, refused []string) {
	w.Helper()
	one := func(path string) {
		n := map[string]any{}
		s := w.ask(tok, "GET", mount+"/subkeys/"+path+"?depth=1", "")
		if s.status == 403 {
			s = w.ask(tok, "GET", mount+"/data/"+path, "")
		}
		if s.status == 404 && s.data() == nil && path == prefix {
			return
		}
		var keys []any
		data, ok := s.data()["subkeys"].(map[string]any)
		if !ok {
			data, ok = s.data()["data"].(map[string]any)
		}
		if ok {
			keys = []any{}
		}
		for _, k := range slices.Sorted(maps.Keys(data)) {
			keys = append(keys, k)
		}
		if ok || path == "null" && s.status == 200 { // of which subkeys says {}, and data null
			n["keys"] = append([]any{}, keys...)
		}
		secrets = append(secrets, fmt.Sprint(path, " ", s.status, " ", n["keys"], " ", s.data()["metadata"]))
	}
	if prefix != "" {
		one(prefix)
	}
	folders := []string{prefix}
	for len(folders) > 0 {
		folder := folders[0]
		folders = folders[1:]
		s := w.ask(tok, "LIST", mount+"/metadata/"+folder, "")
		if s.status == 403 {
			refused = append(refused, folder)
			continue
		}
		keys, _ := s.data()["keys"].([]any)
		for _, k := range keys {
			path := strings.TrimPrefix(folder+"/"+k.(string), "/")
			if below, ok := strings.CutSuffix(path, "/"); ok {
				folders = append(folders, below)
			} else {
				one(path)
			}
		}
	}
	slices.SortFunc(secrets, func(a, b string) int {
		a, _, _ = strings.Cut(a, " 2")
		b, _, _ = strings.Cut(b, " 2")
		return strings.Compare(a, b)
	})
	slices.Sort(refused)
	return secrets, refused
}

// sys/names says what a walk over lists and subkeys says, whatever the policy.
func TestNamesAreLists(t *testing.T) {
	w, _ := manyWays(t)
	for _, rules := range []string{
		`path "*" { capabilities = ["read", "list"] }`,
		`path "prod/metadata/*" { capabilities = ["list"] } path "prod/subkeys/*" { capabilities = ["read"] }`,
		`path "prod/metadata/*" { capabilities = ["list"] } path "prod/data/*" { capabilities = ["read"] }`,
		`path "prod/metadata/*" { capabilities = ["list"] } path "prod/data/app/*" { capabilities = ["read"] } path "prod/subkeys/other" { capabilities = ["read"] }`,
		`path "prod/metadata/" { capabilities = ["list"] } path "prod/data/*" { capabilities = ["read"] }`,
		`path "prod/metadata/*" { capabilities = ["list"] } path "prod/metadata/app/web/" { capabilities = ["deny"] } path "prod/subkeys/*" { capabilities = ["read"] }`,
		`path "prod/metadata/app/" { capabilities = ["list"] } path "prod/subkeys/*" { capabilities = ["read"] }`,
		`path "prod/metadata/*" { capabilities = ["read"] } path "prod/subkeys/*" { capabilities = ["read"] }`,
		`path "prod/metadata/*" { capabilities = ["list"] } path "prod/data/*" { capabilities = ["read"] min_wrapping_ttl = "1m" }`,
	} {
		tok := w.token(rules)
		for _, prefix := range []string{"", "app", "app/web", "gone", "absent"} {
			want, refused := w.walked(tok, "prod", prefix)
			if slices.Contains(refused, prefix) {
				w.must(403, tok, "POST", "sys/names", fmt.Sprintf(`{"mount":"prod","prefix":%q}`, prefix))
				continue
			}
			got, no := w.named(tok, "prod", prefix)
			if !slices.Equal(got, want) || !slices.Equal(no, refused) {
				t.Errorf("%s below %q:\n%s\nwant\n%s\nrefused %q, want %q", rules, prefix, strings.Join(got, "\n"), strings.Join(want, "\n"), no, refused)
			}
		}
	}
	w.must(404, "root", "POST", "sys/names", `{"mount":"nowhere"}`)
	w.must(405, "root", "POST", "sys/names", `{"mount":"old"}`)
	w.must(405, "root", "POST", "sys/names", `{"mount":"sys"}`)
	w.must(404, "root", "POST", "sys/names", `{"mount":"team"}`)
	for _, body := range []string{``, `{}`, `{"mount":""}`, `{"mount":"prod/..","prefix":""}`, `{"mount":"prod","prefix":"a//b"}`, `{"mount":"prod","after":"\u0001"}`} {
		if s := w.ask("root", "POST", "sys/names", body); s.status < 400 || s.status >= 500 {
			t.Errorf("%s: %d %s", body, s.status, s.raw)
		}
	}
}

// Thousands of names come in a few answers, each once.
func TestNamesInPages(t *testing.T) {
	w := newWorld(t)
	w.must(204, "root", "POST", "sys/mounts/prod", `{"type":"kv-v2"}`)
	var want []string
	for i := range 10 {
		big := fmt.Sprintf(`{"data":{"A":%q}}`, strings.Repeat("x", 3<<20))
		path := fmt.Sprintf("big/%d", i)
		w.must(200, "root", "POST", "prod/data/"+path, big)
		want = append(want, path)
	}
	got, _ := w.named("root", "prod", "big")
	for i, line := range got {
		if i >= len(want) || !strings.HasPrefix(line, want[i]+" 200 [A] ") {
			t.Errorf("%d: %s", i, line)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d names", len(got))
	}
}

func BenchmarkBundle(b *testing.B) {
	w := newWorld(b)
	w.must(204, "root", "POST", "sys/mounts/prod", `{"type":"kv-v2"}`)
	var paths []string
	for i := range 50 {
		p := fmt.Sprintf("prod/data/service-%02d/settings", i)
		paths = append(paths, p)
		w.must(200, "root", "POST", p, fmt.Sprintf(`{"data":{"PASSWORD":%q}}`, strings.Repeat("x", 1000)))
	}
	w.must(204, "root", "PUT", "sys/policies/acl/one", `{"policy":"path \"prod/data/*\" { capabilities = [\"read\"] }"}`)
	tok := w.must(200, "root", "POST", "auth/token/create-orphan", `{"policies":["one"]}`).body["auth"].(map[string]any)["client_token"].(string)
	body := bundleOf(paths...)
	ask := func(b *testing.B, method, path, body string) {
		req := httptest.NewRequest(method, "/v1/"+path, strings.NewReader(body))
		req.Header.Set("X-Vault-Token", tok)
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, req)
		if rec.Code != 200 {
			b.Fatal(rec.Code, rec.Body)
		}
	}
	b.Run("bundle", func(b *testing.B) {
		for b.Loop() {
			ask(b, "POST", "sys/bundle", body)
		}
	})
	b.Run("gets", func(b *testing.B) {
		for b.Loop() {
			for _, p := range paths {
				ask(b, "GET", p, "")
			}
		}
	})
}
