package environ

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"sort"
	"unicode/utf8"

	"envrun/vault"
)

// Import reads the variables of a file, in the order of the file, each name
// once. See the package comment for what each format's reader decides.
//
// All of it is read or nothing. An error is a *vault.Error of KindInvalid with
// the file, the line and what is wrong; it quotes nothing of the file but
// names of variables, since any piece of a broken file may be a secret. An
// error of r is returned as it is, wrapped.
func Import(r io.Reader, f Format, o ImportOptions) ([]Entry, error) {
	text, err := readInput(r, o.File)
	if err != nil {
		return nil, err
	}
	var entries []Entry
	var notes []Note
	switch f {
	case Docker:
		o.Dialect = DialectDocker
		entries, notes, err = importDotenv(text, o)
	case Dotenv:
		if o.Dialect, err = ParseDialect(string(o.Dialect)); err == nil {
			entries, notes, err = importDotenv(text, o)
		}
	case JSON:
		entries, notes, err = importJSON(text, o)
	case YAML:
		entries, notes, err = importYAML(text, o)
	case Compose:
		entries, notes, err = importCompose(text, o)
	case K8s:
		entries, notes, err = importK8s(text, o)
	default:
		err = invalid(o.File, 0, "", fmt.Sprintf("%q is no format that can be read", string(f)))
	}
	if err != nil {
		return nil, err
	}
	if len(entries) > MaxEntries {
		return nil, invalid(o.File, entries[MaxEntries].Line, "", tooMany)
	}
	for _, e := range entries {
		if e.Value.Len() > vault.MaxValue {
			return nil, invalid(o.File, e.Line, e.Name, fmt.Sprintf("its value has more than %d bytes", vault.MaxValue))
		}
		if !isName(e.Name) {
			notes = append(notes, Note{Kind: NoteName, Line: e.Line, Name: e.Name})
		}
	}
	if o.Note != nil {
		sort.SliceStable(notes, func(i, j int) bool { return notes[i].Line < notes[j].Line })
		for _, n := range notes {
			n.File = o.File
			o.Note(n)
		}
	}
	return entries, nil
}

// readInput reads all of r and refuses what is no UTF-8 text. A byte order mark
// at the front is dropped.
func readInput(r io.Reader, file string) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxInput+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", cmp.Or(file, "the input"), err)
	}
	switch {
	case len(text) > MaxInput:
		return nil, invalid(file, 0, "", fmt.Sprintf("is bigger than %d MiB", MaxInput>>20))
	case bytes.HasPrefix(text, []byte{0xFF, 0xFE}), bytes.HasPrefix(text, []byte{0xFE, 0xFF}):
		return nil, invalid(file, 0, "", "is UTF-16, as PowerShell's > writes it; save it as UTF-8")
	}
	text = bytes.TrimPrefix(text, []byte("\xEF\xBB\xBF"))
	if !utf8.Valid(text) {
		return nil, invalid(file, lineOf(text, firstInvalid(text)), "", "is not UTF-8")
	}
	if i := bytes.IndexByte(text, 0); i >= 0 {
		return nil, invalid(file, lineOf(text, i), "", "has a NUL byte")
	}
	return text, nil
}

func firstInvalid(text []byte) int {
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(text)
}

// lineOf is the number of the line with this offset.
func lineOf(text []byte, offset int) int { return 1 + bytes.Count(text[:offset], []byte("\n")) }

// invalid makes the one kind of error of this package's readers and writers.
// name is a variable's; one that is no field name is left out, because it may
// be anything.
func invalid(file string, line int, name, detail string) error {
	return &vault.Error{Kind: vault.KindInvalid, File: file, Line: line, Field: vault.FieldName(fieldName(name)), Detail: detail}
}

// fieldName is s, or "" if that is no field name and so may be anything.
func fieldName(s string) string {
	if _, err := vault.ParseFieldName(s); err != nil {
		return ""
	}
	return s
}
