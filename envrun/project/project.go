package project

import (
	"strings"
	"time"

	"envrun/vault"
	"envrun/vault/near"
)

// Project is a project file with everything it extends and its local file laid
// over each other, checked. It is made by Find, Load and Parse, and not
// changed afterwards.
type Project struct {
	File    string   // the file that was found or named, absolute, symlinks resolved
	Dir     string   // its directory
	Sources []string // every file read, lowest layer first
	Local   bool     // whether the local file beside it was there

	Vault      string // see Env.Vault; empty if only environments name one
	VaultPos   Pos
	Name       vault.Path // "project": the path that bare names live under; may be empty
	NamePos    Pos
	Server     Server    // goes with Vault
	CI         CI        // how a pipeline signs in to it
	SignIn     SignIn    // how people do
	Default    vault.Env // may be empty
	DefaultPos Pos

	Envs        []Env    // in the order of the file
	Inject      []Inject // lowest precedence first
	Files       []File   // likewise; above every Inject
	Allow       []Name   // allow_names: variables that secrets may set although they steer programs (C4)
	InheritWins []Name   // inherit_wins: variables that keep the caller's value, if it has one (C1)
	Require     []Name   // variables that no run may be without (C6)
	Mask        []MaskRule
}

// A Name is a variable's name, or a glob over fields' names, with its place.
type Name struct {
	Name string
	Pos  Pos
}

// A MaskRule says whether the value of one variable is masked in output,
// whatever its form. A later rule wins.
type MaskRule struct {
	Name string
	Mask bool
	Pos  Pos
}

// MaskMode says which streams of a command are masked (runner T2, T3).
type MaskMode string

const (
	MaskAuto   MaskMode = "auto" // what is not a terminal, in CI, under an agent and in a protected environment
	MaskAlways MaskMode = "always"
	MaskNever  MaskMode = "never"
)

// Env is one environment of a project.
type Env struct {
	Name vault.Env
	// Vault is the absolute path of a file vault, or the https:// address of a
	// server (http:// for this machine alone), without a slash at its end: the
	// environment's own, else the project's. Never empty.
	Vault     string
	VaultPos  Pos
	Server    Server   // of a vault on a server: what is said where Vault is said
	Mount     string   // the mount of the environment on its server; empty: its name
	CI        CI       // the project's, with what the environment says over it
	SignIn    SignIn   // likewise
	Cache     Cache    // how long what was read from the server may be used without it
	Protected bool     // asks before it runs or writes; masked; marked
	Mask      MaskMode // MaskAuto if not said
	Require   []Name   // in addition to Project.Require
	Pos       Pos
}

// Server says how the server of a vault is known.
type Server struct {
	CA        string   // absolute path of certificates in PEM that its own must lead to; empty: the system's
	Pins      []string // "sha256/…" of public keys, one of which must be its own
	Namespace string   // empty: none
	Pos       Pos      // of the first of these keys; the zero Pos if none is written
}

// CI says how a pipeline signs in to a server with the identity that its platform
// gives it. Without a role it does not.
type CI struct {
	Role     string // of the server
	Mount    string // the way to sign in, below auth/; empty: "jwt"
	Audience string // that the identity token is asked for with; empty: the address of the server
	Pos      Pos    // of the first of these keys; the zero Pos if none is written
}

// SignIn says how people sign in to a server. What is written goes before what the
// server says by itself: where the two differ, nobody signs in.
type SignIn struct {
	Mount    string // the way to sign in, below auth/; empty: the one that the server names
	Role     string // of the server; empty: the way's default
	Issuer   string // where people have their account, byte for byte; empty: what the server says
	ClientID string // of envrun there
	Scopes   []string
	Hosts    []string // that the issuer has endpoints on beside its own
	Flow     string   // "browser", "device" or "paste"; empty: what suits the session
	CA       string   // absolute path of certificates in PEM that the issuer's leads to; empty: the system's
	Pos      Pos      // of the first of these keys; the zero Pos if none is written
}

// Cache is what a project says of keeping what was read from a server.
type Cache struct {
	For time.Duration // 0: off
	Pos Pos           // the zero Pos if nothing is said
}

// MaxCache is the longest that a project can ask for.
const MaxCache = 30 * 24 * time.Hour

// CacheFor is how long what was read of the environment may be used while its
// server cannot be reached, 0 for not at all; server is what that says, nil for
// nothing. Either can forbid it, and the shorter counts. Where neither says
// anything, it is a day for an environment that is called local or dev, or whose
// name begins so ("dev-eu"), and is not protected; none for all others.
func (e Env) CacheFor(server *time.Duration) time.Duration {
	said := e.Cache.Pos.File != ""
	switch {
	case said && server != nil:
		return min(e.Cache.For, *server)
	case said:
		return e.Cache.For
	case server != nil:
		return *server
	}
	first, _, _ := strings.Cut(string(e.Name), "-")
	if !e.Protected && (first == "dev" || first == "development" || first == "local") {
		return 24 * time.Hour
	}
	return 0
}

// Remote reports whether the vault is on a server.
func (e Env) Remote() bool { return remote(e.Vault) }

func remote(location string) bool { return strings.Contains(location, "://") }

// MountName is the mount of the environment on its server.
func (e Env) MountName() string {
	if e.Mount != "" {
		return e.Mount
	}
	return string(e.Name)
}

// Inject is one [[inject]] rule: fields of one secret as variables.
type Inject struct {
	Path     vault.Path
	Only     []Name   // globs over fields' names; empty: all. A name without * ? [ must be there
	Except   []Name   // globs over fields' names
	Rename   []Rename // a field named here must be there
	Prefix   string   // put before every name that is not renamed
	Upper    bool     // transform = "upper": letters to capitals, "." and "-" to "_", in names not renamed
	Optional bool     // neither the secret nor the fields it names must be there
	Envs     []Name   // the environments it is for; empty: all
	Mask     *bool    // nil: as the value's form says
	Default  bool     // no rule in the file: every field of the project
	Pos      Pos      // of the rule's header, or of "project" for a Default one
}

// Rename gives a field another name as a variable.
type Rename struct {
	Field vault.FieldName
	To    string
	Pos   Pos
}

// File is one [[file]] rule: a field delivered as a file, whose path a variable holds.
type File struct {
	Path     vault.Path
	Field    vault.FieldName
	Var      string
	Optional bool
	Envs     []Name
	Mask     *bool
	Pos      Pos
}

// For reports whether the rule is for this environment.
func (r Inject) For(env vault.Env) bool { return forEnv(r.Envs, env) }

// For reports whether the rule is for this environment.
func (r File) For(env vault.Env) bool { return forEnv(r.Envs, env) }

func forEnv(envs []Name, env vault.Env) bool {
	for _, e := range envs {
		if e.Name == string(env) {
			return true
		}
	}
	return len(envs) == 0
}

// Env returns the named environment.
func (p *Project) Env(name vault.Env) (Env, bool) {
	for _, e := range p.Envs {
		if e.Name == name {
			return e, true
		}
	}
	return Env{}, false
}

// EnvNames are the environments' names in the order of the file.
func (p *Project) EnvNames() []vault.Env {
	names := make([]vault.Env, len(p.Envs))
	for i, e := range p.Envs {
		names[i] = e.Name
	}
	return names
}

// Select chooses the environment (K3): what the flag says, else what the
// variable ENVRUN_ENV says, else the default. An empty string says nothing.
// A name the project does not have is an *EnvError, and so is no name at all;
// nothing else is tried then.
func (p *Project) Select(flag, variable string) (Env, error) {
	name, from := flag, FromFlag
	if name == "" {
		name, from = variable, FromVariable
	}
	if name == "" {
		name, from = string(p.Default), FromDefault
	}
	if name == "" {
		return Env{}, &EnvError{Known: p.EnvNames(), File: p.File}
	}
	if e, ok := p.Env(vault.Env(name)); ok {
		return e, nil
	}
	known := p.EnvNames()
	return Env{}, &EnvError{Name: name, From: from, Nearest: string(near.Nearest(name, known)), Known: known, File: p.File}
}
