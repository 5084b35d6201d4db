package wire

import "time"

// Health is the answer of sys/health, with whatever status it comes.
type Health struct {
	Initialized                bool   `json:"initialized"`
	Sealed                     bool   `json:"sealed"`
	Standby                    bool   `json:"standby"`
	PerformanceStandby         bool   `json:"performance_standby"`
	ReplicationPerformanceMode string `json:"replication_performance_mode"` // "disabled"
	ReplicationDRMode          string `json:"replication_dr_mode"`          // "disabled"
	ServerTimeUTC              int64  `json:"server_time_utc"`              // Unix seconds
	Version                    string `json:"version"`
	ClusterName                string `json:"cluster_name,omitempty"` // unsealed only
	ClusterID                  string `json:"cluster_id,omitempty"`   // unsealed only

	// Zeros that Vault's own clients look for.
	Enterprise                    bool  `json:"enterprise"`
	EchoDurationMS                int64 `json:"echo_duration_ms"`
	ClockSkewMS                   int64 `json:"clock_skew_ms"`
	ReplicationPrimaryCanaryAgeMS int64 `json:"replication_primary_canary_age_ms"`

	// Of envrund alone: the audit devices that do not take entries, and why; and
	// what was to open it at its start and has not yet, and why.
	AuditProblems []string `json:"audit_problems,omitempty"`
	SealProblems  []string `json:"seal_problems,omitempty"`
}

// SealStatus is the answer of sys/seal-status and of unsealing.
type SealStatus struct {
	Type         string `json:"type"` // "shamir"
	Initialized  bool   `json:"initialized"`
	Sealed       bool   `json:"sealed"`
	T            int    `json:"t"` // shares it takes
	N            int    `json:"n"` // shares there are
	Progress     int    `json:"progress"`
	Nonce        string `json:"nonce"`
	Version      string `json:"version"`
	BuildDate    string `json:"build_date"`
	Migration    bool   `json:"migration"`
	ClusterName  string `json:"cluster_name,omitempty"`
	ClusterID    string `json:"cluster_id,omitempty"`
	RecoverySeal bool   `json:"recovery_seal"`
	StorageType  string `json:"storage_type"`

	// Of envrund alone, for ?sealers=true: what opens the root key, and what was to
	// open it at its start and has not yet.
	Sealers      []string `json:"sealers,omitempty"`
	SealProblems []string `json:"seal_problems,omitempty"`
}

// Leader is the answer of sys/leader.
type Leader struct {
	HAEnabled                       bool      `json:"ha_enabled"`
	IsSelf                          bool      `json:"is_self"`
	ActiveTime                      time.Time `json:"active_time"` // zero as "0001-01-01T00:00:00Z"
	LeaderAddress                   string    `json:"leader_address"`
	LeaderClusterAddress            string    `json:"leader_cluster_address"`
	PerformanceStandby              bool      `json:"performance_standby"`
	PerformanceStandbyLastRemoteWAL uint64    `json:"performance_standby_last_remote_wal"`
}

// Initialized is the answer to GET sys/init.
type Initialized struct {
	Initialized bool `json:"initialized"`
}

// Init is the body that initialises a server.
type Init struct {
	SecretShares    Int `json:"secret_shares"`
	SecretThreshold Int `json:"secret_threshold"`
}

// InitKeys is what initialising gives, this once.
type InitKeys struct {
	Keys       []Token `json:"keys"` // hex
	KeysBase64 []Token `json:"keys_base64"`
	RootToken  Token   `json:"root_token"`
}

// Unseal is the body that gives one share.
type Unseal struct {
	Key     Token `json:"key"` // hex or base64
	Reset   Bool  `json:"reset"`
	Migrate Bool  `json:"migrate"`
}

// Mount is one secrets engine or one way to sign in.
type Mount struct {
	Accessor              string            `json:"accessor"`
	Config                MountConfig       `json:"config"`
	DeprecationStatus     string            `json:"deprecation_status,omitempty"`
	Description           string            `json:"description"`
	ExternalEntropyAccess bool              `json:"external_entropy_access"`
	Local                 bool              `json:"local"`
	Options               map[string]string `json:"options"`        // of KV: version is "1" or "2"
	Path                  string            `json:"path,omitempty"` // with its slash; asked for one path only
	PluginVersion         string            `json:"plugin_version"`
	RunningPluginVersion  string            `json:"running_plugin_version"`
	RunningSHA256         string            `json:"running_sha256"`
	SealWrap              bool              `json:"seal_wrap"`
	Type                  string            `json:"type"`
	UUID                  string            `json:"uuid"`
}

// MountConfig is what a mount is tuned to.
type MountConfig struct {
	DefaultLeaseTTL           int64    `json:"default_lease_ttl"` // seconds
	MaxLeaseTTL               int64    `json:"max_lease_ttl"`     // seconds
	ForceNoCache              bool     `json:"force_no_cache"`
	TokenType                 string   `json:"token_type,omitempty"`         // of a way to sign in
	ListingVisibility         string   `json:"listing_visibility,omitempty"` // "unauth" or ""
	PassthroughRequestHeaders []string `json:"passthrough_request_headers,omitempty"`
}

// Mounts are mounts by path, each with its slash.
type Mounts map[string]Mount

// VisibleMounts are the mounts that a token may see something of.
type VisibleMounts struct {
	Auth   Mounts `json:"auth"`
	Secret Mounts `json:"secret"`
}

// MountWrite is the body that makes a mount.
type MountWrite struct {
	Type        string    `json:"type"` // "kv" with version 2 in Options, or "kv-v2"
	Description string    `json:"description"`
	Config      MountTune `json:"config"`
	Options     Custom    `json:"options"`
	Local       Bool      `json:"local"`
	SealWrap    Bool      `json:"seal_wrap"`
}

// MountTune is the body that tunes a mount; what is nil stays as it is.
type MountTune struct {
	DefaultLeaseTTL   *Duration `json:"default_lease_ttl,omitempty"`
	MaxLeaseTTL       *Duration `json:"max_lease_ttl,omitempty"`
	ForceNoCache      *Bool     `json:"force_no_cache,omitempty"`
	Description       *string   `json:"description,omitempty"`
	ListingVisibility *string   `json:"listing_visibility,omitempty"`
	Options           Custom    `json:"options,omitempty"`
}

// MountTuning is what reading a tuning answers.
type MountTuning struct {
	MountConfig
	Description string            `json:"description"`
	Options     map[string]string `json:"options,omitempty"`
}

// KeyStatus is the answer of sys/key-status. Of envrund, the key is the root key.
type KeyStatus struct {
	Term        uint32    `json:"term"` // its generation
	InstallTime time.Time `json:"install_time"`
	Encryptions uint64    `json:"encryptions"` // envrund does not count them
}

// Rotation is the rotation of the key of an environment: the answer of envrund's
// sys/rotate/env.
type Rotation struct {
	Mount      string    `json:"mount"`      // its path, "prod/"
	Generation uint32    `json:"generation"` // of the key that writes are sealed with
	Done       bool      `json:"done"`       // nothing is sealed with a former one
	Began      time.Time `json:"began,omitzero"`
	Ended      time.Time `json:"ended,omitzero"`
	Rows       int64     `json:"rows"`  // that were looked at
	Total      int64     `json:"total"` // that there were at the beginning, or more
	Problem    string    `json:"problem,omitempty"`
}

// Sealer is one of those that open envrund's root key: sys/sealers.
type Sealer struct {
	ID        string    `json:"id"`                  // "age:alice", "shamir", "transit:main"
	Recipient string    `json:"recipient,omitempty"` // of age
	Shares    int       `json:"shares,omitempty"`    // of shamir: how many there are
	Threshold int       `json:"threshold,omitempty"` // and how many it takes
	Since     time.Time `json:"since"`
}

// Sealers are all of them, and the services that the server's configuration names
// and that can be made sealers too.
type Sealers struct {
	Sealers    []Sealer `json:"sealers"`
	Available  []string `json:"available"`
	Generation uint32   `json:"generation"` // of the root key
}

// SealerWrite is the body that makes a sealer.
type SealerWrite struct {
	Recipient       string  `json:"recipient,omitempty"`        // of age
	SecretShares    Int     `json:"secret_shares,omitempty"`    // of shamir
	SecretThreshold Int     `json:"secret_threshold,omitempty"` // of shamir
	Recipients      Strings `json:"recipients,omitempty"`       // of shamir: whom each share is sealed for; none: they come in clear
}

// SealerKeys is what making new shares gives, this once.
type SealerKeys struct {
	Keys       []Token  `json:"keys,omitempty"` // hex
	KeysBase64 []Token  `json:"keys_base64,omitempty"`
	KeysAge    []string `json:"keys_age,omitempty"` // sealed for the recipients, in their order
}

// Lease is something that was given out for a time. What comes after the TTL is ours,
// of one that is to end and has not.
type Lease struct {
	ID          string `json:"id"`
	IssueTime   Time   `json:"issue_time"`
	ExpireTime  Time   `json:"expire_time"`
	LastRenewal *Time  `json:"last_renewal"` // null: never
	Renewable   bool   `json:"renewable"`
	TTL         int64  `json:"ttl"` // seconds

	State   string `json:"state,omitempty"` // "revoking", "stuck"
	Tries   int    `json:"tries,omitempty"` // that failed
	Error   string `json:"error,omitempty"` // of the last
	NextTry *Time  `json:"next_try,omitempty"`
}
