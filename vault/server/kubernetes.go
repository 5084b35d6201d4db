package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"envrun/auth/oidc"
	"envrun/auth/strictjson"
	"envrun/vault/audit"
	"envrun/vault/guard"
	"envrun/vault/wire"
)

const kindKubeRole = "kubernetes-role" // by the mount's id and the role's name

// Bounds of asking a cluster.
const (
	reviewTime   = 10 * time.Second
	maxReview    = 1 << 20 // bytes of an answer
	maxReviews   = 64      // of one cluster at a time: one that hangs holds up nobody else
	noSuchRole   = "envrun:no-such-role"
	serviceUsers = "system:serviceaccount:"
)

// kubeEngine is signing in with the token of a Kubernetes service account, of which
// the cluster itself is asked each time (auth §3.6 b): it knows which pods and
// accounts are gone. By the cluster's keys alone the jwt method does it.
type kubeEngine struct {
	signIns
	db      guard.DB[Tx]
	logger  *slog.Logger
	reviews *reviews
}

// reviews are those that are under way, by the id of the mount.
type reviews struct {
	mu sync.Mutex
	by map[string]int
}

// begin says whether there is room for one more, which ends then.
func (r *reviews) begin(mount string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.by[mount] >= maxReviews {
		return false
	}
	r.by[mount]++
	return true
}

func (r *reviews) end(mount string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.by[mount]--; r.by[mount] == 0 {
		delete(r.by, mount)
	}
}

// A kubeConfig is the cluster of a mount. It is a part of the mount's record.
type kubeConfig struct {
	Stamp    string `json:"stamp"`
	Host     string `json:"host"`
	CA       string `json:"ca"`
	Reviewer string `json:"reviewer"` // the token with which the cluster is asked; never shown
}

// A kubeRole is a role as it is kept.
type kubeRole struct {
	Names      []string    `json:"names"`
	Namespaces []string    `json:"namespaces"`
	Audience   string      `json:"audience"`
	ByName     bool        `json:"by_name,omitempty"` // the alias is the account's name, not its uid
	Token      tokenParams `json:"token"`
	Stamp      string      `json:"stamp"`
}

func (k kubeEngine) create(*call, *mount) error { return nil }

func (k kubeEngine) drop(c *call, m *mount) error { return k.roles(m).drop(c.Tx()) }

func (k kubeEngine) roles(m *mount) rolesOf { return rolesOf{k.store, kindKubeRole, m} }

func (k kubeEngine) stamp(tx Tx, m *mount, role string) (string, bool, error) {
	var r kubeRole
	there, err := k.roles(m).read(tx, role, &r)
	if m.Kube == nil {
		return "", false, err
	}
	return r.Stamp + "/" + m.Kube.Stamp, there, err
}

func (k kubeEngine) find(req *guard.Request, m *mount, rest string) (action, error) {
	return kubeMount{k, m}.area().find(req, rest)
}

// kubeMount is one mount of the method.
type kubeMount struct {
	kubeEngine
	m *mount
}

func (k kubeMount) area() area {
	role := func(_ *guard.Request, at []string) audit.Data {
		return audit.Data{Role: cut(strings.ToLower(at[0]), 128)}
	}
	login := func(req *guard.Request, _ []string) audit.Data {
		name, _ := req.Params["role"].(string)
		return audit.Data{Role: cut(strings.ToLower(name), 128), Type: "kubernetes"}
	}
	return area{
		{path: "login", update: k.login, open: true, prepare: k.review, note: login},
		{path: "config", read: k.readConfig, update: k.writeConfig, prepare: k.checkConfig},
		{path: "role", list: k.list},
		{path: "role/{role}", read: k.readRole, update: k.writeRole, remove: k.removeRole, exists: k.hasRole, note: role},
	}
}

// A podRefusal is a pod that is not let in: 403 to it, as at Vault.
type podRefusal struct{ *oidc.Refusal }

func (r podRefusal) Unwrap() error { return r.Refusal }

func notIn(reason oidc.Reason, detail string) error {
	return podRefusal{&oidc.Refusal{Reason: reason, Detail: detail}}
}

// A reviewed is what the cluster says of a token.
type reviewed struct {
	namespace, name, uid string

	role     string
	stamp    string // of the role and the cluster that it was asked for
	warnings []string
}

// review asks the cluster who holds the token of a sign-in, and for whom it was made.
// It is asked for a role that is not there, too, which takes as long.
func (k kubeMount) review(ctx context.Context, req *guard.Request) (any, error) {
	in, warnings, err := bodyOf[struct {
		Role string     `json:"role"`
		JWT  wire.Token `json:"jwt"`
	}](req)
	switch {
	case err != nil:
		return nil, err
	case k.m.Kube == nil:
		return nil, bad("could not load configuration")
	case in.JWT == "":
		return nil, bad("missing jwt")
	case in.Role == "":
		return nil, bad("missing role")
	case len(in.JWT) > oidc.MaxToken || strings.Count(string(in.JWT), ".") != 2 || strings.ContainsFunc(string(in.JWT), notCompact):
		return nil, notIn(oidc.ReasonForm, "it is not a compact JWS within the bounds")
	}
	v := &reviewed{role: strings.ToLower(in.Role), warnings: warnings}
	var r kubeRole
	there := false
	if err := k.db.Read(ctx, func(tx Tx) (err error) {
		there, err = k.roles(k.m).read(tx, v.role, &r)
		return err
	}); err != nil {
		return nil, err
	}
	audience := r.Audience
	if !there {
		audience = noSuchRole
	}
	v.stamp = r.Stamp + "/" + k.m.Kube.Stamp
	if err := k.ask(ctx, k.m.Kube, string(in.JWT), audience, v); err != nil {
		return nil, err
	}
	if !there {
		return nil, notIn(oidc.ReasonRole, "there is none of that name")
	}
	return v, nil
}

func notCompact(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.'
}

// ask makes a TokenReview. What the cluster cannot be asked is refused: nobody is let
// in on what it said before. No error holds a token.
func (k kubeMount) ask(ctx context.Context, conf *kubeConfig, jwt, audience string, v *reviewed) error {
	out := func(why string) error {
		k.logger.Warn("a cluster could not be asked of a token", "mount", k.m.Path, "why", why)
		return &oidc.Refusal{Reason: oidc.ReasonClusterOut, Detail: why}
	}
	if !k.reviews.begin(k.m.UUID) {
		return out("it is asked of many tokens, and has not answered yet")
	}
	defer k.reviews.end(k.m.UUID)
	client, err := conf.client()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	text, err := json.Marshal(map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
		"spec": map[string]any{"token": jwt, "audiences": []string{audience}},
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, reviewTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, conf.Host+"/apis/authentication.k8s.io/v1/tokenreviews", bytes.NewReader(text))
	if err != nil {
		return out("its address is not of its form")
	}
	req.Header.Set("Authorization", "Bearer "+conf.Reviewer)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return out("it does not answer, or is not the one of kubernetes_ca_cert")
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK, http.StatusCreated:
	case http.StatusUnauthorized, http.StatusForbidden:
		return out("it does not let token_reviewer_jwt review tokens (the cluster role system:auth-delegator does)")
	default:
		return out("it answers with an error or a redirect")
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxReview+1))
	if err != nil || len(answer) > maxReview {
		return out("its answer ends early, or does not end")
	}
	var review struct {
		Kind   string `json:"kind"`
		Status struct {
			Authenticated bool     `json:"authenticated"`
			Audiences     []string `json:"audiences"`
			User          struct {
				Username string `json:"username"`
				UID      string `json:"uid"`
			} `json:"user"`
		} `json:"status"`
	}
	if _, err := strictjson.Decode(answer, strictjson.Limits{Depth: 32, Values: 16 << 10}); err != nil || json.Unmarshal(answer, &review) != nil || review.Kind != "TokenReview" {
		return out("its answer is no TokenReview")
	}
	st := review.Status
	// An API server that knows nothing of audiences says none: the token may be for anybody.
	switch {
	case !st.Authenticated:
		return notIn(oidc.ReasonSignature, "the cluster does not vouch for the token, for the audience of the role")
	case !slices.Contains(st.Audiences, audience):
		return notIn(oidc.ReasonAudience, "the cluster does not say that the token is for the audience of the role")
	}
	account, ok := strings.CutPrefix(st.User.Username, serviceUsers)
	ns, name, two := strings.Cut(account, ":")
	if !ok || !two || ns == "" || name == "" || strings.Contains(name, ":") || st.User.UID == "" {
		return notIn(oidc.ReasonSubject, "it is not that of a service account")
	}
	v.namespace, v.name, v.uid = ns, name, st.User.UID
	return nil
}

// client talks to the cluster and to nobody else.
func (c *kubeConfig) client() (*http.Client, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(c.CA)) {
		return nil, bad("'kubernetes_ca_cert' is no certificate in PEM")
	}
	return &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxResponseHeaderBytes: 64 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

func (k kubeMount) login(c *call, _ []string) (*answer, error) {
	v := c.Prepared().(*reviewed)
	var r kubeRole
	there, err := k.roles(k.m).read(c.Tx(), v.role, &r)
	if err != nil {
		return nil, err
	}
	if !there || k.m.Kube == nil || v.stamp != r.Stamp+"/"+k.m.Kube.Stamp {
		return nil, problem(http.StatusServiceUnavailable, "the way to sign in was changed meanwhile; try again")
	}
	if !oneOf(r.Namespaces, v.namespace) || !oneOf(r.Names, v.name) {
		return nil, notIn(oidc.ReasonClaims, "the service account or its namespace is not one of the role")
	}
	alias := v.uid
	if r.ByName {
		alias = v.namespace + "/" + v.name
	}
	a, err := k.admit(c, k.m, visitor{
		name: v.namespace + "-" + v.name, alias: alias, role: v.role, stamp: v.stamp, params: &r.Token,
		meta: map[string]string{
			"service_account_name": v.name, "service_account_namespace": v.namespace, "service_account_uid": v.uid, "service_account_secret_name": "",
		},
		facts: audit.Data{Role: v.role, Type: "kubernetes", Subject: k.hasher.Hash(serviceUsers + v.namespace + ":" + v.name), TokenID: k.hasher.Hash(v.uid)},
	})
	if err != nil {
		return nil, err
	}
	return warn(a, v.warnings...), nil
}

func oneOf(names []string, name string) bool {
	return slices.Contains(names, "*") || slices.Contains(names, name)
}

// A checkedCluster is a configuration that may be written, and what is wrong with it.
type checkedCluster struct {
	config   *kubeConfig
	warnings []string
}

// nobody is a token that no cluster vouches for: an empty header, empty claims.
const nobody = "e30.e30.e30"

// checkConfig makes a configuration of what was sent, and asks the cluster of a token
// that is nobody's. One that cannot be asked is written all the same, with a warning:
// it may come up later.
func (k kubeMount) checkConfig(ctx context.Context, req *guard.Request) (any, error) {
	in, warnings, err := bodyOf[struct {
		Host     string       `json:"kubernetes_host"`
		CA       string       `json:"kubernetes_ca_cert"`
		Reviewer wire.Token   `json:"token_reviewer_jwt"`
		PEMKeys  wire.Strings `json:"pem_keys"`
		Issuer   string       `json:"issuer"` // the cluster checks it
		Local    wire.Bool    `json:"disable_local_ca_jwt"`
		NoIssuer wire.Bool    `json:"disable_iss_validation"`
		Notes    wire.Bool    `json:"use_annotations_as_alias_metadata"`
	}](req)
	if err != nil {
		return nil, err
	}
	at, err := url.Parse(in.Host)
	switch {
	case err != nil || at.Scheme != "https" || at.Host == "" || at.User != nil || at.RawQuery != "" || at.Fragment != "" || len(in.Host) > 1024:
		return nil, bad("'kubernetes_host' is the https address of the cluster's API server")
	case in.CA == "":
		return nil, bad("'kubernetes_ca_cert' must be set: the server trusts no other certificate for the cluster")
	case in.Reviewer == "":
		return nil, bad("'token_reviewer_jwt' must be set: the token of a service account that may review tokens (system:auth-delegator)")
	case len(in.CA) > 64<<10 || len(in.Reviewer) > oidc.MaxToken || strings.ContainsFunc(string(in.Reviewer), notCompact):
		return nil, bad("the certificate or 'token_reviewer_jwt' is not of its form")
	case len(in.PEMKeys) > 0:
		return nil, bad("the cluster is asked of each token; to go by its keys alone, enable the type jwt and give it 'jwt_validation_pubkeys'")
	case bool(in.Notes):
		return nil, bad("annotations are not read: 'use_annotations_as_alias_metadata' is not supported")
	}
	conf := &kubeConfig{Host: strings.TrimSuffix(in.Host, "/"), CA: in.CA, Reviewer: string(in.Reviewer)}
	out := (*oidc.Refusal)(nil)
	switch err := k.ask(ctx, conf, nobody, noSuchRole, new(reviewed)); {
	case err == nil:
		return nil, bad("what is at 'kubernetes_host' vouches for a token that is nobody's: it is no API server")
	case !errors.As(err, &out):
		return nil, err
	case out.Reason == oidc.ReasonClusterOut:
		warnings = append(warnings, "the cluster cannot be asked now: "+out.Detail)
	}
	return &checkedCluster{conf, warnings}, nil
}

func (k kubeMount) writeConfig(c *call, _ []string) (*answer, error) {
	in := c.Prepared().(*checkedCluster)
	conf, m := in.config, *k.m
	// Another token for the same cluster leaves what signed in renewable.
	if was := k.m.Kube; was != nil && was.Host == conf.Host && was.CA == conf.CA {
		conf.Stamp = was.Stamp
	} else {
		conf.Stamp = newStamp()
	}
	m.Kube = conf
	if err := k.put(c.Tx(), kindAuth, m.Path, &m); err != nil {
		return nil, err
	}
	return done(in.warnings...), k.changed(c.Tx())
}

func (k kubeMount) readConfig(*call, []string) (*answer, error) {
	c := k.m.Kube
	if c == nil {
		return nil, errNothing
	}
	return answered(map[string]any{
		"kubernetes_host": c.Host, "kubernetes_ca_cert": c.CA, "token_reviewer_jwt_set": true, "pem_keys": []string{}, "issuer": "",
		"disable_iss_validation": true, "disable_local_ca_jwt": true, "use_annotations_as_alias_metadata": false,
	}), nil
}

func (k kubeMount) list(c *call, _ []string) (*answer, error) {
	names, err := k.roles(k.m).all(c.Tx())
	if err != nil {
		return nil, err
	}
	return keys(names)
}

func (k kubeMount) hasRole(tx Tx, at []string) (bool, error) { return k.roles(k.m).has(tx, at[0]) }

func (k kubeMount) readRole(c *call, at []string) (*answer, error) {
	var r kubeRole
	there, err := k.roles(k.m).read(c.Tx(), at[0], &r)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, errNothing
	}
	data := map[string]any{
		"bound_service_account_names": r.Names, "bound_service_account_namespaces": r.Namespaces, "bound_service_account_namespace_selector": "",
		"audience": r.Audience, "alias_name_source": r.source(),
	}
	r.Token.show(data)
	return answered(data), nil
}

const (
	aliasUID  = "serviceaccount_uid"
	aliasName = "serviceaccount_name"
)

func (r *kubeRole) source() string {
	if r.ByName {
		return aliasName
	}
	return aliasUID
}

// writeRole writes a role whole: nothing bound before goes on unseen.
func (k kubeMount) writeRole(c *call, at []string) (*answer, error) {
	in, warnings, err := body[struct {
		tokenParamsBody
		Names      wire.Strings `json:"bound_service_account_names"`
		Namespaces wire.Strings `json:"bound_service_account_namespaces"`
		Selector   string       `json:"bound_service_account_namespace_selector"`
		Audience   string       `json:"audience"`
		Alias      string       `json:"alias_name_source"`
	}](c)
	if err != nil {
		return nil, err
	}
	name := strings.ToLower(at[0])
	r := kubeRole{Names: in.Names, Namespaces: in.Namespaces, Audience: in.Audience, ByName: in.Alias == aliasName}
	every := slices.Contains(r.Names, "*")
	switch {
	case len(name) > 128:
		return nil, bad("the name of a role has at most 128 bytes")
	case r.Audience == "" || len(r.Audience) > 1024:
		return nil, bad("'audience' must be set: without it any pod's default token would do, and whoever it is sent to could use it at the cluster")
	case len(r.Names) == 0 || len(r.Namespaces) == 0:
		return nil, bad("'bound_service_account_names' and 'bound_service_account_namespaces' must be set")
	case len(r.Names) > 256 || len(r.Namespaces) > 256:
		return nil, bad("a role has at most 256 names and 256 namespaces")
	case every && slices.Contains(r.Namespaces, "*"):
		return nil, bad("'bound_service_account_names' and 'bound_service_account_namespaces' cannot both be \"*\": any pod of the cluster could sign in")
	case in.Selector != "":
		return nil, bad("'bound_service_account_namespace_selector' is not supported: name the namespaces")
	case in.Alias != "" && in.Alias != aliasUID && in.Alias != aliasName:
		return nil, bad("'alias_name_source' is %s or %s", aliasUID, aliasName)
	}
	for _, n := range slices.Concat(r.Names, r.Namespaces) {
		if n != "*" && (n == "" || len(n) > 253 || strings.ContainsAny(n, "*?:/") || printable(n) != n) {
			return nil, bad("a service account or a namespace is named whole, or is \"*\"")
		}
	}
	if err := r.Token.set(&in.tokenParamsBody); err != nil {
		return nil, err
	}
	switch {
	case every:
		warnings = append(warnings, "every service account of the namespaces can sign in, also one that somebody makes for it")
	case slices.Contains(r.Namespaces, "*"):
		warnings = append(warnings, "who may make a namespace, or a service account of that name in one, can sign in")
	}
	if r.ByName {
		warnings = append(warnings, "a service account that is made again under the same name is the same entity")
	}
	var was kubeRole
	there, err := k.roles(k.m).read(c.Tx(), name, &was)
	if err != nil {
		return nil, err
	}
	if r.Stamp = was.Stamp; there && reflect.DeepEqual(was, r) {
		return done(warnings...), nil
	}
	r.Stamp = newStamp()
	return done(warnings...), k.roles(k.m).write(c.Tx(), name, &r)
}

func (k kubeMount) removeRole(c *call, at []string) (*answer, error) {
	return done(), k.roles(k.m).remove(c.Tx(), at[0])
}
