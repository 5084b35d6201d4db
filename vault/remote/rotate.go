package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"envrun/vault"
	"envrun/vault/wire"
)

// stalled is how long a rotation may stand still before nobody waits for it any more.
const stalled = 2 * time.Minute

// RotateKey has envrund give an environment a new key, or joins a rotation that has
// begun, and waits until all that is stored is sealed under it. told, which may be
// nil, hears how far it has come. The errors are as of BeginRotation; KindTampered
// if the server met something that is not genuine.
func (v *Vault) RotateKey(ctx context.Context, env vault.Env, told func(wire.Rotation)) (wire.Rotation, error) {
	r, err := v.BeginRotation(ctx, env)
	if err != nil {
		return r, err
	}
	gen, rows, moved := r.Generation, int64(-1), time.Now()
	c := call{method: http.MethodGet, path: []string{"sys/rotate/env", v.mountPath(env)}}
	for !r.Done && r.Generation == gen {
		if r.Rows != rows {
			rows, moved = r.Rows, time.Now()
			if told != nil {
				told(r)
			}
		}
		switch {
		case r.Problem != "":
			return r, &vault.Error{Kind: vault.KindTampered, Env: env, Detail: "the rotation does not go on: " + r.Problem}
		case time.Since(moved) > stalled:
			return r, &vault.Error{Kind: vault.KindUnavailable, Env: env, Detail: fmt.Sprintf("the server has not gone on with the rotation for %v", stalled)}
		}
		select {
		case <-ctx.Done():
			return r, ctx.Err()
		case <-time.After(v.o.Pause):
		}
		if r, err = ask[wire.Rotation](ctx, v, c); err != nil {
			return r, v.place(err, env, "")
		}
	}
	return r, nil
}

// BeginRotation is RotateKey that does not wait: the server goes on with it by
// itself. KindNoEnv without such an environment, KindUnsupported on another server than
// envrund, whose keys are all of the server.
func (v *Vault) BeginRotation(ctx context.Context, env vault.Env) (wire.Rotation, error) {
	c := call{method: http.MethodPut, path: []string{"sys/rotate/env", v.mountPath(env)}, body: struct{}{}, repeat: true}
	r, err := ask[wire.Rotation](ctx, v, c)
	if e, ok := errors.AsType[*statusError](err); ok && (e.status == http.StatusNotFound || e.status == http.StatusMethodNotAllowed) {
		if len(e.texts) > 0 { // without a word it is the mount that is not there
			return r, &vault.Error{Kind: vault.KindUnsupported, Env: env, Detail: "the server gives no key to one environment alone; its own key is renewed with: vault operator rotate"}
		}
		return r, &vault.Error{Kind: vault.KindNoEnv, Env: env, Err: &ServerError{Trouble: NoMount, Address: v.Address(), Mount: v.mountPath(env), Text: v.mountPath(env) + "/"}}
	}
	return r, v.place(err, env, "")
}
