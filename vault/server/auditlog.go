package server

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"envrun/vault"
	"envrun/vault/audit"
)

// auditLog is sys/audit-log, which is ours alone: it reads the log, and proves what
// it reads. Entries and their proofs are for whom a policy lets; the checkpoint
// and the proof that the log has only grown are for every good token, because they say
// nothing about anybody, and everybody may want to remember the last one.
type auditLog struct {
	kept *atomic.Pointer[checkpoint]
	key  string // public
	now  func() time.Time
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

// checkpoint is the last that was signed, at most a second old.
func (a auditLog) checkpoint(*call, []string) (*answer, error) {
	kept := a.kept.Load()
	if kept == nil {
		return nil, errNothing
	}
	return answered(map[string]any{"checkpoint": kept.note, "key": a.key, "size": kept.size}), nil
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
	return answered(map[string]any{"was": was, "size": size, "hashes": listOf(proof)}), nil
}

// proof is an entry, and the proof that it is in the log of the last checkpoint.
func (a auditLog) proof(c *call, at []string) (*answer, error) {
	index, err := whole(at[0])
	if err != nil {
		return nil, err
	}
	kept := a.kept.Load()
	if kept == nil || index >= kept.size {
		return nil, errNothing // it will be in the next one, if it is there
	}
	proof, err := audit.ProveEntry(c.Tx(), index, kept.size)
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
	return answered(map[string]any{
		"index": index, "size": kept.size, "hashes": listOf(proof),
		"line": page.Records[0].Line, "checkpoint": kept.note, "key": a.key,
	}), nil
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
	return answered(map[string]any{"size": size, "hashes": listOf(edge)}), nil
}

// entries answers a query: since and until are times or how long ago, from is where
// the answer before ended. With lines=true the entries come as the texts that were
// hashed, else as what they say.
func (a auditLog) entries(c *call, _ []string) (*answer, error) {
	var q audit.Query
	var lines bool
	for name, set := range map[string]func(string) error{
		"from":   func(s string) (err error) { q.From, err = whole(s); return err },
		"since":  func(s string) (err error) { q.Since, err = a.time(s); return err },
		"until":  func(s string) (err error) { q.Until, err = a.time(s); return err },
		"env":    func(s string) error { q.Env = s; return nil },
		"who":    func(s string) error { q.Who = s; return nil },
		"path":   func(s string) error { q.Path = s; return nil },
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
	page, err := audit.Read(c.Tx(), q)
	if err != nil {
		return nil, err
	}
	type entry struct {
		Index int64           `json:"index"`
		At    time.Time       `json:"at"`
		Entry json.RawMessage `json:"entry,omitempty"`
		Line  string          `json:"line,omitempty"`
	}
	list := make([]entry, len(page.Records))
	for i, r := range page.Records {
		list[i] = entry{Index: r.Index, At: r.At}
		if lines {
			list[i].Line = r.Line
		} else {
			list[i].Entry = json.RawMessage(r.Line)
		}
	}
	return answered(map[string]any{"entries": list, "next": page.Next, "more": page.More, "size": page.Size}), nil
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
