package filevault

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/record"
)

// A history is what git knows of the vault's files. The file of a secret holds
// its present version only (filevault §3.7); git holds the others, and the
// grants that opened them.
//
// Whoever made the repository chose what is in it and in its config, so git is
// run to read objects by name and nothing else: no diff, no filter, no pager, no
// hook, no signature program, no network, and with an environment of our own.
// No value and no name of a secret's field is in an argument.
type history struct {
	d *disk

	mu      sync.Mutex
	commits map[slot]string // a commit that has a version under this generation
}

func newHistory(d *disk) *history { return &history{d: d, commits: map[slot]string{}} }

// gitTimeout bounds one run of git: reading objects that are here takes milliseconds.
const gitTimeout = 30 * time.Second

// git prepares a run in the vault's folder.
func (h *history) git(ctx context.Context, args ...string) *exec.Cmd {
	return Git(ctx, h.d.dir, args...)
}

// Git prepares a run of git in dir, which may be the work tree of somebody who
// means harm: their hooks, monitors, pagers and helpers are off, and it gets
// nothing of our environment but where its user's own settings are.
func Git(ctx context.Context, dir string, args ...string) *exec.Cmd {
	base := []string{
		"-C", dir,
		"--no-pager",
		"-c", "core.hooksPath=/dev/null",
		"-c", "core.fsmonitor=false",
		"-c", "core.alternateRefsCommand=",
		"-c", "log.showSignature=false",
		"-c", "protocol.allow=never",
		"-c", "gc.auto=0",
		"-c", "safe.bareRepository=explicit",
	}
	cmd := exec.CommandContext(ctx, "git", append(base, args...)...)
	cmd.Env = gitEnv(os.Environ())
	cmd.WaitDelay = time.Second
	return cmd
}

// gitEnv keeps of an environment what git needs to find itself and its user's
// config, and nothing that points it to another repository or starts a program.
// Credentials of ours and of others stay out by not being named here.
func gitEnv(from []string) []string {
	env := []string{
		"GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0", "GIT_NO_LAZY_FETCH=1", "GIT_NO_REPLACE_OBJECTS=1",
		"GIT_PAGER=cat", "GIT_ASKPASS=", "LC_ALL=C",
	}
	for _, kv := range from {
		name, _, _ := strings.Cut(kv, "=")
		switch strings.ToUpper(name) {
		case "PATH", "HOME", "USER", "LOGNAME", "XDG_CONFIG_HOME", "TMPDIR",
			// who commits
			"GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL",
			// Windows
			"SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "USERPROFILE", "HOMEDRIVE", "HOMEPATH",
			"APPDATA", "LOCALAPPDATA", "PROGRAMDATA", "PROGRAMFILES", "TEMP", "TMP":
			env = append(env, kv)
		}
	}
	return env
}

// output runs git and returns what it prints, at most max bytes of it.
func (h *history) output(ctx context.Context, max int64, stdin string, args ...string) ([]byte, error) {
	var out []byte
	err := h.run(ctx, stdin, func(r *bufio.Reader) error {
		var err error
		if out, err = io.ReadAll(io.LimitReader(r, max+1)); err == nil && int64(len(out)) > max {
			err = fmt.Errorf("git printed more than %d bytes", max)
		}
		return err
	}, args...)
	return out, err
}

// run runs git and has read read what it prints.
func (h *history) run(ctx context.Context, stdin string, read func(*bufio.Reader) error, args ...string) error {
	return h.runFor(ctx, gitTimeout, stdin, read, args...)
}

func (h *history) runFor(ctx context.Context, timeout time.Duration, stdin string, read func(*bufio.Reader) error, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := h.git(ctx, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var said tail
	cmd.Stderr = &said
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, exec.ErrDot) {
			return &gitError{"git is not installed, and it is git that keeps former versions"}
		}
		return fmt.Errorf("running git: %w", err)
	}
	readErr := read(bufio.NewReader(pipe))
	if readErr != nil {
		cancel()
	}
	err = cmd.Wait()
	switch {
	case readErr != nil:
		return readErr
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return &vault.Error{Kind: vault.KindUnavailable, Op: "reading history", Detail: "git did not answer", Err: ctx.Err()}
	}
	return &gitError{said.line(err)}
}

// gitError is what git says of a repository that it cannot read.
type gitError struct{ said string }

func (e *gitError) Error() string { return e.said }

// tail keeps the beginning of what git complains about.
type tail struct{ buf []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p[:min(len(p), 512-len(t.buf))]...)
	return len(p), nil
}

func (t *tail) line(err error) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(t.buf)), "\n")
	line = strings.TrimPrefix(printable(line), "fatal: ")
	if line == "" {
		return err.Error()
	}
	return "git says: " + line
}

// A repo is where the vault is in its repository.
type repo struct {
	prefix  string // of the vault's folder, with a slash at its end: ".envrun/vault/"
	shallow bool
}

// unsupported is for a vault without history.
func (h *history) unsupported(err error) error {
	var ge *gitError
	if !errors.As(err, &ge) {
		return err
	}
	detail := ge.said
	if strings.Contains(detail, "not a git repository") {
		detail = "the vault is not in a git repository, and it is git that keeps former versions"
	}
	return &vault.Error{Kind: vault.KindUnsupported, Op: "reading history", File: h.d.file(""), Detail: detail}
}

func (h *history) repo(ctx context.Context) (repo, error) {
	if err := h.refuseInner(); err != nil {
		return repo{}, err
	}
	out, err := h.output(ctx, 16<<10, "", "rev-parse", "--is-inside-work-tree", "--is-shallow-repository", "--show-prefix")
	if err != nil {
		return repo{}, h.unsupported(err)
	}
	lines := strings.Split(string(out), "\n")
	if len(lines) < 3 || lines[0] != "true" {
		return repo{}, h.unsupported(&gitError{"the vault is not in the work tree of a git repository"})
	}
	return repo{shallow: lines[1] == "true", prefix: lines[2]}, nil
}

// refuseInner refuses a vault whose folder looks like a repository of git's, made
// of plain files that the true repository carries. Git takes such a folder for
// the one that is meant, with its config and its history; newer ones do not, when
// asked, and older ones do.
func (h *history) refuseInner() error {
	for _, name := range []string{"HEAD", "objects", "refs"} {
		if _, err := os.Lstat(filepath.Join(h.d.dir, name)); err != nil {
			return nil
		}
	}
	if _, err := os.Lstat(filepath.Join(h.d.dir, ".git")); err == nil {
		return nil // the top of a work tree, where that is what git goes by
	}
	return h.d.refuse("HEAD", "makes the vault's folder look like a git repository of its own, which is not gone into")
}

// A found version is one blob of a secret's file.
type version struct {
	raw    []byte
	commit string
	info   vault.Info
	gen    uint32
	hash   record.Hash
	err    error
}

// versions yields the versions of a secret, newest first: head, which is the
// file in the work tree and may be nil, and every other one in the history of
// HEAD. A version that stands in several commits, and one that was only wrapped
// anew by a rotation, counts once.
func (h *history) versions(ctx context.Context, env vault.Env, p vault.Path, name string, head []byte, yield func(engine.Record, error) bool) {
	here := engine.Record{Env: env, Path: p}
	r, err := h.repo(ctx)
	var list []version
	if err == nil {
		list, err = h.blobs(ctx, r.prefix+name, "HEAD")
	}
	if err != nil {
		yield(here, err)
		return
	}
	if head != nil {
		list = slices.Insert(list, 0, version{raw: head})
	}
	list = h.distinct(env, name, list)
	for _, v := range list {
		rec := engine.Record{Env: env, Path: p, Version: v.info.Version, Gen: v.gen, At: v.info.At, Raw: v.raw}
		if !yield(rec, v.err) {
			return
		}
	}
	if !r.shallow {
		return
	}
	if n := len(list); n == 0 || list[n-1].err != nil || list[n-1].info.Version > 1 {
		detail := "this clone is shallow: former versions are not in it"
		if n > 0 && list[n-1].err == nil {
			detail = fmt.Sprintf("this clone is shallow: the versions before %d are not in it", list[n-1].info.Version)
		}
		yield(here, &vault.Error{Kind: vault.KindUnsupported, Op: "reading history", Env: env, Path: p, Detail: detail})
	}
}

// distinct parses versions, notes which commits have which keys, and leaves one
// of each, in order.
func (h *history) distinct(env vault.Env, name string, list []version) []version {
	type key struct {
		version uint64
		hash    record.Hash
	}
	seen := map[key]bool{}
	var good, bad []version
	for _, v := range list {
		var err error
		if v.info, v.gen, err = record.ParseHeader(v.raw); err == nil {
			v.hash, err = record.BodyHash(v.raw)
		}
		if err != nil {
			file := h.d.file(name)
			if v.commit != "" {
				file = fmt.Sprintf("%s in commit %.12s", file, v.commit)
			}
			v.err = inFile(err, file)
			bad = append(bad, v)
			continue
		}
		if v.commit != "" {
			h.mu.Lock()
			h.commits[slot{env, v.gen}] = v.commit
			h.mu.Unlock()
		}
		k := key{v.info.Version, v.hash}
		if !seen[k] {
			seen[k] = true
			good = append(good, v)
		}
	}
	// Branches and reverts put commits in an order that is not that of versions.
	sort.SliceStable(good, func(i, j int) bool { return good[i].info.Version > good[j].info.Version })
	return append(bad, good...)
}

// former are the versions of all secrets of an environment in the history of HEAD,
// each with its record, newest first.
func (h *history) former(ctx context.Context, env vault.Env) (map[vault.Path][]engine.Record, error) {
	r, err := h.repo(ctx)
	if err != nil {
		return nil, err
	}
	base := r.prefix + envDir(env) + "/" + secretsDir + "/"
	found := map[vault.Path][]version{}
	err = h.everyBlob(ctx, base, secretSuffix, record.MaxRecordSize, func(name string, raw []byte) {
		if p, err := vault.ParsePath(name); err == nil {
			found[p] = append(found[p], version{raw: raw})
		}
	})
	if err != nil {
		return nil, err
	}
	records := map[vault.Path][]engine.Record{}
	gens := map[uint32]vault.Path{} // a secret that has a version under it
	for p, list := range found {
		for _, v := range h.distinct(env, base+string(p)+secretSuffix, list) {
			if v.err == nil {
				records[p] = append(records[p], engine.Record{Env: env, Path: p, Version: v.info.Version, Gen: v.gen, At: v.info.At, Raw: v.raw})
				gens[v.gen] = p
			}
		}
	}
	// A walk over objects does not say in which commit each is, and it is from a
	// commit that a retired key is read.
	for gen, p := range gens {
		h.mu.Lock()
		_, known := h.commits[slot{env, gen}]
		h.mu.Unlock()
		if known {
			continue
		}
		name := base + string(p) + secretSuffix
		list, err := h.blobs(ctx, name, "HEAD")
		if err != nil {
			return nil, err
		}
		h.distinct(env, name, list)
	}
	return records, nil
}

// maxCommits bounds the history of one file that is looked through.
const maxCommits = 100_000

// blobs are the contents that a file has had on the way to some commits, in the
// order of git, each once.
func (h *history) blobs(ctx context.Context, name string, from ...string) ([]version, error) {
	// All sides of a merge count, also where one of them was taken whole.
	args := append([]string{"rev-list", "--ignore-missing", "--full-history", "--end-of-options"}, from...)
	out, err := h.output(ctx, maxCommits*65, "", append(args, "--", ":(top,literal)"+name)...)
	if err != nil {
		return nil, h.unsupported(err)
	}
	commits := strings.Fields(string(out))
	if len(commits) == 0 {
		return nil, nil
	}
	var list []version
	seen := map[string]bool{}
	err = h.catFile(ctx, commits, name, record.MaxRecordSize, func(commit, id string, raw []byte) {
		if !seen[id] {
			seen[id] = true
			list = append(list, version{raw: raw, commit: commit})
		}
	})
	return list, err
}

// catFile reads one file in each of several commits, leaving out those where it is not.
func (h *history) catFile(ctx context.Context, commits []string, name string, max int64, found func(commit, id string, raw []byte)) error {
	var in strings.Builder
	for _, c := range commits {
		in.WriteString(c + ":" + name + "\n")
	}
	err := h.run(ctx, in.String(), func(r *bufio.Reader) error {
		for _, c := range commits {
			id, raw, err := readObject(r, max)
			if err != nil {
				return err
			}
			if id != "" {
				found(c, id, raw)
			}
		}
		return nil
	}, "cat-file", "--batch", "--buffer") // it is asked all at once, and need not answer one by one
	return h.unsupported(err)
}

// readObject reads one answer of cat-file --batch; id is empty if there is no
// such blob, raw is cut short at max, which a parser refuses.
func readObject(r *bufio.Reader, max int64) (id string, raw []byte, err error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", nil, fmt.Errorf("reading from git: %w", err)
	}
	f := strings.Fields(line)
	if len(f) != 3 || f[1] == "missing" || f[len(f)-1] == "missing" {
		return "", nil, nil
	}
	size, err := strconv.ParseInt(f[2], 10, 64)
	if err != nil || size < 0 {
		return "", nil, fmt.Errorf("reading from git: an answer that is not of its form")
	}
	keep := min(size, max+1)
	raw = make([]byte, keep)
	if _, err := io.ReadFull(r, raw); err != nil {
		return "", nil, fmt.Errorf("reading from git: %w", err)
	}
	if _, err := io.CopyN(io.Discard, r, size-keep+1); err != nil {
		return "", nil, fmt.Errorf("reading from git: %w", err)
	}
	if f[1] != "blob" {
		return "", nil, nil
	}
	return f[0], raw, nil
}

// keysOf are the key files of a generation that is not in the tree any more, as
// the commit has them in which a version under it was found.
func (h *history) keysOf(ctx context.Context, env vault.Env, gen uint32) (files, error) {
	h.mu.Lock()
	commit, ok := h.commits[slot{env, gen}]
	h.mu.Unlock()
	if !ok {
		return nil, &vault.Error{Kind: vault.KindNotFound, Env: env, Detail: fmt.Sprintf("key %d is neither here nor in the history that was read", gen)}
	}
	r, err := h.repo(ctx)
	if err != nil {
		return nil, err
	}
	return &commitFiles{ctx: ctx, h: h, prefix: r.prefix, commit: commit}, nil
}

// commitFiles are the files of a commit.
type commitFiles struct {
	ctx    context.Context // of the one operation that it is made for
	h      *history
	prefix string
	commit string
}

func (c *commitFiles) file(env vault.Env, name string) string {
	return fmt.Sprintf("%s in commit %.12s", c.h.d.file(envDir(env)+"/"+name), c.commit)
}

func (c *commitFiles) blob(env vault.Env, name string) ([]byte, error) {
	file, err := blobName(env, name)
	if err != nil {
		return nil, err
	}
	var raw []byte
	err = c.h.catFile(c.ctx, []string{c.commit}, c.prefix+file, maxSize(name), func(_, _ string, b []byte) { raw = b })
	if err == nil && raw == nil {
		err = &vault.Error{Kind: vault.KindNotFound, Env: env, File: c.file(env, name)}
	}
	return raw, err
}

func (c *commitFiles) blobs(env vault.Env, prefix string) ([]string, error) {
	dir := c.prefix + envDir(env) + "/"
	out, err := c.h.output(c.ctx, 4<<20, "", "ls-tree", "-r", "-z", "--name-only", "--full-tree", c.commit, "--", dir+strings.TrimSuffix(prefix, "/"))
	if err != nil {
		return nil, c.h.unsupported(err)
	}
	var names []string
	for name := range bytes.SplitSeq(bytes.TrimSuffix(out, []byte{0}), []byte{0}) {
		if rest, ok := strings.CutPrefix(string(name), dir); ok && strings.HasPrefix(rest, prefix) {
			names = append(names, rest)
		}
	}
	return names, nil
}
