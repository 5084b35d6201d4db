//go:build !windows

package run

// Interpreter is what a file that begins with head needs to run.
var Interpreter = interpreterOf
