package resolve_test

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"

	"envrun/envrun/environ"
	"envrun/envrun/project"
	"envrun/vault"
)

// memory is a vault.Reader that works: environment → path → field → value. It
// counts what it is asked.
type memory struct {
	secrets map[vault.Env]map[vault.Path]map[vault.FieldName]string
	fail    error // what GetMany answers instead, if not nil

	many, lists int
	asked       [][]vault.Path
}

// load reads lines of "env path FIELD value".
func load(lines string) *memory {
	m := &memory{secrets: map[vault.Env]map[vault.Path]map[vault.FieldName]string{}}
	for line := range strings.Lines(lines) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if len(f) != 4 {
			panic("a line of four words: " + line)
		}
		env, path := vault.Env(f[0]), vault.Path(f[1])
		if m.secrets[env] == nil {
			m.secrets[env] = map[vault.Path]map[vault.FieldName]string{}
		}
		if m.secrets[env][path] == nil {
			m.secrets[env][path] = map[vault.FieldName]string{}
		}
		m.secrets[env][path][vault.FieldName(f[2])] = strings.ReplaceAll(f[3], `\0`, "\x00")
	}
	return m
}

func (m *memory) Envs(context.Context) ([]vault.Env, error) {
	return slices.Sorted(maps.Keys(m.secrets)), nil
}

func (m *memory) Get(ctx context.Context, env vault.Env, path vault.Path) (vault.Secret, error) {
	got, err := m.GetMany(ctx, env, []vault.Path{path})
	if err != nil {
		return vault.Secret{}, err
	}
	return got[0], nil
}

func (m *memory) GetMany(ctx context.Context, env vault.Env, paths []vault.Path) ([]vault.Secret, error) {
	m.many++
	m.asked = append(m.asked, slices.Clone(paths))
	if m.fail != nil {
		return nil, m.fail
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	there, ok := m.secrets[env]
	if !ok {
		return nil, &vault.Error{Kind: vault.KindNoEnv, Env: env}
	}
	var out []vault.Secret
	for _, p := range paths {
		fields, ok := there[p]
		if !ok {
			return nil, &vault.Error{Kind: vault.KindNotFound, Env: env, Path: p}
		}
		s := vault.Secret{Info: m.info(env, p)}
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			s.Values = append(s.Values, vault.Field{Name: name, Since: 1, Value: vault.NewValueString(fields[name])})
		}
		out = append(out, s)
	}
	return out, nil
}

func (m *memory) info(env vault.Env, p vault.Path) vault.Info {
	i := vault.Info{Env: env, Path: p, Version: 7}
	for _, name := range slices.Sorted(maps.Keys(m.secrets[env][p])) {
		i.Fields = append(i.Fields, vault.FieldInfo{Name: name, Since: 1})
	}
	return i
}

func (m *memory) List(_ context.Context, env vault.Env, prefix vault.Path) iter.Seq2[vault.Info, error] {
	m.lists++
	return func(yield func(vault.Info, error) bool) {
		for _, p := range slices.Sorted(maps.Keys(m.secrets[env])) {
			if prefix == "" || p == prefix || strings.HasPrefix(string(p), string(prefix)+"/") {
				if !yield(m.info(env, p), nil) {
					return
				}
			}
		}
	}
}

var _ vault.Reader = (*memory)(nil)

const head = `vault = "v"
project = "app"
default = "dev"
[env.dev]
[env.prod]
`

func parse(t testing.TB, text string) *project.Project {
	t.Helper()
	p, err := project.Parse("envrun.toml", []byte(text))
	if err != nil {
		t.Fatalf("project: %v", err)
	}
	return p
}

func parent(entries ...string) *environ.Environ { return environ.FromList(entries, "linux") }

func entries(pairs ...string) []environ.Entry {
	var out []environ.Entry
	for i, p := range pairs {
		name, value, _ := strings.Cut(p, "=")
		out = append(out, environ.Entry{Name: name, Value: vault.NewValueString(value), Line: i + 1})
	}
	return out
}
