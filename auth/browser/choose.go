package browser

import (
	"errors"
	"os"
	"runtime"
	"strings"
)

// The flows, as --flow takes them.
const (
	FlowAuto    = "auto"    // Choose decides
	FlowBrowser = "browser" // opens a browser here
	FlowDevice  = "device"  // a code for a browser anywhere
	FlowPaste   = "paste"   // as FlowBrowser, but nothing is opened: the address is shown
	FlowCI      = "ci"      // the pipeline's identity, nobody is asked
	FlowNone    = "none"    // fails where somebody would have to be asked
)

// Surroundings are where this process runs, as far as browsers are concerned.
type Surroundings struct {
	OS       string // runtime.GOOS
	CI       bool   // the platform gives an identity
	Terminal bool   // somebody reads stderr
	Silent   bool   // ENVRUN_NON_INTERACTIVE: nobody is to be asked

	SSH       bool // signed in from another machine
	Display   bool // X11 or Wayland
	Helper    bool // $BROWSER is set: editors that run on another machine set one that opens it there
	WSL       bool
	Container bool
	Codespace bool

	Device bool // the issuer has a device endpoint
}

// Look fills in what the environment and a few files say. CI, Terminal and Device
// are the caller's to know.
func Look(getenv func(string) string) Surroundings {
	return look(getenv, runtime.GOOS, func(name string) bool { _, err := os.Stat(name); return err == nil })
}

// Silent reports whether ENVRUN_NON_INTERACTIVE says that nobody is to be asked anything.
func Silent(getenv func(string) string) bool {
	switch strings.ToLower(getenv("ENVRUN_NON_INTERACTIVE")) {
	case "", "0", "false", "no":
		return false
	}
	return true
}

func look(getenv func(string) string, goos string, exists func(string) bool) Surroundings {
	s := Surroundings{OS: goos}
	set := func(names ...string) bool {
		for _, name := range names {
			if getenv(name) != "" {
				return true
			}
		}
		return false
	}
	s.Silent = Silent(getenv)
	s.SSH = set("SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY")
	s.Display = set("DISPLAY", "WAYLAND_DISPLAY")
	s.Helper = set("BROWSER")
	s.Codespace = getenv("CODESPACES") == "true"
	s.Container = set("REMOTE_CONTAINERS", "KUBERNETES_SERVICE_HOST", "container")
	if goos == "linux" {
		s.WSL = set("WSL_DISTRO_NAME", "WSL_INTEROP") || exists("/proc/sys/fs/binfmt_misc/WSLInterop")
		s.Container = s.Container || exists("/.dockerenv") || exists("/run/.containerenv")
	}
	return s
}

// Why no flow was chosen.
var (
	ErrNobody   = errors.New("there is nobody to ask: this is not a terminal, or ENVRUN_NON_INTERACTIVE is set")
	ErrNoDevice = errors.New("the issuer has no device codes")
	ErrNone     = errors.New("signing in was not asked for")
	ErrFlow     = errors.New("the flow is none of auto, browser, device, paste, none")
)

// A Choice is a flow, and why it is this one, for --verbose and for a person who
// wonders why no browser opens.
type Choice struct {
	Flow string // one of FlowBrowser, FlowDevice, FlowPaste, FlowCI
	Why  string
}

// Choose decides how somebody signs in (study auth §3.2): what was asked for, or what
// suits the place.
func Choose(flow string, s Surroundings) (Choice, error) {
	headless := func(why string) (Choice, error) {
		if s.Device {
			return Choice{FlowDevice, why}, nil
		}
		return Choice{FlowPaste, why + ", and there are no device codes"}, nil
	}
	switch flow {
	case FlowBrowser, FlowPaste:
		return Choice{flow, "it was asked for"}, nil
	case FlowDevice:
		if !s.Device {
			return Choice{}, ErrNoDevice
		}
		return Choice{flow, "it was asked for"}, nil
	case FlowNone:
		return Choice{}, ErrNone
	case FlowAuto, "":
	default:
		return Choice{}, ErrFlow
	}
	switch {
	case s.CI:
		return Choice{FlowCI, "the pipeline has an identity"}, nil
	case !s.Terminal || s.Silent:
		return Choice{}, ErrNobody
	case s.Codespace:
		return headless("this is a codespace")
	case s.Container && !s.Helper:
		return headless("this is a container")
	case s.Container:
		return Choice{FlowBrowser, "$BROWSER opens one outside of the container"}, nil
	case s.SSH && !s.Display && s.Helper:
		return Choice{FlowBrowser, "$BROWSER opens one on the other machine"}, nil
	case s.SSH && !s.Display:
		return headless("this is a session from another machine")
	case s.WSL:
		return Choice{FlowBrowser, "Windows has one"}, nil
	case s.OS == "linux" && !s.Display && !s.Helper:
		return headless("there is no display")
	}
	return Choice{FlowBrowser, "there is a display"}, nil
}

// Others are the ways to turn to from a flow, while it waits for somebody: those that
// may work here and are not part of it. What a browser ends at may be pasted meanwhile.
func Others(flow string, s Surroundings) []string {
	var all []string
	if auto, err := Choose(FlowAuto, s); flow != FlowBrowser && err == nil && auto.Flow == FlowBrowser {
		all = append(all, FlowBrowser)
	}
	if flow != FlowDevice && s.Device {
		all = append(all, FlowDevice)
	}
	if flow == FlowDevice {
		all = append(all, FlowPaste)
	}
	return all
}
