package kv

import (
	"bytes"
	"encoding/json"
	"errors"
)

var errNotObject = errors.New("not an object")

// merge is JSON merge patch (RFC 7396) of one object into another. What it does
// not touch keeps its bytes, so a number keeps its digits.
func merge(into, patch []byte) ([]byte, error) {
	var p map[string]json.RawMessage
	if err := json.Unmarshal(patch, &p); err != nil || p == nil {
		return nil, errNotObject
	}
	var o map[string]json.RawMessage
	if json.Unmarshal(into, &o) != nil || o == nil { // what is no object is replaced as a whole
		o = map[string]json.RawMessage{}
	}
	for name, v := range p {
		switch {
		case string(v) == "null":
			delete(o, name)
		case v[0] == '{':
			merged, err := merge(o[name], v)
			if err != nil {
				return nil, err
			}
			o[name] = merged
		default:
			o[name] = v
		}
	}
	return encode(o)
}

// encode is json.Marshal that leaves <, > and & as they are.
func encode(v any) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}
