package screen_test

import (
	"context"
	"iter"
	"maps"
	"strings"
	"testing"

	"envrun/tui/screen"
	"envrun/tui/tuitest"
	"envrun/vault"
)

// wide is the vault of a world in which names and people are written in what
// terminals have trouble with: wide, combined, joined and turned around.
type wide struct{ vault.Vault }

var widths = []string{
	"billing", "日本語/請求", "checkout", "ไทย_ก็", "ledger", "한국어",
	"STRIPE", "👩\u200d💻鍵", "SMTP", "e\u0301_\u202eEDOC", "REDIS", "🇩🇪\x1b[2J", "DATABASE", "LONG_" + strings.Repeat("長", 30),
	"alice@laptop", "zoë-日本語@デスク",
}

// widened is a name as the wide vault has it, and narrowed what it is really.
func widened(s string) string { return strings.NewReplacer(widths...).Replace(s) }

func narrowed(s string) string {
	back := make([]string, len(widths))
	for i := 0; i < len(widths); i += 2 {
		back[i], back[i+1] = widths[i+1], widths[i]
	}
	return strings.NewReplacer(back...).Replace(s)
}

func widenInfo(i vault.Info) vault.Info {
	i.Path, i.By = vault.Path(widened(string(i.Path))), widened(i.By)
	fields := make([]vault.FieldInfo, len(i.Fields))
	for n, f := range i.Fields {
		f.Name = vault.FieldName(widened(string(f.Name)))
		fields[n] = f
	}
	i.Fields = fields
	if i.Note != "" {
		i.Note += " 日本語の注 e\u0301 \x1b]0;x\a"
	}
	return i
}

func widenSecret(s vault.Secret) vault.Secret {
	s.Info = widenInfo(s.Info)
	for i := range s.Values {
		s.Values[i].Name = vault.FieldName(widened(string(s.Values[i].Name)))
	}
	return s
}

func infos(all iter.Seq2[vault.Info, error]) iter.Seq2[vault.Info, error] {
	return func(yield func(vault.Info, error) bool) {
		for i, err := range all {
			if !yield(widenInfo(i), err) {
				return
			}
		}
	}
}

func narrow(p vault.Path) vault.Path { return vault.Path(narrowed(string(p))) }

func (w wide) List(ctx context.Context, env vault.Env, prefix vault.Path) iter.Seq2[vault.Info, error] {
	return infos(w.Vault.List(ctx, env, narrow(prefix)))
}

func (w wide) Get(ctx context.Context, env vault.Env, path vault.Path) (vault.Secret, error) {
	s, err := w.Vault.Get(ctx, env, narrow(path))
	return widenSecret(s), err
}

func (w wide) Versions(ctx context.Context, env vault.Env, path vault.Path) iter.Seq2[vault.Info, error] {
	return infos(w.Vault.(vault.Historian).Versions(ctx, env, narrow(path)))
}

func (w wide) GetVersion(ctx context.Context, env vault.Env, path vault.Path, version uint64) (vault.Secret, error) {
	s, err := w.Vault.(vault.Historian).GetVersion(ctx, env, narrow(path), version)
	return widenSecret(s), err
}

// widePictures are the screens again, with such names.
func widePictures() map[string]func(t *testing.T, w *tuitest.World) *tuitest.Driver {
	some := map[string]func(t *testing.T, w *tuitest.World) *tuitest.Driver{}
	known := map[string]func(t *testing.T, w *tuitest.World) *tuitest.Driver{}
	for _, m := range []map[string]func(t *testing.T, w *tuitest.World) *tuitest.Driver{scenarios, historyPictures, comparePictures, draftPictures} {
		maps.Copy(known, m)
	}
	for _, name := range []string{
		"secret", "secret_delete", "browse_tree", "palette", "history", "compare", "copy-to", "edit", "edit_resolve", "review", "review_ask", "import_found", "delete_field",
	} {
		scenario := known[name]
		if scenario == nil {
			panic("no scenario " + name)
		}
		some["wide-"+name] = func(t *testing.T, w *tuitest.World) *tuitest.Driver {
			w.Config.Open = func(context.Context, vault.Env) (vault.Vault, error) { return wide{w.Vault}, nil }
			w.Config.Who, w.Config.Project = "zoë-日本語@デスク", "会社/支払い"
			return scenario(t, w)
		}
	}
	return some
}

// odd names of the screens about access.
func oddAccess(g *tuitest.Gate) {
	const who = "zoë-日本語-with-a-very-long-name@a-very-long-host.example.org"
	g.Expose(tuitest.Dev, "日本語/請求", "👩\u200d💻鍵_KEY", who, "e\u0301ve\x1b[2J")
	g.Expose(tuitest.Dev, "한국어", vault.FieldName("LONG_"+strings.Repeat("長", 40)), who)
	g.ChangeCare(tuitest.Dev, func(c *screen.Care) {
		c.OldKey = []vault.Path{"日本語/請求", "ไทย_ก็"}
		c.Asking = []string{who, "\u202eevil"}
		c.Strays = []error{&vault.Error{Kind: vault.KindMalformed, File: ".envrun/vault/日本語\x1b]0;x\a.txt", Detail: "is no file of a vault, and is not read"}}
	})
	g.Sessioned.Kept, g.Sessioned.Member = "/home/zoë/設定/envrun/identity", who
	g.Member(tuitest.Empty, screen.Member{Name: who, Key: tuitest.Recipient("classic"), Since: tuitest.Start})
}
