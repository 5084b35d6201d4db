// Package session keeps the sessions of one person on one machine: the token of a
// team server, and what it is renewed with. Its files:
//
//	accounts.json        the index: who, where, and which key seals; no secret
//	sessions/ID.sealed   one session, AES-256-GCM
//	locks/ID.lock        held by whoever renews that session
//	login.lock, lock     held while somebody signs in; while a file is changed
//
// The 32 bytes of the key are in a keychain, since what keychains take is small,
// and differs; so a session is renewed by writing a file, whole or not at all, and
// without asking anybody. Where no keychain can be used, the key is kept under a
// passphrase or sessions in memory alone: both only if somebody said so. Nothing
// is kept in clear.
//
// What can be seen without the key: that there are sessions, whose, with which
// servers and issuers, since when, and how often they were renewed. Who can write
// the files can delete a session or put back an old file of it: an old file is
// found out by the generation in the index, unless the index was put back with it.
// They cannot make a session, change one, or pass off one account's as another's.
// Who can read the keychain as this user has everything.
//
// It refuses to renew without the lock, to undo a sign-out, to go on with a
// keychain other than the one that was chosen, to work through sudo on somebody
// else's files, and to guess at a damaged file. It knows no server, no issuer and
// no command.
package session
