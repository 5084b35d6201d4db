package kv_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
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
)

// A writer to be killed is this program again, with these set: the database
// and an identity that opens the root.
const (
	killDriver   = "KV_TEST_KILL_DRIVER"
	killAddress  = "KV_TEST_KILL_ADDRESS"
	killIdentity = "KV_TEST_KILL_IDENTITY"
)

// killWriters is how many write at a time, each to a path of its own.
const killWriters = 6

func openFor(driver, address string) (*sqlstore.DB, error) {
	if driver == "sqlite" {
		return sqlite.Open(context.Background(), address)
	}
	return postgres.Open(context.Background(), address)
}

// writeUntilKilled writes, and says each version once it is durable.
func writeUntilKilled() error {
	ctx := context.Background()
	db, err := openFor(os.Getenv(killDriver), os.Getenv(killAddress))
	if err != nil {
		return err
	}
	id, err := age.ParseX25519Identity(os.Getenv(killIdentity))
	if err != nil {
		return err
	}
	var rec *keyring.Record
	if err := db.Read(ctx, func(tx *sqlstore.Tx) error { rec, err = keyring.Load(tx); return err }); err != nil {
		return err
	}
	ring := new(keyring.Ring)
	if _, err := ring.Unseal(ctx, rec, []age.Identity{id}, nil); err != nil {
		return err
	}
	m := kv.Open(server, "m1", ring, time.Now)
	var say sync.Mutex
	errs := make(chan error)
	for w := range killWriters {
		go func() {
			errs <- func() error {
				path := fmt.Sprintf("writer/%d", w)
				for {
					var n int64
					err := db.Write(ctx, func(tx *sqlstore.Tx) error {
						meta, err := m.ReadMeta(tx, path)
						if err != nil && vault.KindOf(err) != vault.KindNotFound {
							return err
						}
						n = meta.CurrentVersion + 1
						pad := strings.Repeat("x", int(n*997%5000))
						data := fmt.Sprintf(`{"begin":%d,"pad":%q,"end":%d}`, n, pad, n)
						was := n - 1
						if _, err := m.Put(tx, path, vault.NewValueString(data), kv.Write{CAS: &was}); err != nil {
							return err
						}
						// What stands for the audit entry: in the same transaction or not at all.
						return tx.PutBlob("entry", fmt.Sprint(w), []byte(strconv.FormatInt(n, 10)))
					})
					if err != nil {
						return err
					}
					say.Lock()
					fmt.Println(w, n)
					say.Unlock()
				}
			}()
		}()
	}
	return <-errs
}

// The server is killed at any moment while it writes: what was acknowledged is
// there, nothing is torn, and a change and its entry are both there or neither.
// KV_THOROUGH=1 does so 300 times on each database.
func TestKill(t *testing.T) { both(t, testKill) }

func testKill(t *testing.T, newBench func(testing.TB) *bench) {
	rounds := 24
	switch {
	case os.Getenv("KV_THOROUGH") != "":
		rounds = 300
	case testing.Short():
		rounds = 4
	}
	b := newBench(t)
	if err := b.db.Close(); err != nil {
		t.Fatal(err)
	}
	total, longest := 0, time.Duration(0)
	for round := range rounds {
		acked, after := writeAndKill(t, b)
		longest = max(longest, after)
		for _, n := range acked {
			total += int(n)
		}
		db, err := openFor(b.driver, b.address)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		b.db = db
		b.forget()
		for w := range killWriters {
			path := fmt.Sprintf("writer/%d", w)
			var entry int64
			b.read(func(tx *sqlstore.Tx) error {
				raw, err := tx.Blob("entry", fmt.Sprint(w))
				if err == nil {
					entry, err = strconv.ParseInt(string(raw), 10, 64)
				}
				if vault.KindOf(err) == vault.KindNotFound {
					err = nil
				}
				return err
			})
			v, err := b.get(path, 0)
			if err != nil && (vault.KindOf(err) != vault.KindNotFound || acked[w] > 0) {
				t.Fatalf("round %d: %s, acknowledged up to %d: %v", round, path, acked[w], err)
			}
			if v.Version < acked[w] || v.Version != entry {
				t.Fatalf("round %d: %s is at version %d, its entry at %d, acknowledged up to %d", round, path, v.Version, entry, acked[w])
			}
			if v.Version == 0 {
				continue
			}
			for n := max(1, v.Version-9); n <= v.Version; n++ {
				v, err := b.get(path, n)
				if err != nil {
					t.Fatalf("round %d: %s version %d: %v", round, path, n, err)
				}
				var whole struct {
					Begin, End int64
					Pad        string
				}
				if err := json.Unmarshal(v.Data.Reveal(), &whole); err != nil || whole.Begin != n || whole.End != n || len(whole.Pad) != int(n*997%5000) {
					t.Fatalf("round %d: %s version %d is torn", round, path, n)
				}
			}
		}
		b.clean()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if total == 0 {
		t.Error("nothing was ever written")
	}
	t.Logf("killed %d times, up to %v after the first acknowledged write", rounds, longest.Round(time.Millisecond))
}

// writeAndKill runs a writer, kills it a while after its first word, and
// returns the greatest version of each path that it said.
func writeAndKill(t *testing.T, b *bench) (acked [killWriters]int64, after time.Duration) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killDriver+"="+b.driver, killAddress+"="+b.address, killIdentity+"="+b.ids[0].(*age.X25519Identity).String())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	first := true
	after = time.Duration(rand.Int64N(int64(120 * time.Millisecond)))
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if first {
			time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
			first = false
		}
		var w int
		var n int64
		if _, err := fmt.Sscan(lines.Text(), &w, &n); err == nil {
			acked[w] = max(acked[w], n)
		}
	}
	if first {
		_ = cmd.Wait()
		t.Fatalf("the writer wrote nothing: %s", said.String())
	}
	return acked, after
}
