package oidc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"envrun/auth"
)

// Bounds of what a login takes from a token.
const (
	maxGroups    = 1000
	maxGroupName = 256 // bytes
	maxMetaText  = 512 // bytes
)

// A Role says which tokens of its mount's issuer may sign in, and who they are.
// The names of its fields in JSON are Vault's, where Vault has them.
type Role struct {
	Audiences   []string          `json:"bound_audiences"`
	Subject     string            `json:"bound_subject,omitempty"`
	BoundClaims map[string]Values `json:"bound_claims,omitempty"`      // place → values, one of which must match
	BoundType   string            `json:"bound_claims_type,omitempty"` // MatchString if empty
	UserClaim   string            `json:"user_claim"`
	GroupsClaim string            `json:"groups_claim,omitempty"`
	Mappings    map[string]string `json:"claim_mappings,omitempty"` // place → name in the token's metadata

	Parties           []string      `json:"authorized_parties,omitempty"`       // azp, beside the audiences
	MultipleAudiences bool          `json:"allow_multiple_audiences,omitempty"` // tokens that are for others too
	MaxTokenAge       time.Duration `json:"max_token_age,omitempty"`            // since iat; 0: DefaultTokenAge
	MaxAge            time.Duration `json:"max_age,omitempty"`                  // since auth_time; 0: any
	ACR               []string      `json:"acr_values,omitempty"`               // one of which acr must be
	AMR               []string      `json:"amr_values,omitempty"`               // one of which amr must hold
	Nonce             bool          `json:"require_nonce,omitempty"`
	SingleUse         bool          `json:"single_use,omitempty"`
}

// Values are those of a bound claim: texts, whole numbers (json.Number), truth values.
type Values []any

// UnmarshalJSON keeps the digits of numbers.
func (v *Values) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return d.Decode((*[]any)(v))
}

// DefaultTokenAge is how long after it was made a token may be used.
const DefaultTokenAge = time.Hour

// An Identity is who signed in.
type Identity struct {
	User   string            // the user claim: names an alias of the mount's issuer
	Groups []string          // sorted, each once
	Meta   map[string]string // what the role copies
}

// Check says what makes a role of an issuer's mount unusable or unsafe, as an
// error, and what is probably not meant, as warnings.
func (r *Role) Check(issuer string) (warnings []string, err error) {
	switch {
	case r.UserClaim == "":
		return nil, errors.New("a user claim must be defined on the role")
	case len(r.Audiences) == 0:
		return nil, errors.New("the role names no audience (bound_audiences): it would take a token that was made for anybody")
	case r.Subject == "" && len(r.BoundClaims) == 0 && r.GroupsClaim == "" && r.MaxAge == 0 && len(r.ACR) == 0 && len(r.Parties) == 0:
		warnings = append(warnings, "the role is bound to an audience alone: everybody whom the issuer gives tokens can sign in with it")
	case r.MaxTokenAge < 0 || r.MaxAge < 0 || r.MaxTokenAge > DefaultLifetime:
		return nil, errors.New("max_token_age is from 0 to 24h, and max_age not negative")
	}
	switch r.BoundType {
	case "", MatchString, MatchGlob, MatchGlobPath:
	default:
		return nil, fmt.Errorf("bound_claims_type is none of %s, %s, %s", MatchString, MatchGlob, MatchGlobPath)
	}
	for _, place := range r.places() {
		if strings.HasPrefix(place, "/") && strings.Contains(strings.ReplaceAll(strings.ReplaceAll(place, "~0", ""), "~1", ""), "~") {
			return nil, fmt.Errorf("%q is no JSON pointer: ~ is written ~0, and / within a name ~1", place)
		}
	}
	for _, acr := range r.ACR {
		// They are asked for as a list with spaces, and said in a quoted text.
		if acr == "" || len(acr) > maxMetaText || strings.ContainsFunc(acr, func(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '\\' }) {
			return nil, errors.New("acr_values are words of ASCII, without spaces, quotes and backslashes")
		}
	}
	exact := r.Subject != ""
	for place, values := range r.BoundClaims {
		if len(values) == 0 {
			return nil, fmt.Errorf("the bound claim %q has no value", place)
		}
		wild := false
		for _, v := range values {
			switch v := v.(type) {
			case string:
				if r.BoundType == MatchGlob || r.BoundType == MatchGlobPath {
					if err := lintGlob(v); err != nil {
						return nil, fmt.Errorf("bound claim %s: %w", place, err)
					}
					wild = wild || strings.Contains(v, "*")
				}
			case bool:
			case json.Number:
				if _, err := v.Int64(); err != nil {
					return nil, fmt.Errorf("bound claim %s: a number that is not whole is compared by nobody", place)
				}
			default:
				return nil, fmt.Errorf("bound claim %s: values are texts, whole numbers or truth values", place)
			}
		}
		exact = exact || !wild
		if wild && place == "sub" {
			warnings = append(warnings, "sub is bound by a pattern: its form is the platform's to change; bind ids instead")
		}
	}
	if !exact && len(r.BoundClaims) > 0 {
		return nil, errors.New("every bound claim is a pattern: bind one to an exact value, an id that nobody can take over")
	}
	for place, name := range r.Mappings {
		if !auth.Plain(name, 64) {
			return nil, fmt.Errorf("claim_mappings: the name for %s is empty, too long or not printable", place)
		}
	}
	more, err := r.checkPlatform(issuer)
	if err != nil {
		return nil, err
	}
	warnings = append(warnings, more...)
	slices.Sort(warnings)
	return warnings, nil
}

func (r *Role) places() []string {
	all := []string{r.UserClaim, r.GroupsClaim}
	for place := range r.BoundClaims {
		all = append(all, place)
	}
	for place := range r.Mappings {
		all = append(all, place)
	}
	return all
}

// Match says who signs in with a verified token. An error is a *Refusal.
func (r *Role) Match(c *Claims, now time.Time, leeway time.Duration) (*Identity, error) {
	return r.match(c, now, leeway, nil)
}

func (r *Role) match(c *Claims, now time.Time, leeway time.Duration, w *Walk) (*Identity, error) {
	if err := w.Took(CheckAudience, r.audience(c)); err != nil {
		return nil, err
	}
	if err := w.Took(CheckAge, r.age(c, now, leeway)); err != nil {
		return nil, err
	}
	if err := w.Took(CheckNonce, r.nonce(c)); err != nil {
		return nil, err
	}
	if err := w.Took(CheckClaims, r.bound(c)); err != nil {
		return nil, err
	}
	if err := w.Took(CheckFresh, r.fresh(c, now, leeway)); err != nil {
		return nil, err
	}
	id := new(Identity)
	var err error
	id.User, err = r.user(c)
	if err = w.Took(CheckUser, err); err != nil {
		return nil, err
	}
	id.Meta, err = r.metadata(c)
	if err = w.Took(CheckMetadata, err); err != nil {
		return nil, err
	}
	id.Groups, err = r.groups(c)
	if err = w.Took(CheckGroups, err); err != nil {
		return nil, err
	}
	return id, nil
}

// age checks how old the token is.
func (r *Role) age(c *Claims, now time.Time, leeway time.Duration) error {
	age := r.MaxTokenAge
	if age == 0 {
		age = DefaultTokenAge
	}
	if c.Issued.IsZero() {
		return refuse(ReasonTime, "iat is missing")
	}
	if c.Issued.Before(now.Add(-age - leeway)) {
		return refuse(ReasonTime, "it was made "+ago(now.Sub(c.Issued)))
	}
	return nil
}

func (r *Role) nonce(c *Claims) error {
	if _, there := c.all["nonce"]; r.Nonce && !there {
		return refuse(ReasonKind, "it has no nonce")
	}
	return nil
}

func (r *Role) audience(c *Claims) error {
	if !slices.ContainsFunc(c.Audience, func(a string) bool { return slices.Contains(r.Audiences, a) }) {
		return refuse(ReasonAudience, "it is for somebody else")
	}
	mine := func(party string) bool {
		return slices.Contains(r.Audiences, party) || slices.Contains(r.Parties, party)
	}
	_, bound := r.BoundClaims["azp"]
	switch {
	case c.Party != "" && !bound && !mine(c.Party):
		return refuse(ReasonParty, "it was made for another client")
	case len(c.Audience) > 1 && !r.MultipleAudiences && (c.Party == "" || !mine(c.Party)):
		return refuse(ReasonAudience, "it is for others too")
	}
	return nil
}

func (r *Role) bound(c *Claims) error {
	var wrong []string
	if r.Subject != "" && c.Subject != r.Subject {
		wrong = append(wrong, "sub")
	}
	for place, values := range r.BoundClaims {
		v, there := c.At(place)
		list, many := v.([]any)
		if !many {
			list = []any{v}
		}
		if !there || !slices.ContainsFunc(list, func(have any) bool {
			return slices.ContainsFunc(values, func(want any) bool { return r.equal(want, have) })
		}) {
			wrong = append(wrong, place)
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	slices.Sort(wrong)
	return &Refusal{Reason: ReasonClaims, Detail: "claims that the role is bound to do not match", Claims: wrong}
}

// equal compares without changing the kind of anything: "true" is not true, and 1.9
// is not 1.
func (r *Role) equal(want, have any) bool {
	w, texts := want.(string)
	h, ok := have.(string)
	if !texts || !ok {
		if n, ok := have.(json.Number); ok {
			m, ok := want.(json.Number)
			return ok && n.String() == m.String()
		}
		b, ok := have.(bool)
		return ok && want == any(b)
	}
	switch r.BoundType {
	case MatchGlob:
		return matchGlob(w, h, "")
	case MatchGlobPath:
		return matchGlob(w, h, "/:")
	}
	return w == h
}

// fresh checks how and when the person signed in at the issuer.
func (r *Role) fresh(c *Claims, now time.Time, leeway time.Duration) error {
	ask := func(detail string) error {
		return &Refusal{Reason: ReasonFresh, Entitled: true, Detail: detail, MaxAge: int64(r.MaxAge / time.Second), ACR: r.ACR}
	}
	if r.MaxAge > 0 {
		at, err := numericDate(c.all["auth_time"])
		switch {
		case err != nil:
			return ask("it does not say when the person signed in")
		case at.Before(now.Add(-r.MaxAge - leeway)):
			return ask("the person signed in " + ago(now.Sub(at)) + ", and the role asks for " + r.MaxAge.String())
		case at.After(now.Add(leeway)):
			return ask("the person signed in after now: do the clocks agree?")
		}
	}
	if acr, _ := c.all["acr"].(string); len(r.ACR) > 0 && !slices.Contains(r.ACR, acr) {
		return ask("the person did not sign in as strongly as the role asks")
	}
	if amr, _ := c.all["amr"].([]any); len(r.AMR) > 0 && !slices.ContainsFunc(amr, func(v any) bool {
		s, ok := v.(string)
		return ok && slices.Contains(r.AMR, s)
	}) {
		return ask("the person did not sign in by a means that the role asks for")
	}
	return nil
}

// missing refuses a token for a claim that says who signs in.
func missing(place string) error {
	return &Refusal{Reason: ReasonClaims, Entitled: true, Detail: "the claim " + place + " is missing or not of its form"}
}

func (r *Role) user(c *Claims) (string, error) {
	user, ok := word(c, r.UserClaim, maxMetaText)
	if !ok {
		return "", missing(r.UserClaim)
	}
	// Somebody else's address is not who they are.
	if r.UserClaim == "email" {
		if verified, there := c.all["email_verified"]; there && verified != true {
			return "", &Refusal{Reason: ReasonClaims, Entitled: true, Detail: "the issuer did not verify the address (email_verified)"}
		}
	}
	return user, nil
}

// metadata is what the role copies.
func (r *Role) metadata(c *Claims) (map[string]string, error) {
	var meta map[string]string
	for place, name := range r.Mappings {
		text, ok := word(c, place, maxMetaText)
		if !ok {
			return nil, missing(place)
		}
		if meta == nil {
			meta = map[string]string{}
		}
		meta[name] = text
	}
	return meta, nil
}

// word returns a claim as text: a text, a whole number or a truth value.
func word(c *Claims, place string, most int) (string, bool) {
	v, _ := c.At(place)
	switch v := v.(type) {
	case string:
		return v, auth.Plain(v, most)
	case json.Number:
		_, err := v.Int64()
		return v.String(), err == nil
	case bool:
		return fmt.Sprint(v), true
	}
	return "", false
}

// groups are the names of the groups in the token. One that was left out for its
// length is an error: its place says where to fetch the groups, and what a token
// says about places is not followed.
func (r *Role) groups(c *Claims) ([]string, error) {
	if r.GroupsClaim == "" {
		return nil, nil
	}
	wrong := func(detail string) error {
		return &Refusal{Reason: ReasonGroups, Entitled: true, Detail: detail}
	}
	if elsewhere, ok := c.all["_claim_names"].(map[string]any); ok {
		if _, there := elsewhere[strings.TrimPrefix(r.GroupsClaim, "/")]; there {
			return nil, wrong("the list of groups is too long for the token; let the issuer send those of this application alone")
		}
	}
	if _, there := c.all["hasgroups"]; there {
		return nil, wrong("the list of groups is too long for the token; let the issuer send those of this application alone")
	}
	v, there := c.At(r.GroupsClaim)
	if !there {
		return nil, nil
	}
	list, ok := v.([]any)
	if !ok || len(list) > maxGroups {
		return nil, wrong("groups is not a list of at most 1000 names")
	}
	var out []string
	for _, v := range list {
		name, ok := v.(string)
		if !ok || !auth.Plain(name, maxGroupName) {
			return nil, wrong("the name of a group is empty, too long or not printable")
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
