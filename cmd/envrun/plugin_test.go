package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"time"

	"filippo.io/age"
	"filippo.io/age/plugin"

	"github.com/rogpeppe/go-internal/testscript"
)

// agePluginToy is an age plugin as other people's are: a program in PATH. The
// data of its recipients and identities are those of X25519, as text. It leaves
// a trace in TOY_TRACE, so that a script sees whether it was started, and
// misbehaves as TOY_DOES says.
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
	p.HandleRecipient(func(data []byte) (age.Recipient, error) {
		r, err := age.ParseX25519Recipient(string(data))
		return toyRecipient{p, r}, err
	})
	p.HandleIdentity(func(data []byte) (age.Identity, error) {
		id, err := age.ParseX25519Identity(string(data))
		return toyIdentity{p, id}, err
	})
	os.Exit(p.Main())
}

type toyRecipient struct {
	p *plugin.Plugin
	*age.X25519Recipient
}

func (r toyRecipient) Wrap(key []byte) ([]*age.Stanza, error) {
	if err := toyDoes(r.p); err != nil {
		return nil, err
	}
	return r.X25519Recipient.Wrap(key)
}

type toyIdentity struct {
	p *plugin.Plugin
	*age.X25519Identity
}

func (i toyIdentity) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if err := toyDoes(i.p); err != nil {
		return nil, err
	}
	return i.X25519Identity.Unwrap(stanzas)
}

// toyPIN is what the toy asks for.
const toyPIN = "314159"

// toyDoes does what TOY_DOES says before the toy does its work.
func toyDoes(p *plugin.Plugin) error {
	switch os.Getenv("TOY_DOES") {
	case "ask":
		if err := p.DisplayMessage("insert \x1b[2J\nenvrun: the token"); err != nil {
			return err
		}
		if pin, err := p.RequestValue("PIN of the token", true); err != nil || pin != toyPIN {
			return fmt.Errorf("wrong PIN: %w", err)
		}
		if name, err := p.RequestValue("its owner", false); err != nil || name != "bob" {
			return fmt.Errorf("wrong owner: %w", err)
		}
		if yes, err := p.Confirm("use slot 1", "this one", "another"); err != nil || !yes {
			return fmt.Errorf("no slot: %w", err)
		}
		if yes, err := p.Confirm("touch it", "done", ""); err != nil || !yes {
			return fmt.Errorf("not touched: %w", err)
		}
	case "fail":
		return errors.New("no token\x1b[2J in any reader")
	case "babble":
		fmt.Print("\x1b[2Jbabble\n")
	case "die":
		fmt.Fprintln(os.Stderr, "no library\x1b[2J of tokens")
		os.Exit(7)
	case "hang":
		signal.Ignore(os.Interrupt)
		if file := os.Getenv("TOY_PID"); file != "" {
			_ = os.WriteFile(file, []byte(strconv.Itoa(os.Getpid())), 0o600)
		}
		time.Sleep(time.Hour)
	}
	return nil
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
