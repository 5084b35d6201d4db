package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"

	"envrun/vault/keyring"
	"envrun/vault/server"
	"envrun/vault/sqlite"
	"envrun/vault/vaulttest/pgtest"
)

// onDisk is an unsealed server, with the environment prod, on a disk of its own of a size.
func onDisk(t *testing.T, size string) (w *world, disk string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make a small disk: what a server does on a full one is not tested here")
	}
	disk = t.TempDir()
	out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", disk).CombinedOutput()
	if err != nil {
		t.Skipf("no small disk can be made here: %s", out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", disk).CombinedOutput(); err != nil {
			t.Errorf("%s", out)
		}
	})
	db, err := sqlite.Open(t.Context(), filepath.Join(disk, "data.db"))
	if err != nil {
		t.Fatal(err)
	}
	w = worldOn(t, db)
	if _, _, err := w.Init(t.Context(), server.Setup{Sealers: sealers(t)[1:], Token: "root", Open: true, Environments: []string{"prod"}}); err != nil {
		t.Fatal(err)
	}
	return w, disk
}

// sound checks that all that was acknowledged is there, and that the audit log and
// everything else in the database is as it was written.
func (w *world) sound(acked map[string]string) {
	w.Helper()
	for path, value := range acked {
		if s := w.must(200, "root", "GET", "prod/data/"+path, ""); !strings.Contains(s.raw, value) {
			w.Errorf("%s was acknowledged and is not there: %.200s", path, s.raw)
		}
	}
	v, err := w.Verify(w.Context())
	if err != nil || len(v.Findings) != 0 {
		w.Errorf("%v, %v", v.Findings, err)
	}
}

// healthy checks what sys/health says of the database: "" for nothing.
func (w *world) healthy(want string) {
	w.Helper()
	s := w.must(200, "", "GET", "sys/health", "")
	if has := strings.Contains(s.raw, "database: "); has != (want != "") || !strings.Contains(s.raw, want) {
		w.Errorf("health says %s, want %q", s.raw, want)
	}
}

// The disk runs full: every request is refused in words, health says why, nothing
// that was acknowledged is lost, and with room again all goes on by itself.
func TestServerDiskFull(t *testing.T) {
	w, disk := onDisk(t, "6m")
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, bytes.Repeat([]byte{1}, 2_000_000), 0o600); err != nil {
		t.Fatal(err)
	}
	w.healthy("")
	const full = "no space is left on its disk"
	acked := map[string]string{}
	refused := 0
	for i := 0; refused < 10; i++ {
		if i > 5000 {
			t.Fatal("the disk does not get full")
		}
		path, value := fmt.Sprintf("p/%d", i), strings.Repeat(fmt.Sprintf("%08d", i), 1000)
		switch s := w.ask("root", "POST", "prod/data/"+path, `{"data":{"v":"`+value+`"}}`); {
		case s.status == 200:
			acked[path] = value
		case s.status == 500 && strings.Contains(s.raw, full):
			refused++
		default:
			t.Fatalf("%d %s", s.status, s.raw)
		}
	}
	w.healthy(full)
	// A read needs its entries too: it may still have room for some.
	for i := 0; ; i++ {
		s := w.ask("root", "GET", "prod/data/p/0", "")
		if s.status == 500 && strings.Contains(s.raw, full) {
			break
		}
		if s.status != 200 || i > 5000 {
			t.Fatalf("%d %s", s.status, s.raw)
		}
	}
	w.healthy(full)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	w.must(200, "root", "POST", "prod/data/after", `{"data":{"v":"there is room again"}}`)
	acked["after"] = "there is room again"
	w.healthy("")
	w.sound(acked)
}

// The file system gives up, as after an error of its disk, and is read-only under the
// server: every request is refused. Mounted again it has all that was acknowledged.
func TestServerReadOnly(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make a disk: what a server does on one that gives up is not tested here")
	}
	image, disk := filepath.Join(t.TempDir(), "image"), t.TempDir()
	run := func(name string, args ...string) error {
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", name, err, out)
		}
		return nil
	}
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(32<<20), f.Close()); err != nil {
		t.Fatal(err)
	}
	mount := func() error { return run("mount", "-o", "loop", image, disk) }
	if err := errors.Join(run("mkfs.ext4", "-q", image), mount()); err != nil {
		t.Skipf("no disk can be made here: %v", err)
	}
	t.Cleanup(func() { _ = run("umount", "-l", disk) })
	file := filepath.Join(disk, "data.db")
	db, err := sqlite.Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	w := worldOn(t, db)
	set := server.Setup{Sealers: []keyring.AgeSealer{{Name: "ops", Recipient: id.Recipient().String()}}, Token: "root", Open: true, Environments: []string{"prod"}}
	if _, _, err := w.Init(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	acked := map[string]string{}
	for i := range 20 {
		path, value := fmt.Sprint(i), fmt.Sprintf("value-%d", i)
		w.must(200, "root", "POST", "prod/data/"+path, `{"data":{"v":"`+value+`"}}`)
		acked[path] = value
	}
	if err := run("mount", "-o", "remount,abort", disk); err != nil {
		t.Skipf("the file system cannot be made to give up: %v", err)
	}
	for _, c := range []struct{ token, method, body string }{{"root", "POST", `{"data":{"v":"lost"}}`}, {"root", "GET", ""}, {"", "GET", ""}} {
		if s := w.ask(c.token, c.method, "prod/data/1", c.body); s.status < 500 || strings.Contains(s.raw, "value-1") {
			t.Errorf("%s on a disk that gave up: %d %s", c.method, s.status, s.raw)
		}
	}
	_ = db.Close()
	if err := errors.Join(run("umount", disk), mount()); err != nil {
		t.Fatal(err)
	}
	if db, err = sqlite.Open(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	w = worldOn(t, db)
	if _, err := w.Unseal(t.Context(), []age.Identity{id}); err != nil {
		t.Fatal(err)
	}
	w.sound(acked)
}

// The database is killed under a server that is written and read, and comes back:
// the server goes on by itself.
func TestServerDatabaseGone(t *testing.T) {
	if testing.Short() {
		t.Skip("kills a PostgreSQL server: not in short mode")
	}
	pg := pgtest.Start(t, true)
	w := onPostgres(t, pg.Database(t))
	if _, _, err := w.Init(t.Context(), server.Setup{Sealers: sealers(t)[1:], Token: "root", Open: true, Environments: []string{"prod"}}); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	acked := map[string]string{}
	var written, refused atomic.Int64
	var stop atomic.Bool
	var work sync.WaitGroup
	for i := range 4 {
		work.Go(func() {
			for n := 0; !stop.Load(); n++ {
				path, value := fmt.Sprintf("w%d/%d", i, n), fmt.Sprintf("value-%d-%d", i, n)
				switch s := w.ask("root", "POST", "prod/data/"+path, `{"data":{"v":"`+value+`"}}`); s.status {
				case 200:
					mu.Lock()
					acked[path] = value
					mu.Unlock()
					written.Add(1)
				case 500, 503:
					refused.Add(1)
					time.Sleep(time.Millisecond)
				default:
					t.Errorf("%d %s", s.status, s.raw)
				}
			}
		})
	}
	until := func(what string, n *atomic.Int64) {
		t.Helper()
		for was, end := n.Load(), time.Now().Add(time.Minute); n.Load() < was+10; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}
	for range 2 {
		until("nothing is written", &written)
		pg.Kill()
		until("nothing is refused", &refused)
		if s := w.ask("", "GET", "sys/health", ""); s.status != 503 || !strings.Contains(s.raw, "the database does not answer") {
			t.Errorf("health without a database: %d %s", s.status, s.raw)
		}
		pg.Restart(t)
	}
	until("nothing is written again", &written)
	stop.Store(true)
	work.Wait()
	w.must(200, "", "GET", "sys/health", "")
	w.sound(acked)
}
