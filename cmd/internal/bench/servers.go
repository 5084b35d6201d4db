//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"envrun/vault/vaulttest/pgtest"
)

// A server is one of the Vault API that was started here, with a mount of KV
// version 2 and a token that may read and write there and nothing else.
type server struct {
	name  string
	addr  string // host:port
	root  string // the root token
	token string
	pids  func() []int // of all its processes
	cmd   *exec.Cmd
	log   string // file of what it says
	more  func() // stops what else was started for it; may be nil
}

const benchMount = "bench"

// benchPolicy is that of the token which is measured with.
const benchPolicy = `path "bench/data/*" { capabilities = ["create", "read", "update"] }`

// free is an address on which nobody listens.
func free() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// begin starts a program that serves until stop.
func (s *server) begin(b *bench, dir string, argv ...string) error {
	s.log = filepath.Join(dir, "log")
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = exec.Command(argv[0], argv[1:]...)
	s.cmd.Dir, s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = dir, b.env, log, log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	if s.pids == nil {
		s.pids = func() []int { return []int{s.cmd.Process.Pid} }
	}
	return nil
}

func (s *server) stop(b *bench) {
	if _, running := b.running.LoadAndDelete(s); !running {
		return
	}
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		_ = s.cmd.Wait()
	}
	if s.more != nil {
		s.more()
	}
}

// call asks one thing of the API that is not measured.
func (s *server) call(method, path, token string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if body == nil {
		text = nil
	}
	req, err := http.NewRequest(method, "http://"+s.addr+"/v1/"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("X-Vault-Token", token)
	res, err := (&http.Client{Timeout: time.Minute}).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	said, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s: %s %s: %d %.300s", s.name, method, path, res.StatusCode, said)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(said, answer)
}

// await returns when the server answers that it is unsealed, or only that it is there.
func (s *server) await(status ...int) error {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		res, err := http.Get("http://" + s.addr + "/v1/sys/health")
		if err != nil {
			continue
		}
		res.Body.Close()
		for _, ok := range status {
			if res.StatusCode == ok {
				return nil
			}
		}
	}
	said, _ := os.ReadFile(s.log)
	return fmt.Errorf("%s does not answer within a minute: %s", s.name, said)
}

// ready makes the policy and the token to measure with.
func (s *server) ready() error {
	if err := s.call("PUT", "sys/policies/acl/bench", s.root, map[string]string{"policy": benchPolicy}, nil); err != nil {
		return err
	}
	var made struct {
		Auth struct {
			Token string `json:"client_token"`
		} `json:"auth"`
	}
	err := s.call("POST", "auth/token/create", s.root, map[string]any{"policies": []string{"bench"}, "ttl": "24h"}, &made)
	s.token = made.Auth.Token
	return err
}

// startEnvrund starts ours, on SQLite or on a PostgreSQL of its own; more is what its
// configuration says besides, in whole tables.
func (b *bench) startEnvrund(name string, postgres bool, more ...string) (_ *server, err error) {
	dir := filepath.Join(b.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	s := &server{name: "envrund"}
	b.running.Store(s, true)
	defer func() {
		if err != nil {
			s.stop(b)
		}
	}()
	if s.addr, err = free(); err != nil {
		return nil, err
	}
	identity := filepath.Join(dir, "identity")
	config := fmt.Sprintf("listen = %q\ndata = %q\nplain_http = \"loopback\"\n", s.addr, filepath.Join(dir, "data"))
	if postgres {
		s.name = "envrund on PostgreSQL"
		pg, err := pgtest.New(true)
		if err != nil {
			return nil, err
		}
		s.more = pg.Close
		s.pids = func() []int { return append(withChildren(pg.Process()), s.cmd.Process.Pid) }
		config += fmt.Sprintf("database = %q\n", pg.URL("postgres"))
	}
	file := filepath.Join(dir, "envrund.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	out, err := b.output(dir, nil, b.envrund, "--json", "init", "--config", file, "--new-identity", identity, "--env", benchMount)
	if err != nil {
		return nil, err
	}
	var made struct {
		Root string `json:"root_token"`
	}
	if err := json.Unmarshal(out, &made); err != nil {
		return nil, err
	}
	s.root = made.Root
	config += fmt.Sprintf("[seal]\nidentity = %q\n", identity) + strings.Join(more, "")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	if err := s.begin(b, dir, b.envrund, "serve", "--config", file); err != nil {
		return nil, err
	}
	if err := s.await(http.StatusOK); err != nil {
		return nil, err
	}
	return s, s.ready()
}

// startVault starts HashiCorp's, with its own storage on disk and an audit file:
// what it needs to keep what it has acknowledged, and to say who asked.
func (b *bench) startVault(name string) (_ *server, err error) {
	dir := filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
		return nil, err
	}
	s := &server{name: "Vault"}
	b.running.Store(s, true)
	defer func() {
		if err != nil {
			s.stop(b)
		}
	}()
	if s.addr, err = free(); err != nil {
		return nil, err
	}
	cluster, err := free()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "vault.hcl")
	err = os.WriteFile(file, fmt.Appendf(nil, `
storage "raft" {
  path    = %q
  node_id = "one"
}
listener "tcp" {
  address     = %q
  tls_disable = true
}
disable_mlock = true
log_level     = "error"
api_addr      = "http://%s"
cluster_addr  = "http://%s"
`, filepath.Join(dir, "data"), s.addr, s.addr, cluster), 0o600)
	if err != nil {
		return nil, err
	}
	if err := s.begin(b, dir, b.vault, "server", "-config="+file); err != nil {
		return nil, err
	}
	if err := s.await(http.StatusNotImplemented); err != nil {
		return nil, err
	}
	var made struct {
		Keys []string `json:"keys"`
		Root string   `json:"root_token"`
	}
	if err := s.call("PUT", "sys/init", "", map[string]int{"secret_shares": 1, "secret_threshold": 1}, &made); err != nil {
		return nil, err
	}
	if len(made.Keys) != 1 {
		return nil, errors.New("vault gave no key to unseal it with")
	}
	s.root = made.Root
	if err := s.call("PUT", "sys/unseal", "", map[string]string{"key": made.Keys[0]}, nil); err != nil {
		return nil, err
	}
	if err := s.await(http.StatusOK); err != nil {
		return nil, err
	}
	audit := map[string]any{"type": "file", "options": map[string]string{"file_path": filepath.Join(dir, "audit.log")}}
	if err := s.call("PUT", "sys/audit/file", s.root, audit, nil); err != nil {
		return nil, err
	}
	mount := map[string]any{"type": "kv", "options": map[string]string{"version": "2"}}
	if err := s.call("POST", "sys/mounts/"+benchMount, s.root, mount, nil); err != nil {
		return nil, err
	}
	if err := s.ready(); err != nil {
		return nil, err
	}
	// A new mount of version 2 answers only when it has looked whether it must be upgraded.
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := s.call("POST", secretPath(benchMount, 0), s.token, json.RawMessage(`{"data":{}}`), nil)
		if err == nil || time.Now().After(end) {
			return s, err
		}
	}
}

// withChildren is a process and those it has started.
func withChildren(pid int) []int {
	all := []int{pid}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return all
	}
	for f := range strings.FieldsSeq(string(text)) {
		if n, err := strconv.Atoi(f); err == nil {
			all = append(all, n)
		}
	}
	return all
}

// cpu is the processor time that the server has had so far.
func (s *server) cpu() (total time.Duration) {
	for _, pid := range s.pids() {
		t, _ := cpuOf(pid)
		total += t
	}
	return total
}

// resident is the memory of a server's own processes, in bytes.
func (s *server) resident() (total int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("no VmRSS in /proc")
}

// A rate is what a load came to in one round.
type rate struct {
	perCPU      float64 // requests for each second of the server's processor time
	perSecond   float64
	median, p99 time.Duration
}

// rates runs a load against each server in turn.
func (b *bench) rates(rounds int, d time.Duration, servers []*server, of func(*server) load) ([][]rate, error) {
	out := make([][]rate, len(servers))
	for round := range rounds + 1 {
		for i, s := range servers {
			before, began := s.cpu(), time.Now()
			took, err := of(s).during(d, 0)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			wall, cpu := time.Since(began), s.cpu()-before
			if round == 0 {
				continue // it has warmed up
			}
			n := float64(len(took))
			out[i] = append(out[i], rate{n / cpu.Seconds(), n / wall.Seconds(), took.at(0.5), took.at(0.99)})
		}
	}
	return out, nil
}

// stopAll ends every server that was started.
func (b *bench) stopAll() {
	b.running.Range(func(s, _ any) bool {
		s.(*server).stop(b)
		return true
	})
}

// Rounds and lengths of what is measured on servers.
const (
	served   = 1000 // secrets
	clients  = 32   // connections
	oneRound = 2 * time.Second
)

// serving is reads and writes of KV, with everything recorded.
func (b *bench) serving() ([]line, error) {
	defer b.stopAll()
	ours, err := b.startEnvrund("envrund", false)
	if err != nil {
		return nil, err
	}
	servers := []*server{ours}
	var theirs, onPostgres *server
	if b.vault != "" {
		if theirs, err = b.startVault("vault"); err != nil {
			return nil, err
		}
		servers = append(servers, theirs)
	}
	switch onPostgres, err = b.startEnvrund("envrund-postgres", true); {
	case err == nil:
		servers = append(servers, onPostgres)
	case !errors.Is(err, pgtest.ErrMissing):
		return nil, err
	}
	for _, s := range servers {
		if err := filling(s.addr, s.token, benchMount, served, clients); err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	rounds := max(1, b.rounds/2)
	read, err := b.rates(rounds, oneRound, servers, func(s *server) load { return reading(s.addr, s.token, benchMount, served, clients) })
	if err != nil {
		return nil, err
	}
	write, err := b.rates(rounds, oneRound, servers, func(s *server) load { return writing(s.addr, s.token, benchMount, served, clients) })
	if err != nil {
		return nil, err
	}
	perCPU := func(r rate) float64 { return r.perCPU }
	perSecond := func(r rate) float64 { return r.perSecond }
	slowest := func(r rate) float64 { return 1 / r.p99.Seconds() }
	show := func(unit string) func(float64) string {
		return func(v float64) string { return fmt.Sprintf("%.0f %s", v, unit) }
	}
	inverse := func(v float64) string { return ms(1 / v) }
	var lines []line
	for i, s := range servers {
		if s == theirs {
			continue
		}
		where, bound := "", []promise{{"≥", 3}, {"≥", 2}, {"≥", 1}}
		if s == onPostgres {
			where, bound = ", on PostgreSQL", make([]promise, 3)
		}
		add := func(what string, all [][]rate, of func(rate) float64, unit func(float64) string, p promise) {
			var peer []rate
			if theirs != nil {
				peer = all[1]
			}
			lines = append(lines, more(what+where, all[i], peer, of, unit, p))
		}
		add("KV reads of 1 KiB, 32 connections, for each second of processor time", read, perCPU, show("/s"), bound[0])
		add("… the slowest of 100 takes", read, slowest, inverse, bound[1])
		add("… in all", read, perSecond, show("/s"), promise{})
		add("durable KV writes of 1 KiB, 32 connections", write, perSecond, show("/s"), bound[2])
		add("… for each second of processor time", write, perCPU, show("/s"), promise{})
		add("… the slowest of 100 takes", write, slowest, inverse, promise{})
	}
	return lines, nil
}

// bundled is how many secrets a project needs.
const bundled = 50

// bundle is all of a project's secrets in one request to ours against a request for
// each to Vault, on one connection.
func (b *bench) bundle() ([]line, error) {
	const what = "50 secrets of a project"
	p := promise{"≥", 15}
	if b.vault == "" {
		return []line{{what: what, mine: "left out: no Vault here", promise: p.String()}}, nil
	}
	defer b.stopAll()
	ours, err := b.startEnvrund("envrund-bundle", false)
	if err != nil {
		return nil, err
	}
	theirs, err := b.startVault("vault-bundle")
	if err != nil {
		return nil, err
	}
	var paths []string
	for i := range bundled {
		paths = append(paths, secretPath(benchMount, i*served/bundled))
	}
	for _, s := range []*server{ours, theirs} {
		if err := filling(s.addr, s.token, benchMount, served, clients); err != nil {
			return nil, err
		}
	}
	body, err := json.Marshal(map[string]any{"paths": paths})
	if err != nil {
		return nil, err
	}
	once := load{addr: ours.addr, token: ours.token, conns: 1}
	once.next = func(_ *rand.Rand, buf []byte) []byte { return once.request(buf, "POST", "sys/bundle", string(body)) }
	once.each = func(body []byte) error {
		if n := bytes.Count(body, []byte(`"value":`)); n != bundled {
			return fmt.Errorf("a bundle has %d secrets of %d", n, bundled)
		}
		return nil
	}
	each := load{addr: theirs.addr, token: theirs.token, conns: 1}
	n := 0
	each.next = func(_ *rand.Rand, buf []byte) []byte {
		n++
		return each.request(buf, "GET", paths[n%bundled], "")
	}
	take := func(l load, requests int) variant {
		return variant{run: func() (*sample, error) {
			took, err := l.during(0, requests)
			if err != nil {
				return nil, err
			}
			s := new(sample)
			for _, t := range took {
				s.wall += t
			}
			return s, nil
		}}
	}
	s, err := b.interleave(5*b.rounds, take(once, 1), take(each, bundled))
	if err != nil {
		return nil, err
	}
	return []line{compare(what+" in one request", s[0], s[1], "Vault, one by one", p)}, nil
}

// many is how many secrets a server holds that has many.
const many = 100_000

// holding is the memory and the latency of servers that hold many secrets.
func (b *bench) holding() ([]line, error) {
	defer b.stopAll()
	few, err := b.startEnvrund("envrund-few", false)
	if err != nil {
		return nil, err
	}
	ours, err := b.startEnvrund("envrund-many", false)
	if err != nil {
		return nil, err
	}
	servers := []*server{few, ours}
	var theirs *server
	if b.vault != "" {
		if theirs, err = b.startVault("vault-many"); err != nil {
			return nil, err
		}
		servers = append(servers, theirs)
	}
	held := func(s *server) int {
		if s == few {
			return served
		}
		return many
	}
	for _, s := range servers {
		say("writing %s secrets to %s", number(held(s)), s.name)
		if err := filling(s.addr, s.token, benchMount, held(s), 2*clients); err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	var lines []line
	median := func(r rate) float64 { return 1 / r.median.Seconds() }
	for _, conns := range []int{1, clients} {
		read, err := b.rates(max(2, b.rounds/2), oneRound, []*server{ours, few}, func(s *server) load {
			return reading(s.addr, s.token, benchMount, held(s), conns)
		})
		if err != nil {
			return nil, err
		}
		l := line{what: fmt.Sprintf("a read among 100,000 secrets, connections: %d", conns),
			mine: ms(1 / middle(each(read[0], median))), against: ms(1/middle(each(read[1], median))) + " among 1,000"}
		ratio, best := middle(each(read[1], median))/middle(each(read[0], median)), slices.Max(each(read[1], median))/slices.Max(each(read[0], median))
		p := promise{"≤", 1.3}
		l.ratio, l.best, l.promise, l.met = times(ratio), times(best), p.String(), p.met(ratio, best)
		lines = append(lines, l)
	}
	// Everything has been used; then nobody asks anything for a while.
	for _, s := range servers[1:] {
		if _, err := reading(s.addr, s.token, benchMount, many, clients).during(5*time.Second, 0); err != nil {
			return nil, err
		}
	}
	time.Sleep(30 * time.Second)
	mine, err := ours.resident()
	if err != nil {
		return nil, err
	}
	p := promise{"≤", 0.2}
	l := line{what: "memory of a server with 100,000 secrets that nobody asks", mine: mib(mine), promise: p.String(), against: "left out: no Vault here"}
	if theirs != nil {
		n, err := theirs.resident()
		if err != nil {
			return nil, err
		}
		ratio := float64(mine) / float64(n)
		l.against, l.ratio, l.met = mib(n)+" Vault", times(ratio), p.met(ratio, ratio)
	}
	return append(lines, l), nil
}

// more is a line about a number of ours over Vault's, of which more is better.
func more(what string, mine, theirs []rate, of func(rate) float64, unit func(float64) string, p promise) line {
	l := line{what: what, mine: unit(middle(each(mine, of))), promise: p.String()}
	if p.sign == "" {
		l.promise = ""
	}
	if theirs == nil {
		l.against = "left out: no Vault here"
		return l
	}
	l.against = unit(middle(each(theirs, of))) + " Vault"
	ratio, best := middle(each(mine, of))/middle(each(theirs, of)), slices.Max(each(mine, of))/slices.Max(each(theirs, of))
	l.ratio, l.best = times(ratio), times(best)
	if p.sign != "" {
		l.met = p.met(ratio, best)
	}
	return l
}

func each(all []rate, of func(rate) float64) []float64 {
	v := make([]float64, len(all))
	for i := range all {
		v[i] = of(all[i])
	}
	return v
}
