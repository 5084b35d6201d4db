package agekey

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"filippo.io/age"
	"filippo.io/age/plugin"
)

// PluginError is about the program of a plugin: it is not on this machine, or
// did not do its part.
type PluginError struct {
	Plugin  string // its name, without "age-plugin-"
	Missing bool   // its program was looked for and is not there
	Reason  string // what goes on after its name; may quote what the plugin says
	Err     error  // what the system or ClientUI said, or why the context ended; may be nil
}

func (e *PluginError) Error() string {
	s := "age-plugin-" + e.Plugin + " " + e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *PluginError) Unwrap() error { return e.Err }

// FindPlugin returns the absolute path of the program of a plugin, "yubikey".
// It looks in PATH, and there in absolute folders only: what "." or "bin" in
// PATH leads to depends on where one happens to stand, and in a cloned
// repository that is somebody else's program. The error is a *PluginError with
// Missing set.
func FindPlugin(name string) (string, error) {
	missing := &PluginError{Plugin: name, Missing: true, Reason: "is not in PATH"}
	if name == "" || strings.ContainsAny(name, `/\:`) {
		return "", missing
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if dir == "" {
			dir = "." // as Unix reads it
		}
		// Not filepath.Join, which would take the "./" away and have it looked for in PATH.
		file, err := exec.LookPath(dir + string(filepath.Separator) + "age-plugin-" + name)
		switch {
		case err != nil:
		case filepath.IsAbs(dir):
			return file, nil
		default:
			missing.Reason = "is in PATH only in a relative folder, where it is not trusted"
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
// this machine. What goes wrong when sealing is a *PluginError: sealing ends,
// and the program with it, when it says nothing for PluginPatience, or with
// the context of WithContext, which the recipient has besides what
// age.Recipient asks for.
//
// The plugin asks and says what it has to through ui, and that may be any
// bytes: ui makes it fit to be shown. Nil, or a nil function in it: it cannot.
func PluginRecipient(s string, ui *plugin.ClientUI) (age.Recipient, error) {
	s = strings.TrimSpace(s)
	name, _, err := plugin.ParseRecipient(s)
	if err != nil {
		return nil, &RecipientError{Reason: "not a valid recipient of a plugin: mistyped or cut short"}
	}
	if _, err := FindPlugin(name); err != nil {
		return nil, &RecipientError{Plugin: name, Missing: true, Reason: "needs a plugin: " + err.Error()}
	}
	return &pluginRecipient{pluginParty{name: name, text: func() string { return s }, ui: ui}}, nil
}

// pluginParty is an identity or a recipient that a plugin's program stands for.
type pluginParty struct {
	name string
	text func() string // a function for the reason of Identity's
	ui   *plugin.ClientUI
	ctx  context.Context // nil: none
}

func (p pluginParty) String() string { return "[age-plugin-" + p.name + "]" }

func (p pluginParty) context() context.Context {
	if p.ctx == nil {
		return context.Background()
	}
	return p.ctx
}

type pluginRecipient struct{ pluginParty }

// WithContext returns the recipient with a context that ends its plugin.
func (r *pluginRecipient) WithContext(ctx context.Context) age.Recipient {
	p := r.pluginParty
	p.ctx = ctx
	return &pluginRecipient{p}
}

func (r *pluginRecipient) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	stanzas, _, err := r.WrapWithLabels(fileKey)
	return stanzas, err
}

// WrapWithLabels is of age.RecipientWithLabels: labels say which other
// recipients a file may have.
func (r *pluginRecipient) WrapWithLabels(fileKey []byte) (stanzas []*age.Stanza, labels []string, err error) {
	c, err := r.start("recipient-v1")
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = c.end(err) }()
	err = c.send(
		age.Stanza{Type: "add-recipient", Args: []string{r.text()}},
		age.Stanza{Type: "wrap-file-key", Body: fileKey},
		age.Stanza{Type: "extension-labels"},
		age.Stanza{Type: "done"},
	)
	if err != nil {
		return nil, nil, err
	}
	labelled := false
	err = c.answer(func(s *age.Stanza) (bool, error) {
		switch s.Type {
		case "recipient-stanza":
			if len(s.Args) < 2 || s.Args[0] != "0" { // one file key was sent, so it is number 0
				return true, c.broken("a recipient-stanza for something that was not asked for")
			}
			stanzas = append(stanzas, &age.Stanza{Type: s.Args[1], Args: s.Args[2:], Body: s.Body})
			return true, nil
		case "labels":
			if labelled {
				return true, c.broken("labels twice")
			}
			labels, labelled = s.Args, true
			return true, nil
		}
		return false, nil
	})
	if err == nil && len(stanzas) == 0 {
		err = c.broken("nothing that a recipient could open")
	}
	if err != nil {
		return nil, nil, err
	}
	return stanzas, labels, nil
}

type pluginIdentity struct{ pluginParty }

// newPluginIdentity reads "AGE-PLUGIN-YUBIKEY-1…".
func newPluginIdentity(s string, ui *plugin.ClientUI) (*pluginIdentity, error) {
	name, _, err := plugin.ParseIdentity(s)
	if err != nil {
		return nil, err
	}
	return &pluginIdentity{pluginParty{name: name, text: func() string { return s }, ui: ui}}, nil
}

// WithContext returns the identity with a context that ends its plugin.
func (i *pluginIdentity) WithContext(ctx context.Context) age.Identity {
	p := i.pluginParty
	p.ctx = ctx
	return &pluginIdentity{p}
}

// fileKeySize is of age's: the key that each file is encrypted with.
const fileKeySize = 16

func (i *pluginIdentity) Unwrap(stanzas []*age.Stanza) (fileKey []byte, err error) {
	c, err := i.start("identity-v1")
	if err != nil {
		return nil, err
	}
	defer func() { err = c.end(err) }()
	say := []age.Stanza{{Type: "add-identity", Args: []string{i.text()}}}
	for _, s := range stanzas {
		say = append(say, age.Stanza{Type: "recipient-stanza", Args: append([]string{"0", s.Type}, s.Args...), Body: s.Body})
	}
	if err := c.send(append(say, age.Stanza{Type: "done"})...); err != nil {
		return nil, err
	}
	err = c.answer(func(s *age.Stanza) (bool, error) {
		if s.Type != "file-key" {
			return false, nil
		}
		if len(s.Args) != 1 || s.Args[0] != "0" || len(s.Body) != fileKeySize || fileKey != nil {
			return true, c.broken("a file-key that was not asked for")
		}
		fileKey = s.Body
		return true, nil
	})
	switch {
	case err != nil:
		return nil, err
	case fileKey == nil:
		return nil, age.ErrIncorrectIdentity
	}
	return fileKey, nil
}
