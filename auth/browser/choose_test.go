package browser

import (
	"errors"
	"slices"
	"testing"
)

func TestChoose(t *testing.T) {
	term := func(change func(*Surroundings)) Surroundings {
		s := Surroundings{OS: "linux", Terminal: true, Device: true}
		change(&s)
		return s
	}
	for _, c := range []struct {
		name, flow string
		s          Surroundings
		want       string
		err        error
	}{
		{"a pipeline with an identity", FlowAuto, term(func(s *Surroundings) { s.CI = true }), FlowCI, nil},
		{"a pipeline that is told to use a browser", FlowBrowser, term(func(s *Surroundings) { s.CI = true }), FlowBrowser, nil},
		{"no terminal", FlowAuto, term(func(s *Surroundings) { s.Terminal, s.Display = false, true }), "", ErrNobody},
		{"nobody is to be asked", FlowAuto, term(func(s *Surroundings) { s.Silent, s.Display = true, true }), "", ErrNobody},
		{"a codespace", FlowAuto, term(func(s *Surroundings) { s.Codespace, s.Helper = true, true }), FlowDevice, nil},
		{"a codespace, no device codes", FlowAuto, term(func(s *Surroundings) { s.Codespace, s.Device = true, false }), FlowPaste, nil},
		{"a container", FlowAuto, term(func(s *Surroundings) { s.Container = true }), FlowDevice, nil},
		{"a container, no device codes", FlowAuto, term(func(s *Surroundings) { s.Container, s.Device = true, false }), FlowPaste, nil},
		{"a container of an editor that opens browsers", FlowAuto, term(func(s *Surroundings) { s.Container, s.Helper = true, true }), FlowBrowser, nil},
		{"SSH", FlowAuto, term(func(s *Surroundings) { s.SSH = true }), FlowDevice, nil},
		{"SSH, no device codes", FlowAuto, term(func(s *Surroundings) { s.SSH, s.Device = true, false }), FlowPaste, nil},
		{"SSH with a display", FlowAuto, term(func(s *Surroundings) { s.SSH, s.Display = true, true }), FlowBrowser, nil},
		{"SSH of an editor that opens browsers", FlowAuto, term(func(s *Surroundings) { s.SSH, s.Helper = true, true }), FlowBrowser, nil},
		{"SSH to a Mac", FlowAuto, term(func(s *Surroundings) { s.OS, s.SSH = "darwin", true }), FlowDevice, nil},
		{"SSH to Windows", FlowAuto, term(func(s *Surroundings) { s.OS, s.SSH = "windows", true }), FlowDevice, nil},
		{"WSL", FlowAuto, term(func(s *Surroundings) { s.WSL = true }), FlowBrowser, nil},
		{"a Mac", FlowAuto, term(func(s *Surroundings) { s.OS = "darwin" }), FlowBrowser, nil},
		{"Windows", FlowAuto, term(func(s *Surroundings) { s.OS = "windows" }), FlowBrowser, nil},
		{"Linux with a display", FlowAuto, term(func(s *Surroundings) { s.Display = true }), FlowBrowser, nil},
		{"Linux without a display", FlowAuto, term(func(*Surroundings) {}), FlowDevice, nil},
		{"Linux without a display, no device codes", "", term(func(s *Surroundings) { s.Device = false }), FlowPaste, nil},
		{"asked for device codes where there are none", FlowDevice, term(func(s *Surroundings) { s.Device = false }), "", ErrNoDevice},
		{"asked for device codes without a terminal", FlowDevice, Surroundings{Device: true}, FlowDevice, nil},
		{"asked to paste", FlowPaste, term(func(s *Surroundings) { s.Display = true }), FlowPaste, nil},
		{"asked for none", FlowNone, term(func(s *Surroundings) { s.Display = true }), "", ErrNone},
		{"no flow", "telepathy", term(func(*Surroundings) {}), "", ErrFlow},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Choose(c.flow, c.s)
			if got.Flow != c.want || !errors.Is(err, c.err) || (err == nil) != (got.Why != "") {
				t.Errorf("got %+v, %v; want %q, %v", got, err, c.want, c.err)
			}
		})
	}
}

func TestOthers(t *testing.T) {
	desk := Surroundings{OS: "linux", Terminal: true, Display: true, Device: true}
	far := Surroundings{OS: "linux", Terminal: true, SSH: true, Device: true}
	none := Surroundings{OS: "linux", Terminal: true, SSH: true}
	for _, c := range []struct {
		flow string
		s    Surroundings
		want []string
	}{
		{FlowBrowser, desk, []string{FlowDevice}},
		{FlowPaste, desk, []string{FlowBrowser, FlowDevice}},
		{FlowDevice, desk, []string{FlowBrowser, FlowPaste}},
		{FlowDevice, far, []string{FlowPaste}},
		{FlowPaste, far, []string{FlowDevice}},
		{FlowPaste, none, nil},
		{FlowBrowser, none, nil},
		{FlowDevice, Surroundings{Device: true}, []string{FlowPaste}},
	} {
		if got := Others(c.flow, c.s); !slices.Equal(got, c.want) {
			t.Errorf("%s, %+v: %v", c.flow, c.s, got)
		}
	}
}

func TestLook(t *testing.T) {
	for _, c := range []struct {
		name  string
		env   map[string]string
		goos  string
		files string
		want  Surroundings
	}{
		{"a desktop", map[string]string{"DISPLAY": ":0"}, "linux", "", Surroundings{OS: "linux", Display: true}},
		{"Wayland", map[string]string{"WAYLAND_DISPLAY": "wayland-0", "BROWSER": "firefox"}, "linux", "", Surroundings{OS: "linux", Display: true, Helper: true}},
		{"SSH", map[string]string{"SSH_TTY": "/dev/pts/1"}, "linux", "", Surroundings{OS: "linux", SSH: true}},
		{"SSH to a Mac", map[string]string{"SSH_CONNECTION": "a 1 b 22"}, "darwin", "/.dockerenv", Surroundings{OS: "darwin", SSH: true}},
		{"WSL by name", map[string]string{"WSL_DISTRO_NAME": "Debian"}, "linux", "", Surroundings{OS: "linux", WSL: true}},
		{"WSL by file", nil, "linux", "/proc/sys/fs/binfmt_misc/WSLInterop", Surroundings{OS: "linux", WSL: true}},
		{"docker", nil, "linux", "/.dockerenv", Surroundings{OS: "linux", Container: true}},
		{"podman", nil, "linux", "/run/.containerenv", Surroundings{OS: "linux", Container: true}},
		{"a pod", map[string]string{"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "linux", "", Surroundings{OS: "linux", Container: true}},
		{"a codespace", map[string]string{"CODESPACES": "true"}, "linux", "", Surroundings{OS: "linux", Codespace: true}},
		{"nobody to ask", map[string]string{"ENVRUN_NON_INTERACTIVE": "1"}, "linux", "", Surroundings{OS: "linux", Silent: true}},
		{"somebody to ask", map[string]string{"ENVRUN_NON_INTERACTIVE": "0"}, "linux", "", Surroundings{OS: "linux"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := look(func(n string) string { return c.env[n] }, c.goos, func(f string) bool { return f == c.files }); got != c.want {
				t.Errorf("got %+v", got)
			}
		})
	}
}
