package record

import (
	"errors"
	"fmt"

	"envrun/vault"
)

// CheckChanges refuses changes to an environment that cannot be right whatever
// the vault holds: a path or name that is none, one that is named twice, a value
// that is too long, a note that is none. The error names the change and the field.
func CheckChanges(env vault.Env, changes []vault.Change) error {
	seen := make(map[vault.Path]bool, len(changes))
	for _, c := range changes {
		err := checkChange(c)
		if err == nil && seen[c.Path] {
			err = invalid("is in the batch twice")
		}
		if e, ok := errors.AsType[*vault.Error](err); ok {
			named := *e
			named.Env, named.Path = env, c.Path
			return &named
		}
		seen[c.Path] = true
	}
	return nil
}

func checkChange(c vault.Change) error {
	if _, err := vault.ParsePath(string(c.Path)); err != nil {
		return err
	}
	if c.Delete && (len(c.Set) > 0 || len(c.Drop) > 0 || c.Replace) {
		return invalid("cannot be deleted and changed at once")
	}
	names := make(map[vault.FieldName]bool, len(c.Set)+len(c.Drop))
	check := func(name vault.FieldName) error {
		if _, err := vault.ParseFieldName(string(name)); err != nil {
			return err
		}
		if names[name] {
			return invalidField(name, "is in the change twice")
		}
		names[name] = true
		return nil
	}
	for _, f := range c.Set {
		if err := check(f.Name); err != nil {
			return err
		}
		if n := f.Value.Len(); n > vault.MaxValue {
			return invalidField(f.Name, fmt.Sprintf("has %d bytes; a value holds at most %d", n, vault.MaxValue))
		}
	}
	for _, name := range c.Drop {
		if err := check(name); err != nil {
			return err
		}
	}
	if c.Note != nil {
		if err := CheckNote(*c.Note); err != nil {
			return err
		}
	}
	if c.Rotate != nil {
		if err := CheckRotate(*c.Rotate); err != nil {
			return err
		}
	}
	if c.Tags != nil {
		return CheckTags(*c.Tags)
	}
	return nil
}

func invalidField(name vault.FieldName, detail string) error {
	return &vault.Error{Kind: vault.KindInvalid, Field: name, Detail: detail}
}
