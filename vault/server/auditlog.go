package server

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"envrun/vault"
	"envrun/vault/audit"
	"envrun/vault/wire"
)

// auditLog is sys/audit-log, which is ours alone: it reads the log, and proves what
// it reads. Entries and their proofs are for whom a policy lets; the checkpoint
// and the proof that the log has only grown are for every good token, because they say
// nothing about anybody, and everybody may want to remember the last one.
type auditLog struct {
	key string // public
	now func() time.Time
}

// A checkpoint is the note that was kept last, and of how many entries it is.
type checkpoint struct {
	note string
	size int64
}

func (a auditLog) area() area {
	return area{
		{path: "audit-log/checkpoint", read: a.checkpoint, private: true},
		{path: "audit-log/growth/{was}/{size}", read: a.growth, private: true},
		{path: "audit-log/entries", read: a.entries},
		{path: "audit-log/proof/{index}", read: a.proof},
		{path: "audit-log/nodes/{size}", read: a.nodes},
	}
}

// checkpoint is the last that was signed.
func (a auditLog) checkpoint(c *call, _ []string) (*answer, error) {
	signed, size, err := a.signed(c)
	if err != nil {
		return nil, err
	}
	return answered(wire.AuditCheckpoint{AuditSigned: signed, Size: size}), nil
}

// signed is the checkpoint that the call's own snapshot holds, so that all of it is there
// to be proven, with the proof that it goes on from what the client says it has seen.
func (a auditLog) signed(c *call) (signed wire.AuditSigned, size int64, err error) {
	text, err := c.Tx().AuditCheckpoint()
	if err != nil {
		return signed, 0, err
	}
	if text == nil {
		return signed, 0, errNothing
	}
	check, err := audit.OpenCheckpoint(text, a.key)
	if err != nil {
		return signed, 0, err
	}
	signed = wire.AuditSigned{Checkpoint: string(text), Key: a.key}
	if seen, ok := c.Request().Params["seen"].(string); ok {
		was, err := whole(seen)
		if err != nil {
			return signed, 0, problem(http.StatusBadRequest, "seen: "+err.Error())
		}
		if was < check.Size {
			signed.Growth, err = audit.ProveGrowth(c.Tx(), was, check.Size)
			if err != nil {
				return signed, 0, err
			}
		}
	}
	return signed, check.Size, nil
}

// growth is the proof that the log of was entries is the beginning of that of size.
func (a auditLog) growth(c *call, at []string) (*answer, error) {
	was, err := whole(at[0])
	if err != nil {
		return nil, err
	}
	size, err := whole(at[1])
	if err != nil {
		return nil, err
	}
	proof, err := audit.ProveGrowth(c.Tx(), was, size)
	if err != nil {
		return nil, err
	}
	return answered(wire.AuditHashes{Was: was, Size: size, Hashes: listOf(proof)}), nil
}

// proof is an entry, and the proof that it is in the log of the last checkpoint.
func (a auditLog) proof(c *call, at []string) (*answer, error) {
	index, err := whole(at[0])
	if err != nil {
		return nil, err
	}
	signed, size, err := a.signed(c)
	if err != nil {
		return nil, err
	}
	if index >= size {
		return nil, errNothing // it will be in the next one, if it is there
	}
	proof, err := audit.ProveEntry(c.Tx(), index, size)
	if err != nil {
		return nil, err
	}
	page, err := audit.Read(c.Tx(), audit.Query{From: index, Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(page.Records) != 1 || page.Records[0].Index != index {
		return nil, errNothing
	}
	return answered(wire.AuditProof{Index: index, Line: page.Records[0].Line, Hashes: listOf(proof), Size: size, AuditSigned: signed}), nil
}

// nodes is what the first line of an export needs that begins at an entry.
func (a auditLog) nodes(c *call, at []string) (*answer, error) {
	size, err := whole(at[0])
	if err != nil {
		return nil, err
	}
	edge, err := audit.Edge(c.Tx(), size)
	if err != nil {
		return nil, err
	}
	return answered(wire.AuditHashes{Size: size, Hashes: listOf(edge)}), nil
}

// entries answers a query: since and until are times or how long ago, from is where
// the answer before ended. With lines=true the entries come as the texts that were
// hashed, else as what they say. With proofs=true they are those that the last checkpoint
// has, each with what leads from it there.
func (a auditLog) entries(c *call, _ []string) (*answer, error) {
	var q audit.Query
	var lines, proofs bool
	for name, set := range map[string]func(string) error{
		"from":   func(s string) (err error) { q.From, err = whole(s); return err },
		"since":  func(s string) (err error) { q.Since, err = a.time(s); return err },
		"until":  func(s string) (err error) { q.Until, err = a.time(s); return err },
		"env":    func(s string) error { q.Env = s; return nil },
		"who":    func(s string) error { q.Who = s; return nil },
		"path":   func(s string) error { q.Path = s; return nil },
		"id":     func(s string) error { q.ID = s; return nil },
		"to":     func(s string) (err error) { q.To, err = whole(s); return err },
		"quiet":  func(s string) (err error) { q.Quiet, err = truth(s); return err },
		"proofs": func(s string) (err error) { proofs, err = truth(s); return err },
		"newest": func(s string) (err error) { q.Newest, err = truth(s); return err },
		"lines":  func(s string) (err error) { lines, err = truth(s); return err },
		"limit":  func(s string) error { n, err := whole(s); q.Limit = int(min(n, audit.MaxLimit)); return err },
		"type": func(s string) error {
			if q.Type = audit.Type(s); q.Type != audit.Intent && q.Type != audit.Outcome {
				return bad("type is %q or %q", audit.Intent, audit.Outcome)
			}
			return nil
		},
	} {
		if s, ok := c.Request().Params[name].(string); ok && s != "" {
			if err := set(s); err != nil {
				return nil, problem(http.StatusBadRequest, name+": "+err.Error())
			}
		}
	}
	var found wire.AuditEntries
	var size int64
	if proofs {
		var err error
		if found.AuditSigned, size, err = a.signed(c); err != nil {
			return nil, err
		}
		if q.To == 0 || q.To > size {
			q.To = size
		}
		if q.To == 0 { // which would be no bound
			found.Entries = []wire.AuditEntry{}
			return answered(found), nil
		}
	}
	page, err := audit.Read(c.Tx(), q)
	if err != nil {
		return nil, err
	}
	found.Next, found.More, found.Back, found.Size = page.Next, page.More, page.Back, page.Size
	found.Entries = make([]wire.AuditEntry, len(page.Records))
	for i, r := range page.Records {
		e := &found.Entries[i]
		e.Index, e.At = r.Index, r.At
		if lines {
			e.Line = r.Line
		} else {
			e.Entry = json.RawMessage(r.Line)
		}
		if proofs {
			if e.Hashes, err = audit.ProveEntry(c.Tx(), r.Index, size); err != nil {
				return nil, err
			}
		}
	}
	return answered(found), nil
}

// time is a moment, or how long ago it is.
func (a auditLog) time(s string) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return a.now().Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, bad("neither a time such as 2026-11-23T08:00:00Z nor how long ago, as 2h")
	}
	return t, nil
}

func whole(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, bad("not a whole number")
	}
	return n, nil
}

func truth(s string) (bool, error) {
	b, err := strconv.ParseBool(s)
	if err != nil {
		return false, bad("neither true nor false")
	}
	return b, nil
}

// listOf is a list in JSON also when there is nothing in it.
func listOf(hashes []tlog.Hash) []tlog.Hash {
	if hashes == nil {
		return []tlog.Hash{}
	}
	return hashes
}

// shown is what is said of the log beside an answer to whoever has seen a checkpoint of so many
// entries; "" where there is nothing to say.
func (s *Server) shown(ctx context.Context, o *opened, seen string) string {
	was, err := whole(seen)
	if err != nil {
		return ""
	}
	kept := o.kept.Load()
	if kept == nil || kept.size < was { // of another replica, or not yet since the start
		_ = s.KeepCheckpoint(ctx) // sys/health tells what is wrong
		if kept = o.kept.Load(); kept == nil {
			return ""
		}
	}
	of := audit.Shown{Key: o.public, Note: []byte(kept.note)}
	if was > 0 && was < kept.size {
		err := s.DB.Read(ctx, func(tx Tx) (err error) {
			of.Growth, err = audit.ProveGrowth(tx, was, kept.size)
			return err
		})
		if err != nil {
			s.Logger.Error("the audit log cannot be shown to have grown", "error", err)
		}
	}
	return of.Header()
}

// KeepCheckpoint signs what the audit log is now, and keeps that, if it has grown.
// KindTampered if somebody changed the log behind the server's back, which sys/health
// tells too. It is called once a second; while the server is sealed it does nothing.
func (s *Server) KeepCheckpoint(ctx context.Context) error {
	o := s.open.Load()
	if o == nil {
		return nil
	}
	err := s.keepCheckpoint(ctx, o)
	o.tampered.Store(vault.KindOf(err) == vault.KindTampered)
	return err
}

func (s *Server) keepCheckpoint(ctx context.Context, o *opened) error {
	note, err := o.log.Checkpoint(func(f func(audit.Reader) error) error {
		return s.DB.Read(ctx, func(tx Tx) error { return f(tx) })
	})
	if err != nil {
		return err
	}
	if kept := o.kept.Load(); kept != nil && kept.note == string(note) {
		return nil
	}
	if err := s.DB.Write(ctx, func(tx Tx) error { return o.log.KeepCheckpoint(tx, note) }); err != nil {
		return err
	}
	c, err := audit.OpenCheckpoint(note, o.public)
	if err != nil {
		return err
	}
	o.kept.Store(&checkpoint{string(note), c.Size})
	return nil
}
