package screen_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"envrun/tui/screen"
	"envrun/tui/tuitest"
	"envrun/vault"
)

// The states that every screen has, beside the one in which all is well. Each
// picture is taken in all sizes, the last of which is too small, with and without
// Unicode; locked, no screen is drawn ("locked").
var states = []string{"loading", "empty", "error", "denied", "offline", "conflict"}

// pictures says which golden picture shows a screen in a state, in the order of
// states; "-" and why, where a screen cannot be in one.
var pictures = map[string][7]string{
	"Browse": {"browse", "browse_loading", "browse_empty", "browse_error", "browse_denied", "browse_offline", "browse_conflict"},
	"Secret": {"secret", "secret_loading", "secret_gone", "secret_error", "secret_denied", "secret_offline", "secret_conflict"},
	"Versions": {"history", "history-loading", "history-unsupported", "history-error", "history-denied", "history-offline",
		"history-conflict"},
	"Changes": {"changes", "changes-loading", "- two versions without a field cannot be marked", "changes-error", "changes-denied", "changes-offline",
		"- it writes nothing, and versions do not change"},
	"Comparison": {"compare", "compare-loading", "compare-empty", "compare-error", "compare-denied", "compare-offline", "compare-conflict"},
	"Edit":       {"edit", "edit_loading", "edit_empty", "edit_error", "edit_denied", "edit_offline", "edit_conflict"},
	"Pending":    {"review", "review_loading", "review_empty", "review_error", "review_denied", "review_offline", "review_conflict"},
	"PathPrompt": {"path", "path_loading", "path_empty", "path_error", "path_denied", "path_offline", "path_there"},
	"Import": {"import", "import_loading", "import_empty", "import_error", "import_denied", "import_offline",
		"- what is chosen becomes a draft, and the review finds out"},
	"Locked": {"access-locked", "access-locked-loading", "access-locked-server", "access-locked-error", "access-locked-identity", "access-locked-offline",
		"access-locked-otherkey"},
	"Asking": {"access-request", "access-request-loading", "access-request-server", "access-request-error", "access-request-open", "access-request-offline",
		"access-request-conflict"},
	"Asked": {"access-requested", "- it reads nothing", "- there is a request, or no such screen", "access-requested-error", "- it is one's own", "access-requested-offline",
		"- a request that is gone has been taken back"},
	"Inbox": {"access-inbox", "access-inbox-loading", "access-inbox-none", "access-inbox-error", "access-inbox-denied", "access-inbox-offline",
		"access-inbox-conflict"},
	"Crew": {"access-members", "access-members-loading", "access-members-none", "access-members-error", "access-members-closed", "access-members-offline",
		"access-members-inpart"},
	"Exposures": {"access-exposed", "access-exposed-loading", "access-exposed-none", "access-exposed-error", "access-exposed-denied", "access-exposed-offline",
		"- it writes nothing"},
	"Vault": {"access-vault", "access-vault-loading", "- a vault has a key", "access-vault-error", "access-vault-closed", "access-vault-offline",
		"access-vault-found"},
	"Me": {"access-session", "access-session-loading", "access-session-none", "access-session-error", "- it is about oneself", "access-session-offline",
		"- it writes nothing"},
	"Done": {"access-removed", "- it reads nothing", "- something has been done, or no such screen", "- it says what has been done", "- it says what has been done",
		"- it says what has been done", "- it says what has been done"},
}

// Every screen has a golden picture of every state that it can be in; a screen
// without one fails here.
func TestEveryScreenInEveryState(t *testing.T) {
	screens := screenTypes(t)
	for _, name := range screens {
		if _, ok := pictures[name]; !ok {
			t.Errorf("%s has no golden pictures", name)
		}
	}
	every := all()
	for name, golden := range pictures {
		if !slices.Contains(screens, name) {
			t.Errorf("there is no screen %s any more", name)
		}
		for i, picture := range golden {
			if strings.HasPrefix(picture, "- ") {
				continue
			}
			state := append([]string{"well"}, states...)[i]
			scenario, ok := every[picture]
			if !ok {
				t.Errorf("%s, %s: no scenario %s", name, state, picture)
				continue
			}
			if _, err := os.Stat(filepath.Join("testdata", picture+".golden")); err != nil {
				t.Errorf("%s, %s: %v", name, state, err)
			}
			d := scenario(t, tuitest.NewWorld(t))
			// Which screen is on top is nobody's business but ours.
			open := reflect.ValueOf(d.Model).Elem().FieldByName("screens")
			if got := open.Index(open.Len() - 1).Elem().Type().Elem().Name(); got != name {
				t.Errorf("%s shows the screen %s, and not %s", picture, got, name)
			}
		}
	}
}

// screenTypes are the types of this package that are screens: those that say
// what can be revealed on them.
func screenTypes(t *testing.T) []string {
	t.Helper()
	found := map[string]bool{}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Name.Name != "Target" || f.Recv == nil {
				continue
			}
			if star, ok := f.Recv.List[0].Type.(*ast.StarExpr); ok {
				found[star.X.(*ast.Ident).Name] = true
			}
		}
	}
	if len(found) < 15 {
		t.Fatalf("only %d screens are found", len(found))
	}
	return slices.Sorted(maps.Keys(found))
}

// late is a scenario whose last key is answered too slowly.
func late(before func(t *testing.T, w *tuitest.World) *tuitest.Driver, key string) func(t *testing.T, w *tuitest.World) *tuitest.Driver {
	return func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := before(t, w)
		d.Hold()
		d.Press(key)
		d.Advance(400 * time.Millisecond)
		return d
	}
}

// broken is a scenario in which all calls of the vault fail before the last key.
func broken(before func(t *testing.T, w *tuitest.World) *tuitest.Driver, kind vault.Kind, key string) func(t *testing.T, w *tuitest.World) *tuitest.Driver {
	return func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := before(t, w)
		allFail(w, kind, map[vault.Kind]string{vault.KindUnavailable: "connection refused", vault.KindDenied: "no grant for alice@laptop"}[kind])
		d.Press(key)
		return d
	}
}

func pressing(keys ...string) func(t *testing.T, w *tuitest.World) *tuitest.Driver {
	return func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Press(keys...)
		return d
	}
}

// twoVersions is a secret with two versions to be compared.
func twoVersions(t *testing.T, w *tuitest.World) *tuitest.Driver {
	grown(t, w, tuitest.Dev)
	d := tuitest.New(t, w)
	toHistory(d)
	return d
}

// meanwhile is a scenario in which somebody else writes before the last keys.
func meanwhile(before func(t *testing.T, w *tuitest.World) *tuitest.Driver, env vault.Env, keys ...string) func(t *testing.T, w *tuitest.World) *tuitest.Driver {
	return func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := before(t, w)
		for _, path := range []vault.Path{"billing/smtp", stripe, "checkout"} {
			dee(t, w, env, vault.Change{Path: path, Set: one(w, "DEES", "FAKE-by-dee-2cf40c1e77")})
		}
		d.Press(keys...)
		return d
	}
}

// statePictures are states that no other scenario is about.
func statePictures() map[string]func(t *testing.T, w *tuitest.World) *tuitest.Driver {
	return map[string]func(t *testing.T, w *tuitest.World) *tuitest.Driver{
		"browse_conflict": meanwhile(pressing("d"), tuitest.Dev, "Y"),
		"secret_loading":  late(pressing("j", "enter"), "r"),
		"secret_error":    broken(pressing("j", "enter"), vault.KindMalformed, "r"),
		"history-denied":  broken(twoVersions, vault.KindDenied, "r"),
		"history-conflict": meanwhile(func(t *testing.T, w *tuitest.World) *tuitest.Driver {
			d := twoVersions(t, w)
			d.Press("G", "u")
			return d
		}, tuitest.Dev, "Y"),
		"changes-loading":  late(twoVersions, "D"),
		"changes-error":    broken(twoVersions, vault.KindMalformed, "D"),
		"changes-offline":  broken(twoVersions, vault.KindUnavailable, "D"),
		"compare-error":    broken(pressing("C"), vault.KindMalformed, "r"),
		"compare-conflict": meanwhile(pressing("C", "f", "j", "tab", "tab", "tab", "c", "enter"), tuitest.Prod, "p", "r", "o", "d", "tab", "Y"),
		"review_error": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
			d := drafted(t, w, tuitest.Dev)
			fail(w, vault.KindMalformed, false)
			d.Press("ctrl+s")
			return d
		},
		"path_error": broken(pressing(), vault.KindMalformed, "n"),
		"import_empty": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
			d := tuitest.New(t, w, files(t, ".env", "# nothing\n"))
			d.Press("i")
			d.Type(".env")
			d.Press("enter")
			return d
		},
		"access-request-loading": late(calm(nil, "3"), "R"),
		"access-request-offline": calm(fails("Ask", offline), keys("3", "R", letters("x"), "ctrl+s", "Y")...),
		"access-request-conflict": calm(fails("Ask", &vault.Error{Kind: vault.KindExists, Env: tuitest.Empty, Detail: "alice@laptop has access"}),
			keys("3", "R", letters("x"), "ctrl+s", "Y")...),
		"access-request-open": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
			g := gated(t, w)
			d := tuitest.New(t, w)
			d.Press("3", "R")
			d.Type("why")
			g.Member(tuitest.Empty, screen.Member{Name: g.You, Key: g.Key, By: "carol@desk", Since: tuitest.Start})
			d.Press("ctrl+l", "enter")
			return d
		},
		"access-requested-error":   calm(fails("Deny", damaged), keys("3", "R", letters("x"), "ctrl+s", "Y", "X", "Y")...),
		"access-requested-offline": calm(fails("Deny", offline), keys("3", "R", letters("x"), "ctrl+s", "Y", "X", "Y")...),
		"access-inbox-conflict": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
			g := gated(t, w)
			d := tuitest.New(t, w)
			d.Press("I", "j", "x")
			g.Ask(tuitest.Dev, screen.Request{Who: "dave@home", Reason: "on call, and all of next week too", At: tuitest.Start.Add(-time.Minute)})
			d.Press("Y")
			return d
		},
		"access-members-none": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
			g := gated(t, w)
			g.Nobody(tuitest.Dev)
			d := tuitest.New(t, w)
			d.Press("w")
			return d
		},
		"access-members-offline": calm(fails("Members", offline), "w"),
		"access-exposed-denied":  calm(fails("Exposed", &vault.Error{Kind: vault.KindDenied, Env: tuitest.Dev, Detail: "no grant for alice@laptop"}), "O"),
		"access-exposed-offline": calm(fails("Exposed", offline), "O"),
		"access-vault-offline":   calm(fails("Care", offline), "K"),
		"access-session-offline": calm(fails("Session", offline), "S"),
	}
}
