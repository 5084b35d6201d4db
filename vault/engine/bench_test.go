package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/vaulttest"
)

// many is a sealed environment of n secrets of three fields: a short one, a
// URL, and every tenth a PEM key.
func many(b *testing.B, n int) (*vaulttest.Vault, []vault.Path) {
	b.Helper()
	v := vaulttest.New(b, dev)
	var changes []vault.Change
	var paths []vault.Path
	for i := range n {
		third := "0123456789abcdef"
		if i%10 == 0 {
			third = strings.Repeat("MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n", 26)
		}
		path := vault.Path(fmt.Sprintf("team-%d/service-%d", i%17, i))
		paths = append(paths, path)
		changes = append(changes, vault.Change{Path: path, Set: []vault.Field{
			set("API_KEY", fmt.Sprint("sk_live_", i)), set("DATABASE_URL", "postgres://app:pw@db.internal.example.com:5432/app"), set("PRIVATE_KEY", third),
		}})
	}
	write(b, v, dev, changes...)
	if _, err := v.WriteSeal(b.Context(), dev); err != nil {
		b.Fatal(err)
	}
	return v, paths
}

func BenchmarkGetMany(b *testing.B) {
	for _, n := range []int{3, 1000} {
		v, paths := many(b, 1000)
		b.Run(fmt.Sprintf("%d of 1000", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.GetMany(b.Context(), dev, paths[:n]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkGetAll(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		v, _ := many(b, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.GetAll(b.Context(), dev, ""); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	v, _ := many(b, 1000)
	for b.Loop() {
		for f := range v.Verify(b.Context(), dev) {
			if f.Err != nil {
				b.Fatal(f.Err)
			}
		}
	}
}

// BenchmarkRotate is a rotation without a disk.
func BenchmarkRotate(b *testing.B) {
	v, _ := many(b, 1000)
	b.ReportAllocs()
	for b.Loop() {
		if err := v.Rotate(b.Context(), dev, "", []engine.GrantTo{v.Person.Grant()}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkList(b *testing.B) {
	v, _ := many(b, 1000)
	for b.Loop() {
		for _, err := range v.List(b.Context(), dev, "") {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkApply(b *testing.B) {
	v, paths := many(b, 1000)
	for n := 0; b.Loop(); n++ {
		write(b, v, dev, vault.Change{Path: paths[n%1000], Was: vault.Any, Set: []vault.Field{set("API_KEY", fmt.Sprint(n))}})
	}
}

func BenchmarkWriteSeal(b *testing.B) {
	v, paths := many(b, 1000)
	for n := 0; b.Loop(); n++ {
		write(b, v, dev, vault.Change{Path: paths[0], Was: vault.Any, Set: []vault.Field{set("API_KEY", fmt.Sprint(n))}})
		if _, err := v.WriteSeal(b.Context(), dev); err != nil {
			b.Fatal(err)
		}
	}
}
