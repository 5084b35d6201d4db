package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"envrun/auth"
	"envrun/auth/keychain"
	"envrun/auth/session"
)

const childVar = "ENVRUN_SESSION_TEST"

// died is how a child ends that died where it was told to.
const died = 9

// task is what a child does.
type task struct {
	Dir      string // of the store
	Chains   string // folder of its keychains; empty: the machine's own
	Names    []string
	Filed    string // what items of the machine's keychains are filed under
	Keep     string
	Deadline time.Duration // of the machine's keychains; 0: as it is
	Do       string        // put, renew, delete, open, prepare, busy
	ID       string        // of the session
	Die      int           // at this step; 0: not at all
	Issuer   string        // where the issuer of renew counts, in a file
	Wait     string        // a file that is waited for while the lock is held
}

func (k task) store() *session.Store {
	s := storeAt(k.Dir, &chains{Dir: k.Chains, Names: k.Names})
	if k.Chains == "" {
		s.Keychains = keychain.Options{Service: k.Filed, MayForget: true, Deadline: k.Deadline}
	}
	s.Keep = k.Keep
	s.Passphrase = func(context.Context, string, bool) ([]byte, error) { return []byte("one"), nil }
	return s
}

// child does a task and prints how it ended.
func child(script string) int {
	var k task
	if err := json.Unmarshal([]byte(script), &k); err != nil {
		fmt.Println(err)
		return 1
	}
	s := k.store()
	if k.Die > 0 {
		s.SetStep(func(string) {
			if k.Die--; k.Die == 0 {
				os.Exit(died)
			}
		})
	}
	ctx := context.Background()
	var err error
	switch k.Do {
	case "put":
		_, err = s.Put(ctx, someone, aRecord())
	case "login":
		var unlock func()
		if unlock, err = s.AwaitLogin(ctx); err == nil {
			unlock()
		}
	case "open":
		_, _, err = s.Open(ctx, k.ID)
	case "prepare":
		var p session.Place
		if p, err = s.Prepare(ctx); err == nil {
			fmt.Println(p.Name)
		}
	case "delete":
		err = s.Delete(ctx, k.ID)
	case "renew":
		var r session.Record
		if r, err = s.Fresh(ctx, k.ID, k.renew, stale); err == nil {
			fmt.Print(r.Token.Reveal())
		}
	default:
		err = errors.New("no such task")
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// stale are records with the token of aRecord.
func stale(r session.Record) bool { return r.Token == aRecord().Token }

// renew is an issuer that rotates refresh tokens, and takes each once, and a
// server that signs in with what the issuer gives.
func (k task) renew(_ context.Context, was session.Record, save func(session.Record) error) (session.Record, error) {
	if k.Wait != "" {
		if err := os.WriteFile(k.Wait+".held", nil, 0o600); err != nil {
			return was, err
		}
		if !appears(k.Wait) {
			return was, errors.New("waited for nothing")
		}
	}
	if k.Issuer != "" {
		// A line for each request, appended in one write.
		f, err := os.OpenFile(k.Issuer, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return was, err
		}
		fmt.Fprintln(f, was.RefreshToken.Reveal())
		f.Close()
	}
	next := was
	next.RefreshToken = auth.NewSecret(was.RefreshToken.Reveal() + "'")
	if err := save(next); err != nil {
		return was, err
	}
	if k.Issuer != "" { // from here on the new one is in use
		if err := os.WriteFile(k.Issuer+".used", []byte(next.RefreshToken.Reveal()), 0o600); err != nil {
			return was, err
		}
	}
	next.Token = auth.NewSecret(was.Token.Reveal() + "'")
	return next, nil
}

// appears waits for a file.
func appears(file string) bool {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(file); err == nil {
			return true
		}
	}
	return false
}

// command is a child that does the task.
func (k task) command(t testing.TB) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "GOTRACEBACK=none", childVar+"="+string(script))
	return cmd
}

// runs does the task in a child; it reports whether that died.
func (k task) runs(t testing.TB) bool {
	t.Helper()
	out, err := k.command(t).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return false
	case errors.As(err, &exit) && exit.ExitCode() == died:
		return true
	}
	t.Fatalf("%s: %v: %s", k.Do, err, out)
	return false
}

func taskOf(s *session.Store, do, id string) task {
	c := s.Keychains.(*chains)
	return task{Dir: s.Dir, Chains: c.Dir, Names: c.Names, Keep: s.Keep, Do: do, ID: id}
}

// Sixteen processes find a token that has expired, and one renews it.
func TestProcesses(t *testing.T) {
	s, _ := newStore(t)
	a := put(t, s, someone, aRecord())
	k := taskOf(s, "renew", a.ID)
	k.Issuer = filepath.Join(t.TempDir(), "issuer")
	type result struct {
		out []byte
		err error
	}
	const n = 16
	results := make(chan result, n)
	for range n {
		cmd := k.command(t)
		go func() {
			out, err := cmd.CombinedOutput()
			results <- result{out, err}
		}()
	}
	want := aRecord().Token.Reveal() + "'"
	for range n {
		if r := <-results; r.err != nil || string(r.out) != want {
			t.Errorf("got %q, %v", r.out, r.err)
		}
	}
	if asked, err := os.ReadFile(k.Issuer); err != nil || string(asked) != aRecord().RefreshToken.Reveal()+"\n" {
		t.Errorf("the issuer was asked %q, %v", asked, err)
	}
	if r := open(t, again(s), a.ID); r.Gen != 3 || r.RefreshToken.Reveal() != aRecord().RefreshToken.Reveal()+"'" {
		t.Errorf("generation %d", r.Gen)
	}
}

// While another process renews, a sign-out and a sign-in are neither kept waiting
// nor undone.
func TestDeletedWhileRenewed(t *testing.T) {
	for _, then := range []string{"delete", "sign in", "delete and sign in"} {
		t.Run(then, func(t *testing.T) {
			t.Parallel()
			s, c := newStore(t)
			a := put(t, s, someone, aRecord())
			k := taskOf(s, "renew", a.ID)
			k.Wait = filepath.Join(t.TempDir(), "go")
			cmd := k.command(t)
			ended := make(chan string, 1)
			go func() {
				out, err := cmd.CombinedOutput()
				ended <- fmt.Sprintf("%s%v", out, err)
			}()
			if !appears(k.Wait + ".held") {
				t.Fatal("it does not begin")
			}
			if then != "sign in" {
				if err := s.Delete(t.Context(), a.ID); err != nil {
					t.Error(err)
				}
			}
			var gen uint64
			if then != "delete" {
				r := aRecord()
				r.Token = auth.NewSecret("another")
				a = put(t, s, someone, r)
				gen = open(t, s, a.ID).Gen
			}
			if err := os.WriteFile(k.Wait, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if got := <-ended; got != session.ErrRetired.Error()+"\nexit status 1" {
				t.Errorf("it says %q", got)
			}
			if then == "delete" {
				if len(accounts(t, again(s))) != 0 || len(files(t, s.Dir)) != 0 || len(c.Holds(t)) != 0 {
					t.Errorf("it left %v and %v", files(t, s.Dir), c.Holds(t))
				}
				return
			}
			if r := open(t, again(s), a.ID); r.Token.Reveal() != "another" || r.Gen != gen {
				t.Errorf("the new sign-in was changed: generation %d", r.Gen)
			}
		})
	}
}

// Whoever does not get the lock does not renew.
func TestBusy(t *testing.T) {
	s, _ := newStore(t)
	a := put(t, s, someone, aRecord())
	k := taskOf(s, "renew", a.ID)
	k.Wait = filepath.Join(t.TempDir(), "go")
	cmd := k.command(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if !appears(k.Wait + ".held") {
		t.Fatal("it does not begin")
	}
	s.SetPatience(100 * time.Millisecond)
	never := func(context.Context, session.Record, func(session.Record) error) (session.Record, error) {
		t.Error("renewed without the lock")
		return session.Record{}, nil
	}
	var busy *session.BusyError
	if _, err := s.Fresh(t.Context(), a.ID, never, stale); !errors.As(err, &busy) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Fresh(ctx, a.ID, never, stale); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	// What can be done without renewing can be done meanwhile.
	if r, err := s.Fresh(t.Context(), a.ID, never, func(session.Record) bool { return false }); err != nil || r.Gen != 1 {
		t.Errorf("got generation %d, %v", r.Gen, err)
	}
	// It ends, or dies, and the lock with it.
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	s.SetPatience(0)
	r, err := s.Fresh(t.Context(), a.ID, task{}.renew, stale)
	if err != nil || r.Gen != 3 {
		t.Errorf("got generation %d, %v", r.Gen, err)
	}
}

// At the last moment another process may bring what was waited for.
func TestBusyAndAdopted(t *testing.T) {
	s, _ := newStore(t)
	a := put(t, s, someone, aRecord())
	held, release := make(chan struct{}), make(chan struct{})
	go func() {
		_, _ = again(s).Fresh(context.Background(), a.ID, func(_ context.Context, was session.Record, save func(session.Record) error) (session.Record, error) {
			was.Token = auth.NewSecret("new")
			err := save(was)
			close(held)
			<-release
			return was, err
		}, stale)
	}()
	defer close(release)
	<-held
	s.SetPatience(50 * time.Millisecond)
	asked := 0
	r, err := s.Fresh(t.Context(), a.ID, nil, func(r session.Record) bool {
		asked++
		return asked == 1 // as if it had been read before
	})
	if err != nil || r.Token.Reveal() != "new" || asked != 2 {
		t.Errorf("asked %d times, got %v", asked, err)
	}
}
