package run

import (
	"fmt"
	"os"
	"runtime"
	"slices"

	"golang.org/x/term"

	"envrun/envrun/environ"
)

// A Plan is how a Command would run.
type Plan struct {
	// Supervise says that a process of ours stays behind the program; Reasons says
	// why, one for each thing that needs it. Without it the program replaces this
	// process.
	Supervise bool
	Reasons   []string
	Path      string   // the file that is started
	Argv      []string // what it gets, its own name first
	Masked    []string // the streams that are masked: "stdout", "stderr"
	Terminal  bool     // a masked stream is a terminal and goes through a pseudo-terminal

	program string      // as the user named it, for errors
	env     []string    // the environment, files not yet in it
	std     [3]*os.File // what the program's streams are or are copied to
	mask    [3]bool     // which of them are masked
	tty     [3]bool     // which of them are terminals; known only if one is masked
}

var streamNames = [3]string{"stdin", "stdout", "stderr"}

// Plan says how c would run, and whether it can: the program is looked up in
// its own PATH, and its environment is held against the limits of the system.
// The error is an *Error. Nothing is started, made or changed.
func (c Command) Plan() (Plan, error) {
	p := Plan{std: [3]*os.File{c.Stdin, c.Stdout, c.Stderr}}
	for i, f := range [3]*os.File{os.Stdin, os.Stdout, os.Stderr} {
		if p.std[i] == nil {
			p.std[i] = f
		}
	}
	if err := c.check(); err != nil {
		return p, err
	}
	p.decideMask(c)
	p.decideMode(c)
	if c.ForceExec && p.Supervise {
		return p, &Error{Code: CodeFailed, Reason: ReasonExec, Detail: "cannot replace this process: " + p.Reasons[0]}
	}
	env := c.Env
	if env == nil {
		env = environ.FromList(nil, "")
	}
	if err := p.find(c, env); err != nil {
		return p, err
	}
	p.env = env.List()
	return p, p.checkSize()
}

// check refuses what contradicts itself.
func (c Command) check() *Error {
	usage := func(format string, args ...any) *Error {
		return &Error{Code: CodeFailed, Reason: ReasonUsage, Detail: fmt.Sprintf(format, args...)}
	}
	switch {
	case len(c.Argv) == 0 && c.Shell == "":
		return usage("no command to run")
	case c.Shell == "" && c.Argv[0] == "":
		return usage("the name of the command is empty")
	case c.ForceExec && c.ForceSupervise:
		return usage("a run cannot both replace this process and be supervised")
	case c.Timeout < 0 || c.KillAfter < 0:
		return usage("a time is negative")
	case c.MemFD && runtime.GOOS != "linux" && len(c.Files) > 0:
		return usage("files in memory (memfd) exist on Linux only")
	}
	for i, f := range c.Files {
		name := f.name()
		if f.Var == "" {
			return usage("a file has no variable")
		}
		if !plainName(name) {
			return usage("%q cannot be the name of the file in %s", name, f.Var)
		}
		for _, g := range c.Files[:i] {
			if g.Var == f.Var {
				return usage("two files want the variable %s", f.Var)
			}
			if g.name() == name {
				return usage("two files want the name %q", name)
			}
		}
	}
	return nil
}

// decideMask decides which streams are masked (runner T2, T3). A stream that
// goes to the null device is not worth a supervisor.
func (p *Plan) decideMask(c Command) {
	if c.Masker == nil || c.Mask == MaskNever || c.Mask == MaskAuto && !c.Sensitive {
		return
	}
	for i, f := range p.std {
		p.tty[i] = term.IsTerminal(int(f.Fd()))
		if i == 0 || isNull(f) || p.tty[i] && c.Mask == MaskAuto {
			continue
		}
		p.mask[i] = true
		p.Masked = append(p.Masked, streamNames[i])
		p.Terminal = p.Terminal || p.tty[i]
	}
}

func isNull(f *os.File) bool {
	null, err := os.Stat(os.DevNull)
	if err != nil {
		return false
	}
	info, err := f.Stat()
	return err == nil && os.SameFile(info, null)
}

// decideMode decides whether a supervisor is needed (runner M1-M3).
func (p *Plan) decideMode(c Command) {
	because := func(format string, args ...any) { p.Reasons = append(p.Reasons, fmt.Sprintf(format, args...)) }
	for i, masked := range p.mask {
		switch {
		case !masked:
		case p.tty[i]:
			because("%s is masked through a terminal of its own", streamNames[i])
		default:
			because("%s is masked", streamNames[i])
		}
	}
	if len(c.Files) > 0 && !c.MemFD {
		because("files must be removed afterwards")
	}
	if len(c.OnExit) > 0 {
		because("there is clean-up to do afterwards")
	}
	if c.Timeout > 0 {
		because("there is a time limit")
	}
	if c.KillAfter > 0 {
		because("a signal may have to be followed by KILL")
	}
	if c.ForceSupervise {
		because("it was asked for")
	}
	if runtime.GOOS == "windows" {
		because("Windows cannot replace a process")
	}
	p.Supervise = len(p.Reasons) > 0
}

// checkSize holds arguments and environment against the limits of this system,
// which would otherwise answer with a bare E2BIG (runner C7).
func (p *Plan) checkSize() error {
	if err := environ.CheckSize(p.Argv, p.env, environ.SystemLimits()); err != nil {
		return &Error{Code: CodeFailed, Reason: ReasonSize, Program: p.program, Err: err}
	}
	return nil
}

func (f FileVar) name() string {
	if f.Name == "" {
		return f.Var
	}
	return f.Name
}

// plainName says whether s can be the last element of a path on every system.
func plainName(s string) bool {
	if s == "" || s == "." || s == ".." || len(s) > 128 {
		return false
	}
	return !slices.ContainsFunc([]byte(s), func(b byte) bool {
		return b < ' ' || b == 0x7f || b == '/' || b == '\\' || b == ':' || b == '*' || b == '?' || b == '"' || b == '<' || b == '>' || b == '|'
	})
}
