package browser

import (
	"context"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"envrun/auth"
)

// openTime is how long an opener may take to say that it could not: one that runs
// longer is a browser, or hangs, and is left alone either way.
const openTime = 5 * time.Second

// Why no browser was opened. It is no reason to give up: the address is shown too.
var (
	ErrNoOpener = errors.New("there is no program that opens a browser")
	ErrAddress  = errors.New("the address is not one for a browser")
)

// An Opener starts a browser. The zero Opener is for this process.
type Opener struct {
	Environ []string // nil: os.Environ()
	OS      string   // "": runtime.GOOS
	WSL     bool     // Windows' openers are tried too
	Time    time.Duration

	// Start runs a program until it ends or ctx does, in which case it goes on by
	// itself and the error is nil. nil: as a process of its own, its words discarded.
	Start func(ctx context.Context, environ []string, argv ...string) error
}

// Open opens an address in the browser of whoever sits at this machine.
func Open(ctx context.Context, address string) error {
	o := Opener{WSL: Look(os.Getenv).WSL}
	return o.Open(ctx, address)
}

// Open tries the openers of the system in turn until one does not fail. The address
// becomes an argument of a program, never of a shell; it must hold nothing secret,
// since every process of the machine can read it there.
func (o Opener) Open(ctx context.Context, address string) error {
	if !Openable(address) {
		return ErrAddress
	}
	if o.Environ == nil {
		o.Environ = os.Environ()
	}
	if o.OS == "" {
		o.OS = runtime.GOOS
	}
	if o.Time == 0 {
		o.Time = openTime
	}
	if o.Start == nil {
		o.Start = start
	}
	ctx, cancel := context.WithTimeout(ctx, o.Time)
	defer cancel()
	for _, argv := range o.openers(address) {
		if err := o.Start(ctx, auth.ForOthers(o.Environ), argv...); err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return ErrNoOpener
}

// Openable says whether an address is one that a browser may be sent to: of the web,
// and with nothing in it that a terminal or a program would take for something else.
func Openable(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil &&
		len(address) <= 16<<10 && !strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("\"'`\\<>^", r) })
}

// openers are the programs that open an address, as argument lists.
func (o Opener) openers(address string) [][]string {
	get := func(name string) string {
		for i := len(o.Environ) - 1; i >= 0; i-- {
			if k, v, _ := strings.Cut(o.Environ[i], "="); k == name {
				return v
			}
		}
		return ""
	}
	var all [][]string
	list := ":"
	if o.OS == "windows" {
		list = ";"
	}
	for command := range strings.SplitSeq(get("BROWSER"), list) {
		argv := strings.Fields(command)
		if len(argv) == 0 || inTerminal(argv[0]) {
			continue
		}
		placed := false
		for i := range argv {
			if i > 0 && strings.Contains(argv[i], "%s") {
				argv[i], placed = strings.ReplaceAll(argv[i], "%s", address), true
			}
		}
		if !placed {
			argv = append(argv, address)
		}
		all = append(all, argv)
	}
	switch {
	case o.OS == "darwin":
		return append(all, []string{"open", address})
	case o.OS == "windows":
		return append(all, []string{"rundll32", "url.dll,FileProtocolHandler", address})
	case o.WSL:
		all = append(all, []string{"wslview", address}, []string{"rundll32.exe", "url.dll,FileProtocolHandler", address})
	}
	if get("DISPLAY") != "" || get("WAYLAND_DISPLAY") != "" {
		all = append(all, []string{"xdg-open", address}) // without a display it would start one in this terminal
	}
	return all
}

// inTerminal says whether a browser draws in the terminal, which is in use.
func inTerminal(program string) bool {
	switch strings.TrimSuffix(filepath.Base(program), ".exe") {
	case "lynx", "w3m", "links", "links2", "elinks", "www-browser", "browsh":
		return true
	}
	return false
}

func start(ctx context.Context, environ []string, argv ...string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = environ
	detach(cmd)
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // lives as long as the browser, if this is one
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return nil
	}
}
