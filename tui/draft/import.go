package draft

import (
	"errors"

	"envrun/envrun/environ"
	"envrun/envrun/intake"
	"envrun/vault"
)

// Formats are the names of the formats that can be read, the most common first.
func Formats() []string {
	formats := [...]environ.Format{environ.Dotenv, environ.JSON, environ.YAML, environ.Compose, environ.K8s}
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = string(f)
	}
	return names
}

// Needs says what a file could not be read without: its "format", or which
// "service" of those that it has, as a compose file calls them. Otherwise it is
// empty.
func Needs(err error) (what string, names []string) {
	var choose *environ.ChooseError
	switch {
	case errors.Is(err, intake.ErrFormat):
		return "format", nil
	case errors.As(err, &choose):
		return "service", choose.Names
	}
	return "", nil
}

// NameNote is what a person should know of a field's name before it is taken;
// empty if nothing.
func NameNote(name vault.FieldName) string {
	if reason, refused := environ.Refused(string(name)); refused {
		return "a run refuses a variable of this name: it " + reason
	}
	if environ.CheckName(string(name)) != nil {
		return "no variable can have this name; [[inject]] can rename it"
	}
	return ""
}

// Import is the fields of a file, held until somebody has chosen.
type Import struct {
	Items   []Item
	From    string   // the file
	LeftOut []string // what of the file is not among them, and why

	fields []vault.Field
}

// An Item is one field of an Import.
type Item struct {
	Facts
	Verdict intake.Verdict
	Refused string   // why a run takes no variable of this name unless told to; empty: it does
	Notes   []string // what a person should know of it
	Chosen  bool
}

// IsNew reports whether the secret has no such field, IsSame whether it has this
// value.
func (it Item) IsNew() bool { return it.Verdict == intake.New }

// IsSame reports whether the secret has this value already.
func (it Item) IsSame() bool { return it.Verdict == intake.Same }

// Import takes fields over. items are in the order of fields; their Facts are
// filled in here, and what is new is chosen, unless it is refused.
func (o Opener) Import(from string, fields []vault.Field, items []Item, leftOut []string) *Import {
	for i, f := range fields {
		items[i].Facts = o.set.measure(f.Name, f.Value.Reveal())
		items[i].Chosen = items[i].Verdict == intake.New && items[i].Refused == ""
	}
	return &Import{Items: items, From: from, LeftOut: leftOut, fields: fields}
}

// Chosen is how many are chosen.
func (im *Import) Chosen() int {
	n := 0
	for _, it := range im.Items {
		if it.Chosen {
			n++
		}
	}
	return n
}

// Stage puts what was chosen into a draft. It reports false while that is sent.
func (im *Import) Stage(d *Draft) bool {
	if d.fixed() {
		return false
	}
	for i, it := range im.Items {
		if it.Chosen {
			d.setValue(it.Name, im.fields[i].Value.Reveal())
		}
	}
	return true
}

// Wipe overwrites the values; nothing can be staged any more.
func (im *Import) Wipe() {
	if im == nil {
		return
	}
	for _, f := range im.fields {
		f.Value.Wipe()
	}
	im.fields, im.Items = nil, nil
}
