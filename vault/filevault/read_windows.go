package filevault

import (
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// A view reads through the same os.Root that it writes through.
type reading struct{}

func (*reading) leave(string) {}

func (v *view) start() error {
	_, err := v.top()
	return err
}

// openFile opens a plain file and says how large it is.
func (v *view) openFile(name string) (io.ReadCloser, int64, error) {
	dir, base := path.Split(name)
	root, err := v.enter(strings.TrimSuffix(dir, "/"))
	if err != nil {
		return nil, 0, err
	}
	// Looked at before it is opened: opening a pipe would wait for a writer.
	fi, err := root.Lstat(base)
	if err != nil {
		return nil, 0, v.d.fail("reading", name, err)
	}
	if why := notPlain(fi.Mode(), false); why != "" {
		return nil, 0, v.d.refuse(name, why)
	}
	f, err := root.Open(base)
	if err != nil {
		return nil, 0, v.d.fail("reading", name, err)
	}
	// It may have been replaced in between: what was opened counts.
	if fi, err = f.Stat(); err != nil {
		f.Close()
		return nil, 0, v.d.fail("reading", name, err)
	}
	if why := notPlain(fi.Mode(), false); why != "" {
		f.Close()
		return nil, 0, v.d.refuse(name, why)
	}
	return f, fi.Size(), nil
}

// newFile makes a file to write in, where there is nothing of its name.
func (v *view) newFile(name string) (f *os.File, err error) {
	root, err := v.enter(dirOf(name))
	if err != nil {
		return nil, err
	}
	err = v.d.do(step{Op: "create", Name: name}, func() (err error) {
		f, err = root.OpenFile(path.Base(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, filePerm)
		return err
	})
	return f, err
}

// move renames. Both ways down are looked at first, for links; the names are
// then resolved from the top, which cannot leave the vault.
func (v *view) move(from, to string) error {
	for _, name := range []string{from, to} {
		if dir := dirOf(name); !v.plain[dir] {
			if _, err := v.enter(dir); err != nil {
				return err
			}
		}
	}
	top, err := v.top()
	if err != nil {
		return err
	}
	return v.d.do(step{Op: "rename", Name: to, From: from}, func() error {
		return patiently(func() error { return top.Rename(from, to) })
	})
}

// openFolder opens a folder to list it.
func (v *view) openFolder(dir string) (*os.File, error) {
	root, err := v.enter(dir)
	if err != nil {
		return nil, err
	}
	f, err := root.Open(".")
	return f, v.d.fail("reading", dir, err)
}

// mode says what is at name, links not followed.
func (v *view) mode(name string) (fs.FileMode, error) {
	root, err := v.enter(dirOf(name))
	if err != nil {
		return 0, err
	}
	fi, err := root.Lstat(path.Base(name))
	if err != nil {
		return 0, v.d.fail("reading", name, err)
	}
	return fi.Mode(), nil
}
