package filevault

import (
	"context"
	"slices"
	"time"

	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/record"
)

// Retired is a secret that stands under a retired key: written on a branch cut
// before a rotation, or by a former member. It is not used before it is adopted.
type Retired struct {
	Path    vault.Path
	Gen     uint32
	Version uint64
	By      string // as it says of itself: not checked
	At      time.Time
}

// NeedAdoption lists the secrets of env that stand under a retired key, sorted
// by path. It needs no key.
func (v *Vault) NeedAdoption(ctx context.Context, env vault.Env) ([]Retired, error) {
	view, err := v.store.d.view()
	if err != nil {
		return nil, err
	}
	gens, err := view.generations(env)
	view.Close()
	if err != nil {
		return nil, err
	}
	if len(gens) == 0 {
		return nil, nil
	}
	current := gens[len(gens)-1]
	var old []Retired
	for r, err := range v.store.Heads(ctx, env, "") {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			continue // Verify reports it
		}
		if info, gen, err := record.ParseHeader(r.Raw); err == nil && gen < current {
			old = append(old, Retired{r.Path, gen, info.Version, info.By, info.At})
		}
	}
	return old, nil
}

// Adopt takes over a secret that stands under a retired key: see
// engine.Engine.Adopt. Those who held that key know its values, so where there
// is a list of what one of them could read, it gets the new version too, and
// reminds until the value is replaced at its source.
func (v *Vault) Adopt(ctx context.Context, env vault.Env, path vault.Path) error {
	old, err := v.NeedAdoption(ctx, env)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(old, func(r Retired) bool { return r.Path == path })
	if i < 0 {
		return v.Engine.Adopt(ctx, env, path) // which says why not, or has nothing to do
	}
	if err := v.Engine.Adopt(ctx, env, path); err != nil {
		return err
	}
	return v.exposeAdopted(ctx, env, old[i:i+1], []vault.Path{path})
}

// exposeAdopted puts the present versions of adopted secrets on the lists of
// those who held the key that they came from.
func (v *Vault) exposeAdopted(ctx context.Context, env vault.Env, old []Retired, adopted []vault.Path) error {
	names, err := func() ([]string, error) {
		view, err := v.store.d.view()
		if err != nil {
			return nil, err
		}
		defer view.Close()
		return view.blobs(env, exposedDir+"/")
	}()
	if err != nil || len(names) == 0 {
		return err
	}
	from := map[vault.Path]uint32{} // the key that its values were under; of a merge, any retired one
	for _, p := range adopted {
		from[p] = 1
	}
	for _, r := range old {
		if _, ok := from[r.Path]; ok {
			from[r.Path] = r.Gen
		}
	}
	return v.store.Batch(ctx, env, func(tx engine.Tx) error {
		for _, name := range names {
			raw, err := tx.Blob(name)
			if err != nil {
				return err
			}
			x, err := v.parseExposed(env, raw)
			if err != nil {
				continue // Verify reports it
			}
			n := len(x.Entries)
			for p, gen := range from {
				if gen > x.Gen {
					continue // made after they were gone
				}
				head, err := tx.Head(p)
				if err != nil {
					return err
				}
				info, _, err := record.ParseHeader(head.Raw)
				if err != nil {
					return err
				}
				e := record.ExposedEntry{Path: p, Version: info.Version}
				if !info.Deleted && !slices.Contains(x.Entries, e) {
					x.Entries = append(x.Entries, e)
				}
			}
			if len(x.Entries) == n {
				continue
			}
			sortExposed(x.Entries)
			if err := x.Check(); err != nil {
				return err
			}
			if err := tx.PutBlob(name, x.Marshal()); err != nil {
				return err
			}
		}
		return nil
	})
}
