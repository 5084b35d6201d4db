package cache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"envrun/auth/agekey"
	"envrun/auth/keychain"
	"envrun/vault"
	"envrun/vault/cache"
)

var (
	errAway   = errors.New("nobody there")
	errDenied = &vault.Error{Kind: vault.KindDenied, Env: "dev"}
	errTLS    = errors.New("another certificate")
)

const canary = "canary-5d1b"

// server is what a test's server holds and says.
type server struct {
	secrets map[vault.Path]vault.Secret
	err     error  // instead of an answer
	asked   func() // while it is asked
	date    time.Time
	allows  *time.Duration
	calls   int
	hangs   bool
}

func (s *server) GetMany(ctx context.Context, env vault.Env, paths []vault.Path) ([]vault.Secret, error) {
	return s.get(ctx, env, paths, false)
}

func (s *server) GetSome(ctx context.Context, env vault.Env, paths []vault.Path) ([]vault.Secret, error) {
	return s.get(ctx, env, paths, true)
}

func (s *server) get(ctx context.Context, env vault.Env, paths []vault.Path, some bool) ([]vault.Secret, error) {
	s.calls++
	var out []vault.Secret
	var err error
	for _, path := range paths {
		secret, ok := s.secrets[path]
		if !ok && some {
			continue
		}
		if !ok && err == nil {
			err = &vault.Error{Kind: vault.KindNotFound, Env: env, Path: path}
		}
		out = append(out, secret)
	}
	if s.err != nil {
		err = s.err
	}
	if s.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if s.asked != nil {
		s.asked()
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s *server) Get(ctx context.Context, env vault.Env, path vault.Path) (vault.Secret, error) {
	all, err := s.GetMany(ctx, env, []vault.Path{path})
	if err != nil {
		return vault.Secret{}, err
	}
	return all[0], nil
}

func (s *server) List(context.Context, vault.Env, vault.Path) iter.Seq2[vault.Info, error] {
	return func(yield func(vault.Info, error) bool) { yield(vault.Info{}, s.err) }
}

func (s *server) Envs(context.Context) ([]vault.Env, error) { return nil, s.err }

func (s *server) put(path vault.Path, version uint64, tags ...string) {
	s.secrets[path] = vault.Secret{
		Info: vault.Info{Env: "dev", Path: path, Version: version, At: start.Add(time.Duration(version) * time.Second), Tags: tags,
			Fields: []vault.FieldInfo{{Name: "HIDDEN_NAME", Since: version}}},
		Values: []vault.Field{{Name: "HIDDEN_NAME", Since: version, Value: vault.NewValueString(fmt.Sprint(canary, version))}},
	}
}

// lab is a machine: its folders, its clock, its server.
type lab struct {
	t      *testing.T
	store  *cache.Store
	server *server
	clock  time.Time
	token  string
	limit  func(*time.Duration) time.Duration
	using  []cache.Facts
	unkept error
}

var start = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

func day(server *time.Duration) time.Duration {
	if server != nil {
		return *server
	}
	return 24 * time.Hour
}

func newLab(t *testing.T) *lab {
	t.Helper()
	// Not t.TempDir itself: its mode is 0777.
	dir := filepath.Join(t.TempDir(), "machine")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, clock: start, token: "hvs.one", limit: day}
	l.server = &server{secrets: map[vault.Path]vault.Secret{}}
	l.server.put("app", 1)
	l.server.put("shared/hidden-path", 1)
	l.store = storeIn(dir, func() time.Time { return l.clock })
	if _, err := l.store.Keys.Home.Create(t.Context(), "me@here", agekey.StoreFile); err != nil {
		t.Fatal(err)
	}
	return l
}

// storeIn is the store of a machine whose files are in dir. It has no keychain.
func storeIn(dir string, now func() time.Time) *cache.Store {
	state := filepath.Join(dir, "state", "offline")
	return &cache.Store{
		Dir: filepath.Join(dir, "cache", "offline"), StateDir: state, Now: now,
		Keys: &cache.Keys{Dir: state, Home: &agekey.Home{ConfigDir: filepath.Join(dir, "config")}, Now: now},
	}
}

var place = cache.Place{Server: "https://vault.example.dev", Mount: "dev", Project: "app", Env: "dev"}

func (l *lab) options() cache.Options {
	return cache.Options{
		Store: l.store, Place: place,
		Token:     func(context.Context) (string, error) { return l.token, nil },
		Away:      func(err error) bool { return errors.Is(err, errAway) },
		Withdrawn: func(err error) bool { k := vault.KindOf(err); return k == vault.KindDenied || k == vault.KindNotFound },
		Told: func() (time.Time, *time.Duration) {
			if l.server.date.IsZero() {
				return l.clock.Truncate(time.Second), l.server.allows
			}
			return l.server.date, l.server.allows
		},
		Limit:     func(d *time.Duration) time.Duration { return l.limit(d) },
		Whole:     true,
		Using:     func(f cache.Facts) { l.using = append(l.using, f) },
		Unkept:    func(err error) { l.unkept = err },
		Undropped: func(err error) { l.t.Errorf("not dropped: %v", err) },
	}
}

// run reads what a run would, as a command of its own.
func (l *lab) run(change ...func(*cache.Options)) ([]vault.Secret, error) {
	l.unkept = nil
	o := l.options()
	for _, c := range change {
		c(&o)
	}
	return cache.New(l.server, o).GetMany(l.t.Context(), "dev", []vault.Path{"app", "shared/hidden-path"})
}

// some is run with a path that is optional.
func (l *lab) some() ([]vault.Secret, error) {
	return cache.New(l.server, l.options()).GetSome(l.t.Context(), "dev", []vault.Path{"app", "optional"})
}

func (l *lab) mustRun(change ...func(*cache.Options)) []vault.Secret {
	l.t.Helper()
	s, err := l.run(change...)
	if err != nil {
		l.t.Fatal(err)
	}
	return s
}

// away runs without the server, and says which version of app came of it; 0: none.
func (l *lab) away() (uint64, error) {
	l.t.Helper()
	was := l.server.err
	l.server.err = errAway
	s, err := l.run()
	l.server.err = was
	if err != nil {
		return 0, err
	}
	if len(s) != 2 || s[0].Path != "app" || string(s[0].Values[0].Value.Reveal()) != fmt.Sprint(canary, s[0].Version) {
		l.t.Fatalf("got %v", s)
	}
	return s[0].Version, nil
}

func (l *lab) wantAway(want uint64) {
	l.t.Helper()
	if got, err := l.away(); got != want {
		l.t.Fatalf("without the server: version %d, %v; want %d", got, err, want)
	}
}

// files are the caches that lie in the folder.
func (l *lab) files() []string {
	files, _ := filepath.Glob(filepath.Join(l.store.Dir, "*.cache"))
	return files
}

func TestRule1OffWhereNothingAllowsIt(t *testing.T) {
	l := newLab(t)
	l.limit = func(d *time.Duration) time.Duration {
		if d != nil {
			return *d
		}
		return 0
	}
	l.mustRun()
	if _, err := os.Stat(l.store.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error("something was kept")
	}
	if _, err := os.Stat(l.store.StateDir); !errors.Is(err, fs.ErrNotExist) {
		t.Error("something was written")
	}
	l.wantAway(0)

	hour := time.Hour
	l.server.allows = &hour
	l.mustRun()
	l.wantAway(1) // the server has said so, which is remembered

	none := time.Duration(0)
	l.server.allows = &none
	l.mustRun()
	if len(l.files()) > 0 {
		t.Error("the server allows it no more, and it is still there")
	}
	l.server.allows = nil
	l.wantAway(0)

	// A project that says off by now is obeyed, whatever was kept before.
	l.limit = day
	l.mustRun()
	l.limit = func(*time.Duration) time.Duration { return 0 }
	l.wantAway(0)
	if len(l.files()) > 0 {
		t.Error("the project allows it no more, and it is still there")
	}
}

func TestRule1NoCache(t *testing.T) {
	l := newLab(t)
	off := func(o *cache.Options) { o.Off = true }
	l.mustRun(off)
	if len(l.files()) > 0 {
		t.Error("something was kept")
	}
	l.mustRun()
	l.server.err = errAway
	if _, err := l.run(off); !errors.Is(err, errAway) {
		t.Errorf("%v", err)
	}
	l.server.err = errDenied
	_, _ = l.run(off)
	if len(l.files()) > 0 {
		t.Error("what was taken away is still there")
	}
}

func TestRule2NeverLeasedNorTagged(t *testing.T) {
	l := newLab(t)
	for name, spoil := range map[string]func(*vault.Secret){
		"leased": func(s *vault.Secret) { s.Leased = true },
		"tagged": func(s *vault.Secret) { s.Tags = []string{"billing", cache.NoCache} },
	} {
		s := l.server.secrets["shared/hidden-path"]
		spoil(&s)
		l.server.secrets["shared/hidden-path"] = s
		l.mustRun()
		l.server.err = errAway
		_, err := l.run()
		if err == nil || !strings.Contains(err.Error(), "is never kept") {
			t.Errorf("%s: %v", name, err)
		}
		some, err := cache.New(l.server, l.options()).GetMany(t.Context(), "dev", []vault.Path{"app"})
		if err != nil || len(some) != 1 {
			t.Errorf("%s: the other one: %v", name, err)
		}
		l.server.err = nil
		l.server.put("shared/hidden-path", 1)
	}
}

func TestRule2OnlyWhatWasAskedFor(t *testing.T) {
	l := newLab(t)
	l.server.put("other", 1)
	l.mustRun()
	l.server.err = errAway
	if _, err := cache.New(l.server, l.options()).Get(t.Context(), "dev", "other"); err == nil || !strings.Contains(err.Error(), "was not asked for") {
		t.Errorf("%v", err)
	}
	if _, err := cache.New(l.server, l.options()).Get(t.Context(), "prod", "app"); err == nil {
		t.Error("another environment came out")
	}
}

func TestRule3OneFileForEach(t *testing.T) {
	l := newLab(t)
	l.mustRun()
	for n, change := range []func(*cache.Options){
		func(o *cache.Options) { o.Place.Server = "https://other.example.dev" },
		func(o *cache.Options) { o.Place.Namespace = "team" },
		func(o *cache.Options) { o.Place.Mount = "teams/dev" },
		func(o *cache.Options) { o.Place.Project = "web" },
		func(o *cache.Options) {
			o.Token = func(context.Context) (string, error) { return "hvs.two", nil }
		},
	} {
		l.server.err = errAway
		if _, err := l.run(change); err == nil {
			t.Errorf("%d: the cache of another was used", n)
		}
		l.server.err = nil
		l.mustRun(change)
		if got := len(l.files()); got != n+2 {
			t.Errorf("%d: %d files", n, got)
		}
	}
	for dir, want := range map[string]fs.FileMode{l.store.Dir: 0o700, l.store.StateDir: 0o700} {
		err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			mode := fs.FileMode(0o600)
			if d.IsDir() {
				mode = want
			}
			if runtime.GOOS != "windows" && info.Mode().Perm() != mode {
				t.Errorf("%s has mode %o", name, info.Mode().Perm())
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	tag, err := os.ReadFile(filepath.Join(l.store.Dir, "CACHEDIR.TAG"))
	if err != nil || !bytes.HasPrefix(tag, []byte("Signature: 8a477f597d28d172789f06886806bc55")) {
		t.Errorf("CACHEDIR.TAG: %q %v", tag, err)
	}
}

func TestRule3NeverInAWorkTree(t *testing.T) {
	for _, name := range []string{".git", "envrun.toml"} {
		l := newLab(t)
		root := filepath.Dir(filepath.Dir(l.store.Dir))
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		l.mustRun()
		if !errors.Is(l.unkept, cache.ErrWorkTree) || !errors.Is(l.store.Check(), cache.ErrWorkTree) || len(l.files()) > 0 {
			t.Errorf("%s: %v, %v", name, l.unkept, l.files())
		}
	}
}

func TestRule3ForOthersIsRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes say nothing here")
	}
	l := newLab(t)
	l.mustRun()
	for _, name := range []string{l.files()[0], l.store.Dir, l.store.StateDir} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, 0o755); err != nil {
			t.Fatal(err)
		}
		l.server.err = errAway
		var insecure *agekey.InsecureError
		_, err = l.run()
		if err == nil {
			t.Errorf("%s of mode 755 was used", name)
		}
		if name != l.store.StateDir && !errors.As(err, &insecure) {
			t.Errorf("%s: %v", name, err)
		}
		if err := os.Chmod(name, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
	l.wantAway(1)
}

func TestRule4NothingInClear(t *testing.T) {
	l := newLab(t)
	delete(l.server.secrets, "shared/hidden-path")
	l.server.put("shared/hidden-path", 3)
	l.mustRun()
	r := cache.New(l.server, l.options())
	_, _ = r.GetMany(t.Context(), "dev", []vault.Path{"app", "hidden-absent"})
	if _, err := r.GetMany(t.Context(), "dev", []vault.Path{"app", "shared/hidden-path"}); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{l.store.Dir, l.store.StateDir} {
		err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(name)
			for _, word := range []string{canary, "HIDDEN_NAME", "hidden", l.token} {
				if bytes.Contains(text, []byte(word)) || strings.Contains(name, word) {
					t.Errorf("%s holds %s", name, word)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(l.files()) != 1 {
		t.Fatal(l.files())
	}
}

// Whatever byte of a cache is changed, and wherever it is cut off, nothing of it is used.
func TestRule4EveryByteCounts(t *testing.T) {
	l := newLab(t)
	l.mustRun()
	file := l.files()[0]
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	step := 1
	if testing.Short() {
		step = 17
	}
	for i := 0; i < len(good); i += step {
		tries := [][]byte{slices.Concat(good[:i], []byte{good[i] ^ 1}, good[i+1:])}
		if i%64 < step {
			tries = append(tries, good[:i])
		}
		for _, bad := range tries {
			if err := os.WriteFile(file, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if v, err := l.away(); err == nil {
				t.Fatalf("byte %d of %d: version %d came out", i, len(good), v)
			}
		}
	}
	if err := os.WriteFile(file, good, 0o600); err != nil {
		t.Fatal(err)
	}
	l.wantAway(1)
}

// Somebody who can write the folder of caches alone makes a file of their own, for
// the same public key; or puts back one that was there.
func TestRule4AnotherFileIsNotUsed(t *testing.T) {
	l := newLab(t)
	l.mustRun()
	old, err := os.ReadFile(l.files()[0])
	if err != nil {
		t.Fatal(err)
	}
	l.clock = l.clock.Add(time.Minute)
	l.server.put("app", 2)
	l.mustRun()
	if err := os.WriteFile(l.files()[0], old, 0o600); err != nil {
		t.Fatal(err)
	}
	l.wantAway(0)
}

// chest is a keychain that works, in memory.
type chest struct {
	mu    sync.Mutex
	items map[string][]byte
	none  bool // it can not be used
	asked int  // how often for a secret
}

func (c *chest) Open(string) (keychain.Keychain, error) { return c, nil }
func (c *chest) Choose(context.Context) (keychain.Keychain, []keychain.Rejection, error) {
	if c.none {
		return nil, nil, keychain.ErrNone
	}
	return c, nil, nil
}
func (c *chest) Name() string { return keychain.SecretService }
func (c *chest) Get(_ context.Context, key string) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	if b, ok := c.items[key]; ok {
		return bytes.Clone(b), nil
	}
	return nil, keychain.ErrNotFound
}
func (c *chest) Set(_ context.Context, key string, secret []byte) error {
	c.items[key] = bytes.Clone(secret)
	return nil
}
func (c *chest) Delete(_ context.Context, key string) error {
	if _, ok := c.items[key]; !ok {
		return keychain.ErrNotFound
	}
	delete(c.items, key)
	return nil
}

func TestRule4TheKeychainOpensIt(t *testing.T) {
	l := newLab(t)
	c := &chest{items: map[string][]byte{}}
	l.store.Keys.Keychains, l.store.Keys.Asking = c, c
	for v := range uint64(5) {
		l.server.put("app", v+1)
		l.clock = l.clock.Add(time.Minute)
		l.mustRun()
	}
	if c.asked > 0 || len(c.items) != 1 {
		t.Errorf("to write, the keychain was asked %d times; it holds %d keys", c.asked, len(c.items))
	}
	l.wantAway(5)
	if c.asked != 1 {
		t.Errorf("to read, it was asked %d times", c.asked)
	}
	stolen := c.items
	c.items = map[string][]byte{}
	l.wantAway(0)
	c.items = stolen

	// With the key gone, another is made for the next cache.
	l.server.put("app", 6)
	l.mustRun()
	l.wantAway(6)
	if len(c.items) != 2 {
		t.Errorf("%d keys", len(c.items))
	}

	if n, err := l.store.Clear(t.Context(), nil); n != 1 || err != nil {
		t.Errorf("cleared %d, %v", n, err)
	}
	if len(l.files()) > 0 || len(c.items) != 1 {
		t.Errorf("%v and %d keys are left", l.files(), len(c.items))
	}
	l.wantAway(0)
}

// Without a keychain and an identity nothing is kept, and a search is not repeated
// at each start.
func TestRule4NothingToEncryptFor(t *testing.T) {
	l := newLab(t)
	c := &chest{none: true}
	l.store.Keys.Home, l.store.Keys.Keychains = nil, c
	l.mustRun()
	if len(l.files()) > 0 || !errors.Is(l.unkept, cache.ErrNoKey) {
		t.Errorf("something was kept: %v", l.unkept)
	}
	c.none, c.items = false, map[string][]byte{}
	l.mustRun()
	if len(l.files()) > 0 {
		t.Error("it looked again at once")
	}
	l.clock = l.clock.Add(25 * time.Hour)
	l.mustRun()
	if len(l.files()) != 1 {
		t.Error("it did not look again a day later")
	}
}

func TestRule5UsedOnlyWhenAway(t *testing.T) {
	l := newLab(t)
	l.mustRun()
	for _, err := range []error{errTLS, errors.New("sealed"), &vault.Error{Kind: vault.KindUnavailable, Detail: "status 500"}, context.Canceled} {
		l.server.err = err
		if _, got := l.run(); !errors.Is(got, err) {
			t.Errorf("%v: %v", err, got)
		}
	}
	l.server.err = nil
	l.wantAway(1)
	if len(l.using) != 1 {
		t.Errorf("announced %d times", len(l.using))
	}
}

// A server that does not answer is not waited for as long as where nothing is kept.
func TestRule5Patience(t *testing.T) {
	l := newLab(t)
	l.mustRun()
	l.server.hangs = true
	s := l.mustRun(func(o *cache.Options) { o.Patience = time.Millisecond })
	if len(s) != 2 || len(l.using) != 1 {
		t.Errorf("%v, announced %d times", s, len(l.using))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := cache.New(l.server, l.options()).GetMany(ctx, "dev", []vault.Path{"app"}); !errors.Is(err, context.Canceled) {
		t.Errorf("called off: %v", err)
	}
}

func TestRule5WithdrawnIsDeletedAtOnce(t *testing.T) {
	gone := func(path vault.Path) error {
		return &vault.Error{Kind: vault.KindNotFound, Env: "dev", Path: path}
	}
	for name, c := range map[string]struct {
		err   error
		stays bool
	}{
		"denied":                   {errDenied, false},
		"one that is kept":         {gone("shared/hidden-path"), false},
		"one that was never there": {gone("shared/typo"), true},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.mustRun()
			l.server.err = c.err
			if _, err := l.run(); !errors.Is(err, c.err) {
				t.Fatal(err)
			}
			if kept := len(l.files()); (kept > 0) != c.stays {
				t.Errorf("%d files", kept)
			}
			l.server.err = nil
			if v, _ := l.away(); (v > 0) != c.stays {
				t.Errorf("without the server: version %d", v)
			}
		})
	}
}

// A rule that is optional asks, each time, for what is not there.
func TestRule5OptionalAndNotThere(t *testing.T) {
	l := newLab(t)
	both := func() error {
		r := cache.New(l.server, l.options())
		_, err := r.GetMany(t.Context(), "dev", []vault.Path{"app", "optional"})
		if vault.KindOf(err) != vault.KindNotFound {
			return fmt.Errorf("optional: %w", err)
		}
		_, err = r.GetMany(t.Context(), "dev", []vault.Path{"app"})
		return err
	}
	for range 3 {
		if err := both(); err != nil {
			t.Fatal(err)
		}
	}
	files := l.files()
	if len(files) != 1 || !strings.HasSuffix(files[0], ".2.cache") {
		t.Errorf("it was written anew each time: %v", files)
	}
	l.server.err = errAway
	if err := both(); err != nil {
		t.Errorf("without the server: %v", err)
	}
}

// So it is where the server is asked for what is there.
func TestRule5Some(t *testing.T) {
	l := newLab(t)
	want := func(n int) {
		t.Helper()
		if s, err := l.some(); err != nil || len(s) != n {
			t.Errorf("got %v, %v; want %d", s, err, n)
		}
	}
	want(1)
	want(1)
	if files := l.files(); len(files) != 1 || !strings.HasSuffix(files[0], ".2.cache") {
		t.Errorf("it was written anew each time: %v", files)
	}
	l.server.err = errAway
	want(1)
	l.server.err = nil
	l.server.put("optional", 1)
	want(2)
	l.server.err = errAway
	want(2)

	// It is taken away, and nothing can be kept instead.
	l.server.err = nil
	delete(l.server.secrets, "optional")
	l.server.asked = func() {
		if err := os.Chmod(l.store.Dir, 0o755); err != nil && runtime.GOOS != "windows" {
			t.Error(err)
		}
	}
	want(1)
	l.server.asked = nil
	if runtime.GOOS != "windows" && len(l.files()) > 0 {
		t.Error("what was taken away is still there")
	}
}

func TestRule6Expiry(t *testing.T) {
	l := newLab(t)
	l.mustRun()
	l.clock = start.Add(24*time.Hour - time.Second)
	l.wantAway(1)
	l.clock = start.Add(24 * time.Hour)
	var expired *cache.ExpiredError
	if _, err := l.away(); !errors.As(err, &expired) || !errors.Is(err, errAway) {
		t.Errorf("%v", err)
	}
	if len(l.files()) > 0 {
		t.Error("what has ended is still there")
	}
	l.clock = start.Add(time.Hour)
	l.wantAway(0)
}

func TestRule6TheServersTimeCounts(t *testing.T) {
	l := newLab(t)
	l.server.date = start.Add(-72 * time.Hour) // our clock is three days ahead
	l.mustRun()
	l.clock = start.Add(23 * time.Hour)
	l.wantAway(1)
	l.clock = start.Add(25 * time.Hour)
	l.wantAway(0)
}

// A clock that is set back does not give a cache more time.
func TestRule6ClockSetBack(t *testing.T) {
	l := newLab(t)
	l.mustRun()
	l.clock = start.Add(20 * time.Hour)
	l.wantAway(1)
	for _, back := range []time.Duration{-time.Hour, 0, 10 * time.Hour, 19 * time.Hour} {
		l.clock = start.Add(back)
		if _, err := l.away(); !errors.Is(err, cache.ErrClock) {
			t.Errorf("set to %v: %v", back, err)
		}
	}
	// A little is what clocks are corrected by. It gives no time either.
	l.clock = start.Add(20*time.Hour - 30*time.Second)
	l.wantAway(1)
	l.clock = start.Add(24*time.Hour - 10*time.Second)
	l.wantAway(1)

	// A clock that was wrong for a while is right again when the server has answered.
	l.clock = start.Add(21 * time.Hour)
	l.mustRun()
	l.wantAway(1)
}

// The newest time that a server has said counts too, though nothing was written for it.
func TestRule6NewestTimeOfTheServer(t *testing.T) {
	l := newLab(t)
	l.mustRun()
	l.clock = start.Add(2 * time.Hour)
	l.mustRun()
	if files := l.files(); len(files) != 1 || !strings.HasSuffix(files[0], ".1.cache") {
		t.Fatalf("it was written anew: %v", files)
	}
	l.clock = start.Add(time.Hour)
	if _, err := l.away(); !errors.Is(err, cache.ErrClock) {
		t.Errorf("%v", err)
	}
}

func TestRule6RenewedWhileTheServerAnswers(t *testing.T) {
	l := newLab(t)
	for hour := range 100 {
		l.clock = start.Add(time.Duration(hour) * time.Hour)
		l.mustRun()
	}
	l.clock = l.clock.Add(20 * time.Hour)
	l.wantAway(1)
}

func TestRule7ReadOnly(t *testing.T) {
	var r any = cache.New(&server{}, cache.Options{})
	if _, ok := r.(vault.Writer); ok {
		t.Error("a cache can be written to")
	}
	if _, ok := r.(vault.EnvKeeper); ok {
		t.Error("a cache makes environments")
	}
}

func TestRule8OnlyACompleteAnswer(t *testing.T) {
	l := newLab(t)
	l.mustRun()
	l.server.put("app", 2)
	l.mustRun(func(o *cache.Options) { o.Whole = false })
	l.wantAway(1)

	delete(l.server.secrets, "shared/hidden-path")
	if _, err := l.run(); err == nil {
		t.Fatal("it is not there")
	}
	l.wantAway(0)
}

// The answer that was asked for first comes last.
func TestRule8NeverByAnOlder(t *testing.T) {
	l := newLab(t)
	l.mustRun()
	l.clock = l.clock.Add(time.Minute)
	other := *l.server
	other.secrets = map[vault.Path]vault.Secret{}
	second := &lab{t: t, store: l.store, server: &other, clock: l.clock, token: l.token, limit: day}
	other.put("app", 3)
	other.put("shared/hidden-path", 1)
	l.server.put("app", 2)
	l.server.asked = func() { second.mustRun() }
	l.mustRun()
	l.server.asked = nil
	l.wantAway(3)

	// Nor by a server whose time is before that of the answer which is kept.
	l.server.put("app", 4)
	l.server.date = l.clock.Add(-time.Second)
	l.mustRun()
	l.wantAway(3)
}

// What was taken away does not come back with an answer that was under way.
func TestRule8NothingComesBack(t *testing.T) {
	l := newLab(t)
	l.mustRun()
	l.server.put("app", 2)
	refused := &lab{t: t, store: l.store, server: &server{err: errDenied}, clock: l.clock, token: l.token, limit: day}
	l.server.asked = func() {
		if _, err := refused.run(); !errors.Is(err, errDenied) {
			t.Error(err)
		}
	}
	l.mustRun()
	if len(l.files()) > 0 {
		t.Error("it came back")
	}
	l.server.asked = nil
	l.wantAway(0)
}

func TestRule8ManyAtOnce(t *testing.T) {
	l := newLab(t)
	var wg sync.WaitGroup
	for n := range 16 {
		wg.Go(func() {
			own := &lab{t: t, store: l.store, clock: start.Add(time.Duration(n) * time.Second), token: l.token, limit: day}
			own.server = &server{secrets: map[vault.Path]vault.Secret{}}
			for round := range 5 {
				own.server.put("app", uint64(n*5+round+1))
				own.server.put("shared/hidden-path", 1)
				own.mustRun()
				if v, err := own.away(); err != nil || v == 0 {
					t.Errorf("without the server: %d, %v", v, err)
				}
			}
		})
	}
	wg.Wait()
	if len(l.files()) != 1 {
		t.Errorf("left: %v", l.files())
	}
	temps, _ := filepath.Glob(filepath.Join(l.store.Dir, "*.tmp-*"))
	if len(temps) > 0 {
		t.Errorf("left: %v", temps)
	}
}

// killVariable has this test program keep a second answer and end at a step of it,
// as kill -9 would.
const killVariable = "CACHE_TEST_KILL"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killVariable); dir != "" {
		killed(dir, os.Getenv(killVariable+"_STEP"))
	}
	os.Exit(m.Run())
}

func killed(dir, step string) {
	s := &server{secrets: map[vault.Path]vault.Secret{}}
	s.put("app", 2)
	s.put("shared/hidden-path", 1)
	now := func() time.Time { return start.Add(time.Minute) }
	store := storeIn(dir, now)
	store.OnStep(func(at string) {
		if at == step {
			self, _ := os.FindProcess(os.Getpid())
			_ = self.Kill()
			select {}
		}
	})
	if step == "dropped" {
		s.err = errDenied
	}
	r := cache.New(s, cache.Options{
		Store: store, Place: place, Whole: true,
		Token:     func(context.Context) (string, error) { return "hvs.one", nil },
		Away:      func(error) bool { return false },
		Withdrawn: func(error) bool { return true },
		Told:      func() (time.Time, *time.Duration) { return now(), nil },
		Limit:     day,
	})
	_, _ = r.GetMany(context.Background(), "dev", []vault.Path{"app", "shared/hidden-path"})
	os.Exit(3) // it was to be killed
}

// After kill -9 between any two steps there is the old cache or the new one, or, of
// one that was taken away, none.
func TestRule8Killed(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for step, want := range map[string]uint64{"begun": 1, "written": 1, "kept": 2, "dropped": 0} {
		t.Run(step, func(t *testing.T) {
			l := newLab(t)
			l.mustRun()
			cmd := exec.CommandContext(t.Context(), self)
			cmd.Env = append(os.Environ(), killVariable+"="+filepath.Dir(filepath.Dir(l.store.Dir)), killVariable+"_STEP="+step)
			var exit *exec.ExitError
			if out, err := cmd.CombinedOutput(); !errors.As(err, &exit) || exit.ExitCode() == 3 {
				t.Fatalf("it was not killed: %v: %s", err, out)
			}
			l.clock = start.Add(2 * time.Minute)
			l.wantAway(want)
			l.clock = start.Add(3 * time.Minute)
			l.server.put("app", 3)
			l.mustRun()
			l.wantAway(3)
			if len(l.files()) != 1 {
				t.Errorf("left: %v", l.files())
			}
		})
	}
}

func TestRule9Announced(t *testing.T) {
	l := newLab(t)
	l.mustRun()
	calls := l.server.calls
	offline := func(o *cache.Options) { o.Offline = true }
	l.mustRun(offline)
	if l.server.calls != calls {
		t.Error("the server was asked")
	}
	if len(l.using) != 1 || !l.using[0].Fetched.Equal(start) || !l.using[0].Expires.Equal(start.Add(24*time.Hour)) || l.using[0].Place != place {
		t.Errorf("announced: %+v", l.using)
	}
	entries, err := l.store.List()
	if err != nil || len(entries) != 1 || entries[0].Place != place || entries[0].Expired {
		t.Errorf("listed: %+v %v", entries, err)
	}
	if n, err := l.store.Clear(t.Context(), func(f cache.Facts) bool { return f.Env == "prod" }); n != 0 || err != nil {
		t.Errorf("cleared %d of another environment, %v", n, err)
	}
	if n, err := l.store.Clear(t.Context(), func(f cache.Facts) bool { return f.Place == place }); n != 1 || err != nil {
		t.Errorf("cleared %d, %v", n, err)
	}
	if _, err := l.run(offline); !errors.Is(err, cache.ErrNone) {
		t.Errorf("%v", err)
	}
}

// What is kept of a project that allows less by now ends sooner.
func TestRule6TheProjectShortens(t *testing.T) {
	l := newLab(t)
	l.mustRun()
	l.limit = func(*time.Duration) time.Duration { return time.Hour }
	l.clock = start.Add(59 * time.Minute)
	l.wantAway(1)
	l.clock = start.Add(time.Hour)
	l.wantAway(0)
}
