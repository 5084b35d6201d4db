package server

import (
	"strings"

	"envrun/vault/lease"
	"envrun/vault/policy"
)

// An Endpoint is one thing that can be asked of an unsealed server, for the tests
// that ask all of them.
type Endpoint struct {
	Path          string // "sys/policies/acl/x"
	Pattern       string // "sys/policies/acl/{name}"
	Op            policy.Op
	Open, Private bool
	Sudo          bool
}

// Endpoints are all of them, with something in the place of what a path leaves open.
func (s *Server) Endpoints() []Endpoint {
	var all []Endpoint
	for prefix, a := range s.open.Load().area {
		for _, e := range a {
			parts := strings.Split(e.path, "/")
			for i, p := range parts {
				switch {
				case strings.HasSuffix(p, "...}"):
					parts[i] = "x/y"
				case strings.HasPrefix(p, "{"):
					parts[i] = "x"
				}
			}
			for op, h := range map[policy.Op]handler{policy.OpRead: e.read, policy.OpList: e.list, policy.OpUpdate: e.update, policy.OpPatch: e.patch, policy.OpDelete: e.remove} {
				if h == nil {
					continue
				}
				path := prefix + strings.Join(parts, "/")
				if op == policy.OpList {
					path += "/"
				}
				// With a body of no parameters, as they are asked, openIf opens.
				all = append(all, Endpoint{path, prefix + e.path, op, e.open || e.openIf != nil, e.private, e.sudo || policy.NeedsSudo(path)})
			}
		}
	}
	return all
}

// Limit sets the limits of a server that serves nobody yet.
func (s *Server) Limit(l Limits) { s.limits = newLimiter(l) }

// Limited is how many clients the limits of a server remember, and sources for the log.
func (s *Server) Limited() (clients, sources int) {
	s.limits.mu.Lock()
	defer s.limits.mu.Unlock()
	clients = len(s.limits.tokens) + len(s.limits.addrs.by)
	for _, d := range s.limits.doors {
		clients += len(d.by)
	}
	return clients, len(s.limits.refused)
}

// Leases are the leases of an unsealed server, for the tests that make some: no
// engine of its own does.
func (s *Server) Leases() *lease.Leases { return s.open.Load().leases }

// AddIssuer adds one that gives out leases.
func (s *Server) AddIssuer(name string, i lease.Issuer) {
	s.open.Load().issuers = map[string]lease.Issuer{name: i}
}
