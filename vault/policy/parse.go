package policy

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"envrun/vault"
	"envrun/vault/near"
)

// Bounds of a policy. Whoever may write policies may not stop the server with one.
const (
	MaxText  = 256 << 10 // bytes of a policy
	MaxRules = 4096      // path blocks in it
	maxNames = 256       // parameters that a rule names, in each of its lists
	maxList  = 1000      // values of one parameter
	maxName  = 128       // bytes of a policy's name and of a parameter's
)

// A Policy is one parsed policy. It is not changed after Parse.
type Policy struct {
	Name  string // as given to Parse
	Text  string
	Rules []Rule

	// AllowSlashes says that what an identity fills into a template may hold a
	// slash, and so reach over more than one segment. It is not part of the
	// text: an operator sets it with the policy (OpenBao's
	// allow_slashes_in_identity_templates).
	AllowSlashes bool

	root bool
}

// A Rule is one path block.
type Rule struct {
	Line    int    // where it begins
	Pattern string // as written, without a leading slash
	Caps    Caps   // Deny alone if it denies; 0 if it gives nothing

	Allowed  []Param  // allowed_parameters, sorted by name
	Denied   []Param  // denied_parameters, sorted by name
	Required []string // required_parameters, in lower case

	MinWrap, MaxWrap time.Duration // 0: none
	Expires          time.Time     // zero: never
	Approval         *Approval     // control_group; nil: none
	Comment          string

	pattern pattern
}

// A Param is what a rule says of one parameter of a request.
type Param struct {
	Name   string  // in lower case; "*" for every other one
	Values []Value // none: any value
}

// A Value is one value of a parameter as the policy writes it.
type Value struct {
	Text string
	kind kind // kString, kNumber or kBool
}

// Approval is a control_group: who must agree before a request is carried out.
type Approval struct {
	TTL     time.Duration // how long the request waits for it; 0: as the server says
	Self    bool          // the one who asks may be one of those who agree
	Factors []Factor      // all must be met; at least one
}

// A Factor is one condition of an Approval.
type Factor struct {
	Name     string
	Caps     Caps     // the requests it is asked for
	Groups   []string // by name
	GroupIDs []string // by id
	Count    int      // how many members of the groups must agree
}

// Name gives the form in which a policy's name is stored and compared: without
// spaces around it and in lower case. Every name that comes from outside goes
// through it, wherever a policy is attached: without that "ROOT" is not
// the "root" that a check looks for (CVE-2025-5999). KindInvalid for a name that is empty,
// longer than 128 bytes, or has a space, a comma or a character that does not print.
func Name(s string) (string, error) {
	name := strings.ToLower(strings.TrimSpace(s))
	ok := name != "" && len(name) <= maxName && utf8.ValidString(s) &&
		!strings.ContainsFunc(name, func(r rune) bool { return r == ',' || unicode.IsSpace(r) || !unicode.IsPrint(r) })
	if !ok {
		return "", &vault.Error{Kind: vault.KindInvalid, Detail: "a policy's name is 1 to " + strconv.Itoa(maxName) + " characters that print, without space and comma"}
	}
	return name, nil
}

// Parse reads the text of a policy, HCL or, if it begins with a brace, JSON.
// An error is a *vault.Error of KindInvalid with name as its File, and the line.
func Parse(name, text string) (*Policy, error) {
	p := &Policy{Name: name, Text: text}
	if err := p.parse(); err != nil {
		var e *vault.Error
		if errors.As(err, &e) {
			e.File = name
		}
		return nil, err
	}
	return p, nil
}

func (p *Policy) parse() error {
	text := p.Text
	switch {
	case len(text) > MaxText:
		return invalid(0, "has %d bytes; at most %d are read", len(text), MaxText)
	case !utf8.ValidString(text):
		return invalid(0, "is not UTF-8")
	case strings.HasPrefix(text, "\ufeff"):
		return invalid(1, "begins with a byte order mark: save it as plain UTF-8")
	}
	if i := strings.IndexFunc(text, unprintable); i >= 0 {
		return invalid(1+strings.Count(text[:i], "\n"), "has the character %U, which belongs in no text", []rune(text[i:])[0])
	}
	read := readHCL
	if strings.HasPrefix(strings.TrimLeftFunc(text, unicode.IsSpace), "{") {
		read = readJSON
	}
	items, err := read(text)
	if err != nil {
		return err
	}
	for _, it := range items {
		switch {
		case it.key == "path" && it.labeled && it.block:
			if len(p.Rules) == MaxRules {
				return invalid(it.line, "has more than %d paths", MaxRules)
			}
			r, err := parseRule(it)
			if err != nil {
				return err
			}
			p.Rules = append(p.Rules, r)
		case it.key == "path":
			return invalid(it.line, `a path is written path "prod/data/*" { … }`)
		case it.key == "name" && !it.labeled:
			// Vault reads a name and goes by the one it is stored under.
			if _, err := it.val.str("name"); err != nil {
				return err
			}
		default:
			return unknown(it.line, "key", it.key, "path", "name")
		}
	}
	return nil
}

// unprintable are the characters that a text may have nowhere: those that could
// hide in a terminal what stands there, and one that HCL keeps for itself.
func unprintable(r rune) bool {
	if r < 0x80 {
		return control(r) && r != '\n' && r != '\r' && r != '\t'
	}
	return r < 0xa0 || r == 0xe123 || unicode.Is(unicode.Bidi_Control, r)
}

// Keys of a path block that OpenBao, Vault or its Enterprise edition have and
// this server does not enforce.
var unenforced = [...]string{"mfa_methods", "pagination_limit", "list_scan_response_keys_filter_path", "subscribe_event_types"}

var ruleKeys = [...]string{"capabilities", "policy", "allowed_parameters", "denied_parameters", "required_parameters",
	"min_wrapping_ttl", "max_wrapping_ttl", "expiration", "control_group", "comment"}

func parseRule(it item) (Rule, error) {
	r := Rule{Line: it.line}
	var err error
	if r.pattern, err = parsePattern(it.line, it.label); err != nil {
		return r, err
	}
	r.Pattern = r.pattern.text
	in := func(err error) error { return within(err, "path %q: ", r.Pattern) }
	if err := once(it.val.items); err != nil {
		return r, in(err)
	}
	for _, it := range it.val.items {
		if it.labeled {
			return r, in(invalid(it.line, "%s takes no name", it.key))
		}
		switch it.key {
		case "capabilities":
			err = r.capabilities(it.val)
		case "policy":
			err = r.oldPolicy(it.val)
		case "allowed_parameters":
			r.Allowed, err = parseParams(it)
		case "denied_parameters":
			r.Denied, err = parseParams(it)
		case "required_parameters":
			r.Required, err = parseRequired(it.val)
		case "min_wrapping_ttl":
			r.MinWrap, err = it.val.duration(it.key)
		case "max_wrapping_ttl":
			r.MaxWrap, err = it.val.duration(it.key)
		case "expiration":
			r.Expires, err = it.val.time(it.key)
		case "control_group":
			r.Approval, err = parseApproval(it.val)
		case "comment":
			r.Comment, err = it.val.str(it.key)
		default:
			if slices.Contains(unenforced[:], it.key) {
				err = invalid(it.line, "%s is not supported: the server would not enforce it", it.key)
			} else {
				err = unknown(it.line, "key", it.key, ruleKeys[:]...)
			}
		}
		if err != nil {
			return r, in(err)
		}
	}
	if r.MinWrap != 0 && r.MaxWrap != 0 && r.MaxWrap < r.MinWrap {
		return r, in(invalid(it.line, "max_wrapping_ttl is less than min_wrapping_ttl"))
	}
	if r.Caps.Has(Deny) {
		r.Caps = Deny
	} else if r.Approval != nil {
		for i := range r.Approval.Factors {
			f := &r.Approval.Factors[i]
			if f.Caps == 0 {
				f.Caps = r.Caps
			}
			if more := f.Caps &^ r.Caps; more != 0 {
				return r, in(invalid(it.line, "factor %q controls %s, which the rule does not give", f.Name, more))
			}
		}
	}
	return r, nil
}

func (r *Rule) capabilities(n node) error {
	words, err := n.strings("capabilities")
	if err != nil {
		return err
	}
	for _, w := range words {
		c, ok := ParseCap(w.text)
		if !ok {
			return unknown(w.line, "capability", w.text, capNames[:]...)
		}
		r.Caps |= c
	}
	return nil
}

// oldPolicy reads the word of Vault's first policies, which adds to the list.
func (r *Rule) oldPolicy(n node) error {
	word, err := n.str("policy")
	if err != nil {
		return err
	}
	switch word {
	case "deny":
		r.Caps |= Deny
	case "read":
		r.Caps |= Read | List
	case "write":
		r.Caps |= Create | Read | Update | Delete | List
	case "sudo":
		r.Caps |= Create | Read | Update | Delete | List | Sudo
	default:
		return unknown(n.line, "policy", word, "deny", "read", "write", "sudo")
	}
	return nil
}

func parseParams(it item) ([]Param, error) {
	n := it.val
	switch {
	case n.kind != kObject:
		return nil, wrongKind(n, it.key, kObject)
	case len(n.items) > maxNames:
		return nil, invalid(n.line, "%s names more than %d parameters", it.key, maxNames)
	}
	params := make([]Param, 0, len(n.items))
	for _, it := range n.items {
		name, err := paramName(it.line, it.key)
		if err != nil {
			return nil, err
		}
		p := Param{Name: name}
		if it.labeled || it.block {
			return nil, invalid(it.line, `parameter %q has no list of values: "%s" = ["…"]`, it.key, it.key)
		}
		list := it.val.list
		if it.val.kind != kList {
			return nil, wrongKind(it.val, it.key, kList)
		}
		if len(list) > maxList {
			return nil, invalid(it.line, "parameter %q has more than %d values", it.key, maxList)
		}
		for _, v := range list {
			switch {
			case v.kind > kBool:
				return nil, invalid(v.line, "parameter %q has %s among its values; texts, numbers, true and false are", it.key, v.kind)
			case v.kind == kString && v.text == "*":
				return nil, invalid(v.line, `parameter %q has the value "*", which means an asterisk in Vault; any value is []`, it.key)
			}
			p.Values = append(p.Values, Value{Text: v.text, kind: v.kind})
		}
		params = append(params, p)
	}
	sort.Slice(params, func(i, j int) bool { return params[i].Name < params[j].Name })
	for i := range params {
		if i > 0 && params[i].Name == params[i-1].Name {
			return nil, invalid(n.line, "%s names the parameter %q twice; letter case does not count", it.key, params[i].Name)
		}
	}
	return params, nil
}

func parseRequired(n node) ([]string, error) {
	words, err := n.strings("required_parameters")
	if err != nil {
		return nil, err
	}
	if len(words) > maxNames {
		return nil, invalid(n.line, "required_parameters names more than %d parameters", maxNames)
	}
	var names []string
	for _, w := range words {
		if w.text == "*" {
			return nil, invalid(w.line, `required_parameters names "*", and no parameter is called that`)
		}
		name, err := paramName(w.line, w.text)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func paramName(line int, name string) (string, error) {
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, control) {
		return "", invalid(line, "a parameter's name is 1 to %d bytes, without control characters", maxName)
	}
	return fold(name), nil
}

func parseApproval(n node) (*Approval, error) {
	if n.kind != kObject {
		return nil, wrongKind(n, "control_group", kObject)
	}
	items, err := label(n.items, "factor")
	if err != nil {
		return nil, err
	}
	a := &Approval{}
	var others []item
	for _, it := range items {
		if it.key != "factor" {
			others = append(others, it)
			continue
		}
		f, err := parseFactor(it)
		if err != nil {
			return nil, within(err, "factor %q: ", it.label)
		}
		a.Factors = append(a.Factors, f)
	}
	if err := once(others); err != nil {
		return nil, err
	}
	for _, it := range others {
		switch it.key {
		case "ttl":
			a.TTL, err = it.val.duration(it.key)
		case "self_auth_allowed":
			a.Self, err = it.val.bool(it.key)
		default:
			err = unknown(it.line, "key", it.key, "ttl", "factor", "self_auth_allowed")
		}
		if err != nil {
			return nil, within(err, "control_group: ")
		}
	}
	switch {
	case len(a.Factors) == 0:
		return nil, invalid(n.line, "control_group has no factor")
	case len(a.Factors) > maxNames:
		return nil, invalid(n.line, "control_group has more than %d factors", maxNames)
	}
	return a, nil
}

func parseFactor(it item) (Factor, error) {
	f := Factor{Name: it.label}
	if !it.labeled {
		return f, invalid(it.line, `a factor is written factor "name" { … }`)
	}
	if err := once(it.val.items); err != nil {
		return f, err
	}
	for _, it := range it.val.items {
		switch it.key {
		case "controlled_capabilities":
			words, err := it.val.strings(it.key)
			if err != nil {
				return f, err
			}
			for _, w := range words {
				op, ok := ParseOp(w.text)
				if !ok || op.Cap() == 0 {
					return f, unknown(w.line, "operation", w.text, "create", "read", "update", "patch", "delete", "list")
				}
				f.Caps |= op.Cap()
			}
		case "identity":
			if err := f.identity(it.val); err != nil {
				return f, err
			}
		default:
			return f, unknown(it.line, "key", it.key, "controlled_capabilities", "identity")
		}
	}
	switch {
	case len(f.Groups)+len(f.GroupIDs) == 0:
		return f, invalid(it.line, "names no group of those who may agree")
	case f.Count == 0:
		return f, invalid(it.line, "says not how many approvals it needs")
	}
	return f, nil
}

func (f *Factor) identity(n node) error {
	if n.kind != kObject {
		return wrongKind(n, "identity", kObject)
	}
	if err := once(n.items); err != nil {
		return err
	}
	for _, it := range n.items {
		var groups *[]string
		switch it.key {
		case "group_names":
			groups = &f.Groups
		case "group_ids":
			groups = &f.GroupIDs
		case "approvals":
			count, err := strconv.ParseUint(it.val.text, 10, 16)
			if it.val.kind != kNumber || err != nil {
				return invalid(it.line, "approvals is a whole number from 1")
			}
			f.Count = int(count)
			continue
		default:
			return unknown(it.line, "key", it.key, "group_names", "group_ids", "approvals")
		}
		words, err := it.val.strings(it.key)
		if err != nil {
			return err
		}
		for _, w := range words {
			*groups = append(*groups, w.text)
		}
	}
	return nil
}

// once refuses a key that stands in a block twice: which of the two would hold
// differs from server to server.
func once(items []item) error {
	seen := make(map[string]bool, len(items))
	for _, it := range items {
		if seen[it.key] {
			return invalid(it.line, "%s is given twice", it.key)
		}
		seen[it.key] = true
	}
	return nil
}

func (n node) str(key string) (string, error) {
	if n.kind != kString {
		return "", wrongKind(n, key, kString)
	}
	return n.text, nil
}

func (n node) bool(key string) (bool, error) {
	if n.kind != kBool {
		return false, wrongKind(n, key, kBool)
	}
	return n.text == "true", nil
}

// strings are the elements of a list of texts.
func (n node) strings(key string) ([]node, error) {
	if n.kind != kList {
		return nil, wrongKind(n, key, kList)
	}
	for _, el := range n.list {
		if el.kind != kString {
			return nil, invalid(el.line, "%s has %s in its list, where only quoted texts belong", key, el.kind)
		}
	}
	return n.list, nil
}

// duration reads whole seconds, as a number or a text, or a text like "90s", "1h30m", "7d".
func (n node) duration(key string) (time.Duration, error) {
	bad := func() (time.Duration, error) {
		return 0, invalid(n.line, `%s is seconds, or a text like "90s", "1h30m" or "7d"`, key)
	}
	if n.kind != kNumber && n.kind != kString {
		return bad()
	}
	unit, digits := time.Second, n.text
	if d, ok := strings.CutSuffix(n.text, "d"); ok {
		unit, digits = 24*time.Hour, d
	}
	if count, err := strconv.ParseUint(digits, 10, 32); err == nil {
		if count > uint64(1<<63-1)/uint64(unit) {
			return bad()
		}
		return time.Duration(count) * unit, nil
	}
	d, err := time.ParseDuration(n.text)
	if err != nil || d < 0 || n.kind == kNumber {
		return bad()
	}
	return d, nil
}

func (n node) time(key string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, n.text)
	if err != nil || n.kind != kString || t.IsZero() {
		return time.Time{}, invalid(n.line, `%s is a time like "2026-12-31T18:00:00Z"`, key)
	}
	return t, nil
}

func wrongKind(n node, key string, want kind) error {
	return invalid(n.line, "%s is %s; %s belongs there", key, n.kind, want)
}

// within puts where it was before what is wrong.
func within(err error, format string, args ...any) error {
	var e *vault.Error
	if errors.As(err, &e) {
		e.Detail = fmt.Sprintf(format, args...) + e.Detail
	}
	return err
}

func unknown(line int, what, word string, known ...string) error {
	if meant := near.Nearest(word, known); meant != "" {
		return invalid(line, "there is no %s %q; did you mean %q?", what, word, meant)
	}
	return invalid(line, "there is no %s %q; there are %s", what, word, strings.Join(known, ", "))
}
