package project

import (
	"envrun/vault"
	"envrun/vault/near"
)

// merge lays files over each other, lowest first, and checks what only the
// whole can say. local is the local file's layer, nil if there is none: also
// the last of layers.
func merge(layers []*layer, local *layer) (*Project, error) {
	p := &Project{Local: local != nil}
	for _, l := range layers {
		p.Sources = append(p.Sources, l.file)
		if l.vaultPos.File != "" {
			// How a server is known goes with the server.
			p.Vault, p.VaultPos, p.Server = l.vault, l.vaultPos, Server{}
		}
		p.Server = over(p.Server, l.server)
		p.CI = ciOver(p.CI, l.ci)
		p.SignIn = signInOver(p.SignIn, l.signIn)
		if l.defltPos.File != "" {
			p.Default, p.DefaultPos = l.deflt, l.defltPos
		}
		if l.namePos.File != "" {
			p.Name, p.NamePos = l.name, l.namePos
			// Whoever names a project also says how it is injected.
			p.Inject = withoutDefault(p.Inject)
			if len(l.inject) == 0 {
				p.Inject = append(p.Inject, Inject{Path: l.name, Default: true, Pos: l.namePos})
			}
		}
		for _, e := range l.envs {
			if l == local && e.protectedPos.File != "" && !e.protected {
				if before, ok := p.Env(e.name); ok && before.Protected {
					return nil, &Error{Kind: vault.KindInvalid, Pos: e.protectedPos, Key: "env." + string(e.name) + ".protected",
						Detail: "a local file cannot lift the protection of " + string(e.name) + ", set in " + before.Pos.String()}
				}
			}
			if l == local && e.cache.Pos.File != "" {
				if before, ok := p.Env(e.name); ok && before.Cache.Pos.File != "" && e.cache.For > before.Cache.For {
					return nil, &Error{Kind: vault.KindInvalid, Pos: e.cache.Pos, Key: "env." + string(e.name) + ".cache",
						Detail: "a local file cannot keep what was read of " + string(e.name) + " for longer than " + before.Cache.Pos.String() + " allows"}
				}
			}
			p.addEnv(e)
		}
		p.Inject = append(p.Inject, l.inject...)
		p.Files = append(p.Files, l.files...)
		p.Allow = join(p.Allow, l.allow)
		p.InheritWins = join(p.InheritWins, l.inherit)
		p.Require = join(p.Require, l.require)
		p.Mask = append(p.Mask, l.mask...)
	}
	for i := range p.Inject {
		// A project whose own rules deliver something need not have a secret of its own.
		if p.Inject[i].Default {
			p.Inject[i].Optional = len(p.Files) > 0 || len(p.Inject) > 1
		}
	}
	for i := range p.Envs {
		if p.Envs[i].Vault == "" {
			p.Envs[i].Vault, p.Envs[i].VaultPos = p.Vault, p.VaultPos
			p.Envs[i].Server = over(p.Server, p.Envs[i].Server)
		}
		p.Envs[i].CI = ciOver(p.CI, p.Envs[i].CI)
		p.Envs[i].SignIn = signInOver(p.SignIn, p.Envs[i].SignIn)
		if p.Envs[i].Mask == "" {
			p.Envs[i].Mask = MaskAuto
		}
	}
	return p, nil
}

// over lays what one file says of a server over what another said.
func over(s, by Server) Server {
	if by.CA != "" {
		s.CA = by.CA
	}
	if len(by.Pins) > 0 {
		s.Pins = by.Pins
	}
	if by.Namespace != "" {
		s.Namespace = by.Namespace
	}
	if by.Pos.File != "" {
		s.Pos = by.Pos
	}
	return s
}

// ciOver lays what one file or environment says of a pipeline over what another said.
func ciOver(c, by CI) CI {
	if by.Role != "" {
		c.Role = by.Role
	}
	if by.Mount != "" {
		c.Mount = by.Mount
	}
	if by.Audience != "" {
		c.Audience = by.Audience
	}
	if by.Pos.File != "" {
		c.Pos = by.Pos
	}
	return c
}

// signInOver does so with what is said of how people sign in.
func signInOver(s, by SignIn) SignIn {
	for _, f := range [...]struct {
		to   *string
		from string
	}{{&s.Mount, by.Mount}, {&s.Role, by.Role}, {&s.Issuer, by.Issuer}, {&s.ClientID, by.ClientID}, {&s.Flow, by.Flow}, {&s.CA, by.CA}} {
		if f.from != "" {
			*f.to = f.from
		}
	}
	if len(by.Hosts) > 0 {
		s.Hosts = by.Hosts
	}
	if len(by.Scopes) > 0 {
		s.Scopes = by.Scopes
	}
	if by.Pos.File != "" {
		s.Pos = by.Pos
	}
	return s
}

func withoutDefault(rules []Inject) []Inject {
	kept := rules[:0:0]
	for _, r := range rules {
		if !r.Default {
			kept = append(kept, r)
		}
	}
	return kept
}

func (p *Project) addEnv(l envLayer) {
	var e *Env
	for i := range p.Envs {
		if p.Envs[i].Name == l.name {
			e = &p.Envs[i]
		}
	}
	if e == nil {
		p.Envs = append(p.Envs, Env{Name: l.name})
		e = &p.Envs[len(p.Envs)-1]
	}
	e.Pos = l.pos
	if l.vaultPos.File != "" {
		e.Vault, e.VaultPos, e.Server = l.vault, l.vaultPos, Server{}
	}
	e.Server = over(e.Server, l.server)
	if l.mount != "" {
		e.Mount = l.mount
	}
	e.CI = ciOver(e.CI, l.ci)
	e.SignIn = signInOver(e.SignIn, l.signIn)
	if l.cache.Pos.File != "" {
		e.Cache = l.cache
	}
	if l.protectedPos.File != "" {
		e.Protected = l.protected
	}
	if l.maskPos.File != "" {
		e.Mask = l.mask
	}
	e.Require = join(e.Require, l.require)
}

// join adds the names of b that a does not have.
func join(a, b []Name) []Name {
	had := len(a)
next:
	for _, n := range b {
		for _, m := range a[:had] {
			if m.Name == n.Name {
				continue next
			}
		}
		a = append(a, n)
	}
	return a
}

// check refuses what names something that is not there.
func (p *Project) check() error {
	known := p.EnvNames()
	if p.Default != "" {
		if _, ok := p.Env(p.Default); !ok {
			return p.noEnv(Name{string(p.Default), p.DefaultPos}, "default", known)
		}
	}
	for _, r := range p.Inject {
		for _, e := range r.Envs {
			if _, ok := p.Env(vault.Env(e.Name)); !ok {
				return p.noEnv(e, "inject.env", known)
			}
		}
	}
	for _, r := range p.Files {
		for _, e := range r.Envs {
			if _, ok := p.Env(vault.Env(e.Name)); !ok {
				return p.noEnv(e, "file.env", known)
			}
		}
	}
	for _, e := range p.Envs {
		if e.Vault == "" {
			return &Error{Kind: vault.KindInvalid, Pos: e.Pos, Key: "vault",
				Detail: "there is no vault for " + string(e.Name) + `: write vault = ".envrun/vault" at the top of the file`}
		}
	}
	if p.Server.Pos.File != "" && !remote(p.Vault) {
		return &Error{Kind: vault.KindInvalid, Pos: p.Server.Pos, Key: "vault", Detail: "ca, pin and namespace are about a server, and vault names none beside them"}
	}
	mounts := map[[3]string]vault.Env{}
	for _, e := range p.Envs {
		if (e.Server.Pos.File != "" || e.Mount != "" || e.Cache.Pos.File != "") && !e.Remote() {
			return &Error{Kind: vault.KindInvalid, Pos: e.Pos, Key: "env." + string(e.Name), Detail: "ca, pin, namespace, mount and cache are about a server, and the vault of " + string(e.Name) + " is a folder"}
		}
		if !e.Remote() {
			continue
		}
		at := [3]string{e.Vault, e.Server.Namespace, e.MountName()}
		if other, ok := mounts[at]; ok {
			return &Error{Kind: vault.KindInvalid, Pos: e.Pos, Key: "env." + string(e.Name), Detail: string(e.Name) + " and " + string(other) + " are both the mount " + e.MountName() + " of " + e.Vault}
		}
		mounts[at] = e.Name
	}
	if p.Vault == "" && len(p.Envs) == 0 {
		return &Error{Kind: vault.KindInvalid, Pos: Pos{File: p.File}, Key: "vault", Detail: `names no vault: write vault = ".envrun/vault" at the top of the file`}
	}
	return nil
}

func (p *Project) noEnv(n Name, key string, known []vault.Env) error {
	return &Error{Kind: vault.KindInvalid, Pos: n.Pos, Key: key, Nearest: string(near.Nearest(n.Name, known)),
		Detail: key + " is " + quote(n.Name) + ", and there is no [env." + n.Name + "]"}
}
