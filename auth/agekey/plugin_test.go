package agekey_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age/plugin"

	"envrun/auth/agekey"
)

// install puts this test binary into dir as a plugin.
func install(t *testing.T, dir, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "age-plugin-"+name)
	if err := os.Symlink(self, file); err != nil {
		t.Skip("no symbolic links here: ", err)
	}
	return file
}

func setPath(t *testing.T, dirs ...string) {
	t.Helper()
	t.Setenv("PATH", strings.Join(dirs, string(os.PathListSeparator)))
}

func TestFindPlugin(t *testing.T) {
	t.Chdir(t.TempDir())
	dir := t.TempDir()
	file := install(t, dir, "there")
	install(t, "bin", "near")
	install(t, ".", "here")
	install(t, "bin", "there")
	setPath(t, "", ".", "bin", t.TempDir(), dir)
	if got, err := agekey.FindPlugin("there"); err != nil || got != file {
		t.Errorf("got %q, %v, want %q", got, err, file)
	}
	for name, want := range map[string]string{
		"near": "relative", "here": "relative", "nowhere": "not in PATH",
		"": "not in PATH", "../" + filepath.Base(dir) + "/x": "not in PATH", file: "not in PATH",
	} {
		_, err := agekey.FindPlugin(name)
		var missing *agekey.RecipientError
		if !errors.As(err, &missing) || !missing.Missing || missing.Plugin != name || !strings.Contains(missing.Reason, want) {
			t.Errorf("%q: got %v, want %q", name, err, want)
		}
	}
}

func TestPluginRecipientRefuses(t *testing.T) {
	setPath(t, t.TempDir())
	absent := plugin.EncodeRecipient("absent", []byte("0123456789"))
	for _, test := range []struct {
		s       string
		plugin  string
		missing bool
	}{
		{absent, "absent", true},
		{absent[:len(absent)-1], "", false},
		{"", "", false},
		{classic, "", false},
		{pluginLine, "", false},
	} {
		_, err := agekey.PluginRecipient(test.s, nil)
		var bad *agekey.RecipientError
		if !errors.As(err, &bad) || bad.Plugin != test.plugin || bad.Missing != test.missing {
			t.Errorf("%.20s: got %v", test.s, err)
		}
	}
}
