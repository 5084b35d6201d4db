package server

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"

	"envrun/auth/token"
	"envrun/vault"
	"envrun/vault/audit"
	"envrun/vault/guard"
	"envrun/vault/policy"
	"envrun/vault/wire"
)

// policies is the area of policies and of what tokens may do by them.
type policies struct {
	store
	tokens *token.Tokens
	now    func() time.Time
}

func (p policies) area() area {
	byName := func(req *guard.Request, at []string) audit.Data {
		d := audit.Data{Policy: strings.ToLower(cut(at[0], 128))}
		if text, ok := req.Params["policy"].(string); ok {
			sum := sha256.Sum256([]byte(policyText(text)))
			d.PolicySHA256 = hex.EncodeToString(sum[:])
		}
		return d
	}
	return area{
		{path: "policies/acl", list: p.list, read: p.list},
		{path: "policies/acl/{name}", read: p.read, update: p.write, remove: p.remove, note: byName},
		{path: "policy-set", read: p.readSet, update: p.writeSet, private: true, note: noteSet},
		{path: "policy", list: p.listOld, read: p.listOld},
		{path: "policy/{name}", read: p.readOld, update: p.write, remove: p.remove, note: byName},
		{path: "capabilities", update: p.capabilities, looks: true},
		{path: "capabilities-self", update: p.capabilitiesSelf, looks: true},
		{path: "capabilities-accessor", update: p.capabilitiesAccessor, looks: true},
		{path: "internal/ui/resultant-acl", read: p.resultant},
	}
}

func (p policies) names(tx Tx) ([]string, error) {
	names, err := tx.BlobNames(kindPolicy)
	if err != nil {
		return nil, err
	}
	names = append(names, policy.RootName)
	slices.Sort(names)
	return names, nil
}

func (p policies) list(c *call, _ []string) (*answer, error) {
	names, err := p.names(c.Tx())
	if err != nil {
		return nil, err
	}
	return keys(names)
}

func (p policies) listOld(c *call, _ []string) (*answer, error) {
	names, err := p.names(c.Tx())
	if err != nil {
		return nil, err
	}
	return flat(struct {
		Keys     []string `json:"keys"`
		Policies []string `json:"policies"`
	}{names, names}), nil
}

func (p policies) one(c *call, at []string) (name string, r policyRecord, err error) {
	if name, err = policy.Name(at[0]); err != nil {
		return "", r, errNothing
	}
	if name == policy.RootName {
		return name, r, nil
	}
	there, err := p.get(c.Tx(), kindPolicy, name, &r)
	if err == nil && !there {
		err = errNothing
	}
	return name, r, err
}

func (p policies) read(c *call, at []string) (*answer, error) {
	name, r, err := p.one(c, at)
	if err != nil {
		return nil, err
	}
	if r.Version == 0 { // root, and what nobody counted: as Vault answers
		return answered(struct {
			Name   string `json:"name"`
			Policy string `json:"policy"`
		}{name, r.Text}), nil
	}
	out := wire.Policy{Name: name, Policy: r.Text, Version: r.Version, CASRequired: r.CASRequired, AllowSlashes: r.AllowSlashes}
	if !r.Modified.IsZero() {
		out.Modified = &r.Modified
	}
	return answered(out), nil
}

func (p policies) readOld(c *call, at []string) (*answer, error) {
	name, r, err := p.one(c, at)
	if err != nil {
		return nil, err
	}
	return flat(struct {
		Name  string `json:"name"`
		Rules string `json:"rules"`
	}{name, r.Text}), nil
}

// policyText is the text of a policy that may have come as base64.
func policyText(s string) string {
	if raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s)); err == nil && len(raw) > 0 {
		return string(raw)
	}
	return s
}

func (p policies) write(c *call, at []string) (*answer, error) {
	name, err := policy.Name(at[0])
	if err != nil {
		return nil, err
	}
	if name == policy.RootName || name == policy.WrappingName {
		return nil, bad("cannot update %q policy", name)
	}
	in, warnings, err := body[struct {
		wire.PolicyWrite
		Rules string `json:"rules"`
		Name  string `json:"name"`
	}](c)
	if err != nil {
		return nil, err
	}
	text := in.Policy
	if text == "" && in.Rules != "" && strings.HasPrefix(c.Request().Path, "sys/policy/") {
		text, warnings = in.Rules, append(warnings, "'rules' is deprecated, please use 'policy' instead")
	}
	if text == "" {
		return nil, bad("'policy' parameter not supplied or empty")
	}
	text = policyText(text)
	if _, err := policy.Parse(name, text); err != nil {
		return nil, badPolicy(err)
	}
	var old policyRecord
	there, err := p.get(c.Tx(), kindPolicy, name, &old)
	if err != nil {
		return nil, err
	}
	required := in.CASRequired != nil && bool(*in.CASRequired)
	switch {
	case in.CAS == nil && (required || old.CASRequired):
		return nil, bad(wire.CASRequired)
	case in.CAS == nil:
	case *in.CAS == -1 && there:
		return nil, bad("check-and-set parameter set to -1 on existing entry")
	case *in.CAS != -1 && int64(*in.CAS) != old.Version:
		return nil, bad(wire.CASMismatch)
	}
	if in.CASRequired != nil {
		old.CASRequired = required
	}
	if err := p.keep(c.Tx(), name, text, old); err != nil {
		return nil, err
	}
	return done(warnings...), p.changed(c.Tx())
}

// keep writes a text as the next version of a policy.
func (p policies) keep(tx Tx, name, text string, old policyRecord) error {
	old.Text, old.Version, old.Modified = text, old.Version+1, p.now().UTC()
	old.AllowSlashes = old.AllowSlashes || name == policy.DefaultName
	return p.put(tx, kindPolicy, name, old)
}

// badPolicy says what is wrong with a policy as both servers begin such an error.
func badPolicy(err error) error {
	if ve, ok := err.(*vault.Error); ok {
		if ve.Line > 0 {
			return bad("failed to parse policy: line %d: %s", ve.Line, ve.Detail)
		}
		return problem(http.StatusBadRequest, "failed to parse policy: "+ve.Detail)
	}
	return err
}

func (p policies) remove(c *call, at []string) (*answer, error) {
	name, err := policy.Name(at[0])
	if err != nil {
		return done(), nil
	}
	switch name {
	case policy.RootName, policy.WrappingName:
		return nil, bad("cannot delete %q policy", name)
	case policy.DefaultName:
		return nil, bad("cannot delete default policy")
	}
	there, err := p.ring.DeleteSealed(c.Tx(), kindPolicy, name)
	if err != nil || !there {
		return done(), err
	}
	return done(), p.changed(c.Tx())
}

type capabilitiesBody struct {
	Token    wire.Token   `json:"token"`
	Accessor string       `json:"accessor"`
	Paths    wire.Strings `json:"paths"`
	Path     wire.Strings `json:"path"`
}

// capabilities answers for paths what the token, found by the given func, may do.
func (p policies) of(c *call, find func(capabilitiesBody) (*token.Token, error)) (*answer, error) {
	in, warnings, err := body[capabilitiesBody](c)
	if err != nil {
		return nil, err
	}
	paths := in.Paths
	if len(paths) == 0 {
		paths = in.Path
	}
	if len(paths) == 0 {
		return nil, bad("paths must be supplied")
	}
	t, err := find(in)
	if err != nil {
		return nil, err
	}
	acl, err := c.ACLOf(t)
	if err != nil {
		return nil, err
	}
	data := make(map[string]any, len(paths)+1)
	for _, path := range paths {
		data[path] = acl.Capabilities(strings.TrimPrefix(path, "/"))
	}
	if len(paths) == 1 {
		data["capabilities"] = data[paths[0]]
	}
	return warn(flat(data), warnings...), nil
}

func (p policies) capabilitiesSelf(c *call, _ []string) (*answer, error) {
	return p.of(c, func(capabilitiesBody) (*token.Token, error) { return c.Token(), nil })
}

func (p policies) capabilities(c *call, _ []string) (*answer, error) {
	return p.of(c, func(in capabilitiesBody) (*token.Token, error) {
		t, err := p.tokens.Lookup(c.Tx(), string(in.Token))
		if err == token.ErrInvalid {
			err = problem(http.StatusBadRequest, listed("invalid token"))
		}
		return &t, err
	})
}

func (p policies) capabilitiesAccessor(c *call, _ []string) (*answer, error) {
	return p.of(c, func(in capabilitiesBody) (*token.Token, error) {
		t, err := p.tokens.ByAccessor(c.Tx(), in.Accessor)
		return &t, err
	})
}

// resultant is what the token may do, as interfaces draw their menus by it.
func (p policies) resultant(c *call, _ []string) (*answer, error) {
	if c.Token().IsRoot() {
		return answered(map[string]any{"root": true}), nil
	}
	exact, glob := map[string]any{}, map[string]any{}
	for _, name := range c.Token().All() {
		pol, err := p.Policy(c.Tx(), name)
		if err != nil {
			return nil, err
		}
		if pol == nil {
			continue
		}
		for _, r := range pol.Rules {
			if strings.Contains(r.Pattern, "{{") {
				continue // what it comes to depends on who asks
			}
			// Rules of one pattern are one rule, whichever policies they stand in.
			if prefix, star := strings.CutSuffix(r.Pattern, "*"); star || strings.Contains(r.Pattern, "+") {
				glob[prefix] = map[string]any{"capabilities": c.ACL().Capabilities(r.Pattern)}
			} else {
				exact[r.Pattern] = map[string]any{"capabilities": c.ACL().Capabilities(r.Pattern)}
			}
		}
	}
	return answered(map[string]any{"exact_paths": exact, "glob_paths": glob, "root": false}), nil
}
