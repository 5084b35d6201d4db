//go:build unix

package sqlite

import "os"

// syncFolder makes the name of a new file as durable as the file.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
