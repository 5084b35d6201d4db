package filevault_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"envrun/vault"
	"envrun/vault/filevault"
)

// versions are the numbers that history yields, and its last error.
func versions(t testing.TB, v *filevault.Vault, env vault.Env, path vault.Path) (numbers []uint64, last error) {
	t.Helper()
	for info, err := range v.Versions(t.Context(), env, path) {
		if err != nil {
			last = err
			continue
		}
		numbers = append(numbers, info.Version)
	}
	return numbers, last
}

func TestHistory(t *testing.T) {
	dir, o := repository(t, "dev")
	v := open(t, o)
	for i := range 4 {
		set(t, v, "dev", "a/b", fmt.Sprintf("A=%d", i+1))
		commit(t, dir, "write")
		set(t, v, "dev", "other", fmt.Sprintf("A=%d", i+1))
		commit(t, dir, "another")
	}
	set(t, v, "dev", "a/b", "A=5") // not committed
	for _, work := range []string{dir, filepath.Join(dir, ".envrun"), t.TempDir()} {
		t.Chdir(work)
		got, err := versions(t, v, "dev", "a/b")
		if err != nil || !slices.Equal(got, []uint64{5, 4, 3, 2, 1}) {
			t.Errorf("%v, %v", got, err)
		}
	}
	for n := range uint64(5) {
		s, err := v.GetVersion(t.Context(), "dev", "a/b", n+1)
		if err != nil || show(s) != fmt.Sprintf("A=%d", n+1) {
			t.Errorf("version %d: %s, %v", n+1, show(s), err)
		}
	}
	// Rotation writes every file anew, and the versions stay what they are; the
	// former ones open with the former keys.
	commit(t, dir, "write")
	id, _ := o.Identity(t.Context())
	rotate(t, v, "dev", grant(t, "alice@laptop", id))
	commit(t, dir, "rotate")
	rotate(t, v, "dev", grant(t, "alice@laptop", id))
	set(t, v, "dev", "a/b", "A=6")
	commit(t, dir, "rotate")
	check := func(v *filevault.Vault) {
		t.Helper()
		got, err := versions(t, v, "dev", "a/b")
		if err != nil || !slices.Equal(got, []uint64{6, 5, 4, 3, 2, 1}) {
			t.Errorf("%v, %v", got, err)
		}
		for n := range uint64(6) {
			s, err := v.GetVersion(t.Context(), "dev", "a/b", n+1)
			if err != nil || show(s) != fmt.Sprintf("A=%d", n+1) {
				t.Errorf("version %d: %s, %v", n+1, show(s), err)
			}
		}
	}
	check(open(t, o))
	// Pruned keys are found in the commits whose versions they open.
	for _, gen := range []string{"0001", "0002"} {
		if err := os.RemoveAll(file(o, "envs/dev/keys/"+gen)); err != nil {
			t.Fatal(err)
		}
	}
	commit(t, dir, "prune")
	check(open(t, o))
	newMachine := trusting(o)
	newMachine.StateDir = filepath.Join(t.TempDir(), "state")
	check(open(t, newMachine))
	clean(t, open(t, o), "dev")
}

// TestHistoryOfOthers: a newcomer does not inherit what was before them, and
// who was let in again has what they had.
func TestHistoryOfOthers(t *testing.T) {
	needGit(t)
	m := newTeam(t)
	git(t, m.dir, "init", "-q")
	commit(t, m.dir, "vault")
	rotate(t, m.aliceVault, "dev", m.toAlice)
	set(t, m.aliceVault, "dev", "a", "A=2")
	commit(t, m.dir, "without bob")
	carolID := identity(t)
	rotate(t, m.aliceVault, "dev", m.toAlice, m.toBob, grant(t, "carol", carolID))
	set(t, m.aliceVault, "dev", "a", "A=3")
	commit(t, m.dir, "bob again, and carol")
	carol := trusting(as(t, m.alice.Dir, "carol", carolID))
	for _, c := range []struct {
		o    filevault.Options
		want []string // for versions 1 to 3
	}{
		{m.alice, []string{"A=1", "A=2", "A=3"}},
		{carol, []string{"", "", "A=3"}},
		// Bob held key 1, but what leads from it to the present one is closed to
		// him: whether it was the key then he cannot know.
		{m.bob, []string{"", "", "A=3"}},
	} {
		v := open(t, c.o)
		for i, want := range c.want {
			s, err := v.GetVersion(t.Context(), "dev", "a", uint64(i+1))
			if want == "" {
				wantKind(t, err, vault.KindDenied)
			} else if err != nil || show(s) != want {
				t.Errorf("%s: version %d: %s, %v", c.o.Member, i+1, show(s), err)
			}
		}
	}
	// A machine that knew key 1 at the time knows it still.
	knew := trusting(m.bob)
	git(t, m.dir, "checkout", "-q", "HEAD~2")
	get(t, open(t, knew), "dev", "a")
	git(t, m.dir, "checkout", "-q", "-")
	if s, err := open(t, knew).GetVersion(t.Context(), "dev", "a", 1); err != nil || show(s) != "A=1" {
		t.Errorf("%s, %v", show(s), err)
	}
}

// TestForgedHistory: a commit made by somebody without the key is no version.
func TestForgedHistory(t *testing.T) {
	dir, o := repository(t, "dev")
	v := open(t, o)
	const name = "envs/dev/secrets/a.sec"
	for i := range 3 {
		set(t, v, "dev", "a", fmt.Sprintf("A=%d", i+1))
		commit(t, dir, "write")
	}
	good := read(t, file(o, name))
	write(t, file(o, name), bytes.Replace(good, []byte("version 3"), []byte("version 9"), 1))
	commit(t, dir, "forged version")
	write(t, file(o, name), []byte("<<<<<<< ours\n"))
	commit(t, dir, "marks")
	os.Remove(file(o, name))
	if runtime.GOOS != "windows" {
		if err := os.Symlink("/etc/passwd", file(o, name)); err != nil {
			t.Fatal(err)
		}
	}
	commit(t, dir, "link")
	os.Remove(file(o, name))
	write(t, file(o, name), good)
	commit(t, dir, "back")
	for n := range uint64(3) {
		if s, err := v.GetVersion(t.Context(), "dev", "a", n+1); err != nil || show(s) != fmt.Sprintf("A=%d", n+1) {
			t.Errorf("version %d: %s, %v", n+1, show(s), err)
		}
	}
	if _, err := v.GetVersion(t.Context(), "dev", "a", 9); err == nil {
		t.Error("a forged version was opened")
	}
	got, err := versions(t, v, "dev", "a")
	if !slices.Equal(got, []uint64{9, 3, 2, 1}) { // what they say of themselves
		t.Errorf("%v", got)
	}
	ve, ok := errors.AsType[*vault.Error](err)
	if !ok || !strings.Contains(ve.File, name+" in commit ") {
		t.Errorf("the damaged versions are not named: %v", err)
	}
}

func TestNoHistory(t *testing.T) {
	_, o := project(t, "dev")
	v := open(t, o)
	set(t, v, "dev", "a", "A=1")
	if inRepository(o.Dir) {
		t.Skip("temporary folders are in a git repository here")
	}
	_, err := versions(t, v, "dev", "a")
	wantError(t, err, vault.KindUnsupported, "", "not in a git repository")
	if s, err := v.GetVersion(t.Context(), "dev", "a", 1); err != nil || show(s) != "A=1" {
		t.Errorf("%s, %v", show(s), err)
	}
	_, err = v.GetVersion(t.Context(), "dev", "a", 2)
	wantKind(t, err, vault.KindUnsupported)
	t.Setenv("PATH", t.TempDir())
	_, err = versions(t, v, "dev", "a")
	wantError(t, err, vault.KindUnsupported, "", "git is not installed")
}

func inRepository(dir string) bool {
	_, err := tryGit(dir, "rev-parse")
	return err == nil
}

// TestUnborn: a repository without a commit, and a vault that it ignores.
func TestUnborn(t *testing.T) {
	needGit(t)
	dir, o := project(t, "dev")
	git(t, dir, "init", "-q")
	v := open(t, o)
	set(t, v, "dev", "a", "A=1")
	if got, err := versions(t, v, "dev", "a"); err != nil || !slices.Equal(got, []uint64{1}) {
		t.Errorf("%v, %v", got, err)
	}
	write(t, filepath.Join(dir, ".gitignore"), []byte("/.envrun\n"))
	commit(t, dir, "ignored")
	if got, err := versions(t, v, "dev", "a"); err != nil || !slices.Equal(got, []uint64{1}) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := versions(t, v, "dev", "none"); vault.KindOf(err) != vault.KindNotFound {
		t.Errorf("%v", err)
	}
}

func TestShallow(t *testing.T) {
	dir, o := repository(t, "dev")
	v := open(t, o)
	for i := range 4 {
		set(t, v, "dev", "a", fmt.Sprintf("A=%d", i+1))
		commit(t, dir, "write")
	}
	clone := t.TempDir()
	git(t, clone, "clone", "-q", "--depth", "2", "file://"+dir, "c")
	o.Dir = filepath.Join(clone, "c", ".envrun", "vault")
	v = open(t, o)
	got, err := versions(t, v, "dev", "a")
	if !slices.Equal(got, []uint64{4, 3}) {
		t.Errorf("%v", got)
	}
	wantError(t, err, vault.KindUnsupported, "", "shallow", "before 3")
	if s, err := v.GetVersion(t.Context(), "dev", "a", 3); err != nil || show(s) != "A=3" {
		t.Errorf("%s, %v", show(s), err)
	}
	_, err = v.GetVersion(t.Context(), "dev", "a", 1)
	wantError(t, err, vault.KindUnsupported, "", "shallow")
}

// TestHostileGit: the config and environment of a repository that somebody else
// made start no program and lead nowhere else.
func TestHostileGit(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the traps are shell scripts")
	}
	dir, o := repository(t, "dev")
	v := open(t, o)
	for i := range 2 {
		set(t, v, "dev", "a", fmt.Sprintf("A=%d", i+1))
		commit(t, dir, "write")
	}
	sprung := filepath.Join(t.TempDir(), "sprung")
	trap := filepath.Join(t.TempDir(), "trap")
	if err := os.WriteFile(trap, []byte("#!/bin/sh\necho \"$0 $*\" >> "+sprung+"\ncat\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{
		"core.pager": trap, "pager.log": trap, "pager.rev-list": trap, "diff.external": trap, "core.fsmonitor": trap, "core.hooksPath": filepath.Dir(trap),
		"diff.envrun.textconv": trap, "filter.x.smudge": trap, "filter.x.clean": trap, "core.sshCommand": trap, "gpg.program": trap,
		"log.showSignature": "true", "credential.helper": trap, "core.askPass": trap, "alias.rev-list": "!" + trap, "alias.cat-file": "!" + trap,
		"core.alternateRefsCommand": trap, "uploadpack.packObjectsHook": trap, "core.editor": trap, "core.gitProxy": trap,
	} {
		git(t, dir, "config", key, value)
	}
	write(t, file(o, ".gitattributes"), []byte("* filter=x diff=envrun\n"))
	other := t.TempDir()
	git(t, other, "init", "-q")
	for name, value := range map[string]string{
		"GIT_DIR": filepath.Join(other, ".git"), "GIT_WORK_TREE": other, "GIT_INDEX_FILE": filepath.Join(other, "x"), "GIT_OBJECT_DIRECTORY": other,
		"GIT_EXTERNAL_DIFF": trap, "GIT_PAGER": trap, "PAGER": trap, "GIT_SSH_COMMAND": trap, "GIT_EXEC_PATH": filepath.Dir(trap),
		"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.pager", "GIT_CONFIG_VALUE_0": trap, "GIT_TRACE": filepath.Join(other, "trace"),
	} {
		t.Setenv(name, value)
	}
	if got, err := versions(t, v, "dev", "a"); err != nil || !slices.Equal(got, []uint64{2, 1}) {
		t.Errorf("%v, %v", got, err)
	}
	if s, err := v.GetVersion(t.Context(), "dev", "a", 1); err != nil || show(s) != "A=1" {
		t.Errorf("%s, %v", show(s), err)
	}
	if text, err := os.ReadFile(sprung); err == nil {
		t.Errorf("a trap was sprung:\n%s", text)
	}
	if _, err := os.Stat(filepath.Join(other, "trace")); err == nil {
		t.Error("GIT_TRACE was passed on")
	}
}

// TestInnerRepository: plain files that the repository carries can make the
// vault's folder one of git's own, with another history and config.
func TestInnerRepository(t *testing.T) {
	dir, o := repository(t, "dev")
	v := open(t, o)
	set(t, v, "dev", "a", "A=1")
	commit(t, dir, "write")
	inner := filepath.Join(t.TempDir(), "inner")
	git(t, dir, "init", "-q", "--bare", inner)
	for _, name := range []string{"HEAD", "config", "objects", "refs"} {
		if err := os.Rename(filepath.Join(inner, name), file(o, name)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := versions(t, v, "dev", "a")
	wantError(t, err, vault.KindInsecure, ".envrun/vault/HEAD", "git repository of its own")
	bob := identity(t)
	if err := v.AddMember(t.Context(), "dev", filevault.NewMember{Member: "bob", Recipient: bob.Recipient()}); err != nil {
		t.Fatal(err)
	}
	// A list made without the history would leave out what he could read.
	_, err = v.RemoveMembers(t.Context(), "dev", []string{"bob"}, filevault.RotateOptions{})
	wantError(t, err, vault.KindInsecure, ".envrun/vault/HEAD")
	if got := get(t, v, "dev", "a"); got != "A=1" {
		t.Error(got)
	}
}

// TestMerge is the table of filevault §3.1 with real git and no merge driver:
// different secrets merge clean and verify; the same secret always conflicts,
// in that one file, which then is refused by name and nothing else is.
func TestMerge(t *testing.T) {
	const main = "main"
	for _, c := range []struct {
		name         string
		ours, theirs []vault.Change
		conflict     string // the secret that conflicts
		want         string // a value after the merge
	}{
		{"two distant secrets", []vault.Change{change("a", "A=ours")}, []vault.Change{change("z", "A=theirs")}, "", "a=A=ours z=A=theirs"},
		{"two neighbours", []vault.Change{change("m", "A=ours")}, []vault.Change{change("n", "A=theirs")}, "", "m=A=ours n=A=theirs"},
		{"both add a secret", []vault.Change{change("new1", "A=ours")}, []vault.Change{change("new2", "A=theirs")}, "", "new1=A=ours new2=A=theirs"},
		{"both add the same secret", []vault.Change{change("new", "A=ours")}, []vault.Change{change("new", "A=theirs")}, "new", ""},
		{"same secret, same field", []vault.Change{change("m", "A=ours")}, []vault.Change{change("m", "A=theirs")}, "m", ""},
		{"same secret, same value", []vault.Change{change("m", "A=same")}, []vault.Change{change("m", "A=same")}, "m", ""},
		{"same secret, other field", []vault.Change{change("m", "A=ours")}, []vault.Change{change("m", "B=theirs")}, "m", ""},
		{"changed and deleted", []vault.Change{change("m", "A=ours")}, []vault.Change{{Path: "m", Was: vault.Any, Delete: true}}, "m", ""},
		{"deleted, another changed", []vault.Change{{Path: "m", Was: vault.Any, Delete: true}}, []vault.Change{change("n", "A=theirs")}, "", "n=A=theirs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, o := repository(t, "dev")
			v := open(t, o)
			for _, p := range []vault.Path{"a", "m", "n", "z"} {
				set(t, v, "dev", p, "A=base", "B=base")
			}
			if err := v.Seal(t.Context(), "dev"); err != nil {
				t.Fatal(err)
			}
			commit(t, dir, "base")
			git(t, dir, "checkout", "-q", "-b", "theirs")
			if _, err := v.Apply(t.Context(), "dev", c.theirs); err != nil {
				t.Fatal(err)
			}
			commit(t, dir, "theirs")
			git(t, dir, "checkout", "-q", main)
			if _, err := v.Apply(t.Context(), "dev", c.ours); err != nil {
				t.Fatal(err)
			}
			commit(t, dir, "ours")
			out, err := tryGit(dir, "merge", "-q", "-m", "merge", "theirs")
			if clean := err == nil; clean != (c.conflict == "") {
				t.Fatalf("merged clean is %v:\n%s", clean, out)
			}
			if c.conflict == "" {
				clean(t, v, "dev")
				for pair := range strings.FieldsSeq(c.want) {
					path, want, _ := strings.Cut(pair, "=")
					if got := get(t, v, "dev", vault.Path(path)); !strings.HasPrefix(got, want) {
						t.Errorf("%s is %s, want %s", path, got, want)
					}
				}
				if err := v.Seal(t.Context(), "dev"); err != nil {
					t.Error(err)
				}
				return
			}
			name := "envs/dev/secrets/" + c.conflict + ".sec"
			unmerged := git(t, dir, "diff", "--name-only", "--diff-filter=U")
			if unmerged != ".envrun/vault/"+name {
				t.Errorf("in conflict: %q", unmerged)
			}
			path := vault.Path(c.conflict)
			_, err = v.Get(t.Context(), "dev", path)
			wantError(t, err, vault.KindUnmerged, ".envrun/vault/"+name)
			if ve, ok := errors.AsType[*vault.Error](err); !ok || ve.Line == 0 || ve.Path != path {
				t.Errorf("%+v", ve)
			}
			_, err = v.Apply(t.Context(), "dev", []vault.Change{change(path, "A=new")})
			wantKind(t, err, vault.KindUnmerged)
			if got := get(t, v, "dev", "z"); got != "A=base B=base" {
				t.Error(got)
			}
			set(t, v, "dev", "z", "A=new")
			if errs := findings(t, v, "dev"); len(errs) != 1 || vault.KindOf(errs[0]) != vault.KindUnmerged {
				t.Errorf("verify: %v", errs)
			}
			wantKind(t, v.Seal(t.Context(), "dev"), vault.KindUnmerged)
			// Taking one side whole gives a valid record.
			git(t, dir, "checkout", "-q", "--ours", "--", unmerged)
			clean(t, v, "dev")
		})
	}
	t.Run("two members added", func(t *testing.T) {
		dir, o := repository(t, "dev")
		for i, branch := range []string{main, "theirs"} {
			git(t, dir, "checkout", "-q", "-B", branch)
			member := fmt.Sprintf("new%d", i)
			if err := open(t, o).AddGrant(t.Context(), "dev", grant(t, member, identity(t))); err != nil {
				t.Fatal(err)
			}
			commit(t, dir, member)
			if i == 0 {
				git(t, dir, "checkout", "-q", "HEAD~1")
			}
		}
		git(t, dir, "checkout", "-q", main)
		// Both moved the seal, and that one file conflicts; it is made anew.
		if out, err := tryGit(dir, "merge", "-q", "-m", "merge", "theirs"); err == nil {
			t.Fatalf("merged: %s", out)
		}
		if got := git(t, dir, "diff", "--name-only", "--diff-filter=U"); got != ".envrun/vault/envs/dev/seal" {
			t.Errorf("in conflict: %q", got)
		}
		_, err := open(t, o).Get(t.Context(), "dev", "a")
		wantError(t, err, vault.KindUnmerged, ".envrun/vault/envs/dev/seal")
	})
}

// TestRevert: going back by git what was sealed is refused, by intent.
func TestRevert(t *testing.T) {
	dir, o := repository(t, "dev")
	v := open(t, o)
	set(t, v, "dev", "a", "A=1")
	commit(t, dir, "one")
	set(t, v, "dev", "a", "A=2")
	commit(t, dir, "two")
	if err := v.Seal(t.Context(), "dev"); err != nil {
		t.Fatal(err)
	}
	commit(t, dir, "seal")
	git(t, dir, "revert", "--no-edit", "HEAD~1")
	_, err := v.Get(t.Context(), "dev", "a")
	wantError(t, err, vault.KindTampered, ".envrun/vault/envs/dev/secrets/a.sec", "set back to version 1")
	git(t, dir, "reset", "-q", "--hard", "HEAD~1")
	clean(t, v, "dev")
}

// TestLineEndings: a clone on Windows, and one that lost .gitattributes.
func TestLineEndings(t *testing.T) {
	dir, o := repository(t, "dev")
	v := open(t, o)
	set(t, v, "dev", "a/b", "A=line one\r\nline two\n", "B=2")
	set(t, v, "dev", "c", "A=1")
	if err := v.Seal(t.Context(), "dev"); err != nil {
		t.Fatal(err)
	}
	commit(t, dir, "written")
	want := tree(t, o.Dir)
	for _, c := range []struct {
		name       string
		attributes bool
	}{{"attributes", true}, {"no attributes", false}} {
		t.Run(c.name, func(t *testing.T) {
			if !c.attributes {
				os.Remove(file(o, ".gitattributes"))
				commit(t, dir, "no attributes")
			}
			clone := t.TempDir()
			git(t, clone, "clone", "-q", "-c", "core.autocrlf=true", "file://"+dir, "c")
			there := o
			there.Dir = filepath.Join(clone, "c", ".envrun", "vault")
			crlf := 0
			for name, text := range tree(t, there.Dir) {
				if strings.Contains(text, "\r\n") {
					crlf++
				} else if name != ".lock" && text != want[name] {
					t.Errorf("%s is not what it was", name)
				}
			}
			if c.attributes && crlf > 2 || !c.attributes && crlf < 7 {
				t.Errorf("%d files have CRLF", crlf)
			}
			v := open(t, there)
			if got := get(t, v, "dev", "a/b"); got != "A=line one\r\nline two\n B=2" {
				t.Errorf("%q", got)
			}
			clean(t, v, "dev")
			set(t, v, "dev", "c", "A=2")
			set(t, v, "dev", "d", "A=1")
			if err := v.Seal(t.Context(), "dev"); err != nil {
				t.Fatal(err)
			}
			clean(t, v, "dev")
			if got, err := versions(t, v, "dev", "c"); err != nil || !slices.Equal(got, []uint64{2, 1}) {
				t.Errorf("%v, %v", got, err)
			}
			// What is written there verifies here.
			commit(t, filepath.Join(clone, "c"), "from Windows")
			git(t, dir, "fetch", "-q", filepath.Join(clone, "c"))
			git(t, dir, "checkout", "-q", "FETCH_HEAD")
			clean(t, open(t, o), "dev")
			if got := get(t, open(t, o), "dev", "c"); got != "A=2" {
				t.Error(got)
			}
		})
	}
}

// TestIgnored: what a writer leaves for a moment is nothing that git sees.
func TestIgnored(t *testing.T) {
	dir, o := repository(t, "dev")
	v := open(t, o)
	set(t, v, "dev", "a", "A=1")
	commit(t, dir, "a")
	filevault.SetStep(v, func(s filevault.Step) error {
		if out := git(t, dir, "status", "--porcelain"); s.Op == "write" && out != "" {
			t.Errorf("%s %s: git sees %q", s.Op, s.Name, out)
		}
		return nil
	})
	set(t, v, "dev", "a", "A=1") // nothing
	if _, err := v.Apply(t.Context(), "dev", []vault.Change{change("a", "A=2"), change("b", "A=2")}); err != nil {
		t.Fatal(err)
	}
	filevault.SetStep(v, nil)
	commit(t, dir, "b")
	if out := git(t, dir, "ls-files"); strings.Contains(out, ".lock") || strings.Contains(out, ".txn") || strings.Contains(out, ".tmp-") {
		t.Errorf("committed:\n%s", out)
	}
}

// Everything that was ever committed comes out at once, under keys that are retired
// by now too, and so does a secret that was removed; a commit is made of the vault's
// folder and of nothing else.
func TestExportOfAll(t *testing.T) {
	dir, alice := repository(t, "dev")
	v := open(t, alice)
	for _, value := range []string{"1", "2"} {
		set(t, v, "dev", "app", "A="+value)
		set(t, v, "dev", "gone", "G="+value)
		commit(t, dir, "write")
	}
	if _, err := v.Apply(t.Context(), "dev", []vault.Change{{Path: "gone", Was: 2, Delete: true}}); err != nil {
		t.Fatal(err)
	}
	commit(t, dir, "rm")
	for range 2 {
		if _, err := v.RotateKey(t.Context(), "dev", filevault.RotateOptions{}); err != nil {
			t.Fatal(err)
		}
		commit(t, dir, "rotate")
	}
	set(t, v, "dev", "app", "A=3")

	// A machine that has read nothing of it before, like that of the next command.
	v = open(t, alice)
	all, err := v.Export(t.Context(), "dev", true)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, k := range all {
		if k.Err != nil {
			t.Errorf("%s: %v", k.Path, k.Err)
		}
		for _, s := range k.Versions {
			text := fmt.Sprintf("%s %d", k.Path, s.Version)
			for _, f := range s.Values {
				text += fmt.Sprintf(" %s=%s", f.Name, f.Value.Reveal())
			}
			got = append(got, text)
		}
	}
	if want := []string{"app 1 A=1", "app 2 A=2", "app 3 A=3", "gone 1 G=1", "gone 2 G=2", "gone 3"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}

	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	git(t, dir, "add", "other")
	for _, name := range []string{"GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"} {
		t.Setenv(name, "a@example.org")
	}
	for _, want := range []bool{true, false} {
		if made, err := v.Commit(t.Context(), "the vault"); made != want || err != nil {
			t.Errorf("Commit: %v, %v; want %v", made, err, want)
		}
	}
	if files := strings.Fields(git(t, dir, "show", "--format=", "--name-only", "HEAD")); len(files) != 1 || !strings.HasSuffix(files[0], "/app.sec") {
		t.Errorf("committed %q", files)
	}
	if status := git(t, dir, "status", "--porcelain"); strings.TrimSpace(status) != "A  other" {
		t.Errorf("left %q", status)
	}
}
