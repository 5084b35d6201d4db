package filevault

import (
	"context"

	"envrun/vault/engine"
)

// SetStep has f called before each operation of v that changes the disk.
func SetStep(v *Vault, f func(op, name string) error) { v.store.d.step = f }

// InitStep is Init with such an f.
func InitStep(ctx context.Context, o InitOptions, f func(op, name string) error) (*Vault, error) {
	d, err := newDisk(o.Dir)
	if err != nil {
		return nil, err
	}
	d.step = f
	v, err := initDisk(ctx, d, o)
	return v, err
}

// Store is the engine's view of v's folder.
func Store(v *Vault) engine.Store { return v.store }
