package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"testing"

	"envrun/vault/vaulttest/hashivault"

	"github.com/rogpeppe/go-internal/testscript"
)

// middle is what stands between a script and its server: it passes on, closes, or
// answers by itself.
type middle struct {
	mu     sync.Mutex
	addr   string
	server *http.Server // nil: nobody listens
	status int          // 0: what the server answers
	pass   http.Handler
}

func (g *middle) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	status := g.status
	g.mu.Unlock()
	if status == 0 {
		g.pass.ServeHTTP(w, r)
		return
	}
	w.WriteHeader(status)
	if status < 500 {
		_, _ = io.WriteString(w, `{"errors":["permission denied"]}`)
	} else {
		_, _ = io.WriteString(w, "<html>no server behind this</html>")
	}
}

// set makes it do what a word says: open, closed, or a status.
func (g *middle) set(mode string) error {
	g.mu.Lock()
	g.status, _ = strconv.Atoi(mode)
	server := g.server
	g.mu.Unlock()
	if mode == "closed" {
		g.server = nil
		if server != nil {
			return server.Close()
		}
		return nil
	}
	if server != nil {
		return nil
	}
	if g.addr == "" {
		g.addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", g.addr)
	if err != nil {
		return err
	}
	g.addr, g.server = l.Addr().String(), &http.Server{Handler: g}
	go func(s *http.Server) { _ = s.Serve(l) }(g.server)
	return nil
}

// between open|closed|STATUS: what stands before the server. The first sets BETWEEN
// to its address.
func between(t *testing.T, s *hashivault.Server) func(*testscript.TestScript, bool, []string) {
	u, err := url.Parse(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	gates := map[*testscript.TestScript]*middle{}
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 1 {
			ts.Fatalf("usage: between open|closed|STATUS")
		}
		mu.Lock()
		g := gates[ts]
		if g == nil {
			g = &middle{pass: httputil.NewSingleHostReverseProxy(u)}
			gates[ts] = g
			ts.Defer(func() { _ = g.set("closed") })
		}
		mu.Unlock()
		ts.Check(g.set(args[0]))
		ts.Setenv("BETWEEN", "http://"+g.addr)
	}
}
