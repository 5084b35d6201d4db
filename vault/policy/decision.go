package policy

import (
	"fmt"
	"iter"
	"slices"
	"strings"
)

// Deciding are the blocks that decided: for a request that is served those
// that give its capability, for one that is denied those that deny, and
// otherwise all of the rule.
func (d Decision) Deciding() iter.Seq[Source] {
	want := d.Op.Cap()
	if d.Reason == ReasonDenied {
		want = Deny
	}
	return func(yield func(Source) bool) {
		for _, s := range d.Sources {
			if d.Reason != ReasonGranted && d.Reason != ReasonDenied || s.Caps.Has(want) {
				if !yield(s) {
					return
				}
			}
		}
	}
}

// String says in one line what was decided, by which rule and why: for the
// audit log and for explain. It names parameters and never their values.
func (d Decision) String() string {
	var b strings.Builder
	if d.Allowed {
		b.WriteString("allowed: ")
	} else {
		b.WriteString("refused: ")
	}
	switch d.Reason {
	case ReasonNoOp:
		b.WriteString("the request asks for no operation")
	case ReasonRoot:
		b.WriteString("the root policy allows everything")
	case ReasonHelp:
		b.WriteString("help is always allowed")
	case ReasonNoRule:
		b.WriteString("no rule of any policy is for this path")
	case ReasonBroken:
		b.WriteString(d.detail)
	case ReasonStale:
		b.WriteString("a rule has expired, and the policies have not been put together anew")
	default:
		fmt.Fprintf(&b, "path %q", d.Pattern)
		for i, s := range slices.Collect(d.Deciding()) {
			sep := ", "
			if i == 0 {
				sep = " of "
			}
			fmt.Fprintf(&b, "%spolicy %s line %d", sep, s.Policy, s.Line)
		}
		b.WriteString(" ")
		b.WriteString(d.says())
	}
	return b.String()
}

func (d Decision) says() string {
	switch d.Reason {
	case ReasonGranted:
		return "gives " + d.Op.String()
	case ReasonDenied:
		return "denies"
	case ReasonNoCapability:
		return "does not give " + d.Op.String()
	case ReasonNotWrapped:
		return "asks for a wrapped answer, and for how long"
	case ReasonMissingParam:
		return fmt.Sprintf("requires the parameter %q", d.Param)
	case ReasonDeniedParam:
		return fmt.Sprintf("denies the parameter %q, or its value", d.Param)
	case ReasonForeignParam:
		return fmt.Sprintf("does not allow the parameter %q, or its value", d.Param)
	case ReasonNoSudo:
		return "does not give sudo, which this path needs too"
	}
	return "asks that others agree first"
}

// A Match is a rule that fits a path, as Matching lists them.
type Match struct {
	Pattern string
	Caps    Caps
	Sources []Source
}

// Matching lists the rules that fit a path, the one that decides first and then
// those it wins over, in their order. It is what explain shows, and what
// Decide would do if it were slow.
func (a *ACL) Matching(path string, op Op) []Match {
	path = strings.TrimLeft(path, "/")
	paths := []string{path}
	if bare, ok := strings.CutSuffix(path, "/"); ok && op == OpList {
		paths = append(paths, bare)
	}
	var matches []Match
	var seen []*rule
	for _, isExact := range [...]bool{true, false} {
		for _, path := range paths {
			for _, r := range a.rules {
				if (r.class == exact) == isExact && r.matches(path) && !slices.Contains(seen, r) {
					seen = append(seen, r)
					matches = append(matches, Match{r.text, r.caps, r.sources})
				}
			}
		}
	}
	return matches
}
