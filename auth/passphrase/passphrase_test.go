package passphrase_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"envrun/auth/keychain"
	"envrun/auth/keychain/keychaintest"
	"envrun/auth/passphrase"
)

const cheap = 2 // of scrypt: no protection

func TestSealAndOpen(t *testing.T) {
	text, words := []byte("a short secret"), []byte("one")
	sealed, err := passphrase.Seal(text, words, cheap)
	if err != nil {
		t.Fatal(err)
	}
	if !passphrase.Sealed(string(sealed)) || !passphrase.Sealed("\n "+string(sealed)) || passphrase.Sealed("AGE-SECRET-KEY-1") {
		t.Error("it does not know what is sealed")
	}
	if got, err := passphrase.Open(sealed, words, 100); err != nil || !bytes.Equal(got, text) {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := passphrase.Open(sealed, words, 3); err != nil || len(got) != 4 {
		t.Errorf("of 3 bytes and one: %q, %v", got, err)
	}
	for _, wrong := range []string{"", "two", "One", "one "} {
		if _, err := passphrase.Open(sealed, []byte(wrong), 100); !errors.Is(err, passphrase.ErrWrong) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	if _, err := passphrase.Seal(text, nil, cheap); err == nil {
		t.Error("it took an empty passphrase")
	}
	// Each byte counts, of what is not armor.
	raw, err := bytesOf(sealed)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := passphrase.Open(raw, words, 100); err != nil || !bytes.Equal(got, text) {
		t.Errorf("without armor: %q, %v", got, err)
	}
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 1
		if got, err := passphrase.Open(bad, words, 100); err == nil {
			t.Errorf("byte %d changed: %q", i, got)
		}
	}
	// Sealed for somebody, and not with a passphrase.
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	var other bytes.Buffer
	w, err := age.Encrypt(&other, id.Recipient())
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := passphrase.Open(other.Bytes(), words, 100); !errors.Is(err, passphrase.ErrDamaged) {
		t.Errorf("got %v", err)
	}
}

// bytesOf takes the armor off.
func bytesOf(sealed []byte) ([]byte, error) {
	var b bytes.Buffer
	_, err := b.ReadFrom(armor.NewReader(bytes.NewReader(sealed)))
	return b.Bytes(), err
}

func TestOpened(t *testing.T) {
	c := &keychaintest.Folders{Dir: t.TempDir(), Names: []string{"pass", keychain.Kernel}}
	o := passphrase.Opened{Keychains: c}
	sealed, text := []byte("sealed"), []byte("text")
	ctx := t.Context()
	if _, ok := o.Get(ctx, sealed); ok {
		t.Error("it holds what nobody kept")
	}
	o.Keep(ctx, sealed, text)
	if got, ok := o.Get(ctx, sealed); !ok || !bytes.Equal(got, text) || c.For != passphrase.KeepFor {
		t.Errorf("got %q, for %v", got, c.For)
	}
	if _, ok := o.Get(ctx, []byte("another")); ok {
		t.Error("it is taken for that of another text")
	}
	for range 2 {
		if err := o.Forget(ctx, sealed); err != nil || len(c.Holds(t)) > 0 {
			t.Errorf("%v, and it has %v", err, c.Holds(t))
		}
	}
	o.For = time.Minute
	if o.Keep(ctx, sealed, text); c.For != time.Minute {
		t.Errorf("for %v", c.For)
	}
	failure := errors.New("it fails")
	c.Failing("delete", failure)
	if err := o.Forget(ctx, sealed); !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
	c.Failing("delete", &keychain.UnavailableError{Keychain: keychain.Kernel})
	if err := o.Forget(ctx, sealed); err != nil {
		t.Errorf("got %v", err)
	}
	// Where nothing is kept, nothing is asked.
	calls := c.Calls.Load()
	for _, o := range []passphrase.Opened{{}, {Keychains: c, For: -1}, {Keychains: &keychaintest.Folders{Dir: c.Dir, Names: []string{"pass"}}}} {
		o.Keep(ctx, sealed, text)
		if _, ok := o.Get(ctx, sealed); ok || o.Forget(ctx, sealed) != nil {
			t.Error("it keeps")
		}
	}
	if c.Calls.Load() != calls {
		t.Error("a keychain was asked")
	}
}
