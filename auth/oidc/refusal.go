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
)

// A Refusal is a token that was refused.
type Refusal struct {
	Reason Reason
	Detail string   // in words, without anything of the token but the names of claims
	Claims []string // names of the claims that did not match

	// Signed: the issuer did sign it, and for this audience, so that whoever holds
	// it may be told which claims did not match.
	Signed bool

	// Of a ReasonFresh: what a newer sign-in has to bring (RFC 9470).
	MaxAge int64 // seconds; 0: any
	ACR    []string
}

func (r *Refusal) Error() string { return string(r.Reason) + ": " + r.Detail }

// Public is what a client may be told.
func (r *Refusal) Public() string {
	switch {
	case r.Reason == ReasonIssuerOut:
		return "the keys of the issuer cannot be had now; try again"
	case r.Signed && len(r.Claims) > 0:
		return "permission denied: the role is bound to other values of " + strings.Join(r.Claims, ", ")
	case r.Signed && r.Reason != ReasonRole:
		return "permission denied: " + r.Detail
	}
	return "permission denied"
}

// Retryable says whether the same token may be good in a moment: the issuer's keys
// could not be had.
func Retryable(err error) bool {
	r := (*Refusal)(nil)
	return errors.As(err, &r) && r.Reason == ReasonIssuerOut
}

func refuse(reason Reason, detail string) error { return &Refusal{Reason: reason, Detail: detail} }
