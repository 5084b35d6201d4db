package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// sharing is what --share and ENVRUN_SHARE ask for, and what records the
// terminal, as far as can be seen; empty if nothing seems to. That somebody
// shares a screen no terminal tells.
func (t *tool) sharing(flag bool) (share, hideNames bool, recorder string) {
	wish := t.Getenv("ENVRUN_SHARE")
	if recorder = recorderIn(t.Getenv); recorder == "" {
		recorder = recorderAbove("/proc", os.Getppid())
	}
	return flag || isTrue(wish) || recorder != "", wish == "names", recorder
}

// recorderIn is the program that says in the environment that it records.
func recorderIn(getenv func(string) string) string {
	for _, r := range [...]struct{ variable, name string }{
		{"ASCIINEMA_REC", "asciinema"}, {"ASCIINEMA_SESSION", "asciinema"}, {"SCRIPT", "script"},
	} {
		if getenv(r.variable) != "" {
			return r.name
		}
	}
	return ""
}

// recorderAbove looks for one among the processes that this one descends from,
// where proc lists them; elsewhere it finds none.
func recorderAbove(proc string, pid int) string {
	for range 16 {
		if pid <= 1 {
			return ""
		}
		stat, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "stat"))
		if err != nil {
			return ""
		}
		// "pid (name) state parent …": the name may hold anything.
		from, to := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
		if from < 0 || to < from {
			return ""
		}
		switch name := string(stat[from+1 : to]); name {
		case "script", "asciinema", "ttyrec", "termtosvg", "terminalizer", "t-rec", "vhs":
			return name
		}
		rest := strings.Fields(string(stat[to+1:]))
		if len(rest) < 2 {
			return ""
		}
		if pid, err = strconv.Atoi(rest[1]); err != nil {
			return ""
		}
	}
	return ""
}
