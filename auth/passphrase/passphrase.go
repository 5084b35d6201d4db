// Package passphrase keeps a short secret under a passphrase: as an age file
// (scrypt, in armor), and, once it was opened, for some hours in the kernel's
// keyring where there is one.
//
// It refuses an empty passphrase, asks nobody, and writes no file.
package passphrase

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"envrun/auth/keychain"
)

// WorkFactor of scrypt: about two seconds for each guess.
const WorkFactor = 18

// KeepFor is how long what was opened stays in the kernel's keyring.
const KeepFor = 8 * time.Hour

var (
	// ErrWrong says that the passphrase is wrong.
	ErrWrong = errors.New("the passphrase is wrong")
	// ErrDamaged says that a text was not sealed with a passphrase, or not like this.
	ErrDamaged = errors.New("is damaged, or not encrypted with a passphrase")
)

const binaryHeader = "age-encryption.org/"

// Sealed reports whether a text is an age file, in armor or not.
func Sealed(text string) bool {
	text = strings.TrimLeft(text, " \t\r\n")
	return strings.HasPrefix(text, armor.Header) || strings.HasPrefix(text, binaryHeader)
}

// Seal seals a text, in armor. workFactor is WorkFactor if 0.
func Seal(text, passphrase []byte, workFactor int) ([]byte, error) {
	if workFactor == 0 {
		workFactor = WorkFactor
	}
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
	if _, err := w.Write(text); err != nil {
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

// Open opens what Seal or "age -p" made, and reads no more than limit bytes and one
// of it. ErrWrong if the passphrase is wrong, else ErrDamaged.
func Open(sealed, passphrase []byte, limit int64) ([]byte, error) {
	if len(passphrase) == 0 {
		return nil, ErrWrong
	}
	i, err := age.NewScryptIdentity(string(passphrase))
	if err != nil {
		return nil, err
	}
	var src io.Reader = bytes.NewReader(sealed)
	if !bytes.HasPrefix(sealed, []byte(binaryHeader)) {
		src = armor.NewReader(src)
	}
	r, err := age.Decrypt(src, i)
	if err != nil {
		var no *age.NoIdentityMatchError
		if errors.As(err, &no) && len(no.StanzaTypes) == 1 && no.StanzaTypes[0] == "scrypt" {
			return nil, ErrWrong
		}
		return nil, ErrDamaged
	}
	text, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		clear(text)
		return nil, ErrDamaged
	}
	return text, nil
}

// Opened is what was opened before, in the kernel's keyring. It is filed under a
// hash of the sealed text, so that it is never taken for that of another text
// or an older passphrase. Where there is no such keyring it holds nothing.
type Opened struct {
	Keychains keychain.Chooser // nil: nothing is kept
	For       time.Duration    // KeepFor if 0; nothing is kept if negative
}

// Get returns what was opened of a sealed text.
func (o Opened) Get(ctx context.Context, sealed []byte) ([]byte, bool) {
	k := o.ring()
	if k == nil {
		return nil, false
	}
	text, err := k.Get(ctx, Filed(sealed))
	return text, err == nil
}

// Keep keeps what was opened.
func (o Opened) Keep(ctx context.Context, sealed, text []byte) {
	if k := o.ring(); k != nil {
		d := o.For
		if d == 0 {
			d = KeepFor
		}
		_ = k.SetFor(ctx, Filed(sealed), text, d) // it is asked for again then
	}
}

// Forget removes it; that there is none is fine.
func (o Opened) Forget(ctx context.Context, sealed []byte) error {
	k := o.ring()
	if k == nil {
		return nil
	}
	err := k.Delete(ctx, Filed(sealed))
	var unavailable *keychain.UnavailableError
	if errors.Is(err, keychain.ErrNotFound) || errors.As(err, &unavailable) {
		return nil
	}
	return err
}

func (o Opened) ring() keychain.Expirer {
	if o.Keychains == nil || o.For < 0 {
		return nil
	}
	k, err := o.Keychains.Open(keychain.Kernel)
	if err != nil {
		return nil
	}
	e, _ := k.(keychain.Expirer)
	return e
}

// Filed is what the opened copy of a sealed text is filed under.
func Filed(sealed []byte) string {
	sum := sha256.Sum256(sealed)
	return "unlocked-" + hex.EncodeToString(sum[:16])
}
