package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"envrun/vault/vaulttest/hashivault"
	"envrun/vault/vaulttest/kubernetes"
)

// The same for pods: Vault's own plugin and envrund ask one real cluster of them.
func TestKubernetesAsVault(t *testing.T) {
	t.Parallel()
	c := kubernetes.Start(t)
	vault := hashivault.Start(t, "-dev-plugin-dir="+filepath.Join(os.Getenv(kubernetes.Variable), "plugins"))
	own := new(hashivault.Server)
	own.Addr, own.Token = devServer(t)
	ask(t, vault, "POST", "sys/auth/kubernetes", map[string]any{"type": "vault-plugin-auth-kubernetes"})
	ask(t, own, "POST", "sys/auth/kubernetes", map[string]any{"type": "kubernetes"})
	for _, s := range []*hashivault.Server{vault, own} {
		ask(t, s, "PUT", "sys/policies/acl/dev", map[string]any{"policy": `path "secret/*" { capabilities = ["read"] }`})
	}
	const audience = "https://secrets.example.com"
	known := map[string]string{"host": c.Host, "may": c.Reviewer(t, "reviewer", true), "may_not": c.Reviewer(t, "another", false)}
	ca, err := json.Marshal(c.CA)
	if err != nil {
		t.Fatal(err)
	}
	known["ca"] = string(ca)
	for _, namespace := range []string{"payments", "staging"} {
		c.Namespace(t, namespace)
		for _, account := range []string{"api", "web"} {
			c.Account(t, namespace, account)
			known[namespace+"_"+account] = c.Token(t, namespace, account, audience, "", "")
		}
	}
	known["elsewhere"] = c.Token(t, "payments", "api", "https://vault.example.dev", "", "")
	known["for_the_cluster"] = c.Token(t, "payments", "api", "", "", "")
	known["expired"] = c.Shifted(t, known["payments_api"], -time.Hour)
	known["gone"] = c.Token(t, "payments", "api", audience, "api-1", c.Pod(t, "payments", "api-1", "api"))
	c.DeletePod(t, "payments", "api-1")
	asVault(t, vault, own, "kubernetes", known, kubernetesSteps(c))
}

func kubernetesSteps(c *kubernetes.Cluster) []step {
	config := func(reviewer string) string {
		return `{"kubernetes_host":"{host}","kubernetes_ca_cert":{ca},"token_reviewer_jwt":"{` + reviewer + `}","disable_local_ca_jwt":true}`
	}
	login := func(name, role, jwt string) step {
		return step{name: name, method: "POST", path: "login", body: `{"role":"` + role + `","jwt":"` + jwt + `"}`, as: "nobody", keep: "client_token"}
	}
	const role = `{"bound_service_account_names":["api"],"bound_service_account_namespaces":["payments"],"audience":"https://secrets.example.com",`
	return []step{
		{name: "no configuration", method: "GET", path: "config"},
		login("login without a configuration", "api", "{payments_api}"),
		{name: "configure", method: "POST", path: "config", body: config("may")},
		{name: "configuration", method: "GET", path: "config"},
		{name: "configure nothing", method: "POST", path: "config", body: `{}`},
		{name: "configure without a reviewer", method: "POST", path: "config", body: `{"kubernetes_host":"{host}","kubernetes_ca_cert":{ca},"disable_local_ca_jwt":true}`},
		{name: "configure with a certificate that is none", method: "POST", path: "config", body: `{"kubernetes_host":"{host}","kubernetes_ca_cert":"x","token_reviewer_jwt":"{may}","disable_local_ca_jwt":true}`},
		{name: "configure again", method: "POST", path: "config", body: config("may")},
		{name: "no roles", method: "LIST", path: "role"},
		{name: "no such role", method: "GET", path: "role/api"},
		{name: "delete no role", method: "DELETE", path: "role/api"},
		login("login to no role", "api", "{payments_api}"),
		{name: "make", method: "POST", path: "role/api", body: role + `"token_policies":["dev"],"token_ttl":"10m","token_max_ttl":"1h","token_bound_cidrs":["127.0.0.0/8"],"alias_name_source":"serviceaccount_uid"}`},
		{name: "read", method: "GET", path: "role/api"},
		{name: "roles", method: "LIST", path: "role"},
		{name: "made without names", method: "POST", path: "role/bad", body: `{"bound_service_account_namespaces":["payments"],"audience":"x"}`},
		{name: "made without namespaces", method: "POST", path: "role/bad", body: `{"bound_service_account_names":["api"],"audience":"x"}`},
		{name: "made for everybody", method: "POST", path: "role/bad", body: `{"bound_service_account_names":"*","bound_service_account_namespaces":"*","audience":"x"}`},
		{name: "made with a pattern", method: "POST", path: "role/pattern", body: `{"bound_service_account_names":"ap*","bound_service_account_namespaces":"payments","audience":"x"}`},
		{name: "made without an audience", method: "POST", path: "role/wide", body: `{"bound_service_account_names":"api","bound_service_account_namespaces":"payments"}`},
		{name: "made with a selector", method: "POST", path: "role/selector", body: `{"bound_service_account_names":"api","bound_service_account_namespace_selector":"{\"matchLabels\":{\"a\":\"b\"}}","audience":"x"}`},
		{name: "made with an alias that is none", method: "POST", path: "role/bad", body: role + `"alias_name_source":"nope"}`},
		{name: "made by name", method: "POST", path: "role/named", body: role + `"alias_name_source":"serviceaccount_name"}`},
		{name: "made for the policy root", method: "POST", path: "role/root", body: role + `"token_policies":"root"}`},
		{name: "made with max below ttl", method: "POST", path: "role/bad", body: role + `"token_ttl":"2h","token_max_ttl":"1h"}`},

		login("login", "api", "{payments_api}"),
		{name: "itself", method: "GET", path: "/auth/token/lookup-self", as: "client_token"},
		{name: "renew", method: "POST", path: "/auth/token/renew-self", as: "client_token"},
		login("login to a role in capitals", "API", "{payments_api}"),
		login("login by name", "named", "{payments_api}"),
		{name: "itself by name", method: "GET", path: "/auth/token/lookup-self", as: "client_token"},
		login("login from another namespace", "api", "{staging_api}"),
		login("login as another account", "api", "{payments_web}"),
		login("login with a token for elsewhere", "api", "{elsewhere}"),
		login("login with one for the cluster", "api", "{for_the_cluster}"),
		login("login with one that has expired", "api", "{expired}"),
		login("login of a pod that is gone", "api", "{gone}"),
		login("login with the reviewer's", "api", "{may}"),
		login("login with half a token", "api", "e30.e30"),
		login("login with no JWT", "api", "x"),
		login("login without a token", "api", ""),
		login("login without a role", "", "{payments_api}"),

		{name: "change the role", method: "POST", path: "role/api", body: role + `"token_policies":["dev"]}`},
		{name: "read what was changed", method: "GET", path: "role/api"},
		{name: "configure another reviewer", method: "POST", path: "config", body: config("may_not")},
		login("login while the reviewer may not ask", "api", "{payments_api}"),
		{name: "configure the first one", method: "POST", path: "config", body: config("may")},
		{name: "login while the cluster is down", method: "POST", path: "login", body: `{"role":"api","jwt":"{payments_api}"}`, as: "nobody", before: c.Stop},
		{name: "delete", method: "DELETE", path: "role/api"},
		{name: "read what was deleted", method: "GET", path: "role/api"},
	}
}
