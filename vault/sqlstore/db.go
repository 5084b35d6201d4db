package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"envrun/vault"
)

// A Driver is what differs between the databases. Its fields are set once, by
// vault/sqlite and vault/postgres.
type Driver struct {
	Name string  // "sqlite", "postgres": which half of each pair of migrations runs
	DB   *sql.DB // gives connections; New takes it over and Close closes it

	// Connections that read at one time; one more writes.
	Readers int

	// Begin a write and a read. BeginWrite must leave no other writer, in this
	// process or another, until the end of the transaction; BeginRead fixes what
	// the transaction sees.
	BeginWrite string
	BeginRead  string

	// Prepares says that these and what ends them can be prepared, one statement each.
	Prepares bool

	// Placeholders turns the ? of a statement into what the database wants.
	Placeholders func(string) string

	// Explain gives an error of the driver its kind: KindFull, KindReadOnly,
	// KindUnavailable. It must not repeat what an argument held.
	Explain func(op string, err error) error

	// Alone says that nobody else writes the database while it is open: then rows
	// are kept in memory. Foreign, if not empty, is a statement that gives another
	// number on a connection when somebody else has written after all, past the
	// server: what is kept is forgotten then.
	Alone   bool
	Foreign string

	// Patience is how long a transaction may take; 0 is for ever, which is right
	// for a file that somebody else's network is not between.
	Patience time.Duration

	// Listen calls begun when it hears, and heard with each text that the statement
	// Notify was given from then on by any server, until ctx ends or the connection
	// breaks. nil: no other server works on the database.
	Listen func(ctx context.Context, begun func(), heard func(text string)) error
	Notify string // of one argument

	// Release, if not nil, is called last by Close: it lets go of a lock.
	Release func() error
}

// DB is an open database whose tables are as this program wants them. Its
// methods may be called by several goroutines.
type DB struct {
	d Driver

	queries sync.Map // statement with ? → as the database wants it

	rows *rows // that are kept; nil: none are

	readers chan *conn // the connections that read; nil stands for one that is not open

	writes    chan *write
	closing   chan struct{}
	closeOnce sync.Once
	committed chan struct{} // closed when the committer has ended

	listening sync.Mutex
	listeners map[*func(string, bool)]bool // nil until somebody listens
	hearing   sync.WaitGroup
	closeErr  error
}

// maxGroup is how many writes are committed together at most: an answer should
// not wait for everybody's.
const maxGroup = 256

// New runs the migrations that are missing and starts the committer.
// KindVersion if the tables were made by a newer program.
func New(ctx context.Context, d Driver) (*DB, error) {
	db := &DB{
		d:         d,
		readers:   make(chan *conn, d.Readers),
		writes:    make(chan *write),
		closing:   make(chan struct{}),
		committed: make(chan struct{}),
	}
	if d.Alone {
		db.rows = newRows()
	}
	d.DB.SetMaxOpenConns(d.Readers + 2) // one more than is kept, so that a broken one need not be gone before its successor is there
	d.DB.SetMaxIdleConns(d.Readers + 1)
	if err := db.migrate(ctx); err != nil {
		_ = d.DB.Close()
		if d.Release != nil {
			_ = d.Release()
		}
		return nil, err
	}
	for range d.Readers {
		db.readers <- nil
	}
	go db.commitAll()
	return db, nil
}

// Close lets the writes that have begun end, refuses others, and closes the
// database. Reads must have ended.
func (db *DB) Close() error {
	db.closeOnce.Do(func() {
		close(db.closing)
		<-db.committed
		db.hearing.Wait()
		for range db.d.Readers {
			(<-db.readers).close()
		}
		db.closeErr = db.d.DB.Close()
		if db.d.Release != nil {
			db.closeErr = errors.Join(db.closeErr, db.d.Release())
		}
	})
	return db.closeErr
}

var errClosed = &vault.Error{Kind: vault.KindUnavailable, Detail: "the database is being closed"}

// Read runs f on a snapshot: all that f reads was there at one moment. What f
// returns is returned. ctx is for waiting until a connection is free. f is run a
// second time if the connection to the database turns out to be broken.
func (db *DB) Read(ctx context.Context, f func(*Tx) error) error {
	return db.read(ctx, true, f)
}

// ReadKept is Read for an f that may be run several times, and most often reads only
// rows that are kept in memory where the database is this server's alone (rows.go):
// what it does outside counts if it was the last time.
func (db *DB) ReadKept(ctx context.Context, f func(*Tx) error) error {
	if db.rows != nil {
		if done, err := db.quick(ctx, f); done {
			return err
		}
	}
	return db.read(ctx, true, f)
}

// ReadOne is Read for an f that runs one statement, which sees one moment by
// itself: it saves the beginning and the end of a transaction.
func (db *DB) ReadOne(ctx context.Context, f func(*Tx) error) error {
	return db.read(ctx, false, f)
}

// reader is the right to read on a connection, which is given back to db.readers,
// and one that is open already or nil.
func (db *DB) reader(ctx context.Context) (*conn, error) {
	select {
	case <-db.closing:
		return nil, errClosed
	default:
	}
	select {
	case c := <-db.readers:
		return c, nil
	case <-ctx.Done():
		return nil, &vault.Error{Kind: vault.KindUnavailable, Op: "reading", Detail: "waiting for a connection to the database", Err: ctx.Err()}
	case <-db.closing:
		return nil, errClosed
	}
}

func (db *DB) read(ctx context.Context, snapshot bool, f func(*Tx) error) error {
	c, err := db.reader(ctx)
	if err != nil {
		return err
	}
	defer func() { db.readers <- c }()
	txctx, cancel := db.patience()
	defer cancel()
	use := c
	c = nil // until f has ended well
	if use != nil {
		// It was good when it was put back, and may have died since: then a new
		// one does the same.
		broken, err := db.readOn(txctx, use, snapshot, f)
		if !broken {
			c = use
			return err
		}
		if vault.KindOf(err) != vault.KindUnavailable {
			return err
		}
	}
	if use, err = db.open(txctx); err != nil {
		return db.d.Explain("reading", err)
	}
	broken, err := db.readOn(txctx, use, snapshot, f)
	if !broken {
		c = use
	}
	return err
}

// readOn runs f on a connection, and closes it if it may not be used again.
func (db *DB) readOn(ctx context.Context, c *conn, snapshot bool, f func(*Tx) error) (broken bool, err error) {
	broken = true // until f has ended well
	defer func() {
		if broken {
			c.close()
		}
	}()
	if snapshot {
		if err := c.control(ctx, db.d.BeginRead); err != nil {
			return true, db.d.Explain("reading", err)
		}
	}
	tx := &Tx{db: db, c: c, ctx: ctx}
	defer func() { tx.done = true }()
	err = f(tx)
	if tx.err != nil {
		return true, tx.err
	}
	if snapshot {
		if err := c.control(ctx, "ROLLBACK"); err != nil {
			return true, db.d.Explain("reading", err)
		}
	}
	broken = false
	return false, err
}

func (db *DB) patience() (context.Context, context.CancelFunc) {
	if db.d.Patience == 0 {
		return context.Background(), func() {}
	}
	return context.WithTimeout(context.Background(), db.d.Patience)
}

// A write is one call of Write, waiting for its turn.
type write struct {
	state  atomic.Int32 // waiting, then given or gone, whichever is first
	turn   chan *Tx     // the transaction, when it is this one's turn
	ran    chan error   // what f returned; errUnfinished if it did not
	result chan error   // whether it is durable
}

const (
	waiting = iota
	given   // f runs, and its outcome is waited for
	gone    // the caller did not want to wait any longer
)

var errUnfinished = errors.New("sqlstore: the write did not end")

// Write runs f in a transaction, all of it or nothing, and returns nil when it
// is durable. If f returns an error, nothing is changed and Write returns it.
//
// f runs in the caller's goroutine, holds up everybody else who writes, and
// must not wait for anything but the Tx. What it sets outside counts only when
// Write has returned nil. ctx is for waiting until f begins; from then on the
// outcome is waited for, so that it is known.
//
// An error of kind KindUnavailable that comes from the end of the transaction
// may leave open whether the change was kept: its Detail says so. A caller who
// compares and sets finds out by trying again.
func (db *DB) Write(ctx context.Context, f func(*Tx) error) error {
	w := &write{turn: make(chan *Tx, 1), ran: make(chan error, 1), result: make(chan error, 1)}
	select {
	case <-db.closing:
		return errClosed
	default:
	}
	select {
	case db.writes <- w:
	case <-ctx.Done():
		return waited(ctx)
	case <-db.closing:
		return errClosed
	}
	var tx *Tx
	select {
	case tx = <-w.turn:
	case err := <-w.result:
		return err // the transaction could not begin
	case <-ctx.Done():
		if w.state.CompareAndSwap(waiting, gone) {
			return waited(ctx)
		}
		select {
		case tx = <-w.turn:
		case err := <-w.result:
			return err
		}
	}
	if err, ok := run(tx, w, f); !ok {
		return err
	}
	if err := <-w.result; err != nil {
		return err
	}
	for _, f := range tx.after {
		f()
	}
	return nil
}

// run tells the committer how f ended, however it ends: a panic goes on in the
// caller's goroutine, and its write is undone.
func run(tx *Tx, w *write, f func(*Tx) error) (_ error, ok bool) {
	err := errUnfinished
	defer func() {
		tx.done = true
		w.ran <- err
	}()
	err = f(tx)
	if tx.err != nil { // whatever f made of it, nothing can be kept
		err = tx.err
	}
	return err, err == nil
}

func waited(ctx context.Context) error {
	return &vault.Error{Kind: vault.KindUnavailable, Op: "writing", Detail: "waiting for the writes before it", Err: ctx.Err()}
}

// commitAll is the committer: the only goroutine that begins and ends writes.
func (db *DB) commitAll() {
	defer close(db.committed)
	var c *conn
	defer func() { c.close() }()
	for {
		select {
		case w := <-db.writes:
			c = db.commit(c, w)
		case <-db.closing:
			return
		}
	}
}

// commit runs first, and those that come in the meantime, in one transaction,
// and returns the connection to go on with, nil if it is to be a new one.
func (db *DB) commit(c *conn, first *write) *conn {
	ctx, cancel := db.patience()
	defer cancel()
	c, err := db.begin(ctx, c)
	if err != nil {
		err = db.d.Explain("writing", err)
		if first.state.CompareAndSwap(waiting, given) {
			first.result <- err
		}
		return c
	}
	var kept []*write // ran well, and wait to be durable
	var touched touch // by those
	lost := func(err error) *conn {
		for _, w := range kept {
			w.result <- err
		}
		c.close()
		return nil
	}
	savepoint := false // there is one, and nothing has happened since
	for w, n := first, 0; ; n++ {
		if w.state.CompareAndSwap(waiting, given) {
			// The first needs no savepoint: if it fails, there is nothing else to keep.
			if len(kept) > 0 && !savepoint {
				query := "SAVEPOINT w"
				if len(kept) > 1 {
					query = "RELEASE SAVEPOINT w; SAVEPOINT w"
				}
				if err := c.control(ctx, query); err != nil {
					err = db.d.Explain("writing", err)
					w.result <- err
					return lost(err)
				}
				savepoint = true
			}
			tx := &Tx{db: db, c: c, ctx: ctx, writes: true, before: &touched}
			if db.rows != nil {
				tx.state = db.rows.state.Load()
			}
			w.turn <- tx
			switch err := <-w.ran; {
			case err == nil:
				kept = append(kept, w)
				touched.join(&tx.touched)
				savepoint = false
			case len(kept) > 0:
				// Some errors, a full disk, make SQLite undo the whole transaction:
				// then there is no such savepoint, and the others are lost too.
				if e := c.control(ctx, "ROLLBACK TO SAVEPOINT w"); e != nil {
					if vault.KindOf(err) == vault.KindOther {
						err = db.d.Explain("writing", e)
					}
					return lost(err)
				}
			default:
				if e := c.control(ctx, "ROLLBACK"); e != nil {
					c.close()
					c = nil
				}
				if c, err = db.begin(ctx, c); err != nil {
					return c // whoever comes next begins, and hears of it
				}
			}
		}
		if n+1 < maxGroup {
			select {
			case w = <-db.writes:
				continue
			default:
			}
		}
		break
	}
	if len(kept) == 0 {
		if err := c.control(ctx, "ROLLBACK"); err != nil {
			c.close()
			return nil
		}
		return c
	}
	done := func() {}
	if db.rows != nil && !touched.none() {
		db.rows.begin()
		done = func() { db.rows.end(&touched) } // also if it is not known whether the change was kept
	}
	if err := c.control(ctx, "COMMIT"); err != nil {
		err = db.d.Explain("making the change durable", err)
		var ve *vault.Error
		if errors.As(err, &ve) && ve.Kind == vault.KindUnavailable {
			ve.Detail += "; whether the change was kept is not known"
		}
		_ = c.control(ctx, "ROLLBACK")
		done()
		return lost(err)
	}
	done()
	for _, w := range kept {
		w.result <- nil
	}
	return c
}

// begin begins a write on c, or on a new connection if c is nil or has died.
func (db *DB) begin(ctx context.Context, c *conn) (*conn, error) {
	if c != nil {
		err := c.control(ctx, db.d.BeginWrite)
		if err == nil {
			err = db.notice(ctx, c)
		}
		if err == nil {
			return c, nil
		}
		_ = c.control(ctx, "ROLLBACK")
		c.close()
	}
	c, err := db.open(ctx)
	if err != nil {
		return nil, err
	}
	err = c.control(ctx, db.d.BeginWrite)
	if err == nil {
		err = db.notice(ctx, c)
	}
	if err != nil {
		_ = c.control(ctx, "ROLLBACK")
		c.close()
		return nil, err
	}
	return c, nil
}

// notice forgets the rows that are kept if somebody has written past the server.
func (db *DB) notice(ctx context.Context, c *conn) error {
	if db.d.Foreign == "" {
		return nil
	}
	s, err := c.prepared(ctx, db.d.Foreign)
	if err != nil {
		return err
	}
	var now int64
	if err := s.QueryRowContext(ctx).Scan(&now); err != nil {
		return err
	}
	if c.foreign == nil || *c.foreign != now { // of a new connection there is nothing to compare with
		c.foreign = &now
		db.rows.begin()
		db.rows.end(&touch{all: true})
	}
	return nil
}

// A conn is one connection with the statements prepared on it.
type conn struct {
	db    *DB
	c     *sql.Conn
	stmts map[string]*sql.Stmt

	foreign *int64 // what Driver.Foreign gave last; nil: it was not asked yet
}

func (db *DB) open(ctx context.Context) (*conn, error) {
	c, err := db.d.DB.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return &conn{db: db, c: c, stmts: map[string]*sql.Stmt{}}, nil
}

// control runs what begins and ends transactions, of one statement or several.
func (c *conn) control(ctx context.Context, query string) error {
	if !c.db.d.Prepares {
		return c.script(ctx, query)
	}
	for one := range strings.SplitSeq(query, "; ") {
		s, err := c.prepared(ctx, one)
		if err == nil {
			_, err = s.ExecContext(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// script runs statements once.
func (c *conn) script(ctx context.Context, text string) error {
	_, err := c.c.ExecContext(ctx, text)
	return err
}

// close gives the connection up. It is not handed to the next one who asks: it
// may be in the middle of something.
func (c *conn) close() {
	if c == nil {
		return
	}
	for _, s := range c.stmts { // SQLite keeps its files open as long as one is left
		_ = s.Close()
	}
	_ = c.c.Raw(func(any) error { return errDrop })
	_ = c.c.Close()
}

func (c *conn) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	if s := c.stmts[query]; s != nil {
		return s, nil
	}
	db := c.db
	text, ok := db.queries.Load(query)
	if !ok {
		text, _ = db.queries.LoadOrStore(query, db.d.Placeholders(query))
	}
	s, err := c.c.PrepareContext(ctx, text.(string))
	if err != nil {
		return nil, err
	}
	c.stmts[query] = s
	return s, nil
}
