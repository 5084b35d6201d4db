package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"envrun/auth/approle"
	"envrun/auth/token"
	"envrun/vault/audit"
	"envrun/vault/guard"
	"envrun/vault/identity"
	"envrun/vault/wire"
)

// The kinds of records of the approle method.
const (
	kindAppRole   = "approle"    // by the mount's id and the role's name
	kindAppRoleID = "approle-id" // which role has a role id, by the mount's id and a keyed hash
)

// approleEngine is signing in with a role id and a secret id (server-api §1.6): for
// machines that have no identity of their own.
type approleEngine struct {
	signIns
	secrets *approle.Secrets
}

// An appRole is a role as it is kept.
type appRole struct {
	ID       string        `json:"id"`      // never changes; secret ids are kept under it
	RoleID   string        `json:"role_id"` // what machines send
	NoSecret bool          `json:"no_secret,omitempty"`
	CIDRs    []string      `json:"cidrs,omitempty"` // where it is signed in from
	Uses     int           `json:"uses,omitempty"`  // of a secret id; 0: any number
	TTL      time.Duration `json:"ttl,omitempty"`   // of a secret id; 0: no end
	Token    tokenParams   `json:"token"`
	Stamp    string        `json:"stamp"`
}

// An approleName is what a role id leads to.
type approleName struct {
	Role string `json:"role"`
}

// engine: a new mount has nothing.
func (a approleEngine) create(*call, *mount) error { return nil }

func (a approleEngine) drop(c *call, m *mount) error {
	roles := a.roles(m)
	names, err := roles.all(c.Tx())
	if err != nil {
		return err
	}
	for _, name := range names {
		var r appRole
		there, err := roles.read(c.Tx(), name, &r)
		if err != nil {
			return err
		}
		if !there {
			continue
		}
		if err := c.Tx().DeleteSecretIDsOf(r.ID); err != nil {
			return err
		}
	}
	if err := roles.drop(c.Tx()); err != nil {
		return err
	}
	return a.ids(m).drop(c.Tx())
}

func (a approleEngine) roles(m *mount) rolesOf { return rolesOf{a.store, kindAppRole, m} }

func (a approleEngine) ids(m *mount) rolesOf { return rolesOf{a.store, kindAppRoleID, m} }

func (a approleEngine) stamp(tx Tx, m *mount, role string) (string, bool, error) {
	var r appRole
	there, err := a.roles(m).read(tx, role, &r)
	return r.Stamp, there, err
}

func (a approleEngine) find(req *guard.Request, m *mount, rest string) (action, error) {
	return approleMount{a, m}.area().find(req, rest)
}

// approleMount is one mount of the method.
type approleMount struct {
	approleEngine
	m *mount
}

func (a approleMount) area() area {
	// Of ids and accessors of secret ids a keyed hash is recorded.
	hashed := func(req *guard.Request, name string) audit.Hashed {
		if s, _ := req.Params[name].(string); s != "" {
			return a.hasher.Hash(s)
		}
		return audit.Hashed{}
	}
	role := func(req *guard.Request, at []string) audit.Data {
		return audit.Data{Role: cut(strings.ToLower(at[0]), 128), Accessor: hashed(req, "secret_id_accessor")}
	}
	login := func(req *guard.Request, _ []string) audit.Data {
		return audit.Data{Type: "approle", Subject: hashed(req, "role_id")}
	}
	return area{
		{path: "login", update: a.login, open: true, note: login},
		{path: "role", list: a.list},
		{path: "role/{role}", read: a.readRole, update: a.writeRole, remove: a.removeRole, exists: a.hasRole, note: role},
		{path: "role/{role}/role-id", read: a.readRoleID, update: a.writeRoleID, note: role},
		{path: "role/{role}/secret-id", list: a.accessors, update: a.generate, note: role},
		{path: "role/{role}/custom-secret-id", update: a.custom, note: role},
		{path: "role/{role}/secret-id/lookup", update: a.lookup, looks: true, note: role},
		{path: "role/{role}/secret-id/destroy", update: a.destroy, remove: a.destroy, note: role},
		{path: "role/{role}/secret-id-accessor/lookup", update: a.lookupAccessor, looks: true, note: role},
		{path: "role/{role}/secret-id-accessor/destroy", update: a.destroyAccessor, remove: a.destroyAccessor, note: role},
		{path: "tidy/secret-id", update: a.tidy},
	}
}

// login lets a machine in. Each refusal is the same to it, in status and words.
func (a approleMount) login(c *call, _ []string) (*answer, error) {
	in, warnings, err := body[struct {
		RoleID   string `json:"role_id"`
		SecretID string `json:"secret_id"`
	}](c)
	if err != nil {
		return nil, err
	}
	if in.RoleID == "" {
		return nil, bad("missing role_id")
	}
	addr := c.Request().Addr.Addr()
	var r appRole
	var name approleName
	there, err := a.ids(a.m).read(c.Tx(), a.secrets.Hash(a.m.UUID, in.RoleID).String(), &name)
	if err == nil && there {
		there, err = a.roles(a.m).read(c.Tx(), name.Role, &r)
	}
	switch {
	case err != nil:
		return nil, err
	case !there:
		// As much work as where there is one: no row is under the hash.
		if _, err := a.secrets.Find(c.Tx(), "", in.SecretID); err != nil && !refused(err) {
			return nil, err
		}
		return nil, &approle.Refusal{Reason: approle.ReasonRole}
	case !approle.Within(masked(r.CIDRs), addr):
		return nil, &approle.Refusal{Reason: approle.ReasonNetwork}
	}
	v := visitor{alias: in.RoleID, role: name.Role, roleAs: "role_name", stamp: r.Stamp, params: &r.Token}
	v.facts = audit.Data{Role: name.Role, Type: "approle", Subject: a.hasher.Hash(in.RoleID)}
	if !r.NoSecret {
		if in.SecretID == "" {
			return nil, &approle.Refusal{Reason: approle.ReasonMissing}
		}
		sec, err := a.secrets.Find(c.Tx(), r.ID, in.SecretID)
		if err != nil {
			return nil, err
		}
		if !sec.From(addr) {
			return nil, &approle.Refusal{Reason: approle.ReasonBound}
		}
		if err := a.secrets.Use(c.Tx(), sec); err != nil {
			return nil, err
		}
		v.meta = sec.Meta
		if len(sec.TokenCIDRs) > 0 {
			// The role may be for fewer networks than when the secret id was made.
			if inside("token_bound_cidrs", "token_bound_cidrs", sec.TokenCIDRs, r.Token.CIDRs) != nil {
				return nil, &approle.Refusal{Reason: approle.ReasonBound}
			}
			r.Token.CIDRs = sec.TokenCIDRs
		}
		v.facts.TokenID = a.hasher.Hash(sec.Accessor)
	}
	if !approle.Within(masked(r.Token.CIDRs), addr) {
		return nil, &approle.Refusal{Reason: approle.ReasonNetwork}
	}
	made, err := a.admit(c, a.m, v)
	if err != nil {
		return nil, err
	}
	return warn(made, warnings...), nil
}

func refused(err error) bool {
	r := (*approle.Refusal)(nil)
	return errors.As(err, &r)
}

// masked are networks as texts that parse, whatever form they were written in.
func masked(texts []string) []string {
	all, err := networks(texts)
	if err != nil {
		return texts // which match nothing
	}
	out := make([]string, 0, len(all))
	for _, p := range all {
		out = append(out, p.String())
	}
	return out
}

func (a approleMount) list(c *call, _ []string) (*answer, error) {
	names, err := a.roles(a.m).all(c.Tx())
	if err != nil {
		return nil, err
	}
	return keys(names)
}

func (a approleMount) hasRole(tx Tx, at []string) (bool, error) { return a.roles(a.m).has(tx, at[0]) }

// role is that of a request; without is the status of what clients are told if there
// is none.
func (a approleMount) role(c *call, at []string, without int) (r appRole, err error) {
	there, err := a.roles(a.m).read(c.Tx(), at[0], &r)
	if err == nil && !there {
		err = problem(without, fmt.Sprintf("role %q does not exist", cut(strings.ToLower(at[0]), 128)))
	}
	return r, err
}

func (a approleMount) readRole(c *call, at []string) (*answer, error) {
	var r appRole
	there, err := a.roles(a.m).read(c.Tx(), at[0], &r)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, errNothing
	}
	data := map[string]any{
		"bind_secret_id": !r.NoSecret, "local_secret_ids": false, "secret_id_bound_cidrs": r.CIDRs,
		"secret_id_num_uses": r.Uses, "secret_id_ttl": secs(r.TTL),
	}
	r.Token.show(data)
	return answered(data), nil
}

type appRoleBody struct {
	tokenParamsBody
	RoleID     *string        `json:"role_id"`
	Bind       *wire.Bool     `json:"bind_secret_id"`
	CIDRs      *wire.Strings  `json:"secret_id_bound_cidrs"`
	Uses       *wire.Int      `json:"secret_id_num_uses"`
	SecretTTL  *wire.Duration `json:"secret_id_ttl"`
	OldCIDRs   *wire.Strings  `json:"bound_cidr_list"`
	Local      wire.Bool      `json:"local_secret_ids"` // what clients send as it was read
	RoleName   string         `json:"role_name"`
	StrictlyIP wire.Bool      `json:"token_strictly_bind_ip"`
}

// writeRole makes a role, or changes of one what is sent, as clients expect.
func (a approleMount) writeRole(c *call, at []string) (*answer, error) {
	in, warnings, err := body[appRoleBody](c)
	if err != nil {
		return nil, err
	}
	name := strings.ToLower(at[0])
	if len(name) > 128 {
		return nil, bad("the name of a role has at most 128 bytes")
	}
	var r appRole
	there, err := a.roles(a.m).read(c.Tx(), name, &r)
	if err != nil {
		return nil, err
	}
	was := r
	if in.Bind != nil {
		r.NoSecret = !bool(*in.Bind)
	}
	set(&r.CIDRs, (*[]string)(in.OldCIDRs))
	set(&r.CIDRs, (*[]string)(in.CIDRs))
	if in.Uses != nil {
		r.Uses = int(*in.Uses)
	}
	set(&r.TTL, (*time.Duration)(in.SecretTTL))
	if err := r.Token.set(&in.tokenParamsBody); err != nil {
		return nil, err
	}
	switch _, err := networks(r.CIDRs); {
	case err != nil:
		return nil, err
	case bool(in.Local):
		return nil, bad("secret ids are kept for the whole cluster: 'local_secret_ids' is not supported")
	case r.Uses < 0:
		return nil, bad("secret_id_num_uses cannot be negative")
	case r.TTL < 0:
		return nil, bad("'secret_id_ttl' cannot be negative")
	case len(r.CIDRs) > token.MaxCIDRs:
		return nil, bad("a role has at most %d networks", token.MaxCIDRs)
	case r.NoSecret && len(r.CIDRs) == 0:
		return nil, bad("at least one constraint should be enabled on the role")
	}
	if !there {
		r.ID = newUUID()
	}
	roleID := r.RoleID
	if roleID == "" {
		roleID = newUUID()
	}
	if in.RoleID != nil && *in.RoleID != "" {
		roleID = *in.RoleID
	}
	if err := a.setRoleID(c.Tx(), name, &r, roleID); err != nil {
		return nil, err
	}
	warnings = append(warnings, r.unlimited("of this role", r.Uses, r.TTL)...)
	// A role that is written as it is leaves the tokens that it gave renewable.
	if there && reflect.DeepEqual(was, r) {
		return done(warnings...), nil
	}
	r.Stamp = newStamp()
	return done(warnings...), a.roles(a.m).write(c.Tx(), name, &r)
}

// unlimited are the warnings about secret ids that are good for ever.
func (r *appRole) unlimited(whose string, uses int, ttl time.Duration) []string {
	switch {
	case r.NoSecret:
		return []string{"whoever has the role id signs in from the role's networks: no secret id is asked for"}
	case ttl == 0 && uses == 0:
		return []string{"a secret id " + whose + " never expires and may be used any number of times: set secret_id_ttl, and secret_id_num_uses where the machine signs in once"}
	case ttl == 0:
		return []string{"a secret id " + whose + " never expires: set secret_id_ttl"}
	}
	return nil
}

// setRoleID makes a role known by an id that no other of the mount has.
func (a approleMount) setRoleID(tx Tx, name string, r *appRole, id string) error {
	if id == r.RoleID {
		return nil
	}
	if len(id) > identity.MaxName || printable(id) != id {
		return bad("a role id has at most %d bytes, printable", identity.MaxName)
	}
	ids, key := a.ids(a.m), a.secrets.Hash(a.m.UUID, id).String()
	taken, err := ids.has(tx, key)
	if err != nil {
		return err
	}
	if taken {
		return bad("another role has this role_id")
	}
	if r.RoleID != "" {
		if err := ids.remove(tx, a.secrets.Hash(a.m.UUID, r.RoleID).String()); err != nil {
			return err
		}
	}
	r.RoleID = id
	return ids.write(tx, key, approleName{name})
}

func (a approleMount) removeRole(c *call, at []string) (*answer, error) {
	var r appRole
	there, err := a.roles(a.m).read(c.Tx(), at[0], &r)
	if err != nil || !there {
		return done(), err
	}
	if err := c.Tx().DeleteSecretIDsOf(r.ID); err != nil {
		return nil, err
	}
	if err := a.ids(a.m).remove(c.Tx(), a.secrets.Hash(a.m.UUID, r.RoleID).String()); err != nil {
		return nil, err
	}
	return done(), a.roles(a.m).remove(c.Tx(), at[0])
}

func (a approleMount) readRoleID(c *call, at []string) (*answer, error) {
	var r appRole
	there, err := a.roles(a.m).read(c.Tx(), at[0], &r)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, errNothing
	}
	return answered(map[string]any{"role_id": r.RoleID}), nil
}

func (a approleMount) writeRoleID(c *call, at []string) (*answer, error) {
	in, warnings, err := body[struct {
		RoleID string `json:"role_id"`
	}](c)
	if err != nil {
		return nil, err
	}
	r, err := a.role(c, at, http.StatusNotFound)
	if err != nil {
		return nil, err
	}
	if in.RoleID == "" {
		return nil, bad("missing role_id")
	}
	if err := a.setRoleID(c.Tx(), strings.ToLower(at[0]), &r, in.RoleID); err != nil {
		return nil, err
	}
	return done(warnings...), a.roles(a.m).write(c.Tx(), at[0], &r)
}

type secretIDBody struct {
	SecretID   string          `json:"secret_id"` // of custom-secret-id
	Metadata   json.RawMessage `json:"metadata"`  // an object, or a text that is one
	CIDRs      wire.Strings    `json:"cidr_list"`
	TokenCIDRs wire.Strings    `json:"token_bound_cidrs"`
	Uses       *wire.Int       `json:"num_uses"`
	TTL        *wire.Duration  `json:"ttl"`
	RoleName   string          `json:"role_name"`
}

func (a approleMount) generate(c *call, at []string) (*answer, error) {
	return a.add(c, at, func(*secretIDBody) (string, error) { return approle.Text(), nil })
}

// custom keeps a secret id that its maker chose.
func (a approleMount) custom(c *call, at []string) (*answer, error) {
	return a.add(c, at, func(in *secretIDBody) (string, error) {
		switch {
		case in.SecretID == "":
			return "", bad("missing secret_id")
		case len(in.SecretID) > 4096:
			return "", bad("a secret id has at most 4096 bytes")
		}
		return in.SecretID, nil
	})
}

func (a approleMount) add(c *call, at []string, text func(*secretIDBody) (string, error)) (*answer, error) {
	in, warnings, err := body[secretIDBody](c)
	if err != nil {
		return nil, err
	}
	r, err := a.role(c, at, http.StatusNotFound)
	if err != nil {
		return nil, err
	}
	if r.NoSecret {
		return nil, bad("bind_secret_id is not set on the role")
	}
	secret, err := text(&in)
	if err != nil {
		return nil, err
	}
	sec := approle.Secret{Accessor: newUUID(), Role: r.ID, Uses: r.Uses, TTL: r.TTL, CIDRs: in.CIDRs, TokenCIDRs: in.TokenCIDRs}
	if in.Uses != nil {
		sec.Uses = int(*in.Uses)
	}
	set(&sec.TTL, (*time.Duration)(in.TTL))
	// A secret id is no more than its role lets it be.
	switch {
	case sec.Uses < 0:
		return nil, bad("num_uses cannot be negative")
	case sec.TTL < 0:
		return nil, bad("ttl cannot be negative")
	case r.Uses > 0 && (sec.Uses == 0 || sec.Uses > r.Uses):
		return nil, bad("num_uses cannot be higher than the role's secret_id_num_uses")
	case r.TTL > 0 && (sec.TTL == 0 || sec.TTL > r.TTL):
		return nil, bad("ttl cannot be longer than the role's secret_id_ttl")
	}
	if err := inside("cidr_list", "secret_id_bound_cidrs", sec.CIDRs, r.CIDRs); err != nil {
		return nil, err
	}
	if err := inside("token_bound_cidrs", "token_bound_cidrs", sec.TokenCIDRs, r.Token.CIDRs); err != nil {
		return nil, err
	}
	sec.CIDRs, sec.TokenCIDRs = masked(sec.CIDRs), masked(sec.TokenCIDRs)
	if sec.Meta, err = secretMeta(in.Metadata); err != nil {
		return nil, err
	}
	fresh, err := a.secrets.Add(c.Tx(), secret, &sec)
	if err != nil {
		return nil, err
	}
	if !fresh {
		return nil, bad("the role has this secret id already")
	}
	made := answered(map[string]any{
		"secret_id": secret, "secret_id_accessor": sec.Accessor, "secret_id_num_uses": sec.Uses, "secret_id_ttl": secs(sec.TTL),
	})
	made.Body.(*reply).accessor = sec.Accessor
	made.Facts = &audit.Data{Role: cut(strings.ToLower(at[0]), 128), Accessor: a.hasher.Hash(sec.Accessor)}
	if sec.TTL == 0 {
		warnings = append(warnings, r.unlimited("like this one", sec.Uses, 0)...)
	}
	return warn(made, warnings...), nil
}

// inside refuses networks of a secret id that are not within those of its role.
func inside(name, of string, texts, role []string) error {
	some, err := networks(texts)
	if err != nil {
		return err
	}
	outer, err := networks(role)
	if err != nil {
		return err
	}
	if len(some) > token.MaxCIDRs {
		return bad("a secret id has at most %d networks", token.MaxCIDRs)
	}
	for _, p := range some {
		holds := func(o netip.Prefix) bool { return o.Bits() <= p.Bits() && o.Contains(p.Addr()) }
		if len(outer) > 0 && !slices.ContainsFunc(outer, holds) {
			return bad("'%s' is not within the role's '%s'", name, of)
		}
	}
	return nil
}

// secretMeta reads metadata: an object of texts, which most clients send as a text,
// or what is typed at the vault command: "host=h1,zone=a".
func secretMeta(raw json.RawMessage) (map[string]string, error) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		raw = json.RawMessage(text)
		if text != "" && !strings.HasPrefix(strings.TrimSpace(text), "{") {
			raw, _ = json.Marshal(strings.Split(text, ",")) // texts always are JSON
		}
	}
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var meta wire.Pairs
	if json.Unmarshal(raw, &meta) != nil {
		return nil, bad("'metadata' is neither a JSON object of texts nor name=text")
	}
	if len(meta) > token.MaxMeta-1 {
		return nil, bad("a secret id has at most %d entries of metadata", token.MaxMeta-1)
	}
	for k, v := range meta {
		if len(k) > token.MaxMetaText || len(v) > token.MaxMetaText {
			return nil, bad("a key or value of metadata has at most %d bytes", token.MaxMetaText)
		}
	}
	return meta, nil
}

func (a approleMount) accessors(c *call, at []string) (*answer, error) {
	r, err := a.role(c, at, http.StatusBadRequest)
	if err != nil {
		return nil, err
	}
	all, err := c.Tx().SecretIDAccessors(r.ID)
	if err != nil {
		return nil, err
	}
	return keys(all)
}

// ofBody is the secret id that a request names by its text or its accessor.
func (a approleMount) ofBody(c *call, at []string, byAccessor bool) (*approle.Secret, error) {
	in, _, err := body[struct {
		SecretID string `json:"secret_id"`
		Accessor string `json:"secret_id_accessor"`
		RoleName string `json:"role_name"`
	}](c)
	if err != nil {
		return nil, err
	}
	r, err := a.role(c, at, http.StatusNotFound)
	switch {
	case err != nil:
		return nil, err
	case byAccessor && in.Accessor == "":
		return nil, bad("missing secret_id_accessor")
	case byAccessor:
		return a.secrets.ByAccessor(c.Tx(), r.ID, in.Accessor)
	case in.SecretID == "":
		return nil, bad("missing secret_id")
	}
	return a.secrets.Find(c.Tx(), r.ID, in.SecretID)
}

var errNoAccessor = problem(http.StatusNotFound, "failed to find accessor entry for the secret_id_accessor")

func (a approleMount) lookup(c *call, at []string) (*answer, error) {
	sec, err := a.ofBody(c, at, false)
	if refused(err) {
		return done(), nil
	}
	return shownSecret(sec, err)
}

func (a approleMount) lookupAccessor(c *call, at []string) (*answer, error) {
	sec, err := a.ofBody(c, at, true)
	if refused(err) {
		err = errNoAccessor
	}
	return shownSecret(sec, err)
}

func shownSecret(sec *approle.Secret, err error) (*answer, error) {
	if err != nil {
		return nil, err
	}
	meta := sec.Meta
	if meta == nil {
		meta = map[string]string{}
	}
	return answered(map[string]any{
		"cidr_list": notNull(sec.CIDRs), "creation_time": sec.Created, "expiration_time": sec.Expires, "last_updated_time": sec.Updated,
		"metadata": meta, "secret_id_accessor": sec.Accessor, "secret_id_num_uses": sec.Uses, "secret_id_ttl": secs(sec.TTL),
		"token_bound_cidrs": notNull(sec.TokenCIDRs),
	}), nil
}

func (a approleMount) destroy(c *call, at []string) (*answer, error) {
	sec, err := a.ofBody(c, at, false)
	if refused(err) {
		return done(), nil
	}
	return a.gone(c, sec, err)
}

func (a approleMount) destroyAccessor(c *call, at []string) (*answer, error) {
	sec, err := a.ofBody(c, at, true)
	if refused(err) {
		err = errNoAccessor
	}
	return a.gone(c, sec, err)
}

func (a approleMount) gone(c *call, sec *approle.Secret, err error) (*answer, error) {
	if err != nil {
		return nil, err
	}
	return done(), c.Tx().DeleteSecretIDRow(sec.ID)
}

// tidy removes what has expired. The server does by itself, all the time.
func (a approleMount) tidy(c *call, _ []string) (*answer, error) {
	if _, err := c.Tx().ForgetSecretIDs(a.tokens.Now(), 1024); err != nil {
		return nil, err
	}
	made := warn(done(), "Tidy operation successfully started. Any information from the operation will be printed to the server's logs.")
	made.Status = http.StatusAccepted
	return made, nil
}
