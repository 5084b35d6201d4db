// Package registry finds what opens the vault at an address: a folder of the
// project, a server, and whatever comes later. It is a value that cmd fills, so
// that a vault is linked where it is named and nowhere else.
//
// It refuses to guess: an address of a kind that nobody registered is an error
// that names the kinds there are.
package registry

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"envrun/vault"
)

// Opener opens the vault at an address, which has the scheme it was registered for.
type Opener func(ctx context.Context, address string) (vault.Vault, error)

// Registry are openers by scheme, in lower case: "https" for https://…, and "" for
// an address that is the path of a folder.
type Registry map[string]Opener

// Scheme is the scheme of an address, in lower case: "" for a path.
func Scheme(address string) string {
	scheme, _, ok := strings.Cut(address, "://")
	if !ok {
		return ""
	}
	return strings.ToLower(scheme)
}

// Open opens the vault at an address. KindUnsupported if nothing opens its kind.
func (r Registry) Open(ctx context.Context, address string) (vault.Vault, error) {
	open, ok := r[Scheme(address)]
	if !ok {
		var known []string
		for _, scheme := range slices.Sorted(maps.Keys(r)) {
			if scheme == "" {
				known = append(known, "a folder")
			} else {
				known = append(known, scheme+"://")
			}
		}
		return nil, &vault.Error{Kind: vault.KindUnsupported, Detail: fmt.Sprintf("nothing opens a vault at %.20q…; there is %s", Scheme(address)+"://", strings.Join(known, ", "))}
	}
	return open(ctx, address)
}
