package server_test

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"envrun/vault/keyring"
	"envrun/vault/postgres"
	"envrun/vault/server"
	"envrun/vault/sqlite"
	"envrun/vault/sqlstore"
	"envrun/vault/vaulttest/pgtest"
)

// rotated waits until the rotation of a mount has come to its end.
func (w *world) rotated(mount string) {
	w.Helper()
	if err := w.Rotate(w.Context()); err != nil {
		w.Fatal(err)
	}
	if s := w.must(200, "root", "GET", "sys/rotate/env/"+mount, ""); s.data()["done"] != true || s.data()["problem"] != nil {
		w.Fatalf("not rotated: %s", s.raw)
	}
}

func TestRotate(t *testing.T) {
	w := newWorld(t)
	w.must(204, "root", "POST", "sys/mounts/team/prod", `{"type":"kv-v2"}`)
	for i := range 250 {
		w.must(200, "root", "POST", fmt.Sprintf("team/prod/data/%d", i), `{"data":{"k":"v"}}`)
	}
	w.must(404, "root", "PUT", "sys/rotate/env/nowhere", "")
	w.must(404, "root", "PUT", "sys/rotate/env/cubbyhole", "")
	w.must(404, "root", "PUT", "sys/rotate/env/team", "")
	w.must(403, "", "PUT", "sys/rotate", "")
	w.must(403, w.token(`path "sys/rotate*" { capabilities = ["update", "read"] }`), "PUT", "sys/rotate", "")
	w.must(403, w.token(`path "sys/rotate/keyring" { capabilities = ["update"] }`), "PUT", "sys/rotate/keyring", "")
	if s := w.must(200, "root", "GET", "sys/rotate/env/team/prod", ""); s.data()["done"] != true || fmt.Sprint(s.data()["generation"]) != "1" {
		t.Error(s.raw)
	}
	s := w.must(200, "root", "PUT", "sys/rotate/env/team/prod", "")
	if d := s.data(); fmt.Sprintf("%v %v %v", d["done"], d["generation"], d["total"]) != "false 2 500" {
		t.Error(s.raw)
	}
	// One that goes on is joined.
	if s := w.must(200, "root", "PUT", "sys/rotate/env/team/prod", ""); fmt.Sprint(s.data()["generation"]) != "2" || !strings.Contains(s.raw, "goes on") {
		t.Error(s.raw)
	}
	w.must(200, "root", "POST", "team/prod/data/0", `{"data":{"k":"v2"}}`)
	w.rotated("team/prod")
	// Reading counts nothing, and the root key is another one at every call.
	w.must(200, "root", "GET", "sys/key-status", "")
	w.must(204, "root", "PUT", "sys/rotate", "")
	w.must(204, "root", "POST", "sys/rotate", "")
	w.must(204, "root", "POST", "sys/rotate/keyring", "")
	if now := fmt.Sprint(w.must(200, "root", "GET", "sys/key-status", "").body["term"]); now != "4" {
		t.Errorf("the root key is of generation %s after three rotations", now)
	}
	for i := range 250 {
		w.must(200, "root", "GET", fmt.Sprintf("team/prod/data/%d?version=1", i), "")
	}
	if v, err := w.Verify(t.Context()); err != nil || len(v.Findings) != 0 {
		t.Error(v, err)
	}
	// A mount that goes takes its rotation along.
	w.must(200, "root", "PUT", "sys/rotate/env/team/prod", "")
	w.must(204, "root", "DELETE", "sys/mounts/team/prod", "")
	if err := w.Rotate(t.Context()); err != nil {
		t.Error(err)
	}
	w.must(404, "root", "GET", "sys/rotate/env/team/prod", "")
}

// A row that somebody edited stops the rotation, which says so, loses nothing, and goes on
// when the path is gone.
func TestRotateTampered(t *testing.T) {
	file := filepath.Join(t.TempDir(), "data.db")
	db, err := sqlite.Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	w := worldOn(t, db)
	if _, _, err := w.Init(t.Context(), server.Setup{Sealers: sealers(t)[1:], Token: "root", Open: true}); err != nil {
		t.Fatal(err)
	}
	w.must(204, "root", "POST", "sys/mounts/prod", `{"type":"kv-v2"}`)
	for _, p := range []string{"a", "b", "c"} {
		w.must(200, "root", "POST", "prod/data/"+p, `{"data":{"k":"v"}}`)
	}
	past, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer past.Close()
	if _, err := past.Exec(`UPDATE kv_versions SET key = (SELECT key FROM kv_versions WHERE path = 'a') WHERE path = 'b'`); err != nil {
		t.Fatal(err)
	}
	w.must(200, "root", "PUT", "sys/rotate/env/prod", "")
	if err := w.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := w.must(200, "root", "GET", "sys/rotate/env/prod", "")
	if problem, _ := s.data()["problem"].(string); s.data()["done"] != false || !strings.Contains(problem, "b") {
		t.Error(s.raw)
	}
	w.must(200, "root", "GET", "prod/data/a", "")
	w.must(200, "root", "GET", "prod/data/c", "")
	w.must(204, "root", "DELETE", "prod/metadata/b", "")
	w.rotated("prod")
}

// A replica of a rotation test is this program again, with these set: the database and an
// identity that opens the root. It says where it listens.
const (
	replicaDriver   = "SERVER_TEST_REPLICA_DRIVER"
	replicaAddress  = "SERVER_TEST_REPLICA_ADDRESS"
	replicaIdentity = "SERVER_TEST_REPLICA_IDENTITY"
)

func openDatabase(ctx context.Context, driver, address string) (*sqlstore.DB, error) {
	if driver == "sqlite" {
		return sqlite.Open(ctx, address)
	}
	return postgres.Open(ctx, address)
}

// replica serves until it is killed.
func replica() error {
	ctx := context.Background()
	db, err := openDatabase(ctx, os.Getenv(replicaDriver), os.Getenv(replicaAddress))
	if err != nil {
		return err
	}
	id, err := age.ParseX25519Identity(os.Getenv(replicaIdentity))
	if err != nil {
		return err
	}
	s := server.New(server.Config{DB: database{DB: db}, Version: "1.18.0", StorageType: "test"})
	if _, err := s.Unseal(ctx, []age.Identity{id}); err != nil {
		return err
	}
	if err := s.Attend(ctx); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + l.Addr().String())
	go func() { // it ends with who started it, too
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	go func() {
		for {
			if err := errors.Join(s.Rotate(ctx), s.Attend(ctx)); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	return http.Serve(l, s)
}

// process is a replica that runs.
type process struct {
	cmd *exec.Cmd
	url string
}

func startReplica(t *testing.T, driver, address, identity string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), replicaDriver+"="+driver, replicaAddress+"="+address, replicaIdentity+"="+identity)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		_ = p.cmd.Wait()
		t.Fatalf("the replica did not start: %v", err)
	}
	p.url = strings.TrimSpace(line)
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// do asks a replica; 0 if it did not answer, as one that was killed.
func (p *process) do(method, path, body string) (int, map[string]any) {
	req, err := http.NewRequest(method, p.url+"/v1/"+path, strings.NewReader(body))
	if err != nil {
		return 0, nil
	}
	req.Header.Set("X-Vault-Token", "root")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil
	}
	defer res.Body.Close()
	var answer map[string]any
	_ = json.NewDecoder(res.Body).Decode(&answer)
	return res.StatusCode, answer
}

// The root key and the key of an environment are rotated again and again while
// servers are read and written and killed at any moment: every value that was acknowledged
// can be read at every moment, and in the end no row is left under a former key.
// SERVER_THOROUGH=1 kills 150 times.
func TestRotateUnderKills(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		testRotateUnderKills(t, "sqlite", "sqlite", filepath.Join(t.TempDir(), "data.db"), 1)
	})
	t.Run("postgres", func(t *testing.T) {
		if testing.Short() {
			t.Skip("starts PostgreSQL: not in short mode")
		}
		testRotateUnderKills(t, "postgres", "pgx", pgtest.Database(t), 2)
	})
}

func testRotateUnderKills(t *testing.T, driver, sqlDriver, address string, replicas int) {
	rounds, seeds := 10, 700
	switch {
	case os.Getenv("SERVER_THOROUGH") != "":
		rounds = 150
	case testing.Short():
		rounds, seeds = 3, 300
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	seedRotation(t, driver, address, id, seeds)
	all := make([]*process, replicas)
	for i := range all {
		all[i] = startReplica(t, driver, address, id.String())
	}
	var mu sync.Mutex // of all and acked
	defer func() {
		for _, p := range all {
			p.kill()
		}
	}()
	one := func() *process {
		mu.Lock()
		defer mu.Unlock()
		return all[rand.IntN(len(all))]
	}

	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	acked := map[string]int{}
	for i := range 4 { // write, each a path of its own
		work.Go(func() {
			path := fmt.Sprintf("prod/data/writer-%d", i)
			for n := 1; ctx.Err() == nil; {
				status, _ := one().do("POST", path, fmt.Sprintf(`{"data":{"n":%d}}`, n))
				if status == 200 {
					mu.Lock()
					acked[path] = n
					mu.Unlock()
					n++
				} else if status != 0 {
					t.Errorf("writing %s: %d", path, status)
				}
			}
		})
	}
	for range 3 { // read what was there from the beginning, in both versions, and what was written
		work.Go(func() {
			for ctx.Err() == nil {
				n := rand.IntN(seeds)
				path := fmt.Sprintf("prod/data/seed/%d?version=%d", n, 1+rand.IntN(2))
				status, body := one().do("GET", path, "")
				if status != 0 && (status != 200 || !strings.Contains(fmt.Sprint(body), fmt.Sprintf("seed:%d]", n))) {
					t.Errorf("reading %s: %d %v", path, status, body)
				}
				path = fmt.Sprintf("prod/data/writer-%d", rand.IntN(4))
				mu.Lock()
				least := acked[path]
				mu.Unlock()
				status, body = one().do("GET", path, "")
				if least == 0 || status == 0 {
					continue
				}
				data, _ := body["data"].(map[string]any)
				values, _ := data["data"].(map[string]any)
				if got, _ := values["n"].(float64); status != 200 || int(got) < least {
					t.Errorf("reading %s: %d %v, and %d was acknowledged", path, status, body, least)
				}
			}
		})
	}
	middle := 0
	for range rounds {
		if status, body := one().do("PUT", "sys/rotate/env/prod", "{}"); status != 200 {
			t.Errorf("rotating: %d %v", status, body)
		}
		if status, body := one().do("PUT", "sys/rotate", "{}"); status != 204 {
			t.Errorf("rotating the root: %d %v", status, body)
		}
		time.Sleep(time.Duration(rand.Int64N(int64(60 * time.Millisecond))))
		mu.Lock()
		i := rand.IntN(len(all))
		all[i].kill()
		if formerRows(t, sqlDriver, address) > 0 {
			middle++
		}
		all[i] = startReplica(t, driver, address, id.String())
		mu.Unlock()
	}
	stop()
	work.Wait()
	// It comes to its end by itself.
	var body map[string]any
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var status int
		status, body = all[0].do("GET", "sys/rotate/env/prod", "")
		data, _ := body["data"].(map[string]any)
		if status == 200 && data["done"] == true {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the rotation does not end: %d %v", status, body)
		}
	}
	for _, p := range all {
		p.kill()
	}
	if n := formerRows(t, sqlDriver, address); n != 0 {
		t.Errorf("%d rows are left under former keys", n)
	}
	for path, n := range acked {
		if n == 0 {
			t.Errorf("%s was never written", path)
		}
	}
	db, err := openDatabase(t.Context(), driver, address)
	if err != nil {
		t.Fatal(err)
	}
	w := worldOn(t, db)
	if _, err := w.Unseal(t.Context(), []age.Identity{id}); err != nil {
		t.Fatal(err)
	}
	v, err := w.Verify(t.Context())
	if err != nil || len(v.Findings) != 0 {
		t.Errorf("%v, %v", v.Findings, err)
	}
	for i := range seeds {
		for _, version := range []int{1, 2} {
			w.must(200, "root", "GET", fmt.Sprintf("prod/data/seed/%d?version=%d", i, version), "")
		}
	}
	t.Logf("killed %d times, %d of them in the middle of a rotation; %d entries", rounds, middle, v.Entries)
}

// seedRotation sets a server up, with two versions of each of many secrets.
func seedRotation(t *testing.T, driver, address string, id *age.X25519Identity, seeds int) {
	t.Helper()
	db, err := openDatabase(t.Context(), driver, address)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s := server.New(server.Config{DB: database{DB: db}, Version: "1.18.0", StorageType: "test"})
	set := server.Setup{Sealers: append(sealers(t), keyring.AgeSealer{Name: "ops", Recipient: id.Recipient().String()}), Token: "root", Open: true, Environments: []string{"prod"}}
	if _, _, err := s.Init(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { _ = http.Serve(l, s) }()
	p := &process{url: "http://" + l.Addr().String()}
	var work sync.WaitGroup
	for part := range 8 {
		work.Go(func() {
			for i := part; i < seeds; i += 8 {
				for range 2 {
					if status, body := p.do("POST", fmt.Sprintf("prod/data/seed/%d", i), fmt.Sprintf(`{"data":{"seed":%d}}`, i)); status != 200 {
						t.Errorf("%d %v", status, body)
					}
				}
			}
		})
	}
	work.Wait()
}

// formerRows is how many rows are sealed under another key than that of the head.
func formerRows(t *testing.T, driver, address string) (n int) {
	t.Helper()
	db, err := sql.Open(driver, address)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(`SELECT (SELECT count(*) FROM kv_versions v JOIN kv_mounts m ON v.mount = m.mount WHERE v.gen <> m.gen) +
		(SELECT count(*) FROM kv_keys k JOIN kv_mounts m ON k.mount = m.mount WHERE k.gen <> m.gen)`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
