package keyring

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/secretsharing"

	"envrun/auth/agekey"
	"envrun/vault"
	"envrun/vault/seal"
)

// MaxShares is how many shares a key is split into at most.
const MaxShares = 255

// ShareSize is the size in bytes of a share:
//
//	1 ‖ set (4) ‖ threshold (1) ‖ index (1) ‖ value (32) ‖ the beginning of SHA-256 of all before (4)
//
// The set is a random number that all shares of one splitting have.
const ShareSize = shareBody + 4

const shareBody = 1 + 4 + 1 + 1 + 32

var field = group.Ristretto255

// split makes n shares, any k of which give the same key again.
func split(k, n int) (key seal.Key, set uint32, shares [][]byte, err error) {
	if k < 1 || n < k || n > MaxShares {
		return seal.Key{}, 0, nil, &vault.Error{Kind: vault.KindInvalid,
			Detail: fmt.Sprintf("%d of %d is no way to share a key: at least 1 share, at most %d, and no more needed than there are", k, n, MaxShares)}
	}
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		return seal.Key{}, 0, nil, fmt.Errorf("sharing a key: %w", err)
	}
	secret := field.RandomNonZeroScalar(rand.Reader)
	if key, err = shared(secret); err != nil {
		return seal.Key{}, 0, nil, err
	}
	for i, s := range secretsharing.New(rand.Reader, uint(k-1), secret).Share(uint(n)) {
		value, err := s.Value.MarshalBinary()
		if err != nil {
			return seal.Key{}, 0, nil, fmt.Errorf("sharing a key: %w", err)
		}
		share := append([]byte{1}, b[:]...)
		share = append(share, byte(k), byte(i+1))
		share = append(share, value...)
		clear(value)
		sum := sha256.Sum256(share)
		shares = append(shares, append(share, sum[:ShareSize-shareBody]...))
	}
	return key, binary.BigEndian.Uint32(b[:]), shares, nil
}

func shared(secret group.Scalar) (seal.Key, error) {
	b, err := secret.MarshalBinary()
	if err != nil {
		return seal.Key{}, fmt.Errorf("sharing a key: %w", err)
	}
	defer clear(b)
	k, err := hkdf.Key(sha256.New, b, nil, "envrun/v1/shamir", seal.KeySize)
	if err != nil {
		return seal.Key{}, fmt.Errorf("sharing a key: %w", err)
	}
	defer clear(k)
	return seal.KeyOf(k)
}

// A shareFacts is what a share says of itself.
type shareFacts struct {
	set       uint32
	threshold int
	index     int
}

func parseShare(share []byte) (shareFacts, error) {
	bad := func(detail string) (shareFacts, error) {
		return shareFacts{}, &vault.Error{Kind: vault.KindInvalid, Detail: detail}
	}
	if len(share) != ShareSize || share[0] != 1 {
		return bad(fmt.Sprintf("a share has %d bytes and begins with 1", ShareSize))
	}
	sum := sha256.Sum256(share[:shareBody])
	if subtle.ConstantTimeCompare(sum[:ShareSize-shareBody], share[shareBody:]) != 1 {
		return bad("the share was not copied well: its check sum is wrong")
	}
	f := shareFacts{binary.BigEndian.Uint32(share[1:]), int(share[5]), int(share[6])}
	if f.threshold < 1 || f.index < 1 {
		return bad("the share is not of its form")
	}
	return f, nil
}

// join gives the key that was split, or another if a share was made up.
// The shares are of one set, different, and as many as they say.
func join(shares [][]byte) (seal.Key, error) {
	var points []secretsharing.Share
	for _, share := range shares {
		value := field.NewScalar()
		if err := value.UnmarshalBinary(share[7:shareBody]); err != nil {
			return seal.Key{}, &vault.Error{Kind: vault.KindInvalid, Detail: "the share is not of its form"}
		}
		points = append(points, secretsharing.Share{ID: field.NewScalar().SetUint64(uint64(share[6])), Value: value})
	}
	secret, err := secretsharing.Recover(uint(shares[0][5])-1, points)
	if err != nil {
		return seal.Key{}, &vault.Error{Kind: vault.KindInvalid, Detail: "joining shares", Err: err}
	}
	return shared(secret)
}

// ForOperators seals shares for one operator each, as age files in text. What is
// in each is the share in base64, as it is given to unseal. KindInvalid unless there
// are as many of the one as of the other.
func ForOperators(shares [][]byte, to []AgeSealer) ([]string, error) {
	if len(shares) != len(to) {
		return nil, &vault.Error{Kind: vault.KindInvalid, Detail: fmt.Sprintf("there are %d shares for %d recipients", len(shares), len(to))}
	}
	var out []string
	for i, share := range shares {
		r, err := agekey.ParseRecipient(to[i].Recipient)
		if err != nil {
			return nil, &vault.Error{Kind: vault.KindInvalid, Detail: "the recipient of " + to[i].Name, Err: err}
		}
		var b strings.Builder
		a := armor.NewWriter(&b)
		w, err := age.Encrypt(a, r)
		if err != nil {
			return nil, fmt.Errorf("sealing a share for %s: %w", to[i].Name, err)
		}
		if _, err := w.Write([]byte(base64.StdEncoding.EncodeToString(share) + "\n")); err != nil {
			return nil, fmt.Errorf("sealing a share for %s: %w", to[i].Name, err)
		}
		if err := errors.Join(w.Close(), a.Close()); err != nil {
			return nil, fmt.Errorf("sealing a share for %s: %w", to[i].Name, err)
		}
		out = append(out, b.String())
	}
	return out, nil
}
