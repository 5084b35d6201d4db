package engine

import (
	"context"
	"fmt"

	"envrun/vault"
	"envrun/vault/record"
	"envrun/vault/seal"
)

// AddGrant lets somebody in: it wraps the present key for them and moves the
// checkpoint, in one batch. A grant that the member has is replaced.
func (e *Engine) AddGrant(ctx context.Context, env vault.Env, to GrantTo) error {
	var raw []byte
	return e.batch(ctx, env, func(v view) (err error) {
		if raw, err = e.makeGrant(ctx, env, v.key, to); err != nil {
			err = fmt.Errorf("granting %s to %s: %w", env, to.Member, err)
		}
		return err
	}, func(v view, tx Tx) error {
		if err := tx.PutBlob(GrantBlob(v.key.Gen, to.Member), raw); err != nil {
			return err
		}
		_, err := v.writeSeal(ctx, tx)
		return err
	})
}

// Rotate gives an environment a new key, granted to those in to and to nobody
// else, and wraps the data key of every secret under it: one line of each
// record changes, and none of its values. All of the environment is checked
// first, and all is done in one batch. Tombstones go, and the seal remembers
// their versions. Whoever had the former key still has what they could read;
// the values are to be replaced at their source (filevault §3.10).
//
// The former key, its grants and former versions stay as they are, so that
// holders of it can still read those.
func (e *Engine) Rotate(ctx context.Context, env vault.Env, why string, to []GrantTo) error {
	var next generation
	return e.batch(ctx, env, func(v view) error {
		key, err := seal.NewKey()
		if err != nil {
			return err
		}
		next, err = e.newGeneration(ctx, env, EnvKey{v.key.Gen + 1, key}, v.key, why, to)
		return err
	}, func(v view, tx Tx) error {
		return v.rotate(ctx, tx, next)
	})
}

func (v view) rotate(ctx context.Context, tx Tx, next generation) error {
	last, err := v.seal.parsed()
	if err != nil {
		return err
	}
	var (
		records []Record
		forget  []vault.Path
		entries []record.SealedEntry
		bad     error
	)
	err = v.each(ctx, tx.Heads(""), "", false, func(f found) bool {
		entries = append(entries, f.entry)
		switch {
		case f.err != nil:
			bad = f.err
		case f.opened.Record == nil: // the seal remembers it
		case f.opened.Deleted:
			forget = append(forget, f.path)
		default:
			var r Record
			if r, bad = v.e.rewrap(f.opened, next.key); bad == nil {
				records = append(records, r)
			}
			bad = v.e.locate(bad, v.env, f.path)
		}
		return bad == nil
	})
	if err == nil {
		err = bad
	}
	if err != nil {
		return err
	}
	if err := next.put(tx); err != nil {
		return err
	}
	for _, r := range records {
		if err := tx.Rewrap(r); err != nil {
			return err
		}
	}
	for _, path := range forget {
		if err := tx.Forget(path); err != nil {
			return err
		}
	}
	sortEntries(entries)
	v.key = next.key
	_, err = v.putSeal(tx, last, entries, next.sealed)
	return err
}

// rewrap puts the data key of a genuine record under another environment key,
// and checks that the outcome opens and is the same version.
func (e *Engine) rewrap(o opened, key EnvKey) (Record, error) {
	r := *o.Record
	r.Gen = key.Gen
	var err error
	if r.Key, err = key.Key.WrapDEK(e.binding(&r), o.dek); err != nil {
		return Record{}, err
	}
	if err := r.Check(); err != nil {
		return Record{}, err
	}
	raw := r.Marshal()
	again, err := e.openWith(r.Env, key, r.Path, raw)
	if err == nil && again.hash != o.hash {
		err = fmt.Errorf("it is another version")
	}
	if err != nil {
		return Record{}, fmt.Errorf("checking %s %s under its new key: %w", r.Env, r.Path, err)
	}
	return Record{Env: r.Env, Path: r.Path, Version: r.Version, Gen: r.Gen, At: r.At, Raw: raw}, nil
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
	fields, err := v.e.values(o)
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
