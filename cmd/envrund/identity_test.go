package main_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"sort"
	"strings"
	"testing"
	"time"

	"envrun/auth/oidc/oidctest"
	"envrun/vault/vaulttest/hashivault"
)

// party is one of the servers that are asked alike: what it calls things by ids is
// called by our names.
type party struct {
	*hashivault.Server
	names map[string]string // ids by name
	lines []string
}

var (
	timeText = regexp.MustCompile(`"20[0-9]{2}-[0-9]{2}-[0-9]{2}T[^"]*"`)
	otherID  = regexp.MustCompile(`"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}"`)
	madeName = regexp.MustCompile(`"(entity|group)_[0-9a-f]{8}"`)
)

// step asks something and keeps what it came to; as is what the id of the answer is
// called from then on.
func (p *party) step(t *testing.T, as, token, method, path, body string) {
	t.Helper()
	fill := func(text string) string {
		for name, id := range p.names {
			text = strings.ReplaceAll(text, "$"+name+"$", id)
		}
		return text
	}
	var v any
	if body != "" {
		if err := json.Unmarshal([]byte(fill(body)), &v); err != nil {
			t.Fatal(err)
		}
	}
	if token == "" {
		token = p.Token
	}
	status, answer := p.DoAs(t, fill(token), method, fill(path), v)
	data, _ := answer["data"].(map[string]any)
	if auth, ok := answer["auth"].(map[string]any); ok {
		p.names[as], _ = auth["client_token"].(string)
		p.names["entity of "+as], _ = auth["entity_id"].(string)
		data = map[string]any{}
		for _, name := range []string{"policies", "token_policies", "identity_policies", "entity_id"} {
			data[name] = auth[name]
		}
	} else if id, ok := data["id"].(string); ok && as != "" {
		p.names[as] = id
	}
	if status >= 400 {
		data = nil // the words are each server's own
	}
	if data != nil {
		data = map[string]any{"data": unlike(data)}
	}
	names := make([]string, 0, len(p.names))
	for name := range p.names {
		names = append(names, name)
	}
	sort.Strings(names)
	call := func(said string) string {
		for _, name := range names {
			if id := p.names[name]; id != "" {
				said = strings.ReplaceAll(said, id, "$"+name+"$")
			}
		}
		return otherID.ReplaceAllString(said, `"AN ID"`)
	}
	text, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	var called map[string]any // again, for the order of what has other names now
	if err := json.Unmarshal([]byte(call(string(text))), &called); err != nil {
		t.Fatal(err)
	}
	if text, err = json.Marshal(called); err != nil {
		t.Fatal(err)
	}
	said := string(text)
	said = madeName.ReplaceAllString(timeText.ReplaceAllString(said, `"TIME"`), `"${1}_MADE"`)
	p.lines = append(p.lines, fmt.Sprintf("%s %s %s -> %d %s", method, path, body, status, said))
}

// unlike drops what one of the two has alone, wherever it is, and puts lists of ids in order.
func unlike(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, x := range v {
			switch name {
			case "issuer", "modify_index", "role": // role: of the last sign-in, in the metadata of an alias
			case "keys", "group_ids", "direct_group_ids": // in the order of ids
				list, _ := x.([]any)
				out[name] = len(list)
			default:
				switch text := fmt.Sprint(x); text {
				case "<nil>", "[]", "map[]": // one server sends null where the other has nothing
				default:
					out[name] = unlike(x)
				}
			}
		}
		return out
	case []any:
		for i := range v {
			v[i] = unlike(v[i])
		}
	}
	return v
}

// A real Vault and envrund have the same entities, aliases and groups after the same
// requests, and give the same policies to who signs in.
func TestIdentityAsVaultHasIt(t *testing.T) {
	t.Parallel()
	vault := hashivault.Start(t)
	own := new(hashivault.Server)
	own.Addr, own.Token = devServer(t)
	issuer := oidctest.New(t)
	var lines [2][]string
	for n, s := range []*hashivault.Server{vault, own} {
		jwtMount(t, s, "jwt", issuer.URL, "ES256", "RS256")
		ask(t, s, "POST", "auth/jwt/role/ci", map[string]any{"role_type": "jwt", "bound_audiences": []string{oidctest.Audience}, "user_claim": "sub", "groups_claim": "groups",
			"bound_claims": map[string]any{"project_id": 74}, "token_policies": []string{"dev"}, "claim_mappings": map[string]string{"sub": "who"}})
		for _, name := range []string{"dev", "eng", "far", "mine"} {
			ask(t, s, "PUT", "sys/policies/acl/"+name, map[string]any{"policy": `path "secret/data/` + name + `" { capabilities = ["read"] } path "secret/data/{{identity.entity.metadata.team}}" { capabilities = ["read"] }`})
		}
		p := &party{Server: s, names: map[string]string{}}
		p.names["accessor"] = ask(t, s, "GET", "sys/auth/jwt", nil)["data"].(map[string]any)["accessor"].(string)
		root := func(as, method, path, body string) { t.Helper(); p.step(t, as, "", method, path, body) }
		signIn := func(as, who string, groups ...string) {
			t.Helper()
			jwt := issuer.Sign(issuer.Good(oidctest.Audience, time.Now()).With(oidctest.Bound()).With(oidctest.Claims{"sub": who, "groups": append([]string{"all"}, groups...), "jti": as}))
			p.names["jwt"] = jwt
			p.step(t, as, "", "POST", "auth/jwt/login", `{"role":"ci","jwt":"$jwt$"}`)
			delete(p.names, "jwt")
		}
		root("carol", "POST", "identity/entity", `{"name":"carol","metadata":{"team":"core"},"policies":["mine"]}`)
		root("", "POST", "identity/entity", `{"name":"carol","metadata":{"team":"infra"}}`)
		root("", "GET", "identity/entity/name/carol", "")
		root("", "GET", "identity/entity/name/CAROL", "")
		root("dan", "POST", "identity/entity", `{"name":"dan"}`)
		root("", "GET", "identity/entity/id/$dan$", "")
		root("", "POST", "identity/entity/id/$dan$", `{"name":"carol"}`)
		root("", "POST", "identity/entity", `{"name":"x","policies":["root"]}`)
		root("", "POST", "identity/entity/id/nobody", `{"policies":["dev"]}`)
		root("alias", "POST", "identity/entity-alias", `{"name":"carol@example.com","mount_accessor":"$accessor$","canonical_id":"$carol$"}`)
		root("", "GET", "identity/entity-alias/id/$alias$", "")
		root("", "POST", "identity/entity-alias", `{"name":"x","mount_accessor":"nowhere","canonical_id":"$carol$"}`)
		root("", "POST", "identity/entity-alias", `{"mount_accessor":"$accessor$","canonical_id":"$carol$"}`)
		root("inner", "POST", "identity/group", `{"name":"inner","member_entity_ids":["$carol$"],"metadata":{"a":"b"}}`)
		root("outer", "POST", "identity/group", `{"name":"outer","policies":["far"],"member_group_ids":["$inner$"]}`)
		root("", "GET", "identity/group/name/inner", "")
		root("", "GET", "identity/group/id/$outer$", "")
		root("", "POST", "identity/group/id/$inner$", `{"member_group_ids":["$outer$"]}`)
		root("", "POST", "identity/group", `{"name":"x","policies":["root"]}`)
		root("ext", "POST", "identity/group", `{"name":"ext","type":"external","policies":"eng"}`)
		root("", "POST", "identity/group", `{"name":"x","type":"external","member_entity_ids":["$carol$"]}`)
		root("", "POST", "identity/group-alias", `{"name":"eng","mount_accessor":"$accessor$","canonical_id":"$inner$"}`)
		root("galias", "POST", "identity/group-alias", `{"name":"eng","mount_accessor":"$accessor$","canonical_id":"$ext$"}`)
		root("", "GET", "identity/group-alias/id/$galias$", "")

		signIn("first", "carol@example.com", "eng", "far", "root")
		root("", "GET", "identity/entity/id/$carol$", "")
		root("", "GET", "identity/group/id/$ext$", "")
		for _, path := range []string{"secret/data/dev", "secret/data/eng", "secret/data/far", "secret/data/mine", "secret/data/infra", "secret/data/core"} {
			p.step(t, "", "$first$", "POST", "sys/capabilities-self", `{"path":"`+path+`"}`)
		}
		p.step(t, "", "$first$", "GET", "identity/entity/id/$carol$", "")
		p.step(t, "", "$first$", "GET", "identity/entity/id/$dan$", "")
		signIn("second", "carol@example.com")
		p.step(t, "", "$first$", "POST", "sys/capabilities-self", `{"path":"secret/data/eng"}`)
		signIn("third", "eve", "eng")
		root("", "LIST", "identity/entity/id", "")
		root("", "LIST", "identity/entity/name", "")
		root("", "LIST", "identity/entity-alias/id", "")
		root("", "LIST", "identity/group/id", "")
		root("", "LIST", "identity/group/name", "")
		root("", "LIST", "identity/group-alias/id", "")
		root("", "POST", "identity/lookup/entity", `{"alias_name":"carol@example.com","alias_mount_accessor":"$accessor$"}`)
		root("", "POST", "identity/lookup/entity", `{"alias_id":"$alias$"}`)
		root("", "POST", "identity/lookup/entity", `{"id":"nobody"}`)
		root("", "POST", "identity/lookup/entity", `{}`)
		root("", "POST", "identity/lookup/group", `{"name":"nothing"}`)
		root("", "POST", "identity/lookup/group", `{"alias_name":"eng","alias_mount_accessor":"$accessor$"}`)

		root("", "POST", "identity/entity/id/$carol$", `{"disabled":true}`)
		p.step(t, "", "$first$", "GET", "auth/token/lookup-self", "")
		signIn("refused", "carol@example.com")
		root("", "POST", "identity/entity/id/$carol$", `{"disabled":false}`)
		p.step(t, "", "$first$", "POST", "sys/capabilities-self", `{"path":"secret/data/mine"}`)
		root("", "DELETE", "identity/entity/id/$carol$", "")
		root("", "DELETE", "identity/entity/id/$carol$", "")
		p.step(t, "", "$first$", "GET", "auth/token/lookup-self", "")
		root("", "GET", "identity/entity-alias/id/$alias$", "")
		root("", "GET", "identity/group/id/$inner$", "")
		root("", "DELETE", "identity/group/name/inner", "")
		root("", "GET", "identity/group/id/$outer$", "")
		root("", "GET", "identity/group/id/$inner$", "")
		root("", "DELETE", "identity/group-alias/id/$galias$", "")
		root("", "GET", "identity/group/id/$ext$", "")
		lines[n] = p.lines
	}
	same := 0
	for i, theirs := range lines[0] {
		// Whoever was in a group is in it no more when nothing says so any more.
		left := strings.HasPrefix(theirs, "GET identity/group/id/$ext$") && i == len(lines[0])-1
		if (theirs == lines[1][i]) != left {
			same++
			continue
		}
		t.Errorf("Vault:   %s\nenvrund: %s", theirs, lines[1][i])
	}
	t.Logf("%d of %d answers are the same", same, len(lines[0]))
}
