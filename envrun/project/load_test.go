package project_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"envrun/envrun/project"
	"envrun/vault"
)

// tree writes files below a fresh directory and returns it without symlinks. A
// name that ends with "/" is a directory.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const small = "vault = '.envrun/vault'\nproject = 'app'\ndefault = 'dev'\n[env.dev]\n[env.prod]\nprotected = true\n"

func TestFind(t *testing.T) {
	dir := tree(t, map[string]string{
		"envrun.toml":                  small, // above the repository
		"repo/.git/":                   "",
		"repo/envrun.toml":             strings.Replace(small, "app", "repo", 1),
		"repo/api/.envrun.toml":        strings.Replace(small, "app", "hidden", 1),
		"repo/api/deep/er/":            "",
		"repo/both/envrun.toml":        strings.Replace(small, "app", "plain", 1),
		"repo/both/.envrun.toml":       strings.Replace(small, "app", "hidden", 1),
		"repo/web/src/":                "",
		"repo/sub/.git":                "gitdir: elsewhere\n", // a submodule or linked work tree
		"repo/sub/src/":                "",
		"home/envrun.toml":             strings.Replace(small, "app", "home", 1),
		"home/me/work/":                "",
		"repo/broken/envrun.toml":      "vault = 3\n",
		"repo/broken/inner/":           "",
		"repo/broken/inner/file.txt":   "",
		"repo/folder/envrun.toml/":     "",
		"repo/named/deploy.toml":       strings.Replace(small, "app", "named", 1),
		"repo/named/deploy.local.toml": "default = 'prod'\n",
	})
	in := func(rel string) string { return filepath.Join(dir, filepath.FromSlash(rel)) }
	for _, c := range []struct {
		from, config, home string
		want               vault.Path // "": none
		last               string     // where the search ended
	}{
		{from: "repo", want: "repo"},
		{from: "repo/web/src", want: "repo"},
		{from: "repo/api/deep/er", want: "hidden"},
		{from: "repo/both", want: "plain"},
		{from: "repo/sub/src", last: "repo/sub"},
		{from: "home/me/work", home: "home/me", last: "home/me"},
		{from: "home/me/work", home: "home", want: "home"},
		{from: "home/me/work", want: "home"},
		{from: "repo/web/gone/deeper", want: "repo"},
		{from: "repo/sub/src", config: "../../envrun.toml", want: "repo"},
		{from: "home", config: in("repo/named/deploy.toml"), want: "named"},
	} {
		o := project.FindOptions{Dir: in(c.from), Config: c.config}
		if c.home != "" {
			o.Home = in(c.home) + string(filepath.Separator)
		}
		p, err := project.Find(o)
		if c.want == "" {
			var none *project.NoProjectError
			if !errors.As(err, &none) || vault.KindOf(err) != vault.KindNoVault || none.Dir != in(c.from) || none.Last != in(c.last) {
				t.Errorf("%+v: error %v", c, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		if p.Name != c.want || p.Dir != filepath.Dir(p.File) || p.Vault != filepath.Join(p.Dir, ".envrun", "vault") {
			t.Errorf("%+v: %s in %s, vault %s", c, p.Name, p.File, p.Vault)
		}
	}
	// What is wrong with the nearest file is said; the search does not go on.
	if _, err := project.Find(project.FindOptions{Dir: in("repo/broken/inner")}); vault.KindOf(err) != vault.KindInvalid || !strings.Contains(err.Error(), "envrun.toml:1") {
		t.Errorf("broken: %v", err)
	}
	if _, err := project.Find(project.FindOptions{Dir: in("repo/folder")}); vault.KindOf(err) != vault.KindInvalid || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a directory of that name: %v", err)
	}
	if _, err := project.Find(project.FindOptions{Dir: dir, Config: "gone.toml"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a named file that is not there: %v", err)
	}
	p, err := project.Find(project.FindOptions{Dir: in("repo/named"), Config: "deploy.toml"})
	if err != nil || p.Default != "prod" || !p.Local || len(p.Sources) != 2 {
		t.Errorf("the local file of a named one: %v %+v", err, p)
	}
}

func TestFindDefaultsToWorkingDirectory(t *testing.T) {
	dir := tree(t, map[string]string{"envrun.toml": small, "a/b/": ""})
	t.Chdir(filepath.Join(dir, "a", "b"))
	p, err := project.Find(project.FindOptions{})
	if err != nil || p.Dir != dir {
		t.Errorf("%v %+v", err, p)
	}
}

func TestWhoMayWrite(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("owners and access lists are not looked at on Windows")
	}
	t.Run("everybody", func(t *testing.T) {
		dir := tree(t, map[string]string{"envrun.toml": small})
		file := filepath.Join(dir, "envrun.toml")
		if err := os.Chmod(file, 0o666); err != nil {
			t.Fatal(err)
		}
		for _, o := range []project.FindOptions{{Dir: dir}, {Dir: dir, Config: file}} {
			_, err := project.Find(o)
			var e *project.Error
			if !errors.As(err, &e) || e.Kind != vault.KindInsecure || e.Pos.File != file || vault.KindOf(err) != vault.KindInsecure {
				t.Errorf("%+v: %v", o, err)
			}
		}
		if err := os.Chmod(file, 0o664); err != nil { // a group of one's own, under umask 002
			t.Fatal(err)
		}
		if _, err := project.Find(project.FindOptions{Dir: dir}); err != nil {
			t.Errorf("mode 0664: %v", err)
		}
	})
	t.Run("everybody, other layers", func(t *testing.T) {
		for _, name := range []string{"envrun.local.toml", "base.toml"} {
			dir := tree(t, map[string]string{"envrun.toml": small + "[mask]\n", "envrun.local.toml": "", "base.toml": ""})
			text := "extends = 'base.toml'\n" + small
			if err := os.WriteFile(filepath.Join(dir, "envrun.toml"), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := project.Find(project.FindOptions{Dir: dir}); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(filepath.Join(dir, name), 0o646); err != nil {
				t.Fatal(err)
			}
			if _, err := project.Find(project.FindOptions{Dir: dir}); vault.KindOf(err) != vault.KindInsecure {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	t.Run("another user", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("only root can give a file to another user")
		}
		dir := tree(t, map[string]string{"envrun.toml": small, "link/": "", "deep/": ""})
		file := filepath.Join(dir, "envrun.toml")
		if err := os.Chown(file, 12345, 12345); err != nil {
			t.Skipf("this system does not let root change owners: %v", err)
		}
		if _, err := project.Find(project.FindOptions{Dir: filepath.Join(dir, "deep")}); vault.KindOf(err) != vault.KindInsecure || !strings.Contains(err.Error(), "12345") {
			t.Errorf("found: %v", err)
		}
		if _, err := project.Find(project.FindOptions{Dir: dir, Config: file}); err != nil {
			t.Errorf("named: %v", err)
		}
		// A link of ours to a file of theirs, and one of theirs to a file of ours.
		if err := os.Symlink(file, filepath.Join(dir, "link", "envrun.toml")); err != nil {
			t.Fatal(err)
		}
		if _, err := project.Find(project.FindOptions{Dir: filepath.Join(dir, "link")}); vault.KindOf(err) != vault.KindInsecure {
			t.Errorf("our link to their file: %v", err)
		}
		if err := errors.Join(os.Chown(file, 0, 0), os.Lchown(filepath.Join(dir, "link", "envrun.toml"), 12345, 12345)); err != nil {
			t.Fatal(err)
		}
		if _, err := project.Find(project.FindOptions{Dir: filepath.Join(dir, "link")}); vault.KindOf(err) != vault.KindInsecure {
			t.Errorf("their link to our file: %v", err)
		}
	})
}

func TestSymlink(t *testing.T) {
	dir := tree(t, map[string]string{
		"real/envrun.toml":       small,
		"real/envrun.local.toml": "default = 'prod'\n",
		"elsewhere/":             "",
	})
	link := filepath.Join(dir, "elsewhere", "envrun.toml")
	if err := os.Symlink(filepath.Join("..", "real", "envrun.toml"), link); err != nil {
		t.Skipf("this system makes no symlinks here: %v", err)
	}
	p, err := project.Find(project.FindOptions{Dir: filepath.Join(dir, "elsewhere")})
	if err != nil {
		t.Fatal(err)
	}
	real := filepath.Join(dir, "real")
	if p.Dir != real || p.Vault != filepath.Join(real, ".envrun", "vault") || p.Default != "prod" || !p.Local {
		t.Errorf("%+v", p)
	}
	dangling := tree(t, nil)
	if err := os.Symlink("gone", filepath.Join(dangling, "envrun.toml")); err != nil {
		t.Fatal(err)
	}
	if _, err := project.Find(project.FindOptions{Dir: dangling}); !errors.Is(err, os.ErrNotExist) || vault.KindOf(err) == vault.KindNoVault {
		t.Errorf("a link to nothing: %v", err)
	}
}

func TestExtends(t *testing.T) {
	dir := tree(t, map[string]string{
		"envrun.toml": `vault = "vault"
project = "root"
default = "dev"
require = ["A"]
allow_names = ["EDITOR"]
[env.dev]
[env.prod]
protected = true
mask = "always"
[[inject]]
path = "shared"
[mask]
X = true
`,
		"envrun.local.toml": "default = 'nowhere'\n", // of the base: not read
		"api/envrun.toml": `extends = "../envrun.toml"
project = "api"
require = ["B", "A"]
[env.dev]
vault = "own"
[env.test]
[[file]]
path = "f"
field = "f"
var = "F"
[mask]
X = false
`,
		"api/v2/envrun.toml": "extends = \"../envrun.toml\"\nallow_names = [\"PAGER\"]\n[[inject]]\npath = \"two\"\n",
	})
	p, err := project.Load(filepath.Join(dir, "api", "v2", "envrun.toml"))
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, r := range p.Inject {
		paths = append(paths, string(r.Path))
	}
	// Lowest first; api names a project and has no rule, so its fields are all given.
	if got := strings.Join(paths, " "); got != "shared api two" || !p.Inject[1].Default {
		t.Errorf("rules %s", got)
	}
	if p.Name != "api" || p.Default != "dev" || p.Vault != filepath.Join(dir, "vault") || len(p.Sources) != 3 || p.Local {
		t.Errorf("%+v", p)
	}
	if p.Sources[0] != filepath.Join(dir, "envrun.toml") || p.Inject[0].Pos.File != p.Sources[0] || p.Inject[2].Pos.File != p.File {
		t.Errorf("files %v", p.Sources)
	}
	if got := names(p.Require); got != "A:4 B:3" {
		t.Errorf("require %s", got)
	}
	if got := names(p.Allow); got != "EDITOR:5 PAGER:2" {
		t.Errorf("allow_names %s", got)
	}
	if len(p.Mask) != 2 || p.Mask[1].Mask {
		t.Errorf("mask %v", p.Mask)
	}
	dev, _ := p.Env("dev")
	prod, _ := p.Env("prod")
	test, _ := p.Env("test")
	if dev.Vault != filepath.Join(dir, "api", "own") || prod.Vault != p.Vault || !prod.Protected || prod.Mask != project.MaskAlways || test.Vault != p.Vault {
		t.Errorf("environments %+v", p.Envs)
	}
}

func TestExtendsRefuses(t *testing.T) {
	dir := tree(t, map[string]string{
		"self.toml":   "extends = 'self.toml'\n",
		"a.toml":      "extends = 'b.toml'\n",
		"b.toml":      "extends = './sub/../a.toml'\n",
		"sub/":        "",
		"gone.toml":   "\nextends = 'nowhere.toml'\n",
		"bad.toml":    "extends = 'wrong.toml'\n",
		"wrong.toml":  "\n\nvautl = 'v'\n",
		"d0.toml":     small,
		"broken.toml": "extends = 'd0.toml'\ndefault = 'x'\n",
	})
	for i, c := range "12345678" {
		text := "extends = 'd" + string(rune('0'+i)) + ".toml'\n"
		if err := os.WriteFile(filepath.Join(dir, "d"+string(c)+".toml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		file, at string
		line     int
		says     string
	}{
		{"self.toml", "self.toml", 1, "a loop"},
		{"a.toml", "b.toml", 1, "a loop"},
		{"gone.toml", "gone.toml", 2, "not there"},
		{"bad.toml", "wrong.toml", 3, "unknown key"},
		{"d8.toml", "d1.toml", 1, "more than 7"},
		{"broken.toml", "broken.toml", 2, "no [env.x]"},
	} {
		_, err := project.Load(filepath.Join(dir, c.file))
		var e *project.Error
		if !errors.As(err, &e) || e.Pos.File != filepath.Join(dir, c.at) || e.Pos.Line != c.line || !strings.Contains(e.Error(), c.says) {
			t.Errorf("%s: %v, want %s:%d and %q", c.file, err, c.at, c.line, c.says)
		}
	}
	if _, err := project.Load(filepath.Join(dir, "d7.toml")); err != nil {
		t.Errorf("eight files: %v", err)
	}
}

func TestLocal(t *testing.T) {
	load := func(t *testing.T, name, local string) (*project.Project, error) {
		dir := tree(t, map[string]string{name: small, project.LocalName(name): local})
		return project.Find(project.FindOptions{Dir: dir})
	}
	for _, name := range project.FileNames() {
		p, err := load(t, name, "default = 'prod'\nvault = '/other'\n[[inject]]\npath='mine'\n[env.dev]\nprotected = true\n[env.mine]\n")
		if err != nil {
			t.Fatal(err)
		}
		dev, _ := p.Env("dev")
		if p.Default != "prod" || !p.Local || !dev.Protected || len(p.Envs) != 3 || p.DefaultPos.File != filepath.Join(p.Dir, project.LocalName(name)) {
			t.Errorf("%s: %+v", name, p)
		}
		// The rule for the whole project stays, the local one comes on top.
		if len(p.Inject) != 2 || !p.Inject[0].Default || p.Inject[1].Path != "mine" {
			t.Errorf("%s: rules %+v", name, p.Inject)
		}
	}
	p, err := load(t, "envrun.toml", "project = 'other'\n")
	if err != nil || len(p.Inject) != 1 || p.Inject[0].Path != "other" {
		t.Errorf("another project: %v %+v", err, p)
	}
	for local, says := range map[string]string{
		"extends = 'envrun.toml'":         "cannot extend",
		"[env.prod]\nprotected = false\n": "cannot lift the protection of prod",
		"nonsense = 1":                    "unknown key",
		"default = 'nowhere'":             "no [env.nowhere]",
	} {
		_, err := load(t, "envrun.toml", local)
		var e *project.Error
		if !errors.As(err, &e) || filepath.Base(e.Pos.File) != "envrun.local.toml" || !strings.Contains(e.Error(), says) {
			t.Errorf("%q: %v, want %q", local, err, says)
		}
	}
	if _, err := load(t, "envrun.toml", "[env.dev]\nprotected = false\n[env.prod]\nprotected = true\n"); err != nil {
		t.Errorf("what lifts nothing is refused: %v", err)
	}
	if project.LocalName("envrun") != "" {
		t.Error("a name without .toml has a local file")
	}
}

func TestLargeFile(t *testing.T) {
	dir := tree(t, map[string]string{"envrun.toml": small + "#" + strings.Repeat("x", project.MaxSize)})
	if _, err := project.Find(project.FindOptions{Dir: dir}); vault.KindOf(err) != vault.KindInvalid || !strings.Contains(err.Error(), "256 KiB") {
		t.Errorf("%v", err)
	}
}

func BenchmarkLoad(b *testing.B) {
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "envrun.toml"), []byte(full), 0o644); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := project.Load(filepath.Join(dir, "envrun.toml")); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFind(b *testing.B) {
	dir := b.TempDir()
	deep := filepath.Join(dir, "a", "b", "c", "d")
	if err := errors.Join(os.MkdirAll(deep, 0o755), os.WriteFile(filepath.Join(dir, "envrun.toml"), []byte(full), 0o644)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := project.Find(project.FindOptions{Dir: deep}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	text := []byte(full)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := project.Parse("/p/envrun.toml", text); err != nil {
			b.Fatal(err)
		}
	}
}

// What a team allows to be kept without its server, one of them cannot lengthen.
func TestLocalCache(t *testing.T) {
	for local, want := range map[string]time.Duration{"'2h'": 2 * time.Hour, "'off'": 0, "'8h'": 8 * time.Hour, "'9h'": -1} {
		dir := tree(t, map[string]string{
			"envrun.toml":       "vault = 'https://v'\n[env.staging]\ncache = '8h'\n",
			"envrun.local.toml": "[env.staging]\ncache = " + local + "\n",
		})
		p, err := project.Load(filepath.Join(dir, "envrun.toml"))
		var e *project.Error
		switch {
		case want < 0:
			if !errors.As(err, &e) || e.Key != "env.staging.cache" || !strings.Contains(e.Error(), "for longer than") {
				t.Errorf("%s: %v", local, err)
			}
		case err != nil:
			t.Errorf("%s: %v", local, err)
		default:
			if env, _ := p.Env("staging"); env.CacheFor(nil) != want {
				t.Errorf("%s: %v", local, env.CacheFor(nil))
			}
		}
	}
}
