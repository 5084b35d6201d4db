// Package cache keeps what a person read from a server for a run, so that the
// same run works while the server cannot be reached (filevault §6).
//
// It wraps a vault.Reader. A good answer is kept, and used only when the server is
// not met at all: never when its certificate is wrong, when it is sealed or when it
// refuses. An answer that takes something away (401, 403, 404, 410) takes the cache
// with it before anybody sees the answer. What is kept ends when the server, or
// else the project, says so; nothing is written, queued or decided without a server.
//
// # What lies where
//
// One file for each server, mount, project, environment and token in Store.Dir:
//
//	envrun-cache v1
//	{"server":…,"mount":…,"project":…,"env":…,"subject":…,"fetched":…,"expires":…,"newest":…,"key":…}
//	-----BEGIN AGE ENCRYPTED FILE-----   the key of this file, for the one who may open it
//	body …                               ordinary records, and the names of what is not there
//
// The first two lines are in clear, and part of what the body is sealed with.
// Names and values of secrets are in the body alone. Every file has a random key
// of its own, wrapped to a public key, so that writing asks no keychain and no
// person: its private half is in the keychain of the system, or is the person's
// own identity.
//
// Which file counts, and its hash, says a small file in Store.StateDir: who can
// write the cache folder alone, or put back an older file, has nothing used. It
// also holds the newest time of the server's that is known to have passed, against
// clocks that are set back, and a counter that lets an answer be kept only if
// nothing was kept or taken away since it was asked for.
//
// Whoever can read the files of this person and their keychain can read what is
// kept, as they could read it from the server with the token.
package cache
