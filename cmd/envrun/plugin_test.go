package main

import (
	"os"
	"path/filepath"

	"filippo.io/age"
	"filippo.io/age/plugin"

	"github.com/rogpeppe/go-internal/testscript"
)

// agePluginToy is an age plugin as other people's are: a program in PATH. The
// data of its recipients and identities are those of X25519, as text. It leaves
// a trace in TOY_TRACE, so that a script sees whether it was started.
func agePluginToy() {
	if file := os.Getenv("TOY_TRACE"); file != "" {
		if err := os.WriteFile(file, []byte("started\n"), 0o600); err != nil {
			panic(err)
		}
	}
	p, err := plugin.New("toy")
	if err != nil {
		panic(err)
	}
	p.HandleRecipient(func(data []byte) (age.Recipient, error) { return age.ParseX25519Recipient(string(data)) })
	p.HandleIdentity(func(data []byte) (age.Identity, error) { return age.ParseX25519Identity(string(data)) })
	os.Exit(p.Main())
}

// toykey FILE VAR: an identity of the toy plugin in FILE, and its recipient in VAR.
func toykey(ts *testscript.TestScript, neg bool, args []string) {
	id, err := age.GenerateX25519Identity()
	ts.Check(err)
	recipient := plugin.EncodeRecipient("toy", []byte(id.Recipient().String()))
	text := "# recipient: " + recipient + "\n" + plugin.EncodeIdentity("toy", []byte(id.String())) + "\n"
	ts.Check(os.WriteFile(filepath.Clean(ts.MkAbs(args[0])), []byte(text), 0o600))
	ts.Setenv(args[1], recipient)
}
