package filevault_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"envrun/auth/agekey"
	"envrun/vault"
	"envrun/vault/filevault"
	"envrun/vault/vaulttest"
)

// identity makes a person's key.
func identity(t testing.TB) *agekey.Identity {
	t.Helper()
	id, err := agekey.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// as are the options of a member with that identity and a machine of its own.
func as(t testing.TB, dir, member string, id *agekey.Identity) filevault.Options {
	t.Helper()
	return filevault.Options{
		Dir: dir, StateDir: filepath.Join(t.TempDir(), "state"), Member: member,
		Identity: func(context.Context) (*agekey.Identity, error) { return id, nil },
	}
}

// trusting takes every key on first sight.
func trusting(o filevault.Options) filevault.Options {
	o.FirstContact = func(context.Context, filevault.Contact) error { return nil }
	return o
}

// project makes a folder with a vault of alice in it and returns both.
func project(t testing.TB, envs ...vault.Env) (dir string, alice filevault.Options) {
	t.Helper()
	dir = t.TempDir()
	alice = as(t, filepath.Join(dir, ".envrun", "vault"), "alice@laptop", identity(t))
	if _, err := filevault.Init(t.Context(), filevault.InitOptions{Options: alice, Envs: envs}); err != nil {
		t.Fatal(err)
	}
	return dir, alice
}

func open(t testing.TB, o filevault.Options) *filevault.Vault {
	t.Helper()
	v, err := filevault.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// set writes NAME=VALUE pairs to a secret.
func set(t testing.TB, v vault.Writer, env vault.Env, path vault.Path, pairs ...string) vault.Info {
	t.Helper()
	infos, err := v.Apply(t.Context(), env, []vault.Change{change(path, pairs...)})
	if err != nil {
		t.Fatalf("set %s: %v", path, err)
	}
	return infos[0]
}

func change(path vault.Path, pairs ...string) vault.Change {
	c := vault.Change{Path: path, Was: vault.Any}
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		c.Set = append(c.Set, vaulttest.Set(name, value))
	}
	return c
}

// get returns the fields of a secret as "A=1 B=2".
func get(t testing.TB, v vault.Reader, env vault.Env, path vault.Path) string {
	t.Helper()
	s, err := v.Get(t.Context(), env, path)
	if err != nil {
		t.Fatalf("get %s: %v", path, err)
	}
	return show(s)
}

func show(s vault.Secret) string {
	var parts []string
	for _, f := range s.Values {
		parts = append(parts, string(f.Name)+"="+string(f.Value.Reveal()))
	}
	return strings.Join(parts, " ")
}

func wantKind(t testing.TB, err error, want vault.Kind) {
	t.Helper()
	if vault.KindOf(err) != want {
		t.Errorf("got %v (%v), want %v", err, vault.KindOf(err), want)
	}
}

// wantError checks the kind, the file and words of an error.
func wantError(t testing.TB, err error, kind vault.Kind, file string, words ...string) {
	t.Helper()
	ve, ok := errors.AsType[*vault.Error](err)
	if !ok {
		t.Errorf("got %v, want %v", err, kind)
		return
	}
	if ve.Kind != kind {
		t.Errorf("got %v (%v), want %v", err, ve.Kind, kind)
	}
	if file != "" && ve.File != file {
		t.Errorf("error is about file %q, want %q: %v", ve.File, file, err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error does not say %q: %v", w, err)
		}
	}
}

// clean checks that verify finds nothing and nothing lies around.
func clean(t testing.TB, v *filevault.Vault, envs ...vault.Env) {
	t.Helper()
	for _, env := range envs {
		for f := range v.Verify(t.Context(), env) {
			if f.Err != nil {
				t.Errorf("verify %s %s: %v", env, f.Path, f.Err)
			}
		}
	}
	s, err := v.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range s.Strays {
		t.Errorf("stray: %v", err)
	}
	if s.Journal != filevault.NoJournal {
		t.Errorf("there is a journal: %s", s.Journal)
	}
}

// findings are the errors that verify finds.
func findings(t testing.TB, v *filevault.Vault, env vault.Env) []error {
	t.Helper()
	var errs []error
	for f := range v.Verify(t.Context(), env) {
		if f.Err != nil {
			errs = append(errs, f.Err)
		}
	}
	return errs
}

// file is the path of a file of the vault.
func file(o filevault.Options, name string) string {
	return filepath.Join(o.Dir, filepath.FromSlash(name))
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func write(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// tree lists the files of a folder with their content, to compare.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		files[filepath.ToSlash(rel)] = string(read(t, name))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// git runs git for somebody who has no config of their own.
func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	out, err := tryGit(dir, args...)
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(out)
}

func tryGit(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@example.dev", "-c", "init.defaultBranch=main",
		"-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null", "-c", "protocol.file.allow=always"}, args...)...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "GIT_") }),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func needGit(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
}

// repository is project in a new git repository, committed.
func repository(t testing.TB, envs ...vault.Env) (dir string, alice filevault.Options) {
	t.Helper()
	needGit(t)
	dir, alice = project(t, envs...)
	git(t, dir, "init", "-q")
	commit(t, dir, "vault")
	return dir, alice
}

func commit(t testing.TB, dir, message string) {
	t.Helper()
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-q", "--allow-empty", "-m", message)
}

// committing commits after every write, as a person does who wants a history.
type committing struct {
	*filevault.Vault
	t   *testing.T
	dir string
}

func (c committing) Apply(ctx context.Context, env vault.Env, changes []vault.Change) ([]vault.Info, error) {
	infos, err := c.Vault.Apply(ctx, env, changes)
	if err == nil && ctx.Err() == nil && len(changes) > 0 && strings.HasPrefix(string(changes[0].Path), "app") {
		commit(c.t, c.dir, "write")
	}
	return infos, err
}

func TestSuite(t *testing.T) {
	t.Run("Plain", func(t *testing.T) {
		vaulttest.Run(t, func(t *testing.T) vault.Vault {
			_, o := project(t, vaulttest.Dev, vaulttest.Prod)
			return open(t, o)
		})
	})
	t.Run("Git", func(t *testing.T) {
		vaulttest.Run(t, func(t *testing.T) vault.Vault {
			dir, o := repository(t, vaulttest.Dev, vaulttest.Prod)
			return committing{open(t, o), t, dir}
		})
	})
	t.Run("SealOnWrite", func(t *testing.T) {
		vaulttest.Run(t, func(t *testing.T) vault.Vault {
			_, o := project(t, vaulttest.Dev, vaulttest.Prod)
			o.SealOnWrite = true
			return open(t, o)
		})
	})
}

// asNobody skips what root is not subject to.
func notRoot(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no permission bits")
	}
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere; TestAsNobody runs this as another user")
	}
}
