package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"envrun/vault/vaulttest/hashivault"
	"envrun/vault/vaulttest/recording"
)

// A line is what was typed at the vault command, what it printed, and how it ended.
type line struct {
	step, command, out, status string
}

// transcript reads steps as they were recorded:
//
//	### STEP: COMMAND
//	what it printed
//	### exit 0
func transcript(t *testing.T, name string) []line {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "transcripts", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	var all []line
	for part := range strings.SplitSeq(string(text), "### exit ") {
		status, rest, _ := strings.Cut(part, "\n")
		if len(all) > 0 {
			all[len(all)-1].status = status
		}
		if rest == "" && part == status {
			continue
		}
		if len(all) == 0 {
			rest = part
		}
		head, out, ok := strings.Cut(strings.TrimPrefix(rest, "### "), "\n")
		if !ok {
			continue
		}
		step, command, _ := strings.Cut(head, ": ")
		all = append(all, line{step: step, command: command, out: out})
	}
	return all
}

// The vault command prints against envrund what it printed against Vault 1.21, or
// what OpenBao's printed against OpenBao 2.6, step by step, but for ids and times.
// What does not stands in testdata/transcripts/differences.txt, which
// docs/vault-api.md argues; a new difference, or one that is gone, fails.
func TestTranscript(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the vault command a hundred times: not in short mode")
	}
	vault := os.Getenv(hashivault.Variable)
	if vault == "" {
		t.Skipf("no vault command: %s=$(.ci/vault) go test …", hashivault.Variable)
	}
	t.Parallel()
	dir := t.TempDir()
	if err := os.Symlink(vault, filepath.Join(dir, "vault")); err != nil {
		t.Fatal(err)
	}
	const policy = "# dev may write dev, read prod\npath \"prod/data/*\" { capabilities = [\"read\"] }\npath \"prod/metadata/*\" { capabilities = [\"read\",\"list\"] }\n"
	if err := os.WriteFile(filepath.Join(dir, "dev.hcl"), []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	address, token := devServer(t, "--root-token", "root")
	env := []string{"HOME=" + dir, "PATH=" + dir + string(os.PathListSeparator) + os.Getenv("PATH"), "VAULT_ADDR=" + address, "VAULT_TOKEN=" + token, "VAULT_FORMAT=json"}
	vars := map[string]string{}
	theirs := [2][]line{transcript(t, "vault-1.21"), transcript(t, "openbao-2.6")}
	var out strings.Builder
	same, asked := 0, 0
	for i, l := range theirs[0] {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", l.command)
		cmd.Dir = dir
		cmd.Env = env
		for name, text := range vars {
			cmd.Env = append(cmd.Env, name+"="+text)
		}
		said, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatalf("%s: %v", l.command, err)
		}
		remember(said, vars)
		text := strings.ReplaceAll(string(said), address, "<ADDR>")
		got := line{l.step, l.command, text, fmt.Sprint(cmd.ProcessState.ExitCode())}
		if strings.HasPrefix(l.step, "(setup)") {
			if got.status != "0" {
				t.Errorf("%s: %s", l.command, said)
			}
			continue
		}
		asked++
		diff := departs(l, got)
		if other := departs(theirs[1][i], got); len(other) < len(diff) {
			diff = other
		}
		if len(diff) == 0 {
			same++
			continue
		}
		fmt.Fprintf(&out, "%s: %s\n", l.step, l.command)
		for _, d := range diff {
			fmt.Fprintf(&out, "\t%s\n", d)
		}
	}
	t.Logf("%d of %d commands print what one of the two printed", same, asked)
	compareLines(t, filepath.Join("testdata", "transcripts", "differences.txt"), *update, out.String())
	doc, err := os.ReadFile("../../docs/vault-api.md")
	if err != nil {
		t.Fatal(err)
	}
	_, why, _ := strings.Cut(string(doc), "## Where the vault command prints otherwise")
	for l := range strings.Lines(out.String()) {
		if step, _, ok := strings.Cut(l, ": "); ok && l[0] != '\t' && !strings.Contains(why, "`"+step+"`") {
			t.Errorf("docs/vault-api.md does not say why %q prints something else", step)
		}
	}
}

// remember keeps what later steps use of an answer: $TOKEN, $ACCESSOR, $WRAPPED.
func remember(said []byte, vars map[string]string) {
	var answer struct {
		Auth struct {
			Token    string `json:"client_token"`
			Accessor string
		}
		Wrap struct{ Token string } `json:"wrap_info"`
	}
	if json.Unmarshal(said, &answer) != nil {
		return // it is no answer
	}
	if answer.Auth.Token != "" && answer.Auth.Token != "root" {
		vars["TOKEN"], vars["ACCESSOR"] = answer.Auth.Token, answer.Auth.Accessor
	}
	if answer.Wrap.Token != "" {
		vars["WRAPPED"] = answer.Wrap.Token
	}
}

// departs says in what a step went otherwise than it was recorded.
func departs(want, got line) []string {
	var out []string
	if want.status != got.status {
		out = append(out, fmt.Sprintf("exit %s, not %s", got.status, want.status))
	}
	w, wok := document(want.out)
	g, gok := document(got.out)
	if wok && gok {
		return append(out, recording.Compare("", w, g, map[string]string{})...)
	}
	pattern := regexp.QuoteMeta(strings.TrimSpace(want.out))
	pattern = recording.Placeholder.ReplaceAllStringFunc(pattern, func(string) string { return `\S+` })
	clean := strings.TrimSpace(strings.Join(trimmed(got.out), "\n"))
	if ok, err := regexp.MatchString(`^(?s:`+pattern+`)$`, clean); err != nil || !ok {
		out = append(out, fmt.Sprintf("%q, not %q", clean, strings.TrimSpace(want.out)))
	}
	return out
}

func trimmed(text string) []string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " \t")
	}
	return lines
}

// document reads JSON, with what is said before it, if there is some.
func document(text string) (any, bool) {
	d := json.NewDecoder(strings.NewReader(text[max(0, strings.IndexAny(text, "{[")):]))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	return v, err == nil
}
