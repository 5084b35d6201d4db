package server

import (
	"context"
	"errors"
	"sync"
	"time"

	"envrun/vault"
	"envrun/vault/audit"
	"envrun/vault/guard"
	"envrun/vault/keyring"
	"envrun/vault/kv"
	"envrun/vault/wire"
)

// rotations is sys/rotate and sys/key-status, which Vault has, and
// sys/rotate/env, which is ours alone.
//
// The root is renewed in the transaction of the request: what is sealed with it are a
// few keys. The key of a mount has its next generation in that of the request, with
// which every write seals from then on; what was there follows in pieces, in the
// background (Server.Rotate), and when nothing is left the former generation goes. How
// far it came is a sealed record, so that any server on the database goes on with it.
type rotations struct {
	*tables
	kv      kvEngine
	now     func() time.Time
	trouble *trouble
}

// A rotation is that of a mount's key, as it is kept: the last one.
type rotation struct {
	Gen   uint32    `json:"gen"` // that everything is to be sealed with
	Began time.Time `json:"began"`
	Ended time.Time `json:"ended,omitzero"`
	Total int64     `json:"total"` // rows, when it began
	At    kv.Cursor `json:"at"`
}

// trouble is why rotations do not go on, by the id of the mount. It is of this
// server, and of its memory.
type trouble struct {
	mu  sync.Mutex
	why map[string]error
}

// set keeps why, nil for nothing, and says whether that is news.
func (t *trouble) set(id string, err error) (news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.why[id]
	if err == nil {
		delete(t.why, id)
		return false
	}
	if t.why == nil {
		t.why = map[string]error{}
	}
	t.why[id] = err
	return was == nil || was.Error() != err.Error()
}

func (t *trouble) of(id string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.why[id]
}

func (a rotations) area() area {
	named := func(_ *guard.Request, at []string) audit.Data {
		path, _ := clean(at[0])
		return audit.Data{MountPoint: cut(path, 256)}
	}
	return area{
		{path: "rotate", update: a.root, sudo: true},
		{path: "rotate/keyring", update: a.root, sudo: true}, // as the commands of OpenBao name it
		{path: "rotate/env/{path...}", read: a.progress, update: a.begin, sudo: true, note: named},
		{path: "key-status", read: a.status},
	}
}

// root renews the root key, for the sealers that there are.
func (a rotations) root(c *call, _ []string) (*answer, error) {
	rec, err := keyring.Load(c.Tx())
	if err != nil {
		return nil, err
	}
	next, _, err := a.ring.RenewRoot(c.Context(), rec, keyring.RootChange{Now: a.now()})
	if err != nil {
		return nil, err
	}
	if err := next.Apply(c.Tx()); err != nil {
		return nil, err
	}
	return done(), nil
}

// status is of the root key, in the words of Vault.
func (a rotations) status(c *call, _ []string) (*answer, error) {
	rec, err := keyring.Load(c.Tx())
	if err != nil {
		return nil, err
	}
	gen, since := rec.Generation()
	return flat(wire.KeyStatus{Term: gen, InstallTime: since}), nil
}

// environment is the mount that a request names.
func (a rotations) environment(c *call, at []string) (*mount, error) {
	path, _ := clean(at[0])
	m := new(mount)
	there, err := a.get(c.Tx(), kindMount, path, m)
	if err != nil {
		return nil, err
	}
	if !there || m.Type != "kv" {
		return nil, errNothing
	}
	return m, nil
}

// begin begins a rotation, unless one has not come to its end: then it is that one.
func (a rotations) begin(c *call, at []string) (*answer, error) {
	m, err := a.environment(c, at)
	if err != nil {
		return nil, err
	}
	tx := c.Tx()
	var r rotation
	there, err := a.get(tx, kindRotation, m.UUID, &r)
	if err != nil {
		return nil, err
	}
	if there && r.Ended.IsZero() {
		return warn(a.shown(m, r), "the rotation that was begun before goes on"), nil
	}
	r = rotation{Began: a.now().UTC()}
	if r.Gen, err = a.ring.RotateKey(tx, m.UUID, a.now()); err != nil {
		return nil, err
	}
	mount := a.kv.of(m)
	if err := mount.Advance(tx, r.Gen); err != nil {
		return nil, err
	}
	if r.Total, err = mount.Rows(tx); err != nil {
		return nil, err
	}
	if err := a.put(tx, kindRotation, m.UUID, r); err != nil {
		return nil, err
	}
	return a.shown(m, r), nil
}

// progress is how far the last rotation has come.
func (a rotations) progress(c *call, at []string) (*answer, error) {
	m, err := a.environment(c, at)
	if err != nil {
		return nil, err
	}
	var r rotation
	there, err := a.get(c.Tx(), kindRotation, m.UUID, &r)
	if err != nil {
		return nil, err
	}
	if !there {
		gens, err := a.ring.Generations(c.Tx(), m.UUID)
		if err != nil {
			return nil, err
		}
		return answered(wire.Rotation{Mount: m.Path, Generation: gens[len(gens)-1], Done: true}), nil
	}
	return a.shown(m, r), nil
}

func (a rotations) shown(m *mount, r rotation) *answer {
	w := wire.Rotation{Mount: m.Path, Generation: r.Gen, Done: !r.Ended.IsZero(), Began: r.Began, Ended: r.Ended, Rows: r.At.Rows, Total: max(r.Total, r.At.Rows)}
	if err := a.trouble.of(m.UUID); err != nil {
		w.Problem = wrong(err)
	}
	return answered(w)
}

// wrong is what may be said of an error to who may rotate: which path, and what.
func wrong(err error) string {
	if ve := (*vault.Error)(nil); errors.As(err, &ve) && vault.KindOf(err) == vault.KindTampered {
		return ve.Error()
	}
	return words(err)
}

// Rotate goes on with the rotations that have begun, here or on another server,
// until none is left or ctx ends. What one cannot do is logged and shown, and holds no
// other one up. Call it every now and then.
func (s *Server) Rotate(ctx context.Context) error {
	o := s.open.Load()
	if o == nil {
		return nil
	}
	var ids []string
	err := s.DB.Read(ctx, func(tx Tx) error {
		ids = nil
		all, err := tx.BlobNames(kindRotation)
		if err != nil {
			return err
		}
		for _, id := range all {
			var r rotation
			there, err := o.store.get(tx, kindRotation, id, &r)
			if err != nil {
				return err
			}
			if there && r.Ended.IsZero() {
				ids = append(ids, id)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range ids {
		for more := true; more; {
			began := time.Now()
			if more, err = s.rotatePage(ctx, o, id); err != nil {
				if ctx.Err() != nil || s.open.Load() != o {
					return ctx.Err()
				}
				if o.trouble.set(id, err) {
					s.Logger.Error("a rotation does not go on", "mount", id, "error", err)
				}
				break
			}
			o.trouble.set(id, nil)
			// As long as others had to wait, they go first.
			select {
			case <-time.After(min(time.Since(began), time.Second)):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// rotatePage does one piece of a rotation, and with the last one ends it.
func (s *Server) rotatePage(ctx context.Context, o *opened, id string) (more bool, err error) {
	ended := false
	err = s.DB.Write(ctx, func(tx Tx) error {
		more, ended = false, false
		var r rotation
		there, err := o.store.get(tx, kindRotation, id, &r)
		if err != nil || !there || !r.Ended.IsZero() {
			return err // another server has ended it, or the mount is gone
		}
		if more, err = o.kv.of(&mount{UUID: id}).Rewrap(tx, &r.At); err != nil {
			return err
		}
		if !more {
			if err := o.ring.RetireKeys(tx, id); err != nil {
				return err
			}
			r.Ended, ended = s.Now().UTC(), true
			r.At.Path = ""
		}
		return o.store.put(tx, kindRotation, id, r)
	})
	if err == nil && ended {
		s.Logger.Info("a key was rotated", "mount", id)
	}
	return more && err == nil, err
}

// Attend keeps the server known to those who renew the root, and takes over a root
// that another server has made. Call it when it was unsealed, and every now and then.
func (s *Server) Attend(ctx context.Context) error {
	o := s.open.Load()
	if o == nil {
		return nil
	}
	attended := false
	err := s.DB.Read(ctx, func(tx Tx) (err error) { attended, err = o.ring.Attended(tx); return err })
	if err == nil && !attended {
		err = s.DB.Write(ctx, func(tx Tx) error { return o.ring.Attend(tx, s.Now()) })
	}
	if s.open.Load() != o {
		return nil // sealed meanwhile
	}
	return err
}

// Leave says, before the server stops, that no root is to be handed over to it.
func (s *Server) Leave(ctx context.Context) error {
	o := s.open.Load()
	if o == nil {
		return nil
	}
	return s.DB.Write(ctx, func(tx Tx) error { return o.ring.Leave(tx) })
}

// dropRotation forgets a mount's.
func dropRotation(ring *keyring.Ring, tx Tx, m *mount) error {
	_, err := ring.DeleteSealed(tx, kindRotation, m.UUID)
	return err
}
