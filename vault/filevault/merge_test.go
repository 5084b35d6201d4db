package filevault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/filevault"
	"envrun/vault/vaulttest"
)

// A fork is a repository with two branches, main and theirs.
type fork struct {
	t   testing.TB
	dir string
	o   filevault.Options
}

var (
	basePaths = []vault.Path{"a", "m", "n", "z"}
	errAsked  = errors.New("nobody is there to ask")
)

// newFork is a vault with secrets, sealed and committed.
func newFork(t testing.TB) *fork {
	t.Helper()
	dir, o := repository(t, "dev")
	f := &fork{t, dir, o}
	v := f.vault()
	for _, p := range basePaths {
		set(t, v, "dev", p, "A=base", "B=base")
	}
	f.seal()
	commit(t, dir, "base")
	return f
}

func (f *fork) vault() *filevault.Vault { return open(f.t, f.o) }

func (f *fork) seal() {
	f.t.Helper()
	if err := f.vault().Seal(f.t.Context(), "dev"); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fork) write(changes ...vault.Change) {
	f.t.Helper()
	if _, err := f.vault().Apply(f.t.Context(), "dev", changes); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fork) rotate() {
	f.t.Helper()
	id, _ := f.o.Identity(f.t.Context())
	rotate(f.t, f.vault(), "dev", grant(f.t, "alice@laptop", id))
}

// branches does theirs on a branch of that name, and ours on main.
func (f *fork) branches(ours, theirs func()) {
	f.t.Helper()
	git(f.t, f.dir, "checkout", "-q", "-b", "theirs")
	theirs()
	commit(f.t, f.dir, "theirs")
	git(f.t, f.dir, "checkout", "-q", "main")
	ours()
	commit(f.t, f.dir, "ours")
}

// conflict merges with git, which must not come through, and returns what is in conflict.
func (f *fork) conflict(args ...string) []string {
	f.t.Helper()
	if len(args) == 0 {
		args = []string{"merge", "-q", "-m", "merge", "theirs"}
	}
	if out, err := tryGit(f.dir, args...); err == nil {
		f.t.Fatalf("git found no conflict:\n%s", out)
	}
	return f.unmerged()
}

func (f *fork) unmerged() []string {
	f.t.Helper()
	var names []string
	for name := range strings.FieldsSeq(git(f.t, f.dir, "diff", "--name-only", "--diff-filter=U")) {
		names = append(names, strings.TrimPrefix(name, ".envrun/vault/envs/dev/"))
	}
	return names
}

// merge merges with envrun; everything must be resolved by it.
func (f *fork) merge(choose func(engine.Conflict) (engine.Side, error), adopt bool) filevault.MergeReport {
	f.t.Helper()
	r, err := f.vault().Merge(f.t.Context(), engine.MergeOptions{Choose: choose, Adopt: adopt})
	if err != nil {
		f.t.Fatal(err)
	}
	if !r.Done() || r.IndexErr != nil {
		f.t.Fatalf("not done: %s", say(r))
	}
	return r
}

// finish commits the merge and checks that everything is right.
func (f *fork) finish(want ...string) {
	f.t.Helper()
	if left := f.unmerged(); len(left) > 0 {
		f.t.Fatalf("still in conflict: %q", left)
	}
	if out := git(f.t, f.dir, "status", "--porcelain"); strings.Contains(out, " M") {
		f.t.Errorf("not in the index:\n%s", out)
	}
	git(f.t, f.dir, "commit", "-q", "--allow-empty", "-m", "merged")
	f.good(want...)
}

func (f *fork) good(want ...string) {
	f.t.Helper()
	v := f.vault()
	clean(f.t, v, "dev")
	for _, w := range want {
		path, fields, _ := strings.Cut(w, ": ")
		got := "none"
		if s, err := v.Get(f.t.Context(), "dev", vault.Path(path)); err == nil {
			got = show(s)
		} else if vault.KindOf(err) != vault.KindNotFound {
			f.t.Error(err)
		}
		if got != fields {
			f.t.Errorf("%s is %q, want %q", path, got, fields)
		}
	}
	f.seal()
	clean(f.t, v, "dev")
}

func say(r filevault.MergeReport) string {
	var b strings.Builder
	for _, e := range r.Envs {
		fmt.Fprintf(&b, "%s: %v; seal %q %v\n", e.Env, e.Err, e.Seal, e.SealErr)
		for _, m := range e.Records {
			fmt.Fprintf(&b, "  %+v\n", m)
		}
	}
	fmt.Fprintf(&b, "left %v, added %v, %v", r.Left, r.Added, r.IndexErr)
	return b.String()
}

func nobody(engine.Conflict) (engine.Side, error) { return 0, errAsked }

func always(s engine.Side) func(engine.Conflict) (engine.Side, error) {
	return func(engine.Conflict) (engine.Side, error) { return s, nil }
}

func del(path vault.Path) vault.Change { return vault.Change{Path: path, Was: vault.Any, Delete: true} }

// TestMergeCommand is what TestMerge leaves in conflict, resolved.
func TestMergeCommand(t *testing.T) {
	drop := func(path vault.Path, name vault.FieldName) vault.Change {
		return vault.Change{Path: path, Was: vault.Any, Drop: []vault.FieldName{name}}
	}
	note := func(text string) vault.Change { return vault.Change{Path: "m", Was: vault.Any, Note: &text} }
	tags := func(tags ...string) vault.Change { return vault.Change{Path: "m", Was: vault.Any, Tags: &tags} }
	for _, c := range []struct {
		name         string
		ours, theirs []vault.Change
		asks         engine.What // "": nothing is errAsked
		want, other  string      // with ours chosen, and with theirs
	}{
		{"other field", []vault.Change{change("m", "A=ours")}, []vault.Change{change("m", "B=theirs")}, "", "m: A=ours B=theirs", ""},
		{"same value", []vault.Change{change("m", "A=same")}, []vault.Change{change("m", "A=same")}, "", "m: A=same B=base", ""},
		{"same field", []vault.Change{change("m", "A=ours")}, []vault.Change{change("m", "A=theirs")}, engine.WhatField, "m: A=ours B=base", "m: A=theirs B=base"},
		{"changed and dropped", []vault.Change{change("m", "A=ours")}, []vault.Change{drop("m", "A")}, engine.WhatField, "m: A=ours B=base", "m: B=base"},
		{"changed and other dropped", []vault.Change{change("m", "A=ours")}, []vault.Change{drop("m", "B")}, "", "m: A=ours", ""},
		{"both add the secret", []vault.Change{change("new", "A=1", "B=2")}, []vault.Change{change("new", "A=1", "C=3")}, "", "new: A=1 B=2 C=3", ""},
		{"both add it otherwise", []vault.Change{change("new", "A=1")}, []vault.Change{change("new", "A=2")}, engine.WhatField, "new: A=1", "new: A=2"},
		{"changed and deleted", []vault.Change{change("m", "A=ours")}, []vault.Change{del("m")}, engine.WhatSecret, "m: A=ours B=base", "m: none"},
		{"both deleted", []vault.Change{del("m")}, []vault.Change{del("m")}, "", "m: none", ""},
		{"note and field", []vault.Change{note("ours")}, []vault.Change{change("m", "A=theirs")}, "", "m: A=theirs B=base", ""},
		{"two notes", []vault.Change{note("ours")}, []vault.Change{note("theirs")}, engine.WhatNote, "m: A=base B=base", "m: A=base B=base"},
		{"two tags", []vault.Change{tags("x")}, []vault.Change{tags("y")}, "", "m: A=base B=base", ""},
	} {
		for _, side := range []engine.Side{engine.Ours, engine.Theirs} {
			t.Run(c.name+"/"+side.String(), func(t *testing.T) {
				t.Parallel()
				f := newFork(t)
				f.branches(func() { f.write(c.ours...) }, func() { f.write(c.theirs...); f.write(change("z", "A=z")) })
				f.conflict()
				var conflicts []engine.Conflict
				r := f.merge(func(c engine.Conflict) (engine.Side, error) {
					conflicts = append(conflicts, c)
					return side, nil
				}, false)
				if c.asks == "" && len(conflicts) > 0 || c.asks != "" && (len(conflicts) != 1 || conflicts[0].What != c.asks) {
					t.Errorf("errAsked %v", conflicts)
				}
				for _, one := range conflicts {
					if text := fmt.Sprintf("%v %+v %s", one, one, one.String()); strings.Contains(text, "A=ours") || strings.Contains(text, "[111") {
						t.Errorf("a value in %s", text)
					}
				}
				m := r.Envs[0].Records[0]
				if !m.Wrote || !slices.Contains(m.Authors, "alice@laptop") {
					t.Errorf("%+v", m)
				}
				want := c.want
				if side == engine.Theirs && c.other != "" {
					want = c.other
				}
				f.finish(want, "z: A=z B=base")
				path, _, _ := strings.Cut(want, ": ")
				if text := string(read(t, file(f.o, "envs/dev/secrets/"+path+".sec"))); !strings.Contains(text, "\nmerged ") {
					t.Errorf("the other author is not named:\n%s", text)
				}
				if path != "new" {
					f.write(change(vault.Path(path), "A=later"))
					if text := string(read(t, file(f.o, "envs/dev/secrets/"+path+".sec"))); strings.Contains(text, "\nmerged ") {
						t.Errorf("the version after the merge says that it was merged:\n%s", text)
					}
				}
			})
		}
	}
}

// TestMergeUndecided: with nobody to ask nothing is guessed, and what needs no
// answer is merged.
func TestMergeUndecided(t *testing.T) {
	f := newFork(t)
	f.branches(
		func() { f.write(change("m", "A=ours"), change("n", "A=ours")) },
		func() { f.write(change("m", "A=theirs"), change("n", "B=theirs")) })
	f.conflict()
	r, err := f.vault().Merge(t.Context(), engine.MergeOptions{})
	if err != nil || r.Done() {
		t.Fatalf("%v\n%s", err, say(r))
	}
	un, ok := errors.AsType[*engine.UndecidedError](r.Envs[0].Records[0].Err)
	if !ok || len(un.Conflicts) != 1 || un.Conflicts[0].Field != "A" || un.Conflicts[0].Path != "m" {
		t.Errorf("%s", say(r))
	}
	if got := f.unmerged(); !slices.Equal(got, []string{"secrets/m.sec"}) {
		t.Errorf("left: %q", got)
	}
	if got := get(t, f.vault(), "dev", "n"); got != "A=ours B=theirs" {
		t.Error(got)
	}
	before := tree(t, f.o.Dir)
	if _, err := f.vault().Merge(t.Context(), engine.MergeOptions{Choose: nobody}); !errors.Is(err, errAsked) {
		// the error of one environment is in the report
		r, _ := f.vault().Merge(t.Context(), engine.MergeOptions{Choose: nobody})
		if !errors.Is(r.Envs[0].Err, errAsked) {
			t.Errorf("%s", say(r))
		}
	}
	if after := tree(t, f.o.Dir); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Error("something was written without an answer")
	}
	f.merge(always(engine.Theirs), false)
	f.finish("m: A=theirs B=base", "n: A=ours B=theirs")
}

// TestMergeSeals: seals on one side and both, with and without secrets in conflict.
func TestMergeSeals(t *testing.T) {
	for _, c := range []struct {
		name         string
		ours, theirs func(f *fork)
		conflict     []string
		seal         engine.SealOutcome
		want         []string
	}{
		{"one side", func(f *fork) { f.write(change("m", "A=ours")); f.seal() }, func(f *fork) { f.write(change("m", "B=theirs")) },
			[]string{"secrets/m.sec"}, engine.SealUntouched, []string{"m: A=ours B=theirs"}},
		{"theirs", func(f *fork) { f.write(change("m", "A=ours")) }, func(f *fork) { f.write(change("m", "B=1")); f.write(change("m", "B=theirs")); f.seal() },
			[]string{"secrets/m.sec"}, engine.SealUntouched, []string{"m: A=ours B=theirs"}},
		{"the seal only", func(f *fork) { f.write(change("a", "A=ours")); f.seal() }, func(f *fork) { f.write(change("z", "A=theirs")); f.seal() },
			[]string{"seal"}, engine.SealWritten, []string{"a: A=ours B=base", "z: A=theirs B=base"}},
		{"both", func(f *fork) { f.write(change("m", "A=ours"), del("a")); f.seal() }, func(f *fork) { f.write(change("m", "B=theirs"), change("new", "A=1")); f.seal() },
			[]string{"seal", "secrets/m.sec"}, engine.SealWritten, []string{"m: A=ours B=theirs", "a: none", "new: A=1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFork(t)
			f.branches(func() { c.ours(f) }, func() { c.theirs(f) })
			if got := f.conflict(); !slices.Equal(got, c.conflict) {
				t.Fatalf("in conflict: %q", got)
			}
			r := f.merge(nobody, false)
			if r.Envs[0].Seal != c.seal {
				t.Errorf("%s", say(r))
			}
			f.finish(c.want...)
		})
	}
	// Two people seal the same state: the same one of both is taken by all.
	f := newFork(t)
	f.o.Now = vaulttest.Clock()
	f.write(change("m", "A=new"))
	commit(t, f.dir, "m")
	f.branches(f.seal, func() { f.seal(); f.write(change("a", "A=theirs")) })
	f.conflict()
	if r := f.merge(nobody, false); r.Envs[0].Seal != engine.SealTaken {
		t.Errorf("%s", say(r))
	}
	f.finish("a: A=theirs B=base")
}

// TestMergeRotation: one side rotated, the other wrote.
func TestMergeRotation(t *testing.T) {
	for _, ours := range []bool{true, false} {
		t.Run(fmt.Sprintf("ours %v", ours), func(t *testing.T) {
			f := newFork(t)
			f.write(del("z"))
			commit(t, f.dir, "z")
			rotated := func() { f.rotate() }
			wrote := func() {
				f.write(change("m", "A=late"), change("new", "A=late"), change("z", "A=again"))
				f.seal()
			}
			if ours {
				f.branches(rotated, wrote)
			} else {
				f.branches(wrote, rotated)
			}
			f.conflict()
			r, err := f.vault().Merge(t.Context(), engine.MergeOptions{Choose: nobody})
			if err != nil || r.Done() {
				t.Fatalf("%v\n%s", err, say(r))
			}
			for _, m := range r.Envs[0].Records {
				re, ok := errors.AsType[*engine.RetiredError](m.Err)
				if !ok || re.Gen != 1 || re.By != "alice@laptop" {
					t.Errorf("%+v", m)
				}
			}
			r = f.merge(nobody, true)
			if got := fmt.Sprint(r.Envs[0].Adopted); got != "[m new z]" {
				t.Errorf("adopted %s", got)
			}
			f.finish("m: A=late B=base", "new: A=late", "z: A=again", "a: A=base B=base")
		})
	}
	t.Run("both", func(t *testing.T) {
		f := newFork(t)
		f.branches(f.rotate, f.rotate)
		f.conflict()
		before := tree(t, f.o.Dir)
		r, err := f.vault().Merge(t.Context(), engine.MergeOptions{Choose: always(engine.Ours), Adopt: true})
		if err != nil || r.Done() {
			t.Fatalf("%v\n%s", err, say(r))
		}
		two, ok := errors.AsType[*filevault.TwoKeysError](r.Envs[0].Err)
		if !ok || two.Gen != 2 || two.Ours.Fingerprint == two.Theirs.Fingerprint || two.Ours.By != "alice@laptop" {
			t.Errorf("%s", say(r))
		}
		if after := tree(t, f.o.Dir); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Error("something was written")
		}
		// The way out that it names.
		git(t, f.dir, "checkout", "-q", "--ours", "--", ".envrun/vault/envs/dev")
		f.finishAdd()
		f.good("m: A=base B=base")
	})
}

func (f *fork) finishAdd() {
	f.t.Helper()
	git(f.t, f.dir, "add", "-A")
	git(f.t, f.dir, "commit", "-q", "-m", "merged")
}

// TestMergeLeft: what describes keys and members is explained.
func TestMergeLeft(t *testing.T) {
	f := newFork(t)
	bob, other := identity(t), identity(t)
	f.branches(func() {
		if err := f.vault().AddGrant(t.Context(), "dev", grant(t, "bob", bob)); err != nil {
			t.Fatal(err)
		}
	}, func() {
		if err := f.vault().AddGrant(t.Context(), "dev", grant(t, "bob", other)); err != nil {
			t.Fatal(err)
		}
	})
	f.conflict()
	r, err := f.vault().Merge(t.Context(), engine.MergeOptions{Choose: nobody})
	if err != nil || r.Done() {
		t.Fatalf("%v\n%s", err, say(r))
	}
	wantError(t, r.Envs[0].Err, vault.KindUnmerged, ".envrun/vault/envs/dev/keys/0001/bob.grant", "different recipients", "ask bob")
	git(t, f.dir, "checkout", "-q", "--theirs", "--", ".envrun/vault/envs/dev/keys/0001/bob.grant")
	git(t, f.dir, "add", ".envrun/vault/envs/dev/keys/0001/bob.grant")
	f.merge(nobody, false)
	f.finish()

	f = newFork(t)
	f.branches(func() { write(t, file(f.o, "vault.toml"), append(read(t, file(f.o, "vault.toml")), "# 1\n"...)) },
		func() { write(t, file(f.o, "vault.toml"), append(read(t, file(f.o, "vault.toml")), "# 2\n"...)) })
	f.conflict()
	// It cannot even be opened, and says which file it is.
	if _, err := filevault.Open(t.Context(), f.o); err == nil {
		t.Error("opened with a vault.toml in conflict")
	}
}

// TestMergeTwoMembers: two joins on two branches, the seal is made anew with both.
func TestMergeTwoMembers(t *testing.T) {
	f := newFork(t)
	join := func(member string) func() {
		return func() {
			if err := f.vault().AddGrant(t.Context(), "dev", grant(t, member, identity(t))); err != nil {
				t.Fatal(err)
			}
		}
	}
	f.branches(join("bob"), join("carol"))
	if got := f.conflict(); !slices.Equal(got, []string{"seal"}) {
		t.Fatalf("%q", got)
	}
	f.merge(nobody, false)
	f.finish()
	s, err := f.vault().Status(t.Context())
	if err != nil || len(s.Envs[0].Members) != 3 {
		t.Fatalf("%+v, %v", s.Envs, err)
	}
	for _, m := range s.Envs[0].Members {
		if !m.Sealed || m.Err != nil {
			t.Errorf("%+v", m)
		}
	}
}

// TestMergeCrissCross: two merges of the same two commits, each by another, and
// then of those: what git makes of the bases is no base.
func TestMergeCrissCross(t *testing.T) {
	f := newFork(t)
	f.branches(func() { f.write(change("m", "A=ours")) }, func() { f.write(change("m", "B=theirs")) })
	git(t, f.dir, "tag", "o1")
	git(t, f.dir, "tag", "t1", "theirs")
	f.conflict()
	f.merge(nobody, false)
	f.finish("m: A=ours B=theirs")
	git(t, f.dir, "checkout", "-q", "--", ".") // the seal that it ended with
	git(t, f.dir, "checkout", "-q", "theirs")
	f.conflict("merge", "-q", "-m", "merge", "o1")
	f.merge(nobody, false)
	f.finish("m: A=ours B=theirs")
	git(t, f.dir, "checkout", "-q", "--", ".")
	f.write(change("m", "C=theirs"))
	commit(t, f.dir, "C")
	git(t, f.dir, "checkout", "-q", "main")
	f.write(change("m", "D=ours"))
	commit(t, f.dir, "D")
	f.conflict()
	f.merge(nobody, false)
	f.finish("m: A=ours B=theirs C=theirs D=ours")
}

// TestMergeRebase: rebase, cherry-pick and stash go by the same stages.
func TestMergeRebase(t *testing.T) {
	f := newFork(t)
	f.branches(func() { f.write(change("m", "A=main")) }, func() {
		f.write(change("m", "B=one"))
		commit(t, f.dir, "one")
		f.write(change("m", "C=two"), change("n", "A=two"))
	})
	git(t, f.dir, "checkout", "-q", "theirs")
	f.conflict("rebase", "main")
	f.merge(nobody, false)
	out, err := tryGit(f.dir, "-c", "core.editor=true", "rebase", "--continue")
	for n := 0; err != nil && n < 5; n++ {
		if len(f.unmerged()) == 0 {
			t.Fatal(out)
		}
		f.merge(nobody, false)
		out, err = tryGit(f.dir, "-c", "core.editor=true", "rebase", "--continue")
	}
	if err != nil {
		t.Fatal(out)
	}
	f.good("m: A=main B=one C=two", "n: A=two B=base")

	f = newFork(t)
	f.branches(func() { f.write(change("m", "A=main")) }, func() {
		f.write(change("m", "B=one"))
		commit(t, f.dir, "one")
		f.write(change("m", "C=two"))
	})
	f.conflict("cherry-pick", "theirs")
	f.merge(nobody, false)
	f.finish("m: A=main B=base C=two") // that commit, and not the one before it
}

// TestMergeEditor: somebody took theirs in a web editor; for git that is
// resolved, and the seal knows better.
func TestMergeEditor(t *testing.T) {
	f := newFork(t)
	f.branches(func() { f.write(change("m", "A=ours")); f.seal() }, func() { f.write(change("m", "B=theirs")) })
	name := f.conflict()[0]
	git(t, f.dir, "checkout", "-q", "--theirs", "--", ".envrun/vault/envs/dev/"+name)
	f.finishAdd()
	_, err := f.vault().Get(t.Context(), "dev", "m")
	wantError(t, err, vault.KindTampered, ".envrun/vault/envs/dev/"+name, "two people wrote version 2")
	f.merge(nobody, false)
	f.finish("m: A=ours B=theirs")

	// A revert of what was sealed is another thing: it is not undone and not let pass.
	f = newFork(t)
	f.write(change("m", "A=2"))
	commit(t, f.dir, "two")
	f.seal()
	commit(t, f.dir, "seal")
	git(t, f.dir, "revert", "--no-edit", "HEAD~1")
	before := read(t, file(f.o, "envs/dev/secrets/m.sec"))
	r, err := f.vault().Merge(t.Context(), engine.MergeOptions{Choose: nobody})
	if err != nil || r.Done() {
		t.Fatalf("%v\n%s", err, say(r))
	}
	wantError(t, r.Envs[0].Records[0].Err, vault.KindTampered, ".envrun/vault/envs/dev/secrets/m.sec", "set back to version 1; the seal has version 2")
	if !bytes.Equal(before, read(t, file(f.o, "envs/dev/secrets/m.sec"))) {
		t.Error("it was changed")
	}
}

// TestMergeRollback: a thief who can write to the repository, and holds no key,
// has a branch in which a secret is an old version of itself. Merged by field
// its old values would come back in a new version, above every seal.
func TestMergeRollback(t *testing.T) {
	for _, c := range []struct {
		name string
		old  string // the commit whose file is put back
		from string // the commit that the branch is cut from
	}{
		{"from the base", "v1", "v3"},
		{"on an old base", "v2", "v1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFork(t)
			for _, n := range []string{"1", "2", "3"} {
				f.write(change("m", "A="+n))
				commit(t, f.dir, n)
				git(t, f.dir, "tag", "v"+n)
			}
			f.write(change("m", "A=1")) // so that A is as it was at the old base
			f.seal()
			commit(t, f.dir, "sealed")
			git(t, f.dir, "checkout", "-q", "-b", "theirs", c.from)
			git(t, f.dir, "checkout", "-q", c.old, "--", ".envrun/vault/envs/dev/secrets/m.sec")
			git(t, f.dir, "commit", "-q", "--allow-empty", "-m", "an old version")
			git(t, f.dir, "checkout", "-q", "main")
			f.write(change("m", "B=ours"))
			commit(t, f.dir, "ours")
			if out, err := tryGit(f.dir, "merge", "-q", "-m", "merge", "theirs"); err != nil {
				if len(f.unmerged()) == 0 {
					t.Fatal(out)
				}
				r := f.merge(nobody, false)
				if m := r.Envs[0].Records[0]; m.Side != engine.Ours || m.Why == "" || m.Wrote {
					t.Errorf("%+v", m)
				}
			}
			f.finish("m: A=1 B=ours")
		})
	}
	// A forged side, and one of another place.
	for _, name := range []string{"forged", "moved", "link"} {
		t.Run(name, func(t *testing.T) {
			f := newFork(t)
			m := file(f.o, "envs/dev/secrets/m.sec")
			f.branches(func() { f.write(change("m", "A=ours")) }, func() {
				switch name {
				case "forged":
					write(t, m, bytes.Replace(read(t, m), []byte("version 1"), []byte("version 9"), 1))
				case "moved":
					write(t, m, read(t, file(f.o, "envs/dev/secrets/n.sec")))
				case "link":
					if runtime.GOOS == "windows" {
						t.Skip("links need rights there")
					}
					os.Remove(m)
					if err := os.Symlink("/etc/passwd", m); err != nil {
						t.Fatal(err)
					}
				}
			})
			f.conflict()
			r, err := f.vault().Merge(t.Context(), engine.MergeOptions{Choose: always(engine.Theirs), Adopt: true})
			if err != nil || r.Done() || len(r.Added) > 0 {
				t.Errorf("%v\n%s", err, say(r))
			}
		})
	}
}

// TestMergeBytes: CRLF, attributes that rewrite bytes, and filters.
func TestMergeBytes(t *testing.T) {
	for _, c := range []struct{ name, attributes string }{
		{"no attributes", ""},
		{"CRLF", "* text eol=crlf\n"},
		{"ident and filter", "* ident filter=x working-tree-encoding=UTF-16\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFork(t)
			os.Remove(file(f.o, ".gitattributes"))
			if !strings.Contains(c.attributes, "filter") { // with which nothing can be committed
				write(t, file(f.o, ".gitattributes"), []byte(c.attributes))
			}
			commit(t, f.dir, "attributes")
			git(t, f.dir, "config", "filter.x.clean", "tr a-z A-Z")
			f.branches(func() { f.write(change("m", "A=ours")); f.seal() }, func() { f.write(change("m", "B=theirs")); f.seal() })
			f.conflict()
			write(t, file(f.o, ".gitattributes"), []byte(c.attributes))
			f.merge(nobody, false)
			for _, name := range []string{"secrets/m.sec", "seal"} {
				want := strings.TrimSpace(string(read(t, file(f.o, "envs/dev/"+name))))
				if got := git(t, f.dir, "show", ":.envrun/vault/envs/dev/"+name); got != want {
					t.Errorf("the index has other bytes of %s", name)
				}
			}
			f.good("m: A=ours B=theirs")
		})
	}
}

// TestMergeAgain: a person went on after a merge that git does not know of.
func TestMergeAgain(t *testing.T) {
	f := newFork(t)
	f.branches(func() { f.write(change("m", "A=ours")) }, func() { f.write(change("m", "B=theirs")) })
	f.conflict()
	lock := filepath.Join(f.dir, ".git", "index.lock")
	write(t, lock, nil)
	r, err := f.vault().Merge(t.Context(), engine.MergeOptions{})
	if err != nil || r.IndexErr == nil || len(r.Added) > 0 {
		t.Fatalf("%v\n%s", err, say(r))
	}
	os.Remove(lock)
	f.write(change("m", "C=later"))
	r = f.merge(nobody, false)
	if m := r.Envs[0].Records[0]; m.Wrote || m.Version != 4 {
		t.Errorf("%+v", m)
	}
	f.finish("m: A=ours B=theirs C=later")
	if r := f.merge(nobody, false); len(r.Envs) > 0 {
		t.Errorf("nothing was to be merged: %s", say(r))
	}
}

// TestMergeCrash kills a merge before every step of its write; the next one
// does the rest.
func TestMergeCrash(t *testing.T) {
	t.Parallel()
	s, copyOf := conflicted(t)
	out, ok := s.order("merge", copyOf()).run(t)
	var steps int
	if _, err := fmt.Sscanf(out, "steps %d", &steps); !ok || err != nil || steps == 0 {
		t.Fatal(out)
	}
	stride := 1
	if testing.Short() {
		stride = 1 + steps/8
	}
	for n := 1; n <= steps; n += stride {
		dir := copyOf()
		order := s.order("merge", dir)
		order.DieAt = n
		if out, ok := order.run(t); ok {
			t.Fatalf("step %d of %d: the process lived: %s", n, steps, out)
		}
		f := &fork{t, dir, s.order("", dir).options()}
		f.merge(nobody, false)
		f.finish("s/00: A=ours B=theirs", "s/01: A=ours B=theirs", "base: A=base B=base")
		if t.Failed() {
			t.Fatalf("at step %d of %d", n, steps)
		}
		os.RemoveAll(dir)
	}
	t.Logf("%d steps", steps)
}

func TestAdoptLate(t *testing.T) {
	f := newFork(t)
	f.branches(f.rotate, func() { f.write(change("new", "A=late")) })
	git(t, f.dir, "merge", "-q", "-m", "merge", "theirs")
	v := f.vault()
	_, err := v.Get(t.Context(), "dev", "new")
	wantError(t, err, vault.KindTampered, "", "retired key 1 by alice@laptop")
	old, err := v.NeedAdoption(t.Context(), "dev")
	if err != nil || len(old) != 1 || old[0].Path != "new" || old[0].Gen != 1 || old[0].Version != 1 {
		t.Fatalf("%+v, %v", old, err)
	}
	list := "envrun-exposed v1\nvault " + v.ID() + "\nenv dev\nmember bob\ngen 1\nsince 2026-01-01T00:00:00Z\nby alice@laptop\nat 2026-02-11T00:00:00Z\na 1\n"
	write(t, file(f.o, "envs/dev/exposed/2026-02-11-bob.list"), []byte(list))
	if err := v.Adopt(t.Context(), "dev", "new"); err != nil {
		t.Fatal(err)
	}
	f.good("new: A=late")
	s, err := v.Status(t.Context())
	if err != nil || len(s.Envs[0].Exposures) != 1 || !slices.Equal(openPaths(s.Envs[0].Exposures[0]), []vault.Path{"a", "new"}) {
		t.Errorf("%+v, %v", s.Envs[0].Exposures, err)
	}
	if info := set(t, v, "dev", "new", "A=replaced"); info.Version != 3 {
		t.Errorf("version %d", info.Version)
	}
	if s, _ := v.Status(t.Context()); !slices.Equal(openPaths(s.Envs[0].Exposures[0]), []vault.Path{"a"}) {
		t.Errorf("%+v", s.Envs[0].Exposures)
	}
	if old, _ := v.NeedAdoption(t.Context(), "dev"); len(old) > 0 {
		t.Errorf("%+v", old)
	}
}

func TestMergeNoGit(t *testing.T) {
	_, o := project(t, "dev")
	if inRepository(o.Dir) {
		t.Skip("temporary folders are in a git repository here")
	}
	_, err := open(t, o).Merge(context.Background(), engine.MergeOptions{})
	wantKind(t, err, vault.KindUnsupported)
}
