//go:build !windows

package run_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"envrun/envrun/environ"
	"envrun/envrun/redact"
	"envrun/envrun/run"
	"envrun/vault"
)

// null makes the streams something that needs no masking.
func null(t testing.TB) *os.File {
	t.Helper()
	f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// What needs a supervisor, and what it says of that (runner M1-M3).
func TestPlanMode(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	masker := func() *redact.Masker { t.Error("a plan needs no masker"); return nil }
	files := []run.FileVar{{Var: "F", Value: vault.NewValueString("x")}}
	null := null(t)
	for _, test := range []struct {
		name string
		c    run.Command
		want string
	}{
		{"nothing", run.Command{}, ""},
		{"auto, nothing known", run.Command{Masker: masker, Stdout: w}, ""},
		{"auto, sensitive", run.Command{Masker: masker, Sensitive: true, Stdout: w}, "stdout is masked"},
		{"auto, sensitive, stderr too", run.Command{Masker: masker, Sensitive: true, Stdout: w, Stderr: w}, "stdout is masked; stderr is masked"},
		{"always", run.Command{Masker: masker, Mask: run.MaskAlways, Stderr: w}, "stderr is masked"},
		{"always, nobody reads", run.Command{Masker: masker, Mask: run.MaskAlways}, ""},
		{"always, no values", run.Command{Mask: run.MaskAlways, Stdout: w}, ""},
		{"never", run.Command{Masker: masker, Mask: run.MaskNever, Sensitive: true, Stdout: w}, ""},
		{"files", run.Command{Files: files}, "files must be removed afterwards"},
		{"timeout", run.Command{Timeout: time.Second}, "there is a time limit"},
		{"kill after", run.Command{KillAfter: time.Second}, "a signal may have to be followed by KILL"},
		{"asked", run.Command{ForceSupervise: true}, "it was asked for"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := test.c
			c.Argv = []string{"/bin/sh"}
			c.Stdin = null
			if c.Stdout == nil {
				c.Stdout = null
			}
			if c.Stderr == nil {
				c.Stderr = null
			}
			p, err := c.Plan()
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(p.Reasons, "; "); got != test.want || p.Supervise != (test.want != "") {
				t.Errorf("supervise %v because %q, want %q", p.Supervise, got, test.want)
			}
			c.ForceExec = true
			_, err = c.Plan()
			var e *run.Error
			if test.want == "" && err != nil {
				t.Error(err)
			} else if test.want != "" && (!errors.As(err, &e) || e.Code != 125 || !strings.Contains(e.Error(), p.Reasons[0]) && test.name != "asked") {
				t.Errorf("with ForceExec: %v", err)
			}
		})
	}
}

func TestPlanUsage(t *testing.T) {
	t.Parallel()
	value := vault.NewValueString("x")
	for name, c := range map[string]run.Command{
		"no command to run":              {},
		"the name of the command is":     {Argv: []string{""}},
		"cannot both":                    {Argv: []string{"/bin/sh"}, ForceExec: true, ForceSupervise: true},
		"a time is negative":             {Argv: []string{"/bin/sh"}, Timeout: -1},
		"a file has no variable":         {Argv: []string{"/bin/sh"}, Files: []run.FileVar{{Value: value}}},
		`"../x" cannot be the name`:      {Argv: []string{"/bin/sh"}, Files: []run.FileVar{{Var: "A", Name: "../x"}}},
		`".." cannot be the name`:        {Argv: []string{"/bin/sh"}, Files: []run.FileVar{{Var: "A", Name: ".."}}},
		"two files want the variable":    {Argv: []string{"/bin/sh"}, Files: []run.FileVar{{Var: "A"}, {Var: "A", Name: "b"}}},
		`two files want the name "A"`:    {Argv: []string{"/bin/sh"}, Files: []run.FileVar{{Var: "A"}, {Var: "B", Name: "A"}}},
		`"a\nb" cannot be the name of t`: {Argv: []string{"/bin/sh"}, Files: []run.FileVar{{Var: "A", Name: "a\nb"}}},
	} {
		_, err := c.Plan()
		var e *run.Error
		if !errors.As(err, &e) || e.Code != 125 || e.Reason != run.ReasonUsage || !strings.Contains(e.Error(), name) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// What cannot be run, in each way, by both modes and before anything is started
// where that can be (runner E3).
func TestCannotRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bin, local := filepath.Join(dir, "bin"), filepath.Join(dir, "local")
	for _, d := range []string{bin, local, filepath.Join(bin, "folder")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, bin, "plain", "echo plain\n", 0o644)
	writeFile(t, bin, "lost", "#!/no/such/interpreter -x\n", 0o755)
	writeFile(t, bin, "crlf", "#!/bin/sh\r\necho hi\r\n", 0o755)
	writeFile(t, bin, "denied", "#!"+filepath.Join(bin, "plain")+"\n", 0o755)
	writeFile(t, bin, "binary", "\x7fELF\x00\x00 not for this machine", 0o755)
	writeFile(t, bin, "loader", string(elf("/no/such/loader.so")), 0o755)
	writeFile(t, local, "here", "#!/bin/sh\n", 0o755)
	path := bin + ":local:" + filepath.Join(dir, "not-there")

	for _, test := range []struct {
		program string
		code    int
		reason  run.Reason
		says    string
	}{
		{"no-such-program", 127, run.ReasonNotFound, "no-such-program: command not found"},
		{"./no-such-program", 127, run.ReasonNotFound, "no such file"},
		{"/etc/passwd/x", 127, run.ReasonNotFound, "no such file"},
		{"here", 127, run.ReasonRelative, "write ./local/here"},
		{"plain", 126, run.ReasonNotExecutable, "bin/plain: permission denied"},
		{filepath.Join(bin, "plain"), 126, run.ReasonNotExecutable, "permission denied"},
		{bin, 126, run.ReasonNotExecutable, "is a folder"},
		{"folder", 127, run.ReasonNotFound, "command not found"},
		{"lost", 126, run.ReasonInterpreter, "bad interpreter /no/such/interpreter"},
		{"crlf", 126, run.ReasonInterpreter, `bad interpreter "/bin/sh\r": its first line ends as lines do on Windows`},
		{"denied", 126, run.ReasonInterpreter, "bad interpreter " + filepath.Join(bin, "plain")},
		{"loader", 126, run.ReasonInterpreter, "bad interpreter /no/such/loader.so"},
		{"binary", 126, run.ReasonFormat, "not a program for this system"},
	} {
		t.Run(filepath.Base(test.program), func(t *testing.T) {
			t.Parallel()
			if test.program == "loader" && runtime.GOOS != "linux" {
				t.Skip("programs are not ELF files here")
			}
			env := environ.FromList([]string{"PATH=" + path}, "")
			// Only what execve alone knows gets past the plan; replacing this
			// process must fail, too.
			for _, supervise := range []bool{false, true} {
				c := run.Command{Argv: []string{test.program, "arg"}, Env: env, Dir: dir, ForceSupervise: supervise, Stdin: null(t), Stdout: null(t), Stderr: null(t)}
				if !supervise {
					if _, err := c.Plan(); err == nil {
						continue
					}
				}
				status, err := run.Run(t.Context(), c)
				var e *run.Error
				if !errors.As(err, &e) {
					t.Fatalf("supervise %v: %v, %v", supervise, status, err)
				}
				if e.Code != test.code || status.Code != test.code || e.Reason != test.reason || !strings.Contains(e.Error(), test.says) {
					t.Errorf("supervise %v: code %d, reason %d: %v", supervise, e.Code, e.Reason, e)
				}
				if e.Reason == run.ReasonInterpreter && !strings.Contains(test.says, strings.TrimSuffix(e.Interpreter, "\r")) {
					t.Errorf("interpreter %q", e.Interpreter)
				}
			}
			for _, m := range modes()[1:] {
				cmd := m.command(t, test.program)
				cmd.Env = append(cmd.Env, "PATH="+path)
				cmd.Dir = dir
				var errs capture
				cmd.Stderr = &errs
				if got, want := end(cmd.Run()), "exit "+strconv.Itoa(test.code); got != want {
					t.Errorf("%s: %s, want %s", m.name, got, want)
				}
				if !strings.Contains(errs.String(), test.says) {
					t.Errorf("%s: says %q", m.name, errs.String())
				}
			}
		})
	}
}

// elf makes the head of a program that needs a loader.
func elf(loader string) []byte {
	le := binary.LittleEndian
	b := make([]byte, 64+56, 256)
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], 3) // a shared object
	machine := map[string]uint16{"amd64": 62, "arm64": 183}[runtime.GOARCH]
	le.PutUint16(b[18:], machine)
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[32:], 64) // where the program headers are
	le.PutUint16(b[52:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 1)
	le.PutUint32(b[64:], 3) // PT_INTERP
	le.PutUint32(b[68:], 4)
	le.PutUint64(b[72:], 120)
	le.PutUint64(b[96:], uint64(len(loader)+1))
	le.PutUint64(b[104:], uint64(len(loader)+1))
	return append(append(b, loader...), 0)
}

// A script without a first line that names an interpreter is run by the shell, as
// execvp does (runner P5).
func TestScriptWithoutInterpreter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, dir, "script", "echo \"$0|$1|$2\"\n", 0o755)
	writeFile(t, dir, "empty", "", 0o755)
	each(t, append(modes()[1:], maskModes()[0]), func(t *testing.T, m mode) {
		cmd := m.command(t, filepath.Join(dir, "script"), "a b", "c")
		if got, want := output(t, cmd), filepath.Join(dir, "script")+"|a b|c\n"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if got := output(t, m.command(t, filepath.Join(dir, "empty"))); got != "" {
			t.Errorf("%q", got)
		}
	})
}

// Arguments come through byte for byte, and a shell command only when asked for
// (runner P3).
func TestArguments(t *testing.T) {
	t.Parallel()
	args := []string{"", "a b", "'", `"`, "$HOME", "`id`", "*", "\n", "-c", "--", "\xff\xfe", "ü"}
	each(t, append(modes()[1:], maskModes()[0]), func(t *testing.T, m mode) {
		got := output(t, m.command(t, append([]string{"/usr/bin/printf", "%s|"}, args...)...))
		if want := strings.Join(args, "|") + "|"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		o := *m.o
		o.Shell = `printf '%s|' "$0" "$#" "$@"`
		o.Set = map[string]string{"SHELL": "/bin/false"}
		got = output(t, mode{"", &o}.command(t, args...))
		if want := "sh|12|" + strings.Join(args, "|") + "|"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// The program is looked up in the PATH that it will have, not in ours (runner P4).
func TestPathOfTheProgram(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, dir, "greet", "#!/bin/sh\necho from the vault\n", 0o755)
	each(t, modes()[1:], func(t *testing.T, m mode) {
		o := *m.o
		o.Set = map[string]string{"PATH": "/nowhere:" + dir + ":/bin:/usr/bin"}
		if got := output(t, mode{"", &o}.command(t, "greet")); got != "from the vault\n" {
			t.Errorf("%q", got)
		}
		o.Set, o.Unset = nil, []string{"PATH"} // then as execvp does
		if got := output(t, mode{"", &o}.command(t, "echo", "found")); got != "found\n" {
			t.Errorf("%q", got)
		}
	})
}

// The directory is the program's only, and relative names count from there.
func TestDir(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, dir, "where", "#!/bin/sh\npwd -P\n", 0o755)
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	each(t, append(modes()[1:], maskModes()[0]), func(t *testing.T, m mode) {
		o := *m.o
		o.Dir = dir
		if got := output(t, mode{"", &o}.command(t, "./where")); got != real+"\n" {
			t.Errorf("%q", got)
		}
		for _, bad := range []string{filepath.Join(dir, "no"), filepath.Join(dir, "where")} {
			o.Dir = bad
			if got := end(mode{"", &o}.command(t, "/bin/sh", "-c", "exit 0").Run()); got != "exit 125" {
				t.Errorf("%s: %s", bad, got)
			}
		}
	})
}

// What is too big is named, by size and not by value, before anything is started
// (runner C7).
func TestTooBig(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("s3cret", 200<<10)
	env := environ.FromList([]string{"PATH=/bin:/usr/bin", "SMALL=1", "CERTIFICATE=" + big}, "")
	for _, supervise := range []bool{false, true} {
		status, err := run.Run(t.Context(), run.Command{Argv: []string{"true"}, Env: env, ForceSupervise: supervise})
		var e *run.Error
		var size *environ.SizeError
		if !errors.As(err, &e) || e.Reason != run.ReasonSize || status.Code != 125 || !errors.As(err, &size) || size.Biggest[0].Name != "CERTIFICATE" {
			t.Errorf("supervise %v: %v, %v", supervise, status, err)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Error("the error shows the value")
		}
	}
}

// The environment of the command is not changed by a run.
func TestEnvIsNotChanged(t *testing.T) {
	t.Parallel()
	env := environ.FromList([]string{"PATH=/bin:/usr/bin", "A=1"}, "")
	before := env.List()
	base := t.TempDir()
	_, err := run.Run(t.Context(), run.Command{Argv: []string{"true"}, Env: env, RuntimeDir: base, RuntimeDirAny: true,
		Files: []run.FileVar{{Var: "KEY", Value: vault.NewValueString("x")}}})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(before, env.List()) {
		t.Errorf("now %v", env)
	}
}

func TestAddMasks(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	values := []vault.Value{
		vault.NewValueString("plain-value"),
		vault.NewValueString("100%%of::it"),
		vault.NewValueString("-----BEGIN KEY-----\r\nfirst line of it\n}\n\n   second line  \n"),
		vault.NewValueString("short"),
		vault.NewValueString(""),
	}
	if err := run.AddMasks(&b, values); err != nil {
		t.Fatal(err)
	}
	const want = `::add-mask::plain-value
::add-mask::100%25%25of::it
::add-mask::-----BEGIN KEY-----
::add-mask::first line of it
::add-mask::second line
`
	if b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}

func TestParseMask(t *testing.T) {
	t.Parallel()
	for _, m := range []run.Mask{run.MaskAuto, run.MaskAlways, run.MaskNever} {
		if got, err := run.ParseMask(m.String()); got != m || err != nil {
			t.Errorf("%v: %v, %v", m, got, err)
		}
	}
	if _, err := run.ParseMask("sometimes"); vault.KindOf(err) != vault.KindInvalid {
		t.Errorf("%v", err)
	}
}
