package environ

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"envrun/vault"
)

// A ChooseError says that a file holds several groups of variables and that
// ImportOptions.Service has to name one.
type ChooseError struct {
	What  string   // what they are: "service", "object"
	Names []string // in the order of the file
}

func (e *ChooseError) Error() string {
	return "name one " + e.What + " of " + strings.Join(e.Names, ", ")
}

// importCompose reads the environment of one service of a Compose file.
func importCompose(text []byte, o ImportOptions) ([]Entry, []Note, error) {
	y := &yamlReader{file: o.File}
	root, err := y.single(text)
	if err != nil {
		return nil, nil, err
	}
	var services *yaml.Node
	if root != nil {
		if services, err = y.field(root, "services"); err != nil {
			return nil, nil, err
		}
	}
	if services == nil || services.Kind != yaml.MappingNode {
		return nil, nil, invalid(o.File, 0, "", "has no services")
	}
	env, err := y.composeEnvironment(services, o.Service)
	if err != nil {
		return nil, nil, err
	}
	if include, err := y.field(root, "include"); err != nil {
		return nil, nil, err
	} else if include != nil {
		y.notes = append(y.notes, Note{Kind: NoteSkipped, Line: include.Line, What: "include"})
	}

	var entries []Entry
	switch {
	case env == nil: // the service has none
	case env.Kind == yaml.MappingNode:
		entries, err = y.composeMap(env)
	case env.Kind == yaml.SequenceNode:
		entries, err = y.composeList(env)
	default:
		err = y.bad(env, "", "environment is neither a mapping nor a list")
	}
	return entries, y.notes, err
}

// composeEnvironment finds the environment of the service with this name, or,
// if name is empty, of the one that has an environment.
func (y *yamlReader) composeEnvironment(services *yaml.Node, name string) (*yaml.Node, error) {
	all, err := y.pairs(services)
	if err != nil {
		return nil, err
	}
	var found []yamlPair // service and its environment
	var chosen *yaml.Node
	for _, s := range all {
		env, err := y.field(s.value, "environment")
		if err != nil {
			return nil, err
		}
		if name == s.key || name == "" && env != nil {
			found = append(found, yamlPair{s.key, s.node, env})
			chosen = s.value
		}
	}
	switch {
	case len(found) == 0 && name != "":
		return nil, &vault.Error{Kind: vault.KindInvalid, File: y.file, Detail: "has no service of that name", Err: chooseAmong("service", all)}
	case len(found) == 0:
		return nil, invalid(y.file, 0, "", "no service in it has an environment")
	case len(found) > 1:
		return nil, &vault.Error{Kind: vault.KindInvalid, File: y.file, Detail: "several services have an environment", Err: chooseAmong("service", found)}
	}
	for _, key := range []string{"env_file", "extends"} {
		n, err := y.field(chosen, key)
		if err != nil {
			return nil, err
		}
		if n != nil {
			y.notes = append(y.notes, Note{Kind: NoteSkipped, Line: n.Line, What: key})
		}
	}
	return found[0].value, nil
}

func chooseAmong(what string, all []yamlPair) error {
	e := &ChooseError{What: what}
	for _, p := range all {
		if name := fieldName(p.key); name != "" {
			e.Names = append(e.Names, name)
		}
	}
	return e
}

func (y *yamlReader) composeMap(env *yaml.Node) ([]Entry, error) {
	all, err := y.pairs(env)
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for _, p := range all {
		value, ok, err := y.scalar(p)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		e, err := y.composeEntry(p, value)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func (y *yamlReader) composeList(env *yaml.Node) ([]Entry, error) {
	var entries []Entry
	at := map[string]int{} // name to index in entries
	for _, item := range env.Content {
		item = follow(item)
		if item.Kind != yaml.ScalarNode || item.ShortTag() == "!!null" {
			return nil, y.bad(item, "", "an item of environment is not NAME=value")
		}
		name, value, ok := strings.Cut(item.Value, "=")
		if !ok {
			y.notes = append(y.notes, Note{Kind: NoteNoValue, Line: item.Line})
			continue
		}
		e, err := y.composeEntry(yamlPair{name, item, item}, []byte(value))
		if err != nil {
			return nil, err
		}
		if i, ok := at[name]; ok {
			y.notes = append(y.notes, Note{Kind: NoteDuplicate, Line: entries[i].Line, Name: name})
			entries[i] = e
			continue
		}
		at[name] = len(entries)
		entries = append(entries, e)
	}
	return entries, nil
}

// composeEntry makes an Entry of a value in which Compose writes $$ for $.
func (y *yamlReader) composeEntry(p yamlPair, value []byte) (Entry, error) {
	value, expands := composeExpand(value)
	e, err := y.entry(p, value)
	if err == nil && expands {
		y.notes = append(y.notes, Note{Kind: NoteExpansion, Line: e.Line, Name: e.Name})
	}
	return e, err
}
