package seal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"

	"envrun/vault"
)

// A Sealer wraps environment keys: for one member, for a cloud role, for a
// server. Its methods may be called by several goroutines.
type Sealer interface {
	// ID names the sealer: "age:alice@laptop", "awskms:arn…", "root:4".
	ID() string

	// Seal wraps key. The context, from KeyContext, is part of what is wrapped:
	// a blob opens only with the context it was made with. Sealing twice gives
	// two blobs, both good.
	Seal(ctx context.Context, key Key, context []byte) ([]byte, error)

	// Open unwraps what Seal made, of the same context. KindDenied if it was
	// made for somebody else, KindTampered if it was changed or made for
	// another context, KindUnavailable if what holds the identity (a plugin, a
	// service) does not do its part.
	Open(ctx context.Context, blob, context []byte) (Key, error)
}

// KeyContext is the context that an environment key is wrapped with for one
// member or sealer, "alice@laptop".
func KeyContext(vaultID string, env vault.Env, gen uint32, memberOrSealer string) []byte {
	return lp(nil).text(labelEnvKey).text(vaultID).text(string(env)).number(uint64(gen)).text(memberOrSealer)
}

// keyBlobMagic begins the plaintext that every Sealer wraps:
// magic ‖ SHA-256(context) ‖ K_env. The hash is inside because age, Azure's
// RSA wrapping and Shamir's shares have no associated data.
const keyBlobMagic = "envrun-key v1"

// KeyBlobSize is the size in bytes of a key blob.
const KeyBlobSize = len(keyBlobMagic) + sha256.Size + KeySize

// KeyBlob is the plaintext that a Sealer wraps. It holds the key: it goes
// nowhere but into the wrapping, and is cleared after.
func KeyBlob(key Key, context []byte) ([]byte, error) {
	if key.k == nil {
		return nil, errNoKey()
	}
	blob := make([]byte, 0, KeyBlobSize)
	blob = append(blob, keyBlobMagic...)
	sum := sha256.Sum256(context)
	blob = append(blob, sum[:]...)
	return append(blob, key.k()[:]...), nil
}

// OpenKeyBlob takes the key out of a blob that was made with the same
// context, else KindTampered. The Key is a copy: blob may be cleared.
func OpenKeyBlob(blob, context []byte) (Key, error) {
	if len(blob) != KeyBlobSize || string(blob[:len(keyBlobMagic)]) != keyBlobMagic {
		return Key{}, badBlob("what is wrapped is not an environment key", nil)
	}
	sum := sha256.Sum256(context)
	rest := blob[len(keyBlobMagic):]
	if subtle.ConstantTimeCompare(rest[:len(sum)], sum[:]) != 1 {
		return Key{}, badBlob("the key was wrapped for another vault, environment, generation or member", nil)
	}
	return KeyOf(rest[len(sum):])
}

// AgeSealer wraps for one age recipient, as armored text. to may be nil if it
// only opens, from may be empty if it only seals.
func AgeSealer(id string, to age.Recipient, from []age.Identity) Sealer {
	from = slices.Clone(from)
	return &ageSealer{id: id, to: to, from: func() []age.Identity { return from }}
}

type ageSealer struct {
	id   string
	to   age.Recipient
	from func() []age.Identity // hidden as the bytes of a Key are
}

func (s *ageSealer) ID() string { return s.id }

func (s *ageSealer) Seal(ctx context.Context, key Key, context []byte) ([]byte, error) {
	if s.to == nil {
		return nil, &vault.Error{Kind: vault.KindInvalid, Detail: s.id + " has no recipient to wrap a key for"}
	}
	blob, err := KeyBlob(key, context)
	if err != nil {
		return nil, err
	}
	defer clear(blob)
	to, ends := within(ctx, s.to)
	return waited(ctx, s.id, inMemory(to), ends, func() ([]byte, error) {
		var out bytes.Buffer
		a := armor.NewWriter(&out)
		w, err := age.Encrypt(a, to)
		if err != nil {
			return nil, &vault.Error{Kind: vault.KindUnavailable, Detail: "wrapping the key for " + s.id, Err: err}
		}
		if _, err := w.Write(blob); err != nil {
			return nil, fmt.Errorf("wrapping the key for %s: %w", s.id, err)
		}
		if err := w.Close(); err != nil {
			return nil, fmt.Errorf("wrapping the key for %s: %w", s.id, err)
		}
		if err := a.Close(); err != nil {
			return nil, fmt.Errorf("wrapping the key for %s: %w", s.id, err)
		}
		return out.Bytes(), nil
	})
}

// maxWrapped is more than any wrapped key has; a hybrid one has 1.7 KB.
const maxWrapped = 64 << 10

func (s *ageSealer) Open(ctx context.Context, blob, context []byte) (Key, error) {
	if len(s.from()) == 0 {
		return Key{}, &vault.Error{Kind: vault.KindDenied, Detail: s.id + " has no identity to open a key with"}
	}
	if len(blob) > maxWrapped {
		return Key{}, badBlob(fmt.Sprintf("the wrapped key has more than %d bytes", maxWrapped), nil)
	}
	from := slices.Clone(s.from())
	quick, ends := true, false
	for i := range from {
		quick = quick && inMemory(from[i])
		var e bool
		from[i], e = within(ctx, from[i])
		ends = ends || e
	}
	return waited(ctx, s.id, quick, ends, func() (Key, error) { return s.open(from, blob, context) })
}

func (s *ageSealer) open(from []age.Identity, blob, context []byte) (Key, error) {
	var outer error
	for i, id := range from {
		from[i] = watched{id, &outer}
	}
	r, err := age.Decrypt(armor.NewReader(bytes.NewReader(blob)), from...)
	var noMatch *age.NoIdentityMatchError
	switch {
	case err == nil:
	case outer != nil:
		return Key{}, &vault.Error{Kind: vault.KindUnavailable, Detail: "opening the key with the identity of " + s.id, Err: outer}
	case errors.As(err, &noMatch):
		return Key{}, &vault.Error{Kind: vault.KindDenied, Detail: "the key is not wrapped for the identity of " + s.id}
	default:
		return Key{}, badBlob("the wrapped key does not open", err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, int64(KeyBlobSize)+1)) // one more, so that a longer plaintext shows
	defer clear(plain)
	if err != nil {
		return Key{}, badBlob("the wrapped key does not open", err)
	}
	return OpenKeyBlob(plain, context)
}

// watched keeps apart an identity that could not try (a plugin that is
// missing, a token nobody touched) from a file that is wrong: age hands back
// both errors bare. Its own kinds of identity try in memory, so their errors
// are about the file.
type watched struct {
	age.Identity
	outer *error
}

func (w watched) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	key, err := w.Identity.Unwrap(stanzas)
	if err != nil && !errors.Is(err, age.ErrIncorrectIdentity) {
		if !inMemory(w.Identity) {
			*w.outer = err
		}
	}
	return key, err
}

// inMemory reports whether an identity or a recipient is one of age's own,
// which calculate and ask nobody.
func inMemory(party any) bool {
	switch party.(type) {
	case *age.X25519Identity, *age.HybridIdentity, *agessh.Ed25519Identity,
		*age.X25519Recipient, *age.HybridRecipient, *agessh.Ed25519Recipient:
		return true
	}
	return false
}

// within is party, an age.Identity or age.Recipient, with what it waits for
// ending with ctx, and whether it can: what a plugin stands for can.
func within[P any](ctx context.Context, party P) (P, bool) {
	if p, ok := any(party).(interface{ WithContext(context.Context) P }); ok {
		return p.WithContext(ctx), true
	}
	return party, false
}

// ending is how long something may take to end that ends with a context: longer
// than a plugin is given before it is killed.
const ending = 4 * time.Second

// waited runs f, which may wait for a plugin or a touch, and gives up on it
// when ctx ends. With quick it does not wait, and is run in place: a goroutine
// for it would begin with a small stack and copy it as it grows. With ends it
// ends with ctx, and is seen off, so that no plugin is left behind when we end.
func waited[T any](ctx context.Context, id string, quick, ends bool, f func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	if err := ctx.Err(); err != nil {
		var none T
		return none, err
	}
	if quick || ctx.Done() == nil {
		return f()
	}
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		if ends {
			select {
			case <-done:
			case <-time.After(ending):
			}
		}
		var none T
		return none, &vault.Error{Kind: vault.KindUnavailable, Detail: "waiting for the identity of " + id, Err: ctx.Err()}
	}
}

func badBlob(detail string, err error) error {
	return &vault.Error{Kind: vault.KindTampered, Detail: detail, Err: err}
}
