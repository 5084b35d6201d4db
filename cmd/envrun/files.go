package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// createFile writes a new file whole: a link of a temporary file, so that it
// is there with all it has, or not at all, and never over another.
func createFile(file string, text []byte) error { return create(file, text, 0o644) }

// createPrivate is createFile for what only its owner may read.
func createPrivate(file string, text []byte) error { return create(file, text, 0o600) }

func create(file string, text []byte, mode os.FileMode) error {
	tmp, err := writeTemp(file, text, mode)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	if err := os.Link(tmp, file); err != nil {
		if errors.Is(err, os.ErrExist) {
			return fmt.Errorf("%s is there already and was left alone: %w", file, err)
		}
		// No hard links here (some network and FAT file systems): a rename that
		// is only made when nothing is in the way.
		if _, err := os.Lstat(file); err == nil {
			return fmt.Errorf("%s is there already and was left alone: %w", file, os.ErrExist)
		}
		return os.Rename(tmp, file)
	}
	return syncDir(filepath.Dir(file))
}

// replaceFile writes a file whole over the one that is there.
func replaceFile(file string, text []byte) error {
	mode := os.FileMode(0o644)
	if info, err := os.Stat(file); err == nil {
		mode = info.Mode().Perm()
	}
	tmp, err := writeTemp(file, text, mode)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, file); err != nil {
		os.Remove(tmp)
		return err
	}
	return syncDir(filepath.Dir(file))
}

func writeTemp(file string, text []byte, mode os.FileMode) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(file), ".envrun-*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

// syncDir makes a rename last. What cannot sync a folder (Windows) needs none.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer d.Close()
	_ = d.Sync()
	return nil
}
