package policy_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"envrun/vault/policy"
)

// random makes policies and paths of few different pieces, so that they meet often.
type random struct{ *rand.Rand }

func newRandom(t testing.TB) random {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return random{rand.New(rand.NewPCG(seed, 0))}
}

func pick[T any](r random, of ...T) T { return of[r.IntN(len(of))] }

// path is a path as a request has it; it may end in a slash.
func (r random) path() string {
	var segs []string
	for range 1 + r.IntN(4) {
		segs = append(segs, pick(r, "a", "a", "b", "ab", "abc", "b", "x+y", "+", "+a", "!"))
	}
	return "s/" + strings.Join(segs, "/") + pick(r, "", "", "/")
}

// pattern is a pattern as a policy has it.
func (r random) pattern() string {
	var segs []string
	for range 1 + r.IntN(4) {
		segs = append(segs, pick(r, "a", "a", "b", "ab", "abc", "b", "+", "+", "+", "x+y", "+a", "a*b", "!"))
	}
	p := pick(r, "s/", "s/", "s/", "s/", "s/", "+/", "/s/") + strings.Join(segs, "/")
	p += pick(r, "", "", "", "*", "*", "/*", "/*", "/", "/+")
	if r.IntN(40) == 0 {
		p = pick(r, "*", "s/*", "s*", "+", "+/*", "s/+", "s/")
	}
	return strings.ReplaceAll(p, "+*", "+/*")
}

func (r random) caps() []string {
	switch r.IntN(12) {
	case 0:
		return []string{"deny"}
	case 1:
		return []string{}
	}
	var caps []string
	for range 1 + r.IntN(3) {
		caps = append(caps, pick(r, "create", "read", "update", "delete", "list", "patch", "sudo"))
	}
	return caps
}

// policies are the texts of one to three policies, in HCL or JSON.
func (r random) policies() []string {
	var texts []string
	for range 1 + r.IntN(3) {
		var b strings.Builder
		if json := r.IntN(4) == 0; json {
			b.WriteString(`{"path": {`)
			for i := range 1 + r.IntN(8) {
				if i > 0 {
					b.WriteString(", ")
				}
				fmt.Fprintf(&b, `%q: {"capabilities": [%s]}`, r.pattern(), quoted(r.caps()))
			}
			b.WriteString("}}")
		} else {
			for range 1 + r.IntN(8) {
				fmt.Fprintf(&b, "path %q {\n  capabilities = [%s]\n}\n", r.pattern(), quoted(r.caps()))
			}
		}
		texts = append(texts, b.String())
	}
	return texts
}

func quoted(words []string) string {
	out := make([]string, 0, len(words))
	for _, w := range words {
		out = append(out, fmt.Sprintf("%q", w))
	}
	return strings.Join(out, ", ")
}

func parse(t testing.TB, texts ...string) []*policy.Policy {
	t.Helper()
	var policies []*policy.Policy
	for i, text := range texts {
		p, err := policy.Parse(fmt.Sprintf("p%d", i+1), text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		policies = append(policies, p)
	}
	return policies
}

// TestFindsWhatMatches compares the tree that Decide looks in with Matching,
// which looks at every rule.
func TestFindsWhatMatches(t *testing.T) {
	r := newRandom(t)
	n := 3000
	if testing.Short() {
		n = 500
	}
	met := map[string]int{}
	for range n {
		texts := r.policies()
		acl := policy.Compile(parse(t, texts...), policy.Facts{})
		for range 30 {
			path, op := r.path(), pick(r, policy.OpRead, policy.OpList)
			d := acl.Decide(policy.Request{Path: path, Op: op})
			matching := acl.Matching(path, op)
			if len(matching) == 0 {
				met["none"]++
				if d.Reason != policy.ReasonNoRule {
					t.Fatalf("%s %s: %s, but nothing matches\n%s", op, path, d, strings.Join(texts, "\n"))
				}
				continue
			}
			met["some"]++
			if len(matching) > 1 {
				met["several"]++
			}
			if d.Pattern != matching[0].Pattern || !slices.Equal(d.Sources, matching[0].Sources) {
				t.Fatalf("%s %s: %s, but %v matches best\n%s", op, path, d, matching[0], strings.Join(texts, "\n"))
			}
		}
	}
	for _, kind := range []string{"none", "some", "several"} {
		if met[kind] < n {
			t.Errorf("met %s only %d times: the test looks at little", kind, met[kind])
		}
	}
}
