// Package pgtest is a PostgreSQL server for tests: the machine's own programs,
// on a folder of its own and a unix socket in it, ended with the tests. Where
// PostgreSQL is not installed the tests that ask for it are skipped, and say so.
//
// It refuses to use a server that is there already.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// A Server is one PostgreSQL server.
type Server struct {
	dir     string
	bin     string
	durable bool
	as      *user.User // nil: as we are

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	n    int
}

var shared struct {
	sync.Mutex
	server *Server
}

// Main runs the tests of a package and ends the server that Database started:
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
func Main(m *testing.M) int {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil {
		shared.server.Close()
	}
	return code
}

// Database is the address of a new, empty database on the server that all
// tests of the package share. The package has a TestMain that calls Main.
func Database(t testing.TB) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		s, err := start(t, false)
		if err != nil {
			t.Fatal(err)
		}
		shared.server = s
	}
	return shared.server.Database(t)
}

// Start starts a server for one test, to be stopped and killed. durable says
// that it is to survive that: it calls fsync.
func Start(t testing.TB, durable bool) *Server {
	t.Helper()
	s, err := start(t, durable)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func start(t testing.TB, durable bool) (*Server, error) {
	s, err := New(durable)
	if errors.Is(err, ErrMissing) {
		t.Skip("PostgreSQL is not installed here: what is said of it is not tested")
	}
	return s, err
}

// ErrMissing says that PostgreSQL is not installed here.
var ErrMissing = errors.New("PostgreSQL is not installed here")

// New starts a server for somebody else than a test, who ends it with Close.
func New(durable bool) (*Server, error) {
	bin := programs()
	if bin == "" {
		return nil, ErrMissing
	}
	dir, err := os.MkdirTemp("", "envrun-pg-") // t.TempDir is too long for a socket
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, bin: bin, durable: durable}
	if os.Geteuid() == 0 { // PostgreSQL refuses to be root
		for _, name := range []string{"postgres", "nobody"} {
			if s.as, err = user.Lookup(name); err == nil {
				break
			}
		}
		if err != nil {
			return nil, err
		}
		uid, _ := strconv.Atoi(s.as.Uid)
		gid, _ := strconv.Atoi(s.as.Gid)
		if err := os.Chown(dir, uid, gid); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command(filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "envrun", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8")
	s.prepare(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	if err := s.start(); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return s, nil
}

// programs is the folder of the newest PostgreSQL there is.
func programs() string {
	if p, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(p)
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return ""
	}
	slices.Sort(found)
	return filepath.Dir(found[len(found)-1])
}

func (s *Server) start() error {
	fsync := "off"
	if s.durable {
		fsync = "on"
	}
	cmd := exec.Command(filepath.Join(s.bin, "postgres"), "-D", filepath.Join(s.dir, "data"), "-k", s.dir, "-h", "",
		"-c", "fsync="+fsync, "-c", "max_connections=200", "-c", "shared_buffers=32MB")
	s.prepare(cmd)
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	s.cmd, s.done = cmd, done
	deadline := time.Now().Add(time.Minute)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		c, err := pgx.Connect(ctx, s.address("postgres"))
		if err == nil {
			_ = c.Close(ctx)
			cancel()
			return nil
		}
		cancel()
		select {
		case <-done:
			text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			return fmt.Errorf("postgres ended: %s", text)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("postgres does not answer: %w", err)
		}
	}
}

func (s *Server) address(database string) string {
	return "host=" + s.dir + " user=envrun dbname=" + database
}

// Dir is a new folder that the server may write.
func (s *Server) Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(s.dir, "dir-")
	if err != nil {
		t.Fatal(err)
	}
	s.Own(t, dir)
	return dir
}

// Own makes the server the owner of a folder.
func (s *Server) Own(t testing.TB, dir string) {
	t.Helper()
	if s.as == nil {
		return
	}
	uid, _ := strconv.Atoi(s.as.Uid)
	gid, _ := strconv.Atoi(s.as.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
}

// Address is that of a database.
func (s *Server) Address(database string) string { return s.address(database) }

// URL is the same as a URL.
func (s *Server) URL(database string) string {
	return "postgres://envrun@/" + database + "?host=" + url.QueryEscape(s.dir)
}

// Process is the id of the process whose children serve.
func (s *Server) Process() int { return s.cmd.Process.Pid }

// Database is the address of a new, empty database.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	s.mu.Lock()
	s.n++
	name := fmt.Sprint("test", s.n)
	s.mu.Unlock()
	s.Exec(t, "postgres", "CREATE DATABASE "+name)
	return s.address(name)
}

// Exec runs statements in a database of the server, past everything that is tested.
func (s *Server) Exec(t testing.TB, database, statements string) {
	t.Helper()
	ctx := context.Background()
	c, err := pgx.Connect(ctx, s.address(database))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	if _, err := c.Exec(ctx, statements); err != nil {
		t.Fatal(err)
	}
}

// Kill ends the server as a power cut would, as far as one machine can.
func (s *Server) Kill() { s.end(os.Kill) }

// Restart starts the server again after Kill.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	// Its children have seen it die, and may take a moment to let go of the
	// memory: until then the new one refuses to begin.
	var err error
	for range 200 {
		if err = s.start(); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal(err)
}

func (s *Server) end(how os.Signal) {
	select {
	case <-s.done:
		return
	default:
	}
	if err := s.cmd.Process.Signal(how); err != nil && !errors.Is(err, os.ErrProcessDone) {
		panic("pgtest: " + err.Error())
	}
	<-s.done
}

// Close ends the server and removes its data.
func (s *Server) Close() {
	s.end(os.Interrupt) // what it calls a fast shutdown
	os.RemoveAll(s.dir)
}
