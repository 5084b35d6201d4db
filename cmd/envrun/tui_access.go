package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"envrun/auth/agekey"
	"envrun/cmd/internal/cli"
	"envrun/tui/screen"
	"envrun/vault"
	"envrun/vault/filevault"
)

// gate is who can open what in the file vaults of a project, for the terminal
// interface: the facts of member, access, vault and key, and their verbs.
//
// Nothing that it does asks a person anything on the terminal, which the
// interface has (openers): a key that is new to this machine is refused until
// somebody accepts it on a screen (Trust), and a recipient that takes a plugin is
// left to the command line.
type gate struct {
	t    *tool
	open *openers

	mu     sync.Mutex
	shut   map[vault.Env]bool // as found last: the one who works here cannot open it
	author map[string]string  // who brought a request here, by ID and Rev
}

var _ screen.Gate = (*gate)(nil)

func newGate(t *tool, open *openers) *gate {
	return &gate{t: t, open: open, shut: map[vault.Env]bool{}, author: map[string]string{}}
}

// toSign is the vault of an environment for a change that names who made it.
// Whoever cannot open it is refused before anything else.
func (g *gate) toSign(ctx context.Context, env vault.Env) (*filevault.Vault, error) {
	v, err := g.open.file(ctx, env)
	if err != nil {
		return nil, err
	}
	_, err = v.Mine(ctx, env)
	return v, err
}

// status is that of an environment.
func (g *gate) status(ctx context.Context, env vault.Env) (*filevault.Vault, filevault.Status, filevault.EnvStatus, error) {
	v, err := g.open.file(ctx, env)
	if err != nil {
		return nil, filevault.Status{}, filevault.EnvStatus{}, err
	}
	s, err := v.Status(ctx, env)
	if err != nil {
		return nil, s, filevault.EnvStatus{}, err
	}
	e, ok := statusIn(s, env)
	if !ok {
		return nil, s, e, &vault.Error{Kind: vault.KindNoEnv, Env: env, File: s.Dir}
	}
	return v, s, e, nil
}

func statusIn(s filevault.Status, env vault.Env) (filevault.EnvStatus, bool) {
	i := slices.IndexFunc(s.Envs, func(e filevault.EnvStatus) bool { return e.Env == env })
	if i < 0 {
		return filevault.EnvStatus{}, false
	}
	return s.Envs[i], true
}

// self is who would ask: a member's name and their public key. Either may be
// empty.
func (g *gate) self(ctx context.Context) (filevault.Ask, error) { return g.t.ask(ctx) }

// found notes whether an environment could be opened.
func (g *gate) found(env vault.Env, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut[env] = err != nil
}

// keyOf is what is said of the key of an environment.
func keyFactsOf(e filevault.EnvStatus) screen.Key {
	return screen.Key{Gen: e.Gen, Fingerprint: e.Fingerprint, By: e.By, Why: e.Why, At: e.At}
}

// kindOf is what is said of a public key.
func kindOf(m filevault.Member) screen.KeyKind {
	return screen.KeyKind{Name: kindOfKey(m), PostQuantum: m.PostQuantum, Plugin: m.Plugin, Recipient: cmp.Or(m.Recipient, m.Sealer)}
}

func kindOfRecipient(recipient, plugin string) screen.KeyKind {
	return kindOf(filevault.Member{Recipient: recipient, Plugin: plugin, PostQuantum: agekey.PostQuantum(recipient)})
}

// Session implements screen.Access.
func (g *gate) Session(ctx context.Context) (screen.Session, error) {
	s := g.identity(ctx)
	if dir, err := g.t.stateDir(); err == nil {
		s.State = dir
	}
	if me, err := g.t.me(); err == nil && me.ci != nil {
		s.State = "" // a CI key says itself which key is right
	}
	for _, env := range g.open.project.Envs {
		if env.Remote() {
			continue // its server says who is signed in there
		}
		is, err := g.Standing(ctx, env.Name)
		if err != nil {
			if ctx.Err() != nil {
				return s, err
			}
			is = screen.Standing{Env: env.Name, Shut: screen.Broken, Err: err}
		}
		e := screen.SessionEnv{Standing: is}
		if v, err := g.open.file(ctx, env.Name); err == nil {
			x, err := v.KeyStatus(ctx, env.Name)
			if err != nil && vault.KindOf(err) != vault.KindNoEnv {
				return s, err
			}
			if err == nil {
				e.Key, e.Pinned = keyFactsOf(x), x.Pinned
				for _, m := range x.Members {
					if m.Member == x.Mine {
						e.Until = m.Until
					}
				}
			}
		}
		s.Envs = append(s.Envs, e)
	}
	return s, nil
}

// identity is what is known of the identity, in the words of key show.
func (g *gate) identity(ctx context.Context) screen.Session {
	if g.t.Getenv("ENVRUN_KEY") != "" {
		s := screen.Session{Kept: "the variable ENVRUN_KEY", Guarded: true}
		me, err := g.t.me()
		if err != nil {
			return screen.Session{Problem: err}
		}
		id, err := me.identity(ctx)
		if err != nil {
			return screen.Session{Problem: err}
		}
		s.Member, s.Key = me.member, kindOfRecipient(id.Recipient(), "")
		return s
	}
	home, err := g.t.home()
	if err != nil {
		return screen.Session{Problem: err}
	}
	f, err := home.Facts()
	if err != nil {
		return screen.Session{Problem: err}
	}
	s := screen.Session{Member: f.Member, Key: kindOfRecipient(f.Recipient, ""), Kept: f.Store, Guarded: true, Made: f.Created}
	if f.Store == agekey.StoreFile {
		s.Kept, s.Guarded = home.File(), f.Protected
		if f.Protected {
			s.Kept += ", with a passphrase"
		}
	}
	return s
}

// Standing implements screen.Access.
func (g *gate) Standing(ctx context.Context, env vault.Env) (screen.Standing, error) {
	if e, ok := g.open.project.Env(env); ok && e.Remote() {
		return g.onServer(ctx, env)
	}
	v, err := g.open.file(ctx, env)
	if err != nil {
		return screen.Standing{}, err
	}
	s := screen.Standing{Env: env}
	if s.Member, err = v.Mine(ctx, env); err == nil {
		g.found(env, nil)
		s.Until = g.until(ctx, v, env, s.Member)
		s.Asked = g.own(ctx, v, env)
		return s, nil
	}
	switch vault.KindOf(err) {
	case vault.KindNoEnv, vault.KindNoVault, vault.KindUnavailable, vault.KindVersion:
		return s, err
	}
	if ctx.Err() != nil {
		return s, err
	}
	g.found(env, err)
	s.Err, s.Claimed = err, true
	_, _, e, statusErr := g.status(ctx, env)
	if statusErr != nil {
		return s, statusErr
	}
	self, _ := g.self(ctx)
	s.Member, s.Key, s.Names = self.Member, keyFactsOf(e), e.Secrets
	explainShut(&s, err)
	for _, m := range e.Members {
		switch {
		case m.Err != nil || m.Pipeline || !m.Until.IsZero() && !m.Until.After(g.t.now()):
		case m.Pending && m.Recipient == self.Recipient && self.Recipient != "":
			if s.Shut == screen.NoKey {
				s.Shut = screen.NoGrant
			}
		case m.Pending:
		case m.Recipient != self.Recipient:
			s.Deciders = append(s.Deciders, m.Member)
		}
	}
	if len(s.Deciders) > 1 {
		// It lies in a drawer: nobody is asked through it while there is somebody.
		s.Deciders = slices.DeleteFunc(s.Deciders, func(name string) bool { return name == filevault.RecoveryMember })
	}
	s.Asked = g.own(ctx, v, env)
	return s, nil
}

// onServer is how one stands with an environment on a server: it is there for
// the token, or it is not.
func (g *gate) onServer(ctx context.Context, env vault.Env) (screen.Standing, error) {
	v, err := g.open.store(ctx, env)
	if err != nil {
		return screen.Standing{}, err
	}
	envs, err := v.Envs(ctx)
	if err == nil && !slices.Contains(envs, env) {
		err = &vault.Error{Kind: vault.KindNoEnv, Env: env, Detail: "is not on its server, or not for this token"}
	}
	return screen.Standing{Env: env}, err
}

// explainShut says what kept an environment from being opened. The fingerprint
// that a person compares is that of the key itself, and not what a file says of it.
func explainShut(s *screen.Standing, err error) {
	var untrusted *filevault.UntrustedError
	var replaced *filevault.ReplacedError
	var ended *filevault.EndedError
	switch {
	case errors.As(err, &untrusted):
		s.Shut, s.Key.Fingerprint, s.Known = screen.NewKey, untrusted.Fingerprint, untrusted.KnownFingerprint
		if untrusted.Known > 0 {
			s.Shut = screen.OtherKey
		}
	case errors.As(err, &replaced):
		s.Shut, s.Key.Fingerprint = screen.OtherKey, replaced.Fingerprint
	case errors.As(err, &ended):
		s.Shut, s.Until = screen.Ended, ended.Until
	case vault.KindOf(err) == vault.KindNoIdentity:
		s.Shut = screen.NoIdentity
	case vault.KindOf(err) == vault.KindDenied:
		s.Shut = screen.NoKey
	default:
		s.Shut = screen.Broken
	}
}

// until is when the access of a member ends; zero if it does not.
func (g *gate) until(ctx context.Context, v *filevault.Vault, env vault.Env, member string) time.Time {
	grants, err := v.Grants(ctx, env)
	if err != nil {
		return time.Time{}
	}
	for _, grant := range grants {
		if grant.Member == member {
			t, _ := time.Parse(time.RFC3339, grant.Header("until"))
			return t
		}
	}
	return time.Time{}
}

// mine reports whether a request is from the one who works here.
func mine(r filevault.Request, self filevault.Ask) bool {
	return r.Err == nil && self.Recipient != "" && r.Recipient == self.Recipient && r.Member == self.Member
}

// own is the request of the one who works here; nil if there is none.
func (g *gate) own(ctx context.Context, v *filevault.Vault, env vault.Env) *screen.Request {
	self, err := g.self(ctx)
	if err != nil {
		return nil
	}
	all, err := v.Requests(ctx, env)
	if err != nil {
		return nil
	}
	for _, r := range all {
		if mine(r, self) {
			q := g.request(env, r, self)
			return &q
		}
	}
	return nil
}

// request is a request as its file has it. The check code is that of one's own
// only.
func (g *gate) request(env vault.Env, r filevault.Request, self filevault.Ask) screen.Request {
	q := screen.Request{ID: string(env) + "/" + r.Member, Rev: rev(r), Env: env, Who: r.Member, Claimed: true, Coded: true, File: g.t.here(r.File)}
	if r.Err != nil {
		q.Problem = r.Err.Error()
		return q
	}
	q.At, q.Reason, q.Key = r.At, r.Reason, kindOfRecipient(r.Recipient, r.Plugin)
	if mine(r, self) {
		send := g.t.sending(env, r)
		q.Mine, q.Off, q.Code = true, "it is your own", r.Code
		q.Steps = []screen.Step{
			{Text: "to send it", Command: send.branch}, {Text: "then", Command: send.commit},
			{Text: "then, and open a pull request", Command: send.push}, {Text: "they type", Command: send.approve},
		}
	}
	return q
}

// rev is what a request says, so that it can be told from what it said.
func rev(r filevault.Request) string {
	if r.Err != nil {
		return r.Err.Error()
	}
	return fmt.Sprintf("%q %q %d", r.Recipient, r.Reason, r.At.Unix())
}

// each calls f with every request of the project.
func (g *gate) each(ctx context.Context, f func(v *filevault.Vault, env vault.Env, r filevault.Request) error) error {
	for _, env := range g.open.project.Envs {
		if env.Remote() {
			continue // a server keeps requests of its own
		}
		v, err := g.open.file(ctx, env.Name)
		if err != nil {
			return err
		}
		all, err := v.Requests(ctx, env.Name)
		if vault.KindOf(err) == vault.KindNoEnv {
			continue
		}
		if err != nil {
			return err
		}
		for _, r := range all {
			if err := f(v, env.Name, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// Asking implements screen.Access.
func (g *gate) Asking(ctx context.Context) ([]screen.Request, error) {
	var all []screen.Request
	self, _ := g.self(ctx)
	err := g.each(ctx, func(_ *filevault.Vault, env vault.Env, r filevault.Request) error {
		g.mu.Lock()
		defer g.mu.Unlock()
		all = append(all, screen.Request{ID: string(env) + "/" + r.Member, Env: env, Who: r.Member, Mine: mine(r, self), Others: g.shut[env]})
		return nil
	})
	return all, err
}

// Requests implements screen.Access.
func (g *gate) Requests(ctx context.Context) ([]screen.Request, error) {
	var all []screen.Request
	self, _ := g.self(ctx)
	stats := map[vault.Env]filevault.EnvStatus{}
	err := g.each(ctx, func(v *filevault.Vault, env vault.Env, r filevault.Request) error {
		q := g.request(env, r, self)
		e, ok := stats[env]
		if !ok {
			var err error
			if e, err = v.KeyStatus(ctx, env); err != nil {
				return err
			}
			stats[env] = e
		}
		q.Replaces = slices.ContainsFunc(e.Members, func(m filevault.Member) bool {
			return m.Err == nil && m.Member == r.Member && m.Recipient != r.Recipient
		})
		g.found(env, e.Err)
		switch {
		case q.Mine:
		case e.Err != nil:
			q.Others, q.Off = true, "you hold no key of "+string(env)
		case r.Plugin != "":
			q.Off = fmt.Sprintf("it takes age-plugin-%s: %s --plugin %s", r.Plugin, g.t.sending(env, r).approve, r.Plugin)
		}
		q.Author = g.broughtBy(ctx, v, q)
		all = append(all, q)
		return nil
	})
	sort.SliceStable(all, func(i, j int) bool { return all[i].At.Before(all[j].At) })
	return all, err
}

// broughtBy is who brought a request here, as git has it. Without git, and as
// long as it is not committed, nobody is named.
func (g *gate) broughtBy(ctx context.Context, v *filevault.Vault, q screen.Request) string {
	key := q.ID + " " + q.Rev
	g.mu.Lock()
	author, ok := g.author[key]
	g.mu.Unlock()
	if ok {
		return author
	}
	author, _ = v.RequestAuthor(ctx, q.Env, q.Who)
	if author != "" {
		g.mu.Lock()
		g.author[key] = author
		g.mu.Unlock()
	}
	return author
}

// Members implements screen.Access.
func (g *gate) Members(ctx context.Context, env vault.Env) (screen.Members, error) {
	v, err := g.open.file(ctx, env)
	if err != nil {
		return screen.Members{}, err
	}
	e, err := v.KeyStatus(ctx, env)
	if err != nil {
		return screen.Members{}, err
	}
	g.found(env, e.Err)
	m := screen.Members{Key: keyFactsOf(e), Closed: e.Err}
	for _, x := range e.Members {
		one := screen.Member{Name: x.Member, You: x.Member == e.Mine && e.Mine != "", Key: kindOf(x), By: x.By, Since: x.Since, Until: x.Until, Pipeline: x.Pipeline, Pending: x.Pending}
		if x.Err != nil {
			one.Problem = x.Err.Error()
		}
		m.List = append(m.List, one)
	}
	sort.Slice(m.List, func(i, j int) bool { return m.List[i].Name < m.List[j].Name })
	return m, nil
}

// inPart says what is missing of a rotation that came in part; nothing if none did.
func inPart(e filevault.EnvStatus) string {
	if e.SealGen == 0 || e.SealGen >= e.Gen {
		return ""
	}
	return fmt.Sprintf("%s still at key %d of %d", cli.Count(len(e.OldKey), "record"), e.SealGen, e.Gen)
}

// exposedOf is each field that one or more former members could read, once.
func exposedOf(all []filevault.Exposure) []screen.Exposed {
	var out []screen.Exposed
	at := map[string]int{}
	for _, x := range all {
		for _, open := range x.Open {
			for _, field := range open.Fields {
				key := string(open.Path) + "/" + string(field)
				i, ok := at[key]
				if !ok {
					i = len(out)
					at[key] = i
					out = append(out, screen.Exposed{Path: open.Path, Field: field})
				}
				e := &out[i]
				if !slices.Contains(e.Who, x.Member) {
					e.Who = append(e.Who, x.Member)
				}
				if x.At.After(e.At) {
					e.At = x.At
				}
			}
		}
	}
	sort.Slice(out, func(i, j int) bool {
		return cmp.Or(cmp.Compare(out[i].Path, out[j].Path), cmp.Compare(out[i].Field, out[j].Field)) < 0
	})
	for i := range out {
		slices.Sort(out[i].Who)
	}
	return out
}

// Exposed implements screen.Access.
func (g *gate) Exposed(ctx context.Context, env vault.Env) ([]screen.Exposed, error) {
	_, _, e, err := g.status(ctx, env)
	return exposedOf(e.Exposures), err
}

// Care implements screen.Access.
func (g *gate) Care(ctx context.Context, env vault.Env) (screen.Care, error) {
	_, s, e, err := g.status(ctx, env)
	if err != nil {
		return screen.Care{}, err
	}
	c := screen.Care{
		Vault: s.Vault, Dir: s.Dir, Journal: journalText(s.Journal), Strays: s.Strays,
		Key: keyFactsOf(e), Pinned: e.Pinned, Closed: e.Err, Members: len(e.Members),
		Secrets: e.Secrets, Deleted: e.Deleted, Damaged: e.Damaged, OldKey: e.OldKey, InPart: inPart(e),
		SealSeq: e.SealSeq, SealBy: e.SealBy, SealAt: e.SealAt, Unsealed: e.Unsealed, Exposed: len(exposedOf(e.Exposures)),
	}
	for _, m := range e.Members {
		if !m.PostQuantum {
			c.Classic++
		}
	}
	self, _ := g.self(ctx)
	for _, r := range e.Requests {
		if !mine(r, self) {
			c.Asking = append(c.Asking, r.Member)
		}
	}
	return c, nil
}

// Until implements screen.Typed.
func (g *gate) Until(text string) (time.Time, error) {
	now := g.t.now()
	t, ok := parseUntil(strings.TrimSpace(text), now)
	switch {
	case !ok:
		return t, errors.New("a day (2026-12-31), a time (2026-12-31T18:00) or a duration (8h, 7d)")
	case !t.IsZero() && !t.After(now):
		return t, errors.New("that is over already")
	}
	return t, nil
}

// Recipient implements screen.Typed.
func (g *gate) Recipient(text string) (screen.KeyKind, error) {
	s := ""
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			s = line
			break
		}
	}
	s = agekey.CanonicalRecipient(s)
	_, err := agekey.ParseRecipient(s)
	var re *agekey.RecipientError
	if errors.As(err, &re) && re.Plugin != "" {
		return screen.KeyKind{}, fmt.Errorf("it takes age-plugin-%s, a program that gets the key: envrun member add --plugin %s", re.Plugin, re.Plugin)
	}
	return kindOfRecipient(s, ""), err
}

// Granting implements screen.Gate.
func (g *gate) Granting(env vault.Env) screen.Granting { return granting{g, env} }

// granting is the gate to one environment.
type granting struct {
	g   *gate
	env vault.Env
}

// share is how a change gets to the others.
func (w granting) share(v *filevault.Vault, message string) []screen.Step {
	return []screen.Step{{Text: "to share it", Command: w.g.t.commitCommand(v, message)}}
}

// Ask implements screen.Granting.
func (w granting) Ask(ctx context.Context, reason, _ string) (screen.Request, error) {
	v, err := w.g.open.file(ctx, w.env)
	if err != nil {
		return screen.Request{}, err
	}
	ask, err := w.g.self(ctx)
	if err != nil {
		return screen.Request{}, err
	}
	ask.Reason = reason
	r, err := v.Request(ctx, w.env, ask)
	if err != nil {
		return screen.Request{}, err
	}
	return w.g.request(w.env, r, ask), nil
}

// find is the request that was shown, if it still says the same.
func (w granting) find(ctx context.Context, v *filevault.Vault, id, was string) (filevault.Request, error) {
	all, err := v.Requests(ctx, w.env)
	if err != nil {
		return filevault.Request{}, err
	}
	for _, r := range all {
		if string(w.env)+"/"+r.Member != id {
			continue
		}
		if rev(r) != was {
			return r, &vault.Error{Kind: vault.KindConflict, Op: "deciding", Env: w.env, File: r.File, Detail: "the request of " + r.Member + " is not the one that was shown"}
		}
		return r, nil
	}
	return filevault.Request{}, &vault.Error{Kind: vault.KindNotFound, Op: "deciding", Env: w.env, Detail: "the request is not there any more"}
}

// letIn is the outcome for somebody who was let in.
func (w granting) letIn(ctx context.Context, v *filevault.Vault, member string, until time.Time) screen.Outcome {
	out := screen.Outcome{Member: member, Until: until, Steps: w.share(v, letInMessage(w.env, member))}
	if print, err := v.Fingerprint(ctx, w.env); err == nil {
		out.Key.Fingerprint = print
	}
	return out
}

// Approve implements screen.Granting.
func (w granting) Approve(ctx context.Context, a screen.Approval) (screen.Outcome, error) {
	v, err := w.g.toSign(ctx, w.env)
	if err != nil {
		return screen.Outcome{}, err
	}
	r, err := w.find(ctx, v, a.ID, a.Rev)
	if err != nil {
		return screen.Outcome{}, err
	}
	err = v.Approve(ctx, w.env, filevault.Approval{Member: r.Member, Code: a.Code, Until: a.Until, Replace: a.Replace})
	if err != nil {
		return screen.Outcome{}, otherKey(err)
	}
	return w.letIn(ctx, v, r.Member, a.Until), nil
}

// otherKey marks the error of a member who has another key.
func otherKey(err error) error {
	var has *filevault.HasGrantError
	if errors.As(err, &has) && !has.Same {
		return &otherKeyError{err}
	}
	return err
}

type otherKeyError struct{ error }

func (e *otherKeyError) Unwrap() []error { return []error{e.error, screen.ErrOtherKey} }

// Deny implements screen.Granting.
func (w granting) Deny(ctx context.Context, id, was, reason string) (screen.Outcome, error) {
	if reason != "" {
		return screen.Outcome{}, &vault.Error{Kind: vault.KindInvalid, Op: "denying", Env: w.env, Detail: "a vault of files has no place for a reason"}
	}
	v, err := w.g.open.file(ctx, w.env)
	if err != nil {
		return screen.Outcome{}, err
	}
	r, err := w.find(ctx, v, id, was)
	if err != nil {
		return screen.Outcome{}, err
	}
	if err := v.Deny(ctx, w.env, r.Member); err != nil {
		return screen.Outcome{}, err
	}
	return screen.Outcome{Steps: w.share(v, denyMessage(w.env, r.Member))}, nil
}

// Add implements screen.Granting.
func (w granting) Add(ctx context.Context, m screen.NewMember) (screen.Outcome, error) {
	v, err := w.g.toSign(ctx, w.env)
	if err != nil {
		return screen.Outcome{}, err
	}
	err = v.AddMember(ctx, w.env, filevault.NewMember{Member: m.Name, Recipient: m.Recipient, Until: m.Until, Replace: m.Replace})
	if err != nil {
		return screen.Outcome{}, otherKey(err)
	}
	return w.letIn(ctx, v, m.Name, m.Until), nil
}

// rotated is the outcome of a new key.
func (w granting) rotated(v *filevault.Vault, r filevault.Rotation) screen.Outcome {
	out := screen.Outcome{
		Rotated: true, Key: screen.Key{Gen: r.Gen, Fingerprint: r.Fingerprint}, Holders: r.Members, Removed: r.Removed, Secrets: r.Secrets,
		Exposed: exposedOf(r.Exposed), Steps: w.share(v, rotatedMessage(r.Env, r.Removed)),
	}
	for _, p := range r.Pending {
		out.Pending = append(out.Pending, screen.Member{Name: p.Member, Key: kindOfRecipient(p.Recipient, p.Plugin), Since: p.Since, Until: p.Until, Pending: true})
		out.Steps = append(out.Steps, screen.Step{Text: "somebody who has age-plugin-" + p.Plugin + " types", Command: addPendingCommand(r.Env, p.Member, p.Plugin)})
	}
	for _, p := range r.Pipelines {
		out.Steps = append(out.Steps, screen.Step{Text: "the CI key of " + p + " names the former key; it goes on working, and says so. A new one", Command: newCIKeyCommand(r.Env, p)})
	}
	return out
}

// Remove implements screen.Granting.
func (w granting) Remove(ctx context.Context, members []string, step func(done, total int)) (screen.Outcome, error) {
	v, err := w.g.toSign(ctx, w.env)
	if err != nil {
		return screen.Outcome{}, err
	}
	r, err := v.RemoveMembers(ctx, w.env, members, filevault.RotateOptions{Why: "removed " + strings.Join(members, ", "), Progress: step})
	if err != nil {
		return screen.Outcome{}, err
	}
	return w.rotated(v, r), nil
}

// Rotate implements screen.Granting.
func (w granting) Rotate(ctx context.Context, step func(done, total int)) (screen.Outcome, error) {
	v, err := w.g.toSign(ctx, w.env)
	if err != nil {
		return screen.Outcome{}, err
	}
	st, err := v.Status(ctx, w.env)
	if err != nil {
		return screen.Outcome{}, err
	}
	o := filevault.RotateOptions{Progress: step}
	if e, ok := statusIn(st, w.env); !ok || inPart(e) == "" {
		r, err := v.RotateKey(ctx, w.env, o)
		if err != nil {
			return screen.Outcome{}, err
		}
		return w.rotated(v, r), nil
	}
	done, err := v.ResumeRotation(ctx, w.env, o)
	if err != nil {
		return screen.Outcome{}, err
	}
	out := screen.Outcome{Secrets: len(done.Wrapped), Left: done.Left, Steps: w.share(v, string(w.env)+": finish the new key")}
	if len(done.Left) > 0 {
		out.Steps = append(out.Steps, screen.Step{Text: "to look at what is left under a former key and take it over", Command: "envrun vault adopt -e " + string(w.env)})
	}
	return out, nil
}

// Sweep implements screen.Granting.
func (w granting) Sweep(ctx context.Context, members []string, step func(done, total int)) (screen.Outcome, error) {
	v, err := w.g.toSign(ctx, w.env)
	if err != nil {
		return screen.Outcome{}, err
	}
	ended, err := v.Ended(ctx, w.env)
	if err != nil {
		return screen.Outcome{}, err
	}
	for _, m := range members {
		if !slices.Contains(ended, m) {
			return screen.Outcome{}, &vault.Error{Kind: vault.KindConflict, Op: "sweeping", Env: w.env, Detail: "the time of " + m + " is not over"}
		}
	}
	r, err := v.RemoveMembers(ctx, w.env, members, filevault.RotateOptions{Why: "the access of " + strings.Join(members, ", ") + " ended", Progress: step})
	if err != nil {
		return screen.Outcome{}, err
	}
	return w.rotated(v, r), nil
}

// Seal implements screen.Granting.
func (w granting) Seal(ctx context.Context) (screen.Outcome, error) {
	v, err := w.g.toSign(ctx, w.env)
	if err != nil {
		return screen.Outcome{}, err
	}
	if err := v.Seal(ctx, w.env); err != nil {
		return screen.Outcome{}, err
	}
	return screen.Outcome{Steps: w.share(v, string(w.env)+": seal")}, nil
}

// Trust implements screen.Granting.
func (w granting) Trust(ctx context.Context, fingerprint string) error {
	v, err := w.g.open.file(ctx, w.env)
	if err != nil {
		return err
	}
	return v.Trust(ctx, w.env, strings.ToUpper(fingerprint))
}
