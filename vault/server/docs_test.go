package server_test

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// docs/vault-api.md names every endpoint there is, argues every difference from the
// recordings, and says how many there are.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/vault-api.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(text)
	w := newWorld(t)
	for _, e := range w.Endpoints() {
		if !strings.Contains(doc, "`"+e.Pattern+"`") {
			t.Errorf("docs/vault-api.md does not name `%s`", e.Pattern)
		}
	}
	have := map[string]bool{}
	for _, e := range w.Endpoints() {
		have[e.Pattern] = true
	}
	before, _, _ := strings.Cut(doc, "## Not yet")
	for _, m := range regexp.MustCompile("`((?:sys|auth/token)/[a-z/{}.-]+)`").FindAllStringSubmatch(before, -1) {
		switch p := m[1]; {
		case have[p], p == "sys/health", p == "sys/seal-status", p == "sys/leader", p == "sys/unseal", p == "sys/init", strings.HasSuffix(p, "/"):
		default:
			t.Errorf("docs/vault-api.md names `%s`, which is not there", p)
		}
	}

	diffs, err := os.ReadFile("testdata/differences.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, why, _ := strings.Cut(doc, "## Where a recorded answer differs")
	argued := map[string]bool{}
	for line := range strings.Lines(why) {
		_, cell, _ := strings.Cut(line, "| ")
		cell, _, _ = strings.Cut(cell, " |")
		for part := range strings.SplitSeq(cell, ";") {
			file, numbers, _ := strings.Cut(strings.TrimSpace(part), " ")
			for n := range strings.SplitSeq(numbers, ",") {
				first, last, many := strings.Cut(strings.TrimSpace(n), "–")
				if !many {
					last = first
				}
				for i := number(first); i <= number(last) && i > 0; i++ {
					argued[file+" "+strconv.Itoa(i)] = true
				}
			}
		}
	}
	for line := range strings.Lines(string(diffs)) {
		if strings.HasPrefix(line, "\t") {
			continue
		}
		step, _, _ := strings.Cut(line, " [")
		if !argued[step] {
			t.Errorf("docs/vault-api.md does not argue the difference of %s", step)
		}
	}
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0
	}
	return n
}
