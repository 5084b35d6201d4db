package oidc

import (
	"errors"
	"strings"
)

// A Reason is why a token was refused, one for each check of auth §4.1. It is for
// the audit log; a client is told Refusal.Public.
type Reason string

// The reasons, in the order of the checks.
const (
	ReasonForm      Reason = "form"             // not a compact JWS within the bounds
	ReasonHeader    Reason = "header"           // names that this server does not know how to honour
	ReasonAlgorithm Reason = "algorithm"        // not one that the mount allows
	ReasonKey       Reason = "key"              // the issuer has no such key, or none that fits
	ReasonSignature Reason = "signature"        // it is not of that key
	ReasonPayload   Reason = "payload"          // not strict JSON, or beyond the bounds
	ReasonIssuer    Reason = "issuer"           // another one's
	ReasonTime      Reason = "time"             // expired, not yet valid, too old, or without a time
	ReasonKind      Reason = "kind"             // an access or a logout token
	ReasonSubject   Reason = "subject"          // missing, or not of its form
	ReasonRole      Reason = "role"             // there is no such role
	ReasonAudience  Reason = "audience"         // not for this server, or for others too
	ReasonParty     Reason = "authorized party" // made for another client
	ReasonClaims    Reason = "claims"           // what the role is bound to does not match
	ReasonFresh     Reason = "freshness"        // the person signed in too long ago, or too weakly
	ReasonGroups    Reason = "groups"           // not a list of names, or left out for its length
	ReasonReplay    Reason = "replay"           // it was used before, where one use is all there is
	ReasonIssuerOut Reason = "keys unavailable" // the issuer's keys cannot be had: try again

	// The cluster whose token it is cannot be asked of it: try again.
	ReasonClusterOut Reason = "cluster unavailable"
)

// A Refusal is a token that was refused.
type Refusal struct {
	Reason Reason
	Detail string   // in words, without anything of the token but the names of claims
	Claims []string // names of the claims that did not match

	// Entitled: everything that the role is bound to matches. Its holder may be told
	// what is missing still; to everybody else all refusals are the same, so that
	// nobody finds out which roles there are, and what they are bound to.
	Entitled bool

	// Of a ReasonFresh: what a newer sign-in has to bring (RFC 9470).
	MaxAge int64 // seconds; 0: any
	ACR    []string
}

func (r *Refusal) Error() string {
	text := string(r.Reason) + ": " + r.Detail
	if len(r.Claims) > 0 {
		text += ": " + strings.Join(r.Claims, ", ")
	}
	return text
}

// Public is what a client may be told.
func (r *Refusal) Public() string {
	switch {
	case r.Reason == ReasonIssuerOut:
		return "the keys of the issuer cannot be had now; try again"
	case r.Reason == ReasonClusterOut:
		return "the cluster cannot be asked of the token now; try again"
	case r.Entitled:
		return "permission denied: " + r.Detail
	}
	return "permission denied"
}

// Retryable says whether the same token may be good in a moment: the issuer's keys
// could not be had, or the cluster not be asked.
func Retryable(err error) bool {
	r := (*Refusal)(nil)
	return errors.As(err, &r) && (r.Reason == ReasonIssuerOut || r.Reason == ReasonClusterOut)
}

func refuse(reason Reason, detail string) error { return &Refusal{Reason: reason, Detail: detail} }
