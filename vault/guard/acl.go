package guard

import (
	"fmt"
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
	of         map[string]compiled // by the names of the policies and the id of the entity
}

// compiled is what a token may do, and the policies that its entity gives it.
type compiled struct {
	*policy.ACL
	identity []string
}

func (a *acls) get(generation uint64, key string, now time.Time) compiled {
	a.mu.Lock()
	defer a.mu.Unlock()
	if generation != a.generation {
		return compiled{}
	}
	acl := a.of[key]
	if acl.ACL == nil {
		return acl
	}
	if until := acl.Until(); !until.IsZero() && !now.Before(until) {
		delete(a.of, key)
		return compiled{}
	}
	return acl
}

func (a *acls) put(generation uint64, key string, acl compiled) {
	a.mu.Lock()
	defer a.mu.Unlock()
	// A reader of an older snapshot must not displace what newer ones found.
	if generation < a.generation {
		return
	}
	if generation > a.generation || a.of == nil || len(a.of) >= maxACLs {
		a.generation, a.of = generation, make(map[string]compiled)
	}
	a.of[key] = acl
}

// acl is what a token may do, by its policies and its entity as the transaction sees
// them. It keeps in the token what the entity gives. ErrBadToken if the entity is
// disabled or gone.
func (g *Guard[T]) acl(tx T, t *token.Token) (*policy.ACL, error) {
	now := g.Now()
	generation, err := g.Policies.Generation(tx)
	if err != nil {
		return nil, err
	}
	key := strings.Join(t.Policies, "\n") + "\n\n" + t.EntityID
	if kept := g.acls.get(generation, key, now); kept.ACL != nil {
		t.Identity = kept.identity
		return kept.ACL, nil
	}
	facts := policy.Facts{}
	if t.EntityID != "" && g.Identities != nil {
		who, err := g.Identities.Identity(tx, t.EntityID)
		if err != nil {
			return nil, fmt.Errorf("looking up an entity: %w", err)
		}
		if who == nil || who.Disabled {
			return nil, ErrBadToken
		}
		t.Identity, facts = who.Policies, who.Facts
	}
	facts.Now = now
	names := t.All()
	policies := make([]*policy.Policy, 0, len(names))
	for _, name := range names {
		if name == policy.RootName {
			if t.IsRoot() { // no entity gives it
				policies = append(policies, policy.Root())
			}
			continue
		}
		p, err := g.Policies.Policy(tx, name)
		if err != nil {
			return nil, err
		}
		policies = append(policies, p)
	}
	acl := policy.Compile(slices.Clip(policies), facts)
	g.acls.put(generation, key, compiled{acl, t.Identity})
	return acl, nil
}
