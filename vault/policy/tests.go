package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"envrun/vault"
)

// Tests are the lines kept beside a policy that say what it must do, so that a
// change to it that does something else is seen before it is applied:
//
//	who alice name=alice group=billing metadata.team=core
//
//	allow read        prod/data/billing/stripe
//	allow read,update dev/data/core/db          as alice
//	deny  list        prod/metadata/
//	deny  update      prod/data/billing/stripe  with options.cas=1
//	allow read        prod/data/billing/stripe  wrap 5m
//
//	policies billing-reader default
//	allow update      auth/token/renew-self
//
// A line is allow or deny, the operations with commas between, the path as the API
// has it, and after it in any order: as NAME, who a line before has described;
// with NAME=TEXT, a parameter, or NAME:=JSON for one that is no text; wrap
// DURATION. After a line of policies the token has these, before it the one alone
// that the tests are kept beside. What has spaces in it stands in double quotes. # begins a comment.
// A request that waits for the approval of others counts as denied.
type Tests struct {
	Name  string // as given to ParseTests
	Cases []Case
}

// A Case is one request and what must become of it.
type Case struct {
	Line     int
	Allow    bool
	Policies []string // of the token, by name; nil: the one that the tests are kept beside
	Who      string   // "" for a token without an entity
	Facts    Facts    // of Who; Now is not set
	Request  Request
}

// A Result is what became of a case.
type Result struct {
	Case
	Decision Decision
}

// Passed says whether the decision is what the case says.
func (r Result) Passed() bool { return r.Decision.Allowed == r.Allow }

// maxTests is the largest text of test lines that is read, in bytes.
const maxTests = 1 << 20

// ParseTests reads test lines. An error is a *vault.Error of KindInvalid with
// name as its File, and the line.
func ParseTests(name, text string) (*Tests, error) {
	t := &Tests{Name: name}
	if len(text) > maxTests || !utf8.ValidString(text) {
		return nil, &vault.Error{Kind: vault.KindInvalid, File: name, Detail: fmt.Sprintf("is not UTF-8 text of at most %d bytes", maxTests)}
	}
	people := map[string]Facts{}
	var with []string // the policies of the lines that follow
	n := 0
	for line := range strings.Lines(text) {
		n++
		p := &testLine{rest: strings.TrimRight(line, " \t\r\n"), line: n, policies: with}
		err := p.parse(t, people)
		with = p.policies
		if err != nil {
			var e *vault.Error
			if errors.As(err, &e) {
				e.File = name
			}
			return nil, err
		}
	}
	return t, nil
}

// Run decides every case at the given time. of gives the policies of a case, by
// its names of them.
func (t *Tests) Run(of func(names []string) []*Policy, now time.Time) []Result {
	results := make([]Result, 0, len(t.Cases))
	acls := map[string]*ACL{} // a name means one identity in all of the lines
	for _, c := range t.Cases {
		key := c.Who + "\n" + strings.Join(c.Policies, ",")
		acl := acls[key]
		if acl == nil {
			facts := c.Facts
			facts.Now = now
			acl = Compile(of(c.Policies), facts)
			acls[key] = acl
		}
		c.Request.Now = now
		results = append(results, Result{c, acl.Decide(c.Request)})
	}
	return results
}

type testLine struct {
	rest     string
	line     int
	policies []string
}

func (p *testLine) parse(t *Tests, people map[string]Facts) error {
	verb, err := p.word()
	if err != nil || verb == "" {
		return err
	}
	switch verb {
	case "who":
		return p.who(people)
	case "policies":
		return p.names()
	case "allow", "deny":
		return p.cases(t, people, verb == "allow")
	}
	return unknown(p.line, "test", verb, "allow", "deny", "who", "policies")
}

// names reads: policies NAME…
func (p *testLine) names() error {
	p.policies = nil
	for p.more() {
		word, err := p.word()
		if err != nil {
			return err
		}
		name, err := Name(word)
		if err != nil || name != word {
			return invalid(p.line, "%q is no name of a policy", word)
		}
		p.policies = append(p.policies, name)
	}
	if p.policies == nil {
		return invalid(p.line, "policies is followed by the names of the policies of a token")
	}
	return nil
}

// who reads: who NAME id=… name=… group=… metadata.KEY=…
func (p *testLine) who(people map[string]Facts) error {
	name, err := p.word()
	if err != nil {
		return err
	}
	if _, ok := people[name]; ok || name == "" {
		return invalid(p.line, "who is followed by a name, which no line before has")
	}
	f := Facts{Entity: &Entity{Name: name, Metadata: map[string]string{}}}
	for p.more() {
		key, value, err := p.pair()
		if err != nil {
			return err
		}
		text, ok := value.(string)
		meta, isMeta := strings.CutPrefix(key, "metadata.")
		switch {
		case !ok:
			return invalid(p.line, "%s is a text here", key)
		case key == "id":
			f.Entity.ID = text
		case key == "name":
			f.Entity.Name = text
		case key == "group":
			f.Groups = append(f.Groups, Group{ID: text, Name: text})
		case isMeta && meta != "":
			f.Entity.Metadata[meta] = text
		default:
			return unknown(p.line, "key", key, "id", "name", "group", "metadata.KEY")
		}
	}
	people[name] = f
	return nil
}

func (p *testLine) cases(t *Tests, people map[string]Facts, allow bool) error {
	words, err := p.word()
	if err != nil {
		return err
	}
	var ops []Op
	for word := range strings.SplitSeq(words, ",") {
		op, ok := ParseOp(word)
		if !ok {
			return unknown(p.line, "operation", word, "create", "read", "update", "patch", "delete", "list", "help")
		}
		if slices.Contains(ops, op) {
			return invalid(p.line, "%s is named twice", word)
		}
		ops = append(ops, op)
	}
	c := Case{Line: p.line, Allow: allow, Policies: p.policies}
	if c.Request.Path, err = p.word(); err != nil {
		return err
	}
	if c.Request.Path == "" {
		return invalid(p.line, "a path is missing")
	}
	for p.more() {
		word, err := p.word()
		if err != nil {
			return err
		}
		switch word {
		case "as":
			if c.Who, err = p.word(); err != nil {
				return err
			}
			f, ok := people[c.Who]
			if !ok {
				return invalid(p.line, "no line before says who %q is", c.Who)
			}
			c.Facts = f
		case "with":
			key, value, err := p.pair()
			if err != nil {
				return err
			}
			if c.Request.Params == nil {
				c.Request.Params = map[string]any{}
			}
			if _, twice := c.Request.Params[key]; twice {
				return invalid(p.line, "the parameter %q is given twice", key)
			}
			c.Request.Params[key] = value
		case "wrap":
			text, err := p.word()
			if err != nil {
				return err
			}
			if c.Request.WrapTTL, err = (node{kind: kString, line: p.line, text: text}).duration("wrap"); err != nil {
				return err
			}
		default:
			return unknown(p.line, "word", word, "as", "with", "wrap")
		}
	}
	for _, op := range ops {
		c := c
		c.Request.Op = op
		if op == OpList && !strings.HasSuffix(c.Request.Path, "/") {
			c.Request.Path += "/" // as the API does
		}
		t.Cases = append(t.Cases, c)
	}
	return nil
}

// more says whether the line goes on, and skips to where it does.
func (p *testLine) more() bool {
	p.rest = strings.TrimLeft(p.rest, " \t")
	if strings.HasPrefix(p.rest, "#") {
		p.rest = ""
	}
	return p.rest != ""
}

// word reads up to the next space, or a quoted text; "" at the end.
func (p *testLine) word() (string, error) {
	if !p.more() {
		return "", nil
	}
	if p.rest[0] == '"' {
		return p.quoted()
	}
	end := strings.IndexAny(p.rest, " \t")
	if end < 0 {
		end = len(p.rest)
	}
	word := p.rest[:end]
	p.rest = p.rest[end:]
	return word, nil
}

func (p *testLine) quoted() (string, error) {
	prefix, err := strconv.QuotedPrefix(p.rest)
	if err != nil {
		return "", invalid(p.line, "a quoted text has no end")
	}
	p.rest = p.rest[len(prefix):]
	if p.rest != "" && p.rest[0] != ' ' && p.rest[0] != '\t' {
		return "", invalid(p.line, "a quoted text goes on without a space")
	}
	word, err := strconv.Unquote(prefix)
	if err != nil {
		return "", invalid(p.line, "a quoted text is not of its form")
	}
	return word, nil
}

// pair reads KEY=TEXT, KEY="TEXT" or KEY:=JSON.
func (p *testLine) pair() (string, any, error) {
	p.more()
	end := strings.IndexAny(p.rest, "= \t")
	if end <= 0 || p.rest[end] != '=' {
		return "", nil, invalid(p.line, "NAME=TEXT is missing, or NAME:=JSON")
	}
	key := p.rest[:end]
	p.rest = p.rest[end+1:]
	if name, ok := strings.CutSuffix(key, ":"); ok && name != "" {
		d := json.NewDecoder(strings.NewReader(p.rest))
		d.UseNumber()
		var value any
		if err := d.Decode(&value); err != nil {
			return "", nil, invalid(p.line, "what follows %s:= is not JSON", name)
		}
		p.rest = p.rest[d.InputOffset():]
		return name, value, nil
	}
	if p.rest == "" || p.rest[0] == ' ' || p.rest[0] == '\t' || p.rest[0] == '#' {
		return key, "", nil
	}
	value, err := p.word()
	return key, value, err
}
