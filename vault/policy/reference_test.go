package policy_test

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"testing"

	"envrun/vault/policy"
)

// reference decides as server-api §2.3 says it in words, looking at every rule with
// a regular expression: slow, and with nothing in it that Compile and Decide do. It
// knows capabilities alone, without templates.
type reference struct{ rules []referenceRule }

type referenceRule struct {
	pattern string
	fits    *regexp.Regexp
	caps    policy.Caps
}

func newReference(policies []*policy.Policy) reference {
	byPattern := map[string]policy.Caps{}
	for _, p := range policies {
		for _, r := range p.Rules {
			byPattern[r.Pattern] |= r.Caps
		}
	}
	var ref reference
	for pattern, caps := range byPattern {
		if caps.Has(policy.Deny) {
			caps = policy.Deny
		}
		ref.rules = append(ref.rules, referenceRule{pattern, regexp.MustCompile(expression(pattern)), caps})
	}
	return ref
}

func (r referenceRule) segmented() bool {
	return r.pattern == "+" || strings.HasPrefix(r.pattern, "+/") || strings.Contains(r.pattern, "/+")
}

func (r referenceRule) exact() bool { return !r.segmented() && !strings.HasSuffix(r.pattern, "*") }

// before orders two rules that fit, as §2.3 (a) to (e), the one that decides first.
func (r referenceRule) before(o referenceRule) int {
	wildcard := func(r referenceRule) int {
		if r.segmented() {
			return strings.Index(r.pattern, "+")
		}
		return len(r.pattern) - 1
	}
	star := func(r referenceRule) int { return len(r.pattern) - len(strings.TrimSuffix(r.pattern, "*")) }
	pluses := func(r referenceRule) int {
		n := 0
		for seg := range strings.SplitSeq(r.pattern, "/") {
			if strings.TrimSuffix(seg, "*") == "+" {
				n++
			}
		}
		return n
	}
	return cmp.Or(
		cmp.Compare(wildcard(o), wildcard(r)),
		cmp.Compare(star(r), star(o)),
		cmp.Compare(pluses(r), pluses(o)),
		cmp.Compare(len(strings.TrimSuffix(o.pattern, "*")), len(strings.TrimSuffix(r.pattern, "*"))),
		cmp.Compare(o.pattern, r.pattern),
	)
}

// caps is what is given for a path; false if no rule is for it.
func (ref reference) caps(path string, list bool) (policy.Caps, bool) {
	path = strings.TrimLeft(path, "/")
	bare, folder := strings.CutSuffix(path, "/")
	exactly := func(path string) (policy.Caps, bool) {
		for _, r := range ref.rules {
			if r.exact() && r.pattern == path {
				return r.caps, true
			}
		}
		return 0, false
	}
	closest := func(path string) (policy.Caps, bool) {
		var fit []referenceRule
		for _, r := range ref.rules {
			if !r.exact() && r.fits.MatchString(path) {
				fit = append(fit, r)
			}
		}
		if len(fit) == 0 {
			return 0, false
		}
		return slices.MinFunc(fit, referenceRule.before).caps, true
	}
	if caps, ok := exactly(path); ok {
		return caps, true
	}
	if list && folder {
		if caps, ok := exactly(bare); ok {
			return caps, true
		}
	}
	if caps, ok := closest(path); ok {
		return caps, true
	}
	if list && folder {
		return closest(bare)
	}
	return 0, false
}

// TestDecidesAsTheReference asks both the same, on policies made at random.
func TestDecidesAsTheReference(t *testing.T) {
	r := newRandom(t)
	n := 2000
	if testing.Short() {
		n = 300
	}
	decided := 0
	ops := []policy.Op{policy.OpRead, policy.OpCreate, policy.OpUpdate, policy.OpPatch, policy.OpDelete, policy.OpList}
	for range n {
		texts := r.policies()
		policies := parse(t, texts...)
		acl, ref := policy.Compile(policies, policy.Facts{}), newReference(policies)
		for range 40 {
			path, op := r.path(), pick(r, ops...)
			caps, some := ref.caps(path, op == policy.OpList)
			want := some && !caps.Has(policy.Deny) && caps.Has(op.Cap())
			d := acl.Decide(policy.Request{Path: path, Op: op})
			if d.Allowed != want || (d.Reason == policy.ReasonNoRule) == some {
				t.Fatalf("%s %s: %s, and the reference says %v (%s)\n%s", op, path, d, want, caps, strings.Join(texts, "\n"))
			}
			if some {
				decided++
			}
		}
	}
	if decided < n {
		t.Errorf("only %d requests met a rule: the test looks at little", decided)
	}
}
