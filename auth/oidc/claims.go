package oidc

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"envrun/auth/strictjson"
)

// Bounds of a token (auth §4.1).
const (
	MaxToken     = 16 << 10 // bytes of a JWT
	maxKeyID     = 256      // bytes
	maxDepth     = 8        // of nested claims
	maxClaims    = 200      // at the top
	maxValues    = 8192     // of all kinds in one payload; bounded by MaxToken too
	maxSubject   = 255      // bytes
	maxAudiences = 10
	maxTime      = 4_102_444_800 // 2100-01-01
)

// Claims are what a verified token says, with the registered claims checked and
// read. A Claims is never made of a token whose signature was not checked.
type Claims struct {
	Issuer    string
	Subject   string
	Audience  []string
	Party     string // azp, "" if absent
	ID        string // jti, "" if absent
	Expires   time.Time
	Issued    time.Time
	NotBefore time.Time // zero if absent

	Algorithm string
	KeyID     string

	all map[string]any
}

// At returns the claim at a place: the name of one at the top, or a JSON pointer
// (RFC 6901) when it begins with a slash. Numbers are json.Number.
func (c *Claims) At(place string) (any, bool) { return at(c.all, place) }

// Names are the names at the top, sorted: for a dry run that explains a role.
func (c *Claims) Names() []string {
	var names []string
	for name := range c.all {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func at(all map[string]any, place string) (any, bool) {
	if !strings.HasPrefix(place, "/") {
		v, ok := all[place]
		return v, ok
	}
	var v any = all
	for part := range strings.SplitSeq(place[1:], "/") {
		part = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
		switch in := v.(type) {
		case map[string]any:
			next, ok := in[part]
			if !ok {
				return nil, false
			}
			v = next
		case []any:
			n, err := strconv.ParseUint(part, 10, 16)
			if err != nil || strconv.FormatUint(n, 10) != part || n >= uint64(len(in)) {
				return nil, false
			}
			v = in[n]
		default:
			return nil, false
		}
	}
	return v, true
}

// registered are the names whose meaning is fixed (RFC 7519, OpenID Connect Core,
// RFC 9068): no other name may read like one of them.
var registered = []string{
	"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "azp", "nonce", "auth_time", "acr", "amr", "groups", "email", "email_verified",
	"events", "scope", "client_id", "typ", "kid", "alg", "_claim_names", "_claim_sources",
}

// parseClaims reads a payload whose signature was checked.
func parseClaims(payload []byte) (*Claims, error) {
	all, err := strictjson.Object(payload, strictjson.Limits{Depth: maxDepth, Values: maxValues})
	if err != nil {
		return nil, refuse(ReasonPayload, err.Error())
	}
	if len(all) > maxClaims {
		return nil, refuse(ReasonPayload, "it has too many claims")
	}
	for name := range all {
		if foldsToAnother(name) {
			return nil, refuse(ReasonPayload, "the name of a claim differs from a registered one in letter case alone")
		}
	}
	c := &Claims{all: all}
	if c.Issuer, err = text(all, "iss"); err != nil {
		return nil, refuse(ReasonIssuer, err.Error())
	}
	if c.Subject, err = text(all, "sub"); err != nil {
		return nil, refuse(ReasonSubject, err.Error())
	}
	if c.Audience, err = audience(all["aud"]); err != nil {
		return nil, refuse(ReasonAudience, err.Error())
	}
	if c.Party, err = optionalText(all, "azp"); err != nil {
		return nil, refuse(ReasonParty, err.Error())
	}
	if c.ID, err = optionalText(all, "jti"); err != nil {
		return nil, refuse(ReasonPayload, err.Error())
	}
	for name, to := range map[string]*time.Time{"exp": &c.Expires, "iat": &c.Issued, "nbf": &c.NotBefore} {
		v, ok := all[name]
		if !ok {
			continue
		}
		if *to, err = numericDate(v); err != nil {
			return nil, refuse(ReasonTime, name+" "+err.Error())
		}
	}
	return c, nil
}

// foldsToAnother says whether a name is not a registered one but is equal to one
// for a reader that ignores letter case, as encoding/json does, Unicode's long s
// and Kelvin sign included.
func foldsToAnother(name string) bool {
	return slices.ContainsFunc(registered, func(r string) bool { return name != r && strings.EqualFold(name, r) })
}

func text(all map[string]any, name string) (string, error) {
	v, ok := all[name]
	if !ok {
		return "", errors.New(name + " is missing")
	}
	s, ok := v.(string)
	if !ok || s == "" {
		return "", errors.New(name + " is not a text")
	}
	return s, nil
}

func optionalText(all map[string]any, name string) (string, error) {
	if _, ok := all[name]; !ok {
		return "", nil
	}
	return text(all, name)
}

func audience(v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var out []string
	for _, v := range list {
		s, ok := v.(string)
		if !ok || s == "" {
			return nil, errors.New("aud is not a text or a list of texts")
		}
		out = append(out, s)
	}
	if len(out) == 0 || len(out) > maxAudiences {
		return nil, errors.New("aud is empty or too long")
	}
	return out, nil
}

// numericDate reads a NumericDate (RFC 7519 §2) of whole seconds between 1970 and 2100.
func numericDate(v any) (time.Time, error) {
	n, ok := v.(json.Number)
	if !ok {
		return time.Time{}, errors.New("is not a number")
	}
	secs, err := strconv.ParseInt(n.String(), 10, 64)
	if err != nil { // 1.7e9 is whole too
		f, err := strconv.ParseFloat(n.String(), 64)
		if err != nil || f != math.Trunc(f) || math.Abs(f) > maxTime {
			return time.Time{}, errors.New("is not a whole number of seconds")
		}
		secs = int64(f)
	}
	if secs < 0 || secs > maxTime {
		return time.Time{}, errors.New("is out of range")
	}
	return time.Unix(secs, 0), nil
}
