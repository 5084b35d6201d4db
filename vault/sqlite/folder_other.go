//go:build !unix

package sqlite

// syncFolder does nothing: the name of a file is made durable with the file.
func syncFolder(string) error { return nil }
