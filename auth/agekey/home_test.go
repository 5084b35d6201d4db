package agekey_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"

	"envrun/auth/agekey"
	"envrun/auth/keychain"
	"envrun/auth/keychain/keychaintest"
)

var created = time.Date(2026, 2, 11, 9, 14, 3, 999, time.UTC)

// newHome is an empty home with keychains that work.
func newHome(t testing.TB) (*agekey.Home, *chains) {
	t.Helper()
	c := &chains{Dir: t.TempDir(), Names: []string{"secret-service", "pass", "kernel"}}
	return homeAt(filepath.Join(t.TempDir(), "config", "envrun"), c), c
}

func homeAt(dir string, c *chains) *agekey.Home {
	return &agekey.Home{
		ConfigDir:  dir,
		Keychains:  c,
		Now:        func() time.Time { return created },
		WorkFactor: 2, // of a test: no protection
	}
}

// chains are the keychains of a machine.
type chains = keychaintest.Folders

func create(t testing.TB, h *agekey.Home, store string) agekey.Facts {
	t.Helper()
	f, err := h.Create(t.Context(), "alice@laptop", store)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func load(t testing.TB, h *agekey.Home) *agekey.Identity {
	t.Helper()
	id, err := h.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// onUnix skips what is about permissions where there are none.
func onUnix(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("permissions are of Unix")
	}
}

func TestNone(t *testing.T) {
	h, _ := newHome(t)
	for range 2 {
		if _, err := h.Facts(); !errors.Is(err, agekey.ErrNone) {
			t.Errorf("facts: %v", err)
		}
		if _, err := h.Load(t.Context()); !errors.Is(err, agekey.ErrNone) {
			t.Errorf("load: %v", err)
		}
		// Looking makes nothing.
		if _, err := os.Stat(h.ConfigDir); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	for name, err := range map[string]error{
		"move":      second(h.Move(t.Context(), "file")),
		"protect":   h.Protect(t.Context(), []byte("x")),
		"unprotect": h.Unprotect(t.Context()),
		"lock":      h.Lock(t.Context()),
		"clean":     second(h.Clean(t.Context())),
	} {
		if !errors.Is(err, agekey.ErrNone) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestCreate(t *testing.T) {
	for _, store := range []string{"file", "secret-service", "pass", ""} {
		t.Run("store "+store, func(t *testing.T) {
			h, c := newHome(t)
			var rejected []keychain.Rejection
			h.Rejected = func(r []keychain.Rejection) { rejected = r }
			f := create(t, h, store)
			want := store
			if store == "" {
				want = "secret-service"
				if len(rejected) != 1 {
					t.Errorf("rejected %v", rejected)
				}
			}
			if f.Store != want || f.Member != "alice@laptop" || f.Protected || (f.Key == "") != (want == "file") || len(f.Leftover) > 0 {
				t.Errorf("got %+v", f)
			}
			if !f.Created.Equal(created.Truncate(time.Second)) {
				t.Errorf("created %v", f.Created)
			}
			id := load(t, h)
			if !id.PostQuantum() || id.Recipient() != f.Recipient {
				t.Errorf("got recipient %.20s", id.Recipient())
			}
			calls := c.Calls.Load()
			again, err := h.Facts()
			if err != nil || !reflect.DeepEqual(again, f) {
				t.Errorf("facts are\n%+v, %v, want\n%+v", again, err, f)
			}
			if c.Calls.Load() != calls {
				t.Error("reading the facts asks a keychain")
			}
			// The secret is in its store and nowhere else.
			secret := []byte(id.Reveal())
			files, _ := filepath.Glob(filepath.Join(h.ConfigDir, "*"))
			for _, name := range files {
				b, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				if got, want := bytes.Contains(b, secret), name == h.File(); got != want {
					t.Errorf("%s: holds the secret: %v", name, got)
				}
				fi, _ := os.Stat(name)
				if runtime.GOOS != "windows" && fi.Mode().Perm() != 0o600 {
					t.Errorf("%s: mode %v", name, fi.Mode())
				}
			}
			if fi, _ := os.Stat(h.ConfigDir); runtime.GOOS != "windows" && fi.Mode().Perm() != 0o700 {
				t.Errorf("folder has mode %v", fi.Mode())
			}
			if n := len(c.Holds(t)); n != 1 && want != "file" || n != 0 && want == "file" {
				t.Errorf("keychains hold %v", c.Holds(t))
			}

			// Never overwritten, by whichever store.
			for _, other := range []string{"file", "pass", ""} {
				if _, err := h.Create(t.Context(), "bob", other); !errors.Is(err, agekey.ErrExists) {
					t.Errorf("create over it: %v", err)
				}
				if _, err := h.Import(t.Context(), hybrid(t), "bob", other); !errors.Is(err, agekey.ErrExists) {
					t.Errorf("import over it: %v", err)
				}
			}
			if load(t, h).Reveal() != id.Reveal() {
				t.Error("it is another one now")
			}
		})
	}
}

func TestCreateWithoutKeychains(t *testing.T) {
	h, c := newHome(t)
	c.Names = nil
	var rejected []keychain.Rejection
	h.Rejected = func(r []keychain.Rejection) { rejected = r }
	if f := create(t, h, ""); f.Store != "file" || len(rejected) != 1 {
		t.Errorf("got %+v, rejected %v", f, rejected)
	}

	h, _ = newHome(t)
	h.Keychains = nil
	var u *keychain.UnavailableError
	if _, err := h.Create(t.Context(), "alice", "pass"); !errors.As(err, &u) || u.Keychain != "pass" {
		t.Errorf("got %v", err)
	}
	if f := create(t, h, ""); f.Store != "file" {
		t.Errorf("got %+v", f)
	}
}

func TestCreateFails(t *testing.T) {
	for _, member := range []string{"a\"b", "a\nb", "ä", strings.Repeat("m", 200)} {
		h, _ := newHome(t)
		if _, err := h.Create(t.Context(), member, "file"); err == nil {
			t.Errorf("took the member %q", member)
		}
		if _, err := h.Facts(); !errors.Is(err, agekey.ErrNone) {
			t.Errorf("%q: %v", member, err)
		}
	}
	boom := errors.New("boom")
	for _, op := range []string{"set", "get"} {
		h, c := newHome(t)
		c.Failing(op, boom)
		var failed *agekey.StoreError
		if _, err := h.Create(t.Context(), "alice", "pass"); !errors.As(err, &failed) || failed.Store != "pass" || !errors.Is(err, boom) {
			t.Errorf("%s: got %v", op, err)
		}
		if _, err := h.Facts(); !errors.Is(err, agekey.ErrNone) {
			t.Errorf("%s: %v", op, err)
		}
	}
	h, c := newHome(t)
	c.Instead = []byte(classic)
	if _, err := h.Create(t.Context(), "alice", "pass"); !errors.Is(err, agekey.ErrMismatch) {
		t.Errorf("got %v", err)
	}
	h, _ = newHome(t)
	h.ConfigDir = ""
	if _, err := h.Create(t.Context(), "alice", "file"); err == nil {
		t.Error("created nowhere")
	}
}

func TestImport(t *testing.T) {
	for _, text := range []string{classic, hybrid(t).Reveal(), "# recipient: age1envruntest1abc\n" + pluginLine, pluginLine,
		unknown + "\n" + classic, classic + "\n" + hybrid(t).Reveal()} {
		for _, store := range []string{"file", "pass"} {
			h, _ := newHome(t)
			id := parse(t, text)
			f, err := h.Import(t.Context(), id, "alice", store)
			if err != nil {
				t.Fatal(err)
			}
			got := load(t, h)
			if f.Recipient != id.Recipient() || got.Reveal() != id.Reveal() || got.Recipient() != id.Recipient() || got.Skipped() != id.Skipped() {
				t.Errorf("%s: comes back as another", store)
			}
		}
	}
}

// An identity file alone, as from a backup, is an identity.
func TestFileAlone(t *testing.T) {
	h, _ := newHome(t)
	f := create(t, h, "file")
	id := load(t, h)
	if err := os.Remove(filepath.Join(h.ConfigDir, "identity.toml")); err != nil {
		t.Fatal(err)
	}
	got, err := h.Facts()
	if err != nil || !reflect.DeepEqual(got, f) {
		t.Errorf("got %+v, %v", got, err)
	}
	if load(t, h).Reveal() != id.Reveal() {
		t.Error("it is another one")
	}
	if _, err := h.Create(t.Context(), "bob", "pass"); !errors.Is(err, agekey.ErrExists) {
		t.Errorf("create: %v", err)
	}
	moved, err := h.Move(t.Context(), "pass")
	if err != nil || moved.Member != f.Member || moved.Recipient != f.Recipient || !moved.Created.Equal(f.Created) {
		t.Errorf("moved: %+v, %v", moved, err)
	}
	if load(t, h).Reveal() != id.Reveal() {
		t.Error("it is another one")
	}
}

// What age-keygen makes can be put there by hand.
func TestAgeKeygenFile(t *testing.T) {
	h, _ := newHome(t)
	if err := os.MkdirAll(h.ConfigDir, 0o700); err != nil {
		t.Fatal(err)
	}
	text := "# created: 2021-01-02T15:30:45+01:00\n# public key: " + classicRecipient + "\n" + classic + "\n"
	if err := os.WriteFile(h.File(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := h.Facts()
	if err != nil || f.Recipient != classicRecipient || f.Member != "" || f.Created.Hour() != 14 || f.Store != "file" {
		t.Errorf("got %+v, %v", f, err)
	}
	if load(t, h).Reveal() != classic {
		t.Error("it is another one")
	}
}

func TestDamaged(t *testing.T) {
	for _, test := range []struct {
		name   string
		damage func(t *testing.T, h *agekey.Home, c *chains)
		store  string
		want   func(error) bool
	}{
		{"facts that are no facts", func(t *testing.T, h *agekey.Home, _ *chains) {
			write(t, filepath.Join(h.ConfigDir, "identity.toml"), "store = \"file\"\nx")
		}, "file", func(err error) bool {
			var f *agekey.FileError
			var p *agekey.ParseError
			return errors.As(err, &f) && filepath.Base(f.File) == "identity.toml" && errors.As(err, &p) && p.Line == 2
		}},
		{"empty facts", func(t *testing.T, h *agekey.Home, _ *chains) {
			write(t, filepath.Join(h.ConfigDir, "identity.toml"), "")
		}, "file", func(err error) bool { var p *agekey.ParseError; return errors.As(err, &p) }},
		{"no identity file", func(t *testing.T, h *agekey.Home, _ *chains) {
			if err := os.Remove(h.File()); err != nil {
				t.Fatal(err)
			}
		}, "file", func(err error) bool {
			var f *agekey.FileError
			return errors.As(err, &f) && filepath.Base(f.File) == "identity" && errors.Is(err, agekey.ErrLost)
		}},
		{"empty identity file", func(t *testing.T, h *agekey.Home, _ *chains) { write(t, h.File(), "") }, "file",
			func(err error) bool { var p *agekey.ParseError; return errors.As(err, &p) }},
		{"cut identity file", func(t *testing.T, h *agekey.Home, _ *chains) { write(t, h.File(), "# x\n"+classic[:50]) }, "file",
			func(err error) bool { var p *agekey.ParseError; return errors.As(err, &p) && p.Line == 2 }},
		{"huge identity file", func(t *testing.T, h *agekey.Home, _ *chains) { write(t, h.File(), strings.Repeat("#\n", 1<<16)) }, "file",
			func(err error) bool { var p *agekey.ParseError; return errors.As(err, &p) }},
		{"another identity", func(t *testing.T, h *agekey.Home, _ *chains) { write(t, h.File(), classic) }, "file",
			func(err error) bool { return errors.Is(err, agekey.ErrMismatch) }},
		{"a folder", func(t *testing.T, h *agekey.Home, _ *chains) {
			_ = os.Remove(h.File())
			if err := os.Mkdir(h.File(), 0o700); err != nil {
				t.Fatal(err)
			}
		}, "file", func(err error) bool { var f *agekey.FileError; return errors.As(err, &f) }},
		{"gone from the keychain", func(t *testing.T, h *agekey.Home, c *chains) {
			_ = os.RemoveAll(filepath.Join(c.Dir, "pass"))
		}, "pass", func(err error) bool {
			var s *agekey.StoreError
			return errors.As(err, &s) && s.Store == "pass" && s.Key != "" && errors.Is(err, agekey.ErrLost)
		}},
		{"another one in the keychain", func(t *testing.T, h *agekey.Home, c *chains) {
			files, _ := filepath.Glob(filepath.Join(c.Dir, "pass", "*"))
			write(t, files[0], classic)
		}, "pass", func(err error) bool {
			var s *agekey.StoreError
			return errors.As(err, &s) && errors.Is(err, agekey.ErrMismatch)
		}},
		{"rubbish in the keychain", func(t *testing.T, h *agekey.Home, c *chains) {
			files, _ := filepath.Glob(filepath.Join(c.Dir, "pass", "*"))
			write(t, files[0], "hello")
		}, "pass", func(err error) bool {
			var p *agekey.ParseError
			return errors.As(err, &p)
		}},
		{"no such keychain", func(t *testing.T, h *agekey.Home, c *chains) { c.Names = nil }, "pass", func(err error) bool {
			var u *keychain.UnavailableError
			return errors.As(err, &u) && u.Keychain == "pass"
		}},
		{"the keychain does not answer", func(t *testing.T, h *agekey.Home, c *chains) {
			c.Failing("get", &keychain.TimeoutError{Keychain: "pass", Op: "get"})
		}, "pass", func(err error) bool {
			var u *keychain.TimeoutError
			return errors.As(err, &u)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, c := newHome(t)
			create(t, h, test.store)
			secret := load(t, h).Reveal()
			test.damage(t, h, c)
			_, err := h.Load(t.Context())
			if err == nil || !test.want(err) {
				t.Errorf("got %v", err)
			}
			if strings.Contains(fmt.Sprintf("%+v", err), secret[20:40]) {
				t.Error("the error holds the secret")
			}
			if _, err := h.Create(t.Context(), "bob", "file"); !errors.Is(err, agekey.ErrExists) {
				t.Errorf("create over it: %v", err)
			}
		})
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestInsecure(t *testing.T) {
	onUnix(t)
	for _, test := range []struct {
		name string // in the folder; "" for the folder itself
		mode fs.FileMode
		ok   bool
		want fs.FileMode
	}{
		{"", 0o755, false, 0o700},
		{"", 0o770, false, 0o700},
		{"", 0o500, true, 0},
		{"identity", 0o644, false, 0o600},
		{"identity", 0o640, false, 0o600},
		{"identity", 0o602, false, 0o600},
		{"identity", 0o700, false, 0o600},
		{"identity", 0o400, true, 0},
		{"identity.toml", 0o644, true, 0},
		{"identity.toml", 0o664, false, 0o755},
		{"identity.toml", 0o666, false, 0o755},
	} {
		t.Run(fmt.Sprintf("%s %o", test.name, test.mode), func(t *testing.T) {
			h, _ := newHome(t)
			create(t, h, "file")
			file := filepath.Join(h.ConfigDir, test.name)
			if err := os.Chmod(file, test.mode); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.Chmod(file, 0o700) })
			_, err := h.Load(t.Context())
			if test.ok {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var insecure *agekey.InsecureError
			if !errors.As(err, &insecure) || insecure.File != file || insecure.Mode.Perm() != test.mode || insecure.Want != test.want {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("a link to one that is wide open", func(t *testing.T) {
		h, _ := newHome(t)
		create(t, h, "file")
		target := filepath.Join(t.TempDir(), "identity")
		if err := os.Rename(h.File(), target); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, h.File()); err != nil {
			t.Fatal(err)
		}
		load(t, h) // it is as good as the file
		if err := os.Chmod(target, 0o644); err != nil {
			t.Fatal(err)
		}
		var insecure *agekey.InsecureError
		if _, err := h.Load(t.Context()); !errors.As(err, &insecure) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("of somebody else", func(t *testing.T) {
		if os.Getuid() != 0 {
			t.Skip("giving files away takes root")
		}
		for _, name := range []string{"", "identity", "identity.toml"} {
			h, _ := newHome(t)
			create(t, h, "file")
			file := filepath.Join(h.ConfigDir, name)
			if err := os.Chown(file, 65534, 65534); err != nil {
				t.Fatal(err)
			}
			var insecure *agekey.InsecureError
			if _, err := h.Load(t.Context()); !errors.As(err, &insecure) || insecure.Owner != 65534 || insecure.User != 0 {
				t.Errorf("%q: got %v", name, err)
			}
			if name == "" {
				if _, err := h.Create(t.Context(), "alice", "file"); !errors.As(err, &insecure) {
					t.Errorf("create: got %v", err)
				}
			}
		}
	})
}

// Of many that create at once, one does.
func TestConcurrentCreate(t *testing.T) {
	for _, store := range []string{"file", "pass"} {
		h, c := newHome(t)
		const n = 16
		var made, refused atomic.Int32
		var recipient atomic.Value
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() {
				f, err := homeAt(h.ConfigDir, c).Create(t.Context(), "alice", store)
				switch {
				case err == nil:
					made.Add(1)
					recipient.Store(f.Recipient)
				case errors.Is(err, agekey.ErrExists):
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if made.Load() != 1 || refused.Load() != n-1 {
			t.Errorf("%s: %d made, %d refused", store, made.Load(), refused.Load())
		}
		if load(t, h).Recipient() != recipient.Load() {
			t.Errorf("%s: it is not the one that was said to be made", store)
		}
		if store == "pass" && len(c.Holds(t)) != 1 {
			t.Errorf("left behind: %v", c.Holds(t))
		}
	}
}

func TestMove(t *testing.T) {
	stores := []string{"file", "secret-service", "pass", "kernel"}
	for _, from := range stores {
		for _, to := range stores {
			t.Run(from+" to "+to, func(t *testing.T) {
				h, c := newHome(t)
				f := create(t, h, from)
				secret := load(t, h).Reveal()
				got, err := h.Move(t.Context(), to)
				if err != nil {
					t.Fatal(err)
				}
				if got.Store != to || got.Member != f.Member || got.Recipient != f.Recipient || !got.Created.Equal(f.Created) || len(got.Leftover) > 0 {
					t.Errorf("got %+v", got)
				}
				if again, err := h.Facts(); err != nil || !reflect.DeepEqual(again, got) {
					t.Errorf("facts %+v, %v", again, err)
				}
				if load(t, h).Reveal() != secret {
					t.Error("it is another one")
				}
				onlyCopy(t, h, c, got)
				if back, err := h.Move(t.Context(), from); err != nil || back.Store != from || load(t, h).Reveal() != secret {
					t.Errorf("moved back: %+v, %v", back, err)
				}
			})
		}
	}
}

// onlyCopy fails unless the secret is where the facts say and nowhere else.
func onlyCopy(t *testing.T, h *agekey.Home, c *chains, f agekey.Facts) {
	t.Helper()
	_, err := os.Lstat(h.File())
	if inFile := err == nil; inFile != (f.Store == "file") {
		t.Errorf("in %s, and the file is there: %v", f.Store, inFile)
	}
	holds := c.Holds(t)
	if f.Store == "file" && len(holds) != 0 || f.Store != "file" && !reflect.DeepEqual(holds, []string{f.Store + "/" + f.Key}) {
		t.Errorf("in %s %s, and keychains hold %v", f.Store, f.Key, holds)
	}
	if temps, _ := filepath.Glob(filepath.Join(h.ConfigDir, "*.tmp-*")); len(temps) > 0 {
		t.Errorf("half written: %v", temps)
	}
}

func TestMoveFails(t *testing.T) {
	boom := errors.New("boom")
	t.Run("into the new store", func(t *testing.T) {
		for _, op := range []string{"set pass", "get pass"} {
			h, c := newHome(t)
			f := create(t, h, "secret-service")
			secret := load(t, h).Reveal()
			c.Failing(op, boom)
			if _, err := h.Move(t.Context(), "pass"); !errors.Is(err, boom) {
				t.Errorf("%s: got %v", op, err)
			}
			if load(t, h).Reveal() != secret {
				t.Error("it is another one")
			}
			got, err := h.Facts()
			if err != nil || got.Store != f.Store {
				t.Errorf("got %+v, %v", got, err)
			}
			onlyCopy(t, h, c, got)
		}
	})
	t.Run("lies", func(t *testing.T) {
		h, c := newHome(t)
		create(t, h, "file")
		secret := load(t, h).Reveal()
		c.Instead = []byte(classic)
		if _, err := h.Move(t.Context(), "pass"); !errors.Is(err, agekey.ErrMismatch) {
			t.Errorf("got %v", err)
		}
		if load(t, h).Reveal() != secret {
			t.Error("it is another one")
		}
	})
	t.Run("no such store", func(t *testing.T) {
		h, c := newHome(t)
		create(t, h, "file")
		for _, store := range []string{"", "nowhere", "a b", "x:y"} {
			if _, err := h.Move(t.Context(), store); err == nil {
				t.Errorf("moved to %q", store)
			}
		}
		got, err := h.Facts()
		if err != nil || got.Store != "file" {
			t.Errorf("got %+v, %v", got, err)
		}
		load(t, h)
		onlyCopy(t, h, c, got)
	})
	t.Run("the old one cannot be deleted", func(t *testing.T) {
		h, c := newHome(t)
		f := create(t, h, "secret-service")
		secret := load(t, h).Reveal()
		c.Failing("delete secret-service", boom)
		got, err := h.Move(t.Context(), "pass")
		var failed *agekey.StoreError
		if !errors.As(err, &failed) || failed.Store != "secret-service" || failed.Op != "deleting" || got.Store != "pass" ||
			!reflect.DeepEqual(got.Leftover, []string{"secret-service:" + f.Key}) {
			t.Errorf("got %+v, %v", got, err)
		}
		if load(t, h).Reveal() != secret {
			t.Error("it is another one")
		}
		c.Failing("delete secret-service", nil)
		if got, err = h.Clean(t.Context()); err != nil || len(got.Leftover) != 0 {
			t.Errorf("got %+v, %v", got, err)
		}
		onlyCopy(t, h, c, got)
	})
	t.Run("another file is in the way", func(t *testing.T) {
		h, _ := newHome(t)
		create(t, h, "pass")
		secret := load(t, h).Reveal()
		write(t, h.File(), classic)
		if _, err := h.Move(t.Context(), "file"); !errors.Is(err, agekey.ErrExists) {
			t.Errorf("got %v", err)
		}
		if b, _ := os.ReadFile(h.File()); string(b) != classic || load(t, h).Reveal() != secret {
			t.Error("one of them is another now")
		}
	})
	t.Run("facts that call the identity a leftover", func(t *testing.T) {
		h, c := newHome(t)
		f := create(t, h, "pass")
		secret := load(t, h).Reveal()
		f.Leftover = []string{"pass:" + f.Key, "nowhere:x", "pass:identity-gone"}
		write(t, filepath.Join(h.ConfigDir, "identity.toml"), string(f.Marshal()))
		c.Names = append(c.Names, "nowhere")
		got, err := h.Clean(t.Context())
		if err != nil || len(got.Leftover) != 0 || load(t, h).Reveal() != secret {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

// Whoever loads while it moves gets it.
func TestLoadWhileMoving(t *testing.T) {
	h, c := newHome(t)
	create(t, h, "file")
	secret := load(t, h).Reveal()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				// Two moves between two looks are more than a person makes.
				id, err := homeAt(h.ConfigDir, c).Load(t.Context())
				if err != nil && !errors.Is(err, agekey.ErrLost) || err == nil && id.Reveal() != secret {
					t.Errorf("got %v", err)
					return
				}
			}
		})
	}
	for i := range 9 {
		if _, err := h.Move(t.Context(), []string{"pass", "secret-service", "file"}[i%3]); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}

func passphrase(p string, asked *int) func(context.Context, string) ([]byte, error) {
	return func(_ context.Context, prompt string) ([]byte, error) {
		*asked++
		if !strings.Contains(prompt, "identity") {
			return nil, fmt.Errorf("prompt %q", prompt)
		}
		return []byte(p), nil
	}
}

func TestProtect(t *testing.T) {
	h, c := newHome(t)
	f := create(t, h, "file")
	secret := load(t, h).Reveal()
	if err := h.Protect(t.Context(), nil); err == nil {
		t.Error("took an empty passphrase")
	}
	if err := h.Protect(t.Context(), []byte("one")); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(h.File())
	if err != nil || !strings.HasPrefix(string(b), "-----BEGIN AGE ENCRYPTED FILE-----\n") || strings.Contains(string(b), "AGE-SECRET") {
		t.Fatalf("the file is %q, %v", b, err)
	}
	f.Protected = true
	if got, err := h.Facts(); err != nil || !reflect.DeepEqual(got, f) {
		t.Errorf("got %+v, %v", got, err)
	}

	// Unlocked as long as the kernel's keyring says; then the passphrase.
	asked := 0
	if load(t, h).Reveal() != secret {
		t.Error("it is another one")
	}
	if c.For != agekey.UnlockFor {
		t.Errorf("kept for %v", c.For)
	}
	if err := h.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(c.Holds(t)); n != 0 {
		t.Errorf("still unlocked in %v", c.Holds(t))
	}
	var file *agekey.FileError
	if _, err := h.Load(t.Context()); !errors.Is(err, agekey.ErrLocked) || !errors.As(err, &file) || file.File != h.File() {
		t.Errorf("got %v", err)
	}
	h.Passphrase = passphrase("wrong", &asked)
	if _, err := h.Load(t.Context()); !errors.Is(err, agekey.ErrPassphrase) || asked != 1 {
		t.Errorf("got %v, asked %d times", err, asked)
	}
	h.Passphrase = passphrase("", &asked)
	if _, err := h.Load(t.Context()); !errors.Is(err, agekey.ErrPassphrase) {
		t.Errorf("got %v", err)
	}
	noTerminal := errors.New("no terminal")
	h.Passphrase = func(context.Context, string) ([]byte, error) { return nil, noTerminal }
	if _, err := h.Load(t.Context()); !errors.Is(err, noTerminal) {
		t.Errorf("got %v", err)
	}
	asked = 0
	h.Passphrase = passphrase("one", &asked)
	for range 3 {
		if load(t, h).Reveal() != secret {
			t.Error("it is another one")
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}

	// A new passphrase ends the old one and what it unlocked.
	if err := h.Protect(t.Context(), []byte("two")); err != nil {
		t.Fatal(err)
	}
	if n := len(c.Holds(t)); n != 1 {
		t.Errorf("keychains hold %v", c.Holds(t))
	}
	_ = h.Lock(t.Context())
	if _, err := h.Load(t.Context()); !errors.Is(err, agekey.ErrPassphrase) {
		t.Errorf("got %v", err)
	}
	h.Passphrase = passphrase("two", &asked)
	if load(t, h).Reveal() != secret {
		t.Error("it is another one")
	}

	if err := h.Unprotect(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.Passphrase = nil
	f.Protected = false
	if got, err := h.Facts(); err != nil || !reflect.DeepEqual(got, f) || load(t, h).Reveal() != secret {
		t.Errorf("got %+v, %v", got, err)
	}
	if n := len(c.Holds(t)); n != 0 {
		t.Errorf("keychains hold %v", c.Holds(t))
	}
	if err := h.Unprotect(t.Context()); err != nil {
		t.Errorf("without a passphrase: %v", err)
	}
}

func TestProtectedMoves(t *testing.T) {
	h, c := newHome(t)
	create(t, h, "file")
	secret := load(t, h).Reveal()
	if err := h.Protect(t.Context(), []byte("one")); err != nil {
		t.Fatal(err)
	}
	_ = h.Lock(t.Context())
	if _, err := h.Move(t.Context(), "pass"); !errors.Is(err, agekey.ErrLocked) {
		t.Errorf("got %v", err)
	}
	asked := 0
	h.Passphrase = passphrase("one", &asked)
	f, err := h.Move(t.Context(), "pass")
	if err != nil || f.Protected || asked != 1 || load(t, h).Reveal() != secret {
		t.Errorf("got %+v, %v, asked %d times", f, err, asked)
	}
	onlyCopy(t, h, c, f)
	for name, err := range map[string]error{"protect": h.Protect(t.Context(), []byte("x")), "unprotect": h.Unprotect(t.Context())} {
		if !errors.Is(err, agekey.ErrFileOnly) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A protected file alone keeps its facts to itself until it is opened.
func TestProtectedAlone(t *testing.T) {
	h, _ := newHome(t)
	create(t, h, "file")
	secret := load(t, h).Reveal()
	if err := h.Protect(t.Context(), []byte("one")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(h.ConfigDir, "identity.toml")); err != nil {
		t.Fatal(err)
	}
	f, err := h.Facts()
	if err != nil || f.Recipient != "" || !f.Protected || f.Store != "file" {
		t.Errorf("got %+v, %v", f, err)
	}
	if load(t, h).Reveal() != secret {
		t.Error("it is another one")
	}
	if err := h.Unprotect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f, err := h.Facts(); err != nil || f.Recipient != load(t, h).Recipient() {
		t.Errorf("got %+v, %v", f, err)
	}
}

// Nothing of the cache is taken for granted.
func TestUnlockedCopyIsChecked(t *testing.T) {
	h, c := newHome(t)
	create(t, h, "file")
	secret := load(t, h).Reveal()
	if err := h.Protect(t.Context(), []byte("one")); err != nil {
		t.Fatal(err)
	}
	asked := 0
	h.Passphrase = passphrase("one", &asked)
	files, _ := filepath.Glob(filepath.Join(c.Dir, "kernel", "unlocked-*"))
	if len(files) != 1 {
		t.Fatalf("unlocked in %v", files)
	}
	for _, text := range []string{classic, "rubbish", ""} {
		write(t, files[0], text)
		if load(t, h).Reveal() != secret {
			t.Error("it is another one")
		}
	}
	if asked != 3 {
		t.Errorf("asked %d times", asked)
	}
	h.UnlockFor = -1 // no cache
	load(t, h)
	if asked != 4 {
		t.Errorf("asked %d times", asked)
	}
}

// A file that "age -p" made is one of ours.
func TestDamagedProtected(t *testing.T) {
	h, _ := newHome(t)
	create(t, h, "file")
	if err := h.Protect(t.Context(), []byte("one")); err != nil {
		t.Fatal(err)
	}
	_ = h.Lock(t.Context())
	asked := 0
	h.Passphrase = passphrase("one", &asked)
	whole, err := os.ReadFile(h.File())
	if err != nil {
		t.Fatal(err)
	}
	other := seal(t, classicRecipient, classic)
	for name, text := range map[string]string{
		"cut":                    string(whole[:len(whole)/2]),
		"changed":                strings.Replace(string(whole), "\nYWdl", "\nYWdm", 1),
		"header only":            "-----BEGIN AGE ENCRYPTED FILE-----\n",
		"for a key":              string(other),
		"with something else in": sealPassphrase(t, "hello", "one"),
		"twice":                  sealPassphrase(t, string(whole), "one"),
	} {
		write(t, h.File(), text)
		_, err := h.Load(t.Context())
		var bad *agekey.ParseError
		var file *agekey.FileError
		if !errors.As(err, &bad) || !errors.As(err, &file) || errors.Is(err, agekey.ErrPassphrase) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	write(t, h.File(), sealPassphrase(t, string(classic), "one"))
	if _, err := h.Load(t.Context()); !errors.Is(err, agekey.ErrMismatch) {
		t.Errorf("another identity: got %v", err)
	}
}

// sealPassphrase is "age -p" without armor.
func sealPassphrase(t *testing.T, text, passphrase string) string {
	t.Helper()
	r, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		t.Fatal(err)
	}
	r.SetWorkFactor(2)
	var b bytes.Buffer
	w, err := age.Encrypt(&b, r)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte(text))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestBusy(t *testing.T) {
	h, c := newHome(t)
	create(t, h, "file")
	reached, leave := make(chan struct{}), make(chan struct{})
	h.SetStep(func(step string) {
		if step == "stored" {
			close(reached)
			<-leave
		}
	})
	done := make(chan error, 1)
	go func() { done <- second(h.Move(context.Background(), "pass")) }()
	<-reached
	other := homeAt(h.ConfigDir, c)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := other.Move(ctx, "secret-service"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	load(t, other) // reading takes no lock
	close(leave)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// What a killed process left half written goes with the next change.
func TestSweep(t *testing.T) {
	h, c := newHome(t)
	create(t, h, "file")
	for _, name := range []string{"identity.tmp-ABC", "identity.toml.tmp-ABC"} {
		write(t, filepath.Join(h.ConfigDir, name), classic)
	}
	mine := filepath.Join(h.ConfigDir, "notes.tmp-1")
	write(t, mine, "x")
	f, err := h.Move(t.Context(), "pass")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(mine); err != nil {
		t.Errorf("a file of somebody else went too: %v", err)
	}
	onlyCopy(t, h, c, f)
}

func BenchmarkLoad(b *testing.B) {
	for _, kind := range []string{"hybrid", "classic"} {
		b.Run(kind, func(b *testing.B) {
			h, _ := newHome(b)
			id := hybrid(b)
			if kind == "classic" {
				id = parse(b, classic)
			}
			if _, err := h.Import(b.Context(), id, "alice", "file"); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := h.Load(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkFacts(b *testing.B) {
	h, _ := newHome(b)
	create(b, h, "pass")
	for b.Loop() {
		if _, err := h.Facts(); err != nil {
			b.Fatal(err)
		}
	}
}
