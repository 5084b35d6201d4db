package policy

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
)

// readJSON reads a whole text into the tree that readHCL makes of the same
// policy in HCL. Where HCL has a label, JSON has one more object.
func readJSON(text string) ([]item, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	p := &jsonParser{src: text, d: d, line: 1}
	n, err := p.value(0)
	if err != nil {
		return nil, err
	}
	if n.kind != kObject {
		return nil, invalid(1, "%s where an object belongs", n.kind)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, invalid(p.here(), "goes on after the end of the policy")
	}
	return label(n.items, "path")
}

type jsonParser struct {
	src   string
	d     *json.Decoder
	line  int // of the byte at counted
	count int
}

// here is the line the decoder is at.
func (p *jsonParser) here() int {
	at := min(int(p.d.InputOffset()), len(p.src))
	if at > p.count {
		p.line += strings.Count(p.src[p.count:at], "\n")
		p.count = at
	}
	return p.line
}

func (p *jsonParser) token() (json.Token, error) {
	t, err := p.d.Token()
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return t, nil
	case errors.As(err, &syntax):
		at := min(int(syntax.Offset), len(p.src))
		return nil, invalid(1+strings.Count(p.src[:at], "\n"), "is not JSON: %v", err)
	}
	return nil, invalid(p.here(), "is not JSON: the text ends too early")
}

func (p *jsonParser) value(depth int) (node, error) {
	t, err := p.token()
	n := node{line: p.here()}
	if err != nil {
		return n, err
	}
	if depth > maxDepth+2 { // two of the levels are labels in HCL
		return n, invalid(n.line, "nests deeper than any policy does")
	}
	switch t := t.(type) {
	case string:
		n.kind, n.text = kString, t
	case json.Number:
		n.kind, n.text = kNumber, t.String()
		if strings.ContainsAny(n.text, "eE") {
			return n, invalid(n.line, "a number is written with decimal digits alone")
		}
	case bool:
		n.kind, n.text = kBool, "false"
		if t {
			n.text = "true"
		}
	case nil:
		return n, invalid(n.line, "null has no meaning in a policy")
	case json.Delim:
		if t == '[' {
			n.kind = kList
			for p.d.More() {
				el, err := p.value(depth + 1)
				if err != nil {
					return n, err
				}
				if el.kind == kBool || el.kind == kList {
					// Vault drops the one and melts the other into the list around it.
					return n, invalid(el.line, "%s in a list is not read in JSON: write the policy in HCL", el.kind)
				}
				n.list = append(n.list, el)
			}
		} else {
			n.kind = kObject
			for p.d.More() {
				key, err := p.token()
				if err != nil {
					return n, err
				}
				it := item{line: p.here(), key: key.(string), json: true} // the decoder lets nothing else stand there
				if it.val, err = p.value(depth + 1); err != nil {
					return n, err
				}
				n.items = append(n.items, it)
			}
		}
		_, err = p.token() // the closing delimiter, or what stands in its place
	}
	return n, err
}

// label turns {"key": {"label": {…}}} into the items that HCL has for
// key "label" {…}, for the one key that has labels at this place. There may be
// a list of such objects instead of one.
func label(items []item, key string) ([]item, error) {
	var out []item
	for _, it := range items {
		if it.key != key || !it.json {
			out = append(out, it)
			continue
		}
		objects := []node{it.val}
		if it.val.kind == kList {
			objects = it.val.list
		}
		if len(objects) == 0 {
			return nil, invalid(it.line, "%s is empty", key)
		}
		for _, o := range objects {
			if o.kind != kObject {
				return nil, wrongKind(o, key, kObject)
			}
			if len(o.items) == 0 {
				return nil, invalid(o.line, "%s is empty", key)
			}
			for _, l := range o.items {
				if l.val.kind != kObject {
					return nil, wrongKind(l.val, key+" "+strconv.Quote(l.key), kObject)
				}
				if in := l.val.items; len(in) > 0 && !slices.ContainsFunc(in, func(it item) bool { return it.val.kind != kObject }) {
					// Vault takes the keys of such an object for more labels.
					return nil, invalid(l.line, "%s %q says nothing but parameters: say its capabilities too", key, l.key)
				}
				out = append(out, item{line: l.line, key: key, label: l.key, labeled: true, block: true, val: l.val})
			}
		}
	}
	return out, nil
}
