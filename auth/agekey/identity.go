// Package agekey holds age identities: the key of a person or a pipeline that
// opens the environments granted to it, where it is kept, and how it gets from
// one place to another.
//
// New identities are hybrid, ML-KEM-768 with X25519: what is sealed to them
// lies in public repositories for ever, and must outlast the arrival of
// quantum computers. Classic ones, plugin identities that keep the key in
// hardware, and SSH keys of kind ssh-ed25519 are read as well; an SSH key is
// copied, since ssh-agent signs and cannot decrypt.
//
// A plugin is another program, trusted with what it opens. It is run only when
// an identity names it or a caller allowed it by its name, found in absolute
// folders of PATH only, and stopped when it does not answer.
//
// An Identity prints as a mask and cannot be marshalled; the secret comes out
// of Reveal and ExportText only. Home is where a person's identity lives.
//
// It refuses to overwrite an identity, to read one that others can read, to
// guess at a damaged one, and to choose a store that forgets: losing an
// identity can mean losing what is sealed to it. It writes no sentences for
// people and knows no command: errors carry the file, line and store, and
// cmd/internal/cli says what to do.
package agekey

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"filippo.io/age"
	"filippo.io/age/plugin"
)

// MaxText is the most that an identity may take up, in bytes.
const MaxText = 64 << 10

// Identity is one person's or pipeline's key: usually one line or one SSH key of
// an identity file, sometimes several. It does not change. The zero Identity is of no use.
type Identity struct {
	// A function, since fmt prints a struct that has an Identity in an
	// unexported field without asking for its String, and follows pointers
	// when the verb does not fit: "%s" of such a struct would show the key.
	keys func() []key
}

func newIdentity(keys []key) *Identity { return &Identity{func() []key { return keys }} }

// key is one line or SSH key of an identity file and what the comments above
// it said.
type key struct {
	text      string       // AGE-SECRET-KEY-PQ-1…, or the lines of an SSH key
	identity  age.Identity // nil for a kind that this version does not know
	recipient string       // of an SSH key, and from a comment where it cannot be derived
}

// Generate makes a new hybrid identity.
func Generate() (*Identity, error) {
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		return nil, fmt.Errorf("generating an identity: %w", err)
	}
	return newIdentity([]key{{text: id.String(), identity: id}}), nil
}

// ParseError says which line of an identity text is wrong. It quotes nothing.
type ParseError struct {
	Line   int      // from 1; 0 if no line is at fault
	Reason string   // lower case, without a full stop
	SSH    SSHFault // if it is an SSH key that cannot be used: why
}

// SSHFault is why an SSH key cannot be used, as far as something can be done about it.
type SSHFault int

const (
	SSHKind   SSHFault = iota + 1 // another key is needed: ssh-ed25519 in OpenSSH's form
	SSHCipher                     // this key is needed with another encryption by passphrase
)

func (e *ParseError) Error() string {
	if e.Line == 0 {
		return e.Reason
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.Reason)
}

// ErrProtected is returned by Parse for a text that is encrypted with a
// passphrase, as a whole or the SSH key in it. ParseProtected reads it.
var ErrProtected = errors.New("the identity is encrypted with a passphrase")

// Parse reads the text of an identity file as age writes it: one identity a
// line, "#" comments, blank lines. It takes AGE-SECRET-KEY-PQ-1…,
// AGE-SECRET-KEY-1…, AGE-PLUGIN-… and, of several lines, the private key of
// ssh-ed25519 that ssh-keygen writes; kinds of identity that it does not know
// are kept and counted by Skipped. For a plugin the recipient is taken from the
// comment above it ("# recipient: age1…" or "# public key: age1…").
//
// Errors are ErrProtected and *ParseError, and hold nothing of the text.
func Parse(text string) (*Identity, error) { return parse(text, nil) }

// ParseProtected is Parse for a text that it finds to be ErrProtected: an age
// file encrypted with a passphrase, or an SSH key that has one. The Identity
// has no passphrase. ErrPassphrase if it is wrong.
func ParseProtected(text string, passphrase []byte) (*Identity, error) {
	switch {
	case len(text) > MaxText:
		return nil, &ParseError{Reason: fmt.Sprintf("is longer than %d bytes", MaxText)}
	case len(passphrase) == 0:
		return nil, ErrPassphrase
	case isProtected(text):
		return decrypt([]byte(strings.TrimLeft(text, " \t\r\n")), passphrase)
	}
	return parse(text, passphrase)
}

// parse is Parse with a passphrase for SSH keys; nil: none is known.
func parse(text string, passphrase []byte) (*Identity, error) {
	if len(text) > MaxText {
		return nil, &ParseError{Reason: fmt.Sprintf("is longer than %d bytes", MaxText)}
	}
	if isProtected(text) {
		return nil, ErrProtected
	}
	if !utf8.ValidString(text) {
		return nil, &ParseError{Reason: "is not UTF-8 text"}
	}
	var keys []key
	known, n, recipient := 0, 0, ""
	var block []string // the lines of a block that has begun
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, pemBegin) && block != nil:
			return nil, &ParseError{Line: n - len(block), Reason: "begins a key that has no end: cut short"}
		case strings.HasPrefix(line, pemBegin) && (strings.Contains(line, pemEnd) || !strings.HasSuffix(line, "-----")):
			return nil, &ParseError{Line: n, Reason: "is an SSH key that has lost its line ends: it takes several lines"}
		case block != nil, strings.HasPrefix(line, pemBegin):
			block = append(block, line)
			if !strings.HasPrefix(line, pemEnd) {
				continue
			}
			k, err := parsePEM(strings.Join(block, "\n"), passphrase)
			if bad := (*ParseError)(nil); errors.As(err, &bad) {
				bad.Line = n - len(block) + 1
			}
			if err != nil {
				return nil, err
			}
			known++
			keys = append(keys, k)
			block, recipient = nil, ""
			continue
		case line == "":
			continue
		}
		if comment, ok := strings.CutPrefix(line, "#"); ok {
			if r := recipientIn(comment); r != "" {
				recipient = r
			}
			continue
		}
		k, err := parseKey(line, recipient)
		if err != nil {
			err.Line = n
			return nil, err
		}
		if k.identity != nil {
			known++
		}
		keys = append(keys, k)
		recipient = ""
	}
	switch {
	case block != nil:
		return nil, &ParseError{Line: n - len(block) + 1, Reason: "begins a key that has no end: cut short"}
	case len(keys) == 0:
		return nil, &ParseError{Reason: "holds no identity"}
	case known == 0:
		return nil, &ParseError{Reason: "holds only kinds of identity that this version does not know"}
	}
	return newIdentity(keys), nil
}

// parseKey reads one line. Errors of the libraries quote characters of the
// key, so none of them is passed on.
func parseKey(line, recipient string) (key, *ParseError) {
	bad := func(why string) (key, *ParseError) { return key{}, &ParseError{Reason: why} }
	switch {
	case strings.HasPrefix(line, "AGE-SECRET-KEY-PQ-1"):
		id, err := age.ParseHybridIdentity(line)
		if err != nil {
			return bad("not a valid AGE-SECRET-KEY-PQ-1 identity: mistyped or cut short")
		}
		return key{text: line, identity: id}, nil
	case strings.HasPrefix(line, "AGE-SECRET-KEY-1"):
		id, err := age.ParseX25519Identity(line)
		if err != nil {
			return bad("not a valid AGE-SECRET-KEY-1 identity: mistyped or cut short")
		}
		return key{text: line, identity: id}, nil
	case strings.HasPrefix(line, "AGE-PLUGIN-"):
		id, err := newPluginIdentity(line, nil)
		if err != nil {
			return bad("not a valid AGE-PLUGIN- identity: mistyped or cut short")
		}
		return key{text: line, identity: id, recipient: recipient}, nil
	case strings.HasPrefix(line, "age-secret-key-"), strings.HasPrefix(line, "age-plugin-"):
		return bad("an identity is written in capital letters")
	case strings.HasPrefix(line, "age1"):
		return bad("is a recipient, which is public; an identity starts with AGE-SECRET-KEY- or AGE-PLUGIN-")
	case strings.HasPrefix(line, "ssh-"), strings.HasPrefix(line, "ecdsa-"), strings.HasPrefix(line, "sk-"):
		return bad("is an SSH public key; the identity is the private one, in the file of that name without .pub")
	case strings.HasPrefix(line, "PuTTY-User-Key-File-"):
		return key{}, &ParseError{SSH: SSHKind, Reason: "is a key in PuTTY's form; of SSH keys only ssh-ed25519, as ssh-keygen writes it, can open anything"}
	case unknownKind(line):
		return key{text: line, recipient: recipient}, nil
	}
	return bad("is neither an identity, a comment nor blank")
}

// unknownKind reports whether a line has the shape of an identity, AGE-…-1 and
// the letters of Bech32, of a kind yet to be invented.
func unknownKind(line string) bool {
	i := strings.LastIndexByte(line, '1')
	if !strings.HasPrefix(line, "AGE-") || i < 0 || !strings.HasSuffix(line[:i], "-") || len(line)-i-1 < 6 {
		return false
	}
	for j := range i {
		c := line[j]
		if !('A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '+' || c == '.' || c == '_') {
			return false
		}
	}
	return strings.Trim(line[i+1:], "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L") == ""
}

// recipientIn is the recipient that a comment names, or "".
func recipientIn(comment string) string {
	name, value, ok := strings.Cut(comment, ":")
	if !ok {
		return ""
	}
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "recipient", "public key":
	default:
		return ""
	}
	value = strings.TrimSpace(value)
	if !strings.HasPrefix(value, "age1") || strings.ContainsAny(value, " \t") {
		return ""
	}
	return value
}

// Reveal returns the secret: the identity lines, as they were read, without a
// newline at the end. A plugin's recipient, which nothing else knows, stands
// as a comment above its line. An SSH key that had a passphrase has none.
func (id *Identity) Reveal() string {
	var b strings.Builder
	for i, k := range id.keys() {
		if i > 0 {
			b.WriteByte('\n')
		}
		if k.recipient != "" && !k.isSSH() {
			b.WriteString("# recipient: " + k.recipient + "\n")
		}
		b.WriteString(k.text)
	}
	return b.String()
}

// Recipient is the public half of the first identity that has one, as text:
// "age1pq1…", "age1…", "ssh-ed25519 AAAA…". It is "" for a plugin identity
// without a comment that names its recipient.
func (id *Identity) Recipient() string {
	for _, k := range id.keys() {
		if r := k.public(); r != "" {
			return r
		}
	}
	return ""
}

func (k key) public() string {
	switch i := k.identity.(type) {
	case *age.HybridIdentity:
		return i.Recipient().String()
	case *age.X25519Identity:
		return i.Recipient().String()
	}
	return k.recipient
}

// PostQuantum reports whether what is sealed to Recipient outlasts quantum computers.
func (id *Identity) PostQuantum() bool { return PostQuantum(id.Recipient()) }

// PostQuantum reports whether a recipient is of a hybrid, post-quantum kind.
func PostQuantum(recipient string) bool {
	return strings.HasPrefix(recipient, "age1pq1") || strings.HasPrefix(recipient, "age1tagpq1")
}

// Plugins names the plugins that the identity needs, without "age-plugin-".
func (id *Identity) Plugins() []string {
	var names []string
	for _, k := range id.keys() {
		if p, ok := k.identity.(*pluginIdentity); ok && !slices.Contains(names, p.name) {
			names = append(names, p.name)
		}
	}
	return names
}

// Skipped counts the identities of kinds that this version does not know.
func (id *Identity) Skipped() int {
	n := 0
	for _, k := range id.keys() {
		if k.identity == nil {
			n++
		}
	}
	return n
}

// Unwrap returns what age.Decrypt takes. A plugin's program is started only
// when something is decrypted, and asks nobody anything unless WithPluginUI
// says how; it is stopped as that of a PluginRecipient is, and its identity has
// a WithContext as well.
func (id *Identity) Unwrap() []age.Identity {
	ids := make([]age.Identity, 0, len(id.keys()))
	for _, k := range id.keys() {
		if k.identity != nil {
			ids = append(ids, k.identity)
		}
	}
	return ids
}

// WithPluginUI returns the identity with a way for its plugins to ask a person
// for a PIN or a touch.
func (id *Identity) WithPluginUI(ui *plugin.ClientUI) *Identity {
	keys := slices.Clone(id.keys())
	for i := range keys {
		if p, ok := keys[i].identity.(*pluginIdentity); ok {
			asking := p.pluginParty
			asking.ui = ui
			keys[i].identity = &pluginIdentity{asking}
		}
	}
	return newIdentity(keys)
}

// ExportText is the text of an identity file, as age and envrun read it: the
// facts as comments, then the secret. After an SSH key the comments come last,
// since ssh-keygen and age read it only if it comes first.
func (id *Identity) ExportText(f Facts) string {
	var b strings.Builder
	if !f.Created.IsZero() {
		b.WriteString("# created: " + f.Created.UTC().Format(time.RFC3339) + "\n")
	}
	if f.Member != "" {
		b.WriteString("# member: " + f.Member + "\n")
	}
	first := id.keys()[0]
	if first.isSSH() {
		return id.Reveal() + "\n" + b.String()
	}
	if first.recipient == "" && first.public() != "" {
		b.WriteString("# public key: " + first.public() + "\n")
	}
	b.WriteString(id.Reveal())
	b.WriteByte('\n')
	return b.String()
}

// mask is what an Identity shows of itself.
const mask = "[identity]"

var errMarshal = errors.New("an identity cannot be marshalled")

func (id Identity) String() string                 { return mask }
func (id Identity) GoString() string               { return mask }
func (id Identity) Format(s fmt.State, _ rune)     { _, _ = s.Write([]byte(mask)) }
func (id Identity) LogValue() slog.Value           { return slog.StringValue(mask) }
func (id Identity) MarshalText() ([]byte, error)   { return nil, errMarshal }
func (id Identity) MarshalJSON() ([]byte, error)   { return nil, errMarshal }
func (id Identity) MarshalBinary() ([]byte, error) { return nil, errMarshal }
