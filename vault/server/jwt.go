package server

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"envrun/auth"
	"envrun/auth/oidc"
	"envrun/vault/audit"
	"envrun/vault/guard"
	"envrun/vault/wire"
)

// The kinds of records of the jwt method.
const (
	kindJWTRole = "jwt-role" // by the mount's id and the role's name
	kindJWKS    = "jwks"     // what was fetched of an issuer, by the mount's id
)

// jwtEngine is signing in with an identity token (server-api §1.6, auth §4): a mount
// fixes one issuer, where its keys are and which algorithms are taken; a role says
// what a token has to claim, and what is given for it.
type jwtEngine struct {
	signIns
	db      guard.DB[Tx]
	issuers *issuers
	logger  *slog.Logger
	now     func() time.Time
}

// A jwtConfig is the issuer of a mount. It is a part of the mount's record.
type jwtConfig struct {
	Stamp       string   `json:"stamp"` // another one each time it is written
	Discovery   string   `json:"discovery,omitempty"`
	DiscoveryCA string   `json:"discovery_ca,omitempty"`
	JWKSURL     string   `json:"jwks_url,omitempty"`
	JWKSCA      string   `json:"jwks_ca,omitempty"`
	PublicKeys  []string `json:"public_keys,omitempty"`
	Issuer      string   `json:"issuer,omitempty"`
	DefaultRole string   `json:"default_role,omitempty"`
	Algorithms  []string `json:"algorithms,omitempty"`
	ClientID    string   `json:"client_id,omitempty"` // of the program that people sign in with; "": they do not
	Scopes      []string `json:"scopes,omitempty"`    // that it asks for, beside openid
	Flows       []string `json:"flows,omitempty"`     // that it may use; none: all of signInFlows

	AllowPrivate bool          `json:"allow_private,omitempty"`
	Hosts        []string      `json:"hosts,omitempty"`
	MaxStale     time.Duration `json:"max_stale,omitempty"`
}

// issuer is what iss has to be.
func (c *jwtConfig) issuer() string {
	if c.Issuer != "" {
		return c.Issuer
	}
	return c.Discovery
}

// A jwtRole is a role as it is kept.
type jwtRole struct {
	oidc.Role
	Token       tokenParams `json:"token"`
	Stamp       string      `json:"stamp"`
	Listed      bool        `json:"listed,omitempty"` // sys/sign-in names it to everybody
	Description string      `json:"description,omitempty"`
}

// issuers are the keys of the issuers of all mounts, as far as they are in use.
type issuers struct {
	mu      sync.Mutex
	byMount map[string]*issuer
}

// An issuer is that of one mount, as one state of its configuration has it.
type issuer struct {
	stamp    string
	verifier *oidc.Verifier
	keys     *oidc.KeySet // nil: they are in the configuration
}

func (i *issuers) get(id, stamp string) *issuer {
	i.mu.Lock()
	defer i.mu.Unlock()
	if is := i.byMount[id]; is != nil && is.stamp == stamp {
		return is
	}
	return nil
}

// keep makes it the one that is used, unless another goroutine was there before.
func (i *issuers) keep(id string, is *issuer) *issuer {
	i.mu.Lock()
	defer i.mu.Unlock()
	if was := i.byMount[id]; was != nil && was.stamp == is.stamp {
		return was
	}
	i.byMount[id] = is
	return is
}

func (i *issuers) drop(id string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.byMount, id)
}

// issuer is that of a mount, with the keys that were fetched before the server was
// started again.
func (j jwtEngine) issuer(ctx context.Context, m *mount) (*issuer, error) {
	if is := j.issuers.get(m.UUID, m.JWT.Stamp); is != nil {
		return is, nil
	}
	var saved *oidc.Saved
	if len(m.JWT.PublicKeys) == 0 {
		err := j.db.Read(ctx, func(tx Tx) error {
			was := new(oidc.Saved)
			there, err := j.get(tx, kindJWKS, m.UUID, was)
			if there {
				saved = was
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	is, err := j.open(m.UUID, m.JWT, saved)
	if err != nil {
		return nil, err
	}
	return j.issuers.keep(m.UUID, is), nil
}

// open makes the issuer that a configuration describes. It asks nobody.
func (j jwtEngine) open(id string, c *jwtConfig, saved *oidc.Saved) (*issuer, error) {
	is := &issuer{stamp: c.Stamp, verifier: &oidc.Verifier{Issuer: c.issuer(), Algorithms: c.Algorithms, Now: j.now}}
	if len(c.PublicKeys) > 0 {
		var all oidc.Static
		for _, text := range c.PublicKeys {
			keys, err := oidc.ParsePEM(text)
			if err != nil {
				return nil, bad("error parsing public key: %s", err)
			}
			all = append(all, keys...)
		}
		is.verifier.Keys = all
		return is, nil
	}
	from := oidc.Source{
		Issuer: c.Discovery, JWKSURL: c.JWKSURL, AllowPrivate: c.AllowPrivate, Hosts: c.Hosts, MaxStale: c.MaxStale, Now: j.now,
		Save: func(s oidc.Saved) {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := j.db.Write(ctx, func(tx Tx) error { return j.put(tx, kindJWKS, id, s) }); err != nil {
				j.logger.Warn("the keys of an issuer could not be kept for the next start", "issuer", c.issuer(), "error", err)
			}
		},
		Failed: func(err error) {
			j.logger.Warn("the keys of an issuer could not be fetched", "issuer", c.issuer(), "error", err)
		},
	}
	if from.Issuer == "" {
		from.Issuer = c.Issuer
	}
	if ca := c.DiscoveryCA + c.JWKSCA; ca != "" {
		from.Roots = x509.NewCertPool()
		if !from.Roots.AppendCertsFromPEM([]byte(ca)) {
			return nil, bad("the certificate authority of the issuer is no certificate in PEM")
		}
	}
	is.keys = oidc.NewKeySet(from, saved)
	is.verifier.Keys = is.keys
	return is, nil
}

// engine: nothing is made until the mount is configured.
func (j jwtEngine) create(*call, *mount) error { return nil }

func (j jwtEngine) drop(c *call, m *mount) error {
	j.issuers.drop(m.UUID)
	if _, err := j.ring.DeleteSealed(c.Tx(), kindJWKS, m.UUID); err != nil {
		return err
	}
	return j.roles(m).drop(c.Tx())
}

func (j jwtEngine) roles(m *mount) rolesOf { return rolesOf{j.store, kindJWTRole, m} }

func (j jwtEngine) stamp(tx Tx, m *mount, role string) (string, bool, error) {
	var r jwtRole
	there, err := j.roles(m).read(tx, role, &r)
	return stampOf(m, &r), there && m.JWT != nil, err
}

// stampOf is that of the role and of the issuer together.
func stampOf(m *mount, r *jwtRole) string {
	if m.JWT == nil {
		return ""
	}
	return r.Stamp + "/" + m.JWT.Stamp
}

func (j jwtEngine) find(req *guard.Request, m *mount, rest string) (action, error) {
	if strings.HasPrefix(rest, "role") {
		return jwtMount{j, m}.roleArea().find(req, rest)
	}
	return jwtMount{j, m}.area().find(req, rest)
}

// jwtMount is one mount of the method.
type jwtMount struct {
	jwtEngine
	m *mount
}

func (j jwtMount) area() area {
	login := func(req *guard.Request, _ []string) audit.Data {
		name, _ := req.Params["role"].(string)
		return audit.Data{Role: cut(strings.ToLower(name), 128), Type: "jwt"}
	}
	return area{
		{path: "login", update: j.login, open: true, prepare: j.verify, note: login},
		{path: "config", read: j.readConfig, update: j.writeConfig, prepare: j.checkConfig},
		{path: "keys", read: j.readKeys},
		{path: "keys/refresh", update: j.refreshed, prepare: j.refresh},
	}
}

// roleArea is what there is below role: by itself, so that it is not put together for
// each sign-in.
func (j jwtMount) roleArea() area {
	note := func(_ *guard.Request, at []string) audit.Data {
		return audit.Data{Role: cut(strings.ToLower(at[0]), 128)}
	}
	return area{
		{path: "role", list: j.list},
		{path: "role/{name}", read: j.readRole, update: j.writeRole, remove: j.removeRole, exists: j.hasRole, note: note},
		{path: "role/{name}/explain", update: j.explain, looks: true, prepare: j.walk, note: note},
	}
}

// A verified token is what the preparation of a login leaves.
type verified struct {
	jwtLogin
	warnings []string
	claims   *oidc.Claims
	stamp    string // of the issuer
}

type jwtLogin struct {
	Role string     `json:"role"`
	JWT  wire.Token `json:"jwt"`
}

// verify checks the token against the issuer, who may have to be asked for keys.
func (j jwtMount) verify(ctx context.Context, req *guard.Request) (any, error) {
	in, warnings, err := bodyOf[jwtLogin](req)
	if err != nil {
		return nil, err
	}
	verifier, err := j.verifier(ctx, in.JWT)
	if err != nil {
		return nil, err
	}
	if in.Role == "" && j.m.JWT.DefaultRole == "" {
		return nil, bad("missing role")
	}
	claims, err := verifier.Verify(ctx, string(in.JWT))
	if err != nil {
		return nil, err
	}
	return &verified{in, warnings, claims, j.m.JWT.Stamp}, nil
}

// verifier is what checks a token that was brought.
func (j jwtMount) verifier(ctx context.Context, jwt wire.Token) (*oidc.Verifier, error) {
	switch {
	case j.m.JWT == nil:
		return nil, bad("could not load configuration")
	case jwt == "":
		return nil, bad("missing token")
	}
	is, err := j.issuer(ctx, j.m)
	if err != nil {
		return nil, err
	}
	return is.verifier, nil
}

// role reads one for tokens that were verified against an issuer of a stamp.
func (j jwtMount) role(tx Tx, name, stamp string) (r *jwtRole, there bool, err error) {
	if j.m.JWT == nil || j.m.JWT.Stamp != stamp {
		return nil, false, problem(http.StatusServiceUnavailable, "the way to sign in was changed meanwhile; try again")
	}
	r = new(jwtRole)
	there, err = j.roles(j.m).read(tx, name, r)
	return r, there, err
}

func (j jwtMount) login(c *call, _ []string) (*answer, error) {
	v := c.Prepared().(*verified)
	name := strings.ToLower(v.Role)
	if name == "" && j.m.JWT != nil {
		name = j.m.JWT.DefaultRole
	}
	role, there, err := j.role(c.Tx(), name, v.stamp)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, &oidc.Refusal{Reason: oidc.ReasonRole, Detail: "there is none of that name"}
	}
	who, err := role.Match(v.claims, j.now(), oidc.DefaultLeeway)
	if err != nil {
		return nil, err
	}
	if role.SingleUse {
		first, err := c.Tx().UseOnce(onceID(v.claims, string(v.JWT)), v.claims.Expires.Add(2*oidc.DefaultLeeway))
		if err != nil {
			return nil, err
		}
		if err := once(first); err != nil {
			return nil, err
		}
	}
	a, err := j.admit(c, j.m, j.visitor(name, role, who, v.claims))
	if err != nil {
		return nil, err
	}
	return warn(a, v.warnings...), nil
}

// visitor is somebody whom a role takes for who a token says.
func (j jwtMount) visitor(name string, role *jwtRole, who *oidc.Identity, claims *oidc.Claims) visitor {
	return visitor{
		name: who.User, issuer: claims.Issuer, groups: who.Groups, meta: who.Meta, role: name, stamp: stampOf(j.m, role), params: &role.Token,
		facts: j.facts(name, claims),
	}
}

// facts are what is recorded of a token of the issuer.
func (j jwtMount) facts(role string, claims *oidc.Claims) audit.Data {
	return audit.Data{
		Role: role, Type: "jwt", Issuer: cut(claims.Issuer, 256), KeyID: cut(claims.KeyID, 128), Algorithm: claims.Algorithm,
		Subject: j.hasher.Hash(claims.Subject), TokenID: j.hasher.Hash(claims.ID),
	}
}

// once refuses a token that somebody signed in with before.
func once(first bool) error {
	if first {
		return nil
	}
	return &oidc.Refusal{Reason: oidc.ReasonReplay, Entitled: true, Detail: "the identity token was used before; ask the platform for another one"}
}

// onceID is what a token is known by where it can be used once.
func onceID(claims *oidc.Claims, raw string) []byte {
	// Without an id the token itself is what is used once: its signed part, since
	// some signatures can be written in more than one way.
	id := claims.Issuer + "\x00" + claims.ID
	if claims.ID == "" {
		id = claims.Issuer + "\x00\x00" + raw[:strings.LastIndexByte(raw, '.')]
	}
	sum := sha256.Sum256([]byte(id))
	return sum[:]
}

type jwtConfigBody struct {
	Discovery   string       `json:"oidc_discovery_url"`
	DiscoveryCA string       `json:"oidc_discovery_ca_pem"`
	ClientID    string       `json:"oidc_client_id"`
	JWKSURL     string       `json:"jwks_url"`
	JWKSCA      string       `json:"jwks_ca_pem"`
	PublicKeys  wire.Strings `json:"jwt_validation_pubkeys"`
	Issuer      string       `json:"bound_issuer"`
	Algorithms  wire.Strings `json:"jwt_supported_algs"`
	DefaultRole string       `json:"default_role"`

	AllowPrivate wire.Bool     `json:"allow_private_issuer"`
	Hosts        wire.Strings  `json:"jwks_hosts"`
	MaxStale     wire.Duration `json:"jwks_max_stale"`
	Scopes       wire.Strings  `json:"oidc_scopes"`
	Flows        wire.Strings  `json:"sign_in_flows"`

	// What clients send as it was read, and means nothing here.
	ClientSecret     wire.Token      `json:"oidc_client_secret"`
	ResponseMode     string          `json:"oidc_response_mode"`
	ResponseTypes    wire.Strings    `json:"oidc_response_types"`
	NamespaceInState wire.Bool       `json:"namespace_in_state"`
	ProviderConfig   json.RawMessage `json:"provider_config"`
	JWKSPairs        []any           `json:"jwks_pairs"`
}

// A checked configuration is what its preparation leaves, with the issuer as it
// was asked: the first who signs in need not ask again.
type checked struct {
	config   *jwtConfig
	issuer   *issuer
	warnings []string
}

// checkConfig makes a configuration of what was sent, and asks the issuer for its
// keys: one that cannot be asked is not written.
func (j jwtMount) checkConfig(ctx context.Context, req *guard.Request) (any, error) {
	in, warnings, err := bodyOf[jwtConfigBody](req)
	if err != nil {
		return nil, err
	}
	sources := 0
	for _, has := range []bool{in.Discovery != "", in.JWKSURL != "", len(in.PublicKeys) > 0} {
		if has {
			sources++
		}
	}
	switch {
	case len(in.JWKSPairs) > 0:
		return nil, bad("a mount has one issuer: jwks_pairs are not supported")
	case sources != 1:
		return nil, bad("exactly one of 'jwt_validation_pubkeys', 'jwks_url', 'jwks_pairs' or 'oidc_discovery_url' must be set")
	case in.ClientSecret != "":
		return nil, bad("the server does not drive sign-in by browser, and keeps no oidc_client_secret; clients sign in themselves, as a public client")
	case in.Discovery == "" && in.Issuer == "":
		return nil, bad("'bound_issuer' must be set: without it a token of anybody whose keys these are would do")
	case in.Discovery != "" && in.Issuer != "" && in.Discovery != in.Issuer:
		return nil, bad("'bound_issuer' is not 'oidc_discovery_url': the issuer of a token is compared byte for byte")
	case in.MaxStale < 0 || time.Duration(in.MaxStale) > 30*24*time.Hour:
		return nil, bad("'jwks_max_stale' is from 0 to 720h")
	case len(in.PublicKeys) > 16 || len(in.Hosts) > 16:
		return nil, bad("at most 16 public keys and 16 hosts")
	}
	for _, alg := range in.Algorithms {
		if !slices.Contains(oidc.Algorithms, alg) {
			return nil, bad("unsupported signing algorithm; supported: %s", strings.Join(oidc.Algorithms, ", "))
		}
	}
	for _, text := range []string{in.Discovery, in.JWKSURL, in.Issuer, in.DefaultRole, in.ClientID} {
		if len(text) > 1024 {
			return nil, bad("an address or a name is too long")
		}
	}
	if err := checkSignIn(in.ClientID, in.Scopes, in.Flows); err != nil {
		return nil, err
	}
	c := &jwtConfig{
		Stamp: newStamp(), Discovery: in.Discovery, DiscoveryCA: in.DiscoveryCA, JWKSURL: in.JWKSURL, JWKSCA: in.JWKSCA, PublicKeys: in.PublicKeys,
		Issuer: in.Issuer, DefaultRole: strings.ToLower(in.DefaultRole), Algorithms: in.Algorithms, ClientID: in.ClientID,
		AllowPrivate: bool(in.AllowPrivate), Hosts: in.Hosts, MaxStale: time.Duration(in.MaxStale),
		Scopes: slices.DeleteFunc(in.Scopes, func(s string) bool { return s == "openid" }), Flows: in.Flows,
	}
	is, err := j.open(j.m.UUID, c, nil)
	if err != nil {
		return nil, err
	}
	if is.keys != nil {
		if err := is.keys.Refresh(ctx); err != nil {
			return nil, bad("%s", configError(c, err))
		}
	}
	return &checked{c, is, warnings}, nil
}

// configError says that an issuer cannot be asked, in the words that clients know
// before our own.
func configError(c *jwtConfig, err error) string {
	if c.Discovery != "" {
		return "error checking oidc discovery URL: " + cut(err.Error(), 512)
	}
	return "error checking jwks URL: " + cut(err.Error(), 512)
}

func (j jwtMount) writeConfig(c *call, _ []string) (*answer, error) {
	in := c.Prepared().(*checked)
	m := *j.m
	m.JWT = in.config
	if err := j.put(c.Tx(), kindAuth, m.Path, &m); err != nil {
		return nil, err
	}
	a := done(in.warnings...)
	a.After = func() { j.issuers.keep(m.UUID, in.issuer) }
	return a, j.changed(c.Tx())
}

func (j jwtMount) readConfig(*call, []string) (*answer, error) {
	c := j.m.JWT
	if c == nil {
		return nil, errNothing
	}
	return answered(map[string]any{
		"bound_issuer": c.Issuer, "default_role": c.DefaultRole, "jwks_ca_pem": c.JWKSCA, "jwks_pairs": []any{}, "jwks_url": c.JWKSURL,
		"jwt_supported_algs": notNull(c.Algorithms), "jwt_validation_pubkeys": notNull(c.PublicKeys), "namespace_in_state": true,
		"oidc_client_id": c.ClientID, "oidc_discovery_ca_pem": c.DiscoveryCA, "oidc_discovery_url": c.Discovery,
		"oidc_response_mode": "", "oidc_response_types": []string{}, "provider_config": map[string]any{},
		"unsupported_critical_cert_extensions": []string{},
		"allow_private_issuer":                 c.AllowPrivate, "jwks_hosts": notNull(c.Hosts), "jwks_max_stale": secs(c.MaxStale),
		"oidc_scopes": notNull(c.Scopes), "sign_in_flows": c.flows(),
	}), nil
}

func (j jwtMount) list(c *call, _ []string) (*answer, error) {
	names, err := j.roles(j.m).all(c.Tx())
	if err != nil {
		return nil, err
	}
	return keys(names)
}

func (j jwtMount) hasRole(tx Tx, at []string) (bool, error) {
	return j.roles(j.m).has(tx, at[0])
}

func (j jwtMount) readRole(c *call, at []string) (*answer, error) {
	var r jwtRole
	there, err := j.roles(j.m).read(c.Tx(), at[0], &r)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, errNothing
	}
	var bound map[string]any // a claim with one value is read as that value
	for place, values := range r.BoundClaims {
		if bound == nil {
			bound = map[string]any{}
		}
		if bound[place] = []any(values); len(values) == 1 {
			bound[place] = values[0]
		}
	}
	kind := r.BoundType
	if kind == "" {
		kind = oidc.MatchString
	}
	data := map[string]any{
		"allowed_redirect_uris": nil, "bound_audiences": r.Audiences, "bound_claims": bound, "bound_claims_type": kind,
		"bound_subject": r.Subject, "claim_mappings": r.Mappings, "clock_skew_leeway": 0, "expiration_leeway": 0, "not_before_leeway": 0,
		"groups_claim": r.GroupsClaim, "max_age": secs(r.MaxAge), "oidc_scopes": nil, "role_type": "jwt",
		"user_claim": r.UserClaim, "user_claim_json_pointer": strings.HasPrefix(r.UserClaim, "/"), "verbose_oidc_logging": false,
		"acr_values": r.ACR, "amr_values": r.AMR, "authorized_parties": r.Parties, "allow_multiple_audiences": r.MultipleAudiences,
		"max_token_age": secs(r.MaxTokenAge), "require_nonce": r.Nonce, "single_use": r.SingleUse,
		"listed": r.Listed, "description": r.Description,
	}
	r.Token.show(data)
	return answered(data), nil
}

type jwtRoleBody struct {
	tokenParamsBody
	RoleType    *string            `json:"role_type"`
	Audiences   *wire.Strings      `json:"bound_audiences"`
	Subject     *string            `json:"bound_subject"`
	BoundClaims json.RawMessage    `json:"bound_claims"` // read from the parameters, which keep digits
	BoundType   *string            `json:"bound_claims_type"`
	UserClaim   *string            `json:"user_claim"`
	Pointer     *wire.Bool         `json:"user_claim_json_pointer"`
	GroupsClaim *string            `json:"groups_claim"`
	Mappings    *map[string]string `json:"claim_mappings"`
	MaxAge      *wire.Duration     `json:"max_age"`

	ACR               *wire.Strings  `json:"acr_values"`
	AMR               *wire.Strings  `json:"amr_values"`
	Parties           *wire.Strings  `json:"authorized_parties"`
	MultipleAudiences *wire.Bool     `json:"allow_multiple_audiences"`
	MaxTokenAge       *wire.Duration `json:"max_token_age"`
	Nonce             *wire.Bool     `json:"require_nonce"`
	SingleUse         *wire.Bool     `json:"single_use"`
	Listed            *wire.Bool     `json:"listed"`
	Description       *string        `json:"description"`

	// What clients send as it was read. The leeway is the same for every role, and
	// redirects are the client's business.
	RedirectURIs wire.Strings    `json:"allowed_redirect_uris"`
	Scopes       wire.Strings    `json:"oidc_scopes"`
	ClockSkew    wire.Duration   `json:"clock_skew_leeway"`
	ExpiryLeeway wire.Duration   `json:"expiration_leeway"`
	BeforeLeeway wire.Duration   `json:"not_before_leeway"`
	VerboseLogs  wire.Bool       `json:"verbose_oidc_logging"`
	CallbackMode string          `json:"callback_mode"`
	PollInterval wire.Duration   `json:"poll_interval"`
	OAuth2       json.RawMessage `json:"oauth2_metadata"`
}

func (j jwtMount) writeRole(c *call, at []string) (*answer, error) {
	in, warnings, err := body[jwtRoleBody](c)
	if err != nil {
		return nil, err
	}
	name := strings.ToLower(at[0])
	if len(name) > 128 {
		return nil, bad("the name of a role has at most 128 bytes")
	}
	if j.m.JWT == nil {
		return nil, bad("could not load configuration: write config first, so that a role is checked against the issuer")
	}
	// A role is what this request says, whole: what an earlier one bound must not go
	// on unseen, nor what it did not bind.
	var r jwtRole
	if in.RoleType != nil && *in.RoleType != "" && *in.RoleType != "jwt" {
		return nil, bad("'role_type' is jwt: the server does not drive sign-in by browser")
	}
	if in.SingleUse == nil {
		r.SingleUse = oidc.UsedOnce(j.m.JWT.issuer())
	}
	for _, l := range []struct {
		to   *[]string
		from *wire.Strings
	}{{&r.Audiences, in.Audiences}, {&r.ACR, in.ACR}, {&r.AMR, in.AMR}, {&r.Parties, in.Parties}} {
		set(l.to, (*[]string)(l.from))
	}
	set(&r.Subject, in.Subject)
	set(&r.BoundType, in.BoundType)
	set(&r.UserClaim, in.UserClaim)
	set(&r.GroupsClaim, in.GroupsClaim)
	set(&r.Mappings, in.Mappings)
	set(&r.MaxAge, (*time.Duration)(in.MaxAge))
	set(&r.MaxTokenAge, (*time.Duration)(in.MaxTokenAge))
	set(&r.MultipleAudiences, (*bool)(in.MultipleAudiences))
	set(&r.Nonce, (*bool)(in.Nonce))
	set(&r.SingleUse, (*bool)(in.SingleUse))
	set(&r.Listed, (*bool)(in.Listed))
	set(&r.Description, in.Description)
	if r.Description != "" && !auth.Plain(r.Description, maxRoleText) {
		return nil, bad("'description' is a text of at most %d bytes, on one line", maxRoleText)
	}
	if sent(c, "bound_claims") {
		if r.BoundClaims, err = boundClaims(c.Request().Params["bound_claims"]); err != nil {
			return nil, err
		}
	}
	if in.Pointer != nil && bool(*in.Pointer) && !strings.HasPrefix(r.UserClaim, "/") {
		r.UserClaim = "/" + r.UserClaim
	}
	if in.ClockSkew != 0 || in.ExpiryLeeway != 0 || in.BeforeLeeway != 0 {
		warnings = append(warnings, fmt.Sprintf("clocks may be %s apart, for every role: clock_skew_leeway, expiration_leeway and not_before_leeway change nothing", oidc.DefaultLeeway))
	}
	more, err := r.Check(j.m.JWT.issuer())
	if err != nil {
		return nil, bad("%s", err)
	}
	if err := r.Token.set(&in.tokenParamsBody); err != nil {
		return nil, err
	}
	r.Stamp = newStamp()
	if err := j.roles(j.m).write(c.Tx(), name, &r); err != nil {
		return nil, err
	}
	return done(append(warnings, more...)...), j.changed(c.Tx())
}

// boundClaims reads them: a claim has one value or a list of them.
func boundClaims(v any) (map[string]oidc.Values, error) {
	all, ok := v.(map[string]any)
	if v != nil && !ok {
		return nil, bad("'bound_claims' is not a map")
	}
	if len(all) > 64 {
		return nil, bad("a role has at most 64 bound claims")
	}
	out := map[string]oidc.Values{}
	for place, v := range all {
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		if len(list) > 256 {
			return nil, bad("a bound claim has at most 256 values")
		}
		out[place] = list
	}
	return out, nil
}

func (j jwtMount) removeRole(c *call, at []string) (*answer, error) {
	if err := j.roles(j.m).remove(c.Tx(), at[0]); err != nil {
		return nil, err
	}
	return done(), j.changed(c.Tx())
}

// readKeys says how the keys of the issuer fare.
func (j jwtMount) readKeys(*call, []string) (*answer, error) {
	if j.m.JWT == nil {
		return nil, errNothing
	}
	is := j.issuers.get(j.m.UUID, j.m.JWT.Stamp)
	if is == nil || is.keys == nil {
		return answered(map[string]any{"issuer": j.m.JWT.issuer(), "key_ids": []string{}, "fetched": nil}), nil
	}
	st := is.keys.Status()
	data := map[string]any{"issuer": j.m.JWT.issuer(), "key_ids": st.Keys, "fetched": wire.Time{Time: st.Fetched}, "tried": wire.Time{Time: st.Tried}}
	if st.Failed != nil {
		data["error"] = cut(st.Failed.Error(), 512)
	}
	return answered(data), nil
}

// refresh fetches the keys of the issuer now: after one was withdrawn.
func (j jwtMount) refresh(ctx context.Context, _ *guard.Request) (any, error) {
	if j.m.JWT == nil {
		return nil, bad("could not load configuration")
	}
	is, err := j.issuer(ctx, j.m)
	if err != nil || is.keys == nil {
		return nil, err
	}
	if err := is.keys.Refresh(ctx); err != nil {
		return nil, bad("%s", configError(j.m.JWT, err))
	}
	return nil, nil
}

func (j jwtMount) refreshed(*call, []string) (*answer, error) { return done(), nil }

// signInRefused is what a client is told of a refusal of the jwt or the kubernetes method.
func signInRefused(err error) (status int, text string, ok bool) {
	r := (*oidc.Refusal)(nil)
	if !errors.As(err, &r) {
		return 0, "", false
	}
	switch {
	case oidc.Retryable(err):
		return http.StatusServiceUnavailable, r.Public(), true
	case r.Entitled && r.Reason == oidc.ReasonFresh:
		return http.StatusUnauthorized, r.Public(), true
	case errors.As(err, new(podRefusal)):
		return http.StatusForbidden, r.Public(), true
	}
	return http.StatusBadRequest, r.Public(), true
}

// challenge is what a newer sign-in has to bring, as WWW-Authenticate says it (RFC
// 9470 §3), "" for every other error. Whoever is told it holds a token that the role
// would take but for that.
func challenge(err error) string {
	r := (*oidc.Refusal)(nil)
	if !errors.As(err, &r) || !r.Entitled || r.Reason != oidc.ReasonFresh {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, `Bearer error="insufficient_user_authentication", error_description="%s"`, quotable(r.Detail))
	if r.MaxAge > 0 {
		fmt.Fprintf(&b, `, max_age="%d"`, r.MaxAge)
	}
	if len(r.ACR) > 0 {
		fmt.Fprintf(&b, `, acr_values="%s"`, quotable(strings.Join(r.ACR, " ")))
	}
	return b.String()
}

// quotable is a text without what cannot stand in a quoted one (RFC 6749 §5.2).
func quotable(text string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return -1
		}
		return c
	}, text)
}
