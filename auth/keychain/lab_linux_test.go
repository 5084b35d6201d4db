package keychain_test

// What the suites against real keychains share. Each case runs in a child
// process, which is this test binary again: the libraries keep connections
// for the life of a process, and a stuck one must end with its process.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"envrun/auth/keychain"
)

// limit is how long one child may take on a machine busy with other things.
// Nothing below measures time more closely than that.
const limit = 60 * time.Second

// childVar holds the calls that a child makes.
const childVar = "ENVRUN_KEYCHAIN_TEST"

// calls is what a child is to do.
type calls struct {
	Keychain    string
	Service     string
	Interactive bool
	Deadline    time.Duration
	Do          []string // "set KEY VALUE", "setfor KEY VALUE 1s", "get KEY", "delete KEY", "choose", "env NAME"
	NoKeyctl    bool     // first forbid the system calls of the kernel's keyring
}

func TestMain(m *testing.M) {
	if script := os.Getenv(childVar); script != "" {
		os.Exit(child(script))
	}
	os.Exit(m.Run())
}

func child(script string) int {
	var c calls
	if err := json.Unmarshal([]byte(script), &c); err != nil {
		fmt.Println(err)
		return 1
	}
	if c.NoKeyctl {
		if err := forbidKeyctl(); err != nil {
			fmt.Println("forbidding keyctl:", err)
			return 1
		}
	}
	o := keychain.Options{Service: c.Service, Interactive: c.Interactive, Deadline: c.Deadline}
	for _, line := range c.Do {
		fmt.Println(call(c.Keychain, o, strings.Fields(line)))
	}
	return 0
}

// call makes one call and says in one line how it ended.
func call(name string, o keychain.Options, args []string) string {
	ctx := context.Background()
	if args[0] == "choose" {
		k, rejected, err := o.Choose(ctx)
		out := "none"
		if err == nil {
			out = "chose " + k.Name()
		} else if !errors.Is(err, keychain.ErrNone) {
			out = describe(err)
		}
		for _, r := range rejected {
			out += fmt.Sprintf(" | %s: %s", r.Keychain, r.Reason)
			if r.Hint == "" {
				out += " (no hint)"
			}
		}
		return out
	}
	if args[0] == "env" {
		value, ok := os.LookupEnv(args[1])
		return fmt.Sprintf("%q %v", value, ok)
	}
	k, err := keychain.Open(name, o)
	if err != nil {
		return describe(err)
	}
	switch args[0] {
	case "set":
		err = k.Set(ctx, args[1], []byte(args[2]))
	case "setfor":
		var d time.Duration
		if d, err = time.ParseDuration(args[3]); err == nil {
			err = k.(keychain.Expirer).SetFor(ctx, args[1], []byte(args[2]), d)
		}
	case "setbytes": // a value that is no text
		err = k.Set(ctx, args[1], anyBytes)
	case "getbytes":
		var b []byte
		if b, err = k.Get(ctx, args[1]); err == nil && !bytes.Equal(b, anyBytes) {
			return fmt.Sprintf("other bytes: %q", b)
		}
	case "get":
		var b []byte
		if b, err = k.Get(ctx, args[1]); err == nil {
			return "got " + string(b)
		}
	case "gone": // waits until the key is
		for end := time.Now().Add(limit / 2); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			if _, err = k.Get(ctx, args[1]); err != nil {
				break
			}
		}
	case "delete":
		err = k.Delete(ctx, args[1])
	default:
		return "no such call: " + args[0]
	}
	return describe(err)
}

var anyBytes = []byte("\x00\xff\xfe line\r\nline\n\n ")

func describe(err error) string {
	var unavailable *keychain.UnavailableError
	var timeout *keychain.TimeoutError
	var lost *keychain.LostError
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, keychain.ErrNotFound):
		return "not found"
	case errors.As(err, &unavailable) && unavailable.Locked:
		return "locked: " + unavailable.Reason
	case errors.As(err, &unavailable):
		if unavailable.Err != nil {
			fmt.Fprintln(os.Stderr, unavailable.Keychain, "said:", unavailable.Err)
		}
		return "unavailable: " + unavailable.Reason
	case errors.As(err, &timeout) && timeout.Tripped:
		return "not asked again"
	case errors.As(err, &timeout):
		return "timeout"
	case errors.As(err, &lost):
		return "lost"
	}
	return "error: " + err.Error()
}

// runs makes the calls in a child with that environment, and compares how they
// ended. A result that ends in "…" is the beginning of one.
func (c calls) runs(t *testing.T, env []string, want ...string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c.compare(t, exec.Command(self), env, want)
}

func (c calls) compare(t *testing.T, cmd *exec.Cmd, env []string, want []string) {
	t.Helper()
	script, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	out, stderr, err := within(cmd, append(env, childVar+"="+string(script), "GOTRACEBACK=none",
		"GORACE=atexit_sleep_ms=0")) // a race detector waits a second at each exit otherwise
	if err != nil {
		t.Fatalf("%v: %s%s", err, out, stderr)
	}
	got := strings.Split(strings.TrimRight(out, "\n"), "\n")
	if len(got) != len(want) {
		t.Fatalf("got %d results, want %d:\n%s", len(got), len(want), out)
	}
	for i := range want {
		prefix, short := strings.CutSuffix(want[i], "…")
		if got[i] != want[i] && !(short && strings.HasPrefix(got[i], prefix)) {
			t.Errorf("%.60s: got %q, want %q\n%s", c.Do[i], got[i], want[i], stderr)
		}
	}
}

// within runs a command and fails, with all it started, after limit.
func within(cmd *exec.Cmd, env []string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &out, &errs
	cmd.WaitDelay = time.Second
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		return "", "", err
	}
	timer := time.AfterFunc(limit, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	err = cmd.Wait()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // a daemon that it started has our pipes for a while
	}
	if !timer.Stop() {
		err = fmt.Errorf("took longer than %v", limit)
	}
	return out.String(), errs.String(), err
}
