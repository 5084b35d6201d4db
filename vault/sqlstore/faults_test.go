package sqlstore_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"envrun/vault"
	"envrun/vault/postgres"
	"envrun/vault/sqlstore"
	"envrun/vault/vaulttest/pgtest"
)

// The database is killed under writers and readers, and comes back.
func TestGoneAndBack(t *testing.T) {
	if testing.Short() {
		t.Skip("kills a PostgreSQL server: not in short mode")
	}
	s := pgtest.Start(t, true)
	db, err := postgres.Open(ctx, s.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var mu sync.Mutex
	var kept []string
	stop := make(chan struct{})
	var wg sync.WaitGroup
	failed := make(chan struct{}, 1000)
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				name := fmt.Sprintf("%d/%06d", w, i)
				switch err := db.Write(ctx, put(name)); {
				case err == nil:
					mu.Lock()
					kept = append(kept, name)
					mu.Unlock()
				case vault.KindOf(err) != vault.KindUnavailable:
					t.Errorf("writing: %v", err)
					return
				default:
					select {
					case failed <- struct{}{}:
					default:
					}
					time.Sleep(time.Millisecond)
				}
				err := db.ReadOne(ctx, func(tx *sqlstore.Tx) error { _, err := tx.Blob("test", name); return err })
				if k := vault.KindOf(err); err != nil && k != vault.KindUnavailable && k != vault.KindNotFound {
					t.Errorf("reading: %v", err)
					return
				}
			}
		})
	}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(kept) }
	more := func() {
		t.Helper()
		for had, end := count(), time.Now().Add(time.Minute); count() < had+20; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("no write gets through")
			}
		}
	}
	for range 2 {
		more()
		s.Kill()
		<-failed
		s.Restart(t)
		more()
	}
	close(stop)
	wg.Wait()
	there := names(t, db)
	for _, name := range kept {
		if _, ok := slices.BinarySearch(there, name); !ok {
			t.Errorf("%s was acknowledged, and is gone", name)
		}
	}
}
