package server

import (
	"maps"
	"slices"
	"time"

	"envrun/vault"
	"envrun/vault/audit"
	"envrun/vault/guard"
	"envrun/vault/identity"
	"envrun/vault/wire"
)

// identities is identity/ (server-api §1.7): who there is, and the groups.
type identities struct {
	*people
	mounts *tables
	now    func() time.Time
}

func (i identities) area() area {
	entity := func(req *guard.Request, at []string) audit.Data { return noteIdentity(req, at, "entity") }
	group := func(req *guard.Request, at []string) audit.Data { return noteIdentity(req, at, "group") }
	return area{
		{path: "entity", update: i.writeEntity, note: entity},
		{path: "entity/id", list: i.listEntities},
		{path: "entity/id/{id}", read: i.readEntity, update: i.writeEntityID, remove: i.removeEntity, note: entity},
		{path: "entity/name", list: i.listEntityNames},
		{path: "entity/name/{name...}", read: i.readEntityName, update: i.writeEntityName, remove: i.removeEntityName, note: entity},
		{path: "entity-alias", update: i.writeAlias, note: entity},
		{path: "entity-alias/id", list: i.listAliases},
		{path: "entity-alias/id/{id}", read: i.readAlias, update: i.writeAliasID, remove: i.removeAlias, note: entity},
		{path: "group", update: i.writeGroup, note: group},
		{path: "group/id", list: i.listGroups},
		{path: "group/id/{id}", read: i.readGroup, update: i.writeGroupID, remove: i.removeGroup, note: group},
		{path: "group/name", list: i.listGroupNames},
		{path: "group/name/{name...}", read: i.readGroupName, update: i.writeGroupName, remove: i.removeGroupName, note: group},
		{path: "group-alias", update: i.writeGroupAlias, note: group},
		{path: "group-alias/id", list: i.listGroupAliases},
		{path: "group-alias/id/{id}", read: i.readGroupAlias, update: i.writeGroupAliasID, remove: i.removeGroupAlias, note: group},
		{path: "lookup/entity", update: i.lookupEntity, looks: true},
		{path: "lookup/group", update: i.lookupGroup, looks: true},
	}
}

// noteIdentity is what a request says it changes; the outcome has what it was.
func noteIdentity(req *guard.Request, _ []string, what string) (d audit.Data) {
	text := func(name string) string {
		s, _ := req.Params[name].(string)
		return cut(s, 128)
	}
	d.Type = what
	switch list := req.Params["policies"].(type) {
	case string:
		d.Policies = []string{cut(list, 512)}
	case []any:
		for _, v := range list {
			if s, ok := v.(string); ok && len(d.Policies) < identity.MaxPolicies {
				d.Policies = append(d.Policies, cut(s, 128))
			}
		}
	}
	if what == "group" {
		d.Group = text("name")
	}
	return d
}

// changedEntity and changedGroup are answers that say in the record what was changed.
func changedEntity(a *answer, e *identity.Entity) *answer {
	a.Facts = &audit.Data{Type: "entity", Entity: e.ID, Policies: e.Policies}
	return a
}

func changedGroup(a *answer, g *identity.Group) *answer {
	a.Facts = &audit.Data{Type: "group", Group: cut(g.Name, 128), Policies: g.Policies}
	return a
}

// named makes a nil record the 404 that says nothing is there.
func named[T any](v *T, err error) (*T, error) {
	if err == nil && v == nil {
		err = errNothing
	}
	return v, err
}

// --- entities

type entityBody struct {
	ID       string        `json:"id"`
	Name     *string       `json:"name"`
	Metadata *wire.Pairs   `json:"metadata"`
	Policies *wire.Strings `json:"policies"`
	Disabled *wire.Bool    `json:"disabled"`
}

func (i identities) writeEntity(c *call, _ []string) (*answer, error) {
	in, warnings, err := body[entityBody](c)
	if err != nil {
		return nil, err
	}
	return i.keepEntity(c, in, warnings)
}

func (i identities) writeEntityID(c *call, at []string) (*answer, error) {
	in, warnings, err := body[entityBody](c)
	if err != nil {
		return nil, err
	}
	in.ID = at[0]
	return i.keepEntity(c, in, warnings)
}

func (i identities) writeEntityName(c *call, at []string) (*answer, error) {
	in, warnings, err := body[entityBody](c)
	if err != nil {
		return nil, err
	}
	in.ID, in.Name = "", &at[0]
	return i.keepEntity(c, in, warnings)
}

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

// clash makes what is taken already a 400, as both servers do.
func clash(err error) error {
	if vault.KindOf(err) == vault.KindExists {
		return bad("%s", err.(*vault.Error).Detail)
	}
	return err
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

func idsOf(groups []*identity.Group) []string {
	ids := []string{}
	for _, g := range groups {
		ids = append(ids, g.ID)
	}
	return ids
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

// listed answers a list by id, with what each is called.
func listedByID(ids []string, info map[string]any) (*answer, error) {
	if len(ids) == 0 {
		return nil, errNothing
	}
	a := answered(map[string]any{"keys": ids, "key_info": info})
	a.Facts = &audit.Data{Count: int64(len(ids))}
	return a, nil
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

// --- aliases of entities

// mountOf is where an accessor is mounted, and its type; "" if it is not.
func mountOf(t *table, accessor string) (path, kind string) {
	for _, m := range t.auth {
		if m.Accessor == accessor {
			return "auth/" + m.Path, m.Type
		}
	}
	return "", ""
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

// keyOf is what an alias is found by: at a way to sign in, of the issuer that it has now.
func (i identities) keyOf(tx Tx, accessor, name string) (identity.Key, error) {
	none := identity.Key{}
	t, err := i.mounts.now(tx)
	if err != nil {
		return none, err
	}
	for _, m := range t.auth {
		if m.Accessor != accessor {
			continue
		}
		key := identity.Key{Accessor: accessor, Name: name}
		switch {
		case m.JWT != nil:
			key.Issuer = m.JWT.issuer()
		case m.Type == "jwt" || m.Type == "oidc":
			return none, bad("an alias is of the issuer of its mount: write auth/%sconfig first", m.Path)
		}
		return key, nil
	}
	return none, bad("invalid mount accessor")
}

func (i identities) writeAlias(c *call, _ []string) (*answer, error) {
	in, warnings, err := body[aliasBody](c)
	if err != nil {
		return nil, err
	}
	return i.keepAlias(c, in, warnings)
}

func (i identities) writeAliasID(c *call, at []string) (*answer, error) {
	in, warnings, err := body[aliasBody](c)
	if err != nil {
		return nil, err
	}
	in.ID = at[0]
	return i.keepAlias(c, in, warnings)
}

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

func pick(from map[string]any, names ...string) map[string]any {
	out := map[string]any{}
	for _, n := range names {
		out[n] = from[n]
	}
	return out
}

// --- groups

type groupBody struct {
	ID       string        `json:"id"`
	Name     *string       `json:"name"`
	Type     string        `json:"type"`
	Policies *wire.Strings `json:"policies"`
	Metadata *wire.Pairs   `json:"metadata"`
	Entities *wire.Strings `json:"member_entity_ids"`
	Groups   *wire.Strings `json:"member_group_ids"`
}

func (i identities) writeGroup(c *call, _ []string) (*answer, error) {
	in, warnings, err := body[groupBody](c)
	if err != nil {
		return nil, err
	}
	return i.keepGroup(c, in, warnings)
}

func (i identities) writeGroupID(c *call, at []string) (*answer, error) {
	in, warnings, err := body[groupBody](c)
	if err != nil {
		return nil, err
	}
	in.ID = at[0]
	return i.keepGroup(c, in, warnings)
}

func (i identities) writeGroupName(c *call, at []string) (*answer, error) {
	in, warnings, err := body[groupBody](c)
	if err != nil {
		return nil, err
	}
	in.ID, in.Name = "", &at[0]
	return i.keepGroup(c, in, warnings)
}

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

// --- aliases of groups

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

func (i identities) writeGroupAlias(c *call, _ []string) (*answer, error) {
	in, warnings, err := body[groupAliasBody](c)
	if err != nil {
		return nil, err
	}
	return i.keepGroupAlias(c, in, warnings)
}

func (i identities) writeGroupAliasID(c *call, at []string) (*answer, error) {
	in, warnings, err := body[groupAliasBody](c)
	if err != nil {
		return nil, err
	}
	in.ID = at[0]
	return i.keepGroupAlias(c, in, warnings)
}

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

// --- looking up

type lookupBody struct {
	Name     string `json:"name"`
	ID       string `json:"id"`
	AliasID  string `json:"alias_id"`
	Alias    string `json:"alias_name"`
	Accessor string `json:"alias_mount_accessor"`
}

func (in *lookupBody) check() error {
	switch {
	case in.Name == "" && in.ID == "" && in.AliasID == "" && in.Alias == "":
		return bad("query parameters not supplied")
	case in.Alias != "" && in.Accessor == "":
		return bad("'alias_mount_accessor' must be specified with 'alias_name'")
	}
	return nil
}

func (i identities) lookupEntity(c *call, _ []string) (*answer, error) {
	in, warnings, err := body[lookupBody](c)
	if err == nil {
		err = in.check()
	}
	if err != nil {
		return nil, err
	}
	s := i.in(c.Tx())
	var e *identity.Entity
	switch {
	case in.ID != "":
		e, err = identity.Find(s, in.ID)
	case in.Name != "":
		e, err = identity.ByName(s, in.Name)
	case in.AliasID != "":
		e, err = identity.ByAliasID(s, in.AliasID)
	default:
		var key identity.Key
		if key, err = i.keyOf(c.Tx(), in.Accessor, in.Alias); err == nil {
			e, err = identity.ByAlias(s, key)
		}
	}
	if err != nil {
		return nil, err
	}
	if e == nil {
		return done(warnings...), nil
	}
	a, err := i.showEntity(c, e)
	if err != nil {
		return nil, err
	}
	return warn(a, warnings...), nil
}

func (i identities) lookupGroup(c *call, _ []string) (*answer, error) {
	in, warnings, err := body[lookupBody](c)
	if err == nil {
		err = in.check()
	}
	if err != nil {
		return nil, err
	}
	a, err := i.showGroup(c, func(gs *identity.Groups) (*identity.Group, error) {
		switch {
		case in.ID != "":
			return gs.ByID(in.ID), nil
		case in.Name != "":
			return gs.ByName(in.Name), nil
		case in.AliasID != "":
			return gs.ByAliasID(in.AliasID), nil
		}
		key, err := i.keyOf(c.Tx(), in.Accessor, in.Alias)
		return gs.ByAlias(key), err
	})
	if err == errNothing {
		return done(warnings...), nil
	}
	if err != nil {
		return nil, err
	}
	return warn(a, warnings...), nil
}
