// Package postgres is the team server's database on PostgreSQL, for several
// replicas: what of sqlstore differs for it. Every write takes one advisory
// lock of the database, so that writes of all replicas come one after the
// other, as they do in SQLite; reads take none.
//
// It refuses a server older than 12, one whose text is not UTF-8, and to write
// where a standby answers. A session that the server would let forget committed
// changes (synchronous_commit = off) is told not to; fsync = off, which only
// the server's own configuration can say, is the operator's word that the data
// may be lost.
//
// Whoever can write the tables can take rows away and put old ones back; see
// vault/kv for what is noticed of that.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"envrun/vault"
	"envrun/vault/sqlstore"
)

// readers is how many connections read at a time.
const readers = 16

// patience is how long a transaction may take, waiting for another replica's
// included. The client of a server has long gone by then.
const patience = 30 * time.Second

// connectPatience is how long a connection may take to be made, where the
// address does not say.
const connectPatience = 5 * time.Second

// writeLock is the advisory lock of writers: "envrun" in ASCII.
const writeLock = 0x656e7672756e

// Open connects to an address in the forms of libpq, "postgres://user@host/db"
// or "host=… dbname=…"; what it leaves out comes from the PG* variables and the
// files that libpq reads. KindUnavailable if nobody answers, KindDenied if the
// password is wrong, KindNoVault if there is no such database.
func Open(ctx context.Context, address string) (*sqlstore.DB, error) {
	config, err := pgx.ParseConfig(address)
	if err != nil {
		// The driver's message repeats the address, with what it takes for the password left out.
		return nil, &vault.Error{Kind: vault.KindInvalid, Op: "opening the database", Detail: "the address is not one of PostgreSQL"}
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectPatience
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "envrund"
	}
	where := net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port))) + "/" + config.Database
	db := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(prepare))
	return sqlstore.New(ctx, sqlstore.Driver{
		Name:         "postgres",
		DB:           db,
		Readers:      readers,
		BeginWrite:   fmt.Sprintf("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT pg_advisory_xact_lock(%d)", int64(writeLock)),
		BeginRead:    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
		Placeholders: placeholders,
		Explain:      func(op string, err error) error { return explain(where, op, err) },
		Patience:     patience,
		Notify:       "SELECT pg_notify('" + channel + "', ?)",
		Listen: func(ctx context.Context, begun func(), heard func(string)) error {
			return listen(ctx, config, begun, heard)
		},
	})
}

// channel is what servers on one database tell each other on.
const channel = "envrun_changes"

// stillThere is how long a listener hears nothing before it asks whether the
// connection is still one.
const stillThere = 30 * time.Second

// listen is sqlstore.Driver's Listen.
func listen(ctx context.Context, config *pgx.ConnConfig, begun func(), heard func(string)) error {
	c, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = c.Close(closing)
	}()
	if _, err := c.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	begun()
	for {
		wait, cancel := context.WithTimeout(ctx, stillThere)
		n, err := c.WaitForNotification(wait)
		cancel()
		switch {
		case err == nil:
			heard(n.Payload)
		case ctx.Err() != nil:
			return ctx.Err()
		case wait.Err() == nil || c.IsClosed():
			return err
		default:
			ask, cancel := context.WithTimeout(ctx, connectPatience)
			err := c.Ping(ask)
			cancel()
			if err != nil {
				return err
			}
		}
	}
}

// prepare makes a new connection as we need it.
func prepare(ctx context.Context, c *pgx.Conn) error {
	var encoding, version string
	err := c.QueryRow(ctx, `SELECT current_setting('server_encoding'), current_setting('server_version_num'),
		CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', false) END`).Scan(&encoding, &version, new(*string))
	if err != nil {
		return err
	}
	if encoding != "UTF8" {
		return &vault.Error{Kind: vault.KindUnsupported, Detail: "the database's text is " + encoding + ", and has to be UTF8"}
	}
	if n, err := strconv.Atoi(version); err != nil || n < 120000 {
		return &vault.Error{Kind: vault.KindUnsupported, Detail: "PostgreSQL has to be of version 12 at least"}
	}
	return nil
}

func placeholders(query string) string {
	var b strings.Builder
	n := 0
	for part := range strings.SplitSeq(query, "?") {
		if n > 0 {
			b.WriteString("$" + strconv.Itoa(n))
		}
		b.WriteString(part)
		n++
	}
	return b.String()
}

// explain gives an error its kind by the class of its SQLSTATE. The server's
// message may quote an argument where it complains about data, and its detail
// quotes keys: of those the code is said and nothing else.
func explain(where, op string, err error) error {
	out := &vault.Error{Op: op, File: where}
	var ve *vault.Error
	var pg *pgconn.PgError
	var connect *pgconn.ConnectError
	switch {
	case errors.As(err, &ve):
		out.Kind, out.Detail = ve.Kind, ve.Detail
		return out
	case errors.As(err, &pg):
		out.Kind = kind(pg.Code)
		out.Detail = "SQLSTATE " + pg.Code
		switch pg.Code[:2] {
		case "08", "25", "28", "3D", "42", "53", "55", "57", "58":
			out.Detail = pg.Message + " (SQLSTATE " + pg.Code + ")"
		}
	case errors.As(err, &connect):
		out.Kind, out.Detail = vault.KindUnavailable, "the database cannot be reached"
		out.Err = cause(err)
	case errors.Is(err, context.DeadlineExceeded):
		out.Kind, out.Detail = vault.KindUnavailable, "the database did not answer in time"
	default: // a connection that broke off, in one of many ways
		out.Kind, out.Detail = vault.KindUnavailable, "the connection to the database is broken"
		out.Err = cause(err)
	}
	return out
}

// cause is the innermost error: those around it repeat the address.
func cause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			if many, ok := err.(interface{ Unwrap() []error }); ok && len(many.Unwrap()) > 0 {
				next = many.Unwrap()[0]
			} else {
				return err
			}
		}
		err = next
	}
}

func kind(code string) vault.Kind {
	switch code {
	case "53100":
		return vault.KindFull
	case "25006":
		return vault.KindReadOnly
	case "42501":
		return vault.KindDenied
	case "XX001", "XX002":
		return vault.KindMalformed
	case "54000":
		return vault.KindInvalid
	}
	switch code[:2] {
	case "08", "53", "55", "57", "58":
		return vault.KindUnavailable
	case "28":
		return vault.KindDenied
	case "3D":
		return vault.KindNoVault
	}
	return vault.KindOther
}
