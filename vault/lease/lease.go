// Package lease keeps what was given out for a time: who has it, until when, and
// what has to be done to end it (spec server-api §4.1). It knows no database login
// and no cloud key: an Issuer, which gave the thing out, renews and revokes it.
//
// Ending happens elsewhere, and may fail. So it is never part of a transaction: in
// one a lease is marked as due (End), and Work, which every server does every few
// seconds, finds what is due by a scan of an index, claims it, asks the issuer, and
// removes the lease or puts off the next try. A lease whose issuer fails six times, or
// says that it always will, is stuck: it stays, is shown with what went wrong, is tried
// once a day, and goes only when that works or when somebody forces it.
//
// A lease is durable before what it is for is made: then a crash between the two ends
// in revoking something that is not there, and never in a login that nobody ends.
//
// It refuses to be clever about time: no timer runs per lease. The row of a lease
// says when it is due; its record, which is sealed, says the same or later. Whoever can
// write the database can end a lease early, or make its row late or gone: then the
// lease lives on until Verify, which compares all rows with their records, tells it.
package lease

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"envrun/auth/token"
	"envrun/vault"
	"envrun/vault/keyring"
)

// A Row is what the database knows of a lease without its keys.
type Row struct {
	ID    string    // "database/creds/reader/4rT…"
	Due   time.Time // when something has to be done
	Token token.ID  // that it was given to, which it ends with; zero: none
	Stuck bool
}

// A Store is where rows lie: vault/sqlstore's transaction. When a token is removed, the
// Store makes its leases due at once.
type Store interface {
	// LeaseRow returns a row, and false if there is none.
	LeaseRow(id string) (Row, bool, error)
	// PutLeaseRow inserts a row, or replaces the one with its ID.
	PutLeaseRow(Row) error
	// DeleteLeaseRow removes a row; nothing happens if it is not there.
	DeleteLeaseRow(id string) error
	// LeasesBelow returns at most limit ids that begin with prefix and come after one,
	// sorted by their bytes.
	LeasesBelow(prefix, after string, limit int) ([]string, error)
	// LeasesDue returns at most limit ids whose time has come, those first that wait longest.
	LeasesDue(now time.Time, limit int) ([]string, error)
	// LeasesStuck returns at most limit stuck leases that come after an id, sorted.
	LeasesStuck(after string, limit int) ([]string, error)
}

// Tx is a transaction with rows and sealed records.
type Tx interface {
	keyring.Tx
	Store
}

// A DB gives transactions.
type DB[T Tx] interface {
	Read(ctx context.Context, f func(T) error) error
	Write(ctx context.Context, f func(T) error) error
}

// An Issuer gave something out. Its errors are shown to operators: they hold no value.
// Both methods are called outside of transactions, may be called again after they
// worked, and heed their context.
type Issuer interface {
	// Renew lets it live until a time.
	Renew(ctx context.Context, l Lease, until time.Time) error
	// Revoke ends it. That it is gone, or never was, is no error; ErrNever says that
	// trying again is of no use.
	Revoke(ctx context.Context, l Lease) error
}

// ErrNever in an Issuer's error says that it will not get better.
var ErrNever = errors.New("trying again is of no use")

// Why a lease is not renewed.
var (
	ErrNotFound     = errors.New("lease not found")
	ErrNotRenewable = errors.New("lease is not renewable")
	ErrExpired      = errors.New("lease expired")
	ErrPastMax      = errors.New("past the max TTL, cannot renew")
)

// A Lease is something that was given out for a time.
type Lease struct {
	ID        string        `json:"id"`
	Issuer    string        `json:"issuer"` // who gave it out: see Leases.Issuer
	Token     token.ID      `json:"token,omitzero"`
	Made      time.Time     `json:"made"`
	Renewed   time.Time     `json:"renewed,omitzero"`
	Expires   time.Time     `json:"expires"`
	TTL       time.Duration `json:"ttl"`           // as made
	Max       time.Duration `json:"max,omitempty"` // from Made; 0: none
	Renewable bool          `json:"renewable,omitempty"`
	Data      []byte        `json:"data,omitempty"` // what the issuer needs to renew and revoke it

	// Of one that is to end.
	Ending  bool      `json:"ending,omitempty"`
	Tries   int       `json:"tries,omitempty"`   // that have failed
	Next    time.Time `json:"next,omitzero"`     // the next try
	Problem string    `json:"problem,omitempty"` // of the last
	Stuck   bool      `json:"stuck,omitempty"`
}

// Bounds of a lease and of work.
const (
	maxPath    = 512
	maxProblem = 240             // bytes of an issuer's error that are kept
	maxTries   = 6               // then it is stuck
	claimed    = 2 * time.Minute // for which nobody else tries
	tryTime    = 90 * time.Second
	daily      = 24 * time.Hour
	batch      = 64
	kind       = "lease" // of the sealed records
)

// Leases are the leases of a server. Work may be done by several at a time.
type Leases struct {
	Ring *keyring.Ring
	// Issuer finds an issuer by its name; nil if there is none, which makes a lease stuck.
	Issuer func(name string) Issuer
	Now    func() time.Time // nil: time.Now
}

func (ls *Leases) now() time.Time {
	if ls.Now == nil {
		return time.Now().UTC()
	}
	return ls.Now().UTC()
}

// A Spec is what a new lease is to be.
type Spec struct {
	Path      string // that was asked for: the lease's id begins with it
	Issuer    string
	Token     token.ID // zero: it ends with no token
	TTL       time.Duration
	Max       time.Duration // 0: none
	Renewable bool
	Data      []byte
}

// Make makes a lease. The transaction must be durable before what the lease is for
// is made; if that fails, End the lease.
func (ls *Leases) Make(tx Tx, spec Spec) (Lease, error) {
	path := strings.Trim(spec.Path, "/")
	switch {
	case path == "" || len(path) > maxPath:
		return Lease{}, &vault.Error{Kind: vault.KindInvalid, Op: "making a lease", Detail: fmt.Sprintf("its path has 1 to %d bytes", maxPath)}
	case spec.TTL < time.Second || spec.Max < 0:
		return Lease{}, &vault.Error{Kind: vault.KindInvalid, Op: "making a lease", Detail: "it lives at least a second"}
	}
	now := ls.now()
	l := Lease{
		ID: path + "/" + rand.Text(), Issuer: spec.Issuer, Token: spec.Token, Made: now,
		TTL: spec.TTL.Truncate(time.Second), Max: spec.Max, Renewable: spec.Renewable, Data: spec.Data,
	}
	if l.Max > 0 && l.TTL > l.Max {
		l.TTL = l.Max
	}
	l.Expires = now.Add(l.TTL)
	return l, ls.put(tx, l)
}

func (ls *Leases) put(tx Tx, l Lease) error {
	plain, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("writing a lease: %w", err)
	}
	defer clear(plain)
	if err := ls.Ring.PutSealed(tx, kind, l.ID, plain); err != nil {
		return err
	}
	return tx.PutLeaseRow(Row{ID: l.ID, Due: l.due(), Token: l.Token, Stuck: l.Stuck})
}

func (l *Lease) due() time.Time {
	if l.Ending {
		return l.Next
	}
	return l.Expires
}

// Get returns a lease: ErrNotFound if there is none. One whose row is due before its
// record says so, because its token ended, is one that is to end.
func (ls *Leases) Get(tx Tx, id string) (Lease, error) {
	row, there, err := tx.LeaseRow(id)
	if err != nil {
		return Lease{}, err
	}
	if !there {
		return Lease{}, ErrNotFound
	}
	plain, err := ls.Ring.GetSealed(tx, kind, id)
	if vault.KindOf(err) == vault.KindNotFound {
		err = &vault.Error{Kind: vault.KindTampered, Op: "reading a lease", Detail: "its record is missing"}
	}
	if err != nil {
		return Lease{}, err
	}
	defer clear(plain)
	var l Lease
	if err := json.Unmarshal(plain, &l); err != nil || l.ID != id {
		return Lease{}, &vault.Error{Kind: vault.KindMalformed, Op: "reading a lease", Detail: "it is not of its form"}
	}
	if due := l.due(); row.Due.After(due) {
		return Lease{}, &vault.Error{Kind: vault.KindTampered, Op: "reading a lease", Detail: "its row is due later than it is"}
	} else if row.Due.Before(due) && !l.Ending {
		l.Ending, l.Next = true, row.Due
	}
	return l, nil
}

// Until is when a lease ends if it is renewed now for a time, 0 for as long as it was
// made for, counted from now and never past its maximum; and what who asks should
// be told. It changes nothing.
func (ls *Leases) Until(l Lease, increment time.Duration) (until time.Time, warnings []string, err error) {
	now := ls.now()
	switch {
	case l.Ending || !now.Before(l.Expires):
		return time.Time{}, nil, ErrExpired
	case !l.Renewable:
		return time.Time{}, nil, ErrNotRenewable
	}
	ttl := l.TTL
	if increment > 0 {
		ttl = increment.Truncate(time.Second)
	}
	if l.Max > 0 {
		left := l.Made.Add(l.Max).Sub(now).Truncate(time.Second)
		if left <= 0 {
			return time.Time{}, nil, ErrPastMax
		}
		if ttl > left {
			warnings = append(warnings, fmt.Sprintf("TTL of %q exceeded the effective max_ttl of %q; TTL value is capped accordingly", token.Spell(ttl), token.Spell(left)))
			ttl = left
		}
	}
	return now.Add(ttl), warnings, nil
}

// Prolong asks the issuer of a lease to let it live until a time: before that is
// written, and in no transaction.
func (ls *Leases) Prolong(ctx context.Context, l Lease, until time.Time) error {
	issuer := ls.Issuer(l.Issuer)
	if issuer == nil {
		return ErrNotRenewable
	}
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	return issuer.Renew(ctx, l, until)
}

// Renewed writes that a lease lives until a time, which its issuer has seen to.
// ErrExpired if it was ended since.
func (ls *Leases) Renewed(tx Tx, id string, until time.Time) (Lease, error) {
	l, err := ls.Get(tx, id)
	if err != nil {
		return l, err
	}
	if l.Ending {
		return l, ErrExpired
	}
	l.Renewed, l.Expires = ls.now(), until
	return l, ls.put(tx, l)
}

// End marks a lease as one that is to end now. It says whether there is one.
func (ls *Leases) End(tx Tx, id string) (bool, error) {
	l, err := ls.Get(tx, id)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	l.Ending, l.Next, l.Tries = true, ls.now(), 0
	return true, ls.put(tx, l)
}

// EndBelow marks all leases whose id begins with a prefix, and says how many.
func (ls *Leases) EndBelow(tx Tx, prefix string) (int, error) {
	return ls.below(tx, prefix, func(id string) error {
		_, err := ls.End(tx, id)
		return err
	})
}

// Drop removes all leases whose id begins with a prefix, and says how many. What they
// were for is not ended: it may live on.
func (ls *Leases) Drop(tx Tx, prefix string) (int, error) {
	return ls.below(tx, prefix, func(id string) error { return ls.remove(tx, id) })
}

func (ls *Leases) below(tx Tx, prefix string, do func(id string) error) (n int, err error) {
	after := ""
	for {
		ids, err := tx.LeasesBelow(prefix, after, batch)
		if err != nil {
			return n, err
		}
		for _, id := range ids {
			if err := do(id); err != nil {
				return n, err
			}
			n++
			after = id
		}
		if len(ids) < batch {
			return n, nil
		}
	}
}

func (ls *Leases) remove(tx Tx, id string) error {
	if _, err := ls.Ring.DeleteSealed(tx, kind, id); err != nil {
		return err
	}
	return tx.DeleteLeaseRow(id)
}

// Verify compares the rows of all leases with their records, both ways. It says how
// many there are, and what is wrong with which.
func (ls *Leases) Verify(tx Tx) (n int, findings []vault.Finding, err error) {
	rows := map[string]bool{}
	_, err = ls.below(tx, "", func(id string) error {
		rows[id] = true
		_, err := ls.Get(tx, id)
		switch vault.KindOf(err) {
		case vault.KindTampered, vault.KindMalformed:
			findings = append(findings, finding(id, err))
			return nil
		}
		return err
	})
	if err != nil {
		return 0, nil, err
	}
	names, err := tx.BlobNames(kind)
	for _, id := range names {
		if !rows[id] {
			findings = append(findings, finding(id, errors.New("its row is missing: nothing would end it")))
		}
	}
	return len(rows), findings, err
}

func finding(id string, err error) vault.Finding {
	return vault.Finding{Err: &vault.Error{Kind: vault.KindTampered, Detail: "the lease " + id + " is not as it was written", Err: err}}
}

// Children are the names directly below a folder of ids, "" or "a/b/", sorted; those
// of folders end in a slash. At most limit of them.
func Children(tx Store, folder string, limit int) ([]string, error) {
	var names []string
	after := folder
	for len(names) < limit {
		ids, err := tx.LeasesBelow(folder, after, 1)
		if err != nil || len(ids) == 0 {
			return names, err
		}
		name, _, isFolder := strings.Cut(strings.TrimPrefix(ids[0], folder), "/")
		after = folder + name
		if isFolder {
			name += "/"
			after += "0" // what comes after all that begins with the slash
		}
		names = append(names, name)
	}
	return names, nil
}

// Work ends what is due, and says how many leases it tried. One that fails is put off,
// and keeps no other from its end.
func Work[T Tx](ctx context.Context, ls *Leases, db DB[T]) (tried int, err error) {
	for {
		var ids []string
		if err := db.Read(ctx, func(tx T) error {
			var err error
			ids, err = tx.LeasesDue(ls.now(), batch)
			return err
		}); err != nil || len(ids) == 0 {
			return tried, err
		}
		for _, id := range ids {
			tried++
			switch _, e := Try(ctx, ls, db, id); vault.KindOf(e) {
			case vault.KindTampered, vault.KindMalformed:
				err = errors.Join(err, e)
			default:
				if e != nil {
					return tried, errors.Join(err, e)
				}
			}
		}
		if err != nil {
			return tried, err
		}
	}
}

// Try ends one lease if it is due, and says whether it is gone. An error is one of the
// database, or that the lease is not what was written; what its issuer says is in the
// lease.
func Try[T Tx](ctx context.Context, ls *Leases, db DB[T], id string) (gone bool, err error) {
	var l Lease
	var broken error
	mine := false
	err = db.Write(ctx, func(tx T) error {
		mine, gone, broken = false, false, nil
		row, there, err := tx.LeaseRow(id)
		if err != nil || !there {
			gone = !there
			return err
		}
		now := ls.now()
		if row.Due.After(now) {
			return nil // another server has it, or it was renewed
		}
		l, err = ls.Get(tx, id)
		switch vault.KindOf(err) {
		case vault.KindTampered, vault.KindMalformed:
			// Nobody knows what it was for. It is shown as stuck, and told once a day.
			broken = err
			row.Due, row.Stuck = now.Add(daily), true
			return tx.PutLeaseRow(row)
		}
		if err != nil {
			return err
		}
		l.Ending, l.Next, mine = true, now.Add(claimed), true
		return ls.put(tx, l)
	})
	if err != nil || !mine {
		return gone, errors.Join(err, broken)
	}
	problem := ls.revoke(ctx, l)
	if problem != nil && ctx.Err() != nil {
		return false, ctx.Err() // it is ours to try again when the claim is over
	}
	err = db.Write(ctx, func(tx T) error {
		gone = false
		l, err := ls.Get(tx, id)
		if errors.Is(err, ErrNotFound) {
			gone = true
			return nil
		}
		if err != nil {
			return err
		}
		if problem == nil {
			gone = true
			return ls.remove(tx, id)
		}
		l.failed(problem, ls.now())
		return ls.put(tx, l)
	})
	return gone, err
}

func (ls *Leases) revoke(ctx context.Context, l Lease) (err error) {
	issuer := ls.Issuer(l.Issuer)
	if issuer == nil {
		return fmt.Errorf("what gave it out is not there: %w", ErrNever)
	}
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	return issuer.Revoke(ctx, l)
}

// failed puts off the next try: 20 s, 40 s, … 320 s, and a day once it is stuck.
func (l *Lease) failed(problem error, now time.Time) {
	l.Tries++
	if l.Problem = problem.Error(); len(l.Problem) > maxProblem {
		l.Problem = strings.ToValidUTF8(l.Problem[:maxProblem], "")
	}
	if l.Tries >= maxTries || errors.Is(problem, ErrNever) {
		l.Stuck, l.Next = true, now.Add(daily)
		return
	}
	l.Stuck, l.Next = false, now.Add(10*time.Second<<l.Tries)
}
