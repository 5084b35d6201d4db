package record

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"

	"envrun/vault"
)

// Limits of what is read (filevault §3.11).
const (
	MaxRecordSize  = 2 << 20  // bytes of a secret's file
	MaxSealSize    = 8 << 20  // bytes of a seal
	MaxSealLines   = 20_000   // grants and entries of a seal
	MaxGrantSize   = 64 << 10 // bytes of a grant
	MaxGenSize     = 64 << 10 // bytes of a gen file
	MaxRequestSize = 64 << 10 // bytes of a request
	MaxExposedSize = 24 << 20 // bytes of an exposed list
	MaxExposed     = 100_000  // entries of an exposed list
	MaxManifest    = 4 << 10  // bytes of vault.toml
	MaxMember      = 64       // bytes of a member's id
	MaxTags        = 32       // tags of a secret
	MaxTag         = 64       // bytes of a tag

	maxVaultID    = 64
	maxKey        = 32            // bytes of a header's key
	maxExtra      = 32            // headers that this version does not know
	maxExtraValue = 4 << 10       // bytes of their values, and of a signature or recipient
	maxToken      = 64            // bytes of an algorithm
	maxSigs       = 64            // sig lines
	maxNumber     = math.MaxInt64 // of versions, so that a database can hold them
	maxGen        = math.MaxInt32
)

// The sizes of what is in base64, in bytes (filevault §3.4, §3.5): a field is
// a nonce, at least one block of padding and a tag.
const (
	macSize      = 32
	wrappedSize  = 12 + 32 + 16
	sealOverhead = 12 + 16
	minSealed    = 64 + sealOverhead
	maxSealed    = vault.MaxValue + 4096 + sealOverhead
)

// A Hash is the first half of a SHA-256, which names a version of a file: see BodyHash.
type Hash [16]byte

// String is 32 hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Short is what a seal keeps of a grant's hash.
func (h Hash) Short() ShortHash { return ShortHash(h[:8]) }

// ParseHash reads what String gives.
func ParseHash(s string) (Hash, error) {
	var h Hash
	if !parseHex(h[:], s) {
		return Hash{}, invalid("a hash is 32 hexadecimal digits in lower case")
	}
	return h, nil
}

// A ShortHash is the first half of a Hash.
type ShortHash [8]byte

// String is 16 hexadecimal digits.
func (h ShortHash) String() string { return hex.EncodeToString(h[:]) }

// CheckMember says whether s can be a member's id: letters a-z, digits and
// . _ - with one @ among them at most, a letter or digit first, 64 bytes at
// most. It is also the name of a file (filevault §3.2).
func CheckMember(s string) error {
	if why := memberFault(s); why != "" {
		return invalid(fmt.Sprintf("member id %.80q %s", s, why))
	}
	return nil
}

// CheckVaultID says whether s can be the id of a vault: "v_" and up to 62 of
// a-z and 0-9, random, 16 hexadecimal digits in those that we make.
func CheckVaultID(s string) error {
	if why := vaultIDFault(s); why != "" {
		return invalid("the vault's id " + why)
	}
	return nil
}

// CheckNote says whether s can be a note, the reason of a request or the why
// of a generation: one line of text without control characters, no space at
// its ends, vault.MaxNote bytes at most. Empty means none.
func CheckNote(s string) error {
	if why := textFault(s, vault.MaxNote); s != "" && why != "" {
		return invalid("the note " + why)
	}
	return nil
}

// CheckTags says whether tags can be the tags of a secret: letters, digits
// and . _ : / -, a letter or digit first, none twice, in any order.
func CheckTags(tags []string) error {
	if why := tagsFault(tags); why != "" {
		return invalid(why)
	}
	return nil
}

// CheckRotate says whether s can say how often a value is to be replaced: a
// number of days, weeks, months or years as "90d", "6w", "3m" or "1y". Empty means not said.
func CheckRotate(s string) error {
	if why := rotateFault(s); s != "" && why != "" {
		return invalid("how often to rotate " + why)
	}
	return nil
}

func invalid(detail string) error { return &vault.Error{Kind: vault.KindInvalid, Detail: detail} }

// detailOf is what an error of this module says without its place.
func detailOf(err error) string {
	var e *vault.Error
	if errors.As(err, &e) && e.Detail != "" {
		return e.Detail
	}
	return err.Error()
}

// The functions below return what is wrong, to be read behind the name of the
// thing, or "". They allocate only when something is.

func memberFault(s string) string {
	switch {
	case s == "":
		return "is empty"
	case len(s) > MaxMember:
		return fmt.Sprintf("is longer than %d bytes", MaxMember)
	case !lowerOrDigit(s[0]):
		return "does not begin with a letter a-z or a digit"
	}
	at := false
	for i := range len(s) {
		c := s[i]
		switch {
		case lowerOrDigit(c), c == '.', c == '_', c == '-':
		case c == '@' && !at:
			at = true
		default:
			return "may hold only a-z, 0-9, . _ - and one @"
		}
	}
	return ""
}

func vaultIDFault(s string) string {
	if len(s) < 3 || len(s) > maxVaultID || s[:2] != "v_" {
		return `is not "v_" and 1 to 62 letters`
	}
	for i := 2; i < len(s); i++ {
		if !lowerOrDigit(s[i]) {
			return "may hold only a-z and 0-9 after v_"
		}
	}
	return ""
}

func textFault(s string, max int) string {
	switch {
	case s == "":
		return "is empty"
	case len(s) > max:
		return fmt.Sprintf("is longer than %d bytes", max)
	case s[0] == ' ' || s[len(s)-1] == ' ':
		return "begins or ends with a space"
	}
	for _, r := range s {
		switch {
		case r < ' ', r == 0x7f:
			return "holds a line break or another control character"
		case r >= 0x80 && (unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == unicode.ReplacementChar || hidesText(r)):
			return "holds a control character"
		}
	}
	return ""
}

// hidesText tells the characters that turn the direction of what follows: a
// note in a review must read as what it is.
func hidesText(r rune) bool {
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0xfeff
}

// tokensFault is for words of printable ASCII with one space between each.
func tokensFault(s string, max int) string {
	switch {
	case s == "":
		return "is empty"
	case len(s) > max:
		return fmt.Sprintf("is longer than %d bytes", max)
	case s[0] == ' ' || s[len(s)-1] == ' ' || strings.Contains(s, "  "):
		return "has a space too many"
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return "holds something other than printable ASCII"
		}
	}
	return ""
}

func tagsFault(tags []string) string {
	if len(tags) > MaxTags {
		return fmt.Sprintf("there are more than %d tags", MaxTags)
	}
	for i, t := range tags {
		if t == "" || len(t) > MaxTag {
			return fmt.Sprintf("a tag is empty or longer than %d bytes", MaxTag)
		}
		for j := range len(t) {
			c := t[j]
			if lowerOrDigit(c) || 'A' <= c && c <= 'Z' {
				continue
			}
			if j == 0 || c != '.' && c != '_' && c != ':' && c != '/' && c != '-' {
				return "a tag may hold only letters, digits and, after the first, . _ : / -"
			}
		}
		for _, u := range tags[:i] {
			if t == u {
				return "a tag is there twice"
			}
		}
	}
	return ""
}

func rotateFault(s string) string {
	const form = "is not a number of d, w, m or y, such as 90d"
	if len(s) < 2 || len(s) > 6 {
		return form
	}
	switch s[len(s)-1] {
	case 'd', 'w', 'm', 'y':
	default:
		return form
	}
	if _, why := parseNumber(s[:len(s)-1]); why != "" {
		return form
	}
	return ""
}

// isKey tells whether s has the form of a header's key.
func isKey(s string) bool {
	if s == "" || len(s) > maxKey || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := range len(s) {
		if !lowerOrDigit(s[i]) && s[i] != '-' {
			return false
		}
	}
	return true
}

func lowerOrDigit(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

// parseNumber reads a number from 1 up, without sign or leading zero.
func parseNumber[T ~string | ~[]byte](s T) (n uint64, why string) {
	switch {
	case len(s) == 0:
		return 0, "is empty"
	case len(s) > 19: // what has 19 digits fits
		return 0, "is not a number in its range"
	case s[0] == '0':
		return 0, "begins with a zero"
	}
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return 0, "is not a number"
		}
		n = n*10 + uint64(c)
	}
	return n, ""
}

// parseTime reads "2026-02-11T09:14:03Z" and nothing else.
func parseTime(s string) (time.Time, bool) {
	const form = "0000-00-00T00:00:00Z"
	if len(s) != len(form) {
		return time.Time{}, false
	}
	for i := range len(form) {
		if form[i] == '0' && s[i]-'0' <= 9 || form[i] != '0' && s[i] == form[i] {
			continue
		}
		return time.Time{}, false
	}
	two := func(i int) int { return int(s[i]-'0')*10 + int(s[i+1]-'0') }
	year, month, day := two(0)*100+two(2), time.Month(two(5)), two(8)
	hour, minute, sec := two(11), two(14), two(17)
	if hour > 23 || minute > 59 || sec > 59 {
		return time.Time{}, false
	}
	t := time.Date(year, month, day, hour, minute, sec, 0, time.UTC)
	if t.Month() != month || t.Day() != day { // 30 February
		return time.Time{}, false
	}
	return t, true
}

// parseHex fills h from exactly its digits in lower case.
func parseHex[T ~string | ~[]byte](h []byte, s T) bool {
	if len(s) != 2*len(h) {
		return false
	}
	for i := range h {
		hi, ok1 := hexDigit(s[2*i])
		lo, ok2 := hexDigit(s[2*i+1])
		if !ok1 || !ok2 {
			return false
		}
		h[i] = hi<<4 | lo
	}
	return true
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}
