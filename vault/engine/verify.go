package engine

import (
	"context"
	"fmt"
	"iter"
	"sort"
	"time"

	"envrun/vault"
	"envrun/vault/record"
	"envrun/vault/seal"
)

// Verify implements vault.Verifier. What is wrong with the key, the seal or a
// grant comes first, without a Path; sealed secrets that are missing come last.
// Where the caller holds no key, it is VerifyForm.
func (e *Engine) Verify(ctx context.Context, env vault.Env) iter.Seq[vault.Finding] {
	return func(yield func(vault.Finding) bool) {
		var v view
		err := e.read(ctx, env, func(got view) error { v = got; return nil })
		switch vault.KindOf(err) {
		case vault.KindNoEnv:
			yield(vault.Finding{Env: env, Err: err})
			return
		case vault.KindDenied, vault.KindNoIdentity:
			e.VerifyForm(ctx, env)(yield)
			return
		}
		if err != nil {
			// The rest is looked at all the same, as far as that goes.
			if yield(vault.Finding{Env: env, Err: err}) && ctx.Err() == nil {
				e.verifyForm(ctx, env, err, yield)
			}
			return
		}
		last, err := v.seal.parsed()
		if err != nil {
			yield(vault.Finding{Env: env, Err: err})
			return
		}
		for _, err := range e.checkKeys(ctx, env, v.key.Gen, &v.key, last.Grants) {
			if !yield(vault.Finding{Env: env, Err: err}) {
				return
			}
		}
		err = v.each(ctx, e.c.Store.Heads(ctx, env, ""), "", true, func(f found) bool {
			wipe(f.values)
			if vault.KindOf(f.err) == vault.KindTampered {
				f.err = e.recheck(ctx, env, f.path)
			}
			return yield(vault.Finding{Env: env, Path: f.path, Err: f.err})
		})
		if err != nil {
			yield(vault.Finding{Env: env, Err: e.locate(err, env, "")})
		}
	}
}

// recheck looks at one path again, since a rotation may have come in between.
func (e *Engine) recheck(ctx context.Context, env vault.Env, path vault.Path) error {
	err := e.read(ctx, env, func(v view) error {
		r, err := e.c.Store.Head(ctx, env, path)
		if vault.KindOf(err) == vault.KindNotFound {
			_, err = v.seal.absent(path)
			return err
		}
		if err != nil {
			return err
		}
		s, err := v.secret(path, r.Raw)
		wipe(s.Values)
		return err
	})
	return e.locate(err, env, path)
}

func wipe(fields []vault.Field) {
	for _, f := range fields {
		f.Value.Wipe()
	}
}

// VerifyForm is Verify without a key: form, place, generation, and whether the
// records dominate the seal. It finds what an accident did, and what an
// attacker did who did not trouble to change the seal too. Somebody who does
// is found by Verify alone.
func (e *Engine) VerifyForm(ctx context.Context, env vault.Env) iter.Seq[vault.Finding] {
	return func(yield func(vault.Finding) bool) { e.verifyForm(ctx, env, nil, yield) }
}

// verifyForm is VerifyForm; said is what the caller has heard of the seal already.
func (e *Engine) verifyForm(ctx context.Context, env vault.Env, said error, yield func(vault.Finding) bool) {
	s, err := e.formSeal(ctx, env)
	if err != nil && (said == nil || err.Error() != said.Error()) && !yield(vault.Finding{Env: env, Err: err}) {
		return
	}
	if vault.KindOf(err) == vault.KindNoEnv || ctx.Err() != nil {
		return
	}
	if s == nil {
		s = &record.Seal{} // which knows nothing of any secret
	} else {
		for _, err := range e.checkKeys(ctx, env, s.Gen, nil, s.Grants) {
			if !yield(vault.Finding{Env: env, Err: err}) {
				return
			}
		}
	}
	err = e.walk(ctx, env, e.c.Store.Heads(ctx, env, ""), bySealedPath(s, ""), func(r Record) (opened, []vault.Field, error) {
		gen := s.Gen
		if gen == 0 { // no seal tells: any will do
			if _, g, err := record.ParseHeader(r.Raw); err == nil {
				gen = g
			}
		}
		o, err := e.form(env, gen, r.Path, r.Raw)
		return o, nil, err
	}, func(f found) bool {
		return yield(vault.Finding{Env: env, Path: f.path, Err: f.err})
	})
	if err != nil {
		yield(vault.Finding{Env: env, Err: e.locate(err, env, "")})
	}
}

// formSeal reads the seal without checking its MAC; nil if that cannot be done.
func (e *Engine) formSeal(ctx context.Context, env vault.Env) (*record.Seal, error) {
	raw, err := e.c.Store.Blob(ctx, env, SealBlob)
	if err != nil {
		return nil, e.locateBlob(missingSeal(err), env, SealBlob)
	}
	s, err := record.ParseSeal(raw)
	if err == nil {
		err = e.checkSealPlace(env, s)
	}
	if err != nil {
		return nil, e.locateBlob(err, env, SealBlob)
	}
	return s, nil
}

// checkKeys looks at the gen file and the grants of one generation; key may be
// nil. It returns what is wrong.
func (e *Engine) checkKeys(ctx context.Context, env vault.Env, gen uint32, key *EnvKey, sealed []record.SealedGrant) []error {
	var bad []error
	blobs := storeBlobs{ctx, e.c.Store, env}
	if err := e.checkGen(env, gen, key, blobs); err != nil {
		bad = append(bad, e.locateBlob(err, env, GenBlob(gen)))
	}
	states, err := e.grants(env, gen, key, sealed, blobs)
	if err != nil {
		return append(bad, err)
	}
	for _, g := range states {
		switch {
		case g.Err != nil:
			bad = append(bad, g.Err)
		case g.Listed && !g.Sealed:
			bad = append(bad, e.locateBlob(tampered("the grant of "+g.Member+" is not the one in the seal"), env, GrantBlob(gen, g.Member)))
		}
	}
	return bad
}

func (e *Engine) checkGen(env vault.Env, gen uint32, key *EnvKey, blobs blobReader) error {
	raw, err := blobs.Blob(GenBlob(gen))
	if vault.KindOf(err) == vault.KindNotFound {
		return tampered(fmt.Sprintf("the description of key %d is missing", gen))
	}
	if err != nil {
		return err
	}
	g, err := record.ParseGen(raw)
	if err != nil {
		return err
	}
	switch {
	case g.Vault != e.c.Vault || g.Env != env || g.Gen != gen:
		return tampered(fmt.Sprintf("describes key %d of %s in vault %s, and was put in this place", g.Gen, g.Env, g.Vault))
	case key == nil:
		return nil
	case !key.Key.CheckMAC(seal.GenMAC, g.MACInput(), g.MAC):
		return tampered(fmt.Sprintf("the description of key %d was changed by somebody without the key", gen))
	case g.Fingerprint != key.Key.Fingerprint(e.c.Vault, env, gen).String():
		return tampered(fmt.Sprintf("has another fingerprint than key %d", gen))
	}
	return nil
}

// A GrantState is what is known of one grant of the present key.
type GrantState struct {
	Gen       uint32
	Member    string
	Recipient string // age's text form; or
	Sealer    string // what else wraps the key
	By        string
	At        time.Time
	Extra     []record.Header
	Listed    bool  // the seal has a grant of this member
	Sealed    bool  // the seal has it, in this form
	Err       error // why it does not count; nil if a holder of the key made it

	hash record.ShortHash
}

// Header is the value of a header beside those of the format; "" if there is none.
func (g GrantState) Header(key string) string {
	for _, h := range g.Extra {
		if h.Key == key {
			return h.Value
		}
	}
	return ""
}

// Grants lists the grants of the present key, sorted by member: those that
// count, those that somebody put there without the key, and those that the seal
// has and that are missing. It needs the key.
func (e *Engine) Grants(ctx context.Context, env vault.Env) ([]GrantState, error) {
	var states []GrantState
	err := e.read(ctx, env, func(v view) error {
		last, err := v.seal.parsed()
		if err != nil {
			return err
		}
		states, err = e.grants(env, v.key.Gen, &v.key, last.Grants, storeBlobs{ctx, e.c.Store, env})
		return err
	})
	return states, err
}

// blobReader is the part of a Tx that reads blobs; storeBlobs is that of a Store.
type blobReader interface {
	Blob(name string) ([]byte, error)
	Blobs(prefix string) iter.Seq2[string, error]
}

type storeBlobs struct {
	ctx   context.Context
	store Store
	env   vault.Env
}

func (b storeBlobs) Blob(name string) ([]byte, error) { return b.store.Blob(b.ctx, b.env, name) }
func (b storeBlobs) Blobs(prefix string) iter.Seq2[string, error] {
	return b.store.Blobs(b.ctx, b.env, prefix)
}

// grants reads the grants of a generation. Without a key it looks at their form alone.
func (e *Engine) grants(env vault.Env, gen uint32, key *EnvKey, sealed []record.SealedGrant, blobs blobReader) ([]GrantState, error) {
	hashes := make(map[string]record.ShortHash, len(sealed))
	for _, s := range sealed {
		hashes[s.Member] = s.Hash
	}
	var states []GrantState
	for name, err := range blobs.Blobs(GrantsPrefix(gen)) {
		if err != nil {
			return nil, e.locateBlob(err, env, name)
		}
		member, ok := grantMember(gen, name)
		if !ok {
			continue // the gen file, and what other versions may keep beside it
		}
		raw, err := blobs.Blob(name)
		if vault.KindOf(err) == vault.KindNotFound {
			continue // removed since it was listed
		}
		if err != nil {
			return nil, e.locateBlob(err, env, name)
		}
		g := GrantState{Gen: gen, Member: member}
		g.Err = e.locateBlob(e.checkGrant(env, &g, key, raw), env, name)
		hash, listed := hashes[member]
		g.Listed, g.Sealed = listed, listed && g.Err == nil && g.hash == hash
		delete(hashes, member)
		states = append(states, g)
	}
	for _, s := range sealed {
		if _, missing := hashes[s.Member]; missing {
			err := tampered("the grant of " + s.Member + " is missing; the seal has it")
			states = append(states, GrantState{Gen: gen, Member: s.Member, Listed: true, Err: e.locateBlob(err, env, GrantBlob(gen, s.Member))})
		}
	}
	sort.Slice(states, func(i, j int) bool { return states[i].Member < states[j].Member })
	return states, nil
}

// checkGrant fills in g from its bytes, and says why it does not count.
func (e *Engine) checkGrant(env vault.Env, g *GrantState, key *EnvKey, raw []byte) error {
	r, err := record.ParseGrant(raw)
	if err != nil {
		return err
	}
	g.Recipient, g.Sealer, g.By, g.At, g.Extra = r.Recipient, r.Sealer, r.By, r.At, r.Extra
	switch {
	case r.Vault != e.c.Vault || r.Env != env || r.Gen != g.Gen || r.Member != g.Member:
		return tampered(fmt.Sprintf("is the grant of key %d of %s in vault %s for %s, put in this place", r.Gen, r.Env, r.Vault, r.Member))
	case key != nil && !key.Key.CheckMAC(seal.GrantMAC, r.MACInput(), r.MAC):
		return tampered("the grant of " + g.Member + " is not approved: nobody who holds the key made it")
	}
	hash, err := record.BodyHash(raw)
	g.hash = hash.Short()
	return err
}
