package server

import (
	"maps"
	"slices"

	"envrun/vault/identity"
	"envrun/vault/wire"
)

type groupBody struct {
	ID       string        `json:"id"`
	Name     *string       `json:"name"`
	Type     string        `json:"type"`
	Policies *wire.Strings `json:"policies"`
	Metadata *wire.Pairs   `json:"metadata"`
	Entities *wire.Strings `json:"member_entity_ids"`
	Groups   *wire.Strings `json:"member_group_ids"`
}

func (b *groupBody) byID(id string) { b.ID = id }

func (b *groupBody) byName(name string) { b.ID, b.Name = "", &name }

func (i identities) keepGroup(c *call, in groupBody, warnings []string) (*answer, error) {
	groups, err := i.groups(c.Tx())
	if err != nil {
		return nil, err
	}
	var was *identity.Group
	switch {
	case in.ID != "":
		if was = groups.ByID(in.ID); was == nil {
			return nil, bad("no group has this id")
		}
	case in.Name != nil && *in.Name != "":
		was = groups.ByName(*in.Name)
	}
	g := identity.NewGroup(i.now())
	if was != nil {
		c := *was
		g = &c
	}
	switch in.Type {
	case "":
	case "internal", "external":
		g.External = in.Type == "external"
	default:
		return nil, bad("'type' is internal or external")
	}
	if in.Name != nil && *in.Name != "" {
		g.Name = *in.Name
	}
	if in.Metadata != nil {
		g.Metadata = maps.Clone(map[string]string(*in.Metadata))
	}
	if in.Policies != nil {
		if g.Policies, err = identity.Policies(*in.Policies); err != nil {
			return nil, err
		}
	}
	set(&g.Members, (*[]string)(in.Entities))
	set(&g.Groups, (*[]string)(in.Groups))
	if err := g.Keep(i.in(c.Tx()), groups, i.now()); err != nil {
		return nil, clash(err)
	}
	a := warn(answered(map[string]any{"id": g.ID, "name": g.Name}), warnings...)
	return changedGroup(a, g), i.changedGroups(c.Tx())
}

func (i identities) readGroup(c *call, at []string) (*answer, error) {
	return i.showGroup(c, func(gs *identity.Groups) (*identity.Group, error) { return gs.ByID(at[0]), nil })
}

func (i identities) readGroupName(c *call, at []string) (*answer, error) {
	return i.showGroup(c, func(gs *identity.Groups) (*identity.Group, error) { return gs.ByName(at[0]), nil })
}

func (i identities) showGroup(c *call, find func(*identity.Groups) (*identity.Group, error)) (*answer, error) {
	groups, err := i.groups(c.Tx())
	if err != nil {
		return nil, err
	}
	g, err := named(find(groups))
	if err != nil {
		return nil, err
	}
	mounts, err := i.mounts.now(c.Tx())
	if err != nil {
		return nil, err
	}
	members := g.Members
	if g.External {
		all, err := identity.All(i.in(c.Tx()))
		if err != nil {
			return nil, err
		}
		for _, e := range all {
			if g.Has(e) {
				members = append(members, e.ID)
			}
		}
	}
	alias := map[string]any{}
	if g.Alias != nil {
		alias = showGroupAlias(mounts, g)
	}
	var parents []string
	for _, p := range groups.Parents(g.ID) {
		parents = append(parents, p.ID)
	}
	return answered(map[string]any{
		"alias": alias, "creation_time": wire.Time{Time: g.Created}, "id": g.ID, "last_update_time": wire.Time{Time: g.Updated},
		"member_entity_ids": members, "member_group_ids": orNull(g.Groups), "metadata": g.Metadata, "modify_index": g.Index,
		"name": g.Name, "namespace_id": "root", "parent_group_ids": parents, "policies": notNull(g.Policies), "type": typeOf(g),
	}), nil
}

// orNull is a list that is null in JSON when it is empty.
func orNull(l []string) []string {
	if len(l) == 0 {
		return nil
	}
	return l
}

func typeOf(g *identity.Group) string {
	if g.External {
		return "external"
	}
	return "internal"
}

func (i identities) removeGroup(c *call, at []string) (*answer, error) {
	return i.dropGroup(c, func(gs *identity.Groups) *identity.Group { return gs.ByID(at[0]) })
}

func (i identities) removeGroupName(c *call, at []string) (*answer, error) {
	return i.dropGroup(c, func(gs *identity.Groups) *identity.Group { return gs.ByName(at[0]) })
}

func (i identities) dropGroup(c *call, find func(*identity.Groups) *identity.Group) (*answer, error) {
	groups, err := i.groups(c.Tx())
	if err != nil {
		return nil, err
	}
	g := find(groups)
	if g == nil {
		return done(), nil
	}
	if err := g.Remove(i.in(c.Tx()), groups, i.now()); err != nil {
		return nil, err
	}
	return changedGroup(done(), g), i.changedGroups(c.Tx())
}

func (i identities) listGroups(c *call, _ []string) (*answer, error) {
	groups, err := i.groups(c.Tx())
	if err != nil {
		return nil, err
	}
	mounts, err := i.mounts.now(c.Tx())
	if err != nil {
		return nil, err
	}
	all, err := identity.All(i.in(c.Tx()))
	if err != nil {
		return nil, err
	}
	in := map[string]int{}
	for _, e := range all {
		for id := range e.External {
			if g := groups.ByID(id); g != nil && g.Has(e) {
				in[id]++
			}
		}
	}
	var ids []string
	info := map[string]any{}
	for _, g := range groups.All() {
		ids = append(ids, g.ID)
		about := map[string]any{"name": g.Name, "num_member_entities": len(g.Members) + in[g.ID], "num_parent_groups": len(groups.Parents(g.ID))}
		if g.Alias != nil {
			about["alias"] = pick(showGroupAlias(mounts, g), "id", "mount_accessor", "mount_path", "mount_type", "name")
		}
		info[g.ID] = about
	}
	return listedByID(ids, info)
}

func (i identities) listGroupNames(c *call, _ []string) (*answer, error) {
	groups, err := i.groups(c.Tx())
	if err != nil {
		return nil, err
	}
	var names []string
	for _, g := range groups.All() {
		names = append(names, g.Name)
	}
	slices.Sort(names)
	return keys(names)
}

func showGroupAlias(t *table, g *identity.Group) map[string]any {
	path, kind := mountOf(t, g.Alias.Accessor)
	data := map[string]any{
		"canonical_id": g.ID, "creation_time": wire.Time{Time: g.Alias.Created}, "id": g.Alias.ID, "last_update_time": wire.Time{Time: g.Alias.Updated},
		"merged_from_canonical_ids": nil, "metadata": nil, "mount_accessor": g.Alias.Accessor, "mount_path": path, "mount_type": kind, "name": g.Alias.Name,
	}
	if g.Alias.Issuer != "" {
		data["issuer"] = g.Alias.Issuer
	}
	return data
}

type groupAliasBody struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Accessor string `json:"mount_accessor"`
	Group    string `json:"canonical_id"`
}

func (b *groupAliasBody) byID(id string) { b.ID = id }

// keepGroupAlias says what a group is called in the claims of a mount's issuer. Who
// was in a group of another name there is in it no more.
func (i identities) keepGroupAlias(c *call, in groupAliasBody, warnings []string) (*answer, error) {
	groups, err := i.groups(c.Tx())
	if err != nil {
		return nil, err
	}
	var from *identity.Group
	if in.ID != "" {
		if from = groups.ByAliasID(in.ID); from == nil {
			return nil, bad("invalid group alias ID")
		}
		if in.Name == "" {
			in.Name = from.Alias.Name
		}
		if in.Accessor == "" {
			in.Accessor = from.Alias.Accessor
		}
		if in.Group == "" {
			in.Group = from.ID
		}
	}
	switch {
	case in.Name == "":
		return nil, bad("missing alias name")
	case in.Accessor == "":
		return nil, bad("missing mount_accessor")
	case in.Group == "":
		return nil, bad("missing canonical_id: the id of the group")
	}
	to := groups.ByID(in.Group)
	switch {
	case to == nil:
		return nil, bad("invalid canonical ID")
	case !to.External:
		return nil, bad("alias can't be set on an internal group")
	case from != nil && from.ID != to.ID:
		return nil, bad("the alias is of another group: delete it first")
	}
	key, err := i.keyOf(c.Tx(), in.Accessor, in.Name)
	if err != nil {
		return nil, err
	}
	g := *to
	alias := identity.NewAlias(key, i.now())
	if to.Alias != nil {
		alias.ID, alias.Created, alias.Stamp = to.Alias.ID, to.Alias.Created, to.Alias.Stamp
	}
	g.Alias = alias
	if err := g.Keep(i.in(c.Tx()), groups, i.now()); err != nil {
		return nil, clash(err)
	}
	a := warn(answered(map[string]any{"canonical_id": g.ID, "id": alias.ID}), warnings...)
	return changedGroup(a, &g), i.changedGroups(c.Tx())
}

func (i identities) readGroupAlias(c *call, at []string) (*answer, error) {
	groups, err := i.groups(c.Tx())
	if err != nil {
		return nil, err
	}
	g, err := named(groups.ByAliasID(at[0]), nil)
	if err != nil {
		return nil, err
	}
	mounts, err := i.mounts.now(c.Tx())
	if err != nil {
		return nil, err
	}
	data := showGroupAlias(mounts, g)
	data["namespace_id"], data["local"], data["custom_metadata"] = "root", false, nil
	return answered(data), nil
}

func (i identities) removeGroupAlias(c *call, at []string) (*answer, error) {
	groups, err := i.groups(c.Tx())
	if err != nil {
		return nil, err
	}
	g := groups.ByAliasID(at[0])
	if g == nil {
		return done(), nil
	}
	left := *g
	left.Alias = nil
	if err := left.Keep(i.in(c.Tx()), groups, i.now()); err != nil {
		return nil, err
	}
	return changedGroup(done(), g), i.changedGroups(c.Tx())
}

func (i identities) listGroupAliases(c *call, _ []string) (*answer, error) {
	groups, err := i.groups(c.Tx())
	if err != nil {
		return nil, err
	}
	mounts, err := i.mounts.now(c.Tx())
	if err != nil {
		return nil, err
	}
	var ids []string
	info := map[string]any{}
	for _, g := range groups.All() {
		if g.Alias != nil {
			ids = append(ids, g.Alias.ID)
			about := pick(showGroupAlias(mounts, g), "canonical_id", "metadata", "mount_accessor", "mount_path", "mount_type", "name")
			about["local"], about["custom_metadata"] = false, nil
			info[g.Alias.ID] = about
		}
	}
	slices.Sort(ids)
	return listedByID(ids, info)
}
