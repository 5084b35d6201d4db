package draft

import (
	"maps"
	"slices"
	"strings"

	"envrun/vault"
)

// Theirs is what somebody else has made of a secret since the version that a
// draft was made to.
type Theirs struct {
	Now     vault.Info   // Version 0 or Deleted: the secret is not there any more
	Between []vault.Info // the versions since, newest first, as far as they are known
	Facts   []Facts      // of the values that are there now; nil: not known
}

// There reports whether the secret is still there.
func (t *Theirs) There() bool { return t.Now.Version > 0 && !t.Now.Deleted }

func (t *Theirs) facts(name vault.FieldName) (Facts, bool) {
	i := slices.IndexFunc(t.Facts, func(f Facts) bool { return f.Name == name })
	if i < 0 {
		return Facts{}, false
	}
	return t.Facts[i], true
}

// Look compares what is there now with what the draft was made to. From then on
// Theirs says what has changed, until Rebase, or until Look finds that nothing has.
func (d *Draft) Look(t Theirs) {
	d.theirs = nil
	version := t.Now.Version
	if !t.There() {
		version = 0
	}
	if version != d.base.Version {
		d.theirs = &t
	}
}

// Theirs is what has changed under the draft; nil: nothing that we know of.
func (d *Draft) Theirs() *Theirs { return d.theirs }

// A Difference is one row that they have changed.
type Difference struct {
	Ref
	Theirs, Mine Change
	Facts        Facts // of their value; Length -1: not known
	Known        bool  // both values are known, and Same says whether they are equal
	Same         bool
}

// Differences are the rows that they have changed, with what the draft does to
// the same.
func (d *Draft) Differences() []Difference {
	t := d.theirs
	if t == nil {
		return nil
	}
	var all []Difference
	add := func(ref Ref, theirs Change) {
		diff := Difference{Ref: ref, Theirs: theirs, Facts: Facts{Name: ref.Name, Length: -1}}
		mine, _ := d.Row(ref)
		diff.Mine = mine.Change
		if ref.Kind == Field && theirs != Removed {
			if f, ok := t.facts(ref.Name); ok {
				diff.Facts = f
				diff.Known, diff.Same = mine.Typed, mine.Typed && f.Print == mine.Facts.Print
			}
		}
		if ref.Kind != Field {
			diff.Known, diff.Same = true, mine.Text == metaText(t.Now, ref.Kind)
		}
		all = append(all, diff)
	}
	there := t.There()
	for _, was := range d.base.Fields {
		i := slices.IndexFunc(t.Now.Fields, func(f vault.FieldInfo) bool { return f.Name == was.Name })
		switch {
		case !there || i < 0:
			add(Ref{Name: was.Name}, Removed)
		case t.Now.Fields[i].Since != was.Since:
			add(Ref{Name: was.Name}, Replaced)
		}
	}
	if !there {
		return all
	}
	for _, f := range t.Now.Fields {
		if !inBase(d.base, f.Name) {
			add(Ref{Name: f.Name}, Added)
		}
	}
	for kind := Note; kind <= Tags; kind++ {
		if metaText(t.Now, kind) != metaText(d.base, kind) {
			add(Ref{Kind: kind}, Replaced)
		}
	}
	return all
}

// Both are the differences in rows that the draft changes too, to something else.
func (d *Draft) Both() []Difference {
	return slices.DeleteFunc(d.Differences(), func(f Difference) bool {
		return f.Mine == Kept || f.Known && f.Same || f.Mine == Removed && f.Theirs == Removed
	})
}

// Rebase puts the draft on what is there now. Where both have changed the same
// row, the draft's change stays if mine says so, and replaces theirs; else it
// goes.
func (d *Draft) Rebase(mine bool) {
	t := d.theirs
	if t == nil || d.fixed() {
		return
	}
	// What somebody else has removed cannot be overwritten, only be added again.
	// What was knowingly replaced before still is.
	over := map[Ref]uint64{}
	maps.Copy(over, d.over)
	for _, f := range d.Both() {
		switch {
		case !mine:
			d.Undo(f.Ref)
			delete(over, f.Ref)
		case f.Theirs != Removed:
			over[f.Ref] = t.Now.Version
		}
	}
	now := t.Now
	if !t.There() {
		now = vault.Info{Env: d.base.Env, Path: d.base.Path}
	}
	d.move(now)
	d.setOver(over)
}

// setOver notes whose changes are knowingly replaced, as far as the draft still
// replaces them.
func (d *Draft) setOver(over map[Ref]uint64) {
	d.over = over
	for ref := range over {
		if row, ok := d.Row(ref); !ok || row.Change == Kept || row.Change == Added {
			delete(over, ref)
		}
	}
}

// move puts the draft on another version, with its changes as they are.
func (d *Draft) move(now vault.Info) {
	var kept [3]bool
	for kind := Note; kind <= Tags; kind++ {
		kept[kind-1] = !d.metaChanged(kind)
	}
	d.base, d.theirs = now, nil
	for kind := Note; kind <= Tags; kind++ {
		if kept[kind-1] {
			d.meta[kind-1].Set(metaText(now, kind))
		}
	}
	for _, e := range slices.Clone(d.entries) {
		switch there := inBase(now, e.name); {
		case e.change == Replaced && !there:
			e.change = Added
		case e.change == Added && there:
			e.change = Replaced
		case e.change == Removed && !there:
			d.drop(e)
		}
	}
}

// Who names the people behind the versions since, and each once.
func (t *Theirs) Who() string {
	var names []string
	for _, i := range t.Between {
		if i.By != "" && !slices.Contains(names, i.By) {
			names = append(names, i.By)
		}
	}
	if len(names) == 0 && t.Now.By != "" {
		names = append(names, t.Now.By)
	}
	if len(names) == 0 {
		return "somebody"
	}
	return strings.Join(names, ", ")
}
