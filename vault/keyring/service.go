package keyring

import (
	"context"
	"fmt"
	"strings"

	"filippo.io/age"

	"envrun/vault"
	"envrun/vault/seal"
)

// A service, such as the transit engine of another Vault, is a sealer as shares
// are: it wraps a key, with which an age identity is sealed, for whose recipient the
// root is. So it is asked once when it is made a sealer and once at each start, and
// the root can be renewed while it is away.

// An Enrolment is a service that is ready to be made a sealer.
type Enrolment struct{ s Sealer }

// ID is the name of the service, "transit:main".
func (e *Enrolment) ID() string { return e.s.ID }

// Enrol has a service wrap a key for the server with an id. It waits for the
// service: it is not to be called in a transaction. The service's ID is
// "kind:name".
func Enrol(ctx context.Context, server string, service seal.Sealer) (*Enrolment, error) {
	id := service.ID()
	if kind, name, _ := strings.Cut(id, ":"); kind == "" || kind == "age" || kind == "shamir" || name == "" {
		return nil, &vault.Error{Kind: vault.KindInvalid, Detail: fmt.Sprintf("%q is no name of a service", id)}
	}
	key, err := seal.NewKey()
	if err != nil {
		return nil, err
	}
	s := Sealer{ID: id}
	if s.Wrapped, err = service.Seal(ctx, key, serviceContext(server, id)); err != nil {
		return nil, err
	}
	// What cannot be opened is no sealer.
	again, err := service.Open(ctx, s.Wrapped, serviceContext(server, id))
	if err != nil {
		return nil, err
	}
	if !again.Equal(key) {
		return nil, &vault.Error{Kind: vault.KindTampered, Detail: id + " gives back another key than it was given"}
	}
	if err := s.identify(key, serviceRow(server, id)); err != nil {
		return nil, err
	}
	return &Enrolment{s}, nil
}

func serviceContext(server, id string) []byte { return seal.KeyContext(server, rootEnv, 0, id) }

func serviceRow(server, id string) seal.Row {
	return seal.Row{Vault: server, Table: "service", Name: id}
}

// identify makes the identity of a sealer, and seals it with its key.
func (s *Sealer) identify(key seal.Key, row seal.Row) error {
	identity, err := age.GenerateHybridIdentity()
	if err != nil {
		return fmt.Errorf("making a sealer: %w", err)
	}
	s.Recipient = identity.Recipient().String()
	s.Identity, err = key.SealRow(row, []byte(identity.String()))
	return err
}

// openBy opens the root with the identity of a sealer, which key opens.
// KindTampered if it does not.
func (rec *Record) openBy(ctx context.Context, s Sealer, key seal.Key, row seal.Row) (seal.Key, error) {
	text, err := key.OpenRow(row, s.Identity)
	if err != nil {
		return seal.Key{}, err
	}
	defer clear(text)
	identity, err := age.ParseHybridIdentity(string(text))
	if err != nil {
		return seal.Key{}, &vault.Error{Kind: vault.KindMalformed, Detail: "the identity of the sealer " + s.ID + " is damaged"}
	}
	return seal.AgeSealer(s.ID, nil, []age.Identity{identity}).Open(ctx, s.Blob, rec.context(s.ID))
}

// UnsealBy opens the root with a service. KindDenied if the root is not sealed
// for it; else the errors of its Open. It waits for the service: it is not to be
// called in a transaction.
func (r *Ring) UnsealBy(ctx context.Context, rec *Record, service seal.Sealer) error {
	for _, s := range rec.r.Sealers {
		if s.ID != service.ID() || s.Wrapped == nil {
			continue
		}
		key, err := service.Open(ctx, s.Wrapped, serviceContext(rec.r.Server, s.ID))
		if err != nil {
			return err
		}
		root, err := rec.openBy(ctx, s, key, serviceRow(rec.r.Server, s.ID))
		if err != nil {
			return err
		}
		if err := rec.check(root); err != nil {
			return err
		}
		r.open(rec, root)
		return nil
	}
	return &vault.Error{Kind: vault.KindDenied, Detail: "the root key is not sealed for " + service.ID()}
}
