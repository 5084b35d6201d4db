package policy

import (
	"cmp"
	"errors"
	"strings"
)

// A pattern is parsed once, with its templates still in it: which of its
// characters are wildcards is settled then, by what the author wrote, so that
// nothing an identity fills in can become one.
//
// The class of a pattern says how it takes part (spec server-api §2.3):
type class uint8

const (
	exact   class = iota // matches one path; wins over all others
	prefix               // ends in *: matches what begins with it, in the middle of a segment too
	segment              // has "/+", or begins with "+/", or is "+": matched segment by segment
)

type pattern struct {
	text  string // as written, without a leading slash
	class class
	star  bool   // ends in *
	parts []part // without the *

	fixed *filled // the pattern filled, if there is nothing to fill in
}

// part is a piece of a pattern: text, or a template in it.
type part struct {
	text string
	ref  *ref
}

// anySegment stands for a + that is a wildcard, in the text of a part. No path
// and no pattern has the character.
const anySegment = "\x01"

// Bounds of a pattern and of what fills it.
const (
	maxPattern = 1024
	maxFilled  = 4096
)

// parsePattern reads a pattern as written.
func parsePattern(line int, text string) (pattern, error) {
	p := pattern{text: strings.TrimPrefix(text, "/")}
	if len(p.text) > maxPattern {
		return p, invalid(line, "the path is longer than %d bytes", maxPattern)
	}
	if i := strings.IndexFunc(p.text, control); i >= 0 {
		return p, invalid(line, "the path %q has a control character, which no request has", text)
	}
	var skeleton strings.Builder // the pattern, with a NUL for each template
	var refs []ref
	for rest := p.text; rest != ""; {
		literal, after, templated := strings.Cut(rest, "{{")
		if strings.Contains(literal, "}}") {
			return p, invalid(line, "the path %q has a }} without its {{", text)
		}
		skeleton.WriteString(literal)
		if !templated {
			break
		}
		inside, after, closed := strings.Cut(after, "}}")
		if !closed || strings.Contains(inside, "{{") {
			return p, invalid(line, "the path %q has a {{ without its }}", text)
		}
		r, ok := parseRef(inside)
		if !ok {
			return p, invalid(line, "there is no template {{%s}}: identity.entity.id, .name, .metadata.KEY, identity.entity.aliases.ACCESSOR.… and identity.groups.ids.ID.… or names.NAME.… are", r.text)
		}
		refs = append(refs, r)
		skeleton.WriteByte(0)
		rest = after
	}
	s := skeleton.String()
	if strings.Contains(s, "+*") {
		return p, invalid(line, "the path %q has +*, which is not allowed: a + stands for a whole segment", text)
	}
	p.star = strings.HasSuffix(s, "*")
	switch {
	case s == "+" || strings.HasPrefix(s, "+/") || strings.Contains(s, "/+"):
		p.class = segment
	case p.star:
		p.class = prefix
	}
	// The + that are wildcards are marked, and the text is cut at the templates again.
	segs := strings.Split(strings.TrimSuffix(s, "*"), "/")
	for i := range segs {
		if segs[i] == "+" {
			segs[i] = anySegment
		}
	}
	for i, literal := range strings.Split(strings.Join(segs, "/"), "\x00") {
		if i > 0 {
			p.parts = append(p.parts, part{ref: &refs[i-1]})
		}
		if literal != "" {
			p.parts = append(p.parts, part{text: literal})
		}
	}
	if !p.templated() {
		f, _, _ := p.fill(Facts{}, false)
		p.fixed = &f
	}
	return p, nil
}

func (p pattern) templated() bool {
	for _, part := range p.parts {
		if part.ref != nil {
			return true
		}
	}
	return false
}

// seg is a segment of a filled pattern: a text, or a + for any.
type seg struct {
	text string
	any  bool
}

// filled is a pattern as it is matched, and what decides between two that match.
type filled struct {
	text  string // for people: templates filled in, with its *
	key   string // equal for equal patterns of one class alone
	segs  []seg  // between slashes; with star, the last is the beginning of a segment
	class class
	star  bool

	first int // where the first wildcard is
	any   int // how many segments are +
	size  int // the length without the *
}

// errNoValue and errSlash say why a pattern has no filled form.
var (
	errNoValue = errors.New("has no value")
	errSlash   = errors.New("has a value with a slash in it")
)

// fill makes the pattern of one identity. An error is that of the template r.
func (p pattern) fill(f Facts, slashes bool) (out filled, r *ref, err error) {
	if p.fixed != nil {
		return *p.fixed, nil, nil
	}
	var b strings.Builder
	out = filled{class: p.class, star: p.star}
	first := -1
	for _, part := range p.parts {
		value := part.text
		if part.ref != nil {
			value = part.ref.fill(f)
			switch {
			case value == "" || len(value) > maxFilled || strings.ContainsFunc(value, control):
				return out, part.ref, errNoValue
			case !slashes && strings.Contains(value, "/"):
				return out, part.ref, errSlash
			}
		} else if i := strings.IndexAny(value, "+"+anySegment); i >= 0 && first < 0 {
			// Vault counts from the first + of any kind.
			first = b.Len() + i
		}
		b.WriteString(value)
	}
	out.key, out.size = b.String(), b.Len()
	out.text = strings.ReplaceAll(out.key, anySegment, "+")
	out.segs = make([]seg, 0, 1+strings.Count(out.key, "/"))
	for s := range strings.SplitSeq(out.key, "/") {
		any := s == anySegment
		if any {
			out.any++
		}
		out.segs = append(out.segs, seg{s, any})
	}
	if out.star {
		out.text += "*"
	}
	out.key += string(rune('0'+out.class)) + string(rune('0'+flag(out.star)))
	switch out.class {
	case prefix:
		out.first = out.size
	case segment:
		out.first = first
	}
	return out, nil, nil
}

// closer orders patterns that match the same path, the one that decides last
// (spec server-api §2.3). Only equal patterns are equal.
func closer(a, b filled) int {
	return cmp.Or(
		cmp.Compare(a.first, b.first),
		cmp.Compare(flag(!a.star), flag(!b.star)),
		cmp.Compare(b.any, a.any),
		cmp.Compare(a.size, b.size),
		strings.Compare(a.text, b.text),
		strings.Compare(a.key, b.key),
	)
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// matches says whether a pattern that is not exact fits a path.
func (f filled) matches(path string) bool {
	for i, s := range f.segs {
		last := i == len(f.segs)-1
		have, rest, more := strings.Cut(path, "/")
		switch {
		case last && f.star:
			return s.any || strings.HasPrefix(path, s.text)
		case !s.any && have != s.text:
			return false
		case last:
			return !more
		case !more:
			return false
		}
		path = rest
	}
	return false
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

// reaches says whether the pattern matches any path under a folder, such as
// "prod/", in which a + stands for any name.
func (f filled) reaches(folder string) bool {
	want := strings.Split(strings.TrimSuffix(folder, "/"), "/")
	for i, s := range want {
		switch {
		case i == len(f.segs):
			return false
		case f.star && i == len(f.segs)-1:
			return s == "+" || strings.HasPrefix(s, f.segs[i].text)
		case !f.segs[i].any && s != "+" && f.segs[i].text != s:
			return false
		}
	}
	return len(f.segs) > len(want)
}

// below says whether the pattern matches anything on a folder or under it,
// such as "prod/", going by the pattern alone.
func (f filled) below(folder string) bool {
	want := strings.Split(strings.TrimSuffix(folder, "/"), "/")
	if len(f.segs) <= len(want) {
		return false
	}
	for i, s := range want {
		if !f.segs[i].any && f.segs[i].text != s {
			return false
		}
	}
	return true
}

// wildText stands for what a wildcard matches in a sample. No rule names it: no
// pattern has the character.
const wildText = "\x02"

// sample is a path that the pattern fits, with text for each wildcard.
func (f filled) sample(text string) string {
	var b strings.Builder
	for i, s := range f.segs {
		if i > 0 {
			b.WriteByte('/')
		}
		if s.any {
			b.WriteString(wildText)
		} else {
			b.WriteString(s.text)
		}
	}
	if f.star {
		b.WriteString(text)
	}
	return b.String()
}
