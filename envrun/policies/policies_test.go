package policies_test

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"envrun/envrun/policies"
	"envrun/vault"
)

// folder writes files and reads them.
func folder(t *testing.T, files map[string]string) *policies.Folder {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := policies.Read(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

const (
	readA  = "path \"prod/data/a\" {\n  capabilities = [\"read\"]\n}\n"
	writeA = "path \"prod/data/a\" {\n  capabilities = [\"read\", \"update\"]\n}\n"
)

func TestRead(t *testing.T) {
	f := folder(t, map[string]string{"b.hcl": readA, "a.json": `{"path":{"x":{"capabilities":["read"]}}}`, "README.md": "no", ".hidden.hcl": "no"})
	if err := f.Errors(); len(err) != 0 || f.Count() != 2 || f.Files[0].Name != "a" || f.Files[1].Policy.Rules[0].Pattern != "prod/data/a" {
		t.Errorf("%v %+v", err, f)
	}
	for name, files := range map[string]map[string]string{
		"two of one name":     {"a.hcl": readA, "a.json": "{}"},
		"upper case":          {"A.hcl": readA},
		"a space":             {"a b.hcl": readA},
		"root":                {"root.hcl": readA},
		"response-wrapping":   {"response-wrapping.hcl": readA},
		"empty":               {"a.hcl": " \n"},
		"no policy":           {"a.hcl": "pth {}"},
		"too long":            {"a.hcl": strings.Repeat("#", 300<<10)},
		"tests that are none": {"a.hcl": readA, "a.tests": "allow"},
	} {
		errs := folder(t, files).Errors()
		if len(errs) != 1 || vault.KindOf(errs[0]) != vault.KindInvalid {
			t.Errorf("%s: %v", name, errs)
		}
	}
	if _, err := policies.Read(filepath.Join(t.TempDir(), "gone"), nil); !os.IsNotExist(err) {
		t.Error(err)
	}
}

func TestOneFile(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a.hcl": readA, "a.tests": "allow read prod/data/a", "b.hcl": "broken"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a.hcl", "a.tests", "a"} {
		f, err := policies.Read(filepath.Join(dir, name), nil)
		if name == "a" {
			if err == nil {
				t.Error("there is no file a")
			}
			continue
		}
		if err != nil || len(f.Files) != 1 || len(f.Errors()) != 0 || f.Files[0].Tests == nil {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
}

func TestPlan(t *testing.T) {
	f := folder(t, map[string]string{"new.hcl": readA, "same.hcl": readA, "other.hcl": writeA, "other.tests": "allow update prod/data/a\nallow read prod/data/a\n"})
	there := map[string]string{"same": readA, "other": readA, "more": readA, "default": readA}
	names := []string{"default", "more", "other", "root", "same", "unreadable"}
	p := f.Plan(there, names, false, time.Time{})
	var have []string
	for _, s := range p.Steps {
		have = append(have, s.Name+" "+s.What())
		for _, c := range s.Changes {
			have = append(have, c.Pattern+" "+policies.Says(c))
		}
	}
	want := []string{"new new", "prod/data/a gains read", "other changed", "prod/data/a gains update"}
	if !slices.Equal(have, want) {
		t.Errorf("%q, want %q", have, want)
	}
	if !slices.Equal(p.Unmanaged, []string{"more", "unreadable"}) || !slices.Equal(p.Same, []string{"same"}) {
		t.Errorf("%+v", p)
	}
	if len(p.Flips) != 1 || p.Flips[0].Line != 1 || !p.Flips[0].Allowed {
		t.Errorf("%+v", p.Flips)
	}
	// What was not shown is not removed either.
	p = f.Plan(there, names, true, time.Time{})
	last := p.Steps[len(p.Steps)-1]
	if len(p.Steps) != 3 || last.Name != "more" || !last.Remove || policies.Says(last.Changes[0]) != "loses read" || !slices.Equal(p.Unmanaged, []string{"unreadable"}) {
		t.Errorf("%+v", p)
	}
	if d := last.Diff(); !strings.HasPrefix(d, "--- more on the server\n+++ /dev/null\n@@ -1,3 +0,0 @@\n-path") {
		t.Error(d)
	}
}

func TestLockedOut(t *testing.T) {
	admin := "path \"sys/policies/acl/*\" {\n  capabilities = [\"read\", \"list\", \"update\", \"delete\"]\n}\n"
	there := map[string]string{"admin": admin, "reader": readA}
	for _, test := range []struct {
		name  string
		files map[string]string
		held  []string
		want  []string
		known bool
	}{
		{"nothing of its own", map[string]string{"reader.hcl": writeA}, []string{"admin", "default"}, nil, true},
		{"root", map[string]string{"admin.hcl": readA}, []string{"root"}, nil, true},
		{"its own", map[string]string{"admin.hcl": strings.ReplaceAll(admin, "*", "x*")}, []string{"admin"},
			[]string{"list on sys/policies/acl/", "read on sys/policies/acl/admin", "update on sys/policies/acl/admin", "delete on sys/policies/acl/admin"}, true},
		{"a deny beside", map[string]string{"reader.hcl": "path \"sys/policies/acl/reader\" {\n capabilities = [\"deny\"]\n}\n"}, []string{"admin", "reader"},
			[]string{"read on sys/policies/acl/reader", "update on sys/policies/acl/reader", "delete on sys/policies/acl/reader"}, true},
		{"one that cannot be read", map[string]string{"reader.hcl": writeA}, []string{"hidden"}, nil, false},
	} {
		lost, known := folder(t, test.files).Plan(there, nil, false, time.Time{}).LockedOut(test.held, there, time.Time{})
		if !slices.Equal(lost, test.want) || known != test.known {
			t.Errorf("%s: %q %t", test.name, lost, known)
		}
	}
}

// TestUnified gives the difference to patch, which makes one text of the other.
func TestUnified(t *testing.T) {
	if _, err := exec.LookPath("patch"); err != nil {
		t.Skip("there is no patch")
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	text := func(lines int) string {
		var b strings.Builder
		for range lines {
			b.WriteString([]string{"a", "b", "c", "", "path"}[r.IntN(5)] + "\n")
		}
		return b.String()
	}
	dir := t.TempDir()
	for range 60 {
		was := text(r.IntN(30))
		lines := strings.SplitAfter(was, "\n")
		for range r.IntN(4) {
			at := r.IntN(len(lines))
			lines = slices.Concat(lines[:at], []string{text(r.IntN(3))}, lines[min(len(lines), at+r.IntN(3)):])
			if len(lines) == 0 {
				lines = []string{""}
			}
		}
		now := strings.Join(lines, "")
		if r.IntN(4) == 0 {
			now = strings.TrimSuffix(now, "\n")
		}
		diff := policies.Unified(was, now, "was", "now")
		if was == now {
			if diff != "" {
				t.Errorf("a difference of the same: %s", diff)
			}
			continue
		}
		file := filepath.Join(dir, "was")
		if err := os.WriteFile(file, []byte(was), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("patch", "--quiet", "--fuzz=0", "-o", filepath.Join(dir, "now"), file)
		cmd.Stdin = strings.NewReader(diff)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s\n%s", err, out, diff)
		}
		have, err := os.ReadFile(filepath.Join(dir, "now"))
		if err != nil || string(have) != now {
			t.Fatalf("%q, want %q of %q by\n%s", have, now, was, diff)
		}
	}
}

// The policies of docs/policies.md are what check has nothing against, and do what the
// lines below them say.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := strings.Split(string(text), "\n```hcl")
	for _, s := range sections[1:] {
		s = strings.TrimPrefix(s, "\n")
		s, warned := strings.CutPrefix(s, " warned\n")
		hcl, rest, _ := strings.Cut(s, "\n```\n```tests\n")
		tests, _, ok := strings.Cut(rest, "\n```")
		if !ok {
			t.Fatalf("no tests below\n%s", hcl)
		}
		f := folder(t, map[string]string{"p.hcl": hcl, "p.tests": tests})
		if errs := f.Errors(); len(errs) > 0 {
			t.Fatalf("%v\n%s", errs, hcl)
		}
		warnings := 0
		for _, d := range f.Check() {
			if d.Level != policies.Note {
				warnings++
			}
			if !warned {
				t.Errorf("%s:%d: %s %s", d.Path, d.Line, d.Level, d.What)
			}
		}
		if warned != (warnings > 0) {
			t.Errorf("%d warnings of\n%s", warnings, hcl)
		}
		tested, err := f.Test(time.Time{})
		if err != nil || tested.Failed > 0 {
			t.Errorf("%v: %+v", err, tested.Outcomes)
		}
		for _, u := range tested.Untested {
			t.Logf("%d %s %s", u.Line, u.Path, u.What)
		}
	}
	if len(sections) < 6 {
		t.Errorf("only %d policies", len(sections)-1)
	}
}
