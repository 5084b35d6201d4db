package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"envrun/vault"
	"envrun/vault/record"
	"envrun/vault/seal"
)

// AddGrant lets somebody in: it wraps the present key for them and moves the
// checkpoint, in one batch. A grant that the member has is replaced.
func (e *Engine) AddGrant(ctx context.Context, env vault.Env, to GrantTo) error {
	return e.Admit(ctx, env, Admission{To: func([]GrantState) ([]GrantTo, error) { return []GrantTo{to}, nil }})
}

// An Admission says whom Admit lets in.
type Admission struct {
	// To decides by the grants that there are, whose Err says which count. It is
	// called again if they have changed by the time that the outcome is written.
	// None is no change.
	To func(now []GrantState) ([]GrantTo, error)

	// Also is called in the batch for what belongs to it beside the grants and
	// the seal; nil for nothing. An error from it undoes all.
	Also func(tx Tx) error
}

// Admit wraps the present key for those that a.To names and moves the
// checkpoint, in one batch. A grant that one of them has is replaced. All of
// the environment is checked first, as for a seal.
func (e *Engine) Admit(ctx context.Context, env vault.Env, a Admission) error {
	var (
		now []GrantState
		raw map[string][]byte
	)
	return e.batch(ctx, env, func(v view) error {
		var err error
		if now, err = v.grants(storeBlobs{ctx, e.c.Store, env}); err != nil {
			return err
		}
		to, err := a.To(now)
		if err != nil {
			return err
		}
		raw = make(map[string][]byte, len(to))
		for _, t := range to {
			name := GrantBlob(v.key.Gen, t.Member)
			if raw[name] != nil {
				return e.locate(invalid("%s is to have two grants", t.Member), env, "")
			}
			if raw[name], err = e.makeGrant(ctx, env, v.key, t); err != nil {
				return fmt.Errorf("granting %s to %s: %w", env, t.Member, err)
			}
		}
		return nil
	}, func(v view, tx Tx) error {
		if err := v.sameGrants(tx, now); err != nil {
			return err
		}
		for name, b := range raw {
			if err := tx.PutBlob(name, b); err != nil {
				return err
			}
		}
		if a.Also != nil {
			if err := a.Also(tx); err != nil {
				return err
			}
		}
		if len(raw) == 0 {
			return nil
		}
		_, err := v.writeSeal(ctx, tx)
		return err
	})
}

// grants are those of the view's key.
func (v view) grants(blobs blobReader) ([]GrantState, error) {
	last, err := v.seal.parsed()
	if err != nil {
		return nil, err
	}
	return v.e.grants(v.env, v.key.Gen, &v.key, last.Grants, blobs)
}

// sameGrants is errMoved if the grants are not those that a decision was made by.
func (v view) sameGrants(tx Tx, then []GrantState) error {
	now, err := v.grants(tx)
	if err != nil {
		return err
	}
	same := slices.EqualFunc(now, then, func(a, b GrantState) bool {
		return a.Member == b.Member && a.hash == b.hash && a.Listed == b.Listed && (a.Err == nil) == (b.Err == nil)
	})
	if !same {
		return errMoved
	}
	return nil
}

// Rotate is RotateTo for fixed members and nothing else.
func (e *Engine) Rotate(ctx context.Context, env vault.Env, why string, to []GrantTo) error {
	return e.RotateTo(ctx, env, Rotation{Why: why, To: func([]GrantState) ([]GrantTo, error) { return to, nil }})
}

// A Rotation says what RotateTo is to do.
type Rotation struct {
	Why string // one line for people, may be empty

	// To decides who holds the next key, by the grants of the present one,
	// whose Err says which count. It is called again if they have changed by the
	// time that the outcome is written.
	To func(now []GrantState) ([]GrantTo, error)

	// Headers are further headers of the gen file, under its MAC; asked for after
	// To. nil for none.
	Headers func() []record.Header

	// Also is called in the batch, once all is put, for what belongs to it
	// beside keys, records and the seal; nil for nothing. An error undoes all.
	Also func(tx Tx, r Rotated) error

	Each func(vault.Info) // each record that is wrapped anew, by path, as often as all are tried; may be nil
}

// Rotated is what a rotation does.
type Rotated struct {
	From, Key EnvKey
	Entries   []record.SealedEntry // all of the environment, as the new seal has it
}

// rotatedSeal is the header of a gen file that names the seal which the
// rotation began from, by number and hash. It is what tells the seal of a
// rotation that was committed in part from one that a former member made.
const rotatedSeal = "seal"

// RotateTo gives an environment a new key, granted to those that r.To names and
// to nobody else, and wraps the data key of every secret under it: one line of
// each record changes, and none of its values. All of the environment is
// checked first, and all is done in one batch. Tombstones go, and the seal
// remembers their versions. Whoever had the former key still has what they
// could read; the values are to be replaced at their source (filevault §3.10).
//
// The former key, its grants and former versions stay as they are, so that
// holders of it can still read those.
func (e *Engine) RotateTo(ctx context.Context, env vault.Env, r Rotation) error {
	var (
		next generation
		now  []GrantState
		from []byte
	)
	return e.batch(ctx, env, func(v view) error {
		key, err := seal.NewKey()
		if err != nil {
			return err
		}
		if now, err = v.grants(storeBlobs{ctx, e.c.Store, env}); err != nil {
			return err
		}
		to, err := r.To(now)
		if err != nil {
			return err
		}
		from = v.seal.raw
		name, err := sealName(v.seal)
		if err != nil {
			return err
		}
		headers := []record.Header{{Key: rotatedSeal, Value: name}}
		if r.Headers != nil {
			headers = append(headers, r.Headers()...)
		}
		next, err = e.newGeneration(ctx, env, EnvKey{Gen: v.key.Gen + 1, Key: key}, v.key, r.Why, to, headers...)
		return err
	}, func(v view, tx Tx) error {
		if !v.seal.is(from) {
			return errMoved
		}
		if err := v.sameGrants(tx, now); err != nil {
			return err
		}
		entries, err := v.rotate(ctx, tx, next, r)
		if err != nil || r.Also == nil {
			return err
		}
		return r.Also(tx, Rotated{From: v.key, Key: next.key, Entries: entries})
	})
}

// sealName is how a gen file names a seal.
func sealName(c *checkpoint) (string, error) {
	hash, err := record.BodyHash(c.raw)
	return fmt.Sprintf("%d %s", c.view.Head.Seq, hash), err
}

func (v view) rotate(ctx context.Context, tx Tx, next generation, to Rotation) ([]record.SealedEntry, error) {
	last, err := v.seal.parsed()
	if err != nil {
		return nil, err
	}
	var (
		mu      sync.Mutex
		wrapped = map[vault.Path]Record{}
		records []Record
		forget  []vault.Path
		entries []record.SealedEntry
		bad     error
	)
	err = v.e.walk(ctx, v.env, tx.Heads(""), bySealedPath(last, ""), func(r Record) (opened, []vault.Field, error) {
		o, err := v.e.openWith(v.env, v.key, r.Path, r.Raw)
		if err != nil || o.Deleted {
			return o, nil, err
		}
		w, err := v.e.rewrap(o, next.key)
		mu.Lock()
		wrapped[r.Path] = w
		mu.Unlock()
		return o, nil, err
	}, func(f found) bool {
		entries = append(entries, f.entry)
		mu.Lock()
		w := wrapped[f.path]
		delete(wrapped, f.path)
		mu.Unlock()
		switch {
		case f.err != nil:
			bad = f.err
		case f.opened.Record == nil: // the seal remembers it
		case f.opened.Deleted:
			forget = append(forget, f.path)
		default:
			records = append(records, w)
			if to.Each != nil {
				to.Each(f.opened.Info())
			}
		}
		return bad == nil
	})
	if err == nil {
		err = bad
	}
	if err != nil {
		return nil, err
	}
	if err := next.put(tx); err != nil {
		return nil, err
	}
	for _, r := range records {
		if err := tx.Rewrap(r); err != nil {
			return nil, err
		}
	}
	for _, path := range forget {
		if err := tx.Forget(path); err != nil {
			return nil, err
		}
	}
	sortEntries(entries)
	v.key = next.key
	_, err = v.putSeal(tx, last, entries, next.sealed)
	return entries, err
}

// rewrap puts the data key of a genuine record under another environment key,
// and checks that the outcome opens and is the same version.
func (e *Engine) rewrap(o opened, key EnvKey) (Record, error) {
	b := binding(o.Record)
	b.Gen = key.Gen
	wrapped, err := key.Key.WrapDEK(b, o.dek)
	if err != nil {
		return Record{}, err
	}
	raw, err := record.WithKey(o.raw, key.Gen, wrapped)
	if err != nil {
		return Record{}, err
	}
	if err := key.opens(b, raw, o); err != nil {
		return Record{}, fmt.Errorf("checking %s %s under its new key: %w", o.Env, o.Path, err)
	}
	return Record{Env: o.Env, Path: o.Path, Version: o.Version, Gen: key.Gen, At: o.At, Raw: raw}, nil
}

// opens checks that a record that was wrapped anew opens as what it was made
// of. The new line is read back and opened. What stands above it was found
// genuine a moment ago, and must be the same bytes.
func (k EnvKey) opens(b seal.Binding, raw []byte, o opened) error {
	gen, wrapped, err := record.KeyOf(raw)
	if err != nil {
		return err
	}
	dek, err := k.Key.UnwrapDEK(b, wrapped)
	switch {
	case err != nil:
		return err
	case gen != k.Gen, !dek.Equal(o.dek):
		return errors.New("it has another key")
	case !record.SameBody(raw, o.raw):
		return errors.New("it is another version")
	}
	return nil
}

// Adopt takes over a secret that was written under a retired key, on a branch
// cut before a rotation: its values go into a new version under the present
// key, with a data key that no holder of the retired one has, and the seal
// still has the last word on the version it comes from. It takes somebody who
// holds both keys, and who knows that whoever wrote it was still welcome then:
// a former member could have, and knows the values in any case. A secret of
// the present key is left as it is.
func (e *Engine) Adopt(ctx context.Context, env vault.Env, path vault.Path) error {
	if err := checkPath(env, path); err != nil {
		return err
	}
	var retired EnvKey
	return e.batch(ctx, env, func(v view) error {
		r, err := e.c.Store.Head(ctx, env, path)
		if err != nil {
			return e.locate(err, env, path)
		}
		_, gen, err := header(env, r)
		if err == nil && gen == v.key.Gen {
			retired = v.key
			return nil
		}
		if err == nil && gen > v.key.Gen {
			err = tampered(fmt.Sprintf("was written under key %d, which is not there; the key is %d", gen, v.key.Gen))
		}
		if err == nil {
			retired, err = e.c.Keys.Generation(ctx, env, gen)
		}
		return e.locate(err, env, path)
	}, func(v view, tx Tx) error {
		return e.locate(v.adopt(tx, path, retired), env, path)
	})
}

func (v view) adopt(tx Tx, path vault.Path, retired EnvKey) error {
	r, err := tx.Head(path)
	if err != nil {
		return err
	}
	o, err := v.e.openWith(v.env, retired, path, r.Raw)
	if err != nil {
		return err
	}
	if err := v.seal.check(path, o.Version, o.hash); err != nil {
		return err
	}
	if o.Gen == v.key.Gen {
		return nil
	}
	fields, err := o.values()
	if err != nil {
		return err
	}
	defer wipe(fields)
	next := &record.Record{
		Version: o.Version + 1, Rotate: o.Rotate, Tags: o.Tags, Note: o.Note, Extra: withoutMerged(o.Extra), Deleted: o.Deleted,
	}
	_, entry, err := v.put(tx, present{info: o.Info(), hash: o.hash, stored: o.Version}, next, fields)
	if err != nil || !v.e.c.SealOnWrite {
		return err
	}
	return v.sealAlso(tx, []record.SealedEntry{*entry})
}

// Resumed is what Resume did.
type Resumed struct {
	Wrapped []vault.Path // put under the present key
	Left    []vault.Path // under a former key still, since the seal does not vouch for them: Adopt is for those
	Sealed  bool         // the seal was made again
}

// Resume finishes a rotation of which only a part has come here: somebody
// committed some of its files. It takes a holder of the present key who still
// holds the one before.
//
// Whoever held the former key can still make records and seals under it, and
// may be the one that the rotation was to be rid of. So a record under a former
// key counts only if it is the very version that the seal has, by its hash; and
// a seal under the former key counts only if the gen file, which a holder of
// the present key made, says that the rotation began from that one.
func (e *Engine) Resume(ctx context.Context, env vault.Env, also func(tx Tx) error) (Resumed, error) {
	var out Resumed
	key, err := e.currentKey(ctx, env)
	if err != nil {
		return out, err
	}
	former := map[uint32]EnvKey{}
	if err := e.formerKeys(ctx, env, key, former); err != nil {
		return out, e.locate(err, env, "")
	}
	err = e.c.Store.Batch(ctx, env, func(tx Tx) error {
		v := view{e: e, env: env, key: key}
		out, err = v.resume(ctx, tx, former)
		if err == nil && also != nil {
			err = also(tx)
		}
		return err
	})
	return out, e.locate(err, env, "")
}

// formerKeys gets the keys that the seal and the records are under. They are
// asked for before the batch, since that may mean to ask a person; what is
// under yet another key by then is left.
func (e *Engine) formerKeys(ctx context.Context, env vault.Env, key EnvKey, former map[uint32]EnvKey) error {
	get := func(gen uint32) error {
		if gen == 0 || gen >= key.Gen {
			return nil
		}
		if _, ok := former[gen]; ok {
			return nil
		}
		k, err := e.c.Keys.Generation(ctx, env, gen)
		if err == nil {
			former[gen] = k
		}
		return err
	}
	if raw, err := e.c.Store.Blob(ctx, env, SealBlob); err == nil {
		if s, err := record.SplitSeal(raw); err == nil {
			if err := get(s.Head.Gen); err != nil {
				return err
			}
		}
	}
	for r, err := range e.c.Store.Heads(ctx, env, "") {
		if err != nil {
			return err
		}
		if _, gen, err := header(env, r); err == nil {
			if err := get(gen); err != nil {
				return err
			}
		}
	}
	return nil
}

// startSeal is the seal to go by: the present one, or else the one that the
// rotation began from.
func (v view) startSeal(tx Tx, former map[uint32]EnvKey) (_ *checkpoint, old bool, _ error) {
	raw, err := tx.Blob(SealBlob)
	if err != nil {
		return nil, false, v.e.locateBlob(missingSeal(err), v.env, SealBlob)
	}
	sv, err := record.SplitSeal(raw)
	if err != nil || sv.Head.Gen == v.key.Gen {
		c, err := v.e.checkpoint(v.env, v.key, raw)
		return c, false, err
	}
	fail := func(err error) (*checkpoint, bool, error) {
		return nil, false, v.e.locateBlob(err, v.env, SealBlob)
	}
	before, ok := former[sv.Head.Gen]
	if !ok {
		return fail(tampered(fmt.Sprintf("the seal is of key %d, while the key is %d", sv.Head.Gen, v.key.Gen)))
	}
	// Not through checkpoint, which would remember it as the one of the environment.
	if sv, err = v.e.checkSeal(v.env, before, raw); err != nil {
		return fail(err)
	}
	c := &checkpoint{raw: raw, key: before.Key, view: sv, parsed: func() (*record.Seal, error) { return record.ParseSeal(raw) }}
	name, err := sealName(c)
	if err != nil {
		return fail(err)
	}
	genRaw, err := tx.Blob(GenBlob(v.key.Gen))
	if err != nil {
		return fail(err)
	}
	if err := v.e.checkGen(v.env, v.key.Gen, &v.key, tx); err != nil {
		return nil, false, v.e.locateBlob(err, v.env, GenBlob(v.key.Gen))
	}
	g, err := record.ParseGen(genRaw)
	if err != nil {
		return nil, false, v.e.locateBlob(err, v.env, GenBlob(v.key.Gen))
	}
	if !slices.Contains(g.Extra, record.Header{Key: rotatedSeal, Value: name}) {
		return fail(tampered(fmt.Sprintf("the seal is of key %d, and is not the one that the rotation to key %d began from", sv.Head.Gen, v.key.Gen)))
	}
	return c, true, nil
}

func (v view) resume(ctx context.Context, tx Tx, former map[uint32]EnvKey) (Resumed, error) {
	var out Resumed
	start, old, err := v.startSeal(tx, former)
	if err != nil {
		return out, err
	}
	v.seal = start
	last, err := start.parsed()
	if err != nil {
		return out, err
	}
	var (
		records []Record
		forget  []vault.Path
		entries []record.SealedEntry
		bad     error
	)
	sealed := bySealedPath(last, "")
	err = v.e.walk(ctx, v.env, tx.Heads(""), sealed, func(r Record) (opened, []vault.Field, error) {
		key := v.key
		if _, gen, err := header(v.env, r); err == nil && gen < key.Gen {
			if k, ok := former[gen]; ok {
				key = k
			}
		}
		o, err := v.e.openWith(v.env, key, r.Path, r.Raw)
		return o, nil, err
	}, func(f found) bool {
		if f.err != nil {
			bad = f.err
			return false
		}
		if f.opened.Record == nil || f.opened.Gen == v.key.Gen {
			entries = append(entries, f.entry)
			return true
		}
		s, ok := sealed[f.path]
		if !ok || s.Version != f.opened.Version { // dominates, so it is newer than what is vouched for
			out.Left = append(out.Left, f.path)
			if ok {
				entries = append(entries, s)
			}
			return true
		}
		entries = append(entries, s)
		if f.opened.Deleted {
			forget = append(forget, f.path)
			return true
		}
		var r Record
		if r, bad = v.e.rewrap(f.opened, v.key); bad != nil {
			bad = v.e.locate(bad, v.env, f.path)
			return false
		}
		records = append(records, r)
		out.Wrapped = append(out.Wrapped, f.path)
		return true
	})
	if err == nil {
		err = bad
	}
	if err != nil {
		return Resumed{}, err
	}
	for _, r := range records {
		if err := tx.Rewrap(r); err != nil {
			return Resumed{}, err
		}
	}
	for _, path := range forget {
		if err := tx.Forget(path); err != nil {
			return Resumed{}, err
		}
	}
	if !old {
		return out, nil
	}
	// The grants of the present key are what the rotation, or a holder since, made.
	states, err := v.e.grants(v.env, v.key.Gen, &v.key, nil, tx)
	if err != nil {
		return Resumed{}, err
	}
	var grants []record.SealedGrant
	for _, g := range states {
		if g.Err == nil {
			grants = append(grants, record.SealedGrant{Member: g.Member, Hash: g.hash})
		}
	}
	sortEntries(entries)
	_, err = v.putSeal(tx, last, entries, grants)
	out.Sealed = err == nil
	return out, err
}
