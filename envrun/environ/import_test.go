package environ_test

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"envrun/envrun/environ"
	"envrun/vault"
)

func TestImport(t *testing.T) {
	note := func(kind environ.NoteKind, line int, name, what string) environ.Note {
		return environ.Note{Kind: kind, Line: line, Name: name, What: what}
	}
	for _, tt := range []struct {
		name    string
		format  environ.Format
		service string
		text    string
		want    map[string]string
		notes   []environ.Note
		line    int    // of the error, if there is one
		field   string // and its variable
		detail  string // and a part of what it says; "" for no error
	}{
		{name: "strings, numbers and booleans as written", format: environ.JSON,
			text:  `{"A":"x","B":1e2,"C":1.50,"D":-0,"E":true,"F":false,"G":"","h.i-j":"\u00e9\n😀\ud83d\ude00\u0000"}`,
			want:  map[string]string{"A": "x", "B": "1e2", "C": "1.50", "D": "-0", "E": "true", "F": "false", "G": "", "h.i-j": "é\n😀😀\x00"},
			notes: []environ.Note{note(environ.NoteName, 1, "h.i-j", "")}},
		{name: "null", format: environ.JSON, text: "{\n\"A\": null,\n\"B\": 1\n}\n", want: map[string]string{"B": "1"}, notes: []environ.Note{note(environ.NoteNoValue, 2, "A", "")}},
		{name: "empty object", format: environ.JSON, text: "\ufeff{}", want: map[string]string{}},
		{name: "twice", format: environ.JSON, text: "{\"A\":1,\n\"A\":1}", line: 2, field: "A", detail: "twice"},
		{name: "nested", format: environ.JSON, text: "{\"A\":1,\n\"B\":{\"C\":1}}", line: 2, field: "B", detail: "object or a list"},
		{name: "list", format: environ.JSON, text: `[{"A":1}]`, line: 1, detail: "not one object"},
		{name: "empty", format: environ.JSON, text: " \n", line: 1, detail: "empty"},
		{name: "more", format: environ.JSON, text: "{}\n{}", line: 2, detail: "goes on"},
		{name: "cut", format: environ.JSON, text: "{\"A\":1,\n\"B\"", line: 2, detail: "not valid JSON"},
		{name: "comment", format: environ.JSON, text: "{\"A\":1,\n// c\n\"B\":1}", line: 2, detail: "not valid JSON"},
		{name: "trailing comma", format: environ.JSON, text: "{\"A\":1,\n}", line: 2, detail: "not valid JSON"},
		{name: "half of a pair", format: environ.JSON, text: `{"A":"x\ud800y"}`, line: 1, field: "A", detail: "surrogate"},
		{name: "the other half", format: environ.JSON, text: `{"A":"\udc00"}`, line: 1, field: "A", detail: "surrogate"},
		{name: "the wrong way round", format: environ.JSON, text: `{"A":"\udc00\ud800"}`, line: 1, field: "A", detail: "surrogate"},
		{name: "no escape", format: environ.JSON, text: `{"A":"\\ud800"}`, want: map[string]string{"A": `\ud800`}},
		{name: "name", format: environ.JSON, text: `{"A b":1}`, line: 1, detail: "name may hold"},

		{name: "scalars as written", format: environ.YAML,
			text: "A: x\nB: 0o14\nC: 1_000\nD: yes\nE: 1.10\nF: 2024-01-01\nG: \"a\\nb\"\nH: 'it''s'\nI: |\n  l1\n  l2\nJ: >-\n  f1\n  f2\nK: !!str 7\nL: !!binary aGk=\nNO: x\n",
			want: map[string]string{"A": "x", "B": "0o14", "C": "1_000", "D": "yes", "E": "1.10", "F": "2024-01-01", "G": "a\nb", "H": "it's", "I": "l1\nl2\n", "J": "f1 f2", "K": "7", "L": "hi", "NO": "x"}},
		{name: "null", format: environ.YAML, text: "A:\nB: ~\nC: null\nD: ''\n", want: map[string]string{"D": ""},
			notes: []environ.Note{note(environ.NoteNoValue, 1, "A", ""), note(environ.NoteNoValue, 2, "B", ""), note(environ.NoteNoValue, 3, "C", "")}},
		{name: "alias and merge", format: environ.YAML, text: "A: &a x\nB: *a\n", want: map[string]string{"A": "x", "B": "x"}},
		{name: "no document", format: environ.YAML, text: "# c\n", want: map[string]string{}},
		{name: "one document", format: environ.YAML, text: "---\nA: x\n...\n", want: map[string]string{"A": "x"}},
		{name: "two documents", format: environ.YAML, text: "A: x\n---\nB: y\n", line: 3, detail: "second document"},
		{name: "twice", format: environ.YAML, text: "A: x\nB: y\nA: x\n", line: 3, field: "A", detail: "twice"},
		{name: "nested", format: environ.YAML, text: "A: x\nB:\n  C: y\n", line: 2, field: "B", detail: "mapping or a list"},
		{name: "list", format: environ.YAML, text: "- A\n", line: 1, detail: "no mapping"},
		{name: "tag", format: environ.YAML, text: "A: !vault x\n", line: 1, field: "A", detail: "tag"},
		{name: "binary", format: environ.YAML, text: "A: !!binary '!'\n", line: 1, field: "A", detail: "base64"},
		{name: "syntax", format: environ.YAML, text: "A: x\nB: 'y\n", line: 2, detail: "not valid YAML"},
		{name: "syntax in the first line", format: environ.YAML, text: "A: [", line: 1, detail: "not valid YAML"},
		{name: "no such anchor", format: environ.YAML, text: "A: *b\n", line: 1, detail: "not valid YAML"},
		{name: "key", format: environ.YAML, text: "[A]: x\n", line: 1, detail: "no plain name"},
		{name: "merges itself", format: environ.YAML, text: "a: &a\n  <<: *a\n", line: 1, field: "a", detail: "mapping or a list"},
		{name: "JSON is YAML", format: environ.YAML, text: `{"A": "x", "B": 1}`, want: map[string]string{"A": "x", "B": "1"}},

		{name: "map", format: environ.Compose, text: "services:\n  api:\n    image: x\n    environment:\n      A: x\n      B: 1\n      C: true\n      D:\n      E: \"$$x $Y\"\n      F: ${Z:-z}\n",
			want:  map[string]string{"A": "x", "B": "1", "C": "true", "E": "$x $Y", "F": "${Z:-z}"},
			notes: []environ.Note{note(environ.NoteNoValue, 8, "D", ""), note(environ.NoteExpansion, 9, "E", ""), note(environ.NoteExpansion, 10, "F", "")}},
		{name: "list", format: environ.Compose, text: "services:\n  api:\n    environment:\n    - A=x=y\n    - B\n    - \"C=a b\"\n    - D=\n    - A=z\n",
			want:  map[string]string{"A": "z", "C": "a b", "D": ""},
			notes: []environ.Note{note(environ.NoteDuplicate, 4, "A", ""), note(environ.NoteNoValue, 5, "", "")}},
		{name: "anchors", format: environ.Compose, text: "x-env: &env\n  A: x\n  B: x\nservices:\n  api:\n    environment:\n      <<: *env\n      B: y\n  db: {image: d}\n", want: map[string]string{"A": "x", "B": "y"}},
		{name: "anchors in a list", format: environ.Compose, text: "x: &x {A: 1, B: 1}\ny: &y {B: 2, C: 2}\nservices: {api: {environment: {<<: [*x, *y]}}}\n", want: map[string]string{"A": "1", "B": "1", "C": "2"}},
		{name: "a service that merges another", format: environ.Compose, text: "services:\n  a: &a\n    environment: {A: x}\n  b:\n    <<: *a\n    image: x\n", service: "b", want: map[string]string{"A": "x"}},
		{name: "one of several", format: environ.Compose, service: "b", text: "services: {a: {environment: {A: 1}}, b: {environment: [B=2], env_file: .env, extends: {service: a}}}\ninclude: [x.yaml]\n", want: map[string]string{"B": "2"},
			notes: []environ.Note{note(environ.NoteSkipped, 1, "", "env_file"), note(environ.NoteSkipped, 1, "", "extends"), note(environ.NoteSkipped, 2, "", "include")}},
		{name: "which of several", format: environ.Compose, text: "services: {a: {environment: {A: 1}}, b: {environment: [B=2]}, c: {}}", detail: "several"},
		{name: "no such service", format: environ.Compose, service: "x", text: "services: {a: {environment: {A: 1}}}", detail: "no service of that name"},
		{name: "no environment", format: environ.Compose, text: "services: {a: {}}", detail: "no service in it has an environment"},
		{name: "the service has none", format: environ.Compose, service: "a", text: "services: {a: {}}", want: map[string]string{}},
		{name: "no services", format: environ.Compose, text: "A: x\n", detail: "no services"},
		{name: "nested value", format: environ.Compose, text: "services: {a: {environment: {A: [x]}}}", line: 1, field: "A", detail: "mapping or a list"},

		{name: "Secret", format: environ.K8s, text: "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata:\n  A: eA==\n  B: \"aGkK\"\n  tls.crt: /w==\nstringData:\n  B: plain\n  C: |\n    l\n",
			want:  map[string]string{"A": "x", "B": "plain", "C": "l\n", "tls.crt": "\xff"},
			notes: []environ.Note{note(environ.NoteDuplicate, 6, "B", ""), note(environ.NoteName, 7, "tls.crt", "")}},
		{name: "ConfigMap", format: environ.K8s, text: "kind: ConfigMap\ndata: {A: x}\nbinaryData: {B: eQ==}\n", want: map[string]string{"A": "x", "B": "y"}},
		{name: "several documents", format: environ.K8s, text: "kind: Secret\ndata: {A: eA==}\n---\n---\nkind: Deployment\nspec: {}\n---\nkind: ConfigMap\ndata: {B: y}\n", want: map[string]string{"A": "x", "B": "y"},
			notes: []environ.Note{note(environ.NoteSkipped, 5, "", "Deployment")}},
		{name: "List", format: environ.K8s, text: `{"apiVersion":"v1","kind":"List","items":[{"kind":"Secret","data":{"A":"eA=="}},{"kind":"ConfigMap","data":{"B":"y"}}]}`, want: map[string]string{"A": "x", "B": "y"}},
		{name: "by name", format: environ.K8s, service: "b", text: "kind: Secret\nmetadata: {name: a}\ndata: {A: eA==}\n---\nkind: Secret\nmetadata: {name: b}\ndata: {A: eQ==}\n", want: map[string]string{"A": "y"}},
		{name: "in both", format: environ.K8s, text: "kind: Secret\nmetadata: {name: a}\ndata: {A: eA==}\n---\nkind: Secret\nmetadata: {name: b}\ndata: {A: eQ==}\n", line: 7, field: "A", detail: "another object"},
		{name: "no such object", format: environ.K8s, service: "c", text: "kind: Secret\nmetadata: {name: a}\n", detail: "no Secret or ConfigMap of that name"},
		{name: "not base64", format: environ.K8s, text: "kind: Secret\ndata:\n  A: x!\n", line: 3, field: "A", detail: "not base64"},
		{name: "not quoted", format: environ.K8s, text: "kind: ConfigMap\ndata:\n  A: 8080\n", line: 3, field: "A", detail: "quotes"},
		{name: "twice in a ConfigMap", format: environ.K8s, text: "kind: ConfigMap\ndata: {A: x}\nbinaryData: {A: eA==}\n", line: 2, field: "A", detail: "binaryData"},
		{name: "nothing of use", format: environ.K8s, text: "kind: Pod\n", detail: "no Secret and no ConfigMap"},
		{name: "no object", format: environ.K8s, text: "A: x\n", line: 1, detail: "no kind"},
		{name: "no document", format: environ.K8s, text: "", detail: "no Secret and no ConfigMap"},
	} {
		t.Run(string(tt.format)+"/"+tt.name, func(t *testing.T) {
			got, _, notes, err := read(t, tt.text, tt.format, environ.ImportOptions{Service: tt.service})
			if tt.detail != "" {
				if e := invalid(t, err); e.Line != tt.line || string(e.Field) != tt.field || !strings.Contains(e.Detail, tt.detail) {
					t.Errorf("got line %d, field %q, %q; want %d, %q, %q", e.Line, e.Field, e.Detail, tt.line, tt.field, tt.detail)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if !equalNotes(notes, tt.notes) {
				t.Errorf("notes %+v, want %+v", notes, tt.notes)
			}
		})
	}
}

func TestEntriesKnowTheirLine(t *testing.T) {
	for _, tt := range []struct {
		format environ.Format
		text   string
		want   []int
	}{
		{environ.Dotenv, "# c\nA=1\n\n\nB=\"x\ny\"\nC=2\n", []int{2, 5, 7}},
		{environ.Dotenv, "A=1\r\nB='x\r\ny'\r\nC=2", []int{1, 2, 4}},
		{environ.Docker, "\nA=1\nB=2\n", []int{2, 3}},
		{environ.JSON, "{\n \"A\": 1,\n\n \"B\":\n 2}", []int{2, 5}},
		{environ.YAML, "A: x\n\nB: |\n  l\nC: y\n", []int{1, 3, 5}},
		{environ.Compose, "services:\n  a:\n    environment:\n      A: 1\n      B: 2\n", []int{4, 5}},
		{environ.Compose, "services:\n  a:\n    environment:\n      - A=1\n      - B=2\n", []int{4, 5}},
		{environ.K8s, "kind: Secret\n\ndata:\n  A: eA==\nstringData:\n  B: x\n", []int{4, 6}},
	} {
		_, entries, _, err := read(t, tt.text, tt.format, environ.ImportOptions{})
		var got []int
		for _, e := range entries {
			got = append(got, e.Line)
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s %q: lines %v %v, want %v", tt.format, tt.text, got, err, tt.want)
		}
	}
}

func TestChooseErrorNamesWhatThereIs(t *testing.T) {
	for _, tt := range []struct {
		format  environ.Format
		service string
		text    string
		what    string
		want    []string
	}{
		{environ.Compose, "", "services: {web: {environment: {A: 1}}, job: {environment: {A: 1}}, db: {}}", "service", []string{"web", "job"}},
		{environ.Compose, "api", "services: {web: {environment: {A: 1}}, db: {}}", "service", []string{"web", "db"}},
		{environ.K8s, "", "kind: Secret\nmetadata: {name: a}\nstringData: {A: x}\n---\nkind: Secret\nmetadata: {name: b}\nstringData: {A: x}\n", "object", []string{"a", "b"}},
	} {
		_, _, _, err := read(t, tt.text, tt.format, environ.ImportOptions{Service: tt.service})
		var e *environ.ChooseError
		if !errors.As(err, &e) || e.What != tt.what || !slices.Equal(e.Names, tt.want) {
			t.Errorf("%q: %v", tt.text, err)
		}
	}
}

// A merge of merges of merges looks at each key again for every way there is
// to it: 2^30 here.
func TestYAMLMergesAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("x0: &x0 {A: 1}\n")
	for i := range 30 {
		from, to := string(rune('a'+i%26))+string(rune('a'+i/26)), string(rune('a'+(i+1)%26))+string(rune('a'+(i+1)/26))
		if i == 0 {
			from = "x0"
		}
		b.WriteString(to + ": &" + to + " {<<: [*" + from + ", *" + from + "]}\n")
	}
	b.WriteString("services: {s: {environment: *eb}}\n")
	_, _, _, err := read(t, b.String(), environ.Compose, environ.ImportOptions{})
	invalid(t, err)
}

func TestReadErrorsAreWrapped(t *testing.T) {
	_, err := environ.Import(iotest.ErrReader(io.ErrClosedPipe), environ.Dotenv, environ.ImportOptions{File: "f"})
	if !errors.Is(err, io.ErrClosedPipe) || vault.KindOf(err) != vault.KindOther {
		t.Errorf("got %v", err)
	}
}

func TestDetectFormat(t *testing.T) {
	for _, tt := range []struct {
		file, head string
		want       environ.Format
	}{
		{".env", "", environ.Dotenv},
		{"a/b/.env.production", "{", environ.Dotenv},
		{"prod.env", "", environ.Dotenv},
		{`C:\x\.ENV`, "", environ.Dotenv},
		{".envrc", "", environ.Dotenv},
		{"x.json", "", environ.JSON},
		{"x.json", `{"kind":"Secret"}`, environ.K8s},
		{"x.json", "{\n  \"apiVersion\": \"v1\",", environ.K8s},
		{"compose.yaml", "", environ.Compose},
		{"docker-compose.yml", "", environ.Compose},
		{"docker-compose.override.yml", "", environ.Compose},
		{"compose.prod.yaml", "", environ.Compose},
		{"composer.yaml", "A: x\n", environ.YAML},
		{"x.yaml", "# c\nname: x\nservices:\n  a:\n", environ.Compose},
		{"secret.yml", "---\napiVersion: v1\nkind: Secret\n", environ.K8s},
		{"x.yml", "A: x\n", environ.YAML},
		{"x.yaml", `{"apiVersion":"v1"}`, environ.K8s},
		{"x.yaml", `{"A":"x"}`, environ.YAML},
		{"-", "A=1\n", environ.Dotenv},
		{"", "\ufeff# c\n\nexport A=1\n", environ.Dotenv},
		{"-", "A = 1\n", environ.Dotenv},
		{"-", "  {\"A\": 1}", environ.JSON},
		{"-", `{"apiVersion": "v1"`, environ.K8s},
		{"-", "---\nA: x\n", environ.YAML},
		{"-", "A: x\n", environ.YAML},
		{"-", "services:\n  a:\n", environ.Compose},
		{"-", "apiVersion: v1\n", environ.K8s},
		{"-", "", environ.FormatUnknown},
		{"-", "hello world\n", environ.FormatUnknown},
		{"-", "\x00\x01", environ.FormatUnknown},
		{"secrets.txt", "<xml/>", environ.FormatUnknown},
		{"secrets.txt", "A=1", environ.Dotenv},
	} {
		if got := environ.DetectFormat(tt.file, []byte(tt.head)); got != tt.want {
			t.Errorf("%s %q: %q, want %q", tt.file, tt.head, got, tt.want)
		}
	}
}
