package server_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"

	"envrun/vault/keyring"
	"envrun/vault/server"
	"envrun/vault/vaulttest/pgtest"
)

// Somebody who can write the database, and holds no key, puts back what was there
// before: all rows of a mount, all records of the server, or all that there is but the audit
// log. Nothing of it is quiet, also when the server was used since.
func TestVerifyPutBack(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		testVerifyPutBack(t, "sqlite", "sqlite", func(t *testing.T) string { return filepath.Join(t.TempDir(), "data.db") })
	})
	t.Run("postgres", func(t *testing.T) {
		if testing.Short() {
			t.Skip("starts PostgreSQL: not in short mode")
		}
		testVerifyPutBack(t, "postgres", "pgx", func(t *testing.T) string { return pgtest.Database(t) })
	})
}

func testVerifyPutBack(t *testing.T, driver, sqlDriver string, place func(*testing.T) string) {
	mount := []string{"kv_mounts", "kv_keys", "kv_versions"}
	for _, c := range []struct {
		what   string
		tables []string
		used   bool   // the server is used afterwards
		says   string // "": nothing is wrong
	}{
		{"nothing", nil, true, ""},
		{"the mount", mount, false, "prod: the mount was put back to an earlier state"},
		{"the mount, and it is written on", mount, true, "of the mount .* were put back to an earlier state"},
		{"the server's records", []string{"blobs"}, false, "the server's own records were put back"},
		{"the server's records, and they are written on", []string{"blobs"}, true, "the server's own records were put back"},
		{"all but the log", append([]string{"blobs"}, mount...), false, "put back"},
		{"one table of the mount", []string{"kv_versions"}, false, "prod: x: "},
		{"the log", []string{"audit", "audit_head"}, false, "audit log"},
	} {
		t.Run(c.what, func(t *testing.T) {
			address := place(t)
			id, err := age.GenerateX25519Identity()
			if err != nil {
				t.Fatal(err)
			}
			open := func() *world {
				t.Helper()
				db, err := openDatabase(t.Context(), driver, address)
				if err != nil {
					t.Fatal(err)
				}
				return worldOn(t, db)
			}
			w := open()
			set := server.Setup{Sealers: []keyring.AgeSealer{{Name: "ops", Recipient: id.Recipient().String()}}, Token: "root", Open: true, Environments: []string{"prod"}}
			if _, _, err := w.Init(t.Context(), set); err != nil {
				t.Fatal(err)
			}
			write := func(w *world, n int) {
				t.Helper()
				for i := range n {
					w.must(200, "root", "POST", "prod/data/x", fmt.Sprintf(`{"data":{"n":%d}}`, i))
					w.must(204, "root", "PUT", "sys/policies/acl/one", fmt.Sprintf(`{"policy":"# %d"}`, i))
				}
			}
			write(w, 3)
			past, err := sql.Open(sqlDriver, address)
			if err != nil {
				t.Fatal(err)
			}
			defer past.Close()
			was := copyTables(t, past, c.tables)
			write(w, 2)
			if err := w.KeepCheckpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.db.Close() // a server that runs has much of it in memory
			putBack(t, past, sqlDriver, was)

			w = open()
			if _, err := w.Unseal(t.Context(), []age.Identity{id}); err != nil {
				t.Fatal(err)
			}
			if c.used {
				write(w, 9)
			}
			v, err := w.Verify(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var all []string
			for _, f := range v.Findings {
				all = append(all, strings.TrimPrefix(string(f.Env)+": ", ": ")+f.Err.Error())
			}
			if c.says == "" {
				if len(all) > 0 {
					t.Errorf("%q", all)
				}
				return
			}
			if !slices.ContainsFunc(all, func(s string) bool { return matches(c.says, s) }) {
				t.Errorf("%q", all)
			}
		})
	}
}

// matches says whether the parts of a pattern that .* separates come one after the other.
func matches(pattern, s string) bool {
	for part := range strings.SplitSeq(pattern, ".*") {
		_, rest, ok := strings.Cut(s, part)
		if !ok {
			return false
		}
		s = rest
	}
	return true
}

// copyTables is every row of some tables.
func copyTables(t *testing.T, db *sql.DB, tables []string) map[string][][]any {
	t.Helper()
	all := map[string][][]any{}
	for _, table := range tables {
		rows, err := db.Query("SELECT * FROM " + table)
		if err != nil {
			t.Fatal(err)
		}
		columns, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		all[table] = [][]any{}
		for rows.Next() {
			row, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range row {
				into[i] = &row[i]
			}
			if err := rows.Scan(into...); err != nil {
				t.Fatal(err)
			}
			all[table] = append(all[table], row)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		rows.Close()
	}
	return all
}

func putBack(t *testing.T, db *sql.DB, driver string, was map[string][][]any) {
	t.Helper()
	for table, rows := range was {
		if _, err := db.Exec("DELETE FROM " + table); err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			marks := make([]string, len(row))
			for i := range marks {
				if marks[i] = "?"; driver == "pgx" {
					marks[i] = fmt.Sprint("$", i+1)
				}
			}
			if _, err := db.Exec(fmt.Sprintf("INSERT INTO %s VALUES (%s)", table, strings.Join(marks, ", ")), row...); err != nil {
				t.Fatal(err)
			}
		}
	}
}
