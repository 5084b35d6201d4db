package main

import (
	"context"
	"errors"
	"os"

	"envrun/cmd/internal/cli"
	"envrun/tui/plain"
)

// inLines reports whether the interface is to be in lines without having been
// told so: the person says it for all of their terminals, or this one cannot draw.
func (t *tool) inLines() bool {
	switch t.Getenv("ENVRUN_PLAIN") {
	case "", "0", "false":
		return t.Getenv("TERM") == "dumb"
	}
	return true
}

// drawn is the terminal, for what may write sequences to it; nil in lines.
func (t *tool) drawn(inLines bool) *os.File {
	if inLines {
		return nil
	}
	return t.Out
}

// talk is the terminal for the interface in lines.
func (t *tool) talk() plain.Terminal {
	const need = "" // whoever cannot be asked was refused before
	ended := func(err error) error {
		switch {
		case errors.Is(err, cli.ErrInterrupted):
			return plain.ErrEnd
		case errors.Is(err, cli.ErrLines):
			return plain.ErrLines
		}
		return err
	}
	return plain.Terminal{
		Out: t.Out,
		Line: func(ctx context.Context, question string) (string, error) {
			answer, err := t.Ask(ctx, question, need)
			return answer, ended(err)
		},
		Hidden: func(ctx context.Context, question string) ([]byte, error) {
			b, err := t.AskHidden(ctx, question, need)
			return b, ended(err)
		},
		HiddenLines: func(ctx context.Context, question string) ([]byte, error) {
			b, err := t.AskHiddenLines(ctx, question, need)
			return b, ended(err)
		},
	}
}
