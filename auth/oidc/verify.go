package oidc

import (
	"context"
	"crypto"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"envrun/auth"
	"envrun/auth/strictjson"
)

// Algorithms are those that a mount may allow. "none" and the symmetric ones are
// not among them: whoever can check a symmetric signature can make one.
var Algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// A Key is one public key of an issuer.
type Key struct {
	ID        string // "" if the issuer gave none
	Algorithm string // "" if it may be used with each that fits
	Public    crypto.PublicKey
}

// Keys is where a Verifier finds the keys of its issuer.
type Keys interface {
	// Find returns the keys that a token with this key id may be signed with, "" for
	// one that names none. A Refusal of ReasonKey says that there is none, one of
	// ReasonIssuerOut that the issuer cannot be asked.
	Find(ctx context.Context, id string) ([]Key, error)
}

// A Verifier checks the tokens of one issuer. It may be used by several goroutines.
type Verifier struct {
	Issuer     string // as iss must be, byte for byte
	Keys       Keys
	Algorithms []string // that are allowed; none: those of Algorithms

	Leeway      time.Duration // for clocks that differ; 0: a minute
	MaxLifetime time.Duration // from iat to exp; 0: 24 hours
	Now         func() time.Time
}

// DefaultLeeway is how much the clocks of issuer and server may differ.
const DefaultLeeway = time.Minute

// DefaultLifetime is the longest life of a token that is taken.
const DefaultLifetime = 24 * time.Hour

func (v *Verifier) leeway() time.Duration {
	if v.Leeway == 0 {
		return DefaultLeeway
	}
	return v.Leeway
}

// Static are keys that an operator wrote down. They have no ids: each is tried.
type Static []Key

// Find returns all of them.
func (s Static) Find(context.Context, string) ([]Key, error) { return s, nil }

// A header is the part of a JWS's protected header that matters here.
type header struct{ alg, kid string }

// Verify checks a token for everything that does not depend on a role. An error is
// a *Refusal.
func (v *Verifier) Verify(ctx context.Context, raw string) (*Claims, error) {
	return v.verify(ctx, raw, nil)
}

func (v *Verifier) verify(ctx context.Context, raw string, w *Walk) (*Claims, error) {
	text, err := parseForm(raw)
	if err = w.needs(CheckForm, err); err != nil {
		return nil, err
	}
	h, err := parseHeader(text)
	if err = w.needs(CheckHeader, err); err != nil {
		return nil, err
	}
	if err = w.needs(CheckAlgorithm, v.algorithm(h)); err != nil {
		return nil, err
	}
	keys, err := v.Keys.Find(ctx, h.kid)
	if err = w.needs(CheckKey, err); err != nil {
		return nil, err
	}
	payload, err := open(raw, h, keys)
	if err = w.needs(CheckSignature, err); err != nil {
		return nil, err
	}
	c, err := parseClaims(payload)
	if err = w.needs(CheckPayload, err); err != nil {
		return nil, err
	}
	c.Algorithm, c.KeyID = h.alg, h.kid
	if err = w.Took(CheckIssuer, v.issuer(c)); err != nil {
		return nil, err
	}
	if err = w.Took(CheckTime, v.times(c)); err != nil {
		return nil, err
	}
	if err = w.Took(CheckKind, c.kind()); err != nil {
		return nil, err
	}
	if err = w.Took(CheckSubject, c.subject()); err != nil {
		return nil, err
	}
	return c, nil
}

func (v *Verifier) algorithm(h header) error {
	allowed := v.Algorithms
	if len(allowed) == 0 {
		allowed = Algorithms
	}
	if !slices.Contains(allowed, h.alg) || !slices.Contains(Algorithms, h.alg) {
		return refuse(ReasonAlgorithm, "the mount does not allow it")
	}
	return nil
}

func (v *Verifier) issuer(c *Claims) error {
	if c.Issuer != v.Issuer {
		return refuse(ReasonIssuer, "it is another one's")
	}
	return nil
}

func (c *Claims) kind() error {
	if _, logout := c.all["events"]; logout {
		return refuse(ReasonKind, "it is no identity token")
	}
	return nil
}

func (c *Claims) subject() error {
	if !auth.Plain(c.Subject, maxSubject) {
		return refuse(ReasonSubject, "sub is too long, or not printable")
	}
	return nil
}

// parseForm takes a JWS in compact form apart, and returns the text of its header.
func parseForm(raw string) ([]byte, error) {
	if len(raw) > MaxToken {
		return nil, refuse(ReasonForm, "it is too long")
	}
	if strings.Count(raw, ".") != 2 {
		return nil, refuse(ReasonForm, "it is not of three parts")
	}
	first, rest, _ := strings.Cut(raw, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	for _, part := range []string{first, payload, signature} {
		if part == "" || strings.ContainsFunc(part, func(r rune) bool {
			return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
		}) {
			if strings.ContainsAny(raw, " \t\r\n") {
				return nil, refuse(ReasonForm, "it has white space in it, or at its end")
			}
			return nil, refuse(ReasonForm, "a part is empty or not base64url")
		}
	}
	text, err := base64.RawURLEncoding.Strict().DecodeString(first)
	if err != nil {
		return nil, refuse(ReasonForm, "its header is not base64url")
	}
	return text, nil
}

// parseHeader reads the header of a JWS.
func parseHeader(text []byte) (header, error) {
	all, err := strictjson.Object(text, strictjson.Limits{Depth: 4, Values: 100})
	if err != nil {
		return header{}, refuse(ReasonHeader, err.Error())
	}
	var h header
	for name, v := range all {
		switch name {
		case "alg":
			h.alg, _ = v.(string)
		case "kid":
			id, ok := v.(string)
			if !ok || !auth.Plain(id, maxKeyID) {
				return header{}, refuse(ReasonHeader, "kid is not a short text")
			}
			h.kid = id
		case "typ":
			if typ, ok := v.(string); !ok || !strings.EqualFold(typ, "JWT") {
				return header{}, refuse(ReasonKind, "its typ is not JWT")
			}
		case "crit", "b64", "zip", "enc", "cty":
			return header{}, refuse(ReasonHeader, name+" is not supported")
		default:
			if foldsToAnother(name) {
				return header{}, refuse(ReasonHeader, "a name differs from a registered one in letter case alone")
			}
			// jku, x5u, x5c and jwk say where keys are. Nobody looks.
		}
	}
	return h, nil
}

// maxTries is how many keys a signature is tried with: an issuer may have two kinds
// of key under one id, and an operator may list keys without ids.
const maxTries = 8

// open checks the signature and returns the payload.
func open(raw string, h header, keys []Key) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(h.alg)})
	if err != nil {
		return nil, refuse(ReasonForm, "it is not a JWS")
	}
	tried := 0
	for _, k := range keys {
		if !fits(h.alg, k) || tried == maxTries {
			continue
		}
		tried++
		if payload, err := jws.Verify(k.Public); err == nil {
			return payload, nil
		}
	}
	if tried == 0 {
		return nil, refuse(ReasonKey, "the issuer has none that fits")
	}
	return nil, refuse(ReasonSignature, "it is not of the issuer's key")
}

func (v *Verifier) times(c *Claims) error {
	now, leeway := v.Now(), v.leeway()
	longest := v.MaxLifetime
	if longest == 0 {
		longest = DefaultLifetime
	}
	switch {
	case c.Expires.IsZero():
		return refuse(ReasonTime, "exp is missing")
	case c.Issued.IsZero():
		return refuse(ReasonTime, "iat is missing")
	case !c.Expires.After(now.Add(-leeway)):
		return refuse(ReasonTime, "it expired "+ago(now.Sub(c.Expires)))
	case c.NotBefore.After(now.Add(leeway)):
		return refuse(ReasonTime, "it is not valid yet, for "+round(c.NotBefore.Sub(now))+": do the clocks agree?")
	case c.Issued.After(now.Add(leeway)):
		return refuse(ReasonTime, "it was made "+round(c.Issued.Sub(now))+" from now: do the clocks agree?")
	case c.Issued.Before(now.Add(-DefaultLifetime)):
		return refuse(ReasonTime, "it was made more than a day ago")
	case c.Expires.Sub(c.Issued) > longest:
		return refuse(ReasonTime, "it is good for longer than the server takes")
	}
	return nil
}

func ago(d time.Duration) string   { return round(d) + " ago" }
func round(d time.Duration) string { return d.Round(time.Second).String() }
