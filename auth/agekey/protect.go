package agekey

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"envrun/auth/keychain"
)

// WorkFactor is what Protect uses: about two seconds for each guess.
const WorkFactor = 18

// UnlockFor is how long an unlocked identity stays in the kernel's keyring.
const UnlockFor = 8 * time.Hour

// isProtected reports whether a text is an age file, in armor or not, rather
// than an identity.
func isProtected(text string) bool {
	text = strings.TrimLeft(text, " \t\r\n")
	return strings.HasPrefix(text, armor.Header) || strings.HasPrefix(text, "age-encryption.org/")
}

// encrypt seals an identity text with a passphrase, in armor.
func encrypt(text string, passphrase []byte, workFactor int) ([]byte, error) {
	r, err := age.NewScryptRecipient(string(passphrase))
	if err != nil {
		return nil, err
	}
	r.SetWorkFactor(workFactor)
	var out bytes.Buffer
	a := armor.NewWriter(&out)
	w, err := age.Encrypt(a, r)
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(w, text); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if err := a.Close(); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// decrypt opens what encrypt or "age -p" made: ErrPassphrase if the
// passphrase is wrong, *ParseError if it is no such file.
func decrypt(sealed, passphrase []byte) (*Identity, error) {
	if len(passphrase) == 0 {
		return nil, ErrPassphrase
	}
	i, err := age.NewScryptIdentity(string(passphrase))
	if err != nil {
		return nil, err
	}
	var src io.Reader = bytes.NewReader(sealed)
	if !bytes.HasPrefix(sealed, []byte("age-encryption.org/")) {
		src = armor.NewReader(src)
	}
	r, err := age.Decrypt(src, i)
	if err != nil {
		var no *age.NoIdentityMatchError
		if errors.As(err, &no) && !sealedOtherwise(no) {
			return nil, ErrPassphrase
		}
		return nil, &ParseError{Reason: "is damaged, or not encrypted with a passphrase"}
	}
	text, err := io.ReadAll(io.LimitReader(r, MaxText+1))
	if err != nil {
		return nil, &ParseError{Reason: "is damaged"}
	}
	defer clear(text)
	id, err := Parse(string(text))
	var bad *ParseError
	switch {
	case errors.As(err, &bad):
		// The line is one inside, which nobody can look up.
		return nil, &ParseError{Reason: "holds no identity inside: " + bad.Reason}
	case errors.Is(err, ErrProtected):
		return nil, &ParseError{Reason: "is encrypted twice"}
	}
	return id, err
}

// sealedOtherwise reports whether a file was not sealed with a passphrase at all.
func sealedOtherwise(e *age.NoIdentityMatchError) bool {
	return len(e.StanzaTypes) != 1 || e.StanzaTypes[0] != "scrypt"
}

// unlock returns the identity in the protected text of file: from the kernel's
// keyring if it was unlocked before, else with the passphrase. want is the
// recipient it must have, "" if not known.
func (h *Home) unlock(ctx context.Context, file string, sealed []byte, want string) (*Identity, error) {
	cache := h.cache()
	name := cacheName(sealed)
	if cache != nil {
		if text, err := cache.Get(ctx, name); err == nil {
			id, err := Parse(string(text))
			clear(text)
			if err == nil && (want == "" || id.Recipient() == want) {
				return id, nil
			}
		}
	}
	if h.Passphrase == nil {
		return nil, &FileError{File: file, Err: ErrLocked}
	}
	passphrase, err := h.Passphrase(ctx, "Passphrase of "+file)
	if err != nil {
		return nil, fmt.Errorf("asking for the passphrase of %s: %w", file, err)
	}
	defer clear(passphrase)
	id, err := decrypt(sealed, passphrase)
	if err != nil {
		return nil, &FileError{File: file, Err: err}
	}
	h.remember(ctx, sealed, id)
	return id, nil
}

// remember keeps an unlocked identity in the kernel's keyring where there is
// one; where there is not, the passphrase is asked for each time.
func (h *Home) remember(ctx context.Context, sealed []byte, id *Identity) {
	if cache := h.cache(); cache != nil {
		_ = cache.SetFor(ctx, cacheName(sealed), []byte(id.Reveal()), h.unlockFor())
	}
}

func (h *Home) forget(ctx context.Context, sealed []byte) error {
	cache := h.cache()
	if cache == nil {
		return nil
	}
	var unavailable *keychain.UnavailableError
	if err := cache.Delete(ctx, cacheName(sealed)); err != nil && !errors.Is(err, keychain.ErrNotFound) && !errors.As(err, &unavailable) {
		return &StoreError{Store: keychain.Kernel, Key: cacheName(sealed), Op: "deleting", Err: err}
	}
	return nil
}

func (h *Home) cache() keychain.Expirer {
	if h.Keychains == nil || h.unlockFor() < 0 {
		return nil
	}
	k, err := h.Keychains.Open(keychain.Kernel)
	if err != nil {
		return nil
	}
	e, _ := k.(keychain.Expirer)
	return e
}

func (h *Home) unlockFor() time.Duration {
	if h.UnlockFor == 0 {
		return UnlockFor
	}
	return h.UnlockFor
}

// cacheName changes with each byte of the protected text, so that a cached
// identity is never taken for that of another file or an older passphrase.
func cacheName(sealed []byte) string {
	sum := sha256.Sum256(sealed)
	return "unlocked-" + hex.EncodeToString(sum[:16])
}
