package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"envrun/cmd/internal/cli"
	"envrun/vault"
)

// Every kind of error has a code and, but for a few, a next command; the exit
// status follows from the code.
func TestEveryKindHasACode(t *testing.T) {
	silent := map[vault.Kind]bool{vault.KindOther: true, vault.KindExists: true, vault.KindInvalid: true, vault.KindUnsupported: true}
	for k := vault.KindOther; k <= vault.KindUnavailable; k++ {
		err := fmt.Errorf("around: %w", &vault.Error{Kind: k, Env: "prod", Path: "a/b", File: "x.sec"})
		r := cli.Explainer{}.Explain(err)
		if r.Exit != cli.ExitFailed {
			t.Errorf("%v exits %d", k, r.Exit)
		}
		if (r.Code == cli.CodeFailed) != (k == vault.KindOther) {
			t.Errorf("%v has the code %s", k, r.Code)
		}
		if len(r.Hints) == 0 && !silent[k] {
			t.Errorf("%v has no next command", k)
		}
	}
}

func TestExplain(t *testing.T) {
	more := func(err error, r *cli.Report) bool {
		if err.Error() != "special" {
			return false
		}
		r.Code = cli.CodeSize
		r.AddHint("do %s", "this")
		return true
	}
	x := cli.Explainer{More: []func(error, *cli.Report) bool{more}}
	for _, c := range []struct {
		err  error
		exit int
		code string
		hint string
	}{
		{cli.Usagef("envrun set", "wrong"), 2, cli.CodeUsage, "envrun set --help"},
		{&cli.StatusError{Exit: 125, Err: cli.Usagef("envrun run", "wrong")}, 125, cli.CodeUsage, "envrun run --help"},
		{&cli.HintError{Err: errors.New("x"), Code: cli.CodePolicy, Hint: "add --yes"}, 1, cli.CodePolicy, "add --yes"},
		{&cli.NeedsAnswer{Question: "Sure? ", Need: "--yes"}, 1, cli.CodePolicy, "--yes"},
		{errors.New("special"), 1, cli.CodeSize, "do this"},
		{cli.Near(errors.New("no such field"), "KEY"), 1, cli.CodeFailed, "did you mean KEY?"},
		{fmt.Errorf("reading: %w", context.Canceled), 130, cli.CodeFailed, ""},
		{cli.ErrInterrupted, 130, cli.CodeFailed, ""},
		{cli.ErrLines, 2, cli.CodeUsage, "envrun set NAME < FILE"},
		{fmt.Errorf("x: %w", os.ErrNotExist), 1, cli.CodeIO, ""},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), 1, cli.CodeOffline, ""},
	} {
		r := x.Explain(c.err)
		if r.Exit != c.exit || r.Code != c.code || !strings.Contains(strings.Join(r.Hints, "\n"), c.hint) || c.hint == "" && len(r.Hints) > 0 {
			t.Errorf("%v: exit %d, code %s, hints %q; want %d, %s, %q", c.err, r.Exit, r.Code, r.Hints, c.exit, c.code, c.hint)
		}
	}
	if r := x.Explain(cli.ErrShown); !r.Quiet || r.Exit != 1 {
		t.Errorf("what was shown is shown again: %+v", r)
	}
}

// What somebody else wrote can neither steer a terminal nor write a line of ours.
func TestHostileText(t *testing.T) {
	hostile := "a\nhint: run curl | sh\x1b[2J\r\u202eb\u200b"
	r := cli.Explainer{}.Explain(&vault.Error{Kind: vault.KindTampered, Env: "dev", File: hostile, Detail: hostile})
	var text, line bytes.Buffer
	r.WriteText(&text)
	r.WriteJSON(&line)
	for line := range strings.Lines(text.String()) {
		if strings.HasPrefix(line, "hint: run curl") {
			t.Errorf("a file's name wrote a hint:\n%s", text.String())
		}
	}
	for _, bad := range []string{"\x1b", "\r", "\u202e", "\u200b"} {
		if strings.Contains(text.String(), bad) {
			t.Errorf("%q is printed raw", bad)
		}
	}
	if n := strings.Count(line.String(), "\n"); n != 1 {
		t.Errorf("JSON has %d lines", n)
	}
	if got := cli.Printable("plain ünï"); got != "plain ünï" {
		t.Errorf("Printable changes plain text: %q", got)
	}
	many := cli.Explainer{}.Explain(cli.Several([]error{errors.New("one\nenvrun: forged"), errors.New("two")}))
	if want := "one\\u{a}envrun: forged\ntwo"; many.Message != want {
		t.Errorf("several errors: %q, want %q", many.Message, want)
	}
}

// JSON is exact for a program, and safe to look at.
func TestHostileJSON(t *testing.T) {
	hostile := "\x1b[2J\x7f\u009b31m\u202e\u200b\U000e0041\n<ünï>"
	for name, write := range map[string]func(io.Writer, any) error{"WriteJSON": cli.WriteJSON, "WriteJSONLine": cli.WriteJSONLine} {
		var b bytes.Buffer
		if err := write(&b, map[string]string{"x": hostile}); err != nil {
			t.Fatal(err)
		}
		for _, r := range strings.TrimSpace(b.String()) {
			if r != '\n' && cli.Printable(string(r)) != string(r) {
				t.Errorf("%s prints %U raw", name, r)
			}
		}
		var got map[string]string
		if err := json.Unmarshal(b.Bytes(), &got); err != nil || got["x"] != hostile {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if !strings.Contains(b.String(), "ünï") {
			t.Errorf("%s escapes plain text: %s", name, b.String())
		}
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"a/b.sec": "a/b.sec", "": "''", "two words": "'two words'", "it's": `'it'\''s'`, "$(rm -rf /)": "'$(rm -rf /)'", "a;b": "'a;b'", "-e": "-e",
	} {
		if got := cli.Quote(in); got != want {
			t.Errorf("Quote(%q) = %s, want %s", in, got, want)
		}
	}
}

// A hint names a file as it is found from where the user stands.
func TestPathInHints(t *testing.T) {
	base := t.TempDir()
	sub := filepath.Join(base, "sub")
	if err := os.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(sub)
	r := cli.Explainer{Base: base}.Explain(&vault.Error{Kind: vault.KindMalformed, File: ".envrun/vault/x.sec"})
	if want := "git checkout -- ../.envrun/vault/x.sec"; !strings.Contains(r.Hints[0], want) {
		t.Errorf("hint %q, want %q in it", r.Hints[0], want)
	}
}

func TestTable(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	table := cli.NewTable(cli.Streams{Out: write})
	table.Row("a", "b\tc", "")
	table.Row("longer", "\x1b[1m")
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	var out bytes.Buffer
	if _, err := out.ReadFrom(read); err != nil {
		t.Fatal(err)
	}
	if want := "a\tb\\u{9}c\nlonger\t\\u{1b}[1m\n"; out.String() != want && out.String() != "a\tb c\nlonger\t\\u{1b}[1m\n" {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func TestWhoIsThere(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	env := map[string]string{}
	s := cli.Streams{In: null, Out: null, Err: null, Getenv: func(name string) string { return env[name] }}
	if s.CI() != "" || s.Agent() != "" || s.Interactive() {
		t.Error("somebody is there, or CI, in an empty environment without a terminal")
	}
	env["CI"] = "false"
	env["CODEX"] = "0"
	if s.CI() != "" || s.Agent() != "" {
		t.Error("a variable that says no counts")
	}
	env["GITLAB_CI"], env["CLAUDECODE"] = "true", "1"
	if s.CI() != "GITLAB_CI" || s.Agent() != "CLAUDECODE" {
		t.Errorf("CI %q, agent %q", s.CI(), s.Agent())
	}
	var need *cli.NeedsAnswer
	if _, err := s.Ask(t.Context(), "Name? ", "--name NAME"); !errors.As(err, &need) || need.Need != "--name NAME" {
		t.Errorf("a question to nobody: %v", err)
	}
	if _, err := s.AskHidden(t.Context(), "Secret? ", "FILE"); !errors.As(err, &need) {
		t.Errorf("a hidden question to nobody: %v", err)
	}
}

func TestOutErr(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	read.Close()
	write.Close()
	s := cli.Streams{Out: write}
	s.KeepOutErr()
	s.Printf("x")
	if s.OutErr() == nil {
		t.Error("a result that did not arrive is no error")
	}
	if cli.Count(1, "secret") != "1 secret" || cli.Count(2, "secret") != "2 secrets" || cli.Count(0, "byte") != "0 bytes" {
		t.Error("Count")
	}
}
