package policy_test

import (
	"encoding/json"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"envrun/vault/policy"
)

// vector is one hand-made case with what real servers answered to it.
type vector struct {
	ID, Title, Path, Op, Mode, Why string

	Policies map[string]string
	Expect   json.RawMessage // "allow", "deny", "policy-refused", or one of them for each server
	Caps     []string        `json:"expect_capabilities"`
	Entity   *struct {
		Name     string
		Metadata map[string]string
		Groups   []string
	}
	Request struct {
		Method, Path string
		Body         map[string]any
		Headers      map[string]string
	}
}

// Where the servers differ, which one is followed.
var follow = map[string]string{
	"v28": "bao",   // LIST looks at the path with its slash first
	"v67": "bao",   // a metadata value is no wildcard
	"v69": "bao",   // LIST does not get past a closer deny
	"v71": "vault", // an attribute given twice is refused
	"v72": "vault", // a list is allowed if each of its elements is
	"v73": "bao",   // a text with a comma is allowed only if it is, as it stands
	"v74": "vault", // a list is denied if one of its elements is
}

func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/policy-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Vectors []vector }
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	if err := d.Decode(&file); err != nil {
		t.Fatal(err)
	}
	if len(file.Vectors) != 79 {
		t.Fatalf("%d vectors, want 79", len(file.Vectors))
	}
	differing := 0
	for _, v := range file.Vectors {
		t.Run(v.ID, func(t *testing.T) {
			var want string
			if json.Unmarshal(v.Expect, &want) != nil {
				var byServer map[string]string
				if err := json.Unmarshal(v.Expect, &byServer); err != nil {
					t.Fatal(err)
				}
				differing++
				if want = byServer[follow[v.ID]]; want == "" {
					t.Fatal("the servers differ and no choice is made")
				}
			}
			have, caps := v.answer(t)
			if have != want {
				t.Errorf("%s: %s, want %s: %s", v.Title, have, want, v.Why)
			}
			if v.Caps != nil && !slices.Equal(caps, v.Caps) {
				t.Errorf("%s: capabilities %v, want %v", v.Title, caps, v.Caps)
			}
		})
	}
	if differing != len(follow) {
		t.Errorf("%d vectors differ by server, %d choices are made", differing, len(follow))
	}
}

func (v vector) answer(t *testing.T) (verdict string, caps []string) {
	var policies []*policy.Policy
	for name, text := range v.Policies {
		name, err := policy.Name(name)
		if err != nil {
			t.Fatal(err)
		}
		p, err := policy.Parse(name, text)
		if err != nil {
			return "policy-refused", nil
		}
		policies = append(policies, p)
	}
	var facts policy.Facts
	if v.Entity != nil {
		facts.Entity = &policy.Entity{ID: "e-1", Name: v.Entity.Name, Metadata: v.Entity.Metadata}
		for _, g := range v.Entity.Groups {
			facts.Groups = append(facts.Groups, policy.Group{ID: "g-" + g, Name: g})
		}
	}
	acl := policy.Compile(policies, facts)
	op, ok := policy.ParseOp(v.Op)
	if !ok {
		t.Fatalf("operation %q", v.Op)
	}
	path, query, _ := strings.Cut(v.Path, "?")
	req := policy.Request{Path: path, Op: op, Params: v.Request.Body}
	if values, err := url.ParseQuery(query); err != nil {
		t.Fatal(err)
	} else if len(values) > 0 {
		req.Params = map[string]any{}
		for k := range values {
			req.Params[k] = values.Get(k)
		}
	}
	if ttl := v.Request.Headers["X-Vault-Wrap-TTL"]; ttl != "" {
		var err error
		if req.WrapTTL, err = time.ParseDuration(ttl); err != nil {
			t.Fatal(err)
		}
	}
	caps = acl.Capabilities(path)
	verdict = "deny"
	if v.Mode == "caps" && slices.Contains(caps, v.Op) || v.Mode == "request" && acl.Decide(req).Allowed {
		verdict = "allow"
	}
	return verdict, caps
}
