//go:build !darwin

package cache

// excludeFromBackup has nothing to do: CACHEDIR.TAG is what programs look for.
func excludeFromBackup(string) {}
