// Package remote is a vault on a server that speaks the Vault HTTP API: envrund,
// HashiCorp Vault or OpenBao. An environment is a mount of KV v2, a secret is a
// path in it, a field is a key of its data.
//
// It refuses what a secrets client must not do. It sends a token to no other host
// than the one it was opened for, follows no redirect elsewhere, speaks plain HTTP
// to this machine alone, takes no proxy from the environment by itself, and says no
// token and no value in an error. It does not guess at what another tool wrote: a
// name that envrun has no room for is reported, and nothing of that secret is used.
//
// # What is stored how
//
// Other tools read the same secrets, so a value is plain text where it can be:
//
//   - A value of valid UTF-8 is a JSON string as it is. Any other is written as
//     "data:application/octet-stream;by=envrun;base64,…", in a list of such pieces
//     if it is long, since Vault takes no string above 1 MiB. A text that begins
//     with that mark is written so too, so that what is read is what was written.
//   - A value that another tool wrote as a number, a truth value, null, a list or an
//     object is shown as its JSON, with the digits that it has, and stays as it is
//     until somebody changes it.
//   - Note, rotation and tags are custom metadata: note, rotate, tags (separated by
//     spaces), each going on in note-2, note-3 … where it is longer than the 512
//     bytes that Vault allows. They are those of the secret, not of a version.
//   - In which version a field last changed stands in envrun-since. Where somebody
//     else wrote, it is not known, and Since is the version that it is known from:
//     the value is at least as old as that.
//   - A deletion is a version without fields that is then marked as deleted. The
//     versions before it keep their values, as in a file vault; destroying them is
//     for Vault's own tools.
//
// # What one call can promise
//
// Every write names the version it was made against (check-and-set). Several
// secrets cannot change as one on this API: Apply compares all of them first, and
// then writes one after the other. If one fails after others were written, the
// error is a *PartialError that says which were.
//
// Listing takes names and versions from subkeys, where the token may read them;
// else it reads the secrets and drops their values. A server checks what it stores
// by itself, so this vault is no vault.Verifier.
package remote
