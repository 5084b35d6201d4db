//go:build unix

package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
)

// A peer is a program of others that does the main job too.
type peer struct {
	name    string
	faster  float64                        // how many times faster envrun must be
	prepare func(*bench) (*variant, error) // nil if it is not here
}

func (b *bench) others() []peer {
	return []peer{{"sops exec-env", 4, (*bench).sopsRun}, {"dotenvx run", 60, (*bench).dotenvxRun}}
}

// peers is the main job as others do it: 30 values, each in the quickest way
// that the program has.
func (b *bench) peers() ([]line, error) {
	dir, err := b.project(thirty)
	if err != nil {
		return nil, err
	}
	var lines []line
	for _, p := range b.others() {
		what := "as " + p.name + ", 30 values"
		v, err := p.prepare(b)
		if err != nil {
			return lines, fmt.Errorf("%s: %w", p.name, err)
		}
		if v == nil {
			lines = append(lines, line{what: what, mine: "left out: it is not here", promise: promise{"≥", p.faster}.String()})
			continue
		}
		s, err := b.interleave(2*b.rounds, b.runTrue(dir), *v)
		if err != nil {
			return lines, err
		}
		lines = append(lines, compare(what, s[0], s[1], p.name, promise{"≥", p.faster}))
	}
	return lines, nil
}

// sopsRun is sops with an X25519 identity, which is its usual one. Its process
// becomes the shell that runs the command, and that becomes true.
func (b *bench) sopsRun() (*variant, error) {
	if b.sops == "" {
		return nil, nil
	}
	dir := filepath.Join(b.dir, "sops")
	keys, file := filepath.Join(dir, "keys.txt"), filepath.Join(dir, "secrets.env")
	v := &variant{
		argv: []string{b.sops, "exec-env", "--same-process", file, b.truePath},
		dir:  dir, env: []string{"SOPS_AGE_KEY_FILE=" + keys},
	}
	if _, err := os.Stat(file); err == nil {
		return v, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	recipient, err := b.output(dir, nil, b.fill, "-age", keys)
	if err != nil {
		return nil, err
	}
	plain := filepath.Join(dir, "plain.env")
	if err := os.WriteFile(plain, dotenv(30), 0o600); err != nil {
		return nil, err
	}
	sealed, err := b.output(dir, nil, b.sops, "encrypt", "--age", string(bytes.TrimSpace(recipient)), plain)
	if err != nil {
		return nil, err
	}
	return v, os.WriteFile(file, sealed, 0o600)
}

// dotenvxRun is dotenvx with everything off that it could ask for keys beside
// its file, so that it decrypts and runs, and no more.
func (b *bench) dotenvxRun() (*variant, error) {
	if b.dotenvx == "" {
		return nil, nil
	}
	dir := filepath.Join(b.dir, "dotenvx")
	file := filepath.Join(dir, ".env")
	off := []string{"--no-armor", "--no-native", "--no-1password", "--no-bitwarden"}
	v := &variant{argv: append(append([]string{b.node, b.dotenvx, "run", "-q"}, off...), "--", "true"), dir: dir}
	if _, err := os.Stat(file); err == nil {
		return v, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, dotenv(30), 0o600); err != nil {
		return nil, err
	}
	if _, err := b.output(dir, nil, append([]string{b.node, b.dotenvx, "encrypt", "-q"}, off...)...); err != nil {
		return nil, err
	}
	if sealed, err := os.ReadFile(file); err != nil || bytes.Count(sealed, []byte("=encrypted:")) != 30 {
		return nil, fmt.Errorf("%s has not encrypted its file (%v)", b.dotenvx, err)
	}
	return v, nil
}

// dotenv is a file of n values of 40 characters.
func dotenv(n int) []byte {
	var out bytes.Buffer
	for i := range n {
		var r [20]byte
		rand.Read(r[:])
		fmt.Fprintf(&out, "SECRET_%02d=%s\n", i+1, hex.EncodeToString(r[:]))
	}
	return out.Bytes()
}
