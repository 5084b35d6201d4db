package plain

import (
	"context"

	"envrun/tui"
)

// Without are the actions that are not here, and why.
var Without = without

// Choose is what was meant by what was typed.
var Choose = choose

// RunDid is Run, and is told which actions were done.
func RunDid(ctx context.Context, c tui.Config, t Terminal, did func(id string)) (tui.End, error) {
	return run(ctx, c, t, did)
}
