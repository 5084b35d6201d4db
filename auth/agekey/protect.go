package agekey

import (
	"context"
	"errors"
	"fmt"

	"envrun/auth/keychain"
	"envrun/auth/passphrase"
)

// WorkFactor is what Protect uses: about two seconds for each guess.
const WorkFactor = passphrase.WorkFactor

// UnlockFor is how long an unlocked identity stays in the kernel's keyring.
const UnlockFor = passphrase.KeepFor

// isProtected reports whether a text is an age file rather than an identity.
func isProtected(text string) bool { return passphrase.Sealed(text) }

// decrypt opens what Protect or "age -p" made: ErrPassphrase if the
// passphrase is wrong, *ParseError if it is no such file.
func decrypt(sealed, words []byte) (*Identity, error) {
	text, err := passphrase.Open(sealed, words, MaxText)
	if errors.Is(err, passphrase.ErrDamaged) {
		return nil, &ParseError{Reason: err.Error()}
	}
	if err != nil {
		return nil, err
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

// unlock returns the identity in the protected text of file: from the kernel's
// keyring if it was unlocked before, else with the passphrase. want is the
// recipient it must have, "" if not known.
func (h *Home) unlock(ctx context.Context, file string, sealed []byte, want string) (*Identity, error) {
	if text, ok := h.opened().Get(ctx, sealed); ok {
		id, err := Parse(string(text))
		clear(text)
		if err == nil && (want == "" || id.Recipient() == want) {
			return id, nil
		}
	}
	if h.Passphrase == nil {
		return nil, &FileError{File: file, Err: ErrLocked}
	}
	words, err := h.Passphrase(ctx, "Passphrase of "+file)
	if err != nil {
		return nil, fmt.Errorf("asking for the passphrase of %s: %w", file, err)
	}
	defer clear(words)
	id, err := decrypt(sealed, words)
	if err != nil {
		return nil, &FileError{File: file, Err: err}
	}
	h.remember(ctx, sealed, id)
	return id, nil
}

// remember keeps an unlocked identity in the kernel's keyring where there is
// one; where there is not, the passphrase is asked for each time.
func (h *Home) remember(ctx context.Context, sealed []byte, id *Identity) {
	h.opened().Keep(ctx, sealed, []byte(id.Reveal()))
}

func (h *Home) forget(ctx context.Context, sealed []byte) error {
	if err := h.opened().Forget(ctx, sealed); err != nil {
		return &StoreError{Store: keychain.Kernel, Key: passphrase.Filed(sealed), Op: "deleting", Err: err}
	}
	return nil
}

func (h *Home) opened() passphrase.Opened {
	return passphrase.Opened{Keychains: h.Keychains, For: h.UnlockFor}
}
