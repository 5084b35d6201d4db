package redact

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
)

// An index finds patterns in text. Three steps, each run only where the one
// before it lets a place through:
//
//  1. a filter reads one block of four bytes out of every five and asks a bit
//     set whether any pattern holds that block near its start. No read depends
//     on the answer to the one before, so that a processor does several at a
//     time; a shift table as of Wu and Manber waits for each answer;
//  2. a hash table of the first eight bytes of every pattern;
//  3. a binary search among the sorted patterns that share these bytes.
//
// The worst case is text in which every byte starts most of a pattern, like
// aaaa… with the pattern aaa…ab: for each byte of text, maxPattern bytes are
// compared with as many patterns as a binary search visits. That is linear, at
// 10 to 40 MB/s.
type index struct {
	arena   []byte // all patterns; entries point into it
	entries []entry
	groups  []group  // entries that share a head, in the order of entries
	slots   []uint32 // hash of a head to 1 + number of the group; 0 is empty
	shift   uint     // 64 - log2(len(slots))

	min     int    // bytes of the shortest pattern
	head    int    // bytes of a head: min(min, 8)
	mask    uint64 // the head's bytes of a big-endian word
	stride  int    // places that one block stands for
	block   int    // bytes of a block: 4, or 3 when min is 3
	blocks  *[filterWords]uint64
	heads   *[headWords]uint64 // a bit for each hash of a head; only with the fast stride
	byFirst [257]uint32        // entries that start with byte c are byFirst[c]:byFirst[c+1]
	starts  [startWords]uint64 // a bit for each hash of the first 3 bytes of a pattern
}

// An entry is one pattern.
type entry struct {
	key    uint64 // the first 8 bytes, big-endian, zeros after a shorter one
	off    uint32 // arena[off:off+n]
	n      uint32
	secret uint32
	parent int32 // the longest other entry that this one starts with, or -1
}

type group struct {
	head   uint64
	lo, hi uint32 // entries[lo:hi]
	max    uint32 // bytes of the longest
}

const (
	// maxPattern bounds a pattern, and with it what a Writer may have to hold
	// back and what the worst case compares.
	maxPattern = 256

	filterBits  = 18 // 32 KiB: stays in the first cache; with 1,000 patterns 2 % of the bits are set
	filterWords = 1 << (filterBits - 6)

	headBits  = 16 // 8 KiB
	headWords = 1 << (headBits - 6)

	startBits  = 13 // 1 KiB
	startWords = 1 << (startBits - 6)

	blockLen   = 4
	fastStride = minPattern - blockLen + 1
)

func (x *index) bytes(e *entry) []byte { return x.arena[e.off : e.off+e.n] }

// newIndex makes an index of the entries; nil when there are none.
func newIndex(arena []byte, entries []entry) *index {
	if len(entries) == 0 {
		return nil
	}
	x := &index{arena: arena, blocks: new([filterWords]uint64), heads: new([headWords]uint64)}
	x.sort(entries)
	x.min = maxPattern
	for i := range x.entries {
		x.min = min(x.min, int(x.entries[i].n))
	}
	x.min = min(x.min, minPattern) // more would not make the fast filter faster
	x.head = x.min
	x.mask = ^uint64(0) << (64 - 8*x.head)
	x.block = min(blockLen, x.min)
	x.stride = x.min - x.block + 1
	x.link()
	x.tables()
	return x
}

// sort sets entries, in the order of their bytes, each once. Of equal ones it
// keeps that of the first secret.
func (x *index) sort(entries []entry) {
	// Plain numbers sort several times as fast as patterns: the first five bytes
	// and the number of the entry, then what that leaves undecided.
	const numberBits = 24
	order := make([]uint64, len(entries))
	for i := range entries {
		e := &entries[i]
		e.key = loadHead(x.bytes(e))
		order[i] = e.key>>numberBits<<numberBits | uint64(i)
	}
	slices.Sort(order)
	x.entries = make([]entry, len(entries))
	for i, o := range order {
		x.entries[i] = entries[o&(1<<numberBits-1)]
	}
	compare := func(a, b entry) int {
		if c := cmp.Compare(a.key, b.key); c != 0 {
			return c
		}
		if c := bytes.Compare(x.bytes(&a), x.bytes(&b)); c != 0 {
			return c
		}
		return cmp.Compare(a.secret, b.secret)
	}
	for lo, hi := 0, 0; lo < len(order); lo = hi {
		for hi = lo + 1; hi < len(order) && order[lo]>>numberBits == order[hi]>>numberBits; hi++ {
		}
		if hi-lo > 1 {
			slices.SortFunc(x.entries[lo:hi], compare)
		}
	}
	x.entries = slices.CompactFunc(x.entries, func(a, b entry) bool {
		return a.key == b.key && bytes.Equal(x.bytes(&a), x.bytes(&b))
	})
}

// link finds the parents: in sorted order they are on a stack.
func (x *index) link() {
	top := int32(-1)
	for i := range x.entries {
		e := &x.entries[i]
		for top >= 0 && !bytes.HasPrefix(x.bytes(e), x.bytes(&x.entries[top])) {
			top = x.entries[top].parent
		}
		e.parent = top
		top = int32(i)
	}
}

func (x *index) tables() {
	first := 0
	for c := range 256 {
		for first < len(x.entries) && int(x.arena[x.entries[first].off]) < c {
			first++
		}
		x.byFirst[c] = uint32(first)
	}
	x.byFirst[256] = uint32(len(x.entries))

	x.groups = make([]group, 0, len(x.entries))
	for i := range x.entries {
		e := &x.entries[i]
		h := e.key & x.mask
		if len(x.groups) == 0 || x.groups[len(x.groups)-1].head != h {
			x.groups = append(x.groups, group{head: h, lo: uint32(i)})
			p := x.bytes(e)
			for j := range x.stride {
				v := hashBlock(x.load(p[j:]))
				x.blocks[v>>6] |= 1 << (v & 63)
			}
			v := hashStart(p)
			x.starts[v>>6] |= 1 << (v & 63)
			v = hashHead(h) >> (64 - headBits)
			x.heads[v>>6] |= 1 << (v & 63)
		}
		g := &x.groups[len(x.groups)-1]
		g.hi, g.max = uint32(i+1), max(g.max, e.n)
	}
	log := bits.Len(uint(2*len(x.groups)) | 7)
	x.slots, x.shift = make([]uint32, 1<<log), uint(64-log)
	for i := range x.groups {
		s := hashHead(x.groups[i].head) >> x.shift
		for x.slots[s] != 0 {
			s = (s + 1) & uint64(len(x.slots)-1)
		}
		x.slots[s] = uint32(i + 1)
	}
}

// load reads a block of the index's size.
func (x *index) load(b []byte) uint32 {
	if x.block == 3 {
		return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
	}
	return binary.LittleEndian.Uint32(b)
}

func hashBlock(v uint32) uint32 { return v * 0x9E3779B1 >> (32 - filterBits) }
func hashStart(b []byte) uint64 {
	return hashHead(uint64(b[0])|uint64(b[1])<<8|uint64(b[2])<<16) >> (64 - startBits)
}
func hashHead(h uint64) uint64 { return h * 0x9E3779B97F4A7C15 }

// loadHead reads the first 8 bytes of b, with zeros where b has no more.
func loadHead(b []byte) uint64 {
	if len(b) >= 8 {
		return binary.BigEndian.Uint64(b)
	}
	var h uint64
	for i, c := range b {
		h |= uint64(c) << (56 - 8*i)
	}
	return h
}

// A hit is what find stops at. With live, the text ends before it is known
// whether a pattern, or a longer one, starts at at; without it the longest pattern
// there ends at end, and at == end says that the text holds no more.
type hit struct {
	at, end int
	secret  uint32
	live    bool
}

// find returns the first hit in b from from on. With final, b is all there
// will be, and nothing is live.
func (x *index) find(b []byte, from int, final bool) hit {
	i := from
	for {
		if x.min == minPattern {
			i = x.skip(b, i)
		} else {
			i = x.skipShort(b, i)
		}
		if len(b)-i < x.min {
			break
		}
		for p := x.startFrom(b, i); p < i+x.stride; p++ {
			if h := x.at(b, p, p, final); h.live || h.end > p {
				return h
			}
		}
		i += x.stride
	}
	if !final {
		for p := i; p < len(b); p++ {
			if x.startsEntry(b[p:]) {
				return hit{at: p, end: p, live: true}
			}
		}
	}
	return hit{at: len(b), end: len(b)}
}

// skip returns the first of i, i+5, i+10… from which one of the next five
// places may start a pattern, or the first from which b is shorter than one.
func (x *index) skip(b []byte, i int) int {
	const s = fastStride
	f := x.blocks
	for i+4*s+blockLen <= len(b) {
		w := b[i+s-1 : i+4*s+blockLen-1]
		h0 := hashBlock(binary.LittleEndian.Uint32(w[0:4]))
		h1 := hashBlock(binary.LittleEndian.Uint32(w[s : s+4]))
		h2 := hashBlock(binary.LittleEndian.Uint32(w[2*s : 2*s+4]))
		h3 := hashBlock(binary.LittleEndian.Uint32(w[3*s : 3*s+4]))
		m0 := f[h0>>6] >> (h0 & 63)
		m1 := f[h1>>6] >> (h1 & 63)
		m2 := f[h2>>6] >> (h2 & 63)
		m3 := f[h3>>6] >> (h3 & 63)
		if (m0|m1|m2|m3)&1 != 0 {
			switch {
			case m0&1 != 0:
				return i
			case m1&1 != 0:
				return i + s
			case m2&1 != 0:
				return i + 2*s
			}
			return i + 3*s
		}
		i += 4 * s
	}
	return x.skipShort(b, i)
}

// startFrom returns the first of the stride places from i on at which a
// pattern may start, or the place behind them.
func (x *index) startFrom(b []byte, i int) int {
	if x.min != minPattern || i+fastStride+7 > len(b) {
		return i
	}
	w := b[i : i+fastStride+7]
	h0 := hashHead(binary.BigEndian.Uint64(w[0:8])) >> (64 - headBits)
	h1 := hashHead(binary.BigEndian.Uint64(w[1:9])) >> (64 - headBits)
	h2 := hashHead(binary.BigEndian.Uint64(w[2:10])) >> (64 - headBits)
	h3 := hashHead(binary.BigEndian.Uint64(w[3:11])) >> (64 - headBits)
	h4 := hashHead(binary.BigEndian.Uint64(w[4:12])) >> (64 - headBits)
	f := x.heads
	m := f[h0>>6]>>(h0&63)&1 | f[h1>>6]>>(h1&63)&1<<1 | f[h2>>6]>>(h2&63)&1<<2 | f[h3>>6]>>(h3&63)&1<<3 | f[h4>>6]>>(h4&63)&1<<4
	return i + bits.TrailingZeros64(m|1<<fastStride)
}

// skipShort is skip for any stride and size of block.
func (x *index) skipShort(b []byte, i int) int {
	s, f := x.stride, x.blocks
	keep := ^uint32(0) >> (32 - 8*x.block)
	for i+4*s+blockLen <= len(b) {
		w := b[i+s-1 : i+4*s+blockLen-1]
		h0 := hashBlock(binary.LittleEndian.Uint32(w) & keep)
		h1 := hashBlock(binary.LittleEndian.Uint32(w[s:]) & keep)
		h2 := hashBlock(binary.LittleEndian.Uint32(w[2*s:]) & keep)
		h3 := hashBlock(binary.LittleEndian.Uint32(w[3*s:]) & keep)
		if (f[h0>>6]>>(h0&63)|f[h1>>6]>>(h1&63)|f[h2>>6]>>(h2&63)|f[h3>>6]>>(h3&63))&1 != 0 {
			break
		}
		i += 4 * s
	}
	for ; i+x.min <= len(b); i += s {
		h := hashBlock(x.load(b[i+s-1:]))
		if f[h>>6]>>(h&63)&1 != 0 {
			break
		}
	}
	return i
}

// at returns the longest pattern at b[p:]. Patterns that would end at beyond or
// before it are not looked for.
func (x *index) at(b []byte, p, beyond int, final bool) hit {
	none := hit{at: p, end: p}
	t := b[p:]
	if len(t) < x.head {
		none.live = !final && x.startsEntry(t)
		return none
	}
	head := loadHead(t[:min(len(t), 8)]) & x.mask
	s := hashHead(head) >> x.shift
	for x.slots[s] != 0 && x.groups[x.slots[s]-1].head != head {
		s = (s + 1) & uint64(len(x.slots)-1)
	}
	if x.slots[s] == 0 {
		return none
	}
	g := &x.groups[x.slots[s]-1]
	if p+int(g.max) <= beyond {
		return none
	}
	i, common, live := x.search(t, int(g.lo), int(g.hi), x.head)
	// The longest pattern that t starts with is entry i-1 or one it starts with.
	for j := int32(i) - 1; j >= int32(g.lo); j = x.entries[j].parent {
		if e := &x.entries[j]; int(e.n) <= common {
			return hit{at: p, end: p + int(e.n), secret: e.secret, live: live && !final}
		}
	}
	none.live = live && !final
	return none
}

// search returns the first of entries[lo:hi] that comes after t, counting a
// prefix of t as before it, how many bytes t shares with the entry before
// that, and whether t is a prefix of the entry it returns. All these entries
// share their first known bytes with t.
func (x *index) search(t []byte, lo, hi, known int) (i, common int, live bool) {
	loCommon, hiCommon := known, known
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		p := x.bytes(&x.entries[mid])
		n := sharedPrefix(p, t, min(loCommon, hiCommon))
		if n == len(p) || n < len(t) && p[n] < t[n] {
			lo, loCommon = mid+1, n
		} else {
			hi, hiCommon = mid, n
			live = n == len(t)
		}
	}
	return lo, loCommon, live
}

// sharedPrefix counts the bytes that a and b share at their start, given that
// they share n.
func sharedPrefix(a, b []byte, n int) int {
	const block = 64
	m := min(len(a), len(b))
	a, b = a[:m], b[:m]
	for n+8 <= m {
		if d := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); d != 0 {
			return n + bits.TrailingZeros64(d)>>3
		}
		n += 8
		for n+block <= m && string(a[n:n+block]) == string(b[n:n+block]) {
			n += block
		}
	}
	for n < m && a[n] == b[n] {
		n++
	}
	return n
}

// startsEntry reports whether a pattern starts with t, which is not empty and
// shorter than the shortest pattern.
func (x *index) startsEntry(t []byte) bool {
	lo, hi := int(x.byFirst[t[0]]), int(x.byFirst[int(t[0])+1])
	if lo == hi || len(t) == 1 {
		return lo < hi
	}
	if len(t) >= 3 {
		if v := hashStart(t); x.starts[v>>6]>>(v&63)&1 == 0 {
			return false
		}
	}
	_, _, live := x.search(t, lo, hi, 1)
	return live
}
