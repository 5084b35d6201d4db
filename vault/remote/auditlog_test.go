package remote_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"envrun/vault"
	"envrun/vault/audit"
	"envrun/vault/audit/audittest"
	"envrun/vault/remote"
	"envrun/vault/wire"
)

const logOrigin = "envrun-cluster-0a1b2c3d/audit"

// entriesOf are n entries, of which one is somebody else's.
func entriesOf(n, forged int) []audit.Entry {
	var all []audit.Entry
	for i := range n {
		who := "ann"
		if i == forged {
			who = "eve"
		}
		all = append(all, audittest.Entry(i, who))
	}
	return all
}

// A logServer answers about a log, and lies as a test says.
type logServer struct {
	log    *audittest.Log
	growth func(was, size int64) (tlog.TreeProof, error) // nil: the true one
	page   func(*wire.AuditEntries)                      // changes an answer
	proof  func(*wire.AuditProof)
	header func(string) string // changes what is shown beside answers
	asked  atomic.Int64
	own    atomic.Int64 // questions about the log alone
	none   bool         // it is a server without such a log
	denied bool         // the token may not read it
}

func (s *logServer) grown(was, size int64) (tlog.TreeProof, error) {
	if s.growth != nil {
		return s.growth(was, size)
	}
	return audit.ProveGrowth(&s.log.Rows, was, size)
}

func (s *logServer) signed(r *http.Request) wire.AuditSigned {
	signed := wire.AuditSigned{Checkpoint: string(s.log.Note), Key: s.log.Signer.Key}
	if was, err := strconv.ParseInt(r.URL.Query().Get("seen"), 10, 64); err == nil && was < s.log.Head.Size {
		signed.Growth, _ = s.grown(was, s.log.Head.Size)
	}
	return signed
}

func (s *logServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.asked.Add(1)
	say := func(status int, data any) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"data": data})
	}
	path, about := strings.CutPrefix(r.URL.Path, "/v1/sys/audit-log/")
	if about {
		s.own.Add(1)
	}
	switch {
	case about && s.none:
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`)
	case about && s.denied && path != "checkpoint":
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`)
	case path == "checkpoint":
		say(200, wire.AuditCheckpoint{AuditSigned: s.signed(r), Size: s.log.Head.Size})
	case strings.HasPrefix(path, "growth/"):
		var was, size int64
		_, _ = fmt.Sscanf(path, "growth/%d/%d", &was, &size)
		proof, err := s.grown(was, size)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"errors":["not to be had"]}`)
			return
		}
		say(200, wire.AuditHashes{Was: was, Size: size, Hashes: proof})
	case path == "entries":
		q := audit.Query{Newest: r.URL.Query().Get("newest") == "true"}
		q.From, _ = strconv.ParseInt(r.URL.Query().Get("from"), 10, 64)
		q.To, _ = strconv.ParseInt(r.URL.Query().Get("to"), 10, 64)
		q.Limit, _ = strconv.Atoi(r.URL.Query().Get("limit"))
		page, err := audit.Read(&s.log.Rows, q)
		if err != nil {
			say(500, nil)
			return
		}
		out := wire.AuditEntries{Next: page.Next, More: page.More, Back: page.Back, Size: page.Size, AuditSigned: s.signed(r)}
		for _, rec := range page.Records {
			proof, _ := audit.ProveEntry(&s.log.Rows, rec.Index, s.log.Head.Size)
			out.Entries = append(out.Entries, wire.AuditEntry{Index: rec.Index, At: rec.At, Line: rec.Line, Hashes: proof})
		}
		if s.page != nil {
			s.page(&out)
		}
		say(200, out)
	case strings.HasPrefix(path, "proof/"):
		n, _ := strconv.ParseInt(strings.TrimPrefix(path, "proof/"), 10, 64)
		if n >= s.log.Head.Size {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"errors":[]}`)
			return
		}
		hashes, _ := audit.ProveEntry(&s.log.Rows, n, s.log.Head.Size)
		out := wire.AuditProof{Index: n, Line: s.log.Rows.Rows[n].Line, Hashes: hashes, Size: s.log.Head.Size, AuditSigned: s.signed(r)}
		if s.proof != nil {
			s.proof(&out)
		}
		say(200, out)
	case strings.HasPrefix(path, "nodes/"):
		n, _ := strconv.ParseInt(strings.TrimPrefix(path, "nodes/"), 10, 64)
		nodes, _ := audit.Edge(&s.log.Rows, n)
		say(200, wire.AuditHashes{Size: n, Hashes: nodes})
	default:
		if seen, err := strconv.ParseInt(r.Header.Get(audit.SeenHeader), 10, 64); err == nil && !s.none {
			shown := audit.Shown{Key: s.log.Signer.Key, Note: s.log.Note}
			if seen > 0 && seen < s.log.Head.Size {
				shown.Growth, _ = s.grown(seen, s.log.Head.Size)
			}
			text := shown.Header()
			if s.header != nil {
				text = s.header(text)
			}
			if text != "" {
				w.Header().Set(audit.ShownHeader, text)
			}
		}
		_, _ = io.WriteString(w, secretAnswer)
	}
}

// watched is a client that remembers, and what it suspects. Each is a session of its own.
func (s *logServer) watched(t *testing.T, m audit.Memory) (v *remote.Vault, suspected *[]error) {
	t.Helper()
	suspected = new([]error)
	v = serve(t, s.ServeHTTP, func(o *remote.Options) {
		o.Witness = &remote.Witness{Memory: m, Now: func() time.Time { return audittest.Start }, Suspect: func(err error) { *suspected = append(*suspected, err) }}
	})
	return v, suspected
}

// What is shown beside an answer is compared with what was seen, and it costs no question.
func TestWitness(t *testing.T) {
	signer := audittest.NewSigner(t, logOrigin)
	long := func() *audittest.Log { return audittest.NewLog(t, signer, entriesOf(12, -1)...) }
	forked := func() *audittest.Log { return audittest.NewLog(t, signer, entriesOf(12, 3)...) }
	lies := func(was, size int64) (tlog.TreeProof, error) { return tlog.TreeProof{{1}, {2}, {3}}, nil }
	for name, c := range map[string]struct {
		s    *logServer
		says string // "": nothing is suspected
		own  int64  // questions about the log
	}{
		"grown":                {&logServer{log: long()}, "", 0},
		"as it was":            {&logServer{log: audittest.NewLog(t, signer, entriesOf(9, -1)...)}, "", 0},
		"rewritten":            {&logServer{log: forked()}, "its history was rewritten: the 9 entries which were seen before", 0},
		"as long, rewritten":   {&logServer{log: audittest.NewLog(t, signer, entriesOf(9, 3)...)}, "its history was rewritten: its 9 entries", 0},
		"put back":             {&logServer{log: audittest.NewLog(t, signer, entriesOf(4, -1)...)}, "had 9 entries when it was last seen and has 4: the newest were cut off", 1},
		"a proof that lies":    {&logServer{log: long(), growth: lies}, "its history was rewritten", 0},
		"another key":          {&logServer{log: audittest.NewLog(t, audittest.NewSigner(t, logOrigin), entriesOf(12, -1)...)}, "signed with another key", 0},
		"no header any more":   {&logServer{log: long(), header: func(string) string { return "" }}, "", 2},
		"nothing any more":     {&logServer{log: long(), none: true}, "shows no checkpoint of it any more", 1},
		"a header of nonsense": {&logServer{log: long(), header: func(string) string { return "x y" }}, "not of its form", 0},
		"a huge header":        {&logServer{log: long(), header: func(s string) string { return s + strings.Repeat("AAAA", 10_000) }}, "not of its form", 0},
		"a forged note":        {&logServer{log: long(), header: func(s string) string { return strings.Replace(s, " ", " AAAA", 1) }}, "not a signed note", 0},
		"no proof":             {&logServer{log: long(), growth: func(int64, int64) (tlog.TreeProof, error) { return nil, errors.New("no") }}, "no proof that the 9 entries", 1},
	} {
		t.Run(name, func(t *testing.T) {
			m := audit.Memory{Dir: t.TempDir()}
			v, suspected := c.s.watched(t, m)
			if err := remember(m, v.Address(), audittest.NewLog(t, signer, entriesOf(9, -1)...)); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if _, err := v.Get(t.Context(), "dev", "app"); err != nil {
					t.Errorf("the request itself: %v", err)
				}
			}
			got := ""
			if len(*suspected) > 0 {
				got = (*suspected)[0].Error()
			}
			if len(*suspected) > 1 || (c.says == "") != (got == "") || !strings.Contains(got, c.says) || strings.ContainsAny(got, "\x1b\n") {
				t.Errorf("suspected %q", *suspected)
			}
			if n := c.s.own.Load(); n != c.own {
				t.Errorf("%d questions about the log, want %d", n, c.own)
			}
			last, _, err := m.Last(v.Address())
			if want := map[bool]int64{true: c.s.log.Head.Size, false: 9}[c.says == ""]; err != nil || last.Size != want {
				t.Errorf("%d entries are remembered, want %d: %v", last.Size, want, err)
			}
		})
	}
}

func remember(m audit.Memory, address string, l *audittest.Log) error {
	_, err := m.Meet(address, l.Signer.Key, l.Note, audittest.Start, nil)
	return err
}

// A server that keeps no such log is none to suspect, and of no memory.
func TestWitnessOfAnotherServer(t *testing.T) {
	s := &logServer{none: true}
	m := audit.Memory{Dir: t.TempDir()}
	v, suspected := s.watched(t, m)
	if _, err := v.Get(t.Context(), "dev", "app"); err != nil {
		t.Fatal(err)
	}
	if _, known, err := m.Last(v.Address()); known || err != nil || len(*suspected) > 0 || s.asked.Load() != 1 {
		t.Errorf("%v, %v, %v, %d questions", known, err, *suspected, s.asked.Load())
	}
}

// An answer with one bad part is refused whole.
func TestAuditLogOfALiar(t *testing.T) {
	signer := audittest.NewSigner(t, logOrigin)
	for name, c := range map[string]struct {
		s    *logServer
		want vault.Kind
		says string
	}{
		"the truth":         {&logServer{}, vault.KindOther, ""},
		"another line":      {&logServer{page: func(p *wire.AuditEntries) { p.Entries[1].Line = p.Entries[0].Line }}, vault.KindTampered, "entry 5 is not in the log"},
		"an edited line":    {&logServer{page: func(p *wire.AuditEntries) { p.Entries[1].Line = strings.Replace(p.Entries[1].Line, "ann", "eve", 1) }}, vault.KindTampered, "entry 5 is not in the log"},
		"another number":    {&logServer{page: func(p *wire.AuditEntries) { p.Entries[1].Index++ }}, vault.KindTampered, "entry 6 is not"},
		"twice the same":    {&logServer{page: func(p *wire.AuditEntries) { p.Entries[1] = p.Entries[0] }}, vault.KindTampered, "entry 4 came where entry 5"},
		"before the first":  {&logServer{page: func(p *wire.AuditEntries) { p.Entries[0].Index = -1 }}, vault.KindTampered, "entry -1 came"},
		"no proof":          {&logServer{page: func(p *wire.AuditEntries) { p.Entries[0].Hashes = nil }}, vault.KindTampered, "entry 4 is not"},
		"no line":           {&logServer{page: func(p *wire.AuditEntries) { p.Entries[0].Line = "" }}, vault.KindTampered, "entry 4 is not"},
		"a huge line":       {&logServer{page: func(p *wire.AuditEntries) { p.Entries[0].Line = strings.Repeat("x", 8<<20) }}, vault.KindTampered, "entry 4 is not"},
		"too many":          {&logServer{page: func(p *wire.AuditEntries) { p.Entries = append(p.Entries, p.Entries...) }}, vault.KindTampered, "were asked for"},
		"in a circle":       {&logServer{page: func(p *wire.AuditEntries) { p.More, p.Next = true, 4 }}, vault.KindTampered, "in a circle"},
		"back in a circle":  {&logServer{page: func(p *wire.AuditEntries) { p.Back = 1 << 40 }}, vault.KindTampered, "in a circle"},
		"no checkpoint":     {&logServer{page: func(p *wire.AuditEntries) { p.Checkpoint = "" }}, vault.KindMalformed, "not a signed note"},
		"another key":       {&logServer{page: func(p *wire.AuditEntries) { p.Key = audittest.NewSigner(t, logOrigin).Key }}, vault.KindTampered, "another key"},
		"another history":   {&logServer{log: audittest.NewLog(t, signer, entriesOf(12, 3)...)}, vault.KindTampered, "history was rewritten"},
		"a part of the log": {&logServer{log: audittest.NewLog(t, signer, entriesOf(8, -1)...)}, vault.KindTampered, "were cut off"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.s.log == nil {
				c.s.log = audittest.NewLog(t, signer, entriesOf(12, -1)...)
			}
			m := audit.Memory{Dir: t.TempDir()}
			v := serve(t, c.s.ServeHTTP)
			if err := remember(m, v.Address(), audittest.NewLog(t, signer, entriesOf(9, -1)...)); err != nil {
				t.Fatal(err)
			}
			page, err := v.AuditLog(m, time.Now).Read(t.Context(), audit.Query{From: 4, Limit: 5})
			if vault.KindOf(err) != c.want || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
			if err == nil && (len(page.Records) != 5 || page.Records[0].Index != 4 || page.Size != 12 || page.Next != 9 || !page.More) {
				t.Errorf("%+v", page)
			}
			if err != nil && (len(page.Records) > 0 || len(err.Error()) > 300) {
				t.Errorf("%d entries in spite of it; %d bytes of words", len(page.Records), len(err.Error()))
			}
		})
	}
}

func TestAuditProof(t *testing.T) {
	signer := audittest.NewSigner(t, logOrigin)
	s := &logServer{log: audittest.NewLog(t, signer, entriesOf(12, -1)...)}
	log := serve(t, s.ServeHTTP).AuditLog(audit.Memory{Dir: t.TempDir()}, time.Now)
	p, proved, err := log.Proof(t.Context(), 7)
	if err != nil || proved.Size != 12 || proved.Entry.Request.ID != "id-7" {
		t.Fatalf("%+v, %v", proved, err)
	}
	text, err := p.Text()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := (audit.Memory{Dir: t.TempDir()}).CheckProof(text, signer.Key); err != nil || got.Index != 7 {
		t.Errorf("elsewhere: %+v, %v", got, err)
	}
	if _, _, err := log.Proof(t.Context(), 12); vault.KindOf(err) != vault.KindNotFound {
		t.Errorf("%v", err)
	}
	for name, f := range map[string]func(*wire.AuditProof){
		"another":      func(p *wire.AuditProof) { p.Index = 6 },
		"another line": func(p *wire.AuditProof) { p.Line = s.log.Rows.Rows[6].Line },
		"no proof":     func(p *wire.AuditProof) { p.Hashes = nil },
	} {
		s.proof = f
		if _, _, err := log.Proof(t.Context(), 7); vault.KindOf(err) != vault.KindTampered {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAuditExport(t *testing.T) {
	signer := audittest.NewSigner(t, logOrigin)
	s := &logServer{log: audittest.NewLog(t, signer, entriesOf(1500, -1)...)}
	m := audit.Memory{Dir: t.TempDir()}
	log := serve(t, s.ServeHTTP).AuditLog(m, time.Now)
	var out strings.Builder
	if rep, err := log.Export(t.Context(), &out, time.Time{}, nil); err != nil || rep.Size != 1500 || rep.From != 0 || rep.Key != signer.Key {
		t.Fatalf("%+v, %v", rep, err)
	}
	if rep, err := audit.Verify(strings.NewReader(out.String()), signer.Key, nil); err != nil || rep.Size != 1500 {
		t.Errorf("%+v, %v", rep, err)
	}
	for name, f := range map[string]func(*wire.AuditEntries){
		"one left out":   func(p *wire.AuditEntries) { p.Entries = p.Entries[:len(p.Entries)-1] },
		"one changed":    func(p *wire.AuditEntries) { p.Entries[3].Line = strings.Replace(p.Entries[3].Line, "ann", "eve", 1) },
		"two exchanged":  func(p *wire.AuditEntries) { p.Entries[3], p.Entries[4] = p.Entries[4], p.Entries[3] },
		"one repeated":   func(p *wire.AuditEntries) { p.Entries[3].Line = p.Entries[4].Line },
		"one moved":      func(p *wire.AuditEntries) { p.Entries[3].Index = 99 },
		"none":           func(p *wire.AuditEntries) { p.Entries = nil },
		"more than that": func(p *wire.AuditEntries) { p.Entries = append(p.Entries, p.Entries[0]) },
	} {
		s.page = f
		var out strings.Builder
		if _, err := log.Export(t.Context(), &out, time.Time{}, nil); vault.KindOf(err) != vault.KindTampered {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(out.String(), `{"checkpoint":`) {
			t.Errorf("%s: it has an end", name)
		}
	}
}

// Who may not read is told from a server that has nothing to read.
func TestAuditLogThatMayNot(t *testing.T) {
	trouble := func(err error) remote.Trouble {
		if e, ok := errors.AsType[*remote.ServerError](err); ok {
			return e.Trouble
		}
		return -1
	}
	signer := audittest.NewSigner(t, logOrigin)
	l := audittest.NewLog(t, signer, entriesOf(3, -1)...)
	m := audit.Memory{Dir: t.TempDir()}
	denied := serve(t, (&logServer{log: l, denied: true}).ServeHTTP)
	if _, err := denied.AuditLog(m, time.Now).Read(t.Context(), audit.Query{}); trouble(err) != remote.Forbidden || vault.KindOf(err) != vault.KindDenied {
		t.Errorf("%v", err)
	}
	none := serve(t, (&logServer{none: true}).ServeHTTP)
	if _, err := none.AuditLog(m, time.Now).Read(t.Context(), audit.Query{}); trouble(err) != remote.NoLog || vault.KindOf(err) != vault.KindUnsupported {
		t.Errorf("%v", err)
	}
	// Unless it had one.
	if err := remember(m, none.Address(), l); err != nil {
		t.Fatal(err)
	}
	if _, err := none.AuditLog(m, time.Now).Read(t.Context(), audit.Query{}); vault.KindOf(err) != vault.KindTampered {
		t.Errorf("%v", err)
	}
}
