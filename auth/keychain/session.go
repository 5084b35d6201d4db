package keychain

import (
	"os"
	"runtime"
	"strings"
)

// Session is where this process runs, as far as keychains are concerned.
type Session struct {
	OS        string // runtime.GOOS
	CI        bool   // a pipeline: nothing is kept
	Sudo      bool   // root on behalf of somebody else
	SSH       bool   // signed in from another machine
	WSL       bool   // Windows Subsystem for Linux
	Graphical bool   // a display that can show a prompt
}

// Session looks at the environment and at two files.
func (o Options) Session() Session {
	s := Session{OS: runtime.GOOS}
	switch strings.ToLower(o.getenv("CI")) {
	case "", "0", "false", "no":
	default:
		s.CI = true
	}
	if id := o.getenv("SUDO_UID"); id != "" && id != "0" && os.Geteuid() == 0 {
		s.Sudo = true
	}
	s.SSH = o.getenv("SSH_CONNECTION") != "" || o.getenv("SSH_CLIENT") != "" || o.getenv("SSH_TTY") != ""
	switch s.OS {
	case "linux":
		s.WSL = o.getenv("WSL_DISTRO_NAME") != "" || o.getenv("WSL_INTEROP") != "" || kernelOfWSL()
		s.Graphical = !s.SSH && (o.getenv("WAYLAND_DISPLAY") != "" || o.getenv("DISPLAY") != "")
	default:
		s.Graphical = !s.SSH
	}
	return s
}

func kernelOfWSL() bool {
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	return err == nil && strings.Contains(strings.ToLower(string(b)), "microsoft")
}
