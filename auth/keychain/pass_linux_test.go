package keychain_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"envrun/auth/keychain"
	"envrun/auth/keychain/keychaintest"
)

// gpg makes a home with a key and a password store that is encrypted for it.
// The agent ends with the test.
func gpg(t *testing.T, passphrase string) (dir string, env []string) {
	t.Helper()
	keychaintest.Need(t, keychain.Pass, "pass", "gpg", "gpg-agent", "gpgconf")
	dir, env = keychaintest.Home(t)
	keys := filepath.Join(dir, "g")
	if err := os.Mkdir(keys, 0o700); err != nil {
		t.Fatal(err)
	}
	env = append(env, "GNUPGHOME="+keys)
	// The agent is nobody's child, so it ends by order: of the shell below,
	// which is told by the end of the test or of the test binary. Without its
	// folder a gpg that is still running cannot start another one.
	_, _ = keychaintest.Daemon(t, env, "", "/bin/sh", "-c", `trap 'gpgconf --kill all; rm -r "$1"; exit' TERM; echo ready; while :; do sleep 0.1; done`, "sh", keys)
	// A pinentry that never answers, as one on another screen.
	pinentry := filepath.Join(dir, "pinentry")
	script := `#!/bin/sh
: >'` + dir + `/asked'
echo OK
while read -r line; do
	case $line in
	GETPIN*) while read -r line; do :; done ;;
	*) echo OK ;;
	esac
done
`
	if err := os.WriteFile(pinentry, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(keys, "gpg-agent.conf"), []byte("pinentry-program "+pinentry+"\ns2k-count 65536\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, env, "gpg", "--batch", "--pinentry-mode", "loopback", "--passphrase", passphrase,
		"--quick-gen-key", "envrun test <test@example.invalid>", "future-default", "default", "never")
	run(t, env, "pass", "init", "test@example.invalid")
	return dir, env
}

func run(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	out, stderr, err := within(exec.Command(name, args...), env)
	if err != nil {
		t.Fatalf("%s %v: %v: %s%s", name, args, err, out, stderr)
	}
	return out
}

func passCalls(lines ...string) calls {
	return calls{Keychain: keychain.Pass, Do: lines, Deadline: limit / 2}
}

func TestPass(t *testing.T) {
	t.Parallel()
	dir, env := gpg(t, "")
	passCalls("get a", "delete a", "set a one", "set a two", "get a", "setbytes b", "getbytes b", "delete b", "get b").
		runs(t, env, "not found", "not found", "ok", "ok", "got two", "ok", "ok", "ok", "not found")
	if out := run(t, env, "pass", "show", "envrun/a"); out != "two" {
		t.Errorf("pass shows %q", out)
	}
	if b, err := os.ReadFile(filepath.Join(dir, ".password-store", "envrun", "a.gpg")); err != nil || strings.Contains(string(b), "two") {
		t.Errorf("stored as %q, %v", b, err)
	}
	passCalls("choose").runs(t, env, "chose pass | …")
	if left, _ := filepath.Glob(filepath.Join(dir, ".password-store", "envrun", "probe*")); len(left) > 0 {
		t.Errorf("choosing left %v", left)
	}

	t.Run("PASSWORD_STORE_DIR", func(t *testing.T) {
		other := filepath.Join(dir, "other store")
		env := append(env, "PASSWORD_STORE_DIR="+other)
		passCalls("get a").runs(t, env, "unavailable: there is no password store in "+other)
		run(t, env, "pass", "init", "test@example.invalid")
		passCalls("get a", "set a other", "get a").runs(t, env, "not found", "ok", "got other")
		if _, err := os.Stat(filepath.Join(other, "envrun", "a.gpg")); err != nil {
			t.Error(err)
		}
	})
	t.Run("in git", func(t *testing.T) {
		keychaintest.Need(t, keychain.Pass, "git")
		env := append(env, "GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.invalid", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.invalid")
		run(t, env, "pass", "git", "init", "-q")
		passCalls("set a three", "get a").runs(t, env, "ok", "got three")
	})
	t.Run("what signs in here stays here", func(t *testing.T) {
		real, err := exec.LookPath("pass")
		if err != nil {
			t.Fatal(err)
		}
		bin := t.TempDir()
		script := "#!/bin/sh\nenv >> " + bin + "/seen\nexec " + real + " \"$@\"\n"
		if err := os.WriteFile(filepath.Join(bin, "pass"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		env := append(env, "PATH="+bin+":"+os.Getenv("PATH"), "ENVRUN_TOKEN=canary-1", "VAULT_TOKEN=canary-2", "ENVRUN_SECRET_ID=canary-3", "BAO_TOKEN=canary-4", "KEEP=this")
		passCalls("set e one", "get e", "delete e").runs(t, env, "ok", "got one", "ok")
		if seen, err := os.ReadFile(filepath.Join(bin, "seen")); err != nil || strings.Contains(string(seen), "canary") || !strings.Contains(string(seen), "KEEP=this") {
			t.Errorf("pass got %s, %v", seen, err)
		}
	})
	t.Run("key of somebody else", func(t *testing.T) {
		if err := os.WriteFile(filepath.Join(dir, ".password-store", ".gpg-id"), []byte("nobody@example.invalid\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		passCalls("set c one", "get a").runs(t, env,
			"unavailable: gpg does not have, or does not trust, the key…", "got three")
	})
	passCalls("delete a", "get a").runs(t, env, "ok", "not found")
}

func TestPassNotThere(t *testing.T) {
	t.Parallel()
	keychaintest.Need(t, keychain.Pass, "pass")
	dir, env := keychaintest.Home(t)
	passCalls("get a").runs(t, env, "unavailable: there is no password store in "+dir+"/.password-store")
	passCalls("get a").runs(t, append(env, "PATH=/nowhere"), "unavailable: pass is not installed")
	passCalls("get a").runs(t, append(env, "HOME="), "unavailable: nothing says where the password store is")
}

func TestPassLocked(t *testing.T) {
	t.Parallel()
	dir, env := gpg(t, "password")
	run(t, env, "gpgconf", "--kill", "gpg-agent") // which knew the passphrase
	asked := func() bool {
		_, err := os.Stat(filepath.Join(dir, "asked"))
		return err == nil
	}
	const locked = "locked: gpg needs the passphrase of your key and did not get it"

	// In the background nobody is asked, and it does not take the deadline.
	// Storing needs the public key only; reading back does not.
	passCalls("set a one", "get a").runs(t, env, locked, locked)
	// A person who can be reached nowhere.
	c := passCalls("get a")
	c.Interactive = true
	c.runs(t, env, locked)
	if asked() {
		t.Fatal("a passphrase was asked for where nobody sits")
	}

	// A person at a terminal, who does not answer: pass, gpg and what they
	// started end with the deadline.
	terminal, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	defer tty.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Stdin = tty
	c = passCalls("get a")
	c.Interactive = true
	c.Deadline = 2 * time.Second
	c.compare(t, cmd, env, []string{"timeout"})
	if !asked() {
		t.Error("the person was not asked")
	}
	if left := processes(t, "GNUPGHOME="+filepath.Join(dir, "g"), "pass", "bash", "gpg"); len(left) > 0 {
		t.Errorf("still there: %v", left)
	}

	// Once the agent knows the passphrase it works in the background too.
	run(t, env, "gpgconf", "--kill", "gpg-agent") // with its pinentry
	_ = os.Remove(filepath.Join(dir, "asked"))
	run(t, env, "gpg", "--batch", "--pinentry-mode", "loopback", "--passphrase", "password",
		"--output", os.DevNull, "--yes", "--decrypt", filepath.Join(dir, ".password-store", "envrun", "a.gpg"))
	passCalls("get a", "set a two", "delete a").runs(t, env, "got one", "ok", "ok")
	if asked() {
		t.Error("asked again")
	}

	t.Run("without the secret key", func(t *testing.T) {
		passCalls("set b one").runs(t, env, "ok")
		ring := filepath.Join(dir, "p")
		if err := os.Mkdir(ring, 0o700); err != nil {
			t.Fatal(err)
		}
		public := run(t, env, "gpg", "--batch", "--armor", "--export")
		other := append(env, "GNUPGHOME="+ring)
		t.Cleanup(func() { run(t, other, "gpgconf", "--kill", "all") })
		file := filepath.Join(dir, "public")
		if err := os.WriteFile(file, []byte(public), 0o600); err != nil {
			t.Fatal(err)
		}
		const missing = "unavailable: the secret key that the password store is encrypted for is not here"
		passCalls("get b").runs(t, other, missing)
		run(t, other, "gpg", "--batch", "--import", file)
		passCalls("get b").runs(t, other, missing)
	})
}

// processes lists those with that variable in their environment and one of
// these names, after giving them a while to end.
func processes(t *testing.T, variable string, names ...string) (found []string) {
	t.Helper()
	for end := time.Now().Add(limit / 6); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		found = nil
		dirs, _ := filepath.Glob("/proc/[0-9]*")
		for _, d := range dirs {
			env, err := os.ReadFile(filepath.Join(d, "environ"))
			if err != nil || !strings.Contains("\x00"+string(env), "\x00"+variable+"\x00") {
				continue
			}
			comm, _ := os.ReadFile(filepath.Join(d, "comm"))
			for _, n := range names {
				if strings.TrimSpace(string(comm)) == n {
					found = append(found, d+" "+n)
				}
			}
		}
		if len(found) == 0 {
			return nil
		}
	}
	return found
}
