package server

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"envrun/auth/token"
	"envrun/vault/audit"
	"envrun/vault/guard"
	"envrun/vault/policy"
	"envrun/vault/wire"
)

// tokenArea is auth/token/ (server-api §1.5).
type tokenArea struct {
	store
	tokens *token.Tokens
	hasher *audit.Hasher
	mounts *tables
	logins *renewals
	people *people
}

// times are what the mount of tokens is tuned to.
func (t tokenArea) times(tx Tx) (usual, most time.Duration, err error) {
	all, err := t.mounts.now(tx)
	if err != nil {
		return 0, 0, err
	}
	if m := find(all.auth, "token/"); m != nil {
		d, max := m.effective()
		return time.Duration(d) * time.Second, time.Duration(max) * time.Second, nil
	}
	return systemTTL, systemTTL, nil
}

func (t tokenArea) area() area {
	asked := func(req *guard.Request, at []string) audit.Data {
		d := audit.Data{Type: "service"}
		if len(at) > 0 {
			d.Role = cut(at[0], 128)
		}
		switch list := req.Params["policies"].(type) {
		case []any:
			for _, v := range list {
				if s, ok := v.(string); ok && len(d.Policies) < token.MaxPolicies {
					d.Policies = append(d.Policies, cut(s, 128))
				}
			}
		case string:
			d.Policies = []string{cut(list, 1024)}
		}
		return d
	}
	named := func(req *guard.Request, _ []string) audit.Data {
		var d audit.Data
		if s, ok := req.Params["accessor"].(string); ok {
			d.Accessor = t.hasher.Hash(s)
		}
		return d
	}
	role := func(_ *guard.Request, at []string) audit.Data { return audit.Data{Role: cut(at[0], 128)} }
	return area{
		{path: "lookup-self", read: t.lookupSelf, update: t.lookupSelf, looks: true},
		{path: "lookup", update: t.lookup, read: t.lookup, looks: true},
		{path: "lookup-accessor", update: t.lookupAccessor, looks: true, note: named},
		{path: "create", update: t.create, note: asked},
		{path: "create-orphan", update: t.createOrphan, note: asked, sudo: true},
		{path: "create/{role}", update: t.createByRole, note: asked},
		{path: "renew-self", update: t.renewSelf},
		{path: "renew", update: t.renew},
		{path: "renew-accessor", update: t.renewAccessor, note: named},
		{path: "revoke-self", update: t.revokeSelf},
		{path: "revoke", update: t.revoke},
		{path: "revoke-orphan", update: t.revokeOrphan, sudo: true},
		{path: "revoke-accessor", update: t.revokeAccessor, note: named},
		{path: "accessors", list: t.accessors, sudo: true},
		{path: "roles", list: t.roles},
		{path: "roles/{role}", read: t.readRole, update: t.writeRole, remove: t.removeRole, note: role},
	}
}

// info is what looking a token up answers; text is "" for one looked up by its accessor.
func (t tokenArea) info(c *call, tok *token.Token, text string) (*answer, error) {
	if _, err := t.people.fill(c.Tx(), tok); err != nil {
		return nil, err
	}
	now := t.tokens.Now()
	in := wire.TokenInfo{
		Accessor: tok.Accessor, CreationTime: tok.Created.Unix(), CreationTTL: secs(tok.TTL), DisplayName: tok.DisplayName,
		EntityID: tok.EntityID, ExplicitMaxTTL: secs(tok.ExplicitMax), ID: wire.Token(text), IssueTime: wire.Time{Time: tok.Created},
		Meta: tok.Meta, NumUses: int64(tok.Uses), Orphan: tok.Orphan(), Path: tok.Path, Policies: tok.Policies,
		Renewable: tok.Renewable, TTL: secs(tok.Left(now)), Type: "service", Period: secs(tok.Period), Role: tok.Role,
		IdentityPolicies: tok.Identity,
	}
	if !tok.Expires.IsZero() {
		in.ExpireTime = &wire.Time{Time: tok.Expires}
	}
	if !tok.Renewed.IsZero() {
		in.LastRenewal, in.LastRenewalTime = &wire.Time{Time: tok.Renewed}, tok.Renewed.Unix()
	}
	for _, p := range tok.CIDRs {
		in.BoundCIDRs = append(in.BoundCIDRs, p.String())
	}
	a := answered(in)
	a.Facts = &audit.Data{Accessor: t.hasher.Hash(tok.Accessor)}
	return a, nil
}

// secs are whole seconds, rounded up so that a token which is good never has none.
func secs(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

func (t tokenArea) lookupSelf(c *call, _ []string) (*answer, error) {
	return t.info(c, c.Token(), c.Request().Token)
}

func (t tokenArea) lookup(c *call, _ []string) (*answer, error) {
	in, _, err := body[wire.TokenRef](c)
	if err != nil {
		return nil, err
	}
	text := string(in.Token)
	if text == "" {
		text = c.Request().Token
	}
	tok, err := t.tokens.Lookup(c.Tx(), text)
	if errors.Is(err, token.ErrInvalid) {
		return nil, problem(http.StatusForbidden, "bad token")
	}
	if err != nil {
		return nil, err
	}
	if tok.ID == c.Token().ID {
		tok = *c.Token()
	}
	return t.info(c, &tok, text)
}

func (t tokenArea) byAccessor(c *call) (token.Token, wire.TokenRef, error) {
	in, _, err := body[wire.TokenRef](c)
	if err != nil {
		return token.Token{}, in, err
	}
	if in.Accessor == "" {
		return token.Token{}, in, bad("missing accessor")
	}
	tok, err := t.tokens.ByAccessor(c.Tx(), in.Accessor)
	return tok, in, err
}

func (t tokenArea) lookupAccessor(c *call, _ []string) (*answer, error) {
	tok, _, err := t.byAccessor(c)
	if err != nil {
		return nil, err
	}
	return t.info(c, &tok, "")
}

// madeToken is the answer that made or renewed a token.
func madeToken(now time.Time, hasher *audit.Hasher, tok *token.Token, text string, warnings []string) *answer {
	left := secs(tok.Left(now))
	a := warn(&answer{Status: http.StatusOK, Body: &reply{auth: &wire.Auth{
		ClientToken: wire.Token(text), Accessor: tok.Accessor, Policies: tok.All(), TokenPolicies: tok.Policies, IdentityPolicies: tok.Identity,
		Metadata: tok.Meta, LeaseDuration: left, Renewable: tok.Renewable, EntityID: tok.EntityID,
		TokenType: "service", Orphan: tok.Orphan(), NumUses: int64(tok.Uses),
	}}}, warnings...)
	a.Auth = &audit.Auth{
		Accessor: hasher.Hash(tok.Accessor), ClientToken: hasher.Hash(text), DisplayName: tok.DisplayName,
		EntityID: tok.EntityID, Policies: tok.All(), TokenTTL: left, TokenType: "service", RemainingUses: tok.Uses,
	}
	return a
}

var notInNames = regexp.MustCompile(`[^a-zA-Z0-9_-]`)

func (t tokenArea) create(c *call, _ []string) (*answer, error) { return t.make(c, false, nil) }

func (t tokenArea) createOrphan(c *call, _ []string) (*answer, error) { return t.make(c, true, nil) }

func (t tokenArea) createByRole(c *call, at []string) (*answer, error) {
	r, there, err := t.role(c.Tx(), at[0])
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, bad("unknown role %s", cut(at[0], 128))
	}
	return t.make(c, r.Orphan, &r)
}

// make makes a token. What its maker may give it is decided here: no policy that
// the maker does not have, unless the maker is root, or the path asked sudo of it,
// or a role says which.
func (t tokenArea) make(c *call, orphan bool, r *tokenRole) (*answer, error) {
	in, warnings, err := body[wire.TokenCreate](c)
	if err != nil {
		return nil, err
	}
	me := c.Token()
	sudo := me.IsRoot() || c.ACL().Caps(c.Request().Path).Has(policy.Sudo)
	switch {
	case in.ID != "":
		return nil, bad("nobody chooses the text of a token")
	case in.Type == "batch":
		return nil, bad("batch tokens are not supported")
	case in.Type != "" && in.Type != "service" && in.Type != "default-service":
		return nil, bad("invalid 'token_type' value")
	case in.EntityAlias != "":
		return nil, bad("'entity_alias' is only allowed in combination with token role")
	case me.Uses != 0:
		return nil, bad("restricted use token cannot generate child tokens")
	case in.TTL < 0 || in.ExplicitMaxTTL < 0 || in.Period < 0:
		return nil, bad("a time to live cannot be negative")
	}
	if in.NoParent && r == nil {
		if !sudo {
			return nil, bad("root or sudo privileges required to create orphan token")
		}
		orphan = true
	}
	if in.Period > 0 && r == nil && !sudo {
		return nil, bad("root or sudo privileges required to create periodic token")
	}

	asked := token.Policies(in.Policies)
	given, err := t.policies(me, asked, sudo, bool(in.NoDefaultPolicy), r)
	if err != nil {
		return nil, err
	}
	if slices.Contains(given, policy.RootName) {
		if !me.IsRoot() {
			return nil, bad("root tokens may not be created without parent token being root")
		}
		given = []string{policy.RootName}
	}
	for _, name := range given {
		if name == policy.WrappingName {
			return nil, bad("cannot assign policy %q", name)
		}
		there, err := t.hasPolicy(c.Tx(), name)
		if err != nil {
			return nil, err
		}
		if !there {
			warnings = append(warnings, fmt.Sprintf("Policy %q does not exist", cut(name, 128)))
		}
	}

	spec := token.Spec{
		Policies: given, NoDefault: bool(in.NoDefaultPolicy), Meta: in.Meta, DisplayName: "token", Path: "auth/token/create",
		TTL: time.Duration(in.TTL), ExplicitMax: time.Duration(in.ExplicitMaxTTL), Period: time.Duration(in.Period),
		Renewable: in.Renewable == nil || bool(*in.Renewable), Uses: int(in.NumUses), EntityID: me.EntityID,
	}
	if in.DisplayName != "" {
		spec.DisplayName = strings.TrimSuffix("token-"+notInNames.ReplaceAllString(in.DisplayName, "-"), "-")
	}
	if orphan {
		spec.EntityID = ""
	} else {
		spec.Parent = me
	}
	switch {
	case r != nil:
		if err := r.shape(&spec); err != nil {
			return nil, err
		}
		spec.Path += "/" + r.Name
		if r.PathSuffix != "" {
			spec.Path += "/" + r.PathSuffix
		}
	case strings.HasSuffix(c.Request().Path, "create-orphan"):
		spec.Path = "auth/token/create-orphan"
	}
	if spec.DefaultTTL, spec.MaxTTL, err = t.times(c.Tx()); err != nil {
		return nil, err
	}
	text, made, more, err := t.tokens.Create(c.Tx(), spec)
	if err != nil {
		return nil, asBad(err)
	}
	if made.EntityID != "" {
		made.Identity = me.Identity
	}
	return madeToken(t.tokens.Now(), t.hasher, &made, text, append(warnings, more...)), nil
}

// asBad makes an error of the maker's own doing a 400; those of the database stay.
func asBad(err error) error {
	if status, _ := explain(err); status == http.StatusInternalServerError && errors.Unwrap(err) == nil && !errors.Is(err, token.ErrTampered) {
		return problem(http.StatusBadRequest, err.Error())
	}
	return err
}

// policies is what a new token has: what was asked for, as far as its maker may give it.
func (t tokenArea) policies(me *token.Token, asked []string, sudo, noDefault bool, r *tokenRole) ([]string, error) {
	given := asked
	switch {
	case r != nil:
		noDefault = noDefault || r.NoDefault
		var err error
		if given, err = r.allow(me, asked); err != nil {
			return nil, err
		}
	case len(asked) == 0:
		given = slices.Clone(me.Policies)
	case !sudo:
		for _, name := range asked {
			if name != policy.DefaultName && !slices.Contains(me.Policies, name) {
				return nil, bad("child policies must be subset of parent")
			}
		}
	}
	if noDefault {
		return slices.DeleteFunc(slices.Clone(given), func(n string) bool { return n == policy.DefaultName && !slices.Contains(asked, n) }), nil
	}
	if slices.Contains(given, policy.RootName) {
		return given, nil
	}
	return token.Policies(append(slices.Clone(given), policy.DefaultName)), nil
}

func (t tokenArea) renewed(c *call, tok *token.Token, text string, increment wire.Duration) (*answer, error) {
	if err := t.logins.check(c.Tx(), tok); err != nil {
		return nil, err
	}
	warnings, err := t.tokens.Renew(c.Tx(), tok, time.Duration(increment))
	if err != nil {
		return nil, err
	}
	return madeToken(t.tokens.Now(), t.hasher, tok, text, warnings), nil
}

func (t tokenArea) renewSelf(c *call, _ []string) (*answer, error) {
	in, _, err := body[wire.TokenRef](c)
	if err != nil {
		return nil, err
	}
	return t.renewed(c, c.Token(), c.Request().Token, in.Increment)
}

func (t tokenArea) renew(c *call, _ []string) (*answer, error) {
	in, _, err := body[wire.TokenRef](c)
	if err != nil {
		return nil, err
	}
	if in.Token == "" {
		return nil, bad("missing token ID")
	}
	tok, err := t.tokens.Lookup(c.Tx(), string(in.Token))
	if errors.Is(err, token.ErrInvalid) {
		return nil, bad("token not found")
	}
	if err != nil {
		return nil, err
	}
	return t.renewed(c, &tok, string(in.Token), in.Increment)
}

func (t tokenArea) renewAccessor(c *call, _ []string) (*answer, error) {
	tok, in, err := t.byAccessor(c)
	if err != nil {
		return nil, err
	}
	return t.renewed(c, &tok, "", in.Increment)
}

// drop revokes a token and what it kept for itself. The values of the tokens below
// it cannot be reached without them, and go with the next sweep.
func (t tokenArea) drop(c *call, id token.ID) (*answer, error) {
	return done(), t.tokens.Revoke(c.Tx(), id)
}

func (t tokenArea) revokeSelf(c *call, _ []string) (*answer, error) {
	a, err := t.drop(c, c.Token().ID)
	c.Token().Uses = 0 // it is gone: nothing is left to count
	return a, err
}

func (t tokenArea) revoke(c *call, _ []string) (*answer, error) {
	in, _, err := body[wire.TokenRef](c)
	if err != nil {
		return nil, err
	}
	if in.Token == "" {
		return nil, bad("missing token ID")
	}
	return t.drop(c, t.tokens.IDOf(string(in.Token)))
}

func (t tokenArea) revokeOrphan(c *call, _ []string) (*answer, error) {
	in, _, err := body[wire.TokenRef](c)
	if err != nil {
		return nil, err
	}
	tok, err := t.tokens.Lookup(c.Tx(), string(in.Token))
	if errors.Is(err, token.ErrInvalid) {
		return nil, bad("token to revoke not found")
	}
	if err != nil {
		return nil, err
	}
	return done(), t.tokens.RevokeOrphan(c.Tx(), tok.ID)
}

func (t tokenArea) revokeAccessor(c *call, _ []string) (*answer, error) {
	tok, _, err := t.byAccessor(c)
	if errors.Is(err, token.ErrAccessor) {
		return done("No token found with this accessor"), nil
	}
	if err != nil {
		return nil, err
	}
	return t.drop(c, tok.ID)
}

func (t tokenArea) accessors(c *call, _ []string) (*answer, error) {
	all, err := c.Tx().TokenAccessors()
	if err != nil {
		return nil, err
	}
	return keys(all)
}

// networks reads what a token is bound to: networks, or single addresses.
func networks(texts []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range texts {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			addr, err := netip.ParseAddr(s)
			if err != nil {
				return nil, bad("a network that tokens are bound to is not of its form")
			}
			p = netip.PrefixFrom(addr, addr.BitLen())
		}
		out = append(out, p.Masked())
	}
	return out, nil
}
