package policy

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

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
	Instead string // what to write if it was not meant
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
	WarnHalf      WarningKind = "half"       // denies one way to something that stays open by another
)

// Why says why such a warning matters, as the rest of a sentence.
func (k WarningKind) Why() string {
	switch k {
	case WarnBreadth:
		return "what is added to the server later is given too, and one token that leaks is all of it"
	case WarnCrosses:
		return "whoever should have one environment has others"
	case WarnSudo:
		return "sudo opens what the server keeps for its administrators"
	case WarnEscalates:
		return "its other rules are no bound: the holder can give themselves more"
	case WarnWildcard:
		return "it fits other paths than it seems to"
	case WarnShadowed:
		return "nobody notices that it has no effect until it was needed"
	case WarnRepeated:
		return "who reads one of the blocks does not see what the other does"
	case WarnNever:
		return "what it seems to give or to take away it does not"
	case WarnMount:
		return "a rule for a path that is not there has no effect"
	case WarnNothing:
		return "a reader takes it for a rule that gives something"
	case WarnTemplate:
		return "a token without that identity is not held back by it"
	case WarnParameter:
		return "it refuses requests that it was not meant for, or none"
	case WarnHalf:
		return "what seems to be closed can be seen or destroyed"
	}
	return ""
}

// A Mount is one place where requests can go, as Check is told of them.
type Mount struct {
	Path string // "prod/"
	KV   bool   // an environment: a KV version 2 mount
}

// Known is what Check is told of the server. The zero Known is nothing.
type Known struct {
	Mounts []Mount
	All    bool // there are no mounts but these
}

// Check looks for what is often not meant: breadth, sudo, paths that give
// their holder any right, rules that never decide, wildcards that are none, paths
// that no request has. With mounts of the server it also finds misspelt ones and
// paths that a KV mount does not have.
//
// It looks at one policy alone: that another policy of the same identity adds
// to a rule, or wins over it, it does not see. The warnings are sorted by line.
func Check(p *Policy, known Known) []Warning {
	c := checker{policy: p, known: known}
	// The templates of a copy are filled with themselves, so that what is
	// compared below is what the author wrote.
	plain := p.plain()
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
		c.system(f)
		c.parameters(f)
		c.half(f)
		if r.Caps == 0 {
			c.warn(WarnNothing, true, `capabilities = ["deny"], or remove the block`, "gives nothing and hides every broader rule")
		}
		if r.Caps&(Recover|Scan|Subscribe) != 0 {
			c.warn(WarnNever, false, "leave it out", "gives %s, which no request of envrund asks for", r.Caps&(Recover|Scan|Subscribe))
		}
		if r.pattern.templated() && r.Caps.Has(Deny) {
			c.warn(WarnTemplate, false, "deny a path without a template, or give nothing that has to be taken away", "denies only who can fill its template: for everyone else the rule is not there")
		}
	}
	sort.SliceStable(c.found, func(i, j int) bool { return c.found[i].Line < c.found[j].Line })
	return c.found
}

type checker struct {
	policy *Policy
	known  Known
	acl    *ACL
	rule   *Rule // the present one
	whole  *rule // what all blocks with its pattern say
	found  []Warning
}

func (c *checker) warn(kind WarningKind, severe bool, instead, format string, args ...any) {
	c.found = append(c.found, Warning{c.rule.Line, kind, c.rule.Pattern, severe, fmt.Sprintf(format, args...), instead})
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
	const one = "one block with all that is meant"
	switch {
	case first.Line == c.rule.Line:
	case c.whole.caps.Has(Deny) && !(first.Caps.Has(Deny) && c.rule.Caps.Has(Deny)):
		c.warn(WarnRepeated, false, one, "is the path of line %d too: the blocks are one rule, and it denies", first.Line)
	default:
		c.warn(WarnRepeated, false, one, "is the path of line %d too: the blocks are one rule, and it gives what any of them does", first.Line)
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
			c.warn(WarnSudo, true, "a block for each path that needs sudo, without a wildcard", "gives sudo on all that fits")
		case NeedsSudo(f.text):
			c.warn(WarnSudo, true, "leave sudo out, unless its holders are administrators", "gives sudo, on a path that only administrators use")
		default:
			c.warn(WarnSudo, false, "leave sudo out", "gives sudo, which nothing asks for on this path")
		}
	}
	open := f.segs[0]
	switch {
	case strings.Contains(open.text, "{{"):
		c.warn(WarnCrosses, true, "the name of the mount, and the template behind it", "begins with a template: what an identity is called says which environment it reaches")
		return
	case f.class == exact || !open.any && !(f.star && len(f.segs) == 1):
		return // the mount is named
	}
	everything := f.star && f.segs[len(f.segs)-1].text == ""
	for _, s := range f.segs[:len(f.segs)-1] {
		everything = everything && s.any
	}
	if everything {
		c.warn(WarnBreadth, true, `the paths that are meant, as in path "prod/data/app/*"`, "gives %s on every path of the server, like root", gives)
		return
	}
	var reached []string
	for _, m := range c.known.Mounts {
		if f.reaches(m.Path) {
			reached = append(reached, m.Path)
		}
	}
	const each = "one block for each environment that is meant"
	switch {
	case len(reached) > 1:
		c.warn(WarnCrosses, true, each, "reaches into %s", strings.Join(reached, ", "))
	case !c.known.All || len(reached) == 0:
		c.warn(WarnCrosses, true, each, "reaches into every environment whose name fits, also those to come")
	default:
		c.warn(WarnCrosses, false, each, "reaches into %s now, and into every environment to come whose name fits", reached[0])
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
		c.warn(WarnShadowed, true, "a deny without +, or a narrower rule in line "+strconv.Itoa(source.Line), "never denies anything: %q in line %d wins wherever this fits", by.text, source.Line)
		return
	}
	c.warn(WarnShadowed, by.caps&^c.rule.Caps != 0, "remove it, or name the paths that it is to be for without +", "never decides: %q in line %d wins wherever this fits", by.text, source.Line)
}

// literal finds characters and segments that look like something else.
func (c *checker) literal(f filled) {
	denies := c.rule.Caps.Has(Deny)
	for i, s := range f.segs {
		last := i == len(f.segs)-1
		switch {
		case s.any:
		case strings.Contains(s.text, "*"):
			c.warn(WarnWildcard, denies, strconv.Quote(strings.ReplaceAll(c.rule.Pattern, s.text, "+")), "has a * that is no wildcard: only the last character of a path can be one, + stands for a segment")
		case strings.Contains(s.text, "+"):
			c.warn(WarnWildcard, denies, "+ alone between slashes, or the names that are meant", "has a + that is no wildcard: it is one only as a whole segment")
		case s.text == "." || s.text == "..":
			c.warn(WarnNever, denies, "the path without it", "has a segment %q, which no request has", s.text)
		case s.text == "" && !last:
			c.warn(WarnNever, denies, "one slash", "has two slashes together, which no request has")
		case s.text == "" && !f.star && i > 0 && c.rule.Caps != 0 && c.rule.Caps != List:
			c.warn(WarnNever, denies, strconv.Quote(f.text+"*"), "ends in a slash: only list asks for such a path")
		case last && f.star && s.text != "" && i > 0 && !denies && c.rule.Caps != 0:
			c.warn(WarnWildcard, false, strconv.Quote(strings.TrimSuffix(c.rule.Pattern, "*")+"/*")+" for what is below that name alone", "fits every name that begins with %q", s.text)
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
	if !c.known.All && len(c.known.Mounts) == 0 || f.segs[0].any || f.star && len(f.segs) == 1 || strings.Contains(f.segs[0].text, "{{") {
		return
	}
	var known []string
	for _, b := range builtin {
		if f.reaches(b) || f.text == strings.TrimSuffix(b, "/") {
			return
		}
		known = append(known, b)
	}
	for _, m := range c.known.Mounts {
		if f.reaches(m.Path) {
			if m.KV {
				c.kv(f, m.Path)
			}
			return
		}
		known = append(known, m.Path)
	}
	name := f.segs[0].text + "/"
	switch meant := near.Nearest(name, known); {
	case meant != "" && c.known.All:
		c.warn(WarnMount, true, meant, "begins with %s, which is no mount; did you mean %s?", name, meant)
	case meant != "":
		c.warn(WarnMount, false, meant+", if that is meant", "begins with %s, which is like %s and nothing that is known", name, meant)
	case c.known.All:
		c.warn(WarnMount, c.rule.Caps.Has(Deny), "the name of a mount", "begins with %s, which is no mount", name)
	}
}

// What there is below sys/, here or on other servers.
const systemPaths = "audit audit-hash audit-log auth capabilities capabilities-accessor capabilities-self config control-group decode-token experiments generate-root " +
	"ha-status health host-info in-flight-req init internal key-status leader leases license locked-users loggers managed-keys metrics mfa monitor mounts namespaces " +
	"plugins policies policy policy-set pprof quotas raw rekey remount renew replication revoke revoke-force revoke-prefix rotate seal seal-status step-down storage sync tools unseal " +
	"utilization version-history wrapping"

// system finds what is not below sys/, and what nobody asks for there.
func (c *checker) system(f filled) {
	if len(f.segs) < 2 || f.segs[0].text != "sys" || f.segs[1].any || f.segs[1].text == "" {
		return
	}
	denies := c.rule.Caps.Has(Deny)
	name, all := f.segs[1].text, strings.Fields(systemPaths)
	tail := f.star && len(f.segs) == 2
	if !slices.ContainsFunc(all, func(s string) bool { return s == name || tail && strings.HasPrefix(s, name) }) {
		if meant := near.Nearest(name, all); meant != "" {
			c.warn(WarnMount, true, strconv.Quote("sys/"+meant+strings.TrimPrefix(f.text, "sys/"+name)), "begins with sys/%s, which is nothing that a server has", name)
		}
		return
	}
	if gives := c.rule.Caps; gives&(Create|Patch) != 0 && !gives.Has(Update) && !denies && name != "policies" {
		c.warn(WarnNever, false, `"update"`, "gives %s, and a write below sys/ asks for update", gives&(Create|Patch))
	}
}

// half finds rules that deny one way to something that the same policy opens by
// another: the values of a KV mount without what is told and destroyed of them.
func (c *checker) half(f filled) {
	if !c.rule.Caps.Has(Deny) {
		return
	}
	// On Vault up to 1.21 LIST of "a/b/" looks for "a/b" first, and finds a broader rule.
	if n := len(f.segs); f.star && n > 1 && f.segs[n-1].text == "" {
		bare := strings.TrimSuffix(f.sample(""), "/")
		if r := c.acl.find(bare, false); r != nil && r.class != exact && r.caps.Has(List) {
			text := strings.TrimSuffix(f.text, "/*")
			c.warn(WarnHalf, false, "deny also for "+strconv.Quote(text), "does not deny LIST of the folder itself on Vault 1.21 and before: %q in line %d decides there", r.text, r.sources[0].Line)
		}
	}
	for _, m := range c.known.Mounts {
		depth := strings.Count(m.Path, "/")
		if !m.KV || len(f.segs) <= depth+1 || !f.reaches(m.Path+"data/") || f.segs[0].any || f.segs[depth].any {
			continue
		}
		var open, also []string
		var by *rule
		for _, k := range kvPaths {
			if k.name == "data" || k.name == "config" {
				continue
			}
			other := f
			other.segs = slices.Clone(f.segs)
			other.segs[depth].text = k.name
			r := c.acl.find(other.sample(wildText), false)
			if r != nil && r.caps&k.caps != 0 {
				open = append(open, k.name)
				also = append(also, strconv.Quote(m.Path+k.name+"/"+f.text[len(m.Path)+len("data/"):]))
				if by == nil {
					by = r
				}
			}
		}
		if len(open) > 0 {
			c.warn(WarnHalf, true, "deny also for "+strings.Join(also, ", "), "denies the values, and %q in line %d still opens them at %s", by.text, by.sources[0].Line, strings.Join(open, ", "))
		}
		return
	}
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
		instead := mount + "data/" + rest
		var all []string
		for _, k := range kvPaths {
			all = append(all, k.name)
		}
		if meant := near.Nearest(s.text, all); meant != "" {
			instead = mount + meant + strings.TrimPrefix(rest, s.text)
		}
		c.warn(WarnNever, true, strconv.Quote(instead), "is no path of a KV mount: the values are at %q, the names at %q", mount+"data/"+rest, mount+"metadata/"+rest)
	case gives == 0 || gives.Has(Deny) || tail:
	case s.text == "data" && gives.Has(List):
		names := mount + "metadata/" + strings.TrimPrefix(f.text, mount+"data/")
		c.warn(WarnNever, false, "list in a block for "+strconv.Quote(names), "gives list, which is asked for at %q", names)
	case gives&can == 0:
		c.warn(WarnNever, true, can.list(), "gives %s, and only %s is asked for there", gives, can)
	}
}

// parameters finds names that a KV mount's values do not have: what a secret
// holds is no parameter.
func (c *checker) parameters(f filled) {
	for _, m := range c.known.Mounts {
		if !m.KV || !f.reaches(m.Path+"data/") || f.segs[0].any {
			continue
		}
		for _, list := range [...][]Param{c.rule.Denied, c.rule.Allowed} {
			for _, p := range list {
				switch p.Name {
				case "*", "data", "options", "version":
				default:
					c.warn(WarnParameter, len(c.rule.Denied) > 0, "a secret of its own for what is not for everybody", "has a rule for the parameter %q; a request to a KV mount has data, options and version, and what is in data is not looked at", p.Name)
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
			c.warn(WarnEscalates, true, "leave it to a policy for administrators alone, or name exactly what is meant", "gives %s here: whoever has it can %s", gives&e.caps, e.what)
		}
	}
}
