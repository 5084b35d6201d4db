//go:build !windows

package run

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"envrun/envrun/environ"
)

const shell = "/bin/sh"

// find sets the file to start and its arguments.
func (p *Plan) find(c Command, env *environ.Environ) error {
	if c.Shell != "" {
		p.program, p.Path = shell, shell
		p.Argv = append([]string{"sh", "-c", c.Shell, "sh"}, c.Argv...)
		if len(c.Argv) == 0 {
			p.Argv = p.Argv[:3]
		}
	} else {
		p.program, p.Argv = c.Argv[0], c.Argv
	}
	path, err := lookPath(p.program, c.Dir, env)
	if err != nil {
		return err
	}
	p.Path = path
	return nil
}

// lookPath finds the file of a program as execvp would in a process with this
// environment and directory (runner P4), but refuses one that it finds
// through an entry of PATH that is not absolute, as os/exec does: which
// program that is depends on where the user stands.
func lookPath(name, dir string, env *environ.Environ) (string, error) {
	if strings.Contains(name, "/") {
		if err := runnable(name, dir); err != nil {
			return "", lookupError(name, name, err)
		}
		return name, nil
	}
	path, ok := env.Get("PATH")
	if !ok {
		path = "/bin:/usr/bin" // as execvp does
	}
	var denied error
	var deniedFile string
	for entry := range strings.SplitSeq(path, ":") {
		file := filepath.Join(entry, name)
		if entry == "" || !filepath.IsAbs(entry) {
			file = "./" + file
		}
		switch err := runnable(file, dir); {
		case err == nil && filepath.IsAbs(file):
			return file, nil
		case err == nil:
			return "", &Error{Code: CodeNotFound, Reason: ReasonRelative, Program: name, Found: file,
				Detail: "is in a folder that PATH names without its full path, and is not looked for there; write " + file}
		case denied == nil && (err == unix.EACCES || err == unix.EISDIR):
			denied, deniedFile = err, file
		}
	}
	if denied == unix.EACCES {
		return "", lookupError(name, deniedFile, denied)
	}
	return "", lookupError(name, "", unix.ENOENT)
}

// runnable says whether we may execute a file: nil or an Errno.
func runnable(file, dir string) error {
	if dir != "" && !filepath.IsAbs(file) {
		file = filepath.Join(dir, file)
	}
	var st unix.Stat_t
	if err := unix.Stat(file, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return unix.EISDIR
	}
	err := unix.Faccessat(unix.AT_FDCWD, file, unix.X_OK, unix.AT_EACCESS)
	if err == unix.EPERM || err == unix.EROFS {
		return unix.EACCES
	}
	if err != nil && err != unix.EACCES {
		// A system without AT_EACCESS: the mode bits will do, execve knows better.
		if st.Mode&0o111 == 0 {
			return unix.EACCES
		}
		return nil
	}
	return err
}

func lookupError(name, file string, err error) *Error {
	e := &Error{Code: CodeCannotRun, Reason: ReasonNotExecutable, Program: name, Found: file}
	switch err {
	case unix.ENOENT, unix.ENOTDIR:
		e.Code, e.Reason, e.Found = CodeNotFound, ReasonNotFound, ""
		e.Detail = "command not found"
		if strings.Contains(name, "/") {
			e.Detail = "no such file"
		}
	case unix.EISDIR:
		e.Detail = "is a folder"
	case unix.EACCES:
		e.Detail = "permission denied"
		if file != name {
			e.Detail = file + ": permission denied"
		}
	default:
		e.Err = err
	}
	return e
}

// execError says what an error of execve means for the program. dir is where
// it was started.
func execError(p *Plan, dir string, errno error) *Error {
	file := p.Path
	if dir != "" && !filepath.IsAbs(file) {
		file = filepath.Join(dir, file)
	}
	e := &Error{Code: CodeCannotRun, Reason: ReasonNotExecutable, Program: p.program, Found: p.Path}
	switch errno {
	case unix.ENOENT, unix.ENOTDIR, unix.EACCES:
		if err := runnable(file, ""); err != nil {
			return lookupError(p.program, p.Path, err)
		}
		// The file is there and executable, so what it needs is not.
		e.Interpreter = interpreter(file)
		switch {
		case e.Interpreter == "" || errno == unix.EACCES && runnable(e.Interpreter, dir) == nil:
			e.Detail, e.Err = "the system refuses to execute it", errno
		case strings.HasSuffix(e.Interpreter, "\r"):
			e.Reason = ReasonInterpreter
			e.Detail = "bad interpreter " + quote(e.Interpreter) + ": its first line ends as lines do on Windows"
		default:
			e.Reason = ReasonInterpreter
			e.Detail, e.Err = "bad interpreter "+e.Interpreter, errno
		}
	case unix.ENOEXEC:
		e.Reason = ReasonFormat
		e.Detail = "not a program for this system"
	case unix.E2BIG:
		e.Code, e.Reason = CodeFailed, ReasonSize
		e.Detail = "environment and arguments are too big for this system"
	case unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.ENFILE:
		e.Code, e.Reason, e.Err = CodeFailed, ReasonSetup, errno
	default:
		e.Err = errno
	}
	return e
}

// asScript returns the arguments with which /bin/sh runs a file that execve
// took for no program, as execvp does (runner P5), unless it is no text.
func asScript(p *Plan, dir string) ([]string, bool) {
	file := p.Path
	if dir != "" && !filepath.IsAbs(file) {
		file = filepath.Join(dir, file)
	}
	head := readHead(file, 256)
	line, _, _ := bytes.Cut(head, []byte("\n"))
	if bytes.IndexByte(line, 0) >= 0 {
		return nil, false
	}
	return append([]string{shell, p.Path}, p.Argv[1:]...), true
}

// interpreter returns what a file needs to run: the program in the first line
// of a script, or the loader of an ELF program; "" if it is neither.
func interpreter(file string) string { return interpreterOf(readHead(file, 64<<10)) }

func interpreterOf(head []byte) string {
	if script, ok := bytes.CutPrefix(head, []byte("#!")); ok {
		line, _, _ := bytes.Cut(script[:min(len(script), 254)], []byte("\n"))
		line = bytes.TrimLeft(line, " \t")
		if i := bytes.IndexAny(line, " \t"); i >= 0 {
			line = line[:i]
		}
		return string(line)
	}
	return elfLoader(head)
}

// elfLoader reads the PT_INTERP of a 64-bit little-endian ELF file.
func elfLoader(head []byte) string {
	const (
		headerSize = 64
		entrySize  = 56
		ptInterp   = 3
	)
	le := binary.LittleEndian
	if len(head) < headerSize || !bytes.HasPrefix(head, []byte("\x7fELF\x02\x01")) {
		return ""
	}
	off, count := le.Uint64(head[32:]), int(le.Uint16(head[56:]))
	for range count {
		if off > uint64(len(head)-entrySize) {
			return ""
		}
		entry := head[off:]
		if le.Uint32(entry) == ptInterp {
			at, n := le.Uint64(entry[8:]), le.Uint64(entry[32:])
			if at > uint64(len(head)) || n > uint64(len(head))-at {
				return ""
			}
			return strings.TrimRight(string(head[at:at+n]), "\x00")
		}
		off += entrySize
	}
	return ""
}

// readHead reads the start of a file as far as it can. It opens with
// O_NONBLOCK, since the file could be a pipe.
func readHead(file string, n int) []byte {
	fd, err := syscall.Open(file, syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), file)
	defer f.Close()
	head := make([]byte, n)
	got, _ := io.ReadFull(f, head)
	return head[:got]
}

func quote(s string) string { return `"` + strings.ReplaceAll(s, "\r", `\r`) + `"` }
