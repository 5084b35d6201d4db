package redact

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// A charset is a set of ASCII characters, and of all others as one.
type charset struct {
	ascii [2]uint64
	high  bool
}

func (s charset) has(c byte) bool {
	if c >= utf8.RuneSelf {
		return s.high
	}
	return s.ascii[c>>6]>>(c&63)&1 != 0
}

func (s charset) and(o charset) charset {
	return charset{[2]uint64{s.ascii[0] & o.ascii[0], s.ascii[1] & o.ascii[1]}, s.high && o.high}
}

func (s charset) or(o charset) charset {
	return charset{[2]uint64{s.ascii[0] | o.ascii[0], s.ascii[1] | o.ascii[1]}, s.high || o.high}
}

func (s charset) not() charset {
	return charset{[2]uint64{^s.ascii[0], ^s.ascii[1]}, !s.high}
}

// classify returns the characters of text.
func classify(text []byte) charset {
	var s charset
	for _, c := range text {
		if c >= utf8.RuneSelf {
			s.high = true
		} else {
			s.ascii[c>>6] |= 1 << (c & 63)
		}
	}
	return s
}

func chars(list string) charset { return classify([]byte(list)) }

// Sets of many characters, as the bits of 0 to 63 and of 64 to 127.

func alnum() charset   { return charset{ascii: [2]uint64{0x03FF_0000_0000_0000, 0x07FF_FFFE_07FF_FFFE}} }
func control() charset { return charset{ascii: [2]uint64{0xFFFF_FFFF, 1 << 63}} } // DEL too
func high() charset    { return charset{high: true} }

// special reports whether some escaping changes a text of these characters.
func (s charset) special() bool {
	return s.and(alnum().or(chars("-_.")).not()) != charset{}
}

// A put appends the escaped form of one character, which may be of several bytes.
type put func(dst, char []byte) []byte

// appendEscaped appends text with the characters of set as put has them.
func appendEscaped(dst, text []byte, set charset, put put) []byte {
	plain := 0 // what lies before it is done
	for i := 0; i < len(text); {
		c, n := text[i], 1
		if set.has(c) {
			if c >= utf8.RuneSelf {
				_, n = utf8.DecodeRune(text[i:])
			}
			dst = put(append(dst, text[plain:i]...), text[i:i+n])
			plain = i + n
		}
		i += n
	}
	return append(dst, text[plain:]...)
}

const (
	lowerHex = "0123456789abcdef"
	upperHex = "0123456789ABCDEF"
)

// Kinds of escaping: two forms of one kind are the same when they change the
// same characters of a text.
const (
	kindJSON = iota
	kindJSONUpper
	kindJSONTwice
	kindPercent
	kindPercentPlus
	kindQuoted                   // and what follows, one for each of addQuoted
	kindHTML   = kindQuoted + 16 // and what follows, one for each of htmlStyles
)

// A jsonStyle is what an encoder escapes beside quotes, backslashes and
// control characters.
type jsonStyle struct {
	also  string // becomes \u00xx, but a slash \/
	ascii bool   // characters that are not ASCII become \uxxxx
	upper bool   // hex digits are in upper case
}

var jsonStyles = []jsonStyle{
	{},                       // JavaScript, jq, Python with ensure_ascii=False
	{also: "<>&"},            // Go, Rails
	{ascii: true},            // Python
	{also: "/", ascii: true}, // PHP
	{also: "/"},              // json-c, PHP with JSON_UNESCAPED_UNICODE
	{also: "<>&='"},          // Gson
	{also: "\"&'<>+`\x7f", ascii: true, upper: true}, // System.Text.Json
	{also: "\"&'<>/", ascii: true, upper: true},      // PHP with JSON_HEX_…
	{ascii: true, upper: true},                       // Jason of Elixir
}

// lineStyles is how many of jsonStyles are worth their room for every line.
const lineStyles = 2

func (b *builder) addJSON(text []byte, c charset, styles []jsonStyle) {
	if !utf8.Valid(text) {
		return // each encoder does something else, and what it does cannot be undone
	}
	b.seen = b.seen[:0]
	must := charset{ascii: [2]uint64{0xFFFF_FFFF}}.or(chars(`"\`))
	for _, s := range styles {
		set, kind := must.or(chars(s.also)), kindJSON
		set.high = s.ascii
		if s.upper {
			kind = kindJSONUpper
		}
		b.escape(kind, text, c, set, s.put)
	}
	if len(styles) == len(jsonStyles) && c.and(must) != (charset{}) {
		once := appendEscaped(nil, text, must, jsonStyle{}.put)
		b.escape(kindJSONTwice, once, classify(once), must, jsonStyle{}.put)
	}
}

// put escapes one character as in a JSON string.
func (s jsonStyle) put(dst, char []byte) []byte {
	switch c := char[0]; {
	case c == '\n':
		return append(dst, `\n`...)
	case c == '\r':
		return append(dst, `\r`...)
	case c == '\t':
		return append(dst, `\t`...)
	case c == '\b':
		return append(dst, `\b`...)
	case c == '\f':
		return append(dst, `\f`...)
	case c == '\\' || c == '/' || c == '"' && bytes.IndexByte([]byte(s.also), '"') < 0:
		return append(dst, '\\', c)
	}
	r, _ := utf8.DecodeRune(char)
	if r1, r2 := utf16.EncodeRune(r); r1 != utf8.RuneError {
		return s.unit(s.unit(dst, r1), r2)
	}
	return s.unit(dst, r)
}

// unit appends \uxxxx.
func (s jsonStyle) unit(dst []byte, r rune) []byte {
	digits := lowerHex
	if s.upper {
		digits = upperHex
	}
	return append(dst, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
}

// A percentStyle is what a percent-encoder leaves as it is beside letters and digits.
type percentStyle struct {
	keep string
	plus bool // a space becomes +
}

var percentStyles = []percentStyle{
	{keep: "-_.~"},                 // RFC 3986, curl, PHP rawurlencode, Python quote with safe=""
	{keep: "-_.~", plus: true},     // Go QueryEscape, Python quote_plus
	{keep: "-_.~/"},                // Python quote
	{keep: "-_.!~*'()"},            // JavaScript encodeURIComponent
	{keep: "*-._", plus: true},     // HTML forms, Java URLEncoder
	{keep: "-_.", plus: true},      // PHP urlencode
	{keep: "-_.!*()", plus: true},  // .NET UrlEncode
	{keep: "-_.~!$&'()*+,;=:@/?#"}, // JavaScript encodeURI
	{keep: "-_.~$&+,;="},           // user and password of a Go URL
	{keep: "-_.~$&+=:@"},           // Go PathEscape
	{keep: "-_.~$&+,/:;=@"},        // the path of a Go URL
	{keep: "-_.~!$&'()*+,;=:@/"},   // a path of RFC 3986
}

func (b *builder) addPercent(text []byte, c charset) {
	b.seen = b.seen[:0]
	space := c.has(' ')
	for _, s := range percentStyles {
		kind := kindPercent
		if s.plus && space {
			kind = kindPercentPlus
		}
		set := alnum().or(chars(s.keep)).not()
		lower, upper := put(percentLower), put(percentUpper)
		if s.plus {
			lower, upper = percentLowerPlus, percentUpperPlus
		}
		n := len(b.seen)
		b.escape(kind, text, c, set, upper)
		if len(b.seen) > n { // a new form
			b.seen = b.seen[:n]
			b.escape(kind, text, c, set, lower)
		}
	}
}

func percentUpper(dst, char []byte) []byte { return percent(dst, char, upperHex) }
func percentLower(dst, char []byte) []byte { return percent(dst, char, lowerHex) }

func percentUpperPlus(dst, char []byte) []byte {
	if char[0] == ' ' {
		return append(dst, '+')
	}
	return percent(dst, char, upperHex)
}

func percentLowerPlus(dst, char []byte) []byte {
	if char[0] == ' ' {
		return append(dst, '+')
	}
	return percent(dst, char, lowerHex)
}

func percent(dst, char []byte, digits string) []byte {
	for _, c := range char {
		dst = append(dst, '%', digits[c>>4], digits[c&15])
	}
	return dst
}

// addQuoted adds text as it stands between the quotes of a shell or a language.
func (b *builder) addQuoted(text []byte, c charset) {
	b.seen = b.seen[:0]
	quoted := func(i int, set charset, put put) { b.escape(kindQuoted+i, text, c, set, put) }

	// '…' of shells, and as Python's shlex has it.
	quoted(0, chars("'"), func(dst, _ []byte) []byte { return append(dst, `'\''`...) })
	quoted(1, chars("'"), func(dst, _ []byte) []byte { return append(dst, `'"'"'`...) })
	// "…" of shells.
	quoted(2, chars("\"$`\\"), backslash)
	// Words with backslashes, bash's printf %q: it takes $'…' for control characters.
	if c.and(control()) == (charset{}) {
		set := chars(" !\"$&'()*,;<>?[\\]^`{|}")
		if text[0] == '~' || text[0] == '#' {
			start := len(b.arena)
			b.arena = append(b.arena, '\\', text[0])
			b.arena = appendEscaped(b.arena, text[1:], set, backslash)
			b.keep(start)
		} else {
			quoted(3, set, backslash)
		}
	}
	// $'…' of bash; in the C locale with octal numbers for what is not ASCII.
	ansi := control().or(chars(`'\`))
	quoted(4, ansi, ansiC)
	quoted(5, ansi.or(high()), ansiC)
	// Python: '…' of a text without quotes, or with either; of bytes. Go: %q.
	repr := control().or(chars(`\`))
	quoted(6, repr, repr1)
	quoted(6, repr.or(chars("'")), repr1)
	quoted(6, repr.or(high()), repr1)
	quoted(6, repr.or(high()).or(chars("'")), repr1)
	quoted(7, repr.or(chars(`"`)), goQuote)
}

func backslash(dst, char []byte) []byte { return append(append(dst, '\\'), char...) }

func ansiC(dst, char []byte) []byte {
	for _, c := range char {
		switch i := bytes.IndexByte([]byte("\a\b\x1b\f\n\r\t\v\\'"), c); {
		case i >= 0:
			dst = append(dst, '\\', `abEfnrtv\'`[i])
		default:
			dst = append(dst, '\\', '0'+c>>6, '0'+c>>3&7, '0'+c&7)
		}
	}
	return dst
}

func repr1(dst, char []byte) []byte {
	for _, c := range char {
		switch i := bytes.IndexByte([]byte("\n\r\t\\'"), c); {
		case i >= 0:
			dst = append(dst, '\\', `nrt\'`[i])
		default:
			dst = append(dst, '\\', 'x', lowerHex[c>>4], lowerHex[c&15])
		}
	}
	return dst
}

func goQuote(dst, char []byte) []byte {
	switch i := bytes.IndexByte([]byte("\a\b\f\n\r\t\v\\\""), char[0]); {
	case i >= 0:
		return append(dst, '\\', `abfnrtv\"`[i])
	}
	return repr1(dst, char)
}

// An htmlStyle is what an encoder writes for quotes; "" leaves them. All write
// &amp; &lt; and &gt;.
type htmlStyle struct{ double, single string }

var htmlStyles = []htmlStyle{
	{},                   // text of XML and HTML
	{"&quot;", "&#39;"},  // JavaScript, Ruby, PHP
	{"&#34;", "&#39;"},   // Go, Jinja
	{"&quot;", "&#x27;"}, // Python, React
	{"&quot;", "&apos;"}, // XML
	{"&quot;", ""},       // attributes, PHP before 8.1
}

func (b *builder) addHTML(text []byte, c charset) {
	b.seen = b.seen[:0]
	for i, s := range htmlStyles {
		set := chars("&<>")
		if s.double != "" {
			set = set.or(chars(`"`))
		}
		if s.single != "" {
			set = set.or(chars("'"))
		}
		if i > 0 && c.and(chars(`"'`)) == (charset{}) {
			return
		}
		b.escape(kindHTML+i, text, c, set, s.put)
	}
}

func (s htmlStyle) put(dst, char []byte) []byte {
	switch char[0] {
	case '&':
		return append(dst, "&amp;"...)
	case '<':
		return append(dst, "&lt;"...)
	case '>':
		return append(dst, "&gt;"...)
	case '"':
		return append(dst, s.double...)
	}
	return append(dst, s.single...)
}
