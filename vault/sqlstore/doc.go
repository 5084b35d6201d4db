// Package sqlstore is the team server's database: one kind of transaction, the
// tables, and the methods by which the parts of the server reach theirs. SQLite
// (vault/sqlite) and PostgreSQL (vault/postgres) stand behind it and differ in
// a Driver of few fields; the schema is written twice, in migrations that have
// the same name.
//
// Write runs what it is given inside a transaction and returns when the
// transaction is durable. Writes that come in while another is being made
// durable are committed together, each behind a savepoint of its own, so that
// one of them failing does not undo its neighbours. There is one writer at a
// time, in SQLite by its nature and in PostgreSQL by an advisory lock that
// every replica takes: what a write reads stays true until it is committed, so
// a check-and-set is a read and a write, and numbers without gaps can be given
// out. Read gives a snapshot. ReadKept gives one too, and where the database is
// this server's alone, which a file of SQLite is, makes it of rows that are kept in
// memory, sealed as they were stored: see rows.go.
//
// It refuses to know what it keeps: it seals and opens nothing, and decides
// nothing. Whoever can change the tables can delete and restore rows; that
// what they put there is refused is the business of those who seal the rows.
// Nothing here logs, and an error never holds an argument of a statement.
//
// # Adding a table
//
// The one who needs it declares a small interface of the methods that it calls
// inside a transaction, with types of its own, in its own package. Here it gets
//
//   - a pair of migrations, migrations/NNNN_what.sqlite.sql and
//     migrations/NNNN_what.postgres.sql, numbered after the last one; a landed
//     migration is never edited. Text that is compared or sorted is
//     TEXT COLLATE "C" in PostgreSQL, which is how SQLite sorts; bytes are BLOB
//     and BYTEA; times are BIGINT, nanoseconds since 1970 UTC;
//   - a file of its own, tokens.go, audit.go, with methods of *Tx made of exec,
//     row and each. Statements are constants with ? for arguments; they are
//     prepared once for each connection. Every error of the database ends the
//     transaction, so that a method can return it as it is. A method that changes
//     rows and is not made of exec says which of the kept rows it changes, if any.
//
// What is small and has one key needs no table: Blob and its siblings.
package sqlstore
