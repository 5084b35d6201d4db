package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"envrun/vault/wire"
)

// tools is sys/tools: random bytes and hashes, for scripts that have nothing better.
// What is hashed is no more recorded than the value of a secret.
type tools struct{}

func (t tools) area() area {
	return area{
		{path: "tools/random", update: t.random, looks: true},
		{path: "tools/random/{first}", update: t.random, looks: true},
		{path: "tools/random/{source}/{bytes}", update: t.random, looks: true},
		{path: "tools/hash", update: t.hash, looks: true},
		{path: "tools/hash/{algorithm}", update: t.hash, looks: true},
	}
}

type toolsBody struct {
	Bytes     *wire.Int `json:"bytes"`
	Format    string    `json:"format"`
	Source    string    `json:"source"`
	Input     string    `json:"input"`
	Algorithm string    `json:"algorithm"`
}

// encoded is bytes in the format that was asked for, or in the one that is usual.
func encoded(b []byte, format, usual string) (string, error) {
	if format == "" {
		format = usual
	}
	switch format {
	case "base64":
		return base64.StdEncoding.EncodeToString(b), nil
	case "hex":
		return hex.EncodeToString(b), nil
	}
	return "", bad("unsupported encoding format: must be \"hex\" or \"base64\"")
}

// maxRandom is how many random bytes are given at a time, as Vault has it.
const maxRandom = 128 << 10

// random gives random bytes: 32 if none say how many. A number may stand in the
// path, alone or behind a source, of which there is one.
func (t tools) random(c *call, at []string) (*answer, error) {
	in, warnings, err := body[toolsBody](c)
	if err != nil {
		return nil, err
	}
	n := 32
	if in.Bytes != nil {
		n = int(*in.Bytes)
	}
	if len(at) > 0 {
		last := at[len(at)-1]
		if k, err := strconv.Atoi(last); err == nil {
			n = k
		} else if len(at) == 2 {
			return nil, bad("error parsing url-set byte count: it is no number")
		} else {
			in.Source = last
		}
		if len(at) == 2 {
			in.Source = at[0]
		}
	}
	switch in.Source {
	case "", "platform", "all":
	default:
		return nil, bad("unsupported entropy source: there is \"platform\"")
	}
	if n < 1 || n > maxRandom {
		return nil, bad("\"bytes\" must be from 1 to %d", maxRandom)
	}
	b := make([]byte, n)
	rand.Read(b)
	text, err := encoded(b, in.Format, "base64")
	if err != nil {
		return nil, err
	}
	return warn(answered(map[string]string{"random_bytes": text}), warnings...), nil
}

func (t tools) hash(c *call, at []string) (*answer, error) {
	in, warnings, err := body[toolsBody](c)
	if err != nil {
		return nil, err
	}
	if len(at) > 0 {
		in.Algorithm = at[0]
	}
	var h hash.Hash
	switch in.Algorithm {
	case "", "sha2-256":
		h = sha256.New()
	case "sha2-224":
		h = sha256.New224()
	case "sha2-384":
		h = sha512.New384()
	case "sha2-512":
		h = sha512.New()
	case "sha3-224":
		h = sha3.New224()
	case "sha3-256":
		h = sha3.New256()
	case "sha3-384":
		h = sha3.New384()
	case "sha3-512":
		h = sha3.New512()
	default:
		return nil, bad("unsupported algorithm: there are sha2-224, -256, -384, -512 and sha3-224, -256, -384, -512")
	}
	input, err := base64.StdEncoding.DecodeString(in.Input)
	if err != nil {
		return nil, bad("unable to decode input as base64")
	}
	h.Write(input)
	text, err := encoded(h.Sum(nil), in.Format, "hex")
	if err != nil {
		return nil, err
	}
	return warn(answered(map[string]string{"sum": text}), warnings...), nil
}

// probes is what interfaces and scripts ask of a server besides, to find their way.
type probes struct {
	s     *Server
	auths []string // ways to sign in, besides tokens
}

func (a probes) area() area {
	return area{
		{path: "ha-status", read: a.nodes},
		{path: "internal/ui/namespaces", read: a.namespaces, private: true},
		{path: "plugins/catalog", read: a.plugins, list: a.plugins},
		{path: "plugins/catalog/{type}", read: a.pluginsOf, list: a.pluginsOf},
		{path: "leases/tidy", update: a.tidy},
	}
}

// nodes answers that there is one node: replicas do not know each other.
func (a probes) nodes(*call, []string) (*answer, error) {
	host := ""
	if u, err := url.Parse(a.s.Address); err == nil {
		host = u.Hostname()
	}
	return flat(map[string]any{"nodes": []map[string]any{{
		"hostname": host, "api_address": a.s.Address, "cluster_address": "", "active_node": true, "last_echo": nil, "version": a.s.Version,
	}}}), nil
}

// namespaces answers that there are none besides the root.
func (a probes) namespaces(*call, []string) (*answer, error) { return answered(struct{}{}), nil }

// builtin is all engines that can be mounted, and all ways to sign in, by type.
func (a probes) builtin() map[string][]string {
	return map[string][]string{"auth": append(slices.Clone(a.auths), "token"), "database": {}, "secret": {"kv"}}
}

func (a probes) plugins(*call, []string) (*answer, error) {
	out, builtin := map[string]any{}, a.builtin()
	detailed := []map[string]any{}
	for _, kind := range []string{"auth", "database", "secret"} {
		out[kind] = builtin[kind]
		for _, name := range builtin[kind] {
			detailed = append(detailed, map[string]any{"name": name, "type": kind, "version": runningVersion, "builtin": true, "deprecation_status": "supported"})
		}
	}
	out["detailed"] = detailed
	return answered(out), nil
}

func (a probes) pluginsOf(_ *call, at []string) (*answer, error) {
	names, ok := a.builtin()[at[0]]
	if !ok {
		return nil, bad("there are plugins of the types auth, database and secret")
	}
	return keys(names)
}

// tidied is the warning that clients show.
const tidied = "Tidy operation successfully started. Any information from the operation will be printed to Vault's server logs."

// tidy ends what has expired, as happens every few seconds anyway.
func (a probes) tidy(*call, []string) (*answer, error) {
	out := done(tidied)
	out.Status = http.StatusAccepted
	out.After = func() {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), a.s.Timeout)
			defer cancel()
			if err := a.s.Sweep(ctx); err != nil {
				a.s.Logger.Error("tidying", "error", err)
			}
		}()
	}
	return out, nil
}
