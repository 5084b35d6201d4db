package wire

// Version is what is known of one version of a secret.
type Version struct {
	CreatedTime    Time   `json:"created_time"`
	CustomMetadata Custom `json:"custom_metadata"` // of the secret as it is now, not of the version
	DeletionTime   Time   `json:"deletion_time"`   // may be to come
	Destroyed      bool   `json:"destroyed"`
	Version        uint64 `json:"version"`
}

// Secret is one version with its values; of one deleted or destroyed, which
// comes with status 404, Data is null.
type Secret struct {
	Data     Fields  `json:"data"`
	Metadata Version `json:"metadata"`
}

// SecretWrite is the body that writes a version.
type SecretWrite struct {
	Data    Fields        `json:"data"`
	Options *WriteOptions `json:"options,omitempty"`
}

// WriteOptions says what a write rests on: the present version, 0 for none yet.
type WriteOptions struct {
	CAS *Int `json:"cas,omitempty"`
}

// Subkeys is a secret whose values are left out: each key is null or a map of such.
type Subkeys struct {
	Subkeys  map[string]any `json:"subkeys"`
	Metadata Version        `json:"metadata"`
}

// Versions is the body of delete, undelete and destroy.
type Versions struct {
	Versions Ints `json:"versions"`
}

// Metadata is what is known of a secret and of all its versions.
type Metadata struct {
	CASRequired        bool                    `json:"cas_required"`
	CreatedTime        Time                    `json:"created_time"`
	CurrentVersion     uint64                  `json:"current_version"` // 0: none was written yet
	CustomMetadata     Custom                  `json:"custom_metadata"`
	DeleteVersionAfter Duration                `json:"delete_version_after"`
	LastUpdatedBy      *Actor                  `json:"last_updated_by,omitempty"` // Vault from 1.21
	MaxVersions        uint64                  `json:"max_versions"`              // 0: as the mount says
	OldestVersion      uint64                  `json:"oldest_version"`
	UpdatedTime        Time                    `json:"updated_time"`
	Versions           map[uint64]VersionTimes `json:"versions"`

	CurrentMetadataVersion *uint64 `json:"current_metadata_version,omitempty"` // OpenBao
	MetadataCASRequired    *bool   `json:"metadata_cas_required,omitempty"`    // OpenBao
}

// VersionTimes is one version in a Metadata.
type VersionTimes struct {
	CreatedBy    *Actor `json:"created_by,omitempty"` // Vault from 1.21
	CreatedTime  Time   `json:"created_time"`
	DeletedBy    *Actor `json:"deleted_by,omitempty"` // Vault from 1.21
	DeletionTime Time   `json:"deletion_time"`
	Destroyed    bool   `json:"destroyed"`
}

// Actor is who wrote or deleted something.
type Actor struct {
	Actor     string `json:"actor"` // a display name or an entity's name
	ClientID  string `json:"client_id"`
	Operation string `json:"operation"`
}

// MetadataWrite is the body that writes metadata; what is nil stays as it is.
// CustomMetadata replaces all there is, and a merge patch merges it.
type MetadataWrite struct {
	MaxVersions        *Int      `json:"max_versions,omitempty"`
	CASRequired        *Bool     `json:"cas_required,omitempty"`
	DeleteVersionAfter *Duration `json:"delete_version_after,omitempty"`
	CustomMetadata     *Custom   `json:"custom_metadata,omitempty"`
}

// KVConfig is the configuration of a mount of KV v2.
type KVConfig struct {
	MaxVersions         uint64   `json:"max_versions"` // 0: ten
	CASRequired         bool     `json:"cas_required"`
	DeleteVersionAfter  Duration `json:"delete_version_after"` // 0s: never
	MetadataCASRequired *bool    `json:"metadata_cas_required,omitempty"`
}
