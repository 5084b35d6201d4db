package seal

import (
	"crypto/sha256"

	"envrun/vault"
)

const (
	labelCache   = "envrun/v1/cache"
	labelSubject = "envrun/v1/cache-subject"
)

func cacheContext(header []byte) lp {
	return make(lp, 0, 2*4+len(labelCache)+len(header)).text(labelCache).text(string(header))
}

// SealCache encrypts the records of an offline cache, under a key of its own that
// comes from k and the header, the text that stands in clear above them:
//
//	C    = HKDF-Expand(K, LP("envrun/v1/cache", header))
//	body = nonce ‖ AES-256-GCM(C, plain, AAD = the same LP)
func (k Key) SealCache(header, plain []byte) ([]byte, error) {
	return k.sealUnder(cacheContext(header), plain)
}

// OpenCache opens what SealCache made for the same header. KindTampered if it was
// made for another, under another key, or was changed.
func (k Key) OpenCache(header, sealed []byte) ([]byte, error) {
	plain, ok, err := k.openUnder(cacheContext(header), sealed)
	if err == nil && !ok {
		err = &vault.Error{Kind: vault.KindTampered, Detail: "the cache does not open as what its header says"}
	}
	return plain, err
}

// SubjectKey comes from a token, so that what is named by it says nothing of the
// token, and of a guess only to those who have it.
func SubjectKey(token string) Key {
	sum := sha256.Sum256(lp(nil).text(labelSubject).text(token))
	return Key{hide(&sum)}
}
