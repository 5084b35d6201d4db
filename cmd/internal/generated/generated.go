// Package generated is for tests: what is made from the commands of a program, its
// completion scripts and its man pages, is in the repository, and is that of the
// commands.
//
// It refuses to have a page for what is no command.
package generated

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// Where the files are, from the folder of a program.
const (
	scripts = "../../completions"
	pages   = "../../docs/man"
)

// Check compares the files with the commands of the program whose folder the test
// runs in, or writes them. root makes its root command anew.
func Check(t *testing.T, root func() *cobra.Command, update bool) {
	t.Helper()
	cmd := root()
	program := cmd.Name()
	want := map[string][]byte{}
	for ending, gen := range map[string]func(*bytes.Buffer) error{
		"bash": func(b *bytes.Buffer) error { return cmd.GenBashCompletionV2(b, true) },
		"zsh":  func(b *bytes.Buffer) error { return cmd.GenZshCompletion(b) },
		"fish": func(b *bytes.Buffer) error { return cmd.GenFishCompletion(b, true) },
		"ps1":  func(b *bytes.Buffer) error { return cmd.GenPowerShellCompletionWithDesc(b) },
	} {
		var b bytes.Buffer
		if err := gen(&b); err != nil {
			t.Fatal(err)
		}
		want[filepath.Join(scripts, program+"."+ending)] = b.Bytes()
	}
	dir := t.TempDir()
	cmd = root()
	cmd.DisableAutoGenTag = true
	if err := doc.GenManTree(cmd, &doc.GenManHeader{Title: strings.ToUpper(program), Section: "1", Source: program, Manual: program}, dir); err != nil {
		t.Fatal(err)
	}
	made := pagesOf(t, dir, program)
	if n := len(root().Commands()); len(made) < n {
		t.Fatalf("%d man pages for %d commands", len(made), n)
	}
	for _, page := range made {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		want[filepath.Join(pages, filepath.Base(page))] = undated(text)
	}
	if update {
		for _, file := range pagesOf(t, pages, program) {
			os.Remove(file)
		}
		if err := os.MkdirAll(pages, 0o755); err != nil {
			t.Fatal(err)
		}
		for file, text := range want {
			if err := os.WriteFile(file, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	for file, text := range want {
		if got, _ := os.ReadFile(file); !bytes.Equal(got, text) {
			t.Errorf("%s is not that of the commands: make generate", file)
		}
	}
	for _, file := range pagesOf(t, pages, program) {
		if want[file] == nil {
			t.Errorf("%s is of no command: make generate", file)
		}
	}
}

// pagesOf are the pages of a program in a folder that may hold another's.
func pagesOf(t *testing.T, dir, program string) (all []string) {
	t.Helper()
	for _, name := range []string{program + ".1", program + "-*.1"} {
		found, err := filepath.Glob(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

// undated takes the month out of a man page's title line.
func undated(page []byte) []byte {
	lines := strings.SplitN(string(page), "\n", 4)
	for i, line := range lines {
		if strings.HasPrefix(line, ".TH") {
			fields := strings.Split(line, `"`)
			if len(fields) > 5 {
				fields[5] = ""
			}
			lines[i] = strings.Join(fields, `"`)
		}
	}
	return []byte(strings.Join(lines, "\n"))
}
