package identity

import (
	"crypto/rand"
	"slices"
	"sort"
	"strings"
	"time"

	"envrun/auth/token"
	"envrun/vault"
)

// Groups are all groups, as one transaction saw them. They do not change, and may be
// used by several goroutines.
type Groups struct {
	all      []*Group // sorted by id
	byID     map[string]*Group
	byName   map[string]*Group   // in lower case
	byAlias  map[Key]*Group      // external ones
	byMember map[string][]*Group // internal ones, by the id of an entity
	parents  map[string][]*Group // by the id of a group
}

// Load reads all groups.
func Load(s Store) (*Groups, error) {
	ids, err := s.Names(kindGroup)
	if err != nil {
		return nil, err
	}
	all := make([]*Group, 0, len(ids))
	for _, id := range ids {
		g := new(Group)
		there, err := s.Get(kindGroup, id, g)
		if err != nil {
			return nil, err
		}
		if there {
			all = append(all, g)
		}
	}
	return groupsOf(all), nil
}

func groupsOf(all []*Group) *Groups {
	gs := &Groups{all: all, byID: map[string]*Group{}, byName: map[string]*Group{}, byAlias: map[Key]*Group{}, byMember: map[string][]*Group{}, parents: map[string][]*Group{}}
	for _, g := range all {
		gs.byID[g.ID], gs.byName[strings.ToLower(g.Name)] = g, g
		if g.External {
			if g.Alias != nil {
				gs.byAlias[g.Alias.Key] = g
			}
			continue
		}
		for _, id := range g.Members {
			gs.byMember[id] = append(gs.byMember[id], g)
		}
		for _, id := range g.Groups {
			gs.parents[id] = append(gs.parents[id], g)
		}
	}
	return gs
}

// All are the groups, sorted by id.
func (gs *Groups) All() []*Group { return gs.all }

// ByID is the group with an id; nil if there is none.
func (gs *Groups) ByID(id string) *Group { return gs.byID[id] }

// ByName is the group with a name, in any letter case; nil if there is none.
func (gs *Groups) ByName(name string) *Group { return gs.byName[strings.ToLower(name)] }

// ByAlias is the external group with an alias; nil if there is none.
func (gs *Groups) ByAlias(key Key) *Group { return gs.byAlias[key] }

// ByAliasID does so by the alias's id.
func (gs *Groups) ByAliasID(id string) *Group {
	for _, g := range gs.all {
		if g.Alias != nil && g.Alias.ID == id {
			return g
		}
	}
	return nil
}

// Parents are the groups that a group is in.
func (gs *Groups) Parents(id string) []*Group { return gs.parents[id] }

// Has says whether an entity is in an external group.
func (g *Group) Has(e *Entity) bool {
	return g.Alias != nil && e.External[g.ID] == g.Alias.Stamp
}

// Person is an entity with what its groups give. KindInvalid if that is more than a
// token may have.
func (gs *Groups) Person(e *Entity) (*Person, error) {
	p := &Person{Entity: e}
	p.Direct = append(p.Direct, gs.byMember[e.ID]...)
	for id := range e.External {
		if g := gs.byID[id]; g != nil && g.Has(e) {
			p.Direct = append(p.Direct, g)
		}
	}
	seen := map[string]bool{}
	for _, g := range p.Direct {
		seen[g.ID] = true
	}
	// There are no circles; seen makes sure that it ends if there were.
	for next := p.Direct; len(next) > 0; {
		var above []*Group
		for _, g := range next {
			for _, parent := range gs.parents[g.ID] {
				if !seen[parent.ID] {
					seen[parent.ID] = true
					above = append(above, parent)
				}
			}
		}
		p.Inherited = append(p.Inherited, above...)
		next = above
	}
	byID(p.Direct)
	byID(p.Inherited)
	given := slices.Clone(e.Policies)
	for _, list := range [][]*Group{p.Direct, p.Inherited} {
		for _, g := range list {
			given = append(given, g.Policies...)
		}
	}
	if p.Given = token.Policies(given); len(p.Given) > MaxGiven {
		return nil, invalid("the groups of the entity give more than %d policies", MaxGiven)
	}
	return p, nil
}

func byID(groups []*Group) {
	sort.Slice(groups, func(i, k int) bool { return groups[i].ID < groups[k].ID })
}

// NewGroup is a group that is not kept yet, with a name of its own.
func NewGroup(now time.Time) *Group {
	return &Group{ID: NewID(), Name: "group_" + NewID()[:8], Created: now.UTC()}
}

// Keep writes a group, among the others as they are. KindInvalid for what is not of its
// form, for members that there are not, and for a circle; KindExists for a name or an
// alias that another group has.
func (g *Group) Keep(s Store, gs *Groups, now time.Time) error {
	if err := checkName("a group", g.Name); err != nil {
		return err
	}
	if err := checkPolicies(g.Policies); err != nil {
		return err
	}
	if err := checkMeta(g.Metadata); err != nil {
		return err
	}
	was := gs.byID[g.ID]
	switch other := gs.ByName(g.Name); {
	case other != nil && other.ID != g.ID:
		return &vault.Error{Kind: vault.KindExists, Detail: "group name is already in use"}
	case was == nil && len(gs.all) >= MaxGroups:
		return invalid("there are at most %d groups", MaxGroups)
	case was != nil && was.External != g.External:
		return invalid("group type cannot be changed")
	case g.External && len(g.Members) > 0:
		return invalid("member entities can't be set manually for external groups")
	case g.External && len(g.Groups) > 0:
		return invalid("member groups can't be set for external groups")
	case !g.External && g.Alias != nil:
		return invalid("alias can't be set on an internal group")
	case len(g.Members) > MaxMembers || len(g.Groups) > MaxMembers:
		return invalid("a group has at most %d members of each kind", MaxMembers)
	}
	g.Members, g.Groups = unique(g.Members), unique(g.Groups)
	for _, id := range g.Members {
		if was != nil && slices.Contains(was.Members, id) {
			continue
		}
		if e, err := Find(s, id); err != nil {
			return err
		} else if e == nil {
			return invalid("a member entity does not exist")
		}
	}
	for _, id := range g.Groups {
		if gs.byID[id] == nil || id == g.ID {
			return invalid("a member group does not exist, or is the group itself")
		}
	}
	if a := g.Alias; a != nil {
		if err := checkName("an alias", a.Name); err != nil {
			return err
		}
		if other := gs.byAlias[a.Key]; other != nil && other.ID != g.ID {
			return &vault.Error{Kind: vault.KindExists, Detail: "group alias is already in use"}
		}
		if was == nil || was.Alias == nil || was.Alias.Key != a.Key || was.Alias.ID != a.ID {
			a.Stamp = rand.Text()
		}
	}
	all := slices.DeleteFunc(slices.Clone(gs.all), func(o *Group) bool { return o.ID == g.ID })
	next := groupsOf(append(all, g))
	above, err := next.height(g.ID, next.parents, map[string]int{})
	if err != nil {
		return err
	}
	members := map[string][]*Group{}
	for _, o := range next.all {
		for _, id := range o.Groups {
			if m := next.byID[id]; m != nil {
				members[o.ID] = append(members[o.ID], m)
			}
		}
	}
	below, err := next.height(g.ID, members, map[string]int{})
	if err != nil {
		return err
	}
	if above+below > MaxDepth {
		return invalid("groups in groups are at most %d deep", MaxDepth)
	}
	return g.put(s, now)
}

// height is how many groups are above, or below, one: the longest way. KindInvalid for
// a circle. of has what was found, -1 for what is being looked at.
func (gs *Groups) height(id string, to map[string][]*Group, of map[string]int) (int, error) {
	if h, ok := of[id]; ok {
		if h < 0 {
			return 0, invalid("cyclic relationship detected for member group")
		}
		return h, nil
	}
	of[id] = -1
	most := 0
	for _, g := range to[id] {
		h, err := gs.height(g.ID, to, of)
		if err != nil {
			return 0, err
		}
		most = max(most, h+1)
	}
	of[id] = most
	return most, nil
}

func (g *Group) put(s Store, now time.Time) error {
	g.Index++
	g.Updated = now.UTC()
	return s.Put(kindGroup, g.ID, g)
}

// Remove removes a group, and as a member of others.
func (g *Group) Remove(s Store, gs *Groups, now time.Time) error {
	for _, parent := range gs.parents[g.ID] {
		c := *parent
		c.Groups = without(parent.Groups, g.ID)
		if err := c.put(s, now); err != nil {
			return err
		}
	}
	return s.Delete(kindGroup, g.ID)
}

// NewAlias is an alias for a group that has none.
func NewAlias(key Key, now time.Time) *GroupAlias {
	return &GroupAlias{Key: key, ID: NewID(), Created: now.UTC(), Updated: now.UTC()}
}

func unique(ids []string) []string {
	out := slices.Clone(ids)
	slices.Sort(out)
	return slices.Compact(out)
}
