package auth

import "strings"

// ForOthers is an environment for a program that is started for its own sake, a browser
// or a store of passwords: without what signs in here, of which it has no need, and
// which it would hand on to whatever it starts. Case does not count, as on Windows.
func ForOthers(environ []string) []string {
	var out []string
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		if upper := strings.ToUpper(name); strings.HasPrefix(upper, "ENVRUN_") || strings.HasPrefix(upper, "VAULT_") || strings.HasPrefix(upper, "BAO_") {
			continue
		}
		out = append(out, v)
	}
	return out
}
