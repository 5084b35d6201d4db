package draft

import (
	"bytes"
	"maps"
	"slices"
	"sort"
	"strings"

	"envrun/envrun/editor"
	"envrun/tui/kit"
	"envrun/vault"
)

// An Opener gets at the values of a Set. There is one of each Set, and only who
// called New has it; the zero Opener opens nothing.
type Opener struct{ set *Set }

// Value is a value that was typed for a field and not sent; ok is false if there
// is none. It is the value itself, until the next key.
func (o Opener) Value(env vault.Env, path vault.Path, name vault.FieldName) (value []byte, ok bool) {
	if o.set == nil {
		return nil, false
	}
	d := o.set.drafts[key{env, path}]
	if d == nil {
		return nil, false
	}
	e := d.entry(name)
	if e == nil || e.change == Removed {
		return nil, false
	}
	return e.value.Bytes(), true
}

// Begin is the changes of some drafts of one environment, with copies of their
// values. Until End is called with the same drafts they stay as they are.
func (o Opener) Begin(drafts []*Draft) []vault.Change {
	var changes []vault.Change
	for _, d := range drafts {
		if d.set != o.set || d.fixed() {
			continue
		}
		d.sending = true
		c := vault.Change{Path: d.base.Path, Was: d.base.Version}
		for _, e := range d.entries {
			switch e.change {
			case Added, Replaced:
				c.Set = append(c.Set, vault.Field{Name: e.name, Value: vault.NewValue(bytes.Clone(e.value.Bytes()))})
			case Removed:
				c.Drop = append(c.Drop, e.name)
			}
		}
		if d.metaChanged(Note) {
			note := d.meta[Note-1].Text()
			c.Note = &note
		}
		if d.metaChanged(Rotate) {
			rotate := d.meta[Rotate-1].Text()
			c.Rotate = &rotate
		}
		if d.metaChanged(Tags) {
			tags := strings.Fields(d.meta[Tags-1].Text())
			c.Tags = &tags
		}
		changes = append(changes, c)
	}
	return changes
}

// End is called when sending is over. Drafts that were sent are gone.
func (o Opener) End(drafts []*Draft, sent bool) {
	for _, d := range drafts {
		if d.set != o.set {
			continue
		}
		d.sending = false
		if sent {
			o.set.forget(d)
		}
	}
}

// Hold keeps a draft, and the version that it is against, though there may be no
// change in it, until it is let go.
func (o Opener) Hold(d *Draft, on bool) {
	if d.set == o.set {
		d.held = on
	}
}

// A Batch is values that were read from a vault to work on them.
type Batch struct {
	facts  []Facts
	values []vault.Field
}

// Batch takes values over.
func (o Opener) Batch(values []vault.Field) *Batch {
	b := &Batch{values: values}
	for _, f := range values {
		b.facts = append(b.facts, o.set.measure(f.Name, f.Value.Reveal()))
	}
	return b
}

// Facts are what may be said of the values.
func (b *Batch) Facts() []Facts { return b.facts }

// give copies one value into a field.
func (b *Batch) give(name vault.FieldName, to *kit.Field) bool {
	if b == nil {
		return false
	}
	i := slices.IndexFunc(b.values, func(f vault.Field) bool { return f.Name == name })
	if i < 0 {
		return false
	}
	to.SetBytes(b.values[i].Value.Reveal())
	return true
}

// Wipe overwrites the values.
func (b *Batch) Wipe() {
	if b == nil {
		return
	}
	for _, f := range b.values {
		f.Value.Wipe()
	}
	b.values = nil
}

// Pasted is the text of a paste that Input.Release handed over, to be read and wiped.
func (o Opener) Pasted(p *Pasted) []byte { return p.text }

// Text is what an editor gets of a draft: the fields that the secret had in the
// version that the draft was made to, with what the draft makes of them.
func (o Opener) Text(d *Draft, base []vault.Field, head ...string) ([]byte, error) {
	var fields []vault.Field
	for _, f := range base {
		if e := d.entry(f.Name); e == nil || e.change == Kept {
			fields = append(fields, f)
		}
	}
	for _, e := range d.entries {
		if e.change == Replaced || e.change == Added {
			v := vault.NewValue(bytes.Clone(e.value.Bytes()))
			defer v.Wipe()
			fields = append(fields, vault.Field{Name: e.name, Value: v})
		}
	}
	sort.Slice(fields, func(i, j int) bool { return fields[i].Name < fields[j].Name })
	return editor.Text(fields, head...)
}

// Edited makes the draft what an editor has left. base is as for Text.
func (o Opener) Edited(d *Draft, base, fields []vault.Field) {
	if d.fixed() {
		return
	}
	set, drop := editor.Diff(base, fields)
	over := maps.Clone(d.over)
	for _, e := range slices.Clone(d.entries) {
		d.drop(e)
	}
	for _, f := range set {
		d.setValue(f.Name, f.Value.Reveal())
	}
	for _, name := range drop {
		d.Remove(name)
	}
	d.setOver(over)
}
