// Package imports is the direction test: which package may import which, each
// rule with its reason. It parses the source files itself, since a test that
// asked `go list` would pass from the test cache after a violation: the cache
// does not see what a child process reads.
//
// It refuses rules that name nothing: a rule whose packages are gone is a
// failure, not a pass.
package imports
