//go:build unix

// Package envrun_test tests the installer and the release archives as users
// get them: with real shells, a real build and real readers of what is
// installed. Nothing is fetched, and nothing is written outside temporary folders.
package envrun_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// top holds what several tests share; others may enter it, since a test runs
// the installer as somebody else.
var top string

func TestMain(m *testing.M) {
	var err error
	if top, err = os.MkdirTemp("", "envrun-install-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := os.Chmod(top, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(top)
	os.Exit(code)
}

// shells are those that people run install.sh with, by how they are called.
func shells(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for name, argv := range map[string][]string{"dash": {"dash"}, "bash": {"bash"}, "busybox": {"busybox", "sh"}} {
		if _, err := exec.LookPath(argv[0]); err != nil {
			t.Logf("not tested with %s: it is not here", name)
			continue
		}
		found[name] = argv
	}
	if len(found) == 0 {
		found["sh"] = []string{"sh"}
	}
	return found
}

// A box is a machine for one test: a home and a folder to install to.
type box struct {
	t     *testing.T
	shell []string
	home  string
	dir   string // the working directory
	env   map[string]string
	uid   int // 0: as we are
}

func newBox(t *testing.T) *box {
	t.Helper()
	home := newDir(t)
	return &box{t: t, shell: []string{"sh"}, home: home, dir: home, env: map[string]string{
		"HOME": home, "PATH": os.Getenv("PATH"), "TMPDIR": newDir(t), "SHELL": "/bin/sh",
		"LC_ALL":  "C.UTF-8",
		"GOCACHE": goEnv()["GOCACHE"], "GOMODCACHE": goEnv()["GOMODCACHE"], "GOROOT": "",
		// A build that reaches for the network fails.
		"GOPROXY": "off", "GOSUMDB": "off", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly",
	}}
}

// newDir is a temporary folder that other users may enter.
func newDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(top, "box-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

var goEnv = sync.OnceValue(func() map[string]string {
	vars := map[string]string{}
	for _, name := range []string{"GOCACHE", "GOMODCACHE"} {
		out, err := exec.Command("go", "env", name).Output()
		if err != nil {
			panic(err)
		}
		vars[name] = strings.TrimSpace(string(out))
	}
	return vars
})

// run runs argv and returns what it said, both streams, and its status.
func (b *box) run(argv ...string) (string, int) {
	b.t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = b.dir
	cmd.Env = []string{} // never our own
	for name, value := range b.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if b.uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(b.uid), Gid: uint32(b.uid)}}
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		b.t.Fatalf("%v: %v", argv, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// install runs an install.sh and wants it to succeed.
func (b *box) install(script string, args ...string) string {
	b.t.Helper()
	out, code := b.run(append(append(slices.Clone(b.shell), script), args...)...)
	if code != 0 {
		b.t.Fatalf("install.sh %q: status %d\n%s", args, code, out)
	}
	return out
}

// refuse runs an install.sh and wants it to fail with these words, to change
// nothing below the home, and to leave nothing in the temporary folder.
func (b *box) refuse(script string, args []string, words ...string) {
	b.t.Helper()
	before := snapshot(b.t, b.home)
	out, code := b.run(append(append(slices.Clone(b.shell), script), args...)...)
	if code == 0 {
		b.t.Errorf("install.sh %q succeeded:\n%s", args, out)
	}
	for _, w := range words {
		if !strings.Contains(out, w) {
			b.t.Errorf("install.sh %q does not say %q:\n%s", args, w, out)
		}
	}
	if after := snapshot(b.t, b.home); !slices.Equal(before, after) {
		b.t.Errorf("install.sh %q failed and left %v, where there was %v", args, after, before)
	}
	b.tidy()
}

// tidy checks that the temporary folder is empty again.
func (b *box) tidy() {
	b.t.Helper()
	if left := snapshot(b.t, b.env["TMPDIR"]); len(left) > 0 {
		b.t.Errorf("left in the temporary folder: %v", left)
	}
}

// snapshot lists what is below dir: mode, path, and size of files.
func snapshot(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || file == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, file)
		size := int64(0)
		if d.Type().IsRegular() {
			size = info.Size()
		}
		all = append(all, fmt.Sprintf("%s %s %d", info.Mode(), rel, size))
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return all
}

func write(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// copyTree copies a folder with its modes.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// newCheckout copies what git has of this repository as it lies here, with files
// that nobody added yet: the commit to be.
func newCheckout(to string) error {
	out, err := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		return fmt.Errorf("git ls-files: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		if strings.HasSuffix(name, "_test.go") || strings.Contains(name, "/testdata/") {
			continue // a build reads none of them
		}
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted here, and not committed yet
		}
		info, serr := os.Stat(name)
		if err = errors.Join(err, serr, os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o755)); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, name), text, info.Mode().Perm()); err != nil {
			return err
		}
	}
	return nil
}

// checkout is a checkout that all tests share and none changes but for its dist folder.
var checkout = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(top, "checkout")
	return dir, newCheckout(dir)
})

const testVersion = "v1.2.3-test"

var host = runtime.GOOS + "_" + runtime.GOARCH

// dist runs .ci/dist for this machine in a checkout.
func dist(dir string, env ...string) error {
	cmd := exec.Command("sh", ".ci/dist", testVersion, runtime.GOOS+"/"+runtime.GOARCH)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), append([]string{"GOPROXY=off", "GOFLAGS=-mod=readonly", "GOTOOLCHAIN=local"}, env...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf(".ci/dist: %w: %s", err, out)
	}
	return nil
}

// release is a folder with this machine's archive, SHA256SUMS, and the archive unpacked.
type release struct {
	dir, archive, sum, unpacked string
	server, unpackedServer      string // the archive of envrund
}

var makeRelease = sync.OnceValues(func() (release, error) {
	src, err := checkout()
	if err != nil {
		return release{}, err
	}
	if err := dist(src); err != nil {
		return release{}, err
	}
	r := release{dir: filepath.Join(src, "dist")}
	name := "envrun_" + testVersion + "_" + host
	r.archive = filepath.Join(r.dir, name+".tar.gz")
	sums, err := os.ReadFile(filepath.Join(r.dir, "SHA256SUMS"))
	if err != nil {
		return release{}, err
	}
	for line := range strings.Lines(string(sums)) {
		if strings.HasSuffix(line, "  "+name+".tar.gz\n") {
			r.sum, _, _ = strings.Cut(line, " ")
		}
	}
	to := filepath.Join(top, "unpacked")
	if err := os.Mkdir(to, 0o755); err != nil {
		return release{}, err
	}
	r.unpacked = filepath.Join(to, name)
	r.server = filepath.Join(r.dir, "envrund_"+testVersion+"_"+host+".tar.gz")
	r.unpackedServer = filepath.Join(to, "envrund_"+testVersion+"_"+host)
	for _, archive := range []string{r.archive, r.server} {
		if out, err := exec.Command("tar", "-xzf", archive, "-C", to).CombinedOutput(); err != nil {
			return release{}, fmt.Errorf("tar: %w: %s", err, out)
		}
	}
	return r, nil
})

// released makes the archive once; it is what most tests install from, since that builds nothing.
func released(t *testing.T) release {
	t.Helper()
	needGNUTar(t)
	r, err := makeRelease()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func needGNUTar(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("tar", "--version").Output(); err != nil || !bytes.Contains(out, []byte("GNU tar")) {
		t.Skip("suite release archives skipped: tar is not GNU tar here")
	}
}

// installedFiles are the files that an install makes, relative to the prefix.
func installedFiles(t *testing.T) []string {
	t.Helper()
	return filesOf(t, "envrun", 20)
}

// filesOf are the files that an install of a program makes, with so many man pages
// at least.
func filesOf(t *testing.T, program string, least int) []string {
	t.Helper()
	files := []string{
		"bin/" + program,
		"share/bash-completion/completions/" + program,
		"share/" + program + "/" + program + ".ps1",
		"share/" + program + "/installed-files",
		"share/fish/vendor_completions.d/" + program + ".fish",
		"share/zsh/site-functions/_" + program,
		"share/man/man1/" + program + ".1",
	}
	pages, err := filepath.Glob("docs/man/" + program + "-*.1")
	if err != nil || len(pages) < least {
		t.Fatalf("%d man pages: %v", len(pages), err)
	}
	for _, page := range pages {
		files = append(files, "share/man/man1/"+filepath.Base(page))
	}
	slices.Sort(files)
	return files
}

// regular are the regular files below dir, relative to it.
func regular(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, file)
		files = append(files, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	return files
}

// A checkout is built and installed, every file in its place with its mode, and
// uninstalling leaves what was there before, to the last empty folder.
func TestInstallFromCheckout(t *testing.T) {
	src, err := checkout()
	if err != nil {
		t.Fatal(err)
	}
	for name, shell := range shells(t) {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			b.shell = shell
			b.env["XDG_CONFIG_HOME"] = newDir(t) // Go counts its own use there
			// Each shell gets another way to say where to.
			prefix := filepath.Join(b.home, ".local")
			var args []string
			switch name {
			case "bash":
				prefix = filepath.Join(b.home, `it's "my" $HOME, so`)
				b.env["PREFIX"] = prefix + "//"
			case "busybox":
				prefix = filepath.Join(b.home, "rel", "ative")
				args = []string{"--prefix", "rel/./ative"}
				b.env["CDPATH"] = "/usr:/" // a cd of the script must not follow it
			}
			write(t, filepath.Join(prefix, "bin/other"), "#!/bin/sh\n", 0o755)
			write(t, filepath.Join(prefix, "share/man/man1/other.1"), ".TH OTHER 1\n", 0o644)
			if err := os.MkdirAll(filepath.Join(prefix, "share/zsh/site-functions"), 0o755); err != nil {
				t.Fatal(err)
			}
			before := snapshot(t, b.home)

			out := b.install(filepath.Join(src, "install.sh"), args...)
			b.tidy()
			if !strings.Contains(out, "installed envrun dev (go") || !strings.Contains(out, " as "+prefix+"/bin/envrun\n") {
				t.Errorf("it does not say what was installed as what:\n%s", out)
			}
			want := append(installedFiles(t), "bin/other", "share/man/man1/other.1")
			slices.Sort(want)
			if have := regular(t, prefix); !slices.Equal(have, want) {
				t.Errorf("installed\n%q\nwant\n%q", have, want)
			}
			for _, file := range installedFiles(t) {
				info, err := os.Stat(filepath.Join(prefix, file))
				if err != nil {
					t.Fatal(err)
				}
				mode := fs.FileMode(0o644)
				if file == "bin/envrun" {
					mode = 0o755
				}
				if info.Mode().Perm() != mode {
					t.Errorf("%s has mode %v, want %v", file, info.Mode().Perm(), mode)
				}
			}
			for file, from := range map[string]string{
				"share/bash-completion/completions/envrun":    "completions/envrun.bash",
				"share/fish/vendor_completions.d/envrun.fish": "completions/envrun.fish",
				"share/man/man1/envrun-set.1":                 "docs/man/envrun-set.1",
			} {
				if read(t, filepath.Join(prefix, file)) != read(t, filepath.Join(src, from)) {
					t.Errorf("%s is not %s", file, from)
				}
			}

			b.install(filepath.Join(src, "install.sh"), append(args, "--uninstall")...)
			if after := snapshot(t, b.home); !slices.Equal(before, after) {
				t.Errorf("after uninstalling there is\n%q\nand before installing there was\n%q", after, before)
			}
		})
	}
}

// An unpacked archive is verified, installed, updated and removed under every
// shell, with no Go and with folders whose names shells stumble over.
func TestInstallFromUnpackedArchive(t *testing.T) {
	r := released(t)
	for name, shell := range shells(t) {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			b.shell = shell
			b.env["PATH"] = toolsPath(t)
			b.env["PREFIX"] = filepath.Join(b.home, " a  b ", "-c", "ünï'x")
			before := snapshot(t, b.home)
			b.install(filepath.Join(r.unpacked, "install.sh"))
			b.install(filepath.Join(r.unpacked, "install.sh"))
			b.tidy()
			if have, want := regular(t, b.env["PREFIX"]), installedFiles(t); !slices.Equal(have, want) {
				t.Errorf("installed\n%q\nwant\n%q", have, want)
			}
			out, _ := b.run(filepath.Join(b.env["PREFIX"], "bin/envrun"), "version")
			if !strings.HasPrefix(out, "envrun "+testVersion+" (") {
				t.Errorf("version: %s", out)
			}
			b.install(filepath.Join(r.unpacked, "install.sh"), "--uninstall")
			// The prefix itself is the user's.
			if err := errors.Join(os.Remove(b.env["PREFIX"]), os.Remove(filepath.Dir(b.env["PREFIX"])), os.Remove(filepath.Dir(filepath.Dir(b.env["PREFIX"])))); err != nil {
				t.Errorf("the prefix is not empty: %v", err)
			}
			if after := snapshot(t, b.home); !slices.Equal(before, after) {
				t.Errorf("left: %q", after)
			}
			b.refuse(filepath.Join(r.unpacked, "install.sh"), []string{"--uninstall"}, "there is no installation below", "hint: ")
		})
	}
}

// toolsPath is a PATH with what POSIX promises and no Go.
func toolsPath(t *testing.T) string {
	t.Helper()
	dir := newDir(t)
	for _, tool := range []string{"sh", "dash", "bash", "busybox", "cat", "chmod", "cp", "cut", "dirname", "basename", "find", "grep", "gzip", "ls",
		"mkdir", "mktemp", "mv", "rm", "rmdir", "sed", "sha256sum", "shasum", "perl", "sort", "tar", "tr", "uname", "git"} {
		if path, err := exec.LookPath(tool); err == nil {
			if err := os.Symlink(path, filepath.Join(dir, tool)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// installed is an installation from the archive.
func installed(t *testing.T, prepare ...func(*box)) (b *box, prefix, out string) {
	t.Helper()
	r := released(t)
	b = newBox(t)
	prefix = filepath.Join(b.home, ".local")
	for _, f := range prepare {
		f(b)
	}
	if p := b.env["PREFIX"]; p != "" {
		prefix = p
	}
	return b, prefix, b.install(filepath.Join(r.unpacked, "install.sh"))
}

// Shells and man find what was installed where it was installed, as their own
// documentation says they look, without a word of configuration for fish,
// bash-completion and man.
func TestInstalledIsFound(t *testing.T) {
	b, prefix, _ := installed(t)
	b.env["PATH"] = prefix + "/bin:" + b.env["PATH"]
	share := filepath.Join(prefix, "share")
	need := func(t *testing.T, program string) {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("suite %s finds its completion skipped: no %s here", program, program)
		}
	}
	t.Run("fish", func(t *testing.T) {
		need(t, "fish")
		// ~/.local/share is where XDG_DATA_HOME points when it is not set.
		for _, env := range []string{"", share} {
			b.env["XDG_DATA_HOME"] = env
			if env == "" {
				delete(b.env, "XDG_DATA_HOME")
			}
			if out, code := b.run("fish", "-c", `complete -C "envrun vers"`); code != 0 || !strings.Contains(out, "version") {
				t.Errorf("XDG_DATA_HOME=%q: status %d: %s", env, code, out)
			}
		}
		delete(b.env, "XDG_DATA_HOME")
	})
	t.Run("zsh", func(t *testing.T) {
		need(t, "zsh")
		out, code := b.run("zsh", "-f", "-c", `fpath=("$1" $fpath); autoload -Uz compinit && compinit -u -D; print -r -- $_comps[envrun]; autoload +X _envrun && whence -w _envrun`, "zsh", filepath.Join(share, "zsh/site-functions"))
		if code != 0 || !strings.HasPrefix(out, "_envrun\n") || !strings.Contains(out, "_envrun: function") {
			t.Errorf("status %d: %s", code, out)
		}
	})
	t.Run("bash", func(t *testing.T) {
		need(t, "bash")
		const loader = "/usr/share/bash-completion/bash_completion"
		if _, err := os.Stat(loader); err != nil {
			t.Skip("suite bash-completion finds its file skipped: no bash-completion here")
		}
		out, code := b.run("bash", "--norc", "-c", `. "$1"; if declare -F __load_completion >/dev/null; then __load_completion envrun; else _comp_load envrun; fi; complete -p envrun`, "bash", loader)
		if code != 0 || !strings.Contains(out, "__start_envrun envrun") {
			t.Errorf("status %d: %s", code, out)
		}
	})
	t.Run("man", func(t *testing.T) {
		need(t, "man")
		// man looks beside the folders of PATH.
		for _, page := range []string{"envrun", "envrun-set"} {
			out, code := b.run("man", "-w", page)
			if want := filepath.Join(share, "man/man1", page+".1"); code != 0 || strings.TrimSpace(out) != want {
				t.Errorf("man -w %s: status %d: %s, want %s", page, code, out, want)
			}
		}
		out, code := b.run("man", "--warnings", "-P", "cat", "envrun")
		if code != 0 || strings.Contains(out, "warning:") || !strings.Contains(out, "NAME") {
			t.Errorf("man envrun: status %d: %.2000s", code, out)
		}
	})
}

// The line that is missing in the profile is said, works when it is pasted, and
// is not said when it is not missing.
func TestPathLine(t *testing.T) {
	const odd = `bin's "$HOME" & co`
	for shell, argv := range map[string][]string{
		"sh":   {"sh", "-c"},
		"bash": {"bash", "--norc", "-c"},
		"zsh":  {"zsh", "-f", "-c"},
		"fish": {"fish", "-c"}, // of the box's home; without any config it has no fish_add_path
	} {
		t.Run(shell, func(t *testing.T) {
			if _, err := exec.LookPath(shell); err != nil {
				t.Skipf("suite PATH line of %s skipped: no %s here", shell, shell)
			}
			b, prefix, out := installed(t, func(b *box) {
				b.env["SHELL"] = "/usr/bin/" + shell
				b.env["PREFIX"] = filepath.Join(b.home, odd)
			})
			_, rest, found := strings.Cut(out, "is not in PATH; add this line to your shell's profile:\n")
			if !found {
				t.Fatalf("no line for PATH:\n%s", out)
			}
			line, rest, _ := strings.Cut(rest, "\n")
			if got, code := b.run(append(argv, line+"\ncommand -v envrun")...); code != 0 || strings.TrimSpace(got) != prefix+"/bin/envrun" {
				t.Errorf("%s does not take the line %q: status %d: %s", shell, line, code, got)
			}
			if shell == "zsh" {
				_, rest, found = strings.Cut(rest, "before compinit in ~/.zshrc:\n")
				line, _, _ = strings.Cut(rest, "\n")
				got, code := b.run(append(argv, line+"\nautoload -Uz compinit && compinit -u -D; print $_comps[envrun]")...)
				if !found || code != 0 || strings.TrimSpace(got) != "_envrun" {
					t.Errorf("zsh does not take the line %q: status %d: %s", line, code, got)
				}
			}
			// Pasted, it is not missing any more.
			b.env["PATH"] = prefix + "/bin:" + b.env["PATH"]
			if out := b.install(filepath.Join(released(t).unpacked, "install.sh")); strings.Contains(out, "PATH") {
				t.Errorf("it is in PATH, and yet: %s", out)
			}
		})
	}
	t.Run("another first", func(t *testing.T) {
		other := newDir(t)
		write(t, filepath.Join(other, "envrun"), "#!/bin/sh\n", 0o755)
		_, _, out := installed(t, func(b *box) { b.env["PATH"] = other + ":" + b.home + "/.local/bin:" + b.env["PATH"] })
		if !strings.Contains(out, "note: another envrun comes first in PATH: "+other+"/envrun") {
			t.Errorf("the other envrun is not named:\n%s", out)
		}
	})
}

// A later version removes what it no longer has; the list of what was installed
// may have been changed by anybody, and nothing outside the prefix follows it.
func TestUpdateRemovesWhatIsGone(t *testing.T) {
	r := released(t)
	for _, action := range [][]string{nil, {"--uninstall"}} {
		b, prefix, _ := installed(t)
		list := filepath.Join(prefix, "share/envrun/installed-files")
		write(t, filepath.Join(prefix, "share/man/man1/envrun-gone.1"), "old", 0o644)
		write(t, filepath.Join(prefix, "share/man/man1/envrun-of-another.1"), "kept", 0o644)
		outside := filepath.Join(b.home, "outside")
		write(t, outside, "kept", 0o644)
		write(t, filepath.Join(b.home, ".local-too/x"), "kept", 0o644)
		if err := os.Mkdir(filepath.Join(b.home, "empty"), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, list, read(t, list)+"share/man/man1/envrun-gone.1\n"+outside+"\n../outside\nshare/../../outside\n../empty/\n../.local-too/x\n\n", 0o644)

		out := b.install(filepath.Join(r.unpacked, "install.sh"), action...)
		if _, err := os.Stat(filepath.Join(prefix, "share/man/man1/envrun-gone.1")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: the page of the former version is still there: %v", action, err)
		}
		for _, kept := range []string{outside, filepath.Join(b.home, ".local-too/x"), filepath.Join(prefix, "share/man/man1/envrun-of-another.1"), filepath.Join(b.home, "empty")} {
			if _, err := os.Stat(kept); err != nil {
				t.Errorf("%q: removed %s, which was not installed", action, kept)
			}
		}
		if !strings.Contains(out, "left alone, not below "+prefix+": "+outside) {
			t.Errorf("%q: the foreign line is not named:\n%s", action, out)
		}
		b.tidy()
	}
}

// An envrun that runs keeps its own file while it is updated and even removed.
func TestUpdateWhileRunning(t *testing.T) {
	b, prefix, _ := installed(t)
	program := filepath.Join(prefix, "bin/envrun")
	old, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.Command(program, "key", "import", "-")
	cmd.Env = []string{"HOME=" + b.home}
	cmd.Stderr = &said
	stdin, err := cmd.StdinPipe() // it waits for the end of its stdin
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()

	b.install(filepath.Join(released(t).unpacked, "install.sh"))
	if now, err := os.Stat(program); err != nil || os.SameFile(old, now) {
		t.Errorf("the file of a running program was written into (%v)", err)
	}
	b.install(filepath.Join(released(t).unpacked, "install.sh"), "--uninstall")

	if _, err := io.WriteString(stdin, "no identity\n"); err != nil {
		t.Fatal(err)
	}
	stdin.Close()
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 || !strings.HasPrefix(said.String(), "envrun: stdin: ") {
		t.Errorf("the running envrun did not go on: %v: %s", err, said.String())
	}
}

// What the machine is not good for is refused with words, and changes nothing.
func TestRefused(t *testing.T) {
	r := released(t)
	script := filepath.Join(r.unpacked, "install.sh")
	fake := func(t *testing.T, b *box, name, text string) {
		dir := newDir(t)
		write(t, filepath.Join(dir, name), "#!/bin/sh\n"+text+"\n", 0o755)
		b.env["PATH"] = dir + ":" + b.env["PATH"]
	}
	t.Run("system", func(t *testing.T) {
		b := newBox(t)
		fake(t, b, "uname", `case $1 in -s) echo Plan9 ;; -m) echo x86_64 ;; esac`)
		b.refuse(script, nil, "Plan9 is not supported; Linux, macOS")
	})
	t.Run("processor", func(t *testing.T) {
		b := newBox(t)
		fake(t, b, "uname", `case $1 in -s) echo Linux ;; -m) echo riscv64 ;; esac`)
		b.refuse(script, nil, "riscv64 is not supported; x86_64 (amd64) and arm64 are")
	})
	t.Run("arguments", func(t *testing.T) {
		b := newBox(t)
		b.refuse(script, []string{"--frm", "x"}, "unknown argument: --frm", "hint: ./install.sh --help")
		b.refuse(script, []string{"--prefix"}, "--prefix needs a folder")
		b.refuse(script, []string{"--sha256", r.sum}, "none is named")
		b.refuse(script, []string{"--from"}, "--from needs an archive")
	})
	t.Run("no home", func(t *testing.T) {
		b := newBox(t)
		delete(b.env, "HOME")
		b.refuse(script, nil, "HOME is not set", "hint: PREFIX=")
		b.refuse(script, []string{"--uninstall"}, "HOME is not set")
		prefix := filepath.Join(b.home, "p")
		b.install(script, "--prefix", prefix)
		b.install(script, "--uninstall", "--prefix="+prefix)
	})
	t.Run("neither checkout nor archive", func(t *testing.T) {
		b := newBox(t)
		text := read(t, script)
		dir := newDir(t)
		write(t, filepath.Join(dir, "install.sh"), text, 0o755)
		b.refuse(filepath.Join(dir, "install.sh"), nil, "neither a checkout nor an unpacked release", "hint: ./install.sh --from")
		write(t, filepath.Join(dir, "go.mod"), "module other\n", 0o644)
		b.refuse(filepath.Join(dir, "install.sh"), nil, "neither a checkout nor an unpacked release")
	})
	t.Run("help", func(t *testing.T) {
		b := newBox(t)
		cmd := exec.Command("sh", "-s", "--", "--help") // as from a pipe
		cmd.Dir = b.dir
		cmd.Stdin = strings.NewReader(read(t, script))
		if out, err := cmd.Output(); err != nil || !bytes.Contains(out, []byte("--uninstall")) {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("a folder in the way", func(t *testing.T) {
		b := newBox(t)
		if err := os.MkdirAll(filepath.Join(b.home, ".local/share/man/man1/envrun.1"), 0o755); err != nil {
			t.Fatal(err)
		}
		b.refuse(script, nil, "envrun.1 is a folder; nothing was installed", "hint: ")
	})
	t.Run("a file in the way", func(t *testing.T) {
		b := newBox(t)
		write(t, filepath.Join(b.home, ".local/share/fish"), "", 0o644)
		b.refuse(script, nil, "cannot make the folder", "share/fish", "nothing was installed", "hint: ")
	})
}

// Without a Go, with one that is too old, and with one that fails, a checkout
// installs nothing and says what to do.
func TestRefusedGo(t *testing.T) {
	src, err := checkout()
	if err != nil {
		t.Fatal(err)
	}
	// A checkout whose install.sh does not know of /usr/local/go, which this machine may have.
	dir := newDir(t)
	write(t, filepath.Join(dir, "go.mod"), read(t, filepath.Join(src, "go.mod")), 0o644)
	write(t, filepath.Join(dir, "install.sh"), strings.ReplaceAll(read(t, filepath.Join(src, "install.sh")), "/usr/local/go/", "/nonexistent/go/"), 0o755)
	script := filepath.Join(dir, "install.sh")
	for name, test := range map[string]struct {
		golang string
		words  []string
	}{
		"none":                {"", []string{"no Go here to build with", "hint: install Go from https://go.dev/dl, or use a release archive: ./install.sh --from"}},
		"too old":             {`echo go1.19.8`, []string{"needs Go 1.26 or newer", "is go1.19.8", "hint: "}},
		"a little too old":    {`echo go1.25.99`, []string{"needs Go 1.26 or newer", "is go1.25.99"}},
		"cannot fetch":        {`echo "go: download go1.26: no route" >&2; exit 1`, []string{"needs Go 1.26 or newer", "an older Go that could not fetch it"}},
		"says nothing":        {``, []string{"needs Go 1.26 or newer"}},
		"new, and it fails":   {`[ "$1" = env ] && echo go1.99 || { echo no space >&2; exit 1; }`, []string{"no space", "the build failed, see above; nothing was installed"}},
		"of tomorrow's, same": {`[ "$1" = env ] && echo "devel go1.27-abcdef" || exit 1`, []string{"the build failed"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			b.env["PATH"] = toolsPath(t)
			if name != "none" {
				write(t, filepath.Join(b.env["PATH"], "go"), "#!/bin/sh\n"+test.golang+"\n", 0o755)
			}
			b.refuse(script, nil, test.words...)
		})
	}
}

// A prefix that cannot be written changes nothing, not even half.
func TestUnwritablePrefix(t *testing.T) {
	r := released(t)
	script := filepath.Join(r.unpacked, "install.sh")
	t.Run("not allowed", func(t *testing.T) {
		b := newBox(t)
		if os.Getuid() == 0 {
			b.uid = 65534
		}
		if err := os.Chmod(b.env["TMPDIR"], 0o777); err != nil {
			t.Fatal(err)
		}
		// bin is ours, share is not: the program is not replaced alone.
		for _, dir := range []string{"bin", "share"} {
			if err := os.MkdirAll(filepath.Join(b.home, ".local", dir), 0o777); err != nil {
				t.Fatal(err)
			}
		}
		write(t, filepath.Join(b.home, ".local/bin/envrun"), "the former one", 0o755)
		if err := errors.Join(os.Chmod(filepath.Join(b.home, ".local/bin"), 0o777), os.Chmod(filepath.Join(b.home, ".local/share"), 0o555)); err != nil {
			t.Fatal(err)
		}
		b.refuse(script, nil, "cannot make the folder "+b.home+"/.local/share/bash-completion; nothing was installed", "hint: ./install.sh --prefix FOLDER")
		if read(t, filepath.Join(b.home, ".local/bin/envrun")) != "the former one" {
			t.Error("the program was replaced")
		}
		if err := os.Chmod(filepath.Join(b.home, ".local/bin"), 0o555); err != nil {
			t.Fatal(err)
		}
		b.refuse(script, nil, "cannot write to "+b.home+"/.local/bin; nothing was installed")
	})
	t.Run("full disk", func(t *testing.T) {
		b := newBox(t)
		disk := filepath.Join(b.home, "disk")
		if err := os.Mkdir(disk, 0o755); err != nil {
			t.Fatal(err)
		}
		if os.Getuid() != 0 {
			t.Skip("suite install on a full disk skipped: not root, cannot mount a small one")
		}
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=1m", "envrun-test", disk).CombinedOutput(); err != nil {
			t.Skipf("suite install on a full disk skipped: cannot mount a small one: %s", out)
		}
		defer exec.Command("umount", disk).Run()
		b.env["PREFIX"] = disk
		b.refuse(script, nil, "cannot write to "+disk+"/bin; nothing was installed")
	})
}

// Half a download runs nothing: the script ends at any line and at any byte of
// its last, and nothing is installed or removed. Each is run where the whole
// of it would install at once.
func TestCutOffScript(t *testing.T) {
	r := released(t)
	dir := newDir(t)
	copyTree(t, r.unpacked, dir)
	whole := read(t, filepath.Join(dir, "install.sh"))
	const last = `{ main "$@"; }` + "\n"
	if !strings.HasSuffix(whole, "\n"+last) || strings.Count(whole, "\n{ main") != 1 {
		t.Fatalf("the last line is not %q", last)
	}
	var cuts []int
	for i := range len(whole) - len(last) {
		if whole[i] == '\n' {
			cuts = append(cuts, i, i+1)
			if i%3 == 0 {
				cuts = append(cuts, min(i+8, len(whole)-len(last))) // within the next line
			}
		}
	}
	for i := len(whole) - len(last); i < len(whole)-1; i++ {
		cuts = append(cuts, i)
	}
	cuts = cuts[:len(cuts)-1] // without its newline the last line is whole
	for name, shell := range shells(t) {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			b.shell = shell
			b.dir = dir
			prefix := filepath.Join(b.home, ".local")
			write(t, filepath.Join(prefix, "bin/envrun"), "mine", 0o755)
			write(t, filepath.Join(prefix, "share/envrun/installed-files"), "bin/envrun\n", 0o644)
			before := snapshot(t, b.home)
			points := cuts
			if name != "dash" {
				points = cuts[len(cuts)-60:] // they parse alike; the end is where they may differ
			}
			for _, n := range points {
				write(t, filepath.Join(dir, "install.sh"), whole[:n], 0o755)
				out, _ := b.run(append(slices.Clone(shell), "./install.sh", "--uninstall")...)
				out2 := ""
				if n >= len(whole)-len(last) {
					out2, _ = b.run(append(slices.Clone(shell), "./install.sh")...)
				}
				if after := snapshot(t, b.home); !slices.Equal(before, after) {
					t.Fatalf("cut off at byte %d of %d, after %q, it did something: %s%s\n%q", n, len(whole), whole[max(0, n-40):n], out, out2, after)
				}
			}
			b.tidy()
			t.Logf("%d cuts", len(points))
		})
	}
	// Whole, it does: or the test would prove nothing.
	write(t, filepath.Join(dir, "install.sh"), strings.TrimSuffix(whole, "\n"), 0o755)
	b := newBox(t)
	b.refuse(filepath.Join(dir, "install.sh"), nil, "does not match its SHA-256") // its own script was changed
	write(t, filepath.Join(dir, "install.sh"), whole, 0o755)
	b.install(filepath.Join(dir, "install.sh"))
}

// An archive is installed only after its sum was verified, and only on the
// machine it is for.
func TestInstallFromArchive(t *testing.T) {
	r := released(t)
	script := filepath.Join(r.unpacked, "install.sh")
	name := filepath.Base(r.archive)
	// place puts the archive and sums into a folder of their own.
	place := func(t *testing.T, name, sums string) string {
		dir := filepath.Join(newDir(t), "down loads")
		write(t, filepath.Join(dir, name), read(t, r.archive), 0o644)
		if sums != "" {
			write(t, filepath.Join(dir, "SHA256SUMS"), sums, 0o644)
		}
		return filepath.Join(dir, name)
	}
	wrong := strings.Repeat("0", 64)
	good := func(t *testing.T, sums string, args ...string) {
		t.Helper()
		b := newBox(t)
		b.env["PATH"] = toolsPath(t)
		out := b.install(script, append([]string{"--from", place(t, name, sums)}, args...)...)
		if !strings.Contains(out, "installed envrun "+testVersion) {
			t.Errorf("installed what? %s", out)
		}
		b.tidy()
		if have, want := regular(t, filepath.Join(b.home, ".local")), installedFiles(t); !slices.Equal(have, want) {
			t.Errorf("installed\n%q\nwant\n%q", have, want)
		}
	}
	bad := func(t *testing.T, archive string, args []string, words ...string) {
		t.Helper()
		newBox(t).refuse(script, append([]string{"--from", archive}, args...), words...)
	}
	t.Run("right sum", func(t *testing.T) {
		good(t, wrong+"  envrun_other.tar.gz\n"+r.sum+"  "+name+"\n")
		good(t, r.sum+" *"+name) // binary mode, and no newline at the end
		good(t, "", "--sha256", strings.ToUpper(r.sum))
	})
	t.Run("wrong sum", func(t *testing.T) {
		bad(t, place(t, name, wrong+"  "+name+"\n"), nil, "the SHA-256 of", "is "+r.sum+", not "+wrong, "hint: download it again")
		bad(t, place(t, name, r.sum+"  "+name+"\n"), []string{"--sha256=" + wrong}, "not "+wrong)
		// Two sums for one name are not a choice.
		bad(t, place(t, name, wrong+"  "+name+"\n"+r.sum+"  "+name+"\n"), nil, "the SHA-256 of")
	})
	t.Run("no sum", func(t *testing.T) {
		bad(t, place(t, name, ""), nil, "there is no SHA256SUMS beside", "hint: ", "--sha256 SUM")
		bad(t, place(t, name, r.sum+"  "+name+".old\n"), nil, "does not name "+name)
	})
	t.Run("damaged", func(t *testing.T) {
		archive := place(t, name, r.sum+"  "+name+"\n")
		text := []byte(read(t, archive))
		text[len(text)/2] ^= 1
		write(t, archive, string(text), 0o644)
		bad(t, archive, nil, "the download is damaged or was changed")
	})
	t.Run("not for here", func(t *testing.T) {
		for _, other := range []string{"envrun_v1_plan9_amd64.tar.gz", "envrun_v1_" + host + "v5.tar.gz", "envrun_v1_windows_" + runtime.GOARCH + ".tar.gz"} {
			bad(t, place(t, other, r.sum+"  "+other+"\n"), nil, other+" is not for this machine, which is "+host)
		}
		bad(t, place(t, "envrun.zip", r.sum+"  envrun.zip\n"), nil, "envrun.zip is no release archive")
		bad(t, filepath.Join(r.dir, "missing_"+host+".tar.gz"), nil, "no such file")
	})
	t.Run("no program to verify with", func(t *testing.T) {
		b := newBox(t)
		b.env["PATH"] = toolsPath(t)
		for _, tool := range []string{"sha256sum", "shasum"} {
			os.Remove(filepath.Join(b.env["PATH"], tool))
		}
		b.refuse(script, []string{"--from", place(t, name, r.sum+"  "+name+"\n")}, "neither sha256sum nor shasum is here")
		b.refuse(script, nil, "neither sha256sum nor shasum is here")
	})
}

// The server is installed from its own archive, or built in a checkout, and is
// removed apart from envrun.
func TestInstallServer(t *testing.T) {
	r := released(t)
	files := filesOf(t, "envrund", 10)
	both := append(installedFiles(t), files...)
	slices.Sort(both)
	src, err := checkout()
	if err != nil {
		t.Fatal(err)
	}
	for name, argv := range map[string][]string{
		"its archive, unpacked":       {filepath.Join(r.unpackedServer, "install.sh")},
		"its archive":                 {filepath.Join(r.unpackedServer, "install.sh"), "--from", r.server},
		"its archive, from elsewhere": {filepath.Join(r.unpacked, "install.sh"), "--from", r.server},
		"a checkout":                  {filepath.Join(src, "install.sh"), "--server"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			if name == "a checkout" {
				b.env["XDG_CONFIG_HOME"] = newDir(t) // Go counts its own use there
			} else {
				b.env["PATH"] = toolsPath(t)
			}
			prefix := filepath.Join(b.home, ".local")
			before := snapshot(t, b.home)
			out := b.install(argv[0], argv[1:]...)
			b.tidy()
			if !strings.Contains(out, "installed envrund ") || !strings.Contains(out, " as "+prefix+"/bin/envrund\n") {
				t.Errorf("it does not say what was installed as what:\n%s", out)
			}
			if have := regular(t, prefix); !slices.Equal(have, files) {
				t.Errorf("installed\n%q\nwant\n%q", have, files)
			}
			b.install(filepath.Join(r.unpacked, "install.sh"))
			if have := regular(t, prefix); !slices.Equal(have, both) {
				t.Errorf("with envrun\n%q\nwant\n%q", have, both)
			}
			b.install(filepath.Join(r.unpacked, "install.sh"), "--server", "--uninstall")
			if have := regular(t, prefix); !slices.Equal(have, installedFiles(t)) {
				t.Errorf("without envrund\n%q", have)
			}
			b.install(filepath.Join(r.unpacked, "install.sh"), "--uninstall")
			if err := os.Remove(prefix); err != nil { // which is the user's
				t.Errorf("the prefix is not empty: %v", err)
			}
			if after := snapshot(t, b.home); !slices.Equal(before, after) {
				t.Errorf("left: %q", after)
			}
		})
	}
	for _, file := range []string{"docs/envrund.service", "docs/Containerfile", "docs/team-server.md"} {
		if read(t, filepath.Join(r.unpackedServer, file)) != read(t, file) {
			t.Errorf("%s in the archive is another", file)
		}
	}
	b := newBox(t)
	b.refuse(filepath.Join(r.unpacked, "install.sh"), []string{"--server", "--from", r.archive}, "there is no envrund in")
	b.refuse(filepath.Join(r.unpacked, "install.sh"), []string{"--server"}, "neither a checkout nor an unpacked release of envrund")
}

// The unit is one that systemd takes.
func TestUnit(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("suite systemd unit skipped: no systemd-analyze here")
	}
	unit := filepath.Join(newDir(t), "envrund.service")
	// What it starts is not installed here.
	write(t, unit, strings.Replace(read(t, "docs/envrund.service"), "/usr/local/bin/envrund ", "/bin/sh ", 1), 0o644)
	if out, err := exec.Command("systemd-analyze", "verify", unit).CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("systemd-analyze verify: %v: %s", err, out)
	}
}

// A file of an unpacked archive that is not as it was made, or that its list
// does not name, installs nothing.
func TestTamperedArchive(t *testing.T) {
	r := released(t)
	for name, change := range map[string]func(t *testing.T, dir string) (says string){
		"program": func(t *testing.T, dir string) string {
			write(t, filepath.Join(dir, "envrun"), "#!/bin/sh\necho owned\n", 0o755)
			return "does not match its SHA-256"
		},
		"man page": func(t *testing.T, dir string) string {
			write(t, filepath.Join(dir, "man/envrun.1"), read(t, filepath.Join(dir, "man/envrun.1"))+"x", 0o644)
			return "does not match its SHA-256"
		},
		"completion gone": func(t *testing.T, dir string) string {
			if err := os.Remove(filepath.Join(dir, "completions/envrun.fish")); err != nil {
				t.Fatal(err)
			}
			return "does not match its SHA-256"
		},
		"program not in the list": func(t *testing.T, dir string) string {
			write(t, filepath.Join(dir, "envrun"), "#!/bin/sh\necho owned\n", 0o755)
			var kept strings.Builder
			for line := range strings.Lines(read(t, filepath.Join(dir, "SHA256SUMS"))) {
				if !strings.HasSuffix(line, " envrun\n") {
					kept.WriteString(line)
				}
			}
			write(t, filepath.Join(dir, "SHA256SUMS"), kept.String(), 0o644)
			return "SHA256SUMS does not name envrun: the archive was changed"
		},
		"a page more": func(t *testing.T, dir string) string {
			write(t, filepath.Join(dir, "man/envrun-evil.1"), "x", 0o644)
			return "SHA256SUMS does not name man/envrun-evil.1"
		},
		"empty list": func(t *testing.T, dir string) string {
			write(t, filepath.Join(dir, "SHA256SUMS"), "", 0o644)
			return "the archive" // busybox and coreutils differ on whether an empty list is right
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := newDir(t)
			copyTree(t, r.unpacked, dir)
			says := change(t, dir)
			b := newBox(t)
			for _, b.shell = range shells(t) {
				b.refuse(filepath.Join(dir, "install.sh"), nil, says)
			}
		})
	}
}

// The same sources give the same archive, wherever they lie and whoever makes it when.
func TestReproducibleArchive(t *testing.T) {
	r := released(t)
	other := filepath.Join(newDir(t), "elsewhere")
	copyTree(t, filepath.Dir(r.dir), other)
	then := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	if err := filepath.WalkDir(other, func(file string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			info, ierr := d.Info()
			if ierr != nil {
				return ierr
			}
			err = errors.Join(os.Chtimes(file, then, then), os.Chmod(file, info.Mode().Perm()&0o700))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	// A repository around it, with changes in it, does not go in either.
	for _, args := range [][]string{{"init", "-q"}, {"-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "--allow-empty", "-m", "x"}} {
		if out, err := exec.Command("git", append([]string{"-C", other}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("git: %v: %s", err, out)
		}
	}
	if err := dist(other, "TZ=Asia/Kathmandu", "HOME="+newDir(t), "GOCACHE="+goEnv()["GOCACHE"], "GOMODCACHE="+goEnv()["GOMODCACHE"]); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, filepath.Join(other, "dist/SHA256SUMS")), read(t, filepath.Join(r.dir, "SHA256SUMS")); got != want {
		t.Errorf("two runs differ:\n%s%s", got, want)
	}
	// And it holds what it should, for all to read, owned by nobody here.
	out, err := exec.Command("tar", "--numeric-owner", "-tvzf", r.archive).Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		mode, owner := strings.Fields(line)[0], strings.Fields(line)[1]
		if owner != "0/0" || mode != "drwxr-xr-x" && mode != "-rwxr-xr-x" && mode != "-rw-r--r--" {
			t.Errorf("in the archive: %s", line)
		}
	}
	for _, file := range []string{"envrun", "install.sh", "LICENSE", "README.md", "CHANGELOG.md", "SHA256SUMS"} {
		if _, err := os.Stat(filepath.Join(r.unpacked, file)); err != nil {
			t.Error(err)
		}
	}
}
