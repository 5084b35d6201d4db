package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"slices"
)

// The forms of a value that are patterns, in this order until a bound below is
// reached (runner T7). The text of a value is the value without the white
// space around it.
//
//   - the text;
//   - if it is JSON, each string in it, but no key, as if it were a value;
//   - if it is not, each of its lines, without the white space around them: as
//     it is and JSON-escaped. Not the BEGIN and END of PEM. The lines of JSON
//     are mostly braces and names;
//   - the text with CRLF for LF and LF for CRLF, as terminals change them;
//   - if it is a URL with a password, the password as if it were a value;
//   - base64, standard and URL, for the three places in a group of three bytes
//     at which the text may start: the characters that the text alone decides,
//     and with the last character and the padding for text that ends the data.
//     Up to four bits of the first and of the last byte stay in characters that they
//     share with the bytes around them. The standard one of the text alone and of
//     the text with a newline also wrapped at 76 and at 64 characters;
//   - JSON-escaped, see jsonStyles; only if the text is UTF-8;
//   - percent-encoded, see percentStyles, as %2F and as %2f;
//   - shell-quoted and in other languages' quotes, see addQuoted;
//   - escaped for HTML and XML, see htmlStyles;
//   - hex, lower and upper case, without anything between the bytes.
//
// Each must have 8 bytes, lines and the like must not be common words, and an
// encoding that changes nothing is no form of its own.

const (
	// maxDerived bounds the bytes of the forms of one secret beside the text
	// itself. Nearly all values of up to 10 KiB have all their forms.
	maxDerived = 256 << 10

	maxLines  = 4096 // lines of one secret, JSON strings of several lines included
	maxLeaves = 256  // JSON strings of one secret
	maxDepth  = 3    // of values in values: a URL in JSON in a string of JSON
)

// A builder gathers the patterns of all secrets.
type builder struct {
	arena   []byte
	entries []entry

	secret uint32 // the one being added
	room   int    // bytes of forms it may still add
	lines  int
	leaves int
	full   bool // something had no room

	seen []sameForm // forms of the text being escaped
	buf  []byte
}

// newBuilder makes room for what most secrets need.
func newBuilder(secrets []Secret) *builder {
	size := 0
	for _, s := range secrets {
		size += s.Value.Len() + min(16*s.Value.Len(), maxDerived)
	}
	return &builder{arena: make([]byte, 0, size), entries: make([]entry, 0, 16*len(secrets)+size/256)}
}

func (b *builder) index() *index { return newIndex(b.arena, b.entries) }

// addSecret adds the patterns of s, and says why it did not add all of them.
func (b *builder) addSecret(s Secret) Reason {
	text := bytes.TrimSpace(s.Value.Reveal())
	forced := s.Mask != nil && *s.Mask
	switch {
	case s.Mask != nil && !*s.Mask:
		return ReasonOff
	case len(text) == 0:
		return ReasonEmpty
	case forced && len(text) < minForced:
		return ReasonTiny
	case !forced && len(text) < minPattern:
		return ReasonShort
	case !forced && common(text):
		return ReasonCommon
	}
	b.room, b.lines, b.leaves, b.full = maxDerived, maxLines, maxLeaves, false
	start := len(b.arena)
	b.arena = append(b.arena, text...)
	b.cut(start, len(b.arena))
	b.addForms(text, maxDepth)
	if b.full {
		return ReasonLarge
	}
	return ""
}

// addPart adds a value that is a part of the secret's, and its forms.
func (b *builder) addPart(part []byte, depth int) {
	part = bytes.TrimSpace(part)
	if len(part) < minPattern || common(part) {
		return
	}
	if b.add(part) {
		b.addForms(part, depth)
	}
}

// addForms adds the forms of text that are not text itself.
func (b *builder) addForms(text []byte, depth int) {
	isJSON := depth > 0 && b.addStrings(text, depth-1)
	if bytes.IndexByte(text, '\n') >= 0 {
		if !isJSON {
			b.addLines(text)
		}
		b.addNewlines(text)
	}
	if password, ok := urlPassword(text); ok && depth > 0 {
		b.addPart(password, 0)
		if plain, err := url.PathUnescape(string(password)); err == nil {
			b.addPart([]byte(plain), 0)
		}
	}
	b.addBase64(text)
	b.addEscaped(text)
	b.addHex(text)
}

// add copies a form to the arena.
func (b *builder) add(form []byte) bool {
	start := len(b.arena)
	b.arena = append(b.arena, form...)
	return b.keep(start)
}

// keep makes patterns of the form at the end of the arena, or drops it when
// there is no room: then nothing else is added to the secret, so that the order
// of forms says what a large value has.
func (b *builder) keep(start int) bool {
	n := len(b.arena) - start
	if b.full = b.full || n > b.room; b.full {
		b.arena = b.arena[:start]
		return false
	}
	b.room -= n
	b.cut(start, len(b.arena))
	return true
}

// cut makes patterns of arena[start:end], in equal parts if it is longer than a
// pattern may be. The last part is a pattern to each of ends, too.
func (b *builder) cut(start, end int, ends ...int) {
	parts := (end - start + maxPattern - 1) / maxPattern
	for i := range parts {
		from, to := start+(end-start)*i/parts, start+(end-start)*(i+1)/parts
		b.pattern(from, to)
		if i == parts-1 {
			for _, e := range ends {
				b.pattern(max(from, e-maxPattern), e)
			}
		}
	}
}

func (b *builder) pattern(from, to int) {
	b.entries = append(b.entries, entry{off: uint32(from), n: uint32(to - from), secret: b.secret})
}

func (b *builder) addNewlines(text []byte) {
	lf := bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	if len(lf) != len(text) {
		b.add(lf)
	}
	if crlf := bytes.ReplaceAll(lf, []byte("\n"), []byte("\r\n")); len(crlf) != len(text) {
		b.add(crlf)
	}
}

func (b *builder) addLines(text []byte) {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) < minPattern || isArmour(line) || common(line) {
			continue
		}
		if b.lines--; b.lines < 0 {
			b.full = true
		}
		if !b.add(line) {
			return
		}
		if c := classify(line); c.special() {
			b.addJSON(line, c, jsonStyles[:lineStyles])
		}
	}
}

// isArmour reports whether line is the BEGIN or END of PEM, which tells nothing
// and would give a key's name to every other key.
func isArmour(line []byte) bool {
	return bytes.HasPrefix(line, []byte("-----BEGIN ")) || bytes.HasPrefix(line, []byte("-----END "))
}

// addStrings adds the strings of text if it is JSON, and reports whether it is.
func (b *builder) addStrings(text []byte, depth int) bool {
	if c := text[0]; c != '{' && c != '[' && c != '"' || len(text) > maxDerived || !json.Valid(text) {
		return false
	}
	var inObject []bool
	key := false // the next string is one
	d := json.NewDecoder(bytes.NewReader(text))
	for {
		t, err := d.Token()
		if err != nil {
			return true
		}
		wasKey := key
		switch t := t.(type) {
		case json.Delim:
			if t == '{' || t == '[' {
				inObject = append(inObject, t == '{')
			} else {
				inObject = inObject[:len(inObject)-1]
			}
			wasKey = false
		case string:
			if wasKey {
				break
			}
			if b.leaves--; b.leaves < 0 {
				b.full = true
			}
			b.addPart([]byte(t), depth)
		}
		key = len(inObject) > 0 && inObject[len(inObject)-1] && !wasKey
	}
}

// urlPassword returns the password of a URL as it is written there.
func urlPassword(text []byte) ([]byte, bool) {
	_, rest, ok := bytes.Cut(text, []byte("://"))
	if !ok {
		return nil, false
	}
	if i := bytes.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	at := bytes.LastIndexByte(rest, '@')
	if at < 0 {
		return nil, false
	}
	_, password, ok := bytes.Cut(rest[:at], []byte(":"))
	return password, ok
}

func (b *builder) addBase64(text []byte) {
	if base64.StdEncoding.EncodedLen(len(text)) > b.room {
		b.full = true
		return
	}
	// Text that starts at byte 1 or 2 of a group is encoded behind as many zeros.
	b.buf = append(append(append(b.buf[:0], 0, 0), text...), '\n')
	end := len(b.buf) - 1
	for place := range 3 {
		data := b.buf[2-place : end]
		start := len(b.arena)
		b.arena = base64.StdEncoding.AppendEncode(b.arena, data)
		first := start + (8*place+5)/6 // what the zeros have no part in
		last := start + 8*len(data)/6  // what the bytes behind have no part in
		if !b.keepBase64(start, first, last) {
			return
		}
		if place == 0 {
			b.wrap(start, len(b.arena))
		}
		whole := b.arena[first:]
		if bytes.IndexByte(whole, '+') < 0 && bytes.IndexByte(whole, '/') < 0 {
			continue
		}
		start, last = len(b.arena), len(b.arena)+last-first
		for _, c := range whole {
			switch c {
			case '+':
				c = '-'
			case '/':
				c = '_'
			}
			b.arena = append(b.arena, c)
		}
		if !b.keepBase64(start, start, last) {
			return
		}
	}
	// echo "$VALUE" | base64
	start := len(b.arena)
	b.arena = base64.StdEncoding.AppendEncode(b.arena, b.buf[2:])
	if b.keep(start) {
		b.wrap(start, len(b.arena))
	}
}

// keepBase64 makes patterns of an encoding that ends the arena: from first to
// last, and to the ends it has when the text ends the data.
func (b *builder) keepBase64(start, first, last int) bool {
	end := len(b.arena)
	if b.full = b.full || end-start > b.room; b.full {
		b.arena = b.arena[:start]
		return false
	}
	b.room -= end - start
	if last-first < minPattern {
		return true
	}
	if last == end {
		b.cut(first, last)
	} else {
		b.cut(first, last, last+1, end)
	}
	return true
}

// wrap makes patterns of the lines in which base64 -w 76 and -w 64 print.
func (b *builder) wrap(start, end int) {
	for _, width := range [...]int{76, 64} {
		if end-start <= width {
			continue
		}
		for from := start; end-from >= minPattern; from += width {
			b.pattern(from, min(from+width, end))
		}
	}
}

func (b *builder) addHex(text []byte) {
	if 2*len(text) < minPattern {
		return
	}
	start := len(b.arena)
	if b.full = b.full || 2*len(text) > b.room; b.full {
		return
	}
	b.arena = hex.AppendEncode(b.arena, text)
	if b.keep(start) {
		b.add(bytes.ToUpper(b.arena[start:]))
	}
}

// addEscaped adds the forms in which only some characters change.
func (b *builder) addEscaped(text []byte) {
	c := classify(text)
	if !c.special() {
		return
	}
	b.addJSON(text, c, jsonStyles)
	b.addPercent(text, c)
	b.addQuoted(text, c)
	b.addHTML(text, c)
}

// A sameForm is what tells one escaping of a text from another: the
// characters of the text that change, and the kind of change.
type sameForm struct {
	kind    int
	changed charset
}

// escape adds text, whose characters are c, with those of set as put has them.
// It does nothing when there are none, or when a form of that kind with the
// same characters was added.
func (b *builder) escape(kind int, text []byte, c, set charset, put put) {
	form := sameForm{kind, c.and(set)}
	if form.changed == (charset{}) || b.full || slices.Contains(b.seen, form) {
		return
	}
	b.seen = append(b.seen, form)
	start := len(b.arena)
	b.arena = appendEscaped(b.arena, text, set, put)
	b.keep(start)
}
