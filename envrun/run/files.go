package run

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"envrun/envrun/environ"
)

// folderPrefix begins the name of every folder that files are delivered in.
const folderPrefix = "envrun-"

// A folder holds the files of one run: a directory of ours alone, in memory where
// the system has such a place, with a lock that the system lets go when this
// process ends, however it ends. A folder whose lock can be taken is left over from
// a run that was killed, and the next run removes it. A lock says that better than
// the process's number and start time would: it cannot be mistaken for another
// process, and it holds across the PID namespaces that share a /dev/shm.
//
// Who can write to the folder can hurt the program; that is this user only.
type folder struct {
	dir  string
	lock *os.File
}

// deliverFiles writes the files of c and sets their variables. The error is an
// *Error, and then nothing is left behind.
func deliverFiles(p *Plan, c Command) (*folder, error) {
	if len(c.Files) == 0 || c.MemFD {
		return nil, nil
	}
	fail := func(err error) (*folder, error) {
		return nil, &Error{Code: CodeFailed, Reason: ReasonFiles, Program: p.program, Detail: "delivering files", Err: err}
	}
	base, err := runtimeDir(c)
	if err != nil {
		return fail(err)
	}
	sweep(base)
	f, err := newFolder(base)
	if err != nil {
		return fail(err)
	}
	paths := make([]string, len(c.Files))
	for i, file := range c.Files {
		paths[i] = filepath.Join(f.dir, file.name())
		if err := writeFile(paths[i], file.Value.Reveal()); err != nil {
			return fail(errors.Join(err, f.remove()))
		}
	}
	if err := p.setPaths(c, paths); err != nil {
		_ = f.remove()
		return nil, err
	}
	return f, nil
}

// setPaths puts the paths of the files into the environment.
func (p *Plan) setPaths(c Command, paths []string) error {
	env := environ.FromList(nil, "")
	if c.Env != nil {
		env = c.Env.Clone()
	}
	for i, file := range c.Files {
		if err := env.Set(file.Var, paths[i]); err != nil {
			return &Error{Code: CodeFailed, Reason: ReasonFiles, Program: p.program, Err: err}
		}
	}
	p.env = env.List()
	return p.checkSize()
}

// newFolder makes a folder and locks it. Another run may sweep it in the moment
// between the two; then it makes another one.
func newFolder(base string) (*folder, error) {
	var err error
	for range 10 {
		var random [8]byte
		_, _ = rand.Read(random[:])
		dir := filepath.Join(base, folderPrefix+hex.EncodeToString(random[:]))
		var lock *os.File
		if err = makeDir(dir); err == nil {
			lock, err = lockDir(dir)
		}
		if err == nil {
			return &folder{dir, lock}, nil
		}
		_ = os.RemoveAll(dir)
		if !errors.Is(err, errTaken) && !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return nil, err
}

// remove removes the folder and what is in it.
func (f *folder) remove() error {
	if f == nil {
		return nil
	}
	err := removeLocked(f.dir, f.lock)
	if err != nil {
		err = fmt.Errorf("removing the files of this run: %w", err)
	}
	return err
}

// sweep removes the folders of runs that were killed. It is not an error when
// it cannot: a folder of another user, or one in use, is not its business.
func sweep(base string) {
	entries, _ := os.ReadDir(base)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), folderPrefix) || !e.IsDir() {
			continue
		}
		dir := filepath.Join(base, e.Name())
		if lock, err := lockDir(dir); err == nil {
			_ = removeLocked(dir, lock)
		}
	}
}

// errTaken says that another process holds the lock of a folder, or has removed the
// folder.
var errTaken = errors.New("the folder is in use by another process")

// writeFile writes a file that must not be there yet.
func writeFile(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	// The umask may have taken bits that the owner needs.
	return errors.Join(err, f.Chmod(0o600), f.Close())
}
