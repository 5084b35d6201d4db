package vaulttest

import (
	"context"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/record"
	"envrun/vault/seal"
)

// VaultID is the id of the vaults that New makes.
const VaultID = "v_5f3c1d9a7b20e4c8"

// Member is who writes to the vaults that New makes, and the one with a grant.
const Member = "alice@laptop"

// Vault is a whole vault in memory: a real engine with real keys. Its store
// can be looked into and spoilt.
type Vault struct {
	*engine.Engine
	Memory *Memory
	Person *Person
}

// New makes a vault in memory with these environments, Dev and Prod if none is
// named. Its clock starts at the same time always and moves a second a look.
func New(t testing.TB, envs ...vault.Env) *Vault {
	t.Helper()
	if len(envs) == 0 {
		envs = []vault.Env{Dev, Prod}
	}
	m := NewMemory()
	p := NewPerson(t, Member, m)
	v := &Vault{Engine: p.Engine(VaultID), Memory: m, Person: p}
	for _, env := range envs {
		if err := v.CreateEnv(t.Context(), env, []engine.GrantTo{p.Grant()}); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

// Person is somebody with an identity, as the engine.Keys of a store: it opens
// the grants made out to it, and takes every key that it can open for the right
// one. That is what tests want, and what filevault's pins are there to refuse.
type Person struct {
	Member string

	store    engine.Store
	identity *age.X25519Identity
	now      func() time.Time

	mu   sync.Mutex
	keys map[string]engine.EnvKey // by the bytes of the grant
}

// NewPerson makes somebody with a new identity who looks into a store.
func NewPerson(t testing.TB, member string, s engine.Store) *Person {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return &Person{Member: member, store: s, identity: id, now: Clock(), keys: map[string]engine.EnvKey{}}
}

// Engine is a vault as this person has it open; options change what it is made of.
func (p *Person) Engine(vaultID string, options ...func(*engine.Config)) *engine.Engine {
	c := engine.Config{Vault: vaultID, Store: p.store, Keys: p.Keys(vaultID), Member: p.Member, Now: p.now}
	for _, o := range options {
		o(&c)
	}
	return engine.New(c)
}

// SealOnWrite is an option of Person.Engine.
func SealOnWrite(c *engine.Config) { c.SealOnWrite = true }

// As is an option of Person.Engine: what is written is by this member, with the
// keys of the person.
func As(member string) func(*engine.Config) {
	return func(c *engine.Config) { c.Member = member }
}

// Grant is what CreateEnv and the like need to let this person in.
func (p *Person) Grant() engine.GrantTo {
	return engine.GrantTo{Member: p.Member, Recipient: p.identity.Recipient().String(), Sealer: p.sealer()}
}

func (p *Person) sealer() seal.Sealer {
	return seal.AgeSealer("age:"+p.Member, p.identity.Recipient(), []age.Identity{p.identity})
}

// Keys opens this person's grants in one vault.
func (p *Person) Keys(vaultID string) engine.Keys { return personKeys{p, vaultID} }

type personKeys struct {
	*Person
	vaultID string
}

// Current implements engine.Keys: the highest generation there is.
func (p personKeys) Current(ctx context.Context, env vault.Env) (engine.EnvKey, error) {
	gen := uint32(1)
	for {
		_, err := p.store.Blob(ctx, env, engine.GenBlob(gen))
		if vault.KindOf(err) == vault.KindNotFound {
			break
		}
		if err != nil {
			return engine.EnvKey{}, err
		}
		gen++
	}
	if gen == 1 {
		return engine.EnvKey{}, &vault.Error{Kind: vault.KindTampered, Env: env, Detail: "has no key"}
	}
	return p.Generation(ctx, env, gen-1)
}

// Generation implements engine.Keys.
func (p personKeys) Generation(ctx context.Context, env vault.Env, gen uint32) (engine.EnvKey, error) {
	raw, err := p.store.Blob(ctx, env, engine.GrantBlob(gen, p.Member))
	if vault.KindOf(err) == vault.KindNotFound {
		return engine.EnvKey{}, &vault.Error{Kind: vault.KindDenied, Env: env, Detail: "there is no grant for " + p.Member}
	}
	if err != nil {
		return engine.EnvKey{}, err
	}
	p.mu.Lock()
	known, ok := p.keys[string(raw)]
	p.mu.Unlock()
	if ok {
		return known, nil
	}
	g, err := record.ParseGrant(raw)
	if err != nil {
		return engine.EnvKey{}, err
	}
	key, err := p.sealer().Open(ctx, g.Wrapped, seal.KeyContext(p.vaultID, env, gen, p.Member))
	if err != nil {
		return engine.EnvKey{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys[string(raw)] = engine.EnvKey{Gen: gen, Key: key}
	return p.keys[string(raw)], nil
}

// Clock is a clock that moves one second each time it is looked at, from the
// same time always. It may be looked at by several goroutines.
func Clock() func() time.Time {
	var mu sync.Mutex
	now := time.Date(2026, 2, 11, 9, 14, 3, 0, time.UTC)
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Second)
		return now
	}
}
