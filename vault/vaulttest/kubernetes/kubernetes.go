// Package kubernetes starts the API server of a real cluster, for tests that sign
// pods in: with role-based access, service accounts, and tokens that end with the pod
// or the account that they are for. Nothing runs in its pods.
//
// It refuses to be needed: where there is none the test is skipped, with the command
// that builds one. The cluster listens on the loopback address alone, and ends with
// the test.
package kubernetes

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"envrun/auth/oidc/oidctest"
	"envrun/vault/vaulttest/child"
)

// Variable names the folder of the programs in the environment of the tests. .ci/test
// sets it.
const Variable = "ENVRUN_TEST_KUBE"

// A Cluster is one whose API server runs.
type Cluster struct {
	Host   string // "https://127.0.0.1:12345"
	Issuer string // of its tokens, another name of the same: "https://localhost:12345"
	CA     string // of its certificate, in PEM
	Config string // a file with which kubectl is its administrator

	key    *ecdsa.PrivateKey // which signs the tokens of service accounts
	admin  string
	client *http.Client
	start  func() *child.Process
	api    *child.Process
}

// Start starts a cluster and ends it with the test. It skips the test in short mode
// and where there is none to start.
func Start(t testing.TB) *Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a Kubernetes API server: not in short mode")
	}
	programs := os.Getenv(Variable)
	if programs == "" {
		t.Skipf("no Kubernetes to ask: %s=$(.ci/kube) go test …", Variable)
	}
	for range 5 { // another program may take a port meanwhile
		if c := start(t, programs); c != nil {
			return c
		}
	}
	t.Fatal("the cluster did not start")
	return nil
}

func start(t testing.TB, programs string) *Cluster {
	dir := t.TempDir()
	file := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	key := newKey(t)
	keyFile := file("accounts.key", keyPEM(t, key))
	addr, store, peers := child.Address(t), "http://"+child.Address(t), "http://"+child.Address(t)
	own := newKey(t)
	ca := certificate(t, own)
	caFile, ownFile := file("ca.pem", ca), file("api.key", keyPEM(t, own))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(ca))
	c := &Cluster{Host: "https://" + addr, CA: ca, key: key, admin: rand.Text(),
		client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}}
	tokens := file("tokens.csv", c.admin+",admin,admin,system:masters\n")
	ip, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	c.Issuer = "https://localhost:" + port
	etcd := child.Start(t, dir, filepath.Join(programs, "etcd"), "--data-dir=etcd", "--unsafe-no-fsync", "--log-level=fatal",
		"--listen-client-urls="+store, "--advertise-client-urls="+store,
		"--listen-peer-urls="+peers, "--initial-advertise-peer-urls="+peers, "--initial-cluster=default="+peers)
	c.start = func() *child.Process {
		return child.Start(t, dir, filepath.Join(programs, "kube-apiserver"), "--etcd-servers="+store, "--tls-cert-file="+caFile, "--tls-private-key-file="+ownFile,
			"--bind-address="+ip, "--advertise-address="+ip, "--secure-port="+port, "--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.0.0.0/24",
			"--token-auth-file="+tokens, "--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount",
			"--service-account-issuer="+c.Issuer,
			"--service-account-key-file="+keyFile, "--service-account-signing-key-file="+keyFile)
	}
	c.api = c.start()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); {
		select {
		case <-etcd.Ended:
			return nil
		case <-c.api.Ended:
			return nil
		case <-time.After(100 * time.Millisecond):
		}
		if c.ready() {
			c.Config = file("kubeconfig", fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"test",
				"clusters":[{"name":"test","cluster":{"server":%q,"certificate-authority":%q}}],
				"users":[{"name":"admin","user":{"token":%q}}],
				"contexts":[{"name":"test","context":{"cluster":"test","user":"admin"}}]}`, c.Host, caFile, c.admin))
			return c
		}
	}
	t.Fatal("the API server was not ready within two minutes")
	return nil
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func keyPEM(t testing.TB, key *ecdsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}

// certificate is one of this machine, signed by itself.
func certificate(t testing.TB, key *ecdsa.PrivateKey) string {
	t.Helper()
	of := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, of, of, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// ready says whether it is: that it takes the administrator's token says that it is
// this one.
func (c *Cluster) ready() bool {
	for _, path := range []string{"/readyz", "/api/v1/namespaces/kube-system"} {
		if status, _, err := c.call(c.admin, "GET", path, nil); err != nil || status != http.StatusOK {
			return false
		}
	}
	return true
}

// Stop ends the API server. What it knew it knows again after Restart.
func (c *Cluster) Stop() {
	c.api.Stop()
	c.client.CloseIdleConnections()
}

// Restart starts it after Stop, where it was.
func (c *Cluster) Restart(t testing.TB) {
	t.Helper()
	c.api = c.start()
	for deadline := time.Now().Add(2 * time.Minute); !c.ready(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the API server was not ready within two minutes")
		}
	}
}

// Do sends a request as administrator, and returns the decoded answer. The test fails
// if it is not one of success.
func (c *Cluster) Do(t testing.TB, method, path string, body any) map[string]any {
	t.Helper()
	status, answer, err := c.call(c.admin, method, path, body)
	if err != nil || status >= 300 {
		t.Fatalf("%s %s: %d %v %v", method, path, status, answer["message"], err)
	}
	return answer
}

func (c *Cluster) call(token, method, path string, body any) (int, map[string]any, error) {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return 0, nil, err
		}
	}
	req, err := http.NewRequest(method, c.Host+path, bytes.NewReader(text))
	if err != nil {
		return 0, nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	text, err = io.ReadAll(res.Body)
	if err != nil {
		return res.StatusCode, nil, err
	}
	var answer map[string]any
	if err := json.Unmarshal(text, &answer); err != nil && path != "/readyz" {
		return res.StatusCode, nil, errors.New("the answer is no JSON object")
	}
	return res.StatusCode, answer, nil
}

func named(name string) map[string]any {
	return map[string]any{"metadata": map[string]any{"name": name}}
}

// Namespace makes a namespace.
func (c *Cluster) Namespace(t testing.TB, name string) {
	t.Helper()
	c.Do(t, "POST", "/api/v1/namespaces", named(name))
}

func accounts(namespace string) string { return "/api/v1/namespaces/" + namespace + "/serviceaccounts" }

// Account makes a service account in a namespace that is there, and returns its uid.
func (c *Cluster) Account(t testing.TB, namespace, name string) string {
	t.Helper()
	return c.Do(t, "POST", accounts(namespace), named(name))["metadata"].(map[string]any)["uid"].(string)
}

// DeleteAccount deletes one. A token of it that the cluster has not vouched for yet is
// refused from now on.
func (c *Cluster) DeleteAccount(t testing.TB, namespace, name string) {
	t.Helper()
	c.gone(t, func() string { return c.Token(t, namespace, name, "", "", "") }, accounts(namespace)+"/"+name)
}

// gone deletes something and waits until the cluster, which takes a moment to notice,
// refuses a token that it was not asked of before.
func (c *Cluster) gone(t testing.TB, token func() string, path string) {
	t.Helper()
	var tokens []string
	for range 8 {
		tokens = append(tokens, token())
	}
	c.Do(t, "DELETE", path, map[string]any{"gracePeriodSeconds": 0})
	for i, deadline := 0, time.Now().Add(time.Minute); time.Now().Before(deadline); i++ {
		review := c.Do(t, "POST", reviews, map[string]any{"spec": map[string]any{"token": tokens[i%len(tokens)]}})
		if review["status"].(map[string]any)["authenticated"] != true {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("the cluster vouches for a token of what was deleted: %s", path)
}

func pods(namespace string) string { return "/api/v1/namespaces/" + namespace + "/pods" }

// Pod makes a pod of an account, which nothing runs, and returns its uid.
func (c *Cluster) Pod(t testing.TB, namespace, name, account string) string {
	t.Helper()
	pod := named(name)
	pod["spec"] = map[string]any{"serviceAccountName": account, "containers": []any{map[string]any{"name": "c", "image": "none"}}}
	return c.Do(t, "POST", pods(namespace), pod)["metadata"].(map[string]any)["uid"].(string)
}

// DeletePod deletes one at once, as DeleteAccount does.
func (c *Cluster) DeletePod(t testing.TB, namespace, name string) {
	t.Helper()
	pod := c.Do(t, "GET", pods(namespace)+"/"+name, nil)
	account := pod["spec"].(map[string]any)["serviceAccountName"].(string)
	uid := pod["metadata"].(map[string]any)["uid"].(string)
	c.gone(t, func() string { return c.Token(t, namespace, account, "", name, uid) }, pods(namespace)+"/"+name)
}

// Token asks for a token of an account, for an audience and ten minutes, as the
// kubelet does for a pod's projected volume. An audience of "" is the cluster itself.
// With the name of a pod it is bound to that.
func (c *Cluster) Token(t testing.TB, namespace, account, audience, pod, podUID string) string {
	t.Helper()
	spec := map[string]any{"expirationSeconds": 600}
	if audience != "" {
		spec["audiences"] = []string{audience}
	}
	if pod != "" {
		spec["boundObjectRef"] = map[string]any{"kind": "Pod", "apiVersion": "v1", "name": pod, "uid": podUID}
	}
	answer := c.Do(t, "POST", accounts(namespace)+"/"+account+"/token", map[string]any{"spec": spec})
	return answer["status"].(map[string]any)["token"].(string)
}

// bind gives a cluster role to a group or an account.
func (c *Cluster) bind(t testing.TB, role string, subject map[string]any) {
	t.Helper()
	binding := map[string]any{"metadata": map[string]any{"generateName": "test-"}}
	binding["roleRef"] = map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
	binding["subjects"] = []any{subject}
	c.Do(t, "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
}

// until waits for the cluster to go by a new binding, which takes it a moment.
func (c *Cluster) until(t testing.TB, token, method, path string, body any) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		status, answer, err := c.call(token, method, path, body)
		if err == nil && status < 300 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s %s: %d %v %v", method, path, status, answer["message"], err)
		}
	}
}

// Publish lets everybody read which keys the cluster signs tokens with.
func (c *Cluster) Publish(t testing.TB) {
	t.Helper()
	c.bind(t, "system:service-account-issuer-discovery", map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:unauthenticated"})
	c.until(t, "", "GET", "/.well-known/openid-configuration", nil)
}

// Keys are those that the cluster signs tokens with, as a JSON Web Key Set.
func (c *Cluster) Keys(t testing.TB) string {
	t.Helper()
	text, err := json.Marshal(c.Do(t, "GET", "/openid/v1/jwks", nil))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// PublicKey is the one of them, in PEM.
func (c *Cluster) PublicKey(t testing.TB) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&c.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

const reviews = "/apis/authentication.k8s.io/v1/tokenreviews"

// Reviewer makes an account in kube-system, with or without the right to review
// tokens, and returns a token of it for the cluster.
func (c *Cluster) Reviewer(t testing.TB, name string, may bool) string {
	t.Helper()
	c.Account(t, "kube-system", name)
	token := c.Token(t, "kube-system", name, "", "", "")
	if may {
		c.bind(t, "system:auth-delegator", map[string]any{"kind": "ServiceAccount", "name": name, "namespace": "kube-system"})
		c.until(t, token, "POST", reviews, map[string]any{"spec": map[string]any{"token": token}})
	}
	return token
}

// Claims are those of a token.
func Claims(t testing.TB, token string) oidctest.Claims {
	t.Helper()
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		t.Fatal(err)
	}
	claims := oidctest.Claims{}
	if err := json.Unmarshal(text, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// Shifted is a token with its times moved, signed by the cluster's own key: nobody
// has to wait for it to end.
func (c *Cluster) Shifted(t testing.TB, token string, by time.Duration) string {
	t.Helper()
	claims := Claims(t, token)
	for _, name := range []string{"iat", "nbf", "exp"} {
		claims[name] = int64(claims[name].(float64)) + int64(by/time.Second)
	}
	return oidctest.SignKey("ES256", c.key, "", claims.JSON(), nil)
}
