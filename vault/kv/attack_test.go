package kv_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"envrun/vault"
	"envrun/vault/kv"
	"envrun/vault/sqlstore"
)

// Someone who can write the tables, and holds no key, changes each column in
// each way there is: by another value, by that of another row, by one from a
// time before. A read answers with what was written there, or refuses; and
// Verify finds what a read cannot see.
func TestEditedRows(t *testing.T) { both(t, testEditedRows) }

func testEditedRows(t *testing.T, newBench func(testing.TB) *bench) {
	b := newBench(t)
	other := b.mount("m2")
	for _, path := range []string{"a", "b", "c"} {
		for i := range 3 {
			b.mustPut(path, fmt.Sprintf(`{"of":"%s %d"}`, path, i+1))
		}
	}
	b.write(func(tx *sqlstore.Tx) error {
		for i := range 3 {
			if _, err := other.Put(tx, "a", vault.NewValueString(fmt.Sprintf(`{"of":"the other mount %d"}`, i+1)), kv.Write{}); err != nil {
				return err
			}
		}
		return nil
	})
	b.write(func(tx *sqlstore.Tx) error { return b.m.Destroy(tx, "b", []int64{2}, kv.Actor{}) })
	b.clean()
	db, err := sql.Open(b.driver, b.address)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()

	keep := func() (rows [][]any) { return dump(t, db) }
	was := keep()

	blob := "x'00112233'"
	if b.driver == "pgx" {
		blob = `'\x00112233'`
	}
	flipped := func(column string) string { // its last byte replaced
		if b.driver == "pgx" {
			return fmt.Sprintf(`set_byte(%[1]s, length(%[1]s) - 1, (get_byte(%[1]s, length(%[1]s) - 1) + 1) %% 256)`, column)
		}
		return fmt.Sprintf(`CAST(substr(%[1]s, 1, length(%[1]s) - 1) AS BLOB) || CASE WHEN substr(%[1]s, -1) = x'00' THEN x'01' ELSE x'00' END`, column)
	}
	of := func(column, table, where string) string {
		return fmt.Sprintf("(SELECT %s FROM %s WHERE %s)", column, table, where)
	}
	key := "mount = 'm1' AND path = 'a'"
	version := key + " AND version = 3"
	attacks := []string{
		// What a path is known by.
		"UPDATE kv_keys SET meta = " + blob + " WHERE " + key,
		"UPDATE kv_keys SET meta = " + flipped("meta") + " WHERE " + key,
		"UPDATE kv_keys SET meta = " + of("meta", "kv_keys", "mount = 'm1' AND path = 'b'") + " WHERE " + key,
		"UPDATE kv_keys SET meta = " + of("meta", "kv_keys", "mount = 'm2' AND path = 'a'") + " WHERE " + key,
		"UPDATE kv_keys SET meta = " + of("head", "kv_mounts", "mount = 'm1'") + " WHERE " + key,
		"UPDATE kv_keys SET current = 2 WHERE " + key,
		"UPDATE kv_keys SET current = 4 WHERE " + key,
		"UPDATE kv_keys SET current = 0 WHERE " + key,
		"UPDATE kv_keys SET gen = 2 WHERE " + key,
		"UPDATE kv_keys SET gen = 0 WHERE " + key,
		"UPDATE kv_keys SET path = 'z' WHERE " + key,
		"UPDATE kv_keys SET mount = 'm3' WHERE " + key,
		"DELETE FROM kv_keys WHERE mount = 'm1' AND path = 'b'; UPDATE kv_keys SET path = 'b' WHERE " + key,
		"DELETE FROM kv_keys WHERE mount = 'm2' AND path = 'a'; UPDATE kv_keys SET mount = 'm2' WHERE " + key,
		"DELETE FROM kv_keys WHERE " + key,
		"DELETE FROM kv_keys WHERE mount = 'm1'",
		// A version.
		"UPDATE kv_versions SET data = " + blob + " WHERE " + version,
		"UPDATE kv_versions SET data = " + flipped("data") + " WHERE " + version,
		"UPDATE kv_versions SET key = " + blob + " WHERE " + version,
		"UPDATE kv_versions SET key = " + flipped("key") + " WHERE " + version,
		"UPDATE kv_versions SET gen = 2 WHERE " + version,
		"UPDATE kv_versions SET gen = 0 WHERE " + version,
		"UPDATE kv_versions SET version = 9 WHERE " + version,
		"UPDATE kv_versions SET path = 'z' WHERE " + version,
		"UPDATE kv_versions SET mount = 'm3' WHERE " + version,
		"DELETE FROM kv_versions WHERE " + version,
		"DELETE FROM kv_versions WHERE mount = 'm1' AND path = 'a' AND version = 1",
		"DELETE FROM kv_versions WHERE " + version + "; UPDATE kv_versions SET version = 3 WHERE mount = 'm1' AND path = 'a' AND version = 2",
		"DELETE FROM kv_versions WHERE " + version + "; UPDATE kv_versions SET path = 'a' WHERE mount = 'm1' AND path = 'b' AND version = 3",
		"DELETE FROM kv_versions WHERE " + version + "; UPDATE kv_versions SET mount = 'm1' WHERE mount = 'm2' AND path = 'a' AND version = 3",
		"INSERT INTO kv_versions SELECT mount, path, 2, gen, key, data FROM kv_versions WHERE mount = 'm1' AND path = 'b' AND version = 3",
		"INSERT INTO kv_versions SELECT mount, 'nowhere', version, gen, key, data FROM kv_versions WHERE " + version,
		// The head.
		"UPDATE kv_mounts SET head = " + blob + " WHERE mount = 'm1'",
		"UPDATE kv_mounts SET head = " + flipped("head") + " WHERE mount = 'm1'",
		"UPDATE kv_mounts SET head = " + of("head", "kv_mounts", "mount = 'm2'") + " WHERE mount = 'm1'",
		"UPDATE kv_mounts SET gen = 2 WHERE mount = 'm1'",
		"DELETE FROM kv_mounts WHERE mount = 'm1'",
		// Its key.
		"UPDATE blobs SET raw = " + of("raw", "blobs", "kind = 'key' AND name = 'm2'") + " WHERE kind = 'key' AND name = 'm1'",
		"UPDATE blobs SET raw = " + flipped("raw") + " WHERE kind = 'key' AND name = 'm1'",
		"DELETE FROM blobs WHERE kind = 'key' AND name = 'm1'",
	}
	for _, attack := range attacks {
		for statement := range strings.SplitSeq(attack, ";") {
			if _, err := db.Exec(statement); err != nil {
				t.Fatal(attack, err)
			}
		}
		if slices.EqualFunc(was, keep(), func(a, b []any) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) {
			t.Errorf("%s changed nothing", attack)
		}
		b.forget() // a server that has just started
		for _, path := range []string{"a", "b", "c", "z", "nowhere"} {
			for n := range int64(5) {
				want := fmt.Sprintf(`{"of":"%s %d"}`, path, n)
				if n == 0 {
					want = fmt.Sprintf(`{"of":"%s 3"}`, path)
				}
				have := b.shows(path, n)
				switch {
				case have == want && path < "d":
				case have == "not found" || have == vault.KindTampered.String():
				case have == "destroyed" && path == "b" && n == 2:
				default:
					t.Errorf("%s: version %d of %s reads %s", attack, n, path, have)
				}
			}
		}
		var findings int
		for _, m := range []string{"m1", "m2"} {
			mount := kv.Open(server, m, b.ring, b.clock.now).Remember(b.memo)
			b.read(func(tx *sqlstore.Tx) error {
				f, err := mount.Verify(tx, kv.Head{})
				findings += len(f)
				return err
			})
		}
		if findings == 0 {
			t.Errorf("%s: not found by Verify", attack)
		}
		restore(t, db, b.driver, was)
	}
	b.forget()
	b.clean()
}

// One path, or the whole mount, is put back to how it was before.
func TestRolledBack(t *testing.T) { both(t, testRolledBack) }

func testRolledBack(t *testing.T, newBench func(testing.TB) *bench) {
	b := newBench(t)
	b.mustPut("a", `{"password":"old"}`)
	b.mustPut("gone", `{}`)
	b.mustPut("other", `{}`)
	db, err := sql.Open(b.driver, b.address)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	old := dump(t, db)
	var known kv.Head
	b.mustPut("a", `{"password":"new"}`)
	b.write(func(tx *sqlstore.Tx) error { return b.m.DeleteMeta(tx, "gone") })
	b.mustPut("new", `{}`)
	b.read(func(tx *sqlstore.Tx) (err error) { known, err = b.m.Head(tx); return err })
	b.clean()
	now := dump(t, db)

	only := func(rows [][]any, path string) (out [][]any) {
		for _, r := range rows {
			if (r[0] == "kv_keys" || r[0] == "kv_versions") && fmt.Sprint(r[2]) == path {
				out = append(out, r)
			}
		}
		return out
	}
	without := func(rows [][]any, paths ...string) (out [][]any) {
		for _, r := range rows {
			if r[0] != "kv_keys" && r[0] != "kv_versions" || !slices.Contains(paths, fmt.Sprint(r[2])) {
				out = append(out, r)
			}
		}
		return out
	}
	for what, rows := range map[string][][]any{
		"one path":                   append(without(now, "a"), only(old, "a")...),
		"a deleted path is back":     append(slices.Clone(now), only(old, "gone")...),
		"one back, another gone":     append(without(now, "other"), only(old, "gone")...),
		"one back, another put back": append(without(now, "a"), append(only(old, "gone"), only(old, "a")...)...),
		"a path is removed":          without(now, "other"),
		"the head alone":             append(slices.DeleteFunc(slices.Clone(now), func(r []any) bool { return r[0] == "kv_mounts" }), slices.DeleteFunc(slices.Clone(old), func(r []any) bool { return r[0] != "kv_mounts" })...),
	} {
		restore(t, db, b.driver, rows)
		if b.verify() == nil {
			t.Errorf("%s: not found", what)
		}
	}
	restore(t, db, b.driver, old)
	b.clean() // the whole mount of a time before is in order in itself
	b.read(func(tx *sqlstore.Tx) error {
		findings, err := b.m.Verify(tx, known)
		if len(findings) != 1 || vault.KindOf(findings[0].Err) != vault.KindTampered {
			t.Errorf("against what was known: %v", findings)
		}
		return err
	})
	restore(t, db, b.driver, now)
	b.read(func(tx *sqlstore.Tx) error {
		findings, err := b.m.Verify(tx, known)
		if findings != nil {
			t.Errorf("as it should be: %v", findings)
		}
		return err
	})
}

// A stolen database shows no value, no key and no metadata.
func TestStolenDatabase(t *testing.T) { both(t, testStolenDatabase) }

func testStolenDatabase(t *testing.T, newBench func(testing.TB) *bench) {
	b := newBench(t)
	custom := "hush-custom"
	b.mustPut("a", `{"hush-name":"hush-value"}`)
	b.write(func(tx *sqlstore.Tx) error {
		_, err := b.m.WriteMeta(tx, "a", kv.MetaChange{Custom: map[string]*string{"k": &custom}, By: kv.Actor{Actor: "hush-actor"}})
		return err
	})
	db, err := sql.Open(b.driver, b.address)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, r := range dump(t, db) {
		for _, column := range r {
			text := fmt.Sprint(column)
			if raw, ok := column.([]byte); ok {
				text = string(raw)
			}
			if strings.Contains(text, "hush") {
				t.Errorf("it says %q", text)
			}
		}
	}
}

var tables = []string{"blobs", "kv_mounts", "kv_keys", "kv_versions"}

// dump is every row, with its table in front.
func dump(t *testing.T, db *sql.DB) (all [][]any) {
	t.Helper()
	for _, table := range tables {
		rows, err := db.Query("SELECT * FROM " + table + " ORDER BY 1, 2, 3")
		if err != nil {
			t.Fatal(err)
		}
		columns, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			row := make([]any, len(columns))
			into := make([]any, len(columns))
			for i := range row {
				into[i] = &row[i]
			}
			if err := rows.Scan(into...); err != nil {
				t.Fatal(err)
			}
			all = append(all, append([]any{table}, row...))
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		rows.Close()
	}
	return all
}

// restore replaces every row.
func restore(t *testing.T, db *sql.DB, driver string, rows [][]any) {
	t.Helper()
	tx, err := db.BeginTx(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	for _, table := range tables {
		if _, err := tx.Exec("DELETE FROM " + table); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range rows {
		var marks []string
		for i := range r[1:] {
			mark := "?"
			if driver == "pgx" {
				mark = fmt.Sprint("$", i+1)
			}
			marks = append(marks, mark)
		}
		if _, err := tx.Exec(fmt.Sprintf("INSERT INTO %s VALUES (%s)", r[0], strings.Join(marks, ", ")), r[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}
