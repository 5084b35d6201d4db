package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Token is a token or another text that whoever reads it can use: it prints as a mask.
type Token string

// Format implements fmt.Formatter.
func (t Token) Format(s fmt.State, _ rune) {
	if t == "" {
		_, _ = s.Write([]byte(`""`))
		return
	}
	_, _ = s.Write([]byte("[token]"))
}

// Fields are the values of a secret as JSON, each as the server has it: numbers
// keep their digits. They print as a mask. A nil Fields is null: there is no data.
type Fields map[string]json.RawMessage

// Format implements fmt.Formatter.
func (f Fields) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "[%d fields]", len(f)) }

// Time is a point in time as RFC 3339 with nanoseconds, in UTC; the zero Time is
// the empty text, as in deletion_time.
type Time struct{ time.Time }

// MarshalJSON implements json.Marshaler.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte(`""`), nil
	}
	return t.UTC().MarshalJSON()
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *Time) UnmarshalJSON(b []byte) error {
	if string(b) == `""` || string(b) == "null" {
		t.Time = time.Time{}
		return nil
	}
	return t.Time.UnmarshalJSON(b)
}

// Duration is written as Go writes one, "720h0m0s". It is read from that, from
// seconds as a number or as text, and from days, "30d".
type Duration time.Duration

// MarshalJSON implements json.Marshaler.
func (d Duration) MarshalJSON() ([]byte, error) {
	return []byte(`"` + time.Duration(d).String() + `"`), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *Duration) UnmarshalJSON(b []byte) error {
	text, err := scalar(b)
	if err != nil {
		return err
	}
	v, err := ParseDuration(text)
	*d = Duration(v)
	return err
}

// ParseDuration reads what Vault takes for a duration: "", "90", "90s", "1h30m",
// "30d". The error does not repeat the text.
func ParseDuration(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return multiple(n, time.Second)
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseInt(days, 10, 64); err == nil {
			return multiple(n, 24*time.Hour)
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, errDuration
	}
	return d, nil
}

func multiple(n int64, unit time.Duration) (time.Duration, error) {
	d := time.Duration(n) * unit
	if d/unit != time.Duration(n) {
		return 0, errDuration
	}
	return d, nil
}

var (
	errDuration = errors.New("not a duration")
	errInt      = errors.New("not a whole number")
	errBool     = errors.New("neither true nor false")
	errList     = errors.New("not a list of texts")
	errScalar   = errors.New("not a text, a number or a truth value")
)

// Int is a whole number that may arrive as text.
type Int int64

// UnmarshalJSON implements json.Unmarshaler.
func (i *Int) UnmarshalJSON(b []byte) error {
	text, err := scalar(b)
	if err != nil {
		return err
	}
	if text == "" {
		*i = 0
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return errInt
	}
	*i = Int(n)
	return nil
}

// Bool is a truth value that may arrive as text or as a number.
type Bool bool

// UnmarshalJSON implements json.Unmarshaler.
func (v *Bool) UnmarshalJSON(b []byte) error {
	text, err := scalar(b)
	if err != nil {
		return err
	}
	if text == "" {
		*v = false
		return nil
	}
	is, err := strconv.ParseBool(text)
	if err != nil {
		return errBool
	}
	*v = Bool(is)
	return nil
}

// Strings is a list of texts that may arrive as one text with commas. Empty
// texts are dropped, as Vault drops them.
type Strings []string

// UnmarshalJSON implements json.Unmarshaler.
func (l *Strings) UnmarshalJSON(b []byte) error {
	var list []string
	if len(b) > 0 && b[0] == '[' {
		var raw []json.RawMessage
		if err := json.Unmarshal(b, &raw); err != nil {
			return errList
		}
		for _, r := range raw {
			text, err := scalar(r)
			if err != nil {
				return errList
			}
			list = append(list, text)
		}
	} else {
		text, err := scalar(b)
		if err != nil {
			return errList
		}
		list = strings.Split(text, ",")
	}
	*l = Strings{}
	for _, s := range list {
		if s = strings.TrimSpace(s); s != "" {
			*l = append(*l, s)
		}
	}
	return nil
}

// Ints is a list of whole numbers that may arrive as texts, or as one with commas.
type Ints []int64

// UnmarshalJSON implements json.Unmarshaler.
func (l *Ints) UnmarshalJSON(b []byte) error {
	var texts Strings
	if err := texts.UnmarshalJSON(b); err != nil {
		return err
	}
	*l = Ints{}
	for _, s := range texts {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return errInt
		}
		*l = append(*l, n)
	}
	return nil
}

// Custom is custom metadata, of a secret or of a token, or the options of a mount:
// names and texts. Numbers and truth values that arrive become texts. nil is null.
type Custom map[string]string

// UnmarshalJSON implements json.Unmarshaler.
func (c *Custom) UnmarshalJSON(b []byte) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return errors.New("not names with texts")
	}
	if raw == nil {
		*c = nil
		return nil
	}
	*c = make(Custom, len(raw))
	for name, r := range raw {
		text, err := scalar(r)
		if err != nil {
			return err
		}
		(*c)[name] = text
	}
	return nil
}

// Pairs is Custom that the command line writes, too: "team=core", or a list of such.
type Pairs map[string]string

// UnmarshalJSON implements json.Unmarshaler.
func (p *Pairs) UnmarshalJSON(b []byte) error {
	var texts []string
	switch b = bytes.TrimSpace(b); {
	case bytes.HasPrefix(b, []byte(`"`)):
		texts = make([]string, 1)
		if err := json.Unmarshal(b, &texts[0]); err != nil {
			return errPairs
		}
		if texts[0] == "" {
			texts = nil
		}
	case bytes.HasPrefix(b, []byte("[")):
		if err := json.Unmarshal(b, &texts); err != nil {
			return errPairs
		}
	default:
		return (*Custom)(p).UnmarshalJSON(b)
	}
	*p = make(Pairs, len(texts))
	for _, text := range texts {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return errPairs
		}
		(*p)[name] = value
	}
	return nil
}

var errPairs = errors.New("not names with texts")

// scalar is the text of a JSON text, number, truth value or null (which is "").
func scalar(b []byte) (string, error) {
	b = bytes.TrimSpace(b)
	switch {
	case len(b) == 0, string(b) == "null":
		return "", nil
	case b[0] == '"':
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return "", errScalar
		}
		return s, nil
	case b[0] == '{', b[0] == '[':
		return "", errScalar
	}
	return string(b), nil
}
