package kit

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"
)

// A Veil hides names while somebody is watching who must not read them. It is
// told every name where names come in, and stands before every text that
// becomes cells: no screen has to know what of its text is a name.
//
// A word of ours that is also the name of something is hidden too, but for
// text that is drawn on Area.Own.
//
// It keeps a hash of each part of a name, and no name. Learn may be called from
// any goroutine.
type Veil struct {
	keep map[string]bool
	seed maphash.Seed
	on   atomic.Bool

	mu   sync.RWMutex
	seen map[uint64]struct{}
}

// veilWidth is the number of marks that stand for a part of a name, whatever
// its length.
const veilWidth = 8

// NewVeil is a veil that hides nothing yet, and of what it learns never the
// words to keep.
func NewVeil(keep ...string) *Veil {
	v := &Veil{keep: map[string]bool{}, seed: maphash.MakeSeed(), seen: map[uint64]struct{}{}}
	for _, k := range keep {
		v.keep[strings.ToLower(k)] = true
	}
	return v
}

// Set draws the veil, or takes it away.
func (v *Veil) Set(on bool) { v.on.Store(on) }

// On reports whether names are hidden.
func (v *Veil) On() bool { return v != nil && v.on.Load() }

// Learn takes in names: of a path, each of its parts.
func (v *Veil) Learn(names ...string) {
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, name := range names {
		for from := 0; from < len(name); {
			word, next := nextWord(name, from)
			if word == "" {
				break
			}
			v.seen[maphash.String(v.seed, word)] = struct{}{}
			from = next
		}
	}
}

// Hide is text with marks in the place of all names in it.
func (v *Veil) Hide(text, mark string) string {
	if !v.On() {
		return text
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	var b strings.Builder
	done := 0
	for from := 0; from < len(text); {
		word, next := nextWord(text, from)
		if word == "" {
			break
		}
		at := next - len(word)
		from = next
		for word != "" {
			n := v.known(word)
			if n > 0 {
				b.WriteString(text[done:at])
				b.WriteString(strings.Repeat(mark, veilWidth))
				done = at + n
			} else {
				n = part(word)
			}
			at, word = at+n, word[n:]
		}
	}
	if done == 0 {
		return text
	}
	b.WriteString(text[done:])
	return b.String()
}

// known is the length of the longest name that word begins with and that ends
// where a part of it does: "API_KEY." is a name and the end of a sentence.
func (v *Veil) known(word string) int {
	for end := len(word); end > 0; {
		if _, ok := v.seen[maphash.String(v.seed, word[:end])]; ok && !v.keep[strings.ToLower(word[:end])] {
			return end
		}
		end = strings.LastIndexAny(word[:end], ".-")
	}
	return 0
}

// part is the length of the first part of a word, with what ends it.
func part(word string) int {
	if i := strings.IndexAny(word, ".-"); i >= 0 {
		return i + 1
	}
	return len(word)
}

// nextWord is the next run of the characters that names are made of.
func nextWord(text string, from int) (word string, next int) {
	start := -1
	for i := from; i < len(text); {
		c := text[i]
		n, ok := 1, c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || start >= 0 && (c == '-' || c == '.')
		if c >= utf8.RuneSelf {
			var r rune
			r, n = utf8.DecodeRuneInString(text[i:])
			ok = unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)
		}
		switch {
		case ok && start < 0:
			start = i
		case !ok && start >= 0:
			return text[start:i], i
		}
		i += n
	}
	if start < 0 {
		return "", len(text)
	}
	return text[start:], len(text)
}
