package audit_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"envrun/vault"
	"envrun/vault/audit"
	"envrun/vault/postgres"
	"envrun/vault/sqlite"
	"envrun/vault/sqlstore"
	"envrun/vault/vaulttest/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// A base is a log in a database, and whoever has the database in hands.
type base struct {
	t   testing.TB
	db  *sqlstore.DB
	raw *sql.DB

	postgres bool
}

func newBase(t testing.TB) *base {
	t.Helper()
	file := filepath.Join(t.TempDir(), "envrund.db")
	db, err := sqlite.Open(t.Context(), file)
	return baseOn(t, db, err, "sqlite", file+"?_pragma=busy_timeout(10000)")
}

func newPostgres(t testing.TB) *base {
	t.Helper()
	address := pgtest.Database(t)
	db, err := postgres.Open(t.Context(), address)
	return baseOn(t, db, err, "pgx", address)
}

func baseOn(t testing.TB, db *sqlstore.DB, err error, driver, address string) *base {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := sql.Open(driver, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		raw.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return &base{t, db, raw, driver == "pgx"}
}

func (b *base) read(f func(audit.Reader) error) error {
	return b.db.Read(context.Background(), func(tx *sqlstore.Tx) error { return f(tx) })
}

func (b *base) append(l *audit.Log, entries ...audit.Entry) error {
	lines := make([]audit.Line, len(entries))
	for i, e := range entries {
		lines[i] = e.Line()
	}
	return b.db.Write(context.Background(), func(tx *sqlstore.Tx) error {
		_, err := l.Append(tx, lines...)
		return err
	})
}

// grow appends entries from…to-1.
func (b *base) grow(l *audit.Log, from, to int) {
	b.t.Helper()
	for n := from; n < to; n++ {
		if err := b.append(l, entry(n)); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *base) check(l *audit.Log) error {
	return b.read(func(r audit.Reader) error { _, err := l.Check(r); return err })
}

func (b *base) checkpoint(l *audit.Log) []byte {
	b.t.Helper()
	note, err := l.Checkpoint(b.read)
	if err != nil {
		b.t.Fatal(err)
	}
	return note
}

func (b *base) keep(l *audit.Log) {
	b.t.Helper()
	note := b.checkpoint(l)
	if err := b.db.Write(b.t.Context(), func(tx *sqlstore.Tx) error { return l.KeepCheckpoint(tx, note) }); err != nil {
		b.t.Fatal(err)
	}
}

func (b *base) prove(was, size int64) (proof tlog.TreeProof, err error) {
	err = b.read(func(r audit.Reader) error { proof, err = audit.ProveGrowth(r, was, size); return err })
	return proof, err
}

func (b *base) export(l *audit.Log, from int64) (string, error) {
	var w bytes.Buffer
	note, err := l.Checkpoint(b.read)
	if err == nil {
		err = b.read(func(r audit.Reader) error { return l.Export(r, &w, from, note) })
	}
	return w.String(), err
}

// dialect is what differs in the statements of the tests.
var dialect = strings.NewReplacer(
	"zeroblob(length(edge))", "decode(repeat('00', length(edge)), 'hex')",
	"CAST(raw AS TEXT)", "convert_from(raw, 'UTF8')",
	"AS BLOB)", "AS BYTEA)", "CAST(replace(", "convert_to(replace(", "char(10)) AS BLOB)", "chr(10)), 'UTF8')",
	"char(10)", "chr(10)",
)

func (b *base) exec(queries ...string) {
	b.t.Helper()
	for _, q := range queries {
		if b.postgres {
			q = dialect.Replace(q)
		}
		if _, err := b.raw.Exec(q); err != nil {
			b.t.Fatalf("%s: %v", q, err)
		}
	}
}

// forge replaces a line, and its leaf as whoever knows the format would.
func (b *base) forge(idx int, old, new string) {
	b.t.Helper()
	var line string
	var hashes []byte
	if err := b.raw.QueryRow(fmt.Sprintf(`SELECT line, hashes FROM audit WHERE idx = %d`, idx)).Scan(&line, &hashes); err != nil {
		b.t.Fatal(err)
	}
	forged := strings.Replace(line, old, new, 1)
	if forged == line {
		b.t.Fatalf("%q is not in %s", old, line)
	}
	leaf := tlog.RecordHash([]byte(forged))
	copy(hashes, leaf[:])
	if _, err := b.raw.Exec(`UPDATE audit SET line = $1, hashes = $2 WHERE idx = $3`, forged, hashes, idx); err != nil {
		b.t.Fatal(err)
	}
}

// rebuild makes the whole log anew, without the key, out of other entries.
func (b *base) rebuild(entries []audit.Entry) {
	b.t.Helper()
	b.exec(`DELETE FROM audit`, `DELETE FROM audit_head`)
	l := audit.NewLog(nil, (&clock{t: start}).now)
	if err := b.append(l, entries...); err != nil {
		b.t.Fatal(err)
	}
}

func others(n, forged int) []audit.Entry {
	var all []audit.Entry
	for i := range n {
		e := entry(i)
		if i == forged {
			e.Auth.DisplayName = "eve"
		}
		all = append(all, e)
	}
	return all
}

// Each way in which somebody with the database changes history is noticed: by
// a full check; by the server that runs and by one that starts anew, as far as
// their last checkpoint reaches; and where all of that was changed too, by a
// client who has seen a checkpoint before.
func TestHistoryCannotBeChangedInSQL(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { testHistory(t, newBase) })
	t.Run("postgres", func(t *testing.T) {
		if testing.Short() {
			t.Skip("not in -short: a database for each way to change one")
		}
		testHistory(t, newPostgres)
	})
}

func testHistory(t *testing.T, newBase func(testing.TB) *base) {
	const seen, kept, signed, size = 20, 25, 28, 30
	for _, c := range []struct {
		name   string
		tamper func(*base)

		// What each of them says, "" if it is shown nothing that it could tell by.
		check, running, started, client string
	}{
		{"a line rewritten", func(b *base) { b.exec(`UPDATE audit SET line = replace(line, '"ann"', '"eve"') WHERE idx = 3`) },
			"entry 3 is not the one that was appended", "", "", ""},
		{"a line and its leaf rewritten", func(b *base) { b.forge(4, `"id-4"`, `"id-x"`) },
			"the nodes of entry 5 are not those", "", "", ""},
		{"a last line and its leaf rewritten", func(b *base) { b.forge(29, `"id-29"`, `"id-x"`) },
			"the nodes of entry 29 are not those", "", "", ""},
		{"a row dropped", func(b *base) { b.exec(`DELETE FROM audit WHERE idx = 7`) },
			"entry 7 is missing", "", "", ""},
		{"a row dropped and the others moved up", func(b *base) {
			b.exec(`DELETE FROM audit WHERE idx = 8`, `UPDATE audit SET idx = -idx WHERE idx > 8`, `UPDATE audit SET idx = -idx - 1 WHERE idx < 0`,
				`INSERT INTO audit (idx, at, line, hashes) SELECT 29, at, line, hashes FROM audit WHERE idx = 28`)
		}, "the nodes of entry 8 are not those", "is missing", "is missing", "no proof"},
		{"two rows exchanged", func(b *base) {
			b.exec(`UPDATE audit SET idx = -1 WHERE idx = 10`, `UPDATE audit SET idx = 10 WHERE idx = 12`, `UPDATE audit SET idx = 12 WHERE idx = -1`)
		}, "entry 11 was appended before the entry before it", "", "", ""},
		{"the lines of two rows exchanged", func(b *base) {
			b.exec(`CREATE TABLE x AS SELECT idx, line, hashes FROM audit WHERE idx IN (10, 12)`,
				`UPDATE audit SET line = (SELECT line FROM x WHERE x.idx = 22 - audit.idx), hashes = (SELECT hashes FROM x WHERE x.idx = 22 - audit.idx) WHERE idx IN (10, 12)`)
		}, "the nodes of entry 11 are not those", "", "", ""},
		{"the newest rows cut off", func(b *base) { b.exec(`DELETE FROM audit WHERE idx >= 15`) },
			"entry 15 is missing", "is missing", "is missing", "no proof"},
		{"a row behind the end", func(b *base) {
			b.exec(`INSERT INTO audit (idx, at, line, hashes) SELECT 30, at, line, hashes FROM audit WHERE idx = 29`)
		}, "entry 30 stands behind the end", "", "", ""},
		{"the end rewritten", func(b *base) { b.exec(`UPDATE audit_head SET edge = zeroblob(length(edge))`) },
			"its end is not that of its entries", "its first 28 entries are not those", "its first 25 entries are not those", "rewritten"},
		{"the end not of its form", func(b *base) { b.exec(`UPDATE audit_head SET size = 31`) },
			"the end of the log is not of its form", "the end of the log is not of its form", "the end of the log is not of its form", ""},
		{"put back to an older state", func(b *base) { b.rebuild(others(15, -1)) },
			"the newest were cut off", "it had 28 entries and has 15", "it had 25 entries and has 15", "it had 20 entries when it was last seen and has 15: the newest were cut off"},
		{"made anew with one other entry", func(b *base) { b.rebuild(others(size, 2)) },
			"its first 25 entries are not those that were signed", "its first 28 entries are not those", "its first 25 entries are not those", "rewritten"},
		{"made anew, longer", func(b *base) { b.rebuild(others(size+20, 2)) },
			"its first 25 entries are not those that were signed", "its first 28 entries are not those", "its first 25 entries are not those", "rewritten"},
		{"made anew, the kept checkpoint with it", func(b *base) {
			b.rebuild(others(size, 2))
			b.exec(`DELETE FROM blobs WHERE kind = 'audit'`)
		}, "", "its first 28 entries are not those", "", "rewritten"},
		{"cut, the kept checkpoint with it", func(b *base) {
			b.rebuild(others(10, -1))
			b.exec(`DELETE FROM blobs WHERE kind = 'audit'`)
		}, "", "it had 28 entries and has 10", "", "cut off"},
		{"forked just behind what was seen", func(b *base) {
			b.rebuild(others(size, seen))
			b.exec(`DELETE FROM blobs WHERE kind = 'audit'`)
		}, "", "its first 28 entries are not those", "", ""},
		{"the kept checkpoint forged", func(b *base) {
			b.exec(`UPDATE blobs SET raw = CAST(replace(CAST(raw AS TEXT), char(10)||'25'||char(10), char(10)||'26'||char(10)) AS BLOB) WHERE kind = 'audit'`)
		}, "its signature is not one of", "", "its signature is not one of", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBase(t)
			signer, key := newKey(t)
			newLog := func() *audit.Log { return audit.NewLog(signer, (&clock{t: start.Add(time.Hour)}).now) }
			l := newLog()
			memory := audit.Memory{Dir: filepath.Join(t.TempDir(), "audit")}
			b.grow(l, 0, seen)
			if _, err := memory.Meet("srv", key, b.checkpoint(l), start, b.prove); err != nil {
				t.Fatal(err)
			}
			b.grow(l, seen, kept)
			b.keep(l)
			b.grow(l, kept, signed)
			b.checkpoint(l)
			b.grow(l, signed, size)
			if err := b.check(l); err != nil {
				t.Fatalf("before: %v", err)
			}
			c.tamper(b)

			says := func(who, want string, err error) {
				t.Helper()
				switch {
				case want == "" && err != nil:
					t.Errorf("%s: %v, want nothing", who, err)
				case want != "" && (vault.KindOf(err) != vault.KindTampered || !strings.Contains(err.Error(), want)):
					t.Errorf("%s: %v, want %q", who, err, want)
				}
			}
			says("a full check", c.check, b.check(l))
			_, err := l.Checkpoint(b.read)
			says("the running server", c.running, err)
			_, err = newLog().Checkpoint(b.read)
			says("a server that starts", c.started, err)
			if strings.Contains(c.started, "not of its form") {
				return // there is nothing that could be signed
			}
			// Whoever has the server's key too signs what he likes.
			b.exec(`DELETE FROM blobs WHERE kind = 'audit'`)
			_, err = memory.Meet("srv", key, b.checkpoint(newLog()), start, b.prove)
			says("the client", c.client, err)
		})
	}
}
