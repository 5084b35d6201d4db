package engine

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sort"
	"sync"

	"envrun/vault"
	"envrun/vault/record"
	"envrun/vault/seal"
)

// A checkpoint is a seal whose MAC is right: made by a holder of the key, and
// so is every line of it.
type checkpoint struct {
	raw    []byte
	key    seal.Key
	view   *record.SealView
	parsed func() (*record.Seal, error) // at the first need, once: a read of few paths does without
}

// checkpoint checks a seal against the key. A reader of an environment comes
// here every time, with the same bytes nearly always.
func (e *Engine) checkpoint(env vault.Env, key EnvKey, raw []byte) (*checkpoint, error) {
	e.mu.Lock()
	last := e.seals[env]
	e.mu.Unlock()
	if last != nil && last.is(raw) && last.key.Equal(key.Key) {
		return last, nil
	}
	sv, err := e.checkSeal(env, key, raw)
	if err != nil {
		return nil, e.locateBlob(err, env, SealBlob)
	}
	c := &checkpoint{
		raw: raw, key: key.Key, view: sv,
		parsed: sync.OnceValues(func() (*record.Seal, error) {
			s, err := record.ParseSeal(raw)
			return s, e.locateBlob(err, env, SealBlob)
		}),
	}
	e.mu.Lock()
	e.seals[env] = c
	e.mu.Unlock()
	return c, nil
}

// checkSeal reads a seal and checks that it is of this place, this key, and genuine.
func (e *Engine) checkSeal(env vault.Env, key EnvKey, raw []byte) (*record.SealView, error) {
	sv, err := record.SplitSeal(raw)
	if err != nil {
		return nil, err
	}
	if err := e.checkSealPlace(env, &sv.Head); err != nil {
		return nil, err
	}
	if sv.Head.Gen != key.Gen {
		return nil, tampered(fmt.Sprintf("the seal is of key %d, while the key is %d", sv.Head.Gen, key.Gen))
	}
	if !key.Key.CheckMAC(seal.SealMAC, sv.MACInput(), sv.Head.MAC) {
		return nil, tampered("the seal was changed by somebody without the key")
	}
	return sv, nil
}

// checkSealPlace refuses a seal that says it belongs elsewhere.
func (e *Engine) checkSealPlace(env vault.Env, head *record.Seal) error {
	switch {
	case head.Vault != e.c.Vault:
		return tampered("is the seal of vault " + head.Vault + ", put into this one")
	case head.Env != env:
		return tampered("is the seal of " + string(head.Env) + ", put in this place")
	}
	return nil
}

// is compares bytes rather than a hash of them: that costs as much as the MAC
// which it saves.
func (c *checkpoint) is(raw []byte) bool { return bytes.Equal(c.raw, raw) }

// check is the rule of filevault §3.8 for a record that is there: the present
// dominates the checkpoint. Records that it does not know were made later, by a
// holder of the key as their MAC says.
func (c *checkpoint) check(path vault.Path, version uint64, hash record.Hash) error {
	sealed, ok, err := c.view.Lookup(path)
	if err != nil || !ok {
		return err
	}
	return dominates(sealed, version, hash)
}

func dominates(sealed record.SealedEntry, version uint64, hash record.Hash) error {
	if version > sealed.Version || version == sealed.Version && hash == sealed.Hash {
		return nil
	}
	return behindSeal(sealed, version)
}

// BehindSealError is what stands in the place of a version that the seal has.
// Git makes it in all innocence, by a revert of a sealed change or when one side
// is taken of a conflict, and so does whoever sets a secret back.
type BehindSealError struct {
	Version uint64 // that is there; 0 if none is
	Sealed  uint64 // not below Version
	Deleted bool   // the seal has it as deleted
}

func (e *BehindSealError) Error() string {
	switch {
	case e.Version == 0:
		return fmt.Sprintf("is missing; the seal has version %d of it", e.Sealed)
	case e.Version == e.Sealed:
		return fmt.Sprintf("two people wrote version %d, and the seal has the other one", e.Version)
	case e.Deleted:
		return fmt.Sprintf("was deleted in version %d and has been put back at version %d", e.Sealed, e.Version)
	}
	return fmt.Sprintf("was set back to version %d; the seal has version %d", e.Version, e.Sealed)
}

func behindSeal(sealed record.SealedEntry, version uint64) error {
	return &vault.Error{Kind: vault.KindTampered, Err: &BehindSealError{version, sealed.Version, sealed.Deleted}}
}

// absent is the rule for a path that has no record: only one that is sealed as
// deleted, or not sealed, may have none. It returns the sealed line, whose
// version a new record must be above.
func (c *checkpoint) absent(path vault.Path) (record.SealedEntry, error) {
	sealed, ok, err := c.view.Lookup(path)
	if err != nil || !ok {
		return record.SealedEntry{}, err
	}
	if !sealed.Deleted {
		return sealed, behindSeal(sealed, 0)
	}
	return sealed, nil
}

// WriteSeal moves the checkpoint of env to the present state: every record,
// tombstones too, and every grant. All of them are checked first, against the
// last checkpoint too: a seal over what was forged or set back would make it
// good. It returns the number of the seal; if there is nothing new to seal,
// that of the present one, and writes nothing.
func (e *Engine) WriteSeal(ctx context.Context, env vault.Env) (seq uint64, err error) {
	err = e.batch(ctx, env, nil, func(v view, tx Tx) error {
		seq, err = v.writeSeal(ctx, tx)
		return err
	})
	return seq, err
}

func (v view) writeSeal(ctx context.Context, tx Tx) (uint64, error) {
	last, err := v.seal.parsed()
	if err != nil {
		return 0, err
	}
	entries, err := v.sealEntries(ctx, tx)
	if err != nil {
		return 0, err
	}
	grants, err := v.sealGrants(tx, last)
	if err != nil {
		return 0, err
	}
	if slices.Equal(entries, last.Entries) && slices.Equal(grants, last.Grants) {
		return last.Seq, nil
	}
	return v.putSeal(tx, last, entries, grants)
}

// sealEntries are the lines of a new seal, sorted.
func (v view) sealEntries(ctx context.Context, tx Tx) ([]record.SealedEntry, error) {
	var entries []record.SealedEntry
	var bad error
	err := v.each(ctx, tx.Heads(""), "", false, func(f found) bool {
		bad = f.err
		entries = append(entries, f.entry)
		return bad == nil
	})
	if err == nil {
		err = bad
	}
	sortEntries(entries)
	return entries, err
}

func sortEntries(entries []record.SealedEntry) {
	sort.Slice(entries, func(i, j int) bool { return entries[i].Path < entries[j].Path })
}

// sealGrants are the grants of the present key that holders of it made. One
// that was sealed must be there: taking a grant away is a rotation.
func (v view) sealGrants(tx Tx, last *record.Seal) ([]record.SealedGrant, error) {
	states, err := v.e.grants(v.env, v.key.Gen, &v.key, last.Grants, tx)
	if err != nil {
		return nil, err
	}
	var grants []record.SealedGrant
	for _, g := range states {
		if g.Err == nil {
			grants = append(grants, record.SealedGrant{Member: g.Member, Hash: g.hash})
		} else if g.Listed {
			return nil, g.Err
		}
	}
	return grants, nil
}

// putSeal writes the seal that comes after last.
func (v view) putSeal(tx Tx, last *record.Seal, entries []record.SealedEntry, grants []record.SealedGrant) (uint64, error) {
	prev, err := record.BodyHash(v.seal.raw)
	if err != nil {
		return 0, err
	}
	raw, err := v.e.makeSeal(v.env, v.key, record.Seal{Seq: last.Seq + 1, PrevSeq: last.Seq, PrevHash: prev, Entries: entries, Grants: grants})
	if err != nil {
		return 0, err
	}
	return last.Seq + 1, tx.PutBlob(SealBlob, raw)
}

// makeSeal fills in the rest of a seal, marshals it, and checks the outcome as a reader will.
func (e *Engine) makeSeal(env vault.Env, key EnvKey, s record.Seal) ([]byte, error) {
	s.Vault, s.Env, s.Gen, s.By, s.At = e.c.Vault, env, key.Gen, e.c.Member, e.now()
	s.MAC = key.Key.MAC(seal.SealMAC, s.MACInput())
	raw, err := s.Encode()
	if err != nil {
		return nil, fmt.Errorf("sealing %s: %w", env, err)
	}
	_, err = e.checkSeal(env, key, raw)
	return raw, err
}
