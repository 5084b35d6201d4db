package keyring_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"envrun/vault"
	"envrun/vault/keyring"
	"envrun/vault/sqlite"
	"envrun/vault/sqlstore"
)

var (
	ctx = context.Background()
	now = time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
)

const server = "s_0011223344556677"

type person struct {
	age.Identity
	keyring.AgeSealer
}

func newPerson(t *testing.T, name string) person {
	t.Helper()
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return person{id, keyring.AgeSealer{Name: name, Recipient: id.Recipient().String()}}
}

func open(t *testing.T) *sqlstore.DB {
	t.Helper()
	db, err := sqlite.OpenMemory(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func write(t *testing.T, db *sqlstore.DB, f func(*sqlstore.Tx) error) {
	t.Helper()
	if err := db.Write(ctx, f); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, db *sqlstore.DB) (rec *keyring.Record) {
	t.Helper()
	if err := db.Read(ctx, func(tx *sqlstore.Tx) (err error) { rec, err = keyring.Load(tx); return err }); err != nil {
		t.Fatal(err)
	}
	return rec
}

// made is a new server with an operator, shares, and a sealed record.
func made(t *testing.T, db *sqlstore.DB, op person, sh keyring.Shares) (*keyring.Ring, [][]byte) {
	t.Helper()
	ring, rec, shares, err := keyring.Make(ctx, keyring.Options{Server: server, Age: []keyring.AgeSealer{op.AgeSealer}, Shamir: &sh, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	write(t, db, func(tx *sqlstore.Tx) error {
		if err := rec.Create(tx); err != nil {
			return err
		}
		if err := ring.NewKey(tx, keyring.Sys, now); err != nil {
			return err
		}
		return ring.PutSealed(tx, "note", "a", []byte("what is kept"))
	})
	return ring, shares
}

// kept is what a ring reads of what made has kept.
func kept(db *sqlstore.DB, ring *keyring.Ring) (plain []byte, err error) {
	err = db.Read(ctx, func(tx *sqlstore.Tx) error { plain, err = ring.GetSealed(tx, "note", "a"); return err })
	return plain, err
}

func mustKeep(t *testing.T, db *sqlstore.DB, ring *keyring.Ring) {
	t.Helper()
	if plain, err := kept(db, ring); err != nil || string(plain) != "what is kept" {
		t.Errorf("kept: %q, %v", plain, err)
	}
}

func TestUnseal(t *testing.T) {
	db, op := open(t), newPerson(t, "alice")
	if err := db.Read(ctx, func(tx *sqlstore.Tx) error { _, err := keyring.Load(tx); return err }); vault.KindOf(err) != vault.KindNoVault {
		t.Errorf("not initialised: %v", err)
	}
	ring, shares := made(t, db, op, keyring.Shares{Shares: 5, Threshold: 3})
	mustKeep(t, db, ring)
	ring.Seal()
	if _, err := kept(db, ring); !errors.Is(err, keyring.ErrSealed) || vault.KindOf(err) != vault.KindUnavailable {
		t.Errorf("sealed: %v", err)
	}
	rec := load(t, db)
	stranger := newPerson(t, "mallory")
	flip := func(share []byte, at int) []byte {
		b := bytes.Clone(share)
		b[at] ^= 1
		return b
	}
	_, others := made(t, open(t), op, keyring.Shares{Shares: 5, Threshold: 3})
	for _, c := range []struct {
		what   string
		ids    []age.Identity
		shares [][]byte
		by     string
		kind   vault.Kind
	}{
		{"nothing", nil, nil, "", vault.KindDenied},
		{"a stranger", []age.Identity{stranger}, nil, "", vault.KindDenied},
		{"the operator", []age.Identity{op}, nil, "age:alice", 0},
		{"a stranger and the operator", []age.Identity{stranger, op}, nil, "age:alice", 0},
		{"three shares", nil, [][]byte{shares[4], shares[0], shares[2]}, "shamir", 0},
		{"all shares", nil, shares, "shamir", 0},
		{"one of them twice", nil, [][]byte{shares[0], shares[0], shares[2], shares[1]}, "shamir", 0},
		{"a stranger and three shares", []age.Identity{stranger}, shares[:3], "shamir", 0},
		{"two shares", nil, shares[:2], "", vault.KindDenied},
		{"one share three times", nil, [][]byte{shares[0], shares[0], shares[0]}, "", vault.KindDenied},
		{"miscopied", nil, [][]byte{shares[0], shares[1], flip(shares[2], 20)}, "", vault.KindInvalid},
		{"cut off", nil, [][]byte{shares[0], shares[1], shares[2][:20]}, "", vault.KindInvalid},
		{"of another server", nil, [][]byte{shares[0], shares[1], others[2]}, "", vault.KindDenied},
	} {
		ring := new(keyring.Ring)
		by, err := ring.Unseal(ctx, rec, c.ids, c.shares)
		if by != c.by || (err == nil) != (c.kind == 0) || err != nil && vault.KindOf(err) != c.kind {
			t.Errorf("%s: %q, %v", c.what, by, err)
		}
		if ring.Sealed() == (err == nil) {
			t.Errorf("%s: sealed is %v after %v", c.what, ring.Sealed(), err)
		}
		if err == nil {
			mustKeep(t, db, ring)
		}
	}
	for i, share := range shares {
		if index, err := rec.CheckShare(share); index != i+1 || err != nil {
			t.Errorf("share %d: %d, %v", i+1, index, err)
		}
	}
}

func TestWaysToShare(t *testing.T) {
	op := newPerson(t, "alice")
	for _, c := range []struct {
		sh keyring.Shares
		ok bool
	}{
		{keyring.Shares{Shares: 1, Threshold: 1}, true}, {keyring.Shares{Shares: 5, Threshold: 1}, true}, {keyring.Shares{Shares: 255, Threshold: 255}, true},
		{keyring.Shares{Shares: 2, Threshold: 3}, false}, {keyring.Shares{Shares: 3, Threshold: 0}, false}, {keyring.Shares{Shares: 0, Threshold: 0}, false},
		{keyring.Shares{Shares: 256, Threshold: 3}, false}, {keyring.Shares{Shares: -1, Threshold: -1}, false},
	} {
		_, rec, shares, err := keyring.Make(ctx, keyring.Options{Server: server, Age: []keyring.AgeSealer{op.AgeSealer}, Shamir: &c.sh, Now: now})
		if !c.ok {
			if vault.KindOf(err) != vault.KindInvalid {
				t.Errorf("%+v: %v", c.sh, err)
			}
			continue
		}
		if err != nil || len(shares) != c.sh.Shares {
			t.Errorf("%+v: %d shares, %v", c.sh, len(shares), err)
			continue
		}
		if _, err := new(keyring.Ring).Unseal(ctx, rec, nil, shares[len(shares)-c.sh.Threshold:]); err != nil {
			t.Errorf("%+v: %v", c.sh, err)
		}
	}
}

func TestTwoSealers(t *testing.T) {
	alice := newPerson(t, "alice")
	twin := alice.AgeSealer
	twin.Name = "other"
	for what, ages := range map[string][]keyring.AgeSealer{
		"none":               nil,
		"one":                {alice.AgeSealer},
		"the same twice":     {alice.AgeSealer, alice.AgeSealer},
		"one with two names": {alice.AgeSealer, twin},
		"no recipient":       {alice.AgeSealer, {Name: "bob", Recipient: "age1nonsense"}},
		"no name":            {alice.AgeSealer, {Recipient: newPerson(t, "").Recipient}},
	} {
		if _, _, _, err := keyring.Make(ctx, keyring.Options{Server: server, Age: ages, Now: now}); vault.KindOf(err) != vault.KindInvalid {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestCreateOnce(t *testing.T) {
	db, op := open(t), newPerson(t, "alice")
	made(t, db, op, keyring.Shares{Shares: 1, Threshold: 1})
	_, rec, _, err := keyring.Make(ctx, keyring.Options{Server: "s_other", Age: []keyring.AgeSealer{op.AgeSealer, newPerson(t, "bob").AgeSealer}, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Write(ctx, func(tx *sqlstore.Tx) error { return rec.Create(tx) }); vault.KindOf(err) != vault.KindExists {
		t.Errorf("a second time: %v", err)
	}
	if have := load(t, db).Server(); have != server {
		t.Errorf("the server is %s now", have)
	}
}

func TestRenewRoot(t *testing.T) {
	db, alice, bob := open(t), newPerson(t, "alice"), newPerson(t, "bob")
	ring, shares := made(t, db, alice, keyring.Shares{Shares: 3, Threshold: 2})
	before := load(t, db)
	replica := new(keyring.Ring)
	if _, err := replica.Unseal(ctx, before, nil, shares[1:]); err != nil {
		t.Fatal(err)
	}
	mustKeep(t, db, replica) // has the key in memory now
	cold := new(keyring.Ring)
	if _, err := cold.Unseal(ctx, before, nil, shares[:2]); err != nil {
		t.Fatal(err)
	}

	// One that is not kept leaves everything as it was.
	next, _, err := ring.RenewRoot(ctx, before, keyring.RootChange{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	undone := errors.New("undone")
	if err := db.Write(ctx, func(tx *sqlstore.Tx) error { return errors.Join(next.Apply(tx), undone) }); !errors.Is(err, undone) {
		t.Fatal(err)
	}
	mustKeep(t, db, ring)

	// Nobody but alice and the shares is let in, and no share was needed for it.
	next, none, err := ring.RenewRoot(ctx, before, keyring.RootChange{Now: now})
	if err != nil || none != nil {
		t.Fatal(none, err)
	}
	write(t, db, func(tx *sqlstore.Tx) error { return next.Apply(tx) })
	if err := db.Write(ctx, func(tx *sqlstore.Tx) error { return next.Apply(tx) }); vault.KindOf(err) != vault.KindConflict {
		t.Errorf("a plan that is out of date: %v", err)
	}
	after := load(t, db)
	if gen, _ := after.Generation(); gen != 2 {
		t.Errorf("generation %d", gen)
	}
	mustKeep(t, db, ring)
	for what, try := range map[string]struct {
		ids    []age.Identity
		shares [][]byte
	}{"alice": {[]age.Identity{alice}, nil}, "shares": {nil, shares[:2]}} {
		r := new(keyring.Ring)
		if _, err := r.Unseal(ctx, after, try.ids, try.shares); err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		mustKeep(t, db, r)
	}
	mustKeep(t, db, replica)
	if _, err := kept(db, cold); !errors.Is(err, keyring.ErrSealed) || !strings.Contains(err.Error(), "generation 2") {
		t.Errorf("a replica that needs a key: %v", err)
	}
	if err := db.Write(ctx, func(tx *sqlstore.Tx) error { return replica.NewKey(tx, "m9", now) }); !errors.Is(err, keyring.ErrSealed) {
		t.Errorf("a replica that makes a key: %v", err)
	}

	// Others, and other shares.
	next, fresh, err := ring.RenewRoot(ctx, after, keyring.RootChange{Add: []keyring.AgeSealer{bob.AgeSealer}, Drop: []string{"age:alice"}, Shamir: &keyring.Shares{Shares: 2, Threshold: 2}, Now: now})
	if err != nil || len(fresh) != 2 {
		t.Fatal(len(fresh), err)
	}
	write(t, db, func(tx *sqlstore.Tx) error { return next.Apply(tx) })
	last := load(t, db)
	for _, c := range []struct {
		what   string
		id     age.Identity
		shares [][]byte
		ok     bool
	}{{"alice", alice, nil, false}, {"bob", bob, nil, true}, {"former shares", stranger(t), shares, false}, {"new shares", stranger(t), fresh, true}} {
		if _, err := new(keyring.Ring).Unseal(ctx, last, []age.Identity{c.id}, c.shares); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	for _, c := range []struct {
		change keyring.RootChange
		kind   vault.Kind
	}{
		{keyring.RootChange{Drop: []string{"age:bob"}}, vault.KindInvalid}, // one would be left
		{keyring.RootChange{Drop: []string{"age:nobody"}}, vault.KindNotFound},
		{keyring.RootChange{Add: []keyring.AgeSealer{bob.AgeSealer}}, vault.KindInvalid},
	} {
		if _, _, err := ring.RenewRoot(ctx, last, c.change); vault.KindOf(err) != c.kind {
			t.Errorf("%+v: %v", c.change, err)
		}
	}
}

func stranger(t *testing.T) age.Identity { return newPerson(t, "stranger").Identity }

// Someone who can write the database adds a recipient of theirs to the record
// and waits for the next root to be sealed for it.
func TestAddedSealerIsRefused(t *testing.T) {
	db, alice, mallory := open(t), newPerson(t, "alice"), newPerson(t, "mallory")
	ring, _ := made(t, db, alice, keyring.Shares{Shares: 1, Threshold: 1})
	var raw []byte
	write(t, db, func(tx *sqlstore.Tx) (err error) {
		if raw, err = tx.Blob("keyring", "root"); err != nil {
			return err
		}
		return tx.PutBlob("keyring", "root", bytes.Replace(raw, []byte(alice.Recipient), []byte(mallory.Recipient), 1))
	})
	rec := load(t, db)
	if _, err := new(keyring.Ring).Unseal(ctx, rec, []age.Identity{alice}, nil); vault.KindOf(err) != vault.KindTampered {
		t.Errorf("unsealing: %v", err)
	}
	if _, _, err := ring.RenewRoot(ctx, rec, keyring.RootChange{Now: now}); vault.KindOf(err) != vault.KindTampered {
		t.Errorf("renewing: %v", err)
	}
	if err := db.Write(ctx, func(tx *sqlstore.Tx) error { return ring.NewKey(tx, "m1", now) }); vault.KindOf(err) != vault.KindTampered {
		t.Errorf("a new key: %v", err)
	}
}

func TestSealedRecords(t *testing.T) {
	db := open(t)
	ring, _ := made(t, db, newPerson(t, "alice"), keyring.Shares{Shares: 1, Threshold: 1})
	write(t, db, func(tx *sqlstore.Tx) error { return ring.PutSealed(tx, "note", "b", []byte("of b")) })
	get := func(kind, name string) (plain []byte, err error) {
		err = db.Read(ctx, func(tx *sqlstore.Tx) error { plain, err = ring.GetSealed(tx, kind, name); return err })
		return plain, err
	}
	// Sealed anew under a next generation of Sys, and the former one dropped.
	write(t, db, func(tx *sqlstore.Tx) error {
		if err := ring.RotateSys(tx, now); err != nil {
			return err
		}
		return ring.RetireKeys(tx, keyring.Sys)
	})
	if plain, err := get("note", "b"); string(plain) != "of b" || err != nil {
		t.Errorf("%q, %v", plain, err)
	}
	if _, err := get("note", "c"); vault.KindOf(err) != vault.KindNotFound {
		t.Errorf("absent: %v", err)
	}
	var raw []byte
	write(t, db, func(tx *sqlstore.Tx) (err error) { raw, err = tx.Blob("note", "a"); return err })
	spoilt := bytes.Clone(raw)
	spoilt[len(spoilt)-1] ^= 1
	for what, f := range map[string]func(tx *sqlstore.Tx) error{
		"under another name": func(tx *sqlstore.Tx) error { return tx.PutBlob("note", "b", raw) },
		"edited":             func(tx *sqlstore.Tx) error { return tx.PutBlob("note", "b", spoilt) },
		"cut off":            func(tx *sqlstore.Tx) error { return tx.PutBlob("note", "b", raw[:3]) },
		"another generation": func(tx *sqlstore.Tx) error { return tx.PutBlob("note", "b", append([]byte{0, 0, 0, 9}, raw[4:]...)) },
	} {
		write(t, db, f)
		if plain, err := get("note", "b"); vault.KindOf(err) != vault.KindTampered {
			t.Errorf("%s: %q, %v", what, plain, err)
		}
	}
	write(t, db, func(tx *sqlstore.Tx) error { return tx.PutBlob("other", "a", raw) })
	if _, err := get("other", "a"); vault.KindOf(err) != vault.KindTampered {
		t.Errorf("under another kind: %v", err)
	}
}

// A generation that was undone must not stay in memory: another replica may
// make one of the same number.
func TestUndoneGeneration(t *testing.T) {
	db, alice := open(t), newPerson(t, "alice")
	ring, _ := made(t, db, alice, keyring.Shares{Shares: 1, Threshold: 1})
	replica := new(keyring.Ring)
	if _, err := replica.Unseal(ctx, load(t, db), []age.Identity{alice}, nil); err != nil {
		t.Fatal(err)
	}
	undone := errors.New("undone")
	rotate := func(r *keyring.Ring, end error) error {
		return db.Write(ctx, func(tx *sqlstore.Tx) error {
			if _, err := r.RotateKey(tx, keyring.Sys, now); err != nil {
				return err
			}
			if err := r.PutSealed(tx, "note", "a", []byte("what is kept")); err != nil {
				return err
			}
			return end
		})
	}
	if err := rotate(ring, undone); !errors.Is(err, undone) {
		t.Fatal(err)
	}
	mustKeep(t, db, ring)
	if err := rotate(replica, nil); err != nil {
		t.Fatal(err)
	}
	mustKeep(t, db, ring)
	mustKeep(t, db, replica)
}

// Records that are removed, or put back, are found by a check of all.
func TestVerifySealed(t *testing.T) {
	db := open(t)
	ring, _ := made(t, db, newPerson(t, "alice"), keyring.Shares{Shares: 1, Threshold: 1})
	raw := func(kind, name string) (b []byte) {
		write(t, db, func(tx *sqlstore.Tx) (err error) { b, err = tx.Blob(kind, name); return err })
		return b
	}
	put := func(kind, name string, b []byte) func(*sqlstore.Tx) error {
		return func(tx *sqlstore.Tx) error { return tx.PutBlob(kind, name, b) }
	}
	old, oldAll := raw("note", "a"), raw("keyring", "sealed")
	write(t, db, func(tx *sqlstore.Tx) error {
		if err := ring.PutSealed(tx, "note", "a", []byte("changed")); err != nil {
			return err
		}
		if err := ring.PutSealed(tx, "note", "gone", []byte("gone")); err != nil {
			return err
		}
		return ring.PutSealed(tx, "policy", "deny", []byte("a policy that denies"))
	})
	gone := raw("note", "gone")
	write(t, db, func(tx *sqlstore.Tx) error {
		if was, err := ring.DeleteSealed(tx, "note", "gone"); !was || err != nil {
			t.Error(was, err)
		}
		if was, err := ring.DeleteSealed(tx, "note", "gone"); was || err != nil {
			t.Error(was, err)
		}
		if err := ring.RotateSys(tx, now); err != nil {
			return err
		}
		return ring.RetireKeys(tx, keyring.Sys) // the commitment goes along
	})
	findings := func() (f []vault.Finding) {
		if err := db.Read(ctx, func(tx *sqlstore.Tx) (err error) { f, err = ring.VerifySealed(tx, keyring.Head{}); return err }); err != nil {
			t.Error(err)
		}
		return f
	}
	if f := findings(); f != nil {
		t.Errorf("in order: %v", f)
	}
	deny, all := raw("policy", "deny"), raw("keyring", "sealed")
	now := raw("note", "a")
	for what, f := range map[string]func(*sqlstore.Tx) error{
		"a policy removed":        func(tx *sqlstore.Tx) error { _, err := tx.DeleteBlob("policy", "deny"); return err },
		"put back":                put("note", "a", old),
		"a removed one back":      put("note", "gone", gone),
		"moved":                   put("note", "z", now),
		"edited":                  put("note", "a", deny),
		"the commitment edited":   put("keyring", "sealed", now),
		"the commitment put back": put("keyring", "sealed", oldAll),
		"the commitment removed":  func(tx *sqlstore.Tx) error { _, err := tx.DeleteBlob("keyring", "sealed"); return err },
	} {
		write(t, db, f)
		if findings() == nil {
			t.Errorf("%s: not found", what)
		}
		write(t, db, func(tx *sqlstore.Tx) error {
			for _, name := range []string{"gone", "z"} {
				if _, err := tx.DeleteBlob("note", name); err != nil {
					return err
				}
			}
			for _, f := range []func(*sqlstore.Tx) error{put("note", "a", now), put("policy", "deny", deny), put("keyring", "sealed", all)} {
				if err := f(tx); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if f := findings(); f != nil {
		t.Errorf("as it was: %v", f)
	}
}
