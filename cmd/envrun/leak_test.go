//go:build unix

package main_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// spied is a person whose git and editor note how they are called, and whose
// envrun says all it can say.
func spied(t *testing.T) (p *person, calls string) {
	t.Helper()
	p = newPerson(t)
	bin := filepath.Join(p.home, "..", "bin")
	calls = filepath.Join(p.home, "..", "calls")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("suite leaks skipped: no git here")
	}
	script := fmt.Sprintf("#!/bin/sh\n{ printf '%%s\\n' \"$0\" \"$@\"; env | grep -v '^ENVRUN_KEY='; } >>'%s'\n[ -z \"${ENVRUN_KEY:-}\" ] || echo \"$@\" >>'%s.key'\nexec '%s' \"$@\"\n", calls, calls, git)
	if err := os.WriteFile(filepath.Join(bin, "git"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	p.env["PATH"] = bin + ":" + p.env["PATH"]
	p.env["GOTRACEBACK"] = "all"
	return p, calls
}

// watch looks at the arguments of every process of the machine until it is told
// to stop, for a value that must be in none.
func watch(t *testing.T, value string) (stop func()) {
	t.Helper()
	if _, err := os.Stat("/proc/self/cmdline"); err != nil {
		t.Log("arguments of processes are not watched: no /proc here")
		return func() {}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	var found string
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			default:
			}
			time.Sleep(time.Millisecond) // leave the machine to what is watched
			files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					continue // it ended
				}
				if form, is := holds(text, value); is && found == "" {
					found = fmt.Sprintf("%s has it as %s: %q", file, form, text)
				}
			}
		}
	}()
	return func() {
		close(quit)
		<-done
		if found != "" {
			t.Errorf("the value is in the arguments of a process: %s", found)
		}
	}
}

// A value reaches nobody who is not meant to get it: not in output, errors,
// files or arguments, whatever command is given and whatever is wrong.
func TestNoLeak(t *testing.T) {
	p, calls := spied(t)
	value := newCanary()
	p.git("init", "-q")
	p.setup("dev,qa,prod")
	defer watch(t, value)()

	// quietly runs envrun and searches all that it says.
	quietly := func(t *testing.T, p *person, stdin string, args ...string) {
		t.Helper()
		out, errs, code := p.in(t).pipe(stdin, args...)
		for name, text := range map[string]string{"stdout": out, "stderr": errs} {
			if form, found := holds([]byte(text), value); found {
				t.Errorf("envrun %q: status %d: %s has the value, as %s:\n%s", args, code, name, form, text)
			}
			if strings.Contains(text, "goroutine ") || strings.Contains(text, "panic:") {
				t.Errorf("envrun %q panics:\n%s", args, text)
			}
		}
	}
	// ways runs it in every way to be told more.
	ways := func(t *testing.T, p *person, stdin string, args ...string) {
		t.Helper()
		for _, flags := range [][]string{{"-v"}, {"--json", "-v"}, {"--error-format", "json"}} {
			quietly(t, p, stdin, append(flags, args...)...)
		}
	}
	source := t.TempDir() // files with the value in clear, on purpose
	file := func(name, text string) string {
		name = filepath.Join(source, name)
		if err := os.WriteFile(name, []byte(strings.ReplaceAll(text, "VALUE", value)), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	searched := func(t *testing.T) {
		t.Helper()
		nowhere(t, value, p.home, p.dir, p.tmp)
		if left := memoryFiles(t, value); len(left) > 0 {
			t.Errorf("in memory files: %q", left)
		}
		if text, err := os.ReadFile(calls); err != nil || len(text) == 0 {
			t.Errorf("git was not seen: %v", err)
		} else if form, found := holds(text, value); found {
			t.Errorf("git got the value, as %s", form)
		}
	}

	t.Run("what works", func(t *testing.T) {
		quietly(t, p, value, "set", "KEY", "-v")
		quietly(t, p, value, "set", "-e", "qa", "KEY", "--json")
		quietly(t, p, value, "set", "-e", "prod", "--yes=prod", "KEY")
		quietly(t, p, value, "set", "other/secret/KEY", "--note", "a note", "--tag", "x")
		p.git("add", "-A")
		p.git("commit", "-q", "-m", "one")
		quietly(t, p, value+"-2", "set", "KEY")
		p.git("commit", "-q", "-a", "-m", "two")
		for _, args := range [][]string{
			{"list"}, {"list", "--long"}, {"history"}, {"rollback", "--to", "1"}, {"diff", "dev", "qa"}, {"diff", "dev", "qa", "--all"}, {"diff", "dev", "qa", "--names"},
			{"copy", "dev:", "qa:", "--yes"}, {"copy", "dev:", "prod:", "--yes=prod"}, {"copy", "dev:", "qa:copied"},
			{"explain"}, {"explain", "--", "true"}, {"explain", "--mask", "always", "--", "true"}, {"--explain", "--", "true"}, {"-e", "prod", "explain"},
			{"--", "true"}, {"--", "sh", "-c", "exit 7"}, {"--mask", "always", "--", "sh", "-c", "echo $KEY; echo $KEY >&2; printf %s $KEY | base64"},
			{"-e", "prod", "--yes=prod", "--", "sh", "-c", "echo $KEY"}, {"--supervise", "--", "true"}, {"--timeout", "50ms", "--", "sleep", "60"}, {"--only", "KEY", "--", "true"},
			{"env", "list"}, {"env", "add", "new"}, {"env", "rm", "new", "--yes=new"}, {"key", "show"}, {"vault", "status"}, {"vault", "verify"}, {"vault", "seal"},
			{"doctor"}, {"version"}, {"help"}, {"__complete", "get", ""}, {"__complete", "set", "K"}, {"__complete", "rm", "other/"}, {"edit", "--editor", "true"}, {"edit", "--editor", "true", "other/secret"},
		} {
			ways(t, p, "", args...)
		}
		for _, args := range [][]string{
			{"import", file("a.env", "KEY=VALUE\nB=VALUE\n"), "--yes"}, {"import", "--dry-run", file("a.json", `{"KEY": "VALUE-json"}`)},
			{"import", file("a.yaml", "KEY: VALUE-yaml\n"), "--yes"}, {"import", "--template", file("t.env", "KEY=VALUE\n"), "--yes", "--path", "t"},
			{"-f", file("o.env", "KEY=VALUE\n"), "--", "true"}, {"explain", "-f", file("p.env", "KEY=VALUE\n")},
			{"import", file("odd.env", "KEY=VALUE # x\nA='VALUE'\\''x'\nB=\"VALUE\\n$X\"\nC=`VALUE`\nexport D=VALUE\n"), "--yes", "--path", "odd"},
		} {
			ways(t, p, "", args...)
		}
		ways(t, p, value, "import", "--format", "dotenv", "--yes", "-")
		ways(t, p, "X="+value, "import", "--format", "dotenv", "--path", "p", "-")
		searched(t)
		if got := p.in(t).must("", "get", "-e", "prod", "--yes=prod", "KEY"); !strings.HasPrefix(got, value) {
			t.Errorf("the value that was to be kept from leaking is not there: %q", got)
		}
	})

	t.Run("what fails", func(t *testing.T) {
		for _, args := range [][]string{
			{"get", "NOPE"}, {"get", "KEYS"}, {"get", "no/such/KEY"}, {"get", "-e", "nope", "KEY"}, {"get", "-e", "prod", "KEY"}, {"get"}, {"get", "KEY", "KEY"},
			{"rm", "NOPE"}, {"rm", "--secret", "nope"}, {"rm", "-e", "prod", "KEY"}, {"copy", "dev:", "qa:other/secret"}, {"copy", "dev:", "prod:"}, {"copy", "dev:", "dev:"}, {"copy", "x", "y"},
			{"rollback", "--to", "99"}, {"rollback"}, {"history", "nope"}, {"export"}, {"export", "--format", "nope"}, {"export", "-e", "prod", "--format", "json"}, {"export", "nope", "--format", "json"},
			{"--", "no-such-program"}, {"--", "/"}, {"--exec", "--timeout", "1s", "--", "true"}, {"--mask", "nope", "--", "true"}, {"--only", "NOPE", "--", "true"}, {"-e", "prod", "--", "true"}, {"run"},
			{"--keep-env=KEY", "--", "true"}, {"init"}, {"key", "new"}, {"key", "move", "nope"}, {"key", "protect"}, {"key", "import", "/nonexistent"}, {"env", "add", "dev"}, {"env", "rm", "dev"}, {"env", "rm", "nope"},
			{"edit"}, {"edit", "--editor", "false"}, {"edit", "--editor", "no-such-editor"}, {"edit", "--editor", "echo BROKEN >>"}, {"edit", "--editor", `sh -c 'echo "A=\"x" >> "$0"'`}, {"edit", "--editor", `sh -c ': > "$0"'`},
			{"edit", "--editor", `sh -c 'sed s/^KEY=/KEY/ "$0" > "$0.x"; cat "$0.x" > "$0"'`}, {"edit", "--editor", `sh -c 'sed "s/^KEY=/KEY=\"/" "$0" > "$0.x"; cat "$0.x" > "$0"'`},
			{"--config", "/nonexistent", "--", "true"}, {"nope"}, {"set"}, {"set", "BAD NAME"}, {"vault", "nope"}, {"completion", "nope"}, {"--nope"}, {"-e", "dev", "--env", "nope", "list"},
		} {
			ways(t, p, "", args...)
		}
		for _, args := range [][]string{
			{"set", "BAD NAME"}, {"set", "bad path/KEY"}, {"set", "A", "B"}, {"set", "-e", "nope", "KEY"}, {"set", "-e", "prod", "KEY"}, {"set", "--note", "x\x01", "KEY"}, {"set", "--rotate", "often", "KEY"}, {"set", "--tag", "a b\n", "KEY"},
			{"import", "-"}, {"import", "--format", "json", "-"}, {"import", "--format", "yaml", "-"}, {"import", "--format", "compose", "-"}, {"import", "--format", "k8s", "-"}, {"import", "--format", "nope", "-"},
			{"import", "--format", "dotenv", "--dialect", "nope", "-"}, {"key", "import", "-"},
		} {
			ways(t, p, value, args...)
		}
		// Files that break in the middle of a value, in every format and dialect.
		broken := map[string][]string{
			"dotenv":  {"KEY=\"VALUE\n", "KEY='VALUE\nB=1\n", "VALUE\n", "A=1\nVALUE VALUE=2\n", "KEY: VALUE\n", "K\x00=VALUE\n", "KEY=VALUE\x00\n", "\xff\xfeK=VALUE", "KEY=\"VALUE\\x\"y\n", "KEY=VALUE\nKEY=VALUE2\n", "1=VALUE\n", "export VALUE\n", "KEY=$VALUE\n", "KEY=${VALUE\n", "KEY=VALUE\xff\n"},
			"json":    {`{"KEY": "VALUE`, `{"KEY": VALUE}`, `["VALUE"]`, `{"KEY": ["VALUE"]}`, `{"KEY": {"VALUE": 1}}`, `"VALUE"`, `{"KEY": "VALUE"} VALUE`, `{"VALUE": tru}`, `{"KEY": "VALUE\x"}`, `{"KEY":"VALUE","KEY":"VALUE"}`, `{"A":1e999,"B":"VALUE"}`},
			"yaml":    {"KEY: [VALUE\n", "KEY: VALUE: VALUE\n", "- VALUE\n", "KEY: {A: VALUE}\n", "KEY: &a VALUE\nB: *VALUE\n", "KEY: !!int VALUE\n", "KEY: !VALUE x\n", "\tKEY: VALUE\n", "KEY: \"VALUE\n", "VALUE", "KEY: VALUE\nKEY: VALUE\n", "? [VALUE]\n: x\n", "KEY: !!binary VALUE\n", "%VALUE\n---\nA: 1\n"},
			"compose": {"services: VALUE\n", "services: {web: {environment: VALUE}}\n", "services: {web: {environment: [VALUE]}}\n", "services: {web: {environment: {KEY: [VALUE]}}}\n", "services: [VALUE]\n"},
			"k8s":     {"kind: Secret\ndata: {KEY: VALUE}\n", "kind: VALUE\n", "kind: Secret\ndata: VALUE\n", "kind: Secret\nstringData: {KEY: [VALUE]}\n", "kind: Secret\ndata: {KEY: \"VALUE==\"}\n", "kind: List\nitems: [VALUE]\n"},
		}
		for format, texts := range broken {
			for i, text := range texts {
				name := file(fmt.Sprintf("broken%d.%s", i, format), text)
				quietly(t, p, "", "-v", "import", "--dry-run", "--format", format, name)
				quietly(t, p, "", "--error-format", "json", "import", "--dry-run", name)
				if format == "dotenv" {
					for _, dialect := range []string{"node", "compose", "ruby", "python", "docker"} {
						quietly(t, p, "", "import", "--dry-run", "--format", format, "--dialect", dialect, name)
					}
					quietly(t, p, "", "-v", "-f", name, "--", "true")
				}
			}
		}
		// An identity that is broken in the middle, and keys that are none.
		for _, text := range []string{"AGE-SECRET-KEY-1VALUE", "AGE-SECRET-KEY-PQ-1VALUE\n", "VALUE", "# VALUE\n", "AGE-PLUGIN-VALUE-1\n", "envrun-ci-1:VALUE", "envrun-ci-1:v_1:dev:VALUE:AGE-SECRET-KEY-1VALUE"} {
			ways(t, p, "", "key", "import", file("identity", text))
			ways(t, p.as("ENVRUN_KEY="+strings.ReplaceAll(strings.TrimSpace(text), "VALUE", value)), "", "get", "NOPE")
			ways(t, p.as("ENVRUN_KEY="+strings.ReplaceAll(strings.TrimSpace(text), "VALUE", value)), "", "doctor")
		}
		searched(t)
	})

	// A vault that is damaged in every place: what still holds a value in memory must not say it.
	t.Run("damaged vault", func(t *testing.T) {
		secrets := ".envrun/vault/envs/dev/secrets/app.sec"
		edit := func(name string, change func(text string) string) func(dir string) error {
			return func(dir string) error {
				name := filepath.Join(dir, name)
				text, err := os.ReadFile(name)
				if err != nil {
					return err
				}
				return os.WriteFile(name, []byte(change(string(text))), 0o644)
			}
		}
		cut := func(text string) string { return text[:len(text)*2/3] }
		flip := func(text string) string {
			b := []byte(text)
			b[len(b)-20] ^= 1
			return string(b)
		}
		for name, damage := range map[string]func(dir string) error{
			"record cut off":      edit(secrets, cut),
			"record flipped":      edit(secrets, flip),
			"field flipped":       edit(secrets, func(s string) string { i := strings.Index(s, "\n= "); return s[:i+40] + "AAAA" + s[i+44:] }),
			"record with marks":   edit(secrets, func(s string) string { return "<<<<<<< HEAD\n" + s }),
			"record of another":   edit(secrets, func(s string) string { return strings.Replace(s, "env dev", "env qa", 1) }),
			"record is text":      edit(secrets, func(string) string { return value }),
			"seal cut off":        edit(".envrun/vault/envs/dev/seal", cut),
			"seal flipped":        edit(".envrun/vault/envs/dev/seal", flip),
			"grant flipped":       edit(".envrun/vault/envs/dev/keys/0001/alice@laptop.grant", flip),
			"gen flipped":         edit(".envrun/vault/envs/dev/keys/0001/gen", flip),
			"manifest":            edit(".envrun/vault/vault.toml", func(string) string { return "format = \"" + value + "\"\n" }),
			"no manifest":         func(dir string) error { return os.Remove(filepath.Join(dir, ".envrun/vault/vault.toml")) },
			"project file":        edit("envrun.toml", func(s string) string { return s + "\nKEY = \"" + value + "\"\n" }),
			"project file, a bad": edit("envrun.toml", func(s string) string { return s + "\nmask = \"" + value + "\n" }),
		} {
			q := *p
			q.dir = filepath.Join(t.TempDir(), "copy")
			if err := os.CopyFS(q.dir, os.DirFS(p.dir)); err != nil {
				t.Fatal(err)
			}
			if err := damage(q.dir); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for i, args := range [][]string{{"get", "NOPE"}, {"--", "sh", "-c", "true"}, {"list", "--long"}, {"explain"}, {"vault", "verify"}, {"vault", "seal"}, {"history"}, {"diff", "dev", "qa"},
				{"rm", "KEY"}, {"doctor"}, {"edit", "--editor", "true"}, {"copy", "dev:", "qa:", "--yes"}, {"rollback", "--to", "1"}} {
				quietly(t, &q, "", append([][]string{{"-v"}, {"--error-format", "json"}}[i%2], args...)...)
			}
			quietly(t, &q, value, "-v", "set", "KEY")
			quietly(t, &q, "X="+value, "import", "--format", "dotenv", "-")
		}
		searched(t)
	})
}

// A value that is given where a name belongs is not said back: it would stand
// in the log of whatever ran the command.
func TestNoLeakOfMisplacedValue(t *testing.T) {
	p, _ := spied(t)
	p.setup("dev")
	value := newCanary()
	for _, args := range [][]string{
		{"set", "KEY", value}, {"set", "KEY", "=", value}, {"set", "KEY = " + value}, {"set", "KEY: " + value}, {"set", "KEY=1", "KEY=" + value}, {"set", "B AD=" + value},
		{"get", "KEY=" + value}, {"rm", "KEY=" + value}, {"--set", value, "--", "true"}, {"--set", "1=" + value, "--", "true"}, {"--set", "=" + value, "--", "true"},
	} {
		out, errs, code := p.pipe("", args...)
		if code == 0 {
			t.Errorf("envrun %q succeeds", args)
		}
		if strings.Contains(out+errs, value) {
			t.Errorf("envrun %q says the value back: %s%s", args, out, errs)
		}
	}
}

// The programs that envrun calls for itself do not get its key: git runs what a
// repository's settings tell it to.
func TestNoKeyForGit(t *testing.T) {
	p, calls := spied(t)
	p.git("init", "-q")
	p.setup("dev")
	p.must("1", "set", "KEY")
	p.git("add", "-A")
	p.git("commit", "-q", "-m", "one")
	p.must("2", "set", "KEY")
	p.write("a.env", "KEY=2\n")
	var key string
	for line := range strings.Lines(p.must("", "key", "export")) {
		if !strings.HasPrefix(line, "#") {
			key = strings.TrimSpace(line)
		}
	}
	q := p.as("ENVRUN_KEY=" + key)
	for _, args := range [][]string{{"history"}, {"rollback", "--to", "1"}, {"vault", "status"}, {"vault", "seal"}, {"import", "--format", "dotenv", "--yes", "--gitignore", "a.env"}, {"doctor"}, {"--", "true"}} {
		q.pipe("", args...)
	}
	if got, err := os.ReadFile(calls + ".key"); err == nil {
		t.Errorf("git got ENVRUN_KEY when it was called as\n%s", got)
	}
}

// A machine that has only a key can write as it can read, or is told why not.
func TestWriteWithKey(t *testing.T) {
	p := newPerson(t)
	p.setup("dev")
	p.must("1", "set", "KEY")
	q := p.as("ENVRUN_KEY="+p.must("", "key", "export"), "ENVRUN_CONFIG_DIR="+filepath.Join(p.home, "none"), "ENVRUN_STATE_DIR="+filepath.Join(p.home, "none-state"))
	if got := q.must("", "get", "KEY"); got != "1" {
		t.Errorf("KEY is %q", got)
	}
	for _, args := range [][]string{{"set", "KEY"}, {"vault", "seal"}, {"env", "add", "more"}} {
		_, errs, code := q.pipe("2", args...)
		if code != 0 && !strings.Contains(errs, "hint: ") {
			t.Errorf("envrun %q with ENVRUN_KEY: status %d and no hint: %s", args, code, errs)
		}
	}
}

// What the tests search with finds what they search for.
func TestForms(t *testing.T) {
	value := newCanary()
	for shift := range 7 {
		text := append(bytes.Repeat([]byte{0xfb}, shift), value+strings.Repeat("\xff", 7-shift)...)
		for name, coded := range map[string]string{
			"clear": string(text), "hex": hex.EncodeToString(text), "HEX": fmt.Sprintf("%X", text),
			"base64": base64.StdEncoding.EncodeToString(text), "base64url": base64.RawURLEncoding.EncodeToString(text),
		} {
			if _, found := holds([]byte("x"+coded+"y"), value); !found {
				t.Errorf("not found in %s at %d: %s", name, shift, coded)
			}
		}
	}
	if form, found := holds([]byte(base64.StdEncoding.EncodeToString([]byte(newCanary()))), value); found {
		t.Errorf("another value is taken for it, by %s", form)
	}
}

// Killed with a stack trace while it holds a value, envrun does not show it.
func TestNoLeakInTrace(t *testing.T) {
	p, _ := spied(t)
	p.setup("dev")
	value := newCanary()
	p.must(value, "set", "KEY")
	type start struct {
		args []string
		// ready returns when the program holds the value.
		ready func(stdin io.Writer, stdout io.Reader) error
	}
	// More than a pipe holds: when the write is done, most of it was read.
	feed := func(stdin io.Writer, _ io.Reader) error {
		_, err := io.WriteString(stdin, "K='"+strings.Repeat(value+" ", 400_000/len(value)))
		return err
	}
	echoed := func(_ io.Writer, stdout io.Reader) error {
		buf := make([]byte, 6)
		_, err := io.ReadFull(stdout, buf)
		return err
	}
	for name, s := range map[string]start{
		"set":        {[]string{"set", "OTHER"}, feed},
		"import":     {[]string{"import", "--format", "dotenv", "-"}, feed},
		"key import": {[]string{"key", "import", "-"}, feed},
		"supervised": {[]string{"--supervise", "--mask", "always", "--", "sh", "-c", "echo ready; exec cat"}, echoed},
		"edit":       {[]string{"edit", "--editor", "sh -c 'echo ready; exec cat'"}, echoed},
	} {
		for _, sig := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGTRAP} {
			t.Run(name+" "+sig.String(), func(t *testing.T) {
				var errs bytes.Buffer
				cmd := p.envrun(s.args...)
				cmd.Stderr = &errs
				stdin, err := cmd.StdinPipe()
				if err != nil {
					t.Fatal(err)
				}
				stdout, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				defer cmd.Process.Kill()
				if err := s.ready(stdin, stdout); err != nil {
					t.Fatal(err)
				}
				if err := cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
				drained := make(chan []byte, 1)
				go func() {
					rest, _ := io.ReadAll(stdout)
					drained <- rest
				}()
				stdin.Close() // what was started ends
				rest := <-drained
				_ = cmd.Wait()
				for where, text := range map[string][]byte{"stderr": errs.Bytes(), "stdout": rest} {
					if form, found := holds(text, value); found {
						t.Errorf("%s has the value, as %s:\n%.3000s", where, form, text)
					}
				}
				nowhere(t, value, p.home, p.dir, p.tmp)
			})
		}
	}
	// What a killed one left in memory, the next that puts something there removes.
	p.must("", "edit", "--editor", "true")
	if left := memoryFiles(t, value); len(left) > 0 {
		t.Errorf("left in memory: %q", left)
	}
}

// A full disk stops a write with a word and a hint, and what was there stays
// whole and readable.
func TestFullDisk(t *testing.T) {
	p := newPerson(t)
	if os.Getuid() != 0 {
		t.Skip("suite full disk skipped: not root, cannot mount a small one")
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=1m,mode=755", "envrun-test", p.dir).CombinedOutput(); err != nil {
		t.Skipf("suite full disk skipped: cannot mount a small one: %s", out)
	}
	defer func() {
		if out, err := exec.Command("umount", p.dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %s", out)
		}
	}()
	p.setup("dev")
	p.must("before", "set", "KEY")
	before := tree(t, filepath.Join(p.dir, ".envrun/vault/envs"))
	filler := filepath.Join(p.dir, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for chunk := make([]byte, 1<<16); len(chunk) > 0; {
		if n, err := f.Write(chunk); err != nil && n == 0 {
			chunk = chunk[:len(chunk)/2]
		}
	}
	f.Close()

	for _, test := range []struct {
		stdin string
		args  []string
	}{
		{strings.Repeat("x", 100_000), []string{"set", "KEY"}},
		{"small", []string{"set", "NEW"}},
		{"A=1\nB=2\n", []string{"import", "--format", "dotenv", "-"}},
		{"", []string{"rm", "KEY"}},
		{"", []string{"vault", "seal"}},
		{"", []string{"copy", "dev:", "dev:copied"}},
		{"", []string{"env", "add", "more"}},
	} {
		out, errs, code := p.pipe(test.stdin, test.args...)
		if code != 1 || !strings.Contains(errs, "(E_IO)") || !strings.Contains(errs, "hint: ") || out != "" {
			t.Errorf("envrun %q on a full disk: status %d: %s%s", test.args, code, out, errs)
		}
		if got, errs, code := p.pipe("", "get", "KEY"); got != "before" {
			t.Errorf("after %q KEY is %q: status %d: %s", test.args, got, code, errs)
		}
		if _, errs, code := p.pipe("", "--", "sh", "-c", `test "$KEY" = before`); code != 0 {
			t.Errorf("after %q a run: status %d: %s", test.args, code, errs)
		}
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	p.must("", "vault", "verify")
	p.must("", "vault", "status")
	if after := tree(t, filepath.Join(p.dir, ".envrun/vault/envs")); !same(before, after) {
		t.Errorf("half of something was written: %q, before it was %q", names(after), names(before))
	}
	p.must("after", "set", "KEY")
	p.must("", "env", "add", "more")
	if got := p.must("", "get", "KEY"); got != "after" {
		t.Errorf("with space again KEY is %q", got)
	}
}

func names(tree []string) (all []string) {
	for _, file := range tree {
		name, _, _ := strings.Cut(file, "\x00")
		all = append(all, name)
	}
	return all
}

// A project folder that cannot be written can be used: only what writes fails,
// with a word and a hint.
func TestReadOnlyProject(t *testing.T) {
	p := newPerson(t)
	p.nobody()
	p.setup("dev,qa")
	p.must("value", "set", "KEY")
	chmod := func(files, dirs fs.FileMode) {
		t.Helper()
		if err := filepath.WalkDir(p.dir, func(file string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() {
				return os.Chmod(file, dirs)
			}
			return os.Chmod(file, files)
		}); err != nil {
			t.Fatal(err)
		}
	}
	chmod(0o444, 0o555)
	defer chmod(0o644, 0o755)
	before := tree(t, p.dir)
	for _, args := range [][]string{{"get", "KEY"}, {"list"}, {"--", "sh", "-c", `test "$KEY" = value`}, {"explain"}, {"vault", "verify"}, {"vault", "status"}, {"env", "list"}, {"export", "--format", "json"}, {"rm", "--help"}} {
		if _, errs, code := p.pipe("", args...); code != 0 {
			t.Errorf("envrun %q only reads: status %d: %s", args, code, errs)
		}
	}
	for _, test := range []struct {
		stdin string
		args  []string
	}{
		{"new", []string{"set", "KEY"}}, {"new", []string{"set", "other/KEY"}}, {"A=1\n", []string{"import", "--format", "dotenv", "-"}}, {"", []string{"rm", "KEY"}},
		{"", []string{"vault", "seal"}}, {"", []string{"env", "add", "more"}}, {"", []string{"env", "rm", "qa", "--yes=qa"}}, {"", []string{"copy", "dev:", "qa:"}},
	} {
		_, errs, code := p.pipe(test.stdin, test.args...)
		if code != 1 || !strings.Contains(errs, "(E_IO)") || !strings.Contains(errs, "hint: ") {
			t.Errorf("envrun %q cannot write: status %d: %s", test.args, code, errs)
		}
	}
	if !same(before, tree(t, p.dir)) {
		t.Error("something was changed")
	}
}

// Many writers at once: what was acknowledged is there, what was not is not,
// and who lost is told what to do.
func TestWritersAtOnce(t *testing.T) {
	p := newPerson(t)
	p.setup("dev")
	p.must("0", "set", "SHARED")
	const writers, rounds = 4, 5
	var mu sync.Mutex
	acknowledged := map[string]string{}
	var failures []string
	var wg sync.WaitGroup
	for w := range writers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range rounds {
				mine := fmt.Sprintf("W%d_%d", w, i)
				var args []string
				stdin, want := mine, map[string]string{mine: mine}
				if w%2 == 0 {
					args = []string{"set", mine, "--error-format", "json"}
				} else {
					// Two values: both or none.
					stdin = mine + "=" + mine + "\n" + mine + "_TOO=" + mine + "\nSHARED=" + mine + "\n"
					want[mine+"_TOO"] = mine
					args = []string{"import", "--format", "dotenv", "--yes", "-", "--error-format", "json"}
				}
				out, err := func() (string, error) {
					cmd := p.envrun(args...)
					cmd.Stdin = strings.NewReader(stdin)
					b, err := cmd.CombinedOutput()
					return string(b), err
				}()
				mu.Lock()
				if err == nil {
					for name, value := range want {
						acknowledged[name] = value
					}
				} else {
					failures = append(failures, mine+": "+out)
				}
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	for _, f := range failures {
		if !strings.Contains(f, `"code":"E_CONFLICT"`) || !strings.Contains(f, `"hints":[`) {
			t.Errorf("a writer that lost was told: %s", f)
		}
	}
	t.Logf("%d of %d writes were acknowledged", writers*rounds-len(failures), writers*rounds)
	there := map[string]bool{}
	for name := range strings.Lines(p.must("", "list")) {
		there[strings.TrimPrefix(strings.TrimSpace(name), "app/")] = true
	}
	for name, value := range acknowledged {
		if got := p.must("", "get", name); got != value {
			t.Errorf("%s was acknowledged and is %q", name, got)
		}
	}
	for name := range there {
		if _, ok := acknowledged[name]; !ok && name != "SHARED" {
			t.Errorf("%s was refused and is there", name)
		}
	}
	if _, ok := acknowledged[p.must("", "get", "SHARED")]; !ok {
		t.Error("SHARED is of no writer that was acknowledged")
	}
	out := p.must("", "vault", "verify")
	if !strings.HasPrefix(out, "1 record right, 0 findings") {
		t.Errorf("verify: %s", out)
	}
}
