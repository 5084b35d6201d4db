package server

import (
	"net/http"
	"strings"

	"envrun/vault/audit"
	"envrun/vault/guard"
	"envrun/vault/wire"
)

// leases is sys/leases (server-api §1.9). Nothing of this server gives out a lease
// yet: KV has none, and the time of a token is asked of auth/token. So every id is
// one that is not there, and the answers are those that both servers give of such.
type leases struct{}

type leaseBody struct {
	LeaseID    string        `json:"lease_id"`
	URLLeaseID string        `json:"url_lease_id"`
	Increment  wire.Duration `json:"increment"`
	Sync       wire.Bool     `json:"sync"`
}

func (l leases) area() area {
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
		{path: "leases/renew", update: l.renew, note: note},
		{path: "leases/renew/{id...}", update: l.renew, note: note},
		{path: "leases/revoke", update: l.revoke, note: note},
		{path: "leases/revoke/{id...}", update: l.revoke, note: note},
		{path: "leases/revoke-prefix/{prefix...}", update: l.revokeMany, note: note},
		{path: "leases/revoke-force/{prefix...}", update: l.revokeMany, note: note},
		{path: "leases/count", read: l.count},
		{path: "leases", read: l.stuck},
	}
}

func (leases) id(c *call, at []string) (string, leaseBody, error) {
	in, _, err := body[leaseBody](c)
	if err != nil {
		return "", in, err
	}
	id := in.LeaseID
	if len(at) > 0 && at[0] != "" {
		id = at[0]
	}
	if id == "" {
		return "", in, bad("lease_id must be specified")
	}
	return id, in, nil
}

func (l leases) lookup(c *call, _ []string) (*answer, error) {
	if _, _, err := l.id(c, nil); err != nil {
		return nil, err
	}
	return nil, bad("invalid lease")
}

func (l leases) list(*call, []string) (*answer, error) { return nil, errNothing }

func (l leases) renew(c *call, at []string) (*answer, error) {
	if _, _, err := l.id(c, at); err != nil {
		return nil, err
	}
	return nil, bad("lease not found")
}

func (l leases) revoke(c *call, at []string) (*answer, error) {
	_, in, err := l.id(c, at)
	if err != nil {
		return nil, err
	}
	return revoked(bool(in.Sync) || !sent(c, "sync")), nil
}

func (l leases) revokeMany(c *call, _ []string) (*answer, error) {
	in, _, err := body[leaseBody](c)
	if err != nil {
		return nil, err
	}
	return revoked(bool(in.Sync)), nil
}

// revoked is 202 to those who do not wait for the end of it, 204 to others.
func revoked(waits bool) *answer {
	a := done()
	if !waits {
		a.Status = http.StatusAccepted
	}
	return a
}

func (l leases) count(*call, []string) (*answer, error) {
	return answered(map[string]any{"counts": map[string]int{}, "lease_count": 0}), nil
}

func (l leases) stuck(*call, []string) (*answer, error) {
	return answered(map[string]any{"lease_count": 0, "leases": []string{}}), nil
}
