package engine

import (
	"context"
	"fmt"
	"sort"

	"envrun/vault"
	"envrun/vault/record"
	"envrun/vault/seal"
)

// GrantTo is somebody an environment's key is wrapped for.
type GrantTo struct {
	Member    string      // "alice@laptop", "ci-github"
	Recipient string      // the age recipient that Sealer wraps for; empty for other sealers, whose ID is written instead
	Sealer    seal.Sealer // needs to Seal only

	// Extra are headers of the grant beside those of the format: under its MAC,
	// and passed over by a reader that does not know them.
	Extra []record.Header
}

// CreateEnv makes an environment with a new key, a grant for each member and an
// empty seal, all in one batch. KindExists if there is one of that name.
func (e *Engine) CreateEnv(ctx context.Context, env vault.Env, to []GrantTo) error {
	if _, err := vault.ParseEnv(string(env)); err != nil {
		return err
	}
	key, err := seal.NewKey()
	if err != nil {
		return err
	}
	g, err := e.newGeneration(ctx, env, EnvKey{Gen: 1, Key: key}, EnvKey{}, "", to)
	if err != nil {
		return err
	}
	sealed, err := e.makeSeal(env, g.key, record.Seal{Seq: 1, Grants: g.sealed})
	if err != nil {
		return err
	}
	err = e.c.Store.Batch(ctx, env, func(tx Tx) error {
		if err := tx.CreateEnv(); err != nil {
			return err
		}
		if err := g.put(tx); err != nil {
			return err
		}
		return tx.PutBlob(SealBlob, sealed)
	})
	return e.locate(err, env, "")
}

// RemoveEnv removes an environment with everything in it. KindNoEnv if it is not there.
func (e *Engine) RemoveEnv(ctx context.Context, env vault.Env) error {
	err := e.c.Store.Batch(ctx, env, func(tx Tx) error { return tx.RemoveEnv() })
	return e.locate(err, env, "")
}

// generation is a new key with its gen file and grants, ready to be stored.
type generation struct {
	key    EnvKey
	blobs  map[string][]byte
	sealed []record.SealedGrant // sorted
}

// newGeneration makes the files of a key. before is the key it follows, the
// zero EnvKey for the first; extra are headers of the gen file.
func (e *Engine) newGeneration(ctx context.Context, env vault.Env, key, before EnvKey, why string, to []GrantTo, extra ...record.Header) (generation, error) {
	g := generation{key: key, blobs: map[string][]byte{}}
	if len(to) == 0 {
		return g, e.locate(invalid("would have nobody who can open it"), env, "")
	}
	if err := record.CheckMember(e.c.Member); err != nil {
		return g, err
	}
	f := record.Gen{
		Vault: e.c.Vault, Env: env, Gen: key.Gen, After: before.Gen, By: e.c.Member, At: e.now(), Why: why,
		Fingerprint: key.Key.Fingerprint(e.c.Vault, env, key.Gen).String(), Extra: extra,
	}
	if before.Gen > 0 {
		f.Chain = before.Key.ChainMAC(f.ChainInput())
	}
	f.MAC = key.Key.MAC(seal.GenMAC, f.MACInput())
	if err := f.Check(); err != nil {
		return g, err
	}
	g.blobs[GenBlob(key.Gen)] = f.Marshal()
	for _, t := range to {
		raw, err := e.makeGrant(ctx, env, key, t)
		if err != nil {
			return g, fmt.Errorf("granting %s to %s: %w", env, t.Member, err)
		}
		name := GrantBlob(key.Gen, t.Member)
		if g.blobs[name] != nil {
			return g, e.locate(invalid("%s is to have two grants", t.Member), env, "")
		}
		hash, err := record.BodyHash(raw)
		if err != nil {
			return g, err
		}
		g.blobs[name] = raw
		g.sealed = append(g.sealed, record.SealedGrant{Member: t.Member, Hash: hash.Short()})
	}
	sort.Slice(g.sealed, func(i, j int) bool { return g.sealed[i].Member < g.sealed[j].Member })
	return g, nil
}

// put stores the generation.
func (g generation) put(tx Tx) error {
	for name, raw := range g.blobs {
		if err := tx.PutBlob(name, raw); err != nil {
			return err
		}
	}
	return nil
}

// makeGrant wraps a key for one member.
func (e *Engine) makeGrant(ctx context.Context, env vault.Env, key EnvKey, to GrantTo) ([]byte, error) {
	if err := record.CheckMember(to.Member); err != nil {
		return nil, err
	}
	wrapped, err := to.Sealer.Seal(ctx, key.Key, seal.KeyContext(e.c.Vault, env, key.Gen, to.Member))
	if err != nil {
		return nil, err
	}
	g := record.Grant{
		Vault: e.c.Vault, Env: env, Gen: key.Gen, Member: to.Member, Recipient: to.Recipient,
		By: e.c.Member, At: e.now(), Extra: to.Extra, Wrapped: wrapped,
	}
	if g.Recipient == "" {
		g.Sealer = to.Sealer.ID()
	}
	g.MAC = key.Key.MAC(seal.GrantMAC, g.MACInput())
	if err := g.Check(); err != nil {
		return nil, err
	}
	return g.Marshal(), nil
}
