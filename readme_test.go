package envrun_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What the README tells people to type is typed here, in its order, by a new
// user in a new home.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	env := []string{
		"HOME=" + home, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + t.TempDir(), "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=alice", "GIT_AUTHOR_EMAIL=alice@example.org", "GIT_COMMITTER_NAME=alice", "GIT_COMMITTER_EMAIL=alice@example.org",
	}
	// The build is the developer's own: its caches are used, nothing of it is tested here.
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOFLAGS", "GOSUMDB", "GONOSUMDB", "GOTOOLCHAIN"} {
		out, err := exec.Command("go", "env", name).Output()
		if err == nil {
			env = append(env, name+"="+strings.TrimSpace(string(out)))
		}
	}
	sh := func(dir, line string) string {
		t.Helper()
		cmd := exec.Command("sh", "-c", line)
		cmd.Dir, cmd.Env = dir, env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("$ %s\n%s%v", line, out, err)
		}
		return string(out)
	}

	// The quick start: two commands.
	quick := fenced(string(text), "sh")
	if len(quick) != 2 {
		t.Fatalf("the quick start has %d commands, not 2: %q", len(quick), quick)
	}
	if out := sh(root, quick[0]); !strings.Contains(out, "the project is gone again") {
		t.Errorf("$ %s\n%s", quick[0], out)
	}
	// The other is what runs this test; that it is there is seen without running it.
	if out := sh(root, strings.Replace(quick[1], "make", "make -n", 1)); !strings.Contains(out, ".ci/test") {
		t.Errorf("$ %s would run %s", quick[1], out)
	}
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("suite README project skipped: no git here")
	}

	// In a project.
	env = append(env, "PATH="+filepath.Join(home, ".local/bin")+":"+os.Getenv("PATH"))
	project := filepath.Join(t.TempDir(), "billing-api")
	files := map[string]string{
		".env":         "DATABASE_URL=postgres://localhost/billing\nSTRIPE_KEY=sk_test_1\n",
		"package.json": `{"name": "billing-api", "scripts": {"start": "node app.js"}}`,
		"app.js":       "console.log('the key ends with ' + process.env.STRIPE_KEY.slice(-2))\n",
		"key.json":     `{"private_key": "x"}`,
	}
	if err := os.Mkdir(project, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(project, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sh(project, "git init -q")
	_, npmErr := exec.LookPath("npm")
	for _, line := range fenced(string(text), "console") {
		command, ok := strings.CutPrefix(line, "$ ")
		if !ok {
			continue
		}
		if strings.Contains(command, "npm") && npmErr != nil {
			t.Log("suite README npm start skipped: no npm here")
			continue
		}
		out := sh(project, command)
		if strings.Contains(command, "npm start") && !strings.Contains(out, "the key ends with _1") {
			t.Errorf("$ %s\n%s", command, out)
		}
	}

	// The table of what you want to do: each command does it, or says why not here.
	sh(project, "envrun env add staging && envrun env add prod && envrun copy dev: staging: && envrun copy dev: prod: --yes=prod")
	sh(project, "envrun set STRIPE_KEY=sk_test_2 && envrun set STRIPE_KEY=sk_test_3 && git add -A && git commit -qm three")
	expect := map[string]string{
		"envrun diff dev staging":              "different",
		"envrun set STRIPE_KEY":                "",
		"envrun edit":                          "nobody is at a terminal",
		"envrun list":                          "billing-api/STRIPE_KEY",
		"envrun history":                       "v3",
		"envrun rollback --to 3":               "nothing to do",
		"envrun vault verify":                  "0 findings",
		"envrun explain -- npm start":          "envrun becomes",
		"envrun -e staging -- npm start":       "the key ends with _1",
		"envrun doctor":                        "ok",
		"envrun set shared/gcp/key < key.json": "version 1",
	}
	seen := 0
	alone, _, ok := strings.Cut(string(text), "\n## Share it\n")
	if !ok {
		t.Error("the README says nothing on sharing")
	}
	for _, m := range tableRow.FindAllStringSubmatch(alone, -1) {
		for _, quoted := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(m[1], -1) {
			command := quoted[1]
			want, known := expect[command]
			if !known {
				t.Errorf("the README has a command that this test does not know: %s", command)
				continue
			}
			seen++
			if strings.Contains(command, "npm") && npmErr != nil {
				continue
			}
			cmd := exec.Command("sh", "-c", command)
			cmd.Dir, cmd.Env = project, env
			if command == "envrun set STRIPE_KEY" {
				cmd.Stdin = strings.NewReader("sk_test_3")
			}
			out, _ := cmd.CombinedOutput() // some end with 1 on purpose: a difference, nobody to ask
			if !strings.Contains(string(out), want) {
				t.Errorf("$ %s\n%swant %q in it", command, out, want)
			}
		}
	}
	if seen != len(expect) {
		t.Errorf("%d of %d commands are in the README's table", seen, len(expect))
	}
}

// tableRow is a row of a table of what you want to do.
var tableRow = regexp.MustCompile("(?m)^\\| .* \\| (`envrun.*`) \\|$")

// What the section on sharing shows is typed by two people, each with a home
// and a clone of their own, and prints what it says there.
func TestReadmeShare(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("suite README sharing skipped: no git here")
	}
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, share, _ := strings.Cut(string(text), "\n## Share it\n")
	share, _, _ = strings.Cut(share, "\n## ")
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "bin", "envrun"), "./cmd/envrun").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	hub := filepath.Join(dir, "billing-api")
	at := map[string]string{} // where each of them stands
	run := func(who, line string) (string, error) {
		cmd := exec.Command("sh", "-c", line)
		cmd.Dir = at[who]
		home := filepath.Join(dir, who)
		cmd.Env = []string{
			"HOME=" + home, "PATH=" + filepath.Join(dir, "bin") + ":" + os.Getenv("PATH"), "TMPDIR=" + dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_EDITOR=true",
			"GIT_AUTHOR_NAME=" + who, "GIT_AUTHOR_EMAIL=" + who + "@example.org", "GIT_COMMITTER_NAME=" + who, "GIT_COMMITTER_EMAIL=" + who + "@example.org",
		}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	must := func(who, line string) string {
		t.Helper()
		out, err := run(who, line)
		if err != nil {
			t.Fatalf("%s$ %s\n%s%v", who, line, out, err)
		}
		return out
	}
	for _, who := range []string{"alice", "bob"} {
		at[who] = filepath.Join(dir, who)
		if err := os.Mkdir(at[who], 0o700); err != nil {
			t.Fatal(err)
		}
	}
	must("alice", "git init -q --bare -b main "+hub+" && git clone -q "+hub)
	at["alice"] = filepath.Join(dir, "alice", "billing-api")
	must("alice", "envrun init --project billing-api --env dev,prod --store file --no-recovery --member alice@laptop && "+
		"envrun set DATABASE_URL=postgres://localhost STRIPE_KEY=sk_test_1 && envrun vault seal -e dev && "+
		`echo '{"scripts": {"start": "echo the key is $STRIPE_KEY"}}' > package.json && git add -A && git commit -qm one && git push -q origin main`)

	_, npmErr := exec.LookPath("npm")
	code, ciKey := "", ""
	for {
		_, rest, ok := strings.Cut(share, "```console\n")
		if !ok {
			break
		}
		block, rest, _ := strings.Cut(rest, "```")
		share = rest
		printed := ""
		for line := range strings.Lines(block) {
			line = strings.TrimSuffix(line, "\n")
			who, command, typed := strings.Cut(line, "$ ")
			if at[who] == "" || !typed {
				want := strings.ReplaceAll(line, readmeCode, code)
				if want = strings.TrimSpace(want); want != "…" && !strings.Contains(printed, want) {
					t.Errorf("the README shows %q, and there is\n%s", line, printed)
				}
				continue
			}
			command, comment, _ := strings.Cut(command, "   #")
			command = strings.ReplaceAll(command, "git@git.example.dev:billing-api", hub)
			command = strings.ReplaceAll(command, readmeCode, code)
			if strings.Contains(command, "npm") && npmErr != nil {
				t.Log("suite README npm start skipped: no npm here")
				continue
			}
			out, err := run(who, command)
			printed = out
			if strings.Contains(comment, "CONFLICT") {
				if err == nil || !strings.Contains(out, "CONFLICT") {
					t.Errorf("%s$ %s\n%sdoes not stop", who, command, out)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%s$ %s\n%s%v", who, command, out, err)
			}
			if strings.Contains(command, "git clone") {
				at[who] = filepath.Join(dir, who, "billing-api")
			}
			if m := regexp.MustCompile(`check code: (\S+)`).FindStringSubmatch(out); m != nil {
				code = m[1]
			}
			if m := regexp.MustCompile(`envrun-ci-1:\S+`).FindString(out); m != "" {
				ciKey = m
			}
			if strings.Contains(command, "npm start") && !strings.Contains(out, "the key is sk_test_1") {
				t.Errorf("%s$ %s\n%s", who, command, out)
			}
		}
	}

	// What came of it.
	if got := must("alice", "envrun get STRIPE_KEY; envrun get LOG_LEVEL"); got != "sk_test_3debug" {
		t.Errorf("after the merge alice has %q", got)
	}
	must("alice", "envrun vault verify && envrun vault status | grep -q 'bob@desktop could read 3 values in use'")
	must("bob", "git pull -q")
	if out, err := run("bob", "envrun get STRIPE_KEY"); err == nil || !strings.Contains(out, "no grant for key 2") {
		t.Errorf("bob gets %q, %v", out, err)
	}
	if out := must("alice", "ENVRUN_KEY="+ciKey+" envrun -- sh -c 'echo $STRIPE_KEY'"); !strings.Contains(out, "sk_test_3") {
		t.Errorf("the pipeline gets %q", out)
	}

	// The table, with somebody who asks again.
	must("bob", "envrun request dev --reason again && git add -A && git commit -qm again && git push -q")
	must("alice", "git pull -q --no-rebase")
	expect := map[string]string{
		"envrun access ls":               "again",
		"envrun access show bob@desktop": "check code",
		"envrun member list":             "alice@laptop (you)",
		"envrun env rotate-key dev":      "key 3",
		"envrun vault status":            "fingerprint",
		"envrun vault verify --fresh":    "0 findings",
	}
	_, table, _ := strings.Cut(string(text), "\n## Share it\n")
	table, _, _ = strings.Cut(table, "\n## ")
	seen := 0
	for _, m := range tableRow.FindAllStringSubmatch(table, -1) {
		for _, quoted := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(m[1], -1) {
			want, known := expect[quoted[1]]
			if !known {
				t.Errorf("the README has a command that this test does not know: %s", quoted[1])
				continue
			}
			seen++
			if out := must("alice", quoted[1]); !strings.Contains(out, want) {
				t.Errorf("$ %s\n%swant %q in it", quoted[1], out, want)
			}
		}
	}
	if seen != len(expect) {
		t.Errorf("%d of %d commands are in the README's table", seen, len(expect))
	}
}

// readmeCode is the check code that the README shows.
const readmeCode = "4F2K-9XQM-7T1D"

// fenced are the lines of the first fenced block of a kind, comments left out.
func fenced(text, kind string) []string {
	_, rest, ok := strings.Cut(text, "```"+kind+"\n")
	if !ok {
		return nil
	}
	block, _, _ := strings.Cut(rest, "```")
	var lines []string
	for line := range strings.Lines(block) {
		line, _, _ = strings.Cut(line, "   #")
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}
