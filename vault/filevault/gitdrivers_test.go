package filevault_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/filevault"
)

// installed is a fork whose git runs this test binary as the drivers.
func installed(t *testing.T) (*fork, filevault.GitCommands) {
	t.Helper()
	f := newFork(t)
	id, _ := f.o.Identity(t.Context())
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := func(do string) string {
		o := order{Do: do, Dir: f.o.Dir, StateDir: f.o.StateDir, Identity: id.Reveal()}
		text := filepath.Join(t.TempDir(), do)
		write(t, text, o.text(t))
		return fmt.Sprintf(`%s="$(cat '%s')" '%s'`, orderVariable, text, exe)
	}
	c := filevault.GitCommands{Merge: child("driver") + " %O %A %B %P", Textconv: child("textconv")}
	settings, err := f.vault().InstallGit(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(settings, filevault.GitSetting.Changed) {
		t.Errorf("%+v", settings)
	}
	return f, c
}

func TestInstallGit(t *testing.T) {
	f := newFork(t)
	v := f.vault()
	before := git(t, f.dir, "config", "--local", "--list")
	c := filevault.GitCommands{Merge: "envrun git merge-driver %O %A %B %P", Textconv: `envrun git "text conv" $x; #`}
	check := func(want filevault.GitCommands) {
		t.Helper()
		if got, err := v.GitInstalled(t.Context()); got != want || err != nil {
			t.Errorf("%+v, %v", got, err)
		}
	}
	check(filevault.GitCommands{})
	git(t, f.dir, "config", "diff.envrun.cachetextconv", "true") // which would keep values in notes
	for n := range 2 {
		settings, err := v.InstallGit(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range settings {
			if s.Changed() != (n == 0) || git(t, f.dir, "config", s.Key) != s.Now {
				t.Errorf("round %d: %+v", n, s)
			}
		}
	}
	check(c)
	c.Merge = "other %O %A %B %P"
	if settings, err := v.InstallGit(t.Context(), c); err != nil || !settings[1].Changed() || settings[0].Changed() {
		t.Errorf("%+v, %v", settings, err)
	}
	for range 2 {
		if _, err := v.UninstallGit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	check(filevault.GitCommands{})
	if after := git(t, f.dir, "config", "--local", "--list"); after != before {
		t.Errorf("the config was\n%s\nand is\n%s", before, after)
	}
}

// TestDriver: with the driver git merges by itself what asks for no decision,
// to the same outcome as Merge, and leaves marks where one is due.
func TestDriver(t *testing.T) {
	for _, with := range []bool{true, false} {
		t.Run(fmt.Sprintf("with %v", with), func(t *testing.T) {
			f, _ := installed(t)
			if !with {
				if _, err := f.vault().UninstallGit(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			f.branches(
				func() { f.write(change("m", "A=ours"), change("n", "A=ours"), change("new", "A=1")) },
				func() { f.write(change("m", "B=theirs"), change("n", "A=theirs"), change("new", "B=2")); f.seal() })
			left := f.conflict()
			if want := []string{"secrets/n.sec"}; with && !slices.Equal(left, want) {
				t.Errorf("left by the driver: %q", left)
			}
			if !with && len(left) != 3 {
				t.Errorf("left by git: %q", left)
			}
			_, err := f.vault().Get(t.Context(), "dev", "n")
			wantKind(t, err, vault.KindUnmerged)
			f.merge(always(engine.Theirs), false)
			f.finish("m: A=ours B=theirs", "n: A=theirs B=base", "new: A=1 B=2")
		})
	}
	// Nothing to decide at all: git merge just works.
	f, _ := installed(t)
	f.branches(func() { f.write(change("m", "A=ours")) }, func() { f.write(change("m", "B=theirs")) })
	git(t, f.dir, "merge", "-q", "-m", "merge", "theirs")
	f.good("m: A=ours B=theirs")
	// What a thief put back comes back by no driver, nor by Merge.
	f, _ = installed(t)
	f.write(change("m", "A=1"))
	commit(t, f.dir, "1")
	f.write(change("m", "A=2"))
	f.seal()
	commit(t, f.dir, "2")
	git(t, f.dir, "checkout", "-q", "-b", "theirs")
	git(t, f.dir, "checkout", "-q", "HEAD~1", "--", ".envrun/vault/envs/dev/secrets/m.sec")
	git(t, f.dir, "commit", "-q", "-m", "back")
	git(t, f.dir, "checkout", "-q", "main")
	f.write(change("m", "B=ours"))
	commit(t, f.dir, "ours")
	f.conflict()
	if r := f.merge(nobody, false); r.Envs[0].Records[0].SetBack != 2 {
		t.Errorf("%s", say(r))
	}
	f.finish("m: A=2 B=ours")
	// A revert of one's own is what it says, and not kept from anybody.
	commit(t, f.dir, "sealed")
	f.conflict("revert", "--no-edit", "HEAD~3")
	f.merge(nobody, false)
	f.finish("m: A=1 B=ours")
	// Nor does the driver count on the rest of the merge: a rotation waits for a person.
	f, _ = installed(t)
	f.branches(func() { f.write(change("m", "A=late")) }, f.rotate)
	f.conflict()
	f.merge(nobody, true)
	f.finish("m: A=late B=base")
}

// TestDriverRebase: the driver in a rebase, commit by commit.
func TestDriverRebase(t *testing.T) {
	f, _ := installed(t)
	f.branches(func() { f.write(change("m", "A=main")) }, func() {
		f.write(change("m", "B=one"))
		commit(t, f.dir, "one")
		f.write(change("m", "C=two"))
	})
	git(t, f.dir, "checkout", "-q", "theirs")
	git(t, f.dir, "rebase", "-q", "main")
	f.good("m: A=main B=one C=two")
}

func TestTextconv(t *testing.T) {
	f, _ := installed(t)
	note := "for all"
	c := change("m", "A=topsecretvalue")
	c.Note = &note
	f.write(c)
	out := git(t, f.dir, "diff")
	if strings.Contains(out, "topsecretvalue") || !strings.Contains(out, "+A since 2 ") || !strings.Contains(out, "-A since 1 ") ||
		!strings.Contains(out, " B since 1 ") || !strings.Contains(out, "+note for all") || strings.Contains(out, "mac") {
		t.Error(out)
	}
	v := f.vault()
	m := file(f.o, "envs/dev/secrets/m.sec")
	show := func(o filevault.Options, name string, reveal bool) string {
		t.Helper()
		text, err := open(t, o).Textconv(t.Context(), name, func(env vault.Env) bool { return reveal && env == "dev" })
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if got := show(f.o, m, true); !strings.Contains(got, `A since 2 "topsecretvalue"`) {
		t.Error(got)
	}
	// One value has another print elsewhere, and the same print after a rewrite.
	set(t, v, "dev", "n", "A=topsecretvalue", "C=topsecretvalue")
	prints := map[string]bool{}
	for _, name := range []string{"m", "n"} {
		for line := range strings.Lines(show(f.o, file(f.o, "envs/dev/secrets/"+name+".sec"), false)) {
			if fields := strings.Fields(line); len(fields) == 4 && fields[1] == "since" && fields[0] != "B" {
				prints[fields[3]] = true
			}
		}
	}
	if len(prints) != 3 {
		t.Errorf("%v", prints)
	}
	// Without a key, and of what is no secret or not genuine.
	stranger := as(t, f.o.Dir, "eve", identity(t))
	if got := show(stranger, m, true); !strings.Contains(got, "A since 2\n") || !strings.Contains(got, "# not opened: ") {
		t.Error(got)
	}
	for text, want := range map[string]string{
		"API_KEY=hunter2\n": "# not a secret that can be read",
		strings.Replace(string(read(t, m)), "version 2", "version 3", 1):                     "# not opened",
		strings.Replace(string(read(t, m)), "note for all", "<<<<<<< ours\nnote hunter2", 1): "# not a secret that can be read",
		"": "# not a secret that can be read",
	} {
		name := filepath.Join(t.TempDir(), "x")
		write(t, name, []byte(text))
		if got := show(f.o, name, true); !strings.Contains(got, want) || strings.Contains(got, "hunter2") || strings.Contains(got, "topsecret") {
			t.Error(got)
		}
	}
	if _, err := v.Textconv(context.Background(), filepath.Join(t.TempDir(), "none"), nil); err == nil {
		t.Error("a file that is not there")
	}
}
