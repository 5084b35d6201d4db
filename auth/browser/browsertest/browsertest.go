// Package browsertest drives a real Chromium without a screen, for tests of what a
// person sees in a browser. It speaks the DevTools protocol over two pipes: no port
// is opened, and a browser whose test is gone ends by itself.
//
// It refuses to be a library for driving browsers: it has what sign-in needs. Names
// other than this machine's lead nowhere, and where no Chromium can be had the test
// is skipped.
package browsertest

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a page may take on a machine with other things to do.
const patience = 30 * time.Second

// A Browser is one that runs, with a profile of its own.
type Browser struct {
	t  testing.TB
	in *os.File

	mu      sync.Mutex
	last    int
	waiting map[int]chan message
	tabs    map[string]*Tab // by session
	ended   chan struct{}
}

type message struct {
	ID        int             `json:"id,omitempty"`
	Method    string          `json:"method,omitempty"`
	Params    json.RawMessage `json:"params,omitempty"`
	SessionID string          `json:"sessionId,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Error     *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// A Tab is one page after the other. Its methods end the test where the browser
// does not do what they say.
type Tab struct {
	b       *Browser
	target  string
	session string

	mu         sync.Mutex
	requests   []string
	headers    map[string]map[string]string // of the last answer from an address
	complaints []string
}

// Start starts a browser and ends it with the test. The hosts, "127.0.0.1:8080", are
// taken for ones of the internet, from where a browser lets less through to this
// machine.
func Start(t testing.TB, public ...string) *Browser {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			program = found
			break
		}
	}
	if program == "" {
		t.Skip("no browser (Debian: apt-get install chromium)")
	}
	home, err := os.MkdirTemp("", "browsertest")
	if err != nil {
		t.Fatal(err)
	}
	theirIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--user-data-dir=" + home + "/profile",
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost", "--proxy-server=direct://",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions", "--disable-gpu",
		"--disable-dev-shm-usage", "--no-first-run", "--no-default-browser-check", "--password-store=basic", "--window-size=900,700"}
	if len(public) > 0 {
		args = append(args, "--ip-address-space-overrides="+strings.Join(public, "=public,")+"=public")
	}
	cmd := exec.Command(program, args...)
	cmd.Env = []string{"HOME=" + home, "TMPDIR=" + home, "PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8"}
	cmd.ExtraFiles = []*os.File{theirIn, theirOut}
	var said bytes.Buffer
	cmd.Stderr = &said
	cmd.WaitDelay = 5 * time.Second // for its helpers, which have its standard error
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirIn.Close()
	theirOut.Close()
	b := &Browser{t: t, in: in, waiting: map[int]chan message{}, tabs: map[string]*Tab{}, ended: make(chan struct{})}
	go b.listen(out)
	t.Cleanup(func() {
		_, _ = b.call("", "Browser.close", nil)
		in.Close()
		kill := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		kill.Stop()
		<-b.ended
		out.Close()
		for range 50 { // its helpers end a little later
			if os.RemoveAll(home) == nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if t.Failed() {
			for line := range strings.Lines(said.String()) {
				if !strings.Contains(line, "ERROR:dbus/") { // there is none
					t.Logf("the browser said: %s", line)
				}
			}
		}
	})
	return b
}

// listen takes what the browser says: answers to whoever waits, events to tabs.
func (b *Browser) listen(out *os.File) {
	defer close(b.ended)
	r := bufio.NewReader(out)
	for {
		text, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m message
		if json.Unmarshal(text[:len(text)-1], &m) != nil {
			continue
		}
		b.mu.Lock()
		to, tab := b.waiting[m.ID], b.tabs[m.SessionID]
		delete(b.waiting, m.ID)
		b.mu.Unlock()
		if to != nil {
			to <- m
		} else if tab != nil {
			tab.event(m)
		}
	}
}

func (b *Browser) call(session, method string, params any) (json.RawMessage, error) {
	text, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	answer := make(chan message, 1)
	b.mu.Lock()
	b.last++
	id := b.last
	b.waiting[id] = answer
	b.mu.Unlock()
	m := message{ID: id, Method: method, SessionID: session}
	if params != nil {
		m.Params = text
	}
	if text, err = json.Marshal(m); err != nil {
		return nil, err
	}
	if _, err := b.in.Write(append(text, 0)); err != nil {
		return nil, fmt.Errorf("the browser is gone: %w", err)
	}
	select {
	case m := <-answer:
		if m.Error != nil {
			return nil, fmt.Errorf("%s: %s", method, m.Error.Message)
		}
		return m.Result, nil
	case <-b.ended:
		return nil, fmt.Errorf("%s: the browser ended", method)
	case <-time.After(patience):
		return nil, fmt.Errorf("%s: the browser does not answer", method)
	}
}

// ask is call, into a value.
func (b *Browser) ask(session, method string, params, into any) {
	b.t.Helper()
	result, err := b.call(session, method, params)
	if err == nil && into != nil {
		err = json.Unmarshal(result, into)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

type object map[string]any

// Tab opens a tab with cookies of its own. Scripts of pages run in it, or do not.
func (b *Browser) Tab(scripts bool) *Tab {
	b.t.Helper()
	var person struct {
		ID string `json:"browserContextId"`
	}
	b.ask("", "Target.createBrowserContext", nil, &person)
	var target struct {
		TargetID string `json:"targetId"`
	}
	b.ask("", "Target.createTarget", object{"url": "about:blank", "browserContextId": person.ID}, &target)
	var at struct {
		SessionID string `json:"sessionId"`
	}
	b.ask("", "Target.attachToTarget", object{"targetId": target.TargetID, "flatten": true}, &at)
	tab := &Tab{b: b, target: target.TargetID, session: at.SessionID, headers: map[string]map[string]string{}}
	b.mu.Lock()
	b.tabs[at.SessionID] = tab
	b.mu.Unlock()
	for _, domain := range []string{"Page", "Network", "Log", "Runtime"} {
		b.ask(tab.session, domain+".enable", nil, nil)
	}
	if !scripts {
		b.ask(tab.session, "Emulation.setScriptExecutionDisabled", object{"value": true}, nil)
	}
	return tab
}

func (t *Tab) event(m message) {
	var p struct {
		Request struct {
			URL string `json:"url"`
		} `json:"request"`
		Response struct {
			URL     string            `json:"url"`
			Headers map[string]string `json:"headers"`
		} `json:"response"`
		Entry struct {
			Source, Level, Text string
		} `json:"entry"`
	}
	_ = json.Unmarshal(m.Params, &p)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch m.Method {
	case "Network.requestWillBeSent":
		t.requests = append(t.requests, p.Request.URL)
	case "Network.responseReceived":
		low := map[string]string{}
		for name, value := range p.Response.Headers {
			low[strings.ToLower(name)] = value
		}
		t.headers[p.Response.URL] = low
	case "Log.entryAdded":
		t.complaints = append(t.complaints, p.Entry.Source+": "+p.Entry.Text)
	}
}

// Requests are the addresses that the tab asked for, pictures and all.
func (t *Tab) Requests() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.requests)
}

// Header is one of the last answer from an address.
func (t *Tab) Header(address, name string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.headers[address][strings.ToLower(name)]
}

// Complaints are what the browser has to say of a page: a policy that was broken, a
// thing that could not be loaded.
func (t *Tab) Complaints() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.complaints)
}

// Go sends the tab to an address. It does not wait for the page, which may wait for
// the test.
func (t *Tab) Go(address string) {
	t.b.t.Helper()
	text, _ := json.Marshal(address)
	t.Eval("location.assign("+string(text)+")", nil)
}

// Close closes the tab.
func (t *Tab) Close() {
	t.b.t.Helper()
	t.b.ask(t.session, "Page.close", nil, nil)
}

// Back is the back button.
func (t *Tab) Back() {
	t.b.t.Helper()
	var h struct {
		CurrentIndex int
		Entries      []struct{ ID int }
	}
	t.b.ask(t.session, "Page.getNavigationHistory", nil, &h)
	if h.CurrentIndex < 1 {
		t.b.t.Fatal("there is nothing to go back to")
	}
	t.b.ask(t.session, "Page.navigateToHistoryEntry", object{"entryId": h.Entries[h.CurrentIndex-1].ID}, nil)
}

// Eval works out an expression in the page, a promise too, and what it comes to if
// into is not nil.
func (t *Tab) Eval(expression string, into any) {
	t.b.t.Helper()
	if err := t.eval(expression, into); err != nil {
		t.b.t.Fatal(err)
	}
}

func (t *Tab) eval(expression string, into any) error {
	result, err := t.b.call(t.session, "Runtime.evaluate", object{"expression": expression, "returnByValue": true, "awaitPromise": true})
	if err != nil {
		return err
	}
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Exception struct{ Description string }
		}
	}
	if err := json.Unmarshal(result, &r); err != nil {
		return err
	}
	if r.ExceptionDetails != nil {
		return fmt.Errorf("%s: %s", expression, r.ExceptionDetails.Exception.Description)
	}
	if into == nil || len(r.Result.Value) == 0 {
		return nil
	}
	return json.Unmarshal(r.Result.Value, into)
}

// Wait waits until an expression is true, in whatever page the tab is at by then.
func (t *Tab) Wait(expression string) {
	t.b.t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var yes bool
		// Between two pages there is nothing to work it out in.
		if err = t.eval("document.readyState === 'complete' && !!("+expression+")", &yes); err == nil && yes {
			return
		}
	}
	t.b.t.Fatalf("it never is so that %s: %v; the tab is at %s:\n%s", expression, err, t.URL(), t.Text())
}

// Submit fills in the fields of a form by their names, and presses its button.
func (t *Tab) Submit(fields map[string]string) {
	t.b.t.Helper()
	if fields == nil {
		fields = map[string]string{}
	}
	text, _ := json.Marshal(fields)
	t.Wait("document.querySelector('form button[type=submit]')")
	t.Eval("for (const [name, value] of Object.entries("+string(text)+")) document.querySelector(`[name=${name}]`).value = value; document.querySelector('form button[type=submit]').click()", nil)
}

// Click presses what a selector finds.
func (t *Tab) Click(selector string) {
	t.b.t.Helper()
	text, _ := json.Marshal(selector)
	t.Wait("document.querySelector(" + string(text) + ")")
	t.Eval("document.querySelector("+string(text)+").click()", nil)
}

// Title is what the tab says it is showing, also while it loads what comes next: then
// nothing can be asked of the page.
func (t *Tab) Title() string {
	t.b.t.Helper()
	var of struct{ TargetInfo struct{ Title string } }
	t.b.ask("", "Target.getTargetInfo", object{"targetId": t.target}, &of)
	return of.TargetInfo.Title
}

// URL is where the tab is.
func (t *Tab) URL() (url string) {
	t.b.t.Helper()
	t.Eval("location.href", &url)
	return url
}

// Text is what a person reads.
func (t *Tab) Text() (text string) {
	t.b.t.Helper()
	t.Eval("document.body ? document.body.innerText : ''", &text)
	return text
}

// HTML is all there is.
func (t *Tab) HTML() (text string) {
	t.b.t.Helper()
	t.Eval("document.documentElement.outerHTML", &text)
	return text
}

// Picture is what a person sees, as a PNG.
func (t *Tab) Picture() []byte {
	t.b.t.Helper()
	var shot struct{ Data string }
	t.b.ask(t.session, "Page.captureScreenshot", object{"format": "png"}, &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		t.b.t.Fatal(err)
	}
	return png
}
