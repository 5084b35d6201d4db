package sqlstore_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"envrun/auth/token"
	"envrun/vault"
	"envrun/vault/kv"
	"envrun/vault/sqlite"
	"envrun/vault/sqlstore"
)

func number(tx *sqlstore.Tx, name string) (int, error) {
	raw, err := tx.Blob("test", name)
	if vault.KindOf(err) == vault.KindNotFound {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(raw))
}

func set(tx *sqlstore.Tx, name string, n int) error {
	return tx.PutBlob("test", name, strconv.AppendInt(nil, int64(n), 10))
}

// What was acknowledged before a read began it sees, and what it sees is of one
// moment, however many write at the same time. Who writes sees what those before it
// did, also where all are committed together.
func TestReadKept(t *testing.T) {
	both(t, func(t *testing.T, open func() *sqlstore.DB) {
		db := open()
		const pairs = 4
		var acked [pairs]atomic.Int64
		var counted atomic.Int64 // how often all were counted together
		var stop atomic.Bool
		var writers, readers sync.WaitGroup
		for p := range pairs {
			a, b := fmt.Sprint("a", p), fmt.Sprint("b", p)
			writers.Go(func() {
				for n := 1; n <= 150; n++ {
					err := db.Write(ctx, func(tx *sqlstore.Tx) error {
						all, err := number(tx, "all")
						if err == nil {
							err = set(tx, "all", all+1)
						}
						if err == nil {
							err = set(tx, a, n)
						}
						if err != nil {
							return err
						}
						if n%7 == 0 { // what was undone nobody has seen
							return errOurs
						}
						return set(tx, b, n)
					})
					if n%7 == 0 {
						continue
					}
					if err != nil {
						t.Error(err)
						return
					}
					acked[p].Store(int64(n))
					counted.Add(1)
				}
			})
			for range 2 {
				readers.Go(func() {
					for !stop.Load() {
						before := int(acked[p].Load())
						var first, second int
						err := db.ReadKept(ctx, func(tx *sqlstore.Tx) (err error) {
							if first, err = number(tx, a); err != nil {
								return err
							}
							second, err = number(tx, b)
							return err
						})
						if err != nil {
							t.Error(err)
							return
						}
						if first != second || first < before || first%7 == 0 && first > 0 {
							t.Errorf("%d and %d, when %d was acknowledged", first, second, before)
							return
						}
					}
				})
			}
		}
		writers.Wait()
		stop.Store(true)
		readers.Wait()
		if err := db.Write(ctx, func(tx *sqlstore.Tx) error {
			all, err := number(tx, "all")
			if int64(all) != counted.Load() {
				t.Errorf("counted to %d in %d writes", all, counted.Load())
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// Each thing that can be kept is forgotten by each thing that changes it.
func TestReadKeptForgets(t *testing.T) {
	both(t, func(t *testing.T, open func() *sqlstore.DB) {
		db := open()
		id := token.ID{1, 2, 3}
		look := func(tx *sqlstore.Tx) (s string, err error) {
			tok, _, err := tx.TokenRow(id)
			if err != nil {
				return "", err
			}
			key, v, found, err := tx.KVVersion("m", "p", 0)
			if err != nil {
				return "", err
			}
			many := 0
			err = tx.KVCurrent("m", []string{"nothing", "p"}, func(k kv.KeyRow, same kv.VersionRow) error {
				many++
				if k.Path != "p" || !bytes.Equal(k.Sealed, key.Sealed) || !bytes.Equal(same.Data, v.Data) || same.Version != v.Version {
					t.Errorf("a path by itself and among many differ: %v %v, %v %v", key, v, k, same)
				}
				clear(k.Sealed)
				return nil
			})
			if err != nil {
				return "", err
			}
			if found != (many == 1) {
				t.Errorf("%d among many, by itself %v", many, found)
			}
			alone, there, err := tx.KVKey("m", "p")
			if err != nil {
				return "", err
			}
			if there != found || !bytes.Equal(alone.Sealed, key.Sealed) || alone.Current != key.Current {
				t.Errorf("a path and the same with its version differ: %v, %v", alone, key)
			}
			_, first, _, err := tx.KVVersion("m", "p", 1)
			if err != nil {
				return "", err
			}
			blob, err := tx.Blob("test", "x")
			if vault.KindOf(err) == vault.KindNotFound {
				err = nil
			}
			s = fmt.Sprintf("token %s, path %s, current %d %s %s, first %s, blob %s", tok.Body, key.Sealed, v.Version, v.Key, v.Data, first.Data, blob)
			// What a reader does to what it was given nobody else sees.
			for _, b := range [][]byte{tok.Body, key.Sealed, v.Key, v.Data, blob} {
				clear(b)
			}
			return s, err
		}
		state := func() (s string) {
			if err := db.ReadKept(ctx, func(tx *sqlstore.Tx) (err error) { s, err = look(tx); return err }); err != nil {
				t.Fatal(err)
			}
			return s
		}
		last := state()
		for i, change := range []func(tx *sqlstore.Tx) error{
			func(tx *sqlstore.Tx) error {
				return tx.PutTokenRow(token.Row{ID: id, Accessor: "a", Body: []byte("one")})
			},
			func(tx *sqlstore.Tx) error {
				return tx.PutTokenRow(token.Row{ID: id, Accessor: "a", Body: []byte("two")})
			},
			func(tx *sqlstore.Tx) error { return tx.DeleteTokenRow(id) },
			func(tx *sqlstore.Tx) error { return set(tx, "x", 1) },
			func(tx *sqlstore.Tx) error { return set(tx, "x", 2) },
			func(tx *sqlstore.Tx) error { _, err := tx.DeleteBlob("test", "x"); return err },
			func(tx *sqlstore.Tx) error {
				return tx.PutKVKey("m", kv.KeyRow{Path: "p", Current: 1, Gen: 1, Sealed: []byte("meta1")})
			},
			func(tx *sqlstore.Tx) error {
				return tx.PutKVVersion("m", kv.VersionRow{Path: "p", Version: 1, Gen: 1, Key: []byte("k1"), Data: []byte("d1")})
			},
			func(tx *sqlstore.Tx) error {
				return tx.RewrapKVVersion("m", kv.VersionRow{Path: "p", Version: 1, Gen: 2, Key: []byte("k2")})
			},
			func(tx *sqlstore.Tx) error {
				return tx.PutKVKey("m", kv.KeyRow{Path: "p", Current: 1, Gen: 2, Sealed: []byte("meta2")})
			},
			func(tx *sqlstore.Tx) error { return tx.DeleteKVVersions("m", "p", 1, 1) },
			func(tx *sqlstore.Tx) error {
				return tx.PutKVVersion("m", kv.VersionRow{Path: "p", Version: 1, Gen: 1, Key: []byte("k3"), Data: []byte("d3")})
			},
			func(tx *sqlstore.Tx) error { return tx.DeleteKVKey("m", "p") },
			func(tx *sqlstore.Tx) error {
				return tx.PutKVKey("m", kv.KeyRow{Path: "p", Current: 0, Gen: 1, Sealed: []byte("meta3")})
			},
			func(tx *sqlstore.Tx) error { return tx.DropKV("m") },
		} {
			if again := state(); again != last {
				t.Errorf("before change %d, unchanged: %s, and then %s", i, last, again)
			}
			var before, after string
			write := func(end error) error {
				return db.Write(ctx, func(tx *sqlstore.Tx) (err error) {
					if before, err = look(tx); err != nil {
						return err
					}
					if err = change(tx); err != nil {
						return err
					}
					after, err = look(tx)
					return errors.Join(err, end)
				})
			}
			if err := write(errOurs); !errors.Is(err, errOurs) {
				t.Fatal(err)
			}
			if again := state(); again != last || before != last || after == last {
				t.Errorf("change %d, undone: %s, %s, and then %s", i, before, after, again)
			}
			if err := write(nil); err != nil {
				t.Fatal(err)
			}
			if before != last || after != state() {
				t.Errorf("change %d: %s before it and %s after it, within its transaction; then %s", i, before, after, state())
			}
			now := state()
			if now == last {
				t.Errorf("change %d is not seen: %s", i, now)
			}
			last = now
		}
	})
}

// Somebody changes the file past the server: with the next write, which each request
// to a server is, that is seen.
func TestReadKeptForeign(t *testing.T) {
	file := filepath.Join(t.TempDir(), "data.db")
	db, err := sqlite.Open(ctx, file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	other, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for n := range 5 {
		if err := db.Write(ctx, func(tx *sqlstore.Tx) error { return set(tx, "x", 10*n) }); err != nil {
			t.Fatal(err)
		}
		read := func() (have int) {
			if err := db.ReadKept(ctx, func(tx *sqlstore.Tx) (err error) { have, err = number(tx, "x"); return err }); err != nil {
				t.Fatal(err)
			}
			return have
		}
		if have := read(); have != 10*n {
			t.Fatalf("%d, want %d", have, 10*n)
		}
		if _, err := other.Exec("UPDATE blobs SET raw = ? WHERE kind = 'test' AND name = 'x'", []byte(strconv.Itoa(10*n+1))); err != nil {
			t.Fatal(err)
		}
		if err := db.Write(ctx, func(tx *sqlstore.Tx) error {
			if have, err := number(tx, "x"); have != 10*n+1 {
				t.Errorf("%d in a write, want %d: %v", have, 10*n+1, err)
			}
			return set(tx, "other", n)
		}); err != nil {
			t.Fatal(err)
		}
		if have := read(); have != 10*n+1 {
			t.Errorf("%d, want %d: what somebody else wrote is not seen", have, 10*n+1)
		}
	}
}

// More rows than are kept: each is right, and what is kept has a bound.
func TestReadKeptMany(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 40 MB: not in short mode")
	}
	db, err := sqlite.OpenMemory(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const n, size = 400, 100_000
	content := func(i int) []byte { return bytes.Repeat([]byte{byte(i), byte(i >> 8)}, size/2) }
	if err := db.Write(ctx, func(tx *sqlstore.Tx) error {
		for i := range n {
			if err := tx.PutBlob("test", fmt.Sprint(i), content(i)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for range 3 * n {
		i := rand.IntN(n)
		err := db.ReadKept(ctx, func(tx *sqlstore.Tx) error {
			raw, err := tx.Blob("test", fmt.Sprint(i))
			if err == nil && !bytes.Equal(raw, content(i)) {
				t.Errorf("%d is not itself", i)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A read that asks for what is not kept, or lists, is one of a snapshot.
func TestReadKeptLists(t *testing.T) {
	both(t, func(t *testing.T, open func() *sqlstore.DB) {
		db := open()
		if err := db.Write(ctx, put("a")); err != nil {
			t.Fatal(err)
		}
		var all []string
		err := db.ReadKept(ctx, func(tx *sqlstore.Tx) (err error) {
			if _, err := tx.Blob("test", "a"); err != nil {
				return err
			}
			all, err = tx.BlobNames("test")
			return err
		})
		if err != nil || len(all) != 1 {
			t.Errorf("%q, %v", all, err)
		}
		if err := db.ReadKept(ctx, func(*sqlstore.Tx) error { return errOurs }); err != errOurs {
			t.Errorf("an error of ours: %v", err)
		}
		func() {
			defer func() { _ = recover() }()
			_ = db.ReadKept(ctx, func(tx *sqlstore.Tx) error {
				_, _, _ = tx.KVKey("m", "p")
				panic("ours")
			})
		}()
		if err := db.ReadKept(ctx, func(tx *sqlstore.Tx) error { return put("b")(tx) }); err == nil {
			t.Error("a write in a read")
		}
		wantNames(t, db, "a")
	})
}
