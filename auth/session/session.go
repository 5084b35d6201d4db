package session

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"envrun/auth"
	"envrun/auth/keychain"
	"envrun/auth/private"
)

// An Account is somebody on a server, as the index has it. It holds no secret.
// Server, Namespace, Mount, Role, Issuer, ClientID and Subject together say which
// one it is; they are compared byte by byte, so each has one spelling.
type Account struct {
	ID string // hexadecimal hash of what says which one it is

	Server, Namespace, Mount, Role string
	Method                         string // "oidc", "vault-oidc", "jwt", "approle", "kubernetes", "token"
	Issuer, ClientID, Subject      string
	Label                          string // for people: an e-mail address or a name

	Keychain      string    // where the key of its session is: the name of a keychain, ByPassphrase, InMemory
	Created, Used time.Time // of the sign-in, and of the newest renewal
}

// A Record is what is kept sealed of a session.
type Record struct {
	Gen uint64 // grows with each change; the store's alone

	RefreshToken    auth.Secret // of the issuer; may be empty
	RefreshObtained time.Time

	Token         auth.Secret // of the server; may be empty
	Accessor      string
	Ends, MaxEnds time.Time     // of the token, and of the newest of its renewals; zero: never
	TTL           time.Duration // that the token was given for
	Renewable     bool
	Policies      []string

	Scopes   []string
	AuthTime time.Time     // when the issuer last looked at who this is; zero: not said
	ACR      string        // how strongly, as the issuer calls it
	AMR      []string      // by what: pwd, otp, hwk (RFC 8176)
	Skew     time.Duration // of the issuer's clock before ours

	Refused string // why the issuer refused to renew; kept for diagnosis
	Updated time.Time

	sealed header // of the file it was read from
}

// Where a key can be beside keychains, for Store.Keep.
const (
	ByPassphrase = "passphrase" // in a file, under a passphrase
	InMemory     = "memory"     // nowhere: sessions end with the process
)

// A Store is where sessions are kept. Its methods may be used by several
// goroutines and processes at once.
type Store struct {
	Dir       string           // a folder of its own, made when something is kept
	Keychains keychain.Chooser // nil: there are none

	// Keep is where somebody wants the key: the name of a keychain, ByPassphrase or
	// InMemory. Empty: where it is, and for the first session the first keychain that
	// can be used.
	Keep string

	// Passphrase asks for the one that the key is kept under; fresh says that it
	// is a new one, to be asked twice. Nil: nobody can be asked. The bytes are
	// wiped after use.
	Passphrase func(ctx context.Context, prompt string, fresh bool) ([]byte, error)

	// Unlocked, if not nil, is shared by the Stores of a process.
	Unlocked *Unlocked

	// OnWait, if not nil, is called once when another process has kept a lock for
	// more than a second, from another goroutine.
	OnWait func(what string)

	AsRoot bool                // work through sudo all the same
	Getenv func(string) string // os.Getenv if nil
	Now    func() time.Time    // time.Now if nil

	mu       sync.Mutex
	kept     func() keyring // the key, once it was read; a function, since fmt prints no function's results
	memory   map[string]func() (Account, Record)
	turn     uint64 // the newest generation in memory
	prepared *Place
	renewing chan struct{} // full while a session in memory is renewed

	workFactor int           // of scrypt; that of package passphrase if 0
	patience   time.Duration // for locks; that of package private if 0
	step       func(string)  // for tests: where a process could die
}

// Limits of what is read and written.
const (
	maxField    = 4 << 10 // bytes of one field of an account
	maxAccounts = 1000
	maxSealed   = 1 << 20
)

// idOf is the hash of what says which account it is.
func idOf(a Account) string {
	h := sha256.New()
	h.Write([]byte("envrun-account-1"))
	for _, s := range []string{a.Server, a.Namespace, a.Mount, a.Role, a.Issuer, a.ClientID, a.Subject} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// check refuses what the index does not hold.
func (a Account) check() error {
	for _, f := range []struct{ name, text string }{
		{"server", a.Server}, {"namespace", a.Namespace}, {"mount", a.Mount}, {"role", a.Role}, {"method", a.Method},
		{"issuer", a.Issuer}, {"client_id", a.ClientID}, {"subject", a.Subject}, {"label", a.Label}, {"keychain", a.Keychain},
	} {
		switch {
		case len(f.text) > maxField:
			return fmt.Errorf("%s is longer than %d bytes", f.name, maxField)
		case !utf8.ValidString(f.text) || strings.ContainsFunc(f.text, auth.Unseen):
			return fmt.Errorf("%s has characters that are no text", f.name)
		}
	}
	switch {
	case a.Server == "":
		return errors.New("it has no server")
	case a.Method == "":
		return errors.New("it has no method")
	case a.ID != idOf(a):
		return errors.New("its id is not that of what it says")
	}
	return nil
}

// Accounts are the sessions that are kept, oldest first, from the index alone: no
// keychain is asked.
func (s *Store) Accounts() ([]Account, error) {
	x, err := s.index()
	if err != nil {
		return nil, err
	}
	accounts := make([]Account, 0, len(x.entries))
	for _, e := range x.entries {
		accounts = append(accounts, e.Account)
	}
	s.mu.Lock()
	for _, m := range s.memory {
		a, _ := m()
		accounts = append(accounts, a)
	}
	s.mu.Unlock()
	sort.Slice(accounts, func(i, j int) bool {
		a, b := &accounts[i], &accounts[j]
		if c := a.Created.Compare(b.Created); c != 0 {
			return c < 0
		}
		return a.ID < b.ID
	})
	return accounts, nil
}

// Put keeps a new sign-in, over what there was of the same account, and has read it
// back when it returns nil. It fills in what is the store's: the account's ID,
// Keychain and times, the record's Gen and Updated. Prepare goes before it.
func (s *Store) Put(ctx context.Context, a Account, r Record) (Account, error) {
	place, err := s.take(ctx)
	if err != nil {
		return Account{}, err
	}
	now := s.now().UTC().Truncate(time.Millisecond)
	a.ID, a.Keychain, a.Created, a.Used = idOf(a), place.Name, now, now
	a.Label = clean(a.Label)
	if err := a.check(); err != nil {
		return Account{}, fmt.Errorf("the new session: %w", err)
	}
	if place.Name == InMemory {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.turn++
		r.Gen, r.Updated = s.turn, now
		s.remember(a, r)
		return a, nil
	}

	unlock, err := s.lock(ctx)
	if err != nil {
		return Account{}, err
	}
	defer unlock()
	x, err := s.index()
	if err != nil {
		return Account{}, err
	}
	key, err := s.sealer(ctx, &x, place)
	if err != nil {
		return Account{}, err
	}
	a.Keychain = x.place.Name
	e := entry{a, x.retired}
	if i := x.find(a.ID); i >= 0 {
		e.gen = max(e.gen, x.entries[i].gen, s.header(a.ID).gen)
	} else if len(x.entries) >= maxAccounts {
		return Account{}, fmt.Errorf("more than %d sessions are not kept", maxAccounts)
	}
	r.Gen, r.Updated = e.gen+1, now
	if err := s.write(&x, e, r, key); err != nil {
		return Account{}, err
	}
	back, err := s.read(x, a.ID, key)
	if err == nil && !r.same(back) {
		err = &DamagedError{File: s.file(a.ID), Reason: "is not what was written"}
	}
	if err != nil {
		return Account{}, err
	}
	s.sweep(x)
	return a, nil
}

// write writes a session under its record's generation, and then the index.
func (s *Store) write(x *index, e entry, r Record, key keyring) error {
	sealed, err := seal(key, e.ID, r)
	if err != nil {
		return err
	}
	if err := private.MakeDir(filepath.Join(s.Dir, sessionsName)); err != nil {
		return err
	}
	if err := s.put(s.file(e.ID), sealed); err != nil {
		return err
	}
	s.at("sealed")
	e.gen = r.Gen
	if i := x.find(e.ID); i >= 0 {
		x.entries[i] = e
	} else {
		x.entries = append(x.entries, e)
	}
	return s.writeIndex(*x)
}

// Open reads a session. It takes no lock and writes nothing. ErrNoAccount if there
// is none of that ID; an error that is ErrSignIn if only signing in again helps.
func (s *Store) Open(ctx context.Context, id string) (Account, Record, error) {
	s.mu.Lock()
	m, ok := s.memory[id]
	s.mu.Unlock()
	if ok {
		a, r := m()
		return a, r, nil
	}
	x, err := s.index()
	for {
		if err != nil {
			return Account{}, Record{}, err
		}
		a, r, err := s.open(ctx, x, id)
		if err == nil {
			return a, r, nil
		}
		// The index may have been another's by the time the file was read.
		y, e := s.index()
		if e != nil || y.same(x, id) {
			return a, Record{}, err
		}
		x = y
	}
}

// open is Open with the index that was read.
func (s *Store) open(ctx context.Context, x index, id string) (Account, Record, error) {
	i := x.find(id)
	if i < 0 {
		return Account{}, Record{}, ErrNoAccount
	}
	a := x.entries[i].Account
	key, err := s.opener(ctx, x)
	if err != nil {
		return a, Record{}, err
	}
	r, err := s.read(x, id, key)
	return a, r, err
}

// read reads the session of an account of the index.
func (s *Store) read(x index, id string, key keyring) (Record, error) {
	file := s.file(id)
	if err := private.CheckDir(filepath.Join(s.Dir, sessionsName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Record{}, err
	}
	sealed, err := private.Read(file, 0o600, maxSealed)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Record{}, &DamagedError{File: file, Reason: "is gone"}
	case errors.Is(err, private.ErrTooLong):
		return Record{}, &DamagedError{File: file, Reason: "is too long"}
	case err != nil:
		return Record{}, err
	}
	r, err := unseal(key, id, sealed)
	var other *otherKeyError
	switch {
	case errors.As(err, &other):
		return Record{}, &KeyError{Place: x.place.Name, Other: true}
	case err != nil:
		return Record{}, &DamagedError{File: file, Reason: err.Error()}
	case r.Gen < x.entries[x.find(id)].gen:
		return Record{}, &DamagedError{File: file, Reason: "is older than the newest that was kept: it was put back"}
	}
	return r, nil
}

// header is that of the file that is there, read without the key; the zero header
// if there is none.
func (s *Store) header(id string) header {
	sealed, err := private.Read(s.file(id), 0o600, maxSealed)
	if err != nil {
		return header{}
	}
	h, _, _ := parseHeader(sealed)
	return h
}

// Fresh returns a session that does not need to be renewed, as need says, and renews
// it if it does. Of all processes that want to, one does; the others wait for
// it and take what it got.
//
// renew is called with the lock held and the newest record. It calls save with
// each record that must not be lost: a new refresh token, before it or anything
// that came with it is used, and Refused, before it returns the refusal. What it
// returns without an error is kept as well. The error of save is ErrRetired when
// somebody signed out or in anew meanwhile: what renew has by then is nobody's, and
// to be revoked.
//
// A record together with an error was renewed and could not be kept: with
// ErrRetired it is to be revoked, else it may be used. Other errors are those of
// Open; *BusyError; *EndedError, if nothing is left to renew with; and renew's.
func (s *Store) Fresh(ctx context.Context, id string, renew func(ctx context.Context, was Record, save func(Record) error) (Record, error), need func(Record) bool) (Record, error) {
	_, r, err := s.Open(ctx, id)
	if err != nil || !need(r) {
		return r, err
	}
	unlock, err := s.lockRenewal(ctx, id)
	if errors.Is(err, private.ErrBusy) {
		// The last moment may have brought it.
		if _, r, err := s.Open(ctx, id); err != nil || !need(r) {
			return r, err
		}
		return Record{}, &BusyError{What: "renewing this session"}
	}
	if err != nil {
		return Record{}, err
	}
	defer unlock()
	s.at("locked")
	a, r, err := s.Open(ctx, id)
	if err != nil || !need(r) {
		return r, err
	}
	if r.Refused != "" && (!r.Renewable || r.Token.Empty() || !r.Ends.IsZero() && !s.now().Before(r.Ends)) {
		return Record{}, &EndedError{Account: a, Why: r.Refused}
	}
	last := r
	save := func(next Record) error {
		kept, err := s.replace(ctx, id, last, next)
		if err == nil {
			last = kept
		}
		return err
	}
	next, err := renew(ctx, r, save)
	if err != nil {
		return Record{}, err
	}
	if err := save(next); err != nil {
		return next, err
	}
	return last, nil
}

// replace keeps next in place of was, unless something else is there by now. It is
// not cut short: what a process got in exchange for the old is lost otherwise.
func (s *Store) replace(ctx context.Context, id string, was, next Record) (Record, error) {
	next.Gen = was.Gen
	next.Updated = was.Updated
	if next.same(was) {
		return was, nil
	}
	next.Gen, next.Updated = was.Gen+1, s.now().UTC().Truncate(time.Millisecond)
	s.mu.Lock()
	if m, ok := s.memory[id]; ok {
		defer s.mu.Unlock()
		a, there := m()
		if there.Gen != was.Gen {
			return Record{}, ErrRetired
		}
		s.turn++
		next.Gen = s.turn
		a.Used = next.Updated
		s.remember(a, next)
		return next, nil
	}
	s.mu.Unlock()

	ctx = context.WithoutCancel(ctx)
	unlock, err := s.lock(ctx)
	if err != nil {
		return Record{}, err
	}
	defer unlock()
	x, err := s.index()
	if err != nil {
		return Record{}, err
	}
	i := x.find(id)
	if i < 0 || s.header(id) != was.sealed {
		return Record{}, ErrRetired
	}
	key, err := s.opener(ctx, x)
	if err != nil {
		return Record{}, err
	}
	e := x.entries[i]
	e.Used = next.Updated
	next.sealed = header{key.id, next.Gen}
	return next, s.write(&x, e, next, key)
}

// Delete removes a session, and with the last one the key. It does not wait for a
// renewal that is under way, whose result is not kept then. ErrNoAccount if there is
// none.
func (s *Store) Delete(ctx context.Context, id string) error {
	s.mu.Lock()
	if _, ok := s.memory[id]; ok {
		delete(s.memory, id)
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	if x, err := s.index(); err != nil {
		return err
	} else if x.place.Name == "" {
		return ErrNoAccount
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	x, err := s.index()
	if err != nil {
		return err
	}
	i := x.find(id)
	if i < 0 {
		if len(x.entries) == 0 { // the last one, of a process that died before it was done
			s.sweep(x)
			if err := s.dropKey(ctx, x); err != nil {
				return err
			}
		}
		return ErrNoAccount
	}
	// Generations never come again: a file of this session that is put back later
	// is older than what a new sign-in begins with.
	x.retired = max(x.retired, x.entries[i].gen, s.header(id).gen)
	x.entries = slices.Delete(x.entries, i, i+1)
	if err := s.writeIndex(x); err != nil {
		return err
	}
	s.at("retired")
	if err := s.remove(s.file(id)); err != nil {
		return err
	}
	s.at("deleted")
	s.sweep(x)
	if len(x.entries) > 0 {
		return nil
	}
	return s.dropKey(ctx, x)
}

const sessionsName = "sessions"

func (s *Store) file(id string) string { return filepath.Join(s.Dir, sessionsName, id+".sealed") }

// sweep removes the files of sessions that are in no index: those of a process that
// died. Under the lock.
func (s *Store) sweep(x index) {
	dir := filepath.Join(s.Dir, sessionsName)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".sealed")
		if !ok || x.find(id) < 0 {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// remember keeps a session in memory. Under mu.
func (s *Store) remember(a Account, r Record) {
	if s.memory == nil {
		s.memory = map[string]func() (Account, Record){}
	}
	s.memory[a.ID] = func() (Account, Record) { return a, r }
}

// put and remove change a file of ours.
func (s *Store) put(file string, data []byte) error { return private.Write(file, data, true) }
func (s *Store) remove(file string) error           { return private.Remove(file) }

func (s *Store) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

func (s *Store) getenv(name string) string {
	if s.Getenv == nil {
		return os.Getenv(name)
	}
	return s.Getenv(name)
}

func (s *Store) at(step string) {
	if s.step != nil {
		s.step(step)
	}
}

// ours refuses to work for somebody else: what root writes into a folder of theirs
// they could not change any more.
func (s *Store) ours() error {
	if s.Dir == "" {
		return errors.New("no folder is given for sessions")
	}
	uid, user := s.getenv("SUDO_UID"), os.Geteuid()
	if s.AsRoot || uid == "" || user < 0 || uid == strconv.Itoa(user) {
		return nil
	}
	return &SudoError{User: clean(s.getenv("SUDO_USER"))}
}

// clean makes a text fit to be kept and shown.
func clean(text string) string { return auth.Short(text, 256) }
