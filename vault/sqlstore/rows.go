package sqlstore

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"envrun/vault/recent"
)

// Rows that are read again and again are kept in memory where nobody else writes
// the database (Driver.Alone): tokens, small records, and the current version of a
// secret, all of them sealed or under a code as they are in the database.
//
// DB.ReadKept tries a read without a transaction first. All that it is given is of one
// state of the tables, that between two commits: a row of memory is only there if it
// is of the present state, and a statement that found one in the database counts
// only if no commit has begun since the read did. Where that does not hold, or the
// read asks for anything but such rows, it is done anew in a transaction. So it never
// sees two states, and what was committed before it began it sees.
//
// A transaction that writes finds there what neither it nor those that are committed
// with it have changed: nobody else can, so that is as the last commit left it.

// rowsSize is how much is kept, in bytes.
const rowsSize = 16 << 20

// A rowKey names a row, or rows that are read together.
type rowKey struct {
	table byte // one of those below
	a, b  string
}

const (
	tokenRows   = 't' // a: the id
	blobRows    = 'b' // a: the kind; b: the name
	versionRows = 'v' // a: the mount; b: the path; with its current version
)

// rows are what is kept of one state of the tables.
type rows struct {
	// state is twice the number of commits, and one more while one is under way:
	// then what is kept is still of the state before it.
	state atomic.Uint64

	mu   sync.Mutex
	kept recent.Map[rowKey, any]
}

func newRows() *rows { return &rows{kept: recent.Map[rowKey, any]{Max: rowsSize / 2}} }

// get is a row of a state, if it is kept.
func (r *rows) get(state uint64, key rowKey) (any, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state.Load()&^1 != state {
		return nil, false
	}
	return r.kept.Get(key)
}

// put keeps a row that was read from the database, if it is still of the present state.
func (r *rows) put(state uint64, key rowKey, row any, size int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state.Load() == state {
		r.kept.Put(key, row, size+256) // what a map and the row's own parts take
	}
}

// A touch is what transactions change of what may be kept.
type touch struct {
	keys map[rowKey]bool
	all  bool // they cannot say which
}

func (t *touch) none() bool { return !t.all && len(t.keys) == 0 }

func (t *touch) has(key rowKey) bool { return t.all || t.keys[key] }

func (t *touch) add(key rowKey) {
	if t.keys == nil {
		t.keys = map[rowKey]bool{}
	}
	t.keys[key] = true
}

// join adds what another one changes.
func (t *touch) join(more *touch) {
	t.all = t.all || more.all
	for key := range more.keys {
		t.add(key)
	}
}

// begin says that a commit is under way, from before the database may show what it does.
func (r *rows) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Add(1)
}

// end forgets what a commit has changed, before anybody is told that it is durable.
func (r *rows) end(t *touch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.all {
		r.kept.Clear()
	}
	for key := range t.keys {
		r.kept.Delete(key)
	}
	r.state.Add(1)
}

// errAgain ends a read that has to be done in a transaction.
var errAgain = errors.New("sqlstore: this read needs a transaction")

// quick runs f without a transaction. done is false if f has to be run again in one.
func (db *DB) quick(ctx context.Context, f func(*Tx) error) (done bool, err error) {
	select {
	case <-db.closing:
		return true, errClosed
	default:
	}
	tx := &Tx{db: db, ctx: context.Background(), wait: ctx, quick: true, state: db.rows.state.Load() &^ 1}
	defer func() {
		tx.done = true
		if tx.c == nil {
			return
		}
		if !done && tx.err != errAgain { // f panicked, or the database did not answer
			tx.c.close()
			tx.c = nil
		}
		db.readers <- tx.c
	}()
	err = f(tx)
	return tx.err == nil, err
}

// kept is a row by its key: of memory, or what load reads, which is then kept. Where
// rows are not kept, or not in this transaction, it only reads. What it returns is the
// caller's; of copies, the first is kept.
func kept[R any](t *Tx, key rowKey, load func() (R, bool, error), clone func(R) (R, int)) (row R, found bool, err error) {
	if k, ok := memory[R](t, key); ok {
		row, _ = clone(k)
		return row, true, nil
	}
	if row, found, err = single(t, load); err != nil || !found || !t.keeps(key) {
		return row, found, err
	}
	keep, size := clone(row)
	t.db.rows.put(t.state, key, keep, size+len(key.a)+len(key.b))
	return row, true, nil
}

// keeps says that memory may have a row as the transaction sees it.
func (t *Tx) keeps(key rowKey) bool {
	if t.writes {
		return t.db.rows != nil && !t.before.has(key) && !t.touched.has(key)
	}
	return t.quick
}

// memory is a row that is kept. It belongs to everybody.
func memory[R any](t *Tx, key rowKey) (row R, ok bool) {
	if t.done || t.err != nil || !t.keeps(key) {
		return row, false
	}
	k, ok := t.db.rows.get(t.state, key)
	if ok {
		row, ok = k.(R)
	}
	return row, ok
}

// single reads by one statement, which sees one moment by itself: it counts if that
// is of the state in which the read began.
func single[R any](t *Tx, load func() (R, bool, error)) (row R, found bool, err error) {
	if !t.quick {
		return load()
	}
	var none R
	if t.done {
		return none, false, errDone
	}
	if t.err == nil && t.db.rows.state.Load() != t.state {
		t.err = errAgain
	}
	if t.err == nil && t.c == nil {
		t.c, t.err = t.db.reader(t.wait)
		if t.err == nil && t.c == nil {
			t.c, t.err = t.db.open(t.ctx)
			if t.err != nil {
				t.db.readers <- nil
			}
		}
	}
	if t.err != nil {
		return none, false, t.err
	}
	t.quick = false
	row, found, err = load()
	t.quick = true
	if err == nil && t.db.rows.state.Load() != t.state {
		t.err = errAgain
		return none, false, errAgain
	}
	return row, found, err
}
