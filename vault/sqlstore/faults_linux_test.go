package sqlstore_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"envrun/vault"
	"envrun/vault/postgres"
	"envrun/vault/sqlite"
	"envrun/vault/sqlstore"
	"envrun/vault/vaulttest/pgtest"
)

// small mounts a file system of a size on a folder.
func small(t *testing.T, dir, size string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make a small disk: that a full one loses nothing is not tested here")
	}
	out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput()
	if err != nil {
		t.Skipf("no small disk can be made here: %s", out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("%s", out)
		}
	})
}

// The disk is full: a write says so, everything that was acknowledged is there
// and can be read, and when there is room again writes go on.
func TestDiskFull(t *testing.T) {
	for _, kind := range []string{"sqlite", "postgres"} {
		t.Run(kind, func(t *testing.T) {
			var db *sqlstore.DB
			var err error
			disk := t.TempDir()
			if kind == "sqlite" {
				small(t, disk, "2m")
			} else {
				if testing.Short() {
					t.Skip("fills a disk slowly: not in short mode")
				}
				s := pgtest.Start(t, false)
				disk = s.Dir(t)
				small(t, disk, "24m")
				s.Own(t, disk)
				s.Exec(t, "postgres", "CREATE TABLESPACE small LOCATION '"+disk+"'")
				s.Exec(t, "postgres", "CREATE DATABASE full_disk TABLESPACE small")
				db, err = postgres.Open(ctx, s.Address("full_disk"))
			}
			ballast := filepath.Join(disk, "ballast")
			if err := os.WriteFile(ballast, bytes.Repeat([]byte{1}, 500_000), 0o600); err != nil {
				t.Fatal(err)
			}
			if kind == "sqlite" {
				db, err = sqlite.Open(ctx, filepath.Join(disk, "data.db"))
			}
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			var kept []string
			big := bytes.Repeat([]byte("0123456789abcdef"), 500)
			write := func(i int) error {
				name := fmt.Sprintf("%06d", i)
				// What cannot be pressed together.
				raw := make([]byte, len(big))
				for j := range raw {
					raw[j] = big[j] ^ byte(i*31+j*j>>3)
				}
				err := db.Write(ctx, func(tx *sqlstore.Tx) error { return tx.PutBlob("test", name, raw) })
				if err == nil {
					kept = append(kept, name)
				}
				return err
			}
			full := 0
			for i := 0; full < 20; i++ {
				if i > 20000 {
					t.Fatal("the disk does not get full")
				}
				switch err := write(i); {
				case err == nil:
				case vault.KindOf(err) == vault.KindFull:
					full++
				default:
					t.Fatalf("not said to be full: %v", err)
				}
			}
			check := func() {
				t.Helper()
				if there := names(t, db); !slices.Equal(there, kept) {
					t.Errorf("%d are there of %d that were acknowledged", len(there), len(kept))
				}
			}
			check()
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			for i := range 5 {
				if err := write(100_000 + i); err != nil {
					t.Errorf("there is room again: %v", err)
				}
			}
			check()
		})
	}
}

func TestReadOnlyDisk(t *testing.T) {
	disk := t.TempDir()
	small(t, disk, "2m")
	file := filepath.Join(disk, "data.db")
	db, err := sqlite.Open(ctx, file)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Write(ctx, put("a")); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	remount := func(how string) {
		t.Helper()
		if out, err := exec.Command("mount", "-o", "remount,"+how, disk).CombinedOutput(); err != nil {
			t.Fatalf("%s", out)
		}
	}
	remount("ro")
	if _, err := sqlite.Open(ctx, file); vault.KindOf(err) != vault.KindReadOnly {
		t.Errorf("a disk that cannot be written: %v", err)
	}
	if _, err := sqlite.Open(ctx, filepath.Join(disk, "new.db")); vault.KindOf(err) != vault.KindReadOnly {
		t.Errorf("a new file on it: %v", err)
	}
	remount("rw")
	if db, err = sqlite.Open(ctx, file); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	wantNames(t, db, "a")
}
