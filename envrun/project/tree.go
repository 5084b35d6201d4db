package project

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2/unstable"

	"envrun/vault"
)

// The decoder of go-toml goes through reflection and knows no lines, so the
// parser's syntax tree is walked here: into nodes, each with its line, under
// TOML's rules of what may be defined twice. What the keys mean is layer.go's.

const (
	// MaxSize is the largest project file in bytes.
	MaxSize = 256 << 10

	maxKeys  = 1000 // keys of one table
	maxDepth = 16   // of nested values
)

type kind uint8

const (
	kindString kind = iota
	kindBool
	kindArray
	kindTable
	kindTables // an array of tables: [[name]]
	kindOther  // a number or a date: no key of ours takes one
)

// how a table came to be, which decides what may be added to it.
type how uint8

const (
	implicit how = iota // by the header of a table below it
	explicit            // by its own header
	dotted              // by a dotted key
	closed              // inline
)

type node struct {
	key     string
	line    int
	kind    kind
	str     string // of a string; of kindOther what it is: "a number"
	yes     bool   // of a boolean
	kids    []*node
	how     how
	section int // of a dotted table: the header it was written under
}

func (n *node) kid(key []byte) *node {
	for _, k := range n.kids {
		if k.key == string(key) {
			return k
		}
	}
	return nil
}

// builder makes the tree of one file.
type builder struct {
	file    string
	parser  unstable.Parser
	text    []byte
	at      int // text[:at] holds line-1 newlines
	line    int
	section int
}

// parseTree reads TOML, with or without a byte order mark, lines ended by LF or
// CRLF. An error is an *Error.
func parseTree(file string, text []byte) (*node, error) {
	text, err := checkText(file, text)
	if err != nil {
		return nil, err
	}
	b := &builder{file: file, text: text, line: 1}
	b.parser.Reset(text)
	root := &node{kind: kindTable, how: explicit}
	into := root
	for b.parser.NextExpression() {
		e := b.parser.Expression()
		var err error
		if e.Kind == unstable.KeyValue {
			err = b.keyValue(into, e, 0)
		} else {
			b.section++
			into, err = b.header(root, e)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := b.parser.Error(); err != nil {
		return nil, b.syntax(err)
	}
	return root, nil
}

// checkText takes the byte order mark off and refuses what cannot be a project file.
func checkText(file string, text []byte) ([]byte, error) {
	if len(text) > MaxSize {
		return nil, &Error{Kind: vault.KindInvalid, Pos: Pos{file, 0}, Detail: "is larger than 256 KiB, which no project file needs"}
	}
	text = bytes.TrimPrefix(text, []byte("\uFEFF"))
	if !utf8.Valid(text) {
		line := 1
		for rest := text; len(rest) > 0; {
			r, n := utf8.DecodeRune(rest)
			if r == utf8.RuneError && n == 1 {
				break
			}
			if r == '\n' {
				line++
			}
			rest = rest[n:]
		}
		return nil, &Error{Kind: vault.KindInvalid, Pos: Pos{file, line}, Detail: "is not UTF-8 text"}
	}
	return text, nil
}

// lineOf is the line of an offset. Offsets mostly rise, so it counts on from the last one.
func (b *builder) lineOf(offset uint32) int {
	to := int(offset)
	if to < b.at {
		b.at, b.line = 0, 1
	}
	b.line += bytes.Count(b.text[b.at:to], []byte{'\n'})
	b.at = to
	return b.line
}

func (b *builder) fail(line int, key, detail string) error {
	return &Error{Kind: vault.KindInvalid, Pos: Pos{b.file, line}, Key: key, Detail: detail}
}

// syntax turns an error of the parser into ours. The parser quotes single
// characters only, so no text of the file is repeated.
func (b *builder) syntax(err error) error {
	line := 0
	if pe := (*unstable.ParserError)(nil); errors.As(err, &pe) {
		// A highlight is a slice of the text; how far its capacity falls short says where.
		if off := cap(b.text) - cap(pe.Highlight); off >= 0 && off <= len(b.text) {
			line = b.lineOf(uint32(off))
		}
	}
	return b.fail(line, "", "is not TOML: "+err.Error())
}

// header enters the table of [a.b] or [[a.b]].
func (b *builder) header(root *node, e *unstable.Node) (*node, error) {
	into := root
	for it := e.Key(); it.Next(); {
		k := it.Node()
		line := b.lineOf(k.Raw.Offset)
		next := into.kid(k.Data)
		last := it.IsLast()
		switch {
		case next == nil:
			next = &node{key: string(k.Data), line: line, kind: kindTable}
			if last && e.Kind == unstable.ArrayTable {
				next.kind = kindTables
			}
			if err := b.add(into, next); err != nil {
				return nil, err
			}
		case next.kind == kindTables:
			if last && e.Kind == unstable.Table {
				return nil, b.fail(line, next.key, quote(next.key)+" is a list of tables since line "+itoa(next.line)+": write [["+next.key+"]]")
			}
			if !last {
				into = next.kids[len(next.kids)-1]
				continue
			}
		case next.kind != kindTable || next.how == closed:
			return nil, b.fail(line, next.key, quote(next.key)+" is there already, in line "+itoa(next.line))
		case last && (e.Kind == unstable.ArrayTable || next.how != implicit):
			return nil, b.fail(line, next.key, "["+next.key+"] is there already, in line "+itoa(next.line))
		case !last && next.how == dotted:
			return nil, b.fail(line, next.key, quote(next.key)+" is there already, in line "+itoa(next.line))
		}
		if last && next.kind == kindTable {
			next.how, next.line = explicit, line
		}
		if next.kind == kindTables {
			elem := &node{key: next.key, line: line, kind: kindTable, how: explicit}
			next.kids = append(next.kids, elem)
			next = elem
		}
		into = next
	}
	return into, nil
}

// keyValue adds one key, dotted or not, to a table.
func (b *builder) keyValue(into *node, e *unstable.Node, depth int) error {
	for it := e.Key(); it.Next(); {
		k := it.Node()
		line := b.lineOf(k.Raw.Offset)
		there := into.kid(k.Data)
		if it.IsLast() {
			if there != nil {
				return b.fail(line, there.key, quote(there.key)+" is there already, in line "+itoa(there.line))
			}
			n := &node{key: string(k.Data), line: line}
			if err := b.add(into, n); err != nil {
				return err
			}
			return b.value(n, e.Value(), depth)
		}
		switch {
		case there == nil:
			there = &node{key: string(k.Data), line: line, kind: kindTable, how: dotted, section: b.section}
			if err := b.add(into, there); err != nil {
				return err
			}
		case there.kind != kindTable || there.how != dotted || there.section != b.section:
			return b.fail(line, there.key, quote(there.key)+" is there already, in line "+itoa(there.line))
		}
		into = there
	}
	return nil
}

func (b *builder) add(into, n *node) error {
	if len(into.kids) >= maxKeys {
		return b.fail(n.line, n.key, "has more than 1000 keys in one table")
	}
	into.kids = append(into.kids, n)
	return nil
}

// value fills n with a value that was written. Arrays have no place of their
// own in the syntax tree: they keep their key's line, and their elements know theirs.
func (b *builder) value(n *node, v *unstable.Node, depth int) error {
	if depth > maxDepth {
		return b.fail(n.line, n.key, "is nested too deeply")
	}
	switch v.Kind {
	case unstable.String:
		n.kind, n.str = kindString, string(v.Data)
	case unstable.Bool:
		n.kind, n.yes = kindBool, v.Data[0] == 't'
	case unstable.Array:
		n.kind = kindArray
		for it := v.Children(); it.Next(); {
			c := it.Node()
			elem := &node{key: n.key, line: n.line}
			if c.Raw.Length > 0 {
				elem.line = b.lineOf(c.Raw.Offset)
			}
			n.kids = append(n.kids, elem)
			if err := b.value(elem, c, depth+1); err != nil {
				return err
			}
		}
	case unstable.InlineTable:
		n.kind, n.how = kindTable, explicit
		for it := v.Children(); it.Next(); {
			if err := b.keyValue(n, it.Node(), depth+1); err != nil {
				return err
			}
		}
		closeTable(n)
	case unstable.Integer, unstable.Float:
		n.kind, n.str = kindOther, "a number"
	default:
		n.kind, n.str = kindOther, "a date"
	}
	return nil
}

// closeTable marks an inline table and all in it: nothing can be added later.
func closeTable(n *node) {
	if n.kind == kindTable {
		n.how = closed
		for _, k := range n.kids {
			closeTable(k)
		}
	}
}

func (n *node) what() string {
	switch n.kind {
	case kindString:
		return "a string"
	case kindBool:
		return "true or false"
	case kindArray:
		return "a list"
	case kindTable:
		return "a table"
	case kindTables:
		return "a list of tables"
	}
	return n.str
}

func quote(s string) string {
	if len(s) > 64 {
		s = s[:64] + "…"
	}
	return `"` + strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s) + `"`
}
