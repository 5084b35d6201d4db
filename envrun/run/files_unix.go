//go:build !windows

package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// runtimeDir returns the directory that folders are made in: the one that c
// names if it is suitable, else the system's. What is not suitable is said, and
// never used because there is nothing better.
func runtimeDir(c Command) (string, error) {
	var reasons []error
	if c.RuntimeDir != "" {
		err := ownDir(c.RuntimeDir)
		if err == nil && !c.RuntimeDirAny {
			err = inMemory(c.RuntimeDir)
		}
		if err == nil {
			return c.RuntimeDir, nil
		}
		if c.RuntimeDirAny {
			return "", err
		}
		reasons = append(reasons, err)
	}
	dir, err := systemDir()
	if err == nil {
		return dir, nil
	}
	return "", fmt.Errorf("there is no place in memory for them: %w", errors.Join(append(reasons, err)...))
}

// ownDir says whether dir is a directory that nobody but us can write to.
func ownDir(dir string) error {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: dir, Err: err}
	}
	return ownStat(dir, &st)
}

func ownStat(dir string, st *unix.Stat_t) error {
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("%s is not a folder", dir)
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to another user", dir)
	case st.Mode&0o022 != 0:
		return fmt.Errorf("%s can be written to by other users", dir)
	}
	return nil
}

func makeDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	return os.Chmod(dir, 0o700) // whatever the umask took
}

// lockDir locks a folder of ours. errTaken if another process has it.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errTaken
	}
	if err != nil {
		return nil, err
	}
	err = lockFile(f, dir)
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func lockFile(f *os.File, dir string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if err := ownStat(dir, &st); err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if err == unix.EWOULDBLOCK {
			return errTaken
		}
		return err
	}
	// It may have been removed before we had the lock.
	now, err := os.Lstat(dir)
	if err != nil || !os.SameFile(info, now) {
		return errTaken
	}
	return nil
}

func removeLocked(dir string, lock *os.File) error {
	defer lock.Close()
	return os.RemoveAll(dir)
}
