package server

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"filippo.io/age"

	"envrun/auth/token"
	"envrun/vault"
	"envrun/vault/guard"
	"envrun/vault/keyring"
	"envrun/vault/policy"
	"envrun/vault/wire"
)

// unsealing is the shares that have come in so far.
type unsealing struct {
	mu     sync.Mutex
	shares [][]byte
	nonce  string
}

// status answers what needs no token, because nothing works before it: is the
// server there, set up, sealed. It is not recorded: nothing that it answers is a
// secret, and the keys of the record are sealed. known is false for other requests.
func (s *Server) status(ctx context.Context, w http.ResponseWriter, r *http.Request, req *guard.Request) (known bool, err error) {
	switch req.Path {
	case "sys/health":
		return true, s.health(ctx, w, r, req)
	case "sys/seal-status":
		return true, s.only(w, r, policy.OpRead, req, func() error { return s.sealStatus(ctx, w, req) })
	case "sys/leader":
		return true, s.only(w, r, policy.OpRead, req, func() error { return s.leader(w) })
	case "sys/init":
		if req.Op == policy.OpRead {
			return true, s.only(w, r, policy.OpRead, req, func() error {
				rec, err := s.record(ctx)
				if err == nil {
					writeJSON(w, http.StatusOK, wire.Initialized{Initialized: rec != nil})
				}
				return err
			})
		}
		return true, s.only(w, r, policy.OpUpdate, req, func() error { return s.init(ctx, w, req) })
	case "sys/unseal":
		return true, s.only(w, r, policy.OpUpdate, req, func() error { return s.unseal(ctx, w, req) })
	}
	// A root token is made, and the root key is split anew, by an operator on the
	// host: to whoever reaches the port these do not exist (CVE-2026-5807).
	if strings.HasPrefix(req.Path, "sys/generate-root/") || strings.HasPrefix(req.Path, "sys/rekey/") {
		return true, errUnsupported
	}
	return false, nil
}

func (s *Server) only(w http.ResponseWriter, r *http.Request, op policy.Op, req *guard.Request, do func() error) error {
	if req.Op != op || r.Method == http.MethodHead {
		return problem(http.StatusMethodNotAllowed)
	}
	return do()
}

func (s *Server) health(ctx context.Context, w http.ResponseWriter, r *http.Request, req *guard.Request) error {
	if req.Op != policy.OpRead {
		return problem(http.StatusMethodNotAllowed)
	}
	rec, err := s.record(ctx)
	if err != nil {
		return err
	}
	there, o := rec != nil, s.open.Load()
	h := wire.Health{
		Initialized: there, Sealed: o == nil, Standby: o == nil, ReplicationPerformanceMode: "disabled", ReplicationDRMode: "disabled",
		ServerTimeUTC: s.Now().Unix(), Version: s.Version,
	}
	code, name := http.StatusOK, "activecode"
	switch {
	case !there:
		code, name = http.StatusNotImplemented, "uninitcode"
	case o == nil:
		code, name = http.StatusServiceUnavailable, "sealedcode"
	default:
		h.ClusterID, h.ClusterName = o.facts.ID, o.facts.Name
	}
	if s.AuditProblems != nil {
		h.AuditProblems = s.AuditProblems()
	}
	if why := s.refusing.Load(); why != nil && o != nil {
		h.AuditProblems = append(h.AuditProblems, *why+": requests are refused")
	}
	if o != nil && o.tampered.Load() {
		h.AuditProblems = append(h.AuditProblems, "audit log: its entries are not those that were signed: somebody changed the database")
	}
	h.SealProblems = s.sealProblems()
	if o == nil {
		h.ReplicationPerformanceMode, h.ReplicationDRMode = "unknown", "unknown"
	}
	if text, ok := req.Params[name].(string); ok {
		n, err := strconv.Atoi(text)
		if err != nil || n < 200 || n > 599 {
			return problem(http.StatusBadRequest)
		}
		code = n
	}
	if r.Method == http.MethodHead {
		w.WriteHeader(code)
		return nil
	}
	writeJSON(w, code, h)
	return nil
}

// sealProblems is why the server has not opened by itself, while it is sealed.
func (s *Server) sealProblems() []string {
	if s.SealProblems == nil || s.open.Load() != nil {
		return nil
	}
	return s.SealProblems()
}

func (s *Server) sealStatus(ctx context.Context, w http.ResponseWriter, req *guard.Request) error {
	more, _ := req.Params["sealers"].(string)
	st, err := s.sealFacts(ctx, more == "true")
	if err == nil {
		writeJSON(w, http.StatusOK, st)
	}
	return err
}

// sealFacts is what everybody may know; more is what Vault does not have.
func (s *Server) sealFacts(ctx context.Context, more bool) (wire.SealStatus, error) {
	rec, err := s.record(ctx)
	if err != nil {
		return wire.SealStatus{}, err
	}
	st := wire.SealStatus{Type: "shamir", Initialized: rec != nil, Sealed: true, Version: s.Version, BuildDate: s.BuildDate, StorageType: s.StorageType}
	if rec != nil {
		st.T, st.N = shamirOf(rec)
	}
	if more {
		if rec != nil {
			for _, sealer := range rec.Sealers() {
				st.Sealers = append(st.Sealers, sealer.ID)
			}
		}
		st.SealProblems = s.sealProblems()
	}
	s.mu.Lock()
	st.Progress, st.Nonce = len(s.shares), s.nonce
	s.mu.Unlock()
	if o := s.open.Load(); o != nil {
		st.Sealed, st.Progress, st.Nonce = false, 0, ""
		st.ClusterID, st.ClusterName = o.facts.ID, o.facts.Name
	}
	return st, nil
}

func (s *Server) leader(w http.ResponseWriter) error {
	if s.open.Load() == nil {
		return errSealed
	}
	writeJSON(w, http.StatusOK, wire.Leader{})
	return nil
}

func (s *Server) init(ctx context.Context, w http.ResponseWriter, req *guard.Request) error {
	var in wire.Init
	if len(req.Body) > 0 {
		if err := json.Unmarshal(req.Body, &in); err != nil {
			return bad("failed to decode JSON input: %s", err)
		}
	}
	rec, err := s.record(ctx)
	switch n, t := int(in.SecretShares), int(in.SecretThreshold); {
	case err != nil:
		return err
	case rec != nil:
		return bad("Vault is already initialized")
	case n < 1 || t < 1:
		return bad("invalid seal configuration: shares must be at least 1")
	case t > n:
		return bad("invalid seal configuration: threshold cannot be larger than shares")
	case len(s.Sealers)+len(s.Services) == 0:
		return bad("the root key needs two sealers: name an age recipient in the server's configuration, or use envrund init")
	}
	keys, root, err := s.Init(ctx, Setup{Shares: &keyring.Shares{Shares: int(in.SecretShares), Threshold: int(in.SecretThreshold)}})
	if err != nil {
		return err
	}
	out := wire.InitKeys{RootToken: wire.Token(root)}
	for _, k := range keys {
		out.Keys = append(out.Keys, wire.Token(hex.EncodeToString(k)))
		out.KeysBase64 = append(out.KeysBase64, wire.Token(base64.StdEncoding.EncodeToString(k)))
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

// record is the sealed root key, nil while there is none.
func (s *Server) record(ctx context.Context) (rec *keyring.Record, err error) {
	err = s.DB.Read(ctx, func(tx Tx) error {
		rec, err = keyring.Load(tx)
		return err
	})
	if vault.KindOf(err) == vault.KindNoVault {
		return nil, nil
	}
	return rec, err
}

// shamirOf is how many of how many shares open a root key: one of one stands for
// a server that has none.
func shamirOf(rec *keyring.Record) (t, n int) {
	for _, s := range rec.Sealers() {
		if s.Threshold > 0 {
			return s.Threshold, s.Shares
		}
	}
	return 1, 1
}

// A Setup says what a new server is to be.
type Setup struct {
	Shares       *keyring.Shares     // nil: none
	Sealers      []keyring.AgeSealer // beside those of the Config
	Token        string              // the text of the root token; "" makes one
	Environments []string            // KV v2 mounts to begin with
	Open         bool                // leave it unsealed
}

// Init sets the server up: it makes the root key, of which it returns the shares,
// and a root token. Neither is kept anywhere.
func (s *Server) Init(ctx context.Context, set Setup) (shares [][]byte, root string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := newUUID()
	ring, rec, shares, err := keyring.Make(ctx, keyring.Options{Server: id, Age: append(slices.Clone(s.Sealers), set.Sealers...), Services: s.Services, Shamir: set.Shares, Now: s.Now()})
	if err != nil {
		return nil, "", err
	}
	o := &opened{ring: ring, store: store{ring}}
	var keys ownKeys
	err = s.DB.Write(ctx, func(tx Tx) error {
		err := rec.Create(tx)
		if vault.KindOf(err) == vault.KindExists {
			return bad("Vault is already initialized")
		}
		if err != nil {
			return err
		}
		if keys, err = s.begin(tx, o, id, set.Environments); err != nil {
			return err
		}
		tokens, err := token.New(keys.Tokens)
		if err != nil {
			return err
		}
		tokens.Now = s.Now
		o.tokens = tokens
		root, err = o.rootToken(tx, set.Token)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	s.Logger.Info("initialised", "server", id)
	if !set.Open {
		ring.Seal()
		return shares, root, nil
	}
	return shares, root, s.ready(o, keys)
}

func (s *Server) unseal(ctx context.Context, w http.ResponseWriter, req *guard.Request) error {
	var in wire.Unseal
	if len(req.Body) > 0 {
		if err := json.Unmarshal(req.Body, &in); err != nil {
			return bad("failed to decode JSON input: %s", err)
		}
	}
	rec, err := s.record(ctx)
	if err != nil {
		return err
	}
	switch {
	case rec == nil:
		return bad("Vault is not initialized")
	case s.open.Load() != nil:
		return s.sealStatus(ctx, w, req)
	case bool(in.Reset):
		s.mu.Lock()
		s.forget()
		s.mu.Unlock()
		return s.sealStatus(ctx, w, req)
	case in.Key == "":
		return bad("'key' must be specified in request body as JSON, or 'reset' set to true")
	}
	share, err := hex.DecodeString(string(in.Key))
	if err != nil {
		if share, err = base64.StdEncoding.DecodeString(string(in.Key)); err != nil {
			return bad("'key' must be a valid hex or base64 string")
		}
	}
	if err := s.Share(ctx, share); err != nil {
		return err
	}
	if err := s.Attend(ctx); err != nil {
		s.Logger.Error("attending to the root key", "error", err)
	}
	return s.sealStatus(ctx, w, req)
}

// Share takes in one share of the root key, and opens the server with the last of
// those that it takes. When they are not the right ones all are forgotten.
func (s *Server) Share(ctx context.Context, share []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open.Load() != nil {
		return nil
	}
	for _, have := range s.shares {
		if subtle.ConstantTimeCompare(have, share) == 1 {
			return nil
		}
	}
	rec, err := s.record(ctx)
	if err != nil {
		return err
	}
	if rec == nil {
		return bad("Vault is not initialized")
	}
	if _, err := rec.CheckShare(share); err != nil {
		return err
	}
	if s.nonce == "" {
		s.nonce = newUUID()
	}
	s.shares = append(s.shares, share)
	if t, _ := shamirOf(rec); len(s.shares) < t {
		return nil
	}
	ring := new(keyring.Ring)
	_, err = ring.Unseal(ctx, rec, nil, s.shares)
	s.forget()
	switch vault.KindOf(err) {
	case vault.KindDenied, vault.KindInvalid, vault.KindTampered:
		return bad("unseal failed, invalid key")
	}
	if err != nil {
		return err
	}
	return s.unlock(ctx, ring)
}

// Unseal opens the server with an identity that its root key is sealed for, and
// returns the id of that sealer. It waits for a plugin.
func (s *Server) Unseal(ctx context.Context, identities []age.Identity) (by string, err error) {
	err = s.unsealWith(ctx, func(ring *keyring.Ring, rec *keyring.Record) (err error) {
		by, err = ring.Unseal(ctx, rec, identities, nil)
		return err
	})
	return by, err
}

// forget drops the shares that have come in. The lock is held.
func (s *unsealing) forget() {
	for _, b := range s.shares {
		clear(b)
	}
	s.shares, s.nonce = nil, ""
}

// Lock seals the server: requests that are under way fail or end.
func (s *Server) Lock() {
	if o := s.open.Swap(nil); o != nil {
		o.deaf()
		o.hub.end()
		o.ring.Seal()
		s.Logger.Warn("sealed")
	}
}

// sealing is sys/seal.
type sealing struct{ s *Server }

func (l sealing) area() area { return area{{path: "seal", update: l.seal, sudo: true}} }

// seal closes the server when the request was recorded and answered: its own
// transaction still needs the keys.
func (l sealing) seal(c *call, _ []string) (*answer, error) {
	a := done()
	a.After = l.s.Lock
	return a, nil
}
