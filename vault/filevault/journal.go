package filevault

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"envrun/vault"
)

// The journal makes a write of several files one write. In .txn/ID stand the
// new files, numbered; once all of them last, the file "commit" appears there,
// whole, by a rename. From then on the write has happened: whoever takes the
// lock next, be it the writer itself or the one after its death, does what the
// commit says and takes the journal away. Without a commit nothing has happened.
//
// Doing it twice does no harm: what has been moved is no longer there to be
// moved. That takes a rename for one change of the disk, as file systems that
// have a journal of their own make it. The commit is removed before anything else of the journal, so that
// nobody repeats it over what came later.
//
// The folder itself stays until the next journal, as .txn/done-ID: readers take
// no lock, and by the names in .txn they know whether a write of several files
// came into sight while they read. It gets that name before its commit goes.
//
// Who can plant a journal here can write the files themselves: it can do
// nothing that they cannot, since its names are confined to envs/ and requests/.
const (
	txnDir     = ".txn"
	commitFile = "commit"
	commitHead = "envrun-txn v1"
	donePrefix = "done-"
)

// maxCommit bounds a commit: 20,000 records with the longest paths and more.
const maxCommit = 16 << 20

// A step of a commit: with from set, move the journal's file or folder from to
// the name to; without, move what is at to into the journal, to die with it.
type action struct {
	from string
	to   string
}

func (v *view) newID() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// marshalCommit and parseCommit: a line for each action, and a last one with
// their number, so that half a file is known as that.
func marshalCommit(actions []action) []byte {
	var b bytes.Buffer
	b.WriteString(commitHead + "\n")
	for _, a := range actions {
		if a.from == "" {
			b.WriteString("drop " + a.to + "\n")
		} else {
			b.WriteString("move " + a.from + " " + a.to + "\n")
		}
	}
	fmt.Fprintf(&b, "end %d\n", len(actions))
	return b.Bytes()
}

func parseCommit(raw []byte) ([]action, error) {
	bad := func(line int, why string) ([]action, error) {
		return nil, &vault.Error{Kind: vault.KindMalformed, Op: "reading", Line: line, Detail: why}
	}
	lines := strings.Split(string(raw), "\n")
	if lines[0] != commitHead {
		return bad(1, "is not the commit of a journal")
	}
	if len(lines) < 3 || lines[len(lines)-1] != "" {
		return bad(len(lines), "has no end")
	}
	last := len(lines) - 2
	if lines[last] != "end "+strconv.Itoa(last-1) {
		return bad(last+1, "has no end")
	}
	actions := make([]action, 0, last-1)
	for i, line := range lines[1:last] {
		f := strings.Split(line, " ")
		var a action
		switch {
		case len(f) == 3 && f[0] == "move":
			a = action{from: f[1], to: f[2]}
			if !isNumber(a.from) {
				return bad(i+2, "moves a file that no journal has")
			}
		case len(f) == 2 && f[0] == "drop":
			a = action{to: f[1]}
		default:
			return bad(i+2, "has a line that is neither a move nor a drop")
		}
		if !inVault(a.to) {
			return bad(i+2, "names a file outside of envs/ and requests/")
		}
		actions = append(actions, a)
	}
	return actions, nil
}

func isNumber(s string) bool {
	n, err := strconv.ParseUint(s, 10, 32)
	return err == nil && strconv.FormatUint(n, 10) == s
}

// inVault reports whether name is one that a journal may write.
func inVault(name string) bool {
	segs := strings.Split(name, "/")
	if len(segs) < 2 || segs[0] != "envs" && segs[0] != "requests" {
		return false
	}
	for _, seg := range segs[1:] {
		if !plainSegment(seg) {
			return false
		}
	}
	return true
}

// plainSegment reports whether seg can be part of the name of a file of ours:
// lower case, no dot at either end, nothing that a shell, a journal or Windows reads.
func plainSegment(seg string) bool {
	if seg == "" || len(seg) > 2*vault.MaxSegment || seg[len(seg)-1] == '.' {
		return false
	}
	for i := range len(seg) {
		c := seg[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '_':
		case i > 0 && (c == '.' || c == '-' || c == '@'):
		default:
			return false
		}
	}
	return true
}

// dropped is where the journal keeps what its i-th action drops.
func dropped(id string, i int) string { return fmt.Sprintf("%s/%s/dropped-%d", txnDir, id, i) }

// apply does the actions of a committed journal, as far as they have not been done.
func (v *view) apply(id string, actions []action) error {
	dirs := map[string]bool{}
	for i, a := range actions {
		from, to := a.to, dropped(id, i)
		if a.from != "" {
			from, to = txnDir+"/"+id+"/"+a.from, a.to
			changed, err := v.mkdirs(dirOf(to))
			if err != nil {
				return err
			}
			for _, dir := range changed {
				dirs[dir] = true
			}
		} else {
			// What stands there now may be what came in its place.
			if done, err := v.exists(to); err != nil {
				return err
			} else if done {
				continue
			}
		}
		if err := v.rename(from, to); err != nil {
			there, xerr := v.exists(from)
			if xerr != nil || there {
				return err
			}
			continue // done before
		}
		v.advance()
		if a.from == "" {
			v.moved(a.to)
		}
		dirs[dirOf(a.to)] = true
	}
	return v.syncDirs(dirs)
}

func dirOf(name string) string {
	dir, _ := path.Split(name)
	return strings.TrimSuffix(dir, "/")
}

// retire gives a journal whose actions are done its last name and empties it.
func (v *view) retire(id string) error {
	dir, done := txnDir+"/"+id, txnDir+"/"+donePrefix+id
	if err := v.rename(dir, done); err != nil {
		return err
	}
	v.moved(dir)
	return v.empty(done)
}

// empty takes everything out of a journal that is done, the commit first.
func (v *view) empty(dir string) error {
	list, err := v.entries(dir)
	if err != nil || len(list) == 0 {
		return err
	}
	if slices.ContainsFunc(list, func(f fs.DirEntry) bool { return f.Name() == commitFile }) {
		if err := v.remove(dir + "/" + commitFile); err != nil {
			return err
		}
		if err := v.syncDirs(map[string]bool{dir: true, txnDir: true}); err != nil {
			return err
		}
	}
	for _, e := range list {
		if e.Name() == commitFile {
			continue
		}
		if err := v.removeAll(dir + "/" + e.Name()); err != nil {
			return err
		}
	}
	return nil
}

// A journalState is what a reader sees of journals.
type journalState struct {
	names     []string // of all, sorted
	committed []string // of those that have happened but may not be done
	abandoned []string // of those that will never happen, unless their writer is at work
}

// same reports whether no write of several files came into sight between two
// looks, and none was doing so at the second.
func (j journalState) same(before journalState) bool {
	return len(j.committed) == 0 && len(before.committed) == 0 && slices.Equal(j.names, before.names)
}

// journals looks at the journals. A look takes a moment: where it found a
// journal at work it counts if the names are the same at its end, since a
// journal changes its name before it loses its commit.
func (v *view) journals() (journalState, error) {
	names, err := v.journalNames()
	for err == nil {
		j := journalState{names: names}
		for _, name := range names {
			if strings.HasPrefix(name, donePrefix) {
				continue
			}
			there, err := v.exists(txnDir + "/" + name + "/" + commitFile)
			if err != nil {
				return j, err
			}
			if there {
				j.committed = append(j.committed, name)
			} else {
				j.abandoned = append(j.abandoned, name)
			}
		}
		if len(j.committed)+len(j.abandoned) == 0 {
			return j, nil
		}
		if names, err = v.journalNames(); err == nil && slices.Equal(names, j.names) {
			return j, nil
		}
	}
	return journalState{}, err
}

func (v *view) journalNames() ([]string, error) {
	list, err := v.entries(txnDir)
	var names []string
	for _, e := range list {
		if e.IsDir() { // what else there may be is none of ours
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, err
}

// recover does what a dead writer could not: it finishes the journal that has
// its commit, and removes every other trace. The lock is held.
//
// A writer that was killed has made names that are there and may not last: of
// folders, which nobody after it would make again and sync, and of a commit.
func (h *held) recover() error {
	list, err := h.entries("")
	if err != nil {
		return err
	}
	var temps []string
	var j journalState
	for _, e := range list {
		switch name := e.Name(); {
		case strings.HasPrefix(name, tempPrefix):
			temps = append(temps, name)
		case name == txnDir:
			if j, err = h.journals(); err != nil {
				return err
			}
		}
	}
	if len(temps)+len(j.committed)+len(j.abandoned) > 0 {
		if err := h.syncFolders(); err != nil {
			return err
		}
	}
	for _, name := range temps {
		if err := h.removeAll(name); err != nil {
			return err
		}
	}
	return h.finish(j)
}

func (h *held) finish(j journalState) error {
	for _, id := range j.committed {
		name := txnDir + "/" + id + "/" + commitFile
		raw, err := h.read(name, maxCommit)
		if err != nil {
			return err
		}
		actions, err := parseCommit(raw)
		if err != nil {
			return h.d.fail("reading", name, err)
		}
		if err := h.apply(id, actions); err != nil {
			return err
		}
		if err := h.retire(id); err != nil {
			return err
		}
	}
	for _, id := range j.abandoned {
		if err := h.removeAll(txnDir + "/" + id); err != nil {
			return err
		}
	}
	for _, id := range j.names {
		if strings.HasPrefix(id, donePrefix) {
			if err := h.empty(txnDir + "/" + id); err != nil {
				return err
			}
		}
	}
	return nil
}

// A change is what a batch does to one name: new bytes for a file, or nil to
// remove the file or the folder.
type change struct {
	name string
	data []byte
}

// errLockLost is what a writer meets whose lock file was taken from under it.
var errLockLost = errors.New("the lock file was removed while writing")

// write makes all changes or none; when it returns without an error they last.
// With tree set, the changes are the files of a new folder of that name, which
// appears with all of them at once.
func (h *held) write(changes []change, tree string) error {
	switch {
	case tree != "":
		return h.writeTree(changes, tree)
	case len(changes) == 0:
		return nil
	case len(changes) == 1 && changes[0].data != nil:
		return h.writeOne(changes[0])
	}
	return h.writeMany(changes)
}

// lastCheck is done right before the point of no return.
func (h *held) lastCheck(name string) error {
	if !h.stillThere() {
		return &vault.Error{Kind: vault.KindBusy, Op: "writing", File: h.d.file(name), Err: errLockLost}
	}
	return nil
}

func (h *held) writeOne(c change) error {
	temp := tempPrefix + h.newID()
	if err := h.create(temp, c.data, true); err != nil {
		return err
	}
	changed, err := h.mkdirs(dirOf(c.name))
	if err == nil {
		// Now, as long as the temporary file tells of a writer that is killed.
		err = h.syncDirs(setOf(changed))
	}
	if err == nil {
		err = h.lastCheck(c.name)
	}
	if err == nil {
		err = h.rename(temp, c.name)
	}
	if err != nil {
		_ = h.remove(temp)
		return err
	}
	return h.syncDirs(map[string]bool{dirOf(c.name): true})
}

func setOf(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}

func (h *held) writeMany(changes []change) error {
	before, err := h.journals()
	if err != nil {
		return err
	}
	id := h.newID()
	dir := txnDir + "/" + id
	var actions []action
	if err := h.stage(dir, before.names, changes, &actions); err != nil {
		_ = h.removeAll(dir)
		return err
	}
	// From here on the write has happened, whatever comes: an error below
	// leaves the journal, and the next to take the lock goes on with it.
	if err := h.syncDirs(map[string]bool{dir: true}); err != nil {
		return err
	}
	if err := h.apply(id, actions); err != nil {
		return err
	}
	return h.retire(id)
}

// stage does all of writeMany that can fail for want of space or rights, up to
// the rename that makes the commit.
func (h *held) stage(dir string, old []string, changes []change, actions *[]action) error {
	dirs := map[string]bool{dir: true, txnDir: true, "": true}
	if _, err := h.mkdirs(dir); err != nil {
		return err
	}
	for _, id := range old {
		if err := h.removeAll(txnDir + "/" + id); err != nil {
			return err
		}
	}
	var files []string
	for i, c := range changes {
		if c.data == nil {
			if err := h.movable(c.name); err != nil {
				return err
			}
			*actions = append(*actions, action{to: c.name})
			continue
		}
		number := strconv.Itoa(i)
		if err := h.create(dir+"/"+number, c.data, false); err != nil {
			return err
		}
		h.advance()
		files = append(files, dir+"/"+number)
		*actions = append(*actions, action{from: number, to: c.name})
	}
	asked := map[string]bool{}
	for _, c := range changes {
		to := dirOf(c.name)
		if asked[to] {
			continue
		}
		asked[to] = true
		if changes[0].data == nil && below(to, changes[0].name) {
			continue // the folder is dropped first, and made when this is done
		}
		changed, err := h.mkdirs(to)
		if err != nil {
			return err
		}
		for _, d := range changed {
			dirs[d] = true
		}
		if err := h.writable(to); err != nil {
			return err
		}
	}
	temp := dir + "/" + tempPrefix + commitFile
	if err := h.create(temp, marshalCommit(*actions), false); err != nil {
		return err
	}
	if err := h.syncAll(append(files, temp)); err != nil {
		return err
	}
	if err := h.syncDirs(dirs); err != nil {
		return err
	}
	if err := h.lastCheck(changes[0].name); err != nil {
		return err
	}
	return h.rename(temp, dir+"/"+commitFile)
}

func (h *held) writeTree(changes []change, tree string) error {
	temp := tempPrefix + h.newID()
	err := func() error {
		dirs := map[string]bool{}
		var files []string
		for _, c := range changes {
			name := temp + "/" + strings.TrimPrefix(c.name, tree+"/")
			if _, err := h.mkdirs(dirOf(name)); err != nil {
				return err
			}
			if err := h.create(name, c.data, false); err != nil {
				return err
			}
			files = append(files, name)
			for dir := dirOf(name); dir != ""; dir = dirOf(dir) {
				dirs[dir] = true
			}
		}
		if len(files) == 0 {
			if _, err := h.mkdirs(temp); err != nil {
				return err
			}
		}
		if err := h.syncAll(files); err != nil {
			return err
		}
		if err := h.syncDirs(dirs); err != nil {
			return err
		}
		if _, err := h.mkdirs(dirOf(tree)); err != nil {
			return err
		}
		if err := h.lastCheck(tree); err != nil {
			return err
		}
		return h.rename(temp, tree)
	}()
	if err != nil {
		_ = h.removeAll(temp)
		return err
	}
	return h.syncDirs(map[string]bool{dirOf(tree): true, "": true})
}
