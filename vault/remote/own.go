package remote

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"envrun/vault"
	"envrun/vault/parallel"
	"envrun/vault/wire"
)

// What envrund answers beyond Vault's API: everything here is asked another way of
// other servers.

// errPlain says that the server has no requests of envrund.
var errPlain = errors.New("the server is not envrund")

// heard notes whether an answer is one of envrund, and reports whether it is the
// answer of another server to a request that envrund alone has. What does not
// work at present says nothing.
func (v *Vault) heard(res *http.Response, own bool) bool {
	plain := res.Header.Get(wire.OwnHeader) == ""
	if plain && (!own || res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests) {
		return false
	}
	v.knowing.Do(func() { close(v.known) })
	if v.plain.CompareAndSwap(!plain, plain) && v.o.Learnt != nil {
		v.o.Learnt(plain)
	}
	return plain
}

// bundle reads the present versions of secrets that are all different, as read does
// for each of them. errPlain if they are to be read one by one: the server has no
// such request, or there is too much for one answer.
func (v *Vault) bundle(ctx context.Context, env vault.Env, paths []vault.Path) ([]present, error) {
	if len(paths) < 2 || v.plain.Load() {
		return nil, errPlain
	}
	mount := v.mountPath(env) + "/data/"
	var parts [][]string
	room := 0
	for _, path := range paths {
		full := mount + string(path)
		if room -= len(full) + 4; room < 0 || len(parts[len(parts)-1]) == wire.MaxBundle {
			parts = append(parts, nil)
			room = wire.MaxBundlePaths - len(full) - 4
		}
		last := len(parts) - 1
		parts[last] = append(parts[last], full)
	}
	answers := make([]wire.Bundled, len(parts))
	err := parallel.Do(ctx, len(parts), atOnce, func(i int) (err error) {
		answers[i], err = ask[wire.Bundled](ctx, v, call{method: http.MethodPost, path: []string{"sys/bundle"}, body: wire.Bundle{Paths: parts[i]}, repeat: true, own: true})
		return err
	})
	if e, ok := errors.AsType[*statusError](err); ok && e.status == http.StatusRequestEntityTooLarge {
		err = errPlain
	}
	if err != nil {
		if err != errPlain {
			err = v.place(err, env, "")
		}
		return nil, err
	}
	found := make([]present, 0, len(paths))
	for i, part := range parts {
		if len(answers[i].Secrets) != len(part) {
			return nil, v.place(v.notVault("it was asked for other secrets"), env, "")
		}
		for j, s := range answers[i].Secrets {
			path := paths[len(found)]
			if s.Path != part[j] {
				return nil, v.place(v.notVault("it was asked for other secrets"), env, path)
			}
			p, err := v.part(env, path, s)
			if err != nil {
				return nil, err
			}
			found = append(found, p)
		}
	}
	return found, nil
}

func (v *Vault) notVault(text string) *ServerError {
	return &ServerError{Trouble: NotVault, Address: v.Address(), Text: text}
}

// part is one secret of a bundle.
func (v *Vault) part(env vault.Env, path vault.Path, s wire.BundledSecret) (present, error) {
	switch {
	case s.Data != nil:
		p, err := v.made(env, path, s.Data.Metadata, namesOf(s.Data.Data), s.Data.Data == nil)
		p.raw = s.Data.Data
		return p, err
	case s.Status == http.StatusNotFound && len(s.Errors) == 0:
		return present{info: vault.Info{Env: env, Path: path}}, nil // of a mount that is one: others have words
	}
	return present{}, v.place(v.partly(s.Status, s.Errors), env, path)
}

// partly is the error of one secret of several.
func (v *Vault) partly(status int, texts []string) error {
	if status >= 500 {
		return &ServerError{Trouble: Unreachable, Address: v.Address(), Status: status, Text: strings.Join(plain(texts), "; ")}
	}
	return &statusError{status: status, texts: plain(texts), policy: byPolicy(texts)}
}

// listNames yields the secrets at and below prefix without their values, and then
// what cannot be said of some, as walk and names do together. errPlain if the
// server has no such request; then it has yielded nothing.
func (v *Vault) listNames(ctx context.Context, env vault.Env, prefix vault.Path, yield func(vault.Info, error) bool) error {
	if v.plain.Load() {
		return errPlain
	}
	asked := wire.NamesAsked{Mount: v.mountPath(env), Prefix: string(prefix)}
	var bad []error
	told := map[string]bool{} // what bad says something of
	for n := 0; ; {
		page, err := ask[wire.Named](ctx, v, call{method: http.MethodPost, path: []string{"sys/names"}, body: asked, repeat: true, own: true})
		if e, ok := errors.AsType[*statusError](err); ok && e.status == http.StatusMethodNotAllowed {
			_, err = v.mount(ctx, env) // which says what is there instead
		}
		if n == 0 && err == errPlain {
			return errPlain
		}
		if err == nil && page.Next != "" && page.Next <= asked.After {
			err = v.notVault("its list goes in a circle")
		}
		if n += len(page.Secrets); err == nil && n > maxSecrets {
			err = tooMany(env)
		}
		if err != nil {
			if vault.KindOf(err) == vault.KindOther {
				err = v.place(err, env, prefix)
			}
			yield(vault.Info{}, err)
			return nil
		}
		for _, s := range page.Secrets {
			if ctx.Err() != nil {
				yield(vault.Info{}, ctx.Err())
				return nil
			}
			path, err := vault.ParsePath(s.Path)
			if err != nil {
				if name := strangest(s.Path); !told[name] {
					told[name] = true
					bad = append(bad, strange(env, name))
				}
				continue
			}
			var p present
			switch {
			case s.Metadata != nil:
				p, err = v.made(env, path, *s.Metadata, s.Keys, s.Keys == nil)
			case s.Status != http.StatusNotFound:
				err = v.place(v.partly(s.Status, nil), env, path)
			}
			if err == nil && !p.there() {
				continue
			}
			if err != nil {
				p.info = vault.Info{}
			}
			if !yield(p.info, err) {
				return nil
			}
		}
		for _, folder := range page.Refused {
			if !told[folder+"/"] {
				told[folder+"/"] = true
				bad = append(bad, v.place(v.partly(http.StatusForbidden, nil), env, vault.Path(folder)))
			}
		}
		if asked.After = page.Next; asked.After == "" {
			break
		}
	}
	for _, err := range bad {
		if !yield(vault.Info{}, err) {
			return nil
		}
	}
	return nil
}

// strangest is the first part of a path that is no path of ours: a folder, with a
// slash, or all of it.
func strangest(path string) string {
	for i := range len(path) {
		if path[i] == '/' {
			if _, err := vault.ParsePath(path[:i]); err != nil {
				return path[:i+1]
			}
		}
	}
	return path
}
