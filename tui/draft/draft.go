package draft

import (
	"cmp"
	"crypto/rand"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"

	"envrun/tui/kit"
	"envrun/vault"
	"envrun/vault/record"
)

// Facts are what may be said of a value without showing it.
type Facts struct {
	Name   vault.FieldName
	Length int    // bytes
	Lines  int    // 1 for text without a newline
	Odd    string // "ends with newline, begins with space"; empty if nothing is odd
	Print  string // ten characters that are equal for equal values, in this session only
}

// Set is all drafts of a session. It is used between two keys only.
type Set struct {
	measure func(vault.FieldName, []byte) Facts
	random  io.Reader
	drafts  map[key]*Draft
}

type key struct {
	env  vault.Env
	path vault.Path
}

// New makes a Set, and the one Opener that gets at its values. random is where
// generated values come from; nil is the system's.
func New(random io.Reader, measure func(vault.FieldName, []byte) Facts) (*Set, Opener) {
	if random == nil {
		random = rand.Reader
	}
	s := &Set{measure: measure, random: random, drafts: map[key]*Draft{}}
	return s, Opener{s}
}

// Open is the draft of a secret: the one that there is, or a new one against
// info. One without changes is put on info. A secret that is not there yet has Version 0.
func (s *Set) Open(info vault.Info) *Draft {
	k := key{info.Env, info.Path}
	d := s.drafts[k]
	switch {
	case d == nil:
		d = &Draft{set: s, base: info}
		for kind := range d.meta {
			d.meta[kind].Max = vault.MaxNote
			d.meta[kind].Set(metaText(info, Kind(kind+1)))
		}
		s.drafts[k] = d
	case d.Count() == 0 && !d.sending && !d.held:
		d.move(info)
	}
	return d
}

// Get is the draft of a secret with at least one change; nil if there is none.
func (s *Set) Get(env vault.Env, path vault.Path) *Draft {
	if d := s.drafts[key{env, path}]; d != nil && d.Count() > 0 {
		return d
	}
	return nil
}

// Of are the drafts of an environment that have changes, sorted by path.
func (s *Set) Of(env vault.Env) []*Draft {
	var all []*Draft
	for k, d := range s.drafts {
		if k.env == env && d.Count() > 0 {
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b *Draft) int { return cmp.Compare(a.base.Path, b.base.Path) })
	return all
}

// Each calls f with every draft, also with those that change nothing yet.
func (s *Set) Each(f func(*Draft)) {
	for _, d := range s.drafts {
		f(d)
	}
}

// Count is the number of changes in all drafts.
func (s *Set) Count() int {
	n := 0
	for _, d := range s.drafts {
		n += d.Count()
	}
	return n
}

// Close forgets a draft if there is no change in it.
func (s *Set) Close(d *Draft) {
	if d.Count() == 0 && !d.sending && !d.held {
		s.forget(d)
	}
}

// Discard drops a draft with all its changes, unless it is being sent.
func (s *Set) Discard(d *Draft) {
	if !d.sending {
		s.forget(d)
	}
}

func (s *Set) forget(d *Draft) {
	if k := (key{d.base.Env, d.base.Path}); s.drafts[k] == d {
		delete(s.drafts, k)
	}
	d.gone = true
	d.wipe()
}

// Wipe drops all drafts.
func (s *Set) Wipe() {
	for d := range maps.Values(s.drafts) {
		d.gone = true
		d.wipe()
	}
	clear(s.drafts)
}

// Kind says what a row of a draft is about.
type Kind uint8

// The kinds. Note, Rotate and Tags are those of the whole secret, and are no secret.
const (
	Field Kind = iota
	Note
	Rotate
	Tags
)

// A Ref names one row of a draft.
type Ref struct {
	Kind Kind
	Name vault.FieldName // of a Field
}

func (r Ref) String() string {
	switch r.Kind {
	case Note:
		return "note"
	case Rotate:
		return "rotate"
	case Tags:
		return "tags"
	}
	return string(r.Name)
}

// Change is what a draft does to one row.
type Change uint8

// The changes.
const (
	Kept     Change = iota // nothing
	Replaced               // it has another value
	Added                  // it is new
	Removed                // it goes
)

// A Draft is the changes to one secret, against one version of it.
type Draft struct {
	set     *Set
	base    vault.Info
	entries []*entry // of base's fields only those that were touched
	meta    [3]kit.Field
	theirs  *Theirs
	sending bool
	held    bool           // an editor has it, or has left something for it
	gone    bool           // it was sent or dropped
	over    map[Ref]uint64 // whose change is known and is replaced: the version they made
}

// An entry is a field that was touched. While its change is Kept, its value is
// empty.
type entry struct {
	name   vault.FieldName
	change Change
	value  kit.Field
	facts  *Facts // of value; nil: it has changed since they were taken
	paste  *Pasted
}

// known is what may be said of the value.
func (d *Draft) known(e *entry) Facts {
	if e.facts == nil {
		f := d.set.measure(e.name, e.value.Bytes())
		e.facts = &f
	}
	return *e.facts
}

// Env and Path say which secret it is about.
func (d *Draft) Env() vault.Env { return d.base.Env }

// Path is the path of the secret.
func (d *Draft) Path() vault.Path { return d.base.Path }

// Base is the version that the changes were made to; Version 0: the secret is new.
func (d *Draft) Base() vault.Info { return d.base }

// Sending reports whether the draft is being sent: until that is over nothing
// in it changes.
func (d *Draft) Sending() bool { return d.sending }

// Gone reports whether the draft is no more: it was sent or dropped, and another
// one begins with Set.Open. Nothing can be typed into it, and nothing in it changes.
func (d *Draft) Gone() bool { return d.gone }

// fixed reports whether nothing in the draft may change.
func (d *Draft) fixed() bool { return d.sending || d.gone }

func (d *Draft) entry(name vault.FieldName) *entry {
	for _, e := range d.entries {
		if e.name == name {
			return e
		}
	}
	return nil
}

// touch is the entry of a field, made if there is none.
func (d *Draft) touch(name vault.FieldName) *entry {
	e := d.entry(name)
	if e == nil {
		e = &entry{name: name}
		e.value.Hidden, e.value.Max = true, vault.MaxValue
		d.entries = append(d.entries, e)
	}
	return e
}

// drop forgets an entry.
func (d *Draft) drop(e *entry) {
	e.wipe()
	d.entries = slices.DeleteFunc(d.entries, func(o *entry) bool { return o == e })
	delete(d.over, Ref{Name: e.name})
}

func (e *entry) wipe() {
	e.value.Wipe()
	e.paste.Wipe()
	e.paste, e.facts = nil, nil
}

func (d *Draft) wipe() {
	for _, e := range d.entries {
		e.wipe()
	}
	d.entries, d.theirs, d.over = nil, nil, nil
	for kind := range d.meta {
		d.meta[kind].Set(metaText(d.base, Kind(kind+1)))
	}
}

func inBase(info vault.Info, name vault.FieldName) bool {
	return slices.ContainsFunc(info.Fields, func(f vault.FieldInfo) bool { return f.Name == name })
}

func metaText(info vault.Info, kind Kind) string {
	switch kind {
	case Note:
		return info.Note
	case Rotate:
		return info.Rotate
	case Tags:
		return strings.Join(info.Tags, " ")
	}
	return ""
}

// Meta is the input of the note, the interval or the tags, which are no secret.
func (d *Draft) Meta(kind Kind) *kit.Field { return &d.meta[kind-1] }

func (d *Draft) metaChanged(kind Kind) bool {
	text := d.meta[kind-1].Text()
	if kind == Tags {
		return !slices.Equal(strings.Fields(text), d.base.Tags)
	}
	return text != metaText(d.base, kind)
}

// Count is the number of changes.
func (d *Draft) Count() int {
	n := 0
	for _, e := range d.entries {
		if e.change != Kept {
			n++
		}
	}
	for kind := Note; kind <= Tags; kind++ {
		if d.metaChanged(kind) {
			n++
		}
	}
	return n
}

// A Row is one line of a draft: a field, or one of the things that are said of
// the whole secret.
type Row struct {
	Ref
	Change Change
	Typed  bool   // there is a new value, and Facts are about it
	Facts  Facts  // of the new value
	Text   string // of Note, Rotate and Tags
	Over   uint64 // the version by somebody else that this knowingly replaces; 0: none
}

// Rows are all rows: the fields of the secret as it was, those that are new in
// the order they were added, then note, rotate and tags.
func (d *Draft) Rows() []Row {
	rows := make([]Row, 0, len(d.base.Fields)+len(d.entries)+3)
	of := func(name vault.FieldName, e *entry) Row {
		r := Row{Ref: Ref{Name: name}}
		if e != nil {
			r.Change = e.change
			if r.Typed = e.change == Replaced || e.change == Added; r.Typed {
				r.Facts = d.known(e)
			}
		}
		r.Over = d.over[r.Ref]
		return r
	}
	for _, f := range d.base.Fields {
		rows = append(rows, of(f.Name, d.entry(f.Name)))
	}
	for _, e := range d.entries {
		if e.change != Kept && !inBase(d.base, e.name) {
			rows = append(rows, of(e.name, e))
		}
	}
	for kind := Note; kind <= Tags; kind++ {
		r := Row{Ref: Ref{Kind: kind}, Text: d.meta[kind-1].Text()}
		if d.metaChanged(kind) {
			r.Change = Replaced
		}
		r.Over = d.over[r.Ref]
		rows = append(rows, r)
	}
	return rows
}

// Row is one of Rows; ok is false if there is none.
func (d *Draft) Row(ref Ref) (row Row, ok bool) {
	rows := d.Rows()
	if i := slices.IndexFunc(rows, func(r Row) bool { return r.Ref == ref }); i >= 0 {
		return rows[i], true
	}
	return Row{}, false
}

// Changed are those of Rows that change something.
func (d *Draft) Changed() []Row {
	return slices.DeleteFunc(d.Rows(), func(r Row) bool { return r.Change == Kept })
}

// ErrTaken: the secret has a field of that name, or the draft one.
var ErrTaken = errors.New("there is a field of that name already")

var errFixed = errors.New("it is being sent, or was")

// Add adds a field, without a value so far.
func (d *Draft) Add(name vault.FieldName) error {
	switch {
	case d.fixed():
		return errFixed
	case inBase(d.base, name), d.entry(name) != nil:
		return ErrTaken
	}
	d.touch(name).change = Added
	return nil
}

// Remove has a field removed; one that is new is forgotten.
func (d *Draft) Remove(name vault.FieldName) {
	if d.fixed() {
		return
	}
	if !inBase(d.base, name) {
		if e := d.entry(name); e != nil {
			d.drop(e)
		}
		return
	}
	e := d.touch(name)
	e.wipe()
	e.change = Removed
}

// Undo takes the change of a row back.
func (d *Draft) Undo(ref Ref) {
	if d.fixed() {
		return
	}
	if ref.Kind != Field {
		d.meta[ref.Kind-1].Set(metaText(d.base, ref.Kind))
		delete(d.over, ref)
		return
	}
	if e := d.entry(ref.Name); e != nil {
		d.drop(e)
	}
}

// Destroys reports whether sending removes something, or replaces what somebody
// else has written meanwhile.
func (d *Draft) Destroys() bool {
	return slices.ContainsFunc(d.Changed(), func(r Row) bool { return r.Change == Removed || r.Over > 0 })
}

// NeedsValue reports whether the field has no value in the draft, so that
// renaming it needs the one in the vault.
func (d *Draft) NeedsValue(name vault.FieldName) bool {
	e := d.entry(name)
	return e == nil || e.change == Kept
}

// Rename gives a field another name: the old one is removed, the new one added
// with its value. Where NeedsValue says so, that is the one in b.
func (d *Draft) Rename(from, to vault.FieldName, b *Batch) error {
	e := d.entry(from)
	switch {
	case d.fixed():
		return errFixed
	case inBase(d.base, to), d.entry(to) != nil:
		return ErrTaken
	case e != nil && e.change == Added:
		e.name, e.facts = to, nil
		return nil
	}
	n := d.touch(to)
	n.change = Added
	if e != nil && e.change == Replaced {
		n.value.SetBytes(e.value.Bytes())
	} else if !b.give(from, &n.value) {
		d.drop(n)
		return errors.New("its value has not been read")
	}
	n.lines()
	d.Remove(from)
	return nil
}

// Take makes the present value of a field, which is in b, the one that is
// worked on.
func (d *Draft) Take(name vault.FieldName, b *Batch) bool {
	if d.fixed() {
		return false
	}
	e := d.touch(name)
	if !b.give(name, &e.value) {
		if e.change == Kept {
			d.drop(e)
		}
		return false
	}
	if e.change = Replaced; !inBase(d.base, name) {
		e.change = Added
	}
	e.lines()
	return true
}

// set replaces the value of a field, as a new one if need be.
func (d *Draft) setValue(name vault.FieldName, value []byte) {
	e := d.touch(name)
	e.value.SetBytes(value)
	e.lines()
	if e.change = Replaced; !inBase(d.base, name) {
		e.change = Added
	}
}

// A Problem is something about a draft that a person should know before it is
// sent. What is Bad cannot be sent.
type Problem struct {
	Ref
	Text string
	Bad  bool
}

// Problems are all of a draft.
func (d *Draft) Problems() []Problem {
	var all []Problem
	bad := func(kind Kind, err error) {
		if err == nil {
			return
		}
		text := err.Error()
		if e := (*vault.Error)(nil); errors.As(err, &e) && e.Detail != "" {
			text = e.Detail
		}
		all = append(all, Problem{Ref{Kind: kind}, text, true})
	}
	fields := len(d.base.Fields)
	for _, r := range d.Rows() {
		switch {
		case r.Change == Removed:
			fields--
		case r.Change == Added:
			fields++
		}
		if !r.Typed {
			continue
		}
		switch {
		case r.Facts.Length == 0:
			all = append(all, Problem{Ref: r.Ref, Text: "the value is empty"})
		case r.Facts.Odd != "":
			all = append(all, Problem{Ref: r.Ref, Text: "the value " + r.Facts.Odd})
		}
	}
	if fields > vault.MaxFields {
		all = append(all, Problem{Text: "a secret has " + kit.Number(vault.MaxFields) + " fields at most, and this has " + kit.Number(fields), Bad: true})
	}
	bad(Note, record.CheckNote(d.meta[Note-1].Text()))
	bad(Rotate, record.CheckRotate(d.meta[Rotate-1].Text()))
	bad(Tags, record.CheckTags(strings.Fields(d.meta[Tags-1].Text())))
	return all
}
