package seal

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"

	"envrun/vault"
)

// MACKind is what a MAC under an environment key is of.
type MACKind int

const (
	SealMAC MACKind = iota + 1
	GrantMAC
	GenMAC
	RingMAC
	SubjectMAC
)

func (kind MACKind) label() string {
	switch kind {
	case SealMAC:
		return labelSealMAC
	case GrantMAC:
		return labelGrantMAC
	case GenMAC:
		return labelGenMAC
	case RingMAC:
		return labelRingMAC
	case SubjectMAC:
		return labelSubject
	}
	panic(fmt.Sprintf("seal: no such kind of MAC: %d", int(kind)))
}

// MAC is the MAC of a seal, grant or gen file, where input is every byte above
// its mac line, or of a server's keyring, or what a SubjectKey is for. It panics
// on the zero Key.
func (k Key) MAC(kind MACKind, input []byte) []byte {
	return hmacSHA256(derive(k.k(), kind.label(), KeySize), input)
}

// CheckMAC reports in constant time whether mac is the MAC of input.
func (k Key) CheckMAC(kind MACKind, input, mac []byte) bool {
	return k.k != nil && hmac.Equal(k.MAC(kind, input), mac)
}

// ChainMAC says that a holder of k, the key of the former generation, made
// the gen file that input is of: every byte above its chain line. It panics on
// the zero Key.
func (k Key) ChainMAC(input []byte) []byte { return k.ChainKey().MAC(input) }

// CheckChainMAC reports in constant time whether mac is the ChainMAC of input.
func (k Key) CheckChainMAC(input, mac []byte) bool {
	return k.k != nil && k.ChainKey().CheckMAC(input, mac)
}

// A ChainKey is the part of an environment key that checks and makes the
// chain to the next generation, and opens nothing. A pin keeps it, so that a
// machine can check the next generation after its grant under this one is gone
// (filevault §3.9). It is a secret: who has it can make a next generation that
// pins accept. The zero ChainKey is none.
type ChainKey struct{ k func() *[KeySize]byte }

// ChainKey derives it from an environment key. It panics on the zero Key.
func (k Key) ChainKey() ChainKey {
	return ChainKey{hide((*[KeySize]byte)(derive(k.k(), labelChain, KeySize)))}
}

// ChainKeyOf makes a ChainKey of the KeySize bytes of a pin, which it copies.
func ChainKeyOf(b []byte) (ChainKey, error) {
	if len(b) != KeySize {
		return ChainKey{}, &vault.Error{Kind: vault.KindInvalid, Detail: fmt.Sprintf("a chain key has %d bytes, not %d", KeySize, len(b))}
	}
	return ChainKey{hide((*[KeySize]byte)(bytes.Clone(b)))}, nil
}

// MAC is the same as ChainMAC of the key it comes from.
func (c ChainKey) MAC(input []byte) []byte { return hmacSHA256(c.k()[:], input) }

// CheckMAC reports in constant time whether mac is the MAC of input.
func (c ChainKey) CheckMAC(input, mac []byte) bool {
	return c.k != nil && hmac.Equal(c.MAC(input), mac)
}

// Reveal returns the bytes, nil for the zero ChainKey. They must not be changed.
func (c ChainKey) Reveal() []byte {
	if c.k == nil {
		return nil
	}
	return c.k()[:]
}

// IsZero reports whether c is no key.
func (c ChainKey) IsZero() bool { return c.k == nil }

func (c ChainKey) String() string                 { return mask }
func (c ChainKey) GoString() string               { return mask }
func (c ChainKey) Format(s fmt.State, _ rune)     { _, _ = s.Write([]byte(mask)) }
func (c ChainKey) LogValue() slog.Value           { return slog.StringValue(mask) }
func (c ChainKey) MarshalText() ([]byte, error)   { return nil, errMarshal }
func (c ChainKey) MarshalJSON() ([]byte, error)   { return nil, errMarshal }
func (c ChainKey) MarshalBinary() ([]byte, error) { return nil, errMarshal }

// A Fingerprint names the key of one generation of an environment. It is no
// secret. People compare its first 80 bits, a pin keeps all 128.
type Fingerprint [16]byte

// Fingerprint of k as the key of one generation. It panics on the zero Key.
func (k Key) Fingerprint(vaultID string, env vault.Env, gen uint32) Fingerprint {
	info := lp(nil).text(labelFingerprint).text(vaultID).text(string(env)).number(uint64(gen))
	return Fingerprint(derive(k.k(), string(info), len(Fingerprint{})))
}

// String is the 80 bits that people compare and gen files show: "7QMX-2K4D-9TRW-XB5N".
func (f Fingerprint) String() string { return code(f[:10]) }

// Hex is all of it, for a pin.
func (f Fingerprint) Hex() string { return hex.EncodeToString(f[:]) }

// ParseFingerprint reads what Hex gives, in lower case.
func ParseFingerprint(s string) (Fingerprint, error) {
	var f Fingerprint
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(f) || hex.EncodeToString(b) != s {
		return f, &vault.Error{Kind: vault.KindInvalid, Detail: fmt.Sprintf("%q is not a fingerprint of %d hexadecimal digits", s, 2*len(f))}
	}
	return Fingerprint(b), nil
}

// CheckCode is the code that the one who asks for access and the one who
// decides compare over another channel: 60 bits of the request, all but its
// sig lines, as "4F2K-9XQM-7T1D". Fewer could be ground out by trying keys.
func CheckCode(request []byte) string {
	sum := sha256.Sum256(lp(nil).text(labelRequest).text(string(request)))
	return code(sum[:8])[:14]
}

// ValuePrint is a short name of a value, to tell in a diff whether it changed:
// 40 bits, "7QMX-2K4D". Without the key nothing can be tried against it, and
// one value has another print in every field. It panics on the zero Key.
func (k Key) ValuePrint(vaultID string, env vault.Env, path vault.Path, name vault.FieldName, v vault.Value) string {
	key := derive(k.k(), string(lp(nil).text(labelPrint).text(vaultID).text(string(env))), KeySize)
	in := lp(nil).text(string(path)).text(string(name)).text(string(v.Reveal()))
	defer clear(in)
	return code(hmacSHA256(key, in)[:5])
}

// code writes b, five bits a letter, in the alphabet of Crockford, which has
// no I, L, O and U, with a dash after every fourth letter. Bits that do not fill a letter are left out.
func code(b []byte) string {
	const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	var out []byte
	for bit := 0; bit+5 <= 8*len(b); bit += 5 {
		if bit > 0 && bit%20 == 0 {
			out = append(out, '-')
		}
		two := uint(b[bit/8]) << 8
		if bit/8+1 < len(b) {
			two |= uint(b[bit/8+1])
		}
		out = append(out, alphabet[two>>(11-bit%8)&31])
	}
	return string(out)
}
