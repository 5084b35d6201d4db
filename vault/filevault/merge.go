package filevault

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/record"
)

// MergeReport is the outcome of a Merge.
type MergeReport struct {
	Envs []MergedEnv // those in which there was something to merge, sorted
	Left []error     // files in conflict that are left to a person, each a *vault.Error with its File and why

	Added    []string // files of the vault that were written and marked as resolved in git's index
	IndexErr error    // why they were not: they are merged all the same, and "git add" does it
}

// MergedEnv is what became of one environment.
type MergedEnv struct {
	Env vault.Env
	engine.MergeResult
	Err error // nothing of it was merged
}

// Done reports whether everything that was in conflict is resolved.
func (r MergeReport) Done() bool {
	if len(r.Left) > 0 {
		return false
	}
	for _, e := range r.Envs {
		if e.Err != nil || e.SealErr != nil || slices.ContainsFunc(e.Records, func(m engine.Merged) bool { return m.Err != nil }) {
			return false
		}
	}
	return true
}

// TwoKeysError is about an environment whose key was rotated on both branches:
// two keys of one number, of which one must go. Nobody but people can say
// which. The way out is to take the whole folder of the environment from one
// side, and to write again there what the other side changed.
type TwoKeysError struct {
	Env          vault.Env
	Gen          uint32
	Dir          string // the environment's folder
	Ours, Theirs KeySide
}

// KeySide is a key as its gen file describes it, and what its side did besides:
// all of it a claim.
type KeySide struct {
	Fingerprint, By, Why string
	At                   time.Time

	Commit  string       // where git has this side: "HEAD", "MERGE_HEAD"; empty if nowhere
	Changed []vault.Path // the secrets that it changed and the other has not alike; deleted ones too
	Members []string     // who holds this key and not the other
}

func (e *TwoKeysError) Error() string {
	return fmt.Sprintf("key %d of %s was made on both branches: ours is %s; theirs is %s; take the whole folder of the environment from one side, and write there again what the other changed",
		e.Gen, e.Env, e.Ours, e.Theirs)
}

func (k KeySide) String() string {
	if k.Fingerprint == "" {
		return "not readable"
	}
	return fmt.Sprintf("%s by %s on %s", k.Fingerprint, k.By, k.At.Format("2006-01-02"))
}

// RemovedEnvError is about an environment that one branch removed and the other
// changed. Its whole folder is to be taken from the one that has it, or to go.
type RemovedEnvError struct {
	Env  vault.Env
	Dir  string // the environment's folder
	Kept string // where git has it: "HEAD", "MERGE_HEAD"; empty if that cannot be told
}

func (e *RemovedEnvError) Error() string {
	return "one branch removed the environment and the other changed it: take its whole folder from one of them"
}

// left reports whether of an environment nothing is there but secrets that one
// branch changed and the other removed.
func (v *Vault) left(ctx context.Context, w *envMerge) bool {
	oneSided := slices.ContainsFunc(w.inputs, func(in engine.MergeInput) bool { return in.Ours == nil || in.Theirs == nil })
	if !oneSided || w.seal != nil {
		return false
	}
	_, err := v.store.Blob(ctx, w.env, engine.SealBlob)
	return vault.KindOf(err) == vault.KindNotFound
}

func (v *Vault) removedEnv(env vault.Env) error {
	dir := v.store.d.file(envDir(env))
	return &vault.Error{Kind: vault.KindUnmerged, Env: env, File: dir, Err: &RemovedEnvError{Env: env, Dir: dir}}
}

// Merge resolves what git could not: it goes by the three sides that git keeps
// in its index, and takes the text with marks in the work tree for nothing.
// Secrets are merged by field and seals by what they know (engine.Engine.Merge
// says how). Files that describe keys and who holds them are left, with the
// reason: they are for people to decide.
//
// It also resolves what git takes for resolved: a secret of which a person
// took one side in an editor while the seal has the other. Both are found in
// history, and merged. One that was only set back is none of that, and is left.
//
// What it has written it marks as resolved in git's index, byte for byte and
// through no filter; it commits nothing. Each environment is written as a
// whole. When it is killed, the next Merge goes on.
//
// It needs git, and no merge driver. KindUnsupported outside of a repository.
func (v *Vault) Merge(ctx context.Context, o engine.MergeOptions) (MergeReport, error) {
	var report MergeReport
	h := v.store.history
	// What was interrupted is finished first: it may be a merge.
	if err := v.store.Settle(ctx, ""); err != nil {
		return report, err
	}
	repo, err := h.repo(ctx)
	if err != nil {
		return report, err
	}
	files, err := h.unmerged(ctx)
	if err != nil {
		return report, err
	}
	work := map[vault.Env]*envMerge{}
	of := func(env vault.Env) *envMerge {
		if work[env] == nil {
			work[env] = &envMerge{env: env}
		}
		return work[env]
	}
	for _, f := range files {
		if err := f.plain(v.store.d); err != nil {
			report.Left = append(report.Left, err)
			continue
		}
		env, name, ok := splitEnv(f.name)
		if !ok {
			report.Left = append(report.Left, v.leave(f, "both branches changed it, and it is not a file that can be merged: take it from one of them"))
			continue
		}
		of(env).add(v, f, name, &report)
	}
	envs, err := v.Envs(ctx)
	if err != nil {
		return report, err
	}
	for _, env := range envs {
		if w := work[env]; w != nil && w.err != nil {
			continue
		}
		inputs, err := v.overtaken(ctx, env, repo, work[env])
		if err != nil {
			return report, err
		}
		if len(inputs) > 0 {
			w := of(env)
			w.inputs = append(w.inputs, inputs...)
		}
		if o.Adopt && work[env] == nil {
			if old, err := v.NeedAdoption(ctx, env); err == nil && len(old) > 0 {
				of(env)
			}
		}
	}
	for _, env := range slices.Sorted(maps.Keys(work)) {
		w := work[env]
		done := MergedEnv{Env: env, Err: w.err}
		if w.err == nil && (!slices.Contains(envs, env) || v.left(ctx, w)) {
			done.Err = v.removedEnv(env)
		}
		if done.Err == nil {
			done.MergeResult, done.Err = v.mergeEnv(ctx, repo, w, o)
		}
		if ctx.Err() != nil {
			return report, ctx.Err()
		}
		if keys, ok := errors.AsType[*TwoKeysError](done.Err); ok {
			v.compareSides(ctx, repo, keys)
		}
		if gone, ok := errors.AsType[*RemovedEnvError](done.Err); ok {
			v.whoHas(ctx, repo, gone)
		}
		report.Envs = append(report.Envs, done)
		if done.Err == nil {
			report.Added = append(report.Added, written(env, done.MergeResult)...)
		}
	}
	if len(report.Added) > 0 {
		if report.IndexErr = h.addExactly(ctx, repo, report.Added); report.IndexErr != nil {
			report.Added = nil
		}
	}
	for i, name := range report.Added {
		report.Added[i] = v.store.d.file(name)
	}
	return report, nil
}

// leave is the error for a file that a person must see to.
func (v *Vault) leave(f unmergedFile, detail string) error {
	return &vault.Error{Kind: vault.KindUnmerged, File: v.store.d.file(f.name), Detail: detail}
}

// envMerge is what there is to merge in one environment.
type envMerge struct {
	env    vault.Env
	inputs []engine.MergeInput
	seal   *engine.SealInput
	err    error // nothing of it can be
}

// splitEnv splits "envs/prod/seal".
func splitEnv(name string) (vault.Env, string, bool) {
	rest, ok := strings.CutPrefix(name, envsDir+"/")
	env, rest, cut := strings.Cut(rest, "/")
	if _, err := vault.ParseEnv(env); !ok || !cut || err != nil {
		return "", "", false
	}
	return vault.Env(env), rest, true
}

// secretOf is the path of a secret's file, "secrets/a/b.sec".
func secretOf(env vault.Env, name string) (vault.Path, bool) {
	p, ok := strings.CutPrefix(name, secretsDir+"/")
	p, sec := strings.CutSuffix(p, secretSuffix)
	if !ok || !sec {
		return "", false
	}
	_, err := secretName(env, vault.Path(p))
	return vault.Path(p), err == nil
}

// add sorts a file in conflict.
func (w *envMerge) add(v *Vault, f unmergedFile, name string, report *MergeReport) {
	if p, ok := secretOf(w.env, name); ok {
		w.inputs = append(w.inputs, engine.MergeInput{Path: p, Base: f.raw[0], Ours: f.raw[1], Theirs: f.raw[2]})
		return
	}
	if name == engine.SealBlob {
		if f.raw[1] == nil || f.raw[2] == nil {
			w.fail(v.removedEnv(w.env))
			return
		}
		w.seal = &engine.SealInput{Ours: f.raw[1], Theirs: f.raw[2]}
		return
	}
	if rest, ok := strings.CutPrefix(name, engine.KeysPrefix); ok {
		dir, last, _ := strings.Cut(rest, "/")
		if gen, ok := parseGenDir(dir); ok && last == genFile {
			w.err = &vault.Error{Kind: vault.KindUnmerged, Env: w.env, File: v.store.d.file(f.name),
				Err: &TwoKeysError{Env: w.env, Gen: gen, Dir: v.store.d.file(envDir(w.env)), Ours: keySide(f.raw[1]), Theirs: keySide(f.raw[2])}}
			return
		}
		if member, ok := strings.CutSuffix(last, grantSuffix); ok {
			w.fail(v.leave(f, grantAdvice(member, f)))
			return
		}
	}
	report.Left = append(report.Left, v.leave(f, "both branches changed it, and it is not a file that can be merged: take it from one of them"))
}

// fail keeps the first reason but for that of two keys, which is behind all others.
func (w *envMerge) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

func keySide(raw []byte) KeySide {
	g, err := record.ParseGen(raw)
	if err != nil {
		return KeySide{}
	}
	return KeySide{Fingerprint: g.Fingerprint, By: g.By, Why: g.Why, At: g.At}
}

// grantAdvice says what two grants for one member are.
func grantAdvice(member string, f unmergedFile) string {
	ours, err1 := record.ParseGrant(f.raw[1])
	theirs, err2 := record.ParseGrant(f.raw[2])
	switch {
	case f.raw[1] == nil || f.raw[2] == nil:
		return "one branch removed the grant of " + member + " and the other made another: take the grant from the one that has it; to shut somebody out is to rotate the key"
	case err1 != nil || err2 != nil:
		return "both branches have a grant for " + member + ", and one of them cannot be read: take the other"
	case ours.Recipient == theirs.Recipient && ours.Sealer == theirs.Sealer:
		return fmt.Sprintf("both branches let %s in, by %s and by %s, with the same recipient: take either grant", member, ours.By, theirs.By)
	}
	return fmt.Sprintf("both branches let %s in, by %s and by %s, with different recipients: ask %s which one is theirs, and take that grant", member, ours.By, theirs.By, member)
}

// mergeEnv merges one environment.
func (v *Vault) mergeEnv(ctx context.Context, repo repo, w *envMerge, o engine.MergeOptions) (engine.MergeResult, error) {
	// Only who works in this clone can have begun a revert.
	undo := len(w.inputs) > 0 && v.store.history.has(ctx, "REVERT_HEAD")
	for i := range w.inputs {
		in := &w.inputs[i]
		if in.Sealed {
			continue
		}
		var err error
		if in.PastOurs, in.PastTheirs, err = v.past(ctx, w.env, repo, in.Path); err != nil {
			return engine.MergeResult{}, err
		}
		in.Shallow, in.Undo = repo.shallow, undo
	}
	sort.Slice(w.inputs, func(i, j int) bool { return w.inputs[i].Path < w.inputs[j].Path })
	old, err := v.NeedAdoption(ctx, w.env)
	if err != nil {
		return engine.MergeResult{}, err
	}
	res, err := v.Engine.Merge(ctx, w.env, w.inputs, w.seal, o)
	if err != nil || len(res.Adopted) == 0 {
		return res, err
	}
	return res, v.exposeAdopted(ctx, w.env, old, res.Adopted)
}

// past are the versions of a secret in the history of HEAD, and in that of what
// a merge, a rebase or the like brings to it.
func (v *Vault) past(ctx context.Context, env vault.Env, repo repo, p vault.Path) (ours, theirs [][]byte, err error) {
	if ours, err = v.pastOf(ctx, env, repo, p, "HEAD"); err != nil {
		return nil, nil, err
	}
	theirs, err = v.pastOf(ctx, env, repo, p, "MERGE_HEAD", "CHERRY_PICK_HEAD", "REBASE_HEAD", "REVERT_HEAD")
	return ours, theirs, err
}

func (v *Vault) pastOf(ctx context.Context, env vault.Env, repo repo, p vault.Path, from ...string) ([][]byte, error) {
	list, err := v.versionsOf(ctx, env, repo, p, from...)
	past := make([][]byte, 0, len(list))
	for _, one := range list {
		past = append(past, one.raw)
	}
	return past, err
}

func (v *Vault) versionsOf(ctx context.Context, env vault.Env, repo repo, p vault.Path, from ...string) ([]version, error) {
	name, err := secretName(env, p)
	if err != nil {
		return nil, err
	}
	h := v.store.history
	list, err := h.blobs(ctx, repo.prefix+name, from...)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(h.distinct(env, name, list), func(one version) bool { return one.err != nil }), nil
}

// overtaken are the secrets that are behind the seal without being in conflict
// for git, where history has the version that the seal has.
func (v *Vault) overtaken(ctx context.Context, env vault.Env, repo repo, w *envMerge) ([]engine.MergeInput, error) {
	var seals [][]byte
	busy := map[vault.Path]bool{}
	if w != nil {
		for _, in := range w.inputs {
			busy[in.Path] = true
		}
	}
	if w != nil && w.seal != nil {
		seals = [][]byte{w.seal.Ours, w.seal.Theirs}
	} else if raw, err := v.store.Blob(ctx, env, engine.SealBlob); err == nil {
		seals = [][]byte{raw}
	}
	sealed := map[vault.Path]record.SealedEntry{}
	for _, raw := range seals {
		s, err := record.ParseSeal(raw)
		if err != nil {
			return nil, nil // which is said where it is opened
		}
		for _, e := range s.Entries {
			if e.Version > sealed[e.Path].Version {
				sealed[e.Path] = e
			}
		}
	}
	var inputs []engine.MergeInput
	for r, err := range v.store.Heads(ctx, env, "") {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		e, ok := sealed[r.Path]
		if err != nil || !ok || busy[r.Path] {
			continue
		}
		info, _, err := record.ParseHeader(r.Raw)
		if err != nil || info.Version > e.Version {
			continue
		}
		hash, err := record.BodyHash(r.Raw)
		if err != nil || hash == e.Hash {
			continue
		}
		all, err := v.versionsOf(ctx, env, repo, r.Path, "HEAD")
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(all, func(one version) bool { return one.hash == e.Hash })
		if i < 0 {
			continue
		}
		in := engine.MergeInput{Path: r.Path, Ours: all[i].raw, Theirs: r.Raw, Shallow: repo.shallow, Sealed: true}
		if in.PastOurs, err = v.pastOf(ctx, env, repo, r.Path, all[i].commit); err != nil {
			return nil, err
		}
		for _, one := range all {
			in.PastTheirs = append(in.PastTheirs, one.raw)
		}
		inputs = append(inputs, in)
	}
	return inputs, nil
}

// written are the files that a merge has made good.
func written(env vault.Env, res engine.MergeResult) []string {
	names := map[string]bool{}
	for _, m := range res.Records {
		if name, err := secretName(env, m.Path); err == nil && m.Err == nil {
			names[name] = true
		}
	}
	for _, p := range res.Adopted {
		if name, err := secretName(env, p); err == nil {
			names[name] = true
		}
	}
	if res.Seal == engine.SealTaken || res.Seal == engine.SealWritten {
		names[envDir(env)+"/"+engine.SealBlob] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// An unmergedFile is one that git could not merge, with what its index has of
// it: the base, ours and theirs, nil where a side has none.
type unmergedFile struct {
	name string // in the vault
	mode [3]string
	id   [3]string
	raw  [3][]byte
}

// plain refuses what is no plain file on one side.
func (f unmergedFile) plain(d *disk) error {
	for _, mode := range f.mode {
		if mode != "" && mode != "100644" && mode != "100755" {
			return d.refuse(f.name, "is not a plain file on one of the branches")
		}
	}
	return nil
}

// maxUnmerged bounds what the index is read for: each of the most secrets, three times.
const maxUnmerged = 3 * record.MaxSealLines * 1024

// unmerged are the files of the vault that are in conflict in git's index.
func (h *history) unmerged(ctx context.Context) ([]unmergedFile, error) {
	out, err := h.output(ctx, maxUnmerged, "", "ls-files", "-u", "-z", "--", ".")
	if err != nil {
		return nil, h.unsupported(err)
	}
	var files []unmergedFile
	for line := range bytes.SplitSeq(bytes.TrimSuffix(out, []byte{0}), []byte{0}) {
		if len(line) == 0 {
			continue
		}
		head, name, ok := strings.Cut(string(line), "\t")
		f := strings.Fields(head)
		if !ok || len(f) != 3 || len(f[2]) != 1 || f[2] < "1" || f[2] > "3" {
			return nil, fmt.Errorf("reading git's index: an answer that is not of its form")
		}
		if n := len(files); n == 0 || files[n-1].name != name {
			files = append(files, unmergedFile{name: name})
		}
		last, stage := &files[len(files)-1], f[2][0]-'1'
		last.mode[stage], last.id[stage] = f[0], f[1]
	}
	var in strings.Builder
	for _, f := range files {
		for _, id := range f.id {
			if id != "" {
				in.WriteString(id + "\n")
			}
		}
	}
	if in.Len() == 0 {
		return nil, nil
	}
	err = h.run(ctx, in.String(), func(r *bufio.Reader) error {
		for i := range files {
			f := &files[i]
			for n, id := range f.id {
				if id == "" {
					continue
				}
				got, raw, err := readObject(r, record.MaxSealSize)
				if err != nil {
					return err
				}
				if got != "" {
					f.raw[n] = raw
				} else if f.mode[n] != "160000" {
					return &vault.Error{Kind: vault.KindUnsupported, Op: "reading git's index", File: h.d.file(f.name), Detail: "one side of it is not in this clone"}
				}
			}
		}
		return nil
	}, "cat-file", "--batch")
	return files, h.unsupported(err)
}

// addExactly puts files into git's index as they are on disk. "git add" would
// run them through the filters of the repository, which are not ours to trust.
func (h *history) addExactly(ctx context.Context, r repo, names []string) error {
	if strings.Contains(r.prefix, "\n") {
		return fmt.Errorf("the vault's folder has a line break in its name")
	}
	var paths strings.Builder
	for _, name := range names {
		paths.WriteString(r.prefix + name + "\n")
	}
	out, err := h.output(ctx, int64(len(names))*65, paths.String(), "hash-object", "-w", "--no-filters", "--stdin-paths")
	if err != nil {
		return err
	}
	ids := strings.Fields(string(out))
	if len(ids) != len(names) {
		return fmt.Errorf("adding to git's index: an answer that is not of its form")
	}
	var in strings.Builder
	for i, name := range names {
		fmt.Fprintf(&in, "100644 %s 0\t%s\x00", ids[i], r.prefix+name)
	}
	_, err = h.output(ctx, 1<<10, in.String(), "update-index", "-z", "--index-info")
	return err
}
