package environ

import (
	"fmt"

	"envrun/vault"
)

// A Format is a way to write variables down.
type Format string

const (
	FormatUnknown Format = ""
	Dotenv        Format = "dotenv"     // NAME=value lines; ImportOptions.Dialect says whose
	Docker        Format = "docker"     // the file of docker run --env-file: dotenv in Docker's dialect
	JSON          Format = "json"       // one object of strings
	YAML          Format = "yaml"       // one mapping of scalars
	Compose       Format = "compose"    // the environment of a service in a Docker Compose file
	K8s           Format = "k8s"        // Kubernetes Secret and ConfigMap manifests
	Shell         Format = "shell"      // export NAME='value', for any POSIX shell; out only
	Fish          Format = "fish"       // set -gx NAME 'value'; out only
	PowerShell    Format = "powershell" // $env:NAME = 'value'; out only
	GitHub        Format = "github"     // lines for the file that GITHUB_ENV names; out only
)

// A Dialect says which program's reading of dotenv files counts.
type Dialect string

const (
	DialectAuto    Dialect = ""        // what all readers but Docker agree on
	DialectNode    Dialect = "node"    // npm dotenv 16 to 17
	DialectCompose Dialect = "compose" // Docker Compose v2: .env and env_file
	DialectRuby    Dialect = "ruby"    // gem dotenv 3
	DialectPython  Dialect = "python"  // python-dotenv 1
	DialectDocker  Dialect = "docker"  // docker run --env-file
)

// An Entry is one variable as a file gives it.
type Entry struct {
	Name  string // a vault.FieldName by form; CheckName says if it can be injected
	Value vault.Value
	Line  int // where its value is given, counted from 1
}

// Most that Import reads.
const (
	MaxInput   = 4 << 20 // bytes of a file
	MaxEntries = 10_000  // variables in a file, those without a value included
)

// ImportOptions say how to read a file. The zero value is right for most.
type ImportOptions struct {
	Dialect Dialect    // of Dotenv; the other formats have none
	File    string     // the name to put into errors; it is not opened
	Service string     // Compose: the service; K8s: metadata.name of the one object to read
	Note    func(Note) // called for each thing that the user should know, in the order of lines; may be nil
}

// A Note is something that a user should know about a file that was read: the
// facts, never a value. The one who shows it makes the sentence; Kind.String
// gives a short one.
type Note struct {
	Kind NoteKind
	File string
	Line int
	Name string // the variable, if it is about one
	// Others are the dialects that read it differently (NoteAmbiguous).
	Others []Dialect
	// What was left out (NoteSkipped): "env_file", "Deployment".
	What string
}

// NoteKind says what a Note is about.
type NoteKind int

const (
	_             NoteKind = iota
	NoteExpansion          // the file's own reader would put something else in place of $NAME, ${NAME} or $(command): it is kept as written
	NoteNoValue            // a name without a value, by which a program passes on what its own environment holds: left out
	NoteDuplicate          // the name is given again further down, where the value is taken from
	NoteName               // the name cannot be that of an environment variable: kept, to be renamed when injected
	NoteAmbiguous          // Others read another value than the one taken, which is Node's
	NoteSkipped            // a part of the file that is not read
)

func (k NoteKind) String() string {
	switch k {
	case NoteExpansion:
		return "kept as written, though its program would expand $ in it"
	case NoteNoValue:
		return "has no value: left out"
	case NoteDuplicate:
		return "given again further down: the last one counts"
	case NoteName:
		return "cannot be the name of an environment variable as it is"
	case NoteAmbiguous:
		return "is read differently by different programs"
	case NoteSkipped:
		return "not read"
	}
	return "note"
}

// ExportOptions say how to write. The zero value is right for most.
type ExportOptions struct {
	Dialect   Dialect // Dotenv: whose reader must get the values back; DialectAuto: node, compose, ruby and python alike
	Name      string  // K8s: metadata.name; Compose: the service. Needed there.
	Namespace string  // K8s: metadata.namespace, left out if empty
}

// ParseDialect reads the name of a dialect; "" and "auto" are DialectAuto.
func ParseDialect(s string) (Dialect, error) {
	switch d := Dialect(s); d {
	case DialectAuto, "auto":
		return DialectAuto, nil
	case DialectNode, DialectCompose, DialectRuby, DialectPython, DialectDocker:
		return d, nil
	}
	return "", &vault.Error{Kind: vault.KindInvalid, Detail: fmt.Sprintf("dialect %q is none of auto, node, compose, ruby, python, docker", s)}
}
