package guard

import (
	"slices"
	"strings"
	"sync"
	"time"

	"envrun/auth/token"
	"envrun/vault/policy"
)

// maxACLs bounds how many sets of policies are kept compiled.
const maxACLs = 4096

// acls keeps what policies were compiled to, of one generation of them. What is
// found is of the generation that the caller's transaction sees, so that a policy which
// was changed, here or by another server on the same database, decides the next
// request.
type acls struct {
	mu         sync.Mutex
	generation uint64
	of         map[string]*policy.ACL // by the names of the policies
}

func (a *acls) get(generation uint64, key string, now time.Time) *policy.ACL {
	a.mu.Lock()
	defer a.mu.Unlock()
	if generation != a.generation {
		return nil
	}
	acl := a.of[key]
	if acl == nil {
		return nil
	}
	if until := acl.Until(); !until.IsZero() && !now.Before(until) {
		delete(a.of, key)
		return nil
	}
	return acl
}

func (a *acls) put(generation uint64, key string, acl *policy.ACL) {
	a.mu.Lock()
	defer a.mu.Unlock()
	// A reader of an older snapshot must not displace what newer ones found.
	if generation < a.generation {
		return
	}
	if generation > a.generation || a.of == nil || len(a.of) >= maxACLs {
		a.generation, a.of = generation, make(map[string]*policy.ACL)
	}
	a.of[key] = acl
}

// acl is what a token may do, by the policies that the transaction sees.
func (g *Guard[T]) acl(tx T, t *token.Token) (*policy.ACL, error) {
	now := g.Now()
	generation, err := g.Policies.Generation(tx)
	if err != nil {
		return nil, err
	}
	key := strings.Join(t.Policies, "\n")
	if acl := g.acls.get(generation, key, now); acl != nil {
		return acl, nil
	}
	policies := make([]*policy.Policy, 0, len(t.Policies))
	for _, name := range t.Policies {
		if name == policy.RootName {
			policies = append(policies, policy.Root())
			continue
		}
		p, err := g.Policies.Policy(tx, name)
		if err != nil {
			return nil, err
		}
		policies = append(policies, p)
	}
	acl := policy.Compile(slices.Clip(policies), policy.Facts{Now: now})
	g.acls.put(generation, key, acl)
	return acl, nil
}
