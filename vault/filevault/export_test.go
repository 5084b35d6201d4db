package filevault

import (
	"context"

	"envrun/vault/engine"
)

// Step is an operation that changes the disk.
type Step = step

// SetStep has f called before each step of v.
func SetStep(v *Vault, f func(Step) error) { v.store.d.step = f }

// InitStep is Init with such an f.
func InitStep(ctx context.Context, o InitOptions, f func(Step) error) (*Vault, error) {
	d, err := newDisk(o.Dir, o.Place)
	if err != nil {
		return nil, err
	}
	d.step = f
	v, err := initDisk(ctx, d, o)
	return v, err
}

// Store is the engine's view of v's folder.
func Store(v *Vault) engine.Store { return v.store }
