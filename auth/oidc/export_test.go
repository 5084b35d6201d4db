package oidc

// Glob is the comparison of one kind, for tests.
func Glob(kind, pattern, text string) bool {
	r := Role{BoundType: kind}
	return r.equal(pattern, text)
}
