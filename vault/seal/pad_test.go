package seal_test

import (
	"bytes"
	"fmt"
	"testing"

	"envrun/vault"
	"envrun/vault/seal"
)

// sizes are those that filevault §3.4 lists.
func sizes(most int) []int {
	all := []int{64, 128, 256, 512, 1024, 2048}
	for n := 4096; n <= most; n += 4096 {
		all = append(all, n)
	}
	return all
}

func TestPadEveryLength(t *testing.T) {
	all := sizes(5 * 4096)
	for n := range 4*4096 + 10 {
		value := bytes.Repeat([]byte{0x80}, n) // the mark itself is a value like any other
		padded := seal.Pad(value)
		want := 0
		for _, s := range all {
			if s >= n+1 {
				want = s
				break
			}
		}
		if len(padded) != want {
			t.Fatalf("%d bytes are padded to %d, not %d", n, len(padded), want)
		}
		got, ok := seal.Unpad(padded)
		if !ok || !bytes.Equal(got, value) {
			t.Fatalf("%d bytes do not come back", n)
		}
	}
}

// Values that look like padding come back too, through the encryption.
func TestFieldEveryLength(t *testing.T) {
	d := newDEK(t)
	for _, last := range []byte{0, 0x80, 'x'} {
		for _, n := range []int{0, 1, 2, 62, 63, 64, 65, 126, 127, 128, 255, 256, 1023, 1024, 4094, 4095, 4096, 8191, 8192, 64 << 10, vault.MaxValue} {
			value := bytes.Repeat([]byte{last}, n)
			sealed, err := d.SealField(at, "F", vault.NewValue(bytes.Clone(value)))
			if err != nil {
				t.Fatal(err)
			}
			if want := seal.Bucket(n) + 28; len(sealed) != want {
				t.Errorf("%d bytes are sealed to %d, not %d", n, len(sealed), want)
			}
			got, err := d.OpenField(at, "F", sealed)
			if err != nil || !bytes.Equal(got.Reveal(), value) {
				t.Errorf("%d bytes do not come back: %v", n, err)
			}
		}
	}
	_, err := d.SealField(at, "F", vault.NewValue(make([]byte, vault.MaxValue+1)))
	if vault.KindOf(err) != vault.KindInvalid {
		t.Errorf("a value that is too long: %v", err)
	}
}

func TestUnpadRefuses(t *testing.T) {
	good := seal.Pad([]byte("value"))
	edit := func(f func(p []byte) []byte) []byte { return f(bytes.Clone(good)) }
	for name, p := range map[string][]byte{
		"nothing":              {},
		"no mark":              make([]byte, 64),
		"mark alone":           {0x80},
		"another mark":         edit(func(p []byte) []byte { p[5] = 0x81; return p }),
		"something behind":     edit(func(p []byte) []byte { p[63] = 1; return p }),
		"a bucket too large":   append(edit(func(p []byte) []byte { return p }), make([]byte, 64)...),
		"no bucket":            append(edit(func(p []byte) []byte { return p }), 0),
		"a bucket too small":   edit(func(p []byte) []byte { return p[:32] }),
		"4096 where 64 does":   append([]byte{0x80}, make([]byte, 4095)...),
		"8192 where 4096 does": append(append(make([]byte, 4095), 0x80), make([]byte, 4096)...),
	} {
		if _, ok := seal.Unpad(p); ok {
			t.Errorf("%s: is taken", name)
		}
	}
}

func FuzzUnpad(f *testing.F) {
	for _, n := range []int{0, 1, 63, 64, 4095, 4096} {
		f.Add(seal.Pad(bytes.Repeat([]byte("x"), n)))
		f.Add(bytes.Repeat([]byte{0}, n))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		value, ok := seal.Unpad(bytes.Clone(p))
		if ok && !bytes.Equal(seal.Pad(value), p) {
			t.Errorf("%x is taken as %x, which is padded otherwise", p, value)
		}
		back, ok := seal.Unpad(seal.Pad(p))
		if !ok || !bytes.Equal(back, p) {
			t.Errorf("%x does not come back", p)
		}
	})
}

func ExampleKey_Fingerprint() {
	key, _ := seal.KeyOf(make([]byte, seal.KeySize))
	fmt.Println(key.Fingerprint("v_5f3c1d9a7b20e4c8", "prod", 3))
	// Output: BK0E-4DWA-SS98-3FCD
}
