package seal_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"
	"filippo.io/age/agessh"

	"envrun/vault"
	"envrun/vault/seal"
)

func identities(t testing.TB) (*age.X25519Identity, *age.HybridIdentity) {
	t.Helper()
	x, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	pq, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return x, pq
}

func TestAgeSealer(t *testing.T) {
	x, pq := identities(t)
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sshKey, err := agessh.NewEd25519Identity(private)
	if err != nil {
		t.Fatal(err)
	}
	about := seal.KeyContext("v_5f3c1d9a7b20e4c8", "prod", 3, "alice@laptop")
	for _, c := range []struct {
		name string
		to   age.Recipient
		from age.Identity
	}{{"x25519", x.Recipient(), x}, {"hybrid", pq.Recipient(), pq}, {"ssh", sshKey.Recipient(), sshKey}} {
		t.Run(c.name, func(t *testing.T) {
			key := newKey(t)
			s := seal.AgeSealer("age:alice@laptop", c.to, []age.Identity{x, pq, sshKey})
			if s.ID() != "age:alice@laptop" {
				t.Error(s.ID())
			}
			blob, err := s.Seal(t.Context(), key, about)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(blob, []byte("-----BEGIN AGE ENCRYPTED FILE-----\n")) || !bytes.HasSuffix(blob, []byte("\n-----END AGE ENCRYPTED FILE-----\n")) {
				t.Errorf("not an armored block with a newline at its end: %q", blob)
			}
			got, err := s.Open(t.Context(), blob, about)
			if err != nil || !got.Equal(key) {
				t.Fatalf("does not open: %v", err)
			}
			if got, err = s.Open(context.Background(), blob, about); err != nil || !got.Equal(key) {
				t.Fatalf("does not open without a deadline: %v", err)
			}

			// Made for another place, it does not open there.
			for _, other := range [][]byte{
				seal.KeyContext("v_5f3c1d9a7b20e4c9", "prod", 3, "alice@laptop"),
				seal.KeyContext("v_5f3c1d9a7b20e4c8", "dev", 3, "alice@laptop"),
				seal.KeyContext("v_5f3c1d9a7b20e4c8", "prod", 4, "alice@laptop"),
				seal.KeyContext("v_5f3c1d9a7b20e4c8", "prod", 3, "alice@desktop"),
				nil,
			} {
				if _, err := s.Open(t.Context(), blob, other); vault.KindOf(err) != vault.KindTampered {
					t.Errorf("opens elsewhere: %v", err)
				}
			}

			// Somebody else's identity does not open it.
			x2, pq2 := identities(t)
			if _, err := seal.AgeSealer("age:bob", nil, []age.Identity{x2, pq2}).Open(t.Context(), blob, about); vault.KindOf(err) != vault.KindDenied {
				t.Errorf("for somebody else: %v", err)
			}
			if _, err := seal.AgeSealer("age:bob", nil, nil).Open(t.Context(), blob, about); vault.KindOf(err) != vault.KindDenied {
				t.Errorf("for nobody: %v", err)
			}
			for n := range blob[:len(blob)-1] { // without the last newline age takes it; record does not
				if _, err := s.Open(t.Context(), blob[:n], about); vault.KindOf(err) != vault.KindTampered {
					t.Fatalf("opens cut off after %d bytes of %d: %v", n, len(blob), err)
				}
			}
		})
	}

	onlyOpens := seal.AgeSealer("age:alice", nil, []age.Identity{x})
	if _, err := onlyOpens.Seal(t.Context(), newKey(t), about); vault.KindOf(err) != vault.KindInvalid {
		t.Errorf("seals for nobody: %v", err)
	}
	onlySeals := seal.AgeSealer("age:alice", x.Recipient(), nil)
	if _, err := onlySeals.Seal(t.Context(), seal.Key{}, about); vault.KindOf(err) != vault.KindInvalid {
		t.Errorf("seals no key: %v", err)
	}
	big := bytes.Repeat([]byte("A"), 1<<20)
	if _, err := onlyOpens.Open(t.Context(), big, about); vault.KindOf(err) != vault.KindTampered {
		t.Errorf("reads anything: %v", err)
	}
}

// What is wrapped for the right person but is no key blob is refused.
func TestAgeSealerOtherPlaintext(t *testing.T) {
	x, _ := identities(t)
	about := seal.KeyContext("v_1", "prod", 1, "alice")
	good, err := seal.KeyBlob(newKey(t), about)
	if err != nil {
		t.Fatal(err)
	}
	s := seal.AgeSealer("age:alice", x.Recipient(), []age.Identity{x})
	for name, plain := range map[string][]byte{
		"empty":         {},
		"a bare key":    good[len(good)-seal.KeySize:],
		"one short":     good[:len(good)-1],
		"one more":      append(bytes.Clone(good), 0),
		"much more":     append(bytes.Clone(good), make([]byte, 1<<15)...),
		"other magic":   append([]byte("envrun-key v2"), good[13:]...),
		"context first": append(bytes.Clone(good[13:45]), append([]byte("envrun-key v1"), good[45:]...)...),
	} {
		if _, err := s.Open(t.Context(), armored(t, x.Recipient(), plain), about); vault.KindOf(err) != vault.KindTampered {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := s.Open(t.Context(), armored(t, x.Recipient(), good), about); err != nil || got.IsZero() {
		t.Errorf("the good one: %v", err)
	}
}

// A plugin or token that does not do its part is not a file that was tampered with.
type brokenIdentity struct{ err error }

func (b brokenIdentity) Unwrap([]*age.Stanza) ([]byte, error) { return nil, b.err }

func TestAgeSealerIdentityFails(t *testing.T) {
	x, _ := identities(t)
	about := seal.KeyContext("v_1", "prod", 1, "alice")
	blob, err := seal.AgeSealer("age:alice", x.Recipient(), nil).Seal(t.Context(), newKey(t), about)
	if err != nil {
		t.Fatal(err)
	}
	cause := errors.New("age-plugin-token is not installed")
	_, err = seal.AgeSealer("age:alice", nil, []age.Identity{brokenIdentity{cause}}).Open(t.Context(), blob, about)
	if vault.KindOf(err) != vault.KindUnavailable || !errors.Is(err, cause) {
		t.Errorf("a broken identity: %v", err)
	}
	_, err = seal.AgeSealer("age:alice", nil, []age.Identity{brokenIdentity{age.ErrIncorrectIdentity}}).Open(t.Context(), blob, about)
	if vault.KindOf(err) != vault.KindDenied {
		t.Errorf("another identity: %v", err)
	}
}

// A token that waits for a touch is not waited for longer than the caller does.
type waitingIdentity struct{ began, end chan struct{} }

func (w waitingIdentity) Unwrap([]*age.Stanza) ([]byte, error) {
	close(w.began)
	<-w.end
	return nil, errors.New("nobody touched it")
}

func TestAgeSealerGivesUp(t *testing.T) {
	x, _ := identities(t)
	about := seal.KeyContext("v_1", "prod", 1, "alice")
	blob, err := seal.AgeSealer("age:alice", x.Recipient(), nil).Seal(t.Context(), newKey(t), about)
	if err != nil {
		t.Fatal(err)
	}
	w := waitingIdentity{make(chan struct{}), make(chan struct{})}
	defer close(w.end)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-w.began; cancel() }()
	_, err = seal.AgeSealer("age:alice", nil, []age.Identity{w}).Open(ctx, blob, about)
	if vault.KindOf(err) != vault.KindUnavailable || !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "age:alice") {
		t.Errorf("after the caller gave up: %v", err)
	}
	if _, err = seal.AgeSealer("age:alice", nil, []age.Identity{x}).Open(ctx, blob, about); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// What can be stopped is told when the caller gives up, and has stopped by then.
type stoppable struct {
	began, ended chan struct{}
	ctx          context.Context
}

func (s stoppable) wait() error {
	if s.ctx == nil {
		return errors.New("it was given no context")
	}
	close(s.began)
	<-s.ctx.Done()
	close(s.ended)
	return context.Cause(s.ctx)
}

type stoppableIdentity struct{ stoppable }

func (s stoppableIdentity) Unwrap([]*age.Stanza) ([]byte, error) { return nil, s.wait() }
func (s stoppableIdentity) WithContext(ctx context.Context) age.Identity {
	s.ctx = ctx
	return s
}

type stoppableRecipient struct{ stoppable }

func (s stoppableRecipient) Wrap([]byte) ([]*age.Stanza, error) { return nil, s.wait() }
func (s stoppableRecipient) WithContext(ctx context.Context) age.Recipient {
	s.ctx = ctx
	return s
}

func TestAgeSealerStops(t *testing.T) {
	x, _ := identities(t)
	about := seal.KeyContext("v_1", "prod", 1, "alice")
	blob, err := seal.AgeSealer("age:alice", x.Recipient(), nil).Seal(t.Context(), newKey(t), about)
	if err != nil {
		t.Fatal(err)
	}
	for name, try := range map[string]func(context.Context, stoppable) error{
		"open": func(ctx context.Context, s stoppable) error {
			_, err := seal.AgeSealer("age:alice", nil, []age.Identity{stoppableIdentity{s}}).Open(ctx, blob, about)
			return err
		},
		"seal": func(ctx context.Context, s stoppable) error {
			_, err := seal.AgeSealer("age:alice", stoppableRecipient{s}, nil).Seal(ctx, newKey(t), about)
			return err
		},
	} {
		s := stoppable{began: make(chan struct{}), ended: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-s.began; cancel() }()
		if err := try(ctx, s); vault.KindOf(err) != vault.KindUnavailable || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		select {
		case <-s.ended:
		default:
			t.Errorf("%s: it is left behind", name)
		}
	}
}

// TestZeroKeys: the zero value of a key opens, seals and equals nothing.
func TestZeroKeys(t *testing.T) {
	var k seal.Key
	var d seal.DEK
	var c seal.ChainKey
	if !k.IsZero() || !c.IsZero() || k.Reveal() != nil || c.Reveal() != nil || k.Equal(k) {
		t.Error("a zero key is a key")
	}
	one, key := newDEK(t), newKey(t)
	wrapped, err := key.WrapDEK(at, one)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := key.UnwrapDEK(at, wrapped); err != nil || !again.Equal(one) || !one.Equal(again) {
		t.Errorf("a data key is another one once it is unwrapped: %v", err)
	}
	if d.Equal(d) || d.Equal(one) || one.Equal(d) || one.Equal(newDEK(t)) {
		t.Error("different data keys are equal, or the zero one equals any")
	}
	if k.CheckMAC(seal.SealMAC, nil, nil) || k.CheckChainMAC(nil, nil) || d.CheckRecordMAC(nil, nil) || c.CheckMAC(nil, nil) {
		t.Error("a zero key accepts a MAC")
	}
	_, err1 := k.WrapDEK(at, newDEK(t))
	_, err2 := newKey(t).WrapDEK(at, d)
	_, err3 := k.UnwrapDEK(at, make([]byte, seal.WrappedSize))
	_, err4 := d.SealField(at, "F", secretValue("x"))
	_, err5 := d.OpenField(at, "F", make([]byte, 92))
	_, err6 := seal.KeyBlob(k, nil)
	for i, err := range []error{err1, err2, err3, err4, err5, err6} {
		if vault.KindOf(err) != vault.KindInvalid {
			t.Errorf("%d: a zero key is used: %v", i+1, err)
		}
	}
	for _, n := range []int{0, 31, 33} {
		if _, err := seal.KeyOf(make([]byte, n)); err == nil {
			t.Errorf("a key of %d bytes", n)
		}
		if _, err := seal.ChainKeyOf(make([]byte, n)); err == nil {
			t.Errorf("a chain key of %d bytes", n)
		}
	}
}

func FuzzOpenKeyBlob(f *testing.F) {
	about := seal.KeyContext("v_1", "prod", 1, "alice")
	good, err := seal.KeyBlob(newKey(f), about)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, about)
	f.Add(good[1:], about)
	f.Add(good, []byte{})
	f.Fuzz(func(t *testing.T, blob, about []byte) {
		key, err := seal.OpenKeyBlob(blob, about)
		if err != nil {
			if vault.KindOf(err) != vault.KindTampered || !key.IsZero() {
				t.Errorf("refused with %v", err)
			}
			return
		}
		back, err := seal.KeyBlob(key, about)
		if err != nil || !bytes.Equal(back, blob) {
			t.Errorf("%x is taken and written as %x: %v", blob, back, err)
		}
	})
}

func FuzzAgeSealerOpen(f *testing.F) {
	text, err := os.ReadFile("testdata/sealed/x25519.identity") // one for all who fuzz
	if err != nil {
		f.Fatal(err)
	}
	x, err := age.ParseX25519Identity(strings.TrimSpace(string(text)))
	if err != nil {
		f.Fatal(err)
	}
	about := seal.KeyContext("v_1", "prod", 1, "alice")
	s := seal.AgeSealer("age:alice", x.Recipient(), []age.Identity{x})
	good, err := s.Seal(context.Background(), newKey(f), about)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte("age-encryption.org/v1\n"))
	f.Fuzz(func(t *testing.T, blob []byte) {
		key, err := s.Open(context.Background(), blob, about)
		if err == nil && key.IsZero() {
			t.Error("opens, and there is no key")
		}
		if err != nil && (!key.IsZero() || vault.KindOf(err) != vault.KindTampered && vault.KindOf(err) != vault.KindDenied) {
			t.Errorf("refused with %v", err)
		}
	})
}

// One data key opens the fields of a record in several goroutines.
func TestDEKConcurrently(t *testing.T) {
	key := newKey(t)
	wrapped, err := key.WrapDEK(at, newDEK(t))
	if err != nil {
		t.Fatal(err)
	}
	d, err := key.UnwrapDEK(at, wrapped)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		name := vault.FieldName(fmt.Sprintf("F%d", i))
		wg.Go(func() {
			sealed, err := d.SealField(at, name, secretValue("x"))
			if err != nil {
				t.Error(err)
				return
			}
			if v, err := d.OpenField(at, name, sealed); err != nil || string(v.Reveal()) != "x" {
				t.Errorf("%s: %v", name, err)
			}
			if !d.CheckRecordMAC(sealed, d.RecordMAC(sealed)) {
				t.Error("the MAC is refused")
			}
		})
	}
	wg.Wait()
}

// A holder of the key who does not pad is refused too: what opens was written as the format has it.
func TestOpenFieldUnpadded(t *testing.T) {
	v := inputs()[0]
	key, err := seal.KeyOf(v.Key)
	if err != nil {
		t.Fatal(err)
	}
	b := v.binding()
	d, err := key.UnwrapDEK(b, v.filled().Wrapped)
	if err != nil {
		t.Fatal(err)
	}
	f := expand(v.DEK, []byte("envrun/v1/field"), 32)
	for _, plain := range [][]byte{nil, v.Value, make([]byte, 64), append(paddedByHand(v.Value), make([]byte, 64)...)} {
		sealed := gcmSeal(f, v.Nonce, plain, fieldContext(b, v.Field))
		if _, err := d.OpenField(b, vault.FieldName(v.Field), sealed); vault.KindOf(err) != vault.KindTampered {
			t.Errorf("%x: %v", plain, err)
		}
	}
}

type brokenRecipient struct{ err error }

func (b brokenRecipient) Wrap([]byte) ([]*age.Stanza, error) { return nil, b.err }

func TestAgeSealerRecipientFails(t *testing.T) {
	cause := errors.New("age-plugin-token is not installed")
	_, err := seal.AgeSealer("age:bob", brokenRecipient{cause}, nil).Seal(t.Context(), newKey(t), nil)
	if vault.KindOf(err) != vault.KindUnavailable || !errors.Is(err, cause) {
		t.Error(err)
	}
}
