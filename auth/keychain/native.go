package keychain

import (
	"context"
	"errors"

	zalando "github.com/zalando/go-keyring"
)

// native is what go-keyring does on this operating system. Its calls know no
// context and may block for ever.
type native struct {
	service string
	readyTo func(ctx context.Context, asking bool) error
	explain func(error) error // turns the system's error into one of ours
	limit   func(key string) int
}

func (n native) ready(ctx context.Context, asking bool) error { return n.readyTo(ctx, asking) }
func (n native) max(key string) int                           { return n.limit(key) }

func (n native) get(_ context.Context, key string) ([]byte, error) {
	s, err := zalando.Get(n.service, key)
	if err != nil {
		return nil, n.error(err)
	}
	return []byte(s), nil
}

func (n native) set(_ context.Context, key string, secret []byte) error {
	return n.error(zalando.Set(n.service, key, string(secret)))
}

func (n native) delete(_ context.Context, key string) error {
	return n.error(zalando.Delete(n.service, key))
}

func (n native) error(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, zalando.ErrNotFound):
		return ErrNotFound
	}
	return n.explain(err)
}
