package run_test

import (
	"slices"
	"strings"
	"testing"

	"envrun/envrun/run"
)

// FuzzBatchLine takes the line apart as cmd.exe and then a C program would, and
// must get back what went in, with nothing outside of quotes that cmd.exe acts
// upon.
func FuzzBatchLine(f *testing.F) {
	f.Add("a", "b c")
	f.Add(`C:\dir\`, `\\server\`)
	f.Add("a&b|c", "^%!")
	f.Add(`"`, "\n")
	f.Fuzz(func(t *testing.T, a, b string) {
		const file = `C:\x\a.cmd`
		line, err := run.BatchLine(`C:\cmd.exe`, "a", file, []string{a, b})
		if err != nil {
			if !strings.ContainsAny(a+b, "%\"\r\n\x00") {
				t.Fatalf("%q %q refused: %v", a, b, err)
			}
			return
		}
		inner, ok := strings.CutPrefix(line, `"C:\cmd.exe" /d /v:off /s /c "`)
		if !ok || !strings.HasSuffix(inner, `"`) {
			t.Fatalf("%s", line)
		}
		inner = inner[:len(inner)-1] // as /s says
		var words []string
		for inner != "" {
			word, rest, ok := strings.Cut(strings.TrimPrefix(inner, `"`), `"`)
			if inner[0] != '"' || !ok || rest != "" && rest[0] != ' ' {
				t.Fatalf("%s", line)
			}
			// A C program halves the backslashes before a quote.
			body := strings.TrimRight(word, `\`)
			if n := len(word) - len(body); n%2 != 0 {
				t.Fatalf("%s: the quote is escaped", line)
			} else {
				words = append(words, body+strings.Repeat(`\`, n/2))
			}
			inner = strings.TrimPrefix(rest, " ")
		}
		if !slices.Equal(words, []string{file, a, b}) {
			t.Fatalf("%q became %q", []string{file, a, b}, words)
		}
	})
}
