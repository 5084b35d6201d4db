package oidc

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"envrun/auth"
	"envrun/auth/strictjson"
)

// Bounds of a JWKS.
const (
	maxKeys    = 100
	maxRSABits = 8192
	minRSABits = 2048
)

// ParseJWKS reads a JSON Web Key Set (RFC 7517). Keys that cannot check a
// signature here are left out: symmetric ones, private ones, those for encryption,
// RSA below 2048 bits or with a bad exponent, unknown kinds. It is an error if
// none is left.
func ParseJWKS(text []byte) ([]Key, error) {
	all, err := strictjson.Object(text, strictjson.Limits{Depth: 8, Values: 10_000})
	if err != nil {
		return nil, fmt.Errorf("the key set is not JSON: %w", err)
	}
	list, ok := all["keys"].([]any)
	if !ok {
		return nil, errors.New("the key set has no list of keys")
	}
	if len(list) > maxKeys {
		return nil, fmt.Errorf("the key set has more than %d keys", maxKeys)
	}
	var keys []Key
	for _, v := range list {
		if k, ok := parseJWK(v); ok {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the key set has no key that signatures can be checked with")
	}
	return keys, nil
}

func parseJWK(v any) (Key, bool) {
	m, ok := v.(map[string]any)
	if !ok {
		return Key{}, false
	}
	if use, there := m["use"]; there && use != "sig" {
		return Key{}, false
	}
	if ops, there := m["key_ops"]; there {
		if list, ok := ops.([]any); !ok || !slices.Contains(list, any("verify")) {
			return Key{}, false
		}
	}
	alg, there := m["alg"]
	name, _ := alg.(string)
	if there && !slices.Contains(Algorithms, name) {
		return Key{}, false
	}
	if id, there := m["kid"]; there {
		if s, ok := id.(string); !ok || s != "" && !auth.Plain(s, maxKeyID) {
			return Key{}, false
		}
	}
	// Certificates say nothing here, and a bad one is no reason to lose the key.
	for _, name := range []string{"x5c", "x5u", "x5t", "x5t#S256"} {
		delete(m, name)
	}
	text, err := json.Marshal(m)
	if err != nil {
		return Key{}, false
	}
	var k jose.JSONWebKey
	if err := k.UnmarshalJSON(text); err != nil || !k.IsPublic() || !k.Valid() {
		return Key{}, false
	}
	key := Key{ID: k.KeyID, Algorithm: name, Public: k.Key}
	if !slices.ContainsFunc(Algorithms, func(a string) bool { return fits(a, key) }) {
		return Key{}, false
	}
	return key, true
}

// ParsePEM reads public keys or certificates in PEM: the keys of an issuer that
// the configuration holds itself. They have no id.
func ParsePEM(text string) ([]Key, error) {
	var keys []Key
	rest := []byte(text)
	for {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		k := Key{}
		switch b.Type {
		case "PUBLIC KEY":
			pub, err := x509.ParsePKIXPublicKey(b.Bytes)
			if err != nil {
				return nil, errors.New("a public key is not of its form")
			}
			k.Public = pub
		case "RSA PUBLIC KEY":
			pub, err := x509.ParsePKCS1PublicKey(b.Bytes)
			if err != nil {
				return nil, errors.New("an RSA public key is not of its form")
			}
			k.Public = pub
		case "CERTIFICATE":
			cert, err := x509.ParseCertificate(b.Bytes)
			if err != nil {
				return nil, errors.New("a certificate is not of its form")
			}
			k.Public = cert.PublicKey
		default:
			return nil, errors.New("PEM of something that is no public key")
		}
		if !slices.ContainsFunc(Algorithms, func(a string) bool { return fits(a, k) }) {
			return nil, errors.New("a key is too weak, or of a kind that signatures are not checked with")
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 || len(strings.TrimSpace(string(rest))) > 0 {
		return nil, errors.New("not a public key in PEM")
	}
	return keys, nil
}

// fits says whether signatures of an algorithm are checked with a key.
func fits(alg string, k Key) bool {
	if k.Algorithm != "" && k.Algorithm != alg {
		return false
	}
	switch pub := k.Public.(type) {
	case *rsa.PublicKey:
		n := pub.N.BitLen()
		return (alg[:2] == "RS" || alg[:2] == "PS") && n >= minRSABits && n <= maxRSABits && pub.E >= 3 && pub.E%2 == 1
	case *ecdsa.PublicKey:
		switch alg {
		case "ES256":
			return pub.Curve == elliptic.P256()
		case "ES384":
			return pub.Curve == elliptic.P384()
		case "ES512":
			return pub.Curve == elliptic.P521()
		}
	case ed25519.PublicKey:
		return alg == "EdDSA" && len(pub) == ed25519.PublicKeySize
	}
	return false
}
