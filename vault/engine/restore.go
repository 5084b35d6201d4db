package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"envrun/vault"
	"envrun/vault/record"
)

// Restore writes the content of a former version again, as a new one above every
// genuine version and above the seal. It returns that one, and whether it wrote:
// it does not where the present version has that content.
//
// What stands in the place of the secret may be none that can be read, or one
// that the seal does not let pass: gone, damaged, set back. Bringing a genuine
// version back in its place is what this is for. Only what somebody may still
// want is not written over: marks of a merge, a version under a retired key, and
// what a newer envrun made.
func (e *Engine) Restore(ctx context.Context, env vault.Env, path vault.Path, version uint64) (info vault.Info, wrote bool, err error) {
	if err := checkPath(env, path); err != nil {
		return vault.Info{}, false, err
	}
	if err := record.CheckMember(e.c.Member); err != nil {
		return vault.Info{}, false, fmt.Errorf("writing without a member's name: %w", err)
	}
	var r restoring
	defer func() { r.wipe() }()
	prepare := func(v view) error {
		r.wipe()
		var err error
		r, err = v.restoring(ctx, path, version)
		return e.locate(err, env, path)
	}
	err = e.batch(ctx, env, prepare, func(v view, tx Tx) (err error) {
		info, wrote, err = v.restore(tx, path, r)
		return e.locate(err, env, path)
	})
	if err != nil {
		return vault.Info{}, false, err
	}
	return info, wrote, nil
}

// restoring is what a Restore found before its batch.
type restoring struct {
	present []byte // in the store; nil for nothing
	good    bool   // and a reader would get it
	from    version
	last    version // the latest genuine one under the present key; may be none
}

func (r restoring) wipe() {
	wipe(r.from.fields)
	wipe(r.last.fields)
}

func (v view) restoring(ctx context.Context, path vault.Path, number uint64) (r restoring, err error) {
	head, err := v.e.c.Store.Head(ctx, v.env, path)
	switch vault.KindOf(err) {
	case vault.KindNotFound:
		_, err := v.seal.absent(path)
		r.good = err == nil
	case vault.KindUnmerged, vault.KindVersion:
		return r, err
	default:
		if err != nil {
			return r, err
		}
		r.present = head.Raw
		switch o, err := v.open(path, head.Raw); {
		case err == nil:
			fields, err := o.values()
			if r.good = err == nil; r.good {
				r.last = version{o.Record, o.hash, fields, head.Raw}
			}
		case !mayReplace(err):
			return r, err
		}
	}
	if r.from, err = v.former(ctx, path, number); err != nil {
		return r, err
	}
	if r.from.Deleted {
		return r, invalid("version %d is its deletion, which has no values to bring back", number)
	}
	for former, err := range v.e.versions(ctx, v.env, path) {
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
		if err != nil {
			continue // Verify reports it
		}
		// Of a retired key somebody may be a holder who is none of this one.
		info, gen, err := header(v.env, former)
		if err != nil || gen != v.key.Gen || r.last.Record != nil && info.Version <= r.last.Version {
			continue
		}
		if last, err := v.openFormer(ctx, path, gen, former.Raw); err == nil {
			wipe(r.last.fields)
			r.last = last
		}
	}
	return r, nil
}

// mayReplace reports whether what did not open with err may be written over.
func mayReplace(err error) bool {
	if _, ok := errors.AsType[*RetiredError](err); ok {
		return false
	}
	switch vault.KindOf(err) {
	case vault.KindTampered, vault.KindMalformed:
		return true
	}
	return false
}

func (v view) restore(tx Tx, path vault.Path, r restoring) (vault.Info, bool, error) {
	head, err := tx.Head(path)
	if err != nil && vault.KindOf(err) != vault.KindNotFound {
		return vault.Info{}, false, err
	}
	if !bytes.Equal(head.Raw, r.present) {
		return vault.Info{}, false, &vault.Error{Kind: vault.KindConflict, Detail: "somebody else wrote meanwhile"}
	}
	sealed, _, err := v.seal.view.Lookup(path)
	if err != nil {
		return vault.Info{}, false, err
	}
	isLast := r.present != nil && bytes.Equal(r.last.raw, r.present)
	was, next := contentOf(r.last), contentOf(r.from)
	next.extra = was.extra
	if r.good && isLast && next.equal(was) {
		return r.last.Info(), false, nil
	}
	n := sealed.Version
	rec := &record.Record{Vault: v.e.c.Vault, Env: v.env, Path: path, Gen: v.key.Gen, By: v.e.c.Member, At: v.e.now(), Rotate: next.rotate, Note: next.note, Tags: next.tags}
	if r.last.Record != nil {
		n = max(n, r.last.Version)
		rec.PrevVersion, rec.PrevHash = r.last.Version, r.last.hash
		if !r.last.Deleted {
			rec.Extra = next.extra
		}
	} else {
		rec.PrevVersion, rec.PrevHash = sealed.Version, sealed.Hash
	}
	if n >= math.MaxInt64 {
		return vault.Info{}, false, &vault.Error{Kind: vault.KindFull, Detail: "has no more version numbers"}
	}
	rec.Version = n + 1
	fields := slices.Clone(next.fields)
	for i, f := range fields {
		fields[i].Since = rec.Version
		if same := was.field(f.Name); same != nil && same.Value.Equal(f.Value) {
			fields[i].Since = same.Since
		}
	}
	raw, err := EncodeRecord(v.key, rec, fields)
	if err != nil {
		return vault.Info{}, false, err
	}
	o, err := v.checkOwn(rec, fields, raw)
	if err != nil {
		return vault.Info{}, false, fmt.Errorf("checking what was to be written to %s %s: %w", v.env, path, err)
	}
	out := Record{Env: v.env, Path: path, Version: rec.Version, Gen: rec.Gen, At: rec.At, Raw: raw}
	replacer, replaces := tx.(Replacer)
	switch {
	case r.present == nil:
		err = tx.Put(out, 0)
	case isLast:
		err = tx.Put(out, r.last.Version)
	case replaces:
		err = replacer.Replace(out)
	default:
		err = &vault.Error{Kind: vault.KindUnsupported, Detail: "in this store what is damaged stays in its place"}
	}
	if err == nil && v.e.c.SealOnWrite {
		err = v.sealAlso(tx, []record.SealedEntry{{Path: path, Version: rec.Version, Hash: o.hash}})
	}
	return o.Info(), err == nil, err
}
