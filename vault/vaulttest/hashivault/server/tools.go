//go:build tools

// Package server pins the HashiCorp Vault that tests compare with. It is a
// module of its own, so that none of what it needs can reach envrun's. Vault is
// under the Business Source License: it is run by tests, and never linked,
// copied from or shipped.
package server

import _ "github.com/hashicorp/vault"
