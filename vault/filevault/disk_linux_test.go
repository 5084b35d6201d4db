package filevault_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// smallDisk mounts a file system of 1 MiB and 400 files, which takes root.
func smallDisk(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,nr_inodes=400"); err != nil {
		t.Skipf("a small file system cannot be mounted here (%v); TestErrorAtEveryStep makes the errors instead", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// readOnly mounts it so that nothing can be written, or that it can.
func readOnly(t *testing.T, dir string, only bool) {
	t.Helper()
	flags := uintptr(syscall.MS_REMOUNT)
	if only {
		flags |= syscall.MS_RDONLY
	}
	// It is busy while somebody has a file of it open to write: also a process
	// that another test is just starting, until it has become its program.
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Mount("tmpfs", dir, "tmpfs", flags, "")
		if err == nil {
			return
		}
		if !errors.Is(err, syscall.EBUSY) || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// full leaves so many pages or so many files of a small disk, and returns what
// gives the rest back.
func full(t *testing.T, dir string, files bool, left int) (release func()) {
	t.Helper()
	fill := filepath.Join(dir, "fill")
	if err := os.Mkdir(fill, 0o755); err != nil {
		t.Fatal(err)
	}
	var made []string
	size := 4096
	if files {
		size = 0
	}
	var err error
	for err == nil {
		name := filepath.Join(fill, fmt.Sprint(len(made)))
		err = os.WriteFile(name, make([]byte, size), 0o644)
		made = append(made, name)
	}
	for range left + 1 { // and the last, which is not whole
		if n := len(made) - 1; n >= 0 {
			os.Remove(made[n])
			made = made[:n]
		}
	}
	return func() { os.RemoveAll(fill) }
}
