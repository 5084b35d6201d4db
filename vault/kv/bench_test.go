package kv_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"envrun/vault"
	"envrun/vault/kv"
	"envrun/vault/postgres"
	"envrun/vault/sqlstore"
	"envrun/vault/vaulttest/pgtest"
)

var kib = `{"k":"` + strings.Repeat("v", 1024-8) + `"}`

// fill writes n secrets of 1 KiB.
func fill(b *bench, n int) {
	for from := 0; from < n; from += 1000 {
		b.write(func(tx *sqlstore.Tx) error {
			for i := from; i < min(from+1000, n); i++ {
				if _, err := b.m.Put(tx, fmt.Sprintf("app/%d/db", i), vault.NewValueString(kib), kv.Write{}); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

func onBoth(b *testing.B, run func(b *testing.B, newBench func(testing.TB) *bench)) {
	b.Run("sqlite", func(b *testing.B) { run(b, onSQLite) })
	b.Run("postgres", func(b *testing.B) { run(b, onPostgres) })
}

// Reading one of many takes as long as reading one of few.
func BenchmarkGet(b *testing.B) {
	onBoth(b, func(b *testing.B, newBench func(testing.TB) *bench) {
		for _, n := range []int{1_000, 100_000} {
			be := newBench(b)
			fill(be, n)
			b.Run(fmt.Sprint(n), func(b *testing.B) {
				for b.Loop() {
					if _, err := be.get(fmt.Sprintf("app/%d/db", rand.IntN(n)), 0); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(fmt.Sprint(n, "-32at once"), func(b *testing.B) {
				b.SetParallelism(16)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if _, err := be.get(fmt.Sprintf("app/%d/db", rand.IntN(n)), 0); err != nil {
							b.Error(err)
						}
					}
				})
			})
		}
	})
}

// Writers that wait for the disk together get more done.
func BenchmarkPut(b *testing.B) {
	test := func(b *testing.B, newBench func(testing.TB) *bench) {
		for _, writers := range []int{1, 32} {
			b.Run(fmt.Sprint(writers), func(b *testing.B) {
				be := newBench(b)
				fill(be, 1000)
				b.ResetTimer()
				work := make(chan struct{})
				var wg sync.WaitGroup
				for range writers {
					wg.Go(func() {
						for range work {
							err := be.db.Write(context.Background(), func(tx *sqlstore.Tx) error {
								_, err := be.m.Put(tx, fmt.Sprintf("app/%d/db", rand.IntN(1000)), vault.NewValueString(kib), kv.Write{})
								return err
							})
							if err != nil {
								b.Error(err)
							}
						}
					})
				}
				for range b.N {
					work <- struct{}{}
				}
				close(work)
				wg.Wait()
			})
		}
	}
	b.Run("sqlite", func(b *testing.B) { test(b, onSQLite) })
	b.Run("postgres", func(b *testing.B) {
		server := pgtest.Start(b, true) // the others do not wait for the disk
		test(b, func(t testing.TB) *bench {
			address := server.Database(t)
			db, err := postgres.Open(context.Background(), address)
			return benchOn(t, db, err, "pgx", address)
		})
	})
}

func BenchmarkList(b *testing.B) {
	onBoth(b, func(b *testing.B, newBench func(testing.TB) *bench) {
		be := newBench(b)
		fill(be, 20_000)
		for dir, limit := range map[string]int{"": 0, "app": 100, "app/777": 0} {
			b.Run("of "+dir, func(b *testing.B) {
				for b.Loop() {
					be.read(func(tx *sqlstore.Tx) error { _, err := be.m.List(tx, dir, "", limit); return err })
				}
			})
		}
	})
}
