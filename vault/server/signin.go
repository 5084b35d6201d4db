package server

import (
	"crypto/rand"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"envrun/auth/token"
	"envrun/vault/audit"
	"envrun/vault/guard"
	"envrun/vault/identity"
	"envrun/vault/policy"
	"envrun/vault/wire"
)

// An authEngine is what a type of a way to sign in does.
type authEngine interface {
	engine
	// find makes the action of a request to a mount; rest is what is left of its path.
	find(req *guard.Request, m *mount, rest string) (action, error)
	// stamp is what a role of a mount is now, and whether it is there: a token whose
	// role has another one is not renewed.
	stamp(tx Tx, m *mount, role string) (string, bool, error)
}

// signIns makes the tokens of those who signed in, in whatever way.
type signIns struct {
	store
	tokens *token.Tokens
	hasher *audit.Hasher
	people *people
}

// tokenParams are what the tokens of a role are like: the token_* parameters that
// all ways to sign in have.
type tokenParams struct {
	Policies    []string      `json:"policies,omitempty"`
	TTL         time.Duration `json:"ttl,omitempty"`
	Max         time.Duration `json:"max,omitempty"`
	ExplicitMax time.Duration `json:"explicit_max,omitempty"`
	Period      time.Duration `json:"period,omitempty"`
	NoDefault   bool          `json:"no_default,omitempty"`
	Uses        int           `json:"uses,omitempty"`
	CIDRs       []string      `json:"cidrs,omitempty"`
}

type tokenParamsBody struct {
	TokenPolicies        *wire.Strings  `json:"token_policies"`
	TokenTTL             *wire.Duration `json:"token_ttl"`
	TokenMaxTTL          *wire.Duration `json:"token_max_ttl"`
	TokenExplicitMaxTTL  *wire.Duration `json:"token_explicit_max_ttl"`
	TokenPeriod          *wire.Duration `json:"token_period"`
	TokenNoDefaultPolicy *wire.Bool     `json:"token_no_default_policy"`
	TokenNumUses         *wire.Int      `json:"token_num_uses"`
	TokenBoundCIDRs      *wire.Strings  `json:"token_bound_cidrs"`
	TokenType            *string        `json:"token_type"`

	// The names of before.
	Policies   *wire.Strings  `json:"policies"`
	TTL        *wire.Duration `json:"ttl"`
	MaxTTL     *wire.Duration `json:"max_ttl"`
	Period     *wire.Duration `json:"period"`
	NumUses    *wire.Int      `json:"num_uses"`
	BoundCIDRs *wire.Strings  `json:"bound_cidrs"`
}

func (p *tokenParams) set(in *tokenParamsBody) error {
	set(&p.Policies, policiesOf(in.Policies))
	set(&p.Policies, policiesOf(in.TokenPolicies))
	for _, d := range []struct {
		to   *time.Duration
		from *wire.Duration
	}{
		{&p.TTL, in.TTL}, {&p.TTL, in.TokenTTL}, {&p.Max, in.MaxTTL}, {&p.Max, in.TokenMaxTTL},
		{&p.ExplicitMax, in.TokenExplicitMaxTTL}, {&p.Period, in.Period}, {&p.Period, in.TokenPeriod},
	} {
		set(d.to, (*time.Duration)(d.from))
	}
	for _, n := range []*wire.Int{in.NumUses, in.TokenNumUses} {
		if n != nil {
			p.Uses = int(*n)
		}
	}
	if in.TokenNoDefaultPolicy != nil {
		p.NoDefault = bool(*in.TokenNoDefaultPolicy)
	}
	for _, l := range []*wire.Strings{in.BoundCIDRs, in.TokenBoundCIDRs} {
		set(&p.CIDRs, (*[]string)(l))
	}
	if in.TokenType != nil && !slices.Contains([]string{"", "default", "service", "default-service"}, *in.TokenType) {
		return bad("batch tokens are not supported")
	}
	switch {
	case p.TTL < 0 || p.Max < 0 || p.ExplicitMax < 0 || p.Period < 0 || p.Uses < 0:
		return bad("a time or a number of uses cannot be negative")
	case p.Max > 0 && p.TTL > p.Max:
		return bad("'token_ttl' cannot be greater than 'token_max_ttl'")
	case slices.Contains(p.Policies, policy.RootName), slices.Contains(p.Policies, policy.WrappingName):
		return bad("nobody signs in to the policies %s and %s", policy.RootName, policy.WrappingName)
	case len(p.Policies) > token.MaxPolicies || len(p.CIDRs) > token.MaxCIDRs:
		return bad("a role has at most %d policies and %d networks", token.MaxPolicies, token.MaxCIDRs)
	}
	_, err := networks(p.CIDRs)
	return err
}

// show adds them to how a role is read.
func (p *tokenParams) show(data map[string]any) {
	data["token_policies"], data["token_bound_cidrs"] = notNull(p.Policies), notNull(p.CIDRs)
	data["token_ttl"], data["token_max_ttl"] = secs(p.TTL), secs(p.Max)
	data["token_explicit_max_ttl"], data["token_period"] = secs(p.ExplicitMax), secs(p.Period)
	data["token_no_default_policy"], data["token_num_uses"], data["token_type"] = p.NoDefault, p.Uses, "default"
}

// A visitor is somebody who signed in.
type visitor struct {
	name   string            // at the mount: which user; "" for an application that its role names
	alias  string            // at the mount, for the entity; "" where it is the name
	issuer string            // who vouches for the name and the groups; "" where the server does
	groups []string          // that the issuer says
	meta   map[string]string // what the token says of them
	role   string
	roleAs string // what the token calls the role; "" is "role"
	stamp  string
	params *tokenParams
	facts  audit.Data
}

// admit makes the token of somebody who signed in. It is the only place that does,
// and everything was checked before.
func (s signIns) admit(c *call, m *mount, v visitor) (*answer, error) {
	spec, err := v.spec(m)
	if err != nil {
		return nil, err
	}
	if err := within(spec.CIDRs, c.Request().Addr.Addr()); err != nil {
		return nil, err
	}
	who, err := s.people.signIn(c.Tx(), v.visit(m), s.tokens.Now())
	if err != nil {
		return nil, err
	}
	v.facts.Group = who.external()
	spec.EntityID = who.ID
	text, made, warnings, err := s.tokens.Create(c.Tx(), spec)
	if err != nil {
		return nil, asBad(err)
	}
	made.Identity = who.Given
	a := madeToken(s.tokens.Now(), s.hasher, &made, text, warnings)
	a.Facts = &v.facts
	return a, nil
}

// expect is the token that admit would make for somebody from one of the networks of
// the role, and who they are. It writes nothing. An entity that would be made has no id
// yet.
func (s signIns) expect(tx Tx, m *mount, v visitor) (t token.Token, who visitorOf, warnings []string, err error) {
	spec, err := v.spec(m)
	if err != nil {
		return t, who, nil, err
	}
	who, known, err := s.people.expect(tx, v.visit(m), s.tokens.Now())
	if err != nil {
		return t, who, nil, err
	}
	if known {
		spec.EntityID = who.ID
	}
	if t, warnings, err = s.tokens.Plan(tx, spec); err != nil {
		return t, who, nil, asBad(err)
	}
	t.Identity = who.Given
	return t, who, warnings, nil
}

// within refuses a client from elsewhere than the networks of a role. Nothing of it is
// said but in the audit log.
func within(networks []netip.Prefix, addr netip.Addr) error {
	if t := (token.Token{CIDRs: networks}); !t.From(addr) {
		return &refusal{status: http.StatusForbidden, texts: []string{wire.Denied}, why: "network: the client's address is in none of the role's"}
	}
	return nil
}

// visit is the visitor as vault/identity knows one.
func (v *visitor) visit(m *mount) identity.Visit {
	alias := v.alias
	if alias == "" {
		alias = v.name
	}
	return identity.Visit{Alias: identity.Key{Accessor: m.Accessor, Issuer: v.issuer, Name: alias}, Meta: v.meta, Groups: v.groups}
}

// spec is the visitor's token, but for the entity.
func (v *visitor) spec(m *mount) (token.Spec, error) {
	bound, err := networks(v.params.CIDRs)
	if err != nil {
		return token.Spec{}, err
	}
	meta := map[string]string{}
	for name, text := range v.meta {
		meta[name] = text
	}
	as := v.roleAs
	if as == "" {
		as = "role"
	}
	meta[as] = v.role
	policies := slices.Clone(v.params.Policies)
	if !v.params.NoDefault {
		policies = append(policies, policy.DefaultName)
	}
	longest := m.MaxTTL
	if longest == 0 || v.params.Max > 0 && v.params.Max < longest {
		longest = v.params.Max
	}
	ttl := v.params.TTL
	if ttl == 0 {
		ttl = m.DefaultTTL
	}
	return token.Spec{
		Policies: policies, NoDefault: v.params.NoDefault, Meta: meta,
		DisplayName: cut(strings.TrimSuffix(strings.ReplaceAll(m.Path, "/", "-")+v.name, "-"), token.MaxMetaText),
		Path:        "auth/" + m.Path + "login",
		Login:       token.Login{Mount: m.UUID, Role: v.role, Stamp: v.stamp},
		TTL:         ttl, MaxTTL: longest, ExplicitMax: v.params.ExplicitMax, Period: v.params.Period,
		Renewable: true, Uses: v.params.Uses, CIDRs: bound,
	}, nil
}

// newStamp marks a state of a role.
func newStamp() string { return rand.Text() }

// A rolesOf are the roles of one mount, each a record of its own.
type rolesOf struct {
	store
	kind string // of the records
	m    *mount
}

func (r rolesOf) name(role string) string { return r.m.UUID + "/" + strings.ToLower(role) }

func (r rolesOf) read(tx Tx, role string, v any) (bool, error) {
	return r.get(tx, r.kind, r.name(role), v)
}

func (r rolesOf) has(tx Tx, role string) (bool, error) { return r.store.has(tx, r.kind, r.name(role)) }

func (r rolesOf) write(tx Tx, role string, v any) error { return r.put(tx, r.kind, r.name(role), v) }

func (r rolesOf) remove(tx Tx, role string) error {
	_, err := r.ring.DeleteSealed(tx, r.kind, r.name(role))
	return err
}

func (r rolesOf) all(tx Tx) ([]string, error) {
	names, err := tx.BlobNames(r.kind)
	if err != nil {
		return nil, err
	}
	var mine []string
	for _, n := range names {
		if role, ok := strings.CutPrefix(n, r.m.UUID+"/"); ok {
			mine = append(mine, role)
		}
	}
	return mine, nil
}

func (r rolesOf) drop(tx Tx) error {
	names, err := r.all(tx)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := r.remove(tx, n); err != nil {
			return err
		}
	}
	return nil
}

// renewals says whether the token of somebody who signed in may be given new time:
// the way to sign in is still there, the role is what it was, and the entity is not disabled.
type renewals struct {
	tables  *tables
	engines map[string]authEngine // by type
	people  *people
}

func (r *renewals) check(tx Tx, t *token.Token) error {
	// The guard has done so for who asks; this may be another's token.
	if good, err := r.people.fill(tx, t); err != nil {
		return err
	} else if !good {
		return problem(http.StatusForbidden, "permission denied: the entity of the token is disabled or gone")
	}
	if t.Login == (token.Login{}) {
		return nil
	}
	all, err := r.tables.now(tx)
	if err != nil {
		return err
	}
	for _, m := range all.auth {
		if m.UUID != t.Login.Mount {
			continue
		}
		stamp, there, err := r.engines[m.Type].stamp(tx, m, t.Login.Role)
		if err != nil {
			return err
		}
		if there && stamp == t.Login.Stamp {
			return nil
		}
	}
	return problem(http.StatusForbidden, "permission denied: the role that the token signed in with is not what it was; sign in again")
}
