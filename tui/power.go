package tui

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"

	"envrun/tui/draft"
	"envrun/tui/kit"
	"envrun/tui/screen"
	"envrun/vault"
)

// power is what jobs are given of the vaults. It is the only part of the
// interface that gets a vault.Value out of one; the values that it returns go to
// the slot and to the clipboard (slot.go), and nowhere else.
type power struct {
	open   func(ctx context.Context, env vault.Env) (vault.Vault, error)
	where  func(ctx context.Context, env vault.Env, path vault.Path) ([]screen.Injection, error) // may be nil
	audit  func(ctx context.Context, use Use) error                                              // may be nil
	signs  screen.Signing                                                                        // nil: no environment is on a server
	gate   screen.Gate                                                                           // nil: nothing is known of who can open what
	files  fs                                                                                    // that values are imported from
	key    []byte                                                                                // of the prints, of this session only
	opener draft.Opener                                                                          // of the values that were typed
	veil   *kit.Veil                                                                             // before the names of all that is read here
}

// newPower makes the power, and the set of drafts that it can open.
func newPower(c *Config) (*power, *draft.Set) {
	p := &power{open: c.Open, audit: c.Audit, gate: c.Gate, signs: c.SignIns, files: fs{dir: c.Dir, home: c.Home}, key: make([]byte, 32)}
	keep := make([]string, len(c.Envs))
	for i, e := range c.Envs {
		keep[i] = string(e.Name) // where one is must be readable at any time
	}
	p.veil = kit.NewVeil(keep...)
	rand.Read(p.key)
	drafts, opener := draft.New(nil, p.facts)
	p.opener = opener
	return p, drafts
}

// Access implements screen.Reading.
func (p *power) Access() screen.Access {
	if p.gate == nil {
		return nil
	}
	return looking{p.gate, p.veil}
}

// Signed implements screen.Signing.
func (p *power) Signed(ctx context.Context, env vault.Env, ask bool) (screen.Signed, error) {
	return p.signs.Signed(ctx, env, ask)
}

// looking is a gate of which nothing but looking is left, and typed one that only
// reads what people type: what is behind them cannot be got at.
type (
	looking struct {
		screen.Access
		veil *kit.Veil
	}
	typed struct{ screen.Typed }
)

// List implements screen.Reading.
func (p *power) List(ctx context.Context, env vault.Env) iter.Seq2[vault.Info, error] {
	return func(yield func(vault.Info, error) bool) {
		v, err := p.open(ctx, env)
		if err != nil {
			yield(vault.Info{}, err)
			return
		}
		for info, err := range v.List(ctx, env, "") {
			p.seen(info)
			if !yield(info, err) {
				return
			}
		}
	}
}

// Info implements screen.Reading.
func (p *power) Info(ctx context.Context, env vault.Env, path vault.Path) (vault.Info, error) {
	v, err := p.open(ctx, env)
	if err != nil {
		return vault.Info{}, err
	}
	for info, err := range v.List(ctx, env, path) {
		if err == nil && info.Path != path {
			continue
		}
		p.seen(info)
		return info, err
	}
	return vault.Info{}, &vault.Error{Kind: vault.KindNotFound, Env: env, Path: path}
}

// Versions implements screen.Reading.
func (p *power) Versions(ctx context.Context, env vault.Env, path vault.Path) iter.Seq2[vault.Info, error] {
	return func(yield func(vault.Info, error) bool) {
		v, err := p.open(ctx, env)
		if err != nil {
			yield(vault.Info{}, err)
			return
		}
		h, ok := v.(vault.Historian)
		if !ok {
			yield(vault.Info{}, &vault.Error{Kind: vault.KindUnsupported, Env: env, Path: path, Detail: "this vault keeps no earlier versions"})
			return
		}
		for info, err := range h.Versions(ctx, env, path) {
			p.seen(info)
			if !yield(info, err) {
				return
			}
		}
	}
}

// secret is one version of a secret, with its values; 0 is the current one.
func (p *power) secret(ctx context.Context, env vault.Env, path vault.Path, version uint64) (vault.Secret, error) {
	v, err := p.open(ctx, env)
	if err != nil {
		return vault.Secret{}, err
	}
	if version == 0 {
		return v.Get(ctx, env, path)
	}
	// The current version is there in every vault, also without a history.
	s, err := v.Get(ctx, env, path)
	if err == nil && s.Version == version {
		return s, nil
	}
	wipe(s.Values)
	h, ok := v.(vault.Historian)
	if !ok {
		return vault.Secret{}, &vault.Error{Kind: vault.KindUnsupported, Env: env, Path: path, Detail: "this vault keeps no earlier versions"}
	}
	return h.GetVersion(ctx, env, path, version)
}

func wipe(values []vault.Field) {
	for _, f := range values {
		f.Value.Wipe()
	}
}

// value is a copy of one value, which the caller wipes.
func (p *power) value(ctx context.Context, t screen.Target) ([]byte, error) {
	s, err := p.secret(ctx, t.Env, t.Path, t.Version)
	if err != nil {
		return nil, err
	}
	defer wipe(s.Values)
	f, ok := s.Field(t.Field)
	if !ok {
		return nil, &vault.Error{Kind: vault.KindNotFound, Env: t.Env, Path: t.Path, Field: t.Field}
	}
	return bytes.Clone(f.Value.Reveal()), nil
}

// Facts implements screen.Reading.
func (p *power) Facts(ctx context.Context, env vault.Env, path vault.Path, version uint64) ([]screen.Facts, error) {
	s, err := p.secret(ctx, env, path, version)
	if err != nil {
		return nil, err
	}
	defer wipe(s.Values)
	facts := make([]screen.Facts, len(s.Values))
	for i, f := range s.Values {
		facts[i] = p.facts(f.Name, f.Value.Reveal())
	}
	return facts, nil
}

// facts is what may be said of a value without showing it (R2, R23). The print
// of a short value would be a way to guess it, for whoever may not read it; who
// sees it here may.
func (p *power) facts(name vault.FieldName, b []byte) screen.Facts {
	p.veil.Learn(string(name))
	mac := hmac.New(sha256.New, p.key)
	mac.Write(b)
	f := screen.Facts{Name: name, Length: len(b), Lines: 1 + bytes.Count(bytes.TrimSuffix(b, []byte{'\n'}), []byte{'\n'})}
	f.Print = hex.EncodeToString(mac.Sum(nil)[:5])
	var odd []string
	switch {
	case len(b) == 0:
		odd = append(odd, "empty")
	case bytes.HasSuffix(b, []byte("\r\n")):
		odd = append(odd, "ends with CR and newline")
	case b[len(b)-1] == '\n':
		odd = append(odd, "ends with newline")
	case b[len(b)-1] == ' ' || b[len(b)-1] == '\t':
		odd = append(odd, "ends with a space")
	}
	if len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		odd = append(odd, "begins with a space")
	}
	if bytes.HasPrefix(b, []byte("\xef\xbb\xbf")) {
		odd = append(odd, "begins with a BOM")
	}
	switch {
	case !utf8.Valid(b):
		odd = append(odd, "not UTF-8 text")
	case bytes.IndexFunc(b, func(r rune) bool { return r != '\n' && r != '\r' && r != '\t' && !unicode.IsPrint(r) }) >= 0:
		odd = append(odd, "has characters that do not print")
	}
	f.Odd = strings.Join(odd, ", ")
	return f
}

// Injected implements screen.Reading.
func (p *power) Injected(ctx context.Context, env vault.Env, path vault.Path) ([]screen.Injection, error) {
	if p.where == nil {
		return nil, &vault.Error{Kind: vault.KindUnsupported, Env: env, Path: path, Detail: "what commands get is not known here"}
	}
	all, err := p.where(ctx, env, path)
	for _, i := range all {
		p.veil.Learn(string(i.Field), i.Var)
	}
	return all, err
}

// Verify implements screen.Reading.
func (p *power) Verify(ctx context.Context, env vault.Env) iter.Seq[vault.Finding] {
	return func(yield func(vault.Finding) bool) {
		v, err := p.open(ctx, env)
		if err != nil {
			yield(vault.Finding{Env: env, Err: err})
			return
		}
		c, ok := v.(vault.Verifier)
		if !ok {
			// Not nothing: that would look as if all were right.
			yield(vault.Finding{Env: env, Err: &vault.Error{Kind: vault.KindUnsupported, Env: env, Detail: "a server checks what it stores by itself, and shows none of it"}})
			return
		}
		for f := range c.Verify(ctx, env) {
			p.veil.Learn(string(f.Path))
			if !yield(f) {
				return
			}
		}
	}
}

// writing is the power to change one environment.
type writing struct {
	*power
	env vault.Env
}

// Apply implements screen.Writing.
func (w writing) Apply(ctx context.Context, changes []vault.Change) ([]vault.Info, error) {
	v, err := w.open(ctx, w.env)
	if err != nil {
		return nil, err
	}
	for _, c := range changes {
		w.veil.Learn(string(c.Path))
	}
	infos, err := v.Apply(ctx, w.env, changes)
	for _, info := range infos {
		w.seen(info)
	}
	return infos, err
}

func (w writing) one(ctx context.Context, c vault.Change) (vault.Info, error) {
	infos, err := w.Apply(ctx, []vault.Change{c})
	if err != nil {
		return vault.Info{}, err
	}
	return infos[0], nil
}

// Restore implements screen.Writing.
func (w writing) Restore(ctx context.Context, path vault.Path, version, was uint64) (vault.Info, error) {
	old, err := w.secret(ctx, w.env, path, version)
	if err != nil {
		return vault.Info{}, err
	}
	defer wipe(old.Values)
	return w.one(ctx, vault.Change{Path: path, Was: was, Set: old.Values, Replace: true, Note: &old.Note, Rotate: &old.Rotate, Tags: &old.Tags})
}

// CopyFrom implements screen.Writing.
func (w writing) CopyFrom(ctx context.Context, from vault.Env, path vault.Path, fields []vault.FieldName, was uint64) (vault.Info, error) {
	s, err := w.secret(ctx, from, path, 0)
	if err != nil {
		return vault.Info{}, err
	}
	defer wipe(s.Values)
	set := s.Values
	if len(fields) > 0 {
		set = nil
		for _, name := range fields {
			f, ok := s.Field(name)
			if !ok {
				return vault.Info{}, &vault.Error{Kind: vault.KindNotFound, Env: from, Path: path, Field: name}
			}
			set = append(set, f)
		}
	}
	return w.one(ctx, vault.Change{Path: path, Was: was, Set: set})
}

func (w writing) keeper(ctx context.Context) (vault.EnvKeeper, error) {
	v, err := w.open(ctx, w.env)
	if err != nil {
		return nil, err
	}
	k, ok := v.(vault.EnvKeeper)
	if !ok {
		return nil, &vault.Error{Kind: vault.KindUnsupported, Env: w.env, Detail: "environments of this vault are not made or removed here"}
	}
	return k, nil
}

// AddEnv implements screen.Writing.
func (w writing) AddEnv(ctx context.Context) error {
	k, err := w.keeper(ctx)
	if err != nil {
		return err
	}
	return k.AddEnv(ctx, w.env)
}

// RemoveEnv implements screen.Writing.
func (w writing) RemoveEnv(ctx context.Context) error {
	k, err := w.keeper(ctx)
	if err != nil {
		return err
	}
	return k.RemoveEnv(ctx, w.env)
}
