// Package filevault is a vault in the work tree of a git repository
// (filevault §3): one file for each secret, one wrapped key for each member, a
// checkpoint for each environment. It is the engine's store and its source of
// keys; it moves files and decides which key is the right one, and the engine
// does the rest.
//
//	vault.toml  .gitattributes  .gitignore
//	envs/prod/keys/0001/{gen,alice@laptop.grant}
//	envs/prod/seal
//	envs/prod/secrets/billing/stripe.sec
//	envs/prod/exposed/2026-02-11-bob.list
//	requests/prod/bob@desktop.req
//
// Whoever can write these files but holds no key can destroy them, hold them
// back or put older ones in their place, and nothing of it passes unseen but a
// return to a state between the last seal and now. Replacing the key itself is
// what the pins are for: each machine keeps, outside the repository, which key
// it knows, and takes a new one only from a holder of the old.
//
// It refuses to follow a link, to open what is not a plain file, to read more
// than a file may have, and to trust what everybody can write or somebody else
// owns. It refuses to trust a key on first sight without asking. It writes
// whole files under a lock, several as one by a journal, and returns from a
// write when it would survive a power cut. Readers take no lock. Nothing runs
// in the background, and the only program it starts is git, to read history.
package filevault

import (
	"context"
	"fmt"
	"slices"
	"time"

	"envrun/auth/agekey"
	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/record"

	"filippo.io/age/plugin"
)

// Options say where a vault is and who opens it.
type Options struct {
	Dir      string // the vault's folder: PROJECT/.envrun/vault
	StateDir string // where this machine keeps its pins; made if missing

	// Place is what the vault is used for on this machine: the folder of the
	// project. A machine that knows a vault there refuses another one in its
	// stead, which its pins alone could not tell from one that is new. Empty for
	// no such check.
	Place string

	// Identity returns the identity to open keys with. It is called once, when
	// the first key is needed; nil where there is none.
	Identity func(ctx context.Context) (*agekey.Identity, error)
	Member   string // the member that the identity belongs to: "alice@laptop"; may be empty for one who only reads

	// CI is a CI key. With it Identity, StateDir and FirstContact are not used:
	// it opens one environment, of the one key whose fingerprint it names, and
	// leaves no trace on the machine.
	CI *agekey.CIKey

	// FirstContact is asked before this machine trusts a key that it cannot
	// derive from one it knows. An error from it refuses the key. nil refuses
	// with an *UntrustedError. Neither it nor Identity may use the vault.
	FirstContact func(ctx context.Context, c Contact) error

	// Plugins may be started to wrap a key for a recipient that needs one, by
	// name without "age-plugin-", beside those that the identity names. Such a
	// program gets the key.
	Plugins  []string
	PluginUI *plugin.ClientUI // how a plugin asks a person; nil: it cannot

	Fresh       bool             // refuse a state older than one this machine has seen, instead of a notice
	SealOnWrite bool             // move the checkpoint with every write: for a team of one
	LockWait    time.Duration    // how long to wait for another writer; 0: 10 s
	Command     string           // what those who wait for our lock are told that we are: "envrun set"; never a value
	Now         func() time.Time // nil: time.Now
	Notice      func(string)     // one line that a person should see; nil drops it
}

// A Contact is a key that this machine has not seen before.
type Contact struct {
	Vault       string
	Env         vault.Env
	Gen         uint32
	Fingerprint string // 80 bits, as people compare them: "7QMX-2K4D-9TRW-XB5N"
	File        string // the gen file, which says who made it, when and why

	// Known is the generation that this machine knows, when there is one that
	// Gen could not be derived from because what lies between is gone; else 0.
	Known            uint32
	KnownFingerprint string
}

// UntrustedError is the cause of a KindDenied for a key that nobody has said
// may be trusted.
type UntrustedError struct{ Contact }

func (e *UntrustedError) Error() string {
	if e.Known > 0 {
		return fmt.Sprintf("this machine knows key %d (%s) of %s, and what leads from it to key %d (%s) is not here",
			e.Known, e.KnownFingerprint, e.Env, e.Gen, e.Fingerprint)
	}
	return fmt.Sprintf("this machine has not seen the %s key before: its fingerprint is %s", e.Env, e.Fingerprint)
}

// Vault is an open file vault. It is safe for use by several goroutines, and
// any number of processes may have the same vault open.
//
// It implements vault.Vault, vault.Historian (from git), vault.EnvKeeper and
// vault.Verifier.
type Vault struct {
	*engine.Engine
	options Options
	id      string
	store   *store
	keys    *keyring
}

var (
	_ vault.Vault     = (*Vault)(nil)
	_ vault.Historian = (*Vault)(nil)
	_ vault.EnvKeeper = (*Vault)(nil)
	_ vault.Verifier  = (*Vault)(nil)
)

// manifestFile names the format and the vault. Whoever changes it makes
// everything in the vault fail its check.
const manifestFile = "vault.toml"

// Open opens the vault in o.Dir. It reads vault.toml and nothing else:
// KindNoVault if there is none, KindVersion if it is of a newer format.
func Open(ctx context.Context, o Options) (*Vault, error) {
	d, err := newDisk(o.Dir, o.Place)
	if err != nil {
		return nil, err
	}
	return openDisk(ctx, d, o)
}

func openDisk(ctx context.Context, d *disk, o Options) (*Vault, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if o.Member != "" {
		if err := record.CheckMember(o.Member); err != nil {
			return nil, err
		}
	}
	m, err := readManifest(d)
	if err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.LockWait == 0 {
		o.LockWait = defaultLockWait
	}
	if o.Notice == nil {
		o.Notice = func(string) {}
	}
	if o.Command == "" {
		o.Command = "envrun"
	}
	s := newStore(d, o.LockWait, o.Command)
	k := newKeyring(s, m.Vault, o)
	return &Vault{
		Engine: engine.New(engine.Config{
			Vault: m.Vault, Store: s, Keys: k, Member: o.Member, Now: o.Now, SealOnWrite: o.SealOnWrite,
		}),
		options: o, id: m.Vault, store: s, keys: k,
	}, nil
}

func readManifest(d *disk) (*record.Manifest, error) {
	raw, err := func() ([]byte, error) {
		v, err := d.view()
		if err != nil {
			return nil, err
		}
		defer v.Close()
		return v.read(manifestFile, record.MaxManifest)
	}()
	if vault.KindOf(err) == vault.KindNotFound {
		return nil, &vault.Error{Kind: vault.KindNoVault, Op: "opening vault", File: d.file(manifestFile)}
	}
	if err != nil {
		return nil, fmt.Errorf("opening vault: %w", err)
	}
	m, err := record.ParseManifest(raw)
	if err != nil {
		return nil, d.fail("opening vault", manifestFile, err)
	}
	return m, nil
}

// ID is the vault's id: "v_5f3c1d9a7b20e4c8".
func (v *Vault) ID() string { return v.id }

// Dir is the vault's folder as an absolute path.
func (v *Vault) Dir() string { return v.store.d.dir }

// GetMany implements vault.Reader. The secrets it returns are of one moment,
// as far as writes of several secrets go: none of it is from before one and
// some from after.
func (v *Vault) GetMany(ctx context.Context, env vault.Env, paths []vault.Path) (got []vault.Secret, err error) {
	if len(paths) < 2 {
		return v.Engine.GetMany(ctx, env, paths)
	}
	err = v.atOnce(ctx, env, func() error {
		got, err = v.Engine.GetMany(ctx, env, paths)
		return err
	})
	if err != nil {
		return nil, err
	}
	return got, nil
}

// GetAll is engine.Engine.GetAll with what GetMany promises.
func (v *Vault) GetAll(ctx context.Context, env vault.Env, prefix vault.Path) (got []vault.Secret, err error) {
	err = v.atOnce(ctx, env, func() error {
		got, err = v.Engine.GetAll(ctx, env, prefix)
		return err
	})
	if err != nil {
		return nil, err
	}
	return got, nil
}

// Export implements vault.Exporter, with what GetMany promises. The former versions
// are those that git has.
func (v *Vault) Export(ctx context.Context, env vault.Env, former bool) (all []vault.Kept, err error) {
	err = v.atOnce(ctx, env, func() error {
		all, err = v.Engine.Export(ctx, env, former)
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// atOnce runs read until no write of several files came into sight meanwhile.
// It gives up when that has not been so for as long as a writer would wait.
func (v *Vault) atOnce(ctx context.Context, env vault.Env, read func() error) error {
	const attempts = 20
	late := time.Now().Add(v.store.wait)
	for n := 0; n < attempts || time.Now().Before(late); n++ {
		before, err := v.store.journals()
		if err != nil {
			return err
		}
		if len(before.committed) > 0 {
			if err := v.store.Settle(ctx, env); err != nil {
				return err
			}
			continue
		}
		if err := read(); err != nil {
			return err
		}
		after, err := v.store.journals()
		if err != nil || after.same(before) {
			return err
		}
	}
	return &vault.Error{Kind: vault.KindBusy, Op: "reading", Env: env, Detail: "others write all the time"}
}

// Seal moves the checkpoint of env to what is there now, after checking all of
// it. It writes nothing if the checkpoint is there already.
func (v *Vault) Seal(ctx context.Context, env vault.Env) error {
	_, err := v.WriteSeal(ctx, env)
	return err
}

// AddEnv implements vault.EnvKeeper: a new environment with a key of its own,
// granted to the caller, and to the recovery identity if the vault has one.
func (v *Vault) AddEnv(ctx context.Context, env vault.Env) error {
	if _, err := vault.ParseEnv(string(env)); err != nil {
		return err
	}
	envs, err := v.Envs(ctx)
	if err != nil {
		return err
	}
	if slices.Contains(envs, env) {
		return &vault.Error{Kind: vault.KindExists, Op: "adding environment", Env: env, File: v.store.d.file(envDir(env))}
	}
	// An environment of this name that is not here may be on another branch, or
	// gone by mistake: a new key in its place would lock out who knows the old.
	if v.keys.pins != nil {
		pins, err := v.keys.pins.load()
		if err != nil {
			return err
		}
		if p, known := pins[env]; known {
			return &vault.Error{Kind: vault.KindExists, Op: "adding environment", Env: env, File: v.store.d.file(envDir(env)),
				Err: &KnownError{Env: env, Fingerprint: p.fingerprint.String()}}
		}
	}
	grants, err := v.ownGrants(ctx)
	if err != nil {
		return err
	}
	recovery, err := v.recoveryGrant(ctx, envs)
	if err != nil {
		return err
	}
	if recovery != nil && recovery.Member != v.options.Member {
		grants = append(grants, *recovery)
	}
	return v.createEnv(ctx, env, grants)
}

// KnownError is the cause of a KindExists for an environment that is not in the
// work tree, though this machine knows a key of it.
type KnownError struct {
	Env         vault.Env
	Fingerprint string // of the key that it knows
}

func (e *KnownError) Error() string {
	return fmt.Sprintf("this machine knows a key of %s (%s), which is not here", e.Env, e.Fingerprint)
}

// createEnv makes an environment and pins its key: it is ours, so there is
// nobody to ask. Without its pin it would be as good as somebody else's.
func (v *Vault) createEnv(ctx context.Context, env vault.Env, grants []engine.GrantTo) error {
	if err := v.CreateEnv(ctx, env, grants); err != nil {
		return fmt.Errorf("adding environment: %w", err)
	}
	err := v.keys.adopt(ctx, env)
	if err != nil {
		_ = v.store.removeEnv(context.WithoutCancel(ctx), env) // nobody has used it yet
	}
	return err
}

// RemoveEnv implements vault.EnvKeeper: the environment with its keys, secrets
// and requests. What git has of it stays there.
func (v *Vault) RemoveEnv(ctx context.Context, env vault.Env) error {
	if _, err := vault.ParseEnv(string(env)); err != nil {
		return err
	}
	err := v.store.removeEnv(ctx, env)
	if err != nil && vault.KindOf(err) != vault.KindNoEnv {
		return fmt.Errorf("removing environment: %w", err)
	}
	v.keys.forget(env)
	// The next environment of this name has another key. What is gone already is
	// forgotten too: that finishes a removal that was cut short here.
	if v.options.CI == nil && v.options.StateDir != "" {
		if err := v.ForgetPin(ctx, env); err != nil {
			return err
		}
	}
	if err != nil {
		return fmt.Errorf("removing environment: %w", err)
	}
	return nil
}

// ownGrants is the grant for the caller.
func (v *Vault) ownGrants(ctx context.Context) ([]engine.GrantTo, error) {
	if v.options.Member == "" {
		return nil, &vault.Error{Kind: vault.KindInvalid, Op: "granting a key", Detail: "the member to grant it to is not named"}
	}
	id, err := v.keys.identity(ctx)
	if err != nil {
		return nil, err
	}
	if id.Recipient() == "" {
		return nil, &vault.Error{Kind: vault.KindInvalid, Op: "granting a key", Detail: "the recipient of this identity is not known; a plugin's identity file names it in a comment, \"# recipient: age1…\""}
	}
	g, err := v.grantTo(v.options.Member, id.Recipient())
	if err != nil {
		return nil, err
	}
	return []engine.GrantTo{g}, nil
}

// recoveryGrant is the grant for the recovery identity, as an environment that
// the caller can open has it; nil if none has. A file counts only with the MAC
// of a holder.
func (v *Vault) recoveryGrant(ctx context.Context, envs []vault.Env) (*engine.GrantTo, error) {
	for _, env := range envs {
		states, err := v.Grants(ctx, env)
		if err != nil {
			continue // an environment that is closed to the caller says nothing
		}
		for _, s := range states {
			if s.Member == RecoveryMember && s.Err == nil && s.Recipient != "" {
				g, err := v.grantTo(s.Member, s.Recipient)
				return &g, err
			}
		}
	}
	return nil, nil
}
