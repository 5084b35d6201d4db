// Package identity is who the team server knows: entities, which are people and
// machines, the aliases that they sign in as, and groups (spec server-api §1.7).
//
// An alias is a name at one way to sign in, and of the issuer who vouched for the
// name there: what another issuer says of the same name is somebody else (auth §4.1).
// An internal group has the members that an operator gives it, entities and other
// groups. An external one has those who, at their last sign-in, were in the group that
// its alias names. That table, and nothing in a token of an issuer, is the way from a
// group to policies.
//
// It refuses to decide and to answer: what policies give is vault/policy's to say, and
// vault/server has the API. It keeps no policy named root, in whatever spelling. It has
// no clock and no transaction of its own.
package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"envrun/auth/token"
	"envrun/vault"
	"envrun/vault/policy"
)

// Limits of what is kept. Operators choose most of it, and issuers some.
const (
	MaxName     = 512 // bytes of the name of an entity, a group or an alias
	MaxMeta     = 64  // entries of metadata
	MaxMetaKey  = 128 // bytes
	MaxMetaText = 512 // bytes
	MaxPolicies = 64  // of one entity or group
	MaxMembers  = 4096
	MaxGroups   = 4096 // of the server
	MaxDepth    = 16   // of groups in groups
	MaxAliases  = 64   // of one entity
	MaxGiven    = token.MaxPolicies
)

// A Store is where records lie, within one transaction. What it gives back must be what
// was put there: it is sealed.
type Store interface {
	// Get reads a record into v, and says whether it is there.
	Get(kind, name string, v any) (bool, error)
	Put(kind, name string, v any) error
	// Delete removes a record; nothing happens if it is not there.
	Delete(kind, name string) error
	// Names are those of all records of a kind, sorted.
	Names(kind string) ([]string, error)
}

// The kinds of records. Names of people are in none of the names.
const (
	kindEntity      = "entity"          // by id
	kindEntityName  = "entity-name"     // by the hash of the name: the id
	kindEntityAlias = "entity-alias"    // by the hash of accessor, issuer and name: the id of the entity
	kindAliasID     = "entity-alias-id" // by the alias's id: the id of the entity
	kindGroup       = "group"           // by id
)

// An Entity is one person or machine.
type Entity struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Policies []string          `json:"policies,omitempty"`
	Disabled bool              `json:"disabled,omitempty"`
	Aliases  []Alias           `json:"aliases,omitempty"`  // one for each way to sign in
	External map[string]string `json:"external,omitempty"` // external groups by id, each with the stamp of its alias: see GroupAlias
	Created  time.Time         `json:"created"`
	Updated  time.Time         `json:"updated"`
}

// A Key is what an alias is found by.
type Key struct {
	Accessor string `json:"accessor"`         // of the way to sign in
	Issuer   string `json:"issuer,omitempty"` // who vouches for the name there; "" where the server itself does
	Name     string `json:"name"`
}

// An Alias is what an entity is known as to one way to sign in.
type Alias struct {
	Key
	ID       string            `json:"id"`
	Metadata map[string]string `json:"metadata,omitempty"` // as the last sign-in said
	Custom   map[string]string `json:"custom,omitempty"`   // as an operator says
	Created  time.Time         `json:"created"`
	Updated  time.Time         `json:"updated"`
}

// A Group gives policies to its members.
type Group struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	External bool              `json:"external,omitempty"`
	Policies []string          `json:"policies,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Members  []string          `json:"members,omitempty"` // ids of entities; of an internal group
	Groups   []string          `json:"groups,omitempty"`  // ids of groups whose members are members; of an internal group
	Alias    *GroupAlias       `json:"alias,omitempty"`   // of an external group
	Index    int64             `json:"index"`             // how often it was written
	Created  time.Time         `json:"created"`
	Updated  time.Time         `json:"updated"`
}

// A GroupAlias is what a group is called in the claims of an issuer.
type GroupAlias struct {
	Key
	ID      string    `json:"id"`
	Stamp   string    `json:"stamp"` // another one whenever Key changes: who was in the group of before is not in it
	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`
}

// A Person is an entity and what it gets of its groups.
type Person struct {
	*Entity
	Direct    []*Group // sorted by id, as the others
	Inherited []*Group // by way of other groups, and not direct
	Given     []string // policies of all of these, sorted, each once
}

// Facts are what templates of policies are filled from.
func (p *Person) Facts() policy.Facts {
	e := &policy.Entity{ID: p.ID, Name: p.Name, Metadata: p.Metadata}
	for _, a := range p.Aliases {
		e.Aliases = append(e.Aliases, policy.Alias{Accessor: a.Accessor, ID: a.ID, Name: a.Name, Metadata: a.Metadata, Custom: a.Custom})
	}
	f := policy.Facts{Entity: e}
	for _, list := range [][]*Group{p.Direct, p.Inherited} {
		for _, g := range list {
			f.Groups = append(f.Groups, policy.Group{ID: g.ID, Name: g.Name, Metadata: g.Metadata})
		}
	}
	return f
}

// Find returns an entity by its id; nil if there is none.
func Find(s Store, id string) (*Entity, error) {
	e := new(Entity)
	there, err := s.Get(kindEntity, id, e)
	if err != nil || !there {
		return nil, err
	}
	return e, nil
}

func findBy(s Store, kind, name string) (*Entity, error) {
	var id string
	there, err := s.Get(kind, name, &id)
	if err != nil || !there {
		return nil, err
	}
	return Find(s, id)
}

// ByName returns an entity by its name, in any letter case; nil if there is none.
func ByName(s Store, name string) (*Entity, error) {
	return findBy(s, kindEntityName, hash(strings.ToLower(name)))
}

// ByAlias returns the entity that has an alias; nil if there is none.
func ByAlias(s Store, key Key) (*Entity, error) { return findBy(s, kindEntityAlias, key.hash()) }

// ByAliasID does so by the alias's id.
func ByAliasID(s Store, id string) (*Entity, error) { return findBy(s, kindAliasID, id) }

// Alias is the one with an id; nil if the entity has none.
func (e *Entity) Alias(id string) *Alias {
	for i := range e.Aliases {
		if e.Aliases[i].ID == id {
			return &e.Aliases[i]
		}
	}
	return nil
}

// Without is the entity without one of its aliases, and out of the external groups that
// it was in by signing in with it: no sign-in would ever take it out of them.
func (e *Entity) Without(id string, groups *Groups) *Entity {
	left := *e
	gone := e.Alias(id)
	if gone == nil {
		return &left
	}
	left.Aliases = slices.DeleteFunc(slices.Clone(e.Aliases), func(a Alias) bool { return a.ID == id })
	left.External = e.externalBut(gone.Accessor, groups)
	return &left
}

// externalBut are the external groups that the entity is in by other ways to sign in than
// one: without those that are no more, or have another alias by now.
func (e *Entity) externalBut(accessor string, groups *Groups) map[string]string {
	left := maps.Clone(e.External)
	maps.DeleteFunc(left, func(id, stamp string) bool {
		g := groups.byID[id]
		return g == nil || g.Alias == nil || g.Alias.Accessor == accessor || g.Alias.Stamp != stamp
	})
	return left
}

// All are the entities, sorted by id.
func All(s Store) ([]*Entity, error) {
	ids, err := s.Names(kindEntity)
	if err != nil {
		return nil, err
	}
	all := make([]*Entity, 0, len(ids))
	for _, id := range ids {
		e, err := Find(s, id)
		if err != nil {
			return nil, err
		}
		if e != nil {
			all = append(all, e)
		}
	}
	return all, nil
}

// New is an entity that is not kept yet, with a name of its own.
func New(now time.Time) *Entity {
	return &Entity{ID: NewID(), Name: "entity_" + NewID()[:8], Created: now.UTC()}
}

// Keep writes an entity in the place of was, nil for a new one. KindInvalid for what is
// not of its form, KindExists for a name or an alias that another entity has.
func (e *Entity) Keep(s Store, was *Entity, now time.Time) error {
	if err := e.check(); err != nil {
		return err
	}
	e.Updated = now.UTC()
	type index struct{ kind, name string }
	indices := func(e *Entity) []index {
		if e == nil {
			return nil
		}
		all := []index{{kindEntityName, hash(strings.ToLower(e.Name))}}
		for _, a := range e.Aliases {
			all = append(all, index{kindEntityAlias, a.hash()}, index{kindAliasID, a.ID})
		}
		return all
	}
	have, want := indices(was), indices(e)
	for _, i := range have {
		if !slices.Contains(want, i) {
			if err := s.Delete(i.kind, i.name); err != nil {
				return err
			}
		}
	}
	for _, i := range want {
		if slices.Contains(have, i) {
			continue
		}
		var id string
		switch there, err := s.Get(i.kind, i.name, &id); {
		case err != nil:
			return err
		case there && i.kind == kindEntityName:
			return &vault.Error{Kind: vault.KindExists, Detail: "entity name is already in use"}
		case there:
			return &vault.Error{Kind: vault.KindExists, Detail: "alias is already in use"}
		}
		if err := s.Put(i.kind, i.name, e.ID); err != nil {
			return err
		}
	}
	return s.Put(kindEntity, e.ID, e)
}

// Remove removes an entity with its aliases, and as a member of groups. It says whether
// groups have changed.
func (e *Entity) Remove(s Store, groups *Groups, now time.Time) error {
	for _, a := range e.Aliases {
		if err := s.Delete(kindEntityAlias, a.hash()); err != nil {
			return err
		}
		if err := s.Delete(kindAliasID, a.ID); err != nil {
			return err
		}
	}
	if err := s.Delete(kindEntityName, hash(strings.ToLower(e.Name))); err != nil {
		return err
	}
	for _, g := range groups.byMember[e.ID] {
		c := *g
		c.Members = without(g.Members, e.ID)
		if err := c.put(s, now); err != nil {
			return err
		}
	}
	return s.Delete(kindEntity, e.ID)
}

func without(list []string, id string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == id })
}

func (e *Entity) check() error {
	if err := checkName("an entity", e.Name); err != nil {
		return err
	}
	if err := checkPolicies(e.Policies); err != nil {
		return err
	}
	if len(e.Aliases) > MaxAliases {
		return invalid("an entity has at most %d aliases", MaxAliases)
	}
	seen := map[string]bool{}
	for _, a := range e.Aliases {
		if seen[a.Accessor] {
			return invalid("the entity has an alias at that way to sign in already")
		}
		seen[a.Accessor] = true
		if err := checkName("an alias", a.Name); err != nil {
			return err
		}
		if err := checkMeta(a.Custom); err != nil {
			return err
		}
	}
	return checkMeta(e.Metadata)
}

// Policies brings names of policies into the form in which they are kept. KindInvalid for
// what is no name, and for those that nobody gets by who they are.
func Policies(names []string) ([]string, error) {
	var out []string
	for _, n := range names {
		if strings.TrimSpace(n) == "" {
			continue
		}
		name, err := policy.Name(n)
		if err != nil {
			return nil, err
		}
		out = append(out, name)
	}
	out = token.Policies(out)
	return out, checkPolicies(out)
}

func checkPolicies(names []string) error {
	if len(names) > MaxPolicies {
		return invalid("an entity or a group has at most %d policies", MaxPolicies)
	}
	if slices.Contains(names, policy.RootName) || slices.Contains(names, policy.WrappingName) {
		return invalid("policies cannot contain %s or %s", policy.RootName, policy.WrappingName)
	}
	return nil
}

func checkName(what, name string) error {
	if name == "" || len(name) > MaxName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return invalid("the name of %s has 1 to %d bytes, in UTF-8 and without control characters", what, MaxName)
	}
	return nil
}

func checkMeta(meta map[string]string) error {
	if len(meta) > MaxMeta {
		return invalid("there are at most %d entries of metadata", MaxMeta)
	}
	for k, v := range meta {
		if k == "" || len(k) > MaxMetaKey || len(v) > MaxMetaText || !utf8.ValidString(k) || !utf8.ValidString(v) {
			return invalid("a key of metadata has 1 to %d bytes and a value at most %d, in UTF-8", MaxMetaKey, MaxMetaText)
		}
	}
	return nil
}

func invalid(format string, args ...any) error {
	return &vault.Error{Kind: vault.KindInvalid, Detail: fmt.Sprintf(format, args...)}
}

// hash is what names are found by: it tells nothing of them, and has one length.
func hash(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (k Key) hash() string { return hash(k.Accessor, k.Issuer, k.Name) }

// NewID is the id of something new: a random UUID.
func NewID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// A Visit is a sign-in.
type Visit struct {
	Alias  Key
	Meta   map[string]string // of the alias, as the sign-in says
	Groups []string          // that the issuer says, by their names there
}

// SignIn finds the entity of somebody who signed in, or makes one, and makes them a
// member of the external groups whose aliases name those of the visit, and of no
// others of that way to sign in. changed says that rights of tokens which are there may
// be different now. An entity that is disabled is returned as it is.
func SignIn(s Store, groups *Groups, v Visit, now time.Time) (e *Entity, changed bool, err error) {
	e, was, changed, err := arrive(s, groups, v, now)
	switch {
	case err != nil:
		return nil, false, err
	case e == was:
		return was, false, nil
	}
	return e, changed, e.Keep(s, was, now)
}

// Expect is SignIn that writes nothing: the entity as it would be. known says whether it
// is there already; one that is not has an id of its own at each call.
func Expect(s Store, groups *Groups, v Visit, now time.Time) (e *Entity, known bool, err error) {
	e, was, _, err := arrive(s, groups, v, now)
	if err != nil {
		return nil, false, err
	}
	if e != was {
		err = e.check()
	}
	return e, was != nil, err
}

// arrive is an entity as a sign-in leaves it, and as it was: the same if it changes
// nothing, nil if there was none.
func arrive(s Store, groups *Groups, v Visit, now time.Time) (e, was *Entity, changed bool, err error) {
	was, err = ByAlias(s, v.Alias)
	if err != nil {
		return nil, nil, false, err
	}
	if was == nil {
		e = New(now)
		e.Aliases = []Alias{{Key: v.Alias, ID: NewID(), Created: now.UTC(), Updated: now.UTC()}}
	} else {
		if was.Disabled {
			return was, was, false, nil
		}
		c := *was
		c.Aliases = slices.Clone(was.Aliases)
		e = &c
	}
	e.External = e.externalBut(v.Alias.Accessor, groups)
	for _, name := range v.Groups {
		if g := groups.byAlias[Key{v.Alias.Accessor, v.Alias.Issuer, name}]; g != nil {
			if e.External == nil {
				e.External = map[string]string{}
			}
			e.External[g.ID] = g.Alias.Stamp
		}
	}
	for i := range e.Aliases {
		if a := &e.Aliases[i]; a.Key == v.Alias && !maps.Equal(a.Metadata, v.Meta) {
			a.Metadata, a.Updated = v.Meta, now.UTC()
			changed = true
		}
	}
	switch {
	case was == nil:
		return e, nil, false, nil
	case changed || !maps.Equal(e.External, was.External):
		return e, was, true, nil
	}
	return was, was, false, nil
}

// Forget removes the aliases of a way to sign in that is no more.
func Forget(s Store, groups *Groups, accessor string, now time.Time) error {
	for _, g := range groups.all {
		if g.Alias != nil && g.Alias.Accessor == accessor {
			c := *g
			c.Alias = nil
			if err := c.put(s, now); err != nil {
				return err
			}
		}
	}
	all, err := All(s)
	if err != nil {
		return err
	}
	for _, e := range all {
		c := *e
		c.Aliases = slices.DeleteFunc(slices.Clone(e.Aliases), func(a Alias) bool { return a.Accessor == accessor })
		if len(c.Aliases) < len(e.Aliases) {
			if err := c.Keep(s, e, now); err != nil {
				return err
			}
		}
	}
	return nil
}
