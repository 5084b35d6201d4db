package wire

import (
	"slices"
	"sort"
)

// TokenInfo is what looking a token up answers.
type TokenInfo struct {
	Accessor         string            `json:"accessor"`
	CreationTime     int64             `json:"creation_time"` // Unix seconds
	CreationTTL      int64             `json:"creation_ttl"`  // seconds
	DisplayName      string            `json:"display_name"`
	EntityID         string            `json:"entity_id"`
	ExpireTime       *Time             `json:"expire_time"` // null: never
	ExplicitMaxTTL   int64             `json:"explicit_max_ttl"`
	ID               Token             `json:"id"` // empty when looked up by accessor
	IssueTime        Time              `json:"issue_time"`
	Meta             map[string]string `json:"meta"`
	NumUses          int64             `json:"num_uses"` // -1 on the last one
	Orphan           bool              `json:"orphan"`
	Path             string            `json:"path"` // that made it
	Policies         []string          `json:"policies"`
	Renewable        bool              `json:"renewable"`
	TTL              int64             `json:"ttl"`  // seconds left; 0: never ends
	Type             string            `json:"type"` // "service" or "batch"
	IdentityPolicies []string          `json:"identity_policies,omitempty"`
	Period           int64             `json:"period,omitempty"`
	Role             string            `json:"role,omitempty"`
	BoundCIDRs       []string          `json:"bound_cidrs,omitempty"`
	LastRenewal      *Time             `json:"last_renewal,omitempty"`
	LastRenewalTime  int64             `json:"last_renewal_time,omitempty"` // Unix seconds
	NamespacePath    string            `json:"namespace_path,omitempty"`
}

// Held are the names of all policies that the token has, its own and those of its
// entity, sorted, each once.
func (t *TokenInfo) Held() []string { return union(t.Policies, t.IdentityPolicies) }

// Held is that of TokenInfo.
func (a *Auth) Held() []string { return union(a.Policies, a.IdentityPolicies) }

func union(a, b []string) []string {
	all := append(append([]string(nil), a...), b...)
	sort.Strings(all)
	return slices.Compact(all)
}

// TokenCreate is the body that makes a token.
type TokenCreate struct {
	ID              Token    `json:"id,omitempty"` // refused: nobody chooses a token
	Policies        Strings  `json:"policies,omitempty"`
	Meta            Custom   `json:"meta,omitempty"`
	TTL             Duration `json:"ttl,omitempty"`
	ExplicitMaxTTL  Duration `json:"explicit_max_ttl,omitempty"`
	Period          Duration `json:"period,omitempty"`
	Renewable       *Bool    `json:"renewable,omitempty"` // nil: yes
	DisplayName     string   `json:"display_name,omitempty"`
	NumUses         Int      `json:"num_uses,omitempty"` // 0: as many as one likes
	NoParent        Bool     `json:"no_parent,omitempty"`
	NoDefaultPolicy Bool     `json:"no_default_policy,omitempty"`
	Type            string   `json:"type,omitempty"`
	EntityAlias     string   `json:"entity_alias,omitempty"`
}

// TokenRef is the body of what is done to one token: looking up, renewing, revoking.
type TokenRef struct {
	Token     Token    `json:"token,omitempty"`
	Accessor  string   `json:"accessor,omitempty"`
	Increment Duration `json:"increment,omitempty"`
}
