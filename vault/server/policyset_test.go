package server_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// set is the body that changes policies: NAME, the text that is there, and the new
// one; "-" for none.
func set(changes ...[3]string) string {
	var list []map[string]any
	for _, c := range changes {
		ch := map[string]any{"name": c[0], "was": ""}
		if c[1] != "-" {
			sum := sha256.Sum256([]byte(c[1]))
			ch["was"] = hex.EncodeToString(sum[:])
		}
		if c[2] == "-" {
			ch["remove"] = true
		} else {
			ch["policy"] = c[2]
		}
		list = append(list, ch)
	}
	b, _ := json.Marshal(map[string]any{"changes": list})
	return string(b)
}

func (w *world) policyText(name string) string {
	w.Helper()
	s := w.ask("root", "GET", "sys/policies/acl/"+name, "")
	text, _ := s.data()["policy"].(string)
	return text
}

// Several policies change as one: all of them, or none and nothing else.
func TestPolicySet(t *testing.T) {
	w := newWorld(t)
	a, b := `path "a" { capabilities = ["read"] }`, `path "b" { capabilities = ["read"] }`
	w.must(204, "root", "POST", "sys/policy-set", set([3]string{"one", "-", a}, [3]string{"two", "-", b}))
	before := len(w.log.all())
	for name, body := range map[string]string{
		"the second is not what it was": set([3]string{"one", a, b}, [3]string{"two", a, a}),
		"one is there already":          set([3]string{"one", a, b}, [3]string{"two", "-", a}),
		"one is not there":              set([3]string{"one", a, b}, [3]string{"three", a, a}),
		"one is removed twice":          set([3]string{"one", a, "-"}, [3]string{"one", a, "-"}),
		"the second is no policy":       set([3]string{"one", a, b}, [3]string{"two", b, "path {"}),
		"the second has no name":        set([3]string{"one", a, b}, [3]string{"", "-", a}),
		"a name in upper case":          set([3]string{"one", a, b}, [3]string{"Two", b, a}),
		"root":                          set([3]string{"one", a, b}, [3]string{"root", "-", a}),
		"response-wrapping":             set([3]string{"one", a, b}, [3]string{"response-wrapping", "-", a}),
		"default goes":                  set([3]string{"one", a, b}, [3]string{"default", w.policyText("default"), "-"}),
		"an empty text":                 set([3]string{"one", a, b}, [3]string{"two", b, ""}),
		"nothing":                       `{"changes":[]}`,
		"no list":                       `{"changes":"one"}`,
	} {
		if s := w.ask("root", "POST", "sys/policy-set", body); s.status != 400 {
			t.Errorf("%s: %d %s", name, s.status, s.raw)
		}
		if w.policyText("one") != a || w.policyText("two") != b {
			t.Fatalf("%s: something was written", name)
		}
	}
	if s := w.must(400, "root", "POST", "sys/policy-set", set([3]string{"two", a, a})); !strings.Contains(s.raw, "check-and-set parameter did not match the current version") {
		t.Error(s.raw)
	}
	w.must(413, "root", "POST", "sys/policy-set", set(make([][3]string, 129)...))
	if len(w.log.all()) == before {
		t.Error("nothing was recorded")
	}
	before = len(w.log.all())
	w.must(204, "root", "POST", "sys/policy-set", set([3]string{"one", a, "-"}, [3]string{"two", b, a}, [3]string{"three", "-", b}))
	if w.policyText("one") != "" || w.policyText("two") != a || w.policyText("three") != b {
		t.Error("not all was done")
	}
	entries := w.log.all()[before : before+2]
	for _, e := range entries {
		if d := e.Request.Data; d == nil || fmt.Sprint(d.Policies) != "[one two three]" || fmt.Sprint(d.Paths) != "[sys/policies/acl/one sys/policies/acl/two sys/policies/acl/three]" || len(d.PolicySHA256) != 64 {
			t.Errorf("%+v", e.Request.Data)
		}
	}
}

// Each policy is decided on as a request of its own for it.
func TestPolicySetRights(t *testing.T) {
	w := newWorld(t)
	a, b := `path "a" { capabilities = ["read"] }`, `path "b" { capabilities = ["read"] }`
	w.must(204, "root", "POST", "sys/policy-set", set([3]string{"team-a", "-", a}, [3]string{"ops", "-", a}))
	tok := w.token(`
		path "sys/policies/acl/team-*" { capabilities = ["read", "update"] }
		path "sys/policies/acl/team-fixed" { capabilities = ["update"] allowed_parameters = { policy = ["# fixed"] } }
		path "sys/policy-set" { capabilities = ["update"] }`)
	w.must(204, tok, "POST", "sys/policy-set", set([3]string{"team-a", a, b}))
	for _, body := range []string{
		set([3]string{"team-a", b, a}, [3]string{"ops", a, b}),
		set([3]string{"team-a", b, "-"}),
		set([3]string{"team-fixed", "-", a}),
		set([3]string{"root", "-", a}),
	} {
		if s := w.must(403, tok, "POST", "sys/policy-set", body); !strings.Contains(s.raw, "permission denied") {
			t.Error(s.raw)
		}
	}
	w.must(204, tok, "POST", "sys/policy-set", set([3]string{"team-fixed", "-", "# fixed"}))
	s := w.must(200, tok, "GET", "sys/policy-set", "").data()
	if fmt.Sprint(s) != fmt.Sprint(map[string]any{"names": nil, "policies": map[string]any{"team-a": b}}) {
		t.Errorf("%v", s)
	}
	s = w.must(200, "root", "GET", "sys/policy-set", "").data()
	if p := s["policies"].(map[string]any); p["ops"] != a || p["default"] == nil || p["root"] != nil || !strings.Contains(fmt.Sprint(s["names"]), "[default one ops root team-a team-fixed]") {
		t.Errorf("%v", s)
	}
	if s := w.must(200, w.token(``+`path "x" { capabilities = ["deny"] }`), "GET", "sys/policy-set", "").data(); fmt.Sprint(s) != fmt.Sprint(map[string]any{"names": nil, "policies": map[string]any{}}) {
		t.Errorf("%v", s)
	}
}

// Versions and check-and-set, as OpenBao has them.
func TestPolicyVersions(t *testing.T) {
	w := newWorld(t)
	write := func(status int, body string) {
		t.Helper()
		w.must(status, "root", "PUT", "sys/policies/acl/p", body)
	}
	version := func(want string) {
		t.Helper()
		d := w.must(200, "root", "GET", "sys/policies/acl/p", "").data()
		if fmt.Sprint(d["version"]) != want || d["modified"] == nil {
			t.Errorf("%v, want version %s", d, want)
		}
	}
	write(400, `{"policy":"# 1","cas":1}`)
	write(204, `{"policy":"# 1","cas":-1}`)
	write(400, `{"policy":"# 2","cas":-1}`)
	version("1")
	write(204, `{"policy":"# 2","cas":"1"}`)
	version("2")
	write(400, `{"policy":"# 3","cas":1}`)
	write(204, `{"policy":"# 3"}`)
	version("3")
	write(400, `{"policy":"# 4","cas_required":true}`)
	write(204, `{"policy":"# 4","cas_required":true,"cas":3}`)
	write(400, `{"policy":"# 5"}`)
	write(204, `{"policy":"# 5","cas_required":false,"cas":4}`)
	write(204, `{"policy":"# 6"}`)
	version("6")
}
