package agekey_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The test binary is also every plugin, by the name it is run under, and the
// process that dies in TestCrash.
func TestMain(m *testing.M) {
	switch {
	case strings.HasPrefix(filepath.Base(os.Args[0]), "age-plugin-"):
		os.Exit(pluginMain(strings.TrimPrefix(filepath.Base(os.Args[0]), "age-plugin-")))
	case os.Getenv(childVar) != "":
		os.Exit(child(os.Getenv(childVar)))
	}
	os.Exit(m.Run())
}
