package login

import "time"

// A Person is who signs in, as a terminal or a screen shows them things. Its methods
// are called by one goroutine, one after the other, and must not wait for anybody.
type Person interface {
	// Visit shows the address to sign in at, before anything is waited for.
	Visit(Visit)
	// Code shows a device code: the code first, for comparing it is what protects.
	Code(Code)
	// Pasted gives what the person pastes, a line each; nil: nobody can.
	Pasted() <-chan string
	// Note says something in a few words: that an issuer is slow, that what was pasted
	// is not an address.
	Note(text string)
}

// A Visit is an address to sign in at.
type Visit struct {
	URL      string    // holds nothing secret
	Redirect string    // where the browser ends: what is pasted begins with it
	Until    time.Time // as long as it is waited for
	Opened   bool      // a browser was sent there
	OpenErr  error     // why none was; nil if none was to be
}

// A Code is what a person enters in a browser anywhere (RFC 8628).
type Code struct {
	UserCode    string // at most 32 printable characters
	URI         string // https
	CompleteURI string // with the code in it, on the same host; "" if the issuer gave none. Not to be opened unasked
	Until       time.Time
}

// A Welcome is what the page in the browser says to whoever signed in.
type Welcome struct{ Server, Account string }
