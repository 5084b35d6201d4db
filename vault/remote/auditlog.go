package remote

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"envrun/vault"
	"envrun/vault/audit"
	"envrun/vault/wire"
)

// An AuditLog reads the audit log of a server that keeps one which can be checked
// (envrund does). Every entry that it gives is proven to be in the log, and the
// log to go on from what the Memory has seen of it. That nothing which matches a
// query was left out is proven by an export alone.
type AuditLog struct {
	Memory audit.Memory
	Now    func() time.Time
	v      *Vault
}

// AuditLog prepares reading the log of the server, and asks it nothing.
func (v *Vault) AuditLog(m audit.Memory, now func() time.Time) *AuditLog {
	return &AuditLog{m, now, v}
}

// Name is what the log is remembered by.
func (l *AuditLog) Name() string { return l.v.logName() }

// ask asks something about the log.
func (l *AuditLog) ask(ctx context.Context, path string, query url.Values, out any) error {
	err := l.v.askLog(ctx, path, query, out)
	if err != nil {
		err = l.refused(ctx, err)
	}
	return err
}

// askSigned asks something whose answer is about a state of the log, and compares that with what
// is remembered: in is that state.
func (l *AuditLog) askSigned(ctx context.Context, path string, query url.Values, out interface{ Signed() wire.AuditSigned }) (in audit.Checkpoint, err error) {
	last, _, err := l.Memory.Last(l.Name())
	if err != nil {
		return in, err
	}
	query.Set("seen", strconv.FormatInt(last.Size, 10))
	if err := l.ask(ctx, path, query, out); err != nil {
		return in, err
	}
	s := out.Signed()
	return l.v.met(ctx, l.Memory, l.Now(), audit.Shown{Key: s.Key, Note: []byte(s.Checkpoint), Growth: s.Growth}, last.Size)
}

// refused tells a token that may not from a server that keeps no such log.
func (l *AuditLog) refused(ctx context.Context, err error) error {
	e, ok := err.(*statusError)
	if !ok || e.status == http.StatusBadRequest {
		return l.v.place(err, "", "")
	}
	_, err = l.v.checkpoint(ctx) // which every good token may ask for
	if _, none := err.(*statusError); none {
		if err := l.v.meet(ctx, l.Memory, l.Now(), ""); err != nil {
			return err
		}
		return &vault.Error{Kind: vault.KindUnsupported, Err: &ServerError{Trouble: NoLog, Address: l.v.Address(), Status: e.status}}
	}
	if err != nil {
		return l.v.place(err, "", "")
	}
	if e.status == http.StatusForbidden {
		return &vault.Error{Kind: vault.KindDenied, Err: &ServerError{Trouble: Forbidden, Address: l.v.Address(), Status: e.status, Text: "reading the audit log"}}
	}
	return l.v.place(e, "", "")
}

// hostile says that an answer is not what a server that means well gives.
func (l *AuditLog) hostile(format string, args ...any) error {
	return &vault.Error{Kind: vault.KindTampered, Op: "audit log of " + l.Name(), Detail: fmt.Sprintf(format, args...)}
}

// Read answers a query with entries that are proven. Page.Size is the size of the log that
// they are proven in: what came later is for the query that goes on.
func (l *AuditLog) Read(ctx context.Context, q audit.Query) (audit.Page, error) {
	ask := url.Values{"lines": {"true"}, "proofs": {"true"}}
	set := func(name, s string) {
		if s != "" {
			ask.Set(name, s)
		}
	}
	number := func(name string, n int64) {
		if n != 0 {
			ask.Set(name, strconv.FormatInt(n, 10))
		}
	}
	truth := func(name string, b bool) {
		if b {
			ask.Set(name, "true")
		}
	}
	moment := func(name string, t time.Time) {
		if !t.IsZero() {
			ask.Set(name, t.UTC().Format(time.RFC3339Nano))
		}
	}
	set("env", q.Env)
	set("who", q.Who)
	set("path", q.Path)
	set("id", q.ID)
	set("type", string(q.Type))
	number("from", q.From)
	number("to", q.To)
	number("limit", int64(q.Limit))
	truth("quiet", q.Quiet)
	truth("newest", q.Newest)
	moment("since", q.Since)
	moment("until", q.Until)
	var found wire.AuditEntries
	in, err := l.askSigned(ctx, "entries", ask, &found)
	if err != nil {
		return audit.Page{}, err
	}
	page := audit.Page{Next: found.Next, More: found.More, Back: found.Back, Size: in.Size}
	limit := q.Limit
	if limit <= 0 {
		limit = audit.DefaultLimit
	}
	if len(found.Entries) > limit {
		return audit.Page{}, l.hostile("%d entries were asked for, and %d came", limit, len(found.Entries))
	}
	next := q.From
	for _, e := range found.Entries {
		if e.Index < next {
			return audit.Page{}, l.hostile("entry %d came where entry %d or a later one was asked for", e.Index, next)
		}
		entry, err := in.Holds(e.Index, e.Line, e.Hashes)
		if err != nil {
			return audit.Page{}, err
		}
		page.Records = append(page.Records, audit.Record{Index: e.Index, At: e.At, Line: e.Line, Entry: entry})
		next = e.Index + 1
	}
	if page.Next < next && !q.Newest || page.More && page.Next <= q.From || page.Back < 0 || page.Back > 0 && page.Back >= in.Size || page.Back > 0 && q.To > 0 && page.Back >= q.To {
		return audit.Page{}, l.hostile("its answers lead in a circle")
	}
	return page, nil
}

// Proof is an entry with its proof. KindNotFound if there is none of the number.
func (l *AuditLog) Proof(ctx context.Context, index int64) (audit.Proof, audit.Proved, error) {
	var found wire.AuditProof
	in, err := l.askSigned(ctx, "proof/"+strconv.FormatInt(index, 10), url.Values{}, &found)
	if kind := vault.KindOf(err); kind == vault.KindNotFound {
		return audit.Proof{}, audit.Proved{}, &vault.Error{Kind: kind, Op: "audit log of " + l.Name(), Detail: fmt.Sprintf("it has no entry %d", index)}
	}
	if err != nil {
		return audit.Proof{}, audit.Proved{}, err
	}
	if found.Index != index {
		return audit.Proof{}, audit.Proved{}, l.hostile("entry %d was asked for, and entry %d came", index, found.Index)
	}
	e, err := in.Holds(index, found.Line, found.Hashes)
	return audit.Proof{Index: index, Line: found.Line, Hashes: found.Hashes, Note: []byte(found.Checkpoint)}, audit.Proved{Checkpoint: in, Index: index, Line: found.Line, Entry: e}, err
}

// Export writes all entries from a moment on, the zero time for the first, as a file that
// audit.Verify checks: none can have been left out. step is told how far it is; it may be nil.
func (l *AuditLog) Export(ctx context.Context, w io.Writer, since time.Time, step func(done, of int64)) (audit.Report, error) {
	var first wire.AuditCheckpoint
	to, err := l.askSigned(ctx, "checkpoint", url.Values{}, &first)
	if err != nil {
		return audit.Report{}, err
	}
	note := []byte(first.Checkpoint)
	rep := audit.Report{Checkpoint: to, Signed: note, Key: first.Key}
	if !since.IsZero() {
		rep.From = to.Size
		page, err := l.Read(ctx, audit.Query{Since: since, To: max(to.Size, 1), Limit: 1})
		if err != nil {
			return rep, err
		}
		if len(page.Records) > 0 {
			rep.From = page.Records[0].Index
		}
	}
	var nodes wire.AuditHashes
	if rep.From > 0 {
		if err := l.ask(ctx, "nodes/"+strconv.FormatInt(rep.From, 10), nil, &nodes); err != nil {
			return rep, err
		}
	}
	x, err := audit.NewExporter(w, rep.From, nodes.Hashes, to, note)
	if err != nil {
		return rep, err
	}
	for x.Next() < to.Size {
		n := min(to.Size-x.Next(), audit.MaxLimit)
		var page wire.AuditEntries
		if err := l.ask(ctx, "entries", url.Values{"lines": {"true"}, "from": {strconv.FormatInt(x.Next(), 10)}, "limit": {strconv.FormatInt(n, 10)}}, &page); err != nil {
			return rep, err
		}
		if int64(len(page.Entries)) != n {
			return rep, l.hostile("entry %d is missing", x.Next()+int64(len(page.Entries)))
		}
		for _, e := range page.Entries {
			if e.Index != x.Next() {
				return rep, l.hostile("entry %d is missing", x.Next())
			}
			if err := x.Add(e.Line); err != nil {
				return rep, err
			}
		}
		if step != nil {
			step(x.Next()-rep.From, to.Size-rep.From)
		}
	}
	return rep, x.End()
}
