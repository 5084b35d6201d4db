package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"envrun/vault"
	"envrun/vault/audit"
	"envrun/vault/server"
	"envrun/vault/wire"
)

// hashes are those of an answer.
func (s said) hashes(t *testing.T) []tlog.Hash {
	t.Helper()
	raw, err := json.Marshal(s.data()["hashes"])
	if err != nil {
		t.Fatal(err)
	}
	var list []tlog.Hash
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatalf("%v: %s", err, s.raw)
	}
	return list
}

func (s said) text(name string) string {
	text, _ := s.data()[name].(string)
	return text
}

// The audit entry of a write, with its proof, checked with nothing but what the API gives.
func TestAuditLog(t *testing.T) {
	w := newWorld(t)
	w.ask("root", http.MethodPost, "sys/mounts/prod", `{"type":"kv-v2"}`)
	if s := w.ask("root", http.MethodPost, "prod/data/billing", `{"data":{"STRIPE_KEY":"value-1"}}`); s.status != http.StatusOK {
		t.Fatalf("%d %s", s.status, s.raw)
	}
	// What was written until now is in it, whenever the last was signed.
	said := w.ask("root", http.MethodGet, "sys/audit-log/checkpoint", "")
	key := said.text("key")
	c, err := audit.OpenCheckpoint([]byte(said.text("checkpoint")), key)
	if err != nil || c.Size != 4 {
		t.Fatalf("%+v, %v: %s", c, err, said.raw)
	}

	found := w.ask("root", http.MethodGet, "sys/audit-log/entries?path=billing&type=response&env=prod", "")
	list, _ := found.data()["entries"].([]any)
	if len(list) != 1 || strings.Contains(found.raw, "value-1") {
		t.Fatalf("%s", found.raw)
	}
	index := list[0].(map[string]any)["index"].(json.Number)
	proven := w.ask("root", http.MethodGet, "sys/audit-log/proof/"+index.String(), "")
	line := proven.text("line")
	e, err := audit.Parse([]byte(line))
	if err != nil || e.Request.Path != "prod/data/billing" || e.Status != http.StatusOK || len(e.Request.Data.Keys) != 1 {
		t.Fatalf("%+v, %v: %s", e, err, proven.raw)
	}
	n, err := index.Int64()
	if err != nil {
		t.Fatal(err)
	}
	in, err := audit.OpenCheckpoint([]byte(proven.text("checkpoint")), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := tlog.CheckRecord(proven.hashes(t), in.Size, in.Root, n, e.Line().Leaf()); err != nil {
		t.Errorf("the proof: %v", err)
	}

	// The log grows, and a client is shown that it only did.
	now := w.ask("root", http.MethodGet, "sys/audit-log/checkpoint", "")
	m := audit.Memory{Dir: t.TempDir()}
	prove := func(was, size int64) (tlog.TreeProof, error) {
		s := w.ask("root", http.MethodGet, fmt.Sprintf("sys/audit-log/growth/%d/%d", was, size), "")
		if s.status != http.StatusOK {
			return nil, fmt.Errorf("%d", s.status)
		}
		return s.hashes(t), nil
	}
	for _, s := range []struct {
		note string
		size int64
	}{{said.text("checkpoint"), 4}, {now.text("checkpoint"), 10}} {
		if seen, err := m.Meet(w.http.URL, key, []byte(s.note), w.now, prove); err != nil || seen.Size != s.size {
			t.Errorf("%+v, %v", seen, err)
		}
	}

	// An export is made of what the API gives, from any entry on.
	for _, from := range []int64{0, 5, 10} {
		var file strings.Builder
		nodes := w.ask("root", http.MethodGet, fmt.Sprint("sys/audit-log/nodes/", from), "").hashes(t)
		first := struct {
			Format int         `json:"envrun_audit"`
			From   int64       `json:"from"`
			Log    string      `json:"log"`
			Nodes  []tlog.Hash `json:"nodes,omitempty"`
		}{1, from, c.Origin, nodes}
		put := func(v any) {
			text, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			file.Write(append(text, '\n'))
		}
		put(first)
		page := w.ask("root", http.MethodGet, fmt.Sprintf("sys/audit-log/entries?lines=true&from=%d&limit=%d", from, max(10-from, 1)), "")
		for _, e := range page.data()["entries"].([]any) {
			if from < 10 {
				file.WriteString(e.(map[string]any)["line"].(string) + "\n")
			}
		}
		put(map[string]string{"checkpoint": now.text("checkpoint")})
		if rep, err := audit.Verify(strings.NewReader(file.String()), key, nil); err != nil || rep.From != from || rep.Size != 10 {
			t.Errorf("from %d: %+v, %v", from, rep, err)
		}
	}
}

// Whoever says what they have seen of the log is shown beside the answer that it has only grown;
// nobody without a token is shown anything.
func TestAuditLogBeside(t *testing.T) {
	w := newWorld(t)
	header := func(tok, path, seen string) (audit.Shown, bool) {
		t.Helper()
		s := w.ask(tok, http.MethodGet, path, "", audit.SeenHeader+": "+seen)
		text := s.header.Get(audit.ShownHeader)
		if text == "" {
			return audit.Shown{}, false
		}
		shown, err := audit.ParseShown(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		return shown, true
	}
	first, ok := header("root", "sys/mounts", "0")
	if !ok || len(first.Growth) > 0 {
		t.Fatalf("%+v", first)
	}
	c, err := audit.OpenCheckpoint(first.Note, first.Key)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		w.ask("root", http.MethodGet, "sys/mounts", "")
	}
	if again, _ := header("root", "sys/mounts", fmt.Sprint(c.Size)); string(again.Note) != string(first.Note) {
		t.Error("it is signed anew for everybody who asks")
	}
	if err := w.KeepCheckpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	later, _ := header("root", "sys/mounts", fmt.Sprint(c.Size))
	d, err := audit.OpenCheckpoint(later.Note, first.Key)
	if err != nil || d.Size <= c.Size {
		t.Fatalf("%+v, %v", d, err)
	}
	if err := tlog.CheckTree(later.Growth, d.Size, d.Root, c.Size, c.Root); err != nil {
		t.Error(err)
	}
	// Who has seen more than was kept has asked another replica: then it is signed now.
	w.ask("root", http.MethodGet, "sys/mounts", "")
	now, _ := header("root", "sys/mounts", fmt.Sprint(d.Size+1))
	if e, err := audit.OpenCheckpoint(now.Note, first.Key); err != nil || e.Size <= d.Size || len(now.Growth) == 0 {
		t.Errorf("%+v, %v", e, err)
	}
	// And who has seen more than there is gets no proof.
	if far, _ := header("root", "sys/mounts", "9999"); len(far.Growth) > 0 {
		t.Errorf("%+v", far)
	}
	for name, c := range map[string][3]string{
		"no token":      {"", "sys/internal/ui/mounts", "0"},
		"a bad token":   {"evr_s_nope", "sys/internal/ui/mounts", "0"},
		"not refused":   {"evr_s_nope", "sys/mounts", "0"},
		"no number":     {"root", "sys/mounts", "x"},
		"a negative":    {"root", "sys/mounts", "-1"},
		"an error":      {"root", "prod/data/none", "0"},
		"health":        {"root", "sys/health", "0"},
		"nothing asked": {"root", "sys/mounts", ""},
	} {
		if shown, ok := header(c[0], c[1], c[2]); ok {
			t.Errorf("%s: %+v", name, shown)
		}
	}
}

// A page with proofs leads to the checkpoint that it names, with what has grown since the one that was seen.
func TestAuditLogProofs(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		w.ask("root", http.MethodGet, "sys/mounts", "")
	}
	var was wire.AuditCheckpoint
	w.read(t, "sys/audit-log/checkpoint", &was)
	if was.Size != 10 {
		t.Fatalf("%+v", was)
	}
	seen, err := audit.OpenCheckpoint([]byte(was.Checkpoint), was.Key)
	if err != nil {
		t.Fatal(err)
	}
	var page wire.AuditEntries
	w.read(t, "sys/audit-log/entries?lines=true&proofs=true&newest=true&limit=3&seen=10", &page)
	in, err := audit.OpenCheckpoint([]byte(page.Checkpoint), was.Key)
	if err != nil || in.Size != 12 || len(page.Entries) != 3 || page.Back != 9 {
		t.Fatalf("%+v, %+v, %v", in, page, err)
	}
	if err := tlog.CheckTree(page.Growth, in.Size, in.Root, seen.Size, seen.Root); err != nil {
		t.Error(err)
	}
	for _, e := range page.Entries {
		if _, err := in.Holds(e.Index, e.Line, e.Hashes); err != nil {
			t.Error(err)
		}
	}
	var back wire.AuditEntries
	w.read(t, "sys/audit-log/entries?lines=true&proofs=true&newest=true&limit=100&quiet=true&to=9", &back)
	if len(back.Entries) != 9 || back.Back != 0 {
		t.Errorf("%d entries, back %d", len(back.Entries), back.Back)
	}
	if s := w.ask("root", http.MethodGet, "sys/audit-log/checkpoint?seen=x", ""); s.status != http.StatusBadRequest {
		t.Errorf("%d %s", s.status, s.raw)
	}
}

// read is the data of an answer.
func (w *world) read(t *testing.T, path string, data any) {
	t.Helper()
	s := w.ask("root", http.MethodGet, path, "")
	if s.status != http.StatusOK {
		t.Fatalf("%s: %d %s", path, s.status, s.raw)
	}
	answer := struct{ Data any }{data}
	if err := json.Unmarshal([]byte(s.raw), &answer); err != nil {
		t.Fatal(err)
	}
}

// Who has no policy for it reads no entries, and may still hold the server to its past.
func TestAuditLogPermissions(t *testing.T) {
	w := newWorld(t)
	if err := w.KeepCheckpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := w.ask("root", http.MethodPost, "auth/token/create", `{"policies":["default"]}`)
	auth, _ := s.body["auth"].(map[string]any)
	dev, _ := auth["client_token"].(string)
	if dev == "" {
		t.Fatalf("%d %s", s.status, s.raw)
	}
	for path, want := range map[string]int{
		"sys/audit-log/checkpoint": http.StatusOK,
		"sys/audit-log/growth/0/0": http.StatusOK,
		"sys/audit-log/entries":    http.StatusForbidden,
		"sys/audit-log/proof/0":    http.StatusForbidden,
		"sys/audit-log/nodes/0":    http.StatusForbidden,
	} {
		if s := w.ask(dev, http.MethodGet, path, ""); s.status != want {
			t.Errorf("%s: %d %s", path, s.status, s.raw)
		}
		if s := w.ask("", http.MethodGet, path, ""); s.status != http.StatusForbidden {
			t.Errorf("%s without a token: %d %s", path, s.status, s.raw)
		}
		if s := w.ask("root", http.MethodPost, path, "{}"); s.status != http.StatusMethodNotAllowed {
			t.Errorf("%s is written: %d %s", path, s.status, s.raw)
		}
	}
}

func TestAuditLogRefuses(t *testing.T) {
	w := newWorld(t)
	if err := w.KeepCheckpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{
		"sys/audit-log/growth/5/1":                       http.StatusBadRequest,
		"sys/audit-log/growth/0/9999":                    http.StatusBadRequest,
		"sys/audit-log/growth/-1/0":                      http.StatusBadRequest,
		"sys/audit-log/growth/x/0":                       http.StatusBadRequest,
		"sys/audit-log/proof/9999":                       http.StatusNotFound,
		"sys/audit-log/proof/x":                          http.StatusBadRequest,
		"sys/audit-log/nodes/9999":                       http.StatusBadRequest,
		"sys/audit-log/entries?since=yesterday":          http.StatusBadRequest,
		"sys/audit-log/entries?type=all":                 http.StatusBadRequest,
		"sys/audit-log/entries?limit=-1":                 http.StatusBadRequest,
		"sys/audit-log/entries?newest=perhaps":           http.StatusBadRequest,
		"sys/audit-log/entries?from=9223372036854775808": http.StatusBadRequest,
		"sys/audit-log/entries?from=9223372036854775807": http.StatusOK,
		"sys/audit-log/entries?since=1h&limit=999999":    http.StatusOK,
		"sys/audit-log/other":                            http.StatusNotFound,
	} {
		if s := w.ask("root", http.MethodGet, path, ""); s.status != want {
			t.Errorf("%s: %d %s", path, s.status, s.raw)
		}
	}
}

// Somebody who takes the newest entries away behind the back of the server is told of.
func TestAuditLogTampered(t *testing.T) {
	w := newWorld(t)
	w.ask("root", http.MethodGet, "sys/mounts", "")
	if err := w.KeepCheckpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	const says = `"audit_problems":["audit log: `
	if s := w.ask("", http.MethodGet, "sys/health", ""); strings.Contains(s.raw, says) {
		t.Errorf("%s", s.raw)
	}
	if err := w.db.Write(t.Context(), func(tx server.Tx) error { return tx.AppendAudit(nil, audit.Head{}) }); err != nil {
		t.Fatal(err)
	}
	if err := w.KeepCheckpoint(t.Context()); vault.KindOf(err) != vault.KindTampered || !strings.Contains(err.Error(), "the newest were cut off") {
		t.Errorf("%v", err)
	}
	if s := w.ask("", http.MethodGet, "sys/health", ""); !strings.Contains(s.raw, says) {
		t.Errorf("%s", s.raw)
	}
}
