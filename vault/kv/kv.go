package kv

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"envrun/vault"
	"envrun/vault/keyring"
	"envrun/vault/seal"
)

// Limits.
const (
	MaxPath            = 1024    // bytes of a path
	MaxData            = 8 << 20 // bytes of a secret's JSON: of vault.MaxValue bytes each could be an escape of six
	DefaultMaxVersions = 10      // versions kept where nothing else is said
	MaxCustom          = 64      // names in custom metadata
	MaxCustomName      = 128     // bytes of such a name
	MaxCustomValue     = 512     // bytes of what it says
)

// What a caller answers in words of its own. They come inside a *vault.Error.
var (
	ErrCAS         = errors.New("check-and-set parameter did not match the current version") // KindConflict
	ErrCASRequired = errors.New("check-and-set parameter required for this call")            // KindInvalid
)

// Keys gives the keys of mounts; keyring.Ring does. Its errors are returned as they are.
//
// Which generation a write uses is said by the head of the mount, which every
// write reads in its transaction: so no replica writes under a former key
// because it has not heard of the next one.
type Keys interface {
	Key(tx keyring.Reader, mount string, gen uint32) (seal.Key, error)
}

// A Mount is one KV v2 mount. It holds nothing but its names, and may be used
// by several goroutines, each with a transaction of its own.
type Mount struct {
	server string
	id     string
	keys   Keys
	now    func() time.Time
	memo   *Memo // nil: nothing is remembered
}

// Open makes the Mount with an id, which never changes, on the server with an
// id. Nothing is read: whether there is such a mount is the caller's knowledge.
func Open(server, id string, keys Keys, now func() time.Time) *Mount {
	return &Mount{server: server, id: id, keys: keys, now: now}
}

// An Actor is who changed something, for the metadata that shows it.
type Actor struct {
	Actor     string `json:"actor,omitempty"`     // the display name of a token
	ClientID  string `json:"client_id,omitempty"` // the id of an entity or of a token without one
	Operation string `json:"operation,omitempty"` // "create", "update", "patch", "delete", …; set here
}

// An Info is what may be known of one version without its value.
type Info struct {
	Version   int64
	Created   time.Time
	Deleted   time.Time // zero if it is not to be; may be in the future
	Destroyed bool
	Custom    map[string]string // of the path; nil if none was ever set
	CreatedBy *Actor
	DeletedBy *Actor
}

// A Version is one version of a secret.
type Version struct {
	Info
	// Readable is whether there is Data: the version is neither deleted nor destroyed.
	Readable bool
	Data     vault.Value // JSON: an object, or null
}

// Get returns a version, 0 for the current one, or as an answer without Data
// what is known of one that was deleted or destroyed. KindNotFound if there is
// no such path or version. It makes one query.
func (m *Mount) Get(tx Tx, path string, version int64) (Version, error) {
	if err := checkPath(path); err != nil {
		return Version{}, err
	}
	k, v, found, err := tx.KVVersion(m.id, path, max(version, 0))
	if err != nil {
		return Version{}, err
	}
	if !found {
		return Version{}, notFound(path)
	}
	meta, err := m.readKey(tx, k)
	if err != nil {
		return Version{}, err
	}
	if version <= 0 {
		version = meta.Current
	}
	s := meta.version(version)
	if s == nil {
		return Version{}, notFound(path)
	}
	out := Version{Info: meta.info(s)}
	if s.Destroyed || s.deleted(m.now()) {
		return out, nil
	}
	out.Readable = true
	out.Data, err = m.openVersion(tx, s, v)
	return out, err
}

// A Write is what is said beside the data of a write.
type Write struct {
	CAS *int64 // the current version that it is meant for, 0 for none ever; nil: not said
	By  Actor
}

// Put writes a new version: data is JSON, an object or null. It takes data
// over and wipes it. ErrCAS or ErrCASRequired as the path and the mount demand.
func (m *Mount) Put(tx Tx, path string, data vault.Value, w Write) (Info, error) {
	defer data.Wipe()
	if err := checkPath(path); err != nil {
		return Info{}, err
	}
	compact, err := checkData(path, data)
	if err != nil {
		return Info{}, err
	}
	defer compact.Wipe()
	h, k, err := m.openForWrite(tx, path)
	if err != nil {
		return Info{}, err
	}
	if err := h.checkCAS(path, k.meta, w.CAS); err != nil {
		return Info{}, err
	}
	if w.By.Operation = "update"; k.meta == nil {
		w.By.Operation = "create"
	}
	return m.put(tx, h, k, compact, w.By)
}

// Patch merges a JSON object into the current version (RFC 7396: null removes)
// and writes the outcome as a new one. If the current version is deleted or
// destroyed, nothing is written and the Info says so; KindNotFound if there is
// none. It takes patch over and wipes it.
func (m *Mount) Patch(tx Tx, path string, patch vault.Value, w Write) (Info, error) {
	defer patch.Wipe()
	if err := checkPath(path); err != nil {
		return Info{}, err
	}
	patch, err := checkData(path, patch)
	if err != nil {
		return Info{}, err
	}
	defer patch.Wipe()
	h, k, err := m.openForWrite(tx, path)
	if err != nil {
		return Info{}, err
	}
	if k.meta == nil || k.meta.Current == 0 {
		return Info{}, notFound(path)
	}
	if err := h.checkCAS(path, k.meta, w.CAS); err != nil {
		return Info{}, err
	}
	now, err := m.Get(tx, path, 0)
	if err != nil || !now.Readable {
		return now.Info, err
	}
	defer now.Data.Wipe()
	merged, err := merge(now.Data.Reveal(), patch.Reveal())
	if err != nil {
		return Info{}, &vault.Error{Kind: vault.KindInvalid, Path: vault.Path(path), Detail: "the patch is not a JSON object"}
	}
	value := vault.NewValue(merged)
	defer value.Wipe()
	if value.Len() > MaxData {
		return Info{}, tooLong(path)
	}
	w.By.Operation = "patch"
	return m.put(tx, h, k, value, w.By)
}

func (m *Mount) put(tx Tx, h *head, k *key, data vault.Value, by Actor) (Info, error) {
	now := m.now()
	if k.meta == nil {
		k.meta = &meta{Created: stamp(now)}
	}
	n := k.meta.Current + 1
	row, err := m.sealVersion(tx, k.path, n, h.gen, data)
	if err != nil {
		return Info{}, err
	}
	sum := sha256.Sum256(row.Data)
	s := state{N: n, Created: stamp(now), Sum: sum[:sumSize], CreatedBy: by.orNil()}
	if after, ok := h.deleteAfter(k.meta); ok {
		s.Deleted = stamp(now.Add(after))
	}
	k.meta.Current, k.meta.Updated, k.meta.UpdatedBy = n, stamp(now), by.orNil()
	k.meta.Versions = append(k.meta.Versions, s)
	if last := n - h.maxVersions(k.meta); last > 0 && k.meta.Versions[0].N <= last {
		if err := tx.DeleteKVVersions(m.id, k.path, k.meta.Versions[0].N, last); err != nil {
			return Info{}, err
		}
		for len(k.meta.Versions) > 0 && k.meta.Versions[0].N <= last {
			k.meta.Versions = k.meta.Versions[1:]
		}
		k.meta.Oldest = last + 1
	}
	if err := tx.PutKVVersion(m.id, row); err != nil {
		return Info{}, err
	}
	if err := m.save(tx, h, k); err != nil {
		return Info{}, err
	}
	return k.meta.info(k.meta.version(n)), nil
}

// Delete hides the current version. Nothing is an error that leaves it hidden:
// no such path, or hidden already.
func (m *Mount) Delete(tx Tx, path string, by Actor) error {
	return m.change(tx, path, by, "delete", func(k *key) ([]int64, error) { return []int64{k.meta.Current}, nil }, m.hide)
}

// DeleteVersions hides versions. Those that are not there are passed over.
func (m *Mount) DeleteVersions(tx Tx, path string, versions []int64, by Actor) error {
	return m.change(tx, path, by, "delete", those(versions), m.hide)
}

// Undelete shows versions again that are hidden and not destroyed.
func (m *Mount) Undelete(tx Tx, path string, versions []int64, by Actor) error {
	return m.change(tx, path, by, "undelete", those(versions), func(_ Tx, _ *key, s *state, _ *Actor) (bool, error) {
		if s.Destroyed || s.Deleted == 0 {
			return false, nil
		}
		s.Deleted, s.DeletedBy = 0, nil
		return true, nil
	})
}

// Destroy removes the data of versions for good.
func (m *Mount) Destroy(tx Tx, path string, versions []int64, by Actor) error {
	return m.change(tx, path, by, "destroy", those(versions), func(tx Tx, k *key, s *state, _ *Actor) (bool, error) {
		if s.Destroyed {
			return false, nil
		}
		s.Destroyed, s.Sum = true, nil
		return true, tx.DeleteKVVersions(m.id, k.path, s.N, s.N)
	})
}

func (m *Mount) hide(_ Tx, _ *key, s *state, by *Actor) (bool, error) {
	if s.Destroyed || s.deleted(m.now()) {
		return false, nil
	}
	s.Deleted, s.DeletedBy = stamp(m.now()), by
	return true, nil
}

func those(versions []int64) func(*key) ([]int64, error) {
	return func(*key) ([]int64, error) { return versions, nil }
}

// change does one thing to versions of a path, and saves the path if it did anything.
func (m *Mount) change(tx Tx, path string, by Actor, operation string, which func(*key) ([]int64, error),
	one func(Tx, *key, *state, *Actor) (bool, error)) error {
	if err := checkPath(path); err != nil {
		return err
	}
	h, k, err := m.openForWrite(tx, path)
	if err != nil || k.meta == nil {
		return err
	}
	versions, err := which(k)
	if err != nil {
		return err
	}
	by.Operation = operation
	changed := false
	for _, n := range versions {
		if s := k.meta.version(n); s != nil {
			did, err := one(tx, k, s, by.orNil())
			if err != nil {
				return err
			}
			changed = changed || did
		}
	}
	if !changed {
		return nil
	}
	k.meta.Updated, k.meta.UpdatedBy = stamp(m.now()), by.orNil()
	return m.save(tx, h, k)
}

// Exists reports whether a write to a path would be an update: something is
// known of it, be it deleted or metadata alone.
func (m *Mount) Exists(tx Tx, path string) (bool, error) {
	if err := checkPath(path); err != nil {
		return false, err
	}
	k, found, err := tx.KVKey(m.id, path)
	if err != nil || !found {
		return false, err
	}
	_, _, err = m.openKey(tx, k)
	return err == nil, err
}

// checkPath refuses what is no path of a secret. The server has dealt with
// escapes and slashes by then; what is left here is never guessed at.
func checkPath(path string) error {
	detail := ""
	switch {
	case path == "":
		detail = "the path of a secret is missing"
	case len(path) > MaxPath:
		detail = fmt.Sprintf("the path is longer than %d bytes", MaxPath)
	case !utf8.ValidString(path):
		detail = "the path is not UTF-8"
	case strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f }):
		detail = "the path has a control character"
	}
	for segment := range strings.SplitSeq(path, "/") {
		if detail == "" && (segment == "" || segment == "." || segment == "..") {
			detail = fmt.Sprintf("the path has a segment %q", segment)
		}
	}
	if detail != "" {
		return &vault.Error{Kind: vault.KindInvalid, Detail: detail}
	}
	return nil
}

// checkData returns data without white space between its parts.
func checkData(path string, data vault.Value) (vault.Value, error) {
	if data.Len() > MaxData {
		return vault.Value{}, tooLong(path)
	}
	raw := data.Reveal()
	var out bytes.Buffer
	out.Grow(len(raw))
	if err := json.Compact(&out, raw); err != nil { // its message may quote a character of the value
		return vault.Value{}, &vault.Error{Kind: vault.KindInvalid, Path: vault.Path(path), Detail: "the data is not JSON"}
	}
	if b := out.Bytes(); b[0] != '{' && string(b) != "null" {
		clear(b)
		return vault.Value{}, &vault.Error{Kind: vault.KindInvalid, Path: vault.Path(path), Detail: "the data is not a JSON object"}
	}
	return vault.NewValue(out.Bytes()), nil
}

func tooLong(path string) error {
	return &vault.Error{Kind: vault.KindInvalid, Path: vault.Path(path), Detail: fmt.Sprintf("the data is longer than %d bytes", MaxData)}
}

func notFound(path string) error {
	return &vault.Error{Kind: vault.KindNotFound, Path: vault.Path(path)}
}

func (a Actor) orNil() *Actor {
	if a.Actor == "" && a.ClientID == "" {
		return nil
	}
	return &a
}
