package policy_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"envrun/vault/policy"
	"envrun/vault/vaulttest/hashivault"
)

// These tests ask a real Vault the questions that we answer, with policies made at
// random: see hashivault for how to get one.

// write stores policies in Vault as p1, p2 … and returns their names.
func write(t *testing.T, s *hashivault.Server, texts []string) []string {
	t.Helper()
	var names []string
	for i, text := range texts {
		name := fmt.Sprintf("p%d", i+1)
		if status, answer := s.Do(t, "PUT", "sys/policies/acl/"+name, map[string]any{"policy": text}); status != http.StatusNoContent {
			t.Fatalf("vault refuses: %d %v\n%s", status, answer, text)
		}
		names = append(names, name)
	}
	return names
}

// capabilities asks Vault what a token may do with paths.
func capabilities(t *testing.T, s *hashivault.Server, token string, paths []string) map[string][]string {
	t.Helper()
	slices.Sort(paths)
	paths = slices.Compact(paths)
	status, answer := s.Do(t, "POST", "sys/capabilities", map[string]any{"token": token, "paths": paths})
	data, _ := answer["data"].(map[string]any)
	if status != http.StatusOK {
		t.Fatalf("capabilities: %d %v", status, answer)
	}
	all := map[string][]string{}
	for _, path := range paths {
		for _, word := range data[path].([]any) {
			all[path] = append(all[path], word.(string))
		}
		slices.Sort(all[path])
	}
	return all
}

func TestLiveCapabilities(t *testing.T) {
	s := hashivault.Start(t)
	r := newRandom(t)
	asked, slashed := 0, 0
	for range 250 {
		texts := r.policies()
		token := s.TokenFor(t, write(t, s, texts)...)
		acl := policy.Compile(parse(t, texts...), policy.Facts{})
		var paths []string
		for range 40 {
			paths = append(paths, r.path())
		}
		theirs := capabilities(t, s, token, paths)
		for path, want := range theirs {
			asked++
			have := acl.Capabilities(path)
			if slices.Equal(have, want) {
				continue
			}
			// Vault looks at a path that ends in a slash without it first, among the
			// rules that are not exact; we and OpenBao do not (GHSA-xp3c-3jw3-4vcr).
			if bare, ok := strings.CutSuffix(path, "/"); ok && len(acl.Matching(bare, policy.OpRead)) > 0 && slices.Equal(acl.Capabilities(bare), want) {
				slashed++
				continue
			}
			t.Fatalf("%s: vault says %v, we %v by %v\n%s", path, want, have, acl.Matching(path, policy.OpList), strings.Join(texts, "\n"))
		}
		s.Do(t, "POST", "auth/token/revoke", map[string]any{"token": token})
	}
	t.Logf("%d answers alike, %d of them but for the order of LIST", asked, slashed)
}

// Whatever we accept Vault must accept, and mean the same by it.
func TestLiveTexts(t *testing.T) {
	s := hashivault.Start(t)
	r := newRandom(t)
	seeds := texts()
	accepted := 0
	for accepted < 150 {
		text := seeds[r.IntN(len(seeds))]
		for range 1 + r.IntN(3) {
			at := r.IntN(len(text) + 1)
			if r.IntN(2) == 0 {
				text = text[:at] + text[min(len(text), at+r.IntN(4)):]
			} else {
				text = text[:at] + pick(r, "+", "/", "*", " ", "\n", "#", ",", `"`, "{{", "s", "é", "deny") + text[at:]
			}
		}
		p, err := policy.Parse("p1", text)
		if err != nil || strings.TrimSpace(text) == "" || strings.Contains(text, "expiration") { // which is OpenBao's
			continue
		}
		accepted++
		token := s.TokenFor(t, write(t, s, []string{text})...)
		acl := policy.Compile([]*policy.Policy{p}, policy.Facts{})
		paths := []string{"none"}
		for _, rule := range p.Rules {
			// The question takes paths apart at commas and cleans them.
			if rule.Pattern == "" || strings.ContainsAny(rule.Pattern, ", \t") || strings.HasPrefix(rule.Pattern, "/") || strings.HasSuffix(rule.Pattern, "/") {
				continue
			}
			paths = append(paths, rule.Pattern, strings.TrimSuffix(rule.Pattern, "*")+"x")
		}
		for path, want := range capabilities(t, s, token, paths) {
			if have := acl.Capabilities(path); !slices.Equal(have, want) {
				t.Fatalf("%q: vault says %v, we %v\n%s", path, want, have, text)
			}
		}
	}
}

// Parameters, on a mount whose writes all parameters reach.
func TestLiveParameters(t *testing.T) {
	s := hashivault.Start(t)
	r := newRandom(t)
	if status, answer := s.Do(t, "POST", "sys/mounts/kv1", map[string]any{"type": "kv"}); status != http.StatusNoContent {
		t.Fatal(status, answer)
	}
	s.Do(t, "POST", "kv1/app", map[string]any{"there": "1"}) // so that writes are updates
	asked, stricter := 0, 0
	for range 150 {
		var texts []string
		for range 1 + r.IntN(2) {
			var b strings.Builder
			fmt.Fprintf(&b, "path \"kv1/app\" {\n  capabilities = [\"update\"]\n")
			for _, key := range []string{"allowed_parameters", "denied_parameters"} {
				if r.IntN(2) == 0 {
					fmt.Fprintf(&b, "  %s = {\n", key)
					for _, name := range []string{"a", "B", "c", "*"} {
						if r.IntN(3) > 0 {
							continue
						}
						var values []string
						for range r.IntN(3) {
							values = append(values, pick(r, `"x"`, `"y"`, `"x*"`, `"*y"`, `"*z*"`, "true", "false", "5", `"5"`, `"true"`))
						}
						fmt.Fprintf(&b, "    %q = [%s]\n", name, strings.Join(values, ", "))
					}
					b.WriteString("  }\n")
				}
			}
			if r.IntN(4) == 0 {
				fmt.Fprintf(&b, "  required_parameters = [%q]\n", pick(r, "a", "b"))
			}
			b.WriteString("}\n")
			texts = append(texts, b.String())
		}
		token := s.TokenFor(t, write(t, s, texts)...)
		acl := policy.Compile(parse(t, texts...), policy.Facts{})
		for range 8 {
			body := map[string]any{}
			doubtful := false // we may be stricter: see the package comment
			for range r.IntN(4) {
				value := pick[any](r, "x", "y", "xy", "wzw", true, false, "x,y", "x, y", "", 5.0, "5", "true", []any{"x", "y"}, []any{"x"}, []any{}, []any{true}, []any{[]any{"x"}})
				body[pick(r, "a", "b", "A", "c", "d")] = value
				switch v := value.(type) {
				case string:
					doubtful = doubtful || strings.Contains(v, ",") || v == "" || v == "5" || v == "true"
				case float64, bool, []any:
					doubtful = true
				}
			}
			asked++
			have := acl.Decide(policy.Request{Path: "kv1/app", Op: policy.OpUpdate, Params: body})
			status, _ := s.DoAs(t, token, "POST", "kv1/app", body)
			want := status != http.StatusForbidden
			switch {
			case have.Allowed == want:
			case !have.Allowed && doubtful:
				stricter++
			case have.Allowed && slices.Contains(slices.Collect(maps.Values(plain(body))), "5"):
				// A number that a policy allows is allowed; in Vault it is like no number.
			default:
				t.Fatalf("%v: vault answers %d, we say %s\n%s", body, status, have, strings.Join(texts, "\n"))
			}
		}
	}
	t.Logf("%d answers alike or refused by us alone, the latter %d", asked, stricter)
}

// plain has the numbers of a body as text.
func plain(body map[string]any) map[string]string {
	out := map[string]string{}
	for name, value := range body {
		if f, ok := value.(float64); ok {
			out[name] = fmt.Sprint(f)
		}
	}
	return out
}

// Which paths need sudo. On three we ask for it where Vault does not.
func TestLiveSudo(t *testing.T) {
	s := hashivault.Start(t)
	for _, test := range []struct{ method, path string }{
		{"GET", "sys/audit"}, {"GET", "sys/auth/token"}, {"GET", "sys/auth"}, {"GET", "sys/mounts"},
		{"GET", "sys/config/cors"}, {"GET", "sys/config/auditing/request-headers"}, {"GET", "sys/config/auditing/request-headers/x"},
		{"GET", "sys/config/ui/headers/x"}, {"LIST", "sys/config/ui/headers/"},
		{"GET", "sys/policies/acl/default"}, {"LIST", "sys/policies/acl/"}, {"LIST", "sys/leases/lookup/"},
		{"LIST", "sys/leases/lookup/x/"}, {"GET", "sys/leases"}, {"GET", "sys/leases/count"}, {"POST", "sys/leases/lookup"},
		{"POST", "sys/leases/revoke-prefix/x"}, {"POST", "sys/leases/revoke-force/x"}, {"POST", "sys/leases/revoke"},
		{"GET", "sys/plugins/catalog/auth/x"}, {"GET", "sys/plugins/catalog"}, {"LIST", "auth/token/accessors/"},
		{"POST", "auth/token/create"}, {"POST", "auth/token/create-orphan"}, {"POST", "auth/token/revoke-orphan"},
		{"POST", "sys/capabilities-self"}, {"GET", "sys/rotate/config"}, {"POST", "sys/remount"}, {"GET", "sys/raw/x"},
		{"GET", "sys/internal/ui/resultant-acl"}, {"GET", "sys/internal/inspect/router/root"}, {"GET", "identity/entity/id/x"},
		{"POST", "sys/step-down"}, {"GET", "sys/key-status"}, {"GET", "sys/health"},
	} {
		rule := func(extra string) []string {
			return []string{fmt.Sprintf("path %q {\n  capabilities = [\"create\", \"read\", \"update\", \"list\"%s]\n}\n", test.path, extra)}
		}
		without := s.TokenFor(t, write(t, s, rule(""))...)
		status, _ := s.DoAs(t, without, test.method, test.path, map[string]any{})
		refused := status == http.StatusForbidden
		if refused {
			// Only if sudo makes the difference was it for sudo.
			with := s.TokenFor(t, write(t, s, rule(`, "sudo"`))...)
			status, answer := s.DoAs(t, with, test.method, test.path, map[string]any{})
			refused = status != http.StatusForbidden || fmt.Sprint(answer["errors"]) == "[]"
		}
		switch test.path {
		case "auth/token/create-orphan", "sys/rotate/config", "sys/step-down":
			if refused || !policy.NeedsSudo(test.path) {
				t.Errorf("%s: vault needs sudo: %t, and we should", test.path, refused)
			}
			continue
		}
		if have := policy.NeedsSudo(test.path); have != refused {
			t.Errorf("%s %s: vault needs sudo: %t (%d), we say %t", test.method, test.path, refused, status, have)
		}
		acl := policy.Compile(parse(t, rule("")...), policy.Facts{})
		op := map[string]policy.Op{"GET": policy.OpRead, "LIST": policy.OpList, "POST": policy.OpUpdate}[test.method]
		if d := acl.Decide(policy.Request{Path: test.path, Op: op}); d.Allowed == policy.NeedsSudo(test.path) {
			t.Errorf("%s %s: %s", test.method, test.path, d)
		}
	}
}

// Templates, filled from an entity that signed in.
func TestLiveTemplates(t *testing.T) {
	s := hashivault.Start(t)
	r := newRandom(t)
	must := func(method, path string, body any) map[string]any {
		t.Helper()
		status, answer := s.Do(t, method, path, body)
		if status >= 300 {
			t.Fatalf("%s %s: %d %v", method, path, status, answer)
		}
		data, _ := answer["data"].(map[string]any)
		return data
	}
	must("POST", "sys/auth/userpass", map[string]any{"type": "userpass"})
	accessor := must("GET", "sys/auth", nil)["userpass/"].(map[string]any)["accessor"].(string)
	must("POST", "auth/userpass/users/alice", map[string]any{"password": "x", "token_policies": []string{"p1"}, "token_no_default_policy": true})
	login := func() (token, entity string) {
		_, answer := s.Do(t, "POST", "auth/userpass/login/alice", map[string]any{"password": "x"})
		auth := answer["auth"].(map[string]any)
		return auth["client_token"].(string), auth["entity_id"].(string)
	}
	token, id := login()
	must("POST", "identity/entity/id/"+id, map[string]any{"name": "alice-e", "metadata": map[string]string{"team": "core", "odd": "a b"}})
	group := must("POST", "identity/group", map[string]any{"name": "ops", "member_entity_ids": []string{id}, "metadata": map[string]string{"area": "east"}})["id"].(string)
	must("POST", "identity/group", map[string]any{"name": "others"})
	facts := policy.Facts{
		Entity: &policy.Entity{ID: id, Name: "alice-e", Metadata: map[string]string{"team": "core", "odd": "a b"},
			Aliases: []policy.Alias{{Accessor: accessor, ID: aliasID(t, s, id), Name: "alice"}}},
		Groups: []policy.Group{{ID: group, Name: "ops", Metadata: map[string]string{"area": "east"}}},
	}
	templates := []string{
		"{{identity.entity.id}}", "{{ identity.entity.name }}", "{{identity.entity.metadata.team}}", "{{identity.entity.metadata.nope}}",
		"{{identity.entity.metadata.odd}}",
		"{{identity.entity.aliases." + accessor + ".name}}", "{{identity.entity.aliases." + accessor + ".id}}",
		"{{identity.entity.aliases.none.name}}", "{{identity.entity.aliases." + accessor + ".metadata.x}}",
		"{{identity.groups.names.ops.id}}", "{{identity.groups.names.ops.name}}", "{{identity.groups.names.ops.metadata.area}}",
		"{{identity.groups.ids." + group + ".name}}", "{{identity.groups.names.others.name}}", "{{identity.groups.names.ops.metadata.nope}}",
	}
	values := []string{id, "alice-e", "core", "a b", "alice", facts.Entity.Aliases[0].ID, group, "ops", "east", "x"}
	for range 150 {
		var b strings.Builder
		for range 1 + r.IntN(6) {
			fmt.Fprintf(&b, "path \"s/%s%s%s\" {\n  capabilities = [%s]\n}\n", pick(r, "", "a/", "+/", "a-"), pick(r, templates...), pick(r, "", "/x", "/*", "*", "/+", "-b", "/{{identity.entity.name}}"), quoted(r.caps()))
		}
		text := b.String()
		write(t, s, []string{text})
		acl := policy.Compile(parse(t, text), facts)
		var paths []string
		for range 30 {
			paths = append(paths, "s/"+pick(r, "", "a/", "b/", "a-")+pick(r, values...)+pick(r, "", "/x", "/x/y", "-b", "/alice-e", "c"))
		}
		for path, want := range capabilities(t, s, token, paths) {
			if have := acl.Capabilities(path); !slices.Equal(have, want) {
				t.Fatalf("%s: vault says %v, we %v\n%s", path, want, have, text)
			}
		}
	}
}

func aliasID(t *testing.T, s *hashivault.Server, entity string) string {
	t.Helper()
	_, answer := s.Do(t, "GET", "identity/entity/id/"+url.PathEscape(entity), nil)
	aliases := answer["data"].(map[string]any)["aliases"].([]any)
	return aliases[0].(map[string]any)["id"].(string)
}

// Requests on a mount of KV version 2: Vault refuses what we refuse, and nothing else.
func TestLiveRequests(t *testing.T) {
	s := hashivault.Start(t)
	r := newRandom(t)
	if status, answer := s.Do(t, "POST", "sys/mounts/s", map[string]any{"type": "kv", "options": map[string]string{"version": "2"}}); status != http.StatusNoContent {
		t.Fatal(status, answer)
	}
	ops := map[string]policy.Op{"GET": policy.OpRead, "POST": policy.OpUpdate, "DELETE": policy.OpDelete, "LIST": policy.OpList}
	there := map[string]bool{} // the secrets that have a version
	allowed, refused := 0, 0
	for range 400 {
		var texts []string
		for _, text := range r.policies() {
			texts = append(texts, strings.ReplaceAll(strings.ReplaceAll(text, `"s/`, `"s/data/`), `"/s/`, `"/s/metadata/`))
		}
		token := s.TokenFor(t, write(t, s, texts)...)
		acl := policy.Compile(parse(t, texts...), policy.Facts{})
		for range 15 {
			secret := strings.TrimSuffix(strings.TrimPrefix(r.path(), "s/"), "/")
			method := pick(r, "GET", "POST", "POST", "DELETE", "LIST")
			path := "s/data/" + secret
			if method == "LIST" || method == "GET" && r.IntN(3) == 0 {
				path = "s/metadata/" + secret
			}
			if strings.ContainsAny(secret, "!+") {
				continue
			}
			op := ops[method]
			if method == "POST" && !there[secret] {
				op = policy.OpCreate
			}
			req := policy.Request{Path: path, Op: op}
			if op == policy.OpList {
				req.Path += "/"
			}
			if d := acl.Decide(req); op == policy.OpList {
				// Vault looks without the slash first (GHSA-xp3c-3jw3-4vcr).
				if bare := acl.Decide(policy.Request{Path: path, Op: policy.OpList}); bare.Reason != policy.ReasonNoRule && bare.Allowed != d.Allowed {
					continue
				}
			}
			var body map[string]any
			if method == "POST" {
				body = map[string]any{"data": map[string]any{"a": "b"}}
				req.Params = body
			}
			d := acl.Decide(req)
			status, answer := s.DoAs(t, token, method, path, body)
			if d.Allowed != (status != http.StatusForbidden) {
				t.Fatalf("%s %s: vault answers %d %v, we say %s\n%s", method, path, status, answer, d, strings.Join(texts, "\n"))
			}
			if d.Allowed {
				allowed++
				there[secret] = there[secret] || method == "POST"
			} else {
				refused++
			}
		}
	}
	if allowed < 50 || refused < 50 {
		t.Errorf("%d allowed, %d refused: the test looks at little", allowed, refused)
	}
	t.Logf("%d requests allowed by both, %d refused by both", allowed, refused)
}

// What Compare says is gained and lost, Vault gives and takes.
func TestLiveCompare(t *testing.T) {
	s := hashivault.Start(t)
	r := newRandom(t)
	changed := 0
	for range 150 {
		was := r.policies()
		now := append(slices.Clone(was), rule(r.pattern(), r.caps()...))
		if r.IntN(2) == 0 {
			now = now[1:]
		}
		changes, _ := policy.Compare(parse(t, was...), parse(t, now...))
		var paths []string
		for _, c := range changes {
			paths = append(paths, instances(c.Pattern, false)...)
		}
		for range 30 {
			paths = append(paths, strings.TrimSuffix(r.path(), "/"))
		}
		// Of a folder Vault looks at the path without its slash first.
		paths = slices.DeleteFunc(paths, func(p string) bool { return strings.HasSuffix(p, "/") || p == "" })
		var given [2]map[string]policy.Caps
		for i, texts := range [][]string{was, now} {
			if len(texts) == 0 {
				given[i] = map[string]policy.Caps{}
				continue
			}
			token := s.TokenFor(t, write(t, s, texts)...)
			given[i] = map[string]policy.Caps{}
			for path, words := range capabilities(t, s, token, slices.Clone(paths)) {
				for _, word := range words {
					c, ok := policy.ParseCap(word)
					if !ok {
						t.Fatalf("capability %q", word)
					}
					given[i][path] |= c &^ (policy.List | policy.Deny)
				}
			}
		}
		for _, path := range paths {
			a, b := given[0][path], given[1][path]
			if a == b {
				continue
			}
			changed++
			if !slices.ContainsFunc(changes, func(c policy.Change) bool {
				return c.Gained()&^policy.List == b&^a && c.Lost()&^policy.List == a&^b && changeExpression(c.Pattern).MatchString(path)
			}) {
				t.Fatalf("%s: in vault %s becomes %s, which is not told: %+v\nwas:\n%s\nnow:\n%s", path, a, b, changes, strings.Join(was, "\n"), strings.Join(now, "\n"))
			}
		}
	}
	if changed < 100 {
		t.Errorf("%d paths changed: the test looks at little", changed)
	}
	t.Logf("%d paths changed, and all were told", changed)
}
