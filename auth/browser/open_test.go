package browser_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"envrun/auth/browser"
)

const address = "https://id.example.test/authorize?client_id=a&state=b%20c&x=$(id);y|z"

func TestOpeners(t *testing.T) {
	for _, c := range []struct {
		name, os string
		wsl      bool
		env      []string
		want     []string
	}{
		{"a Mac", "darwin", false, nil, []string{"open URL"}},
		{"Windows", "windows", false, nil, []string{"rundll32 url.dll,FileProtocolHandler URL"}},
		{"Linux with a display", "linux", false, []string{"DISPLAY=:0"}, []string{"xdg-open URL"}},
		{"Linux without a display", "linux", false, nil, nil},
		{"WSL", "linux", true, nil, []string{"wslview URL", "rundll32.exe url.dll,FileProtocolHandler URL"}},
		{"$BROWSER", "linux", false, []string{"BROWSER=firefox", "DISPLAY=:0"}, []string{"firefox URL", "xdg-open URL"}},
		{"a list, one with a place, one that draws in the terminal", "linux", false, []string{"BROWSER=chromium --app=%s --new:lynx:/usr/bin/w3m %s: :firefox"},
			[]string{"chromium --app=URL --new", "firefox URL"}},
		{"the last of two variables", "linux", false, []string{"BROWSER=a", "BROWSER=b"}, []string{"b URL"}},
		{"an empty $BROWSER", "darwin", false, []string{"BROWSER="}, []string{"open URL"}},
		{"a list of Windows", "windows", false, []string{`BROWSER=C:\firefox.exe`}, []string{`C:\firefox.exe URL`, "rundll32 url.dll,FileProtocolHandler URL"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			o := browser.Opener{OS: c.os, WSL: c.wsl, Environ: append([]string{}, c.env...), Start: func(_ context.Context, _ []string, argv ...string) error {
				got = append(got, strings.ReplaceAll(strings.Join(argv, " "), address, "URL"))
				return errors.New("not here")
			}}
			if err := o.Open(t.Context(), address); err != browser.ErrNoOpener {
				t.Errorf("got %v", err)
			}
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("tried %q", got)
			}
		})
	}
}

func TestOnlyAddressesOfTheWebAreOpened(t *testing.T) {
	for _, bad := range []string{
		"", "javascript:alert(1)", "file:///etc/passwd", "data:text/html,x", "smb://host/share", "https:opaque", "-https://x.test", "https://",
		"https://u:p@x.test/", "https://x.test/\x1b]8;;", "https://x.test/a b", "https://x.test/`id`", `https://x.test/"&calc.exe&"`, `https://x.test/\\host\share`, "https://x.test/\n", "https://x.test/é",
		"https://x.test/" + strings.Repeat("a", 17<<10),
	} {
		o := browser.Opener{OS: "darwin", Start: func(context.Context, []string, ...string) error {
			t.Errorf("%.60q was opened", bad)
			return nil
		}}
		if err := o.Open(t.Context(), bad); err != browser.ErrAddress {
			t.Errorf("%.60q: %v", bad, err)
		}
	}
}

// script is a browser that is a program of this test.
func script(t *testing.T, text string) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("a browser that is a shell script is one of Unix")
	}
	name := filepath.Join(t.TempDir(), "browser")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestABrowserGetsTheAddressAndNoToken(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	program := script(t, `{ echo "$#"; echo "$1"; env; } > "$OUT"; echo words; echo more >&2`)
	o := browser.Opener{OS: "linux", Environ: []string{
		"PATH=" + os.Getenv("PATH"), "OUT=" + out, "BROWSER=" + program, "KEEP=this",
		"ENVRUN_TOKEN=canary-1", "ENVRUN_STORE_PASSPHRASE=canary-2", "VAULT_TOKEN=canary-3", "BAO_TOKEN=canary-4", "envrun_token=canary-5",
	}}
	if err := o.Open(t.Context(), address); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(text); !strings.HasPrefix(got, "1\n"+address+"\n") || strings.Contains(got, "canary") || !strings.Contains(got, "KEEP=this") {
		t.Errorf("the browser got %s", got)
	}
}

func TestAnOpenerThatHangsIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	program := script(t, `while [ ! -e "$DIR/end" ]; do sleep 0.05; done; : > "$DIR/ended"`)
	o := browser.Opener{OS: "linux", Time: 50 * time.Millisecond, Environ: []string{"PATH=" + os.Getenv("PATH"), "DIR=" + dir, "BROWSER=" + program}}
	if err := o.Open(t.Context(), address); err != nil {
		t.Errorf("one that runs on is a browser, but got %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "end"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "ended")); err == nil {
			break // it was not killed
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestTheNextOpenerIsTriedAfterOneThatFails(t *testing.T) {
	dir := t.TempDir()
	good := script(t, `: > "$DIR/opened"`)
	o := browser.Opener{OS: "linux", Environ: []string{"PATH=" + os.Getenv("PATH"), "DIR=" + dir, "BROWSER=" + script(t, "exit 3") + ":/no/such/browser:" + good}}
	if err := o.Open(t.Context(), address); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "opened")); err != nil {
		t.Error("the third was not tried")
	}
}
