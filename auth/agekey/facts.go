package agekey

import (
	"fmt"
	"strings"
	"time"
)

// StoreFile is the store that is a file beside the facts; the others are the
// names of keychains.
const StoreFile = "file"

// Facts are what is known of an identity without its secret.
type Facts struct {
	Member    string    // who it belongs to: alice@laptop
	Recipient string    // the public half: "age1pq1…"; "" if only a plugin or a passphrase knows it
	Store     string    // StoreFile, or the name of a keychain
	Key       string    // what it is filed under in the keychain; "" in a file
	Created   time.Time // UTC, whole seconds; zero if not known
	Protected bool      // the file is encrypted with a passphrase; not in identity.toml, the file says so itself

	// Leftover are places that may hold a copy of the secret after a move that
	// was cut short: "file", or "keychain:key". The next move, and
	// Home.Clean, delete them.
	Leftover []string
}

// where is the place of the secret, in the words of Leftover.
func (f Facts) where() string {
	if f.Store == StoreFile {
		return StoreFile
	}
	return f.Store + ":" + f.Key
}

// factsHead opens identity.toml. The file is a subset of TOML, so that anybody
// can read and edit it, small enough to be read on the way to each command
// without a TOML library: a line is blank, a comment, or name = "value" with
// no escapes in the value.
const factsHead = "# envrun: facts about your identity. The secret is in the store that is named here.\n"

const maxFacts = 16 << 10 // bytes; a hybrid recipient takes 2,000

// marshal is the text of identity.toml. Values that cannot be written are
// refused by check before.
func (f Facts) marshal() []byte {
	var b strings.Builder
	b.WriteString(factsHead)
	line := func(name, value string) {
		if value != "" {
			b.WriteString(name + ` = "` + value + "\"\n")
		}
	}
	line("member", f.Member)
	line("recipient", f.Recipient)
	line("store", f.Store)
	line("key", f.Key)
	if !f.Created.IsZero() {
		line("created", f.Created.UTC().Format(time.RFC3339))
	}
	line("leftover", strings.Join(f.Leftover, " "))
	return []byte(b.String())
}

// parseFacts reads identity.toml. Errors are *ParseError. It is strict: an
// unknown name may be of a newer version and mean something that matters.
func parseFacts(text []byte) (Facts, error) {
	var f Facts
	if len(text) > maxFacts {
		return f, &ParseError{Reason: fmt.Sprintf("is longer than %d bytes", maxFacts)}
	}
	n := 0
	seen := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, err := parseFact(line)
		if err == nil && seen[name] {
			err = fmt.Errorf("%s stands there twice", name)
		}
		if err == nil {
			err = f.set(name, value)
		}
		if err != nil {
			return Facts{}, &ParseError{Line: n, Reason: err.Error()}
		}
		seen[name] = true
	}
	if f.Store == "" {
		return Facts{}, &ParseError{Reason: "does not say which store holds the identity"}
	}
	if err := f.check(); err != nil {
		return Facts{}, &ParseError{Reason: err.Error()}
	}
	return f, nil
}

func parseFact(line string) (name, value string, err error) {
	name, rest, ok := strings.Cut(line, "=")
	name = strings.TrimSpace(name)
	rest, quoted := strings.CutPrefix(strings.TrimSpace(rest), `"`)
	if !ok || !quoted {
		return "", "", fmt.Errorf(`is not of the form name = "value"`)
	}
	value, rest, ok = strings.Cut(rest, `"`)
	if rest = strings.TrimSpace(rest); !ok || rest != "" && rest[0] != '#' {
		return "", "", fmt.Errorf(`is not of the form name = "value"`)
	}
	if err := checkValue(value); err != nil {
		return "", "", fmt.Errorf("the value of %.30q %w", name, err)
	}
	return name, value, nil
}

// checkValue lets through what stands in quotes without an escape.
func checkValue(s string) error {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return fmt.Errorf("may hold printable ASCII only, and neither quotes nor backslashes")
		}
	}
	return nil
}

func (f *Facts) set(name, value string) error {
	switch name {
	case "member":
		f.Member = value
	case "recipient":
		f.Recipient = value
	case "store":
		f.Store = value
	case "key":
		f.Key = value
	case "created":
		t, err := time.Parse(time.RFC3339, value)
		if err != nil || t.Year() < 1 {
			return fmt.Errorf("created is no time such as 2026-02-11T09:14:03Z")
		}
		f.Created = t.UTC().Truncate(time.Second)
	case "leftover":
		if places := strings.Fields(value); len(places) > 0 {
			f.Leftover = places
		}
	default:
		return fmt.Errorf("unknown name %.30q", name)
	}
	return nil
}

// check refuses facts that cannot be written, or that contradict each other.
func (f Facts) check() error {
	for _, v := range []struct{ name, value string }{
		{"member", f.Member}, {"recipient", f.Recipient}, {"store", f.Store}, {"key", f.Key},
		{"leftover", strings.Join(f.Leftover, " ")},
	} {
		if err := checkValue(v.value); err != nil {
			return fmt.Errorf("%s %w", v.name, err)
		}
	}
	if len(f.Member) > 128 {
		return fmt.Errorf("member is longer than 128 characters")
	}
	if strings.ContainsAny(f.Store, ": ") {
		return fmt.Errorf("store %.30q is no store", f.Store)
	}
	if (f.Store == StoreFile) != (f.Key == "") {
		return fmt.Errorf("key must stand there for a keychain, and not for the file")
	}
	return nil
}
