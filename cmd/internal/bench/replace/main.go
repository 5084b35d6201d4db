//go:build unix

// Command replace writes as many temporary files as there are files, syncs
// once, renames them over those and syncs the folders: the least that changing
// one line in each of many files costs, if all of them are to change or none.
// A rotation is measured against it. It refuses to grow: it reads nothing,
// checks nothing, and knows the names beforehand.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "replace:", err)
		os.Exit(1)
	}
}

// run takes the folder, how many files there are, how many of them in each
// folder, and the size of one. They are called as package fill calls secrets.
func run(args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("replace DIR FILES FILES-IN-A-FOLDER BYTES")
	}
	var n [3]int
	for i, arg := range args[1:] {
		var err error
		if n[i], err = strconv.Atoi(arg); err != nil || n[i] < 1 {
			return fmt.Errorf("%q is not a number", arg)
		}
	}
	files, inFolder, size := n[0], n[1], n[2]
	temp := filepath.Join(args[0], ".new")
	if err := os.Mkdir(temp, 0o755); err != nil {
		return err
	}
	from, err := open(temp)
	if err != nil {
		return err
	}
	text := bytes.Repeat([]byte("7vptFqkK3mP7S0DG3+0dClrYlF0rcjk994U5SKG3/gg\n"), size/44+1)[:size]
	for i := range files {
		if err := write(from, strconv.Itoa(i), text); err != nil {
			return err
		}
	}
	if err := syncWritten(from); err != nil {
		return err
	}
	var folders []int
	for i := range files {
		if i%inFolder == 0 {
			to, err := open(filepath.Join(args[0], fmt.Sprintf("team-%02d", i/inFolder)))
			if err != nil {
				return err
			}
			folders = append(folders, to)
		}
		name := fmt.Sprintf("service-%02d.sec", i%inFolder)
		if err := unix.Renameat(from, strconv.Itoa(i), folders[len(folders)-1], name); err != nil {
			return err
		}
	}
	for _, to := range folders {
		if err := syncFolder(to); err != nil {
			return err
		}
	}
	return os.Remove(temp)
}

func open(dir string) (int, error) {
	return unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

func write(in int, name string, text []byte) error {
	fd, err := unix.Openat(in, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	if _, err := unix.Write(fd, text); err != nil {
		return err
	}
	if err := syncOne(fd); err != nil {
		return err
	}
	return unix.Close(fd)
}
