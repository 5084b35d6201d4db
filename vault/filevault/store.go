package filevault

import (
	"context"
	"io/fs"
	"iter"
	"maps"
	"path"
	"slices"
	"sort"
	"strings"
	"time"

	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/record"
)

// A store is the vault's folder as the engine sees it: records and blobs.
type store struct {
	d       *disk
	wait    time.Duration
	command string
	writing chan struct{} // holds one token: writers of this process queue here before they poll for the file's lock
	history *history
}

var (
	_ engine.Store   = (*store)(nil)
	_ engine.Locator = (*store)(nil)
	_ engine.Settler = (*store)(nil)
	_ engine.Archive = (*store)(nil)
)

func newStore(d *disk, wait time.Duration, command string) *store {
	return &store{d: d, wait: wait, command: command, writing: make(chan struct{}, 1), history: newHistory(d)}
}

// LocateRecord implements engine.Locator.
func (s *store) LocateRecord(env vault.Env, path vault.Path) string {
	name, err := secretName(env, path)
	if err != nil {
		return ""
	}
	return s.d.file(name)
}

// LocateBlob implements engine.Locator.
func (s *store) LocateBlob(env vault.Env, name string) string {
	return s.d.file(envDir(env) + "/" + name)
}

// Envs implements engine.Store.
func (s *store) Envs(ctx context.Context) ([]vault.Env, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	v, err := s.d.view()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	list, err := v.entries(envsDir)
	if err != nil {
		return nil, err
	}
	var envs []vault.Env
	for _, e := range list {
		env, err := vault.ParseEnv(e.Name())
		if err != nil {
			continue // Verify reports it
		}
		if !e.IsDir() {
			if e.Type()&fs.ModeSymlink != 0 {
				return nil, v.d.refuse(envDir(env), "is a symbolic link, which is not followed")
			}
			continue
		}
		envs = append(envs, env)
	}
	slices.Sort(envs)
	return envs, nil
}

// needEnv is KindNoEnv unless the environment is there.
func (v *view) needEnv(env vault.Env) error {
	if err := checkEnv(env); err != nil {
		return err
	}
	there, err := v.is(envDir(env), true)
	if err != nil {
		return err
	}
	if !there {
		return &vault.Error{Kind: vault.KindNoEnv, Env: env}
	}
	return nil
}

// readIn reads a file of an environment; what is not there is KindNotFound
// where the environment is and KindNoEnv where it is not.
func (v *view) readIn(env vault.Env, name string, max int64) ([]byte, error) {
	raw, err := v.read(name, max)
	if vault.KindOf(err) == vault.KindNotFound {
		if err := v.needEnv(env); err != nil {
			return nil, err
		}
	}
	return raw, err
}

func (v *view) head(env vault.Env, p vault.Path) (engine.Record, error) {
	if err := checkEnv(env); err != nil {
		return engine.Record{}, err
	}
	name, err := secretName(env, p)
	if err != nil {
		if envErr := v.needEnv(env); envErr != nil {
			return engine.Record{}, envErr
		}
		return engine.Record{}, &vault.Error{Kind: vault.KindNotFound, Env: env, Path: p, Err: err}
	}
	raw, err := v.readIn(env, name, record.MaxRecordSize)
	if err != nil {
		if vault.KindOf(err) == vault.KindNotFound {
			err = &vault.Error{Kind: vault.KindNotFound, Env: env, Path: p}
		}
		return engine.Record{Env: env, Path: p}, err
	}
	return engine.Record{Env: env, Path: p, Raw: raw}, nil
}

// Head implements engine.Store.
func (s *store) Head(ctx context.Context, env vault.Env, p vault.Path) (engine.Record, error) {
	if err := ctx.Err(); err != nil {
		return engine.Record{}, err
	}
	v, err := s.d.view()
	if err != nil {
		return engine.Record{}, err
	}
	defer v.Close()
	return v.head(env, p)
}

// Heads implements engine.Store.
func (s *store) Heads(ctx context.Context, env vault.Env, prefix vault.Path) iter.Seq2[engine.Record, error] {
	return func(yield func(engine.Record, error) bool) {
		v, err := s.d.view()
		if err != nil {
			yield(engine.Record{Env: env}, err)
			return
		}
		defer v.Close()
		if err := v.needEnv(env); err != nil {
			yield(engine.Record{Env: env}, err)
			return
		}
		v.walk(env, prefix, func(p vault.Path, err error) bool {
			if cerr := ctx.Err(); cerr != nil {
				yield(engine.Record{Env: env}, cerr)
				return false
			}
			r := engine.Record{Env: env, Path: p}
			if err == nil {
				r, err = v.head(env, p)
				if vault.KindOf(err) == vault.KindNotFound {
					return true // removed since it was listed
				}
			}
			return yield(r, err)
		})
	}
}

// walk calls visit for the path of every secret's file at or below prefix, in
// order, until it returns false. What is not named like a secret is left out. A
// folder that cannot be read, or a link, is an error for its path.
//
// Sorting each folder by itself gives the order of whole paths if a folder
// sorts as its name with the slash.
func (v *view) walk(env vault.Env, prefix vault.Path, visit func(vault.Path, error) bool) {
	if prefix != "" {
		name, err := secretName(env, prefix)
		if err != nil {
			return
		}
		if there, err := v.is(name, false); there || err != nil {
			if !visit(prefix, err) {
				return
			}
		}
	}
	v.walkDir(env, string(prefix), visit)
}

func (v *view) walkDir(env vault.Env, dir string, visit func(vault.Path, error) bool) bool {
	base := envDir(env) + "/" + secretsDir
	names, err := v.names(path.Join(base, dir))
	if err != nil {
		return visit(vault.Path(dir), err)
	}
	keys := names[:0] // a secret without its suffix, a folder with a slash
	for _, name := range names {
		if secret, ok := strings.CutSuffix(name, secretSuffix); ok {
			keys = append(keys, secret)
		} else {
			keys = append(keys, name+"/")
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		seg, folder := strings.CutSuffix(key, "/")
		p, err := vault.ParsePath(path.Join(dir, seg))
		if err != nil {
			continue
		}
		if !folder {
			// Reading it says what is wrong if it is no plain file.
			if !visit(p, nil) {
				return false
			}
			continue
		}
		mode, err := v.mode(base + "/" + string(p))
		switch {
		case err == nil && mode.IsDir():
			if !v.walkDir(env, string(p), visit) {
				return false
			}
		case err == nil && mode&fs.ModeSymlink != 0:
			if !visit(p, v.d.refuse(base+"/"+string(p), notPlain(mode, true))) {
				return false
			}
		case err != nil && vault.KindOf(err) != vault.KindNotFound:
			if !visit(p, err) {
				return false
			}
		}
	}
	return true
}

// Versions implements engine.Store.
func (s *store) Versions(ctx context.Context, env vault.Env, p vault.Path) iter.Seq2[engine.Record, error] {
	return func(yield func(engine.Record, error) bool) {
		name, err := secretName(env, p)
		if err == nil {
			err = checkEnv(env)
		}
		if err != nil {
			yield(engine.Record{Env: env, Path: p}, err)
			return
		}
		head, err := s.Head(ctx, env, p)
		if err != nil && vault.KindOf(err) != vault.KindNotFound {
			yield(engine.Record{Env: env, Path: p}, err)
			return
		}
		s.history.versions(ctx, env, p, name, head.Raw, yield)
	}
}

// Former implements engine.Archive.
func (s *store) Former(ctx context.Context, env vault.Env) (map[vault.Path][]engine.Record, error) {
	if err := checkEnv(env); err != nil {
		return nil, err
	}
	return s.history.former(ctx, env)
}

func (v *view) blob(env vault.Env, name string) ([]byte, error) {
	if err := checkEnv(env); err != nil {
		return nil, err
	}
	file, err := blobName(env, name)
	if err != nil {
		return nil, err
	}
	return v.readIn(env, file, maxSize(name))
}

// Blob implements engine.Store.
func (s *store) Blob(ctx context.Context, env vault.Env, name string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	v, err := s.d.view()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	return v.blob(env, name)
}

// blobs are the names of an environment's blobs that begin with prefix, sorted.
func (v *view) blobs(env vault.Env, prefix string) ([]string, error) {
	if err := v.needEnv(env); err != nil {
		return nil, err
	}
	var names []string
	if strings.HasPrefix(prefix, secretsDir+"/") {
		return nil, nil // records, and no blobs
	}
	var walk func(dir string) error
	walk = func(dir string) error {
		list, err := v.entries(strings.TrimSuffix(envDir(env)+"/"+dir, "/"))
		if err != nil {
			return err
		}
		for _, e := range list {
			name := path.Join(dir, e.Name())
			if !plainSegment(e.Name()) || name == secretsDir {
				continue
			}
			switch {
			case e.IsDir():
				if strings.HasPrefix(name+"/", prefix) || strings.HasPrefix(prefix, name+"/") {
					if err := walk(name); err != nil {
						return err
					}
				}
			case strings.HasPrefix(name, prefix):
				names = append(names, name) // reading one that is no plain file is refused
			}
		}
		return nil
	}
	if err := walk(dirOf(prefix)); err != nil {
		return nil, err
	}
	slices.Sort(names)
	return names, nil
}

// Blobs implements engine.Store.
func (s *store) Blobs(ctx context.Context, env vault.Env, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		v, err := s.d.view()
		if err != nil {
			yield("", err)
			return
		}
		names, err := v.blobs(env, prefix)
		v.Close()
		yieldAll(ctx, names, err, yield)
	}
}

func yieldAll(ctx context.Context, names []string, err error, yield func(string, error) bool) {
	if err != nil {
		yield("", err)
		return
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			yield("", err)
			return
		}
		if !yield(name, nil) {
			return
		}
	}
}

// hold takes the writers' lock, first among the goroutines of this process and
// then among processes.
func (s *store) hold(ctx context.Context) (*held, func(), error) {
	timeout := time.NewTimer(s.wait)
	defer timeout.Stop()
	select {
	case s.writing <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	case <-timeout.C:
		return nil, nil, &vault.Error{Kind: vault.KindBusy, Op: "locking", File: s.d.file(lockName), Detail: "held by another part of this process"}
	}
	h, err := s.d.lock(ctx, s.wait, s.command)
	if err != nil {
		<-s.writing
		return nil, nil, err
	}
	return h, func() {
		h.release()
		<-s.writing
	}, nil
}

// Batch implements engine.Store.
func (s *store) Batch(ctx context.Context, env vault.Env, f func(engine.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkEnv(env); err != nil {
		return err
	}
	h, release, err := s.hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	there, err := h.is(envDir(env), true)
	if err != nil {
		return err
	}
	t := &tx{ctx: ctx, h: h, env: env, onDisk: there, there: there, changes: map[string][]byte{}, versions: map[string]uint64{}}
	if err := f(t); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return t.commit()
}

// journals is what a reader sees of journals now.
func (s *store) journals() (journalState, error) {
	v, err := s.d.view()
	if err != nil {
		return journalState{}, err
	}
	defer v.Close()
	return v.journals()
}

// Settle implements engine.Settler: it waits for the writer that is moving its
// files into place, or does the work of one that died.
func (s *store) Settle(ctx context.Context, _ vault.Env) error {
	timeout := time.NewTimer(s.wait)
	defer timeout.Stop()
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		j, err := s.journals()
		if err != nil || len(j.committed) == 0 {
			return err
		}
		h, err := s.d.lock(ctx, -1, s.command)
		if err == nil {
			h.release()
			return nil
		}
		if vault.KindOf(err) != vault.KindBusy {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timeout.C:
			return err
		case <-time.After(pause):
		}
	}
}

// A tx collects what a batch writes, for one write at its end.
type tx struct {
	ctx     context.Context
	h       *held
	env     vault.Env
	onDisk  bool // the environment is there before the batch
	there   bool // and now
	fresh   bool // it was removed or made in this batch: nothing of the disk shows through
	changes map[string][]byte

	// versions are those of the secrets' files that the batch has read. It holds
	// the lock, so they are good until it changes one itself: to compare them at
	// a Put or a Rewrap takes no second look at each of thousands.
	versions map[string]uint64
}

// change notes what the batch does to a file: nil removes it.
func (t *tx) change(name string, data []byte) {
	t.changes[name] = data
	delete(t.versions, name)
}

func (t *tx) need() error {
	if !t.there {
		return &vault.Error{Kind: vault.KindNoEnv, Env: t.env}
	}
	return nil
}

// read reads a file as the batch sees it.
func (t *tx) read(name string, max int64) ([]byte, error) {
	if data, ok := t.changes[name]; ok {
		if data == nil {
			return nil, &vault.Error{Kind: vault.KindNotFound, Env: t.env}
		}
		return data, nil
	}
	if t.fresh {
		return nil, &vault.Error{Kind: vault.KindNotFound, Env: t.env}
	}
	return t.h.read(name, max)
}

// Head implements engine.Tx.
func (t *tx) Head(p vault.Path) (engine.Record, error) {
	if err := t.need(); err != nil {
		return engine.Record{}, err
	}
	name, err := secretName(t.env, p)
	if err != nil {
		return engine.Record{}, err
	}
	raw, err := t.read(name, record.MaxRecordSize)
	if vault.KindOf(err) == vault.KindNotFound {
		err = &vault.Error{Kind: vault.KindNotFound, Env: t.env, Path: p}
	}
	if v := record.PeekVersion(raw); v > 0 {
		t.versions[name] = v
	}
	return engine.Record{Env: t.env, Path: p, Raw: raw}, err
}

// Heads implements engine.Tx.
func (t *tx) Heads(prefix vault.Path) iter.Seq2[engine.Record, error] {
	return func(yield func(engine.Record, error) bool) {
		if err := t.need(); err != nil {
			yield(engine.Record{Env: t.env}, err)
			return
		}
		found := map[vault.Path]error{}
		if !t.fresh {
			t.h.walk(t.env, prefix, func(p vault.Path, err error) bool {
				found[p] = err
				return true
			})
		}
		base := envDir(t.env) + "/" + secretsDir + "/"
		for name := range t.changes {
			if p, ok := strings.CutPrefix(strings.TrimSuffix(name, secretSuffix), base); ok && covers(prefix, vault.Path(p)) {
				found[vault.Path(p)] = nil
			}
		}
		for _, p := range slices.Sorted(maps.Keys(found)) {
			if err := t.ctx.Err(); err != nil {
				yield(engine.Record{Env: t.env}, err)
				return
			}
			r, err := engine.Record{Env: t.env, Path: p}, found[p]
			if err == nil {
				r, err = t.Head(p)
				if vault.KindOf(err) == vault.KindNotFound {
					continue
				}
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// covers reports whether p is at or below prefix.
func covers(prefix, p vault.Path) bool {
	return prefix == "" || p == prefix || strings.HasPrefix(string(p), string(prefix)+"/")
}

// Blob implements engine.Tx.
func (t *tx) Blob(name string) ([]byte, error) {
	if err := t.need(); err != nil {
		return nil, err
	}
	file, err := blobName(t.env, name)
	if err != nil {
		return nil, err
	}
	return t.read(file, maxSize(name))
}

// Blobs implements engine.Tx.
func (t *tx) Blobs(prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		names, err := t.blobs(prefix)
		yieldAll(t.ctx, names, err, yield)
	}
}

func (t *tx) blobs(prefix string) ([]string, error) {
	if err := t.need(); err != nil {
		return nil, err
	}
	found := map[string]bool{}
	if !t.fresh {
		names, err := t.h.blobs(t.env, prefix)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			found[name] = true
		}
	}
	base := envDir(t.env) + "/"
	for file, data := range t.changes {
		name := strings.TrimPrefix(file, base)
		if strings.HasPrefix(name, secretsDir+"/") || !strings.HasPrefix(name, prefix) {
			continue
		}
		if data == nil {
			delete(found, name)
		} else {
			found[name] = true
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// version is that of the head, and whether there is one.
func (t *tx) version(p vault.Path) (uint64, bool, error) {
	name, err := secretName(t.env, p)
	if err != nil {
		return 0, false, err
	}
	if v, ok := t.versions[name]; ok {
		return v, true, nil
	}
	head, err := t.Head(p)
	if vault.KindOf(err) == vault.KindNotFound {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	info, _, err := record.ParseHeader(head.Raw)
	if err != nil {
		return 0, true, t.h.d.fail("reading", name, err)
	}
	return info.Version, true, nil
}

// Put implements engine.Tx.
func (t *tx) Put(r engine.Record, was uint64) error {
	if err := t.need(); err != nil {
		return err
	}
	name, err := secretName(t.env, r.Path)
	if err != nil {
		return err
	}
	now, _, err := t.version(r.Path)
	if err != nil {
		return err
	}
	if now != was {
		return &vault.Error{Kind: vault.KindConflict, Env: t.env, Path: r.Path}
	}
	t.change(name, r.Raw)
	return nil
}

// Rewrap implements engine.Tx.
func (t *tx) Rewrap(r engine.Record) error {
	if err := t.need(); err != nil {
		return err
	}
	name, err := secretName(t.env, r.Path)
	if err != nil {
		return err
	}
	now, there, err := t.version(r.Path)
	switch {
	case err != nil:
		return err
	case !there:
		return &vault.Error{Kind: vault.KindNotFound, Env: t.env, Path: r.Path}
	case now != r.Version:
		return &vault.Error{Kind: vault.KindConflict, Env: t.env, Path: r.Path}
	}
	t.change(name, r.Raw)
	return nil
}

// Replace implements engine.Replacer: what stands there may hold git's marks.
func (t *tx) Replace(r engine.Record) error {
	if err := t.need(); err != nil {
		return err
	}
	name, err := secretName(t.env, r.Path)
	if err != nil {
		return err
	}
	t.change(name, r.Raw)
	return nil
}

// Forget implements engine.Tx.
func (t *tx) Forget(p vault.Path) error {
	if _, err := t.Head(p); err != nil {
		return err
	}
	name, err := secretName(t.env, p)
	if err != nil {
		return err
	}
	t.change(name, nil)
	return nil
}

// PutBlob implements engine.Tx.
func (t *tx) PutBlob(name string, raw []byte) error {
	if err := t.need(); err != nil {
		return err
	}
	file, err := blobName(t.env, name)
	if err != nil {
		return err
	}
	if raw == nil {
		raw = []byte{} // nil is "removed" here
	}
	t.change(file, raw)
	return nil
}

// DeleteBlob implements engine.Tx.
func (t *tx) DeleteBlob(name string) error {
	if _, err := t.Blob(name); err != nil {
		return err
	}
	file, err := blobName(t.env, name)
	if err != nil {
		return err
	}
	t.change(file, nil)
	return nil
}

// CreateEnv implements engine.Tx.
func (t *tx) CreateEnv() error {
	if t.there {
		return &vault.Error{Kind: vault.KindExists, Env: t.env, File: t.h.d.file(envDir(t.env))}
	}
	t.there, t.fresh = true, true
	return nil
}

// RemoveEnv implements engine.Tx.
func (t *tx) RemoveEnv() error {
	if err := t.need(); err != nil {
		return err
	}
	t.there, t.fresh = false, true
	clear(t.changes)
	clear(t.versions)
	return nil
}

const ranks = 6

// rank orders the files of a write so that a reader who comes in between finds
// keys before what they open, each once all its grants are there, and the seal
// last: it must not know of records that are not there yet.
func (t *tx) rank(c change) int {
	name := strings.TrimPrefix(c.name, envDir(t.env)+"/")
	switch {
	case c.data == nil:
		return 5
	case strings.HasPrefix(name, engine.KeysPrefix) && strings.HasSuffix(name, grantSuffix):
		return 0
	case strings.HasPrefix(name, engine.KeysPrefix):
		return 1
	case strings.HasPrefix(name, secretsDir+"/"):
		return 2
	case name == engine.SealBlob:
		return 4
	}
	return 3
}

func (t *tx) commit() error {
	var byRank [ranks][]change
	for name, data := range t.changes {
		if data == nil && t.fresh {
			continue // made and removed in one batch
		}
		c := change{name, data}
		byRank[t.rank(c)] = append(byRank[t.rank(c)], c)
	}
	var changes []change
	for _, some := range byRank {
		sort.Slice(some, func(i, j int) bool { return some[i].name < some[j].name })
		changes = append(changes, some...)
	}
	switch {
	case t.onDisk && t.fresh: // removed, and perhaps made again
		changes = slices.Insert(changes, 0, change{name: envDir(t.env)})
		return t.h.write(changes, "")
	case t.fresh && t.there:
		return t.h.write(changes, envDir(t.env))
	}
	return t.h.write(changes, "")
}

// removeEnv removes an environment and the requests for it.
func (s *store) removeEnv(ctx context.Context, env vault.Env) error {
	if err := checkEnv(env); err != nil {
		return err
	}
	h, release, err := s.hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := h.needEnv(env); err != nil {
		return err
	}
	changes := []change{{name: envDir(env)}}
	requests := requestsDir + "/" + string(env)
	there, err := h.is(requests, true)
	if err != nil {
		return err
	}
	if there {
		changes = append(changes, change{name: requests})
	}
	return h.write(changes, "")
}
