package session_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"envrun/auth/session"
)

// dying is one change that dies somewhere, on a machine of its own.
type dying struct {
	s    *session.Store
	c    *chains
	a    session.Account
	task task
}

func newDying(t *testing.T, do string) dying {
	s, c := newStore(t)
	s.Keep = map[bool]string{true: session.ByPassphrase}[strings.HasSuffix(do, " passphrase")]
	do = strings.TrimSuffix(do, " passphrase")
	other := someone
	other.Role = "prod"
	a := someone
	if strings.HasPrefix(do, "renew") || do == "delete" {
		a = put(t, storeWith(s), someone, aRecord())
	}
	if do == "delete one of two" || do == "renew one of two" {
		a = put(t, storeWith(s), someone, aRecord())
		put(t, storeWith(s), other, aRecord())
		do, _, _ = strings.Cut(do, " ")
	}
	k := taskOf(s, do, a.ID)
	k.Issuer = filepath.Join(t.TempDir(), "issuer")
	return dying{s, c, a, k}
}

// storeWith is another process of the same machine, which knows the passphrase.
func storeWith(s *session.Store) *session.Store { return taskOf(s, "", "").store() }

// check looks at what is there after the death, and that all goes on from there.
func (d dying) check(t *testing.T, where string) {
	t.Helper()
	s := storeWith(d.s)
	all, err := s.Accounts()
	if err != nil {
		t.Errorf("%s: the index: %v", where, err)
		return
	}
	for _, a := range all {
		if _, _, err := s.Open(t.Context(), a.ID); err != nil {
			t.Errorf("%s: %v", where, err)
		}
	}
	there := slices.ContainsFunc(all, func(a session.Account) bool { return a.ID == d.a.ID && a.ID != "" })
	switch d.task.Do {
	case "renew":
		if !there {
			t.Errorf("%s: the session is gone", where)
			return
		}
		r := open(t, s, d.a.ID)
		// What was used is on the disk.
		if used, err := os.ReadFile(d.task.Issuer + ".used"); err == nil && len(used) > 0 && r.RefreshToken.Reveal() != string(used) {
			t.Errorf("%s: a refresh token is lost", where)
		}
		r, err := s.Fresh(t.Context(), d.a.ID, task{}.renew, stale)
		if err != nil || stale(r) {
			t.Errorf("%s: renewing again: %v", where, err)
		}
		if d.a = open2(t, s, d.a.ID); d.a.ID == "" {
			return
		}
	case "login":
		unlock, held, err := s.LockLogin(t.Context())
		if err != nil || held != nil {
			t.Errorf("%s: the lock: %v, %v", where, held, err)
			return
		}
		unlock()
	case "delete":
		if err := s.Delete(t.Context(), d.a.ID); err != nil && !errors.Is(err, session.ErrNoAccount) {
			t.Errorf("%s: deleting again: %v", where, err)
		}
	case "put":
		a, err := s.Put(t.Context(), someone, aRecord())
		if err != nil {
			t.Errorf("%s: signing in again: %v", where, err)
			return
		}
		d.a = a
	}
	// In the end nothing is left of it.
	for _, a := range accounts(t, s) {
		if err := s.Delete(t.Context(), a.ID); err != nil {
			t.Errorf("%s: %v", where, err)
		}
	}
	if left := files(t, s.Dir); len(left) > 0 {
		t.Errorf("%s: it leaves %v", where, left)
	}
	if left := slices.DeleteFunc(d.c.Holds(t), func(name string) bool {
		return strings.Contains(name, "/probe-") || strings.Contains(name, "/unlocked-")
	}); len(left) > 0 {
		t.Errorf("%s: the keychains still have %v", where, left)
	}
}

func open2(t *testing.T, s *session.Store, id string) session.Account {
	t.Helper()
	a, _, err := s.Open(t.Context(), id)
	if err != nil {
		t.Error(err)
	}
	return a
}

var changes = []string{"put", "put passphrase", "renew", "renew passphrase", "renew one of two", "delete", "delete passphrase", "delete one of two"}

// Wherever a change dies, what was there before or after it is there, no lock is
// held, and the next change removes what is left of it.
func TestCrash(t *testing.T) {
	steps := map[string]int{"put": 4, "put passphrase": 4, "renew": 5, "renew passphrase": 5, "renew one of two": 5, "delete": 4, "delete passphrase": 4, "delete one of two": 3}
	for _, do := range changes {
		t.Run(do, func(t *testing.T) {
			t.Parallel()
			n := 1
			for ; ; n++ {
				d := newDying(t, do)
				d.task.Die = n
				dead := d.task.runs(t)
				d.check(t, fmt.Sprintf("step %d", n))
				if !dead {
					break
				}
			}
			if n-1 != steps[do] {
				t.Errorf("could die at %d steps, want %d", n-1, steps[do])
			}
		})
	}
}

// The same, but that it dies before each system call that changes a file.
func TestKilledAtEachCall(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("suite session/killed at each system call skipped: no strace")
	}
	if testing.Short() {
		t.Skip("kills hundreds of processes: not in short mode")
	}
	calls := []string{"write", "fsync", "rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdirat", "flock", "openat"}
	if out, err := exec.CommandContext(t.Context(), strace, "-qq", "-f", "-o", "/dev/null", "true").CombinedOutput(); err != nil {
		t.Skipf("suite session/killed at each system call skipped: no process may be traced here: %v %s", err, out)
	}
	for _, do := range []string{"put", "renew", "delete", "delete one of two", "put passphrase", "login"} {
		for _, call := range calls {
			t.Run(do+" "+call, func(t *testing.T) {
				t.Parallel()
				deaths := 0
				for n := 1; ; n++ {
					d := newDying(t, do)
					cmd := d.task.command(t)
					cmd.Args = []string{strace, "-qq", "-f", "-o", "/dev/null", "-e", "trace=?" + call,
						"-e", "inject=?" + call + ":signal=KILL:when=" + strconv.Itoa(n), "--", cmd.Path}
					cmd.Path = strace
					out, err := cmd.CombinedOutput()
					if len(out) > 0 && !slices.Contains(strings.Fields(string(out)), "hvs."+canary+"'") {
						t.Fatalf("call %d: %v: %s", n, err, out)
					}
					d.check(t, fmt.Sprintf("%s %d", call, n))
					if err == nil {
						break
					}
					deaths++
				}
				if call == "fsync" && do != "login" && deaths == 0 {
					t.Error("nothing waits for the disk, or nothing was killed")
				}
			})
		}
	}
}
