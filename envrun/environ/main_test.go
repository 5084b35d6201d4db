package environ_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"envrun/envrun/environ"
	"envrun/vault"
)

// dumpVariable makes this test binary print its environment and exit: the
// child with which tests see what a program really gets.
const dumpVariable = "ENVIRON_TEST_DUMP"

func TestMain(m *testing.M) {
	if os.Getenv(dumpVariable) != "" {
		env := map[string][]byte{}
		for _, entry := range os.Environ() {
			name, value, _ := strings.Cut(entry, "=")
			env[name] = []byte(value) // JSON holds bytes as base64, exactly
		}
		if json.NewEncoder(os.Stdout).Encode(env) != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	for _, f := range cleanUp {
		f()
	}
	os.Exit(code)
}

// cleanUp is run after all tests, for what several of them share.
var cleanUp []func()

func entry(name, value string) environ.Entry {
	return environ.Entry{Name: name, Value: vault.NewValueString(value)}
}

// read imports text and returns what it holds with the notes.
func read(t *testing.T, text string, f environ.Format, o environ.ImportOptions) (map[string]string, []environ.Entry, []environ.Note, error) {
	t.Helper()
	var notes []environ.Note
	o.Note = func(n environ.Note) { notes = append(notes, n) }
	entries, err := environ.Import(strings.NewReader(text), f, o)
	values := map[string]string{}
	for _, e := range entries {
		if _, ok := values[e.Name]; ok {
			t.Errorf("%q: %s comes twice", text, e.Name)
		}
		values[e.Name] = string(e.Value.Reveal())
	}
	return values, entries, notes, err
}

func write(t *testing.T, f environ.Format, o environ.ExportOptions, entries ...environ.Entry) (string, error) {
	t.Helper()
	var b bytes.Buffer
	err := environ.Export(&b, f, entries, o)
	if err != nil && b.Len() > 0 {
		t.Errorf("%s: wrote %d bytes and then failed: %v", f, b.Len(), err)
	}
	return b.String(), err
}

// invalid returns the error as every reader and writer has to make it.
func invalid(t *testing.T, err error) *vault.Error {
	t.Helper()
	var e *vault.Error
	if !errors.As(err, &e) || e.Kind != vault.KindInvalid {
		t.Fatalf("%v is no *vault.Error of KindInvalid", err)
	}
	return e
}

// noCanary fails if an error shows a value.
func noCanary(t *testing.T, err error, canary string) {
	t.Helper()
	if err != nil && strings.Contains(err.Error(), canary) {
		t.Errorf("the error shows a value: %v", err)
	}
}
