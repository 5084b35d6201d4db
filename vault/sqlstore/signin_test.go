package sqlstore_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"envrun/auth/token"
	"envrun/vault/sqlstore"
)

// Of many who use something at the same time one is the first, also when it is
// used on two servers.
func TestUseOnce(t *testing.T) {
	both(t, func(t *testing.T, open func() *sqlstore.DB) {
		db := open()
		until := time.Now().Add(time.Hour)
		var firsts atomic.Int64
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				var first bool
				err := db.Write(ctx, func(tx *sqlstore.Tx) (err error) {
					first, err = tx.UseOnce([]byte("token"), until)
					return err
				})
				if err != nil {
					t.Error(err)
				}
				if first {
					firsts.Add(1)
				}
			})
		}
		wg.Wait()
		if firsts.Load() != 1 {
			t.Errorf("%d were the first", firsts.Load())
		}
		err := db.Write(ctx, func(tx *sqlstore.Tx) error {
			for i := range 5 {
				if first, err := tx.UseOnce(fmt.Appendf(nil, "old%d", i), until.Add(-2*time.Hour)); err != nil || !first {
					t.Error(first, err)
				}
			}
			for _, want := range []int{3, 2, 0} {
				if n, err := tx.ForgetUsed(time.Now(), 3); n != want || err != nil {
					t.Errorf("%d forgotten, want %d (%v)", n, want, err)
				}
			}
			first, err := tx.UseOnce([]byte("token"), until)
			if first {
				t.Error("one that is kept was forgotten")
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestTokensOfMount(t *testing.T) {
	both(t, func(t *testing.T, open func() *sqlstore.DB) {
		db := open()
		err := db.Write(ctx, func(tx *sqlstore.Tx) error {
			for i := range byte(6) {
				r := token.Row{ID: token.ID{i + 1}, Accessor: fmt.Sprint(i), Body: []byte{i}}
				if i%2 == 0 {
					r.Mount = "m"
				}
				if err := tx.PutTokenRow(r); err != nil {
					return err
				}
				if back, _, err := tx.TokenRow(r.ID); err != nil || back.Mount != r.Mount {
					t.Errorf("%+v, %v", back, err)
				}
			}
			for limit, want := range map[int]int{2: 2, 10: 3} {
				if ids, err := tx.TokensOfMount("m", limit); len(ids) != want || err != nil {
					t.Errorf("%v, %v", ids, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}
