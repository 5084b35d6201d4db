package filevault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"envrun/auth/agekey"
	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/record"
	"envrun/vault/seal"

	"filippo.io/age"
)

// Headers of a grant beside those of the format, under its MAC.
const (
	sinceHeader = "since" // when they first held a key of the environment, if that was before this grant
	untilHeader = "until" // when their access is to end
	useHeader   = "use"   // useCI: the grant of a pipeline, which has the key in a string
)

const useCI = "ci"

// pendingHeader is a header of a gen file: those who are to hold the key, and
// whose grant could not be made since a plugin was missing where it was rotated.
// Four words for each: member, recipient, since, and until or a dash.
const pendingHeader = "pending"

// Pending is a member whose grant waits for somebody who has the plugin.
type Pending struct {
	Member    string
	Recipient string
	Plugin    string // "yubikey" of age-plugin-yubikey
	Since     time.Time
	Until     time.Time // zero for no end
}

// PluginError is the cause of a KindUnavailable for a recipient that takes a
// plugin which is not to be used: nobody named it, or it is not installed.
type PluginError struct {
	Member  string
	Plugin  string
	Missing bool // it was named, and is not installed
}

func (e *PluginError) Error() string {
	if e.Missing {
		return fmt.Sprintf("wrapping a key for %s takes age-plugin-%s, which is not in PATH", e.Member, e.Plugin)
	}
	return fmt.Sprintf("wrapping a key for %s takes age-plugin-%s, a program that gets the key, and nobody said that it may", e.Member, e.Plugin)
}

// EndedError is the cause of a KindDenied for a grant whose time is over. The
// key in it is still the present one until somebody sweeps: a client that means
// harm would use it.
type EndedError struct {
	Member string
	Until  time.Time
}

func (e *EndedError) Error() string {
	return fmt.Sprintf("the access of %s ended at %s", e.Member, e.Until.Format(time.RFC3339))
}

// recipient reads a recipient. One that needs a plugin is only good if the
// plugin may be used: a program in PATH that some file in the repository names
// is started for nobody.
func (v *Vault) recipient(s string, plugins bool) (age.Recipient, error) {
	to, err := agekey.ParseRecipient(s)
	var re *agekey.RecipientError
	if !plugins || !errors.As(err, &re) || re.Plugin == "" {
		return to, err
	}
	if !slices.Contains(v.options.Plugins, re.Plugin) && !slices.Contains(v.keys.ownPlugins(), re.Plugin) {
		return nil, &PluginError{Plugin: re.Plugin}
	}
	to, err = agekey.PluginRecipient(s, v.options.PluginUI)
	if errors.As(err, &re) && re.Missing {
		return nil, &PluginError{Plugin: re.Plugin, Missing: true}
	}
	return to, err
}

// ownPlugins are those that the caller's identity needs anyway.
func (k *keyring) ownPlugins() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.id == nil {
		return nil
	}
	return k.id.Plugins()
}

// grantTo makes the grant for one member.
func (v *Vault) grantTo(member, recipient string, extra ...record.Header) (engine.GrantTo, error) {
	if err := record.CheckMember(member); err != nil {
		return engine.GrantTo{}, err
	}
	to, err := v.recipient(recipient, true)
	var pe *PluginError
	if errors.As(err, &pe) {
		pe.Member = member
		return engine.GrantTo{}, &vault.Error{Kind: vault.KindUnavailable, Op: "granting a key", Err: pe}
	}
	if err != nil {
		return engine.GrantTo{}, &vault.Error{Kind: vault.KindInvalid, Op: "granting a key", Detail: "the recipient of " + member, Err: err}
	}
	return engine.GrantTo{Member: member, Recipient: recipient, Sealer: seal.AgeSealer("age:"+member, to, nil), Extra: extra}, nil
}

// terms are since when the member of a grant holds a key, and until when.
func terms(g engine.GrantState) (since, until time.Time) {
	since = g.At
	if t, err := time.Parse(time.RFC3339, g.Header(sinceHeader)); err == nil && t.Before(since) {
		since = t
	}
	until, _ = time.Parse(time.RFC3339, g.Header(untilHeader))
	return since, until
}

func timeHeader(key string, t time.Time) record.Header {
	return record.Header{Key: key, Value: t.UTC().Format(time.RFC3339)}
}

// pendingOf reads who waits for a grant of a generation.
func pendingOf(from files, env vault.Env, gen uint32) ([]Pending, error) {
	raw, err := from.blob(env, engine.GenBlob(gen))
	if vault.KindOf(err) == vault.KindNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	g, err := record.ParseGen(raw)
	if err != nil {
		return nil, nil // which the keys say
	}
	var all []Pending
	for _, h := range g.Extra {
		if h.Key != pendingHeader {
			continue
		}
		words := strings.Split(h.Value, " ")
		for ; len(words) >= 4; words = words[4:] {
			p := Pending{Member: words[0], Recipient: words[1], Plugin: pluginOf(words[1])}
			p.Since, _ = time.Parse(time.RFC3339, words[2])
			p.Until, _ = time.Parse(time.RFC3339, words[3])
			all = append(all, p)
		}
	}
	return all, nil
}

func pendingHeaders(all []Pending) []record.Header {
	if len(all) == 0 {
		return nil
	}
	var words []string
	for _, p := range all {
		until := "-"
		if !p.Until.IsZero() {
			until = p.Until.UTC().Format(time.RFC3339)
		}
		words = append(words, p.Member, p.Recipient, p.Since.UTC().Format(time.RFC3339), until)
	}
	return []record.Header{{Key: pendingHeader, Value: strings.Join(words, " ")}}
}

// pending are those who wait for a grant of the present key. The gen file that
// names them has passed its check by then.
func (v *Vault) pending(env vault.Env) ([]Pending, error) {
	view, err := v.store.d.view()
	if err != nil {
		return nil, err
	}
	defer view.Close()
	gens, err := view.generations(env)
	if err != nil || len(gens) == 0 {
		return nil, err
	}
	return pendingOf(view, env, gens[len(gens)-1])
}

// NewMember says whom AddMember lets in.
type NewMember struct {
	Member    string
	Recipient string    // age's text form; empty for a member whose grant is pending
	Until     time.Time // when the access is to end; zero for no end
	Replace   bool      // the grant of another key that this member has

	pipeline bool
}

// HasGrantError is the cause of a KindExists for a member who holds the key
// already: in their own name, for this or another recipient, or in another.
type HasGrantError struct {
	Env       vault.Env
	Member    string // who has the grant
	Recipient string // of the grant
	Same      bool   // it is for the recipient that was to be let in
}

func (e *HasGrantError) Error() string {
	if e.Same {
		return fmt.Sprintf("%s has access to %s already, with this key", e.Member, e.Env)
	}
	return fmt.Sprintf("%s has access to %s already, with another key", e.Member, e.Env)
}

// AddMember grants the present key of env to a member and moves the
// checkpoint. The time limit of a grant is kept by honest clients and made true
// by Sweep. KindExists with a *HasGrantError; KindUnavailable with a
// *PluginError.
func (v *Vault) AddMember(ctx context.Context, env vault.Env, m NewMember) error {
	return v.admit(ctx, env, m, false, nil)
}

// admit lets somebody in; with again, also somebody who is in already. also is
// done in the same batch.
func (v *Vault) admit(ctx context.Context, env vault.Env, m NewMember, again bool, also func(*tx) error) error {
	if err := record.CheckMember(m.Member); err != nil {
		return err
	}
	if !m.Until.IsZero() && !m.Until.After(v.options.Now()) {
		return &vault.Error{Kind: vault.KindInvalid, Op: "adding member", Env: env, Detail: "the access would have ended already, at " + m.Until.Format(time.RFC3339)}
	}
	a := engine.Admission{To: func(now []engine.GrantState) ([]engine.GrantTo, error) {
		to, err := v.newGrant(env, m, now)
		var has *HasGrantError
		if again && errors.As(err, &has) && has.Same && has.Member == m.Member {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return []engine.GrantTo{to}, nil
	}}
	if also != nil {
		a.Also = func(t engine.Tx) error { return also(t.(*tx)) }
	}
	return v.Admit(ctx, env, a)
}

func (v *Vault) newGrant(env vault.Env, m NewMember, now []engine.GrantState) (engine.GrantTo, error) {
	exists := func(g engine.GrantState) error {
		return &vault.Error{Kind: vault.KindExists, Op: "adding member", Env: env,
			Err: &HasGrantError{Env: env, Member: g.Member, Recipient: g.Recipient, Same: g.Recipient == m.Recipient}}
	}
	var extra []record.Header
	waiting, err := v.pending(env)
	if err != nil {
		return engine.GrantTo{}, err
	}
	if i := slices.IndexFunc(waiting, func(p Pending) bool { return p.Member == m.Member }); i >= 0 {
		p := waiting[i]
		if m.Recipient == "" {
			m.Recipient = p.Recipient
			if m.Until.IsZero() {
				m.Until = p.Until
			}
		}
		if m.Recipient == p.Recipient {
			extra = append(extra, timeHeader(sinceHeader, p.Since))
		}
	}
	if m.Recipient == "" {
		return engine.GrantTo{}, &vault.Error{Kind: vault.KindInvalid, Op: "adding member", Env: env, Detail: "the recipient of " + m.Member + " is not given, and no grant of theirs is pending"}
	}
	stays := false // somebody whose access has no end
	for _, g := range now {
		if g.Err != nil {
			continue
		}
		since, until := terms(g)
		switch {
		case g.Member == m.Member && g.Recipient == m.Recipient && until.Equal(m.Until):
			return engine.GrantTo{}, exists(g)
		case g.Member == m.Member && g.Recipient == m.Recipient: // another end
			extra = []record.Header{timeHeader(sinceHeader, since)}
		case g.Member == m.Member && !m.Replace, g.Member != m.Member && g.Recipient == m.Recipient && g.Recipient != "":
			return engine.GrantTo{}, exists(g)
		case g.Member != m.Member && until.IsZero():
			stays = true
		}
	}
	if !m.Until.IsZero() {
		if !stays {
			return engine.GrantTo{}, &vault.Error{Kind: vault.KindInvalid, Op: "adding member", Env: env, Detail: "everybody's access would end: one member must stay without a time limit"}
		}
		extra = append(extra, timeHeader(untilHeader, m.Until))
	}
	if m.pipeline {
		extra = append(extra, record.Header{Key: useHeader, Value: useCI})
	}
	return v.grantTo(m.Member, m.Recipient, extra...)
}

// Rotation is the outcome of one.
type Rotation struct {
	Env         vault.Env
	From, Gen   uint32
	Fingerprint string   // of the new key; empty if the caller does not hold it
	Secrets     int      // whose data key was wrapped anew
	Members     []string // who holds the new key
	Pipelines   []string // those of them whose CI key names a former one
	Removed     []string
	Pending     []Pending
	Exposed     []Exposure // what those who were removed could read
}

// RotateOptions say how a rotation is done.
type RotateOptions struct {
	Why      string                // one line for people; may be empty
	Progress func(done, total int) // may be nil
}

// RotateKey gives env a new key that the same members hold: each record is
// wrapped anew, the checkpoint is moved, all in one journal. The values stay.
func (v *Vault) RotateKey(ctx context.Context, env vault.Env, o RotateOptions) (Rotation, error) {
	return v.rotate(ctx, env, nil, o)
}

// RemoveMembers takes the key of env away from members: it rotates it, grants
// the new one to those who stay, and lists what those who leave could read,
// from git's history too. What they could read they know: the values are to be
// replaced at their source, and Status reminds of each. KindNotFound if one of
// them has no grant; KindInvalid if nobody would be left.
func (v *Vault) RemoveMembers(ctx context.Context, env vault.Env, members []string, o RotateOptions) (Rotation, error) {
	for _, m := range members {
		if err := record.CheckMember(m); err != nil {
			return Rotation{}, err
		}
	}
	if len(members) == 0 {
		return Rotation{}, &vault.Error{Kind: vault.KindInvalid, Op: "removing members", Env: env, Detail: "nobody is named"}
	}
	return v.rotate(ctx, env, members, o)
}

// Sweep rotates the key of env if the time of any member is over, without
// them. Nothing else ends access in a vault of files: until then they hold the
// key. ok is false if nobody's time is over.
func (v *Vault) Sweep(ctx context.Context, env vault.Env, o RotateOptions) (r Rotation, ok bool, err error) {
	ended, err := v.Ended(ctx, env)
	if err != nil || len(ended) == 0 {
		return Rotation{}, false, err
	}
	if o.Why == "" {
		o.Why = "the access of " + strings.Join(ended, ", ") + " ended"
	}
	r, err = v.rotate(ctx, env, ended, o)
	return r, err == nil, err
}

// Ended are the members of env whose time is over, sorted. It takes the key.
func (v *Vault) Ended(ctx context.Context, env vault.Env) ([]string, error) {
	now, err := v.Grants(ctx, env)
	if err != nil {
		return nil, err
	}
	waiting, err := v.pending(env)
	if err != nil {
		return nil, err
	}
	var ended []string
	over := func(until time.Time) bool { return !until.IsZero() && !until.After(v.options.Now()) }
	for _, g := range now {
		if _, until := terms(g); g.Err == nil && over(until) {
			ended = append(ended, g.Member)
		}
	}
	for _, p := range waiting {
		if over(p.Until) && !slices.Contains(ended, p.Member) {
			ended = append(ended, p.Member)
		}
	}
	slices.Sort(ended)
	return ended, nil
}

func (v *Vault) rotate(ctx context.Context, env vault.Env, remove []string, o RotateOptions) (Rotation, error) {
	out := Rotation{Env: env}
	if _, err := v.keys.Current(ctx, env); err != nil { // before the work: it may ask a person
		return out, err
	}
	// git reads what was ever committed while we wrap what is there now.
	ctx, stop := context.WithCancel(ctx)
	past := sync.OnceValues(func() (map[vault.Path][]seenVersion, error) { return v.committed(ctx, env) })
	var reading sync.WaitGroup
	if len(remove) > 0 {
		reading.Go(func() { _, _ = past() })
	}
	defer reading.Wait()
	defer stop()
	total := 0
	if o.Progress != nil {
		var err error
		if total, err = v.count(env); err != nil {
			return out, err
		}
	}
	var gone []leaver
	var present map[vault.Path]vault.Info
	r := engine.Rotation{
		Why: o.Why,
		To: func(now []engine.GrantState) ([]engine.GrantTo, error) {
			out, present = Rotation{Env: env}, map[vault.Path]vault.Info{}
			var to []engine.GrantTo
			var err error
			to, gone, err = v.stay(env, now, remove, &out)
			return to, err
		},
		Headers: func() []record.Header { return pendingHeaders(out.Pending) },
		Also: func(etx engine.Tx, done engine.Rotated) error {
			t := etx.(*tx)
			t.h.progress = half(o.Progress, total)
			out.From, out.Gen = done.From.Gen, done.Key.Gen
			out.Fingerprint = done.Key.Key.Fingerprint(v.id, env, done.Key.Gen).String()
			for _, e := range done.Entries {
				if !e.Deleted {
					out.Secrets++
				}
			}
			if len(gone) == 0 {
				return nil
			}
			read, err := past()
			if err != nil {
				return err
			}
			_, err = v.listExposed(t, gone, done.From.Gen, done.Entries, read)
			return err
		},
	}
	if len(remove) > 0 {
		r.Each = func(i vault.Info) { present[i.Path] = i }
	}
	if err := v.RotateTo(ctx, env, r); err != nil {
		return Rotation{}, err
	}
	if len(remove) == 0 {
		return out, nil
	}
	var err error
	out.Exposed, err = v.exposedOf(env, out.Removed, present)
	return out, err
}

// half tells of files that are written and then moved as of things done, each
// move being half of one: wrapping them anew takes no time beside it.
func half(tell func(done, total int), total int) func() {
	if tell == nil || total == 0 {
		return nil
	}
	steps := 0
	return func() {
		// The keys and the seal are written too, and are none of the secrets.
		if steps++; steps%2 == 0 && steps/2 <= total {
			tell(steps/2, total)
		}
	}
}

// stay decides who holds the next key.
func (v *Vault) stay(env vault.Env, now []engine.GrantState, remove []string, out *Rotation) (to []engine.GrantTo, gone []leaver, err error) {
	waiting, err := v.pending(env)
	if err != nil {
		return nil, nil, err
	}
	leaves := map[string]bool{}
	for _, m := range remove {
		leaves[m] = true
	}
	found := map[string]bool{}
	forever := false
	for _, g := range now {
		found[g.Member] = true
		since, until := terms(g)
		switch {
		case leaves[g.Member]:
			if since.IsZero() { // the grant is damaged or gone: they may have held a key from the beginning
				since = time.Unix(0, 0).UTC()
			}
			if g.Err == nil || g.Listed {
				gone = append(gone, leaver{g.Member, since})
			}
			continue
		case g.Err != nil && g.Listed:
			return nil, nil, g.Err // a rotation would lock them out for good
		case g.Err != nil:
			continue // nobody who holds the key let them in
		case g.Recipient == "":
			return nil, nil, &vault.Error{Kind: vault.KindUnsupported, Op: "granting a key", Env: env, Detail: "the grant of " + g.Member + " is for " + g.Sealer + ", which this envrun cannot wrap for"}
		}
		forever = forever || until.IsZero()
		var extra []record.Header
		for _, h := range g.Extra {
			if h.Key != sinceHeader {
				extra = append(extra, h)
			}
		}
		grant, err := v.grantTo(g.Member, g.Recipient, append(extra, timeHeader(sinceHeader, since))...)
		var pe *PluginError
		if errors.As(err, &pe) {
			out.Pending = append(out.Pending, Pending{g.Member, g.Recipient, pe.Plugin, since, until})
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		to = append(to, grant)
		out.Members = append(out.Members, g.Member)
		if g.Header(useHeader) == useCI {
			out.Pipelines = append(out.Pipelines, g.Member)
		}
	}
	for _, p := range waiting {
		switch {
		case found[p.Member]: // it has been made since
		case leaves[p.Member]:
			gone = append(gone, leaver{p.Member, p.Since})
		default:
			out.Pending = append(out.Pending, p)
		}
		found[p.Member] = true
	}
	for _, m := range remove {
		if !found[m] {
			return nil, nil, &vault.Error{Kind: vault.KindNotFound, Op: "removing members", Env: env, Err: &NoMemberError{Env: env, Member: m, Members: memberNames(now)}}
		}
		out.Removed = append(out.Removed, m)
	}
	slices.Sort(out.Removed)
	out.Removed = slices.Compact(out.Removed)
	sort.Slice(out.Pending, func(i, j int) bool { return out.Pending[i].Member < out.Pending[j].Member })
	if len(remove) > 0 && !forever {
		return nil, nil, &vault.Error{Kind: vault.KindInvalid, Op: "removing members", Env: env, Detail: "nobody would be left whose access has no end, and who could let others in"}
	}
	return to, gone, nil
}

// NoMemberError is the cause of a KindNotFound for somebody who has no grant.
type NoMemberError struct {
	Env     vault.Env
	Member  string
	Members []string // who has one
}

func (e *NoMemberError) Error() string {
	return fmt.Sprintf("%s is no member of %s; its members: %s", e.Member, e.Env, strings.Join(e.Members, ", "))
}

func memberNames(now []engine.GrantState) []string {
	var names []string
	for _, g := range now {
		names = append(names, g.Member)
	}
	return names
}

// count is how many records env has.
func (v *Vault) count(env vault.Env) (int, error) {
	view, err := v.store.d.view()
	if err != nil {
		return 0, err
	}
	defer view.Close()
	if err := view.needEnv(env); err != nil {
		return 0, err
	}
	n := 0
	view.walk(env, "", func(vault.Path, error) bool { n++; return true })
	return n, nil
}

// exposedOf reads the lists of these members.
func (v *Vault) exposedOf(env vault.Env, members []string, present map[vault.Path]vault.Info) ([]Exposure, error) {
	view, err := v.store.d.view()
	if err != nil {
		return nil, err
	}
	defer view.Close()
	s := EnvStatus{Env: env}
	if err := v.exposures(view, &s, present); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(s.Exposures, func(e Exposure) bool { return !slices.Contains(members, e.Member) }), nil
}

// ResumeRotation finishes a rotation of which only a part was committed: see
// engine.Engine.Resume. Whoever held the former key and not the present one was
// removed by it; if the list of what they could read did not come along, it is
// made again.
func (v *Vault) ResumeRotation(ctx context.Context, env vault.Env, o RotateOptions) (engine.Resumed, error) {
	key, err := v.keys.Current(ctx, env)
	if err != nil {
		return engine.Resumed{}, err
	}
	gone, err := v.removedBy(ctx, env, key.Gen)
	if err != nil {
		return engine.Resumed{}, err
	}
	var past map[vault.Path][]seenVersion
	if len(gone) > 0 {
		if past, err = v.committed(ctx, env); err != nil {
			return engine.Resumed{}, err
		}
	}
	return v.Resume(ctx, env, func(etx engine.Tx) error {
		t := etx.(*tx)
		t.h.progress = half(o.Progress, len(t.changes))
		var now []record.SealedEntry
		for r, err := range t.Heads("") {
			if err != nil {
				return err
			}
			info, _, err := record.ParseHeader(r.Raw)
			if err != nil {
				return err
			}
			now = append(now, record.SealedEntry{Path: info.Path, Version: info.Version, Deleted: info.Deleted})
		}
		listed, err := v.listed(t, key.Gen-1)
		if err != nil {
			return err
		}
		missing := slices.DeleteFunc(slices.Clone(gone), func(l leaver) bool { return listed[l.Member] })
		_, err = v.listExposed(t, missing, key.Gen-1, now, past)
		return err
	})
}

// removedBy are those who held the key before gen and do not hold gen.
func (v *Vault) removedBy(ctx context.Context, env vault.Env, gen uint32) ([]leaver, error) {
	if gen < 2 {
		return nil, nil
	}
	former, err := v.keys.Generation(ctx, env, gen-1)
	if err != nil {
		return nil, err
	}
	view, err := v.store.d.view()
	if err != nil {
		return nil, err
	}
	defer view.Close()
	waiting, err := pendingOf(view, env, gen)
	if err != nil {
		return nil, err
	}
	names, err := view.blobs(env, engine.GrantsPrefix(gen-1))
	if err != nil {
		return nil, err
	}
	var gone []leaver
	for _, name := range names {
		member, ok := strings.CutSuffix(strings.TrimPrefix(name, engine.GrantsPrefix(gen-1)), grantSuffix)
		if !ok || slices.ContainsFunc(waiting, func(p Pending) bool { return p.Member == member }) {
			continue
		}
		g, err := v.keys.readGrant(env, gen-1, name, view)
		if err != nil || !former.Key.CheckMAC(seal.GrantMAC, g.MACInput(), g.MAC) {
			continue
		}
		if there, err := view.is(envDir(env)+"/"+engine.GrantBlob(gen, member), false); there || err != nil {
			continue
		}
		since, _ := terms(engine.GrantState{At: g.At, Extra: g.Extra})
		gone = append(gone, leaver{member, since})
	}
	return gone, nil
}

// listed are those whose exposure up to a generation has its list.
func (v *Vault) listed(t *tx, gen uint32) (map[string]bool, error) {
	names, err := t.blobs(exposedDir + "/")
	if err != nil {
		return nil, err
	}
	all := map[string]bool{}
	for _, name := range names {
		raw, err := t.Blob(name)
		if err != nil {
			return nil, err
		}
		if x, err := v.parseExposed(t.env, raw); err == nil && x.Gen >= gen {
			all[x.Member] = true
		}
	}
	return all, nil
}

// NewCIKey makes an identity for a pipeline, grants it the present key of env,
// and returns the one string that the pipeline is given: it opens this
// environment and no other, and trusts this key and what follows from it.
// Nothing keeps a copy. KindExists as AddMember.
func (v *Vault) NewCIKey(ctx context.Context, env vault.Env, member string, replace bool) (agekey.CIKey, error) {
	id, err := agekey.Generate()
	if err != nil {
		return agekey.CIKey{}, err
	}
	key, err := v.keys.Current(ctx, env)
	if err != nil {
		return agekey.CIKey{}, err
	}
	if err := v.AddMember(ctx, env, NewMember{Member: member, Recipient: id.Recipient(), Replace: replace, pipeline: true}); err != nil {
		return agekey.CIKey{}, err
	}
	return agekey.CIKey{Vault: v.id, Env: string(env), Fingerprint: key.Key.Fingerprint(v.id, env, key.Gen).String(), Identity: id}, nil
}
