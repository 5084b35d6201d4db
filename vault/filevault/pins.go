package filevault

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"envrun/vault"
	"envrun/vault/seal"
)

// A pin is what this machine knows of an environment's key. It holds a secret:
// who has the chain key can make a next generation that this pin accepts.
type pin struct {
	gen         uint32
	fingerprint seal.Fingerprint
	chain       seal.ChainKey
	seal        uint64                      // the highest seq of a seal that was found right
	former      map[uint32]seal.Fingerprint // the generations known before
	places      []string                    // the projects that have it (Options.Place), the newest last
}

// maxPlaces bounds the projects that are remembered of one key; who makes a
// work tree for each branch has many, and the oldest are gone by then.
const maxPlaces = 100

// use makes place one of those that have this key.
func (p *pin) use(place string) {
	if place == "" || slices.Contains(p.places, place) {
		return
	}
	from := max(0, len(p.places)+1-maxPlaces)
	p.places = append(slices.Clone(p.places[from:]), place)
}

func (p pin) usedAt(place string) bool { return place == "" || slices.Contains(p.places, place) }

// learn makes o known: the current key, or a former one.
func (p *pin) learn(o openKey) {
	if o.Gen < p.gen {
		p.remember(o.Gen, o.fingerprint)
		return
	}
	if p.gen != 0 && p.gen != o.Gen {
		p.remember(p.gen, p.fingerprint)
	}
	p.gen, p.fingerprint, p.chain = o.Gen, o.fingerprint, o.chain
}

func (p *pin) remember(gen uint32, fp seal.Fingerprint) {
	former := maps.Clone(p.former)
	if former == nil {
		former = map[uint32]seal.Fingerprint{}
	}
	former[gen] = fp
	p.former = former
}

func (p pin) equal(q pin) bool {
	return p.gen == q.gen && p.fingerprint == q.fingerprint && p.seal == q.seal &&
		bytes.Equal(p.chain.Reveal(), q.chain.Reveal()) && maps.Equal(p.former, q.former) && slices.Equal(p.places, q.places)
}

// A pinStore is the file of pins of one vault: StateDir/pins/VAULT.toml, mode
// 0600 in a folder of 0700. Whoever can write it can make this machine trust
// another key, which is why it is refused when it is anybody else's.
type pinStore struct {
	dir  string // StateDir
	file string
}

const (
	maxPins     = 1 << 20
	privateFile = 0o600
	privateDir  = 0o700
)

func newPinStore(stateDir, vaultID string) *pinStore {
	p := &pinStore{dir: stateDir}
	if stateDir != "" {
		p.file = filepath.Join(stateDir, "pins", vaultID+".toml") // the id holds letters and digits only
	}
	return p
}

func (s *pinStore) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	var ve *vault.Error
	if errors.As(err, &ve) {
		if ve.File == "" {
			ve.File = s.file
		}
		return err
	}
	kind := systemKind(err)
	if op == "reading" && kind == vault.KindReadOnly {
		kind = vault.KindDenied
	}
	return &vault.Error{Kind: kind, Op: op + " pins", File: s.file, Err: bare(err)}
}

// load reads the pins; without a file there are none.
func (s *pinStore) load() (map[vault.Env]pin, error) {
	if s.file == "" {
		return nil, &vault.Error{Kind: vault.KindInvalid, Op: "reading pins", Detail: "the folder that this machine keeps its pins in is not named"}
	}
	dir := filepath.Dir(s.file)
	fi, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return map[vault.Env]pin{}, nil
	}
	if err != nil {
		return nil, s.fail("reading", err)
	}
	if err := insecure(dir, fi, true); err != nil {
		return nil, err
	}
	if fi, err = os.Lstat(s.file); errors.Is(err, fs.ErrNotExist) {
		return map[vault.Env]pin{}, nil
	} else if err != nil {
		return nil, s.fail("reading", err)
	}
	if err := insecure(s.file, fi, false); err != nil {
		return nil, err
	}
	f, err := os.Open(s.file)
	if err != nil {
		return nil, s.fail("reading", err)
	}
	defer f.Close()
	// It may have been replaced in between: what was opened counts.
	if fi, err = f.Stat(); err != nil {
		return nil, s.fail("reading", err)
	}
	if err := insecure(s.file, fi, false); err != nil {
		return nil, err
	}
	raw, why, err := readPlain(f, maxPins)
	if why != "" {
		return nil, &vault.Error{Kind: vault.KindInsecure, Op: "reading pins", File: s.file, Detail: why}
	}
	if err != nil {
		return nil, s.fail("reading", err)
	}
	pins, err := parsePins(raw)
	if err != nil {
		return nil, &PinsError{File: s.file, Err: s.fail("reading", err)}
	}
	return pins, nil
}

// PinsError says that what this machine knows of a vault's keys cannot be read.
// It is not taken for nothing: without the file every key is new, and the next
// use of each a first contact.
type PinsError struct {
	File string
	Err  error // a *vault.Error of KindMalformed or KindVersion
}

func (e *PinsError) Error() string { return e.Err.Error() }
func (e *PinsError) Unwrap() error { return e.Err }

// other is another vault that env of the project at place is known to have, ""
// for none. It is asked at the first use of a vault in a place, and no more.
func (s *pinStore) other(env vault.Env, place string) string {
	list, err := os.ReadDir(filepath.Join(s.dir, "pins"))
	if err != nil || place == "" {
		return ""
	}
	for _, e := range list {
		id, ok := strings.CutSuffix(e.Name(), ".toml")
		if !ok || e.Name() == filepath.Base(s.file) {
			continue
		}
		// What cannot be read says nothing here; it is refused where it is needed.
		pins, err := newPinStore(s.dir, id).load()
		if p, known := pins[env]; err == nil && known && p.usedAt(place) {
			return id
		}
	}
	return ""
}

func insecure(name string, fi fs.FileInfo, dir bool) error {
	why := notPlain(fi.Mode(), dir)
	if why == "" {
		why = private(fi)
	}
	if why == "" {
		return nil
	}
	return &vault.Error{Kind: vault.KindInsecure, Op: "reading pins", File: name, Detail: why}
}

// update changes the pin of one environment, and writes nothing if that leaves
// it as it was. It returns the pin.
func (s *pinStore) update(ctx context.Context, wait time.Duration, env vault.Env, f func(*pin)) (*pin, error) {
	var p pin
	err := s.change(ctx, wait, func(pins map[vault.Env]pin) bool {
		was, ok := pins[env]
		p = was
		f(&p)
		if ok && p.equal(was) {
			return false
		}
		pins[env] = p
		return true
	})
	if err != nil {
		return nil, err
	}
	return &p, nil
}

func (s *pinStore) remove(ctx context.Context, wait time.Duration, env vault.Env) error {
	pins, err := s.load()
	if err != nil {
		return err
	}
	if _, ok := pins[env]; !ok {
		return nil
	}
	return s.change(ctx, wait, func(pins map[vault.Env]pin) bool {
		delete(pins, env)
		return true
	})
}

// change reads, changes and writes the pins under a lock of their own.
func (s *pinStore) change(ctx context.Context, wait time.Duration, f func(map[vault.Env]pin) bool) error {
	dir := filepath.Dir(s.file)
	if err := os.MkdirAll(dir, privateDir); err != nil {
		return s.fail("writing", err)
	}
	lock, err := os.OpenFile(s.lockFile(), os.O_RDWR|os.O_CREATE, privateFile)
	if err != nil {
		return s.fail("writing", err)
	}
	defer lock.Close()
	switch err := waitLock(ctx, lock, wait); {
	case errors.Is(err, errWaited):
		return &vault.Error{Kind: vault.KindBusy, Op: "writing pins", File: s.file}
	case err != nil:
		return s.fail("locking", err)
	}
	defer unlock(lock)
	pins, err := s.load()
	if err != nil {
		return err
	}
	if !f(pins) {
		return nil
	}
	return s.fail("writing", writePrivate(s.file, marshalPins(pins)))
}

// discard removes the pins of a vault that was never finished.
func (s *pinStore) discard() {
	_ = os.Remove(s.file)
	_ = os.Remove(s.lockFile())
}

func (s *pinStore) lockFile() string { return strings.TrimSuffix(s.file, ".toml") + ".lock" }

// writePrivate replaces a file of ours outside the repository.
func writePrivate(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), tempPrefix+"*") // made with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone by then if all went well
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = patiently(func() error { return os.Rename(f.Name(), name) })
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	return syncDir(dir)
}

// The file is TOML, of which we read what we write:
//
//	[env."prod"]
//	gen = 3
//	fingerprint = "5feceb66ffc86f38d952786c6d696c79"
//	chain = "…"
//	seal = 41
//	former = ["2 6b86b273ff34fce19d6b804eff5a3f57"]
//	places = ["/home/alice/billing-api"]
const pinsHead = "# What this machine knows of a vault's keys. Do not edit: a wrong line here trusts a wrong key.\nformat = 1\n"

var pinEncoding = base64.RawStdEncoding.Strict()

func marshalPins(pins map[vault.Env]pin) []byte {
	var b bytes.Buffer
	b.WriteString(pinsHead)
	for _, env := range slices.Sorted(maps.Keys(pins)) {
		p := pins[env]
		fmt.Fprintf(&b, "\n[env.%q]\ngen = %d\nfingerprint = %q\nchain = %q\nseal = %d\n",
			string(env), p.gen, p.fingerprint.Hex(), pinEncoding.EncodeToString(p.chain.Reveal()), p.seal)
		former := make([]string, 0, len(p.former))
		for _, gen := range slices.Sorted(maps.Keys(p.former)) {
			former = append(former, fmt.Sprintf("%d %s", gen, p.former[gen].Hex()))
		}
		writeStrings(&b, "former", former)
		writeStrings(&b, "places", p.places)
	}
	return b.Bytes()
}

// writeStrings writes a line with an array of strings, or none if it is empty.
func writeStrings(b *bytes.Buffer, key string, list []string) {
	for i, s := range list {
		if i == 0 {
			b.WriteString(key + " = [")
		} else {
			b.WriteString(", ")
		}
		b.WriteString(strconv.Quote(s))
	}
	if len(list) > 0 {
		b.WriteString("]\n")
	}
}

// readStrings reads what writeStrings writes behind the "=".
func readStrings(value string) ([]string, bool) {
	rest, ok := strings.CutPrefix(value, "[")
	var list []string
	for ok {
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return nil, false
		}
		text, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, false
		}
		list = append(list, text)
		if rest = strings.TrimSpace(rest[len(quoted):]); rest == "]" {
			return list, true
		}
		rest, ok = strings.CutPrefix(rest, ",")
		rest = strings.TrimSpace(rest)
	}
	return nil, false
}

func parsePins(raw []byte) (map[vault.Env]pin, error) {
	pins := map[vault.Env]pin{}
	var (
		n      int
		env    vault.Env
		p      pin
		fields map[string]bool
	)
	bad := func(why string) (map[vault.Env]pin, error) {
		return nil, &vault.Error{Kind: vault.KindMalformed, Op: "reading pins", Line: n, Detail: why}
	}
	complete := func() bool {
		return env == "" || fields["gen"] && fields["fingerprint"] && fields["chain"] && fields["seal"]
	}
	format := false
	for line := range strings.Lines(string(raw)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if name, ok := strings.CutPrefix(line, "[env."); ok {
			if !complete() {
				return bad("the environment before this line is not complete")
			}
			if env != "" {
				pins[env] = p
			}
			name, ok := strings.CutSuffix(name, "]")
			name, err := strconv.Unquote(name)
			if !ok || err != nil || !format {
				return bad("is not the head of an environment")
			}
			if env, err = vault.ParseEnv(name); err != nil {
				return bad("names an environment that cannot be")
			}
			if _, twice := pins[env]; twice {
				return bad("has an environment twice")
			}
			p, fields = pin{}, map[string]bool{}
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if !ok {
			return bad("is not a key and a value")
		}
		if env == "" {
			if key != "format" || format {
				return bad("has a key that is not known")
			}
			if value != "1" {
				return nil, &vault.Error{Kind: vault.KindVersion, Op: "reading pins", Line: n, Detail: "has a format that this version does not read"}
			}
			format = true
			continue
		}
		if fields[key] {
			return bad("has a key twice")
		}
		fields[key] = true
		if !p.set(key, value) {
			return bad("has a key that is not known, or a value that is not of its form")
		}
	}
	if !complete() || !format { // an empty file is none that we write: a disk that was full, or a hand
		return bad("is cut off")
	}
	if env != "" {
		pins[env] = p
	}
	return pins, nil
}

// set reads one line of an environment.
func (p *pin) set(key, value string) bool {
	if key == "gen" || key == "seal" {
		n, err := strconv.ParseUint(value, 10, 63)
		if key == "seal" {
			p.seal = n
			return err == nil
		}
		p.gen = uint32(n)
		return err == nil && n > 0 && n == uint64(p.gen)
	}
	if key == "former" || key == "places" {
		list, ok := readStrings(value)
		if key == "places" {
			p.places = list
			return ok
		}
		for _, text := range list {
			number, hex, _ := strings.Cut(text, " ")
			gen, err := strconv.ParseUint(number, 10, 31)
			if err != nil || gen == 0 {
				return false
			}
			fp, err := seal.ParseFingerprint(hex)
			if err != nil {
				return false
			}
			p.remember(uint32(gen), fp)
		}
		return ok
	}
	text, err := strconv.Unquote(value)
	if err != nil {
		return false
	}
	switch key {
	case "fingerprint":
		p.fingerprint, err = seal.ParseFingerprint(text)
		return err == nil
	case "chain":
		b, err := pinEncoding.DecodeString(text)
		if err != nil {
			return false
		}
		p.chain, err = seal.ChainKeyOf(b)
		return err == nil
	}
	return false
}
