// Package oidc verifies the identity tokens of OpenID Connect providers and of CI
// platforms, for the team server: whether a JWT is what the configured issuer
// signed, and whether what it claims is what a role is bound to (study auth §4).
//
// It works in the order of auth §4.1, each check with a Reason of its own:
//
//	Verifier.Verify   1–8, 11–13: form, header, key, signature, payload, issuer, times, kind, subject
//	Role.Match        9, 10, 15–17: audience, authorized party, bound claims, freshness, groups
//
// What is left is the caller's: limits of rate, that roles cannot be told from
// each other, single use, and making the token.
//
// It refuses to trust anything that a token says about itself: keys come from the
// mount's configuration alone, never from a header; the issuer is compared byte
// for byte; a name that comes twice, or folds to another, ends the verification.
// Signatures are go-jose's work. No error holds a value of a token: which claims did
// not match is said by name, and to the audit log alone.
package oidc
