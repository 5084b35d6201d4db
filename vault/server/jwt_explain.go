package server

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"envrun/auth/oidc"
	"envrun/vault/guard"
	"envrun/vault/wire"
)

// role/NAME/explain is a dry run of a sign-in, for who sets up a role (auth §6): every
// refused sign-in has the same answer, so that nobody finds out what roles there are and
// what they are bound to. Here each check is told by itself. So it is for those alone
// whose policies give it, as they give reading and writing the role: who asks learns
// whether a token is good, and what the role wants.
//
// It goes through the code of a sign-in, in a transaction that cannot write: no token
// and no entity is made, and a token that can be used once is not used up.

// A walked token is what the preparation of an explanation leaves.
type walked struct {
	jwt      string
	address  netip.Addr // of who would sign in; not valid if nobody says
	warnings []string
	walk     *oidc.Walk
	claims   *oidc.Claims // nil: the token is not of the issuer
	stamp    string       // of the issuer
}

// walk looks at the token as verify does. The keys of the issuer are those of sign-in,
// and so is how often it is asked for them.
func (j jwtMount) walk(ctx context.Context, req *guard.Request) (any, error) {
	in, warnings, err := bodyOf[struct {
		JWT     wire.Token `json:"jwt"`
		Address string     `json:"address"`
	}](req)
	if err != nil {
		return nil, err
	}
	verifier, err := j.verifier(ctx, in.JWT)
	if err != nil {
		return nil, err
	}
	v := &walked{jwt: string(in.JWT), warnings: warnings, stamp: j.m.JWT.Stamp}
	if in.Address != "" {
		if v.address, err = netip.ParseAddr(in.Address); err != nil {
			return nil, bad("'address' is the IP address that would sign in")
		}
	}
	v.walk, v.claims = verifier.Explain(ctx, v.jwt)
	return v, nil
}

// A checkMade is how one check went, as clients are told.
type checkMade struct {
	Check   oidc.Check        `json:"check"`
	Passed  *bool             `json:"passed,omitempty"`
	Skipped bool              `json:"skipped,omitempty"` // nobody looked: a check before it has refused
	Reason  string            `json:"reason,omitempty"`
	Claims  []claimDifference `json:"claims,omitempty"`
}

type claimDifference struct {
	Claim  string `json:"claim"`
	Wanted []any  `json:"wanted,omitempty"` // one of them
	Found  any    `json:"found"`            // null: it is not there
}

// why is the checks in words, for who reads the answer in a table of the vault command,
// which shows lists of objects as no person can read them.
func why(checks []checkMade) string {
	var b strings.Builder
	var passed, skipped []string
	for _, c := range checks {
		switch {
		case c.Skipped:
			skipped = append(skipped, string(c.Check))
		case *c.Passed:
			passed = append(passed, string(c.Check))
		default:
			fmt.Fprintf(&b, "\n  FAILED         %s: %s", c.Check, strings.TrimPrefix(c.Reason, string(c.Check)+": "))
			for _, d := range c.Claims {
				fmt.Fprintf(&b, "\n                 %s", d)
			}
		}
	}
	if len(skipped) > 0 {
		fmt.Fprintf(&b, "\n  not looked at  %s", strings.Join(skipped, ", "))
	}
	if len(passed) > 0 {
		fmt.Fprintf(&b, "\n  passed         %s", strings.Join(passed, ", "))
	}
	return b.String()
}

// String has texts in quotes, so that "1" is not 1.
func (d claimDifference) String() string {
	show := func(v any) string {
		if text, ok := v.(string); ok {
			return `"` + text + `"`
		}
		return fmt.Sprint(v)
	}
	found := "is not there"
	if list, ok := d.Found.([]any); ok {
		found = "is a list of " + each(list, show, ", ")
	} else if d.Found != nil {
		found = "is " + show(d.Found)
	}
	text := printable(d.Claim) + " " + found
	if len(d.Wanted) > 0 {
		text += ", wanted " + each(d.Wanted, show, " or ")
	}
	return text
}

func each(list []any, show func(any) string, between string) string {
	var all []string
	for _, v := range list {
		all = append(all, show(v))
	}
	return strings.Join(all, between)
}

func (j jwtMount) explain(c *call, at []string) (*answer, error) {
	v := c.Prepared().(*walked)
	name := strings.ToLower(at[0])
	role, there, err := j.role(c.Tx(), name, v.stamp)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, errNothing
	}
	bound, err := networks(role.Token.CIDRs)
	if err != nil {
		return nil, err
	}
	warnings := slices.Clone(v.warnings)
	w := v.walk.Clone() // a transaction may be run more than once
	var id *oidc.Identity
	if v.claims != nil {
		id = role.Explain(w, v.claims, j.now(), oidc.DefaultLeeway)
		if role.SingleUse {
			used, err := c.Tx().Used(onceID(v.claims, v.jwt))
			if err != nil {
				return nil, err
			}
			_ = w.Took(oidc.CheckReplay, once(!used))
		}
	}
	switch {
	case v.address.IsValid():
		_ = w.Took(oidc.CheckNetwork, within(bound, v.address))
	case len(bound) > 0:
		warnings = append(warnings, "the role takes clients of some networks only, and nobody said from where the job signs in: address=IP has that looked at")
	}
	data := map[string]any{"role": name, "login": nil}
	outcome := "would be refused"
	if !w.Refused() {
		t, who, more, err := j.expect(c.Tx(), j.m, j.visitor(name, role, id, v.claims))
		if err != nil && statusOf(err) >= http.StatusInternalServerError {
			return nil, err
		}
		if _ = w.Took(oidc.CheckEntity, err); err == nil {
			warnings = append(warnings, more...)
			outcome = fmt.Sprintf("would be let in as %s, for %s, with the policies %s", t.DisplayName, t.TTL, strings.Join(t.All(), ", "))
			data["login"] = map[string]any{
				"alias_name": id.User, "display_name": t.DisplayName, "entity_id": t.EntityID, "groups": who.in(), "metadata": t.Meta,
				"policies": t.All(), "token_policies": t.Policies, "identity_policies": notNull(t.Identity),
				"ttl": secs(t.TTL), "num_uses": t.Uses, "token_bound_cidrs": notNull(role.Token.CIDRs),
			}
		}
	}
	data["allowed"] = !w.Refused()
	var checks []checkMade
	for _, check := range role.Checks(len(bound) > 0) {
		made, err := w.Went(check)
		passed := err == nil
		one := checkMade{Check: check}
		switch {
		case !made:
			one.Skipped = true
		case passed:
			one.Passed = &passed
		default:
			one.Passed, one.Reason = &passed, strings.TrimPrefix(words(err), wire.Denied+": ")
			for _, d := range role.Differences(check, err, v.claims, j.m.JWT.issuer()) {
				one.Claims = append(one.Claims, claimDifference(d))
			}
		}
		checks = append(checks, one)
	}
	data["checks"], data["why"] = checks, outcome+why(checks)
	// A role is warned of when it is written; who has to find out what is wrong with it
	// may be somebody else.
	more, err := role.Check(j.m.JWT.issuer())
	if err != nil {
		more = []string{"the role would not be taken if it were written now: " + err.Error()}
	}
	a := answered(data)
	if mine, err := w.Went(oidc.CheckIssuer); mine && err == nil {
		facts := j.facts(name, v.claims)
		a.Facts = &facts
	}
	return warn(a, slices.Concat(warnings, more)...), nil
}
