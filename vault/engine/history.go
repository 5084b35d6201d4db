package engine

import (
	"context"
	"fmt"
	"iter"

	"envrun/vault"
)

// Versions implements vault.Historian. Like List it needs no key, and says what
// the versions say of themselves. KindNotFound if there never was one.
func (e *Engine) Versions(ctx context.Context, env vault.Env, path vault.Path) iter.Seq2[vault.Info, error] {
	return func(yield func(vault.Info, error) bool) {
		none := true
		for r, err := range e.versions(ctx, env, path) {
			none = false
			info := vault.Info{Env: env, Path: path}
			if err == nil {
				info, _, err = header(env, r)
			}
			if err != nil {
				info, err = vault.Info{Env: env, Path: path}, e.locate(err, env, path)
			}
			if !yield(info, err) {
				return
			}
		}
		if none {
			yield(vault.Info{Env: env, Path: path}, e.locate(&vault.Error{Kind: vault.KindNotFound}, env, path))
		}
	}
}

func (e *Engine) versions(ctx context.Context, env vault.Env, path vault.Path) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if err := checkPath(env, path); err != nil {
			yield(Record{}, err)
			return
		}
		for r, err := range e.c.Store.Versions(ctx, env, path) {
			r.Path = path // history may know the place only from what was asked
			if !yield(r, err) {
				return
			}
		}
	}
}

// GetVersion implements vault.Historian. The present version passes the checks
// of Get. A former one is checked with the key of its own generation, and
// against the seal where that has the same version; that it is the one which
// once was present, and not one that a holder of the key wrote beside it,
// nothing can tell. A tombstone is returned as such.
func (e *Engine) GetVersion(ctx context.Context, env vault.Env, path vault.Path, version uint64) (vault.Secret, error) {
	if err := ctx.Err(); err != nil {
		return vault.Secret{}, err
	}
	if err := checkPath(env, path); err != nil {
		return vault.Secret{}, err
	}
	var s vault.Secret
	err := e.read(ctx, env, func(v view) (err error) {
		s, err = v.version(ctx, path, version)
		return e.locate(err, env, path)
	})
	if err != nil {
		return vault.Secret{}, err
	}
	return s, nil
}

func (v view) version(ctx context.Context, path vault.Path, number uint64) (vault.Secret, error) {
	r, err := v.e.c.Store.Head(ctx, v.env, path)
	switch {
	case vault.KindOf(err) == vault.KindNotFound:
		// It may have had versions; absent says whether it may have none now.
		if _, err := v.seal.absent(path); err != nil {
			return vault.Secret{}, err
		}
	case err != nil:
		return vault.Secret{}, err
	default:
		if info, _, err := header(v.env, r); err == nil && info.Version == number {
			return v.secret(path, r.Raw)
		}
	}
	former, err := v.former(ctx, path, number)
	if err != nil {
		return vault.Secret{}, err
	}
	return vault.Secret{Info: former.Info(), Values: former.fields}, nil
}

// former finds a version in the history. Git may have several of one number,
// from branches, or from somebody's forgery: the newest that is genuine counts.
func (v view) former(ctx context.Context, path vault.Path, number uint64) (version, error) {
	var bad error
	for r, err := range v.e.versions(ctx, v.env, path) {
		if err != nil {
			// A version that cannot be read is not a reason to give up on others.
			if bad == nil {
				bad = err
			}
			continue
		}
		info, gen, err := header(v.env, r)
		if err == nil && info.Version != number {
			continue
		}
		if err == nil {
			var found version
			if found, err = v.openFormer(ctx, path, gen, r.Raw); err == nil {
				return found, nil
			}
		}
		if bad == nil {
			bad = err
		}
	}
	if bad != nil {
		return version{}, bad
	}
	return version{}, &vault.Error{Kind: vault.KindNotFound, Detail: fmt.Sprintf("has no version %d", number)}
}

func (v view) openFormer(ctx context.Context, path vault.Path, gen uint32, raw []byte) (version, error) {
	key := v.key
	if gen != key.Gen {
		var err error
		if key, err = v.e.c.Keys.Generation(ctx, v.env, gen); err != nil {
			return version{}, err
		}
	}
	o, err := v.e.openWith(v.env, key, path, raw)
	if err != nil {
		return version{}, err
	}
	if s, ok, err := v.seal.view.Lookup(path); err != nil || ok && s.Version == o.Version && s.Hash != o.hash {
		if err == nil {
			err = dominates(s, o.Version, o.hash)
		}
		return version{}, err
	}
	fields, err := o.values()
	return version{o.Record, o.hash, fields, raw}, err
}
