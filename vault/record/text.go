package record

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"envrun/vault"
)

// All files but vault.toml have one grammar. A file is lines that end in LF;
// a line is a key, or a key, one space and a value. The first line names the
// kind and its major version; headers follow in a fixed order, then what
// there may be many of.

// b64 is the one way to write bytes: no padding, and no stray bits in the last letter.
var b64 = base64.RawStdEncoding.Strict()

// parser reads a file line by line. The first thing wrong stays in err, and
// after it every method does nothing, so that a parser of a kind reads as the
// list of its lines.
//
// It copies the file once, as a string, and strings that it hands out are
// parts of that copy.
type parser struct {
	kind   string // as on the first line: "secret"
	known  string // its headers, each between spaces
	raw    []byte // after the CR rule
	text   string // the same
	before []byte // what stands before raw in the file, to count lines in

	start    int    // where the present line begins, in text
	off      int    // where the next line begins
	key, val string // of the present line; val is empty if there is no space
	end      bool   // there is no present line: the file has ended

	took  int    // where the line taken last begins
	room  []byte // what is decoded goes behind what is in it
	blind bool   // nothing is decoded
	err   *vault.Error
}

// open checks what all files have in common, up to the first line.
func open(kind, known string, raw []byte, max int) *parser {
	p := &parser{kind: kind, known: known}
	if len(raw) > max {
		p.err = malformed(0, fmt.Sprintf("has %d bytes; at most %d are read", len(raw), max))
		return p
	}
	p.begin(dropCR(raw))
	p.magic()
	return p
}

// begin makes the first line of raw the present one.
func (p *parser) begin(raw []byte) {
	p.raw, p.text = raw, string(raw)
	switch {
	case len(p.text) == 0:
		p.fail(0, "is empty")
	case !utf8.ValidString(p.text):
		p.fail(invalidUTF8(p.text), "is not UTF-8")
	case p.text[len(p.text)-1] != '\n':
		p.fail(len(p.text), "is cut off: its last line has no end")
	default:
		p.next()
	}
}

// magic reads the first line.
func (p *parser) magic() {
	if p.err != nil {
		return
	}
	kind, ok := strings.CutPrefix(p.key, "envrun-")
	switch {
	case !ok || p.val == "":
		p.fail(p.start, fmt.Sprintf("does not begin with %q", p.first()))
	case kind != p.kind && isKey(kind):
		p.fail(p.start, fmt.Sprintf("is an envrun-%s file where an envrun-%s file belongs", kind, p.kind))
	case kind != p.kind:
		p.fail(p.start, fmt.Sprintf("does not begin with %q", p.first()))
	case p.val != "v1":
		if n, why := parseNumber(strings.TrimPrefix(p.val, "v")); p.val[0] == 'v' && why == "" && n > 1 {
			p.fail(p.start, fmt.Sprintf("has format v%d; this envrun reads v1: it takes one that reads v%d", n, n))
			p.err.Kind = vault.KindVersion
			return
		}
		p.fail(p.start, fmt.Sprintf("does not begin with %q", p.first()))
	default:
		p.took = p.start
		p.next()
	}
}

func (p *parser) first() string { return "envrun-" + p.kind + " v1" }

// next makes the following line the present one.
func (p *parser) next() {
	if p.off == len(p.text) {
		p.start, p.key, p.val, p.end = p.off, "", "", true
		return
	}
	line := p.text[p.off:]
	line = line[:strings.IndexByte(line, '\n')]
	p.start = p.off
	p.off += len(line) + 1
	space := strings.IndexByte(line, ' ')
	if space < 0 {
		p.key, p.val = line, ""
		return
	}
	p.key, p.val = line[:space], line[space+1:]
	if p.val == "" || p.val[0] == ' ' || p.val[len(p.val)-1] == ' ' {
		p.fail(p.start, "has a space too many")
	}
}

// line is the present line whole.
func (p *parser) line() string { return p.text[p.start : p.off-1] }

// has reports whether the present line has that key.
func (p *parser) has(key string) bool { return p.err == nil && !p.end && p.key == key }

// take returns the value of the present line, which must have that key, and goes on.
func (p *parser) take(key string) string {
	if p.err != nil {
		return ""
	}
	if p.end || p.key != key {
		p.unexpected(key)
		return ""
	}
	if p.val == "" {
		p.fail(p.start, fmt.Sprintf("%q has no value", key))
		return ""
	}
	val := p.val
	p.took = p.start
	p.next()
	return val
}

// unexpected says that the present line is not what must stand there. Here
// as everywhere a line is not repeated, but for a key that the format knows:
// somebody may have pasted a value into the file.
func (p *parser) unexpected(want string) {
	switch {
	case p.err != nil:
	case p.end:
		p.fail(len(p.text)-1, fmt.Sprintf("is cut off: %q is missing", want))
	case p.mustKnow():
	case p.isKnown():
		p.fail(p.start, fmt.Sprintf("has %q where %q must stand", p.key, want))
	default:
		p.fail(p.start, fmt.Sprintf("has another line where %q must stand", want))
	}
}

// isKnown reports whether the key of the present line is a header of the kind.
func (p *parser) isKnown() bool { return isKey(p.key) && strings.Contains(p.known, " "+p.key+" ") }

// mustKnow refuses the present line if it is a header that may not be ignored.
func (p *parser) mustKnow() bool {
	if key, ok := strings.CutPrefix(p.key, "!"); !ok || !isKey(key) {
		return false
	}
	p.fail(p.start, fmt.Sprintf("has %q, which must be understood: it takes an envrun that knows it", p.key))
	p.err.Kind = vault.KindVersion
	return true
}

// fail keeps the first thing wrong, at an offset into text.
func (p *parser) fail(off int, detail string) {
	if p.err == nil {
		off = min(off, len(p.text))
		p.err = malformed(1+bytes.Count(p.before, []byte{'\n'})+strings.Count(p.text[:off], "\n"), detail)
	}
}

// bad fails on the line taken last.
func (p *parser) bad(format string, args ...any) {
	if p.err == nil {
		p.fail(p.took, fmt.Sprintf(format, args...))
	}
}

// done expects the end of the file, and returns what was wrong with it. A
// file with the marks of a merge is unmerged, whatever else is wrong.
func (p *parser) done() error {
	if p.err == nil && !p.end && !p.mustKnow() {
		p.fail(p.start, "goes on after its last line")
	}
	if p.err == nil {
		return nil
	}
	if line := conflictMark(p.text); line > 0 {
		p.err = &vault.Error{Kind: vault.KindUnmerged, Line: line + bytes.Count(p.before, []byte{'\n'}), Detail: "has the marks of an unresolved merge"}
	}
	return p.err
}

func malformed(line int, detail string) *vault.Error {
	return &vault.Error{Kind: vault.KindMalformed, Line: line, Detail: detail}
}

// conflictMark is the first line that begins as git's marks do, counted from 1; 0 if none does.
func conflictMark(text string) int {
	n := 0
	for line := range strings.Lines(text) {
		n++
		if len(line) >= 7 {
			switch line[:7] {
			case "<<<<<<<", "|||||||", "=======", ">>>>>>>":
				return n
			}
		}
	}
	return 0
}

func invalidUTF8(s string) int {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(s)
}

// dropCR takes one CR off the end of each line, since some checkouts add it.
// It returns raw itself where there is none, new memory else.
func dropCR(raw []byte) []byte {
	if bytes.IndexByte(raw, '\r') < 0 {
		return raw
	}
	return bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
}

// The values of single lines.

func (p *parser) vaultID() string {
	v := p.take("vault")
	if p.err == nil {
		if why := vaultIDFault(v); why != "" {
			p.bad("the vault's id %s", why)
		}
	}
	return v
}

func (p *parser) env() vault.Env {
	v := p.take("env")
	if p.err != nil {
		return ""
	}
	env, err := vault.ParseEnv(v)
	if err != nil {
		p.bad("the environment is not a name of one")
	}
	return env
}

func (p *parser) path() vault.Path {
	v := p.take("path")
	if p.err != nil {
		return ""
	}
	return p.pathOf(v)
}

func (p *parser) pathOf(s string) vault.Path {
	path, err := vault.ParsePath(s)
	if err != nil {
		p.bad("the path is not one that a secret can have")
	}
	return path
}

// number is from 1 to max.
func (p *parser) number(key string, max uint64) uint64 {
	v := p.take(key)
	if p.err != nil {
		return 0
	}
	return p.numberOf(key, v, max)
}

func (p *parser) numberOf(what, v string, max uint64) uint64 {
	n, why := parseNumber(v)
	if why == "" && n > max {
		why = fmt.Sprintf("is larger than %d", max)
	}
	if why != "" {
		p.bad("%q %s", what, why)
	}
	return n
}

func (p *parser) gen(key string) uint32 { return uint32(p.number(key, maxGen)) }

// prev is the number and hash of what was written over. Only the first, whose own number is 1, has none.
func (p *parser) prev(own string, n uint64) (uint64, Hash) {
	if p.err != nil || n == 1 && !p.has("prev") {
		return 0, Hash{}
	}
	v := p.take("prev")
	if p.err != nil {
		return 0, Hash{}
	}
	num, hex, _ := strings.Cut(v, " ")
	prev := p.numberOf("prev", num, maxNumber)
	var h Hash
	if !parseHex(h[:], hex) {
		p.bad(`the hash of "prev" is not %d hexadecimal digits in lower case`, 2*len(h))
	}
	if prev >= n {
		p.bad(`"prev" is not before %q`, own)
	}
	return prev, h
}

func (p *parser) member(key string) string {
	v := p.take(key)
	if p.err == nil {
		if why := memberFault(v); why != "" {
			p.bad("%q %s", key, why)
		}
	}
	return v
}

func (p *parser) time(key string) time.Time {
	v := p.take(key)
	if p.err != nil {
		return time.Time{}
	}
	t, ok := parseTime(v)
	if !ok {
		p.bad("%q is not a time as 2006-01-02T15:04:05Z", key)
	}
	return t
}

// note is text for people.
func (p *parser) note(key string) string {
	v := p.take(key)
	if p.err == nil {
		if why := textFault(v, vault.MaxNote); why != "" {
			p.bad("%q %s", key, why)
		}
	}
	return v
}

// bytes is a value of n bytes in base64.
func (p *parser) bytes(key string, n int) []byte {
	v := p.take(key)
	return p.decode(key, p.took+len(key)+1, len(v), n, n)
}

// decode reads base64 from text[off:off+size], which must give from least to most bytes.
func (p *parser) decode(what string, off, size, least, most int) []byte {
	if p.err != nil {
		return nil
	}
	if size == 0 {
		p.bad("%q is cut off", what)
		return nil
	}
	if p.blind {
		return nil
	}
	if cap(p.room)-len(p.room) < b64.DecodedLen(size) {
		p.room = make([]byte, 0, b64.DecodedLen(size))
	}
	from := len(p.room)
	n, err := b64.Decode(p.room[from:cap(p.room)], p.raw[off:off+size])
	switch {
	case err != nil, b64.EncodedLen(n) != size: // the decoder passes over a CR
		p.bad("%q is not base64 without padding", what)
	case least == most && n != most:
		p.bad("%q has %d bytes, not %d", what, n, most)
	case n < least || n > most:
		p.bad("%q has %d bytes, not %d to %d", what, n, least, most)
	}
	if p.err != nil {
		return nil
	}
	p.room = p.room[:from+n]
	return p.room[from : from+n : from+n]
}

// extras reads the headers that this version does not know, up to a line for
// which stop is true. They stand behind all known ones.
func (p *parser) extras(stop func(*parser) bool) []Header {
	var extra []Header
	for p.err == nil && !p.end && !stop(p) {
		key := p.key
		twice := slices.ContainsFunc(extra, func(h Header) bool { return h.Key == key })
		switch {
		case p.mustKnow():
		case p.isKnown():
			p.fail(p.start, fmt.Sprintf("has %q twice or out of its order", key))
		case !isKey(key) || p.val == "":
			p.fail(p.start, "has a line that does not belong there")
		case twice:
			p.fail(p.start, "has a header twice")
		case len(extra) == maxExtra:
			p.fail(p.start, fmt.Sprintf("has more than %d headers that are not known here", maxExtra))
		default:
			val := p.take(key)
			if why := textFault(val, maxExtraValue); why != "" {
				p.bad("a header that is not known here %s", why)
			}
			extra = append(extra, Header{key, val})
		}
	}
	return extra
}

// sigs reads sig lines, which are sorted.
func (p *parser) sigs() []Sig {
	var sigs []Sig
	last := ""
	for p.has("sig") {
		v := p.take("sig")
		if p.err != nil {
			return nil
		}
		var s Sig
		var rest string
		s.Member, rest, _ = strings.Cut(v, " ")
		s.Algorithm, s.Value, _ = strings.Cut(rest, " ")
		switch {
		case memberFault(s.Member) != "":
			p.bad("the member of a sig line %s", memberFault(s.Member))
		case tokensFault(s.Algorithm, maxToken) != "" || tokensFault(s.Value, maxExtraValue) != "":
			p.bad("a sig line is not a member, an algorithm and a signature")
		case v <= last:
			p.bad("the sig lines are not sorted, or one is there twice")
		case len(sigs) == maxSigs:
			p.bad("has more than %d sig lines", maxSigs)
		}
		last = v
		sigs = append(sigs, s)
	}
	return sigs
}

// Writing.

func appendLine(b []byte, key, val string) []byte {
	b = append(b, key...)
	b = append(b, ' ')
	b = append(b, val...)
	return append(b, '\n')
}

func appendNumber(b []byte, key string, n uint64) []byte {
	b = append(b, key...)
	b = append(b, ' ')
	b = strconv.AppendUint(b, n, 10)
	return append(b, '\n')
}

func appendPrev(b []byte, n uint64, h Hash) []byte {
	if n == 0 && h == (Hash{}) {
		return b
	}
	b = append(b, "prev "...)
	b = strconv.AppendUint(b, n, 10)
	b = append(b, ' ')
	b = appendHex(b, h[:])
	return append(b, '\n')
}

func appendTime(b []byte, key string, t time.Time) []byte {
	b = append(b, key...)
	b = append(b, ' ')
	b = t.UTC().AppendFormat(b, "2006-01-02T15:04:05Z")
	return append(b, '\n')
}

func appendBytes(b []byte, key string, data []byte) []byte {
	b = append(b, key...)
	b = append(b, ' ')
	b = b64.AppendEncode(b, data)
	return append(b, '\n')
}

func appendExtra(b []byte, extra []Header) []byte {
	for _, h := range extra {
		b = appendLine(b, h.Key, h.Value)
	}
	return b
}

func appendSigs(b []byte, sigs []Sig) []byte {
	for _, s := range sigs {
		b = appendLine(b, "sig", s.Member+" "+s.Algorithm+" "+s.Value)
	}
	return b
}

func appendHex(b []byte, h []byte) []byte {
	const digits = "0123456789abcdef"
	for _, c := range h {
		b = append(b, digits[c>>4], digits[c&15])
	}
	return b
}

// second is t as a file keeps it.
func second(t time.Time) time.Time { return time.Unix(t.Unix(), 0).UTC() }

// readsBack is the check behind every Check and Marshal: that raw, made of
// want, is what a reader accepts and understands as want. So the parser is
// the one place that knows what is allowed, and no text can smuggle in a line.
func readsBack[T any](raw []byte, want *T, parse func([]byte) (*T, error)) error {
	got, err := parse(raw)
	if err != nil {
		return &vault.Error{Kind: vault.KindInvalid, Detail: detailOf(err)}
	}
	if !reflect.DeepEqual(got, want) {
		return &vault.Error{Kind: vault.KindInvalid, Detail: "does not read back as it was written"}
	}
	return nil
}

// must is for the Marshal methods: what cannot be read back is never handed out to be stored.
func must(raw []byte, err error) []byte {
	if err != nil {
		panic("record: marshalling what does not pass Check: " + err.Error())
	}
	return raw
}

// encoded is for the Encode methods.
func encoded(raw []byte, check func([]byte) error) ([]byte, error) {
	if err := check(raw); err != nil {
		return nil, err
	}
	return raw, nil
}

// orNil is s as a parser leaves it: nil if there is none.
func orNil[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return s
}
