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
}

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
		bytes.Equal(p.chain.Reveal(), q.chain.Reveal()) && maps.Equal(p.former, q.former)
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
	return pins, s.fail("reading", err)
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
const pinsHead = "# What this machine knows of a vault's keys. Do not edit: a wrong line here trusts a wrong key.\nformat = 1\n"

var pinEncoding = base64.RawStdEncoding.Strict()

func marshalPins(pins map[vault.Env]pin) []byte {
	var b bytes.Buffer
	b.WriteString(pinsHead)
	for _, env := range slices.Sorted(maps.Keys(pins)) {
		p := pins[env]
		fmt.Fprintf(&b, "\n[env.%q]\ngen = %d\nfingerprint = %q\nchain = %q\nseal = %d\n",
			string(env), p.gen, p.fingerprint.Hex(), pinEncoding.EncodeToString(p.chain.Reveal()), p.seal)
		if len(p.former) > 0 {
			b.WriteString("former = [")
			for i, gen := range slices.Sorted(maps.Keys(p.former)) {
				if i > 0 {
					b.WriteString(", ")
				}
				fmt.Fprintf(&b, "\"%d %s\"", gen, p.former[gen].Hex())
			}
			b.WriteString("]\n")
		}
	}
	return b.Bytes()
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
	if !complete() || len(raw) > 0 && !format {
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
	if key == "former" {
		inner, open := strings.CutPrefix(value, "[")
		inner, end := strings.CutSuffix(inner, "]")
		if !open || !end {
			return false
		}
		for item := range strings.SplitSeq(inner, ",") {
			text, err := strconv.Unquote(strings.TrimSpace(item))
			if err != nil {
				return false
			}
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
		return true
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
