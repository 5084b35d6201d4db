package policy

import "strings"

// The paths that need sudo in addition to the capability of the operation
// (spec server-api §2.4). It is a table here, and not a word of each handler,
// so that a new handler cannot forget it. One that ends in * is a beginning.
var protected = [...]string{
	"auth/token/accessors/",
	"auth/token/create-orphan",
	"auth/token/revoke-orphan",
	"sys/audit",
	"sys/audit/*",
	"sys/auth/*",
	"sys/config/auditing/*",
	"sys/config/cors",
	"sys/config/ui/headers/*",
	"sys/internal/inspect/*",
	"sys/leases",
	"sys/leases/lookup/*",
	"sys/leases/revoke-force/*",
	"sys/leases/revoke-prefix/*",
	"sys/plugins/catalog/*",
	"sys/raw*",
	"sys/remount",
	"sys/revoke-force/*",
	"sys/revoke-prefix/*",
	"sys/rotate*",
	"sys/seal",
	"sys/step-down",
}

// NeedsSudo says whether a path is one that needs sudo. A final slash, as LIST
// has, makes no difference.
func NeedsSudo(path string) bool {
	path = strings.TrimLeft(path, "/")
	if !strings.HasPrefix(path, "sys/") && !strings.HasPrefix(path, "auth/token/") {
		return false
	}
	bare := strings.TrimSuffix(path, "/")
	for _, p := range protected {
		if before, star := strings.CutSuffix(p, "*"); star {
			if strings.HasPrefix(path, before) {
				return true
			}
		} else if bare == strings.TrimSuffix(p, "/") {
			return true
		}
	}
	return false
}
