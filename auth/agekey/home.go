package agekey

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age/plugin"

	"envrun/auth/keychain"
	"envrun/auth/passphrase"
	"envrun/auth/private"
)

// Home is where one person's identity lives: a folder with identity.toml, the
// facts, and the secret in its store, which is the file identity in the same
// folder or a keychain.
//
// identity may stand there alone, as after copying it from a backup: its
// comments are the facts then. Who can change a file in the folder can make
// envrun use another identity, and who can read identity has the secret, so
// both are refused when they are wider than 0700 and 0600.
//
// The methods that change something exclude each other between processes.
// Facts and Load take no lock: each file they read is written whole.
type Home struct {
	ConfigDir string

	// Keychains opens them; keychain.Options does. Nil: only files are used.
	Keychains keychain.Chooser

	// Passphrase asks for the passphrase of a protected identity, once per
	// Load; whoever sets it decides where from, and whether to try again after
	// ErrPassphrase. Nil: nobody can be asked. The bytes are wiped after use.
	Passphrase func(ctx context.Context, prompt string) ([]byte, error)

	// Rejected, if not nil, is told which keychains Create and Import passed
	// over when they chose the store, and why, so that nobody ends up with
	// less than they think.
	Rejected func([]keychain.Rejection)

	// PluginUI is how plugins ask for a PIN or a touch; nil: they cannot.
	PluginUI *plugin.ClientUI

	Now        func() time.Time // time.Now if nil
	WorkFactor int              // of scrypt, in Protect; WorkFactor if 0
	UnlockFor  time.Duration    // in the kernel's keyring; UnlockFor if 0, not at all if negative

	step func(string) // for tests: where a process could die
}

const (
	factsName    = "identity.toml"
	identityName = "identity"
	lockName     = "identity.lock"
)

func (h *Home) factsFile() string { return filepath.Join(h.ConfigDir, factsName) }

// File is where the identity is when it is in the file store.
func (h *Home) File() string { return filepath.Join(h.ConfigDir, identityName) }

// Facts says what is known of the identity, from files alone: no keychain is
// asked. ErrNone if there is none.
func (h *Home) Facts() (Facts, error) {
	f, text, err := h.read()
	clear(text)
	return f, err
}

// read returns the facts and, for the file store, the text of the identity.
func (h *Home) read() (f Facts, text []byte, err error) {
	switch err := private.CheckDir(h.ConfigDir); {
	case errors.Is(err, fs.ErrNotExist):
		return f, nil, ErrNone
	case err != nil:
		return f, nil, err
	}
	// Others may read the facts, but not write them.
	raw, err := readPrivate(h.factsFile(), 0o755, maxFacts)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return h.readAlone()
	case err != nil:
		return f, nil, err
	}
	if f, err = parseFacts(raw); err != nil {
		return f, nil, &FileError{File: h.factsFile(), Err: err}
	}
	if f.Store != StoreFile {
		return f, nil, nil
	}
	text, err = h.readIdentity()
	if errors.Is(err, fs.ErrNotExist) {
		err = &FileError{File: h.File(), Err: ErrLost}
	}
	f.Protected = isProtected(string(text))
	return f, text, err
}

// readAlone reads an identity without identity.toml.
func (h *Home) readAlone() (Facts, []byte, error) {
	f := Facts{Store: StoreFile}
	text, err := h.readIdentity()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f, nil, ErrNone
	case err != nil:
		return f, nil, err
	}
	if f.Protected = isProtected(string(text)); f.Protected {
		return f, text, nil
	}
	id, err := Parse(string(text))
	if err != nil {
		return f, text, &FileError{File: h.File(), Err: err}
	}
	f.Recipient = id.Recipient()
	f.Member, f.Created = commentFacts(string(text))
	return f, text, nil
}

// commentFacts reads what ExportText wrote. Comments that are no facts are comments.
func commentFacts(text string) (member string, created time.Time) {
	var f Facts
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimPrefix(line, "#"), ":")
		if !ok || !strings.HasPrefix(line, "#") {
			continue
		}
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(name) {
		case "member":
			if checkValue(value) == nil && len(value) <= 128 {
				f.Member = value
			}
		case "created":
			_ = f.set("created", value)
		}
	}
	return f.Member, f.Created
}

func (h *Home) readIdentity() ([]byte, error) {
	return readPrivate(h.File(), 0o600, MaxText)
}

// Load returns the identity: ErrNone if there is none; *InsecureError,
// *FileError or *StoreError, which name what is at fault, otherwise.
func (h *Home) Load(ctx context.Context) (*Identity, error) {
	f, text, err := h.read()
	if err != nil {
		return nil, err
	}
	id, err := h.load(ctx, f, text)
	if errors.Is(err, ErrLost) || errors.Is(err, ErrMismatch) {
		// It may have been moved since the facts were read.
		if f2, text2, e := h.read(); e == nil && (f2.where() != f.where() || !bytes.Equal(text, text2)) {
			id, err = h.load(ctx, f2, text2)
		}
	}
	if err != nil {
		return nil, err
	}
	if h.PluginUI != nil && len(id.Plugins()) > 0 {
		id = id.WithPluginUI(h.PluginUI)
	}
	return id, nil
}

// load reads the identity of f from its store. text is that of the file store.
func (h *Home) load(ctx context.Context, f Facts, text []byte) (id *Identity, err error) {
	if f.Store != StoreFile {
		return h.loadKeychain(ctx, f)
	}
	if f.Protected {
		id, err = h.unlock(ctx, h.File(), text, f.Recipient)
		if err != nil {
			return nil, err
		}
	} else {
		if id, err = Parse(string(text)); err != nil {
			return nil, &FileError{File: h.File(), Err: err}
		}
		clear(text)
	}
	if f.Recipient != "" && id.Recipient() != f.Recipient {
		return nil, &FileError{File: h.File(), Err: ErrMismatch}
	}
	return id, nil
}

func (h *Home) loadKeychain(ctx context.Context, f Facts) (*Identity, error) {
	fail := func(err error) (*Identity, error) {
		return nil, &StoreError{Store: f.Store, Key: f.Key, Op: "loading", Err: err}
	}
	k, err := h.open(f.Store)
	if err != nil {
		return fail(err)
	}
	text, err := k.Get(ctx, f.Key)
	if errors.Is(err, keychain.ErrNotFound) {
		err = ErrLost
	}
	if err != nil {
		return fail(err)
	}
	id, err := Parse(string(text))
	clear(text)
	if err == nil && f.Recipient != "" && id.Recipient() != f.Recipient {
		err = ErrMismatch
	}
	if err != nil {
		return fail(err)
	}
	return id, nil
}

func (h *Home) open(store string) (keychain.Keychain, error) {
	if h.Keychains == nil {
		return nil, &keychain.UnavailableError{Keychain: store, Reason: "keychains are not used here"}
	}
	return h.Keychains.Open(store)
}

// Create makes a new hybrid identity for member and keeps it in store: "file",
// the name of a keychain, or "" for the first keychain that can be used and
// else the file. ErrExists if there is an identity, whatever its state.
func (h *Home) Create(ctx context.Context, member, store string) (Facts, error) {
	return h.add(ctx, nil, member, store)
}

// Import is Create for an identity that exists.
func (h *Home) Import(ctx context.Context, id *Identity, member, store string) (Facts, error) {
	return h.add(ctx, id, member, store)
}

func (h *Home) add(ctx context.Context, id *Identity, member, store string) (Facts, error) {
	f := Facts{Member: member, Store: StoreFile, Created: h.now().UTC().Truncate(time.Second)}
	if err := f.check(); err != nil {
		return Facts{}, fmt.Errorf("new identity: %w", err)
	}
	unlock, err := h.lock(ctx)
	if err != nil {
		return Facts{}, err
	}
	defer unlock()
	if err := h.vacant(); err != nil {
		return Facts{}, err
	}
	if id == nil {
		if id, err = Generate(); err != nil {
			return Facts{}, err
		}
	}
	f.Recipient = id.Recipient()
	if f.Store, err = h.choose(ctx, store); err != nil {
		return Facts{}, err
	}
	if f.Store != StoreFile {
		f.Key = newKey()
	}
	if err := f.check(); err != nil {
		return Facts{}, fmt.Errorf("new identity: %w", err)
	}
	if err := h.put(ctx, f, id); err != nil {
		return Facts{}, err
	}
	h.at("stored")
	if err := private.Write(h.factsFile(), f.marshal(), false); err != nil {
		if f.Store != StoreFile { // in a file it is whole without the facts
			_ = h.remove(ctx, f.where())
		}
		if errors.Is(err, fs.ErrExist) {
			err = &FileError{File: h.factsFile(), Err: ErrExists}
		}
		return Facts{}, err
	}
	return f, nil
}

// vacant refuses where there is an identity, or anything in its place.
func (h *Home) vacant() error {
	for _, file := range []string{h.factsFile(), h.File()} {
		if there, err := private.Exists(file); err != nil {
			return err
		} else if there {
			return &FileError{File: file, Err: ErrExists}
		}
	}
	return nil
}

func (h *Home) choose(ctx context.Context, store string) (string, error) {
	if store != "" || h.Keychains == nil {
		return cmp.Or(store, StoreFile), nil
	}
	k, rejected, err := h.Keychains.Choose(ctx)
	if err != nil && !errors.Is(err, keychain.ErrNone) {
		return "", fmt.Errorf("choosing a keychain: %w", err)
	}
	if len(rejected) > 0 && h.Rejected != nil {
		h.Rejected(rejected)
	}
	if err != nil {
		return StoreFile, nil
	}
	return k.Name(), nil
}

// put stores id at the place that f names, where there must be nothing, and
// has read it back when it returns nil.
func (h *Home) put(ctx context.Context, f Facts, id *Identity) error {
	if f.Store == StoreFile {
		return h.writeIdentity([]byte(id.ExportText(f)), false)
	}
	fail := func(err error) error {
		return &StoreError{Store: f.Store, Key: f.Key, Op: "storing", Err: err}
	}
	k, err := h.open(f.Store)
	if err != nil {
		return fail(err)
	}
	if err := k.Set(ctx, f.Key, []byte(id.Reveal())); err != nil {
		return fail(err)
	}
	back, err := h.loadKeychain(ctx, f)
	if err == nil && back.Reveal() != id.Reveal() {
		err = fail(ErrMismatch)
	}
	return err
}

// writeIdentity writes the identity file, and has read it back when it returns nil.
func (h *Home) writeIdentity(text []byte, replace bool) error {
	err := private.Write(h.File(), text, replace)
	if errors.Is(err, fs.ErrExist) {
		return &FileError{File: h.File(), Err: ErrExists}
	}
	if err != nil {
		return err
	}
	back, err := h.readIdentity()
	if err == nil && !bytes.Equal(back, text) {
		err = &FileError{File: h.File(), Err: ErrMismatch}
	}
	return err
}

// remove deletes the copy at one place, in the words of Facts.Leftover.
func (h *Home) remove(ctx context.Context, where string) error {
	if where == StoreFile {
		return private.Remove(h.File())
	}
	store, key, _ := strings.Cut(where, ":")
	k, err := h.open(store)
	if err == nil {
		err = k.Delete(ctx, key)
	}
	if err != nil && !errors.Is(err, keychain.ErrNotFound) {
		return &StoreError{Store: store, Key: key, Op: "deleting", Err: err}
	}
	return nil
}

// Move takes the identity to another store: it is written there and read back
// before the facts name the new place, and deleted at the old one last. A
// passphrase is asked for once and ends with the move, since the new store has
// its own protection.
//
// An error together with facts that name the new store says that the move is
// done and the old copy could not be deleted; Facts.Leftover has it.
func (h *Home) Move(ctx context.Context, store string) (Facts, error) {
	unlock, err := h.lock(ctx)
	if err != nil {
		return Facts{}, err
	}
	defer unlock()
	f, text, err := h.read()
	if err != nil {
		return Facts{}, err
	}
	if f.Store == store {
		clear(text)
		return h.clean(ctx, f)
	}
	if store == "" {
		return f, errors.New("moving the identity: no store is named")
	}
	id, err := h.load(ctx, f, slices.Clone(text))
	if err != nil {
		return f, err
	}
	// The leftovers of an earlier move go first, so that they are not in the way.
	if f, err = h.clean(ctx, f); err != nil && slices.Contains(f.Leftover, StoreFile) && store == StoreFile {
		return f, err
	}
	if store == StoreFile {
		// What stands there now is no leftover of ours.
		if there, err := private.Exists(h.File()); err != nil {
			return f, err
		} else if there {
			return f, &FileError{File: h.File(), Err: ErrExists}
		}
	}

	to := f
	to.Store, to.Key, to.Protected = store, "", false
	to.Recipient = id.Recipient()
	if store != StoreFile {
		to.Key = newKey()
	}
	if err := to.check(); err != nil {
		return f, fmt.Errorf("moving the identity: %w", err)
	}

	// From here on a process that dies leaves facts that name both places: one
	// holds the identity, the other is a leftover.
	f.Recipient = to.Recipient
	before := slices.Clone(f.Leftover)
	f.Leftover = append(slices.Clone(before), to.where())
	if err := h.writeFacts(f); err != nil {
		return f, err
	}
	h.at("announced")
	if err := h.put(ctx, to, id); err != nil {
		f, _ = h.clean(ctx, f)
		return f, err
	}
	h.at("stored")
	to.Leftover = append(before, f.where())
	if err := h.writeFacts(to); err != nil {
		return f, err
	}
	h.at("switched")
	if f.Protected {
		_ = h.forget(ctx, text)
	}
	return h.clean(ctx, to)
}

// Clean deletes the copies that a move which was cut short left behind.
func (h *Home) Clean(ctx context.Context) (Facts, error) {
	unlock, err := h.lock(ctx)
	if err != nil {
		return Facts{}, err
	}
	defer unlock()
	f, text, err := h.read()
	clear(text)
	if err != nil {
		return f, err
	}
	return h.clean(ctx, f)
}

// clean deletes leftovers and writes what is left of the list.
func (h *Home) clean(ctx context.Context, f Facts) (Facts, error) {
	if len(f.Leftover) == 0 {
		return f, nil
	}
	var left []string
	var first error
	for _, where := range f.Leftover {
		if where == f.where() {
			continue // the list is wrong: that is where the identity is
		}
		if err := h.remove(ctx, where); err != nil {
			left = append(left, where)
			if first == nil {
				first = err
			}
		}
	}
	h.at("cleaned")
	f.Leftover = left
	if err := h.writeFacts(f); err != nil {
		return f, err
	}
	return f, first
}

func (h *Home) writeFacts(f Facts) error {
	return private.Write(h.factsFile(), f.marshal(), true)
}

// Protect encrypts the identity file with a passphrase (age's scrypt, in
// armor), or gives it a new one. What was on the disk in plain text before may
// still be found there by whoever takes the disk apart. ErrFileOnly for an
// identity in a keychain.
func (h *Home) Protect(ctx context.Context, words []byte) error {
	if len(words) == 0 {
		return errors.New("protecting the identity: the passphrase is empty")
	}
	return h.rewrite(ctx, func(f Facts, id *Identity) ([]byte, error) {
		sealed, err := passphrase.Seal([]byte(id.ExportText(f)), words, h.WorkFactor)
		if err != nil {
			return nil, fmt.Errorf("protecting the identity: %w", err)
		}
		// Nobody can help whoever's identity was encrypted to something else.
		back, err := decrypt(sealed, words)
		if err != nil {
			return nil, fmt.Errorf("protecting the identity: reading it back: %w", err)
		}
		if back.Reveal() != id.Reveal() {
			return nil, &FileError{File: h.File(), Err: ErrMismatch}
		}
		return sealed, nil
	})
}

// Unprotect takes the passphrase off the identity file. ErrFileOnly for an
// identity in a keychain; without a passphrase it does nothing.
func (h *Home) Unprotect(ctx context.Context) error {
	return h.rewrite(ctx, func(f Facts, id *Identity) ([]byte, error) {
		if !f.Protected {
			return nil, nil
		}
		return []byte(id.ExportText(f)), nil
	})
}

// rewrite replaces the identity file by what f makes of it; nil leaves it.
func (h *Home) rewrite(ctx context.Context, change func(Facts, *Identity) ([]byte, error)) error {
	unlock, err := h.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	f, text, err := h.read()
	if err != nil {
		return err
	}
	if f.Store != StoreFile {
		return &StoreError{Store: f.Store, Key: f.Key, Op: "protecting", Err: ErrFileOnly}
	}
	id, err := h.load(ctx, f, slices.Clone(text))
	if err != nil {
		return err
	}
	if f.Recipient == "" {
		f.Recipient = id.Recipient() // it was inside what only the passphrase opens
	}
	changed, err := change(f, id)
	if err != nil || changed == nil {
		return err
	}
	// A protected file cannot speak for itself.
	if err := h.writeFacts(f); err != nil {
		return err
	}
	h.at("announced")
	if err := h.writeIdentity(changed, true); err != nil {
		return err
	}
	h.at("switched")
	if f.Protected {
		_ = h.forget(ctx, text)
	}
	if isProtected(string(changed)) {
		h.remember(ctx, changed, id)
	}
	clear(text)
	return nil
}

// Lock forgets the unlocked copy of a protected identity, so that the next
// Load asks for the passphrase.
func (h *Home) Lock(ctx context.Context) error {
	f, text, err := h.read()
	if err != nil {
		return err
	}
	if !f.Protected {
		clear(text)
		return nil
	}
	return h.forget(ctx, text)
}

// lock makes the folder and takes its lock.
func (h *Home) lock(ctx context.Context) (func(), error) {
	if h.ConfigDir == "" {
		return nil, errors.New("no folder is given for the identity")
	}
	if err := private.MakeDir(h.ConfigDir); err != nil {
		return nil, err
	}
	unlock, err := private.Lock(ctx, filepath.Join(h.ConfigDir, lockName))
	if errors.Is(err, private.ErrBusy) {
		err = &FileError{File: filepath.Join(h.ConfigDir, lockName), Err: ErrBusy}
	}
	if err != nil {
		return nil, err
	}
	private.Sweep(h.ConfigDir, "identity")
	return unlock, nil
}

// readPrivate reads a file of the identity's; too long is malformed.
func readPrivate(file string, want fs.FileMode, limit int64) ([]byte, error) {
	text, err := private.Read(file, want, limit)
	if errors.Is(err, private.ErrTooLong) {
		err = &FileError{File: file, Err: &ParseError{Reason: fmt.Sprintf("is longer than %d bytes", limit)}}
	}
	return text, err
}

func (h *Home) now() time.Time {
	if h.Now == nil {
		return time.Now()
	}
	return h.Now()
}

func (h *Home) at(step string) {
	if h.step != nil {
		h.step(step)
	}
}

// newKey is a name that nothing is filed under: an identity is never put over
// another one, not even that of another folder.
func newKey() string { return "identity-" + strings.ToLower(rand.Text()[:12]) }
