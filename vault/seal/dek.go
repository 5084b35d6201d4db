package seal

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"sync"

	"envrun/vault"
)

// overhead is what sealing adds to a plaintext: the nonce in front and the tag behind.
const overhead = 12 + 16

// WrappedSize is the size in bytes of a wrapped data key.
const WrappedSize = KeySize + overhead

// A DEK is the data key of one version of a secret. Every version has a fresh
// one, which seals at most vault.MaxFields values, far from where random
// nonces could meet. The zero DEK is none.
//
// A DEK may be used by several goroutines.
type DEK struct{ d func() *dek }

type dek struct {
	secret [KeySize]byte

	// What fields are sealed with is made for the first of them: a rotation of
	// the environment key needs none.
	once sync.Once
	aead cipher.AEAD
}

// Equal reports in constant time whether both are the same key. The zero DEK equals none.
func (d DEK) Equal(o DEK) bool {
	return d.d != nil && o.d != nil && subtle.ConstantTimeCompare(d.d().secret[:], o.d().secret[:]) == 1
}

func (d *dek) field() cipher.AEAD {
	d.once.Do(func() { d.aead = gcm(derive(&d.secret, labelField, KeySize)) })
	return d.aead
}

// NewDEK makes a random data key.
func NewDEK() (DEK, error) {
	d := new(dek)
	if _, err := rand.Read(d.secret[:]); err != nil {
		return DEK{}, fmt.Errorf("making a data key: %w", err)
	}
	return DEK{hide(d)}, nil
}

// WrapDEK encrypts d for b under the environment key: WrappedSize bytes.
func (k Key) WrapDEK(b Binding, d DEK) ([]byte, error) {
	if k.k == nil || d.d == nil {
		return nil, errNoKey()
	}
	context := b.dekContext()
	w := gcm(derive(k.k(), string(context), KeySize))
	return w.Seal(make([]byte, 0, WrappedSize), nil, d.d().secret[:], context), nil
}

// UnwrapDEK opens what WrapDEK made for the same binding. KindTampered if it
// was made for another, under another key, or was changed.
func (k Key) UnwrapDEK(b Binding, wrapped []byte) (DEK, error) {
	if k.k == nil {
		return DEK{}, errNoKey()
	}
	if len(wrapped) != WrappedSize {
		return DEK{}, tampered(b, "", fmt.Sprintf("its wrapped key has %d bytes, not %d", len(wrapped), WrappedSize))
	}
	context := b.dekContext()
	w := gcm(derive(k.k(), string(context), KeySize))
	d := new(dek)
	if _, err := w.Open(d.secret[:0], nil, wrapped, context); err != nil {
		return DEK{}, tampered(b, "", fmt.Sprintf("its key does not open under generation %d as version %d of this path", b.Gen, b.Version))
	}
	return DEK{hide(d)}, nil
}

// SealField pads and encrypts one value. KindInvalid if it is longer than vault.MaxValue.
func (d DEK) SealField(b Binding, name vault.FieldName, v vault.Value) ([]byte, error) {
	if d.d == nil {
		return nil, errNoKey()
	}
	if v.Len() > vault.MaxValue {
		return nil, &vault.Error{Kind: vault.KindInvalid, Env: b.Env, Path: b.Path, Field: name,
			Detail: fmt.Sprintf("the value is longer than %d bytes", vault.MaxValue)}
	}
	context := b.fieldContext(name)
	padded := pad(v.Reveal())
	sealed := d.d().field().Seal(make([]byte, 0, len(padded)+overhead), nil, padded, context)
	clear(padded)
	return sealed, nil
}

// SealedLen is how many bytes SealField makes of a value of n bytes.
func SealedLen(n int) int { return bucket(n) + overhead }

// OpenField opens what SealField made for the same binding and name.
// KindTampered if it was made for another, under another key, or was changed.
func (d DEK) OpenField(b Binding, name vault.FieldName, sealed []byte) (vault.Value, error) {
	if d.d == nil {
		return vault.Value{}, errNoKey()
	}
	if len(sealed) < overhead {
		return vault.Value{}, tampered(b, name, "its value is cut off")
	}
	context := b.fieldContext(name)
	padded, err := d.d().field().Open(make([]byte, 0, len(sealed)-overhead), nil, sealed, context)
	if err != nil {
		return vault.Value{}, tampered(b, name, "its value does not open as this field of this version")
	}
	value, ok := unpad(padded)
	if !ok {
		clear(padded)
		return vault.Value{}, tampered(b, name, "its value is not padded as it must be")
	}
	return vault.NewValue(value), nil
}

// RecordMAC is the MAC of a record: input is every byte above its mac line.
// It panics on the zero DEK.
func (d DEK) RecordMAC(input []byte) []byte {
	return hmacSHA256(derive(&d.d().secret, labelRecordMAC, KeySize), input)
}

// CheckRecordMAC reports in constant time whether mac is the RecordMAC of input.
func (d DEK) CheckRecordMAC(input, mac []byte) bool {
	return d.d != nil && hmac.Equal(d.RecordMAC(input), mac)
}

func hmacSHA256(key, input []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(input)
	return h.Sum(nil)
}

func tampered(b Binding, name vault.FieldName, detail string) error {
	return &vault.Error{Kind: vault.KindTampered, Env: b.Env, Path: b.Path, Field: name, Detail: detail}
}

func (d DEK) String() string                 { return mask }
func (d DEK) GoString() string               { return mask }
func (d DEK) Format(s fmt.State, _ rune)     { _, _ = s.Write([]byte(mask)) }
func (d DEK) LogValue() slog.Value           { return slog.StringValue(mask) }
func (d DEK) MarshalText() ([]byte, error)   { return nil, errMarshal }
func (d DEK) MarshalJSON() ([]byte, error)   { return nil, errMarshal }
func (d DEK) MarshalBinary() ([]byte, error) { return nil, errMarshal }
