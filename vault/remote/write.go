package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"envrun/vault"
	"envrun/vault/parallel"
	"envrun/vault/record"
	"envrun/vault/wire"
)

// Apply implements vault.Writer, but for several secrets: all changes are compared
// with what is there before the first is written, and then written one after the
// other. Where one fails although others were written, the error is a *PartialError.
//
// It takes the right to read what is to be changed.
func (v *Vault) Apply(ctx context.Context, env vault.Env, changes []vault.Change) ([]vault.Info, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if _, err := vault.ParseEnv(string(env)); err != nil {
		return nil, err
	}
	if err := record.CheckChanges(env, changes); err != nil {
		return nil, err
	}
	if len(changes) == 0 {
		return nil, nil
	}
	if _, err := v.mount(ctx, env); err != nil {
		return nil, err
	}
	paths := make([]vault.Path, len(changes))
	for i, c := range changes {
		paths[i] = c.Path
	}
	all, err := v.readMany(ctx, env, paths)
	if err != nil {
		return nil, err
	}
	infos := make([]vault.Info, len(changes))
	steps := make([]*step, len(changes))
	for i, was := range all {
		if steps[i], err = was.change(changes[i]); err != nil {
			return nil, v.place(err, env, changes[i].Path)
		}
		infos[i] = was.info
	}
	if err := v.mayDelete(ctx, env, steps); err != nil {
		return nil, err
	}
	var written []vault.Info
	for i, s := range steps {
		if s == nil {
			continue
		}
		did, err := v.write(ctx, env, s)
		if did {
			infos[i] = s.next
			written = append(written, s.next)
		}
		if err == nil {
			continue
		}
		err = v.place(err, env, changes[i].Path)
		p := &PartialError{Written: written, Failed: changes[i].Path, Err: err}
		for _, later := range steps[i+1:] {
			if later != nil {
				p.Left = append(p.Left, later.next.Path)
			}
		}
		if len(written) == 0 || did && len(written) == 1 && len(p.Left) == 0 {
			return nil, err // which says all there is to say
		}
		return nil, &vault.Error{Kind: vault.KindOf(err), Env: env, Err: p}
	}
	return infos, nil
}

// step is one secret that is to be written.
type step struct {
	was  present
	next vault.Info // its At is set by the write
	raw  wire.Fields
	// meta says that note, rotation or tags change, beside what is kept of fields.
	meta bool
}

// change is what a change makes of a secret, nil if nothing would be different.
func (p present) change(c vault.Change) (*step, error) {
	if err := compare(p, c.Was); err != nil {
		return nil, err
	}
	s := &step{was: p, raw: wire.Fields{}, next: vault.Info{Env: p.info.Env, Path: p.info.Path, Version: p.info.Version + 1}}
	if c.Delete {
		if !p.there() {
			return nil, nil
		}
		s.next.Deleted = true
		if c.Note != nil {
			s.next.Note = *c.Note
		}
		s.meta = true
		return s, nil
	}
	since := map[vault.FieldName]uint64{}
	changed := !p.there() && c.Replace // an empty secret is one too
	if p.there() {
		s.next.Note, s.next.Rotate, s.next.Tags = p.info.Note, p.info.Rotate, p.info.Tags
		for _, f := range p.info.Fields {
			if slices.Contains(c.Drop, f.Name) || c.Replace && !slices.ContainsFunc(c.Set, func(set vault.Field) bool { return set.Name == f.Name }) {
				changed = true
				continue
			}
			s.raw[string(f.Name)], since[f.Name] = p.raw[string(f.Name)], f.Since
		}
	}
	for _, set := range c.Set {
		if now, ok := s.raw[string(set.Name)]; ok && decodeValue(now).Equal(set.Value) {
			continue // as it is, and with the JSON that it is
		}
		raw, err := encodeValue(set.Value)
		if err != nil {
			return nil, &vault.Error{Kind: vault.KindInvalid, Field: set.Name, Detail: "cannot be written as JSON"}
		}
		s.raw[string(set.Name)], since[set.Name] = raw, s.next.Version
		changed = true
	}
	if len(s.raw) > vault.MaxFields {
		return nil, invalid("would have %d fields; a secret holds at most %d", len(s.raw), vault.MaxFields)
	}
	for _, name := range slices.Sorted(maps.Keys(since)) {
		s.next.Fields = append(s.next.Fields, vault.FieldInfo{Name: name, Since: since[name]})
	}
	if c.Note != nil && *c.Note != s.next.Note {
		s.next.Note, s.meta = *c.Note, true
	}
	if c.Rotate != nil && *c.Rotate != s.next.Rotate {
		s.next.Rotate, s.meta = *c.Rotate, true
	}
	if c.Tags != nil && !slices.Equal(*c.Tags, s.next.Tags) {
		s.next.Tags, s.meta = slices.Clone(*c.Tags), true
	}
	if !changed && !s.meta {
		return nil, nil
	}
	return s, nil
}

// compare is the compare of compare-and-swap.
func compare(p present, was uint64) error {
	switch {
	case was == vault.Any, was == p.info.Version, was == 0 && !p.there():
		return nil
	case !p.there():
		return &vault.Error{Kind: vault.KindConflict, Detail: fmt.Sprintf("is not there any more; the change was made to version %d", was)}
	case was == 0:
		return &vault.Error{Kind: vault.KindConflict, Detail: fmt.Sprintf("is there by now, at version %d", p.info.Version)}
	}
	return &vault.Error{Kind: vault.KindConflict, Detail: fmt.Sprintf("is at version %d by now; the change was made to version %d", p.info.Version, was)}
}

// mayDelete finds out, before anything is written, whether what is to be deleted
// can be marked so: a deletion is two requests, and the second must not be refused.
// Marking no version is a bad request to whoever may mark one.
func (v *Vault) mayDelete(ctx context.Context, env vault.Env, steps []*step) error {
	return parallel.Do(ctx, len(steps), atOnce, func(i int) error {
		s := steps[i]
		if s == nil || !s.next.Deleted {
			return nil
		}
		path := string(s.next.Path)
		_, err := v.send(ctx, call{method: http.MethodPost, path: []string{v.mountPath(env), "delete", path}, body: wire.Versions{Versions: wire.Ints{}}, repeat: true})
		if e, ok := err.(*statusError); err == nil || ok && e.status == http.StatusBadRequest {
			return nil
		} else if ok && e.status == http.StatusForbidden {
			return &vault.Error{Kind: vault.KindDenied, Env: env, Path: s.next.Path, Err: &ServerError{Trouble: Forbidden, Address: v.Address(), Mount: v.mountPath(env), Status: e.status, Text: fmt.Sprintf("to delete takes the right to update %s/delete/%s", v.mountPath(env), path)}}
		}
		return v.place(err, env, s.next.Path)
	})
}

// write writes one version. did says that it was written, also when what belongs
// to it was not: then the error says what.
func (v *Vault) write(ctx context.Context, env vault.Env, s *step) (did bool, err error) {
	path := string(s.next.Path)
	made, err := v.put(ctx, env, s)
	if err != nil {
		return false, err
	}
	s.next.At = made.CreatedTime.UTC()
	if s.next.Deleted {
		body := wire.Versions{Versions: wire.Ints{int64(s.next.Version)}}
		_, err := v.send(ctx, call{method: http.MethodPost, path: []string{v.mountPath(env), "delete", path}, body: body, repeat: true})
		if err != nil {
			return false, &vault.Error{Kind: vault.KindOf(v.place(err, env, "")), Detail: fmt.Sprintf("is emptied in version %d, and is not marked as deleted", s.next.Version), Err: v.cause(err, env)}
		}
	}
	if err := v.annotate(ctx, env, s); err != nil && s.meta && !(s.next.Deleted && s.next.Note == "") {
		return true, &vault.Error{Kind: vault.KindOf(v.place(err, env, "")), Detail: fmt.Sprintf("its values are written as version %d; note, rotation and tags are not", s.next.Version), Err: v.cause(err, env)}
	}
	return true, nil
}

// put writes the values of a version. Where it is not clear whether the server took
// them, it looks: nobody else can have written them at the same version.
func (v *Vault) put(ctx context.Context, env vault.Env, s *step) (wire.Version, error) {
	cas := wire.Int(s.was.info.Version)
	c := call{
		method: http.MethodPost, path: []string{v.mountPath(env), "data", string(s.next.Path)},
		body: wire.SecretWrite{Data: s.raw, Options: &wire.WriteOptions{CAS: &cas}},
	}
	for _, raw := range s.raw {
		c.secrets = append(c.secrets, string(decodeValue(raw).Reveal()))
	}
	a, err := v.send(ctx, c)
	if err == nil {
		var m wire.Version
		if m, err = decode[wire.Version](v, a, nil); err == nil && m.Version == s.next.Version {
			return m, nil
		}
		if err == nil {
			err = &ServerError{Trouble: NotVault, Address: v.Address(), Text: fmt.Sprintf("it wrote version %d where %d was next", m.Version, s.next.Version)}
		}
		return m, err
	}
	if e, ok := errors.AsType[*ServerError](err); !ok || e.Trouble != Unreachable || ctx.Err() != nil {
		return wire.Version{}, err
	}
	now, lookErr := v.read(ctx, env, s.next.Path, s.next.Version)
	switch {
	case lookErr != nil:
		return wire.Version{}, &vault.Error{Kind: vault.KindUnavailable, Detail: fmt.Sprintf("whether version %d was written is not known", s.next.Version), Err: err}
	case now.info.Version == s.next.Version && sameRaw(now.raw, s.raw):
		return wire.Version{CreatedTime: wire.Time{Time: now.info.At}, Version: s.next.Version}, nil
	}
	return wire.Version{}, err
}

func sameRaw(a, b wire.Fields) bool {
	return maps.EqualFunc(a, b, func(a, b json.RawMessage) bool { return decodeValue(a).Equal(decodeValue(b)) })
}

// annotate brings custom metadata up to a version that was written: its note, and
// since when its fields are as they are. What others keep there stays.
func (v *Vault) annotate(ctx context.Context, env vault.Env, s *step) error {
	patch := map[string]any{}
	c := s.was.custom
	since := ""
	if !s.next.Deleted && len(s.next.Fields) > 0 && slices.ContainsFunc(s.next.Fields, func(f vault.FieldInfo) bool { return f.Since != s.next.Version }) {
		since = writeSince(s.next.Version, s.next.Fields)
	}
	// What stands there of another version counts for nothing, and may stay.
	if since != "" && !patchParts(patch, c, sinceKey, since) {
		patchParts(patch, c, sinceKey, "") // no room: as if another tool had written
	}
	if s.meta || s.was.info.Deleted {
		patchParts(patch, c, noteKey, s.next.Note)
		patchParts(patch, c, rotateKey, s.next.Rotate)
		patchParts(patch, c, tagsKey, strings.Join(s.next.Tags, " "))
	}
	if len(patch) == 0 {
		return nil
	}
	at := []string{v.mountPath(env), "metadata", string(s.next.Path)}
	_, err := v.send(ctx, call{method: http.MethodPatch, path: at, body: map[string]any{"custom_metadata": patch}, merge: true, repeat: true})
	e, ok := errors.AsType[*statusError](err)
	if !ok || e.status != http.StatusForbidden && e.status != http.StatusMethodNotAllowed && e.status != http.StatusUnsupportedMediaType {
		return err
	}
	// Not every policy allows to patch. Writing replaces all there is, so it is put
	// together here.
	custom := wire.Custom{}
	maps.Copy(custom, c)
	for name, value := range patch {
		if text, ok := value.(string); ok {
			custom[name] = text
		} else {
			delete(custom, name)
		}
	}
	_, err = v.send(ctx, call{method: http.MethodPost, path: at, body: wire.MetadataWrite{CustomMetadata: &custom}, repeat: true})
	return err
}
