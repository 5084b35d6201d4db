package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"envrun/auth/keychain"
	"envrun/auth/passphrase"
	"envrun/auth/private"
	"envrun/auth/session"
)

// sealed is the file of a session.
func sealed(s *session.Store, a session.Account) string {
	return filepath.Join(s.Dir, "sessions", a.ID+".sealed")
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, file string, b []byte) {
	t.Helper()
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// refused is an error after which only signing in again helps, and which shows nothing.
func refused(t testing.TB, what string, err error) {
	t.Helper()
	if !errors.Is(err, session.ErrSignIn) {
		t.Errorf("%s: got %v", what, err)
	}
	silent(t, what, err)
}

// silent looks for the secrets of aRecord in a value, however it is printed.
func silent(t testing.TB, what string, v any) {
	t.Helper()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		text := fmt.Sprintf(verb, v)
		if strings.Contains(text, canary) || strings.Contains(text, fmt.Sprintf("%x", canary)) {
			t.Errorf("%s: %s shows a secret", what, verb)
		}
	}
}

func TestEachByteFlipped(t *testing.T) {
	s, _ := newStore(t)
	a := put(t, s, someone, aRecord())
	file := sealed(s, a)
	good := read(t, file)
	for i := range good {
		for _, bit := range []byte{0x01, 0x80} {
			bad := slices.Clone(good)
			bad[i] ^= bit
			write(t, file, bad)
			_, r, err := s.Open(t.Context(), a.ID)
			refused(t, fmt.Sprintf("byte %d", i), err)
			if !r.Token.Empty() || !r.RefreshToken.Empty() {
				t.Fatalf("byte %d: a record comes with the error", i)
			}
		}
	}
	for n := range good {
		write(t, file, good[:n])
		_, _, err := s.Open(t.Context(), a.ID)
		refused(t, fmt.Sprintf("cut at %d", n), err)
	}
	for what, bad := range map[string][]byte{
		"longer": append(slices.Clone(good), 0),
		"huge":   make([]byte, 2<<20),
		"twice":  append(slices.Clone(good), good...),
		"text":   []byte("{}"),
	} {
		write(t, file, bad)
		_, _, err := s.Open(t.Context(), a.ID)
		refused(t, what, err)
	}
	// What is damaged is signed in over.
	if b := put(t, s, someone, aRecord()); open(t, again(s), b.ID).Gen != 2 {
		t.Error("its generation is one that was there before")
	}
}

func TestFilesSwapped(t *testing.T) {
	s, _ := newStore(t)
	other := someone
	other.Role = "prod"
	a, b := put(t, s, someone, aRecord()), put(t, s, other, aRecord())
	fa, fb := read(t, sealed(s, a)), read(t, sealed(s, b))
	write(t, sealed(s, a), fb)
	write(t, sealed(s, b), fa)
	for _, id := range []string{a.ID, b.ID} {
		_, _, err := s.Open(t.Context(), id)
		refused(t, "swapped", err)
	}
}

func TestPutBack(t *testing.T) {
	s, _ := newStore(t)
	a := put(t, s, someone, aRecord())
	old := read(t, sealed(s, a))
	if _, err := s.Fresh(t.Context(), a.ID, task{}.renew, stale); err != nil {
		t.Fatal(err)
	}
	renewed := read(t, sealed(s, a))
	write(t, sealed(s, a), old)
	_, _, err := s.Open(t.Context(), a.ID)
	refused(t, "an old file", err)
	if _, err := s.Fresh(t.Context(), a.ID, nil, stale); !errors.Is(err, session.ErrSignIn) {
		t.Errorf("it is renewed: %v", err)
	}

	// A file of a session that ended, over a newer one: as long as another session
	// kept the key, the generation tells.
	write(t, sealed(s, a), renewed)
	other := someone
	other.Role = "prod"
	b := put(t, s, other, aRecord())
	if err := s.Delete(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	write(t, sealed(s, a), renewed)
	if _, _, err := s.Open(t.Context(), a.ID); !errors.Is(err, session.ErrNoAccount) {
		t.Errorf("a signed-out session is there again: %v", err)
	}
	a = put(t, s, someone, aRecord())
	write(t, sealed(s, a), renewed)
	_, _, err = s.Open(t.Context(), a.ID)
	refused(t, "a file of before the sign-out", err)
	a = put(t, s, someone, aRecord())

	// And where none did, the key is another.
	for _, id := range []string{a.ID, b.ID} {
		if err := s.Delete(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	a = put(t, s, someone, aRecord())
	write(t, sealed(s, a), renewed)
	_, _, err = s.Open(t.Context(), a.ID)
	refused(t, "a file of another key", err)

	// What no file can tell: all of them put back together. The issuer tells, when the
	// refresh token is used twice.
	s, _ = newStore(t)
	a = put(t, s, someone, aRecord())
	old, oldIndex := read(t, sealed(s, a)), read(t, filepath.Join(s.Dir, "accounts.json"))
	if _, err := s.Fresh(t.Context(), a.ID, task{}.renew, stale); err != nil {
		t.Fatal(err)
	}
	write(t, sealed(s, a), old)
	write(t, filepath.Join(s.Dir, "accounts.json"), oldIndex)
	if r := open(t, again(s), a.ID); r.Gen != 1 {
		t.Errorf("generation %d", r.Gen)
	}
}

func TestIndexRefused(t *testing.T) {
	s, c := newStore(t)
	a := put(t, s, someone, aRecord())
	file := filepath.Join(s.Dir, "accounts.json")
	good := string(read(t, file))
	if strings.Contains(good, canary) {
		t.Fatal("the index holds a secret")
	}
	entry := good[strings.Index(good, "    {") : strings.LastIndex(good, "}\n  ]")+1]
	replace := func(from, to string) string {
		if !strings.Contains(good, from) {
			t.Fatalf("no %s in %s", from, good)
		}
		return strings.Replace(good, from, to, 1)
	}
	for what, text := range map[string]string{
		"empty":              "",
		"no object":          "[]",
		"more after it":      good + "{}",
		"no version":         replace(`"version": 1`, `"retired": 0`),
		"unknown version":    replace(`"version": 1`, `"version": 2`),
		"text as version":    replace(`"version": 1`, `"version": "1"`),
		"unknown field":      replace(`"accounts"`, `"more": 1, "accounts"`),
		"unknown of entry":   replace(`"server"`, `"more": 1, "server"`),
		"field twice":        replace(`"server"`, `"server": "x", "server"`),
		"field in capitals":  replace(`"server"`, `"SERVER"`),
		"entry twice":        replace(entry, entry+","+entry),
		"another server":     replace("vault.example.com", "vault.example.net"),
		"another role":       replace(`"role": "dev"`, `"role": "prod"`),
		"no method":          replace(`"method": "oidc"`, `"method": ""`),
		"a list as server":   replace(`"server": "https://vault.example.com"`, `"server": []`),
		"null as server":     replace(`"server": "https://vault.example.com"`, `"server": null`),
		"no time":            replace(`"created": "2`, `"created": "x`),
		"a year too far":     replace(`"created": "2026-`, `"created": "10000-`),
		"no generation":      replace(`"generation": 1`, `"generation": 0`),
		"negative":           replace(`"generation": 1`, `"generation": -1`),
		"no whole number":    replace(`"generation": 1`, `"generation": 1.5`),
		"no place":           replace(`"place"`, `"accounts": [], "plaice"`),
		"short key id":       replace(`"id": "`, `"id": "00`),
		"memory as place":    replace(`"name": "secret-service"`, `"name": "memory"`),
		"control characters": replace(`alice@`, `alice\u001b[2J@`),
		"no UTF-8":           replace(`alice@`, "alice\xff@"),
		"too deep":           replace(`"accounts"`, `"more": [[[[[[]]]]]], "accounts"`),
		"huge":               good + strings.Repeat(" ", 5<<20),
	} {
		write(t, file, []byte(text))
		calls := c.Calls.Load()
		s := again(s)
		var damaged *session.DamagedError
		if _, err := s.Accounts(); !errors.As(err, &damaged) || !damaged.Index || damaged.File != file || errors.Is(err, session.ErrSignIn) {
			t.Errorf("%s: got %v", what, err)
		} else if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
			t.Errorf("%s: %q", what, err)
		}
		_, _, openErr := s.Open(t.Context(), a.ID)
		_, putErr := s.Put(t.Context(), someone, aRecord())
		_, freshErr := s.Fresh(t.Context(), a.ID, nil, nil)
		for i, err := range []error{openErr, putErr, freshErr, s.Delete(t.Context(), a.ID), s.Check(t.Context()).Err} {
			if !errors.As(err, &damaged) {
				t.Errorf("%s: call %d: %v", what, i, err)
			}
		}
		if got := string(read(t, file)); got != text {
			t.Errorf("%s: it was changed", what)
		}
		if c.Calls.Load() != calls {
			t.Errorf("%s: a keychain was asked", what)
		}
	}
	write(t, file, []byte(good))
	open(t, again(s), a.ID)
}

func TestOthersCanRead(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("permissions are of Unix")
	}
	s, _ := newStore(t)
	a := put(t, s, someone, aRecord())
	for _, test := range []struct {
		file       string
		bad, right os.FileMode
	}{
		{sealed(s, a), 0o640, 0o600},
		{filepath.Join(s.Dir, "accounts.json"), 0o604, 0o600},
		{s.Dir, 0o777, 0o700},
		{filepath.Join(s.Dir, "sessions"), 0o770, 0o700},
	} {
		fi, err := os.Stat(test.file)
		if err != nil || fi.Mode().Perm() != test.right {
			t.Errorf("%s: %v, %v", test.file, fi.Mode(), err)
		}
		if err := os.Chmod(test.file, test.bad); err != nil {
			t.Fatal(err)
		}
		var insecure *private.InsecureError
		if _, _, err := again(s).Open(t.Context(), a.ID); !errors.As(err, &insecure) {
			t.Errorf("%s: got %v", test.file, err)
		}
		if err := os.Chmod(test.file, test.right); err != nil {
			t.Fatal(err)
		}
	}
	open(t, again(s), a.ID)
}

func TestNowhere(t *testing.T) {
	s, c := newStore(t)
	c.Names = nil
	for range 2 {
		_, err := s.Prepare(t.Context())
		var nowhere *session.NoPlaceError
		if !errors.As(err, &nowhere) || !errors.Is(err, keychain.ErrNone) || len(nowhere.Rejected) != 1 || !strings.Contains(err.Error(), "wincred: is not here") {
			t.Errorf("got %v", err)
		}
		if _, err := s.Put(t.Context(), someone, aRecord()); !errors.As(err, &nowhere) {
			t.Errorf("got %v", err)
		}
	}
	s.Keychains = nil
	if _, err := s.Prepare(t.Context()); !errors.Is(err, keychain.ErrNone) {
		t.Errorf("got %v", err)
	}
	if left := files(t, s.Dir); len(left) > 0 {
		t.Errorf("it leaves %v", left)
	}
	// Only if somebody says so.
	s.Keep = session.InMemory
	a := put(t, s, someone, aRecord())
	if r := open(t, s, a.ID); a.Keychain != session.InMemory || r.Token.Reveal() != aRecord().Token.Reveal() {
		t.Errorf("got %+v", a)
	}
	if r, err := s.Fresh(t.Context(), a.ID, task{}.renew, stale); err != nil || r.Gen != 3 || stale(r) {
		t.Errorf("generation %d, %v", r.Gen, err)
	}
	if all := accounts(t, s); len(all) != 1 || all[0].ID != a.ID || len(accounts(t, again(&session.Store{Dir: s.Dir, Keychains: c}))) != 0 {
		t.Errorf("got %v", all)
	}
	silent(t, "the store", s)
	if err := s.Delete(t.Context(), a.ID); err != nil {
		t.Error(err)
	}
	if _, _, err := s.Open(t.Context(), a.ID); !errors.Is(err, session.ErrNoAccount) || len(files(t, s.Dir)) > 0 {
		t.Errorf("got %v, and %v", err, files(t, s.Dir))
	}
}

// unusable are what keychains do: they are missing, locked, hang until their
// deadline, or lose what is written.
var unusable = map[string]error{
	"missing":   &keychain.UnavailableError{Keychain: "secret-service", Reason: "no Secret Service is running"},
	"locked":    &keychain.UnavailableError{Keychain: "secret-service", Reason: "it is locked", Hint: "unlock it", Locked: true},
	"hanging":   &keychain.TimeoutError{Keychain: "secret-service", Op: "get", After: 3 * time.Second},
	"stuck":     &keychain.TimeoutError{Keychain: "secret-service", Op: "get", Tripped: true},
	"dismissed": &keychain.LostError{Keychain: "secret-service", Op: "set"},
}

// isKey reports whether a keychain's item is the key of sessions, and no random value
// of a proof that could not be deleted.
func isKey(name string) bool { return strings.HasPrefix(filepath.Base(name), "session-key-") }

func TestKeychainFails(t *testing.T) {
	for what, failure := range unusable {
		t.Run(what, func(t *testing.T) {
			s, c := newStore(t)
			var place *session.PlaceError
			// When the place is to be proven.
			for _, op := range []string{"set", "get", "delete"} {
				s.Keep = "secret-service"
				c.Failing(op, failure)
				if _, err := s.Prepare(t.Context()); !errors.As(err, &place) || !errors.Is(err, failure) {
					t.Errorf("%s: got %v", op, err)
				}
				if _, err := s.Put(t.Context(), someone, aRecord()); !errors.As(err, &place) {
					t.Errorf("%s: got %v", op, err)
				}
				c.Failing(op, nil)
			}
			// When the key is to be stored, after the proof.
			if _, err := s.Prepare(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.Failing("set", failure)
			if _, err := s.Put(t.Context(), someone, aRecord()); !errors.As(err, &place) {
				t.Errorf("got %v", err)
			}
			c.Failing("set", nil)
			if left := files(t, s.Dir); len(left) > 0 || len(accounts(t, s)) > 0 {
				t.Errorf("it leaves %v", left)
			}
			// When it is to be read, by a process that was not there: no other
			// keychain is tried, whatever is asked.
			s.Keep = ""
			a := put(t, s, someone, aRecord())
			held := len(c.Holds(t))
			c.Failing("get", failure)
			s = again(s)
			if _, _, err := s.Open(t.Context(), a.ID); !errors.As(err, &place) || !errors.Is(err, failure) || errors.Is(err, session.ErrSignIn) {
				t.Errorf("got %v", err)
			}
			if _, err := s.Prepare(t.Context()); !errors.As(err, &place) {
				t.Errorf("got %v", err)
			}
			if _, err := s.Put(t.Context(), someone, aRecord()); !errors.As(err, &place) {
				t.Errorf("got %v", err)
			}
			if _, err := s.Fresh(t.Context(), a.ID, nil, stale); !errors.As(err, &place) {
				t.Errorf("got %v", err)
			}
			if h := s.Check(t.Context()); !errors.As(h.Err, &place) || h.Place != "secret-service" || h.Sessions != 1 {
				t.Errorf("got %+v", h)
			}
			if len(c.Holds(t)) != held {
				t.Errorf("something was stored: %v", c.Holds(t))
			}
			c.Failing("get", nil)
			if stale(open(t, s, a.ID)) == false {
				t.Error("it is another record")
			}
			// When it is to be deleted: the session is gone, the error says what is not.
			c.Failing("delete", failure)
			if err := s.Delete(t.Context(), a.ID); !errors.As(err, &place) {
				t.Errorf("got %v", err)
			}
			if _, _, err := again(s).Open(t.Context(), a.ID); !errors.Is(err, session.ErrNoAccount) {
				t.Errorf("got %v", err)
			}
			// Then any other place will do.
			c.Failing("get secret-service", failure)
			c.Names = append(c.Names[1:], c.Names[0])
			if p, err := again(s).Prepare(t.Context()); err != nil || p.Name != "kernel" || !p.New {
				t.Errorf("got %+v, %v", p, err)
			}
			c.Failing("get secret-service", nil)
			c.Failing("delete", nil)
			if err := s.Delete(t.Context(), a.ID); !errors.Is(err, session.ErrNoAccount) || slices.ContainsFunc(c.Holds(t), isKey) || len(files(t, s.Dir)) > 0 {
				t.Errorf("got %v, and %v %v", err, c.Holds(t), files(t, s.Dir))
			}
		})
	}
}

func TestKeychainLies(t *testing.T) {
	s, c := newStore(t)
	c.Instead = []byte("else")
	s.Keep = "pass"
	var place *session.PlaceError
	if _, err := s.Prepare(t.Context()); !errors.As(err, &place) {
		t.Errorf("got %v", err)
	}
	s.Keep = "" // the choice did not find out
	if _, err := s.Put(t.Context(), someone, aRecord()); !errors.As(err, &place) {
		t.Errorf("got %v", err)
	}
	if len(files(t, s.Dir)) > 0 {
		t.Errorf("it leaves %v", files(t, s.Dir))
	}
}

// The machine was restarted, and its keyring forgot.
func TestKeyGone(t *testing.T) {
	s, c := newStore(t)
	c.Names = []string{keychain.Kernel}
	p, err := s.Prepare(t.Context())
	if err != nil || !p.Forgets {
		t.Fatalf("got %+v, %v", p, err)
	}
	other := someone
	other.Role = "prod"
	a, b := put(t, s, someone, aRecord()), put(t, s, other, aRecord())
	for _, file := range c.Holds(t) {
		if err := os.Remove(filepath.Join(c.Dir, file)); err != nil {
			t.Fatal(err)
		}
	}
	s = again(s)
	_, _, err = s.Open(t.Context(), a.ID)
	refused(t, "the key is gone", err)
	if !strings.Contains(err.Error(), "forgets when the machine restarts") {
		t.Errorf("it says %v", err)
	}
	if got := accounts(t, s); len(got) != 2 {
		t.Errorf("the index has %v", got)
	}
	a = put(t, s, someone, aRecord())
	s = again(s)
	if r := open(t, s, a.ID); r.Gen != 2 {
		t.Errorf("generation %d", r.Gen)
	}
	_, _, err = s.Open(t.Context(), b.ID)
	refused(t, "sealed with the key that is gone", err)
	put(t, s, other, aRecord())
	open(t, again(s), b.ID)
	if held := c.Holds(t); len(held) != 1 {
		t.Errorf("the keychain holds %v", held)
	}
}

func TestAnotherKey(t *testing.T) {
	for what, text := range map[string]string{
		"another": strings.Repeat("ab", 32), "short": "abcd", "long": strings.Repeat("ab", 33), "no key": strings.Repeat("x", 64), "empty": "",
	} {
		s, c := newStore(t)
		a := put(t, s, someone, aRecord())
		write(t, filepath.Join(c.Dir, c.Holds(t)[0]), []byte(text))
		s = again(s)
		_, _, err := s.Open(t.Context(), a.ID)
		refused(t, what, err)
		var key *session.KeyError
		if !errors.As(err, &key) || !key.Other {
			t.Errorf("%s: got %v", what, err)
		}
		a = put(t, s, someone, aRecord())
		open(t, again(s), a.ID)
		if held := c.Holds(t); len(held) != 1 {
			t.Errorf("the keychain holds %v", held)
		}
	}
}

func TestElsewhere(t *testing.T) {
	s, c := newStore(t)
	a := put(t, s, someone, aRecord())
	s = again(s)
	s.Keep = "pass"
	var elsewhere *session.ElsewhereError
	if _, err := s.Prepare(t.Context()); !errors.As(err, &elsewhere) || elsewhere.Have != "secret-service" || elsewhere.Want != "pass" {
		t.Errorf("got %v", err)
	}
	if err := s.Delete(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	if a = put(t, s, someone, aRecord()); a.Keychain != "pass" || len(c.Holds(t)) != 1 {
		t.Errorf("got %+v, %v", a, c.Holds(t))
	}
}

func TestUnderAPassphrase(t *testing.T) {
	s, c := newStore(t)
	c.Names = nil // not even the kernel's
	s.Keep = session.ByPassphrase
	var place *session.PlaceError
	if _, err := s.Prepare(t.Context()); !errors.As(err, &place) || !errors.Is(err, session.ErrNobodyToAsk) {
		t.Errorf("got %v", err)
	}
	words, asked, fresh := "one", 0, 0
	say := func(_ context.Context, _ string, isNew bool) ([]byte, error) {
		asked++
		if isNew {
			fresh++
		}
		return []byte(words), nil
	}
	s.Passphrase = say
	words = ""
	if _, err := s.Prepare(t.Context()); !errors.As(err, &place) {
		t.Errorf("got %v", err)
	}
	words, asked, fresh = "one", 0, 0
	if p, err := s.Prepare(t.Context()); err != nil || p.Name != session.ByPassphrase || p.Forgets || !p.New {
		t.Fatalf("got %+v, %v", p, err)
	}
	silent(t, "the store", s)
	a := put(t, s, someone, aRecord())
	open(t, s, a.ID)
	if asked != 1 || fresh != 1 {
		t.Errorf("asked %d times, %d of them for a new one", asked, fresh)
	}
	key := read(t, filepath.Join(s.Dir, "key.age"))
	if !bytes.HasPrefix(key, []byte("-----BEGIN AGE ENCRYPTED FILE-----")) {
		t.Errorf("the key is %.40q", key)
	}
	s = again(s)
	if _, _, err := s.Open(t.Context(), a.ID); !errors.Is(err, session.ErrNobodyToAsk) {
		t.Errorf("got %v", err)
	}
	s.Passphrase, words = say, "two"
	if _, _, err := s.Open(t.Context(), a.ID); !errors.Is(err, passphrase.ErrWrong) || errors.Is(err, session.ErrSignIn) {
		t.Errorf("got %v", err)
	}
	words, asked, fresh = "one", 0, 0
	for range 3 {
		open(t, s, a.ID)
	}
	if asked != 1 || fresh != 0 {
		t.Errorf("asked %d times, %d of them for a new one", asked, fresh)
	}
	// Stores that share what was unlocked ask once between them, for the same file.
	t0, t1 := again(s), again(s)
	t0.Passphrase, t0.Unlocked = say, new(session.Unlocked)
	t1.Unlocked = t0.Unlocked
	asked = 0
	open(t, t0, a.ID)
	open(t, t1, a.ID)
	silent(t, "what is unlocked", t0.Unlocked)
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "key.age"), []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	t1 = again(s)
	t1.Unlocked = t0.Unlocked
	if _, _, err := t1.Open(t.Context(), a.ID); !errors.Is(err, session.ErrNobodyToAsk) {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "key.age"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	// Unlocked, it stays in the kernel's keyring for a while.
	c.Names = []string{keychain.Kernel}
	t1 = again(s)
	t1.Passphrase = say
	open(t, t1, a.ID)
	open(t, again(s), a.ID)
	if err := t1.Delete(t.Context(), a.ID); err != nil || len(files(t, s.Dir)) > 0 || len(c.Holds(t)) > 0 {
		t.Errorf("%v, and it leaves %v %v", err, files(t, s.Dir), c.Holds(t))
	}
}

func TestSudo(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("sudo is of Unix")
	}
	s, c := newStore(t)
	a := put(t, s, someone, aRecord())
	calls := c.Calls.Load()
	for _, uid := range []string{strconv.Itoa(os.Geteuid() + 1), "none"} {
		s := again(s)
		s.Getenv = func(name string) string {
			return map[string]string{"SUDO_UID": uid, "SUDO_USER": "ali\x1b[2Jce"}[name]
		}
		var sudo *session.SudoError
		_, accountsErr := s.Accounts()
		_, _, openErr := s.Open(t.Context(), a.ID)
		_, prepareErr := s.Prepare(t.Context())
		_, putErr := s.Put(t.Context(), someone, aRecord())
		_, freshErr := s.Fresh(t.Context(), a.ID, nil, nil)
		_, _, lockErr := s.LockLogin(t.Context())
		for i, err := range []error{accountsErr, openErr, prepareErr, putErr, freshErr, lockErr, s.Delete(t.Context(), a.ID), s.Check(t.Context()).Err} {
			if !errors.As(err, &sudo) || strings.ContainsRune(err.Error(), '\x1b') || !strings.Contains(err.Error(), "ali[2Jce") {
				t.Errorf("call %d: %v", i, err)
			}
		}
		s.AsRoot = true
		if _, err := s.Accounts(); err != nil {
			t.Error(err)
		}
	}
	if c.Calls.Load() != calls {
		t.Error("a keychain was asked")
	}
	s.Getenv = func(string) string { return strconv.Itoa(os.Geteuid()) }
	open(t, s, a.ID)
}

func TestNoSecretIsShown(t *testing.T) {
	s, _ := newStore(t)
	a := put(t, s, someone, aRecord())
	r := open(t, s, a.ID)
	for what, v := range map[string]any{
		"record": r, "pointer": &r, "account": a, "store": s, "health": s.Check(t.Context()), "held": struct{ r session.Record }{r},
	} {
		silent(t, what, v)
	}
	for _, name := range files(t, s.Dir) {
		if bytes.Contains(read(t, filepath.Join(s.Dir, name)), []byte(canary)) {
			t.Errorf("%s holds a secret in clear", name)
		}
	}
	if _, err := s.Put(t.Context(), session.Account{Server: "x", Method: "oidc", Subject: strings.Repeat(canary, 1000)}, r); err == nil {
		t.Error("it took a huge subject")
	} else {
		silent(t, "a huge subject", err)
	}
	r.Policies = []string{strings.Repeat("x", 2<<20)}
	_, err := s.Put(t.Context(), someone, r)
	if err == nil {
		t.Error("it took a huge record")
	}
	silent(t, "a huge record", err)
	r = aRecord()
	r.Ends = time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)
	_, err = s.Put(t.Context(), someone, r)
	if err == nil {
		t.Error("it took a time that no file holds")
	}
	silent(t, "a time too far", err)
	if got := open(t, again(s), a.ID); got.Gen != 1 {
		t.Errorf("generation %d after refusals", got.Gen)
	}
}

func TestAccountsRefused(t *testing.T) {
	s, _ := newStore(t)
	for what, change := range map[string]func(*session.Account){
		"no server": func(a *session.Account) { a.Server = "" }, "no method": func(a *session.Account) { a.Method = "" },
		"control characters": func(a *session.Account) { a.Subject = "a\nb" }, "no UTF-8": func(a *session.Account) { a.Issuer = "\xff" },
	} {
		a := someone
		change(&a)
		if _, err := s.Put(t.Context(), a, aRecord()); err == nil {
			t.Errorf("%s: it was taken", what)
		}
	}
	a := someone
	a.Label = "ali\x1b]0;x\x07ce\u202e " + strings.Repeat("é", 300)
	got := put(t, s, a, aRecord())
	if strings.ContainsAny(got.Label, "\x1b\x07\u202e") || len([]rune(got.Label)) > 257 {
		t.Errorf("the label is %q", got.Label)
	}
	open(t, again(s), got.ID)
}
