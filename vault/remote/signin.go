package remote

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"envrun/vault/wire"
)

// SignIn brings an identity token to a way to sign in, "jwt" for auth/jwt, and
// returns what the server gives for it. No token is asked of Options.Token. It is
// not repeated when an answer is lost: some tokens are good for once.
func (v *Vault) SignIn(ctx context.Context, mount, role, jwt string) (wire.Auth, error) {
	if err := CheckMount(mount); err != nil {
		return wire.Auth{}, err
	}
	body := map[string]string{"role": role, "jwt": jwt}
	a, err := v.send(ctx, call{method: http.MethodPost, path: []string{"auth", mount, "login"}, body: body, open: true, unseen: true, secrets: []string{jwt}})
	if e, ok := err.(*statusError); ok {
		err = &ServerError{Trouble: NotSignedIn, Address: v.Address(), Mount: "auth/" + mount, Status: e.status, Text: strings.Join(e.texts, "; ")}
	}
	if err != nil {
		return wire.Auth{}, v.place(err, "", "")
	}
	var out wire.Answer[json.RawMessage]
	if err := json.Unmarshal(a.body, &out); err != nil || out.Auth == nil || out.Auth.ClientToken == "" {
		return wire.Auth{}, v.place(&ServerError{Trouble: NotVault, Address: v.Address(), Text: "it gave no token"}, "", "")
	}
	return *out.Auth, nil
}

// SignOut revokes the token that Options.Token gives.
func (v *Vault) SignOut(ctx context.Context) error {
	_, err := v.send(ctx, call{method: http.MethodPost, path: []string{"auth/token/revoke-self"}, repeat: true, unseen: true})
	return v.place(err, "", "")
}
