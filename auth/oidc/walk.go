package oidc

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"envrun/auth"
)

// A Check is one of the ordered checks of a sign-in (auth §4.1), by the name that an
// explanation has for it. A check may refuse for more than one Reason.
type Check string

// The checks, in the order in which they are made. Those from CheckReplay on are of
// whoever signs people in, with what Verify and Match found.
const (
	CheckForm      Check = "form"
	CheckHeader    Check = "header"
	CheckAlgorithm Check = "algorithm"
	CheckKey       Check = "key"
	CheckSignature Check = "signature"
	CheckPayload   Check = "payload"
	CheckIssuer    Check = "issuer"
	CheckTime      Check = "time"
	CheckKind      Check = "kind"
	CheckSubject   Check = "subject"
	CheckAudience  Check = "audience"
	CheckAge       Check = "age"
	CheckNonce     Check = "nonce"
	CheckClaims    Check = "claims"
	CheckFresh     Check = "freshness"
	CheckUser      Check = "user"
	CheckMetadata  Check = "metadata"
	CheckGroups    Check = "groups"
	CheckReplay    Check = "replay"
	CheckNetwork   Check = "network"
	CheckEntity    Check = "entity"
)

var checks = []Check{
	CheckForm, CheckHeader, CheckAlgorithm, CheckKey, CheckSignature, CheckPayload, CheckIssuer, CheckTime, CheckKind, CheckSubject,
	CheckAudience, CheckAge, CheckNonce, CheckClaims, CheckFresh, CheckUser, CheckMetadata, CheckGroups,
	CheckReplay, CheckNetwork, CheckEntity,
}

// Checks are those that a sign-in to the role goes through: without those of which
// it asks nothing.
func (r *Role) Checks(networks bool) []Check {
	return slices.DeleteFunc(slices.Clone(checks), func(c Check) bool {
		switch c {
		case CheckNonce:
			return !r.Nonce
		case CheckClaims:
			return r.Subject == "" && len(r.BoundClaims) == 0
		case CheckFresh:
			return r.MaxAge == 0 && len(r.ACR) == 0 && len(r.AMR) == 0
		case CheckMetadata:
			return len(r.Mappings) == 0
		case CheckGroups:
			return r.GroupsClaim == ""
		case CheckReplay:
			return !r.SingleUse
		case CheckNetwork:
			return !networks
		}
		return false
	})
}

// A Walk is one way of a token through the checks, for whoever sets up a role and has
// to know why somebody does not get in. It goes on after a check that refuses, as far
// as the next ones do not build on it.
//
// The nil Walk is that of a sign-in: it ends at the first refusal, and keeps nothing.
// Both go through the same code.
type Walk struct {
	made map[Check]error // nil: it did not refuse
}

// Took notes how a check went. What it returns ends the way: every refusal that of a
// sign-in, none that of an explanation.
func (w *Walk) Took(c Check, err error) error {
	if w == nil {
		return err
	}
	_ = w.needs(c, err)
	return nil
}

// needs is Took for a check that the next ones build on: a refusal ends every way.
func (w *Walk) needs(c Check, err error) error {
	if w != nil {
		if w.made == nil {
			w.made = map[Check]error{}
		}
		w.made[c] = err
	}
	return err
}

// Clone is a walk that goes on from here by itself.
func (w *Walk) Clone() *Walk {
	return &Walk{made: maps.Clone(w.made)}
}

// Went says whether a check was made, and why it refused; nil if it did not.
func (w *Walk) Went(c Check) (made bool, err error) {
	err, made = w.made[c]
	return made, err
}

// Refused says whether a check that was made refused.
func (w *Walk) Refused() bool {
	for _, err := range w.made {
		if err != nil {
			return true
		}
	}
	return false
}

// Explain is Verify that notes how each check went. The claims are nil if the token
// is not one of the issuer's keys: nobody else's words are looked at any further.
func (v *Verifier) Explain(ctx context.Context, raw string) (*Walk, *Claims) {
	w := new(Walk)
	c, err := v.verify(ctx, raw, w)
	if err != nil {
		return w, nil
	}
	return w, c
}

// Explain is Match that notes how each check went. The identity is that of somebody
// who signs in only if the walk was not Refused.
func (r *Role) Explain(w *Walk, c *Claims, now time.Time, leeway time.Duration) *Identity {
	id, err := r.match(c, now, leeway, w)
	if err != nil {
		return nil
	}
	return id
}

// A Difference is a claim that is not what it has to be. Values are truth values,
// numbers and short texts in which all that stands there is seen.
type Difference struct {
	Claim  string // its place
	Wanted []any  // one of these; nil if there is another rule
	Found  any    // nil if it is not there; else as Wanted, or a list of such
}

// Differences are the claims for which a check refused a token of the issuer, of which
// it can be said what is wanted. Issuer is that of the mount.
func (r *Role) Differences(check Check, err error, c *Claims, issuer string) []Difference {
	var all []Difference
	add := func(place string, wanted ...any) {
		for i, v := range wanted {
			wanted[i] = shown(v, false)
		}
		v, _ := c.At(place)
		all = append(all, Difference{place, wanted, shown(v, true)})
	}
	refusal, _ := err.(*Refusal)
	switch {
	case refusal == nil || c == nil:
	case check == CheckIssuer:
		add("iss", issuer)
	case check == CheckAudience && refusal.Reason == ReasonParty:
		add("azp", anys(slices.Concat(r.Audiences, r.Parties))...)
	case check == CheckAudience:
		add("aud", anys(r.Audiences)...)
	case check == CheckClaims:
		for _, place := range refusal.Claims {
			if values, bound := r.BoundClaims[place]; bound {
				add(place, slices.Clone(values)...)
			} else {
				add(place, r.Subject)
			}
		}
	case check == CheckFresh:
		if len(r.ACR) > 0 {
			add("acr", anys(r.ACR)...)
		}
		if len(r.AMR) > 0 {
			add("amr", anys(r.AMR)...)
		}
		if r.MaxAge > 0 {
			add("auth_time")
		}
	case check == CheckUser:
		add(r.UserClaim)
	}
	return all
}

func anys(texts []string) []any {
	all := make([]any, len(texts))
	for i, t := range texts {
		all[i] = t
	}
	return all
}

// Bounds of what is shown of a claim that was found.
const (
	maxShownText = 128 // bytes
	maxShownList = 8
)

// shown is as much of a claim as tells what is wrong with it. list says whether one
// is shown, or only that it is one.
func shown(v any, list bool) any {
	switch v := v.(type) {
	case nil, bool:
		return v
	case json.Number:
		if len(v) > maxShownText {
			return "a number of " + fmt.Sprint(len(v)) + " digits"
		}
		return v
	case string:
		return excerpt(v)
	case []any:
		if !list {
			return "a list"
		}
		some := []any{}
		for _, e := range v[:min(len(v), maxShownList)] {
			some = append(some, shown(e, false))
		}
		if more := len(v) - maxShownList; more > 0 {
			some = append(some, fmt.Sprintf("and %d more", more))
		}
		return some
	}
	return "an object"
}

// excerpt is the beginning of a text; what does not show as what it is, is written out.
func excerpt(text string) string {
	if auth.Plain(text, maxShownText) || text == "" {
		return text
	}
	more := ""
	if len(text) > maxShownText {
		text, more = text[:maxShownText], "…"
	}
	quoted := fmt.Sprintf("%+q", text)
	return quoted[1:len(quoted)-1] + more
}
