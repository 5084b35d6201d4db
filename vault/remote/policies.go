package remote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"envrun/vault"
	"envrun/vault/parallel"
	"envrun/vault/wire"
)

const policiesPath = "sys/policies/acl"

// A PolicyError is what went wrong with one policy, or with the list of them if
// Name is "". Its cause is a *vault.Error.
type PolicyError struct {
	Name string
	Op   string // the capability that the request takes: "list", "read", "update", "delete"
	Err  error
}

func (e *PolicyError) Error() string {
	if e.Name == "" {
		return "the policies: " + e.Err.Error()
	}
	return "policy " + e.Name + ": " + e.Err.Error()
}

func (e *PolicyError) Unwrap() error { return e.Err }

func (v *Vault) policyError(name, op string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return &PolicyError{name, op, v.place(err, "", "")}
}

// Policies are the names of all policies, sorted.
func (v *Vault) Policies(ctx context.Context) ([]string, error) {
	keys, err := ask[wire.Keys](ctx, v, call{method: http.MethodGet, path: []string{policiesPath}, query: map[string][]string{"list": {"true"}}, repeat: true})
	if err != nil {
		return nil, v.policyError("", "list", err)
	}
	slices.Sort(keys.Keys)
	return keys.Keys, nil
}

// Policy is one policy. KindNotFound if there is none of the name.
func (v *Vault) Policy(ctx context.Context, name string) (wire.Policy, error) {
	if name == "" || name == "." || name == ".." || strings.Contains(name, "/") {
		return wire.Policy{}, v.policyError(name, "read", invalid("%q is no name of a policy", name))
	}
	p, err := ask[wire.Policy](ctx, v, call{method: http.MethodGet, path: []string{policiesPath, url.PathEscape(name)}, repeat: true})
	return p, v.policyError(name, "read", err)
}

// A PolicySet is what a server has of policies, as far as the token may know it.
type PolicySet struct {
	Texts map[string]string // by name
	Names []string          // of all policies, sorted; nil if the token may not list them
	Whole bool              // the server changes several as one
}

// PolicySet reads the policies that are named, and all others that the server has:
// in one request of envrund, and one by one elsewhere. Those that the token may not
// read are left out, but for the named ones: then it is KindDenied.
func (v *Vault) PolicySet(ctx context.Context, named []string) (PolicySet, error) {
	if !v.plain.Load() {
		set, err := ask[wire.PolicySet](ctx, v, call{method: http.MethodGet, path: []string{"sys/policy-set"}, repeat: true, own: true})
		if err == nil {
			out := PolicySet{set.Policies, set.Names, true}
			if out.Texts == nil {
				out.Texts = map[string]string{}
			}
			for _, name := range named {
				// It is not there, or not for this token: asking for it tells which.
				if _, ok := out.Texts[name]; !ok && (set.Names == nil || slices.Contains(set.Names, name)) {
					if err := v.readInto(ctx, out.Texts, name, true); err != nil {
						return out, err
					}
				}
			}
			return out, nil
		}
		if err != errPlain {
			return PolicySet{}, v.policyError("", "list", err)
		}
	}
	out := PolicySet{Texts: map[string]string{}}
	names, err := v.Policies(ctx)
	switch vault.KindOf(err) {
	case vault.KindDenied:
	default:
		if err != nil {
			return out, err
		}
		out.Names = names
	}
	all := slices.Concat(named, names)
	slices.Sort(all)
	all = slices.Compact(all)
	texts := make([]map[string]string, len(all))
	err = parallel.Do(ctx, len(all), atOnce, func(i int) error {
		texts[i] = map[string]string{}
		return v.readInto(ctx, texts[i], all[i], slices.Contains(named, all[i]))
	})
	for _, one := range texts {
		for name, text := range one {
			out.Texts[name] = text
		}
	}
	return out, err
}

// readInto adds a policy to texts if it is there. What the token may not read is an
// error only if it is needed.
func (v *Vault) readInto(ctx context.Context, texts map[string]string, name string, needed bool) error {
	if name == "root" {
		return nil
	}
	p, err := v.Policy(ctx, name)
	switch kind := vault.KindOf(err); {
	case err == nil:
		texts[name] = p.Policy
	case kind == vault.KindNotFound, kind == vault.KindDenied && !needed:
	default:
		return err
	}
	return nil
}

// A PolicyChange is one policy that is to be another, or not to be.
type PolicyChange struct {
	Name   string
	Was    string // the text that it is made against; with New, there is none
	Now    string
	New    bool
	Remove bool
}

// PolicyPartialError says that some policies were changed and others were not, because a
// server that changes them one by one did not go on.
type PolicyPartialError struct {
	Done   []string
	Failed string
	Left   []string // that were not begun
	Err    error
}

func (e *PolicyPartialError) Error() string {
	s := "changed: " + strings.Join(e.Done, ", ") + "; not changed: " + strings.Join(append([]string{e.Failed}, e.Left...), ", ")
	return s + "; because: " + e.Err.Error()
}

func (e *PolicyPartialError) Unwrap() error { return e.Err }

// ChangePolicies makes the changes, each against the text that it names: KindConflict
// if another is there. On envrund all of them happen or none, and whole is true. Elsewhere
// they happen one after the other, in the order given; all are compared first, and if one fails
// after others were made it is a *PolicyPartialError. There a change that somebody else makes at
// the same moment is noticed only by a server that counts versions, as OpenBao does.
func (v *Vault) ChangePolicies(ctx context.Context, changes []PolicyChange) (whole bool, err error) {
	if !v.plain.Load() {
		var body wire.PolicyChanges
		for _, c := range changes {
			ch := wire.PolicyChange{Name: c.Name, Policy: c.Now, Remove: c.Remove}
			if !c.New {
				sum := sha256.Sum256([]byte(c.Was))
				ch.Was = hex.EncodeToString(sum[:])
			}
			body.Changes = append(body.Changes, ch)
		}
		_, err := v.send(ctx, call{method: http.MethodPost, path: []string{"sys/policy-set"}, body: body, own: true})
		e, ok := errors.AsType[*statusError](err)
		switch {
		case err == errPlain, ok && e.status == http.StatusRequestEntityTooLarge:
		case ok && wire.KindOf(e.status, e.texts) == vault.KindConflict:
			quoted, _ := strconv.QuotedPrefix(strings.TrimPrefix(e.texts[0], "policy "))
			name, _ := strconv.Unquote(quoted)
			return true, v.policyError(name, "update", conflict())
		default:
			return true, v.policyError("", "update", err)
		}
	}
	versions := make([]*int64, len(changes))
	err = parallel.Do(ctx, len(changes), atOnce, func(i int) (err error) {
		versions[i], err = v.stands(ctx, changes[i])
		return err
	})
	if err != nil {
		return false, err
	}
	var done []string
	for i, c := range changes {
		if i > 0 && versions[i] == nil { // it may have changed while the others were written
			_, err = v.stands(ctx, c)
		}
		if err == nil {
			err = v.change(ctx, c, versions[i])
		}
		if err != nil {
			if len(done) == 0 {
				return false, err
			}
			part := &PolicyPartialError{Done: done, Failed: c.Name, Err: err}
			for _, left := range changes[i+1:] {
				part.Left = append(part.Left, left.Name)
			}
			return false, part
		}
		done = append(done, c.Name)
	}
	return false, nil
}

// stands makes sure that a policy is what a change is made against, and says
// which version that is; nil if the server does not count.
func (v *Vault) stands(ctx context.Context, c PolicyChange) (*int64, error) {
	p, err := v.Policy(ctx, c.Name)
	there := err == nil
	if err != nil && vault.KindOf(err) != vault.KindNotFound {
		return nil, err
	}
	if there == c.New || there && p.Policy != c.Was {
		return nil, v.policyError(c.Name, "update", conflict())
	}
	if p.Version == 0 {
		return nil, nil
	}
	return &p.Version, nil
}

func conflict() error {
	return &vault.Error{Kind: vault.KindConflict, Detail: "somebody else changed it in between"}
}

func (v *Vault) change(ctx context.Context, c PolicyChange, version *int64) error {
	if c.Remove {
		_, err := v.send(ctx, call{method: http.MethodDelete, path: []string{policiesPath, url.PathEscape(c.Name)}, repeat: true})
		return v.policyError(c.Name, "delete", err)
	}
	body := wire.PolicyWrite{Policy: c.Now}
	if version != nil {
		cas := wire.Int(*version)
		body.CAS = &cas
	}
	_, err := v.send(ctx, call{method: http.MethodPut, path: []string{policiesPath, url.PathEscape(c.Name)}, body: body, repeat: version == nil})
	return v.policyError(c.Name, "update", err)
}

// HeldPolicies are the names of the policies that the token has.
func (v *Vault) HeldPolicies(ctx context.Context) ([]string, error) {
	info, err := ask[wire.TokenInfo](ctx, v, call{method: http.MethodGet, path: []string{"auth/token/lookup-self"}, repeat: true})
	if err != nil {
		return nil, v.place(err, "", "")
	}
	return info.Held(), nil
}

// maxRoles is how many token roles RolesOf looks at.
const maxRoles = 200

// RolesOf are the token roles that name a policy. complete is false if the token may
// not see all of them, or there are too many.
func (v *Vault) RolesOf(ctx context.Context, name string) (roles []string, complete bool, err error) {
	keys, err := ask[wire.Keys](ctx, v, call{method: http.MethodGet, path: []string{"auth/token/roles"}, query: map[string][]string{"list": {"true"}}, repeat: true})
	if bare(err) {
		return nil, true, nil
	}
	if _, ok := errors.AsType[*statusError](err); ok {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, v.place(err, "", "")
	}
	complete = len(keys.Keys) <= maxRoles
	keys.Keys = keys.Keys[:min(len(keys.Keys), maxRoles)]
	named := make([]bool, len(keys.Keys))
	seen := make([]bool, len(keys.Keys))
	err = parallel.Do(ctx, len(keys.Keys), atOnce, func(i int) error {
		role, err := ask[struct {
			Allowed []string `json:"allowed_policies"`
		}](ctx, v, call{method: http.MethodGet, path: []string{"auth/token/roles", url.PathEscape(keys.Keys[i])}, repeat: true})
		if _, ok := errors.AsType[*statusError](err); ok {
			return nil
		}
		seen[i], named[i] = err == nil, slices.Contains(role.Allowed, name)
		return err
	})
	for i, role := range keys.Keys {
		complete = complete && seen[i]
		if named[i] {
			roles = append(roles, role)
		}
	}
	return roles, complete, v.place(err, "", "")
}
