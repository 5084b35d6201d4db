package server

import (
	"maps"
	"slices"

	"envrun/vault/identity"
	"envrun/vault/wire"
)

type entityBody struct {
	ID       string        `json:"id"`
	Name     *string       `json:"name"`
	Metadata *wire.Pairs   `json:"metadata"`
	Policies *wire.Strings `json:"policies"`
	Disabled *wire.Bool    `json:"disabled"`
}

func (b *entityBody) byID(id string) { b.ID = id }

func (b *entityBody) byName(name string) { b.ID, b.Name = "", &name }

// keepEntity makes an entity, or changes the one with the id, or else the name.
func (i identities) keepEntity(c *call, in entityBody, warnings []string) (*answer, error) {
	s := i.in(c.Tx())
	var was *identity.Entity
	var err error
	switch {
	case in.ID != "":
		if was, err = identity.Find(s, in.ID); err == nil && was == nil {
			err = bad("no entity has this id")
		}
	case in.Name != nil && *in.Name != "":
		was, err = identity.ByName(s, *in.Name)
	}
	if err != nil {
		return nil, err
	}
	e := identity.New(i.now())
	if was != nil {
		c := *was
		e = &c
	}
	if in.Name != nil && *in.Name != "" {
		e.Name = *in.Name
	}
	if in.Metadata != nil {
		e.Metadata = maps.Clone(map[string]string(*in.Metadata))
	}
	if in.Policies != nil {
		if e.Policies, err = identity.Policies(*in.Policies); err != nil {
			return nil, err
		}
	}
	if in.Disabled != nil {
		e.Disabled = bool(*in.Disabled)
	}
	if err := e.Keep(s, was, i.now()); err != nil {
		return nil, clash(err)
	}
	if err := i.changed(c.Tx()); err != nil {
		return nil, err
	}
	if was != nil {
		return changedEntity(done(warnings...), e), nil
	}
	return changedEntity(warn(answered(map[string]any{"aliases": nil, "id": e.ID, "name": e.Name}), warnings...), e), nil
}

func (i identities) readEntity(c *call, at []string) (*answer, error) {
	e, err := named(identity.Find(i.in(c.Tx()), at[0]))
	if err != nil {
		return nil, err
	}
	return i.showEntity(c, e)
}

func (i identities) readEntityName(c *call, at []string) (*answer, error) {
	e, err := named(identity.ByName(i.in(c.Tx()), at[0]))
	if err != nil {
		return nil, err
	}
	return i.showEntity(c, e)
}

func (i identities) showEntity(c *call, e *identity.Entity) (*answer, error) {
	groups, err := i.groups(c.Tx())
	if err != nil {
		return nil, err
	}
	who, err := groups.Person(e)
	if err != nil {
		return nil, err
	}
	mounts, err := i.mounts.now(c.Tx())
	if err != nil {
		return nil, err
	}
	aliases := []any{}
	for k := range e.Aliases {
		aliases = append(aliases, showAlias(mounts, e.ID, &e.Aliases[k]))
	}
	direct, inherited := idsOf(who.Direct), idsOf(who.Inherited)
	all := append(slices.Clone(direct), inherited...)
	slices.Sort(all)
	return answered(map[string]any{
		"aliases": aliases, "creation_time": wire.Time{Time: e.Created}, "direct_group_ids": direct, "disabled": e.Disabled, "group_ids": all,
		"id": e.ID, "inherited_group_ids": inherited, "last_update_time": wire.Time{Time: e.Updated}, "merged_entity_ids": nil,
		"metadata": e.Metadata, "name": e.Name, "namespace_id": "root", "policies": notNull(e.Policies),
	}), nil
}

func (i identities) removeEntity(c *call, at []string) (*answer, error) {
	e, err := identity.Find(i.in(c.Tx()), at[0])
	return i.dropEntity(c, e, err)
}

func (i identities) removeEntityName(c *call, at []string) (*answer, error) {
	e, err := identity.ByName(i.in(c.Tx()), at[0])
	return i.dropEntity(c, e, err)
}

func (i identities) dropEntity(c *call, e *identity.Entity, err error) (*answer, error) {
	if err != nil || e == nil {
		return done(), err
	}
	groups, err := i.groups(c.Tx())
	if err != nil {
		return nil, err
	}
	if err := e.Remove(i.in(c.Tx()), groups, i.now()); err != nil {
		return nil, err
	}
	return changedEntity(done(), e), i.changedGroups(c.Tx())
}

func (i identities) listEntities(c *call, _ []string) (*answer, error) {
	all, err := identity.All(i.in(c.Tx()))
	if err != nil {
		return nil, err
	}
	mounts, err := i.mounts.now(c.Tx())
	if err != nil {
		return nil, err
	}
	var ids []string
	info := map[string]any{}
	for _, e := range all {
		aliases := []any{}
		for _, a := range e.Aliases {
			path, kind := mountOf(mounts, a.Accessor)
			aliases = append(aliases, map[string]any{"id": a.ID, "mount_accessor": a.Accessor, "mount_path": path, "mount_type": kind, "name": a.Name})
		}
		ids = append(ids, e.ID)
		info[e.ID] = map[string]any{"name": e.Name, "aliases": aliases}
	}
	return listedByID(ids, info)
}

func (i identities) listEntityNames(c *call, _ []string) (*answer, error) {
	all, err := identity.All(i.in(c.Tx()))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range all {
		names = append(names, e.Name)
	}
	slices.Sort(names)
	return keys(names)
}

func showAlias(t *table, entity string, a *identity.Alias) map[string]any {
	path, kind := mountOf(t, a.Accessor)
	custom := a.Custom
	if custom == nil {
		custom = map[string]string{}
	}
	data := map[string]any{
		"canonical_id": entity, "creation_time": wire.Time{Time: a.Created}, "custom_metadata": custom, "id": a.ID,
		"last_update_time": wire.Time{Time: a.Updated}, "local": false, "merged_from_canonical_ids": nil, "metadata": a.Metadata,
		"mount_accessor": a.Accessor, "mount_path": path, "mount_type": kind, "name": a.Name,
	}
	if a.Issuer != "" {
		data["issuer"] = a.Issuer
	}
	return data
}

type aliasBody struct {
	ID       string      `json:"id"`
	Name     string      `json:"name"`
	Accessor string      `json:"mount_accessor"`
	Entity   string      `json:"canonical_id"`
	EntityID string      `json:"entity_id"` // the name of before
	Custom   *wire.Pairs `json:"custom_metadata"`
}

func (b *aliasBody) byID(id string) { b.ID = id }

// keepAlias makes an alias of an entity, or changes the one with the id, or else the
// name there. One that has another entity is moved: who signs in with it is the other
// from then on. Tokens keep the entity that they were made with.
func (i identities) keepAlias(c *call, in aliasBody, warnings []string) (*answer, error) {
	s := i.in(c.Tx())
	if in.Entity == "" {
		in.Entity = in.EntityID
	}
	var from *identity.Entity
	var err error
	a := identity.Alias{ID: identity.NewID(), Created: i.now().UTC()}
	if in.ID != "" {
		if from, err = identity.ByAliasID(s, in.ID); err == nil && from == nil {
			err = bad("invalid alias ID")
		}
		if err != nil {
			return nil, err
		}
		a = *from.Alias(in.ID)
		if in.Name == "" {
			in.Name = a.Name
		}
		if in.Accessor == "" {
			in.Accessor = a.Accessor
		}
	}
	switch {
	case in.Name == "":
		return nil, bad("missing alias name")
	case in.Accessor == "":
		return nil, bad("missing mount_accessor")
	}
	key, err := i.keyOf(c.Tx(), in.Accessor, in.Name)
	if err != nil {
		return nil, err
	}
	if from == nil {
		if from, err = identity.ByAlias(s, key); err != nil {
			return nil, err
		}
		if from != nil {
			for _, b := range from.Aliases {
				if b.Key == key {
					a = b
				}
			}
		}
	}
	a.Key, a.Updated = key, i.now().UTC()
	if in.Custom != nil {
		a.Custom = maps.Clone(map[string]string(*in.Custom))
	}
	to := from
	if in.Entity != "" && (from == nil || from.ID != in.Entity) {
		if to, err = identity.Find(s, in.Entity); err == nil && to == nil {
			err = bad("invalid canonical ID")
		}
		if err != nil {
			return nil, err
		}
	}
	groups, err := i.groups(c.Tx())
	if err != nil {
		return nil, err
	}
	if from != nil && from != to {
		if err := from.Without(a.ID, groups).Keep(s, from, i.now()); err != nil {
			return nil, err
		}
	}
	was := to
	if to == nil {
		to = identity.New(i.now())
	}
	next := to.Without(a.ID, groups)
	if had := to.Alias(a.ID); had != nil && had.Key == key { // it is the one that they sign in with
		next.External = to.External
	}
	next.Aliases = append(next.Aliases, a)
	to = next
	if err := to.Keep(s, was, i.now()); err != nil {
		return nil, clash(err)
	}
	if err := i.changed(c.Tx()); err != nil {
		return nil, err
	}
	return changedEntity(warn(answered(map[string]any{"canonical_id": to.ID, "id": a.ID}), warnings...), to), nil
}

func (i identities) readAlias(c *call, at []string) (*answer, error) {
	e, err := named(identity.ByAliasID(i.in(c.Tx()), at[0]))
	if err != nil {
		return nil, err
	}
	mounts, err := i.mounts.now(c.Tx())
	if err != nil {
		return nil, err
	}
	data := showAlias(mounts, e.ID, e.Alias(at[0]))
	data["namespace_id"] = "root"
	return answered(data), nil
}

func (i identities) removeAlias(c *call, at []string) (*answer, error) {
	s := i.in(c.Tx())
	e, err := identity.ByAliasID(s, at[0])
	if err != nil || e == nil {
		return done(), err
	}
	groups, err := i.groups(c.Tx())
	if err != nil {
		return nil, err
	}
	if err := e.Without(at[0], groups).Keep(s, e, i.now()); err != nil {
		return nil, err
	}
	return changedEntity(done(), e), i.changed(c.Tx())
}

func (i identities) listAliases(c *call, _ []string) (*answer, error) {
	all, err := identity.All(i.in(c.Tx()))
	if err != nil {
		return nil, err
	}
	mounts, err := i.mounts.now(c.Tx())
	if err != nil {
		return nil, err
	}
	var ids []string
	info := map[string]any{}
	for _, e := range all {
		for k := range e.Aliases {
			a := showAlias(mounts, e.ID, &e.Aliases[k])
			ids = append(ids, e.Aliases[k].ID)
			info[e.Aliases[k].ID] = pick(a, "canonical_id", "custom_metadata", "local", "metadata", "mount_accessor", "mount_path", "mount_type", "name")
		}
	}
	slices.Sort(ids)
	return listedByID(ids, info)
}
