package screen_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"envrun/tui"
	"envrun/tui/screen"
	"envrun/tui/tuitest"
	"envrun/vault"
)

// A picture is a scenario, driven.
type picture = func(t *testing.T, w *tuitest.World) *tuitest.Driver

// served is a world on a server, driven, with what the scenario does.
func served(set func(s *tuitest.SignIns), keys ...string) picture {
	return servedThen(set, keys, nil)
}

func servedThen(set func(s *tuitest.SignIns), keys []string, then func(d *tuitest.Driver, s *tuitest.SignIns), options ...func(*tui.Config)) picture {
	return func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		s := tuitest.NewSignIns(t, w)
		if set != nil {
			set(s)
		}
		d := tuitest.New(t, w, options...)
		d.Press(keys...)
		if then != nil {
			then(d, s)
		}
		return d
	}
}

// out is a session that the server does not take.
func out(state screen.SignState) func(s *tuitest.SignIns) {
	return func(s *tuitest.SignIns) { s.Out(state) }
}

// signPictures are signing in and out, in all its states.
func signPictures() map[string]picture {
	ends := func(after time.Duration) func(s *tuitest.SignIns) {
		return func(s *tuitest.SignIns) { s.Is.Ends = tuitest.Start.Add(after) }
	}
	visit := func(v screen.Visit) func(*tuitest.Driver, *tuitest.SignIns) {
		return func(d *tuitest.Driver, s *tuitest.SignIns) { s.Visit(d, v) }
	}
	code := func(d *tuitest.Driver, s *tuitest.SignIns) { s.Code(d) }
	drafted := []string{"j", "e", "enter", "x", "enter"}
	evil := "\x1b]0;t\a\u202e日本語-" + strings.Repeat("x", 60)
	return map[string]picture{
		"session-server":  served(nil, "S"),
		"session-renewed": served(func(s *tuitest.SignIns) { s.Is.Renewed, s.Is.Limit = true, tuitest.Start.Add(8*time.Hour) }, "S"),
		"session-out":     served(out(screen.SignedOut), "S"),
		"session-ending":  served(ends(170*time.Second), "S"),
		"session-over":    served(ends(-time.Minute), "S"),
		"session-lapsed":  served(out(screen.Lapsed), "S"),
		"session-refused": served(func(s *tuitest.SignIns) {
			s.Out(screen.Refused)
			s.Is.Why = errors.New("id.acme.example does not go on with the session (invalid_grant)")
		}, "S"),
		"session-away": served(func(s *tuitest.SignIns) { s.Failing = offline }, "S"),
		"session-fell-away": servedThen(nil, []string{"S"}, func(d *tuitest.Driver, s *tuitest.SignIns) {
			s.Failing = offline
			d.Press("r")
		}),
		"session-fresh": served(func(s *tuitest.SignIns) {
			s.Is.Envs[1] = screen.Reached{Env: tuitest.Prod, Reach: screen.ReachRead, Fresh: true, In: 15 * time.Minute}
		}, "S"),
		"session-token": served(func(s *tuitest.SignIns) {
			s.Is = screen.Signed{Address: tuitest.Server, State: screen.SignedIn, By: "the token in VAULT_TOKEN", Label: "token", Policies: []string{"root"},
				Fixed: "VAULT_TOKEN goes before a sign-in: unset it to sign in.", Envs: s.Is.Envs}
		}, "S"),
		"session-accounts": served(func(s *tuitest.SignIns) {
			s.Is.Accounts = append(s.Is.Accounts, screen.Account{ID: "a2", Label: "alice-admin@acme.example", Role: "admin"})
		}, "S", "a"),
		"session-servers": served(func(s *tuitest.SignIns) { s.Other = "https://vault-prod.acme.example:8200" }, "S", "tab"),
		"session-odd": served(func(s *tuitest.SignIns) {
			s.Is.Label, s.Is.Subject, s.Is.Role, s.Is.Policies = evil, evil, evil, []string{evil, "b"}
		}, "S"),
		"session-server-loading": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
			tuitest.NewSignIns(t, w).Failing = offline
			d := tuitest.New(t, w)
			d.Hold()
			d.Press("S")
			d.Advance(200 * time.Millisecond)
			return d
		},
		"session-both": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
			gated(t, w)
			s := tuitest.NewSignIns(t, w)
			s.Is.Envs = s.Is.Envs[1:2]
			s.Files = []vault.Env{tuitest.Dev, tuitest.Empty}
			d := tuitest.New(t, w)
			d.Press("S")
			return d
		},
		"signout": served(nil, "S", "Q"),
		"signout-done": served(func(s *tuitest.SignIns) {
			s.Ends[0] = screen.Ending{Text: "id.acme.example did not answer: the refresh token stays valid there until 2026-12-22", Stays: true}
		}, "S", "Q", "Y"),
		"signout-failed": served(func(s *tuitest.SignIns) { s.OutFail = offline }, "S", "Q", "Y"),

		"signin-asking":  served(out(screen.SignedOut), "ctrl+r"),
		"signin-browser": servedThen(out(screen.SignedOut), keys("ctrl+r"), visit(screen.Visit{Opened: true})),
		"signin-closed":  servedThen(out(screen.SignedOut), keys("ctrl+r"), visit(screen.Visit{Off: "there is no xdg-open here"})),
		"signin-device":  servedThen(out(screen.SignedOut), keys("ctrl+r"), code),
		"signin-paste": servedThen(out(screen.SignedOut), keys("ctrl+r"), func(d *tuitest.Driver, s *tuitest.SignIns) {
			s.Visit(d, screen.Visit{Opened: true})
			d.Press("p")
			d.Type("http://127.0.0.1:41873/callback?code=FAKEcode&state=x")
		}),
		"signin-pasted": servedThen(out(screen.SignedOut), keys("ctrl+r"), func(d *tuitest.Driver, s *tuitest.SignIns) {
			s.Visit(d, screen.Visit{Opened: true})
			d.Press("p", "x", "enter")
			d.Await()
		}),
		"signin-share":        servedThen(out(screen.SignedOut), keys("ctrl+r"), visit(screen.Visit{Opened: true}), func(c *tui.Config) { c.Share = true }),
		"signin-device-share": servedThen(out(screen.SignedOut), keys("ctrl+r"), code, func(c *tui.Config) { c.HideNames = true }),
		"signin-odd": servedThen(out(screen.SignedOut), keys("ctrl+r"), func(d *tuitest.Driver, s *tuitest.SignIns) {
			s.Step(d, func(p screen.Person) {
				p.Code(screen.Code{Code: evil, URL: "https://id/" + evil, Host: evil, Until: tuitest.Start.Add(time.Hour)})
			})
			s.Step(d, func(p screen.Person) { p.Note(evil) })
		}),
		"signin-refused": servedThen(out(screen.SignedOut), keys("ctrl+r"), func(d *tuitest.Driver, s *tuitest.SignIns) {
			s.Visit(d, screen.Visit{Opened: true})
			s.End(d, screen.Signed{}, errors.New("id.acme.example says no: access_denied"))
		}),
		"signin-done": servedThen(out(screen.SignedOut), keys("ctrl+r"), func(d *tuitest.Driver, s *tuitest.SignIns) {
			s.Visit(d, screen.Visit{Opened: true})
			s.End(d, s.In(), nil)
		}),
		"signin-locked": servedThen(out(screen.SignedOut), keys("ctrl+r"), func(d *tuitest.Driver, s *tuitest.SignIns) {
			s.Visit(d, screen.Visit{Opened: true})
			d.Press("ctrl+l")
		}),

		"signed-browse": served(nil),
		"signed-out":    served(out(screen.SignedOut)),
		"signed-ending": served(ends(170 * time.Second)),
		"signed-lapsed": servedThen(nil, nil, func(d *tuitest.Driver, s *tuitest.SignIns) {
			d.Advance(2 * time.Minute)
			s.Out(screen.Lapsed)
			d.Press("r", "j")
		}),
		"signed-lapsed-edit": servedThen(nil, drafted, func(d *tuitest.Driver, s *tuitest.SignIns) {
			d.Press("ctrl+s")
			s.Out(screen.Lapsed)
			d.Press("ctrl+s", "Y")
		}),
		"signed-offered": servedThen(nil, drafted, func(d *tuitest.Driver, s *tuitest.SignIns) {
			d.Press("ctrl+s")
			s.Out(screen.Lapsed)
			d.Press("ctrl+s", "Y", "ctrl+r")
			s.Visit(d, screen.Visit{Opened: true})
			s.End(d, s.In(), nil)
		}),
		"signed-fresh": servedThen(nil, keys("2"), func(d *tuitest.Driver, s *tuitest.SignIns) {
			s.Stale(tuitest.Prod)
			d.Press("r")
		}),
		"signed-unreachable":  served(func(s *tuitest.SignIns) { s.Deny(tuitest.Empty) }, "3"),
		"signed-environments": served(nil, "E"),
	}
}

// Whatever of a sign-in is on the screen, no value of it is in a golden picture but
// those made up for it; and a code or an address never stays after a lock.
func TestSignInLeaves(t *testing.T) {
	for name, show := range map[string]func(d *tuitest.Driver, s *tuitest.SignIns){
		"address": func(d *tuitest.Driver, s *tuitest.SignIns) { s.Visit(d, screen.Visit{Opened: true}) },
		"code":    func(d *tuitest.Driver, s *tuitest.SignIns) { s.Code(d) },
		"pasted": func(d *tuitest.Driver, s *tuitest.SignIns) {
			s.Visit(d, screen.Visit{})
			d.Press("p")
			d.Type("http://127.0.0.1:1/callback?code=FAKEcode0123456789")
		},
	} {
		for how, leave := range map[string]func(d *tuitest.Driver, s *tuitest.SignIns){
			"lock":    func(d *tuitest.Driver, _ *tuitest.SignIns) { d.Press("ctrl+l") },
			"idle":    func(d *tuitest.Driver, _ *tuitest.SignIns) { d.Advance(6 * time.Minute) },
			"suspend": func(d *tuitest.Driver, _ *tuitest.SignIns) { d.Press("ctrl+z") },
			"cancel":  func(d *tuitest.Driver, _ *tuitest.SignIns) { d.Press("esc") },
			"ctrl+c":  func(d *tuitest.Driver, _ *tuitest.SignIns) { d.Press("ctrl+c") },
			"share":   func(d *tuitest.Driver, _ *tuitest.SignIns) { d.Press("ctrl+l", "enter", "P") },
			"end":     func(d *tuitest.Driver, s *tuitest.SignIns) { s.End(d, s.In(), nil) },
			"refusal": func(d *tuitest.Driver, s *tuitest.SignIns) { s.End(d, screen.Signed{}, errors.New("no")) },
			"small":   func(d *tuitest.Driver, _ *tuitest.SignIns) { d.Resize(30, 8) },
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				w := tuitest.NewWorld(t)
				s := tuitest.NewSignIns(t, w)
				s.Out(screen.SignedOut)
				d := tuitest.New(t, w)
				d.Press("ctrl+r")
				show(d, s)
				d.Lacks("FAKEcode")
				if name == "pasted" && how == "share" {
					d.Press("ctrl+l", "enter", "tab")
				}
				leave(d, s)
				text := d.Text()
				if d.Suspended {
					text = d.Left
				}
				for _, secret := range []string{"FAKEstate", "FAKEchallenge", "FAKEnonce", "FAKEcode", tuitest.SignInCode} {
					if tuitest.Shows(text, secret) {
						t.Errorf("%q is on the screen:\n%s", secret, text)
					}
				}
			})
		}
	}
}
