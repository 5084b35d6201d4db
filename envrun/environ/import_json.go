package environ

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"

	"envrun/vault"
)

// importJSON reads one object whose values are strings, numbers or booleans.
func importJSON(text []byte, o ImportOptions) ([]Entry, []Note, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	lines := lineCounter{text: text}
	fail := func(name, detail string) ([]Entry, []Note, error) {
		return nil, nil, invalid(o.File, lines.of(int(dec.InputOffset())), name, detail)
	}
	broken := func(err error) ([]Entry, []Note, error) {
		// The error of the library quotes a character of the file.
		at := int(dec.InputOffset())
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			at = max(at, min(int(syntax.Offset), len(text)))
		}
		return nil, nil, invalid(o.File, lines.of(at), "", "is not valid JSON")
	}

	switch tok, err := dec.Token(); {
	case err == io.EOF:
		return fail("", "is empty")
	case err != nil:
		return broken(err)
	case tok != json.Delim('{'):
		return fail("", "is not one object of names and values")
	}
	var entries []Entry
	var notes []Note
	seen := map[string]bool{}
	for dec.More() {
		from := dec.InputOffset()
		tok, err := dec.Token()
		if err != nil {
			return broken(err)
		}
		name := tok.(string) // a key, or Token had failed
		switch {
		case fieldName(name) == "":
			return fail("", badName)
		case seen[name]:
			return fail(name, "is given twice")
		case len(seen) == MaxEntries:
			return fail(name, tooMany)
		}
		seen[name] = true

		if tok, err = dec.Token(); err != nil {
			return broken(err)
		}
		line := lines.of(int(dec.InputOffset()))
		var value string
		switch v := tok.(type) {
		case string:
			if hasLoneSurrogate(text[from:dec.InputOffset()]) {
				return fail(name, "its value has half of a surrogate pair, which is no character")
			}
			value = v
		case json.Number:
			value = v.String()
		case bool:
			value = strconv.FormatBool(v)
		case nil:
			notes = append(notes, Note{Kind: NoteNoValue, Line: line, Name: name})
			continue
		default:
			return fail(name, "is an object or a list: only strings, numbers and booleans can be variables")
		}
		entries = append(entries, Entry{name, vault.NewValueString(value), line})
	}
	if _, err := dec.Token(); err != nil {
		return broken(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return fail("", "goes on after its object")
	}
	return entries, notes, nil
}

// hasLoneSurrogate says whether JSON text has a \ud800 to \udfff that is not
// half of a pair, for which encoding/json would put another character.
func hasLoneSurrogate(s []byte) bool {
	high := false // the escape before this place was the first half of a pair
	for i := 0; i < len(s); {
		if s[i] != '\\' || i+1 == len(s) {
			if high {
				return true
			}
			i++
			continue
		}
		var unit uint64
		n := 2
		if s[i+1] == 'u' && i+6 <= len(s) {
			unit, _ = strconv.ParseUint(string(s[i+2:i+6]), 16, 16)
			n = 6
		}
		low := 0xDC00 <= unit && unit <= 0xDFFF
		if high != low {
			return true
		}
		high = 0xD800 <= unit && unit <= 0xDBFF
		i += n
	}
	return high
}
