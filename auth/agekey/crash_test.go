package agekey_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"envrun/auth/agekey"
)

const childVar = "ENVRUN_AGEKEY_TEST"

// died is how a child ends that died where it was told to.
const died = 9

// child makes one change and dies, as kill -9 would have it, at its nth step:
// "ConfigDir\nkeychains\nn\nchange\nargument".
func child(script string) int {
	a := strings.Split(script, "\n")
	h := homeAt(a[0], &chains{Dir: a[1], Names: []string{"secret-service", "pass", "kernel"}})
	h.Passphrase = func(context.Context, string) ([]byte, error) { return []byte("one"), nil }
	n, err := strconv.Atoi(a[2])
	if err != nil {
		return 1
	}
	h.SetStep(func(string) {
		if n--; n == 0 {
			os.Exit(died)
		}
	})
	ctx := context.Background()
	switch a[3] {
	case "create":
		_, err = h.Create(ctx, "alice", a[4])
	case "move":
		_, err = h.Move(ctx, a[4])
	case "protect":
		err = h.Protect(ctx, []byte("one"))
	case "unprotect":
		err = h.Unprotect(ctx)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// change runs a child; it reports whether it died.
func change(t *testing.T, h *agekey.Home, c *chains, n int, what, argument string) bool {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0",
		childVar+"="+strings.Join([]string{h.ConfigDir, c.Dir, strconv.Itoa(n), what, argument}, "\n"))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return false
	case errors.As(err, &exit) && exit.ExitCode() == died:
		return true
	}
	t.Fatalf("%s %s: %v: %s", what, argument, err, out)
	return false
}

// Wherever a change dies, the identity is there afterwards, and the next
// change removes what it left behind.
func TestCrash(t *testing.T) {
	for _, test := range []struct {
		from, what, to string
		protected      bool
		steps          int
	}{
		{"file", "move", "pass", false, 4},
		{"pass", "move", "file", false, 4},
		{"pass", "move", "secret-service", false, 4},
		{"file", "move", "pass", true, 4},
		{"file", "protect", "", false, 2},
		{"file", "unprotect", "", true, 2},
	} {
		t.Run(test.from+" "+test.what+" "+test.to, func(t *testing.T) {
			t.Parallel()
			n := 1
			for ; ; n++ {
				h, c := newHome(t)
				create(t, h, test.from)
				asked := 0
				h.Passphrase = passphrase("one", &asked)
				secret := load(t, h).Reveal()
				if test.protected {
					if err := h.Protect(t.Context(), []byte("one")); err != nil {
						t.Fatal(err)
					}
				}
				dead := change(t, h, c, n, test.what, test.to)
				if load(t, h).Reveal() != secret {
					t.Errorf("step %d: it is another one", n)
				}
				if _, err := h.Create(t.Context(), "bob", ""); !errors.Is(err, agekey.ErrExists) {
					t.Errorf("step %d: create: %v", n, err)
				}
				// The same again goes through.
				if change(t, h, c, 0, test.what, test.to) || load(t, h).Reveal() != secret {
					t.Errorf("step %d: it is another one after the second try", n)
				}
				if err := h.Lock(t.Context()); err != nil {
					t.Error(err)
				}
				f, err := h.Clean(t.Context())
				if err != nil || len(f.Leftover) > 0 {
					t.Errorf("step %d: %+v, %v", n, f, err)
				}
				if test.what == "move" && f.Store != test.to {
					t.Errorf("step %d: it is in %s", n, f.Store)
				}
				forgetUnlocked(t, c)
				onlyCopy(t, h, c, f)
				if !dead {
					break
				}
			}
			if n-1 != test.steps {
				t.Errorf("could die at %d steps, want %d", n-1, test.steps)
			}
		})
	}
}

// forgetUnlocked does what time does: an unlocked copy whose file has changed
// by a process that died stays in the kernel's keyring until its time is over.
func forgetUnlocked(t *testing.T, c *chains) {
	t.Helper()
	for _, name := range c.Holds(t) {
		if strings.HasPrefix(name, "kernel/unlocked-") {
			_ = os.Remove(c.Dir + "/" + name)
		}
	}
}

func TestCrashInCreate(t *testing.T) {
	for _, store := range []string{"file", "pass"} {
		h, c := newHome(t)
		if !change(t, h, c, 1, "create", store) {
			t.Fatal("it did not die")
		}
		// The file is whole by then; what a keychain holds, nobody ever used.
		_, err := h.Load(t.Context())
		if store == "file" && err != nil || store == "pass" && !errors.Is(err, agekey.ErrNone) {
			t.Errorf("%s: got %v", store, err)
		}
		_, err = h.Create(t.Context(), "alice", store)
		if store == "file" && !errors.Is(err, agekey.ErrExists) || store == "pass" && err != nil {
			t.Errorf("%s: create: %v", store, err)
		}
	}
}
