//go:build unix

package filevault

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// A reading is the folders that a view has open, each in the one before it, from
// the vault's own on. It works with descriptors: each name is opened in the
// folder that it is in, which can be no link, and what counts is what was
// opened. An os.Root does as much with three times the system calls, since it
// asks before it opens and shows each file to the poller.
type reading struct{ stack []openDir }

type openDir struct {
	name string
	fd   int
}

// leave closes the folder name, "" for the top, and those in it.
func (r *reading) leave(name string) {
	for n := len(r.stack); n > 0 && below(r.stack[n-1].name, name); n = len(r.stack) {
		unix.Close(r.stack[n-1].fd)
		r.stack = r.stack[:n-1]
	}
}

// start opens the vault's folder.
func (v *view) start() error {
	fd, why, err := openAt(unix.AT_FDCWD, v.d.dir, true)
	if why != "" {
		return v.d.refuse("", why)
	}
	if err != nil {
		return v.d.fail("reading", "", err)
	}
	v.reading.stack = append(v.reading.stack, openDir{"", fd})
	var st unix.Stat_t
	if err := stat(fd, &st); err != nil {
		v.reading.leave("")
		return v.d.fail("reading", "", err)
	}
	if why := foreignTo(modeOf(&st), int(st.Uid)); why != "" {
		v.reading.leave("")
		return v.d.refuse("", why)
	}
	return nil
}

// in returns the descriptor of the folder dir, "" for the top. It is the view's.
func (v *view) in(dir string) (int, error) { return v.down(&v.reading, dir) }

// down is in by way of the folders that r has open, of which there is the top.
func (v *view) down(r *reading, dir string) (int, error) {
	for {
		top := r.stack[len(r.stack)-1]
		if top.name == dir {
			return top.fd, nil
		}
		if !below(dir, top.name) {
			r.leave(top.name)
			continue
		}
		seg, _, _ := strings.Cut(strings.TrimPrefix(dir[len(top.name):], "/"), "/")
		name := path.Join(top.name, seg)
		if !isSegment(seg) {
			return -1, v.d.fail("reading", dir, errOutside)
		}
		fd, why, err := openAt(top.fd, seg, true)
		if why != "" {
			return -1, v.d.refuse(name, why)
		}
		if err != nil {
			return -1, v.d.fail("reading", name, err)
		}
		r.stack = append(r.stack, openDir{name, fd})
		v.plain[name] = true
	}
}

// An os.Root would go where these lead as long as that is inside; no name of a
// vault's file has one.
func isSegment(seg string) bool { return seg != "" && seg != "." && seg != ".." }

var errOutside = errors.New("the name may lead out of the vault")

// openFile opens a plain file that is nobody else's, and says how large it is.
func (v *view) openFile(name string) (io.ReadCloser, int64, error) {
	at, base, err := v.folderOf(&v.reading, name)
	if err != nil {
		return nil, 0, err
	}
	fd, why, err := openAt(at, base, false)
	if why != "" {
		return nil, 0, v.d.refuse(name, why)
	}
	if err != nil {
		return nil, 0, v.d.fail("reading", name, err)
	}
	f := descriptor(fd)
	var st unix.Stat_t
	if err := stat(fd, &st); err != nil {
		f.Close()
		return nil, 0, v.d.fail("reading", name, err)
	}
	mode := modeOf(&st)
	why = notPlain(mode, false)
	if why == "" {
		why = foreignTo(mode, int(st.Uid))
	}
	if why != "" {
		f.Close()
		return nil, 0, v.d.refuse(name, why)
	}
	return f, st.Size, nil
}

// newFile makes a file to write in, where there is nothing of its name.
func (v *view) newFile(name string) (*os.File, error) {
	at, base, err := v.folderOf(&v.reading, name)
	if err != nil {
		return nil, err
	}
	var fd int
	err = v.d.do(step{Op: "create", Name: name}, func() (err error) {
		fd, err = unix.Openat(at, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, filePerm)
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), v.d.file(name)), nil
}

// move renames. Both folders stay open: a write of thousands goes down to each
// once, where an os.Root does so for every name.
func (v *view) move(from, to string) error {
	if len(v.moving.stack) == 0 {
		top, _, err := openAt(v.reading.stack[0].fd, ".", true)
		if err != nil {
			return err
		}
		v.moving.stack = append(v.moving.stack, openDir{"", top})
	}
	out, old, err := v.folderOf(&v.moving, from)
	if err != nil {
		return err
	}
	in, name, err := v.folderOf(&v.reading, to)
	if err != nil {
		return err
	}
	return v.d.do(step{Op: "rename", Name: to, From: from}, func() error {
		return unix.Renameat(out, old, in, name)
	})
}

// folderOf opens the folder that name is in, and returns it with what name is called there.
func (v *view) folderOf(r *reading, name string) (at int, base string, err error) {
	base = path.Base(name)
	if !isSegment(base) {
		return -1, "", v.d.fail("reading", name, errOutside)
	}
	at, err = v.down(r, dirOf(name))
	return at, base, err
}

// openFolder opens a folder to list it, at its beginning.
func (v *view) openFolder(dir string) (*os.File, error) {
	at, err := v.in(dir)
	if err != nil {
		return nil, err
	}
	fd, _, err := openAt(at, ".", true)
	if err != nil {
		return nil, v.d.fail("reading", dir, err)
	}
	return os.NewFile(uintptr(fd), v.d.file(dir)), nil
}

// mode says what is at name, links not followed.
func (v *view) mode(name string) (fs.FileMode, error) {
	at, err := v.in(dirOf(name))
	if err != nil {
		return 0, err
	}
	base := path.Base(name)
	if name != "" && !isSegment(base) {
		return 0, v.d.fail("reading", name, errOutside)
	}
	var st unix.Stat_t
	if err := lstatAt(at, base, &st); err != nil {
		return 0, v.d.fail("reading", name, err)
	}
	return modeOf(&st), nil
}

// openAt opens name, which is in the folder at, for reading. It follows no link
// at the end of name and waits for nobody at the other end of a pipe. With dir
// it opens folders only; without, the caller looks at what it has got. why says
// what cannot be opened because it is no plain thing.
func openAt(at int, name string, dir bool) (fd int, why string, err error) {
	flags := unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	if dir {
		flags |= unix.O_DIRECTORY
	} else {
		flags |= unix.O_NONBLOCK | unix.O_NOCTTY
	}
	for {
		fd, err = unix.Openat(at, name, flags, 0)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err == nil {
		return fd, "", nil
	}
	// Systems differ in what they call a link here, and a socket.
	var st unix.Stat_t
	if lstatAt(at, name, &st) == nil {
		why = notPlain(modeOf(&st), dir)
	}
	return -1, why, err
}

func stat(fd int, st *unix.Stat_t) error {
	for {
		if err := unix.Fstat(fd, st); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func lstatAt(at int, name string, st *unix.Stat_t) error {
	for {
		if err := unix.Fstatat(at, name, st, unix.AT_SYMLINK_NOFOLLOW); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// modeOf is the part of a mode that anybody here asks for.
func modeOf(st *unix.Stat_t) fs.FileMode {
	bits := uint32(st.Mode) // 16 bits on some systems
	mode := fs.FileMode(bits & 0o777)
	switch bits & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	default:
		mode |= fs.ModeIrregular
	}
	if bits&unix.S_ISVTX != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}

// A descriptor is an open file. Package os would show it to the poller first.
type descriptor int

func (d descriptor) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for {
		// The largest that every system reads at once.
		n, err := unix.Read(int(d), b[:min(len(b), 1<<30)])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

func (d descriptor) Close() error { return unix.Close(int(d)) }
