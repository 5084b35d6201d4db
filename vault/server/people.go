package server

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"envrun/auth/token"
	"envrun/vault/guard"
	"envrun/vault/identity"
)

// people are the entities and groups as requests need them: all groups are kept, of the
// newest generation of theirs that was seen, and who asks is kept by the guard.
type people struct {
	store
	mu         sync.Mutex
	generation uint64
	last       *identity.Groups
}

// records are those of a transaction, as vault/identity wants them.
type records struct {
	store
	tx Tx
}

func (r records) Get(kind, name string, v any) (bool, error) { return r.get(r.tx, kind, name, v) }

func (r records) Put(kind, name string, v any) error { return r.put(r.tx, kind, name, v) }

func (r records) Delete(kind, name string) error {
	_, err := r.ring.DeleteSealed(r.tx, kind, name)
	return err
}

func (r records) Names(kind string) ([]string, error) { return r.tx.BlobNames(kind) }

func (p *people) in(tx Tx) records { return records{p.store, tx} }

// groups are all groups. A handler asks before it changes one.
func (p *people) groups(tx Tx) (*identity.Groups, error) {
	generation, err := p.number(tx, recordGroups)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	last, of := p.last, p.generation
	p.mu.Unlock()
	if last != nil && of == generation {
		return last, nil
	}
	fresh, err := identity.Load(p.in(tx))
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil || p.generation < generation {
		p.last, p.generation = fresh, generation
	}
	return fresh, nil
}

// changedGroups is changed, of groups too: policies, mounts and who is in an external
// group change without all groups being read again.
func (p *people) changedGroups(tx Tx) error {
	if err := p.count(tx, recordGroups); err != nil {
		return err
	}
	return p.changed(tx)
}

// person is an entity with what it gets of its groups; nil if there is none.
func (p *people) person(tx Tx, id string) (*identity.Person, error) {
	e, err := identity.Find(p.in(tx), id)
	if err != nil || e == nil {
		return nil, err
	}
	groups, err := p.groups(tx)
	if err != nil {
		return nil, err
	}
	return groups.Person(e)
}

// Identity is guard.Identities.
func (p *people) Identity(tx Tx, id string) (*guard.Identity, error) {
	who, err := p.person(tx, id)
	if err != nil || who == nil {
		return nil, err
	}
	return &guard.Identity{Policies: who.Given, Facts: who.Facts(), Disabled: who.Disabled}, nil
}

// fill keeps in a token what its entity gives, and says whether it may be used.
func (p *people) fill(tx Tx, t *token.Token) (good bool, err error) {
	if t.EntityID == "" {
		return true, nil
	}
	who, err := p.person(tx, t.EntityID)
	if err != nil || who == nil {
		return false, err
	}
	t.Identity = who.Given
	return !who.Disabled, nil
}

// A visitorOf is who signed in.
type visitorOf struct{ *identity.Person }

// external are the names of the external groups, for the record.
func (v visitorOf) external() string {
	var names []string
	for _, g := range v.Direct {
		if g.External {
			names = append(names, g.Name)
		}
	}
	return cut(strings.Join(names, " "), 128)
}

// in are the names of all groups, sorted.
func (v visitorOf) in() []string {
	names := []string{}
	for _, g := range slices.Concat(v.Direct, v.Inherited) {
		names = append(names, g.Name)
	}
	slices.Sort(names)
	return names
}

// signIn finds or makes the entity of somebody who signed in.
func (p *people) signIn(tx Tx, v identity.Visit, now time.Time) (visitorOf, error) {
	none := visitorOf{}
	groups, err := p.groups(tx)
	if err != nil {
		return none, err
	}
	e, changed, err := identity.SignIn(p.in(tx), groups, v, now)
	if err != nil {
		return none, err
	}
	who, err := admitted(groups, e)
	if err == nil && changed {
		err = p.changed(tx)
	}
	return who, err
}

// expect is signIn that writes nothing. known says whether the entity is there already.
func (p *people) expect(tx Tx, v identity.Visit, now time.Time) (who visitorOf, known bool, err error) {
	groups, err := p.groups(tx)
	if err != nil {
		return who, false, err
	}
	e, known, err := identity.Expect(p.in(tx), groups, v, now)
	if err != nil {
		return who, false, err
	}
	who, err = admitted(groups, e)
	return who, known, err
}

// admitted is an entity that may sign in, with its groups.
func admitted(groups *identity.Groups, e *identity.Entity) (visitorOf, error) {
	if e.Disabled {
		return visitorOf{}, problem(http.StatusForbidden, "permission denied: the entity is disabled")
	}
	who, err := groups.Person(e)
	return visitorOf{who}, err
}

// forget drops the aliases of a way to sign in that is removed.
func (p *people) forget(tx Tx, m *mount, now time.Time) error {
	groups, err := p.groups(tx)
	if err != nil {
		return err
	}
	if err := identity.Forget(p.in(tx), groups, m.Accessor, now); err != nil {
		return err
	}
	return p.changedGroups(tx)
}
