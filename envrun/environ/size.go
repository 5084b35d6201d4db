package environ

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"envrun/vault"
)

// Limits are what a system takes when a program is started (runner C7). A zero
// field is no limit.
type Limits struct {
	String  int // bytes of one entry or argument, its closing NUL included
	Total   int // bytes of all entries and arguments, their NULs and Pointer for each included
	Pointer int // bytes that each entry and argument costs besides its text
	Units   int // UTF-16 units of one entry, its closing NUL included
	Line    int // UTF-16 units of the command line, its closing NUL included
}

// slack is kept free of Total: the name of the program and, for a script, that
// of its interpreter are copied to the same place.
const slack = 4 << 10

// LinuxLimits are those of Linux with a stack limit and a page size in bytes:
// 32 pages for one string; for all, a quarter of the stack limit, at least
// 128 KiB and at most 6 MiB.
func LinuxLimits(stack uint64, page int) Limits {
	return Limits{
		String:  32 * page,
		Total:   int(max(min(6<<20, stack/4), 128<<10)) - slack,
		Pointer: 8,
	}
}

// DarwinLimits are those of macOS: 1 MiB in all.
func DarwinLimits() Limits { return Limits{Total: 1<<20 - slack, Pointer: 8} }

// WindowsLimits are those of Windows: 32767 UTF-16 units for one variable and
// for the command line; the environment as a whole has no limit.
func WindowsLimits() Limits { return Limits{Units: 32767, Line: 32767} }

// A SizeError says that a program cannot be started because its environment or
// its arguments are too big. It names variables and sizes, never values. A
// variable that is too big can be delivered as a file instead, if its program
// can read one. Its kind is KindInvalid.
type SizeError struct {
	What    SizeOf
	Size    int     // of What: bytes, on Windows UTF-16 units
	Limit   int     // the most this system takes, in the same measure
	Biggest []Sized // the one at fault first if there is one, then by size; five at most
}

// SizeOf says what is too big.
type SizeOf string

const (
	SizeOfVariable SizeOf = "variable"     // one variable: Biggest[0]
	SizeOfArgument SizeOf = "argument"     // one argument: Biggest[0]
	SizeOfTotal    SizeOf = "total"        // environment and arguments together
	SizeOfLine     SizeOf = "command line" // all arguments together
)

// Sized is a variable or an argument with its size.
type Sized struct {
	Name  string // of the variable; empty for an argument
	Arg   int    // the index of the argument; 0 for a variable
	Bytes int    // with name, "=" and closing NUL
}

func (s Sized) String() string {
	what := s.Name
	if what == "" {
		what = "argument " + strconv.Itoa(s.Arg)
	}
	return fmt.Sprintf("%s (%d bytes)", what, s.Bytes)
}

func (e *SizeError) Error() string {
	var b strings.Builder
	switch e.What {
	case SizeOfVariable:
		fmt.Fprintf(&b, "variable %s is too big for this system: %d of at most %d", e.Biggest[0].Name, e.Size, e.Limit)
	case SizeOfArgument:
		fmt.Fprintf(&b, "argument %d is too big for this system: %d of at most %d", e.Biggest[0].Arg, e.Size, e.Limit)
	case SizeOfLine:
		fmt.Fprintf(&b, "the command line is too long for this system: %d of at most %d", e.Size, e.Limit)
	default:
		fmt.Fprintf(&b, "environment and arguments are too big for this system: %d of at most %d", e.Size, e.Limit)
	}
	b.WriteString("; the biggest are ")
	for i, s := range e.Biggest {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(s.String())
	}
	return b.String()
}

// Unwrap gives the error its kind.
func (e *SizeError) Unwrap() error { return &vault.Error{Kind: vault.KindInvalid} }

// CheckSize says whether a program can be started with these arguments, the
// program's own name the first of them, and this environment. The error is a
// *SizeError. It is a pure function: pass SystemLimits() for this machine.
//
// The command line of Windows is counted without the quotes that arguments may
// get, so that what is refused is certainly too long.
func CheckSize(argv, env []string, lim Limits) error {
	total, line := 0, 0
	for i, arg := range argv {
		n := len(arg) + 1
		if lim.String > 0 && n > lim.String {
			return tooBig(SizeOfArgument, n, lim.String, Sized{Arg: i, Bytes: n}, argv, env)
		}
		total += n + lim.Pointer
		if lim.Line > 0 {
			line += units(arg) + 1
		}
	}
	if lim.Line > 0 && line > lim.Line {
		return tooBig(SizeOfLine, line, lim.Line, Sized{}, argv, nil)
	}
	for _, entry := range env {
		n := len(entry) + 1
		if lim.String > 0 && n > lim.String {
			return tooBig(SizeOfVariable, n, lim.String, Sized{Name: entryName(entry), Bytes: n}, argv, env)
		}
		if lim.Units > 0 && n > lim.Units { // a string has no more units than bytes
			if u := units(entry) + 1; u > lim.Units {
				return tooBig(SizeOfVariable, u, lim.Units, Sized{Name: entryName(entry), Bytes: n}, argv, env)
			}
		}
		total += n + lim.Pointer
	}
	if lim.Total > 0 && total > lim.Total {
		return tooBig(SizeOfTotal, total, lim.Total, Sized{}, argv, env)
	}
	return nil
}

// tooBig makes a SizeError; fault stands first if it is not zero.
func tooBig(what SizeOf, size, limit int, fault Sized, argv, env []string) error {
	all := make([]Sized, 0, len(argv)+len(env))
	for i, arg := range argv {
		all = append(all, Sized{Arg: i, Bytes: len(arg) + 1})
	}
	for _, entry := range env {
		all = append(all, Sized{Name: entryName(entry), Bytes: len(entry) + 1})
	}
	sort.SliceStable(all, func(i, j int) bool {
		a, b := all[i], all[j]
		if a == fault || b == fault {
			return b != fault
		}
		return a.Bytes > b.Bytes
	})
	return &SizeError{What: what, Size: size, Limit: limit, Biggest: slices.Clip(all[:min(5, len(all))])}
}

// entryName is the name in "NAME=value". An entry without one is not quoted,
// since there is no telling what it is.
func entryName(entry string) string {
	name, _, ok := strings.Cut(entry, "=")
	if ok && name != "" {
		return name
	}
	if drive, _, _ := strings.Cut(strings.TrimPrefix(entry, "="), "="); len(drive) == 2 && drive[1] == ':' {
		return "=" + drive // as Windows keeps the directory of a drive
	}
	return "(an entry without a name)"
}

// units is the length of s in UTF-16, a byte that is no UTF-8 counted as one.
func units(s string) int {
	n := 0
	for _, r := range s {
		if n++; r > 0xFFFF && r <= utf8.MaxRune {
			n++
		}
	}
	return n
}
