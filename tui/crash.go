package tui

import (
	"fmt"
	"runtime"
	"strings"
)

// Crash is a panic of ours. It says of what type it was and where, and nothing
// of what was in it: that may have been a value (R10).
type Crash struct {
	Type  string
	Stack string // functions, files and lines; no arguments
}

func (c *Crash) Error() string { return "envrun has crashed: a panic of type " + c.Type }

// recovered makes a Crash of what recover returned; nil of nil. It must be
// called by the deferred function itself, while the stack is still there.
func recovered(r any) *Crash {
	if r == nil {
		return nil
	}
	if c, ok := r.(*Crash); ok {
		return c
	}
	var stack strings.Builder
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for {
		f, more := frames.Next()
		fmt.Fprintf(&stack, "%s\n\t%s:%d\n", f.Function, f.File, f.Line)
		if !more {
			return &Crash{Type: fmt.Sprintf("%T", r), Stack: stack.String()}
		}
	}
}
