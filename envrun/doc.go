// Package envrun is the folder of what `envrun -- CMD` is made of: the project
// file (project), which variables come from where (resolve), a process
// environment as a value (environ), the run itself (run), and keeping values
// out of what is printed and committed (redact, leakscan).
//
// It holds nothing itself. There is no App here that knows all the others:
// each package takes what it needs as parameters, and cmd/envrun joins them.
package envrun
