package server

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"envrun/vault"
	"envrun/vault/audit"
	"envrun/vault/guard"
	"envrun/vault/keyring"
	"envrun/vault/seal"
	"envrun/vault/wire"
)

// sealers is sys/sealers, which is ours alone: what opens the root key. One is
// added or dropped with a new root key, in the transaction of the request, so that
// nothing which an earlier copy of the database opens what is there from
// then on. The last two cannot be dropped.
type sealers struct {
	server   string // its id
	ring     *keyring.Ring
	services []seal.Sealer
	now      func() time.Time
}

func (a sealers) area() area {
	// The id of a sealer is in the path, and its recipient is no secret that a log needs.
	noted := func(req *guard.Request, at []string) audit.Data {
		return audit.Data{Type: "sealer", Role: cut(at[0], 128)}
	}
	return area{
		{path: "sealers", read: a.list, sudo: true},
		{path: "sealers/{id}", update: a.add, remove: a.drop, sudo: true, note: noted, prepare: a.enrol},
	}
}

func (a sealers) list(c *call, _ []string) (*answer, error) {
	rec, err := keyring.Load(c.Tx())
	if err != nil {
		return nil, err
	}
	out := wire.Sealers{Sealers: []wire.Sealer{}, Available: []string{}}
	out.Generation, _ = rec.Generation()
	for _, s := range rec.Sealers() {
		w := wire.Sealer{ID: s.ID, Shares: s.Shares, Threshold: s.Threshold, Since: s.Since}
		if strings.HasPrefix(s.ID, "age:") {
			w.Recipient = s.Recipient
		}
		out.Sealers = append(out.Sealers, w)
	}
	for _, service := range a.services {
		if id := service.ID(); !slices.ContainsFunc(out.Sealers, func(s wire.Sealer) bool { return s.ID == id }) {
			out.Available = append(out.Available, id)
		}
	}
	return answered(out), nil
}

// enrolTime bounds how long a service is waited for.
const enrolTime = 20 * time.Second

// enrol asks the service that is to be a sealer, before there is a transaction.
func (a sealers) enrol(ctx context.Context, req *guard.Request) (any, error) {
	id := req.Path[strings.LastIndexByte(req.Path, '/')+1:]
	for _, service := range a.services {
		if service.ID() != id {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, enrolTime)
		defer cancel()
		e, err := keyring.Enrol(ctx, a.server, service)
		if err != nil {
			return nil, bad("%s", err) // it names the service, and no value
		}
		return e, nil
	}
	return nil, nil
}

// maxSealerName bounds what is behind the colon of an id.
const maxSealerName = 64

func (a sealers) add(c *call, at []string) (*answer, error) {
	in, warnings, err := body[wire.SealerWrite](c)
	if err != nil {
		return nil, err
	}
	change := keyring.RootChange{Now: a.now()}
	var to []keyring.AgeSealer
	switch kind, name, _ := strings.Cut(at[0], ":"); {
	case len(name) > maxSealerName:
		return nil, bad("the name of a sealer has at most %d bytes", maxSealerName)
	case kind == "age" && name != "":
		change.Add = []keyring.AgeSealer{{Name: name, Recipient: strings.TrimSpace(in.Recipient)}}
	case at[0] == "shamir":
		change.Shamir = &keyring.Shares{Shares: int(in.SecretShares), Threshold: int(in.SecretThreshold)}
		for _, r := range in.Recipients {
			to = append(to, keyring.AgeSealer{Name: "a share", Recipient: r})
		}
		if len(to) > 0 && len(to) != change.Shamir.Shares {
			return nil, bad("there are %d shares for %d recipients", change.Shamir.Shares, len(to))
		}
	default:
		e, _ := c.Prepared().(*keyring.Enrolment)
		if e == nil {
			return nil, bad("there is no sealer %s to add: the server's configuration names none", cut(at[0], maxSealerName))
		}
		change.Services = []*keyring.Enrolment{e}
	}
	shares, err := a.change(c, change)
	if err != nil {
		return nil, err
	}
	if len(shares) == 0 {
		return done(warnings...), nil
	}
	defer func() {
		for _, s := range shares {
			clear(s)
		}
	}()
	var out wire.SealerKeys
	if len(to) > 0 {
		out.KeysAge, err = keyring.ForOperators(shares, to)
		return warn(answered(out), warnings...), err
	}
	for _, s := range shares {
		out.Keys = append(out.Keys, wire.Token(hex.EncodeToString(s)))
		out.KeysBase64 = append(out.KeysBase64, wire.Token(base64.StdEncoding.EncodeToString(s)))
	}
	return warn(answered(out), warnings...), nil
}

func (a sealers) drop(c *call, at []string) (*answer, error) {
	_, err := a.change(c, keyring.RootChange{Now: a.now(), Drop: []string{at[0]}})
	return done(), err
}

// change renews the root for other sealers, and returns shares, if there are new ones.
func (a sealers) change(c *call, change keyring.RootChange) ([][]byte, error) {
	rec, err := keyring.Load(c.Tx())
	if err != nil {
		return nil, err
	}
	next, shares, err := a.ring.RenewRoot(c.Context(), rec, change)
	if err != nil {
		return nil, err
	}
	return shares, next.Apply(c.Tx())
}

// UnsealBy opens the server with a service that is one of its sealers. It waits for
// the service.
func (s *Server) UnsealBy(ctx context.Context, service seal.Sealer) error {
	return s.unsealWith(ctx, func(ring *keyring.Ring, rec *keyring.Record) error { return ring.UnsealBy(ctx, rec, service) })
}

// unsealWith opens the server with what opens a ring. Nobody is held up meanwhile: who
// comes first has opened it.
func (s *Server) unsealWith(ctx context.Context, open func(*keyring.Ring, *keyring.Record) error) error {
	rec, err := s.record(ctx)
	if err != nil {
		return err
	}
	if rec == nil {
		return &vault.Error{Kind: vault.KindNoVault, Op: "unsealing", Detail: "the server is not initialised"}
	}
	ring := new(keyring.Ring)
	if err := open(ring, rec); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open.Load() != nil {
		return nil
	}
	return s.unlock(ctx, ring)
}

// Sealed reports whether the server is sealed.
func (s *Server) Sealed() bool { return s.open.Load() == nil }
