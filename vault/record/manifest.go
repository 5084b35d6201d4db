package record

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"envrun/vault"
)

// Manifest is vault.toml: what makes a folder a vault. Who can change it can
// make everything fail its check, since the id is in every MAC, and nothing
// else: there is no setting in it.
type Manifest struct {
	Format int    // 1
	Vault  string // the id: random, never used again
}

// ParseManifest reads vault.toml: a subset of TOML that has the two keys, in
// their order, comments and empty lines. It refuses a key that it does not
// know: a newer format has a higher number, and says so first. Being for people,
// it may be spaced and commented as they like; Marshal writes it plain.
func ParseManifest(raw []byte) (*Manifest, error) {
	if len(raw) > MaxManifest {
		return nil, malformed(0, fmt.Sprintf("has %d bytes; at most %d are read", len(raw), MaxManifest))
	}
	text := string(dropCR(raw))
	if line := conflictMark(text); line > 0 {
		return nil, &vault.Error{Kind: vault.KindUnmerged, Line: line, Detail: "has the marks of an unresolved merge"}
	}
	if !utf8.ValidString(text) {
		return nil, malformed(1+strings.Count(text[:invalidUTF8(text)], "\n"), "is not UTF-8")
	}
	m := new(Manifest)
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.Trim(strings.ReplaceAll(line, "\t", " "), " \n")
		if line == "" {
			continue
		}
		if why := textFault(line, MaxManifest); why != "" {
			return nil, malformed(n, why)
		}
		if line[0] == '#' {
			continue
		}
		key, val, ok := strings.Cut(line, "=")
		key, val = strings.TrimRight(key, " "), strings.TrimLeft(val, " ")
		switch {
		case !ok || !isKey(key):
			return nil, malformed(n, "is not a key and a value")
		case key == "format" && m.Format == 0:
			val, _, _ = strings.Cut(val, "#")
			num, why := parseNumber(strings.TrimRight(val, " "))
			if why != "" {
				return nil, malformed(n, `"format" `+why)
			}
			if num != 1 {
				return nil, &vault.Error{Kind: vault.KindVersion, Line: n,
					Detail: fmt.Sprintf("has format %d; this envrun reads format 1: it takes one that reads format %d", num, num)}
			}
			m.Format = 1
		case m.Format == 0:
			return nil, malformed(n, `"format" must come first`)
		case key == "vault" && m.Vault == "":
			id, rest, ok := strings.Cut(strings.TrimPrefix(val, `"`), `"`)
			rest = strings.TrimLeft(rest, " ")
			if val[:min(1, len(val))] != `"` || !ok || rest != "" && rest[0] != '#' {
				return nil, malformed(n, `"vault" is not a text in quotation marks`)
			}
			if why := vaultIDFault(id); why != "" {
				return nil, malformed(n, "the vault's id "+why)
			}
			m.Vault = id
		case key == "format" || key == "vault":
			return nil, malformed(n, fmt.Sprintf("has %q twice", key))
		default:
			return nil, malformed(n, "has a key that is not known")
		}
	}
	if m.Format == 0 {
		return nil, malformed(0, `is cut off: "format" is missing`)
	}
	if m.Vault == "" {
		return nil, malformed(0, `is cut off: "vault" is missing`)
	}
	return m, nil
}

// Marshal writes the file. It panics if m does not pass Check.
func (m *Manifest) Marshal() []byte {
	raw := m.marshal()
	return must(raw, m.check(raw))
}

// Check says what of m cannot be written: KindInvalid.
func (m *Manifest) Check() error { return m.check(m.marshal()) }

func (m *Manifest) marshal() []byte {
	b := append([]byte("format = "), strconv.Itoa(m.Format)...)
	b = append(b, "\nvault  = \""...)
	b = append(b, m.Vault...)
	return append(b, "\"\n"...)
}

func (m *Manifest) check(raw []byte) error { return readsBack(raw, m, ParseManifest) }
