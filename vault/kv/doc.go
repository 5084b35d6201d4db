// Package kv is a KV v2 mount of the team server, as server-api §1.4 has it:
// versions, check-and-set, merge patches, soft deletion, destruction, metadata,
// lists. Every method works inside a transaction that the caller gives, so
// that the audit entry of a change is written in the same one.
//
// # What a row is
//
// A secret is a JSON object, whose bytes are kept as they came but for white
// space: numbers keep their digits. A version of it is sealed with vault/seal:
// a fresh data key, wrapped under the mount's key and bound to server, mount,
// path, version and generation. What is known of a path and of its versions is
// one sealed record per path, bound to server, mount and path; for each version
// that can still be read it holds the hash of the sealed data. So a row that
// was moved, swapped, edited, or brought back from a time before is refused
// when it is read (KindTampered), except as the next paragraph says. In clear
// are the id of the mount, the paths, and the numbers of versions and generations.
//
// # What was deleted or rolled back
//
// A read looks at one path, and cannot see that the path was removed, or that
// its record and its version were together put back to an earlier state. Verify
// can: the mount has a head, a sealed record with the number of changes, the
// number of paths and a tally of all their records (seal.Tally), which every
// write brings forward in its transaction.
//
// What Verify does not see by itself is a whole mount, head and all, put back
// to an earlier state: it is what an old backup is. Against that, every change
// tells its transaction the number of changes and a digest (keyring.HeadKeeper),
// which the server writes into the audit entry of the change, and Verify takes what
// was kept. Who writes the database can put the log back too; then it is not the one
// of the checkpoints that clients remember.
//
// It refuses to decide who may do what, and keeps no rows: several servers work on
// one database. What a row said may be remembered under a hash of all of it (Memo).
package kv
