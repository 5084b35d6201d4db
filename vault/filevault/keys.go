package filevault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"envrun/auth/agekey"
	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/record"
	"envrun/vault/seal"
)

// RecoveryMember is the member id of the recovery identity: the one kept
// offline that every environment is granted to, when init was told to.
const RecoveryMember = "recovery"

// A keyring is the vault's source of keys (filevault §3.9). Nothing is a key
// because it opens: age does not say who wrapped it. What a grant gives counts
// when the grant and the generation bear MACs under it and the pin of this
// machine knows it, or knows the key before it, whose holder chained this one.
type keyring struct {
	store *store
	vault string
	o     Options
	pins  *pinStore // nil for a CI key

	mu     sync.Mutex // one question to a person at a time
	id     *agekey.Identity
	opened map[slot]openKey
	seen   map[vault.Env]uint64 // the last seq of a seal that was compared with the pin
}

type slot struct {
	env vault.Env
	gen uint32
}

// An openKey is a key that has passed every check.
type openKey struct {
	engine.EnvKey
	fingerprint seal.Fingerprint
	member      string // whose grant opened it
	gen         []byte // the gen file it was checked against
	chain       seal.ChainKey
}

var _ engine.Keys = (*keyring)(nil)

func newKeyring(s *store, vaultID string, o Options) *keyring {
	k := &keyring{store: s, vault: vaultID, o: o, opened: map[slot]openKey{}, seen: map[vault.Env]uint64{}}
	if o.CI == nil {
		k.pins = newPinStore(o.StateDir, vaultID)
	}
	return k
}

// Files of an environment, in the tree or in a commit. A view is one.
type files interface {
	blob(env vault.Env, name string) ([]byte, error)
	blobs(env vault.Env, prefix string) ([]string, error)
	file(env vault.Env, name string) string // what messages call it
}

func (v *view) file(env vault.Env, name string) string { return v.d.file(envDir(env) + "/" + name) }

// identity is the caller's, asked for once.
func (k *keyring) identity(ctx context.Context) (*agekey.Identity, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.identityLocked(ctx)
}

func (k *keyring) identityLocked(ctx context.Context) (*agekey.Identity, error) {
	if k.o.CI != nil {
		return k.o.CI.Identity, nil
	}
	if k.id != nil {
		return k.id, nil
	}
	if k.o.Identity == nil {
		return nil, &vault.Error{Kind: vault.KindNoIdentity}
	}
	id, err := k.o.Identity(ctx)
	if err != nil {
		var ve *vault.Error
		if errors.As(err, &ve) || ctx.Err() != nil {
			return nil, err
		}
		return nil, &vault.Error{Kind: vault.KindNoIdentity, Detail: "getting the identity", Err: err}
	}
	if id == nil {
		return nil, &vault.Error{Kind: vault.KindNoIdentity}
	}
	k.id = id
	return id, nil
}

// generations are the numbers of an environment's keys in the tree, ascending.
func (v *view) generations(env vault.Env) ([]uint32, error) {
	if err := v.needEnv(env); err != nil {
		return nil, err
	}
	list, err := v.entries(envDir(env) + "/" + strings.TrimSuffix(engine.KeysPrefix, "/"))
	if err != nil {
		return nil, err
	}
	var gens []uint32
	for _, e := range list {
		if gen, ok := parseGenDir(e.Name()); ok {
			gens = append(gens, gen)
		}
	}
	slices.Sort(gens)
	// A writer makes folders ahead of its commit, and may die in between. An
	// empty one is no generation; git has none either.
	for n := len(gens); n > 0; n = len(gens) {
		there, err := v.is(envDir(env)+"/"+engine.GenBlob(gens[n-1]), false)
		if there || err != nil {
			return gens, err
		}
		list, err := v.entries(strings.TrimSuffix(envDir(env)+"/"+engine.GrantsPrefix(gens[n-1]), "/"))
		if err != nil || len(list) > 0 {
			return gens, err
		}
		gens = gens[:n-1]
	}
	return gens, nil
}

// parseGenDir reads "0003".
func parseGenDir(name string) (uint32, bool) {
	n, err := strconv.ParseUint(name, 10, 31)
	if err != nil || n == 0 {
		return 0, false
	}
	return uint32(n), engine.GrantsPrefix(uint32(n)) == engine.KeysPrefix+name+"/"
}

// Current implements engine.Keys. Whoever finds no grant may have come to a new
// key whose grants are on their way.
func (k *keyring) Current(ctx context.Context, env vault.Env) (engine.EnvKey, error) {
	key, err := k.current(ctx, env)
	if vault.KindOf(err) != vault.KindDenied {
		return key, err
	}
	if j, jerr := k.store.journals(); jerr != nil || len(j.committed) == 0 {
		return key, err
	}
	if err := k.store.Settle(ctx, env); err != nil {
		return key, err
	}
	return k.current(ctx, env)
}

func (k *keyring) current(ctx context.Context, env vault.Env) (engine.EnvKey, error) {
	if err := ctx.Err(); err != nil {
		return engine.EnvKey{}, err
	}
	v, err := k.store.d.view()
	if err != nil {
		return engine.EnvKey{}, err
	}
	defer v.Close()
	if err := k.checkCI(env); err != nil {
		return engine.EnvKey{}, err
	}
	gens, err := v.generations(env)
	if err != nil {
		return engine.EnvKey{}, err
	}
	if len(gens) == 0 {
		return engine.EnvKey{}, &vault.Error{Kind: vault.KindTampered, Env: env, File: v.file(env, strings.TrimSuffix(engine.KeysPrefix, "/")), Detail: "the environment has lost its keys"}
	}
	gen := gens[len(gens)-1]

	k.mu.Lock()
	defer k.mu.Unlock()
	o, err := k.cached(v, env, gen)
	if err != nil {
		return engine.EnvKey{}, err
	}
	var p *pin // as trust has found or left it
	if o == nil {
		opened, err := k.open(ctx, env, gen, v)
		if err != nil {
			return engine.EnvKey{}, err
		}
		if p, err = k.trust(ctx, env, opened, v); err != nil {
			return engine.EnvKey{}, err
		}
		if p != nil && p.gen > gen {
			opened.ReadOnly = &vault.Error{Kind: vault.KindConflict, Op: "writing", Env: env, File: v.file(env, engine.GenBlob(gen)), Err: &OlderError{env, gen, p.gen}}
		}
		k.opened[slot{env, gen}] = opened
		o = &opened
	}
	return o.EnvKey, k.compareSeal(ctx, env, o, v, p)
}

// cached returns the key that was opened before, if its gen file is still the same.
func (k *keyring) cached(from files, env vault.Env, gen uint32) (*openKey, error) {
	o, ok := k.opened[slot{env, gen}]
	if !ok {
		return nil, nil
	}
	raw, err := from.blob(env, engine.GenBlob(gen))
	if err != nil || !bytes.Equal(raw, o.gen) {
		return nil, err
	}
	return &o, nil
}

// checkCI: a CI key is for one vault and environment.
func (k *keyring) checkCI(env vault.Env) error {
	if k.o.CI == nil {
		return nil
	}
	if k.o.CI.Vault != k.vault {
		return &vault.Error{Kind: vault.KindDenied, Env: env, Detail: fmt.Sprintf("the CI key is for vault %s, and this is %s", k.o.CI.Vault, k.vault)}
	}
	if k.o.CI.Env != string(env) {
		return &vault.Error{Kind: vault.KindDenied, Env: env, Detail: fmt.Sprintf("the CI key is for the environment %s", k.o.CI.Env)}
	}
	return nil
}

// open opens a generation with the caller's grant and checks that a holder of
// the key made both. Whether it is the right key is not known after it.
func (k *keyring) open(ctx context.Context, env vault.Env, gen uint32, from files) (openKey, error) {
	name := engine.GenBlob(gen)
	bad := func(detail string) (openKey, error) {
		return openKey{}, &vault.Error{Kind: vault.KindTampered, Env: env, File: from.file(env, name), Detail: detail}
	}
	raw, err := from.blob(env, name)
	if vault.KindOf(err) == vault.KindNotFound {
		return bad("the file that describes the key is missing")
	}
	if err != nil {
		return openKey{}, err
	}
	g, err := record.ParseGen(raw)
	if err != nil {
		return openKey{}, inFile(err, from.file(env, name))
	}
	if g.Vault != k.vault || g.Env != env || g.Gen != gen {
		return bad(fmt.Sprintf("describes key %d of %s in vault %s, and was put in this place", g.Gen, g.Env, g.Vault))
	}
	key, member, err := k.unwrap(ctx, env, gen, from)
	if err != nil {
		return openKey{}, err
	}
	fp := key.Fingerprint(k.vault, env, gen)
	if fp.String() != g.Fingerprint {
		return bad(fmt.Sprintf("names the key %s, and the grant holds %s", g.Fingerprint, fp))
	}
	if !key.CheckMAC(seal.GenMAC, g.MACInput(), g.MAC) {
		return bad("was changed by somebody without the key")
	}
	return openKey{EnvKey: engine.EnvKey{Gen: gen, Key: key}, fingerprint: fp, member: member, gen: raw, chain: key.ChainKey()}, nil
}

// unwrap finds the caller's grant and opens it: the one of the caller's member
// id, else one for the caller's recipient.
func (k *keyring) unwrap(ctx context.Context, env vault.Env, gen uint32, from files) (_ seal.Key, member string, _ error) {
	id, err := k.identityLocked(ctx)
	if err != nil {
		return seal.Key{}, "", err
	}
	own := ""
	if k.o.Member != "" {
		own = engine.GrantBlob(gen, k.o.Member)
		g, err := k.readGrant(env, gen, own, from)
		if err == nil {
			key, err := k.openGrant(ctx, id, g, from)
			if ended := (*EndedError)(nil); vault.KindOf(err) != vault.KindDenied || errors.As(err, &ended) {
				return key, g.Member, err
			}
		} else if vault.KindOf(err) != vault.KindNotFound {
			return seal.Key{}, "", err
		}
	}
	names, err := from.blobs(env, engine.GrantsPrefix(gen))
	if err != nil {
		return seal.Key{}, "", err
	}
	var (
		members []string
		bad     error
	)
	for _, name := range names {
		member, ok := strings.CutSuffix(path.Base(name), grantSuffix)
		if !ok {
			continue
		}
		members = append(members, member)
		if name == own || id.Recipient() == "" {
			continue
		}
		g, err := k.readGrant(env, gen, name, from)
		if err != nil || g.Recipient != id.Recipient() {
			continue // somebody else's, in whatever state
		}
		key, err := k.openGrant(ctx, id, g, from)
		if err == nil || vault.KindOf(err) == vault.KindUnavailable {
			return key, member, err
		}
		if bad == nil {
			bad = err // unless there is one that opens
		}
	}
	if bad != nil {
		return seal.Key{}, "", bad
	}
	return seal.Key{}, "", k.denied(env, gen, members)
}

// openGrant opens a grant and checks that a holder of the key made it.
// KindDenied if it is for somebody else.
func (k *keyring) openGrant(ctx context.Context, id *agekey.Identity, g *record.Grant, from files) (seal.Key, error) {
	file := from.file(g.Env, engine.GrantBlob(g.Gen, g.Member))
	if g.Recipient == "" {
		return seal.Key{}, &vault.Error{Kind: vault.KindDenied, Env: g.Env, File: file, Detail: "the grant is for " + g.Sealer}
	}
	key, err := seal.AgeSealer("age:"+g.Member, nil, id.Unwrap()).Open(ctx, g.Wrapped, seal.KeyContext(k.vault, g.Env, g.Gen, g.Member))
	if vault.KindOf(err) == vault.KindDenied && g.Recipient == id.Recipient() {
		err = &vault.Error{Kind: vault.KindTampered, Env: g.Env, Detail: "the grant is for this identity and does not open with it: it is damaged or forged"}
	}
	if err != nil {
		return seal.Key{}, inFile(err, file)
	}
	if !key.CheckMAC(seal.GrantMAC, g.MACInput(), g.MAC) {
		return seal.Key{}, &vault.Error{Kind: vault.KindTampered, Env: g.Env, File: file, Detail: "the grant was changed by somebody without the key"}
	}
	if _, until := terms(engine.GrantState{At: g.At, Extra: g.Extra}); !until.IsZero() && !until.After(k.o.Now()) {
		return seal.Key{}, &vault.Error{Kind: vault.KindDenied, Env: g.Env, File: file, Err: &EndedError{g.Member, until}}
	}
	return key, nil
}

// denied says who could grant access. It is the word of file names, not checked.
func (k *keyring) denied(env vault.Env, gen uint32, members []string) error {
	who := "this identity"
	if k.o.Member != "" {
		who = k.o.Member
	}
	detail := fmt.Sprintf("%s has no grant for key %d", who, gen)
	if slices.Contains(members, k.o.Member) && k.o.Member != "" {
		detail = fmt.Sprintf("the grant of %s for key %d is for another identity than the one on this machine", who, gen)
	}
	if others := slices.DeleteFunc(slices.Clone(members), func(m string) bool { return m == k.o.Member }); len(others) > 0 {
		detail += "; those who have: " + strings.Join(others, ", ")
	}
	return &vault.Error{Kind: vault.KindDenied, Env: env, Detail: detail}
}

// readGrant reads a grant and checks that it is of the place where it is.
func (k *keyring) readGrant(env vault.Env, gen uint32, name string, from files) (*record.Grant, error) {
	raw, err := from.blob(env, name)
	if err != nil {
		return nil, err
	}
	g, err := record.ParseGrant(raw)
	if err != nil {
		return nil, inFile(err, from.file(env, name))
	}
	if g.Vault != k.vault || g.Env != env || g.Gen != gen || engine.GrantBlob(gen, g.Member) != name {
		return nil, &vault.Error{Kind: vault.KindTampered, Env: env, File: from.file(env, name),
			Detail: fmt.Sprintf("is the grant of %s for key %d of %s in vault %s, put in this place", g.Member, g.Gen, g.Env, g.Vault)}
	}
	return g, nil
}

// inFile adds the file to an error of ours that has none.
func inFile(err error, file string) error {
	var ve *vault.Error
	if err == nil || !errors.As(err, &ve) || ve.File != "" {
		return err
	}
	c := *ve
	c.File = file
	return &c
}

// replaced is what a machine says that knows another key.
func replaced(env vault.Env, o openKey, file string) error {
	return &vault.Error{Kind: vault.KindTampered, Env: env, File: file, Err: &ReplacedError{Env: env, Fingerprint: o.fingerprint.String()}}
}

// ReplacedError is the cause of a KindTampered for a key in the place of one
// that this machine knows. Somebody who is sure of it can make the machine
// forget the one it knows: Vault.Trust.
type ReplacedError struct {
	Env         vault.Env
	Fingerprint string // of the key that is there now

	// Known is the vault that this machine knows in this place (Options.Place),
	// if Vault is another one that was put there; else both are empty.
	Known, Vault string
}

func (e *ReplacedError) Error() string {
	if e.Known != "" {
		return fmt.Sprintf("another vault is in the place of vault %s, which this machine knows here: this is %s, and its %s key is %s", e.Known, e.Vault, e.Env, e.Fingerprint)
	}
	return fmt.Sprintf("the %s key was replaced by someone who did not hold the old one; this one is %s", e.Env, e.Fingerprint)
}

// OlderError is the cause of a KindConflict for a write to an environment that
// is at an older key than one that this machine has seen: on a branch that was
// cut before a rotation, or because somebody put the old state back. Whoever was
// left out of the newer key could read it.
type OlderError struct {
	Env        vault.Env
	Gen, Known uint32
}

func (e *OlderError) Error() string {
	return fmt.Sprintf("is at key %d here, and this machine has seen key %d: who was left out of that could read what is written under this one", e.Gen, e.Known)
}

// Trust makes this machine take the present key of env, whatever key it knew,
// if its fingerprint is the one given, which a person has compared with
// somebody who knows it.
func (v *Vault) Trust(ctx context.Context, env vault.Env, fingerprint string) error {
	if v.options.CI != nil || v.keys.pins == nil {
		return &vault.Error{Kind: vault.KindUnsupported, Env: env, Detail: "a CI key trusts the one key that it names"}
	}
	files, err := v.store.d.view()
	if err != nil {
		return err
	}
	defer files.Close()
	gens, err := files.generations(env)
	if err != nil {
		return err
	}
	k := v.keys
	k.mu.Lock()
	o, err := k.open(ctx, env, gens[len(gens)-1], files)
	k.mu.Unlock()
	if err != nil {
		return err
	}
	if fingerprint != o.fingerprint.String() && fingerprint != o.fingerprint.Hex() {
		return &vault.Error{Kind: vault.KindDenied, Env: env, Detail: fmt.Sprintf("the key that is there has the fingerprint %s, not %s", o.fingerprint, fingerprint)}
	}
	return k.adopt(ctx, env)
}

// Fingerprint is that of the present key of env, which the caller holds.
func (v *Vault) Fingerprint(ctx context.Context, env vault.Env) (string, error) {
	key, err := v.keys.Current(ctx, env)
	if err != nil {
		return "", err
	}
	return key.Key.Fingerprint(v.id, env, key.Gen).String(), nil
}

// Mine is the member as whom the caller's identity opens env: the name in the
// grant, which a holder of the key has approved.
func (v *Vault) Mine(ctx context.Context, env vault.Env) (string, error) {
	key, err := v.keys.Current(ctx, env)
	if err != nil {
		return "", err
	}
	return v.keys.mine(env, key.Gen), nil
}

// trust decides whether an opened current key is the right one, by the pin of
// this machine, and moves the pin. It returns the pin as it is then, nil for a
// CI key, which needs none.
func (k *keyring) trust(ctx context.Context, env vault.Env, o openKey, from *view) (*pin, error) {
	file := from.file(env, engine.GenBlob(o.Gen))
	if k.o.CI != nil {
		if err := k.trustCI(ctx, env, o, file, from); err != nil {
			return nil, err
		}
		return nil, nil
	}
	all, err := k.pins.load()
	if err != nil {
		return nil, err
	}
	p, known := all[env]
	if !p.usedAt(k.o.Place) {
		if other := k.pins.other(env, k.o.Place); other != "" {
			return nil, &vault.Error{Kind: vault.KindTampered, Env: env, File: file, Err: &ReplacedError{Env: env, Vault: k.vault, Fingerprint: o.fingerprint.String(), Known: other}}
		}
	}
	now, err := k.follow(ctx, env, o, file, p, known, from)
	if err != nil || now.usedAt(k.o.Place) {
		return now, err
	}
	used, err := k.pins.update(ctx, k.o.LockWait, env, func(q *pin) { q.use(k.o.Place) })
	if err != nil {
		// The key is trusted all the same.
		k.o.Notice(fmt.Sprintf("that %s has this vault could not be noted: %v", k.o.Place, err))
		return now, nil
	}
	return used, nil
}

// follow gets from what this machine knows of env to o, or refuses it.
func (k *keyring) follow(ctx context.Context, env vault.Env, o openKey, file string, p pin, known bool, from *view) (*pin, error) {
	switch {
	case !known:
		return k.contact(ctx, env, o, file, nil)
	case p.gen == o.Gen:
		if p.fingerprint != o.fingerprint {
			return nil, replaced(env, o, file)
		}
		return &p, nil
	case p.gen > o.Gen:
		return k.older(ctx, env, o, file, p)
	}
	return k.newer(ctx, env, o, file, p, from)
}

// trustCI accepts the key that a CI key names, and one that follows from it by
// a chain which only holders could make, so that a rotation does not stop every
// pipeline. Each step takes the pipeline's own grant, so one that was removed
// gets nowhere. Whoever held the named key can forge such a chain, as towards a
// machine that has not pulled for long: after a removal the string is to be
// replaced, which the notice says; Fresh refuses until it is.
func (k *keyring) trustCI(ctx context.Context, env vault.Env, o openKey, file string, from files) error {
	named := k.o.CI.Fingerprint
	is := func(o openKey) bool { return named == o.fingerprint.String() || named == o.fingerprint.Hex() }
	refuse := func() error {
		return &vault.Error{Kind: vault.KindDenied, Env: env, File: file,
			Detail: fmt.Sprintf("the CI key trusts the %s key %s, and the key is %s now", env, named, o.fingerprint)}
	}
	for step := o; !is(step); {
		if step.Gen == 1 || k.o.Fresh {
			return refuse()
		}
		before, err := k.open(ctx, env, step.Gen-1, from)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return refuse()
		}
		if err := checkChain(before.chain, step); err != nil {
			return replaced(env, o, from.file(env, engine.GenBlob(step.Gen)))
		}
		step = before
	}
	if !is(o) {
		k.o.Notice(fmt.Sprintf("the CI key names the %s key %s; the key is %s now, which follows from it: make a new CI key", env, named, o.fingerprint))
	}
	return nil
}

// contact asks about a key that this machine cannot derive from one it knows.
func (k *keyring) contact(ctx context.Context, env vault.Env, o openKey, file string, p *pin) (*pin, error) {
	c := Contact{Vault: k.vault, Env: env, Gen: o.Gen, Fingerprint: o.fingerprint.String(), File: file}
	if p != nil {
		c.Known, c.KnownFingerprint = p.gen, p.fingerprint.String()
	}
	err := error(&UntrustedError{c})
	if k.o.FirstContact != nil {
		err = k.o.FirstContact(ctx, c)
	}
	if err != nil {
		var ve *vault.Error
		if errors.As(err, &ve) || ctx.Err() != nil {
			return nil, err
		}
		return nil, &vault.Error{Kind: vault.KindDenied, Env: env, File: file, Err: err}
	}
	return k.pins.update(ctx, k.o.LockWait, env, func(q *pin) {
		q.learn(o)
		q.use(k.o.Place)
	})
}

// older: an old commit is checked out, as people do, or put in the way, as an
// attacker would. It must be a key that this machine has known.
func (k *keyring) older(ctx context.Context, env vault.Env, o openKey, file string, p pin) (*pin, error) {
	now := &p
	if former, ok := p.former[o.Gen]; !ok {
		var err error
		if now, err = k.contact(ctx, env, o, file, &p); err != nil {
			return nil, err
		}
	} else if former != o.fingerprint {
		return nil, replaced(env, o, file)
	}
	return now, k.stale(env, file, fmt.Sprintf("%s is at key %d, and this machine has seen key %d: an older state is checked out", env, o.Gen, p.gen))
}

// stale refuses with Fresh, and else tells.
func (k *keyring) stale(env vault.Env, file, what string) error {
	if k.o.Fresh {
		return &vault.Error{Kind: vault.KindTampered, Env: env, File: file, Detail: what}
	}
	k.o.Notice(what)
	return nil
}

// newer follows the chain from the pinned key to this one: each generation
// bears a MAC that only a holder of the one before it can make. The key of
// each step comes from the caller's own grant, as long as it is there.
func (k *keyring) newer(ctx context.Context, env vault.Env, o openKey, file string, p pin, from *view) (*pin, error) {
	chain := p.chain
	var path []openKey
	for gen := p.gen + 1; ; gen++ {
		step := o
		if gen < o.Gen {
			var err error
			if step, err = k.open(ctx, env, gen, from); err != nil {
				if kind := vault.KindOf(err); kind == vault.KindDenied || missing(from, env, gen) {
					// Retired keys are pruned, and members come back: ask.
					return k.contact(ctx, env, o, file, &p)
				}
				return nil, err
			}
		}
		if err := checkChain(chain, step); err != nil {
			return nil, replaced(env, o, from.file(env, engine.GenBlob(gen)))
		}
		path = append(path, step)
		chain = step.chain
		if gen == o.Gen {
			break
		}
	}
	// The seal that came with the key is looked at now, so that compareSeal
	// finds it known: the pins are not to be written twice, waiting for the disk.
	seq, sealed := sealSeq(from, env)
	sealed = sealed && genuineSeal(from, env, seq, &o)
	return k.pins.update(ctx, k.o.LockWait, env, func(q *pin) {
		for _, step := range path {
			q.learn(step)
		}
		if sealed {
			q.seal = max(q.seal, seq)
		}
	})
}

func missing(from files, env vault.Env, gen uint32) bool {
	_, err := from.blob(env, engine.GenBlob(gen))
	return vault.KindOf(err) == vault.KindNotFound
}

var errChain = errors.New("does not follow from the key before it")

// checkChain checks that the holder of the key that chain is of made the step after it.
func checkChain(chain seal.ChainKey, step openKey) error {
	g, err := record.ParseGen(step.gen)
	if err != nil || !chain.CheckMAC(g.ChainInput(), g.Chain) {
		return errChain
	}
	return nil
}

// compareSeal compares the number of the seal with the pin. A lower one is an
// older state; a higher one moves the pin, once its MAC is found right. p is
// the pin if it has just been read, else nil.
func (k *keyring) compareSeal(ctx context.Context, env vault.Env, o *openKey, v *view, p *pin) error {
	if k.pins == nil {
		return nil
	}
	seq, ok := sealSeq(v, env)
	if !ok || k.seen[env] == seq {
		return nil // the engine says what is wrong with it
	}
	if p == nil {
		all, err := k.pins.load()
		if err != nil {
			return err
		}
		known := all[env]
		p = &known
	}
	switch {
	case seq < p.seal && o.Gen == p.gen: // with an older key, that has been said
		if err := k.stale(env, v.file(env, engine.SealBlob),
			fmt.Sprintf("%s is at seal %d, and this machine has seen seal %d: an older state is checked out", env, seq, p.seal)); err != nil {
			return err
		}
	case seq > p.seal && o.Gen == p.gen:
		if !genuineSeal(v, env, seq, o) {
			return nil // the engine refuses it
		}
		if _, err := k.pins.update(ctx, k.o.LockWait, env, func(q *pin) { q.seal = max(q.seal, seq) }); err != nil {
			// The key is trusted, and the pin only lags behind.
			k.o.Notice(fmt.Sprintf("the pin of %s could not be moved to seal %d: %v", env, seq, err))
		}
	}
	k.seen[env] = seq
	return nil
}

// sealSeq reads the number of a seal from its head. This is asked on every
// read, and a seal may have a line for each of ten thousand secrets.
func sealSeq(v *view, env vault.Env) (uint64, bool) {
	raw, err := v.begin(envDir(env)+"/"+engine.SealBlob, 1<<10)
	if err != nil {
		return 0, false
	}
	for line := range bytes.Lines(raw) {
		if bytes.HasPrefix(line, []byte("<<<<<<<")) {
			return 0, false // of two branches; which number it will have is not known yet
		}
		if rest, ok := bytes.CutPrefix(line, []byte("seq ")); ok {
			seq, err := strconv.ParseUint(string(bytes.TrimRight(rest, "\r\n")), 10, 63)
			return seq, err == nil
		}
	}
	return 0, false
}

// genuineSeal reports whether the seal is the one of that number and made with the key.
func genuineSeal(v *view, env vault.Env, seq uint64, o *openKey) bool {
	raw, err := v.blob(env, engine.SealBlob)
	if err != nil {
		return false
	}
	s, err := record.SplitSeal(raw)
	return err == nil && s.Head.Seq == seq && o.Key.CheckMAC(seal.SealMAC, s.MACInput(), s.Head.MAC)
}

// Generation implements engine.Keys. A former key counts if this machine has
// known it, or if the one after it, which counts, was chained to it. It is
// looked for in the tree, and then in the commit that a version was found in.
func (k *keyring) Generation(ctx context.Context, env vault.Env, gen uint32) (engine.EnvKey, error) {
	current, err := k.Current(ctx, env)
	if err != nil || current.Gen == gen {
		return current, err
	}
	if gen == 0 || gen > current.Gen {
		return engine.EnvKey{}, &vault.Error{Kind: vault.KindNotFound, Env: env, Detail: fmt.Sprintf("there is no key %d", gen)}
	}
	v, err := k.store.d.view()
	if err != nil {
		return engine.EnvKey{}, err
	}
	defer v.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	o, err := k.former(ctx, env, gen, current.Gen, v)
	return o.EnvKey, err
}

func (k *keyring) former(ctx context.Context, env vault.Env, gen, current uint32, tree files) (openKey, error) {
	if o, ok := k.opened[slot{env, gen}]; ok {
		return o, nil
	}
	var from files = tree
	if missing(tree, env, gen) {
		commit, err := k.store.history.keysOf(ctx, env, gen)
		if err != nil {
			return openKey{}, err
		}
		from = commit
	}
	o, err := k.open(ctx, env, gen, from)
	if err != nil {
		return openKey{}, err
	}
	if k.pins != nil {
		all, err := k.pins.load()
		if err != nil {
			return openKey{}, err
		}
		if fp, ok := all[env].former[gen]; ok {
			if fp != o.fingerprint {
				return openKey{}, replaced(env, o, from.file(env, engine.GenBlob(gen)))
			}
			k.opened[slot{env, gen}] = o
			return o, nil
		}
	}
	next, err := k.former(ctx, env, gen+1, current, tree)
	if err != nil {
		return openKey{}, fmt.Errorf("following key %d to key %d: %w", gen, current, err)
	}
	if err := checkChain(o.chain, next); err != nil {
		return openKey{}, &vault.Error{Kind: vault.KindTampered, Env: env, File: from.file(env, engine.GenBlob(gen)),
			Detail: fmt.Sprintf("key %d does not follow from this key %d, which somebody else made", gen+1, gen)}
	}
	k.opened[slot{env, gen}] = o
	return o, nil
}

// adopt pins the key of an environment that the caller has just made.
func (k *keyring) adopt(ctx context.Context, env vault.Env) error {
	if k.pins == nil {
		return nil
	}
	v, err := k.store.d.view()
	if err != nil {
		return err
	}
	defer v.Close()
	gens, err := v.generations(env)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	o, err := k.open(ctx, env, gens[len(gens)-1], v)
	if err != nil {
		return err
	}
	_, err = k.pins.update(ctx, k.o.LockWait, env, func(q *pin) {
		*q = pin{places: q.places}
		q.use(k.o.Place)
		q.learn(o)
		q.seal = 1
	})
	if err == nil {
		k.opened[slot{env, o.Gen}] = o
	}
	return err
}

// mine is the member whose grant opened a key; "" if it is not open.
func (k *keyring) mine(env vault.Env, gen uint32) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.opened[slot{env, gen}].member
}

// forget drops what is known of an environment in this process.
func (k *keyring) forget(env vault.Env) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for s := range k.opened {
		if s.env == env {
			delete(k.opened, s)
		}
	}
	delete(k.seen, env)
}

// ForgetPin makes this machine forget which key of env it trusts, so that the
// next use is a first contact. It is for a person who knows why the key changed.
func (v *Vault) ForgetPin(ctx context.Context, env vault.Env) error {
	if v.keys.pins == nil {
		return nil
	}
	v.keys.forget(env)
	return v.keys.pins.remove(ctx, v.options.LockWait, env)
}
