package session_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"envrun/auth/keychain"
	"envrun/auth/keychain/keychaintest"
	"envrun/auth/session"
)

// The same with the keychains of a machine, each step in a process of its own, as
// commands are.
type lab struct {
	t    *testing.T
	env  []string
	task task
}

func newLab(t *testing.T, env []string) *lab {
	return &lab{t, env, task{Dir: filepath.Join(t.TempDir(), "sessions"), Filed: keychaintest.Kernel(t), ID: idOfSomeone(t)}}
}

// idOfSomeone is the ID that someone gets.
func idOfSomeone(t *testing.T) string {
	s := &session.Store{Dir: t.TempDir(), Keep: session.InMemory}
	return put(t, s, someone, aRecord()).ID
}

// does runs a task and compares how it ends; "…" at the end stands for anything.
func (l *lab) does(do, want string) {
	l.t.Helper()
	k := l.task
	k.Do = do
	cmd := k.command(l.t)
	cmd.Env = append(slices.Clone(l.env), cmd.Env[len(os.Environ()):]...)
	out, _ := cmd.CombinedOutput()
	got := string(bytes.TrimSpace(out))
	if prefix, short := strings.CutSuffix(want, "…"); got != want && !(short && strings.HasPrefix(got, prefix)) {
		l.t.Errorf("%s: got %q, want %q", do, got, want)
	}
	if strings.Contains(got, "rt-"+canary) {
		l.t.Errorf("%s shows a secret: %s", do, got)
	}
}

func TestKernelKeyring(t *testing.T) {
	t.Parallel()
	_, env := keychaintest.Home(t)
	l := newLab(t, env)
	l.does("open", session.ErrNoAccount.Error())
	l.does("prepare", keychain.Kernel)
	l.does("put", "")
	l.does("open", "")
	l.does("prepare", keychain.Kernel)
	l.does("renew", aRecord().Token.Reveal()+"'")
	l.does("delete", "")
	l.does("open", session.ErrNoAccount.Error())

	// It forgets.
	l.does("put", "")
	options := keychain.Options{Service: l.task.Filed}
	k, err := options.Open(keychain.Kernel)
	if err != nil {
		t.Fatal(err)
	}
	key := keyName(t, l.task.Dir)
	if text, err := k.Get(t.Context(), key); err != nil || len(text) != 64 {
		t.Errorf("the keyring holds %d bytes, %v", len(text), err)
	}
	if err := k.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	l.does("open", "the key of this session is not in the kernel's keyring any more, which forgets when the machine restarts")
	l.does("put", "")
	l.does("open", "")
	l.does("delete", "")

	// In a CI job nothing is kept, whatever is there.
	l.env = append(l.env, "CI=true")
	l.does("put", "there is no keychain to keep a session with (secret-service: this is a CI job, which keeps nothing; kernel: …")
	if left := files(t, l.task.Dir); len(left) > 0 {
		t.Errorf("it leaves %v", left)
	}
}

// keyName is what the index says that the key is filed under.
func keyName(t *testing.T, dir string) string {
	text := string(read(t, filepath.Join(dir, "accounts.json")))
	_, after, _ := strings.Cut(text, `"key": "`)
	name, _, ok := strings.Cut(after, `"`)
	if !ok {
		t.Fatalf("no key in %s", text)
	}
	return name
}

func TestGnomeKeyring(t *testing.T) {
	t.Parallel()
	_, env := keychaintest.Bus(t)
	stop := keychaintest.Gnome(t, env, "password")
	l := newLab(t, env)
	l.task.Keep = keychain.SecretService
	l.does("prepare", keychain.SecretService)
	l.does("put", "")
	l.task.Keep = ""
	l.does("open", "")
	l.does("prepare", keychain.SecretService)
	l.does("renew", aRecord().Token.Reveal()+"'")

	// Locked, it is neither gone around nor signed in over.
	stop()
	stop = keychaintest.Gnome(t, env, "")
	const locked = "the key of sessions, in the keychain secret-service: secret-service: the Secret Service is locked"
	for _, do := range []string{"open", "prepare", "put"} {
		l.does(do, locked+"…")
	}
	// A desktop without any session of ours would take it first, and does not if it is locked.
	fresh := newLab(t, append(env, "DISPLAY=:99"))
	fresh.does("prepare", keychain.Kernel)
	stop()
	keychaintest.Gnome(t, env, "password")
	l.does("open", "")
	l.does("delete", "")
	desktop := newLab(t, append(env, "DISPLAY=:99"))
	desktop.does("prepare", keychain.SecretService)
	over := newLab(t, append(env, "SSH_CONNECTION=1 2 3 4"))
	over.does("prepare", keychain.Kernel)
}

func TestHostileSecretServices(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fake *keychaintest.Fake
		want string
	}{
		"a prompt that is never answered": {&keychaintest.Fake{Create: "hang"}, "secret-service: set: no answer within 300ms"},
		"a prompt that is dismissed":      {&keychaintest.Fake{Create: "dismiss"}, "secret-service: said that it stored the secret, and does not have it"},
		"loses what it is given":          {&keychaintest.Fake{Create: "lose"}, "secret-service: said that it stored the secret, and does not have it"},
		"silent from the start":           {&keychaintest.Fake{Silent: "Get"}, "secret-service: set: no answer within 300ms"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, test.fake.Start(t))
			l.task.Keep = keychain.SecretService
			if strings.Contains(test.want, "no answer") {
				l.task.Deadline = 300 * time.Millisecond
			}
			for _, do := range []string{"prepare", "put"} {
				l.does(do, "the key of sessions, in the keychain secret-service: "+test.want)
			}
			if left := files(t, l.task.Dir); len(left) > 0 {
				t.Errorf("it leaves %v", left)
			}
			// Not asked for by name, it is passed over.
			l.task.Keep, l.env = "", append(l.env, "DISPLAY=:99")
			l.does("prepare", keychain.Kernel)
		})
	}
}
