package environ

import (
	"bytes"
	"strings"
)

// exportDotenv writes NAME=value lines that the reader of o.Dialect gets back;
// for DialectAuto all readers that it compares. A way of writing a value is
// chosen by trying: it has to come back, byte for byte and without anything in
// it to expand, from every reader that counts.
func exportDotenv(b *bytes.Buffer, entries []Entry, o ExportOptions) error {
	dialect, err := ParseDialect(string(o.Dialect))
	if err != nil {
		return err
	}
	readers := []Dialect{dialect}
	if dialect == DialectAuto {
		readers = append([]Dialect{DialectNode}, others[:]...)
	}
	for _, e := range entries {
		line, ok := dotenvLine(e, readers)
		if !ok {
			return cannot(e, dotenvReason(e, dialect))
		}
		b.Write(line)
	}
	// Each line has been read alone. Now all of them, since in these formats a
	// quote that one reader does not close where we think runs into other lines.
	for _, d := range readers {
		r := readDotenv(b.Bytes(), d)
		read := r.last()
		for _, e := range entries {
			if got, ok := read[e.Name]; r.problem != nil || !ok || got.expand || !bytes.Equal(got.value, e.Value.Reveal()) {
				return cannot(e, "its value cannot be written so that "+string(d)+" reads it back among the others")
			}
		}
	}
	return nil
}

// dotenvLine writes one variable so that all readers get it back, if it can.
func dotenvLine(e Entry, readers []Dialect) ([]byte, bool) {
	value := e.Value.Reveal()
	if notText(value) != nil {
		return nil, false
	}
	for _, text := range dotenvSpellings(value, readers) {
		line := []byte(e.Name + "=" + text + "\n")
		good := true
		for _, d := range readers {
			r := readDotenv(line, d)
			if good = r.problem == nil && len(r.bindings) == 1; !good {
				break
			}
			got := r.bindings[0]
			if good = !got.bare && !got.expand && got.name == e.Name && bytes.Equal(got.value, value); !good {
				break
			}
		}
		if good {
			return line, true
		}
	}
	return nil, false
}

// dotenvSpellings are the ways to write a value, the plainest first. They are
// guesses: what each reader makes of them decides.
func dotenvSpellings(value []byte, readers []Dialect) []string {
	s := string(value)
	if readers[0] == DialectDocker {
		return []string{s} // it knows no other
	}
	var ways []string
	if isPlain(s) {
		ways = append(ways, s)
	}
	quoted := func(q, inside string) {
		// All but Compose take the quote behind a backslash for an escaped one,
		// however many backslashes there are, and would look for its end further down.
		if readers[0] == DialectCompose || !strings.HasSuffix(inside, `\`) {
			ways = append(ways, q+inside+q)
		}
	}
	for _, q := range []string{"'", `"`} {
		if !strings.Contains(s, q) {
			quoted(q, s)
		}
	}
	if len(readers) == 1 {
		switch readers[0] {
		case DialectNode:
			if !strings.Contains(s, "`") {
				quoted("`", s)
			}
			quoted(`"`, strings.ReplaceAll(s, "\r", `\r`))
		case DialectRuby:
			escaped := strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`).Replace(s)
			quoted(`"`, escaped)
			ways = append(ways, escaped)
		case DialectPython:
			quoted("'", strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s))
			quoted(`"`, strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", `\r`).Replace(s))
		case DialectCompose:
			quoted("'", strings.ReplaceAll(s, `'`, `\'`))
			quoted(`"`, strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "\r", `\r`).Replace(s))
		}
	}
	return append(ways, s)
}

// isPlain says whether s needs no quotes for any reader: it has nothing in it
// that one of them, or a shell that reads such a file, looks at.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isWordChar(c) && strings.IndexByte("./:@%+,-=", c) < 0 {
			return false
		}
	}
	return s != "" && s[0] != '='
}

// dotenvReason says why a value cannot be written.
func dotenvReason(e Entry, d Dialect) string {
	value := e.Value.Reveal()
	if err := notText(value); err != nil {
		return err.Error()
	}
	if _, ok := dotenvLine(Entry{Name: e.Name}, []Dialect{d}); !ok && d != DialectAuto {
		return "its name is none that " + string(d) + " reads"
	}
	if d == DialectDocker {
		switch {
		case bytes.IndexByte(value, '\n') >= 0:
			return "its value has a line end, which Docker's env file cannot hold"
		case bytes.HasSuffix(value, []byte("\r")):
			return "its value ends with a carriage return, which Docker's env file cannot hold"
		}
		return "its line would be longer than 64 KiB, which Docker refuses"
	}
	if d != DialectAuto {
		return "its value cannot be written so that " + string(d) + " reads it back"
	}
	var can []string
	for _, d := range []Dialect{DialectNode, DialectCompose, DialectRuby, DialectPython} {
		if _, ok := dotenvLine(e, []Dialect{d}); ok {
			can = append(can, string(d))
		}
	}
	reason := "its value cannot be written so that node, compose, ruby and python all read it back"
	switch len(can) {
	case 0:
		return reason + ", nor for one of them"
	case 4:
		return reason + "; each of their dialects alone can hold it"
	case 1:
		return reason + "; the dialect of " + can[0] + " can hold it"
	}
	return reason + "; the dialects of " + strings.Join(can[:len(can)-1], ", ") + " and " + can[len(can)-1] + " can hold it"
}
