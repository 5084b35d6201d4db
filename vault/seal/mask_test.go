package seal_test

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"filippo.io/age"

	"envrun/vault/seal"
)

// A key is not to be seen, however it is printed and wherever it is kept.
func TestKeysAreMasked(t *testing.T) {
	raw := bytes.Repeat([]byte{0xab}, seal.KeySize)
	key, err := seal.KeyOf(raw)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := seal.ChainKeyOf(raw)
	if err != nil {
		t.Fatal(err)
	}
	// A data key of known bytes: wrapped by hand, opened by the package.
	dek, err := key.UnwrapDEK(at, wrapByHand(raw, raw, make([]byte, 12), at))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dek.SealField(at, "F", secretValue("x")); err != nil { // so that what is derived is there
		t.Fatal(err)
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	sealer := seal.AgeSealer("age:alice", id.Recipient(), []age.Identity{id})

	type inside struct {
		K seal.Key
		k seal.Key
		d seal.DEK
		c seal.ChainKey
		p *seal.Key
		s []seal.Key
		m map[string]seal.DEK
	}
	in := inside{key, key, dek, chain, &key, []seal.Key{key}, map[string]seal.DEK{"x": dek}}
	for _, v := range []any{key, dek, chain, &key, &dek, &chain, []seal.Key{key}, in, &in, struct{ in inside }{in}, sealer, struct{ s seal.Sealer }{sealer}} {
		var out []string
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%o", "%b", "%c", "%U", "%e", "%t", "%p", "%T", "%z"} {
			out = append(out, fmt.Sprintf(verb, v))
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		j, _ := json.Marshal(v)
		out = append(out, log.String(), string(j), fmt.Sprint(v))
		for _, s := range out {
			for _, leak := range []string{"171 171", "abab", "ABAB", "ab ab", "0xab", "\xab\xab", "253 253", "10101011 10101011", id.String(), id.String()[20:40]} {
				if strings.Contains(s, leak) {
					t.Fatalf("%T is printed as %.200q", v, s)
				}
			}
		}
	}
	for _, v := range []any{key, dek, chain} {
		if s := fmt.Sprintf("%v %s %d %x", v, v, v, v); s != "[key] [key] [key] [key]" {
			t.Errorf("%T is printed as %q", v, s)
		}
		if _, err := json.Marshal(v); err == nil {
			t.Errorf("%T can be marshalled", v)
		}
		if _, err := v.(encoding.TextMarshaler).MarshalText(); err == nil {
			t.Errorf("%T can be marshalled as text", v)
		}
		if _, err := v.(encoding.BinaryMarshaler).MarshalBinary(); err == nil {
			t.Errorf("%T can be marshalled as bytes", v)
		}
		if v.(fmt.Stringer).String() != "[key]" || v.(fmt.GoStringer).GoString() != "[key]" {
			t.Errorf("%T does not name itself as a mask", v)
		}
	}
}
