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
	row := regexp.MustCompile("(?m)^\\| .* \\| (`envrun.*`) \\|$")
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
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
