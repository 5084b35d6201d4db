package server

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"envrun/auth/token"
	"envrun/vault/policy"
	"envrun/vault/wire"
)

// A tokenRole is what tokens that are made by a role are like.
type tokenRole struct {
	Name            string        `json:"name"`
	Allowed         []string      `json:"allowed,omitempty"`
	AllowedGlobs    []string      `json:"allowed_globs,omitempty"`
	Disallowed      []string      `json:"disallowed,omitempty"`
	DisallowedGlobs []string      `json:"disallowed_globs,omitempty"`
	Orphan          bool          `json:"orphan,omitempty"`
	NotRenewable    bool          `json:"not_renewable,omitempty"`
	PathSuffix      string        `json:"path_suffix,omitempty"`
	Period          time.Duration `json:"period,omitempty"`
	ExplicitMax     time.Duration `json:"explicit_max,omitempty"`
	NoDefault       bool          `json:"no_default,omitempty"`
	Uses            int           `json:"uses,omitempty"`
	CIDRs           []string      `json:"cidrs,omitempty"`
}

type roleBody struct {
	AllowedPolicies        *wire.Strings  `json:"allowed_policies"`
	AllowedPoliciesGlob    *wire.Strings  `json:"allowed_policies_glob"`
	DisallowedPolicies     *wire.Strings  `json:"disallowed_policies"`
	DisallowedPoliciesGlob *wire.Strings  `json:"disallowed_policies_glob"`
	Orphan                 *wire.Bool     `json:"orphan"`
	Renewable              *wire.Bool     `json:"renewable"`
	PathSuffix             *string        `json:"path_suffix"`
	TokenPeriod            *wire.Duration `json:"token_period"`
	Period                 *wire.Duration `json:"period"`
	TokenExplicitMaxTTL    *wire.Duration `json:"token_explicit_max_ttl"`
	ExplicitMaxTTL         *wire.Duration `json:"explicit_max_ttl"`
	TokenNoDefaultPolicy   *wire.Bool     `json:"token_no_default_policy"`
	TokenNumUses           *wire.Int      `json:"token_num_uses"`
	TokenBoundCIDRs        *wire.Strings  `json:"token_bound_cidrs"`
	BoundCIDRs             *wire.Strings  `json:"bound_cidrs"`
	TokenType              *string        `json:"token_type"`
	RoleName               string         `json:"role_name"`
}

func (t tokenArea) role(tx Tx, name string) (r tokenRole, there bool, err error) {
	there, err = t.get(tx, kindRole, strings.ToLower(name), &r)
	return r, there, err
}

func (t tokenArea) roles(c *call, _ []string) (*answer, error) {
	names, err := c.Tx().BlobNames(kindRole)
	if err != nil {
		return nil, err
	}
	return keys(names)
}

func (t tokenArea) readRole(c *call, at []string) (*answer, error) {
	r, there, err := t.role(c.Tx(), at[0])
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, errNothing
	}
	data := map[string]any{
		"allowed_entity_aliases": nil, "allowed_policies": notNull(r.Allowed), "allowed_policies_glob": notNull(r.AllowedGlobs),
		"disallowed_policies": notNull(r.Disallowed), "disallowed_policies_glob": notNull(r.DisallowedGlobs),
		"explicit_max_ttl": 0, "name": r.Name, "orphan": r.Orphan, "path_suffix": r.PathSuffix, "period": 0,
		"renewable": !r.NotRenewable, "token_explicit_max_ttl": secs(r.ExplicitMax), "token_no_default_policy": r.NoDefault,
		"token_period": secs(r.Period), "token_type": "default-service",
	}
	if r.Uses > 0 {
		data["token_num_uses"] = r.Uses
	}
	if len(r.CIDRs) > 0 {
		data["token_bound_cidrs"] = r.CIDRs
	}
	return answered(data), nil
}

func (t tokenArea) writeRole(c *call, at []string) (*answer, error) {
	in, warnings, err := body[roleBody](c)
	if err != nil {
		return nil, err
	}
	name := strings.ToLower(at[0])
	r, _, err := t.role(c.Tx(), name)
	if err != nil {
		return nil, err
	}
	r.Name = name
	set(&r.Allowed, policiesOf(in.AllowedPolicies))
	set(&r.AllowedGlobs, policiesOf(in.AllowedPoliciesGlob))
	set(&r.Disallowed, policiesOf(in.DisallowedPolicies))
	set(&r.DisallowedGlobs, policiesOf(in.DisallowedPoliciesGlob))
	if in.Orphan != nil {
		r.Orphan = bool(*in.Orphan)
	}
	if in.Renewable != nil {
		r.NotRenewable = !bool(*in.Renewable)
	}
	set(&r.PathSuffix, in.PathSuffix)
	for _, d := range []*wire.Duration{in.Period, in.TokenPeriod} {
		set(&r.Period, (*time.Duration)(d))
	}
	for _, d := range []*wire.Duration{in.ExplicitMaxTTL, in.TokenExplicitMaxTTL} {
		set(&r.ExplicitMax, (*time.Duration)(d))
	}
	if in.TokenNoDefaultPolicy != nil {
		r.NoDefault = bool(*in.TokenNoDefaultPolicy)
	}
	if in.TokenNumUses != nil {
		r.Uses = int(*in.TokenNumUses)
	}
	for _, l := range []*wire.Strings{in.BoundCIDRs, in.TokenBoundCIDRs} {
		set(&r.CIDRs, (*[]string)(l))
	}
	switch {
	case r.Period < 0 || r.ExplicitMax < 0 || r.Uses < 0:
		return nil, bad("a time or a number of uses cannot be negative")
	case len(r.PathSuffix) > 128 || strings.Contains(r.PathSuffix, ".."):
		return nil, bad("'path_suffix' is not of its form")
	case in.TokenType != nil && *in.TokenType != "" && *in.TokenType != "service" && *in.TokenType != "default-service":
		return nil, bad("batch tokens are not supported")
	}
	if _, err := networks(r.CIDRs); err != nil {
		return nil, err
	}
	return done(warnings...), t.put(c.Tx(), kindRole, name, r)
}

func (t tokenArea) removeRole(c *call, at []string) (*answer, error) {
	_, err := t.ring.DeleteSealed(c.Tx(), kindRole, strings.ToLower(at[0]))
	return done(), err
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

func policiesOf(l *wire.Strings) *[]string {
	if l == nil {
		return nil
	}
	names := token.Policies(*l)
	return &names
}

// allow is which policies a token that is made by the role has.
func (r *tokenRole) allow(me *token.Token, asked []string) ([]string, error) {
	matches := func(globs []string, name string) bool {
		return slices.ContainsFunc(globs, func(g string) bool {
			ok, err := path.Match(g, name)
			return err == nil && ok
		})
	}
	given := asked
	bounded := len(r.Allowed) > 0 || len(r.AllowedGlobs) > 0
	switch {
	case bounded && len(asked) == 0:
		given = slices.Clone(r.Allowed)
	case bounded:
		for _, name := range asked {
			if name == policy.DefaultName && !r.NoDefault {
				continue
			}
			if !slices.Contains(r.Allowed, name) && !matches(r.AllowedGlobs, name) {
				allowed := slices.Clone(r.Allowed)
				if !r.NoDefault && !slices.Contains(allowed, policy.DefaultName) {
					allowed = append(allowed, policy.DefaultName)
					slices.Sort(allowed)
				}
				return nil, bad("token policies (%s) must be subset of the role's allowed policies (%s) or glob policies (%s)", quoted(asked), quoted(allowed), quoted(r.AllowedGlobs))
			}
		}
	default:
		// A role that names none gives what its user has, and no more.
		if len(asked) == 0 {
			given = slices.Clone(me.Policies)
		}
		for _, name := range given {
			if name != policy.DefaultName && !me.IsRoot() && !slices.Contains(me.Policies, name) {
				return nil, bad("child policies must be subset of parent")
			}
		}
	}
	for _, name := range given {
		if slices.Contains(r.Disallowed, name) || matches(r.DisallowedGlobs, name) {
			return nil, bad("token policy %q is disallowed by this role", name)
		}
	}
	return given, nil
}

func (r *tokenRole) shape(s *token.Spec) (err error) {
	s.Role = r.Name
	if r.NotRenewable {
		s.Renewable = false
	}
	if r.Period > 0 {
		s.Period = r.Period
	}
	if r.ExplicitMax > 0 && (s.ExplicitMax == 0 || r.ExplicitMax < s.ExplicitMax) {
		s.ExplicitMax = r.ExplicitMax
	}
	if r.Uses > 0 && (s.Uses == 0 || r.Uses < s.Uses) {
		s.Uses = r.Uses
	}
	s.CIDRs, err = networks(r.CIDRs)
	return err
}

func quoted(names []string) string { return fmt.Sprintf("%q", names) }
