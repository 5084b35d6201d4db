package guard

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"envrun/vault/audit"
	"envrun/vault/policy"
)

// tooMany is the status of requests that a limit refused: the guard knows no HTTP.
const tooMany = 429

// The two entries of a request. Everything that is written of one is put together
// here and nowhere else.

// hashed is who asks as the entries have it.
type hashed struct{ token, accessor audit.Hashed }

func (g *Guard[T]) intent(req *Request, t *turn[T], at time.Time) audit.Entry {
	e := g.entry(req, t, at)
	e.Type = audit.Intent
	if t.refused != nil {
		e.Error = g.Words(t.refused)
	}
	return e
}

func (g *Guard[T]) outcome(req *Request, t *turn[T], a *Answer, failed error) audit.Entry {
	e := g.entry(req, t, g.Now())
	e.Type = audit.Outcome
	if failed != nil {
		e.Error, e.Status = g.Words(failed), g.Status(failed)
		return e
	}
	e.Status = a.Status
	e.Response = &audit.Response{Auth: a.Auth, Data: a.Facts, WrapInfo: a.Wrap}
	return e
}

func (g *Guard[T]) entry(req *Request, t *turn[T], at time.Time) audit.Entry {
	e := audit.Entry{
		Time: at.UTC(),
		Request: audit.Request{
			ID: req.ID, Operation: t.op.String(), Path: req.Path, Data: t.action.facts,
			MountPoint: t.action.mount.Path, MountType: t.action.mount.Type, MountAccessor: t.action.mount.Accessor,
			WrapTTL: int64(req.Wrap / time.Second),
		},
	}
	if req.Addr.IsValid() {
		e.Request.RemoteAddress, e.Request.RemotePort = req.Addr.Addr().Unmap().String(), int(req.Addr.Port())
	}
	if req.Agent != "" {
		e.Request.Headers = &audit.Headers{UserAgent: []string{req.Agent}}
	}
	tok := t.token
	if t.hashed == nil {
		t.hashed = &hashed{token: g.Hasher.Hash(req.Token)}
		if tok != nil {
			t.hashed.accessor = g.Hasher.Hash(tok.Accessor)
		}
	}
	if tok == nil {
		e.Request.ClientToken = t.hashed.token
		return e
	}
	e.Auth = audit.Auth{
		Accessor: t.hashed.accessor, ClientToken: t.hashed.token,
		DisplayName: tok.DisplayName, EntityID: tok.EntityID, Policies: tok.All(), TokenType: "service",
		RemainingUses: tok.Uses,
	}
	if !tok.Expires.IsZero() {
		e.Auth.TokenTTL = int64(tok.TTL / time.Second)
	}
	switch {
	case t.decided:
		e.Auth.PolicyResults = results(t.decision)
	case t.also != nil:
		e.Auth.PolicyResults = results(t.also...)
	}
	return e
}

// results says what granted the request; of several decisions, what granted any.
func results(decisions ...policy.Decision) *audit.PolicyResults {
	r := new(audit.PolicyResults)
	grant := func(name string) {
		g := audit.GrantingPolicy{Name: name, Type: "acl"}
		if !slices.Contains(r.GrantingPolicies, g) {
			r.GrantingPolicies = append(r.GrantingPolicies, g)
		}
	}
	for _, d := range decisions {
		if !d.Allowed {
			continue
		}
		r.Allowed = true
		if d.Reason == policy.ReasonRoot {
			grant(policy.RootName)
		}
		for src := range d.Deciding() {
			grant(src.Policy)
		}
	}
	slices.SortFunc(r.GrantingPolicies, func(a, b audit.GrantingPolicy) int { return strings.Compare(a.Name, b.Name) })
	return r
}

// Limited is requests of one source that a limit refused before anything else was
// known of them. The zero Addr is several sources together.
type Limited struct {
	ID    string
	Addr  netip.Addr
	Token audit.Hashed // of which there were too many; zero if they had none that was good
	Mount string       // that was to be signed in at, "auth/human/"; "" if it was something else
	Count int64
}

// RecordLimited writes one entry for each, an outcome that has no intent.
func (g *Guard[T]) RecordLimited(ctx context.Context, all []Limited) error {
	lines := make([]audit.Line, len(all))
	for i, l := range all {
		e := audit.Entry{Time: g.Now().UTC(), Type: audit.Outcome, Status: tooMany, Error: "refused by a limit",
			Request: audit.Request{ID: l.ID, ClientToken: l.Token, MountPoint: l.Mount, Data: &audit.Data{Count: l.Count}}}
		if l.Addr.IsValid() {
			e.Request.RemoteAddress = l.Addr.Unmap().String()
		}
		lines[i] = e.Line()
	}
	if err := g.recorder.record(ctx, lines...); err != nil {
		return err
	}
	return g.send(context.WithoutCancel(ctx), lines...)
}
