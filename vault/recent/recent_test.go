package recent_test

import (
	"math/rand/v2"
	"testing"

	"envrun/vault/recent"
)

func TestMap(t *testing.T) {
	m := recent.Map[string, int]{Max: 10}
	have := func(key string, want int) {
		t.Helper()
		if v, ok := m.Get(key); ok != (want != 0) || v != want {
			t.Errorf("%s: %d, %v; want %d", key, v, ok, want)
		}
	}
	have("a", 0)
	m.Put("a", 1, 4)
	m.Put("b", 2, 4)
	m.Put("a", 3, 5) // in place of what was there
	have("a", 3)
	m.Put("c", 4, 4) // the young half begins anew
	have("b", 2)     // used: young again
	m.Put("d", 5, 4)
	have("a", 0) // not used since
	have("b", 2)
	have("c", 4)
	m.Put("huge", 6, 100)
	have("huge", 6)
	m.Delete("huge")
	have("huge", 0)
	m.Clear()
	have("b", 0)
}

// What is kept is what was put last, and never more than two halves and one more.
func TestBound(t *testing.T) {
	m := recent.Map[int, int]{Max: 50}
	last := map[int]int{}
	for n := range 20_000 {
		key := rand.IntN(40)
		switch rand.IntN(8) {
		case 0:
			m.Delete(key)
			delete(last, key)
		case 1, 2, 3:
			m.Put(key, n, 1+rand.IntN(5))
			last[key] = n
		default:
			if v, ok := m.Get(key); ok && v != last[key] {
				t.Fatalf("%d is %d, want %d", key, v, last[key])
			}
		}
	}
	kept := 0
	for n := range 1000 {
		m.Put(1000+n, n, 10)
	}
	for n := range 1000 {
		if _, ok := m.Get(1000 + n); ok {
			kept++
		}
	}
	if kept == 0 || kept > 10 {
		t.Errorf("%d of size 10 are kept where each half has room for 5", kept)
	}
}
