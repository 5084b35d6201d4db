package server

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"envrun/vault/policy"
)

// metrics is what the server counts of itself: how many requests, how they ended,
// how long they took. No path, token or name is in it.
type metrics struct {
	requests [policy.OpHelp + 1][6]atomic.Uint64 // by operation, and the first digit of the status
	refused  atomic.Uint64                       // that could not be read, or for which there was no room
	took     [len(bounds) + 1]atomic.Uint64
	nanos    atomic.Int64
	began    time.Time
}

// bounds are the upper bounds of the histogram's buckets.
var bounds = [...]time.Duration{
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, time.Second, 5 * time.Second,
}

func (m *metrics) count(op policy.Op, status int, took time.Duration) {
	m.requests[op][min(max(status/100, 0), 5)].Add(1)
	i := 0
	for i < len(bounds) && took > bounds[i] {
		i++
	}
	m.took[i].Add(1)
	m.nanos.Add(int64(took))
}

// Served is how many requests were answered so far.
func (s *Server) Served() (n uint64) {
	for i := range s.metrics.took {
		n += s.metrics.took[i].Load()
	}
	return n + s.metrics.refused.Load()
}

// counted remembers the status that an answer had.
type counted struct {
	http.ResponseWriter
	status int
}

func (c *counted) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// measures is sys/metrics.
type measures struct{ s *Server }

func (m measures) area() area { return area{{path: "metrics", read: m.read}} }

// read answers in the text form of Prometheus, the only one there is.
func (m measures) read(c *call, _ []string) (*answer, error) {
	if format, _ := c.Request().Params["format"].(string); format != "prometheus" {
		return nil, bad("there is one format: ?format=prometheus")
	}
	return &answer{Status: http.StatusOK, Body: &reply{text: []byte(m.s.metrics.text(m.s)), kind: "text/plain; version=0.0.4; charset=utf-8"}}, nil
}

func (m *metrics) text(s *Server) string {
	var b strings.Builder
	head := func(name, kind, help string) {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
	}
	head("envrun_requests_total", "counter", "Requests, by operation and class of status.")
	for op := range m.requests {
		for class := range m.requests[op] {
			if n := m.requests[op][class].Load(); n > 0 {
				fmt.Fprintf(&b, "envrun_requests_total{operation=%q,status=\"%dxx\"} %d\n", policy.Op(op).String(), class, n)
			}
		}
	}
	head("envrun_requests_refused_total", "counter", "Requests that could not be read, or for which there was no room.")
	fmt.Fprintf(&b, "envrun_requests_refused_total %d\n", m.refused.Load())
	if l := s.limits; l != nil {
		head("envrun_requests_limited_total", "counter", "Requests that a limit of one client refused.")
		fmt.Fprintf(&b, "envrun_requests_limited_total{of=\"token\"} %d\nenvrun_requests_limited_total{of=\"address\"} %d\nenvrun_requests_limited_total{of=\"login\"} %d\n", l.byToken.Load(), l.byAddress.Load(), l.byLogin.Load())
	}
	head("envrun_request_seconds", "histogram", "How long requests took.")
	sum := uint64(0)
	for i, bound := range bounds {
		sum += m.took[i].Load()
		fmt.Fprintf(&b, "envrun_request_seconds_bucket{le=\"%g\"} %d\n", bound.Seconds(), sum)
	}
	sum += m.took[len(bounds)].Load()
	fmt.Fprintf(&b, "envrun_request_seconds_bucket{le=\"+Inf\"} %d\nenvrun_request_seconds_sum %g\nenvrun_request_seconds_count %d\n",
		sum, time.Duration(m.nanos.Load()).Seconds(), sum)
	head("envrun_requests_in_flight", "gauge", "Requests that are under way.")
	fmt.Fprintf(&b, "envrun_requests_in_flight %d\n", len(s.slots))
	if o := s.open.Load(); o != nil {
		head("envrun_streams", "gauge", "Clients that are told of changes.")
		fmt.Fprintf(&b, "envrun_streams %d\n", o.hub.streams())
	}
	head("envrun_unsealed", "gauge", "1 while the server is unsealed.")
	fmt.Fprintf(&b, "envrun_unsealed 1\n") // sealed, it answers nothing of this
	if s.AuditProblems != nil {
		head("envrun_audit_devices_failing", "gauge", "Audit devices that do not take entries.")
		fmt.Fprintf(&b, "envrun_audit_devices_failing %d\n", len(s.AuditProblems()))
	}
	head("envrun_start_time_seconds", "gauge", "When the server started, in Unix time.")
	fmt.Fprintf(&b, "envrun_start_time_seconds %d\n", m.began.Unix())
	return b.String()
}
