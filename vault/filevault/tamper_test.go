package filevault_test

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"envrun/vault"
	"envrun/vault/filevault"
)

// TestTamper changes every file of a vault in every way that is cheap to try: a
// byte here and there, a line gone, doubled or in another place, the end cut
// off. A reader gets the value that was written or an error, never another
// value, and a changed file that counts is found by verify.
func TestTamper(t *testing.T) {
	m := newTeam(t)
	v := m.aliceVault
	set(t, v, "dev", "a", "A=2", "B=b")
	set(t, v, "dev", "gone", "A=1")
	if _, err := v.Apply(t.Context(), "dev", []vault.Change{{Path: "gone", Was: vault.Any, Delete: true}}); err != nil {
		t.Fatal(err)
	}
	rotate(t, v, "dev", m.toAlice, m.toBob)
	set(t, v, "dev", "a", "A=3", "B=b")
	if err := v.Seal(t.Context(), "dev"); err != nil {
		t.Fatal(err)
	}
	clean(t, v, "dev")
	o := m.alice
	o.Notice = func(string) {}
	files := tree(t, o.Dir)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "envs/prod") {
			continue
		}
		text := files[name]
		// The wrapped part of somebody else's grant opens for them alone.
		closed := len(text)
		if strings.Contains(name, "bob@desktop") {
			closed = strings.Index(text, "-----BEGIN")
		}
		for what, changed := range variants(text, closed) {
			write(t, file(o, name), []byte(changed))
			v, err := filevault.Open(t.Context(), o)
			if err != nil {
				continue
			}
			if s, err := v.Get(t.Context(), "dev", "a"); err == nil && show(s) != "A=3 B=b" {
				t.Fatalf("%s, %s: read %s", name, what, show(s))
			}
			if _, err := v.Get(t.Context(), "dev", "gone"); err == nil {
				t.Fatalf("%s, %s: a deleted secret is back", name, what)
			}
			// What is said of a retired key binds nobody once the present one is known,
			// and a comment in vault.toml is nothing.
			if len(findings(t, v, "dev")) == 0 && name != "vault.toml" && !strings.Contains(name, "keys/0001/bob") {
				t.Errorf("%s, %s: verify finds nothing", name, what)
			}
		}
		if name != "vault.toml" {
			os.Remove(file(o, name))
			v := open(t, o)
			if s, err := v.Get(t.Context(), "dev", "a"); err == nil && show(s) != "A=3 B=b" {
				t.Fatalf("%s removed: read %s", name, show(s))
			}
			// Retired keys are pruned, so that one is missing is no finding.
			if len(findings(t, v, "dev")) == 0 && !strings.Contains(name, "keys/0001/") {
				t.Errorf("%s removed: verify finds nothing", name)
			}
		}
		write(t, file(o, name), []byte(text))
	}
	clean(t, open(t, m.alice), "dev")
}

// variants are changes of a text, by what was done to it.
func variants(text string, end int) map[string]string {
	all := map[string]string{}
	lines := strings.SplitAfter(text[:end], "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	rest := text[end:]
	at := 0
	for i, line := range lines {
		where := "line " + strings.TrimSpace(line[:min(len(line), 12)])
		for _, pos := range []int{0, len(line) / 2, len(line) - 2} {
			if pos < 0 {
				continue
			}
			b := []byte(text)
			b[at+pos] ^= 1
			all[where+" changed"] = string(b)
		}
		all[where+" removed"] = strings.Join(slices.Delete(slices.Clone(lines), i, i+1), "") + rest
		all[where+" doubled"] = strings.Join(slices.Insert(slices.Clone(lines), i, line), "") + rest
		if i > 0 {
			swapped := slices.Clone(lines)
			swapped[i-1], swapped[i] = swapped[i], swapped[i-1]
			all[where+" moved up"] = strings.Join(swapped, "") + rest
		}
		at += len(line)
	}
	all["cut off"] = text[:len(text)/2]
	all["emptied"] = ""
	all["longer"] = text + "x"
	return all
}
