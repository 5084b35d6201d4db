//go:build unix

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	random "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// A minter is an issuer of identity tokens, whose keys anybody may fetch.
type minter struct {
	*httptest.Server
	fetched atomic.Int64
	key     *ecdsa.PrivateKey
}

const minterKey = "bench"

func newMinter() (*minter, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	m := &minter{key: key}
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: minterKey, Algorithm: "ES256", Use: "sig"}}}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.fetched.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(set)
	}))
	return m, nil
}

// token is one that is good for an hour, signed with ES256.
func (m *minter) token(kid string) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: m.key, KeyID: kid}}, nil)
	if err != nil {
		return "", err
	}
	now := time.Now().Unix()
	claims, err := json.Marshal(map[string]any{"iss": m.URL, "aud": "bench", "sub": "job", "jti": rand.Text(), "iat": now, "exp": now + 3600})
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// trusted has a server take what an issuer makes.
func (m *minter) trusted(s *server) error {
	for _, c := range []struct {
		path string
		body map[string]any
	}{
		{"sys/auth/jwt", map[string]any{"type": "jwt"}},
		{"auth/jwt/config", map[string]any{"jwks_url": m.URL, "bound_issuer": m.URL, "jwt_supported_algs": []string{"ES256"}, "allow_private_issuer": true}},
		{"auth/jwt/role/bench", map[string]any{"role_type": "jwt", "bound_audiences": []string{"bench"}, "bound_subject": "job", "user_claim": "sub",
			"token_policies": []string{benchMount}, "token_ttl": "10m", "single_use": false}},
	} {
		if err := s.call("POST", c.path, s.root, c.body, nil); err != nil {
			return fmt.Errorf("%s: %s: %w", s.name, c.path, err)
		}
	}
	return nil
}

// bringing signs in with one of some tokens each time.
func bringing(s *server, tokens []string, conns int) load {
	l := load{addr: s.addr, conns: conns}
	l.next = func(r *random.Rand, buf []byte) []byte {
		return l.request(buf, "POST", "auth/jwt/login", `{"role":"bench","jwt":"`+tokens[r.IntN(len(tokens))]+`"}`)
	}
	return l
}

// stormed is how many tries a second somebody makes with keys that nobody has.
const stormed = 10_000

// logins is signing in with identity tokens, with the keys of their issuer at hand:
// against Vault; and beside a storm of tokens whose keys are nobody's.
func (b *bench) logins() ([]line, error) {
	defer b.stopAll()
	m, err := newMinter()
	if err != nil {
		return nil, err
	}
	defer m.Close()
	// What limits tries is left out of the first row and is as by default in the second.
	ours, err := b.startEnvrund("envrund-logins", false, "[limits]\nlogin_rate = 0\nmount_rate = 0\nunknown_rate = 0\n")
	if err != nil {
		return nil, err
	}
	servers := []*server{ours}
	if b.vault != "" {
		theirs, err := b.startVault("vault-logins")
		if err != nil {
			return nil, err
		}
		servers = append(servers, theirs)
	}
	good, unknown := make([]string, 256), make([]string, 4096)
	for i := range good {
		if good[i], err = m.token(minterKey); err != nil {
			return nil, err
		}
	}
	for i := range unknown {
		if unknown[i], err = m.token(fmt.Sprintf("nobody-%d", i)); err != nil {
			return nil, err
		}
	}
	for _, s := range servers {
		if err := m.trusted(s); err != nil {
			return nil, err
		}
	}
	all, err := b.rates(max(1, b.rounds/2), oneRound, servers, func(s *server) load { return bringing(s, good, clients) })
	if err != nil {
		return nil, err
	}
	var peer []rate
	if len(all) > 1 {
		peer = all[1]
	}
	shown := func(v float64) string { return fmt.Sprintf("%.0f /s", v) }
	lines := []line{
		more("sign-ins with an identity token (ES256), 32 connections, for each second of processor time", all[0], peer, func(r rate) float64 { return r.perCPU }, shown, promise{"≥", 3}),
		more("… in all", all[0], peer, func(r rate) float64 { return r.perSecond }, shown, promise{}),
	}
	for _, s := range servers {
		s.stop(b)
	}
	beside, err := b.storm(m, good, unknown)
	return append(lines, beside...), err
}

// storm measures sign-ins of one address while another one brings tokens of unknown
// keys, as many as it can up to stormed a second.
func (b *bench) storm(m *minter, good, unknown []string) ([]line, error) {
	s, err := b.startEnvrund("envrund-storm", false)
	if err != nil {
		return nil, err
	}
	if err := m.trusted(s); err != nil {
		return nil, err
	}
	calm := bringing(s, good, 1)
	calm.pause = 250 * time.Millisecond // as many as one address may
	const seconds = 20
	alone, err := calm.during(seconds*time.Second, 0)
	if err != nil {
		return nil, err
	}
	before := m.fetched.Load()
	wind := bringing(s, unknown, clients)
	wind.from, wind.refused, wind.pause = "127.0.0.2", true, clients*time.Second/stormed
	blown := make(chan tookAll, 1)
	go func() {
		took, _ := wind.during((seconds+1)*time.Second, 0)
		blown <- took
	}()
	beside, err := calm.during(seconds*time.Second, 0)
	storm := <-blown
	if err != nil {
		return nil, err
	}
	fetches := m.fetched.Load() - before
	ratio := beside.at(0.5).Seconds() / alone.at(0.5).Seconds()
	met := map[bool]string{true: "met", false: "NOT met"}
	return []line{
		{what: fmt.Sprintf("a sign-in beside %d tokens a second of unknown keys", len(storm)/(seconds+1)), mine: ms(beside.at(0.5).Seconds()), against: ms(alone.at(0.5).Seconds()) + " alone",
			ratio: times(ratio), promise: "≤ 2 ×", met: met[ratio <= 2]},
		{what: fmt.Sprintf("… keys fetched in its %d s", seconds+1), mine: fmt.Sprint(fetches), promise: "≤ 1 in 30 s", met: met[fetches <= 1]},
	}, nil
}
