//go:build unix

package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"envrun/auth/oidc/idp"
	"envrun/auth/oidc/oidctest"
)

// headless is somebody on a machine without a display and a browser, come by SSH.
func (p *person) headless() *person {
	return p.as("BROWSER=", "DISPLAY=", "WAYLAND_DISPLAY=", "SSH_CONNECTION=192.0.2.1 50000 192.0.2.2 22", "SSH_TTY=/dev/pts/0")
}

// after is what a line says after a word that it begins with.
func after(text, word string) string {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(strings.Trim(line, "\r\n"), word); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// An asker is envrun login with nobody at a terminal: what it says is read line by line.
type asker struct {
	t   *testing.T
	cmd *exec.Cmd
	out *strings.Builder
	err *bufio.Reader
	all strings.Builder
}

// unattended runs envrun with its standard input closed, and without a terminal.
func (p *person) unattended(args ...string) *asker {
	p.t.Helper()
	a := &asker{t: p.t, out: new(strings.Builder)}
	a.cmd = p.command(append([]string{"sh", "-c", `exec "$0" "$@" <&-`, p.program}, args...)...)
	errs, err := a.cmd.StderrPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	a.cmd.Stdout, a.err = a.out, bufio.NewReader(errs)
	if err := a.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = a.cmd.Process.Kill() })
	return a
}

// until reads up to a line that begins with a word, and returns what follows that.
func (a *asker) until(word string) string {
	a.t.Helper()
	for {
		line, err := a.err.ReadString('\n')
		a.all.WriteString(line)
		if rest := after(line, word); rest != "" {
			return rest
		}
		if err != nil {
			a.t.Fatalf("it never says %q: %s", word, a.all.String())
		}
	}
}

// ends waits for the end and returns what was printed.
func (a *asker) ends(code int) (stdout, stderr string) {
	a.t.Helper()
	_, _ = a.err.WriteTo(&a.all)
	_ = a.cmd.Wait()
	if got := a.cmd.ProcessState.ExitCode(); got != code {
		a.t.Errorf("status %d, want %d: %s", got, code, a.all.String())
	}
	return a.out.String(), a.all.String()
}

// Where there is no browser a code is shown, and somebody enters it in a browser
// elsewhere, at real providers: at a terminal, and with none at all.
func TestTerminalDevice(t *testing.T) {
	t.Parallel()
	idp.Each(t, func(t *testing.T, p *idp.Provider) {
		o := newOffice(t, nil)
		o.takes(p)
		o.person = o.headless()
		who := p.Person("bob")

		c := o.run("login", "--store", "passphrase")
		c.expect("Only approve if you just ran envrun on ")
		c.expect("Waiting until ")
		c.expect("Another way: press p for an address")
		shown := c.all()
		if err := who.Approve(t.Context(), after(shown, "Enter it at"), after(shown, "The code is")); err != nil {
			t.Fatal(err)
		}
		c.wants(0, "bob", "is renewed by itself", "!http://127.0.0.1:0")
		if got := o.must("", "get", "A"); got != "canary-value" {
			t.Errorf("it is %q", got)
		}
		for _, a := range tokensOf(o, "auth/people/login") {
			o.ask(o.root, "POST", "auth/token/revoke-accessor", map[string]any{"accessor": a})
		}
		if got := o.must("", "--mask", "never", "--", "sh", "-c", `echo "$A"`); got != "canary-value\n" { // by the refresh token
			t.Errorf("it is %q", got)
		}
		o.must("", "logout")

		a := o.unattended("login", "--device", "--json")
		code, uri := a.until("The code is"), a.until("Enter it at")
		if err := who.Approve(t.Context(), uri, code); err != nil {
			t.Fatal(err)
		}
		out, errs := a.ends(0)
		var is map[string]any
		if err := json.Unmarshal([]byte(out), &is); err != nil || is["method"] != "oidc" || is["renews"] != true || strings.Contains(errs, "\r") {
			t.Errorf("%v %s %q", err, out, errs)
		}
		if got := o.must("", "get", "A"); got != "canary-value" {
			t.Errorf("it is %q", got)
		}
		o.must("", "logout")

		a = o.unattended("login", "--device")
		code, uri = a.until("The code is"), a.until("Enter it at")
		if err := who.Deny(t.Context(), uri, code); err != nil {
			t.Fatal(err)
		}
		if _, errs = a.ends(1); !strings.Contains(errs, "access_denied") || !strings.Contains(errs, "hint: somebody said no") {
			t.Errorf("it says %s", errs)
		}
		if _, _, code := o.pipe("", "whoami"); code != 1 {
			t.Error("somebody is signed in")
		}
	})
}

// What an issuer can answer to somebody who waits, and where nobody may be asked.
func TestTerminalDeviceAnswers(t *testing.T) {
	t.Parallel()
	o := newOffice(t, nil)
	o.person = o.headless()
	quick := func(more map[string]any) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			body := map[string]any{"device_code": "a-code", "user_code": "ABCD-EFGH", "verification_uri": o.issuer.URL + "/device", "interval": 1, "expires_in": 600}
			for name, value := range more {
				body[name] = value
			}
			_ = json.NewEncoder(w).Encode(body)
		}
	}
	refuse := func(code string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { oidctest.Refuse(w, http.StatusBadRequest, code) }
	}
	for _, test := range []struct {
		device, token http.HandlerFunc
		says          []string
	}{
		{quick(nil), refuse("expired_token"), []string{"The code is  ABCD-EFGH", "nobody signed in in time", "hint: try again: envrun login"}},
		{quick(map[string]any{"expires_in": 1}), refuse("authorization_pending"), []string{"nobody signed in in time", "hint: try again: envrun login"}},
		{quick(nil), refuse("access_denied"), []string{"access_denied", "hint: somebody said no"}},
		{refuse("unauthorized_client"), nil, []string{"unauthorized_client", "hint: "}},
		{quick(map[string]any{"verification_uri": "https://elsewhere.test\x1b[2J/"}), nil, []string{"the address to enter the code at is not https"}},
	} {
		o.issuer.SetHook(oidctest.DeviceNew, test.device)
		o.issuer.SetHook(oidctest.Token, test.token)
		_, errs, code := o.pipe("", "login", "--store", "passphrase", "--device")
		for _, says := range test.says {
			if code != 1 || !strings.Contains(errs, says) || strings.Contains(errs, "\x1b") {
				t.Errorf("status %d, want %q: %q", code, says, errs)
			}
		}
	}

	// An issuer that is asked too often is asked less often.
	o.issuer.SetHook(oidctest.DeviceNew, nil)
	before, slow := o.issuer.Count(oidctest.Token), false
	o.issuer.SetHook(oidctest.Token, func(w http.ResponseWriter, r *http.Request) {
		if !slow {
			slow = true
			oidctest.Refuse(w, http.StatusBadRequest, "slow_down")
			return
		}
		o.issuer.Usual(oidctest.Token)(w, r)
	})
	a := o.unattended("login", "--store", "passphrase", "--device")
	if !o.issuer.Approve(a.until("The code is")) {
		t.Error("there is no such code")
	}
	a.ends(0)
	if n := o.issuer.Count(oidctest.Token) - before; n != 2 {
		t.Errorf("the issuer was asked %d times", n)
	}
	if got := o.must("", "get", "A"); got != "canary-value" {
		t.Errorf("it is %q", got)
	}
	o.must("", "logout")

	for _, vars := range [][]string{{"CI=true"}, {"CLAUDECODE=1"}} {
		if _, errs, code := o.as(vars...).pipe("", "login", "--store", "passphrase", "--device"); code != 1 || !strings.Contains(errs, "there is nobody") {
			t.Errorf("%v: status %d: %s", vars, code, errs)
		}
	}
	for _, args := range [][]string{{"login"}, {"login", "--flow", "paste"}, {"login", "--device", "--no-input"}} {
		if _, errs, code := o.pipe("", args...); code != 1 || !strings.Contains(errs, "there is nobody") || !strings.Contains(errs, "envrun login --device") {
			t.Errorf("%v: status %d: %s", args, code, errs)
		}
	}
	// The issuer has no codes: the words say what there is.
	o.issuer.SetDocument(func(d map[string]any) { delete(d, "device_authorization_endpoint") })
	if _, errs, code := o.pipe("", "login", "--store", "passphrase", "--device"); code != 1 || !strings.Contains(errs, "the issuer has no device codes") || !strings.Contains(errs, "envrun login --flow paste") {
		t.Errorf("status %d: %s", code, errs)
	}
}

// Somebody who waits for one way turns to another with a key, as often as they like,
// and the last one signs them in.
func TestTerminalAnotherWay(t *testing.T) {
	t.Parallel()
	o := newOffice(t, nil)
	nothing := o.dir + "/nothing"
	o.write("nothing", "#!/bin/sh\n")
	if err := os.Chmod(nothing, 0o755); err != nil {
		t.Fatal(err)
	}
	c := o.as("BROWSER="+nothing, "DISPLAY=:7").run("login", "--store", "passphrase")
	c.expect("paste all of it here.")
	c.expect("Another way: press d for a code to enter in a browser on any machine.")
	c.typed("bp") // no way from here, and no address
	c.typed("\r")
	c.expect("envrun: ")
	c.typed("d\r") // with an Enter behind it
	c.expect("The code is  ")
	c.expect("Another way: press b for a browser here, p for an address to open on any machine.")
	c.typed("an answer\r")
	c.expect("nothing is pasted here: enter the code at the address above")
	c.typed("P")
	c.expect("open this in a browser:")
	c.expect("Another way: press b for a browser here, d for a code")
	c.typed("d")
	c.expect("The code is  ")
	c.expect("Another way: ")
	shown := c.all()
	code, _, _ := strings.Cut(shown[strings.LastIndex(shown, "The code is  ")+len("The code is  "):], "\r")
	if !o.issuer.Approve(code) {
		t.Errorf("there is no code %q", code)
	}
	c.wants(0, "until ")
	if n := o.issuer.Count(oidctest.DeviceNew); n != 2 {
		t.Errorf("%d codes were asked for", n)
	}
	if got := o.must("", "get", "A"); got != "canary-value" {
		t.Errorf("it is %q", got)
	}
	o.must("", "logout")

	// Turned away from a code, and then called off: nobody is signed in.
	c = o.as("BROWSER="+nothing, "DISPLAY=:7").run("login", "--store", "passphrase")
	c.expect("Another way: ")
	c.typed("d")
	c.expect("Another way: ")
	c.typed("\x03")
	c.wants(130, "The code is")
	if _, errs, code := o.pipe("", "whoami"); code != 1 {
		t.Errorf("somebody is signed in: %s", errs)
	}
}

// How a server wants people to sign in is how they do.
func TestTerminalServerFlows(t *testing.T) {
	t.Parallel()
	o := newOffice(t, nil)
	wants := func(flows ...string) {
		o.ask(o.root, "POST", "auth/human/config", map[string]any{"oidc_discovery_url": o.issuer.URL, "allow_private_issuer": true, "oidc_client_id": oidctest.ClientID, "default_role": "dev", "sign_in_flows": flows})
	}
	wants("browser")
	far := o.headless()
	c := far.run("login", "-v", "--store", "passphrase")
	c.expect("signing in by paste: this is a ")
	c.expect(", and there are no device codes")
	c.expect("open this in a browser:")
	c.expect("paste all of it here.")
	c.typed("\x03")
	c.wants(130, "!Another way", "!The code is")
	if _, errs, code := far.pipe("", "login", "--store", "passphrase", "--device"); code != 1 ||
		!strings.Contains(errs, "has people sign in to auth/human by browser alone, and not by device") || !strings.Contains(errs, "envrun login --flow paste") {
		t.Errorf("status %d: %s", code, errs)
	}
	wants("device")
	c = o.run("login", "--store", "passphrase") // where there is a browser
	c.expect("Only approve if")
	if !o.issuer.Approve(after(c.all(), "The code is")) {
		t.Error("there is no such code")
	}
	c.wants(0, "until ", "!Another way")
	o.must("", "logout")
	for _, flow := range []string{"browser", "paste"} {
		c = o.run("login", "--store", "passphrase", "--flow", flow)
		c.wants(1, "by device alone, and not by "+flow, "envrun login --flow device")
	}

	// Of several ways it says what each is for.
	o.write("envrun.toml", fmt.Sprintf("vault = %q\nproject = \"app\"\ndefault = \"dev\"\n[env.dev]\n", o.addr))
	o.ask(o.root, "POST", "sys/auth/other", map[string]any{"type": "jwt", "description": "people of ACME, production"})
	o.ask(o.root, "POST", "auth/other/config", map[string]any{"oidc_discovery_url": o.issuer.URL, "allow_private_issuer": true, "oidc_client_id": oidctest.ClientID})
	o.run("login", "--store", "passphrase").wants(1, "has several ways to sign in: human, other (people of ACME, production)", "envrun login --mount human")
}
