package sqlstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"envrun/auth/approle"
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
		for id, want := range map[string]bool{"token": true, "another": false} {
			err := db.Read(ctx, func(tx *sqlstore.Tx) error {
				used, err := tx.Used([]byte(id))
				if used != want {
					t.Errorf("%s is used: %v", id, used)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
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

// Of many who bring a secret id that is good for one use, one is let in, also where
// two servers have one database.
func TestLastUse(t *testing.T) {
	secrets, err := approle.New(bytes.Repeat([]byte{7}, 32), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	both(t, func(t *testing.T, open func() *sqlstore.DB) {
		dbs := []*sqlstore.DB{open()}
		if strings.HasSuffix(t.Name(), "postgres") {
			dbs = append(dbs, open())
		}
		for _, uses := range []int{1, 7} {
			sec := approle.Secret{Accessor: fmt.Sprint(uses), Role: "r", Uses: uses, TTL: time.Hour}
			text := approle.Text()
			if err := dbs[0].Write(ctx, func(tx *sqlstore.Tx) error {
				_, err := secrets.Add(tx, text, &sec)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			var in, out atomic.Int64
			var wg sync.WaitGroup
			for i := range 40 {
				wg.Go(func() {
					err := dbs[i%len(dbs)].Write(ctx, func(tx *sqlstore.Tx) error {
						sec, err := secrets.Find(tx, "r", text)
						if err != nil {
							return err
						}
						return secrets.Use(tx, sec)
					})
					switch refused := (*approle.Refusal)(nil); {
					case err == nil:
						in.Add(1)
					case errors.As(err, &refused) && refused.Reason == approle.ReasonUnknown:
						out.Add(1)
					default:
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if in.Load() != int64(uses) || in.Load()+out.Load() != 40 {
				t.Errorf("good for %d: %d were let in, %d were not", uses, in.Load(), out.Load())
			}
		}
	})
}

// Secret ids come back as they were kept, are listed by their role and no other's, and
// go with it or when they have expired.
func TestSecretIDs(t *testing.T) {
	both(t, func(t *testing.T, open func() *sqlstore.DB) {
		now := time.Date(2026, 11, 23, 12, 0, 0, 123456789, time.UTC)
		rows := []approle.Row{
			{ID: approle.ID{1}, Role: "r", Accessor: "c", Body: []byte{0, 1}},
			{ID: approle.ID{2}, Role: "r", Accessor: "a", Expires: now, Body: []byte{2}},
			{ID: approle.ID{3}, Role: "r", Accessor: "b", Expires: now.Add(1), Body: []byte{3}},
			{ID: approle.ID{4}, Role: "other", Accessor: "d", Expires: now.Add(-time.Hour), Body: []byte{4}},
		}
		err := open().Write(ctx, func(tx *sqlstore.Tx) error {
			for _, r := range rows {
				if err := tx.PutSecretIDRow(r); err != nil {
					return err
				}
			}
			for _, r := range rows {
				byID, there, err := tx.SecretIDRow(r.ID)
				if err != nil || !there || !same(byID, r) {
					t.Errorf("%+v: %+v %t %v", r, byID, there, err)
				}
				byAccessor, there, err := tx.SecretIDRowByAccessor(r.Role, r.Accessor)
				if err != nil || !there || !same(byAccessor, r) {
					t.Errorf("%+v: %+v %t %v", r, byAccessor, there, err)
				}
				if _, there, err := tx.SecretIDRowByAccessor("nobody", r.Accessor); err != nil || there {
					t.Errorf("another role has the accessor %s: %v", r.Accessor, err)
				}
			}
			list := func(role string, want ...string) {
				t.Helper()
				if all, err := tx.SecretIDAccessors(role); err != nil || !slices.Equal(all, want) {
					t.Errorf("%s has %q, %v", role, all, err)
				}
			}
			list("r", "a", "b", "c")
			list("other", "d")
			list("nobody")
			if some, err := tx.SecretIDsExpired(now.Add(-2 * time.Hour)); err != nil || some {
				t.Errorf("some have expired: %v", err)
			}
			for _, want := range []int{1, 1, 0} { // those that expired at now, one at a time
				if n, err := tx.ForgetSecretIDs(now, 1); err != nil || n != want {
					t.Errorf("%d were forgotten, want %d (%v)", n, want, err)
				}
			}
			list("r", "b", "c")
			list("other")
			if some, err := tx.SecretIDsExpired(now); err != nil || some {
				t.Errorf("some are left that have expired: %v", err)
			}
			if err := tx.DeleteSecretIDRow(approle.ID{9}); err != nil {
				t.Errorf("one that is not there: %v", err)
			}
			if err := tx.DeleteSecretIDsOf("r"); err != nil {
				t.Error(err)
			}
			list("r")
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func same(a, b approle.Row) bool {
	return a.ID == b.ID && a.Role == b.Role && a.Accessor == b.Accessor && a.Expires.Equal(b.Expires) && bytes.Equal(a.Body, b.Body)
}
