package record

import (
	"strconv"
	"strings"
	"time"

	"envrun/vault"
)

// Exposed is what a former member could read: exposed/2026-02-11-bob.list. It
// reminds until each value was replaced at its source. It has no MAC: who can
// change the file can hide a reminder from a new clone, and nothing else.
type Exposed struct {
	Vault   string
	Env     vault.Env
	Member  string    // who could read
	Gen     uint32    // the last generation of the key that they held
	Since   time.Time // when they were let in
	By      string
	At      time.Time
	Extra   []Header
	Entries []ExposedEntry // sorted by path, then version
}

// An ExposedEntry is one version that could be read.
type ExposedEntry struct {
	Path    vault.Path
	Version uint64
}

const exposedKeys = " vault env member gen since by at mac sig "

// ParseExposed reads an exposed list.
func ParseExposed(raw []byte) (*Exposed, error) {
	p := open("exposed", exposedKeys, raw, MaxExposedSize)
	x := &Exposed{
		Vault:  p.vaultID(),
		Env:    p.env(),
		Member: p.member("member"),
		Gen:    p.gen("gen"),
		Since:  p.time("since"),
		By:     p.member("by"),
		At:     p.time("at"),
	}
	// An entry is what is no header: a word and a number. A header that we do
	// not know yet may not have that form.
	x.Extra = p.extras(func(p *parser) bool { return isExposed(p.val) })
	for p.err == nil && !p.end {
		version, why := parseNumber(p.val)
		p.took = p.start
		if why != "" || version > maxNumber {
			p.bad("has a line that is not a path and a version")
			break
		}
		e := ExposedEntry{p.pathOf(p.key), version}
		n := len(x.Entries)
		if n > 0 && !x.Entries[n-1].before(e) {
			p.bad("the secrets are not sorted by path and version, or one is there twice")
		} else if n == MaxExposed {
			p.bad("has more than %d secrets", MaxExposed)
		}
		x.Entries = append(x.Entries, e)
		p.next()
	}
	if err := p.done(); err != nil {
		return nil, err
	}
	return x, nil
}

func isExposed(val string) bool {
	_, why := parseNumber(val)
	return why == ""
}

func (e ExposedEntry) before(o ExposedEntry) bool {
	if c := strings.Compare(string(e.Path), string(o.Path)); c != 0 {
		return c < 0
	}
	return e.Version < o.Version
}

// Marshal writes the file. It panics if x does not pass Check.
func (x *Exposed) Marshal() []byte {
	raw := x.marshal()
	return must(raw, x.check(raw))
}

// Encode is Marshal for who cannot be sure: it fails as Check does.
func (x *Exposed) Encode() ([]byte, error) { return encoded(x.marshal(), x.check) }

// Check says what of x cannot be written: KindInvalid.
func (x *Exposed) Check() error { return x.check(x.marshal()) }

func (x *Exposed) marshal() []byte {
	b := make([]byte, 0, 512+48*len(x.Entries))
	b = append(b, "envrun-exposed v1\n"...)
	b = appendLine(b, "vault", x.Vault)
	b = appendLine(b, "env", string(x.Env))
	b = appendLine(b, "member", x.Member)
	b = appendNumber(b, "gen", uint64(x.Gen))
	b = appendTime(b, "since", x.Since)
	b = appendLine(b, "by", x.By)
	b = appendTime(b, "at", x.At)
	b = appendExtra(b, x.Extra)
	for _, e := range x.Entries {
		b = append(b, e.Path...)
		b = append(b, ' ')
		b = strconv.AppendUint(b, e.Version, 10)
		b = append(b, '\n')
	}
	return b
}

func (x *Exposed) check(raw []byte) error {
	want := *x
	want.At, want.Since = second(x.At), second(x.Since)
	want.Extra, want.Entries = orNil(x.Extra), orNil(x.Entries)
	return readsBack(raw, &want, ParseExposed)
}
