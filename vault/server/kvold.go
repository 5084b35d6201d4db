package server

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"envrun/vault"
	"envrun/vault/audit"
	"envrun/vault/guard"
	"envrun/vault/kv"
	"envrun/vault/policy"
)

// KV version 1: a path has one value, which a write replaces and a deletion
// removes. Old tools know nothing else. It is a mount of version 2 that keeps one
// version.

// oldLease is the time that a reader may keep what it read, as a hint: nothing ends then.
const oldLease = int64(768 * 60 * 60)

func (e kvEngine) findOld(req *guard.Request, m *mount, path string) (action, error) {
	k := kvCall{e.of(m), m, path, e.now}
	var a action
	switch req.Op {
	case policy.OpRead:
		a = guard.Reads(k.readOld)
	case policy.OpList:
		a = guard.Reads(k.list)
	case policy.OpUpdate:
		a = guard.Writes(k.writeOld).Existing(func(_ context.Context, tx Tx) (bool, error) {
			there, err := k.Exists(tx, path)
			if vault.KindOf(err) == vault.KindInvalid {
				err = nil
			}
			return there, err
		})
	case policy.OpDelete:
		a = guard.Writes(k.removeMeta)
	default:
		return action{}, errUnsupported
	}
	facts := kvFacts(req, m, "")
	if req.Op == policy.OpUpdate {
		for name := range req.Params {
			facts.Keys = append(facts.Keys, name)
		}
		slices.Sort(facts.Keys)
	}
	return a.Noting(facts), nil
}

func (k kvCall) readOld(c *call) (*answer, error) {
	v, err := k.Get(c.Tx(), k.path, 0)
	if err != nil {
		return nil, err
	}
	if !v.Readable {
		return nil, errNothing
	}
	return &answer{Status: http.StatusOK, Body: &reply{data: json.RawMessage(v.Data.Reveal()), lease: oldLease}, Facts: &audit.Data{Version: uint64(v.Version)}}, nil
}

func (k kvCall) writeOld(c *call) (*answer, error) {
	if len(c.Request().Params) == 0 {
		return nil, bad("missing data fields")
	}
	_, err := k.Put(c.Tx(), k.path, vault.NewValue(slices.Clone(c.Request().Body)), kv.Write{By: actor(c)})
	return done(), err
}
