// Package vault holds the nouns of envrun: environments, paths, fields, secrets
// and their versions, the kinds of error, and the interfaces that every place
// secrets live in offers.
//
// It refuses to do anything: it opens no file, speaks no protocol and encrypts
// nothing, and it imports none of our packages, so that nothing that acts can
// settle here. The names of commands are not known here either: a vault
// returns facts, and cmd/internal/cli turns them into sentences.
package vault

import (
	"context"
	"iter"
	"time"
)

// A Field is one named value of a secret.
type Field struct {
	Name  FieldName
	Since uint64 // the version of the secret in which this value last changed; 0 in a Change
	Value Value
}

// Info is what may be known of one version of a secret without its values.
type Info struct {
	Env     Env
	Path    Path
	Version uint64 // 1 for the first
	By      string // the member who says they wrote it: a claim among the holders of the key
	At      time.Time
	Rotate  string // how often to replace the value at its source, "90d"; empty if not said
	Tags    []string
	Note    string // visible to everyone who reads the repository
	Fields  []FieldInfo
	Deleted bool // a tombstone: no fields, and the path counts as absent
	Leased  bool // the values end with a lease: they are for now, and kept nowhere
}

// FieldInfo is a field without its value.
type FieldInfo struct {
	Name  FieldName
	Since uint64
}

// A Secret is one version of a secret with its values, sorted by field name.
type Secret struct {
	Info
	Values []Field
}

// Field returns the named field, and whether the secret has one.
func (s Secret) Field(name FieldName) (Field, bool) {
	for _, f := range s.Values {
		if f.Name == name {
			return f, true
		}
	}
	return Field{}, false
}

// Any, as Change.Was, means that the writer did not look before: the change
// is applied to whatever is there. Commands that showed something to a person
// pass the version they showed instead.
const Any = ^uint64(0)

// A Change is one write to one secret. The zero value changes nothing.
type Change struct {
	Path Path
	Was  uint64 // the version it was made against; 0: there was none; Any: not looked

	// Fields to set, merged over those there are; Drop names fields to remove.
	// With Replace the result has the fields of Set and no others.
	Set     []Field
	Drop    []FieldName
	Replace bool

	// Delete writes a tombstone; Set, Drop and Replace must be empty.
	Delete bool

	Note   *string   // nil: as it was
	Rotate *string   // nil: as it was
	Tags   *[]string // nil: as it was
}

// Reader reads the secrets of environments. All methods are safe for use by
// several goroutines. A value is handed out only after everything that says
// it is genuine has been checked; a failed check is KindTampered, never a
// partial answer.
type Reader interface {
	// Envs lists the environments, sorted by name.
	Envs(ctx context.Context) ([]Env, error)

	// Get returns the current version of one secret. KindNotFound if there is
	// none or it is deleted; KindNoEnv if the environment is missing;
	// KindDenied without a key for it.
	Get(ctx context.Context, env Env, path Path) (Secret, error)

	// GetMany returns the current versions of several secrets, in the order
	// asked. It fails as a whole: KindNotFound names the first missing path.
	GetMany(ctx context.Context, env Env, paths []Path) ([]Secret, error)

	// List yields every current secret at or below prefix ("" for all), sorted
	// by path, without values and without needing a key. Deleted ones are left
	// out. A record that cannot be read yields an error and the walk goes on.
	List(ctx context.Context, env Env, prefix Path) iter.Seq2[Info, error]
}

// Writer changes secrets.
type Writer interface {
	// Apply makes all changes or none, and returns what is there now, in order.
	// A change that would leave its secret as it is writes nothing and returns
	// the present Info. KindConflict if a Was does not match.
	Apply(ctx context.Context, env Env, changes []Change) ([]Info, error)
}

// SomeReader is implemented by vaults where it costs much to look a second time.
type SomeReader interface {
	// GetSome is GetMany that leaves out what is not there: it returns what it finds,
	// in the order asked.
	GetSome(ctx context.Context, env Env, paths []Path) ([]Secret, error)
}

// A Notice says that something in an environment may be different.
type Notice struct {
	Path    Path   // empty: anything
	Version uint64 // that was written; 0 if it is not known, or none was
}

// Watcher is implemented by vaults that can tell when somebody writes.
type Watcher interface {
	// Watch yields a Notice, the first when it has begun to hear, and then for whatever
	// happens, until ctx ends. Connections that break are its own affair: it yields a
	// Notice without a path when it hears again. An error is the last that it yields;
	// KindUnsupported says that there is nobody to tell.
	Watch(ctx context.Context, env Env) iter.Seq2[Notice, error]
}

// Historian is implemented by vaults that keep former versions.
type Historian interface {
	// Versions yields the known versions of one secret, newest first, deleted
	// ones included. KindUnsupported, with the reason in Detail, where none are kept.
	Versions(ctx context.Context, env Env, path Path) iter.Seq2[Info, error]

	// GetVersion returns one version with its values.
	GetVersion(ctx context.Context, env Env, path Path, version uint64) (Secret, error)
}

// Exporter is implemented by vaults that hand out a whole environment, faster than
// one secret after the other.
type Exporter interface {
	// Export returns what is kept of every secret of an environment, sorted by
	// path, deleted ones among them; with former every version that is kept, and
	// else the present one alone. What cannot be read has an Err, and may be
	// without a path. KindNoEnv if the environment is missing; KindUnsupported,
	// with the reason in Detail, where no former versions are kept.
	Export(ctx context.Context, env Env, former bool) ([]Kept, error)
}

// Kept is what is kept of one secret.
type Kept struct {
	Path     Path
	Versions []Secret // oldest first; of each number one
	Err      error    // why there are none
}

// EnvKeeper is implemented by vaults whose environments can be made and removed here.
type EnvKeeper interface {
	// AddEnv makes an empty environment with a key of its own. KindExists if it is there.
	AddEnv(ctx context.Context, env Env) error
	// RemoveEnv removes an environment with everything in it. KindNoEnv if it is not there.
	RemoveEnv(ctx context.Context, env Env) error
}

// Verifier is implemented by vaults that can check themselves.
type Verifier interface {
	// Verify checks every record of an environment, with values where the caller
	// has the key and by form alone where not. It yields one Finding for each
	// thing wrong, and one with a nil Err for each record found right.
	Verify(ctx context.Context, env Env) iter.Seq[Finding]
}

// A Finding is what Verify says of one file or row.
type Finding struct {
	Env  Env
	Path Path // empty when it is about the environment itself
	Err  error
}

// Vault is what every place secrets live in can do.
type Vault interface {
	Reader
	Writer
}
