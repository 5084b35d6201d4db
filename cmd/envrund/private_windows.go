package main

import "io/fs"

// private has nothing to look at: who reads a file on Windows is not in its mode.
func private(string, fs.FileInfo) error { return nil }
