package record

import (
	"bytes"
	"strings"
	"time"

	"envrun/vault"
)

// Grant is an environment's key wrapped for one member: keys/0003/alice@laptop.grant.
// Who can change the file cannot make one that passes its MAC without the key.
// The wrapped block is not under the MAC: it names its vault, environment,
// generation and member inside.
type Grant struct {
	Vault     string
	Env       vault.Env
	Gen       uint32
	Member    string
	Recipient string // who it is wrapped for, in age's text form; or
	Sealer    string // what it is wrapped by: "aws-kms arn:…". One of both is set
	By        string
	At        time.Time
	Extra     []Header
	MAC       []byte // over MACInput
	Sigs      []Sig
	Wrapped   []byte // an armored block with the newline at its end; age's if Recipient is set
}

const (
	grantKeys = " vault env gen member recipient sealer by at mac sig "
	ageArmor  = "AGE ENCRYPTED FILE"
)

// ParseGrant reads a grant. It checks the form of the wrapped block, not what it says.
func ParseGrant(raw []byte) (*Grant, error) {
	p := open("grant", grantKeys, raw, MaxGrantSize)
	g := &Grant{
		Vault:  p.vaultID(),
		Env:    p.env(),
		Gen:    p.gen("gen"),
		Member: p.member("member"),
	}
	if p.has("sealer") {
		g.Sealer = p.take("sealer")
		if why := tokensFault(g.Sealer, maxExtraValue); why != "" {
			p.bad(`"sealer" %s`, why)
		}
	} else {
		g.Recipient = p.take("recipient")
		if why := tokensFault(g.Recipient, maxExtraValue); why != "" {
			p.bad(`"recipient" %s`, why)
		}
	}
	g.By = p.member("by")
	g.At = p.time("at")
	g.Extra = p.extras(func(p *parser) bool { return p.key == "mac" })
	g.MAC = p.bytes("mac", macSize)
	g.Sigs = p.sigs()
	g.Wrapped = p.armor(g.Recipient != "")
	if err := p.done(); err != nil {
		return nil, err
	}
	return g, nil
}

// armor reads an armored block.
func (p *parser) armor(ageOnly bool) []byte {
	if p.err != nil {
		return nil
	}
	if p.end {
		p.fail(len(p.text)-1, "is cut off: the wrapped key is missing")
		return nil
	}
	begin := p.start
	label, ok := strings.CutPrefix(p.line(), "-----BEGIN ")
	label, end := strings.CutSuffix(label, "-----")
	if !ok || !end || !isLabel(label) || ageOnly && label != ageArmor {
		p.fail(p.start, "has no line that begins a wrapped key")
		return nil
	}
	last := "-----END " + label + "-----"
	none, short := true, false
	for p.next(); p.err == nil && !p.end; p.next() {
		line := p.line()
		if line == last && !none {
			block := bytes.Clone(p.raw[begin:p.off])
			p.next()
			return block
		}
		if short || len(line) > 64 || !isArmor(line) {
			p.fail(p.start, "the wrapped key is not base64 in lines of 64 letters")
		}
		none, short = false, len(line) < 64
	}
	if p.err == nil {
		p.fail(len(p.text)-1, "is cut off: the wrapped key has no end")
	}
	return nil
}

func isLabel(s string) bool {
	for i := range len(s) {
		if s[i] != ' ' && (s[i] < 'A' || s[i] > 'Z') {
			return false
		}
	}
	return s != "" && len(s) <= maxToken
}

func isArmor(s string) bool {
	body := strings.TrimRight(s, "=")
	for i := range len(body) {
		c := body[i]
		if !lowerOrDigit(c) && (c < 'A' || c > 'Z') && c != '+' && c != '/' {
			return false
		}
	}
	return body != "" && len(s)-len(body) <= 2 && len(s)%4 == 0
}

// MACInput is the text that MAC is over: every line above the mac line.
func (g *Grant) MACInput() []byte {
	b := make([]byte, 0, 1024+2*len(g.Recipient)+len(g.Wrapped))
	b = append(b, "envrun-grant v1\n"...)
	b = appendLine(b, "vault", g.Vault)
	b = appendLine(b, "env", string(g.Env))
	b = appendNumber(b, "gen", uint64(g.Gen))
	b = appendLine(b, "member", g.Member)
	if g.Recipient != "" {
		b = appendLine(b, "recipient", g.Recipient)
	}
	if g.Sealer != "" {
		b = appendLine(b, "sealer", g.Sealer)
	}
	b = appendLine(b, "by", g.By)
	b = appendTime(b, "at", g.At)
	return appendExtra(b, g.Extra)
}

// Marshal writes the file. It panics if g does not pass Check.
func (g *Grant) Marshal() []byte {
	raw := g.marshal()
	return must(raw, g.check(raw))
}

// Check says what of g cannot be written, MAC and Wrapped included: KindInvalid.
func (g *Grant) Check() error { return g.check(g.marshal()) }

func (g *Grant) marshal() []byte {
	b := appendBytes(g.MACInput(), "mac", g.MAC)
	b = appendSigs(b, g.Sigs)
	return append(b, g.Wrapped...)
}

func (g *Grant) check(raw []byte) error {
	want := *g
	want.At = second(g.At)
	want.Extra, want.Sigs = orNil(g.Extra), orNil(g.Sigs)
	return readsBack(raw, &want, ParseGrant)
}
