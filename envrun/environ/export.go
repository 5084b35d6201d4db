package environ

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"envrun/vault"
)

// Export writes variables in the order given. The law of every format: its own
// reader gets the same bytes back. What a format cannot hold is refused with a
// *vault.Error of KindInvalid that names the variable and the reason, and then
// nothing is written at all.
//
// Shell, Fish, PowerShell, GitHub and Compose take only the names of environment
// variables (CheckName); JSON, YAML and K8s take every field name, Dotenv and
// Docker those that their readers take. No name may come twice.
func Export(w io.Writer, f Format, entries []Entry, o ExportOptions) error {
	var b bytes.Buffer
	var err error
	if err = checkEntries(f, entries); err != nil {
		return err
	}
	switch f {
	case Dotenv:
		err = exportDotenv(&b, entries, o)
	case Docker:
		o.Dialect = DialectDocker
		err = exportDotenv(&b, entries, o)
	case JSON:
		err = exportJSON(&b, entries)
	case YAML:
		err = exportYAML(&b, entries)
	case Compose:
		err = exportCompose(&b, entries, o)
	case K8s:
		err = exportK8s(&b, entries, o)
	case Shell:
		err = exportEach(&b, entries, shellLine)
	case Fish:
		err = exportEach(&b, entries, fishLine)
	case PowerShell:
		err = exportEach(&b, entries, powerShellLine)
	case GitHub:
		err = exportEach(&b, entries, githubLines)
	default:
		err = invalid("", 0, "", fmt.Sprintf("%q is no format that can be written", string(f)))
	}
	if err != nil {
		return err
	}
	defer clear(b.Bytes())
	_, err = w.Write(b.Bytes())
	return err
}

// checkEntries checks the names.
func checkEntries(f Format, entries []Entry) error {
	seen := make(map[string]bool, len(entries))
	for _, e := range entries {
		switch f {
		case JSON, YAML, K8s, Dotenv, Docker:
			if _, err := vault.ParseFieldName(e.Name); err != nil {
				return err
			}
		default:
			if err := CheckName(e.Name); err != nil {
				return err
			}
		}
		if seen[e.Name] {
			return cannot(e, "is given twice")
		}
		seen[e.Name] = true
	}
	return nil
}

// cannot is the error for a value that a format cannot hold.
func cannot(e Entry, why string) error { return invalid("", 0, e.Name, why) }

// notText says why a value is no text, which most formats are made of.
func notText(value []byte) error {
	switch {
	case !utf8.Valid(value):
		return fmt.Errorf("its value is not UTF-8, which this format cannot hold")
	case bytes.IndexByte(value, 0) >= 0:
		return fmt.Errorf("its value has a NUL byte, which this format cannot hold")
	}
	return nil
}

// exportEach writes the variables with a function that writes one.
func exportEach(b *bytes.Buffer, entries []Entry, line func(*bytes.Buffer, string, []byte) error) error {
	for _, e := range entries {
		if err := line(b, e.Name, e.Value.Reveal()); err != nil {
			return cannot(e, err.Error())
		}
	}
	return nil
}

// shellLine writes for any POSIX shell. In single quotes everything but a
// single quote stands for itself.
func shellLine(b *bytes.Buffer, name string, value []byte) error {
	if bytes.IndexByte(value, 0) >= 0 {
		return fmt.Errorf("its value has a NUL byte, which no environment can hold")
	}
	fmt.Fprintf(b, "export %s='", name)
	b.Write(bytes.ReplaceAll(value, []byte("'"), []byte(`'\''`)))
	b.WriteString("'\n")
	return nil
}

// fishLine writes for fish, where a backslash escapes itself and a quote.
func fishLine(b *bytes.Buffer, name string, value []byte) error {
	if bytes.IndexByte(value, 0) >= 0 {
		return fmt.Errorf("its value has a NUL byte, which no environment can hold")
	}
	fmt.Fprintf(b, "set -gx %s '", name)
	for _, c := range value {
		if c == '\\' || c == '\'' {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	b.WriteString("'\n")
	return nil
}

// powerShellLine writes for Windows PowerShell and PowerShell 7. Printable
// ASCII goes into single quotes. Everything else is given by number, since
// Windows PowerShell reads a file without a mark in the machine's code page,
// takes four other characters for single quotes as well, and changes line ends
// in text that goes through a pipe.
func powerShellLine(b *bytes.Buffer, name string, value []byte) error {
	if err := notText(value); err != nil {
		return err
	}
	if len(value) == 0 {
		return fmt.Errorf("its value is empty, and PowerShell removes a variable that is set to nothing")
	}
	fmt.Fprintf(b, "$env:%s = '", name)
	quoted := true
	for _, r := range string(value) {
		if plain := ' ' <= r && r < 0x7F; plain != quoted {
			if plain {
				b.WriteString("+'")
			} else {
				b.WriteByte('\'')
			}
			quoted = plain
		}
		switch {
		case !quoted && r > 0xFFFF:
			r -= 0x10000
			fmt.Fprintf(b, "+[char]0x%04X+[char]0x%04X", 0xD800+r>>10, 0xDC00+r&0x3FF)
		case !quoted:
			fmt.Fprintf(b, "+[char]0x%04X", r)
		case r == '\'':
			b.WriteString("''")
		default:
			b.WriteRune(r)
		}
	}
	if quoted {
		b.WriteByte('\'')
	}
	b.WriteByte('\n')
	return nil
}

// githubLines writes for the file that GITHUB_ENV names: a value ends at a line
// that nobody can have put into it, because it is drawn now.
func githubLines(b *bytes.Buffer, name string, value []byte) error {
	if err := notText(value); err != nil {
		return err
	}
	switch {
	case bytes.HasSuffix(value, []byte("\r")):
		return fmt.Errorf("its value ends with a carriage return, which runners on Windows take for a part of the line end")
	case strings.HasPrefix(name, "GITHUB_"), strings.HasPrefix(name, "RUNNER_"), strings.EqualFold(name, "NODE_OPTIONS"):
		return fmt.Errorf("GitHub's runner does not let a step set this name")
	}
	delimiter := rand.Text()
	for bytes.Contains(value, []byte(delimiter)) {
		delimiter = rand.Text()
	}
	fmt.Fprintf(b, "%s<<%s\n%s\n%s\n", name, delimiter, value, delimiter)
	return nil
}

// exportJSON writes one object. JSON has a notation for NUL, so it holds all text.
func exportJSON(b *bytes.Buffer, entries []Entry) error {
	b.WriteString("{")
	for i, e := range entries {
		value := e.Value.Reveal()
		if !utf8.Valid(value) {
			return cannot(e, "its value is not UTF-8, which JSON cannot hold")
		}
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(b, "\n  %s: ", quoteJSON(nil, []byte(e.Name)))
		b.Write(quoteJSON(nil, value))
	}
	if len(entries) > 0 {
		b.WriteString("\n")
	}
	b.WriteString("}\n")
	return nil
}

// exportYAML writes one mapping.
func exportYAML(b *bytes.Buffer, entries []Entry) error {
	if len(entries) == 0 {
		b.WriteString("{}\n")
	}
	return yamlPairs(b, entries, "", func(value []byte) []byte { return value })
}

func yamlPairs(b *bytes.Buffer, entries []Entry, indent string, change func([]byte) []byte) error {
	for _, e := range entries {
		value := e.Value.Reveal()
		if !utf8.Valid(value) {
			return cannot(e, "its value is not UTF-8, which YAML cannot hold")
		}
		// A name is quoted too: NO, null and 1e3 are no strings without.
		fmt.Fprintf(b, "%s\"%s\": ", indent, e.Name)
		b.Write(quoteJSON(nil, change(value)))
		b.WriteByte('\n')
	}
	return nil
}

// quoteJSON appends s as a string of JSON that is one of YAML too: what is not
// printable in YAML is given by number. s is UTF-8.
func quoteJSON(to, s []byte) []byte {
	to = append(to, '"')
	for len(s) > 0 {
		r, n := utf8.DecodeRune(s)
		switch {
		case r == '"' || r == '\\':
			to = append(to, '\\', byte(r))
		case r == '\n':
			to = append(to, `\n`...)
		case r == '\r':
			to = append(to, `\r`...)
		case r == '\t':
			to = append(to, `\t`...)
		case r < 0x20, 0x7F <= r && r < 0xA0, r == 0x2028, r == 0x2029, r == 0xFEFF, r == 0xFFFE, r == 0xFFFF:
			to = fmt.Appendf(to, `\u%04x`, r)
		default:
			to = append(to, s[:n]...)
		}
		s = s[n:]
	}
	return append(to, '"')
}

// exportCompose writes a Compose file with nothing but the environment of one
// service, to be merged over the project's own with a second -f.
func exportCompose(b *bytes.Buffer, entries []Entry, o ExportOptions) error {
	if !isSegments(o.Name, "._-") {
		return invalid("", 0, "", "the name of a service may hold only letters, digits, and after the first also . _ -")
	}
	for _, e := range entries {
		if bytes.IndexByte(e.Value.Reveal(), 0) >= 0 {
			return cannot(e, "its value has a NUL byte, which no environment can hold")
		}
	}
	fmt.Fprintf(b, "services:\n  \"%s\":\n    environment:", o.Name)
	if len(entries) == 0 {
		b.WriteString(" {}\n")
		return nil
	}
	b.WriteByte('\n')
	return yamlPairs(b, entries, "      ", func(value []byte) []byte {
		return bytes.ReplaceAll(value, []byte("$"), []byte("$$"))
	})
}

// maxSecret is the most that Kubernetes takes as the data of one Secret.
const maxSecret = 1 << 20

// exportK8s writes a Secret. Its values are all in data, as base64, which holds
// every byte; stringData would have to go through YAML and hold only text.
func exportK8s(b *bytes.Buffer, entries []Entry, o ExportOptions) error {
	if !isSubdomain(o.Name) {
		return invalid("", 0, "", "the name of a Secret may hold only a-z, 0-9, - and ., begins and ends with a letter or digit, and has at most 253")
	}
	if o.Namespace != "" && (!isSubdomain(o.Namespace) || len(o.Namespace) > 63 || strings.Contains(o.Namespace, ".")) {
		return invalid("", 0, "", "the name of a namespace may hold only a-z, 0-9 and -, begins and ends with a letter or digit, and has at most 63")
	}
	fmt.Fprintf(b, "apiVersion: v1\nkind: Secret\nmetadata:\n  name: \"%s\"\n", o.Name)
	if o.Namespace != "" {
		fmt.Fprintf(b, "  namespace: \"%s\"\n", o.Namespace)
	}
	b.WriteString("type: Opaque\ndata:")
	if len(entries) == 0 {
		b.WriteString(" {}")
	}
	b.WriteByte('\n')
	total := 0
	for _, e := range entries {
		value := e.Value.Reveal()
		if total += len(value); total > maxSecret {
			return cannot(e, "with it the values have more than 1 MiB, which is all that Kubernetes takes in a Secret")
		}
		fmt.Fprintf(b, "  \"%s\": \"%s\"\n", e.Name, base64.StdEncoding.EncodeToString(value))
	}
	return nil
}

// isSubdomain says whether s is a name of an object of Kubernetes.
func isSubdomain(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
				return false
			}
		}
	}
	return true
}

// isSegments says whether s is letters and digits, and after the first also
// the characters of more.
func isSegments(s, more string) bool {
	for i := range len(s) {
		if c := s[i]; (!isWordChar(c) || c == '_') && (i == 0 || strings.IndexByte(more, c) < 0) {
			return false
		}
	}
	return s != ""
}
