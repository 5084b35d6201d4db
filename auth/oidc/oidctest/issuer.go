// Package oidctest is an OpenID Connect issuer for tests, on this machine: it
// publishes a discovery document and keys, signs whatever it is asked to sign, and
// can be made to misbehave in each way that study auth §4.7 lists.
package oidctest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// The ids of the keys that every Issuer has.
const (
	RSA     = "rsa"       // 2048 bits, for every algorithm
	RSA256  = "rsa-rs256" // the same key, for RS256 alone
	RSAEnc  = "rsa-enc"   // the same key, for encryption
	RSAWeak = "rsa-1024"
	P256    = "ec-256"
	P384    = "ec-384"
	Ed      = "ed"
	Oct     = "oct" // symmetric, and published: anybody can sign with it
)

// keys are made once for all tests: RSA keys take their time.
var keys = sync.OnceValue(func() map[string]any {
	must := func(k any, err error) any {
		if err != nil {
			panic(err)
		}
		return k
	}
	big := must(rsa.GenerateKey(rand.Reader, 2048))
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	return map[string]any{
		RSA: big, RSA256: big, RSAEnc: big,
		RSAWeak: must(rsa.GenerateKey(rand.Reader, 1024)),
		P256:    must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)),
		P384:    must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)),
		Ed:      must(ed, err),
		Oct:     []byte("a symmetric key that everybody can read in the key set"),
	}
})

// PrivateKey is one of the keys, to sign with in ways that Sign does not.
func PrivateKey(id string) any { return keys()[id] }

// An Issuer is one that runs. Its hooks may be set before and between requests.
type Issuer struct {
	URL    string
	Server *httptest.Server

	mux *http.ServeMux

	mu        sync.Mutex
	discovery http.HandlerFunc
	jwks      http.HandlerFunc
	published []string

	Discoveries atomic.Int64 // how often the discovery document was asked for
	Fetches     atomic.Int64 // how often the keys were
	Others      atomic.Int64 // requests for anything else: nobody has a reason to make one
}

// New starts an issuer that answers over http on loopback, with all the keys. It
// ends with the test.
func New(t testing.TB) *Issuer {
	i := &Issuer{published: []string{RSA, RSA256, RSAEnc, RSAWeak, P256, P384, Ed, Oct}}
	mux := http.NewServeMux()
	i.mux = mux
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		i.Discoveries.Add(1)
		i.hook(&i.discovery, i.Discovery)(w, r)
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, r *http.Request) {
		i.Fetches.Add(1)
		i.hook(&i.jwks, i.JWKS)(w, r)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		i.Others.Add(1)
		http.NotFound(w, r)
	})
	// The address is set before the first request: another process may send it.
	i.Server = httptest.NewUnstartedServer(mux)
	i.URL = "http://" + i.Server.Listener.Addr().String()
	i.Server.Start()
	t.Cleanup(i.Server.Close)
	return i
}

func (i *Issuer) hook(own *http.HandlerFunc, usual http.HandlerFunc) http.HandlerFunc {
	i.mu.Lock()
	defer i.mu.Unlock()
	if *own != nil {
		return *own
	}
	return usual
}

// SetDiscovery answers for the discovery document from now on; nil is the usual one.
func (i *Issuer) SetDiscovery(h http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.discovery = h
}

// SetJWKS answers for the keys from now on; nil is the usual way.
func (i *Issuer) SetJWKS(h http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.jwks = h
}

// Publish makes these the keys of the issuer.
func (i *Issuer) Publish(ids ...string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.published = ids
}

// Discovery answers with the usual discovery document.
func (i *Issuer) Discovery(w http.ResponseWriter, _ *http.Request) {
	answer(w, i.document())
}

func (i *Issuer) document() map[string]any {
	return map[string]any{
		"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token",
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256", "ES256", "EdDSA", "HS256"},
	}
}

// JWKS answers with the keys that are published.
func (i *Issuer) JWKS(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	ids := i.published
	i.mu.Unlock()
	answer(w, KeySet(ids...))
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// KeySet is the public half of some of the keys.
func KeySet(ids ...string) jose.JSONWebKeySet {
	var set jose.JSONWebKeySet
	for _, id := range ids {
		k := jose.JSONWebKey{Key: keys()[id], KeyID: id, Use: "sig"}
		if s, ok := k.Key.(crypto.Signer); ok {
			k.Key = s.Public()
		}
		switch id {
		case RSA256:
			k.Algorithm = "RS256"
		case RSAEnc:
			k.Use = "enc"
		case Oct:
			k.Algorithm = "HS256"
		}
		set.Keys = append(set.Keys, k)
	}
	return set
}

// Claims are those of a token before it is signed.
type Claims map[string]any

// With is a copy with some claims changed; a value of nil removes one.
func (c Claims) With(change Claims) Claims {
	out := Claims{}
	for k, v := range c {
		out[k] = v
	}
	for k, v := range change {
		if out[k] = v; v == nil {
			delete(out, k)
		}
	}
	return out
}

// JSON is the claims as a payload.
func (c Claims) JSON() []byte {
	text, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return text
}

// Good are the claims of a token that everybody takes: of this issuer, for an
// audience, made now and good for five minutes.
func (i *Issuer) Good(audience string, now time.Time) Claims { return Good(i.URL, audience, now) }

// Good are those of any issuer.
func Good(issuer, audience string, now time.Time) Claims {
	return Claims{
		"iss": issuer, "sub": "alice", "aud": audience, "jti": rand.Text(),
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}
}

// Sign makes a token of claims with ES256.
func (i *Issuer) Sign(c Claims) string { return SignRaw("ES256", P256, c.JSON(), nil) }

// SignRaw makes a token of any payload, with any of the keys under its id, and with
// more in the header; a header of nil there is left out.
func SignRaw(alg, id string, payload []byte, header map[string]any) string {
	return SignKey(alg, keys()[id], id, payload, header)
}

// SignKey does so with a key that is given.
func SignKey(alg string, key any, id string, payload []byte, header map[string]any) string {
	opts := (&jose.SignerOptions{}).WithType("JWT")
	if id != "" {
		opts.WithHeader("kid", id)
	}
	for name, v := range header {
		if opts.WithHeader(jose.HeaderKey(name), v); v == nil {
			delete(opts.ExtraHeaders, jose.HeaderKey(name))
		}
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: key}, opts)
	if err != nil {
		panic(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		panic(err)
	}
	text, err := jws.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return text
}
