package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"envrun/tui"

	"filippo.io/age/plugin"
)

// pluginUI is how an age plugin asks the person here for a PIN or a touch. All
// of it goes to the terminal or stderr, none to stdout, and what the plugin
// says is made printable on the way. A question that nobody answers ends what
// the plugin was to do, and its error says why.
func (t *tool) pluginUI() *plugin.ClientUI {
	ctx := context.Background() // Ctrl-C and a polite kill end a question all the same
	const need = "run envrun at a terminal, where the plugin can ask"
	return &plugin.ClientUI{
		DisplayMessage: func(name, message string) error {
			t.Notef("age-plugin-%s: %s", name, oneLine(message))
			return nil
		},
		RequestValue: func(name, prompt string, secret bool) (string, error) {
			question := fmt.Sprintf("age-plugin-%s: %s", name, oneLine(prompt))
			if !secret {
				return t.Ask(ctx, question+": ", need)
			}
			value, err := t.AskHidden(ctx, question+" (not shown): ", need)
			defer clear(value)
			return string(value), err
		},
		Confirm: func(name, prompt, yes, no string) (bool, error) {
			question := fmt.Sprintf("age-plugin-%s: %s", name, oneLine(prompt))
			if no == "" {
				_, err := t.Ask(ctx, fmt.Sprintf("%s (Enter: %s) ", question, oneLine(yes)), need)
				return err == nil, err
			}
			answer, err := t.Ask(ctx, fmt.Sprintf("%s (1: %s, 2: %s) ", question, oneLine(yes), oneLine(no)), need)
			if err == nil && answer != "1" && answer != "2" {
				err = errors.New("the answer was neither 1 nor 2")
			}
			return answer == "1", err
		},
		WaitTimer: func(name string) {
			t.Notef("waiting for age-plugin-%s, which may wait for its token to be touched", name)
		},
	}
}

// bellUI is pluginUI inside the interface, which asks in its own boxes. While it
// has left the terminal to a command, what that needs is asked there.
func (t *tool) bellUI(bell *tui.Bell) *plugin.ClientUI {
	ctx, here := context.Background(), t.pluginUI()
	from := func(name string) string { return "age-plugin-" + name }
	return &plugin.ClientUI{
		DisplayMessage: func(name, message string) error {
			if !bell.Wait(from(name) + ": " + oneLine(message)) {
				return here.DisplayMessage(name, message)
			}
			return nil
		},
		RequestValue: func(name, prompt string, secret bool) (string, error) {
			value, err := bell.Ask(ctx, tui.Question{From: from(name), Text: oneLine(prompt), Hidden: secret})
			if errors.Is(err, tui.ErrLent) {
				return here.RequestValue(name, prompt, secret)
			}
			defer clear(value)
			return string(value), err
		},
		Confirm: func(name, prompt, yes, no string) (bool, error) {
			ok, err := bell.Choose(ctx, tui.Question{From: from(name), Text: oneLine(prompt), Yes: cmp.Or(oneLine(yes), "yes"), No: oneLine(no)})
			if errors.Is(err, tui.ErrLent) {
				return here.Confirm(name, prompt, yes, no)
			}
			return ok, err
		},
		WaitTimer: func(name string) {
			if !bell.Wait("waiting for " + from(name) + ", which may wait for its token to be touched") {
				here.WaitTimer(name)
			}
		},
	}
}

// bellPassphrase is passphrase inside the interface, where one that was wrong is
// asked for again until somebody cancels.
func (t *tool) bellPassphrase(bell *tui.Bell, again bool) func(ctx context.Context, prompt string) ([]byte, error) {
	return func(ctx context.Context, prompt string) ([]byte, error) {
		if t.Getenv("ENVRUN_PASSPHRASE_FILE") != "" {
			return t.passphrase(ctx, prompt)
		}
		if again {
			prompt = "The passphrase was wrong. " + prompt
		}
		passphrase, err := bell.Ask(ctx, tui.Question{From: "your identity", Text: prompt, Hidden: true})
		if errors.Is(err, tui.ErrLent) {
			return t.passphrase(ctx, prompt)
		}
		return passphrase, err
	}
}

// oneLine keeps what a plugin says from looking like lines of ours.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
