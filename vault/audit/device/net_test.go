package device_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"envrun/vault"
	"envrun/vault/audit"
	"envrun/vault/audit/device"
)

// certificate is one for 127.0.0.1, and who trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	srv := httptest.NewTLSServer(nil)
	defer srv.Close()
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	return srv.TLS.Certificates[0], pool
}

// A receiver of syslog over a stream: it checks the framing, and passes the messages on.
type receiver struct {
	net.Listener
	messages chan string

	mu    sync.Mutex
	conns []net.Conn
}

func receive(t *testing.T, config *tls.Config) *receiver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	r := &receiver{Listener: l, messages: make(chan string, 1000)}
	t.Cleanup(r.hangUp)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			r.conns = append(r.conns, c)
			r.mu.Unlock()
			go r.serve(t, c)
		}
	}()
	return r
}

func (r *receiver) serve(t *testing.T, c net.Conn) {
	in := bufio.NewReader(c)
	for {
		digits, err := in.ReadString(' ')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.TrimSuffix(digits, " "))
		if err != nil {
			t.Errorf("a message begins with %q", digits)
			return
		}
		m := make([]byte, n)
		if _, err := io.ReadFull(in, m); err != nil {
			return
		}
		r.messages <- string(m)
	}
}

// hangUp closes what is open.
func (r *receiver) hangUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		c.Close()
	}
	r.conns = nil
}

func (r *receiver) next(t *testing.T) string {
	t.Helper()
	select {
	case m := <-r.messages:
		return m
	case <-time.After(patient):
		t.Fatal("no message came")
		return ""
	}
}

func message(l audit.Line, pri int, rest string) string {
	return fmt.Sprintf(`<%d>1 2026-11-23T01:02:03.456789Z host1 envrun %d request [envrun@32473 entry="%s" id="%s" who="ann" op="read" path="prod/data/app"%s] %s`,
		pri, os.Getpid(), l.Leaf(), l.Entry().Request.ID, rest, l)
}

func TestSyslogOverStreams(t *testing.T) {
	cert, pool := certificate(t)
	for network, config := range map[string]*tls.Config{"tcp": nil, "tls": {Certificates: []tls.Certificate{cert}}} {
		r := receive(t, config)
		s := open(t, device.Config{Name: "siem", Required: true, Deadline: patient, Syslog: &device.Syslog{Network: network, Address: r.Addr().String(), TLS: &tls.Config{RootCAs: pool}}})
		if err := s.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		write(t, s, line(1), line(2))
		for n := 1; n <= 2; n++ {
			if got, want := r.next(t), message(line(n), 86, ""); got != want {
				t.Errorf("%s: %s\nwant %s", network, got, want)
			}
		}
		// The receiver ends the connection. The protocol cannot tell that a line was
		// lost until the end has arrived here; from then on there is a new connection.
		r.hangUp()
		sent := 100
		for arrived := false; !arrived; sent++ {
			write(t, s, line(sent))
			select {
			case m := <-r.messages:
				arrived = strings.Contains(m, ` id="id-1`)
			case <-time.After(20 * time.Millisecond):
				if sent == 1000 {
					t.Fatalf("%s: no line arrives after the end of a connection", network)
				}
			}
		}
		s.Reopen()
		write(t, s, line(6))
		for !strings.Contains(r.next(t), ` id="id-6"`) {
		}
	}
}

func TestSyslogSeverityAndEscapes(t *testing.T) {
	r := receive(t, nil)
	s := open(t, device.Config{Name: "siem", Required: true, Deadline: patient, Syslog: &device.Syslog{Network: "tcp", Address: r.Addr().String(), Facility: 13}})
	e := line(1).Entry()
	e.Type, e.Status, e.Error = audit.Outcome, 403, "permission denied"
	e.Request.Path = "prod/data/a\n\"]\\ü" + strings.Repeat("x", 500)
	write(t, s, e.Line())
	got := r.next(t)
	if !strings.HasPrefix(got, "<108>1 ") || !strings.Contains(got, " response [envrun@32473 ") || !strings.Contains(got, ` path="prod/data/a?\"\]\\?xxx`) || !strings.Contains(got, `x" status="403"] {"auth":`) || strings.Contains(got, "\n") {
		t.Errorf("%s", got)
	}
}

func TestSyslogOverUDP(t *testing.T) {
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := open(t, device.Config{Name: "siem", Deadline: patient, Syslog: &device.Syslog{Network: "udp", Address: l.LocalAddr().String()}})
	e := line(2).Entry()
	e.Request.Data = &audit.Data{Keys: strings.Fields(strings.Repeat("FIELD ", 400)), Policies: strings.Fields(strings.Repeat("policy ", 400)), Reason: strings.Repeat("r", 256)}
	long := e.Line()
	write(t, s, line(1), long)
	buf := make([]byte, 1<<16)
	if err := l.SetReadDeadline(time.Now().Add(patient)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		message(line(1), 86, ""),
		strings.TrimSuffix(message(long, 86, ""), long.String()) + fmt.Sprintf(`{"bytes":%d,"elided":true,"entry":"%s"}`, len(long.String()), long.Leaf()),
	} {
		n, _, err := l.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(buf[:n]); got != want || n > 2048 {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}

func TestSyslogRefused(t *testing.T) {
	cert, _ := certificate(t)
	r := receive(t, &tls.Config{Certificates: []tls.Certificate{cert}})
	old := receive(t, &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: tls.VersionTLS11})
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	for name, c := range map[string]device.Syslog{
		"nobody listens": {Network: "tcp", Address: gone.Addr().String()},
		"not trusted":    {Network: "tls", Address: r.Addr().String()},
		"another name":   {Network: "tls", Address: r.Addr().String(), TLS: &tls.Config{ServerName: "siem.example.dev"}},
		"an old TLS":     {Network: "tls", Address: old.Addr().String(), TLS: &tls.Config{InsecureSkipVerify: true}},
		"no such host":   {Network: "tcp", Address: "siem.invalid:514"},
	} {
		s := open(t, device.Config{Name: "siem", Required: true, Deadline: 20 * time.Second, Syslog: &c})
		if err := s.Write(t.Context(), line(1)); vault.KindOf(err) != vault.KindUnavailable || !strings.Contains(err.Error(), "audit device siem: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A receiver that reads no more fills up, and is given up at the deadline.
func TestSyslogThatReadsNoMore(t *testing.T) {
	s := open(t, device.Config{Name: "siem", Required: true, Deadline: 300 * time.Millisecond, Syslog: &device.Syslog{Network: "tcp", Address: silent(t)}})
	var many []audit.Line
	for n := range 250 {
		many = append(many, line(n))
	}
	var err error
	for n := 0; err == nil && n < 1000; n++ {
		err = s.Write(t.Context(), many...)
	}
	if vault.KindOf(err) != vault.KindUnavailable || !strings.Contains(err.Error(), "audit device siem: it did not ") {
		t.Errorf("%v", err)
	}
}

// A collector answers as it is told, and keeps what it was sent.
type collector struct {
	*httptest.Server
	mu       sync.Mutex
	answer   func(n int, w http.ResponseWriter)
	requests []*http.Request
	bodies   []string
}

func collect(t *testing.T, answer func(n int, w http.ResponseWriter)) *collector {
	c := &collector{answer: answer}
	c.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.requests, c.bodies = append(c.requests, r), append(c.bodies, string(body))
		c.answer(len(c.requests), w)
	}))
	t.Cleanup(c.Server.Close)
	return c
}

func (c *collector) device(format, path string) device.Config {
	pool := x509.NewCertPool()
	pool.AddCert(c.Certificate())
	return device.Config{Name: "collector", Required: true, Deadline: patient,
		HTTP: &device.HTTP{URL: c.URL + path, Format: format, Token: vault.NewValueString("s3cret"), Index: "audit", TLS: &tls.Config{RootCAs: pool}}}
}

func says(text string) func(int, http.ResponseWriter) {
	return func(_ int, w http.ResponseWriter) { _, _ = io.WriteString(w, text) }
}

func TestJSON(t *testing.T) {
	c := collect(t, says(""))
	s := open(t, c.device("json", "/in"))
	if err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(t, s, line(1), line(2))
	r := c.requests[0]
	if r.URL.Path != "/in" || r.Method != "POST" || r.Header.Get("Authorization") != "Bearer s3cret" || r.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
	}
	if c.bodies[0] != line(1).String()+"\n"+line(2).String()+"\n" {
		t.Errorf("%s", c.bodies[0])
	}
}

func TestSplunk(t *testing.T) {
	c := collect(t, says(`{"text":"Success","code":0}`))
	s := open(t, c.device("splunk", ""))
	write(t, s, line(1), line(2))
	if r := c.requests[0]; r.URL.Path != "/services/collector/event" || r.Header.Get("Authorization") != "Splunk s3cret" {
		t.Errorf("%s %v", r.URL, r.Header)
	}
	want := ""
	for n := 1; n <= 2; n++ {
		leaf := line(n).Leaf()
		want += fmt.Sprintf(`{"time":1795395723.456789,"host":"host1","source":"envrun","sourcetype":"envrun:audit","index":"audit","event":%s,"fields":{"entry":"%x"}}`+"\n", line(n), leaf[:])
	}
	if c.bodies[0] != want {
		t.Errorf("%s\nwant %s", c.bodies[0], want)
	}
}

func TestElastic(t *testing.T) {
	c := collect(t, says(`{"took":1,"errors":false,"items":[]}`))
	s := open(t, c.device("elastic", "/es"))
	e := line(2).Entry()
	e.Type, e.Status, e.Error, e.Request.Operation = audit.Outcome, 403, "permission denied", "update"
	e.Request.Headers = &audit.Headers{UserAgent: []string{"vault <1>"}}
	denied := e.Line()
	write(t, s, line(1), denied)
	if r := c.requests[0]; r.URL.Path != "/es/audit/_bulk" || r.Header.Get("Authorization") != "ApiKey s3cret" || r.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("%s %v", r.URL, r.Header)
	}
	one, two := line(1).Leaf(), denied.Leaf()
	want := fmt.Sprintf(`{"create":{"_id":"%x"}}
{"@timestamp":"2026-11-23T01:02:03.456789Z","ecs":{"version":"8.17.0"},"event":{"kind":"event","category":["database"],"type":["access"],"action":"read","outcome":"unknown","id":"%[1]x"},"user":{"name":"ann"},"source":{"ip":"10.0.0.9","port":4},"url":{"path":"/v1/prod/data/app"},"service":{"name":"envrun"},"envrun":%[2]s}
{"create":{"_id":"%[3]x"}}
{"@timestamp":"2026-11-23T01:02:03.456789Z","ecs":{"version":"8.17.0"},"event":{"kind":"event","category":["database"],"type":["change","denied"],"action":"update","outcome":"failure","id":"%[3]x","reason":"permission denied"},"user":{"name":"ann"},"source":{"ip":"10.0.0.9","port":4},"url":{"path":"/v1/prod/data/app"},"user_agent":{"original":"vault <1>"},"service":{"name":"envrun"},"envrun":%[4]s}
`, one[:], line(1), two[:], denied)
	if c.bodies[0] != want {
		t.Errorf("%s\nwant %s", c.bodies[0], want)
	}
	for l := range strings.Lines(c.bodies[0]) {
		if !json.Valid([]byte(l)) {
			t.Errorf("not JSON: %s", l)
		}
	}
}

func TestAnswersThatRefuse(t *testing.T) {
	status := func(code int) func(int, http.ResponseWriter) {
		return func(_ int, w http.ResponseWriter) { w.WriteHeader(code) }
	}
	for name, c := range map[string]struct {
		format string
		answer func(int, http.ResponseWriter)
		says   string
	}{
		"json, 500":            {"json", status(500), "it answered 500"},
		"json, 401":            {"json", status(401), "it answered 401"},
		"json, 400":            {"json", status(400), "it answered 400"},
		"json, a redirect":     {"json", func(_ int, w http.ResponseWriter) { w.Header().Set("Location", "/elsewhere"); w.WriteHeader(307) }, "it answered 307"},
		"splunk, a code":       {"splunk", says(`{"text":"hunter2","code":6}`), "it answered with code 6"},
		"splunk, no answer":    {"splunk", says(``), "not one of an event collector"},
		"splunk, a login page": {"splunk", says(`<html>`), "not one of an event collector"},
		"elastic, a document":  {"elastic", says(`{"errors":true,"items":[{"create":{"status":201}},{"create":{"status":403}}]}`), "a document with 403"},
		"elastic, a mapping":   {"elastic", says(`{"errors":true,"items":[{"create":{"status":400}}]}`), "a document with 400"},
		"elastic, nothing":     {"elastic", says(`{}`), "not one of the bulk API"},
		"elastic, text":        {"elastic", says(`ok`), "not one of the bulk API"},
	} {
		s := open(t, collect(t, c.answer).device(c.format, ""))
		err := s.Write(t.Context(), line(1))
		if vault.KindOf(err) != vault.KindUnavailable || !strings.Contains(err.Error(), "audit device collector: ") || !strings.Contains(err.Error(), c.says) ||
			strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnswersThatAreTakenForYes(t *testing.T) {
	c := collect(t, says(`{"errors":true,"items":[{"create":{"status":409}},{"create":{"status":201}}]}`))
	write(t, open(t, c.device("elastic", "")), line(1), line(2)) // one of them was there already

	busy := func(n int, w http.ResponseWriter) {
		switch n {
		case 1:
			w.WriteHeader(503)
		case 2:
			w.WriteHeader(429)
		default:
			_, _ = io.WriteString(w, `{"code":0}`)
		}
	}
	c = collect(t, busy)
	write(t, open(t, c.device("splunk", "")), line(1))
	if len(c.requests) != 3 || c.bodies[0] != c.bodies[2] {
		t.Errorf("%d requests", len(c.requests))
	}
}

func TestCollectorThatIsBusyOrHangs(t *testing.T) {
	stop := make(chan struct{})
	for name, answer := range map[string]func(int, http.ResponseWriter){
		"busy":  func(_ int, w http.ResponseWriter) { w.WriteHeader(503) },
		"hangs": func(int, http.ResponseWriter) { <-stop },
	} {
		c := collect(t, answer)
		config := c.device("json", "")
		config.Deadline = 300 * time.Millisecond
		s := open(t, config)
		if err := s.Write(t.Context(), line(1)); vault.KindOf(err) != vault.KindUnavailable || !strings.Contains(err.Error(), "audit device collector: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	close(stop)
}

// A batch that a best-effort collector refuses for good is dropped, not sent for ever.
func TestBestEffortRefusedForGood(t *testing.T) {
	c := collect(t, func(n int, w http.ResponseWriter) {
		if n == 1 {
			w.WriteHeader(400)
		}
	})
	config := c.device("json", "")
	config.Required = false
	s := open(t, config)
	write(t, s, line(1))
	for end := time.Now().Add(patient); s.Health()[0].Dropped == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	write(t, s, line(2))
	for end := time.Now().Add(patient); s.Health()[0].Written == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	if h := s.Health()[0]; h.Dropped != 1 || h.Written != 1 || h.Problem != "" {
		t.Errorf("%+v", h)
	}
}
