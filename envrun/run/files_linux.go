package run

import (
	"fmt"
	"io/fs"
	"strconv"

	"golang.org/x/sys/unix"
)

// systemDir is /dev/shm, if it is what it is everywhere: in memory, and either
// ours or, like /tmp, for everybody with each one's files kept from the others.
func systemDir() (string, error) {
	const dir = "/dev/shm"
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return "", &fs.PathError{Op: "stat", Path: dir, Err: err}
	}
	if st.Uid != 0 || st.Mode&unix.S_ISVTX == 0 {
		if err := ownDir(dir); err != nil {
			return "", err
		}
	}
	return dir, inMemory(dir)
}

// inMemory says whether what is written to dir stays off the disks, but for swap.
func inMemory(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	if st.Type != unix.TMPFS_MAGIC && st.Type != unix.RAMFS_MAGIC {
		return fmt.Errorf("%s is not kept in memory", dir)
	}
	return nil
}

// firstMemFD is the lowest number that a file in memory gets: shell scripts use the
// descriptors below 10 for themselves.
const firstMemFD = 100

// deliverInMemory makes a sealed file for each file of c, open in this process
// and in the program, and sets their variables (runner F3).
func deliverInMemory(p *Plan, c Command) error {
	if len(c.Files) == 0 || !c.MemFD {
		return nil
	}
	paths := make([]string, len(c.Files))
	for i, file := range c.Files {
		fd, err := sealedFile(file.name(), file.Value.Reveal())
		if err != nil {
			return &Error{Code: CodeFailed, Reason: ReasonFiles, Program: p.program, Detail: "making a file in memory", Err: err}
		}
		paths[i] = "/proc/self/fd/" + strconv.Itoa(fd)
	}
	return p.setPaths(c, paths)
}

// sealedFile returns a descriptor, inherited by programs, of a file that
// nobody can change any more.
func sealedFile(name string, b []byte) (int, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL { // before Linux 6.3
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return -1, err
	}
	defer unix.Close(fd)
	for off := 0; off < len(b); {
		n, err := unix.Pwrite(fd, b[off:], int64(off)) // leaves the position at the start
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return -1, err
		}
		off += n
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return -1, err
	}
	open, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD, firstMemFD)
	if err == unix.EINVAL { // the limit of open files is lower than that
		open, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD, 10)
	}
	return open, err
}
