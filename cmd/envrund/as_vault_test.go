package main_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"envrun/vault/vaulttest/hashivault"
	"envrun/vault/vaulttest/recording"
)

// A step is one thing that is asked of a way to sign in. {name} in its path and
// body, and before it the token that asks, stands for what an earlier step kept.
type step struct {
	name, method, path, body string
	as                       string // whose token: "" root's, "nobody" none, else one that was kept
	before                   func() // what happens elsewhere first
	keep                     string // "role_id secret_id": names in data, auth or wrap_info that are kept
}

// asVault asks the steps of a way to sign in, mounted under its name, of a real Vault
// and of envrund. What is answered otherwise has to be in testdata/NAME_departures.txt,
// which go test -update writes, and its step in docs/vault-api.md, with the reason.
// What is known from the start stands in texts of JSON.
func asVault(t *testing.T, vault, own *hashivault.Server, method string, known map[string]string, steps []step) {
	t.Helper()
	servers := []*hashivault.Server{vault, own}
	kept := map[*hashivault.Server]map[string]string{}
	for _, s := range servers {
		kept[s] = maps.Clone(known)
		if kept[s] == nil {
			kept[s] = map[string]string{}
		}
	}
	doc, err := os.ReadFile("../../docs/vault-api.md")
	if err != nil {
		t.Fatal(err)
	}
	_, why, _ := strings.Cut(string(doc), "## Where `"+method+"` answers otherwise than Vault's\n")
	why, _, _ = strings.Cut(why, "\n## ")
	var lines strings.Builder
	same, other, ids, bound := 0, 0, map[string]string{}, map[string]string{}
	for _, step := range steps {
		if step.before != nil {
			step.before()
		}
		var said []map[string]any
		for _, s := range servers {
			token := s.Token
			if step.as == "nobody" {
				token = ""
			} else if step.as != "" {
				token = kept[s][step.as]
			}
			path := "auth/" + method + "/" + step.path
			if p, ok := strings.CutPrefix(step.path, "/"); ok {
				path = p
			}
			var body any
			if text := step.body; text != "" {
				for name, value := range kept[s] {
					text = strings.ReplaceAll(text, "{"+name+"}", value)
				}
				body = json.RawMessage(text)
			}
			status, answer := s.DoAs(t, token, step.method, path, body)
			is := map[string]any{"status": status}
			for _, part := range []string{"data", "auth", "warnings"} {
				is[part] = answer[part]
				for name := range strings.FieldsSeq(step.keep) {
					if in, ok := answer[part].(map[string]any); ok && in[name] != nil {
						kept[s][name] = in[name].(string)
					}
				}
			}
			if step.as == "nobody" {
				is["errors"] = answer["errors"]
			}
			if data, ok := answer["data"].(map[string]any); ok && data["creation_ttl"] != nil && data["ttl"].(float64) > data["creation_ttl"].(float64)-60 {
				delete(data, "ttl") // some of it may have gone by
			}
			said = append(said, is)
		}
		diff := recording.Compare("", placed("", said[0], ids), said[1], bound)
		if len(diff) == 0 {
			same++
			if strings.Contains(why, "`"+step.name+"`") {
				t.Errorf("docs/vault-api.md says why %q is answered otherwise, and it is not", step.name)
			}
			continue
		}
		other++
		fmt.Fprintf(&lines, "%s\n\t%s\n", step.name, made.ReplaceAllString(strings.Join(diff, "\n\t"), "…"))
		if !strings.Contains(why, "`"+step.name+"`") {
			t.Errorf("docs/vault-api.md does not say why %q is answered otherwise: %q", step.name, diff)
		}
	}
	compareLines(t, filepath.Join("testdata", method+"_departures.txt"), *update, lines.String())
	t.Logf("%d steps are answered alike, %d are not", same, other)
}

// made is what a server made by chance.
var made = regexp.MustCompile(`evr_[as]_\w+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// placed is an answer with placeholders, as package recording has them, for what is
// another one each time. An id that comes again has the same.
func placed(name string, v any, ids map[string]string) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, v := range v {
			out[name] = placed(name, v, ids)
		}
		return out
	case []any:
		var out []any
		for _, v := range v {
			out = append(out, placed(name, v, ids))
		}
		return out
	case string:
		at, err := time.Parse(time.RFC3339Nano, v)
		switch {
		case v == "" || err == nil && at.IsZero():
			return v
		case err == nil:
			return "<TIME>"
		case slices.Contains([]string{"id", "accessor", "client_token", "entity_id", "secret_id", "secret_id_accessor"}, name), (name == "role_id" || name == "keys") && len(v) == 36:
			if ids[v] == "" {
				ids[v] = fmt.Sprintf("<ID-%d>", len(ids))
			}
			return ids[v]
		}
	}
	return v
}
