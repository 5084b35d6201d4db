package audit

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// A Query asks for entries. Its zero value asks for all, from the first on.
type Query struct {
	From  int64     // the number of the first entry to look at; to follow the log, Page.Next of the answer before
	Since time.Time // appended at that time or later; zero: from the first
	Until time.Time // appended before; zero: to the last
	Env   string    // of this environment: its mount, or an entry about it
	Who   string    // the display name, the entity, a fact of the identity such as the mail, or a keyed hash of token or accessor
	Path  string    // this path or below it: of the request ("prod/data/billing"), or of a secret ("billing"); * stands for anything
	ID    string    // the id of a request
	Type  Type      // "": intents and outcomes
	Quiet bool      // leaves out that somebody read this log, who might

	To     int64 // only entries before this number; 0: to the last
	Newest bool  // the last Limit entries rather than the first; they still come in order
	Limit  int   // at most so many; 0: DefaultLimit, and never more than MaxLimit
}

// The number of entries in an answer.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
)

// scan bounds the rows that one answer looks at, and chunk those that are held at one time.
const (
	scan  = 20_000
	chunk = 256
)

// A Record is an entry in its place.
type Record struct {
	Index int64
	At    time.Time // when it was appended
	Line  string
	Entry Entry // what this version knows of the line
}

// A Page is an answer to a Query.
type Page struct {
	Records []Record // by Index
	Next    int64    // From of the query that goes on
	More    bool     // that query has rows to look at now; else the end of the log is reached
	Back    int64    // of the newest: To of the query that goes further back; 0: there is nothing before
	Size    int64    // of the log
}

// Read answers a query. An answer may hold fewer records than Limit, or none,
// and still not be the end: More says so. KindTampered if a row that is looked at is
// not the one that was appended.
func Read(r Reader, q Query) (Page, error) {
	head, err := r.AuditHead()
	if err != nil {
		return Page{}, err
	}
	limit := q.Limit
	if limit <= 0 {
		limit = DefaultLimit
	}
	limit = min(limit, MaxLimit)
	from, to := max(q.From, 0), head.Size
	if q.To > 0 {
		to = min(to, q.To)
	}
	if !q.Since.IsZero() {
		if from, err = search(r, from, to, q.Since); err != nil {
			return Page{}, err
		}
	}
	if !q.Until.IsZero() {
		if to, err = search(r, from, to, q.Until); err != nil {
			return Page{}, err
		}
	}
	page := Page{Size: head.Size, Next: max(from, to)}
	if q.Newest {
		page.Records, page.Back, err = readBack(r, q, max(from, to-scan), to, limit)
		if page.Back <= from {
			page.Back = 0
		}
		return page, err
	}
	end := to
	if to-from > scan {
		end = from + scan
	}
	for at := from; at < end; {
		rows, err := rowsOf(r, at, int(min(chunk, end-at)))
		if err != nil {
			return Page{}, err
		}
		for _, row := range rows {
			if at = row.Index + 1; !q.mayMatch(row.Line) {
				continue
			}
			rec, err := record(row)
			if err != nil {
				return Page{}, err
			}
			if q.matches(&rec.Entry) {
				page.Records = append(page.Records, rec)
			}
			if len(page.Records) == limit {
				page.Next, page.More = at, at < to
				return page, nil
			}
		}
	}
	page.Next, page.More = max(from, end), end < to
	return page, nil
}

// readBack looks from the end; at is the last row that it looked at.
func readBack(r Reader, q Query, from, to int64, limit int) (found []Record, at int64, err error) {
	for at = to; at > from && len(found) < limit; {
		start := max(from, at-chunk)
		rows, err := rowsOf(r, start, int(at-start))
		if err != nil {
			return nil, at, err
		}
		for _, row := range slices.Backward(rows) {
			if at = row.Index; !q.mayMatch(row.Line) {
				continue
			}
			rec, err := record(row)
			if err != nil {
				return nil, at, err
			}
			if q.matches(&rec.Entry) {
				if found = append(found, rec); len(found) == limit {
					break
				}
			}
		}
	}
	slices.Reverse(found)
	return found, at, nil
}

// rowsOf reads exactly the rows from, from+1, ….
func rowsOf(r Reader, from int64, n int) ([]Row, error) {
	rows, err := r.AuditRows(from, n)
	if err != nil {
		return nil, err
	}
	for i, row := range rows {
		if row.Index != from+int64(i) {
			return nil, tampered("entry %d is missing", from+int64(i))
		}
	}
	if len(rows) != n {
		return nil, tampered("entry %d is missing", from+int64(len(rows)))
	}
	return rows, nil
}

// record is a row as it was appended: its line is the leaf that is stored.
func record(row Row) (Record, error) {
	if len(row.Hashes) == 0 || tlog.RecordHash([]byte(row.Line)) != row.Hashes[0] {
		return Record{}, tampered("entry %d is not the one that was appended", row.Index)
	}
	e, err := parseKnown([]byte(row.Line))
	if err != nil {
		return Record{}, fmt.Errorf("entry %d: %w", row.Index, err)
	}
	return Record{Index: row.Index, At: row.At, Line: row.Line, Entry: e}, nil
}

// search is the first row of from…to that was appended at t or later.
func search(r Reader, from, to int64, t time.Time) (int64, error) {
	var bad error
	n := sort.Search(int(max(0, to-from)), func(i int) bool {
		if bad != nil {
			return true
		}
		rows, err := rowsOf(r, from+int64(i), 1)
		if err != nil {
			bad = err
			return true
		}
		return !rows[0].At.Before(t)
	})
	return from + int64(n), bad
}

// mayMatch looks for what is asked in the text of a line, which costs a hundredth of reading it.
func (q *Query) mayMatch(line string) bool {
	if q.Type != "" && !strings.HasSuffix(line, `"type":"`+string(q.Type)+`"}`) {
		return false
	}
	for _, s := range []string{q.Env, q.Who, q.ID, longest(strings.Split(strings.Trim(q.Path, "/"), "*"))} {
		if s != "" && plain(s) && !strings.Contains(line, s) {
			return false
		}
	}
	return true
}

func longest(parts []string) (most string) {
	for _, s := range parts {
		if len(s) > len(most) {
			most = s
		}
	}
	return most
}

func (q *Query) matches(e *Entry) bool {
	return (q.Type == "" || e.Type == q.Type) &&
		(q.ID == "" || e.Request.ID == q.ID) &&
		(!q.Quiet || !e.readsLog()) &&
		(q.Env == "" || e.about(q.Env)) &&
		(q.Who == "" || e.Auth.is(q.Who) || e.Request.ClientToken.text == q.Who || e.Response != nil && e.Response.Auth != nil && e.Response.Auth.is(q.Who)) &&
		(q.Path == "" || e.at(strings.Trim(q.Path, "/")))
}

// readsLog reports whether somebody who may reads this log.
func (e *Entry) readsLog() bool {
	return strings.HasPrefix(e.Request.Path, "sys/audit-log/") && e.Error == "" && e.Status < 400 && (e.Auth.PolicyResults == nil || e.Auth.PolicyResults.Allowed)
}

func (e *Entry) about(env string) bool {
	env = strings.TrimSuffix(env, "/")
	if e.Request.MountPoint == env+"/" {
		return true
	}
	for _, d := range e.data() {
		if d.Environment == env || d.MountPoint == env+"/" {
			return true
		}
		for _, p := range d.Paths {
			if strings.HasPrefix(p, env+"/") {
				return true
			}
		}
	}
	return false
}

func (e *Entry) data() []*Data {
	var all []*Data
	if e.Request.Data != nil {
		all = append(all, e.Request.Data)
	}
	if e.Response != nil && e.Response.Data != nil {
		all = append(all, e.Response.Data)
	}
	return all
}

func (a *Auth) is(who string) bool {
	if a.DisplayName == who || a.EntityID == who || a.ClientToken.text == who || a.Accessor.text == who {
		return true
	}
	for _, v := range a.Metadata {
		if v == who {
			return true
		}
	}
	return false
}

func (e *Entry) at(path string) bool {
	for _, d := range e.data() {
		for _, p := range d.Paths {
			// What is asked for together are secrets of KV mounts: MOUNT/data/SECRET.
			_, secret, _ := strings.Cut(p, "/data/")
			if below(p, path) || below(secret, path) {
				return true
			}
		}
	}
	return e.Request.at(path)
}

func (r *Request) at(path string) bool {
	if below(r.Path, path) {
		return true
	}
	rest, ok := strings.CutPrefix(r.Path, r.MountPoint)
	if !ok || r.MountPoint == "" {
		return false
	}
	// The secret behind the first word of a KV path: data, metadata, destroy, ….
	_, secret, _ := strings.Cut(rest, "/")
	return below(rest, path) || below(secret, path)
}

func below(path, top string) bool {
	path = strings.TrimSuffix(path, "/")
	if first, rest, ok := strings.Cut(top, "*"); ok {
		path, ok = strings.CutPrefix(path, first)
		return ok && anywhere(path, rest)
	}
	return path == top || strings.HasPrefix(path, top) && path[len(top)] == '/'
}

// anywhere reports whether a text is anything and then what a pattern says.
func anywhere(s, pattern string) bool {
	for {
		part, rest, more := strings.Cut(pattern, "*")
		if !more {
			return strings.HasSuffix(s, part)
		}
		_, behind, ok := strings.Cut(s, part)
		if !ok {
			return false
		}
		s, pattern = behind, rest
	}
}

// Check reads the whole log and makes its tree anew: KindTampered, with the
// number of the first entry at fault, if a line was changed, left out or moved, a
// node is not what the lines make, or the end or the stored checkpoint say
// something else. It returns the number of entries.
func (l *Log) Check(r Reader) (int64, error) {
	head, err := r.AuditHead()
	if err != nil {
		return 0, err
	}
	if err := head.check(); err != nil {
		return 0, err
	}
	kept, err := l.stored(r)
	if err != nil {
		return 0, err
	}
	var made Head
	for made.Size < head.Size {
		rows, err := rowsOf(r, made.Size, int(min(chunk, head.Size-made.Size)))
		if err != nil {
			return made.Size, err
		}
		for _, row := range rows {
			if kept.note != nil && made.Size == kept.Size && made.root() != kept.Root {
				return made.Size, tampered("its first %d entries are not those that were signed", kept.Size)
			}
			if row.At.Before(made.At) {
				return made.Size, tampered("entry %d was appended before the entry before it", row.Index)
			}
			if _, err := record(row); err != nil {
				return made.Size, err
			}
			var completed []tlog.Hash
			if made, completed = made.append(row.Hashes[0]); !slices.Equal(completed, row.Hashes) {
				return row.Index, tampered("the nodes of entry %d are not those of the entries before it", row.Index)
			}
			made.At = row.At
		}
	}
	if more, err := r.AuditRows(head.Size, 1); err != nil || len(more) > 0 {
		if err == nil {
			err = tampered("entry %d stands behind the end", head.Size)
		}
		return head.Size, err
	}
	if !slices.Equal(made.Edge, head.Edge) || !made.At.Equal(head.At) {
		return head.Size, tampered("its end is not that of its entries")
	}
	if kept.note == nil {
		return head.Size, nil
	}
	return head.Size, grew(r, kept.Checkpoint, Checkpoint{Size: head.Size, Root: head.root()})
}
