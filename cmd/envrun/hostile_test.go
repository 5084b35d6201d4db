package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"envrun/auth/agekey"
	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/record"
	"envrun/vault/seal"

	"github.com/rogpeppe/go-internal/testscript"
)

// The scripts hostile_*.txtar are attacks on the file vault, told on top of
// each. Their people have a home, an identity and a clone of their own, and
// meet in host.git:
//
//	alice  made the vault, and is in every environment
//	bob    is let in, and put out again
//	thief  can push to the repository, and holds no key
//
// The attack itself is done with text tools and with forge, which can do what
// somebody can who has this program's source, and keys of their own.

// hostileCommands are the commands of these scripts.
func hostileCommands(cmds map[string]func(*testscript.TestScript, bool, []string)) map[string]func(*testscript.TestScript, bool, []string) {
	cmds["as"] = as
	cmds["team"] = team
	cmds["clone"] = clone
	cmds["publish"] = publish
	cmds["undo"] = undo
	cmds["refused"] = refused
	cmds["caught"] = caught
	cmds["right"] = right
	cmds["line"] = line
	cmds["plant"] = plant
	cmds["cut"] = cut
	cmds["harmless"] = harmless
	cmds["escape"] = escape
	cmds["join"] = join
	cmds["unchanged"] = unchanged
	cmds["fingerprint"] = fingerprint
	cmds["pins"] = pins
	cmds["forge"] = forge
	return cmds
}

// as PERSON [MACHINE]: who types from here on. A person has one identity, and
// on each machine a state folder and a work folder of its own; the script goes
// into the clone that is there.
func as(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: as PERSON [MACHINE]")
	}
	person, machine := args[0], strings.Join(args, "-")
	home := filepath.Join(ts.Getenv("WORK"), ".home", person)
	work := filepath.Join(ts.Getenv("WORK"), machine)
	for _, dir := range []string{home, work} {
		ts.Check(os.MkdirAll(dir, 0o700))
	}
	ts.Setenv("HOME", home)
	ts.Setenv("ENVRUN_CONFIG_DIR", filepath.Join(home, "config"))
	ts.Setenv("ENVRUN_STATE_DIR", filepath.Join(ts.Getenv("WORK"), ".home", machine+"-state"))
	for _, role := range []string{"AUTHOR", "COMMITTER"} {
		ts.Setenv("GIT_"+role+"_NAME", person)
		ts.Setenv("GIT_"+role+"_EMAIL", person+"@example.org")
	}
	ts.Setenv("PERSON", person)
	if _, err := os.Stat(filepath.Join(work, "app")); err == nil {
		work = filepath.Join(work, "app")
	}
	ts.Check(ts.Chdir(work))
}

func must(ts *testscript.TestScript, command string, args ...string) {
	if err := ts.Exec(command, args...); err != nil {
		ts.Fatalf("%s %s: %v", command, strings.Join(args, " "), err)
	}
}

// team: alice has a vault with dev and staging in a repository on a host, sealed,
// and the thief has a clone that they can push from. It ends as alice.
//
//	dev app/A       the canary, in its second version
//	dev app/B       which only says b
//	dev db/main/URL the canary
//	staging app/A   the canary
//
// It is made once, and every other script gets a copy.
func team(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: team")
	}
	work := ts.Getenv("WORK")
	first := ts.Value(teamKey{}).(*firstTeam)
	mine := false
	first.once.Do(func() {
		makeTeam(ts)
		for _, name := range []string{"host.git", "alice", "thief", ".home"} {
			must(ts, "cp", "-Rp", filepath.Join(work, name), first.dir)
		}
		first.made, mine = true, true
	})
	switch {
	case !first.made:
		ts.Fatalf("the team could not be made")
	case !mine:
		must(ts, "cp", "-Rp", first.dir+"/.", work)
	}
	as(ts, false, []string{"alice"})
	right(ts, false, nil) // from here on her machine knows the seal, and that this project has the vault
}

type teamKey struct{} // of the *firstTeam in the values of a script

type firstTeam struct {
	dir  string // empty before
	once sync.Once
	made bool
}

func makeTeam(ts *testscript.TestScript) {
	must(ts, "git", "init", "-q", "--bare", "host.git")
	as(ts, false, []string{"alice"})
	clone(ts, false, nil)
	canary := ts.Getenv("CANARY")
	must(ts, "envrun", "init", "--project", "app", "--env", "dev,staging", "--store", "file", "--no-recovery", "--member", "alice@laptop")
	must(ts, "envrun", "set", "A=first", "B=b", "db/main/URL="+canary)
	must(ts, "envrun", "set", "-e", "staging", "A="+canary)
	publish(ts, false, []string{"secrets"})
	must(ts, "envrun", "set", "A="+canary)
	must(ts, "envrun", "vault", "seal")
	publish(ts, false, []string{"a new value, and the seal over it"})
	as(ts, false, []string{"thief"})
	clone(ts, false, nil)
}

// join PERSON ENV: alice lets somebody in, as PERSON@desktop, who then has a clone
// and has opened the environment. It ends as alice.
func join(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: join PERSON ENV")
	}
	person, env := args[:1], args[1]
	as(ts, false, person)
	must(ts, "envrun", "key", "new", "--store", "file", "--member", person[0]+"@desktop")
	fact(ts, false, []string{"RECIPIENT", "recipient", "key", "show"})
	as(ts, false, []string{"alice"})
	must(ts, "envrun", "member", "add", person[0]+"@desktop", ts.Getenv("RECIPIENT"), "-e", env)
	publish(ts, false, []string{env + ": let " + person[0] + " in"})
	right(ts, false, nil)
	as(ts, false, person)
	clone(ts, false, nil)
	must(ts, "envrun", "get", "-e", env, "A")
	as(ts, false, []string{"alice"})
}

// unchanged exec COMMAND…: it fails, and changes nothing.
func unchanged(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || args[0] != "exec" {
		ts.Fatalf("usage: unchanged exec COMMAND…")
	}
	before := everything(ts)
	if err := ts.Exec(args[1], args[2:]...); err == nil {
		ts.Fatalf("it did not fail")
	}
	if after := everything(ts); after != before {
		ts.Fatalf("something was changed:\n%s\nwas\n%s", after, before)
	}
}

// clone: the present person's clone of the host's repository, made or made anew.
func clone(ts *testscript.TestScript, neg bool, args []string) {
	dir := ts.MkAbs(".")
	if filepath.Base(dir) == "app" {
		dir = filepath.Dir(dir)
		ts.Check(ts.Chdir(dir))
		ts.Check(os.RemoveAll(filepath.Join(dir, "app")))
	}
	must(ts, "git", "clone", "-q", "../host.git", "app")
	ts.Check(ts.Chdir(filepath.Join(dir, "app")))
	must(ts, "git", "remote", "set-url", "origin", "../../host.git") // wherever the copy is
}

// publish MESSAGE: commits all that is in the work tree, what is ignored too
// if it was added by hand, and pushes it.
func publish(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: publish MESSAGE")
	}
	must(ts, "git", "add", "-A")
	must(ts, "git", "commit", "-q", "-m", args[0])
	must(ts, "git", "push", "-q", "origin", "HEAD:main")
}

// undo [COMMIT]: takes everything back to what COMMIT (HEAD) has, as a person
// does with git, and what git does not know out of it. Then all is well; and what
// somebody has pushed is undone for the others too.
func undo(ts *testscript.TestScript, neg bool, args []string) {
	commit := "HEAD"
	if len(args) > 0 {
		commit = args[0]
	}
	must(ts, "git", "checkout", "-q", "--no-overlay", commit, "--", ".")
	must(ts, "git", "clean", "-dfq", ".")
	right(ts, false, nil)
	if len(args) > 0 {
		publish(ts, false, []string{"undo what was done to the vault"})
	}
}

// right: nothing is wrong with the vault, and the value is the one that alice wrote.
func right(ts *testscript.TestScript, neg bool, args []string) {
	must(ts, "envrun", "vault", "verify")
	if !strings.Contains(ts.ReadFile("stdout"), "right, 0 findings") {
		ts.Fatalf("verify: %s", ts.ReadFile("stdout"))
	}
	must(ts, "envrun", "get", "A")
	if ts.ReadFile("stdout") != ts.Getenv("CANARY") {
		ts.Fatalf("the value is another")
	}
}

// refused NAME FILE WHAT HINT: everything that would use the field NAME fails,
// names FILE, says WHAT and the next command HINT, shows nothing, starts
// nothing and changes nothing; and vault verify says the same. FILE, WHAT and
// HINT are regular expressions.
func refused(ts *testscript.TestScript, neg bool, args []string) {
	commands := [][]string{{"get", args[0]}, {"set", args[0] + "=new"}, {"rm", args[0]}, {"vault", "seal"}}
	if !strings.Contains(args[0], "/") { // of the project's own secret
		commands = append(commands, []string{"--", "probe", "ran"}, []string{"export", "--format", "json"})
	}
	fails(ts, neg, commands, args)
}

// caught is refused for one more way of what has been refused: it asks a
// reader, a writer and verify.
func caught(ts *testscript.TestScript, neg bool, args []string) {
	fails(ts, neg, [][]string{{"get", args[0]}, {"set", args[0] + "=new"}}, args)
}

func fails(ts *testscript.TestScript, neg bool, commands [][]string, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: refused NAME FILE WHAT HINT")
	}
	wants := args[1:]
	said := func(wants []string) {
		for _, want := range wants {
			if !regexp.MustCompile(want).MatchString(ts.ReadFile("stderr")) {
				ts.Fatalf("stderr does not say %q", want)
			}
		}
		for _, stream := range []string{"stdout", "stderr"} {
			if strings.Contains(ts.ReadFile(stream), ts.Getenv("CANARY")) {
				ts.Fatalf("%s shows the value", stream)
			}
		}
	}
	before := everything(ts)
	for _, command := range commands {
		if err := ts.Exec("envrun", command...); err == nil {
			ts.Fatalf("envrun %s did not fail", strings.Join(command, " "))
		}
		if out := ts.ReadFile("stdout"); out != "" {
			ts.Fatalf("envrun %s printed %s", strings.Join(command, " "), out)
		}
		said(append([]string{"(?m)^hint: .*" + wants[2]}, wants[:2]...))
	}
	if err := ts.Exec("envrun", "vault", "verify"); err == nil {
		ts.Fatalf("verify did not fail")
	}
	said(wants)
	// Nothing is counted of a vault that cannot be opened.
	if out := ts.ReadFile("stdout"); out != "" && !regexp.MustCompile(`, [1-9]\d* findings?\n$`).MatchString(out) {
		ts.Fatalf("verify: %s", out)
	}
	if after := everything(ts); after != before {
		ts.Fatalf("something was changed:\n%s\nwas\n%s", after, before)
	}
}

// everything is a list of the files of the project and of what this machine
// knows, with what is in them, but for locks.
func everything(ts *testscript.TestScript) string {
	var b strings.Builder
	for _, root := range []string{ts.MkAbs("."), ts.Getenv("ENVRUN_STATE_DIR"), ts.Getenv("ENVRUN_CONFIG_DIR")} {
		err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return nil
			case err != nil:
				return err
			case d.IsDir() && d.Name() == ".git":
				return fs.SkipDir
			case strings.HasSuffix(d.Name(), ".lock"), d.IsDir():
				return nil
			}
			fi, err := d.Info()
			if err != nil {
				return err
			}
			what := fmt.Sprintf("%s %d", d.Type(), fi.Size())
			if d.Type().IsRegular() && fi.Size() < 16<<20 {
				raw, err := os.ReadFile(file)
				if err != nil {
					return err
				}
				what = fmt.Sprintf("%x", sha256.Sum256(raw))
			}
			fmt.Fprintf(&b, "%s %q\n", what, file)
			return nil
		})
		ts.Check(err)
	}
	return b.String()
}

// fingerprint ENV [FOLDER]: the variable FINGERPRINT becomes that of the key which
// ENV has now in the project of the present or the given folder.
func fingerprint(ts *testscript.TestScript, neg bool, args []string) {
	f := newForger(ts, args[1:]...)
	env := vault.Env(args[0])
	g, err := record.ParseGen([]byte(ts.ReadFile(filepath.Join(f.dir, blob(env, engine.GenBlob(f.present(env)))))))
	ts.Check(err)
	ts.Setenv("FINGERPRINT", g.Fingerprint)
}

// pins: the variable PINS becomes the file of what this machine knows of the keys
// of the present project's vault.
func pins(ts *testscript.TestScript, neg bool, args []string) {
	ts.Setenv("PINS", filepath.Join(ts.Getenv("ENVRUN_STATE_DIR"), "pins", newForger(ts).vault+".toml"))
}

// line FILE PREFIX FROM: replaces the line of FILE that begins with PREFIX by
// that of the file FROM.
func line(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: line FILE PREFIX FROM")
	}
	find := func(file string) (text, line string) {
		text = ts.ReadFile(file)
		for l := range strings.Lines(text) {
			if strings.HasPrefix(l, args[1]) {
				return text, l
			}
		}
		ts.Fatalf("%s has no line %q", file, args[1])
		return "", ""
	}
	text, old := find(args[0])
	_, new := find(args[2])
	if old == new {
		ts.Fatalf("the lines %q are the same", args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(text, old, new, 1)), 0o644))
}

// escape FILE OLD NEW: sub, with NEW written as in Go.
func escape(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: escape FILE OLD NEW")
	}
	text, err := strconv.Unquote(`"` + args[2] + `"`)
	ts.Check(err)
	sub(ts, false, []string{args[0], args[1], text})
}

// harmless FILE: FILE holds nothing that a terminal would obey or that turns text around.
func harmless(ts *testscript.TestScript, neg bool, args []string) {
	text := ts.ReadFile(args[0])
	if !utf8.ValidString(text) {
		ts.Fatalf("%s is no text: %q", args[0], text)
	}
	for _, r := range text {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			ts.Fatalf("%s has the character %U", args[0], r)
		}
	}
}

// cut FILE N: cuts FILE off after N bytes, or N bytes from its end if N is negative.
func cut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: cut FILE N")
	}
	raw := ts.ReadFile(args[0])
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	if n < 0 {
		n += len(raw)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(raw[:n]), 0o644))
}

// plant NAME FROM: a copy of the file FROM under a name written as in Go, for
// names that a script cannot hold: a\x1b[2Jb. Its folder is made.
func plant(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: plant NAME FROM")
	}
	name, err := strconv.Unquote(`"` + args[0] + `"`)
	ts.Check(err)
	file := filepath.Join(ts.MkAbs("."), name)
	ts.Check(os.MkdirAll(filepath.Dir(file), 0o755))
	ts.Check(os.WriteFile(file, []byte(ts.ReadFile(args[1])), 0o644))
}

// forge is what a person can do who reads this program's source and has keys of
// their own: see the usage of each. Keys that it makes are the present person's,
// one for each environment, kept outside of every repository.
func forge(ts *testscript.TestScript, neg bool, args []string) {
	usage := map[string]string{
		"record":    "FILE ENV PATH VERSION NAME=VALUE…: a secret's file, all of it under the person's own key",
		"remac":     "FILE: gives a secret's file, changed by hand, a data key and a MAC of the person's own",
		"keys":      "ENV [GEN]: an own key in the place of the present one, or of number GEN, wrapped for everybody who has a grant",
		"seal":      "ENV: a seal over what is there, under the person's own key",
		"grant":     "ENV MEMBER RECIPIENT: a grant of the person's own key",
		"recipient": "FILE RECIPIENT: writes another recipient into a grant",
		"request":   "FILE RECIPIENT: writes another recipient into a request",
		"grant-as":  "ENV MEMBER RECIPIENT: a grant that holds nothing, for a recipient that is made up",
		"hold":      "ENV MEMBER: the present key, which the person's identity opens as MEMBER, is the one that they forge with",
		"open":      "FILE NAME: prints the value that a secret's file has under the person's own key",
		"next":      "ENV MEMBER: a next key, chained to the present one, which the person's identity opens as MEMBER",
	}
	if neg && (len(args) == 0 || args[0] != "open") || len(args) < 2 || usage[args[0]] == "" {
		ts.Fatalf("forge does not do that: %v", usage)
	}
	f := newForger(ts)
	var err error
	switch rest := args[1:]; args[0] {
	case "record":
		version, verr := strconv.ParseUint(rest[3], 10, 64)
		ts.Check(verr)
		f.record(rest[0], vault.Env(rest[1]), vault.Path(rest[2]), version, rest[4:])
	case "remac":
		f.remac(rest[0])
	case "keys":
		f.keys(vault.Env(rest[0]), rest[1:]...)
	case "seal":
		f.seal(vault.Env(rest[0]))
	case "grant":
		env := vault.Env(rest[0])
		f.grant(env, f.present(env), rest[1], rest[2], f.key(env))
	case "recipient":
		g, err := record.ParseGrant([]byte(ts.ReadFile(rest[0])))
		ts.Check(err)
		g.Recipient = rest[1]
		ts.Check(os.WriteFile(ts.MkAbs(rest[0]), g.Marshal(), 0o644))
	case "request":
		q, err := record.ParseRequest([]byte(ts.ReadFile(rest[0])))
		ts.Check(err)
		q.Recipient = rest[1]
		ts.Check(os.WriteFile(ts.MkAbs(rest[0]), q.Marshal(), 0o644))
	case "grant-as":
		env := vault.Env(rest[0])
		gen := f.present(env)
		g := f.grants(env, gen)[0]
		g.Member, g.Recipient = rest[1], rest[2]
		f.write(blob(env, engine.GrantBlob(gen, g.Member)), g.Marshal())
	case "hold":
		env := vault.Env(rest[0])
		f.keep(env, f.held(env, rest[1], f.grants(env, f.present(env))))
	case "next":
		f.next(vault.Env(rest[0]), rest[1])
	case "open":
		var value []byte
		if value, err = f.open(rest[0], vault.FieldName(rest[1])); err == nil {
			fmt.Fprintf(ts.Stdout(), "%s\n", value)
		}
		if err == nil && neg {
			ts.Fatalf("%s opens under the key of %s", rest[0], ts.Getenv("PERSON"))
		}
		if err != nil && neg {
			return
		}
	}
	ts.Check(err)
}

// A forger works in the vault of the present folder's project, with record and
// seal and an own key.
type forger struct {
	ts    *testscript.TestScript
	dir   string // the vault's folder
	vault string // its id
	by    string
	at    time.Time
}

func newForger(ts *testscript.TestScript, project ...string) *forger {
	f := &forger{ts: ts, dir: ts.MkAbs(filepath.Join(append(project, ".envrun/vault")...)), by: "alice@laptop", at: time.Now().UTC().Truncate(time.Second)}
	m, err := record.ParseManifest([]byte(ts.ReadFile(filepath.Join(f.dir, "vault.toml"))))
	ts.Check(err)
	f.vault = m.Vault
	return f
}

func (f *forger) write(name string, raw []byte) {
	file := filepath.Join(f.dir, name)
	f.ts.Check(os.MkdirAll(filepath.Dir(file), 0o755))
	f.ts.Check(os.WriteFile(file, raw, 0o644))
}

// key is the person's own for env, made at the first need.
func (f *forger) key(env vault.Env) seal.Key {
	file := filepath.Join(f.ts.Getenv("HOME"), "forged-"+string(env))
	raw, err := os.ReadFile(file)
	if err == nil {
		key, err := seal.KeyOf(raw)
		f.ts.Check(err)
		return key
	}
	key, err := seal.NewKey()
	f.ts.Check(err)
	f.keep(env, key)
	return key
}

func (f *forger) keep(env vault.Env, key seal.Key) {
	f.ts.Check(os.WriteFile(filepath.Join(f.ts.Getenv("HOME"), "forged-"+string(env)), key.Reveal(), 0o600))
}

// present is the number of the key that env has now.
func (f *forger) present(env vault.Env) uint32 {
	list, err := os.ReadDir(filepath.Join(f.dir, "envs", string(env), "keys"))
	f.ts.Check(err)
	n, err := strconv.ParseUint(list[len(list)-1].Name(), 10, 32)
	f.ts.Check(err)
	return uint32(n)
}

func blob(env vault.Env, name string) string { return "envs/" + string(env) + "/" + name }

func (f *forger) grants(env vault.Env, gen uint32) []*record.Grant {
	files, err := filepath.Glob(filepath.Join(f.dir, blob(env, engine.GrantsPrefix(gen)), "*.grant"))
	f.ts.Check(err)
	var grants []*record.Grant
	for _, file := range files {
		g, err := record.ParseGrant([]byte(f.ts.ReadFile(file)))
		f.ts.Check(err)
		grants = append(grants, g)
	}
	return grants
}

// sealed finishes a record with a fresh data key under key and writes it.
func (f *forger) sealed(file string, key seal.Key, r *record.Record, values map[vault.FieldName]string) {
	dek, err := seal.NewDEK()
	f.ts.Check(err)
	b := seal.Binding{Vault: r.Vault, Env: r.Env, Path: r.Path, Version: r.Version, Gen: r.Gen}
	for i := range r.Fields {
		if v, ok := values[r.Fields[i].Name]; ok {
			r.Fields[i].Sealed, err = dek.SealField(b, r.Fields[i].Name, vault.NewValue([]byte(v)))
			f.ts.Check(err)
		}
	}
	r.MAC = dek.RecordMAC(r.MACInput())
	r.Key, err = key.WrapDEK(b, dek)
	f.ts.Check(err)
	f.ts.Check(os.MkdirAll(filepath.Dir(f.ts.MkAbs(file)), 0o755))
	f.ts.Check(os.WriteFile(f.ts.MkAbs(file), r.Marshal(), 0o644))
}

func (f *forger) record(file string, env vault.Env, path vault.Path, version uint64, fields []string) {
	r := &record.Record{Vault: f.vault, Env: env, Path: path, Version: version, By: f.by, At: f.at, Gen: f.present(env)}
	if version > 1 {
		r.PrevVersion = version - 1
		if raw, err := os.ReadFile(f.ts.MkAbs(file)); err == nil {
			r.PrevHash, err = record.BodyHash(raw)
			f.ts.Check(err)
		}
	}
	values := map[vault.FieldName]string{}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, "=")
		values[vault.FieldName(name)] = value
		r.Fields = append(r.Fields, record.Field{Name: vault.FieldName(name), Since: version})
	}
	slices.SortFunc(r.Fields, func(a, b record.Field) int { return strings.Compare(string(a.Name), string(b.Name)) })
	f.sealed(file, f.key(env), r, values)
}

func (f *forger) remac(file string) {
	r, err := record.ParseRecord([]byte(f.ts.ReadFile(file)))
	f.ts.Check(err)
	f.sealed(file, f.key(r.Env), r, nil)
}

func (f *forger) keys(env vault.Env, number ...string) {
	gen := f.present(env)
	grants := f.grants(env, gen)
	f.ts.Check(os.RemoveAll(filepath.Join(f.dir, blob(env, "keys"))))
	if len(number) > 0 {
		n, err := strconv.ParseUint(number[0], 10, 32)
		f.ts.Check(err)
		gen = uint32(n)
	}
	key := f.key(env)
	f.gen(env, gen, key, nil)
	for _, g := range grants {
		f.grant(env, gen, g.Member, g.Recipient, key)
	}
}

// gen writes the description of a key; former is the key before it, if there is one.
func (f *forger) gen(env vault.Env, gen uint32, key seal.Key, former *seal.Key) {
	g := &record.Gen{Vault: f.vault, Env: env, Gen: gen, After: gen - 1, By: f.by, At: f.at, Fingerprint: key.Fingerprint(f.vault, env, gen).String()}
	switch {
	case former != nil:
		g.Chain = former.ChainMAC(g.ChainInput())
	case gen > 1:
		g.Chain = key.ChainMAC(g.ChainInput()) // a chain that leads nowhere
	}
	g.MAC = key.MAC(seal.GenMAC, g.MACInput())
	f.write(blob(env, engine.GenBlob(gen)), g.Marshal())
}

func (f *forger) grant(env vault.Env, gen uint32, member, recipient string, key seal.Key) {
	to, err := agekey.ParseRecipient(recipient)
	f.ts.Check(err)
	g := &record.Grant{Vault: f.vault, Env: env, Gen: gen, Member: member, Recipient: recipient, By: f.by, At: f.at}
	g.MAC = key.MAC(seal.GrantMAC, g.MACInput())
	g.Wrapped, err = seal.AgeSealer("age:"+member, to, nil).Seal(context.Background(), key, seal.KeyContext(f.vault, env, gen, member))
	f.ts.Check(err)
	f.write(blob(env, engine.GrantBlob(gen, member)), g.Marshal())
}

func (f *forger) seal(env vault.Env) {
	s := &record.Seal{Vault: f.vault, Env: env, Gen: f.present(env), Seq: 1, By: f.by, At: f.at}
	if raw, err := os.ReadFile(filepath.Join(f.dir, blob(env, engine.SealBlob))); err == nil {
		if last, err := record.ParseSeal(raw); err == nil {
			s.Seq, s.PrevSeq = last.Seq+1, last.Seq
			s.PrevHash, err = record.BodyHash(raw)
			f.ts.Check(err)
		}
	}
	for _, g := range f.grants(env, s.Gen) {
		hash, err := record.BodyHash(g.Marshal())
		f.ts.Check(err)
		s.Grants = append(s.Grants, record.SealedGrant{Member: g.Member, Hash: hash.Short()})
	}
	err := filepath.WalkDir(filepath.Join(f.dir, blob(env, "secrets")), func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		r, err := record.ParseRecord(raw)
		if err != nil {
			return err
		}
		hash, err := record.BodyHash(raw)
		s.Entries = append(s.Entries, record.SealedEntry{Path: r.Path, Version: r.Version, Hash: hash, Deleted: r.Deleted})
		return err
	})
	f.ts.Check(err)
	slices.SortFunc(s.Entries, func(a, b record.SealedEntry) int { return strings.Compare(string(a.Path), string(b.Path)) })
	s.MAC = f.key(env).MAC(seal.SealMAC, s.MACInput())
	f.write(blob(env, engine.SealBlob), s.Marshal())
}

// next is what a former member can do with the key that they held: make the key
// after it, and a seal under that. What they cannot open stays as it is.
func (f *forger) next(env vault.Env, member string) {
	gen := f.present(env)
	grants := f.grants(env, gen)
	old := f.held(env, member, grants)
	key := f.key(env)
	f.gen(env, gen+1, key, &old)
	for _, g := range grants {
		f.grant(env, gen+1, g.Member, g.Recipient, key)
	}
}

// held is the key that the person's identity opens as member.
func (f *forger) held(env vault.Env, member string, grants []*record.Grant) seal.Key {
	id, err := agekey.Parse(f.ts.ReadFile(filepath.Join(f.ts.Getenv("ENVRUN_CONFIG_DIR"), "identity")))
	f.ts.Check(err)
	for _, g := range grants {
		if g.Member == member {
			key, err := seal.AgeSealer("age:"+member, nil, id.Unwrap()).Open(context.Background(), g.Wrapped, seal.KeyContext(f.vault, env, g.Gen, member))
			f.ts.Check(err)
			return key
		}
	}
	f.ts.Fatalf("%s has no grant of %s", member, env)
	return seal.Key{}
}

func (f *forger) open(file string, name vault.FieldName) ([]byte, error) {
	raw := []byte(f.ts.ReadFile(file))
	r, err := record.ParseRecord(raw)
	if err != nil {
		return nil, err
	}
	b := seal.Binding{Vault: r.Vault, Env: r.Env, Path: r.Path, Version: r.Version, Gen: r.Gen}
	dek, err := f.key(r.Env).UnwrapDEK(b, r.Key)
	if err != nil {
		return nil, err
	}
	for _, field := range r.Fields {
		if field.Name == name {
			v, err := dek.OpenField(b, name, field.Sealed)
			if err != nil {
				return nil, err
			}
			return bytes.Clone(v.Reveal()), nil
		}
	}
	return nil, fmt.Errorf("there is no field %s", name)
}

// attacks are the attacks that there must be a script of, hostile_NAME.txtar.
var attacks = map[string]string{
	// on what a secret's file says
	"swapped":      "the file of one secret in the place of another",
	"renamed":      "a file renamed, and its path line with it",
	"moved_env":    "a record of another environment",
	"copied_vault": "a record of another vault",
	"blended":      "fields and lines of two versions",
	"truncated":    "a file cut off",
	"remac":        "all of it under a key of the thief's",
	"downgraded":   "an older format, another kind of file, a header nobody knows",
	"history":      "versions in git's history that never were",

	// on what there is
	"deleted":         "a secret, the seal, the keys or all of it deleted",
	"resurrected":     "a deleted secret put back",
	"rolled_back":     "an older version put back, below the seal and above it",
	"seal":            "the seal removed, edited, or of another environment",
	"old_commit":      "an old commit served by the host",
	"key_rolled_back": "the removal of a member reverted",

	// on the keys and who holds them
	"key_replaced":     "the keys folder made anew, and wrapped for everybody",
	"vault_replaced":   "the vault made anew, or envrun.toml pointed at another",
	"chain_forged":     "the next key made by a former member",
	"grant_forged":     "a grant made by somebody without the key",
	"recipient_edited": "another recipient in a grant, a grant added, a grant renamed",
	"request_altered":  "a request altered after its check code was read",
	"pins_deleted":     "what a machine knows deleted or damaged",
	"exposed_edited":   "the list of what a former member could read shortened",
	"adopt":            "records under a former key",
	"plugin":           "a plugin that nobody named",

	// on what reads the files
	"names":         "paths that lead out, are devices, differ in case, hold control characters, are too long, are no text",
	"links":         "symbolic and hard links, pipes and folders where files belong",
	"oversized":     "files that are too large",
	"text":          "text that speaks to a terminal",
	"journal":       "a journal and a lock that came with a checkout",
	"gitattributes": "attributes that rewrite bytes",
	"git_config":    "hooks, pagers, filters and drivers of a clone",
	"project_file":  "envrun.toml pointed elsewhere",
	"merge":         "a branch to be merged",
	"setup":         "links in the way of what init and import write",

	// by those who hold something
	"reader":        "a copy of the repository and no key",
	"member":        "a member who means harm",
	"former_member": "a former member without write access",
	"ci":            "a pipeline's key in a hostile job",
}

// Each attack has its script, each script its story, and what a script shows to
// go unnoticed stands in the README, in the words that the script names.
func TestAttacks(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(readme), "\n## What it protects against, and what it does not\n")
	if !ok {
		t.Fatal("the README has no section on what is protected against")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	words := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	_, list, _ := strings.Cut(section, "\nSaid plainly:\n")
	section = words(section)
	shown := map[string]bool{} // what of it some script shows

	files, err := filepath.Glob("testdata/script/hostile_*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "hostile_"), ".txtar")
		if attacks[name] == "" {
			t.Errorf("%s is of no attack in the list", file)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		// The story: who does what and hopes for what, and what comes of it.
		head, script, _ := strings.Cut(string(text), "\n[")
		paragraphs := strings.Split(head, "\n#\n")
		if !strings.HasPrefix(head, "# Attack: ") || len(paragraphs) != 3 || len(strings.Fields(paragraphs[1])) < 30 || len(strings.Fields(paragraphs[2])) < 20 {
			t.Errorf("%s has no story on top: what it is, who does it and hopes for what, and what comes of it", file)
		}
		for line := range strings.Lines(head) {
			if !strings.HasPrefix(line, "#") {
				t.Errorf("%s: the story is cut short by %q", file, line)
			}
		}
		sentences := 0
		for line := range strings.Lines(string(text)) {
			_, sentence, ok := strings.Cut(line, "not detected: ")
			if !ok {
				continue
			}
			sentences++
			if s := strings.TrimSuffix(words(sentence), "."); len(s) < 30 || !strings.Contains(section, s) {
				t.Errorf("%s: the README does not say %q", file, s)
			} else {
				shown[s] = true
			}
		}
		if asserted := strings.Contains(script, "\n# Not detected"); asserted && sentences == 0 {
			t.Errorf("%s shows what is not detected, and names no sentence of the README", file)
		}
		// What is refused is refused with a reason and the next command.
		for _, want := range []string{"stderr '", "hint: "} {
			if !strings.Contains(script, want) && !strings.Contains(script, "\nrefused ") && !strings.Contains(script, "\ncaught ") && sentences == 0 {
				t.Errorf("%s does not look for %s", file, want)
			}
		}
	}
	for name, what := range attacks {
		if _, err := os.Stat("testdata/script/hostile_" + name + ".txtar"); err != nil {
			t.Errorf("there is no script of %s: %s", name, what)
		}
	}
	// And nothing stands there that was never tried.
	for _, item := range strings.Split(list, "\n* ")[1:] {
		item = words(item)
		if !slices.ContainsFunc(slices.Collect(maps.Keys(shown)), func(s string) bool { return strings.HasPrefix(item, s) }) {
			t.Errorf("no script shows what the README says: %s", item)
		}
	}
	if len(shown) < 15 {
		t.Errorf("%d sentences are named: are they still looked for?", len(shown))
	}
}
