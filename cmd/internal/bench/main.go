//go:build unix

// Command bench measures the speed, memory and size that envrun promises, and
// prints one table. Every line is a ratio of things run in turn (A, B, A, B …)
// in one go, so that a slow or busy machine slows both. It refuses to judge by
// seconds and to fail on a number: it exits 1 only when something does not run.
// A program to compare with that is not here is named and left out.
//
// .ci/bench builds what it needs and starts it; docs/bench.md says what each
// line means.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
)

func main() {
	// The other ends of what is measured are this program too.
	if len(os.Args) > 1 {
		if act, ok := acts[os.Args[1]]; ok {
			if err := act(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, "bench:", err)
				os.Exit(1)
			}
			return
		}
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// A bench is what the rows need to know.
type bench struct {
	envrun, base, fill string // programs
	envrund            string
	replace, decrypt   string // programs to compare with
	screens            string // the tests of tui, with its benchmarks
	sops, dotenvx, git string // the same; empty: not here
	vault              string // the same
	node               string // what runs dotenvx
	self               string // this program
	truePath           string
	rounds             int

	dir  string   // everything that is written is in here
	disk string   // what file system that is
	env  []string // of every program that is run
	bad  bool     // something did not run

	projects map[project]string // those that have been made, with their folders
	running  sync.Map           // *server → true
}

// A row is one line of the table, or several that are measured together.
type row struct {
	name    string // for -rows
	measure func(*bench) ([]line, error)
}

// A line is what was measured against what must be reached.
type line struct {
	what, mine, against string
	ratio, best         string // of the medians and of the minima
	promise             string
	met                 string
}

var rows = []row{
	{"start", (*bench).start},
	{"thousand", (*bench).thousand},
	{"peers", (*bench).peers},
	{"verify", (*bench).verify},
	{"write", (*bench).write},
	{"rotate", (*bench).rotate},
	{"growth", (*bench).growth},
	{"mask", (*bench).mask},
	{"memory", (*bench).memory},
	{"size", (*bench).size},
	{"tui", (*bench).tui},
	{"tui-first", (*bench).first},
	{"tui-idle", (*bench).idle},
	{"server", (*bench).serving},
	{"server-run", (*bench).onServer},
	{"server-bundle", (*bench).bundle},
	{"server-login", (*bench).logins},
	{"server-many", (*bench).holding},
}

func run() error {
	var b bench
	flag.StringVar(&b.envrun, "envrun", "", "envrun, stripped and static")
	flag.StringVar(&b.envrund, "envrund", "", "envrund, stripped and static")
	flag.StringVar(&b.base, "base", "", "the program that only executes another")
	flag.StringVar(&b.fill, "fill", "", "the program that fills vaults")
	flag.StringVar(&b.replace, "replace", "", "the program that replaces many files")
	flag.StringVar(&b.decrypt, "decrypt", "", "the program that only decrypts")
	flag.StringVar(&b.screens, "tui", "", "the tests of tui, compiled")
	flag.StringVar(&b.sops, "sops", "", "sops; empty: left out")
	flag.StringVar(&b.dotenvx, "dotenvx", "", "dotenvx.js; empty: left out")
	flag.StringVar(&b.vault, "vault", "", "HashiCorp Vault; empty: left out")
	flag.IntVar(&b.rounds, "n", 20, "rounds of a slow row; quick ones take ten times as many")
	only := flag.String("rows", "", "measure only the rows that this regular expression finds")
	profile := flag.Bool("profile", false, "say where the start of envrun spends its time, instead of the table")
	flag.Parse()
	if b.envrun == "" || b.envrund == "" || b.base == "" || b.fill == "" || b.replace == "" || b.decrypt == "" || b.screens == "" || flag.NArg() > 0 {
		return errors.New("it is started by .ci/bench")
	}
	wanted, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	if err := b.open(); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		b.stopAll()
		os.RemoveAll(b.dir)
		os.Exit(130)
	}()
	if *profile {
		return b.profile()
	}

	var table []line
	for _, r := range rows {
		if !wanted.MatchString(r.name) {
			continue
		}
		say("measuring %s", r.name)
		lines, err := r.measure(&b)
		table = append(table, lines...)
		if err != nil {
			b.bad = true
			table = append(table, line{what: r.name, mine: "did not run: " + err.Error()})
		}
	}
	printTable(b.disk, table)
	if b.bad {
		os.RemoveAll(b.dir)
		os.Exit(1)
	}
	return nil
}

// say tells whoever waits what takes so long.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }

// open finds the programs and makes the folder that everything happens in,
// with an identity that is kept in a file there and nowhere else.
func (b *bench) open() (err error) {
	for _, p := range []*string{&b.envrun, &b.envrund, &b.base, &b.fill, &b.replace, &b.decrypt, &b.screens, &b.sops, &b.dotenvx, &b.vault} {
		if *p == "" {
			continue
		}
		if *p, err = filepath.Abs(*p); err != nil {
			return err
		}
		if _, err := os.Stat(*p); err != nil {
			return err
		}
	}
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	path := usualPath
	if b.truePath, err = lookPath(path, "true"); err != nil {
		path = os.Getenv("PATH")
		if b.truePath, err = lookPath(path, "true"); err != nil {
			return err
		}
	}
	if b.dotenvx != "" {
		if b.node, err = lookPath(os.Getenv("PATH"), "node"); err != nil {
			b.dotenvx = ""
		}
	}
	if b.git, err = lookPath(path, "git"); err != nil {
		b.git = ""
	}
	if b.dir, err = os.MkdirTemp(onDisk(), "envrun-bench-"); err != nil {
		return err
	}
	b.disk = fileSystem(b.dir)
	// A caller's variables would change what is measured: CI makes envrun mask,
	// and a large environment has to be copied by everybody.
	b.env = []string{
		"PATH=" + path, "HOME=" + b.dir, "LANG=C.UTF-8", "TERM=dumb",
		"ENVRUN_CONFIG_DIR=" + filepath.Join(b.dir, "config"), "ENVRUN_STATE_DIR=" + filepath.Join(b.dir, "state"),
	}
	b.projects = map[project]string{}
	return nil
}

// onDisk is a folder for temporary things that is on a disk, if there is one:
// in memory, syncing costs nothing. Empty is the usual one.
func onDisk() string {
	places := []string{"", "/var/tmp"}
	if dir, err := os.UserCacheDir(); err == nil {
		places = append(places, dir)
	}
	for _, dir := range places {
		if name := fileSystem(cmp.Or(dir, os.TempDir())); name != "" && name != inMemory {
			return dir
		}
	}
	return ""
}

const inMemory = "in memory"

// usualPath is that of Debian: the length of somebody's own would count too.
const usualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func lookPath(path, name string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 && filepath.IsAbs(file) {
			return file, nil
		}
	}
	return "", fmt.Errorf("no %s in %s", name, path)
}

func printTable(disk string, lines []line) {
	fmt.Printf("%s, %s/%s, %d processors, %s; the ratio of the medians, and beside it of the quickest runs\n\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), disk)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "what\tenvrun\tagainst\tratio\tbest\tpromise\t")
	for _, l := range lines {
		fmt.Fprintln(w, strings.Join([]string{l.what, l.mine, l.against, l.ratio, l.best, l.promise, l.met}, "\t"))
	}
	w.Flush()
}
