package kit

import (
	"bytes"
	"context"
	"strings"
	"unicode"
	"unicode/utf8"
)

// An Index is the names of a list, made ready for filtering. It is only ever
// appended to: a copy of the struct is a snapshot that a search may read while
// more names come in.
type Index struct {
	text  []byte   // the names folded, one after another
	start []uint32 // where each name begins in text; a name ends where the next begins
	has   []uint64 // the characters of each name, as bits
}

// Len is the number of names.
func (x *Index) Len() int { return len(x.has) }

// Add appends one name.
func (x *Index) Add(name string) {
	from := len(x.text)
	x.start = append(x.start, uint32(from))
	x.text = fold(x.text, name)
	x.has = append(x.has, maskOf(x.text[from:]))
}

// IndexOf makes the index of all rows.
func IndexOf(rows Rows) Index {
	n, size := rows.Len(), 0
	for i := range n {
		size += len(rows.Name(i))
	}
	x := Index{text: make([]byte, 0, size), start: make([]uint32, 0, n), has: make([]uint64, 0, n)}
	for i := range n {
		x.Add(rows.Name(i))
	}
	return x
}

// Join appends the names of another index, which are not read again. x must be
// nobody else's.
func (x *Index) Join(y Index) {
	n := uint32(len(x.text))
	x.text = append(x.text, y.text...)
	x.has = append(x.has, y.has...)
	at := len(x.start)
	x.start = append(x.start, y.start...)
	for i := range x.start[at:] {
		x.start[at+i] += n
	}
}

func (x *Index) name(i int32) []byte {
	if int(i)+1 < len(x.start) {
		return x.text[x.start[i]:x.start[i+1]]
	}
	return x.text[x.start[i]:]
}

// fold appends s to b in the form that is searched: small letters.
func fold(b []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if c >= utf8.RuneSelf {
			for _, r := range s[i:] {
				b = utf8.AppendRune(b, unicode.ToLower(r))
			}
			return b
		}
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}

// maskOf has a bit for each character that occurs: a name that lacks a bit of a
// word cannot match it.
func maskOf(text []byte) (m uint64) {
	for _, c := range text {
		m |= bit(c)
	}
	return m
}

func bit(c byte) uint64 {
	switch {
	case c >= 'a' && c <= 'z':
		return 1 << (c - 'a')
	case c >= '0' && c <= '9':
		return 1 << (26 + c - '0')
	}
	return 1 << (36 + c%28)
}

// A search is one look for a query, in all names or in those that an earlier
// and wider query had found.
type search struct {
	index  Index
	query  Query
	within []int32 // ascending; nil: all
	facet  func(f Facet, row int) bool
}

// Found are rows that match: in their own order, and best first.
type found struct {
	rows  []int32
	order []int32
}

// Most that a row can score; a row's score is its place in the order.
const maxScore = 1 << 10

// How often a search looks whether it is still wanted, in rows.
const searchStep = 1 << 12

func (s search) run(ctx context.Context) (found, error) {
	n := s.index.Len()
	if s.within != nil {
		n = len(s.within)
	}
	var need uint64
	patterns := make([]pattern, len(s.query.terms))
	for i, t := range s.query.terms {
		patterns[i] = pattern{term: t, bytes: []byte(t.text)}
		if !t.not {
			need |= maskOf(patterns[i].bytes)
		}
	}
	var rows []int32
	var scores []uint16
	var count [maxScore + 1]int32
	for i := range n {
		if i%searchStep == 0 && ctx.Err() != nil {
			return found{}, ctx.Err()
		}
		row := int32(i)
		if s.within != nil {
			row = s.within[i]
		}
		if s.index.has[row]&need != need {
			continue
		}
		score, ok := matchAll(patterns, s.index.name(row))
		if !ok || !s.facets(int(row)) {
			continue
		}
		if rows == nil {
			rows, scores = make([]int32, 0, n-i), make([]uint16, 0, n-i)
		}
		rows, scores = append(rows, row), append(scores, score)
		count[score]++
	}
	if rows == nil {
		rows = []int32{}
	}
	return found{rows, ranked(rows, scores, &count)}, nil
}

// ranked is a counting sort: best score first, and rows of one score in their own order.
func ranked(rows []int32, scores []uint16, count *[maxScore + 1]int32) []int32 {
	order := make([]int32, len(rows))
	at := int32(0)
	for s := maxScore; s >= 0; s-- {
		count[s], at = at, at+count[s]
	}
	for i, row := range rows {
		order[count[scores[i]]] = row
		count[scores[i]]++
	}
	return order
}

func (s search) facets(row int) bool {
	for _, f := range s.query.Facets {
		if s.facet == nil || s.facet(f, row) == f.Not {
			return false
		}
	}
	return true
}

type pattern struct {
	term
	bytes []byte
}

func matchAll(patterns []pattern, name []byte) (uint16, bool) {
	total := 0
	for i := range patterns {
		p := &patterns[i]
		score, ok := p.match(name)
		if ok == p.not {
			return 0, false
		}
		if !p.not {
			total += score
		}
	}
	if len(patterns) > 1 {
		total /= len(patterns)
	}
	return uint16(min(max(total, 0), maxScore)), true
}

// Scores. Side by side beats apart, the start of a word beats its middle, near
// the start of the name and a short name are better by a little.
const (
	scoreTogether = 600
	scoreStart    = 230 // the name begins with it
	scoreWord     = 150 // a word begins with it
	scoreTail     = 60  // in the last part of the path
	scoreEnd      = 30  // a word ends with it
	scoreApart    = 300
)

func (p *pattern) match(name []byte) (int, bool) {
	switch p.kind {
	case prefix:
		return scoreTogether, bytes.HasPrefix(name, p.bytes)
	case suffix:
		return scoreTogether, bytes.HasSuffix(name, p.bytes)
	case whole:
		return scoreTogether, bytes.Equal(name, p.bytes)
	}
	at := index(name, p.bytes)
	if at < 0 {
		if p.kind == exact || len(p.bytes) == 1 {
			return 0, false
		}
		return p.apart(name)
	}
	// A later place may be the start of a word.
	best := at
	for tries := 0; !wordStart(name, best) && tries < 4; tries++ {
		next := index(name[best+1:], p.bytes)
		if next < 0 {
			best = at
			break
		}
		best += 1 + next
	}
	if !wordStart(name, best) {
		best = at
	}
	score := scoreTogether - min(len(name)-len(p.bytes), 100)/2
	switch {
	case best == 0:
		score += scoreStart
	case wordStart(name, best):
		score += scoreWord
	}
	if bytes.IndexByte(name[best:], '/') < 0 {
		score += scoreTail
	}
	if end := best + len(p.bytes); end == len(name) || wordEnd(name, end) {
		score += scoreEnd
	}
	return score, true
}

// index is bytes.Index for the short names that there are here.
func index(name, p []byte) int {
	if len(p) == 1 {
		return bytes.IndexByte(name, p[0])
	}
	from := 0
	for {
		at := bytes.IndexByte(name[from:], p[0])
		if at < 0 || from+at+len(p) > len(name) {
			return -1
		}
		from += at
		if string(name[from:from+len(p)]) == string(p) {
			return from
		}
		from++
	}
}

// apart looks for the characters in order. The first place where they all have
// been found ends the match; going back from there finds where the shortest
// such match begins.
func (p *pattern) apart(name []byte) (int, bool) {
	end := 0
	for _, c := range p.bytes {
		at := bytes.IndexByte(name[end:], c)
		if at < 0 {
			return 0, false
		}
		end += at + 1
	}
	score, at, next := scoreApart, end, end
	for i := len(p.bytes) - 1; i >= 0; i-- {
		at = bytes.LastIndexByte(name[:at], p.bytes[i])
		if wordStart(name, at) {
			score += 40
		}
		if i < len(p.bytes)-1 {
			score -= min(next-at-1, 20) * 3
		}
		next = at
	}
	return max(score-min(len(name), 100)/4, 1), true
}

// wordStart reports whether a word of the name begins at i.
func wordStart(name []byte, i int) bool { return i == 0 || wordEnd(name, i-1) }

// wordEnd reports whether what is at i is between words.
func wordEnd(name []byte, i int) bool { return strings.IndexByte("/_-.: ", name[i]) >= 0 }
