package policies

import (
	"slices"
	"sort"
	"strings"
	"time"

	"envrun/vault/policy"
)

// A Step is one policy that applying a folder changes.
type Step struct {
	Name   string
	File   string // of the folder; "" if it is removed
	Was    string // the text on the server; "" if there is none
	Now    string // the text of the folder; "" if it is removed
	New    bool
	Remove bool

	// Changes are what it means: what a token with this policy alone may do more
	// or less. Broken says that the text on the server is none that can be read, and
	// Partly that there are too many rules to tell all.
	Changes []policy.Change
	Broken  bool
	Partly  bool
}

// What says in one word what a step does.
func (s Step) What() string {
	switch {
	case s.New:
		return "new"
	case s.Remove:
		return "removed"
	}
	return "changed"
}

// Diff is the difference of the texts, as diff -u shows it.
func (s Step) Diff() string {
	was, now := s.Name+" on the server", s.File
	if s.New {
		was = "/dev/null"
	}
	if s.Remove {
		now = "/dev/null"
	}
	return Unified(s.Was, s.Now, was, now)
}

// A Plan is what applying a folder to a server changes there.
type Plan struct {
	Steps     []Step   // sorted by name, those that remove last
	Same      []string // policies that are on the server as they are in the folder
	Unmanaged []string // policies on the server that the folder does not have and that stay
	Flips     []Flip   // test lines that the server's policies decide otherwise
}

// A Flip is a test line that is decided otherwise after the plan than before.
type Flip struct {
	File     string   `json:"file"`
	Line     int      `json:"line"`
	Policies []string `json:"policies"`
	Op       string   `json:"operation"`
	Path     string   `json:"path"`
	Allowed  bool     `json:"allowed"` // by what the folder has
}

// Plan works out what is to be done to make a server have what the folder has.
// there are the texts on the server by name; names are all of its policies, nil if
// they are not known. With prune those that the folder does not have are removed, but
// for those that every server has. The folder has no Errors.
func (f *Folder) Plan(there map[string]string, names []string, prune bool, now time.Time) Plan {
	var p Plan
	for _, file := range f.Files {
		if file.Policy == nil {
			continue
		}
		was, exists := there[file.Name]
		if exists && was == file.Text {
			p.Same = append(p.Same, file.Name)
			continue
		}
		p.Steps = append(p.Steps, step(Step{Name: file.Name, File: file.File, Was: was, Now: file.Text, New: !exists}, file.Policy))
	}
	for _, name := range slices.Sorted(slices.Values(names)) {
		if f.has(name) || name == policy.RootName || name == policy.DefaultName || name == policy.WrappingName {
			continue
		}
		if was, readable := there[name]; prune && readable {
			p.Steps = append(p.Steps, step(Step{Name: name, Was: was, Remove: true}, nil))
		} else {
			p.Unmanaged = append(p.Unmanaged, name)
		}
	}
	sort.SliceStable(p.Steps, func(i, j int) bool { return !p.Steps[i].Remove && p.Steps[j].Remove })
	p.Flips = f.flips(there, now)
	return p
}

func (f *Folder) has(name string) bool {
	return slices.ContainsFunc(f.Files, func(p File) bool { return p.Name == name && p.Policy != nil })
}

func step(s Step, now *policy.Policy) Step {
	var was *policy.Policy
	if !s.New {
		p, err := policy.Parse(s.Name, s.Was)
		if s.Broken = err != nil; !s.Broken {
			p.AllowSlashes = s.Name == policy.DefaultName
			was = p
		}
	}
	if !s.Broken {
		changes, complete := policy.Compare([]*policy.Policy{was}, []*policy.Policy{now})
		s.Changes, s.Partly = changes, !complete
	}
	return s
}

// flips runs the tests of the folder by what the server has.
func (f *Folder) flips(there map[string]string, now time.Time) (flips []Flip) {
	parsed := map[string]*policy.Policy{}
	for name, text := range there {
		if p, err := policy.Parse(name, text); err == nil {
			p.AllowSlashes = name == policy.DefaultName
			parsed[name] = p
		}
	}
	for _, file := range f.Files {
		if file.Tests == nil {
			continue
		}
		of := func(before bool) func([]string) []*policy.Policy {
			return func(names []string) (list []*policy.Policy) {
				for _, name := range namesOf(names, file) {
					if p := f.policy(name); !before || !f.has(name) && parsed[name] == nil {
						list = append(list, p)
					} else {
						list = append(list, parsed[name])
					}
				}
				return list
			}
		}
		was, is := file.Tests.Run(of(true), now), file.Tests.Run(of(false), now)
		for i, r := range is {
			if r.Decision.Allowed != was[i].Decision.Allowed {
				flips = append(flips, Flip{file.TestsFile, r.Line, namesOf(r.Policies, file), r.Request.Op.String(), r.Request.Path, r.Decision.Allowed})
			}
		}
	}
	return flips
}

// LockedOut are the rights over policies that a token which has the policies held
// loses by the plan: what it could do by the texts that are there, and cannot by those
// that will be. known is false if one of them is not among the texts.
func (p Plan) LockedOut(held []string, there map[string]string, now time.Time) (lost []string, known bool) {
	if slices.Contains(held, policy.RootName) {
		return nil, true
	}
	var before, after []*policy.Policy
	known = true
	for _, name := range held {
		was, exists := there[name]
		is, i := was, slices.IndexFunc(p.Steps, func(s Step) bool { return s.Name == name })
		if i >= 0 {
			is = p.Steps[i].Now
		} else if !exists {
			known = known && name == policy.DefaultName
			continue
		}
		for _, side := range [...]struct {
			text string
			list *[]*policy.Policy
		}{{was, &before}, {is, &after}} {
			if side.text == "" {
				continue
			}
			parsed, err := policy.Parse(name, side.text)
			if err != nil {
				known = false
				continue
			}
			*side.list = append(*side.list, parsed)
		}
	}
	facts := policy.Facts{Now: now}
	was, is := policy.Compile(before, facts), policy.Compile(after, facts)
	look := func(op policy.Op, path string) {
		req := policy.Request{Op: op, Path: path, Now: now}
		if was.Decide(req).Allowed && !is.Decide(req).Allowed {
			lost = append(lost, op.String()+" on "+path)
		}
	}
	look(policy.OpList, "sys/policies/acl/")
	var names []string
	for _, s := range p.Steps {
		names = append(names, s.Name)
	}
	names = append(names, p.Same...)
	slices.Sort(names)
	for _, name := range names {
		for _, op := range [...]policy.Op{policy.OpRead, policy.OpUpdate, policy.OpDelete} {
			look(op, "sys/policies/acl/"+name)
		}
	}
	return lost, known
}

// Says is what a change means, in a line.
func Says(c policy.Change) string {
	var parts []string
	if g := c.Gained(); g != 0 {
		parts = append(parts, "gains "+g.String())
	}
	if l := c.Lost(); l != 0 {
		parts = append(parts, "loses "+l.String())
	}
	if c.Conditions {
		parts = append(parts, "under other conditions")
	}
	return strings.Join(parts, ", ")
}
