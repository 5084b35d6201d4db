package filevault_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"envrun/vault"
	"envrun/vault/filevault"
)

// large is a vault with n secrets of three fields each, sealed, on disk.
func large(b *testing.B, n int) filevault.Options {
	b.Helper()
	dir, err := os.MkdirTemp(diskDir, "filevault-bench-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	o := as(b, filepath.Join(dir, ".envrun", "vault"), "alice@laptop", identity(b))
	v, err := filevault.Init(b.Context(), filevault.InitOptions{Options: o, Envs: []vault.Env{"dev"}})
	if err != nil {
		b.Fatal(err)
	}
	changes := make([]vault.Change, n)
	for i := range changes {
		changes[i] = change(largePath(i), "API_KEY=sk_live_0123456789abcdef0123456789abcdef", "URL=postgres://user:password@db.example.dev:5432/app?sslmode=require", "NAME=short")
	}
	if _, err := v.Apply(b.Context(), "dev", changes); err != nil {
		b.Fatal(err)
	}
	if err := v.Seal(b.Context(), "dev"); err != nil {
		b.Fatal(err)
	}
	return o
}

func largePath(i int) vault.Path { return vault.Path(fmt.Sprintf("team%d/service%d", i%40, i)) }

// BenchmarkRun is what "envrun -- CMD" asks of a vault: open it, unwrap the key,
// read a few secrets.
func BenchmarkRun(b *testing.B) {
	for _, n := range []int{100, 1_000, 10_000} {
		b.Run(fmt.Sprintf("3 of %d", n), func(b *testing.B) {
			o := large(b, n)
			paths := []vault.Path{largePath(0), largePath(n / 2), largePath(n - 1)}
			for b.Loop() {
				if _, err := open(b, o).GetMany(b.Context(), "dev", paths); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkGetAll(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			o := large(b, n)
			for b.Loop() {
				all, err := open(b, o).GetAll(b.Context(), "dev", "")
				if err != nil || len(all) != n {
					b.Fatal(len(all), err)
				}
			}
		})
	}
}

func BenchmarkList(b *testing.B) {
	o := large(b, 1_000)
	for b.Loop() {
		n := 0
		for _, err := range open(b, o).List(b.Context(), "dev", "") {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 1_000 {
			b.Fatal(n)
		}
	}
}

func BenchmarkSetOne(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("of %d", n), func(b *testing.B) {
			v := open(b, large(b, n))
			for i := 0; b.Loop(); i++ {
				set(b, v, "dev", largePath(1), fmt.Sprintf("NAME=value %d", i))
			}
		})
	}
}

func BenchmarkImport(b *testing.B) {
	for _, n := range []int{50, 1_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			v := open(b, large(b, n))
			for i := 0; b.Loop(); i++ {
				changes := make([]vault.Change, n)
				for j := range changes {
					changes[j] = change(largePath(j), fmt.Sprintf("NAME=value %d", i))
				}
				if _, err := v.Apply(b.Context(), "dev", changes); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSeal(b *testing.B) {
	v := open(b, large(b, 1_000))
	for i := 0; b.Loop(); i++ {
		set(b, v, "dev", largePath(1), fmt.Sprintf("NAME=value %d", i))
		if err := v.Seal(b.Context(), "dev"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRotate(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			o := large(b, n)
			id, _ := o.Identity(b.Context())
			v := open(b, o)
			to := grant(b, "alice@laptop", id)
			for b.Loop() {
				rotate(b, v, "dev", to)
			}
		})
	}
}
