// Package intake takes files with values apart before any of them is stored:
// what format a file is in, which fields it would set, and which of those are
// new, other than what is there, or the same. The import command and the import
// screen both work with it.
//
// It refuses to open files and to store anything, and no error or note of it
// holds a value.
package intake

import (
	"bytes"
	"errors"
	"fmt"
	"sort"

	"envrun/envrun/environ"
	"envrun/vault"
)

// ErrFormat: neither the name of a file nor its beginning tells what format it is in.
var ErrFormat = errors.New("neither its name nor its beginning tells what format it is")

// ErrEmpty: there is no variable in it.
var ErrEmpty = errors.New("there is no variable in it")

// TooManyError says that a file has more variables than a secret has room for.
type TooManyError struct{ Count int }

func (e *TooManyError) Error() string {
	return fmt.Sprintf("%d variables are more than one secret holds, which is %d", e.Count, vault.MaxFields)
}

// Options say how a file is read. The zero value is right for most.
type Options struct {
	Format  environ.Format     // FormatUnknown: by the file's name and beginning
	Dialect environ.Dialect    // of dotenv
	Service string             // of a compose file; the name of a Kubernetes object
	Note    func(environ.Note) // what the person should know; may be nil
}

// Read reads the variables of a file. name is the file's, for its format and
// for errors.
func Read(text []byte, name string, o Options) ([]environ.Entry, error) {
	format := o.Format
	if format == environ.FormatUnknown {
		if format = environ.DetectFormat(name, text); format == environ.FormatUnknown {
			return nil, fmt.Errorf("%s: %w", name, ErrFormat)
		}
	}
	return environ.Import(bytes.NewReader(text), format, environ.ImportOptions{Dialect: o.Dialect, File: name, Service: o.Service, Note: o.Note})
}

// Fields are the fields that variables set in one secret, sorted by name. Of a
// name that is there more than once the last counts. ErrEmpty if there is none,
// a *TooManyError if there are more than a secret holds.
func Fields(entries []environ.Entry) ([]vault.Field, error) {
	byName := make(map[vault.FieldName]vault.Value, len(entries))
	for _, e := range entries {
		n, err := vault.ParseFieldName(e.Name)
		if err != nil {
			return nil, &vault.Error{Kind: vault.KindInvalid, Line: e.Line, Err: err}
		}
		if e.Value.Len() > vault.MaxValue {
			return nil, &vault.Error{Kind: vault.KindInvalid, Line: e.Line, Field: n, Detail: fmt.Sprintf("the value is longer than %d bytes", vault.MaxValue)}
		}
		byName[n] = e.Value
	}
	if len(byName) == 0 {
		return nil, ErrEmpty
	}
	if len(byName) > vault.MaxFields {
		return nil, &TooManyError{len(byName)}
	}
	fields := make([]vault.Field, 0, len(byName))
	for n, value := range byName {
		fields = append(fields, vault.Field{Name: n, Value: value})
	}
	sort.Slice(fields, func(i, j int) bool { return fields[i].Name < fields[j].Name })
	return fields, nil
}

// A Verdict says what taking a field in would do.
type Verdict uint8

// The verdicts.
const (
	New      Verdict = iota // the secret has no such field
	Replaced                // it has another value
	Same                    // it has this value
)

// Compare says of each field what taking it in would do to a secret.
func Compare(fields []vault.Field, there vault.Secret) []Verdict {
	verdicts := make([]Verdict, len(fields))
	for i, f := range fields {
		switch old, ok := there.Field(f.Name); {
		case !ok:
			verdicts[i] = New
		case old.Value.Equal(f.Value):
			verdicts[i] = Same
		default:
			verdicts[i] = Replaced
		}
	}
	return verdicts
}
