package keyring

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"filippo.io/age"

	"envrun/vault"
	"envrun/vault/seal"
)

// ErrSealed comes inside a *vault.Error of KindUnavailable while the server is sealed.
var ErrSealed = errors.New("the server is sealed")

// A Ring is the keys in memory. The zero Ring is sealed. It may be used by
// several goroutines.
type Ring struct {
	mu   sync.RWMutex
	rec  *Record             // nil while it is sealed
	root map[uint32]seal.Key // by generation: what a transaction says is in use
	keys map[string]map[uint32]seal.Key
	self *attendant // nil until it attends
}

// Sealed reports whether the ring holds no root.
func (r *Ring) Sealed() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.rec == nil
}

// Seal lets go of every key. What is using one goes on to its end.
func (r *Ring) Seal() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rec, r.root, r.keys, r.self = nil, nil, nil, nil
}

func (r *Ring) open(rec *Record, root seal.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hold(rec, root)
}

// hold keeps a root, and the one before it for reads that began before it was
// there. The lock is held.
func (r *Ring) hold(rec *Record, root seal.Key) {
	r.rec = rec
	if r.root == nil {
		r.root, r.keys = map[uint32]seal.Key{}, map[string]map[uint32]seal.Key{}
	}
	for gen := range r.root {
		if gen+1 < rec.r.Gen {
			delete(r.root, gen)
		}
	}
	r.root[rec.r.Gen] = root
}

// Unseal opens the root with one of the identities or with shares, whichever
// does first, and returns the id of the sealer that did. KindDenied if none of
// them is for this record. What is wrong with the one that came nearest is
// said. It waits for a plugin or a touch as seal.AgeSealer does: not to be
// called in a transaction.
func (r *Ring) Unseal(ctx context.Context, rec *Record, identities []age.Identity, shares [][]byte) (sealer string, err error) {
	denied := error(&vault.Error{Kind: vault.KindDenied, Detail: "no identity and no shares were given that the root key is sealed for"})
	for _, s := range rec.r.Sealers {
		var root seal.Key
		var err error
		switch {
		case s.Threshold > 0 && len(shares) > 0:
			root, err = rec.openShamir(ctx, s, shares)
		case s.Threshold == 0 && s.Wrapped == nil && len(identities) > 0:
			root, err = seal.AgeSealer(s.ID, nil, identities).Open(ctx, s.Blob, rec.context(s.ID))
		default:
			continue
		}
		if err == nil {
			if err := rec.check(root); err != nil {
				return "", err
			}
			r.open(rec, root)
			return s.ID, nil
		}
		denied = err
	}
	return "", denied
}

// rootOf is the root of a generation.
func (r *Ring) rootOf(gen uint32) (seal.Key, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.rec == nil {
		return seal.Key{}, &vault.Error{Kind: vault.KindUnavailable, Err: ErrSealed}
	}
	if k, ok := r.root[gen]; ok {
		return k, nil
	}
	return seal.Key{}, &vault.Error{Kind: vault.KindUnavailable, Err: ErrSealed,
		Detail: fmt.Sprintf("the root key is of generation %d now, and this server was unsealed with an earlier one", gen)}
}

// present is the record and the root that hold in a transaction.
func (r *Ring) present(tx Reader) (*Record, seal.Key, error) {
	rec, err := Load(tx)
	if err != nil {
		return nil, seal.Key{}, err
	}
	root, err := r.rootIn(tx, rec.r.Gen)
	if err != nil {
		return nil, seal.Key{}, err
	}
	return rec, root, rec.check(root)
}

// A keyRecord is what is sealed under the root for one id.
type keyRecord struct {
	Keys []generation `json:"keys"` // by number; the last is the present one
}

type generation struct {
	Gen   uint32    `json:"gen"`
	Key   []byte    `json:"key"`
	Since time.Time `json:"since"`
}

func (k *keyRecord) wipe() {
	for _, g := range k.Keys {
		clear(g.Key)
	}
}

func (r *Ring) server() (string, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.rec == nil {
		return "", &vault.Error{Kind: vault.KindUnavailable, Err: ErrSealed}
	}
	return r.rec.r.Server, nil
}

// readKeys opens the record of an id: the number of the root that seals it, and
// the rest sealed.
func (r *Ring) readKeys(tx Reader, id string) (*keyRecord, error) {
	server, err := r.server()
	if err != nil {
		return nil, err
	}
	raw, err := tx.Blob(kindKey, id)
	if err != nil {
		if vault.KindOf(err) == vault.KindNotFound {
			return nil, &vault.Error{Kind: vault.KindNotFound, Detail: "there is no key " + id}
		}
		return nil, err
	}
	if len(raw) < 4 {
		return nil, &vault.Error{Kind: vault.KindTampered, Detail: "the key " + id + " is cut off"}
	}
	gen := binary.BigEndian.Uint32(raw)
	root, err := r.rootIn(tx, gen)
	if err != nil {
		return nil, err
	}
	plain, err := root.OpenRow(keyRow(server, id, gen), raw[4:])
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	k := new(keyRecord)
	if err := json.Unmarshal(plain, k); err != nil || len(k.Keys) == 0 {
		return nil, &vault.Error{Kind: vault.KindVersion, Detail: "the key " + id + " is not of a form that this program writes"}
	}
	return k, nil
}

func keyRow(server, id string, gen uint32) seal.Row {
	return seal.Row{Vault: server, Table: kindKey, Name: id, Gen: gen}
}

func writeKeys(tx Tx, server, id string, gen uint32, root seal.Key, k *keyRecord) error {
	plain, err := json.Marshal(k)
	if err != nil {
		return fmt.Errorf("writing the key %s: %w", id, err)
	}
	defer clear(plain)
	sealed, err := root.SealRow(keyRow(server, id, gen), plain)
	if err != nil {
		return err
	}
	return tx.PutBlob(kindKey, id, append(binary.BigEndian.AppendUint32(nil, gen), sealed...))
}

// NewKey makes generation 1 of a key. KindExists if there is one of that id.
// An id is never used again for something else.
func (r *Ring) NewKey(tx Tx, id string, now time.Time) error {
	switch _, err := tx.Blob(kindKey, id); {
	case err == nil:
		return &vault.Error{Kind: vault.KindExists, Detail: "there is a key " + id}
	case vault.KindOf(err) != vault.KindNotFound:
		return err
	}
	return r.addGeneration(tx, id, new(keyRecord), now)
}

// RotateKey makes the next generation of a key, and returns its number. Who
// uses the key says in the same transaction that it is the present one (kv's
// Advance), seals what there is anew, and then calls RetireKeys.
func (r *Ring) RotateKey(tx Tx, id string, now time.Time) (uint32, error) {
	k, err := r.readKeys(tx, id)
	if err != nil {
		return 0, err
	}
	defer k.wipe()
	err = r.addGeneration(tx, id, k, now)
	return k.Keys[len(k.Keys)-1].Gen, err
}

func (r *Ring) addGeneration(tx Tx, id string, k *keyRecord, now time.Time) error {
	rec, root, err := r.present(tx)
	if err != nil {
		return err
	}
	key, err := seal.NewKey()
	if err != nil {
		return err
	}
	next := uint32(1)
	if n := len(k.Keys); n > 0 {
		next = k.Keys[n-1].Gen + 1
	}
	k.Keys = append(k.Keys, generation{next, bytes.Clone(key.Reveal()), now.UTC()})
	if err := writeKeys(tx, rec.r.Server, id, rec.r.Gen, root, k); err != nil {
		return err
	}
	r.remember(tx, id, next, key)
	return nil
}

// remember keeps a key in memory once it is durable. Until then it is read in
// the transaction: if that is undone, another replica may make this generation.
func (r *Ring) remember(tx Reader, id string, gen uint32, key seal.Key) {
	tx.AfterCommit(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.rec == nil { // sealed meanwhile
			return
		}
		if r.keys[id] == nil {
			r.keys[id] = map[uint32]seal.Key{}
		}
		r.keys[id][gen] = key
	})
}

// Key is one generation of a key. One that is not in memory is read in tx, so
// that a replica learns of what another made. KindTampered if there is no such
// generation: something is stored under one that was never made, or retired.
func (r *Ring) Key(tx Reader, id string, gen uint32) (seal.Key, error) {
	r.mu.RLock()
	key, ok := r.keys[id][gen]
	r.mu.RUnlock()
	if ok {
		return key, nil
	}
	k, err := r.readKeys(tx, id)
	if err != nil {
		return seal.Key{}, err
	}
	defer k.wipe()
	for _, g := range k.Keys {
		if g.Gen == gen {
			if key, err = seal.KeyOf(g.Key); err != nil {
				return seal.Key{}, err
			}
			r.remember(tx, id, gen, key)
			return key, nil
		}
	}
	return seal.Key{}, &vault.Error{Kind: vault.KindTampered, Detail: fmt.Sprintf("something is stored under generation %d of a key, which is not there", gen)}
}

// Generations are the numbers of a key's generations, the present one last.
// More than one means that a rotation has not come to its end.
func (r *Ring) Generations(tx Reader, id string) ([]uint32, error) {
	k, err := r.readKeys(tx, id)
	if err != nil {
		return nil, err
	}
	defer k.wipe()
	var gens []uint32
	for _, g := range k.Keys {
		gens = append(gens, g.Gen)
	}
	return gens, nil
}

// RetireKeys drops every generation but the present one: nothing may be sealed
// with them any more.
func (r *Ring) RetireKeys(tx Tx, id string) error {
	k, err := r.readKeys(tx, id)
	if err != nil {
		return err
	}
	defer k.wipe()
	rec, root, err := r.present(tx)
	if err != nil {
		return err
	}
	k.Keys = slices.Clone(k.Keys[len(k.Keys)-1:])
	left := k.Keys[0].Gen
	tx.AfterCommit(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for gen := range r.keys[id] {
			if gen < left {
				delete(r.keys[id], gen)
			}
		}
	})
	return writeKeys(tx, rec.r.Server, id, rec.r.Gen, root, k)
}

// DropKey removes a key: what is sealed with it is lost.
func (r *Ring) DropKey(tx Tx, id string) error {
	if r.Sealed() {
		return &vault.Error{Kind: vault.KindUnavailable, Err: ErrSealed}
	}
	_, err := tx.DeleteBlob(kindKey, id)
	return err
}

// A RootChange says what is different in the next generation of the root.
type RootChange struct {
	Add      []AgeSealer
	Services []*Enrolment
	Drop     []string // ids of sealers
	Shamir   *Shares  // new shares, in place of the present ones, if any
	Now      time.Time
}

// A NextRoot is a generation of the root that is ready to be put in place.
type NextRoot struct {
	ring *Ring
	was  *Record
	next *Record
	root seal.Key
}

// RenewRoot makes the next generation of the root, sealed for the present
// sealers with what is to change. The shares, if new ones were asked for, are
// nowhere else. rec was read just before. Nothing is written: that is Apply's,
// in a transaction; this may wait for a plugin.
func (r *Ring) RenewRoot(ctx context.Context, rec *Record, c RootChange) (*NextRoot, [][]byte, error) {
	root, err := r.rootOf(rec.r.Gen)
	if err != nil {
		return nil, nil, err
	}
	// Nobody is given the next root whom only the database names.
	if err := rec.check(root); err != nil {
		return nil, nil, err
	}
	next := &Record{r: rec.r}
	next.r.Gen++
	next.r.Since = c.Now.UTC()
	next.r.Sealers = nil
	drop := slices.Clone(c.Drop)
	if c.Shamir != nil {
		drop = append(drop, "shamir")
	}
	for _, s := range rec.r.Sealers {
		if !slices.Contains(drop, s.ID) {
			s.Blob = nil
			next.r.Sealers = append(next.r.Sealers, s)
		}
	}
	for _, id := range c.Drop {
		if !slices.ContainsFunc(rec.r.Sealers, func(s Sealer) bool { return s.ID == id }) {
			return nil, nil, &vault.Error{Kind: vault.KindNotFound, Detail: "there is no sealer " + id}
		}
	}
	shares, err := next.add(c.Add, c.Services, c.Shamir, c.Now)
	if err != nil {
		return nil, nil, err
	}
	key, err := next.sealRoot(ctx)
	if err != nil {
		return nil, nil, err
	}
	return &NextRoot{r, rec, next, key}, shares, nil
}

// Apply puts the next root in place, and seals every key anew under it.
// KindConflict if the record has changed since: begin again. When the
// transaction is durable nothing is left under the former root, and replicas that
// attend (Attend) take the next one when they need it.
func (n *NextRoot) Apply(tx Tx) error {
	now, former, err := n.ring.present(tx)
	if err != nil {
		return err
	}
	if !bytes.Equal(now.raw, n.was.raw) {
		return &vault.Error{Kind: vault.KindConflict, Detail: "the root key was renewed by somebody else meanwhile"}
	}
	ids, err := tx.BlobNames(kindKey)
	if err != nil {
		return err
	}
	for _, id := range ids {
		k, err := n.ring.readKeys(tx, id)
		if err != nil {
			return err
		}
		err = writeKeys(tx, n.next.r.Server, id, n.next.r.Gen, n.root, k)
		k.wipe()
		if err != nil {
			return err
		}
	}
	if err := n.handOver(tx, now, former); err != nil {
		return err
	}
	tx.AfterCommit(func() { n.ring.take(n.next, n.root) })
	return tx.PutBlob(kindRoot, nameRoot, n.next.raw)
}
