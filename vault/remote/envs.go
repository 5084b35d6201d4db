package remote

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"envrun/vault"
	"envrun/vault/wire"
)

// The mark of a mount that is an environment, among the mount's options.
const (
	markName  = "envrun"
	markValue = "environment"
)

// mountPath is the mount of an environment, without slashes at its ends.
func (v *Vault) mountPath(env vault.Env) string {
	if m, ok := v.o.Mounts[env]; ok {
		return m
	}
	return string(env)
}

// Envs implements vault.Reader: the mounts of KV v2 that Options.Mounts names or
// that are marked as environments, as far as the token sees them.
func (v *Vault) Envs(ctx context.Context) ([]vault.Env, error) {
	visible, err := ask[wire.VisibleMounts](ctx, v, call{method: http.MethodGet, path: []string{"sys/internal/ui/mounts"}, repeat: true})
	if err != nil {
		return nil, v.place(err, "", "")
	}
	envs := map[vault.Env]bool{}
	for path, m := range visible.Secret {
		path = trimSlash(path)
		if !isKV2(m) {
			continue
		}
		if env, ok := v.envs[path]; ok {
			envs[env] = true
		} else if env, err := vault.ParseEnv(path); err == nil && m.Options[markName] == markValue && v.mountPath(env) == path {
			envs[env] = true
		}
	}
	return slices.Sorted(maps.Keys(envs)), nil
}

func isKV2(m wire.Mount) bool { return m.Type == "kv" && m.Options["version"] == "2" }

func trimSlash(s string) string {
	if len(s) > 0 && s[len(s)-1] == '/' {
		return s[:len(s)-1]
	}
	return s
}

// mount makes sure that an environment is a mount of KV v2: on another kind of
// mount the same requests mean something else.
func (v *Vault) mount(ctx context.Context, env vault.Env) (wire.Mount, error) {
	if _, err := vault.ParseEnv(string(env)); err != nil {
		return wire.Mount{}, err
	}
	v.mu.Lock()
	m, ok := v.mounts[env]
	v.mu.Unlock()
	if ok {
		return m, nil
	}
	path := v.mountPath(env)
	m, err := ask[wire.Mount](ctx, v, call{method: http.MethodGet, path: []string{"sys/internal/ui/mounts", path}, repeat: true})
	if e, ok := errors.AsType[*statusError](err); ok && e.status == http.StatusForbidden {
		// So it answers for what is not there as well. Whoever may see everything
		// is told by the mount itself.
		_, err := v.send(ctx, call{method: http.MethodGet, path: []string{path, "config"}, repeat: true})
		if e, ok := errors.AsType[*statusError](err); ok && wire.KindOf(e.status, e.texts) == vault.KindNoEnv {
			return wire.Mount{}, v.place(err, env, "")
		}
		return wire.Mount{}, &vault.Error{Kind: vault.KindDenied, Env: env, Err: &ServerError{Trouble: Forbidden, Address: v.Address(), Mount: path, Status: e.status, Text: "the token sees nothing of the mount " + path + "/, or there is none"}}
	}
	if err != nil {
		return wire.Mount{}, v.place(err, env, "")
	}
	switch {
	case trimSlash(m.Path) != path:
		return wire.Mount{}, &vault.Error{Kind: vault.KindNoEnv, Env: env, Err: &ServerError{Trouble: NoMount, Address: v.Address(), Mount: path, Text: path + "/; there is the mount " + m.Path}}
	case !isKV2(m):
		return wire.Mount{}, &vault.Error{Kind: vault.KindUnsupported, Env: env, Err: &ServerError{Trouble: NoMount, Address: v.Address(), Mount: path, Text: path + "/ is a mount, and not one of KV version 2"}}
	}
	v.mu.Lock()
	v.mounts[env] = m
	v.mu.Unlock()
	return m, nil
}

func (v *Vault) forget(env vault.Env) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.mounts, env)
}

// AddEnv implements vault.EnvKeeper: a mount of KV v2, marked as an environment.
func (v *Vault) AddEnv(ctx context.Context, env vault.Env) error {
	if _, err := vault.ParseEnv(string(env)); err != nil {
		return err
	}
	body := wire.MountWrite{Type: "kv", Description: "environment " + string(env) + " of envrun", Options: map[string]string{"version": "2", markName: markValue}}
	_, err := v.send(ctx, call{method: http.MethodPost, path: []string{"sys/mounts", v.mountPath(env)}, body: body})
	if err != nil {
		return v.place(err, env, "")
	}
	return v.ready(ctx, env)
}

// ready waits for a new mount: Vault makes KV v2 out of KV v1, and says so with
// errors for a moment.
func (v *Vault) ready(ctx context.Context, env vault.Env) error {
	for deadline := time.Now().Add(v.o.Timeout); ; {
		_, err := v.send(ctx, call{method: http.MethodGet, path: []string{v.mountPath(env), "config"}, repeat: true})
		e, ok := errors.AsType[*statusError](err)
		if err == nil || ok && e.status == http.StatusForbidden { // the configuration may not be ours to read
			return nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return v.place(err, env, "")
		}
		select {
		case <-ctx.Done():
		case <-time.After(v.o.Pause):
		}
	}
}

// RemoveEnv implements vault.EnvKeeper. A mount that envrun did not make is
// KindUnsupported: it may hold what is none of ours.
func (v *Vault) RemoveEnv(ctx context.Context, env vault.Env) error {
	m, err := v.mount(ctx, env)
	if err != nil {
		return err
	}
	if m.Options[markName] != markValue {
		return &vault.Error{Kind: vault.KindUnsupported, Env: env, Detail: fmt.Sprintf("the mount %s was not made by envrun, and is not removed by it", v.mountPath(env))}
	}
	v.forget(env)
	_, err = v.send(ctx, call{method: http.MethodDelete, path: []string{"sys/mounts", v.mountPath(env)}})
	return v.place(err, env, "")
}
