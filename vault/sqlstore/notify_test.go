package sqlstore_test

import (
	"database/sql"
	"slices"
	"strings"
	"testing"
	"time"

	"envrun/vault/postgres"
	"envrun/vault/sqlstore"
	"envrun/vault/vaulttest/pgtest"

	_ "github.com/jackc/pgx/v5/stdlib"
)

// A listening is what one listener heard.
type listening chan string

func listenTo(t *testing.T, db *sqlstore.DB) listening {
	heard := make(listening, 100)
	t.Cleanup(db.Listen(func(text string, missed bool) {
		if missed {
			text = "missed"
		}
		heard <- text
	}))
	return heard
}

// until waits for a text and returns what came before it.
func (l listening) until(t *testing.T, text string) (before []string) {
	t.Helper()
	for limit := time.After(time.Minute); ; {
		select {
		case s := <-l:
			if s == text {
				return before
			}
			before = append(before, s)
		case <-limit:
			t.Fatalf("%s was not heard, only %q", text, before)
		}
	}
}

func notify(t *testing.T, db *sqlstore.DB, texts ...string) {
	t.Helper()
	err := db.Write(ctx, func(tx *sqlstore.Tx) error {
		for _, s := range texts {
			if err := tx.Notify(s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestNotify(t *testing.T) {
	both(t, func(t *testing.T, open func() *sqlstore.DB) {
		db := open()
		defer db.Close()
		one, two := listenTo(t, db), listenTo(t, db)
		if strings.HasSuffix(t.Name(), "postgres") {
			one.until(t, "missed") // it listens only from then on
			two.until(t, "missed")
		}
		if err := db.Write(ctx, func(tx *sqlstore.Tx) error {
			if err := tx.Notify("undone"); err != nil {
				return err
			}
			return errOurs
		}); err != errOurs {
			t.Error(err)
		}
		long := strings.Repeat("x", 7<<10)
		notify(t, db, "a", "b '; $1", long)
		notify(t, db, "end")
		for _, l := range []listening{one, two} {
			if got := l.until(t, "end"); !slices.Equal(got, []string{"a", "b '; $1", long}) {
				t.Errorf("heard %q", got)
			}
		}
		stop := db.Listen(func(string, bool) { t.Error("called after stop") })
		stop()
		notify(t, db, "more")
		one.until(t, "more")
	})
}

// What one server tells, another hears; and a connection that broke is one that
// missed something.
func TestNotifyBetweenServers(t *testing.T) {
	address := pgtest.Database(t)
	open := func() *sqlstore.DB {
		db, err := postgres.Open(ctx, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return db
	}
	a, b := open(), open()
	heard := listenTo(t, a)
	heard.until(t, "missed")
	notify(t, b, "from b")
	heard.until(t, "from b")

	past, err := sql.Open("pgx", address)
	if err != nil {
		t.Fatal(err)
	}
	defer past.Close()
	if _, err := past.Exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database() AND pid <> pg_backend_pid()`); err != nil {
		t.Fatal(err)
	}
	heard.until(t, "missed")
	notify(t, b, "after it")
	if got := heard.until(t, "after it"); len(got) != 0 {
		t.Errorf("heard %q", got)
	}
}
