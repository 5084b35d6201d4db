package record

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"envrun/vault"
)

// Seal is the checkpoint of an environment: its grants and the versions of its
// secrets at one moment. Who can change the file cannot make one that passes
// its MAC without the key; they can put back an older one, which a machine
// that saw the newer notices by Seq.
type Seal struct {
	Vault    string
	Env      vault.Env
	Gen      uint32
	Seq      uint64 // from 1
	PrevSeq  uint64 // the seal written over; 0 in the first
	PrevHash Hash   // its BodyHash
	By       string
	At       time.Time
	Extra    []Header
	Grants   []SealedGrant // sorted by member
	Entries  []SealedEntry // sorted by path
	MAC      []byte        // over MACInput
	Sigs     []Sig
}

// A SealedGrant is a grant that counts.
type SealedGrant struct {
	Member string
	Hash   ShortHash // of the grant's BodyHash
}

// A SealedEntry is the least version that a secret may have.
type SealedEntry struct {
	Path    vault.Path
	Version uint64
	Hash    Hash // BodyHash of that version
	Deleted bool // that version is a tombstone
}

const sealKeys = " vault env gen seq prev by at grant mac sig "

// ParseSeal reads a seal.
func ParseSeal(raw []byte) (*Seal, error) {
	p := open("seal", sealKeys, raw, MaxSealSize)
	s := p.sealHead()
	if p.err == nil && !p.has("mac") {
		s.Entries = make([]SealedEntry, 0, min(strings.Count(p.text[p.start:], "\n"), MaxSealLines))
	}
	for p.err == nil && !p.end {
		e, ok := parseEntry(p.raw[p.start:p.off-1], p.line())
		if !ok {
			break
		}
		p.took = p.start
		p.pathOf(string(e.Path))
		if n := len(s.Entries); n > 0 && e.Path <= s.Entries[n-1].Path {
			p.bad("the secrets are not sorted by path, or one is there twice")
		} else if n+len(s.Grants) == MaxSealLines {
			p.bad("has more than %d lines of grants and secrets", MaxSealLines)
		}
		s.Entries = append(s.Entries, e)
		p.next()
	}
	s.MAC = p.bytes("mac", macSize)
	s.Sigs = p.sigs()
	if err := p.done(); err != nil {
		return nil, err
	}
	s.Entries = orNil(s.Entries)
	return s, nil
}

// sealHead reads a seal up to its first entry, or its mac line if it has none.
func (p *parser) sealHead() *Seal {
	s := &Seal{
		Vault: p.vaultID(),
		Env:   p.env(),
		Gen:   p.gen("gen"),
		Seq:   p.number("seq", maxNumber),
	}
	s.PrevSeq, s.PrevHash = p.prev("seq", s.Seq)
	s.By = p.member("by")
	s.At = p.time("at")
	s.Extra = p.extras(func(p *parser) bool {
		return p.key == "grant" || p.key == "mac" || isEntry(p.raw[p.start:p.off-1])
	})
	for p.has("grant") && !isEntry(p.raw[p.start:p.off-1]) {
		member, hash, _ := strings.Cut(p.take("grant"), " ")
		g := SealedGrant{Member: member}
		n := len(s.Grants)
		if why := memberFault(member); why != "" {
			p.bad(`the member of a "grant" %s`, why)
		} else if !parseHex(g.Hash[:], hash) {
			p.bad(`the hash of a "grant" is not %d hexadecimal digits in lower case`, 2*len(g.Hash))
		} else if n > 0 && member <= s.Grants[n-1].Member {
			p.bad("the grants are not sorted by member, or one is there twice")
		} else if n == MaxSealLines {
			p.bad("has more than %d lines of grants and secrets", MaxSealLines)
		}
		s.Grants = append(s.Grants, g)
	}
	return s
}

// isEntry tells whether a line has the form of an entry: a word, a number, 32
// hexadecimal digits, and perhaps "deleted". A secret may be at "grant",
// "mac" or the name of a header, so it is the form that tells: a grant has 16
// digits, a mac line has no second space, and a header that we do not know yet
// may not have that form.
func isEntry(line []byte) bool {
	_, ok := parseEntry(line, "")
	return ok
}

// parseEntry reads an entry, whose Path, not yet checked, is a part of text:
// the same line as a string, or "" if the Path is not asked for.
func parseEntry(line []byte, text string) (e SealedEntry, ok bool) {
	name := bytes.IndexByte(line, ' ')
	if name <= 0 {
		return e, false
	}
	rest := line[name+1:]
	space := bytes.IndexByte(rest, ' ')
	if space < 0 {
		return e, false
	}
	version, why := parseNumber(rest[:space])
	if why != "" || version > maxNumber {
		return e, false
	}
	e.Version = version
	hash := rest[space+1:]
	if bytes.HasSuffix(hash, []byte(" deleted")) {
		e.Deleted = true
		hash = hash[:len(hash)-len(" deleted")]
	}
	if !parseHex(e.Hash[:], hash) {
		return e, false
	}
	if text != "" {
		e.Path = vault.Path(text[:name])
	}
	return e, true
}

// MACInput is the text that MAC is over: every line above the mac line. For a
// seal as it was read, SealView.MACInput is cheaper.
func (s *Seal) MACInput() []byte {
	b := make([]byte, 0, 1024+len(s.Grants)*64+len(s.Entries)*80)
	b = append(b, "envrun-seal v1\n"...)
	b = appendLine(b, "vault", s.Vault)
	b = appendLine(b, "env", string(s.Env))
	b = appendNumber(b, "gen", uint64(s.Gen))
	b = appendNumber(b, "seq", s.Seq)
	b = appendPrev(b, s.PrevSeq, s.PrevHash)
	b = appendLine(b, "by", s.By)
	b = appendTime(b, "at", s.At)
	b = appendExtra(b, s.Extra)
	for _, g := range s.Grants {
		b = append(b, "grant "...)
		b = append(b, g.Member...)
		b = append(b, ' ')
		b = appendHex(b, g.Hash[:])
		b = append(b, '\n')
	}
	for _, e := range s.Entries {
		b = append(b, e.Path...)
		b = append(b, ' ')
		b = strconv.AppendUint(b, e.Version, 10)
		b = append(b, ' ')
		b = appendHex(b, e.Hash[:])
		if e.Deleted {
			b = append(b, " deleted"...)
		}
		b = append(b, '\n')
	}
	return b
}

// Marshal writes the file. It panics if s does not pass Check.
func (s *Seal) Marshal() []byte {
	raw := s.marshal()
	return must(raw, s.check(raw))
}

// Encode is Marshal for who cannot be sure: it fails as Check does.
func (s *Seal) Encode() ([]byte, error) { return encoded(s.marshal(), s.check) }

// Check says what of s cannot be written, MAC included: KindInvalid.
func (s *Seal) Check() error { return s.check(s.marshal()) }

func (s *Seal) marshal() []byte { return appendSigs(appendBytes(s.MACInput(), "mac", s.MAC), s.Sigs) }

func (s *Seal) check(raw []byte) error {
	want := *s
	want.At = second(s.At)
	want.Extra, want.Grants, want.Entries, want.Sigs = orNil(s.Extra), orNil(s.Grants), orNil(s.Entries), orNil(s.Sigs)
	return readsBack(raw, &want, ParseSeal)
}

// A SealView is a seal of which only the head has been read. To use a few
// secrets of ten thousand, one splits the seal, checks its MAC, and looks up
// the lines of those.
type SealView struct {
	Head Seal // all but Entries

	text    []byte // the file after the CR rule
	entries int    // where the entries begin
	mac     int    // where the mac line begins, and the entries end
}

// prevLine is the line of a seal where "prev 40 9f86…" may stand, which has the form of an entry.
const prevLine = 6

// SplitSeal reads the head and the MAC of a seal. The view keeps raw, which
// must not be changed.
func SplitSeal(raw []byte) (*SealView, error) {
	if len(raw) > MaxSealSize {
		return nil, open("seal", sealKeys, raw, MaxSealSize).done()
	}
	text, mac, _, err := splitMAC(raw)
	if err != nil {
		return nil, err
	}
	v := &SealView{text: text, mac: mac}
	for n := 1; v.entries < mac; n++ {
		line := text[v.entries : v.entries+bytes.IndexByte(text[v.entries:], '\n')]
		if isEntry(line) && n != prevLine {
			break
		}
		v.entries += len(line) + 1
	}
	p := open("seal", sealKeys, text[:v.entries], MaxSealSize)
	v.Head = *p.sealHead()
	if err := p.done(); err != nil {
		return nil, err
	}
	p = &parser{kind: "seal", before: text[:mac]}
	p.begin(text[mac:])
	v.Head.MAC = p.bytes("mac", macSize)
	v.Head.Sigs = p.sigs()
	if err := p.done(); err != nil {
		return nil, err
	}
	return v, nil
}

// MACInput is the text that Head.MAC is over.
func (v *SealView) MACInput() []byte { return v.text[:v.mac] }

// Lookup finds the entry of one secret, and whether there is one. The MAC must
// have been checked before: the entries are taken to be sorted, as every
// holder of the key writes them.
func (v *SealView) Lookup(path vault.Path) (SealedEntry, bool, error) {
	entries := v.text[v.entries:v.mac]
	lo, hi := 0, len(entries)
	for lo < hi {
		mid := lo + (hi-lo)/2
		start := lo + bytes.LastIndexByte(entries[lo:mid], '\n') + 1
		end := start + bytes.IndexByte(entries[start:], '\n')
		line := entries[start:end]
		name, _, _ := bytes.Cut(line, []byte{' '})
		switch {
		case string(name) < string(path):
			lo = end + 1
		case string(name) > string(path):
			hi = start
		default:
			e, ok := parseEntry(line, "")
			if !ok {
				return SealedEntry{}, false, malformed(1+bytes.Count(v.text[:v.entries+start], []byte{'\n'}), fmt.Sprintf("is not an entry for %s", path))
			}
			e.Path = path
			return e, true, nil
		}
	}
	return SealedEntry{}, false, nil
}

// LookupSeal is SplitSeal and one Lookup, for bytes whose MAC was checked.
func LookupSeal(raw []byte, path vault.Path) (SealedEntry, bool, error) {
	v, err := SplitSeal(raw)
	if err != nil {
		return SealedEntry{}, false, err
	}
	return v.Lookup(path)
}
