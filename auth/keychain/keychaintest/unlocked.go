package keychaintest

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"

	"envrun/auth/keychain"
	"envrun/auth/passphrase"
)

// ForgetUnlocked removes from the kernel's keyring what tests opened with a
// passphrase of files in a folder. It is kept for hours, and a user who is not root has
// a quota of keys.
func ForgetUnlocked(dir string) {
	opened := passphrase.Opened{Keychains: keychain.Options{Getenv: func(string) string { return "" }}}
	_ = filepath.WalkDir(dir, func(file string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil
		}
		if info, err := e.Info(); err != nil || info.Size() > 64<<10 {
			return nil
		}
		if text, err := os.ReadFile(file); err == nil {
			_ = opened.Forget(context.Background(), text)
		}
		return nil
	})
}
