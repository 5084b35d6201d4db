package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"envrun/auth/private"
)

// A Store is where the caches of one person on one machine are. Both folders are
// made when something is kept, for this person alone.
type Store struct {
	Dir      string // of the caches; refused in a work tree
	StateDir string // of what says which of them counts; a folder in it is ours
	Keys     *Keys
	Now      func() time.Time

	// step is told of each step of a change, for tests that kill it there.
	step func(string)
}

const (
	lockName  = "lock"
	stateMark = ".json"
	fileMark  = ".cache"
	maxState  = 1 << 20
)

// state is what is known of the cache of one place. Who can write it can have a
// file used that was kept for the same token, and nothing else: it holds no key.
type state struct {
	Turn uint64 `json:"turn"` // counts what was kept and what was dropped

	File   string   `json:"file,omitempty"` // the one that counts; empty: none
	Sum    string   `json:"sum,omitempty"`  // its SHA-256
	Stamp  string   `json:"stamp,omitempty"`
	Paths  []string `json:"paths,omitempty"`  // marks of those it was asked for and had
	Absent []string `json:"absent,omitempty"` // marks of those that the server says are not there

	Fetched time.Time      `json:"fetched"`
	Expires time.Time      `json:"expires"`
	Server  *time.Duration `json:"server,omitempty"` // what the server allowed; nil if it did not say

	Newest time.Time     `json:"newest"` // the newest time of the server's that was seen
	Used   time.Time     `json:"used"`   // since then: the newest at which the cache was used, by our clock
	Ahead  time.Duration `json:"ahead"`  // of the server's clock before ours
}

// drop forgets the file, and keeps answers that are under way from being kept.
func (st state) drop() state {
	return state{Turn: st.Turn + 1, Newest: st.Newest, Used: st.Used, Ahead: st.Ahead}
}

func (s *Store) now() time.Time { return s.Now().UTC() }

func (s *Store) at(step string) {
	if s.step != nil {
		s.step(step)
	}
}

func (s *Store) stateFile(name string) string { return filepath.Join(s.StateDir, name+stateMark) }

// load reads a state; without a file it is the zero state.
func (s *Store) load(name string) (state, error) {
	var st state
	raw, err := private.Read(s.stateFile(name), 0o600, maxState)
	if errors.Is(err, fs.ErrNotExist) {
		return st, nil
	}
	if err == nil {
		err = private.CheckDir(s.StateDir)
	}
	if err == nil && json.Unmarshal(raw, &st) != nil {
		st, err = state{}, nil // damaged: nothing counts
	}
	return st, err
}

func (st state) marshal() []byte {
	raw, _ := json.Marshal(st) // plain values always can be
	return append(raw, '\n')
}

// save writes a state; it may be lost with the power.
func (s *Store) save(name string, st state) error {
	return private.WriteSoon(s.stateFile(name), st.marshal())
}

// lock is held by whoever changes something.
func (s *Store) lock(ctx context.Context) (func(), error) {
	if err := private.MakeDir(s.StateDir); err != nil {
		return nil, err
	}
	return private.Lock(ctx, filepath.Join(s.StateDir, lockName))
}

// drop removes a cache for good: first what says that it counts. With keep it
// stays, and only answers that are under way are not kept any more. It returns the
// state after.
func (s *Store) drop(ctx context.Context, name string, keep bool) (state, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return state{}, err
	}
	defer unlock()
	st, err := s.load(name)
	if err != nil {
		return state{}, err
	}
	if keep {
		st.Turn++
		return st, s.save(name, st)
	}
	return s.dropLocked(name, st)
}

func (s *Store) dropLocked(name string, st state) (state, error) {
	file := st.File
	st = st.drop()
	if err := private.Write(s.stateFile(name), st.marshal(), true); err != nil {
		return state{}, err
	}
	s.at("dropped")
	if file == "" {
		return st, nil
	}
	return st, private.Remove(s.file(file))
}

// file is where a cache is; its name came from a file of ours.
func (s *Store) file(name string) string { return filepath.Join(s.Dir, filepath.Base(name)) }

// read returns the file that counts.
func (s *Store) read(st state) ([]byte, error) {
	if st.File == "" {
		return nil, ErrNone
	}
	if err := outside(s.Dir); err != nil {
		return nil, err
	}
	raw, err := private.Read(s.file(st.File), 0o600, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNone
	}
	if err == nil {
		err = private.CheckDir(s.Dir)
	}
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) != st.Sum {
		return nil, &private.Error{File: s.file(st.File), Err: errChanged}
	}
	return raw, nil
}

var errChanged = errors.New("is not as it was written: nothing of it is used")

// keep writes a cache and makes it the one that counts, if the state is still the
// one that begun is: between asking and keeping nothing was kept and nothing taken
// away. Who comes second keeps nothing, which is no error.
// Without encode the file stays, and next says something new of its times.
func (s *Store) keep(name string, begun, next state, encode func() ([]byte, error)) error {
	if err := private.MakeDir(s.StateDir); err != nil {
		return err
	}
	unlock, err := private.TryLock(filepath.Join(s.StateDir, lockName))
	if errors.Is(err, private.ErrBusy) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	now, err := s.load(name)
	if err != nil || now.Turn != begun.Turn || now.File != "" && next.Fetched.Before(now.Fetched) {
		return err
	}
	if next.Newest.Before(now.Newest) {
		next.Newest = now.Newest
	}
	if encode == nil {
		return s.save(name, next) // only times have changed
	}
	if err := s.prepare(); err != nil {
		return err
	}
	s.sweep()
	raw, err := encode()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(raw)
	next.Turn = now.Turn + 1
	next.File, next.Sum = name+"."+strconv.FormatUint(next.Turn, 10)+fileMark, hex.EncodeToString(sum[:])
	s.at("begun")
	if err := private.WriteSoon(s.file(next.File), raw); err != nil {
		return err
	}
	s.at("written")
	if err := s.save(name, next); err != nil {
		return err
	}
	s.at("kept")
	if now.File != "" {
		_ = os.Remove(s.file(now.File)) // else the next sweep
	}
	return nil
}

// Check says whether the folder of caches is where one can be: ErrWorkTree if not.
func (s *Store) Check() error { return outside(s.Dir) }

// prepare makes the folder of caches, with what keeps it out of backups.
func (s *Store) prepare() error {
	if err := private.MakeDir(s.Dir); err != nil {
		return err
	}
	if err := outside(s.Dir); err != nil {
		return err
	}
	tag := filepath.Join(s.Dir, "CACHEDIR.TAG")
	if there, err := private.Exists(tag); there || err != nil {
		return err
	}
	excludeFromBackup(s.Dir)
	return private.WriteSoon(tag, []byte("Signature: 8a477f597d28d172789f06886806bc55\n# Caches of envrun. What it means: https://bford.info/cachedir/\n"))
}

// sweep removes what has ended and what was left half written. Under the lock.
func (s *Store) sweep() {
	private.Sweep(s.Dir, "")
	private.Sweep(s.StateDir, "")
	count := map[string]bool{}
	_ = s.each(func(name string, st state) error {
		if st.File != "" && s.now().Add(st.Ahead).After(st.Expires) {
			st, _ = s.dropLocked(name, st)
		}
		count[st.File] = true
		return nil
	})
	entries, _ := os.ReadDir(s.Dir)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), fileMark) && !count[e.Name()] {
			_ = os.Remove(s.file(e.Name()))
		}
	}
}

// each walks the states there are.
func (s *Store) each(f func(name string, st state) error) error {
	entries, err := os.ReadDir(s.StateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), stateMark)
		if !ok || name == keyName {
			continue
		}
		st, loadErr := s.load(name)
		if loadErr == nil {
			loadErr = f(name, st)
		}
		err = errors.Join(err, loadErr)
	}
	return err
}

// Entry is a cache as one looks at it.
type Entry struct {
	Facts
	Size    int64 `json:"size"` // of its file, in bytes
	Expired bool  `json:"expired"`
}

// List says what is kept, without opening it.
func (s *Store) List() ([]Entry, error) {
	var out []Entry
	err := s.each(func(_ string, st state) error {
		raw, err := s.read(st)
		if errors.Is(err, ErrNone) {
			return nil
		}
		if err != nil {
			return err
		}
		f, _, _, _, err := split(raw)
		out = append(out, Entry{f, int64(len(raw)), !s.now().Add(st.Ahead).Before(f.Expires)})
		return err
	})
	return out, err
}

// Clear removes the caches that are chosen, and says how many there were; nil
// chooses all, and then what could open a copy of one goes as well.
func (s *Store) Clear(ctx context.Context, choose func(Facts) bool) (n int, err error) {
	if there, err := private.Exists(s.StateDir); !there || err != nil {
		return 0, err
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	err = s.each(func(name string, st state) error {
		if st.File == "" {
			return nil
		}
		raw, err := s.read(st)
		if choose != nil {
			var f Facts
			if err == nil {
				f, _, _, _, err = split(raw)
			}
			if err != nil || !choose(f) {
				return err
			}
		}
		n++
		_, err = s.dropLocked(name, st)
		return err
	})
	if choose == nil && err == nil {
		s.sweep()
		err = s.Keys.forget(ctx)
	}
	return n, err
}

// outside refuses a folder in a work tree, where it would be committed some day.
func outside(dir string) error {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	for {
		for _, name := range []string{".git", "envrun.toml", ".envrun.toml"} {
			if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
				return &private.Error{File: dir, Err: ErrWorkTree}
			}
		}
		up := filepath.Dir(dir)
		if up == dir {
			return nil
		}
		dir = up
	}
}
