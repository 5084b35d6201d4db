package strictjson_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"envrun/auth/strictjson"
)

var limits = strictjson.Limits{Depth: 4, Values: 12}

func TestDecode(t *testing.T) {
	for text, want := range map[string]any{
		`null`:                     nil,
		` "é" `:                    "é",
		`9007199254740993`:         json.Number("9007199254740993"),
		`[1.50,true,{}]`:           []any{json.Number("1.50"), true, map[string]any{}},
		`{"a":{"a":1},"A":[[[]]]}`: map[string]any{"a": map[string]any{"a": json.Number("1")}, "A": []any{[]any{[]any{}}}},
	} {
		got, err := strictjson.Decode([]byte(text), limits)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %#v, %v", text, got, err)
		}
	}
}

func TestRefused(t *testing.T) {
	syntax := errors.New("any SyntaxError")
	for text, want := range map[string]error{
		``:                             syntax,
		`{`:                            syntax,
		`{"a"}`:                        syntax,
		`{"a":1,}`:                     syntax,
		`[1 2]`:                        syntax,
		`nul`:                          syntax,
		`{"a":1,"a":1}`:                strictjson.ErrTwice,
		`[{"b":{"a":1,"\u0061":2}}]`:   strictjson.ErrTwice,
		`{"\ud800":1,"\udc00":2}`:      strictjson.ErrTwice, // both are read as U+FFFD
		`{}{}`:                         strictjson.ErrMore,
		`1 x`:                          strictjson.ErrMore,
		"\"\xff\"":                     strictjson.ErrUTF8,
		`[[[[[]]]]]`:                   strictjson.ErrDeep,
		strings.Repeat(`[`, 1<<20):     strictjson.ErrDeep,
		`[1,2,3,4,5,6,7,8,9,10,11,12]`: strictjson.ErrMany,
	} {
		v, err := strictjson.Decode([]byte(text), limits)
		var bad *strictjson.SyntaxError
		if want == syntax && !errors.As(err, &bad) || want != syntax && err != want || v != nil {
			t.Errorf("%.40s: %v, %v, want %v", text, v, err, want)
		}
	}
	if _, err := strictjson.Object([]byte(`[]`), limits); err == nil {
		t.Error("a list is taken for an object")
	}
}

// What it takes encoding/json takes, with the same meaning, and no error repeats
// what was read.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"a":[1,2.5e3,"x",null,true,{"b":{}}]}`))
	f.Add([]byte(`{"secret":"value" oops}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := strictjson.Decode(text, strictjson.Limits{Depth: 16, Values: 1000})
		if err != nil {
			if len(err.Error()) > 60 {
				t.Errorf("the error is %q", err)
			}
			return
		}
		var want any
		d := json.NewDecoder(strings.NewReader(string(text)))
		d.UseNumber()
		if err := d.Decode(&want); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %#v, encoding/json: %#v, %v", text, got, want, err)
		}
	})
}
