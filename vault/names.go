package vault

import (
	"fmt"
	"strings"
)

// Env is the name of an environment: dev, staging, prod. Made by ParseEnv.
type Env string

// Path is the path of a secret in its environment: billing/stripe. Made by ParsePath.
type Path string

// FieldName is the name of one value in a secret: STRIPE_KEY. Made by ParseFieldName.
type FieldName string

// Limits of what a vault holds (filevault §3.2, §3.11).
const (
	MaxPath      = 200     // bytes of a path
	MaxDepth     = 8       // segments of a path
	MaxSegment   = 64      // bytes of a segment
	MaxFieldName = 128     // bytes of a field's name
	MaxFields    = 256     // fields of a secret
	MaxValue     = 1 << 20 // bytes of a value
	MaxNote      = 1 << 10 // bytes of a note
)

// reserved are the names that Windows keeps for devices in every folder.
var reserved = map[string]bool{
	"con": true, "prn": true, "aux": true, "nul": true,
	"com1": true, "com2": true, "com3": true, "com4": true, "com5": true, "com6": true, "com7": true, "com8": true, "com9": true,
	"lpt1": true, "lpt2": true, "lpt3": true, "lpt4": true, "lpt5": true, "lpt6": true, "lpt7": true, "lpt8": true, "lpt9": true,
}

// ParseEnv reads the name of an environment: one segment of a path.
func ParseEnv(s string) (Env, error) {
	if err := checkSegment(s); err != nil {
		return "", &Error{Kind: KindInvalid, Detail: fmt.Sprintf("environment name %q: %v", s, err)}
	}
	return Env(s), nil
}

// ParsePath reads the path of a secret: at most MaxDepth segments of
// [a-z0-9][a-z0-9._-]{0,63} joined by "/", MaxPath bytes in all, none of them
// a name that Windows reserves or with a dot at its end, so that each path is
// one file name on every system (filevault §3.2).
func ParsePath(s string) (Path, error) {
	bad := func(why string) (Path, error) {
		return "", &Error{Kind: KindInvalid, Detail: fmt.Sprintf("path %q: %s", s, why)}
	}
	if s == "" {
		return bad("is empty")
	}
	if len(s) > MaxPath {
		return bad(fmt.Sprintf("is longer than %d bytes", MaxPath))
	}
	depth := 0
	for seg := range strings.SplitSeq(s, "/") {
		if depth++; depth > MaxDepth {
			return bad(fmt.Sprintf("is deeper than %d segments", MaxDepth))
		}
		if err := checkSegment(seg); err != nil {
			return bad(err.Error())
		}
	}
	return Path(s), nil
}

func checkSegment(s string) error {
	if s == "" {
		return fmt.Errorf("has an empty segment")
	}
	if len(s) > MaxSegment {
		return fmt.Errorf("segment %q is longer than %d bytes", s, MaxSegment)
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case 'A' <= c && c <= 'Z':
			return fmt.Errorf("segment %q has a capital letter; write it as %q, since some file systems do not tell them apart", s, strings.ToLower(s))
		case i > 0 && (c == '.' || c == '_' || c == '-'):
		default:
			return fmt.Errorf("segment %q may hold only a-z, 0-9, and after the first letter also . _ -", s)
		}
	}
	if s[len(s)-1] == '.' {
		return fmt.Errorf("segment %q ends with a dot", s)
	}
	stem, _, _ := strings.Cut(s, ".")
	if reserved[stem] {
		return fmt.Errorf("segment %q is a name that Windows reserves", s)
	}
	return nil
}

// ParseFieldName reads the name of a field: printable ASCII without spaces,
// "=" or "/", MaxFieldName bytes at most. It is wider than the name of an
// environment variable, so that a vault can hold "tls.crt"; environ decides
// what can be injected.
func ParseFieldName(s string) (FieldName, error) {
	if s == "" {
		return "", &Error{Kind: KindInvalid, Detail: "a field's name is empty"}
	}
	if len(s) > MaxFieldName {
		return "", &Error{Kind: KindInvalid, Detail: fmt.Sprintf("field name %.20q… is longer than %d bytes", s, MaxFieldName)}
	}
	for i := range len(s) {
		c := s[i]
		ok := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || i > 0 && (c == '.' || c == '-')
		if !ok {
			// What follows may be a value in the wrong place: it is not said back.
			return "", &Error{Kind: KindInvalid, Detail: fmt.Sprintf("field name %q… goes on with a character it may not have: only letters, digits and _, and after the first also . and -", s[:i])}
		}
	}
	return FieldName(s), nil
}
