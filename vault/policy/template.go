package policy

import (
	"slices"
	"strings"
	"time"
)

// Facts are what templates are filled from: who the identity is, at one time.
// The zero Facts is a token without an entity: no template can be filled.
type Facts struct {
	Entity *Entity
	Groups []Group   // those the entity is a member of, also by way of other groups
	Now    time.Time // rules that have expired by then are left out
}

// An Entity is one person or machine.
type Entity struct {
	ID, Name string
	Metadata map[string]string
	Aliases  []Alias
}

// An Alias is what an entity is known as to one sign-in method.
type Alias struct {
	Accessor string // of the sign-in mount
	ID, Name string
	Metadata map[string]string // as the sign-in says
	Custom   map[string]string // as an operator says
}

// A Group is one group of an entity.
type Group struct {
	ID, Name string
	Metadata map[string]string
}

// ref is one {{…}} of a pattern: what it asks of the facts.
type ref struct {
	text  string // as written, without the braces
	of    refOf
	which string // the alias accessor or the group
	field string // "id", "name", "metadata" or "custom_metadata"
	key   string // of the metadata
}

type refOf uint8

const (
	ofEntity refOf = iota
	ofAlias
	ofGroupID
	ofGroupName
)

// parseRef reads the inside of a template; false if no identity can ever fill it.
func parseRef(text string) (ref, bool) {
	r := ref{text: strings.TrimSpace(text)}
	rest := r.text
	// The longer beginnings come first.
	for _, k := range [...]struct {
		prefix string
		of     refOf
	}{
		{"identity.entity.aliases.", ofAlias},
		{"identity.entity.", ofEntity},
		{"identity.groups.ids.", ofGroupID},
		{"identity.groups.names.", ofGroupName},
	} {
		after, ok := strings.CutPrefix(rest, k.prefix)
		if !ok {
			continue
		}
		r.of = k.of
		if k.of != ofEntity {
			if r.which, after, ok = strings.Cut(after, "."); !ok || r.which == "" {
				return r, false
			}
		}
		var keyed bool
		r.field, r.key, keyed = strings.Cut(after, ".")
		switch r.field {
		case "id", "name":
			return r, !keyed
		case "metadata":
			return r, r.key != ""
		case "custom_metadata":
			return r, r.key != "" && k.of == ofAlias
		}
		return r, false
	}
	return r, false
}

// fill returns what the facts say; empty if they say nothing.
func (r ref) fill(f Facts) string {
	var id, name string
	var metadata, custom map[string]string
	switch r.of {
	case ofEntity, ofAlias:
		e := f.Entity
		if e == nil {
			return ""
		}
		id, name, metadata = e.ID, e.Name, e.Metadata
		if r.of == ofAlias {
			i := slices.IndexFunc(e.Aliases, func(a Alias) bool { return a.Accessor == r.which })
			if i < 0 {
				return ""
			}
			a := e.Aliases[i]
			id, name, metadata, custom = a.ID, a.Name, a.Metadata, a.Custom
		}
	case ofGroupID, ofGroupName:
		i := slices.IndexFunc(f.Groups, func(g Group) bool {
			return r.of == ofGroupID && g.ID == r.which || r.of == ofGroupName && g.Name == r.which
		})
		if i < 0 {
			return ""
		}
		id, name, metadata = f.Groups[i].ID, f.Groups[i].Name, f.Groups[i].Metadata
	}
	switch r.field {
	case "id":
		return id
	case "name":
		return name
	case "metadata":
		return metadata[r.key]
	}
	return custom[r.key]
}
