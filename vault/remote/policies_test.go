package remote_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"envrun/vault"
	"envrun/vault/remote"
	"envrun/vault/vaulttest/hashivault"
	"envrun/vault/wire"
)

// plainPolicies is a server that has policies as Vault has them, or as OpenBao with
// versions. refuse and before are asked before each write.
type plainPolicies struct {
	mu       sync.Mutex
	texts    map[string]string
	versions map[string]int64 // nil: not counted
	refuse   func(name string) bool
	before   func(name string)
	written  []string
}

func (p *plainPolicies) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name, ok := strings.CutPrefix(r.URL.Path, "/v1/sys/policies/acl/")
	reply := func(status int, v any) {
		b, _ := json.Marshal(v)
		answer(status, string(b))(w, r)
	}
	text, there := p.texts[name]
	switch {
	case r.URL.Path == "/v1/sys/policies/acl":
		reply(200, map[string]any{"data": wire.Keys{Keys: slices.Collect(maps.Keys(p.texts))}})
	case !ok:
		answer(404, `{"errors":["1 error occurred:\n\t* unsupported path\n\n"]}`)(w, r)
	case r.Method == http.MethodGet && !there:
		answer(404, `{"errors":[]}`)(w, r)
	case r.Method == http.MethodGet:
		reply(200, map[string]any{"data": wire.Policy{Name: name, Policy: text, Version: p.versions[name]}})
	case p.refuse != nil && p.refuse(name):
		answer(403, `{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`)(w, r)
	default:
		if p.before != nil {
			p.before(name)
		}
		var in wire.PolicyWrite
		_ = json.NewDecoder(r.Body).Decode(&in)
		if in.CAS != nil && p.versions != nil && int64(*in.CAS) != p.versions[name] {
			answer(400, `{"errors":["check-and-set parameter did not match the current version"]}`)(w, r)
			return
		}
		p.written = append(p.written, name)
		if r.Method == http.MethodDelete {
			delete(p.texts, name)
		} else {
			p.texts[name] = in.Policy
			if p.versions != nil {
				p.versions[name]++
			}
		}
		answer(204, "")(w, r)
	}
}

func threeChanges() []remote.PolicyChange {
	return []remote.PolicyChange{{Name: "a", Was: "# a", Now: "# A"}, {Name: "b", Now: "# B", New: true}, {Name: "c", Was: "# c", Remove: true}}
}

func TestChangePolicies(t *testing.T) {
	for name, versions := range map[string]map[string]int64{"as Vault": nil, "as OpenBao": {"a": 3, "c": 1}} {
		t.Run(name, func(t *testing.T) {
			p := &plainPolicies{texts: map[string]string{"a": "# a", "c": "# c", "d": "# d"}, versions: versions}
			v := serve(t, p.ServeHTTP)
			set, err := v.PolicySet(t.Context(), []string{"a", "b"})
			if err != nil || set.Whole || !slices.Equal(set.Names, []string{"a", "c", "d"}) || len(set.Texts) != 3 || set.Texts["a"] != "# a" {
				t.Fatalf("%+v %v", set, err)
			}
			whole, err := v.ChangePolicies(t.Context(), threeChanges())
			if err != nil || whole || !slices.Equal(p.written, []string{"a", "b", "c"}) || fmt.Sprint(p.texts) != "map[a:# A b:# B d:# d]" {
				t.Errorf("%v %v %v %v", whole, err, p.written, p.texts)
			}
		})
	}
}

// What somebody changed since it was shown is noticed before anything is written.
func TestChangePoliciesConflict(t *testing.T) {
	for name, texts := range map[string]map[string]string{
		"a is another": {"a": "# other", "c": "# c"}, "a is gone": {"c": "# c"}, "b is there": {"a": "# a", "b": "", "c": "# c"}, "c is another": {"a": "# a", "c": "# C"},
	} {
		p := &plainPolicies{texts: texts}
		_, err := serve(t, p.ServeHTTP).ChangePolicies(t.Context(), threeChanges())
		var e *remote.PolicyError
		if vault.KindOf(err) != vault.KindConflict || !errors.As(err, &e) || e.Name != name[:1] || len(p.written) > 0 {
			t.Errorf("%s: %v, written %v", name, err, p.written)
		}
	}
}

// A change that stops in between says what was done and what was not.
func TestChangePoliciesPartly(t *testing.T) {
	for name, c := range map[string]struct {
		server *plainPolicies
		kind   vault.Kind
	}{
		"refused":                    {&plainPolicies{refuse: func(name string) bool { return name == "b" }}, vault.KindDenied},
		"changed while a is written": {&plainPolicies{}, vault.KindConflict},
	} {
		p := c.server
		p.texts = map[string]string{"a": "# a", "c": "# c"}
		if c.kind == vault.KindConflict {
			p.before = func(string) { p.texts["b"] = "# somebody's" }
		}
		_, err := serve(t, p.ServeHTTP).ChangePolicies(t.Context(), threeChanges())
		var e *remote.PolicyPartialError
		if !errors.As(err, &e) || vault.KindOf(err) != c.kind || !slices.Equal(e.Done, []string{"a"}) || e.Failed != "b" || !slices.Equal(e.Left, []string{"c"}) {
			t.Errorf("%s: %v", name, err)
		}
		if !slices.Equal(p.written, []string{"a"}) {
			t.Errorf("%s: written %v", name, p.written)
		}
	}
	// Where versions are counted, a change between looking and writing is noticed too.
	p := &plainPolicies{texts: map[string]string{"a": "# a"}, versions: map[string]int64{"a": 1}}
	p.before = func(string) { p.texts["a"], p.versions["a"] = "# somebody's", 2 }
	if _, err := serve(t, p.ServeHTTP).ChangePolicies(t.Context(), threeChanges()[:1]); vault.KindOf(err) != vault.KindConflict || p.texts["a"] != "# somebody's" {
		t.Errorf("%v %v", err, p.texts)
	}
}

// envrund gets all changes in one request, and a conflict names the policy.
func TestChangePoliciesWhole(t *testing.T) {
	var got []wire.PolicyChanges
	v := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(wire.OwnHeader, "1")
		var in wire.PolicyChanges
		if r.URL.Path != "/v1/sys/policy-set" || json.NewDecoder(r.Body).Decode(&in) != nil {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		got = append(got, in)
		if len(got) > 1 {
			answer(400, `{"errors":["policy \"c\": check-and-set parameter did not match the current version"]}`)(w, r)
			return
		}
		answer(204, "")(w, r)
	})
	if whole, err := v.ChangePolicies(t.Context(), threeChanges()); err != nil || !whole {
		t.Fatal(whole, err)
	}
	ch := got[0].Changes
	if len(ch) != 3 || len(ch[0].Was) != 64 || ch[0].Policy != "# A" || ch[1].Was != "" || ch[1].Policy != "# B" || !ch[2].Remove || len(ch[2].Was) != 64 || ch[2].Was == ch[0].Was {
		t.Errorf("%+v", ch)
	}
	var e *remote.PolicyError
	if _, err := v.ChangePolicies(t.Context(), threeChanges()); vault.KindOf(err) != vault.KindConflict || !errors.As(err, &e) || e.Name != "c" {
		t.Errorf("%v", err)
	}
}

// A name that is none of a policy is asked for nowhere.
func TestPolicyNames(t *testing.T) {
	v := serve(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("asked for %s", r.URL) })
	for _, name := range []string{"", ".", "..", "a/b", "../mounts"} {
		_, err := v.Policy(t.Context(), name)
		wantKind(t, err, vault.KindInvalid)
	}
}

func TestLivePolicies(t *testing.T) {
	s := hashivault.Start(t)
	v := fresh(t, s)
	const odd = "live-ö%41?x"
	changes := []remote.PolicyChange{{Name: "live-a", Now: "# a\n", New: true}, {Name: odd, Now: "# odd", New: true}}
	if whole, err := v.ChangePolicies(t.Context(), changes); err != nil || whole {
		t.Fatal(whole, err)
	}
	set, err := v.PolicySet(t.Context(), []string{"live-a", "live-none"})
	if err != nil || set.Texts["live-a"] != "# a\n" || set.Texts[odd] != "# odd" || !slices.Contains(set.Names, odd) || slices.Contains(set.Names, "live-none") {
		t.Fatalf("%+v %v", set, err)
	}
	if _, err := v.ChangePolicies(t.Context(), changes); vault.KindOf(err) != vault.KindConflict {
		t.Error(err)
	}
	must(t, s, "POST", "auth/token/roles/live", map[string]any{"allowed_policies": []string{"live-a", "default"}})
	if roles, complete, err := v.RolesOf(t.Context(), "live-a"); err != nil || !complete || !slices.Equal(roles, []string{"live"}) {
		t.Error(roles, complete, err)
	}
	if _, err := v.ChangePolicies(t.Context(), []remote.PolicyChange{{Name: odd, Was: "# odd", Remove: true}, {Name: "live-a", Was: "# a\n", Now: "# A"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Policy(t.Context(), odd); vault.KindOf(err) != vault.KindNotFound {
		t.Error(err)
	}
	if p, err := v.Policy(t.Context(), "live-a"); err != nil || p.Policy != "# A" {
		t.Error(p, err)
	}
	if held, err := v.HeldPolicies(t.Context()); err != nil || !slices.Equal(held, []string{"root"}) {
		t.Error(held, err)
	}
}
