package browser

import (
	"errors"
	"net/url"
	"strings"

	"envrun/auth"
)

// Bounds of an answer, in bytes.
const (
	maxCode  = 16 << 10
	maxQuery = 32 << 10
)

// An Answer is what an identity provider sends a browser back with (RFC 6749 §4.1.2,
// RFC 9207): a code, or an error in its place. Its state is checked already.
type Answer struct {
	Code   auth.Secret
	Issuer string // iss, "" if it was not said
	Error  string // "access_denied" and so on: at most 64 printable characters, "" if there is a code
	Detail string // a Microsoft error number, "AADSTS53003", "" otherwise; no other text of the issuer is repeated
}

// Why a text is not an answer.
var (
	ErrForm    = errors.New("it is not the answer of an identity provider")
	ErrState   = errors.New("it belongs to another sign-in")
	ErrCode    = errors.New("there is neither a code nor an error in it")
	ErrStart   = errors.New("it is the address that the sign-in begins at: paste the one where the browser ended")
	ErrBare    = errors.New("it is not an address: paste all of what the browser's address bar holds")
	errUnasked = errors.New("nothing was asked yet")
)

// parseAnswer reads the parameters of an answer and checks its state.
func parseAnswer(query string, state auth.Secret) (Answer, error) {
	v, err := parseOnce(query)
	if err != nil {
		return Answer{}, err
	}
	if state.Empty() {
		return Answer{}, errUnasked
	}
	if !same(v["state"], state) {
		return Answer{}, ErrState
	}
	a := Answer{Code: auth.NewSecret(v["code"]), Issuer: v["iss"], Error: v["error"]}
	switch {
	case a.Issuer != "" && !auth.Plain(a.Issuer, 1024):
		return Answer{}, ErrForm
	case a.Error != "":
		if a.Code = (auth.Secret{}); !ascii(a.Error, 64) {
			a.Error = "an error without a name"
		}
		a.Detail = Detail(v["error_description"])
	case !ascii(a.Code.Reveal(), maxCode):
		return Answer{}, ErrCode
	}
	return a, nil
}

// parseOnce reads parameters none of which may come twice: two readers might take
// different ones.
func parseOnce(query string) (map[string]string, error) {
	if len(query) > maxQuery {
		return nil, ErrForm
	}
	all, err := url.ParseQuery(query)
	if err != nil {
		return nil, ErrForm
	}
	out := map[string]string{}
	for name, values := range all {
		if len(values) > 1 {
			return nil, ErrForm
		}
		out[name] = values[0]
	}
	return out, nil
}

// Detail is the error number that Microsoft's identity platform opens a description
// with: what an administrator asks for. The rest of a description, and everybody
// else's, is free text, which could hold anything.
func Detail(description string) string {
	number, ok := strings.CutPrefix(description, "AADSTS")
	if !ok {
		return ""
	}
	n := 0
	for n < len(number) && '0' <= number[n] && number[n] <= '9' {
		n++
	}
	if n < 4 || n > 9 {
		return ""
	}
	return "AADSTS" + number[:n]
}

// ReadPasted reads what a person pastes from the address bar of the browser that
// signed in elsewhere: the whole address, with the state of this sign-in. A code
// alone is refused, for there is no telling which sign-in it is of. No error repeats
// what was pasted.
func ReadPasted(text string, state auth.Secret) (Answer, error) {
	if len(text) > 2*maxQuery {
		return Answer{}, ErrForm
	}
	text = strings.NewReplacer("\x1b[200~", "", "\x1b[201~", "").Replace(text)
	// A terminal or a chat breaks a long address into lines.
	text = strings.Trim(strings.Join(strings.Fields(text), ""), `"'<>`)
	address, query, ok := strings.Cut(text, "?")
	if !ok || !strings.HasPrefix(address, "http://") && !strings.HasPrefix(address, "https://") {
		return Answer{}, ErrBare
	}
	query, _, _ = strings.Cut(query, "#")
	a, err := parseAnswer(query, state)
	if errors.Is(err, ErrCode) && strings.Contains("&"+query, "&client_id=") {
		err = ErrStart
	}
	return a, err
}
