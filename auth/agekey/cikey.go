package agekey

import (
	"fmt"
	"log/slog"
	"strings"
)

// ciPrefix opens the key of a pipeline (filevault §3.9): the identity, and which
// environment key it may trust at first contact, in one string.
const ciPrefix = "envrun-ci-1:"

// CIKey is what a pipeline is given in one variable. The fingerprint stands in
// for the person who would be asked at first contact.
type CIKey struct {
	Vault       string // the vault's id
	Env         string
	Fingerprint string // of the environment key, as 7QMX-2K4D-9TRW-XB5N
	Identity    *Identity
}

// ParseKey reads the value of ENVRUN_KEY: the text of an identity, or the key
// string of a pipeline, "envrun-ci-1:<vault>:<env>:<fingerprint>:AGE-SECRET-KEY-…",
// for which the CIKey is returned as well. Errors are as of Parse.
func ParseKey(s string) (*Identity, *CIKey, error) {
	s = strings.TrimSpace(s)
	rest, ok := strings.CutPrefix(s, ciPrefix)
	if !ok {
		if strings.HasPrefix(s, "envrun-ci-") {
			return nil, nil, &ParseError{Reason: "is a key string of a newer version; this one reads " + ciPrefix}
		}
		if s == "" {
			return nil, nil, &ParseError{Reason: "is empty"}
		}
		id, err := Parse(s)
		return id, nil, err
	}
	parts := strings.SplitN(rest, ":", 4)
	if len(parts) != 4 {
		return nil, nil, &ParseError{Reason: "is not of the form " + ciPrefix + "<vault>:<env>:<fingerprint>:<identity>"}
	}
	for i, name := range []string{"vault", "environment", "fingerprint"} {
		if !isWord(parts[i]) {
			return nil, nil, &ParseError{Reason: "the " + name + " in the key string is empty or has characters that cannot be"}
		}
	}
	// One line only: the comments and further identities of a file have no
	// place in a variable that is pasted into a form.
	if strings.ContainsAny(parts[3], "\r\n") {
		return nil, nil, &ParseError{Reason: "the identity in the key string must be one line"}
	}
	id, err := Parse(parts[3])
	if err != nil {
		return nil, nil, err
	}
	if id.Skipped() > 0 {
		return nil, nil, &ParseError{Reason: "the identity in the key string is of a kind that this version does not know"}
	}
	return id, &CIKey{Vault: parts[0], Env: parts[1], Fingerprint: parts[2], Identity: id}, nil
}

// isWord lets through what names and fingerprints are made of.
func isWord(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.' || c == '@') {
			return false
		}
	}
	return true
}

// Reveal returns the key string with the secret in it.
func (k CIKey) Reveal() string {
	return k.public() + k.Identity.Reveal()
}

func (k CIKey) public() string {
	return ciPrefix + k.Vault + ":" + k.Env + ":" + k.Fingerprint + ":"
}

func (k CIKey) String() string                 { return k.public() + mask }
func (k CIKey) GoString() string               { return k.String() }
func (k CIKey) Format(s fmt.State, _ rune)     { _, _ = s.Write([]byte(k.String())) }
func (k CIKey) LogValue() slog.Value           { return slog.StringValue(k.String()) }
func (k CIKey) MarshalText() ([]byte, error)   { return nil, errMarshal }
func (k CIKey) MarshalJSON() ([]byte, error)   { return nil, errMarshal }
func (k CIKey) MarshalBinary() ([]byte, error) { return nil, errMarshal }
