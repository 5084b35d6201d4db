// Package keyring is the team server's keys: a root key, sealed by at least two
// sealers each of which opens it alone, and under it one key for each mount and
// purpose. The server holds the root only while it is unsealed.
//
//	sealers: age identity | Shamir shares        what operators keep
//	   └─ root key, one generation at a time     record "root": sealed blobs, under a MAC of the root
//	        └─ keys by id, by generation         one record each, sealed under the root (seal.SealRow)
//	             ├─ a mount's id: vault/kv
//	             └─ Sys: small records that must not be read or changed in the database
//
// Shamir shares are of a random scalar (circl's secretsharing over
// ristretto255), from which the key comes that an age identity is sealed with;
// the root is sealed for that identity's recipient. So the root can be renewed
// without the shares, and no share is stored anywhere.
//
// What counts is what the transaction reads, not what a server remembers: a
// write under a key that another replica has replaced is refused or made under
// its successor. A root that is renewed is renewed in one transaction, with
// every key sealed anew, and is handed over to the other servers; a mount's key gets
// a new generation in one, and its rows follow in many (vault/kv Rewrap).
//
// It refuses to begin with one sealer: the loss of it would be the loss of
// everything, and no recovery key would help. It has no cryptography of its
// own. Whoever can write the database can put the record of the root back to an
// earlier one, which the sealers of that time open; sealers cannot be added to it.
// Sealed records that are removed or put back are found by VerifySealed, not by
// who reads one of them.
package keyring
