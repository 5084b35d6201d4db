package project

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"envrun/vault"
)

// FileNames are the names a project file is found by, the first there is wins.
func FileNames() []string { return []string{"envrun.toml", ".envrun.toml"} }

// maxLayers is how many files may extend one another.
const maxLayers = 8

// FindOptions says where a project file is looked for.
type FindOptions struct {
	Dir    string // where the search begins; empty: the working directory
	Config string // a file named by hand, taken from Dir: there is no search
	Home   string // the last directory to look in; empty: unknown
}

// Find finds the project file and loads it (K1). With Config it loads that
// one. No file is a *NoProjectError; one that may not be trusted is an *Error
// of KindInsecure, and the search does not go on above it.
func Find(o FindOptions) (*Project, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("looking for the project file: %w", err)
	}
	if o.Config != "" {
		file := o.Config
		if !filepath.IsAbs(file) {
			file = filepath.Join(dir, file)
		}
		return Load(file)
	}
	home := ""
	if o.Home != "" {
		home = filepath.Clean(o.Home)
	}
	for at := dir; ; {
		for _, name := range FileNames() {
			file := filepath.Join(at, name)
			if _, err := os.Lstat(file); err == nil {
				return load(file, found)
			} else if !missing(err) {
				return nil, fmt.Errorf("looking for the project file: %w", err)
			}
		}
		up := filepath.Dir(at)
		if at == home || up == at || isRepoRoot(at) {
			return nil, &NoProjectError{Dir: dir, Last: at}
		}
		at = up
	}
}

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) || notDir(err) }

// isRepoRoot reports whether a git work tree begins here: .git is a directory,
// or a file in a linked work tree and in a submodule.
func isRepoRoot(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, ".git"))
	return err == nil
}

// Load loads a project file that was named by hand, with what it extends and
// its local file.
func Load(file string) (*Project, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, fmt.Errorf("loading the project file: %w", err)
	}
	return load(abs, named)
}

// how a file was come by: a file that was found must belong to the user.
type trust bool

const (
	found trust = false
	named trust = true
)

func load(file string, t trust) (*Project, error) {
	file, text, err := read(file, t)
	if err != nil {
		return nil, err
	}
	top, err := parseLayer(file, text)
	if err != nil {
		return nil, err
	}
	layers, err := withBases(top, t)
	if err != nil {
		return nil, err
	}
	local, err := loadLocal(file, t)
	if err != nil {
		return nil, err
	}
	if local != nil {
		layers = append(layers, local)
	}
	return assemble(file, layers, local)
}

func assemble(file string, layers []*layer, local *layer) (*Project, error) {
	p, err := merge(layers, local)
	if err != nil {
		return nil, err
	}
	p.File, p.Dir = file, filepath.Dir(file)
	if err := p.check(); err != nil {
		return nil, err
	}
	return p, nil
}

// Parse reads one project file's text by itself: no local file, and a text
// that extends another is refused, since half of it would be missing. file is
// what errors name and what relative paths are taken from; nothing is opened.
func Parse(file string, text []byte) (*Project, error) {
	l, err := parseLayer(file, text)
	if err != nil {
		return nil, err
	}
	if l.extends != "" {
		return nil, &Error{Kind: vault.KindUnsupported, Pos: l.extendPos, Key: "extends", Detail: "extends another file and cannot be read by itself"}
	}
	return assemble(file, []*layer{l}, nil)
}

// withBases returns a layer and all it extends, the lowest first (K1).
func withBases(top *layer, t trust) ([]*layer, error) {
	layers := []*layer{top}
	for l := top; l.extends != ""; {
		bad := func(detail string, cause error) error {
			return &Error{Kind: vault.KindInvalid, Pos: l.extendPos, Key: "extends", Detail: detail, Err: cause}
		}
		if len(layers) == maxLayers {
			return nil, bad(fmt.Sprintf("extends more than %d files, one from the other", maxLayers-1), nil)
		}
		base := filepath.FromSlash(l.extends)
		if !filepath.IsAbs(base) {
			base = filepath.Join(filepath.Dir(l.file), base)
		}
		file, text, err := read(base, t)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, bad("extends "+quote(l.extends)+", which is not there", nil)
		}
		if err != nil {
			return nil, err
		}
		for _, had := range layers {
			if had.file == file {
				return nil, bad("extends "+quote(l.extends)+", which extends this file: a loop", nil)
			}
		}
		if l, err = parseLayer(file, text); err != nil {
			return nil, err
		}
		layers = append([]*layer{l}, layers...)
	}
	return layers, nil
}

// LocalName is the name of the local file that goes with a project file:
// envrun.local.toml for envrun.toml. It is empty for a name without .toml,
// which has none.
func LocalName(file string) string {
	stem, ok := strings.CutSuffix(file, ".toml")
	if !ok {
		return ""
	}
	return stem + ".local.toml"
}

func loadLocal(file string, t trust) (*layer, error) {
	name := LocalName(file)
	if name == "" {
		return nil, nil
	}
	if _, err := os.Lstat(name); missing(err) {
		return nil, nil
	}
	name, text, err := read(name, t)
	if err != nil {
		return nil, err
	}
	l, err := parseLayer(name, text)
	if err != nil {
		return nil, err
	}
	if l.extends != "" {
		return nil, &Error{Kind: vault.KindInvalid, Pos: l.extendPos, Key: "extends", Detail: "a local file cannot extend another: it lies over the project file already"}
	}
	return l, nil
}

// read reads a file after checking who may have written it, and returns it
// with the path behind all symlinks.
func read(file string, t trust) (real string, text []byte, err error) {
	fail := func(err error) (string, []byte, error) {
		return "", nil, fmt.Errorf("reading the project file: %w", err)
	}
	link, err := os.Lstat(file)
	if err != nil {
		return fail(err)
	}
	if err := checkOwner(file, link, t); err != nil {
		return "", nil, err
	}
	if real, err = filepath.EvalSymlinks(file); err != nil {
		return fail(err)
	}
	// Asked before opening: opening a FIFO would wait for its other end.
	if info, err := os.Stat(real); err != nil {
		return fail(err)
	} else if !info.Mode().IsRegular() {
		return "", nil, &Error{Kind: vault.KindInvalid, Pos: Pos{real, 0}, Detail: "is not a regular file"}
	}
	f, err := os.Open(real)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fail(err)
	}
	if err := checkOwner(real, info, t); err != nil {
		return "", nil, err
	}
	if err := checkMode(real, info); err != nil {
		return "", nil, err
	}
	// One byte more than allowed, so that parseTree sees that it is too large.
	buf := make([]byte, min(info.Size(), MaxSize)+1)
	n, err := io.ReadFull(f, buf)
	for err == nil && n <= MaxSize { // it grew since
		buf = append(buf, make([]byte, MaxSize+1-n)...)
		var more int
		more, err = io.ReadFull(f, buf[n:])
		n += more
	}
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return fail(err)
	}
	return real, buf[:n:n], nil
}
