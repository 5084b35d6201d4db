//go:build unix

package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"envrun/vault/vaulttest/hashivault"
	"envrun/vault/vaulttest/kubernetes"
)

// A machineRoom is a server with a secret, whoever sets machines up for it, and what a
// page tells them to type.
type machineRoom struct {
	*person
	server *hashivault.Server
	canary string
	blocks []string // of the page's section, each what stands in one ```sh
}

func newMachineRoom(t *testing.T, section string) *machineRoom {
	t.Helper()
	if testing.Short() || os.Getenv(hashivault.Variable) == "" {
		t.Skipf("the page's commands are those of vault: not in short mode, and not without %s=$(.ci/vault)", hashivault.Variable)
	}
	m := &machineRoom{person: newPerson(t), server: hashivault.StartOwn(t), canary: newCanary()}
	page, err := os.ReadFile("../../docs/machines.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(page), "\n## "+section+"\n")
	if !ok {
		t.Fatalf("the page has no section %q", section)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	for i, part := range strings.Split(strings.ReplaceAll(text, "https://secrets.example.com", m.server.Addr), "```sh\n") {
		if block, _, ok := strings.Cut(part, "```"); i > 0 && ok {
			m.blocks = append(m.blocks, block)
		}
	}
	bin := filepath.Join(m.home, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, program := range map[string]string{"vault": os.Getenv(hashivault.Variable), "envrun": m.program} {
		if err := os.Symlink(program, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	m.env["PATH"] = bin + ":" + m.env["PATH"]
	m.env["VAULT_ADDR"], m.env["VAULT_TOKEN"] = m.server.Addr, m.server.Token
	m.write("envrun.toml", "vault = \""+m.server.Addr+"\"\nproject = \"app\"\ndefault = \"dev\"\n\n[env.dev]\nmount = \"dev\"\n")
	m.must("", "env", "add", "dev")
	m.must(m.canary, "set", "API_KEY")
	m.server.Do(t, "PUT", "sys/policies/acl/billing", map[string]any{"policy": `path "dev/data/*" { capabilities = ["read"] } path "dev/metadata/*" { capabilities = ["list"] }`})
	return m
}

// machine is the same project on a machine that has nothing of its maker's.
func (m *machineRoom) machine(vars ...string) *machineRoom {
	words := filepath.Join(m.home, "words")
	if err := os.WriteFile(words, []byte("correct horse"), 0o600); err != nil {
		m.t.Fatal(err)
	}
	other := *m
	other.person = m.as(append([]string{"VAULT_TOKEN=", "ENVRUN_STORE_PASSPHRASE_FILE=" + words}, vars...)...)
	return &other
}

// types is what a shell says to one of the page's blocks. A session is kept by a
// passphrase, since there is no keychain here.
func (m *machineRoom) types(block int) (string, error) {
	m.t.Helper()
	text := strings.ReplaceAll(m.blocks[block], "envrun login ", "envrun login --store passphrase ")
	out, err := m.command("sh", "-euc", text).CombinedOutput()
	return string(out), err
}

func (m *machineRoom) mustType(block int) string {
	m.t.Helper()
	out, err := m.types(block)
	if err != nil || strings.Contains(out, "WARNING") {
		m.t.Fatalf("%s\n%v: %s", m.blocks[block], err, out)
	}
	return out
}

// reads says whether a run and a session of the machine have the secret.
func (m *machineRoom) reads(want bool) {
	m.t.Helper()
	out, errs, code := m.pipe("", "--mask", "never", "--", "sh", "-c", "echo $API_KEY")
	if (code == 0 && strings.TrimSpace(out) == m.canary) != want {
		m.t.Errorf("a run: %d %s%s, want it to read: %t", code, out, errs, want)
	}
	if !want && strings.Contains(out+errs, m.canary) {
		m.t.Errorf("it is shown all the same: %s%s", out, errs)
	}
}

// Each command of docs/machines.md for pods, with a real cluster, as it stands there.
func TestPodDocs(t *testing.T) {
	c := kubernetes.Start(t)
	if _, err := exec.LookPath("kubectl"); err != nil {
		t.Skip("there is no kubectl here")
	}
	m := newMachineRoom(t, "Pods")
	if len(m.blocks) != 3 || !strings.Contains(m.blocks[1], "https://10.0.0.1:6443") {
		t.Fatalf("the page says something else: %q", m.blocks)
	}
	m.blocks[1] = strings.ReplaceAll(m.blocks[1], "https://10.0.0.1:6443", c.Host)
	m.env["KUBECONFIG"] = c.Config
	c.Namespace(t, "payments")
	c.Account(t, "payments", "api")
	c.Account(t, "payments", "web")
	m.mustType(0)
	m.mustType(1)

	// In the pod, with what the kubelet writes for it.
	token := filepath.Join(m.home, "token")
	mounts := func(account, pod string) string {
		jwt := c.Token(t, "payments", account, m.server.Addr, pod, c.Pod(t, "payments", pod, account))
		if err := os.WriteFile(token, []byte(jwt), 0o600); err != nil {
			t.Fatal(err)
		}
		return jwt
	}
	pod := m.machine("KUBERNETES_SERVICE_HOST=10.0.0.1", "ENVRUN_KUBERNETES_TOKEN_FILE="+token, "KUBECONFIG=")
	toml, err := os.ReadFile(filepath.Join(m.dir, "envrun.toml"))
	if err != nil {
		t.Fatal(err)
	}
	m.write("envrun.toml", string(toml)+"\n[ci]\nrole = \"api\"\nmount = \"kubernetes\"\n")
	other := mounts("web", "web-1")
	pod.reads(false)
	jwt := mounts("api", "api-1")
	pod.reads(true)
	if out, err := exec.Command("find", m.home, "-path", "*envrun/sessions*", "-name", "*.sealed").CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("a run keeps something: %s %v", out, err)
	}
	// Without [ci] it is the session that is used.
	m.write("envrun.toml", string(toml))
	pod.reads(false)
	if out := pod.mustType(2); !strings.Contains(out, "kubernetes-payments-api") || strings.Contains(out, jwt) {
		t.Errorf("login says %s", out)
	}
	pod.reads(true)
	pod.must("", "logout")
	// Another account, a pod that is gone, and one whose cluster is.
	mounts("web", "web-2")
	if out, err := pod.types(2); err == nil || !strings.Contains(out, "refuses the sign-in at auth/kubernetes") {
		t.Errorf("another account: %v %s", err, out)
	}
	mounts("api", "api-2")
	c.DeletePod(t, "payments", "api-2")
	if out, err := pod.types(2); err == nil || !strings.Contains(out, "refuses the sign-in at auth/kubernetes") {
		t.Errorf("a pod that is gone: %v %s", err, out)
	}
	mounts("api", "api-3")
	c.Stop()
	if out, err := pod.types(2); err == nil || strings.Contains(out, "refuses") || !strings.Contains(out, "the cluster cannot be asked of the token now; try again") {
		t.Errorf("a cluster that is down: %v %s", err, out)
	}
	for _, jwt := range []string{jwt, other} {
		if out, err := exec.Command("grep", "-rlF", jwt, m.home, m.dir, m.tmp).CombinedOutput(); len(out) > 0 {
			t.Errorf("the token is in %s %v", out, err)
		}
	}
}

// Those for a role id and a secret id.
func TestAppRoleDocs(t *testing.T) {
	m := newMachineRoom(t, "A role id and a secret id")
	if len(m.blocks) != 3 {
		t.Fatalf("the page says something else: %q", m.blocks)
	}
	said := m.mustType(0)
	of := func(name string) string {
		t.Helper()
		found := regexp.MustCompile(`(?m)^` + name + `:?\s+(\S+)$`).FindStringSubmatch(said)
		if found == nil {
			t.Fatalf("there is no %s:\n%s", name, said)
		}
		return found[1]
	}
	machine := m.machine("ROLE_ID="+of("role_id"), "WRAPPED="+of("wrapping_token"))
	machine.reads(false)
	if out := machine.mustType(1); !strings.Contains(out, "approle") || strings.Contains(out, "evr_") {
		t.Errorf("login says %s", out)
	}
	machine.reads(true)
	// It was good for one unwrapping and one login.
	if out, err := machine.types(1); err == nil || strings.Contains(out, "account ") {
		t.Errorf("a second time: %v %s", err, out)
	}
	machine.must("", "logout")
	machine.reads(false)
	// Somebody else unwrapped one: it is destroyed before they get anywhere.
	said, err := m.blocks[0], error(nil)
	m.blocks[0] = said[strings.LastIndex(said, "vault write -wrap-ttl"):]
	if said, err = m.types(0); err != nil {
		t.Fatal(said, err)
	}
	thief := m.machine("VAULT_TOKEN=" + of("wrapping_token"))
	secret, err := thief.command("sh", "-c", "vault unwrap -field=secret_id").Output()
	if err != nil || !strings.HasPrefix(string(secret), "evr_a_") {
		t.Fatalf("%v %.6s", err, secret)
	}
	m.person = m.as("ACCESSOR=" + of("wrapped_accessor"))
	m.mustType(2)
	machine = m.machine("ROLE_ID="+machine.env["ROLE_ID"], "ENVRUN_SECRET_ID="+strings.TrimSpace(string(secret)))
	out, errs, code := machine.pipe("", "login", "--store", "passphrase", "--method", "approle", "--role-id", machine.env["ROLE_ID"], m.server.Addr)
	if code == 0 || !strings.Contains(errs, "refuses the sign-in at auth/approle") || strings.Contains(out+errs, string(secret)) {
		t.Errorf("a secret id that was destroyed: %d %s%s", code, out, errs)
	}
}
