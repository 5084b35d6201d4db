// Package browser is a person's browser, as a sign-in needs it: whether there is one
// (Choose), how it is opened (Open), and the server on this machine that it comes
// back to with the answer of an identity provider (Listen), after RFC 8252 and study
// auth §3.2 and §3.3. What a person pastes instead takes the same way (ReadPasted).
//
// It knows nothing of OpenID Connect: who may sign in is decided by its caller, who
// also says how the sign-in ended before the page in the browser says anything.
//
// It refuses to run a shell, to listen on anything but loopback, to take an answer
// without the state of this sign-in, and to show a page that says more than who
// signed in where. No answer, right or wrong, ends the waiting for the right one.
package browser

import (
	"strings"
)

// ascii says whether a text has at most n bytes, at least one, of the characters
// that RFC 6749 has for codes and states.
func ascii(s string, n int) bool {
	return s != "" && len(s) <= n && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}
