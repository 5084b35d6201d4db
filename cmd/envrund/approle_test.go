package main_test

import (
	"testing"

	"envrun/vault/vaulttest/hashivault"
)

func approleSteps() []step {
	const full = `{"token_policies":["dev","list"],"token_ttl":"10m","token_max_ttl":"1h","token_num_uses":0,"secret_id_ttl":"30m","secret_id_num_uses":5,"secret_id_bound_cidrs":["127.0.0.0/8"],"token_bound_cidrs":["127.0.0.1/32"],"token_no_default_policy":true,"token_explicit_max_ttl":"2h"}`
	return []step{
		{name: "no roles", method: "LIST", path: "role"},
		{name: "no such role", method: "GET", path: "role/app"},
		{name: "no such role id", method: "GET", path: "role/app/role-id"},
		{name: "secret id of no role", method: "POST", path: "role/app/secret-id"},
		{name: "custom secret id of no role", method: "POST", path: "role/app/custom-secret-id", body: `{"secret_id":"chosen"}`},
		{name: "secret ids of no role", method: "LIST", path: "role/app/secret-id"},
		{name: "lookup in no role", method: "POST", path: "role/app/secret-id/lookup", body: `{"secret_id":"chosen"}`},
		{name: "lookup by accessor in no role", method: "POST", path: "role/app/secret-id-accessor/lookup", body: `{"secret_id_accessor":"x"}`},
		{name: "destroy in no role", method: "POST", path: "role/app/secret-id/destroy", body: `{"secret_id":"chosen"}`},
		{name: "destroy by accessor in no role", method: "POST", path: "role/app/secret-id-accessor/destroy", body: `{"secret_id_accessor":"x"}`},
		{name: "choose the role id of no role", method: "POST", path: "role/app/role-id", body: `{"role_id":"build"}`},
		{name: "delete no role", method: "DELETE", path: "role/app"},
		{name: "make", method: "POST", path: "role/app", body: full},
		{name: "read", method: "GET", path: "role/app"},
		{name: "change one field", method: "POST", path: "role/app", body: `{"token_ttl":"20m"}`},
		{name: "read again", method: "GET", path: "role/App"},
		{name: "roles", method: "LIST", path: "role"},
		{name: "role id", method: "GET", path: "role/app/role-id", keep: "role_id"},
		{name: "no secret ids", method: "LIST", path: "role/app/secret-id"},

		{name: "secret id", method: "POST", path: "role/app/secret-id", body: `{"metadata":"{\"host\":\"h1\"}"}`, keep: "secret_id secret_id_accessor"},
		{name: "secret ids", method: "LIST", path: "role/app/secret-id"},
		{name: "lookup", method: "POST", path: "role/app/secret-id/lookup", body: `{"secret_id":"{secret_id}"}`},
		{name: "lookup by accessor", method: "POST", path: "role/app/secret-id-accessor/lookup", body: `{"secret_id_accessor":"{secret_id_accessor}"}`},
		{name: "login", method: "POST", path: "login", body: `{"role_id":"{role_id}","secret_id":"{secret_id}"}`, as: "nobody", keep: "client_token"},
		{name: "itself", method: "GET", path: "/auth/token/lookup-self", as: "client_token"},
		{name: "lookup after a use", method: "POST", path: "role/app/secret-id/lookup", body: `{"secret_id":"{secret_id}"}`},
		{name: "renew", method: "POST", path: "/auth/token/renew-self", as: "client_token"},
		{name: "change it", method: "POST", path: "role/app", body: `{"token_policies":"dev"}`},
		{name: "renew after the role was changed", method: "POST", path: "/auth/token/renew-self", as: "client_token"},

		{name: "login without a role id", method: "POST", path: "login", body: `{"secret_id":"{secret_id}"}`, as: "nobody"},
		{name: "login without a secret id", method: "POST", path: "login", body: `{"role_id":"{role_id}"}`, as: "nobody"},
		{name: "login with nothing", method: "POST", path: "login", as: "nobody"},
		{name: "login to no role", method: "POST", path: "login", body: `{"role_id":"none","secret_id":"{secret_id}"}`, as: "nobody"},
		{name: "login with no secret id of it", method: "POST", path: "login", body: `{"role_id":"{role_id}","secret_id":"none"}`, as: "nobody"},
		{name: "login with the accessor", method: "POST", path: "login", body: `{"role_id":"{role_id}","secret_id":"{secret_id_accessor}"}`, as: "nobody"},

		{name: "secret id with limits", method: "POST", path: "role/app/secret-id", body: `{"num_uses":1,"ttl":"5m","cidr_list":["127.0.0.1/32"],"token_bound_cidrs":["127.0.0.1/32"],"metadata":"{\"host\":\"h2\"}"}`, keep: "secret_id secret_id_accessor"},
		{name: "lookup of limits", method: "POST", path: "role/app/secret-id/lookup", body: `{"secret_id":"{secret_id}"}`},
		{name: "login once", method: "POST", path: "login", body: `{"role_id":"{role_id}","secret_id":"{secret_id}"}`, as: "nobody"},
		{name: "login twice", method: "POST", path: "login", body: `{"role_id":"{role_id}","secret_id":"{secret_id}"}`, as: "nobody"},
		{name: "lookup of one that is used up", method: "POST", path: "role/app/secret-id/lookup", body: `{"secret_id":"{secret_id}"}`},
		{name: "lookup of its accessor", method: "POST", path: "role/app/secret-id-accessor/lookup", body: `{"secret_id_accessor":"{secret_id_accessor}"}`},
		{name: "more uses than the role's", method: "POST", path: "role/app/secret-id", body: `{"num_uses":6}`},
		{name: "any number of uses", method: "POST", path: "role/app/secret-id", body: `{"num_uses":0}`},
		{name: "longer than the role's", method: "POST", path: "role/app/secret-id", body: `{"ttl":"31m"}`},
		{name: "for ever", method: "POST", path: "role/app/secret-id", body: `{"ttl":0}`},
		{name: "negative uses", method: "POST", path: "role/app/secret-id", body: `{"num_uses":-1}`},
		{name: "from elsewhere than the role's", method: "POST", path: "role/app/secret-id", body: `{"cidr_list":"10.0.0.0/8"}`},
		{name: "no network", method: "POST", path: "role/app/secret-id", body: `{"cidr_list":"x"}`},
		{name: "tokens for elsewhere", method: "POST", path: "role/app/secret-id", body: `{"token_bound_cidrs":"10.0.0.0/8"}`},
		{name: "metadata that is no object", method: "POST", path: "role/app/secret-id", body: `{"metadata":"x"}`},
		{name: "metadata of numbers", method: "POST", path: "role/app/secret-id", body: `{"metadata":"{\"a\":1}"}`},
		{name: "metadata as an object", method: "POST", path: "role/app/secret-id", body: `{"metadata":{"a":"b"}}`},

		{name: "custom", method: "POST", path: "role/app/custom-secret-id", body: `{"secret_id":"chosen"}`, keep: "secret_id_accessor"},
		{name: "custom again", method: "POST", path: "role/app/custom-secret-id", body: `{"secret_id":"chosen"}`},
		{name: "custom without one", method: "POST", path: "role/app/custom-secret-id", body: `{}`},
		{name: "login with it", method: "POST", path: "login", body: `{"role_id":"{role_id}","secret_id":"chosen"}`, as: "nobody"},
		{name: "destroy", method: "POST", path: "role/app/secret-id/destroy", body: `{"secret_id":"chosen"}`},
		{name: "login with one that was destroyed", method: "POST", path: "login", body: `{"role_id":"{role_id}","secret_id":"chosen"}`, as: "nobody"},
		{name: "destroy it again", method: "POST", path: "role/app/secret-id/destroy", body: `{"secret_id":"chosen"}`},
		{name: "destroy its accessor", method: "POST", path: "role/app/secret-id-accessor/destroy", body: `{"secret_id_accessor":"{secret_id_accessor}"}`},
		{name: "lookup without one", method: "POST", path: "role/app/secret-id/lookup", body: `{}`},
		{name: "destroy without one", method: "POST", path: "role/app/secret-id/destroy", body: `{}`},
		{name: "lookup without an accessor", method: "POST", path: "role/app/secret-id-accessor/lookup", body: `{}`},
		{name: "lookup of no accessor", method: "POST", path: "role/app/secret-id-accessor/lookup", body: `{"secret_id_accessor":"none"}`},
		{name: "lookup of none", method: "POST", path: "role/app/secret-id/lookup", body: `{"secret_id":"none"}`},
		{name: "one more", method: "POST", path: "role/app/secret-id", keep: "secret_id secret_id_accessor"},
		{name: "destroy by accessor", method: "POST", path: "role/app/secret-id-accessor/destroy", body: `{"secret_id_accessor":"{secret_id_accessor}"}`},
		{name: "login after that", method: "POST", path: "login", body: `{"role_id":"{role_id}","secret_id":"{secret_id}"}`, as: "nobody"},

		{name: "choose the role id", method: "POST", path: "role/app/role-id", body: `{"role_id":"build"}`},
		{name: "the role id that was chosen", method: "GET", path: "role/app/role-id"},
		{name: "choose none", method: "POST", path: "role/app/role-id", body: `{}`},
		{name: "the old role id", method: "POST", path: "login", body: `{"role_id":"{role_id}","secret_id":"{secret_id}"}`, as: "nobody"},
		{name: "another role", method: "POST", path: "role/other", body: `{"secret_id_ttl":"1h","secret_id_num_uses":1}`},
		{name: "with the same role id", method: "POST", path: "role/other/role-id", body: `{"role_id":"build"}`},
		{name: "made with the same role id", method: "POST", path: "role/third", body: `{"role_id":"build","secret_id_ttl":"1h","secret_id_num_uses":1}`},
		{name: "another role's secret id", method: "POST", path: "role/other/secret-id", keep: "secret_id"},
		{name: "login with another role's", method: "POST", path: "login", body: `{"role_id":"build","secret_id":"{secret_id}"}`, as: "nobody"},

		{name: "without limits", method: "POST", path: "role/wide", body: `{}`},
		{name: "read what is by default", method: "GET", path: "role/wide"},
		{name: "secret id without limits", method: "POST", path: "role/wide/secret-id"},
		{name: "bound to nothing", method: "POST", path: "role/bad", body: `{"bind_secret_id":false}`},
		{name: "bound to networks alone", method: "POST", path: "role/net", body: `{"bind_secret_id":false,"secret_id_bound_cidrs":"127.0.0.1/32","role_id":"net"}`},
		{name: "login by the network", method: "POST", path: "login", body: `{"role_id":"net"}`, as: "nobody", keep: "client_token"},
		{name: "secret id of a role without", method: "POST", path: "role/net/secret-id"},
		{name: "bound to another network", method: "POST", path: "role/far", body: `{"secret_id_bound_cidrs":"203.0.113.0/24","role_id":"far","secret_id_ttl":"1h","secret_id_num_uses":1}`},
		{name: "its secret id", method: "POST", path: "role/far/secret-id", keep: "secret_id"},
		{name: "login from elsewhere", method: "POST", path: "login", body: `{"role_id":"far","secret_id":"{secret_id}"}`, as: "nobody"},
		{name: "for tokens elsewhere", method: "POST", path: "role/tied", body: `{"token_bound_cidrs":"203.0.113.0/24","role_id":"tied","secret_id_ttl":"1h","secret_id_num_uses":1}`},
		{name: "its secret id, too", method: "POST", path: "role/tied/secret-id", keep: "secret_id"},
		{name: "login where the token is not good", method: "POST", path: "login", body: `{"role_id":"tied","secret_id":"{secret_id}"}`, as: "nobody"},
		{name: "negative number of uses", method: "POST", path: "role/bad", body: `{"secret_id_num_uses":-1}`},
		{name: "a network that is none", method: "POST", path: "role/bad", body: `{"secret_id_bound_cidrs":"x"}`},
		{name: "a kind of token that is none", method: "POST", path: "role/bad", body: `{"token_type":"nope"}`},
		{name: "batch tokens", method: "POST", path: "role/batch", body: `{"token_type":"batch","secret_id_ttl":"1h","secret_id_num_uses":1}`},
		{name: "the policy root", method: "POST", path: "role/root", body: `{"token_policies":"root","secret_id_ttl":"1h","secret_id_num_uses":1}`},
		{name: "secret ids of one server", method: "POST", path: "role/local", body: `{"local_secret_ids":true,"secret_id_ttl":"1h","secret_id_num_uses":1}`},
		{name: "max below ttl", method: "POST", path: "role/bad", body: `{"token_ttl":"2h","token_max_ttl":"1h"}`},
		{name: "a period", method: "POST", path: "role/periodic", body: `{"token_period":"1h","secret_id_ttl":"1h","secret_id_num_uses":1,"role_id":"periodic"}`},
		{name: "its own secret id", method: "POST", path: "role/periodic/secret-id", keep: "secret_id"},
		{name: "login with a period", method: "POST", path: "login", body: `{"role_id":"periodic","secret_id":"{secret_id}"}`, as: "nobody", keep: "client_token"},
		{name: "itself with a period", method: "GET", path: "/auth/token/lookup-self", as: "client_token"},
		{name: "tokens of a few uses", method: "POST", path: "role/few", body: `{"token_num_uses":2,"secret_id_ttl":"1h","secret_id_num_uses":1,"role_id":"few"}`},
		{name: "the one secret id", method: "POST", path: "role/few/secret-id", keep: "secret_id"},
		{name: "login for a few uses", method: "POST", path: "login", body: `{"role_id":"few","secret_id":"{secret_id}"}`, as: "nobody", keep: "client_token"},
		{name: "the first use", method: "GET", path: "/auth/token/lookup-self", as: "client_token"},

		{name: "a field by itself", method: "GET", path: "role/app/policies"},
		{name: "what there is not", method: "GET", path: "elsewhere"},
		{name: "tidy", method: "POST", path: "tidy/secret-id"},
		{name: "delete", method: "DELETE", path: "role/other"},
		{name: "read what was deleted", method: "GET", path: "role/other"},
		{name: "disable", method: "DELETE", path: "/sys/auth/approle"},
		{name: "login where nothing is", method: "POST", path: "login", body: `{"role_id":"build","secret_id":"{secret_id}"}`, as: "nobody"},
		{name: "a token of what was disabled", method: "GET", path: "/auth/token/lookup-self", as: "client_token"},
	}
}

// The same is asked of the approle method of a real Vault and of envrund's, which
// answer alike in status and fields, and to who signs in in words; where they do not,
// testdata/approle_departures.txt says how, and docs/vault-api.md why. go test -update
// writes the file.
func TestAppRoleAsVault(t *testing.T) {
	t.Parallel()
	vault := hashivault.Start(t)
	own := new(hashivault.Server)
	own.Addr, own.Token = devServer(t)
	for _, s := range []*hashivault.Server{vault, own} {
		ask(t, s, "POST", "sys/auth/approle", map[string]any{"type": "approle"})
		for _, p := range []string{"dev", "list"} {
			ask(t, s, "PUT", "sys/policies/acl/"+p, map[string]any{"policy": `path "secret/*" { capabilities = ["read"] }`})
		}
	}
	asVault(t, vault, own, "approle", nil, approleSteps())
}
