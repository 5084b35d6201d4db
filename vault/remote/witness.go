package remote

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"envrun/vault"
	"envrun/vault/audit"
	"envrun/vault/wire"
)

// A Witness holds a server to its audit log, if it keeps one that can be held to
// (envrund does): what it shows of the log beside the first answer is compared with what
// was seen before, and again after a while. It costs no request of its own.
type Witness struct {
	audit.Memory
	Now func() time.Time

	// Suspect is told when the server denies its past, or when that cannot be looked at. The
	// request goes on. It may be called from several goroutines.
	Suspect func(error)
}

// again is how long after one look the next is taken, and lookTime bounds what a look may
// ask by itself, where the way to the server takes headers away.
const (
	again    = time.Minute
	lookTime = 5 * time.Second
)

// looking is when a server was looked at last.
type looking struct {
	mu   sync.Mutex
	at   time.Time
	busy bool
}

// due reports whether it is time for a look, which is then this caller's to take.
func (l *looking) due(w *Witness) bool {
	if w == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy || !l.at.IsZero() && w.Now().Sub(l.at) < again {
		return false
	}
	l.busy = true
	return true
}

func (l *looking) done(w *Witness, looked bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy = false; looked {
		l.at = w.Now()
	}
}

// logName is what a server's log is remembered by.
func (v *Vault) logName() string {
	return strings.ToLower(v.base.Scheme+"://"+v.base.Host) + v.base.Path
}

// seen is the text of audit.SeenHeader.
func (v *Vault) seen(m audit.Memory) string {
	last, _, err := m.Last(v.logName())
	if err != nil {
		return "0" // Meet says what is wrong
	}
	return strconv.FormatInt(last.Size, 10)
}

// look compares what the server has shown beside an answer with what is remembered.
func (v *Vault) look(ctx context.Context, shown string) {
	w := v.o.Witness
	limited, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	err := v.meet(limited, w.Memory, w.Now(), shown)
	switch vault.KindOf(err) {
	case vault.KindTampered, vault.KindMalformed, vault.KindInsecure, vault.KindVersion, vault.KindUnavailable:
		if ctx.Err() == nil {
			w.Suspect(err)
		}
	} // else there is no place to remember it in, which is nothing against the server
}

// meet compares what a server shows beside an answer with what is remembered of its log.
// What it shows by itself it need not: a server that keeps no such log shows nothing.
func (v *Vault) meet(ctx context.Context, m audit.Memory, now time.Time, header string) error {
	name := v.logName()
	if header == "" {
		_, known, err := m.Last(name)
		if err != nil || !known {
			return err
		}
		// A proxy on the way may have dropped it; a server that shows nothing any
		// more says so when it is asked.
		c, err := v.checkpoint(ctx)
		if _, ok := err.(*statusError); ok {
			return &vault.Error{Kind: vault.KindTampered, Op: "audit log of " + name, Detail: "it was signed when it was last seen, and the server shows no checkpoint of it any more"}
		}
		if err != nil {
			return v.place(err, "", "")
		}
		_, err = v.met(ctx, m, now, audit.Shown{Key: c.Key, Note: []byte(c.Checkpoint)}, 0)
		return err
	}
	last, _, err := m.Last(name)
	if err != nil {
		return err
	}
	shown, err := audit.ParseShown(header)
	if err == nil {
		_, err = v.met(ctx, m, now, shown, last.Size)
	}
	return err
}

// met compares a checkpoint with what is remembered, with the proof that came with it if that
// is for the size that was seen, and opens it.
func (v *Vault) met(ctx context.Context, m audit.Memory, now time.Time, shown audit.Shown, seen int64) (audit.Checkpoint, error) {
	met, err := m.Meet(v.logName(), shown.Key, shown.Note, now, func(was, size int64) (tlog.TreeProof, error) {
		if was == seen && len(shown.Growth) > 0 {
			return shown.Growth, nil
		}
		return v.growth(ctx, was, size)
	})
	if err != nil {
		return audit.Checkpoint{}, err
	}
	if string(met.Signed) == string(shown.Note) {
		return met.Checkpoint, nil
	}
	return audit.OpenCheckpoint(shown.Note, met.Key)
}

// checkpoint is the last that the server signed.
func (v *Vault) checkpoint(ctx context.Context) (wire.AuditCheckpoint, error) {
	var c wire.AuditCheckpoint
	return c, v.askLog(ctx, "checkpoint", nil, &c)
}

// growth is the proof that the server's log of was entries is the beginning of that of size.
func (v *Vault) growth(ctx context.Context, was, size int64) (tlog.TreeProof, error) {
	var h wire.AuditHashes
	err := v.askLog(ctx, "growth/"+strconv.FormatInt(was, 10)+"/"+strconv.FormatInt(size, 10), nil, &h)
	if _, refused := err.(*statusError); err != nil && !refused {
		// No answer, or no token any more: that is not to have no proof.
		err = &vault.Error{Kind: vault.KindUnavailable, Op: "asking whether the audit log has only grown", Err: err}
	}
	return h.Hashes, err
}

// askLog asks something about the log. What is wrong with an answer that cannot be read
// is not said: it may be long, and ill meant.
func (v *Vault) askLog(ctx context.Context, path string, query url.Values, out any) error {
	data, err := ask[json.RawMessage](ctx, v, call{method: http.MethodGet, path: []string{"sys/audit-log", path}, query: query, repeat: true, unseen: true})
	if err == nil && json.Unmarshal(data, out) != nil {
		err = &ServerError{Trouble: NotVault, Address: v.Address(), Text: "its answer has not the form of one"}
	}
	return err
}
