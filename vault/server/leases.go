package server

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"envrun/vault"
	"envrun/vault/audit"
	"envrun/vault/guard"
	"envrun/vault/lease"
	"envrun/vault/wire"
)

// leaseArea is sys/leases (server-api §1.9). What gives out leases makes them in
// vault/lease: KV gives none, and the time of a token is asked of auth/token.
type leaseArea struct {
	*lease.Leases
	db guard.DB[Tx]
}

type leaseBody struct {
	LeaseID    string        `json:"lease_id"`
	URLLeaseID string        `json:"url_lease_id"`
	Increment  wire.Duration `json:"increment"`
	Sync       wire.Bool     `json:"sync"`
}

func (l leaseArea) area() area {
	note := func(req *guard.Request, at []string) audit.Data {
		d := audit.Data{LeaseID: cut(strings.Join(at, "/"), 256)}
		if s, ok := req.Params["lease_id"].(string); ok && d.LeaseID == "" {
			d.LeaseID = cut(s, 256)
		}
		return d
	}
	return area{
		{path: "leases/lookup", update: l.lookup, list: l.list, looks: true, note: note},
		{path: "leases/lookup/{prefix...}", list: l.list},
		{path: "leases/renew", update: l.renew, prepare: l.prolong, note: note},
		{path: "leases/renew/{id...}", update: l.renew, prepare: l.prolong, note: note},
		{path: "leases/revoke", update: l.revoke, note: note},
		{path: "leases/revoke/{id...}", update: l.revoke, note: note},
		{path: "leases/revoke-prefix/{prefix...}", update: l.revokeBelow, note: note},
		{path: "leases/revoke-force/{prefix...}", update: l.drop, note: note},
		{path: "leases/count", read: l.count},
		{path: "leases", read: l.stuck},
	}
}

// leaseID is which lease a request is about.
func leaseID(in leaseBody, at []string) (string, error) {
	id := in.LeaseID
	if id == "" {
		id = in.URLLeaseID
	}
	if len(at) > 0 && at[0] != "" {
		id = at[0]
	}
	if id == "" {
		return "", bad("lease_id must be specified")
	}
	return id, nil
}

func (l leaseArea) lookup(c *call, _ []string) (*answer, error) {
	in, warnings, err := body[leaseBody](c)
	if err != nil {
		return nil, err
	}
	id, err := leaseID(in, nil)
	if err != nil {
		return nil, err
	}
	found, err := l.Get(c.Tx(), id)
	if errors.Is(err, lease.ErrNotFound) {
		return nil, bad("invalid lease")
	}
	if err != nil {
		return nil, err
	}
	return warn(answered(l.shown(found)), warnings...), nil
}

// shown is a lease as the API describes it; one that is to end has what keeps it.
func (l leaseArea) shown(found lease.Lease) wire.Lease {
	w := wire.Lease{
		ID: found.ID, IssueTime: wire.Time{Time: found.Made}, ExpireTime: wire.Time{Time: found.Expires},
		Renewable: found.Renewable && !found.Ending, TTL: secs(max(0, found.Expires.Sub(l.Now()))),
	}
	if !found.Renewed.IsZero() {
		w.LastRenewal = &wire.Time{Time: found.Renewed}
	}
	if found.Ending {
		w.State, w.TTL = "revoking", 0
		if found.Stuck {
			w.State = "stuck"
		}
		w.Tries, w.Error, w.NextTry = found.Tries, found.Problem, &wire.Time{Time: found.Next}
	}
	return w
}

// maxListed is how many names a list of leases has at most.
const maxListed = 10_000

func (l leaseArea) list(c *call, at []string) (*answer, error) {
	folder := ""
	if len(at) > 0 {
		folder = strings.Trim(at[0], "/")
	}
	if folder != "" {
		folder += "/"
	}
	names, err := lease.Children(c.Tx(), folder, maxListed)
	if err != nil {
		return nil, err
	}
	return keys(names)
}

// A prolonged lease is one whose issuer lets it live until a time.
type prolonged struct {
	id       string
	until    time.Time
	warnings []string
}

// prolong has the issuer renew a lease, before that is written.
func (l leaseArea) prolong(ctx context.Context, req *guard.Request) (any, error) {
	in, warnings, err := bodyOf[leaseBody](req)
	if err != nil {
		return nil, err
	}
	_, inPath, _ := strings.Cut(strings.TrimSuffix(req.Path, "/"), "leases/renew/")
	id, err := leaseID(in, []string{inPath})
	if err != nil {
		return nil, err
	}
	var found lease.Lease
	if err := l.db.Read(ctx, func(tx Tx) error {
		found, err = l.Get(tx, id)
		return err
	}); err != nil {
		return nil, asLease(err)
	}
	until, more, err := l.Until(found, time.Duration(in.Increment))
	if err != nil {
		return nil, asLease(err)
	}
	if err := l.Prolong(ctx, found, until); err != nil {
		return nil, asLease(err)
	}
	return prolonged{id, until, append(warnings, more...)}, nil
}

// asLease gives an error about a lease its words.
func asLease(err error) error {
	for _, known := range []error{lease.ErrNotFound, lease.ErrNotRenewable, lease.ErrExpired, lease.ErrPastMax} {
		if errors.Is(err, known) {
			return bad("%s", known)
		}
	}
	var ve *vault.Error
	if errors.As(err, &ve) {
		return err
	}
	return bad("failed to renew the lease: %s", cut(err.Error(), 240)) // an issuer's words hold no value
}

func (l leaseArea) renew(c *call, _ []string) (*answer, error) {
	p, ok := c.Prepared().(prolonged)
	if !ok {
		return nil, errors.New("renewing a lease: nothing was prepared")
	}
	found, err := l.Renewed(c.Tx(), p.id, p.until)
	if err != nil {
		return nil, asLease(err)
	}
	a := warn(answered(nil), p.warnings...)
	b := a.Body.(*reply)
	b.leaseID, b.lease, b.renewable = found.ID, secs(found.Expires.Sub(l.Now())), found.Renewable
	return a, nil
}

// revoke ends a lease. What it was for is ended when that is durable: before the
// answer, 204, for those who wait for it; and if it fails it is tried again: 202.
func (l leaseArea) revoke(c *call, at []string) (*answer, error) {
	in, _, err := body[leaseBody](c)
	if err != nil {
		return nil, err
	}
	id, err := leaseID(in, at)
	if err != nil {
		return nil, err
	}
	there, err := l.End(c.Tx(), id)
	if err != nil {
		return nil, err
	}
	waits := bool(in.Sync) || !sent(c, "sync")
	a := revoked(waits)
	if there && waits {
		ctx := c.Context()
		a.After = func() {
			if gone, err := lease.Try(ctx, l.Leases, l.db, id); err != nil || !gone {
				a.Status = http.StatusAccepted
			}
		}
	}
	return a, nil
}

// revokeBelow ends all leases below a prefix, in the background.
func (l leaseArea) revokeBelow(c *call, at []string) (*answer, error) {
	in, _, err := body[leaseBody](c)
	if err != nil {
		return nil, err
	}
	n, err := l.EndBelow(c.Tx(), strings.TrimLeft(at[0], "/"))
	if err != nil {
		return nil, err
	}
	a := revoked(bool(in.Sync))
	if n > 0 && bool(in.Sync) {
		ctx := c.Context()
		a.After = func() {
			if _, err := lease.Work(ctx, l.Leases, l.db); err != nil {
				a.Status = http.StatusAccepted
			}
		}
	}
	a.Facts = &audit.Data{Count: int64(n)}
	return a, nil
}

// drop forgets all leases below a prefix: what they were for may live on.
func (l leaseArea) drop(c *call, at []string) (*answer, error) {
	if _, _, err := body[leaseBody](c); err != nil {
		return nil, err
	}
	n, err := l.Drop(c.Tx(), strings.TrimLeft(at[0], "/"))
	if err != nil {
		return nil, err
	}
	a := done()
	a.Facts = &audit.Data{Count: int64(n)}
	return a, nil
}

// revoked is 202 to those who do not wait for the end of it, 204 to others.
func revoked(waits bool) *answer {
	a := done()
	if !waits {
		a.Status = http.StatusAccepted
	}
	return a
}

func (l leaseArea) count(c *call, _ []string) (*answer, error) {
	counts := map[string]int{}
	all, err := l.stuckOnes(c.Tx())
	for _, found := range all {
		mount, _, _ := strings.Cut(found.LeaseID, "/")
		counts[mount+"/"]++
	}
	return answered(map[string]any{"counts": counts, "lease_count": len(all)}), err
}

// stuck lists the leases that could not be ended, and why.
func (l leaseArea) stuck(c *call, _ []string) (*answer, error) {
	all, err := l.stuckOnes(c.Tx())
	return answered(map[string]any{"lease_count": len(all), "leases": all}), err
}

type stuckLease struct {
	LeaseID string `json:"lease_id"`
	Error   string `json:"error"`
}

func (l leaseArea) stuckOnes(tx Tx) ([]stuckLease, error) {
	ids, err := tx.LeasesStuck("", maxListed)
	if err != nil {
		return nil, err
	}
	all := make([]stuckLease, 0, len(ids))
	for _, id := range ids {
		problem := "its record is not what was written"
		switch found, err := l.Get(tx, id); vault.KindOf(err) {
		case vault.KindTampered, vault.KindMalformed:
		default:
			if err != nil {
				return nil, err
			}
			problem = found.Problem
		}
		all = append(all, stuckLease{id, problem})
	}
	return all, nil
}
