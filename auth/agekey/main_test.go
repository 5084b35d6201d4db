package agekey_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The test binary is also the plugin of TestPlugin and the process that dies
// in TestCrash.
func TestMain(m *testing.M) {
	switch {
	case strings.HasPrefix(filepath.Base(os.Args[0]), "age-plugin-"):
		os.Exit(pluginMain())
	case os.Getenv(childVar) != "":
		os.Exit(child(os.Getenv(childVar)))
	}
	os.Exit(m.Run())
}
