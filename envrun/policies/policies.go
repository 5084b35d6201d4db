// Package policies is a folder of policies that a team keeps as code: one file a
// policy, NAME.hcl or NAME.json, and beside it NAME.tests with the lines that say
// what it must do. It checks them, runs their tests, and works out what a server
// would be changed by if the folder were applied to it.
//
// It refuses to talk to anybody: what a server has is given to it, and what is to
// be written there is handed back. It reads the files of one folder and writes none.
package policies

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"envrun/vault"
	"envrun/vault/policy"
)

// A Folder is what is in one folder, or in one file of it, sorted by name.
type Folder struct {
	Files []File
	kv    []string
}

// A File is one policy.
type File struct {
	Name   string
	File   string         // as it was found from where Read began
	Text   string         // as it is in the file
	Policy *policy.Policy // nil: see Err
	Err    error          // why it is none

	Tests     *policy.Tests // nil: there are none
	TestsFile string
	TestsErr  error
}

// Read reads a folder, or one file and the tests beside it. KV are the mounts of KV
// version 2 that are known, "prod"; those that the policies themselves treat as such
// are found. What is wrong with a file stands in it; the error is that nothing could
// be read. Folders in the folder are not looked into.
func Read(place string, kv []string) (*Folder, error) {
	info, err := os.Stat(place)
	if err != nil {
		return nil, err
	}
	f := &Folder{kv: kv}
	if !info.IsDir() {
		dir, base := filepath.Split(place)
		name := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(base, ".tests"), ".json"), ".hcl")
		for _, ext := range [...]string{".hcl", ".json", ".tests"} {
			if _, err := os.Stat(filepath.Join(dir, name+ext)); err == nil {
				f.add(filepath.Join(dir, name+ext))
			}
		}
		if len(f.Files) == 0 {
			return nil, &vault.Error{Kind: vault.KindInvalid, File: place, Detail: "is no policy: those are NAME.hcl or NAME.json"}
		}
		return f, nil
	}
	entries, err := os.ReadDir(place)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		switch filepath.Ext(e.Name()) {
		case ".hcl", ".json", ".tests":
			if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
				f.add(filepath.Join(place, e.Name()))
			}
		}
	}
	sort.Slice(f.Files, func(i, j int) bool { return f.Files[i].Name < f.Files[j].Name })
	return f, nil
}

// Of is a folder of one policy with this text.
func Of(name, file, text string) *Folder {
	p := File{Name: name, File: file, Text: text}
	p.parse()
	return &Folder{Files: []File{p}}
}

func (f *Folder) add(file string) {
	ext := filepath.Ext(file)
	name := strings.TrimSuffix(filepath.Base(file), ext)
	i := slices.IndexFunc(f.Files, func(p File) bool { return p.Name == name })
	if i < 0 {
		f.Files = append(f.Files, File{Name: name})
		i = len(f.Files) - 1
	}
	p := &f.Files[i]
	text, err := readText(file)
	switch {
	case ext == ".tests":
		p.TestsFile, p.TestsErr = file, err
		if err == nil {
			p.Tests, p.TestsErr = policy.ParseTests(file, text)
		}
	case p.File != "":
		p.Policy, p.Err = nil, &vault.Error{Kind: vault.KindInvalid, File: file, Detail: "is the policy " + name + ", and " + filepath.Base(p.File) + " is too"}
	case err != nil:
		p.File, p.Err = file, err
	default:
		p.File, p.Text = file, text
		p.parse()
	}
}

func (p *File) parse() {
	name, err := policy.Name(p.Name)
	invalid := func(detail string) error {
		return &vault.Error{Kind: vault.KindInvalid, File: p.File, Detail: detail}
	}
	switch {
	case err != nil:
		p.Err = invalid(fmt.Sprintf("%q is no name: %s", p.Name, detail(err)))
	case name != p.Name:
		p.Err = invalid(fmt.Sprintf("the policy %q is called %q on a server: rename the file", p.Name, name))
	case name == policy.RootName || name == policy.WrappingName:
		p.Err = invalid(fmt.Sprintf("the policy %s is the server's own and cannot be written", name))
	case strings.TrimSpace(p.Text) == "":
		p.Err = invalid("is empty, which no server takes: a comment gives nothing too")
	default:
		p.Policy, p.Err = policy.Parse(name, p.Text)
		if ve := (*vault.Error)(nil); errors.As(p.Err, &ve) {
			ve.File = p.File
		} else {
			p.Policy.AllowSlashes = name == policy.DefaultName
		}
	}
}

func detail(err error) string {
	var ve *vault.Error
	if errors.As(err, &ve) && ve.Detail != "" {
		return ve.Detail
	}
	return err.Error()
}

// readText reads a file that is not larger than a policy may be, or its tests.
func readText(file string) (string, error) {
	in, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer in.Close()
	text, err := io.ReadAll(io.LimitReader(in, 1<<20+1))
	return string(text), err
}

// Errors are why files cannot be used, all of them.
func (f *Folder) Errors() []error {
	var errs []error
	for _, p := range f.Files {
		if p.Err != nil {
			errs = append(errs, p.Err)
		}
		if p.TestsErr != nil {
			errs = append(errs, p.TestsErr)
		}
	}
	return errs
}

// Level says how much a finding is.
type Level string

const (
	Error   Level = "error"   // it cannot be used
	Warning Level = "warning" // it gives more, or takes away less, than it seems to
	Note    Level = "note"    // it may not be what was meant
)

// A Finding is something about one place of a file.
type Finding struct {
	File    string             `json:"file"`
	Line    int                `json:"line,omitempty"`
	Policy  string             `json:"policy"`
	Level   Level              `json:"level"`
	Kind    policy.WarningKind `json:"kind,omitempty"`
	Path    string             `json:"path,omitempty"` // of the rule
	What    string             `json:"what"`
	Why     string             `json:"why,omitempty"`
	Instead string             `json:"instead,omitempty"`
}

// Check looks for what is wrong and for what is often not meant. Errors come
// first.
func (f *Folder) Check() []Finding {
	found := []Finding{}
	for _, p := range f.Files {
		for _, err := range [...]error{p.Err, p.TestsErr} {
			if err != nil {
				found = append(found, finding(p, err))
			}
		}
	}
	known := f.known()
	for _, p := range f.Files {
		if p.Policy == nil {
			continue
		}
		for _, w := range policy.Check(p.Policy, known) {
			level := Note
			if w.Severe {
				level = Warning
			}
			found = append(found, Finding{p.File, w.Line, p.Name, level, w.Kind, w.Pattern, w.Detail, w.Kind.Why(), w.Instead})
		}
	}
	return found
}

// finding is an error at a place of a file.
func finding(p File, err error) Finding {
	d := Finding{File: p.File, Policy: p.Name, Level: Error, What: err.Error()}
	var ve *vault.Error
	if errors.As(err, &ve) && ve.File != "" {
		d.File, d.Line, d.What = ve.File, ve.Line, ve.Detail
	}
	return d
}

// known are the mounts that Check is told of: those given to Read, and those whose
// paths the policies write as only KV version 2 has them.
func (f *Folder) known() policy.Known {
	var k policy.Known
	add := func(mount string) {
		path := mount + "/"
		if mount != "" && !slices.ContainsFunc(k.Mounts, func(m policy.Mount) bool { return m.Path == path }) {
			k.Mounts = append(k.Mounts, policy.Mount{Path: path, KV: true})
		}
	}
	for _, m := range f.kv {
		add(strings.Trim(m, "/"))
	}
	for _, p := range f.Files {
		if p.Policy == nil {
			continue
		}
		for _, r := range p.Policy.Rules {
			for _, part := range [...]string{"/data/", "/metadata/"} {
				mount, _, ok := strings.Cut(r.Pattern, part)
				if ok && !strings.ContainsAny(mount, "+*{") && !strings.HasPrefix(mount, "sys") && !strings.HasPrefix(mount, "auth/") {
					add(mount)
				}
			}
		}
	}
	return k
}

// An Outcome is what became of one test line.
type Outcome struct {
	File     string   `json:"file"`
	Line     int      `json:"line"`
	Policies []string `json:"policies"`
	Want     string   `json:"want"` // "allow" or "deny"
	Op       string   `json:"operation"`
	Path     string   `json:"path"`
	Who      string   `json:"as,omitempty"`
	Passed   bool     `json:"passed"`
	Decision string   `json:"decision"` // and the rule that made it
}

// Tested is what the tests of a folder say, and what they do not look at.
type Tested struct {
	Outcomes []Outcome `json:"outcomes"`
	Failed   int       `json:"failed"`
	Untested []Finding `json:"untested"` // policies without a test, and rules that no test asks for
}

// Test runs the tests of every policy that has some. The folder has no Errors. The
// error is a test that names a policy which is not there.
func (f *Folder) Test(now time.Time) (Tested, error) {
	t := Tested{Outcomes: []Outcome{}, Untested: []Finding{}}
	asked := map[policy.Source]bool{}
	for _, p := range f.Files {
		if p.Tests == nil {
			continue
		}
		for _, c := range p.Tests.Cases {
			for _, name := range namesOf(c.Policies, p) {
				if f.policy(name) == nil {
					return t, &vault.Error{Kind: vault.KindInvalid, File: p.TestsFile, Line: c.Line, Detail: fmt.Sprintf("there is no policy %s beside it", name)}
				}
			}
		}
		of := func(names []string) (list []*policy.Policy) {
			for _, name := range namesOf(names, p) {
				list = append(list, f.policy(name))
			}
			return list
		}
		for _, r := range p.Tests.Run(of, now) {
			o := Outcome{p.TestsFile, r.Line, namesOf(r.Policies, p), "deny", r.Request.Op.String(), r.Request.Path, r.Who, r.Passed(), r.Decision.String()}
			if r.Allow {
				o.Want = "allow"
			}
			if !o.Passed {
				t.Failed++
			}
			t.Outcomes = append(t.Outcomes, o)
			for _, s := range r.Decision.Sources {
				asked[policy.Source{Policy: s.Policy, Line: s.Line}] = true
			}
		}
	}
	for _, p := range f.Files {
		if p.Policy == nil {
			continue
		}
		any := false
		var rest []Finding
		for _, r := range p.Policy.Rules {
			if asked[policy.Source{Policy: p.Name, Line: r.Line}] {
				any = true
			} else {
				rest = append(rest, Finding{File: p.File, Line: r.Line, Policy: p.Name, Level: Note, Path: r.Pattern, What: "no test asks for what this rule decides"})
			}
		}
		if !any {
			rest = []Finding{{File: p.File, Policy: p.Name, Level: Note, What: "no test asks for anything of this policy", Instead: "allow and deny lines in " + strings.TrimSuffix(p.File, filepath.Ext(p.File)) + ".tests"}}
		}
		t.Untested = append(t.Untested, rest...)
	}
	return t, nil
}

func namesOf(names []string, p File) []string {
	if names == nil {
		return []string{p.Name}
	}
	return names
}

// policy is one of the folder, or what every server has as default.
func (f *Folder) policy(name string) *policy.Policy {
	for i := range f.Files {
		if f.Files[i].Name == name {
			return f.Files[i].Policy
		}
	}
	if name == policy.DefaultName {
		p, err := policy.Parse(name, policy.DefaultText)
		if err == nil {
			p.AllowSlashes = true
			return p
		}
	}
	return nil
}

// Count is how many policies there are.
func (f *Folder) Count() int {
	n := 0
	for _, p := range f.Files {
		if p.File != "" {
			n++
		}
	}
	return n
}
