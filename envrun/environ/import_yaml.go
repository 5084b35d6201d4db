package environ

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"envrun/vault"
)

// yamlReader holds what the readers of YAML formats share.
type yamlReader struct {
	file  string
	notes []Note
	steps int // pairs looked at, which aliases can make many of few
}

const maxYAMLSteps = 100_000

func (y *yamlReader) bad(n *yaml.Node, name, detail string) error {
	return invalid(y.file, n.Line, name, detail)
}

// documents parses text and returns the root of each document that is not empty.
func (y *yamlReader) documents(text []byte) ([]*yaml.Node, error) {
	var docs []*yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var doc yaml.Node
		switch err := dec.Decode(&doc); {
		case err == io.EOF:
			return docs, nil
		case err != nil:
			return nil, invalid(y.file, yamlErrorLine(err, text), "", "is not valid YAML")
		}
		if len(doc.Content) == 1 {
			if root := doc.Content[0]; root.Kind != yaml.ScalarNode || root.ShortTag() != "!!null" {
				docs = append(docs, root)
			}
		}
	}
}

// yamlErrorLine takes the line from an error of the library, whose words can
// hold a piece of the file.
func yamlErrorLine(err error, text []byte) int {
	var line int
	if _, scan := fmt.Sscanf(err.Error(), "yaml: line %d:", &line); scan != nil {
		return 1 // it leaves the first line out
	}
	if strings.Contains(err.Error(), "did not find expected") {
		line++ // the parser counts from 0, the scanner from 1
	}
	return min(line, lineOf(text, max(0, len(text)-1)))
}

// A yamlPair is one key of a mapping with its value.
type yamlPair struct {
	key   string
	node  *yaml.Node // of the key
	value *yaml.Node // an alias is followed
}

// pairs returns the pairs of a mapping in order, those merged with << before
// its own. A key of its own wins over a merged one, an earlier merge over a
// later; a key given twice is an error.
func (y *yamlReader) pairs(n *yaml.Node) ([]yamlPair, error) { return y.mergedPairs(n, 0) }

func (y *yamlReader) mergedPairs(n *yaml.Node, depth int) ([]yamlPair, error) {
	if depth > 20 {
		return nil, y.bad(n, "", "merges with << too deep")
	}
	var merged, own []yamlPair
	has := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if y.steps++; y.steps > maxYAMLSteps {
			return nil, y.bad(n, "", fmt.Sprintf("has more than %d keys, aliases followed", maxYAMLSteps))
		}
		key, value := n.Content[i], follow(n.Content[i+1])
		switch {
		case key.ShortTag() == "!!merge":
			from := []*yaml.Node{value}
			if value.Kind == yaml.SequenceNode {
				from = value.Content
			}
			for _, m := range from {
				if m = follow(m); m.Kind != yaml.MappingNode {
					return nil, y.bad(key, "", "<< merges something that is no mapping")
				}
				more, err := y.mergedPairs(m, depth+1)
				if err != nil {
					return nil, err
				}
				merged = append(merged, more...)
			}
		case key.Kind != yaml.ScalarNode || key.ShortTag() == "!!null":
			return nil, y.bad(key, "", "has a key that is no plain name")
		case has[key.Value]:
			return nil, y.bad(key, key.Value, "is given twice")
		default:
			has[key.Value] = true
			own = append(own, yamlPair{key.Value, key, value})
		}
	}
	kept := merged[:0]
	for _, p := range merged {
		if !has[p.key] {
			has[p.key] = true
			kept = append(kept, p)
		}
	}
	return append(kept, own...), nil
}

// field returns the value of one key of a mapping, nil if it is not there or null.
func (y *yamlReader) field(n *yaml.Node, key string) (*yaml.Node, error) {
	if n.Kind != yaml.MappingNode {
		return nil, nil
	}
	all, err := y.pairs(n)
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		if p.key == key && p.value.ShortTag() != "!!null" {
			return p.value, nil
		}
	}
	return nil, nil
}

func follow(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// scalar returns the value of a pair: a string as YAML reads it, a number, a
// boolean or a date as it is written. ok is false for null, with a note.
func (y *yamlReader) scalar(p yamlPair) (value []byte, ok bool, err error) {
	if p.value.Kind != yaml.ScalarNode {
		return nil, false, y.bad(p.node, p.key, "is a mapping or a list: only strings, numbers and booleans can be variables")
	}
	switch p.value.ShortTag() {
	case "!!str", "!!int", "!!float", "!!bool", "!!timestamp":
		return []byte(p.value.Value), true, nil
	case "!!null":
		y.notes = append(y.notes, Note{Kind: NoteNoValue, Line: p.node.Line, Name: fieldName(p.key)})
		return nil, false, nil
	case "!!binary":
		value, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(p.value.Value), ""))
		if err != nil {
			return nil, false, y.bad(p.value, p.key, "its !!binary value is not base64")
		}
		return value, true, nil
	}
	return nil, false, y.bad(p.value, p.key, "its value has a tag that only the program it is for understands")
}

// entry makes an Entry of a pair.
func (y *yamlReader) entry(p yamlPair, value []byte) (Entry, error) {
	if fieldName(p.key) == "" {
		return Entry{}, y.bad(p.node, "", badName)
	}
	return Entry{p.key, vault.NewValue(value), p.value.Line}, nil
}

// importYAML reads one document with one mapping of scalars.
func importYAML(text []byte, o ImportOptions) ([]Entry, []Note, error) {
	y := &yamlReader{file: o.File}
	root, err := y.single(text)
	if err != nil {
		return nil, nil, err
	}
	if root == nil {
		return nil, nil, nil
	}
	all, err := y.pairs(root)
	if err != nil {
		return nil, nil, err
	}
	var entries []Entry
	for _, p := range all {
		value, ok, err := y.scalar(p)
		if err != nil {
			return nil, nil, err
		}
		if !ok {
			continue
		}
		e, err := y.entry(p, value)
		if err != nil {
			return nil, nil, err
		}
		entries = append(entries, e)
	}
	return entries, y.notes, nil
}

// single parses a file that is one document with a mapping; nil if it is empty.
func (y *yamlReader) single(text []byte) (*yaml.Node, error) {
	docs, err := y.documents(text)
	switch {
	case err != nil:
		return nil, err
	case len(docs) == 0:
		return nil, nil
	case len(docs) > 1:
		return nil, y.bad(docs[1], "", "begins a second document")
	case docs[0].Kind != yaml.MappingNode:
		return nil, y.bad(docs[0], "", "is no mapping of names and values")
	}
	return docs[0], nil
}
