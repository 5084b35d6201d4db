package wire

import (
	"encoding/json"
	"fmt"
	"maps"
)

// Answer is the envelope of every answer with a body that is not an error.
// T is the type of its data. All keys are always there.
type Answer[T any] struct {
	RequestID     string    `json:"request_id"`
	LeaseID       string    `json:"lease_id"`
	Renewable     bool      `json:"renewable"`
	LeaseDuration int64     `json:"lease_duration"` // seconds
	Data          *T        `json:"data"`
	WrapInfo      *WrapInfo `json:"wrap_info"` // then all others are empty, the id too
	Warnings      []string  `json:"warnings"`
	Auth          *Auth     `json:"auth"`
	MountType     string    `json:"mount_type,omitempty"` // Vault sends it, OpenBao does not
}

// Format implements fmt.Formatter: the id and no more. Of the pointers in an
// answer fmt prints what they point to, past every mask, if the verb is wrong.
func (a Answer[T]) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "[answer %s]", a.RequestID) }

// Flat is the JSON of an answer whose data stand at its top level as well, as
// the old paths of sys have it: half of the clients read them there.
func Flat[T any](a Answer[T]) ([]byte, error) {
	envelope, err := json.Marshal(a)
	if err != nil || a.Data == nil {
		return envelope, err
	}
	data, err := json.Marshal(a.Data)
	if err != nil {
		return nil, err
	}
	var all, of map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(envelope, &of); err != nil {
		return nil, err
	}
	if all == nil {
		return envelope, nil
	}
	maps.Copy(all, of) // data cannot displace the envelope
	return json.Marshal(all)
}

// WrapInfo is in an answer that was wrapped: the token that unwraps it.
type WrapInfo struct {
	Token           Token  `json:"token"`
	Accessor        string `json:"accessor"`
	TTL             int64  `json:"ttl"` // seconds
	CreationTime    Time   `json:"creation_time"`
	CreationPath    string `json:"creation_path"`
	WrappedAccessor string `json:"wrapped_accessor,omitempty"`
}

// WrapLookup is what a wrapping token says of itself.
type WrapLookup struct {
	CreationPath string `json:"creation_path"`
	CreationTime Time   `json:"creation_time"`
	CreationTTL  int64  `json:"creation_ttl"` // seconds
}

// Auth is in an answer that made or renewed a token.
type Auth struct {
	ClientToken      Token             `json:"client_token"` // empty when renewed by accessor
	Accessor         string            `json:"accessor"`
	Policies         []string          `json:"policies"`
	TokenPolicies    []string          `json:"token_policies"`
	IdentityPolicies []string          `json:"identity_policies,omitempty"`
	Metadata         map[string]string `json:"metadata"`
	LeaseDuration    int64             `json:"lease_duration"` // seconds
	Renewable        bool              `json:"renewable"`
	EntityID         string            `json:"entity_id"`
	TokenType        string            `json:"token_type"` // "service" or "batch"
	Orphan           bool              `json:"orphan"`
	MFARequirement   json.RawMessage   `json:"mfa_requirement"` // always null from us
	NumUses          int64             `json:"num_uses"`
}

// Keys is the answer to a list. Folders end in "/".
type Keys struct {
	Keys []string `json:"keys"`
}

// Errors is the body of an error. An empty list says of a 404 that there is
// nothing: clients depend on it.
type Errors struct {
	Errors []string `json:"errors"`
}
