package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"envrun/cmd/internal/cli"
	"envrun/vault/audit"
)

// What is suspected of a server is said once, with what to do, and while the interface has
// the terminal it is said there.
func TestSuspect(t *testing.T) {
	var said []string
	u := &tool{Streams: cli.Streams{}, notice: func(s string) { said = append(said, s) }}
	for _, why := range []string{"its history was \x1b[2Jrewritten", "its history was \x1b[2Jrewritten", "the newest were cut off"} {
		u.suspect("prod", errors.New(why))
	}
	if len(said) != 2 || strings.Contains(said[0], "\x1b") || !strings.Contains(said[0], "envrun audit forget -e prod") || !strings.Contains(said[1], "cut off") {
		t.Errorf("%q", said)
	}
}

func TestAuditTime(t *testing.T) {
	zone := time.FixedZone("", 3600)
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, zone)
	u := &tool{now: func() time.Time { return now }}
	for s, want := range map[string]time.Time{
		"":                     {},
		"2h":                   now.Add(-2 * time.Hour),
		"7d":                   now.AddDate(0, 0, -7),
		"2026-11-20":           time.Date(2026, 11, 20, 0, 0, 0, 0, zone),
		"2026-11-20T04:05":     time.Date(2026, 11, 20, 4, 5, 0, 0, zone),
		"2026-11-20 04:05:06":  time.Date(2026, 11, 20, 4, 5, 6, 0, zone),
		"2026-11-20T04:05:06Z": time.Date(2026, 11, 20, 4, 5, 6, 0, time.UTC),
	} {
		if got, err := u.auditTime("--since", s); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"yesterday", "-2h", "2026-13-01", "4", "2026"} {
		if got, err := u.auditTime("--since", s); err == nil {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func TestEntryInWords(t *testing.T) {
	yes, no := &audit.PolicyResults{Allowed: true}, &audit.PolicyResults{}
	for _, c := range []struct {
		e            audit.Entry
		who, outcome string
		facts        string
	}{
		{audit.Entry{Type: audit.Outcome, Status: 200, Auth: audit.Auth{DisplayName: "oidc-ann", Metadata: map[string]string{"email": "ann@example.dev"}}, Response: &audit.Response{Data: &audit.Data{Version: 3}}},
			"oidc-ann <ann@example.dev>", "ok", "version 3"},
		{audit.Entry{Type: audit.Outcome, Status: 204, Auth: audit.Auth{DisplayName: "token", Policies: []string{"default", "ci"}}}, "token (ci)", "ok", "-"},
		{audit.Entry{Type: audit.Outcome, Status: 403, Error: "permission denied", Auth: audit.Auth{PolicyResults: no}}, "nobody", "DENIED", "-"},
		{audit.Entry{Type: audit.Outcome, Status: 403, Error: "permission denied: invalid token", Request: audit.Request{ClientToken: audit.NewHasher(make([]byte, 32)).Hash("x")}}, "an unknown token", "DENIED", "permission denied: invalid token"},
		{audit.Entry{Type: audit.Outcome, Status: 404, Auth: audit.Auth{EntityID: "e-1"}}, "e-1", "not there", "-"},
		{audit.Entry{Type: audit.Outcome, Status: 400, Error: "invalid"}, "nobody", "refused 400", "invalid"},
		{audit.Entry{Type: audit.Outcome, Status: 500, Error: "internal error"}, "nobody", "FAILED 500", "internal error"},
		{audit.Entry{Type: audit.Intent, Auth: audit.Auth{DisplayName: "ann", PolicyResults: yes}}, "ann", "asked", "-"},
		{audit.Entry{Type: audit.Intent, Auth: audit.Auth{DisplayName: "ann", PolicyResults: no}}, "ann", "DENIED", "-"},
		{audit.Entry{Type: audit.Outcome, Status: 200, Auth: audit.Auth{DisplayName: "ann"}, Request: audit.Request{Data: &audit.Data{Reason: "incident 7", Ticket: "OPS-1", Keys: []string{"A", "B"}}}},
			"ann", "ok", "reason: incident 7, ticket OPS-1, fields A B"},
	} {
		if who, outcome, facts := whoOf(c.e), outcomeOf(c.e), factsOfEntry(c.e); who != c.who || outcome != c.outcome || facts != c.facts {
			t.Errorf("%q, %q, %q", who, outcome, facts)
		}
	}
}
