package keychaintest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"envrun/auth/keychain"
)

// Folders are keychains of which each is a folder with a file per key, so that
// several processes share them and they outlive one that dies. They fail as
// they are told to.
type Folders struct {
	Dir     string
	Names   []string      // the first is chosen; none: nothing can be used
	Calls   atomic.Int32  // to Get, Set and Delete
	Instead []byte        // if not nil: stored instead of what was given
	For     time.Duration // the last that something was to be kept for

	mu   sync.Mutex
	fail map[string]error
}

// Open implements keychain.Chooser.
func (f *Folders) Open(name string) (keychain.Keychain, error) {
	if !slices.Contains(f.Names, name) {
		return nil, &keychain.UnavailableError{Keychain: name, Reason: "is not here"}
	}
	return &folder{f, name}, os.MkdirAll(filepath.Join(f.Dir, name), 0o700)
}

// Choose implements keychain.Chooser.
func (f *Folders) Choose(context.Context) (keychain.Keychain, []keychain.Rejection, error) {
	rejected := []keychain.Rejection{{Keychain: "wincred", Reason: "is not here"}}
	if len(f.Names) == 0 {
		return nil, rejected, keychain.ErrNone
	}
	k, err := f.Open(f.Names[0])
	return k, rejected, err
}

// Failing has an operation fail until it is nil again: "get", "set" or "delete", of
// all of them, or of one, as in "get pass".
func (f *Folders) Failing(op string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail == nil {
		f.fail = map[string]error{}
	}
	f.fail[op] = err
}

func (f *Folders) failure(op, name string) error {
	f.Calls.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.fail[op]; err != nil {
		return err
	}
	return f.fail[op+" "+name]
}

// Holds lists what all of them hold, as "pass/identity-…", files below Dir.
func (f *Folders) Holds(t testing.TB) (keys []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(f.Dir, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name, _ := filepath.Rel(f.Dir, file)
		keys = append(keys, filepath.ToSlash(name))
	}
	return keys
}

type folder struct {
	f    *Folders
	name string
}

func (k *folder) Name() string { return k.name }

func (k *folder) file(key string) string { return filepath.Join(k.f.Dir, k.name, key) }

func (k *folder) Get(_ context.Context, key string) ([]byte, error) {
	if err := k.f.failure("get", k.name); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(k.file(key))
	if errors.Is(err, fs.ErrNotExist) {
		err = keychain.ErrNotFound
	}
	return b, err
}

func (k *folder) Set(_ context.Context, key string, secret []byte) error {
	if err := k.f.failure("set", k.name); err != nil {
		return err
	}
	if k.f.Instead != nil {
		secret = k.f.Instead
	}
	return os.WriteFile(k.file(key), secret, 0o600)
}

func (k *folder) SetFor(ctx context.Context, key string, secret []byte, d time.Duration) error {
	k.f.mu.Lock()
	k.f.For = d
	k.f.mu.Unlock()
	return k.Set(ctx, key, secret)
}

func (k *folder) Delete(_ context.Context, key string) error {
	if err := k.f.failure("delete", k.name); err != nil {
		return err
	}
	err := os.Remove(k.file(key))
	if errors.Is(err, fs.ErrNotExist) {
		err = keychain.ErrNotFound
	}
	return err
}
