// Package recent keeps what was used of late, of a bounded size: a cache of two
// halves. What is used goes into the young half; when that is full the old one is
// forgotten and the young one takes its place.
//
// It refuses to know whether what it keeps is still true, and locks nothing: both
// are its owner's.
package recent

// Map keeps values by their keys. The zero Map with a Max is empty. It is not safe
// for several goroutines at a time.
type Map[K comparable, V any] struct {
	Max int // what the sizes in one half come to

	young, old map[K]sized[V]
	size       int // of young
}

type sized[V any] struct {
	v    V
	size int
}

// Get returns what is kept under a key, which then counts as used.
func (m *Map[K, V]) Get(key K) (v V, ok bool) {
	s, ok := m.young[key]
	if !ok {
		if s, ok = m.old[key]; ok {
			m.add(key, s)
		}
	}
	return s.v, ok
}

// Put keeps a value. What was under the key is forgotten.
func (m *Map[K, V]) Put(key K, v V, size int) {
	m.size -= m.young[key].size
	m.add(key, sized[V]{v, size})
}

func (m *Map[K, V]) add(key K, s sized[V]) {
	if m.young == nil || m.size+s.size > m.Max {
		m.young, m.old, m.size = map[K]sized[V]{}, m.young, 0
	}
	m.young[key] = s
	m.size += s.size
}

// Delete forgets what is under a key.
func (m *Map[K, V]) Delete(key K) {
	m.size -= m.young[key].size
	delete(m.young, key)
	delete(m.old, key)
}

// Clear forgets all.
func (m *Map[K, V]) Clear() { m.young, m.old, m.size = nil, nil, 0 }
