package browser

import (
	"os/exec"
	"syscall"
)

// detach keeps what the terminal sends to this process, Ctrl-C for one, from a browser.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
