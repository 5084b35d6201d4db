package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"envrun/vault"
	"envrun/vault/parallel"
	"envrun/vault/wire"
)

// present is what a path holds in one version.
type present struct {
	info   vault.Info // Version 0: nothing was ever there
	raw    wire.Fields
	custom wire.Custom
}

// there reports whether a reader would find a secret.
func (p present) there() bool { return p.info.Version > 0 && !p.info.Deleted }

// secret is p with its values.
func (p present) secret() vault.Secret {
	s := vault.Secret{Info: p.info}
	for _, f := range p.info.Fields {
		s.Values = append(s.Values, vault.Field{Name: f.Name, Since: f.Since, Value: decodeValue(p.raw[string(f.Name)])})
	}
	return s
}

// checkPlace refuses what can be no environment and no path.
func checkPlace(env vault.Env, path vault.Path) error {
	if _, err := vault.ParseEnv(string(env)); err != nil {
		return err
	}
	_, err := vault.ParsePath(string(path))
	return err
}

// Get implements vault.Reader.
func (v *Vault) Get(ctx context.Context, env vault.Env, path vault.Path) (vault.Secret, error) {
	p, err := v.read(ctx, env, path, 0)
	if err == nil {
		err = p.absent()
	}
	if err != nil {
		return vault.Secret{}, err
	}
	return p.secret(), nil
}

// absent is the error of a secret that is not there.
func (p present) absent() error {
	switch {
	case p.info.Version == 0:
		return &vault.Error{Kind: vault.KindNotFound, Env: p.info.Env, Path: p.info.Path}
	case p.info.Deleted:
		return &vault.Error{Kind: vault.KindNotFound, Env: p.info.Env, Path: p.info.Path, Detail: fmt.Sprintf("was deleted in version %d", p.info.Version)}
	}
	return nil
}

// GetMany implements vault.Reader.
func (v *Vault) GetMany(ctx context.Context, env vault.Env, paths []vault.Path) ([]vault.Secret, error) {
	all, err := v.readMany(ctx, env, paths)
	if err != nil {
		return nil, err
	}
	secrets := make([]vault.Secret, len(paths))
	for i, p := range all {
		if err := p.absent(); err != nil {
			return nil, err
		}
		secrets[i] = p.secret()
	}
	return secrets, nil
}

// GetSome implements vault.SomeReader.
func (v *Vault) GetSome(ctx context.Context, env vault.Env, paths []vault.Path) ([]vault.Secret, error) {
	all, err := v.readMany(ctx, env, paths)
	if err != nil {
		return nil, err
	}
	var secrets []vault.Secret
	for _, p := range all {
		if p.there() {
			secrets = append(secrets, p.secret())
		}
	}
	return secrets, nil
}

// readMany reads the present versions of several secrets, in their order: in one
// request where the server has that. The error is that of the first which fails.
func (v *Vault) readMany(ctx context.Context, env vault.Env, paths []vault.Path) ([]present, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	at := map[vault.Path]int{} // of the first that asks for it
	var once []vault.Path
	for _, path := range paths {
		if err := checkPlace(env, path); err != nil {
			return nil, err
		}
		if _, ok := at[path]; !ok {
			at[path] = len(once)
			once = append(once, path)
		}
	}
	found, err := v.bundle(ctx, env, once)
	if err == errPlain {
		found = make([]present, len(once))
		err = parallel.Do(ctx, len(once), atOnce, func(i int) (err error) {
			found[i], err = v.read(ctx, env, once[i], 0)
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	all := make([]present, len(paths))
	for i, path := range paths {
		all[i] = found[at[path]]
	}
	return all, nil
}

// read reads a version of a secret, 0 for the present one. Nothing there is no
// error; an environment that is none is.
func (v *Vault) read(ctx context.Context, env vault.Env, path vault.Path, version uint64) (present, error) {
	if err := checkPlace(env, path); err != nil {
		return present{}, err
	}
	c := call{method: http.MethodGet, path: []string{v.mountPath(env), "data", string(path)}, repeat: true}
	if version > 0 {
		c.query = url.Values{"version": {strconv.FormatUint(version, 10)}}
	}
	a, err := v.send(ctx, c)
	if bare(err) {
		_, err := v.mount(ctx, env)
		return present{info: vault.Info{Env: env, Path: path}}, err
	}
	if err != nil {
		return present{}, v.place(err, env, path)
	}
	var leased bool
	s, err := decode[wire.Secret](v, a, &leased)
	if err != nil {
		return present{}, v.place(err, env, path)
	}
	p, err := v.made(env, path, s.Metadata, namesOf(s.Data), s.Data == nil)
	p.raw, p.info.Leased = s.Data, leased
	return p, err
}

// made puts together what is known of a version.
func (v *Vault) made(env vault.Env, path vault.Path, m wire.Version, names []string, gone bool) (present, error) {
	if m.Version == 0 || m.Version > math.MaxInt64 || m.CreatedTime.IsZero() {
		return present{}, v.place(&ServerError{Trouble: NotVault, Address: v.Address(), Text: "a secret has no version"}, env, path)
	}
	p := present{custom: m.CustomMetadata, info: vault.Info{Env: env, Path: path, Version: m.Version, At: m.CreatedTime.UTC(), Deleted: gone}}
	describe(&p.info, m.CustomMetadata)
	if gone {
		return p, nil
	}
	var err error
	p.info.Fields, err = fieldsOf(names, m.Version, m.CustomMetadata)
	return p, v.place(err, env, path)
}

// List implements vault.Reader.
func (v *Vault) List(ctx context.Context, env vault.Env, prefix vault.Path) iter.Seq2[vault.Info, error] {
	return func(yield func(vault.Info, error) bool) {
		if _, err := vault.ParseEnv(string(env)); err != nil {
			yield(vault.Info{}, err)
			return
		}
		if prefix != "" {
			if _, err := vault.ParsePath(string(prefix)); err != nil {
				yield(vault.Info{}, err)
				return
			}
		}
		if err := v.listNames(ctx, env, prefix, yield); err != errPlain {
			return
		}
		paths, bad, err := v.walk(ctx, env, prefix)
		if err != nil {
			yield(vault.Info{}, err)
			return
		}
		// A few at a time, so that a walk that is left has not asked for all.
		for some := range slices.Chunk(paths, 4*atOnce) {
			infos := make([]vault.Info, len(some))
			errs := make([]error, len(some))
			_ = parallel.Do(ctx, len(some), atOnce, func(i int) error {
				infos[i], errs[i] = v.names(ctx, env, some[i])
				return nil
			})
			for i, info := range infos {
				if ctx.Err() != nil {
					yield(vault.Info{}, ctx.Err())
					return
				}
				if errs[i] == nil && (info.Version == 0 || info.Deleted) {
					continue
				}
				if errs[i] != nil {
					info = vault.Info{}
				}
				if !yield(info, errs[i]) {
					return
				}
			}
		}
		for _, err := range bad {
			if !yield(vault.Info{}, err) {
				return
			}
		}
	}
}

// walk finds the paths at and below prefix, sorted, and what cannot be said of
// some: names that envrun has no room for, folders that may not be listed.
func (v *Vault) walk(ctx context.Context, env vault.Env, prefix vault.Path) (paths []vault.Path, bad []error, err error) {
	if prefix != "" {
		paths = append(paths, prefix)
	}
	folders := []string{string(prefix)}
	for first := true; len(folders) > 0; first = false {
		answers := make([]wire.Keys, len(folders))
		errs := make([]error, len(folders))
		err := parallel.Do(ctx, len(folders), atOnce, func(i int) error {
			answers[i], errs[i] = v.list(ctx, env, folders[i])
			return ctx.Err()
		})
		if err != nil {
			return nil, nil, err
		}
		if first && errs[0] != nil {
			return nil, nil, errs[0]
		}
		var deeper []string
		for i, folder := range folders {
			if errs[i] != nil {
				bad = append(bad, errs[i])
				continue
			}
			if folder != "" {
				folder += "/"
			}
			for _, key := range answers[i].Keys {
				name, isFolder := strings.CutSuffix(key, "/")
				path, err := vault.ParsePath(folder + name)
				switch {
				case err != nil:
					bad = append(bad, strange(env, folder+key))
				case isFolder:
					deeper = append(deeper, string(path))
				default:
					paths = append(paths, path)
				}
			}
			if len(paths)+len(deeper)+len(bad) > maxSecrets {
				return nil, nil, tooMany(env)
			}
		}
		folders = deeper
	}
	slices.Sort(paths)
	return slices.Compact(paths), bad, nil
}

// strange says that envrun has no room for a name; that of a folder ends in a slash.
func strange(env vault.Env, name string) error {
	what := "the secret"
	if strings.HasSuffix(name, "/") {
		what = "the folder"
	}
	return &vault.Error{Kind: vault.KindUnsupported, Env: env, Detail: fmt.Sprintf("%s %.200q, which another tool named so and envrun cannot", what, name)}
}

func tooMany(env vault.Env) error {
	return &vault.Error{Kind: vault.KindUnsupported, Env: env, Detail: fmt.Sprintf("has more than %d secrets: list a part of it", maxSecrets)}
}

// list asks for the keys of one folder; of one that is not there are none.
func (v *Vault) list(ctx context.Context, env vault.Env, folder string) (wire.Keys, error) {
	keys, err := ask[wire.Keys](ctx, v, call{method: http.MethodGet, path: []string{v.mountPath(env), "metadata", folder}, query: url.Values{"list": {"true"}}, repeat: true})
	if bare(err) {
		_, err := v.mount(ctx, env)
		return wire.Keys{}, err
	}
	return keys, v.place(err, env, vault.Path(folder))
}

// names is a secret without its values: Version 0 if there is none.
func (v *Vault) names(ctx context.Context, env vault.Env, path vault.Path) (vault.Info, error) {
	a, err := v.send(ctx, call{method: http.MethodGet, path: []string{v.mountPath(env), "subkeys", string(path)}, query: url.Values{"depth": {"1"}}, repeat: true})
	switch e, _ := errors.AsType[*statusError](err); {
	case bare(err):
		return vault.Info{}, nil
	case e != nil && (e.status == http.StatusForbidden || e.status == http.StatusMethodNotAllowed || e.status == http.StatusNotFound):
		// A policy from before subkeys, or a server without. Values that are read
		// here go nowhere.
		p, err := v.read(ctx, env, path, 0)
		return p.info, err
	case err != nil:
		return vault.Info{}, v.place(err, env, path)
	}
	s, err := decode[struct {
		Subkeys  map[string]json.RawMessage `json:"subkeys"`
		Metadata wire.Version               `json:"metadata"`
	}](v, a, nil)
	if err != nil {
		return vault.Info{}, v.place(err, env, path)
	}
	p, err := v.made(env, path, s.Metadata, namesOf(s.Subkeys), s.Subkeys == nil)
	return p.info, err
}
