package record

import (
	"time"

	"envrun/vault"
)

// Gen is one generation of an environment's key: keys/0003/gen. Who can change
// the file cannot make one that passes its MAC without the key, nor its chain
// without the key before; a machine that has pinned the key notices both.
type Gen struct {
	Vault       string
	Env         vault.Env
	Gen         uint32 // from 1
	After       uint32 // Gen-1; 0 in generation 1, which has no chain
	By          string
	At          time.Time
	Why         string // one line for people, may be empty
	Fingerprint string // of the key, as people compare it: "7QMX-2K4D-9TRW-XB5N"
	Extra       []Header
	Chain       []byte // MAC over ChainInput under the key of After; nil in generation 1
	MAC         []byte // over MACInput under this generation's key
	Sigs        []Sig
}

const genKeys = " vault env gen after by at why fp chain mac sig "

// ParseGen reads a gen file.
func ParseGen(raw []byte) (*Gen, error) {
	p := open("gen", genKeys, raw, MaxGenSize)
	g := &Gen{
		Vault: p.vaultID(),
		Env:   p.env(),
		Gen:   p.gen("gen"),
	}
	if g.Gen != 1 || p.has("after") {
		if g.After = p.gen("after"); g.After != g.Gen-1 {
			p.bad(`"after" is not the generation before`)
		}
	}
	g.By = p.member("by")
	g.At = p.time("at")
	if p.has("why") {
		g.Why = p.note("why")
	}
	g.Fingerprint = p.take("fp")
	if !isFingerprint(g.Fingerprint) {
		p.bad(`"fp" is not a fingerprint such as 7QMX-2K4D-9TRW-XB5N`)
	}
	g.Extra = p.extras(func(p *parser) bool { return p.key == "chain" || p.key == "mac" })
	if g.Gen != 1 {
		g.Chain = p.bytes("chain", macSize)
	}
	g.MAC = p.bytes("mac", macSize)
	g.Sigs = p.sigs()
	if err := p.done(); err != nil {
		return nil, err
	}
	return g, nil
}

// isFingerprint tells the form; the letters are those of Crockford's base 32.
func isFingerprint(s string) bool {
	if len(s) != 19 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case i%5 == 4:
			if c != '-' {
				return false
			}
		case '0' <= c && c <= '9', 'A' <= c && c <= 'Z' && c != 'I' && c != 'L' && c != 'O' && c != 'U':
		default:
			return false
		}
	}
	return true
}

// ChainInput is the text that Chain is over: every line above the chain line.
func (g *Gen) ChainInput() []byte {
	b := make([]byte, 0, 1024)
	b = append(b, "envrun-gen v1\n"...)
	b = appendLine(b, "vault", g.Vault)
	b = appendLine(b, "env", string(g.Env))
	b = appendNumber(b, "gen", uint64(g.Gen))
	if g.After != 0 {
		b = appendNumber(b, "after", uint64(g.After))
	}
	b = appendLine(b, "by", g.By)
	b = appendTime(b, "at", g.At)
	if g.Why != "" {
		b = appendLine(b, "why", g.Why)
	}
	b = appendLine(b, "fp", g.Fingerprint)
	return appendExtra(b, g.Extra)
}

// MACInput is the text that MAC is over: every line above the mac line, the chain line included.
func (g *Gen) MACInput() []byte {
	b := g.ChainInput()
	if g.Chain != nil {
		b = appendBytes(b, "chain", g.Chain)
	}
	return b
}

// Marshal writes the file. It panics if g does not pass Check.
func (g *Gen) Marshal() []byte {
	raw := g.marshal()
	return must(raw, g.check(raw))
}

// Check says what of g cannot be written, MACs included: KindInvalid.
func (g *Gen) Check() error { return g.check(g.marshal()) }

func (g *Gen) marshal() []byte { return appendSigs(appendBytes(g.MACInput(), "mac", g.MAC), g.Sigs) }

func (g *Gen) check(raw []byte) error {
	want := *g
	want.At = second(g.At)
	want.Extra, want.Chain, want.Sigs = orNil(g.Extra), orNil(g.Chain), orNil(g.Sigs)
	return readsBack(raw, &want, ParseGen)
}
