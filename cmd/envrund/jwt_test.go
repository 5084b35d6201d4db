package main_test

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"envrun/auth/oidc/idp"
	"envrun/auth/oidc/login"
	"envrun/auth/oidc/oidctest"
	"envrun/vault/vaulttest/hashivault"
)

// Why envrund refuses what Vault takes, or takes what Vault refuses, by the attack of
// study auth §4.7. A difference without a reason is a mistake, of either.
var departures = map[string]string{
	"A05": "a key that its issuer publishes for one algorithm is not one for others",
	"A06": "a key that its issuer publishes for encryption signs nothing",
	"A07": "1024 bits of RSA are too few",
	"A08": "each name in the audience has to be one, and a handful at most",
	"A09": "a token that somebody else may hold too, or asked for, can come from them",
	"A13": "without the time at which it was made, or long after it, nobody knows who has had it",
	"A14": "what never expires is a password; Vault takes a missing end for one soon after the beginning",
	"A15": "as A14: ten years are for ever",
	"A18": "which of two claims with one name counts depends on who reads",
	"A19": "as A18: Go's reader takes one for the other, others do not",
	"A21": "with several keys and no name for one, a signature is tried until it fits",
	"A28": "large and deep tokens cost before they are known to be anybody's",
	"A29": "there is one way to write a token down",
	"A30": "extensions of the header change what is signed",
	"A31": "a token for something else, by its type, is not one to sign in with",
	"A32": "groups are a list of names, or none are said: of people in no group many issuers say nothing, and Vault then lets nobody in",
	"A33": "as A32: groups that are elsewhere are not known",
	"A34": "a number is compared as it is written, and Vault cuts it; one of a list of numbers is one of a list, as with texts",
	"":    "a name that is in every audit entry is short, and one line",
}

// Every token of the study's list, to a real Vault and to envrund alike: they take
// and refuse the same ones, but for those in testdata/jwt_departures.txt, each with
// its reason. go test -update writes the file.
func TestTokensAsVaultTakesThem(t *testing.T) {
	t.Parallel()
	vault := hashivault.Start(t)
	own := new(hashivault.Server)
	own.Addr, own.Token = devServer(t)
	issuer := oidctest.New(t)
	for _, s := range []*hashivault.Server{vault, own} {
		jwtMount(t, s, "jwt", issuer.URL, "RS256", "PS256", "ES256", "ES384", "EdDSA")
		ask(t, s, "POST", "auth/jwt/role/ci", map[string]any{"role_type": "jwt", "bound_audiences": []string{oidctest.Audience}, "user_claim": "sub", "groups_claim": "groups",
			"bound_claims": map[string]any{"project_id": 74, "ref_protected": "true"}, "token_policies": []string{"dev"}})
	}
	var lines strings.Builder
	same, met := 0, map[string]bool{}
	for _, a := range oidctest.Attacks() {
		takes := func(s *hashivault.Server) bool {
			now := time.Now()
			good := issuer.Good(oidctest.Audience, now).With(oidctest.Bound()).With(oidctest.Claims{"groups": []string{"developers"}})
			status, _ := s.Do(t, "POST", "auth/jwt/login", map[string]any{"role": "ci", "jwt": a.Token(issuer, good, now)})
			return status == http.StatusOK
		}
		theirs, ours := takes(vault), takes(own)
		if ours != (a.Reason == "") {
			t.Errorf("%s %s: envrund takes it: %t", a.ID, a.Name, ours)
		}
		if ours == theirs {
			same++
			continue
		}
		who := "Vault"
		if ours {
			who = "envrund"
		}
		met[a.ID] = true
		fmt.Fprintf(&lines, "%-3s %-7s takes %.80q\n", a.ID, who, strings.ReplaceAll(a.Name, issuer.URL, "ISSUER"))
	}
	for id, why := range departures {
		if !met[id] {
			t.Errorf("there is no difference any more in %q: %s", id, why)
		}
	}
	for id := range met {
		if departures[id] == "" {
			t.Errorf("no reason is known for the difference in %q", id)
		}
	}
	compareLines(t, filepath.Join("testdata", "jwt_departures.txt"), *update, lines.String())
	t.Logf("%d tokens are judged alike, %d are not", same, strings.Count(lines.String(), "\n"))
}

// jwtMount gives a server the jwt method at auth/MOUNT for an issuer.
func jwtMount(t *testing.T, s *hashivault.Server, mount, issuer string, algorithms ...string) {
	t.Helper()
	ask(t, s, "POST", "sys/auth/"+mount, map[string]any{"type": "jwt"})
	jwtConfig(t, s, mount, issuer, algorithms...)
}

func jwtConfig(t *testing.T, s *hashivault.Server, mount, issuer string, algorithms ...string) {
	t.Helper()
	ask(t, s, "POST", "auth/"+mount+"/config", map[string]any{"oidc_discovery_url": issuer, "bound_issuer": issuer, "default_role": "ci",
		"jwt_supported_algs": algorithms, "allow_private_issuer": true}) // which Vault does not know, and leaves
}

func ask(t *testing.T, s *hashivault.Server, method, path string, body any) map[string]any {
	t.Helper()
	status, answer := s.Do(t, method, path, body)
	if status >= 300 {
		t.Fatalf("%s %s: %d %v", method, path, status, answer)
	}
	return answer
}

// identityToken is what somebody's client gets of a provider.
func identityToken(t *testing.T, p *idp.Provider, user string) string {
	t.Helper()
	lp, err := login.Discover(t.Context(), login.Options{Issuer: p.Issuer, ClientID: idp.ClientID, Scopes: idp.Scopes})
	if err != nil {
		t.Fatal(err)
	}
	token := ""
	open := func(ctx context.Context, address string) error {
		go func() {
			back, err := p.Person(user).SignIn(context.WithoutCancel(ctx), address)
			if err != nil {
				t.Error(err)
				return
			}
			if res, err := http.Get(back); err == nil {
				res.Body.Close()
			}
		}()
		return nil
	}
	err = lp.Browser(t.Context(), login.Ask{}, login.BrowserOptions{Open: true, Opener: open}, unseen{}, func(_ context.Context, tokens *login.Tokens) (login.Welcome, error) {
		token = tokens.ID.Reveal()
		return login.Welcome{}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

type unseen struct{}

func (unseen) Visit(login.Visit)     {}
func (unseen) Code(login.Code)       {}
func (unseen) Pasted() <-chan string { return nil }
func (unseen) Note(string)           {}

// People bring what a real provider gave them to a real Vault and to envrund, and are
// given the same.
func TestPeopleAsVaultTakesThem(t *testing.T) {
	t.Parallel()
	vault := hashivault.Start(t)
	own := new(hashivault.Server)
	own.Addr, own.Token = devServer(t)
	servers := []*hashivault.Server{vault, own}
	idp.Each(t, func(t *testing.T, p *idp.Provider) {
		algorithm := map[string]string{"zitadel": "ES256", "oidc-provider": "RS256"}[p.Name]
		for _, s := range servers {
			jwtMount(t, s, p.Name, p.Issuer, algorithm)
			for name, more := range map[string]map[string]any{
				"ci":        {},
				"elsewhere": {"bound_audiences": []string{"another-client"}},
				"operators": {"bound_claims": map[string]any{"groups": []string{"operators"}}},
				"email":     {"user_claim": "email", "claim_mappings": map[string]string{"name": "full_name"}},
				"phone":     {"user_claim": "phone_number"},
				"signed":    {"bound_subject": "alice"},
			} {
				role := map[string]any{"role_type": "jwt", "bound_audiences": []string{idp.ClientID}, "user_claim": "sub", "groups_claim": "groups", "token_policies": []string{"dev", "list"}, "token_ttl": "10m", "token_max_ttl": "20m"}
				for k, v := range more {
					role[k] = v
				}
				ask(t, s, "POST", "auth/"+p.Name+"/role/"+name, role)
			}
		}
		alice, bob := identityToken(t, p, "alice"), identityToken(t, p, "bob")
		stranger := identityToken(t, idp.Zitadel(t), "alice")
		for _, c := range []struct {
			name, role, jwt string
			status          int
		}{
			{"with a role", "ci", alice, 200},
			{"a role in capitals", "CI", alice, 200},
			{"the default role", "", alice, 200},
			{"in a bound group", "operators", bob, 200},
			{"not in a bound group", "operators", alice, 400},
			{"named by an address, with a mapped claim", "email", bob, 200},
			{"named by a claim that is missing", "phone", bob, 400},
			{"the bound subject", "signed", alice, 200},
			{"another subject", "signed", bob, 400},
			{"made for another client", "elsewhere", alice, 400},
			{"a role that is not there", "nope", alice, 400},
			{"of another issuer", "ci", stranger, 400},
			{"half a token", "ci", alice[:len(alice)/2], 400},
			{"no token", "ci", "", 400},
		} {
			var given []map[string]any
			for _, s := range servers {
				status, answer := s.DoAs(t, "", "POST", "auth/"+p.Name+"/login", map[string]any{"role": c.role, "jwt": c.jwt})
				if status != c.status {
					t.Errorf("%s: %s answers %d %v, not %d", c.name, server(s, own), status, answer["errors"], c.status)
				}
				if text := fmt.Sprint(answer["errors"]); status >= 400 && c.jwt != "" && strings.Contains(text, c.jwt) {
					t.Errorf("%s: %s repeats the token", c.name, server(s, own))
				}
				if status == http.StatusOK {
					given = append(given, whatIsGiven(t, s, answer))
				}
			}
			if len(given) == 2 && !reflect.DeepEqual(given[0], given[1]) {
				t.Errorf("%s: Vault gives\n%v\nenvrund\n%v", c.name, given[0], given[1])
			}
		}

		// A key that is new: Vault asks the issuer each time that somebody shows it one,
		// envrund twice a minute at most. Issuers publish keys before they use them.
		p.RotateKeys()
		later := map[string]any{"role": "ci", "jwt": identityToken(t, p, "alice")}
		if status, answer := vault.DoAs(t, "", "POST", "auth/"+p.Name+"/login", later); status != http.StatusOK {
			t.Errorf("a new key: Vault answers %d %v", status, answer)
		}
		asked := p.Count(idp.Keys)
		for range 5 {
			if status, answer := own.DoAs(t, "", "POST", "auth/"+p.Name+"/login", later); status != http.StatusBadRequest {
				t.Errorf("a new key, a moment after the keys were fetched: envrund answers %d %v", status, answer)
			}
		}
		if n := p.Count(idp.Keys); n != asked {
			t.Errorf("envrund asked for keys %d times", n-asked)
		}
		jwtConfig(t, own, p.Name, p.Issuer, algorithm) // which fetches them
		if status, answer := own.DoAs(t, "", "POST", "auth/"+p.Name+"/login", later); status != http.StatusOK {
			t.Errorf("a new key: envrund answers %d %v", status, answer)
		}
	})
}

func server(s, own *hashivault.Server) string {
	if s == own {
		return "envrund"
	}
	return "Vault"
}

// whatIsGiven is what a client can depend on in an answer to a login, and in what the
// token says of itself.
func whatIsGiven(t *testing.T, s *hashivault.Server, answer map[string]any) map[string]any {
	t.Helper()
	auth, _ := answer["auth"].(map[string]any)
	token, _ := auth["client_token"].(string)
	status, self := s.DoAs(t, token, "GET", "auth/token/lookup-self", nil)
	data, _ := self["data"].(map[string]any)
	if token == "" || status != http.StatusOK || auth["accessor"] != data["accessor"] || auth["entity_id"] != data["entity_id"] {
		t.Errorf("the token is worth %d: %v, of %v", status, data, auth)
	}
	given := map[string]any{}
	for _, name := range []string{"policies", "token_policies", "metadata", "lease_duration", "renewable", "token_type", "orphan", "num_uses"} {
		given[name] = auth[name]
	}
	for _, name := range []string{"policies", "display_name", "meta", "orphan", "path", "type", "renewable", "creation_ttl", "explicit_max_ttl", "num_uses"} {
		given["its "+name] = data[name]
	}
	return given
}
