package keyring_test

import (
	"bytes"
	"errors"
	"testing"

	"filippo.io/age"

	"envrun/vault"
	"envrun/vault/keyring"
	"envrun/vault/sqlstore"
)

// unsealed is another server on the database, that needs a key it has not in memory.
func unsealed(t *testing.T, db *sqlstore.DB, id age.Identity) *keyring.Ring {
	t.Helper()
	r := new(keyring.Ring)
	if _, err := r.Unseal(ctx, load(t, db), []age.Identity{id}, nil); err != nil {
		t.Fatal(err)
	}
	return r
}

func attends(t *testing.T, db *sqlstore.DB, r *keyring.Ring) (ok bool) {
	t.Helper()
	if err := db.Read(ctx, func(tx *sqlstore.Tx) (err error) { ok, err = r.Attended(tx); return err }); err != nil {
		t.Error(err)
	}
	return ok
}

func attend(t *testing.T, db *sqlstore.DB, rings ...*keyring.Ring) {
	t.Helper()
	for _, r := range rings {
		write(t, db, func(tx *sqlstore.Tx) error { return r.Attend(tx, now) })
	}
}

func renew(t *testing.T, db *sqlstore.DB, ring *keyring.Ring, c keyring.RootChange) {
	t.Helper()
	c.Now = now
	next, _, err := ring.RenewRoot(ctx, load(t, db), c)
	if err != nil {
		t.Fatal(err)
	}
	write(t, db, func(tx *sqlstore.Tx) error { return next.Apply(tx) })
}

// A server that attends goes on after another has renewed the root, once or several times.
func TestHandOver(t *testing.T) {
	db, alice := open(t), newPerson(t, "alice")
	ring, _ := made(t, db, alice, keyring.Shares{Shares: 1, Threshold: 1})
	quick, slow, stranger := unsealed(t, db, alice), unsealed(t, db, alice), unsealed(t, db, alice)
	if attends(t, db, quick) {
		t.Error("it attends before it was told to")
	}
	attend(t, db, ring, quick, slow)
	for range 3 {
		renew(t, db, ring, keyring.RootChange{})
		if attends(t, db, quick) {
			t.Error("it does not say that it takes what it was handed")
		}
		attend(t, db, quick)
		if !attends(t, db, quick) {
			t.Error("it has nothing to do, and does not know it")
		}
		mustKeep(t, db, quick)
	}
	mustKeep(t, db, slow) // three at once
	// It can renew the root itself, and others take that.
	attend(t, db, slow)
	renew(t, db, slow, keyring.RootChange{})
	mustKeep(t, db, quick)
	write(t, db, func(tx *sqlstore.Tx) error { return quick.NewKey(tx, "m9", now) })
	if _, err := kept(db, stranger); !errors.Is(err, keyring.ErrSealed) {
		t.Errorf("one that did not attend: %v", err)
	}
	// What was taken is not left for others.
	attend(t, db, ring, quick, slow)
	if n := names(t, db, "handover"); len(n) != 0 {
		t.Errorf("there is still %v", n)
	}
	write(t, db, func(tx *sqlstore.Tx) error { return slow.Leave(tx) })
	if n := names(t, db, "replica"); len(n) != 2 {
		t.Errorf("replicas %v", n)
	}
}

func names(t *testing.T, db *sqlstore.DB, kind string) (all []string) {
	t.Helper()
	if err := db.Read(ctx, func(tx *sqlstore.Tx) (err error) { all, err = tx.BlobNames(kind); return err }); err != nil {
		t.Fatal(err)
	}
	return all
}

// The former root does not open what is handed over: somebody who was dropped may have it.
// And who writes the database hands nothing over.
func TestHandOverForged(t *testing.T) {
	db, alice, bob := open(t), newPerson(t, "alice"), newPerson(t, "bob")
	ring, _ := made(t, db, alice, keyring.Shares{Shares: 1, Threshold: 1})
	renew(t, db, ring, keyring.RootChange{Add: []keyring.AgeSealer{bob.AgeSealer}})
	replica, dropped := unsealed(t, db, alice), unsealed(t, db, bob)
	attend(t, db, replica)
	was := names(t, db, "replica")
	renew(t, db, ring, keyring.RootChange{Drop: []string{"age:bob"}})
	if _, err := kept(db, dropped); !errors.Is(err, keyring.ErrSealed) {
		t.Errorf("who was dropped reads: %v", err)
	}
	// bob's server gives itself out for the other one: without its identity that opens nothing.
	if err := db.Write(ctx, func(tx *sqlstore.Tx) error { return dropped.Attend(tx, now) }); !errors.Is(err, keyring.ErrSealed) {
		t.Errorf("who was dropped attends: %v", err)
	}
	name := names(t, db, "handover")[0]
	var good []byte
	write(t, db, func(tx *sqlstore.Tx) (err error) { good, err = tx.Blob("handover", name); return err })
	spoilt := bytes.Clone(good)
	spoilt[len(spoilt)-1] ^= 1
	for what, raw := range map[string][]byte{"edited": spoilt, "cut off": good[:8], "nothing": {}} {
		write(t, db, func(tx *sqlstore.Tx) error { return tx.PutBlob("handover", name, raw) })
		if _, err := kept(db, replica); vault.KindOf(err) != vault.KindTampered {
			t.Errorf("%s: %v", what, err)
		}
	}
	write(t, db, func(tx *sqlstore.Tx) error { return tx.PutBlob("handover", name, good) })
	mustKeep(t, db, replica)

	// A registration that somebody made up is handed nothing, and goes.
	attend(t, db, replica)
	write(t, db, func(tx *sqlstore.Tx) error {
		return tx.PutBlob("replica", "zzz", []byte(`{"recipient":"`+bob.Recipient+`"}`))
	})
	renew(t, db, ring, keyring.RootChange{})
	if n := names(t, db, "replica"); len(n) != 1 || n[0] != was[0] {
		t.Errorf("replicas %v", n)
	}
	mustKeep(t, db, replica)
}

// Servers that are gone are not handed roots for ever, and are not without number.
func TestHandOverToTheGone(t *testing.T) {
	db, alice := open(t), newPerson(t, "alice")
	ring, _ := made(t, db, alice, keyring.Shares{Shares: 1, Threshold: 1})
	attend(t, db, unsealed(t, db, alice))
	for range 9 {
		renew(t, db, ring, keyring.RootChange{})
	}
	if n, h := names(t, db, "replica"), names(t, db, "handover"); len(n) != 0 || len(h) != 0 {
		t.Errorf("replicas %v, handed over %v", n, h)
	}
	for range 66 {
		attend(t, db, unsealed(t, db, alice))
	}
	if n := names(t, db, "replica"); len(n) != 64 {
		t.Errorf("%d replicas", len(n))
	}
}
