package resolve

import (
	"fmt"
	"slices"
	"strings"

	"envrun/envrun/environ"
	"envrun/envrun/project"
	"envrun/vault"
)

// From says what kind of place a value comes from.
type From string

const (
	FromParent From = "inherited" // the environment of the caller
	FromVault  From = "vault"
	FromDotenv From = "dotenv" // a file given by -f
	FromSet    From = "set"    // --set NAME=VALUE
)

// A Source is a place a value of a variable comes from, without the value.
type Source struct {
	From    From
	Env     vault.Env       // FromVault, as the next three
	Path    vault.Path      //
	Field   vault.FieldName //
	Version uint64          // of the secret
	AsFile  bool            // by a [[file]] rule
	Pos     project.Pos     // the rule; of FromDotenv the line in the file; else zero
	Same    bool            // of a loser: its value is the winner's
}

// Variable is a variable that the command gets.
type Variable struct {
	Name     string
	Value    vault.Value
	From     From // FromVault, FromDotenv or FromSet
	Env      vault.Env
	Path     vault.Path
	Field    vault.FieldName
	Version  uint64
	Pos      project.Pos
	Mask     *bool    // masked in output: nil means that the value's form decides
	Required bool     // from a rule that is not optional
	Losers   []Source // the highest first
}

// File is a field that is delivered as a file; Var is to hold its path.
type File struct {
	Var      string
	Value    vault.Value
	Env      vault.Env
	Path     vault.Path
	Field    vault.FieldName
	Version  uint64
	Pos      project.Pos
	Mask     *bool
	Required bool
	Losers   []Source
}

// Kept is a variable that keeps the caller's value over others.
type Kept struct {
	Name   string
	Why    project.Pos // of inherit_wins; zero for --keep-env
	Losers []Source
}

// MissingWhat says what kind of thing is missing.
type MissingWhat string

const (
	MissingSecret    MissingWhat = "secret"    // Path is not in the environment
	MissingField     MissingWhat = "field"     // Path is, and has no Field
	MissingPattern   MissingWhat = "pattern"   // Path is, and no field of it matches Name, a pattern in only
	MissingVariable  MissingWhat = "variable"  // nothing gives Name, which require asks for
	MissingSelection MissingWhat = "selection" // --only Name chooses nothing
)

// Missing is something that the project file or the command line asks for and
// that is not there. The hints are names only, at most three of each, and
// filled in only when a run is stopped.
type Missing struct {
	What  MissingWhat
	Env   vault.Env
	Path  vault.Path
	Field vault.FieldName
	Name  string
	Pos   project.Pos

	Near      []string     // of the same kind, in the same place: probably meant
	At        []vault.Path // secrets of this environment that have this field
	Elsewhere []vault.Env  // environments that have it where this one does not
}

func (m Missing) String() string {
	var s string
	switch m.What {
	case MissingSecret:
		s = fmt.Sprintf("secret %s is not in %s", m.Path, m.Env)
	case MissingField:
		s = fmt.Sprintf("secret %s has no field %s in %s", m.Path, m.Field, m.Env)
	case MissingPattern:
		s = fmt.Sprintf("secret %s has no field like %s in %s", m.Path, m.Name, m.Env)
	case MissingVariable:
		s = fmt.Sprintf("required variable %s is given by nothing in %s", m.Name, m.Env)
	default:
		s = fmt.Sprintf("--only %s chooses nothing in %s", m.Name, m.Env)
	}
	return s + at(m.Pos)
}

// Refused is a variable that may not be set by where it comes from (runner C4).
type Refused struct {
	Name   string
	Reason string // completes "NAME is refused: it ..."
	// Allowable says whether allow_names can let it through: never so for envrun's own.
	Allowable bool
	Source    Source
}

func (r Refused) String() string {
	return fmt.Sprintf("%s is refused: it %s", r.Name, r.Reason) + at(r.Source.Pos)
}

// Invalid is a field or variable that no environment can hold.
type Invalid struct {
	Name    string
	NUL     bool   // the value holds a NUL byte: deliver it as a file; else the name is at fault
	Suggest string // a name that would do
	Source  Source
}

func (i Invalid) String() string {
	if i.NUL {
		return fmt.Sprintf("the value of %s holds a NUL byte and can only be delivered as a file", i.Name) + at(i.Source.Pos)
	}
	return fmt.Sprintf("%q is not a variable's name, %s would be", i.Name, i.Suggest) + at(i.Source.Pos)
}

func at(p project.Pos) string {
	if p.File == "" {
		return ""
	}
	return " (" + p.String() + ")"
}

// Plan is what a command gets in one environment, and why. All lists are
// sorted by name, Missing and Absent in the order of the rules.
type Plan struct {
	Project *project.Project
	Env     project.Env

	Variables []Variable
	Files     []File
	Kept      []Kept
	Absent    []Missing // optional, and not there

	// What stops the run.
	Missing []Missing
	Refused []Refused
	Invalid []Invalid

	Nested  bool      // the caller was itself started by envrun
	Outer   vault.Env // for this environment; empty if not Nested, or not known
	Dropped []string  // variables that the outer run gave for another environment

	parent *environ.Environ // without Dropped
	outer  []string         // names the outer run gave for this same environment
}

// ProblemError says why a plan cannot be applied. Its kind is KindNotFound if
// something is missing, else KindInvalid.
type ProblemError struct {
	Env     vault.Env
	Missing []Missing
	Refused []Refused
	Invalid []Invalid
}

func (e *ProblemError) Error() string {
	var all []string
	for _, m := range e.Missing {
		all = append(all, m.String())
	}
	for _, r := range e.Refused {
		all = append(all, r.String())
	}
	for _, i := range e.Invalid {
		all = append(all, i.String())
	}
	return strings.Join(all, "; ")
}

func (e *ProblemError) Unwrap() error {
	kind := vault.KindInvalid
	if len(e.Missing) > 0 {
		kind = vault.KindNotFound
	}
	return &vault.Error{Kind: kind, Env: e.Env, Detail: "the command cannot get what it needs"}
}

// Check returns a *ProblemError if the plan cannot be applied.
func (p *Plan) Check() error {
	if len(p.Missing)+len(p.Refused)+len(p.Invalid) == 0 {
		return nil
	}
	return &ProblemError{p.Env.Name, p.Missing, p.Refused, p.Invalid}
}

// MarkInjected is the variable in which a command finds its environment and
// the names, never the values, of what the vault gave it: "dev:NAME,NAME". A
// run inside it for another environment drops these.
const MarkInjected = "ENVRUN_INJECTED"

// Environ is the environment of the command: what it inherits without envrun's
// own credentials (C8; passAuth keeps them), the variables of the plan, and the
// marks (C9). The variables of Files are unset: only the one who writes the
// files knows their paths. It refuses a plan that Check refuses.
func (p *Plan) Environ(passAuth bool) (*environ.Environ, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	e := p.parent.Clone()
	if !passAuth {
		e.DropOwn()
	}
	for _, v := range p.Variables {
		if err := e.Set(v.Name, string(v.Value.Reveal())); err != nil {
			return nil, fmt.Errorf("setting variables: %w", err)
		}
	}
	for _, f := range p.Files {
		e.Unset(f.Var)
	}
	e.Mark(p.Env.Name)
	e.Unset(MarkInjected)
	if names := p.injected(); len(names) > 0 {
		if err := e.Set(MarkInjected, string(p.Env.Name)+":"+strings.Join(names, ",")); err != nil {
			return nil, fmt.Errorf("setting marks: %w", err)
		}
	}
	return e, nil
}

// injected are the names that the vault gave, those of the outer run included.
func (p *Plan) injected() []string {
	names := slices.Clone(p.outer)
	for _, v := range p.Variables {
		if v.From == FromVault {
			names = append(names, v.Name)
		}
	}
	for _, f := range p.Files {
		names = append(names, f.Var)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
