package record

import (
	"time"

	"envrun/vault"
)

// Request asks for access to an environment: requests/prod/bob@desktop.req.
// Anybody who can write to the repository can write one or change it: it has
// no MAC, since who asks has no key yet. That is what the check code is for,
// which both sides compute over MACInput and compare over another channel.
type Request struct {
	Vault     string
	Env       vault.Env
	Member    string
	Recipient string // who to wrap the key for, in age's text form
	Reason    string // one line for people, may be empty
	At        time.Time
	Extra     []Header
	Sigs      []Sig
}

const requestKeys = " vault env member recipient reason at mac sig "

// ParseRequest reads a request.
func ParseRequest(raw []byte) (*Request, error) {
	p := open("request", requestKeys, raw, MaxRequestSize)
	r := &Request{
		Vault:     p.vaultID(),
		Env:       p.env(),
		Member:    p.member("member"),
		Recipient: p.take("recipient"),
	}
	if why := tokensFault(r.Recipient, maxExtraValue); why != "" {
		p.bad(`"recipient" %s`, why)
	}
	if p.has("reason") {
		r.Reason = p.note("reason")
	}
	r.At = p.time("at")
	r.Extra = p.extras(func(p *parser) bool { return p.key == "sig" })
	r.Sigs = p.sigs()
	if err := p.done(); err != nil {
		return nil, err
	}
	return r, nil
}

// MACInput is the text that the check code and signatures are over: every line above the sig lines.
func (r *Request) MACInput() []byte {
	b := make([]byte, 0, 1024+len(r.Recipient))
	b = append(b, "envrun-request v1\n"...)
	b = appendLine(b, "vault", r.Vault)
	b = appendLine(b, "env", string(r.Env))
	b = appendLine(b, "member", r.Member)
	b = appendLine(b, "recipient", r.Recipient)
	if r.Reason != "" {
		b = appendLine(b, "reason", r.Reason)
	}
	b = appendTime(b, "at", r.At)
	return appendExtra(b, r.Extra)
}

// Marshal writes the file. It panics if r does not pass Check.
func (r *Request) Marshal() []byte {
	raw := r.marshal()
	return must(raw, r.check(raw))
}

// Check says what of r cannot be written: KindInvalid.
func (r *Request) Check() error { return r.check(r.marshal()) }

func (r *Request) marshal() []byte { return appendSigs(r.MACInput(), r.Sigs) }

func (r *Request) check(raw []byte) error {
	want := *r
	want.At = second(r.At)
	want.Extra, want.Sigs = orNil(r.Extra), orNil(r.Sigs)
	return readsBack(raw, &want, ParseRequest)
}
