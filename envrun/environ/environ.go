package environ

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sort"
	"strings"

	"envrun/vault"
)

// An Environ is the environment of a process as a value: names with values,
// each name once. It starts as a copy of the parent's list, is changed in
// memory, and becomes the child's list; nothing here touches the environment
// of this process.
//
// Names are told apart as the system does: on Windows without regard to case,
// elsewhere byte for byte. Where a list or two environments name a variable
// twice, the last one wins, with its spelling.
//
// Two kinds of entry are no variables and yet belong to the environment that a
// program inherits. They are kept and handed on, so that a program does not
// see whether envrun was in between, but Names, Get and Set know nothing of them:
// on Windows the "=C:=C:\dir" entries in which cmd.exe keeps the directory of
// each drive, and on Unix an entry without "=" or without a name before it.
// An empty entry and one with a NUL byte cannot come from a process, and no
// system would start a program with them: they are dropped.
//
// It prints as a count, whatever the verb. An Environ is not safe for use by
// several goroutines at once.
type Environ struct {
	goos string
	vars map[string]variable // by key(name)
	odd  map[string]string   // by key: the whole entry
}

type variable struct{ name, value string }

// FromList makes an Environ of a list as os.Environ returns it; goos says whose
// rules apply, empty meaning this system's.
func FromList(list []string, goos string) *Environ {
	if goos == "" {
		goos = runtime.GOOS
	}
	e := &Environ{goos: goos, vars: make(map[string]variable, len(list)+16)}
	for _, entry := range list {
		if entry == "" || strings.IndexByte(entry, 0) >= 0 {
			continue
		}
		name, value, ok := strings.Cut(entry, "=")
		if ok && name != "" {
			e.vars[e.key(name)] = variable{name, value}
			continue
		}
		e.keepOdd(entry)
	}
	return e
}

// keepOdd keeps an entry that is no variable: "=C:=C:\dir" by the name of its
// drive, anything else by its whole text.
func (e *Environ) keepOdd(entry string) {
	key := entry
	if e.goos == "windows" {
		drive, _, ok := strings.Cut(entry[1:], "=")
		if entry[0] != '=' || !ok {
			return // Windows has no such entries: its block could not hold them
		}
		key = e.key("=" + drive)
	}
	if e.odd == nil {
		e.odd = map[string]string{}
	}
	e.odd[key] = entry
}

// key is what two spellings of one name have in common.
func (e *Environ) key(name string) string {
	if e.goos == "windows" {
		return strings.ToUpper(name)
	}
	return name
}

// Get returns the value of a variable, and whether it is set.
func (e *Environ) Get(name string) (string, bool) {
	v, ok := e.vars[e.key(name)]
	return v.value, ok
}

// Set sets a variable. It refuses, with KindInvalid and the name but never the
// value, what no system can put into an environment: an empty name, a name
// with "=" or NUL, a value with NUL. The stricter rule for names that come
// from a vault is CheckName.
func (e *Environ) Set(name, value string) error {
	if name == "" || strings.ContainsAny(name, "=\x00") {
		return &vault.Error{Kind: vault.KindInvalid, Detail: fmt.Sprintf("%q cannot be the name of an environment variable", name)}
	}
	if strings.IndexByte(value, 0) >= 0 {
		return &vault.Error{Kind: vault.KindInvalid, Detail: fmt.Sprintf("the value of %s has a NUL byte, which an environment cannot hold; deliver it as a file", name)}
	}
	e.vars[e.key(name)] = variable{name, value}
	return nil
}

// Unset removes a variable if it is there.
func (e *Environ) Unset(name string) { delete(e.vars, e.key(name)) }

// Merge sets every variable of other, which wins. Entries that are no
// variables come along too.
func (e *Environ) Merge(other *Environ) {
	for _, v := range other.vars {
		e.vars[e.key(v.name)] = v
	}
	for _, entry := range other.odd {
		e.keepOdd(entry)
	}
}

// Len is the number of variables.
func (e *Environ) Len() int { return len(e.vars) }

// Names returns the names of the variables, sorted.
func (e *Environ) Names() []string {
	names := make([]string, 0, len(e.vars))
	for _, key := range slices.Sorted(maps.Keys(e.vars)) {
		names = append(names, e.vars[key].name)
	}
	return names
}

// List returns the environment as exec wants it: "NAME=value", sorted by name
// (on Windows without regard to case, as its documentation asks), each name once.
func (e *Environ) List() []string {
	type line struct{ key, entry string }
	lines := make([]line, 0, len(e.vars)+len(e.odd))
	for key, v := range e.vars {
		lines = append(lines, line{key, v.name + "=" + v.value})
	}
	for key, entry := range e.odd {
		lines = append(lines, line{key, entry})
	}
	sort.Slice(lines, func(i, j int) bool {
		if a, b := lines[i].key, lines[j].key; a != b {
			return a < b
		}
		return lines[i].entry < lines[j].entry // "A" and "A=1" have one key
	})
	list := make([]string, len(lines))
	for i, l := range lines {
		list[i] = l.entry
	}
	return list
}

// Clone returns a copy that shares nothing with e.
func (e *Environ) Clone() *Environ {
	return &Environ{goos: e.goos, vars: maps.Clone(e.vars), odd: maps.Clone(e.odd)}
}

// Clean returns a new environment with only the variables of e that a program
// needs to find its way on this machine (runner C2), and those named in keep.
// Entries that are no variables are left out, but for the directories of
// drives on Windows.
func (e *Environ) Clean(keep ...string) *Environ {
	c := &Environ{goos: e.goos, vars: map[string]variable{}}
	for key, v := range e.vars {
		if isBasic(key, e.goos) {
			c.vars[key] = v
		}
	}
	for _, name := range keep {
		if v, ok := e.vars[e.key(name)]; ok {
			c.vars[e.key(name)] = v
		}
	}
	if e.goos == "windows" {
		c.odd = maps.Clone(e.odd)
	}
	return c
}

// DropOwn removes the variables that Own names and returns their names, sorted.
func (e *Environ) DropOwn() []string {
	var dropped []string
	for key, v := range e.vars {
		if Own(v.name) {
			dropped = append(dropped, v.name)
			delete(e.vars, key)
		}
	}
	slices.Sort(dropped)
	return dropped
}

// Mark sets the variables by which a program, and an envrun inside it, can see
// that and for which environment it was started by envrun (runner C9).
func (e *Environ) Mark(env vault.Env) {
	e.vars[e.key(MarkRun)] = variable{MarkRun, "1"}
	e.vars[e.key(MarkEnv)] = variable{MarkEnv, string(env)}
}

// Format prints a count: an environment is full of secrets.
func (e *Environ) Format(s fmt.State, _ rune) {
	if e == nil {
		_, _ = s.Write([]byte("[no environment]"))
		return
	}
	fmt.Fprintf(s, "[environment of %d variables]", len(e.vars))
}

// isBasic says whether Clean keeps the variable with this key (runner C2).
func isBasic(key, goos string) bool {
	switch key {
	case "PATH":
		return true
	case "HOME", "USER", "LOGNAME", "SHELL", "TERM", "COLORTERM", "LANG", "LANGUAGE", "TZ", "TMPDIR", "SSH_AUTH_SOCK", "DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR":
		return goos != "windows"
	case "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "OS", "TEMP", "TMP",
		"USERNAME", "USERDOMAIN", "USERPROFILE", "HOMEDRIVE", "HOMEPATH", "APPDATA", "LOCALAPPDATA", "PUBLIC", "ALLUSERSPROFILE",
		"PROGRAMDATA", "PROGRAMFILES", "PROGRAMFILES(X86)", "PROGRAMW6432", "COMMONPROGRAMFILES", "COMMONPROGRAMFILES(X86)", "COMMONPROGRAMW6432",
		"COMPUTERNAME", "NUMBER_OF_PROCESSORS", "PROCESSOR_ARCHITECTURE", "PROCESSOR_IDENTIFIER", "PROCESSOR_LEVEL", "PROCESSOR_REVISION", "PSMODULEPATH", "SESSIONNAME":
		return goos == "windows"
	case "__CF_USER_TEXT_ENCODING":
		return goos == "darwin"
	}
	return goos != "windows" && strings.HasPrefix(key, "LC_")
}
