package environ_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"envrun/envrun/environ"
	"envrun/vault"
)

// values are what formats stumble over.
var values = []string{
	"", "x", "a b", " ", " a", "a ", "\ta\t", "a=b", "=", "==", "a,b;c", "yes", "NO", "null", "~", "1e3", "0x1F", "007", "1_000", "true", "---", "- a", "a: b", "@x", "*x", "&x", "!x", "%x%", "[x]", "{x}", "<<", "<<EOF", "EOF", "|", "> x",
	"'", `"`, "`", `it's`, `say "hi"`, `it's "both"`, "it's \"all\" `three`", "''", `""`, "'x'", `"x"`, "`x`", "‘x’ “y” ‚z‛",
	`\`, `\\`, `\\\`, `a\`, `\n`, `a\nb`, `C:\new\table`, `\\host\share`, `\'`, `\"`, `\$`, `\x41`, `\0101`, `\u0041`,
	"$", "$$", "$$$", "$x", "$HOME", "${HOME}", "${x:-y}", "$(id)", "`id`", "$((1))", "$1", "a$", "pa$$word", `\$HOME`, "${", "$'x'", "%PATH%", "!!", "!x",
	"#", "# c", "a#b", "a #b", "a # b", "#x\n#y", "//x", "/*x*/", ";x", "x;ls", "x && y", "x | y", "(x)", "*", "?", "~/x", "<x>",
	"\n", "a\nb", "a\n", "\na", "a\n\n\nb\n", "a\r\nb", "a\r", "\r", "a\rb", "a\n\r", "a\nB=2\nc", "a\nEOF\nb", "a\n'", "a\nexport Z='1'\n",
	"-----BEGIN PRIVATE KEY-----\nMIIEvQ+/abc=\n-----END PRIVATE KEY-----\n",
	`{"type":"service_account","key":"a\nb","n":[1,2]}`, `{"it's":"$x"}`,
	"postgres://u:p@ss%20w0rd@h:5432/d?sslmode=require&x=1", "ab+/cd==", "sk_live_51H", "p4$$w0rd!#'\"\\",
	"é", "naïve ☃", "😀", "日本語", "\u00a0", "\u00a0x\u00a0", "\u2028", "a\u2028b", "\u2029", "\u0085", "\ufeff", "\ufeffx", "\ufffd", "\ufffe", "\uffff", "\uf600", "\uf6ff", "\ue000", "\U0010ffff", "e\u0301",
	"\x01", "\x1b[31m", "\x7f", "\u0080", "\u009f", "\x07", "\x08", "\x0b", "\x0c", "\x1c", "\x1f", "\x81", "\x88x", "\xff", "a\xc3", "\xed\xa0\x80", "\xf0\x9f\x98", "\x00", "a\x00b",
	strings.Repeat("x", 60_000), strings.Repeat("é'\"\n", 9_000),
}

// named gives each value a name.
func named() []environ.Entry {
	entries := make([]environ.Entry, len(values))
	for i, v := range values {
		entries[i] = entry(fmt.Sprintf("V%d", i), v)
	}
	return entries
}

// refusals says what each format cannot hold, and nothing else.
func refusals(f environ.Format) func(string) bool {
	text := func(v string) bool { return utf8.ValidString(v) && !strings.Contains(v, "\x00") }
	switch f {
	case environ.Shell, environ.Fish:
		return func(v string) bool { return strings.Contains(v, "\x00") }
	case environ.PowerShell:
		return func(v string) bool { return v == "" || !text(v) }
	case environ.Docker:
		return func(v string) bool { return !text(v) || strings.Contains(v, "\n") || strings.HasSuffix(v, "\r") }
	case environ.GitHub:
		return func(v string) bool { return !text(v) || strings.HasSuffix(v, "\r") }
	case environ.JSON, environ.YAML:
		return func(v string) bool { return !utf8.ValidString(v) }
	case environ.Compose:
		return func(v string) bool { return !text(v) }
	case environ.K8s:
		return func(string) bool { return false }
	}
	return nil
}

// fitting returns the entries that a format holds, and checks that it refuses
// the others by name, with a reason, without a value.
func fitting(t *testing.T, f environ.Format, o environ.ExportOptions, refuses func(string) bool) []environ.Entry {
	t.Helper()
	var fit []environ.Entry
	for _, e := range named() {
		value := string(e.Value.Reveal())
		_, err := write(t, f, o, e)
		if err == nil {
			fit = append(fit, e)
		} else if detail := invalid(t, err); string(detail.Field) != e.Name || detail.Detail == "" {
			t.Errorf("%s %q: %v names nothing", f, value, err)
		}
		if refuses != nil && refuses(value) != (err != nil) {
			t.Errorf("%s %.40q: %v", f, value, err)
		}
	}
	return fit
}

func sameValues(t *testing.T, reader string, got map[string][]byte, want []environ.Entry) {
	t.Helper()
	for _, e := range want {
		value, ok := got[e.Name]
		if !ok || !bytes.Equal(value, e.Value.Reveal()) {
			t.Errorf("%s reads %.60q (%v), it was %.60q", reader, value, ok, e.Value.Reveal())
		}
	}
}

func TestExportText(t *testing.T) {
	two := []environ.Entry{entry("A", "x y"), entry("B", "it's $1\n")}
	for _, tt := range []struct {
		format  environ.Format
		options environ.ExportOptions
		entries []environ.Entry
		want    string
	}{
		{environ.Dotenv, environ.ExportOptions{}, two, "A='x y'\nB=\"it's $1\n\"\n"}, // refused below: ruby and compose expand $1
		{environ.Shell, environ.ExportOptions{}, two, "export A='x y'\nexport B='it'\\''s $1\n'\n"},
		{environ.Fish, environ.ExportOptions{}, two, "set -gx A 'x y'\nset -gx B 'it\\'s $1\n'\n"},
		{environ.PowerShell, environ.ExportOptions{}, append(two, entry("C", "é😀")), "$env:A = 'x y'\n$env:B = 'it''s $1'+[char]0x000A\n$env:C = ''+[char]0x00E9+[char]0xD83D+[char]0xDE00\n"},
		{environ.JSON, environ.ExportOptions{}, append(two, entry("c.d", "<é\u2028>")), "{\n  \"A\": \"x y\",\n  \"B\": \"it's $1\\n\",\n  \"c.d\": \"<é\\u2028>\"\n}\n"},
		{environ.JSON, environ.ExportOptions{}, nil, "{}\n"},
		{environ.YAML, environ.ExportOptions{}, two, "\"A\": \"x y\"\n\"B\": \"it's $1\\n\"\n"},
		{environ.YAML, environ.ExportOptions{}, nil, "{}\n"},
		{environ.Docker, environ.ExportOptions{}, two[:1], "A=x y\n"},
		{environ.Compose, environ.ExportOptions{Name: "api"}, two, "services:\n  \"api\":\n    environment:\n      \"A\": \"x y\"\n      \"B\": \"it's $$1\\n\"\n"},
		{environ.K8s, environ.ExportOptions{Name: "app", Namespace: "prod"}, two, "apiVersion: v1\nkind: Secret\nmetadata:\n  name: \"app\"\n  namespace: \"prod\"\ntype: Opaque\ndata:\n  \"A\": \"eCB5\"\n  \"B\": \"aXQncyAkMQo=\"\n"},
	} {
		got, err := write(t, tt.format, tt.options, tt.entries...)
		if tt.format == environ.Dotenv {
			if e := invalid(t, err); e.Field != "B" || !strings.Contains(e.Detail, "each of their dialects alone can hold it") {
				t.Errorf("dotenv: %v", err)
			}
			continue
		}
		if err != nil || got != tt.want {
			t.Errorf("%s: got\n%s%v\nwant\n%s", tt.format, got, err, tt.want)
		}
	}
}

func TestDotenvSpellings(t *testing.T) {
	for _, tt := range []struct {
		dialect     environ.Dialect
		value, want string // want "" if it cannot be written
	}{
		{"", "sk_live_51H+/=.@:%", "sk_live_51H+/=.@:%"},
		{"", "", "''"},
		{"", "a b", "'a b'"},
		{"", "a#b", "'a#b'"},
		{"", "$x", "'$x'"},
		{"", "it's", `"it's"`},
		{"", `{"a":"b"}`, `'{"a":"b"}'`},
		{"", "a\nb\n", "'a\nb\n'"},
		{"", `it's "both"`, `it's "both"`},
		{"", `it's  "both" #`, ""},
		{"", "${x}", ""},
		{"", `a\\b`, ""},
		{"", "a\rb", ""},
		{"", "\xff", ""},
		{"node", `it's "both"`, "`it's \"both\"`"},
		{"node", "a\rb", `"a\rb"`},
		{"node", "${x}", "'${x}'"},
		{"compose", `it's "both" \ $x`, `'it\'s "both" \ $x'`},
		{"compose", "a\rb", "'a\rb'"},
		{"ruby", `it's "both" \ $x`, `"it's \"both\" \\ \$x"`},
		{"python", `it's "both" \ $x`, `'it\'s "both" \\ $x'`},
		{"python", "a\rb", `"a\rb"`},
		{"python", "${x}", ""},
		{"docker", ` 'x' "y" # $z `, ` 'x' "y" # $z `},
		{"docker", "a\nb", ""},
	} {
		got, err := write(t, environ.Dotenv, environ.ExportOptions{Dialect: tt.dialect}, entry("A", tt.value))
		if want := "A=" + tt.want + "\n"; tt.want != "" || tt.value == "" && err == nil {
			if err != nil || got != want {
				t.Errorf("%s %q: %q %v, want %q", tt.dialect, tt.value, got, err, want)
			}
			continue
		}
		if vault.KindOf(err) != vault.KindInvalid {
			t.Errorf("%s %q: %q %v, want it refused", tt.dialect, tt.value, got, err)
		}
	}
}

func TestExportRefuses(t *testing.T) {
	for _, tt := range []struct {
		format  environ.Format
		options environ.ExportOptions
		entries []environ.Entry
	}{
		{environ.Shell, environ.ExportOptions{}, []environ.Entry{entry("A;id", "x")}},
		{environ.Shell, environ.ExportOptions{}, []environ.Entry{entry("", "x")}},
		{environ.Dotenv, environ.ExportOptions{}, []environ.Entry{entry("a-b", "x")}}, // ruby takes no "-"
		{environ.Dotenv, environ.ExportOptions{Dialect: environ.DialectRuby}, []environ.Entry{entry("a-b", "x")}},
		{environ.Docker, environ.ExportOptions{}, []environ.Entry{entry("a b", "x")}},
		{environ.PowerShell, environ.ExportOptions{}, []environ.Entry{entry("a-b", "x")}},
		{environ.JSON, environ.ExportOptions{}, []environ.Entry{entry("a b", "x")}},
		{environ.YAML, environ.ExportOptions{}, []environ.Entry{entry("a\": x\n\"b", "x")}},
		{environ.JSON, environ.ExportOptions{}, []environ.Entry{entry("A", "x"), entry("A", "y")}},
		{environ.GitHub, environ.ExportOptions{}, []environ.Entry{entry("GITHUB_TOKEN", "x")}},
		{environ.GitHub, environ.ExportOptions{}, []environ.Entry{entry("NODE_OPTIONS", "x")}},
		{environ.K8s, environ.ExportOptions{}, nil},
		{environ.K8s, environ.ExportOptions{Name: "A"}, nil},
		{environ.K8s, environ.ExportOptions{Name: "a\nb"}, nil},
		{environ.K8s, environ.ExportOptions{Name: "a..b"}, nil},
		{environ.K8s, environ.ExportOptions{Name: "-a"}, nil},
		{environ.K8s, environ.ExportOptions{Name: strings.Repeat("a", 254)}, nil},
		{environ.K8s, environ.ExportOptions{Name: "a", Namespace: "b.c"}, nil},
		{environ.K8s, environ.ExportOptions{Name: "a"}, []environ.Entry{entry("A", strings.Repeat("x", 1<<20)), entry("B", "x")}},
		{environ.Compose, environ.ExportOptions{}, nil},
		{environ.Compose, environ.ExportOptions{Name: "a b"}, nil},
		{environ.Compose, environ.ExportOptions{Name: "a\""}, nil},
		{environ.Dotenv, environ.ExportOptions{Dialect: "perl"}, nil},
		{"toml", environ.ExportOptions{}, nil},
	} {
		if _, err := write(t, tt.format, tt.options, tt.entries...); vault.KindOf(err) != vault.KindInvalid {
			t.Errorf("%s %+v: %v", tt.format, tt.options, err)
		}
	}
}

type shortWriter struct{}

func (shortWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestExportReturnsWriteErrors(t *testing.T) {
	if err := environ.Export(shortWriter{}, environ.JSON, nil, environ.ExportOptions{}); !errors.Is(err, io.ErrShortWrite) {
		t.Error(err)
	}
}

// What is written in a format that is read too is read back, in every dialect.
func TestExportAndImportAgree(t *testing.T) {
	for _, f := range []environ.Format{environ.Docker, environ.JSON, environ.YAML, environ.Compose, environ.K8s} {
		o := environ.ExportOptions{Name: "x"}
		agree(t, f, o, environ.ImportOptions{}, fitting(t, f, o, refusals(f)))
	}
	dialects := []environ.Dialect{environ.DialectNode, environ.DialectCompose, environ.DialectRuby, environ.DialectPython}
	for _, d := range dialects {
		o := environ.ExportOptions{Dialect: d}
		fit := fitting(t, environ.Dotenv, o, nil)
		t.Logf("dialect %s holds %d of %d values", d, len(fit), len(values))
		agree(t, environ.Dotenv, o, environ.ImportOptions{Dialect: d}, fit)
	}
	fit := fitting(t, environ.Dotenv, environ.ExportOptions{}, nil)
	t.Logf("all dialects together hold %d of %d values", len(fit), len(values))
	for _, d := range append(dialects, environ.DialectAuto) {
		notes := agree(t, environ.Dotenv, environ.ExportOptions{}, environ.ImportOptions{Dialect: d}, fit)
		if len(notes) > 0 {
			t.Errorf("%s: notes %+v", d, notes)
		}
	}
}

func agree(t *testing.T, f environ.Format, out environ.ExportOptions, in environ.ImportOptions, entries []environ.Entry) []environ.Note {
	t.Helper()
	text, err := write(t, f, out, entries...)
	if err != nil {
		t.Fatalf("%s together: %v", f, err)
	}
	_, got, notes, err := read(t, text, f, in)
	if err != nil {
		t.Fatalf("%s: %v", f, err)
	}
	if !slices.EqualFunc(got, entries, func(a, b environ.Entry) bool { return a.Name == b.Name && a.Value.Equal(b.Value) }) {
		t.Errorf("%s %s: what was read is not what was written", f, in.Dialect)
	}
	return notes
}

// A vault holds names that no environment does; a dotenv file can carry them
// where its reader takes them.
func TestDotenvHoldsFieldNames(t *testing.T) {
	for _, d := range []environ.Dialect{environ.DialectNode, environ.DialectCompose, environ.DialectPython, environ.DialectDocker} {
		agree(t, environ.Dotenv, environ.ExportOptions{Dialect: d}, environ.ImportOptions{Dialect: d}, []environ.Entry{entry("tls.crt", "x"), entry("a-b", "y"), entry("1x", "z")})
	}
	agree(t, environ.Dotenv, environ.ExportOptions{}, environ.ImportOptions{}, []environ.Entry{entry("tls.crt", "x")})
}
