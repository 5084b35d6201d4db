package server

import (
	"time"

	"envrun/vault"
	"envrun/vault/audit"
	"envrun/vault/guard"
	"envrun/vault/identity"
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
		{path: "entity", update: writing(i.keepEntity, nil), note: entity},
		{path: "entity/id", list: i.listEntities},
		{path: "entity/id/{id}", read: i.readEntity, update: writing(i.keepEntity, (*entityBody).byID), remove: i.removeEntity, note: entity},
		{path: "entity/name", list: i.listEntityNames},
		{path: "entity/name/{name...}", read: i.readEntityName, update: writing(i.keepEntity, (*entityBody).byName), remove: i.removeEntityName, note: entity},
		{path: "entity-alias", update: writing(i.keepAlias, nil), note: entity},
		{path: "entity-alias/id", list: i.listAliases},
		{path: "entity-alias/id/{id}", read: i.readAlias, update: writing(i.keepAlias, (*aliasBody).byID), remove: i.removeAlias, note: entity},
		{path: "group", update: writing(i.keepGroup, nil), note: group},
		{path: "group/id", list: i.listGroups},
		{path: "group/id/{id}", read: i.readGroup, update: writing(i.keepGroup, (*groupBody).byID), remove: i.removeGroup, note: group},
		{path: "group/name", list: i.listGroupNames},
		{path: "group/name/{name...}", read: i.readGroupName, update: writing(i.keepGroup, (*groupBody).byName), remove: i.removeGroupName, note: group},
		{path: "group-alias", update: writing(i.keepGroupAlias, nil), note: group},
		{path: "group-alias/id", list: i.listGroupAliases},
		{path: "group-alias/id/{id}", read: i.readGroupAlias, update: writing(i.keepGroupAlias, (*groupAliasBody).byID), remove: i.removeGroupAlias, note: group},
		{path: "lookup/entity", update: i.lookupEntity, looks: true},
		{path: "lookup/group", update: i.lookupGroup, looks: true},
	}
}

// writing is a write of what a body says. Where the path says which record is meant,
// path puts that into the body: it goes before what the body says of it.
func writing[B any](keep func(*call, B, []string) (*answer, error), path func(*B, string)) func(*call, []string) (*answer, error) {
	return func(c *call, at []string) (*answer, error) {
		in, warnings, err := body[B](c)
		if err != nil {
			return nil, err
		}
		if path != nil {
			path(&in, at[0])
		}
		return keep(c, in, warnings)
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

// clash makes what is taken already a 400, as both servers do.
func clash(err error) error {
	if vault.KindOf(err) == vault.KindExists {
		return bad("%s", err.(*vault.Error).Detail)
	}
	return err
}

func idsOf(groups []*identity.Group) []string {
	ids := []string{}
	for _, g := range groups {
		ids = append(ids, g.ID)
	}
	return ids
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

// mountOf is where an accessor is mounted, and its type; "" if it is not.
func mountOf(t *table, accessor string) (path, kind string) {
	for _, m := range t.auth {
		if m.Accessor == accessor {
			return "auth/" + m.Path, m.Type
		}
	}
	return "", ""
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

func pick(from map[string]any, names ...string) map[string]any {
	out := map[string]any{}
	for _, n := range names {
		out[n] = from[n]
	}
	return out
}

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
