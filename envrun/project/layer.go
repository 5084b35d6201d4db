package project

import (
	"encoding/base64"
	"net/url"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"envrun/vault"
	"envrun/vault/near"
)

// layer is what one file says, before it is laid over another.
type layer struct {
	file      string
	extends   string
	vault     string // located: see locate
	vaultPos  Pos
	server    Server
	ci        CI
	signIn    SignIn
	name      vault.Path
	namePos   Pos
	deflt     vault.Env
	defltPos  Pos
	envs      []envLayer
	inject    []Inject
	files     []File
	allow     []Name
	inherit   []Name
	require   []Name
	mask      []MaskRule
	extendPos Pos
}

// envLayer is what one file says of an environment; a key it does not say has no Pos.
type envLayer struct {
	name         vault.Env
	vault        string
	vaultPos     Pos
	server       Server
	ci           CI
	signIn       SignIn
	mount        string
	cache        Cache
	protected    bool
	protectedPos Pos
	mask         MaskMode
	maskPos      Pos
	require      []Name
	pos          Pos
}

// The keys there are, for the nearest match of one there is not.
var (
	topKeys    = []string{"vault", "ca", "pin", "namespace", "project", "default", "extends", "env", "inject", "file", "allow_names", "inherit_wins", "require", "mask", "ci", "sign_in"}
	envKeys    = []string{"vault", "ca", "pin", "namespace", "mount", "cache", "protected", "mask", "require", "ci", "sign_in"}
	injectKeys = []string{"path", "only", "except", "rename", "prefix", "transform", "optional", "env", "mask"}
	fileKeys   = []string{"path", "field", "var", "optional", "env", "mask"}
	ciKeys     = []string{"role", "mount", "audience"}
	signInKeys = []string{"mount", "role", "issuer", "client_id", "scopes", "hosts", "flow", "ca"}
)

// decoder reads one layer from its tree. The first thing wrong is kept in err,
// and after it every method answers with nothing: the caller looks once.
type decoder struct {
	file string
	err  error
}

func parseLayer(file string, text []byte) (*layer, error) {
	root, err := parseTree(file, text)
	if err != nil {
		return nil, err
	}
	d := &decoder{file: file}
	l := d.layer(root)
	if d.err != nil {
		return nil, d.err
	}
	return l, nil
}

func (d *decoder) pos(n *node) Pos { return Pos{d.file, n.line} }

func (d *decoder) fail(n *node, key, detail string) {
	d.failWith(&Error{Kind: vault.KindInvalid, Pos: d.pos(n), Key: key, Detail: detail})
}

func (d *decoder) failWith(e *Error) {
	if d.err == nil {
		d.err = e
	}
}

func (d *decoder) unknown(n *node, where string, known []string) {
	key := n.key
	detail := "unknown key " + quote(n.key)
	if where != "" {
		key = where + "." + n.key
		detail += " in " + where
	}
	d.failWith(&Error{Kind: vault.KindInvalid, Pos: d.pos(n), Key: key, Detail: detail, Nearest: near.Nearest(n.key, known)})
}

// want reports whether n is of a kind, and complains if it is not.
func (d *decoder) want(n *node, key string, k kind, what string) bool {
	if n.kind != k {
		d.fail(n, key, key+" must be "+what+", not "+n.what())
	}
	return n.kind == k
}

func (d *decoder) text(n *node, key string) string {
	if !d.want(n, key, kindString, "a string") {
		return ""
	}
	if n.str == "" {
		d.fail(n, key, key+" is empty")
	}
	return n.str
}

func (d *decoder) yes(n *node, key string) bool {
	return d.want(n, key, kindBool, "true or false") && n.yes
}

func (d *decoder) yesPtr(n *node, key string) *bool {
	v := d.yes(n, key)
	return &v
}

// list reads a list of strings without repeats; check says what is wrong with one.
func (d *decoder) list(n *node, key string, check func(string) string) []Name {
	if !d.want(n, key, kindArray, "a list of strings") {
		return nil
	}
	names := make([]Name, 0, len(n.kids))
	seen := make(map[string]int, len(n.kids))
	for _, k := range n.kids {
		if !d.want(k, key, kindString, "a list of strings") {
			return nil
		}
		if why := check(k.str); why != "" {
			d.fail(k, key, key+" "+why)
			return nil
		}
		if line, ok := seen[k.str]; ok {
			d.fail(k, key, key+" names "+quote(k.str)+" twice, first in line "+itoa(line))
			return nil
		}
		seen[k.str] = k.line
		names = append(names, Name{k.str, d.pos(k)})
	}
	return names
}

func (d *decoder) layer(root *node) *layer {
	l := &layer{file: d.file}
	for _, n := range root.kids {
		switch n.key {
		case "vault":
			l.vault, l.vaultPos = d.location(n, "vault"), d.pos(n)
		case "ca", "pin", "namespace":
			d.server(&l.server, n, n.key)
		case "project":
			l.name, l.namePos = d.path(n, "project"), d.pos(n)
		case "default":
			l.deflt, l.defltPos = d.env(n, "default"), d.pos(n)
		case "extends":
			l.extends, l.extendPos = d.text(n, "extends"), d.pos(n)
			if strings.ContainsRune(l.extends, 0) {
				d.fail(n, "extends", "extends holds a NUL")
			}
		case "env":
			if d.want(n, "env", kindTable, "a table of environments, written [env.NAME]") {
				l.envs = make([]envLayer, 0, len(n.kids))
				for _, e := range n.kids {
					l.envs = append(l.envs, d.envLayer(e))
				}
			}
		case "inject":
			for _, r := range d.rules(n, "inject") {
				l.inject = append(l.inject, d.inject(r))
			}
		case "file":
			for _, r := range d.rules(n, "file") {
				l.files = append(l.files, d.deliver(r))
			}
		case "allow_names":
			l.allow = d.list(n, "allow_names", func(s string) string {
				if len(s) >= 6 && strings.EqualFold(s[:6], "envrun") {
					return "cannot allow " + quote(s) + ": names that begin with ENVRUN are envrun's own"
				}
				return checkVariable(s)
			})
		case "inherit_wins":
			l.inherit = d.list(n, "inherit_wins", checkVariable)
		case "require":
			l.require = d.list(n, "require", checkVariable)
		case "mask":
			if d.want(n, "mask", kindTable, "a table of variables, NAME = true or false") {
				for _, m := range n.kids {
					if why := checkVariable(m.key); why != "" {
						d.fail(m, "mask", "mask "+why)
					}
					l.mask = append(l.mask, MaskRule{m.key, d.yes(m, "mask."+m.key), d.pos(m)})
				}
			}
		case "ci":
			l.ci = d.ci(n, "ci")
		case "sign_in":
			l.signIn = d.signIn(n, "sign_in")
		default:
			d.unknown(n, "", topKeys)
		}
		if d.err != nil {
			return nil
		}
	}
	return l
}

func (d *decoder) envLayer(n *node) envLayer {
	e := envLayer{pos: d.pos(n)}
	name, err := vault.ParseEnv(n.key)
	if err != nil {
		d.fail(n, "env", detail(err))
		return e
	}
	e.name = name
	where := "env." + n.key
	if !d.want(n, where, kindTable, "a table") {
		return e
	}
	for _, k := range n.kids {
		switch k.key {
		case "vault":
			e.vault, e.vaultPos = d.location(k, where+".vault"), d.pos(k)
		case "ca", "pin", "namespace":
			d.server(&e.server, k, where+"."+k.key)
		case "mount":
			e.mount = d.mount(k, where+".mount")
		case "cache":
			e.cache = d.cache(k, where+".cache")
		case "protected":
			e.protected, e.protectedPos = d.yes(k, where+".protected"), d.pos(k)
		case "mask":
			e.mask, e.maskPos = MaskMode(d.text(k, where+".mask")), d.pos(k)
			switch e.mask {
			case MaskAuto, MaskAlways, MaskNever:
			default:
				d.fail(k, where+".mask", where+`.mask must be "auto", "always" or "never"`)
			}
		case "require":
			e.require = d.list(k, where+".require", checkVariable)
		case "ci":
			e.ci = d.ci(k, where+".ci")
		case "sign_in":
			e.signIn = d.signIn(k, where+".sign_in")
		default:
			d.unknown(k, where, envKeys)
		}
	}
	return e
}

// server reads one of the keys that say how a server is known.
func (d *decoder) server(s *Server, n *node, key string) {
	if s.Pos.File == "" {
		s.Pos = d.pos(n)
	}
	switch n.key {
	case "ca":
		s.CA = d.certificates(n, key)
	case "pin":
		if n.kind == kindString {
			s.Pins = []string{n.str}
			if why := checkPin(n.str); why != "" {
				d.fail(n, key, key+" "+why)
			}
			return
		}
		for _, p := range d.list(n, key, checkPin) {
			s.Pins = append(s.Pins, p.Name)
		}
	case "namespace":
		s.Namespace = d.text(n, key)
		if why := checkMount(strings.TrimSuffix(s.Namespace, "/")); why != "" && d.err == nil {
			d.fail(n, key, key+" "+why)
		}
	}
}

// ci reads a table that says how a pipeline signs in.
func (d *decoder) ci(n *node, key string) CI {
	var c CI
	if !d.want(n, key, kindTable, "a table") {
		return c
	}
	c.Pos = d.pos(n)
	for _, k := range n.kids {
		where := key + "." + k.key
		switch k.key {
		case "role":
			c.Role = d.role(k, where)
		case "mount":
			c.Mount = d.mount(k, where)
		case "audience":
			c.Audience = d.text(k, where)
		default:
			d.unknown(k, key, ciKeys)
		}
	}
	return c
}

// signIn reads a table that says how people sign in.
func (d *decoder) signIn(n *node, key string) SignIn {
	var s SignIn
	if !d.want(n, key, kindTable, "a table") {
		return s
	}
	s.Pos = d.pos(n)
	for _, k := range n.kids {
		where := key + "." + k.key
		switch k.key {
		case "mount":
			s.Mount = d.mount(k, where)
		case "role":
			s.Role = d.role(k, where)
		case "issuer":
			s.Issuer = d.text(k, where)
			if _, why := locate(s.Issuer, ""); d.err == nil && (why != "" || !remote(s.Issuer)) {
				d.fail(k, where, where+" is the https:// address of an identity provider, as its tokens say it")
			}
		case "client_id":
			s.ClientID = d.text(k, where)
		case "scopes":
			for _, scope := range d.list(k, where, checkScope) {
				s.Scopes = append(s.Scopes, scope.Name)
			}
		case "hosts":
			for _, host := range d.list(k, where, checkHost) {
				s.Hosts = append(s.Hosts, host.Name)
			}
		case "flow":
			if s.Flow = d.text(k, where); s.Flow != "browser" && s.Flow != "device" && s.Flow != "paste" {
				d.fail(k, where, where+` must be "browser", "device" or "paste"`)
			}
		case "ca":
			s.CA = d.certificates(k, where)
		default:
			d.unknown(k, key, signInKeys)
		}
	}
	return s
}

// checkScope says what is wrong with a scope of OAuth (RFC 6749 §3.3).
func checkScope(s string) string {
	for _, c := range s {
		if c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return quote(s) + " is no scope"
		}
	}
	if s == "" {
		return "holds an empty scope"
	}
	return ""
}

// checkHost says what is wrong with a host, which may have a port.
func checkHost(s string) string {
	if u, err := url.Parse("https://" + s); err != nil || u.Host != s || u.Hostname() == "" {
		return quote(s) + " is no host"
	}
	return ""
}

// role reads the name of a role of a server.
func (d *decoder) role(n *node, key string) string {
	s := d.text(n, key)
	if strings.ContainsAny(s, "/ ") && d.err == nil {
		d.fail(n, key, key+" is the name of a role, without slashes or spaces")
	}
	return s
}

// certificates reads where a file of certificates is.
func (d *decoder) certificates(n *node, key string) string {
	s, why := d.text(n, key), ""
	if strings.Contains(s, "://") {
		why = "is a file beside this one, not an address"
	} else if d.err == nil {
		s, why = locate(s, filepath.Dir(d.file))
	}
	if why != "" {
		d.fail(n, key, key+" "+why)
	}
	return s
}

func (d *decoder) cache(n *node, key string) Cache {
	c := Cache{Pos: d.pos(n)}
	text := d.text(n, key)
	if text == "off" || d.err != nil {
		return c
	}
	var err error
	if c.For, err = time.ParseDuration(text); err != nil || c.For < time.Second || c.For > MaxCache {
		d.fail(n, key, key+` is a duration up to 720h, as "24h", or "off"`)
	}
	return c
}

func (d *decoder) mount(n *node, key string) string {
	s := d.text(n, key)
	if why := checkMount(s); why != "" && d.err == nil {
		d.fail(n, key, key+" "+why)
	}
	return s
}

// checkPin says what is wrong with the pin of a server's key.
func checkPin(s string) string {
	text, ok := strings.CutPrefix(s, "sha256/")
	if raw, err := base64.StdEncoding.DecodeString(text); !ok || err != nil || len(raw) != 32 {
		return `is "sha256/" and the base64 of the SHA-256 of the server's public key`
	}
	return ""
}

// checkMount says what is wrong with the path of a mount or a namespace.
func checkMount(s string) string {
	for seg := range strings.SplitSeq(s, "/") {
		if seg == "" || seg == "." || seg == ".." || strings.Trim(seg, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" {
			return "is " + quote(s) + ": it is made of letters, digits and . _ - in segments joined by /"
		}
	}
	return ""
}

// rules are the tables of [[key]], or of a list of inline tables.
func (d *decoder) rules(n *node, key string) []*node {
	switch n.kind {
	case kindTables:
		return n.kids
	case kindTable:
		d.fail(n, key, key+" must be written [["+key+"]], once for each rule")
		return nil
	case kindArray:
		for _, k := range n.kids {
			if !d.want(k, key, kindTable, "a list of tables, written [["+key+"]]") {
				return nil
			}
		}
		return n.kids
	}
	d.want(n, key, kindTables, "a list of tables, written [["+key+"]]")
	return nil
}

func (d *decoder) inject(n *node) Inject {
	r := Inject{Pos: d.pos(n)}
	for _, k := range n.kids {
		where := "inject." + k.key
		switch k.key {
		case "path":
			r.Path = d.path(k, where)
		case "only":
			if r.Only = d.list(k, where, checkGlob); r.Only != nil && len(r.Only) == 0 {
				d.fail(k, where, "inject.only is empty: the rule would inject nothing")
			}
		case "except":
			r.Except = d.list(k, where, checkGlob)
		case "rename":
			r.Rename = d.renames(k)
		case "prefix":
			r.Prefix = d.text(k, where)
			if why := checkVariable(r.Prefix); why != "" {
				d.fail(k, where, where+" "+why)
			}
		case "transform":
			if r.Upper = d.text(k, where) == "upper"; !r.Upper {
				d.fail(k, where, `inject.transform must be "upper"`)
			}
		case "optional":
			r.Optional = d.yes(k, where)
		case "env":
			r.Envs = d.envs(k, where)
		case "mask":
			r.Mask = d.yesPtr(k, where)
		default:
			d.unknown(k, "inject", injectKeys)
		}
	}
	if r.Path == "" {
		d.fail(n, "inject.path", "[[inject]] has no path")
	}
	for _, re := range r.Rename {
		if why := r.leavesOut(re.Field); why != "" {
			d.failWith(&Error{Kind: vault.KindInvalid, Pos: re.Pos, Key: "inject.rename",
				Detail: "rename of " + quote(string(re.Field)) + ", which " + why})
		}
	}
	return r
}

// leavesOut says why the rule does not take a field; empty if it does.
func (r Inject) leavesOut(f vault.FieldName) string {
	if len(r.Only) > 0 && !matches(r.Only, string(f)) {
		return "only leaves out"
	}
	if matches(r.Except, string(f)) {
		return "except leaves out"
	}
	return ""
}

// Takes reports whether only and except let a field through.
func (r Inject) Takes(f vault.FieldName) bool { return r.leavesOut(f) == "" }

// Variable is the name of the variable that a field becomes under this rule.
func (r Inject) Variable(f vault.FieldName) string {
	for _, re := range r.Rename {
		if re.Field == f {
			return re.To
		}
	}
	name := string(f)
	if r.Upper {
		name = strings.Map(func(c rune) rune {
			switch {
			case 'a' <= c && c <= 'z':
				return c - 'a' + 'A'
			case c == '.' || c == '-':
				return '_'
			}
			return c
		}, name)
	}
	return r.Prefix + name
}

func matches(globs []Name, name string) bool {
	for _, g := range globs {
		if Match(g.Name, name) {
			return true
		}
	}
	return false
}

// Match reports whether a name matches a glob: * any letters, ? one, [a-z] one
// of these, \ before one that means itself. A malformed glob matches nothing.
func Match(glob, name string) bool {
	ok, err := path.Match(glob, name)
	return ok && err == nil
}

// IsGlob reports whether s is a pattern, rather than one name.
func IsGlob(s string) bool { return strings.ContainsAny(s, `*?[\`) }

// CheckGlob says what is wrong with a glob or name over names of fields or
// variables, as an error of KindInvalid.
func CheckGlob(s string) error {
	if why := checkGlob(s); why != "" {
		return &vault.Error{Kind: vault.KindInvalid, Detail: why}
	}
	return nil
}

func (d *decoder) renames(n *node) []Rename {
	if !d.want(n, "inject.rename", kindTable, `a table, { field = "VARIABLE" }`) {
		return nil
	}
	out := make([]Rename, 0, len(n.kids))
	seen := make(map[string]string, len(n.kids))
	for _, k := range n.kids {
		field, err := vault.ParseFieldName(k.key)
		if err != nil {
			d.fail(k, "inject.rename", detail(err))
			return nil
		}
		to := d.text(k, "inject.rename."+k.key)
		if d.err != nil {
			return nil
		}
		if why := checkVariable(to); why != "" {
			d.fail(k, "inject.rename", "inject.rename "+why)
			return nil
		}
		if other, ok := seen[to]; ok {
			d.fail(k, "inject.rename", "renames both "+quote(other)+" and "+quote(k.key)+" to "+quote(to))
			return nil
		}
		seen[to] = k.key
		out = append(out, Rename{field, to, d.pos(k)})
	}
	return out
}

func (d *decoder) deliver(n *node) File {
	r := File{Pos: d.pos(n)}
	for _, k := range n.kids {
		where := "file." + k.key
		switch k.key {
		case "path":
			r.Path = d.path(k, where)
		case "field":
			name, err := vault.ParseFieldName(d.text(k, where))
			if err != nil {
				d.fail(k, where, where+": "+detail(err))
			}
			r.Field = name
		case "var":
			r.Var = d.text(k, where)
			if why := checkVariable(r.Var); why != "" {
				d.fail(k, where, where+" "+why)
			}
		case "optional":
			r.Optional = d.yes(k, where)
		case "env":
			r.Envs = d.envs(k, where)
		case "mask":
			r.Mask = d.yesPtr(k, where)
		default:
			d.unknown(k, "file", fileKeys)
		}
	}
	switch {
	case r.Path == "":
		d.fail(n, "file.path", "[[file]] has no path")
	case r.Field == "":
		d.fail(n, "file.field", "[[file]] has no field: which field of "+string(r.Path)+" is the file?")
	case r.Var == "":
		d.fail(n, "file.var", "[[file]] has no var: which variable is to hold the file's path?")
	}
	return r
}

// envs reads the environments a rule is for: one name or a list of them.
func (d *decoder) envs(n *node, key string) []Name {
	if n.kind == kindString {
		return []Name{{string(d.env(n, key)), d.pos(n)}}
	}
	if n.kind != kindArray {
		d.fail(n, key, key+" must be an environment or a list of them, not "+n.what())
		return nil
	}
	names := d.list(n, key, func(s string) string {
		if _, err := vault.ParseEnv(s); err != nil {
			return detail(err)
		}
		return ""
	})
	if len(names) == 0 {
		d.fail(n, key, key+" is empty: the rule would be for no environment")
	}
	return names
}

func (d *decoder) env(n *node, key string) vault.Env {
	s := d.text(n, key)
	if d.err != nil {
		return ""
	}
	e, err := vault.ParseEnv(s)
	if err != nil {
		d.fail(n, key, key+": "+detail(err))
	}
	return e
}

func (d *decoder) path(n *node, key string) vault.Path {
	s := d.text(n, key)
	if d.err != nil {
		return ""
	}
	p, err := vault.ParsePath(s)
	if err != nil {
		d.fail(n, key, key+": "+detail(err))
	}
	return p
}

func (d *decoder) location(n *node, key string) string {
	s := d.text(n, key)
	if d.err != nil {
		return ""
	}
	at, why := locate(s, filepath.Dir(d.file))
	if why != "" {
		d.fail(n, key, key+" "+why)
	}
	return at
}

// locate makes a vault's location of what the file says: an address as it is,
// a path absolute, taken from the file's directory.
func locate(s, dir string) (at, why string) {
	for _, c := range s {
		if c < ' ' || c == 0x7f {
			return "", "holds a control character"
		}
	}
	scheme, rest, isURL := strings.Cut(s, "://")
	if !isURL {
		if s == "~" || strings.HasPrefix(s, "~/") || strings.HasPrefix(s, "$") {
			return "", "is " + quote(s) + ", and neither ~ nor variables are replaced here; write a path from this file's directory"
		}
		s = filepath.FromSlash(s)
		if filepath.IsAbs(s) {
			return filepath.Clean(s), ""
		}
		return filepath.Join(dir, s), ""
	}
	host, _, _ := strings.Cut(rest, "/")
	switch {
	case scheme != "https" && scheme != "http":
		return "", "has the scheme " + quote(scheme) + "; known are a path, https:// and, for this machine alone, http://"
	case host == "" || strings.ContainsAny(rest, " \\\"<>^`{|}"):
		return "", "is not an address"
	case strings.Contains(host, "@"):
		return "", "holds a login; sign in instead: this file is committed"
	case strings.ContainsAny(rest, "?#"):
		return "", "must be an address without ? and #"
	case scheme == "http" && !loopback(host):
		return "", "would send secrets unencrypted: use https:// (http:// is for localhost alone)"
	}
	return strings.TrimRight(s, "/"), ""
}

// loopback reports whether a host, with or without a port, is this machine by name.
func loopback(host string) bool {
	if h, port, ok := cutLast(host, ":"); ok && !strings.Contains(port, "]") {
		host = h
	}
	return host == "localhost" || host == "127.0.0.1" || host == "[::1]"
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// checkVariable says what is wrong with a variable's name (C5).
func checkVariable(s string) string {
	if s == "" {
		return "is an empty name"
	}
	if len(s) > 255 {
		return "names a variable longer than 255 bytes"
	}
	for i := range len(s) {
		c := s[i]
		if c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || i > 0 && '0' <= c && c <= '9' {
			continue
		}
		return quote(s) + " is not a variable's name: letters, digits and _, not beginning with a digit"
	}
	return ""
}

func checkGlob(s string) string {
	if s == "" {
		return "holds an empty name"
	}
	if _, err := path.Match(s, ""); err != nil {
		return quote(s) + " is not a pattern: " + `* ? and [a-z] are special, \ takes that away`
	}
	if IsGlob(s) {
		return ""
	}
	if _, err := vault.ParseFieldName(s); err != nil {
		return detail(err)
	}
	return ""
}

// detail is the text of an error of vault's parsers, which have no place to name.
func detail(err error) string { return err.Error() }

func itoa(n int) string { return strconv.Itoa(n) }
