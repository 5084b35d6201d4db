package record_test

import (
	"fmt"
	"testing"
	"time"

	"envrun/vault"
	"envrun/vault/record"
)

// typical is a record as there are most of: three fields, a note, a former version.
func typical() *record.Record {
	r := &record.Record{
		Vault: "v_5f3c1d9a7b20e4c8", Env: "prod", Path: "billing/stripe", Version: 7,
		PrevVersion: 6, PrevHash: record.Hash(fill(16, 1)), By: "alice@laptop",
		At:     time.Date(2026, 2, 11, 9, 14, 3, 0, time.UTC),
		Rotate: "90d", Tags: []string{"payments", "pci"}, Note: "live keys, owner team-billing",
		MAC: fill(32, 2), Gen: 3, Key: fill(60, 3),
	}
	for i, name := range []vault.FieldName{"STRIPE_KEY", "STRIPE_URL", "STRIPE_WEBHOOK_SECRET"} {
		r.Fields = append(r.Fields, record.Field{Name: name, Since: uint64(3 + i), Sealed: fill(92+64*(i/2), byte(4+i))})
	}
	return r
}

// large is a seal of n secrets.
func large(n int) *record.Seal {
	s := &record.Seal{
		Vault: "v_5f3c1d9a7b20e4c8", Env: "prod", Gen: 3, Seq: 41, PrevSeq: 40, PrevHash: record.Hash(fill(16, 9)),
		By: "alice@laptop", At: time.Date(2026, 2, 11, 10, 2, 12, 0, time.UTC), MAC: fill(32, 8),
		Grants: []record.SealedGrant{{Member: "alice@laptop", Hash: record.ShortHash(fill(8, 1))}, {Member: "ci-github", Hash: record.ShortHash(fill(8, 2))}},
	}
	for i := range n {
		s.Entries = append(s.Entries, record.SealedEntry{
			Path: vault.Path(fmt.Sprintf("team-%03d/service-%05d", i/100, i)), Version: uint64(1 + i%9),
			Hash: record.Hash(fill(16, byte(i))), Deleted: i%50 == 0,
		})
	}
	return s
}

// fill is n bytes that differ.
func fill(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = seed*31 + byte(i)*7
	}
	return b
}

func BenchmarkParseRecord(b *testing.B) {
	raw := typical().Marshal()
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := record.ParseRecord(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseHeader(b *testing.B) {
	raw := typical().Marshal()
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := record.ParseHeader(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMarshalRecord(b *testing.B) {
	r := typical()
	b.ReportAllocs()
	for b.Loop() {
		r.Marshal()
	}
}

func BenchmarkAboveMAC(b *testing.B) {
	raw := typical().Marshal()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := record.AboveMAC(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBodyHash(b *testing.B) {
	raw := typical().Marshal()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := record.BodyHash(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseSeal(b *testing.B) {
	for _, n := range []int{100, 1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			raw := large(n).Marshal()
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := record.ParseSeal(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMarshalSeal(b *testing.B) {
	s := large(10_000)
	b.ReportAllocs()
	for b.Loop() {
		s.Marshal()
	}
}

func BenchmarkSplitSeal(b *testing.B) {
	raw := large(10_000).Marshal()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := record.SplitSeal(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSealLookup(b *testing.B) {
	s := large(10_000)
	v, err := record.SplitSeal(s.Marshal())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		e := s.Entries[n%len(s.Entries)]
		n += 997
		if got, ok, err := v.Lookup(e.Path); err != nil || !ok || got != e {
			b.Fatal(got, ok, err)
		}
	}
}

func BenchmarkLookupSeal(b *testing.B) {
	raw := large(10_000).Marshal()
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := record.LookupSeal(raw, "team-050/service-05000"); err != nil || !ok {
			b.Fatal(ok, err)
		}
	}
}
