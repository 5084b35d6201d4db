package server

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"envrun/vault/audit"
	"envrun/vault/guard"
	"envrun/vault/policy"
	"envrun/vault/wire"
)

// sys/policy-set is ours alone: all policies in one request, and several changed as
// one. Every good token may ask, because each policy is decided on as a request of
// its own for sys/policies/acl/NAME would be.

const policyPath = "sys/policies/acl/"

// noteSet records which policies a request changes, and a hash of what they are
// changed to: that of the lines "SHA-256  NAME", as sha256sum writes them.
func noteSet(req *guard.Request, _ []string) (d audit.Data) {
	var in wire.PolicyChanges
	if req.Op == policy.OpRead || json.Unmarshal(req.Body, &in) != nil {
		return d
	}
	all := sha256.New()
	for _, ch := range in.Changes {
		d.Policies = append(d.Policies, cut(ch.Name, 128))
		d.Paths = append(d.Paths, policyPath+cut(ch.Name, 128))
		sum := hashOf(ch.Policy)
		if ch.Remove {
			sum = ""
		}
		fmt.Fprintf(all, "%s  %s\n", sum, ch.Name)
	}
	d.PolicySHA256 = hex.EncodeToString(all.Sum(nil))
	return d
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func (p policies) readSet(c *call, _ []string) (*answer, error) {
	out := wire.PolicySet{Policies: map[string]string{}}
	names, err := p.names(c.Tx())
	if err != nil {
		return nil, err
	}
	if c.May(policy.OpList, policyPath) {
		out.Names = names
	}
	for _, name := range names {
		if name == policy.RootName || !c.May(policy.OpRead, policyPath+name) {
			continue
		}
		var r policyRecord
		if there, err := p.get(c.Tx(), kindPolicy, name, &r); err != nil {
			return nil, err
		} else if there {
			out.Policies[name] = r.Text
		}
	}
	a := answered(out)
	a.Facts = &audit.Data{Count: int64(len(out.Policies))}
	return a, nil
}

// writeSet changes all or nothing: what it returns an error of is undone.
func (p policies) writeSet(c *call, _ []string) (*answer, error) {
	in, warnings, err := body[wire.PolicyChanges](c)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, ch := range in.Changes {
		paths = append(paths, policyPath+ch.Name)
	}
	switch {
	case len(in.Changes) == 0:
		return nil, bad("no changes provided")
	case len(in.Changes) > wire.MaxPolicyChanges || !audit.PathsFit(paths):
		return nil, problem(http.StatusRequestEntityTooLarge, "too many policies for one request: change fewer")
	}
	seen := map[string]bool{}
	for i, ch := range in.Changes {
		if name, err := policy.Name(ch.Name); err != nil || name != ch.Name || strings.Contains(name, "/") || seen[name] {
			return nil, bad("change %d names no policy, or one that another names too", i+1)
		}
		seen[ch.Name] = true
		op, params := policy.OpUpdate, map[string]any{"policy": ch.Policy}
		if ch.Remove {
			op, params = policy.OpDelete, nil
		}
		switch {
		case !c.MayWith(op, paths[i], params):
			return nil, problem(http.StatusForbidden, listed(paths[i]+": "+wire.Denied))
		case ch.Name == policy.RootName, ch.Name == policy.WrappingName, ch.Name == policy.DefaultName && ch.Remove:
			return nil, bad("cannot change %q policy", ch.Name)
		case ch.Remove && ch.Policy != "", !ch.Remove && ch.Policy == "":
			return nil, bad("change %d has a text and removes, or does neither", i+1)
		}
	}
	for _, ch := range in.Changes {
		var old policyRecord
		there, err := p.get(c.Tx(), kindPolicy, ch.Name, &old)
		if err != nil {
			return nil, err
		}
		if was := hashOf(old.Text); there && was != ch.Was || !there && ch.Was != "" {
			return nil, bad("policy %q: "+wire.CASMismatch, ch.Name)
		}
		if ch.Remove {
			if _, err := p.ring.DeleteSealed(c.Tx(), kindPolicy, ch.Name); err != nil {
				return nil, err
			}
			continue
		}
		if _, err := policy.Parse(ch.Name, ch.Policy); err != nil {
			return nil, badPolicy(err)
		}
		if err := p.keep(c.Tx(), ch.Name, ch.Policy, old); err != nil {
			return nil, err
		}
	}
	return done(warnings...), p.changed(c.Tx())
}
