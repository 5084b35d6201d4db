package filevault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/record"
)

// Git can be told to merge secrets by a program of ours, and to show them in a
// diff by one. Both are comfort: hosts run neither, and nothing here counts on
// them (filevault §2, 2). An environment is right by what its files say.

// GitCommands are the commands that git is told to run, as it hands them to a
// shell: "envrun git merge-driver %O %A %B %P" and "envrun git textconv".
type GitCommands struct{ Merge, Textconv string }

// A GitSetting is one line of the repository's config.
type GitSetting struct {
	Key string // "merge.envrun.driver"
	Was string // empty if it was not set
	Now string // empty if it is not set any more
}

// Changed reports whether it is another than before.
func (s GitSetting) Changed() bool { return s.Was != s.Now }

// gitSettings are what InstallGit sets. A virtual ancestor of several is merged
// as text: Merge finds the real ones. Never may git cache what textconv
// prints: with values revealed they would stand in the repository as notes.
func gitSettings(c GitCommands) []GitSetting {
	return []GitSetting{
		{Key: "merge.envrun.name", Now: "envrun: secrets by field"},
		{Key: "merge.envrun.driver", Now: c.Merge},
		{Key: "merge.envrun.recursive", Now: "text"},
		{Key: "diff.envrun.textconv", Now: c.Textconv},
		{Key: "diff.envrun.cachetextconv", Now: "false"},
	}
}

// InstallGit tells the repository of the vault about our merge and diff
// drivers, in its own config, and returns every setting with what it was. Doing
// it twice changes nothing.
func (v *Vault) InstallGit(ctx context.Context, c GitCommands) ([]GitSetting, error) {
	return v.setGit(ctx, gitSettings(c))
}

// UninstallGit takes back what InstallGit did, whatever the commands were.
func (v *Vault) UninstallGit(ctx context.Context) ([]GitSetting, error) {
	settings := gitSettings(GitCommands{})
	for i := range settings {
		settings[i].Now = ""
	}
	return v.setGit(ctx, settings)
}

func (v *Vault) setGit(ctx context.Context, settings []GitSetting) ([]GitSetting, error) {
	h := v.store.history
	if _, err := h.repo(ctx); err != nil {
		return nil, err
	}
	now, err := h.config(ctx)
	if err != nil {
		return nil, err
	}
	for i := range settings {
		s := &settings[i]
		values := now[s.Key]
		if len(values) > 0 {
			s.Was = values[len(values)-1]
		}
		switch {
		case s.Now == "" && len(values) > 0:
			_, err = h.output(ctx, 1<<10, "", "config", "--local", "--unset-all", s.Key)
		case s.Now != "" && (len(values) != 1 || s.Changed()):
			_, err = h.output(ctx, 1<<10, "", "config", "--local", "--replace-all", s.Key, s.Now)
		}
		if err != nil {
			return nil, fmt.Errorf("setting %s: %w", s.Key, err)
		}
	}
	return settings, nil
}

// GitInstalled is what the repository has for drivers; empty where it has none.
func (v *Vault) GitInstalled(ctx context.Context) (GitCommands, error) {
	h := v.store.history
	if _, err := h.repo(ctx); err != nil {
		return GitCommands{}, err
	}
	now, err := h.config(ctx)
	if err != nil {
		return GitCommands{}, err
	}
	last := func(key string) string {
		values := now[key]
		if len(values) == 0 {
			return ""
		}
		return values[len(values)-1]
	}
	return GitCommands{Merge: last("merge.envrun.driver"), Textconv: last("diff.envrun.textconv")}, nil
}

// config is the repository's own config, of our sections.
func (h *history) config(ctx context.Context) (map[string][]string, error) {
	out, err := h.output(ctx, 16<<20, "", "config", "--local", "--null", "--list")
	if err != nil {
		return nil, err
	}
	now := map[string][]string{}
	for one := range strings.SplitSeq(string(out), "\x00") {
		key, value, _ := strings.Cut(one, "\n")
		if strings.HasPrefix(key, "merge.envrun.") || strings.HasPrefix(key, "diff.envrun.") {
			now[key] = append(now[key], value)
		}
	}
	return now, nil
}

// DriverMerge is a git merge driver: base, ours and theirs are the files that
// git names %O, %A and %B, and path is %P. It merges what needs nobody's
// decision, into ours, and reports whether it did. Else ours gets git's marks,
// as without a driver, so that nobody takes one side of it for the outcome;
// why says what Merge will have to ask or refuse. It changes nothing else.
func (v *Vault) DriverMerge(ctx context.Context, base, ours, theirs, path string) (clean bool, why error) {
	raw, err := v.driverMerge(ctx, base, ours, theirs, path)
	if err == nil {
		// Git reads it when we have ended well, and does not when we were killed.
		err = os.WriteFile(ours, raw, filePerm)
	}
	if err == nil {
		return true, nil
	}
	return false, errors.Join(err, Mark(ctx, filepath.Dir(v.store.d.dir), base, ours, theirs))
}

func (v *Vault) driverMerge(ctx context.Context, base, ours, theirs, path string) ([]byte, error) {
	repo, err := v.store.history.repo(ctx)
	if err != nil {
		return nil, err
	}
	name, ok := strings.CutPrefix(path, repo.prefix)
	env, rest, isEnv := splitEnv(name)
	if !ok || !isEnv {
		return nil, &vault.Error{Kind: vault.KindInvalid, Op: "merging", File: printable(path), Detail: "is not a file of this vault's environments"}
	}
	var raw [3][]byte
	for i, file := range []string{base, ours, theirs} {
		if raw[i], err = readAny(file, record.MaxSealSize); err != nil {
			return nil, err
		}
	}
	if rest == engine.SealBlob {
		one, ok, err := v.MergeSealBytes(ctx, env, engine.SealInput{Ours: raw[1], Theirs: raw[2]})
		if err == nil && !ok {
			err = &vault.Error{Kind: vault.KindUnmerged, Env: env, File: v.store.d.file(name), Detail: "both branches sealed something that the other does not know"}
		}
		return one, err
	}
	p, ok := secretOf(env, rest)
	if !ok {
		return nil, &vault.Error{Kind: vault.KindInvalid, Op: "merging", File: v.store.d.file(name), Detail: "is neither a secret nor a seal"}
	}
	past, others, err := v.past(ctx, env, repo, p)
	if err != nil {
		return nil, err
	}
	if len(raw[0]) == 0 {
		raw[0] = nil // git has no base, and an empty file says so
	}
	one, merged, err := v.MergeBytes(ctx, env, engine.MergeInput{Path: p, Base: raw[0], Ours: raw[1], Theirs: raw[2], PastOurs: past, PastTheirs: others, Shallow: repo.shallow}, engine.MergeOptions{})
	if err == nil && merged.SetBack > 0 {
		// Where it is a revert, Merge will know.
		err = &vault.Error{Kind: vault.KindConflict, Env: env, Path: p, File: v.store.d.file(name),
			Detail: fmt.Sprintf("one side went back to version %d: somebody took a change back", merged.SetBack)}
	}
	return one, err
}

// Find is the folder of the vault that a file belongs to which git hands out:
// under its own name below dir, the top of the work tree, or under another
// name, somewhere. Then it is the vault of the id that the file names, at its
// usual place or wherever git has one. KindNoVault if there is none.
func Find(ctx context.Context, dir, file string) (string, error) {
	none := &vault.Error{Kind: vault.KindNoVault, Detail: "there is no vault here that it is of"}
	if rel := filepath.Clean(file); filepath.IsLocal(rel) {
		for at := filepath.Dir(rel); ; at = filepath.Dir(at) {
			if _, err := os.Lstat(filepath.Join(dir, at, manifestFile)); err == nil {
				return filepath.Join(dir, at), nil
			}
			if at == "." {
				break
			}
		}
	}
	raw, err := readAny(file, record.MaxRecordSize)
	if err != nil {
		return "", none
	}
	r, err := record.ParseRecord(raw)
	if err != nil {
		return "", none
	}
	is := func(at string) bool {
		d, err := newDisk(at, "")
		if err != nil {
			return false
		}
		m, err := readManifest(d)
		return err == nil && m.Vault == r.Vault
	}
	if at := filepath.Join(dir, ".envrun", "vault"); is(at) {
		return at, nil
	}
	h := newHistory(&disk{dir: dir})
	out, err := h.output(ctx, 1<<20, "", "ls-files", "-z", "--", ":(glob)**/"+manifestFile)
	if err != nil {
		return "", none
	}
	for name := range strings.SplitSeq(string(out), "\x00") {
		if at := filepath.Join(dir, filepath.FromSlash(filepath.Dir(name))); name != "" && is(at) {
			return at, nil
		}
	}
	return "", none
}

// Mark has git put its marks into ours, as it does where there is no driver: for
// a driver that has no vault to merge in. dir is a folder to run git in.
func Mark(ctx context.Context, dir, base, ours, theirs string) error {
	files := []string{ours, base, theirs}
	for i := range files {
		abs, err := filepath.Abs(files[i])
		if err != nil {
			return err
		}
		files[i] = abs
	}
	before, err := readAny(ours, record.MaxSealSize)
	if err != nil {
		return err
	}
	h := newHistory(&disk{dir: dir})
	// Its exit status is the number of conflicts, so it is what it did that tells.
	_, gitErr := h.output(ctx, 1<<10, "", append([]string{"merge-file", "-q", "-L", "ours", "-L", "base", "-L", "theirs", "--"}, files...)...)
	after, err := readAny(ours, record.MaxSealSize)
	if err == nil && bytes.Equal(before, after) {
		err = gitErr
	}
	return err
}

// readAny reads a file that git made for us to read.
func readAny(name string, max int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(raw)) > max {
		err = &vault.Error{Kind: vault.KindMalformed, Op: "reading", File: name, Detail: "is larger than any file of a vault"}
	}
	return raw, err
}

// Textconv is what "git diff" shows of a secret's file: who, when and which
// fields, with a short keyed print of each value in its place, so that a
// changed one can be told; of an environment that reveal says yes to, the
// values themselves, quoted. reveal may be nil. Where the key is not there to be
// had, or the file is not genuine, it says so in a line and shows the names; a
// file that is no secret's is named and not repeated. It only fails to read.
func (v *Vault) Textconv(ctx context.Context, file string, reveal func(vault.Env) bool) ([]byte, error) {
	return textconv(file, func(b *bytes.Buffer, info vault.Info, raw []byte) error {
		s, key, err := v.OpenFile(ctx, info.Env, info.Path, raw)
		if ctx.Err() != nil || err != nil {
			return err
		}
		inClear := reveal != nil && reveal(info.Env)
		for _, f := range s.Values {
			if inClear {
				fmt.Fprintf(b, "%s since %d %q\n", f.Name, f.Since, f.Value.Reveal())
			} else {
				fmt.Fprintf(b, "%s since %d %s\n", f.Name, f.Since, key.Key.ValuePrint(v.id, info.Env, info.Path, f.Name, f.Value))
			}
			f.Value.Wipe()
		}
		return nil
	})
}

// TextconvNames is Textconv where there is no vault to open the secret in, for
// the reason that it is given.
func TextconvNames(file string, why error) ([]byte, error) {
	return textconv(file, func(*bytes.Buffer, vault.Info, []byte) error { return why })
}

// textconv shows a secret's file; fields adds its fields with what stands for
// their values, or says why it cannot, having added nothing.
func textconv(file string, fields func(*bytes.Buffer, vault.Info, []byte) error) ([]byte, error) {
	raw, err := readAny(file, record.MaxRecordSize)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	info, gen, err := record.ParseHeader(raw)
	if err != nil {
		fmt.Fprintf(&b, "# not a secret that can be read: %s\n", reason(err))
		return b.Bytes(), nil
	}
	fmt.Fprintf(&b, "%s %s\nversion %d by %s at %s, key %d\n", info.Env, info.Path, info.Version, info.By, info.At.Format("2006-01-02T15:04:05Z"), gen)
	if info.Rotate != "" {
		fmt.Fprintf(&b, "rotate %s\n", info.Rotate)
	}
	if len(info.Tags) > 0 {
		fmt.Fprintf(&b, "tags %s\n", strings.Join(info.Tags, " "))
	}
	if info.Note != "" {
		fmt.Fprintf(&b, "note %s\n", info.Note)
	}
	if info.Deleted {
		b.WriteString("deleted\n")
	}
	if err := fields(&b, info, raw); err != nil {
		for _, f := range info.Fields {
			fmt.Fprintf(&b, "%s since %d\n", f.Name, f.Since)
		}
		fmt.Fprintf(&b, "# not opened: %s\n", reason(err))
	}
	return b.Bytes(), nil
}

// reason is what is wrong without the place, which a diff shows in its own head.
func reason(err error) string {
	if ve, ok := errors.AsType[*vault.Error](err); ok {
		switch {
		case ve.Detail != "":
			return ve.Detail
		case ve.Err == nil:
			return ve.Kind.String()
		}
		err = ve.Err
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return printable(line)
}
