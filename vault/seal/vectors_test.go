package seal_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"envrun/vault"
	"envrun/vault/seal"
)

var update = flag.Bool("update", false, "write the vectors and sealed files of testdata anew")

// The formulas of filevault §3.5 once more, by other means than the package's.

func joined(parts ...string) []byte {
	var b bytes.Buffer
	for _, p := range parts {
		_ = binary.Write(&b, binary.BigEndian, uint32(len(p)))
		b.WriteString(p)
	}
	return b.Bytes()
}

func mac(key, input []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(input)
	return h.Sum(nil)
}

// expand is HKDF-Expand of RFC 5869 for up to 32 bytes: T(1) = HMAC(PRK, info ‖ 1).
func expand(key, info []byte, n int) []byte { return mac(key, append(bytes.Clone(info), 1))[:n] }

func gcmSeal(key, nonce, plain, context []byte) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead.Seal(bytes.Clone(nonce), nonce, plain, context)
}

func gcmOpen(key, sealed, context []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead.Open(nil, sealed[:12], sealed[12:], context)
}

func dekContext(b seal.Binding) []byte {
	return joined("envrun/v1/dek", b.Vault, string(b.Env), string(b.Path), strconv.FormatUint(b.Version, 10), strconv.FormatUint(uint64(b.Gen), 10))
}

func fieldContext(b seal.Binding, name string) []byte {
	return joined("envrun/v1/field", b.Vault, string(b.Env), string(b.Path), strconv.FormatUint(b.Version, 10), name)
}

func wrapByHand(key, dek, nonce []byte, b seal.Binding) []byte {
	return gcmSeal(expand(key, dekContext(b), 32), nonce, dek, dekContext(b))
}

func paddedByHand(value []byte) []byte {
	p := append(bytes.Clone(value), 0x80)
	for _, s := range sizes(4 << 20) {
		if len(p) <= s {
			return append(p, make([]byte, s-len(p))...)
		}
	}
	panic("too long")
}

// crockford is the base 32 of fingerprints and check codes.
func crockford(b []byte, letters int) string {
	s := base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding).EncodeToString(b)[:letters]
	var groups []string
	for ; s != ""; s = s[4:] {
		groups = append(groups, s[:4])
	}
	return strings.Join(groups, "-")
}

func secretValue(s string) vault.Value { return vault.NewValueString(s) }

// hexed is bytes that JSON shows as hexadecimal digits.
type hexed []byte

func (h hexed) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }
func (h *hexed) UnmarshalText(t []byte) (err error) {
	*h, err = hex.DecodeString(string(t))
	return err
}

type vector struct {
	Vault   string
	Env     string
	Path    string
	Version uint64
	Gen     uint32
	Field   string
	Member  string
	Key     hexed
	DEK     hexed
	Nonce   hexed
	Value   hexed
	Input   hexed

	Wrapped     hexed
	Sealed      hexed
	RecordMAC   hexed
	SealMAC     hexed
	GrantMAC    hexed
	GenMAC      hexed
	ChainKey    hexed
	ChainMAC    hexed
	Fingerprint hexed
	Shown       string
	KeyContext  hexed
	KeyBlob     hexed
	CheckCode   string
}

func (v vector) binding() seal.Binding {
	return seal.Binding{Vault: v.Vault, Env: vault.Env(v.Env), Path: vault.Path(v.Path), Version: v.Version, Gen: v.Gen}
}

// filled computes what follows from the inputs.
func (v vector) filled() vector {
	b := v.binding()
	v.Wrapped = wrapByHand(v.Key, v.DEK, v.Nonce, b)
	v.Sealed = gcmSeal(expand(v.DEK, []byte("envrun/v1/field"), 32), v.Nonce, paddedByHand(v.Value), fieldContext(b, v.Field))
	v.RecordMAC = mac(expand(v.DEK, []byte("envrun/v1/record-mac"), 32), v.Input)
	v.SealMAC = mac(expand(v.Key, []byte("envrun/v1/seal"), 32), v.Input)
	v.GrantMAC = mac(expand(v.Key, []byte("envrun/v1/grant"), 32), v.Input)
	v.GenMAC = mac(expand(v.Key, []byte("envrun/v1/gen"), 32), v.Input)
	v.ChainKey = expand(v.Key, []byte("envrun/v1/chain"), 32)
	v.ChainMAC = mac(v.ChainKey, v.Input)
	gen := strconv.FormatUint(uint64(v.Gen), 10)
	v.Fingerprint = expand(v.Key, joined("envrun/v1/fingerprint", v.Vault, v.Env, gen), 16)
	v.Shown = crockford(v.Fingerprint, 16)
	v.KeyContext = joined("envrun/v1/envkey", v.Vault, v.Env, gen, v.Member)
	sum := sha256.Sum256(v.KeyContext)
	v.KeyBlob = append(append([]byte("envrun-key v1"), sum[:]...), v.Key...)
	code := sha256.Sum256(joined("envrun/v1/request", string(v.Input)))
	v.CheckCode = crockford(code[:], 12)
	return v
}

func counted(n int, from byte) hexed {
	b := make(hexed, n)
	for i := range b {
		b[i] = from + byte(i)
	}
	return b
}

func inputs() []vector {
	return []vector{
		{
			Vault: "v_5f3c1d9a7b20e4c8", Env: "prod", Path: "billing/stripe", Version: 7, Gen: 3, Field: "STRIPE_KEY", Member: "alice@laptop",
			Key: counted(32, 0), DEK: counted(32, 32), Nonce: counted(12, 64), Value: hexed("sk_live_4eC39HqLyjWDarjtT1zdp7dc"), Input: hexed("envrun-secret v1\nvault v_5f3c1d9a7b20e4c8\n"),
		},
		{
			Vault: "v_0", Env: "a", Path: "b", Version: 1, Gen: 1, Field: "C", Member: "d",
			Key: counted(32, 255), DEK: counted(32, 128), Nonce: counted(12, 0), Value: hexed{}, Input: hexed{},
		},
		{
			Vault: "v_" + strings.Repeat("z", 62), Env: strings.Repeat("e", 64), Path: strings.Repeat("p/", 7) + strings.Repeat("q", 64), Version: 9223372036854775807, Gen: 2147483647,
			Field: strings.Repeat("F", 128), Member: strings.Repeat("m", 64),
			Key: hexed(bytes.Repeat([]byte{0xff}, 32)), DEK: hexed(make([]byte, 32)), Nonce: hexed(make([]byte, 12)), Value: counted(64, 0x60), Input: counted(200, 0),
		},
	}
}

// TestVectors holds the package to fixed bytes: to those in testdata, which
// must never change, and to the formulas, computed anew.
func TestVectors(t *testing.T) {
	file := filepath.Join("testdata", "vectors.json")
	if *update {
		var all []vector
		for _, v := range inputs() {
			all = append(all, v.filled())
		}
		raw, err := json.MarshalIndent(all, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(raw, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) != len(inputs()) {
		t.Fatalf("there are %d vectors", len(all))
	}
	for i, v := range all {
		want, _ := json.Marshal(inputs()[i].filled())
		if got, _ := json.Marshal(v); !bytes.Equal(got, want) {
			t.Errorf("vector %d is not what the formulas give:\n%s\n%s", i, got, want)
		}
		testVector(t, i, v)
	}
}

func testVector(t *testing.T, i int, v vector) {
	same := func(what string, got, want []byte) {
		t.Helper()
		if !bytes.Equal(got, want) {
			t.Errorf("vector %d: %s is %x, not %x", i, what, got, want)
		}
	}
	b := v.binding()
	key, err := seal.KeyOf(v.Key)
	if err != nil {
		t.Fatal(err)
	}
	same("key", key.Reveal(), v.Key)

	// What was sealed elsewhere opens here.
	dek, err := key.UnwrapDEK(b, v.Wrapped)
	if err != nil {
		t.Fatalf("vector %d: %v", i, err)
	}
	value, err := dek.OpenField(b, vault.FieldName(v.Field), v.Sealed)
	if err != nil {
		t.Fatalf("vector %d: %v", i, err)
	}
	same("value", value.Reveal(), v.Value)

	// What is sealed here opens elsewhere.
	wrapped, err := key.WrapDEK(b, dek)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := gcmOpen(expand(v.Key, dekContext(b), 32), wrapped, dekContext(b))
	if err != nil {
		t.Fatalf("vector %d: %v", i, err)
	}
	same("data key", plain, v.DEK)
	sealed, err := dek.SealField(b, vault.FieldName(v.Field), vault.NewValue(v.Value))
	if err != nil {
		t.Fatal(err)
	}
	plain, err = gcmOpen(expand(v.DEK, []byte("envrun/v1/field"), 32), sealed, fieldContext(b, v.Field))
	if err != nil {
		t.Fatalf("vector %d: %v", i, err)
	}
	same("padded value", plain, paddedByHand(v.Value))

	same("record MAC", dek.RecordMAC(v.Input), v.RecordMAC)
	same("seal MAC", key.MAC(seal.SealMAC, v.Input), v.SealMAC)
	same("grant MAC", key.MAC(seal.GrantMAC, v.Input), v.GrantMAC)
	same("gen MAC", key.MAC(seal.GenMAC, v.Input), v.GenMAC)
	same("chain key", key.ChainKey().Reveal(), v.ChainKey)
	same("chain MAC", key.ChainMAC(v.Input), v.ChainMAC)
	pinned, err := seal.ChainKeyOf(v.ChainKey)
	if err != nil {
		t.Fatal(err)
	}
	same("chain MAC from a pin", pinned.MAC(v.Input), v.ChainMAC)
	fp := key.Fingerprint(v.Vault, b.Env, v.Gen)
	same("fingerprint", fp[:], v.Fingerprint)
	if fp.String() != v.Shown {
		t.Errorf("vector %d: the fingerprint is shown as %s, not %s", i, fp, v.Shown)
	}
	if back, err := seal.ParseFingerprint(fp.Hex()); err != nil || back != fp {
		t.Errorf("vector %d: %s does not come back: %v", i, fp.Hex(), err)
	}
	context := seal.KeyContext(v.Vault, b.Env, v.Gen, v.Member)
	same("key context", context, v.KeyContext)
	blob, err := seal.KeyBlob(key, context)
	if err != nil || len(blob) != seal.KeyBlobSize {
		t.Fatal(len(blob), err)
	}
	same("key blob", blob, v.KeyBlob)
	back, err := seal.OpenKeyBlob(v.KeyBlob, context)
	if err != nil || !back.Equal(key) {
		t.Errorf("vector %d: the key blob does not open: %v", i, err)
	}
	if code := seal.CheckCode(v.Input); code != v.CheckCode {
		t.Errorf("vector %d: the check code is %s, not %s", i, code, v.CheckCode)
	}

	// And the MACs are accepted, each as what it is only.
	for _, c := range []struct {
		name string
		ok   func(input, mac []byte) bool
		mac  []byte
	}{
		{"record", dek.CheckRecordMAC, v.RecordMAC},
		{"seal", func(in, m []byte) bool { return key.CheckMAC(seal.SealMAC, in, m) }, v.SealMAC},
		{"grant", func(in, m []byte) bool { return key.CheckMAC(seal.GrantMAC, in, m) }, v.GrantMAC},
		{"gen", func(in, m []byte) bool { return key.CheckMAC(seal.GenMAC, in, m) }, v.GenMAC},
		{"chain", key.CheckChainMAC, v.ChainMAC},
		{"pinned chain", pinned.CheckMAC, v.ChainMAC},
	} {
		if !c.ok(v.Input, c.mac) {
			t.Errorf("vector %d: the %s MAC is refused", i, c.name)
		}
		for _, other := range [][]byte{v.RecordMAC, v.SealMAC, v.GrantMAC, v.GenMAC, v.ChainMAC, c.mac[:31], append(bytes.Clone(c.mac), 0), nil, {}} {
			if !bytes.Equal(other, c.mac) && c.ok(v.Input, other) {
				t.Errorf("vector %d: another MAC is taken as a %s MAC", i, c.name)
			}
		}
		if c.ok(append(bytes.Clone(v.Input), 0), c.mac) {
			t.Errorf("vector %d: the %s MAC is taken for other input", i, c.name)
		}
	}
}

func TestParseFingerprintRefuses(t *testing.T) {
	for _, s := range []string{"", "00", "7QMX-2K4D-9TRW-XB5N", "0123456789ABCDEF0123456789ABCDEF", "0123456789abcdef0123456789abcde", "0123456789abcdef0123456789abcdef0", "0123456789abcdef0123456789abcdeg"} {
		if _, err := seal.ParseFingerprint(s); vault.KindOf(err) != vault.KindInvalid {
			t.Errorf("%q: %v", s, err)
		}
	}
}
