package vault

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
)

// Value is a secret value: any bytes, NUL included. It prints as a mask
// however it is printed, and it cannot be marshalled: the only way to the
// bytes is Reveal, which makes every place that uses them easy to find.
//
// The bytes stand behind a function because fmt ignores methods on unexported
// fields and on wrong verbs, and then prints what it finds by reflection,
// through pointers too; of a function it finds an address. It also makes ==
// on values an error of compilation: Equal takes the same time for all.
type Value struct{ bytes func() []byte }

// mask is what a Value shows of itself: not even its length.
const mask = "[secret]"

// NewValue takes b over; the caller must not use it again.
func NewValue(b []byte) Value { return Value{func() []byte { return b }} }

// NewValueString makes a Value of s.
func NewValueString(s string) Value { return NewValue([]byte(s)) }

// Reveal returns the bytes, which the caller must neither change nor keep
// longer than it needs them. The zero Value is empty.
func (v Value) Reveal() []byte {
	if v.bytes == nil {
		return nil
	}
	return v.bytes()
}

// Len is the number of bytes.
func (v Value) Len() int { return len(v.Reveal()) }

// Equal reports in constant time whether two values of one length are the same.
func (v Value) Equal(o Value) bool { return subtle.ConstantTimeCompare(v.Reveal(), o.Reveal()) == 1 }

// Wipe overwrites the bytes. Go may have copied them, so this is a courtesy, not a promise.
func (v Value) Wipe() { clear(v.Reveal()) }

var errMarshal = errors.New("a secret value cannot be marshalled")

func (v Value) String() string                 { return mask }
func (v Value) GoString() string               { return mask }
func (v Value) Format(s fmt.State, _ rune)     { _, _ = s.Write([]byte(mask)) }
func (v Value) LogValue() slog.Value           { return slog.StringValue(mask) }
func (v Value) MarshalText() ([]byte, error)   { return nil, errMarshal }
func (v Value) MarshalJSON() ([]byte, error)   { return nil, errMarshal }
func (v Value) MarshalBinary() ([]byte, error) { return nil, errMarshal }
