package engine

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"time"

	"envrun/vault"
	"envrun/vault/record"
)

// A Side is one of the two that a merge brings together.
type Side int

const (
	Ours   Side = iota + 1 // git's stage 2
	Theirs                 // git's stage 3
)

func (s Side) String() string {
	switch s {
	case Ours:
		return "ours"
	case Theirs:
		return "theirs"
	}
	return "no side"
}

// What a Conflict is about.
type What string

const (
	WhatSecret What = "secret" // one side deleted it, the other changed it
	WhatField  What = "field"  // both changed one field
	WhatNote   What = "note"
	WhatTags   What = "tags"
	WhatRotate What = "rotate"
	WhatHeader What = "header" // of a newer envrun, not known here
)

// A Conflict is what two people decided differently and a third must decide.
// Its texts hold no value; the values themselves are in it, masked, for a
// person who asks to see them.
type Conflict struct {
	Env          vault.Env
	Path         vault.Path
	What         What
	Field        vault.FieldName // with WhatField
	Ours, Theirs Choice
}

// A Choice is one side of a Conflict.
type Choice struct {
	Version uint64
	By      string // who says they wrote that version; empty if the file was removed without a tombstone
	At      time.Time
	Absent  bool        // the side has no such field, note, tag or secret (any more)
	Value   vault.Value // with WhatField
	Text    string      // the note, the tags, or the time to rotate, which are no secret
}

// String says what the conflict is, and no value.
func (c Conflict) String() string {
	what := string(c.What)
	switch c.What {
	case WhatSecret:
		what = "the secret"
	case WhatField:
		what = string(c.Field)
	}
	return fmt.Sprintf("%s %s %s: %s; %s", c.Env, c.Path, what, c.Ours.say("ours"), c.Theirs.say("theirs"))
}

func (c Choice) say(side string) string {
	did := "changed"
	if c.Absent {
		did = "removed"
	}
	if c.By == "" {
		return side + ": the file is gone"
	}
	return fmt.Sprintf("%s: %s in version %d by %s on %s", side, did, c.Version, c.By, c.At.Format("2006-01-02"))
}

// MergeOptions say how what is not plain is decided.
type MergeOptions struct {
	// Choose answers a Conflict. An error from it ends the merge of the
	// environment, with nothing written. The zero Side leaves it undecided, and
	// its secret as it is, with an *UndecidedError; nil does so with all. It is
	// called with no lock held, and may ask a person.
	Choose func(Conflict) (Side, error)

	// Allow is asked once for each environment, when all is decided and before
	// anything is written; an error from it ends the merge of the environment.
	// It is called with no lock held, too; nil allows all.
	Allow func(env vault.Env) error

	// Adopt takes over what is under a retired key (see Engine.Adopt). Without
	// it such secrets are left and reported with a *RetiredError.
	Adopt bool
}

// UndecidedError is what of one secret nobody was there to decide. The values
// in it are wiped.
type UndecidedError struct{ Conflicts []Conflict }

func (e *UndecidedError) Error() string {
	var b strings.Builder
	b.WriteString("two people changed it differently")
	for _, c := range e.Conflicts {
		b.WriteString("; " + c.String())
	}
	return b.String()
}

// RetiredError is a version under a key that was retired since. Whoever takes
// it over must know that its author was still welcome then.
type RetiredError struct {
	Gen, Current uint32
	Version      uint64
	By           string
	At           time.Time
}

func (e *RetiredError) Error() string {
	return fmt.Sprintf("version %d was written under retired key %d by %s on %s; the key is %d", e.Version, e.Gen, e.By, e.At.Format("2006-01-02"), e.Current)
}

// MergeInput is one secret that two sides have changed.
type MergeInput struct {
	Path vault.Path

	// The files as both sides and their common ancestor have them; nil where
	// there is none. Base is a claim of git's: it counts if it is genuine.
	Base, Ours, Theirs []byte

	// The versions that stood in the history of each side, in any order; not
	// all that ever were, since not everything that is written is committed.
	PastOurs, PastTheirs [][]byte
	Shallow              bool // the history that is here is not all there is

	// Sealed says that nothing is in conflict in git: Ours is the version that
	// the seal has, found in history, and Theirs what stands in its place.
	Sealed bool

	// Undo says that somebody has told git to take a change back: Theirs is meant
	// to be older than Ours, and Base the one whose change is to go.
	Undo bool
}

// SealInput is a seal that both sides moved.
type SealInput struct{ Ours, Theirs []byte }

// Merged is what became of one secret.
type Merged struct {
	Path    vault.Path
	Err     error  // why it was left as it is; else:
	Side    Side   // whose version was taken whole; 0 if it was put together from both
	Version uint64 // now
	Deleted bool
	Wrote   bool     // a new version was written, rather than one side's kept
	Authors []string // of both sides
	Adopted bool     // a side was under a retired key: holders of that know the value
	Why     string   // why a side was taken whole, where that needs a word
	SetBack uint64   // the version that the other side went back to, from a later one that both had; it counts for nothing
}

// SealOutcome is what became of the seal.
type SealOutcome string

const (
	SealUntouched SealOutcome = ""        // it was not in conflict
	SealTaken     SealOutcome = "taken"   // one side's knows all that the other's does
	SealWritten   SealOutcome = "written" // a new one, over all that is there now
	SealLeft      SealOutcome = "left"    // something must be decided first: SealErr
)

// MergeResult is the outcome of a Merge.
type MergeResult struct {
	Records []Merged // in the order of the input
	Adopted []vault.Path
	Seal    SealOutcome
	SealErr error
}

// Merge puts together what two branches made of an environment (filevault
// §3.6): each secret by field, in a version above both, and the seal. Every
// version is checked before anything of it counts, under the key that it
// names: a side that was set back to a version which the other was made from
// counts for nothing, and neither side may be below what the seals have unless
// the other is above it.
//
// All that can be merged is written in one batch; what cannot is left and
// reported in its Merged.Err, and then a seal that is in conflict is left too,
// since it must vouch for everything. The error of Merge itself means that
// nothing was written.
//
// It takes what stands in the store in the place of a conflict for nothing,
// unless that is a genuine version above both sides: then somebody has
// resolved it, or Merge was killed after its write, and it stays.
func (e *Engine) Merge(ctx context.Context, env vault.Env, inputs []MergeInput, sealed *SealInput, o MergeOptions) (MergeResult, error) {
	m := &merger{e: e, env: env, o: o}
	if err := m.prepare(ctx, sealed); err != nil {
		return MergeResult{}, e.locate(err, env, "")
	}
	res := MergeResult{Records: make([]Merged, len(inputs))}
	plans := make([]plan, len(inputs))
	for i, in := range inputs {
		if err := ctx.Err(); err != nil {
			return MergeResult{}, err
		}
		p, err := m.plan(ctx, in)
		if stop, ok := errors.AsType[*stopError](err); ok {
			return MergeResult{}, stop.err
		}
		p.merged.Path, p.merged.Err = in.Path, e.locate(err, env, in.Path)
		plans[i], res.Records[i] = p, p.merged
	}
	if err := m.retiredKeys(ctx, plans); err != nil {
		return MergeResult{}, err
	}
	if o.Allow != nil && (sealed != nil || m.writes(plans)) {
		if err := o.Allow(env); err != nil {
			return MergeResult{}, err
		}
	}
	err := e.c.Store.Batch(ctx, env, func(tx Tx) error { return m.write(ctx, tx, plans, sealed, &res) })
	if err != nil {
		return MergeResult{}, e.locate(err, env, "")
	}
	return res, nil
}

// MergeBytes is Merge for one secret, and returns the file instead of writing
// it: for whoever is asked while the store is not yet what it will be, as git
// asks a merge driver. What stands in the store in its place is not looked at.
func (e *Engine) MergeBytes(ctx context.Context, env vault.Env, in MergeInput, o MergeOptions) ([]byte, Merged, error) {
	m := &merger{e: e, env: env, o: o, blind: true}
	if err := m.prepare(ctx, nil); err != nil {
		return nil, Merged{}, e.locate(err, env, "")
	}
	p, err := m.plan(ctx, in)
	p.merged.Path = in.Path
	if err != nil {
		return nil, p.merged, e.locate(err, env, in.Path)
	}
	raw, _, err := m.seal(&p)
	return raw, p.merged, e.locate(err, env, in.Path)
}

// MergeSealBytes returns the one of two seals that knows all that the other
// does, and whether there is one. Both are checked; what they are over is not.
func (e *Engine) MergeSealBytes(ctx context.Context, env vault.Env, in SealInput) ([]byte, bool, error) {
	m := &merger{e: e, env: env}
	if err := m.prepare(ctx, &in); err != nil {
		return nil, false, e.locate(err, env, "")
	}
	s, ok := m.dominating()
	return s.raw, ok, nil
}

// OpenFile opens a version of a secret that stands in some file, under the key
// that it names. It says that a holder of that key wrote it, and not that it
// is the present version, or ever was.
func (e *Engine) OpenFile(ctx context.Context, env vault.Env, path vault.Path, raw []byte) (vault.Secret, EnvKey, error) {
	key, err := e.currentKey(ctx, env)
	if err != nil {
		return vault.Secret{}, EnvKey{}, err
	}
	m := &merger{e: e, env: env, key: key}
	v, err := m.open(ctx, path, raw)
	if err != nil {
		return vault.Secret{}, EnvKey{}, e.locate(err, env, path)
	}
	return vault.Secret{Info: v.Info(), Values: v.fields}, key, nil
}

// stopError is an error of Choose.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }

// merger is one Merge under way.
type merger struct {
	e     *Engine
	env   vault.Env
	o     MergeOptions
	key   EnvKey
	keys  map[uint32]EnvKey // retired ones, for adoption
	seals []sealSide        // one, or both if they are in conflict
	raw   []byte            // the seal as it stands in the store
	blind bool              // the records in the store are not looked at
}

// sealSide is a genuine seal.
type sealSide struct {
	*record.Seal
	raw     []byte
	entries map[vault.Path]record.SealedEntry
}

// prepare fetches the key and opens the seals.
func (m *merger) prepare(ctx context.Context, sealed *SealInput) (err error) {
	if m.raw, err = m.e.c.Store.Blob(ctx, m.env, SealBlob); err != nil && (sealed == nil || vault.KindOf(err) != vault.KindNotFound) {
		return m.e.locateBlob(missingSeal(err), m.env, SealBlob)
	}
	if m.key, err = m.e.currentKey(ctx, m.env); err != nil {
		return err
	}
	raws := [][]byte{m.raw}
	if sealed != nil {
		raws = [][]byte{sealed.Ours, sealed.Theirs}
	}
	for _, raw := range raws {
		s, err := m.openSeal(ctx, raw)
		if err != nil {
			return m.e.locateBlob(err, m.env, SealBlob)
		}
		m.seals = append(m.seals, s)
	}
	return nil
}

// openSeal checks a seal under the generation that it names.
func (m *merger) openSeal(ctx context.Context, raw []byte) (sealSide, error) {
	if raw == nil {
		return sealSide{}, missingSeal(&vault.Error{Kind: vault.KindNotFound})
	}
	s, err := record.ParseSeal(raw)
	if err != nil {
		return sealSide{}, err
	}
	key, err := m.generation(ctx, s.Gen)
	if err != nil {
		return sealSide{}, err
	}
	if _, err := m.e.checkSeal(m.env, key, raw); err != nil {
		return sealSide{}, err
	}
	return sealSide{s, raw, bySealedPath(s, "")}, nil
}

// generation is the key of a generation, which must not be after the present one.
func (m *merger) generation(ctx context.Context, gen uint32) (EnvKey, error) {
	switch {
	case gen == m.key.Gen:
		return m.key, nil
	case gen > m.key.Gen:
		return EnvKey{}, tampered(fmt.Sprintf("was written under key %d, which is not there; the key is %d", gen, m.key.Gen))
	}
	return m.e.c.Keys.Generation(ctx, m.env, gen)
}

// writes reports whether there is something to write, but for a seal.
func (m *merger) writes(plans []plan) bool {
	return len(m.keys) > 0 || slices.ContainsFunc(plans, func(p plan) bool {
		return p.next != nil || p.keep != nil && !bytes.Equal(p.keep, p.present)
	})
}

// A version is one side of a merge, opened; the zero version is none.
type version struct {
	*record.Record
	hash   record.Hash
	fields []vault.Field
	raw    []byte
}

// open opens one version with its values under the key that it names.
func (m *merger) open(ctx context.Context, path vault.Path, raw []byte) (version, error) {
	if raw == nil {
		return version{}, nil
	}
	_, gen, err := record.ParseHeader(raw)
	if err != nil {
		return version{}, err
	}
	key, err := m.generation(ctx, gen)
	if err != nil {
		return version{}, err
	}
	o, err := m.e.openWith(m.env, key, path, raw)
	if err != nil {
		return version{}, err
	}
	fields, err := o.values()
	return version{o.Record, o.hash, fields, raw}, err
}

func (v version) is(o version) bool {
	return v.Record != nil && o.Record != nil && v.Version == o.Version && v.hash == o.hash
}

// A plan is what is to be done with one secret.
type plan struct {
	merged  Merged
	present []byte         // what was found in the store, nil if nothing
	next    *record.Record // to be sealed and written with fields
	fields  []vault.Field
	keep    []byte // or: to be written as it is
}

// plan decides what becomes of one secret. Nothing is written.
func (m *merger) plan(ctx context.Context, in MergeInput) (p plan, err error) {
	if err := checkPath(m.env, in.Path); err != nil {
		return p, err
	}
	if !m.blind {
		head, err := m.e.c.Store.Head(ctx, m.env, in.Path)
		if err != nil && vault.KindOf(err) != vault.KindNotFound {
			return p, err
		}
		p.present = head.Raw
	}
	ours, err := m.open(ctx, in.Path, in.Ours)
	if err != nil {
		return p, sideError(err, Ours)
	}
	defer wipe(ours.fields)
	theirs, err := m.open(ctx, in.Path, in.Theirs)
	if err != nil {
		return p, sideError(err, Theirs)
	}
	defer wipe(theirs.fields)
	if ours.Record == nil && theirs.Record == nil {
		return p, tampered("is gone on both sides")
	}
	if done, err := m.resolved(ctx, in, ours, theirs, &p); done || err != nil {
		return p, err
	}
	for _, s := range m.seals {
		if err := dominatesEither(s.entries, in.Path, ours, theirs); err != nil {
			return p, err
		}
	}
	past := newLineage(in)
	for _, v := range []version{ours, theirs} {
		if v.Record != nil && !slices.Contains(p.merged.Authors, v.By) {
			p.merged.Authors = append(p.merged.Authors, v.By)
		}
	}
	take, why, err := m.whole(in, past, ours, theirs)
	if err != nil {
		return p, err
	}
	if take != 0 {
		p.merged.Side, p.merged.Why = take, why
		other := theirs
		if take == Theirs {
			other = ours
		}
		if base, _, err := record.ParseHeader(in.Base); err == nil && why != "" && other.Version < base.Version {
			p.merged.SetBack = other.Version
		}
		return m.keep(p, take, ours, theirs)
	}
	return m.combine(ctx, p, in, past, ours, theirs)
}

// sideError says which side is at fault.
func sideError(err error, s Side) error {
	return fill(err, func(ve *vault.Error) {
		switch {
		case ve.Detail != "":
			ve.Detail = s.String() + ": " + ve.Detail
		case ve.Err != nil:
			ve.Detail = s.String()
		default:
			ve.Detail = s.String() + ": " + ve.Kind.String()
		}
	})
}

// resolved looks at what stands in the store: whether it is a later version
// than both sides, which then is the answer.
func (m *merger) resolved(ctx context.Context, in MergeInput, ours, theirs version, p *plan) (bool, error) {
	if p.present == nil || in.Sealed {
		return false, nil
	}
	if _, _, err := record.ParseHeader(p.present); err != nil {
		return false, nil // git's marks, as a rule
	}
	now, err := m.open(ctx, in.Path, p.present)
	if err != nil {
		return false, nil
	}
	defer wipe(now.fields)
	switch {
	case now.is(ours), now.is(theirs):
		return false, nil
	case now.Version > top(ours, theirs):
		if now.Gen != m.key.Gen {
			return false, nil
		}
		p.merged.Version, p.merged.Deleted, p.merged.Why = now.Version, now.Deleted, "was resolved before"
		for _, s := range m.seals {
			if entry, ok := s.entries[in.Path]; ok {
				if err := dominates(entry, now.Version, now.hash); err != nil {
					return true, err
				}
			}
		}
		p.keep = p.present
		return true, nil
	}
	return true, &vault.Error{Kind: vault.KindConflict,
		Detail: fmt.Sprintf("what stands there now is version %d by %s, which is of neither side and not above both", now.Version, now.By)}
}

func top(ours, theirs version) uint64 {
	var n uint64
	for _, v := range []version{ours, theirs} {
		if v.Record != nil {
			n = max(n, v.Version)
		}
	}
	return n
}

// dominatesEither: of two honest sides at least one has what a seal knows, or
// what came after it.
func dominatesEither(entries map[vault.Path]record.SealedEntry, path vault.Path, ours, theirs version) error {
	sealed, ok := entries[path]
	if !ok {
		return nil
	}
	var bad error
	for _, v := range []version{ours, theirs} {
		if v.Record == nil {
			if sealed.Deleted {
				return nil
			}
			continue
		}
		err := dominates(sealed, v.Version, v.hash)
		if err == nil {
			return nil
		}
		bad = err
	}
	return bad
}

// whole reports whose version is to be taken whole, 0 if neither. That is so
// where one side has left the other's version behind: it was made from it, by
// the hash that each version names of the one before it, or it stood there
// before, by git's history. A side that went back to a version which the other
// has left would else bring its values up again, in a version above any seal.
func (m *merger) whole(in MergeInput, past lineage, ours, theirs version) (Side, string, error) {
	if ours.Record == nil {
		return 0, "", m.putBack(in, theirs, in.PastOurs)
	}
	if theirs.Record == nil {
		return 0, "", m.putBack(in, ours, in.PastTheirs)
	}
	if ours.is(theirs) {
		// They differ below the MAC: one was wrapped anew by a rotation.
		if theirs.Gen > ours.Gen {
			return Theirs, "", nil
		}
		return Ours, "", nil
	}
	left := func(old, by version, history [][]byte) bool {
		chain, _ := past.before(parents(by.Record))
		return chain[old.hash] || old.among(history)
	}
	older := func(old, by version) string {
		return fmt.Sprintf("version %d is one that came before version %d", old.Version, by.Version)
	}
	oursLeft, theirsLeft := left(theirs, ours, in.PastOurs), left(ours, theirs, in.PastTheirs)
	if oursLeft && theirsLeft { // one of them went back and forth
		oursLeft, theirsLeft = ours.Version >= theirs.Version, ours.Version < theirs.Version
	}
	switch {
	case oursLeft && in.Undo:
		return 0, "", nil
	case oursLeft && in.Sealed:
		return 0, "", &vault.Error{Kind: vault.KindTampered, Err: &BehindSealError{Version: theirs.Version, Sealed: ours.Version}}
	case oursLeft:
		return Ours, older(theirs, ours), nil
	case theirsLeft && !in.Sealed:
		// Of a cherry-pick only its own change is wanted, and git says by the base
		// what that is; but ours must not be one that was set back.
		hash, err := record.BodyHash(in.Base)
		if err != nil || hash == ours.hash || m.belowSeal(ours) {
			return Theirs, older(ours, theirs), nil
		}
	}
	if in.Shallow && m.belowSeal(theirs) {
		return 0, "", m.shallow(theirs)
	}
	return 0, "", nil
}

func (v version) among(history [][]byte) bool {
	return slices.ContainsFunc(history, func(raw []byte) bool {
		hash, err := record.BodyHash(raw)
		return err == nil && hash == v.hash
	})
}

// putBack is the same for a side that has no file any more: a rotation forgot
// its tombstone, and the seal remembers it. What the history of that side has,
// it has deleted since.
func (m *merger) putBack(in MergeInput, v version, history [][]byte) error {
	for _, s := range m.seals {
		entry, ok := s.entries[in.Path]
		if !ok || !entry.Deleted || v.Version > entry.Version {
			continue
		}
		if v.among(history) {
			return dominates(entry, v.Version, v.hash)
		}
		if in.Shallow {
			return m.shallow(v)
		}
	}
	return nil
}

func (m *merger) shallow(v version) error {
	return &vault.Error{Kind: vault.KindUnsupported, Detail: fmt.Sprintf(
		"this clone is shallow: whether version %d was set back or written on a branch cannot be known", v.Version)}
}

// belowSeal reports whether a seal has a later version.
func (m *merger) belowSeal(v version) bool {
	return slices.ContainsFunc(m.seals, func(s sealSide) bool { return v.Version < s.entries[v.Path].Version })
}

// keep takes one side's version as it is, where that is enough: a later seal of
// the other side must not stand above it, and under a retired key whoever held
// that could write another of the same number. Else its content goes into a
// version above both.
func (m *merger) keep(p plan, side Side, ours, theirs version) (plan, error) {
	v, other := ours, theirs
	if side == Theirs {
		v, other = theirs, ours
	}
	if v.is(other) && other.Gen == m.key.Gen {
		v = other
	}
	above := v.is(other) || other.Record == nil || v.Version > other.Version
	for _, s := range m.seals {
		if entry, ok := s.entries[v.Path]; ok && dominates(entry, v.Version, v.hash) != nil {
			above = false
		}
	}
	if above && v.Gen == m.key.Gen {
		p.merged.Version, p.merged.Deleted, p.keep = v.Version, v.Deleted, v.raw
		return p, nil
	}
	if err := m.mayAdopt(v); err != nil {
		return p, err
	}
	p, err := m.next(p, v, other, contentOf(v), nil)
	p.merged.Adopted = v.Gen != m.key.Gen
	return p, err
}

func (m *merger) mayAdopt(v version) error {
	if v.Record == nil || v.Gen == m.key.Gen || m.o.Adopt {
		return nil
	}
	return &vault.Error{Kind: vault.KindTampered, Err: &RetiredError{Gen: v.Gen, Current: m.key.Gen, Version: v.Version, By: v.By, At: v.At}}
}

// combine merges by field.
func (m *merger) combine(ctx context.Context, p plan, in MergeInput, past lineage, ours, theirs version) (plan, error) {
	bases, known, err := m.bases(ctx, in, past, ours, theirs)
	if err != nil {
		return p, err
	}
	var contents []content
	for _, b := range bases {
		defer wipe(b.fields)
		contents = append(contents, contentOf(b))
		// A rotation wraps anew what it does not change, and that needs nobody's leave.
		if b.is(theirs) && ours.Record != nil && ours.Version > theirs.Version {
			p.merged.Side = Ours
			return m.keep(p, Ours, ours, theirs)
		}
		if b.is(ours) && theirs.Record != nil && theirs.Version > ours.Version {
			p.merged.Side = Theirs
			return m.keep(p, Theirs, ours, theirs)
		}
		// A rotation forgets tombstones, and its seal remembers them.
		if b.Deleted && theirs.Record == nil {
			p.merged.Side = Ours
			return m.keep(p, Ours, ours, theirs)
		}
		if b.Deleted && ours.Record == nil {
			p.merged.Side = Theirs
			return m.keep(p, Theirs, ours, theirs)
		}
	}
	for _, v := range []version{ours, theirs} {
		if err := m.mayAdopt(v); err != nil {
			return p, err
		}
	}
	var undecided []Conflict
	c, changed, err := threeWay(contents, known, contentOf(ours), contentOf(theirs), func(c Conflict) (side Side, err error) {
		c.Env, c.Path = m.env, in.Path
		c.Ours.version(ours)
		c.Theirs.version(theirs)
		if m.o.Choose != nil {
			if side, err = m.o.Choose(c); err != nil {
				return 0, &stopError{err}
			}
		}
		switch side {
		case Ours, Theirs:
			return side, nil
		case 0:
			undecided = append(undecided, c)
			return Ours, nil // so that every other one is found too
		}
		return 0, &stopError{invalid("the answer to a conflict is neither side")}
	})
	if err != nil {
		return p, err
	}
	if len(undecided) > 0 {
		return p, &vault.Error{Kind: vault.KindConflict, Err: &UndecidedError{undecided}}
	}
	return m.next(p, ours, theirs, c, changed)
}

func (c *Choice) version(v version) {
	if v.Record != nil {
		c.Version, c.By, c.At = v.Version, v.By, v.At
	}
}

// next plans a version above both sides. a may be none, and so may b.
func (m *merger) next(p plan, a, b version, c content, changed map[vault.FieldName]bool) (plan, error) {
	first, second := a, b
	if first.Record == nil {
		first, second = b, version{}
	}
	n := top(a, b)
	for _, s := range m.seals {
		n = max(n, s.entries[first.Path].Version)
	}
	if n >= math.MaxInt64 {
		return p, &vault.Error{Kind: vault.KindFull, Detail: "has no more version numbers"}
	}
	n++
	r := &record.Record{
		Vault: m.e.c.Vault, Env: m.env, Path: first.Path, Gen: m.key.Gen, Version: n,
		PrevVersion: first.Version, PrevHash: first.hash, By: m.e.c.Member, At: m.e.now(),
		Rotate: c.rotate, Note: c.note, Tags: c.tags, Extra: c.extra, Deleted: c.deleted,
	}
	if second.Record != nil {
		r.Extra = append(r.Extra, mergedHeader(second))
	}
	if len(c.fields) > vault.MaxFields {
		return p, invalid("would have %d fields; a secret holds at most %d", len(c.fields), vault.MaxFields)
	}
	p.next = r
	for _, f := range c.fields {
		since := f.Since
		if changed[f.Name] {
			since = n
		}
		// The sides wipe theirs when the plan is made.
		p.fields = append(p.fields, vault.Field{Name: f.Name, Since: since, Value: vault.NewValue(bytes.Clone(f.Value.Reveal()))})
	}
	p.merged.Version, p.merged.Deleted, p.merged.Wrote = n, c.deleted, true
	for _, v := range []version{a, b} {
		if v.Record != nil && v.Gen != m.key.Gen {
			p.merged.Adopted = true
		}
	}
	return p, nil
}

// bases are the common ancestors of both sides, and whether they are known:
// none at all, known, is two people who made the same secret. Git's word for it
// counts where it is a genuine version. Where it is not, since git put it
// together from several, the sides' own words do.
func (m *merger) bases(ctx context.Context, in MergeInput, past lineage, ours, theirs version) ([]version, bool, error) {
	if in.Base != nil {
		if b, err := m.open(ctx, in.Path, in.Base); err == nil {
			return []version{b}, true, nil
		} else if ctx.Err() != nil {
			return nil, false, ctx.Err()
		}
	}
	hashes, known := past.common(ours, theirs)
	var bases []version
	for _, h := range hashes {
		b, err := m.open(ctx, in.Path, past[h].raw)
		if err != nil {
			if ctx.Err() != nil {
				return nil, false, ctx.Err()
			}
			return nil, false, nil // its key is not ours to hold
		}
		bases = append(bases, b)
	}
	if len(bases) > 0 {
		return bases, known, nil
	}
	return nil, in.Base == nil && ours.Record != nil && theirs.Record != nil, nil
}

// mergedKey is the header of a version that was merged from two: "merged 7
// 9f86… bob@desktop" is the other one, beside "prev". It is a header that
// readers who do not know it keep and leave alone.
const mergedKey = "merged"

func mergedHeader(v version) record.Header {
	return record.Header{Key: mergedKey, Value: fmt.Sprintf("%d %s %s", v.Version, v.hash, v.By)}
}

// mergedFrom reads the header; ok is false if there is none of that form.
func mergedFrom(r *record.Record) (n uint64, hash record.Hash, ok bool) {
	for _, h := range r.Extra {
		if h.Key != mergedKey {
			continue
		}
		var hex, by string
		if _, err := fmt.Sscanf(h.Value, "%d %32s %s", &n, &hex, &by); err != nil {
			return 0, hash, false
		}
		hash, err := record.ParseHash(hex)
		return n, hash, err == nil && n < r.Version
	}
	return 0, hash, false
}

// withoutMerged are headers that go on to the next version.
func withoutMerged(extra []record.Header) []record.Header {
	return slices.DeleteFunc(slices.Clone(extra), func(h record.Header) bool { return h.Key == mergedKey })
}

// A lineage has versions of one secret by hash. That one is in it says nothing;
// that a genuine one names its hash does.
type lineage map[record.Hash]*ancestor

type ancestor struct {
	raw     []byte
	version uint64
	from    []parent
	read    bool // version and from are set
}

type parent struct {
	version uint64
	hash    record.Hash
}

func newLineage(in MergeInput) lineage {
	l := lineage{}
	for _, list := range [][][]byte{{in.Base, in.Ours, in.Theirs}, in.PastOurs, in.PastTheirs} {
		for _, raw := range list {
			hash, err := record.BodyHash(raw)
			if _, ok := l[hash]; !ok && err == nil {
				l[hash] = &ancestor{raw: raw}
			}
		}
	}
	return l
}

// get reads a version at the first need; nil if there is none that can be read.
func (l lineage) get(h record.Hash) *ancestor {
	a := l[h]
	if a == nil || a.read {
		return a
	}
	r, err := record.ParseRecord(a.raw)
	if err != nil {
		delete(l, h)
		return nil
	}
	a.version, a.from, a.read = r.Version, parents(r), true
	return a
}

func parents(r *record.Record) []parent {
	var from []parent
	if r.PrevVersion > 0 {
		from = append(from, parent{r.PrevVersion, r.PrevHash})
	}
	if n, hash, ok := mergedFrom(r); ok {
		from = append(from, parent{n, hash})
	}
	return from
}

// before is every version that a genuine one came from, and the highest that
// is named and not there.
func (l lineage) before(from []parent) (seen map[record.Hash]bool, gap uint64) {
	seen = map[record.Hash]bool{}
	todo := slices.Clone(from)
	for len(todo) > 0 {
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[p.hash] {
			continue
		}
		seen[p.hash] = true
		if a := l.get(p.hash); a == nil {
			gap = max(gap, p.version)
		} else {
			todo = append(todo, a.from...)
		}
	}
	return seen, gap
}

// common are the latest versions that both come from, and whether there can be
// no later one, in what is not here.
func (l lineage) common(a, b version) ([]record.Hash, bool) {
	if a.Record == nil || b.Record == nil {
		return nil, false
	}
	pastA, gapA := l.before(parents(a.Record))
	pastB, gapB := l.before(parents(b.Record))
	var both []record.Hash
	inner := map[record.Hash]bool{} // came before another of both
	known := true
	for h := range pastA {
		one := l.get(h)
		if !pastB[h] || one == nil {
			continue
		}
		both = append(both, h)
		for _, p := range one.from {
			inner[p.hash] = true
		}
	}
	// What stands before an inner one is the parent of an inner one, so parents do.
	both = slices.DeleteFunc(both, func(h record.Hash) bool { return inner[h] })
	sort.Slice(both, func(i, j int) bool { return bytes.Compare(both[i][:], both[j][:]) < 0 })
	for _, h := range both {
		known = known && l[h].version > max(gapA, gapB)
	}
	return both, known
}

// retiredKeys fetches the keys of what is to be adopted besides the plans:
// outside the batch, since that may ask a person.
func (m *merger) retiredKeys(ctx context.Context, plans []plan) error {
	m.keys = map[uint32]EnvKey{}
	if !m.o.Adopt {
		return nil
	}
	planned := map[vault.Path]bool{}
	for _, p := range plans {
		planned[p.merged.Path] = true
	}
	for r, err := range m.e.c.Store.Heads(ctx, m.env, "") {
		if err != nil || planned[r.Path] {
			continue // what cannot be read is reported by whoever verifies
		}
		_, gen, err := record.ParseHeader(r.Raw)
		if err != nil || gen >= m.key.Gen || m.keys[gen].Gen != 0 {
			continue
		}
		key, err := m.e.c.Keys.Generation(ctx, m.env, gen)
		if err != nil {
			return m.e.locate(err, m.env, r.Path)
		}
		m.keys[gen] = key
	}
	return ctx.Err()
}

// Replacer is implemented by a Tx whose records are changed from outside too,
// as git does: Replace puts a record in the place of whatever there is.
type Replacer interface{ Replace(r Record) error }

var errNoReplace = &vault.Error{Kind: vault.KindUnsupported, Detail: "this store has no branches to merge"}

// write does what was planned, in a batch, if what it was planned on is still there.
func (m *merger) write(ctx context.Context, tx Tx, plans []plan, sealed *SealInput, res *MergeResult) error {
	moved := func(path vault.Path) error {
		return m.e.locate(&vault.Error{Kind: vault.KindConflict, Detail: "somebody else wrote while it was merged"}, m.env, path)
	}
	raw, err := tx.Blob(SealBlob)
	if err != nil && vault.KindOf(err) != vault.KindNotFound {
		return err
	}
	if !bytes.Equal(raw, m.raw) {
		return moved("")
	}
	switch _, err := tx.Blob(GenBlob(m.key.Gen + 1)); vault.KindOf(err) {
	case vault.KindNotFound:
	default:
		if err == nil {
			err = moved("")
		}
		return err
	}
	replacer, ok := tx.(Replacer)
	if !ok {
		return errNoReplace
	}
	var entries []record.SealedEntry
	open := false // something is left to be decided
	for i := range plans {
		p := &plans[i]
		if p.merged.Err != nil {
			open = true
			continue
		}
		head, err := tx.Head(p.merged.Path)
		if err != nil && vault.KindOf(err) != vault.KindNotFound {
			return err
		}
		if !bytes.Equal(head.Raw, p.present) {
			return moved(p.merged.Path)
		}
		entry, err := m.put(replacer, p)
		if err != nil {
			return m.e.locate(err, m.env, p.merged.Path)
		}
		entries = append(entries, entry)
		if p.merged.Adopted {
			res.Adopted = append(res.Adopted, p.merged.Path)
		}
	}
	adopted, err := m.adoptAll(ctx, tx, replacer, plans)
	if err != nil {
		return err
	}
	for _, entry := range adopted {
		res.Adopted = append(res.Adopted, entry.Path)
	}
	slices.Sort(res.Adopted)
	switch {
	case sealed != nil && open:
		res.Seal, res.SealErr = SealLeft, m.e.locateBlob(&vault.Error{Kind: vault.KindUnmerged, Detail: "the seal is merged once every secret is"}, m.env, SealBlob)
	case sealed != nil:
		res.Seal, res.SealErr = m.mergeSeal(ctx, tx)
		if res.SealErr != nil && !isVault(res.SealErr) {
			return res.SealErr
		}
	case m.e.c.SealOnWrite && len(entries)+len(adopted) > 0 && !open:
		v, err := m.view(m.seals[0].raw)
		if err != nil {
			return err
		}
		return v.sealAlso(tx, append(entries, adopted...))
	}
	return nil
}

func isVault(err error) bool {
	var ve *vault.Error
	return errors.As(err, &ve)
}

// view is one whose checkpoint is a seal that was found genuine, of the present key.
func (m *merger) view(raw []byte) (view, error) {
	c, err := m.e.checkpoint(m.env, m.key, raw)
	return view{e: m.e, env: m.env, key: m.key, seal: c}, err
}

// seal makes the file of a plan, and opens it again as a reader would.
func (m *merger) seal(p *plan) ([]byte, opened, error) {
	raw, fields := p.keep, p.fields
	if p.next != nil {
		defer wipe(fields)
		var err error
		if raw, err = EncodeRecord(m.key, p.next, fields); err != nil {
			return nil, opened{}, err
		}
	}
	o, err := m.e.openWith(m.env, m.key, p.merged.Path, raw)
	if err == nil && p.next != nil {
		err = m.e.readsBack(o, p.next, fields)
	}
	for _, s := range m.seals {
		if entry, ok := s.entries[p.merged.Path]; ok && err == nil {
			err = dominates(entry, o.Version, o.hash)
		}
	}
	if err != nil {
		return nil, opened{}, fmt.Errorf("checking what was to be written to %s %s: %w", m.env, p.merged.Path, err)
	}
	return raw, o, nil
}

// put writes one plan.
func (m *merger) put(tx Replacer, p *plan) (record.SealedEntry, error) {
	raw, o, err := m.seal(p)
	if err != nil {
		return record.SealedEntry{}, err
	}
	if !bytes.Equal(raw, p.present) {
		if err := tx.Replace(Record{Env: m.env, Path: o.Path, Version: o.Version, Gen: o.Gen, At: o.At, Raw: raw}); err != nil {
			return record.SealedEntry{}, err
		}
	}
	return record.SealedEntry{Path: o.Path, Version: o.Version, Hash: o.hash, Deleted: o.Deleted}, nil
}

// adoptAll takes over what is under a retired key and not in conflict.
func (m *merger) adoptAll(ctx context.Context, tx Tx, to Replacer, plans []plan) ([]record.SealedEntry, error) {
	if len(m.keys) == 0 {
		return nil, nil
	}
	planned := map[vault.Path]bool{}
	for _, p := range plans {
		planned[p.merged.Path] = true
	}
	var todo []plan
	for r, err := range tx.Heads("") {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil || planned[r.Path] {
			continue
		}
		_, gen, err := record.ParseHeader(r.Raw)
		if err != nil {
			continue
		}
		key, ok := m.keys[gen]
		if !ok {
			continue
		}
		p, err := m.adopt(r, key)
		if err != nil {
			return nil, m.e.locate(err, m.env, r.Path)
		}
		todo = append(todo, p)
	}
	var entries []record.SealedEntry
	for i := range todo {
		entry, err := m.put(to, &todo[i])
		if err != nil {
			return nil, m.e.locate(err, m.env, todo[i].merged.Path)
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

// adopt plans the next version of a record that is under a retired key.
func (m *merger) adopt(r Record, retired EnvKey) (plan, error) {
	o, err := m.e.openWith(m.env, retired, r.Path, r.Raw)
	if err != nil {
		return plan{}, err
	}
	fields, err := o.values()
	if err != nil {
		return plan{}, err
	}
	defer wipe(fields)
	v := version{o.Record, o.hash, fields, r.Raw}
	for _, s := range m.seals {
		if entry, ok := s.entries[r.Path]; ok {
			if err := dominates(entry, v.Version, v.hash); err != nil {
				return plan{}, err
			}
		}
	}
	p, err := m.next(plan{present: r.Raw}, v, version{}, contentOf(v), nil)
	p.merged.Path = r.Path
	return p, err
}

// mergeSeal resolves a seal that both sides moved: the one that knows all that
// the other does is taken as it is, so that two people who merge come to the
// same bytes; else a new one is written. Everything that is there is checked
// against both.
func (m *merger) mergeSeal(ctx context.Context, tx Tx) (SealOutcome, error) {
	entries, err := m.verifyAll(ctx, tx)
	if err != nil {
		return SealLeft, err
	}
	if s, ok := m.dominating(); ok {
		if err := m.grantsThere(tx, s); err != nil {
			return SealLeft, err
		}
		return SealTaken, tx.PutBlob(SealBlob, s.raw)
	}
	latest := m.seals[0]
	if later(m.seals[1], latest) {
		latest = m.seals[1]
	}
	var grants []record.SealedGrant
	for _, s := range m.seals {
		if s.Gen == m.key.Gen {
			grants = unite(grants, s.Grants)
		}
	}
	v := view{e: m.e, env: m.env, key: m.key}
	if grants, err = v.sealGrants(tx, &record.Seal{Grants: grants}); err != nil {
		return SealLeft, err
	}
	prev, err := record.BodyHash(latest.raw)
	if err != nil {
		return SealLeft, err
	}
	raw, err := m.e.makeSeal(m.env, m.key, record.Seal{
		Seq: latest.Seq + 1, PrevSeq: latest.Seq, PrevHash: prev, Entries: entries, Grants: grants,
	})
	if err != nil {
		return SealLeft, err
	}
	return SealWritten, tx.PutBlob(SealBlob, raw)
}

// later orders seals: by number, and by bytes so that it is the same one for everybody.
func later(a, b sealSide) bool {
	if a.Seq != b.Seq {
		return a.Seq > b.Seq
	}
	return bytes.Compare(a.raw, b.raw) > 0
}

// unite are the members of both lists; the hashes are for whoever compares.
func unite(a, b []record.SealedGrant) []record.SealedGrant {
	all := slices.Concat(a, b)
	sort.SliceStable(all, func(i, j int) bool { return all[i].Member < all[j].Member })
	return slices.CompactFunc(all, func(x, y record.SealedGrant) bool { return x.Member == y.Member })
}

// verifyAll opens everything and holds it against both seals. It returns the
// lines of a new one.
func (m *merger) verifyAll(ctx context.Context, tx Tx) ([]record.SealedEntry, error) {
	all := map[vault.Path]record.SealedEntry{}
	for _, s := range m.seals {
		for path, entry := range s.entries {
			if was, ok := all[path]; !ok || entry.Version > was.Version {
				all[path] = entry
			}
		}
	}
	var entries []record.SealedEntry
	var bad error
	err := m.e.walk(ctx, m.env, tx.Heads(""), all, func(r Record) (opened, []vault.Field, error) {
		o, err := m.e.openWith(m.env, m.key, r.Path, r.Raw)
		return o, nil, err
	}, func(f found) bool {
		bad = f.err
		for _, s := range m.seals {
			if entry, ok := s.entries[f.path]; ok && bad == nil {
				bad = m.e.locate(dominates(entry, f.entry.Version, f.entry.Hash), m.env, f.path)
			}
		}
		entries = append(entries, f.entry)
		return bad == nil
	})
	if err == nil {
		err = bad
	}
	sortEntries(entries)
	return entries, err
}

// dominating is a seal that knows all that the other does.
func (m *merger) dominating() (sealSide, bool) {
	a, b := m.seals[0], m.seals[1]
	switch over, under := a.over(b), b.over(a); {
	case over && under && later(b, a):
		return b, b.Gen == m.key.Gen
	case over:
		return a, a.Gen == m.key.Gen
	case under:
		return b, b.Gen == m.key.Gen
	}
	return sealSide{}, false
}

func (s sealSide) over(o sealSide) bool {
	if s.Gen < o.Gen {
		return false
	}
	for path, entry := range o.entries {
		if mine, ok := s.entries[path]; !ok || dominates(entry, mine.Version, mine.Hash) != nil {
			return false
		}
	}
	if s.Gen > o.Gen {
		return true // with grants of its own
	}
	for _, g := range o.Grants {
		if !slices.Contains(s.Grants, g) {
			return false
		}
	}
	return true
}

// grantsThere checks the grants of a seal that is taken as it is.
func (m *merger) grantsThere(tx Tx, s sealSide) error {
	v := view{e: m.e, env: m.env, key: m.key}
	_, err := v.sealGrants(tx, s.Seal)
	return err
}

// content is what of a version can be merged.
type content struct {
	deleted bool
	fields  []vault.Field // sorted by name
	note    string
	rotate  string
	tags    []string
	extra   []record.Header
}

// contentOf: a side without the file has deleted the secret.
func contentOf(v version) content {
	if v.Record == nil {
		return content{deleted: true}
	}
	return content{v.Deleted, v.fields, v.Note, v.Rotate, v.Tags, withoutMerged(v.Extra)}
}

func (c content) equal(o content) bool {
	return c.deleted == o.deleted && c.note == o.note && c.rotate == o.rotate && slices.Equal(c.tags, o.tags) && slices.Equal(c.extra, o.extra) &&
		slices.EqualFunc(c.fields, o.fields, func(a, b vault.Field) bool { return a.Name == b.Name && a.Value.Equal(b.Value) })
}

func (c content) field(name vault.FieldName) *vault.Field {
	i, ok := slices.BinarySearchFunc(c.fields, name, func(f vault.Field, n vault.FieldName) int { return cmp.Compare(f.Name, n) })
	if !ok {
		return nil
	}
	return &c.fields[i]
}

func (c content) header(key string) *record.Header {
	i := slices.IndexFunc(c.extra, func(h record.Header) bool { return h.Key == key })
	if i < 0 {
		return nil
	}
	return &c.extra[i]
}

// decide is the rule of a three-way merge for one thing: what only one side
// changed is that side's. known says whether bases are all there is; bases that
// differ say nothing. It returns Ours where both are the same.
func decide[T any](bases []T, known bool, none, ours, theirs T, equal func(a, b T) bool) (_ Side, clear bool) {
	if equal(ours, theirs) {
		return Ours, true
	}
	if !known {
		return 0, false
	}
	base := none
	for i, b := range bases {
		if i > 0 && !equal(b, base) {
			return 0, false
		}
		base = b
	}
	switch {
	case equal(theirs, base):
		return Ours, true
	case equal(ours, base):
		return Theirs, true
	}
	return 0, false
}

func each[T any](bases []content, of func(content) T) []T {
	out := make([]T, len(bases))
	for i, b := range bases {
		out[i] = of(b)
	}
	return out
}

// threeWay merges two contents by what both came from. choose is asked about
// what both changed differently; the fields that it decided are in changed:
// their values are new in this version for one side or the other.
func threeWay(bases []content, known bool, ours, theirs content, choose func(Conflict) (Side, error)) (_ content, changed map[vault.FieldName]bool, _ error) {
	if ours.deleted || theirs.deleted {
		c, err := threeWayDeleted(bases, known, ours, theirs, choose)
		return c, nil, err
	}
	// A base without the secret has nothing to compare by.
	var c content
	changed = map[vault.FieldName]bool{}
	text := func(what What, of func(content) string) (string, error) {
		a, b := of(ours), of(theirs)
		side, clear := decide(each(bases, of), known, "", a, b, func(x, y string) bool { return x == y })
		if !clear {
			var err error
			if side, err = choose(Conflict{What: what, Ours: Choice{Text: a, Absent: a == ""}, Theirs: Choice{Text: b, Absent: b == ""}}); err != nil {
				return "", err
			}
		}
		if side == Ours {
			return a, nil
		}
		return b, nil
	}
	var err error
	if c.note, err = text(WhatNote, func(c content) string { return c.note }); err != nil {
		return content{}, nil, err
	}
	if c.rotate, err = text(WhatRotate, func(c content) string { return c.rotate }); err != nil {
		return content{}, nil, err
	}
	if c.tags, err = mergeTags(bases, known, ours.tags, theirs.tags, choose); err != nil {
		return content{}, nil, err
	}
	if c.extra, err = mergeHeaders(bases, known, ours, theirs, choose); err != nil {
		return content{}, nil, err
	}
	names := make([]vault.FieldName, 0, len(ours.fields)+len(theirs.fields))
	for _, f := range slices.Concat(ours.fields, theirs.fields) {
		names = append(names, f.Name)
	}
	slices.Sort(names)
	same := func(a, b *vault.Field) bool { return a == b || a != nil && b != nil && a.Value.Equal(b.Value) }
	for _, name := range slices.Compact(names) {
		of := func(c content) *vault.Field { return c.field(name) }
		a, b := of(ours), of(theirs)
		side, clear := decide(each(bases, of), known, nil, a, b, same)
		if !clear {
			if side, err = choose(Conflict{What: WhatField, Field: name, Ours: choiceOf(a), Theirs: choiceOf(b)}); err != nil {
				return content{}, nil, err
			}
			changed[name] = true
		}
		f := a
		if side == Theirs {
			f = b
		}
		if f == nil {
			continue
		}
		next := *f
		if a != nil && b != nil && same(a, b) {
			next.Since = max(a.Since, b.Since)
		}
		c.fields = append(c.fields, next)
	}
	return c, changed, nil
}

func choiceOf(f *vault.Field) Choice {
	if f == nil {
		return Choice{Absent: true}
	}
	return Choice{Value: f.Value}
}

// threeWayDeleted is threeWay where at least one side has deleted the secret.
func threeWayDeleted(bases []content, known bool, ours, theirs content, choose func(Conflict) (Side, error)) (content, error) {
	equal := content.equal
	if ours.deleted && theirs.deleted {
		equal = func(a, b content) bool { return a.deleted == b.deleted && a.note == b.note }
	}
	side, clear := decide(bases, known, content{deleted: true}, ours, theirs, equal)
	if !clear {
		what := WhatSecret
		a, b := Choice{Absent: ours.deleted}, Choice{Absent: theirs.deleted}
		if ours.deleted && theirs.deleted {
			what, a.Text, b.Text = WhatNote, ours.note, theirs.note
		}
		var err error
		if side, err = choose(Conflict{What: what, Ours: a, Theirs: b}); err != nil {
			return content{}, err
		}
	}
	c := ours
	if side == Theirs {
		c = theirs
	}
	if c.deleted {
		return content{deleted: true, note: c.note}, nil
	}
	return c, nil
}

// mergeTags: where both changed the tags, what either put on is on and what
// either took off is off.
func mergeTags(bases []content, known bool, ours, theirs []string, choose func(Conflict) (Side, error)) ([]string, error) {
	of := func(c content) []string { return c.tags }
	side, clear := decide(each(bases, of), known, nil, ours, theirs, slices.Equal)
	if !clear && known {
		all := slices.Concat(ours, theirs)
		slices.Sort(all)
		var tags []string
		sure := true
		for _, tag := range slices.Compact(all) {
			has := func(tags []string) bool { return slices.Contains(tags, tag) }
			on := each(bases, func(c content) bool { return has(c.tags) })
			side, clear := decide(on, known, false, has(ours), has(theirs), func(a, b bool) bool { return a == b })
			sure = sure && clear
			if side == Ours && has(ours) || side == Theirs && has(theirs) {
				tags = append(tags, tag)
			}
		}
		if sure && len(tags) <= record.MaxTags {
			return tags, nil
		}
	}
	if !clear {
		a, b := strings.Join(ours, " "), strings.Join(theirs, " ")
		var err error
		if side, err = choose(Conflict{What: WhatTags, Ours: Choice{Text: a, Absent: a == ""}, Theirs: Choice{Text: b, Absent: b == ""}}); err != nil {
			return nil, err
		}
	}
	if side == Ours {
		return ours, nil
	}
	return theirs, nil
}

// mergeHeaders merges what a newer envrun wrote and this one does not understand.
func mergeHeaders(bases []content, known bool, ours, theirs content, choose func(Conflict) (Side, error)) ([]record.Header, error) {
	var keys []string
	for _, h := range slices.Concat(ours.extra, theirs.extra) {
		if !slices.Contains(keys, h.Key) {
			keys = append(keys, h.Key)
		}
	}
	if !slices.EqualFunc(ours.extra, theirs.extra, func(a, b record.Header) bool { return a.Key == b.Key }) {
		slices.Sort(keys) // an order of its own, the same for both sides
	}
	var extra []record.Header
	for _, key := range keys {
		of := func(c content) *record.Header { return c.header(key) }
		a, b := of(ours), of(theirs)
		side, clear := decide(each(bases, of), known, nil, a, b, func(a, b *record.Header) bool { return a == b || a != nil && b != nil && *a == *b })
		if !clear {
			say := func(h *record.Header) Choice {
				if h == nil {
					return Choice{Absent: true}
				}
				return Choice{Text: h.Key + " " + h.Value}
			}
			var err error
			if side, err = choose(Conflict{What: WhatHeader, Ours: say(a), Theirs: say(b)}); err != nil {
				return nil, err
			}
		}
		h := a
		if side == Theirs {
			h = b
		}
		if h != nil {
			extra = append(extra, *h)
		}
	}
	return extra, nil
}
