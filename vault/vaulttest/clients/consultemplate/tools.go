//go:build tools

// Package consultemplate pins the consul-template that tests drive against envrund.
// It is a module of its own, so that none of what it needs can reach envrun's.
package consultemplate

import _ "github.com/hashicorp/consul-template"
