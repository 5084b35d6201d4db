//go:build unix

package editor_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"envrun/envrun/editor"
	"envrun/vault"
)

func script(t *testing.T, body string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ed")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+body), 0o700); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestEdit(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	where := filepath.Join(t.TempDir(), "where")
	command := func(line string) editor.Command {
		return editor.Command{Line: line, Environ: []string{"PATH=" + os.Getenv("PATH"), "ENVRUN_TOKEN=FAKE-token", "WHERE=" + where}, Stdin: null, Stdout: null, Stderr: null}
	}
	text, err := editor.Text([]vault.Field{{Name: "A", Value: vault.NewValueString("one two")}}, "what this is")
	if err != nil {
		t.Fatal(err)
	}
	edited, err := command(script(t, `echo "$1" > "$WHERE"; ls -la "$(dirname "$1")" >> "$WHERE"; echo "B=2$ENVRUN_TOKEN" >> "$1"`)).Edit(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	if want := string(text) + "B=2\n"; string(edited) != want {
		t.Errorf("edited is %q, want %q", edited, want)
	}
	said, err := os.ReadFile(where)
	if err != nil {
		t.Fatal(err)
	}
	file, list, _ := strings.Cut(string(said), "\n")
	if !strings.Contains(list, "-rw------- ") {
		t.Errorf("others may read it:\n%s", list)
	}
	if _, err := os.Stat(filepath.Dir(file)); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", filepath.Dir(file), err)
	}

	var status *editor.StatusError
	if _, err := command(script(t, `echo "$1" > "$WHERE"; exit 3`)).Edit(t.Context(), text); !errors.As(err, &status) || status.Code != 3 {
		t.Errorf("of an editor that fails: %v", err)
	}
	if said, err = os.ReadFile(where); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(strings.TrimSpace(string(said)))); !os.IsNotExist(err) {
		t.Errorf("after an editor that failed the text is still there: %v", err)
	}
	if _, err := command("/nonexistent-editor").Edit(t.Context(), text); err == nil {
		t.Error("no error of an editor that is not there")
	}
}
