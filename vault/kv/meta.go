package kv

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"envrun/vault"
	"envrun/vault/keyring"
	"envrun/vault/seal"
)

// The names of the tables that rows are bound to.
const (
	tableHead = "kv_mounts"
	tableKey  = "kv_keys"
	fieldData = vault.FieldName("data")
)

// sumSize is how much of the hash of a version's sealed data its path's record holds.
const sumSize = 16

// A head is what is sealed in the row of a mount.
type head struct {
	Changes  uint64 `json:"changes"` // counted from 1, the making of the mount
	Paths    uint64 `json:"paths"`
	Tally    []byte `json:"tally"`
	TallyKey []byte `json:"tally_key"`
	Config

	gen uint32 // of the key that it is sealed with: what writes use
}

// meta is what is sealed in the row of a path. Its names are short because
// every read parses it.
type meta struct {
	Change      uint64            `json:"q"` // the number of the mount's change that wrote it
	Created     int64             `json:"c"` // nanoseconds since 1970, as all times here
	Updated     int64             `json:"u"`
	UpdatedBy   *Actor            `json:"ub,omitempty"`
	Current     int64             `json:"n"`
	Oldest      int64             `json:"o,omitempty"` // set when versions have been dropped
	MaxVersions int64             `json:"m,omitempty"`
	CASRequired bool              `json:"r,omitempty"`
	DeleteAfter time.Duration     `json:"d,omitempty"`
	Custom      map[string]string `json:"x,omitzero"`
	Versions    []state           `json:"v,omitempty"` // by number, without gaps, up to Current
}

// state is what is known of one version.
type state struct {
	N         int64  `json:"n"`
	Created   int64  `json:"c"`
	CreatedBy *Actor `json:"cb,omitempty"`
	Deleted   int64  `json:"d,omitempty"`
	DeletedBy *Actor `json:"db,omitempty"`
	Destroyed bool   `json:"x,omitempty"`
	Sum       []byte `json:"s,omitempty"` // the beginning of SHA-256 of the sealed data
}

func stamp(t time.Time) int64 { return t.UnixNano() }

func unstamp(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

func (s *state) deleted(now time.Time) bool { return s.Deleted != 0 && s.Deleted <= stamp(now) }

func (m *meta) version(n int64) *state {
	if len(m.Versions) == 0 {
		return nil
	}
	if i := n - m.Versions[0].N; i >= 0 && i < int64(len(m.Versions)) {
		return &m.Versions[i]
	}
	return nil
}

func (m *meta) info(s *state) Info {
	return Info{Version: s.N, Created: unstamp(s.Created), Deleted: unstamp(s.Deleted), Destroyed: s.Destroyed,
		Custom: m.Custom, CreatedBy: s.CreatedBy, DeletedBy: s.DeletedBy}
}

// A key is a path's record with what it was when the transaction read it.
type key struct {
	path  string
	meta  *meta  // nil if there is no such path
	plain []byte // as it was opened
}

// openForWrite reads the head of the mount and a path, in one query.
func (m *Mount) openForWrite(tx Tx, path string) (*head, *key, error) {
	hr, kr, found, err := tx.KVHeadAndKey(m.id, path)
	if err != nil {
		return nil, nil, err
	}
	h, err := m.openHead(tx, hr, found)
	if err != nil {
		return nil, nil, err
	}
	k := &key{path: path}
	if kr.Sealed != nil {
		if k.meta, k.plain, err = m.openKey(tx, kr); err != nil {
			return nil, nil, err
		}
	}
	return h, k, nil
}

// save writes a path and brings the head forward. Without a record the path is removed.
func (m *Mount) save(tx Tx, h *head, k *key) error {
	tally := seal.Tally(h.Tally)
	h.Changes++
	if k.plain != nil {
		tally = tally.Take(h.TallyKey, k.path, k.plain)
		h.Paths--
	}
	if k.meta == nil {
		if err := tx.DeleteKVKey(m.id, k.path); err != nil {
			return err
		}
	} else {
		k.meta.Change = h.Changes
		plain, err := encode(k.meta)
		if err != nil {
			return fmt.Errorf("writing the record of %s: %w", k.path, err)
		}
		tally = tally.Add(h.TallyKey, k.path, plain)
		h.Paths++
		if err := m.putKey(tx, k.path, k.meta.Current, h.gen, plain); err != nil {
			return err
		}
	}
	h.Tally = tally[:]
	return m.putHead(tx, h)
}

func (m *Mount) putKey(tx Tx, path string, current int64, gen uint32, plain []byte) error {
	key, err := m.keys.Key(tx, m.id, gen)
	if err != nil {
		return err
	}
	sealed, err := key.SealRow(m.row(tableKey, path, gen), plain)
	if err != nil {
		return err
	}
	return tx.PutKVKey(m.id, KeyRow{path, current, gen, sealed})
}

func (m *Mount) putHead(tx Tx, h *head) error {
	key, err := m.keys.Key(tx, m.id, h.gen)
	if err != nil {
		return err
	}
	if k, ok := tx.(keyring.HeadKeeper); ok {
		k.KeepHead(m.id, h.head())
	}
	plain, err := encode(h)
	if err != nil {
		return fmt.Errorf("writing the head of a mount: %w", err)
	}
	defer clear(plain)
	sealed, err := key.SealRow(m.row(tableHead, "", h.gen), plain)
	if err != nil {
		return err
	}
	return tx.PutKVHead(m.id, HeadRow{h.gen, sealed})
}

func (m *Mount) row(table, name string, gen uint32) seal.Row {
	return seal.Row{Vault: m.server, Mount: m.id, Table: table, Name: name, Gen: gen}
}

func (m *Mount) openHead(tx Tx, r HeadRow, found bool) (*head, error) {
	if !found {
		return nil, &vault.Error{Kind: vault.KindTampered, Detail: "the mount has no head"}
	}
	key, err := m.keys.Key(tx, m.id, r.Gen)
	if err != nil {
		return nil, err
	}
	plain, err := key.OpenRow(m.row(tableHead, "", r.Gen), r.Sealed)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	h := &head{gen: r.Gen}
	if err := strict(plain, h); err != nil || len(h.Tally) != len(seal.Tally{}) || len(h.TallyKey) != seal.TallyKeySize {
		return nil, &vault.Error{Kind: vault.KindVersion, Detail: "the head of the mount is not of a form that this program writes"}
	}
	return h, nil
}

func (m *Mount) openKey(tx Tx, r KeyRow) (*meta, []byte, error) {
	key, err := m.keys.Key(tx, m.id, r.Gen)
	if err != nil {
		return nil, nil, err
	}
	plain, err := key.OpenRow(m.row(tableKey, r.Path, r.Gen), r.Sealed)
	if err != nil {
		return nil, nil, at(r.Path, err)
	}
	k := new(meta)
	if err := strict(plain, k); err != nil {
		return nil, nil, &vault.Error{Kind: vault.KindVersion, Path: vault.Path(r.Path), Detail: "its record is not of a form that this program writes"}
	}
	if k.Current != r.Current {
		return nil, nil, tampered(r.Path, fmt.Sprintf("the current version is %d and stored as %d", k.Current, r.Current))
	}
	return k, plain, nil
}

func (m *Mount) binding(path string, version int64, gen uint32) seal.Binding {
	return seal.Binding{Vault: m.server, Env: vault.Env(m.id), Path: vault.Path(path), Version: uint64(version), Gen: gen}
}

func (m *Mount) sealVersion(tx Tx, path string, n int64, gen uint32, data vault.Value) (VersionRow, error) {
	key, err := m.keys.Key(tx, m.id, gen)
	if err != nil {
		return VersionRow{}, err
	}
	dek, err := seal.NewDEK()
	if err != nil {
		return VersionRow{}, err
	}
	b := m.binding(path, n, gen)
	wrapped, err := key.WrapDEK(b, dek)
	if err != nil {
		return VersionRow{}, err
	}
	sealed, err := sealData(dek, b, data.Reveal())
	return VersionRow{path, n, gen, wrapped, sealed}, err
}

// sealData seals data in pieces of vault.MaxValue, which is what a field holds.
// Each is a field of its own name, so that none opens in another's place; that
// none is missing says the sum that the path's record keeps.
func sealData(dek seal.DEK, b seal.Binding, data []byte) ([]byte, error) {
	var sealed []byte
	for n := 0; ; n++ {
		piece := data[:min(len(data), vault.MaxValue)]
		data = data[len(piece):]
		s, err := dek.SealField(b, pieceName(n), vault.NewValue(piece))
		if err != nil {
			return nil, err
		}
		if n == 0 {
			sealed = s
		} else {
			sealed = append(sealed, s...)
		}
		if len(data) == 0 {
			return sealed, nil
		}
	}
}

// openData undoes sealData.
func openData(dek seal.DEK, b seal.Binding, sealed []byte) (vault.Value, error) {
	var data []byte
	for n := 0; ; n++ {
		piece := sealed[:min(len(sealed), seal.SealedLen(vault.MaxValue))]
		sealed = sealed[len(piece):]
		v, err := dek.OpenField(b, pieceName(n), piece)
		if err != nil {
			clear(data)
			return vault.Value{}, err
		}
		if n == 0 && len(sealed) == 0 {
			return v, nil
		}
		longer := append(data, v.Reveal()...)
		if n > 0 && &longer[0] != &data[0] {
			clear(data)
		}
		data = longer
		v.Wipe()
		if len(sealed) == 0 {
			return vault.NewValue(data), nil
		}
	}
}

func pieceName(n int) vault.FieldName {
	if n == 0 {
		return fieldData
	}
	return fieldData + vault.FieldName(fmt.Sprintf("-%d", n))
}

// openVersion opens the row of a version that its path's record says is s.
func (m *Mount) openVersion(tx Tx, s *state, r VersionRow) (vault.Value, error) {
	switch sum := sha256.Sum256(r.Data); {
	case r.Version == 0:
		return vault.Value{}, tampered(r.Path, fmt.Sprintf("version %d is gone", s.N))
	case r.Version != s.N:
		return vault.Value{}, tampered(r.Path, fmt.Sprintf("version %d is stored where %d belongs", r.Version, s.N))
	case !bytes.Equal(sum[:sumSize], s.Sum):
		return vault.Value{}, tampered(r.Path, fmt.Sprintf("the data of version %d is not what was written", s.N))
	}
	key, err := m.keys.Key(tx, m.id, r.Gen)
	if err != nil {
		return vault.Value{}, err
	}
	b := m.binding(r.Path, r.Version, r.Gen)
	dek, err := key.UnwrapDEK(b, r.Key)
	if err != nil {
		return vault.Value{}, inMount(err)
	}
	v, err := openData(dek, b, r.Data)
	return v, inMount(err)
}

// inMount takes the id of the mount out of an error: people know its path.
func inMount(err error) error {
	if e, ok := err.(*vault.Error); ok {
		e.Env, e.Field = "", ""
	}
	return err
}

func at(path string, err error) error {
	if e, ok := err.(*vault.Error); ok {
		e.Path = vault.Path(path)
	}
	return err
}

func tampered(path, detail string) error {
	return &vault.Error{Kind: vault.KindTampered, Path: vault.Path(path), Detail: detail}
}

func strict(plain []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(plain))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

func (h *head) checkCAS(path string, k *meta, cas *int64) error {
	current, required := int64(0), h.CASRequired
	if k != nil {
		current, required = k.Current, required || k.CASRequired
	}
	switch {
	case cas == nil && required:
		return &vault.Error{Kind: vault.KindInvalid, Path: vault.Path(path), Err: ErrCASRequired}
	case cas != nil && *cas != current:
		return &vault.Error{Kind: vault.KindConflict, Path: vault.Path(path), Err: ErrCAS}
	}
	return nil
}

func (h *head) maxVersions(k *meta) int64 {
	if n := max(h.MaxVersions, k.MaxVersions); n > 0 {
		return n
	}
	return DefaultMaxVersions
}

// deleteAfter is the shorter of what the mount and the path say; one that says
// less than zero wants none.
func (h *head) deleteAfter(k *meta) (time.Duration, bool) {
	a, b := h.DeleteAfter, k.DeleteAfter
	switch {
	case a < 0 || b < 0:
		return 0, false
	case a == 0 || b == 0:
		return max(a, b), a != b
	}
	return min(a, b), true
}

// A Meta is what is known of a path.
type Meta struct {
	CASRequired    bool
	Created        time.Time
	Updated        time.Time
	UpdatedBy      *Actor
	CurrentVersion int64 // 0 if nothing was ever written
	OldestVersion  int64 // 0 until versions have been dropped
	MaxVersions    int64
	DeleteAfter    time.Duration // negative: never, whatever the mount says
	Custom         map[string]string
	Versions       []Info // by number; their Custom is nil
}

// ReadMeta returns what is known of a path. KindNotFound if nothing is.
func (m *Mount) ReadMeta(tx Tx, path string) (Meta, error) {
	if err := checkPath(path); err != nil {
		return Meta{}, err
	}
	row, found, err := tx.KVKey(m.id, path)
	if err != nil {
		return Meta{}, err
	}
	if !found {
		return Meta{}, notFound(path)
	}
	k, _, err := m.openKey(tx, row)
	if err != nil {
		return Meta{}, err
	}
	out := Meta{CASRequired: k.CASRequired, Created: unstamp(k.Created), Updated: unstamp(k.Updated), UpdatedBy: k.UpdatedBy,
		CurrentVersion: k.Current, OldestVersion: k.Oldest, MaxVersions: k.MaxVersions, DeleteAfter: k.DeleteAfter, Custom: k.Custom}
	for i := range k.Versions {
		info := k.info(&k.Versions[i])
		info.Custom = nil
		out.Versions = append(out.Versions, info)
	}
	return out, nil
}

// A MetaChange is what is to be known of a path from now on; nil leaves a thing as it is.
type MetaChange struct {
	MaxVersions *int64
	CASRequired *bool
	DeleteAfter *time.Duration
	// Custom replaces all custom metadata (WriteMeta) or is merged into it, a nil
	// entry removing one (PatchMeta).
	Custom map[string]*string
	By     Actor
}

// WriteMeta changes what is known of a path, and makes one without versions if
// there is none. It reports whether the path said that no check-and-set is
// needed while the mount demands it.
func (m *Mount) WriteMeta(tx Tx, path string, c MetaChange) (overruled bool, err error) {
	return m.writeMeta(tx, path, c, false)
}

// PatchMeta is WriteMeta for a path that is there, else KindNotFound.
func (m *Mount) PatchMeta(tx Tx, path string, c MetaChange) (overruled bool, err error) {
	return m.writeMeta(tx, path, c, true)
}

func (m *Mount) writeMeta(tx Tx, path string, c MetaChange, patch bool) (overruled bool, err error) {
	if err := checkPath(path); err != nil {
		return false, err
	}
	h, k, err := m.openForWrite(tx, path)
	if err != nil {
		return false, err
	}
	now := stamp(m.now())
	if k.meta == nil {
		if patch {
			return false, notFound(path)
		}
		k.meta = &meta{Created: now}
	}
	if c.MaxVersions != nil {
		if *c.MaxVersions < 0 {
			return false, &vault.Error{Kind: vault.KindInvalid, Path: vault.Path(path), Detail: "max_versions is less than 0"}
		}
		k.meta.MaxVersions = *c.MaxVersions
	}
	if c.CASRequired != nil {
		k.meta.CASRequired = *c.CASRequired
		overruled = !*c.CASRequired && h.CASRequired
	}
	if c.DeleteAfter != nil {
		k.meta.DeleteAfter = *c.DeleteAfter
	}
	if c.Custom != nil {
		custom := map[string]string{}
		if patch {
			maps.Copy(custom, k.meta.Custom)
		}
		for name, v := range c.Custom {
			if v == nil {
				delete(custom, name)
			} else {
				custom[name] = *v
			}
		}
		if err := checkCustom(custom); err != nil {
			return false, err
		}
		k.meta.Custom = custom
	}
	c.By.Operation = "update"
	if patch {
		c.By.Operation = "patch"
	}
	k.meta.Updated, k.meta.UpdatedBy = now, c.By.orNil()
	return overruled, m.save(tx, h, k)
}

func checkCustom(custom map[string]string) error {
	bad := func(format string, args ...any) error {
		return &vault.Error{Kind: vault.KindInvalid, Detail: "custom_metadata validation failed: " + fmt.Sprintf(format, args...)}
	}
	if len(custom) > MaxCustom {
		return bad("payload must contain at most %d keys, provided %d", MaxCustom, len(custom))
	}
	for _, name := range slices.Sorted(maps.Keys(custom)) {
		v := custom[name]
		switch {
		case len(name) == 0 || len(name) > MaxCustomName:
			return bad("length of key %q is %d but must be 0 < len(key) <= %d", name, len(name), MaxCustomName)
		case len(v) == 0 || len(v) > MaxCustomValue:
			return bad("length of value for key %q is %d but must be 0 < len(value) <= %d", name, len(v), MaxCustomValue)
		case !printable(name):
			return bad("key %q contains unprintable characters", name)
		case !printable(v):
			return bad("value for key %q contains unprintable characters", name)
		}
	}
	return nil
}

func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// DeleteMeta removes a path with all its versions. That it is not there is no error.
func (m *Mount) DeleteMeta(tx Tx, path string) error {
	if err := checkPath(path); err != nil {
		return err
	}
	h, k, err := m.openForWrite(tx, path)
	if err != nil || k.meta == nil {
		return err
	}
	k.meta = nil
	return m.save(tx, h, k)
}
