package project

import (
	"bytes"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"envrun/vault"
	"envrun/vault/near"
)

// NewOptions says what a new project file holds.
type NewOptions struct {
	Vault     string // as written in the file; empty: ".envrun/vault"
	Project   vault.Path
	Default   vault.Env   // empty: the first of Envs
	Envs      []vault.Env // empty: dev
	Protected []vault.Env // those of Envs that are protected
}

// New is the text of a new project file, commented for whoever opens it first.
// Parse reads it back as the options say.
func New(o NewOptions) []byte {
	if o.Vault == "" {
		o.Vault = ".envrun/vault"
	}
	if len(o.Envs) == 0 {
		o.Envs = []vault.Env{"dev"}
	}
	if o.Default == "" {
		o.Default = o.Envs[0]
	}
	var b strings.Builder
	b.WriteString("# Which secrets this project uses and where they are. No secret is in this file:\n# commit it.\n\n")
	b.WriteString("vault   = " + tomlString(o.Vault) + "\n")
	if o.Project != "" {
		b.WriteString("project = " + tomlString(string(o.Project)) + "   # the path that bare names live under\n")
	}
	b.WriteString("default = " + tomlString(string(o.Default)) + "   # the environment without -e\n\n")
	for _, e := range o.Envs {
		b.WriteString(envHeader(e) + "\n")
		if slices.Contains(o.Protected, e) {
			b.WriteString("protected = true   # asks before it runs or writes\n")
		}
	}
	b.WriteString(`
# A command gets every field of the project as a variable. To say it yourself,
# write rules; of two that give one variable the later wins:
#
# [[inject]]
# path = "shared/stripe"
# only = ["secret_key"]
# rename = { secret_key = "STRIPE_SECRET_KEY" }
#
# [[file]]                # a file in memory; the variable holds its path
# path  = "shared/gcp"
# field = "service_account_json"
# var   = "GOOGLE_APPLICATION_CREDENTIALS"
`)
	return []byte(b.String())
}

func envHeader(e vault.Env) string {
	if bareKey(string(e)) {
		return "[env." + string(e) + "]"
	}
	return "[env." + tomlString(string(e)) + "]"
}

func bareKey(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return s != ""
}

// tomlString writes a basic string.
func tomlString(s string) string {
	const hex = "0123456789abcdef"
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			b.WriteString(`\u00`)
			b.WriteByte(hex[r>>4])
			b.WriteByte(hex[r&15])
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// A statement is one expression of the text with the bytes it takes up, whole
// lines with their ends.
type statement struct {
	header   bool
	path     []string // of a header: its key; of a key: the header's and its own
	from, to int      // text[from:to]
	line     int
}

// document is a text cut into statements, for edits that keep every other byte.
type document struct {
	text  []byte // with its byte order mark
	start int    // after the byte order mark
	eol   string
	stmts []statement
	layer *layer
}

func parseDocument(text []byte) (*document, error) {
	l, err := parseLayer("", text)
	if err != nil {
		return nil, err
	}
	body := bytes.TrimPrefix(text, []byte("\uFEFF"))
	d := &document{text: text, start: len(text) - len(body), eol: "\n", layer: l}
	if i := bytes.IndexByte(text, '\n'); i > 0 && text[i-1] == '\r' {
		d.eol = "\r\n"
	}
	var p unstable.Parser
	p.Reset(body)
	var header []string
	for p.NextExpression() {
		e := p.Expression()
		var s statement
		var from, to int
		for it := e.Key(); it.Next(); {
			if len(s.path) == 0 {
				from = int(it.Node().Raw.Offset)
			}
			s.path = append(s.path, string(it.Node().Data))
			to = int(it.Node().Raw.Offset + it.Node().Raw.Length)
		}
		if e.Kind == unstable.KeyValue {
			from, to = int(e.Raw.Offset), int(e.Raw.Offset+e.Raw.Length)
			s.path = append(slices.Clone(header), s.path...)
		} else {
			s.header = true
			header = s.path
		}
		s.from = d.start + bytes.LastIndexByte(body[:from], '\n') + 1
		s.to = d.start + endOfLine(body, to)
		s.line = bytes.Count(body[:from], []byte{'\n'}) + 1
		d.stmts = append(d.stmts, s)
	}
	return d, nil
}

func endOfLine(text []byte, at int) int {
	if i := bytes.IndexByte(text[at:], '\n'); i >= 0 {
		return at + i + 1
	}
	return len(text)
}

// afterComments is where the comment lines that follow on at end, when they
// belong to what is before them: a blank line or nothing comes after them.
func (d *document) afterComments(at int) int {
	to := at
	for to < len(d.text) {
		end := endOfLine(d.text, to)
		line := bytes.TrimSpace(d.text[to:end])
		if len(line) == 0 {
			return to
		}
		if line[0] != '#' {
			return at
		}
		to = end
	}
	return to
}

// blankAfter reports whether the line that begins at a place is blank, or the
// text ends there.
func (d *document) blankAfter(at int) bool {
	return len(bytes.TrimSpace(d.text[at:endOfLine(d.text, at)])) == 0
}

// blankBefore returns where the blank line that ends at a place begins, or at
// itself if there is none.
func (d *document) blankBefore(at int) int {
	if at == 0 || d.text[at-1] != '\n' {
		return at
	}
	from := bytes.LastIndexByte(d.text[:at-1], '\n') + 1
	if len(bytes.TrimSpace(d.text[from:at])) > 0 {
		return at
	}
	return from
}

// splice replaces text[from:to] and reads the result back.
func (d *document) splice(from, to int, insert string) ([]byte, *layer, error) {
	out := slices.Concat(d.text[:from], []byte(insert), d.text[to:])
	l, err := parseLayer("", out)
	return out, l, err
}

// unedited is the error of an edit that the text's form does not allow.
func unedited(line int, key, detail string) error {
	return &Error{Kind: vault.KindUnsupported, Pos: Pos{Line: line}, Key: key, Detail: detail}
}

func (l *layer) env(name vault.Env) (envLayer, bool) {
	for _, e := range l.envs {
		if e.name == name {
			return e, true
		}
	}
	return envLayer{}, false
}

// AddEnv adds [env.NAME], protected or not, after the last environment of a project file's text
// and keeps every other byte (a text that does not end with a newline gets
// one). The *Error is KindExists if the environment is there, KindInvalid if
// the text or the name is not right, and KindUnsupported, with the line, if
// the text is written in a form that cannot be added to; its Pos has no File.
func AddEnv(text []byte, name vault.Env, protected bool) ([]byte, error) {
	if _, err := vault.ParseEnv(string(name)); err != nil {
		return nil, &Error{Kind: vault.KindInvalid, Key: "env", Detail: detail(err)}
	}
	d, err := parseDocument(text)
	if err != nil {
		return nil, err
	}
	if e, ok := d.layer.env(name); ok {
		return nil, &Error{Kind: vault.KindExists, Pos: e.pos, Key: "env." + string(name), Detail: "environment " + quote(string(name)) + " is there already"}
	}
	last := -1
	for i, s := range d.stmts {
		if len(s.path) > 1 && s.path[0] == "env" {
			last = i
		}
	}
	at, gap := len(text), true
	if last >= 0 {
		s := d.stmts[last]
		at = d.afterComments(s.to)
		// Headers without content stand close together, as they are written by
		// hand, and so does all in a text without blank lines.
		gap = (!s.header || at > s.to) && d.blankAfter(at)
	} else if len(bytes.TrimSpace(text[d.start:])) == 0 {
		gap = false
	}
	insert := envHeader(name) + d.eol
	if protected {
		insert += "protected = true" + d.eol
	}
	if gap && d.blankBefore(at) == at {
		insert = d.eol + insert
	}
	if at > d.start && text[at-1] != '\n' {
		insert = d.eol + insert
	}
	out, l, err := d.splice(at, at, insert)
	if err != nil {
		return nil, unedited(firstLine(d, "env"), "env", "environments are written here in a form that none can be added to: write each as [env.NAME]")
	}
	if _, ok := l.env(name); !ok || len(l.envs) != len(d.layer.envs)+1 {
		return nil, unedited(firstLine(d, "env"), "env", "an environment cannot be added to this text")
	}
	return out, nil
}

// RemoveEnv removes [env.NAME] with its keys, the comments among them and those
// that follow it up to a blank line, and keeps every other byte, comments above
// it among them. The *Error is KindNoEnv if it is not there, KindInvalid if it
// is still used (Pos says where), KindUnsupported if it is not written as [env.NAME].
func RemoveEnv(text []byte, name vault.Env) ([]byte, error) {
	d, err := parseDocument(text)
	if err != nil {
		return nil, err
	}
	e, ok := d.layer.env(name)
	if !ok {
		known := make([]vault.Env, len(d.layer.envs))
		for i, e := range d.layer.envs {
			known[i] = e.name
		}
		return nil, &Error{Kind: vault.KindNoEnv, Key: "env." + string(name), Nearest: string(near.Nearest(string(name), known)), Detail: "there is no [env." + string(name) + "]"}
	}
	if d.layer.deflt == name {
		return nil, &Error{Kind: vault.KindInvalid, Pos: d.layer.defltPos, Key: "default", Detail: "environment " + quote(string(name)) + " is the default"}
	}
	if at, used := d.layer.uses(name); used {
		return nil, &Error{Kind: vault.KindInvalid, Pos: at, Key: "env", Detail: "a rule is for environment " + quote(string(name))}
	}
	from, to := -1, -1
	for _, s := range d.stmts {
		if len(s.path) < 2 || s.path[0] != "env" || s.path[1] != string(name) {
			continue
		}
		switch {
		case s.header && len(s.path) == 2:
			from = s.from
		case s.header || from < 0:
			return nil, unedited(s.line, "env."+string(name), "environment "+quote(string(name))+" is not written as [env."+string(name)+"]: remove it by hand")
		}
		to = s.to
	}
	if from < 0 {
		return nil, unedited(e.pos.Line, "env."+string(name), "environment "+quote(string(name))+" is not written as [env."+string(name)+"]: remove it by hand")
	}
	to = d.afterComments(to)
	if d.blankAfter(to) {
		from = d.blankBefore(from)
	}
	out, l, err := d.splice(from, to, "")
	if err != nil {
		return nil, unedited(e.pos.Line, "env."+string(name), "environment "+quote(string(name))+" cannot be removed from this text")
	}
	if _, still := l.env(name); still || len(l.envs) != len(d.layer.envs)-1 {
		return nil, unedited(e.pos.Line, "env."+string(name), "environment "+quote(string(name))+" cannot be removed from this text")
	}
	return out, nil
}

// uses finds a rule that names an environment.
func (l *layer) uses(name vault.Env) (Pos, bool) {
	for _, r := range l.inject {
		for _, e := range r.Envs {
			if e.Name == string(name) {
				return e.Pos, true
			}
		}
	}
	for _, r := range l.files {
		for _, e := range r.Envs {
			if e.Name == string(name) {
				return e.Pos, true
			}
		}
	}
	return Pos{}, false
}

// SetDefault writes default = NAME: in place of the one there is, else after
// the other keys at the top. Errors are as AddEnv's. Whether there is such an
// environment is not asked: it may come from a file that this one extends.
func SetDefault(text []byte, name vault.Env) ([]byte, error) {
	if _, err := vault.ParseEnv(string(name)); err != nil {
		return nil, &Error{Kind: vault.KindInvalid, Key: "default", Detail: detail(err)}
	}
	d, err := parseDocument(text)
	if err != nil {
		return nil, err
	}
	line := "default = " + tomlString(string(name))
	var from, to int
	var insert string
	if at, n := d.value("default"); n > 0 {
		from, to, insert = at, at+n, tomlString(string(name))
	} else {
		at := d.start
		for _, s := range d.stmts {
			if s.header {
				break
			}
			at = s.to
		}
		from, to, insert = at, at, line+d.eol
		if at > d.start && text[at-1] != '\n' {
			insert = d.eol + insert
		}
	}
	out, l, err := d.splice(from, to, insert)
	if err != nil || l.deflt != name {
		return nil, unedited(firstLine(d, "default"), "default", "the default cannot be set in this text")
	}
	return out, nil
}

// value is where the string of a top-level key is written, quotes included.
func (d *document) value(key string) (at, n int) {
	var p unstable.Parser
	p.Reset(d.text[d.start:])
	for p.NextExpression() {
		e := p.Expression()
		if e.Kind != unstable.KeyValue {
			return 0, 0
		}
		it := e.Key()
		if it.Next(); string(it.Node().Data) == key && it.IsLast() {
			r := e.Value().Raw
			return d.start + int(r.Offset), int(r.Length)
		}
	}
	return 0, 0
}

func firstLine(d *document, key string) int {
	for _, s := range d.stmts {
		if s.path[0] == key {
			return s.line
		}
	}
	return 0
}
