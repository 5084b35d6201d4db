package browser_test

import (
	"errors"
	"strings"
	"testing"

	"envrun/auth"
	"envrun/auth/browser"
)

func TestReadPasted(t *testing.T) {
	const good = "http://127.0.0.1:39999/callback?code=c0de-canary&state=" + state + "&iss=https%3A%2F%2Fid.example.test"
	for _, c := range []struct {
		name, text string
		want       error
	}{
		{"the address", good, nil},
		{"with a line break where the terminal had one", good[:40] + "\n" + good[40:], nil},
		{"in quotes", `"` + good + `"`, nil},
		{"in angle brackets", "  <" + good + ">\r\n", nil},
		{"as a terminal brackets what is pasted", "\x1b[200~" + good + "\x1b[201~", nil},
		{"with a fragment", good + "#_=_", nil},
		{"of a port that was forwarded", strings.Replace(good, "39999", "8000", 1), nil},
		{"a bare code", "c0de-canary", browser.ErrBare},
		{"parameters alone", "code=c0de-canary&state=" + state, browser.ErrBare},
		{"parameters with a question mark", "?code=c0de-canary&state=" + state, browser.ErrBare},
		{"nothing", "", browser.ErrBare},
		{"no state", "http://127.0.0.1:39999/callback?code=c0de-canary", browser.ErrState},
		{"the state of another sign-in", "http://127.0.0.1:39999/callback?code=c0de-canary&state=other", browser.ErrState},
		{"no code", "http://127.0.0.1:39999/callback?state=" + state, browser.ErrCode},
		{"where it began", "https://id.example.test/authorize?response_type=code&client_id=envrun&state=" + state, browser.ErrStart},
		{"two codes", good + "&code=other", browser.ErrForm},
		{"too much", good + "&x=" + strings.Repeat("a", 100<<10), browser.ErrForm},
		{"javascript", "javascript:alert('?code=c0de-canary&state=" + state + "')", browser.ErrBare},
	} {
		t.Run("A45 pasted: "+c.name, func(t *testing.T) {
			a, err := browser.ReadPasted(c.text, auth.NewSecret(state))
			if !errors.Is(err, c.want) || err != nil && strings.Contains(err.Error(), "canary") {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err == nil && (a.Code.Reveal() != "c0de-canary" || a.Issuer != "https://id.example.test") {
				t.Errorf("got %+v", a)
			}
		})
	}
	t.Run("A45 pasted: before there is a state", func(t *testing.T) {
		if _, err := browser.ReadPasted("http://127.0.0.1:1/callback?code=x&state=", auth.Secret{}); err == nil {
			t.Error("it was taken")
		}
	})
}

func TestDetail(t *testing.T) {
	for text, want := range map[string]string{
		"AADSTS50076: Due to a configuration change": "AADSTS50076", "AADSTS700016 x": "AADSTS700016", "AADSTS": "", "AADSTS12": "", "AADSTS1234567890": "",
		"": "", "canary": "", "see AADSTS50076": "",
	} {
		if got := browser.Detail(text); got != want {
			t.Errorf("Detail(%q) = %q", text, got)
		}
	}
}

// Whatever comes, an answer has the state that was expected, and either a code or an
// error that can be shown.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		"code=a&state=" + state, "state=" + state + "&error=access_denied&error_description=AADSTS50076%3a", "code=a", "state=" + state + "&code=%1b", "a;b", "%", "state=" + state + "&state=x&code=y", "code=a&state=" + state + "#x", "code=a\n&state=" + state,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		for _, text := range []string{query, "http://127.0.0.1:1/callback?" + query} {
			a, err := browser.ReadPasted(text, auth.NewSecret(state))
			if err != nil {
				if a != (browser.Answer{}) {
					t.Errorf("%q gave both %+v and %v", text, a, err)
				}
				continue
			}
			if !strings.Contains(strings.Join(strings.Fields(text), ""), "state=") || a.Code.Empty() == (a.Error == "") {
				t.Errorf("%q gave %+v", text, a)
			}
			if a.Error != "" && !auth.Plain(a.Error, 64) || a.Issuer != "" && !auth.Plain(a.Issuer, 1024) {
				t.Errorf("%q gave %+v, which does not show as what it is", text, a)
			}
		}
	})
}
