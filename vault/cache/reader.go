package cache

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"envrun/vault"
	"envrun/vault/seal"
)

// Options say how a server is read with a cache beside it.
type Options struct {
	Store *Store
	Place Place

	// Token is what the server is shown, "" for nothing: then nothing is kept.
	Token func(context.Context) (string, error)

	// Away and Withdrawn judge the server's errors: that it was not met at all, and
	// that it has said what was asked for is not for this token, or not there.
	Away      func(error) bool
	Withdrawn func(error) bool

	// Told is what the server has said so far: its time, zero if it did not say,
	// and how long its secrets may be kept, nil likewise. Limit is how long that is
	// then, 0 for not at all.
	Told  func() (time.Time, *time.Duration)
	Limit func(server *time.Duration) time.Duration

	// Whole says that what will be asked for is all that a run asks for: only that
	// is kept, since it takes the place of what was.
	Whole bool

	Offline bool // the server is not asked
	Off     bool // nothing is kept or used; what a server takes away goes all the same

	// Patience is how long the server is waited for where something is kept; 0: 5 s.
	Patience time.Duration

	// Using is told once, before anything kept is handed out.
	Using func(Facts)
	// Unkept is told why something was not kept that could have been, and Undropped
	// why something is still there that was to go. Nothing else comes of it.
	Unkept, Undropped func(error)
}

// Reader is a server's vault.Reader with a cache. It is read through one command:
// once something that was kept is handed out, all else is from the cache too.
type Reader struct {
	server Server
	o      Options

	mu     sync.Mutex
	who    *subject // nil: nobody
	name   string
	begun  state
	ready  bool
	absent []vault.Path // the server said so in this command
	kept   *kept
}

// Server is what is wrapped.
type Server interface {
	vault.Reader
	vault.SomeReader
}

var _ Server = (*Reader)(nil)

// New wraps a server, and does nothing else.
func New(server Server, o Options) *Reader {
	if o.Patience <= 0 {
		o.Patience = 5 * time.Second
	}
	return &Reader{server: server, o: o}
}

// begin finds out whose cache it is and in what state, before the server is asked.
func (r *Reader) begin(ctx context.Context) error {
	if r.ready {
		return nil
	}
	token, err := r.o.Token(ctx)
	if err != nil {
		return err
	}
	if r.ready = true; token == "" {
		return nil
	}
	r.who = &subject{seal.SubjectKey(token)}
	r.name = r.who.name(r.o.Place)
	r.begun, err = r.o.Store.load(r.name)
	if err != nil {
		r.who = nil // what cannot be read is not written over
		r.unkept(err)
	}
	return nil
}

func (r *Reader) unkept(err error) {
	if err != nil && r.o.Unkept != nil {
		r.o.Unkept(err)
	}
}

func (r *Reader) undropped(err error) {
	if err != nil && r.o.Undropped != nil {
		r.o.Undropped(err)
	}
}

// Get implements vault.Reader.
func (r *Reader) Get(ctx context.Context, env vault.Env, path vault.Path) (vault.Secret, error) {
	s, err := r.GetMany(ctx, env, []vault.Path{path})
	if err != nil {
		return vault.Secret{}, err
	}
	return s[0], nil
}

// GetMany implements vault.Reader.
func (r *Reader) GetMany(ctx context.Context, env vault.Env, paths []vault.Path) ([]vault.Secret, error) {
	return r.get(ctx, env, paths, false)
}

// GetSome implements vault.SomeReader.
func (r *Reader) GetSome(ctx context.Context, env vault.Env, paths []vault.Path) ([]vault.Secret, error) {
	return r.get(ctx, env, paths, true)
}

// get is GetSome, or GetMany.
func (r *Reader) get(ctx context.Context, env vault.Env, paths []vault.Path, some bool) ([]vault.Secret, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if env != r.o.Place.Env {
		switch {
		case r.kept != nil || r.o.Offline:
			return nil, &vault.Error{Kind: vault.KindUnavailable, Env: env, Detail: "is not what is kept"}
		case some:
			return r.server.GetSome(ctx, env, paths)
		}
		return r.server.GetMany(ctx, env, paths)
	}
	if r.kept != nil {
		return r.kept.pick(paths, some)
	}
	var away error
	if !r.o.Offline {
		secrets, err := r.ask(ctx, env, paths, some)
		if err == nil || !r.isAway(ctx, err) {
			return secrets, err
		}
		away = err
	}
	if err := r.open(ctx); err != nil {
		if away != nil && (errors.Is(err, ErrNone) || errors.Is(err, ErrOff)) {
			return nil, away
		}
		return nil, &UnusableError{away, err}
	}
	return r.kept.pick(paths, some)
}

func (r *Reader) isAway(ctx context.Context, err error) bool {
	late := (*lateError)(nil)
	return ctx.Err() == nil && (errors.As(err, &late) || r.o.Away(err))
}

// lateError is the end of our patience.
type lateError struct{ after time.Duration }

func (e *lateError) Error() string { return fmt.Sprintf("no answer within %v", e.after) }

// ask asks the server, and does with the cache what the answer asks for.
func (r *Reader) ask(ctx context.Context, env vault.Env, paths []vault.Path, some bool) ([]vault.Secret, error) {
	if err := r.begin(ctx); err != nil {
		return nil, err
	}
	limited := ctx
	if r.begun.File != "" {
		late := &vault.Error{Kind: vault.KindUnavailable, Env: env, Detail: r.o.Place.Server, Err: &lateError{r.o.Patience}}
		c, cancel := context.WithTimeoutCause(ctx, r.o.Patience, late)
		defer cancel()
		limited = c
	}
	get := r.server.GetMany
	if some {
		get = r.server.GetSome
	}
	secrets, err := get(limited, env, paths)
	switch {
	case err == nil:
		r.undropped(r.notThere(ctx, paths, secrets))
		r.unkept(r.keep(ctx, secrets))
	case ctx.Err() == nil && limited.Err() != nil && errors.Is(err, limited.Err()):
		err = context.Cause(limited)
	case r.o.Withdrawn(err):
		r.undropped(r.withdrawn(ctx, err))
	}
	return secrets, err
}

// notThere drops a cache of which the server has left something out.
func (r *Reader) notThere(ctx context.Context, paths []vault.Path, found []vault.Secret) error {
	for _, path := range paths {
		if r.who == nil || slices.ContainsFunc(found, func(s vault.Secret) bool { return s.Path == path }) {
			continue
		}
		if err := r.withdrawn(ctx, &vault.Error{Kind: vault.KindNotFound, Path: path}); err != nil {
			return err
		}
	}
	return nil
}

// withdrawn drops the cache. That one secret is not there says nothing of a cache
// without it.
func (r *Reader) withdrawn(ctx context.Context, err error) error {
	if r.who == nil {
		return nil
	}
	stays := false
	if ve := (*vault.Error)(nil); errors.As(err, &ve) && ve.Kind == vault.KindNotFound && ve.Path != "" {
		r.absent = append(r.absent, ve.Path)
		if slices.Contains(r.begun.Absent, r.who.absent(ve.Path)) {
			return nil
		}
		stays = !slices.Contains(r.begun.Paths, r.who.there(ve.Path))
	}
	if r.begun.Turn == 0 && !r.mayKeep() {
		return nil // where nothing is ever kept nothing is written either
	}
	return r.drop(ctx, stays)
}

func (r *Reader) drop(ctx context.Context, keep bool) error {
	st, err := r.o.Store.drop(ctx, r.name, keep)
	if err == nil {
		r.begun = st
	}
	return err
}

func (r *Reader) mayKeep() bool {
	_, server := r.o.Told()
	return !r.o.Off && r.o.Limit(server) > 0
}

// keep keeps a complete good answer, where it says something new.
func (r *Reader) keep(ctx context.Context, secrets []vault.Secret) error {
	if r.who == nil {
		return nil
	}
	date, server := r.o.Told()
	limit := r.o.Limit(server)
	if limit <= 0 && r.begun.File != "" {
		return r.drop(ctx, false)
	}
	if limit <= 0 || r.o.Off || !r.o.Whole || len(secrets) == 0 {
		return nil
	}
	slices.Sort(r.absent)
	a := answer{slices.Clone(secrets), slices.Compact(r.absent)}
	sort.Slice(a.secrets, func(i, j int) bool { return a.secrets[i].Path < a.secrets[j].Path })
	now := r.o.Store.now()
	if date.IsZero() {
		date = now
	}
	next := r.begun
	next.Fetched, next.Expires, next.Server = date, date.Add(limit), server
	next.Newest, next.Used, next.Ahead = date, time.Time{}, 0
	if ahead := date.Sub(now); ahead.Abs() > 2*time.Second { // the date of an answer has no fractions
		next.Ahead = ahead
	}
	next.Stamp, next.Paths, next.Absent = r.who.stamp(a), nil, nil
	for _, secret := range a.secrets {
		next.Paths = append(next.Paths, r.who.there(secret.Path))
	}
	for _, path := range a.absent {
		next.Absent = append(next.Absent, r.who.absent(path))
	}
	late := next.Expires.Sub(r.begun.Expires)
	if r.begun.File != "" && next.Stamp == r.begun.Stamp && late >= 0 && late < limit/8 && r.isThere() {
		if date.Sub(r.begun.Newest) < time.Minute && r.begun.Used.IsZero() {
			return nil
		}
		same := r.begun
		same.Newest, same.Used, same.Ahead = next.Newest, next.Used, next.Ahead
		return r.o.Store.keep(r.name, r.begun, same, nil)
	}
	next.File = ""
	err := r.o.Store.keep(r.name, r.begun, next, func() ([]byte, error) {
		to, key, err := r.o.Store.Keys.sealer(ctx)
		if err != nil {
			return nil, err
		}
		f := Facts{Place: r.o.Place, Subject: r.who.String(), Fetched: next.Fetched, Expires: next.Expires, Newest: next.Newest, Key: key}
		return encode(ctx, f, r.name, to, a)
	})
	return err
}

func (r *Reader) isThere() bool {
	_, err := os.Lstat(r.o.Store.file(r.begun.File))
	return err == nil
}

// open opens what is kept, if it may still be used.
func (r *Reader) open(ctx context.Context) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	if r.o.Off {
		return ErrOff
	}
	if r.who == nil {
		return ErrNone
	}
	raw, expires, err := r.current(ctx)
	if err != nil {
		return err
	}
	k, err := decode(ctx, raw, r.name, r.o.Store.Keys.opener)
	if err != nil {
		return err
	}
	if k.Place != r.o.Place || k.Subject != r.who.String() {
		return &vault.Error{Kind: vault.KindTampered, Env: r.o.Place.Env, Detail: "the cache is of another place"}
	}
	k.Expires = expires
	if r.o.Using != nil {
		r.o.Using(k.Facts)
	}
	r.kept = k
	return nil
}

// current is the file that counts and may still be used, and until when. That it
// was used now is written down first: a clock that is set back later is noticed.
func (r *Reader) current(ctx context.Context) (raw []byte, expires time.Time, err error) {
	fail := func(err error) ([]byte, time.Time, error) { return nil, time.Time{}, err }
	s := r.o.Store
	unlock, err := s.lock(ctx)
	if err != nil {
		return fail(err)
	}
	defer unlock()
	st, err := s.load(r.name)
	if err != nil {
		return fail(err)
	}
	if raw, err = s.read(st); err != nil {
		return fail(err)
	}
	f, _, _, _, err := split(raw)
	if err != nil {
		return fail(err)
	}
	limit := r.o.Limit(st.Server)
	if limit <= 0 {
		_, err := s.dropLocked(r.name, st)
		return fail(errors.Join(ErrOff, err))
	}
	expires = f.Expires
	if end := f.Fetched.Add(limit); end.Before(expires) {
		expires = end // the project allows less by now
	}
	now := s.now().Add(st.Ahead)
	for _, passed := range []time.Time{f.Newest, st.Newest, st.Used} {
		if now.Before(passed.Add(-slack)) {
			return fail(ErrClock)
		}
		if now.Before(passed) {
			now = passed
		}
	}
	if !now.Before(expires) {
		_, err := s.dropLocked(r.name, st)
		return fail(errors.Join(&ExpiredError{expires}, err))
	}
	st.Used = now
	return raw, expires, s.save(r.name, st)
}

// slack is what clocks are corrected by in the course of a day. A cache lives no
// longer for it: of two times the later counts.
const slack = time.Minute

// List implements vault.Reader: of what is kept, once that is used.
func (r *Reader) List(ctx context.Context, env vault.Env, prefix vault.Path) iter.Seq2[vault.Info, error] {
	return func(yield func(vault.Info, error) bool) {
		r.mu.Lock()
		k := r.kept
		var err error
		if k == nil && r.o.Offline {
			if err = r.open(ctx); err != nil {
				err = &UnusableError{nil, err}
			}
			k = r.kept
		}
		r.mu.Unlock()
		switch {
		case err != nil:
			yield(vault.Info{}, err)
			return
		case k == nil:
			r.server.List(ctx, env, prefix)(yield)
			return
		case env != k.Env:
			return
		}
		var paths []string
		for path := range k.secrets {
			if prefix == "" || path == prefix || strings.HasPrefix(string(path), string(prefix)+"/") {
				paths = append(paths, string(path))
			}
		}
		slices.Sort(paths)
		for _, path := range paths {
			if !yield(k.secrets[vault.Path(path)].Info, nil) {
				return
			}
		}
	}
}

// Envs implements vault.Reader: the one that is kept, once that is used.
func (r *Reader) Envs(ctx context.Context) ([]vault.Env, error) {
	r.mu.Lock()
	using := r.kept != nil || r.o.Offline
	r.mu.Unlock()
	if using {
		return []vault.Env{r.o.Place.Env}, nil
	}
	return r.server.Envs(ctx)
}
