package server

import (
	"context"

	"envrun/vault/audit"
	"envrun/vault/keyring"
)

// Every change says in its audit entry how far it has brought what is stored: the
// mount, and the server's own records. So whoever puts a whole mount back to an earlier
// state, head and all, contradicts the log, and Verify finds it, also when
// writes went on since.

// noting is a database whose writes keep the heads that they leave.
type noting struct{ DB }

func (d noting) Write(ctx context.Context, f func(Tx) error) error {
	return d.DB.Write(ctx, func(tx Tx) error { return f(&noted{Tx: tx}) })
}

// noted is a transaction that writes.
type noted struct {
	Tx
	heads []audit.StoreHead
}

var _ keyring.HeadKeeper = (*noted)(nil)

// KeepHead keeps the last head of each store.
func (n *noted) KeepHead(id string, h keyring.Head) {
	for i := range n.heads {
		if n.heads[i].ID == id {
			n.heads[i].Changes, n.heads[i].Digest = h.Changes, h.Digest
			return
		}
	}
	n.heads = append(n.heads, audit.StoreHead{Changes: h.Changes, Digest: h.Digest, ID: id})
}

// headsOf are those that a transaction of noting left.
func headsOf(tx Tx) []audit.StoreHead {
	if n, ok := tx.(*noted); ok {
		return n.heads
	}
	return nil
}
