// Package vaulttest is for tests of vaults and of what uses them: the one suite
// that every vault passes, a store in memory that can be spoilt and made to
// fail, and a whole vault on it.
//
// It refuses to be lenient: what an interface does not allow panics, and
// nothing in it is a double that merely records calls.
package vaulttest
