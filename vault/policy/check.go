package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"envrun/vault/near"
)

// A Warning is something that a policy does and that its author may not have
// meant. None of them is an error.
type Warning struct {
	Line    int
	Kind    WarningKind
	Pattern string // of the rule; as written
	Severe  bool   // it gives more than one environment's worth, or takes away less than it says
	Detail  string // what it does, lower case, without a full stop
}

// WarningKind is a stable word for what a warning is about.
type WarningKind string

const (
	WarnBreadth   WarningKind = "breadth"    // gives rights on every path there is
	WarnCrosses   WarningKind = "crosses"    // reaches into more than one environment or mount
	WarnSudo      WarningKind = "sudo"       // gives sudo
	WarnEscalates WarningKind = "escalates"  // lets its holder get any right
	WarnWildcard  WarningKind = "wildcard"   // a wildcard that means something else than it looks like
	WarnShadowed  WarningKind = "shadowed"   // never decides: another rule wins wherever it fits
	WarnRepeated  WarningKind = "repeated"   // the same path stands in the policy before
	WarnNever     WarningKind = "never"      // no request has such a path, or asks for what is given there
	WarnMount     WarningKind = "mount"      // begins with no mount there is
	WarnNothing   WarningKind = "nothing"    // gives nothing and hides what would
	WarnTemplate  WarningKind = "template"   // does not hold for an identity that cannot fill the template
	WarnParameter WarningKind = "parameters" // names a parameter that no request to this path has
)

// A Mount is one place where requests can go, as Check is told of them.
type Mount struct {
	Path string // "prod/"
	KV   bool   // an environment: a KV version 2 mount
}

// Check looks for what is often not meant: breadth, sudo, paths that give
// their holder any right, rules that never decide, wildcards that are none, paths
// that no request has. The mounts are those of the server: with them it also
// finds misspelt ones and paths that a KV mount does not have. nil: not known.
//
// It looks at one policy alone: that another policy of the same identity adds
// to a rule, or wins over it, it does not see. The warnings are sorted by line.
func Check(p *Policy, mounts []Mount) []Warning {
	c := checker{policy: p, mounts: mounts}
	// The templates of a copy are filled with themselves, so that what is
	// compared below is what the author wrote.
	plain := &Policy{Name: p.Name, Rules: slices.Clone(p.Rules)}
	for i := range plain.Rules {
		plain.Rules[i].pattern = plain.Rules[i].pattern.opaque()
		plain.Rules[i].Expires = time.Time{}
	}
	c.acl = Compile([]*Policy{plain}, Facts{})
	rules := make(map[string]*rule, len(c.acl.rules))
	for _, r := range c.acl.rules {
		rules[r.key] = r
	}
	for i := range p.Rules {
		r := &p.Rules[i]
		f, _, _ := plain.Rules[i].pattern.fill(Facts{}, true)
		c.rule, c.whole = r, rules[f.key]
		c.repeated()
		c.breadth(f)
		c.escalates(f)
		c.shadowed(f)
		c.literal(f)
		c.mount(f)
		c.parameters(f)
		if r.Caps == 0 {
			c.warn(WarnNothing, true, "gives nothing and hides every broader rule: write deny if that is meant")
		}
		if r.Caps&(Recover|Scan|Subscribe) != 0 {
			c.warn(WarnNever, false, "gives %s, which no request of this server asks for", r.Caps&(Recover|Scan|Subscribe))
		}
		if r.pattern.templated() && r.Caps.Has(Deny) {
			c.warn(WarnTemplate, false, "denies only who can fill its template: for everyone else the rule is not there")
		}
	}
	slices.SortStableFunc(c.found, func(a, b Warning) int { return cmp.Compare(a.Line, b.Line) })
	return c.found
}

type checker struct {
	policy *Policy
	mounts []Mount
	acl    *ACL
	rule   *Rule // the present one
	whole  *rule // what all blocks with its pattern say
	found  []Warning
}

func (c *checker) warn(kind WarningKind, severe bool, format string, args ...any) {
	c.found = append(c.found, Warning{c.rule.Line, kind, c.rule.Pattern, severe, fmt.Sprintf(format, args...)})
}

// opaque is the pattern with its templates as plain text.
func (p pattern) opaque() pattern {
	p.parts = slices.Clone(p.parts)
	for i, part := range p.parts {
		if part.ref != nil {
			p.parts[i].text, p.parts[i].ref = "{{"+strings.ReplaceAll(part.ref.text, "/", "\u2215")+"}}", nil
		}
	}
	return p
}

func (c *checker) repeated() {
	first := c.whole.sources[0]
	switch {
	case first.Line == c.rule.Line:
	case c.whole.caps.Has(Deny) && !(first.Caps.Has(Deny) && c.rule.Caps.Has(Deny)):
		c.warn(WarnRepeated, false, "is the path of line %d too: the blocks are one rule, and it denies", first.Line)
	default:
		c.warn(WarnRepeated, false, "is the path of line %d too: the blocks are one rule, and it gives what any of them does", first.Line)
	}
}

func (c *checker) breadth(f filled) {
	gives := c.rule.Caps
	if gives == 0 || gives.Has(Deny) {
		return
	}
	if gives.Has(Sudo) {
		switch {
		case f.class != exact:
			c.warn(WarnSudo, true, "gives sudo on all that fits: name each path that needs it")
		case NeedsSudo(f.text):
			c.warn(WarnSudo, true, "gives sudo, on a path that only administrators use")
		default:
			c.warn(WarnSudo, false, "gives sudo, which nothing asks for on this path")
		}
	}
	open := f.segs[0]
	switch {
	case strings.Contains(open.text, "{{"):
		c.warn(WarnCrosses, true, "begins with a template: what an identity is called says which environment it reaches")
		return
	case f.class == exact || !open.any && !(f.star && len(f.segs) == 1):
		return // the mount is named
	}
	everything := f.star && f.segs[len(f.segs)-1].text == ""
	for _, s := range f.segs[:len(f.segs)-1] {
		everything = everything && s.any
	}
	if everything {
		c.warn(WarnBreadth, true, "gives %s on every path of the server, like root", gives)
		return
	}
	var reached []string
	for _, m := range c.mounts {
		if f.reaches(m.Path) {
			reached = append(reached, m.Path)
		}
	}
	switch {
	case len(reached) > 1:
		c.warn(WarnCrosses, true, "reaches into %s: write one rule for each environment that is meant", strings.Join(reached, ", "))
	case c.mounts == nil || len(reached) == 0:
		c.warn(WarnCrosses, true, "reaches into every environment whose name fits, also those to come")
	default:
		c.warn(WarnCrosses, false, "reaches into %s now, and into every environment to come whose name fits", reached[0])
	}
}

// shadowed finds the rule that wins wherever the present one fits: a wildcard
// further to the left, or more of them, count more than what the rest of a path
// says.
func (c *checker) shadowed(f filled) {
	if f.class == exact {
		return
	}
	by := c.acl.open.covering(f, 0, c.whole)
	if by == c.whole {
		return
	}
	source := by.sources[0]
	if c.rule.Caps.Has(Deny) {
		c.warn(WarnShadowed, true, "never denies anything: %q in line %d wins wherever this fits", by.text, source.Line)
		return
	}
	c.warn(WarnShadowed, by.caps&^c.rule.Caps != 0, "never decides: %q in line %d wins wherever this fits", by.text, source.Line)
}

// literal finds characters and segments that look like something else.
func (c *checker) literal(f filled) {
	denies := c.rule.Caps.Has(Deny)
	for i, s := range f.segs {
		last := i == len(f.segs)-1
		switch {
		case s.any:
		case strings.Contains(s.text, "*"):
			c.warn(WarnWildcard, denies, "has a * that is no wildcard: only the last character of a path can be one, + stands for a segment")
		case strings.Contains(s.text, "+"):
			c.warn(WarnWildcard, denies, "has a + that is no wildcard: it is one only as a whole segment")
		case s.text == "." || s.text == "..":
			c.warn(WarnNever, denies, "has a segment %q, which no request has", s.text)
		case s.text == "" && !last:
			c.warn(WarnNever, denies, "has two slashes together, which no request has")
		case s.text == "" && !f.star && i > 0 && c.rule.Caps != 0 && c.rule.Caps != List:
			c.warn(WarnNever, denies, "ends in a slash: only list asks for such a path")
		case last && f.star && s.text != "" && i > 0 && !denies && c.rule.Caps != 0:
			c.warn(WarnWildcard, false, "fits every name that begins with %q: end it in %q for what is below that name alone", s.text, s.text+"/*")
		}
	}
}

// What a KV version 2 mount has below it, and what can be asked for there.
var kvPaths = [...]struct {
	name string
	caps Caps
}{
	{"data", Create | Read | Update | Patch | Delete},
	{"metadata", Create | Read | Update | Patch | Delete | List},
	{"delete", Update},
	{"undelete", Update},
	{"destroy", Update},
	{"subkeys", Read},
	{"config", Create | Read | Update},
}

// builtin mounts are always there.
var builtin = [...]string{"sys/", "auth/", "identity/", "cubbyhole/"}

func (c *checker) mount(f filled) {
	if c.mounts == nil || f.segs[0].any || f.star && len(f.segs) == 1 || strings.Contains(f.segs[0].text, "{{") {
		return
	}
	var known []string
	for _, b := range builtin {
		if f.reaches(b) || f.text == strings.TrimSuffix(b, "/") {
			return
		}
		known = append(known, b)
	}
	for _, m := range c.mounts {
		if f.reaches(m.Path) {
			if m.KV {
				c.kv(f, m.Path)
			}
			return
		}
		known = append(known, m.Path)
	}
	name := f.segs[0].text + "/"
	if meant := near.Nearest(name, known); meant != "" {
		c.warn(WarnMount, true, "begins with %s, which is no mount; did you mean %s?", name, meant)
		return
	}
	c.warn(WarnMount, c.rule.Caps.Has(Deny), "begins with %s, which is no mount", name)
}

// kv finds what a KV mount does not have.
func (c *checker) kv(f filled, mount string) {
	depth := strings.Count(mount, "/")
	if len(f.segs) <= depth || f.segs[depth].any {
		return
	}
	s, tail := f.segs[depth], f.star && len(f.segs) == depth+1
	var can Caps
	for _, k := range kvPaths {
		if k.name == s.text || tail && strings.HasPrefix(k.name, s.text) {
			can |= k.caps
		}
	}
	gives := c.rule.Caps
	switch {
	case can == 0:
		rest := strings.TrimPrefix(f.text, mount)
		c.warn(WarnNever, true, "is no path of a KV mount: the values are at %q, the names at %q", mount+"data/"+rest, mount+"metadata/"+rest)
	case gives == 0 || gives.Has(Deny) || tail:
	case s.text == "data" && gives.Has(List):
		c.warn(WarnNever, false, "gives list, which is asked for at %q", mount+"metadata/"+strings.TrimPrefix(f.text, mount+"data/"))
	case gives&can == 0:
		c.warn(WarnNever, true, "gives %s, and only %s is asked for there", gives, can)
	}
}

// parameters finds names that a KV mount's values do not have: what a secret
// holds is no parameter.
func (c *checker) parameters(f filled) {
	for _, m := range c.mounts {
		if !m.KV || !f.reaches(m.Path+"data/") || f.segs[0].any {
			continue
		}
		for _, list := range [...][]Param{c.rule.Denied, c.rule.Allowed} {
			for _, p := range list {
				switch p.Name {
				case "*", "data", "options", "version":
				default:
					c.warn(WarnParameter, len(c.rule.Denied) > 0, "has a rule for the parameter %q; a request to a KV mount has data, options and version, and what is in data is not looked at", p.Name)
				}
			}
		}
		return
	}
}

// What lets its holder get any right, by one request each. A path that ends in
// a slash is a folder, and a + in it any name.
var escalations = [...]struct {
	path string
	caps Caps // any of these
	what string
}{
	{"sys/policies/acl/", Create | Update | Patch, "write policies, also their own"},
	{"sys/policy/", Create | Update, "write policies, also their own"},
	{"sys/auth/", Create | Update, "add a way to sign in with any policy"},
	{"auth/+/role/", Create | Update | Patch, "let anyone sign in with any policy"},
	{"auth/token/roles/", Create | Update | Patch, "make tokens with any policy, by a role"},
	{"auth/token/create-orphan", Create | Update, "make tokens that outlive their own"},
	{"identity/group", Create | Update, "put anyone into any group"},
	{"identity/group/", Create | Update, "put anyone into a group"},
	{"identity/entity", Create | Update, "give anyone any policy"},
	{"identity/entity/", Create | Update, "give someone any policy"},
	{"sys/audit/", Create | Update | Delete, "change what is logged"},
	{"sys/raw/", Read | Create | Update, "reach the storage below all rules"},
}

func (c *checker) escalates(f filled) {
	gives := c.rule.Caps
	if gives.Has(Deny) {
		return
	}
	var said []string
	for _, e := range escalations {
		folder := strings.HasSuffix(e.path, "/")
		probe := e.path
		if folder {
			probe = strings.ReplaceAll(e.path, "+", "any") + "any"
		}
		switch {
		case gives&e.caps == 0, NeedsSudo(probe) && !c.whole.caps.Has(Sudo), slices.Contains(said, e.what):
		case folder && !f.reaches(e.path), !folder && !f.matches(e.path):
		case f.matches(probe) && c.acl.find(probe, false) != c.whole:
			// A closer rule stands before this one.
		default:
			said = append(said, e.what)
			c.warn(WarnEscalates, true, "gives %s here: whoever has it can %s", gives&e.caps, e.what)
		}
	}
}
