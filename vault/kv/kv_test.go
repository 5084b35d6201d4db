package kv_test

import (
	"context"
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

	"envrun/vault"
	"envrun/vault/keyring"
	"envrun/vault/kv"
	"envrun/vault/postgres"
	"envrun/vault/sqlite"
	"envrun/vault/sqlstore"
	"envrun/vault/vaulttest/pgtest"
)

// clock is a time that a test moves.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

const server = "s_0011223344556677"

type bench struct {
	memo  *kv.Memo // that outlives servers: what is remembered must never be wrong
	t     testing.TB
	db    *sqlstore.DB
	ring  *keyring.Ring
	ids   []age.Identity
	clock *clock
	m     *kv.Mount

	driver, address string // for those who go past the store
}

func TestMain(m *testing.M) {
	if os.Getenv(killAddress) != "" {
		fmt.Fprintln(os.Stderr, writeUntilKilled())
		os.Exit(1)
	}
	os.Exit(pgtest.Main(m))
}

// both runs a test on each database; newBench has an empty mount on a new one.
func both(t *testing.T, test func(t *testing.T, newBench func(testing.TB) *bench)) {
	t.Run("sqlite", func(t *testing.T) { test(t, onSQLite) })
	t.Run("postgres", func(t *testing.T) { test(t, onPostgres) })
}

func onSQLite(t testing.TB) *bench {
	file := filepath.Join(t.TempDir(), "data.db")
	db, err := sqlite.Open(context.Background(), file)
	return benchOn(t, db, err, "sqlite", file)
}

func onPostgres(t testing.TB) *bench {
	address := pgtest.Database(t)
	db, err := postgres.Open(context.Background(), address)
	return benchOn(t, db, err, "pgx", address)
}

func benchOn(t testing.TB, db *sqlstore.DB, err error, driver, address string) *bench {
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	b := &bench{memo: kv.NewMemo(), t: t, db: db, driver: driver, address: address, clock: &clock{time.Date(2026, 11, 23, 3, 0, 0, 123456789, time.UTC)}}
	o := keyring.Options{Server: server, Now: b.clock.t}
	for _, name := range []string{"one", "two"} {
		id, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		b.ids = append(b.ids, id)
		o.Age = append(o.Age, keyring.AgeSealer{Name: name, Recipient: id.Recipient().String()})
	}
	ring, rec, _, err := keyring.Make(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	b.ring = ring
	b.write(func(tx *sqlstore.Tx) error { return rec.Create(tx) })
	b.m = b.mount("m1")
	return b
}

func (b *bench) mount(id string) *kv.Mount {
	m := kv.Open(server, id, b.ring, b.clock.now).Remember(b.memo)
	b.write(func(tx *sqlstore.Tx) error {
		if err := b.ring.NewKey(tx, id, b.clock.t); err != nil {
			return err
		}
		return m.Create(tx, kv.Config{})
	})
	return m
}

func (b *bench) write(f func(*sqlstore.Tx) error) {
	b.t.Helper()
	if err := b.db.Write(context.Background(), f); err != nil {
		b.t.Fatal(err)
	}
}

// forget makes a new ring, as a server that has just been unsealed has.
func (b *bench) forget() {
	b.t.Helper()
	var rec *keyring.Record
	b.read(func(tx *sqlstore.Tx) (err error) { rec, err = keyring.Load(tx); return err })
	b.ring = new(keyring.Ring)
	if _, err := b.ring.Unseal(context.Background(), rec, b.ids, nil); err != nil {
		b.t.Fatal(err)
	}
	b.m = kv.Open(server, "m1", b.ring, b.clock.now).Remember(b.memo)
}

func (b *bench) read(f func(*sqlstore.Tx) error) {
	b.t.Helper()
	if err := b.db.Read(context.Background(), f); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) put(path, data string, cas ...int64) (info kv.Info, err error) {
	w := kv.Write{By: kv.Actor{Actor: "alice"}}
	if len(cas) > 0 {
		w.CAS = &cas[0]
	}
	err = b.db.Write(context.Background(), func(tx *sqlstore.Tx) error {
		info, err = b.m.Put(tx, path, vault.NewValueString(data), w)
		return err
	})
	return info, err
}

func (b *bench) mustPut(path, data string) kv.Info {
	b.t.Helper()
	info, err := b.put(path, data)
	if err != nil {
		b.t.Fatal(err)
	}
	return info
}

func (b *bench) get(path string, version int64) (v kv.Version, err error) {
	err = b.db.ReadOne(context.Background(), func(tx *sqlstore.Tx) error {
		v, err = b.m.Get(tx, path, version)
		return err
	})
	return v, err
}

// shows is what a read of a version answers: its data, "deleted", "destroyed"
// or the kind of the error.
func (b *bench) shows(path string, version int64) string {
	b.t.Helper()
	v, err := b.get(path, version)
	switch {
	case err != nil:
		return vault.KindOf(err).String()
	case v.Destroyed:
		return "destroyed"
	case !v.Readable:
		return "deleted"
	}
	return string(v.Data.Reveal())
}

func (b *bench) meta(path string) (m kv.Meta) {
	b.t.Helper()
	b.read(func(tx *sqlstore.Tx) (err error) {
		m, err = b.m.ReadMeta(tx, path)
		return err
	})
	return m
}

func (b *bench) verify() []string {
	b.t.Helper()
	var out []string
	b.read(func(tx *sqlstore.Tx) error {
		findings, err := b.m.Verify(tx, kv.Head{})
		for _, f := range findings {
			out = append(out, f.Err.Error())
		}
		return err
	})
	return out
}

func (b *bench) clean() {
	b.t.Helper()
	if wrong := b.verify(); wrong != nil {
		b.t.Errorf("verify: %q", wrong)
	}
}

func same(t *testing.T, what string, have, want any) {
	t.Helper()
	if h, w := fmt.Sprintf("%#v", have), fmt.Sprintf("%#v", want); h != w {
		t.Errorf("%s:\nhave %s\nwant %s", what, h, w)
	}
}

func TestVersions(t *testing.T) { both(t, testVersions) }

func testVersions(t *testing.T, newBench func(testing.TB) *bench) {
	b := newBench(t)
	same(t, "nothing", b.shows("app/db", 0), "not found")
	info := b.mustPut("app/db", ` { "password" : "s3cr3t", "n": 9007199254740993, "f": 1.50 } `)
	same(t, "first", []any{info.Version, info.Created, info.Deleted.IsZero(), info.Destroyed, info.Custom == nil, info.CreatedBy.Operation},
		[]any{int64(1), b.clock.t, true, false, true, "create"})
	same(t, "digits are kept", b.shows("app/db", 0), `{"password":"s3cr3t","n":9007199254740993,"f":1.50}`)
	b.clock.t = b.clock.t.Add(time.Minute)
	same(t, "second", b.mustPut("app/db", `{"password":"<n&w>"}`).Version, int64(2))
	same(t, "current", b.shows("app/db", 0), `{"password":"<n&w>"}`)
	same(t, "negative is current", b.shows("app/db", -1), `{"password":"<n&w>"}`)
	same(t, "by number", b.shows("app/db", 1), `{"password":"s3cr3t","n":9007199254740993,"f":1.50}`)
	same(t, "none such", b.shows("app/db", 3), "not found")
	same(t, "empty", b.mustPut("app/e", `{}`).Version, int64(1))
	same(t, "null", b.mustPut("app/e", `null`).Version, int64(2))
	same(t, "null is read", b.shows("app/e", 0), "null")
	b.clean()
}

func TestCheckAndSet(t *testing.T) { both(t, testCheckAndSet) }

func testCheckAndSet(t *testing.T, newBench func(testing.TB) *bench) {
	b := newBench(t)
	steps := []struct {
		cas  int64
		want error
	}{
		{1, kv.ErrCAS}, {0, nil}, {0, kv.ErrCAS}, {2, kv.ErrCAS}, {1, nil}, {2, nil},
	}
	for i, s := range steps {
		if _, err := b.put("a", `{}`, s.cas); !errors.Is(err, s.want) {
			t.Errorf("step %d, cas %d: %v, not %v", i, s.cas, err, s.want)
		}
	}
	b.write(func(tx *sqlstore.Tx) error { return b.m.Delete(tx, "a", kv.Actor{}) })
	if _, err := b.put("a", `{}`, 0); !errors.Is(err, kv.ErrCAS) {
		t.Errorf("a deleted version counts: %v", err)
	}
	yes := true
	b.write(func(tx *sqlstore.Tx) error { return b.m.SetConfig(tx, kv.ConfigChange{CASRequired: &yes}) })
	if _, err := b.put("a", `{}`); !errors.Is(err, kv.ErrCASRequired) || vault.KindOf(err) != vault.KindInvalid {
		t.Errorf("required: %v", err)
	}
	if _, err := b.put("a", `{}`, 3); err != nil {
		t.Error(err)
	}
	b.clean()
}

func TestOneOfManyWins(t *testing.T) { both(t, testOneOfManyWins) }

func testOneOfManyWins(t *testing.T, newBench func(testing.TB) *bench) {
	b := newBench(t)
	b.mustPut("a", `{"n":0}`)
	var wg sync.WaitGroup
	won := make(chan int, 20)
	for i := range 20 {
		wg.Go(func() {
			_, err := b.put("a", fmt.Sprintf(`{"n":%d}`, i), 1)
			switch {
			case err == nil:
				won <- i
			case !errors.Is(err, kv.ErrCAS):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d of 20 wrote version 2", len(won))
	}
	same(t, "the winner's", b.shows("a", 0), fmt.Sprintf(`{"n":%d}`, <-won))
}

func TestDeletion(t *testing.T) { both(t, testDeletion) }

func testDeletion(t *testing.T, newBench func(testing.TB) *bench) {
	b := newBench(t)
	for i := range 4 {
		b.mustPut("a", fmt.Sprintf(`{"n":%d}`, i+1))
	}
	all := func() string {
		var out []string
		for n := range int64(4) {
			out = append(out, b.shows("a", n+1))
		}
		return strings.Join(out, " ")
	}
	do := func(f func(kv.Tx, string, []int64, kv.Actor) error, versions ...int64) {
		t.Helper()
		b.write(func(tx *sqlstore.Tx) error { return f(tx, "a", versions, kv.Actor{Actor: "bob"}) })
	}
	b.write(func(tx *sqlstore.Tx) error { return b.m.Delete(tx, "a", kv.Actor{Actor: "bob"}) })
	b.write(func(tx *sqlstore.Tx) error { return b.m.Delete(tx, "a", kv.Actor{Actor: "bob"}) })
	same(t, "latest deleted", all(), `{"n":1} {"n":2} {"n":3} deleted`)
	same(t, "by whom", b.meta("a").Versions[3].DeletedBy, &kv.Actor{Actor: "bob", Operation: "delete"})
	do(b.m.DeleteVersions, 1, 2, 9)
	same(t, "versions deleted", all(), `deleted deleted {"n":3} deleted`)
	do(b.m.Destroy, 2, 3)
	same(t, "destroyed", all(), `deleted destroyed destroyed deleted`)
	do(b.m.Undelete, 1, 2, 3, 4, 0, -1)
	same(t, "undeleted", all(), `{"n":1} destroyed destroyed {"n":4}`)
	same(t, "who", b.meta("a").UpdatedBy, &kv.Actor{Actor: "bob", Operation: "undelete"})
	b.clean()

	// What is not there is no error.
	for _, f := range []func(kv.Tx, string, []int64, kv.Actor) error{b.m.DeleteVersions, b.m.Undelete, b.m.Destroy} {
		b.write(func(tx *sqlstore.Tx) error { return f(tx, "nope", []int64{1}, kv.Actor{}) })
	}
	b.write(func(tx *sqlstore.Tx) error { return b.m.Delete(tx, "nope", kv.Actor{}) })
	b.write(func(tx *sqlstore.Tx) error { return b.m.DeleteMeta(tx, "nope") })

	b.write(func(tx *sqlstore.Tx) error { return b.m.DeleteMeta(tx, "a") })
	same(t, "gone", all(), "not found not found not found not found")
	same(t, "begins anew", b.mustPut("a", `{"n":"new"}`).Version, int64(1))
	b.clean()
}

func TestPatch(t *testing.T) { both(t, testPatch) }

func testPatch(t *testing.T, newBench func(testing.TB) *bench) {
	b := newBench(t)
	patch := func(path, p string, cas ...int64) (info kv.Info, err error) {
		w := kv.Write{}
		if len(cas) > 0 {
			w.CAS = &cas[0]
		}
		err = b.db.Write(context.Background(), func(tx *sqlstore.Tx) error {
			info, err = b.m.Patch(tx, path, vault.NewValueString(p), w)
			return err
		})
		return info, err
	}
	if _, err := patch("a", `{"x":1}`); vault.KindOf(err) != vault.KindNotFound {
		t.Errorf("absent: %v", err)
	}
	b.mustPut("a", `{"keep":9007199254740993,"drop":"x","in":{"a":1.50,"b":2}}`)
	if _, err := patch("a", `{"drop":null,"new":"<&>","in":{"b":null,"c":{"d":[1,null]},"e":{"f":null}}}`); err != nil {
		t.Fatal(err)
	}
	same(t, "merged", b.shows("a", 0), `{"in":{"a":1.50,"c":{"d":[1,null]},"e":{}},"keep":9007199254740993,"new":"<&>"}`)
	if _, err := patch("a", `{"x":1}`, 1); !errors.Is(err, kv.ErrCAS) {
		t.Errorf("cas: %v", err)
	}
	for _, bad := range []string{"null", "[]", "{", `"x"`} {
		if _, err := patch("a", bad); vault.KindOf(err) != vault.KindInvalid {
			t.Errorf("%s: %v", bad, err)
		}
	}
	b.write(func(tx *sqlstore.Tx) error { return b.m.Delete(tx, "a", kv.Actor{}) })
	info, err := patch("a", `{"x":1}`)
	if err != nil || info.Version != 2 || info.Deleted.IsZero() {
		t.Errorf("deleted: %+v, %v", info, err)
	}
	same(t, "nothing was written", b.meta("a").CurrentVersion, int64(2))
	b.clean()
}

func TestMaxVersions(t *testing.T) { both(t, testMaxVersions) }

func testMaxVersions(t *testing.T, newBench func(testing.TB) *bench) {
	b := newBench(t)
	for i := range 12 {
		b.mustPut("a", fmt.Sprintf(`{"n":%d}`, i+1))
	}
	m := b.meta("a")
	same(t, "ten are kept", []int64{m.OldestVersion, m.CurrentVersion, int64(len(m.Versions))}, []int64{3, 12, 10})
	same(t, "dropped", b.shows("a", 2), "not found")
	same(t, "kept", b.shows("a", 3), `{"n":3}`)
	three := int64(3)
	b.write(func(tx *sqlstore.Tx) error {
		_, err := b.m.WriteMeta(tx, "a", kv.MetaChange{MaxVersions: &three})
		return err
	})
	same(t, "not before the next write", len(b.meta("a").Versions), 10)
	b.mustPut("a", `{"n":13}`)
	m = b.meta("a")
	same(t, "three are kept", []int64{m.OldestVersion, m.CurrentVersion, int64(len(m.Versions))}, []int64{11, 13, 3})
	five := int64(5)
	b.write(func(tx *sqlstore.Tx) error { return b.m.SetConfig(tx, kv.ConfigChange{MaxVersions: &five}) })
	for i := range 5 {
		b.mustPut("a", fmt.Sprintf(`{"n":%d}`, i+14))
	}
	same(t, "the greater of both", len(b.meta("a").Versions), 5)
	b.clean()
}

func TestDeleteVersionAfter(t *testing.T) { both(t, testDeleteVersionAfter) }

func testDeleteVersionAfter(t *testing.T, newBench func(testing.TB) *bench) {
	day, hour, never := 24*time.Hour, time.Hour, -time.Second
	for _, c := range []struct {
		mount, path *time.Duration
		want        time.Duration // 0: no deletion
	}{
		{nil, nil, 0}, {&day, nil, day}, {nil, &hour, hour}, {&day, &hour, hour}, {&hour, &day, hour}, {&day, &never, 0}, {&never, &day, 0},
	} {
		b := newBench(t)
		b.write(func(tx *sqlstore.Tx) error { return b.m.SetConfig(tx, kv.ConfigChange{DeleteAfter: c.mount}) })
		b.write(func(tx *sqlstore.Tx) error {
			_, err := b.m.WriteMeta(tx, "a", kv.MetaChange{DeleteAfter: c.path})
			return err
		})
		info := b.mustPut("a", `{}`)
		want := time.Time{}
		if c.want != 0 {
			want = b.clock.t.Add(c.want)
		}
		same(t, "deletion time", info.Deleted, want)
		same(t, "before", b.shows("a", 0), `{}`)
		b.clock.t = b.clock.t.Add(2 * day)
		if c.want != 0 {
			same(t, "after", b.shows("a", 0), "deleted")
			b.write(func(tx *sqlstore.Tx) error { return b.m.Undelete(tx, "a", []int64{1}, kv.Actor{}) })
		}
		same(t, "after", b.shows("a", 0), `{}`)
	}
}

func TestMetadata(t *testing.T) { both(t, testMetadata) }

func testMetadata(t *testing.T, newBench func(testing.TB) *bench) {
	b := newBench(t)
	s := func(s string) *string { return &s }
	change := func(f func(kv.Tx, string, kv.MetaChange) (bool, error), path string, c kv.MetaChange) (overruled bool, err error) {
		err = b.db.Write(context.Background(), func(tx *sqlstore.Tx) error {
			overruled, err = f(tx, path, c)
			return err
		})
		return overruled, err
	}
	if _, err := change(b.m.PatchMeta, "a", kv.MetaChange{Custom: map[string]*string{"k": s("v")}}); vault.KindOf(err) != vault.KindNotFound {
		t.Errorf("patch of nothing: %v", err)
	}
	if _, err := change(b.m.WriteMeta, "a", kv.MetaChange{Custom: map[string]*string{"owner": s("core"), "tier": s("1")}}); err != nil {
		t.Fatal(err)
	}
	same(t, "without versions", b.shows("a", 0), "not found")
	same(t, "current", b.meta("a").CurrentVersion, int64(0))
	var exists bool
	b.read(func(tx *sqlstore.Tx) (err error) { exists, err = b.m.Exists(tx, "a"); return err })
	same(t, "exists", exists, true)
	if _, err := b.put("a", `{}`, 0); err != nil {
		t.Error(err)
	}
	if _, err := change(b.m.PatchMeta, "a", kv.MetaChange{Custom: map[string]*string{"owner": s("infra"), "tier": nil}}); err != nil {
		t.Fatal(err)
	}
	same(t, "patched", b.meta("a").Custom, map[string]string{"owner": "infra"})
	v, _ := b.get("a", 0)
	same(t, "with the version", v.Custom, map[string]string{"owner": "infra"})
	if _, err := change(b.m.WriteMeta, "a", kv.MetaChange{Custom: map[string]*string{}}); err != nil {
		t.Fatal(err)
	}
	same(t, "replaced", b.meta("a").Custom, map[string]string{})
	yes, no := true, false
	b.write(func(tx *sqlstore.Tx) error { return b.m.SetConfig(tx, kv.ConfigChange{CASRequired: &yes}) })
	if overruled, err := change(b.m.WriteMeta, "a", kv.MetaChange{CASRequired: &no}); !overruled || err != nil {
		t.Errorf("overruled: %v, %v", overruled, err)
	}
	many := map[string]*string{}
	for i := range 65 {
		many[fmt.Sprint("k", i)] = s("v")
	}
	for want, custom := range map[string]map[string]*string{
		"payload must contain at most 64 keys, provided 65":                      many,
		`length of value for key "k" is 513 but must be 0 < len(value) <= 512`:   {"k": s(strings.Repeat("v", 513))},
		`value for key "k" contains unprintable characters`:                      {"k": s("a\nb")},
		`key "a\tb" contains unprintable characters`:                             {"a\tb": s("v")},
		`length of key "" is 0 but must be 0 < len(key) <= 128`:                  {"": s("v")},
		`length of value for key "empty" is 0 but must be 0 < len(value) <= 512`: {"empty": s("")},
	} {
		if _, err := change(b.m.WriteMeta, "a", kv.MetaChange{Custom: custom}); vault.KindOf(err) != vault.KindInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, not %s", err, want)
		}
	}
	b.clean()
}

func TestList(t *testing.T) { both(t, testList) }

func testList(t *testing.T, newBench func(testing.TB) *bench) {
	b := newBench(t)
	paths := []string{"app", "app/db", "app-x", "app/web/one", "app/web/two", "App", "été", "a b", "z/deep/er/est"}
	for i := range 600 { // more than a page, in a folder and beside it
		paths = append(paths, fmt.Sprintf("many/%03d/x", i), fmt.Sprintf("big/%03d", i))
	}
	b.write(func(tx *sqlstore.Tx) error {
		for _, p := range paths {
			if _, err := b.m.Put(tx, p, vault.NewValueString(`{}`), kv.Write{}); err != nil {
				return err
			}
		}
		return nil
	})
	other := b.mount("m2")
	b.write(func(tx *sqlstore.Tx) error {
		_, err := other.Put(tx, "elsewhere", vault.NewValueString(`{}`), kv.Write{})
		return err
	})
	list := func(dir, after string, limit int) (names []string) {
		b.read(func(tx *sqlstore.Tx) (err error) { names, err = b.m.List(tx, dir, after, limit); return err })
		return names
	}
	// slow is what a list should say, found the plain way.
	slow := func(dir, after string, limit int) (names []string) {
		if dir != "" {
			dir += "/"
		}
		for _, p := range paths {
			if rest, ok := strings.CutPrefix(p, dir); ok {
				if i := strings.Index(rest, "/"); i >= 0 {
					rest = rest[:i+1]
				}
				if rest > after {
					names = append(names, rest)
				}
			}
		}
		slices.Sort(names)
		names = slices.Compact(names)
		if limit > 0 && len(names) > limit {
			names = names[:limit]
		}
		return names
	}
	for _, c := range []struct {
		dir, after string
		limit      int
	}{
		{"", "", 0}, {"app", "", 0}, {"app/web", "", 0}, {"many", "", 0}, {"big", "", 0}, {"nope", "", 0}, {"app/d", "", 0}, {"z", "", 0},
		{"", "app/", 0}, {"", "app", 0}, {"", "app", 1}, {"many", "300/", 2}, {"big", "599", 0}, {"big", "255", 300}, {"", "many/", 0}, {"", "big", 1},
	} {
		same(t, fmt.Sprintf("%+v", c), list(c.dir, c.after, c.limit), slow(c.dir, c.after, c.limit))
	}
	same(t, "with a slash", list("app/", "", 0), []string{"db", "web/"})
	b.clean()
}

func TestBadInput(t *testing.T) { both(t, testBadInput) }

func testBadInput(t *testing.T, newBench func(testing.TB) *bench) {
	b := newBench(t)
	for _, path := range []string{"", "/a", "a/", "a//b", ".", "a/../b", "a/.", "a\x00b", "a\nb", "\xff", strings.Repeat("a", kv.MaxPath+1)} {
		if _, err := b.put(path, `{}`); vault.KindOf(err) != vault.KindInvalid {
			t.Errorf("%q: %v", path, err)
		}
		if _, err := b.get(path, 0); vault.KindOf(err) != vault.KindInvalid {
			t.Errorf("%q: %v", path, err)
		}
	}
	for _, data := range []string{"", "x", "[1]", `"hush-hush"`, "1", "true", `{"a":}`, `{"a":"hush-hush"`, `{} {}`, `{"a":"` + strings.Repeat("x", kv.MaxData) + `"}`} {
		_, err := b.put("a", data)
		if vault.KindOf(err) != vault.KindInvalid {
			t.Errorf("%.20q: %v", data, err)
		} else if strings.Contains(err.Error(), "hush") {
			t.Errorf("the value is in the error: %v", err)
		}
	}
	long := strings.Repeat("p", kv.MaxPath)
	b.mustPut(long, `{"a":"`+strings.Repeat("x", kv.MaxData-8)+`"}`)
	same(t, "the greatest", len(b.shows(long, 0)), kv.MaxData)
	for _, n := range []int{-1, 0, 1, vault.MaxValue - 1, vault.MaxValue, vault.MaxValue + 1} { // where a piece ends
		data := `{"a":"` + strings.Repeat("y", vault.MaxValue+n-9) + `z"}`
		b.mustPut("pieces", data)
		if got := b.shows("pieces", 0); got != data {
			t.Errorf("%d bytes come back as %d others", len(data), len(got))
		}
	}
	b.clean()
}

func TestRewrap(t *testing.T) { both(t, testRewrap) }

func testRewrap(t *testing.T, newBench func(testing.TB) *bench) {
	b := newBench(t)
	b.write(func(tx *sqlstore.Tx) error {
		for i := range 500 {
			if _, err := b.m.Put(tx, fmt.Sprintf("p/%d", i/2), vault.NewValueString(fmt.Sprintf(`{"n":%d}`, i)), kv.Write{}); err != nil {
				return err
			}
		}
		return nil
	})
	rotate := func() (gen uint32, err error) {
		err = b.db.Write(context.Background(), func(tx *sqlstore.Tx) error {
			if gen, err = b.ring.RotateKey(tx, "m1", b.clock.t); err != nil {
				return err
			}
			if err := b.m.Advance(tx, gen); err != nil {
				return err
			}
			if _, err := b.m.Put(tx, "in between", vault.NewValueString(`{"n":"under the new key"}`), kv.Write{}); err != nil {
				return err
			}
			return err
		})
		return gen, err
	}
	gen, err := rotate()
	if err != nil || gen != 2 {
		t.Fatal(gen, err)
	}
	b.clean() // both generations side by side
	// Cut short after one step, as by a crash: another begins from the start.
	b.write(func(tx *sqlstore.Tx) error { _, err := b.m.Rewrap(tx, new(kv.Cursor)); return err })
	b.mustPut("p/100", `{"n":"written meanwhile"}`)
	for c, more := new(kv.Cursor), true; more; {
		b.write(func(tx *sqlstore.Tx) (err error) {
			if more, err = b.m.Rewrap(tx, c); err != nil || more {
				return err
			}
			return b.ring.RetireKeys(tx, "m1")
		})
	}
	b.read(func(tx *sqlstore.Tx) error {
		gens, err := b.ring.Generations(tx, "m1")
		same(t, "generations", gens, []uint32{2})
		return err
	})
	// A server that starts now has the new generation only.
	b.forget()
	b.clean()
	same(t, "old version", b.shows("p/100", 1), `{"n":200}`)
	same(t, "second version", b.shows("p/100", 2), `{"n":201}`)
	same(t, "current version", b.shows("p/100", 0), `{"n":"written meanwhile"}`)
	same(t, "in the transaction of the rotation", b.shows("in between", 0), `{"n":"under the new key"}`)
}
