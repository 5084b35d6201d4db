package server

import (
	"slices"
	"strings"
	"sync"

	"envrun/auth"
	"envrun/vault/wire"
)

// signInFlows are how people come by the identity token that a mount takes.
var signInFlows = []string{"browser", "device"}

// Bounds of what sys/sign-in says of one mount, and for how long anybody may keep it.
const (
	maxScopes      = 32
	maxRoleText    = 256 // bytes, of a role
	maxListedRoles = 64  // roles of one mount
	signInFresh    = 60  // seconds
)

// checkSignIn checks what clients are told to sign in with.
func checkSignIn(client string, scopes, flows []string) error {
	if client != "" && !auth.Plain(client, 1024) {
		return bad("'oidc_client_id' is not printable")
	}
	if len(scopes) > maxScopes {
		return bad("at most %d scopes", maxScopes)
	}
	for _, s := range scopes {
		if s == "" || len(s) > 256 || s != quotable(s) || strings.Contains(s, " ") {
			return bad("'oidc_scopes' are words of ASCII, without quotes and backslashes")
		}
	}
	for i, f := range flows {
		if !slices.Contains(signInFlows, f) || slices.Contains(flows[:i], f) {
			return bad("'sign_in_flows' are of %s, each once", strings.Join(signInFlows, " and "))
		}
	}
	return nil
}

func (c *jwtConfig) flows() []string {
	if len(c.Flows) == 0 {
		return signInFlows
	}
	return c.Flows
}

// howToSignIn is sys/sign-in: how people sign in, for anybody (auth §3.1). A mount is
// told that has a client id, and of its roles those that are listed. What it says is
// put together once for each generation of the mounts and roles, so that asking for it
// costs no more than any other request.
type howToSignIn struct {
	*tables
	mu         sync.Mutex
	generation uint64
	known      *wire.SignIns // of the generation; nil: none yet
}

func (h *howToSignIn) area() area { return area{{path: "sign-in", read: h.read, open: true}} }

func (h *howToSignIn) read(c *call, _ []string) (*answer, error) {
	t, err := h.now(c.Tx())
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	known := h.known
	if h.generation != t.generation {
		known = nil
	}
	h.mu.Unlock()
	if known == nil {
		if known, err = h.collect(c.Tx(), t); err != nil {
			return nil, err
		}
		h.mu.Lock()
		if h.known == nil || h.generation < t.generation {
			h.known, h.generation = known, t.generation
		}
		h.mu.Unlock()
	}
	a := answered(known)
	a.Body.(*reply).fresh = signInFresh
	return a, nil
}

func (h *howToSignIn) collect(tx Tx, t *table) (*wire.SignIns, error) {
	all := &wire.SignIns{Methods: []wire.SignInMethod{}}
	for _, m := range t.auth {
		if m.JWT == nil || m.JWT.ClientID == "" {
			continue
		}
		method := wire.SignInMethod{
			Mount: strings.TrimSuffix(m.Path, "/"), Type: "jwt", Description: m.Description, // a mount of type oidc is the same thing
			Issuer: m.JWT.issuer(), ClientID: m.JWT.ClientID, Scopes: notNull(m.JWT.Scopes), Flows: m.JWT.flows(), Roles: []wire.SignInRole{},
		}
		roles := rolesOf{h.store, kindJWTRole, m}
		names, err := roles.all(tx)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			var r jwtRole
			there, err := roles.read(tx, name, &r)
			if err != nil {
				return nil, err
			}
			if !there || !r.Listed || len(method.Roles) == maxListedRoles {
				continue
			}
			method.Roles = append(method.Roles, wire.SignInRole{Name: name, Description: r.Description, MaxAge: wire.Duration(r.MaxAge), ACR: notNull(r.ACR)})
			if name == m.JWT.DefaultRole {
				method.DefaultRole = name
			}
		}
		all.Methods = append(all.Methods, method)
	}
	return all, nil
}
