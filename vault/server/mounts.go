package server

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"envrun/auth/token"
	"envrun/vault/audit"
	"envrun/vault/guard"
	"envrun/vault/wire"
)

// The system's own times, where a mount or a token says nothing.
const systemTTL = 768 * time.Hour

// A mount is one secrets engine, or one way to sign in, as it is kept.
type mount struct {
	Path        string            `json:"path"` // "prod/"
	Type        string            `json:"type"` // "kv", "cubbyhole", "system", "token"
	UUID        string            `json:"uuid"` // never changes, also when the mount is moved
	Accessor    string            `json:"accessor"`
	Description string            `json:"description,omitempty"`
	Options     map[string]string `json:"options,omitempty"`
	DefaultTTL  time.Duration     `json:"default_ttl,omitempty"` // 0: the system's
	MaxTTL      time.Duration     `json:"max_ttl,omitempty"`
	Listing     string            `json:"listing,omitempty"` // "unauth": shown to everybody
	Local       bool              `json:"local,omitempty"`
	SealWrap    bool              `json:"seal_wrap,omitempty"`
	JWT         *jwtConfig        `json:"jwt,omitempty"` // of a jwt mount that was configured
	Kube        *kubeConfig       `json:"kubernetes,omitempty"`
}

func (m *mount) fact() guard.Mount {
	return guard.Mount{Path: m.Path, Type: m.Type, Accessor: m.Accessor}
}

// show is the mount as the API describes it; with effective times where the API does.
func (m *mount) show(effective bool) wire.Mount {
	w := wire.Mount{
		Accessor: m.Accessor, Description: m.Description, Local: m.Local, Options: m.Options, SealWrap: m.SealWrap,
		Type: m.Type, UUID: m.UUID,
		Config: wire.MountConfig{DefaultLeaseTTL: secs(m.DefaultTTL), MaxLeaseTTL: secs(m.MaxTTL), ListingVisibility: m.Listing},
	}
	switch m.Type {
	case "token":
		w.Config.TokenType = "default-service"
	case "identity":
		w.Config.PassthroughRequestHeaders = []string{"Authorization"}
	case "system":
		w.Config.PassthroughRequestHeaders = []string{"Accept"}
	case "kv":
		w.DeprecationStatus = "supported"
	}
	w.RunningPluginVersion = runningVersion
	if effective {
		w.Config.DefaultLeaseTTL, w.Config.MaxLeaseTTL = m.effective()
	}
	return w
}

// runningVersion is what stands for the version of an engine: all are built in.
const runningVersion = "v1.0.0+builtin.envrun"

func (m *mount) effective() (defaultTTL, maxTTL int64) {
	defaultTTL, maxTTL = secs(m.DefaultTTL), secs(m.MaxTTL)
	if defaultTTL == 0 {
		defaultTTL = secs(systemTTL)
	}
	if maxTTL == 0 {
		maxTTL = secs(systemTTL)
	}
	return defaultTTL, maxTTL
}

// A table is all mounts, as one generation of them was. It does not change.
type table struct {
	generation uint64
	secret     []*mount // sorted by path
	auth       []*mount // sorted by path, which is that below auth/
}

// at is the mount that a path lies in, and what is left of the path below it.
func at(mounts []*mount, path string) (m *mount, rest string) {
	for _, c := range mounts {
		if r, ok := strings.CutPrefix(path, c.Path); ok {
			return c, r
		}
		if path+"/" == c.Path {
			return c, ""
		}
	}
	return nil, ""
}

// tables keeps the table of the newest generation that was seen.
type tables struct {
	store
	mu   sync.Mutex
	last *table
}

func (t *tables) now(tx Tx) (*table, error) {
	generation, err := t.Generation(tx)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	last := t.last
	t.mu.Unlock()
	if last != nil && last.generation == generation {
		return last, nil
	}
	fresh := &table{generation: generation}
	if fresh.secret, err = t.all(tx, kindMount); err != nil {
		return nil, err
	}
	if fresh.auth, err = t.all(tx, kindAuth); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == nil || t.last.generation < generation {
		t.last = fresh
	}
	return fresh, nil
}

func (t *tables) all(tx Tx, kind string) ([]*mount, error) {
	names, err := tx.BlobNames(kind)
	if err != nil {
		return nil, err
	}
	mounts := make([]*mount, 0, len(names))
	for _, name := range names {
		m := new(mount)
		there, err := t.get(tx, kind, name, m)
		if err != nil {
			return nil, err
		}
		if there {
			mounts = append(mounts, m)
		}
	}
	return mounts, nil
}

// An engine is what a type of mount does when one is made, moved or removed.
type engine interface {
	create(c *call, m *mount) error
	drop(c *call, m *mount) error
}

// mountArea is sys/mounts, sys/auth and what interfaces ask about them.
type mountArea struct {
	*tables
	engines map[string]engine     // by type
	auths   map[string]authEngine // ways to sign in, by type
	tokens  *token.Tokens
	people  *people
}

func (a mountArea) area() area {
	named := func(req *guard.Request, at []string) audit.Data {
		d := audit.Data{MountPoint: cut(strings.TrimSuffix(strings.Trim(at[0], "/"), "/tune"), 256) + "/"}
		if s, ok := req.Params["type"].(string); ok {
			d.Type = cut(s, 64)
		}
		return d
	}
	moved := func(req *guard.Request, _ []string) audit.Data {
		s, _ := req.Params["from"].(string)
		return audit.Data{MountPoint: cut(s, 256)}
	}
	return area{
		{path: "mounts", read: a.list},
		{path: "mounts/{path...}", read: a.read, update: a.write, remove: a.disable, note: named},
		{path: "auth", read: a.listAuth},
		{path: "auth/{path...}", read: a.readAuth, update: a.writeAuth, remove: a.disableAuth, note: named},
		{path: "remount", update: a.move, note: moved},
		{path: "remount/status/{id}", read: a.moved},
		{path: "internal/ui/mounts", read: a.visible, open: true},
		{path: "internal/ui/mounts/{path...}", read: a.preflight, private: true},
	}
}

func (a mountArea) list(c *call, _ []string) (*answer, error) {
	t, err := a.now(c.Tx())
	if err != nil {
		return nil, err
	}
	return flat(shown(t.secret)), nil
}

func (a mountArea) listAuth(c *call, _ []string) (*answer, error) {
	t, err := a.now(c.Tx())
	if err != nil {
		return nil, err
	}
	return flat(shown(t.auth)), nil
}

func shown(mounts []*mount) wire.Mounts {
	all := wire.Mounts{}
	for _, m := range mounts {
		all[m.Path] = m.show(false)
	}
	return all
}

// clean is the path of a mount as it is kept, and whether the request is about its tuning.
func clean(path string) (string, bool) {
	path = strings.Trim(path, "/")
	path, tune := strings.CutSuffix(path, "/tune")
	return path + "/", tune
}

func find(mounts []*mount, path string) *mount {
	for _, m := range mounts {
		if m.Path == path {
			return m
		}
	}
	return nil
}

func (a mountArea) read(c *call, rest []string) (*answer, error) {
	t, err := a.now(c.Tx())
	if err != nil {
		return nil, err
	}
	path, tune := clean(rest[0])
	mounts, kind := t.secret, "secret engine"
	// sys/mounts/auth/github/tune is how some clients tune a way to sign in.
	if p, ok := strings.CutPrefix(path, "auth/"); ok && tune {
		path, mounts = p, t.auth
	}
	m := find(mounts, path)
	if m == nil {
		return nil, bad("No %s mount at %s", kind, path)
	}
	return described(m, tune), nil
}

func (a mountArea) readAuth(c *call, rest []string) (*answer, error) {
	t, err := a.now(c.Tx())
	if err != nil {
		return nil, err
	}
	path, tune := clean(rest[0])
	m := find(t.auth, path)
	if m == nil {
		return nil, bad("No auth engine at %s", path)
	}
	return described(m, tune), nil
}

func described(m *mount, tune bool) *answer {
	if !tune {
		w := m.show(false)
		w.DeprecationStatus = "supported"
		return flat(w)
	}
	w := wire.MountTuning{MountConfig: m.show(true).Config, Description: m.Description, Options: m.Options}
	return flat(w)
}

func (a mountArea) write(c *call, rest []string) (*answer, error) {
	path, tune := clean(rest[0])
	if p, ok := strings.CutPrefix(path, "auth/"); ok && tune {
		return a.tune(c, kindAuth, p)
	}
	if tune {
		return a.tune(c, kindMount, path)
	}
	if err := checkMountPath(path); err != nil {
		return nil, err
	}
	t, err := a.now(c.Tx())
	if err != nil {
		return nil, err
	}
	if err := free(t.secret, "", path); err != nil {
		return nil, err
	}
	return a.enable(c, kindMount, path)
}

// engine is that of a type, nil if there is none.
func (a mountArea) engine(kind, name string) engine {
	if kind == kindAuth {
		if e := a.auths[name]; e != nil {
			return e
		}
		return nil
	}
	return a.engines[name]
}

func (a mountArea) writeAuth(c *call, rest []string) (*answer, error) {
	path, tune := clean(rest[0])
	if tune {
		return a.tune(c, kindAuth, path)
	}
	if err := checkPlace("a way to sign in", path); err != nil {
		return nil, err
	}
	t, err := a.now(c.Tx())
	if err != nil {
		return nil, err
	}
	if err := free(t.auth, "auth/", path); err != nil {
		return nil, err
	}
	return a.enable(c, kindAuth, path)
}

// mountBody is what makes a mount; what it has beside wire.MountWrite is taken and
// means nothing here.
type mountBody struct {
	wire.MountWrite
	ExternalEntropyAccess wire.Bool `json:"external_entropy_access"`
	PluginName            string    `json:"plugin_name"`
	PluginVersion         string    `json:"plugin_version"`
}

// enable makes a mount at a path that is free: of secrets, or a way to sign in.
func (a mountArea) enable(c *call, kind, path string) (*answer, error) {
	in, warnings, err := body[mountBody](c)
	if err != nil {
		return nil, err
	}
	m := &mount{Path: path, Type: in.Type, Description: in.Description, Options: in.Options, Local: bool(in.Local), SealWrap: bool(in.SealWrap)}
	if m.Type == "kv-v2" {
		m.Type = "kv"
		m.Options = merged(m.Options, map[string]string{"version": "2"})
	}
	if m.Type == "" {
		return nil, bad("backend type must be specified as a string")
	}
	e := a.engine(kind, m.Type)
	if e == nil {
		return nil, bad("plugin not found in the catalog: %s", cut(m.Type, 64))
	}
	if err := m.setTune(in.Config); err != nil {
		return nil, err
	}
	about, err := m.checkCache(m.Options)
	if err != nil {
		return nil, err
	}
	warnings = append(warnings, about...)
	m.name()
	if kind == kindAuth {
		m.Accessor = "auth_" + m.Accessor
	}
	if err := e.create(c, m); err != nil {
		return nil, err
	}
	if err := a.put(c.Tx(), kind, path, m); err != nil {
		return nil, err
	}
	return done(warnings...), a.changed(c.Tx())
}

// name gives a new mount what it is known by.
func (m *mount) name() {
	var b [4]byte
	rand.Read(b[:])
	m.UUID, m.Accessor = newUUID(), m.Type+"_"+hex.EncodeToString(b[:])
}

func merged(to, from map[string]string) map[string]string {
	out := make(map[string]string, len(to)+len(from))
	for k, v := range to {
		out[k] = v
	}
	for k, v := range from {
		out[k] = v
	}
	return out
}

// Bounds of what describes a mount.
const (
	maxMountPath    = 256
	maxDescription  = 1024
	maxMountOptions = 32
)

func checkMountPath(path string) error {
	first, _, _ := strings.Cut(path, "/")
	if slices.Contains([]string{"sys", "auth", "cubbyhole", "identity", "audit"}, first) {
		return bad("cannot mount '%s'", first+"/")
	}
	return checkPlace("a mount", path)
}

// checkPlace says whether what stands at a path may: a mount, or a way to sign in.
func checkPlace(what, path string) error {
	bare := strings.TrimSuffix(path, "/")
	switch {
	case bare == "" || len(path) > maxMountPath:
		return bad("the path of %s has 1 to %d bytes", what, maxMountPath-1)
	case strings.ContainsAny(bare, "*+"):
		return bad("the path of %s has no wildcards: policies could not name it", what)
	case strings.HasPrefix(bare, " ") || strings.HasSuffix(bare, " "):
		return bad("the path of %s neither begins nor ends with a space", what)
	}
	return nil
}

// free says whether something may stand at a path below prefix, "" or "auth/":
// neither in another mount nor around one.
func free(mounts []*mount, prefix, path string) error {
	for _, m := range mounts {
		if strings.HasPrefix(path, m.Path) || strings.HasPrefix(m.Path, path) {
			return problem(http.StatusBadRequest, wire.InUse+prefix+m.Path)
		}
	}
	return nil
}

func (m *mount) setTune(in wire.MountTune) error {
	if in.DefaultLeaseTTL != nil {
		m.DefaultTTL = time.Duration(*in.DefaultLeaseTTL)
	}
	if in.MaxLeaseTTL != nil {
		m.MaxTTL = time.Duration(*in.MaxLeaseTTL)
	}
	set(&m.Description, in.Description)
	if in.ListingVisibility != nil {
		switch m.Listing = *in.ListingVisibility; m.Listing {
		case "hidden":
			m.Listing = ""
		case "", "unauth":
		default:
			return bad("invalid listing_visibility provided")
		}
	}
	switch {
	case m.DefaultTTL < 0 || m.MaxTTL < 0:
		return bad("a time to live cannot be negative")
	case m.MaxTTL > 0 && m.DefaultTTL > m.MaxTTL:
		return bad("default lease TTL of %d seconds is greater than the max lease TTL of %d seconds", secs(m.DefaultTTL), secs(m.MaxTTL))
	case len(m.Description) > maxDescription || len(m.Options) > maxMountOptions:
		return bad("the description or the options of a mount are too long")
	}
	for k, v := range m.Options {
		if len(k)+len(v) > maxDescription {
			return bad("the options of a mount are too long")
		}
	}
	return nil
}

// checkCache refuses an option about offline caches that clients would not
// understand, and says what one means for who loses access (filevault §6, rule 10).
func (m *mount) checkCache(set map[string]string) ([]string, error) {
	text, ok := set[wire.CacheOption]
	if !ok {
		return nil, nil
	}
	d, ok := wire.ParseCache(text)
	switch {
	case !ok:
		return nil, bad(`the option %s is a duration up to %s, as "24h", or "off"`, wire.CacheOption, wire.MaxCache)
	case d == 0:
		return nil, nil
	}
	return []string{fmt.Sprintf("envrun keeps what a person read of %s for up to %s: whoever loses access can use that until then while the server cannot be reached", m.Path, d)}, nil
}

// mayCache says beside an answer how long what is in it may be kept, where that
// was decided of its mount.
func (b *reply) mayCache(m *mount) {
	if text := m.Options[wire.CacheOption]; text != "" {
		d, _ := wire.ParseCache(text)
		b.cache = append(b.cache, wire.CacheText(m.Path, d))
	}
}

type tuneBody struct {
	wire.MountTune
	TokenType string `json:"token_type"`
}

func (a mountArea) tune(c *call, kind, path string) (*answer, error) {
	in, warnings, err := body[tuneBody](c)
	if err != nil {
		return nil, err
	}
	var m mount
	there, err := a.get(c.Tx(), kind, path, &m)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, bad("no mount entry found for %s", path)
	}
	if v, ok := in.Options["version"]; ok && v != m.Options["version"] {
		return nil, bad("a mount of KV version %s cannot be made one of another version", m.Options["version"])
	}
	// An empty text for a time leaves it, as the CLI sends for what was not said.
	for name, d := range map[string]**wire.Duration{"default_lease_ttl": &in.DefaultLeaseTTL, "max_lease_ttl": &in.MaxLeaseTTL} {
		if c.Request().Params[name] == "" {
			*d = nil
		}
	}
	about, err := m.checkCache(in.Options)
	if err != nil {
		return nil, err
	}
	warnings = append(warnings, about...)
	if in.Options != nil {
		m.Options = merged(m.Options, in.Options)
	}
	if err := m.setTune(in.MountTune); err != nil {
		return nil, err
	}
	if err := a.put(c.Tx(), kind, path, m); err != nil {
		return nil, err
	}
	return done(warnings...), a.changed(c.Tx())
}

func (a mountArea) disable(c *call, rest []string) (*answer, error) {
	path, _ := clean(rest[0])
	var m mount
	there, err := a.get(c.Tx(), kindMount, path, &m)
	if err != nil || !there {
		return done(), err
	}
	e := a.engines[m.Type]
	if e == nil {
		return nil, bad("cannot unmount '%s'", path)
	}
	if err := e.drop(c, &m); err != nil {
		return nil, err
	}
	if _, err := a.ring.DeleteSealed(c.Tx(), kindMount, path); err != nil {
		return nil, err
	}
	return done(), a.changed(c.Tx())
}

func (a mountArea) disableAuth(c *call, rest []string) (*answer, error) {
	path, _ := clean(rest[0])
	if path == "token/" {
		return nil, bad("token credential backend cannot be disabled")
	}
	var m mount
	there, err := a.get(c.Tx(), kindAuth, path, &m)
	if err != nil || !there {
		return done(), err
	}
	if e := a.auths[m.Type]; e != nil {
		if err := e.drop(c, &m); err != nil {
			return nil, err
		}
	}
	if err := a.people.forget(c.Tx(), &m, a.tokens.Now()); err != nil {
		return nil, err
	}
	// Whoever signed in there is signed out with it.
	for n := 1; n > 0; {
		if n, err = a.tokens.RevokeMount(c.Tx(), m.UUID, 256); err != nil {
			return nil, err
		}
	}
	if _, err := a.ring.DeleteSealed(c.Tx(), kindAuth, path); err != nil {
		return nil, err
	}
	return done(), a.changed(c.Tx())
}

// move gives a mount another path. Its rows are bound to its id, which stays.
func (a mountArea) move(c *call, _ []string) (*answer, error) {
	in, warnings, err := body[struct {
		From string `json:"from"`
		To   string `json:"to"`
	}](c)
	if err != nil {
		return nil, err
	}
	from, _ := clean(in.From)
	to := strings.Trim(in.To, "/") + "/"
	var m mount
	there, err := a.get(c.Tx(), kindMount, from, &m)
	if err != nil {
		return nil, err
	}
	if !there || a.engines[m.Type] == nil {
		return nil, bad("no matching mount at %s", strconv.Quote(cut(from, maxMountPath)))
	}
	if err := checkMountPath(to); err != nil {
		return nil, err
	}
	t, err := a.now(c.Tx())
	if err != nil {
		return nil, err
	}
	others := slices.DeleteFunc(slices.Clone(t.secret), func(m *mount) bool { return m.Path == from })
	if err := free(others, "", to); err != nil {
		return nil, err
	}
	m.Path = to
	if _, err := a.ring.DeleteSealed(c.Tx(), kindMount, from); err != nil {
		return nil, err
	}
	if err := a.put(c.Tx(), kindMount, to, m); err != nil {
		return nil, err
	}
	// It is done when it is answered; the id is for clients that ask how far it came.
	id := newUUID()
	if err := a.put(c.Tx(), kindMove, id, moveRecord{from, to}); err != nil {
		return nil, err
	}
	a2 := flat(map[string]string{"migration_id": id})
	a2 = warn(a2, "Mount move has been queued. Progress will be reported in Vault's server log, tagged with the returned migration_id")
	return warn(a2, warnings...), a.changed(c.Tx())
}

type moveRecord struct{ From, To string }

func (a mountArea) moved(c *call, at []string) (*answer, error) {
	var r moveRecord
	there, err := a.get(c.Tx(), kindMove, at[0], &r)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, errNothing
	}
	return answered(map[string]any{"migration_id": at[0], "migration_info": map[string]string{
		"source_mount": r.From, "target_mount": r.To, "status": "success",
	}}), nil
}

// visible is the mounts that whoever asks may know of: without a token those that
// are shown to everybody.
func (a mountArea) visible(c *call, _ []string) (*answer, error) {
	t, err := a.now(c.Tx())
	if err != nil {
		return nil, err
	}
	seen := func(mounts []*mount, prefix string) wire.Mounts {
		all := wire.Mounts{}
		for _, m := range mounts {
			if m.Listing == "unauth" || c.Token() != nil && c.ACL().Opens(prefix+m.Path) {
				all[m.Path] = m.show(true)
			}
		}
		return all
	}
	return answered(wire.VisibleMounts{Auth: seen(t.auth, "auth/"), Secret: seen(t.secret, "")}), nil
}

// preflight is what the CLI asks before each of its kv commands: what kind of
// mount is there. Without any right below the mount the answer is the same as for one
// that is not there.
func (a mountArea) preflight(c *call, rest []string) (*answer, error) {
	path := strings.Trim(rest[0], "/") + "/"
	t, err := a.now(c.Tx())
	if err != nil {
		return nil, err
	}
	mounts, prefix := t.secret, ""
	asked := path
	if p, ok := strings.CutPrefix(path, "auth/"); ok {
		mounts, prefix, asked = t.auth, "auth/", p
	}
	m, _ := at(mounts, asked)
	if m == nil || !c.ACL().Opens(prefix+m.Path) {
		return nil, problem(http.StatusForbidden, fmt.Sprintf("preflight capability check returned 403, please ensure client's policies grant access to path %q", path))
	}
	w := m.show(true)
	w.Path, w.DeprecationStatus = prefix+m.Path, "supported"
	return answered(w), nil
}
