package policy

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Parameters are what a request says besides its path: the top level of its
// body and its query. Rules compare them in the direction of refusing: what is denied is
// looked for in every way that the server could read the value, and what is allowed
// must be it as it stands.

// fold brings names to one case, in such a way that two which the decoder of
// a request takes for the same field are the same: also "ſ" and "s", "K" (Kelvin) and "k".
func fold(name string) string {
	ascii := true
	for i := range len(name) {
		ascii = ascii && name[i] < utf8.RuneSelf
	}
	if ascii {
		return strings.ToLower(name)
	}
	return strings.Map(func(r rune) rune {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return unicode.ToLower(least)
	}, name)
}

// param finds a parameter by its folded name.
func param(list []Param, name string) (Param, bool) {
	i, ok := slices.BinarySearchFunc(list, name, func(p Param, name string) int { return strings.Compare(p.Name, name) })
	if !ok {
		return Param{}, false
	}
	return list[i], true
}

// judge applies the parameter rules: the reason is Granted if all hold, else
// which does not, for which parameter.
func (r *rule) judge(params map[string]any) (Reason, string) {
	for _, name := range r.required {
		if _, ok := params[name]; !ok {
			return ReasonMissingParam, name
		}
	}
	if len(params) == 0 {
		return ReasonGranted, ""
	}
	if _, all := param(r.denied, "*"); all {
		return ReasonDeniedParam, least(params, func(string, any) bool { return true })
	}
	if len(r.denied) > 0 {
		name := least(params, func(name string, v any) bool {
			p, ok := param(r.denied, fold(name))
			return ok && (len(p.Values) == 0 || denied(p.Values, v))
		})
		if name != "" {
			return ReasonDeniedParam, name
		}
	}
	_, all := param(r.allowed, "*")
	if len(r.allowed) == 0 || all && len(r.allowed) == 1 {
		return ReasonGranted, ""
	}
	name := least(params, func(name string, v any) bool {
		p, ok := param(r.allowed, fold(name))
		return !ok && !all || ok && len(p.Values) > 0 && !allowed(p.Values, v)
	})
	if name != "" {
		return ReasonForeignParam, name
	}
	return ReasonGranted, ""
}

// least is the first of the parameters, by name, for which bad holds; of
// several the same one is named each time. "" if it holds for none.
func least(params map[string]any, bad func(string, any) bool) string {
	found := ""
	for name, v := range params {
		if bad(name, v) {
			name = cmp.Or(name, `""`)
			if found == "" || name < found {
				found = name
			}
		}
	}
	return found
}

// allowed says whether v is one of the values. If it is several, a list or a
// text that the server may cut at its commas, all of them must be; none at all
// is not one of them.
func allowed(values []Value, v any) bool {
	switch v := v.(type) {
	case []any:
		for _, el := range v {
			if _, k := scalar(el); k == 0 || !allowed(values, el) {
				return false
			}
		}
		return len(v) > 0
	case string:
		if !allowedText(values, v) {
			return false
		}
		for el := range strings.SplitSeq(v, ",") {
			if !allowedText(values, strings.TrimSpace(el)) {
				return false
			}
		}
		return true
	}
	text, k := scalar(v)
	return k != 0 && slices.ContainsFunc(values, func(want Value) bool {
		return want.kind == k && (want.Text == text || k == kNumber && digits(want.Text) == digits(text))
	})
}

func allowedText(values []Value, text string) bool {
	return slices.ContainsFunc(values, func(want Value) bool { return want.kind == kString && glob(want.Text, text) })
}

// denied says whether v, or one of its elements, is one of the values or could
// be read as one.
func denied(values []Value, v any) bool {
	if list, ok := v.([]any); ok {
		return slices.ContainsFunc(list, func(el any) bool { return denied(values, el) })
	}
	text, k := scalar(v)
	if k == 0 {
		return false
	}
	if deniedText(values, text) {
		return true
	}
	if k != kString || !strings.Contains(text, ",") {
		return false
	}
	for el := range strings.SplitSeq(text, ",") {
		if deniedText(values, strings.TrimSpace(el)) {
			return true
		}
	}
	return false
}

func deniedText(values []Value, text string) bool {
	return slices.ContainsFunc(values, func(want Value) bool { return glob(want.Text, text) || same(want, text) })
}

// same says whether a text could be read as the number or boolean that is denied.
func same(want Value, text string) bool {
	switch want.kind {
	case kNumber:
		a, _ := strconv.ParseFloat(want.Text, 64)
		b, err := strconv.ParseFloat(text, 64)
		return (err == nil || errors.Is(err, strconv.ErrRange)) && a == b
	case kBool:
		b, err := strconv.ParseBool(text)
		return err == nil && b == (want.Text == "true")
	}
	return false
}

// scalar is the text of a value that is no list or object, and its kind; 0
// for null and everything else.
func scalar(v any) (string, kind) {
	switch v := v.(type) {
	case string:
		return v, kString
	case bool:
		return strconv.FormatBool(v), kBool
	case json.Number:
		return v.String(), kNumber
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), kNumber
	case int, int64, uint64:
		return fmt.Sprint(v), kNumber
	}
	return "", 0
}

// digits is a decimal number without what adds nothing: zeros behind the point, the
// sign of zero. A number with an exponent stays as it is.
func digits(text string) string {
	if strings.Contains(text, ".") && !strings.ContainsAny(text, "eE") {
		text = strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
	}
	if text == "-0" {
		return "0"
	}
	return text
}

// glob compares a text with one that may begin or end with *, or both. It is
// never * alone: Parse refuses that.
func glob(want, have string) bool {
	rest, after := strings.CutSuffix(want, "*")
	rest, before := strings.CutPrefix(rest, "*")
	switch {
	case before && after:
		return strings.Contains(have, rest)
	case before:
		return strings.HasSuffix(have, rest)
	case after:
		return strings.HasPrefix(have, rest)
	}
	return want == have
}
