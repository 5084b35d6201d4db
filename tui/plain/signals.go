package plain

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// signals has SIGTERM and SIGHUP end the context, and SIGINT ask to stop what is
// being waited for. While somebody else has the terminal, Ctrl-C is meant for them.
// release says which signal ended it; nil if none did.
func signals(parent context.Context, lent func() bool) (ctx context.Context, stop <-chan struct{}, release func() os.Signal) {
	ctx, cancel := context.WithCancel(parent)
	got := make(chan os.Signal, 4)
	signal.Notify(got, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	stops, done, gone := make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	var by os.Signal
	take := func(sig os.Signal) {
		if sig != os.Interrupt {
			by = sig
			cancel()
		} else if !lent() {
			select {
			case stops <- struct{}{}:
			default:
			}
		}
	}
	go func() {
		defer close(gone)
		for {
			select {
			case sig := <-got:
				take(sig)
			case <-done:
				return
			}
		}
	}()
	return ctx, stops, func() os.Signal {
		// A question may have ended by the same signal before we have looked.
		signal.Stop(got)
		close(done)
		<-gone
		for len(got) > 0 {
			take(<-got)
		}
		cancel()
		return by
	}
}
