package lease_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"envrun/auth/token"
	"envrun/vault"
	"envrun/vault/keyring"
	"envrun/vault/lease"
	"envrun/vault/postgres"
	"envrun/vault/sqlite"
	"envrun/vault/sqlstore"
	"envrun/vault/vaulttest/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// logins is an issuer whose things are names that live until a time.
type logins struct {
	mu      sync.Mutex
	live    map[string]time.Time // by the lease's Data
	revoked int                  // how often it was asked
	fails   error
	during  func() // while it revokes
}

func (i *logins) Renew(_ context.Context, l lease.Lease, until time.Time) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.fails != nil {
		return i.fails
	}
	i.live[string(l.Data)] = until
	return nil
}

func (i *logins) Revoke(_ context.Context, l lease.Lease) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.revoked++
	if i.during != nil {
		i.during()
	}
	if i.fails != nil {
		return i.fails
	}
	delete(i.live, string(l.Data))
	return nil
}

type bench struct {
	*testing.T
	*lease.Leases
	db     *sqlstore.DB
	tokens *token.Tokens
	logins *logins
	now    time.Time

	driver, address string // for those who go past the store
}

func both(t *testing.T, test func(b *bench)) {
	t.Run("sqlite", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "data.db")
		db, err := sqlite.Open(t.Context(), file)
		test(newBench(t, db, err, "sqlite", file))
	})
	t.Run("postgres", func(t *testing.T) {
		address := pgtest.Database(t)
		db, err := postgres.Open(t.Context(), address)
		test(newBench(t, db, err, "pgx", address))
	})
}

func newBench(t *testing.T, db *sqlstore.DB, err error, driver, address string) *bench {
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	b := &bench{T: t, db: db, now: time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC), driver: driver, address: address}
	o := keyring.Options{Server: "s_0011223344556677", Now: b.now}
	for _, name := range []string{"one", "two"} {
		id, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		o.Age = append(o.Age, keyring.AgeSealer{Name: name, Recipient: id.Recipient().String()})
	}
	ring, rec, _, err := keyring.Make(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	b.write(func(tx *sqlstore.Tx) error {
		if err := rec.Create(tx); err != nil {
			return err
		}
		return ring.NewKey(tx, keyring.Sys, b.now)
	})
	if b.tokens, err = token.New(make([]byte, 32)); err != nil {
		t.Fatal(err)
	}
	b.tokens.Now = func() time.Time { return b.now }
	b.logins = &logins{live: map[string]time.Time{}}
	b.Leases = &lease.Leases{Ring: ring, Now: func() time.Time { return b.now }, Issuer: func(name string) lease.Issuer {
		if name != "logins" {
			return nil
		}
		return b.logins
	}}
	return b
}

func (b *bench) write(f func(*sqlstore.Tx) error) {
	b.Helper()
	if err := b.db.Write(b.Context(), f); err != nil {
		b.Fatal(err)
	}
}

// give makes a lease and then the login that it is for.
func (b *bench) give(path string, change func(*lease.Spec)) lease.Lease {
	b.Helper()
	spec := lease.Spec{Path: path, Issuer: "logins", TTL: time.Hour, Max: 4 * time.Hour, Renewable: true, Data: []byte(fmt.Sprint("user", len(b.logins.live)))}
	if change != nil {
		change(&spec)
	}
	var l lease.Lease
	b.write(func(tx *sqlstore.Tx) (err error) { l, err = b.Make(tx, spec); return err })
	b.logins.live[string(spec.Data)] = l.Expires
	return l
}

func (b *bench) get(id string) (l lease.Lease, err error) {
	b.Helper()
	if e := b.db.Read(b.Context(), func(tx *sqlstore.Tx) error { l, err = b.Get(tx, id); return nil }); e != nil {
		b.Fatal(e)
	}
	return l, err
}

func (b *bench) work() (tried int) {
	b.Helper()
	tried, err := lease.Work(b.Context(), b.Leases, b.db)
	if err != nil {
		b.Fatal(err)
	}
	return tried
}

func TestEnds(t *testing.T) {
	both(t, func(b *bench) {
		short := b.give("database/creds/ro", func(s *lease.Spec) { s.TTL = time.Minute })
		long := b.give("database/creds/ro", nil)
		if b.work() != 0 {
			b.Error("something was due at once")
		}
		b.now = b.now.Add(time.Minute)
		if b.work() != 1 || len(b.logins.live) != 1 {
			b.Errorf("after a minute these live: %v", b.logins.live)
		}
		if _, err := b.get(short.ID); !errors.Is(err, lease.ErrNotFound) {
			b.Errorf("the one that ended: %v", err)
		}
		if l, err := b.get(long.ID); err != nil || l.Ending || !l.Expires.Equal(long.Expires) {
			b.Errorf("the other: %+v %v", l, err)
		}
		b.write(func(tx *sqlstore.Tx) error {
			there, err := b.End(tx, long.ID)
			if !there {
				b.Error("nothing to end")
			}
			return err
		})
		if l, err := b.get(long.ID); err != nil || !l.Ending {
			b.Errorf("one that is to end: %+v %v", l, err)
		}
		if b.work() != 1 || len(b.logins.live) != 0 {
			b.Errorf("these live: %v", b.logins.live)
		}
	})
}

func TestRenew(t *testing.T) {
	both(t, func(b *bench) {
		l := b.give("database/creds/ro", nil)
		renew := func(increment time.Duration) (lease.Lease, []string, error) {
			l, err := b.get(l.ID)
			if err != nil {
				return l, nil, err
			}
			until, warnings, err := b.Until(l, increment)
			if err != nil {
				return l, warnings, err
			}
			if err := b.Prolong(b.Context(), l, until); err != nil {
				return l, warnings, err
			}
			err = b.db.Write(b.Context(), func(tx *sqlstore.Tx) error { l, err = b.Renewed(tx, l.ID, until); return err })
			return l, warnings, err
		}
		b.now = b.now.Add(30 * time.Minute)
		// From now on, not added to what is left; and not for longer than the maximum.
		if l, w, err := renew(0); err != nil || len(w) > 0 || !l.Expires.Equal(b.now.Add(time.Hour)) || !b.logins.live["user0"].Equal(l.Expires) {
			b.Errorf("renewed: %+v %v %v", l, w, err)
		}
		if l, _, err := renew(10 * time.Minute); err != nil || !l.Expires.Equal(b.now.Add(10*time.Minute)) {
			b.Errorf("for less: %+v %v", l, err)
		}
		if l, w, err := renew(10 * time.Hour); err != nil || !l.Expires.Equal(b.now.Add(210*time.Minute)) ||
			len(w) != 1 || w[0] != `TTL of "10h" exceeded the effective max_ttl of "3h30m"; TTL value is capped accordingly` {
			b.Errorf("for more: %+v %v %v", l, w, err)
		}
		b.logins.fails = errors.New("the database does not answer")
		if _, _, err := renew(time.Minute); err == nil {
			b.Error("what the issuer refused was renewed")
		}
		if l, err := b.get(l.ID); err != nil || !l.Expires.Equal(b.now.Add(210*time.Minute)) {
			b.Errorf("after that: %+v %v", l, err)
		}
		b.now = b.now.Add(211 * time.Minute)
		if _, _, err := renew(0); !errors.Is(err, lease.ErrExpired) {
			b.Errorf("after its end: %v", err)
		}
		once := b.give("x", func(s *lease.Spec) { s.Renewable = false })
		if _, _, err := b.Until(once, 0); !errors.Is(err, lease.ErrNotRenewable) {
			b.Errorf("one that is not renewable: %v", err)
		}
	})
}

// What an issuer cannot end is tried again, later and later; then it is stuck and
// shown, and no other lease waits for it.
func TestStuck(t *testing.T) {
	both(t, func(b *bench) {
		bad := b.give("database/creds/bad", nil)
		b.logins.fails = errors.New("must be owner of table orders")
		b.now = b.now.Add(time.Hour)
		var waits []time.Duration
		for range 6 {
			if b.work() != 1 {
				b.Fatal("it was not tried")
			}
			if b.work() != 0 {
				b.Fatal("it was tried twice")
			}
			l, err := b.get(bad.ID)
			if err != nil || l.Problem != "must be owner of table orders" {
				b.Fatalf("%+v %v", l, err)
			}
			waits = append(waits, l.Next.Sub(b.now))
			b.now = l.Next
		}
		if got := fmt.Sprint(waits); got != "[20s 40s 1m20s 2m40s 5m20s 24h0m0s]" {
			b.Errorf("it waited %s", got)
		}
		stuck := func() (ids []string) {
			b.write(func(tx *sqlstore.Tx) (err error) { ids, err = tx.LeasesStuck("", 10); return err })
			return ids
		}
		if got := stuck(); !slices.Equal(got, []string{bad.ID}) {
			b.Errorf("stuck are %v", got)
		}
		// One that will never work is not tried six times.
		never := b.give("database/creds/never", func(s *lease.Spec) { s.Issuer = "nobody" })
		b.write(func(tx *sqlstore.Tx) error { _, err := b.End(tx, never.ID); return err })
		b.work()
		if l, err := b.get(never.ID); err != nil || !l.Stuck || l.Tries != 1 {
			b.Errorf("without an issuer: %+v %v", l, err)
		}
		// The cause is mended.
		b.logins.fails = nil
		b.now = b.now.Add(24 * time.Hour)
		b.work()
		if _, err := b.get(bad.ID); !errors.Is(err, lease.ErrNotFound) {
			b.Errorf("mended: %v", err)
		}
		// The other goes by force alone.
		b.write(func(tx *sqlstore.Tx) error {
			n, err := b.Drop(tx, "database/creds/never")
			if n != 1 {
				b.Errorf("%d dropped", n)
			}
			return err
		})
		if got := stuck(); len(got) != 0 {
			b.Errorf("stuck are %v", got)
		}
	})
}

// The leases of a token end with it, however it ends, and no others.
func TestEndsWithItsToken(t *testing.T) {
	both(t, func(b *bench) {
		var parent, child token.Token
		b.write(func(tx *sqlstore.Tx) (err error) {
			if _, parent, _, err = b.tokens.Create(tx, token.Spec{Policies: []string{"p"}, TTL: time.Hour}); err != nil {
				return err
			}
			_, child, _, err = b.tokens.Create(tx, token.Spec{Policies: []string{"p"}, TTL: time.Hour, Parent: &parent})
			return err
		})
		of := b.give("database/creds/ro", func(s *lease.Spec) { s.Token, s.TTL = child.ID, 3*time.Hour })
		other := b.give("database/creds/ro", nil)
		b.write(func(tx *sqlstore.Tx) error { return b.tokens.Revoke(tx, parent.ID) })
		if l, err := b.get(of.ID); err != nil || !l.Ending {
			b.Errorf("%+v %v", l, err)
		}
		if b.work() != 1 {
			b.Error("not one was ended")
		}
		if _, err := b.get(of.ID); !errors.Is(err, lease.ErrNotFound) {
			b.Errorf("the child's: %v", err)
		}
		if _, err := b.get(other.ID); err != nil {
			b.Errorf("nobody's: %v", err)
		}
	})
}

func TestBelow(t *testing.T) {
	both(t, func(b *bench) {
		for i := range 150 {
			b.give("database/creds/ro", func(s *lease.Spec) { s.Data = []byte(fmt.Sprint("ro", i)) })
		}
		b.give("database/creds/rw", func(s *lease.Spec) { s.Data = []byte("rw") })
		b.give("aws/creds/x", func(s *lease.Spec) { s.Data = []byte("aws") })
		children := func(folder string) (names []string) {
			b.write(func(tx *sqlstore.Tx) (err error) { names, err = lease.Children(tx, folder, 1000); return err })
			return names
		}
		for folder, want := range map[string]string{"": "[aws/ database/]", "database/": "[creds/]", "database/creds/": "[ro/ rw/]", "nothing/": "[]"} {
			if got := fmt.Sprint(children(folder)); got != want {
				b.Errorf("below %q: %s, not %s", folder, got, want)
			}
		}
		if got := len(children("database/creds/ro/")); got != 150 {
			b.Errorf("%d of them", got)
		}
		b.write(func(tx *sqlstore.Tx) error {
			n, err := b.EndBelow(tx, "database/creds/ro/")
			if n != 150 {
				b.Errorf("%d end", n)
			}
			return err
		})
		if n := b.work(); n != 150 || len(b.logins.live) != 2 {
			b.Errorf("%d tried, %d live", n, len(b.logins.live))
		}
	})
}

// Of several servers one asks the issuer; what comes in meanwhile is not lost.
func TestOneTries(t *testing.T) {
	both(t, func(b *bench) {
		l := b.give("database/creds/ro", func(s *lease.Spec) { s.TTL = time.Second })
		b.now = b.now.Add(time.Second)
		b.logins.during = func() {
			if n, err := lease.Work(b.Context(), b.Leases, b.db); err != nil || n != 0 {
				b.Errorf("while one tries, another tries %d: %v", n, err)
			}
			b.write(func(tx *sqlstore.Tx) error {
				if _, err := b.Renewed(tx, l.ID, b.now.Add(time.Hour)); !errors.Is(err, lease.ErrExpired) {
					b.Errorf("renewed while it ends: %v", err)
				}
				return nil
			})
		}
		if b.work() != 1 || b.logins.revoked != 1 {
			b.Errorf("asked %d times", b.logins.revoked)
		}
	})
}

// A lease whose row or record was edited is refused, told, and keeps no other from
// its end.
func TestTampered(t *testing.T) {
	both(t, func(b *bench) {
		later := b.give("a", func(s *lease.Spec) { s.TTL = time.Minute })
		gone := b.give("b", func(s *lease.Spec) { s.TTL = time.Minute })
		good := b.give("c", func(s *lease.Spec) { s.TTL = time.Minute })
		lost := b.give("d", nil)
		verify := func() (n int, found []vault.Finding) {
			b.write(func(tx *sqlstore.Tx) (err error) { n, found, err = b.Verify(tx); return err })
			return n, found
		}
		if n, found := verify(); n != 4 || len(found) != 0 {
			b.Errorf("%d leases, %v", n, found)
		}
		b.sql(`DELETE FROM leases WHERE id = '` + lost.ID + `'`)
		b.sql(`UPDATE leases SET due = due + 3600000000000 WHERE id = '` + later.ID + `'`)
		b.sql(`DELETE FROM blobs WHERE kind = 'lease' AND name = '` + gone.ID + `'`)
		for _, id := range []string{later.ID, gone.ID} {
			if _, err := b.get(id); vault.KindOf(err) != vault.KindTampered {
				b.Errorf("%s: %v", id, err)
			}
		}
		if n, found := verify(); n != 3 || len(found) != 3 {
			b.Errorf("%d leases, %v", n, found)
		}
		b.now = b.now.Add(time.Minute)
		if _, err := lease.Work(b.Context(), b.Leases, b.db); vault.KindOf(err) != vault.KindTampered {
			b.Errorf("work: %v", err)
		}
		b.work() // what was wrong is put off
		if _, err := b.get(good.ID); !errors.Is(err, lease.ErrNotFound) {
			b.Errorf("the good one: %v", err)
		}
	})
}

func (b *bench) sql(statement string) {
	b.Helper()
	db, err := sql.Open(b.driver, strings.TrimPrefix(b.address, "sqlite:"))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	res, err := db.ExecContext(b.Context(), statement)
	if err != nil {
		b.Fatal(err)
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		b.Fatalf("%s: %d rows, %v", statement, n, err)
	}
}
