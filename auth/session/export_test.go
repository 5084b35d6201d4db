package session

import (
	"encoding/json"
	"time"
)

// SetStep has f called wherever a process that changes sessions could die.
func (s *Store) SetStep(f func(string)) { s.step = f }

// SetPatience has locks waited for no longer than d.
func (s *Store) SetPatience(d time.Duration) { s.patience = d }

// SetWorkFactor makes passphrases cheap.
func (s *Store) SetWorkFactor(n int) { s.workFactor = n }

// Same reports whether two records say the same.
func Same(a, b Record) bool { return a.same(b) }

// ParseIndex reads an index and writes it again; MarshalIndex makes one.
func ParseIndex(text []byte) (again []byte, accounts []Account, err error) {
	x, err := parseIndex(text)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range x.entries {
		accounts = append(accounts, e.Account)
	}
	return x.marshal(), accounts, nil
}

// Sealer seals and unseals with a key of its own.
func Sealer(key []byte) (doSeal func(id string, r Record) ([]byte, error), doUnseal func(id string, file []byte) (Record, error), err error) {
	k, err := newKeyring(key)
	return func(id string, r Record) ([]byte, error) { return seal(k, id, r) },
		func(id string, file []byte) (Record, error) { return unseal(k, id, file) }, err
}

// ParseRecord reads what is sealed and writes it again.
func ParseRecord(text []byte) (again []byte, err error) {
	r, err := parseRecord(text)
	if err != nil {
		return nil, err
	}
	return json.Marshal(r.plain())
}
