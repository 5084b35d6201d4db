package device

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"envrun/vault/audit"
)

// Syslog is a receiver of RFC 5424 messages: one for each line, with the line as
// its text and the main facts as structured data. Over TCP and TLS they are
// framed by octet counting (RFC 6587, RFC 5425); a line counts as taken when the
// system took it for sending, since the protocol has no answer. Over UDP a line
// of more than 2048 bytes in all is sent without its text, by its hash.
type Syslog struct {
	Network  string      // "udp", "tcp" or "tls"
	Address  string      // host:port
	TLS      *tls.Config // for "tls"; nil trusts the system's roots
	Facility int         // 0…23; 0 is 10, authpriv, since the kernel's is nobody else's
}

const (
	maxDatagram = 2048 // what a receiver of RFC 5424 should take
	authpriv    = 10
	informal    = 6
	warning     = 4
)

// sdID names the structured data. The number is the one that is reserved for
// examples (RFC 5612): we have no enterprise number of our own.
const sdID = "envrun@32473"

func (c *Syslog) sink(host string) (sink, error) {
	s := &syslog{Syslog: *c, host: header(host, 255), pid: strconv.Itoa(os.Getpid())}
	switch c.Network {
	case "tls":
		s.TLS = atLeast12(c.TLS)
		if s.TLS.ServerName == "" {
			s.TLS.ServerName, _, _ = net.SplitHostPort(c.Address)
		}
	case "udp", "tcp":
	default:
		return nil, errors.New("syslog goes over udp, tcp or tls")
	}
	if h, port, err := net.SplitHostPort(c.Address); err != nil || h == "" || port == "" {
		return nil, errors.New("its address is not of the form host:port")
	}
	if c.Facility < 0 || c.Facility > 23 {
		return nil, errors.New("its facility is not one of 0 to 23")
	}
	if s.Facility == 0 {
		s.Facility = authpriv
	}
	return s, nil
}

func atLeast12(c *tls.Config) *tls.Config {
	if c == nil {
		return &tls.Config{MinVersion: tls.VersionTLS12}
	}
	c = c.Clone()
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	return c
}

type syslog struct {
	Syslog
	host, pid string

	conn net.Conn
	gone *atomic.Bool // the receiver closed conn
}

func (s *syslog) low() bool { return false }

func (s *syslog) reopen() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

func (s *syslog) open(ctx context.Context) error {
	if s.conn != nil && !s.gone.Load() {
		return nil
	}
	s.reopen()
	var conn net.Conn
	var err error
	switch s.Network {
	case "tls":
		conn, err = (&tls.Dialer{Config: s.TLS}).DialContext(ctx, "tcp", s.Address)
	default:
		conn, err = (&net.Dialer{}).DialContext(ctx, s.Network, s.Address)
	}
	if err != nil {
		return err
	}
	s.conn, s.gone = conn, &atomic.Bool{}
	if s.Network != "udp" {
		// Nothing is ever answered: what comes is the end. Without it a line that is
		// written to a connection which the receiver closed seems to be sent.
		go func(gone *atomic.Bool) {
			_, _ = io.Copy(io.Discard, conn)
			gone.Store(true)
		}(s.gone)
	}
	return nil
}

func (s *syslog) write(ctx context.Context, lines []audit.Line) (int, error) {
	for try := 0; ; try++ {
		err := s.open(ctx)
		n := 0
		if err == nil {
			deadline, _ := ctx.Deadline()
			_ = s.conn.SetWriteDeadline(deadline)
			n, err = s.send(lines)
		}
		if err == nil {
			return len(lines), nil
		}
		s.reopen() // the receiver would read on in the middle of a message
		lines = lines[n:]
		if try > 0 || ctx.Err() != nil {
			return n, err
		}
	}
}

// send writes the messages, and says how many of them need not be sent again:
// over a stream none, if any of it failed.
func (s *syslog) send(lines []audit.Line) (int, error) {
	if s.Network == "udp" {
		for i, l := range lines {
			m := s.message(l, l.String())
			if len(m) > maxDatagram {
				m = s.message(l, elided(l))
			}
			if _, err := s.conn.Write(m); err != nil {
				return i, err
			}
		}
		return len(lines), nil
	}
	var b bytes.Buffer
	for _, l := range lines {
		m := s.message(l, l.String())
		b.WriteString(strconv.Itoa(len(m)))
		b.WriteByte(' ')
		b.Write(m)
	}
	_, err := s.conn.Write(b.Bytes())
	return 0, err
}

// elided stands for a line that is too long.
func elided(l audit.Line) string {
	text, _ := json.Marshal(struct { // it cannot fail: a number and a string
		Bytes  int    `json:"bytes"`
		Elided bool   `json:"elided"`
		Entry  string `json:"entry"`
	}{len(l.String()), true, l.Leaf().String()})
	return string(text)
}

// message is one message of RFC 5424. The text has no byte order mark, which is
// allowed and lets receivers read it as the JSON that it is.
func (s *syslog) message(l audit.Line, text string) []byte {
	e := l.Entry()
	severity := informal
	if e.Error != "" || e.Status >= 400 {
		severity = warning
	}
	b := make([]byte, 0, len(text)+512)
	b = append(b, '<')
	b = strconv.AppendInt(b, int64(s.Facility*8+severity), 10)
	b = append(b, ">1 "...)
	b = e.Time.AppendFormat(b, "2006-01-02T15:04:05.000000Z07:00")
	b = append(b, ' ')
	b = append(b, s.host...)
	b = append(b, " envrun "...)
	b = append(b, s.pid...)
	b = append(b, ' ')
	b = append(b, header(string(e.Type), 32)...)
	b = append(b, " ["...)
	b = append(b, sdID...)
	b = param(b, "entry", l.Leaf().String())
	b = param(b, "id", e.Request.ID)
	b = param(b, "who", e.Auth.DisplayName)
	b = param(b, "op", e.Request.Operation)
	b = param(b, "path", e.Request.Path)
	if e.Status != 0 {
		b = param(b, "status", strconv.Itoa(e.Status))
	}
	b = append(b, "] "...)
	return append(b, text...)
}

// header is a field of the header: visible ASCII, "-" if there is none.
func header(s string, max int) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	if s == "" {
		return "-"
	}
	return s[:min(len(s), max)]
}

// param appends a parameter of structured data. What is not printable ASCII is
// in the text; here it is a "?", since receivers write these to lines of a file.
func param(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(append(append(b, ' '), name...), '=', '"')
	const most = 256
	for i, r := range value {
		switch {
		case i >= most:
			return append(b, '"')
		case r == '"' || r == '\\' || r == ']':
			b = append(b, '\\', byte(r))
		case r < ' ' || r > '~':
			b = append(b, '?')
		default:
			b = append(b, byte(r))
		}
	}
	return append(b, '"')
}
