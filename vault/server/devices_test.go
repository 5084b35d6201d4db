package server_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"envrun/vault/server"
)

// A required device that takes no entry refuses every request, and the answer and
// the health say which and why.
func TestDeviceThatRefuses(t *testing.T) {
	w := newWorld(t)
	if s := w.ask("root", http.MethodPut, "secret/data/app", `{"data":{"A":"value-1"}}`); s.status != http.StatusOK && s.status != http.StatusNotFound {
		t.Fatalf("%d %s", s.status, s.raw)
	}
	w.log.fail = errors.New("audit device main: write audit.log: no space left on device")
	for _, c := range [][2]string{{http.MethodGet, "sys/mounts"}, {http.MethodPut, "sys/policies/acl/x"}, {http.MethodDelete, "sys/policies/acl/x"}, {"LIST", "sys/policies/acl"}, {http.MethodGet, "nowhere/x"}} {
		s := w.ask("root", c[0], c[1], `{"policy":"path \"a\" { capabilities = [\"read\"] }"}`)
		if s.status != http.StatusInternalServerError || !strings.Contains(s.raw, "audit device main: write audit.log: no space left on device") {
			t.Errorf("%s %s: %d %s", c[0], c[1], s.status, s.raw)
		}
	}
	s := w.ask("", http.MethodGet, "sys/health", "")
	if s.status != http.StatusOK || !strings.Contains(s.raw, `"audit_problems":["audit device main: write audit.log: no space left on device"]`) {
		t.Errorf("%d %s", s.status, s.raw)
	}
	w.log.fail = nil
	if s := w.ask("root", http.MethodGet, "sys/policies/acl/x", ""); s.status != http.StatusNotFound {
		t.Errorf("a change whose intent was not taken was made: %d %s", s.status, s.raw)
	}
	if s := w.ask("", http.MethodGet, "sys/health", ""); strings.Contains(s.raw, "audit_problems") {
		t.Errorf("%s", s.raw)
	}
}

func TestDevicesAreListed(t *testing.T) {
	w := sealedWorld(t)
	w.AuditDevices = []server.AuditDevice{{Name: "main", Type: "file", Required: true}}
	if _, _, err := w.Init(t.Context(), server.Setup{Sealers: sealers(t)[1:], Token: "root", Open: true}); err != nil {
		t.Fatal(err)
	}
	s := w.ask("root", http.MethodGet, "sys/audit", "")
	for name, kind := range map[string]string{"log/": "log", "main/": "file"} {
		for _, at := range []map[string]any{s.data(), s.body} { // N and H read the top level
			d, _ := at[name].(map[string]any)
			if d["type"] != kind || d["path"] != name {
				t.Errorf("%s: %v", name, d)
			}
		}
	}
	var hashes []string
	for _, name := range []string{"log", "main"} {
		hashes = append(hashes, w.ask("root", http.MethodPut, "sys/audit-hash/"+name, `{"input":"root"}`).text("hash"))
	}
	if hashes[0] == "" || hashes[0] != hashes[1] || w.log.all()[0].Auth.ClientToken.String() != hashes[0] {
		t.Errorf("%v", hashes)
	}
	if s := w.ask("root", http.MethodPut, "sys/audit-hash/other", `{"input":"root"}`); s.status != http.StatusBadRequest {
		t.Errorf("%d %s", s.status, s.raw)
	}
}
