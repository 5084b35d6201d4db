package wire

import (
	"strings"

	"envrun/vault"
)

// Texts of errors that clients match.
const (
	CASMismatch = "check-and-set parameter did not match the current version"
	CASRequired = "check-and-set parameter required for this call"
	Denied      = "permission denied"
	Sealed      = "Vault is sealed"
	InUse       = "path is already in use at " // and the path
	NoHandler   = "no handler for route "      // and the route
	NoNamespace = "namespace not found"
)

// The statuses that stand for something, so that net/http need not be linked for their names.
const (
	badRequest         = 400
	unauthorized       = 401
	forbidden          = 403
	notFound           = 404
	notAllowed         = 405
	gone               = 410
	preconditionFailed = 412
	unsupportedType    = 415
	tooMany            = 429
	internal           = 500
	unavailable        = 503
)

// StatusOf is the status that a server answers an error with. What will not get
// better by itself is never a 5xx: clients try those again (server-api §1.1).
func StatusOf(err error) int {
	switch vault.KindOf(err) {
	case vault.KindNotFound, vault.KindNoEnv, vault.KindNoVault:
		return notFound
	case vault.KindExists, vault.KindInvalid, vault.KindConflict:
		return badRequest
	case vault.KindDenied, vault.KindNoIdentity:
		return forbidden
	case vault.KindUnsupported:
		return notAllowed
	case vault.KindBusy, vault.KindUnavailable:
		return unavailable
	}
	return internal
}

// KindOf is what a status with these errors means to a client.
func KindOf(status int, errs []string) vault.Kind {
	says := func(text string) bool {
		for _, e := range errs {
			if strings.Contains(e, text) {
				return true
			}
		}
		return false
	}
	switch {
	case status == badRequest && says(CASMismatch):
		return vault.KindConflict
	case status == badRequest && says(InUse):
		return vault.KindExists
	case status == notFound && (says(NoHandler) || says(NoNamespace)):
		return vault.KindNoEnv
	case status == unauthorized, status == forbidden:
		return vault.KindDenied
	case status == notFound, status == gone:
		return vault.KindNotFound
	case status == notAllowed, status == unsupportedType:
		return vault.KindUnsupported
	case status == preconditionFailed, status == tooMany, status == 472, status == 473, status >= 500:
		// 412 is a replica that has not caught up, 472 and 473 are standbys.
		return vault.KindUnavailable
	case status >= 400:
		return vault.KindInvalid
	}
	return vault.KindOther
}
