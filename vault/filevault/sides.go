package filevault

import (
	"bufio"
	"context"
	"slices"
	"strings"

	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/record"
)

// compareSides fills in what each side did to an environment whose key both
// replaced. It goes by what the files say of themselves, and leaves out what
// git cannot tell: it is advice for the person who has to choose.
func (v *Vault) compareSides(ctx context.Context, repo repo, keys *TwoKeysError) {
	base, theirs := v.otherSide(ctx)
	if theirs == "" {
		return
	}
	keys.Ours.Commit, keys.Theirs.Commit = "HEAD", theirs
	var sides [3]map[vault.Path]secretState
	var members [3][]string
	for i, commit := range []string{base, "HEAD", theirs} {
		var err error
		if sides[i], members[i], err = v.sideAt(ctx, repo, commit, keys.Env, keys.Gen); err != nil {
			return
		}
	}
	for i, side := range []*KeySide{&keys.Ours, &keys.Theirs} {
		mine, other := sides[1+i], sides[2-i]
		for p := range mine {
			if mine[p] != sides[0][p] && mine[p] != other[p] {
				side.Changed = append(side.Changed, p)
			}
		}
		for p := range sides[0] {
			if _, ok := mine[p]; !ok && other[p] != (secretState{}) {
				side.Changed = append(side.Changed, p)
			}
		}
		slices.Sort(side.Changed)
		side.Members = slices.DeleteFunc(slices.Clone(members[1+i]), func(m string) bool { return slices.Contains(members[2-i], m) })
	}
}

// whoHas fills in which side still has an environment.
func (v *Vault) whoHas(ctx context.Context, repo repo, gone *RemovedEnvError) {
	_, theirs := v.otherSide(ctx)
	for _, commit := range []string{"HEAD", theirs} {
		if commit == "" {
			continue
		}
		tree := &commitFiles{ctx: ctx, h: v.store.history, prefix: repo.prefix, commit: commit}
		if raw, err := tree.blob(gone.Env, engine.SealBlob); err == nil && raw != nil {
			gone.Kept = commit
		}
	}
}

// otherSide is the commit that git brings to HEAD, and the one that it compares
// both with; empty if there is none.
func (v *Vault) otherSide(ctx context.Context) (base, theirs string) {
	h := v.store.history
	commit := func(args ...string) string {
		out, err := h.output(ctx, 1<<10, "", args...)
		if err != nil {
			return ""
		}
		first, _, _ := strings.Cut(string(out), "\n")
		return first
	}
	for _, name := range []string{"MERGE_HEAD", "REBASE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD"} {
		if !h.has(ctx, name) {
			continue
		}
		switch name {
		case "MERGE_HEAD":
			return commit("merge-base", "HEAD", name), name
		case "REVERT_HEAD":
			return name, name + "^"
		}
		return name + "^", name
	}
	return "", ""
}

// has reports whether git has a commit of this name.
func (h *history) has(ctx context.Context, name string) bool {
	_, err := h.output(ctx, 1<<10, "", "rev-parse", "--verify", "--quiet", name+"^{commit}")
	return err == nil
}

// secretState is a version of a secret; the zero value is none, or a deleted one.
type secretState struct {
	version uint64
	hash    record.Hash
}

// sideAt reads the secrets of an environment, and who holds a generation of its
// key, as a commit has them.
func (v *Vault) sideAt(ctx context.Context, repo repo, commit string, env vault.Env, gen uint32) (map[vault.Path]secretState, []string, error) {
	states := map[vault.Path]secretState{}
	if commit == "" {
		return states, nil, nil
	}
	h := v.store.history
	tree := &commitFiles{ctx: ctx, h: h, prefix: repo.prefix, commit: commit}
	names, err := tree.blobs(env, secretsDir+"/")
	if err != nil {
		return nil, nil, err
	}
	var in strings.Builder
	for _, name := range names {
		in.WriteString(commit + ":" + repo.prefix + envDir(env) + "/" + name + "\n")
	}
	err = h.run(ctx, in.String(), func(r *bufio.Reader) error {
		for _, name := range names {
			_, raw, err := readObject(r, record.MaxRecordSize)
			if err != nil {
				return err
			}
			p, ok := secretOf(env, name)
			info, _, err := record.ParseHeader(raw)
			if err != nil || !ok || info.Deleted {
				continue
			}
			if hash, err := record.BodyHash(raw); err == nil {
				states[p] = secretState{info.Version, hash}
			}
		}
		return nil
	}, "cat-file", "--batch")
	if err != nil {
		return nil, nil, h.unsupported(err)
	}
	grants, err := tree.blobs(env, engine.GrantsPrefix(gen))
	if err != nil {
		return nil, nil, err
	}
	var members []string
	for _, name := range grants {
		if member, ok := strings.CutSuffix(name[strings.LastIndexByte(name, '/')+1:], grantSuffix); ok {
			members = append(members, member)
		}
	}
	return states, members, nil
}
