package keychain

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"
)

// backend is what each keychain gives. Its errors are already those of this
// package, except that anything else is passed on as it is. A method may block
// for ever: bounded sees to that. ctx ends when nobody waits for it any more.
type backend interface {
	// ready says cheaply whether a call has a chance, without starting or
	// unlocking anything. asking is true where the answer decides which
	// keychain is chosen, and false where a secret is known to be there.
	ready(ctx context.Context, asking bool) error
	get(ctx context.Context, key string) ([]byte, error)
	set(ctx context.Context, key string, secret []byte) error
	delete(ctx context.Context, key string) error
	max(key string) int // bytes that fit
}

// expirer is a backend that can forget by itself.
type expirer interface {
	setFor(ctx context.Context, key string, secret []byte, d time.Duration) error
}

// tripped holds the names of the keychains that did not come back from a call.
// The goroutine of that call is stuck for good, often holding a lock of its
// library, so the name stays here as long as the process lives.
var tripped sync.Map

// waitNotice is how long a call takes before OnWait is called.
const waitNotice = time.Second

// bounded is a backend made safe to call. All security and patience is here,
// once, so that no backend can leave it out.
type bounded struct {
	name string
	b    backend
	o    Options
}

func wrap(name string, b backend, o Options) Keychain {
	k := &bounded{name, b, o}
	if e, ok := b.(expirer); ok {
		return &expiring{k, e}
	}
	return k
}

func (k *bounded) Name() string { return k.name }

func (k *bounded) Get(ctx context.Context, key string) ([]byte, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	return k.run(ctx, "get", func(ctx context.Context) ([]byte, error) {
		if err := k.b.ready(ctx, false); err != nil {
			return nil, err
		}
		return k.b.get(ctx, key)
	})
}

func (k *bounded) Set(ctx context.Context, key string, secret []byte) error {
	return k.write(ctx, key, secret, k.b.set)
}

func (k *bounded) write(ctx context.Context, key string, secret []byte, set func(context.Context, string, []byte) error) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if len(secret) == 0 {
		return errors.New("an empty secret cannot be stored")
	}
	if limit := k.b.max(key); len(secret) > limit {
		return &TooBigError{Keychain: k.name, Size: len(secret), Max: limit}
	}
	_, err := k.run(ctx, "set", func(ctx context.Context) ([]byte, error) {
		if err := k.b.ready(ctx, false); err != nil {
			return nil, err
		}
		return nil, k.store(ctx, key, secret, set)
	})
	return err
}

// store writes and reads back: a dismissed prompt is reported as success by
// go-keyring, and some services accept an item and lose it.
func (k *bounded) store(ctx context.Context, key string, secret []byte, set func(context.Context, string, []byte) error) error {
	if err := set(ctx, key, secret); err != nil {
		return err
	}
	got, err := k.b.get(ctx, key)
	if errors.Is(err, ErrNotFound) || err == nil && subtle.ConstantTimeCompare(got, secret) != 1 {
		return &LostError{Keychain: k.name, Op: "set"}
	}
	clear(got)
	return err
}

func (k *bounded) Delete(ctx context.Context, key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	_, err := k.run(ctx, "delete", func(ctx context.Context) ([]byte, error) {
		if err := k.b.ready(ctx, false); err != nil {
			return nil, err
		}
		return nil, k.remove(ctx, key)
	})
	return err
}

// remove deletes and looks that it is gone.
func (k *bounded) remove(ctx context.Context, key string) error {
	if err := k.b.delete(ctx, key); err != nil {
		return err
	}
	got, err := k.b.get(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err == nil {
		clear(got)
		return &LostError{Keychain: k.name, Op: "delete"}
	}
	return err
}

// probe stores, returns and deletes a random value, all within one deadline.
func (k *bounded) probe(ctx context.Context) error {
	var random [20]byte
	_, _ = rand.Read(random[:]) // crypto/rand never fails
	key := "probe-" + hex.EncodeToString(random[:4])
	value := []byte(hex.EncodeToString(random[4:]))
	_, err := k.run(ctx, "probe", func(ctx context.Context) ([]byte, error) {
		if err := k.b.ready(ctx, true); err != nil {
			return nil, err
		}
		if err := k.store(ctx, key, value, k.b.set); err != nil {
			_ = k.b.delete(ctx, key) // it may be there all the same
			return nil, err
		}
		return nil, k.remove(ctx, key)
	})
	return err
}

// run calls f in a goroutine of its own and waits no longer than the deadline.
func (k *bounded) run(ctx context.Context, op string, f func(context.Context) ([]byte, error)) ([]byte, error) {
	if _, ok := tripped.Load(k.name); ok {
		return nil, &TimeoutError{Keychain: k.name, Op: op, Tripped: true}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	limit := k.o.deadline()
	inner, cancel := context.WithTimeout(ctx, limit)
	defer cancel()

	type result struct {
		b   []byte
		err error
	}
	done := make(chan result, 1)
	go func() {
		b, err := f(inner)
		done <- result{b, err}
	}()
	if k.o.OnWait != nil {
		t := time.AfterFunc(waitNotice, func() { k.o.OnWait(k.name) })
		defer t.Stop()
	}

	var r result
	select {
	case r = <-done:
	case <-inner.Done():
		// A backend that listens to ctx comes back by itself and is not stuck.
		grace := time.NewTimer(graceAfter)
		defer grace.Stop()
		select {
		case r = <-done:
		case <-grace.C:
			tripped.Store(k.name, true)
			r.err = inner.Err()
		}
	}
	switch {
	case r.err == nil:
		return r.b, nil
	case ctx.Err() != nil: // the caller's own end comes first
		return nil, fmt.Errorf("%s: %w", k.name, ctx.Err())
	case inner.Err() != nil && !errors.Is(r.err, ErrNotFound):
		return nil, &TimeoutError{Keychain: k.name, Op: op, After: limit}
	}
	return nil, r.err
}

// graceAfter is how long a backend may take to come back once its context ended.
const graceAfter = time.Second

// expiring is a bounded keychain that can forget by itself.
type expiring struct {
	*bounded
	e expirer
}

func (k *expiring) SetFor(ctx context.Context, key string, secret []byte, d time.Duration) error {
	return k.write(ctx, key, secret, func(ctx context.Context, key string, secret []byte) error {
		return k.e.setFor(ctx, key, secret, d)
	})
}

// checkKey lets through what is one word for each keychain: a file name for
// pass, an argument for security, a part of a credential's name on Windows.
func checkKey(key string) error {
	if key == "" || len(key) > 100 {
		return fmt.Errorf("keychain key %q: must have 1 to 100 characters", key)
	}
	for i := range len(key) {
		c := key[i]
		if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || i > 0 && (c == '-' || c == '_' || c == '.') {
			continue
		}
		return fmt.Errorf("keychain key %q: may hold only a-z, 0-9, and after the first also . _ -", key)
	}
	return nil
}
