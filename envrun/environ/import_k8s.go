package environ

import (
	"encoding/base64"
	"slices"

	"go.yaml.in/yaml/v3"

	"envrun/vault"
)

// A manifest is one Secret or ConfigMap.
type manifest struct {
	root   *yaml.Node
	secret bool
	name   string // metadata.name
}

// importK8s reads the Secrets and ConfigMaps of a file, or with o.Service the
// one with this metadata.name.
func importK8s(text []byte, o ImportOptions) ([]Entry, []Note, error) {
	y := &yamlReader{file: o.File}
	docs, err := y.documents(text)
	if err != nil {
		return nil, nil, err
	}
	var all []manifest
	for _, doc := range docs {
		if all, err = y.manifests(all, doc, 0); err != nil {
			return nil, nil, err
		}
	}
	if o.Service != "" {
		named := slices.DeleteFunc(slices.Clone(all), func(m manifest) bool { return m.name != o.Service })
		if len(named) == 0 {
			return nil, nil, &vault.Error{Kind: vault.KindInvalid, File: o.File, Detail: "holds no Secret or ConfigMap of that name", Err: chooseManifest(all)}
		}
		all = named
	}
	if len(all) == 0 {
		return nil, nil, invalid(o.File, 0, "", "holds no Secret and no ConfigMap")
	}

	var entries []Entry
	seen := map[string]bool{}
	for _, m := range all {
		more, err := y.manifest(m)
		if err != nil {
			return nil, nil, err
		}
		for _, e := range more {
			if seen[e.Name] {
				return nil, nil, &vault.Error{Kind: vault.KindInvalid, File: o.File, Line: e.Line, Field: vault.FieldName(e.Name), Detail: "is in another object too", Err: chooseManifest(all)}
			}
			seen[e.Name] = true
		}
		entries = append(entries, more...)
	}
	return entries, y.notes, nil
}

func chooseManifest(all []manifest) error {
	e := &ChooseError{What: "object"}
	for _, m := range all {
		if name := fieldName(m.name); name != "" && !slices.Contains(e.Names, name) {
			e.Names = append(e.Names, name)
		}
	}
	if len(e.Names) == 0 {
		return nil
	}
	return e
}

// manifests appends what a document holds to all; other kinds get a note.
func (y *yamlReader) manifests(all []manifest, root *yaml.Node, depth int) ([]manifest, error) {
	if root.Kind != yaml.MappingNode || depth > 2 {
		return nil, y.bad(root, "", "is no Kubernetes object")
	}
	kind, err := y.text(root, "kind")
	if err != nil {
		return nil, err
	}
	switch kind {
	case "Secret", "ConfigMap":
		m := manifest{root: root, secret: kind == "Secret"}
		if meta, err := y.field(root, "metadata"); err != nil {
			return nil, err
		} else if meta != nil {
			if m.name, err = y.text(meta, "name"); err != nil {
				return nil, err
			}
		}
		return append(all, m), nil
	case "List", "SecretList", "ConfigMapList":
		items, err := y.field(root, "items")
		if err != nil || items == nil {
			return all, err
		}
		for _, item := range items.Content {
			if all, err = y.manifests(all, follow(item), depth+1); err != nil {
				return nil, err
			}
		}
		return all, nil
	case "":
		return nil, y.bad(root, "", "is no Kubernetes object: it has no kind")
	}
	y.notes = append(y.notes, Note{Kind: NoteSkipped, Line: root.Line, What: fieldName(kind)})
	return all, nil
}

// text returns the string at a key, "" if there is none.
func (y *yamlReader) text(n *yaml.Node, key string) (string, error) {
	v, err := y.field(n, key)
	if err != nil || v == nil || v.Kind != yaml.ScalarNode {
		return "", err
	}
	return v.Value, nil
}

// manifest reads the variables of one Secret or ConfigMap.
func (y *yamlReader) manifest(m manifest) ([]Entry, error) {
	encoded, plain := "data", "stringData"
	if !m.secret {
		encoded, plain = "binaryData", "data"
	}
	var entries []Entry
	at := map[string]int{}
	for _, part := range []struct {
		key     string
		encoded bool
	}{{encoded, true}, {plain, false}} {
		n, err := y.field(m.root, part.key)
		if err != nil {
			return nil, err
		}
		if n == nil {
			continue
		}
		if n.Kind != yaml.MappingNode {
			return nil, y.bad(n, "", part.key+" is no mapping")
		}
		all, err := y.pairs(n)
		if err != nil {
			return nil, err
		}
		for _, p := range all {
			value, ok, err := y.manifestValue(p, part.encoded)
			if err != nil {
				return nil, err
			}
			if !ok {
				continue
			}
			e, err := y.entry(p, value)
			if err != nil {
				return nil, err
			}
			i, again := at[e.Name]
			switch {
			case again && !m.secret:
				return nil, y.bad(p.node, e.Name, "is in data and in binaryData")
			case again: // stringData wins over data
				y.notes = append(y.notes, Note{Kind: NoteDuplicate, Line: entries[i].Line, Name: e.Name})
				entries[i] = e
			default:
				at[e.Name] = len(entries)
				entries = append(entries, e)
			}
		}
	}
	return entries, nil
}

// manifestValue reads a value, which Kubernetes takes only as a string.
func (y *yamlReader) manifestValue(p yamlPair, encoded bool) (value []byte, ok bool, err error) {
	value, ok, err = y.scalar(p)
	if err != nil || !ok {
		return nil, false, err
	}
	switch p.value.ShortTag() {
	case "!!int", "!!float", "!!bool":
		return nil, false, y.bad(p.value, p.key, "has to be in quotes: Kubernetes takes only strings")
	}
	if encoded {
		if value, err = base64.StdEncoding.DecodeString(string(value)); err != nil {
			return nil, false, y.bad(p.value, p.key, "is not base64")
		}
	}
	return value, true, nil
}
