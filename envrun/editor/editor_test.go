package editor_test

import (
	"fmt"
	"strings"
	"testing"

	"envrun/envrun/editor"
	"envrun/vault"
)

func of(pairs ...string) (fields []vault.Field) {
	for i := 0; i < len(pairs); i += 2 {
		fields = append(fields, vault.Field{Name: vault.FieldName(pairs[i]), Value: vault.NewValueString(pairs[i+1])})
	}
	return fields
}

// What is written as text is read back as it was.
func TestTextParse(t *testing.T) {
	was := of("A", "plain", "B", "two\nlines\n", "C", "", "D", `"quotes' and $X`, "E", " spaces ")
	text, err := editor.Text(was, "first", "second")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), "# first\n# second\n") {
		t.Errorf("it begins with %.30q", text)
	}
	now, err := editor.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if set, drop := editor.Diff(was, now); len(now) != len(was) || set != nil || drop != nil {
		t.Errorf("%d fields of %d, changed %v, gone %v", len(now), len(was), set, drop)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"A='FAKE-half\n", "FAKE-no assignment here\n"} {
		_, err := editor.Parse([]byte(text))
		if vault.KindOf(err) != vault.KindInvalid || strings.Contains(err.Error(), "FAKE-") || !strings.Contains(err.Error(), editor.TextName) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := editor.Text(of("A", "\x00")); err == nil {
		t.Error("a value that is no text was written as text")
	}
}

func TestDiff(t *testing.T) {
	set, drop := editor.Diff(of("A", "1", "B", "2", "GONE", "3"), of("A", "1", "B", "other", "NEW", ""))
	var names []string
	for _, f := range set {
		names = append(names, string(f.Name))
	}
	if got := fmt.Sprint(names, drop); got != "[B NEW] [GONE]" {
		t.Error(got)
	}
}

func TestChoose(t *testing.T) {
	for want, env := range map[string]map[string]string{
		"vi":   {},
		"nano": {"EDITOR": "nano"},
		"code": {"EDITOR": "nano", "VISUAL": "code"},
		"emed": {"EDITOR": "nano", "VISUAL": "code", "ENVRUN_EDITOR": "emed"},
	} {
		if got := editor.Choose(func(n string) string { return env[n] }); got != want {
			t.Errorf("%v: %s, want %s", env, got, want)
		}
	}
	for line, known := range map[string]bool{"vim": true, "/usr/bin/nvim -R": true, "nano": true, "code --wait": false, "": false} {
		if editor.Known(line) != known {
			t.Errorf("Known(%q) is %v", line, !known)
		}
	}
}
