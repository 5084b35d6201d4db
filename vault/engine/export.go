package engine

import (
	"context"
	"runtime"
	"sort"

	"envrun/vault"
	"envrun/vault/parallel"
)

// Export implements vault.Exporter. Every present version passes the checks of Get.
// Of the former ones those are left out that GetVersion would refuse, because the
// caller never had the key or nobody wrote them who did, and those above the
// present one, from which somebody went back.
func (e *Engine) Export(ctx context.Context, env vault.Env, former bool) ([]vault.Kept, error) {
	var all []vault.Kept
	var bad error // of the first secret that has one
	err := e.read(ctx, env, func(v view) error {
		all, bad = nil, nil
		err := v.each(ctx, e.c.Store.Heads(ctx, env, ""), "", true, func(f found) bool {
			k := vault.Kept{Path: f.path, Err: f.err}
			switch {
			case f.err != nil:
				if bad == nil {
					bad = f.err
				}
			case f.opened.Record == nil: // the seal's memory of a deletion
				k.Versions = []vault.Secret{{Info: vault.Info{Env: env, Path: f.path, Version: f.entry.Version, Deleted: true}}}
			default:
				k.Versions = []vault.Secret{{Info: f.opened.Info(), Values: f.values}}
			}
			all = append(all, k)
			return true
		})
		if err == nil && former {
			err = v.addFormer(ctx, all)
		}
		if err == nil {
			err = bad // one that a rotation came over is whole when it is read again
		}
		return err
	})
	if err != nil && err != bad {
		return nil, err
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Path < all[j].Path })
	return all, nil
}

// addFormer puts the former versions of secrets before the present ones.
func (v view) addFormer(ctx context.Context, all []vault.Kept) error {
	records, err := v.e.archived(ctx, v.env, all)
	if err != nil {
		return err
	}
	return parallel.Do(ctx, len(all), runtime.GOMAXPROCS(0), func(i int) error {
		k := &all[i]
		if k.Err != nil {
			return nil
		}
		present, have := k.Versions[0].Version, map[uint64]bool{}
		for _, r := range records[k.Path] {
			if err := ctx.Err(); err != nil {
				return err
			}
			info, gen, err := header(v.env, r)
			if err != nil || info.Version >= present || have[info.Version] {
				continue
			}
			if former, err := v.openFormer(ctx, k.Path, gen, r.Raw); err == nil {
				have[info.Version] = true
				k.Versions = append(k.Versions, vault.Secret{Info: former.Info(), Values: former.fields})
			}
		}
		sort.Slice(k.Versions, func(i, j int) bool { return k.Versions[i].Version < k.Versions[j].Version })
		return nil
	})
}

// archived are the kept records of secrets by path, newest first.
func (e *Engine) archived(ctx context.Context, env vault.Env, all []vault.Kept) (map[vault.Path][]Record, error) {
	if a, ok := e.c.Store.(Archive); ok {
		return a.Former(ctx, env)
	}
	records := map[vault.Path][]Record{}
	for _, k := range all {
		for r, err := range e.versions(ctx, env, k.Path) {
			if vault.KindOf(err) == vault.KindUnsupported {
				return nil, err
			}
			if err == nil {
				records[k.Path] = append(records[k.Path], r)
			}
		}
	}
	return records, nil
}
