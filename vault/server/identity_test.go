package server_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"envrun/auth/oidc/oidctest"
)

// accessor is that of a way to sign in.
func (w *world) accessor(mount string) string {
	w.Helper()
	return w.must(200, "root", "GET", "sys/auth/"+mount, "").data()["accessor"].(string)
}

// external makes an external group with policies, called alias in the claims of a mount.
func (w *world) external(name, policies, mount, alias string) (id string) {
	w.Helper()
	id = w.must(200, "root", "POST", "identity/group", fmt.Sprintf(`{"name":%q,"type":"external","policies":%q}`, name, policies)).data()["id"].(string)
	w.must(200, "root", "POST", "identity/group-alias", fmt.Sprintf(`{"name":%q,"mount_accessor":%q,"canonical_id":%q}`, alias, w.accessor(mount), id))
	return id
}

func (w *world) write(policy, text string) {
	w.Helper()
	w.must(204, "root", "PUT", "sys/policies/acl/"+policy, fmt.Sprintf(`{"policy":%q}`, text))
}

// entityOf is the entity of a token.
func (w *world) entityOf(token string) string {
	w.Helper()
	return w.must(200, token, "GET", "auth/token/lookup-self", "").data()["entity_id"].(string)
}

func (s said) auth(t testing.TB) (policies, ofToken, ofIdentity []string, entity string) {
	t.Helper()
	var a struct {
		Auth struct {
			Policies []string `json:"policies"`
			Token    []string `json:"token_policies"`
			Identity []string `json:"identity_policies"`
			Entity   string   `json:"entity_id"`
		}
	}
	if err := json.Unmarshal([]byte(s.raw), &a); err != nil || s.status != 200 {
		t.Fatalf("%d %s", s.status, s.raw)
	}
	return a.Auth.Policies, a.Auth.Token, a.Auth.Identity, a.Auth.Entity
}

// Whoever signs in has an entity, and the policies of the groups that the issuer says,
// by the table of group aliases and by nothing else.
func TestGroupsGivePolicies(t *testing.T) {
	w := newSignInWorld(t)
	w.write("eng", `path "secret/data/eng/*" { capabilities = ["read"] }`)
	w.write("ops", `path "secret/data/ops" { capabilities = ["read"] }`)
	group := w.external("engineering", "eng", "jwt", "eng")
	in := func(groups ...any) said {
		return w.login("ci", w.issuer.Sign(w.good().With(oidctest.Claims{"groups": groups})))
	}
	s := in("eng", "sales", "ops", "root")
	all, own, given, entity := s.auth(t)
	if fmt.Sprint(all, own, given) != "[default dev eng] [default dev] [eng]" || entity == "" {
		t.Errorf("%v %v %v, entity %q", all, own, given, entity)
	}
	token := s.token()
	info := w.must(200, token, "GET", "auth/token/lookup-self", "").data()
	if info["entity_id"] != entity || fmt.Sprint(info["identity_policies"], info["policies"]) != "[eng] [default dev]" {
		t.Errorf("looked up: %v", info)
	}
	out := w.log.all()[len(w.log.all())-1]
	if out.Auth.EntityID != entity || !slices.Contains(out.Auth.Policies, "eng") {
		t.Errorf("the audit log says %+v", out.Auth)
	}
	w.write("dev", `path "secret/data/dev" { capabilities = ["read"] }`)
	w.must(404, token, "GET", "secret/data/eng/x", "")
	w.must(403, token, "GET", "secret/data/ops", "")

	// Another policy of the group, and none: the token has it with its next request.
	w.must(200, "root", "POST", "identity/group/id/"+group, `{"policies":["eng","ops"]}`)
	w.must(404, token, "GET", "secret/data/ops", "")
	_, _, given, _ = w.must(200, token, "POST", "auth/token/renew-self", "").auth(t)
	if fmt.Sprint(given) != "[eng ops]" {
		t.Errorf("renewed with %v", given)
	}
	w.must(200, "root", "POST", "identity/group/id/"+group, `{"policies":[]}`)
	w.must(403, token, "GET", "secret/data/ops", "")
	w.must(403, token, "GET", "secret/data/eng/x", "")
	w.must(200, "root", "POST", "identity/group/id/"+group, `{"policies":["eng"]}`)
	w.must(404, token, "GET", "secret/data/eng/x", "")

	// The same person again, who has left: all their tokens have left.
	_, _, given, again := in("sales").auth(t)
	if again != entity || given != nil {
		t.Errorf("entity %s, not %s; %v", again, entity, given)
	}
	w.must(403, token, "GET", "secret/data/eng/x", "")
	in("eng")
	w.must(404, token, "GET", "secret/data/eng/x", "")

	// The alias is called otherwise, is removed, or the group is.
	alias := w.must(200, "root", "GET", "identity/group/id/"+group, "").data()["alias"].(map[string]any)["id"].(string)
	w.must(200, "root", "POST", "identity/group-alias/id/"+alias, `{"name":"engineers"}`)
	w.must(403, token, "GET", "secret/data/eng/x", "")
	in("engineers")
	w.must(404, token, "GET", "secret/data/eng/x", "")
	w.must(204, "root", "DELETE", "identity/group-alias/id/"+alias, "")
	w.must(403, token, "GET", "secret/data/eng/x", "")
	w.must(204, "root", "DELETE", "identity/group/id/"+group, "")
	w.must(403, token, "GET", "secret/data/eng/x", "")
}

// A33, A32 over HTTP: whatever is in the groups claim, nobody gets a policy that no
// group alias gives, and nobody root.
func TestGroupClaims(t *testing.T) {
	w := newSignInWorld(t)
	w.write("eng", `path "secret/data/eng" { capabilities = ["read"] }`)
	w.external("engineering", "eng", "jwt", "eng")
	long := strings.Repeat("x", 300)
	many := make([]string, 2000)
	for i := range many {
		many[i] = fmt.Sprintf("group-%d", i)
	}
	for name, groups := range map[string]any{
		"a text": "eng", "nested": []any{[]any{"eng"}}, "numbers": []any{1, 2}, "null": nil, "empty": "", "root": []any{"root"}, "ROOT": []any{"ROOT "},
		"root with a zero-width space": []any{"root\u200b"}, "full width": []any{"ｒｏｏｔ"}, "not composed": []any{"e\u0301ng"}, "long": []any{long},
		"case": []any{"ENG"}, "space": []any{"eng "}, "policy": []any{"dev", "default", "response-wrapping"}, "object": map[string]any{"eng": true}, "many": many,
	} {
		t.Run(name, func(t *testing.T) {
			s := w.login("ci", w.issuer.Sign(w.good().With(oidctest.Claims{"groups": groups})))
			if s.status != 200 {
				if s.status != 400 {
					t.Errorf("%d %s", s.status, s.raw)
				}
				return
			}
			all, _, given, _ := s.auth(t)
			if given != nil || fmt.Sprint(all) != "[default dev]" {
				t.Errorf("policies %v, of the entity %v", all, given)
			}
		})
	}
	// As many and as long as they may be.
	for i := range many[:600] {
		many[i] = fmt.Sprintf("group-%d", i)
	}
	for i := range many[:8] {
		many[i] = fmt.Sprintf("%0*d", 256, i)
	}
	if _, _, given, _ := w.login("ci", w.issuer.Sign(w.good().With(oidctest.Claims{"groups": append(many[:600], "eng")}))).auth(t); fmt.Sprint(given) != "[eng]" {
		t.Errorf("of 601 groups one gives %v", given)
	}
}

// root and response-wrapping are given by no entity and no group, however they are spelt.
func TestNobodyIsRoot(t *testing.T) {
	w := newSignInWorld(t)
	for _, name := range []string{"root", "ROOT", " Root ", "\troot\n", "response-wrapping", "RESPONSE-WRAPPING"} {
		for path, body := range map[string]string{"identity/entity": `{"name":"e","policies":%s}`, "identity/group": `{"name":"g","policies":%s}`} {
			list, _ := json.Marshal([]string{"dev", name})
			w.must(400, "root", "POST", path, fmt.Sprintf(body, list))
			one, _ := json.Marshal(name)
			w.must(400, "root", "POST", path, fmt.Sprintf(body, one))
		}
	}
	// What only looks like it is a name of no policy.
	for _, name := range []string{"root\u200b", "ro ot", "root\u0000"} {
		list, _ := json.Marshal([]string{name})
		w.must(400, "root", "POST", "identity/group", fmt.Sprintf(`{"name":"g","policies":%s}`, list))
	}
	w.external("wide", "ｒｏｏｔ", "jwt", "eng")
	token := w.login("ci", w.issuer.Sign(w.good().With(oidctest.Claims{"groups": []string{"eng"}}))).token()
	w.must(403, token, "PUT", "sys/policies/acl/x", `{"policy":"path \"a\" {}"}`)
}

// A43: an entity that is disabled uses nothing and renews nothing, nor does one that is gone.
func TestEntityDisabled(t *testing.T) {
	for name, end := range map[string]func(w *signInWorld, id string){
		"disabled": func(w *signInWorld, id string) {
			w.must(204, "root", "POST", "identity/entity/id/"+id, `{"disabled":true}`)
		},
		"deleted": func(w *signInWorld, id string) { w.must(204, "root", "DELETE", "identity/entity/id/"+id, "") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newSignInWorld(t)
			w.write("dev", `path "auth/token/create" { capabilities = ["update"] }`)
			token := w.token("ci", nil)
			child := w.must(200, token, "POST", "auth/token/create", `{"policies":["dev"]}`).token()
			info := w.must(200, token, "GET", "auth/token/lookup-self", "").data()
			end(w, info["entity_id"].(string))
			for _, text := range []string{token, child} {
				w.must(403, text, "GET", "auth/token/lookup-self", "")
				w.must(403, text, "POST", "auth/token/renew-self", "")
				if s := w.ask("root", "POST", "auth/token/renew", `{"token":"`+text+`"}`); s.status != 403 {
					t.Errorf("renewed by another: %d %s", s.status, s.raw)
				}
			}
			if s := w.ask("root", "POST", "auth/token/renew-accessor", fmt.Sprintf(`{"accessor":%q}`, info["accessor"])); s.status != 403 {
				t.Errorf("renewed by its accessor: %d %s", s.status, s.raw)
			}
			if got := fmt.Sprint(w.must(200, "root", "POST", "sys/capabilities", `{"token":"`+token+`","paths":["auth/token/create"]}`).data()["capabilities"]); got != "[deny]" {
				t.Errorf("it may still %s", got)
			}
			before := w.accessors()
			s := w.login("ci", w.issuer.Sign(w.good()))
			switch {
			case name == "disabled" && (s.status != 403 || w.accessors() != before):
				t.Errorf("signed in: %d %s", s.status, s.raw)
			case name == "deleted" && (s.status != 200 || w.entityOf(s.token()) == info["entity_id"]):
				t.Errorf("signed in as the one that is gone: %d %s", s.status, s.raw)
			}
			if name == "disabled" {
				w.must(204, "root", "POST", "identity/entity/id/"+info["entity_id"].(string), `{"disabled":false}`)
				w.must(200, token, "POST", "auth/token/renew-self", "")
			}
		})
	}
}

// What entities give, groups in groups, and what the templates of policies are filled with.
func TestEntityPolicies(t *testing.T) {
	w := newSignInWorld(t)
	w.write("mine", `path "secret/data/people/{{identity.entity.name}}" { capabilities = ["read"] }
		path "secret/data/team/{{identity.entity.metadata.team}}" { capabilities = ["read"] }
		path "secret/data/alias/{{identity.entity.aliases.`+w.accessor("jwt")+`.name}}" { capabilities = ["read"] }
		path "secret/data/group/{{identity.groups.names.outer.metadata.floor}}" { capabilities = ["read"] }`)
	w.write("dev", `path "secret/nothing" { capabilities = ["read"] }`)
	w.write("far", `path "secret/data/far" { capabilities = ["read"] }`)
	token := w.token("ci", nil)
	id := w.entityOf(token)
	w.must(204, "root", "POST", "identity/entity/id/"+id, `{"name":"alice","policies":["MINE"],"metadata":{"team":"core"}}`)
	w.must(404, token, "GET", "secret/data/people/alice", "")
	w.must(403, token, "GET", "secret/data/people/bob", "")
	w.must(404, token, "GET", "secret/data/team/core", "")
	w.must(404, token, "GET", "secret/data/alias/alice", "")
	w.must(403, token, "GET", "secret/data/group/3", "")
	w.must(200, token, "GET", "identity/entity/id/"+id, "") // the default policy
	w.must(200, token, "GET", "identity/entity/name/alice", "")
	w.must(403, token, "GET", "identity/entity/id/other", "")

	inner := w.must(200, "root", "POST", "identity/group", fmt.Sprintf(`{"name":"inner","member_entity_ids":[%q]}`, id)).data()["id"].(string)
	outer := w.must(200, "root", "POST", "identity/group", fmt.Sprintf(`{"name":"outer","policies":"far","metadata":{"floor":"3"},"member_group_ids":[%q]}`, inner)).data()["id"].(string)
	w.must(404, token, "GET", "secret/data/far", "")
	w.must(404, token, "GET", "secret/data/group/3", "")
	e := w.must(200, "root", "GET", "identity/entity/id/"+id, "").data()
	if fmt.Sprint(e["direct_group_ids"], e["inherited_group_ids"]) != fmt.Sprintf("[%s] [%s]", inner, outer) {
		t.Errorf("in groups %v, %v", e["direct_group_ids"], e["inherited_group_ids"])
	}
	// No circles.
	w.must(400, "root", "POST", "identity/group/id/"+inner, fmt.Sprintf(`{"member_group_ids":[%q]}`, outer))
	w.must(400, "root", "POST", "identity/group/id/"+inner, fmt.Sprintf(`{"member_group_ids":[%q]}`, inner))
	w.must(204, "root", "DELETE", "identity/group/id/"+inner, "")
	w.must(403, token, "GET", "secret/data/far", "")

	// Values that are patterns, or more than one part of a path, open nothing.
	for _, value := range []string{"*", "+", "../x", "a/b", "core/*", "/", "a\x00b"} {
		body, _ := json.Marshal(map[string]any{"metadata": map[string]string{"team": value}})
		w.must(204, "root", "POST", "identity/entity/id/"+id, string(body))
		for _, path := range []string{"secret/data/team/core", "secret/data/team/a/b", "secret/data/team/core/x", "secret/data/x"} {
			w.must(403, token, "GET", path, "")
		}
	}
}

// An alias is of its issuer: another one who says the same name is somebody else. One
// that is moved takes the next sign-in with it.
func TestAliases(t *testing.T) {
	w := newSignInWorld(t)
	first := w.entityOf(w.token("ci", nil))
	w.must(204, "root", "POST", "sys/auth/other", `{"type":"jwt"}`)
	if w.entityOf(w.token("ci", oidctest.Claims{"sub": "bob"})) == first {
		t.Error("two people are one")
	}
	carol := w.must(200, "root", "POST", "identity/entity", `{"name":"carol"}`).data()["id"].(string)
	accessor := w.accessor("jwt")
	alias := w.must(200, "root", "POST", "identity/entity-alias", fmt.Sprintf(`{"name":"alice","mount_accessor":%q,"canonical_id":%q}`, accessor, carol)).data()["id"].(string)
	if got := w.entityOf(w.token("ci", nil)); got != carol {
		t.Errorf("signs in as %s, not %s", got, carol)
	}
	w.must(200, "root", "GET", "identity/entity-alias/id/"+alias, "")
	w.must(400, "root", "POST", "identity/entity-alias", fmt.Sprintf(`{"name":"alice2","mount_accessor":%q,"canonical_id":%q}`, accessor, carol))
	w.must(400, "root", "POST", "identity/entity-alias", `{"name":"alice","mount_accessor":"auth_jwt_00000000"}`)
	w.must(400, "root", "POST", "identity/entity-alias", fmt.Sprintf(`{"name":"alice","mount_accessor":%q}`, w.accessor("other")))

	// The mount has another issuer.
	old := w.issuer
	w.issuer = oidctest.New(t)
	w.config("")
	if got := w.entityOf(w.token("ci", nil)); got == carol || got == first {
		t.Error("the name of another issuer is the same person")
	}
	w.issuer = old
	w.config("")
	if got := w.entityOf(w.token("ci", nil)); got != carol {
		t.Error("the old issuer's is somebody else now")
	}
	w.must(204, "root", "DELETE", "identity/entity-alias/id/"+alias, "")
	w.must(404, "root", "GET", "identity/entity-alias/id/"+alias, "")
	if got := w.entityOf(w.token("ci", nil)); got == carol {
		t.Error("signs in with an alias that is gone")
	}
	w.must(204, "root", "DELETE", "sys/auth/jwt", "")
	w.must(404, "root", "LIST", "identity/entity-alias/id", "")
}

// Names, metadata and lists beyond their bounds are refused, in words.
func TestIdentityLimits(t *testing.T) {
	w := newWorld(t)
	meta := map[string]string{}
	for i := range 65 {
		meta[fmt.Sprint(i)] = "x"
	}
	names := make([]string, 65)
	for i := range names {
		names[i] = fmt.Sprint("p", i)
	}
	for _, what := range []string{"entity", "group"} {
		for _, body := range []map[string]any{
			{"name": strings.Repeat("x", 513)}, {"name": "a\nb"}, {"name": "a\x00"}, {"metadata": meta}, {"metadata": map[string]string{"k": strings.Repeat("x", 513)}},
			{"metadata": map[string]string{strings.Repeat("k", 129): "x"}}, {"policies": names}, {"policies": []string{"a b"}}, {"policies": []string{strings.Repeat("x", 200)}},
			{"id": "nobody"},
		} {
			raw, _ := json.Marshal(body)
			if s := w.ask("root", "POST", "identity/"+what, string(raw)); s.status != 400 || !strings.Contains(s.raw, `"errors":["`) {
				t.Errorf("%s %.80s: %d %s", what, raw, s.status, s.raw)
			}
		}
		for _, name := range []string{"a/b", "../x", "ümläut", "*", "a b", "'; drop table", "<script>", "%2f"} {
			raw, _ := json.Marshal(map[string]string{"name": name})
			w.must(200, "root", "POST", "identity/"+what, string(raw))
			look := w.must(200, "root", "POST", "identity/lookup/"+what, string(raw)).data()
			if look["name"] != name {
				t.Errorf("%s %q is found as %q", what, name, look["name"])
			}
		}
	}
	for _, body := range []string{`{"type":"both"}`, `{"member_entity_ids":["nobody"]}`, `{"member_group_ids":["nobody"]}`, `{"type":"external","member_entity_ids":["x"]}`} {
		w.must(400, "root", "POST", "identity/group", body)
	}
	// Groups in groups have an end.
	last := ""
	deep := 0
	for ; deep < 40; deep++ {
		s := w.ask("root", "POST", "identity/group", fmt.Sprintf(`{"name":"deep %d","member_group_ids":%q}`, deep, last))
		if s.status == 400 {
			break
		}
		last = s.data()["id"].(string)
	}
	if deep != 17 {
		t.Errorf("%d groups in each other", deep)
	}
}

// Many who sign in as the same new person at once are one person.
func TestOneEntity(t *testing.T) {
	w := newSignInWorld(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[string]bool{}
	for range 20 {
		wg.Go(func() {
			s := w.login("ci", w.issuer.Sign(w.good().With(oidctest.Claims{"sub": "new"})))
			var a struct {
				Auth struct {
					Entity string `json:"entity_id"`
				}
			}
			_ = json.Unmarshal([]byte(s.raw), &a)
			mu.Lock()
			defer mu.Unlock()
			seen[a.Auth.Entity] = true
		})
	}
	wg.Wait()
	if len(seen) != 1 || seen[""] {
		t.Errorf("%d entities", len(seen))
	}
}

// What an entity costs: signing in again, and reading with its token, where there are
// 1,000 groups, and in ten of them.
func BenchmarkIdentity(b *testing.B) {
	w := signIns(b, newWorld(b))
	w.must(204, "root", "POST", "sys/mounts/prod", `{"type":"kv-v2"}`)
	w.must(200, "root", "POST", "prod/data/x", `{"data":{"KEY":"value"}}`)
	w.write("dev", `path "prod/data/*" { capabilities = ["read"] }`)
	accessor := w.accessor("jwt")
	for i := range 1000 {
		name := fmt.Sprintf("group-%d", i)
		id := w.must(200, "root", "POST", "identity/group", fmt.Sprintf(`{"name":%q,"type":"external","policies":"p%d"}`, name, i)).data()["id"].(string)
		w.must(200, "root", "POST", "identity/group-alias", fmt.Sprintf(`{"name":%q,"mount_accessor":%q,"canonical_id":%q}`, name, accessor, id))
	}
	var in []string
	for i := range 10 {
		in = append(in, fmt.Sprintf("group-%d", i))
	}
	w.role("many", `,"single_use":false`)
	jwt := w.issuer.Sign(w.good().With(oidctest.Claims{"groups": in}))
	body, _ := json.Marshal(map[string]string{"role": "many", "jwt": jwt})
	person := w.login("many", jwt).token()
	nobody := w.must(200, "root", "POST", "auth/token/create-orphan", `{"policies":["dev"]}`).token()
	ask := func(b *testing.B, method, path, token, body string) {
		b.Helper()
		req := httptest.NewRequest(method, "/v1/"+path, strings.NewReader(body))
		req.Header.Set("X-Vault-Token", token)
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, req)
		if rec.Code != 200 {
			b.Fatal(rec.Code, rec.Body)
		}
	}
	b.Run("sign-in", func(b *testing.B) {
		for b.Loop() {
			ask(b, "POST", "auth/jwt/login", "", string(body))
		}
	})
	b.Run("read of an entity", func(b *testing.B) {
		for b.Loop() {
			ask(b, "GET", "prod/data/x", person, "")
		}
	})
	b.Run("read of a token alone", func(b *testing.B) {
		for b.Loop() {
			ask(b, "GET", "prod/data/x", nobody, "")
		}
	})
	b.Run("read after a change of a policy", func(b *testing.B) {
		for b.Loop() {
			w.must(204, "root", "PUT", "sys/policies/acl/other", `{"policy":"path \"a\" {}"}`)
			ask(b, "GET", "prod/data/x", person, "")
		}
	})
}

// Who has no alias any more at a way to sign in has left the groups that it said they
// are in: nobody else would ever say so.
func TestAliasesLeaveGroups(t *testing.T) {
	w := newSignInWorld(t)
	w.write("eng", `path "secret/data/eng/*" { capabilities = ["read"] }`)
	w.write("dev", `path "secret/data/dev" { capabilities = ["read"] }`)
	w.external("engineering", "eng", "jwt", "eng")
	in := func() (token, entity, alias string) {
		s := w.login("ci", w.issuer.Sign(w.good().With(oidctest.Claims{"groups": []string{"eng"}})))
		_, _, _, entity = s.auth(t)
		aliases := w.must(200, "root", "GET", "identity/entity/id/"+entity, "").data()["aliases"].([]any)
		w.must(404, s.token(), "GET", "secret/data/eng/x", "")
		return s.token(), entity, aliases[0].(map[string]any)["id"].(string)
	}
	token, _, alias := in()
	// A note on it changes nothing.
	w.must(200, "root", "POST", "identity/entity-alias/id/"+alias, `{"custom_metadata":{"team":"a"}}`)
	w.must(404, token, "GET", "secret/data/eng/x", "")
	w.must(204, "root", "DELETE", "identity/entity-alias/id/"+alias, "")
	w.must(403, token, "GET", "secret/data/eng/x", "")

	token, entity, alias := in()
	w.must(200, "root", "POST", "identity/entity-alias/id/"+alias, `{"name":"somebody else"}`)
	w.must(403, token, "GET", "secret/data/eng/x", "")

	token, _, alias = in()
	w.must(204, "root", "DELETE", "identity/entity/id/"+entity, "")
	other := w.must(200, "root", "POST", "identity/entity", `{"name":"other"}`).data()["id"].(string)
	w.must(200, "root", "POST", "identity/entity-alias/id/"+alias, fmt.Sprintf(`{"canonical_id":%q}`, other))
	w.must(403, token, "GET", "secret/data/eng/x", "")
	if _, now, _ := in(); now != other {
		t.Errorf("the alias is %s's, not %s's", now, other)
	}
}
