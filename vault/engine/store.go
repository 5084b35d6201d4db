package engine

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"envrun/vault"
	"envrun/vault/seal"
)

// A Record is one version of one secret as a store moves it. Raw is the text
// that vault/record reads (filevault §3.3); the other fields say where it
// belongs. On the way in all are set. On the way out Env, Path and Raw are
// enough: Version, Gen and At are the store's own index, which the engine does
// not trust and does not look at.
type Record struct {
	Env     vault.Env
	Path    vault.Path
	Version uint64
	Gen     uint32
	At      time.Time
	Raw     []byte
}

// Names of the blobs of an environment. GenBlob and GrantBlob make the others.
const (
	SealBlob   = "seal"  // the checkpoint
	KeysPrefix = "keys/" // the generations of the environment's key, "0001" and up
)

// GenBlob is the name of the blob that describes generation gen: "keys/0003/gen".
func GenBlob(gen uint32) string { return GrantsPrefix(gen) + "gen" }

// GrantBlob is the name of the blob that wraps generation gen for one member:
// "keys/0003/alice@laptop.grant".
func GrantBlob(gen uint32, member string) string { return GrantsPrefix(gen) + member + grantSuffix }

// GrantsPrefix is what the names of all blobs of generation gen begin with.
func GrantsPrefix(gen uint32) string { return fmt.Sprintf("%s%04d/", KeysPrefix, gen) }

const grantSuffix = ".grant"

// grantMember is the member in the name of a grant, and whether name is one of generation gen.
func grantMember(gen uint32, name string) (string, bool) {
	rest, ok := strings.CutPrefix(name, GrantsPrefix(gen))
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, grantSuffix)
}

// Store keeps records and blobs and understands neither. Whoever can change
// what it holds can destroy and hold back, and nothing else: forging, moving,
// mixing and setting back below the seal are found by the engine.
//
// All methods are safe for use by several goroutines and processes, and none
// but Batch waits for a lock. A slice that a store returns is not changed
// afterwards, by neither side. Errors are *vault.Error.
type Store interface {
	// Envs lists the environments, sorted.
	Envs(ctx context.Context) ([]vault.Env, error)

	// Head returns the newest record of a path, a tombstone too. KindNotFound
	// if the path has none, KindNoEnv if the environment is missing.
	Head(ctx context.Context, env vault.Env, path vault.Path) (Record, error)

	// Heads yields the newest record of every path at or below prefix ("" for
	// all), tombstones too, sorted by path. "At or below" goes by segments:
	// "billing" covers billing and billing/stripe, not billingx. One that
	// cannot be read yields its error, with Env and Path in the Record as far
	// as they are known, and the walk goes on. KindNoEnv comes first and alone.
	Heads(ctx context.Context, env vault.Env, prefix vault.Path) iter.Seq2[Record, error]

	// Versions yields every kept record of a path, newest first, tombstones
	// too. KindUnsupported, with the reason in Detail, if only heads are kept;
	// nothing at all if there never was one.
	Versions(ctx context.Context, env vault.Env, path vault.Path) iter.Seq2[Record, error]

	// Blob returns a named blob of an environment. KindNotFound, KindNoEnv.
	Blob(ctx context.Context, env vault.Env, name string) ([]byte, error)

	// Blobs yields the names that begin with prefix, sorted by bytes. KindNoEnv.
	Blobs(ctx context.Context, env vault.Env, prefix string) iter.Seq2[string, error]

	// Batch calls f once and makes what it wrote last as a whole, or nothing of
	// it if f or the store fails. Batches on one vault run one after another,
	// across processes too. The environment need not exist: f may create it.
	// f must not call the Store, only its Tx, and must not keep the Tx. Where a
	// batch comes into sight piece by piece, each piece does so whole and the
	// seal last: what a reader finds after the seal is then never older than it.
	Batch(ctx context.Context, env vault.Env, f func(Tx) error) error
}

// Tx is a batch under way on one environment. It sees its own writes, and
// nobody else does before the batch has ended well. It is not safe for use by
// several goroutines. Without an environment, all but CreateEnv are KindNoEnv.
type Tx interface {
	Head(path vault.Path) (Record, error)             // as Store.Head
	Heads(prefix vault.Path) iter.Seq2[Record, error] // as Store.Heads
	Blob(name string) ([]byte, error)                 // as Store.Blob
	Blobs(prefix string) iter.Seq2[string, error]     // as Store.Blobs
	Put(r Record, was uint64) error                   // a new head, if the present one is of version was, or 0 for none; else KindConflict
	Rewrap(r Record) error                            // other bytes for the head, of the same version; KindConflict if it is of another, KindNotFound if there is none
	Forget(path vault.Path) error                     // removes the head, with no tombstone; KindNotFound. Only a rotation does this
	PutBlob(name string, raw []byte) error            // makes or replaces
	DeleteBlob(name string) error                     // KindNotFound if it is not there
	CreateEnv() error                                 // KindExists if it is there
	RemoveEnv() error                                 // with all it holds
}

// Locator is implemented by stores whose parts a person can open: errors then
// name the file, and a person can look at it.
type Locator interface {
	LocateRecord(env vault.Env, path vault.Path) string
	LocateBlob(env vault.Env, name string) string
}

// Settler is implemented by stores whose batches come into sight piece by
// piece. When the pieces that a reader got do not fit together, it calls
// Settle, which returns once no batch is half in sight, and reads them again.
type Settler interface {
	Settle(ctx context.Context, env vault.Env) error
}

// Archive is implemented by stores that find the former records of all paths
// faster than those of one after the other.
type Archive interface {
	// Former returns the kept records of an environment by path, newest first.
	// Heads may be among them or not, and what is no record is left out.
	// KindUnsupported as Store.Versions.
	Former(ctx context.Context, env vault.Env) (map[vault.Path][]Record, error)
}

// EnvKey is one generation of an environment's key.
type EnvKey struct {
	Gen uint32 // 1 for the first
	Key seal.Key

	// ReadOnly says why nothing is written under it, though it is the newest that
	// is there: a newer one is known, which perhaps not all who have this one were
	// to have. nil otherwise.
	ReadOnly error
}

// Keys finds the keys of environments. It answers for what it returns: that
// the generation chains from the one known before, that its fingerprint is the
// pinned one, that the blob it came from was made by a holder (filevault §3.9).
// It is asked on every read and must be quick from the second time on; it may
// ask a person for a passphrase, so the engine never calls it inside a Batch.
// Safe for use by several goroutines.
type Keys interface {
	// Current returns the newest generation. KindDenied if the caller holds no
	// key for env, KindNoIdentity if nothing to open one with, KindNoEnv.
	Current(ctx context.Context, env vault.Env) (EnvKey, error)

	// Generation returns a certain one, for versions written before the last
	// rotation. KindNotFound if there never was one of that number.
	Generation(ctx context.Context, env vault.Env, gen uint32) (EnvKey, error)
}
