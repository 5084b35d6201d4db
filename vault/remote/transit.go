package remote

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"
)

// Encrypt has the transit engine at a mount encrypt plain with one of its keys,
// which must be of a kind that authenticates (aes256-gcm96, chacha20-poly1305).
// Decrypt gives plain back for the same bound alone. What it returns is the
// server's text: "vault:v1:…".
func (v *Vault) Encrypt(ctx context.Context, mount, key string, plain, bound []byte) (string, error) {
	text := base64.StdEncoding.EncodeToString(plain)
	out, err := transit[struct {
		Ciphertext string `json:"ciphertext"`
	}](ctx, v, mount, "encrypt", key, text, map[string]string{"plaintext": text}, bound)
	if err == nil && out.Ciphertext == "" {
		err = v.place(&ServerError{Trouble: NotVault, Address: v.Address(), Text: "it gave no ciphertext"}, "", "")
	}
	return out.Ciphertext, err
}

// Decrypt undoes Encrypt.
func (v *Vault) Decrypt(ctx context.Context, mount, key, ciphertext string, bound []byte) ([]byte, error) {
	out, err := transit[struct {
		Plaintext []byte `json:"plaintext"`
	}](ctx, v, mount, "decrypt", key, "", map[string]string{"ciphertext": ciphertext}, bound)
	return out.Plaintext, err
}

func transit[T any](ctx context.Context, v *Vault, mount, op, key, secret string, body map[string]string, bound []byte) (T, error) {
	var none T
	if err := CheckMount(mount); err != nil {
		return none, err
	}
	if err := CheckMount(key); err != nil || strings.Contains(key, "/") {
		return none, invalid("%.40q is no name of a key", key)
	}
	body["associated_data"] = base64.StdEncoding.EncodeToString(bound)
	c := call{method: http.MethodPost, path: []string{mount, op, key}, body: body, repeat: true}
	if secret != "" {
		c.secrets = []string{secret}
	}
	out, err := ask[T](ctx, v, c)
	return out, v.place(err, "", "")
}
