// Package engine is the one place that sees plaintext. It seals secrets into
// records and opens them again, over a Store that moves bytes and Keys that
// find the key of an environment; the file vault and the server both are this
// engine over another store. It knows no file and no SQL.
//
// It refuses to hand out a value before everything that says it is genuine has
// been checked: that the record says of itself what was asked for (vault,
// environment, path), that it is of the present generation of the key, its MAC,
// each field, and that it dominates the checkpoint (filevault §3.8). The checks
// are one function, open, which every way to a value goes through; there is no
// switch that leaves one out.
//
// It refuses to write over what it could not read, but for Restore, which brings
// a former version back in its place; to write without comparing versions, and
// to write half of a batch.
//
// Readers take no lock. They read the seal first and records afterwards: since
// an environment only moves on, what is found later can only be newer. What
// does not fit together all the same, because a rotation came in between, is
// read again before it counts as an attack.
package engine

import (
	"context"
	"iter"
	"sync"
	"time"

	"envrun/vault"
	"envrun/vault/record"
	"envrun/vault/seal"
)

// Config is what an Engine is made of.
type Config struct {
	Vault  string // the id of the vault, "v_5f3c1d9a7b20e4c8", which everything is bound to
	Store  Store
	Keys   Keys
	Member string // who writes, "alice@laptop"; may be empty for one who only reads

	Now func() time.Time // nil: time.Now

	// SealOnWrite moves the checkpoint along with every write. It leaves no
	// window in which a roll-back goes unseen, and makes two people's writes to
	// one environment conflict in git: for a team of one, or a server.
	SealOnWrite bool
}

// Engine implements vault.Vault, vault.Historian and vault.Verifier. It is
// safe for use by several goroutines, and several Engines may share a store.
type Engine struct {
	c Config

	mu    sync.Mutex
	seals map[vault.Env]*checkpoint // the last one whose MAC was right
}

var (
	_ vault.Vault     = (*Engine)(nil)
	_ vault.Historian = (*Engine)(nil)
	_ vault.Verifier  = (*Engine)(nil)
	_ vault.Exporter  = (*Engine)(nil)
)

// New makes an Engine; it reads nothing yet.
func New(c Config) *Engine {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Engine{c: c, seals: map[vault.Env]*checkpoint{}}
}

// now is the time to write into a file: in UTC, to the second.
func (e *Engine) now() time.Time { return e.c.Now().UTC().Truncate(time.Second) }

// Envs implements vault.Reader.
func (e *Engine) Envs(ctx context.Context) ([]vault.Env, error) { return e.c.Store.Envs(ctx) }

// List implements vault.Reader. It needs no key, so what it says is what the
// records say of themselves, with nothing checked but their form and place.
func (e *Engine) List(ctx context.Context, env vault.Env, prefix vault.Path) iter.Seq2[vault.Info, error] {
	return func(yield func(vault.Info, error) bool) {
		if err := checkPrefix(env, prefix); err != nil {
			yield(vault.Info{Env: env}, err)
			return
		}
		for r, err := range e.c.Store.Heads(ctx, env, prefix) {
			info := vault.Info{Env: env, Path: r.Path}
			if err == nil {
				info, _, err = header(env, r)
			}
			if err == nil && info.Deleted {
				continue
			}
			if err != nil {
				info, err = vault.Info{Env: env, Path: r.Path}, e.locate(err, env, r.Path)
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

// checkPath and checkPrefix keep what cannot be a path from reaching a store,
// where it might mean something else.
func checkPath(env vault.Env, path vault.Path) error {
	_, err := vault.ParsePath(string(path))
	return fill(err, func(ve *vault.Error) { ve.Env = env })
}

func checkPrefix(env vault.Env, prefix vault.Path) error {
	if prefix == "" {
		return nil
	}
	return checkPath(env, prefix)
}

// header reads what a record says of itself, and refuses one that is of another place.
func header(env vault.Env, r Record) (vault.Info, uint32, error) {
	info, gen, err := record.ParseHeader(r.Raw)
	if err != nil {
		return vault.Info{}, 0, err
	}
	return info, gen, checkPlace(env, r.Path, info.Env, info.Path)
}

// checkPlace refuses a record that says it belongs elsewhere.
func checkPlace(env vault.Env, path vault.Path, saysEnv vault.Env, saysPath vault.Path) error {
	if saysEnv != env || saysPath != path {
		return tampered("is the record of " + string(saysEnv) + " " + string(saysPath) + ", put in this place")
	}
	return nil
}

func tampered(detail string) error { return &vault.Error{Kind: vault.KindTampered, Detail: detail} }

// A view is the key and the checkpoint that one operation goes by. They belong
// together: the checkpoint was made with the key.
type view struct {
	e    *Engine
	env  vault.Env
	key  EnvKey
	seal *checkpoint
}

// view reads the checkpoint and asks for the key, in this order, since a
// missing environment is to be called that and not a missing key.
func (e *Engine) view(ctx context.Context, env vault.Env) (view, error) {
	v := view{e: e, env: env}
	raw, err := e.c.Store.Blob(ctx, env, SealBlob)
	if err != nil {
		return v, e.locateBlob(missingSeal(err), env, SealBlob)
	}
	if v.key, err = e.currentKey(ctx, env); err != nil {
		return v, err
	}
	v.seal, err = e.checkpoint(env, v.key, raw)
	return v, err
}

func (e *Engine) currentKey(ctx context.Context, env vault.Env) (EnvKey, error) {
	key, err := e.c.Keys.Current(ctx, env)
	return key, e.locate(err, env, "")
}

// missingSeal: an environment is born sealed, so that one without a seal has lost it.
func missingSeal(err error) error {
	if vault.KindOf(err) == vault.KindNotFound {
		return tampered("the seal is missing; every environment has one from its first day")
	}
	return err
}

// attempts is how often what keeps moving is read before somebody is told so.
// It takes a rotation each time to use one up.
const attempts = 20

// read runs f on a view, and again on a new one if f fails while the
// environment has moved on: a rotation replaces key, seal and every record,
// and a reader without a lock may see some of each.
func (e *Engine) read(ctx context.Context, env vault.Env, f func(view) error) error {
	v, err := e.view(ctx, env)
	for attempt := 1; ; attempt++ {
		if err == nil {
			err = f(v)
		}
		if vault.KindOf(err) != vault.KindTampered {
			return err
		}
		if attempt == attempts {
			return &vault.Error{Kind: vault.KindBusy, Op: "reading", Env: env, Detail: "others rotate its key all the time", Err: err}
		}
		if s, ok := e.c.Store.(Settler); ok {
			if err := s.Settle(ctx, env); err != nil {
				return err
			}
		}
		next, nextErr := e.view(ctx, env)
		if nextErr == nil && next.same(v) {
			return err
		}
		if nextErr != nil && nextErr.Error() == err.Error() {
			return err
		}
		v, err = next, nextErr
	}
}

// same reports whether two views are of the same state. Both are checkpoints
// that were found good, or none.
func (v view) same(o view) bool {
	return v.key.Gen == o.key.Gen && v.seal != nil && o.seal != nil && v.seal.is(o.seal.raw)
}

// opened is a record that has passed every check.
type opened struct {
	*record.Record
	raw  []byte // the file
	hash record.Hash
	dek  seal.DEK
}

// open parses a record and checks that it is genuine and in its place. It is
// the only way to a value. A tombstone passes like any other.
func (v view) open(path vault.Path, raw []byte) (opened, error) {
	o, err := v.e.openWith(v.env, v.key, path, raw)
	if err != nil {
		return opened{}, err
	}
	if err := v.seal.check(path, o.Version, o.hash); err != nil {
		return opened{}, err
	}
	return o, nil
}

// openWith is open with a key of any generation and without the checkpoint,
// for versions of the past and for walks that bring their own.
func (e *Engine) openWith(env vault.Env, key EnvKey, path vault.Path, raw []byte) (opened, error) {
	o, err := e.form(env, key.Gen, path, raw)
	if err != nil {
		return opened{}, err
	}
	if o.dek, err = authentic(key, o.Record, raw); err != nil {
		return opened{}, err
	}
	return o, nil
}

// values opens every field, in the order of the record.
func (o opened) values() ([]vault.Field, error) { return openFields(o.Record, o.dek) }

// form is what of openWith needs no key. What it returns is not yet known to
// be genuine, and has no data key.
func (e *Engine) form(env vault.Env, gen uint32, path vault.Path, raw []byte) (opened, error) {
	r, err := record.ParseRecord(raw)
	if err != nil {
		return opened{}, err
	}
	if r.Vault != e.c.Vault {
		return opened{}, tampered("is a record of vault " + r.Vault + ", put into this one")
	}
	if err := checkPlace(env, path, r.Env, r.Path); err != nil {
		return opened{}, err
	}
	if r.Gen != gen {
		return opened{}, wrongGeneration(r, gen)
	}
	hash, err := record.BodyHash(raw)
	if err != nil {
		return opened{}, err
	}
	return opened{Record: r, raw: raw, hash: hash}, nil
}

// locate fills in what an error is about, and the file where the store has one.
func (e *Engine) locate(err error, env vault.Env, path vault.Path) error {
	return fill(err, func(ve *vault.Error) {
		if l, ok := e.c.Store.(Locator); ok && ve.File == "" && path != "" {
			ve.File = l.LocateRecord(env, path)
		}
		if ve.Env == "" {
			ve.Env = env
		}
		if ve.Path == "" {
			ve.Path = path
		}
	})
}

// locateBlob is locate for an error about a blob.
func (e *Engine) locateBlob(err error, env vault.Env, name string) error {
	return fill(err, func(ve *vault.Error) {
		if l, ok := e.c.Store.(Locator); ok && ve.File == "" {
			ve.File = l.LocateBlob(env, name)
		}
		if ve.Env == "" {
			ve.Env = env
		}
	})
}

func withField(err error, name vault.FieldName) error {
	return fill(err, func(ve *vault.Error) { ve.Field = name })
}

// fill changes a copy of err, which somebody else may hold too.
func fill(err error, f func(*vault.Error)) error {
	ve, ok := err.(*vault.Error)
	if !ok {
		return err
	}
	c := *ve
	f(&c)
	return &c
}
