package kit

import (
	"slices"
	"strings"
)

// How a term is looked for.
type termKind uint8

const (
	fuzzy  termKind = iota // its characters in order, not necessarily side by side
	exact                  // 'text
	prefix                 // ^text
	suffix                 // text$
	whole                  // ^text$
)

type term struct {
	kind termKind
	not  bool
	text string // folded, not empty
}

// A Facet is a part of a query that is about something other than the name:
// env:prod, by:bob. What it means is for the caller to say.
type Facet struct {
	Name, Value string
	Not         bool
}

// A Query is what somebody typed to filter a list, understood. Words are looked
// for apart from each other, and all of them must be found:
//
//	stripe     its characters in this order
//	'stripe    side by side
//	^bill      at the beginning of the name
//	_key$      at its end
//	!test      not in the name (also !^test, !test$)
//	env:prod   a facet, if the caller knows its name
//
// Case does not matter.
type Query struct {
	Facets []Facet
	terms  []term
}

// ParseQuery understands text; facets are the names that may stand before a colon.
// Every text is a query: a mark that nothing follows yet says nothing.
func ParseQuery(text string, facets ...string) Query {
	var q Query
	for word := range strings.FieldsSeq(text) {
		bare, not := strings.CutPrefix(word, "!")
		if name, value, ok := strings.Cut(bare, ":"); ok && slices.Contains(facets, strings.ToLower(name)) {
			if value != "" {
				q.Facets = append(q.Facets, Facet{strings.ToLower(name), value, not})
			}
			continue
		}
		t := term{not: not}
		switch {
		case strings.HasPrefix(bare, "'"):
			t.kind, bare = exact, bare[1:]
		case strings.HasPrefix(bare, "^"):
			t.kind, bare = prefix, bare[1:]
			if end, ok := strings.CutSuffix(bare, "$"); ok && end != "" {
				t.kind, bare = whole, end
			}
		case len(bare) > 1 && strings.HasSuffix(bare, "$"):
			t.kind, bare = suffix, bare[:len(bare)-1]
		case not || !plain(bare):
			t.kind = exact
		}
		if bare == "" {
			continue
		}
		t.text = string(fold(nil, bare))
		q.terms = append(q.terms, t)
	}
	return q
}

// Empty reports whether everything matches.
func (q Query) Empty() bool { return len(q.terms) == 0 && len(q.Facets) == 0 }

// narrows reports whether whatever matches q matched was, so that only the rows
// of was need a look.
func (q Query) narrows(was Query) bool {
	if len(was.terms) > len(q.terms) || len(was.Facets) > len(q.Facets) || !slices.Equal(was.Facets, q.Facets[:len(was.Facets)]) {
		return false
	}
	for i, old := range was.terms {
		t := q.terms[i]
		if t == old {
			continue
		}
		// Only the last word grows while somebody types. What must not be found
		// excludes less the longer it is.
		if t.not || old.not || t.kind != old.kind || t.kind == whole || t.kind == suffix || !strings.HasPrefix(t.text, old.text) {
			return false
		}
	}
	return true
}

func plain(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
