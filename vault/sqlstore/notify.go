package sqlstore

import (
	"context"
	"time"
)

// Notify tells every listener, on all servers of the database, a text of at most
// 7 KiB, when the transaction is durable and not if it is undone. Several of one
// transaction come in their order.
func (t *Tx) Notify(text string) error {
	if t.db.d.Listen == nil { // there is no other server
		t.AfterCommit(func() { t.db.tell(text, false) })
		return nil
	}
	_, err := t.exec(t.db.d.Notify, text)
	return err
}

// Listen calls f with each text that Notify is given from now on; f must not wait,
// and of transactions that end at one time the order is any. missed says instead that there is no knowing
// what was told: the connection to the database was broken, or is being made. After
// stop has returned f is not called again.
func (db *DB) Listen(f func(text string, missed bool)) (stop func()) {
	l := &f
	db.listening.Lock()
	defer db.listening.Unlock()
	if db.listeners == nil {
		db.listeners = map[*func(string, bool)]bool{}
		if db.d.Listen != nil {
			db.hearing.Go(db.hear)
		}
	}
	db.listeners[l] = true
	return func() {
		db.listening.Lock()
		defer db.listening.Unlock()
		delete(db.listeners, l)
	}
}

func (db *DB) tell(text string, missed bool) {
	db.listening.Lock()
	defer db.listening.Unlock()
	for f := range db.listeners {
		(*f)(text, missed)
	}
}

// hearAgain is how long after a failure the database is asked again.
const hearAgain = time.Second

// hear listens on a connection of its own, and on another one when that breaks,
// until the database is closed.
func (db *DB) hear() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-db.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	for ctx.Err() == nil {
		_ = db.d.Listen(ctx, func() { db.tell("", true) }, func(text string) { db.tell(text, false) })
		select {
		case <-ctx.Done():
		case <-time.After(hearAgain):
		}
	}
}
