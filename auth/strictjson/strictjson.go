// Package strictjson reads JSON on which a decision hangs: the body of a request,
// the claims of an identity token, the keys of an issuer.
//
// It refuses what two readers may take differently, which encoding/json lets pass:
// a name that comes twice in one object, text that is no UTF-8, and anything after
// the value. Depth and number of values have bounds that the caller sets. Numbers
// keep their digits (json.Number). No error repeats more than one character of
// what was read.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

// What can be wrong beside the syntax, which is a *SyntaxError.
var (
	ErrTwice = errors.New("a name comes twice")
	ErrMany  = errors.New("it holds too many values")
	ErrDeep  = errors.New("it is nested too deeply")
	ErrMore  = errors.New("there is more after the value")
	ErrUTF8  = errors.New("it is not UTF-8")
)

// A SyntaxError says in a few words what is not JSON.
type SyntaxError struct{ What string }

func (e *SyntaxError) Error() string { return e.What }

// Limits bound what is read.
type Limits struct {
	Depth  int // of lists and objects within each other
	Values int // of all kinds together, the names of objects not counted
}

// Decode reads one JSON value: nil, bool, string, json.Number, []any or map[string]any.
func Decode(text []byte, l Limits) (any, error) {
	if !utf8.Valid(text) {
		return nil, ErrUTF8
	}
	r := reader{json.NewDecoder(bytes.NewReader(text)), l}
	r.d.UseNumber()
	v, err := r.value(0)
	if err != nil {
		return nil, err
	}
	if _, err := r.d.Token(); err != io.EOF {
		return nil, ErrMore
	}
	return v, nil
}

// Object reads one JSON object.
func Object(text []byte, l Limits) (map[string]any, error) {
	v, err := Decode(text, l)
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, &SyntaxError{"it is not an object"}
	}
	return m, nil
}

type reader struct {
	d    *json.Decoder
	left Limits
}

func (r *reader) value(depth int) (any, error) {
	tok, err := r.d.Token()
	if err != nil {
		return nil, syntax(err)
	}
	if r.left.Values--; r.left.Values < 0 {
		return nil, ErrMany
	}
	open, ok := tok.(json.Delim)
	if !ok {
		return tok, nil
	}
	if depth == r.left.Depth {
		return nil, ErrDeep
	}
	if open == '[' {
		list := []any{}
		for r.d.More() {
			v, err := r.value(depth + 1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := r.d.Token()
		return list, syntax(err)
	}
	m := map[string]any{}
	for r.d.More() {
		tok, err := r.d.Token()
		if err != nil {
			return nil, syntax(err)
		}
		name, _ := tok.(string)
		if _, twice := m[name]; twice {
			return nil, ErrTwice
		}
		if m[name], err = r.value(depth + 1); err != nil {
			return nil, err
		}
	}
	_, err = r.d.Token()
	return m, syntax(err)
}

// syntax says what is wrong in the words of encoding/json, cut before they could
// repeat more than one character.
func syntax(err error) error {
	if err == nil {
		return nil
	}
	text := "unexpected end of JSON input"
	if bad := (*json.SyntaxError)(nil); errors.As(err, &bad) {
		if rest, ok := strings.CutPrefix(bad.Error(), "invalid character "); ok && len(rest) >= 3 {
			text = "invalid character"
			if what, _, _ := strings.Cut(rest, " "); len(what) <= 8 {
				text += " " + what
			}
		}
	}
	return &SyntaxError{text}
}
