package filevault

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"time"

	"envrun/auth/agekey"
	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/record"
	"envrun/vault/seal"
)

// Request is somebody who asks for access. Anybody who can write to the
// repository can have written it: who it is from shows in the check code, which
// both sides compare over another channel.
type Request struct {
	File      string
	Member    string
	Recipient string
	Plugin    string // that is needed to wrap a key for the recipient; "" for none
	Reason    string
	At        time.Time
	Code      string // "4F2K-9XQM-7T1D"
	Err       error  // it cannot be read
}

// requestName is the file of a request.
func requestName(env vault.Env, member string) string {
	return requestsDir + "/" + string(env) + "/" + member + requestSuffix
}

// requests lists who asks for access to an environment, sorted by member.
func (v *view) requests(env vault.Env) []Request {
	dir := requestsDir + "/" + string(env)
	list, err := v.entries(dir)
	if err != nil {
		return []Request{{File: v.d.file(dir), Err: err}}
	}
	var requests []Request
	for _, e := range list {
		member, ok := strings.CutSuffix(e.Name(), requestSuffix)
		if !ok || record.CheckMember(member) != nil {
			continue
		}
		requests = append(requests, v.request(env, member))
	}
	sort.Slice(requests, func(i, j int) bool { return requests[i].Member < requests[j].Member })
	return requests
}

func (v *view) request(env vault.Env, member string) Request {
	name := requestName(env, member)
	r := Request{File: v.d.file(name), Member: member}
	raw, err := v.read(name, record.MaxRequestSize)
	if err == nil {
		var q *record.Request
		if q, err = record.ParseRequest(raw); err == nil {
			if q.Env != env || q.Member != member {
				err = &vault.Error{Kind: vault.KindMalformed, Detail: "is a request of " + q.Member + " for " + string(q.Env) + ", put in this place"}
			}
			r.Recipient, r.Reason, r.At, r.Code = q.Recipient, q.Reason, q.At, seal.CheckCode(q.MACInput())
			r.Plugin = pluginOf(q.Recipient)
		}
	}
	r.Err = inFile(err, r.File)
	return r
}

// Requests lists who asks for access to env, sorted by member. It needs no key.
func (v *Vault) Requests(ctx context.Context, env vault.Env) ([]Request, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	view, err := v.store.d.view()
	if err != nil {
		return nil, err
	}
	defer view.Close()
	if err := view.needEnv(env); err != nil {
		return nil, err
	}
	return view.requests(env), nil
}

// RequestAuthor is who git says brought a request into the repository, and
// when: a name that anybody can claim. It is empty if no commit has it yet.
func (v *Vault) RequestAuthor(ctx context.Context, env vault.Env, member string) (string, error) {
	h := v.store.history
	r, err := h.repo(ctx)
	if err != nil {
		return "", err
	}
	out, err := h.output(ctx, 4<<10, "", "log", "-1", "--no-show-signature", "--no-mailmap", "--format=%an <%ae>, %as", "HEAD", "--", ":(top,literal)"+r.prefix+requestName(env, member))
	if err := h.noCommits(err); err != nil {
		return "", h.unsupported(err)
	}
	return printable(strings.TrimSpace(string(out))), nil
}

// Ask says who asks for access.
type Ask struct {
	Member    string // "bob@desktop"
	Recipient string // their public key, in age's text form
	Reason    string // one line for people; may be empty
}

// Request writes a request for access to env, for the repository to carry to
// somebody who has it. It needs no key. The same request again is left as it
// is, with its check code. KindExists if the member has a grant of the present
// key for this recipient already.
func (v *Vault) Request(ctx context.Context, env vault.Env, a Ask) (Request, error) {
	if err := record.CheckMember(a.Member); err != nil {
		return Request{}, err
	}
	if _, err := v.recipient(a.Recipient, false); err != nil && pluginOf(a.Recipient) == "" {
		return Request{}, &vault.Error{Kind: vault.KindInvalid, Op: "asking for access", Detail: "the recipient of " + a.Member, Err: err}
	}
	q := record.Request{Vault: v.id, Env: env, Member: a.Member, Recipient: a.Recipient, Reason: a.Reason, At: v.options.Now().UTC().Truncate(time.Second)}
	if err := q.Check(); err != nil {
		return Request{}, err
	}
	view, err := v.store.d.view()
	if err != nil {
		return Request{}, err
	}
	defer view.Close()
	gens, err := view.generations(env)
	if err != nil {
		return Request{}, err
	}
	if n := len(gens); n > 0 {
		name := engine.GrantBlob(gens[n-1], a.Member)
		if g, err := v.keys.readGrant(env, gens[n-1], name, view); err == nil && g.Recipient == a.Recipient {
			return Request{}, &vault.Error{Kind: vault.KindExists, Op: "asking for access", Env: env, File: view.file(env, name), Detail: a.Member + " has a grant already"}
		}
	}
	if was := view.request(env, a.Member); was.Err == nil && was.Recipient == a.Recipient && was.Reason == a.Reason {
		return was, nil
	}
	err = v.store.Batch(ctx, env, func(etx engine.Tx) error {
		t := etx.(*tx)
		if err := t.need(); err != nil {
			return err
		}
		t.changes[requestName(env, a.Member)] = q.Marshal()
		return nil
	})
	if err != nil {
		return Request{}, err
	}
	return view.request(env, a.Member), nil
}

// Approval says which request is granted, and how.
type Approval struct {
	Member  string
	Code    string    // the check code that the one who asks has read out
	Until   time.Time // when the access is to end; zero for no end
	Replace bool      // the grant of another key that this member has
}

// CodeError is the cause of a KindDenied for a check code that is not that of
// the request: another key stands in it than the one whose owner was asked, or
// somebody changed it since.
type CodeError struct {
	Env    vault.Env
	Member string
}

func (e *CodeError) Error() string {
	return fmt.Sprintf("the check code is not that of the request of %s for %s: the request is not the one that they wrote, or was changed since", e.Member, e.Env)
}

// Approve grants the key of env to who asks for it, moves the checkpoint and
// removes the request, all in one. The code is compared with what is granted
// and removed, whatever stood there when somebody looked. KindNotFound if there
// is no such request; the rest as AddMember.
func (v *Vault) Approve(ctx context.Context, env vault.Env, a Approval) error {
	var asked Request
	look := func(r *view) error {
		asked = r.request(env, a.Member)
		if asked.Err != nil {
			if vault.KindOf(asked.Err) == vault.KindNotFound {
				return &vault.Error{Kind: vault.KindNotFound, Op: "approving", Env: env, Detail: a.Member + " does not ask for access"}
			}
			return asked.Err
		}
		if sameCode(asked.Code, a.Code) {
			return nil
		}
		return &vault.Error{Kind: vault.KindDenied, Op: "approving", Env: env, File: asked.File, Err: &CodeError{env, a.Member}}
	}
	if err := record.CheckMember(a.Member); err != nil {
		return err
	}
	view, err := v.store.d.view()
	if err != nil {
		return err
	}
	defer view.Close()
	if err := view.needEnv(env); err != nil {
		return err
	}
	if err := look(view); err != nil {
		return err
	}
	m := NewMember{Member: a.Member, Recipient: asked.Recipient, Until: a.Until, Replace: a.Replace}
	return v.admit(ctx, env, m, true, func(t *tx) error {
		if err := look(t.h.view); err != nil {
			return err
		}
		t.changes[requestName(env, a.Member)] = nil
		return nil
	})
}

// sameCode compares codes as people write them.
func sameCode(a, b string) bool {
	plain := func(s string) string {
		return strings.NewReplacer("-", "", " ", "", "O", "0", "I", "1", "L", "1").Replace(strings.ToUpper(s))
	}
	return plain(a) == plain(b) && plain(b) != ""
}

// Deny removes a request. KindNotFound if there is none.
func (v *Vault) Deny(ctx context.Context, env vault.Env, member string) error {
	if err := record.CheckMember(member); err != nil {
		return err
	}
	return v.store.Batch(ctx, env, func(etx engine.Tx) error {
		t := etx.(*tx)
		if err := t.need(); err != nil {
			return err
		}
		name := requestName(env, member)
		there, err := t.h.is(name, false)
		if err != nil {
			return err
		}
		if !there {
			return &vault.Error{Kind: vault.KindNotFound, Op: "denying", Env: env, Detail: member + " does not ask for access"}
		}
		t.changes[name] = nil
		return nil
	})
}

// pluginOf is the plugin that a recipient needs to be wrapped for.
func pluginOf(recipient string) string {
	_, err := agekey.ParseRecipient(recipient)
	if re, ok := err.(*agekey.RecipientError); ok {
		return re.Plugin
	}
	return ""
}
