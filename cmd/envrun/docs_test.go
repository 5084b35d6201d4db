package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every link of the README and of the pages below docs leads to what is there, and
// every page is found from the README.
func TestPagesAreLinked(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	seen := map[string]bool{}
	var read func(page string)
	read = func(page string) {
		if seen[page] {
			return
		}
		seen[page] = true
		for _, m := range link.FindAllStringSubmatch(prose(t, page), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			to := page
			if target != "" {
				to = filepath.Join(filepath.Dir(page), target)
			}
			is, err := os.Stat(to)
			switch {
			case err != nil:
				t.Errorf("%s: %v", page, err)
			case is.IsDir() && filepath.Ext(to) == "":
				if _, err := os.Stat(filepath.Join(to, "README.md")); err == nil {
					read(filepath.Join(to, "README.md"))
				}
			case filepath.Ext(to) == ".md":
				if anchor != "" && !hasHeading(prose(t, to), anchor) {
					t.Errorf("%s: %s has no heading #%s", page, to, anchor)
				}
				read(to)
			}
		}
	}
	read("../../README.md")
	for _, pattern := range []string{"../../docs/*.md", "../../docs/ci/*.md"} {
		pages, err := filepath.Glob(pattern)
		if err != nil || len(pages) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, page := range pages {
			if !seen[page] {
				t.Errorf("%s is not found from the README", page)
			}
		}
	}
}

// prose is a page without its blocks of code.
func prose(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	code := false
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			code = !code
		} else if !code {
			out.WriteString(line)
		}
	}
	return out.String()
}

// hasHeading reports whether a page has the heading of an anchor, as GitHub makes them.
func hasHeading(page, anchor string) bool {
	for line := range strings.Lines(page) {
		title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if !ok || !strings.HasPrefix(line, "#") {
			continue
		}
		made := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '-', r == '_':
				return r
			}
			return -1
		}, strings.ToLower(strings.TrimSpace(title)))
		if made == anchor {
			return true
		}
	}
	return false
}
