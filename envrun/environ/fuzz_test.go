package environ_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"envrun/envrun/environ"
	"envrun/vault"
)

var dialects = []environ.Dialect{environ.DialectAuto, environ.DialectNode, environ.DialectCompose, environ.DialectRuby, environ.DialectPython, environ.DialectDocker}

// importAny imports text and checks what holds for every reader: an error is of
// the one kind, or the entries and notes are of their form.
func importAny(t *testing.T, text []byte, f environ.Format, o environ.ImportOptions) ([]environ.Entry, bool) {
	t.Helper()
	o.File = "f"
	lines := 1 + bytes.Count(text, []byte("\n")) + bytes.Count(text, []byte("\r")) // both end lines in most dialects
	o.Note = func(n environ.Note) {
		if n.File != "f" || n.Line < 1 || n.Line > lines || n.Kind.String() == "note" {
			t.Errorf("note %+v", n)
		}
	}
	entries, err := environ.Import(bytes.NewReader(text), f, o)
	if err != nil {
		var e *vault.Error
		if !errors.As(err, &e) || e.Kind != vault.KindInvalid || e.Detail == "" || e.Line < 0 || e.Line > lines || len(entries) > 0 {
			t.Errorf("error %v", err)
		}
		return nil, false
	}
	seen := map[string]bool{}
	for _, e := range entries {
		if _, err := vault.ParseFieldName(e.Name); err != nil || seen[e.Name] || e.Line < 1 || e.Line > lines || e.Value.Len() > vault.MaxValue {
			t.Errorf("entry %q in line %d", e.Name, e.Line)
		}
		seen[e.Name] = true
	}
	return entries, true
}

// again writes entries and reads them back.
func again(t *testing.T, entries []environ.Entry, f environ.Format, out environ.ExportOptions, in environ.ImportOptions) {
	t.Helper()
	var b bytes.Buffer
	if err := environ.Export(&b, f, entries, out); err != nil {
		if vault.KindOf(err) != vault.KindInvalid || b.Len() > 0 {
			t.Errorf("%s: %v after %d bytes", f, err, b.Len())
		}
		return
	}
	in.Note = func(n environ.Note) {
		if n.Kind == environ.NoteExpansion || n.Kind == environ.NoteAmbiguous || n.Kind == environ.NoteDuplicate || n.Kind == environ.NoteNoValue {
			t.Errorf("%s %s: %+v in what was written:\n%q", f, in.Dialect, n, b.String())
		}
	}
	got, err := environ.Import(bytes.NewReader(b.Bytes()), f, in)
	if err != nil || !slices.EqualFunc(got, entries, func(a, b environ.Entry) bool { return a.Name == b.Name && a.Value.Equal(b.Value) }) {
		t.Errorf("%s %s: %v\n%q", f, in.Dialect, err, b.String())
	}
}

// everywhere writes entries in every format that is read too.
func everywhere(t *testing.T, entries []environ.Entry) {
	t.Helper()
	for _, f := range []environ.Format{environ.JSON, environ.YAML, environ.Compose, environ.K8s} {
		again(t, entries, f, environ.ExportOptions{Name: "x"}, environ.ImportOptions{})
	}
	for _, d := range dialects {
		again(t, entries, environ.Dotenv, environ.ExportOptions{Dialect: d}, environ.ImportOptions{Dialect: d})
	}
}

func FuzzDotenv(f *testing.F) {
	for _, text := range []string{
		"A=1\n", "export A='x y' # c\r\nB: \"a\\nb\"\n", "A=\"x\ny\"\nA=`z`\n", "A='it\\'s'\n", "A=\"\\$B ${C:-d} $(ls)\"\n", "A\n#\n\n", "A='\n", "\ufeffA=\u2028'x'\n", "A=x\\\n", "A=\"\\0101\"\n",
		"A==x\nB\t=\ty\n", "DOTENV_LINEBREAK_MODE=legacy\nA=\"\\n\"\n", "A:\nB=1\n", "A=$$\nB=$(a(b)c)\n", "'A'=1\n", "A='\\'", "export A=\n", "A=\"\n\n\"B=1",
	} {
		for i := range dialects {
			f.Add([]byte(text), byte(i))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, dialect byte) {
		d := dialects[int(dialect)%len(dialects)]
		if entries, ok := importAny(t, text, environ.Dotenv, environ.ImportOptions{Dialect: d}); ok {
			again(t, entries, environ.Dotenv, environ.ExportOptions{Dialect: d}, environ.ImportOptions{Dialect: d})
			again(t, entries, environ.JSON, environ.ExportOptions{}, environ.ImportOptions{})
		}
	})
}

func FuzzJSON(f *testing.F) {
	for _, text := range []string{`{}`, `{"A":"x","B":1e5,"C":true,"D":null}`, `{"A":"\ud83d\ude00\u0000\n"}`, `{"A":"\ud800"}`, `{"A":{"B":1}}`, `{"A":1,"A":2}`, `[`, `{"A":"` + "\xff" + `"}`, "{\n\"A\"\n:\n1}", `{"A":1}x`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if entries, ok := importAny(t, text, environ.JSON, environ.ImportOptions{}); ok {
			again(t, entries, environ.JSON, environ.ExportOptions{}, environ.ImportOptions{})
			again(t, entries, environ.YAML, environ.ExportOptions{}, environ.ImportOptions{})
		}
	})
}

func FuzzYAML(f *testing.F) {
	for _, text := range []string{
		"A: x\nB: 1\nC:\n", "A: &a |\n  x\nB: *a\n", "a: &a {A: 1}\n<<: *a\n", "A: !!binary eA==\n", "---\nA: x\n---\n", "{A: [", "? A\n: x\n", "a: &a\n  <<: *a\n", "A: \"\\x41\\u00e9\\U0001F600\\0\"\n", "%YAML 1.2\n---\nA: x\n",
		"services:\n  a: &s\n    environment:\n      A: $$x\n      B: ${Y}\n  b:\n    <<: *s\n    env_file: x\n", "services:\n  a:\n    environment:\n    - A=1\n    - B\n    - A=2\n", "services: {a: {environment: {A: }}, b: {environment: []}}",
		"kind: Secret\nmetadata: {name: x}\ndata: {A: eA==}\nstringData: {A: y}\n---\nkind: Pod\n", "kind: ConfigMap\ndata: {A: x}\nbinaryData: {B: eA==}\n", "kind: List\nitems:\n- kind: Secret\n  data: {A: \"\"}\n", `{"kind":"Secret","data":{"A":"eA=="}}`,
	} {
		f.Add([]byte(text), "")
		f.Add([]byte(text), "a")
	}
	f.Fuzz(func(t *testing.T, text []byte, service string) {
		for _, format := range []environ.Format{environ.YAML, environ.Compose, environ.K8s} {
			if entries, ok := importAny(t, text, format, environ.ImportOptions{Service: service}); ok {
				again(t, entries, format, environ.ExportOptions{Name: "x"}, environ.ImportOptions{})
			}
		}
		environ.DetectFormat(service, text)
	})
}

// FuzzValues holds the law from the other side: any two values, every format.
func FuzzValues(f *testing.F) {
	for i := 1; i < len(values); i++ {
		if len(values[i]) < 1000 {
			f.Add([]byte(values[i-1]), []byte(values[i]))
		}
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		entries := []environ.Entry{{Name: "A", Value: vault.NewValue(a)}, {Name: "B", Value: vault.NewValue(b)}}
		everywhere(t, entries)
		everywhere(t, entries[1:])
		for _, f := range []environ.Format{environ.Shell, environ.Fish, environ.PowerShell, environ.GitHub} {
			for _, e := range entries {
				refused := environ.Export(&bytes.Buffer{}, f, []environ.Entry{e}, environ.ExportOptions{}) != nil
				if refused != refusals(f)(string(e.Value.Reveal())) {
					t.Errorf("%s: refuses %q is %v", f, e.Value.Reveal(), refused)
				}
			}
		}
	})
}

func FuzzEnviron(f *testing.F) {
	f.Add("A=1\nB=2\nA=3", "a=4")
	f.Add("=C:=C:\\x\njunk\n=\n==\nPath=x", "PATH")
	f.Fuzz(func(t *testing.T, list, more string) {
		for _, goos := range []string{"linux", "windows"} {
			e := environ.FromList(strings.Split(list, "\n"), goos)
			e.Merge(environ.FromList(strings.Split(more, "\n"), goos))
			once := e.List()
			if again := environ.FromList(once, goos).List(); !slices.Equal(once, again) {
				t.Errorf("%q is then %q", once, again)
			}
			names := e.Names()
			for i, name := range names {
				if _, ok := e.Get(name); !ok || i > 0 && strings.EqualFold(names[i-1], name) && goos == "windows" {
					t.Errorf("names %q", names)
				}
			}
			_ = environ.CheckSize(nil, once, environ.Limits{Total: 10, Units: 5, String: 7})
			e.DropOwn()
			for _, name := range e.Names() {
				if environ.Own(name) {
					t.Errorf("%s is left", name)
				}
			}
		}
	})
}
