package filevault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"envrun/vault"
)

// How files and folders of a vault are made. The umask takes away from it; git
// keeps no more than the executable bit, and all of it is ciphertext.
const (
	filePerm = 0o644
	dirPerm  = 0o755
)

// tempPrefix begins the name of every file and folder that is not in its place
// yet. All of them stand in the vault's top folder, so that sweeping what a
// dead writer left is one look at a handful of names, whatever the vault holds.
const tempPrefix = ".tmp-"

// A disk is the folder of a vault and the only code that touches it. Names are
// relative to it, with slashes. Nothing outside of the folder can be reached,
// and nothing in it that is not a plain file or folder is followed or read.
type disk struct {
	dir   string // as an absolute path
	shown string // what messages call it

	// step, if set, is called before each step, and an error from it is the
	// step's. Tests record them there, fail them, and end the process.
	step func(step) error
}

// A step is one operation that changes the vault or makes a change last. The
// lock file is no part of a vault: what is written in it is not a step.
type step struct {
	Op   string // "create", "write", "sync", "mkdir", "syncdir", "rename", "remove", "syncfs", "lock"
	Dir  string // of the vault
	Name string // in it; of a rename, the new one
	From string // of a rename, the old one
	Data []byte // of a write
}

// do does a step, and again what a signal interrupts: on network file systems
// that can be any. So what is done must do no harm when it is done twice.
func (d *disk) do(s step, f func() error) error {
	s.Dir = d.dir
	for {
		var err error
		if d.step != nil {
			err = d.step(s)
		}
		if err == nil {
			err = f()
		}
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func newDisk(dir, place string) (*disk, error) {
	if dir == "" {
		return nil, &vault.Error{Kind: vault.KindInvalid, Op: "opening vault", Detail: "the vault's folder is not named"}
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("opening vault: %w", err)
	}
	// In a project the vault is .envrun/vault, and that is how people know it;
	// but not that of another project, which has a file of the same name.
	shown := filepath.ToSlash(dir)
	parent, base := filepath.Split(abs)
	switch rel, err := filepath.Rel(place, abs); {
	case place != "" && err == nil && filepath.IsLocal(rel):
		shown = filepath.ToSlash(rel)
	case filepath.Base(parent) != ".envrun":
	case place == "" || sameFolder(filepath.Dir(filepath.Clean(parent)), place):
		shown = ".envrun/" + base
	}
	return &disk{dir: abs, shown: shown}, nil
}

func sameFolder(a, b string) bool {
	ai, aerr := os.Stat(a)
	bi, berr := os.Stat(b)
	return aerr == nil && berr == nil && os.SameFile(ai, bi)
}

// file is what messages call a name.
func (d *disk) file(name string) string {
	if name == "" || name == "." {
		return d.shown
	}
	return d.shown + "/" + name
}

// fail makes err, which happened to name while op was done, one of ours.
func (d *disk) fail(op, name string, err error) error {
	if err == nil {
		return nil
	}
	var ve *vault.Error
	if errors.As(err, &ve) {
		if ve.File == "" {
			ve.File = d.file(name)
		}
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	e := &vault.Error{Kind: systemKind(err), Op: op, File: d.file(name), Err: bare(err)}
	if e.Kind == vault.KindReadOnly && op == "reading" {
		e.Kind = vault.KindDenied
	}
	return e
}

// systemKind is the kind of what an operating system reports.
func systemKind(err error) vault.Kind {
	if kind, ok := platformKind(err); ok {
		return kind
	}
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return vault.KindFull
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return vault.KindReadOnly
	case errors.Is(err, fs.ErrNotExist):
		return vault.KindNotFound
	}
	return vault.KindOther
}

// bare leaves out the operation and path that package os puts before the cause:
// both are said in our words already.
func bare(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	var le *os.LinkError
	if errors.As(err, &le) {
		return le.Err
	}
	var se *os.SyscallError
	if errors.As(err, &se) {
		return se.Err
	}
	return err
}

// refuse says that the thing at name is not what may stand there.
func (d *disk) refuse(name, why string) error {
	return &vault.Error{Kind: vault.KindInsecure, Op: "reading", File: d.file(name), Detail: why}
}

// open opens the vault's folder, which must be a folder itself and nobody
// else's, to write in it.
func (d *disk) open() (*os.Root, error) {
	fi, err := os.Lstat(d.dir)
	if err != nil {
		return nil, d.fail("reading", "", err)
	}
	if why := notPlain(fi.Mode(), true); why != "" {
		return nil, d.refuse("", why)
	}
	if why := foreign(fi); why != "" {
		return nil, d.refuse("", why)
	}
	root, err := os.OpenRoot(d.dir)
	if err != nil {
		return nil, d.fail("reading", "", err)
	}
	return root, nil
}

// notPlain says why a thing is neither a plain file nor, with dir, a folder; "" if it is.
func notPlain(mode fs.FileMode, dir bool) string {
	switch {
	case dir && mode.IsDir(), !dir && mode.IsRegular():
		return ""
	case mode&fs.ModeSymlink != 0:
		return "is a symbolic link, which is not followed"
	case mode.IsDir():
		return "is a folder where a file should be"
	case mode.IsRegular():
		return "is a file where a folder should be"
	}
	return "is not a plain file"
}

// A view reads the vault at one moment: it opens folder after folder from the
// top, looks at each before it goes in, and keeps those it is in open, so that
// reading neighbours costs no second way down. It is for one goroutine and one
// operation: a checkout may replace every folder between two operations.
//
// How it reads, makes files and moves them is each system's own (reading); for
// the rest it has an os.Root.
type view struct {
	d       *disk
	reading reading
	moving  reading // to the folder that a rename takes from, while reading is in the one that it puts into
	stack   []place // the folders open as an os.Root; none before the first need

	// plain are the folders that were found to be there and plain, so that a
	// write of thousands asks once about each.
	plain map[string]bool

	progress func() // called for each file that a journal has staged, and again when it is in its place; may be nil
}

func (v *view) advance() {
	if v.progress != nil {
		v.progress()
	}
}

type place struct {
	name string
	root *os.Root
}

// view opens the vault's folder, which must be a folder itself and nobody else's.
func (d *disk) view() (*view, error) {
	v := &view{d: d, plain: map[string]bool{"": true}}
	if err := v.start(); err != nil {
		return nil, err
	}
	return v, nil
}

func (v *view) Close() {
	v.reading.leave("")
	v.moving.leave("")
	for _, p := range v.stack {
		p.root.Close()
	}
	v.stack = nil
}

// top returns the vault's folder, opened to write in.
func (v *view) top() (*os.Root, error) {
	if len(v.stack) == 0 {
		root, err := v.d.open()
		if err != nil {
			return nil, err
		}
		v.stack = append(v.stack, place{"", root})
	}
	return v.stack[0].root, nil
}

// enter returns the folder dir, "" for the top, opened to write in.
func (v *view) enter(dir string) (*os.Root, error) {
	if _, err := v.top(); err != nil {
		return nil, err
	}
	for {
		top := v.stack[len(v.stack)-1]
		if top.name == dir {
			return top.root, nil
		}
		rest := dir
		if top.name != "" {
			var below bool
			if rest, below = strings.CutPrefix(dir, top.name+"/"); !below {
				top.root.Close()
				v.stack = v.stack[:len(v.stack)-1]
				continue
			}
		}
		seg, _, _ := strings.Cut(rest, "/")
		name := path.Join(top.name, seg)
		fi, err := top.root.Lstat(seg)
		if err != nil {
			return nil, v.d.fail("reading", name, err)
		}
		if why := notPlain(fi.Mode(), true); why != "" {
			return nil, v.d.refuse(name, why)
		}
		sub, err := top.root.OpenRoot(seg)
		if err != nil {
			return nil, v.d.fail("reading", name, err)
		}
		v.stack = append(v.stack, place{name, sub})
		v.plain[name] = true
	}
}

// read returns the whole of a plain file of at most max bytes that only its
// owner and group can write. KindNotFound if there is none.
func (v *view) read(name string, max int64) ([]byte, error) {
	f, size, err := v.openFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := readWhole(f, size, max)
	return raw, v.d.fail("reading", name, err)
}

// begin returns what such a file begins with, at most n bytes.
func (v *view) begin(name string, n int64) ([]byte, error) {
	f, _, err := v.openFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, n))
	return raw, v.d.fail("reading", name, err)
}

// readPlain reads f whole, if it is a plain file that only its owner and group
// can write. why says what is wrong with the file itself.
func readPlain(f *os.File, max int64) (raw []byte, why string, err error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, "", err
	}
	if why := notPlain(fi.Mode(), false); why != "" {
		return nil, why, nil
	}
	if why := foreign(fi); why != "" {
		return nil, why, nil
	}
	raw, err = readWhole(f, fi.Size(), max)
	return raw, "", err
}

// readWhole reads a file that had size bytes when it was opened.
func readWhole(f io.Reader, size, max int64) ([]byte, error) {
	tooLarge := func() error {
		return &vault.Error{Kind: vault.KindMalformed, Op: "reading", Detail: fmt.Sprintf("is larger than the %d bytes that it may have", max)}
	}
	if size > max {
		return nil, tooLarge()
	}
	buf := make([]byte, size+1)
	n, err := io.ReadFull(f, buf)
	switch {
	case err == nil: // it has grown since
		return nil, tooLarge()
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return buf[:n], nil
	}
	return nil, err
}

// entries are the names in a folder with their types, unsorted. A folder that
// is not there, or is removed meanwhile, has none.
func (v *view) entries(dir string) ([]fs.DirEntry, error) {
	return listFolder(v, dir, func(f *os.File) ([]fs.DirEntry, error) { return f.ReadDir(-1) })
}

// names is entries without the types, which cost a system call each on some systems.
func (v *view) names(dir string) ([]string, error) {
	return listFolder(v, dir, func(f *os.File) ([]string, error) { return f.Readdirnames(-1) })
}

func listFolder[T any](v *view, dir string, list func(*os.File) ([]T, error)) ([]T, error) {
	all, err := func() ([]T, error) {
		f, err := v.openFolder(dir)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		all, err := list(f)
		return all, v.d.fail("reading", dir, err)
	}()
	if vault.KindOf(err) == vault.KindNotFound {
		return nil, nil
	}
	return all, err
}

// is reports whether there is a plain folder (dir) or file at name; it refuses
// what is neither.
func (v *view) is(name string, dir bool) (bool, error) {
	mode, err := v.mode(name)
	if vault.KindOf(err) == vault.KindNotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if why := notPlain(mode, dir); why != "" {
		return false, v.d.refuse(name, why)
	}
	return true, nil
}

// exists reports whether anything at all is at name.
func (v *view) exists(name string) (bool, error) {
	_, err := v.mode(name)
	if vault.KindOf(err) == vault.KindNotFound {
		return false, nil
	}
	return err == nil, err
}

// What follows changes the disk. The caller holds the lock.

// create makes a new file with all of data in it, which lasts once it is synced
// or sync is set. Nothing is left of a file that could not be written whole.
func (v *view) create(name string, data []byte, sync bool) error {
	f, err := v.newFile(name)
	if err != nil {
		return v.d.fail("writing", name, err)
	}
	err = v.d.do(step{Op: "write", Name: name, Data: data}, func() error {
		_, err := f.WriteAt(data, 0)
		return err
	})
	if err == nil && sync {
		err = v.d.do(step{Op: "sync", Name: name}, f.Sync)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil { // the first one is the one to report
		if root, err := v.enter(dirOf(name)); err == nil {
			_ = root.Remove(path.Base(name))
		}
	}
	return v.d.fail("writing", name, err)
}

// mkdirs makes the folder and those above it that are missing, and returns the
// ones that were there or made and have got a new entry.
func (v *view) mkdirs(dir string) (changed []string, err error) {
	if v.plain[dir] {
		return nil, nil
	}
	for i := 0; i <= len(dir); i++ {
		if i < len(dir) && dir[i] != '/' {
			continue
		}
		name := dir[:i]
		if v.plain[name] {
			continue
		}
		_, err := v.enter(name)
		if err == nil {
			continue
		}
		if vault.KindOf(err) != vault.KindNotFound {
			return changed, err
		}
		parent, base := dirOf(name), path.Base(name)
		root, err := v.enter(parent)
		if err != nil {
			return changed, err
		}
		err = v.d.do(step{Op: "mkdir", Name: name}, func() error { return root.Mkdir(base, dirPerm) })
		if err != nil {
			return changed, v.d.fail("writing", name, err)
		}
		changed = append(changed, parent)
	}
	return changed, nil
}

// writable says whether names in a folder can be changed, before the point
// from which there is no way back.
func (v *view) writable(dir string) error {
	root, err := v.enter(dir)
	if err != nil {
		return err
	}
	f, err := root.Open(".")
	if err != nil {
		return v.d.fail("writing", dir, err)
	}
	defer f.Close()
	return v.d.fail("writing", dir, mayWrite(f))
}

// movable says whether what is at name can be taken elsewhere and removed: a
// folder must be writable for the first and all those in it for the second.
func (v *view) movable(name string) error {
	mode, err := v.mode(name)
	if vault.KindOf(err) == vault.KindNotFound {
		return nil
	}
	if err != nil || !mode.IsDir() {
		return err
	}
	if err := v.writable(name); err != nil {
		return err
	}
	list, err := v.entries(name)
	if err != nil {
		return err
	}
	for _, e := range list {
		if e.IsDir() {
			if err := v.movable(name + "/" + e.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// rename moves a file or folder into its place, over a file that is there. It
// is KindNotFound if there is nothing at from.
func (v *view) rename(from, to string) error {
	return v.d.fail("writing", to, v.move(from, to))
}

// moved forgets what was known of the folders below name, which are elsewhere now.
func (v *view) moved(name string) {
	v.reading.leave(name)
	v.moving.leave(name)
	for len(v.stack) > 1 && below(v.stack[len(v.stack)-1].name, name) {
		v.stack[len(v.stack)-1].root.Close()
		v.stack = v.stack[:len(v.stack)-1]
	}
	for dir := range v.plain {
		if below(dir, name) {
			delete(v.plain, dir)
		}
	}
}

// below reports whether dir is name or in it; everything is in "".
func below(dir, name string) bool {
	return name == "" || dir == name || strings.HasPrefix(dir, name+"/")
}

// remove removes a file or an empty folder.
func (v *view) remove(name string) error {
	dir, base := path.Split(name)
	root, err := v.enter(strings.TrimSuffix(dir, "/"))
	if err != nil {
		return err
	}
	err = v.d.do(step{Op: "remove", Name: name}, func() error {
		return patiently(func() error { return root.Remove(base) })
	})
	return v.d.fail("removing", name, err)
}

// removeAll removes a file or folder with all that is in it.
func (v *view) removeAll(name string) error {
	v.moved(name)
	root, err := v.enter(dirOf(name))
	if err != nil {
		return err
	}
	err = v.d.do(step{Op: "remove", Name: name}, func() error {
		return patiently(func() error { return root.RemoveAll(path.Base(name)) })
	})
	return v.d.fail("removing", name, err)
}

// manyFiles is from how many files on the whole file system is synced instead
// of each file, where there is such a call. Measured on ext4: 350 ms against 30
// for a thousand. For few, each for itself: what others have written to the
// file system is not waited for.
const manyFiles = 128

// syncAll makes files that were created without sync last. Where it has to sync
// each by itself, the drive's own cache is emptied once, with the last.
func (v *view) syncAll(names []string) error {
	if len(names) >= manyFiles {
		if done, err := v.syncFileSystem(); done || err != nil {
			return err
		}
	}
	for i, name := range names {
		dir, base := path.Split(name)
		root, err := v.enter(strings.TrimSuffix(dir, "/"))
		if err != nil {
			return err
		}
		f, err := root.OpenFile(base, os.O_RDWR, 0)
		if err != nil {
			return v.d.fail("writing", name, err)
		}
		err = v.d.do(step{Op: "sync", Name: name}, func() error {
			if i == len(names)-1 {
				return f.Sync()
			}
			return syncOne(f)
		})
		f.Close()
		if err != nil {
			return v.d.fail("writing", name, err)
		}
	}
	return nil
}

// syncFileSystem makes everything last, and reports whether there is such a call.
func (v *view) syncFileSystem() (done bool, err error) {
	top, err := v.enter("")
	if err != nil {
		return false, err
	}
	f, err := top.Open(".")
	if err != nil {
		return false, v.d.fail("writing", "", err)
	}
	defer f.Close()
	err = v.d.do(step{Op: "syncfs"}, func() (err error) {
		done, err = syncFileSystem(f)
		return err
	})
	return done, v.d.fail("writing", "", err)
}

// syncFolders makes all names last.
func (v *view) syncFolders() error {
	dirs := map[string]bool{"": true}
	var walk func(dir string) error
	walk = func(dir string) error {
		list, err := v.entries(dir)
		if err != nil {
			return err
		}
		dirs[dir] = true
		for _, e := range list {
			if e.IsDir() {
				if err := walk(dir + "/" + e.Name()); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, dir := range []string{envsDir, requestsDir, txnDir} {
		if err := walk(dir); err != nil {
			return err
		}
	}
	if len(dirs) >= manyFiles {
		if done, err := v.syncFileSystem(); done || err != nil {
			return err
		}
	}
	return v.syncDirs(dirs)
}

// syncDirs makes new names in folders, and names that are gone, last.
func (v *view) syncDirs(dirs map[string]bool) error {
	for dir := range dirs {
		root, err := v.enter(dir)
		if vault.KindOf(err) == vault.KindNotFound {
			continue
		}
		if err != nil {
			return err
		}
		f, err := root.Open(".")
		if err != nil {
			return v.d.fail("writing", dir, err)
		}
		err = v.d.do(step{Op: "syncdir", Name: dir}, func() error { return syncDir(f) })
		f.Close()
		if err != nil {
			return v.d.fail("writing", dir, err)
		}
	}
	return nil
}
