package server_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// A cluster answers TokenReviews as an API server does.
type cluster struct {
	*httptest.Server
	accounts map[string]account // by token
	instead  atomic.Pointer[http.HandlerFunc]
	asked    atomic.Int64
}

type account struct {
	user, uid string
	audiences []string
}

const reviewer = "rrrr.eviewer.secret"

func newCluster(t testing.TB) *cluster {
	c := &cluster{accounts: map[string]account{}}
	c.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.asked.Add(1)
		if h := c.instead.Load(); h != nil {
			(*h)(w, r)
			return
		}
		var in struct {
			Spec struct {
				Token     string
				Audiences []string
			}
		}
		if r.Method != "POST" || r.URL.Path != "/apis/authentication.k8s.io/v1/tokenreviews" || json.NewDecoder(r.Body).Decode(&in) != nil || len(in.Spec.Audiences) != 1 {
			w.WriteHeader(404)
			return
		}
		if r.Header.Get("Authorization") != "Bearer "+reviewer {
			w.WriteHeader(401)
			return
		}
		status := map[string]any{"authenticated": false, "error": "invalid bearer token"}
		if a, ok := c.accounts[in.Spec.Token]; ok && slices.Contains(a.audiences, in.Spec.Audiences[0]) {
			status = map[string]any{"authenticated": true, "audiences": in.Spec.Audiences, "user": map[string]any{"username": a.user, "uid": a.uid}}
		}
		w.WriteHeader(201)
		_ = json.NewEncoder(w).Encode(map[string]any{"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status})
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *cluster) ca() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw}))
}

func newKube(t *testing.T) (*world, *cluster) {
	w := newWorld(t)
	return w, w.addKube()
}

// addKube adds the method, with a cluster and a role.
func (w *world) addKube() *cluster {
	w.Helper()
	c := newCluster(w.TB)
	w.must(204, "root", "POST", "sys/auth/kubernetes", `{"type":"kubernetes"}`)
	w.kubeConfig(204, c.URL, c.ca(), reviewer)
	w.must(204, "root", "POST", "auth/kubernetes/role/api", `{"bound_service_account_names":"api","bound_service_account_namespaces":["payments"],"audience":"envrun","token_policies":"dev","token_ttl":"20m"}`)
	return c
}

func (w *world) kubeConfig(status int, host, ca, reviewer string) said {
	w.Helper()
	body, _ := json.Marshal(map[string]any{"kubernetes_host": host, "kubernetes_ca_cert": ca, "token_reviewer_jwt": reviewer, "disable_local_ca_jwt": true})
	return w.must(status, "root", "POST", "auth/kubernetes/config", string(body))
}

func (w *world) kubeLogin(role, jwt string) said {
	return w.ask("", "POST", "auth/kubernetes/login", fmt.Sprintf(`{"role":%q,"jwt":%q}`, role, jwt))
}

// A40, over HTTP: what a pod has to be, and that each refusal is the same.
func TestKubernetes(t *testing.T) {
	w, c := newKube(t)
	c.accounts["good.good.good"] = account{"system:serviceaccount:payments:api", "uid-1", []string{"envrun"}}
	c.accounts["default.default.default"] = account{"system:serviceaccount:payments:api", "uid-1", []string{"https://kubernetes.default.svc"}}
	c.accounts["other.ns.x"] = account{"system:serviceaccount:staging:api", "uid-2", []string{"envrun"}}
	c.accounts["other.name.x"] = account{"system:serviceaccount:payments:web", "uid-3", []string{"envrun"}}
	c.accounts["a.person.x"] = account{"alice", "uid-4", []string{"envrun"}}
	c.accounts["odd.account.x"] = account{"system:serviceaccount:payments:api:x", "uid-5", []string{"envrun"}}
	c.accounts["no.uid.x"] = account{"system:serviceaccount:payments:api", "", []string{"envrun"}}
	s := w.kubeLogin("API", "good.good.good")
	if s.status != 200 {
		t.Fatal(s.status, s.raw)
	}
	info := w.must(200, s.token(), "GET", "auth/token/lookup-self", "").data()
	if got := fmt.Sprintf("%v %v %v", info["display_name"], info["policies"], info["meta"]); got != "kubernetes-payments-api [default dev] map[role:api service_account_name:api service_account_namespace:payments service_account_secret_name: service_account_uid:uid-1]" {
		t.Error(got)
	}
	for _, x := range []struct{ name, role, jwt, reason string }{
		{"default audience", "api", "default.default.default", "vouch"},
		{"other namespace, same name", "api", "other.ns.x", "not one of the role"},
		{"other name", "api", "other.name.x", "not one of the role"},
		{"a person", "api", "a.person.x", "service account"},
		{"an odd name", "api", "odd.account.x", "service account"},
		{"without a uid", "api", "no.uid.x", "service account"},
		{"deleted pod", "api", "gone.gone.gone", "vouch"},
		{"no such role", "nobody", "good.good.good", "vouch"},
		{"no JWT", "api", "good.good", "compact"},
		{"spaces", "api", "good.good.go od", "compact"},
	} {
		s := w.kubeLogin(x.role, x.jwt)
		if s.status != 403 || strings.TrimSpace(s.raw) != `{"errors":["permission denied"]}` {
			t.Errorf("%s: %d %s", x.name, s.status, s.raw)
		}
		all := w.log.all()
		if out := all[len(all)-1]; !strings.Contains(out.Error, x.reason) {
			t.Errorf("%s: the audit log says %q", x.name, out.Error)
		}
	}
	// An account that was made again is somebody else.
	was := info["entity_id"]
	c.accounts["good.good.good"] = account{"system:serviceaccount:payments:api", "uid-9", []string{"envrun"}}
	again := w.kubeLogin("api", "good.good.good")
	if again.status != 200 || again.body["auth"].(map[string]any)["entity_id"] == was {
		t.Errorf("%d %s", again.status, again.raw)
	}
	// Renewal: the same cluster with another reviewer, then a role that was changed.
	if s := w.kubeConfig(200, c.URL, c.ca(), "an.other.reviewer"); !strings.Contains(s.raw, "the cluster cannot be asked now: it does not let token_reviewer_jwt review tokens") {
		t.Errorf("a reviewer that may not: %s", s.raw)
	}
	w.must(200, s.token(), "POST", "auth/token/renew-self", "")
	w.must(204, "root", "POST", "auth/kubernetes/role/api", `{"bound_service_account_names":"api","bound_service_account_namespaces":"payments","audience":"envrun","token_policies":"dev"}`)
	w.must(403, s.token(), "POST", "auth/token/renew-self", "")
	if s := w.kubeLogin("api", "good.good.good"); s.status != 503 {
		t.Errorf("a reviewer that may not: %d %s", s.status, s.raw)
	}
	conf := w.must(200, "root", "GET", "auth/kubernetes/config", "")
	for _, text := range []string{reviewer, "an.other.reviewer", "good.good.good"} {
		if strings.Contains(w.log.text()+conf.raw, text) {
			t.Errorf("%s was written down", text)
		}
	}
	w.must(204, "root", "DELETE", "sys/auth/kubernetes", "")
	w.must(403, s.token(), "GET", "auth/token/lookup-self", "")
}

// A cluster that is down, lies, or sends one elsewhere lets nobody in.
func TestKubernetesAway(t *testing.T) {
	w, c := newKube(t)
	elsewhere := atomic.Int64{}
	other := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	says := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status); fmt.Fprint(w, body) }
	}
	const user = `"user":{"username":"system:serviceaccount:payments:api","uid":"u"}`
	for name, x := range map[string]struct {
		h      http.HandlerFunc
		status int
	}{
		"error": {says(500, `{"message":"`+reviewer+`"}`), 503},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		}, 503},
		"HTML":              {says(200, `<html>`), 503},
		"another kind":      {says(200, `{"kind":"Status","status":{"authenticated":true,"audiences":["envrun"],`+user+`}}`), 503},
		"twice":             {says(200, `{"kind":"TokenReview","status":{"authenticated":false},"status":{"authenticated":true,"audiences":["envrun"],`+user+`}}`), 503},
		"huge":              {says(200, `{"kind":"`+strings.Repeat("x", 2<<20)+`"}`), 503},
		"no audiences":      {says(200, `{"kind":"TokenReview","status":{"authenticated":true,`+user+`}}`), 403},
		"another audience":  {says(200, `{"kind":"TokenReview","status":{"authenticated":true,"audiences":["x"],`+user+`}}`), 403},
		"not authenticated": {says(200, `{"kind":"TokenReview","status":{"authenticated":false,"audiences":["envrun"],`+user+`}}`), 403},
	} {
		c.instead.Store(&x.h)
		s := w.kubeLogin("api", "a.b.c")
		if s.status != x.status || s.token() != "" || strings.Contains(s.raw, reviewer) {
			t.Errorf("%s: %d %s", name, s.status, s.raw)
		}
	}
	if elsewhere.Load() != 0 {
		t.Error("a redirect was followed")
	}
	// One that vouches for everybody is not taken for a cluster.
	everybody := says(200, `{"kind":"TokenReview","status":{"authenticated":true,"audiences":["envrun","envrun:no-such-role"],`+user+`}}`)
	c.instead.Store(&everybody)
	if s := w.kubeConfig(400, c.URL, c.ca(), reviewer); !strings.Contains(s.raw, "nobody's") {
		t.Errorf("it vouches for everybody: %s", s.raw)
	}
	c.Close()
	if s := w.kubeLogin("api", "a.b.c"); s.status != 503 {
		t.Errorf("down: %d %s", s.status, s.raw)
	}
	if s := w.kubeConfig(200, c.URL, c.ca(), reviewer); !strings.Contains(s.raw, "the cluster cannot be asked now: it does not answer") {
		t.Errorf("configured while it is down: %s", s.raw)
	}
}

// A cluster that takes requests and does not answer holds up a number of sign-ins, and
// nothing else: neither other requests nor the pods of another cluster.
func TestKubernetesHangs(t *testing.T) {
	const room = 64
	w, c := newKube(t)
	begun, hold := make(chan struct{}, 2*room), make(chan struct{})
	hang := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-hold
		fmt.Fprint(w, `{"kind":"TokenReview","status":{"authenticated":false}}`)
	})
	c.instead.Store(&hang)
	var wait sync.WaitGroup
	for range room {
		wait.Go(func() {
			if s := w.kubeLogin("api", "a.b.c"); s.status != 403 {
				t.Errorf("one that was asked of: %d %s", s.status, s.raw)
			}
		})
	}
	for range room {
		<-begun
	}
	if s := w.kubeLogin("api", "a.b.c"); s.status != 503 || len(begun) != 0 {
		t.Errorf("one more: %d %s", s.status, s.raw)
	}
	w.must(200, "root", "GET", "auth/token/lookup-self", "")
	other := newCluster(t)
	other.accounts["good.good.good"] = account{"system:serviceaccount:payments:api", "uid-1", []string{"envrun"}}
	w.must(204, "root", "POST", "sys/auth/second", `{"type":"kubernetes"}`)
	w.must(204, "root", "POST", "auth/second/config", asJSON(map[string]string{"kubernetes_host": other.URL, "kubernetes_ca_cert": other.ca(), "token_reviewer_jwt": reviewer}))
	w.must(204, "root", "POST", "auth/second/role/api", `{"bound_service_account_names":"api","bound_service_account_namespaces":"payments","audience":"envrun"}`)
	w.must(200, "", "POST", "auth/second/login", `{"role":"api","jwt":"good.good.good"}`)
	close(hold)
	wait.Wait()
	c.instead.Store(nil)
	c.accounts["good.good.good"] = other.accounts["good.good.good"]
	if s := w.kubeLogin("api", "good.good.good"); s.status != 200 {
		t.Errorf("after it answered: %d %s", s.status, s.raw)
	}
}

func TestKubernetesBodies(t *testing.T) {
	w, c := newKube(t)
	w.kubeConfig(400, "http://10.0.0.1", c.ca(), reviewer)
	w.kubeConfig(400, "", c.ca(), reviewer)
	w.kubeConfig(400, c.URL, "", reviewer)
	w.kubeConfig(400, c.URL, "x", reviewer)
	w.kubeConfig(400, c.URL, c.ca(), "")
	w.kubeConfig(400, c.URL, c.ca(), "a\nb")
	for body, want := range map[string]string{
		`{}`: "audience",
		`{"bound_service_account_names":"a","bound_service_account_namespaces":"b"}`:                                  "audience",
		`{"bound_service_account_names":"a","audience":"x"}`:                                                          "must be set",
		`{"bound_service_account_names":"*","bound_service_account_namespaces":"*","audience":"x"}`:                   "any pod",
		`{"bound_service_account_names":"a*","bound_service_account_namespaces":"b","audience":"x"}`:                  "named whole",
		`{"bound_service_account_names":"a","bound_service_account_namespaces":"b","audience":"x","policies":"root"}`: "nobody signs in",
	} {
		if s := w.must(400, "root", "POST", "auth/kubernetes/role/bad", body); !strings.Contains(s.raw, want) {
			t.Errorf("%s: %s, want %q", body, s.raw, want)
		}
	}
	if s := w.must(200, "root", "POST", "auth/kubernetes/role/wide", `{"bound_service_account_names":"*","bound_service_account_namespaces":"b","audience":"x"}`); !strings.Contains(s.raw, "every service account") {
		t.Errorf("no warning: %s", s.raw)
	}
	w.must(400, "", "POST", "auth/kubernetes/login", `{"role":"api"}`)
}
