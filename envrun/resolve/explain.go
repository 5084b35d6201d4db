package resolve

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"

	"envrun/vault"
)

// Explanation is a plan as facts to show, for `envrun explain` (runner O5). It
// is plain data that cannot hold a value: a value appears as its length and a
// keyed fingerprint. Lists are never null in JSON.
type Explanation struct {
	Project string `json:"project"` // its path; may be empty
	File    string `json:"file"`    // the project file
	Env     string `json:"env"`
	Vault   string `json:"vault"`

	Variables []Explained        `json:"variables"` // files among them, sorted by name
	Kept      []ExplainedKept    `json:"kept"`      // inherited values that stay
	Stripped  []string           `json:"stripped"`  // inherited credentials of envrun's own, which the command does not get
	Absent    []ExplainedMissing `json:"absent"`    // optional and not there
	Missing   []ExplainedMissing `json:"missing"`   // stop the run, as do the next two
	Refused   []ExplainedRefused `json:"refused"`
	Invalid   []ExplainedInvalid `json:"invalid"`

	Outer   string   `json:"outer,omitempty"` // the environment of the run that this one is inside of
	Dropped []string `json:"dropped"`         // what that one gave and this command does not get

	Bytes int  `json:"bytes"` // of all variables, as the system counts them: name, "=", value, NUL
	Runs  bool `json:"runs"`  // whether nothing stops it
}

// Explained is one variable.
type Explained struct {
	Name string `json:"name"`
	As   string `json:"as"` // "variable", or "file": the variable holds its path
	ExplainedSource
	Length      int               `json:"length"`      // of the value, in bytes
	Fingerprint string            `json:"fingerprint"` // of the value: 12 hex digits, alike for equal values under one key
	Mask        *bool             `json:"mask,omitempty"`
	Required    bool              `json:"required"`
	Losers      []ExplainedSource `json:"losers"` // the highest first
}

// ExplainedSource is where a value comes from.
type ExplainedSource struct {
	From    From   `json:"from"`
	Env     string `json:"env,omitempty"`
	Path    string `json:"path,omitempty"`
	Field   string `json:"field,omitempty"`
	Version uint64 `json:"version,omitempty"`
	At      string `json:"at,omitempty"`   // file:line
	Same    bool   `json:"same,omitempty"` // of a loser: the same value as the winner's
}

// ExplainedKept is a variable that keeps the inherited value.
type ExplainedKept struct {
	Name   string            `json:"name"`
	Why    string            `json:"why"` // file:line of inherit_wins, or "--keep-env"
	Losers []ExplainedSource `json:"losers"`
}

// ExplainedMissing is Missing as data.
type ExplainedMissing struct {
	What      MissingWhat `json:"what"`
	Path      string      `json:"path,omitempty"`
	Field     string      `json:"field,omitempty"`
	Name      string      `json:"name,omitempty"`
	At        string      `json:"at,omitempty"`
	Near      []string    `json:"near,omitempty"`
	Paths     []string    `json:"paths,omitempty"`
	Elsewhere []string    `json:"elsewhere,omitempty"`
}

// ExplainedRefused is Refused as data.
type ExplainedRefused struct {
	Name      string `json:"name"`
	Reason    string `json:"reason"`
	Allowable bool   `json:"allowable"`
	ExplainedSource
}

// ExplainedInvalid is Invalid as data.
type ExplainedInvalid struct {
	Name    string `json:"name"`
	NUL     bool   `json:"nul"`
	Suggest string `json:"suggest,omitempty"`
	ExplainedSource
}

// Explain makes the facts of a plan, one that cannot be applied too. Under one
// key equal values have equal fingerprints, so that somebody who holds the key
// can compare runs; without a key a fresh random one is used, and fingerprints
// can be compared within this explanation only. A fingerprint without the key
// does not let anybody try values.
func (p *Plan) Explain(key []byte) *Explanation {
	if len(key) == 0 {
		key = make([]byte, 32)
		_, _ = rand.Read(key) // never fails: it ends the program instead
	}
	x := &Explanation{
		Project: string(p.Project.Name), File: p.Project.File, Env: string(p.Env.Name), Vault: p.Env.Vault,
		Variables: make([]Explained, 0, len(p.Variables)+len(p.Files)),
		Kept:      []ExplainedKept{}, Stripped: p.stripped(),
		Absent: explainMissing(p.Absent), Missing: explainMissing(p.Missing),
		Refused: []ExplainedRefused{}, Invalid: []ExplainedInvalid{},
		Outer: string(p.Outer), Dropped: append([]string{}, p.Dropped...),
		Runs: p.Check() == nil,
	}
	variables, files := p.Variables, p.Files
	for len(variables)+len(files) > 0 {
		if len(files) == 0 || len(variables) > 0 && variables[0].Name < files[0].Var {
			v := variables[0]
			variables = variables[1:]
			x.Variables = append(x.Variables, Explained{
				Name: v.Name, As: "variable",
				ExplainedSource: explainSource(Source{From: v.From, Env: v.Env, Path: v.Path, Field: v.Field, Version: v.Version, Pos: v.Pos}),
				Length:          v.Value.Len(), Fingerprint: Fingerprint(key, v.Value),
				Mask: v.Mask, Required: v.Required, Losers: explainSources(v.Losers),
			})
			x.Bytes += len(v.Name) + v.Value.Len() + 2
			continue
		}
		f := files[0]
		files = files[1:]
		x.Variables = append(x.Variables, Explained{
			Name: f.Var, As: "file",
			ExplainedSource: explainSource(Source{From: FromVault, Env: f.Env, Path: f.Path, Field: f.Field, Version: f.Version, Pos: f.Pos}),
			Length:          f.Value.Len(), Fingerprint: Fingerprint(key, f.Value),
			Mask: f.Mask, Required: f.Required, Losers: explainSources(f.Losers),
		})
	}
	for _, k := range p.Kept {
		why := k.Why.String()
		if why == "" {
			why = "--keep-env"
		}
		x.Kept = append(x.Kept, ExplainedKept{k.Name, why, explainSources(k.Losers)})
	}
	for _, r := range p.Refused {
		x.Refused = append(x.Refused, ExplainedRefused{r.Name, r.Reason, r.Allowable, explainSource(r.Source)})
	}
	for _, i := range p.Invalid {
		x.Invalid = append(x.Invalid, ExplainedInvalid{i.Name, i.NUL, i.Suggest, explainSource(i.Source)})
	}
	return x
}

// stripped are the inherited variables that the command does not get (C8).
func (p *Plan) stripped() []string {
	if names := p.parent.Clone().DropOwn(); names != nil {
		return names
	}
	return []string{}
}

// Fingerprint is the first 48 bits of HMAC-SHA-256 over a value, in hex.
func Fingerprint(key []byte, v vault.Value) string {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write([]byte("envrun explain 1\x00"))
	_, _ = h.Write(v.Reveal())
	return hex.EncodeToString(h.Sum(nil)[:6])
}

func explainSource(s Source) ExplainedSource {
	return ExplainedSource{
		From: s.From, Env: string(s.Env), Path: string(s.Path), Field: string(s.Field),
		Version: s.Version, At: s.Pos.String(), Same: s.Same,
	}
}

func explainSources(in []Source) []ExplainedSource {
	out := make([]ExplainedSource, len(in))
	for i, s := range in {
		out[i] = explainSource(s)
	}
	return out
}

func explainMissing(in []Missing) []ExplainedMissing {
	out := make([]ExplainedMissing, len(in))
	for i, m := range in {
		out[i] = ExplainedMissing{
			What: m.What, Path: string(m.Path), Field: string(m.Field), Name: m.Name, At: m.Pos.String(),
			Near: m.Near, Paths: texts(m.At), Elsewhere: texts(m.Elsewhere),
		}
	}
	return out
}
