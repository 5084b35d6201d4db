// Package parallel does numbered pieces of work several at a time.
//
// It refuses to hide which piece failed: of several errors it returns the one
// that doing them one after the other would have met first.
package parallel

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
)

// Do calls f for 0 to n-1, at most width at a time, one of them on the caller's
// goroutine. It begins in order and stops beginning once one has failed or ctx
// has ended, so the error that it returns is that of the lowest number that
// fails at all. It returns when every call has. A width below 1 is 1.
func Do(ctx context.Context, n, width int, f func(i int) error) error {
	var (
		next   atomic.Int64
		mu     sync.Mutex
		lowest = math.MaxInt
		first  error
		wg     sync.WaitGroup
	)
	work := func() {
		for {
			i := int(next.Add(1)) - 1
			if i >= n {
				return
			}
			err := ctx.Err()
			if err == nil {
				err = f(i)
			}
			if err != nil {
				mu.Lock()
				if i < lowest {
					lowest, first = i, err
				}
				mu.Unlock()
				next.Store(int64(n))
				return
			}
		}
	}
	for range min(n, width) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
	return first
}
