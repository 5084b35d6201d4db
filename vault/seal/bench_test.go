package seal_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"filippo.io/age"

	"envrun/vault"
	"envrun/vault/seal"
)

var at = seal.Binding{Vault: "v_5f3c1d9a7b20e4c8", Env: "prod", Path: "billing/stripe", Version: 7, Gen: 3}

func newKey(t testing.TB) seal.Key {
	t.Helper()
	k, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newDEK(t testing.TB) seal.DEK {
	t.Helper()
	d, err := seal.NewDEK()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func BenchmarkUnwrapDEK(b *testing.B) {
	k := newKey(b)
	wrapped, err := k.WrapDEK(at, newDEK(b))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.UnwrapDEK(at, wrapped); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWrapDEK(b *testing.B) {
	k, d := newKey(b), newDEK(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.WrapDEK(at, d); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenField(b *testing.B) {
	for _, n := range []int{40, 1_700, 64 << 10} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			d := newDEK(b)
			sealed, err := d.SealField(at, "STRIPE_KEY", vault.NewValue(bytes.Repeat([]byte("x"), n)))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.OpenField(at, "STRIPE_KEY", sealed); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSealField(b *testing.B) {
	d := newDEK(b)
	v := vault.NewValueString("sk_live_0123456789abcdefghijklmnopqrstuv")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.SealField(at, "STRIPE_KEY", v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckRecordMAC(b *testing.B) {
	d := newDEK(b)
	input := bytes.Repeat([]byte("0123456789abcdef"), 45) // as long as a record of three fields
	mac := d.RecordMAC(input)
	b.ReportAllocs()
	for b.Loop() {
		if !d.CheckRecordMAC(input, mac) {
			b.Fatal("refused")
		}
	}
}

func BenchmarkCheckSealMAC(b *testing.B) {
	k := newKey(b)
	input := bytes.Repeat([]byte("0123456789abcdef"), 460<<10/16) // as long as a seal of ten thousand secrets
	mac := k.MAC(seal.SealMAC, input)
	b.SetBytes(int64(len(input)))
	b.ReportAllocs()
	for b.Loop() {
		if !k.CheckMAC(seal.SealMAC, input, mac) {
			b.Fatal("refused")
		}
	}
}

func BenchmarkAgeSealerOpen(b *testing.B) {
	x, err := age.GenerateX25519Identity()
	if err != nil {
		b.Fatal(err)
	}
	pq, err := age.GenerateHybridIdentity()
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name string
		to   age.Recipient
		from age.Identity
	}{{"x25519", x.Recipient(), x}, {"hybrid", pq.Recipient(), pq}} {
		b.Run(c.name, func(b *testing.B) {
			s := seal.AgeSealer("age:alice@laptop", c.to, []age.Identity{c.from})
			about := seal.KeyContext(at.Vault, at.Env, at.Gen, "alice@laptop")
			blob, err := s.Seal(context.Background(), newKey(b), about)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Open(context.Background(), blob, about); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
