//go:build !windows

package private

import (
	"io/fs"
	"os"
	"syscall"
)

// checkInfo refuses what others can get at.
func checkInfo(file string, fi fs.FileInfo, want fs.FileMode) error {
	user := os.Geteuid()
	owner := user
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		owner = int(st.Uid)
	}
	if owner != user || fi.Mode().Perm()&^want != 0 {
		return &InsecureError{File: file, Mode: fi.Mode(), Want: want, Owner: owner, User: user}
	}
	return nil
}

func rename(from, to string) error { return os.Rename(from, to) }

// syncDir makes a change of names in a folder survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
