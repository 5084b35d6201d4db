package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"

	"envrun/vault"
	"envrun/vault/record"
)

// Apply implements vault.Writer. A path may be named once in a batch. Was 0
// also fits a path that is deleted, since whoever looks there finds nothing;
// deleting what is not there is no change, and its Info is of version 0.
func (e *Engine) Apply(ctx context.Context, env vault.Env, changes []vault.Change) ([]vault.Info, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := record.CheckChanges(env, changes); err != nil {
		return nil, err
	}
	if len(changes) == 0 {
		return nil, nil
	}
	if err := record.CheckMember(e.c.Member); err != nil {
		return nil, fmt.Errorf("writing without a member's name: %w", err)
	}
	var infos []vault.Info
	err := e.batch(ctx, env, nil, func(v view, tx Tx) error {
		var err error
		infos, err = v.apply(ctx, tx, changes)
		return err
	})
	if err != nil {
		return nil, err
	}
	return infos, nil
}

// errMoved: the key that was fetched before a batch is not the present one any
// more, or who holds it is not who did.
var errMoved = &vault.Error{Kind: vault.KindConflict, Detail: "the key of the environment, or who holds it, keeps changing meanwhile"}

// batch runs f in a batch of the store, with a view of the state that the batch
// works on. The key is fetched before, since that may mean to ask a person; so
// is what prepare does with it, if it is not nil, since sealing may mean to ask
// a service. Both are done again if the key has changed by then.
func (e *Engine) batch(ctx context.Context, env vault.Env, prepare func(view) error, f func(view, Tx) error) error {
	for attempt := 1; ; attempt++ {
		// Through read, so that a rotation under way is no attack here either.
		var before view
		if err := e.read(ctx, env, func(v view) error { before = v; return nil }); err != nil {
			return err
		}
		if before.key.ReadOnly != nil {
			return before.key.ReadOnly
		}
		if prepare != nil {
			if err := prepare(before); err != nil {
				return err
			}
		}
		err := e.c.Store.Batch(ctx, env, func(tx Tx) error {
			raw, err := tx.Blob(SealBlob)
			if err != nil {
				return e.locateBlob(missingSeal(err), env, SealBlob)
			}
			v := before
			if v.seal, err = e.checkpoint(env, before.key, raw); err != nil {
				if !before.seal.is(raw) {
					return errMoved
				}
				return err
			}
			return f(v, tx)
		})
		if !errors.Is(err, errMoved) || attempt == attempts {
			return err
		}
	}
}

func (v view) apply(ctx context.Context, tx Tx, changes []vault.Change) ([]vault.Info, error) {
	infos := make([]vault.Info, len(changes))
	var entries []record.SealedEntry
	for i, c := range changes {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		info, entry, err := v.applyOne(tx, c)
		if err != nil {
			return nil, v.e.locate(err, v.env, c.Path)
		}
		infos[i] = info
		if entry != nil {
			entries = append(entries, *entry)
		}
	}
	if v.e.c.SealOnWrite && len(entries) > 0 {
		return infos, v.sealAlso(tx, entries)
	}
	return infos, nil
}

// sealAlso moves the checkpoint for some paths. The lines of all others stay,
// so nothing that was not looked at is vouched for.
func (v view) sealAlso(tx Tx, changed []record.SealedEntry) error {
	last, err := v.seal.parsed()
	if err != nil {
		return err
	}
	paths := make(map[vault.Path]bool, len(changed))
	for _, c := range changed {
		paths[c.Path] = true
	}
	entries := slices.Clone(changed)
	for _, s := range last.Entries {
		if !paths[s.Path] {
			entries = append(entries, s)
		}
	}
	sortEntries(entries)
	_, err = v.putSeal(tx, last, entries, last.Grants)
	return err
}

// present is what a change is made to.
type present struct {
	info   vault.Info
	fields []vault.Field
	extra  []record.Header
	hash   record.Hash // of version info.Version; the zero value if there is no such version
	stored uint64      // the version in the store: 0 where only the seal remembers a tombstone
}

// there reports whether a reader would find a secret.
func (p present) there() bool { return p.info.Version > 0 && !p.info.Deleted }

// present reads and checks what a path holds now, with values.
func (v view) present(tx Tx, path vault.Path) (present, error) {
	r, err := tx.Head(path)
	if vault.KindOf(err) == vault.KindNotFound {
		// A rotation leaves no tombstone files, only the seal's memory of them,
		// and the versions go on from there.
		sealed, err := v.seal.absent(path)
		return present{
			info: vault.Info{Env: v.env, Path: path, Version: sealed.Version, Deleted: sealed.Version > 0},
			hash: sealed.Hash,
		}, err
	}
	if err != nil {
		return present{}, err
	}
	o, err := v.open(path, r.Raw)
	if err != nil {
		return present{}, err
	}
	fields, err := o.values()
	return present{info: o.Info(), fields: fields, extra: o.Extra, hash: o.hash, stored: o.Version}, err
}

// applyOne makes one change. The entry is nil if it wrote nothing.
func (v view) applyOne(tx Tx, c vault.Change) (vault.Info, *record.SealedEntry, error) {
	was, err := v.present(tx, c.Path)
	if err != nil {
		return vault.Info{}, nil, err
	}
	defer wipe(was.fields)
	if err := compare(was, c.Was); err != nil {
		return vault.Info{}, nil, err
	}
	next, fields, err := was.change(c)
	if err != nil {
		return vault.Info{}, nil, err
	}
	if next == nil {
		return was.info, nil, nil
	}
	return v.put(tx, was, next, fields)
}

// compare is the compare of compare-and-swap.
func compare(p present, was uint64) error {
	switch {
	case was == vault.Any, was == p.info.Version, was == 0 && !p.there():
		return nil
	case !p.there():
		return &vault.Error{Kind: vault.KindConflict, Detail: fmt.Sprintf("is not there any more; the change was made to version %d", was)}
	case was == 0:
		return &vault.Error{Kind: vault.KindConflict, Detail: fmt.Sprintf("is there by now, at version %d by %s", p.info.Version, p.info.By)}
	}
	return &vault.Error{Kind: vault.KindConflict, Detail: fmt.Sprintf("is at version %d by %s by now; the change was made to version %d", p.info.Version, p.info.By, was)}
}

// change makes the next version of a secret and the values it is to hold, but
// for what put adds. It returns nil if nothing would be different.
func (p present) change(c vault.Change) (*record.Record, []vault.Field, error) {
	next := &record.Record{Version: p.info.Version + 1, Extra: withoutMerged(p.extra)}
	if next.Version == vault.Any {
		return nil, nil, &vault.Error{Kind: vault.KindFull, Detail: "has no more version numbers"}
	}
	if c.Delete {
		if !p.there() {
			return nil, nil, nil
		}
		next.Deleted, next.Extra = true, nil
		if c.Note != nil {
			next.Note = *c.Note
		}
		return next, nil, nil
	}

	var fields []vault.Field
	changed := false
	if p.there() {
		next.Rotate, next.Note, next.Tags = p.info.Rotate, p.info.Note, p.info.Tags
		for _, f := range p.fields {
			if slices.Contains(c.Drop, f.Name) || c.Replace && !hasField(c.Set, f.Name) {
				changed = true
			} else {
				fields = append(fields, f)
			}
		}
	} else {
		next.Extra = nil
		changed = c.Replace // an empty secret is one too
	}
	for _, set := range c.Set {
		i := slices.IndexFunc(fields, func(f vault.Field) bool { return f.Name == set.Name })
		switch {
		case i < 0:
			fields = append(fields, vault.Field{Name: set.Name, Since: next.Version, Value: set.Value})
			changed = true
		case !fields[i].Value.Equal(set.Value):
			fields[i] = vault.Field{Name: set.Name, Since: next.Version, Value: set.Value}
			changed = true
		}
	}
	if len(fields) > vault.MaxFields {
		return nil, nil, invalid("would have %d fields; a secret holds at most %d", len(fields), vault.MaxFields)
	}
	if c.Note != nil && *c.Note != next.Note {
		next.Note, changed = *c.Note, true
	}
	if c.Rotate != nil && *c.Rotate != next.Rotate {
		next.Rotate, changed = *c.Rotate, true
	}
	if c.Tags != nil && !slices.Equal(*c.Tags, next.Tags) {
		next.Tags, changed = slices.Clone(*c.Tags), true
	}
	if !changed {
		return nil, nil, nil
	}
	sort.Slice(fields, func(i, j int) bool { return fields[i].Name < fields[j].Name })
	return next, fields, nil
}

func hasField(fields []vault.Field, name vault.FieldName) bool {
	return slices.ContainsFunc(fields, func(f vault.Field) bool { return f.Name == name })
}

// put seals the next version, opens it again as a reader would, and only then
// gives it to the store.
func (v view) put(tx Tx, was present, r *record.Record, fields []vault.Field) (vault.Info, *record.SealedEntry, error) {
	fail := func(err error) (vault.Info, *record.SealedEntry, error) { return vault.Info{}, nil, err }
	r.Vault, r.Env, r.Path, r.Gen = v.e.c.Vault, v.env, was.info.Path, v.key.Gen
	r.PrevVersion, r.PrevHash = was.info.Version, was.hash
	r.By, r.At = v.e.c.Member, v.e.now()
	raw, err := EncodeRecord(v.key, r, fields)
	if err != nil {
		return fail(err)
	}
	o, err := v.checkOwn(r, fields, raw)
	if err != nil {
		return fail(fmt.Errorf("checking what was to be written to %s %s: %w", v.env, r.Path, err))
	}
	err = tx.Put(Record{Env: v.env, Path: r.Path, Version: r.Version, Gen: r.Gen, At: r.At, Raw: raw}, was.stored)
	if err != nil {
		return fail(err)
	}
	return o.Info(), &record.SealedEntry{Path: r.Path, Version: r.Version, Hash: o.hash, Deleted: r.Deleted}, nil
}

// checkOwn opens what was just encoded and compares it with what it was made of.
func (v view) checkOwn(r *record.Record, fields []vault.Field, raw []byte) (opened, error) {
	o, err := v.open(r.Path, raw)
	if err != nil {
		return opened{}, err
	}
	return o, v.e.readsBack(o, r, fields)
}

// readsBack compares what was opened with what it was made of.
func (e *Engine) readsBack(o opened, r *record.Record, fields []vault.Field) error {
	values, err := o.values()
	if err != nil {
		return err
	}
	same := slices.EqualFunc(values, fields, func(a, b vault.Field) bool {
		defer a.Value.Wipe()
		return a.Name == b.Name && a.Since == b.Since && a.Value.Equal(b.Value)
	})
	if !same || o.Version != r.Version || o.Deleted != r.Deleted || o.Note != r.Note || o.Rotate != r.Rotate ||
		!slices.Equal(o.Tags, r.Tags) || o.By != r.By || !o.At.Equal(r.At) || o.PrevVersion != r.PrevVersion || o.PrevHash != r.PrevHash {
		return errors.New("it reads back as something else")
	}
	return nil
}

func invalid(format string, args ...any) error {
	return &vault.Error{Kind: vault.KindInvalid, Detail: fmt.Sprintf(format, args...)}
}
