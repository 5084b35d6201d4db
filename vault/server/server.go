// Package server is the HTTP side of the team server: a chosen subset of the
// HashiCorp Vault API (spec server-api §1), so that the clients a team has work
// against it unchanged.
//
// A request is parsed once, at the edge (request.go), and handed to the guard, which
// finds out who asks, decides, calls the handler in a transaction and records both
// (vault/guard). Handlers stand in areas, one type each with the few things it
// needs: policies, tokens, mounts, wrapping, cubbyhole, KV. None of them can be
// reached in another way. What the API lets everybody ask, because nothing works
// before it, is in status.go: is the server up, set up, sealed; and unsealing.
//
// It refuses what it does not know: an endpoint that is not built answers as one
// that does not exist. It never repeats a value of a request, in an answer, an
// error or a log. It opens no database and knows no file: DB and Log are handed to
// it by cmd.
package server

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"envrun/auth/approle"
	"envrun/auth/token"
	"envrun/vault"
	"envrun/vault/audit"
	"envrun/vault/guard"
	"envrun/vault/keyring"
	"envrun/vault/kv"
	"envrun/vault/lease"
	"envrun/vault/policy"
	"envrun/vault/seal"
)

// A DB gives transactions, and tells what Tx.Notify said on this server and others.
type DB interface {
	guard.DB[Tx]
	Listen(f func(text string, missed bool)) (stop func())
}

// A Config is what a server is made of.
type Config struct {
	DB DB // required

	// Devices take every entry besides the log in the database; see guard.Devices.
	// nil: there are none.
	Devices guard.Devices
	// AuditDevices are what sys/audit lists of them, besides the log.
	AuditDevices []AuditDevice
	// AuditProblems are what devices have not taken, each naming the device and why:
	// sys/health tells it. nil: there are no devices.
	AuditProblems func() []string

	// Sealers are the age recipients for which the root key of a new server is
	// sealed beside the shares that PUT sys/init asks for. None: it is refused there,
	// because a root key has at least two sealers.
	Sealers []keyring.AgeSealer
	// Services are sealers that are asked over the network: those of a new server
	// beside the Sealers, and of one that is there when sys/sealers adds them.
	Services []seal.Sealer
	// SealProblems are why the server has not opened by itself as its configuration
	// says, without addresses: everybody is told. nil: nothing is to open it.
	SealProblems func() []string

	Version     string // of the API that is spoken, as clients compare it: "1.18.0"
	BuildDate   string // RFC 3339
	StorageType string // "sqlite", "postgresql", "inmem"
	Address     string // https://host:port, how clients reach it

	Concurrent int           // requests at a time; 0: 512
	Timeout    time.Duration // of one request; 0: 60 s
	Limits     Limits        // of one client
	Heartbeat  time.Duration // of a stream of events, and how long it may outlast its token; 0: 15 s

	Logger *slog.Logger // what the server did, never what was asked; nil: nothing is logged
	Now    func() time.Time
}

// An AuditDevice is a device as sys/audit lists it: not where it writes to.
type AuditDevice struct {
	Name     string
	Type     string // file, syslog, http
	Required bool
}

// A Server answers the API. Handler is what net/http serves.
type Server struct {
	Config
	slots   chan struct{}          // requests at a time
	large   chan struct{}          // those of them that have a large body
	open    atomic.Pointer[opened] // nil while sealed
	metrics metrics
	limits  *limiter // nil: there are none

	refusing atomic.Pointer[string] // why requests are refused by the database; nil: they are not
	unsealing
}

// opened is what there is while the server is unsealed.
type opened struct {
	ring    *keyring.Ring
	log     *audit.Log
	guard   *guard.Guard[Tx]
	tokens  *token.Tokens
	leases  *lease.Leases
	issuers map[string]lease.Issuer
	store   store
	facts   clusterFacts
	area    map[string]area // by the first part of a path: "sys", "auth/token"
	tables  *tables
	people  *people
	auths   map[string]authEngine // by type
	kv      kvEngine
	cubby   cubbyhole
	hub     *hub
	deaf    func() // ends what the hub hears
	hasher  *audit.Hasher
	public  string // the key that checkpoints are checked with
	kept    atomic.Pointer[checkpoint]

	trouble  trouble     // of rotations
	working  atomic.Bool // on leases
	tampered atomic.Bool // the audit log is not what was signed
}

// New makes a server, sealed.
func New(c Config) *Server {
	if c.Concurrent == 0 {
		c.Concurrent = 512
	}
	if c.Timeout == 0 {
		c.Timeout = time.Minute
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{Config: c, slots: make(chan struct{}, c.Concurrent), large: make(chan struct{}, 16)}
	s.metrics.began = c.Now()
	s.limits = newLimiter(c.Limits)
	return s
}

// ownKeys are the keys of the server's own, which no rotation of the root changes.
type ownKeys struct {
	Tokens []byte `json:"tokens"` // of the hashes and records of tokens
	Audit  []byte `json:"audit"`  // of the hashes in the audit log
	Signer string `json:"signer"` // of the audit log's checkpoints
}

// unlock makes the server ready with the keys of the ring. The lock of unsealing is held.
func (s *Server) unlock(ctx context.Context, ring *keyring.Ring) error {
	o := &opened{ring: ring, store: store{ring}}
	var keys ownKeys
	err := s.DB.Read(ctx, func(tx Tx) error {
		there, err := o.store.get(tx, kindServer, recordKeys, &keys)
		if err != nil {
			return err
		}
		if there {
			there, err = o.store.get(tx, kindServer, recordFacts, &o.facts)
		}
		if err == nil && !there {
			err = &vault.Error{Kind: vault.KindMalformed, Op: "unsealing", Detail: "the server's own records are missing"}
		}
		return err
	})
	if err != nil {
		return err
	}
	return s.ready(o, keys)
}

// ready puts together what serves requests.
func (s *Server) ready(o *opened, keys ownKeys) error {
	var err error
	if o.tokens, err = token.New(keys.Tokens); err != nil {
		return err
	}
	o.tokens.Now = s.Now
	hasher := audit.NewHasher(keys.Audit)
	o.hasher = hasher
	signer, err := note.NewSigner(keys.Signer)
	if err != nil {
		return &vault.Error{Kind: vault.KindMalformed, Op: "unsealing", Detail: "the key that signs the audit log is not of its form"}
	}
	if o.public, err = audit.PublicKey(keys.Signer); err != nil {
		return err
	}
	o.log = audit.NewLog(signer, s.Now)
	o.tables = &tables{store: o.store}
	o.people = &people{store: o.store}
	o.kv = kvEngine{server: o.facts.ID, ring: o.ring, now: s.Now, memo: kv.NewMemo()}
	o.cubby = cubbyhole{o.store}
	wrap := wrapping{o.store, o.tokens, hasher}
	sys := policies{o.store, o.tokens, s.Now}.area()
	jwt := jwtEngine{signIns{o.store, o.tokens, hasher, o.people}, s.DB, &issuers{byMount: map[string]*issuer{}}, s.Logger, s.Now}
	secrets, err := approle.New(keys.Tokens, s.Now)
	if err != nil {
		return err
	}
	o.auths = map[string]authEngine{"jwt": jwt, "oidc": jwt, "approle": approleEngine{jwt.signIns, secrets}, "kubernetes": kubeEngine{jwt.signIns, s.DB, s.Logger, &reviews{by: map[string]int{}}}}
	sys = append(sys, mountArea{o.tables, map[string]engine{"kv": o.kv}, o.auths, o.tokens, o.people}.area()...)
	sys = append(sys, wrap.area()...)
	sys = append(sys, (&howToSignIn{tables: o.tables}).area()...)
	o.leases = &lease.Leases{Ring: o.ring, Issuer: o.issuer, Now: s.Now}
	sys = append(sys, leaseArea{o.leases, s.DB}.area()...)
	sys = append(sys, audits{hasher, s.AuditDevices}.area()...)
	sys = append(sys, auditLog{o.public, s.Now}.area()...)
	sys = append(sys, bundles{o.tables, o.kv}.area()...)
	o.hub = newHub(s.Heartbeat)
	o.deaf = s.DB.Listen(o.hub.heard)
	sys = append(sys, events{o.hub, s.Now}.area()...)
	sys = append(sys, sealing{s}.area()...)
	sys = append(sys, sealers{o.facts.ID, o.ring, s.Services, s.Now}.area()...)
	sys = append(sys, rotations{o.tables, o.kv, s.Now, &o.trouble}.area()...)
	sys = append(sys, measures{s}.area()...)
	sys = append(sys, tools{}.area()...)
	sys = append(sys, probes{s, slices.Sorted(maps.Keys(o.auths))}.area()...)
	o.area = map[string]area{
		"sys/":        sys,
		"identity/":   identities{o.people, o.tables, s.Now}.area(),
		"auth/token/": append(tokenArea{o.store, o.tokens, hasher, o.tables, &renewals{o.tables, o.auths, o.people}, o.people}.area(), endpoint{path: "tidy", update: probes{s: s}.tidy}),
	}
	o.guard = guard.New(guard.Config[Tx]{
		DB: noting{s.DB}, Tokens: o.tokens, Policies: o.store, Identities: o.people, Log: logs{o.log}, Devices: s.Devices, Hasher: hasher,
		Route: o.route, Wrap: wrap.put, Heads: headsOf, Status: statusOf, Words: words, Now: s.Now,
	})
	s.open.Store(o)
	return nil
}

// issuer finds who gave out leases, by the name that is in them. No engine does yet.
func (o *opened) issuer(name string) lease.Issuer { return o.issuers[name] }

// logs writes entries to the log in the database.
type logs struct{ *audit.Log }

func (l logs) Append(_ context.Context, tx Tx, lines ...audit.Line) error {
	_, err := l.Log.Append(tx, lines...)
	return err
}

// route finds the action of a request.
func (o *opened) route(_ context.Context, tx Tx, req *guard.Request) (action, error) {
	for prefix, area := range o.area {
		if rest, ok := strings.CutPrefix(req.Path, prefix); ok {
			a, err := area.find(req, rest)
			kind := strings.TrimSuffix(prefix, "/")
			if kind == "sys" {
				kind = "system"
			}
			return a.At(guard.Mount{Path: prefix, Type: strings.TrimPrefix(kind, "auth/")}), err
		}
	}
	t, err := o.tables.now(tx)
	if err != nil {
		return action{}, err
	}
	var a action
	if below, ok := strings.CutPrefix(req.Path, "auth/"); ok {
		m, rest := at(t.auth, below)
		if m == nil || o.auths[m.Type] == nil {
			return action{}, noHandler(req.Path)
		}
		a, err = o.auths[m.Type].find(req, m, rest)
		fact := m.fact()
		fact.Path = "auth/" + fact.Path
		return a.At(fact), err
	}
	m, rest := at(t.secret, req.Path)
	if m == nil {
		return action{}, noHandler(req.Path)
	}
	switch m.Type {
	case "kv":
		a, err = o.kv.find(req, m, rest)
	case "cubbyhole":
		a, err = o.cubby.find(req, rest)
	default:
		err = errNoSuchPath
	}
	return a.At(m.fact()), err
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	c := &counted{ResponseWriter: w}
	op, stream := s.serve(c, r)
	switch {
	case op == 0:
		s.metrics.refused.Add(1)
	case stream != nil: // it takes nobody's place, and has no time in which it has to end
		s.metrics.count(op, http.StatusOK, time.Since(began))
		stream.run(r.Context(), w)
	default:
		s.metrics.count(op, c.status, time.Since(began))
	}
}

// serve answers one request and returns its operation, none if it could not be read,
// and the stream that is its answer, if it is one.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) (op policy.Op, _ *stream) {
	common(w.Header())
	if ns := r.Header.Get("X-Vault-Namespace"); ns != "" {
		w.Header().Set("X-Vault-Namespace", cut(ns, 128))
	}
	release := func() {}
	defer func() { release() }()
	ctx, cancel := context.WithTimeout(r.Context(), s.Timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			// What it says may be a value of the request; where it was is enough to find it.
			s.Logger.Error("a request ended in a panic", "stack", string(debug.Stack()))
			writeError(w, r, errors.New("panic"))
		}
	}()

	req, err := parse(w, r, func() bool {
		select {
		case s.large <- struct{}{}:
			release = func() { <-s.large }
			return true
		default:
			return false
		}
	})
	if err != nil {
		if statusOf(err) == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "1")
		}
		writeError(w, r, err)
		return 0, nil
	}
	// Only now: a client that sends slowly takes nobody's place.
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		w.Header().Set("Retry-After", "1")
		writeError(w, r, problem(http.StatusTooManyRequests, "too many requests at a time"))
		return 0, nil
	}
	if known, err := s.status(ctx, w, r, req); known {
		if err != nil {
			s.log(req, err)
			writeError(w, r, err)
		}
		return req.Op, nil
	}
	if r.Method == http.MethodHead {
		writeError(w, r, problem(http.StatusMethodNotAllowed))
		return req.Op, nil
	}
	o := s.open.Load()
	if o == nil {
		writeError(w, r, errSealed)
		return req.Op, nil
	}
	var door *mount
	if s.limits != nil {
		wait := time.Duration(0)
		if door = o.tables.door(req); door != nil {
			wait = s.limits.signIn(s.Now(), door, req.Addr.Addr())
		}
		if wait == 0 && (door == nil || req.Token != "") {
			var p pass
			if p, wait = s.limits.enter(s.Now(), req, o.hasher.Hash); wait == 0 {
				defer func() { s.limits.leave(s.Now(), p, req) }()
			}
		}
		if wait > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)))
			writeError(w, r, problem(http.StatusTooManyRequests, "too many requests of one client"))
			return req.Op, nil
		}
	}
	if req.Token != "" && strings.HasPrefix(req.Path, "sys/audit-log/") {
		_ = s.KeepCheckpoint(ctx) // so that what was written until now can be proven; sys/health tells what is wrong
	}
	a, err := o.guard.Serve(ctx, req)
	s.notice(err)
	if err != nil {
		s.log(req, err)
		writeError(w, r, err)
		return req.Op, nil
	}
	if door != nil {
		s.limits.signedIn(s.Now(), door, req.Addr.Addr())
	}
	if body, ok := a.Body.(*reply); ok && body.stream != nil {
		return req.Op, body.stream
	}
	if seen := r.Header.Get(audit.SeenHeader); seen != "" && a.Known {
		w.Header().Set(audit.ShownHeader, s.shown(ctx, o, seen))
	}
	writeAnswer(w, req.ID, a)
	return req.Op, nil
}

// notice keeps for sys/health what is wrong with the database, until a request is served.
func (s *Server) notice(err error) {
	text := unwritable(err)
	switch {
	case text != "":
		s.refusing.Store(&text)
	case s.refusing.Load() != nil && (err == nil || statusOf(err) < http.StatusInternalServerError):
		s.refusing.Store(nil)
	}
}

// log keeps what was internal: the client is told nothing of it.
func (s *Server) log(req *guard.Request, err error) {
	if statusOf(err) >= 500 {
		s.Logger.Error("a request failed", "request", req.ID, "operation", req.Op.String(), "error", err)
	}
}

// Sweep revokes what has expired. Call it every now and then.
func (s *Server) Sweep(ctx context.Context) error {
	o := s.open.Load()
	if o == nil {
		return nil
	}
	defer s.workLeases(o)
	if err := s.forgetSecretIDs(ctx); err != nil {
		return err
	}
	for {
		var n int
		// Look first: most of the time there is nothing, and nobody is held up.
		err := s.DB.Read(ctx, func(tx Tx) error {
			ids, err := tx.TokensExpired(s.Now(), 1)
			n = len(ids)
			return err
		})
		if err != nil || n == 0 {
			return err
		}
		if err := s.DB.Write(ctx, func(tx Tx) error {
			if n, err = o.tokens.Sweep(tx, 64); err != nil {
				return err
			}
			// What was used once made a token, so there is some to look for about now.
			used, err := tx.ForgetUsed(s.Now(), 64)
			n = max(n, used)
			return err
		}); err != nil {
			return err
		}
		if n < 64 {
			return nil
		}
	}
}

// forgetSecretIDs removes those that have expired. Whether there are some is seen
// without holding anybody up.
func (s *Server) forgetSecretIDs(ctx context.Context) error {
	for {
		some := false
		err := s.DB.Read(ctx, func(tx Tx) (err error) {
			some, err = tx.SecretIDsExpired(s.Now())
			return err
		})
		if err != nil || !some {
			return err
		}
		if err := s.DB.Write(ctx, func(tx Tx) error {
			_, err := tx.ForgetSecretIDs(s.Now(), 256)
			return err
		}); err != nil {
			return err
		}
	}
}

// workLeases ends what is due, by itself: an issuer may take its time. One at a time.
func (s *Server) workLeases(o *opened) {
	if !o.working.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer o.working.Store(false)
		if _, err := lease.Work(context.Background(), o.leases, s.DB); err != nil && s.open.Load() == o {
			s.Logger.Error("ending leases", "error", err)
		}
	}()
}

// clusterFacts is what the server is called.
type clusterFacts struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// begin makes what every server has, in the transaction that makes its root key.
func (s *Server) begin(tx Tx, o *opened, id string, environments []string) (keys ownKeys, err error) {
	keys = ownKeys{Tokens: make([]byte, 32), Audit: make([]byte, 32)}
	rand.Read(keys.Tokens)
	rand.Read(keys.Audit)
	o.facts = clusterFacts{ID: id, Name: "envrun-cluster-" + id[:8]}
	origin := o.facts.Name + "/audit"
	if s.StorageType == "inmem" {
		origin = o.facts.Name + audit.Throwaway
	}
	if keys.Signer, _, err = note.GenerateKey(rand.Reader, origin); err != nil {
		return keys, err
	}
	if err := o.ring.NewKey(tx, keyring.Sys, s.Now()); err != nil {
		return keys, err
	}
	type record struct {
		kind, name string
		v          any
	}
	records := []record{
		{kindServer, recordKeys, keys},
		{kindServer, recordFacts, o.facts},
		{kindPolicy, policy.DefaultName, policyRecord{Text: policy.DefaultText, AllowSlashes: true, Version: 1, Modified: s.Now()}},
	}
	for _, m := range []*mount{
		{Path: "cubbyhole/", Type: "cubbyhole", Description: "per-token private secret storage", Local: true},
		{Path: "identity/", Type: "identity", Description: "identity store"},
		{Path: "sys/", Type: "system", Description: "system endpoints used for control, policy and debugging", SealWrap: true},
		{Path: "token/", Type: "token", Description: "token based credentials"},
	} {
		m.name()
		kind := kindMount
		if m.Type == "token" {
			kind, m.Accessor = kindAuth, "auth_"+m.Accessor
		}
		records = append(records, record{kind, m.Path, m})
	}
	for _, name := range environments {
		m := &mount{Path: name + "/", Type: "kv", Options: map[string]string{"version": "2"}}
		if err := checkMountPath(m.Path); err != nil {
			return keys, err
		}
		m.name()
		if err := (kvEngine{server: id, ring: o.ring, now: s.Now}).make(tx, m); err != nil {
			return keys, err
		}
		records = append(records, record{kindMount, m.Path, m})
	}
	for _, r := range records {
		if err := o.store.put(tx, r.kind, r.name, r.v); err != nil {
			return keys, err
		}
	}
	return keys, o.store.changed(tx)
}

// rootToken makes a token that may do everything.
func (o *opened) rootToken(tx Tx, text string) (string, error) {
	spec := token.Spec{Policies: []string{policy.RootName}, DisplayName: "root", Path: "auth/token/root"}
	if text != "" { // chosen, as Vault's development server has it
		spec.Text, spec.DisplayName, spec.Path = text, "token", "auth/token/create"
	}
	text, _, _, err := o.tokens.Create(tx, spec)
	return text, err
}
