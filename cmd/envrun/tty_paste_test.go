//go:build unix

package main_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"envrun/auth/oidc/oidctest"
)

// comesBack is where the issuer sends the browser of somebody who was shown an address.
func comesBack(t *testing.T, shown string) string {
	t.Helper()
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Get("http://" + after(shown, "    http://"))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res.Header.Get("Location")
}

// Somebody whose browser is elsewhere pastes the address where it ended, however long
// it is. What is none of this sign-in is said to be so, and waited on.
func TestTerminalPaste(t *testing.T) {
	t.Parallel()
	o := newOffice(t, nil)
	// The passphrase is asked for on the same terminal.
	o.person = o.headless().as("ENVRUN_STORE_PASSPHRASE_FILE=")
	const words = "correct horse"
	begin := func() (c *terminal, back string) {
		t.Helper()
		c = o.run("login", "--store", "passphrase", "--flow", "paste")
		for _, question := range []string{"New passphrase for your sessions (not shown): ", "The same again: "} {
			c.expectHidden(question)
			c.typed(words + "\n")
		}
		c.expect("paste all of it here.")
		return c, comesBack(t, c.all())
	}
	c, back := begin()
	u, err := url.Parse(back)
	if err != nil {
		t.Fatal(err)
	}
	code := u.Query().Get("code")
	for _, test := range []struct{ text, says string }{
		{code, "it is not an address: paste all of what the browser's address bar holds"},
		{strings.Replace(back, "state=", "state=x", 1), "it belongs to another sign-in"},
		{"    http://127.0.0.1/?client_id=x&state=" + u.Query().Get("state"), "it is the address that the sign-in begins at"},
		{"http://127.0.0.1/?state=" + u.Query().Get("state"), "there is neither a code nor an error in it"},
		{"one\rtwo", "several lines came at once: paste the address alone"},
	} {
		c.typed(test.text + "\r")
		c.expect(test.says)
	}
	c.typed(back + "&session_state=" + strings.Repeat("long", 4000) + "\r")
	c.wants(0, "alice@example.test", "is renewed by itself", "!"+code, "!"+words, "!longlong")
	if len(back) > 4096 || o.issuer.Count(oidctest.Token) != 1 {
		t.Errorf("the code was exchanged %d times", o.issuer.Count(oidctest.Token))
	}
	o.as("ENVRUN_STORE_PASSPHRASE_FILE="+o.dir+"/words").must("", "logout")

	// The issuer says no in the address itself, in words that are not repeated.
	o.issuer.Deny("access_denied")
	c, back = begin()
	c.typed(back + "\r")
	c.wants(1, "refuses, signing in: access_denied", "hint: somebody said no", "!script")
}
