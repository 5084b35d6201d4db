package filevault

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// A GitOperation is what git is in the middle of, by the name of its command.
type GitOperation string

const (
	GitNone       GitOperation = "" // nothing, or what leaves no trace: a stash, a merge --squash
	GitMerge      GitOperation = "merge"
	GitRebase     GitOperation = "rebase"
	GitAm         GitOperation = "am"
	GitCherryPick GitOperation = "cherry-pick"
	GitRevert     GitOperation = "revert"
)

// UnderWay is what git has begun and left to a person.
type UnderWay struct {
	Operation GitOperation
	Others    []string // files in conflict that are not of the vault, from the top of the work tree
}

// UnderWay reports what git is in the middle of in the repository of the vault.
func (v *Vault) UnderWay(ctx context.Context) (UnderWay, error) {
	h := v.store.history
	repo, err := h.repo(ctx)
	if err != nil {
		return UnderWay{}, err
	}
	traces := []struct {
		name string
		of   GitOperation
	}{
		// A rebase picks commits, and stops with the marks of a pick too.
		{"rebase-apply/applying", GitAm}, {"rebase-merge", GitRebase}, {"rebase-apply", GitRebase},
		{"MERGE_HEAD", GitMerge}, {"CHERRY_PICK_HEAD", GitCherryPick}, {"REVERT_HEAD", GitRevert},
	}
	args := []string{"rev-parse"}
	for _, t := range traces {
		args = append(args, "--git-path", t.name)
	}
	out, err := h.output(ctx, 64<<10, "", args...)
	if err != nil {
		return UnderWay{}, err
	}
	var u UnderWay
	lines := strings.Split(string(out), "\n")
	for i, t := range traces {
		if i >= len(lines) {
			break
		}
		file := lines[i]
		if !filepath.IsAbs(file) {
			file = filepath.Join(h.d.dir, file)
		}
		if _, err := os.Lstat(file); err == nil {
			u.Operation = t.of
			break
		}
	}
	if out, err = h.output(ctx, maxUnmerged, "", "ls-files", "-u", "-z", "--full-name", "--", ":/"); err != nil {
		return UnderWay{}, err
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		_, name, ok := strings.Cut(line, "\t")
		if ok && !strings.HasPrefix(name, repo.prefix) && (len(u.Others) == 0 || u.Others[len(u.Others)-1] != name) {
			u.Others = append(u.Others, name)
		}
	}
	return u, nil
}
