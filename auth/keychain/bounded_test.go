package keychain

// These tests stand inside the package: they put a keychain that misbehaves
// under the wrapper, and check what macOS and Windows report on any system.

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// memory is a backend that works, until one of its hooks says otherwise.
type memory struct {
	mu    sync.Mutex
	items map[string]string
	calls atomic.Int32
	limit int

	onReady, onGet, onSet, onDelete func(ctx context.Context) error
	loses                           bool
}

func (m *memory) call(ctx context.Context, hook func(context.Context) error) error {
	m.calls.Add(1)
	if hook == nil {
		return nil
	}
	return hook(ctx)
}

func (m *memory) ready(ctx context.Context, _ bool) error { return m.call(ctx, m.onReady) }
func (m *memory) max(string) int                          { return m.limit }

func (m *memory) get(ctx context.Context, key string) ([]byte, error) {
	if err := m.call(ctx, m.onGet); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.items[key]
	if !ok {
		return nil, ErrNotFound
	}
	return []byte(s), nil
}

func (m *memory) set(ctx context.Context, key string, secret []byte) error {
	if err := m.call(ctx, m.onSet); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.loses {
		m.items[key] = string(secret)
	}
	return nil
}

func (m *memory) delete(ctx context.Context, key string) error {
	if err := m.call(ctx, m.onDelete); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.items[key]; !ok {
		return ErrNotFound
	}
	if !m.loses {
		delete(m.items, key)
	}
	return nil
}

func newMemory() *memory { return &memory{items: map[string]string{}, limit: 100} }

// name is one that no other test has used: what does not come back stays
// tripped for the life of the process.
func name(t *testing.T) string { return t.Name() + "-" + rand.Text() }

// stuck blocks whatever its context says, as go-keyring does.
func stuck(t *testing.T) func(context.Context) error {
	forever := make(chan struct{})
	t.Cleanup(func() { close(forever) })
	return func(context.Context) error { <-forever; return nil }
}

// patient blocks until its context ends, as a child process that is killed does.
func patient(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

func TestRoundTrip(t *testing.T) {
	k := wrap(t.Name(), newMemory(), Options{})
	ctx := t.Context()
	if _, err := k.Get(ctx, "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("get of nothing: %v", err)
	}
	if err := k.Delete(ctx, "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("delete of nothing: %v", err)
	}
	for _, want := range []string{"one", "two"} {
		if err := k.Set(ctx, "a", []byte(want)); err != nil {
			t.Fatal(err)
		}
		if got, err := k.Get(ctx, "a"); err != nil || string(got) != want {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if err := k.Delete(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Get(ctx, "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("get after delete: %v", err)
	}
}

func TestStuckIsNotCalledAgain(t *testing.T) {
	m, name := newMemory(), name(t)
	m.onSet = stuck(t)
	k := wrap(name, m, Options{Deadline: 20 * time.Millisecond})
	var timeout *TimeoutError
	if err := k.Set(t.Context(), "a", []byte("x")); !errors.As(err, &timeout) || timeout.Tripped || timeout.Op != "set" || timeout.After != 20*time.Millisecond {
		t.Fatalf("got %v", err)
	}
	calls := m.calls.Load()
	for range 3 {
		if _, err := k.Get(t.Context(), "a"); !errors.As(err, &timeout) || !timeout.Tripped {
			t.Fatalf("got %v", err)
		}
	}
	// Another one of the same name is the same keychain.
	if _, err := wrap(name, m, Options{}).Get(t.Context(), "a"); !errors.As(err, &timeout) || !timeout.Tripped {
		t.Fatalf("got %v", err)
	}
	if m.calls.Load() != calls {
		t.Errorf("called again after it did not come back")
	}
}

func TestSlowButNotStuckIsCalledAgain(t *testing.T) {
	m := newMemory()
	m.items["a"] = "x"
	m.onGet = patient
	k := wrap(t.Name(), m, Options{Deadline: 20 * time.Millisecond})
	var timeout *TimeoutError
	if _, err := k.Get(t.Context(), "a"); !errors.As(err, &timeout) || timeout.Tripped {
		t.Fatalf("got %v", err)
	}
	m.onGet = nil
	k = wrap(t.Name(), m, Options{})
	if got, err := k.Get(t.Context(), "a"); err != nil || string(got) != "x" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestCallersEnd(t *testing.T) {
	m := newMemory()
	m.onGet = patient
	k := wrap(t.Name(), m, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	_, err := k.Get(ctx, "a")
	var timeout *TimeoutError
	if !errors.Is(err, context.Canceled) || errors.As(err, &timeout) {
		t.Errorf("got %v", err)
	}
	calls := m.calls.Load()
	if _, err := k.Get(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if m.calls.Load() != calls {
		t.Error("called with a context that had ended")
	}
}

func TestOnWait(t *testing.T) {
	m := newMemory()
	release := make(chan struct{})
	m.onGet = func(context.Context) error { <-release; return ErrNotFound }
	var waiting atomic.Value
	k := wrap(t.Name(), m, Options{Interactive: true, OnWait: func(name string) { waiting.Store(name); close(release) }})
	if _, err := k.Get(t.Context(), "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if waiting.Load() != t.Name() {
		t.Errorf("waiting for %v", waiting.Load())
	}
}

func TestLostWrites(t *testing.T) {
	m := newMemory()
	m.items["b"] = "old"
	m.loses = true
	k := wrap(t.Name(), m, Options{})
	for _, key := range []string{"a", "b"} { // not there afterwards, and there as it was before
		var lost *LostError
		if err := k.Set(t.Context(), key, []byte("new")); !errors.As(err, &lost) || lost.Op != "set" {
			t.Errorf("%s: got %v", key, err)
		}
	}
	var lost *LostError
	if err := k.Delete(t.Context(), "b"); !errors.As(err, &lost) || lost.Op != "delete" {
		t.Errorf("got %v", err)
	}
}

func TestNothingIsWrittenWhenItCannotFit(t *testing.T) {
	m := newMemory()
	k := wrap(t.Name(), m, Options{})
	var big *TooBigError
	if err := k.Set(t.Context(), "a", make([]byte, 101)); !errors.As(err, &big) || big.Size != 101 || big.Max != 100 {
		t.Errorf("got %v", err)
	}
	if err := k.Set(t.Context(), "a", nil); err == nil {
		t.Error("took an empty secret")
	}
	for _, key := range []string{"", "-a", ".a", "a/b", "a b", "A", "ä", "a\n", strings.Repeat("a", 101)} {
		if err := k.Set(t.Context(), key, []byte("x")); err == nil {
			t.Errorf("took the key %q", key)
		}
		if _, err := k.Get(t.Context(), key); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("looked for the key %q: %v", key, err)
		}
		if err := k.Delete(t.Context(), key); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("deleted the key %q: %v", key, err)
		}
	}
	if n := m.calls.Load(); n != 0 {
		t.Errorf("%d calls", n)
	}
	if err := k.Set(t.Context(), "a", make([]byte, 100)); err != nil {
		t.Error(err)
	}
}

func TestProbe(t *testing.T) {
	m := newMemory()
	k := &bounded{t.Name(), m, Options{}}
	if err := k.probe(t.Context()); err != nil || len(m.items) != 0 {
		t.Errorf("%v, left behind %v", err, m.items)
	}
	m.onReady = func(context.Context) error {
		return &UnavailableError{Keychain: t.Name(), Reason: "is elsewhere", Hint: "go there"}
	}
	r := rejection(t.Name(), k.probe(t.Context()))
	if r.Reason != "is elsewhere" || r.Hint != "go there" || r.Err == nil {
		t.Errorf("got %+v", r)
	}
	if m.calls.Load() != 6 { // ready, set, get, delete, get; ready
		t.Errorf("%d calls", m.calls.Load())
	}
}

func TestLimits(t *testing.T) {
	// The line that go-keyring hands to "security -i", for a secret of n bytes.
	line := func(service, key string, n int) int {
		return len("add-generic-password -U -s "+service+" -a "+key+" -w 'go-keyring-base64:'\n") + (n+2)/3*4
	}
	for _, key := range []string{"k", "identity-abcdefghijkl", strings.Repeat("k", 100)} {
		limit := macOSLimit("envrun", key)
		if line("envrun", key, limit) > 4096 {
			t.Errorf("%s: %d bytes make a line of %d", key, limit, line("envrun", key, limit))
		}
		if limit < 2900 {
			t.Errorf("%s: only %d bytes", key, limit)
		}
	}
	if n := macOSLimit(strings.Repeat("s", 5000), "k"); n != 0 {
		t.Errorf("got %d", n)
	}
	for _, size := range []int{1, 2559, 2560, 2561, 2900, 3100} {
		m := newMemory()
		m.limit = winCredLimit
		var big *TooBigError
		err := wrap(t.Name(), m, Options{}).Set(t.Context(), "a", make([]byte, size))
		if got, want := errors.As(err, &big), size > 2560; got != want {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

func TestExplain(t *testing.T) {
	cause := errors.New("exit status")
	for _, test := range []struct {
		err    error
		reason string
		hint   string
		locked bool
	}{
		{explainSecurity(36, cause, true), "locked", "security unlock-keychain", true},
		{explainSecurity(51, cause, false), "not unlocked", "security unlock-keychain", true},
		{explainSecurity(128, cause, false), "not unlocked", "security unlock-keychain", true},
		{explainSecurity(50, cause, false), "no login keychain", "Keychain Access", false},
		{explainSecurity(1, cause, true), "error", "over SSH", false},
		{explainSecurity(-1, cause, false), "error", "", false},
		{explainWinCred(1312, cause), "no credentials of its own", "sign in on the machine", false},
		{explainWinCred(1783, cause), "size", "", false},
		{explainWinCred(5, cause), "closed", "", false},
		{explainWinCred(0, cause), "error", "", false},
	} {
		var u *UnavailableError
		if !errors.As(test.err, &u) || !strings.Contains(u.Reason, test.reason) || !strings.Contains(u.Hint, test.hint) || u.Locked != test.locked {
			t.Errorf("%+v, want %+v", test.err, test)
		}
		if !errors.Is(test.err, cause) {
			t.Errorf("%v does not hold its cause", test.err)
		}
	}
}

func TestCandidates(t *testing.T) {
	for _, test := range []struct {
		name    string
		session Session
		want    []string
	}{
		{"macOS", Session{OS: "darwin", Graphical: true}, []string{MacOS, Pass}},
		{"macOS, SSH", Session{OS: "darwin", SSH: true}, []string{MacOS, Pass}},
		{"Windows", Session{OS: "windows", Graphical: true}, []string{WinCred}},
		{"Windows, SSH", Session{OS: "windows", SSH: true}, []string{WinCred}},
		{"Linux desktop", Session{OS: "linux", Graphical: true}, []string{SecretService, Pass}},
		{"Linux, SSH", Session{OS: "linux", SSH: true}, []string{SecretService, Pass}},
		{"WSL", Session{OS: "linux", WSL: true}, []string{SecretService, Pass}},
		{"CI", Session{OS: "linux", CI: true}, nil},
		{"sudo", Session{OS: "darwin", Sudo: true}, nil},
		{"another system", Session{OS: "plan9"}, nil},
	} {
		got, no := Candidates(test.session, false)
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
		if len(got)+len(no) != len(namesOn(test.session.OS)) {
			t.Errorf("%s: %v and %v are not all keychains", test.name, got, no)
		}
		for _, r := range no {
			if r.Reason == "" || r.Hint == "" || slices.Contains(got, r.Keychain) {
				t.Errorf("%s: rejection %+v", test.name, r)
			}
		}
		if slices.Contains(got, Kernel) {
			t.Errorf("%s: the kernel's keyring forgets", test.name)
		}
	}
	for _, test := range []struct {
		name    string
		session Session
		want    []string
	}{
		{"Linux desktop", Session{OS: "linux", Graphical: true}, []string{SecretService, Kernel, Pass}},
		{"Linux, SSH", Session{OS: "linux", SSH: true}, []string{Kernel, SecretService, Pass}},
		{"Linux console, WSL, container", Session{OS: "linux"}, []string{Kernel, SecretService, Pass}},
		{"macOS, SSH", Session{OS: "darwin", SSH: true}, []string{MacOS, Pass}},
		{"CI", Session{OS: "linux", CI: true}, nil},
		{"sudo", Session{OS: "linux", Sudo: true}, nil},
	} {
		if got, _ := Candidates(test.session, true); !slices.Equal(got, test.want) {
			t.Errorf("what may be forgotten, %s: got %v, want %v", test.name, got, test.want)
		}
	}
}

func TestSession(t *testing.T) {
	for _, test := range []struct {
		env  map[string]string
		want func(Session) bool
	}{
		{map[string]string{"CI": "true"}, func(s Session) bool { return s.CI }},
		{map[string]string{"CI": "false"}, func(s Session) bool { return !s.CI }},
		{map[string]string{}, func(s Session) bool { return !s.CI && !s.SSH && !s.Sudo }},
		{map[string]string{"SSH_CONNECTION": "1 2 3 4", "DISPLAY": ":0"}, func(s Session) bool { return s.SSH && !s.Graphical }},
		{map[string]string{"SSH_TTY": "/dev/pts/1"}, func(s Session) bool { return s.SSH && !s.Graphical }},
	} {
		o := Options{Getenv: func(name string) string { return test.env[name] }}
		if s := o.Session(); !test.want(s) {
			t.Errorf("%v: got %+v", test.env, s)
		}
	}
}

func TestOpen(t *testing.T) {
	for _, name := range Names() {
		k, err := Open(name, Options{})
		if err != nil || k.Name() != name {
			t.Errorf("%s: %v", name, err)
		}
		if _, ok := k.(Expirer); ok != (name == Kernel) {
			t.Errorf("%s: can forget by itself: %v", name, ok)
		}
	}
	for _, name := range []string{"", "file", "kwallet"} {
		var u *UnavailableError
		if _, err := Open(name, Options{}); !errors.As(err, &u) || u.Keychain != name || u.Hint == "" {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestDeadlines(t *testing.T) {
	if d := (Options{}).deadline(); d != 3*time.Second {
		t.Error(d)
	}
	if d := (Options{Interactive: true}).deadline(); d != time.Minute {
		t.Error(d)
	}
}
