package server_test

import (
	"strings"
	"testing"
)

func TestMetrics(t *testing.T) {
	w := newWorld(t)
	w.must(204, "root", "POST", "sys/mounts/prod", `{"type":"kv-v2"}`)
	w.must(404, "root", "GET", "prod/data/canary-path", "")
	w.must(403, "", "GET", "sys/metrics?format=prometheus", "")
	w.must(403, w.token(`path "prod/*" { capabilities = ["read"] }`), "GET", "sys/metrics?format=prometheus", "")
	w.must(400, "root", "GET", "prod/data/../x", "")
	w.must(400, "root", "GET", "sys/metrics", "")
	s := w.must(200, w.token(`path "sys/metrics" { capabilities = ["read"] }`), "GET", "sys/metrics?format=prometheus", "")
	if got := s.header.Get("Content-Type"); got != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("type %s", got)
	}
	for _, line := range []string{
		`envrun_requests_total{operation="read",status="4xx"} 4`,
		`envrun_requests_total{operation="update",status="2xx"} `,
		"envrun_requests_refused_total 1",
		`envrun_request_seconds_bucket{le="+Inf"} `,
		"envrun_requests_in_flight 1",
		"envrun_unsealed 1",
	} {
		if !strings.Contains(s.raw, line) {
			t.Errorf("no line %q in\n%s", line, s.raw)
		}
	}
	if strings.Contains(s.raw, "canary") || strings.Contains(s.raw, "root") {
		t.Error("a path or a token is among the metrics")
	}
}
