package policy

import (
	"slices"
	"sort"
	"strings"
)

// A Change is what becomes of some paths when policies are replaced by others.
type Change struct {
	// Pattern is which paths: + stands for any segment, * at the end for any rest,
	// … for any rest of a segment. Those of them for which a closer rule stands, before
	// or after, are in other changes or in none.
	Pattern  string
	Was, Now Caps // what a request there may be given; 0 and Deny: nothing

	// Conditions says that the capabilities come under other conditions: parameters,
	// wrapping, approval or an end. It is the only change where Was is Now.
	Conditions bool
}

// Gained is what is possible now and was not.
func (c Change) Gained() Caps { return open(c.Now) &^ open(c.Was) }

// Lost is what was possible and is not now.
func (c Change) Lost() Caps { return open(c.Was) &^ open(c.Now) }

// open is what a set gives.
func open(c Caps) Caps {
	if c.Has(Deny) {
		return 0
	}
	return c
}

// maxPairs bounds what Compare looks at.
const maxPairs = 200_000

// Compare says what an identity that has the policies was may do more or less when
// it has the policies now instead: for every path there is, not only for those of the
// rules. List is compared for paths that end in a slash, what else there is for those
// that do not. A template is compared as it stands, for whoever fills it. The changes are sorted by
// pattern. complete is false where there are too many rules to look at each with
// each; then a change that a broader rule comes to by the removal of a narrower one may be missing.
func Compare(was, now []*Policy) (changes []Change, complete bool) {
	old, oldEnds := asWritten(was)
	fresh, freshEnds := asWritten(now)
	depth := 1
	for _, a := range [...]*ACL{old, fresh} {
		for _, r := range a.rules {
			depth = max(depth, len(r.segs)+1)
		}
	}
	c := comparison{old: old, now: fresh, depth: depth + 1, oldEnds: oldEnds, nowEnds: freshEnds, seen: map[Change]bool{}}
	// Of a path, one rule decides before and one after. If neither of the two was
	// touched, nothing changes: so one of each pair is a rule that was.
	touched := map[string]bool{}
	for _, r := range old.rules {
		touched[r.key] = true
	}
	for _, r := range fresh.rules {
		if o := find(old.rules, r.key); o != nil && o.caps == r.caps && c.sameConditions(o, r) {
			delete(touched, r.key)
		} else {
			touched[r.key] = true
		}
	}
	complete = len(touched)*(len(old.rules)+len(fresh.rules)) <= maxPairs
	for _, x := range old.rules {
		c.pair(x, nil)
		for _, y := range fresh.rules {
			if (touched[x.key] || touched[y.key]) && (complete || x.key == y.key) {
				c.pair(x, y)
			}
		}
	}
	for _, y := range fresh.rules {
		c.pair(nil, y)
	}
	sort.Slice(c.changes, func(i, j int) bool {
		a, b := c.changes[i], c.changes[j]
		if a.Pattern != b.Pattern {
			return a.Pattern < b.Pattern
		}
		return a.Now < b.Now
	})
	return c.changes, complete
}

func find(rules []*rule, key string) *rule {
	for _, r := range rules {
		if r.key == key {
			return r
		}
	}
	return nil
}

// asWritten compiles policies with their templates as plain text, and says when
// the rules of each pattern end.
func asWritten(policies []*Policy) (*ACL, map[string]string) {
	ends := map[string]string{}
	var plain []*Policy
	for _, p := range policies {
		if p == nil {
			continue
		}
		p = p.plain()
		for i := range p.Rules {
			r := &p.Rules[i]
			if !r.Expires.IsZero() {
				f, _, _ := r.pattern.fill(Facts{}, true)
				ends[f.key] += " " + r.Expires.String()
			}
		}
		plain = append(plain, p)
	}
	return Compile(plain, Facts{}), ends
}

// plain is a copy of a policy whose templates are filled with themselves.
func (p *Policy) plain() *Policy {
	c := &Policy{Name: p.Name, Rules: slices.Clone(p.Rules), AllowSlashes: true, root: p.root}
	for i := range c.Rules {
		c.Rules[i].pattern = c.Rules[i].pattern.opaque()
	}
	return c
}

type comparison struct {
	old, now         *ACL
	oldEnds, nowEnds map[string]string
	depth            int // one more segment than any pattern has
	changes          []Change
	seen             map[Change]bool
}

// pair looks for paths that x decides before and y after, either of them nil for
// no rule. What decides a path decides too one of the same depth that has, where the
// two patterns leave a name open, a name that no rule knows: fewer rules fit it, and both
// of these do. So one path of each depth is looked at.
func (c *comparison) pair(x, y *rule) {
	var plain, folder bool
	var seen []want // of the folder
	for depth := 1; depth <= c.depth; depth++ {
		if wants, ok := meet(x, y, depth, false, false, false); ok && !plain && wants[depth-1] != (want{}) {
			path := sampleOf(wants)
			plain = c.old.find(path, false) == x && c.now.find(path, false) == y
		}
		for bare := range 4 {
			if folder {
				break
			}
			if wants, ok := meet(x, y, depth, true, bare&1 != 0, bare&2 != 0); ok {
				path := sampleOf(wants)
				folder, seen = c.old.find(path, true) == x && c.now.find(path, true) == y, wants
			}
		}
	}
	change := Change{Was: x.effect(plain, folder), Now: y.effect(plain, folder)}
	if plain || folder {
		change.Conditions = x != nil && y != nil && open(change.Was) != 0 && open(change.Now) != 0 && !c.sameConditions(x, y)
	}
	if open(change.Was) == open(change.Now) && !change.Conditions {
		return
	}
	change.Pattern = meetText(x, y, seen)
	if !c.seen[change] {
		c.seen[change] = true
		c.changes = append(c.changes, change)
	}
}

// effect is what of a rule's capabilities counts: list for folders, all others for
// what is none.
func (r *rule) effect(plain, folder bool) Caps {
	switch {
	case r == nil:
		return 0
	case r.caps.Has(Deny):
		return Deny
	}
	var caps Caps
	if plain {
		caps |= r.caps &^ List
	}
	if folder {
		caps |= r.caps & List
	}
	return caps
}

func (c *comparison) sameConditions(x, y *rule) bool {
	same := func(a, b []Param) bool {
		return slices.EqualFunc(a, b, func(p, q Param) bool { return p.Name == q.Name && slices.Equal(p.Values, q.Values) })
	}
	return same(x.allowed, y.allowed) && same(x.denied, y.denied) && slices.Equal(x.required, y.required) &&
		x.minWrap == y.minWrap && x.maxWrap == y.maxWrap && x.approval.same(y.approval) && c.oldEnds[x.key] == c.nowEnds[y.key]
}

func (a *Approval) same(b *Approval) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.TTL == b.TTL && a.Self == b.Self && slices.EqualFunc(a.Factors, b.Factors, func(f, g Factor) bool {
		return f.Name == g.Name && f.Caps == g.Caps && f.Count == g.Count && slices.Equal(f.Groups, g.Groups) && slices.Equal(f.GroupIDs, g.GroupIDs)
	})
}

// part of a path that patterns ask for: a text, or the beginning of one.
type want struct {
	text string
	open bool // more may follow
}

// at is what a rule asks of the segment i of a path of so many; false if no such
// path fits. With bare the path is taken without its last, empty segment.
func (r *rule) at(i, depth int, bare bool) (want, bool) {
	any := want{open: true}
	if r == nil {
		return any, true
	}
	if bare {
		depth--
	}
	n := len(r.segs)
	switch {
	case n > depth, n < depth && !r.star:
		return want{}, false
	case i >= n, r.segs[i].any:
		return any, true
	}
	return want{r.segs[i].text, r.star && i == n-1}, true
}

// and is what satisfies both.
func (w want) and(v want) (want, bool) {
	switch {
	case !w.open && !v.open:
		return w, w.text == v.text
	case !w.open:
		return w, strings.HasPrefix(w.text, v.text)
	case !v.open:
		return v, strings.HasPrefix(v.text, w.text)
	case len(w.text) < len(v.text):
		w, v = v, w
	}
	return w, strings.HasPrefix(w.text, v.text)
}

// meet is what both rules ask of the segments of a path of so many. A folder ends in
// a slash; a rule is bare if it is to fit the folder's path without that.
func meet(x, y *rule, depth int, folder, bareX, bareY bool) ([]want, bool) {
	wants := make([]want, 0, depth)
	for i := range depth {
		a, okA := x.at(i, depth, bareX)
		b, okB := y.at(i, depth, bareY)
		w, ok := a.and(b)
		if folder && i == depth-1 {
			w, ok = w.and(want{})
			ok = ok && depth > 1
		}
		if !okA || !okB || !ok || w == (want{}) && i < depth-1 { // no request has two slashes together
			return nil, false
		}
		wants = append(wants, w)
	}
	return wants, true
}

// sampleOf is a path as it is wanted, with a name that no rule knows wherever one is open.
func sampleOf(wants []want) string {
	var b strings.Builder
	for i, w := range wants {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(w.text)
		if w.open {
			b.WriteString(wildText)
		}
	}
	return b.String()
}

// meetText is what fits both rules, for people; folder is used where one of them fits
// a folder and the other its path without the slash.
func meetText(x, y *rule, folder []want) string {
	switch {
	case x == nil:
		return y.text
	case y == nil || x.key == y.key:
		return x.text
	}
	wants, ok := meet(x, y, max(len(x.segs), len(y.segs)), false, false, false)
	if !ok {
		wants = folder
	}
	var b strings.Builder
	for i, w := range wants {
		if i > 0 {
			b.WriteByte('/')
		}
		switch {
		case !w.open:
			b.WriteString(w.text)
		case ok && i == len(wants)-1 && x.star && y.star:
			b.WriteString(w.text + "*")
		case w.text == "":
			b.WriteByte('+')
		default:
			b.WriteString(w.text + "…")
		}
	}
	return b.String()
}
