package cache

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"envrun/auth/agekey"
	"envrun/auth/keychain"
	"envrun/auth/private"
	"envrun/vault/seal"
)

// Keys are what caches are encrypted for: an age identity of their own, in a
// keychain, or else the person's. Encrypting takes its public half, which is in a
// file; the keychain is asked when that identity is made, and when a cache is
// opened.
type Keys struct {
	Dir string // Store.StateDir

	// Keychains are asked while a command is about to start: nobody is prompted
	// there. Asking may prompt. Nil: there are none.
	Keychains keychain.Chooser
	Asking    keychain.Chooser

	Home *agekey.Home // of the person's identity; nil: none
	Now  func() time.Time
}

const (
	keyName     = "key"
	keyIdentity = "identity"
	keyKeychain = "keychain:"

	// again is how long the search for a keychain is not repeated that found none.
	again = 24 * time.Hour
)

// keyFacts are what is known of the identity of caches. Whoever can change the file
// can have what is read from now on encrypted for themselves.
type keyFacts struct {
	Keychain  string    `json:"keychain,omitempty"`  // empty: none could be used
	Name      string    `json:"name,omitempty"`      // what it is filed under there
	Recipient string    `json:"recipient,omitempty"` // the public half
	Tried     time.Time `json:"tried"`
}

func (k *Keys) file() string { return filepath.Join(k.Dir, keyName+stateMark) }

func (k *Keys) load() (f keyFacts, err error) {
	raw, err := private.Read(k.file(), 0o600, maxState)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err == nil {
		err = private.CheckDir(k.Dir)
	}
	if err == nil && json.Unmarshal(raw, &f) != nil {
		f = keyFacts{} // damaged: another is made
	}
	return f, err
}

// sealer is what a cache is encrypted with now, and its name. ErrNoKey if there is
// nothing. Under the lock.
func (k *Keys) sealer(ctx context.Context) (seal.Sealer, string, error) {
	f, err := k.load()
	if err != nil {
		return nil, "", err
	}
	if f.Keychain == "" && k.Keychains != nil && k.Now().Sub(f.Tried).Abs() > again {
		if f, err = k.make(ctx); err != nil {
			return nil, "", err
		}
	}
	text, name := f.Recipient, keyKeychain+f.Keychain+":"+f.Name
	if f.Keychain == "" {
		name = keyIdentity
		if k.Home != nil {
			facts, _ := k.Home.Facts()
			text = facts.Recipient
		}
	}
	to, err := agekey.ParseRecipient(text)
	if err != nil {
		return nil, "", ErrNoKey
	}
	return seal.AgeSealer("the cache", to, nil), name, nil
}

// make makes an identity and puts it into the first keychain that can be used. That
// there is none is no error, and is kept for a while.
func (k *Keys) make(ctx context.Context) (keyFacts, error) {
	f := keyFacts{Tried: k.Now().UTC()}
	if chain, _, err := k.Keychains.Choose(ctx); err == nil {
		id, err := agekey.Generate()
		if err != nil {
			return f, err
		}
		name := "offline-cache-" + rand.Text()[:10]
		if err := chain.Set(ctx, name, []byte(id.Reveal())); err == nil {
			f.Keychain, f.Name, f.Recipient = chain.Name(), name, id.Recipient()
		}
	}
	if ctx.Err() != nil {
		return f, ctx.Err()
	}
	text, err := json.Marshal(f)
	if err != nil {
		return f, err
	}
	return f, private.WriteSoon(k.file(), text)
}

// opener is what a cache was encrypted for; the person may be asked.
func (k *Keys) opener(ctx context.Context, name string) (seal.Sealer, error) {
	var id *agekey.Identity
	var err error
	where, inKeychain := strings.CutPrefix(name, keyKeychain)
	switch {
	case inKeychain:
		if k.Asking == nil {
			return nil, ErrNoKey
		}
		store, filed, _ := strings.Cut(where, ":")
		chain, err := k.Asking.Open(store)
		if err != nil {
			return nil, err
		}
		text, err := chain.Get(ctx, filed)
		if err != nil {
			if errors.Is(err, keychain.ErrNotFound) {
				_ = private.Remove(k.file()) // the next cache gets another
			}
			return nil, err
		}
		id, err = agekey.Parse(string(text))
		clear(text)
		if err != nil {
			return nil, err
		}
	case k.Home == nil:
		return nil, ErrNoKey
	default:
		if id, err = k.Home.Load(ctx); err != nil {
			return nil, err
		}
	}
	return seal.AgeSealer("the cache", nil, id.Unwrap()), nil
}

// forget removes the identity of caches: no copy of one can be opened any more,
// unless it was encrypted for the person's own.
func (k *Keys) forget(ctx context.Context) error {
	f, err := k.load()
	if err == nil && f.Keychain != "" && k.Asking != nil {
		var chain keychain.Keychain
		if chain, err = k.Asking.Open(f.Keychain); err == nil {
			if err = chain.Delete(ctx, f.Name); errors.Is(err, keychain.ErrNotFound) {
				err = nil
			}
		}
	}
	if err != nil {
		return err
	}
	return private.Remove(k.file())
}

// Where says what the next cache would be encrypted for, as far as it is known
// without asking anything: the name of a keychain, "identity", or "" for nothing.
// known is false where a keychain would be looked for first.
func (k *Keys) Where() (where string, known bool, err error) {
	f, err := k.load()
	if err != nil || f.Keychain != "" {
		return f.Keychain, true, err
	}
	if k.Home != nil {
		facts, _ := k.Home.Facts()
		if _, err := agekey.ParseRecipient(facts.Recipient); err == nil {
			where = keyIdentity
		}
	}
	return where, k.Keychains == nil || k.Now().Sub(f.Tried).Abs() <= again, nil
}
