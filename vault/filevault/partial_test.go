package filevault_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"envrun/vault/filevault"
)

// TestPartsOfARotation commits any part of what a removal has changed, and goes
// on in another clone. With the new key in it, that is recognised and finished
// there; without, nothing of what is under it passes for good. With the rest
// it is whole.
func TestPartsOfARotation(t *testing.T) {
	t.Parallel()
	rounds := 24
	switch {
	case thorough():
		rounds = 300
	case testing.Short():
		rounds = 6
	}
	rng := rand.New(rand.NewPCG(testSeed(t), 3))
	needGit(t)
	s := newStage(t, few)
	o := s.order("", s.dir).options()
	v := open(t, o)
	if err := v.AddMember(t.Context(), "dev", filevault.NewMember{Member: "bob@desktop", Recipient: identity(t).Recipient()}); err != nil {
		t.Fatal(err)
	}
	if err := v.Seal(t.Context(), "dev"); err != nil {
		t.Fatal(err)
	}
	git(t, s.dir, "init", "-q")
	write(t, filepath.Join(s.dir, ".gitignore"), []byte("/state/\n"))
	commit(t, s.dir, "before")
	want := see(t, open(t, o))
	if _, err := v.RemoveMembers(t.Context(), "dev", []string{"bob@desktop"}, filevault.RotateOptions{}); err != nil {
		t.Fatal(err)
	}
	after := see(t, open(t, o))
	var changed []string
	for line := range strings.Lines(git(t, s.dir, "status", "--porcelain", "-uall") + "\n") {
		changed = append(changed, strings.TrimSpace(line[2:]))
	}
	if len(changed) < few+4 {
		t.Fatalf("it has changed %q", changed)
	}
	finished := 0
	for round := range rounds {
		dir := t.TempDir()
		part := slices.Clone(changed)
		rng.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
		part = part[:1+rng.IntN(len(part)-1)]
		if round%2 == 0 { // mostly the keys are in it, which come first in every list
			for _, name := range changed {
				if strings.Contains(name, "/keys/") && !slices.Contains(part, name) {
					part = append(part, name)
				}
			}
		}
		git(t, s.dir, append([]string{"add", "--"}, part...)...)
		git(t, s.dir, "commit", "-q", "-m", "a part of it")
		git(t, dir, "clone", "-q", s.dir, "clone")
		git(t, s.dir, "reset", "-q", "HEAD~")

		clone := s.order("", filepath.Join(dir, "clone")).options()
		clone.StateDir = filepath.Join(dir, "state")
		copyTree(t, clone.StateDir, o.StateDir)
		if err := os.Chmod(clone.StateDir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(clone.StateDir, "pins"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(clone.StateDir, "pins", v.ID()+".toml"), 0o600); err != nil {
			t.Fatal(err)
		}
		has := func(what string) bool {
			return slices.ContainsFunc(part, func(name string) bool { return strings.HasSuffix(name, what) })
		}
		c := open(t, clone)
		if has("0002/gen") && has("olga@laptop.grant") {
			finished++
			st := status(t, clone, "dev")
			if st.Gen != 2 || len(st.OldKey) == 0 && st.SealGen == 2 && has(".list") && len(part) < len(changed) {
				t.Errorf("status does not see it: %+v", st)
			}
			if _, err := c.ResumeRotation(t.Context(), "dev", filevault.RotateOptions{}); err != nil {
				t.Errorf("resume: %v", err)
			}
			if got := see(t, open(t, clone)); got != after {
				t.Errorf("it is\n%s\nand not\n%s", got, after)
			}
			set(t, open(t, clone), "dev", "after", "A=1")
			clean(t, open(t, clone), "dev", "prod")
			if st := status(t, clone, "dev"); len(st.Exposures) != 1 || st.Exposures[0].Member != "bob@desktop" {
				t.Errorf("what bob could read is not listed: %+v", st.Exposures)
			}
		} else {
			_, err := c.GetAll(t.Context(), "dev", "")
			if err == nil && (has(".sec") || has("/seal")) {
				t.Errorf("with %q it reads as good", part)
			}
			if _, err := c.ResumeRotation(t.Context(), "dev", filevault.RotateOptions{}); err == nil && has(".sec") {
				t.Errorf("with %q it could be finished", part)
			}
			if got := see(t, open(t, clone)); got == after && got != want {
				t.Errorf("with %q it is as if all were there", part)
			}
			// The rest comes.
			for _, name := range changed {
				to := filepath.Join(dir, "clone", name)
				if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
					t.Fatal(err)
				}
				write(t, to, read(t, filepath.Join(s.dir, name)))
			}
			if got := see(t, open(t, clone)); got != after {
				t.Errorf("with all it is\n%s\nand not\n%s", got, after)
			}
			clean(t, open(t, clone), "dev", "prod")
		}
		if t.Failed() {
			t.Fatalf("round %d: committed %q", round, part)
		}
	}
	t.Logf("%d of %d finished in the clone", finished, rounds)
}
