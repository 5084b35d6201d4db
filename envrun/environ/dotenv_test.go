package environ_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"envrun/envrun/environ"
	"envrun/vault"
)

// testdata/dotenv.json holds what the readers themselves made of each text, run
// once in the versions it names. null for a reader: it refused the file. null
// for a value: it expanded something in it. "refused" names the dialects in
// which we refuse the text.
func TestDialectsReadAsTheirReaders(t *testing.T) {
	raw, err := os.ReadFile("testdata/dotenv.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct{ Cases []map[string]json.RawMessage }
	if err := json.Unmarshal(raw, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Cases) < 150 {
		t.Fatalf("only %d cases", len(golden.Cases))
	}
	for _, c := range golden.Cases {
		var text string
		var refused []environ.Dialect
		unmarshal(t, c["text"], &text)
		unmarshal(t, c["refused"], &refused)
		for _, d := range []environ.Dialect{environ.DialectNode, environ.DialectCompose, environ.DialectRuby, environ.DialectPython} {
			var want map[string]*string
			unmarshal(t, c[string(d)], &want)
			got, _, notes, err := read(t, text, environ.Dotenv, environ.ImportOptions{Dialect: d})
			if slices.Contains(refused, d) != (err != nil) {
				t.Errorf("%s %q: error %v", d, text, err)
			}
			if err != nil {
				if e := invalid(t, err); e.Line == 0 {
					t.Errorf("%s %q: no line in %v", d, text, err)
				}
				continue
			}
			noted := func(kind environ.NoteKind, name string) bool {
				return slices.ContainsFunc(notes, func(n environ.Note) bool { return n.Kind == kind && n.Name == name })
			}
			if want == nil && !slices.ContainsFunc(notes, func(n environ.Note) bool { return n.Kind == environ.NoteExpansion || n.Kind == environ.NoteNoValue }) {
				t.Errorf("%s %q: it refuses this, we read %q without a note", d, text, got)
			}
			for name, value := range want {
				have, ok := got[name]
				switch {
				case !ok && !noted(environ.NoteNoValue, ""):
					t.Errorf("%s %q: %s is missing", d, text, name)
				case ok && noted(environ.NoteExpansion, name) != (value == nil):
					t.Errorf("%s %q: note of an expansion in %s is %v", d, text, name, value != nil)
				case ok && value != nil && have != *value:
					t.Errorf("%s %q: %s is %q, its reader says %q", d, text, name, have, *value)
				}
			}
			for name := range got {
				if _, ok := want[name]; !ok && want != nil {
					t.Errorf("%s %q: %s is too much", d, text, name)
				}
			}
		}
	}
}

func unmarshal(t *testing.T, raw json.RawMessage, v any) {
	t.Helper()
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatal(err)
	}
}

// The rules of docker run --env-file, from the source of Docker's CLI.
// TestDockerReadsItsOwnFile asks the program itself.
func TestDockerDialect(t *testing.T) {
	for _, tt := range []struct {
		text string
		want map[string]string
		bad  int // the line at fault
	}{
		{"A=1\n  # c\n\n\tB=2 \n", map[string]string{"A": "1", "B": "2 "}, 0},
		{"A='x'\nB=\"y\" # c\n", map[string]string{"A": "'x'", "B": `"y" # c`}, 0},
		{"A= x\r\nB=a=b\n", map[string]string{"A": " x", "B": "a=b"}, 0},
		{"A=$B\nC=a\\nb\n", map[string]string{"A": "$B", "C": `a\nb`}, 0},
		{"A=", map[string]string{"A": ""}, 0},
		{"A=1\nB =2\n", nil, 2},
		{"export A=1\n", nil, 1},
		{"=1\n", nil, 1},
		{"A=" + strings.Repeat("x", 64<<10-3) + "\n", map[string]string{"A": strings.Repeat("x", 64<<10-3)}, 0},
		{"A=" + strings.Repeat("x", 64<<10-2) + "\n", nil, 1},
	} {
		got, _, notes, err := read(t, tt.text, environ.Docker, environ.ImportOptions{})
		if tt.bad > 0 {
			if e := invalid(t, err); e.Line != tt.bad {
				t.Errorf("%.40q: %v, want line %d", tt.text, err, tt.bad)
			}
			continue
		}
		if err != nil || !equal(got, tt.want) || len(notes) > 0 {
			t.Errorf("%.40q: got %.80q %v %v, want %.80q", tt.text, got, notes, err, tt.want)
		}
	}
	_, _, notes, err := read(t, "A=1\nB\nA=2\n", environ.Docker, environ.ImportOptions{File: "f"})
	want := []environ.Note{{Kind: environ.NoteDuplicate, File: "f", Line: 1, Name: "A"}, {Kind: environ.NoteNoValue, File: "f", Line: 2}}
	if err != nil || !equalNotes(notes, want) {
		t.Errorf("got %+v %v, want %+v", notes, err, want)
	}
}

func equal(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || w != v {
			return false
		}
	}
	return true
}

func equalNotes(a, b []environ.Note) bool {
	return slices.EqualFunc(a, b, func(a, b environ.Note) bool {
		return a.Kind == b.Kind && a.File == b.File && a.Line == b.Line && a.Name == b.Name && a.What == b.What && slices.Equal(a.Others, b.Others)
	})
}

// In auto the value is Node's, and a note says who else reads another one.
func TestAutoSaysWhoDisagrees(t *testing.T) {
	compose, ruby, python := environ.DialectCompose, environ.DialectRuby, environ.DialectPython
	for _, tt := range []struct {
		text, value string
		expands     bool
		others      []environ.Dialect
	}{
		{"A=1\n", "1", false, nil},
		{"A='a b' # c\n", "a b", false, nil},
		{"A=\"a\nb\"\n", "a\nb", false, nil},
		{"A=postgres://u:p@h/d?x=1&y=2\n", "postgres://u:p@h/d?x=1&y=2", false, nil},
		{"A=a#b\n", "a", false, []environ.Dialect{compose, python}},
		{`A="a\nb"`, "a\nb", false, []environ.Dialect{ruby}},
		{`A=a\tb`, `a\tb`, false, []environ.Dialect{ruby}},
		{"A=`x`\n", "x", false, []environ.Dialect{compose, ruby, python}},
		{"A= # c\n", "", false, []environ.Dialect{compose, python}},
		{"A-b=1\n", "1", false, []environ.Dialect{ruby}},
		{"A=$B\n", "$B", true, nil},
		{"A='${B}'\n", "${B}", true, nil},
		{"A: 1\n", "1", false, []environ.Dialect{python}},
	} {
		values, entries, notes, err := read(t, tt.text, environ.Dotenv, environ.ImportOptions{})
		if err != nil || len(entries) != 1 || values[entries[0].Name] != tt.value {
			t.Errorf("%q: got %q %v", tt.text, values, err)
			continue
		}
		var others []environ.Dialect
		expands := false
		for _, n := range notes {
			switch n.Kind {
			case environ.NoteAmbiguous:
				others = n.Others
			case environ.NoteExpansion:
				expands = true
			}
		}
		if expands != tt.expands || !slices.Equal(others, tt.others) {
			t.Errorf("%q: expands %v, others %v; want %v, %v", tt.text, expands, others, tt.expands, tt.others)
		}
	}
}

// Whatever is wrong with a file, its text stays out of the error.
func TestErrorsShowNothingOfTheFile(t *testing.T) {
	const secret = "hunter2canary"
	texts := []string{
		secret + " x\n", "A=1\n" + secret + "/+x\n", "A='" + secret + "\n", "A=\"" + secret + "\" y\n", "A=\"x\" " + secret + "\n", secret + "/x=1\n", "=" + secret + "\n",
		"A=-----BEGIN KEY-----\n" + secret + "+/\n-----END KEY-----\n", "A=1\xff" + secret + "\n", "A=\x00" + secret + "\n", secret + " =1\n", "export " + secret + " y\n", secret + " : x\n",
		`{"A": ` + secret + `}`, `{"A": "` + secret, `{"` + secret + `!": 1}`, `{"A": {"` + secret + `": 1}}`, `["` + secret + `"]`, `{"A":"` + secret + `\ud800"}`, `{"A":"\` + secret + `"}`,
		"A: *" + secret + "\n", "A: !" + secret + " x\n", "A: [" + secret + "]\n", "? [" + secret + "]\n: x\n", "A: 'x' " + secret + "\n", "- " + secret + "\n", secret + "\n", "A: \"\\" + secret + "\"\n", "A: @" + secret + "\n", "A: !!binary " + secret + "!\n", "A:\n\t" + secret + ": x", "'" + secret + "!': x\n", "<<: " + secret + "\n", "A: &" + secret + " b\nB: *x" + secret,
		"services: {" + secret + "!: {environment: {A: [" + secret + "]}}}\n", "services:\n  a:\n    environment: [\"" + secret + "!=1\"]\n", "services: " + secret + "\n", "services: {a: {environment: " + secret + "}}\n", "services: {a: {environment: [[" + secret + "]]}}\n",
		"kind: Secret\ndata: {A: " + secret + "!}\n", "kind: Secret\ndata: " + secret + "\n", "kind: " + secret + "!\n", "kind: Secret\nstringData: {A: [" + secret + "]}\n", "kind: List\nitems: [" + secret + "]\n", "kind: ConfigMap\ndata: {" + secret + "!: x}\n",
	}
	for _, text := range texts {
		for _, f := range []environ.Format{environ.Dotenv, environ.Docker, environ.JSON, environ.YAML, environ.Compose, environ.K8s} {
			for _, d := range []environ.Dialect{environ.DialectAuto, environ.DialectNode, environ.DialectCompose, environ.DialectRuby, environ.DialectPython} {
				_, _, notes, err := read(t, text, f, environ.ImportOptions{Dialect: d, File: "f"})
				if err != nil {
					e := invalid(t, err)
					if e.File != "f" {
						t.Errorf("%s %q: no file in %v", f, text, err)
					}
					noCanary(t, err, secret)
				}
				for _, n := range notes {
					// A key of a mapping that a vault can hold is a name, not a value.
					if strings.Contains(n.Name+n.What, secret) && (f == environ.Dotenv || f == environ.Docker) && !strings.HasPrefix(text, secret+" ") {
						t.Errorf("%s %q: a note shows %q", f, text, n.Name+n.What)
					}
				}
			}
		}
	}
}

func TestInputIsCheckedFirst(t *testing.T) {
	for _, tt := range []struct {
		text string
		line int
		want string
	}{
		{"\xff\xfeA\x00=\x001\x00", 0, "UTF-16"},
		{"\xfe\xff\x00A\x00=", 0, "UTF-16"},
		{"A=1\nB=\xc3\n", 2, "not UTF-8"},
		{"A=1\n\nB=\x00\n", 3, "NUL"},
		{strings.Repeat("#\n", environ.MaxInput/2) + "A", 0, "bigger than"},
		{"A=" + strings.Repeat("x", vault.MaxValue+1), 1, "more than 1048576 bytes"},
	} {
		_, _, _, err := read(t, tt.text, environ.Dotenv, environ.ImportOptions{Dialect: environ.DialectNode})
		if e := invalid(t, err); e.Line != tt.line || !strings.Contains(e.Detail, tt.want) {
			t.Errorf("%.20q: %v, want line %d, %s", tt.text, err, tt.line, tt.want)
		}
	}
	if _, _, _, err := read(t, "A=1", environ.Dotenv, environ.ImportOptions{Dialect: "perl"}); err == nil {
		t.Error("dialect perl is read")
	}
	for _, f := range []environ.Format{environ.Shell, environ.Fish, environ.PowerShell, environ.GitHub, environ.FormatUnknown, "x"} {
		_, _, _, err := read(t, "A=1", f, environ.ImportOptions{})
		invalid(t, err)
	}
}

func TestTooManyVariables(t *testing.T) {
	var b strings.Builder
	for i := range environ.MaxEntries + 1 {
		b.WriteString("A" + strings.Repeat("x", i%50) + string(rune('a'+i/50%26)) + string(rune('a'+i/1300)) + "=1\n")
	}
	_, _, _, err := read(t, b.String(), environ.Dotenv, environ.ImportOptions{Dialect: environ.DialectNode})
	if e := invalid(t, err); e.Line != environ.MaxEntries+1 {
		t.Errorf("got %v", err)
	}
}

// Texts at which a reader that goes back over what it has seen would take time
// squared. At this size it would take minutes.
func TestReadersTakeLinearTime(t *testing.T) {
	n := 1 << 17
	for _, text := range []string{
		strings.Repeat("\n", n) + "!",
		strings.Repeat(" \n", n) + "A",
		"A=" + strings.Repeat(" ", n) + "x",
		"A='" + strings.Repeat(`\'`, n),
		strings.Repeat("A='\n", n/4),
		strings.Repeat("A=\"\\\"\n", n/8),
		strings.Repeat("export ", n/8),
		strings.Repeat("A\n", n/2),
		"A=" + strings.Repeat("$(", n),
		"A=" + strings.Repeat("(", n) + strings.Repeat(")", n),
		"A=" + strings.Repeat("${", n),
		"A=" + strings.Repeat(" #", 1) + strings.Repeat("#", n),
		"A=x" + strings.Repeat("#", n),
		"A=x" + strings.Repeat(" ", n) + "y",
		"A=x" + strings.Repeat(" y", n),
		strings.Repeat("export A=\n", n/10),
		"A=" + strings.Repeat("\u2028", n/3),
		strings.Repeat("\u2028", n/3) + "!",
		strings.Repeat("A:\n", n/3),
		"A" + strings.Repeat("\n", n) + "!",
	} {
		for _, d := range []environ.Dialect{environ.DialectAuto, environ.DialectCompose, environ.DialectRuby, environ.DialectPython, environ.DialectDocker} {
			_, _ = environ.Import(strings.NewReader(text), environ.Dotenv, environ.ImportOptions{Dialect: d})
		}
	}
}
