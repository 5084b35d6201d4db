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
