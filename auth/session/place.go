package session

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"envrun/auth/keychain"
	"envrun/auth/passphrase"
	"envrun/auth/private"
)

// A Place is where the key of sessions is, or would be with the next sign-in.
type Place struct {
	Name     string               // of a keychain, ByPassphrase, InMemory
	New      bool                 // there is no key yet, or no more
	Forgets  bool                 // at the restart of the machine, or with the process
	Rejected []keychain.Rejection // what was passed over when it was chosen

	key    func() []byte // of ByPassphrase, a new one; a function, since fmt prints no function's results
	sealed []byte        // the same, under the passphrase
}

// Prepare chooses where the key is kept and proves that it can be: it reads the one
// that is there, or stores, reads, compares and deletes another. It goes before
// anybody is sent to a browser. Nothing is left behind, and nothing is
// chosen in place of what was chosen before: that it cannot be used is a
// *PlaceError. *NoPlaceError if there is nothing to choose, *ElsewhereError if Keep
// asks for another place than where sessions are.
func (s *Store) Prepare(ctx context.Context) (Place, error) {
	p, err := s.prepare(ctx)
	if err != nil {
		return Place{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prepared = &p
	return Place{Name: p.Name, New: p.New, Forgets: p.Forgets, Rejected: p.Rejected}, nil
}

// take is Prepare for the one sign-in that uses what was prepared.
func (s *Store) take(ctx context.Context) (Place, error) {
	p, err := s.prepare(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prepared = nil
	return p, err
}

func (s *Store) prepare(ctx context.Context) (Place, error) {
	if err := s.ours(); err != nil {
		return Place{}, err
	}
	if s.Keep == InMemory {
		return Place{Name: InMemory, New: true, Forgets: true}, nil
	}
	x, err := s.index()
	if err != nil {
		return Place{}, err
	}
	if err := private.MakeDir(s.Dir); err != nil {
		return Place{}, err
	}
	name, have := s.Keep, x.place.Name
	if have != "" && (name == "" || name == have) {
		_, err := s.opener(ctx, x)
		if err == nil {
			return Place{Name: have, Forgets: keychain.Volatile(have)}, nil
		}
		var gone *KeyError
		switch {
		case len(x.entries) == 0: // it is the key of nothing: any place will do
		case !errors.As(err, &gone):
			return Place{}, err
		default:
			name = have
		}
	}
	if have != "" && name != have && len(x.entries) > 0 {
		return Place{}, &ElsewhereError{Have: have, Want: name}
	}
	s.mu.Lock()
	was := s.prepared
	s.mu.Unlock()
	switch {
	case was != nil && was.New && was.Name != InMemory && (name == "" || name == was.Name):
		return *was, nil // it was proven a moment ago
	case name == ByPassphrase:
		return s.newPassphrase(ctx)
	case s.Keychains == nil:
		return Place{}, &NoPlaceError{}
	case name == "":
		k, rejected, err := s.Keychains.Choose(ctx)
		if errors.Is(err, keychain.ErrNone) {
			return Place{}, &NoPlaceError{Rejected: rejected}
		}
		if err != nil {
			return Place{}, fmt.Errorf("choosing a keychain: %w", err)
		}
		return Place{Name: k.Name(), New: true, Forgets: keychain.Volatile(k.Name()), Rejected: rejected}, nil
	}
	if err := s.prove(ctx, name); err != nil {
		return Place{}, &PlaceError{Place: name, Err: err}
	}
	return Place{Name: name, New: true, Forgets: keychain.Volatile(name)}, nil
}

// prove stores, reads, compares and deletes a random value.
func (s *Store) prove(ctx context.Context, name string) error {
	k, err := s.Keychains.Open(name)
	if err != nil {
		return err
	}
	key, value := "probe-"+strings.ToLower(rand.Text()[:12]), []byte(rand.Text())
	if err := k.Set(ctx, key, value); err != nil {
		_ = k.Delete(ctx, key) // it may be there all the same
		return err
	}
	got, err := k.Get(ctx, key)
	if e := k.Delete(ctx, key); err == nil {
		err = e
	}
	if err == nil && !bytes.Equal(got, value) {
		err = &keychain.LostError{Keychain: name, Op: "set"}
	}
	return err
}

func (s *Store) newPassphrase(ctx context.Context) (Place, error) {
	words, err := s.ask(ctx, true)
	if err != nil {
		return Place{}, err
	}
	defer clear(words)
	if len(words) == 0 {
		return Place{}, &PlaceError{Place: ByPassphrase, Err: errors.New("an empty passphrase protects nothing")}
	}
	key := newKey()
	sealed, err := passphrase.Seal(hexOf(key), words, s.workFactor)
	if err != nil {
		return Place{}, &PlaceError{Place: ByPassphrase, Err: err}
	}
	return Place{Name: ByPassphrase, New: true, key: func() []byte { return key }, sealed: sealed}, nil
}

func (s *Store) ask(ctx context.Context, fresh bool) ([]byte, error) {
	if s.Passphrase == nil {
		return nil, &PlaceError{Place: ByPassphrase, Err: ErrNobodyToAsk}
	}
	prompt := "Passphrase of your sessions"
	if fresh {
		prompt = "New passphrase for your sessions"
	}
	words, err := s.Passphrase(ctx, prompt, fresh)
	if err != nil {
		return nil, fmt.Errorf("asking for the passphrase of sessions: %w", err)
	}
	return words, nil
}

// opener is the key that the index names. It is read once by a process.
func (s *Store) opener(ctx context.Context, x index) (keyring, error) {
	s.mu.Lock()
	kept := s.kept
	s.mu.Unlock()
	if kept != nil {
		if k := kept(); k.id == x.place.ID {
			return k, nil
		}
	}
	text, err := s.readKey(ctx, x.place)
	if err != nil {
		return keyring{}, err
	}
	defer clear(text)
	key := make([]byte, keySize)
	defer clear(key)
	if n, err := hex.Decode(key, text[:min(len(text), 2*keySize)]); err != nil || n != keySize || len(text) != 2*keySize || idOfKey(key) != x.place.ID {
		return keyring{}, &KeyError{Place: x.place.Name, Other: true}
	}
	return s.use(key)
}

// use makes a keyring of a key and keeps it for this process.
func (s *Store) use(key []byte) (keyring, error) {
	k, err := newKeyring(key)
	if err != nil {
		return keyring{}, err
	}
	s.mu.Lock()
	s.kept = func() keyring { return k }
	s.mu.Unlock()
	return k, nil
}

// readKey reads the key from its place.
func (s *Store) readKey(ctx context.Context, p place) ([]byte, error) {
	gone := &KeyError{Place: p.Name}
	if host := hostname(); p.Host != host {
		gone.Host = p.Host
	}
	if p.Name == ByPassphrase {
		sealed, err := private.Read(s.keyFile(), 0o600, maxSealed)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, gone
		}
		if err != nil {
			return nil, err
		}
		return s.openPassphrase(ctx, sealed)
	}
	if s.Keychains == nil {
		return nil, &PlaceError{Place: p.Name, Err: &keychain.UnavailableError{Keychain: p.Name, Reason: "keychains are not used here"}}
	}
	k, err := s.Keychains.Open(p.Name)
	if err != nil {
		return nil, &PlaceError{Place: p.Name, Err: err}
	}
	text, err := k.Get(ctx, p.Key)
	if errors.Is(err, keychain.ErrNotFound) {
		return nil, gone
	}
	if err != nil {
		return nil, &PlaceError{Place: p.Name, Err: err}
	}
	return text, nil
}

// Unlocked keeps what a passphrase has opened for as long as the process lives, so that
// it asks for it once, in however many Stores, where the kernel keeps nothing.
type Unlocked struct {
	mu     sync.Mutex
	sealed [sha256.Size]byte
	text   func() []byte // nil: nothing; a function, since fmt prints no function's results
}

func (u *Unlocked) get(sealed []byte) ([]byte, bool) {
	if u == nil {
		return nil, false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.text == nil || u.sealed != sha256.Sum256(sealed) {
		return nil, false
	}
	return bytes.Clone(u.text()), true
}

func (u *Unlocked) keep(sealed, text []byte) {
	if u == nil {
		return
	}
	text = bytes.Clone(text)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.sealed, u.text = sha256.Sum256(sealed), func() []byte { return text }
}

func (s *Store) openPassphrase(ctx context.Context, sealed []byte) ([]byte, error) {
	if text, ok := s.Unlocked.get(sealed); ok {
		return text, nil
	}
	opened := passphrase.Opened{Keychains: s.Keychains}
	if text, ok := opened.Get(ctx, sealed); ok {
		return text, nil
	}
	words, err := s.ask(ctx, false)
	if err != nil {
		return nil, err
	}
	defer clear(words)
	text, err := passphrase.Open(sealed, words, 2*keySize)
	if err != nil {
		return nil, &PlaceError{Place: ByPassphrase, Err: err}
	}
	opened.Keep(ctx, sealed, text)
	s.Unlocked.keep(sealed, text)
	return text, nil
}

// sealer is the key to seal a new sign-in with: the one of the index, or another
// one at the place that was prepared. What was sealed with a key that is gone stays
// in the index, for its owner to see. Under the lock.
func (s *Store) sealer(ctx context.Context, x *index, p Place) (keyring, error) {
	if x.place.Name != "" && (x.place.Name == p.Name || len(x.entries) > 0) {
		k, err := s.opener(ctx, *x)
		var gone *KeyError
		if !errors.As(err, &gone) {
			return k, err
		}
		if x.place.Name != p.Name { // another process chose meanwhile, and lost it
			return keyring{}, err
		}
	}
	var key []byte
	if p.key != nil {
		key = p.key()
	} else {
		key = newKey()
	}
	defer clear(key)
	was := x.place
	x.place = place{Name: p.Name, Key: was.Key, ID: idOfKey(key), Host: hostname()}
	if was.Name != p.Name { // else it goes over what is there, or should be
		_ = s.deleteKey(ctx, was) // of no session
		x.place.Key = "session-key-" + strings.ToLower(rand.Text()[:12])
	}
	// The index names the key before it is there, so that a process that dies here
	// leaves no key that nobody knows of.
	if err := s.writeIndex(*x); err != nil {
		return keyring{}, err
	}
	err := s.storeKey(ctx, x.place, p, key)
	if err != nil {
		if x.place = was; was.Name == "" && len(x.entries) == 0 {
			_ = s.remove(s.indexFile())
		} else {
			_ = s.writeIndex(*x)
		}
		return keyring{}, &PlaceError{Place: p.Name, Err: err}
	}
	s.at("keyed")
	return s.use(key)
}

func (s *Store) storeKey(ctx context.Context, to place, p Place, key []byte) error {
	text := hexOf(key)
	defer clear(text)
	if to.Name == ByPassphrase {
		if err := s.put(s.keyFile(), p.sealed); err != nil {
			return err
		}
		passphrase.Opened{Keychains: s.Keychains}.Keep(ctx, p.sealed, text)
		s.Unlocked.keep(p.sealed, text)
		return nil
	}
	k, err := s.Keychains.Open(to.Name)
	if err != nil {
		return err
	}
	if err := k.Set(ctx, to.Key, text); err != nil {
		return err
	}
	back, err := k.Get(ctx, to.Key)
	if err == nil && subtle.ConstantTimeCompare(back, text) != 1 {
		err = &keychain.LostError{Keychain: to.Name, Op: "set"}
	}
	clear(back)
	return err
}

// dropKey removes the key of no sessions, and the index that names it last. Under
// the lock.
func (s *Store) dropKey(ctx context.Context, x index) error {
	s.mu.Lock()
	s.kept, s.prepared = nil, nil
	s.mu.Unlock()
	if err := s.deleteKey(ctx, x.place); err != nil {
		return &PlaceError{Place: x.place.Name, Err: fmt.Errorf("no session is kept any more, and the key could not be deleted: %w", err)}
	}
	s.at("unkeyed")
	return s.remove(s.indexFile())
}

// deleteKey removes the key from its place; one that is not there is fine.
func (s *Store) deleteKey(ctx context.Context, p place) error {
	switch {
	case p.Name == ByPassphrase:
		if sealed, err := private.Read(s.keyFile(), 0o600, maxSealed); err == nil {
			_ = passphrase.Opened{Keychains: s.Keychains}.Forget(ctx, sealed)
		}
		return s.remove(s.keyFile())
	case p.Name == "" || s.Keychains == nil:
		return nil
	}
	k, err := s.Keychains.Open(p.Name)
	if err == nil {
		err = k.Delete(ctx, p.Key)
	}
	if errors.Is(err, keychain.ErrNotFound) {
		err = nil
	}
	return err
}

func (s *Store) keyFile() string { return filepath.Join(s.Dir, "key.age") }

func newKey() []byte {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // crypto/rand never fails
	return key
}

func hexOf(key []byte) []byte { return hex.AppendEncode(nil, key) }

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return clean(name)
}

// lock keeps two processes from changing files at once. It is held for moments.
func (s *Store) lock(ctx context.Context) (func(), error) {
	if err := s.ours(); err != nil {
		return nil, err
	}
	if err := private.MakeDir(s.Dir); err != nil {
		return nil, err
	}
	unlock, err := s.wait(ctx, filepath.Join(s.Dir, "lock"), "changing the sessions of this machine")
	if errors.Is(err, private.ErrBusy) {
		return nil, &BusyError{What: "changing the sessions of this machine"}
	}
	if err != nil {
		return nil, err
	}
	private.Sweep(s.Dir, indexName)
	private.Sweep(s.Dir, "key.age")
	return unlock, nil
}

// lockRenewal is held by whoever renews a session, for as long as the issuer and
// the server take.
func (s *Store) lockRenewal(ctx context.Context, id string) (func(), error) {
	s.mu.Lock()
	_, inMemory := s.memory[id]
	s.mu.Unlock()
	if inMemory {
		return s.lockMemory(ctx)
	}
	dir := filepath.Join(s.Dir, "locks")
	if err := private.MakeDir(dir); err != nil {
		return nil, err
	}
	return s.wait(ctx, filepath.Join(dir, id+".lock"), "renewing this session")
}

// wait takes a lock, and says when it takes long.
func (s *Store) wait(ctx context.Context, file, what string) (func(), error) {
	if s.patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, s.patience, private.ErrBusy)
		defer cancel()
	}
	if s.OnWait != nil {
		t := time.AfterFunc(time.Second, func() { s.OnWait("another envrun is " + what) })
		defer t.Stop()
	}
	return private.Lock(ctx, file)
}

// lockMemory is lockRenewal for sessions that no other process knows of.
func (s *Store) lockMemory(ctx context.Context) (func(), error) {
	s.mu.Lock()
	if s.renewing == nil {
		s.renewing = make(chan struct{}, 1)
	}
	c := s.renewing
	s.mu.Unlock()
	select {
	case c <- struct{}{}:
		return func() { <-c }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Health is what the doctor says of sessions.
type Health struct {
	Dir      string
	Place    string // where the key is; "" if there is none
	Forgets  bool   // at the restart of the machine
	Sessions int
	Err      error // why they cannot be read; nil if they can
}

// Check reads the key and each session. It changes nothing.
func (s *Store) Check(ctx context.Context) Health {
	h := Health{Dir: s.Dir}
	x, err := s.index()
	if err != nil {
		h.Err = err
		return h
	}
	h.Place, h.Forgets, h.Sessions = x.place.Name, keychain.Volatile(x.place.Name), len(x.entries)
	for _, e := range x.entries {
		if _, _, err := s.Open(ctx, e.ID); err != nil && h.Err == nil {
			h.Err = fmt.Errorf("%s: %w", e.Server, err)
		}
	}
	return h
}
