package server_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"

	"envrun/vault/keyring"
	"envrun/vault/server"
	"envrun/vault/vaulttest/pgtest"
)

// appRole makes a role at a mount that is there, and returns its role id.
func (w *world) appRole(name, body string) string {
	w.Helper()
	if s := w.ask("root", "POST", "auth/approle/role/"+name, body); s.status != 204 && s.status != 200 {
		w.Fatalf("role %s: %d %s", name, s.status, s.raw)
	}
	return w.must(200, "root", "GET", "auth/approle/role/"+name+"/role-id", "").data()["role_id"].(string)
}

func (w *world) secretID(role, body string) (text, accessor string) {
	w.Helper()
	d := w.must(200, "root", "POST", "auth/approle/role/"+role+"/secret-id", body).data()
	return d["secret_id"].(string), d["secret_id_accessor"].(string)
}

func (w *world) appLogin(roleID, secretID string) said {
	body, _ := json.Marshal(map[string]string{"role_id": roleID, "secret_id": secretID})
	return w.ask("", "POST", "auth/approle/login", string(body))
}

func newAppRoles(t testing.TB) *world {
	w := newWorld(t)
	w.must(204, "root", "POST", "sys/auth/approle", `{"type":"approle"}`)
	return w
}

func TestAppRole(t *testing.T) {
	w := newAppRoles(t)
	id := w.appRole("App", `{"token_policies":"dev","token_ttl":"20m","token_max_ttl":"1h","secret_id_ttl":"10m","secret_id_num_uses":3}`)
	secret, accessor := w.secretID("app", `{"metadata":"{\"host\":\"h1\",\"role_name\":\"other\"}"}`)
	if !strings.HasPrefix(secret, "evr_a_") {
		t.Errorf("a secret id %.6s… that no scanner finds", secret)
	}
	s := w.appLogin(id, secret)
	if s.status != 200 {
		t.Fatal(s.status, s.raw)
	}
	info := w.must(200, s.token(), "GET", "auth/token/lookup-self", "").data()
	if fmt.Sprintf("%v %v %v %v %v", info["meta"], info["policies"], info["display_name"], info["path"], info["ttl"]) != "map[host:h1 role_name:app] [default dev] approle auth/approle/login 1200" {
		t.Errorf("%v", info)
	}
	if again := w.appLogin(id, secret); again.body["auth"].(map[string]any)["entity_id"] != info["entity_id"] || info["entity_id"] == "" {
		t.Errorf("another entity at the second sign-in: %s", again.raw)
	}
	// A write changes what it names, and one that changes nothing leaves tokens renewable.
	w.must(204, "root", "POST", "auth/approle/role/app", `{"token_ttl":"20m"}`)
	w.must(200, s.token(), "POST", "auth/token/renew-self", "")
	w.must(204, "root", "POST", "auth/approle/role/app", `{"token_ttl":"10m"}`)
	w.must(403, s.token(), "POST", "auth/token/renew-self", "")
	if r := w.must(200, "root", "GET", "auth/approle/role/app", "").data(); fmt.Sprintf("%v %v %v", r["secret_id_num_uses"], r["token_ttl"], r["token_policies"]) != "3 600 [dev]" {
		t.Errorf("%v", r)
	}
	// A list says which there are, and nothing by which one signs in; nor does a look.
	_, second := w.secretID("app", "")
	list := w.must(200, "root", "LIST", "auth/approle/role/app/secret-id", "")
	if keys := fmt.Sprint(list.data()["keys"]); keys != fmt.Sprint([]string{min(accessor, second), max(accessor, second)}) || len(list.data()) != 1 {
		t.Errorf("the list is %s", list.raw)
	}
	look := w.must(200, "root", "POST", "auth/approle/role/app/secret-id/lookup", fmt.Sprintf(`{"secret_id":%q}`, secret))
	if strings.Contains(list.raw+look.raw, secret) || w.appLogin(id, accessor).status != 400 || w.appLogin(accessor, secret).status != 400 {
		t.Error("an accessor is as good as a secret id")
	}
	w.must(204, "root", "DELETE", "auth/approle/role/app/secret-id-accessor/destroy?secret_id_accessor="+second, "")
	// One is left, by any name of it.
	by := fmt.Sprintf(`{"secret_id_accessor":%q}`, accessor)
	if d := w.must(200, "root", "POST", "auth/approle/role/app/secret-id-accessor/lookup", by).data(); fmt.Sprint(d["secret_id_num_uses"]) != "1" {
		t.Errorf("%v", d)
	}
	w.must(204, "root", "POST", "auth/approle/role/app/secret-id-accessor/destroy", by)
	w.must(404, "root", "POST", "auth/approle/role/app/secret-id-accessor/lookup", by)
	w.must(404, "root", "LIST", "auth/approle/role/app/secret-id", "")
	w.must(202, "root", "POST", "auth/approle/tidy/secret-id", "")

	// What was chosen, and a role id that was.
	w.must(204, "root", "POST", "auth/approle/role/app/role-id", `{"role_id":"build"}`)
	w.must(200, "root", "POST", "auth/approle/role/app/custom-secret-id", `{"secret_id":"chosen"}`)
	w.must(400, "root", "POST", "auth/approle/role/app/custom-secret-id", `{"secret_id":"chosen"}`)
	w.must(400, "", "POST", "auth/approle/login", fmt.Sprintf(`{"role_id":%q,"secret_id":"chosen"}`, id))
	w.must(200, "", "POST", "auth/approle/login", `{"role_id":"build","secret_id":"chosen"}`)
	w.must(200, "root", "POST", "auth/approle/role/other", `{}`)
	w.must(400, "root", "POST", "auth/approle/role/other/role-id", `{"role_id":"build"}`)
	// A role has its own secret ids.
	w.must(400, "", "POST", "auth/approle/login", fmt.Sprintf(`{"role_id":%q,"secret_id":"chosen"}`, w.appRole("other", `{}`)))

	// A wrapped one is in no answer but that of its unwrapping, once.
	wrap := w.must(200, "root", "POST", "auth/approle/role/app/secret-id", "", "X-Vault-Wrap-TTL: 60").body["wrap_info"].(map[string]any)
	inner := w.must(200, wrap["token"].(string), "POST", "sys/wrapping/unwrap", "").data()
	if inner["secret_id_accessor"] != wrap["wrapped_accessor"] {
		t.Errorf("%v in %v", inner, wrap)
	}
	w.must(400, wrap["token"].(string), "POST", "sys/wrapping/unwrap", "")
	w.must(200, "", "POST", "auth/approle/login", fmt.Sprintf(`{"role_id":"build","secret_id":%q}`, inner["secret_id"]))

	// What goes, goes with all of its secret ids, and does not come back with the name.
	w.must(200, "root", "POST", "auth/approle/role/app/custom-secret-id", `{"secret_id":"again"}`)
	w.must(204, "root", "DELETE", "auth/approle/role/app", "")
	w.must(204, "root", "POST", "auth/approle/role/app", `{"role_id":"build","secret_id_ttl":"1h"}`)
	w.must(400, "", "POST", "auth/approle/login", `{"role_id":"build","secret_id":"again"}`)
	w.must(200, "root", "POST", "auth/approle/role/app/custom-secret-id", `{"secret_id":"more"}`)
	token := w.must(200, "", "POST", "auth/approle/login", `{"role_id":"build","secret_id":"more"}`).token()
	w.must(204, "root", "DELETE", "sys/auth/approle", "")
	w.must(403, token, "GET", "auth/token/lookup-self", "")
	w.must(204, "root", "POST", "sys/auth/approle", `{"type":"approle"}`)
	w.must(404, "root", "LIST", "auth/approle/role", "")
	w.must(400, "", "POST", "auth/approle/login", `{"role_id":"build","secret_id":"more"}`)

	for _, text := range []string{secret, id, accessor, "chosen", "build"} {
		if strings.Contains(w.log.text(), text) {
			t.Errorf("the audit log holds %.6s…", text)
		}
	}
}

// A machine that is not let in is told the same, whatever the reason, and what it is
// stands in the audit log.
func TestAppRoleRefusals(t *testing.T) {
	w := newAppRoles(t)
	id := w.appRole("app", `{"token_policies":"dev","secret_id_ttl":"10m"}`)
	far := w.appRole("far", `{"secret_id_ttl":"10m","secret_id_bound_cidrs":"203.0.113.0/24"}`)
	tied := w.appRole("tied", `{"secret_id_ttl":"10m","token_bound_cidrs":["203.0.113.0/24"]}`)
	open := w.appRole("open", `{"bind_secret_id":false,"secret_id_bound_cidrs":"203.0.113.0/24"}`)
	good, _ := w.secretID("app", "")
	elsewhere, _ := w.secretID("app", `{"cidr_list":"203.0.113.0/24"}`)
	farSecret, _ := w.secretID("far", "")
	tiedSecret, _ := w.secretID("tied", "")
	once, _ := w.secretID("app", `{"num_uses":1}`)
	if s := w.appLogin(id, once); s.status != 200 {
		t.Fatal(s.status, s.raw)
	}
	early, _ := w.secretID("app", `{"ttl":"1m"}`)
	w.now = w.now.Add(2 * time.Minute)
	tokens := len(w.must(200, "root", "LIST", "auth/token/accessors", "").data()["keys"].([]any))
	for _, c := range []struct{ name, role, secret, reason string }{
		{"unknown role", "nobody", good, "no role"},
		{"unknown secret", id, "evr_a_NOPE", "no such secret id"},
		{"no secret", id, "", "no secret id was sent"},
		{"another role's", far, good, "not for this address"},
		{"the role's network", far, farSecret, "the role is not for this address"},
		{"the token's network", tied, tiedSecret, "the role is not for this address"},
		{"the secret's network", id, elsewhere, "the secret id is not for this address"},
		{"expired", id, early, "expired"},
		{"used up", id, once, "none that is left"},
		{"a role for its network alone", open, "", "the role is not for this address"},
	} {
		s := w.appLogin(c.role, c.secret)
		if s.status != 400 || strings.TrimSpace(s.raw) != `{"errors":["invalid role or secret ID"]}` {
			t.Errorf("%s: %d %s", c.name, s.status, s.raw)
		}
		all := w.log.all()
		if out := all[len(all)-1]; !strings.Contains(out.Error, "permission denied: ") || !strings.Contains(out.Error, c.reason) {
			t.Errorf("%s: the audit log says %q, want %q", c.name, out.Error, c.reason)
		}
	}
	if n := len(w.must(200, "root", "LIST", "auth/token/accessors", "").data()["keys"].([]any)); n != tokens {
		t.Errorf("%d tokens were made", n-tokens)
	}
	if s := w.appLogin(id, good); s.status != 200 {
		t.Errorf("the good one: %d %s", s.status, s.raw)
	}
	// What has expired is swept.
	w.now = w.now.Add(time.Hour)
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{"app", "far", "tied"} {
		w.must(404, "root", "LIST", "auth/approle/role/"+role+"/secret-id", "")
	}
}

func TestAppRoleBodies(t *testing.T) {
	w := newAppRoles(t)
	for body, want := range map[string]string{
		`{"bind_secret_id":false}`:                           "at least one constraint",
		`{"secret_id_num_uses":-1}`:                          "negative",
		`{"secret_id_ttl":"-1s"}`:                            "negative",
		`{"secret_id_bound_cidrs":"x"}`:                      "network",
		`{"local_secret_ids":true}`:                          "not supported",
		`{"token_policies":"root"}`:                          "nobody signs in",
		`{"token_type":"batch"}`:                             "batch",
		`{"role_id":"` + strings.Repeat("r", 5000) + `"}`:    "512 bytes",
		`{"secret_id_bound_cidrs":["10.0.0.0/8","fd00::x"]}`: "network",
	} {
		if s := w.must(400, "root", "POST", "auth/approle/role/bad", body); !strings.Contains(s.raw, want) {
			t.Errorf("%.60s: %s, want %q", body, s.raw, want)
		}
	}
	w.must(404, "root", "GET", "auth/approle/role/bad", "")
	w.must(404, "root", "GET", "auth/approle/role/bad/role-id", "")
	w.must(404, "root", "POST", "auth/approle/role/bad/secret-id", "")
	w.must(400, "", "POST", "auth/approle/login", `{"secret_id":"x"}`)
	// No limit is Vault's default; here its maker is told.
	for _, limit := range []struct{ body, want string }{{`{}`, "any number of times"}, {`{"secret_id_num_uses":1}`, "never expires"}} {
		body, want := limit.body, limit.want // one after the other: a role keeps what it was not told anew
		if s := w.must(200, "root", "POST", "auth/approle/role/wide", body); !strings.Contains(s.raw, want) {
			t.Errorf("no warning: %s", s.raw)
		}
		if s := w.must(200, "root", "POST", "auth/approle/role/wide/secret-id", ""); !strings.Contains(s.raw, want) {
			t.Errorf("no warning: %s", s.raw)
		}
	}
	w.appRole("app", `{"secret_id_ttl":"10m","secret_id_num_uses":5,"secret_id_bound_cidrs":"10.0.0.0/8","token_bound_cidrs":"10.0.0.0/8"}`)
	for body, want := range map[string]string{
		`{"num_uses":6}`:                   "higher than",
		`{"num_uses":0}`:                   "higher than",
		`{"num_uses":-1}`:                  "negative",
		`{"ttl":"11m"}`:                    "longer than",
		`{"ttl":0}`:                        "longer than",
		`{"cidr_list":"0.0.0.0/0"}`:        "not within",
		`{"token_bound_cidrs":"11.0.0.0"}`: "not within",
		`{"metadata":"x"}`:                 "metadata",
		`{"metadata":"{\"a\":{}}"}`:        "metadata",
	} {
		if s := w.must(400, "root", "POST", "auth/approle/role/app/secret-id", body); !strings.Contains(s.raw, want) {
			t.Errorf("%s: %s, want %q", body, s.raw, want)
		}
	}
	w.must(200, "root", "POST", "auth/approle/role/app/secret-id", `{"num_uses":"2","ttl":"5m","cidr_list":"10.1.0.0/16,10.2.0.1","metadata":{"a":"b"}}`)
	w.must(400, "root", "POST", "auth/approle/role/app/custom-secret-id", `{}`)
	w.must(204, "root", "POST", "auth/approle/role/app/secret-id/lookup", `{"secret_id":"nope"}`)
	w.must(204, "root", "POST", "auth/approle/role/app/secret-id/destroy", `{"secret_id":"nope"}`)
	w.must(404, "root", "POST", "auth/approle/role/app/secret-id-accessor/destroy", `{"secret_id_accessor":"nope"}`)
}

// Of fifty who bring a secret id that is good for ten, ten are let in, and of those who
// bring one for a single use one: on one server, and on two of one database.
func TestAppRoleUses(t *testing.T) {
	race := func(t *testing.T, servers ...*world) {
		w := servers[0]
		w.must(204, "root", "POST", "sys/auth/approle", `{"type":"approle"}`)
		id := w.appRole("app", `{"secret_id_ttl":"10m","secret_id_num_uses":10}`)
		for _, uses := range []int64{10, 1} {
			secret, _ := w.secretID("app", fmt.Sprintf(`{"num_uses":%d}`, uses))
			var in atomic.Int64
			var wg sync.WaitGroup
			for i := range 50 {
				wg.Go(func() {
					switch s := servers[i%len(servers)].appLogin(id, secret); {
					case s.status == 200:
						in.Add(1)
					case s.status != 400:
						t.Errorf("%d %s", s.status, s.raw)
					}
				})
			}
			wg.Wait()
			if in.Load() != uses {
				t.Errorf("good for %d: %d were let in", uses, in.Load())
			}
			w.must(404, "root", "LIST", "auth/approle/role/app/secret-id", "")
		}
	}
	t.Run("one", func(t *testing.T) { race(t, newWorld(t)) })
	t.Run("two", func(t *testing.T) {
		if testing.Short() {
			t.Skip("starts PostgreSQL: not in short mode")
		}
		address := pgtest.Database(t)
		a, b := onPostgres(t, address), onPostgres(t, address)
		key, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		set := server.Setup{Sealers: []keyring.AgeSealer{{Name: "ops", Recipient: key.Recipient().String()}}, Token: "root", Open: true}
		if _, _, err := a.Init(t.Context(), set); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Unseal(t.Context(), []age.Identity{key}); err != nil {
			t.Fatal(err)
		}
		race(t, a, b)
	})
}

// A role that is for fewer networks than before is so for the secret ids that there are.
func TestAppRoleNarrowed(t *testing.T) {
	w := newAppRoles(t)
	id := w.appRole("app", `{"secret_id_ttl":"10m","token_bound_cidrs":"127.0.0.0/8"}`)
	own, _ := w.secretID("app", `{"token_bound_cidrs":"127.0.0.1"}`)
	if s := w.appLogin(id, own); s.status != 200 {
		t.Fatal(s.status, s.raw)
	}
	for networks, want := range map[string]int{"10.0.0.0/8": 400, "127.0.0.1": 200, "127.0.0.0/8,10.0.0.0/8": 200, "": 200} {
		w.appRole("app", fmt.Sprintf(`{"token_bound_cidrs":%q}`, networks))
		if s := w.appLogin(id, own); s.status != want {
			t.Errorf("for %s: %d %s", networks, s.status, s.raw)
		}
	}
}
