package filevault_test

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"envrun/vault"
	"envrun/vault/filevault"
)

// How every step of an operation is killed at without a process for each.
//
// The operation runs once, in this process, on a real folder, and a trace notes
// each of its steps with names and bytes. What a kill leaves depends on nothing
// else: the system keeps all that was done and has nothing of the rest. So the
// folder as it was after any number of steps can be built again from the trace,
// on a real file system, and there real code reads it, recovers it and verifies
// it. A step that is more than one change of the disk, as the removal of a
// folder is, counts as all of them, and a write is killed in its middle too.
//
// Building a folder of thousands of files for each of thousands of steps takes
// too long. A replica is one folder that is made into the next state by what
// differs from the one that it is in: a file is a link to one of a pool, and is
// known again by its time. And of steps that are like those around them, the
// hundreds of files staged or moved, real code comes to one in 24 only; at all
// others the journal is carried out in memory, by the rules that journal.go
// gives. FILEVAULT_THOROUGH=1 has real code come to every one.
//
// A replay knows the steps that it is told of. That there are no others is seen
// by comparing the real folder with the trace at the end of each operation; and
// TestCrash and TestKills kill real processes.

// A kind of event.
type kind int

const (
	didCreate  kind = iota // an empty file
	didWrite               // all of its bytes
	didMkdir               // a folder
	didRename              // over what is there
	didUnlink              // a file, or an empty folder
	didSync                // a file's bytes
	didSyncDir             // a folder's names
	didSyncAll             // everything
)

// An event is a change of a disk, or a sync. Files and folders have numbers,
// as a file system has them, since their names come and go.
type event struct {
	kind kind
	node int    // what it is about
	dir  int    // the folder with the name that comes (create, mkdir, rename) or goes (unlink)
	name string // in it
	old  int    // of a rename, the folder with the name that goes
	from string // in it
	data string // of a write
	step string // how the step was called, for messages
}

func (e event) String() string { return e.step }

// A model is a disk: nodes by number, 0 the folder of the vault.
type model struct{ nodes []node }

type node struct {
	names map[string]int // of a folder; nil for a file
	data  string         // of a file
}

func newModel() *model { return &model{[]node{{names: map[string]int{}}}} }

func (m *model) clone() *model {
	c := &model{slices.Clone(m.nodes)}
	for i, n := range c.nodes {
		c.nodes[i].names = maps.Clone(n.names)
	}
	return c
}

func (m *model) add(n node) int {
	m.nodes = append(m.nodes, n)
	return len(m.nodes) - 1
}

// need makes a node with that number; a power cut can lose the event that made it.
func (m *model) need(number int, dir bool) {
	for len(m.nodes) <= number {
		m.nodes = append(m.nodes, node{})
	}
	if dir && m.nodes[number].names == nil {
		m.nodes[number].names = map[string]int{}
	}
}

func (m *model) apply(e event) {
	switch e.kind {
	case didCreate, didMkdir:
		m.need(e.node, e.kind == didMkdir)
		m.nodes[e.dir].names[e.name] = e.node
	case didWrite:
		m.nodes[e.node].data = e.data
	case didRename:
		m.nodes[e.dir].names[e.name] = e.node
		if m.nodes[e.old].names[e.from] == e.node {
			delete(m.nodes[e.old].names, e.from)
		}
	case didUnlink:
		if m.nodes[e.dir].names[e.name] == e.node {
			delete(m.nodes[e.dir].names, e.name)
		}
	}
}

// find returns the node at a name, -1 if there is none.
func (m *model) find(name string) int {
	at := 0
	if name == "" || name == "." {
		return at
	}
	for seg := range strings.SplitSeq(name, "/") {
		next, ok := m.nodes[at].names[seg]
		if !ok {
			return -1
		}
		at = next
	}
	return at
}

// A listing is what can be found on a disk: files with their bytes, and folders
// with a slash after their names.
type listing map[string]string

func (m *model) list() listing {
	l := make(listing, len(m.nodes))
	var walk func(dir int, prefix string)
	walk = func(dir int, prefix string) {
		for name, number := range m.nodes[dir].names {
			if n := m.nodes[number]; n.names == nil {
				l[prefix+name] = n.data
			} else {
				l[prefix+name+"/"] = ""
				walk(number, prefix+name+"/")
			}
		}
	}
	walk(0, "")
	return l
}

// withFolders adds the folders that files are in.
func (l listing) withFolders() listing {
	all := maps.Clone(l)
	for name := range l {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			all[dir+"/"] = ""
		}
	}
	return all
}

// lockFile is no part of a vault, and no step.
const lockFile = ".lock"

// A trace notes what is done to a vault.
type trace struct {
	mu     sync.Mutex
	dir    string // the folder of the vault; names begin there
	start  *model
	now    *model
	events []event
	bounds []*bound
	broken bool // it begins with a vault that is not in order
}

// A bound is a state that something may be found in: how the vault is between
// two writes.
type bound struct {
	at       int // how many events have led to it
	files    listing
	reading  string // what a reader gets of it
	findings string // what verify says
}

// newTrace begins a trace with the folder as it is.
func newTrace(t testing.TB, dir string) *trace {
	t.Helper()
	r := &replica{dir: dir}
	m := newModel()
	l := r.look(t, nil)
	for _, name := range slices.Sorted(maps.Keys(l)) { // folders come before what is in them
		at, base := m.find(path.Dir(strings.TrimSuffix(name, "/"))), path.Base(name)
		if strings.HasSuffix(name, "/") {
			m.nodes[at].names[base] = m.add(node{names: map[string]int{}})
		} else {
			m.nodes[at].names[base] = m.add(node{data: l[name]})
		}
	}
	return traceFrom(m, dir)
}

// traceFrom begins a trace at a state.
func traceFrom(m *model, dir string) *trace {
	tr := &trace{dir: dir, start: m, now: m.clone()}
	tr.bound()
	return tr
}

// bound says that the vault is between two writes.
func (tr *trace) bound() {
	files := settled(tr.now.list())
	if n := len(tr.bounds); n > 0 && maps.Equal(tr.bounds[n-1].files, files) {
		return
	}
	tr.bounds = append(tr.bounds, &bound{at: len(tr.events), files: files})
}

// applyTo applies an event and returns the listing after it, given that before.
func (m *model) applyTo(l listing, e event) listing {
	m.apply(e)
	name := m.path(e.dir) + e.name
	switch e.kind {
	case didCreate, didWrite:
		l[name] = e.data
	case didMkdir:
		l[name+"/"] = ""
	case didRename, didUnlink:
		if m.nodes[e.node].names != nil { // all that is in it has another name
			return m.list()
		}
		if e.kind == didUnlink {
			delete(l, name)
			break
		}
		old := m.path(e.old) + e.from
		l[name] = l[old]
		delete(l, old)
	}
	return l
}

// path is where a folder is, with a slash at the end unless it is the top.
func (m *model) path(dir int) string {
	if dir == 0 {
		return ""
	}
	for number, n := range m.nodes {
		for name, at := range n.names {
			if at == dir {
				return m.path(number) + name + "/"
			}
		}
	}
	return ""
}

// settled are the files that make up a vault.
func settled(l listing) listing {
	l = maps.Clone(l)
	maps.DeleteFunc(l, func(name, _ string) bool {
		return strings.HasSuffix(name, "/") || strings.HasPrefix(name, ".txn/") || strings.HasPrefix(name, ".tmp-")
	})
	return l
}

// step is for filevault.SetStep.
func (tr *trace) step(s filevault.Step) error {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	rel, err := filepath.Rel(tr.dir, s.Dir)
	if err != nil {
		return err
	}
	in := func(name string) string { return path.Join(filepath.ToSlash(rel), name) }
	name := in(s.Name)
	at, base := tr.now.find(path.Dir(name)), path.Base(name)
	number := tr.now.find(name)
	e := event{node: number, dir: at, name: base, step: s.Op + " " + name}
	must := func(ok bool) {
		if !ok {
			panic("a step that cannot be: " + e.step)
		}
	}
	switch s.Op {
	case "lock":
		// Whoever takes the lock has done all that came before, and it lasts.
		tr.bound()
		return nil
	case "create":
		must(number < 0 && at >= 0)
		e.kind, e.node = didCreate, len(tr.now.nodes)
	case "mkdir":
		must(number < 0 && at >= 0)
		e.kind, e.node = didMkdir, len(tr.now.nodes)
	case "write":
		must(number >= 0)
		e.kind, e.data = didWrite, string(s.Data)
	case "sync":
		must(number >= 0)
		e.kind = didSync
	case "syncdir":
		must(number >= 0)
		e.kind = didSyncDir
	case "syncfs":
		if runtime.GOOS != "linux" {
			return nil // there is no such call, and each file is synced for itself
		}
		e.kind = didSyncAll
	case "rename":
		from := in(s.From)
		e.kind, e.node, e.old, e.from = didRename, tr.now.find(from), tr.now.find(path.Dir(from)), path.Base(from)
		e.step = "rename " + from + " to " + name
		if e.node < 0 {
			return nil // nothing is there: it is done already, and fails
		}
		must(at >= 0)
	case "remove":
		if number >= 0 {
			tr.removeAll(e)
		}
		return nil
	default:
		panic("a step of a kind that no replay knows: " + s.Op)
	}
	tr.add(e)
	return nil
}

func (tr *trace) add(e event) {
	tr.events = append(tr.events, e)
	tr.now.apply(e)
}

// removeAll removes what is in a folder, and then it.
func (tr *trace) removeAll(e event) {
	for _, name := range slices.Sorted(maps.Keys(tr.now.nodes[e.node].names)) {
		tr.removeAll(event{node: tr.now.nodes[e.node].names[name], dir: e.node, name: name, step: e.step + "/" + name})
	}
	e.kind = didUnlink
	tr.add(e)
}

// between are the bounds that a vault may be found at after n events: the last
// that was reached, and the one on the way.
func (tr *trace) between(n int) []*bound {
	i := len(tr.bounds) - 1
	for i > 0 && tr.bounds[i].at > n {
		i--
	}
	return tr.bounds[i:min(i+2, len(tr.bounds))]
}

// after is the state after n events.
func (tr *trace) after(n int) *model {
	m := tr.start.clone()
	for _, e := range tr.events[:n] {
		m.apply(e)
	}
	return m
}

// A replica is a folder that is made to be what a listing says, again and again.
type replica struct {
	dir  string
	pool string
	is   listing
	link map[string]string    // bytes to the file in the pool that has them
	know map[time.Time]string // the time of such a file to its bytes

	copies bool // the pool is on another disk, and cannot be linked to
}

func newReplica(t testing.TB, dir string) *replica {
	t.Helper()
	r := &replica{dir: dir, pool: t.TempDir(), is: listing{}, link: map[string]string{}, know: map[time.Time]string{}}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return r
}

// epoch is when no file of a test was written.
var epoch = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)

// file returns the file of the pool with these bytes.
func (r *replica) file(t testing.TB, data string) string {
	t.Helper()
	if name, ok := r.link[data]; ok {
		return name
	}
	n := len(r.link)
	name := filepath.Join(r.pool, fmt.Sprint(n))
	write(t, name, []byte(data))
	at := epoch.Add(time.Duration(n) * time.Millisecond)
	if err := os.Chtimes(name, at, at); err != nil {
		t.Fatal(err)
	}
	r.link[data], r.know[at] = name, data
	return name
}

// set makes the folder what l says.
func (r *replica) set(t testing.TB, l listing) {
	t.Helper()
	var gone, come []string
	for name, data := range r.is {
		if to, ok := l[name]; !ok || to != data {
			gone = append(gone, name)
		}
	}
	for name, data := range l {
		if is, ok := r.is[name]; !ok || is != data {
			come = append(come, name)
		}
	}
	slices.Sort(gone) // folders before what is in them
	slices.Sort(come)
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(r.dir, name) }
	// A file that is not needed where it is may be needed elsewhere.
	spare := map[string]string{} // bytes to the name of such a file
	for _, name := range gone {
		if !strings.HasSuffix(name, "/") {
			spare[r.is[name]] = name
		}
	}
	moved := map[string]bool{}
	for _, name := range come {
		if strings.HasSuffix(name, "/") {
			must(os.Mkdir(at(name), 0o755))
			continue
		}
		old, over := r.is[name]
		if over && spare[old] == name {
			delete(spare, old)
		}
		if from, ok := spare[l[name]]; ok {
			must(os.Rename(at(from), at(name)))
			delete(spare, l[name])
			moved[from] = true
			continue
		}
		if over && !moved[name] {
			must(os.Remove(at(name)))
		}
		if r.copies {
			write(t, at(name), []byte(l[name]))
			continue
		}
		must(os.Link(r.file(t, l[name]), at(name)))
	}
	for _, name := range slices.Backward(gone) {
		if _, stays := l[name]; !stays && !moved[name] {
			must(os.Remove(at(name)))
		}
	}
	r.is = l
}

// look says what the folder is. The bytes of files that guess knows are as it
// says; with nil they are looked at.
func (r *replica) look(t testing.TB, guess listing) listing {
	t.Helper()
	l := make(listing, len(r.is))
	err := filepath.WalkDir(r.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == r.dir || d.Name() == lockFile {
			return err
		}
		rel := filepath.ToSlash(name[len(r.dir)+1:])
		if d.IsDir() {
			l[rel+"/"] = ""
			return nil
		}
		data, ok := guess[rel]
		if !ok {
			fi, err := d.Info()
			if err != nil {
				return err
			}
			if data, ok = r.know[fi.ModTime().UTC()]; !ok {
				data = string(read(t, name))
			}
		}
		l[rel] = data
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r.is = l
	return l
}

// A judge says whether what is found of a vault can be.
type judge struct {
	*replica
	o     filevault.Options
	pins  []byte                                              // what the machine knew before the operation
	file  string                                              // where it keeps that
	env   vault.Env                                           // where something is written
	read  []vault.Path                                        // what is read of dev; nil for everything in every environment
	mend  func(ctx context.Context, v *filevault.Vault) error // what makes it good; nil: the next write
	after vault.Path                                          // what is written to see that it works
	n     int
}

// newJudge makes a judge of what is going to be done to a vault.
func newJudge(t testing.TB, v *filevault.Vault, o filevault.Options) *judge {
	t.Helper()
	pins := filepath.Join("pins", v.ID()+".toml")
	j := &judge{o: o, pins: read(t, filepath.Join(o.StateDir, pins)), env: "dev", after: "after"}
	dir := t.TempDir()
	j.o.Dir, j.o.StateDir = filepath.Join(dir, ".envrun", "vault"), filepath.Join(dir, "state")
	j.file = filepath.Join(j.o.StateDir, pins)
	j.replica = newReplica(t, j.o.Dir)
	if err := os.MkdirAll(filepath.Dir(j.file), 0o700); err != nil {
		t.Fatal(err)
	}
	return j
}

func (j *judge) afterFile() string {
	return "envs/" + string(j.env) + "/secrets/" + string(j.after) + ".sec"
}

// prepare makes the vault what l says, for a machine that knows what it knew.
func (j *judge) prepare(t testing.TB, l listing) {
	t.Helper()
	j.set(t, l)
	if err := os.WriteFile(j.file, j.pins, 0o600); err != nil {
		t.Fatal(err)
	}
}

// reading is what a reader gets.
func (j *judge) reading(t testing.TB, v *filevault.Vault) string {
	t.Helper()
	var b strings.Builder
	put := func(all []vault.Secret, err error) {
		if err != nil {
			fmt.Fprintln(&b, err)
		}
		for _, s := range all {
			if s.Path != j.after {
				fmt.Fprintf(&b, "%s %d %s\n", s.Path, s.Version, show(s))
			}
		}
	}
	if j.read != nil {
		put(v.GetMany(t.Context(), "dev", j.read))
		return b.String()
	}
	for _, env := range []vault.Env{"dev", "prod"} {
		put(v.GetAll(t.Context(), env, ""))
	}
	return b.String()
}

// verify is what verify finds and what status finds lying around.
func (j *judge) verify(t testing.TB, v *filevault.Vault) string {
	t.Helper()
	envs, err := v.Envs(t.Context())
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, env := range envs {
		for _, err := range findings(t, v, env) {
			fmt.Fprintln(&b, err)
		}
	}
	s, err := v.Status(t.Context())
	if err != nil {
		return err.Error()
	}
	for _, err := range s.Strays {
		fmt.Fprintln(&b, err)
	}
	if s.Journal != filevault.NoJournal {
		fmt.Fprintln(&b, s.Journal)
	}
	return b.String()
}

// learn lets the judge know what is found at every bound of a trace.
func (j *judge) learn(t testing.TB, tr *trace) {
	t.Helper()
	for i, b := range tr.bounds {
		j.prepare(t, b.files.withFolders())
		v := open(t, j.o)
		b.reading, b.findings = j.reading(t, v), j.verify(t, v)
		if b.findings != "" && (i == len(tr.bounds)-1 || !tr.broken) {
			t.Fatalf("verify is not clean after %d events:\n%s", b.at, b.findings)
		}
	}
}

// try looks at what is left of a vault. It must be one of may, for the next
// writer, who works at once and leaves nothing behind, and with reader for a
// reader before that; with whole, for verify too. It returns what was done.
func (j *judge) try(t testing.TB, m *model, may []*bound, reader, whole bool) *trace {
	t.Helper()
	j.n++
	j.prepare(t, m.list())
	v := open(t, j.o)
	tr := traceFrom(m, j.o.Dir)
	filevault.SetStep(v, tr.step)
	if reader {
		got := j.reading(t, v)
		if !slices.ContainsFunc(may, func(b *bound) bool { return b.reading == got }) {
			t.Errorf("a reader gets\n%s\nwhich is none of", got)
			for _, b := range may {
				t.Errorf("%s", b.reading)
			}
		}
	}
	if j.mend != nil {
		if err := j.mend(t.Context(), v); err != nil {
			t.Errorf("the same again: %v", err)
			return nil
		}
	}
	value := fmt.Sprintf("A=%d", j.n) // another one than there may be
	if _, err := v.Apply(t.Context(), j.env, []vault.Change{change(j.after, value)}); err != nil {
		t.Errorf("the next write: %v", err)
		return nil
	}
	guess := tr.now.list()
	if whole {
		guess = nil
	}
	found := j.look(t, guess)
	files := settled(found)
	delete(files, j.afterFile())
	if j.mend != nil { // which does not do the same twice
		may = may[len(may)-1:]
		files = may[0].files
	}
	i := slices.IndexFunc(may, func(b *bound) bool { return maps.Equal(b.files, files) })
	if i < 0 {
		t.Error("after the next write, the vault is in none of the states that it may be in")
		for _, b := range may {
			t.Errorf("other than after %d events: %q", b.at, differences(b.files, files))
		}
		return nil
	}
	for name := range found {
		rest, journal := strings.CutPrefix(name, ".txn/")
		if strings.HasPrefix(name, ".tmp-") || journal && rest != "" && (!strings.HasPrefix(rest, "done-") || strings.Index(rest, "/") < len(rest)-1) {
			t.Errorf("left behind: %s", name)
		}
	}
	if got := get(t, v, j.env, j.after); got != value {
		t.Errorf("what was written is read as %q", got)
	}
	if !whole {
		return tr
	}
	if got := j.reading(t, v); got != may[i].reading {
		t.Errorf("a reader gets\n%s\nand not\n%s", got, may[i].reading)
	}
	if got := j.verify(t, v); got != may[i].findings {
		t.Errorf("verify finds\n%s\nand not\n%s", got, may[i].findings)
	}
	return tr
}

// differences are the names of what is not the same in both.
func differences(a, b listing) (names []string) {
	for name, data := range a {
		if got, ok := b[name]; !ok || got != data {
			names = append(names, name)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// finished is a vault as it is once the journal that has happened is done, by
// the rules of journal.go.
func finished(l listing) (listing, error) {
	done := settled(l)
	for name, commit := range l {
		id, ok := strings.CutSuffix(name, "/commit")
		if !ok || !strings.HasPrefix(id, ".txn/") || strings.HasPrefix(id, ".txn/done-") {
			continue
		}
		lines := strings.Split(strings.TrimSuffix(commit, "\n"), "\n")
		if lines[0] != "envrun-txn v1" || lines[len(lines)-1] != fmt.Sprintf("end %d", len(lines)-2) {
			return nil, fmt.Errorf("a commit of half a journal")
		}
		for i, line := range lines[1 : len(lines)-1] {
			switch f := strings.Fields(line); f[0] {
			case "move":
				if data, ok := l[id+"/"+f[1]]; ok {
					done[f[2]] = data
				}
			case "drop":
				if _, ok := l[fmt.Sprintf("%s/drop-%d", id, i)]; ok {
					continue
				}
				if _, ok := l[fmt.Sprintf("%s/drop-%d/", id, i)]; ok {
					continue
				}
				maps.DeleteFunc(done, func(name, _ string) bool { return name == f[1] || strings.HasPrefix(name, f[1]+"/") })
			}
		}
	}
	return done, nil
}

// A play is something that is done to a vault.
type play struct {
	name    string
	secrets int // in dev, beside base
	prepare func(t testing.TB, v *filevault.Vault, o filevault.Options)
	do      func(ctx context.Context, v *filevault.Vault) error
	after   vault.Path // what is written then; empty for "after"
	gone    bool       // dev is
	broken  bool       // the vault is, before
	several bool       // it is several operations
}

// record does a play and returns what it did, and who can judge that.
func (p play) record(t testing.TB) (*trace, *judge) {
	t.Helper()
	s := newStage(t, p.secrets)
	o := s.order("", s.dir).options()
	v := open(t, o)
	if p.prepare != nil {
		p.prepare(t, v, o)
		v = open(t, o)
	}
	j := newJudge(t, v, o)
	if p.gone {
		j.env = "prod"
	}
	if p.after != "" {
		j.after = p.after
	}
	if p.broken {
		j.mend = p.do
	}
	if p.secrets > 50 {
		j.env = "prod" // where there is no long seal to parse for every write
		for i := range 8 {
			j.read = append(j.read, manyPath(i*p.secrets/8))
		}
	}
	tr := newTrace(t, o.Dir)
	tr.broken = p.broken
	filevault.SetStep(v, tr.step)
	if err := p.do(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	tr.bound()
	if real := (&replica{dir: o.Dir}).look(t, nil); !maps.Equal(real, tr.now.list()) {
		t.Fatalf("something was done that is no step: %q", differences(real, tr.now.list()))
	}
	if n := len(tr.bounds); n < 2 {
		t.Fatal("nothing was done")
	}
	j.learn(t, tr)
	return tr, j
}

// plays are what a vault is used for.
func plays(t testing.TB) []play {
	bob, id := "bob@desktop", identity(t)
	add := func(t testing.TB, v *filevault.Vault, _ filevault.Options) {
		if err := v.AddMember(t.Context(), "dev", filevault.NewMember{Member: bob, Recipient: id.Recipient()}); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(ctx context.Context, v *filevault.Vault) (filevault.Request, error) {
		return v.Request(ctx, "dev", filevault.Ask{Member: bob, Recipient: id.Recipient(), Reason: "new here"})
	}
	asked := func(t testing.TB, v *filevault.Vault, _ filevault.Options) {
		if _, err := ask(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	apply := func(changes ...vault.Change) func(ctx context.Context, v *filevault.Vault) error {
		return func(ctx context.Context, v *filevault.Vault) error {
			_, err := v.Apply(ctx, "dev", changes)
			return err
		}
	}
	rotate := func(ctx context.Context, v *filevault.Vault) error {
		_, err := v.RotateKey(ctx, "dev", filevault.RotateOptions{Why: "test"})
		return err
	}
	return []play{
		{name: "set", secrets: 3, do: apply(change(manyPath(0), "A=new", "B=new"))},
		{name: "create", secrets: 3, after: "new/deep/two", do: apply(change("new/deep/one", "A=new", "B=new"))},
		{name: "delete", secrets: 3, do: apply(del(manyPath(0)))},
		{name: "import", secrets: 6, do: apply(importOf(12)...)},
		{name: "seal", secrets: 3, do: func(ctx context.Context, v *filevault.Vault) error { return v.Seal(ctx, "dev") }},
		{name: "env add", secrets: 3, do: func(ctx context.Context, v *filevault.Vault) error { return v.AddEnv(ctx, "staging") }},
		{name: "env rm", secrets: 3, prepare: asked, gone: true, do: func(ctx context.Context, v *filevault.Vault) error { return v.RemoveEnv(ctx, "dev") }},
		{name: "request", secrets: 3, do: func(ctx context.Context, v *filevault.Vault) error { _, err := ask(ctx, v); return err }},
		{name: "deny", secrets: 3, prepare: asked, do: func(ctx context.Context, v *filevault.Vault) error { return v.Deny(ctx, "dev", bob) }},
		{name: "approve", secrets: 3, prepare: asked, do: func(ctx context.Context, v *filevault.Vault) error {
			all, err := v.Requests(ctx, "dev")
			if err != nil {
				return err
			}
			return v.Approve(ctx, "dev", filevault.Approval{Member: bob, Code: all[0].Code})
		}},
		{name: "member add", secrets: 3, do: func(ctx context.Context, v *filevault.Vault) error {
			return v.AddMember(ctx, "dev", filevault.NewMember{Member: bob, Recipient: id.Recipient()})
		}},
		{name: "member rm", secrets: 6, prepare: add, do: func(ctx context.Context, v *filevault.Vault) error {
			_, err := v.RemoveMembers(ctx, "dev", []string{bob}, filevault.RotateOptions{})
			return err
		}},
		{name: "rotate", secrets: 12, do: rotate},
		{name: "resume", secrets: 6, prepare: partlyRotated, broken: true, do: func(ctx context.Context, v *filevault.Vault) error {
			_, err := v.ResumeRotation(ctx, "dev", filevault.RotateOptions{})
			return err
		}},
		{name: "day", secrets: 2, several: true, do: func(ctx context.Context, v *filevault.Vault) error {
			for _, do := range []func(context.Context, *filevault.Vault) error{
				apply(change("x", "A=1")), apply(importOf(3)...), apply(del("x")), rotate, apply(change("x", "A=2")), apply(change("y/z", "A=1"), change("y/y", "A=1")),
				func(ctx context.Context, v *filevault.Vault) error { return v.Seal(ctx, "dev") },
			} {
				if err := do(ctx, v); err != nil {
					return err
				}
			}
			return nil
		}},
	}
}

// bigPlays are those of many files.
func bigPlays() []play {
	return []play{
		{name: "import of 200", secrets: 100, do: func(ctx context.Context, v *filevault.Vault) error {
			_, err := v.Apply(ctx, "dev", importOf(200))
			return err
		}},
		{name: "rotate of 1,000", secrets: 1000, do: func(ctx context.Context, v *filevault.Vault) error {
			_, err := v.RotateKey(ctx, "dev", filevault.RotateOptions{Why: "test"})
			return err
		}},
	}
}

func importOf(n int) (changes []vault.Change) {
	for i := range n {
		changes = append(changes, change(manyPath(i), "A=new", "B=new"))
	}
	return changes
}

// partlyRotated leaves a vault as a clone has it of which somebody committed
// half of what a rotation wrote.
func partlyRotated(t testing.TB, v *filevault.Vault, o filevault.Options) {
	if err := v.Seal(t.Context(), "dev"); err != nil {
		t.Fatal(err)
	}
	before := tree(t, o.Dir)
	if _, err := v.RotateKey(t.Context(), "dev", filevault.RotateOptions{}); err != nil {
		t.Fatal(err)
	}
	for i, name := range slices.Sorted(maps.Keys(before)) {
		if strings.HasSuffix(name, "seal") || strings.HasSuffix(name, ".sec") && i%2 == 0 {
			write(t, file(o, name), []byte(before[name]))
		}
	}
}

// TestReplay kills every kind of operation at every step.
func TestReplay(t *testing.T) {
	for _, p := range append(plays(t), bigPlays()...) {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			tr, j := p.record(t)
			recorded := time.Since(start)
			every := 1
			switch {
			case thorough():
			case testing.Short():
				every = 1 + len(tr.events)/16
			case len(tr.events) > 1000:
				every = 24
			}
			m := tr.start.clone()
			l := m.list()
			try := func(n int, where string, half bool) {
				t.Helper()
				may := tr.between(n)
				if done, err := finished(l); err != nil || !slices.ContainsFunc(may, func(b *bound) bool { return maps.Equal(b.files, done) }) {
					t.Errorf("its journal leads to none of the states that it may be in: %v", err)
				}
				if n%every == 0 || !half && !tr.regular(n) && !testing.Short() {
					// Whoever comes first, a reader or a writer, meets it as it is.
					if whole := j.read == nil || n%(4*every) == 0; half {
						j.try(t, m, may, n%2 == 0, whole)
					} else {
						j.try(t, m, may, whole, whole)
						if j.read == nil && !testing.Short() {
							j.try(t, m, may, false, false)
						}
					}
				}
				if t.Failed() {
					t.Fatalf("after %d of %d events, %s", n, len(tr.events), where)
				}
			}
			for n, e := range tr.events {
				try(n, "before "+e.step, false)
				if e.kind == didWrite {
					h := e
					h.data = e.data[:len(e.data)/2]
					l = m.applyTo(l, h)
					try(n, "in the middle of "+e.step, true)
				}
				l = m.applyTo(l, e)
			}
			if !maps.Equal(l, m.list()) {
				t.Fatal("the listing of the model is not kept up")
			}
			try(len(tr.events), "at the end", false)
			t.Logf("%d events in %v, %d recoveries in %v", len(tr.events), recorded.Round(time.Millisecond), j.n, time.Since(start).Round(time.Millisecond))
		})
	}
}

// regular reports whether the events before and after the n-th are like it.
func (tr *trace) regular(n int) bool {
	if n < 2 || n+2 >= len(tr.events) {
		return false
	}
	a, e, b := tr.events[n-2], tr.events[n], tr.events[n+2]
	return a.kind == e.kind && b.kind == e.kind && a.dir == e.dir && b.dir == e.dir && a.old == e.old && b.old == e.old
}

// thorough reports whether there is time for all.
func thorough() bool { return os.Getenv("FILEVAULT_THOROUGH") != "" }
