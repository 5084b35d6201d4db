package kv_test

import (
	"fmt"
	"reflect"
	"sync"
	"testing"

	"envrun/vault/kv"
	"envrun/vault/sqlstore"
)

// What is remembered is what the record says now, for readers beside a writer and
// for more paths than there is room for.
func TestMemo(t *testing.T) {
	both(t, func(t *testing.T, newBench func(testing.TB) *bench) {
		b := newBench(t)
		const paths = 40
		read := func(path string, want string) {
			for range 2 { // opened, and remembered
				b.read(func(tx *sqlstore.Tx) error {
					v, err := b.m.Get(tx, path, 0)
					if err != nil || string(v.Data.Reveal()) != want {
						t.Errorf("%s: %q, %v; want %s", path, v.Data.Reveal(), err, want)
					}
					return nil
				})
			}
		}
		for n := range 3 {
			for p := range paths {
				path, data := fmt.Sprint("p", p), fmt.Sprintf(`{"n":%d}`, n)
				b.mustPut(path, data)
				read(path, data)
			}
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for p := range paths {
					read(fmt.Sprint("p", p), `{"n":2}`)
				}
			})
		}
		wg.Wait()
		b.write(func(tx *sqlstore.Tx) error { return b.m.DeleteMeta(tx, "p1") })
		b.read(func(tx *sqlstore.Tx) error {
			if _, err := b.m.Get(tx, "p1", 0); err == nil {
				t.Error("a path that was removed is remembered")
			}
			return nil
		})
		// A mount that remembers nothing says the same.
		plain := kv.Open(server, "m1", b.ring, b.clock.now)
		b.read(func(tx *sqlstore.Tx) error {
			got, err := plain.Get(tx, "p2", 0)
			same, err2 := b.m.Get(tx, "p2", 0)
			if err != nil || err2 != nil || !reflect.DeepEqual(got.Info, same.Info) {
				t.Errorf("%v %v, %v %v", got.Info, err, same.Info, err2)
			}
			return nil
		})
	})
}

// BenchmarkMemo is a read of one secret, opened and remembered.
func BenchmarkMemo(b *testing.B) {
	w := onSQLite(b)
	w.mustPut("app", `{"KEY":"value"}`)
	for name, memo := range map[string]*kv.Memo{"opened": nil, "remembered": kv.NewMemo()} {
		m := kv.Open(server, "m1", w.ring, w.clock.now).Remember(memo)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				w.read(func(tx *sqlstore.Tx) error {
					_, err := m.Get(tx, "app", 0)
					return err
				})
			}
		})
	}
}
