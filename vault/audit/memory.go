package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/mod/sumdb/tlog"

	"envrun/vault"
)

// A Memory is the last checkpoint that this machine saw of each log, in a folder of
// its own: a server that rewrites, forks or cuts its history is contradicted
// by everybody who has seen it. Whoever can write the folder can make this machine forget
// what it saw, and no more.
type Memory struct{ Dir string }

// Throwaway ends the origin of a log that begins anew with every start of its server,
// which keeps all in memory: whatever log comes after it is no surprise.
const Throwaway = "/dev"

// Seen is what is remembered of one log.
type Seen struct {
	Checkpoint
	Key    string    // the public key that it was first seen with
	Signed []byte    // the checkpoint as a note
	At     time.Time // when it was seen

	name string // what it is remembered by
}

// memoryFile is what a file of the folder holds.
type memoryFile struct {
	Log        string    `json:"log"` // what it is remembered by
	Key        string    `json:"key"`
	Checkpoint string    `json:"checkpoint"`
	At         time.Time `json:"at"`
}

const maxMemory = 16 << 10

// Last is what is remembered under name, the address of a server or the origin
// of a log; false if there is nothing. What cannot be read is an error and never
// "nothing", which would be first contact.
func (m Memory) Last(name string) (Seen, bool, error) {
	s, err := m.load(m.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return Seen{}, false, nil
	}
	return s, err == nil, err
}

func (m Memory) load(file string) (Seen, error) {
	bad := func(kind vault.Kind, detail string) (Seen, error) {
		return Seen{}, &vault.Error{Kind: kind, Op: "reading what was seen of an audit log", File: file, Detail: detail}
	}
	fi, err := os.Stat(file)
	if err != nil {
		return Seen{}, m.fail("reading", file, err)
	}
	if runtime.GOOS != "windows" && fi.Mode().Perm()&0o022 != 0 {
		return bad(vault.KindInsecure, "others can write it")
	}
	if !fi.Mode().IsRegular() || fi.Size() > maxMemory {
		return bad(vault.KindMalformed, "it is not of its form")
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return Seen{}, m.fail("reading", file, err)
	}
	var f memoryFile
	if json.Unmarshal(raw, &f) != nil || m.file(f.Log) != file {
		return bad(vault.KindMalformed, "it is not of its form")
	}
	c, err := OpenCheckpoint([]byte(f.Checkpoint), f.Key)
	if err != nil {
		return bad(vault.KindMalformed, detail(err))
	}
	return Seen{Checkpoint: c, Key: f.Key, Signed: []byte(f.Checkpoint), At: f.At, name: f.Log}, nil
}

// Meet compares a checkpoint that a server shows now with what is remembered
// under name, and remembers the later of the two. At first contact key is
// what it is checked with and remembered; later, the key that is remembered counts,
// and another one is KindTampered; key may be empty then.
//
// prove asks the server for the proof that its log of was entries is the
// beginning of that of size (ProveGrowth); it is called where the two are of different sizes.
// KindTampered, with the words for it, if the history was rewritten, forked or cut. An error
// of prove that is KindUnavailable is returned as it is; any other means that the
// server has no proof, which is the same as a history that was cut.
func (m Memory) Meet(name, key string, checkpoint []byte, now time.Time, prove func(was, size int64) (tlog.TreeProof, error)) (Seen, error) {
	last, known, err := m.Last(name)
	if err != nil {
		return Seen{}, err
	}
	if known && key != last.Key && strings.HasSuffix(last.Origin, Throwaway) {
		known = false // it began anew, as such a server does at each start
	}
	if known && key != "" && key != last.Key {
		return Seen{}, denied(name, "its checkpoints are signed with another key than when it was first seen")
	}
	if known {
		key = last.Key
	}
	c, err := OpenCheckpoint(checkpoint, key)
	if err != nil {
		return Seen{}, err
	}
	met := Seen{Checkpoint: c, Key: key, Signed: checkpoint, At: now.UTC()}
	if known {
		if err := compare(name, last.Checkpoint, c, prove); err != nil {
			return Seen{}, err
		}
	}
	if known && c.Size <= last.Size {
		return last, nil
	}
	kept, err := m.keep(name, met, last)
	if err == nil && !kept {
		// Another process of this machine has seen something meanwhile: that counts too.
		return m.Meet(name, key, checkpoint, now, prove)
	}
	return met, err
}

// Forget drops what is remembered under name, as somebody wants who knows why a log
// is another one now. It reports whether there was anything.
func (m Memory) Forget(name string) (bool, error) {
	err := os.Remove(m.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, m.fail("forgetting", m.file(name), err)
	}
	return true, nil
}

func compare(name string, was, is Checkpoint, prove func(was, size int64) (tlog.TreeProof, error)) error {
	// An answer may be older than what another process of this machine saw
	// since: the order of the two does not matter, one must be the beginning of the other.
	small, big := was, is
	if was.Size > is.Size {
		small, big = is, was
	}
	if was.Origin != is.Origin {
		return denied(name, fmt.Sprintf("it was the log %q, and now is %q", was.Origin, is.Origin))
	}
	if small.Size == big.Size {
		if small.Root != big.Root {
			return denied(name, fmt.Sprintf("its history was rewritten: its %d entries are not those that were seen before", big.Size))
		}
		return nil
	}
	if small.Size == 0 {
		return nil
	}
	proof, err := prove(small.Size, big.Size)
	switch {
	case vault.KindOf(err) == vault.KindUnavailable:
		return err
	case err != nil && was.Size > is.Size:
		return denied(name, fmt.Sprintf("it had %d entries when it was last seen and has %d: the newest were cut off", was.Size, is.Size))
	case err != nil:
		return denied(name, fmt.Sprintf("it gives no proof that the %d entries which were seen before are the beginning of its %d", was.Size, is.Size))
	case tlog.CheckTree(proof, big.Size, big.Root, small.Size, small.Root) != nil:
		return denied(name, fmt.Sprintf("its history was rewritten: the %d entries which were seen before are not those it has now", was.Size))
	}
	return nil
}

func denied(name, why string) error {
	return &vault.Error{Kind: vault.KindTampered, Op: "audit log of " + name, Detail: why}
}

// Verify is the package's Verify of an export, with what this machine knows of its
// log: key may be empty if the log was seen before, and must be the same as
// then if it is not. A file that is genuine is remembered, unless what is
// remembered already is later or not part of it. KindNoIdentity if the key is
// neither given nor remembered.
func (m Memory) Verify(r io.Reader, key string, now time.Time) (Report, error) {
	in, t, err := begin(r)
	if err != nil {
		return Report{}, err
	}
	origin := t.Log
	last, known, err := m.log(origin)
	switch {
	case err != nil:
		return Report{}, err
	case !known && key == "":
		return Report{}, &vault.Error{Kind: vault.KindNoIdentity, Detail: fmt.Sprintf("the public key of the log %q is not known here", origin)}
	case !known:
		rep, err := in.verify(t, key, nil)
		if err != nil {
			return Report{}, err
		}
		_, err = m.keep(origin, Seen{Checkpoint: rep.Checkpoint, Key: key, Signed: rep.Signed, At: now.UTC()}, last)
		return rep, err
	case key != "" && key != last.Key:
		return Report{}, denied(origin, "this machine knows it by another public key")
	}
	rep, err := in.verify(t, last.Key, &last.Checkpoint)
	if err == nil && rep.Seen == Contains && rep.Size > last.Size {
		_, err = m.keep(last.name, Seen{Checkpoint: rep.Checkpoint, Key: last.Key, Signed: rep.Signed, At: now.UTC()}, last)
	}
	return rep, err
}

// log is what is remembered of the log of an origin, by whatever name: its
// server's address, or the origin itself. The latest counts.
func (m Memory) log(origin string) (last Seen, known bool, err error) {
	list, err := os.ReadDir(m.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Seen{}, false, nil
	}
	if err != nil {
		return Seen{}, false, m.fail("reading", m.Dir, err)
	}
	for _, e := range list {
		if filepath.Ext(e.Name()) != ".json" {
			continue
		}
		s, err := m.load(filepath.Join(m.Dir, e.Name()))
		if err != nil {
			return Seen{}, false, err
		}
		if s.Origin == origin && (!known || s.Size > last.Size) {
			last, known = s, true
		}
	}
	return last, known, nil
}

// keep writes what was seen, unless another process has written since was was read:
// then it has not been compared with that.
func (m Memory) keep(name string, s, was Seen) (kept bool, err error) {
	file := m.file(name)
	if err := os.MkdirAll(m.Dir, 0o700); err != nil {
		return false, m.fail("keeping", m.Dir, err)
	}
	lock := flock.New(file + ".lock")
	if err := lock.Lock(); err != nil {
		return false, m.fail("keeping", file, err)
	}
	defer lock.Unlock()
	if last, _, err := m.Last(name); err != nil || string(last.Signed) != string(was.Signed) {
		return false, err
	}
	return true, m.write(name, file, s)
}

func (m Memory) write(name, file string, s Seen) error {
	raw, err := json.Marshal(memoryFile{name, s.Key, string(s.Signed), s.At})
	if err != nil {
		return m.fail("keeping", file, err)
	}
	f, err := os.CreateTemp(m.Dir, "seen-*") // mode 0600
	if err != nil {
		return m.fail("keeping", file, err)
	}
	_, err = f.Write(append(raw, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return m.fail("keeping", file, err)
	}
	return nil
}

func (m Memory) file(name string) string {
	sum := sha256.Sum256([]byte(name))
	return filepath.Join(m.Dir, hex.EncodeToString(sum[:16])+".json")
}

func (m Memory) fail(op, file string, err error) error {
	kind := vault.KindOther
	if errors.Is(err, fs.ErrPermission) {
		kind = vault.KindReadOnly
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return &vault.Error{Kind: kind, Op: op + " what was seen of an audit log", File: file, Err: err}
}
