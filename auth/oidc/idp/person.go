package idp

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// A Person is somebody before a browser: they follow redirects, keep cookies, fill
// in forms, and stop where the browser would leave the provider. A person who
// signs in again may not be asked again.
type Person struct {
	p    *Provider
	user string
	http http.Client
}

// Person makes a browser for a user.
func (p *Provider) Person(user string) *Person {
	jar, _ := cookiejar.New(nil)
	return &Person{p: p, user: user, http: http.Client{
		Jar: jar, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// SignIn goes to an authorization URL, signs in and agrees to everything, and
// returns the address of the client that the provider sends the browser to: it has
// the code, and nobody has visited it.
func (b *Person) SignIn(ctx context.Context, authorize string) (callback string, err error) {
	return b.walk(ctx, authorize, "", false)
}

// Cancel goes there and declines to sign in.
func (b *Person) Cancel(ctx context.Context, authorize string) (callback string, err error) {
	return b.walk(ctx, authorize, "", true)
}

// Approve types the code of a device at its verification URI, signs in and agrees.
func (b *Person) Approve(ctx context.Context, uri, code string) error {
	_, err := b.walk(ctx, uri, code, false)
	return err
}

// Deny types the code, and says that the device is not theirs.
func (b *Person) Deny(ctx context.Context, uri, code string) error {
	_, err := b.walk(ctx, uri, code, true)
	return err
}

var (
	formOf  = regexp.MustCompile(`(?s)<form[^>]* action="([^"]*)".*?</form>`)
	inputOf = regexp.MustCompile(`(?s)<input[^>]*>`)
	nameOf  = regexp.MustCompile(`name="([^"]*)"`)
	valueOf = regexp.MustCompile(`value="([^"]*)"`)
	abortOf = regexp.MustCompile(`<a href="([^"]*/abort[^"]*)"`)
)

// walk goes from page to page until the provider sends the browser elsewhere, or
// until a page has no form.
func (b *Person) walk(ctx context.Context, to, code string, decline bool) (string, error) {
	home, err := url.Parse(b.p.Issuer)
	if err != nil {
		return "", err
	}
	at, err := url.Parse(to)
	if err != nil {
		return "", err
	}
	var form url.Values
	declined := false
	for range 20 {
		if at.Host != home.Host {
			return at.String(), nil
		}
		method, body := http.MethodGet, io.Reader(nil)
		if form != nil {
			method, body = http.MethodPost, strings.NewReader(form.Encode())
		}
		req, err := http.NewRequestWithContext(ctx, method, at.String(), body)
		if err != nil {
			return "", err
		}
		if form != nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		form = nil
		res, err := b.http.Do(req)
		if err != nil {
			return "", err
		}
		text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		res.Body.Close()
		if err != nil {
			return "", err
		}
		if next := res.Header.Get("Location"); next != "" {
			if at, err = at.Parse(next); err != nil {
				return "", err
			}
			continue
		}
		page := string(text)
		if res.StatusCode != http.StatusOK {
			return "", fmt.Errorf("the provider answered %s to %s: %s", res.Status, at.Path, page)
		}
		if m := abortOf.FindStringSubmatch(page); m != nil && decline && code == "" {
			if at, err = at.Parse(html.UnescapeString(m[1])); err != nil {
				return "", err
			}
			continue
		}
		m := formOf.FindStringSubmatch(page)
		if m == nil || declined {
			return "", nil
		}
		if at, err = at.Parse(html.UnescapeString(m[1])); err != nil {
			return "", err
		}
		if form, err = b.fill(m[0], code, decline); err != nil {
			return "", err
		}
		declined = form.Has("abort")
	}
	return "", errors.New("there is no end to the pages of the provider")
}

// fill fills in a form.
func (b *Person) fill(form, code string, decline bool) (url.Values, error) {
	filled := url.Values{}
	for _, input := range inputOf.FindAllString(form, -1) {
		name := nameOf.FindStringSubmatch(input)
		if name == nil {
			continue
		}
		value := ""
		if m := valueOf.FindStringSubmatch(input); m != nil {
			value = html.UnescapeString(m[1])
		}
		switch name[1] {
		case "login":
			value = b.user
		case "password":
			value = Password
		case "user_code":
			if value == "" {
				value = code
			}
		case "confirm":
			if decline {
				filled.Set("abort", "yes")
			}
		}
		if value == "" {
			return nil, fmt.Errorf("the provider asks for %s", name[1])
		}
		filled.Set(name[1], value)
	}
	return filled, nil
}
