//go:build tools

// Package terraform pins the provider for Vault that tests have Terraform drive
// envrund with: the newest that the module proxy gives, of early 2022. Its later
// releases are under a module path of their own major version, and not there. It is
// a module of its own, so that none of what it needs can reach envrun's.
package terraform

import _ "github.com/hashicorp/terraform-provider-vault"
