package parallel_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"envrun/vault/parallel"
)

func TestDo(t *testing.T) {
	for _, c := range []struct{ n, width int }{{0, 4}, {1, 4}, {7, 0}, {7, 1}, {100, 3}, {3, 100}} {
		done := make([]atomic.Int32, c.n)
		var now, most atomic.Int32
		err := parallel.Do(t.Context(), c.n, c.width, func(i int) error {
			if at := now.Add(1); at > most.Load() {
				most.Store(at)
			}
			done[i].Add(1)
			now.Add(-1)
			return nil
		})
		if err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		for i := range done {
			if times := done[i].Load(); times != 1 {
				t.Errorf("%+v: %d was done %d times", c, i, times)
			}
		}
		if int(most.Load()) > max(1, c.width) {
			t.Errorf("%+v: %d at a time", c, most.Load())
		}
	}
}

// The error is the one that doing them in order would have met first, whichever
// came first.
func TestFirstError(t *testing.T) {
	late := make(chan struct{})
	var began atomic.Int32
	err := parallel.Do(t.Context(), 1000, 4, func(i int) error {
		began.Add(1)
		switch i {
		case 1:
			<-late
			return errors.New("one")
		case 2:
			close(late)
			return errors.New("two")
		}
		return nil
	})
	if fmt.Sprint(err) != "one" {
		t.Errorf("%v, want the error of the lower number", err)
	}
	if err := parallel.Do(t.Context(), 3, 1, func(i int) error { return fmt.Errorf("%d", i) }); fmt.Sprint(err) != "0" {
		t.Errorf("alone: %v", err)
	}
}

func TestEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var calls atomic.Int32
	err := parallel.Do(ctx, 1000, 1, func(i int) error {
		calls.Add(1)
		if i == 9 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || calls.Load() != 10 {
		t.Errorf("%v after %d calls", err, calls.Load())
	}
}
