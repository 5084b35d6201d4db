package guard

import (
	"context"
	"errors"
	"sync"
	"time"

	"envrun/vault/audit"
)

// A recorder writes the entries of requests that changed nothing. What comes while
// it writes waits, and is then written all at once: one transaction, and one wait
// for the disk, for as many requests as there are. Where several ask at a time it
// gives others a moment more to come; a request that is alone is written at once.
type recorder[T any] struct {
	db  DB[T]
	log Log[T]

	mu      sync.Mutex
	next    *batch // what waits; nil if nothing does
	writing bool
}

// A batch is entries that are written together, or not at all.
type batch struct {
	lines    []audit.Line
	requests int
	done     chan struct{} // closed when err is known
	err      error
}

// record returns when the entries are durable. If ctx ends earlier it returns an
// error, and they are written all the same.
func (r *recorder[T]) record(ctx context.Context, lines ...audit.Line) error {
	r.mu.Lock()
	b := r.next
	if b == nil {
		b = &batch{done: make(chan struct{})}
		r.next = b
	}
	b.lines = append(b.lines, lines...)
	b.requests++
	if !r.writing {
		r.writing = true
		go r.write()
	}
	r.mu.Unlock()
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// gather is how long others may come while several ask at a time.
const gather = time.Millisecond

// write writes batches until nothing waits.
func (r *recorder[T]) write() {
	for several := false; ; {
		if several {
			time.Sleep(gather)
		}
		r.mu.Lock()
		b := r.next
		if r.next = nil; b == nil {
			r.writing = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		several = b.requests > 1
		b.err = r.append(b.lines)
		close(b.done)
	}
}

// append is one transaction. A panic in it refuses the requests, as an error does.
func (r *recorder[T]) append(lines []audit.Line) (err error) {
	defer func() {
		if recover() != nil {
			err = errLogPanic
		}
	}()
	ctx := context.Background() // of many requests: none of them ends it
	return r.db.Write(ctx, func(tx T) error { return r.log.Append(ctx, tx, lines...) })
}

var errLogPanic = errors.New("internal error: the audit log panicked")
