package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"envrun/vault"
	"envrun/vault/audit"
	"envrun/vault/guard"
	"envrun/vault/keyring"
	"envrun/vault/kv"
	"envrun/vault/policy"
	"envrun/vault/wire"
)

// kvEngine is KV version 2 (server-api §1.4): environments are such mounts.
type kvEngine struct {
	server string // the server's id, which every row is bound to
	ring   *keyring.Ring
	now    func() time.Time
	memo   *kv.Memo
}

func (e kvEngine) of(m *mount) *kv.Mount {
	return kv.Open(e.server, m.UUID, e.ring, e.now).Remember(e.memo)
}

func (e kvEngine) create(c *call, m *mount) error {
	switch m.Options["version"] {
	case "", "1":
		m.Options = merged(m.Options, map[string]string{"version": "1"})
	case "2":
	default:
		return bad("there is no KV of that version")
	}
	return e.make(c.Tx(), m)
}

func (e kvEngine) make(tx Tx, m *mount) error {
	if err := e.ring.NewKey(tx, m.UUID, e.now()); err != nil {
		return err
	}
	var conf kv.Config
	if m.Options["version"] == "1" {
		conf.MaxVersions = 1 // a write leaves nothing of what was there
	}
	return e.of(m).Create(tx, conf)
}

func (e kvEngine) drop(c *call, m *mount) error {
	if err := e.of(m).Drop(c.Tx()); err != nil {
		return err
	}
	if err := dropRotation(e.ring, c.Tx(), m); err != nil {
		return err
	}
	return e.ring.DropKey(c.Tx(), m.UUID)
}

// A kvCall is a path of a mount that something is asked of.
type kvCall struct {
	*kv.Mount
	of   *mount
	path string
	now  func() time.Time
}

// find makes the action of a request to a mount; rest is what is left of its path.
func (e kvEngine) find(req *guard.Request, m *mount, rest string) (action, error) {
	if m.Options["version"] == "1" {
		return e.findOld(req, m, rest)
	}
	area, path, _ := strings.Cut(rest, "/")
	k := kvCall{e.of(m), m, path, e.now}
	var do func(*call) (*answer, error)
	writes, creates := false, false
	type op = policy.Op
	ops := func(table map[op]func(*call) (*answer, error)) {
		do = table[req.Op]
		writes = req.Op != policy.OpRead && req.Op != policy.OpList
		creates = req.Op == policy.OpUpdate
	}
	switch area {
	case "data":
		if path == "" && req.Op != policy.OpList {
			do = func(*call) (*answer, error) {
				return astray("Non-listing operations on the root of a K/V v2 mount are not supported."), nil
			}
			break
		}
		ops(map[op]func(*call) (*answer, error){
			policy.OpRead: k.read, policy.OpUpdate: k.write, policy.OpPatch: k.patch, policy.OpDelete: k.remove,
		})
	case "metadata":
		if path == "" && (req.Op == policy.OpRead || req.Op == policy.OpDelete) {
			return action{}, errNothing
		}
		ops(map[op]func(*call) (*answer, error){
			policy.OpRead: k.readMeta, policy.OpUpdate: k.writeMeta, policy.OpPatch: k.patchMeta, policy.OpDelete: k.removeMeta, policy.OpList: k.list,
		})
	case "delete", "undelete", "destroy":
		ops(map[op]func(*call) (*answer, error){policy.OpUpdate: func(c *call) (*answer, error) { return k.versions(c, area) }})
		creates = false
	case "subkeys":
		ops(map[op]func(*call) (*answer, error){policy.OpRead: k.subkeys})
	case "config":
		if path != "" {
			return action{}, errNoSuchPath
		}
		ops(map[op]func(*call) (*answer, error){policy.OpRead: k.config, policy.OpUpdate: k.setConfig})
		creates = false
	default:
		do = func(c *call) (*answer, error) { return invalidPath(c.Op()), nil }
	}
	if do == nil {
		return action{}, errUnsupported
	}
	a := guard.Reads(do)
	if writes {
		a = guard.Writes(k.telling(do, strings.TrimSuffix(m.Path, "/"), change(req.Op, area)))
	}
	if creates {
		a = a.Existing(func(_ context.Context, tx Tx) (bool, error) {
			there, err := k.Exists(tx, path)
			if vault.KindOf(err) == vault.KindInvalid {
				err = nil // the handler says so, to those who may ask
			}
			return there, err
		})
	}
	return a.Noting(kvFacts(req, m, area)), nil
}

// change is what a write does to a secret, as streams of events tell it; "" for
// what is about none.
func change(op policy.Op, area string) string {
	switch area {
	case "data", "metadata":
		switch {
		case op == policy.OpDelete && area == "data":
			return wire.ChangeDelete
		case op == policy.OpDelete:
			return wire.ChangeRemove
		case area == "data":
			return wire.ChangeWrite
		}
		return wire.ChangeMetadata
	case "delete", "undelete", "destroy":
		return area
	}
	return ""
}

// telling is do, and tells of it.
func (k kvCall) telling(do func(*call) (*answer, error), mount, what string) func(*call) (*answer, error) {
	return func(c *call) (*answer, error) {
		a, err := do(c)
		if err != nil || what == "" || a.Status >= 300 {
			return a, err
		}
		e := wire.Change{Mount: mount, Path: k.path, What: what, Time: wire.Time{Time: k.now().UTC()}}
		if a.Facts != nil {
			e.Version = a.Facts.Version
		}
		return a, told(c.Tx(), e)
	}
}

// kvFacts is what of a request is recorded: names and numbers, no value.
func kvFacts(req *guard.Request, m *mount, area string) audit.Data {
	d := audit.Data{Environment: strings.TrimSuffix(m.Path, "/")}
	if data, ok := req.Params["data"].(map[string]any); ok && area == "data" {
		for name := range data {
			d.Keys = append(d.Keys, name)
		}
		slices.Sort(d.Keys)
	}
	if options, ok := req.Params["options"].(map[string]any); ok {
		if n, ok := options["cas"].(json.Number); ok {
			if cas, err := n.Int64(); err == nil && cas >= 0 {
				u := uint64(cas)
				d.CAS = &u
			}
		}
	}
	return d
}

// astray is the answer to a path that clients of KV version 1 ask for.
func astray(text string) *answer {
	return &answer{Status: http.StatusNotFound, Body: &reply{warnings: []string{text}}}
}

func invalidPath(op policy.Op) *answer {
	command := map[policy.Op]string{policy.OpRead: "get", policy.OpList: "list", policy.OpDelete: "delete", policy.OpPatch: "patch"}[op]
	if command == "" {
		command = "put"
	}
	return astray("Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. If using the Vault CLI, use 'vault kv " + command + "' for this operation.")
}

func actor(c *call) kv.Actor {
	return kv.Actor{Actor: c.Token().DisplayName, ClientID: c.Token().EntityID}
}

// secret is a version with its data as they were written, digit for digit.
type secret struct {
	Data     json.RawMessage `json:"data"`
	Metadata wire.Version    `json:"metadata"`
}

func (s secret) appendJSON(b []byte) ([]byte, error) {
	meta, err := encode(s.Metadata)
	if err != nil {
		return nil, err
	}
	if b = append(b, `{"data":`...); s.Data == nil {
		b = append(b, "null"...)
	}
	b = append(append(b, s.Data...), `,"metadata":`...)
	return append(append(b, bytes.TrimSuffix(meta, []byte("\n"))...), '}'), nil
}

func version(i kv.Info) wire.Version {
	return wire.Version{
		CreatedTime: wire.Time{Time: i.Created}, CustomMetadata: i.Custom, DeletionTime: wire.Time{Time: i.Deleted},
		Destroyed: i.Destroyed, Version: uint64(i.Version),
	}
}

// about is what is recorded of an answer about one version.
func about(a *answer, i kv.Info) *answer {
	a.Facts = &audit.Data{Version: uint64(i.Version)}
	return a
}

// asked is which version a read asks for, 0 for the current one.
func asked(c *call) (int64, error) {
	in, _, err := body[struct {
		Version wire.Int `json:"version"`
		Depth   wire.Int `json:"depth"`
	}](c)
	if err != nil {
		return 0, bad(`Field validation failed: error converting input for field "version": '' cannot parse value as 'int': strconv.ParseInt: invalid syntax`)
	}
	return max(0, int64(in.Version)), nil
}

func (k kvCall) get(c *call) (kv.Version, error) {
	n, err := asked(c)
	if err != nil {
		return kv.Version{}, err
	}
	return k.Get(c.Tx(), k.path, n)
}

func (k kvCall) read(c *call) (*answer, error) {
	v, err := k.get(c)
	if err != nil {
		return nil, err
	}
	a := answered(secret{Metadata: version(v.Info)})
	if v.Readable {
		a = answered(secret{Data: v.Data.Reveal(), Metadata: version(v.Info)})
	} else {
		a.Status = http.StatusNotFound
	}
	a.Body.(*reply).mayCache(k.of)
	return about(a, v.Info), nil
}

func (k kvCall) subkeys(c *call) (*answer, error) {
	v, err := k.get(c)
	if err != nil {
		return nil, err
	}
	out := wire.Subkeys{Metadata: version(v.Info)}
	if !v.Readable {
		a := answered(out)
		a.Status = http.StatusNotFound
		return about(a, v.Info), nil
	}
	in, _, err := body[struct {
		Version wire.Int `json:"version"`
		Depth   wire.Int `json:"depth"`
	}](c)
	if err != nil {
		return nil, err
	}
	var data map[string]json.RawMessage
	if err := json.Unmarshal(v.Data.Reveal(), &data); err != nil {
		return nil, &vault.Error{Kind: vault.KindMalformed, Op: "reading a secret", Detail: "it is not of its form"}
	}
	out.Subkeys = names2(data, int(in.Depth), 1)
	return about(answered(out), v.Info), nil
}

// names2 are the names in a secret and in the objects in it, down to depth; 0: all.
func names2(data map[string]json.RawMessage, depth, level int) map[string]any {
	out := make(map[string]any, len(data))
	for name, raw := range data {
		out[name] = nil
		var below map[string]json.RawMessage
		if (depth == 0 || level < depth) && len(raw) > 2 && raw[0] == '{' && json.Unmarshal(raw, &below) == nil {
			out[name] = names2(below, depth, level+1)
		}
	}
	return out
}

// A dataBody is what writes a version.
type dataBody struct {
	Data    json.RawMessage    `json:"data"`
	Options *wire.WriteOptions `json:"options"`
	Version wire.Int           `json:"version"` // taken and unused, as in both servers
}

func (k kvCall) data(c *call) (vault.Value, kv.Write, []string, error) {
	in, warnings, err := body[dataBody](c)
	if err != nil {
		return vault.Value{}, kv.Write{}, nil, err
	}
	if !sent(c, "data") {
		return vault.Value{}, kv.Write{}, nil, bad("no data provided")
	}
	switch v := c.Request().Params["data"].(type) {
	case nil:
		in.Data = json.RawMessage("null")
	case map[string]any:
	default:
		return vault.Value{}, kv.Write{}, nil, bad(`error converting input for field "data": '' expected a map, got '%s'`, kindOf(v))
	}
	w := kv.Write{By: actor(c)}
	if in.Options != nil && in.Options.CAS != nil {
		n := int64(*in.Options.CAS)
		w.CAS = &n
	}
	return vault.NewValue(slices.Clone(in.Data)), w, warnings, nil
}

func kindOf(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case bool:
		return "bool"
	case []any:
		return "array"
	}
	return "number"
}

func (k kvCall) write(c *call) (*answer, error) {
	data, w, warnings, err := k.data(c)
	if err != nil {
		return nil, err
	}
	info, err := k.Put(c.Tx(), k.path, data, w)
	if err != nil {
		return nil, err
	}
	return about(warn(answered(version(info)), warnings...), info), nil
}

// gone is a 404 without a body, as the two servers answer a patch of nothing.
var gone = &refusal{status: http.StatusNotFound, bare: true}

func (k kvCall) patch(c *call) (*answer, error) {
	data, w, warnings, err := k.data(c)
	if err != nil {
		return nil, err
	}
	info, err := k.Patch(c.Tx(), k.path, data, w)
	if vault.KindOf(err) == vault.KindNotFound {
		return nil, gone
	}
	if err != nil {
		return nil, err
	}
	a := warn(answered(version(info)), warnings...)
	if info.Destroyed || !info.Deleted.IsZero() && !info.Deleted.After(k.now()) {
		a.Status = http.StatusNotFound
	}
	return about(a, info), nil
}

func (k kvCall) remove(c *call) (*answer, error) {
	return done(), k.Delete(c.Tx(), k.path, actor(c))
}

func (k kvCall) versions(c *call, what string) (*answer, error) {
	in, warnings, err := body[wire.Versions](c)
	if err != nil {
		return nil, err
	}
	do, none := k.DeleteVersions, "No version number provided"
	switch what {
	case "undelete":
		do = k.Undelete
	case "destroy":
		do, none = k.Destroy, "no version number provided"
	}
	if len(in.Versions) == 0 {
		return nil, bad("%s", none)
	}
	a := done(warnings...)
	a.Facts = new(audit.Data)
	for _, n := range in.Versions {
		if n >= 0 {
			a.Facts.Versions = append(a.Facts.Versions, uint64(n))
		}
	}
	return a, do(c.Tx(), k.path, in.Versions, actor(c))
}

func (k kvCall) list(c *call) (*answer, error) {
	in, warnings, err := body[struct {
		After string   `json:"after"`
		Limit wire.Int `json:"limit"`
	}](c)
	if err != nil {
		return nil, err
	}
	names, err := k.List(c.Tx(), k.path, in.After, max(0, int(in.Limit)))
	if err != nil {
		return nil, err
	}
	a, err := keys(names)
	if err != nil {
		return nil, err
	}
	return warn(a, warnings...), nil
}

func who(a *kv.Actor) *wire.Actor {
	if a == nil {
		return nil
	}
	return &wire.Actor{Actor: a.Actor, ClientID: a.ClientID, Operation: a.Operation}
}

// metadata is what is known of a secret, with who wrote and deleted each version as
// Vault 1.21 has it: null where nobody did.
type metadata struct {
	wire.Metadata
	Versions map[string]versionTimes `json:"versions"`
}

type versionTimes struct {
	CreatedBy    *wire.Actor `json:"created_by"`
	CreatedTime  wire.Time   `json:"created_time"`
	DeletedBy    *wire.Actor `json:"deleted_by"`
	DeletionTime wire.Time   `json:"deletion_time"`
	Destroyed    bool        `json:"destroyed"`
}

func (k kvCall) readMeta(c *call) (*answer, error) {
	m, err := k.ReadMeta(c.Tx(), k.path)
	if err != nil {
		return nil, err
	}
	out := metadata{Metadata: wire.Metadata{
		CASRequired: m.CASRequired, CreatedTime: wire.Time{Time: m.Created}, CurrentVersion: uint64(m.CurrentVersion),
		CustomMetadata: m.Custom, DeleteVersionAfter: wire.Duration(m.DeleteAfter), LastUpdatedBy: who(m.UpdatedBy),
		MaxVersions: uint64(m.MaxVersions), OldestVersion: uint64(m.OldestVersion), UpdatedTime: wire.Time{Time: m.Updated},
	}, Versions: make(map[string]versionTimes, len(m.Versions))}
	for _, v := range m.Versions {
		out.Versions[strconv.FormatInt(v.Version, 10)] = versionTimes{
			CreatedBy: who(v.CreatedBy), CreatedTime: wire.Time{Time: v.Created}, DeletedBy: who(v.DeletedBy),
			DeletionTime: wire.Time{Time: v.Deleted}, Destroyed: v.Destroyed,
		}
	}
	return answered(out), nil
}

func (k kvCall) metaChange(c *call) (kv.MetaChange, []string, error) {
	in, warnings, err := body[struct {
		wire.MetadataWrite
		CustomMetadata *map[string]any `json:"custom_metadata"`
	}](c)
	if err != nil {
		return kv.MetaChange{}, nil, err
	}
	change := kv.MetaChange{By: actor(c)}
	change.MaxVersions = (*int64)(in.MaxVersions)
	change.CASRequired = (*bool)(in.CASRequired)
	change.DeleteAfter = (*time.Duration)(in.DeleteVersionAfter)
	if raw, ok := c.Request().Params["custom_metadata"].(map[string]any); ok {
		change.Custom = make(map[string]*string, len(raw))
		for name, v := range raw {
			var text string
			switch v := v.(type) {
			case nil:
				if c.Op() == policy.OpPatch {
					change.Custom[name] = nil
					continue
				}
			case string:
				text = v
			case json.Number:
				text = v.String()
			case bool:
				text = "0"
				if v {
					text = "1"
				}
			default:
				return change, nil, bad("custom_metadata validation failed: '' expected type 'string', got unconvertible type '%s'", map[bool]string{true: "map[string]interface {}", false: "[]interface {}"}[isMap(v)])
			}
			change.Custom[name] = &text
		}
	} else if sent(c, "custom_metadata") && c.Request().Params["custom_metadata"] == nil {
		change.Custom = map[string]*string{}
	}
	return change, warnings, nil
}

func isMap(v any) bool {
	_, ok := v.(map[string]any)
	return ok
}

func (k kvCall) writeMeta(c *call) (*answer, error) {
	return k.changeMeta(c, k.WriteMeta)
}

func (k kvCall) patchMeta(c *call) (*answer, error) {
	a, err := k.changeMeta(c, k.PatchMeta)
	if vault.KindOf(err) == vault.KindNotFound {
		err = gone
	}
	return a, err
}

func (k kvCall) changeMeta(c *call, do func(kv.Tx, string, kv.MetaChange) (bool, error)) (*answer, error) {
	if k.path == "" {
		return nil, errUnsupported
	}
	change, warnings, err := k.metaChange(c)
	if err != nil {
		return nil, err
	}
	overruled, err := do(c.Tx(), k.path, change)
	if err != nil {
		return nil, err
	}
	if overruled {
		warnings = append(warnings, `"cas_required" set to false, but is mandated by backend config. This value will be ignored.`)
	}
	return done(warnings...), nil
}

func (k kvCall) removeMeta(c *call) (*answer, error) {
	return done(), k.DeleteMeta(c.Tx(), k.path)
}

func (k kvCall) config(c *call) (*answer, error) {
	f, err := k.Config(c.Tx())
	if err != nil {
		return nil, err
	}
	return answered(wire.KVConfig{MaxVersions: uint64(f.MaxVersions), CASRequired: f.CASRequired, DeleteVersionAfter: wire.Duration(f.DeleteAfter)}), nil
}

func (k kvCall) setConfig(c *call) (*answer, error) {
	in, warnings, err := body[struct {
		MaxVersions        *wire.Int      `json:"max_versions"`
		CASRequired        *wire.Bool     `json:"cas_required"`
		DeleteVersionAfter *wire.Duration `json:"delete_version_after"`
	}](c)
	if err != nil {
		return nil, err
	}
	return done(warnings...), k.SetConfig(c.Tx(), kv.ConfigChange{
		MaxVersions: (*int64)(in.MaxVersions), CASRequired: (*bool)(in.CASRequired), DeleteAfter: (*time.Duration)(in.DeleteVersionAfter),
	})
}

// kvText is what the API says of an error of a KV mount, "" if it has no words of its own.
func kvText(err error) string {
	for _, known := range []error{kv.ErrCAS, kv.ErrCASRequired} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return ""
}
