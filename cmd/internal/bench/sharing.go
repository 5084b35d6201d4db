//go:build unix

package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// inFolder is how many secrets package fill puts into each folder.
const inFolder = 100

// secretsOf is where a project's vault keeps the secrets of its environment.
func secretsOf(dir string) string {
	return filepath.Join(dir, ".envrun", "vault", "envs", "dev", "secrets")
}

// rotate gives an environment another key, with everybody and without one
// member, against a program that replaces as many files of the size.
func (b *bench) rotate() ([]line, error) {
	recipient, err := b.output(b.dir, nil, b.fill, "-age", filepath.Join(b.dir, "bob"))
	if err != nil {
		return nil, err
	}
	var lines []line
	for _, n := range []int{1000, 10000} {
		s, err := b.rotateOf(n, strings.TrimSpace(string(recipient)))
		if err != nil {
			return lines, err
		}
		what := ", " + number(n) + " secrets"
		lines = append(lines,
			compare("another key"+what, s[1], s[0], replaceName, promise{"≤", 1.5}),
			compare("a member less"+what, s[2], s[0], replaceName, promise{"≤", 1.5}))
	}
	return lines, nil
}

const replaceName = "replacing as many files"

func (b *bench) rotateOf(n int, recipient string) ([]samples, error) {
	var dirs []string
	for _, name := range []string{"rotate", "remove"} {
		dir, err := b.project(project{name: fmt.Sprintf("%s-%d", name, n), secrets: n})
		if err != nil {
			return nil, err
		}
		if b.git != "" { // and without it no former version is known
			if err := errors.Join(b.commit(dir, "a vault"), b.pack(dir)); err != nil {
				return nil, err
			}
		}
		dirs = append(dirs, dir)
	}
	keep, less := dirs[0], dirs[1]
	bare := filepath.Join(b.dir, fmt.Sprintf("replace-%d", n))
	if err := os.CopyFS(bare, os.DirFS(secretsOf(keep))); err != nil {
		return nil, err
	}
	files, size, err := sizeOf(bare)
	if err != nil {
		return nil, err
	}
	if files != n {
		return nil, fmt.Errorf("%s has %d files", bare, files)
	}
	return b.interleave(max(b.rounds*500/n, 5),
		variant{argv: []string{b.replace, bare, fmt.Sprint(n), fmt.Sprint(inFolder), fmt.Sprint(size / int64(n))}},
		variant{argv: []string{b.envrun, "env", "rotate-key", "dev"}, dir: keep},
		variant{argv: []string{b.envrun, "member", "rm", "bob@desktop", "-e", "dev", "--yes=dev"}, dir: less,
			before: func() error {
				// As the first who leaves: no list of what others could read is there.
				if err := os.RemoveAll(filepath.Join(filepath.Dir(secretsOf(less)), "exposed")); err != nil {
					return err
				}
				_, err := b.output(less, nil, b.envrun, "member", "add", "bob@desktop", recipient, "-e", "dev")
				return err
			}})
}

// sizeOf is how many files there are in a folder and those in it, and their bytes.
func sizeOf(dir string) (files int, size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		files, size = files+1, size+info.Size()
		return nil
	})
	return files, size, err
}

// gitIn runs git in a project.
func (b *bench) gitIn(dir, stdin string, args ...string) (string, error) {
	cmd := exec.Command(b.git, append([]string{"-c", "gc.auto=0", "-c", "user.name=bench", "-c", "user.email=bench@example.com"}, args...)...)
	cmd.Dir, cmd.Env, cmd.Stdin = dir, append(slices.Clip(b.env), "GIT_CONFIG_NOSYSTEM=1"), strings.NewReader(stdin)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, bytes.TrimSpace(said.Bytes()))
	}
	return string(out), nil
}

// commit commits all of a project, whose repository it makes the first time.
func (b *bench) commit(dir, message string) error {
	if _, err := os.Stat(filepath.Join(dir, ".git")); err != nil {
		if _, err := b.gitIn(dir, "", "init", "--quiet"); err != nil {
			return err
		}
	}
	if _, err := b.gitIn(dir, "", "add", "--all"); err != nil {
		return err
	}
	_, err := b.gitIn(dir, "", "commit", "--quiet", "--message", message)
	return err
}

// pack has git do what it does by itself from time to time.
func (b *bench) pack(dir string) error {
	_, err := b.gitIn(dir, "", "gc", "--quiet")
	return err
}

// growth is what a commit adds to the objects of a repository in which one
// secret among 1,000 was changed: as git packs them, and as they lie there
// until then. Commits are made before too: the first time that a folder
// changes, git comes to keep its former listing as what is new to the next.
func (b *bench) growth() ([]line, error) {
	const commits = 20
	const what = "growth of .git by one changed secret of 1,000"
	p := promise{"≤", 2}
	if b.git == "" {
		return []line{{what: what, mine: "left out: there is no git here", promise: p.String()}}, nil
	}
	dir, err := b.project(project{name: "growth", secrets: 1000})
	if err != nil {
		return nil, err
	}
	changes := func(name string) error {
		for n := range commits {
			value := fmt.Sprintf("team-05/service-50/S0550_01=%x", sha256.Sum256(fmt.Append(nil, name, n)))[:80]
			if _, err := b.output(dir, nil, b.envrun, "set", value); err != nil {
				return err
			}
			if err := b.commit(dir, name); err != nil {
				return err
			}
		}
		return nil
	}
	objects := filepath.Join(dir, ".git", "objects")
	var kinds string
	var sizes [3]float64 // packed, with loose objects, packed again
	for i, step := range []func() error{
		func() error {
			return errors.Join(b.commit(dir, "a vault"), changes("before"), b.pack(dir))
		},
		func() error { return changes("counted") },
		func() error { return b.pack(dir) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
		_, size, err := sizeOf(objects)
		if err != nil {
			return nil, err
		}
		sizes[i] = float64(size)
		if i == 1 {
			if kinds, err = b.objects(dir, commits); err != nil {
				return nil, err
			}
		}
	}
	info, err := os.Stat(filepath.Join(secretsOf(dir), "team-05", "service-50.sec"))
	if err != nil {
		return nil, err
	}
	record := float64(info.Size())
	grown := func(what string, to float64, of string) line {
		size := (to - sizes[0]) / commits
		return line{
			what: what, mine: fmt.Sprintf("%.0f B%s", size, of), against: fmt.Sprintf("%.0f B, the record", record),
			ratio: times(size / record), promise: p.String(), met: p.met(size/record, size/record),
		}
	}
	return []line{grown(what, sizes[2], " packed"), grown("… before git packs it", sizes[1], ": "+kinds)}, nil
}

// objects are the sizes of the loose objects of a commit, on average of the
// last ones, by what they are.
func (b *bench) objects(dir string, commits int) (string, error) {
	ids, err := b.gitIn(dir, "", "rev-list", "--objects", "--no-object-names", fmt.Sprintf("HEAD~%d..HEAD", commits))
	if err != nil {
		return "", err
	}
	out, err := b.gitIn(dir, ids, "cat-file", "--batch-check=%(objecttype) %(objectsize:disk)")
	if err != nil {
		return "", err
	}
	sum := map[string]int{}
	for l := range strings.Lines(out) {
		var kind string
		var size int
		if _, err := fmt.Sscan(l, &kind, &size); err != nil {
			return "", fmt.Errorf("git says %q", l)
		}
		sum[kind] += size
	}
	return fmt.Sprintf("record %d, folders %d, commit %d", sum["blob"]/commits, sum["tree"]/commits, sum["commit"]/commits), nil
}
