package clip

import (
	"errors"
	"unicode/utf16"
	"unicode/utf8"
)

// utf16Units is text in the units that Windows counts in. Bytes that are no text
// would come back as others.
func utf16Units(b []byte) ([]uint16, error) {
	if !utf8.Valid(b) {
		return nil, errors.New("the value is not text, and Windows' clipboard takes nothing else")
	}
	units := make([]uint16, 0, len(b))
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		units = utf16.AppendRune(units, r)
		b = b[n:]
	}
	return units, nil
}
