package filevault_test

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"envrun/auth/agekey"
	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/filevault"
	"envrun/vault/record"
)

func TestInit(t *testing.T) {
	dir := t.TempDir()
	recovery := identity(t)
	o := as(t, filepath.Join(dir, ".envrun", "vault"), "alice@laptop", identity(t))
	v, err := filevault.Init(t.Context(), filevault.InitOptions{Options: o, Envs: []vault.Env{"dev", "prod"},
		Recovery: &filevault.RecoveryTo{Recipient: recovery.Recipient()}})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range tree(t, dir) {
		names = append(names, name)
	}
	slices.Sort(names)
	want := []string{".envrun/vault/.gitattributes", ".envrun/vault/.gitignore"}
	for _, env := range []string{"dev", "prod"} {
		base := ".envrun/vault/envs/" + env
		want = append(want, base+"/keys/0001/alice@laptop.grant", base+"/keys/0001/gen", base+"/keys/0001/recovery.grant", base+"/seal")
	}
	want = append(want, ".envrun/vault/vault.toml")
	if !slices.Equal(names, want) {
		t.Errorf("init made\n%s\nwant\n%s", strings.Join(names, "\n"), strings.Join(want, "\n"))
	}
	m, err := record.ParseManifest(read(t, file(o, "vault.toml")))
	if err != nil || m.Vault != v.ID() || len(m.Vault) != len("v_5f3c1d9a7b20e4c8") {
		t.Errorf("%+v, %v", m, err)
	}
	clean(t, v, "dev", "prod")
	set(t, v, "prod", "a", "A=1")

	// The recovery identity opens it, on a machine that has never been here, and
	// environments that come later too.
	if err := v.AddEnv(t.Context(), "staging"); err != nil {
		t.Fatal(err)
	}
	set(t, v, "staging", "a", "A=2")
	r := open(t, trusting(as(t, o.Dir, "", recovery)))
	if a, b := get(t, r, "prod", "a"), get(t, r, "staging", "a"); a != "A=1" || b != "A=2" {
		t.Errorf("%s, %s", a, b)
	}
	clean(t, r, "dev", "prod", "staging")
	clean(t, open(t, o), "staging")

	err = v.AddEnv(t.Context(), "staging")
	wantError(t, err, vault.KindExists, ".envrun/vault/envs/staging")
	wantKind(t, v.AddEnv(t.Context(), "No"), vault.KindInvalid)
	// A second vault in the same state folder is another vault.
	if got := get(t, open(t, o), "staging", "a"); got != "A=2" {
		t.Error(got)
	}
}

func TestInitRefuses(t *testing.T) {
	alice := identity(t)
	for name, c := range map[string]struct {
		change func(*filevault.InitOptions)
		kind   vault.Kind
	}{
		"no folder":       {func(o *filevault.InitOptions) { o.Dir = "" }, vault.KindInvalid},
		"no member":       {func(o *filevault.InitOptions) { o.Member = "" }, vault.KindInvalid},
		"bad member":      {func(o *filevault.InitOptions) { o.Member = "../x" }, vault.KindInvalid},
		"bad environment": {func(o *filevault.InitOptions) { o.Envs = []vault.Env{"dev", "../x"} }, vault.KindInvalid},
		"twice":           {func(o *filevault.InitOptions) { o.Envs = []vault.Env{"dev", "dev"} }, vault.KindInvalid},
		"no identity":     {func(o *filevault.InitOptions) { o.Identity = nil }, vault.KindNoIdentity},
		"broken identity": {func(o *filevault.InitOptions) {
			o.Identity = func(context.Context) (*agekey.Identity, error) { return nil, errors.New("locked") }
		}, vault.KindNoIdentity},
		"bad recovery": {func(o *filevault.InitOptions) { o.Recovery = &filevault.RecoveryTo{Recipient: "age1nonsense"} }, vault.KindInvalid},
		"own recovery": {func(o *filevault.InitOptions) {
			o.Recovery = &filevault.RecoveryTo{Member: "alice@laptop", Recipient: alice.Recipient()}
		}, vault.KindInvalid},
		"no state folder":  {func(o *filevault.InitOptions) { o.StateDir = "" }, vault.KindInvalid},
		"closed state":     {func(o *filevault.InitOptions) { o.StateDir = filepath.Join(o.StateDir, "file", "x") }, vault.KindOther},
		"folder is a file": {func(o *filevault.InitOptions) { o.Dir = filepath.Join(o.StateDir, "file", "vault") }, vault.KindOther},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			o := filevault.InitOptions{Options: as(t, filepath.Join(dir, "deep", ".envrun", "vault"), "alice@laptop", alice), Envs: []vault.Env{"dev"}}
			write(t, filepath.Join(o.StateDir, "file"), nil)
			c.change(&o)
			_, err := filevault.Init(t.Context(), o)
			if err == nil {
				t.Fatal("made")
			}
			wantKind(t, err, c.kind)
			if list, err := os.ReadDir(dir); err != nil || len(list) > 0 {
				t.Errorf("left behind: %v, %v", list, err)
			}
			if pins, _ := filepath.Glob(filepath.Join(o.StateDir, "pins", "*")); len(pins) > 0 {
				t.Errorf("left behind: %q", pins)
			}
		})
	}
}

// TestInitExists: whatever is there stays as it is.
func TestInitExists(t *testing.T) {
	for name, make := range map[string]func(t *testing.T, dir string){
		"vault": func(t *testing.T, dir string) { write(t, filepath.Join(dir, "vault.toml"), []byte("old")) },
		"other": func(t *testing.T, dir string) { write(t, filepath.Join(dir, "notes"), []byte("old")) },
		"empty": func(t *testing.T, dir string) { os.MkdirAll(dir, 0o755) },
		"file":  func(t *testing.T, dir string) { write(t, dir, []byte("old")) },
		"link": func(t *testing.T, dir string) {
			os.MkdirAll(filepath.Dir(dir), 0o755)
			if err := os.Symlink("nowhere", dir); err != nil {
				t.Skip(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			parent := t.TempDir()
			o := as(t, filepath.Join(parent, ".envrun", "vault"), "alice@laptop", identity(t))
			make(t, o.Dir)
			_, err := filevault.Init(t.Context(), filevault.InitOptions{Options: o, Envs: []vault.Env{"dev"}})
			wantError(t, err, vault.KindExists, ".envrun/vault")
			if fi, err := os.Lstat(o.Dir); err != nil || fi.Mode().IsRegular() && string(read(t, o.Dir)) != "old" {
				t.Errorf("%v, %v", fi, err)
			}
			if list, _ := os.ReadDir(filepath.Dir(o.Dir)); len(list) != 1 {
				t.Errorf("beside it: %v", list)
			}
		})
	}
}

// TestInitRace: of several at once one makes the vault, and the others say so.
func TestInitRace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), ".envrun", "vault")
	var wg sync.WaitGroup
	errs := make([]error, 4)
	all := make([]filevault.Options, len(errs))
	for i := range errs {
		all[i] = as(t, dir, "alice@laptop", identity(t))
		wg.Go(func() {
			_, errs[i] = filevault.Init(context.Background(), filevault.InitOptions{Options: all[i], Envs: []vault.Env{"dev", "prod"}})
		})
	}
	wg.Wait()
	won := 0
	for i, err := range errs {
		if err == nil {
			won++
			v := open(t, all[i])
			set(t, v, "dev", "a", "A=1")
			clean(t, v, "dev", "prod")
		} else {
			wantKind(t, err, vault.KindExists)
		}
	}
	if won != 1 {
		t.Errorf("%d inits made it", won)
	}
	if list, _ := os.ReadDir(filepath.Dir(dir)); len(list) != 1 {
		t.Errorf("beside it: %v", list)
	}
}

// TestInitErrorAtEveryStep: no vault, no folder, no pins.
func TestInitErrorAtEveryStep(t *testing.T) {
	alice := identity(t)
	for n := 1; ; n++ {
		dir := t.TempDir()
		o := as(t, filepath.Join(dir, ".envrun", "vault"), "alice@laptop", alice)
		step := 0
		_, err := filevault.InitStep(t.Context(), filevault.InitOptions{Options: o, Envs: []vault.Env{"dev"}}, func(filevault.Step) error {
			if step++; step >= n {
				return fs.ErrPermission
			}
			return nil
		})
		if step < n {
			if err != nil {
				t.Error(err)
			}
			break
		}
		wantKind(t, err, vault.KindReadOnly)
		if list, err := os.ReadDir(dir); err != nil || len(list) > 0 {
			t.Errorf("step %d: left behind: %v, %v", n, list, err)
		}
		if pins, _ := filepath.Glob(filepath.Join(o.StateDir, "pins", "*")); len(pins) > 0 {
			t.Errorf("step %d: left behind: %q", n, pins)
		}
	}
}

func TestOpen(t *testing.T) {
	_, err := filevault.Open(t.Context(), filevault.Options{Dir: filepath.Join(t.TempDir(), ".envrun", "vault")})
	wantError(t, err, vault.KindNoVault, ".envrun/vault/vault.toml")
	_, err = filevault.Open(t.Context(), filevault.Options{})
	wantKind(t, err, vault.KindInvalid)
	_, o := project(t, "dev")
	for text, kind := range map[string]vault.Kind{
		"format = 7\n":                vault.KindVersion,
		"":                            vault.KindMalformed,
		"format = 1\nvault = \"x\"\n": vault.KindMalformed,
		"<<<<<<< ours\n":              vault.KindUnmerged,
	} {
		write(t, file(o, "vault.toml"), []byte(text))
		_, err := filevault.Open(t.Context(), o)
		wantError(t, err, kind, ".envrun/vault/vault.toml")
	}
}

func TestRemoveEnv(t *testing.T) {
	_, o := project(t, "dev", "prod")
	v := open(t, o)
	set(t, v, "dev", "a", "A=1")
	write(t, file(o, "requests/dev/bob.req"), []byte("x"))
	write(t, file(o, "requests/prod/bob.req"), []byte("x"))
	before := tree(t, o.Dir)
	if err := v.RemoveEnv(t.Context(), "dev"); err != nil {
		t.Fatal(err)
	}
	after := tree(t, o.Dir)
	maps.DeleteFunc(before, func(name, _ string) bool {
		return strings.HasPrefix(name, "envs/dev/") || strings.HasPrefix(name, "requests/dev/") || name == ".lock"
	})
	delete(after, ".lock")
	if !maps.Equal(before, after) {
		t.Errorf("left:\n%v\nwant:\n%v", slices.Sorted(maps.Keys(after)), slices.Sorted(maps.Keys(before)))
	}
	wantKind(t, v.RemoveEnv(t.Context(), "dev"), vault.KindNoEnv)
	wantKind(t, v.RemoveEnv(t.Context(), "../prod"), vault.KindInvalid)
	_, err := v.Get(t.Context(), "dev", "a")
	wantKind(t, err, vault.KindNoEnv)
	if err := v.AddEnv(t.Context(), "dev"); err != nil {
		t.Fatal(err)
	}
	_, err = v.Get(t.Context(), "dev", "a")
	wantKind(t, err, vault.KindNotFound)
	set(t, v, "dev", "a", "A=2")
	if got := get(t, open(t, o), "dev", "a"); got != "A=2" {
		t.Error(got)
	}
	clean(t, open(t, o), "dev")
}

// TestReplaceEnv: removed and made again in one batch.
func TestReplaceEnv(t *testing.T) {
	_, o := project(t, "dev")
	v := open(t, o)
	set(t, v, "dev", "a", "A=1")
	set(t, v, "dev", "b/c", "A=1")
	seal := read(t, file(o, "envs/dev/seal"))
	err := filevault.Store(v).Batch(t.Context(), "dev", func(tx engine.Tx) error {
		if err := tx.RemoveEnv(); err != nil {
			return err
		}
		if err := tx.CreateEnv(); err != nil {
			return err
		}
		for range tx.Heads("") {
			t.Error("the new environment has a secret")
		}
		return tx.PutBlob("seal", seal)
	})
	if err != nil {
		t.Fatal(err)
	}
	names := slices.Sorted(maps.Keys(tree(t, file(o, "envs"))))
	if !slices.Equal(names, []string{"dev/seal"}) {
		t.Errorf("left: %q", names)
	}
}
