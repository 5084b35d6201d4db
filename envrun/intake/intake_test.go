package intake_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"envrun/envrun/environ"
	"envrun/envrun/intake"
	"envrun/vault"
)

func TestRead(t *testing.T) {
	for _, c := range []struct {
		name, text string
		o          intake.Options
		want       string // names, or what the error says
	}{
		{".env", "A=1\nB=2\n", intake.Options{}, "A B"},
		{"notes.txt", "A=1\n", intake.Options{}, "A"},
		{"config.json", `{"A": "1"}`, intake.Options{}, "A"},
		{"config.yaml", "A: 1\nB: 2\n", intake.Options{}, "A B"},
		{"notes.txt", "hello\n", intake.Options{}, intake.ErrFormat.Error()},
		{"notes.txt", "hello=\n", intake.Options{Format: environ.JSON}, "notes.txt"},
		{".env", "A='FAKE-half\n", intake.Options{}, ".env:1"},
	} {
		entries, err := intake.Read([]byte(c.text), c.name, c.o)
		got := ""
		if err != nil {
			got = err.Error()
			if strings.Contains(got, "FAKE-") || strings.Contains(got, "hello") {
				t.Errorf("%s: the error says what is in the file: %s", c.name, got)
			}
		}
		for _, e := range entries {
			got += e.Name + " "
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestFields(t *testing.T) {
	entry := func(name, value string) environ.Entry {
		return environ.Entry{Name: name, Value: vault.NewValueString(value)}
	}
	fields, err := intake.Fields([]environ.Entry{entry("B", "1"), entry("A", "2"), entry("B", "3")})
	if err != nil || len(fields) != 2 || fields[0].Name != "A" || string(fields[1].Value.Reveal()) != "3" {
		t.Errorf("%v, %v", fields, err)
	}
	if _, err := intake.Fields(nil); !errors.Is(err, intake.ErrEmpty) {
		t.Errorf("of nothing: %v", err)
	}
	if _, err := intake.Fields([]environ.Entry{entry("A B", "1")}); vault.KindOf(err) != vault.KindInvalid {
		t.Errorf("a name that is none: %v", err)
	}
	if _, err := intake.Fields([]environ.Entry{entry("A", strings.Repeat("x", vault.MaxValue+1))}); vault.KindOf(err) != vault.KindInvalid {
		t.Errorf("a value that is too long: %v", err)
	}
	var many []environ.Entry
	for i := range vault.MaxFields + 1 {
		many = append(many, entry(fmt.Sprintf("A%d", i), ""))
	}
	var tooMany *intake.TooManyError
	if _, err := intake.Fields(many); !errors.As(err, &tooMany) || tooMany.Count != vault.MaxFields+1 {
		t.Errorf("too many: %v", err)
	}
}

func TestCompare(t *testing.T) {
	of := func(pairs ...string) (fields []vault.Field) {
		for i := 0; i < len(pairs); i += 2 {
			fields = append(fields, vault.Field{Name: vault.FieldName(pairs[i]), Value: vault.NewValueString(pairs[i+1])})
		}
		return fields
	}
	got := intake.Compare(of("A", "1", "B", "2", "C", "3"), vault.Secret{Values: of("A", "1", "B", "x", "D", "4")})
	want := []intake.Verdict{intake.Same, intake.Replaced, intake.New}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
}
