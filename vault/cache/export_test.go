package cache

// OnStep has f told of each step of a change.
func (s *Store) OnStep(f func(string)) { s.step = f }
