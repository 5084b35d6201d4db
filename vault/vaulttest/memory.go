package vaulttest

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/record"
)

// Memory is an engine.Store in memory: transactional, with all versions kept,
// safe for use by several goroutines. It panics when it is used in a way that
// the interface does not allow, since that is a bug of the engine and not a
// thing to answer.
//
// Beside the interface it has what an attacker without a key can do (Poke,
// Erase, Restore and the like go round compare-and-swap), and a place to make
// any call fail.
type Memory struct {
	// HeadsOnly makes Versions unsupported, as in a place without history.
	HeadsOnly bool

	batch sync.Mutex // held by the one batch under way

	mu    sync.RWMutex
	envs  map[vault.Env]*memEnv // replaced, never changed in place: a reader may still walk it
	fail  func(Call) error
	calls int
}

// memEnv is one environment, frozen as soon as it is in Memory.envs.
type memEnv struct {
	records map[vault.Path][]engine.Record // oldest first, never empty
	blobs   map[string][]byte
}

func (e *memEnv) clone() *memEnv {
	return &memEnv{maps.Clone(e.records), maps.Clone(e.blobs)}
}

// NewMemory is an empty store.
func NewMemory() *Memory { return &Memory{envs: map[vault.Env]*memEnv{}} }

// Call is one call of a method, as FailWith sees it.
type Call struct {
	N    int    // counted from 1 since FailWith
	Op   string // "Head", "Tx.Put"; "commit" is the end of a batch
	Env  vault.Env
	Path vault.Path
	Blob string
}

// FailWith has f asked before each call from now on; its error, if any, is the
// outcome of the call. An iterating method is one call. nil ends it.
func (m *Memory) FailWith(f func(Call) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail, m.calls = f, 0
}

// ask is what every call begins with.
func (m *Memory) ask(ctx context.Context, c Call) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	m.calls++
	c.N = m.calls
	fail := m.fail
	m.mu.Unlock()
	if fail == nil {
		return nil
	}
	return fail(c)
}

// env is the frozen state of an environment.
func (m *Memory) env(env vault.Env) (*memEnv, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	e, ok := m.envs[env]
	if !ok {
		return nil, &vault.Error{Kind: vault.KindNoEnv, Env: env}
	}
	return e, nil
}

// Envs implements engine.Store.
func (m *Memory) Envs(ctx context.Context) ([]vault.Env, error) {
	if err := m.ask(ctx, Call{Op: "Envs"}); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Sorted(maps.Keys(m.envs)), nil
}

// Head implements engine.Store.
func (m *Memory) Head(ctx context.Context, env vault.Env, path vault.Path) (engine.Record, error) {
	if err := m.ask(ctx, Call{Op: "Head", Env: env, Path: path}); err != nil {
		return engine.Record{}, err
	}
	e, err := m.env(env)
	if err != nil {
		return engine.Record{}, err
	}
	return e.head(env, path)
}

func (e *memEnv) head(env vault.Env, path vault.Path) (engine.Record, error) {
	all := e.records[path]
	if len(all) == 0 {
		return engine.Record{}, &vault.Error{Kind: vault.KindNotFound, Env: env, Path: path}
	}
	return all[len(all)-1], nil
}

// Heads implements engine.Store.
func (m *Memory) Heads(ctx context.Context, env vault.Env, prefix vault.Path) iter.Seq2[engine.Record, error] {
	return func(yield func(engine.Record, error) bool) {
		if err := m.ask(ctx, Call{Op: "Heads", Env: env, Path: prefix}); err != nil {
			yield(engine.Record{Env: env}, err)
			return
		}
		e, err := m.env(env)
		if err != nil {
			yield(engine.Record{Env: env}, err)
			return
		}
		e.heads(prefix, yield)
	}
}

func (e *memEnv) heads(prefix vault.Path, yield func(engine.Record, error) bool) {
	for _, path := range slices.Sorted(maps.Keys(e.records)) {
		if !below(path, prefix) {
			continue
		}
		all := e.records[path]
		if !yield(all[len(all)-1], nil) {
			return
		}
	}
}

func below(path, prefix vault.Path) bool {
	return prefix == "" || path == prefix || strings.HasPrefix(string(path), string(prefix)+"/")
}

// Versions implements engine.Store.
func (m *Memory) Versions(ctx context.Context, env vault.Env, path vault.Path) iter.Seq2[engine.Record, error] {
	return func(yield func(engine.Record, error) bool) {
		if err := m.ask(ctx, Call{Op: "Versions", Env: env, Path: path}); err != nil {
			yield(engine.Record{Env: env, Path: path}, err)
			return
		}
		e, err := m.env(env)
		if err == nil && m.HeadsOnly {
			err = &vault.Error{Kind: vault.KindUnsupported, Env: env, Path: path, Detail: "this store keeps no former versions"}
		}
		if err != nil {
			yield(engine.Record{Env: env, Path: path}, err)
			return
		}
		for _, r := range slices.Backward(e.records[path]) {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// Blob implements engine.Store.
func (m *Memory) Blob(ctx context.Context, env vault.Env, name string) ([]byte, error) {
	if err := m.ask(ctx, Call{Op: "Blob", Env: env, Blob: name}); err != nil {
		return nil, err
	}
	e, err := m.env(env)
	if err != nil {
		return nil, err
	}
	return e.blob(env, name)
}

func (e *memEnv) blob(env vault.Env, name string) ([]byte, error) {
	raw, ok := e.blobs[name]
	if !ok {
		return nil, &vault.Error{Kind: vault.KindNotFound, Env: env, Detail: name + " is missing"}
	}
	return raw, nil
}

// Blobs implements engine.Store.
func (m *Memory) Blobs(ctx context.Context, env vault.Env, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := m.ask(ctx, Call{Op: "Blobs", Env: env, Blob: prefix}); err != nil {
			yield("", err)
			return
		}
		e, err := m.env(env)
		if err != nil {
			yield("", err)
			return
		}
		e.names(prefix, yield)
	}
}

func (e *memEnv) names(prefix string, yield func(string, error) bool) {
	for _, name := range slices.Sorted(maps.Keys(e.blobs)) {
		if strings.HasPrefix(name, prefix) && !yield(name, nil) {
			return
		}
	}
}

// Batch implements engine.Store.
func (m *Memory) Batch(ctx context.Context, env vault.Env, f func(engine.Tx) error) error {
	if err := m.ask(ctx, Call{Op: "Batch", Env: env}); err != nil {
		return err
	}
	m.batch.Lock()
	defer m.batch.Unlock()
	tx := &memTx{m: m, ctx: ctx, name: env}
	if e, err := m.env(env); err == nil {
		tx.env = e.clone()
	}
	// Also when f panics: a Tx that is kept is of no use.
	defer func() { tx.ended = true }()
	if err := f(tx); err != nil {
		return err
	}
	if err := m.ask(ctx, Call{Op: "commit", Env: env}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.replace(env, tx.env)
	return nil
}

// replace needs mu.
func (m *Memory) replace(env vault.Env, e *memEnv) {
	// A store that Restore is given shares environments, never the map of them.
	envs := maps.Clone(m.envs)
	delete(envs, env)
	if e != nil {
		envs[env] = e
	}
	m.envs = envs
}

// memTx is a batch on a copy of the environment.
type memTx struct {
	m     *Memory
	ctx   context.Context
	name  vault.Env
	env   *memEnv // nil while there is none
	ended bool
}

func (t *memTx) ask(c Call) error {
	if t.ended {
		panic("vaulttest: " + c.Op + " after the end of its batch")
	}
	c.Env = t.name
	return t.m.ask(t.ctx, c)
}

// open is ask for a call that needs the environment.
func (t *memTx) open(c Call) error {
	if err := t.ask(c); err != nil {
		return err
	}
	if t.env == nil {
		return &vault.Error{Kind: vault.KindNoEnv, Env: t.name}
	}
	return nil
}

func (t *memTx) Head(path vault.Path) (engine.Record, error) {
	if err := t.open(Call{Op: "Tx.Head", Path: path}); err != nil {
		return engine.Record{}, err
	}
	return t.env.head(t.name, path)
}

func (t *memTx) Heads(prefix vault.Path) iter.Seq2[engine.Record, error] {
	return func(yield func(engine.Record, error) bool) {
		if err := t.open(Call{Op: "Tx.Heads", Path: prefix}); err != nil {
			yield(engine.Record{Env: t.name}, err)
			return
		}
		// The walk is of how it was when it began, so a batch may write while it walks.
		t.env.clone().heads(prefix, yield)
	}
}

func (t *memTx) Blob(name string) ([]byte, error) {
	if err := t.open(Call{Op: "Tx.Blob", Blob: name}); err != nil {
		return nil, err
	}
	return t.env.blob(t.name, name)
}

func (t *memTx) Blobs(prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := t.open(Call{Op: "Tx.Blobs", Blob: prefix}); err != nil {
			yield("", err)
			return
		}
		t.env.clone().names(prefix, yield)
	}
}

// check panics at a record that no engine should write.
func (t *memTx) check(op string, r engine.Record) {
	parsed, err := vault.ParsePath(string(r.Path))
	switch {
	case err != nil || parsed != r.Path:
		panic(fmt.Sprintf("vaulttest: %s of path %q", op, r.Path))
	case r.Env != t.name:
		panic(fmt.Sprintf("vaulttest: %s of a record of %s in a batch on %s", op, r.Env, t.name))
	case r.Version == 0, r.Gen == 0, r.At.IsZero(), len(r.Raw) == 0:
		panic(fmt.Sprintf("vaulttest: %s of %s with a field left out: version %d, gen %d, at %v, %d bytes", op, r.Path, r.Version, r.Gen, r.At, len(r.Raw)))
	}
}

func (t *memTx) Put(r engine.Record, was uint64) error {
	if err := t.open(Call{Op: "Tx.Put", Path: r.Path}); err != nil {
		return err
	}
	t.check("Put", r)
	if r.Version <= was {
		panic(fmt.Sprintf("vaulttest: Put of %s version %d over %d", r.Path, r.Version, was))
	}
	all := t.env.records[r.Path]
	var is uint64
	if len(all) > 0 {
		is = all[len(all)-1].Version
	}
	if is != was {
		return &vault.Error{Kind: vault.KindConflict, Env: t.name, Path: r.Path, Detail: fmt.Sprintf("is at version %d, not %d", is, was)}
	}
	t.env.records[r.Path] = append(slices.Clip(all), r)
	return nil
}

func (t *memTx) Rewrap(r engine.Record) error {
	if err := t.open(Call{Op: "Tx.Rewrap", Path: r.Path}); err != nil {
		return err
	}
	t.check("Rewrap", r)
	head, err := t.env.head(t.name, r.Path)
	if err != nil {
		return err
	}
	if head.Version != r.Version {
		return &vault.Error{Kind: vault.KindConflict, Env: t.name, Path: r.Path, Detail: fmt.Sprintf("is at version %d, not %d", head.Version, r.Version)}
	}
	all := slices.Clone(t.env.records[r.Path])
	all[len(all)-1] = r
	t.env.records[r.Path] = all
	return nil
}

// Replace implements engine.Replacer.
func (t *memTx) Replace(r engine.Record) error {
	if err := t.open(Call{Op: "Tx.Replace", Path: r.Path}); err != nil {
		return err
	}
	t.check("Replace", r)
	t.env.records[r.Path] = append(slices.Clip(t.env.records[r.Path]), r)
	return nil
}

func (t *memTx) Forget(path vault.Path) error {
	if err := t.open(Call{Op: "Tx.Forget", Path: path}); err != nil {
		return err
	}
	if _, err := t.env.head(t.name, path); err != nil {
		return err
	}
	delete(t.env.records, path)
	return nil
}

func (t *memTx) PutBlob(name string, raw []byte) error {
	if err := t.open(Call{Op: "Tx.PutBlob", Blob: name}); err != nil {
		return err
	}
	if name == "" || len(raw) == 0 {
		panic(fmt.Sprintf("vaulttest: PutBlob of %q with %d bytes", name, len(raw)))
	}
	t.env.blobs[name] = raw
	return nil
}

func (t *memTx) DeleteBlob(name string) error {
	if err := t.open(Call{Op: "Tx.DeleteBlob", Blob: name}); err != nil {
		return err
	}
	if _, err := t.env.blob(t.name, name); err != nil {
		return err
	}
	delete(t.env.blobs, name)
	return nil
}

func (t *memTx) CreateEnv() error {
	if err := t.ask(Call{Op: "Tx.CreateEnv"}); err != nil {
		return err
	}
	if t.env != nil {
		return &vault.Error{Kind: vault.KindExists, Env: t.name}
	}
	t.env = &memEnv{map[vault.Path][]engine.Record{}, map[string][]byte{}}
	return nil
}

func (t *memTx) RemoveEnv() error {
	if err := t.open(Call{Op: "Tx.RemoveEnv"}); err != nil {
		return err
	}
	t.env = nil
	return nil
}

// Snapshot is how a store was at one time.
type Snapshot struct{ envs map[vault.Env]*memEnv }

// Snapshot remembers everything there is.
func (m *Memory) Snapshot() Snapshot {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return Snapshot{m.envs}
}

// Restore puts everything back as it was.
func (m *Memory) Restore(s Snapshot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.envs = s.envs
}

// Equal reports whether two snapshots hold the same bytes.
func (s Snapshot) Equal(o Snapshot) bool {
	return maps.EqualFunc(s.envs, o.envs, func(a, b *memEnv) bool {
		sameRecord := func(a, b engine.Record) bool {
			return a.Path == b.Path && a.Version == b.Version && a.Gen == b.Gen && string(a.Raw) == string(b.Raw)
		}
		return maps.EqualFunc(a.records, b.records, func(a, b []engine.Record) bool { return slices.EqualFunc(a, b, sameRecord) }) &&
			maps.EqualFunc(a.blobs, b.blobs, func(a, b []byte) bool { return string(a) == string(b) })
	})
}

// edit changes an environment past every check. It panics if there is none.
func (m *Memory) edit(env vault.Env, f func(*memEnv)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.envs[env]
	if !ok {
		panic("vaulttest: no environment " + string(env))
	}
	e = e.clone()
	f(e)
	m.replace(env, e)
}

// Peek returns the bytes of a head; it panics if there is none.
func (m *Memory) Peek(env vault.Env, path vault.Path) []byte {
	e, err := m.env(env)
	if err != nil {
		panic(err)
	}
	r, err := e.head(env, path)
	if err != nil {
		panic(err)
	}
	return slices.Clone(r.Raw)
}

// Poke puts raw in the place of the newest record of a path, or makes it the
// first. Like a file, it counts as of the version that it says it is.
func (m *Memory) Poke(env vault.Env, path vault.Path, raw []byte) {
	m.edit(env, func(e *memEnv) {
		r := engine.Record{Env: env, Path: path, Raw: slices.Clone(raw)}
		if info, gen, err := record.ParseHeader(raw); err == nil {
			r.Version, r.Gen, r.At = info.Version, gen, info.At
		}
		former := e.records[path]
		e.records[path] = append(slices.Clone(former[:max(0, len(former)-1)]), r)
	})
}

// Erase removes a path with all its versions.
func (m *Memory) Erase(env vault.Env, path vault.Path) {
	m.edit(env, func(e *memEnv) { delete(e.records, path) })
}

// PeekBlob returns the bytes of a blob, nil if there is none.
func (m *Memory) PeekBlob(env vault.Env, name string) []byte {
	e, err := m.env(env)
	if err != nil {
		panic(err)
	}
	return slices.Clone(e.blobs[name])
}

// PokeBlob makes or replaces a blob.
func (m *Memory) PokeBlob(env vault.Env, name string, raw []byte) {
	m.edit(env, func(e *memEnv) { e.blobs[name] = slices.Clone(raw) })
}

// EraseBlob removes a blob.
func (m *Memory) EraseBlob(env vault.Env, name string) {
	m.edit(env, func(e *memEnv) { delete(e.blobs, name) })
}
