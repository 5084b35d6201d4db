//go:build unix && !linux

package main

// onOneProcessor runs f: a process cannot be kept on one processor here.
func onOneProcessor(f func() error) error { return f() }
