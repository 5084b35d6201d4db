package policy

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"
)

// A Request is what is asked, as far as a decision depends on it.
type Request struct {
	Path string // below /v1/; of OpList with its final slash
	Op   Op

	// Params are the top level of the body and the query, decoded from JSON:
	// string, bool, json.Number or float64, nil, []any, map[string]any. Looked at for
	// read, create, update and patch.
	Params map[string]any

	WrapTTL time.Duration // how long the answer is to stay wrapped; 0: not wrapped

	// Sudo asks for sudo where the path alone would not (NeedsSudo).
	Sudo bool

	// Now is compared with the time until which the ACL is good. It may be zero
	// only if no rule expires.
	Now time.Time
}

// Reason says why a request is served or refused.
type Reason uint8

const (
	ReasonNoOp         Reason = iota // the request asks for no operation
	ReasonGranted                    // a rule gives the capability, and its other conditions hold
	ReasonRoot                       // the root policy: everything is allowed
	ReasonHelp                       // help is always allowed
	ReasonNoRule                     // no rule fits the path
	ReasonDenied                     // the rule says deny
	ReasonNoCapability               // the rule does not give the capability
	ReasonNotWrapped                 // the rule asks for a wrapped answer, within its times
	ReasonMissingParam               // a parameter that the rule requires is not there
	ReasonDeniedParam                // a parameter, or its value, is denied
	ReasonForeignParam               // a parameter, or its value, is not one of those allowed
	ReasonNoSudo                     // the path needs sudo too
	ReasonUnapproved                 // others must agree first, as Decision.Approval says; all else holds
	ReasonBroken                     // the policies cannot be put together for this identity
	ReasonStale                      // a rule has expired since the ACL was made
)

// A Source is one path block of one policy.
type Source struct {
	Policy string
	Line   int
	Caps   Caps // what this block gives
}

// A Decision is the answer to a request. The zero Decision refuses.
type Decision struct {
	Allowed  bool
	Reason   Reason
	Pattern  string    // of the rule that decided, templates filled in; "" if none did
	Sources  []Source  // the blocks of that rule, in the order of the policies; shared, not to be changed
	Op       Op        // as asked
	Param    string    // the parameter at fault, without its value
	Approval *Approval // with ReasonUnapproved: who must agree

	detail string
}

// An ACL is the rules of all policies of one identity. It does not change and
// may be used by several goroutines. The zero ACL refuses everything.
type ACL struct {
	root   bool
	broken string    // why it refuses everything
	until  time.Time // when the first of its rules expires; zero: never

	exact map[string]*rule
	open  branch // all others
	rules []*rule
}

// rule is what all blocks with the same pattern say together.
type rule struct {
	filled
	rank int // among the rules that are not exact; the highest that matches decides

	caps     Caps
	allowed  []Param
	denied   []Param
	required []string
	minWrap  time.Duration
	maxWrap  time.Duration
	approval *Approval
	sources  []Source

	blocks []*Rule // while it is put together
}

// Compile puts policies together for one identity. It costs some microseconds
// for each rule, so a server keeps what it makes until a policy or the identity
// changes.
//
// A rule whose template the facts cannot fill is left out. If the value of one
// holds a slash, or the root policy is not alone, the ACL could give more than
// was meant: it refuses everything, and says why. Policies that are nil count
// as absent.
func Compile(policies []*Policy, facts Facts) *ACL {
	a := &ACL{exact: map[string]*rule{}}
	byKey := map[string]*rule{}
	count := 0
	for _, p := range policies {
		if p == nil {
			continue
		}
		count++
		a.root = a.root || p.root
		for i := range p.Rules {
			r := &p.Rules[i]
			if !r.Expires.IsZero() {
				if !r.Expires.After(facts.Now) {
					continue
				}
				if a.until.IsZero() || r.Expires.Before(a.until) {
					a.until = r.Expires
				}
			}
			f, ref, err := r.pattern.fill(facts, p.AllowSlashes)
			if err == errSlash {
				return &ACL{broken: fmt.Sprintf("policy %s, line %d: {{%s}} %v", p.Name, r.Line, ref.text, err)}
			} else if err != nil {
				continue
			}
			c := byKey[f.key]
			if c == nil {
				c = &rule{filled: f}
				byKey[f.key] = c
				a.rules = append(a.rules, c)
			}
			c.sources = append(c.sources, Source{p.Name, r.Line, r.Caps})
			c.blocks = append(c.blocks, r)
		}
	}
	if a.root && count > 1 {
		return &ACL{broken: "the root policy stands with others"}
	}
	for _, c := range a.rules {
		c.merge()
	}
	a.index()
	return a
}

// merge makes the rule that blocks with the same pattern are together (spec
// server-api §2.3). The blocks belong to policies that others share.
func (c *rule) merge() {
	blocks := c.blocks
	c.blocks = nil
	for _, b := range blocks {
		c.caps |= b.Caps
	}
	if c.caps.Has(Deny) {
		c.caps = Deny
		return
	}
	if len(blocks) == 1 {
		b := blocks[0]
		c.allowed, c.denied, c.required, c.minWrap, c.maxWrap, c.approval = b.Allowed, b.Denied, b.Required, b.MinWrap, b.MaxWrap, b.Approval
		return
	}
	allowed, denied := map[string]*Param{}, map[string]*Param{}
	for _, b := range blocks {
		c.minWrap = lesser(c.minWrap, b.MinWrap)
		c.maxWrap = lesser(c.maxWrap, b.MaxWrap)
		join(allowed, b.Allowed)
		join(denied, b.Denied)
		c.required = append(c.required, b.Required...)
		if b.Approval != nil {
			if c.approval == nil {
				c.approval = &Approval{Self: true}
			}
			c.approval.add(b.Approval)
		}
	}
	c.allowed, c.denied = byName(allowed), byName(denied)
	slices.Sort(c.required)
	c.required = slices.Compact(c.required)
}

// lesser is the smaller of two that are not 0.
func lesser(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// join adds a list to the parameters so far: of one that both name the values
// of both, or any value if one says any.
func join(all map[string]*Param, list []Param) {
	for _, p := range list {
		was := all[p.Name]
		switch {
		case was == nil:
			all[p.Name] = &Param{p.Name, slices.Clone(p.Values)}
		case len(was.Values) == 0 || len(p.Values) == 0:
			was.Values = nil
		default:
			was.Values = append(was.Values, p.Values...)
		}
	}
}

func byName(all map[string]*Param) []Param {
	list := make([]Param, 0, len(all))
	for _, p := range all {
		list = append(list, *p)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}

// add makes a ask for what b asks for too. The one who asks counts only if all
// let them, and the shortest wait holds.
func (a *Approval) add(b *Approval) {
	a.TTL = lesser(a.TTL, b.TTL)
	a.Self = a.Self && b.Self
	a.Factors = append(a.Factors, b.Factors...)
}

// asks says whether a factor is asked for with the operation.
func (a *Approval) asks(op Op) bool {
	return a != nil && slices.ContainsFunc(a.Factors, func(f Factor) bool { return f.Caps.Has(op.Cap()) })
}

// index sorts the rules, the one that decides over others first, and puts them
// where find looks.
func (a *ACL) index() {
	sort.Slice(a.rules, func(i, j int) bool {
		x, y := a.rules[i], a.rules[j]
		if (x.class == exact) != (y.class == exact) {
			return x.class == exact
		}
		return closer(y.filled, x.filled) < 0
	})
	for i, r := range a.rules {
		r.rank = len(a.rules) - i
		if r.class == exact {
			a.exact[r.text] = r
		} else {
			a.open.add(r, r.segs)
		}
	}
}

// Decide says whether a request may be served.
func (a *ACL) Decide(req Request) Decision {
	d := Decision{Op: req.Op}
	switch {
	case a.broken != "":
		d.Reason, d.detail = ReasonBroken, a.broken
		return d
	case a.root:
		d.Allowed, d.Reason = true, ReasonRoot
		return d
	case req.Op == OpHelp:
		d.Allowed, d.Reason = true, ReasonHelp
		return d
	case req.Op.Cap() == 0:
		return d
	case !a.until.IsZero() && (req.Now.IsZero() || !req.Now.Before(a.until)):
		d.Reason = ReasonStale
		return d
	}
	r := a.find(strings.TrimLeft(req.Path, "/"), req.Op == OpList)
	if r == nil {
		d.Reason = ReasonNoRule
		return d
	}
	d.Pattern, d.Sources = r.text, r.sources
	d.Reason, d.Param = r.decide(req)
	d.Allowed = d.Reason == ReasonGranted
	if d.Reason == ReasonUnapproved {
		d.Approval = r.approval
	}
	return d
}

// decide is what the chosen rule says (spec server-api §2.4).
func (r *rule) decide(req Request) (Reason, string) {
	switch {
	case r.caps.Has(Deny):
		return ReasonDenied, ""
	case !r.caps.Has(req.Op.Cap()):
		return ReasonNoCapability, ""
	case r.maxWrap != 0 && (req.WrapTTL <= 0 || req.WrapTTL > r.maxWrap),
		r.minWrap != 0 && (req.WrapTTL <= 0 || req.WrapTTL < r.minWrap):
		return ReasonNotWrapped, ""
	}
	switch req.Op {
	case OpRead, OpCreate, OpUpdate, OpPatch:
		if reason, param := r.judge(req.Params); reason != ReasonGranted {
			return reason, param
		}
	}
	switch {
	case (req.Sudo || NeedsSudo(req.Path)) && !r.caps.Has(Sudo):
		return ReasonNoSudo, ""
	case r.approval.asks(req.Op):
		return ReasonUnapproved, ""
	}
	return ReasonGranted, ""
}

// Capabilities are the words that the capabilities calls of the API answer for
// a path: those of the rule for it, sorted; "root" or "deny" alone.
func (a *ACL) Capabilities(path string) []string {
	if a.root {
		return []string{"root"}
	}
	return a.Caps(path).Names()
}

// Caps is what the rule for a path gives; 0 if there is none. The root policy
// has no rules, and its Caps are 0.
func (a *ACL) Caps(path string) Caps {
	if r := a.find(strings.TrimLeft(path, "/"), true); r != nil {
		return r.caps
	}
	return 0
}

// Until is when a rule of the ACL expires; zero if none does. From then on
// Decide refuses and Compile makes the ACL anew.
func (a *ACL) Until() time.Time { return a.until }

// find returns the one rule for a path, or nil (spec server-api §2.3). With
// list, one for the path without its final slash serves too, if there is none with it.
func (a *ACL) find(path string, list bool) *rule {
	if r := a.exact[path]; r != nil {
		return r
	}
	bare, slash := strings.CutSuffix(path, "/")
	if list && slash {
		if r := a.exact[bare]; r != nil {
			return r
		}
	}
	r := a.open.find(path, nil)
	if r == nil && list && slash {
		r = a.open.find(bare, nil)
	}
	return r
}

// Opens says whether some rule gives anything on a folder or below it, such
// as "prod/": what the answer to "which mounts are there" depends on.
func (a *ACL) Opens(folder string) bool {
	if a.root {
		return true
	}
	folder = strings.TrimLeft(folder, "/")
	if c := a.Caps(folder); c != 0 && c != Deny {
		return true
	}
	return slices.ContainsFunc(a.rules, func(r *rule) bool { return r.caps != 0 && r.caps != Deny && r.below(folder) })
}

// branch is a tree of the patterns that are not exact, one segment deep at
// each step, so that a path meets few of them.
type branch struct {
	next  map[string]*branch
	any   *branch
	here  *rule            // ends with this segment
	tails map[string]*rule // ends within the next segment, with *
	sizes []int            // the lengths of tails
	top   int              // the highest rank in the tree
}

func (b *branch) add(r *rule, segs []seg) {
	b.top = max(b.top, r.rank)
	switch {
	case len(segs) == 0:
		b.here = higher(b.here, r)
		return
	case len(segs) == 1 && r.star:
		text := segs[0].text
		if b.tails == nil {
			b.tails = map[string]*rule{}
		}
		b.tails[text] = higher(b.tails[text], r)
		if !slices.Contains(b.sizes, len(text)) {
			b.sizes = append(b.sizes, len(text))
		}
		return
	}
	child := b.any
	if !segs[0].any {
		child = b.next[segs[0].text]
	}
	if child == nil {
		child = &branch{}
		if segs[0].any {
			b.any = child
		} else {
			if b.next == nil {
				b.next = map[string]*branch{}
			}
			b.next[segs[0].text] = child
		}
	}
	child.add(r, segs[1:])
}

// find returns the rule of the highest rank that matches the rest of a path,
// or best if that is higher.
func (b *branch) find(path string, best *rule) *rule {
	seg, rest, more := strings.Cut(path, "/")
	for _, size := range b.sizes {
		if size <= len(seg) {
			best = higher(best, b.tails[seg[:size]])
		}
	}
	for _, child := range [...]*branch{b.next[seg], b.any} {
		switch {
		case child == nil || best != nil && child.top < best.rank:
		case more:
			best = child.find(rest, best)
		default:
			best = higher(best, child.here)
		}
	}
	return best
}

// covering returns the rule of the highest rank that matches every path that f,
// from its segment i on, matches; or best if that is higher.
func (b *branch) covering(f filled, i int, best *rule) *rule {
	s, last := f.segs[i], i == len(f.segs)-1
	for _, size := range b.sizes {
		if size <= len(s.text) && (!s.any || size == 0) {
			best = higher(best, b.tails[s.text[:size]])
		}
	}
	if last && f.star {
		return best // only what ends in * goes on as f does
	}
	children := [...]*branch{nil, b.any}
	if !s.any {
		children[0] = b.next[s.text]
	}
	for _, child := range children {
		switch {
		case child == nil || best != nil && child.top < best.rank:
		case !last:
			best = child.covering(f, i+1, best)
		default:
			best = higher(best, child.here)
		}
	}
	return best
}

// higher is the one of two rules that decides; either may be nil.
func higher(a, b *rule) *rule {
	if a == nil || b != nil && b.rank > a.rank {
		return b
	}
	return a
}
