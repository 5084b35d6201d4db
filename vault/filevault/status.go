package filevault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"slices"
	"sort"
	"strings"
	"time"

	"envrun/auth/agekey"
	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/record"
)

// Status is what can be said of a vault without showing a value.
type Status struct {
	Vault   string
	Dir     string // as messages call it: ".envrun/vault"
	Journal Journal
	Envs    []EnvStatus
	Strays  []error // what is in the vault's folder and no file of a vault, with File
}

// Journal says whether a write was interrupted.
type Journal string

const (
	NoJournal  Journal = ""
	Unfinished Journal = "unfinished" // it has happened; the next write or mismatched read finishes it
	Abandoned  Journal = "abandoned"  // it has not happened; the next write removes what is left of it
)

// EnvStatus is the state of one environment. Without the caller's key (Err is
// set) it is what the files say of themselves.
type EnvStatus struct {
	Env         vault.Env
	Err         error  // why the caller cannot open it; nil if they can
	Gen         uint32 // the present generation of the key
	Fingerprint string // as its gen file says, checked if Err is nil
	By          string // who made it
	At          time.Time
	Why         string
	Pinned      uint32 // the generation that this machine knows; 0 for none
	Retired     []uint32

	Members []Member
	Mine    string // the member of the grant that the caller's identity opens; "" if none

	Secrets  int          // without deleted ones
	Deleted  int          // tombstones
	OldKey   []vault.Path // records that are still under a former key
	Damaged  int          // records that cannot be read; Verify says why
	SealSeq  uint64
	SealGen  uint32 // the key that the seal is under; below Gen where a rotation came in part
	SealBy   string
	SealAt   time.Time
	Unsealed int // paths that changed since the seal

	Exposures []Exposure
	Requests  []Request
}

// Member is one grant of the present key.
type Member struct {
	Member      string
	Recipient   string // age's text form, or empty with
	Sealer      string
	PostQuantum bool
	By          string // who wrapped the key for them, and when
	At          time.Time
	Since       time.Time // since when they hold a key of this environment; before At if it was rotated
	Until       time.Time // when their access is to end; zero for no end
	Pipeline    bool      // it is a pipeline, with a CI key
	Sealed      bool      // the seal has the grant
	Plugin      string    // "yubikey" of age-plugin-yubikey, if wrapping the key for them takes one
	Pending     bool      // it could not be wrapped where it was rotated: they hold no key yet
	Err         error     // why it does not count: "not approved"; not known without a key
}

// PostQuantum says whether what is sealed here today outlasts quantum
// computers: "yes", or "no, 2 of 5 grants are classic".
func (s EnvStatus) PostQuantum() string {
	classic := 0
	for _, m := range s.Members {
		if !m.PostQuantum {
			classic++
		}
	}
	switch {
	case len(s.Members) == 0:
		return "no grants"
	case classic == 0:
		return "yes"
	case classic == 1:
		return fmt.Sprintf("no, 1 of %d grants is classic", len(s.Members))
	}
	return fmt.Sprintf("no, %d of %d grants are classic", classic, len(s.Members))
}

// Status reads the state of the environments that are named, of every one if none
// is. What is wrong with one of them is in its Err or in Strays and does not keep
// it from the others; one that is not there is left out.
func (v *Vault) Status(ctx context.Context, only ...vault.Env) (Status, error) {
	s := Status{Vault: v.id, Dir: v.store.d.file("")}
	envs, err := v.Envs(ctx)
	if err != nil {
		return s, err
	}
	view, err := v.store.d.view()
	if err != nil {
		return s, err
	}
	defer view.Close()
	if s.Journal, err = view.journal(); err != nil {
		return s, err
	}
	for _, env := range envs {
		if len(only) > 0 && !slices.Contains(only, env) {
			continue
		}
		e, err := v.envStatus(ctx, view, env)
		if err != nil {
			return s, err
		}
		s.Envs = append(s.Envs, e)
	}
	s.Strays = view.strays("")
	return s, nil
}

func (v *view) journal() (Journal, error) {
	j, err := v.journals()
	if err != nil {
		return NoJournal, err
	}
	if len(j.committed) > 0 {
		return Unfinished, nil
	}
	list, err := v.entries("")
	if err != nil {
		return NoJournal, err
	}
	if len(j.abandoned) > 0 || slices.ContainsFunc(list, func(e fs.DirEntry) bool { return strings.HasPrefix(e.Name(), tempPrefix) }) {
		return Abandoned, nil
	}
	return NoJournal, nil
}

// Members are those who hold the present key of env and those whose grant
// waits, as Status tells of them, without a look at any secret.
func (v *Vault) Members(ctx context.Context, env vault.Env) ([]Member, error) {
	s, err := v.KeyStatus(ctx, env)
	return s.Members, err
}

// KeyStatus is the part of an environment's status that is about its key and who
// holds it. No secret is looked at.
func (v *Vault) KeyStatus(ctx context.Context, env vault.Env) (EnvStatus, error) {
	view, err := v.store.d.view()
	if err != nil {
		return EnvStatus{Env: env}, err
	}
	defer view.Close()
	return v.keyStatus(ctx, view, env)
}

func (v *Vault) envStatus(ctx context.Context, view *view, env vault.Env) (EnvStatus, error) {
	s, err := v.keyStatus(ctx, view, env)
	if err != nil {
		return s, err
	}
	if err := v.records(ctx, view, &s); err != nil {
		return s, err
	}
	s.Requests = view.requests(env)
	return s, nil
}

// keyStatus is the part of an environment's status that is about its key.
func (v *Vault) keyStatus(ctx context.Context, view *view, env vault.Env) (EnvStatus, error) {
	s := EnvStatus{Env: env}
	gens, err := view.generations(env)
	if err != nil {
		return s, err
	}
	if n := len(gens); n > 0 {
		s.Gen, s.Retired = gens[n-1], gens[:n-1]
	}
	if raw, err := view.blob(env, engine.GenBlob(s.Gen)); err == nil {
		if g, err := record.ParseGen(raw); err == nil {
			s.Fingerprint, s.By, s.At, s.Why = g.Fingerprint, g.By, g.At, g.Why
		}
	}
	_, s.Err = v.keys.Current(ctx, env)
	if s.Err != nil && ctx.Err() != nil {
		return s, ctx.Err()
	}
	if v.keys.pins != nil {
		if pins, err := v.keys.pins.load(); err == nil {
			s.Pinned = pins[env].gen
		}
	}
	return s, v.members(ctx, view, &s)
}

// members lists the grants, with their MACs checked if the caller has the key.
func (v *Vault) members(ctx context.Context, view *view, s *EnvStatus) error {
	states, err := v.Grants(ctx, s.Env)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		states, err = nil, nil
		names, err := view.blobs(s.Env, engine.GrantsPrefix(s.Gen))
		if err != nil {
			return err
		}
		for _, name := range names {
			member, ok := strings.CutSuffix(path.Base(name), grantSuffix)
			if !ok {
				continue
			}
			g, err := v.keys.readGrant(s.Env, s.Gen, name, view)
			if err != nil {
				states = append(states, engine.GrantState{Member: member, Err: err})
				continue
			}
			states = append(states, engine.GrantState{Member: member, Recipient: g.Recipient, Sealer: g.Sealer, By: g.By, At: g.At, Extra: g.Extra})
		}
	}
	for _, g := range states {
		since, until := terms(g)
		s.Members = append(s.Members, Member{
			Member: g.Member, Recipient: g.Recipient, Sealer: g.Sealer, By: g.By, At: g.At, Since: since, Until: until,
			Plugin: pluginOf(g.Recipient), Pipeline: g.Header(useHeader) == useCI, Sealed: g.Sealed, Err: g.Err,
			// A cloud role's wrapping is as good as the cloud's, which is not known here.
			PostQuantum: agekey.PostQuantum(g.Recipient),
		})
	}
	waiting, err := pendingOf(view, s.Env, s.Gen)
	if err != nil {
		return err
	}
	for _, p := range waiting {
		if slices.ContainsFunc(states, func(g engine.GrantState) bool { return g.Member == p.Member }) {
			continue
		}
		s.Members = append(s.Members, Member{Member: p.Member, Recipient: p.Recipient, Since: p.Since, Until: p.Until, Plugin: p.Plugin, Pending: true, PostQuantum: agekey.PostQuantum(p.Recipient)})
	}
	if s.Err == nil {
		s.Mine = v.keys.mine(s.Env, s.Gen)
	}
	return nil
}

// records counts the secrets and compares them with the seal.
func (v *Vault) records(ctx context.Context, view *view, s *EnvStatus) error {
	sealed := map[vault.Path]record.SealedEntry{}
	if raw, err := view.blob(s.Env, engine.SealBlob); err == nil {
		if cp, err := record.ParseSeal(raw); err == nil {
			s.SealSeq, s.SealGen, s.SealBy, s.SealAt = cp.Seq, cp.Gen, cp.By, cp.At
			for _, e := range cp.Entries {
				sealed[e.Path] = e
			}
		}
	}
	present := map[vault.Path]vault.Info{}
	for r, err := range v.store.Heads(ctx, s.Env, "") {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var (
			info vault.Info
			gen  uint32
			hash record.Hash
		)
		if err == nil {
			info, gen, err = record.ParseHeader(r.Raw)
		}
		if err == nil {
			hash, err = record.BodyHash(r.Raw)
		}
		if err != nil {
			s.Damaged++
			delete(sealed, r.Path)
			continue
		}
		present[r.Path] = info
		if info.Deleted {
			s.Deleted++
		} else {
			s.Secrets++
		}
		if gen != s.Gen {
			s.OldKey = append(s.OldKey, r.Path)
		}
		if e, ok := sealed[r.Path]; !ok || e.Version != info.Version || e.Hash != hash {
			s.Unsealed++
		}
		delete(sealed, r.Path)
	}
	for _, e := range sealed {
		if !e.Deleted {
			s.Unsealed++ // and missing, which Verify says
		}
	}
	return v.exposures(view, s, present)
}

// ErrStray is the cause of a KindMalformed for what has no place in a vault.
var ErrStray = errors.New("is no file of a vault, and is not read")

// Strays lists what is in the vault's folder and no file of a vault, but for
// the environments that are named: of those Verify says it.
func (v *Vault) Strays(ctx context.Context, but ...vault.Env) ([]error, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	view, err := v.store.d.view()
	if err != nil {
		return nil, err
	}
	defer view.Close()
	var strays []error
	for _, err := range view.strays("") {
		var ve *vault.Error
		in := errors.As(err, &ve) && slices.ContainsFunc(but, func(env vault.Env) bool { return below(ve.File, view.d.file(envDir(env))) })
		if !in {
			strays = append(strays, err)
		}
	}
	return strays, nil
}

// strays lists what is in the vault's folder, or one environment of it, and is
// no file of a vault. Nothing reads such files; they are reported because
// somebody may believe that something does.
func (v *view) strays(only vault.Env) []error {
	var found []error
	var walk func(dir string)
	walk = func(dir string) {
		list, err := v.entries(dir)
		if err != nil {
			found = append(found, err)
			return
		}
		sort.Slice(list, func(i, j int) bool { return list[i].Name() < list[j].Name() })
		for _, e := range list {
			name := path.Join(dir, e.Name())
			if litter(e.Name()) || dir == "" && (name == txnDir || strings.HasPrefix(name, tempPrefix)) {
				continue
			}
			wantDir, ok := known(name)
			if !ok && e.IsDir() {
				wantDir, ok = folder(name)
			}
			switch {
			case !ok:
				found = append(found, &vault.Error{Kind: vault.KindMalformed, File: v.d.file(name), Err: ErrStray})
			case wantDir && !e.IsDir(), !wantDir && !e.Type().IsRegular():
				if _, err := v.is(name, wantDir); err != nil {
					found = append(found, err)
				}
			case wantDir:
				walk(name)
			}
		}
	}
	if only == "" {
		walk("")
	} else {
		walk(envDir(only))
	}
	return found
}

// litter is what systems and people leave in folders.
func litter(name string) bool {
	switch name {
	case ".DS_Store", "Thumbs.db", "desktop.ini", ".gitkeep", ".keep":
		return true
	}
	return false
}

// known reports whether name is a file of a vault, or a folder (dir) whose
// name leaves no doubt, and ok if it is any.
func known(name string) (dir, ok bool) {
	segs := strings.Split(name, "/")
	if len(segs) == 1 {
		switch name {
		case envsDir, requestsDir:
			return true, true
		case manifestFile, lockName, ".gitattributes", ".gitignore":
			return false, true
		}
		return false, false
	}
	env, rest := segs[1], segs[2:]
	if _, err := vault.ParseEnv(env); err != nil {
		return false, false
	}
	if len(rest) == 0 {
		return true, true
	}
	last := rest[len(rest)-1]
	if segs[0] == requestsDir {
		member, isRequest := strings.CutSuffix(last, requestSuffix)
		return false, len(rest) == 1 && isRequest && record.CheckMember(member) == nil
	}
	switch rest[0] {
	case engine.SealBlob:
		return false, len(rest) == 1
	case strings.TrimSuffix(engine.KeysPrefix, "/"):
		if len(rest) == 1 {
			return true, true
		}
		if _, ok := parseGenDir(rest[1]); !ok || len(rest) > 3 {
			return false, false
		}
		if len(rest) == 2 {
			return true, true
		}
		member, isGrant := strings.CutSuffix(last, grantSuffix)
		return false, last == genFile || isGrant && record.CheckMember(member) == nil
	case exposedDir:
		if len(rest) == 1 {
			return true, true
		}
		return false, len(rest) == 2 && strings.HasSuffix(last, listSuffix) && plainSegment(last)
	case secretsDir:
		if len(rest) == 1 {
			return true, true
		}
		p, isSecret := strings.CutSuffix(strings.Join(rest[1:], "/"), secretSuffix)
		if !isSecret {
			return false, false
		}
		_, err := secretName(vault.Env(env), vault.Path(p))
		return false, err == nil
	}
	return false, false
}

// folder reports whether name is a folder of secrets.
func folder(name string) (dir, ok bool) {
	segs := strings.SplitN(name, "/", 4)
	if len(segs) < 4 || segs[0] != envsDir || segs[2] != secretsDir || strings.HasSuffix(name, secretSuffix) {
		return false, false
	}
	_, err := secretName(vault.Env(segs[1]), vault.Path(segs[3]))
	return true, err == nil
}

// Verify implements vault.Verifier. Beside what the engine finds it reports
// retired keys that do not lead to the present one, lists and requests that
// cannot be read, and files that are none of a vault.
func (v *Vault) Verify(ctx context.Context, env vault.Env) iter.Seq[vault.Finding] {
	return func(yield func(vault.Finding) bool) {
		// What was interrupted is finished first, so that half of it is no finding.
		if err := v.store.Settle(ctx, env); err != nil {
			if !yield(vault.Finding{Env: env, Err: err}) {
				return
			}
		}
		for f := range v.Engine.Verify(ctx, env) {
			if !yield(f) || vault.KindOf(f.Err) == vault.KindNoEnv {
				return
			}
		}
		for _, err := range v.verifyFiles(ctx, env) {
			if !yield(vault.Finding{Env: env, Err: err}) {
				return
			}
		}
	}
}

func (v *Vault) verifyFiles(ctx context.Context, env vault.Env) []error {
	view, err := v.store.d.view()
	if err != nil {
		return []error{err}
	}
	defer view.Close()
	found := v.verifyRetired(ctx, view, env)
	names, err := view.blobs(env, exposedDir+"/")
	if err != nil {
		found = append(found, err)
	}
	for _, name := range names {
		raw, err := view.blob(env, name)
		if err == nil {
			_, err = v.parseExposed(env, raw)
		}
		if err != nil {
			found = append(found, inFile(err, view.file(env, name)))
		}
	}
	for _, r := range view.requests(env) {
		if r.Err != nil {
			found = append(found, r.Err)
		}
	}
	return append(found, view.strays(env)...)
}

// verifyRetired opens the retired keys that the caller has grants for.
func (v *Vault) verifyRetired(ctx context.Context, view *view, env vault.Env) []error {
	if _, err := v.keys.Current(ctx, env); err != nil {
		return nil // without the key there is nothing to compare with
	}
	gens, err := view.generations(env)
	if err != nil {
		return []error{err}
	}
	var found []error
	for _, gen := range gens[:len(gens)-1] {
		_, err := v.keys.Generation(ctx, env, gen)
		switch vault.KindOf(err) {
		case vault.KindDenied, vault.KindNotFound:
		default:
			if err != nil {
				found = append(found, err)
			}
		}
	}
	return found
}
