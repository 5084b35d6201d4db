// Package record reads and writes the files of a vault (filevault §3.3): a
// version of a secret, a generation of an environment's key, a grant, a seal,
// a request for access, a list of what a former member could read, and
// vault.toml. It is text in and text out: it holds no key, checks no MAC and
// opens no file. The same bytes are files in git and rows in a database.
//
// Every file has one way to be written. A parser refuses what Marshal would
// not have written, so parse and Marshal give the same bytes, which is what
// MACs and hashes are made over; the one thing let pass is a CR at the end of
// a line, which some checkouts add. A header that is not known is kept and
// covered by the MAC; one that begins with "!" refuses the file, and so does
// another major version: nothing is negotiable, nothing is guessed.
//
// What is wrong is a *vault.Error of KindMalformed, KindUnmerged or
// KindVersion with the line; the caller adds the file. Errors never repeat
// the text of a line, since it may be a value pasted to where it does not belong.
package record

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
	"time"

	"envrun/vault"
)

// A Header is one that this version does not know, kept as it is. Such
// headers stand behind the known ones.
type Header struct{ Key, Value string }

// A Sig is a signature of a gen, grant, seal or request file, kept but not
// yet made or checked (filevault §3.9).
type Sig struct {
	Member    string
	Algorithm string // "ssh-ed25519"
	Value     string // words of printable ASCII
}

// A Record is one version of one secret: its .sec file. Values are in it
// encrypted only. Who can change the file can make it fail its check, and
// nothing else.
type Record struct {
	Vault       string
	Env         vault.Env
	Path        vault.Path
	Version     uint64 // from 1
	PrevVersion uint64 // the version written over; 0 in version 1
	PrevHash    Hash   // its BodyHash
	By          string
	At          time.Time // in seconds, UTC
	Rotate      string
	Tags        []string
	Note        string
	Extra       []Header
	Deleted     bool    // a tombstone; Fields is empty
	Fields      []Field // sorted by name
	MAC         []byte  // over MACInput
	Gen         uint32  // the generation of the environment key that wraps Key
	Key         []byte  // the wrapped data key
}

// A Field is one value, encrypted.
type Field struct {
	Name   vault.FieldName
	Since  uint64 // the version in which the value last changed
	Sealed []byte
}

const recordKeys = " vault env path version prev by at rotate tags note key "

// ParseRecord reads a secret's file. The Record keeps no part of raw.
func ParseRecord(raw []byte) (*Record, error) { return parseRecord(raw, true) }

// ParseHeader reads a secret's file but for the bytes of its values and keys,
// for those who list and have no key: the Info and the generation.
func ParseHeader(raw []byte) (vault.Info, uint32, error) {
	r, err := parseRecord(raw, false)
	if err != nil {
		return vault.Info{}, 0, err
	}
	return r.Info(), r.Gen, nil
}

func parseRecord(raw []byte, values bool) (*Record, error) {
	p := open("secret", recordKeys, raw, MaxRecordSize)
	r := &Record{
		Vault:   p.vaultID(),
		Env:     p.env(),
		Path:    p.path(),
		Version: p.number("version", maxNumber),
	}
	r.PrevVersion, r.PrevHash = p.prev("version", r.Version)
	r.By = p.member("by")
	r.At = p.time("at")
	if p.has("rotate") {
		r.Rotate = p.take("rotate")
		if why := rotateFault(r.Rotate); why != "" {
			p.bad(`"rotate" %s`, why)
		}
	}
	if p.has("tags") {
		r.Tags = strings.Split(p.take("tags"), " ")
		if why := tagsFault(r.Tags); why != "" {
			p.bad("%s", why)
		}
	}
	if p.has("note") {
		r.Note = p.note("note")
	}
	r.Extra = p.extras(func(p *parser) bool {
		return p.key == "=" || p.key == "mac" || p.key == "deleted"
	})
	if p.has("deleted") {
		r.Deleted = true
		if p.val != "" {
			p.fail(p.start, `"deleted" has a value`)
		}
		p.next()
	}

	p.blind = !values
	if values && p.err == nil { // one piece of memory for all that follows
		p.room = make([]byte, 0, b64.DecodedLen(len(p.text)-p.start))
	}
	r.Fields = p.fields(r)
	r.MAC = p.bytes("mac", macSize)
	r.Gen, r.Key = p.wrapped()
	if err := p.done(); err != nil {
		return nil, err
	}
	return r, nil
}

// wrapped reads the key line.
func (p *parser) wrapped() (gen uint32, key []byte) {
	num, text, _ := strings.Cut(p.take("key"), " ")
	gen = uint32(p.numberOf("key", num, maxGen))
	return gen, p.decode("key", p.took+len("key ")+len(num)+1, len(text), wrappedSize, wrappedSize)
}

// fields reads the = lines.
func (p *parser) fields(r *Record) []Field {
	if !p.has("=") {
		return nil
	}
	if r.Deleted {
		p.fail(p.start, `is "deleted" and has a field`)
		return nil
	}
	n := 1 + strings.Count(p.text[p.start:], "\n= ")
	if n > vault.MaxFields {
		p.fail(p.start, fmt.Sprintf("has %d fields; at most %d are read", n, vault.MaxFields))
		return nil
	}
	fields := make([]Field, 0, n)
	for p.has("=") {
		v := p.take("=")
		name, rest, _ := strings.Cut(v, " ")
		since, sealed, _ := strings.Cut(rest, " ")
		if p.err != nil {
			return nil
		}
		f := Field{Name: vault.FieldName(name)}
		if _, err := vault.ParseFieldName(name); err != nil || sealed == "" {
			p.bad("is not a field's name, a version and a sealed value")
			return nil
		}
		if len(fields) > 0 && f.Name <= fields[len(fields)-1].Name {
			p.bad("the fields are not sorted by name, or one is there twice")
			return nil
		}
		if f.Since = p.numberOf("=", since, maxNumber); f.Since > r.Version {
			p.bad("the field is from a version after this one")
		}
		f.Sealed = p.decode("=", p.took+len("= ")+len(name)+1+len(since)+1, len(sealed), minSealed, maxSealed)
		if p.err != nil {
			return nil
		}
		fields = append(fields, f)
	}
	return fields
}

// Info is what may be known of it without its values.
func (r *Record) Info() vault.Info {
	i := vault.Info{
		Env: r.Env, Path: r.Path, Version: r.Version, By: r.By, At: r.At,
		Rotate: r.Rotate, Tags: r.Tags, Note: r.Note, Deleted: r.Deleted,
	}
	if len(r.Fields) > 0 {
		i.Fields = make([]vault.FieldInfo, len(r.Fields))
		for n, f := range r.Fields {
			i.Fields[n] = vault.FieldInfo{Name: f.Name, Since: f.Since}
		}
	}
	return i
}

// MACInput is the text that MAC is over: every line above the mac line. MAC,
// Gen and Key need not be set. For a file as it was read, AboveMAC is cheaper.
func (r *Record) MACInput() []byte { return r.appendBody(make([]byte, 0, r.size())) }

// Marshal writes the file. It panics if r does not pass Check.
func (r *Record) Marshal() []byte {
	raw := r.marshal()
	return must(raw, r.check(raw))
}

// Encode is Marshal for who cannot be sure: it fails as Check does.
func (r *Record) Encode() ([]byte, error) { return encoded(r.marshal(), r.check) }

// Check says what of r cannot be written, MAC, Gen and Key included: KindInvalid.
func (r *Record) Check() error { return r.check(r.marshal()) }

func (r *Record) check(raw []byte) error {
	want := *r
	want.At = second(r.At)
	want.Tags, want.Extra, want.Fields = orNil(r.Tags), orNil(r.Extra), orNil(r.Fields)
	return readsBack(raw, &want, ParseRecord)
}

func (r *Record) marshal() []byte {
	b := r.appendBody(make([]byte, 0, r.size()))
	return appendKey(appendBytes(b, "mac", r.MAC), r.Gen, r.Key)
}

func appendKey(b []byte, gen uint32, key []byte) []byte {
	b = append(b, "key "...)
	b = strconv.AppendUint(b, uint64(gen), 10)
	b = append(b, ' ')
	b = b64.AppendEncode(b, key)
	return append(b, '\n')
}

// size is a little more than the file has.
func (r *Record) size() int {
	n := 512 + len(r.Path) + len(r.Note)
	for _, f := range r.Fields {
		n += len("=  9223372036854775807 \n") + len(f.Name) + b64.EncodedLen(len(f.Sealed))
	}
	return n
}

func (r *Record) appendBody(b []byte) []byte {
	b = append(b, "envrun-secret v1\n"...)
	b = appendLine(b, "vault", r.Vault)
	b = appendLine(b, "env", string(r.Env))
	b = appendLine(b, "path", string(r.Path))
	b = appendNumber(b, "version", r.Version)
	b = appendPrev(b, r.PrevVersion, r.PrevHash)
	b = appendLine(b, "by", r.By)
	b = appendTime(b, "at", r.At)
	if r.Rotate != "" {
		b = appendLine(b, "rotate", r.Rotate)
	}
	if len(r.Tags) > 0 {
		b = append(b, "tags"...)
		for _, t := range r.Tags {
			b = append(append(b, ' '), t...)
		}
		b = append(b, '\n')
	}
	if r.Note != "" {
		b = appendLine(b, "note", r.Note)
	}
	b = appendExtra(b, r.Extra)
	if r.Deleted {
		b = append(b, "deleted\n"...)
	}
	for _, f := range r.Fields {
		b = append(b, "= "...)
		b = append(b, f.Name...)
		b = append(b, ' ')
		b = strconv.AppendUint(b, f.Since, 10)
		b = append(b, ' ')
		b = b64.AppendEncode(b, f.Sealed)
		b = append(b, '\n')
	}
	return b
}

// AboveMAC is what the MAC of a record, gen, grant or seal file is over: the
// bytes above its mac line, after the CR rule. It is a part of raw where raw
// has no CR. For a file that parses it is its MACInput.
func AboveMAC(raw []byte) ([]byte, error) {
	text, mac, _, err := splitMAC(raw)
	if err != nil {
		return nil, err
	}
	return text[:mac], nil
}

// BodyHash names a version of a record, gen, grant or seal file: the hash of
// its bytes from the first to the end of its mac line, after the CR rule. What
// stands below is left out: a rotation of the environment key changes the key
// line of a record, not its hash.
func BodyHash(raw []byte) (Hash, error) {
	text, _, end, err := splitMAC(raw)
	if err != nil {
		return Hash{}, err
	}
	sum := sha256.Sum256(text[:end])
	return Hash(sum[:len(Hash{})]), nil
}

// WithKey is raw, the file of a record, under another environment key: with
// gen and the wrapped data key in its last line, and every line above as it
// was, after the CR rule. It looks at nothing but that there is a mac line:
// that the outcome is right, its reader says.
func WithKey(raw []byte, gen uint32, key []byte) ([]byte, error) {
	text, _, end, err := splitMAC(raw)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, end+len("key 4294967295 \n")+b64.EncodedLen(len(key)))
	return appendKey(append(b, text[:end]...), gen, key), nil
}

// KeyOf reads the last line of a record's file: the generation and the wrapped
// data key. Above it, it looks at nothing but where that ends.
func KeyOf(raw []byte) (gen uint32, key []byte, err error) {
	text, _, end, err := splitMAC(raw)
	if err != nil {
		return 0, nil, err
	}
	p := &parser{kind: "secret", known: recordKeys, before: text[:end]}
	p.begin(text[end:])
	gen, key = p.wrapped()
	if err := p.done(); err != nil {
		return 0, nil, err
	}
	return gen, key, nil
}

// SameBody reports whether two files differ in nothing that BodyHash is over.
func SameBody(a, b []byte) bool {
	x, _, xEnd, err := splitMAC(a)
	if err != nil {
		return false
	}
	y, _, yEnd, err := splitMAC(b)
	return err == nil && bytes.Equal(x[:xEnd], y[:yEnd])
}

// PeekVersion reads the version of a record without reading the record: 0 if
// it is not where it must be. It is for who has a reader of the record beside.
func PeekVersion(raw []byte) uint64 {
	for line := range bytes.Lines(raw) {
		if v, ok := bytes.CutPrefix(line, []byte("version ")); ok {
			n, why := parseNumber(strings.TrimRight(string(v), "\r\n"))
			if why != "" {
				return 0
			}
			return n
		}
	}
	return 0
}

// splitMAC finds where the mac line begins and ends in text, which is raw
// after the CR rule. It is the last line that begins with "mac ": an entry of
// a seal for a secret at "mac" does too, but stands above, and what may stand
// below (sig and key lines, armor) does not.
func splitMAC(raw []byte) (text []byte, start, end int, err error) {
	text = dropCR(raw)
	start = bytes.LastIndex(text, []byte("\nmac ")) + 1
	if start > 0 {
		if n := bytes.IndexByte(text[start:], '\n'); n >= 0 {
			return text, start, start + n + 1, nil
		}
	}
	if line := conflictMark(string(text)); line > 0 {
		return nil, 0, 0, &vault.Error{Kind: vault.KindUnmerged, Line: line, Detail: "has the marks of an unresolved merge"}
	}
	return nil, 0, 0, malformed(0, `is cut off: "mac" is missing`)
}
