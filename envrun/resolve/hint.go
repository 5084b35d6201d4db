package resolve

import (
	"maps"
	"slices"

	"envrun/vault"
	"envrun/vault/near"
)

const (
	maxHints = 3  // of one kind for one thing missing
	maxEnvs  = 16 // other environments that are looked at
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// hint fills in what was probably meant by what is missing. It reads names
// only, and what cannot be read gives no hint: the error stays the same.
func (w *work) hint() {
	if len(w.plan.Missing) == 0 {
		return
	}
	others := w.others()
	names := make([]string, 0, len(w.slots))
	for _, key := range sortedKeys(w.slots) {
		names = append(names, w.slots[key].name)
	}
	for i := range w.plan.Missing {
		m := &w.plan.Missing[i]
		switch m.What {
		case MissingSecret:
			paths := make([]vault.Path, 0, len(w.list()))
			for _, info := range w.list() {
				paths = append(paths, info.Path)
			}
			m.Near = texts(near.Names(string(m.Path), paths, maxHints))
			m.Elsewhere = w.elsewhere(others, m.Path, "")
		case MissingField:
			m.Near = texts(near.Names(string(m.Field), fieldNames(w.secrets[m.Path]), maxHints))
			m.At = w.pathsWith(m.Field)
			m.Elsewhere = w.elsewhere(others, m.Path, m.Field)
		case MissingVariable:
			m.Near = near.Names(m.Name, names, maxHints)
			m.At = w.pathsWith(vault.FieldName(m.Name))
			if w.project.Name != "" {
				m.Elsewhere = w.elsewhere(others, w.project.Name, vault.FieldName(m.Name))
			}
		case MissingSelection:
			m.Near = near.Names(m.Name, names, maxHints)
		}
	}
}

func texts[S ~string](in []S) []string {
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = string(s)
	}
	return out
}

func fieldNames(s vault.Secret) []vault.FieldName {
	names := make([]vault.FieldName, len(s.Values))
	for i, f := range s.Values {
		names[i] = f.Name
	}
	return names
}

// pathsWith are secrets of this environment that have a field.
func (w *work) pathsWith(f vault.FieldName) []vault.Path {
	var out []vault.Path
	for _, info := range w.list() {
		if len(out) < maxHints && hasField(info, f) {
			out = append(out, info.Path)
		}
	}
	return out
}

func hasField(info vault.Info, f vault.FieldName) bool {
	return slices.ContainsFunc(info.Fields, func(i vault.FieldInfo) bool { return i.Name == f })
}

// others are the project's other environments in the same vault, which is the
// one that was opened.
func (w *work) others() []vault.Env {
	var out []vault.Env
	for _, e := range w.project.Envs {
		// Never a protected one: a hint must not send its secrets elsewhere.
		if e.Name != w.env.Name && !e.Protected && e.Vault == w.env.Vault && len(out) < maxEnvs {
			out = append(out, e.Name)
		}
	}
	return out
}

// elsewhere are those of envs that have a secret, and in it a field unless that is empty.
func (w *work) elsewhere(envs []vault.Env, p vault.Path, f vault.FieldName) []vault.Env {
	var out []vault.Env
	for _, e := range envs {
		for info, err := range w.reader.List(w.ctx, e, p) {
			if err == nil && info.Path == p && (f == "" || hasField(info, f)) {
				out = append(out, e)
				break
			}
		}
		if len(out) == maxHints {
			break
		}
	}
	return out
}
