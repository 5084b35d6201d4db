package cache

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"

	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/record"
	"envrun/vault/seal"
)

const (
	magic    = "envrun-cache v1\n"
	bodyMark = "\nbody "
	maxFile  = 64 << 20

	// NoCache is the tag of secrets that are never kept.
	NoCache = "no-cache"

	keeper = "server" // stands in records where the one who wrote would
	gen    = 1        // a file has one key
)

// answer is what a server said, in the order of its paths.
type answer struct {
	secrets []vault.Secret
	absent  []vault.Path
}

// kept is what a cache held.
type kept struct {
	Facts
	secrets  map[vault.Path]vault.Secret
	absent   []vault.Path
	withheld map[vault.Path]string
}

// body is what is encrypted.
type body struct {
	Records  []string              `json:"records"`
	Absent   []vault.Path          `json:"absent,omitempty"`
	Withheld map[vault.Path]string `json:"withheld,omitempty"` // why
}

// withheld says why a secret is never kept; empty if it is.
func withheld(s vault.Secret) string {
	switch {
	case s.Leased:
		return "it ends with a lease"
	case slices.Contains(s.Tags, NoCache):
		return "it has the tag " + NoCache
	}
	return ""
}

// encode makes the file of a cache.
func encode(ctx context.Context, f Facts, name string, to seal.Sealer, a answer) ([]byte, error) {
	key, err := seal.NewKey()
	if err != nil {
		return nil, err
	}
	b := body{Absent: a.absent, Withheld: map[vault.Path]string{}}
	for _, s := range a.secrets {
		why := withheld(s)
		var raw []byte
		if why == "" {
			raw, err = encodeRecord(key, name, s)
			if err != nil {
				why = "a record cannot hold it" // more fields, or longer, than a vault in files has
			}
		}
		if why != "" {
			b.Withheld[s.Path] = why
			continue
		}
		b.Records = append(b.Records, string(raw))
	}
	plain, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	head, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	header := slices.Concat([]byte(magic), head, []byte("\n"))
	sealed, err := key.SealCache(header, plain)
	if err != nil {
		return nil, err
	}
	blob, err := to.Seal(ctx, key, keyContext(f, name))
	if err != nil {
		return nil, err
	}
	text := append(header, bytes.TrimSuffix(blob, []byte("\n"))...)
	text = append(text, bodyMark...)
	return append(base64.StdEncoding.AppendEncode(text, sealed), '\n'), nil
}

func keyContext(f Facts, name string) []byte {
	return seal.KeyContext(vaultID(name), f.Env, gen, f.Subject)
}

// vaultID is the vault that the records of a cache are of.
func vaultID(name string) string { return "v_" + name }

func encodeRecord(key seal.Key, name string, s vault.Secret) ([]byte, error) {
	r := &record.Record{
		Vault: vaultID(name), Env: s.Env, Path: s.Path, Version: s.Version, PrevVersion: s.Version - 1,
		By: keeper, At: s.At, Rotate: s.Rotate, Tags: s.Tags, Note: s.Note, Gen: gen,
	}
	return engine.EncodeRecord(engine.EnvKey{Gen: gen, Key: key}, r, s.Values)
}

// split finds the parts of a file.
func split(raw []byte) (f Facts, header, blob, sealed []byte, err error) {
	bad := &vault.Error{Kind: vault.KindMalformed, Detail: "a cache has not the form of one"}
	rest, ok := bytes.CutPrefix(raw, []byte(magic))
	n := bytes.IndexByte(rest, '\n')
	if !ok || n < 0 || json.Unmarshal(rest[:n], &f) != nil {
		return f, nil, nil, nil, bad
	}
	header = raw[:len(magic)+n+1]
	blob, text, ok := bytes.Cut(rest[n+1:], []byte(bodyMark))
	if ok {
		sealed, err = base64.StdEncoding.AppendDecode(nil, bytes.TrimSuffix(text, []byte("\n")))
	}
	if !ok || err != nil {
		return f, nil, nil, nil, bad
	}
	return f, header, append(bytes.Clone(blob), '\n'), sealed, nil
}

// decode opens the file of a cache: all of it, or nothing.
func decode(ctx context.Context, raw []byte, name string, from func(ctx context.Context, key string) (seal.Sealer, error)) (*kept, error) {
	f, header, blob, sealed, err := split(raw)
	if err != nil {
		return nil, err
	}
	opener, err := from(ctx, f.Key)
	if err != nil {
		return nil, err
	}
	key, err := opener.Open(ctx, blob, keyContext(f, name))
	if err != nil {
		return nil, err
	}
	plain, err := key.OpenCache(header, sealed)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	var b body
	if err := json.Unmarshal(plain, &b); err != nil {
		return nil, &vault.Error{Kind: vault.KindMalformed, Detail: "what a cache holds has not the form of it"}
	}
	k := &kept{Facts: f, secrets: map[vault.Path]vault.Secret{}, absent: b.Absent, withheld: b.Withheld}
	for _, text := range b.Records {
		r, values, err := engine.DecodeRecord(engine.EnvKey{Gen: gen, Key: key}, []byte(text))
		if err != nil {
			return nil, err
		}
		if r.Vault != vaultID(name) || r.Env != f.Env {
			return nil, &vault.Error{Kind: vault.KindTampered, Env: f.Env, Path: r.Path, Detail: "a record of another place is in the cache"}
		}
		info := r.Info()
		info.By = ""
		k.secrets[r.Path] = vault.Secret{Info: info, Values: values}
	}
	return k, nil
}

// pick takes secrets out of a cache, in the order asked; with some, what is not
// there is left out.
func (k *kept) pick(paths []vault.Path, some bool) ([]vault.Secret, error) {
	var out []vault.Secret
	for _, path := range paths {
		s, ok := k.secrets[path]
		switch {
		case ok:
			out = append(out, s)
		case some && slices.Contains(k.absent, path):
		case slices.Contains(k.absent, path):
			return nil, &vault.Error{Kind: vault.KindNotFound, Env: k.Env, Path: path}
		case k.withheld[path] != "":
			return nil, &vault.Error{Kind: vault.KindUnavailable, Env: k.Env, Path: path, Detail: fmt.Sprintf("is never kept, since %s, and the server is away", k.withheld[path])}
		default:
			return nil, &vault.Error{Kind: vault.KindUnavailable, Env: k.Env, Path: path, Detail: "was not asked for when the server last answered, and the server is away"}
		}
	}
	return out, nil
}
