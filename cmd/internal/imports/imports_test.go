package imports_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "envrun"

// layers go one way (design §3): a package imports those of its own layer and
// of the layers to the right of it.
var layers = []string{"cmd", "tui", "envrun", "vault", "auth"}

// A rule forbids imports, with the reason that a failure prints. A name is a
// package, or a package and everything below it when it ends in "/...".
type rule struct {
	from   []string
	never  []string
	except []string // packages of from to which the rule does not apply
	why    string
}

var rules = []rule{
	{[]string{"vault"}, []string{"envrun/..."}, nil,
		"the root holds nouns; if it may import nothing of ours, nothing that does anything can settle in it"},
	{[]string{"auth"}, []string{"envrun/..."}, nil,
		"as vault: nouns only"},
	{[]string{"auth/..."}, []string{"envrun/vault/..."}, nil,
		"who I am must not depend on where secrets lie; a store or a function is passed in by cmd"},
	{[]string{"auth/browser"}, []string{"envrun/auth/oidc/...", "github.com/coreos/...", "golang.org/x/oauth2/..."}, nil,
		"a browser is opened, and comes back: what its answer means is the caller's"},
	{[]string{"auth/...", "vault/..."}, []string{"envrun/auth/oidc/login", "github.com/coreos/...", "golang.org/x/oauth2/..."}, []string{"auth/oidc/login"},
		"people sign in at a client: no server needs it, and only cmd brings it to where the tokens go"},
	{[]string{"auth/private"}, []string{"envrun/...", "net"}, nil,
		"files of one person: what is in them is others' business"},
	{[]string{"vault/near", "vault/parallel"}, []string{"envrun/...", "os", "net"}, nil,
		"they know nothing of what they are given: packages of every layer use them"},
	{[]string{"vault/record"}, []string{"envrun/vault/seal", "envrun/vault/engine", "envrun/vault/filevault", "envrun/auth/..."}, nil,
		"the text of a record is parsed and written without knowing a key"},
	{[]string{"vault/seal"}, []string{"envrun/vault/record", "envrun/vault/engine", "envrun/vault/filevault", "envrun/auth/...", "os", "net"}, nil,
		"the envelope is bytes in, bytes out: no file, no format, no peer"},
	{[]string{"vault/engine"}, []string{"os", "path/filepath", "net", "database/sql", "envrun/vault/filevault", "envrun/auth/..."}, nil,
		"the engine knows no file and no SQL; a Store does"},
	{[]string{"vault/policy"}, []string{"os", "io/fs", "path/filepath", "net", "net/http", "context", "log/slog", "database/sql", "envrun/vault/engine", "envrun/vault/filevault", "envrun/auth/..."}, nil,
		"a decision depends on the texts, the identity and the request that it is given, and on nothing else"},
	{[]string{"vault/wire"}, []string{"net", "net/http", "os", "context", "envrun/vault/engine", "envrun/vault/filevault", "envrun/auth/..."}, nil,
		"the JSON of an API, for the client and for the server: whoever speaks it brings the HTTP"},
	{[]string{"vault/audit"}, []string{"net", "net/http", "database/sql", "log/slog", "envrun/vault/engine", "envrun/vault/filevault", "envrun/vault/policy", "envrun/auth/..."}, nil,
		"the program checks exports with it: what a log is must not depend on where it is kept or sent"},
	{[]string{"vault/remote"}, []string{"os", "path/filepath", "envrun/vault/engine", "envrun/vault/filevault", "envrun/vault/seal", "envrun/auth/..."}, nil,
		"a client is given its token, its certificates and its settings; it reads no file and no variable"},
	{[]string{"vault/carry"}, []string{"os", "path/filepath", "net", "net/http", "envrun/vault/engine", "envrun/vault/filevault", "envrun/vault/remote", "envrun/auth/..."}, nil,
		"it carries between any two vaults, and knows neither"},
	{[]string{"vault/transit"}, []string{"os", "net", "net/http", "envrun/vault/keyring", "envrun/vault/remote", "envrun/vault/server"}, nil,
		"a sealer asks an engine that it is handed; how that is reached is not its business"},
	{[]string{"vault/cache"}, []string{"net", "net/http", "envrun/vault/remote", "envrun/vault/wire", "envrun/vault/filevault", "envrun/vault/registry"}, nil,
		"what is kept of a server must not depend on how it is spoken to; cmd says which errors mean that it is away"},
	{[]string{"vault/registry"}, []string{"envrun/vault/engine", "envrun/vault/filevault", "envrun/vault/remote", "net", "net/http", "os"}, nil,
		"it knows kinds of addresses and no vault; cmd brings those"},
	{[]string{"cmd/envrun", "tui/...", "envrun/...", "vault/audit", "vault/sqlstore"}, []string{"envrun/vault/audit/device"}, nil,
		"devices are the server's: the program reads a log and checks it"},
	{[]string{"cmd/...", "tui/...", "envrun/...", "vault/...", "auth/..."}, []string{"github.com/hashicorp/..."}, nil,
		"Vault and its libraries are what tests compare with; none of it is linked"},
	{[]string{"envrun/environ", "envrun/redact", "envrun/project", "envrun/intake"}, []string{"envrun/envrun/run", "envrun/envrun/resolve", "envrun/vault/engine", "envrun/vault/filevault", "envrun/auth/..."}, nil,
		"these are values and formats; what they are used for is decided above them"},
	{[]string{"envrun/policies"}, []string{"net", "net/http", "context", "envrun/vault/remote", "envrun/vault/engine", "envrun/vault/filevault", "envrun/auth/..."}, nil,
		"what a folder of policies comes to is worked out without asking a server: its policies are handed in"},
	{[]string{"envrun/run"}, []string{"envrun/envrun/project", "envrun/envrun/resolve", "envrun/vault/engine", "envrun/vault/filevault", "envrun/auth/..."}, nil,
		"a runner starts what it is given; it does not know where secrets come from"},
	{[]string{"envrun/resolve"}, []string{"envrun/vault/engine", "envrun/vault/filevault", "envrun/envrun/run", "envrun/auth/..."}, nil,
		"resolving works over any vault.Reader"},
	{[]string{"envrun/...", "vault/...", "auth/..."}, []string{"github.com/spf13/cobra", "github.com/spf13/pflag"}, nil,
		"flags are cmd's; everything below can be called by the TUI too"},
	{[]string{"envrun/...", "vault/..."}, []string{"github.com/zalando/go-keyring", "github.com/99designs/keyring"}, nil,
		"keychains are reached through auth/keychain, with its deadlines and read-back"},
	{[]string{"auth/..."}, []string{"github.com/99designs/keyring"}, []string{"auth/keychain"},
		"keychains are reached through auth/keychain, which gives its calls a deadline"},
	{[]string{"auth/..."}, []string{"github.com/zalando/go-keyring"}, []string{"auth/keychain"},
		"its calls have no deadline of their own; auth/keychain gives them one"},
	{[]string{"cmd/envrun"}, []string{"envrun/vault/record", "envrun/vault/seal", "crypto/...", "github.com/zalando/go-keyring", "github.com/99designs/keyring"}, nil,
		"a command file holds flags, one call and a print: no format and no cryptography"},
	{[]string{"cmd/...", "tui/...", "envrun/...", "vault/...", "auth/..."}, []string{"github.com/stretchr/testify/...", "log", "testing"}, []string{"auth/browser", "tui/tuitest", "auth/keychain/keychaintest", "auth/oidc/oidctest", "auth/oidc/idp", "auth/browser/browsertest", "cmd/internal/generated", "vault/audit/audittest"},
		"what is linked into the program prints through cmd/internal/cli and carries no test code; auth/browser silences a server, which takes a log.Logger"},
	{[]string{"cmd/...", "tui/...", "envrun/...", "vault/...", "auth/..."},
		[]string{"github.com/aws/...", "cloud.google.com/...", "github.com/Azure/...", "database/sql", "modernc.org/...", "github.com/jackc/..."},
		[]string{"vault/sqlstore", "vault/sqlite", "vault/postgres"},
		"the start of envrun is a promise: no cloud SDK and no SQL driver in it"},
	{[]string{"cmd/envrun", "tui/...", "envrun/...", "auth/..."}, []string{"envrun/vault/sqlstore", "envrun/vault/sqlite", "envrun/vault/postgres", "envrun/vault/kv", "envrun/vault/keyring", "envrun/vault/server", "envrun/vault/guard", "envrun/auth/token"}, []string{"auth/token"},
		"the server's data is the server's"},
	{[]string{"cmd/envrund", "vault/..."}, []string{"envrun/tui/...", "envrun/vault/filevault", "charm.land/...", "github.com/charmbracelet/..."}, []string{"vault/filevault", "vault/registry"},
		"a server has no screen and no work tree"},
	{[]string{"vault/guard"}, []string{"os", "net", "net/http", "database/sql", "envrun/vault/server", "envrun/vault/sqlstore", "envrun/vault/kv", "envrun/vault/keyring", "envrun/vault/wire"}, nil,
		"the door knows no HTTP, no table and nothing of what is behind it"},
	{[]string{"vault/server"}, []string{"os", "database/sql", "envrun/vault/sqlstore", "envrun/vault/sqlite", "envrun/vault/postgres", "envrun/vault/remote"}, nil,
		"the server works in the transactions that it is given"},
	{[]string{"vault/kv"}, []string{"os", "net", "net/http", "database/sql", "envrun/vault/sqlstore", "envrun/vault/sqlite", "envrun/vault/postgres", "envrun/auth/..."}, nil,
		"a mount works in the transaction that it is given, over any tables"},
	{[]string{"vault/identity"}, []string{"os", "net", "net/http", "database/sql", "envrun/vault/sqlstore", "envrun/vault/keyring", "envrun/vault/guard", "envrun/vault/wire", "envrun/auth/oidc"}, nil,
		"who there is lies in whatever transaction it is given, and is the same whatever signed in"},
	{[]string{"vault/keyring"}, []string{"os", "net", "net/http", "database/sql", "envrun/vault/kv", "envrun/vault/sqlstore", "envrun/vault/sqlite", "envrun/vault/postgres"}, nil,
		"keys are held and given; what they seal is others' business"},
	{[]string{"vault/sqlstore"}, []string{"envrun/vault/seal", "envrun/vault/sqlite", "envrun/vault/postgres", "modernc.org/...", "github.com/jackc/..."}, nil,
		"the tables hold bytes, and know neither a key nor a driver"},
	{[]string{"tui/kit"}, []string{"envrun/...", "charm.land/...", "os", "net"}, nil,
		"the parts of a screen know nothing of secrets, of the framework or of the system"},
	{[]string{"tui/screen"}, []string{"envrun/tui", "envrun/tui/clip", "charm.land/...", "os", "os/exec", "net", "net/http", "io/fs", "envrun/envrun/..."}, nil,
		"a screen returns what it wants done; it does no I/O and opens no vault"},
	{[]string{"tui/clip"}, []string{"envrun/...", "charm.land/..."}, nil,
		"the helper that clears a clipboard is a process of few parts"},
	{[]string{"tui/..."}, []string{"envrun/vault/engine", "envrun/vault/filevault", "envrun/auth/...", "github.com/spf13/cobra", "github.com/spf13/pflag"}, nil,
		"the interface works over any vault.Vault that cmd opens"},
	{[]string{"tui/...", "cmd/..."}, []string{"charm.land/bubbles/...", "charm.land/lipgloss/..."}, nil,
		"the interface draws with tui/kit; bubbles/list is there to be compared with, in tests"},
	{[]string{"tui/draft"}, []string{"envrun/tui", "envrun/tui/screen", "envrun/tui/clip", "charm.land/...", "os", "os/exec", "net", "io/fs"}, nil,
		"what was typed is held, and neither drawn, read nor written here"},
	{[]string{"tui/plain"}, []string{"envrun/vault/...", "envrun/envrun/...", "envrun/tui/clip", "charm.land/...", "os/exec", "net"}, nil,
		"in lines nothing is done that the drawn interface does not do: it drives that, and opens nothing"},
}

type pkg struct {
	path    string              // below the module: "vault/seal"
	imports map[string][]string // what it imports, and in which files
}

func TestDirection(t *testing.T) {
	pkgs := load(t)
	for _, p := range pkgs {
		top, _, _ := strings.Cut(p.path, "/")
		mine := slices.Index(layers, top)
		for imp, files := range p.imports {
			rest, ours := strings.CutPrefix(imp, module+"/")
			if !ours || mine < 0 {
				continue
			}
			top, _, _ := strings.Cut(rest, "/")
			if its := slices.Index(layers, top); its >= 0 && its < mine {
				t.Errorf("%s imports %s (%s): imports go %s", p.path, imp, strings.Join(files, ", "), strings.Join(layers, " → "))
			}
		}
	}
}

func TestRules(t *testing.T) {
	pkgs := load(t)
	for _, r := range rules {
		applied := false
		for _, p := range pkgs {
			if !matchAny(r.from, p.path) || slices.Contains(r.except, p.path) {
				continue
			}
			applied = true
			for imp, files := range p.imports {
				if matchAny(r.never, imp) && imp != module+"/"+p.path {
					t.Errorf("%s imports %s (%s): %s", p.path, imp, strings.Join(files, ", "), r.why)
				}
			}
		}
		if !applied {
			t.Errorf("the rule from %v names no package", r.from)
		}
		for _, from := range append(slices.Clone(r.from), r.except...) {
			if !strings.HasSuffix(from, "/...") && !slices.ContainsFunc(pkgs, func(p pkg) bool { return p.path == from }) {
				t.Errorf("a rule is about %s, which is gone", from)
			}
		}
	}
}

// A file that prints or exits below cmd cannot be called by a TUI.
func TestOnlyCmdPrintsAndExits(t *testing.T) {
	calls := []string{"fmt.Print(", "fmt.Println(", "fmt.Printf(", "log.Fatal", "println("}
	walk(t, func(file string) {
		top, _, _ := strings.Cut(filepath.ToSlash(file), "/")
		if top == "cmd" || top == "tui" || strings.HasSuffix(file, "_test.go") || strings.Contains(file, "testdata") || !slices.Contains(layers, top) {
			return
		}
		text, err := os.ReadFile(filepath.Join("../../..", file))
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			for _, call := range calls {
				if at := strings.Index(line, call); at >= 0 && !strings.Contains(line[:at], "//") && !strings.Contains(line[:at], "F") {
					t.Errorf("%s:%d: %s belongs in cmd", file, i+1, call)
				}
			}
		}
	})
}

// A screen gets room for a value to be drawn in, and never the value.
func TestScreensSeeNoValue(t *testing.T) {
	seen := 0
	walk(t, func(file string) {
		if filepath.ToSlash(filepath.Dir(file)) != "tui/screen" || strings.HasSuffix(file, "_test.go") {
			return
		}
		seen++
		text, err := os.ReadFile(filepath.Join("../../..", file))
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			for _, word := range []string{".Reveal()", "draft.Opener", "draft.New("} {
				if strings.Contains(line, word) {
					t.Errorf("%s:%d: %s is the root's alone", file, i+1, word)
				}
			}
		}
	})
	if seen == 0 {
		t.Error("there are no screens where they are looked for")
	}
}

// Every package says what it is for.
func TestPackageComments(t *testing.T) {
	said := map[string]bool{}
	walk(t, func(file string) {
		if strings.HasSuffix(file, "_test.go") || strings.Contains(file, "testdata") {
			return
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join("../../..", file), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Dir(file)
		said[dir] = said[dir] || f.Doc != nil && len(f.Doc.Text()) > 80
	})
	for dir, ok := range said {
		if !ok {
			t.Errorf("package %s has no comment that says what it is for", dir)
		}
	}
}

func matchAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if below, ok := strings.CutSuffix(p, "/..."); ok {
			return name == below || strings.HasPrefix(name, below+"/")
		}
		return name == p
	})
}

func walk(t *testing.T, f func(file string)) {
	t.Helper()
	root := "../../.."
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules") {
			return fs.SkipDir
		}
		// A folder with a go.mod of its own is another module: a bench or a test bed.
		if d.IsDir() && name != root {
			if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil {
				return fs.SkipDir
			}
		}
		if strings.HasSuffix(name, ".go") {
			rel, _ := filepath.Rel(root, name)
			f(rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// load reads the imports of every package, those of tests left out.
func load(t *testing.T) []pkg {
	t.Helper()
	byPath := map[string]map[string][]string{}
	walk(t, func(file string) {
		if strings.HasSuffix(file, "_test.go") || strings.Contains(file, "testdata") || strings.Contains(file, "vaulttest") {
			return
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join("../../..", file), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		dir := path.Dir(filepath.ToSlash(file))
		if byPath[dir] == nil {
			byPath[dir] = map[string][]string{}
		}
		for _, spec := range f.Imports {
			imp, _ := strconv.Unquote(spec.Path.Value)
			byPath[dir][imp] = append(byPath[dir][imp], filepath.Base(file))
		}
	})
	var pkgs []pkg
	for p, imports := range byPath {
		pkgs = append(pkgs, pkg{p, imports})
	}
	slices.SortFunc(pkgs, func(a, b pkg) int { return strings.Compare(a.path, b.path) })
	if len(pkgs) < 5 {
		t.Fatalf("found only %d packages: the test looks in the wrong place", len(pkgs))
	}
	return pkgs
}
