package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"envrun/cmd/internal/cli"
)

func TestProgress(t *testing.T) {
	for _, c := range []struct {
		total int
		want  []string
	}{
		{199, nil},
		{1000, []string{"10 %, 100", "20 %, 200", "30 %, 300", "40 %, 400", "50 %, 500", "60 %, 600", "70 %, 700", "80 %, 800", "90 %, 900", "100 %, 1000"}},
		{205, []string{"10 %, 21 ", "20 %, 41 ", "30 %, 62 ", "40 %, 82 ", "50 %, 103", "60 %, 123", "70 %, 144", "80 %, 164", "90 %, 185", "100 %, 205"}},
	} {
		f, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
		if err != nil {
			t.Fatal(err)
		}
		p := cli.NewProgress(cli.Streams{Err: f, Getenv: func(string) string { return "" }}, "rotating prod", time.Now)
		for i := range c.total {
			p.Step(i+1, c.total)
		}
		p.End()
		text, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
		if len(text) == 0 {
			lines = nil
		}
		if len(lines) != len(c.want) {
			t.Fatalf("%d: %q", c.total, lines)
		}
		for i, want := range c.want {
			if !strings.HasPrefix(lines[i], "envrun: rotating prod: "+want) {
				t.Errorf("%q, want %q", lines[i], want)
			}
		}
	}
}
