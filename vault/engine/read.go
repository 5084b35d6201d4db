package engine

import (
	"context"
	"fmt"
	"runtime"

	"envrun/vault"
	"envrun/vault/parallel"
	"envrun/vault/record"
)

// Get implements vault.Reader.
func (e *Engine) Get(ctx context.Context, env vault.Env, path vault.Path) (vault.Secret, error) {
	secrets, err := e.GetMany(ctx, env, []vault.Path{path})
	if err != nil {
		return vault.Secret{}, err
	}
	return secrets[0], nil
}

// GetMany implements vault.Reader.
func (e *Engine) GetMany(ctx context.Context, env vault.Env, paths []vault.Path) ([]vault.Secret, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, nil
	}
	for _, path := range paths {
		if err := checkPath(env, path); err != nil {
			return nil, err
		}
	}
	var secrets []vault.Secret
	err := e.read(ctx, env, func(v view) error {
		secrets = make([]vault.Secret, len(paths))
		return parallel.Do(ctx, len(paths), runtime.GOMAXPROCS(0), func(i int) (err error) {
			secrets[i], err = v.get(ctx, paths[i])
			return e.locate(err, env, paths[i])
		})
	})
	if err != nil {
		return nil, err
	}
	return secrets, nil
}

// get reads one secret that must be there.
func (v view) get(ctx context.Context, path vault.Path) (vault.Secret, error) {
	r, err := v.e.c.Store.Head(ctx, v.env, path)
	if vault.KindOf(err) == vault.KindNotFound {
		if _, err := v.seal.absent(path); err != nil {
			return vault.Secret{}, err
		}
	}
	if err != nil {
		return vault.Secret{}, err
	}
	s, err := v.secret(path, r.Raw)
	if err == nil && s.Deleted {
		return vault.Secret{}, &vault.Error{Kind: vault.KindNotFound, Detail: fmt.Sprintf("was deleted in version %d by %s", s.Version, s.By)}
	}
	return s, err
}

// secret opens a record with its values.
func (v view) secret(path vault.Path, raw []byte) (vault.Secret, error) {
	o, err := v.open(path, raw)
	if err != nil {
		return vault.Secret{}, err
	}
	values, err := o.values()
	if err != nil {
		return vault.Secret{}, err
	}
	return vault.Secret{Info: o.Info(), Values: values}, nil
}

// GetAll returns every secret at or below prefix ("" for all), sorted by path.
// It fails as a whole, and also when a secret is missing that the seal has.
func (e *Engine) GetAll(ctx context.Context, env vault.Env, prefix vault.Path) ([]vault.Secret, error) {
	if err := checkPrefix(env, prefix); err != nil {
		return nil, err
	}
	var secrets []vault.Secret
	err := e.read(ctx, env, func(v view) error {
		secrets = nil
		var bad error
		err := v.each(ctx, e.c.Store.Heads(ctx, env, prefix), prefix, true, func(f found) bool {
			if bad = f.err; bad == nil && !f.entry.Deleted {
				secrets = append(secrets, vault.Secret{Info: f.opened.Info(), Values: f.values})
			}
			return bad == nil
		})
		if err == nil {
			err = bad
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return secrets, nil
}

// wrongGeneration says why a record does not open although it may be genuine.
func wrongGeneration(r *record.Record, current uint32) error {
	if r.Gen < current {
		return &vault.Error{Kind: vault.KindTampered, Err: &RetiredError{Gen: r.Gen, Current: current, Version: r.Version, By: r.By, At: r.At}}
	}
	return tampered(fmt.Sprintf("was written under key %d, which is not there; the key is %d", r.Gen, current))
}
