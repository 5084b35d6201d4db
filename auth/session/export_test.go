package session

import "time"

// SetStep has f called wherever a process that changes sessions could die.
func (s *Store) SetStep(f func(string)) { s.step = f }

// SetPatience has locks waited for no longer than d.
func (s *Store) SetPatience(d time.Duration) { s.patience = d }

// SetWorkFactor makes passphrases cheap.
func (s *Store) SetWorkFactor(n int) { s.workFactor = n }

// Same reports whether two records say the same.
func Same(a, b Record) bool { return a.same(b) }
