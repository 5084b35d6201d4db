// Package sqlite is the team server's database in one file, the embedded
// default: what of sqlstore differs for SQLite. The file is in WAL mode with
// full synchronisation, so that a committed write survives kill -9 and a power
// cut, and readers never wait for the writer.
//
// It refuses a file that another server has open: SQLite would keep the file
// whole, but what a server remembers of tokens, mounts and keys would be out of
// date. The lock is the operating system's, on a file beside the database, and
// ends with its process. A network file system without such locks is refused too.
//
// Whoever can write the file can take rows away and put old ones back; see
// vault/kv for what is noticed of that. While the server runs it reads rows from
// memory (sqlstore): it looks at each of its writes, which every request makes one of,
// whether somebody has written past it.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"github.com/gofrs/flock"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"envrun/vault"
	"envrun/vault/sqlstore"
)

// readers is how many connections read at a time: each has a cache of its own,
// and there is nothing to wait for but the processor.
const readers = 8

// Open opens the database in a file, which it makes, with mode 0600, if there
// is none; its folder must be there. KindBusy if another server has it open,
// KindMalformed if it is not a database, KindReadOnly, KindFull.
func Open(ctx context.Context, file string) (*sqlstore.DB, error) {
	file, err := filepath.Abs(file)
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	// One file has one lock, whatever name it is opened by.
	if target, err := filepath.EvalSymlinks(file); err == nil {
		file = target
	}
	lock := flock.New(file+".lock", flock.SetPermissions(0o600))
	switch got, err := lock.TryLock(); {
	case err != nil:
		return nil, explainFile(file, err)
	case !got:
		return nil, &vault.Error{Kind: vault.KindBusy, Op: "opening the database", File: file, Detail: "another server has it open"}
	}
	// SQLite would make it with the mode that the umask leaves.
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = syncFolder(filepath.Dir(file))
	}
	if err != nil {
		_ = lock.Unlock()
		return nil, explainFile(file, err)
	}
	return open(ctx, file, "file:"+(&url.URL{Path: filepath.ToSlash(file)}).EscapedPath()+"?", "WAL", lock.Unlock)
}

var memories atomic.Int64

// OpenMemory opens a new empty database in memory, which is gone when it is
// closed.
func OpenMemory(ctx context.Context) (*sqlstore.DB, error) {
	name := fmt.Sprintf("file:/envrun-%d?vfs=memdb&", memories.Add(1))
	// It lasts as long as a connection to it does: this one, which does nothing else.
	keep, err := sql.Open("sqlite", name)
	if err == nil {
		_, err = keep.ExecContext(ctx, "PRAGMA user_version = 1")
	}
	if err != nil {
		return nil, fmt.Errorf("opening a database in memory: %w", err)
	}
	return open(ctx, "memory", name, "MEMORY", keep.Close)
}

func open(ctx context.Context, file, dsn, journal string, release func() error) (*sqlstore.DB, error) {
	// secure_delete: what was destroyed does not lie in a page that is free. There
	// is no mmap_size: an error of the disk would end the server instead of a read.
	// wal_autocheckpoint: the pages that each request changes, at the end of the audit
	// log, are copied into the file once for 16 MB of them.
	pragmas := url.Values{"_pragma": {
		"busy_timeout(10000)", "journal_mode(" + journal + ")", "synchronous(FULL)", "secure_delete(ON)",
		"foreign_keys(ON)", "temp_store(MEMORY)", "cache_size(-8000)", "wal_autocheckpoint(4000)", "trusted_schema(OFF)",
	}}
	db, err := sql.Open("sqlite", dsn+pragmas.Encode())
	if err != nil {
		if release != nil {
			_ = release()
		}
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	return sqlstore.New(ctx, sqlstore.Driver{
		Name:         "sqlite",
		DB:           db,
		Readers:      readers,
		BeginWrite:   "BEGIN IMMEDIATE",
		BeginRead:    "BEGIN",
		Prepares:     true,
		Placeholders: func(query string) string { return query },
		Explain:      func(op string, err error) error { return explain(file, op, err) },
		Alone:        true, // the lock says so
		Foreign:      "PRAGMA data_version",
		Release:      release,
	})
}

// explain gives an error of SQLite its kind. Its messages name tables and
// columns, and never what a statement was given.
func explain(file, op string, err error) error {
	out := &vault.Error{Op: op, File: file, Err: err}
	var se *sqlite.Error
	if !errors.As(err, &se) {
		return out
	}
	switch se.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		out.Kind = vault.KindFull
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH:
		out.Kind = vault.KindReadOnly
	case sqlite3.SQLITE_CANTOPEN:
		out.Kind = vault.KindUnavailable
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		out.Kind = vault.KindBusy
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		out.Kind = vault.KindMalformed
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM:
		out.Kind = vault.KindUnavailable
	case sqlite3.SQLITE_TOOBIG:
		out.Kind = vault.KindInvalid
	}
	return out
}

func explainFile(file string, err error) error {
	out := &vault.Error{Op: "opening the database", File: file, Err: err}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		out.Kind, out.Detail = vault.KindNotFound, "its folder is not there"
	case errors.Is(err, syscall.ENOSPC):
		out.Kind = vault.KindFull
	case errors.Is(err, syscall.EROFS):
		out.Kind = vault.KindReadOnly
	case errors.Is(err, fs.ErrPermission):
		out.Kind = vault.KindReadOnly
	}
	return out
}
