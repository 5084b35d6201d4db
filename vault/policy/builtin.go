package policy

// The policies that every server has (spec server-api §2.4).

// The names that have a meaning of their own. RootName and WrappingName cannot
// be written, DefaultName can be written and not removed.
const (
	RootName     = "root"
	DefaultName  = "default"
	WrappingName = "response-wrapping"
)

// Root is the policy that allows everything. It must be the only one of a
// token. No text makes it: a parsed policy that is called root is a policy like
// any other.
func Root() *Policy { return &Policy{Name: RootName, root: true} }

// DefaultText is what the default policy says until an operator changes it:
// what a token may do with itself. It is stored with AllowSlashes: its templates
// stand at the end of a path, so a name with a slash in it reaches nothing else.
const DefaultText = `# What every token may do, unless it was made without this policy.

# With itself.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "auth/token/renew-self" {
  capabilities = ["update"]
}
path "auth/token/revoke-self" {
  capabilities = ["update"]
}
path "cubbyhole/*" {
  capabilities = ["create", "read", "update", "delete", "list"]
}

# Ask what it may do.
path "sys/capabilities-self" {
  capabilities = ["update"]
}
path "sys/internal/ui/resultant-acl" {
  capabilities = ["read"]
}

# Its own entity.
path "identity/entity/id/{{identity.entity.id}}" {
  capabilities = ["read"]
}
path "identity/entity/name/{{identity.entity.name}}" {
  capabilities = ["read"]
}

# Leases whose id it knows.
path "sys/renew" {
  capabilities = ["update"]
}
path "sys/leases/renew" {
  capabilities = ["update"]
}
path "sys/leases/lookup" {
  capabilities = ["update"]
}

# Wrapped answers.
path "sys/wrapping/wrap" {
  capabilities = ["update"]
}
path "sys/wrapping/lookup" {
  capabilities = ["update"]
}
path "sys/wrapping/unwrap" {
  capabilities = ["update"]
}

# Hashes of what it sends.
path "sys/tools/hash" {
  capabilities = ["update"]
}
path "sys/tools/hash/*" {
  capabilities = ["update"]
}

# Sign in elsewhere with this server.
path "identity/oidc/provider/+/authorize" {
  capabilities = ["read", "update"]
}
`

// WrappingText is what a wrapping token may do: fetch the one answer it stands for.
const WrappingText = `path "cubbyhole/response" {
  capabilities = ["create", "read"]
}
path "sys/wrapping/unwrap" {
  capabilities = ["update"]
}
`
