package remote

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"math"
	"net/http"
	"slices"

	"envrun/vault"
	"envrun/vault/parallel"
	"envrun/vault/wire"
)

// Versions implements vault.Historian, as far back as the server keeps versions,
// the newest thousand of them.
// Which fields changed in which is found by comparing values, so it takes the
// right to read them; without it the versions have no fields. What a version that
// was deleted or destroyed held is not known.
func (v *Vault) Versions(ctx context.Context, env vault.Env, path vault.Path) iter.Seq2[vault.Info, error] {
	return func(yield func(vault.Info, error) bool) {
		all, err := v.versions(ctx, env, path, false)
		if err != nil {
			yield(vault.Info{}, err)
			return
		}
		for _, p := range slices.Backward(all) {
			if !yield(p.info, nil) {
				return
			}
		}
	}
}

// versions are the versions that are kept, oldest first. With values, it is an error
// where they may not be read.
func (v *Vault) versions(ctx context.Context, env vault.Env, path vault.Path, values bool) ([]present, error) {
	if err := checkPlace(env, path); err != nil {
		return nil, err
	}
	m, err := ask[wire.Metadata](ctx, v, call{method: http.MethodGet, path: []string{v.mountPath(env), "metadata", string(path)}, repeat: true})
	if bare(err) {
		if _, err := v.mount(ctx, env); err != nil {
			return nil, err
		}
		return nil, &vault.Error{Kind: vault.KindNotFound, Env: env, Path: path}
	}
	if err != nil {
		return nil, v.place(err, env, path)
	}
	numbers := slices.Sorted(maps.Keys(m.Versions))
	if len(numbers) == 0 {
		return nil, &vault.Error{Kind: vault.KindNotFound, Env: env, Path: path}
	}
	if numbers[0] == 0 || numbers[len(numbers)-1] > math.MaxInt64 {
		return nil, v.place(&ServerError{Trouble: NotVault, Address: v.Address(), Text: "a version has no number"}, env, path)
	}
	numbers = numbers[max(0, len(numbers)-maxHistory):]
	all := make([]present, len(numbers))
	err = parallel.Do(ctx, len(numbers), atOnce, func(i int) error {
		n := numbers[i]
		one := m.Versions[n]
		all[i].info = vault.Info{Env: env, Path: path, Version: n, At: one.CreatedTime.UTC(), Deleted: one.Destroyed}
		if one.Destroyed {
			return nil
		}
		p, err := v.read(ctx, env, path, n)
		switch {
		case vault.KindOf(err) == vault.KindDenied && !values:
			all[i].info.Deleted = !one.DeletionTime.IsZero()
			return nil
		case err != nil:
			return err
		case p.info.Version == 0: // it went meanwhile
			all[i].info.Deleted = true
			return nil
		}
		all[i] = p
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i, p := range all {
		if by := m.Versions[p.info.Version].CreatedBy; by != nil {
			p.info.By = by.Actor
		}
		if p.info.Version != m.CurrentVersion {
			p.info.Note, p.info.Rotate, p.info.Tags = "", "", nil // they are of now
		}
		if i > 0 && all[i-1].there() {
			for j, f := range p.info.Fields {
				if since, ok := sameIn(all[i-1], f.Name, p.raw); ok {
					p.info.Fields[j].Since = since
				}
			}
		}
		all[i] = p
	}
	return all, nil
}

// Export implements vault.Exporter. What the token may not read, and what envrun has
// no room for, has an Err.
func (v *Vault) Export(ctx context.Context, env vault.Env, former bool) ([]vault.Kept, error) {
	if _, err := v.mount(ctx, env); err != nil {
		return nil, err
	}
	paths, bad, err := v.walk(ctx, env, "")
	if err != nil {
		return nil, err
	}
	all := make([]vault.Kept, len(paths))
	err = parallel.Do(ctx, len(paths), atOnce, func(i int) error {
		all[i].Path = paths[i]
		var kept []present
		var err error
		if former {
			kept, err = v.versions(ctx, env, paths[i], true)
		} else {
			kept = make([]present, 1)
			kept[0], err = v.read(ctx, env, paths[i], 0)
		}
		switch vault.KindOf(err) {
		case vault.KindNotFound: // it went meanwhile
			return nil
		case vault.KindDenied, vault.KindUnsupported:
			all[i].Err = err
			return nil
		}
		for _, p := range kept {
			if p.info.Version > 0 {
				all[i].Versions = append(all[i].Versions, p.secret())
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(k vault.Kept) bool { return len(k.Versions) == 0 && k.Err == nil })
	for _, err := range bad {
		all = append(all, vault.Kept{Err: err})
	}
	return all, nil
}

// KeptByDefault is how many versions a mount keeps where nobody said otherwise.
const KeptByDefault = 10

// Keeps is how many versions of each secret an environment keeps, the newest. Where
// the token may not read that, it is what holds where nothing is said.
func (v *Vault) Keeps(ctx context.Context, env vault.Env) (int, error) {
	c, err := ask[wire.KVConfig](ctx, v, call{method: http.MethodGet, path: []string{v.mountPath(env), "config"}, repeat: true})
	if err = v.place(err, env, ""); vault.KindOf(err) == vault.KindDenied {
		return KeptByDefault, nil
	}
	if err == nil && c.MaxVersions == 0 {
		c.MaxVersions = KeptByDefault
	}
	return int(min(c.MaxVersions, maxHistory)), err
}

// Keep has an environment keep so many versions of each secret.
func (v *Vault) Keep(ctx context.Context, env vault.Env, versions int) error {
	_, err := v.send(ctx, call{method: http.MethodPost, path: []string{v.mountPath(env), "config"}, body: map[string]int{"max_versions": versions}, repeat: true})
	return v.place(err, env, "")
}

// sameIn is since when a field has the value that it has in raw, if it had it in p.
func sameIn(p present, name vault.FieldName, raw wire.Fields) (uint64, bool) {
	for _, f := range p.info.Fields {
		if f.Name == name {
			return f.Since, decodeValue(p.raw[string(name)]).Equal(decodeValue(raw[string(name)]))
		}
	}
	return 0, false
}

// GetVersion implements vault.Historian. A version that was deleted or destroyed
// has no values; of one that is no longer kept there is nothing.
func (v *Vault) GetVersion(ctx context.Context, env vault.Env, path vault.Path, version uint64) (vault.Secret, error) {
	none := &vault.Error{Kind: vault.KindNotFound, Env: env, Path: path, Detail: fmt.Sprintf("there is no version %d", version)}
	if version == 0 || version > math.MaxInt64 {
		return vault.Secret{}, none
	}
	p, err := v.read(ctx, env, path, version)
	if err != nil {
		return vault.Secret{}, err
	}
	if p.info.Version != version {
		return vault.Secret{}, none
	}
	return p.secret(), nil
}

// Restore writes the values of a former version again, as a new one. It returns
// that one, and whether it wrote: it does not where the present version has them.
// Note, rotation and tags stay as they are: the server keeps no former ones.
func (v *Vault) Restore(ctx context.Context, env vault.Env, path vault.Path, version uint64) (info vault.Info, wrote bool, err error) {
	from, err := v.GetVersion(ctx, env, path, version)
	if err != nil {
		return vault.Info{}, false, err
	}
	if from.Deleted {
		return vault.Info{}, false, &vault.Error{Kind: vault.KindInvalid, Env: env, Path: path, Detail: fmt.Sprintf("version %d is deleted and has no values to bring back", version)}
	}
	now, err := v.read(ctx, env, path, 0)
	if err != nil {
		return vault.Info{}, false, err
	}
	infos, err := v.Apply(ctx, env, []vault.Change{{Path: path, Was: now.info.Version, Set: from.Values, Replace: true}})
	if err != nil {
		return vault.Info{}, false, err
	}
	return infos[0], infos[0].Version != now.info.Version, nil
}
