package policy

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"envrun/vault"
)

// The text of a policy is HCL in its first version, or JSON, read into one
// tree. What is read here is a part of HCL: what a policy can need, each piece
// with the meaning it has there. Here-documents, interpolation, octal and
// hexadecimal numbers are refused, so that no text is read as something else
// than Vault reads.

// maxDepth is how deep objects and lists may nest; the deepest policy there
// can be needs five: path, control_group, factor, identity, group_names.
const maxDepth = 6

type kind uint8

const (
	kString kind = iota + 1
	kNumber
	kBool
	kList
	kObject
)

func (k kind) String() string {
	switch k {
	case kString:
		return "a text"
	case kNumber:
		return "a number"
	case kBool:
		return "true or false"
	case kList:
		return "a list"
	case kObject:
		return "a block"
	}
	return "nothing"
}

// node is a value: of a string its text without quotes, of a number or boolean
// as written.
type node struct {
	kind  kind
	line  int
	text  string
	list  []node
	items []item
}

// item is `key = value`, `key { … }` or `key "label" { … }`.
type item struct {
	line    int
	key     string
	label   string
	labeled bool
	block   bool // written without "="
	json    bool // read from JSON, which has no labels
	val     node
}

func invalid(line int, format string, args ...any) error {
	return &vault.Error{Kind: vault.KindInvalid, Line: line, Detail: fmt.Sprintf(format, args...)}
}

// readHCL reads a whole text.
func readHCL(text string) ([]item, error) {
	p := &hclParser{src: text, line: 1}
	if err := p.next(); err != nil {
		return nil, err
	}
	return p.items(0)
}

// The kinds of token. Punctuation is its own character.
const (
	tEOF    = 0
	tIdent  = 'i'
	tString = 's'
	tNumber = 'n'
)

type hclParser struct {
	src  string
	at   int // what of src has been read
	line int

	tok     byte // the present token
	tokText string
	tokLine int
}

// items reads the items of a block up to its closing brace, or of the file.
func (p *hclParser) items(depth int) ([]item, error) {
	var items []item
	for {
		switch {
		case p.tok == tEOF && depth == 0:
			return items, nil
		case p.tok == tEOF:
			return nil, invalid(p.tokLine, "the text ends within a block: a } is missing")
		case p.tok == '}' && depth > 0:
			return items, nil
		}
		it, err := p.item(depth)
		if err != nil {
			return nil, err
		}
		items = append(items, it)
		if p.tok == ',' && depth > 0 {
			if err := p.next(); err != nil {
				return nil, err
			}
		}
	}
}

func (p *hclParser) item(depth int) (item, error) {
	it := item{line: p.tokLine, key: p.tokText}
	if p.tok != tIdent && p.tok != tString {
		return it, invalid(p.tokLine, "%s where a key belongs", p.token())
	}
	if err := p.next(); err != nil {
		return it, err
	}
	if p.tok == tIdent || p.tok == tString {
		it.label, it.labeled = p.tokText, true
		if err := p.next(); err != nil {
			return it, err
		}
	}
	switch {
	case p.tok == '=' && !it.labeled:
		if err := p.next(); err != nil {
			return it, err
		}
	case p.tok == '{':
		it.block = true
	case it.labeled:
		return it, invalid(p.tokLine, "%s after %s %q; a { belongs there", p.token(), it.key, it.label)
	default:
		return it, invalid(p.tokLine, "%s after %q; = or { belongs there", p.token(), it.key)
	}
	var err error
	it.val, err = p.value(depth + 1)
	return it, err
}

func (p *hclParser) value(depth int) (node, error) {
	n := node{line: p.tokLine, text: p.tokText}
	if depth > maxDepth {
		return n, invalid(p.tokLine, "nests deeper than any policy does")
	}
	switch {
	case p.tok == tString:
		n.kind = kString
	case p.tok == tNumber:
		n.kind = kNumber
	case p.tok == tIdent && (n.text == "true" || n.text == "false"):
		n.kind = kBool
	case p.tok == tIdent:
		return n, invalid(p.tokLine, "%s stands without quotes", n.text)
	case p.tok == '[':
		n.kind = kList
		if err := p.elements(&n, depth); err != nil {
			return n, err
		}
	case p.tok == '{':
		n.kind = kObject
		if err := p.next(); err != nil {
			return n, err
		}
		var err error
		if n.items, err = p.items(depth); err != nil {
			return n, err
		}
	default:
		return n, invalid(p.tokLine, "%s where a value belongs", p.token())
	}
	return n, p.next()
}

// elements reads a list up to its closing bracket, which stays the present token.
func (p *hclParser) elements(n *node, depth int) error {
	for {
		if err := p.next(); err != nil {
			return err
		}
		if p.tok == ']' {
			return nil
		}
		el, err := p.value(depth + 1)
		if err != nil {
			return err
		}
		n.list = append(n.list, el)
		switch p.tok {
		case ',':
		case ']':
			return nil
		case tEOF:
			return invalid(p.tokLine, "the text ends within a list: a ] is missing")
		default:
			return invalid(p.tokLine, "%s in a list; a comma or ] belongs there", p.token())
		}
	}
}

// token names the present token in an error.
func (p *hclParser) token() string {
	switch p.tok {
	case tEOF:
		return "the end of the text"
	case tIdent, tNumber:
		return p.tokText
	case tString:
		return strconv.Quote(p.tokText)
	}
	return string(p.tok)
}

// next reads the next token.
func (p *hclParser) next() error {
	if err := p.space(); err != nil {
		return err
	}
	p.tok, p.tokText, p.tokLine = tEOF, "", p.line
	if p.at == len(p.src) {
		return nil
	}
	start := p.at
	switch c := p.src[p.at]; {
	case letter(c):
		for p.at < len(p.src) && (letter(p.src[p.at]) || digit(p.src[p.at]) || p.src[p.at] == '-' || p.src[p.at] == '.') {
			p.at++
		}
		p.tok, p.tokText = tIdent, p.src[start:p.at]
	case digit(c) || c == '-':
		return p.number()
	case c == '"':
		return p.quoted()
	case strings.IndexByte("={}[],", c) >= 0:
		p.tok = c
		p.at++
	case c == '<':
		return invalid(p.line, "here-documents are not read: write the text in double quotes")
	default:
		r, _ := utf8.DecodeRuneInString(p.src[p.at:])
		return invalid(p.line, "%q belongs nowhere in a policy", r)
	}
	return nil
}

// space skips white space and comments: # … and // … to the end of the line, /* … */.
func (p *hclParser) space() error {
	for p.at < len(p.src) {
		rest := p.src[p.at:]
		switch {
		case rest[0] == '\n':
			p.line++
			p.at++
		case rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\r':
			p.at++
		case rest[0] == '#' || strings.HasPrefix(rest, "//"):
			end := strings.IndexByte(rest, '\n')
			if end < 0 {
				end = len(rest)
			}
			p.at += end
		case strings.HasPrefix(rest, "/*"):
			end := strings.Index(rest[2:], "*/")
			if end < 0 {
				return invalid(p.line, "a comment begins here that has no end")
			}
			p.line += strings.Count(rest[:end+2], "\n")
			p.at += end + 4
		default:
			return nil
		}
	}
	return nil
}

// number reads -?(0|[1-9][0-9]*)(\.[0-9]+)?, and nothing that goes on after it.
func (p *hclParser) number() error {
	start := p.at
	if p.src[p.at] == '-' {
		p.at++
	}
	digits := func() (n int) {
		for p.at < len(p.src) && digit(p.src[p.at]) {
			p.at, n = p.at+1, n+1
		}
		return n
	}
	first := p.at
	whole := digits()
	ok := whole == 1 || whole > 1 && p.src[first] != '0'
	if p.at < len(p.src) && p.src[p.at] == '.' {
		p.at++
		ok = digits() > 0 && ok
	}
	if p.at < len(p.src) && (letter(p.src[p.at]) || p.src[p.at] == '.') {
		ok = false
	}
	p.tok, p.tokText = tNumber, p.src[start:p.at]
	if !ok {
		return invalid(p.line, "a number is written with decimal digits alone, without a leading 0; anything else in double quotes")
	}
	return nil
}

// quoted reads a text in double quotes, on one line, with the escapes of HCL.
func (p *hclParser) quoted() error {
	p.at++
	start := p.at
	var b []byte // what has been read, once an escape was met
	for {
		if p.at == len(p.src) || p.src[p.at] == '\n' {
			return invalid(p.line, "a quoted text has no end on its line")
		}
		switch c := p.src[p.at]; {
		case c == '"':
			p.tok, p.tokText = tString, p.src[start:p.at]
			if b != nil {
				p.tokText = string(b)
			}
			p.at++
			if !utf8.ValidString(p.tokText) {
				return invalid(p.line, "a quoted text is not UTF-8")
			}
			return nil
		case c == '$' && strings.HasPrefix(p.src[p.at:], "${"):
			return invalid(p.line, "${ begins an interpolation, which a policy has not; templates are written {{…}}")
		case c == '\\':
			if b == nil {
				b = append(make([]byte, 0, 64), p.src[start:p.at]...)
			}
			var ok bool
			if b, ok = p.escape(b); !ok {
				return invalid(p.line, `there is no such escape: \\, \", \n, \t, \u0000 and the like are`)
			}
		default:
			if b != nil {
				b = append(b, c)
			}
			p.at++
		}
	}
}

// escape reads an escape, of which the backslash is the present character,
// and appends what it stands for.
func (p *hclParser) escape(b []byte) ([]byte, bool) {
	if p.at+1 == len(p.src) {
		return b, false
	}
	c := p.src[p.at+1]
	p.at += 2
	if i := strings.IndexByte(`abfnrtv\"`, c); i >= 0 {
		return append(b, "\a\b\f\n\r\t\v\\\""[i]), true
	}
	base, size := 16, 0
	switch {
	case '0' <= c && c <= '7':
		p.at, base, size = p.at-1, 8, 3
	case c == 'x':
		size = 2
	case c == 'u':
		size = 4
	case c == 'U':
		size = 8
	}
	if size == 0 || len(p.src)-p.at < size {
		return b, false
	}
	n, err := strconv.ParseUint(p.src[p.at:p.at+size], base, 32)
	if err != nil {
		return b, false
	}
	p.at += size
	if size < 4 { // octal and \x are a byte
		return append(b, byte(n)), n <= 0xff
	}
	return utf8.AppendRune(b, rune(n)), n <= utf8.MaxRune && utf8.ValidRune(rune(n))
}

func letter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' }
func digit(c byte) bool  { return '0' <= c && c <= '9' }
