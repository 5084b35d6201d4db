package run

import (
	"fmt"
	"os/exec"
	"strings"
)

// systemDir is the user's own temporary folder, which confstr knows. It is on
// the disk, which is encrypted on every Mac of today; macOS has no other place.
func systemDir() (string, error) {
	out, err := exec.Command("/usr/bin/getconf", "DARWIN_USER_TEMP_DIR").Output()
	if err != nil {
		return "", fmt.Errorf("asking for the user's temporary folder: %w", err)
	}
	dir := strings.TrimSpace(string(out))
	return dir, ownDir(dir)
}

// inMemory: see systemDir.
func inMemory(string) error { return nil }

// deliverInMemory does nothing: Command.check has refused it.
func deliverInMemory(*Plan, Command) error { return nil }
