//go:build unix

package filevault_test

import (
	"os/exec"
	"syscall"
)

// becomeUser has a command run as another user.
func becomeUser(cmd *exec.Cmd, uid uint32) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
}
