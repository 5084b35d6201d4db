package main

import (
	"context"

	"envrun/cmd/internal/cli"
	"envrun/envrun/run"
	"envrun/tui"
	"envrun/vault"
)

// lineRunner runs command lines for the interface, as "envrun run --shell LINE"
// does. It always stays behind them: the interface comes back.
type lineRunner struct {
	t *tool
	// open is the vault of an environment, which asks for nothing: the terminal is
	// the command's.
	open func(ctx context.Context, env vault.Env) (selected, error)
}

// Run implements tui.Runner. That a protected environment may be used has been
// asked by the interface.
func (r lineRunner) Run(ctx context.Context, env vault.Env, line string, mask bool) (tui.Ran, error) {
	s, err := r.open(ctx, env)
	if err != nil {
		return tui.Ran{}, err
	}
	o := runOptions{shell: line, supervise: true}
	if mask {
		o.mask = run.MaskAlways.String()
	}
	plan, err := r.t.resolve(ctx, s, o)
	if err != nil {
		return tui.Ran{}, err
	}
	command, err := r.t.command(s, plan, o, nil)
	if err != nil {
		return tui.Ran{}, err
	}
	p, err := command.Plan()
	if err != nil {
		return tui.Ran{}, err
	}
	r.t.sayRun(s, plan, p)
	status, err := run.Run(ctx, command)
	if err != nil {
		return tui.Ran{}, err
	}
	for _, w := range status.Warnings {
		r.t.Notef("%s", cli.Printable(w.Error()))
	}
	return tui.Ran{Status: status.Code, Signal: status.Signal}, nil
}

var _ tui.Runner = lineRunner{}
