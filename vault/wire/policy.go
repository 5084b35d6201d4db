package wire

import "time"

// Policy is one policy as reading it answers. What follows the text OpenBao and
// envrund say, and Vault does not.
type Policy struct {
	Name   string `json:"name"`
	Policy string `json:"policy"`

	Version        int64      `json:"version,omitempty"` // 0: not said
	Modified       *time.Time `json:"modified,omitempty"`
	CASRequired    bool       `json:"cas_required"`
	AllowSlashes   bool       `json:"allow_slashes_in_identity_templates"`
	AllowWildcards bool       `json:"allow_wildcards_in_identity_templates"`
}

// PolicyWrite is the body that writes one. CAS is the version that is to be there,
// or -1 for none; nil: whatever is there.
type PolicyWrite struct {
	Policy      string `json:"policy"`
	CAS         *Int   `json:"cas,omitempty"`
	CASRequired *Bool  `json:"cas_required,omitempty"`
}

// PolicySet is the answer of sys/policy-set, which envrund alone has: all policies
// that the token may read, by name.
type PolicySet struct {
	Policies map[string]string `json:"policies"`
	Names    []string          `json:"names"` // of all policies; null if the token may not list them
}

// PolicyChanges is the body that changes several policies as one: all of them, or
// none.
type PolicyChanges struct {
	Changes []PolicyChange `json:"changes"`
}

// A PolicyChange is one policy of them.
type PolicyChange struct {
	Name   string `json:"name"`
	Was    string `json:"was"` // SHA-256 in hex of the text that is to be there; "": none is
	Policy string `json:"policy,omitempty"`
	Remove bool   `json:"remove,omitempty"`
}

// MaxPolicyChanges is how many policies one request can change.
const MaxPolicyChanges = 128
