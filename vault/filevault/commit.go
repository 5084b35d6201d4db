package filevault

import (
	"bufio"
	"context"
	"io"
)

// Commit commits what has changed in the vault's folder, and nothing else of the
// work tree or the index, as the user that git knows; no hook is run. It reports
// whether there was anything. KindUnsupported outside of a repository.
//
// Git keeps former versions, of those that are committed: who writes several
// versions of a secret one after the other commits each.
func (v *Vault) Commit(ctx context.Context, message string) (bool, error) {
	h := v.store.history
	if _, err := h.repo(ctx); err != nil {
		return false, err
	}
	run := func(args ...string) error {
		return h.runFor(ctx, walkTimeout, "", func(r *bufio.Reader) error {
			_, err := io.Copy(io.Discard, r)
			return err
		}, args...)
	}
	if err := run("add", "--all", "--", "."); err != nil {
		return false, h.unsupported(err)
	}
	changed, err := h.output(ctx, 16<<20, "", "status", "--porcelain", "--untracked-files=no", "--", ".")
	if err != nil || len(changed) == 0 {
		return false, h.unsupported(err)
	}
	if err := run("commit", "--quiet", "--message="+message, "--", "."); err != nil {
		return false, h.unsupported(err)
	}
	return true, nil
}
