package wire

// What sys/events of envrund tells: server-sent events, each with one of these names.
const (
	// EventReady comes first: what happens from then on is told.
	EventReady = "ready"
	// EventChange has a Change as its data.
	EventChange = "change"
	// EventAgain says that more may be different than was told: read again.
	EventAgain = "again"
)

// What happened to a secret.
const (
	ChangeWrite    = "write"    // there is a new version
	ChangeDelete   = "delete"   // versions are hidden
	ChangeUndelete = "undelete" // and shown again
	ChangeDestroy  = "destroy"  // versions have no data any more
	ChangeMetadata = "metadata"
	ChangeRemove   = "remove" // all that was known of it is gone
)

// Change is one thing that happened, without values.
type Change struct {
	Mount   string `json:"mount"`             // "prod"
	Path    string `json:"path"`              // in the mount
	What    string `json:"what"`              // ChangeWrite, …
	Version uint64 `json:"version,omitempty"` // that was written; of who may only list it, not said
	Time    Time   `json:"time"`
}
