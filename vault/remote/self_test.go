package remote_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"envrun/vault"
	"envrun/vault/remote"
	"envrun/vault/vaulttest/hashivault"
)

// What a server says of the token, and what it may reach.
func TestSelfAndReach(t *testing.T) {
	for name, c := range map[string]struct {
		answers map[string]string // by path below /v1
		kind    vault.Kind
	}{
		"said":               {map[string]string{"auth/token/lookup-self": `{"data":{"display_name":"human-alice","id":"hvs.SECRET","policies":["default","dev"],"ttl":3600,"expire_time":"2026-11-23T12:00:00Z"}}`, "sys/capabilities-self": `{"data":{"dev/data/app":["read","update"],"prod/data/app":["deny"],"capabilities":["read"]}}`}, vault.KindOther},
		"a path is left out": {map[string]string{"auth/token/lookup-self": `{"data":{}}`, "sys/capabilities-self": `{"data":{"dev/data/app":["read"]}}`}, vault.KindMalformed},
		"of another form":    {map[string]string{"auth/token/lookup-self": `{"data":{}}`, "sys/capabilities-self": `{"data":{"dev/data/app":"read","prod/data/app":["deny"]}}`}, vault.KindMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			v := serve(t, func(w http.ResponseWriter, r *http.Request) {
				answer(200, c.answers[strings.TrimPrefix(r.URL.Path, "/v1/")])(w, r)
			})
			self, err := v.Self(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if self.ID != "" || strings.Contains(self.DisplayName, "SECRET") {
				t.Errorf("the token is handed on: %+v", self)
			}
			may, err := v.Reach(t.Context(), []string{"dev/data/app", "prod/data/app"})
			if vault.KindOf(err) != c.kind {
				t.Fatalf("Reach: %v", err)
			}
			if err == nil && (!slices.Equal(may["dev/data/app"], []string{"read", "update"}) || !slices.Equal(may["prod/data/app"], []string{"deny"}) || len(may) != 2) {
				t.Errorf("it may %v", may)
			}
		})
	}
}

// Vault and our server say the same of the same token.
func TestReachOfAServer(t *testing.T) {
	s := hashivault.Start(t)
	must(t, s, "PUT", "sys/policies/acl/reach", map[string]any{"policy": `path "dev/data/*" { capabilities = ["read", "update"] }`})
	made := must(t, s, "POST", "auth/token/create", map[string]any{"policies": []string{"reach"}, "ttl": "10m", "display_name": "alice"})
	text, _ := made["auth"].(map[string]any)["client_token"].(string)
	v := open(t, s, func(o *remote.Options) { o.Token = token(text) })
	self, err := v.Self(t.Context())
	if err != nil || self.DisplayName != "token-alice" || !slices.Contains(self.Policies, "reach") || self.ExpireTime == nil || self.ID != "" {
		t.Errorf("it is %+v, %v", self, err)
	}
	may, err := v.Reach(t.Context(), []string{"dev/data/app", "prod/data/app"})
	if err != nil || !slices.Contains(may["dev/data/app"], "update") || !slices.Equal(may["prod/data/app"], []string{"deny"}) {
		t.Errorf("it may %v, %v", may, err)
	}
	must(t, s, "POST", "auth/token/revoke", map[string]any{"token": text})
	if _, err := v.Self(t.Context()); vault.KindOf(err) != vault.KindNoIdentity {
		t.Errorf("after it was revoked: %v", err)
	}
}
