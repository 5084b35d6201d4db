package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// Run runs c. If the program replaces this process, Run returns only when that
// failed. Otherwise it returns when the program has ended, with how it ended, or
// with an *Error if nothing was started. In both cases OnExit has been called and
// files have been removed; Status.Warnings says what of that went wrong.
//
// When ctx ends before the start, nothing is started; after it, the program is
// sent TERM as if we had got one. A handler of signals that the caller has
// installed must be removed before Run, which installs its own (runner S1).
func Run(ctx context.Context, c Command) (status Status, err error) {
	p, err := c.Plan()
	if err == nil && ctx.Err() != nil {
		err = &Error{Code: CodeFailed, Reason: ReasonSetup, Program: p.program, Err: context.Cause(ctx)}
	}
	if err == nil && !p.Supervise {
		err = replace(&p, c)
	}
	if err == nil {
		return supervise(ctx, &p, c)
	}
	return Status{Code: exitCode(err), Warnings: runHooks(c.OnExit, nil)}, err
}

func exitCode(err error) int {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeFailed
}

// runHooks calls the functions of OnExit, each for hookTime at most, and returns
// what went wrong. When hurry is ready to receive, nothing more is waited for.
func runHooks(hooks []func(context.Context) error, hurry <-chan os.Signal) (warnings []error) {
	for i, hook := range hooks {
		ctx, cancel := context.WithTimeout(context.Background(), hookTime)
		done := make(chan error, 1)
		go func() {
			defer func() {
				if r := recover(); r != nil {
					done <- fmt.Errorf("panic: %v", r)
				}
			}()
			done <- hook(ctx)
		}()
		select {
		case err := <-done:
			if err != nil {
				warnings = append(warnings, fmt.Errorf("cleaning up: %w", err))
			}
		case <-time.After(hookTime + hookTime/10): // one that minds its context has returned by now
			warnings = append(warnings, fmt.Errorf("cleaning up did not end within %v and was left", hookTime))
		case <-hurry:
			cancel()
			return append(warnings, fmt.Errorf("cleaning up was interrupted: %d of %d steps not done", len(hooks)-i, len(hooks)))
		}
		cancel()
	}
	return warnings
}
