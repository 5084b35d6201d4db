package agekey

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"filippo.io/age"
	"filippo.io/age/plugin"
)

// FindPlugin returns the absolute path of the program of a plugin, "yubikey".
// It looks in PATH, and there in absolute folders only: what "." or "bin" in
// PATH leads to depends on where one happens to stand, and in a cloned
// repository that is somebody else's program. The error is a *RecipientError
// with Plugin and Missing set.
func FindPlugin(name string) (string, error) {
	program := "age-plugin-" + name
	missing := &RecipientError{Plugin: name, Missing: true, Reason: "needs the plugin " + program + ", which is not in PATH"}
	if name == "" || strings.ContainsAny(name, `/\:`) {
		return "", missing
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if dir == "" {
			dir = "." // as Unix reads it
		}
		// Not filepath.Join, which would take the "./" away and have it looked for in PATH.
		file, err := exec.LookPath(dir + string(filepath.Separator) + program)
		switch {
		case err != nil:
		case filepath.IsAbs(dir):
			return file, nil
		default:
			missing.Reason = "needs the plugin " + program + ", which PATH has only in a relative folder, where it is not trusted"
		}
	}
	return "", missing
}

// PluginRecipient reads a recipient that only a plugin can seal to,
// "age1yubikey1…". Sealing starts that program with the rights of whoever runs
// us, so it is for callers that allowed this plugin by its name, which
// ParseRecipient gives in RecipientError.Plugin.
//
// The errors are as of ParseRecipient; Missing is set if the program is not on
// this machine. The plugin asks and says what it has to through ui; nil, or a
// nil function in it: it cannot.
func PluginRecipient(s string, ui *plugin.ClientUI) (age.Recipient, error) {
	s = strings.TrimSpace(s)
	if ui == nil {
		ui = &plugin.ClientUI{}
	}
	r, err := plugin.NewRecipient(s, ui)
	if err != nil {
		return nil, &RecipientError{Reason: "not a valid recipient of a plugin: mistyped or cut short"}
	}
	if _, err := FindPlugin(r.Name()); err != nil {
		return nil, err
	}
	return r, nil
}
