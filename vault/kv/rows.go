package kv

import "envrun/vault/keyring"

// A HeadRow is the row of a mount.
type HeadRow struct {
	Gen    uint32
	Sealed []byte
}

// A KeyRow is the row of a path. Current and Gen stand beside what is sealed
// for the database's sake, and are checked against it.
type KeyRow struct {
	Path    string
	Current int64
	Gen     uint32
	Sealed  []byte
}

// A VersionRow is the row of a version: its data key, wrapped, and its data.
type VersionRow struct {
	Path    string
	Version int64
	Gen     uint32
	Key     []byte
	Data    []byte
}

// A Tx is a transaction on the tables of KV mounts. An error of any method
// means that the transaction cannot be kept.
//
// Whoever can change the tables can take rows away and put back ones that were
// there; see the package comment for what is noticed when.
type Tx interface {
	keyring.Reader // for keys that are not in memory

	KVHead(mount string) (row HeadRow, found bool, err error)
	PutKVHead(mount string, row HeadRow) error
	// DropKV removes every row of a mount.
	DropKV(mount string) error

	KVKey(mount, path string) (row KeyRow, found bool, err error)
	// KVHeadAndKey gives both in one query; found is whether there is a head.
	// The key's Sealed is nil if there is no such path.
	KVHeadAndKey(mount, path string) (head HeadRow, row KeyRow, found bool, err error)
	// KVVersion gives the row of a path and of one version of it, 0 for the
	// current one, in one query; found is whether there is such a path. The
	// version's Version is 0 if it has no row.
	KVVersion(mount, path string, version int64) (row KeyRow, v VersionRow, found bool, err error)
	// KVCurrent calls each with the row of every one of paths that is there, and with
	// that of its current version (Version 0 if it has none), in no order. It makes
	// one query for a few hundred paths; each must not use the transaction.
	KVCurrent(mount string, paths []string, each func(KeyRow, VersionRow) error) error
	// KVCurrentFrom does so for at most limit paths p with from <= p < end, sorted
	// bytewise. An empty end is none.
	KVCurrentFrom(mount, from, end string, limit int, each func(KeyRow, VersionRow) error) error
	PutKVKey(mount string, row KeyRow) error
	// DeleteKVKey removes a path with all its versions.
	DeleteKVKey(mount, path string) error

	PutKVVersion(mount string, row VersionRow) error
	// RewrapKVVersion replaces Gen and Key of the row of that path and version.
	RewrapKVVersion(mount string, row VersionRow) error
	// DeleteKVVersions removes the rows of the versions first to last of a path.
	DeleteKVVersions(mount, path string, first, last int64) error

	// KVPaths gives at most limit paths p with from <= p < end, sorted bytewise.
	// An empty end is none.
	KVPaths(mount, from, end string, limit int) ([]string, error)
	// KVKeys gives at most limit rows whose path is above after, sorted.
	KVKeys(mount, after string, limit int) ([]KeyRow, error)
	// KVVersions gives at most limit rows whose path and version are above path
	// and after, sorted.
	KVVersions(mount, path string, after int64, limit int) ([]VersionRow, error)
	// KVVersionKeys is KVVersions without the Data.
	KVVersionKeys(mount, path string, after int64, limit int) ([]VersionRow, error)
	// KVVersionCount is how many rows of versions the mount has.
	KVVersionCount(mount string) (int64, error)
}
