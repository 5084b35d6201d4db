// Package transit is a sealer (vault/seal) that is another Vault or OpenBao: its
// transit engine wraps and unwraps the key of a server, so that the server opens
// itself at its start without any secret of its own but a token that may decrypt.
//
// The context of a key goes along as associated data, and is inside the wrapped
// blob too, so that a blob opens only as what it was made for. It refuses a key that
// does not authenticate: the service does.
package transit

import (
	"context"

	"envrun/vault"
	"envrun/vault/seal"
)

// Engine is the transit engine of a server; *remote.Vault is one.
type Engine interface {
	Encrypt(ctx context.Context, mount, key string, plain, bound []byte) (string, error)
	Decrypt(ctx context.Context, mount, key, ciphertext string, bound []byte) ([]byte, error)
}

// A Sealer wraps keys with one key of an engine.
type Sealer struct {
	Name   string // of the sealer, without "transit:"
	Engine Engine
	Mount  string // of the engine, "transit"
	Key    string // its key
}

var _ seal.Sealer = (*Sealer)(nil)

// ID is "transit:" and the name.
func (s *Sealer) ID() string { return "transit:" + s.Name }

// Seal has the engine wrap a key.
func (s *Sealer) Seal(ctx context.Context, key seal.Key, bound []byte) ([]byte, error) {
	plain, err := seal.KeyBlob(key, bound)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	text, err := s.Engine.Encrypt(ctx, s.Mount, s.Key, plain, bound)
	return []byte(text), s.about(err)
}

// Open has the engine unwrap it.
func (s *Sealer) Open(ctx context.Context, blob, bound []byte) (seal.Key, error) {
	plain, err := s.Engine.Decrypt(ctx, s.Mount, s.Key, string(blob), bound)
	if err != nil {
		return seal.Key{}, s.about(err)
	}
	defer clear(plain)
	return seal.OpenKeyBlob(plain, bound)
}

// about says which sealer an error is of, and keeps its kind.
func (s *Sealer) about(err error) error {
	if err == nil {
		return nil
	}
	return &vault.Error{Kind: vault.KindOf(err), Detail: s.ID(), Err: err}
}
