package sqlstore_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"envrun/vault"
	"envrun/vault/kv"
	"envrun/vault/postgres"
	"envrun/vault/sqlite"
	"envrun/vault/sqlstore"
	"envrun/vault/vaulttest/pgtest"
)

var ctx = context.Background()

// openVariable names a database that this program, run again, is to open.
const openVariable = "SQLSTORE_TEST_OPEN"

func TestMain(m *testing.M) {
	if file := os.Getenv(openVariable); file != "" {
		if _, err := sqlite.Open(ctx, file); err != nil {
			fmt.Println(vault.KindOf(err), err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(pgtest.Main(m))
}

// both runs a test on each database. open opens the same one each time.
func both(t *testing.T, test func(t *testing.T, open func() *sqlstore.DB)) {
	for _, kind := range []string{"sqlite", "postgres", "memory"} {
		t.Run(kind, func(t *testing.T) {
			file, address := filepath.Join(t.TempDir(), "data.db"), ""
			if kind == "postgres" {
				address = pgtest.Database(t)
			}
			test(t, func() *sqlstore.DB {
				var db *sqlstore.DB
				var err error
				switch kind {
				case "sqlite":
					db, err = sqlite.Open(ctx, file)
				case "postgres":
					db, err = postgres.Open(ctx, address)
				case "memory":
					db, err = sqlite.OpenMemory(ctx)
				}
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = db.Close() })
				return db
			})
		})
	}
}

func put(name string) func(*sqlstore.Tx) error {
	return func(tx *sqlstore.Tx) error { return tx.PutBlob("test", name, []byte(name)) }
}

func names(t *testing.T, db *sqlstore.DB) (all []string) {
	t.Helper()
	if err := db.Read(ctx, func(tx *sqlstore.Tx) (err error) { all, err = tx.BlobNames("test"); return err }); err != nil {
		t.Fatal(err)
	}
	return all
}

func wantNames(t *testing.T, db *sqlstore.DB, want ...string) {
	t.Helper()
	if have := names(t, db); !slices.Equal(have, want) {
		t.Errorf("have %q, want %q", have, want)
	}
}

// spoil makes an error of the database: a version without data.
func spoil(tx *sqlstore.Tx) error { return tx.PutKVVersion("m", kv.VersionRow{Path: "p", Version: 1}) }

var errOurs = errors.New("ours")

// group holds up the first write until all the others are waiting for it, so
// that they are committed together.
func group(db *sqlstore.DB, fs ...func(*sqlstore.Tx) error) []error {
	all := make(chan struct{})
	begun := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = db.Write(ctx, func(*sqlstore.Tx) error { close(begun); <-all; return nil })
	})
	<-begun
	errs := make([]error, len(fs))
	var waiting atomic.Int32
	for i, f := range fs {
		wg.Go(func() {
			waiting.Add(1)
			defer func() {
				if p := recover(); p != nil {
					errs[i] = fmt.Errorf("panic: %v", p)
				}
			}()
			errs[i] = db.Write(ctx, f)
		})
	}
	for int(waiting.Load()) < len(fs) {
		runtime.Gosched()
	}
	time.Sleep(5 * time.Millisecond) // most are in the queue by now; what is tested holds if not
	close(all)
	wg.Wait()
	return errs
}

func TestWritesTogether(t *testing.T) {
	both(t, func(t *testing.T, open func() *sqlstore.DB) {
		db := open()
		ran := []string{}
		var mu sync.Mutex
		said := func(name string, f func(*sqlstore.Tx) error) func(*sqlstore.Tx) error {
			return func(tx *sqlstore.Tx) error {
				tx.AfterCommit(func() { mu.Lock(); ran = append(ran, name); mu.Unlock() })
				return f(tx)
			}
		}
		then := func(name string, f func(tx *sqlstore.Tx) error) func(*sqlstore.Tx) error {
			return said(name, func(tx *sqlstore.Tx) error {
				if err := put(name)(tx); err != nil {
					return err
				}
				return f(tx)
			})
		}
		ok := func(*sqlstore.Tx) error { return nil }
		errs := group(db,
			then("a", ok),
			then("fails", func(*sqlstore.Tx) error { return errOurs }),
			then("b", ok),
			then("panics", func(*sqlstore.Tx) error { panic("ours") }),
			then("is refused", spoil),
			then("hides a refusal", func(tx *sqlstore.Tx) error { _ = spoil(tx); return nil }),
			then("c", ok),
			then("hides a refusal and goes on", func(tx *sqlstore.Tx) error {
				_ = spoil(tx)
				if err := put("more")(tx); err == nil {
					t.Error("a statement ran after an error")
				}
				return nil
			}),
			then("d", ok),
		)
		for i, want := range []string{"", "ours", "", "panic: ours", "constraint", "constraint", "", "constraint", ""} {
			switch err := errs[i]; {
			case want == "" && err != nil:
				t.Errorf("write %d: %v", i, err)
			case want == "constraint" && (err == nil || strings.Contains(err.Error(), "ours")):
				t.Errorf("write %d: %v, not one of the database", i, err)
			case want != "" && want != "constraint" && (err == nil || err.Error() != want):
				t.Errorf("write %d: %v, not %s", i, err, want)
			}
		}
		wantNames(t, db, "a", "b", "c", "d")
		slices.Sort(ran)
		if !slices.Equal(ran, []string{"a", "b", "c", "d"}) {
			t.Errorf("after the commit of %q", ran)
		}
	})
}

// A write whose goroutine ends in the middle is undone, and holds nobody up.
func TestGoexit(t *testing.T) {
	both(t, func(t *testing.T, open func() *sqlstore.DB) {
		db := open()
		var wg sync.WaitGroup
		wg.Go(func() {
			_ = db.Write(ctx, func(tx *sqlstore.Tx) error { _ = put("a")(tx); runtime.Goexit(); return nil })
		})
		wg.Wait()
		if err := db.Write(ctx, put("b")); err != nil {
			t.Error(err)
		}
		wantNames(t, db, "b")
		wg.Go(func() { _ = db.Read(ctx, func(*sqlstore.Tx) error { runtime.Goexit(); return nil }) })
		wg.Wait()
		wantNames(t, db, "b")
	})
}

func TestManyWriters(t *testing.T) {
	both(t, func(t *testing.T, open func() *sqlstore.DB) {
		db := open()
		var wg sync.WaitGroup
		for w := range 16 {
			wg.Go(func() {
				for range 20 {
					// A number that is read and written is not lost.
					err := db.Write(ctx, func(tx *sqlstore.Tx) error {
						raw, err := tx.Blob("n", "n")
						if err != nil && vault.KindOf(err) != vault.KindNotFound {
							return err
						}
						return tx.PutBlob("n", "n", append(raw, byte(w)))
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		var raw []byte
		if err := db.ReadOne(ctx, func(tx *sqlstore.Tx) (err error) { raw, err = tx.Blob("n", "n"); return err }); err != nil || len(raw) != 320 {
			t.Errorf("%d of 320 are there, %v", len(raw), err)
		}
	})
}

func TestSnapshot(t *testing.T) {
	for _, kind := range []string{"sqlite", "postgres"} { // in memory a writer waits for readers
		t.Run(kind, func(t *testing.T) {
			var db *sqlstore.DB
			var err error
			if kind == "sqlite" {
				db, err = sqlite.Open(ctx, filepath.Join(t.TempDir(), "data.db"))
			} else {
				db, err = postgres.Open(ctx, pgtest.Database(t))
			}
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if err := db.Write(ctx, put("a")); err != nil {
				t.Fatal(err)
			}
			err = db.Read(ctx, func(tx *sqlstore.Tx) error {
				before, err := tx.BlobNames("test")
				if err != nil {
					return err
				}
				if err := db.Write(ctx, put("b")); err != nil {
					return err
				}
				after, err := tx.BlobNames("test")
				if !slices.Equal(before, after) {
					t.Errorf("one read saw %q, then %q", before, after)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
			wantNames(t, db, "a", "b")
		})
	}
}

func TestMisuse(t *testing.T) {
	both(t, func(t *testing.T, open func() *sqlstore.DB) {
		db := open()
		var kept *sqlstore.Tx
		if err := db.Read(ctx, func(tx *sqlstore.Tx) error { kept = tx; return put("a")(tx) }); err == nil {
			t.Error("a read wrote")
		}
		if _, err := kept.Blob("test", "a"); err == nil {
			t.Error("a transaction was used after its end")
		}
		if err := db.Write(ctx, func(tx *sqlstore.Tx) error { kept = tx; return nil }); err != nil {
			t.Error(err)
		}
		if err := put("a")(kept); err == nil {
			t.Error("a transaction was used after its end")
		}
		wantNames(t, db)
		over, cancel := context.WithCancel(ctx)
		cancel()
		hold, held := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { _ = db.Write(ctx, func(*sqlstore.Tx) error { close(held); <-hold; return nil }) })
		<-held
		err := db.Write(over, func(*sqlstore.Tx) error { t.Error("it ran"); return nil })
		if vault.KindOf(err) != vault.KindUnavailable || !errors.Is(err, context.Canceled) {
			t.Errorf("waiting: %v", err)
		}
		close(hold)
		wg.Wait()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		for _, err := range []error{db.Write(ctx, put("a")), db.Read(ctx, func(*sqlstore.Tx) error { return nil }), db.ReadOne(ctx, func(*sqlstore.Tx) error { return nil }), db.ReadKept(ctx, func(*sqlstore.Tx) error { return nil })} {
			if vault.KindOf(err) != vault.KindUnavailable {
				t.Errorf("closed: %v", err)
			}
		}
	})
}

func TestBlobs(t *testing.T) {
	both(t, func(t *testing.T, open func() *sqlstore.DB) {
		db := open()
		want := []string{"", "A", "a", "a\tb", "a/b", "é", "日本", "\U0001F511"} // sorted bytewise on every database
		raw := bytes.Repeat([]byte{0, 0xff, '\''}, 1000)
		err := db.Write(ctx, func(tx *sqlstore.Tx) error {
			for _, i := range []int{3, 1, 7, 0, 2, 5, 4, 6} {
				if err := tx.PutBlob("test", want[i], []byte("before")); err != nil {
					return err
				}
				if err := tx.PutBlob("test", want[i], raw); err != nil {
					return err
				}
			}
			if err := tx.PutBlob("other", "x", nil); err == nil {
				return errors.New("nothing was kept as something")
			}
			return nil
		})
		if err == nil {
			t.Error("a blob that is nil was kept")
		}
		err = db.Write(ctx, func(tx *sqlstore.Tx) error {
			for _, i := range []int{3, 1, 7, 0, 2, 5, 4, 6} {
				if err := tx.PutBlob("test", want[i], raw); err != nil {
					return err
				}
			}
			return tx.PutBlob("other", "x", []byte{})
		})
		if err != nil {
			t.Fatal(err)
		}
		wantNames(t, db, want...)
		err = db.Write(ctx, func(tx *sqlstore.Tx) error {
			all, err := tx.Blobs("test")
			if err != nil || len(all) != len(want) || !bytes.Equal(all[3].Raw, raw) {
				t.Errorf("%d blobs, %v", len(all), err)
			}
			if was, err := tx.DeleteBlob("test", "a"); !was || err != nil {
				t.Error(was, err)
			}
			if was, err := tx.DeleteBlob("test", "a"); was || err != nil {
				t.Error(was, err)
			}
			_, err = tx.Blob("test", "a")
			if vault.KindOf(err) != vault.KindNotFound {
				t.Error(err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// Every migration is written for both databases.
func TestMigrationsArePaired(t *testing.T) {
	entries, err := os.ReadDir("migrations")
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]string{}
	numbers := map[string]string{}
	for _, e := range entries {
		name, kind, _ := strings.Cut(e.Name(), ".")
		byName[name] += kind + " "
		if other := numbers[name[:4]]; other != "" && other != name {
			t.Errorf("%s and %s have the same number", name, other)
		}
		numbers[name[:4]] = name
	}
	for name, kinds := range byName {
		if kinds != "postgres.sql sqlite.sql " {
			t.Errorf("%s is written for: %s", name, kinds)
		}
	}
	for i := range numbers {
		if i > fmt.Sprintf("%04d", len(numbers)) {
			t.Errorf("a number is left out before %s", i)
		}
	}
}

func TestReopen(t *testing.T) {
	for _, kind := range []string{"sqlite", "postgres"} {
		t.Run(kind, func(t *testing.T) {
			var open func() (*sqlstore.DB, error)
			driver, address := "sqlite", filepath.Join(t.TempDir(), "a folder?#%41", "data.db")
			if kind == "sqlite" {
				open = func() (*sqlstore.DB, error) { return sqlite.Open(ctx, address) }
				if _, err := open(); vault.KindOf(err) != vault.KindNotFound {
					t.Errorf("without its folder: %v", err)
				}
				if err := os.Mkdir(filepath.Dir(address), 0o700); err != nil {
					t.Fatal(err)
				}
			} else {
				driver, address = "pgx", pgtest.Database(t)
				open = func() (*sqlstore.DB, error) { return postgres.Open(ctx, address) }
			}
			dsn := address
			for i := range 3 {
				db, err := open()
				if err != nil {
					t.Fatal(err)
				}
				if err := db.Write(ctx, put(fmt.Sprint(i))); err != nil {
					t.Error(err)
				}
				if i == 2 {
					wantNames(t, db, "0", "1", "2")
				}
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			}
			if kind == "sqlite" {
				if runtime.GOOS != "windows" {
					fi, err := os.Stat(address)
					if err != nil || fi.Mode().Perm() != 0o600 {
						t.Errorf("%v, %v", fi.Mode(), err)
					}
				}
				dsn = "file:" + strings.NewReplacer("?", "%3f", "#", "%23", "%", "%25").Replace(address)
			}
			raw, err := sql.Open(driver, dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			if _, err := raw.Exec(`INSERT INTO migrations (name) VALUES ('9999_from_the_future')`); err != nil {
				t.Fatal(err)
			}
			if _, err := open(); vault.KindOf(err) != vault.KindVersion || !strings.Contains(err.Error(), "9999_from_the_future") {
				t.Errorf("newer tables: %v", err)
			}
		})
	}
}

// Several replicas begin at once on an empty database, and then all write.
func TestReplicas(t *testing.T) {
	address := pgtest.Database(t)
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			db, err := postgres.Open(ctx, address)
			if err != nil {
				t.Error(err)
				return
			}
			defer db.Close()
			for range 20 {
				err := db.Write(ctx, func(tx *sqlstore.Tx) error {
					raw, err := tx.Blob("n", "n")
					if err != nil && vault.KindOf(err) != vault.KindNotFound {
						return err
					}
					return tx.PutBlob("n", "n", append(raw, byte(i)))
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	db, err := postgres.Open(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Read(ctx, func(tx *sqlstore.Tx) error {
		raw, err := tx.Blob("n", "n")
		if len(raw) != 120 {
			t.Errorf("%d of 120 writes are there", len(raw))
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// Two servers on one file.
func TestSecondServer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "data.db")
	db, err := sqlite.Open(ctx, file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(ctx, file); vault.KindOf(err) != vault.KindBusy {
		t.Errorf("in the same process: %v", err)
	}
	link := filepath.Join(t.TempDir(), "link.db")
	second := func(file string) string {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), openVariable+"="+file)
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	if out := second(file); !strings.HasPrefix(out, vault.KindBusy.String()) || !strings.Contains(out, "another server has it open") {
		t.Errorf("in another process: %q", out)
	}
	if err := os.Symlink(file, link); err == nil {
		if out := second(link); !strings.HasPrefix(out, vault.KindBusy.String()) {
			t.Errorf("by another name: %q", out)
		}
	}
	if err := db.Write(ctx, put("a")); err != nil {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if out := second(file); out != "" {
		t.Errorf("after the first has ended: %q", out)
	}
}

func TestNotADatabase(t *testing.T) {
	file := filepath.Join(t.TempDir(), "data.db")
	if err := os.WriteFile(file, bytes.Repeat([]byte("no database\n"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(ctx, file); vault.KindOf(err) != vault.KindMalformed {
		t.Errorf("%v", err)
	}
	for address, kind := range map[string]vault.Kind{
		"host=/nowhere dbname=x user=x":                                vault.KindUnavailable,
		"postgres://u:hush-password@127.0.0.1:1/x?sslmode=disable":     vault.KindUnavailable,
		"postgres://u:hush-password@127.0.0.1:nonsense/x":              vault.KindInvalid,
		strings.Replace(pgtest.Database(t), "dbname=", "dbname=no", 1): vault.KindNoVault,
	} {
		_, err := postgres.Open(ctx, address)
		if vault.KindOf(err) != kind || strings.Contains(fmt.Sprint(err), "hush") {
			t.Errorf("%s: %v", address, err)
		}
	}
}
