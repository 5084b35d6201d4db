package session_test

import (
	"os"
	"testing"
)

// The test binary is also each of the processes that share sessions.
func TestMain(m *testing.M) {
	if script := os.Getenv(childVar); script != "" {
		os.Exit(child(script))
	}
	os.Exit(m.Run())
}
