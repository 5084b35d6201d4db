// Package seal is the cryptography of a vault, exactly as filevault §3.5 has
// it: environment keys, data keys, the padding and encryption of a field, the
// MACs, and the blob that an environment key is wrapped in. Bytes go in and
// bytes come out; what the bytes of a file are is package record's business.
//
//	W     = HKDF-Expand(K_env, LP("envrun/v1/dek", vault, env, path, version, gen))
//	key   = nonce ‖ AES-256-GCM(W, DEK, AAD = the same LP)
//	F     = HKDF-Expand(DEK, "envrun/v1/field")
//	field = nonce ‖ AES-256-GCM(F, pad(value), AAD = LP("envrun/v1/field", vault, env, path, version, name))
//
// LP writes each part as its length, four bytes big-endian, and its bytes;
// numbers are parts in decimal, as the files show them.
//
// It holds no algorithm of its own, only the standard library's and age's, and
// it refuses choices: there is one suite and nothing to negotiate. A key
// prints as a mask and cannot be marshalled. Whatever fails to
// open is KindTampered, and nothing of it is returned.
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"strconv"

	"envrun/vault"
)

// KeySize is the size in bytes of every key here.
const KeySize = 32

// A Binding is what a version of a secret is bound to: its wrapped data key to
// all of it, its fields to all but Gen, so that a rotation of the environment
// key wraps data keys anew and leaves values alone.
type Binding struct {
	Vault   string
	Env     vault.Env
	Path    vault.Path
	Version uint64
	Gen     uint32
}

// The parts that keep one use of a key from another (filevault §3.5).
const (
	labelDEK         = "envrun/v1/dek"
	labelField       = "envrun/v1/field"
	labelRecordMAC   = "envrun/v1/record-mac"
	labelSealMAC     = "envrun/v1/seal"
	labelGrantMAC    = "envrun/v1/grant"
	labelGenMAC      = "envrun/v1/gen"
	labelChain       = "envrun/v1/chain"
	labelFingerprint = "envrun/v1/fingerprint"
	labelEnvKey      = "envrun/v1/envkey"
	labelRequest     = "envrun/v1/request"
	labelPrint       = "envrun/v1/print"
)

// lp is the length-prefixed joining of parts, which no other list of parts gives.
type lp []byte

func (b lp) text(s string) lp {
	n := len(s)
	return append(append(b, byte(n>>24), byte(n>>16), byte(n>>8), byte(n)), s...)
}

func (b lp) number(n uint64) lp {
	var digits [20]byte
	d := strconv.AppendUint(digits[:0], n, 10)
	return append(append(b, 0, 0, 0, byte(len(d))), d...)
}

func (b Binding) dekContext() lp {
	return b.room(0).text(labelDEK).text(b.Vault).text(string(b.Env)).text(string(b.Path)).number(b.Version).number(uint64(b.Gen))
}

func (b Binding) fieldContext(name vault.FieldName) lp {
	return b.room(len(name)).text(labelField).text(b.Vault).text(string(b.Env)).text(string(b.Path)).number(b.Version).text(string(name))
}

// room has place for either context.
func (b Binding) room(more int) lp {
	return make(lp, 0, 6*4+len(labelField)+len(b.Vault)+len(b.Env)+len(b.Path)+2*20+more)
}

// derive is HKDF-Expand to one key. key is uniformly random, so there is nothing to extract.
func derive(key *[KeySize]byte, info string, size int) []byte {
	out, err := hkdf.Expand(sha256.New, key[:], info, size)
	if err != nil {
		panic("seal: " + err.Error()) // only for sizes that are not asked for here
	}
	return out
}

// gcm is AES-256-GCM that draws its nonce itself and puts it in front.
func gcm(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("seal: " + err.Error()) // only for other key sizes
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("seal: " + err.Error()) // only for other block sizes
	}
	return aead
}

// A Key is an environment key, K_env: one for each generation of an
// environment. The zero Key is none and opens nothing.
//
// The bytes stand behind a function for the reason that vault.Value says:
// fmt prints the fields of a field by reflection, but of a function only an address.
type Key struct{ k func() *[KeySize]byte }

func hide[T any](p *T) func() *T { return func() *T { return p } }

// NewKey makes a random environment key.
func NewKey() (Key, error) {
	k := new([KeySize]byte)
	if _, err := rand.Read(k[:]); err != nil {
		return Key{}, fmt.Errorf("making an environment key: %w", err)
	}
	return Key{hide(k)}, nil
}

// KeyOf makes a Key of the KeySize bytes b, which it copies. It is for Sealers
// that carry the bytes themselves; everything else has Keys from a Sealer.
func KeyOf(b []byte) (Key, error) {
	if len(b) != KeySize {
		return Key{}, &vault.Error{Kind: vault.KindInvalid, Detail: fmt.Sprintf("an environment key has %d bytes, not %d", KeySize, len(b))}
	}
	return Key{hide((*[KeySize]byte)(bytes.Clone(b)))}, nil
}

// Reveal returns the bytes of the key, nil for the zero Key. They must not be changed.
func (k Key) Reveal() []byte {
	if k.k == nil {
		return nil
	}
	return k.k()[:]
}

// IsZero reports whether k is no key.
func (k Key) IsZero() bool { return k.k == nil }

// Equal reports in constant time whether both are the same key. The zero Key equals none.
func (k Key) Equal(o Key) bool {
	return k.k != nil && o.k != nil && subtle.ConstantTimeCompare(k.k()[:], o.k()[:]) == 1
}

// mask is what a key shows of itself.
const mask = "[key]"

var errMarshal = &vault.Error{Kind: vault.KindInvalid, Detail: "a key cannot be marshalled"}

func (k Key) String() string                 { return mask }
func (k Key) GoString() string               { return mask }
func (k Key) Format(s fmt.State, _ rune)     { _, _ = s.Write([]byte(mask)) }
func (k Key) LogValue() slog.Value           { return slog.StringValue(mask) }
func (k Key) MarshalText() ([]byte, error)   { return nil, errMarshal }
func (k Key) MarshalJSON() ([]byte, error)   { return nil, errMarshal }
func (k Key) MarshalBinary() ([]byte, error) { return nil, errMarshal }

func errNoKey() error {
	return &vault.Error{Kind: vault.KindInvalid, Detail: "no key was given"}
}
