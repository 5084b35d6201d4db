package wire

// What envrund answers beyond Vault's API: several secrets in one request.

// OwnHeader is in every answer of envrund: a client knows by it that the server has
// the requests below, and asks another server for them once at most.
const OwnHeader = "X-Envrund"

// Bundle is the body of sys/bundle: paths of secrets as reading each of them has
// it, "prod/data/billing".
type Bundle struct {
	Paths []string `json:"paths"`
}

// Limits of one Bundle. A client that wants more asks more than once.
const (
	MaxBundle      = 256  // paths
	MaxBundlePaths = 6000 // bytes of the paths, with four more for each
)

// Bundled is the answer, in the order of the paths.
type Bundled struct {
	Secrets []BundledSecret `json:"secrets"`
}

// BundledSecret is what reading one path alone would have answered: its status, and
// its data or errors.
type BundledSecret struct {
	Path   string   `json:"path"`
	Status int      `json:"status"`
	Errors []string `json:"errors,omitempty"`
	Data   *Secret  `json:"data,omitempty"`
}

// NamesAsked is the body of sys/names: the secrets at and below a path of a mount
// of KV version 2, without their values.
type NamesAsked struct {
	Mount  string `json:"mount"`  // "prod"
	Prefix string `json:"prefix"` // "billing"; empty: all
	After  string `json:"after"`  // where the answer before ended; empty: from the first
}

// Named is the answer, sorted by path.
type Named struct {
	Secrets []NamedSecret `json:"secrets"`
	Refused []string      `json:"refused"` // folders that may not be listed: what is in them is left out
	Next    string        `json:"next"`    // After of the request that goes on; empty: this is the end
}

// NamedSecret is what is known of a secret without its values: as in the answer of
// subkeys, with the status of that. Keys is null where there is no value now.
type NamedSecret struct {
	Path     string   `json:"path"` // in the mount
	Status   int      `json:"status"`
	Keys     []string `json:"keys"`
	Metadata *Version `json:"metadata,omitempty"` // of status 200 and 404
}
