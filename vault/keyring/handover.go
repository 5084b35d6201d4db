package keyring

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"envrun/auth/agekey"
	"envrun/vault"
	"envrun/vault/seal"
)

// Several servers work on one database, and one of them renews the root. The
// others are handed the next one, so that nobody has to unseal them again:
// each is attended by an age identity of its own, made at its start and nowhere
// but in its memory. Its recipient stands in the database, sealed under the root,
// and the next root is sealed for it, and that under the former root. So neither a
// former root alone opens the next one, which whoever was dropped may have, nor can
// somebody who writes the database hand over a root of theirs.

// The kinds of blobs of the handing over.
const (
	kindReplica  = "replica"  // by the name of a ring: its recipient
	kindHandover = "handover" // by that and a generation: the root of it
)

// mostReplicas bounds how many rings a root is handed over to: servers that were
// killed leave theirs behind.
const mostReplicas = 64

// mostMissed is how many renewals a ring may sleep through.
const mostMissed = 8

// An attendant is who a ring is to those who hand over.
type attendant struct {
	name     string
	identity *age.HybridIdentity
}

func newAttendant() (*attendant, error) {
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		return nil, fmt.Errorf("attending the keys: %w", err)
	}
	return &attendant{name: strings.ToLower(rand.Text()), identity: id}, nil
}

// A replica is what is sealed under the root for one ring.
type replica struct {
	Recipient string    `json:"recipient"`
	Since     time.Time `json:"since"`
	Missed    int       `json:"missed,omitempty"` // renewals that it was handed, and has not said that it took
}

func replicaRow(server, name string, gen uint32) seal.Row {
	return seal.Row{Vault: server, Table: kindReplica, Name: name, Gen: gen}
}

func handoverRow(server, name string, gen uint32) seal.Row {
	return seal.Row{Vault: server, Table: kindHandover, Name: name, Gen: gen}
}

func handoverName(name string, gen uint32) string { return fmt.Sprintf("%s.%010d", name, gen) }

func handoverContext(server, name string, gen uint32) []byte {
	return seal.KeyContext(server, rootEnv, gen, "replica:"+name)
}

func (r *Ring) attendant() (*attendant, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rec == nil {
		return nil, &vault.Error{Kind: vault.KindUnavailable, Err: ErrSealed}
	}
	if r.self == nil {
		var err error
		if r.self, err = newAttendant(); err != nil {
			return nil, err
		}
	}
	return r.self, nil
}

// Attended reports whether Attend has nothing to do: the ring is known, and has
// the present root. It takes over a root that was handed over meanwhile.
func (r *Ring) Attended(tx Reader) (bool, error) {
	rec, root, err := r.present(tx)
	if err != nil {
		return false, err
	}
	self, err := r.attendant()
	if err != nil {
		return false, err
	}
	raw, err := tx.Blob(kindReplica, self.name)
	if vault.KindOf(err) == vault.KindNotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	me, err := openReplica(rec, root, self.name, raw)
	return err == nil && me.Missed == 0, nil
}

// Attend makes the ring known in the database, so that RenewRoot hands the next
// root over to it, and says that it has what was handed over.
func (r *Ring) Attend(tx Tx, now time.Time) error {
	rec, root, err := r.present(tx)
	if err != nil {
		return err
	}
	self, err := r.attendant()
	if err != nil {
		return err
	}
	names, err := tx.BlobNames(kindReplica)
	if err != nil {
		return err
	}
	type other struct {
		name  string
		since time.Time
	}
	var others []other
	for _, name := range names {
		if name == self.name {
			continue
		}
		raw, err := tx.Blob(kindReplica, name)
		if err != nil {
			return err
		}
		o, _ := openReplica(rec, root, name, raw) // what does not open is nobody's, and the oldest
		others = append(others, other{name, o.Since})
	}
	slices.SortFunc(others, func(a, b other) int { return a.since.Compare(b.since) })
	for len(others) >= mostReplicas {
		if err := dropReplica(tx, others[0].name); err != nil {
			return err
		}
		others = others[1:]
	}
	if err := dropReplica(tx, self.name); err != nil {
		return err
	}
	return putReplica(tx, rec.r.Server, self.name, rec.r.Gen, root, replica{Recipient: self.identity.Recipient().String(), Since: now.UTC()})
}

// Leave says that the ring needs nothing handed over any more.
func (r *Ring) Leave(tx Tx) error {
	r.mu.RLock()
	self := r.self
	r.mu.RUnlock()
	if self == nil {
		return nil
	}
	return dropReplica(tx, self.name)
}

func openReplica(rec *Record, root seal.Key, name string, raw []byte) (o replica, err error) {
	plain, err := root.OpenRow(replicaRow(rec.r.Server, name, rec.r.Gen), raw)
	if err != nil {
		return o, err
	}
	if err := json.Unmarshal(plain, &o); err != nil {
		return o, &vault.Error{Kind: vault.KindVersion, Detail: "a replica is not of a form that this program writes"}
	}
	return o, nil
}

func putReplica(tx Tx, server, name string, gen uint32, root seal.Key, o replica) error {
	plain, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("attending the keys: %w", err)
	}
	sealed, err := root.SealRow(replicaRow(server, name, gen), plain)
	if err != nil {
		return err
	}
	return tx.PutBlob(kindReplica, name, sealed)
}

// dropReplica removes a ring and what was handed over to it.
func dropReplica(tx Tx, name string) error {
	all, err := tx.BlobNames(kindHandover)
	if err != nil {
		return err
	}
	for _, h := range all {
		if strings.HasPrefix(h, name+".") {
			if _, err := tx.DeleteBlob(kindHandover, h); err != nil {
				return err
			}
		}
	}
	_, err = tx.DeleteBlob(kindReplica, name)
	return err
}

// handOver gives the next root to every ring that is known.
func (n *NextRoot) handOver(tx Tx, was *Record, former seal.Key) error {
	names, err := tx.BlobNames(kindReplica)
	if err != nil {
		return err
	}
	server, gen := n.next.r.Server, n.next.r.Gen
	for _, name := range names {
		raw, err := tx.Blob(kindReplica, name)
		if err != nil {
			return err
		}
		o, err := openReplica(was, former, name, raw)
		if err != nil || o.Missed >= mostMissed {
			// Nobody's, or of a server that is gone. If it lives it is unsealed again.
			if err := dropReplica(tx, name); err != nil {
				return err
			}
			continue
		}
		to, err := agekey.ParseRecipient(o.Recipient)
		if err != nil {
			return &vault.Error{Kind: vault.KindMalformed, Detail: "the recipient of a replica", Err: err}
		}
		// It calculates and waits for nobody.
		blob, err := seal.AgeSealer(name, to, nil).Seal(context.Background(), n.root, handoverContext(server, name, gen))
		if err != nil {
			return err
		}
		sealed, err := former.SealRow(handoverRow(server, name, gen), blob)
		if err != nil {
			return err
		}
		if err := tx.PutBlob(kindHandover, handoverName(name, gen), sealed); err != nil {
			return err
		}
		o.Missed++
		if err := putReplica(tx, server, name, gen, n.root, o); err != nil {
			return err
		}
	}
	return nil
}

// rootIn is the root of a generation, which may have been handed over since: it
// is looked for in the transaction if it is not in memory.
func (r *Ring) rootIn(tx Reader, gen uint32) (seal.Key, error) {
	known, err := r.rootOf(gen)
	if err == nil {
		return known, nil
	}
	r.mu.RLock()
	rec, self := r.rec, r.self
	var at uint32
	for g := range r.root {
		if g < gen && g > at {
			at = g
		}
	}
	root, ok := r.root[at]
	r.mu.RUnlock()
	if rec == nil || self == nil || !ok {
		return seal.Key{}, err
	}
	now, loadErr := Load(tx)
	if loadErr != nil {
		return seal.Key{}, loadErr
	}
	if now.r.Gen != gen {
		return seal.Key{}, &vault.Error{Kind: vault.KindTampered, Detail: fmt.Sprintf("something is sealed under generation %d of the root key, which is of generation %d", gen, now.r.Gen)}
	}
	for at < gen {
		at++
		raw, blobErr := tx.Blob(kindHandover, handoverName(self.name, at))
		if vault.KindOf(blobErr) == vault.KindNotFound {
			return seal.Key{}, err // it was not handed over
		}
		if blobErr != nil {
			return seal.Key{}, blobErr
		}
		blob, openErr := root.OpenRow(handoverRow(rec.r.Server, self.name, at), raw)
		if openErr != nil {
			return seal.Key{}, openErr
		}
		sealer := seal.AgeSealer(self.name, nil, []age.Identity{self.identity})
		if root, openErr = sealer.Open(context.Background(), blob, handoverContext(rec.r.Server, self.name, at)); openErr != nil {
			return seal.Key{}, openErr
		}
	}
	if err := now.check(root); err != nil {
		return seal.Key{}, err
	}
	tx.AfterCommit(func() { r.take(now, root) })
	return root, nil
}

// take puts a root that was handed over in the place of the former one, unless
// the ring was sealed meanwhile.
func (r *Ring) take(rec *Record, root seal.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rec != nil && r.rec.r.Gen < rec.r.Gen {
		r.hold(rec, root)
	}
}
