package keyring_test

import (
	"context"
	"encoding/base64"
	"io"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"

	"envrun/vault"
	"envrun/vault/keyring"
	"envrun/vault/seal"
	"envrun/vault/sqlstore"
)

// service is a sealer that wraps as an age identity does, and can be away.
type service struct {
	seal.Sealer
	away bool
}

func newService(t *testing.T, id string) *service {
	t.Helper()
	p := newPerson(t, id)
	to, err := age.ParseHybridRecipient(p.Recipient)
	if err != nil {
		t.Fatal(err)
	}
	return &service{Sealer: seal.AgeSealer(id, to, []age.Identity{p.Identity})}
}

var errAway = &vault.Error{Kind: vault.KindUnavailable, Detail: "it is away"}

func (s *service) Seal(ctx context.Context, key seal.Key, bound []byte) ([]byte, error) {
	if s.away {
		return nil, errAway
	}
	return s.Sealer.Seal(ctx, key, bound)
}

func (s *service) Open(ctx context.Context, blob, bound []byte) (seal.Key, error) {
	if s.away {
		return seal.Key{}, errAway
	}
	return s.Sealer.Open(ctx, blob, bound)
}

// A service opens the root, and the root is renewed while it is away.
func TestService(t *testing.T) {
	db, alice, kms := open(t), newPerson(t, "alice"), newService(t, "kms:main")
	ring, rec, _, err := keyring.Make(ctx, keyring.Options{Server: server, Age: []keyring.AgeSealer{alice.AgeSealer}, Services: []seal.Sealer{kms}, Now: now})
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
	opens := func(s seal.Sealer) error {
		t.Helper()
		r := new(keyring.Ring)
		err := r.UnsealBy(ctx, load(t, db), s)
		if err == nil {
			mustKeep(t, db, r)
		}
		return err
	}
	if err := opens(kms); err != nil {
		t.Error(err)
	}
	kms.away = true
	renew(t, db, ring, keyring.RootChange{})
	if err := opens(kms); vault.KindOf(err) != vault.KindUnavailable {
		t.Errorf("away: %v", err)
	}
	kms.away = false
	if err := opens(kms); err != nil {
		t.Error(err)
	}
	if err := opens(newService(t, "kms:main")); vault.KindOf(err) != vault.KindDenied {
		t.Errorf("another of its name: %v", err)
	}
	if err := opens(newService(t, "kms:other")); vault.KindOf(err) != vault.KindDenied {
		t.Errorf("one that is no sealer: %v", err)
	}
	for _, id := range []string{"age:x", "shamir", "shamir:1", "kms:", ":x", ""} {
		if _, err := keyring.Enrol(ctx, server, newService(t, id)); vault.KindOf(err) != vault.KindInvalid {
			t.Errorf("%q: %v", id, err)
		}
	}
	// Another takes its place, and it opens nothing.
	other := newService(t, "kms:other")
	e, err := keyring.Enrol(ctx, server, other)
	if err != nil {
		t.Fatal(err)
	}
	before := load(t, db)
	renew(t, db, ring, keyring.RootChange{Services: []*keyring.Enrolment{e}, Drop: []string{"kms:main"}})
	if err := opens(kms); vault.KindOf(err) != vault.KindDenied {
		t.Errorf("dropped: %v", err)
	}
	if err := opens(other); err != nil {
		t.Error(err)
	}
	// With the record of before it opens a root that nothing is sealed with.
	old := new(keyring.Ring)
	if err := old.UnsealBy(ctx, before, kms); err != nil {
		t.Fatal(err)
	}
	if plain, err := kept(db, old); err == nil {
		t.Errorf("the former root reads %q", plain)
	}
	// What wraps and does not unwrap, or unwraps another key, is refused before it is a sealer.
	if _, err := keyring.Enrol(ctx, server, swapped{newService(t, "kms:bad")}); vault.KindOf(err) != vault.KindTampered {
		t.Errorf("another key: %v", err)
	}
	for _, s := range load(t, db).Sealers() {
		if s.Wrapped != nil || s.Identity != nil || s.Blob != nil {
			t.Errorf("%s shows what is sealed", s.ID)
		}
	}
}

// swapped gives back another key than it was given.
type swapped struct{ *service }

func (s swapped) Open(context.Context, []byte, []byte) (seal.Key, error) { return seal.NewKey() }

func TestForOperators(t *testing.T) {
	alice, bob := newPerson(t, "alice"), newPerson(t, "bob")
	_, shares := made(t, open(t), alice, keyring.Shares{Shares: 2, Threshold: 2})
	texts, err := keyring.ForOperators(shares, []keyring.AgeSealer{alice.AgeSealer, bob.AgeSealer})
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range []person{alice, bob} {
		r, err := age.Decrypt(armor.NewReader(strings.NewReader(texts[i])), p.Identity)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil || string(text) != base64.StdEncoding.EncodeToString(shares[i])+"\n" {
			t.Errorf("share %d: %v", i, err)
		}
	}
	if _, err := age.Decrypt(armor.NewReader(strings.NewReader(texts[0])), bob.Identity); err == nil {
		t.Error("the share of alice is for bob, too")
	}
	if _, err := keyring.ForOperators(shares, []keyring.AgeSealer{alice.AgeSealer}); vault.KindOf(err) != vault.KindInvalid {
		t.Error(err)
	}
	if _, err := keyring.ForOperators(shares[:1], []keyring.AgeSealer{{Name: "x", Recipient: "age1x"}}); vault.KindOf(err) != vault.KindInvalid {
		t.Error(err)
	}
}
