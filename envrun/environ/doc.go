// Package environ holds the environment of a process as a value, the rules for
// what may be in it, and the formats in which variables are written down.
package environ
