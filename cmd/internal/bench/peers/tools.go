//go:build tools

// Package peers pins the programs that envrun is measured against. It is a
// module of its own, so that none of what they need can reach envrun's.
package peers

import _ "github.com/getsops/sops/v3/cmd/sops"
